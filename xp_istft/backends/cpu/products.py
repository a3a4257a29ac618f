"""Short frames as products: window, DFT and scale are one matrix, and no segments are made of a signal.

An FFT of 16 samples takes 15 to 25 ns, and so do each of the passes about it, whose inner loops are as short as a
frame or a hop; a product takes 13 ns from the signal to the spectrum. BLAS rounds otherwise in products of another
shape, so all are of `_ROWS` frames, and a frame has the same bits among any others.

Overlapping frames are no matrix for BLAS, but every `apart`-th of them are. The way back makes segments in columns,
so that frames are added, earliest first, in loops over many of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...dtypes import COMPLEX_OF, REAL_OF
from ...jobs import Analysis, Running
from ...settings import get_fft_engine
from .fft import AUTO
from .framing import Framed, padded_frames
from .memory import keep_views, known_views, pitch, scratch
from .overlap import Columns, Overlap
from .tasks import TASKS_PER_THREAD, threads_for
from .threads import Share, run

# The longest frames (samples): longer ones are transformed in less time. With products, on one thread, an stft took
# 0.36 to 0.60 of the time, an istft of float32 0.41 to 0.73 and of float64 0.49 to 0.70.
_LONGEST = {"to spectra": {"F": 32, "D": 32}, "to signals": {"F": 32, "D": 16}}
_SHORTEST = 8  # shorter ones have FFTs of sums and differences, which are exact where numbers are whole
_ROWS = 32  # frames of a product: 64 took 0.94 to 1 of the time of many, more of few
_BLOCK = 8192  # frames: 1 MB with their spectra
_FEW = 256  # rows of a hop: written one by one they take less time than calls for each sample
_PADDED = 2048  # frames: fewer take less time from a padded copy of the signal than in three pieces
_PADDED_SAMPLES = 1 << 16  # of that copy
_COPIED = 512  # frames: to copy fewer costs less than the calls that read them where they lie
_SECONDS = 2e-8  # a frame, roughly

Task = tuple[slice, tuple[int, int]]


def served(way: str, n_fft: int, dtype: np.dtype, onesided: bool) -> bool:
    """Whether frames of this size are products on their way "to spectra", or "to signals", of this dtype."""
    short = onesided and _SHORTEST <= n_fft <= _LONGEST[way][dtype.char]
    return short and get_fft_engine() == AUTO and _is_steady(n_fft, dtype)


@lru_cache(maxsize=128)
@np.errstate(all="ignore")
def _is_steady(n_fft: int, dtype: np.dtype) -> bool:
    """Whether the bits of a frame do not depend on its place in memory, and among others."""
    real, count = REAL_OF[dtype], max(_COPIED, 5 * _ROWS) + 3
    signal = np.sin(np.arange(count + n_fft, dtype=float) ** 2).astype(real)
    frames = np.lib.stride_tricks.sliding_window_view(signal, n_fft)[None, :count]
    n_numbers = 2 * (n_fft // 2 + 1)
    numbers = np.cos(np.arange(float(n_fft * n_numbers)) ** 2).astype(real)
    matrix, back = numbers.reshape(n_fft, n_numbers), numbers.reshape(n_numbers, n_fft)
    whole = np.empty((1, count, n_numbers), real)
    multiplied(frames, matrix, whole)
    spectra = whole.view(dtype)
    columns = _in_columns(spectra, 0, count, back).columns.copy()
    for lo, hi in ((0, 1), (1, 3), (5, 6), (7, 2 * _ROWS), (3, 4 * _ROWS + 4), (count - 1, count)):
        for some in (frames[:, lo:hi], frames[:, lo:hi].copy()):
            part = np.empty((1, hi - lo, n_numbers), real)
            multiplied(some, matrix, part)
            if not np.array_equal(part, whole[:, lo:hi]):
                return False
        again = _in_columns(spectra, lo, hi - lo, back).columns
        if not np.array_equal(again, columns[:, :, lo:hi]):
            return False
    return True


# ---- signals to spectra


def analysed(job: Analysis, signal: np.ndarray, result: np.ndarray, workers: int | None) -> None:
    """Spectra (items, n_frames, n_bins) of the frames of signal (items, n_samples)."""
    items, n_frames, _ = result.shape
    matrix = _analysis_matrix(job, result.dtype)
    threads = threads_for(items * n_frames * _SECONDS, workers)
    if threads == 1 and items * n_frames <= _PADDED and items * job.frames.span <= _PADDED_SAMPLES:
        with np.errstate(all="ignore"):
            _transformed(padded_frames(signal, job), matrix, result)
        return
    framed = Framed(signal, job)

    def work(task: Task, share: Share) -> None:
        batch, (lo, hi) = task
        for first, last, frames in framed.pieces(batch, lo, hi):
            _transformed(frames, matrix, result[batch, first:last])

    run(work, _tasks(items, n_frames, threads), threads, _quiet)


def _quiet() -> np.errstate:
    return np.errstate(all="ignore")


def _tasks(items: int, rows: int, threads: int) -> list[Task]:
    """Several whole items, or a part of one."""
    block = _BLOCK if threads == 1 else min(_BLOCK, -(-items * rows // (threads * TASKS_PER_THREAD)))
    if rows <= block:
        together = max(1, block // max(rows, 2 * _ROWS))
        return [(slice(b, min(items, b + together)), (0, rows)) for b in range(0, items, together)]
    spans = [(lo, min(rows, lo + block)) for lo in range(0, rows, block)]
    return [(slice(b, b + 1), span) for b in range(items) for span in spans]


@lru_cache(maxsize=128)
def _analysis_matrix(job: Analysis, dtype: np.dtype) -> np.ndarray:
    """(n_fft, 2 n_bins): the windowed DFT, real and imaginary parts side by side."""
    n_fft = job.frames.n_fft
    turns = np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) % n_fft
    waves = np.exp(-2j * np.pi / n_fft * turns)
    return (waves if job.window is None else waves * job.window[:, None]).astype(dtype).view(REAL_OF[dtype])


def _transformed(frames: np.ndarray, matrix: np.ndarray, result: np.ndarray) -> None:
    """Spectra (items, count, n_bins) of frames (items, count, n_fft)."""
    if result.strides[-1] == result.itemsize:
        multiplied(frames, matrix, result.view(matrix.dtype))
    else:
        made = scratch("spectra", result.shape, result.dtype)
        multiplied(frames, matrix, made.view(matrix.dtype))
        result[...] = made


def multiplied(frames: np.ndarray, matrix: np.ndarray, result: np.ndarray) -> None:
    """Frames (items, count, n) @ matrix to result (items, count, m), which is contiguous along m."""
    items, count, n = frames.shape
    apart = _apart(frames) if _apart(result) == 1 and count >= _COPIED else 0
    whole = count // (apart * _ROWS) * apart * _ROWS if apart else 0
    if whole:
        shape = items, -1, _ROWS, apart
        sources, targets = frames[:, :whole].reshape(*shape, n), result[:, :whole].reshape(*shape, result.shape[2])
        for j in range(apart):
            np.matmul(sources[:, :, :, j], matrix, out=targets[:, :, :, j])
    if whole < count:
        left = _left(items, count - whole, n, result.shape[2], matrix.dtype)
        np.copyto(left.frames, frames[:, whole:] if whole else frames)
        np.matmul(left.rows, matrix, out=left.products)
        np.copyto(result[:, whole:] if whole else result, left.results)


class _Left(NamedTuple):
    """Frames that are too few for products of their own, in this thread's scratch: its views."""

    rows: np.ndarray  # (products, _ROWS, n)
    products: np.ndarray  # (products, _ROWS, m)
    frames: np.ndarray  # the first of the rows, (items, count, n),
    results: np.ndarray  # and what becomes of them, (items, count, m)


