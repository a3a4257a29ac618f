"""compat.nnaudio beside conformity: state that loads both ways, and a test for each bug of nnAudio that it has not."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from test_conforms import NNAUDIOS, modules

import xp_istft as xi

torch = pytest.importorskip("torch")
ours, nnaudio = modules("nnaudio")


def quiet(module, name, *arguments, **options):
    return getattr(module, name)(*arguments, **options, **({} if name == "Griffin_Lim" else {"verbose": False}))


def both(name, *arguments, **options):
    return [quiet(module, name, *arguments, **options) for module in (ours, nnaudio)]


def test_the_layer_of_any_library_has_nnaudios_signature():
    for mine, theirs in ((xi.iSTFT, nnaudio.iSTFT), (xi.iSTFT.forward, nnaudio.iSTFT.forward)):
        mine, theirs = (inspect.signature(each).parameters.values() for each in (mine, theirs))
        assert [(each.name, each.default) for each in mine] == [(each.name, each.default) for each in theirs]


@pytest.mark.parametrize("n_fft", [32, 31])
def test_signals_of_two_sides_are_real(xp, rng, n_fft):
    """Also of spectra that no real signal has: the real part."""
    X = rng.standard_normal((2, n_fft, 9, 2))
    expected = xi.istft(X.view(complex)[..., 0], onesided=False, window="hamming").real
    layer = xi.iSTFT(n_fft, window="hamming", verbose=False)
    for shaped in (X, X.view(complex)[..., 0]):
        y = layer(xp.asarray(shaped))
        assert xp.owns(y)
        np.testing.assert_allclose(xp.to_numpy(y), expected, atol=1e-12)
    y = quiet(ours, "iSTFT", n_fft, window="hamming")(torch.from_numpy(X))
    np.testing.assert_allclose(y, expected, atol=1e-12)
    with pytest.raises(ValueError, match="^iSTFT: X: need .* bins"):
        layer(X, onesided=True)


@pytest.mark.parametrize("n_fft", [32, 31])
@pytest.mark.parametrize("options", [{}, {"iSTFT": True}, {"trainable": True}, {"win_length": 24}])
def test_state_of_stft_loads_both_ways(rng, n_fft, options):
    mine, theirs = both("STFT", n_fft, window="hamming", **options)
    fresh, their_fresh = both("STFT", n_fft, window="hann", **options)
    x = torch.from_numpy(rng.standard_normal((2, 200)).astype(np.float32))
    fresh.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(fresh(x), theirs(x), rtol=0, atol=1e-4)
    their_fresh.load_state_dict(mine.state_dict())
    torch.testing.assert_close(their_fresh(x), mine(x), rtol=0, atol=1e-4)
    assert {key: value.shape for key, value in mine.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


@pytest.mark.parametrize("options", [{}, {"trainable_kernels": True}, {"trainable_window": True}])
def test_state_of_istft_loads_both_ways(rng, options):
    mine, theirs = both("iSTFT", 32, window="hamming", **options)
    fresh, their_fresh = both("iSTFT", 32, window=("kaiser", 3.0), **options)
    X = torch.from_numpy(rng.standard_normal((2, 17, 9, 2)).astype(np.float32))
    fresh.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(fresh(X), theirs(X, onesided=True).float(), rtol=0, atol=1e-4)
    their_fresh.load_state_dict(mine.state_dict())
    torch.testing.assert_close(their_fresh(X, onesided=True).float(), mine(X), rtol=0, atol=1e-4)
    assert {key: value.shape for key, value in mine.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


def test_kernels_that_nnaudio_trained_load(rng):
    """Also into layers that do not train, but only where they are the Fourier transform's."""
    x = torch.from_numpy(rng.standard_normal((2, 200)).astype(np.float32))
    mine, theirs = both("STFT", 32, trainable=True)
    with torch.no_grad():
        for kernel in theirs.parameters():
            kernel += 0.1 * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(0))
    mine.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(mine(x), theirs(x), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="trainable=True"):
        quiet(ours, "STFT", 32).load_state_dict(theirs.state_dict())

    mine, theirs = both("iSTFT", 32, trainable_kernels=True, trainable_window=True)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    X = torch.from_numpy(rng.standard_normal((2, 17, 9, 2)).astype(np.float32))
    X[:, [0, -1], :, 1] = 0
    mine.load_state_dict(theirs.state_dict())
    where = slice(16, -16)  # nnAudio divides by nearly nothing at the ends
    torch.testing.assert_close(mine(X)[:, where], theirs(X, onesided=True)[:, where].float(), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match="trainable_kernels=True"):
        quiet(ours, "iSTFT", 32).load_state_dict(theirs.state_dict())


