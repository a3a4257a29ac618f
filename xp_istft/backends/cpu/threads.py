"""A pool of threads that share one call's work.

The caller works too, so a pool that is busy, or cannot start, costs speed and nothing else.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from queue import Empty, SimpleQueue
from typing import Any

_WAKE_SECONDS = 0.1  # where waiting cannot be interrupted (Windows), Ctrl-C is seen after this long
_IDLE_SECONDS = 10.0  # a thread that had nothing to do for so long ends


class Share:
    """One call's work, taken from a queue by the caller and by as many of the pool's threads as are free."""

    def __init__(
        self, work: Callable[[Any, Share], None], tasks: Iterable[Any], around: Callable[[], AbstractContextManager]
    ) -> None:
        self.stopped = False  # work() looks at this between its blocks
        self._work = work
        self._around = around
        self._tasks = deque(tasks)
        self._failure: BaseException | None = None
        self._left = threading.Condition()
        self._open = True
        self._helpers = 0

    def help(self) -> None:
        """A thread of the pool joins in, unless all work is taken."""
        with self._left:
            if not self._open:
                return
            self._helpers += 1
        self._drain()
        with self._left:
            self._helpers -= 1
            self._left.notify()

    def lead(self) -> None:
        """The caller works, waits for the threads that joined in, and raises what any of them raised."""
        self._drain()
        while self._open or self._helpers:
            try:
                with self._left:
                    self._open = False
                    while self._helpers:
                        self._left.wait(_WAKE_SECONDS)
            except KeyboardInterrupt as interrupt:
                self.stop(interrupt)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _drain(self) -> None:
        try:
            with self._around():
                while not self.stopped:
                    try:
                        task = self._tasks.popleft()
                    except IndexError:
                        return
                    self._work(task, self)
        except BaseException as failure:
            self.stop(failure)

    def stop(self, failure: BaseException) -> None:
        self.stopped = True
        if self._failure is None:
            self._failure = failure


class _Pool:
    """Threads that wait for shares. They are daemons: a process that ends does not wait for them."""

    def __init__(self) -> None:
        self._shares: SimpleQueue[Share] = SimpleQueue()
        self._lock = threading.Lock()
        self.threads: set[threading.Thread] = set()

    def ask(self, share: Share, helpers: int) -> None:
        """Have `helpers` threads join `share` as soon as they are free."""
        with self._lock:
            while len(self.threads) < helpers:
                thread = threading.Thread(target=self._serve, name="xp_istft", daemon=True)
                try:
                    self.threads.add(thread)
                    thread.start()
                except BaseException as cause:
                    self.threads.discard(thread)  # if it has started even so, it counts itself
                    if isinstance(cause, Exception):
                        break  # no more threads to be had: the caller does it alone
                    raise
            for _ in range(min(helpers, len(self.threads))):
                self._shares.put(share)

    def _serve(self) -> None:
        with self._lock:
            self.threads.add(threading.current_thread())
        try:
            while (share := self._next()) is not None:
                share.help()
                del share  # what it holds is not kept until the next one comes
        finally:
            self.threads.discard(threading.current_thread())

    def _next(self) -> Share | None:
        """The next share; None where none came for long: this thread does not count any more."""
        with suppress(Empty):
            return self._shares.get(timeout=_IDLE_SECONDS)
        with self._lock:
            with suppress(Empty):
                return self._shares.get_nowait()
            self.threads.discard(threading.current_thread())
        return None


_pool = _Pool()


def run(
    work: Callable[[Any, Share], None],
    tasks: Sequence[Any],
    threads: int,
    around: Callable[[], AbstractContextManager],
) -> None:
    """work(task, share) for each of `tasks`, in any order, on the caller's thread and up to `threads` - 1 others.

    Each thread works within the context `around()`.
    """
    share = Share(work, tasks, around)
    helpers = min(threads, len(tasks)) - 1
    if helpers > 0:
        try:
            _pool.ask(share, helpers)
        except BaseException as failure:  # an interrupt: some may have joined in already, and must end first
            share.stop(failure)
    share.lead()


def _after_fork() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
