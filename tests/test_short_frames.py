"""Short frames as products: the definition, with the same bits among any others, and nothing of a frame elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hostile import LAYOUTS
from test_cpu_maps import COMPLEX, TOLERANCE

import xp_istft as xi
from xp_istft.backends.base import BASE
from xp_istft.backends.cpu import products
from xp_istft.backends.cpu.numpy import BACKEND

SHAPES = [(16, 4), (20, 5), (15, 4), (32, 8), (8, 1), (9, 2), (11, 1), (16, 16), (20, 8), (31, 7), (10, 17)]
PLACES = [{}, {"padding": "same"}, {"center": False, "window": "hamming"}, {"padding": "full"}]


@pytest.fixture(autouse=True)
def _products():
    if not products._is_steady(16, np.dtype("F")):
        pytest.skip("BLAS rounds otherwise elsewhere in memory")


def jobs(n_fft, hop, place, n_samples, dtype="d"):
    t = xi.STFT(n_fft, hop, nola="zero", **place)
    kind = np.dtype(COMPLEX[dtype])
    forward = t.analysis("stft", n_samples, np.zeros(1, dtype))
    return forward, t.synthesis("istft", forward.frames.n_frames, n_samples, np.zeros((1, 1), kind)).job


@pytest.mark.parametrize("n_samples", [33, 700, 9000])
@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_are_the_definition(shape, place, n_samples):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, n_samples))
    forward, inverse = jobs(*shape, place, n_samples)
    exact = BASE.analysis(x, forward)
    back = BASE.synthesis(exact, inverse)
    for dtype in "fd":
        X = BACKEND.analysis(x.astype(dtype), forward)
        assert X.dtype == COMPLEX[dtype]
        assert np.abs(X - exact).max() <= 12 * TOLERANCE[dtype] * np.abs(exact).max()
        y = BACKEND.synthesis(exact.astype(COMPLEX[dtype]), inverse)
        assert y.dtype == dtype
        assert np.abs(y - back).max() <= 60 * TOLERANCE[dtype] * max(1, np.abs(back).max())


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_frame_has_the_same_bits_among_any_others(shape, dtype, cut, monkeypatch):
    x = np.random.default_rng(1).standard_normal((3, 6000)).astype(dtype)
    forward, inverse = jobs(*shape, {}, 6000, dtype)
    X, y = BACKEND.analysis(x, forward, workers=1), None
    assert products.served("to spectra", shape[0], X.dtype, True)
    y = BACKEND.synthesis(X, inverse, workers=1)
    strided = np.empty((3, 6000, 2), dtype)[:, :, 1]
    for laid_out in (LAYOUTS[name] for name in ("C", "frame-major", "strided", "unaligned", "reversed")):
        assert np.array_equal(BACKEND.synthesis(laid_out(X), inverse, out=strided), y)
        assert np.array_equal(BACKEND.analysis(laid_out(x), forward), X)
        assert np.array_equal(BACKEND.analysis(x, forward, out=laid_out(np.empty_like(X))), X)
    cut(threaded_seconds=0)
    for block, workers in ((8192, 3), (130, 1), (37, 2)):
        monkeypatch.setattr(products, "_BLOCK", block)
        monkeypatch.setattr(products, "_PADDED", 0)
        monkeypatch.setattr(products, "_COPIED", 0)
        monkeypatch.setattr(products, "_FEW", block)
        assert np.array_equal(BACKEND.analysis(x, forward, workers=workers), X)
        assert np.array_equal(BACKEND.synthesis(X, inverse, workers=workers), y)
        assert np.array_equal(BACKEND.analysis(x[1], forward), X[1])
        assert np.array_equal(BACKEND.synthesis(X[1], inverse), y[1])


@pytest.mark.parametrize("n_frames", [1, 2, 40])
@pytest.mark.parametrize("items", [3, 2000])
def test_items_of_a_batch_are_independent_however_many(items, n_frames):
    X = np.random.default_rng(6).standard_normal((items, 9, n_frames, 2)).view(complex)[..., 0]
    t = xi.STFT(16, 4, padding="same")
    for seed in range(3):
        spectra = np.roll(X, seed, axis=0)
        y = t.istft(spectra)
        again = t.stft(y)
        for item in (0, items // 2, items - 1):
            assert np.array_equal(t.istft(spectra[item]), y[item])
            assert np.array_equal(t.stft(y[item]), again[item])


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_streams_make_the_bits_of_one_call(shape, count):
    x = np.random.default_rng(2).standard_normal(1000).astype(np.float32)
    t = xi.STFT(*shape, nola="zero")
    X = t.stft(x)
    forward, inverse = xi.StreamingSTFT(t), xi.StreamingISTFT(t)
    spectra = [forward.push(x[lo : lo + 50]) for lo in range(0, 1000, 50)]
    assert np.array_equal(np.concatenate([*spectra, forward.flush()], axis=-1), X)
    signal = [inverse.push(X[:, lo : lo + count]) for lo in range(0, X.shape[1], count)]
    assert np.array_equal(np.concatenate([*signal, inverse.flush()]), t.istft(X))


@pytest.mark.parametrize("shape", [(16, 4), (15, 4), (8, 1)], ids=str)
def test_what_is_not_finite_stays_in_its_frame(shape):
    n_fft, hop = shape
    x = np.random.default_rng(3).standard_normal(900)
    t = xi.STFT(*shape, nola="zero", center=False)
    X = t.stft(x)
    y = t.istft(X)
    for value in (np.nan, np.inf):
        bad = X.copy()
        bad[1, 40] = value
        where = np.flatnonzero(~np.isfinite(t.istft(bad)))
        assert where.size
        assert where.min() >= 40 * hop
        assert where.max() < 40 * hop + n_fft
        ignored = X.copy()
        ignored.imag[0, 40] = value
        if n_fft % 2 == 0:
            ignored.imag[-1, 41] = value
        assert np.array_equal(t.istft(ignored), y)
        bad = x.copy()
        bad[300] = value
        frames = np.flatnonzero(~np.isfinite(t.stft(bad)).all(axis=0))
        assert frames.size
        assert frames.min() * hop > 300 - n_fft
        assert frames.max() * hop <= 300


def test_an_engine_that_is_asked_for_makes_the_ffts():
    """As also where the bits of products depend on others."""
    kind = np.dtype("F")
    assert products.served("to signals", 16, kind, True)
    assert not products.served("to signals", 16, kind, False)
    assert not products.served("to signals", 33, kind, True)
    assert not products.served("to signals", 7, kind, True)
    with xi.fft_engine("numpy"):
        assert not products.served("to signals", 16, kind, True)


@pytest.mark.parametrize("way", ["to spectra", "to signals"])
def test_products_whose_bits_depend_on_their_place_are_not_taken(way, monkeypatch):
    """Here the first five frames of each product are rounded otherwise."""

    def rounded(a, b, out, _matmul=np.matmul):
        _matmul(a, b, out=out)
        in_columns = out.shape[-1] == products._ROWS
        if in_columns == (way == "to signals"):
            first = out[..., :5] if in_columns else out[..., :5, :]
            first *= 1 + 2e-7

    monkeypatch.setattr(np, "matmul", rounded)
    assert not products._is_steady.__wrapped__(15, np.dtype("F"))


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_signals_of_tensors_have_the_bits_of_arrays(dtype):
    torch = pytest.importorskip("torch")
    X = np.random.default_rng(4).standard_normal((2, 9, 300, 2)).astype(dtype).view(COMPLEX[dtype])[..., 0]
    tensor = torch.from_numpy(X)
    with xi.workers(1):
        assert np.array_equal(xi.istft(tensor, hop_length=4).numpy(), xi.istft(X, hop_length=4))
    leaf = tensor.clone().requires_grad_()
    weight = torch.from_numpy(np.random.default_rng(5).standard_normal((2, 299 * 4)).astype(dtype))
    (xi.istft(leaf, hop_length=4) * weight).sum().backward()
    with xi.fft_engine("numpy"):
        other = tensor.clone().requires_grad_()
        (xi.istft(other, hop_length=4) * weight).sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad)
