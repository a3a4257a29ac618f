"""Dask: a chunk of frames makes the samples that stand at its place, a chunk of samples the frames.

Frame m stands at sample m * hop of the signal, so chunks of n frames and of n * hop samples are each other's
transforms. What a chunk needs beyond itself are the last columns of the chunk before it and the first of the one
after it: small copies of these travel, never whole chunks, and the frames in them are transformed again. (Sums of
what each chunk makes alone would travel in less, but then the bits would depend on the chunks.) Chunks that are
shorter than what their neighbours need of them are joined first.

Chunks keep the library that they are of: each task calls its backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import array_api_compat
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..arguments import error
from ..dtypes import PRECISION, SPECTRUM, dtype_name
from ..frames import Frames, padding_index
from ..jobs import Analysis, Synthesis
from . import backend_for, device, namespace, required_backend
from .base import Backend

# Chunks of more frames (in overlaps) make their edges apart: that saves a copy of the chunk, and (of a signal)
# transforms some frames twice.
_SEGMENTS = 16  # of one task of `in_segments`
_LONG = 64

Make = Callable[..., Any]  # (array, job, out=None) -> array


class DaskBackend(Backend):
    lazy = True

    def synthesis(self, spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
        """`workers` are the threads of one task, by default 1: Dask runs tasks side by side."""
        kind = dtype_name(spectrum)
        make = partial(required_backend(spectrum._meta).synthesis, workers=workers or 1)
        return _overlap_added("synthesis", spectrum, job, make, PRECISION[kind] if job.real else kind)

    def analysis(self, signal: Any, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
        """`workers` as in `synthesis`."""
        kind = dtype_name(signal)
        make = partial(required_backend(signal._meta).analysis, workers=workers or 1)
        n_rows = job.frames.n_fft // 2 + 1 if job.onesided else job.frames.n_fft
        return _framed("analysis", signal, job, make, n_rows, SPECTRUM.get(kind, kind))

    def overlap_add(self, segments: Any, job: Synthesis) -> Any:
        make = partial(_written, required_backend(segments._meta).overlap_add)
        return _overlap_added("overlap_add", segments, job, make, dtype_name(segments))

    def times_ends(self, spectrum: Any, n_fft: int, factor: float, out: Any = None) -> Any:
        whole = spectrum.rechunk({-2: -1})
        make = required_backend(whole._meta).times_ends
        return whole.map_blocks(make, n_fft, factor, dtype=whole.dtype, meta=whole._meta)

    def frame(self, signal: Any, job: Analysis) -> Any:
        make = partial(_written, required_backend(signal._meta).frame)
        return _framed("frame", signal, job, make, job.frames.n_fft, dtype_name(signal))

    def as_complex(self, real: Any, imag: Any) -> Any:
        real, imag = da.broadcast_arrays(real, imag)
        kind = "complex64" if {dtype_name(real), dtype_name(imag)} == {"float32"} else "complex128"
        indices = tuple(range(real.ndim))
        make = required_backend(real._meta).as_complex
        return da.blockwise(make, indices, real, indices, imag, indices, meta=_meta(real, real.ndim, kind))

    def joined(self, pairs: Any) -> Any:
        meta = _meta(pairs, pairs.ndim - 1, SPECTRUM[dtype_name(pairs)])
        whole = pairs.rechunk({-1: -1})
        return whole.map_blocks(required_backend(pairs._meta).joined, drop_axis=pairs.ndim - 1, meta=meta)

    def on_host(self, array: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
        """One task for each chunk of the leading axes, which holds all bins and frames of its items."""
        whole = array.rechunk({-2: -1, -1: -1})
        meta = whole._meta * np.complex64(1)
        return whole.map_blocks(lambda block: required_backend(block).on_host(block, function), meta=meta)

    def by_signal(self, function: Callable, array: Any, core: int, shape: tuple[int, ...], dtype: str) -> Any:
        """One task for each chunk of the leading axes, whose last `core` axes are made whole."""
        whole = array.rechunk(dict.fromkeys(range(array.ndim - core, array.ndim), -1))
        batch = array.ndim - core
        return whole.map_blocks(
            function,
            drop_axis=list(range(batch, array.ndim)),
            new_axis=list(range(batch, batch + len(shape))),
            chunks=(*whole.chunks[:batch], *((size,) for size in shape)),
            meta=np.zeros((0,) * (batch + len(shape)), dtype),
        )

    def in_segments(self, record: Any, cut: Any, whole: Callable[[Any], Any]) -> Any:
        """Tasks of some segments each: those that reach into two tasks are computed in both."""
        axis, n, hop = cut.axis, record.shape[cut.axis], cut.hop
        shape = list(record.shape)
        shape[axis] = cut.segment
        (like,) = cut.results([namespace(record._meta).zeros(tuple(shape), dtype=record.dtype)])
        empty, count, pieces = like[(slice(0, 0),) * len(like.shape)], cut.count(n), []
        for first in range(0, count, _SEGMENTS):
            last = min(first + _SEGMENTS, count)
            begin = max(0, first + 1 - -(-cut.segment // hop))  # the first segment that reaches what `first` reaches
            stop = n if last == count else last * hop
            source = record[cut.along(begin * hop, min(n, (last - 1) * hop + cut.segment))].rechunk(-1)
            chunks = [(size,) for size in like.shape]
            chunks[axis] = (stop - first * hop,)
            kept = cut.along((first - begin) * hop, stop - begin * hop)
            pieces.append(source.map_blocks(_of_task, whole, kept, dtype=like.dtype, chunks=tuple(chunks), meta=empty))
        return da.concatenate(pieces, axis=len(like.shape) + axis)

    def checked(self, function: str, name: str, array: Any) -> Any:
        if any(size != size for size in array.shape):  # nan: not known before it is computed
            got = f"shape {array.shape}"
            raise error(ValueError, function, name, "known chunk sizes", got, "compute_chunk_sizes()")
        backend = backend_for(array._meta)
        if backend is None:
            raise error(TypeError, function, name, "chunks of NumPy, CuPy, ...", type(array._meta).__name__)
        backend.checked(function, name, array._meta)
        return array

    def check_out(self, function: str, out: Any, array: Any, shape: tuple[int, ...], dtype: str) -> None:
        raise error(TypeError, function, "out", "an array that can be written in place", "dask.array.Array (lazy)")


BACKEND = DaskBackend()


def _of_task(block: Any, whole: Callable[[Any], Any], kept: tuple[Any, ...]) -> Any:
    return whole(block)[kept]


def _written(make: Make, array: Any, job: Any, out: Any = None) -> Any:
    """The result of make(array, job), a map that has no `out`, in `out` if that is there."""
    result = make(array, job)
    if out is None:
        return result
    out[...] = result
    return out


def _overlap_added(name: str, source: Any, job: Synthesis, make: Make, dtype: str) -> Any:
    """The signal, in chunks at the place of the chunks of frames of `source`, each made of its own."""
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
    kept = {i: (firsts[i], lo, hi) for i, (lo, hi) in enumerate(pairwise(edges)) if lo < hi}
    chunks = (*source.chunks[:-2], tuple(hi - lo for _, lo, hi in kept.values()))
    task = partial(_samples, plan=_Plan(_Known.of(job), make, dtype))
    signal = _of_chunks(name, source, kept, before, after, task, chunks, _meta(source, len(chunks), dtype))
    if stop == frames.stop:
        return signal
    beyond = (*signal.shape[:-1], frames.stop - stop)
    return da.concatenate([signal, da.zeros_like(signal, shape=beyond, chunks=(*chunks[:-1], longest))], -1)


def _samples(block: Any, before: Any, after: Any, first: int, lo: int, hi: int, plan: _Plan) -> Any:
    """Samples [lo, hi) of the padded axis, made of a chunk of frames, `first` and following, and those beside it."""
    frames = plan.whole.job.frames
    last = first + block.shape[-1]
    pieces = _placed(before, block, after, first)

    def made(lo: int, hi: int, out: Any = None) -> Any:
        columns, segment = frames.segment(lo, hi)
        job = _synthesis(plan.whole, segment, _origin(plan.whole.job, lo, hi, columns.start))
        return plan.make(_taken(pieces, columns.start, columns.stop), job, out=out)

    if last - first < _LONG * frames.overlap:
        return made(lo, hi)
    p = lo if before is None else min(hi, max(lo, (first - 1) * frames.hop + frames.n_fft))
    q = hi if after is None else max(p, min(hi, last * frames.hop))  # in [p, q) no other frames are needed
    return _in_parts(made, (lo, p, q, hi), lambda: _empty(block, (*block.shape[:-2], hi - lo), plan.dtype))


def _framed(name: str, signal: Any, job: Analysis, make: Make, n_rows: int, dtype: str) -> Any:
    """The frames, in chunks at the place of the chunks of samples, each made of its own."""
    frames = job.frames
    place = _place(frames)
    before, after = place, frames.n_fft - 1 - place  # samples that frames need
    signal, start = _padded(signal, job)
    groups = _joined(signal.chunks[-1], max(before, after, frames.hop))
    signal = signal.rechunk({-1: groups})
    starts = list(accumulate(groups, initial=start))
    edges = [min(max(0, -((place - lo) // frames.hop)), frames.n_frames) for lo in starts]  # ceil((lo - place) / hop)
    edges[0], edges[-1] = 0, frames.n_frames
    kept = {i: (starts[i], first, last) for i, (first, last) in enumerate(pairwise(edges)) if first < last}
    chunks = (*signal.chunks[:-1], (n_rows,), tuple(last - first for _, first, last in kept.values()))
    laid = replace(job, frames=replace(frames, start=start, stop=starts[-1]), pad_mode="constant")
    task = partial(_columns, n_rows=n_rows, plan=_Plan(_Known.of(laid), make, dtype))
    return _of_chunks(name, signal, kept, before, after, task, chunks, _meta(signal, len(chunks), dtype))


def _columns(block: Any, before: Any, after: Any, start: int, first: int, last: int, n_rows: int, plan: _Plan) -> Any:
    """Frames [first, last), made of a chunk of samples, from `start` on the padded axis, and of those beside it."""
    frames = plan.whole.job.frames
    stop = start + block.shape[-1]
    pieces = _placed(before, block, after, start)

    def made(first: int, last: int, out: Any = None) -> Any:
        origin = first * frames.hop
        lo = max(frames.start, origin)
        hi = max(lo, min(frames.stop, origin + frames.hop * (last - first - 1) + frames.n_fft))
        laid = replace(frames, n_frames=last - first, start=lo - origin, stop=hi - origin)
        return plan.make(_taken(pieces, lo, hi), _analysis(plan.whole, laid), out=out)

    if last - first < _LONG * frames.overlap:
        return made(first, last)
    p = first if before is None else min(last, max(first, -(-start // frames.hop)))
    q = last if after is None else max(p, min(last, (stop - frames.n_fft) // frames.hop + 1))  # [p, q) lie in the chunk
    shape = (*block.shape[:-1], last - first, n_rows)
    return _in_parts(made, (first, p, q, last), lambda: _swapped(_empty(block, shape, plan.dtype)))


@dataclass(frozen=True)
class _Known:
    """A job as all tasks of an array bring it along, known by its content: a process keeps the first that came."""

    token: str
    job: Any = field(compare=False)

    @classmethod
    def of(cls, job: Synthesis | Analysis) -> _Known:
        return cls(tokenize(job), job)


class _Plan(NamedTuple):
    """What a task makes: a part of the result of `make` for a whole job, of this dtype."""

    whole: _Known
    make: Make
    dtype: str


# Jobs of parts are equal for most chunks, and backends cache what they derive from a job: 4 % of the time of 2000
# frames, for each chunk.
@lru_cache(maxsize=64)
def _synthesis(whole: _Known, frames: Frames, origin: int) -> Synthesis:
    return replace(whole.job, frames=frames, origin=origin)


@lru_cache(maxsize=64)
def _analysis(whole: _Known, frames: Frames) -> Analysis:
    return replace(whole.job, frames=frames)


def _origin(job: Synthesis, lo: int, hi: int, first: int) -> int:
    """Where frame `first` stands on the gain's axis; where the gain of [lo, hi) is periodic, in its first periods."""
    gain, hop = job.gain, job.frames.hop
    if gain is None:
        return 0
    place, head = job.origin + first * hop, gain.head.shape[0]
    steady = head <= lo + job.origin and hi + job.origin <= gain.tail_start
    return place - (lo + job.origin - head) // hop * hop if steady else place


