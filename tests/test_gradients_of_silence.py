"""Gradients where arrays are exactly 0, or what rounding leaves of that: finite, and the same on every library."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.compat import librosa as compat_librosa
from xp_istft.compat import scipy as compat_scipy

N_FFT, N_FRAMES = 64, 24
GRID = xi.linear_frequencies(40, 0, 4000, 8000)


def power(array):
    return (abs(array) ** 2).sum()


def retrieved(algorithm):
    return lambda S, like: power(xi.griffin_lim(S, n_iter=3, algorithm=algorithm, init="zero"))


def spectrogram(mode):
    return lambda x, like: power(compat_scipy.spectrogram(x, nperseg=32, detrend=False, mode=mode)[2])


def frequencies(**options):
    return lambda X, like: power(xi.STFT(N_FFT, frequencies=GRID, **options).istft(X))


def silent(*shape, of=0.4, complex=False):
    """Noise whose last axis begins with zeros, as much of it as `of` says."""
    noise = np.random.default_rng(5).uniform(0.1, 1, shape).astype(np.float32)
    noise = noise * (1 + 1j * noise).astype(np.complex64) if complex else noise
    noise[..., : int(of * shape[-1])] = 0
    return noise


SPECTRUM, GRIDDED = (N_FFT // 2 + 1, N_FRAMES), (len(GRID), N_FRAMES)
WINDOW = np.hanning(N_FFT + 1)[:-1].astype(np.float32)  # whose first sample is 0

# What is differentiated: a function of an array, and of an array maker of its library; and the array.
CASES = {
    **{
        f"griffin_lim, {name}": (retrieved(name), silent(*SPECTRUM))
        for name in ("gla", "fgla", "raar", "admm", "hybrid")
    },
    "griffin_lim of silence": (retrieved("raar"), silent(*SPECTRUM, of=1)),
    "griffin_lim, spectrum at the start": (
        lambda X, like: power(xi.griffin_lim(like(silent(*SPECTRUM)), n_iter=2, init=X)),
        silent(*SPECTRUM, complex=True),
    ),
    "inconsistency": (lambda X, like: xi.inconsistency(X), silent(*SPECTRUM, of=1, complex=True)),
    "spectral_convergence, S": (lambda S, like: xi.spectral_convergence(S, like(S)), silent(*SPECTRUM)),
    "spectral_convergence, X": (
        lambda X, like: xi.spectral_convergence(like(silent(*SPECTRUM, of=1)), X),
        silent(*SPECTRUM, of=1, complex=True),
    ),
    "from_polar": (lambda a, like: power(xi.from_polar(a, a)), silent(5, of=1)),
    **{f"spectrogram, {mode}": (spectrogram(mode), silent(200)) for mode in ("psd", "magnitude", "angle", "phase")},
    "magphase": (lambda X, like: sum(map(power, compat_librosa.magphase(X))), silent(*SPECTRUM, complex=True)),
    "window": (lambda w, like: power(xi.istft(like(silent(*SPECTRUM, complex=True)), window=w)), WINDOW),
    "window, psd": (lambda w, like: power(xi.stft(like(silent(300)), N_FFT, window=w, scaling="psd")), WINDOW),
    "synthesis window, max_gain": (
        lambda w, like: power(
            xi.istft(like(silent(*SPECTRUM, complex=True)), synthesis_window=w, center=False, nola="zero", max_gain=3.0)
        ),
        WINDOW,
    ),
    "other frequencies": (frequencies(), silent(*GRIDDED, complex=True)),
    "other frequencies, silence, max_gain": (frequencies(max_gain=2.0), silent(*GRIDDED, of=1, complex=True)),
}


def gradient(library, function, host):
    if library == "torch":
        torch = importlib.import_module("torch")
        array = torch.tensor(host, requires_grad=True)
        function(array, lambda values: torch.as_tensor(values).detach()).backward()
        return array.grad.resolve_conj().numpy()
    if library == "mlx":
        mx = importlib.import_module("mlx.core")
        return np.asarray(
            mx.grad(lambda array: function(array, lambda values: mx.stop_gradient(mx.array(values))))(mx.array(host))
        )
    jax = importlib.import_module("jax")
    found = jax.jit(jax.grad(lambda array: function(array, jax.lax.stop_gradient)))(host)
    return np.conj(found)  # JAX's are the conjugates of torch's


@pytest.mark.parametrize("library", ["jax", "mlx"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_and_torchs(case, library):
    function, host = CASES[case]
    for name in ("torch", library):
        pytest.importorskip({"mlx": "mlx.core"}.get(name, name))
    if library == "mlx" and "window" in case:
        pytest.skip("windows are read as values on MLX")
    ours, torchs = (gradient(name, function, host) for name in (library, "torch"))
    assert np.isfinite(ours).all()
    assert np.isfinite(torchs).all()
    np.testing.assert_allclose(ours, torchs, rtol=0, atol=2e-3 * np.abs(torchs).max() + 1e-6)