def _left(items: int, count: int, n: int, m: int, dtype: np.dtype) -> _Left:
    key = ("left", items, count, n, m, dtype)
    if known := known_views(key):
        return known
    total = items * count
    products = -(-total // _ROWS)
    rows = scratch("rows", (products, _ROWS, n), dtype)
    made = scratch("products", (products, _ROWS, m), dtype)
    frames = rows.reshape(-1, n)[:total].reshape(items, count, n)
    left = _Left(rows, made, frames, made.reshape(-1, m)[:total].reshape(items, count, m))
    keep_views(key, left, rows, made)
    return left


def _apart(rows: np.ndarray) -> int:
    """Every how many-th of the rows (items, count, n) are a matrix for BLAS; 0: however many, they are none."""
    _, step, size = rows.strides
    width = rows.shape[2] * size
    return -(-width // step) if size == rows.itemsize and step > 0 and step % size == 0 else 0


# ---- spectra to signals


def added(plan: Overlap, spectra: np.ndarray, signal: np.ndarray, workers: int | None) -> None:
    """Signal (items, n_samples) of spectra (items, n_frames, n_bins), up to the gain's ends."""
    threads = threads_for(len(signal) * plan.n_frames * _SECONDS, workers)

    def work(task: Task, share: Share) -> None:
        batch, rows = task
        _add_columns(plan, spectra[batch], signal[batch], rows)

    tasks = _tasks(len(signal), plan.rows, threads)
    if threads == 1 and len(tasks) == 1:
        with np.errstate(all="ignore"):
            _add_columns(plan, spectra, signal, (0, plan.rows))
    else:
        run(work, tasks, threads, _quiet)


def whole_signal(plan: Overlap, spectrum: np.ndarray) -> np.ndarray:
    """`synthesis` of one small spectrum (n_bins, n_frames)."""
    signal = np.empty(plan.size, plan.weights.dtype)
    with np.errstate(all="ignore"):
        _add_columns(plan, spectrum.T[None], signal[None], (0, plan.rows))
        plan.finish(signal)
    return signal


def add_frames(plan: Overlap, running: Running, spectra: np.ndarray, total: np.ndarray) -> None:
    """Add frames (items, count, n_bins) of a stream to the sums that wait, which `total` (..., samples) begins with."""
    items, count, _ = spectra.shape
    total = total.reshape(items, total.shape[-1])
    columns = _in_columns(spectra, 0, count, _synthesis_matrix(plan)).columns[:, running.first :]
    at = running.before
    for m in range(count):
        part = total[:, at : at + columns.shape[1]]
        np.add(part, columns[:, :, m], part)
        at += plan.hop


@lru_cache(maxsize=128)
def _synthesis_matrix(plan: Overlap) -> np.ndarray:
    """(2 n_bins, n_fft): the inverse DFT, windowed, of real and imaginary parts side by side."""
    n_fft, real = plan.width, plan.weights.dtype
    units = np.eye(n_fft // 2 + 1)
    parts = np.fft.irfft(np.stack([units, 1j * units], axis=1), n_fft, norm="forward")
    return (parts.reshape(-1, n_fft) * plan.weights).astype(real)


class _Columns(NamedTuple):
    """Segments in columns, in this thread's scratch, and the spectra that they are made of: views."""

    spectra: np.ndarray  # (items, count, n_bins)
    ignored: np.ndarray  # of these, the imaginary parts that do not count
    rows: np.ndarray  # spectra in columns (items, products, 2 n_bins, _ROWS),
    products: np.ndarray  # and what becomes of them, (items, products, n_fft, _ROWS)
    columns: np.ndarray  # (items, n_fft, count)
    memory: np.ndarray  # of these, and more


def _columns(items: int, count: int, n_fft: int, dtype: np.dtype) -> _Columns:
    key = ("columns", items, count, n_fft, dtype)
    if known := known_views(key):
        return known
    products, n_bins = -(-count // _ROWS), n_fft // 2 + 1
    spectra = scratch("packed", (items, products * _ROWS, n_bins), COMPLEX_OF[dtype])
    numbers = spectra.view(dtype)
    memory = scratch("segments", (items, n_fft, pitch(products * _ROWS, dtype.itemsize)), dtype)
    segments = memory[:, :, : products * _ROWS]
    views = _Columns(
        spectra[:, :count],
        numbers[:, :, 1 :: 2 * n_bins - 2] if n_fft % 2 == 0 else numbers[:, :, 1:2],
        numbers.reshape(items, products, _ROWS, 2 * n_bins).swapaxes(2, 3),
        segments.reshape(items, n_fft, products, _ROWS).transpose(0, 2, 1, 3),
        segments[:, :, :count],
        memory,
    )
    keep_views(key, views, spectra, memory)
    return views


def _in_columns(spectra: np.ndarray, first: int, count: int, matrix: np.ndarray) -> _Columns:
    """Segments of frames [first, first + count) of spectra (items, n_frames, n_bins); of those that are none, zeros."""
    items, n_frames, _ = spectra.shape
    made = _columns(items, count, matrix.shape[1], matrix.dtype)
    end = first + count
    lo = min(max(first, 0), end)
    hi = max(lo, min(end, n_frames))
    if lo > first:
        made.spectra[:, : lo - first] = 0
    if hi > lo:
        made.spectra[:, lo - first : hi - first] = spectra[:, lo:hi]
    if end > hi:
        made.spectra[:, hi - first :] = 0
    made.ignored.fill(0)  # whatever stands there: infinity times 0 is NaN
    np.matmul(matrix.T, made.rows, out=made.products)  # a matrix (n_fft, 2 n_bins) took 1.7 to 2.5 times as long
    return made


def _add_columns(plan: Overlap, spectra: np.ndarray, signal: np.ndarray, rows: tuple[int, int]) -> None:
    """Rows [lo, hi) of `hop` samples of signal (items, n_samples)."""
    lo, hi = rows
    hop, count = plan.hop, hi - lo
    matrix = _synthesis_matrix(plan)
    made = _in_columns(spectra, lo + plan.first - plan.oldest, plan.history + count, matrix)  # the oldest first
    key = ("sums", plan, len(signal), count)
    sums = known_views(key)
    if sums is None:
        sums = [_summands(plan, each, made.columns, count) for each in plan.columns]
        keep_views(key, sums, made.memory)
    whole = count <= _FEW and signal.strides[1] == signal.itemsize and hi * hop <= plan.size
    targets = signal[:, lo * hop : hi * hop].reshape(len(signal), count, hop).swapaxes(1, 2) if whole else None
    if plan.empty:
        signal[:, lo * hop : hi * hop] = 0
    for columns, total, others, newest in sums:
        for part in others:
            np.add(total, part, total)
        if targets is not None:
            np.add(total, newest, targets[:, columns])
            continue
        for c in range(columns.start, columns.stop):  # loops over rows, in place of many over a hop
            target = signal[:, lo * hop + c : hi * hop : hop]
            i, size = c - columns.start, target.shape[1]
            np.add(total[:, i, :size], newest[:, i, :size], target)


def _summands(plan: Overlap, group: Columns, columns: np.ndarray, count: int) -> tuple[slice, Any, Any, Any]:
    """Columns of the rows, and what is added there: the oldest parts, the others, and the newest (or 0)."""
    width = group.hi - group.lo
    parts = [
        columns[:, group.sample - p * plan.hop :, plan.oldest - group.oldest + p :][:, :width, :count]
        for p in range(len(group.weights))
    ]
    if len(parts) == 1:
        parts.append(np.zeros_like(parts[0]))
    return slice(group.lo, group.hi), parts[0], parts[1:-1], parts[-1]
