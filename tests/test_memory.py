"""Memory: results own theirs, scratch is had again, and bounded; what does not fit is said before it is tried."""

from __future__ import annotations

import gc
import itertools
import math
import os
import pickle
import sys
import threading
import tracemalloc
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hostile import LAYOUTS, signal, spectrum
from test_cpu_maps import spectrum_of, synthesis_job
from test_threads import script

import xp_istft as xi
from xp_istft.backends.cpu import memory, threads
from xp_istft.backends.cpu.fft import engine_for
from xp_istft.backends.cpu.numpy import BACKEND
from xp_istft.frames import Frames
from xp_istft.jobs import Analysis

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or limits a process as Linux does")


# ------------------------------------------------------------------ results


def results_of_every_function(n_samples, leading):
    """Name and result of what gives NumPy arrays."""
    x = np.random.default_rng(5).standard_normal((*leading, n_samples)).astype(np.float32)
    transform = xi.STFT(256)
    X = transform.stft(x)
    frames = xi.frame(x, 256, 64)
    yield from {"stft": X, "istft": transform.istft(X), "frame": frames, "pad": xi.pad(x, 0, 0)}.items()
    yield "overlap_add", xi.overlap_add(frames, 64)
    yield "project", xi.project(X, transform)
    yield "pghi", xi.pghi(np.abs(X), transform)
    yield "griffin_lim", xi.griffin_lim(np.abs(X), transform, n_iter=1)
    yield "from_polar", xi.from_polar(np.abs(X), np.angle(X))
    other = xi.STFT(256, frequencies=xi.linear_frequencies(140, 0, 4000, 8000), solver=xi.Adjoint())
    yield "stft at other frequencies", other.stft(x)
    yield "istft at other frequencies", other.istft(other.stft(x))
    forward, back = xi.StreamingSTFT(transform), xi.StreamingISTFT(transform)
    for part in (x[..., :100], x[..., 100:150], x[..., 150:]):
        yield "StreamingSTFT.push", forward.push(part)
    yield "StreamingSTFT.flush", forward.flush()
    for part in (X[..., :2], X[..., 2:5], X[..., 5:]):
        yield "StreamingISTFT.push", back.push(part)
    yield "StreamingISTFT.flush", back.flush()


@pytest.mark.parametrize("leading", [(), (2,), (2, 1, 3), (0,)], ids=str)
@pytest.mark.parametrize("n_samples", [300, 5000])
def test_results_own_their_memory_as_those_of_numpy_do(n_samples, leading):
    for name, result in results_of_every_function(n_samples, leading):
        assert (result.base, result.flags.owndata, result.flags.writeable) == (None, True, True), name
        assert sys.getsizeof(result) >= result.nbytes, name


def test_a_large_result_owns_its_memory_too():
    """Of 16 to 64 MB that of the last one that was gone was used again, whoever held it behind our back."""
    X = xi.stft(np.zeros(2_300_000, np.float32), 512)
    assert X.nbytes > 1 << 24
    y = xi.istft(np.ones((257, 50_000), np.complex64), hop_length=128)
    assert y.nbytes > 1 << 24
    for result in (X, y):
        assert (result.base, result.flags.owndata) == (None, True)
        copy = pickle.loads(pickle.dumps(result, 5))
        assert copy.strides == result.strides
        np.testing.assert_array_equal(copy, result)
    del result
    size = y.size
    y.resize(2 * size)
    assert (y.shape, y[size:].any()) == ((2 * size,), False)


def test_what_is_held_in_a_cycle_is_never_written_by_the_next_call():
    class Holder:
        kept = None

        def __del__(self):
            Holder.kept = self.array

    x = np.random.default_rng(5).standard_normal(2_300_000).astype(np.float32)
    holder = Holder()
    holder.me, holder.array = holder, xi.stft(x, 512)
    due = holder.array.copy()
    del holder
    gc.collect()
    xi.stft(-x, 512)
    np.testing.assert_array_equal(Holder.kept, due)


@pytest.mark.parametrize("columns", [False, True])
def test_memory_that_is_not_there_is_named(columns):
    for shape in ((2**40, 2**10), (2**61, 2), (2, 2**61, 2**62)):
        need = rf"stft: memory: need {8 * math.prod(shape)} bytes for the result of shape \({shape[0]}, "
        with pytest.raises(MemoryError, match=need):
            memory.empty("stft", shape, "F", columns)


# ------------------------------------------------------------------ scratch


