"""What happens where the windows determine nothing, or little."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import xp_istft as xi


def spectrum(rng, x=None, **kept):
    return xi.stft(rng.standard_normal(2048) if x is None else x, 256, hop_length=64, **kept)


def test_nola_chooses(rng):
    X = spectrum(rng, center=False)
    with pytest.raises(xi.NOLAError, match=r"window: need overlap > 0 at every sample, got 0 in samples \[0, 1\)"):
        xi.istft(X, hop_length=64, center=False, nola="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = xi.istft(X, hop_length=64, center=False, nola="zero")
    assert y[0] == 0
    with pytest.raises(ValueError, match="istft: nola: need 'warn' or 'raise' or 'zero', got 'ignore'"):
        xi.istft(X, hop_length=64, nola="ignore")


@pytest.mark.parametrize("hop", [256, 300])
def test_holes_are_zeros_where_one_says_so(xp, rng, hop):
    x = rng.standard_normal(3000)
    X = xi.stft(xp.asarray(x), 256, hop_length=hop)
    y = xp.to_numpy(xi.istft(X, hop_length=hop, nola="zero", length=3000))
    determined, noise_gain = xi.STFT(256, hop).coverage(X.shape[-1], length=3000)
    assert not determined.all()
    assert (y[~determined] == 0).all()
    well = noise_gain < 100
    np.testing.assert_allclose(y[well], x[well], atol=1e-11)


def test_a_hole_is_counted_from_the_signals_first_sample(rng):
    X = spectrum(rng, window="boxcar")
    window = np.r_[np.zeros(128), np.ones(128)]
    with pytest.raises(xi.NOLAError, match="got 0 at sample 128 "):
        xi.istft(X, hop_length=256, window=window, nola="warn", center=True, length=512)


@pytest.mark.parametrize("center", [True, False])
def test_max_gain_bounds_the_noise_and_touches_no_interior(xp, rng, center):
    """A masked spectrum explodes at the ends by orders of magnitude; bounded, it does not."""
    n_samples = 2048 + 126 if center else 2048
    X = spectrum(rng, center=center) * (rng.random((129, 1)) < 0.5)
    X += 0.5 * rng.standard_normal((*X.shape, 2)).view(complex)[..., 0]  # no signal has this spectrum
    kept = dict(hop_length=64, center=center, nola="zero", length=n_samples)
    wild = xp.to_numpy(xi.istft(xp.asarray(X), **kept))
    tame = xp.to_numpy(xi.istft(xp.asarray(X), max_gain=10, **kept))
    interior = np.abs(wild[256:-256]).max()
    assert np.abs(wild).max() > (20 if center else 100) * interior
    assert np.abs(tame).max() < 10 * interior
    noise_gain = xi.STFT(256, 64, center=center).coverage(X.shape[-1], length=n_samples).noise_gain
    np.testing.assert_array_equal(tame[noise_gain < 9.9], wild[noise_gain < 9.9])
    assert (np.abs(tame) <= np.abs(wild)).all()


def test_noise_gain_is_the_noise_that_comes_out(rng):
    """White noise spectra in, standard deviation of each sample out, against `coverage`."""
    t = xi.STFT(32, 12, window="hamming", center=False)
    Z = rng.standard_normal((20000, 17, 6, 2)).view(complex)[..., 0]
    Z[:, 0], Z[:, -1] = np.sqrt(2) * Z[:, 0].real, np.sqrt(2) * Z[:, -1].real
    deviation = t.istft(Z).std(axis=0)
    _, noise_gain = t.coverage(6)
    middle = slice(32, -32)
    ratio = deviation / noise_gain
    np.testing.assert_allclose(ratio, np.median(ratio[middle]), rtol=0.03)
    assert noise_gain[middle].max() == pytest.approx(1)


def test_the_same_window_is_the_least_squares_inverse(rng):
    """Of a spectrum that no signal has: no signal's spectrum is nearer. Normal equations by finite steps."""
    X = spectrum(rng, center=False, window="hamming")
    X += rng.standard_normal((*X.shape, 2)).view(complex)[..., 0]
    kept = dict(hop_length=64, center=False, window="hamming")
    twice = np.r_[1, np.full(127, 2), 1][:, None]
    X[0], X[-1] = X[0].real, X[-1].real

    def distance(y):
        return (twice * np.abs(xi.stft(y, 256, **kept) - X) ** 2).sum()

    y = xi.istft(X, **kept)
    least = distance(y)
    for _ in range(5):
        step = rng.standard_normal(y.size)
        up, down = distance(y + 1e-3 * step), distance(y - 1e-3 * step)
        assert min(up, down) > least
        assert abs(up - down) < 1e-6 * (up + down - 2 * least)
    other = xi.istft(X, synthesis_window="boxcar", **kept)
    assert distance(other) > 1.01 * least


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_a_weak_end_is_not_a_hole(rng, dtype):
    window = np.hamming(256)
    window[0] = 1e-6 if dtype == np.complex64 else 1e-14
    x = rng.standard_normal(1024)
    X = spectrum(rng, x, window=window, center=False).astype(dtype)
    y = xi.istft(X, hop_length=64, window=window, center=False)
    assert y[0] != 0
    np.testing.assert_allclose(y[1:], x[1:], atol=1e-5 if dtype == np.complex64 else 1e-12)