def test_layers_inside_a_model_keep_their_state():
    model = torch.nn.Sequential(quiet(ours, "STFT", 32), torch.nn.Identity())
    keys = set(model.state_dict())
    assert keys == {"0.wsin", "0.wcos", "0.window_mask"}
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="Missing"):
        model.load_state_dict({})


# ---- the bugs of nnAudio, one test each: what nnAudio does, and what we do


@pytest.fixture
def signal(rng):
    return torch.from_numpy(rng.standard_normal((2, 2000)).astype(np.float32))


def spectrum(x, n_fft=64, **options):
    return torch.view_as_real(xi.stft(x, n_fft, **options))


def test_win_length_below_n_fft(signal):
    X = spectrum(signal, win_length=48)
    mine, theirs = both("iSTFT", 64, win_length=48)
    with pytest.raises(RuntimeError, match="must match"):
        theirs(X, onesided=True)
    torch.testing.assert_close(mine(X, length=2000), signal, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
def test_other_frequency_scales(rng, scale):
    """nnAudio returns noise: its inverse kernels are not at the frequencies of the forward's."""
    t = np.arange(4000) / 16000
    x = torch.from_numpy(sum(np.sin(2 * np.pi * f * t + f) for f in (500, 1300, 2700))[None].astype(np.float32))
    options = dict(freq_scale=scale, freq_bins=129, fmin=100, fmax=7000, sr=16000, hop_length=32)
    forward, their_forward = both("STFT", 256, **options)
    X, theirs = forward(x), their_forward(x)
    assert float((X - theirs).abs().max()) < NNAUDIOS * float(theirs.abs().max())
    inverse, their_inverse = both("iSTFT", 256, **options)
    middle = slice(300, -300)
    off = (inverse(X, length=4000) - x)[:, middle].norm() / x[:, middle].norm()
    assert off < 0.01
    with pytest.raises(RuntimeError):
        their_inverse(theirs)
    noise = their_inverse(theirs, onesided=True, length=4000)
    assert (noise - x)[:, middle].norm() > 0.5 * x[:, middle].norm()
    with pytest.raises(ValueError, match="trainable_kernels"):
        quiet(ours, "iSTFT", 256, trainable_kernels=True, **options)
    fresh = quiet(ours, "STFT", 256, **options)
    fresh.load_state_dict(their_forward.state_dict())
    torch.testing.assert_close(fresh(x), X)
    inverse.load_state_dict(their_inverse.state_dict())


def test_freq_bins(rng):
    """nnAudio ignores them in the inverse: a spectrum of the first 100 of 129 bins raises."""
    x = torch.from_numpy(scipy.signal.firwin(301, 0.5).astype(np.float32))[None]  # below the bins that are left out
    X = spectrum(x, 256, pad_mode="reflect")[:, :100]
    mine, theirs = both("iSTFT", 256, freq_bins=100)
    with pytest.raises(RuntimeError):
        theirs(X, onesided=True)
    assert (mine(X, length=301) - x).norm() < 0.02 * x.norm()


def test_odd_n_fft(signal):
    X = spectrum(signal, 63)
    mine, theirs = both("iSTFT", 63)
    with pytest.raises(RuntimeError):
        theirs(X, onesided=True)
    torch.testing.assert_close(mine(X, length=2000), signal, rtol=0, atol=1e-5)
    pair = quiet(ours, "STFT", 63, iSTFT=True)
    torch.testing.assert_close(pair.inverse(pair(signal), length=2000), signal, rtol=0, atol=1e-5)


def test_onesided_default(signal):
    X = quiet(ours, "STFT", 64)(signal)
    mine, theirs = both("iSTFT", 64)
    with pytest.raises(RuntimeError):
        theirs(X)
    torch.testing.assert_close(mine(X, length=2000), signal, rtol=0, atol=1e-5)
    torch.testing.assert_close(mine(spectrum(signal, onesided=False), length=2000), signal, rtol=0, atol=1e-5)


def test_refresh_win(signal):
    """Another number of frames, a changed window, a second backward: never stale."""
    X = spectrum(signal)
    mine, theirs = both("iSTFT", 64, trainable_window=True, refresh_win=False)
    theirs(X, onesided=True)
    with pytest.raises(IndexError):
        theirs(X[:, :, :50], onesided=True)
    torch.testing.assert_close(mine(X, length=2000), signal, rtol=0, atol=1e-5)
    torch.testing.assert_close(mine(X[:, :, :50])[:, :700], signal[:, :700], rtol=0, atol=1e-5)
    with torch.no_grad():
        mine.window += 0.3
    changed = mine(X, length=2000, refresh_win=None)
    expected = xi.istft(torch.view_as_complex(X), window=mine.window.detach(), hop_length=16, length=2000)
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-5)
    for _ in range(2):
        (mine(X) ** 2).sum().backward()


