"""Windows, duals, and the values that are periodic but for their ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import check_COLA, check_NOLA, get_window, windows

import xp_istft as xi
from xp_istft.backends import Backend
from xp_istft.frames import Frames
from xp_istft.windows import covered, normalisation, overlap


@st.composite
def jobs(draw):
    n_fft, hop = draw(st.integers(2, 24)), draw(st.integers(1, 30))
    n_frames, start = draw(st.integers(1, 30)), draw(st.integers(-10, 30))
    return Frames(n_fft, hop, n_frames, start, start + draw(st.integers(1, 400)))


def summed(piece, job):
    """The overlap-add of `piece` at every frame, on samples [0, span)."""
    total = np.zeros(job.span)
    for m in range(job.n_frames):
        total[m * job.hop : m * job.hop + job.n_fft] += piece
    return total


@given(jobs(), st.integers(-20, 200), st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_overlap_is_the_sum_over_frames(job, lo, size, seed):
    piece = np.random.default_rng(seed).standard_normal(job.n_fft)
    expected = np.zeros(1000)
    inside = summed(piece, job)
    expected[30 : 30 + inside.size] = inside[: 1000 - 30]
    values = overlap(piece, job)
    np.testing.assert_allclose(values.samples(lo, lo + size), expected[lo + 30 : lo + size + 30], atol=1e-13)


@given(jobs(), st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_covered_is_what_a_scan_of_all_samples_finds(job, seed, zeros):
    rng = np.random.default_rng(seed)
    window = np.where(rng.random(job.n_fft) < zeros, 0, rng.random(job.n_fft) + 0.1)
    window[rng.integers(job.n_fft)] = 1
    gain = normalisation(window, window, job, 2.2e-16)
    weight = np.zeros(job.n_samples)
    total = summed(window**2, job)
    for i in range(job.n_samples):
        t = i + job.start
        weight[i] = total[t] if 0 <= t < job.span else 0
    known = np.flatnonzero(weight)
    found = covered(gain, job)
    np.testing.assert_array_equal(gain.samples(job.start, job.stop) != 0, weight != 0)
    if not known.size:
        assert found == (0, 0, None)
        return
    assert (found.start, found.stop) == (known[0], known[-1] + 1)
    holes = np.setdiff1d(np.arange(known[0], known[-1]), known)
    assert found.hole == (holes[0] if holes.size else None)


def test_before_the_first_frame_nothing_is_covered():
    job = Frames(4, 2, 3, -3, 0)
    assert covered(normalisation(np.ones(4), np.ones(4), job, 2.2e-16), job) == (0, 0, None)


@given(st.integers(2, 40), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_samples_that_no_further_frame_changes_keep_their_bits(n_fft, hop, n_frames, seed):
    """A stream gives samples away before it knows how many frames come."""
    rng = np.random.default_rng(seed)
    piece = np.where(rng.random(n_fft) < 0.4, 0, rng.standard_normal(n_fft))
    span, more = n_fft + hop * (n_frames - 1), n_frames + n_fft // hop + 2
    unchanged = np.ones(span, bool)
    for m in range(n_frames, more):
        unchanged[m * hop :] &= piece[: max(0, span - m * hop)] == 0
    few, many = (overlap(piece, Frames(n_fft, hop, count, 0, 1)).samples(0, span) for count in (n_frames, more))
    np.testing.assert_array_equal(few[unchanged], many[unchanged])


@pytest.mark.parametrize("max_gain", [1.0, 1.2, 3.0])
def test_max_gain_bounds_every_sample(max_gain):
    """Relative to a steady state of 0.58, where 1 is no bound."""
    job = Frames(64, 8, 40, 0, 64 + 8 * 39)
    window = get_window("hann", 64)
    plain, bounded = (normalisation(window, window, job, 2.2e-16, bound) for bound in (None, max_gain))
    power = overlap(window**2, job).samples(0, job.span)
    interior = 1 / np.sqrt(power[64:72].min())
    noise, before = (gain.samples(0, job.span) * np.sqrt(power) for gain in (bounded, plain))
    np.testing.assert_allclose(noise, np.minimum(before, max_gain * interior), rtol=1e-12)
    assert (noise < before * 0.99).sum() > 3


def test_windows_that_never_meet_determine_nothing():
    early, late = np.repeat([1.0, 0.0], 4), np.repeat([0.0, 1.0], 4)
    determined, noise_gain = xi.STFT(8, 8, window=early, synthesis_window=late).coverage(5)
    assert not determined.any()
    assert np.isposinf(noise_gain).all()


def test_weak_ends_keep_their_relative_accuracy():
    """1 / overlap where one flank alone reaches: no differences of large sums in it."""
    window = get_window(("kaiser", 30.0), 256)
    job = Frames(256, 64, 50, 0, 256 + 64 * 49)
    gain = normalisation(window, window, job, 2.2e-16)
    np.testing.assert_allclose(gain.samples(0, 3), window[:3] ** -2.0, rtol=1e-13)
    np.testing.assert_allclose(gain.samples(job.span - 3, job.span), window[-3:] ** -2.0, rtol=1e-13)


@given(
    st.sampled_from(["hann", "hamming", "blackman", "boxcar", ("kaiser", 6.0), "triang"]),
    st.integers(2, 60),
    st.integers(1, 60),
)
def test_checks_agree_with_scipy(window, size, hop):
    hop = min(hop, size)
    samples = get_window(window, size)
    assert xi.check_nola(window, hop, win_length=size) == check_NOLA(samples, size, size - hop, tol=1e-15)
    assert xi.check_cola(window, hop, win_length=size) == check_COLA(samples, size, size - hop)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_dual_and_tight_windows(size, hop, seed):
    hop = min(hop, size)
    window = np.random.default_rng(seed).random(size) + 0.1
    dual, tight = xi.dual_window(window, hop), xi.tight_window(window, hop)
    for pair in (window * dual, tight * tight):
        folded = np.zeros(hop)
        for n in range(size):
            folded[n % hop] += pair[n]
        np.testing.assert_allclose(folded, 1, rtol=1e-12)


def test_holes_raise():
    with pytest.raises(xi.NOLAError, match=r"dual_window: window: need overlap > 0 .*, got 0 at sample 0 \(hop_length"):
        xi.dual_window("hann", 64, win_length=64)
    with pytest.raises(TypeError, match="tight_window: win_length: need an integer"):
        xi.tight_window("hann", 64)


@pytest.mark.parametrize(
    ("window", "samples"),
    [
        ("hamming", get_window("hamming", 32)),
        (("kaiser", 8.0), get_window(("kaiser", 8.0), 32)),
        (("general_cosine", [0.5, 0.5]), get_window(("general_cosine", [0.5, 0.5]), 32)),
        (np.hanning, np.hanning(32)),
        (list(np.hanning(32)), np.hanning(32)),
        (np.ones(32, int), np.ones(32)),
        (np.hanning(32).astype(np.float32), np.hanning(32).astype(np.float32)),
        (-np.hamming(32), -np.hamming(32)),
    ],
    ids=["name", "tuple", "tuple with a list", "callable", "list", "integers", "float32", "negative"],
)
def test_windows_of_every_kind(window, samples, rng):
    x = rng.standard_normal(200)
    np.testing.assert_allclose(xi.stft(x, 32, window=window), xi.stft(x, 32, window=np.asarray(samples, float)))


def test_windows_of_the_datas_library(xp, rng):
    x, window = rng.standard_normal(200), np.hanning(32)
    X = xi.stft(xp.asarray(x), 32, window=xp.asarray(window))
    np.testing.assert_array_equal(xp.to_numpy(X), xp.to_numpy(xi.stft(xp.asarray(x), 32, window=window)))


def test_a_callable_is_asked_every_time(rng):
    x, scale = rng.standard_normal(200), [1.0]

    def window(size):
        return scale[0] * np.hanning(size)

    first = xi.stft(x, 32, window=window)
    scale[0] = 2.0
    np.testing.assert_allclose(xi.stft(x, 32, window=window), 2 * first)


def test_a_window_on_a_device_is_fetched(monkeypatch):
    class OnDevice:
        def __array__(self, *_, **__):
            raise TypeError("implicit conversion to a NumPy array is not allowed")

    class Device(Backend):
        def to_host(self, array):
            return np.hanning(10)[1:-1]

    monkeypatch.setattr("xp_istft.backends.backend_for", lambda array: Device() if type(array) is OnDevice else None)
    np.testing.assert_array_equal(xi.dual_window(OnDevice(), 2), xi.dual_window(np.hanning(10)[1:-1], 2))


@pytest.mark.parametrize(("n_fft", "size"), [(2, 2), (50, 16), (45, 15), (64, 64), (33, 20)])
def test_low_latency_windows_are_the_formula(n_fft, size):
    window, synthesis = xi.low_latency_windows(n_fft, 1, size)
    middle, c = np.arange(n_fft) + 0.5, n_fft - size / 2
    for n, w, v in zip(middle, window, synthesis, strict=True):
        expected = np.sin(np.pi / 2 * n / c) if n <= c else np.cos(np.pi / 2 * (n - c) / (size / 2))
        assert w == pytest.approx(expected, abs=1e-14)
        bell = np.sin(np.pi * (n - n_fft + size) / size) ** 2 if n > n_fft - size else 0
        assert v * w == pytest.approx(bell, abs=1e-14)


def test_duals_of_tiny_and_of_alternating_windows():
    w = np.hamming(8)
    for scale in (1e-200, 1e200):
        np.testing.assert_allclose(xi.tight_window(scale * w, 2), xi.tight_window(w, 2), rtol=1e-13)
        np.testing.assert_allclose(scale * xi.dual_window(scale * w, 2), xi.dual_window(w, 2), rtol=1e-13)
        assert xi.check_nola(scale * w, 2)
        assert not xi.check_nola(scale * np.hanning(33), 33)
    eps = np.finfo(np.float64).eps  # the least sum that is no hole
    assert not xi.check_nola(np.array([1, eps]), 2)
    assert xi.check_nola(np.array([1, 2 * eps]), 2)
    assert xi.check_nola(np.array([1.0, 0.5]), 2, tol=0.24)
    assert not xi.check_nola(np.array([1.0, 0.5]), 2, tol=0.25)
    alternating = np.array([1.0, -1.0, 1.0, -1.0])
    assert xi.check_nola(alternating, 1)
    assert xi.check_nola(np.array([1e-10, 1, 1, 1]), 4)
    assert not xi.check_nola(np.array([1e-17, 1, 1, 1]), 4)
    assert not xi.check_cola(alternating, 3)
    assert xi.check_cola(np.ones(8), 4, tol=0)
    assert not xi.check_cola(np.r_[np.ones(7), 1.001], 4, tol=1e-5)
    assert not xi.check_nola(np.ones(3), 4)
    with pytest.raises(
        xi.NOLAError, match=r"^tight_window: window: need overlap > 0 .* got 0 at sample 3 \(hop_length=4\)"
    ):
        xi.tight_window(np.ones(3), 4)


def test_a_small_window_is_scaled_as_a_large_one():
    x = np.random.default_rng(0).standard_normal(400)
    for scaling in ("spectrum", "psd"):
        large, small = (xi.stft(x, 16, window=s * np.hamming(16), scaling=scaling) for s in (1, 1e-7))
        np.testing.assert_allclose(small, large, rtol=1e-12)
        y = xi.istft(small, window=1e-7 * np.hamming(16), scaling=scaling, length=400)
        np.testing.assert_allclose(y, x, atol=1e-13)


def test_a_short_window_array_brings_its_length(rng):
    x = rng.standard_normal(200)
    window = np.hanning(20)
    np.testing.assert_array_equal(xi.stft(x, 32, window=window), xi.stft(x, 32, win_length=20, window=window))
    X = xi.stft(x, 21, window=np.hamming(21))
    np.testing.assert_allclose(xi.istft(X, window=np.hamming(21), length=200), x, atol=1e-13)  # odd n_fft from it
    X = np.ones((5, 9), complex)
    for size in (1, 3, 7, 8):
        window = np.arange(1.0, size + 1)
        want = xi.istft(X, window=window, win_length=size, hop_length=1, n_fft=8)
        np.testing.assert_array_equal(xi.istft(X, window=window, hop_length=1, n_fft=8), want)
    with pytest.raises(ValueError, match="^istft: window: need length 8, got 0"):
        xi.istft(X, window=np.ones(0), n_fft=8)


def test_the_first_wrong_sample_is_named():
    window = np.ones(8)
    window[3], window[5] = np.inf, np.nan
    with pytest.raises(ValueError, match="^stft: window: need finite values, got inf at index 3$"):
        xi.stft(np.ones(99), 8, window=window)
    with pytest.raises(
        ValueError, match=r"^stft: window: need a known name \(did you mean 'kaiser'\?\), got \('kaisr', 8\)"
    ):
        xi.stft(np.ones(99), 8, window=("kaisr", 8))
    with pytest.raises(ValueError, match="^stft: window: need a known name, got 'qqq'"):
        xi.stft(np.ones(99), 8, window="qqq")


def test_the_noise_gain_of_few_frames_is_that_of_many():
    transform = xi.STFT(16, 2, center=False)
    many = transform.coverage(50).noise_gain
    for n_frames in (1, 2, 3, 7):
        few = transform.coverage(n_frames).noise_gain
        np.testing.assert_allclose(few[: 2 * n_frames], many[: 2 * n_frames])


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("sqrt_hann", np.sqrt(get_window("hann", 32))),
        (("sqrt_kaiser", 3.0), np.sqrt(get_window(("kaiser", 3.0), 32))),
        ("vorbis", np.sin(np.pi / 2 * np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2)),
        (("kbd", 8.0), windows.kaiser_bessel_derived(32, 8.0)),
        ("kbd", windows.kaiser_bessel_derived(32, 4 * np.pi)),
    ],
    ids=["sqrt_hann", "sqrt_kaiser", "vorbis", "kbd of 8", "kbd"],
)
def test_windows_beyond_scipys_names(name, samples):
    np.testing.assert_array_equal(xi.frame(np.ones(32), 32, 32, window=name)[:, 0], samples)
    if name != ("sqrt_kaiser", 3.0):  # power complementary
        np.testing.assert_allclose(samples[:16] ** 2 + samples[16:] ** 2, 1, atol=1e-12)


@pytest.mark.parametrize("name", ["sqrt_flattop", "vorbs", ("vorbis", 3), ("kbd", 1, 2), "sqrt_foo"], ids=str)
def test_windows_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match=r"^STFT: window: need a (window|known name)"):
        xi.STFT(32, window=name)
