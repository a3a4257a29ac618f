"""Spectra to signals: three calls make a block of the signal.

Copy the last frames of the block before it, inverse FFT into a buffer, and one einsum that windows, overlap-adds,
normalises and writes. Written one after the other they would each be memory traffic; as one einsum they take half the
time (0.52 against 1.13 us for a frame of 2048).

    signal row j (hop samples)  =  sum over r of  weights[r] * frame[j - r], samples [r hop, (r + 1) hop)

Frames before a thread's share are computed again, not exchanged, and each sample is one sum in the order of its
frames: the result has the same bits for any number of threads, any size of blocks, any batch and any layout.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ...dtypes import REAL_OF
from ...jobs import Synthesis
from ...tuning import tuning
from . import products
from .fft import Engine, engine_for
from .memory import known_views, pitch, scratch
from .overlap import Overlap, Transform, Whole, gather, gather_whole, overlap_of, scatter, whole_of
from .tasks import TASKS_PER_THREAD, Task, batches, cut, threads_for
from .threads import Share, run

_TOUCHED_BYTES = 1 << 16
_CACHE_SETS = 1024  # bytes: numbers this far apart, or a multiple, share few sets of a cache
_DOUBLE, _SINGLE_COMPLEX = map(np.dtype, "dF")


Around = Callable[[], AbstractContextManager[Any]]  # entered by each thread


class Inverse(NamedTuple):
    """What makes segments of spectra."""

    transform: Transform
    around: Around
    buffers: int  # arrays of a block's size that it takes, the segments among them
    factor: float  # that the segments still want
    short: bool = False  # segments are products, windowed and scaled


def inverse_of(spectrum: np.ndarray, job: Synthesis) -> Inverse:
    """The inverse FFTs of spectra that lie in memory as this one does."""
    n_fft = job.frames.n_fft
    if products.served("to signals", n_fft, spectrum.dtype, job.onesided):
        return Inverse(_copied, quiet, 1, 1 / n_fft, short=True)
    engine = engine_for(n_fft, spectrum.dtype, job.onesided)
    return _inverse(job, engine, _packed(spectrum) if engine.packed else _as_they_lie)


@lru_cache(maxsize=128)
def _inverse(job: Synthesis, engine: Engine, prepared: Callable[[Any], np.ndarray]) -> Inverse:
    """The inverse FFTs of a job, of spectra that are `prepared` for its engine."""
    n_fft = job.frames.n_fft
    if job.onesided:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            engine.irfft(prepared(spectra), n_fft, segments)

    elif job.real:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            ready = prepared(spectra)
            items, count, _ = ready.shape
            full = scratch("spectra", (items, count, pitch(n_fft, ready.itemsize)), ready.dtype)[:, :, :n_fft]
            engine.ifft(ready, full)
            segments[...] = full.real

    else:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            ready = prepared(spectra)
            engine.ifft(ready, segments.view(ready.dtype))

    halves = not job.onesided and job.real
    copies = engine.makes + _COPIES.get(prepared, 0)
    factor = 1 if engine.divides else 1 / n_fft
    return Inverse(transform, engine.on_this_thread, 1 + copies + (2 + copies) * halves, factor)


def _copied(source: np.ndarray, segments: np.ndarray) -> None:
    segments.view(source.dtype)[...] = source


quiet = partial(np.errstate, all="ignore")


COPY = Inverse(_copied, quiet, 1, 1)


def _as_they_lie(spectra: np.ndarray) -> np.ndarray:
    return spectra


def _touched(spectra: np.ndarray) -> np.ndarray:
    """Packed spectra, after reading one number in every 64 bytes: a simple stream, which the hardware prefetches.

    MKL's own order of reading cost 1.2 to 2 times as much.
    """
    if spectra.nbytes > _TOUCHED_BYTES:
        spectra.view(REAL_OF[spectra.dtype])[..., :: 64 // (spectra.itemsize // 2)].max()
    return spectra


def _transposed(spectra: np.ndarray) -> np.ndarray:
    """Spectra (items, frames, bins) in any layout, packed in this thread's scratch."""
    packed = scratch("packed", spectra.shape, spectra.dtype)
    if spectra.dtype == _SINGLE_COMPLEX:  # one number of 8 bytes is copied in 0.8 to 0.9 of the time of two of 4
        np.copyto(packed.view(_DOUBLE), spectra.view(_DOUBLE))
    else:
        np.copyto(packed, spectra)
    return packed


def _transposed_nearby(spectra: np.ndarray) -> np.ndarray:
    """As _transposed, of rows of bins whose columns share a cache set: they took 3 to 6 times as long."""
    rows = _rows_of_bins("rows of bins", spectra.shape, spectra.dtype)
    np.copyto(rows, spectra.transpose(0, 2, 1))
    return _transposed(rows.transpose(0, 2, 1))