def test_precision(signal):
    X = spectrum(signal)
    mine, theirs = both("iSTFT", 64)
    assert theirs(X, onesided=True).dtype == torch.float64
    assert mine(X).dtype == torch.float32
    wide = mine(spectrum(signal.double()), length=2000)  # without .double()
    torch.testing.assert_close(wide, signal.double(), rtol=0, atol=1e-13)


def test_layouts(signal):
    X = xi.stft(signal, 64)
    mine, theirs = both("iSTFT", 64)
    for shaped in (X, X[0], X[None], torch.view_as_real(X[0]), torch.view_as_real(X[None])):
        with pytest.raises((AssertionError, RuntimeError, IndexError)):
            theirs(shaped, onesided=True)
        assert mine(shaped).shape[-1] == 16 * (X.shape[-1] - 1)


def test_length_beyond_the_frames(signal):
    X = spectrum(signal)
    mine, theirs = both("iSTFT", 64)
    assert theirs(X, onesided=True, length=2500).shape[-1] < 2500
    with pytest.warns(xi.CoverageWarning):
        assert mine(X, length=2500).shape[-1] == 2500


def test_hop_longer_than_the_window(signal):
    X = spectrum(signal, hop_length=100)
    mine, theirs = both("iSTFT", 64, hop_length=100)
    assert torch.isfinite(theirs(X, onesided=True)).all()
    with pytest.raises(xi.NOLAError):
        mine(X)


def test_edges_without_center(signal):
    X = spectrum(signal, center=False)
    masked = X * (torch.rand(X.shape[:-1], generator=torch.Generator().manual_seed(0)) < 0.5)[..., None]
    _, theirs = both("iSTFT", 64, center=False)
    assert theirs(masked, onesided=True).abs().max() > 50
    mine = quiet(ours, "iSTFT", 64, center=False)
    mine.transform = replace(mine.transform, max_gain=10, nola="zero")
    assert mine(masked).abs().max() < 10
    assert mine(X)[:, 0].abs().max() == 0
    y = quiet(ours, "iSTFT", 64, center=False, window="hamming")(spectrum(signal, center=False, window="hamming"))
    torch.testing.assert_close(y, signal[:, : y.shape[-1]], rtol=0, atol=1e-4)


def test_nothing_is_kept_of_a_call(signal):
    mine, theirs = both("iSTFT", 64)
    before = set(vars(mine))
    mine(spectrum(signal))
    theirs(spectrum(signal), onesided=True)
    assert set(vars(mine)) == before
    assert {"w_sum", "nonzero_indices"} <= set(vars(theirs))


def test_memory_of_kernels():
    mine, theirs = both("iSTFT", 1024)
    sizes = [sum(each.nbytes for each in (*layer.parameters(), *layer.buffers())) for layer in (mine, theirs)]
    assert sizes[0] < 5000
    assert sizes[1] > 8e6


def test_griffin_lim(signal):
    S = xi.stft(signal, 64).abs()
    mine, theirs = both("Griffin_Lim", 64)
    with pytest.raises(RuntimeError):
        theirs(S)
    torch.manual_seed(0)
    y = mine(S)
    assert y.shape == (2, 2000)
    rebuilt = xi.stft(y, 64).abs()
    assert (rebuilt - S).norm() < 0.3 * S.norm()
    assert mine(S, length=1990).shape == (2, 1990)
    assert mine.double()(S.double()).dtype == torch.float64
    assert not mine.state_dict()
    mine.load_state_dict(theirs.state_dict())


def test_batch_items_stay_apart(signal):
    layer = quiet(ours, "iSTFT", 64)
    X = spectrum(signal)
    torch.testing.assert_close(layer(X)[1:], layer(X[1:]), rtol=0, atol=0)


def test_magnitude_of_silence_has_a_gradient():
    x = torch.zeros(1, 500, requires_grad=True)
    quiet(ours, "STFT", 64)(x, "Magnitude").sum().backward()
    assert torch.isfinite(x.grad).all()


def test_inverse_keeps_no_state(signal):
    pair = quiet(ours, "STFT", 64, iSTFT=True)
    X = pair(signal)
    first = pair.inverse(X[:1], length=2000)
    pair.inverse(X[:, :, :20])
    torch.testing.assert_close(pair.inverse(X[:1], length=2000), first, rtol=0, atol=0)


def test_verbose_prints(capsys):
    ours.STFT(64)
    ours.iSTFT(64)
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["STFT", "iSTFT"]
    quiet(ours, "STFT", 64)
    assert capsys.readouterr().out == ""