def _in_parts(made: Callable[..., Any], edges: tuple[int, ...], empty: Callable[[], Any]) -> Any:
    """made(lo, hi) of neighbouring spans, side by side along the last axis; written in place where that is possible."""
    spans = [(lo, hi) for lo, hi in pairwise(edges) if lo < hi]
    if len(spans) == 1:
        return made(*spans[0])
    whole = empty()
    if not array_api_compat.is_writeable_array(whole):
        return namespace(whole).concat([made(lo, hi) for lo, hi in spans], axis=-1)
    for lo, hi in spans:
        made(lo, hi, out=whole[..., lo - edges[0] : hi - edges[0]])
    return whole


def _empty(array: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Of the library and on the device of `array`."""
    xp = namespace(array)
    return xp.empty(shape, dtype=getattr(xp, dtype), device=device(array))


def _swapped(array: Any) -> Any:
    axes = range(array.ndim)
    return namespace(array).permute_dims(array, (*axes[:-2], axes[-1], axes[-2]))


def _meta(array: Any, ndim: int, dtype: str) -> Any:
    """An empty array of the library of the chunks: what Dask knows a result by."""
    xp = namespace(array._meta)
    return xp.empty((0,) * ndim, dtype=getattr(xp, dtype))


def _place(frames: Frames) -> int:
    """The sample of a frame at which chunks are cut.

    Frame m is cut at sample m * hop of the signal, where the padding is no longer than a frame.
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


def _of_chunks(
    name: str,
    array: Any,
    kept: Mapping[int, tuple[int, ...]],
    before: int,
    after: int,
    task: Callable[..., Any],
    chunks: tuple[tuple[int, ...], ...],
    meta: Any,
) -> Any:
    """task(chunk, the `before` columns before it, the `after` columns after it, *kept[i]) of the chunks i of `array`.

    kept : by the number of a chunk along the last axis; where a chunk has no neighbour, the task is given None

    By hand: `map_blocks` copies chunks of which it drops an axis (a sixth of the time of a round trip).
    """
    last = array.numblocks[-1] - 1
    ends = _ends(array, before, after) if last and (before or after) else None
    name = f"{name}-{tokenize(array.name, kept, before, after, task)}"
    task = partial(_beside, task=task, after=after)
    leading = min(array.ndim, len(chunks)) - 1  # axes that keep their chunks; those between are one chunk
    graph: dict[Any, Any] = {}
    for index in np.ndindex(array.numblocks[:leading]):
        here = (*index, *(0,) * (array.ndim - 1 - leading))
        there = (name, *index, *(0,) * (len(chunks) - 1 - leading))
        for k, (i, numbers) in enumerate(kept.items()):
            previous = (ends.name, *here, i - 1) if ends is not None and before and i > 0 else None
            following = (ends.name, *here, i + 1) if ends is not None and after and i < last else None
            graph[(*there, k)] = (task, (array.name, *here, i), previous, following, *numbers)
    sources = [array] if ends is None else [array, ends]
    return da.Array(HighLevelGraph.from_collections(name, graph, sources), name, chunks, meta=meta)


def _beside(block: Any, previous: Any, following: Any, *numbers: int, task: Callable[..., Any], after: int) -> Any:
    """`task`, of what a chunk needs of the ends of its neighbours."""
    before = None if previous is None else previous[..., after:]
    return task(block, before, None if following is None else following[..., :after], *numbers)


def _ends(array: Any, before: int, after: int) -> Any:
    """The first `after` and the last `before` columns of each chunk, side by side: what its neighbours need of it."""
    name = f"ends-{tokenize(array.name, before, after)}"
    graph: dict[Any, Any] = {
        (name, *index): (_both_ends, (array.name, *index), before, after) for index in np.ndindex(array.numblocks)
    }
    chunks = (*array.chunks[:-1], (after + before,) * array.numblocks[-1])
    return da.Array(HighLevelGraph.from_collections(name, graph, [array]), name, chunks, meta=array._meta)


def _both_ends(block: Any, before: int, after: int) -> Any:
    """A copy, so that the block can go."""
    size = block.shape[-1]
    return namespace(block).concat([block[..., :after], block[..., size - before :]], axis=-1)


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
    return namespace(*present).concat(present, axis=-1)


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
    xp = namespace(block)
    return xp.take(block, xp.asarray(index, device=device(block)), axis=-1)
