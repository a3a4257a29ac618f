"""The main job, both ways: a recording to a spectrogram file and back, in memory that the length does not change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import warn
from ..backends.stored import whole_chunks
from ..blocks import istft_blocks, stft_blocks
from ..dtypes import SPECTRUM
from ..transform import STFT
from ..windows import CoverageWarning
from .array_files import FORMATS, zarr_for
from .failures import Exit, Failure
from .levels import Levels
from .outputs import (
    OF_SOUND,
    THERE,
    Advance,
    Sound,
    channel_count,
    contents,
    duration,
    in_channels,
    is_done,
    made_with,
    n_fft_of,
    unseen,
    written,
)
from .reading import Excerpt, Selection
from .recordings import Raw, Recording, audio_format, audio_subtype
from .spectrogram_files import Parameters, Spectrogram, chunk_frames, file_bytes, new_file, plain
from .whole_files import stamp, whole_file, whole_folder

_OF_SPECTRA = ("shape", "dtype", "parameters")


def recording_to_spectrogram(
    source: Path,
    target: Path,
    options: dict[str, Any],
    force: bool,
    workers: int | None,
    resume: bool = False,
    advance: Advance = unseen,
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
        channels, read = joined(recording) if iq else (recording.channels, recording.read)
        transform = STFT.made_by("stft", **options, onesided=not iq)
        job = transform.analysis("stft", n_samples, recording.dtype)
        made_of = "; ".join(filter(None, [stamp(source), str(selection)]))
        parameters = Parameters(sample_rate, n_samples, recording.subtype, transform, made_of, levels)
        n_frames = job.frames.n_frames
        kind = SPECTRUM[recording.dtype] if levels.values == "spectrum" else recording.dtype
        shape = (channels, transform.n_bins, n_frames)
        wanted = (shape, kind, parameters)
        if is_done(target, force, resume, lambda: contents(_any_spectra, target, *_OF_SPECTRA) == wanted):
            return THERE
        step = whole_chunks(job.frames, shape[:1], chunk_frames(shape, kind))
        blocks = stft_blocks(read, job, block_frames=step, workers=workers)
        with (
            _whole(target, force, file_bytes(target, shape, kind)) as temporary,
            new_file(temporary, target, shape, kind, parameters) as write,
        ):
            for spectrum in advance(blocks, n_frames):
                write(levels.of(spectrum))
    said = f"{kind} (channels, bins, frames) = {shape}, {duration(n_samples, sample_rate)}"
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
    advance: Advance = unseen,
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
            transform = STFT.made_by("istft", **{"n_fft": n_fft_of(n_bins, options), **options})
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
        made = made_with(transform, stamp(source), length, key, frames_first, phase_shift, *["iq"] * iq)
        sound = Sound(sample_rate, channels * (1 + iq), n_samples, subtype, made)
        if is_done(target, force, resume, lambda: contents(Recording, target, *OF_SOUND) == sound.at(rate)):
            return THERE
        read = spectrogram.read if phase_shift is None else _turned_back(spectrogram, phase_shift, transform.n_fft)
        # Of two sides the real part, unless it is I and Q: a recording holds real signals.
        step = whole_chunks(job.frames, (channels,), spectrogram.chunk)
        blocks = istft_blocks(read, replace(job, real=not iq), block_frames=step, workers=workers)
        blocks = advance(blocks, n_samples)
        return written(target, force, map(in_channels, blocks) if iq else blocks, sound, rate)


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
    if inverse == "istft":
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


def joined(recording: Excerpt) -> tuple[int, Callable[[int, int], np.ndarray]]:
    """How many complex signals a recording holds in pairs of channels, I and Q, and what reads them."""
    if recording.channels % 2:
        need = "I and Q in pairs of channels with --iq"
        raise Failure(Exit.MISFIT, f"{recording.path}: need {need}, got {channel_count(recording.channels)}")

    def read(lo: int, hi: int) -> np.ndarray:
        pairs = recording.read(lo, hi)
        signal = np.empty((len(pairs) // 2, hi - lo), SPECTRUM[recording.dtype])
        signal.real, signal.imag = pairs[::2], pairs[1::2]
        return signal

    return recording.channels // 2, read


def _turned_back(spectrogram: Spectrogram, phase_shift: int, n_fft: int) -> Callable[[int, int], np.ndarray]:
    """`spectrogram.read` with phases counted from the start of the frame.

    ShortTimeFFT rolls each frame by phase_shift + n_fft // 2 samples to the left before the FFT.
    """
    turns = np.arange(spectrogram.shape[1]) * ((phase_shift + n_fft // 2) % n_fft) % n_fft / n_fft
    factors = np.exp(-2j * np.pi * turns).astype(spectrogram.dtype)[:, None]
    return lambda first, last: spectrogram.read(first, last) * factors
