"""Overlap-add of NumPy frames, block by block: what is known beforehand (`Overlap`), and the two ways to add.

The signal is cut into rows of `hop` samples, counted from its first. With frames as the rows of a buffer, sample
[d + c + r * hop] of frame `first + j - r` falls on column c of row j, so that a row is

    signal[j, c] = sum over r of weights[r, c] * frame[first + j - r, d + c + r * hop]

and a view of the buffer with strides (n_fft, n_fft - hop, 1) holds the summands: one einsum windows, overlap-adds,
normalises and writes (0.52 us for a frame of 2048, against 1.13 us in single steps). Where hop does not divide n_fft,
or the signal does not start on a multiple of the hop, r runs over different ranges in up to three groups of columns.

Complex frames are taken as real ones, twice as wide: two *lanes*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import log2
from typing import NamedTuple

import numpy as np

from ...jobs import Running, Synthesis
from ...windows import HopPeriodic
from .memory import buffer, keep_views, known_views, pitch, scratch
from .threads import Share

# With many short hops whole frames are summed, which needs no history. Rows below 16 samples are too short for einsum's
# inner loop; a history of more bytes than the first number fills the cache, which up to the second costs less than
# groups of few frames do.
_SCATTER_HOP = 16
_SCATTER_OVERLAP = 32
_HISTORY_BYTES = 1 << 19, 1 << 24
_GROUP = 4  # below, transforms of groups of frames take up to twice the time of those of blocks
_GROUP_BYTES = 3 << 17
_SHORT = 4096  # samples that are multiplied by 1 in less time than a call takes
_SECONDS_PER_FLOP = 1 / 15e9

# Frames of a spectrum (items, frames, bins) to segments.
Transform = Callable[[np.ndarray, np.ndarray], None]


class Columns(NamedTuple):
    """Samples [lo, hi) of every row, which the same parts of frames reach."""

    lo: int
    hi: int
    oldest: int  # r of the earliest frame
    sample: int  # of the earliest frame that falls on `lo`
    weights: np.ndarray  # (parts, hi - lo), the earliest frame's first


@dataclass(frozen=True, eq=False)
class Overlap:
    """A synthesis without its FFT, in numbers (samples, times two where they are complex).

    Attributes
    ----------
    width, hop, size : numbers of a frame, of a row, of the signal
    n_frames : frames of the spectrum; others are zeros
    first, shift : row 0 begins `shift` numbers into hop `first` of the padded axis
    origin : frames before frame 0 of a longer job, of which this is a segment
    oldest, newest : the range of r
    columns, empty : groups of columns, and those that no frame reaches
    weights : (width,), window and steady gain together
    corrections : where the gain of samples is not the steady one, and their quotient
    zeros : samples that are 0 whatever the frames hold
    group : frames that `scatter` adds at once; 0: `gather` is the better way
    seconds : rough time of one signal on one core
    """

    width: int
    hop: int
    size: int
    n_frames: int
    first: int
    shift: int
    origin: int
    oldest: int
    newest: int
    columns: tuple[Columns, ...]
    empty: tuple[slice, ...]
    weights: np.ndarray
    corrections: tuple[tuple[slice, np.ndarray], ...]
    zeros: tuple[slice, ...]
    group: int
    seconds: float

    @property
    def history(self) -> int:
        """Frames before its own that a block needs."""
        return self.oldest - self.newest

    @property
    def rows(self) -> int:
        return -(-self.size // self.hop)

    def finish(self, signal: np.ndarray) -> None:
        """Turn the steady gain of signal (..., n_samples) into the true one."""
        for where, quotient in self.corrections:
            part = signal[..., where]
            np.multiply(part, quotient, part)
        for where in self.zeros:
            signal[..., where] = 0


@lru_cache(maxsize=128)
def overlap_of(job: Synthesis, dtype: np.dtype, lanes: int, factor: float) -> Overlap:
    """The plan of a job for real numbers of this dtype, whose frames still want this factor."""
    frames = job.frames
    n_fft, hop = frames.n_fft, frames.hop
    steady, corrections, zeros = _gains(job)
    window = np.full(n_fft, factor) if job.window is None else job.window * factor
    weights = window * steady[(job.origin + np.arange(n_fft)) % hop]
    first, shift = divmod(frames.start, hop)

    columns, empty = [], []
    cuts = sorted({0, hop - shift, (n_fft - shift) % hop, hop})
    for lo, hi in pairwise(cuts):
        newest = -((shift + lo) // hop)  # the least r with 0 <= shift + lo + r hop
        oldest = (n_fft - 1 - shift - lo) // hop
        if oldest < newest:
            empty.append(slice(lo * lanes, hi * lanes))
            continue
        parts = [weights[shift + lo + r * hop : shift + hi + r * hop] for r in range(oldest, newest - 1, -1)]
        block = np.repeat(np.stack(parts), lanes, axis=1).astype(dtype)
        columns.append(Columns(lo * lanes, hi * lanes, oldest, (shift + lo + oldest * hop) * lanes, block))
    newest = min((each.oldest + 1 - len(each.weights) for each in columns), default=0)
    oldest = max((each.oldest for each in columns), default=0)

    width = n_fft * lanes
    many = hop * lanes < _SCATTER_HOP and frames.overlap > _SCATTER_OVERLAP
    group = max(1, min(n_fft // (4 * hop), _GROUP_BYTES // (5 * width // 4 * dtype.itemsize)))
    history = (oldest - newest) * width * dtype.itemsize
    if not many and history <= _HISTORY_BYTES[group < _GROUP]:
        group = 0
    return Overlap(
        width=width,
        hop=hop * lanes,
        size=frames.n_samples * lanes,
        n_frames=frames.n_frames,
        first=first,
        shift=shift * lanes,
        origin=job.origin // hop,
        oldest=oldest,
        newest=newest,
        columns=tuple(columns),
        empty=tuple(empty),
        weights=np.repeat(weights, lanes).astype(dtype),
        corrections=tuple((where, quotient.astype(dtype)) for where, quotient in corrections),
        zeros=tuple(zeros),
        group=group,
        seconds=frames.n_frames * seconds(n_fft) * lanes,
    )


def seconds(n_fft: int) -> float:
    """Rough time of one real FFT and of what goes with it."""
    return _SECONDS_PER_FLOP * 2.5 * n_fft * log2(n_fft)


def _gains(job: Synthesis) -> tuple[np.ndarray, list[tuple[slice, np.ndarray]], list[slice]]:
    """Steady gain by phase (never 0), true gain / steady gain where that is not 1, and the samples whose gain is 0."""
    frames, gain = job.frames, job.gain
    hop, size = frames.hop, frames.n_samples
    if gain is None:
        return np.ones(hop), [], []
    steady, _ = _steady(gain)
    start = job.origin + frames.start  # of the signal, on the gain's axis
    end = gain.tail_start + gain.tail.size  # of the gain
    a = min(max(0, -start), size)  # samples [a, b) of the signal have a gain, [lo, hi) the steady one
    b = max(a, min(size, end - start))
    lo = max(a, min(b, gain.head.size - start))
    hi = max(lo, min(b, gain.tail_start - start))
    corrections, zeros = [], [slice(p, q) for p, q in ((0, a), (b, size)) if p < q]
    for p, q in ((a, lo), (hi, b)):
        values = gain.samples(start + p, start + q)
        zeros += [slice(p + i, p + j) for i, j in _runs(values == 0)]
        quotient = np.where(values == 0, 1, values / steady[(start + np.arange(p, q)) % hop])
        others = np.flatnonzero(quotient != 1)
        if others.size:
            i, j = int(others[0]), int(others[-1]) + 1
            corrections.append((slice(p + i, p + j), quotient[i:j]))
    if len(corrections) == 2 and hi - lo < _SHORT:
        (head, first), (tail, last) = corrections
        steady_part = np.ones(tail.start - head.stop)
        corrections = [(slice(head.start, tail.stop), np.concatenate([first, steady_part, last]))]
    reached = (job.origin + np.arange(min(hop, frames.n_fft))) % hop  # other phases lie in no frame
    for phase in reached[gain.period[reached] == 0]:
        zeros.append(slice(lo + int((phase - start - lo) % hop), hi, hop))
    return steady, corrections, zeros


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[lo, hi) of the runs of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


class _Block(NamedTuple):
    """Views of segments for `rows` rows of `items` signals."""

    segments: np.ndarray  # (items, history + rows, width)
    history: np.ndarray  # of them the first,
    new: np.ndarray  # the others,
    last: np.ndarray  # and the history of the next block
    sums: tuple[tuple[np.ndarray, np.ndarray, slice | None], ...]  # (items, rows, parts, columns), weights, columns


def _block(plan: Overlap, items: int, rows: int) -> _Block:
    """In this thread's buffer."""
    key = (plan, items, rows)
    known = known_views(key)
    if known is not None:
        return known
    dtype, hop = plan.weights.dtype, plan.hop
    size = dtype.itemsize
    apart = pitch(plan.width, size)
    count = plan.history + rows
    memory = buffer("segments", items * count * apart * size)
    sums = []
    for each in plan.columns:
        parts, n_columns = each.weights.shape
        offset = (plan.oldest - each.oldest) * apart + each.sample
        strides = tuple(size * step for step in (count * apart, apart, apart - hop, 1))
        summands = np.ndarray((items, rows, parts, n_columns), dtype, memory, offset * size, strides)
        sums.append((summands, each.weights, None if n_columns == hop else slice(each.lo, each.hi)))
    strides = (count * apart * size, apart * size, size)
    segments = np.ndarray((items, count, plan.width), dtype, memory, 0, strides)
    block = _Block(segments, segments[:, : plan.history], segments[:, plan.history :], segments[:, rows:], tuple(sums))
    keep_views(key, block, memory)
    return block