def _packed(spectrum: np.ndarray) -> Callable[[Any], np.ndarray]:
    """What packs blocks of a spectrum (..., bins, frames)."""
    apart = spectrum.strides[-2]
    if apart == spectrum.itemsize:
        return _touched
    return _transposed if apart % _CACHE_SETS else _transposed_nearby


def _rows_of_bins(kind: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Scratch (items, bins, frames) for spectra (items, frames, bins), rows padded to odd numbers of cache lines.

    Their columns do not share a set of the cache.
    """
    items, count, n_bins = shape
    line = 64 // dtype.itemsize
    lines = -(-count // line) | 1
    return scratch(kind, (items, n_bins, lines * line), dtype)[:, :, :count]


# Arrays of a block's size that these make.
_COPIES: dict[Callable[[Any], np.ndarray], int] = {_transposed: 1, _transposed_nearby: 2}


def plan_of(job: Synthesis, kind: np.dtype, factor: float = 1) -> Overlap:
    real = REAL_OF.get(kind, kind)
    return overlap_of(job, real, kind.itemsize // real.itemsize, factor)


def whole_signal(inverse: Inverse, whole: Whole, dtype: np.dtype, spectrum: np.ndarray) -> np.ndarray:
    """`synthesis` of one small spectrum of a kind that was met before: what takes 3 us to find out is known."""
    signal = np.empty(whole.plan.size * whole.plan.weights.itemsize // dtype.itemsize, dtype)
    with inverse.around():
        gather_whole(whole, inverse.transform, spectrum.T[None], signal[None])
    return signal


def overlap_added(source: np.ndarray, job: Synthesis, inverse: Inverse, out: np.ndarray, workers: int | None) -> None:
    plan = plan_of(job, out.dtype, inverse.factor)
    for frames, signal in batches(out.ndim - 1, source, out):
        if signal.size and inverse.short:
            products.added(plan, frames.transpose(0, 2, 1), signal, workers)
            with inverse.around():
                plan.finish(signal)
        elif signal.size:
            _one_batch(plan, inverse, frames.transpose(0, 2, 1), signal, workers)


def _one_batch(plan: Overlap, inverse: Inverse, frames: np.ndarray, signal: np.ndarray, workers: int | None) -> None:
    """Signal (items, n_samples) of frames (items, n_frames, bins)."""
    transform, around, buffers, *_ = inverse
    items = signal.shape[0]
    packed = signal.strides[1] == signal.itemsize
    if packed and (whole := known_views((plan, items))):
        with around():
            gather_whole(whole, transform, frames, signal)
        return
    row = plan.width
    if not packed:  # rows are staged, before they are spread
        buffers, row = buffers + 1, max(row, plan.hop)
    rows, history = plan.rows, plan.history
    threads = threads_for(plan.seconds * items, workers)
    if plan.group:
        _scattered(plan, inverse, frames, signal, threads)
        return
    held = tuning().block_bytes // (buffers * row * plan.weights.itemsize)  # frames of one block
    if threads == 1 and items * (rows + history) <= held:
        with around():
            if packed and plan.size % plan.hop == 0:
                gather_whole(whole_of(plan, items), transform, frames, signal)
            else:
                gather(plan, transform, frames, signal, (0, rows), rows, None)
                plan.finish(signal)
        return
    tasks, per_block = cut(items, rows, history, held, threads)

    def work(task: Task, share: Share) -> None:
        batch, (lo, hi) = task
        gather(plan, transform, frames[batch], signal[batch], (lo, hi), per_block, share)

    run(work, tasks, threads, around)
    with around():
        plan.finish(signal)


def _scattered(plan: Overlap, inverse: Inverse, frames: np.ndarray, signal: np.ndarray, threads: int) -> None:
    """As _one_batch, where hops are many and short."""
    dtype = plan.weights.dtype
    packed = signal.strides[1] == signal.itemsize
    numbers = (signal if packed else np.empty(signal.shape, signal.dtype)).view(dtype)
    pieces = 1 if threads == 1 else -(-threads * TASKS_PER_THREAD // len(numbers))
    piece = max(-(-plan.size // pieces), min(plan.size, 4 * plan.width))
    tasks = [(b, (lo, min(plan.size, lo + piece))) for b in range(len(numbers)) for lo in range(0, plan.size, piece)]

    def work(task: tuple[int, tuple[int, int]], share: Share) -> None:
        b, span = task
        scatter(plan, inverse.transform, frames[b : b + 1], numbers[b], span, share)

    run(work, tasks, threads, inverse.around)
    if not packed:
        signal[...] = numbers.view(signal.dtype)
    with inverse.around():
        plan.finish(signal)
