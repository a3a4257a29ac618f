"""Memory that a thread uses again in its next call, so that no call of ordinary size asks the system for any."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

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


def known_views(key: Any) -> Any:
    """What this thread made of its buffers for `key`, or None. Views take longer to make than a small block."""
    return _kept.views.get(key)


def keep_views(key: Any, views: Any, *memory: np.ndarray) -> None:
    """Have `known_views(key)` give these views of buffers, for as long as the thread keeps all of them."""
    if all(each.nbytes <= KEPT_BYTES for each in memory):
        if len(_kept.views) >= _KEPT_VIEWS:
            _kept.views.clear()
        _kept.views[key] = views
