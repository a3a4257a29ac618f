"""Memory: of results, which own theirs as NumPy's do, and what a thread computes in, which is used again."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from ...arguments import error


def empty(function: str, shape: tuple[int, ...], dtype: Any, columns: bool = False) -> np.ndarray:
    """An array with any content that owns its memory, in C order.

    columns : whether its last two axes lie in memory the other way round
    """
    try:
        if not columns:
            return np.empty(shape, dtype)
        if len(shape) == 2:  # in 0.4 of the time
            return np.empty(shape, dtype, "F")
        *batch, rows, count = shape
        size = np.dtype(dtype).itemsize
        steps = [size * rows * count * math.prod(batch[axis + 1 :]) for axis in range(len(batch))]
        return np.ndarray(shape, dtype, strides=(*steps, size, size * rows))
    except (MemoryError, ValueError) as cause:  # NumPy has both for what is too large
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raise error(MemoryError, function, "memory", f"{size} bytes for the result of shape {shape}", cause) from cause


# What each thread keeps, at most, of each kind. Larger buffers go back to the system after the call.
KEPT_BYTES = 1 << 21
_KEPT_VIEWS = 64


class _Kept(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}
        self.views: dict[Any, Any] = {}


_kept = _Kept()


def buffer(kind: str, n_bytes: int) -> np.ndarray:
    """At least n_bytes bytes with any content: the same ones in the next call of this thread, if they are enough."""
    kept = _kept.buffers.get(kind)
    if kept is not None and kept.size >= n_bytes:
        return kept
    new = np.empty(n_bytes, np.uint8)
    if n_bytes <= KEPT_BYTES:
        _kept.buffers[kind] = new
        _kept.views.clear()
    return new


def scratch(kind: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array with any content, in this thread's buffer of that kind."""
    return np.ndarray(shape, dtype, buffer(kind, math.prod(shape) * dtype.itemsize))


def pitch(width: int, itemsize: int) -> int:
    """Numbers from one row of `width` numbers to the next: frames of several rows must not share sets of the cache.

    With rows of 4096 bytes ducc0 took 1.6 to 3 times the time of its inverse FFT; with those of 1024 and 2048 bytes it
    took 1.05 to 1.4 times, numpy's 1 to 1.1.
    """
    return width + 64 // itemsize if width * itemsize % 1024 == 0 else width


def known_views(key: Any) -> Any:
    """What this thread made of its buffers for `key`, or None. Views take longer to make than a small block."""
    return _kept.views.get(key)


def keep_views(key: Any, views: Any, *memory: np.ndarray) -> None:
    """Have `known_views(key)` give these views of buffers, for as long as the thread keeps all of them."""
    if all(each.nbytes <= KEPT_BYTES for each in memory):
        if len(_kept.views) >= _KEPT_VIEWS:
            _kept.views.clear()
        _kept.views[key] = views
