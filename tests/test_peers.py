"""The same numbers as torch, librosa, SciPy and JAX, each side's conventions mapped."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.signal

import xp_istft as xi

torch = pytest.importorskip("torch")
librosa = pytest.importorskip("librosa")

# n_fft, hop, win_length: odd sizes, hops that do not divide, short windows
SIZES = [(256, 64, 256), (255, 64, 255), (256, 100, 256), (256, 51, 199), (251, 60, 180), (64, 3, 64), (12, 5, 11)]
SIZE = pytest.mark.parametrize(("n_fft", "hop", "win_length"), SIZES)
WINDOW = pytest.mark.parametrize("window", ["hann", "hamming", ("kaiser", 6.0)])
TOLERANCE = {"rtol": 0, "atol": 2e-12}


def spectrum(rng, n_fft, n_frames=40):
    """A spectrum that no signal has: every convention of weighting and order shows."""
    return rng.standard_normal((2, n_fft // 2 + 1, n_frames, 2)).view(complex)[..., 0]


@SIZE
@WINDOW
@pytest.mark.parametrize("length", [None, 900])
@pytest.mark.parametrize("normalized", [False, True])
def test_istft_is_torchs(rng, n_fft, hop, win_length, window, length, normalized):
    X = spectrum(rng, n_fft, 1 + 1200 // hop)
    w = torch.from_numpy(scipy.signal.get_window(window, win_length))
    expected = torch.istft(
        torch.from_numpy(X), n_fft, hop, win_length, window=w, length=length, normalized=normalized
    ).numpy()
    kept = dict(hop_length=hop, win_length=win_length, window=window, scaling="ortho" if normalized else None)
    y = xi.istft(X, n_fft=n_fft, length=length, **kept)
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-12 * np.abs(expected).max())


@SIZE
@WINDOW
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "replicate", "circular"])
def test_stft_is_torchs(rng, n_fft, hop, win_length, window, center, pad_mode):
    x = rng.standard_normal((2, 1000))
    w = torch.from_numpy(scipy.signal.get_window(window, win_length))
    expected = torch.stft(
        torch.from_numpy(x), n_fft, hop, win_length, window=w, center=center, pad_mode=pad_mode, return_complex=True
    ).numpy()
    X = xi.stft(x, n_fft, hop_length=hop, win_length=win_length, window=window, center=center, pad_mode=pad_mode)
    np.testing.assert_allclose(X, expected, **TOLERANCE)


def test_two_sided_torch(rng):
    z = rng.standard_normal((2, 1000, 2)).view(complex)[..., 0]
    w = torch.hann_window(256, dtype=torch.float64)
    Z = torch.stft(torch.from_numpy(z), 256, 64, window=w, onesided=False, return_complex=True, pad_mode="constant")
    np.testing.assert_allclose(xi.stft(z, 256, hop_length=64, onesided=False), Z.numpy(), **TOLERANCE)
    expected = torch.istft(Z, 256, 64, window=w, onesided=False, return_complex=True).numpy()
    y = xi.istft(Z.numpy(), hop_length=64, onesided=False)
    np.testing.assert_allclose(y, expected, **TOLERANCE)


@SIZE
@WINDOW
@pytest.mark.parametrize("length", [None, 900])
def test_istft_is_librosas(rng, n_fft, hop, win_length, window, length):
    X = spectrum(rng, n_fft, 1 + 1200 // hop)
    expected = librosa.istft(X, n_fft=n_fft, hop_length=hop, win_length=win_length, window=window, length=length)
    y = xi.istft(X, n_fft=n_fft, hop_length=hop, win_length=win_length, window=window, length=length)
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-12 * np.abs(expected).max())


@SIZE
@WINDOW
@pytest.mark.parametrize("center", [True, False])
def test_stft_is_librosas(rng, n_fft, hop, win_length, window, center):
    x = rng.standard_normal((2, 1000))
    expected = librosa.stft(x, n_fft=n_fft, hop_length=hop, win_length=win_length, window=window, center=center)
    X = xi.stft(x, n_fft, hop_length=hop, win_length=win_length, window=window, center=center)
    np.testing.assert_allclose(X, expected, **TOLERANCE)


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
    np.testing.assert_allclose(X, expected, **TOLERANCE)
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
    np.testing.assert_allclose(X, peer.stft(x), **TOLERANCE)
    Z = spectrum(rng, n_fft, n_frames)
    expected = peer.istft(Z, k1=1000)
    dual = np.pad(xi.dual_window(window, hop), (0, n_fft - size))
    y = xi.istft(Z, n_fft=n_fft, padding=(before, after), synthesis_window=dual, **kept)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize(("size", "hop"), [(256, 64), (256, 100), (64, 3)])
def test_pair_is_jaxs(rng, size, hop):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x = rng.standard_normal((2, 1000))
    kept = dict(hop_length=hop, scaling="spectrum", padding=size // 2)
    _, _, expected = jax.scipy.signal.stft(x, nperseg=size, noverlap=size - hop, padded=False)
    X = xi.stft(x, size, **kept)
    np.testing.assert_allclose(X, expected, **TOLERANCE)
    Z = spectrum(rng, size, X.shape[-1])
    _, expected = jax.scipy.signal.istft(Z, nperseg=size, noverlap=size - hop)
    y = xi.istft(Z, n_fft=size, **kept)
    np.testing.assert_allclose(y, np.asarray(expected), rtol=0, atol=1e-11 * np.abs(y).max())


def test_same_padding_is_vocoss(rng):
    """Vocos' head: (win - hop) / 2 samples cut off either end, divided by the overlapped squared window."""
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
