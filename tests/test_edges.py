"""What happens where the windows determine nothing, or little."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import xp_istft as xi


def spectrum(rng, x=None, **kept):
    return xi.stft(rng.standard_normal(2048) if x is None else x, 256, hop_length=64, **kept)


def test_uncentred_hann_gives_all_but_the_first_sample(xp, rng):
    x = rng.standard_normal(2048)
    X = xp.asarray(spectrum(rng, x, center=False))
    with pytest.warns(xi.CoverageWarning, match=r"^istft: window: samples \[0, 1\) of 2048 lie under no window weight"):
        y = xp.to_numpy(xi.istft(X, hop_length=64, center=False))
    assert y[0] == 0
    np.testing.assert_allclose(y[8:-8], x[8:-8], atol=1e-11)


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


@pytest.mark.parametrize("beyond", [1, 500])
def test_length_beyond_the_frames_holds_zeros(xp, rng, beyond):
    x = rng.standard_normal(2048 + 128)
    X = xp.asarray(spectrum(rng, x[:2048], window="hamming"))
    reach = 2048 + 128
    with pytest.warns(xi.CoverageWarning, match=rf"istft: length: samples \[{reach}, {reach + beyond}\)"):
        y = xp.to_numpy(xi.istft(X, hop_length=64, window="hamming", length=reach + beyond))
    assert (y[reach:] == 0).all()
    np.testing.assert_allclose(y[:2048], x[:2048], atol=1e-12)


@pytest.mark.parametrize("length", [1, 63, 1000, 2048, 2048 + 127])
def test_length_is_exact_and_changes_no_sample(xp, rng, length):
    X = xp.asarray(spectrum(rng, window="hamming"))
    y = xp.to_numpy(xi.istft(X, hop_length=64, window="hamming", length=length))
    whole = xp.to_numpy(xi.istft(X, hop_length=64, window="hamming", length=2048 + 127))
    np.testing.assert_array_equal(y, whole[:length])


@pytest.mark.parametrize(
    ("window", "hop", "match"),
    [
        ("hann", 256, r"window: need overlap > 0 at every sample, got 0 at sample 128 \(hop_length=256\)"),
        ("hann", 300, r"hop_length: need <= win_length=256, else samples lie in no frame, got 300"),
        (np.r_[np.zeros(112), np.ones(32), np.zeros(112)], 64, r"window: need overlap > 0 at every sample, got 0"),
        (np.zeros(256), 64, r"window: need a non-zero sample, got all zeros"),
    ],
)
def test_holes_inside_are_errors(xp, rng, window, hop, match):
    X = xp.asarray(spectrum(rng))
    with pytest.raises(xi.NOLAError, match=match):
        xi.istft(X, n_fft=256, hop_length=hop, window=window)


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


@pytest.mark.parametrize("pair", ["hann", "blackman", np.ones(256)])
def test_any_synthesis_window_is_exact(xp, rng, pair):
    x = rng.standard_normal(2048)
    X = xp.asarray(spectrum(rng, x))
    np.testing.assert_allclose(xp.to_numpy(xi.istft(X, hop_length=64, synthesis_window=pair)), x, atol=1e-12)


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


@pytest.mark.parametrize("scale", [1e-100, 1e-7, 1e7])
def test_the_scale_of_the_window_cancels(rng, scale):
    x = rng.standard_normal(2048)
    window = scale * np.hamming(256)
    X = spectrum(rng, x, window=window)
    np.testing.assert_allclose(xi.istft(X, hop_length=64, window=window), x, atol=1e-12)


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


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_few_frames_give_all_that_they_hold(xp, rng, n_frames):
    n_samples = 256 + 32 * (n_frames - 1)
    x = rng.standard_normal(n_samples)
    kept = dict(hop_length=32, window="hamming", center=False)
    X = xi.stft(xp.asarray(x), 256, **kept)
    assert X.shape[-1] == n_frames
    np.testing.assert_allclose(xp.to_numpy(xi.istft(X, **kept)), x, atol=1e-12)
