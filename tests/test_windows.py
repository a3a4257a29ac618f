"""Windows, duals, and the values that are periodic but for their ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import check_COLA, check_NOLA, get_window

import xp_istft as xi
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
    gain = normalisation(window, window, job, 2.2e-16).gain
    weight = np.zeros(job.n_samples)
    total = summed(window**2, job)
    for i in range(job.n_samples):
        t = i + job.start
        weight[i] = total[t] if 0 <= t < job.span else 0
    known = np.flatnonzero(weight)
    found = covered(gain, job)
    np.testing.assert_array_equal(gain.samples(job.start, job.stop) != 0, weight != 0)
    if not known.size:
        assert found.stop == 0
        return
    assert (found.start, found.stop) == (known[0], known[-1] + 1)
    holes = np.setdiff1d(np.arange(known[0], known[-1]), known)
    assert found.hole == (holes[0] if holes.size else None)


def test_weak_ends_keep_their_relative_accuracy():
    """1 / overlap where one flank alone reaches: no differences of large sums in it."""
    window = get_window(("kaiser", 30.0), 256)
    job = Frames(256, 64, 50, 0, 256 + 64 * 49)
    gain = normalisation(window, window, job, 2.2e-16).gain
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


@pytest.mark.parametrize("scale", [1e-170, 1e-7, 1e150])
def test_the_scale_of_a_window_decides_nothing(scale):
    assert xi.check_nola(scale * np.hanning(33), 8)
    assert not xi.check_nola(scale * np.hanning(33), 33)
    np.testing.assert_allclose(xi.dual_window(scale * np.hanning(33), 8) * scale, xi.dual_window(np.hanning(33), 8))


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


def test_a_window_array_that_changes_is_read_again(rng):
    x, window = rng.standard_normal(200), np.hanning(32)
    first = xi.stft(x, 32, window=window)
    window *= 2
    np.testing.assert_allclose(xi.stft(x, 32, window=window), 2 * first)


def test_a_window_array_brings_its_win_length(rng):
    x, window = rng.standard_normal(200), np.hanning(20)
    np.testing.assert_array_equal(xi.stft(x, 32, window=window), xi.stft(x, 32, win_length=20, window=window))
    X = xi.stft(x, 21, window=np.hamming(21))
    np.testing.assert_allclose(xi.istft(X, window=np.hamming(21), length=200), x, atol=1e-13)  # odd n_fft from it
