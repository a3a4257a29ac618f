"""Mel bands and decibels: the peers' filterbanks and levels, and least squares by an independent solver."""

import numpy as np
import pytest
import scipy.optimize

import xp_istft as xi
from xp_istft.bands import _tridiagonal
from xp_istft.cli.speech import sentence

SR = 8000
T = xi.STFT(256, 64)
BANDS = [
    {"n_mels": 20},
    {"n_mels": 30, "scale": "htk", "norm": None, "power": 1},
    {"n_mels": 24, "fmin": 300.0, "fmax": 3000.0, "norm": 1, "power": 1.5},
    {"n_mels": 60, "norm": np.inf},  # more than there are bins for
]


def sound(n_samples=1500, seed=0):
    t = np.arange(n_samples)
    return np.sin(t**1.5 / 300) + 0.05 * np.random.default_rng(seed).standard_normal(n_samples)


def relative(found, due):
    return float(np.linalg.norm(found - due) / np.linalg.norm(due))


# ---- filterbanks


@pytest.mark.parametrize("options", BANDS, ids=str)
@pytest.mark.parametrize(("sr", "n_fft"), [(8000, 256), (22050, 1024), (16000, 401)])
def test_filterbanks_are_librosas(options, sr, n_fft):
    librosa = pytest.importorskip("librosa")
    ours = xi.Mel(**options, sr=sr)
    kept = {"fmin": ours.fmin, "fmax": ours.fmax, "htk": ours.scale == "htk", "norm": options.get("norm", "slaney")}
    with np.errstate(all="ignore"), pytest.warns(UserWarning, match="Empty") if _empty(ours, n_fft) else _quiet():
        theirs = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=ours.n_mels, dtype=np.float64, **kept)
    np.testing.assert_allclose(ours.filterbank(n_fft), theirs, rtol=1e-11, atol=1e-14)


def _empty(bands, n_fft):
    return not bands.filterbank(n_fft).any(axis=1).all()


def _quiet():
    return np.errstate()


