"""Threads: how work is cut and shared, what stops it, and a library that works on; nothing else is touched."""

from __future__ import annotations

import itertools
import os
import random
import signal as signals
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hostile import BASE, signal, spectrum

import xp_istft as xi
from xp_istft.backends.cpu import fft, forks, synthesis, tasks, threads
from xp_istft.settings import cpus, most_workers
from xp_istft.tuning import tuning

# ------------------------------------------------------------------ how work is cut


@pytest.mark.parametrize("threads_", [1, 2, 5])
def test_tasks_are_every_row_of_every_item_once_in_blocks_of_their_size(threads_):
    grid = itertools.product((1, 2, 7, 40), (1, 3, 9, 50, 1000), (0, 1, 3, 30), (1, 10, 64, 3000))
    for items, rows, history, held in grid:
        parts, per_block = tasks.cut(items, rows, history, held, threads_)
        count = np.zeros((items, rows), int)
        for batch, (lo, hi) in parts:
            assert lo < hi <= rows
            count[batch, lo:hi] += 1
            together = batch.stop - batch.start
            assert together == 1 or ((lo, hi) == (0, rows) and together * (rows + history) <= held)
        assert (count == 1).all()
        assert per_block % tasks._VECTOR == 0 or per_block == rows
        least = -(-(tuning().least_rows + history) // tasks._VECTOR) * tasks._VECTOR
        assert 1 <= per_block <= max(rows if 2 * rows <= held else 0, held - history, least)
        if threads_ == 1 and 2 * rows > max(least, held - history):
            assert len(parts) == items


def test_long_signals_keep_every_thread_busy():
    for items in (1, 2, 3):
        parts, _ = tasks.cut(items, 100_000, 3, 500, 4)
        assert 16 <= len(parts) <= 16 + items * 2
    few, per_block = tasks.cut(1, 40, 4, 500, 8)  # a part has four histories of rows at least
    assert (len(few), per_block) == (1, 40)
    assert len(tasks.cut(8, 40, 4, 5000, 8)[0]) == 8  # an item a thread, though all would make one block
    assert [len(tasks.cut(1, 1000, history, history + 40, 8)[0]) for history in (100, 250, 300)] == [2, 1, 1]
    for items, rows, held, workers, count in ((40, 3, 3000, 1, 1), (40, 3, 3000, 5, 5), (40, 3, 30, 1, 4)):
        assert len(tasks.cut(items, rows, 0, held, workers)[0]) == count  # short signals share a block


def test_little_work_has_one_thread():
    for factor, threads_ in ((0, 1), (0.99, 1), (1, 5), (9, 5)):
        assert tasks.threads_for(factor * tuning().threaded_seconds, 5) == threads_
    with xi.workers(3):
        assert tasks.threads_for(tuning().threaded_seconds, None) == 3


def test_axes_that_lie_evenly_are_one():
    whole = np.zeros((3, 4, 5, 6))
    assert [part.shape for (part,) in tasks.batches(3, whole)] == [(60, 6)]
    assert [part.shape for (part,) in tasks.batches(3, whole[::2])] == [(20, 6)] * 2
    assert [part.shape for (part,) in tasks.batches(3, whole[:, :2])] == [(10, 6)] * 3
    assert [part.shape for (part,) in tasks.batches(3, whole[:, ::2])] == [(5, 6)] * 6
    assert [part.shape for (part,) in tasks.batches(3, whole[:, :, :3])] == [(3, 6)] * 12
    apart = np.zeros((4, 10, 6))[:, ::2]  # one of two arrays is enough to part them
    assert [[part.shape for part in pair] for pair in tasks.batches(2, whole[0], apart)] == [[(20, 6)] * 2]
    apart = np.zeros((4, 7, 6))[:, :5]
    assert [[part.shape for part in pair] for pair in tasks.batches(2, whole[0], apart)] == [[(5, 6)] * 2] * 4
    assert all(np.shares_memory(part, whole) for (part,) in tasks.batches(3, whole[:, ::2]))


# ------------------------------------------------------------------ how it is shared, and stopped


class RefusedError(Exception):
    pass


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_exception_stops_the_work_and_leaves_the_pool_usable(where):
    caller = threading.current_thread()
    started = threading.Event()  # both threads are at work before one of them fails
    barrier = threading.Barrier(2)

    def work(task, share):
        barrier.wait()
        if (threading.current_thread() is caller) == (where == "caller"):
            raise RefusedError(task)
        while not share.stopped:
            started.wait(0.001)

    for _ in range(3):
        with pytest.raises(RefusedError):
            threads.run(work, [1, 2], 2, nullcontext)
    done = []
    threads.run(lambda task, share: done.append(task), list(range(100)), 4, nullcontext)
    assert sorted(done) == list(range(100))


@pytest.mark.skipif(not hasattr(signals, "SIGALRM"), reason="signals as POSIX has them")
@pytest.mark.parametrize("where", ["caller", "helper"])
def test_keyboard_interrupt_stops_every_thread(where, request):
    before = signals.signal(signals.SIGINT, signals.default_int_handler)  # shells let background jobs ignore it
    request.addfinalizer(lambda: signals.signal(signals.SIGINT, before))
    caller = threading.current_thread()
    barrier = threading.Barrier(2)
    pause = threading.Event()

    def work(task, share):
        barrier.wait()
        if threading.current_thread() is caller:
            if where == "caller":
                signals.raise_signal(signals.SIGINT)
            return
        if where == "helper":
            os.kill(os.getpid(), signals.SIGINT)  # reaches the caller while it waits
        while not share.stopped:
            pause.wait(0.001)

    with pytest.raises(KeyboardInterrupt):
        threads.run(work, [1, 2], 2, nullcontext)
    done = []
    threads.run(lambda task, share: done.append(task), list(range(100)), 4, nullcontext)
    assert sorted(done) == list(range(100))


@pytest.fixture
def pool(monkeypatch):
    """A pool without threads, whose threads stay until the end of the test."""
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 1e4)
    pool = threads._Pool()
    monkeypatch.setattr(threads, "_pool", pool)
    yield pool
    alive = list(pool.threads)
    for _ in alive:
        pool._shares.put(None)
    for thread in alive:
        thread.join(100)
        assert not thread.is_alive()


