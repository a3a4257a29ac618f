"""Batches of signals of different lengths: every item is what it is alone, on every library and under compilers."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from array_libraries import LIBRARIES

import xp_istft as xi
from xp_istft.backends import required_backend

LENGTHS = np.array([700, 1000, 333, 0, 164])
TRANSFORMS = [
    xi.STFT(256),
    xi.STFT(256, 100, pad_mode="reflect", window="hamming", scaling="amplitude"),
    xi.STFT(256, 64, padding="same", pad_mode="wrap"),
    xi.STFT(256, 96, padding="full", pad_mode="symmetric", max_gain=3.0),
    xi.STFT(255, 60, padding=(110, 100), pad_mode="edge", scaling="ortho", synthesis_window="hamming"),
    xi.STFT(64, 64, window="boxcar", center=False, onesided=False),
]


def host(array) -> np.ndarray:
    return required_backend(array).to_host(array)


def batch(transform, *shape: int) -> np.ndarray:
    """Items of LENGTHS with NaN after each."""
    rng = np.random.default_rng(len(shape))
    x = rng.standard_normal((5, *shape, 1000)) + (0 if transform.onesided else 1j * rng.standard_normal(1000))
    for item, length in zip(x, LENGTHS, strict=True):
        item[..., length:] = np.nan
    return x


def alone(transform, x):
    """Spectra and signals, each made of one item."""
    X = np.zeros((*x.shape[:-1], transform.n_bins, transform.n_frames(1000)), complex)
    y = np.zeros_like(x)
    for i, length in enumerate(LENGTHS.tolist()):
        if length:
            item = transform.stft(x[i, ..., :length])
            X[i, ..., : item.shape[-1]] = item
            y[i, ..., :length] = transform.istft(item, length=length)
    return X, y


@pytest.mark.filterwarnings("ignore::xp_istft.CoverageWarning")
@pytest.mark.parametrize("transform", TRANSFORMS, ids=range(len(TRANSFORMS)))
def test_each_item_is_what_it_is_alone(xp, transform):
    x = batch(transform, 2)
    X, y = alone(transform, x)
    got = transform.stft(xp.asarray(x), lengths=LENGTHS)
    assert xp.owns(got)
    np.testing.assert_allclose(host(got), X, rtol=0, atol=1e-12)
    mask = transform.frame_mask(LENGTHS, X.shape[-1])
    broken = np.where(mask[:, None, None, :], X, np.nan)  # what lies after an item makes no difference
    back = transform.istft(xp.asarray(broken), lengths=LENGTHS.tolist())
    assert back.shape == (5, 2, 1000)
    np.testing.assert_allclose(host(back), y, rtol=0, atol=1e-12)


COMPILED = [(name, t) for name in ("torch", "jax") for t in TRANSFORMS[:4]] + [("mlx", TRANSFORMS[1])]


@pytest.mark.parametrize(
    ("name", "transform"), COMPILED, ids=[f"{name}-{i % 4}" for i, (name, _) in enumerate(COMPILED)]
)
def test_lengths_may_be_traced(name, transform):
    """Where nobody knows them before the program runs, an item whose length is out of range is NaN."""
    xp = LIBRARIES[name]
    pytest.importorskip(xp.namespace_name)
    if name == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    atol = 1e-12 if xp.double else 1e-4
    x = batch(transform)
    X, y = alone(transform, x)

    def both(x, X, lengths):
        return transform.stft(x, lengths=lengths), transform.istft(X, lengths=lengths, length=1000)

    if name == "jax":
        compiled = xp.compiled(both)
    else:
        compiled = xp.namespace.compile(
            both, **({"backend": "aot_eager", "fullgraph": True} if name == "torch" else {})
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xi.CoverageWarning)
        got, back = compiled(xp.asarray(x), xp.asarray(X), xp.asarray(LENGTHS))
        np.testing.assert_allclose(xp.to_numpy(got), X, rtol=0, atol=atol)
        np.testing.assert_allclose(xp.to_numpy(back), y, rtol=0, atol=atol)
        wrong = LENGTHS + np.array([0, 1, 0, -1, 0])
        for each in compiled(xp.asarray(x), xp.asarray(X), xp.asarray(wrong)):
            lost = np.isnan(xp.to_numpy(each)).reshape(5, -1).all(axis=1)
            np.testing.assert_array_equal(lost, [False, True, False, True, False])


def test_numpy_gives_the_bits_of_the_item_alone():
    x = batch(TRANSFORMS[0])
    X, y = alone(TRANSFORMS[0], x)
    np.testing.assert_array_equal(TRANSFORMS[0].stft(x, lengths=LENGTHS), X)
    np.testing.assert_array_equal(TRANSFORMS[0].istft(X, lengths=LENGTHS), y)


def test_the_quick_functions_axes_and_out():
    x = batch(TRANSFORMS[0], 3)
    X, y = alone(TRANSFORMS[0], x)
    out, signal = np.full((5, X.shape[-1], 3, 129), 1 + 1j), np.ones((5, 3, 1100))
    made = xi.stft(np.moveaxis(x, -1, 1), 256, lengths=LENGTHS, axis=1, axes=(3, 1), out=out, workers=2)
    assert made is out
    np.testing.assert_array_equal(out, np.moveaxis(X, (-2, -1), (3, 1)))
    assert xi.istft(out, lengths=LENGTHS, length=1100, axes=(3, 1), out=signal) is signal
    np.testing.assert_array_equal(signal[..., :1000], y)
    assert not signal[..., 1000:].any()
    every = np.broadcast_to(LENGTHS[:, None], (5, 3))
    np.testing.assert_array_equal(xi.stft(x, 256, lengths=every), X)
    np.testing.assert_array_equal(xi.stft(x, 256, lengths=1000), xi.stft(x, 256))


def test_frames_that_are_an_items_own(xp):
    mask = xi.STFT(8, 2).frame_mask(xp.asarray(np.array([[0, 1], [5, 8]])), 6)
    assert xp.owns(mask)
    assert host(mask).tolist() == [
        [[False] * 6, [True] + [False] * 5],
        [[True] * 3 + [False] * 3, [True] * 5 + [False]],
    ]


@pytest.mark.filterwarnings("ignore::xp_istft.CoverageWarning")
def test_gradients_stay_within_their_items():
    """Of x, X and the window, by torch and JAX, as those of the items alone."""
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(3)
    x, window = rng.standard_normal((5, 1000)), np.hanning(258)[1:-1]
    weight = rng.standard_normal((5, 1000))
    t = xi.STFT(256, 80, pad_mode="reflect")

    def loss(x, window, weight, lengths):
        X = xi.stft(x, 256, hop_length=80, window=window, pad_mode="reflect", lengths=lengths)
        y = xi.istft(X * X, hop_length=80, window=window, lengths=lengths, length=1000)
        return (y * weight).sum()

    tensors = [torch.tensor(each, requires_grad=True) for each in (x, window)]
    loss(*tensors, torch.tensor(weight), torch.tensor(LENGTHS)).backward()
    single = [torch.tensor(each, requires_grad=True) for each in (x, window)]
    for i, length in enumerate(LENGTHS.tolist()):
        if length:
            X = xi.stft(single[0][i, :length], 256, hop_length=80, window=single[1], pad_mode="reflect")
            y = xi.istft(X * X, hop_length=80, window=single[1], length=length)
            (y * torch.tensor(weight[i, :length])).sum().backward()
    by_jax = jax.jit(jax.grad(loss, (0, 1)))(x, window, weight, LENGTHS)
    for ours, expected, other in zip(tensors, single, by_jax, strict=True):
        np.testing.assert_allclose(ours.grad, expected.grad, rtol=1e-9, atol=1e-9 * float(expected.grad.abs().max()))
        np.testing.assert_allclose(other, expected.grad, rtol=1e-9, atol=1e-9 * float(expected.grad.abs().max()))
    unwindowed = torch.tensor(x, requires_grad=True)
    t.stft(unwindowed, lengths=LENGTHS).abs().sum().backward()
    assert all(not unwindowed.grad[i, length:].any() for i, length in enumerate(LENGTHS.tolist()))


def test_modules_of_torch():
    torch = pytest.importorskip("torch")
    from xp_istft.nn import ISTFT, STFT

    t = xi.STFT(256, 80)
    x = batch(t)
    X, y = alone(t, x)
    lengths = torch.tensor(LENGTHS)
    for options in ({}, {"trainable_window": True}, {"trainable_kernels": True}):
        forward, inverse = STFT(t, **options).double(), ISTFT(t, **options).double()
        got = forward(torch.tensor(x), lengths=lengths)
        np.testing.assert_allclose(got.detach(), X, rtol=0, atol=1e-5)  # windows and kernels began in single
        for back in (inverse(got, lengths=lengths), forward.inverse(got, lengths=LENGTHS.tolist())):
            np.testing.assert_allclose(back.detach(), y, rtol=0, atol=1e-5)
    exported = STFT(t, export=True)
    with pytest.raises(ValueError, match=re.escape("STFT: lengths: need None with export=True, got [100]")):
        exported(torch.zeros(1, 300), lengths=[100])


def test_other_frequencies():
    t = xi.STFT(128, 32, frequencies=xi.linear_frequencies(100, 0, 4000, sr=8000))
    x = batch(t)[:3]
    X = t.stft(x, lengths=LENGTHS[:3])
    y = t.istft(X, lengths=LENGTHS[:3])
    for i, length in enumerate(LENGTHS[:3].tolist()):
        own = t.stft(x[i, :length])
        np.testing.assert_allclose(X[i, :, : own.shape[-1]], own, atol=1e-12)
        np.testing.assert_array_equal(y[i, :length], t.istft(X[i, :, : own.shape[-1]], length=length))
        assert not y[i, length:].any()


def test_no_items_and_items_of_nothing(xp):
    t = xi.STFT(64)
    none, nothing = np.zeros((0, 100)), np.full((2, 100), np.nan)
    assert t.stft(xp.asarray(none), lengths=np.zeros(0, int)).shape == (0, 33, 7)
    X = t.stft(xp.asarray(nothing), lengths=[0, 0])
    assert not host(X).any()
    assert not host(t.istft(X, lengths=[0, 0], length=50)).any()


def test_samples_that_an_items_own_frames_do_not_reach():
    strict = xi.STFT(64, 40, center=False, window="boxcar")
    x = np.ones((2, 424))
    X = strict.stft(x, lengths=[424, 150])
    for library in (np.asarray, pytest.importorskip("array_api_strict").asarray):  # item after item, and at once
        with pytest.warns(xi.CoverageWarning, match=re.escape("samples [144, 150) of 150 lie under no window weight")):
            y = strict.istft(library(X), lengths=[424, 150])
        assert not host(y)[1, 144:].any()
        with pytest.raises(xi.NOLAError, match=re.escape("0 in samples [144, 150)")):
            xi.istft(library(X), hop_length=40, center=False, window="boxcar", lengths=[424, 150], nola="raise")


@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        ([1.0, 2.0], "stft: lengths: need integers, got [1.0, 2.0]"),
        ([300, -1], "stft: lengths: need >= 0, got -1"),
        ([300, 301], "stft: lengths: need <= 300 samples, got 301"),
        ([300], "stft: lengths: need the shape (2,), or its first axes, got shape (1,)"),
        ([[300, 200]], "stft: lengths: need the shape (2,), or its first axes, got shape (1, 2)"),
        ("ab", "stft: lengths: need integers, got 'ab'"),
        ([300, None], "stft: lengths: need integers"),
        ([[1], [2, 3]], "stft: lengths: need integers"),
        ([300, 63], "stft: lengths: need 0, or at least 64 for n_fft=64, got 63"),
    ],
)
def test_wrong_lengths(lengths, text):
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        xi.stft(np.ones((2, 300)), 64, center=False, lengths=lengths)


def test_wrong_lengths_of_an_inverse():
    X = xi.stft(np.ones((2, 300)), 64)
    for given, text in [
        ({"lengths": [300, 316]}, "istft: lengths: need items of no more than 19 frames, got 316, of 20"),
        ({"lengths": [300, 200], "length": 299}, "istft: lengths: need <= 299 samples, got 300"),
    ]:
        with pytest.raises(ValueError, match=re.escape(text)):
            xi.istft(X, **given)