def torchaudios(n_freqs, f_min, f_max, n_mels, sample_rate, norm, mel_scale):
    """torchaudio.functional.melscale_fbanks, line for line, in float64; bands first."""
    step, bend = np.log(6.4) / 27, 1000.0

    def to_mel(freq):
        if mel_scale == "htk":
            return 2595.0 * np.log10(1.0 + freq / 700.0)
        return 15 + np.log(freq / bend) / step if freq >= bend else freq / (200.0 / 3)

    def to_hz(mels):
        if mel_scale == "htk":
            return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
        return np.where(mels >= 15, bend * np.exp(step * (mels - 15)), 200.0 / 3 * mels)

    all_freqs = np.linspace(0, sample_rate // 2, n_freqs)
    f_pts = to_hz(np.linspace(to_mel(f_min), to_mel(f_max), n_mels + 2))
    f_diff = f_pts[1:] - f_pts[:-1]
    slopes = f_pts[None] - all_freqs[:, None]
    fb = np.maximum(0, np.minimum(-slopes[:, :-2] / f_diff[:-1], slopes[:, 2:] / f_diff[1:]))
    if norm == "slaney":
        fb *= 2.0 / (f_pts[2 : n_mels + 2] - f_pts[:n_mels])
    return fb.T


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
def test_filterbanks_are_torchaudios(scale, norm):
    ours = xi.Mel(40, 16000, 50, 7000, scale, norm).filterbank(512)
    np.testing.assert_allclose(ours, torchaudios(257, 50, 7000, 40, 16000, norm, scale), rtol=1e-9, atol=1e-15)


def test_bands_lie_on_the_frequencies_of_the_bins():
    """A grid through bins of the DFT has the columns of those bins."""
    bands = xi.Mel(12, SR)
    every = bands.filterbank(256)
    t = xi.STFT(256, 64, frequencies=xi.Frequencies(np.arange(3, 100, 5) * SR / 256, SR))
    S = np.random.default_rng(0).random((t.n_bins, 4))
    np.testing.assert_allclose(xi.magnitude_to_mel(S, bands, t), every[:, 3:100:5] @ S**2, rtol=1e-12)
    with pytest.raises(ValueError, match=r"^magnitude_to_mel: bands: need the rate of the transform's frequencies"):
        xi.magnitude_to_mel(S, xi.Mel(12, 16000), t)


def test_values_are_values():
    assert xi.Mel(40, 16000) == xi.Mel(np.int64(40), 16000.0, fmax=8000, norm="slaney")
    assert hash(xi.Mel(40, 16000)) == hash(xi.Mel(40, np.float64(16000)))
    assert xi.Mel(40, 16000) != xi.Mel(40, 16000, norm=None)


# ---- magnitudes of bands


@pytest.mark.parametrize("options", BANDS, ids=str)
def test_magnitudes_have_the_bands_that_they_are_asked_for(xp, options):
    """To rounding, where any have; and magnitudes are not negative, and what they were where bands determine them."""
    bands = xi.Mel(**options, sr=SR)
    S = np.abs(T.stft(np.stack([sound(), 1e-6 * sound(seed=1), 0 * sound()])))
    S[0, :, 3] = 0
    M = xi.magnitude_to_mel(S, bands)
    np.testing.assert_allclose(M, bands.filterbank(256) @ S**bands.power, rtol=1e-12)
    found = xi.mel_to_magnitude(xp.asarray(M), bands, T)
    assert xp.owns(found)
    host = xp.to_numpy(found)
    assert host.shape == S.shape
    assert host.min() == 0
    peak = M.max(axis=-2, keepdims=True) + 1e-300
    np.testing.assert_allclose(xp.to_numpy(xi.magnitude_to_mel(found, bands)) / peak, M / peak, atol=2e-12)
    assert not host[2].any()
    assert not host[0, :, 3].any()


def test_what_no_magnitudes_have_is_met_as_scipys_least_squares_meet_it(rng):
    for options in BANDS[:3]:
        bands = xi.Mel(**options, sr=SR)
        A, M = bands.filterbank(256), rng.exponential(size=(bands.n_mels, 6))
        M[3] = M[8, 2] = 0
        power = xi.mel_to_magnitude(M, bands, T) ** bands.power
        for found, wanted in zip(power.T, M.T, strict=True):
            _, due = scipy.optimize.nnls(A, wanted)
            assert np.sum((A @ found - wanted) ** 2) <= due**2 * (1 + 1e-6) + 1e-8 * np.sum(wanted**2)


def test_magnitudes_are_those_of_the_least_weighted_norm(rng):
    """The definition: min sum v**2 / w with A v = M, v >= 0, by a general solver on a small problem."""
    bands = xi.Mel(5, SR, norm=None, power=1)
    t = xi.STFT(32)
    A = bands.filterbank(32)
    M = A @ rng.exponential(size=17) ** 2
    unit = A / np.linalg.norm(A, axis=1, keepdims=True)
    level = M / np.linalg.norm(A, axis=1) / (unit @ unit.sum(axis=0))
    points, hz = bands.points(), np.arange(17) * SR / 32
    segment = np.clip(np.searchsorted(points, hz, "right") - 1, 0, 5)
    beside = np.concatenate([level[:1], level, level[-1:]])
    w = np.sqrt(beside[segment] * beside[segment + 1])
    reached = A.any(axis=0)
    scaled = np.concatenate([A[:, reached] * np.sqrt(w[reached]), 1e-5 * np.eye(reached.sum())])
    due, _ = scipy.optimize.nnls(scaled, np.concatenate([M, np.zeros(reached.sum())]))
    found = xi.mel_to_magnitude(M[:, None], bands, t)[:, 0]
    np.testing.assert_allclose(found[reached], due * np.sqrt(w[reached]), rtol=1e-5, atol=1e-6)
    assert not found[~reached].any()


@pytest.mark.parametrize("options", [{}, {"scale": "htk", "norm": None, "power": 1}])
def test_magnitudes_of_speech_are_nearer_than_those_of_the_peers(options):
    """torchaudio's InverseMelScale, which is one line, and librosa's, by its own function."""
    librosa = pytest.importorskip("librosa")
    bands, t = xi.Mel(80, 22050, **options), xi.STFT(1024)
    S = np.abs(t.stft(sentence()[8000:14000]))
    M, A = xi.magnitude_to_mel(S, bands), bands.filterbank(1024)
    ours = xi.mel_to_magnitude(M, bands, t)
    torchaudios = np.maximum(np.linalg.lstsq(A, M, rcond=None)[0], 0) ** (1 / bands.power)
    librosas = librosa.util.nnls(A, M) ** (1 / bands.power)
    assert relative(ours, S) < 0.9 * min(relative(torchaudios, S), relative(librosas, S))
    assert relative(A @ ours**bands.power, M) <= relative(A @ librosas**bands.power, M)


def test_precision_axes_and_batches():
    bands = xi.Mel(20, SR)
    M = xi.magnitude_to_mel(np.abs(T.stft(np.stack([sound(), sound(seed=1)]))), bands)
    kept = M.copy()
    S = xi.mel_to_magnitude(M, bands, T)
    np.testing.assert_array_equal(M, kept)
    np.testing.assert_array_equal(xi.mel_to_magnitude(M[1], bands, T), S[1])
    np.testing.assert_array_equal(xi.mel_to_magnitude(M.T, bands, T, axes=(1, 0)), S.T)
    np.testing.assert_allclose(xi.magnitude_to_mel(S.T, bands, axes=(1, 0)), M.T, atol=1e-9)
    single = xi.mel_to_magnitude(M.astype(np.float32), bands, T)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, S, atol=1e-4 * S.max())
    half = xi.mel_to_magnitude(M.astype(np.float16), bands, T)
    assert half.dtype == np.float16
    assert relative(half.astype(float), S) < 0.02


