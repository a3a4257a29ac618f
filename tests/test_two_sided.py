"""Two-sided spectra, of complex signals: phases of magnitudes, consistency, modules, streams.

What holds of one side holds of two; and a signal that is shifted in frequency is the same signal, with its bins further
on along a ring.
"""

from __future__ import annotations

import definition
import numpy as np
import pytest

import xp_istft as xi

N = 32
T = xi.STFT(N, 8, onesided=False)


def signal(n_samples=600):
    """Two components, of a positive and of a negative frequency."""
    n = np.arange(n_samples)
    return np.exp(2j * np.pi * (0.06 * n + 2 * np.sin(n / 80))) + 0.5 * np.exp(-2j * np.pi * 0.22 * n)


def shifted(x, bins):
    return x * np.exp(2j * np.pi * bins / N * np.arange(x.size))


def random_spectrum(n_bins=N, n_frames=12):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n_bins, n_frames)) + 1j * rng.standard_normal((n_bins, n_frames))


# ------------------------------------------------------------------ consistency


def test_project_is_the_nearest_spectrum_of_a_signal(xp):
    X = random_spectrum()
    P = xi.project(xp.asarray(X), T)
    assert xp.owns(P)
    P = xp.to_numpy(P)
    np.testing.assert_allclose(P, T.stft(T.istft(X)), atol=1e-13)
    np.testing.assert_allclose(xp.to_numpy(xi.project(xp.asarray(P), T)), P, atol=1e-13)
    Q = T.stft(T.istft(random_spectrum()[::-1]))
    np.testing.assert_allclose(np.vdot(Q, X - P), 0, atol=1e-10 if xp.double else 1e-3)  # orthogonal, all bins alike
    far = float(xp.to_numpy(xi.inconsistency(xp.asarray(X), T)))
    assert far == pytest.approx(np.linalg.norm(X - P) / np.linalg.norm(X), rel=1e-12)
    consistent = xi.inconsistency(T.stft(xp.asarray(signal())), T, length=600)
    assert float(xp.to_numpy(consistent)) < (1e-14 if xp.double else 1e-6)


