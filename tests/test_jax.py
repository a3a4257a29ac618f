"""JAX traces the definition: jit, grad and vmap."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.compat import jax as compat_jax
from xp_istft.compat import scipy as compat_scipy

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

KEPT = dict(hop_length=5, win_length=13, window="hamming")


@pytest.fixture
def X(rng):
    return jnp.asarray(rng.standard_normal((3, 9, 12, 2)).view(complex)[..., 0])


def test_jit_gives_the_same_numbers(X):
    inverse = partial(xi.istft, **KEPT)
    np.testing.assert_allclose(jax.jit(inverse)(X), inverse(X), atol=1e-14)
    forward = partial(xi.stft, n_fft=16, pad_mode="reflect", **KEPT)
    np.testing.assert_allclose(jax.jit(forward)(X.real[0]), forward(X.real[0]), atol=1e-14)


def test_vmap_is_the_batch(X):
    inverse = partial(xi.istft, **KEPT)
    np.testing.assert_allclose(jax.vmap(inverse)(X), inverse(X), atol=1e-14)


def test_gradients_are_those_of_finite_steps(X):
    from jax.test_util import check_grads

    check_grads(lambda X: xi.istft(X, length=40, **KEPT), (X[0],), order=2, modes=["fwd", "rev"])
    x = jnp.asarray(np.random.default_rng(1).standard_normal(50))
    for pad_mode in ("constant", "reflect", "wrap"):
        check_grads(partial(xi.stft, n_fft=16, pad_mode=pad_mode, **KEPT), (x,), order=2)


def test_gradients_are_finite_and_zero_where_nothing_is_determined(X):
    """The first sample under a Hann window that starts there: 0, its gradient too."""

    def first_samples(X):
        return (xi.istft(X, hop_length=4, center=False, nola="zero")[..., :4] ** 2).sum()

    gradient = jax.grad(lambda X: first_samples(X).real)(X)
    assert bool(jnp.isfinite(gradient).all())
    alone = jax.grad(lambda X: xi.istft(X, hop_length=4, center=False, nola="zero")[0, 0])(X)
    assert not bool(jnp.abs(alone).any())


def test_single_precision_without_64_bits():
    """JAX's default: float32 alone, no warnings, as accurate as any float32."""
    with jax.enable_x64(False):
        x = jnp.asarray(np.random.default_rng(0).standard_normal(3000), dtype=jnp.float32)
        y = xi.istft(xi.stft(x, 256, pad_mode="reflect"), length=3000)
        assert y.dtype == jnp.float32
        assert float(jnp.abs(y - x).max()) < 2e-6


@pytest.mark.parametrize("layout", [{}, {"scaling": "spectrum"}, {"max_gain": 2.0, "center": False, "nola": "zero"}])
def test_gradients_reach_the_windows(X, layout):
    from jax.test_util import check_grads

    noise = np.random.default_rng(2).uniform(0, 0.1, 16)  # no two samples are equally large, where a maximum is taken
    window, other = jnp.hanning(18)[1:-1] + noise, jnp.hamming(16)
    scaling = {"scaling": layout["scaling"]} if "scaling" in layout else {}
    check_grads(lambda w: xi.stft(X.real[0, 0], 8, hop_length=3, window=w, **scaling), (window[::2],), order=2)
    check_grads(lambda w, v: xi.istft(X[0], hop_length=5, window=w, synthesis_window=v, **layout), (window, other), 1)


def test_traced_windows_give_the_same_numbers(X):
    window = jnp.hanning(18)[1:-1]
    for function in (lambda w: xi.istft(X, hop_length=5, window=w), lambda w: xi.stft(X.real[0], 16, window=w)):
        np.testing.assert_allclose(jax.jit(function)(window), function(window), atol=1e-13)
    many = jnp.stack([window, window[::-1] + 0.1, window**2])
    one_by_one = jnp.stack([xi.istft(X[0], hop_length=5, window=w) for w in many])
    np.testing.assert_allclose(jax.vmap(lambda w: xi.istft(X[0], hop_length=5, window=w))(many), one_by_one, atol=1e-13)


