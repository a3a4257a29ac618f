"""compat.nnaudio against nnAudio over random parameters, and a test for each bug of nnAudio that is absent here."""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from conformance import Draw, envelope, record, samples

import xp_istft as xi

torch = pytest.importorskip("torch")
from xp_istft.compat import nnaudio as ours  # noqa: E402

with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nnaudio = pytest.importorskip("nnAudio.features")

NEAR = 2e-6  # nnAudio's kernels are made in single precision


def quiet(module, name, *arguments, **options):
    return getattr(module, name)(*arguments, **options, **({} if name == "Griffin_Lim" else {"verbose": False}))


def both(name, *arguments, **options):
    return [quiet(module, name, *arguments, **options) for module in (ours, nnaudio)]


def assert_near(mine, theirs, draw, where=slice(None)):
    assert mine.shape == theirs.shape, draw.chosen
    assert mine.dtype == torch.float32, draw.chosen
    mine, theirs = mine[..., where], theirs[..., where]
    off = float((mine - theirs).detach().abs().max() / theirs.detach().abs().max())
    assert off < NEAR, (off, draw.chosen)
    record("float32", off)


@samples()
def test_stft(numbers):
    for number in numbers:
        draw = Draw(number, 11)
        n_fft = draw.integer("n_fft", 8, 64)
        win_length = draw.one("win_length", None, draw.integer("win_length", 4, n_fft))
        options = {
            "n_fft": n_fft,
            "win_length": win_length,
            "hop_length": draw.one("hop_length", None, draw.integer("hop_length", 1, n_fft)),
            "window": draw.one("window", "hann", "hamming", "blackman", ("kaiser", 5.0)),
            "center": draw.one("center", True, False),
            "pad_mode": draw.one("pad_mode", "reflect", "constant"),
            "trainable": draw.one("trainable", False, True),
        }
        mine, theirs = both("STFT", **options)
        n_samples = draw.integer("n_samples", n_fft, 300)
        x = torch.from_numpy(draw.array((*draw.one("shape", (), (2,), (2, 1)), n_samples), "float32"))
        assert_near(mine(x), theirs(x), draw)
        size = mine(x, "Magnitude")
        if options["trainable"]:
            size = torch.sqrt(size**2 + 1e-8)  # nnAudio's, for a gradient at 0; ours has one without
        assert_near(size + 1, theirs(x, "Magnitude") + 1, draw)
        turn = (mine(x, "Phase") - theirs(x, "Phase")).detach()
        size = mine(x, "Magnitude").detach()
        assert float(((1 - torch.cos(turn)) * size).max()) < 1e-3 * float(size.max())


