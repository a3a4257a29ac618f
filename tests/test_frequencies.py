"""Bins at any frequencies: the grids, the forward sum, the inverse against the least-squares problem written out."""

from __future__ import annotations

import importlib
import pickle
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from definition import padded, window_samples
from scipy.linalg import circulant

import xp_istft as xi
from xp_istft.frames import Frames
from xp_istft.frequencies import bases, normal_equations

SR = 8000
N, HOP, LENGTH = 16, 4, 50


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def snr(x, y):
    return 10 * np.log10((x**2).sum() / ((x - y) ** 2).sum())


def basis(hz, n_fft, sr=SR):
    return np.exp(-2j * np.pi * np.outer(np.asarray(hz) / sr, np.arange(n_fft)))


def forward(x, E, hop, window, before, n_frames, mode="constant"):
    """X[k, m] = sum_n w[n] x[m hop + n - before] E[k, n]"""
    n_fft = E.shape[1]
    axis = padded(x, before, n_fft + hop * (n_frames - 1), mode)
    return np.stack([E @ (window * axis[m * hop : m * hop + n_fft]) for m in range(n_frames)], axis=-1)


def matrix(n_samples, *arguments):
    """The forward map as a real matrix (2 n_bins n_frames, n_samples)."""
    columns = [forward(column, *arguments).ravel() for column in np.eye(n_samples)]
    return np.concatenate([np.real(columns), np.imag(columns)], axis=1).T


def voronoi(hz, n_fft, sr=SR):
    """Twice the share of [0, sr / 2] that is nearest to each frequency, by brute force; end cells are symmetric."""
    f = (np.arange(200000) + 0.5) / 200000 * sr / 2
    owner = np.abs(f[:, None] - np.asarray(hz)).argmin(axis=1) if len(hz) > 1 else np.zeros(f.size, int)
    f = np.where((f < 1.5 * hz[0] - 0.5 * hz[1]) | (f > 1.5 * hz[-1] - 0.5 * hz[-2]), np.nan, f)
    return np.bincount(owner[np.isfinite(f)], minlength=len(hz)) / 200000