class Whole(NamedTuple):
    """A problem that is one block: its views, and what to do with them."""

    plan: Overlap
    outside: tuple[np.ndarray, ...]  # rows of frames that do not exist
    present: slice | None  # of the frames; None: all
    inside: np.ndarray
    block: _Block
    shape: tuple[int, int, int]


def whole_of(plan: Overlap, items: int) -> Whole:
    """`items` signals in one block, to be had again as known_views((plan, items)); their size is a multiple of hop."""
    rows = plan.rows
    block = _block(plan, items, rows)
    oldest = plan.first - plan.oldest  # frame of the buffer's first row
    end = oldest + plan.history + rows
    lo = min(max(oldest, 0), end)
    hi = max(lo, min(end, plan.n_frames))
    a, b = lo - oldest, hi - oldest
    outside = tuple(rows for rows in (block.segments[:, :a], block.segments[:, b:]) if rows.size)
    present = None if (lo, hi) == (0, plan.n_frames) else slice(lo, hi)
    whole = Whole(plan, outside, present, block.segments[:, a:b], block, (items, rows, plan.hop))
    keep_views((plan, items), whole, block.segments)
    return whole


def gather_whole(whole: Whole, transform: Transform, frames: np.ndarray, signal: np.ndarray) -> None:
    """All of packed signal (items, n_samples) in one block."""
    plan = whole.plan
    for rows in whole.outside:
        rows.fill(0)
    if whole.inside.size:
        transform(frames if whole.present is None else frames[:, whole.present], whole.inside)
    _sum(plan, whole.block, signal.view(plan.weights.dtype).reshape(whole.shape))
    plan.finish(signal)