@samples()
def test_istft(numbers):
    """Where nnAudio works: even n_fft, for the layer win_length = n_fft, enough frames for length."""
    for number in numbers:
        draw = Draw(number, 12)
        n_fft = 2 * draw.integer("half", 4, 32)
        layer = draw.one("layer", "iSTFT", "STFT")
        hop = draw.integer("hop_length", 1, n_fft // 4)
        options = {
            "n_fft": n_fft,
            "hop_length": hop,
            "window": draw.one("window", "hann", "hamming", ("kaiser", 5.0)),
            "center": draw.one("center", True, False),
        }
        if layer == "STFT":
            options |= {"win_length": draw.integer("win_length", n_fft // 2, n_fft), "iSTFT": True}
        else:
            for name in ("trainable_kernels", "trainable_window"):
                options[name] = draw.one(name, False, True)
        mine, theirs = both(layer, **options)
        onesided = draw.one("onesided", True, False)
        n_frames = draw.integer("n_frames", -(-n_fft // hop) + 1, 30)
        x = draw.array((2, n_fft + hop * (n_frames - 1)), "float64")
        X = xi.stft(x, n_fft, hop_length=hop, center=False, onesided=onesided)
        X = torch.view_as_real(torch.from_numpy(X.astype(np.complex64)))
        whole = n_fft + hop * (n_frames - 1) - (n_fft if options["center"] else 0)
        length = draw.one("length", None, draw.integer("length", min(n_fft, whole), whole))
        inverses = [each if layer == "iSTFT" else each.inverse for each in (mine, theirs)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xi.CoverageWarning)
            y, expected = (inverse(X, onesided=onesided, length=length) for inverse in inverses)
        window = scipy.signal.get_window(options["window"], options.get("win_length", n_fft))
        left = (n_fft - window.size) // 2
        total = envelope(np.pad(window, (left, n_fft - window.size - left)), hop, n_frames)
        total = total[n_fft // 2 if options["center"] else 0 :][: y.shape[-1]]
        # nnAudio's error is divided by the sum of squares
        assert_near(y, expected, draw, where=torch.from_numpy(total > 0.05 * total.max()))


@pytest.mark.parametrize("name", ["STFT", "iSTFT", "Griffin_Lim"])
def test_signatures_are_nnaudios(name):
    mine, theirs = (inspect.signature(getattr(module, name)).parameters.values() for module in (ours, nnaudio))
    assert [(each.name, each.default) for each in mine] == [(each.name, each.default) for each in theirs]
    if name != "Griffin_Lim":
        mine, theirs = (inspect.signature(getattr(module, name).forward).parameters for module in (ours, nnaudio))
        assert [(each.name, each.default) for each in mine.values()] == [
            (each.name, each.default) for each in theirs.values()
        ]


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
    with pytest.raises(ValueError, match="^istft: X: need .* bins"):
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


def test_bug_1_win_length_below_n_fft(signal):
    X = spectrum(signal, win_length=48)
    mine, theirs = both("iSTFT", 64, win_length=48)
    with pytest.raises(RuntimeError, match="must match"):
        theirs(X, onesided=True)
    torch.testing.assert_close(mine(X, length=2000), signal, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
def test_bug_2_other_frequency_scales(rng, scale):
    """nnAudio returns noise: its inverse kernels are not at the frequencies of the forward's."""
    t = np.arange(4000) / 16000
    x = torch.from_numpy(sum(np.sin(2 * np.pi * f * t + f) for f in (500, 1300, 2700))[None].astype(np.float32))
    options = dict(freq_scale=scale, freq_bins=129, fmin=100, fmax=7000, sr=16000, hop_length=32)
    forward, their_forward = both("STFT", 256, **options)
    X, theirs = forward(x), their_forward(x)
    assert float((X - theirs).abs().max()) < NEAR * float(theirs.abs().max())
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


def test_bug_3_freq_bins(rng):
    """nnAudio ignores them in the inverse: a spectrum of the first 100 of 129 bins raises."""
    x = torch.from_numpy(scipy.signal.firwin(301, 0.5).astype(np.float32))[None]  # below the bins that are left out
    X = spectrum(x, 256, pad_mode="reflect")[:, :100]
    mine, theirs = both("iSTFT", 256, freq_bins=100)
    with pytest.raises(RuntimeError):
        theirs(X, onesided=True)
    assert (mine(X, length=301) - x).norm() < 0.02 * x.norm()


def test_bug_4_odd_n_fft(signal):
    X = spectrum(signal, 63)
    mine, theirs = both("iSTFT", 63)
    with pytest.raises(RuntimeError):
        theirs(X, onesided=True)
    torch.testing.assert_close(mine(X, length=2000), signal, rtol=0, atol=1e-5)
    pair = quiet(ours, "STFT", 63, iSTFT=True)
    torch.testing.assert_close(pair.inverse(pair(signal), length=2000), signal, rtol=0, atol=1e-5)


def test_bug_5_onesided_default(signal):
    X = quiet(ours, "STFT", 64)(signal)
    mine, theirs = both("iSTFT", 64)
    with pytest.raises(RuntimeError):
        theirs(X)
    torch.testing.assert_close(mine(X, length=2000), signal, rtol=0, atol=1e-5)
    torch.testing.assert_close(mine(spectrum(signal, onesided=False), length=2000), signal, rtol=0, atol=1e-5)


def test_bug_6_refresh_win(signal):
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


def test_bug_7_precision(signal):
    X = spectrum(signal)
    mine, theirs = both("iSTFT", 64)
    assert theirs(X, onesided=True).dtype == torch.float64
    assert mine(X).dtype == torch.float32
    wide = mine(spectrum(signal.double()), length=2000)  # without .double()
    torch.testing.assert_close(wide, signal.double(), rtol=0, atol=1e-13)


def test_bug_8_layouts(signal):
    X = xi.stft(signal, 64)
    mine, theirs = both("iSTFT", 64)
    for shaped in (X, X[0], X[None], torch.view_as_real(X[0]), torch.view_as_real(X[None])):
        with pytest.raises((AssertionError, RuntimeError, IndexError)):
            theirs(shaped, onesided=True)
        assert mine(shaped).shape[-1] == 16 * (X.shape[-1] - 1)


def test_bug_9_length_beyond_the_frames(signal):
    X = spectrum(signal)
    mine, theirs = both("iSTFT", 64)
    assert theirs(X, onesided=True, length=2500).shape[-1] < 2500
    with pytest.warns(xi.CoverageWarning):
        assert mine(X, length=2500).shape[-1] == 2500


def test_bug_10_hop_longer_than_the_window(signal):
    X = spectrum(signal, hop_length=100)
    mine, theirs = both("iSTFT", 64, hop_length=100)
    assert torch.isfinite(theirs(X, onesided=True)).all()
    with pytest.raises(xi.NOLAError):
        mine(X)


def test_bug_11_edges_without_center(signal):
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


def test_bug_12_nothing_is_kept_of_a_call(signal):
    mine, theirs = both("iSTFT", 64)
    before = set(vars(mine))
    mine(spectrum(signal))
    theirs(spectrum(signal), onesided=True)
    assert set(vars(mine)) == before
    assert {"w_sum", "nonzero_indices"} <= set(vars(theirs))


def test_bug_13_memory_of_kernels():
    mine, theirs = both("iSTFT", 1024)
    sizes = [sum(each.nbytes for each in (*layer.parameters(), *layer.buffers())) for layer in (mine, theirs)]
    assert sizes[0] < 5000
    assert sizes[1] > 8e6


def test_bug_14_griffin_lim(signal):
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


def test_bug_15_batch_items_stay_apart(signal):
    layer = quiet(ours, "iSTFT", 64)
    X = spectrum(signal)
    torch.testing.assert_close(layer(X)[1:], layer(X[1:]), rtol=0, atol=0)


def test_bug_15_magnitude_of_silence_has_a_gradient():
    x = torch.zeros(1, 500, requires_grad=True)
    quiet(ours, "STFT", 64)(x, "Magnitude").sum().backward()
    assert torch.isfinite(x.grad).all()


def test_bug_15_inverse_keeps_no_state(signal):
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