def test_of_real_signals_both_sides_say_what_one_says(rng):
    """Hermitian spectra of two sides: the projection is that of one side, and counts every bin as often."""
    one = xi.STFT(N, 8)
    X = random_spectrum(N // 2 + 1)
    X[[0, -1]] = X[[0, -1]].real
    both = np.concatenate([X, X[-2:0:-1].conj()])
    np.testing.assert_allclose(xi.project(both, T)[: N // 2 + 1], xi.project(X, one), atol=1e-13)
    assert float(xi.inconsistency(both, T)) == pytest.approx(float(xi.inconsistency(X, one)), rel=1e-12)


# ------------------------------------------------------------------ phases of magnitudes


@pytest.mark.parametrize("algorithm", ["gla", "fgla", "raar", "admm", "hybrid"])
def test_every_library_iterates_alike(xp, algorithm):
    """Beside the same algorithm over forward and inverse DFT matrices, written out."""
    S = abs(T.stft(signal()))
    start = S * np.exp(2j * np.pi * np.random.default_rng(2).random(S.shape))
    options = {"algorithm": algorithm, "n_iter": 4, "length": 600}
    y = xi.griffin_lim(xp.asarray(S), T, init=xp.asarray(start), **options)
    assert xp.owns(y)
    y = xp.to_numpy(y)
    assert y.shape == (600,)
    assert y.dtype.kind == "c"
    if algorithm != "gla":
        want = xi.griffin_lim(S, T, init=start, **options)
        np.testing.assert_allclose(y, want, atol=1e-9 if xp.double else 1e-4)
        return
    w, c = T.samples(), start
    for _ in range(4):
        x, _ = definition.istft(c, N, 8, w, w, N // 2, 600, onesided=False)
        z = definition.stft(x, N, 8, w, N // 2, S.shape[-1], onesided=False)
        c = S * np.exp(1j * np.angle(z))
    np.testing.assert_allclose(y, T.istft(c, length=600), atol=1e-9 if xp.double else 1e-4)


def test_griffin_lim_finds_a_complex_signal(xp):
    x = signal()
    S = xp.asarray(abs(T.stft(x)))
    seen = []
    watch = {} if xp.name == "dask" else {"callback": lambda *each: seen.append(each)}  # which would compute each anew
    y = xi.griffin_lim(S, T, length=600, n_iter=8, **watch)
    assert xp.to_numpy(y).dtype.kind == "c"
    reached = float(xp.to_numpy(xi.spectral_convergence(S, T.stft(y))))
    assert reached < 0.05
    assert not watch or 0.5 * reached < seen[-1][1] < 2 * reached
    np.testing.assert_allclose(xp.to_numpy(S), abs(T.stft(x)), rtol=1e-6)  # not touched


def test_a_real_signal_is_found_by_its_two_sided_magnitudes():
    x = np.sin(np.arange(600) ** 1.5 / 60)
    S = abs(T.stft(x))
    assert float(xi.spectral_convergence(S, T.stft(xi.griffin_lim(S, T, length=600)))) < 0.05


def test_signals_start_it_real_and_complex(xp):
    x = signal()
    S = xp.asarray(abs(T.stft(x)))
    y = xi.griffin_lim(S, T, length=600, n_iter=2, init=xp.asarray(x))
    np.testing.assert_allclose(xp.to_numpy(y), x, atol=1e-12 if xp.double else 1e-5)
    y = xi.griffin_lim(S, T, length=600, n_iter=0, init=xp.asarray(x.real.copy()))
    want = T.istft(abs(T.stft(x)) * np.exp(1j * np.angle(T.stft(x.real))), length=600)
    np.testing.assert_allclose(xp.to_numpy(y), want, atol=1e-12 if xp.double else 1e-3)
    with pytest.raises(ValueError, match="griffin_lim: init: need shape"):
        xi.griffin_lim(S[: N // 2 + 1, :], xi.STFT(N, 8), init=xp.asarray(x))


@pytest.mark.parametrize("bins", [0, 5, N // 2, N - 2])
def test_pghi_does_not_care_where_bin_0_lies(bins):
    """Of a tone on each bin, of 0 and the border of the sides, too, phases are as consistent as anywhere."""
    t = xi.STFT(N, 4, onesided=False)
    S = abs(t.stft(shifted(signal(), bins)))
    np.testing.assert_allclose(S, np.roll(abs(t.stft(signal())), bins, axis=0), atol=1e-12)
    P = xi.pghi(S, t)
    np.testing.assert_allclose(abs(P), S, atol=1e-13)
    assert float(xi.inconsistency(P, t)) == pytest.approx(
        float(xi.inconsistency(xi.pghi(np.roll(S, -bins, 0), t), t)), rel=0.02
    )
    assert float(xi.inconsistency(P, t)) < 0.15


def test_pghi_follows_a_negative_frequency():
    """A tone of -7.3 bins advances by -7.3 hop / n_fft turns a frame, in every bin that it reaches."""
    x = np.exp(-2j * np.pi * 7.3 / N * np.arange(600))
    P = xi.pghi(abs(T.stft(x)), T)
    for k in (-9, -8, -7, -6):
        turns = np.angle(P[k, 11:60] / P[k, 10:59]) / (2 * np.pi)
        away = turns - -7.3 * 8 / N
        assert abs(away - np.rint(away)).max() < 0.02


def test_pghi_of_items_and_threads_is_that_of_each(two_threads):
    S = np.stack([abs(T.stft(shifted(signal(), bins))) for bins in (0, 9, 20)])
    P = xi.pghi(S, T)
    for item, alone in zip(P, S, strict=True):
        assert (item == xi.pghi(alone, T)).all()


def test_small_and_silent_rings_break_nothing():
    for n_fft in (2, 3):
        t = xi.STFT(n_fft, 1, window="boxcar", onesided=False)
        S = abs(t.stft(signal(20)))
        assert np.isfinite(xi.griffin_lim(S, t, length=20)).all()
    assert not xi.griffin_lim(np.zeros((N, 9)), T).any()


def test_half_precision_gives_complex64():
    S = abs(T.stft(signal())).astype(np.float16)
    assert xi.griffin_lim(S, T, length=600, n_iter=1).dtype == np.complex64


def test_without_a_transform_magnitudes_are_one_sided():
    assert xi.griffin_lim(np.ones((17, 9)), n_iter=1).dtype == np.float64
    with pytest.raises(ValueError, match="griffin_lim: S: need 32 bins for n_fft=32, onesided=False, got 17"):
        xi.griffin_lim(np.ones((17, 9)), T)


# ------------------------------------------------------------------ modules


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_modules_give_complex_signals(torch):
    from xp_istft.nn import ISTFT, STFT, GriffinLim

    x = torch.from_numpy(signal())
    X = T.stft(x)
    torch.testing.assert_close(STFT(T)(x), X)
    torch.testing.assert_close(ISTFT(T)(X, length=600), x)
    half = torch.view_as_real(X).to(torch.float16)
    torch.testing.assert_close(ISTFT(T)(half, length=600), x.to(torch.complex64), atol=5e-3, rtol=0)
    y = GriffinLim(T, algorithm="hybrid", init="pghi")(X.abs(), length=600)
    assert y.is_complex()
    assert float(xi.spectral_convergence(X.abs(), T.stft(y))) < 0.02


def test_kernels_are_trained_on_both_sides(torch):
    from xp_istft.nn import ISTFT, STFT

    x = torch.from_numpy(signal())
    X = T.stft(x)
    forward, inverse = STFT(T, trainable_kernels=True).double(), ISTFT(T, trainable_kernels=True).double()
    assert forward.kernel_real.shape == (N, N)
    for given in (x, x.real):
        torch.testing.assert_close(forward(given), T.stft(given), atol=1e-5, rtol=0)
    torch.testing.assert_close(inverse(X, length=600), x, atol=1e-5, rtol=0)
    gain = torch.ones(N, 1, dtype=torch.float64)
    gain[-3] = 2  # of a negative frequency alone
    for module, given, want in (
        (forward, (x,), X * gain),
        (inverse, (X, 600), T.istft(X * gain, length=600)),
    ):
        kernels = {name: getattr(module, name) * gain for name in ("kernel_real", "kernel_imag")}
        made = torch.func.functional_call(module, kernels, given)
        torch.testing.assert_close(made, want, atol=1e-5, rtol=0)
    made = inverse(forward(x), length=600)
    gradients = torch.autograd.grad(made.abs().sum(), [forward.kernel_real, inverse.kernel_imag])
    assert all(torch.isfinite(each).all() and each.any() for each in gradients)


# ------------------------------------------------------------------ streams


def test_streams_of_complex_signals_are_one_call(xp):
    x = signal(200)
    forward, backward = xi.StreamingSTFT(T), xi.StreamingISTFT(T)
    X = [forward.push(xp.asarray(x[lo : lo + 30])) for lo in range(0, 200, 30)] + [forward.flush()]
    y = [backward.push(each) for each in X] + [backward.flush(length=200)]
    np.testing.assert_allclose(np.concatenate([xp.to_numpy(each) for each in X], -1), T.stft(x), atol=1e-12)
    np.testing.assert_allclose(np.concatenate([xp.to_numpy(each) for each in y]), x, atol=1e-12)


def test_gradients_pass_through_retrieval_of_two_sides(torch):
    """Along a direction, beside a difference of values."""
    S, start = abs(T.stft(signal(100))), np.random.default_rng(3).random((N, 13))
    dS, R = np.random.default_rng(4).random(S.shape), np.random.default_rng(5).standard_normal(100)

    def of(S):
        init = torch.from_numpy(start) if isinstance(S, torch.Tensor) else start
        y = xi.griffin_lim(S, T, length=100, n_iter=3, algorithm="gla", init=init)
        return (abs(y) ** 2 * (torch.from_numpy(R) if isinstance(S, torch.Tensor) else R)).sum()

    given = torch.tensor(S, requires_grad=True)
    (gradient,) = torch.autograd.grad(of(given), given)
    h = 1e-6
    want = (of(S + h * dS) - of(S - h * dS)) / (2 * h)
    assert float((gradient * torch.from_numpy(dS)).sum()) == pytest.approx(want, rel=1e-5)
