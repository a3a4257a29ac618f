"""Memory that is used again: of results that are gone, and what a thread computes in.

malloc gives large blocks back to the system as soon as they are free (glibc: of more than 32 MB, and smaller ones at
its end), and each new one costs page faults: an stft of a minute took twice as long to a new array as to one that was
there. So one block is kept for the next result of its size.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Any

import numpy as np

from ...arguments import error

_LENT_BYTES = range(1 << 24, 1 << 26)  # smaller blocks malloc keeps itself, as a rule

_spare: deque[np.ndarray] = deque(maxlen=1)


class _Lent:
    """A block of memory behind a result, which is spare again when the last array on it is gone."""

    def __init__(self, block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._block = block
        data = block.__array_interface__["data"]
        self.__array_interface__ = {"version": 3, "data": data, "shape": shape, "typestr": dtype.str}

    def __del__(self, give: Any = _spare.append) -> None:
        give(self._block)


def empty(function: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array with any content, in C order."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    try:
        if size not in _LENT_BYTES:
            return np.empty(shape, dtype)
        return np.asarray(_Lent(_block(size), shape, dtype))
    except MemoryError as cause:
        raise error(MemoryError, function, "memory", f"{size} bytes for the result of shape {shape}", cause) from cause


def _block(size: int) -> np.ndarray:
    """The spare block, if it has this size; else it goes back to the system before a new one is made."""
    try:
        block = _spare.popleft()
    except IndexError:
        pass
    else:
        if block.size == size:
            return block
        del block
    return np.empty(size, np.uint8)


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