def dft(n_fft):
    return xi.Frequencies(np.arange(n_fft // 2 + 1) * SR / n_fft, SR)


FULL = xi.linear_frequencies(14, 0, 4000, SR)
BAND = xi.linear_frequencies(7, 300, 2500, SR)


# ---- the grids


@pytest.mark.parametrize(
    ("fmin", "fmax", "sr", "n", "n_fft"), [(50, 6000, 22050, 1025, 2048), (20, 4000, 8000, 37, 64)]
)
def test_the_grids_are_nnaudios(fmin, fmax, sr, n, n_fft):
    """Its loops, written out."""
    start = fmin * n_fft / sr
    linear = [(k * ((fmax - fmin) * (n_fft / sr) / n) + start) for k in range(n)]
    log = [np.exp(k * (np.log(fmax / fmin) / n)) * start for k in range(n)]
    log2 = [2 ** (k * (np.log2(fmax / fmin) / n)) * start for k in range(n)]
    np.testing.assert_allclose(xi.linear_frequencies(n, fmin, fmax, sr).bins(n_fft), linear, rtol=1e-9)
    np.testing.assert_allclose(xi.log_frequencies(n, fmin, fmax, sr).bins(n_fft), log, rtol=1e-9)
    np.testing.assert_allclose(xi.log_frequencies(n, fmin, fmax, sr).bins(n_fft), log2, rtol=1e-9)


def test_frequencies_are_values():
    F = xi.Frequencies([100.0, 300.0, 400.0], 8000)
    twin = pickle.loads(pickle.dumps(F))
    assert twin == F
    assert hash(F) == hash(twin)
    assert len(F) == 3
    assert xi.Frequencies(F.hz, 16000) != F
    assert "3 from 100 to 400 Hz" in repr(F)
    with pytest.raises(ValueError, match="read-only"):
        F.hz[0] = 1


def test_density_is_the_share_of_the_axis():
    for F in (BAND, FULL, xi.log_frequencies(20, 100, 4000, SR)):
        np.testing.assert_allclose(F.density(64), voronoi(F.hz, 64), atol=2e-5)
    for n_fft in (16, 15):
        F = dft(n_fft)
        twice = np.where((F.hz == 0) | (F.hz == SR / 2), 1, 2)
        if n_fft % 2 == 0:
            np.testing.assert_allclose(F.density(n_fft), twice / n_fft)
        assert F.is_dft(n_fft)
        assert not F.is_dft(n_fft + 2)
    np.testing.assert_allclose(xi.Frequencies([440.0], SR).density(16), [2 / 16])


def test_redundancy_is_what_the_widest_gap_leaves():
    assert xi.Frequencies([0, 100, 300], SR).redundancy(20) == pytest.approx(SR / (20 * 200))
    assert xi.Frequencies([100], SR).redundancy(20) == np.inf


# ---- the forward map


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_stft_is_the_sum_written_out(xp, mode):
    x = noise(2, LENGTH)
    for F, n_fft, win_length in ((BAND, N, N), (xi.log_frequencies(11, 100, 4000, SR), 15, 13)):
        w = window_samples("hamming", win_length, n_fft)
        X = xi.stft(
            xp.asarray(x), n_fft, hop_length=HOP, win_length=win_length, window="hamming", frequencies=F, pad_mode=mode
        )
        assert xp.owns(X)
        due = [forward(one, basis(F.hz, n_fft), HOP, w, n_fft // 2, X.shape[-1], mode) for one in x]
        np.testing.assert_allclose(xp.to_numpy(X), due, atol=1e-12)


@pytest.mark.parametrize("n_fft", [64, 63])
@pytest.mark.parametrize("kind", [bases.Waves, bases.Chirps])
def test_products_with_the_basis_are_its_sums(kind, n_fft):
    """In halves, and as a convolution: both are E, and their adjoints Re E' C."""
    F = xi.linear_frequencies(41, 170, 3900, SR)
    E, maps, weights = basis(F.hz, n_fft), kind.of(F, n_fft), 1 + noise(41) ** 2
    segments, X = noise(2, n_fft, 5), noise(2, 41, 5, seed=1) + 1j * noise(2, 41, 5, seed=2)
    np.testing.assert_allclose(maps.spectrum(segments), E @ segments, atol=1e-12)
    due = np.real(E.conj().T @ (weights[:, None] * X))
    np.testing.assert_allclose(maps.adjoint(X, weights), due, atol=1e-11)


def test_many_even_bins_are_a_convolution_on_every_library(xp):
    n_fft, F = 2048, xi.linear_frequencies(300, 50, 3600, SR)
    x = noise(4000)
    t = xi.STFT(n_fft, frequencies=F, solver=xi.Adjoint())
    X = t.stft(xp.asarray(x))
    due = forward(x, basis(F.hz, n_fft), n_fft // 4, window_samples("hann", n_fft, n_fft), n_fft // 2, X.shape[-1])
    np.testing.assert_allclose(xp.to_numpy(X), due, atol=1e-10)
    np.testing.assert_allclose(xp.to_numpy(t.istft(X)), t.istft(due), atol=1e-10)


def test_stft_takes_any_basis_and_options():
    x, E = noise(3, LENGTH), noise(5, N, seed=1) + 1j * noise(5, N, seed=2)
    X = xi.stft(x, N, hop_length=HOP, frequencies=E, scaling="ortho", axes=(0, 1))
    w = window_samples("hann", N, N)
    due = [forward(one, E, HOP, w, N // 2, X.shape[1]) / 4 for one in x]
    np.testing.assert_allclose(np.moveaxis(X, (0, 1), (-2, -1)), due, atol=1e-12)
    out = np.empty((3, 5, X.shape[1]), complex)
    assert xi.stft(x, N, hop_length=HOP, frequencies=E, out=out) is out
    np.testing.assert_allclose(out / 4, due, atol=1e-12)
    single = xi.stft(x.astype(np.float32), N, hop_length=HOP, frequencies=E)
    assert single.dtype == np.complex64
    np.testing.assert_allclose(single, out, atol=1e-5)


def test_the_bins_of_the_dft_take_the_fft():
    x = noise(LENGTH)
    F = dft(N)
    X = xi.stft(x, N, frequencies=F)
    assert np.array_equal(X, xi.stft(x, N))
    assert np.array_equal(xi.istft(X, n_fft=N, frequencies=F), xi.istft(X))


# ---- the inverse


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
def test_dual_is_the_least_squares_solution_where_the_padding_is_known(mode):
    """Of a spectrum that belongs to no signal, with density and other weights."""
    window = window_samples("hamming", N, N)
    t = xi.STFT(N, HOP, window="hamming", frequencies=FULL, pad_mode=mode)
    n_frames = t.n_frames(LENGTH)
    A = matrix(LENGTH, basis(FULL.hz, N), HOP, window, N // 2, n_frames, mode)
    X = (noise(14, n_frames, 2)).view(complex)[..., 0]
    for weights in (voronoi(FULL.hz, N), 1 + noise(14, seed=4) ** 2):
        root = np.tile(np.repeat(np.sqrt(weights), n_frames), 2)
        right = np.concatenate([X.real.ravel(), X.imag.ravel()])
        due = np.linalg.lstsq(A * root[:, None], right * root, rcond=None)[0]
        known = "density" if np.allclose(weights, voronoi(FULL.hz, N)) else weights
        y = replace(t, solver=xi.Dual(known, tol=1e-11)).istft(X, length=LENGTH)
        assert np.abs(y - due).max() < 1e-4 * np.abs(due).max()  # brute-force weights are good to 1e-5


def test_dual_on_the_padded_axis_needs_no_padding_mode():
    x = noise(LENGTH)
    for mode in ("constant", "reflect", "wrap"):
        X = xi.stft(x, N, hop_length=HOP, frequencies=FULL, pad_mode=mode)
        y = xi.istft(X, n_fft=N, hop_length=HOP, frequencies=FULL, length=LENGTH, solver=xi.Dual(tol=1e-12))
        assert np.abs(x - y).max() < 1e-9


@pytest.mark.parametrize("damping", ["band", 0.01])
def test_the_regulariser_is_the_one_written_down(damping):
    """(A' C A + D^1/2 G D^1/2) x = A' C X on the padded axis, all matrices built from the definition."""
    n_frames, window = 12, window_samples("hann", N, N)
    span = N + HOP * (n_frames - 1)
    A = matrix(span, basis(BAND.hz, N), HOP, window, 0, n_frames)
    C = np.tile(np.repeat(BAND.density(N), n_frames), 2)
    X = noise(7, n_frames, 2).view(complex)[..., 0]
    t = xi.STFT(N, HOP, frequencies=BAND, center=False, nola="zero", solver=xi.Dual(regularization=damping, tol=1e-12))
    frames = Frames(N, HOP, n_frames, 0, span)
    size = normal_equations.Setup(t, BAND, t.solver, frames, None, "float64").fast_length
    omega = 2 * np.pi * np.arange(size) / size
    atoms = np.exp(-1j * np.outer(omega, np.arange(N))) @ (window * basis(BAND.hz, N).conj()).T
    power = np.abs(atoms) ** 2 @ BAND.density(N)
    symbol = (power + np.roll(power[::-1], 1)) / 2 / HOP
    strength = 0.1 if damping == "band" else damping
    G = strength * symbol.max() * np.maximum(0, 1 - symbol / (0.1 * symbol.max())) ** 2
    filtered = circulant(np.fft.ifft(G).real)[:span, :span]
    D = np.zeros(span)
    for m in range(n_frames):
        D[m * HOP : m * HOP + N] += window**2
    known = 1e-8 * D.max() < D
    D = np.where(known, D, 0) / ((window**2).sum() / HOP)
    S = A.T @ (C[:, None] * A) + np.sqrt(D)[:, None] * filtered * np.sqrt(D)
    right = A.T @ (C * np.concatenate([X.real.ravel(), X.imag.ravel()]))
    due = np.zeros(span)
    due[known] = np.linalg.solve(S[np.ix_(known, known)], right[known])
    np.testing.assert_allclose(t.istft(X), due, atol=1e-7 * np.abs(due).max())


@pytest.mark.parametrize("n_fft", [64, 63])
@pytest.mark.parametrize("regularization", ["band", 0, 0.1])
def test_the_dft_through_the_solver_is_the_closed_form_in_one_iteration(n_fft, regularization):
    t = xi.STFT(n_fft, 16, solver=xi.Dual(regularization=regularization))
    X = t.stft(noise(2, 700)) + 0.1 * noise(2, n_fft // 2 + 1, 44)
    X[:, 0] = X[:, 0].real
    if n_fft % 2 == 0:
        X[:, -1] = X[:, -1].real
    found, due = t.solve(X), xi.istft(X, n_fft=n_fft, hop_length=16)
    assert found.iterations.tolist() == [1, 1]
    assert np.abs(found.signal - due).max() < 1e-13 * np.abs(due).max()
    np.testing.assert_array_equal(t.istft(X), due)


def test_other_weights_are_solved_for_the_dft_too():
    """Of a spectrum that belongs to no signal the solution is another one than the closed form."""
    X = noise(N // 2 + 1, 13, 2).view(complex)[..., 0]
    X[[0, -1]] = X[[0, -1]].real
    solvers = xi.Dual(tol=1e-12), xi.Dual("uniform", tol=1e-12), xi.Dual(dft(N).density(N), tol=1e-12)
    closed, uniform, given = (xi.istft(X, n_fft=N, hop_length=HOP, solver=each) for each in solvers)
    assert np.abs(uniform - closed).max() > 1e-2 * np.abs(closed).max()
    np.testing.assert_allclose(given, closed, atol=1e-10)
    np.testing.assert_allclose(uniform, xi.STFT(N, HOP, solver=solvers[1]).solve(X).signal)


def test_adjoint_is_one_pass():
    X = noise(14, 13, 2).view(complex)[..., 0]
    w = window_samples("hann", N, N)
    span = N + HOP * 12
    total, overlap = np.zeros(span), np.zeros(span)
    for m in range(13):
        at = slice(m * HOP, m * HOP + N)
        total[at] += w * np.real(basis(FULL.hz, N).conj().T @ (FULL.density(N) * X[:, m]))
        overlap[at] += w**2
    due = (total / np.where(overlap > 0, overlap, 1))[N // 2 : -N // 2]
    y = xi.istft(X, n_fft=N, hop_length=HOP, frequencies=FULL, solver=xi.Adjoint())
    np.testing.assert_allclose(y, due, atol=1e-12)


@pytest.mark.parametrize("solver", [xi.Adjoint(), xi.PerFrame()])
def test_one_pass_is_exact_for_the_dft(solver):
    X = xi.stft(noise(2, LENGTH), N, hop_length=HOP) + 0.1 * noise(2, N // 2 + 1, 13)
    due = xi.istft(X, hop_length=HOP)
    np.testing.assert_allclose(xi.STFT(N, HOP, solver=solver).istft(X), due, atol=1e-13)


def test_per_frame_inverts_dense_bins_and_refuses_others():
    F, x = xi.linear_frequencies(20, 0, 4000, SR), noise(LENGTH)
    t = xi.STFT(N, HOP, frequencies=F, solver=xi.PerFrame())
    for each in (t, replace(t, frequencies=F.basis(N)), replace(t, solver=xi.PerFrame(1 + noise(20) ** 2))):
        assert np.abs(x - each.istft(each.stft(x), length=LENGTH)).max() < 1e-11
    sparse = replace(t, frequencies=BAND)
    with pytest.raises(ValueError, match=r"frequencies: need bins .* condition number <= 1e\+06 .*, got"):
        sparse.istft(sparse.stft(x))


def test_any_basis_is_inverted():
    """Trained kernels: the DFT disturbed, and no DFT at all."""
    x = noise(2, 100)
    F = FULL.basis(N)
    for E in (F + 0.3 * noise(14, N, seed=1) + 0.3j * noise(14, N, seed=2), noise(20, N, seed=3) + 0j):
        t = xi.STFT(N, HOP, frequencies=E, pad_mode=None, solver=xi.Dual(tol=1e-12))
        found = t.solve(t.stft(x), length=100)
        assert found.converged.all()
        assert np.abs(x - found.signal).max() < 1e-8
        assert np.isnan(found.redundancy)
        np.testing.assert_array_equal(xi.istft(t.stft(x), hop_length=HOP, frequencies=E, length=100,
                                               solver=t.solver), found.signal)  # fmt: skip
    t = xi.STFT(N, frequencies=F, solver=xi.Dual(FULL.density(N), tol=1e-12))
    due = xi.istft(t.stft(x), n_fft=N, frequencies=FULL, solver=xi.Dual(tol=1e-12))
    np.testing.assert_allclose(t.istft(t.stft(x)), due)


def test_a_basis_is_a_value():
    """Its samples are copied: what is done to the array afterwards changes nothing."""
    E = noise(5, N, seed=1) + 1j * noise(5, N, seed=2)
    t, x = xi.STFT(N, frequencies=E), noise(LENGTH)
    twin, X = xi.STFT(N, frequencies=E.copy()), t.stft(x)
    assert t == twin
    assert hash(t) == hash(twin)
    E *= 2
    np.testing.assert_array_equal(t.stft(x), X)
    assert xi.STFT(N, frequencies=E) != t


@pytest.mark.parametrize("solver", [xi.Dual(), xi.Adjoint()])
def test_every_library_gives_the_same_signal(xp, solver):
    x = noise(2, 1, LENGTH)
    X = xi.stft(x, N, hop_length=HOP, frequencies=BAND)
    options = dict(n_fft=N, hop_length=HOP, frequencies=BAND, solver=solver, length=LENGTH)
    before = X.copy()
    inverse = partial(xi.istft, **options)
    if xp.name == "jax" and solver == xi.Dual():  # compiled as one; else each operation by itself
        inverse = importlib.import_module("jax").jit(inverse)
    y = inverse(xp.asarray(X))
    assert xp.owns(y)
    assert np.array_equal(X, before)
    np.testing.assert_allclose(xp.to_numpy(y), xi.istft(X, **options), atol=1e-6)
    if xp.name != "jax":
        assert xi.istft(xp.asarray(X.astype(np.complex64)), **options).dtype == xp.asarray(np.float32([0])).dtype


def test_a_basis_may_be_of_any_library_that_has_its_values(xp):
    if xp.name == "dask":
        pytest.skip("its values are not computed yet")
    t = xi.STFT(N, frequencies=xp.asarray(FULL.basis(N)), solver=xi.PerFrame())
    x = noise(LENGTH)
    assert t == xi.STFT(N, frequencies=FULL.basis(N), solver=xi.PerFrame())
    assert np.abs(t.istft(t.stft(x), length=LENGTH) - x).max() < 1e-6


@pytest.mark.parametrize("pad_mode", [None, "reflect"])
def test_a_batch_has_the_bits_of_its_signals(pad_mode):
    t = xi.STFT(32, frequencies=BAND, pad_mode=pad_mode)
    X = t.stft(noise(3, 2, 300)) * (10.0 ** np.arange(6).reshape(3, 2, 1, 1))
    X[1, 0] += noise(*X.shape[2:])  # takes another number of iterations
    X[0, 1] = 0
    X[2, 1, 0, 0] = np.nan
    y = t.istft(X, length=300)
    for index in np.ndindex(3, 2):
        np.testing.assert_array_equal(y[index], t.istft(X[index], length=300))
    assert not y[0, 1].any()
    assert np.isnan(y[2, 1]).any()
    assert np.isfinite(y[:2]).all()


def test_many_blocks_are_one(cut):
    X = xi.stft(noise(2000), 32, frequencies=BAND)
    whole = xi.istft(X, n_fft=32, frequencies=BAND)
    cut(equation_bytes=1)
    normal_equations._blocks.cache_clear()
    np.testing.assert_array_equal(xi.istft(X, n_fft=32, frequencies=BAND), whole)
    normal_equations._blocks.cache_clear()


@pytest.mark.parametrize(
    "options",
    [
        dict(win_length=50, hop_length=11),
        dict(padding="same"),
        dict(padding="full", window="blackman"),
        dict(padding=(5, 70)),
        dict(hop_length=16, window=100 * np.hanning(64), scaling="psd"),
        dict(window=1e-25 * np.hamming(64)),
    ],
    ids=["short", "same", "full", "pair", "scaled", "tiny"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_placement_window_and_scale(options, dtype):
    F, x = xi.linear_frequencies(60, 0, 4000, SR), noise(2, 700).astype(dtype)
    t = xi.STFT(64, frequencies=F, pad_mode=None, solver=xi.Dual(tol=1e-6 if dtype == "float32" else 1e-11), **options)
    y = t.istft(t.stft(x), length=700)
    assert y.dtype == dtype
    assert snr(x, y) > (80 if dtype == "float32" else 150)


# ---- what it promises


def limited(x, lo, hi, sr):
    y = np.pad(x, 1000, mode="reflect")
    f = np.fft.rfftfreq(2 * y.size, 1 / sr)
    flanks = np.interp(f, [lo, lo + 100], [float(lo <= 0), 1]) * np.interp(f, [hi - 100, hi], [1, float(hi >= sr / 2)])
    return np.fft.irfft(np.fft.rfft(y, 2 * y.size) * np.sin(np.pi / 2 * flanks) ** 2)[1000 : 1000 + x.size]


BANDS = [(xi.linear_frequencies, 257, 50.0, 6000.0), (xi.log_frequencies, 512, 200.0, 6000.0)]


@pytest.mark.parametrize(("make", "n", "lo", "hi"), BANDS)
def test_signals_within_the_band_come_back(make, n, lo, hi):
    """n_fft 512 and 22050 Hz: bins as dense, in bins of the DFT, as the 1025 and 2048 of a frame of 2048."""
    F = make(n, lo, hi, 22050)
    x = limited(noise(6000), F.hz[0] + 100, F.hz[-1] - 100, 22050)
    t = xi.STFT(512, frequencies=F, pad_mode="reflect", solver=xi.Dual(tol=1e-7))
    X = t.stft(x)
    inside = dict(lo=F.hz[0] + 100, hi=F.hz[-1] - 100, sr=22050)
    y = t.istft(X)
    z = x[: y.size]
    assert snr(z, y) > 90
    assert snr(limited(z, **inside), limited(y, **inside)) > 110
    assert snr(z, xi.istft(X.astype(np.complex64), n_fft=512, frequencies=F)) > 80
    assert snr(x, t.istft(X, length=6000)) > 90


@pytest.mark.parametrize(("make", "n", "lo", "hi"), BANDS)
def test_noise_is_not_amplified_at_any_number_of_iterations(make, n, lo, hi):
    F = make(n, lo, hi, 22050)
    x = limited(noise(6000), F.hz[0] + 100, F.hz[-1] - 100, 22050)
    X = xi.stft(x, 512, frequencies=F, pad_mode="reflect")
    X = X + 0.1 * np.sqrt((np.abs(X) ** 2).mean() / 2) * noise(*X.shape, 2, seed=5).view(complex)[..., 0]
    for maxiter in (1, 3, 10, 60):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xi.ConvergenceWarning)
            y = xi.istft(X, n_fft=512, frequencies=F, solver=xi.Dual(tol=1e-13, maxiter=maxiter))
        assert snr(x[: y.size], y) > 20


@pytest.mark.parametrize("hop", [64, 128])
@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", ("kaiser", 8.0)])
def test_full_coverage_is_exact(hop, window):
    F, x = xi.linear_frequencies(257, 0, 11025, 22050), noise(4000)
    t = xi.STFT(512, hop, window=window, frequencies=F)
    X = t.stft(x)
    found = replace(t, solver=xi.Dual(tol=1e-9, maxiter=12)).solve(X, length=4000)
    assert found.converged
    assert snr(x, found.signal) > 140
    assert snr(x, t.istft(X.astype(np.complex64), length=4000)) > 95


def test_the_solution_says_how_it_came_about():
    F = xi.log_frequencies(300, 100, 2000, SR)
    x = noise(3, 2000)
    t = xi.STFT(256, frequencies=F)
    X = t.stft(x)
    found = t.solve(X)
    assert isinstance(found, xi.Solution)
    assert found.iterations.shape == found.converged.shape == found.data_residual.shape == (3,)
    assert found.converged.all()
    assert (found.normal_residual <= 1e-6).all()
    assert found.ritz.shape == (3, 2)
    assert (found.ritz[:, 0] > 0).all()
    assert (found.ritz[:, 0] <= 1.05).all()
    ((lo, hi),) = found.bands
    assert 60 < lo < 130
    assert 1900 < hi < 2040
    assert found.redundancy == pytest.approx(F.redundancy(64))
    np.testing.assert_array_equal(found.signal, t.istft(X))
    assert (t.solve(X + 2 * noise(*X.shape)).data_residual > 0.1).all()


def test_the_solution_of_zeros_takes_no_iteration():
    found = xi.STFT(N, frequencies=FULL).solve(np.zeros((2, 14, 5), complex))
    assert not found.signal.any()
    assert found.iterations.tolist() == [0, 0]
    assert found.converged.all()
    assert np.isnan(found.ritz).all()


# ---- what is warned of, and refused


def test_bins_too_far_apart_are_warned_of_with_what_would_do():
    F = xi.linear_frequencies(20, 0, 4000, SR)  # 200 Hz apart: one number a frame each for 40 samples
    X = xi.stft(noise(500), 128, hop_length=64, frequencies=F)  # to look at, not to invert
    text = r"istft: .* 200 Hz apart hold 0.62 numbers .* hop_length <= 40 or about 32 bins"
    with pytest.warns(xi.RedundancyWarning, match=text) as caught:
        xi.istft(X, n_fft=128, hop_length=64, frequencies=F, solver=xi.Adjoint())
    assert caught[0].filename == __file__


def test_iterations_that_do_not_suffice_are_warned_of():
    X = xi.stft(noise(500), 128, hop_length=16, frequencies=BAND)
    few = xi.Dual(maxiter=2, tol=1e-10)
    t = xi.STFT(128, 16, frequencies=BAND, solver=few)
    calls = [lambda: xi.istft(X, n_fft=128, hop_length=16, frequencies=BAND, solver=few), lambda: t.solve(X)]
    for call in calls:
        with pytest.warns(xi.ConvergenceWarning, match="above tol after 2 iterations") as caught:
            call()
        assert caught[0].filename == __file__


def test_ends_under_too_little_weight_are_zero_and_warned_of():
    t = xi.STFT(N, HOP, frequencies=FULL, center=False, solver=xi.Dual(tol=1e-11))
    X = t.stft(noise(LENGTH))
    for inverse in (t.istft, lambda X: t.solve(X).signal):
        with pytest.warns(xi.CoverageWarning, match=r"samples \[0, 1\)"):
            y = inverse(X)
        assert y[0] == 0
    with pytest.raises(xi.NOLAError):
        replace(t, nola="raise").istft(X)
    quiet = replace(t, nola="zero", max_gain=1.5).istft(X)
    assert np.abs(quiet[1]) < np.abs(y[1])
    assert np.abs(quiet[20:30] - y[20:30]).max() < 1e-9
    with pytest.raises(xi.NOLAError):
        xi.istft(X, n_fft=N, hop_length=2 * N, frequencies=FULL)


def test_what_counts_as_determined_is_the_solvers_where_it_solves():
    """Sample 0 has 6e-6 of the largest overlap: above the 1e-8 of float64, below the 1e-4 of float32."""
    window = np.hanning(N + 2)[1:-1]
    window[0] = 3e-3
    X = xi.stft(noise(LENGTH), N, hop_length=HOP, window=window, frequencies=FULL, center=False)
    options = dict(n_fft=N, hop_length=HOP, window=window, frequencies=FULL, center=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", xi.CoverageWarning)
        warnings.simplefilter("ignore", xi.ConvergenceWarning)
        xi.istft(X, **options)
        xi.istft(X.astype(np.complex64), solver=xi.Adjoint(), **options)
    with pytest.warns(xi.CoverageWarning, match=r"samples \[0, 1\)"):
        y = xi.istft(X.astype(np.complex64), **options)
    assert y[0] == 0


def test_one_frame_is_enough():
    x = noise(N)
    X = xi.stft(x, N, frequencies=FULL, center=False, window="boxcar")
    assert X.shape == (14, 1)
    y = xi.istft(X, n_fft=N, frequencies=FULL, center=False, window="boxcar", solver=xi.Dual(tol=1e-12))
    assert snr(x, y) > 150
    with pytest.raises(ValueError, match="X: need at least 1 frame"):
        xi.istft(X[:, :0], n_fft=N, frequencies=FULL)


def test_out_takes_a_batch():
    X = xi.stft(noise(3, LENGTH), N, frequencies=FULL)
    exact = xi.istft(X, n_fft=N, frequencies=FULL)
    out = np.empty_like(exact)
    assert xi.istft(X, n_fft=N, frequencies=FULL, out=out) is out
    np.testing.assert_array_equal(out, exact)
    with pytest.raises(ValueError, match=r"out: need shape \(3, 48\)"):
        xi.istft(X, n_fft=N, frequencies=FULL, out=out[:2])


def spectrum(n_bins=14):
    return xi.stft(noise(LENGTH), N, frequencies=FULL)[:n_bins]


def transform(**given):
    return xi.STFT(N, **{"frequencies": FULL, **given})


REFUSED = {  # beyond the rows of hostile.py
    "no sampling rate": (lambda: transform(frequencies=np.arange(14.0)), TypeError, r"STFT: frequencies: .*Frequencies\(hz"),
    "no n_fft": (lambda: xi.istft(spectrum(), frequencies=FULL), TypeError, "istft: n_fft: need an integer, with frequencies="),
    "other bins": (lambda: transform(frequencies=BAND).istft(spectrum()), ValueError, "X: need 7 bins as in freq.*, got 14$"),
    "bins and frames": (lambda: transform().istft(np.ones((3, 14), complex)), ValueError, "the last two axes swapped"),
    "weights size": (
        lambda: xi.istft(spectrum(), n_fft=N, frequencies=FULL, solver=xi.Dual(np.ones(3))), ValueError, "istft: solver: need 14 weights"
    ),
    "solve": (lambda: transform(solver=xi.Adjoint()).solve(spectrum()), ValueError, "solve: solver: need Dual.*, got Adjoint"),
    "callback": (lambda: transform().solve(spectrum(), callback=3), TypeError, "solve: callback: need a function"),
    "equal": (lambda: xi.Frequencies([1, 1], 8), ValueError, "hz: need increasing frequencies, got 1 after 1 at index 1"),
    "above sr / 2": (lambda: xi.Frequencies([1, 5], 8), ValueError, "hz: need from 0 to sr / 2 = 4 Hz, got 5 at index 1"),
    "NaN": (lambda: xi.Frequencies([np.nan], 8), ValueError, "got nan at index 0"),
    "none": (lambda: xi.Frequencies([], 8), ValueError, "hz: need at least 1 frequency"),
    "a text": (lambda: xi.Frequencies("a", 8), TypeError, "hz: need numbers"),
    "sr": (lambda: xi.Frequencies([1], 0), ValueError, "sr: need > 0, got 0"),
    "fmin": (lambda: xi.log_frequencies(9, 0, 100, 8000), ValueError, "log_frequencies: fmin: need > 0, got 0"),
    "fmax": (lambda: xi.linear_frequencies(9, 50, 50, 8000), ValueError, "fmax: need > fmin=50, got 50"),
    "fmax above": (lambda: xi.linear_frequencies(9, 50, 9000, 8000), ValueError, "fmax: need frequencies up to sr / 2 = 4000 Hz"),
    "n": (lambda: xi.linear_frequencies(0, 50, 90, 8000), ValueError, "n: need >= 1, got 0"),
    "freq_bins": (lambda: xi.iSTFT(freq_scale="log", freq_bins=0), ValueError, "iSTFT: freq_bins: need >= 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_by_name(case):
    make, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text):
        make()


def test_nothing_is_solved_before_it_is_computed():
    da = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="solve: X: need an array whose values are at hand, got .* not computed yet"):
        transform().solve(da.from_array(spectrum()))
    with pytest.raises(TypeError, match="frequencies: need a basis whose values are at hand, got Array"):
        transform(frequencies=da.from_array(FULL.basis(N)))


# ---- the solvers are values


@pytest.mark.parametrize("make", [xi.Dual, xi.PerFrame, xi.Adjoint])
def test_solvers_are_compared_by_content(make):
    weights = 1 + noise(14) ** 2
    solver = make(weights)
    weights[0] = 0
    assert solver.weights[0] > 0
    for twin in (make(solver.weights.copy()), make(list(solver.weights)), pickle.loads(pickle.dumps(solver))):
        assert twin == solver
        assert hash(twin) == hash(solver)
    with pytest.raises(ValueError, match="read-only"):
        solver.weights[0] = 1
    with pytest.raises(AttributeError):
        solver.weights = "density"
    kinds = [xi.Dual(), xi.PerFrame(), xi.Adjoint(), make("uniform"), make(weights), solver]
    assert len(set(kinds)) == len(kinds)
    assert solver != "density"
    assert transform(solver=solver) == transform(solver=make(solver.weights))
    assert transform(solver=solver) != transform(solver=make())


def test_what_a_dual_is_told_decides_its_value():
    assert xi.Dual() == xi.Dual("density", "band", None, 100)
    assert xi.Dual(tol=1, regularization=0) == xi.Dual(tol=np.float32(1.0), regularization=0.0)
    others = [dict(weights="uniform"), dict(regularization=0.1), dict(tol=1e-3), dict(maxiter=7)]
    assert len({xi.Dual(**each) for each in others} | {xi.Dual()}) == 5
    assert repr(xi.Dual(tol=1e-9)) == "Dual(weights='density', regularization='band', tol=1e-09, maxiter=100)"


# ---- a transform


def test_a_transform_uses_what_it_knows():
    F, x = xi.linear_frequencies(200, 20, 4000, SR), noise(2, 900)
    t = xi.STFT(128, frequencies=F, pad_mode="reflect", solver=xi.Dual(tol=1e-10))
    assert np.array_equal(t.bin_frequencies(), F.hz)
    assert snr(x, t.istft(t.stft(x), length=900)) > 150
    assert snr(x[:, :896], t.istft(t.stft(x))) > 150
    due = xi.istft(t.stft(x), n_fft=128, frequencies=F, solver=t.solver)
    np.testing.assert_array_equal(t.istft(t.stft(x)), due)  # without length= nothing is known
    np.testing.assert_array_equal(replace(t, pad_mode=None).istft(t.stft(x), length=900)[:, :896], due)


@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
def test_nnaudios_class_inverts_its_scales(scale, capsys):
    make = xi.linear_frequencies if scale == "linear" else xi.log_frequencies
    x = limited(noise(2000), 200, 3500, SR)
    X = xi.stft(x, 256, frequencies=make(300, 100, 3900, SR), pad_mode="reflect")
    inverse = xi.iSTFT(256, freq_bins=300, freq_scale=scale, fmin=100, fmax=3900, sr=SR, verbose=True)
    assert "300 from 100 to" in capsys.readouterr().out
    for onesided in (None, True, False):
        assert snr(x[:-100], inverse(X, onesided, 2000)[:-100]) > 90


def test_a_part_of_the_dft_is_inverted_as_far_as_it_goes():
    x = limited(noise(2000), 0, 1500, SR)
    X = xi.stft(x, 256, pad_mode="reflect")[:64]
    assert snr(x[:-100], xi.iSTFT(256, freq_bins=64, sr=SR)(X, length=2000)[:-100]) > 90
    two = xi.stft(x, 256, onesided=False)
    assert snr(x, xi.iSTFT(256, freq_bins=256)(two, length=2000)) > 250


def test_a_callback_sees_every_iteration():
    t = xi.STFT(256, frequencies=xi.log_frequencies(200, 50, 4000, SR))
    X = t.stft(noise(2, 3000))
    seen = []
    found = t.solve(X, callback=lambda iteration, residual: seen.append((iteration, residual)))
    assert [iteration for iteration, _ in seen] == list(range(1, int(found.iterations.max()) + 1))
    assert seen[-1][1] == pytest.approx(found.normal_residual.max())
    np.testing.assert_array_equal(found.signal, t.istft(X))


# ---- what is asked for is done: damping, odd frames


def test_a_number_damps_where_the_bins_see_every_frequency_too():
    """Uniform weights see the top of a log scale by less than 0.1 of the best: "band" leaves it, a number does not."""
    x = noise(2000, seed=30)
    bins = xi.Frequencies(np.concatenate([[0.0], xi.log_frequencies(200, 50, 4000, SR).hz]), SR)
    X = xi.stft(x, 64, hop_length=16, frequencies=bins)
    options = {"n_fft": 64, "hop_length": 16, "frequencies": bins, "length": 2000}
    exact, plain, damped = (
        xi.istft(X, **options, solver=xi.Dual("uniform", each, maxiter=300)) for each in ("band", 0, 0.1)
    )
    np.testing.assert_array_equal(exact, plain)
    assert snr(x, exact) > 100
    assert snr(x, damped) < 20
    assert (damped**2).sum() < (exact**2).sum()


@pytest.mark.parametrize("n_fft", [63, 64])
def test_odd_frames_are_the_sum_and_have_an_adjoint(n_fft):
    F, hop, n_frames = xi.log_frequencies(40, 60, 4000, SR), 16, 9
    span = n_fft + hop * (n_frames - 1)
    x, E, w = noise(span, seed=32), basis(F.hz, n_fft), window_samples("hann", n_fft, n_fft)
    t = xi.STFT(n_fft, hop, frequencies=F, center=False, nola="zero", solver=xi.Adjoint())
    X = t.stft(x)
    np.testing.assert_allclose(X, forward(x, E, hop, w, 0, n_frames), atol=1e-11)
    Y = noise(40, n_frames, 2, seed=33).view(complex)[..., 0]
    y = t.istft(Y)
    overlap = np.zeros(span)
    for m in range(n_frames):
        overlap[m * hop : m * hop + n_fft] += w**2
    left = np.real(np.vdot(X, F.density(n_fft)[:, None] * Y))
    np.testing.assert_allclose(left, x @ (overlap * y), rtol=1e-11)


def test_the_matrix_of_per_frame_is_made_once_for_any_number_of_frames():
    t = xi.STFT(
        16, 4, frequencies=xi.linear_frequencies(20, 0, 4000, sr=8000), solver=xi.PerFrame(), pad_mode="reflect"
    )
    x = np.random.default_rng(0).standard_normal(60)
    normal_equations.frame_inverse.cache_clear()
    for length in (40, 50, 60):
        np.testing.assert_allclose(t.istft(t.stft(x[:length]), length=length), x[:length], atol=1e-9)
    assert normal_equations.frame_inverse.cache_info().misses == 1
