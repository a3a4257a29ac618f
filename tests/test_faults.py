"""Threads, processes, interrupts, no memory: the same bits, or a clear error and a library that works on."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hostile import BASE, signal, spectrum

import xp_istft as xi
from xp_istft import blocks
from xp_istft.backends.cpu import fft, synthesis
from xp_istft.backends.cpu.numpy import BACKEND

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or limits a process as Linux does")


@pytest.fixture
def two_threads(cut):
    """Every call shares its work with a thread of the pool, in many small blocks."""
    cut(threaded_seconds=0, block_bytes=1 << 14)
    xi.set_workers(2)
    yield
    xi.set_workers(None)


# ------------------------------------------------------------------ state


def test_global_state_is_left_alone():
    import locale
    import signal as signals
    import warnings

    def state():
        return (
            np.geterr(), np.get_printoptions(), list(warnings.filters), random.getstate(), os.getcwd(),
            dict(os.environ), locale.setlocale(locale.LC_ALL),
            np.random.get_state()[1].tobytes(), signals.getsignal(signals.SIGINT),
            sys.getrecursionlimit(), threading.stack_size(),
        )  # fmt: skip

    before = state()
    X = spectrum()
    xi.griffin_lim(np.abs(xi.stft(xi.istft(X, hop_length=64), 256)), n_iter=2)
    xi.StreamingISTFT(xi.STFT(**BASE)).push(X)
    assert state() == before


def resident_bytes():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux
def test_good_and_bad_calls_leak_nothing():
    X = spectrum()

    def bad():
        with pytest.raises(ValueError, match="hop_length: need >= 1, got -1"):
            xi.istft(X, hop_length=-1)

    for call in (bad, lambda: xi.istft(X, hop_length=64), lambda: xi.stft(signal(2), 256)):
        for _ in range(60):
            call()
        before = resident_bytes()
        for _ in range(300):
            call()
        assert resident_bytes() - before < 5e6


# ------------------------------------------------------------------ processes

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
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=100, env=environment
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


def test_calls_work_while_the_interpreter_exits():
    assert script("""
import atexit
y = xi.istft(X)
atexit.register(lambda: print(np.array_equal(xi.istft(X), y)))
""") == ["True"]


# ------------------------------------------------------------------ faults


class FaultyEngine:
    """The FFT engine, whose k-th inverse raises, on whatever thread that falls."""

    def __init__(self, cause, k):
        self.engine, self.cause, self.k = fft.engine_for(256, np.dtype(np.complex128)), cause, k
        self.calls, self.lock = 0, threading.Lock()

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def irfft(self, spectra, n_fft, segments):
        with self.lock:
            self.calls += 1
            now = self.calls == self.k
        if now:
            raise self.cause
        self.engine.irfft(spectra, n_fft, segments)


@pytest.mark.parametrize("cause", [KeyboardInterrupt, MemoryError("no more"), OSError("gone"), SystemExit])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_whatever_stops_one_block_stops_the_call_and_nothing_else(monkeypatch, two_threads, cause, k):
    """Raised on the caller's thread or a helper's, by the k-th block: the caller gets it, the next call is right."""
    X = spectrum(signal(2, n_samples=64 * 600))
    y = xi.istft(X, hop_length=64)
    with monkeypatch.context() as patch:
        engine = FaultyEngine(cause, k)
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


@linux
@pytest.mark.parametrize("spare", [1 << 20, 40 << 20, 300 << 20])
def test_no_memory_is_a_memory_error_and_the_next_call_is_right(spare):
    """Whatever is left: for nothing, for part of the work, for the result alone."""
    said, right = script(f"""
import resource
y = xi.istft(X)
big = np.broadcast_to(X[:1, :, :1], (256, 129, 40000))
pages = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages + {spare}, limits[1]))
try:
    xi.istft(big, hop_length=64)
except MemoryError as cause:
    said = str(cause)
resource.setrlimit(resource.RLIMIT_AS, limits)
print(said.partition(" bytes")[0].replace(" ", "_"), np.array_equal(xi.istft(X), y))
""")
    assert (said, right) == (f"istft:_memory:_need_{256 * 39999 * 64 * 8}", "True")


@linux
def test_more_than_2_to_the_31_samples_under_a_limit_is_a_memory_error():
    """The signal is never touched: it is one sample, many times."""
    assert script("""
import resource
limit = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
X = np.broadcast_to(np.ones((1, 3, 1), complex), (1, 3, 2**29 + 10))
try:
    xi.istft(X, n_fft=4, hop_length=4, window="boxcar")
