"""Signals to spectra: frames are copied to a block, windowed in place, and transformed to where they belong."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...dtypes import REAL_OF
from ...jobs import Analysis
from ...tuning import tuning
from .fft import Engine
from .framing import Framed, padded_frames
from .memory import keep_views, known_views, pitch, scratch
from .overlap import seconds
from .synthesis import Around, quiet
from .tasks import Task, cut, threads_for
from .threads import Share, run

_SEGMENTS = "segments"
_WINDOWS_BYTES = 1 << 15  # of copies of the window: they stay in the nearest cache


def copied_frames(signal: np.ndarray, job: Analysis, window: np.ndarray | None, result: np.ndarray) -> None:
    """Frames of signal (items, n_samples) times the window to result (items, n_frames, n_fft)."""
    items, n_frames, n_fft = result.shape
    threads = threads_for(items * n_frames * seconds(n_fft), None)
    tasks, per_block = cut(items, n_frames, 0, tuning().block_bytes // (n_fft * result.itemsize), threads)
    framed = Framed(signal, job)

    def work(task: Task, share: Share) -> None:
        batch, (lo, hi) = task
        for a in range(lo, hi, per_block):
            if share.stopped:
                return
            place = result[batch, a : min(hi, a + per_block)]
            framed.copy_to(place, batch, a)
            if window is not None:
                np.multiply(place, window, place)

    run(work, tasks, threads, quiet)


class Forward(NamedTuple):
    """What makes spectra of frames."""

    kind: np.dtype  # of the segments
    windows: np.ndarray  # copies of the window as rows of segments lie, one after the other, as real numbers
    transform: Callable[[np.ndarray, np.ndarray], Any]  # (segments (items, frames, n_fft), place of their spectra)
    around: Around
    buffers: int  # arrays of a block's size that it takes


@lru_cache(maxsize=128)
def forward_of(job: Analysis, engine: Engine, kind: np.dtype) -> Forward:
    """To spectra of this dtype."""
    segment_kind = REAL_OF[kind] if job.onesided else kind
    windows = _windows(job, segment_kind, engine.divides)
    transform = engine.rfft if job.onesided else engine.fft
    return Forward(segment_kind, windows, transform, engine.on_this_thread, 1 + engine.makes)


def _windows(job: Analysis, kind: np.dtype, divided: bool) -> np.ndarray:
    """Copies of the window, as real numbers, at the distance of segments of this dtype.

    divided : whether the transform divides by n_fft, so that the window is as much larger
    """
    n_fft = job.frames.n_fft
    window = (1 if job.window is None else job.window) * np.full(n_fft, float(n_fft if divided else 1))
    real = REAL_OF.get(kind, kind)
    window = np.repeat(window, kind.itemsize // real.itemsize).astype(real)
    window = np.pad(window, (0, pitch(window.size, window.itemsize) - window.size))
    return np.tile(window, max(1, _WINDOWS_BYTES // window.nbytes))


class _Segments(NamedTuple):
    """Frames in this thread's scratch: views of them."""

    frames: np.ndarray  # (items, frames, n_fft)
    rows: np.ndarray  # the same numbers, in rows as long as copies of the window are,
    rest: np.ndarray  # and those that are left


def _segments(forward: Forward, items: int, count: int, n_fft: int) -> _Segments:
    kind, windows = forward.kind, forward.windows
    key = (_SEGMENTS, items, count, n_fft, kind)
    known = known_views(key)
    if known is not None:
        return known
    memory = scratch(_SEGMENTS, (items, count, pitch(n_fft, kind.itemsize)), kind)
    frames = memory[:, :, :n_fft]
    numbers = memory.reshape(-1).view(windows.dtype)
    whole = numbers.size // windows.size * windows.size
    segments = _Segments(frames, numbers[:whole].reshape(-1, windows.size), numbers[whole:])
    keep_views(key, segments, memory)
    return segments


def _windowed(segments: _Segments, windows: np.ndarray) -> np.ndarray:
    """Multiplied in place: a copy of frames and this took 0.7 to 0.9 of the time of a product elsewhere."""
    np.multiply(segments.rows, windows, segments.rows)
    if segments.rest.size:
        np.multiply(segments.rest, windows[: segments.rest.size], segments.rest)
    return segments.frames


def whole_spectrum(make: Callable[..., None], shape: tuple[int, int], kind: np.dtype, signal: np.ndarray) -> np.ndarray:
    """`analysis` of one small signal of a kind that was met before: what takes 3 us to find out is known."""
    spectrum = np.empty(shape, kind, "F")
    make(signal[None], spectrum.T[None], 1)
    return spectrum


def transformed(job: Analysis, forward: Forward, signal: np.ndarray, result: np.ndarray, workers: int | None) -> None:
    """Spectra (items, n_frames, n_bins) of the frames of signal (items, n_samples)."""
    items, frames = len(signal), job.frames
    n_fft, n_frames = frames.n_fft, frames.n_frames
    threads = threads_for(items * n_frames * seconds(n_fft), workers)
    size = max(signal.itemsize, forward.kind.itemsize)
    held = tuning().block_bytes // (forward.buffers * n_fft * size)
    if n_frames <= held:  # whole signals are padded in scratch, beside their segments
        held = held * n_frames // (n_frames - (-frames.span // n_fft))
    if threads == 1 and items * n_frames <= held:
        with forward.around():
            framed = padded_frames(signal, job)
            segments = _segments(forward, items, n_frames, n_fft)
            if framed.size <= forward.windows.size and forward.kind == forward.windows.dtype:
                np.multiply(framed, forward.windows[:n_fft], segments.frames)  # calls cost more than memory
            else:
                np.copyto(segments.frames, framed)
                _windowed(segments, forward.windows)
            forward.transform(segments.frames, result)
        return

    def take(where: tuple[slice, slice], segments: np.ndarray) -> None:
        forward.transform(segments, result[where])

    each_block(signal, job, forward, take, held, threads)


def each_block(
    signal: np.ndarray,
    job: Analysis,
    forward: Forward,
    take: Callable[[tuple[slice, slice], np.ndarray], None],
    held: int,
    threads: int,
) -> None:
    """take((items, frames), windowed segments (items, frames, n_fft)) of every block of `held` frames of the signal."""
    frames = job.frames
    tasks, per_block = cut(len(signal), frames.n_frames, 0, held, threads)
    framed = Framed(signal, job)

    def work(task: Task, share: Share) -> None:
        batch, (lo, hi) = task
        segments = None
        for a in range(lo, hi, per_block):
            if share.stopped:
                return
            b = min(hi, a + per_block)
            if segments is None or segments.frames.shape[1] != b - a:
                segments = _segments(forward, batch.stop - batch.start, b - a, frames.n_fft)
            if b - a == frames.n_frames and frames.hop <= frames.n_fft:
                np.copyto(segments.frames, padded_frames(signal[batch], job))
            else:
                framed.copy_to(segments.frames, batch, a)
            take((batch, slice(a, b)), _windowed(segments, forward.windows))

    run(work, tasks, threads, forward.around)
