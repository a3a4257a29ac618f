"""Dask: a chunk of frames makes the samples that stand at its place, a chunk of samples the frames.

Frame m stands at sample m * hop of the signal, so chunks of n frames and of n * hop samples are each other's
transforms. What a chunk needs beyond itself are the last columns of the chunk before it and the first of the one
after it: small copies of these travel, never whole chunks, and the frames in them are transformed again. (Sums of
what each chunk makes alone would travel in less, but then the bits would depend on the chunks.) Chunks that are
shorter than what their neighbours need of them are joined first.

Chunks keep the library that they are of: each task calls its backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import array_api_compat
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..arguments import error
from ..frames import Frames, padding_index
from ..jobs import Analysis, Synthesis
from . import backend_for, required_backend
from .array_api import PRECISION, dtype_name

# Frames of a chunk, in overlaps, from which on its edges are made apart: that transforms some frames twice, and
# spares a copy of the chunk.
_LONG = 64


def synthesis(spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
    """`workers` are the threads of one task, by default 1: Dask runs tasks side by side."""
    make = partial(required_backend(spectrum._meta).synthesis, workers=workers or 1)
    kind = dtype_name(spectrum)
    return _overlap_added(spectrum, job, make, PRECISION[kind] if job.real else kind)


def overlap_add(segments: Any, job: Synthesis) -> Any:
    return _overlap_added(segments, job, required_backend(segments._meta).overlap_add, dtype_name(segments))


def analysis(signal: Any, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
    """`workers` as in `synthesis`."""
    make = partial(required_backend(signal._meta).analysis, workers=workers or 1)
    kind = "complex64" if dtype_name(signal) in ("float32", "complex64") else "complex128"
    return _framed(signal, job, make, job.frames.n_fft // 2 + 1 if job.onesided else job.frames.n_fft, kind)


def frame(signal: Any, job: Analysis) -> Any:
    return _framed(signal, job, required_backend(signal._meta).frame, job.frames.n_fft, dtype_name(signal))


def as_complex(real: Any, imag: Any) -> Any:
    real, imag = da.broadcast_arrays(real, imag)
    kind = "complex64" if {dtype_name(real), dtype_name(imag)} == {"float32"} else "complex128"
    indices = tuple(range(real.ndim))
    return da.blockwise(
        required_backend(real._meta).as_complex, indices, real, indices, imag, indices,
        meta=_meta(real, real.ndim, kind),
    )  # fmt: skip


def joined(pairs: Any) -> Any:
    kind = "complex64" if dtype_name(pairs) == "float32" else "complex128"
    meta = _meta(pairs, pairs.ndim - 1, kind)
    whole = pairs.rechunk({-1: -1})
    return whole.map_blocks(required_backend(pairs._meta).joined, drop_axis=pairs.ndim - 1, meta=meta)


def on_host(array: Any, function: Any) -> Any:
    """One task for each chunk of the leading axes, which holds all bins and frames of its items."""
    whole = array.rechunk({-2: -1, -1: -1})
    meta = whole._meta * np.complex64(1)
    return whole.map_blocks(lambda block: required_backend(block).on_host(block, function), meta=meta)


def by_signal(function: Any, array: Any, core: int, shape: tuple[int, ...], dtype: str) -> Any:
    """function(chunk) -> (..., *shape) of every chunk of signals, whose last `core` axes are made whole."""
    whole = array.rechunk(dict.fromkeys(range(array.ndim - core, array.ndim), -1))
    batch = array.ndim - core
    return whole.map_blocks(
        function,
        drop_axis=list(range(batch, array.ndim)),
        new_axis=list(range(batch, batch + len(shape))),
        chunks=(*whole.chunks[:batch], *((size,) for size in shape)),
        meta=np.zeros((0,) * (batch + len(shape)), dtype),
    )


def checked(function: str, name: str, array: Any) -> Any:
    if any(size != size for size in array.shape):  # nan: not known before it is computed
        raise error(ValueError, function, name, "known chunk sizes", f"shape {array.shape}", "compute_chunk_sizes()")
    if backend_for(array._meta) is None:
        raise error(TypeError, function, name, "chunks of NumPy, CuPy, ...", type(array._meta).__name__)
    return array


def check_out(function: str, out: Any, array: Any, shape: tuple[int, ...], dtype: str) -> None:
    raise error(TypeError, function, "out", "an array that can be written in place", "dask.array.Array (lazy)")


def _overlap_added(source: Any, job: Synthesis, make: Callable[..., Any], dtype: str) -> Any:
    """The signal, in chunks at the place of the chunks of frames of `source`, each made by `make(frames, job)`."""
    frames = job.frames
    place = _place(frames)
    before, after = (frames.n_fft - 1 - place) // frames.hop, -(-place // frames.hop)  # frames that samples need
    groups = _joined(source.chunks[-1], max(before, after, 1))
    source = source.rechunk({-2: -1, -1: groups})
    firsts = list(accumulate(groups, initial=0))
    longest = frames.hop * max(groups)
    stop = frames.span if frames.start < frames.span < frames.stop - longest else frames.stop  # beyond: zeros
    edges = [min(max(first * frames.hop + place, frames.start), stop) for first in firsts]
    edges[0], edges[-1] = frames.start, stop
    kept = [i for i, (lo, hi) in enumerate(pairwise(edges)) if lo < hi]
    signal = da.map_blocks(
        _samples,
        *_with_ends(source, kept, before, after),
        job=job,
        make=make,
        first=firsts[kept[0]],
        token=make.func.__name__ if isinstance(make, partial) else make.__name__,
        drop_axis=source.ndim - 2,
        chunks=(*source.chunks[:-2], tuple(edges[i + 1] - edges[i] for i in kept)),
        meta=_meta(source, source.ndim - 1, dtype),
    )
    if stop == frames.stop:
        return signal
    beyond = (*signal.shape[:-1], frames.stop - stop)
    return da.concatenate([signal, da.zeros_like(signal, shape=beyond, chunks=(*signal.chunks[:-1], longest))], -1)


def _samples(
    block: Any,
    tail: Any,
    head: Any,
    job: Synthesis,
    make: Callable[..., Any],
    first: int,
    block_info: Any = None,
) -> Any:
    """One chunk of a signal, made of a chunk of frames, the last before it and the first after it.

    first : number of frame 0 of the array that Dask counts in
    """
    frames = job.frames
    a, b = (first + at for at in block_info[0]["array-location"][-1])
    lo, hi = (frames.start + at for at in block_info[None]["array-location"][-1])
    pieces = _placed(tail, block, head, a)

    def made(lo: int, hi: int) -> Any:
        columns, segment = job.segment(lo, hi)
        return make(_taken(pieces, columns.start, columns.stop), segment)

    if b - a < _LONG * frames.overlap:
        return made(lo, hi)
    p = min(hi, max(lo, (a - 1) * frames.hop + frames.n_fft))  # in [p, q) no other frames are needed
    q = max(p, min(hi, b * frames.hop))
    parts = [made(start, stop) for start, stop in ((lo, p), (p, q), (q, hi)) if start < stop]
    return parts[0] if len(parts) == 1 else array_api_compat.array_namespace(block).concat(parts, axis=-1)


def _framed(signal: Any, job: Analysis, make: Callable[..., Any], n_rows: int, dtype: str) -> Any:
    """The frames, in chunks at the place of the chunks of samples, each made by `make(samples, job)`."""
    frames = job.frames
    place = _place(frames)
    before, after = place, frames.n_fft - 1 - place  # samples that frames need
    signal, start = _padded(signal, job)
    groups = _joined(signal.chunks[-1], max(before, after, frames.hop))
    signal = signal.rechunk({-1: groups})
    starts = list(accumulate(groups, initial=start))
    edges = [min(max(0, -((place - lo) // frames.hop)), frames.n_frames) for lo in starts]  # ceil((lo - place) / hop)
    edges[0], edges[-1] = 0, frames.n_frames
    kept = [i for i, (first, last) in enumerate(pairwise(edges)) if first < last]
    return da.map_blocks(
        _columns,
        *_with_ends(signal, kept, before, after),
        job=replace(job, frames=replace(frames, start=start, stop=starts[-1]), pad_mode="constant"),
        make=make,
        first=starts[kept[0]],
        token=make.func.__name__ if isinstance(make, partial) else make.__name__,
        new_axis=signal.ndim - 1,
        chunks=(*signal.chunks[:-1], (n_rows,), tuple(edges[i + 1] - edges[i] for i in kept)),
        meta=_meta(signal, signal.ndim + 1, dtype),
    )


def _columns(
    block: Any,
    tail: Any,
    head: Any,
    job: Analysis,
    make: Callable[..., Any],
    first: int,
    block_info: Any = None,
) -> Any:
    """One chunk of frames, made of a chunk of samples, the last before it and the first after it.

    first : place on the padded axis of sample 0 of the array that Dask counts in
    """
    frames = job.frames
    a, b = block_info[None]["array-location"][-1]
    origin = a * frames.hop
    lo = max(frames.start, origin)
    hi = max(lo, min(frames.stop, origin + frames.hop * (b - a - 1) + frames.n_fft))
    signal = _taken(_placed(tail, block, head, first + block_info[0]["array-location"][-1][0]), lo, hi)
    laid = replace(frames, n_frames=b - a, start=lo - origin, stop=hi - origin)
    return make(signal, replace(job, frames=laid))


def _meta(array: Any, ndim: int, dtype: str) -> Any:
    """An empty array of the library of the chunks: what Dask knows a result by."""
    xp = array_api_compat.array_namespace(array._meta)
    return xp.empty((0,) * ndim, dtype=getattr(xp, dtype))


def _place(frames: Frames) -> int:
    """Where in a frame, in samples from its first, its place in the signal is: there chunks are cut.

    Frame m and sample m * hop of the signal, where the padding is no longer than a frame.
    """
    return min(max(frames.start, 0), frames.n_fft - 1)


def _joined(sizes: Iterable[int], least: int) -> tuple[int, ...]:
    """Sizes of chunks, neighbours joined until each has `least` or there is one.

    >>> _joined((5, 1, 0, 2, 7, 1), 3)
    (5, 3, 8)
    """
    groups: list[int] = []
    for size in sizes:
        if groups and groups[-1] < least:
            groups[-1] += size
        else:
            groups.append(size)
    if len(groups) > 1 and groups[-1] < least:
        last = groups.pop()
        groups[-1] += last
    return tuple(groups)


def _with_ends(array: Any, kept: list[int], before: int, after: int) -> tuple[Any, Any, Any]:
    """The chunks `kept` along the last axis, the last columns of each one's predecessor, the first of its successor.

    At the ends of the array, where there is no neighbour, chunks have their own: nobody looks at them.
    """
    last = array.numblocks[-1] - 1
    tails = _ends(array, [max(0, i - 1) for i in kept], -before) if before and last else None
    heads = _ends(array, [min(last, i + 1) for i in kept], after) if after and last else None
    return (array if len(kept) == last + 1 else array.blocks[..., kept]), tails, heads


def _ends(array: Any, numbers: list[int], size: int) -> Any:
    """The ends of the chunks with these numbers along the last axis. (By hand: one task for each, not two.)"""
    name = "end-" + tokenize(array.name, numbers, size)
    graph: dict[Any, Any] = {
        (name, *index, i): (_end, (array.name, *index, number), size)
        for index in np.ndindex(array.numblocks[:-1])
        for i, number in enumerate(numbers)
    }
    chunks = (*array.chunks[:-1], (abs(size),) * len(numbers))
    return da.Array(HighLevelGraph.from_collections(name, graph, [array]), name, chunks, meta=array._meta)


def _end(block: Any, size: int) -> Any:
    """The first `size` columns, or the last -size: a copy, so that the block can go."""
    part = block[..., :size] if size > 0 else block[..., size:]
    return array_api_compat.array_namespace(block).asarray(part, copy=True)


def _placed(tail: Any, block: Any, head: Any, start: int) -> list[tuple[int, Any]]:
    """Neighbouring pieces, each with the place of its first column, where the block's is `start`."""
    pieces = [(start, block)]
    if tail is not None:
        pieces.insert(0, (start - tail.shape[-1], tail))
    if head is not None:
        pieces.append((start + block.shape[-1], head))
    return pieces


