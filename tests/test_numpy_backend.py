"""The NumPy backend gives the definition's numbers, and the same bits however the work is cut."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import signal as signals
import sys
import threading
import tracemalloc
import types
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.fft

import xp_istft as xi
from xp_istft.backends.base import BASE
from xp_istft.backends.cpu import fft, memory, overlap, retrieval, synthesis, tasks, threads
from xp_istft.backends.cpu.numpy import BACKEND
from xp_istft.frames import PAD_MODES, Frames
from xp_istft.jobs import Analysis, Synthesis
from xp_istft.tuning import tuning
from xp_istft.windows import normalisation

TOLERANCE = {"f": 3e-6, "d": 1e-13}
COMPLEX = {"f": np.complex64, "d": np.complex128}

# n_fft, hop, n_frames, start, length: even, odd and prime sizes, hops that divide and that do not, one sample and
# longer than a frame, few frames, a signal that begins before the first frame and one that ends after the last
GEOMETRIES = [
    (8, 2, 1, 0, 8),
    (8, 2, 3, 4, 6),
    (16, 4, 40, 8, 150),
    (16, 4, 40, 7, 151),
    (15, 4, 40, 7, 150),
    (17, 5, 33, 8, 160),
    (31, 1, 70, 15, 60),
    (64, 1, 200, 32, 190),
    (100, 3, 120, 50, 300),
    (20, 20, 9, 0, 180),
    (20, 27, 9, 0, 230),
    (20, 27, 9, -5, 260),
    (20, 7, 30, -13, 280),
    (20, 7, 30, 3, 400),
    (13, 3, 2, 1, 9),
    (128, 2, 5, 0, 130),
    (200, 80, 64, 100, 5000),
    (64, 16, 900, 32, 14000),
    (257, 64, 300, 128, 19000),
    (512, 128, 150, 256, 19001),
    (16, 4, 5, 40, 100),
    (16, 4, 5, -200, 90),
]


def window_pair(n_fft, kind):
    t = np.arange(n_fft)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * t / n_fft)
    if kind == "hann":
        return hann, hann
    if kind == "pair":
        return np.hamming(n_fft), 0.1 + np.sin(np.pi * (t + 0.5) / n_fft)
    return np.ones(n_fft), np.ones(n_fft)


def synthesis_job(geometry, pair="hann", onesided=True, real=True, max_gain=None, dtype="f"):
    n_fft, hop, n_frames, start, length = geometry
    frames = Frames(n_fft, hop, n_frames, start, start + length)
    analysis, synthesis = window_pair(n_fft, pair)
    eps = float(np.finfo(np.dtype(dtype)).eps)
    gain = normalisation(analysis / analysis.max(), synthesis / synthesis.max(), frames, eps, max_gain)
    return Synthesis(frames, synthesis / synthesis.max(), gain, onesided, real)


def spectrum_of(job, dtype="f", batch=(), seed=0):
    rng = np.random.default_rng(seed)
    n_bins = job.frames.n_fft // 2 + 1 if job.onesided else job.frames.n_fft
    shape = (*batch, n_bins, job.frames.n_frames)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(COMPLEX[dtype])


def wide(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def assert_close(ours, definition, dtype, weight=1.0):
    """Equal to rounding, relative to the largest value that takes part in each sample."""
    assert ours.shape == definition.shape
    scale = np.abs(definition).max() + weight
    assert np.abs(ours - definition).max(initial=0) <= TOLERANCE[dtype] * np.max(scale)


def check_synthesis(job, spectrum, dtype, **arguments):
    ours = BACKEND.synthesis(spectrum, job, **arguments)
    exact = BASE.synthesis(wide(spectrum), job)
    gain = job.signal_gain()
    gain = np.ones(job.frames.n_samples) if gain is None else gain
    # Compared before the gain: near the ends it amplifies the rounding of either.
    weight = np.where(gain == 0, 1, np.maximum(np.abs(gain), 1))
    assert ours.dtype == (spectrum.real.dtype if job.real else spectrum.dtype)
    assert_close(ours / weight, exact / weight, dtype)
    assert (ours[..., gain == 0] == 0).all()
    return ours


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("pair", ["hann", "pair", "ones"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_synthesis_is_the_definition(geometry, pair, dtype):
    for max_gain in (None, 2.0):
        job = synthesis_job(geometry, pair, max_gain=max_gain, dtype=dtype)
        check_synthesis(job, spectrum_of(job, dtype), dtype)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_two_sided_synthesis_is_the_definition(geometry, real, dtype):
    job = synthesis_job(geometry, onesided=False, real=real, dtype=dtype)
    check_synthesis(job, spectrum_of(job, dtype, (2,)), dtype)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_synthesis_without_window_and_gain(geometry):
    job = synthesis_job(geometry)
    job = Synthesis(job.frames, None, None)
    check_synthesis(job, spectrum_of(job), "f")
    segments = np.random.default_rng(0).standard_normal((2, geometry[0], geometry[2]))
    for kind in (segments, segments + 1j * segments[::-1]):
        assert_close(BACKEND.overlap_add(kind, job), BASE.overlap_add(kind, job), "d")


@pytest.mark.parametrize("geometry", GEOMETRIES[3:], ids=str)
def test_segments_of_a_job_are_the_job(geometry):
    job = synthesis_job(geometry, "pair")
    spectrum = spectrum_of(job, batch=(2,))
    whole = BACKEND.synthesis(spectrum, job)
    start, stop = job.frames.start, job.frames.stop
    cuts = sorted({start, *np.random.default_rng(1).integers(start, stop, 4).tolist(), stop})
    for lo, hi in itertools.pairwise(cuts):
        columns, part = job.segment(lo, hi)
        if part.frames.n_frames:
            piece = BACKEND.synthesis(spectrum[..., columns], part)
            assert np.array_equal(piece, whole[:, lo - start : hi - start])


LAYOUTS = {
    "C": lambda a: np.ascontiguousarray(a),
    "frame-major": lambda a: np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2),
    "Fortran": np.asfortranarray,
    "every other": lambda a: np.repeat(np.repeat(a, 2, -1), 2, -2)[..., ::2, ::2],
    "reversed": lambda a: a[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    "batch last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0),
    "batch axes swapped": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "read-only": lambda a: np.broadcast_to(a, a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", [(16, 4, 40, 7, 151), (64, 1, 200, 32, 190), (20, 27, 9, -5, 260)], ids=str)
def test_layout_changes_no_bit(geometry, layout):
    for onesided, real in ((True, True), (False, True), (False, False)):
        job = synthesis_job(geometry, onesided=onesided, real=real)
        spectrum = spectrum_of(job, batch=(3, 2))
        plain = BACKEND.synthesis(spectrum, job)
        assert np.array_equal(BACKEND.synthesis(LAYOUTS[layout](spectrum), job), plain)
        if layout != "read-only":
            out = LAYOUTS[layout](np.full_like(plain, np.nan)[..., None])[..., 0]
            assert BACKEND.synthesis(spectrum, job, out=out) is out
            assert np.array_equal(out, plain)


@pytest.mark.parametrize("geometry", [(16, 4, 40, 7, 151), (64, 1, 200, 32, 190), (15, 4, 30, 7, 100)], ids=str)
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,), (2, 0)])
def test_batch_item_is_single_item(geometry, batch):
    job = synthesis_job(geometry)
    spectrum = spectrum_of(job, batch=batch)
    signal = BACKEND.synthesis(spectrum, job)
    assert signal.shape == (*batch, job.frames.n_samples)
    for index in np.ndindex(batch):
        assert np.array_equal(signal[index], BACKEND.synthesis(spectrum[index], job))


@pytest.fixture
def many_blocks(cut):
    """Small blocks and no threshold: a small problem is cut as a large one is."""
    cut(threaded_seconds=0)
    return lambda n_bytes: cut(block_bytes=n_bytes)


CUT = [
    (16, 4, 900, 7, 3500),
    (17, 5, 700, 8, 3400),
    (64, 1, 2000, 32, 1990),
    (128, 2, 900, 64, 1790),
    (20, 27, 300, 0, 8000),
]


@pytest.mark.parametrize("geometry", CUT, ids=str)
@pytest.mark.parametrize("batch", [(), (2,), (9,)])
def test_threads_and_blocks_change_no_bit(geometry, batch, many_blocks):
    job = synthesis_job(geometry, "pair")
    spectrum = spectrum_of(job, batch=batch)
    plain = BACKEND.synthesis(spectrum, job, workers=1)
    forward = Analysis(job.frames, job.window, pad_mode="reflect")
    signal = np.random.default_rng(3).standard_normal((*batch, job.frames.n_samples)).astype(np.float32)
    forward_plain = BACKEND.analysis(signal, forward, workers=1)
    for n_bytes, workers in itertools.product((1, 3000, 50000), (1, 2, 3, 7)):
        many_blocks(n_bytes)
        assert np.array_equal(BACKEND.synthesis(spectrum, job, workers=workers), plain)
        assert np.array_equal(BACKEND.analysis(signal, forward, workers=workers), forward_plain)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("pad_mode", PAD_MODES)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_analysis_is_the_definition(geometry, pad_mode, dtype):
    n_fft, hop, n_frames, start, length = geometry
    frames = Frames(n_fft, hop, n_frames, start, start + length)
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2, length)).astype(dtype)
    for window in (window_pair(n_fft, "hann")[0], None):
        job = Analysis(frames, window, pad_mode=pad_mode)
        exact = BASE.analysis(signal.astype(float), job)
        assert_close(BACKEND.analysis(signal, job), exact, dtype)
        assert_close(BACKEND.frame(signal, job), BASE.frame(signal.astype(float), job), dtype)
        job = Analysis(frames, window, onesided=False, pad_mode=pad_mode)
        for kind in (signal, (signal + 1j * signal[::-1]).astype(COMPLEX[dtype])):
            ours = BACKEND.analysis(kind, job)
            assert ours.dtype == COMPLEX[dtype]
            assert_close(ours, BASE.analysis(wide(kind), job), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_no_bit_of_an_analysis(layout):
    job = Analysis(Frames(16, 5, 30, 8, 160), np.hanning(16), pad_mode="reflect")
    signal = np.random.default_rng(0).standard_normal((3, 2, 152)).astype(np.float32)
    plain = BACKEND.analysis(signal, job)
    assert plain.strides[-2] == plain.itemsize  # frames one after the other, as librosa and torch lay them
    assert np.array_equal(BACKEND.analysis(LAYOUTS[layout](signal[..., None])[..., 0], job), plain)
    if layout != "read-only":
        out = LAYOUTS[layout](np.full_like(plain, np.nan))
        assert BACKEND.analysis(signal, job, out=out) is out
        assert np.array_equal(out, plain)


@pytest.mark.parametrize("n_frames", [512, 1024])
def test_columns_4096_bytes_apart(n_frames):
    job = synthesis_job((64, 16, n_frames, 32, 16 * (n_frames - 1)))
    spectrum = spectrum_of(job, batch=(2,))
    assert spectrum.strides[-2] % 4096 == 0
    check_synthesis(job, spectrum, "f")
    packed = np.ascontiguousarray(spectrum.swapaxes(-1, -2)).swapaxes(-1, -2)
    assert np.array_equal(BACKEND.synthesis(spectrum, job), BACKEND.synthesis(packed, job))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("geometry", [(16, 4, 900, 7, 3500), (17, 5, 700, 8, 3400), (64, 1, 900, 32, 890)], ids=str)
def test_nan_stays_in_the_samples_of_its_frame(geometry, value, many_blocks):
    n_fft, hop, _, start, length = geometry
    job = synthesis_job(geometry)
    spectrum = spectrum_of(job)
    clean = BACKEND.synthesis(spectrum, job)
    for m in (0, 1, 303, geometry[2] - 1):
        spoilt = spectrum.copy()
        spoilt[3, m] = value
        lo, hi = max(0, m * hop - start), min(length, max(0, m * hop - start + n_fft))
        for n_bytes in (1 << 19, 3000):
            many_blocks(n_bytes)
            result = BACKEND.synthesis(spoilt, job, workers=2)
            assert np.isfinite(np.delete(result, np.s_[lo:hi])).all()
            assert np.array_equal(np.delete(result, np.s_[lo:hi]), np.delete(clean, np.s_[lo:hi]))
    # The buffers that a NaN went through are used again.
    assert np.array_equal(BACKEND.synthesis(spectrum, job), clean)


def test_no_gain_is_zero_whatever_the_spectrum_holds():
    for hop, length in ((20, 220), (27, 280)):  # the first sample of every frame has no weight; gaps between frames
        job = synthesis_job((20, hop, 10, -7, length))
        result = BACKEND.synthesis(np.full_like(spectrum_of(job), np.nan), job)
        assert (result[job.signal_gain() == 0] == 0).all()
        assert np.isnan(result[job.signal_gain() != 0]).all()


def test_steady_gain_of_zero_where_the_ends_have_one():
    """A pair of windows whose products cancel in the steady state: only samples near the ends are determined."""
    window = np.ones(16)
    other = np.r_[np.ones(8), -np.ones(8)]
    frames = Frames(16, 8, 12, 0, 104)
    gain = normalisation(window, other, frames, 1e-7)
    assert (gain.period == 0).all()
    assert gain.head.all()
    job = Synthesis(frames, other, gain)
    check_synthesis(job, spectrum_of(job), "f")


@pytest.mark.parametrize("geometry", [(16, 4, 900, 7, 3500), (64, 1, 900, 32, 890)], ids=str)
def test_overflow_is_silent_on_every_thread(geometry, many_blocks):
    many_blocks(3000)
    job = synthesis_job(geometry)
    spectrum = np.full_like(spectrum_of(job, batch=(3,)), 3e38)
    with np.errstate(all="raise"):
        for workers in (1, 3):
            assert not np.isfinite(BACKEND.synthesis(spectrum, job, workers=workers)).all()
            assert np.isnan(
                BACKEND.analysis(np.full((3, 99), np.inf, "f"), Analysis(Frames(8, 2, 40, 0, 99), None))
            ).any()


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
    tracemalloc.start()
    try:
        with xi.fft_engine("scipy"):
            BACKEND.synthesis(spectrum, job, out, workers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= workers * 1.2 * 2**20


@pytest.mark.parametrize("real", [True, False])
def test_a_strided_result_after_a_packed_one(real):
    """A small problem is known from its first call; its views fit packed signals alone."""
    job = synthesis_job((16, 4, 9, 8, 32), onesided=real, real=real)
    spectrum = spectrum_of(job)
    packed = BACKEND.synthesis(spectrum, job)
    assert np.array_equal(BACKEND.synthesis(spectrum, job), packed)
    strided = np.full((*packed.shape[:-1], 3 * 32), 7, packed.dtype)[..., ::3]
    BACKEND.synthesis(spectrum, job, strided)
    assert np.array_equal(strided, packed)


@pytest.mark.parametrize("real", [True, False])
def test_strided_results_in_many_blocks(real, many_blocks):
    job = synthesis_job((16, 4, 900, 7, 3500), onesided=real, real=real)
    spectrum = spectrum_of(job)
    packed = BACKEND.synthesis(spectrum, job, workers=1)
    many_blocks(3000)
    strided = np.full((*packed.shape[:-1], 2 * 3500), 7, packed.dtype)[..., ::2]
    BACKEND.synthesis(spectrum, job, strided, workers=1)
    assert np.array_equal(strided, packed)


def test_ends_that_one_frame_of_two_reaches_count_twice():
    x = np.random.default_rng(8).standard_normal(80)
    for hop in (4, 8):  # the quotient of gains at the ends is 2, and 1
        X = xi.stft(x, 8, hop_length=hop, window="boxcar", center=False)
        np.testing.assert_allclose(xi.istft(X, hop_length=hop, window="boxcar", center=False), x, atol=1e-14)


@pytest.mark.parametrize(
    ("n_fft", "hop", "n_frames", "group"),
    [
        (16384, 512, 40, 4),
        (32768, 1024, 40, 0),
        (65536, 16384, 21, 0),
        (65536, 2048, 40, 0),
        (65536, 512, 40, 1),
        (4096, 4096, 9, 0),
    ],
)
def test_long_frames_are_the_definition_in_any_blocks(n_fft, hop, n_frames, group, cut):
    """Their history does not fit the cache; in groups, if there are four frames to one or more history than 16 MB."""
    job = synthesis_job((n_fft, hop, n_frames, n_fft // 2, hop * (n_frames - 1) + 1))
    assert synthesis.plan_of(job, np.dtype("f")).group == group
    spectrum = spectrum_of(job)
    y = check_synthesis(job, spectrum, "f", workers=1)
    for rows, workers in ((4, 2), (9, 3)):
        cut(least_rows=rows)
        assert np.array_equal(BACKEND.synthesis(LAYOUTS["C"](spectrum), job, workers=workers), y)
    x = np.random.default_rng(1).standard_normal(job.frames.n_samples).astype("f")
    forward = Analysis(job.frames, job.window)
    assert np.array_equal(BACKEND.analysis(x, forward, workers=1), BACKEND.analysis(x, forward, workers=3))


def test_frames_longer_than_a_group_of_them():
    """131072 samples: no two frames are added at once, and every loop ends."""
    x = np.random.default_rng(2).standard_normal(100_000).astype(np.float32)
    y = xi.istft(xi.stft(x, 2**17), length=x.size)
    assert np.abs(y - x).max() < 1e-5


def test_the_scale_of_magnitudes_is_a_power_of_two():
    peaks = np.array([0, 1, 3, 1e-20, np.inf, np.nan], np.float32)[:, None, None]
    np.testing.assert_array_equal(retrieval._scale(peaks).ravel(), [1, 1, 2, 2.0**-67, 1, 1])


def test_runs_are_where_a_mask_is_true():
    for mask in ([], [0, 0], [1], [1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0]):
        runs = overlap._runs(np.array(mask, bool))
        assert [i for lo, hi in runs for i in range(lo, hi)] == np.flatnonzero(mask).tolist()
        assert all(before[1] < after[0] for before, after in itertools.pairwise(runs))


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


def test_the_caller_works_alone_where_no_thread_starts(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    done = []
    threads.run(lambda task, share: done.append(task), [1, 2, 3], 3, nullcontext)
    assert done == [1, 2, 3]


def test_no_more_threads_start_than_have_work(monkeypatch):
    started, start = [], threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (started.append(thread), start(thread)))
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    for n_tasks, workers, helpers in ((5, 1, 0), (1, 8, 0), (2, 8, 1), (9, 3, 2), (9, 2, 2), (4, 9, 3)):
        done = []
        threads.run(lambda task, share, done=done: done.append(task), list(range(n_tasks)), workers, nullcontext)
        assert sorted(done) == list(range(n_tasks))
        assert len(started) == helpers
    assert all(thread.daemon and thread.name == "xp_istft" for thread in started)


def test_a_busy_pool_delays_nobody():
    """Helpers that come when the work is done leave at once; a call inside a call is no deadlock."""
    inner = []

    def work(task, share):
        threads.run(lambda part, share: inner.append((task, part)), [1, 2, 3], 3, nullcontext)

    threads.run(work, list(range(20)), 3, nullcontext)
    assert sorted(inner) == list(itertools.product(range(20), [1, 2, 3]))


def _child(queue, job, spectrum):
    queue.put(BACKEND.synthesis(spectrum, job, workers=3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_right_after_fork(many_blocks):
    many_blocks(3000)
    job = synthesis_job((16, 4, 900, 7, 3500))
    spectrum = spectrum_of(job)
    result = BACKEND.synthesis(spectrum, job, workers=3)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_child, args=(queue, job, spectrum))
    child.start()
    assert np.array_equal(queue.get(), result)
    child.join()
    assert child.exitcode == 0


def test_many_callers_at_once(many_blocks):
    many_blocks(3000)
    jobs = [synthesis_job(geometry) for geometry in CUT]
    spectra = [spectrum_of(job, batch=(2,)) for job in jobs]
    results = [BACKEND.synthesis(*each) for each in zip(spectra, jobs, strict=True)]
    wrong = []

    def caller(turn):
        for i in range(10):
            k = (i + turn) % len(jobs)
            if not np.array_equal(BACKEND.synthesis(spectra[k], jobs[k], workers=1 + turn % 3), results[k]):
                wrong.append((turn, i))

    callers = [threading.Thread(target=caller, args=(turn,)) for turn in range(6)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert not wrong


def with_mkls_interface(monkeypatch):
    """MKL's interface to NumPy's arithmetic, of frames whose bins lie side by side alone; the threads it may use."""
    allowed = [4]

    def set_num_threads_local(count):
        before, allowed[0] = allowed[0], count
        return before

    def packed(transform):
        def made(x, *arguments, **options):
            assert x.strides[-1] == x.itemsize
            return transform(x, *arguments, **options)

        return made

    mkl, mkl_fft = types.ModuleType("mkl"), types.ModuleType("mkl_fft")
    mkl.set_num_threads_local = set_num_threads_local
    for name in ("irfft", "ifft"):
        setattr(mkl_fft, name, packed(getattr(np.fft, name)))
    mkl_fft.rfft, mkl_fft.fft = np.fft.rfft, np.fft.fft
    monkeypatch.setitem(sys.modules, "mkl", mkl)
    monkeypatch.setitem(sys.modules, "mkl_fft", mkl_fft)
    return allowed


@pytest.fixture(params=["numpy", "scipy", "mkl", "as mkl"])
def engine(request, monkeypatch):
    if request.param == "mkl":
        pytest.importorskip("mkl_fft")
        pytest.importorskip("mkl")
    name = request.param.removeprefix("as ")
    known = (fft.engine_named, fft._engine_for)
    if name != request.param:
        with_mkls_interface(monkeypatch)
        for cache in known:
            cache.cache_clear()
    with xi.fft_engine(name):
        yield name
    for cache in known if name != request.param else ():
        cache.cache_clear()


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize(
    "geometry",
    [(16, 4, 300, 7, 1150), (15, 4, 40, 7, 150), (64, 1, 200, 32, 190), (1024, 256, 512, 512, 130000)],
    ids=str,
)
def test_every_engine_is_the_definition(engine, geometry, dtype):
    assert fft.engine_for(16, np.dtype(COMPLEX[dtype])).name == engine
    rng = np.random.default_rng(0)
    for onesided, real in ((True, True), (False, True), (False, False)):
        job = synthesis_job(geometry, "pair", onesided=onesided, real=real, dtype=dtype)
        spectrum = spectrum_of(job, dtype, (2,))
        for layout in ("C", "frame-major", "every other"):
            check_synthesis(job, LAYOUTS[layout](spectrum), dtype, workers=2)
        signal = rng.standard_normal((2, job.frames.n_samples)).astype(dtype)
        forward = Analysis(job.frames, job.window, onesided)
        exact = BASE.analysis(signal.astype(float), forward)
        for out in (None, np.empty(exact.shape, COMPLEX[dtype])):
            ours = BACKEND.analysis(signal, forward, out=out)
            assert ours.dtype == COMPLEX[dtype]
            assert np.abs(ours - exact).max() <= 3 * TOLERANCE[dtype] * math.sqrt(geometry[0]) * np.abs(signal).max()


@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize("n_fft", [64, 320, 512, 16384])
def test_threads_and_blocks_change_no_bit_of_any_engine(engine, n_fft, onesided, many_blocks):
    job = synthesis_job((n_fft, n_fft // 4, 40, n_fft // 2, n_fft // 4 * 39), onesided=onesided)
    forward = Analysis(job.frames, job.window, onesided)
    spectrum = spectrum_of(job, batch=(2,))
    signal = np.random.default_rng(3).standard_normal((2, job.frames.n_samples)).astype(np.float32)
    plain, forward_plain = BACKEND.synthesis(spectrum, job, workers=1), BACKEND.analysis(signal, forward, workers=1)
    assert np.array_equal(BACKEND.synthesis(spectrum[:1], job), plain[:1])
    assert np.array_equal(BACKEND.analysis(signal[:1], forward), forward_plain[:1])
    for rows, workers in ((3, 1), (13, 2), (29, 3)):
        many_blocks(4 * rows * n_fft)
        assert np.array_equal(BACKEND.synthesis(spectrum, job, workers=workers), plain)
        assert np.array_equal(BACKEND.analysis(signal, forward, workers=workers), forward_plain)


@pytest.mark.parametrize("n_frames", [61, 64, 512])  # of 512, columns share a set of the cache
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_packing_frames_changes_no_bit(n_frames, dtype, many_blocks, monkeypatch):
    job = synthesis_job((64, 16, n_frames, 32, 16 * (n_frames - 1)), dtype=dtype)
    spectrum = spectrum_of(job, dtype, batch=(2,))
    many_blocks(4 * 13 * 64)
    plain = BACKEND.synthesis(LAYOUTS["frame-major"](spectrum), job)
    for packed in (False, True):
        monkeypatch.setattr(fft.engine_for(64, spectrum.dtype), "packed", packed, raising=False)
        for layout in ("C", "every other"):
            assert np.array_equal(BACKEND.synthesis(LAYOUTS[layout](spectrum), job, workers=2), plain)


def test_a_small_spectrum_met_before(engine):
    """The second call takes a shorter way: the same bits, in a new array, for any layout, also after other sizes."""
    job, other = synthesis_job((64, 16, 9, 32, 128)), synthesis_job((512, 128, 40, 256, 128 * 39))
    spectra = [spectrum_of(job, seed=seed) for seed in (0, 1)]
    first = [BACKEND.synthesis(X, job, workers=1, out=np.empty(128, "f")) for X in spectra]
    seen = []
    for layout in ("C", "frame-major", "C", "frame-major"):
        for X, exact in zip(spectra, first, strict=True):
            y = BACKEND.synthesis(LAYOUTS[layout](X), job)
            assert np.array_equal(y, exact)
            assert y.base is None
            seen.append(y)
        BACKEND.synthesis(spectrum_of(other), other)
    assert all(np.array_equal(y, exact) for y, exact in zip(seen, itertools.cycle(first)))


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


def test_mkl_takes_the_sizes_it_is_faster_at():
    mkl = pytest.importorskip("mkl_fft") and fft.engine_named("mkl")
    assert [n for n in (64, 400, 1000, 4096, 511, 1009, 243, 1022) if mkl.suits(n, True)] == [64, 400, 1000, 4096]


def test_auto_takes_scipy_where_it_is_faster():
    scipy = fft.ScipyEngine()
    sizes = (16, 32, 400, 511, 1018, 1024, 1040, 2048, 16384, 65536)
    for scipy._vectors in (False, True):
        taken = [n for n in sizes if scipy.is_fastest(n, True)]
        assert taken == ([16, 32, 400, 1024, 1040, 2048, 16384] if scipy._vectors else [])
        assert not scipy.is_fastest(512, False)


@pytest.mark.parametrize(
    ("version", "vectors"),
    [("1.10.1", False), ("1.17.9", False), ("1.18.0", True), ("1.18.0rc1", True), ("1.20.2", True), ("2.0.0", True)],
)
def test_scipy_has_vectors_from_version_1_18_on(version, vectors, monkeypatch):
    monkeypatch.setattr(scipy, "__version__", version)
    assert fft.ScipyEngine()._vectors is vectors


C_TRANSFORMS = "scipy.fft._duccfft.pyduccfft"


def with_c_transforms(monkeypatch, **others):
    """A SciPy 1.18 whose C module has these functions, and for the rest those of its public ones."""
    module = types.ModuleType(C_TRANSFORMS)

    def r2c(x, axes, forward, scale, out):
        out[...] = scipy.fft.rfft(x, axis=axes[0])

    def c2r(x, axes, n, forward, scale, out):
        out[...] = scipy.fft.irfft(x, n, axes[0], norm="forward")

    for name, function in ({"r2c": r2c, "c2r": c2r} | others).items():
        if function is not None:
            setattr(module, name, function)
    monkeypatch.setitem(sys.modules, C_TRANSFORMS, module)
    monkeypatch.setattr(scipy, "__version__", "1.18.0")
    return module


def check_engine(engine):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 16))
    z = x + 1j * rng.standard_normal((3, 16))
    half = np.fft.rfft(x)
    for name, source, due in (
        ("rfft", x, half), ("irfft", half, 16 * x), ("fft", z, np.fft.fft(z)), ("ifft", z, 16 * np.fft.ifft(z)),
    ):  # fmt: skip
        out = np.empty((3, 40), due.dtype)[:, : due.shape[1]]
        getattr(engine, name)(source, *([16] if name == "irfft" else []), out)
        np.testing.assert_allclose(out, due, atol=1e-13)


def test_scipys_c_transforms_are_taken_where_they_take_a_place(monkeypatch):
    module = with_c_transforms(monkeypatch)
    engine = fft.ScipyEngine()
    assert (engine._placed, engine.makes) == (module, False)
    check_engine(engine)


@pytest.mark.parametrize(
    "others",
    [
        {"c2r": None},
        {"r2c": lambda x, out: None},
        {"c2r": lambda x, axes, n, forward, scale, out: None},
        {"c2r": lambda x, axes, n, forward, scale, out: np.copyto(out, np.fft.irfft(x, n))},
        {"r2c": lambda x, axes, forward, scale, out: np.copyto(out, np.fft.rfft(x) / x.shape[-1])},
    ],
    ids=["missing", "other arguments", "no place", "scaled back", "scaled"],
)
def test_scipys_c_transforms_of_another_form_are_not_taken(others, monkeypatch):
    with_c_transforms(monkeypatch, **others)
    engine = fft.ScipyEngine()
    assert (engine._placed, engine.makes) == (None, True)
    check_engine(engine)


def test_scipy_without_its_c_transforms(monkeypatch):
    monkeypatch.setattr(scipy, "__version__", "1.18.0")
    monkeypatch.setitem(sys.modules, C_TRANSFORMS, None)
    engine = fft.ScipyEngine()
    assert (engine._placed, engine.makes) == (None, True)
    check_engine(engine)


def test_the_newest_scipy_is_called_without_a_copy():
    if not fft.ScipyEngine()._vectors:
        pytest.skip("SciPy before 1.18")
    engine = fft.ScipyEngine()
    assert not engine.makes
    check_engine(engine)


def test_auto_asks_scipy_for_what_it_makes_faster_alone(monkeypatch):
    monkeypatch.setattr(fft.engine_named("scipy"), "_vectors", True)
    monkeypatch.setattr(fft, "_is_steady", lambda *_: True)
    fft._engine_for.cache_clear()
    single, double = np.dtype("F"), np.dtype("D")
    taken = [(512, single), (2048, single), (512, double)]
    others = [(32768, single), (512, single, False), (509, double)]
    try:
        assert {fft.engine_for(*case).name for case in taken} == {"scipy"}
        assert {fft.engine_for(*case).name for case in others} == {"numpy"}
    finally:
        fft._engine_for.cache_clear()


def test_smooth_sizes_are_even_and_have_small_factors():
    def largest_factor(n):
        return max(p for p in range(2, n + 1) if n % p == 0 and all(p % q for q in range(2, math.isqrt(p) + 1)))

    for n in range(2, 400):
        assert fft._smooth(n) == (n % 2 == 0 and largest_factor(n) <= 13)


def test_mkl_works_on_one_thread_and_gives_the_others_back(monkeypatch):
    allowed = with_mkls_interface(monkeypatch)
    engine, numpy = fft.MklEngine(), fft.NumpyEngine()

    def refused():
        with np.errstate(all="raise"), engine.on_this_thread():
            assert allowed == [1]
            assert set(np.geterr().values()) == {"ignore"}
            raise RefusedError

    with pytest.raises(RefusedError):
        refused()
    assert allowed == [4]
    assert [n for n in (64, 400, 511, 1009, 1022) if engine.suits(n, True)] == [64, 400]
    x = np.random.default_rng(3).standard_normal((3, 16))
    for name, source, shape, arguments in (
        ("rfft", x, (3, 9), ()), ("fft", x + 0j, (3, 16), ()), ("ifft", x + 0j, (3, 16), ()),
        ("irfft", np.fft.rfft(x), (3, 16), (16,)),
    ):  # fmt: skip
        made, due = (np.empty(shape, float if name == "irfft" else complex) for _ in range(2))
        getattr(engine, name)(source, *arguments, made)
        getattr(numpy, name)(source, *arguments, due)
        assert (numpy.divides, engine.divides) == (True, False)
        np.testing.assert_array_equal(made, due * 16)


def _with_other_bits(transform):
    """A transform that rounds the frames of four otherwise than those beyond, as vector lanes may."""

    def rounded(x, *arguments):
        *_, out = arguments
        transform(x, *arguments)
        out[: len(out) // 4 * 4] *= 1 + 2e-7

    return rounded


@pytest.mark.parametrize("map_", ["irfft", "rfft", "ifft", "fft"])
def test_an_engine_whose_bits_depend_on_the_number_of_frames_is_not_taken(map_, monkeypatch):
    scipy = fft.engine_named("scipy")
    onesided = map_ in ("irfft", "rfft")
    assert fft._is_steady(scipy, 16, np.dtype("F"), onesided)
    monkeypatch.setattr(scipy, map_, _with_other_bits(getattr(scipy, map_)))
    assert not fft._is_steady(scipy, 16, np.dtype("F"), onesided)
    monkeypatch.setattr(scipy, "_vectors", False)
    fft._engine_for.cache_clear()
    with xi.fft_engine("scipy"):
        assert fft.engine_for(16, np.dtype("F"), onesided).name == "numpy"
        assert fft.engine_for(16, np.dtype("F"), not onesided).name == "scipy"
    fft._engine_for.cache_clear()


def test_complex_transforms_of_newer_scipy_are_numpys():
    scipy = fft.ScipyEngine()
    for scipy._vectors in (False, True):
        assert scipy.suits(512, True)
        assert scipy.suits(512, False) is not scipy._vectors


def test_float32_is_computed_in_float32(engine):
    """The rounding of float32 is there, in both directions, as NumPy's transforms leave it."""
    job = synthesis_job((64, 16, 40, 32, 600))
    spectrum = spectrum_of(job)
    single, double = BACKEND.synthesis(spectrum, job), BACKEND.synthesis(wide(spectrum), job)
    assert 0 < np.abs(single - double).max() < 1e-5
