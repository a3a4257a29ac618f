"""The rows of docs/conventions.md that compat maps otherwise or not at all: the peers, or definitions written out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.signal
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


def test_phase_ramps_are_exact_at_any_origin():
    """Whole turns are taken off in integers: k origin / n_fft of them would cost 1e-13 here."""
    for origin in (1024, 1024 + 2048 * 10**30, 1024 - 2048 * 10**30):
        np.testing.assert_allclose(xi.phase_ramp(2048, origin), np.resize([1, -1], 1025), rtol=0, atol=1e-15)


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


def spectrum(rng, n_fft, n_frames):
    """A spectrum that no signal has: every convention of weighting and order shows."""
    return rng.standard_normal((2, n_fft // 2 + 1, n_frames, 2)).view(complex)[..., 0]


@pytest.mark.parametrize(("size", "hop"), [(256, 64), (255, 64), (256, 100), (64, 3)])
@pytest.mark.parametrize("scaling", ["spectrum", "psd"])
@pytest.mark.parametrize("mfft", [None, 300])
def test_pair_is_scipy_signals(rng, size, hop, scaling, mfft):
    """SciPy: left-aligned window in nfft, boundary padding of size // 2, the last part padded to a whole frame."""
    x = rng.standard_normal((2, 1000))
    window = scipy.signal.get_window("hann", size)
    _, _, expected = scipy.signal.stft(
        x, window=window, nperseg=size, noverlap=size - hop, nfft=mfft, padded=False, scaling=scaling
    )
    n_fft = size if mfft is None else mfft
    kept = dict(hop_length=hop, window=np.pad(window, (0, n_fft - size)), scaling=scaling)
    # left-aligned: the frame reaches n_fft - size samples further; their weight is 0
    padding = (size // 2, size // 2 + n_fft - size)
    X = xi.stft(x, n_fft, padding=padding, **kept)
    np.testing.assert_allclose(X, expected, rtol=0, atol=2e-12)
    Z = spectrum(rng, n_fft, X.shape[-1])
    _, expected = scipy.signal.istft(Z, window=window, nperseg=size, noverlap=size - hop, nfft=mfft, scaling=scaling)
    y = xi.istft(Z, n_fft=n_fft, padding=padding, length=expected.shape[-1], **kept)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize(("size", "hop", "mfft"), [(256, 64, 256), (255, 60, 255), (200, 70, 256), (64, 3, 64)])
@pytest.mark.parametrize("scale_to", [None, "magnitude", "psd"])
def test_pair_is_shorttimeffts(rng, size, hop, mfft, scale_to):
    """ShortTimeFFT: frames from before the signal on, and the dual window of the steady state."""
    x = rng.standard_normal((2, 1000))
    window = scipy.signal.get_window("hamming", size)
    peer = scipy.signal.ShortTimeFFT(
        window, hop, fs=1, mfft=mfft, scale_to=scale_to, phase_shift=None, fft_mode="onesided"
    )
    n_fft = mfft
    scaling = {None: None, "magnitude": "spectrum", "psd": "psd"}[scale_to]
    kept = dict(hop_length=hop, window=np.pad(window, (0, n_fft - size)), scaling=scaling)
    before = size // 2 - peer.p_min * hop  # frame p is centred on sample p * hop
    n_frames = peer.p_num(1000)
    after = n_fft + hop * (n_frames - 1) - before - 1000
    X = xi.stft(x, n_fft, padding=(before, after), **kept)
    np.testing.assert_allclose(X, peer.stft(x), rtol=0, atol=2e-12)
    Z = spectrum(rng, n_fft, n_frames)
    expected = peer.istft(Z, k1=1000)
    dual = np.pad(xi.dual_window(window, hop), (0, n_fft - size))
    y = xi.istft(Z, n_fft=n_fft, padding=(before, after), synthesis_window=dual, **kept)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_same_padding_is_vocoss(rng):
    """Vocos' head: (win - hop) / 2 samples cut off either end, divided by the overlapped squared window."""
    torch = pytest.importorskip("torch")
    n_fft, hop, n_frames = 64, 16, 20
    X = spectrum(rng, n_fft, n_frames)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    segments = torch.fft.irfft(torch.from_numpy(X), n_fft, dim=1) * window[None, :, None]
    size = (n_frames - 1) * hop + n_fft

    def fold(segments):
        return torch.nn.functional.fold(segments, (1, size), (1, n_fft), stride=(1, hop))[:, 0, 0]

    pad = (n_fft - hop) // 2
    signal = fold(segments)[:, pad:-pad]
    envelope = fold((window**2).expand(1, n_frames, -1).transpose(1, 2))[:, pad:-pad]
    y = xi.istft(X, hop_length=hop, padding="same")
    assert y.shape[-1] == n_frames * hop
    np.testing.assert_allclose(y, (signal / envelope).numpy(), atol=1e-11)


def test_float32_is_no_worse_than_the_peers(rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(60000).astype(np.float32)
    w = torch.hann_window(1024)
    ours = xi.istft(xi.stft(x, 1024), length=x.size)
    theirs = torch.istft(
        torch.stft(torch.from_numpy(x), 1024, 256, window=w, return_complex=True), 1024, 256, window=w, length=x.size
    ).numpy()
    deviation = [np.sqrt(np.mean((y.astype(float) - x) ** 2)) for y in (ours, theirs)]
    assert deviation[0] <= 1.2 * deviation[1]


def test_where_the_peers_explode_we_do_not(rng):
    """center=False and half of the bins masked: torch refuses, librosa reaches thousands; max_gain bounds it."""
    torch, librosa = pytest.importorskip("torch"), pytest.importorskip("librosa")
    x = rng.standard_normal(8000)
    X = xi.stft(x, 512, hop_length=128, center=False)
    masked = X * (rng.random(X.shape) < 0.5)
    with pytest.raises(RuntimeError):
        torch.istft(
            torch.from_numpy(masked), 512, 128, window=torch.hann_window(512, dtype=torch.float64), center=False
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = librosa.istft(masked, n_fft=512, hop_length=128, center=False)
    y = xi.istft(masked, hop_length=128, center=False, max_gain=10, nola="zero")
    assert np.abs(theirs).max() > 500
    assert np.abs(y).max() < 10
