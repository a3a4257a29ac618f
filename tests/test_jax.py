"""JAX traces the definition: jit, grad and vmap."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import xp_istft as xi

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


def test_a_traced_window_is_refused(X):
    with pytest.raises(TypeError, match="istft: window: need a name or real samples"):
        jax.jit(lambda X, w: xi.istft(X, window=w))(X, jnp.hanning(16))
