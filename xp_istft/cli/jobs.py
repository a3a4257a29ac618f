"""The main job, both ways: a recording to a spectrogram file and back, in memory that the length does not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..blocks import istft_blocks, istft_job, stft_blocks, stft_job
from ..phase_retrieval import griffin_lim
from .failures import Exit, Failure
from .recordings import NewRecording, Recording, audio_format, audio_subtype
from .spectrogram_files import NewSpectrogram, Parameters, Spectrogram, load_magnitudes, spectrogram_bytes
from .whole_files import check_space, check_target, is_newer, whole_file

THERE = "there already"

Advance = Callable[[Iterable[Any], int], Iterator[Any]]


def _unseen(blocks: Iterable[Any], total: int) -> Iterator[Any]:
    return iter(blocks)


def recording_to_spectrogram(
    source: Path,
    target: Path,
    options: dict[str, Any],
    dtype: str | None,
    force: bool,
    workers: int | None,
    resume: bool = False,
    advance: Advance = _unseen,
) -> str:
    """Write `target`; a line that says what it holds. `options` are parameters of stft, None where not given.

    resume : a target that is newer than its source and was made with the same parameters is left as it is
    """
    if target.suffix != ".npz":
        raise Failure(Exit.USAGE, f"{target}: a spectrogram file needs a name that ends in .npz")
    with Recording(source, dtype) as recording:
        if not resume:
            check_target(target, force)
        chosen = {name: value for name, value in options.items() if value is not None}
        job = stft_job(recording.n_samples, **{**chosen, "window": _window(chosen.get("window", "hann"))})
        frames = job.frames
        win_length = chosen.get("win_length") or _window_size(chosen) or frames.n_fft
        parameters = Parameters(
            sample_rate=recording.sample_rate,
            channels=recording.channels,
            length=recording.n_samples,
            subtype=recording.subtype,
            n_fft=frames.n_fft,
            hop_length=chosen.get("hop_length") or max(1, win_length // 4),
            win_length=win_length,
            window=chosen.get("window", "hann"),
            center=chosen["center"],
            padding=chosen.get("padding"),
            pad_mode=chosen["pad_mode"],
            scaling=chosen.get("scaling"),
        )
        shape = (recording.channels, frames.n_fft // 2 + 1, frames.n_frames)
        kind = {"float32": "complex64", "float64": "complex128"}[recording.dtype]
        if resume and not force and is_newer(target, source) and _holds(target, shape, kind, parameters):
            return THERE
        _check_remade(target, force, resume)
        check_space(target, spectrogram_bytes(shape, kind))
        with whole_file(target, force) as temporary, NewSpectrogram(temporary, shape, kind, parameters) as file:
            for spectrum in advance(stft_blocks(recording.read, job, workers=workers), frames.n_frames):
                file.write(spectrum)
    return f"{kind} (channels, bins, frames) = {shape}, {_duration(recording.n_samples, recording.sample_rate)}"


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

    resume : a .wav that is newer than its source, and says that it was made with the same options, is left as it is
    """
    audio_format(target)
    chosen = dict(options)
    sample_rate, subtype, asked = chosen.pop("sr", None), None, chosen.pop("subtype", None)
    key, frames_first = chosen.pop("key", None), chosen.pop("frames_first", False)
    phase_shift = chosen.pop("phase_shift", None)
    chosen["onesided"] = not chosen.pop("two_sided", False)
    with Spectrogram(source, key, frames_first) as spectrogram:
        if not resume:
            check_target(target, force)
        said = spectrogram.parameters
        if said is not None:
            sample_rate, subtype = sample_rate or said.sample_rate, said.subtype
            names = ("n_fft", "hop_length", "win_length", "window", "center", "padding", "length", "scaling")
            chosen = {**{name: getattr(said, name) for name in names}, **chosen}
        if sample_rate is None:
            raise Failure(Exit.USAGE, f"{source}: a plain array says no sampling rate: --sr is needed")
        chosen["window"] = _window(chosen.get("window", "hann"))
        channels = spectrogram.shape[0]
        subtype = audio_subtype(target, asked, subtype)
        job = istft_job(spectrogram.shape, spectrogram.dtype, **chosen)
        n_samples = job.frames.n_samples
        kind = (sample_rate, channels, n_samples, subtype)
        made = _made_with({**chosen, "key": key, "frames_first": frames_first, "phase_shift": phase_shift})
        if resume and not force and is_newer(target, source) and _sounds(target, kind, made):
            return THERE
        _check_remade(target, force, resume)
        read = spectrogram.read if phase_shift is None else _turned_back(spectrogram, phase_shift, job.frames.n_fft)
        with (
            whole_file(target, force) as temporary,
            NewRecording(temporary, target, sample_rate, channels, subtype, n_samples, made) as recording,
        ):
            for signal in advance(istft_blocks(read, job, workers=workers), n_samples):
                recording.write(signal)
    return _recording_line(subtype, channels, sample_rate, n_samples)