@pytest.mark.parametrize("n", [1, 2, 7])
def test_cyclic_reduction_solves(rng, n):
    diagonal, beside, right = 1 + rng.random((3, n, 4)), 0.5 * rng.random((3, n, 4)), rng.random((3, n, 4))
    beside[:, -1] = 0
    found = _tridiagonal(diagonal, beside, right)
    for item, frame in np.ndindex(3, 4):
        d, e = diagonal[item, :, frame], beside[item, :-1, frame]
        due = np.linalg.solve(np.diag(d) + np.diag(e, 1) + np.diag(e, -1), right[item, :, frame])
        np.testing.assert_allclose(found[item, :, frame], due, rtol=1e-12)


# ---- derivatives


def weighed(call, weights):
    return lambda array: (call(array) * weights).sum()


def differentiated(library, call, array, weights):
    """The derivative of the weighed sum of call(array), and the value under it."""
    if library == "torch":
        torch = pytest.importorskip("torch")
        given = torch.tensor(array, requires_grad=True)
        weighed(call, torch.tensor(weights))(given).backward()
        return given.grad.numpy()
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    made = jax.jit(jax.grad(weighed(call, weights)))(jax.numpy.asarray(array))
    return np.asarray(made)


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("power", [1, 2])
def test_derivatives_of_magnitudes_are_differences(rng, library, power):
    bands, t = xi.Mel(12, SR, power=power), xi.STFT(64, 16)
    M = xi.magnitude_to_mel(np.abs(t.stft(sound(300))), bands)
    weights, way = rng.standard_normal((33, M.shape[-1])), 1e-6 * M * rng.standard_normal(M.shape)

    def call(M):
        return xi.mel_to_magnitude(M, bands, t)

    due = (weighed(call, weights)(M + way) - weighed(call, weights)(M - way)) / 2
    assert (differentiated(library, call, M, weights) * way).sum() == pytest.approx(due, rel=1e-4)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_derivatives_are_finite_where_nothing_sounds(rng, library):
    bands, t = xi.Mel(12, SR), xi.STFT(64, 16)
    M, S = np.zeros((12, 5)), np.zeros((33, 5))
    M[4, 2], S[4, 2] = 1, 1
    calls = {
        "mel_to_magnitude": (M, lambda M: xi.mel_to_magnitude(M, bands, t), S),
        "magnitude_to_mel": (S, lambda S: xi.magnitude_to_mel(S, bands), M),
        "to_db": (S, xi.to_db, S),
        "to_db of the largest": (S, lambda S: xi.to_db(S, reference="max", floor=None, power=2), S),
        "griffin_lim": (M, lambda M: xi.griffin_lim(M, t, bands=bands, n_iter=3, init="zero", length=64), np.ones(64)),
    }
    for name, (array, call, like) in calls.items():
        made = differentiated(library, call, array, rng.random(like.shape))
        assert np.isfinite(made).all(), name
        assert made.any() or name == "mel_to_magnitude", name


