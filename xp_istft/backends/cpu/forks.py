"""A fork waits until no thread is inside an FFT library that keeps its plans behind a lock.

The child has that lock as it was at the fork, and none of the threads that would release it: its first transform would
wait for ever. So a thread says when it is inside, and the one that forks waits for those that are, which takes no
longer than one block, and keeps others out meanwhile.
"""

from __future__ import annotations

import os
import threading
import time
from threading import get_ident

_PATIENCE_SECONDS = 1.0  # of a fork, which then goes on as it would without all this
_LOOK_SECONDS = 1e-4

_inside: dict[int, None] = {}  # the threads that are; an interrupted one that stays in it leaves with its next block
_forks_over = threading.Event()
_forks_over.set()


class NoFork:
    """The block runs whole before a fork, or after it."""

    def __enter__(self) -> None:
        thread = get_ident()
        _inside[thread] = None  # before we look: a fork that has not seen it has closed the way already
        while not _forks_over.is_set():
            del _inside[thread]
            _forks_over.wait(_PATIENCE_SECONDS)
            _inside[thread] = None

    def __exit__(self, *failure: object) -> None:
        _inside.pop(get_ident(), None)


NO_FORK = NoFork()


def _before() -> None:
    _forks_over.clear()
    _inside.pop(get_ident(), None)
    end = time.monotonic() + _PATIENCE_SECONDS
    while _inside and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)


def _after_in_parent() -> None:
    _forks_over.set()


def _after_in_child() -> None:
    global _forks_over
    _forks_over = threading.Event()  # the old one may have been in use by a thread that is not here
    _forks_over.set()
    _inside.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
