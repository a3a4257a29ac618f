"""Magnitudes to a recording: phases are found by iterations over the whole, which must fit into memory."""

from __future__ import annotations

from dataclasses import replace
from math import log10
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import warn
from ..dtypes import SPECTRUM
from ..phase.algorithms import FastGLA, Hybrid
from ..phase.retrieval import griffin_lim
from ..transform import STFT
from .failures import Exit, Failure
from .levels import Levels
from .outputs import (
    OF_SOUND,
    THERE,
    Advance,
    Sound,
    contents,
    in_channels,
    is_done,
    made_with,
    n_fft_of,
    unseen,
    written,
)
from .recordings import Recording, audio_format, audio_subtype
from .spectrogram_files import Spectrogram
from .whole_files import stamp

_SPECTRUM_OF = {**SPECTRUM, **{kind: kind for kind in SPECTRUM.values()}}


def magnitudes_to_recording(
    source: Path,
    target: Path,
    options: dict[str, Any],
    force: bool,
    workers: int | None,
    resume: bool = False,
    advance: Advance = unseen,
) -> str:
    """Write `target`; a line that says what it holds. `options` are fields of an STFT and parameters of griffin_lim."""
    audio_format(target)
    options = dict(options)
    sample_rate, subtype, rate, key = (options.pop(name, None) for name in ("sr", "subtype", "rate", "key"))
    frames_first, iq = options.pop("frames_first", False), options.pop("iq", False)
    if iq:
        options["onesided"] = False
    levels, others = Levels.taken(options), _of_retrieval(options)
    with Spectrogram(source, key, frames_first, magnitudes=True) as stored:
        _, n_bins, n_frames = stored.shape
        found = stored.parameters
        if found is None:
            _check_bins(source, n_bins, n_frames, options)
            transform = STFT.made_by("griffin_lim", **{"n_fft": n_fft_of(n_bins, options), **options})
        else:
            if levels.values != "spectrum":
                raise Failure(Exit.USAGE, f"--db: {source} says by itself that it holds {found.levels.values}")
            levels, transform = found.levels, replace(found.transform, **options)
            sample_rate = sample_rate or found.sample_rate
            others.setdefault("length", found.length)
        if sample_rate is None:
            raise Failure(Exit.USAGE, f"{source}: a plain array says no sampling rate: --sr is needed")
        subtype = audio_subtype(target, subtype, found.subtype if found else None)
        transform.bins_and_frames("griffin_lim", "S", stored)
        made = made_with(transform, stamp(source), key, frames_first, str(levels), str(sorted(others.items(), key=str)))
        n_samples = transform.synthesis("griffin_lim", n_frames, others.get("length"), _SPECTRUM_OF[stored.dtype])[0]
        channels = stored.shape[0] * (1 if transform.onesided else 2)
        sound = Sound(sample_rate, channels, n_samples.frames.n_samples, subtype, made)
        if is_done(target, force, resume, lambda: contents(Recording, target, *OF_SOUND) == sound.at(rate)):
            return THERE
        values = stored.read(0, n_frames)
    reached: list[float] = []
    ticks = advance(iter(lambda: np.empty(1), None), others["n_iter"])

    def callback(iteration: int, convergence: float) -> None:
        reached.append(convergence)
        next(ticks)

    signal = griffin_lim(levels.magnitudes(values), transform, callback=callback, workers=workers, **others)
    said = written(target, force, iter([signal if transform.onesided else in_channels(signal)]), sound, rate)
    left = ", of the magnitudes alone: the phases that are there are not used" if np.iscomplexobj(values) else ""
    return said + (f", {_convergence(reached[-1])}" if reached else "") + left


def _convergence(value: float) -> str:
    return f"spectral convergence {20 * log10(value):.1f} dB" if value else "exact"


def _of_retrieval(options: dict[str, Any]) -> dict[str, Any]:
    """The parameters of griffin_lim among the options, which are taken out of them."""
    names = ("length", "n_iter", "algorithm", "init", "rng", "tol")
    others = {name: options.pop(name) for name in names if name in options}
    if "momentum" in options:
        fast, name = FastGLA(options.pop("momentum")), others.get("algorithm", "hybrid")
        if name not in ("fgla", "hybrid"):
            raise Failure(Exit.USAGE, f"--momentum: {name} has none")
        others["algorithm"] = fast if name == "fgla" else Hybrid(second=fast)
    if "rng" in others and others.get("init", "pghi") not in ("pghi", "random"):
        raise Failure(Exit.USAGE, f"--seed: no phase of --init {others['init']} is random")
    others.setdefault("n_iter", 32)
    return others


def _check_bins(source: Path, n_bins: int, n_frames: int, options: dict[str, Any]) -> None:
    """Failure or a warning where a plain array looks as if its axes were meant the other way round."""
    n_fft, two_sided = options.get("n_fft"), not options.get("onesided", True)
    due = None if n_fft is None else n_fft if two_sided else n_fft // 2 + 1
    hint = "--frames-first takes (frames, bins)"
    if due is not None and n_bins != due == n_frames:
        raise Failure(
            Exit.MISFIT, f"{source}: need {due} bins for --n-fft {n_fft}, got {n_bins}, but {due} frames: {hint}"
        )
    if due is None and not _is_usual(n_bins, two_sided) and _is_usual(n_frames, two_sided):
        size = n_fft_of(n_bins, options)
        warn(f"read as {n_bins} bins, n_fft {size}, and {n_frames} frames; {hint}", UserWarning)


def _is_usual(n_bins: int, two_sided: bool) -> bool:
    """Whether a frame of a power of two has so many bins."""
    size = n_bins if two_sided else n_bins - 1
    return size >= 16 and size & (size - 1) == 0
