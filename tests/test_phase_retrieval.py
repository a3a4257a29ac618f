"""Phase retrieval: the algorithms of the papers, librosa's, any library, any geometry; PGHI; projections."""

import definition
import numpy as np
import pytest
import scipy.sparse.csgraph
from scipy.signal import get_window

import xp_istft as xi
from xp_istft.backends.cpu.retrieval import IN_PLACE
from xp_istft.cli.speech import sentence
from xp_istft.phase.algorithms import NAMED
from xp_istft.phase.integration import equivalent_gaussian

ALGORITHMS = tuple(NAMED)


def chirp(n_samples=4000, seed=0):
    t = np.arange(n_samples)
    return np.sin(t**1.5 / 300) + 0.05 * np.random.default_rng(seed).standard_normal(n_samples)


def decibels(S, y, transform):
    return 20 * np.log10(float(xi.spectral_convergence(S, transform.stft(y))))


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
        half = by_the_papers(S, start, "admm", first, hop)[1]
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
    options = {"n_iter": n_iter, "algorithm": algorithm, "init": xp.asarray(start)}
    y = xi.griffin_lim(xp.asarray(S), xi.STFT(32, 8), **options)
    assert xp.owns(y)
    atol = 1e-4 if xp.name == "mlx" else 1e-9
    np.testing.assert_allclose(xp.to_numpy(y), by_the_papers(S, start, algorithm, n_iter, 8)[0], atol=atol)


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
        ours = xi.griffin_lim(S, xi.STFT(n_fft, hop), algorithm="fgla", init=phase, length=length)
        assert ours.dtype == dtype
        assert np.linalg.norm(ours - theirs) < (1e-4 if dtype == "float32" else 1e-9) * np.linalg.norm(theirs)
        random = {"random_state": np.random.default_rng(0)}
        theirs = librosa.griffinlim(S, n_iter=32, hop_length=hop, n_fft=n_fft, dtype=None, length=9000, **random)


# ---- laws of the call


