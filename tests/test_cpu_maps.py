"""NumPy's maps are the definition's, whatever the geometry; NaN, overflow and uncovered samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends.base import BASE
from xp_istft.backends.cpu import overlap, retrieval, synthesis
from xp_istft.backends.cpu.numpy import BACKEND
from xp_istft.frames import PAD_MODES, Frames
from xp_istft.jobs import Analysis, Synthesis
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


def test_a_call_like_an_earlier_one_gives_the_same_bits():
    """What a small call makes is kept for the next: the same job with and without a batch, and with `out`."""
    t = xi.STFT(16, 4)
    X = t.stft(np.random.default_rng(9).standard_normal((2, 2, 60)))
    due = BASE.synthesis(X, t.synthesis("istft", X.shape[-1], None, X).job)
    for _ in range(3):
        for index in ((0, 0), np.s_[:1, 1], np.s_[1:, :1], np.s_[0], ()):
            np.testing.assert_allclose(t.istft(X[index]), due[index], atol=1e-13)
            out = np.zeros_like(due[index])
            assert t.istft(X[index], out=out) is out
            np.testing.assert_array_equal(out, t.istft(X[index]))


@pytest.mark.parametrize("n_samples", [60, 6000])
@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize("sizes", [(16, 4), (17, 5), (64, 1)], ids=str)
def test_results_may_lie_anywhere_in_memory(sizes, onesided, n_samples):
    """With whole hops and without; (64, 1) adds frames in groups."""
    t = xi.STFT(*sizes, onesided=onesided)
    x = np.random.default_rng(10).standard_normal((2, n_samples))
    X = t.stft(x)
    y = t.istft(X)
    for out in (np.zeros((2, y.shape[1], 3), y.dtype)[..., 1], np.zeros(y.shape[::-1], y.dtype).T):
        for i in (0, slice(None)):
            out[...] = 0
            t.istft(X[i], out=out[i])
            np.testing.assert_array_equal(out[i], y[i])
    for out in (
        np.zeros((*X.shape, 3), complex)[..., 1],
        np.zeros(X.shape, complex),
        np.zeros(X.shape[::-1], complex).T,
    ):
        t.stft(x, out=out)
        np.testing.assert_array_equal(out, X)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("geometry", [(16, 4, 900, 7, 3500), (17, 5, 700, 8, 3400), (64, 1, 900, 32, 890)], ids=str)
def test_nan_stays_in_the_samples_of_its_frame(geometry, value, cut):
    n_fft, hop, _, start, length = geometry
    job = synthesis_job(geometry)
    spectrum = spectrum_of(job)
    clean = BACKEND.synthesis(spectrum, job)
    for m in (0, 1, 303, geometry[2] - 1):
        spoilt = spectrum.copy()
        spoilt[3, m] = value
        lo, hi = max(0, m * hop - start), min(length, max(0, m * hop - start + n_fft))
        for n_bytes in (1 << 19, 3000):
            cut(threaded_seconds=0, block_bytes=n_bytes)
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
def test_overflow_is_silent_on_every_thread(geometry, cut):
    cut(threaded_seconds=0, block_bytes=3000)
    job = synthesis_job(geometry)
    spectrum = np.full_like(spectrum_of(job, batch=(3,)), 3e38)
    spectrum[..., ::7] = np.inf  # products that fit do not overflow on the way
    with np.errstate(all="raise"):
        for workers in (1, 3):
            assert not np.isfinite(BACKEND.synthesis(spectrum, job, workers=workers)).all()
            assert np.isnan(
                BACKEND.analysis(np.full((3, 99), np.inf, "f"), Analysis(Frames(8, 2, 40, 0, 99), None))
            ).any()


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
        assert np.array_equal(BACKEND.synthesis(spectrum, job, workers=workers), y)
    x = np.random.default_rng(1).standard_normal(job.frames.n_samples).astype("f")
    forward = Analysis(job.frames, job.window)
    assert np.array_equal(BACKEND.analysis(x, forward, workers=1), BACKEND.analysis(x, forward, workers=3))


def test_frames_longer_than_a_group_of_them():
    """131072 samples: no two frames are added at once, and every loop ends."""
    x = np.random.default_rng(2).standard_normal(100_000).astype(np.float32)
    t = xi.STFT(2**17, 2**11)
    X = t.stft(x)
    assert synthesis.plan_of(t.synthesis("istft", X.shape[-1], x.size, X).job, x.dtype).group == 1
    assert np.abs(t.istft(X, length=x.size) - x).max() < 1e-5


def test_the_scale_of_magnitudes_is_a_power_of_two():
    peaks = np.array([0, 1, 3, 1e-20, np.inf, np.nan], np.float32)[:, None, None]
    np.testing.assert_array_equal(retrieval._scale(peaks).ravel(), [1, 1, 2, 2.0**-67, 1, 1])


def test_runs_are_where_a_mask_is_true():
    for mask in ([], [0, 0], [1], [1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0]):
        runs = overlap._runs(np.array(mask, bool))
        assert [i for lo, hi in runs for i in range(lo, hi)] == np.flatnonzero(mask).tolist()
        assert all(before[1] < after[0] for before, after in itertools.pairwise(runs))
