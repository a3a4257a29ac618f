"""Derivatives of the least-squares inverse are implicit, and those of finite steps; the regulariser is at work."""

from __future__ import annotations

import numpy as np
import pytest

import xp_istft as xi

torch = pytest.importorskip("torch")

N, HOP, LENGTH = 8, 2, 24
BAND = xi.linear_frequencies(6, 0, 3000, 8000)
EXACT = xi.Dual(tol=1e-11)
WEIGHTED = xi.Dual(BAND.density(N), tol=1e-11)
gradcheck, gradgradcheck = torch.autograd.gradcheck, torch.autograd.gradgradcheck


def istft(X, frequencies, solver=EXACT, pad_mode=None, **layout):
    return xi.STFT(N, HOP, frequencies=frequencies, solver=solver, pad_mode=pad_mode, **layout).istft(X, length=LENGTH)


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
@pytest.mark.parametrize("solver", [EXACT, xi.Adjoint()])
def test_of_the_spectrum(X, pad_mode, solver):
    def inverse(X):
        return istft(X, BAND, solver, pad_mode)

    assert gradcheck(inverse, (X,), fast_mode=True)
    assert gradgradcheck(inverse, (X,), fast_mode=True)


@pytest.mark.parametrize("pad_mode", [None, "reflect"])
def test_of_basis_and_window(X, basis, window, pad_mode):
    def inverse(X, basis, window):
        return istft(X, basis, pad_mode=pad_mode, window=window)

    assert gradcheck(inverse, (X, basis, window), fast_mode=True)


@pytest.mark.parametrize("bins", [BAND, BAND.basis(N)], ids=["frequencies", "basis"])
@pytest.mark.parametrize("solver", [EXACT, xi.Dual("uniform", tol=1e-11), xi.Adjoint("uniform")])
def test_of_the_window_alone(X, window, bins, solver):
    def inverse(X, window):
        return istft(X, bins, solver, window=window, scaling="psd")

    due = istft(X, bins, solver, window=window.detach().numpy(), scaling="psd")
    torch.testing.assert_close(inverse(X, window), due, atol=1e-9, rtol=0)
    assert gradcheck(inverse, (X, window), fast_mode=True)


@pytest.mark.parametrize("followed", [False, True])
def test_max_gain_bounds_what_is_followed_too(X, window, followed):
    def inverse(X, window, max_gain=1.2):
        return istft(X, BAND, window=window, center=False, max_gain=max_gain)

    host = X.detach().numpy(), window.detach().numpy()
    due = inverse(*host)
    assert np.abs(due - inverse(*host, max_gain=None)).max() > 1e-3
    y = inverse(X, window if followed else window.detach().numpy())
    np.testing.assert_allclose(y.detach().numpy(), due, atol=1e-9)
    if followed:
        assert gradcheck(inverse, (X, window), fast_mode=True)


@pytest.mark.parametrize(
    ("solver", "layout"),
    [
        (EXACT, {"pad_mode": "reflect"}),
        (WEIGHTED, {"hop_length": 3, "padding": "same"}),
        (xi.Dual("uniform", regularization=0.05, tol=1e-11), {"scaling": "psd", "pad_mode": None}),
        (EXACT, {"center": False, "max_gain": 1.2, "pad_mode": None}),
        (xi.Adjoint(), {"scaling": "ortho"}),
    ],
    ids=str,
)
def test_second_ones_of_spectrum_basis_and_window(x, basis, window, solver, layout):
    layout = {"n_fft": N, "hop_length": HOP, "solver": solver, **layout}

    def inverse(X, window, bins=BAND):
        return xi.STFT(frequencies=bins, window=window, **layout).istft(X, length=LENGTH)

    X = xi.STFT(frequencies=BAND, **layout).stft(x).requires_grad_()
    with torch.no_grad():
        window += 0.01 * torch.arange(N)  # where samples lie under the same weight, the largest has no derivative
    assert gradgradcheck(inverse, (X, window), fast_mode=True)
    assert gradgradcheck(inverse, (X, window, basis), fast_mode=True)