def scratch_of(call):
    """Bytes that a thread of its own keeps after `call`."""
    kept = []
    thread = threading.Thread(
        target=lambda: (call(), kept.append(sum(each.size for each in memory._kept.buffers.values())))
    )
    thread.start()
    thread.join()
    return kept[0]


@pytest.mark.parametrize("hop", [1, 16, 64, 512, 1000, 4096])
@pytest.mark.parametrize("n_fft", [256, 2048, 4096])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_scratch_is_bounded(n_fft, hop, dtype, cut):
    cut(threaded_seconds=0)
    n_frames = 300 if hop < 64 else 700
    for workers, strided in itertools.product((1, 2), (False, True)):
        job = synthesis_job((n_fft, hop, n_frames, n_fft // 2, hop * (n_frames - 1)), "ones")
        spectrum = spectrum_of(job, dtype)
        out = np.empty((job.frames.n_samples, 2), spectrum.real.dtype)[:, 0] if strided else None

        def inverse(spectrum=spectrum, job=job, out=out, workers=workers):
            threads.run(lambda task, share: BACKEND.synthesis(spectrum, job, out, 1), [0], 1, nullcontext)
            BACKEND.synthesis(spectrum, job, out, workers)

        assert scratch_of(inverse) <= 1.2 * 2**20
        forward = Analysis(job.frames, None)
        signal = np.zeros(job.frames.n_samples, dtype)
        many = np.zeros((2**21 // (4 * n_fft), 4 * n_fft), dtype)
        short = Analysis(Frames(n_fft, n_fft, 5, n_fft // 2, n_fft // 2 + 4 * n_fft), None)
        for one, each in ((signal, forward), (many, short)):
            assert scratch_of(lambda one=one, job=each: BACKEND.analysis(one, job)) <= 1.2 * 2**20


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("layout", ["C", "frame-major"])
def test_new_arrays_of_an_engine_are_bounded_too(layout, workers):
    job = synthesis_job((2048, 512, 2000, 1024, 512 * 1999))
    spectrum, out = LAYOUTS[layout](spectrum_of(job)), np.empty(job.frames.n_samples, np.float32)
    with xi.fft_engine("scipy"):
        engine_for(2048, spectrum.dtype)  # which is tried once in a process
    tracemalloc.start()
    try:
        with xi.fft_engine("scipy"):
            BACKEND.synthesis(spectrum, job, out, workers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= workers * 1.2 * 2**20


def test_scratch_is_had_again_but_for_what_is_large():
    small, large = memory.KEPT_BYTES, memory.KEPT_BYTES + 1

    def call():
        first = memory.buffer("a", small)
        assert first.size == small
        assert memory.buffer("a", small) is first
        assert memory.buffer("a", small - 1) is first
        assert memory.buffer("b", small) is not first
        apart = memory.buffer("c", large)
        assert memory.buffer("c", large) is not apart
        memory.keep_views("small", 1, first)
        memory.keep_views("large", 2, first, apart)
        assert (memory.known_views("small"), memory.known_views("large")) == (1, None)
        memory.buffer("c", 8)  # memory that is new: views of what it may replace are forgotten
        assert memory.known_views("small") is None
        for key in range(memory._KEPT_VIEWS):
            memory.keep_views(key, key, first)
        assert [memory.known_views(key) for key in range(memory._KEPT_VIEWS)] == list(range(memory._KEPT_VIEWS))
        memory.keep_views("one more", 3, first)
        assert (memory.known_views(0), memory.known_views("one more")) == (None, 3)
        memory.buffer("a", large)

    assert 2**20 <= scratch_of(call) == 2 * small + 8  # a, b and c


# ------------------------------------------------------------------ the whole process


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


@linux
def test_sizes_beyond_the_data_are_right_in_a_gigabyte_or_refused_by_name():
    assert script("import hostile_sizes\nprint(*hostile_sizes.main(), sep='\\n')") == []


def test_too_large_a_result_says_how_many_bytes():
    wide = np.broadcast_to(spectrum()[:1], (2**40, 129, 33))
    with pytest.raises(MemoryError, match=rf"^istft: memory: need {2**40 * 2048 * 8} bytes for the result of shape"):
        xi.istft(wide, hop_length=64)
    narrow = np.broadcast_to(signal(1), (2**40, 2048))
    with pytest.raises(MemoryError, match=rf"^stft: memory: need {2**40 * 129 * 33 * 16} bytes for the result of sh"):
        xi.stft(narrow, 256, hop_length=64)
    with pytest.raises(MemoryError, match="^frame: memory: need .* bytes for the result of shape"):
        xi.frame(narrow, 256, 64)
