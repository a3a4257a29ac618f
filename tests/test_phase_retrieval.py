"""Phase retrieval: the algorithms of the papers, librosa's, any library, any geometry; PGHI; projections."""

import definition
import numpy as np
import pytest
from scipy.signal import get_window

import xp_istft as xi
from xp_istft.phase_retrieval import ALGORITHMS


def chirp(n_samples=4000, seed=0):
    t = np.arange(n_samples)
    return np.sin(t**1.5 / 300) + 0.05 * np.random.default_rng(seed).standard_normal(n_samples)


def decibels(S, y, n_fft, **options):
    return 20 * np.log10(float(xi.spectral_convergence(S, xi.stft(y, n_fft, **options))))


def by_the_papers(S, start, algorithm, n_iter, hop, momentum=0.99, beta=0.9, rho=0.1):
    """The algorithms in their papers' variables, on the definition's transforms; the signal of the last estimate."""
    n_fft = 2 * (S.shape[0] - 1)
    w = get_window("hann", n_fft)
    n_samples = hop * (S.shape[1] - 1)

    def signal(X):
        return definition.istft(X, n_fft, hop, w, w, n_fft // 2, n_samples)[0]

    def consistent(X):
        return definition.stft(signal(X), n_fft, hop, w, n_fft // 2, S.shape[1])

    def on_magnitude(X):
        return S * np.exp(1j * np.angle(X))

    if algorithm == "hybrid":
        first = n_iter // 2
        half = by_the_papers(S, start, "raar", first, hop)[1]
        return by_the_papers(S, half, "fgla", n_iter - first, hop)
    c = start
    if algorithm in ("gla", "fgla"):
        before, alpha = None, momentum if algorithm == "fgla" else 0
        for _ in range(n_iter):
            t = consistent(on_magnitude(c))
            c = t if before is None else t + alpha * (t - before)
            before = t
    elif algorithm == "raar":
        for _ in range(n_iter):
            on_a = on_magnitude(c)
            mirrored = 2 * on_a - c
            twice = 2 * consistent(mirrored) - mirrored
            c = 0.5 * beta * (c + twice) + (1 - beta) * on_a
    else:
        z, u = start, np.zeros_like(start)
        for _ in range(n_iter):
            x = on_magnitude(z - u)
            z = (rho * (x + u) + consistent(x + u)) / (1 + rho)
            u = u + x - z
        c = z - u
    return signal(on_magnitude(c)), on_magnitude(c)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n_iter", [1, 5])
def test_algorithms_are_those_of_their_papers(xp, algorithm, n_iter):
    S = np.abs(xi.stft(chirp(400), 32, hop_length=8))
    start = S * np.exp(2j * np.pi * np.random.default_rng(1).random(S.shape))
    options = {"hop_length": 8, "n_iter": n_iter, "algorithm": algorithm, "init": xp.asarray(start)}
    y = xi.griffin_lim(xp.asarray(S), **options)
    assert xp.owns(y)
    np.testing.assert_allclose(xp.to_numpy(y), by_the_papers(S, start, algorithm, n_iter, 8)[0], atol=1e-9)


@pytest.mark.parametrize(
    ("n_fft", "hop", "dtype"),
    [(64, 16, "float32"), (512, 128, "float32"), (512, 128, "float64"), (63, 20, "float64")],
)
def test_fgla_is_librosas(n_fft, hop, dtype):
    librosa = pytest.importorskip("librosa")
    S = np.abs(xi.stft(chirp(9000), n_fft, hop_length=hop)).astype(dtype)
    random = {"random_state": np.random.default_rng(0)}
    theirs = librosa.griffinlim(S, n_iter=32, hop_length=hop, n_fft=n_fft, dtype=None, **random)
    phase = 2 * np.pi * np.random.default_rng(0).random(S.shape)
    for length in (None, 9000):
        ours = xi.griffin_lim(S, hop_length=hop, n_fft=n_fft, algorithm="fgla", init=phase, length=length)
        assert ours.dtype == dtype
        assert np.linalg.norm(ours - theirs) < (1e-4 if dtype == "float32" else 1e-9) * np.linalg.norm(theirs)
        random = {"random_state": np.random.default_rng(0)}
        theirs = librosa.griffinlim(S, n_iter=32, hop_length=hop, n_fft=n_fft, dtype=None, length=9000, **random)
