"""Batches whose items have different lengths, padded to one: each is transformed as it would be alone.

Where the values are at hand on the host, item after item, and nothing of the padding is worked on. Elsewhere - on a
device, under a compiler - all at once: what stands around an item is written out, frames beyond its own are cut off,
and each hop is multiplied by the gain of those frames that reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import arrays
from .arguments import error, integer, shown, warn
from .arrays import LAST, LAST_TWO, moved, placed, placed_shape, read_axes
from .backends import backend_for, device, namespace, required_backend
from .backends.base import written
from .dtypes import PRECISION, complex_dtype, dtype_name, real_dtype
from .frames import MOST, Placement, folded
from .jobs import Synthesis
from .windows import CoverageWarning, NOLAError

if TYPE_CHECKING:
    from .transform import STFT

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

Each = Callable[[Any, int, Any], Any]  # (an item, its samples, out) -> what is made of it alone


def forward(
    x: Any,
    transform: STFT,
    lengths: Any,
    axis: int,
    axes: tuple[int, int],
    out: Any,
    workers: int | None,
    function: str,
) -> Any:
    """The spectra of items of `lengths` samples, zeros in the frames after their own."""
    backend, x = arrays.read(function, "x", x)
    transform.check_signal(function, x)
    x = moved(function, "axis", x, axis, LAST)
    n_samples = x.shape[-1]
    places = read_axes(function, "axes", axes, len(x.shape) + 1, 2)
    n_frames = transform.analysis(function, n_samples, x).frames.n_frames
    lengths, values = _read(function, lengths, x, 1)
    if values is not None:
        _check_lengths(function, values, transform, n_samples)
    kind, shape = complex_dtype(dtype_name(x)), (*x.shape[:-1], transform.n_bins, n_frames)
    inside = None
    if out is not None:
        backend.check_out(function, out, x, placed_shape(shape, places), kind)
        inside = moved(function, "axes", out, places, LAST_TWO)

    workers = backend.threads(workers)
    direct = transform.bins is None and dtype_name(x) in PRECISION

    def each(item: Any, length: int, out: Any) -> Any:
        if not direct:
            return transform.stft(item[..., :length], out=out, workers=workers)
        job, backend = transform.analysis(function, length, item), required_backend(item)
        return backend.to_amplitudes(backend.analysis(item[..., :length], job, out, workers), job, out)

    if values is not None and _near(x, transform):
        counts = _counts(transform.placement, values, np)
        X = _one_by_one(each, x, transform, values, counts, _Room(shape, kind, columns=True), inside)
    else:
        X = written(_spectra(x, transform, lengths, n_frames, workers), inside)
    return placed(X, places) if out is None else out


def inverse(
    X: Any, transform: STFT, lengths: Any, length: int | None, axes: tuple[int, int], out: Any, workers: int | None,
    function: str,
) -> Any:  # fmt: skip
    """The signals of items of `lengths` samples, zeros after each, `length` in all."""
    X = transform.spectrum(function, X, axes)
    backend, n_frames = required_backend(X), X.shape[-1]
    lengths, values = _read(function, lengths, X, 2)
    if values is None and length is None:
        raise error(ValueError, function, "length", "samples of the result, as lengths has no values at hand", None)
    if values is None and not transform.closed:
        need = "values at hand, as the inverse is not in closed form"
        raise error(ValueError, function, "lengths", need, type(lengths).__name__)
    if values is not None:
        length = max(1, int(values.max(initial=0))) if length is None else length
        _check_lengths(function, values, transform, length, n_frames)
    shape = (*X.shape[:-2], length)
    kind = real_dtype(dtype_name(X)) if transform.onesided else dtype_name(X)
    if out is not None:
        backend.check_out(function, out, X, shape, kind)

    workers = backend.threads(workers)

    def each(item: Any, length: int, out: Any) -> Any:
        item = item[..., : transform.placement.n_frames(length)]
        if not transform.closed:
            return transform.istft(item, length=length, out=out, workers=workers)
        job, warning = transform.synthesis(function, item.shape[-1], length, item)
        if warning is not None:
            warn(warning, CoverageWarning)
        return required_backend(item).inverted(item, job, out, workers)

    if values is not None and (_near(X, transform) or not transform.closed):
        return _one_by_one(each, X, transform, values, values, _Room(shape, kind), out)
    if values is not None:
        _judge(function, transform, values, X)
    return written(_signals(X, transform, lengths, shape[-1], workers, function), out)


def frame_mask(transform: STFT, lengths: Any, n_frames: int | None) -> Any:
    """`transform.frame_mask`."""
    function = "frame_mask"
    lengths, values = _read(function, lengths)
    if values is not None:
        _check_lengths(function, values, transform)
    elif n_frames is None:
        raise error(ValueError, function, "n_frames", "an integer, as lengths has no values at hand", None)
    counts = _counts(transform.placement, lengths, namespace(lengths))
    if n_frames is None:
        assert values is not None
        n_frames = int(_counts(transform.placement, values, np).max(initial=0))
    else:
        n_frames = integer(function, "n_frames", n_frames, 0, MOST)
    return _before(counts[..., None], n_frames)


# ---- reading


def _read(function: str, lengths: Any, array: Any = None, core: int = 0) -> tuple[Any, np.ndarray | None]:
    """The lengths as integers, and their values where they are at hand; beside `array`, whose first axes are theirs."""
    given, backend = lengths, backend_for(lengths)
    if isinstance(lengths, (list, tuple, int, np.integer)):
        with suppress(Exception):  # of what makes no array
            lengths = np.asarray(lengths)
            backend = backend_for(lengths)
    if backend is None or dtype_name(lengths) not in _INTEGERS:
        raise error(TypeError, function, "lengths", "integers", shown(given))
    values = backend.at_hand(lengths)
    if values is not None:
        values = values.astype(np.int64)  # in which no sum of theirs overflows
    if array is None:
        return lengths, values
    batch, shape = tuple(array.shape[: len(array.shape) - core]), tuple(lengths.shape)
    if shape != batch[: len(shape)]:
        raise error(ValueError, function, "lengths", f"the shape {batch}, or its first axes", f"shape {shape}")
    if values is None and backend is not required_backend(array):
        need = f"NumPy or the library of the data ({type(array).__name__})"
        raise error(TypeError, function, "lengths", need, type(lengths).__name__)
    return lengths if values is None else values, values


def _check_lengths(
    function: str, values: np.ndarray, transform: STFT, n_samples: int | None = None, n_frames: int | None = None
) -> None:
    """ValueError unless these are lengths, of items of so many samples and frames at most."""
    placement = transform.placement
    counts = _counts(placement, values, np)
    for wrong in values[values < 0][:1]:
        raise error(ValueError, function, "lengths", ">= 0", int(wrong))
    for wrong in values[(values > 0) & (counts < 1)][:1]:
        need = f"0, or at least {placement.n_fft - placement.left - placement.right} for n_fft={placement.n_fft}"
        raise error(ValueError, function, "lengths", need, int(wrong))
    if n_samples is not None:
        for wrong in values[values > n_samples][:1]:
            raise error(ValueError, function, "lengths", f"<= {n_samples} samples", int(wrong))
    if n_frames is not None:
        for wrong in values[counts > n_frames][:1]:
            need = f"items of no more than {n_frames} frames"
            raise error(ValueError, function, "lengths", need, f"{wrong}, of {placement.n_frames(int(wrong))}")


def _counts(placement: Placement, lengths: Any, xp: Any) -> Any:
    """The frames of each item: `placement.n_frames` of arrays, and 0 of no samples."""
    spare = lengths + (placement.left + placement.right - placement.n_fft)
    counts = (spare + (placement.hop - 1 if placement.whole else 0)) // placement.hop + 1
    return xp.where((lengths > 0) & (counts > 0), counts, xp.zeros_like(counts))


def _near(array: Any, transform: STFT) -> bool:
    """Whether items are made sooner one by one: no padding is worked on, and a call costs little.

    For tensors whose gradient is followed 32 calls took 1.1 to 1.5 of the time of one.
    """
    backend = required_backend(array)
    if backend.lazy:
        return True
    return not (transform.followed or backend.follows(array) or backend.at_hand(array) is None)


# ---- item after item


class _Room(NamedTuple):
    """The result of all items."""

    shape: tuple[int, ...]
    kind: str
    columns: bool = False  # its last two axes lie in memory the other way round


def _one_by_one(
    each: Each, array: Any, transform: STFT, values: np.ndarray, sizes: np.ndarray, room: _Room, out: Any
) -> Any:
    """What `each` makes of the items, of `sizes` on their last axis: side by side, with zeros after each."""
    lent, returned, lengths = array, None, values.ravel().tolist()
    if out is None and not transform.followed and transform.basis is None:
        lent, returned = required_backend(array).in_numpy(array)
    items, places = _items(lent, values.ndim), sizes.ravel().tolist()
    made = required_backend(lent).room(lent, *room) if out is None else out
    if made is not None:
        for item, length, size, place in zip(items, lengths, places, _items(made, values.ndim), strict=True):
            if size:
                each(item, length, place[..., :size])
            place[..., size:] = 0
        return made if returned is None else returned(made)
    xp, total = namespace(lent), room.shape[-1]
    pieces = []
    for item, length, size in zip(items, lengths, places, strict=True):
        parts = [each(item, length, None)] if size else []
        if size < total:
            shape = (*room.shape[values.ndim : -1], total - size)
            parts.append(xp.zeros(shape, dtype=getattr(xp, room.kind), device=device(lent)))
        pieces.append(parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1))
    if not pieces:
        return xp.zeros(room.shape, dtype=getattr(xp, room.kind), device=device(lent))
    return xp.reshape(xp.stack(pieces), room.shape)


def _items(array: Any, count: int) -> list[Any]:
    """The items of an array, along its first `count` axes."""
    items = [array]
    for _ in range(count):
        items = [part for item in items for part in namespace(array).unstack(item)]
    return items


# ---- all at once


def _spectra(x: Any, transform: STFT, lengths: Any, n_frames: int, workers: int | None) -> Any:
    """The spectra of items whose lengths may have no values yet; NaN where one turns out to be none."""
    xp, n_samples = namespace(x), x.shape[-1]
    placement, pad_mode = transform.placement, transform.pad_mode or "constant"
    lengths = _beside(lengths, x)
    if pad_mode == "constant":
        x = _masked(x, _before(lengths, n_samples))
    else:
        span = placement.n_fft + placement.hop * (n_frames - 1)
        t = _places(-placement.left, span - placement.left, lengths)
        source = folded(t, _within(lengths, 1, n_samples), pad_mode, xp)
        x = required_backend(x).gathered(x, xp.broadcast_to(source, (*x.shape[:-1], span)))
        transform = _unpadded(transform)
    X = transform.stft(x, workers=workers)
    lengths = lengths[..., None]
    counts = _counts(placement, lengths, xp)
    known = (lengths >= 0) & (lengths <= n_samples) & ((counts > 0) | (lengths == 0))
    return _masked(X, _before(counts, n_frames), known)


def _signals(X: Any, transform: STFT, lengths: Any, length: int, workers: int | None, function: str) -> Any:
    """The signals of the same."""
    backend, xp, n_frames = required_backend(X), namespace(X), X.shape[-1]
    lengths = _beside(lengths, X)
    counts = _counts(transform.placement, lengths, xp)
    X = _masked(X, _before(counts, n_frames))
    job, warning = transform.synthesis(function, n_frames, length, X)
    if warning is not None:
        warn(warning, CoverageWarning)
    signal = backend.inverted(X, _summed(job), None, workers)
    lengths, counts = lengths[..., 0], counts[..., 0]
    signal = signal * _gain(job, counts, signal)
    known = (lengths >= 0) & (lengths <= length) & (counts <= n_frames) & ((counts > 0) | (lengths == 0))
    return _masked(signal, _before(lengths, length), known)


def _gain(job: Synthesis, counts: Any, signal: Any) -> Any:
    """What the samples of items with so many frames (..., 1) are multiplied by, (..., n_samples)."""
    backend, xp, frames = required_backend(signal), namespace(signal), job.frames
    assert job.decided is not None
    rows, table = frames.overlap, job.decided.by_parts
    hop = _places(0, frames.n_frames + rows - 1, counts)
    first = _within(hop - counts + 1, 0, rows - 1)  # the parts that reach a hop: of the last frame, ..., of the first
    parts = first * rows + _within(hop, 0, rows - 1)
    table = backend.along(table.reshape(-1), signal)
    gain = xp.take(xp.reshape(table, (rows * rows, frames.hop)), xp.reshape(parts, (-1,)), axis=0)
    gain = xp.reshape(gain, (*parts.shape[:-1], -1))
    gain = gain[..., frames.start : min(frames.stop, gain.shape[-1])]
    beyond = frames.n_samples - gain.shape[-1]
    zeros = xp.zeros((*gain.shape[:-1], beyond), dtype=gain.dtype, device=device(signal))
    return xp.concat([gain, zeros], axis=-1)


def _summed(job: Synthesis) -> Synthesis:
    """The job without its gain."""
    return replace(job, gain=None, decided=None) if job.followed else _kept_summed(job)


@lru_cache(maxsize=64)
def _kept_summed(job: Synthesis) -> Synthesis:
    return replace(job, gain=None, decided=None)


@lru_cache(maxsize=64)
def _unpadded(transform: STFT) -> STFT:
    """The same transform of signals that are padded already."""
    return replace(transform, center=False, padding=None, pad_mode="constant")


def _judge(function: str, transform: STFT, values: np.ndarray, X: Any) -> None:
    """NOLAError, or a warning, where an item asks for samples that its frames do not determine.

    That depends on the end of an item alone: of those that end alike, one is judged, cut short.
    """
    transform, placement, hop = transform.host, transform.placement, transform.placement.hop
    most = 2 * -(-placement.n_fft // hop) + 2 + -(-(placement.left + placement.right) // hop)
    seen = set()
    for length in np.unique(values[values > 0]).tolist():
        frames = placement.n_frames(length)
        end = min(frames, most), length - max(0, frames - most) * hop
        if end in seen:
            continue
        seen.add(end)
        with suppress(NOLAError):
            if transform.synthesis(function, *end, dtype_name(X)).warning is None:
                continue
        warning = transform.synthesis(function, frames, length, dtype_name(X)).warning  # in the item's own numbers
        if warning is not None:
            warn(warning, CoverageWarning)
            return


def _beside(lengths: Any, array: Any) -> Any:
    """Integers (...) of the host or of the array's library, with the rank of `array`."""
    xp = namespace(array)
    if isinstance(lengths, np.ndarray):
        lengths = xp.asarray(lengths, device=device(array))
    shape = tuple(lengths.shape)
    return xp.reshape(lengths, (*shape, *(1,) * (len(array.shape) - len(shape))))


def _places(start: int, stop: int, lengths: Any) -> Any:
    """start, ..., stop - 1 beside lengths (..., 1)."""
    xp = namespace(lengths)
    places = xp.arange(start, stop, dtype=lengths.dtype, device=device(lengths))
    return xp.reshape(places, (*(1,) * (len(lengths.shape) - 1), -1))


def _within(values: Any, least: int, most: int) -> Any:
    xp = namespace(values)
    zero = xp.zeros_like(values)  # to which sizes are added that a compiler leaves open
    values = xp.where(values < least, zero + least, values)
    return xp.where(values > most, zero + most, values)


def _before(ends: Any, total: int) -> Any:
    """Which of `total` places lie before these ends (..., 1)."""
    return _places(0, total, ends) < ends


def _masked(array: Any, own: Any, known: Any = None) -> Any:
    """The array where it is an item's own, else 0; NaN where the item is not known."""
    xp = namespace(array)
    rest = xp.zeros((1,) * len(array.shape), dtype=array.dtype, device=device(array))
    if known is not None:
        own, rest = own & known, xp.where(known, rest, rest + float("nan"))
    return xp.where(own, array, rest)
