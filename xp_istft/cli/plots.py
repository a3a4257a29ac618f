"""Pictures of files: a recording, or a file of spectra or magnitudes, its waveform and its spectrogram."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..blocks import istft_blocks, stft_blocks
from ..transform import STFT
from .array_files import is_spectra
from .convert import joined
from .drawings import Columns, Drawing, Envelope, Look, draw
from .failures import Exit, Failure
from .levels import Levels
from .outputs import Advance, n_fft_of, unseen
from .reading import Excerpt, Selection
from .recordings import Raw
from .spectrogram_files import Spectrogram
from .whole_files import check_target, whole_file

PICTURES = ("png", "svg", "pdf")
_OF_RECORDINGS = ("mono", "rate", "pad_mode", "raw", "channels", "big_endian")
_OF_ARRAYS = ("key", "frames_first", "two_sided", "db", "reference")


def picture_of_file(
    source: Path,
    target: Path,
    options: dict[str, Any],
    force: bool,
    workers: int | None,
    resume: bool = False,
    advance: Advance = unseen,
) -> str:
    """Draw a recording, or a file of spectra or magnitudes, as `target`; a line that says what is on it."""
    if target.suffix[1:].lower() not in PICTURES:
        raise Failure(Exit.USAGE, f"{target}: need a name that ends in .png, .svg or .pdf")
    check_target(target, force)
    options = dict(options)
    look = Look(**{name: options.pop(name) for name in ("channel", "decibels", "log") if name in options})
    title = options.pop("title", None) or source.name
    drawn = _of_spectra if "raw" not in options and is_spectra(source) else _of_recording
    drawing = drawn(source, options, look, advance, workers)
    drawing.title = title + drawing.title
    with whole_file(target, force) as temporary:
        draw(temporary, target.suffix[1:].lower(), drawing, look)
    transform = drawing.transform
    return f"{drawing.seconds:.6g} s, n_fft {transform.n_fft}, hop {transform.hop_length}"


def _of_recording(source: Path, options: dict[str, Any], look: Look, advance: Advance, workers: int | None) -> Drawing:
    for name in _OF_ARRAYS:
        if name in options:
            raise Failure(Exit.USAGE, f"--{name.replace('_', '-')}: is for arrays, and {source} is none")
    selection, raw, iq = Selection.taken(options), Raw.taken(options), options.pop("iq", False)
    with Excerpt(source, None, selection, raw) as recording:
        channels, read_all = joined(recording) if iq else (recording.channels, recording.read)
        number = _channel(source, look, channels)
        transform = STFT.made_by("stft", **options, onesided=not iq)
        n_samples, rate = recording.n_samples, recording.sample_rate
        job = transform.analysis("stft", n_samples, recording.dtype)
        waves = Envelope(n_samples, 1 + iq)

        def read(lo: int, hi: int) -> np.ndarray:
            signal = read_all(lo, hi)[number]
            waves.add(lo, signal)
            return signal

        columns = Columns(job.frames.n_frames, transform.n_bins)
        first = 0
        for spectrum in advance(stft_blocks(read, job, workers=workers), job.frames.n_frames):
            columns.add(first, np.abs(spectrum))
            first += spectrum.shape[-1]
        waves.finish(lambda lo, hi: read_all(lo, hi)[number])
    suffix = f", channel {number + 1}" if channels > 1 else ""
    times = transform.frame_times(job.frames.n_frames, rate)
    half = transform.placement.hop / rate / 2
    edges = (selection.start + times[0] - half, selection.start + times[-1] + half)
    return Drawing(
        suffix, selection.start, n_samples / rate, waves.waves, transform.bin_frequencies(rate), columns.largest,
        edges, transform,
    )  # fmt: skip


def _of_spectra(source: Path, options: dict[str, Any], look: Look, advance: Advance, workers: int | None) -> Drawing:
    for name in _OF_RECORDINGS:
        if name in options:
            raise Failure(Exit.USAGE, f"--{name.replace('_', '-')}: is for recordings, and {source} is none")
    sample_rate, key, frames_first = (options.pop(name, None) for name in ("sr", "key", "frames_first"))
    start, seconds = options.pop("start", 0.0), options.pop("duration", None)
    iq, two_sided = options.pop("iq", False), options.pop("two_sided", False)
    if iq or two_sided:
        options["onesided"] = False
    levels = Levels.taken(options)
    with Spectrogram(source, key, bool(frames_first), magnitudes=True) as stored:
        channels, n_bins, n_frames = stored.shape
        number, found = _channel(source, look, channels), stored.parameters
        if found is None:
            transform = STFT.made_by("istft", **{"n_fft": n_fft_of(n_bins, options), **options})
        else:
            levels, transform = found.levels, replace(found.transform, **options)
        rate = sample_rate or (found.sample_rate if found else None)
        if rate is None:
            raise Failure(Exit.USAGE, f"{source}: a plain array says no sampling rate: --sr is needed")
        transform.bins_and_frames("plot", "X", stored)
        hop, length = transform.placement.hop, found.length if found else None
        complex_ = np.dtype(stored.dtype).kind == "c"
        job = transform.synthesis("istft", n_frames, length, stored.dtype if complex_ else "complex64")[0]
        n_samples = job.frames.n_samples
        lo = round(start * rate)
        hi = n_samples if seconds is None else min(n_samples, lo + max(1, round(seconds * rate)))
        if lo >= n_samples:
            got = f"--start {start:g}: the recording ends after {n_samples / rate:.6g} s"
            raise Failure(Exit.MISFIT, f"{source}: {got}")
        zero = float(transform.frame_times(1, rate)[0]) * rate
        first = max(0, min(n_frames - 1, int(np.floor((lo - zero) / hop))))
        last = max(first + 1, min(n_frames, int(np.ceil((hi - zero) / hop)) + 1))
        step = max(1, (1 << 22) // (channels * n_bins))
        columns = Columns(last - first, n_bins)
        blocks = (stored.read(at, min(at + step, last)) for at in range(first, last, step))
        at = 0
        for block in advance(blocks, last - first):
            columns.add(at, levels.magnitudes(block[number]))
            at += block.shape[-1]
        waves = Envelope(hi - lo, 1 + (not transform.onesided))
        if complex_:
            whole = replace(job, real=transform.onesided)
            place = 0
            for signal in istft_blocks(lambda a, b: stored.read(a, b)[number], whole, workers=workers):
                inside = signal[max(0, lo - place) : max(0, hi - place)]
                waves.add(max(0, place - lo), inside)
                place += len(signal)
    suffix = f", channel {number + 1}" if channels > 1 else ""
    edges = ((zero + (first - 0.5) * hop) / rate, (zero + (last - 0.5) * hop) / rate)
    return Drawing(
        suffix, lo / rate, (hi - lo) / rate, waves.waves if complex_ else [], transform.bin_frequencies(rate),
        columns.largest, edges, transform,
    )  # fmt: skip


def _channel(source: Path, look: Look, channels: int) -> int:
    if look.channel > channels:
        raise Failure(Exit.MISFIT, f"{source}: --channel {look.channel}: there are {channels}")
    return look.channel - 1