GEOMETRIES = [
    {"n_fft": 64, "hop_length": 16},
    {"n_fft": 63, "hop_length": 20},
    {"n_fft": 64, "win_length": 50, "hop_length": 13, "window": "hamming", "scaling": "ortho"},
    {"n_fft": 64, "hop_length": 24, "padding": "same"},
    {"n_fft": 64, "hop_length": 16, "center": False, "window": "hamming"},
    {"n_fft": 64, "hop_length": 16, "pad_mode": "reflect"},
    {"n_fft": 64, "hop_length": 4, "padding": (60, 50), "window": ("kaiser", 9)},
]


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
@pytest.mark.parametrize("algorithm", ["hybrid", "admm"])
def test_numpys_blocks_are_the_definition(cut, options, algorithm):
    """The same in blocks of a few frames, on threads, as on whole arrays of a library without a faster way."""
    array_api_strict = pytest.importorskip("array_api_strict")
    cut(threaded_seconds=0, block_bytes=1 << 13)
    t = xi.STFT(**options)
    S = np.abs(t.stft(np.stack([chirp(1500), chirp(1500, 1)])))
    seen = {"numpy": [], "strict": []}

    def call(name, S, **more):
        callback = lambda iteration, convergence: seen[name].append((iteration, convergence))  # noqa: E731
        return xi.griffin_lim(S, t, n_iter=5, algorithm=algorithm, init="random", rng=3, callback=callback, **more)

    ours = call("numpy", S, workers=3)
    strict = call("strict", array_api_strict.asarray(S))
    np.testing.assert_allclose(ours, np.asarray(strict), atol=1e-8)
    np.testing.assert_allclose(seen["numpy"], seen["strict"], rtol=1e-9)
    assert [iteration for iteration, _ in seen["numpy"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_items_workers_scale_and_axes_change_no_bit(cut, dtype):
    cut(threaded_seconds=0)
    x = np.random.default_rng(0).standard_normal((2, 3, 6000)).astype(dtype)
    S = np.abs(xi.stft(x, 256))
    kept = S.copy()
    y = xi.griffin_lim(S, n_iter=6, workers=3, length=6000)
    assert (y.shape, y.dtype) == ((2, 3, 6000), np.dtype(dtype))
    np.testing.assert_array_equal(y, xi.griffin_lim(S, n_iter=6, workers=1, length=6000))
    zero = xi.griffin_lim(S, n_iter=6, init="zero", length=6000)
    np.testing.assert_array_equal(4 * zero, xi.griffin_lim(4 * S, n_iter=6, init="zero", length=6000))
    turned = np.ascontiguousarray(np.moveaxis(S, -1, 0))
    np.testing.assert_array_equal(y, xi.griffin_lim(turned, n_iter=6, length=6000, axes=(-1, 0)))
    np.testing.assert_array_equal(y[1, 2], xi.griffin_lim(S[1, 2], n_iter=6, length=6000))
    np.testing.assert_array_equal(S, kept)


def test_items_of_very_different_loudness_are_each_retrieved():
    x = chirp(4000).astype(np.float32)
    S = np.abs(xi.stft(np.stack([x, 1e-18 * x, 1e18 * x, 0 * x]), 256))
    y = xi.griffin_lim(S, length=4000)
    for item in range(3):
        assert decibels(S[item].astype(float), y[item].astype(float), xi.STFT(256)) < -20
    assert not y[3].any()


def test_every_library(xp):
    S = np.abs(xi.stft(np.stack([chirp(1200), chirp(1200, 1)]), 128)).astype(np.float32)
    there = xp.asarray(S)
    y = xi.griffin_lim(there, n_iter=4, length=1200)
    assert xp.owns(y)
    assert tuple(y.shape) == (2, 1200)
    np.testing.assert_allclose(xp.to_numpy(y), xi.griffin_lim(S, n_iter=4, length=1200), atol=1e-3)
    X = xi.pghi(there)
    assert xp.owns(X)
    np.testing.assert_allclose(xp.to_numpy(X), xi.pghi(S), atol=1e-5 * S.max())
    np.testing.assert_allclose(xp.to_numpy(xi.inconsistency(X)), xi.inconsistency(xi.pghi(S)), rtol=1e-3)
    np.testing.assert_allclose(xp.to_numpy(xi.project(X)), xi.project(xi.pghi(S)), atol=1e-5 * S.max())
    np.testing.assert_allclose(xp.to_numpy(xi.spectral_convergence(there, 1.5 * X)), 0.5, rtol=1e-5)


# ---- the start


def test_starts():
    x = chirp(3000)
    X = xi.stft(x, 128)
    S = np.abs(X)
    for init in (x, X, np.angle(X), 3 * X):
        np.testing.assert_allclose(xi.griffin_lim(S, n_iter=0, init=init, length=3000), x, atol=1e-12)
    np.testing.assert_allclose(xi.griffin_lim(S, n_iter=0, init="zero"), xi.istft(S + 0j), atol=1e-12)
    np.testing.assert_allclose(xi.griffin_lim(S, n_iter=0), xi.istft(xi.pghi(S)), atol=1e-12)
    flipped = xi.griffin_lim(S.T, n_iter=0, init=X.T, length=3000, axes=(-1, -2))
    np.testing.assert_allclose(flipped, x, atol=1e-12)
    first, second, other = (xi.griffin_lim(S, n_iter=1, init="random", rng=seed) for seed in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()
    drawn = xi.griffin_lim(S, n_iter=1, init="random", rng=np.random.default_rng(1))
    assert (first == drawn).all()


def test_an_exact_start_stays():
    x = chirp(3000)
    S = np.abs(xi.stft(x, 128))
    for algorithm in ALGORITHMS:
        y = xi.griffin_lim(S, init=x, length=3000, algorithm=algorithm)
        np.testing.assert_allclose(y, x, atol=1e-9)


def test_tol_ends_the_iterations_of_a_stage():
    S = np.abs(xi.stft(chirp(3000), 128))

    def convergences(**options):
        seen = []
        xi.griffin_lim(S, callback=lambda iteration, convergence: seen.append(convergence), **options)
        return np.array(seen)

    every = convergences(algorithm="gla", n_iter=200, init="zero")
    ended = convergences(algorithm="gla", n_iter=200, init="zero", tol=1e-3)
    due = int(np.flatnonzero(np.abs(np.diff(every)) <= 1e-3)[0]) + 2
    assert len(ended) == due < 200
    np.testing.assert_array_equal(ended, every[:due])
    assert len(convergences(n_iter=64, tol=1.0)) == 3  # two of the first half, one of the second
    assert (np.diff(every) < 1e-12).all()  # Griffin & Lim: it never goes up
    S *= 0
    assert convergences(n_iter=2).tolist() == [0, 0]


# ---- PGHI


def test_pghi_is_exact_for_a_gaussian_window():
    n_fft, hop = 512, 32
    x = chirp(8000, 1)
    t = xi.STFT(n_fft, hop, window=("gaussian", 64))
    S = np.abs(t.stft(x))
    assert decibels(S, t.istft(xi.pghi(S, t), length=8000), t) < -27


@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", ("kaiser", 8), "boxcar"])
def test_pghi_takes_any_window(window):
    t = xi.STFT(512, 64, window=window)
    S = np.abs(t.stft(chirp(8000, 1)))
    found, drawn = (xi.griffin_lim(S, t, n_iter=0, init=init, rng=0, length=8000) for init in ("pghi", "random"))
    gain = 4 if window == "boxcar" else 15
    assert decibels(S, found, t) < decibels(S, drawn, t) - gain


def test_the_equivalent_gaussian_of_a_gaussian_is_itself():
    middle, gamma = equivalent_gaussian(np.exp(-np.pi * (np.arange(512) - 200) ** 2 / 5000))
    assert (middle, gamma) == pytest.approx((200, 5000))


def with_silence(rng):
    """A band between two others that no path crosses, and holes."""
    S = np.exp(rng.standard_normal((17, 43)))
    S[9] = S[3, 10] = S[4, 8:20] = S[14, 39:] = 0
    return S


MAGNITUDES = {
    "random": lambda rng: np.exp(rng.standard_normal((17, 43))),
    "with silence": with_silence,
    "often equal": lambda rng: rng.integers(1, 4, (17, 43)).astype(float),
    "few frames": lambda rng: rng.random((33, 2)),
    "two bins": lambda rng: rng.random((2, 60)),
}


@pytest.mark.parametrize("kind", MAGNITUDES)
def test_the_path_of_integration_is_a_maximum_spanning_forest(cut, rng, kind):
    """The edges along which the phase rises by the mean of the slopes hold a forest as good as scipy's of all edges."""
    cut(grid_bins=1)
    S = MAGNITUDES[kind](rng)
    t = xi.STFT(2 * (S.shape[0] - 1), 1 if S.shape[0] == 2 else 4, window="boxcar")
    middle, gamma = equivalent_gaussian(t.samples())
    level = np.log(np.maximum(S, 1e-4 * S.max()))
    ratio = gamma / (t.hop_length * t.n_fft)
    along_bins = -2 * np.pi * middle / t.n_fft - ratio * np.gradient(level, axis=1)
    along_frames = 2 * np.pi * t.hop_length / t.n_fft * np.arange(len(S))[:, None] + np.gradient(level, axis=0) / ratio
    along_frames[0] = 0
    phase, index = np.angle(xi.pghi(S, t)), np.arange(S.size).reshape(S.shape)

    every, found = scipy.sparse.lil_array((S.size, S.size)), scipy.sparse.lil_array((S.size, S.size))
    for axis, slope in enumerate((along_bins, along_frames)):
        one, other = ((slice(None),) * axis + (ends,) for ends in (slice(None, -1), slice(1, None)))
        away = (phase[other] - phase[one] - (slope[one] + slope[other]) / 2) / (2 * np.pi)
        tight = np.abs(away - np.rint(away)) < 1e-9
        for i, j, weight, fits in zip(
            *(each.ravel() for each in (index[one], index[other], 100 - level[one] - level[other], tight)), strict=True
        ):
            if S.flat[i] and S.flat[j]:
                every[i, j] = weight
                found[i, j] = weight * fits
    best, ours = (scipy.sparse.csgraph.minimum_spanning_tree(graph.tocsr()) for graph in (every, found))
    assert ours.nnz == best.nnz > 0
    assert ours.sum() == pytest.approx(best.sum(), rel=1e-12)
    first, second = best.nonzero()
    if kind != "often equal":  # one phase is free in each tree: at the first end of the best edge it is 0
        assert phase.flat[first[np.argmin(best.tocsr()[first, second])]] == 0


def test_neither_threads_nor_blocks_change_a_bit_of_pghi(cut, rng):
    double = np.stack([with_silence(rng), np.exp(rng.standard_normal((17, 43)))])
    for S in (double, double.astype(np.float32)):
        due = xi.pghi(S)
        np.testing.assert_array_equal(due[1], xi.pghi(S[1]))
        for workers in (1, 2, 3):
            cut(threaded_seconds=0, grid_bins=17 * workers)
            with xi.workers(workers):
                np.testing.assert_array_equal(xi.pghi(S), due)
                np.testing.assert_array_equal(xi.pghi(S[:1]), due[:1])


def test_pghi_of_equal_silent_and_tiny_magnitudes():
    for S in (np.ones((33, 20)), np.zeros((33, 20)), np.ones((33, 1)), np.ones((2, 9)), np.zeros((0, 33, 5))):
        X = xi.pghi(S)
        np.testing.assert_allclose(np.abs(X), S, atol=1e-12)
    loud = np.abs(xi.stft(chirp(2000), 64))
    for options in ({}, {"tol": 0}):
        turned = np.angle(xi.pghi(1e-200 * loud, **options) / xi.pghi(loud, **options))
        np.testing.assert_allclose(turned, 0, atol=1e-9)


# ---- consistency


def test_project_is_an_orthogonal_projection(rng):
    t = xi.STFT(63, 20, window="hamming")
    X, Y = rng.standard_normal((2, 32, 15, 2)) @ [1, 1j]
    X[0], Y[0] = X[0].real, Y[0].real
    P, Q = xi.project(X, t), xi.project(Y, t)
    np.testing.assert_allclose(xi.project(P, t), P, atol=1e-12)
    weight = np.where(np.arange(32) == 0, 1, 2)[:, None]
    assert (weight * P.conj() * Y).sum().real == pytest.approx((weight * X.conj() * Q).sum().real)
    away = np.sqrt((weight * np.abs(X - P) ** 2).sum() / (weight * np.abs(X) ** 2).sum())
    assert float(xi.inconsistency(X, t)) == pytest.approx(away)
    np.testing.assert_allclose(xi.project(X.T, t, axes=(-1, -2)), P.T)
    assert float(xi.inconsistency(X.T, t, axes=(-1, -2))) == pytest.approx(away)
    assert float(xi.inconsistency(0 * X, t)) == 0


def test_spectral_convergence(rng):
    S, X = rng.random((2, 5, 6)), rng.standard_normal((2, 5, 6)) + 1j
    due = [np.linalg.norm(np.abs(X[i]) - S[i]) / np.linalg.norm(S[i]) for i in range(2)]
    np.testing.assert_allclose(xi.spectral_convergence(S, X), due)
    np.testing.assert_allclose(xi.spectral_convergence(S, np.abs(X)), due)
    np.testing.assert_allclose(xi.spectral_convergence(np.moveaxis(S, 0, 1), np.moveaxis(X, 0, 1), axes=(0, 2)), due)
    assert xi.spectral_convergence(0 * S[0], 0 * X[0]) == 0


# ---- what it is for


def test_the_default_goes_further_in_32_iterations_than_fgla_from_random_phases_in_100():
    x = sentence()
    gains = []
    for hop in (512, 256, 128):
        t = xi.STFT(1024, hop)
        S = np.abs(t.stft(x)).astype(np.float32)
        theirs = xi.griffin_lim(S, t, n_iter=100, algorithm="fgla", init="random", rng=0, length=x.size)
        ours = xi.griffin_lim(S, t, length=x.size)
        gains.append(decibels(S, theirs, t) - decibels(S, ours, t))
    assert min(gains) > 1
    assert np.mean(gains) > 4


def test_ends_without_padding_do_not_explode():
    x = chirp(6000)
    t = xi.STFT(512, center=False)
    S = np.abs(t.stft(x))
    with pytest.warns(xi.CoverageWarning):
        y = xi.griffin_lim(S, t)
    assert np.abs(y).max() < 2 * np.abs(x).max()
    assert decibels(S, y, t) < -30


# ---- gradients and tracing


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_gradients_of_torch(algorithm):
    torch = pytest.importorskip("torch")
    S = torch.asarray(np.abs(xi.stft(chirp(60), 16))[:, :6])
    phase = torch.linspace(0, 20, S.numel(), dtype=torch.float64).reshape(S.shape)
    window = torch.hamming_window(16, dtype=torch.float64).requires_grad_()

    def retrieved(S, phase, window=None):
        t = xi.STFT(16, window="hann" if window is None else window)
        return xi.griffin_lim(S, t, n_iter=2, algorithm=algorithm, init=phase)

    assert torch.autograd.gradcheck(retrieved, (S.clone().requires_grad_(), phase.requires_grad_()))
    if algorithm == "fgla":
        assert torch.autograd.gradcheck(retrieved, (S, phase.detach(), window))
    silent = torch.zeros_like(S).requires_grad_()
    xi.griffin_lim(silent, algorithm=algorithm).sum().backward()
    assert bool(torch.isfinite(silent.grad).all())


def test_gradients_and_jit_of_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    S = np.abs(xi.stft(chirp(80), 16))
    start = np.linspace(0, 20, S.size).reshape(S.shape)

    def cost(S, init="zero", **options):
        return (xi.griffin_lim(S, n_iter=3, init=init, **options) ** 2).sum()

    due = float(cost(S, start))
    value, slope = jax.jit(jax.value_and_grad(cost))(jax.numpy.asarray(S), jax.numpy.asarray(start))
    assert float(value) == pytest.approx(due)
    nudge = np.random.default_rng(0).standard_normal(S.shape)
    numeric = (float(cost(S + 1e-6 * nudge, start)) - float(cost(S - 1e-6 * nudge, start))) / 2e-6
    assert float((slope * nudge).sum()) == pytest.approx(numeric, rel=1e-5)
    with pytest.raises(
        ValueError, match=r"griffin_lim: init: need values, not a trace, for PGHI, got .*Tracer; under a"
    ):
        jax.jit(lambda S: cost(S, "pghi"))(S)
    with pytest.raises(ValueError, match="griffin_lim: tol or callback: need None under a transformation"):
        jax.jit(lambda S: cost(S, tol=1e-3))(S)


def test_half_precision_of_torch():
    torch = pytest.importorskip("torch")
    S = xi.stft(torch.asarray(chirp(2000)), 128).abs()
    for dtype in (torch.float16, torch.bfloat16):
        y = xi.griffin_lim(S.to(dtype), n_iter=2)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.double(), xi.griffin_lim(S.to(dtype).double(), n_iter=2), atol=0.05)


# ---- what is refused

REFUSED = [  # beyond the rows of hostile.py
    ({"S": np.ones((17, 5), complex)}, TypeError, "griffin_lim: S: need dtype .*, got complex128; pass abs"),
    ({"S": np.ones((17, 5), int)}, TypeError, "griffin_lim: S: need dtype .*, got int64; scale"),
    ({"S": np.ones((1, 17))}, ValueError, "griffin_lim: S: need at least 2 bins"),
    ({"S": np.ones((5, 17)), "transform": xi.STFT(32)}, ValueError, "S: need 17 bins .*, got 5; are the last two"),
    ({"transform": xi.STFT(34)}, ValueError, "griffin_lim: S: need 18 bins for n_fft=34, got 17"),
    ({"transform": xi.STFT(32, onesided=False)}, ValueError, "griffin_lim: S: need 32 bins .*, onesided=False, got 17"),
    ({"transform": xi.STFT(32, 33)}, xi.NOLAError, "griffin_lim: hop_length: need <= win_length=32"),
    ({"init": None}, TypeError, "griffin_lim: init: need an array of NumPy"),
    ({"init": np.ones((17, 6))}, ValueError, r"griffin_lim: init: need shape \(17, 5\), or a signal .*, got \(17, 6\)"),
    ({"init": np.ones(90)}, ValueError, r"griffin_lim: init: need a signal of 5 frames \(shape \(32,\)\)"),
    ({"init": np.ones((17, 5), int)}, TypeError, "griffin_lim: init: need dtype"),
    ({"rng": -1}, ValueError, "griffin_lim: rng: need None, an integer >= 0"),
    ({"tol": -1}, ValueError, "griffin_lim: tol: need a finite number >= 0"),
    ({"axes": (0,)}, ValueError, "griffin_lim: axes: need 2 axes"),
]


@pytest.mark.parametrize(("options", "kind", "text"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused_before_any_work(options, kind, text):
    options = {"S": np.ones((17, 5)), **options}
    with pytest.raises(kind, match=text):
        xi.griffin_lim(options.pop("S"), **options)


def test_arrays_of_two_libraries_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="griffin_lim: init: need an array of the library of S .ndarray., got Tensor"):
        xi.griffin_lim(np.ones((17, 5)), init=torch.ones(17, 5))


def test_spectra_of_two_shapes_have_no_convergence():
    with pytest.raises(ValueError, match=r"spectral_convergence: X: need shape \(17, 5\), got \(17, 6\)"):
        xi.spectral_convergence(np.ones((17, 5)), np.ones((17, 6)))


def test_a_callback_that_raises_ends_the_call():
    def callback(iteration, convergence):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        xi.griffin_lim(np.ones((17, 5)), callback=callback)


def test_names_are_the_algorithms_with_their_defaults(rng):
    S = np.abs(xi.stft(rng.standard_normal(600), 64))
    for name, algorithm in (("fgla", xi.FastGLA(0.99)), ("raar", xi.RAAR(0.9)), ("hybrid", xi.Hybrid())):
        named, given = (xi.griffin_lim(S, n_iter=4, init="zero", algorithm=each) for each in (name, algorithm))
        np.testing.assert_array_equal(named, given)
    assert xi.FastGLA(0.5) == xi.FastGLA(0.5) != xi.FastGLA()
    half = xi.griffin_lim(S, n_iter=4, init="zero", algorithm=xi.FastGLA(0.5))
    assert (half != xi.griffin_lim(S, n_iter=4, init="zero", algorithm="fgla")).any()


class OwnGLA(xi.Algorithm):
    """Griffin-Lim as a user would write it, with a memory and new arrays."""

    def memory(self, start, do):
        return do.zeros(start)

    def step(self, z, magnitude, proposal, memory, do):
        return do.onto(magnitude, do.add(do.multiply(z, 0.5), do.multiply(z, 0.5))), do.copy(z)


def test_an_algorithm_of_a_users_own(xp, rng):
    S = np.abs(xi.stft(rng.standard_normal((2, 600)), 64))
    due = xi.griffin_lim(S, n_iter=5, init="zero", algorithm="gla")
    y = xi.griffin_lim(xp.asarray(S), n_iter=5, init="zero", algorithm=OwnGLA())
    np.testing.assert_allclose(xp.to_numpy(y), due, atol=1e-4 if xp.name == "mlx" else 1e-9)


def test_what_an_algorithm_has_come_to():
    """The proposal; of ADMM the estimate that it remembers, of RAAR the middle of both."""
    for algorithm, due in ((xi.GLA(), 1), (xi.FastGLA(), 1), (xi.RAAR(), 2), (xi.ADMM(), 3)):
        proposal, memory = np.full((1, 2, 3), 1 + 0j), np.full((1, 2, 3), 3 + 0j)
        np.testing.assert_array_equal(algorithm.estimate(proposal, memory, IN_PLACE), due)


def test_ends_that_no_window_reaches_are_warned_of_once_and_by_the_signal_alone():
    """Between two iterations they make no difference to a spectrum."""
    t = xi.STFT(64, center=False)
    X = t.stft(chirp(1000))
    assert xi.project(X, t).shape == X.shape  # warnings are errors here
    assert xi.inconsistency(X, t) < 1e-12
    with pytest.warns(xi.CoverageWarning) as caught:
        xi.griffin_lim(abs(X), t, n_iter=3, init="zero")
    assert len(caught) == 1
    strict = xi.STFT(64, center=False, nola="raise")
    assert xi.project(X, strict).shape == X.shape
    with pytest.raises(xi.NOLAError):
        xi.griffin_lim(abs(X), strict, n_iter=3, init="zero")
