"""NumPy: the maps in blocks that stay in cache, on threads, with no intermediate array that grows with the length.

Three calls make a block of the signal: copy the last frames of the block before it, inverse FFT into a buffer, and
one einsum that windows, overlap-adds, normalises and writes. Written one after the other they would each be memory
traffic; as one einsum they take half the time (0.52 against 1.13 us for a frame of 2048).

    signal row j (hop samples)  =  sum over r of  weights[r] * frame[j - r], samples [r hop, (r + 1) hop)

Frames before a thread's share are computed again, not exchanged, and each sample is one sum in the order of its
frames: the result has the same bits for any number of threads, any size of blocks, any batch and any layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..arguments import error
from ..frames import padding_index
from ..jobs import Analysis, Synthesis
from .array_api import dtype_name
from .fft_engines import Engine, engine_for
from .overlap import Overlap, Transform, gather, overlap_of, scatter
from .scratch import scratch
from .threads import Share, run, thread_count

# Frames of one block. 64 KB cost 20-160 % more time than 1 MB, 2 MB nothing less. One thread alone keeps better to
# its cache; two hide the calls of small blocks from each other less well.
_BLOCK_BYTES = 1 << 19
_BLOCK_BYTES_THREADED = 1 << 20
_BLOCK_ROWS = 2048
_LEAST_ROWS = 8  # of frames so long that no block of them is in cache
_THREADED_SECONDS = 1.5e-3  # less work than this is done sooner by one thread
_TASKS_PER_THREAD = 4  # evens out a busy core
_ALIASED_BYTES = 4096  # addresses this far apart share a cache set


def synthesis(
    spectrum: np.ndarray, job: Synthesis, out: np.ndarray | None = None, workers: int | None = None
) -> np.ndarray:
    if out is None:
        kind = _REAL[spectrum.dtype] if job.real else spectrum.dtype
        out = _empty("istft", (*spectrum.shape[:-2], job.frames.n_samples), kind)
    _overlap_added(spectrum, job, _inverse(job, engine_for(job.frames.n_fft)), out, workers)
    return out


def overlap_add(segments: np.ndarray, job: Synthesis) -> np.ndarray:
    out = _empty("overlap_add", (*segments.shape[:-2], job.frames.n_samples), segments.dtype)
    _overlap_added(segments, job, _copied, out, None)
    return out


_REAL = {np.dtype(np.complex64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(np.float64)}


def _inverse(job: Synthesis, engine: Engine) -> Transform:
    """Spectra (items, frames, bins) to segments (items, frames, numbers)."""
    n_fft = job.frames.n_fft
    if job.onesided:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            engine.irfft(_packed(spectra, engine), n_fft, segments)

    elif job.real:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            full = scratch("spectra", spectra.shape, spectra.dtype)
            engine.ifft(_packed(spectra, engine), full)
            segments[...] = full.real

    else:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            engine.ifft(_packed(spectra, engine), segments.view(spectra.dtype))

    return transform


def _copied(source: np.ndarray, segments: np.ndarray) -> None:
    segments.view(source.dtype)[...] = source


def _packed(spectra: np.ndarray, engine: Engine) -> np.ndarray:
    """Spectra (items, frames, bins) as the engine reads them best."""
    return spectra


def _overlap_added(
    source: np.ndarray, job: Synthesis, transform: Transform, out: np.ndarray, workers: int | None
) -> None:
    real = _REAL.get(out.dtype, out.dtype)
    plan = overlap_of(job, real, out.itemsize // real.itemsize)
    for frames, signal in _batches(source, 2, out, 1):
        if signal.size:
            _one_batch(plan, transform, frames.transpose(0, 2, 1), signal, workers)
            plan.finish(signal)


def _one_batch(
    plan: Overlap, transform: Transform, frames: np.ndarray, signal: np.ndarray, workers: int | None
) -> None:
    """Every row of signal (items, n_samples), of frames (items, n_frames, bins), up to the gain's ends."""
    items, rows, history = signal.shape[0], plan.rows, plan.history
    threads = 1 if plan.seconds * items < _THREADED_SECONDS else thread_count(workers)
    block_bytes = _BLOCK_BYTES if threads == 1 else _BLOCK_BYTES_THREADED
    held = block_bytes // (plan.width * plan.weights.itemsize)  # frames of one block
    if plan.group:
        _scattered(plan, transform, frames, signal, threads)
        return
    if threads == 1 and items * (rows + history) <= held:
        with np.errstate(all="ignore"):
            gather(plan, transform, frames, signal, (0, rows), rows, None)
        return
    per_block = max(_LEAST_ROWS, history, min(_BLOCK_ROWS, held - history))
    tasks = []
    if 2 * rows <= per_block:
        together = max(1, min(-(-items // threads), held // (rows + history)))
        tasks = [(slice(b, b + together), (0, rows)) for b in range(0, items, together)]
    else:
        pieces = 1 if threads == 1 else -(-threads * _TASKS_PER_THREAD // items)
        piece = max(-(-rows // pieces), min(rows, 4 * history), per_block // 2)
        for b in range(items):
            tasks += [(slice(b, b + 1), (lo, min(rows, lo + piece))) for lo in range(0, rows, piece)]

    def work(task: tuple[slice, tuple[int, int]], share: Share) -> None:
        batch, (lo, hi) = task
        blocks = -(-(hi - lo) // per_block)
        gather(plan, transform, frames[batch], signal[batch], (lo, hi), -(-(hi - lo) // blocks), share)

    run(work, tasks, threads)


def _scattered(plan: Overlap, transform: Transform, frames: np.ndarray, signal: np.ndarray, threads: int) -> None:
    """As _one_batch, where hops are many and short."""
    dtype = plan.weights.dtype
    packed = signal.strides[1] == signal.itemsize
    numbers = (signal if packed else np.empty(signal.shape, signal.dtype)).view(dtype)
    pieces = 1 if threads == 1 else -(-threads * _TASKS_PER_THREAD // len(numbers))
    piece = max(-(-plan.size // pieces), min(plan.size, 4 * plan.width))
    tasks = [(b, (lo, min(plan.size, lo + piece))) for b in range(len(numbers)) for lo in range(0, plan.size, piece)]

    def work(task: tuple[int, tuple[int, int]], share: Share) -> None:
        b, span = task
        scatter(plan, transform, frames[b : b + 1], numbers[b], span, share)

    run(work, tasks, threads)
    if not packed:
        signal[...] = numbers.view(signal.dtype)


def _batches(
    source: np.ndarray, source_axes: int, target: np.ndarray, target_axes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The two arrays with their leading axes made one, in as few pairs as that takes without a copy."""
    batch = source.shape[: source.ndim - source_axes]
    if len(batch) == 1:
        yield source, target
        return
    if not batch:
        yield source[None], target[None]
        return
    inner = len(batch) - 1  # axes [inner, ...) of the batch are one stride apart in both arrays
    while inner and all(each.strides[inner - 1] == each.strides[inner] * batch[inner] for each in (source, target)):
        inner -= 1
    for index in np.ndindex(batch[:inner]):
        one, other = source[index], target[index]
        size = math.prod(batch[inner:])
        yield (
            one.reshape(size, *source.shape[len(batch) :]),
            other.reshape(size, *target.shape[len(batch) :]),
        )


def analysis(
    signal: np.ndarray, job: Analysis, out: np.ndarray | None = None, workers: int | None = None
) -> np.ndarray:
    frames = job.frames
    n_bins = frames.n_fft // 2 + 1 if job.onesided else frames.n_fft
    kind = np.result_type(signal.dtype, np.complex64)
    if out is None:  # frames one after the other in memory, as librosa and torch lay them
        out = _empty("stft", (*signal.shape[:-1], frames.n_frames, n_bins), kind).swapaxes(-1, -2)
    engine = engine_for(frames.n_fft)
    real = _REAL[kind]
    window = _forward_window(job, real)

    def transform(framed: np.ndarray, spectra: np.ndarray) -> None:
        segments = scratch("segments", framed.shape, real if job.onesided else kind)
        np.multiply(framed, window, out=segments)
        (engine.rfft if job.onesided else engine.fft)(segments, spectra)

    _framed(signal, job, transform, out, workers)
    return out


def frame(signal: np.ndarray, job: Analysis) -> np.ndarray:
    frames = job.frames
    out = _empty("frame", (*signal.shape[:-1], frames.n_frames, frames.n_fft), signal.dtype).swapaxes(-1, -2)
    window = None if job.window is None else job.window.astype(_REAL.get(signal.dtype, signal.dtype))

    def transform(framed: np.ndarray, segments: np.ndarray) -> None:
        if window is None:
            segments[...] = framed
        else:
            np.multiply(framed, window, out=segments)

    _framed(signal, job, transform, out, None)
    return out


@lru_cache(maxsize=128)
def _forward_window(job: Analysis, dtype: np.dtype) -> np.ndarray:
    """The window times n_fft, by which the engines' forward transforms divide."""
    n_fft = job.frames.n_fft
    return ((1 if job.window is None else job.window) * np.full(n_fft, float(n_fft))).astype(dtype)


def _framed(
    signal: np.ndarray, job: Analysis, transform: Callable[[np.ndarray, np.ndarray], None], out: np.ndarray,
    workers: int | None,
) -> None:  # fmt: skip
    """transform(frames (items, frames, n_fft) of the padded signal, their place in out), block by block."""
    frames = job.frames
    n_fft, n_frames = frames.n_fft, frames.n_frames
    seconds = n_frames * 2.5 * n_fft * math.log2(n_fft) / 15e9
    for one, result in _batches(signal, 1, out, 2):
        items = len(one)
        if not result.size:
            continue
        threads = 1 if seconds * items < _THREADED_SECONDS else thread_count(workers)
        block_bytes = _BLOCK_BYTES if threads == 1 else _BLOCK_BYTES_THREADED
        per_block = max(_LEAST_ROWS, min(_BLOCK_ROWS, block_bytes // (n_fft * one.itemsize)))
        if 2 * n_frames <= per_block:
            together = max(1, min(-(-items // threads), per_block // n_frames))
            tasks = [(slice(b, b + together), (0, n_frames)) for b in range(0, items, together)]
        else:
            pieces = 1 if threads == 1 else -(-threads * _TASKS_PER_THREAD // items)
            piece = max(-(-n_frames // pieces), min(n_frames, per_block // 2))
            spans = [(lo, min(n_frames, lo + piece)) for lo in range(0, n_frames, piece)]
            tasks = [(slice(b, b + 1), span) for b in range(items) for span in spans]
        _framed_batch(one, job, transform, result.transpose(0, 2, 1), per_block, tasks, threads)


def _framed_batch(signal, job, transform, result, per_block, tasks, threads):
    frames = job.frames
    n_fft, hop, start = frames.n_fft, frames.hop, frames.start
    n_samples = frames.n_samples
    # frames [inside, end) lie within the signal
    inside = min(frames.n_frames, max(0, -(-start // hop)))
    end = max(inside, min(frames.n_frames, (frames.stop - n_fft) // hop + 1))
    step = signal.strides[1]
    whole = None
    if end > inside:
        whole = as_strided(
            signal[:, inside * hop - start :],
            (len(signal), end - inside, n_fft),
            (signal.strides[0], hop * step, step),
            writeable=False,
        )

    def padded(batch: slice, lo: int, hi: int) -> np.ndarray:
        """Frames [lo, hi), some of which reach beyond the signal."""
        first, last = lo * hop - start, (hi - 1) * hop + n_fft - start
        if job.pad_mode == "constant":
            piece = np.zeros((batch.stop - batch.start, last - first), signal.dtype)
            a, b = max(0, first), max(0, min(n_samples, last))
            if a < b:
                piece[:, a - first : b - first] = signal[batch, a:b]
        else:
            piece = signal[batch].take(padding_index(first, last, n_samples, job.pad_mode), axis=1)
        return as_strided(piece, (len(piece), hi - lo, n_fft), (piece.strides[0], hop * piece.itemsize, piece.itemsize))

    def work(task: tuple[slice, tuple[int, int]], share: Share | None) -> None:
        batch, (lo, stop) = task
        batch = slice(batch.start, min(batch.stop, len(signal)))
        for a in range(lo, stop, per_block):
            if share is not None and share.stopped:
                return
            b = min(stop, a + per_block)
            p, q = min(max(a, inside), b), max(a, min(b, end))
            if a < p:
                transform(padded(batch, a, p), result[batch, a:p])
            if p < q:
                transform(whole[batch, p - inside : q - inside], result[batch, p:q])
            if max(p, q) < b:
                transform(padded(batch, max(p, q), b), result[batch, max(p, q) : b])

    run(work, tasks, threads)


def as_complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    pair = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, imag, np.complex64))
    pair.real, pair.imag = real, imag
    return pair


def joined(pairs: np.ndarray) -> np.ndarray:
    """Complex view of real (..., 2), without a copy where the pairs lie side by side in memory."""
    kind = np.result_type(pairs.dtype, np.complex64)
    if pairs.strides[-1] == pairs.itemsize and pairs.dtype.isnative:
        return pairs.view(kind)[..., 0]
    return as_complex(pairs[..., 0], pairs[..., 1])


def checked(function: str, name: str, array: np.ndarray) -> np.ndarray:
    """A plain array in native byte order."""
    array = np.asarray(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_out(function: str, out: Any, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
    if not isinstance(out, np.ndarray):
        raise error(TypeError, function, "out", "a NumPy array as the input", type(out).__name__)
    if dtype_name(out) != dtype or not out.dtype.isnative:
        raise error(TypeError, function, "out", f"dtype {dtype}", out.dtype)
    if out.shape != shape:
        raise error(ValueError, function, "out", f"shape {shape}", out.shape)
    if not out.flags.writeable:
        raise error(ValueError, function, "out", "a writeable array", "a read-only one")
    if np.shares_memory(out, array):
        raise error(ValueError, function, "out", "memory of its own", "one that overlaps the input")
    if any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True)):
        raise error(ValueError, function, "out", "memory of its own", "rows that overlap")


def _empty(function: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except MemoryError as cause:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raise error(MemoryError, function, "memory", f"{size} bytes for the result of shape {shape}", cause) from cause
