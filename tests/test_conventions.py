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

    segments = np.fft.irfft(X, N)
    whole = n + h * (X.shape[-2] - 1)
    y = xi.overlap_add(segments, h, window=w, length=whole, axes=(-1, -2))
    np.testing.assert_allclose(y, tf_inverse_stft(X, n, h, N, w[:n]), atol=1e-13)
    v = xi.dual_window("hann", h, win_length=n)
    z = xi.overlap_add(segments, h, window=np.pad(v, (0, N - n)), length=whole, axes=(-1, -2))
    np.testing.assert_allclose(z, tf_inverse_stft(X, n, h, N, v), atol=1e-13)
    np.testing.assert_allclose(z[:, n : 300 - n], x[:, n : 300 - n], atol=1e-12)


@pytest.mark.parametrize(("n_fft", "origin"), [(16, 8), (15, 4), (16, -3)])
@pytest.mark.parametrize("onesided", [True, False])
def test_phase_ramp_turns_the_frame(rng, n_fft, origin, onesided):
    """phase_ramp(n_fft, origin): the spectrum of the frame rolled so that `origin` is its first sample."""
    x = rng.standard_normal(64)
    t = xi.STFT(n_fft, 4, window="boxcar", center=False, onesided=onesided)
    ramp = xi.phase_ramp(n_fft, origin, onesided=onesided)[:, None]
    segments = np.roll(xi.frame(x, n_fft, 4), -origin, axis=0)
    expected = np.fft.rfft(segments, axis=0) if onesided else np.fft.fft(segments, axis=0)
    np.testing.assert_allclose(t.stft(x) * ramp, expected, atol=1e-13)


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
