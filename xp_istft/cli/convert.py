"""The main job, both ways: a recording to a spectrogram file and back, in memory that the length does not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arguments import warn
from ..backends.stored import whole_chunks
from ..blocks import istft_blocks, stft_blocks
from ..dtypes import SPECTRUM
from ..phase.algorithms import FastGLA, Hybrid
from ..phase.retrieval import griffin_lim
from ..transform import STFT, array_size
from ..windows import CoverageWarning
from .array_files import FORMATS, zarr_for
from .failures import Exit, Failure
from .levels import Levels
from .reading import Excerpt, Selection, resampled, resampled_length
from .recordings import NewRecording, Raw, Recording, audio_format, audio_subtype
from .spectrogram_files import Parameters, Spectrogram, chunk_frames, file_bytes, new_file, plain
from .whole_files import check_target, stamp, whole_file, whole_folder

THERE = "there already"
_OF_SPECTRA = ("shape", "dtype", "parameters")
_SPECTRUM_OF = {**SPECTRUM, **{kind: kind for kind in SPECTRUM.values()}}
_OF_SOUND = ("sample_rate", "channels", "n_samples", "subtype", "comment")

Advance = Callable[[Iterable[Any], int], Iterator[Any]]


def _unseen(blocks: Iterable[Any], total: int) -> Iterator[Any]:
    return iter(blocks)


def recording_to_spectrogram(
    source: Path,
    target: Path,
    options: dict[str, Any],
    force: bool,
    workers: int | None,
    resume: bool = False,
    advance: Advance = _unseen,
) -> str:
    """Write `target`; a line that says what it holds. `options` are the fields of an STFT that were given, and dtype.

    resume : a target that was made of this very source, with the same parameters, is left as it is
    """
    kind_of_file = target.suffix[1:]
    if kind_of_file not in FORMATS:
        raise Failure(Exit.USAGE, f"{target}: need a name that ends in .h5, .npz, .npy or .zarr")
    if kind_of_file == "zarr":
        zarr_for(target)
    options = dict(options)
    iq, levels, selection = options.pop("iq", False), Levels.taken(options), Selection.taken(options)
    raw = Raw.taken(options)
    with Excerpt(source, options.pop("dtype", None), selection, raw) as recording:
        n_samples, sample_rate = recording.n_samples, recording.sample_rate
        channels, read = _joined(recording) if iq else (recording.channels, recording.read)
        transform = STFT.made_by("stft", **options, onesided=not iq)
        job = transform.analysis("stft", n_samples, recording.dtype)
        made_of = "; ".join(filter(None, [stamp(source), str(selection)]))
        parameters = Parameters(sample_rate, n_samples, recording.subtype, transform, made_of, levels)
        n_frames = job.frames.n_frames
        kind = SPECTRUM[recording.dtype] if levels.values == "spectrum" else recording.dtype
        shape = (channels, transform.n_bins, n_frames)
        wanted = (shape, kind, parameters)
        if _is_done(target, force, resume, lambda: _contents(_any_spectra, target, *_OF_SPECTRA) == wanted):
            return THERE
        step = whole_chunks(job.frames, shape[:1], chunk_frames(shape, kind))
        blocks = stft_blocks(read, job, block_frames=step, workers=workers)
        with (
            _whole(target, force, file_bytes(target, shape, kind)) as temporary,
            new_file(temporary, target, shape, kind, parameters) as write,
        ):
            for spectrum in advance(blocks, n_frames):
                write(levels.of(spectrum))
    said = f"{kind} (channels, bins, frames) = {shape}, {_duration(n_samples, sample_rate)}"
    what = {"spectrum": "", "magnitude": ", magnitudes", "decibels": f", decibels of {levels.reference:g}"}
    lost = f"; carries no parameters: {_as_options(parameters)}" if kind_of_file == "npy" else ""
    return f"{said}{what[levels.values]}{lost}"


def spectrogram_to_recording(
    source: Path,
    target: Path,
    options: dict[str, Any],
    force: bool,
    workers: int | None,
    resume: bool = False,
    advance: Advance = _unseen,
) -> str:
    """Write `target`; a line that says what it holds. `options` are those that were given: they come first.

    resume : a .wav that says that it was made of this very source, with the same options, is left as it is
    """
    audio_format(target)
    options = dict(options)
    sample_rate, length, subtype, key, frames_first, phase_shift, rate = (
        options.pop(name, None) for name in ("sr", "length", "subtype", "key", "frames_first", "phase_shift", "rate")
    )
    iq = options.pop("iq", False)
    if options.pop("two_sided", False) or iq:
        options["onesided"] = False
    with Spectrogram(source, key, bool(frames_first)) as spectrogram:
        channels, n_bins, n_frames = spectrogram.shape
        found = spectrogram.parameters
        if found is None:
            transform = STFT.made_by("istft", **{"n_fft": _n_fft(n_bins, options), **options})
        else:
            transform = replace(found.transform, **options)
            sample_rate, length = sample_rate or found.sample_rate, length or found.length
            iq = iq or not found.transform.onesided
        if sample_rate is None:
            raise Failure(Exit.USAGE, f"{source}: a plain array says no sampling rate: --sr is needed")
        transform.bins_and_frames("istft", "X", spectrogram)
        subtype = audio_subtype(target, subtype, found.subtype if found else None)
        job, warning = transform.synthesis("istft", n_frames, length, spectrogram.dtype)
        if warning is not None:
            warn(warning, CoverageWarning)
        n_samples = job.frames.n_samples
        made = _made_with(transform, stamp(source), length, key, frames_first, phase_shift, *["iq"] * iq)
        sound = _Sound(sample_rate, channels * (1 + iq), n_samples, subtype, made)
        if _is_done(target, force, resume, lambda: _contents(Recording, target, *_OF_SOUND) == sound.at(rate)):
            return THERE
        read = spectrogram.read if phase_shift is None else _turned_back(spectrogram, phase_shift, transform.n_fft)
        # Of two sides the real part, unless it is I and Q: a recording holds real signals.
        step = whole_chunks(job.frames, (channels,), spectrogram.chunk)
        blocks = istft_blocks(read, replace(job, real=not iq), block_frames=step, workers=workers)
        blocks = advance(blocks, n_samples)
        return _written(target, force, map(_in_channels, blocks) if iq else blocks, sound, rate)


def magnitudes_to_recording(
    source: Path,
    target: Path,
    options: dict[str, Any],
    force: bool,
    workers: int | None,
    resume: bool = False,
    advance: Advance = _unseen,
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
            transform = STFT.made_by("griffin_lim", **{"n_fft": _n_fft(n_bins, options), **options})
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
        made = _made_with(
            transform, stamp(source), key, frames_first, str(levels), str(sorted(others.items(), key=str))
        )
        n_samples = transform.synthesis("griffin_lim", n_frames, others.get("length"), _SPECTRUM_OF[stored.dtype])[0]
        channels = stored.shape[0] * (1 if transform.onesided else 2)
        sound = _Sound(sample_rate, channels, n_samples.frames.n_samples, subtype, made)
        if _is_done(target, force, resume, lambda: _contents(Recording, target, *_OF_SOUND) == sound.at(rate)):
            return THERE
        values = stored.read(0, n_frames)
    if np.iscomplexobj(values):
        warn("holds a spectrum: its magnitudes are taken, and its phases are not", UserWarning)
    reached: list[float] = []
    ticks = advance(iter(lambda: np.empty(1), None), others["n_iter"])

    def callback(iteration: int, convergence: float) -> None:
        reached.append(convergence)
        next(ticks)

    signal = griffin_lim(levels.magnitudes(values), transform, callback=callback, workers=workers, **others)
    said = _written(target, force, iter([signal if transform.onesided else _in_channels(signal)]), sound, rate)
    return said + (f", {_convergence(reached[-1])}" if reached else "")


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
        size = _n_fft(n_bins, options)
        warn(f"read as {n_bins} bins, n_fft {size}, and {n_frames} frames; {hint}", UserWarning)


def _is_usual(n_bins: int, two_sided: bool) -> bool:
    """Whether a frame of a power of two has so many bins."""
    size = n_bins if two_sided else n_bins - 1
    return size >= 16 and size & (size - 1) == 0


class _Sound(NamedTuple):
    """What a recording says of itself: `_OF_SOUND`."""

    sample_rate: int
    channels: int
    n_samples: int
    subtype: str
    comment: str

    def at(self, rate: int | None) -> _Sound:
        """The same, resampled."""
        if rate in (None, self.sample_rate):
            return self
        length = resampled_length(self.n_samples, self.sample_rate, int(rate or 0))
        return self._replace(sample_rate=int(rate or 0), n_samples=length)


def _written(target: Path, force: bool, blocks: Iterator[np.ndarray], sound: _Sound, rate: int | None) -> str:
    """Write a recording of blocks (channels, any) at `rate`, of what `sound` says; a line that says what it is."""
    made = sound.at(rate)
    if made is not sound:
        blocks = resampled(blocks, sound.n_samples, sound.sample_rate, made.sample_rate)
    with (
        whole_file(target, force) as temporary,
        NewRecording(
            temporary, target, made.sample_rate, made.channels, made.subtype, made.n_samples, made.comment
        ) as recording,
    ):
        for signal in blocks:
            recording.write(signal)
    return _recording_line(made.subtype, made.channels, made.sample_rate, made.n_samples)


def _whole(target: Path, force: bool, n_bytes: int) -> AbstractContextManager[Path]:
    if target.suffix == ".zarr":
        return whole_folder(target, force, n_bytes)
    return whole_file(target, force, n_bytes)


def _any_spectra(path: Path) -> Spectrogram:
    return Spectrogram(path, magnitudes=True)


def _as_options(parameters: Parameters) -> str:
    """What must be said to the inverse of a plain array of these parameters."""
    transform, inverse = parameters.transform, "istft" if parameters.levels.values == "spectrum" else "griffinlim"
    fields, usual = plain(transform), plain(STFT(transform.n_fft))
    del fields["pad_mode"]  # is for the way there alone
    if not isinstance(fields["window"], str):
        fields["window"] = "FILE.npy"
    said = [f"--sr {parameters.sample_rate}", f"--length {parameters.length}"]
    for name, value in fields.items():
        if (value is not None and value != usual[name]) or name in ("n_fft", "hop_length"):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            said.append("--no-center" if name == "center" else f"--{name.replace('_', '-')} {text}")
    if parameters.levels.values == "decibels":
        said.append(f"--db --reference {parameters.levels.reference:g}")
    return " ".join([inverse, "needs", *said, *["--iq"] * (not transform.onesided)])


def _joined(recording: Excerpt) -> tuple[int, Callable[[int, int], np.ndarray]]:
    """How many complex signals a recording holds in pairs of channels, I and Q, and what reads them."""
    if recording.channels % 2:
        need = "I and Q in pairs of channels with --iq"
        raise Failure(Exit.MISFIT, f"{recording.path}: need {need}, got {_channels(recording.channels)}")

    def read(lo: int, hi: int) -> np.ndarray:
        pairs = recording.read(lo, hi)
        signal = np.empty((len(pairs) // 2, hi - lo), SPECTRUM[recording.dtype])
        signal.real, signal.imag = pairs[::2], pairs[1::2]
        return signal

    return recording.channels // 2, read


def _in_channels(signal: np.ndarray) -> np.ndarray:
    """Complex signals (channels, samples) as pairs of channels, I and Q."""
    return np.stack([signal.real, signal.imag], axis=1).reshape(-1, signal.shape[-1])


def _n_fft(n_bins: int, options: dict[str, Any]) -> int:
    """What the bins say of the size of a frame; of odd sizes only the samples of a window can tell."""
    size = array_size(options.get("window"))
    if not options.get("onesided", True):
        return n_bins
    return size if size is not None and size // 2 + 1 == n_bins else 2 * (n_bins - 1)


def _is_done(target: Path, force: bool, resume: bool, same: Callable[[], bool]) -> bool:
    """Whether a former run has made `target`, and of this source; Failure where it cannot be written."""
    if not (resume and target.exists()) or force:
        check_target(target, force)
        return False
    if same():
        return True
    why = "it was made with other options, by other means or of another source"
    raise Failure(Exit.OUTPUT, f"{target}: exists already, and {why}; --force overwrites it")


def _contents(kind: Callable[[Path], Any], path: Path, *names: str) -> tuple[Any, ...]:
    """What a file says of itself; nothing, where it is no such file."""
    try:
        with kind(path) as there:
            return tuple(getattr(there, name) for name in names)
    except Failure:
        return ()


def _made_with(transform: STFT, *others: Any) -> str:
    """A line that differs where any option does: what a second run knows a finished recording by."""
    text = json.dumps([plain(transform), transform.onesided, transform.max_gain, *others], sort_keys=True)
    return f"xp-istft {hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _turned_back(spectrogram: Spectrogram, phase_shift: int, n_fft: int) -> Callable[[int, int], np.ndarray]:
    """`spectrogram.read` with phases counted from the start of the frame.

    ShortTimeFFT rolls each frame by phase_shift + n_fft // 2 samples to the left before the FFT.
    """
    turns = np.arange(spectrogram.shape[1]) * ((phase_shift + n_fft // 2) % n_fft) % n_fft / n_fft
    factors = np.exp(-2j * np.pi * turns).astype(spectrogram.dtype)[:, None]
    return lambda first, last: spectrogram.read(first, last) * factors


def _recording_line(subtype: str, channels: int, sample_rate: int, n_samples: int) -> str:
    return f"{subtype}, {_channels(channels)}, {sample_rate} Hz, {_duration(n_samples, sample_rate)}"


def _channels(count: int) -> str:
    return f"{count} channel{'s' if count > 1 else ''}"


def _duration(n_samples: int, sample_rate: int) -> str:
    minutes, seconds = divmod(n_samples / sample_rate, 60)
    return f"{int(minutes)}:{seconds:06.3f} min" if minutes else f"{seconds:.3f} s"
