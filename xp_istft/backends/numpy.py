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
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..arguments import error
from ..dtypes import dtype_name
from ..frames import Frames
from ..jobs import Analysis, Running, Synthesis
from ..windows import HopPeriodic
from .base import Backend
from .fft_engines import Engine, engine_for, get_fft_engine
from .framing import Framed, padded_frames
from .in_place import IN_PLACE, distances
from .overlap import (
    Overlap,
    Transform,
    Whole,
    add_frames,
    gather,
    gather_whole,
    overlap_of,
    scatter,
    seconds,
    whole_of,
    with_true_gain,
)
from .results import empty
from .scratch import keep_views, known_views, scratch
from .threads import Share, run, thread_count

# Frames of one block. 64 KB cost 20-160 % more time, 2 MB hardly less.
_BLOCK_BYTES = 1 << 20
_BLOCK_ROWS = 2048
_LEAST_ROWS = 4  # and history, of frames so long that no block of them is in cache
_VECTOR = 4  # frames that FFTs of float32 compute side by side (of float64 two); a remainder takes twice as long
_THREADED_SECONDS = 1.5e-3  # less work than this is done sooner by one thread
_TASKS_PER_THREAD = 4  # evens out a busy core
_TOUCHED_BYTES = 1 << 16
_CACHE_SETS = 1024  # bytes: numbers this far apart, or a multiple, share few sets of a cache
_SMALL = "small"
_SEGMENTS = "segments"
_WINDOWS_BYTES = 1 << 15  # of copies of the window: they stay in the nearest cache
# Pushes of at least this many frames (and overlaps) are added as in one call, but for those that reach waiting sums.
_MANY_FRAMES = 16
_MANY_OVERLAPS = 3
_RETRIEVAL_WORK = 4  # a block's FFT, magnitudes and step beside the FFT alone
_RETRIEVAL_BUFFERS = 3  # arrays of a block that its cache should hold at once: frames, spectra, magnitudes

_FLOAT, _DOUBLE, _SINGLE_COMPLEX, _DOUBLE_COMPLEX = map(np.dtype, "fdFD")
_REAL = {_SINGLE_COMPLEX: _FLOAT, _DOUBLE_COMPLEX: _DOUBLE}
_COMPLEX = {
    _FLOAT: _SINGLE_COMPLEX,
    _DOUBLE: _DOUBLE_COMPLEX,
    _SINGLE_COMPLEX: _SINGLE_COMPLEX,
    _DOUBLE_COMPLEX: _DOUBLE_COMPLEX,
}


