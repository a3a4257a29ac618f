"""Derivatives of the least-squares inverse are implicit, and those of finite steps; the regulariser is at work."""

from __future__ import annotations

import numpy as np
import pytest

import xp_istft as xi

torch = pytest.importorskip("torch")

N, HOP, LENGTH = 8, 2, 24
BAND = xi.linear_frequencies(6, 0, 3000, 8000)
KEPT = dict(n_fft=N, hop_length=HOP, length=LENGTH, tol=1e-11)
gradcheck, gradgradcheck = torch.autograd.gradcheck, torch.autograd.gradgradcheck


@pytest.fixture
def x():
    return torch.from_numpy(np.random.default_rng(0).standard_normal(LENGTH))


@pytest.fixture
def X(x):
    return xi.stft(x, N, hop_length=HOP, frequencies=BAND).requires_grad_()


@pytest.fixture
def window():
    return (torch.hann_window(N, dtype=torch.float64) + 0.05).requires_grad_()


@pytest.fixture
def basis():
    return torch.from_numpy(BAND.basis(N)).requires_grad_()


@pytest.mark.parametrize("pad_mode", [None, "reflect"])
@pytest.mark.parametrize("method", ["dual", "adjoint"])
def test_of_the_spectrum(X, pad_mode, method):
    def inverse(X):
        return xi.istft(X, frequencies=BAND, pad_mode=pad_mode, method=method, **KEPT)

    assert gradcheck(inverse, (X,), fast_mode=True)
    assert gradgradcheck(inverse, (X,), fast_mode=True)


@pytest.mark.parametrize("pad_mode", [None, "reflect"])
def test_of_basis_and_window(X, basis, window, pad_mode):
    def inverse(X, basis, window):
        return xi.istft(X, frequencies=basis, window=window, pad_mode=pad_mode, **KEPT)

    assert gradcheck(inverse, (X, basis, window), fast_mode=True)


def test_of_the_window_alone(X, window):
    def inverse(X, window):
        return xi.istft(X, frequencies=BAND, window=window, scaling="psd", **KEPT)

    due = xi.istft(X, frequencies=BAND, window=window.detach().numpy(), scaling="psd", **KEPT)
    torch.testing.assert_close(inverse(X, window), due, atol=1e-9, rtol=0)
    assert gradcheck(inverse, (X, window), fast_mode=True)


def test_second_ones_of_the_basis_are_refused(X, basis):
    y = xi.istft(X, frequencies=basis, weights=BAND.density(N), **KEPT)
    due = xi.istft(X.detach().numpy(), frequencies=BAND.basis(N), weights=BAND.density(N), **KEPT)
    torch.testing.assert_close(y.detach(), torch.from_numpy(due), atol=1e-9, rtol=0)
    with pytest.raises(NotImplementedError, match="istft: frequencies: need first derivatives"):
        torch.autograd.grad(y.square().sum(), basis, create_graph=True)


def test_of_the_forward_map(x, basis, window):
    def forward(x, basis, window):
        return xi.stft(x, N, hop_length=HOP, frequencies=basis, window=window)

    assert gradcheck(forward, (x.requires_grad_(), basis, window), fast_mode=True)


def test_bases_of_another_kind_are_refused(X, basis):
    with pytest.raises(TypeError, match="frequencies: need a basis of NumPy or of the library of the data"):
        xi.istft(X.detach().numpy(), frequencies=basis.detach())
    with pytest.raises(ValueError, match="method: need 'dual' or 'adjoint' with a basis in this array"):
        xi.istft(X, frequencies=basis, method="frame")


def test_in_jax():
    """Within jit: the loop of the solver is traced, its derivatives are those of the solution."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    x = np.random.default_rng(0).standard_normal(LENGTH)
    X = xi.stft(x, N, hop_length=HOP, frequencies=BAND)
    due = xi.istft(X, frequencies=BAND.basis(N), weights=BAND.density(N), **KEPT)

    @jax.jit
    def inverse(X, basis):
        return xi.istft(X, frequencies=basis, weights=BAND.density(N), **KEPT)

    start = jnp.asarray(X), jnp.asarray(BAND.basis(N))
    y, tangent = jax.jit(lambda *start: jax.jvp(inverse, start, start))(*start)
    np.testing.assert_allclose(y, due, atol=1e-9)
    cotangent = jnp.asarray(np.cos(np.arange(LENGTH)))
    pulled = jax.jit(lambda *start: jax.vjp(inverse, *start)[1](cotangent))(*start)
    paired = sum(float((one * other).sum().real) for one, other in zip(pulled, start, strict=True))
    assert paired == pytest.approx(float(cotangent @ tangent), rel=1e-8)
    step = 1e-6
    ahead, behind = (inverse(*(each * (1 + sign * step) for each in start)) for sign in (1, -1))
    np.testing.assert_allclose(tangent, (ahead - behind) / (2 * step), atol=1e-6)
    with pytest.raises(ValueError, match="info: need False under a tracer"):
        jax.jit(lambda X: xi.istft(X, frequencies=BAND, info=True, **KEPT))(start[0])