def _taken(pieces: list[tuple[int, Any]], lo: int, hi: int) -> Any:
    """Columns [lo, hi) of neighbouring pieces; of one piece a view."""
    taken = [piece[..., max(0, lo - start) : max(0, hi - start)] for start, piece in pieces]
    present = [each for each in taken if each.shape[-1]] or taken[:1]
    if len(present) == 1:
        return present[0]
    return array_api_compat.array_namespace(*present).concat(present, axis=-1)


def _padded(signal: Any, job: Analysis) -> tuple[Any, int]:
    """The signal with what stands before and after it, but zeros, and where that begins on the padded axis.

    The first and the last chunk grow.
    """
    frames, n_samples = job.frames, signal.shape[-1]
    lo, hi = -frames.start, frames.span - frames.start  # the padded axis, counted from the signal's first sample
    if job.pad_mode == "constant" or (lo >= 0 and hi <= n_samples):
        return signal, frames.start
    before = _padding(signal, lo, 0, job.pad_mode)
    after = _padding(signal, n_samples, hi, job.pad_mode)
    sizes = list(signal.chunks[-1])
    sizes[0] += before.shape[-1]
    sizes[-1] += after.shape[-1]
    return da.concatenate([before, signal, after], axis=-1).rechunk({-1: tuple(sizes)}), min(0, frames.start)


def _padding(signal: Any, lo: int, hi: int, mode: str) -> Any:
    """What stands at samples [lo, hi), counted from the signal's first; reads no more of the signal than it needs."""
    if lo >= hi:
        return signal[..., :0]
    index = padding_index(lo, hi, signal.shape[-1], mode)
    near = int(index.min())
    part = signal[..., near : int(index.max()) + 1].rechunk({-1: -1})
    return part.map_blocks(_at, index=index - near, chunks=(*part.chunks[:-1], (hi - lo,)), meta=signal._meta)


def _at(block: Any, index: np.ndarray) -> Any:
    xp = array_api_compat.array_namespace(block)
    return xp.take(block, xp.asarray(index, device=array_api_compat.device(block)), axis=-1)