def test_torchs_graphs_and_functions_say_what_they_need():
    torch = pytest.importorskip("torch")
    bands = xi.Mel(20, SR)
    M = torch.ones(20, 4)
    with pytest.raises(NotImplementedError, match=r"^mel_to_magnitude: bands: need values, which whole graphs"):
        torch.func.grad(lambda M: xi.mel_to_magnitude(M, bands, T).sum())(M)


# ---- sound


@pytest.mark.parametrize("algorithm", ["hybrid", "fgla", "raar"])
def test_iterations_ask_for_the_bands(algorithm):
    """Nearer to them than by way of magnitudes that are held, and than librosa's way after as many iterations."""
    librosa = pytest.importorskip("librosa")
    bands, x = xi.Mel(30, SR), sound(4000)
    M = xi.magnitude_to_mel(np.abs(T.stft(x)), bands)
    seen = []
    note = lambda iteration, distance: seen.append(distance)  # noqa: E731
    y = xi.griffin_lim(M, T, bands=bands, length=4000, algorithm=algorithm, callback=note)
    held = xi.griffin_lim(xi.mel_to_magnitude(M, bands, T), T, length=4000, algorithm=algorithm)
    theirs = librosa.griffinlim(
        np.sqrt(librosa.util.nnls(bands.filterbank(256), M)), hop_length=64, length=4000, random_state=0
    )
    ours, before, librosas = (
        relative(xi.magnitude_to_mel(np.abs(T.stft(each)), bands), M) for each in (y, held, theirs)
    )
    assert ours < 0.7 * before
    assert ours < 0.7 * librosas
    assert len(seen) == 32
    assert seen[-1] < 0.5 * seen[0]


def test_the_convergence_is_that_of_the_bands():
    bands, x = xi.Mel(30, SR), sound(2000)
    M, seen = xi.magnitude_to_mel(np.abs(T.stft(x)), bands), []
    start = np.angle(T.stft(x))
    y = xi.griffin_lim(M, T, bands=bands, n_iter=0, init=start, length=2000)
    xi.griffin_lim(M, T, bands=bands, n_iter=1, init=start, length=2000, callback=lambda _, far: seen.append(far))
    assert seen == [pytest.approx(relative(xi.magnitude_to_mel(np.abs(T.stft(y)), bands), M), rel=1e-9)]


def test_every_library_makes_the_same_sound(xp):
    bands = xi.Mel(20, SR, 100, 3500)
    M = xi.magnitude_to_mel(np.abs(T.stft(np.stack([sound(), sound(seed=1)]))), bands).astype(np.float32)
    options = {"bands": bands, "n_iter": 4, "init": "zero", "length": 1500}
    y = xi.griffin_lim(xp.asarray(M), T, **options)
    assert xp.owns(y)
    np.testing.assert_allclose(xp.to_numpy(y), xi.griffin_lim(M, T, **options), atol=1e-4)


def test_neither_threads_nor_blocks_nor_other_items_change_a_bit(cut):
    bands = xi.Mel(20, SR)
    M = xi.magnitude_to_mel(np.abs(T.stft(np.stack([sound(4000), sound(4000, 1)]))), bands)
    due = xi.griffin_lim(M, T, bands=bands, n_iter=4)
    cut(threaded_seconds=0, block_bytes=1 << 13)
    np.testing.assert_array_equal(xi.griffin_lim(M, T, bands=bands, n_iter=4, workers=3), due)
    np.testing.assert_array_equal(xi.griffin_lim(M[1], T, bands=bands, n_iter=4, workers=1), due[1])
    zero = xi.griffin_lim(M, T, bands=bands, n_iter=4, init="zero")
    np.testing.assert_allclose(xi.griffin_lim(4 * M, T, bands=bands, n_iter=4, init="zero"), 2 * zero, rtol=1e-9)