def test_only_a_sample_without_weight_is_an_error(rng):
    with pytest.raises(xi.NOLAError, match="istft: window: need overlap > 0 at some sample asked for, got 0"):
        xi.istft(spectrum(rng, center=False), hop_length=64, center=False, length=1)


def test_where_a_weak_sample_ends_and_a_hole_begins():
    """Covered is an overlap above eps**2 of the largest: strictly, and squared."""
    double, single = (float(np.finfo(kind).eps) for kind in (np.float64, np.float32))
    for first, known in ((2 * double, True), (1.01 * double, True), (double, False), (double / 8, False), (0, False)):
        window = np.ones(8)
        window[0] = first
        determined, _ = xi.STFT(8, 8, window=window, center=False).coverage(1)
        assert determined.tolist() == [known] + [True] * 7
    for first, known in ((2 * single, True), (single, False)):
        window[0] = first
        determined, _ = xi.STFT(8, 8, window=window, center=False).coverage(1, dtype="float32")
        assert determined[0] == known


def test_a_hole_of_the_steady_state_alone_is_found_between_the_ends():
    """The ends of this pair have weight, and where all four frames overlap there is none."""
    pair = {"window": "boxcar", "synthesis_window": np.repeat([1.0, 1, 1, -3], 4)}
    for n_frames in (4, 5, 12, 13, 14, 40):
        with pytest.raises(xi.NOLAError, match=r"got 0 at sample 12 \(hop_length=4\)"):
            xi.istft(np.ones((9, n_frames), complex), hop_length=4, center=False, **pair)
    assert xi.STFT(16, 4, center=False, **pair).coverage(3).determined.all()


def test_few_frames_determine_at_their_start_what_many_do():
    """The largest overlap is that of any number of frames: here of 8, and 7 eps**2 is the least that is no hole."""
    window = np.ones(8)
    for first, known in ((2, False), (3, True)):
        window[0] = first * np.finfo(np.float64).eps
        transform = xi.STFT(8, 1, window=window, center=False)
        for n_frames in (1, 2, 7, 8, 50):
            assert transform.coverage(n_frames).determined[0] == known


@pytest.mark.parametrize("padding", [None, 0, (3, 5), (5, 0)])
@pytest.mark.parametrize("extra", [0, 1, 7])
def test_the_warning_names_the_samples_that_are_not_determined(padding, extra):
    t = xi.STFT(8, 2, padding=padding)
    length = t.n_samples(9) + extra
    known = np.flatnonzero(t.coverage(9, length).determined)
    ends = (0, known[0]), (known[-1] + 1, length)
    ranges = " and ".join(f"[{lo}, {hi})" for lo, hi in ends if lo < hi)
    X = np.ones((5, 9), complex)
    if ranges:
        with pytest.warns(xi.CoverageWarning, match=re.escape(f": samples {ranges} of {length} lie under no window")):
            t.istft(X, length=length)
    else:
        t.istft(X, length=length)  # in silence