except MemoryError as cause:
    print(str(cause).partition(",")[0].replace(" ", "_"))
""") == [f"istft:_memory:_need_{8 * (2**31 + 36)}_bytes_for_the_result_of_shape_(1"]


def test_too_large_a_result_says_how_many_bytes():
    wide = np.broadcast_to(spectrum()[:1], (2**40, 129, 33))
    with pytest.raises(MemoryError, match=rf"^istft: memory: need {2**40 * 2048 * 8} bytes for the result of shape"):
        xi.istft(wide, hop_length=64)
    narrow = np.broadcast_to(signal(1), (2**40, 2048))
    with pytest.raises(MemoryError, match=rf"^stft: memory: need {2**40 * 129 * 33 * 16} bytes for the result of sh"):
        xi.stft(narrow, 256, hop_length=64)
    with pytest.raises(MemoryError, match="^frame: memory: need .* bytes for the result of shape"):
        xi.frame(narrow, 256, 64)


# ------------------------------------------------------------------ beyond 2**31 samples

FAR = 2**31 + 12345  # frames: more than 2**37 samples


def tone(lo, hi):
    """Samples [lo, hi) of an endless signal, exact integers."""
    t = np.arange(lo, hi)
    return ((t * 7919) % 1000 - 500).astype(float)


@pytest.mark.parametrize("padding", [None, "same", "full", (3, 40)])
def test_blocks_far_beyond_2_to_the_31_are_those_of_a_short_signal(padding):
    """A lazy signal of 2**37 samples: its blocks there are what the transform of that neighbourhood gives."""
    layout = {"n_fft": 64, "hop_length": 64 // 4 + 1, "padding": padding}
    n_samples = FAR * layout["hop_length"]
    job = xi.STFT(**layout).analysis("stft", n_samples, "float64")
    frames = job.frames
    assert frames.n_frames > 2**31
    assert frames.span > 2**35
    for first in (0, 2**31 - 3, frames.n_frames - 9):
        lo = first * frames.hop - frames.start  # of the signal
        hi = lo + frames.n_fft + 8 * frames.hop
        a, b = max(0, lo), min(hi, n_samples)
        read = a - lo
        piece = np.zeros(hi - lo)
        piece[read : read + b - a] = tone(a, b)
        want = xi.stft(piece, 64, hop_length=frames.hop, center=False)
        near = lambda lo, hi, at=first: tone(lo, hi)  # noqa: E731
        got = far_blocks(job, near, first, 9)
        np.testing.assert_allclose(got, want, atol=1e-9)


def far_blocks(job, read, first, count):
    """Frames [first, first + count) of a job, as stft_blocks makes them: its loop entered there."""
    frames = job.frames
    lo = first * frames.hop - frames.start
    hi = lo + frames.n_fft + frames.hop * (count - 1)
    piece, before = blocks._padded(read, lo, hi, frames.n_samples, job.pad_mode)
    laid = type(frames)(frames.n_fft, frames.hop, count, before, before + piece.shape[-1])
    return BACKEND.analysis(piece, blocks.replace(job, frames=laid, pad_mode="constant"))


def test_segments_far_beyond_2_to_the_31_invert_what_lies_there():
    layout = {"n_fft": 64, "hop_length": 16}
    n_samples = FAR * 16
    transform = xi.STFT(**layout)
    forward = transform.analysis("stft", n_samples, "float64")
    job, _ = transform.synthesis("istft", forward.frames.n_frames, n_samples, "complex128")
    for lo in (0, 2**31 - 50, 2**34 + 1, n_samples - 200):
        columns, segment = job.segment(job.frames.start + lo, job.frames.start + lo + 200)
        X = far_blocks(forward, tone, columns.start, columns.stop - columns.start)
        y = BACKEND.synthesis(X, segment)
        np.testing.assert_allclose(y, tone(lo, lo + 200), atol=1e-10)
        assert segment.frames.n_frames < 20


def test_the_gain_of_2_to_the_40_samples_takes_no_memory():
    job, _ = xi.STFT(256, hop_length=64).synthesis("istft", 2**40, None, "complex64")
    gain = job.gain
    assert gain.head.size + gain.period.size + gain.tail.size < 1000
    far = 2**45 + 7
    np.testing.assert_array_equal(gain.samples(far, far + 100), np.resize(np.roll(gain.period, -(far % 64)), 100))
    assert not gain.samples(job.frames.span, job.frames.span + 10).any()