def test_no_more_threads_start_than_have_work(pool):
    most = 0
    for n_tasks, workers, needed in ((5, 1, 0), (1, 8, 0), (2, 8, 1), (9, 3, 2), (9, 2, 1), (40, 9, 8), (9, 40, 8)):
        done, most = [], max(most, needed)
        threads.run(lambda task, share, done=done: done.append(task), list(range(n_tasks)), workers, nullcontext)
        assert sorted(done) == list(range(n_tasks))
        assert len(pool.threads) == most
    assert all(thread.daemon for thread in pool.threads)


CALLS = {
    "stft": lambda x, X, **workers: xi.stft(x, 64, **workers),
    "istft": lambda x, X, **workers: xi.istft(X, **workers),
    "griffin_lim": lambda x, X, **workers: xi.griffin_lim(np.abs(X), xi.STFT(64), n_iter=1, **workers),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_short_calls_start_no_thread_and_long_ones_as_many_as_are_asked_for(call, pool):
    for shape, due in (((6, 100), 0), ((1, 600_000), 2)):
        x = np.ones(shape)
        call(x, xi.stft(x, 64, workers=1), workers=3)
        assert len(pool.threads) == due


def test_the_work_is_done_where_no_thread_starts(monkeypatch, pool):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    threads.run(lambda task, share: done.append(task), list(range(100)), 50, nullcontext)
    assert sorted(done) == list(range(100))


def test_idle_threads_end_and_others_take_their_place(monkeypatch, pool):
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.01)
    for _ in range(3):
        helpers = met_threads(3)
        assert len(helpers) == 2
        for thread in helpers:
            thread.join(100)
            assert not thread.is_alive()
        assert pool.threads == set()


def met_threads(count):
    """The others of `count` threads that are at work at the same time."""
    met, seen = threading.Barrier(count), set()

    def work(task, share):
        met.wait()
        seen.add(threading.current_thread())

    threads.run(work, list(range(count)), count, nullcontext)
    return seen - {threading.current_thread()}


def test_work_that_comes_as_a_thread_gives_up_is_not_lost(monkeypatch, pool):
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0)
    for _ in range(200):
        done = []
        threads.run(lambda task, share, done=done: done.append(task), list(range(4)), 3, nullcontext)
        assert sorted(done) == [0, 1, 2, 3]
    with pool._lock:  # nobody gives up meanwhile
        assert not pool._shares.qsize() or pool.threads


