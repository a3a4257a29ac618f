"""Long records through a model that takes short ones: cut into segments that overlap, and cross-faded.

With segment results z_m, segment length n, hop h = n - overlap and cross-fade weights w,

    y[t] = sum_m w[t - m h] z_m[t - m h] / sum_m w[t - m h]

so that a model that changes nothing gives back what came, whatever the weights. It is `overlap_add(normalize=True)`, of
segments that come one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import arrays
from .arguments import error, hinted, integer, public
from .backends import namespace, required_backend
from .dtypes import COMPLEX, PRECISION, REAL, WIDENED, dtype_name
from .windows import window_key, window_samples


@public
def in_segments(
    model: Callable[[Any], Any],
    x: Any,
    *,
    segment: int,
    overlap: int | None = None,
    window: Any = None,
    batch: int = 1,
    axis: int = -1,
    progress: Callable[[int, int], Any] | None = None,
) -> Any:
    """What `model` makes of a long record, of which it sees `segment` samples (or frames) at a time.

    Exact where the model is: one that gives back what it takes gives back x. Beside x and the result, memory holds
    `batch` segments and what the model needs for them.

    Parameters
    ----------
    model : callable
        Takes and returns an array whose `axis` has `segment` entries. It sees x's other axes as they are, but for the
        first, along which the `batch` segments follow each other; what it returns may have others (sources, channels),
        counted from the end as `axis` is, the first one again that of the segments.
    x : array (..., n_samples), or (..., n_bins, n_frames) for a model of spectra
        The record, of any library. Of Dask the result is not computed before it is asked for, and the model sees the
        arrays of its chunks: once, when the graph is made, zeros, which tell what it returns.
    segment : int
        What the model takes at a time. The last segment is filled up with zeros.
    overlap : int, optional
        What neighbouring segments share, less than `segment`; default a quarter.
    window : optional
        Cross-fade weights: a name or tuple as of `stft`, a callable, or `segment` real samples, none negative. Default
        a straight line over the overlap.
    batch : int
        Segments that the model sees at a time.
    axis : int
        The axis that is cut.
    progress : callable, optional
        Called with (segments done, segments in all) after each batch; not of Dask, whose own progress bars tell.

    Returns
    -------
    array (..., n_samples)
        Library, device and dtype of what the model returns. Differentiable where the model is.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; or the model returns what does not fit.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal((2, 100000))
    >>> y = xi.in_segments(lambda piece: piece - piece.mean(), x, segment=16000)
    >>> bool(abs(xi.in_segments(lambda piece: piece, x, segment=16000) - x).max() < 1e-15)
    True

    A model of spectra, whose frames are cut:

    >>> X = xi.stft(x, 512)
    >>> y = xi.istft(xi.in_segments(lambda piece: 0.5 * piece, X, segment=64), length=100000)
    >>> bool(abs(y - 0.5 * x).max() < 1e-12)
    True
    """
    function = "in_segments"
    backend, x = _record(function, x)
    (axis,) = arrays.read_axes(function, "axis", axis, len(x.shape), 1)
    axis = axis % len(x.shape) - len(x.shape)
    cut = Cut(function, model, segment, overlap, window, batch, axis)
    if progress is not None and not callable(progress):
        raise error(TypeError, function, "progress", "a function of segments done and in all", type(progress).__name__)
    if backend.lazy and progress is not None:
        raise error(ValueError, function, "progress", "None for Dask, whose progress bars tell", progress)

    def whole(x: Any) -> Any:
        running = _Running(cut, None if progress is None else (progress, cut.count(x.shape[axis])))
        return running.joined([*running.pushed(x), *running.flushed()])

    return backend.in_segments(x, cut, whole)


class StreamingSegments:
    """`in_segments` of a record that comes in pieces: `push` them, and `flush` what waits.

    What comes out is the same, however it was pushed. A sample comes out when the last segment that reaches it has: at
    most `latency` samples after it went in.

    Parameters
    ----------
    model, segment, overlap, window, batch, axis
        As `in_segments` has them.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.arange(1000.0)
    >>> stream = xi.StreamingSegments(lambda piece: piece, segment=100)
    >>> pieces = [stream.push(x[i : i + 70]) for i in range(0, 1000, 70)]
    >>> y = np.concatenate([*pieces, stream.flush()])
    >>> bool(abs(y - x).max() < 1e-12), stream.latency
    (True, 100)
    """

    @hinted
    def __init__(
        self,
        model: Callable[[Any], Any],
        *,
        segment: int,
        overlap: int | None = None,
        window: Any = None,
        batch: int = 1,
        axis: int = -1,
    ) -> None:
        axis = integer("StreamingSegments", "axis", axis)
        if axis >= 0:
            raise error(ValueError, "StreamingSegments", "axis", "a number below 0, counted from the last axis", axis)
        self._cut = Cut("StreamingSegments", model, segment, overlap, window, batch, axis)
        self.reset()

    @property
    def latency(self) -> int:
        """Samples that must have come after a sample, itself counted, before it comes out, at most."""
        return self._cut.segment + (self._cut.batch - 1) * self._cut.hop

    def reset(self) -> None:
        """As new."""
        self._running = _Running(self._cut)

    @hinted
    def push(self, x: Any) -> Any:
        """What the model makes of the record up to where no further segment reaches: (..., maybe 0 samples).

        Raises
        ------
        ValueError, TypeError
            x is no array, or does not fit the pieces before.
        """
        backend, x = _record("StreamingSegments", x)
        if backend.lazy:
            raise error(TypeError, "StreamingSegments", "x", "values that are there", "a Dask array", "compute() it")
        return self._running.joined(self._running.pushed(x))

    def flush(self) -> Any:
        """The rest; the stream is as new afterwards.

        Raises
        ------
        ValueError
            Nothing was pushed.
        """
        rest = self._running.joined(self._running.flushed())
        self.reset()
        return rest


def _record(function: str, x: Any) -> tuple[Any, Any]:
    backend, x = arrays.read(function, "x", x)
    if dtype_name(x) not in (*REAL, *COMPLEX, *WIDENED):
        raise error(TypeError, function, "x", "a floating or complex dtype", x.dtype)
    arrays.needs_axis(function, "x", x)
    return backend, x


class Cut:
    """How a record is cut, and the model."""

    def __init__(
        self, function: str, model: Any, segment: Any, overlap: Any, window: Any, batch: Any, axis: int
    ) -> None:
        if not callable(model):
            raise error(TypeError, function, "model", "a function of an array", type(model).__name__)
        self.function, self.model, self.axis = function, model, axis
        self.segment = integer(function, "segment", segment, 1)
        overlap = self.segment // 4 if overlap is None else integer(function, "overlap", overlap, 0)
        if overlap >= self.segment:
            raise error(ValueError, function, "overlap", f"less than the segment ({self.segment})", overlap)
        self.hop = self.segment - overlap
        self.batch = integer(function, "batch", batch, 1)
        self.weights = self._weights(window, overlap)

    def _weights(self, window: Any, overlap: int) -> np.ndarray:
        if window is None:
            rise = np.minimum(np.arange(1, self.segment + 1) / (overlap + 1), 1)
            return rise * rise[::-1] if 2 * overlap > self.segment else np.minimum(rise, rise[::-1])
        key = window_key(self.function, "window", window, self.segment)
        weights = window_samples(self.function, "window", key, self.segment, self.segment)
        if (weights < 0).any() or not weights.any():
            raise error(
                ValueError, self.function, "window", "weights of which none is negative and one positive", window
            )
        return np.maximum(weights, 1e-9 * weights.max())  # where one segment alone reaches, it counts as it is

    def count(self, n: int) -> int:
        """Segments of a record of n samples."""
        return 1 + max(0, -(-(n - self.segment) // self.hop))

    def along(self, *cut: int | None) -> tuple[Any, ...]:
        """The index of a part of the axis."""
        return (..., slice(*cut), *(slice(None),) * (-1 - self.axis))

    def results(self, pieces: list[Any]) -> list[Any]:
        """What the model makes of each segment."""
        rank, items = len(pieces[0].shape), pieces[0].shape[0]
        if len(pieces) > 1 and rank == -self.axis:
            need = "1 where the axis that is cut is the first: there is none along which segments could follow"
            raise error(ValueError, self.function, "batch", need, self.batch)
        whole = namespace(*pieces).concat(pieces, axis=0)  # of one, too: a model may write into what it gets
        made = self.model(whole)
        shape = getattr(made, "shape", None)
        if shape is None or len(shape) < -self.axis or shape[self.axis] != self.segment:
            got = type(made).__name__ if shape is None else f"shape {tuple(shape)}"
            need = (
                f"an array with {self.segment} entries in axis {self.axis} from a model that took {tuple(whole.shape)}"
            )
            raise error(ValueError, self.function, "model", need, got)
        if dtype_name(made) not in (*REAL, *COMPLEX, *WIDENED):
            raise error(TypeError, self.function, "model", "floating or complex numbers from it", made.dtype)
        if len(pieces) == 1:
            return [made]
        if shape[0] != len(pieces) * items:
            need = f"an array whose first axis has {len(pieces) * items} entries, as what it took"
            raise error(ValueError, self.function, "model", need, f"shape {tuple(shape)}")
        return [made[i * items : (i + 1) * items, ...] for i in range(len(pieces))]


class _Running:
    """A record on its way through the model: `pool` holds samples from `first` on, `sums` results from `done` on."""

    def __init__(self, cut: Cut, progress: tuple[Callable[[int, int], Any], int] | None = None) -> None:
        self._cut, self._progress = cut, progress
        self._narrow: str | None = None  # the dtype of half precision that results come in
        self._pool: Any = None
        self._sums: Any = None
        self._first = self._done = self._segments = 0
        self._totals = np.zeros(0)  # of the weights, as `sums`

    def joined(self, pieces: list[Any]) -> Any:
        """The pieces as one array; empty as the record, where there is none."""
        if not pieces:
            return (self._pool if self._sums is None else self._sums)[self._cut.along(0, 0)]
        return pieces[0] if len(pieces) == 1 else namespace(*pieces).concat(pieces, axis=self._cut.axis)

    def pushed(self, x: Any) -> list[Any]:
        cut = self._cut
        if len(x.shape) < -cut.axis:
            raise error(ValueError, cut.function, "x", f"at least {-cut.axis} dimensions", f"shape {tuple(x.shape)}")
        if self._pool is not None:
            due, came = [list(each.shape) for each in (self._pool, x)]
            due[cut.axis] = came[cut.axis] = 0
            if due != came or x.dtype != self._pool.dtype:
                need = f"pieces alike, {self._pool.dtype} of shape {tuple(self._pool.shape)} but for axis {cut.axis}"
                raise error(ValueError, cut.function, "x", need, f"{x.dtype} of shape {tuple(x.shape)}")
        self._pool = x if self._pool is None else namespace(x).concat([self._pool, x], axis=cut.axis)
        made = []
        ahead = cut.segment + (cut.batch - 1) * cut.hop
        while self._first + self._pool.shape[cut.axis] >= self._segments * cut.hop + ahead:
            made.append(self._run(cut.batch))
        return made

    def flushed(self) -> list[Any]:
        cut = self._cut
        if self._pool is None:
            raise error(ValueError, cut.function, "x", "at least one piece pushed", "none")
        end = self._first + self._pool.shape[cut.axis]
        if end == 0:
            return []
        left = cut.count(end) - self._segments
        missing = (self._segments + left - 1) * cut.hop + cut.segment - end
        if left and missing:
            shape = list(self._pool.shape)
            shape[cut.axis] = missing
            xp = namespace(self._pool)
            device = required_backend(self._pool).device(self._pool)
            zeros = xp.zeros(tuple(shape), dtype=self._pool.dtype, device=device)
            self._pool = xp.concat([self._pool, zeros], axis=cut.axis)
        made = []
        while left:
            made.append(self._run(min(left, cut.batch), end))
            left -= min(left, cut.batch)
        if end > self._done:
            made.append(self._ended(end))
        return made

    def _run(self, count: int, end: int | None = None) -> Any:
        """The next `count` segments; what no later one reaches, of a record that ends at `end`."""
        cut = self._cut
        starts = [(self._segments + i) * cut.hop for i in range(count)]
        pieces = [self._pool[cut.along(at - self._first, at - self._first + cut.segment)] for at in starts]
        for at, result in zip(starts, cut.results(pieces), strict=True):
            self._add(at - self._done, result)
        self._segments += count
        if self._progress is not None:
            tell, in_all = self._progress
            tell(self._segments, in_all)
        following = self._segments * cut.hop
        self._pool, self._first = self._pool[cut.along(following - self._first, None)], following
        return self._ended(following if end is None else min(following, end))

    def _add(self, at: int, result: Any) -> None:
        """The result, times its weights, to the sums from position `at` on."""
        cut, backend, kind = self._cut, required_backend(result), dtype_name(result)
        if kind in WIDENED:
            result, self._narrow = _cast(result, WIDENED[kind]), kind
        weighed = _times(backend, result, cut.weights, cut.axis)
        known = self._totals.size
        self._totals = np.concatenate([self._totals, np.zeros(at + cut.segment - known)])
        self._totals[at:] += cut.weights
        if self._sums is None:
            self._sums = weighed
            return
        overlap = known - at
        parts = [
            self._sums[cut.along(0, at)],
            self._sums[cut.along(at, None)] + weighed[cut.along(0, overlap)],
            weighed[cut.along(overlap, None)],
        ]
        self._sums = namespace(result).concat([each for each in parts if each.shape[cut.axis]], axis=cut.axis)

    def _ended(self, end: int) -> Any:
        """The samples up to `end`, which nothing will be added to."""
        cut, backend, count = self._cut, required_backend(self._sums), end - self._done
        ended, self._sums = self._sums[cut.along(0, count)], self._sums[cut.along(count, None)]
        gain, self._totals = 1 / self._totals[:count], self._totals[count:]
        self._done = end
        ended = _times(backend, ended, gain, cut.axis)
        return ended if self._narrow is None else _cast(ended, self._narrow)


def _times(backend: Any, array: Any, factors: np.ndarray, axis: int) -> Any:
    return backend.product(array, backend.along(factors, array, axis, PRECISION[dtype_name(array)]))


def _cast(array: Any, kind: str) -> Any:
    xp = namespace(array)
    return xp.astype(array, getattr(xp, kind))
