"""The main job, both ways: a recording to a spectrogram file and back, in memory that the length does not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import warn
from ..backends.stored import whole_chunks
from ..blocks import istft_blocks, stft_blocks
from ..dtypes import SPECTRUM
from ..phase.algorithms import FastGLA, Hybrid
from ..phase.retrieval import griffin_lim
from ..transform import STFT, array_size
from ..windows import CoverageWarning
from .failures import Exit, Failure
from .plain_arrays import load_magnitudes
from .recordings import NewRecording, Recording, audio_format, audio_subtype
from .spectrogram_files import Parameters, Spectrogram, chunk_frames, new_spectrogram, plain, spectrogram_bytes
from .whole_files import check_target, stamp, whole_file

THERE = "there already"
_OF_SPECTRA = ("shape", "dtype", "parameters")
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
    if target.suffix != ".h5":
        raise Failure(Exit.USAGE, f"{target}: a spectrogram file needs a name that ends in .h5")
    options = dict(options)
    iq = options.pop("iq", False)
    with Recording(source, options.pop("dtype", None)) as recording:
        n_samples, sample_rate = recording.n_samples, recording.sample_rate
        channels, read = _joined(recording) if iq else (recording.channels, recording.read)
        transform = STFT.made_by("stft", **options, onesided=not iq)
        job = transform.analysis("stft", n_samples, recording.dtype)
        parameters = Parameters(sample_rate, n_samples, recording.subtype, transform, stamp(source))
        n_frames, kind = job.frames.n_frames, SPECTRUM[recording.dtype]
        shape = (channels, transform.n_bins, n_frames)
        wanted = (shape, kind, parameters)
        if _is_done(target, force, resume, lambda: _contents(Spectrogram, target, *_OF_SPECTRA) == wanted):
            return THERE
        step = whole_chunks(job.frames, shape[:1], chunk_frames(shape, kind))
        blocks = stft_blocks(read, job, block_frames=step, workers=workers)
        with (
            whole_file(target, force, spectrogram_bytes(shape, kind)) as temporary,
            new_spectrogram(temporary, shape, kind, parameters) as write,
        ):
            for spectrum in advance(blocks, n_frames):
                write(spectrum)
    return f"{kind} (channels, bins, frames) = {shape}, {_duration(n_samples, sample_rate)}"


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
    sample_rate, length, subtype, key, frames_first, phase_shift = (
        options.pop(name, None) for name in ("sr", "length", "subtype", "key", "frames_first", "phase_shift")
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
        wanted = (sample_rate, channels * (1 + iq), n_samples, subtype, made)
        if _is_done(target, force, resume, lambda: _contents(Recording, target, *_OF_SOUND) == wanted):
            return THERE
        read = spectrogram.read if phase_shift is None else _turned_back(spectrogram, phase_shift, transform.n_fft)
        # Of two sides the real part, unless it is I and Q: a recording holds real signals.
        step = whole_chunks(job.frames, (channels,), spectrogram.chunk)
        blocks = istft_blocks(read, replace(job, real=not iq), block_frames=step, workers=workers)
        channels *= 1 + iq
        with (
            whole_file(target, force) as temporary,
            NewRecording(temporary, target, sample_rate, channels, subtype, n_samples, made) as recording,
        ):
            for signal in advance(blocks, n_samples):
                recording.write(_in_channels(signal) if iq else signal)
    return _recording_line(subtype, channels, sample_rate, n_samples)


def magnitudes_to_recording(
    source: Path, target: Path, options: dict[str, Any], force: bool, callback: Callable[[int, float], None]
) -> str:
    """Write `target`; a line that says what it holds. `options` are fields of an STFT and parameters of griffin_lim."""
    audio_format(target)
    options = dict(options)
    sample_rate, subtype = options.pop("sr"), audio_subtype(target, options.pop("subtype", None), None)
    axes = (-1, -2) if options.pop("frames_first", False) else (-2, -1)
    if options.pop("iq", False):
        options["onesided"] = False
    names = ("length", "n_iter", "algorithm", "init", "rng", "tol", "workers")
    others = {name: options.pop(name) for name in names if name in options}
    if "momentum" in options:
        fast, name = FastGLA(options.pop("momentum")), others.get("algorithm", "hybrid")
        if name not in ("fgla", "hybrid"):
            raise Failure(Exit.USAGE, f"--momentum: {name} has none")
        others["algorithm"] = fast if name == "fgla" else Hybrid(second=fast)
    magnitudes = load_magnitudes(source)
    check_target(target, force)
    transform = STFT.made_by("griffin_lim", **{"n_fft": _n_fft(magnitudes.shape[axes[0]], options), **options})
    signal = griffin_lim(magnitudes, transform, axes=axes, callback=callback, **others)
    if not transform.onesided:
        signal = _in_channels(signal)
    channels, n_samples = signal.shape
    with (
        whole_file(target, force) as temporary,
        NewRecording(temporary, target, sample_rate, channels, subtype, n_samples) as recording,
    ):
        recording.write(signal)
    return _recording_line(subtype, channels, sample_rate, n_samples)


def _joined(recording: Recording) -> tuple[int, Callable[[int, int], np.ndarray]]:
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
    if not (resume and target.is_file()) or force:
        check_target(target, force)
        return False
    if same():
        return True
    why = "it was made with other options, by other means or of another source"
    raise Failure(Exit.OUTPUT, f"{target}: exists already, and {why}; --force overwrites it")


def _contents(kind: type[Spectrogram] | type[Recording], path: Path, *names: str) -> tuple[Any, ...]:
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