@pytest.mark.parametrize("runs", [False, True])
def test_an_interrupted_start_leaves_no_thread_that_is_not_counted(monkeypatch, pool, runs):
    """Before the thread runs, and after."""
    start, made = threading.Thread.start, []

    def interrupted(self):
        made.append(self)
        if runs:
            start(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.run(lambda task, share: None, list(range(9)), 3, nullcontext)
    while runs and made[0] not in pool.threads:
        threading.Event().wait(0.001)
    assert pool.threads == (set(made) if runs else set())
    assert met_threads(3) == pool.threads


def test_an_interrupt_after_some_have_joined_in_waits_for_them(monkeypatch, pool):
    joined, left = threading.Event(), threading.Event()

    def ask(share, helpers):
        threads._Pool.ask(pool, share, helpers)
        joined.wait()
        raise KeyboardInterrupt

    def work(task, share):
        joined.set()
        while not share.stopped:
            left.wait(0.001)
        left.set()

    monkeypatch.setattr(pool, "ask", ask)
    with pytest.raises(KeyboardInterrupt):
        threads.run(work, [1, 2], 2, nullcontext)
    assert left.is_set()


def test_more_workers_than_can_help_are_not_started(pool):
    assert most_workers() >= 4 * cpus()
    for workers in (10**6, 2**70):
        assert tasks.threads_for(1, workers) == most_workers()
        with xi.workers(workers):
            assert tasks.threads_for(1, None) == most_workers()
    x = np.ones((200, 4000))
    np.testing.assert_array_equal(xi.stft(x, 64, workers=10**6), xi.stft(x, 64, workers=1))
    assert len(pool.threads) == most_workers() - 1


def test_a_busy_pool_delays_nobody():
    """Helpers that come when the work is done leave at once; a call inside a call is no deadlock."""
    inner = []

    def work(task, share):
        threads.run(lambda part, share: inner.append((task, part)), [1, 2, 3], 3, nullcontext)

    threads.run(work, list(range(20)), 3, nullcontext)
    assert sorted(inner) == list(itertools.product(range(20), [1, 2, 3]))


class FaultyEngine:
    """The FFT engine, whose k-th inverse raises, on whatever thread that falls."""

    def __init__(self, cause, k):
        self.engine, self.cause, self.k = fft.engine_for(256, np.dtype(np.complex128)), cause, k
        self.calls, self.lock, self.stopped = 0, threading.Lock(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def irfft(self, spectra, n_fft, segments):
        with self.lock:
            self.calls += 1
            calls = self.calls
        if calls == self.k:
            raise self.cause
        if calls > self.k:  # however long the other thread takes to say that it failed
            self.stopped.wait()
        self.engine.irfft(spectra, n_fft, segments)


@pytest.mark.parametrize("cause", [KeyboardInterrupt, MemoryError("no more"), OSError("gone"), SystemExit])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_whatever_stops_one_block_stops_the_call_and_nothing_else(monkeypatch, two_threads, cause, k):
    """Raised on the caller's thread or a helper's, by the k-th block: the caller gets it, the next call is right."""
    X = spectrum(signal(2, n_samples=64 * 600))
    y = xi.istft(X, hop_length=64)
    with monkeypatch.context() as patch:
        engine, stop = FaultyEngine(cause, k), threads.Share.stop
        patch.setattr(threads.Share, "stop", lambda share, cause: (stop(share, cause), engine.stopped.set()))
        patch.setattr(synthesis, "engine_for", lambda *sizes, **kinds: engine)
        with pytest.raises(cause if isinstance(cause, type) else type(cause)):
            xi.istft(X, hop_length=64)
        assert k <= engine.calls <= k + 2  # each thread ends the block that it is at
    np.testing.assert_array_equal(xi.istft(X, hop_length=64), y)


def test_bad_calls_on_other_threads_harm_no_good_one(two_threads):
    X = spectrum()
    y = xi.istft(X, hop_length=64)

    def work(i):
        if i % 3:
            return np.array_equal(xi.istft(X, hop_length=64), y)
        with pytest.raises((ValueError, TypeError)):
            xi.istft(X[:, :5], n_fft=-3, hop_length=0)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))