def magnitudes_to_recording(
    source: Path, target: Path, options: dict[str, Any], force: bool, callback: Callable[[int, float], None]
) -> str:
    """Write `target`; a line that says what it holds. `options` are parameters of griffin_lim, None where not given."""
    audio_format(target)
    chosen = {name: value for name, value in options.items() if value is not None}
    sample_rate, subtype = chosen.pop("sr"), audio_subtype(target, chosen.pop("subtype", None), None)
    axes = (-1, -2) if chosen.pop("frames_first") else (-2, -1)
    chosen["rng"] = chosen.pop("seed", None)
    magnitudes = load_magnitudes(source)
    check_target(target, force)
    signal = griffin_lim(
        magnitudes, axes=axes, callback=callback, **{**chosen, "window": _window(chosen.get("window", "hann"))}
    )
    channels, n_samples = signal.shape
    with (
        whole_file(target, force) as temporary,
        NewRecording(temporary, target, sample_rate, channels, subtype, n_samples) as recording,
    ):
        recording.write(signal)
    return _recording_line(subtype, channels, sample_rate, n_samples)


def _holds(path: Path, shape: tuple[int, int, int], dtype: str, parameters: Parameters) -> bool:
    """Whether a file is the spectrogram file that this shape, dtype and parameters make."""
    try:
        with Spectrogram(path) as there:
            said = there.parameters
            return (there.shape, there.dtype, said and said.text()) == (shape, dtype, parameters.text())
    except Failure:
        return False


def _sounds(path: Path, kind: tuple[int, int, int, str], made: str) -> bool:
    """Whether a file is a recording of this sampling rate, channels, samples, subtype and comment."""
    try:
        with Recording(path) as there:
            return (there.sample_rate, there.channels, there.n_samples, there.subtype, there.comment) == (*kind, made)
    except Failure:
        return False


def _made_with(options: dict[str, Any]) -> str:
    """A line that differs where any option does: what a second run knows a finished recording by."""
    text = json.dumps({name: value for name, value in options.items() if value is not None}, sort_keys=True)
    return f"xp-istft {hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _check_remade(target: Path, force: bool, resume: bool) -> None:
    """Failure where `target` cannot be written, with the reason why a second run does not take what is there."""
    if resume and not force and target.is_file():
        why = "it was made with other options or by other means, or its source is newer"
        raise Failure(Exit.OUTPUT, f"{target}: exists already, and {why}; --force overwrites it")
    check_target(target, force)


def _turned_back(spectrogram: Spectrogram, phase_shift: int, n_fft: int) -> Callable[[int, int], np.ndarray]:
    """`spectrogram.read` with phases counted from the start of the frame.

    ShortTimeFFT rolls each frame by phase_shift + n_fft // 2 samples to the left before the FFT.
    """
    turns = np.arange(spectrogram.shape[1]) * ((phase_shift + n_fft // 2) % n_fft) % n_fft / n_fft
    factors = np.exp(-2j * np.pi * turns).astype(spectrogram.dtype)[:, None]
    return lambda first, last: spectrogram.read(first, last) * factors


def _window(window: Any) -> Any:
    """A window of JSON as stft takes it: ["kaiser", 14.0] is a tuple, other lists are samples."""
    if isinstance(window, list) and window and isinstance(window[0], str):
        return tuple(window)
    return window


def _window_size(chosen: dict[str, Any]) -> int | None:
    window = chosen.get("window")
    return len(window) if isinstance(window, list) else None


def _recording_line(subtype: str, channels: int, sample_rate: int, n_samples: int) -> str:
    plural = "s" if channels > 1 else ""
    return f"{subtype}, {channels} channel{plural}, {sample_rate} Hz, {_duration(n_samples, sample_rate)}"


def _duration(n_samples: int, sample_rate: int) -> str:
    minutes, seconds = divmod(n_samples / sample_rate, 60)
    return f"{int(minutes)}:{seconds:06.3f} min" if minutes else f"{seconds:.3f} s"