def gather(
    plan: Overlap,
    transform: Transform,
    frames: np.ndarray,
    signal: np.ndarray,
    rows: tuple[int, int],
    rows_per_block: int,
    share: Share | None,
) -> None:
    """Rows [lo, hi) of signal (items, n_samples), of frames (items, n_frames, n_bins), up to the gain's ends."""
    items = signal.shape[0]
    dtype, hop = plan.weights.dtype, plan.hop
    packed = signal.strides[1] == signal.itemsize
    n_whole = plan.size // hop if packed else 0  # rows that are summed where they belong
    if n_whole:
        whole_rows = signal.view(dtype)[:, : n_whole * hop].reshape(items, n_whole, hop)
    row, end_row = rows
    block = before = None
    while row < end_row:
        if share is not None and share.stopped:
            return
        count = min(rows_per_block, end_row - row)
        if block is None or block.new.shape[1] != count:
            block = _block(plan, items, count)
        first = row + plan.first - plan.newest  # frame of the block's first new one
        if before is None:
            _fill(block.segments, transform, frames, first - plan.history, plan.n_frames)
        else:
            block.history[...] = before
            _fill(block.new, transform, frames, first, plan.n_frames)
        whole = max(0, min(count, n_whole - row))
        if whole:
            _sum(plan, block, whole_rows[:, row : row + whole])
        if whole < count:  # the last row is not complete, or the signal lies strided in memory
            staged = scratch("rows", (items, count - whole, hop), dtype)
            _sum(plan, block, staged, whole)
            start, stop = (row + whole) * hop, min((row + count) * hop, plan.size)
            values = staged.reshape(items, -1)[:, : stop - start].view(signal.dtype)
            lanes = signal.itemsize // dtype.itemsize
            signal[:, start // lanes : stop // lanes] = values
        before = block.last
        row += count


def _fill(segments: np.ndarray, transform: Transform, frames: np.ndarray, first: int, n_frames: int) -> None:
    """Segments (items, count, width) of frames [first, first + count); those that do not exist: 0."""
    end = first + segments.shape[1]
    lo = min(max(first, 0), end)
    hi = max(lo, min(end, n_frames))
    if lo > first:
        segments[:, : lo - first] = 0
    if hi > lo:
        transform(frames[:, lo:hi], segments[:, lo - first : hi - first])
    if end > hi:
        segments[:, hi - first :] = 0


def _sum(plan: Overlap, block: _Block, target: np.ndarray, first: int = 0) -> None:
    """Rows of a block from `first` on to target (items, rows, hop)."""
    rows = target.shape[1]
    for summands, weights, columns in block.sums:
        some = summands if summands.shape[1] == rows else summands[:, first : first + rows]
        np.einsum("bkrh,rh->bkh", some, weights, out=target if columns is None else target[:, :, columns])
    for where in plan.empty:
        target[:, :, where] = 0


def scatter(
    plan: Overlap,
    transform: Transform,
    frames: np.ndarray,
    signal: np.ndarray,
    span: tuple[int, int],
    share: Share | None,
) -> None:
    """Numbers [lo, hi) of signal (numbers,), of frames (1, n_frames, n_bins), up to the gain's ends.

    `group` frames at a time lie in the rows of a buffer, with zeros between them, so that one reduction over a skewed
    view adds them. Groups are counted from the origin, so that a sample is the same sum whatever part is asked for.
    """
    dtype, hop, width, group = plan.weights.dtype, plan.hop, plan.width, plan.group
    size = dtype.itemsize
    lead = (group - 1) * hop
    apart = pitch(width + lead, size)
    lo, hi = span
    signal[lo:hi] = 0
    offset = plan.first * hop + plan.shift  # of the signal on the padded axis
    first = max(0, -((width - 1 - lo - offset) // hop))  # frames [first, last) reach [lo, hi)
    last = min(plan.n_frames, (hi - 1 + offset) // hop + 1)
    if first >= last:
        return
    groups = max(1, min(_GROUP_BYTES // (group * apart * size), -(-(last - first) // group)))
    memory = buffer("segments", (groups * group * apart + lead) * size)
    np.ndarray(groups * group * apart + lead, dtype, memory).fill(0)
    rows = np.ndarray((1, groups * group, width), dtype, memory, lead * size, (0, apart * size, size))
    skewed = np.ndarray(
        (groups, group, apart), dtype, memory, lead * size, (group * apart * size, (apart - hop) * size, size)
    )
    sums = scratch("rows", (groups, apart), dtype)
    frame = (first + plan.origin) // group * group - plan.origin
    while frame < last:
        if share is not None and share.stopped:
            return
        a, b = max(frame, first), min(frame + groups * group, last)
        rows[:, : a - frame] = 0
        transform(frames[:, a:b], rows[:, a - frame : b - frame])
        rows[:, b - frame :] = 0
        np.multiply(rows, plan.weights, rows)
        np.add.reduce(skewed, axis=1, out=sums)
        for j in range(-(-(b - frame) // group)):
            start = (frame + j * group) * hop - offset
            p, q = max(start, lo), min(start + apart, hi)
            if p < q:
                part = signal[p:q]
                np.add(part, sums[j, p - start : q - start], part)
        frame += groups * group


def add_frames(
    plan: Overlap, running: Running, transform: Transform, frames: np.ndarray, total: np.ndarray, first: int
) -> None:
    """Add frames (items, count, bins) of a stream to the sums that wait, which `total` (..., numbers) begins with.

    The sums are the first summand and the frames the others, in the order and with the rounding of `gather` and
    `scatter`: a multiplication and an addition that einsum may fuse, or not.
    """
    items, count, _ = frames.shape
    dtype, hop, width = plan.weights.dtype, plan.hop, plan.width
    lanes = hop // running.job.frames.hop
    lo, at = running.first * lanes, running.before * lanes
    size = width - lo
    pair = scratch("segments", (items, 2, width), dtype)
    new = pair[:, 1:]
    if plan.group:
        groups = total.reshape(items, 2, total.shape[-1])
        for m in range(count):
            if (first + m) % plan.group == 0:
                groups[:, 0] += groups[:, 1]
                groups[:, 1] = 0
            transform(frames[:, m : m + 1], new)
            np.multiply(new, plan.weights, new)
            groups[:, 1, at : at + size] += new[:, 0, lo:]
            at += hop
        return
    total = total.reshape(items, total.shape[-1])
    weights = _pair_weights(plan, lo)
    summands, old = pair[:, :, lo:], pair[:, 0, lo:]
    for m in range(count):
        part = total[:, at : at + size]
        old[...] = part
        transform(frames[:, m : m + 1], new)
        np.einsum("brh,rh->bh", summands, weights, out=part)
        at += hop


@lru_cache(maxsize=128)
def _pair_weights(plan: Overlap, lo: int) -> np.ndarray:
    return np.stack([np.ones_like(plan.weights), plan.weights])[:, lo:]


def with_true_gain(signal: np.ndarray, gain: HopPeriodic, lo: int) -> np.ndarray:
    """Signal (..., count), made with the steady gain, with that of samples [lo, lo + count) of the padded axis."""
    steady, whole = _steady(gain)
    hi = lo + signal.shape[-1]
    if whole and gain.head.size <= lo and hi <= gain.tail_start:
        return signal
    values = gain.samples(lo, hi)
    quotient = np.where(values == 0, 1, values / steady[np.arange(lo, hi) % steady.size])
    signal = signal * quotient.astype(signal.real.dtype)
    signal[..., values == 0] = 0
    return signal


@lru_cache(maxsize=128)
def _steady(gain: HopPeriodic) -> tuple[np.ndarray, bool]:
    """The steady gain by phase, 1 where nothing determines the phase, and whether everything determines all."""
    holes = gain.period == 0
    return np.where(holes, 1, gain.period), not holes.any()