def test_a_thread_with_a_small_stack_is_enough(two_threads):
    X = spectrum()
    y = xi.istft(X, hop_length=64)
    made = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: made.append(xi.istft(X, hop_length=64)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    np.testing.assert_array_equal(made[0], y)


# ------------------------------------------------------------------ processes, and their state


def test_global_state_is_left_alone():
    import locale
    import signal as signals
    import warnings

    def state():
        return (
            np.geterr(), np.get_printoptions(), list(warnings.filters), random.getstate(), os.getcwd(),
            dict(os.environ), locale.setlocale(locale.LC_ALL),
            signals.getsignal(signals.SIGINT),
            sys.getrecursionlimit(), threading.stack_size(), np.random.get_state()[1].tobytes(),
        )  # fmt: skip

    before = state()
    X = spectrum()
    xi.griffin_lim(np.abs(xi.stft(xi.istft(X, hop_length=64), 256)), n_iter=2)
    xi.StreamingISTFT(xi.STFT(**BASE)).push(X)
    assert state() == before


PRELUDE = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, xp_istft as xi
from xp_istft.tuning import tuned
all_on_threads = tuned(threaded_seconds=0)
all_on_threads.__enter__()
xi.set_workers(2)
X = np.random.default_rng(0).standard_normal((8, 129, 200, 2)).view(complex)[..., 0]
"""


def script(code):
    """What a process of its own prints."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_of_a_process_with_threads_works():
    assert script("""
from concurrent.futures import ThreadPoolExecutor
y = xi.istft(X)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda _: xi.istft(X), range(4)))
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(xi.istft(X), y) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), np.array_equal(xi.istft(X), y))
""") == ["0", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_threads_that_are_inside_an_fft_library():
    """ducc0 and SciPy keep their plans behind a lock: a child whose parent held it waited for ever."""
    assert script("""
import threading, time
from xp_istft.backends.cpu.forks import NO_FORK
inside, left = threading.Event(), []
def work():
    with NO_FORK:
        inside.set()
        time.sleep(0.2)
        left.append(True)
caller = threading.Thread(target=work)
caller.start()
inside.wait()
child = os.fork()
if child == 0:
    os._exit(len(left))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""") == ["1"]


def test_engines_that_keep_plans_behind_a_lock_are_inside_when_they_transform():
    seen = []

    class Library:
        def __getattr__(self, name):
            return lambda x, *others, **named: seen.append((name, len(forks._inside))) or x

    engines = fft.DuccEngine("ducc", Library()), fft.ScipyEngine()
    engines[1]._fft = Library()
    x = np.zeros((4, 8), complex)
    for engine in engines:
        for work in (engine.ifft, engine.fft, engine.rfft, lambda x, out, engine=engine: engine.irfft(x, 8, out)):
            work(x, np.zeros_like(x))
    assert len(seen) == 8
    assert {count for _, count in seen} == {1}
    assert not forks._inside


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_children_work_that_were_forked_while_threads_were_at_work():
    """Of children without that wait one in a hundred hung."""
    assert script("""
import signal, threading
X = np.concatenate([X[:4]] * 3, axis=-1)
y = xi.istft(X, workers=3)
over = threading.Event()
def work():
    while not over.is_set():
        xi.istft(X, workers=3)
caller = threading.Thread(target=work)
caller.start()
codes = []
for _ in range(100):
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that waits for ever
        os._exit(0 if np.array_equal(xi.istft(X, workers=3), y) else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if codes[-1]:
        break
over.set()
print(codes.count(0))
""") == ["100"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_no_thread_that_has_left():
    """An interrupt may leave a thread counted that is inside no more: its next fork or call forgets it."""
    assert script("""
import time
from xp_istft.backends.cpu import forks
forks.NO_FORK.__enter__()
start = time.monotonic()
child = os.fork()
if child == 0:
    os._exit(len(forks._inside))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(forks._inside))
""") == ["0", "0"]


def test_calls_work_while_the_interpreter_exits():
    assert script("""
import atexit
y = xi.istft(X)
atexit.register(lambda: print(np.array_equal(xi.istft(X), y)))
""") == ["True"]