def test_second_ones_where_the_windowed_basis_has_exact_zeros(X):
    """torch's abs(z) ** 2 has no second derivative where z is 0, and a window of its own decides where that is."""
    on_the_dft = torch.from_numpy(xi.linear_frequencies(4, 0, 4000, 8000).basis(N)).requires_grad_()
    spectrum = xi.stft(torch.ones(LENGTH, dtype=torch.float64), N, hop_length=HOP, frequencies=on_the_dft.detach())
    assert not torch.fft.fft(on_the_dft * torch.ones(N), n=2 * N).all()
    spectrum.requires_grad_()
    assert gradgradcheck(lambda X, E: istft(X, E, window="boxcar"), (spectrum, on_the_dft), fast_mode=True)


def test_a_basis_is_inverted_as_its_frequencies(X, basis):
    due = istft(X.detach().numpy(), BAND.basis(N), WEIGHTED)
    torch.testing.assert_close(istft(X, basis, WEIGHTED).detach(), torch.from_numpy(due), atol=1e-9, rtol=0)


def test_of_the_forward_map(x, basis, window):
    def forward(x, basis, window):
        return xi.stft(x, N, hop_length=HOP, frequencies=basis, window=window)

    assert gradcheck(forward, (x.requires_grad_(), basis, window), fast_mode=True)
    assert gradgradcheck(forward, (x, basis, window), fast_mode=True)


def test_a_followed_basis_says_all_that_another_does(X, basis):
    t = xi.STFT(N, HOP, frequencies=basis, solver=WEIGHTED)
    due = xi.STFT(N, HOP, frequencies=BAND.basis(N), solver=WEIGHTED).solve(X.detach().numpy(), length=LENGTH)
    found = t.solve(X, length=LENGTH)
    assert found.bands == due.bands
    assert np.isnan(found.redundancy)
    assert int(found.iterations) == due.iterations
    np.testing.assert_allclose(found.signal.detach(), due.signal, atol=1e-9)
    np.testing.assert_allclose(found.data_residual.detach(), due.data_residual, atol=1e-9)
    np.testing.assert_allclose(found.ritz, due.ritz, rtol=1e-6)
    assert t != xi.STFT(N, HOP, frequencies=basis, solver=WEIGHTED)  # compared by identity


def test_bases_of_another_kind_are_refused(x, X, basis):
    for call in (lambda: istft(X.detach().numpy(), basis), lambda: xi.stft(x.numpy(), N, frequencies=basis)):
        with pytest.raises(TypeError, match="frequencies: need a basis of NumPy or of the library of the data"):
            call()
    with pytest.raises(ValueError, match=r"frequencies: need the device of the data \(cpu\), got meta"):
        istft(X, basis.detach().to("meta"))
    with pytest.raises(ValueError, match="STFT: solver: need Dual or Adjoint with a basis that is followed"):
        xi.STFT(N, frequencies=basis, solver=xi.PerFrame())


def test_in_jax():
    """Within jit: the loop of the solver is traced, its derivatives are those of the solution."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    x = np.random.default_rng(0).standard_normal(LENGTH)
    X = xi.stft(x, N, hop_length=HOP, frequencies=BAND)
    due = istft(X, BAND.basis(N), WEIGHTED)

    @jax.jit
    def inverse(X, basis):
        return istft(X, basis, WEIGHTED)

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
    reflected = jax.jit(lambda X: istft(X, BAND, pad_mode="reflect"))(start[0])  # the padding is known
    np.testing.assert_allclose(reflected, istft(X, BAND, pad_mode="reflect"), atol=1e-9)
    with pytest.raises(ValueError, match="solve: X: need an array whose values are at hand, got one under a tracer"):
        jax.jit(lambda X: xi.STFT(N, HOP, frequencies=BAND).solve(X, length=LENGTH).signal)(start[0])