def test_a_traced_window_of_another_size_is_refused(X):
    with pytest.raises(ValueError, match="istft: window: need length 16"):
        jax.jit(lambda X, w: xi.istft(X, n_fft=16, win_length=16, window=w))(X, jnp.hanning(15))


def doors(x):
    """Every kind of map, of a signal (..., 400) of NumPy or JAX; a window that is traced where it can be."""
    xp, traced = (jnp, jax.jit) if isinstance(x, jax.Array) else (np, lambda function: function)
    kind, w = x.dtype.name, xp.asarray(np.hanning(34)[1:-1].astype(x.dtype))
    X, two_sided = xi.stft(x, 32), xi.stft(x, 32, onesided=False)
    grids = [xi.linear_frequencies(24, 0, 4000, 8000), xi.linear_frequencies(1 << 14, 0, 4000, 8000)]
    basis = xp.asarray(grids[0].basis(32).astype("complex128" if kind == "float64" else "complex64"))
    sliding = compat_scipy.ShortTimeFFT(np.hamming(32), 8, 1.0, fft_mode="centered", phase_shift=3, mfft=40)

    def followed(w):
        return xi.istft(xi.stft(x, 32, window=w, scaling="psd"), window=w, scaling="psd", max_gain=3.0)

    def on_a_basis(basis, w):
        transform = xi.STFT(32, 8, window=w, frequencies=basis, pad_mode="reflect")
        return transform.istft(transform.stft(x), length=400)

    def streamed():
        push, pull = xi.StreamingSTFT(xi.STFT(32, 8, pad_mode="reflect")), xi.StreamingISTFT(xi.STFT(32, 8))
        return xp.concatenate([pull.push(push.push(x)), pull.push(push.flush()), pull.flush(400)], axis=-1)

    yield "pad", xi.pad(x, 10, 900, "odd")
    for pad_mode in ("constant", "reflect"):
        yield f"stft, {pad_mode}", xi.stft(x, 32, pad_mode=pad_mode)
    yield "istft", xi.istft(X, length=500, nola="zero")
    yield "two sides", xi.istft(two_sided, onesided=False)
    yield "a traced window", traced(followed)(w)
    yield "frames", xi.overlap_add(xi.frame(x, 32, 8, window="hann"), 8, window="hann")
    yield "griffin_lim", xi.griffin_lim(abs(X), n_iter=4, init="random", rng=0)
    yield "project", xi.project(X)
    yield "inconsistency", xi.inconsistency(X * X)
    yield "spectral_convergence", xi.spectral_convergence(abs(X), X * X)
    for grid, pad_mode in zip(grids, ("edge", "reflect"), strict=True):
        transform = xi.STFT(32, 8, frequencies=grid, pad_mode=pad_mode)
        yield f"{len(grid)} frequencies", transform.istft(transform.stft(x), length=400)
    yield "a limited gain", xi.STFT(32, 8, frequencies=grids[0], max_gain=2).istft(xi.stft(x, 32, frequencies=grids[0]))
    yield "a traced basis", traced(on_a_basis)(basis, w)
    yield "streams", streamed()
    for detrend in (False, "linear"):
        yield f"compat.jax, {detrend}", compat_jax.istft(compat_jax.stft(x, 8000.0, nperseg=32, detrend=detrend)[2])[1]
    yield "ShortTimeFFT", sliding.istft(sliding.stft(x, padding="odd"), k1=400)


@pytest.mark.parametrize(("lead", "double"), [((), False), ((2, 1), True)])
def test_nothing_is_promoted_in_silence(rng, lead, double):
    """Under JAX's strictest settings, as its own tests and careful users have them, batched and not."""
    host = rng.standard_normal((*lead, 400)).astype("float64" if double else "float32")
    with jax.enable_x64(double), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        for (name, ours), (_, expected) in zip(doors(jnp.asarray(host)), doors(host), strict=True):
            scale = np.abs(expected).max()
            near = (1e-9 if double else 1e-3) * scale  # griffin_lim turns the rounding of small bins into phases
            assert ours.dtype == expected.dtype, name
            np.testing.assert_allclose(ours, expected, rtol=0, atol=near, err_msg=name)