def test_the_module_is_the_function():
    torch = pytest.importorskip("torch")
    from xp_istft.nn import GriffinLim

    bands = xi.Mel(20, SR)
    M = xi.magnitude_to_mel(T.stft(torch.tensor(sound())).abs(), bands).requires_grad_()
    layer = GriffinLim(T, n_iter=3, init="zero", bands=bands)
    y = layer(M, length=1500)
    due = xi.griffin_lim(M.detach(), T, bands=bands, n_iter=3, init="zero", algorithm="fgla", length=1500)
    np.testing.assert_allclose(y.detach(), due, atol=1e-9)
    y.square().sum().backward()
    assert torch.isfinite(M.grad).all()
    drawn = GriffinLim(T, n_iter=1, bands=bands)(M.detach(), generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (23 * 64,)
    with pytest.raises(ValueError, match=r"^GriffinLim: phase: need shape \(129, "):
        layer(M, phase=M.detach())


def test_a_transform_must_be_given():
    with pytest.raises(TypeError, match="^griffin_lim: transform: need an STFT, got NoneType"):
        xi.griffin_lim(np.ones((20, 9)), bands=xi.Mel(20, SR))
    with pytest.raises(ValueError, match=r"^griffin_lim: S: need \(\.\.\., n_mels=20, n_frames >= 1\), got shape"):
        xi.griffin_lim(np.ones((21, 9)), T, bands=xi.Mel(20, SR))
    with pytest.raises(ValueError, match="^Mel: fmax: need <= sr / 2 = 4000, got 5000"):
        xi.Mel(20, SR, fmax=5000)


# ---- decibels


def test_levels_are_librosas(rng):
    librosa = pytest.importorskip("librosa")
    S = rng.exponential(size=(17, 9)) ** 4
    S[3, 4] = 0
    for power, theirs in ((1, librosa.amplitude_to_db), (2, librosa.power_to_db)):
        amin = 1e-5**power
        np.testing.assert_allclose(
            xi.to_db(S, floor=-100, power=power), theirs(S, amin=amin, top_db=None), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(
            xi.to_db(S, reference="max", floor=-60, power=power),
            theirs(S, ref=np.max, amin=1e-30, top_db=60),
            rtol=1e-12,
            atol=1e-12,
        )
        D = xi.to_db(S, reference=3.0, floor=None, power=power)
        back = librosa.db_to_amplitude(D, ref=3.0) if power == 1 else librosa.db_to_power(D, ref=3.0)
        np.testing.assert_allclose(xi.from_db(D, reference=3.0, power=power), back, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("power", [1, 2, 0.5])
def test_levels_and_back(xp, rng, power):
    S = rng.exponential(size=(2, 17, 9))
    loud = S.max(axis=(-2, -1), keepdims=True)
    D = xi.to_db(xp.asarray(S), reference="max", floor=-300, power=power)
    assert xp.owns(D)
    due = 20 / power * np.log10(S / loud)
    np.testing.assert_allclose(xp.to_numpy(D), due, rtol=1e-12, atol=1e-12)
    back = xi.from_db(D, reference=xp.asarray(loud), power=power)
    assert xp.owns(back)
    np.testing.assert_allclose(xp.to_numpy(back), S, rtol=1e-12, atol=1e-12)
    cut = xp.to_numpy(xi.to_db(xp.asarray(S), reference=xp.asarray(loud), floor=-10, power=power))
    np.testing.assert_allclose(cut, np.maximum(due, -10), rtol=1e-12, atol=1e-12)
    assert xi.to_db(xp.asarray(0 * S), reference="max").shape == S.shape


def test_silence_and_half_precision_have_levels():
    assert (xi.to_db(np.zeros((3, 4)), reference="max") == 0).all()
    assert (xi.to_db(np.zeros((3, 4))) == -80).all()
    assert np.isfinite(xi.to_db(np.zeros((3, 4), np.float32), floor=None)).all()
    assert xi.to_db(np.float16([[1, 10]])).dtype == np.float16
    assert xi.to_db(np.zeros((0, 3, 4)), reference="max").shape == (0, 3, 4)
    with pytest.raises(ValueError, match="^to_db: S: need values >= 0"):
        xi.to_db(np.array([-1.0, 2.0]))
    with pytest.raises(TypeError, match="^from_db: reference: need a number > 0 or an array"):
        xi.from_db(np.zeros(3), reference="max")
