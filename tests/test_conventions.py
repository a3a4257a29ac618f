"""The rows of docs/conventions.md that no peer at hand can check, against the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import get_window

import xp_istft as xi


def tf_stft(x, n, h, N, pad_end=False):
    """tf.signal.stft, written out."""
    frames = -(-x.shape[-1] // h) if pad_end else 1 + (x.shape[-1] - n) // h
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, max(0, (frames - 1) * h + n - x.shape[-1]))])
    w = get_window("hann", n)
    return np.stack([np.fft.rfft(x[..., m * h : m * h + n] * w, N) for m in range(frames)], axis=-2)


def tf_inverse_stft(X, n, h, N, v):
    """tf.signal.inverse_stft, written out."""
    y = np.zeros((*X.shape[:-2], n + h * (X.shape[-2] - 1)))
    for m in range(X.shape[-2]):
        y[..., m * h : m * h + n] += np.fft.irfft(X[..., m, :], N)[..., :n] * v
    return y


@pytest.mark.parametrize(("n", "h", "N"), [(32, 8, 32), (25, 10, 32), (33, 11, 64)])
@pytest.mark.parametrize("pad_end", [False, True])
def test_tf_signal(rng, n, h, N, pad_end):
    x = rng.standard_normal((2, 300))
    w = np.pad(get_window("hann", n), (0, N - n))
    frames = -(-300 // h)
    padding = (0, (frames - 1) * h + N - 300) if pad_end else (0, N - n)
    X = xi.stft(x, N, hop_length=h, window=w, padding=padding, axes=(-1, -2))
    np.testing.assert_allclose(X, tf_stft(x, n, h, N, pad_end), atol=1e-13)

    kept = dict(n_fft=N, hop_length=h, window=w, center=False, axes=(-1, -2), normalize=False)
    whole = n + h * (X.shape[-2] - 1)
    y = xi.istft(X, length=whole, **kept)
    np.testing.assert_allclose(y, tf_inverse_stft(X, n, h, N, w[:n]), atol=1e-13)
    v = xi.dual_window("hann", h, win_length=n)
    z = xi.istft(X, length=whole, synthesis_window=np.pad(v, (0, N - n)), **kept)
    np.testing.assert_allclose(z, tf_inverse_stft(X, n, h, N, v), atol=1e-13)
    np.testing.assert_allclose(z[:, n : 300 - n], x[:, n : 300 - n], atol=1e-12)


def test_phase_ramp_turns_the_frame(rng):
    """phase_ramp(n_fft, origin): the spectrum of the frame rolled so that `origin` is its first sample."""
    x = rng.standard_normal(64)
    for n_fft, origin in ((16, 8), (15, 4), (16, -3)):
        for onesided in (True, False):
            gain = xi.phase_ramp(n_fft, origin, onesided=onesided)
            X = xi.stft(x, n_fft, hop_length=4, window="boxcar", center=False, onesided=onesided, bin_gain=gain)
            segments = np.roll(xi.frame(x, n_fft, 4), -origin, axis=0)
            expected = np.fft.rfft(segments, axis=0) if onesided else np.fft.fft(segments, axis=0)
            np.testing.assert_allclose(X, expected, atol=1e-13)
            y = xi.istft(X, n_fft=n_fft, hop_length=4, window="boxcar", center=False, onesided=onesided, bin_gain=gain)
            np.testing.assert_allclose(y, x[: y.size], atol=1e-13)


def test_bin_gain_on_any_library(xp, rng):
    host, gain = rng.standard_normal((2, 300)), np.linspace(0.5, 2, 17)
    X = xi.stft(xp.asarray(host), 32, bin_gain=gain)
    np.testing.assert_allclose(xp.to_numpy(X), xi.stft(host, 32) * gain[:, None], atol=1e-13)
    np.testing.assert_allclose(xp.to_numpy(xi.istft(X, bin_gain=gain, length=300)), host, atol=1e-13)
    single = xi.stft(xp.asarray(host.astype(np.float32)), 32, bin_gain=gain)
    assert xp.to_numpy(single).dtype == np.complex64


def test_bin_gain_with_out(rng):
    x, gain = rng.standard_normal((2, 300)), np.linspace(0.5, 2, 17)
    expected = xi.stft(x, 32, bin_gain=gain)
    out = np.empty_like(expected)
    assert xi.stft(x, 32, bin_gain=gain, out=out) is out
    np.testing.assert_array_equal(out, expected)
    before = expected.copy()
    y = np.empty_like(x)
    assert xi.istft(expected, bin_gain=gain, length=300, out=y) is y
    np.testing.assert_allclose(y, x, atol=1e-13)
    np.testing.assert_array_equal(expected, before)


@pytest.mark.parametrize(
    ("gain", "kind"),
    [(np.ones(16), ValueError), (np.zeros(17), ValueError), (np.full(17, np.nan), ValueError), (["a"] * 17, TypeError)],
)
def test_bin_gain_is_judged(gain, kind):
    for function, array in ((xi.stft, np.ones(300)), (xi.istft, np.ones((17, 20), complex))):
        options = {"n_fft": 32, "bin_gain": gain}
        with pytest.raises(kind, match="bin_gain"):
            function(array, **options)


def test_bin_gain_of_real_and_imaginary_parts(rng):
    X, gain = xi.stft(rng.standard_normal((2, 300)), 32), np.linspace(0.5, 2, 17)
    parts = X.real.copy(), X.imag.copy()
    np.testing.assert_array_equal(xi.istft(parts, bin_gain=gain), xi.istft(X, bin_gain=gain))


def test_bin_gain_of_other_frequencies(rng):
    x, gain = rng.standard_normal(600), np.linspace(0.5, 2, 40)
    scale = xi.linear_frequencies(40, 0, 8000, 16000)
    X = xi.stft(x, 64, frequencies=scale, bin_gain=gain)
    np.testing.assert_allclose(X, xi.stft(x, 64, frequencies=scale) * gain[:, None], atol=1e-13)
    y = xi.istft(X, n_fft=64, frequencies=scale, bin_gain=gain, length=600)
    np.testing.assert_allclose(y, xi.istft(X / gain[:, None], n_fft=64, frequencies=scale, length=600), atol=1e-12)
    with pytest.raises(ValueError, match="normalize"):
        xi.istft(X, n_fft=64, frequencies=scale, normalize=False)


def test_what_only_has_slices_takes_no_bin_gain(rng):
    class Sliced:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def __getitem__(self, key):
            return self.array[key]

    with pytest.raises(TypeError, match="bin_gain"):
        xi.stft(Sliced(rng.standard_normal(300)), 32, bin_gain=np.ones(17), out=np.empty((17, 38), complex))


def test_without_normalization_the_synthesis_window_decides(xp, rng):
    """normalize=False: overlap_add of the segments times the synthesis window."""
    X = rng.standard_normal((2, 17, 12)) + 1j * rng.standard_normal((2, 17, 12))
    v = rng.standard_normal(32)
    y = xi.istft(xp.asarray(X), hop_length=8, synthesis_window=v, center=False, normalize=False)
    expected = xi.overlap_add(np.fft.irfft(X, axis=-2), 8, window=v)
    np.testing.assert_allclose(xp.to_numpy(y), expected, atol=1e-13)
    scaled = xi.istft(xp.asarray(X), hop_length=8, synthesis_window=v, center=False, normalize=False, scaling="psd")
    np.testing.assert_allclose(xp.to_numpy(scaled), expected * np.sqrt((get_window("hann", 32) ** 2).sum()), atol=1e-12)


def test_without_normalization_there_is_no_max_gain():
    with pytest.raises(ValueError, match="max_gain"):
        xi.istft(np.ones((17, 20), complex), normalize=False, max_gain=2)


def test_without_normalization_gradients_follow_the_window(rng):
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(rng.standard_normal((17, 6)) + 0j).requires_grad_()
    v = torch.from_numpy(rng.standard_normal(32)).requires_grad_()

    def signal(X, v):
        return xi.istft(X, hop_length=8, synthesis_window=v, center=False, normalize=False, scaling="psd")

    torch.testing.assert_close(signal(X, v), signal(X.detach(), v.detach()))
    assert torch.autograd.gradcheck(signal, (X, v))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "symmetric", "wrap", "odd", "replicate", "even"])
@pytest.mark.parametrize(("n_samples", "before", "after"), [(20, 5, 7), (5, 12, 23), (20, 0, 0), (1, 3, 2), (2, 5, 5)])
def test_pad_is_numpys(xp, rng, mode, n_samples, before, after):
    x = rng.standard_normal((2, n_samples))
    name = {"replicate": "edge", "even": "reflect", "odd": "reflect"}.get(mode, mode)
    options = {"reflect_type": "odd"} if mode == "odd" else {}
    expected = np.pad(x, ((0, 0), (before, after)), mode=name, **options)
    np.testing.assert_allclose(xp.to_numpy(xi.pad(xp.asarray(x), before, after, mode)), expected, atol=1e-13)
    turned = xp.to_numpy(xi.pad(xp.asarray(x.T.copy()), before, after, mode, axis=0))
    np.testing.assert_allclose(turned, expected.T, atol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ((np.ones(4), -1, 0), ValueError, "before"),
        ((np.ones(4), 0, 1.0), TypeError, "after"),
        ((np.ones(4), 0, 1, "mean"), ValueError, "mode"),
        ((np.ones(0), 0, 1), ValueError, "x"),
        ((np.arange(3), 0, 1), TypeError, "x"),
    ],
)
def test_pad_judges_its_arguments(arguments, kind, text):
    with pytest.raises(kind, match=text):
        xi.pad(*arguments)


def test_nola_by_a_share_of_the_largest_overlap():
    w = np.array([1e-3, 1.0])
    assert xi.check_nola(w, 2)
    assert not xi.check_nola(w, 2, tol=1e-5)
    assert xi.check_nola(1e-9 * w, 2, tol=1e-7)