class NumPyBackend(Backend):
    """The maps of this module; what each is made of stands below it."""

    def synthesis(
        self, spectrum: np.ndarray, job: Synthesis, out: np.ndarray | None = None, workers: int | None = None
    ) -> np.ndarray:
        key = (_SMALL, job, spectrum.shape, spectrum.strides, spectrum.dtype, get_fft_engine())
        if out is None and (small := known_views(key)):
            return small(spectrum)
        kind = spectrum.dtype
        if out is None:
            out = empty("istft", (*spectrum.shape[:-2], job.frames.n_samples), _REAL[kind] if job.real else kind)
        inverse = _inverse_of(spectrum, job)
        _overlap_added(spectrum, job, inverse, out, workers)
        if out.ndim == 1 and (whole := known_views((_plan_of(job, out.dtype, inverse.factor), 1))):
            keep_views(key, partial(_whole_signal, inverse, whole, out.dtype), whole.inside)
        return out

    def analysis(
        self, signal: np.ndarray, job: Analysis, out: np.ndarray | None = None, workers: int | None = None
    ) -> np.ndarray:
        frames = job.frames
        kind = _COMPLEX[signal.dtype]
        if out is None:  # frames one after the other in memory, as librosa and torch lay them
            n_bins = frames.n_fft // 2 + 1 if job.onesided else frames.n_fft
            out = empty("stft", (*signal.shape[:-1], frames.n_frames, n_bins), kind).swapaxes(-1, -2)
        forward = _forward(job, engine_for(frames.n_fft, kind, job.onesided), kind)
        for one, result in _batches(signal.ndim - 1, signal, out):
            if len(one):
                _transformed(one, job, forward, result.transpose(0, 2, 1), workers)
        return out

    def overlap_add(self, segments: np.ndarray, job: Synthesis) -> np.ndarray:
        out = empty("overlap_add", (*segments.shape[:-2], job.frames.n_samples), segments.dtype)
        _overlap_added(segments, job, _COPY, out, None)
        return out

    def frame(self, signal: np.ndarray, job: Analysis) -> np.ndarray:
        frames = job.frames
        shape = (*signal.shape[:-1], frames.n_frames, frames.n_fft)
        out = empty("frame", shape, signal.dtype).swapaxes(-1, -2)
        window = None if job.window is None else job.window.astype(_REAL.get(signal.dtype, signal.dtype))
        for one, result in _batches(signal.ndim - 1, signal, out):
            if len(one):
                _copied_frames(one, job, window, result.transpose(0, 2, 1))
        return out

    def waiting(self, spectrum: np.ndarray, running: Running) -> np.ndarray:
        """Where frames are added in groups (..., 2, waiting): the sums of the complete groups, and of the last."""
        kind = _REAL[spectrum.dtype] if running.job.real else spectrum.dtype
        groups = (2,) if _plan_of(running.job, kind).group else ()
        return np.zeros((*spectrum.shape[:-2], *groups, running.waiting), kind)

    def continued(
        self, spectrum: np.ndarray, sums: np.ndarray, frame: int, running: Running
    ) -> tuple[np.ndarray, np.ndarray]:
        job, held, hop = running.job, running.waiting, running.job.frames.hop
        *_, n_bins, count = spectrum.shape
        frames = spectrum.reshape(-1, n_bins, count).transpose(0, 2, 1)
        inverse = _inverse_of(spectrum, job)
        plan = _plan_of(job, sums.dtype, inverse.factor)
        many = _beyond_the_sums(running, count, sums.dtype) if count >= _MANY_FRAMES and not plan.group else None
        one_by_one = count if many is None else job.frames.overlap - 1  # these frames reach the sums
        with inverse.around():
            total = np.zeros((*sums.shape[:-1], held + one_by_one * hop), sums.dtype)
            total[..., :held] = sums
            add_frames(plan, running, inverse.transform, frames[:, :one_by_one], total.view(plan.weights.dtype), frame)
            if many is not None:
                reached = total[..., :held]
                total = np.empty((*sums.shape[:-1], held + count * hop), sums.dtype)
                total[..., :held] = reached
                _overlap_added(spectrum, many, inverse, total[..., held:], None)
            signal = with_true_gain(_of_groups(total[..., : count * hop], plan), job.gain, frame * hop + running.edge)
        sums = total[..., count * hop :]
        return signal, sums if many is None else sums.copy()

    def ended(self, sums: np.ndarray, job: Synthesis, lo: int, skip: int, running: Running) -> np.ndarray:
        sums = _of_groups(sums, _plan_of(running.job, sums.dtype))
        signal = np.zeros((*sums.shape[:-1], job.frames.stop - lo), sums.dtype)
        inside = sums[..., skip : skip + signal.shape[-1]]
        signal[..., : inside.shape[-1]] = inside
        with np.errstate(all="ignore"):
            return with_true_gain(signal, job.gain, lo)

    def retrieve(
        self,
        start: np.ndarray,
        magnitude: np.ndarray,
        inverse: Synthesis,
        forward: Analysis,
        stages: Sequence[Any],
        watch: Callable[[float], bool] | None = None,
        workers: int | None = None,
    ) -> np.ndarray:
        """Block by block, without whole spectra: each block is transformed and updated while it is in cache.

        What one iteration passes to the next is the signal, and of each bin the next proposal and one complex number.
        """
        axes = magnitude.ndim - 2
        proposal, target = (_frames_first(array, axes) for array in (start, magnitude))
        scale = _scale(target)
        target /= scale
        proposal /= scale
        kind, frames, items = target.dtype, forward.frames, len(target)
        signal = empty("griffin_lim", (items, frames.n_samples), kind)
        engine = engine_for(frames.n_fft, proposal.dtype)
        transforms = _forward(forward, engine, proposal.dtype)
        work = items * frames.n_frames * seconds(frames.n_fft) * _RETRIEVAL_WORK
        threads = _threads(work, workers)
        held = max(1, _BLOCK_BYTES // (_RETRIEVAL_BUFFERS * frames.n_fft * kind.itemsize))
        norm = float(np.linalg.norm(target))
        away = np.zeros(target.shape[:2])

        for algorithm, n_iter in stages:
            if not n_iter:
                continue
            memory = algorithm.memory(proposal, IN_PLACE)
            if memory is not None and np.may_share_memory(memory, proposal):
                memory = memory.copy()
            take = _taking(algorithm, transforms.transform, target, proposal, memory, None if watch is None else away)
            for _ in range(n_iter):
                self.synthesis(proposal.transpose(0, 2, 1), inverse, signal, workers)
                _each_block(signal, forward, transforms, take, held, threads)
                if watch is not None and watch(math.sqrt(away.sum()) / norm if norm else 0.0):
                    break
            proposal = algorithm.estimate(proposal, memory, IN_PLACE)
        proposal *= scale
        return proposal.reshape(*magnitude.shape[:-2], *proposal.shape[1:]).swapaxes(-1, -2)

    def as_complex(self, real: np.ndarray, imag: np.ndarray) -> np.ndarray:
        pair = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, imag, np.complex64))
        pair.real, pair.imag = real, imag
        return pair

    def joined(self, pairs: np.ndarray) -> np.ndarray:
        """Without a copy where the pairs lie side by side in memory."""
        kind = np.result_type(pairs.dtype, np.complex64)
        if pairs.strides[-1] == pairs.itemsize and pairs.dtype.isnative:
            return pairs.view(kind)[..., 0]
        return self.as_complex(pairs[..., 0], pairs[..., 1])

    def at_hand(self, array: np.ndarray) -> np.ndarray:
        return array

    def on_host(self, array: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return function(array)

    def checked(self, function: str, name: str, array: np.ndarray) -> np.ndarray:
        """A plain array in native byte order."""
        array = np.asarray(array)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def check_out(self, function: str, out: Any, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
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


BACKEND = NumPyBackend()


def _whole_signal(inverse: _Inverse, whole: Whole, dtype: np.dtype, spectrum: np.ndarray) -> np.ndarray:
    """`synthesis` of one small spectrum of a kind that was met before: what takes 3 us to find out is known."""
    signal = np.empty(whole.plan.size * whole.plan.weights.itemsize // dtype.itemsize, dtype)
    with inverse.around():
        gather_whole(whole, inverse.transform, spectrum.T[None], signal[None])
    return signal


def _inverse_of(spectrum: np.ndarray, job: Synthesis) -> _Inverse:
    """The inverse FFTs of spectra that lie in memory as this one does."""
    engine = engine_for(job.frames.n_fft, spectrum.dtype, job.onesided)
    return _inverse(job, engine, _packed(spectrum) if engine.packed else _as_they_lie)


Around = Callable[[], AbstractContextManager[Any]]  # entered by each thread


class _Inverse(NamedTuple):
    """What makes segments of spectra."""

    transform: Transform
    around: Around
    buffers: int  # arrays of a block's size that it takes, the segments among them
    factor: float  # that the segments still want


@lru_cache(maxsize=128)
def _inverse(job: Synthesis, engine: Engine, prepared: Callable[[Any], np.ndarray]) -> _Inverse:
    """The inverse FFTs of a job, of spectra that are `prepared` for its engine."""
    n_fft = job.frames.n_fft
    if job.onesided:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            engine.irfft(prepared(spectra), n_fft, segments)

    elif job.real:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            ready = prepared(spectra)
            full = scratch("spectra", ready.shape, ready.dtype)
            engine.ifft(ready, full)
            segments[...] = full.real

    else:

        def transform(spectra: np.ndarray, segments: np.ndarray) -> None:
            ready = prepared(spectra)
            engine.ifft(ready, segments.view(ready.dtype))

    halves = not job.onesided and job.real
    copies = engine.makes + _COPIES.get(prepared, 0)
    factor = 1 if engine.divides else 1 / n_fft
    return _Inverse(transform, engine.on_this_thread, 1 + copies + (2 + copies) * halves, factor)


def _copied(source: np.ndarray, segments: np.ndarray) -> None:
    segments.view(source.dtype)[...] = source


_quiet = partial(np.errstate, all="ignore")
_COPY = _Inverse(_copied, _quiet, 1, 1)


def _as_they_lie(spectra: np.ndarray) -> np.ndarray:
    return spectra


def _touched(spectra: np.ndarray) -> np.ndarray:
    """Packed spectra, after reading one number in every 64 bytes: a simple stream, which the hardware prefetches.

    MKL's own order of reading cost 1.2 to 2 times as much.
    """
    if spectra.nbytes > _TOUCHED_BYTES:
        spectra.view(_REAL[spectra.dtype])[..., :: 64 // (spectra.itemsize // 2)].max()
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


def _overlap_added(source: np.ndarray, job: Synthesis, inverse: _Inverse, out: np.ndarray, workers: int | None) -> None:
    plan = _plan_of(job, out.dtype, inverse.factor)
    for frames, signal in _batches(out.ndim - 1, source, out):
        if signal.size:
            _one_batch(plan, inverse, frames.transpose(0, 2, 1), signal, workers)


def _one_batch(plan: Overlap, inverse: _Inverse, frames: np.ndarray, signal: np.ndarray, workers: int | None) -> None:
    """Signal (items, n_samples) of frames (items, n_frames, bins)."""
    transform, around, buffers, _ = inverse
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
    threads = _threads(plan.seconds * items, workers)
    if plan.group:
        _scattered(plan, inverse, frames, signal, threads)
        return
    held = _BLOCK_BYTES // (buffers * row * plan.weights.itemsize)  # frames of one block
    if threads == 1 and items * (rows + history) <= held:
        with around():
            if packed and plan.size % plan.hop == 0:
                gather_whole(whole_of(plan, items), transform, frames, signal)
            else:
                gather(plan, transform, frames, signal, (0, rows), rows, None)
                plan.finish(signal)
        return
    tasks, per_block = _cut(items, rows, history, held, threads)

    def work(task: Task, share: Share) -> None:
        batch, (lo, hi) = task
        gather(plan, transform, frames[batch], signal[batch], (lo, hi), per_block, share)

    run(work, tasks, threads, around)
    with around():
        plan.finish(signal)


def _threads(work: float, workers: int | None) -> int:
    """Threads for so many seconds of work."""
    return 1 if work < _THREADED_SECONDS else thread_count(workers)


Task = tuple[slice, tuple[int, int]]  # some items of the batch, and rows (or frames) [lo, hi) of each


def _cut(items: int, rows: int, history: int, held: int, threads: int) -> tuple[list[Task], int]:
    """Tasks, and the rows of a block, for `items` signals of `rows` rows where `held` frames make a block.

    Either a task is several whole items that make one block, or it is a part of one item.
    """
    per_block = max(_in_vectors(_LEAST_ROWS + history), min(_BLOCK_ROWS, held - history) // _VECTOR * _VECTOR)
    if 2 * rows <= per_block:
        together = max(1, min(-(-items // threads), held // (rows + history)))
        return [(slice(b, min(items, b + together)), (0, rows)) for b in range(0, items, together)], rows
    parts = 1 if threads == 1 else min(-(-threads * _TASKS_PER_THREAD // items), max(1, rows // max(1, 4 * history)))
    blocks = -(-rows // (per_block * parts))  # of one part
    per_block = min(per_block, _in_vectors(-(-rows // (blocks * parts))))
    part = blocks * per_block
    spans = [(lo, min(rows, lo + part)) for lo in range(0, rows, part)]
    return [(slice(b, b + 1), span) for b in range(items) for span in spans], per_block


def _in_vectors(rows: int) -> int:
    """The next number of rows that leaves none over."""
    return -(-rows // _VECTOR) * _VECTOR


def _scattered(plan: Overlap, inverse: _Inverse, frames: np.ndarray, signal: np.ndarray, threads: int) -> None:
    """As _one_batch, where hops are many and short."""
    dtype = plan.weights.dtype
    packed = signal.strides[1] == signal.itemsize
    numbers = (signal if packed else np.empty(signal.shape, signal.dtype)).view(dtype)
    pieces = 1 if threads == 1 else -(-threads * _TASKS_PER_THREAD // len(numbers))
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


def _batches(axes: int, *arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The arrays with their first `axes` axes made one, in as few tuples as that takes without a copy."""
    if axes == 0:
        return [tuple(array[None] for array in arrays)]
    if axes == 1:
        return [arrays]
    batch = arrays[0].shape[:axes]
    inner = axes - 1  # axes [inner, axes) are one stride apart in all arrays
    while inner and all(each.strides[inner - 1] == each.strides[inner] * batch[inner] for each in arrays):
        inner -= 1
    size = math.prod(batch[inner:])

    def as_one(array: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
        return array[index].reshape(size, *array.shape[axes:])

    return [tuple(as_one(array, index) for array in arrays) for index in np.ndindex(batch[:inner])]


@lru_cache(maxsize=32)
def _beyond_the_sums(running: Running, count: int, kind: np.dtype) -> Synthesis | None:
    """What `count` frames make of the samples that no earlier frame reaches, with the steady gain throughout.

    None where frames are better added one by one.
    """
    job, laid = running.job, running.job.frames
    frames = Frames(laid.n_fft, laid.hop, count, laid.n_fft - laid.hop, laid.n_fft + laid.hop * (count - 1))
    gain = job.gain
    if gain is not None:
        none = np.zeros(0)
        gain = HopPeriodic(none, np.where(gain.period == 0, 1, gain.period), none, frames.stop)
    many = replace(job, frames=frames, gain=gain)
    return None if count < _MANY_OVERLAPS * laid.overlap or _plan_of(many, kind).group else many


def _of_groups(sums: np.ndarray, plan: Overlap) -> np.ndarray:
    return sums[..., 0, :] + sums[..., 1, :] if plan.group else sums.copy()


def _plan_of(job: Synthesis, kind: np.dtype, factor: float = 1) -> Overlap:
    real = _REAL.get(kind, kind)
    return overlap_of(job, real, kind.itemsize // real.itemsize, factor)


def _copied_frames(signal: np.ndarray, job: Analysis, window: np.ndarray | None, result: np.ndarray) -> None:
    """Frames of signal (items, n_samples) times the window to result (items, n_frames, n_fft)."""
    items, n_frames, n_fft = result.shape
    threads = _threads(items * n_frames * seconds(n_fft), None)
    tasks, per_block = _cut(items, n_frames, 0, _BLOCK_BYTES // (n_fft * result.itemsize), threads)
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

    run(work, tasks, threads, _quiet)


class _Forward(NamedTuple):
    """What makes spectra of frames."""

    kind: np.dtype  # of the segments
    windows: np.ndarray  # copies of the window, one after the other, as real numbers
    transform: Callable[[np.ndarray, np.ndarray], Any]  # (segments (items, frames, n_fft), place of their spectra)
    around: Around
    buffers: int  # arrays of a block's size that it takes


@lru_cache(maxsize=128)
def _forward(job: Analysis, engine: Engine, kind: np.dtype) -> _Forward:
    """To spectra of this dtype."""
    segment_kind = _REAL[kind] if job.onesided else kind
    windows = _windows(job, segment_kind, engine.divides)
    transform = engine.rfft if job.onesided else engine.fft
    return _Forward(segment_kind, windows, transform, engine.on_this_thread, 1 + engine.makes)


def _windows(job: Analysis, kind: np.dtype, divided: bool) -> np.ndarray:
    """Copies of the window one after the other, as real numbers for segments of this dtype.

    divided : whether the transform divides by n_fft, so that the window is as much larger
    """
    n_fft = job.frames.n_fft
    window = (1 if job.window is None else job.window) * np.full(n_fft, float(n_fft if divided else 1))
    real = _REAL.get(kind, kind)
    window = np.repeat(window, kind.itemsize // real.itemsize).astype(real)
    return np.tile(window, max(1, _WINDOWS_BYTES // window.nbytes))


class _Segments(NamedTuple):
    """Frames in this thread's scratch: views of them."""

    frames: np.ndarray  # (items, frames, n_fft)
    rows: np.ndarray  # the same numbers, in rows as long as copies of the window are,
    rest: np.ndarray  # and those that are left


def _segments(forward: _Forward, items: int, count: int, n_fft: int) -> _Segments:
    kind, windows = forward.kind, forward.windows
    key = (_SEGMENTS, items, count, n_fft, kind)
    known = known_views(key)
    if known is not None:
        return known
    frames = scratch(_SEGMENTS, (items, count, n_fft), kind)
    numbers = frames.reshape(-1).view(windows.dtype)
    whole = numbers.size // windows.size * windows.size
    segments = _Segments(frames, numbers[:whole].reshape(-1, windows.size), numbers[whole:])
    keep_views(key, segments, frames)
    return segments


def _windowed(segments: _Segments, windows: np.ndarray) -> np.ndarray:
    """Multiplied in place: a copy of frames and this took 0.7 to 0.9 of the time of a product elsewhere."""
    np.multiply(segments.rows, windows, segments.rows)
    if segments.rest.size:
        np.multiply(segments.rest, windows[: segments.rest.size], segments.rest)
    return segments.frames


def _transformed(signal: np.ndarray, job: Analysis, forward: _Forward, result: np.ndarray, workers: int | None) -> None:
    """Spectra (items, n_frames, n_bins) of the frames of signal (items, n_samples)."""
    items, frames = len(signal), job.frames
    n_fft, n_frames = frames.n_fft, frames.n_frames
    threads = _threads(items * n_frames * seconds(n_fft), workers)
    size = max(signal.itemsize, forward.kind.itemsize)
    held = _BLOCK_BYTES // (forward.buffers * n_fft * size)
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

    _each_block(signal, job, forward, take, held, threads)


def _each_block(
    signal: np.ndarray,
    job: Analysis,
    forward: _Forward,
    take: Callable[[tuple[slice, slice], np.ndarray], None],
    held: int,
    threads: int,
) -> None:
    """take((items, frames), windowed segments (items, frames, n_fft)) of every block of `held` frames of the signal."""
    frames = job.frames
    tasks, per_block = _cut(len(signal), frames.n_frames, 0, held, threads)
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
            if b - a == frames.n_frames:
                np.copyto(segments.frames, padded_frames(signal[batch], job))
            else:
                framed.copy_to(segments.frames, batch, a)
            take((batch, slice(a, b)), _windowed(segments, forward.windows))

    run(work, tasks, threads, forward.around)


def _taking(
    algorithm: Any,
    transform: Transform,
    magnitude: np.ndarray,
    proposal: np.ndarray,
    memory: np.ndarray | None,
    away: np.ndarray | None,
) -> Callable[[tuple[slice, slice], np.ndarray], None]:
    """What becomes of the frames of a block: their part of `proposal` and `memory`, and how far off each is."""

    def take(here: tuple[slice, slice], segments: np.ndarray) -> None:
        z = scratch("spectra", (*segments.shape[:2], magnitude.shape[2]), proposal.dtype)
        transform(segments, z)
        if away is not None:
            away[here] = distances(z, magnitude[here])
        c, q = proposal[here], None if memory is None else memory[here]
        next_c, next_q = algorithm.step(z, magnitude[here], c, q, IN_PLACE)
        if next_q is not q:  # algorithms may make new arrays, or exchange those that they were given
            if q is None:
                cls = type(algorithm).__name__
                raise error(TypeError, "griffin_lim", "algorithm", "memory() to make what step() returns", cls)
            next_c = next_c.copy() if np.may_share_memory(next_c, q) else next_c
            q[...] = next_q
        if next_c is not c:
            c[...] = next_c

    return take


def _frames_first(array: np.ndarray, axes: int) -> np.ndarray:
    """A copy (items, n_frames, n_bins) of an array (..., n_bins, n_frames)."""
    packed = array.swapaxes(-1, -2).copy(order="C")
    return packed.reshape(math.prod(array.shape[:axes]), *packed.shape[-2:])


def _scale(magnitude: np.ndarray) -> np.ndarray:
    """Of each item a power of two near its largest magnitude: what follows is the same, bit for bit, on any scale."""
    peak = np.fmax.reduce(magnitude, axis=(1, 2), keepdims=True, initial=0)
    known = np.isfinite(peak) & (peak > 0)
    return np.where(known, np.ldexp(np.ones_like(peak), np.frexp(np.where(known, peak, 1))[1] - 1), 1)
