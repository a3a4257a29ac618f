"""What the doors of xp_istft.compat do beside conformity: errors, edges, libraries, gradients, and where peers fail."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.signal
from test_conforms import envelope, modules, quietly

import xp_istft as xi
from xp_istft.compat import jax as compat_jax
from xp_istft.compat import librosa as compat_librosa
from xp_istft.compat import scipy as compat_scipy
from xp_istft.compat import torch as compat_torch
from xp_istft.compat.scipy import ShortTimeFFT


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def librosa():
    return modules("librosa")[1]


@pytest.fixture
def jax():
    modules("jax")
    return sys.modules["jax"]


# ---- scipy


def test_istft_begins_before_the_signal_with_all_its_slices(rng):
    """SciPy leaves out slices that reach the first samples where k0 is negative."""
    x = rng.standard_normal(100)
    mine, theirs = (SFT(np.ones(8), 1, 1.0) for SFT in (ShortTimeFFT, scipy.signal.ShortTimeFFT))
    S = mine.stft(x)
    np.testing.assert_allclose(mine.istft(S, -1, 50)[1:], x[:50], atol=1e-13)
    assert np.abs(theirs.istft(S, -1, 50)[1:] - x[:50]).max() > 0.1


def test_times_of_a_batch_are_those_of_its_samples(rng):
    """SciPy's time vector counts the first axis."""
    Z = scipy.signal.stft(rng.standard_normal((2, 8000)))[2]
    times, x = compat_scipy.istft(Z)
    assert times.shape == (x.shape[-1],)
    assert scipy.signal.istft(Z)[0].shape == (2,)


def test_samples_under_no_window_weight_are_zero(rng):
    """SciPy returns them undivided: a masked spectrum reaches thousands there."""
    Z = scipy.signal.stft(rng.standard_normal(8000), nperseg=512, noverlap=384, boundary=None)[2]
    Z[rng.random(Z.shape) < 0.5] = 0
    _, x = quietly(compat_scipy.istft, Z, nperseg=512, noverlap=384, boundary=False)
    assert x[0] == 0


def test_any_library_in_scipys_place(xp, rng):
    host = rng.standard_normal((2, 600))
    x = xp.asarray(host)
    _, _, Z = compat_scipy.stft(x, nperseg=64, detrend="linear", boundary="odd")
    assert xp.owns(Z)
    np.testing.assert_allclose(
        xp.to_numpy(Z), scipy.signal.stft(host, nperseg=64, detrend="linear", boundary="odd")[2], atol=1e-13
    )
    times, y = compat_scipy.istft(compat_scipy.stft(x, nperseg=64)[2], nperseg=64)
    assert xp.owns(y)
    assert xp.owns(times)
    np.testing.assert_allclose(xp.to_numpy(y)[:, :600], host, atol=1e-13)
    options = dict(fft_mode="centered", scale_to="psd", phase_shift=3)
    mine, theirs = (SFT(np.hamming(32), 8, 100.0, **options) for SFT in (ShortTimeFFT, scipy.signal.ShortTimeFFT))
    S = mine.stft(x, padding="even")
    np.testing.assert_allclose(xp.to_numpy(S), theirs.stft(host, padding="even"), atol=1e-13)
    np.testing.assert_allclose(xp.to_numpy(mine.istft(S, 5, 600)), host[:, 5:], atol=1e-13)
    np.testing.assert_allclose(xp.to_numpy(mine.spectrogram(x)), theirs.spectrogram(host), atol=1e-13)
    for mode in ("psd", "phase")[: 1 + xp.double]:  # a phase that is off by rounding may turn once more
        options = dict(window="hann", nperseg=64, mode=mode)
        ours, due = compat_scipy.spectrogram(x, **options), scipy.signal.spectrogram(host, **options)
        assert all(map(xp.owns, ours))
        np.testing.assert_allclose(xp.to_numpy(ours[2]), due[2], atol=1e-13 if mode == "psd" else 1e-9)
    cross = theirs.spectrogram(host, host[:, ::-1], "constant")
    np.testing.assert_allclose(
        xp.to_numpy(mine.spectrogram(x, xp.asarray(host[:, ::-1].copy()), "constant")), cross, atol=1e-13
    )


def test_welchs_periodogram_is_the_mean_of_a_spectrogram(rng):
    x = rng.standard_normal((2, 2000))
    f, _, S = compat_scipy.spectrogram(x, 4.0, "hann", 256, 128)
    f_due, due = scipy.signal.welch(x, 4.0, "hann", 256, 128)
    np.testing.assert_allclose(f, f_due)
    np.testing.assert_allclose(S.mean(-1), due, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mode": "power"}, "unknown value for mode power, must be one of"),
        ({"scaling": "psd"}, "Unknown scaling: 'psd'"),
        ({"noverlap": 64, "nperseg": 64}, "noverlap must be less than nperseg"),
        ({"window": np.ones(8), "nperseg": 9}, "value specified for nperseg is different from length of window"),
        ({"fs": 0}, "spectrogram: fs: need > 0"),
    ],
)
def test_what_a_spectrogram_refuses_scipy_refuses_too(options, text):
    for module in (compat_scipy, *([scipy.signal] if "fs" not in options else [])):
        with pytest.raises(ValueError, match=text):
            module.spectrogram(np.ones(600), **options)


def test_windows_of_the_caller_stay_writeable():
    """SciPy locks the arrays that it is given."""
    window = np.ones(8)
    ShortTimeFFT(window, 4, 1.0, dual_win=window)
    window[0] = 2


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: compat_scipy.istft(np.ones((9, 0), complex)), "^istft: Zxx: need at least 2 segments"),
        (lambda: compat_scipy.stft(np.ones(600, "O")), "^stft: x: need"),
    ],
)
def test_errors_name_scipys_parameters(call, text):
    with pytest.raises((TypeError, ValueError), match=text):
        call()


@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float16"])
def test_integers_have_scipys_precision(rng, kind):
    x = rng.integers(0, 100, 600).astype(kind)
    for name, array in (("stft", x), ("istft", x[:594].reshape(33, 18))):
        mine, theirs = (quietly(getattr(module, name), array) for module in (compat_scipy, scipy.signal))
        assert mine[-1].dtype == theirs[-1].dtype
        np.testing.assert_allclose(mine[-1], theirs[-1], atol=3e-6 * np.abs(theirs[-1]).max())


@pytest.mark.parametrize("scaling", ["spectrum", "psd"])
def test_gradients_reach_the_window_of_scipy(rng, scaling, torch):
    x, Z = rng.standard_normal((2, 200)), rng.standard_normal((17, 9)) + 0j
    window = np.hanning(34)[1:-1] + 0.1
    w = torch.from_numpy(window).requires_grad_()
    options = {"fs": 4.0, "nperseg": 32, "nfft": 40, "scaling": scaling, "detrend": "linear"}

    def forward(w):
        return compat_scipy.stft(torch.from_numpy(x), window=w, **options)[2]

    def inverse(w):
        return compat_scipy.istft(torch.from_numpy(Z), 4.0, w, scaling=scaling)[1]

    assert torch.autograd.gradcheck(forward, (w,), fast_mode=True)
    assert torch.autograd.gradcheck(inverse, (w,), fast_mode=True)
    np.testing.assert_allclose(forward(w).detach(), scipy.signal.stft(x, window=window, **options)[2], atol=1e-13)


def test_a_window_without_values_is_refused_by_the_class_that_needs_them(torch):
    with pytest.raises(TypeError, match="^ShortTimeFFT: win: need values that NumPy can read, got Tensor"):
        ShortTimeFFT(torch.ones(8).requires_grad_(), 4, 1.0)


# ---- jax


def test_transformations_pass_through(rng, jax):
    x = jax.numpy.asarray(rng.standard_normal((2, 96)))

    def loss(x, fs):
        t, y = compat_jax.istft(abs(compat_jax.stft(x, fs, nperseg=16)[2]) * (1 + 1j), fs, nperseg=16)
        return (y**2).sum() + t.sum()

    plain = loss(x, 2.0)
    np.testing.assert_allclose(jax.jit(loss)(x, 2.0), plain, rtol=1e-12)
    each = jax.vmap(loss, (0, None))(x, 2.0)
    np.testing.assert_allclose(each, [loss(item, 2.0) for item in x], rtol=1e-12)
    slope = jax.grad(loss)(x, 2.0)
    step = 1e-6 * rng.standard_normal(x.shape)
    np.testing.assert_allclose((slope * step).sum(), (loss(x + step, 2.0) - loss(x - step, 2.0)) / 2, rtol=1e-5)


def test_no_overlap_is_none(rng, jax):
    """JAX's inverse takes noverlap=0 for half a segment."""
    x = jax.numpy.asarray(rng.standard_normal(96))
    Z = compat_jax.stft(x, nperseg=16, noverlap=0, window="hamming")[2]
    np.testing.assert_allclose(compat_jax.istft(Z, nperseg=16, noverlap=0, window="hamming")[1][:96], x, atol=1e-13)
    assert jax.scipy.signal.istft(Z, nperseg=16, noverlap=0, window="hamming")[1].shape != (96,)


def test_odd_segments_are_inverted(rng, jax):
    x = jax.numpy.asarray(rng.standard_normal(96))
    y = compat_jax.istft(compat_jax.stft(x, nperseg=15)[2], nperseg=15)[1]
    np.testing.assert_allclose(y[:96], x, atol=1e-13)


@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_integers_have_jaxs_precision(rng, kind, jax):
    x = jax.numpy.asarray(rng.integers(0, 100, 576).astype(kind))
    for name, array in (("stft", x), ("istft", x.reshape(32, 18)[:17])):
        mine, theirs = (getattr(module, name)(array, nperseg=32)[-1] for module in (compat_jax, jax.scipy.signal))
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, atol=3e-6 * float(abs(theirs).max()))


def test_gradients_reach_the_window_as_jaxs(rng, jax):
    x, w = jax.numpy.asarray(rng.standard_normal(96)), jax.numpy.hanning(18)[1:-1] + 0.1
    mine, other = (
        jax.grad(lambda w, stft=module.stft: (abs(stft(x, window=w, nperseg=16)[2]) ** 2).sum())(w)
        for module in (compat_jax, jax.scipy.signal)
    )
    np.testing.assert_allclose(mine, other, rtol=1e-12)


# ---- torch


def test_where_torch_raises_and_we_do_not(rng, torch):
    """center=False with a Hann window: sample 0 has no weight. strict=True raises as torch does."""
    w = torch.hann_window(64, dtype=torch.float64)
    x = torch.from_numpy(rng.standard_normal(512))
    X = compat_torch.stft(x, 64, window=w, center=False, return_complex=True)
    for call in (torch.istft, lambda *args, **kwargs: compat_torch.istft(*args, strict=True, **kwargs)):
        with pytest.raises(RuntimeError):
            call(X, 64, window=w, center=False)
    with pytest.warns(xi.CoverageWarning):
        y = compat_torch.istft(X, 64, window=w, center=False)
    assert y[0] == 0
    np.testing.assert_allclose(y[1:], x[1:], atol=1e-11)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x, w: compat_torch.stft(x, 64, window=w, strict=True), "return_complex"),
        (lambda x, w: compat_torch.stft(x[:20], 64, window=w, return_complex=True, strict=True), "reflect"),
        (lambda x, w: compat_torch.stft(x[None, None], 64, return_complex=True, strict=True), "input"),
        (lambda x, w: compat_torch.istft(np.zeros((33, 5), np.complex64), 64, 65, window=w, strict=True), "hop"),
        (lambda x, w: compat_torch.istft(np.zeros((33, 5)), 64, strict=True), "input"),
        (lambda x, w: compat_torch.stft(x, 64, 16, 40, w, return_complex=True, strict=True), "window"),
    ],
)
def test_strict_raises_runtime_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call(np.zeros(512), np.hanning(65)[:-1])


def test_real_input_needs_return_complex(torch):
    x = torch.randn(512)
    with pytest.raises(ValueError, match="^stft: return_complex: need a bool for real input, got None; legacy=True"):
        compat_torch.stft(x, 64)
    with pytest.raises(RuntimeError, match="return_complex"):
        torch.stft(x, 64, window=torch.ones(64))
    assert compat_torch.stft(torch.complex(x, x), 64, window="hann").is_complex()


def test_code_for_torch_before_1_8_works_with_pairs(rng, torch):
    x, w = torch.from_numpy(rng.standard_normal((2, 512))), torch.hann_window(64, dtype=torch.float64)
    pairs = compat_torch.stft(x, 64, window=w, legacy=True)
    assert torch.equal(pairs, compat_torch.stft(x, 64, window=w, return_complex=False))
    y = compat_torch.istft(pairs, 64, window=w, length=512, legacy=True)
    torch.testing.assert_close(y, x)
    with pytest.raises(RuntimeError, match="^istft: input: need dtype complex"):  # as torch says, not of the rank
        compat_torch.istft(pairs, 64, window=w, strict=True)


def test_pairs_are_views_with_torchs_strides(rng, torch):
    x, w = torch.from_numpy(rng.standard_normal((2, 4000))), torch.hann_window(512, dtype=torch.float64)
    pairs = compat_torch.stft(x, 512, 128, window=w, return_complex=False)
    theirs = quietly(torch.stft, x, 512, 128, window=w, return_complex=False)
    torch.testing.assert_close(pairs, theirs)
    assert pairs.stride() == theirs.stride()
    assert pairs._base is not None


@pytest.mark.parametrize("of_data", ["float32", "float64"])
@pytest.mark.parametrize("of_window", ["float32", "float64", "int64"])
def test_windows_promote_as_torchs(rng, torch, of_data, of_window):
    x = torch.from_numpy(rng.standard_normal(600)).to(getattr(torch, of_data))
    w = (1 + 4 * torch.hann_window(64, dtype=torch.float64)).to(getattr(torch, of_window))
    for window in (w, torch.nn.Parameter(w, requires_grad=w.is_floating_point())):
        X = compat_torch.stft(x, 64, window=window, return_complex=True)
        torch.testing.assert_close(X, torch.stft(x, 64, window=window, return_complex=True), atol=1e-4, rtol=1e-4)
        y = compat_torch.istft(X.to(torch.complex64), 64, window=window)
        due = torch.istft(X.to(torch.complex64), 64, window=window)
        torch.testing.assert_close(y, due, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
@pytest.mark.parametrize("autocast", [False, True])
def test_halves_give_what_torch_gives_under_autocast(rng, torch, half, autocast):
    half = getattr(torch, half)
    x, w = torch.from_numpy(rng.standard_normal(600)).to(half), torch.hann_window(64).to(half)
    with torch.autocast("cpu", half):
        theirs = torch.stft(x, 64, window=w, return_complex=True)
        back = torch.istft(theirs, 64, window=w)
    with torch.autocast("cpu", half, enabled=autocast):
        X = compat_torch.stft(x, 64, window=w, return_complex=True)
        y = compat_torch.istft(X, 64, window=w)
    torch.testing.assert_close(X, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(y, back, atol=0.03, rtol=0)  # torch squares the window in half precision


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("n_frames", [1, 2, 5, 40])
@pytest.mark.parametrize("hop", [7, 16, 33, 64])
def test_the_least_overlap_is_that_of_all_samples(center, n_frames, hop, rng):
    window = rng.uniform(0.1, 1, 64)
    window[:2] = 1e-6
    sums = envelope(window, hop, n_frames)
    lo = 32 if center else 0
    for length in (None, 1, 20, 64 + hop * (n_frames - 1) - lo, 10_000):
        due = sums[lo : sums.size - lo if length is None else lo + length]
        if due.size:
            least = compat_torch.least_overlap(window, (64, hop, 64), center, n_frames, length)
            np.testing.assert_allclose(least, due.min(), rtol=1e-9)


def test_the_check_of_the_overlap_makes_no_long_array(torch):
    compat_torch._least_overlap.cache_clear()
    tracemalloc.start()
    try:
        compat_torch.least_overlap("hann", (2048, 512, 2048), True, 100_000, None)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch's compiler
def test_the_doors_compile_whole(rng, torch):
    x, w = torch.from_numpy(rng.standard_normal(600)), torch.hann_window(64, dtype=torch.float64)
    X = torch.stft(x, 64, window=w, return_complex=True)
    needed = w.clone().requires_grad_()
    calls = {
        "istft": lambda istft, **options: lambda: istft(X, 64, window=w, **options),
        "gradient": lambda istft, **options: lambda: istft(X, 64, window=needed, **options),
        "wide": lambda istft, **options: lambda: istft(X.to(torch.complex64), 64, window=w, **options),
    }
    for name, call in calls.items():
        torch._dynamo.reset()
        compiled = torch.compile(call(compat_torch.istft, strict=True), fullgraph=True, backend="aot_eager")
        tolerance = 1e-5 if name == "wide" else 1e-12  # torch's FFT is in the precision of the spectrum
        torch.testing.assert_close(compiled(), call(torch.istft)(), atol=tolerance, rtol=0)
    compiled = torch.compile(
        lambda x: compat_torch.stft(x, 64, window=w, return_complex=False, strict=True),
        fullgraph=True, backend="aot_eager",
    )  # fmt: skip
    torch.testing.assert_close(compiled(x), torch.view_as_real(X))


def test_one_sided_signals_are_real():
    with pytest.raises(ValueError, match="^istft: return_complex: need False for a one-sided spectrum, got True"):
        compat_torch.istft(np.zeros((33, 5), np.complex64), 64, return_complex=True)


def test_errors_name_torchs_parameters(torch):
    w = torch.hann_window(64, dtype=torch.float64)
    for call in (
        lambda: compat_torch.stft(torch.zeros(512, dtype=torch.int32), 64, window=w, return_complex=True),
        lambda: compat_torch.istft(np.zeros((33, 5)), 64),
        lambda: compat_torch.stft(np.zeros(512, int), 64, legacy=True),
    ):
        with pytest.raises(TypeError, match=r"^i?stft: input: need dtype"):
            call()


def test_any_library_and_any_rank_in_torchs_place(xp, rng, torch):
    host = rng.standard_normal((2, 3, 600))
    X = compat_torch.stft(xp.asarray(host), 64, window="hann", return_complex=True)
    w = torch.hann_window(64, dtype=torch.float64)
    theirs = torch.stft(torch.from_numpy(host.reshape(6, 600)), 64, window=w, return_complex=True)
    assert xp.owns(X)
    np.testing.assert_allclose(xp.to_numpy(X), theirs.numpy().reshape(X.shape), atol=1e-12)
    y = compat_torch.istft(X, 64, window="hann", length=600)
    assert xp.owns(y)
    np.testing.assert_allclose(xp.to_numpy(y), host, atol=1e-12)
    pairs = compat_torch.stft(xp.asarray(host), 64, window="hann", return_complex=False)
    assert tuple(pairs.shape) == (*X.shape, 2)


def test_gradients_are_torchs(rng, torch):
    x = torch.from_numpy(rng.standard_normal((2, 300))).requires_grad_()
    w = torch.hann_window(64, dtype=torch.float64).requires_grad_()
    grads = []
    for stft, istft in ((compat_torch.stft, compat_torch.istft), (torch.stft, torch.istft)):
        X = stft(x, 64, window=w, return_complex=True)
        y = istft(X * X.abs(), 64, window=w, length=300)
        grads.append(torch.autograd.grad((y**3).sum(), (x, w)))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_the_overlap_that_torch_refuses(rng, torch):
    """A window of 1e-6 is below torch's 1e-11, and no matter to us: its scale decides nothing."""
    X = torch.from_numpy(rng.standard_normal((33, 8)) + 0j)
    w = torch.full((64,), 1e-6, dtype=torch.float64)
    assert envelope(w.numpy(), 16, 8).max() < 1e-11
    with pytest.raises(RuntimeError):
        compat_torch.istft(X, 64, window=w, strict=True)
    torch.testing.assert_close(
        compat_torch.istft(X, 64, window=w) * 1e-6, compat_torch.istft(X, 64, window=torch.ones_like(w))
    )


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:There is a performance drop")  # of torch's
def test_strict_inverses_follow_the_window_as_torchs(torch):
    """By autograd, which needs no values of a window, and by torch.func, which gives none."""
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((33, 8)) + 0j)
    w = torch.hann_window(64, dtype=torch.float64) + 0.1

    def results(istft):
        window = w.clone().requires_grad_()
        yield torch.autograd.grad((istft(X, 64, window=window) ** 2).sum(), window)[0]
        yield torch.func.grad(lambda w: (istft(X, 64, window=w) ** 2).sum())(w)
        yield torch.func.jvp(lambda w: istft(X, 64, window=w), (w,), (w**2,))[1]
        yield torch.vmap(lambda w: istft(X, 64, window=w))(torch.stack([w, w**2]))

    for mine, theirs in zip(results(partial(compat_torch.istft, strict=True)), results(torch.istft), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


# ---- librosa


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "float32", "float64"])
@pytest.mark.parametrize("power", [1, 2, 0.5])
def test_magphase(rng, dtype, power, librosa):
    D = (rng.standard_normal((2, 5, 7)) + 1j * rng.standard_normal((2, 5, 7))).astype("complex128")
    D = D.astype(dtype) if dtype.startswith("complex") else D.real.astype(dtype)
    D[0, 0] = 0
    D[1, 1] = 1e-40  # denormal in single precision
    for mine, theirs in zip(compat_librosa.magphase(D, power=power), librosa.magphase(D, power=power), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-6 if dtype.endswith(("64", "32")) else 1e-12)


def test_griffinlim_judges_its_arguments(rng):
    S = np.abs(rng.standard_normal((33, 20)))
    with pytest.warns(UserWarning, match="momentum"):
        compat_librosa.griffinlim(S, momentum=1.1, n_iter=1)
    for name, value in (("momentum", -1.0), ("init", "pghi"), ("random_state", "x")):
        with pytest.raises((ValueError, TypeError)):
            compat_librosa.griffinlim(S, **{name: value})
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(
        compat_librosa.griffinlim(S, rng=3, n_iter=2), compat_librosa.griffinlim(S, rng=generator, n_iter=2)
    )


def test_out_comes_back_as_librosas(rng, librosa):
    """Itself, or a view of the frames that were made."""
    y = rng.standard_normal((2, 1000))
    for module in (compat_librosa, librosa):
        fits, longer = np.zeros((2, 65, 32), complex), np.zeros((2, 65, 40), complex)
        assert module.stft(y, n_fft=128, out=fits) is fits
        X = module.stft(y, n_fft=128, out=longer)
        assert X.base is longer
        np.testing.assert_array_equal(X, fits)
        assert not longer[..., 32:].any()
        signal = np.zeros((2, 1000))
        assert module.istft(X, length=1000, out=signal) is signal
        np.testing.assert_allclose(signal, y, atol=1e-12)


def test_out_of_librosa_is_written(rng):
    y = rng.standard_normal((2, 1000))
    X = compat_librosa.stft(y, n_fft=128)
    signal = np.zeros((2, 1000), np.float32)
    assert compat_librosa.istft(X, length=1000, out=signal) is signal
    np.testing.assert_allclose(signal, y, atol=1e-6)
    for out, kind in ((np.zeros((2, 65, 3), complex), ValueError), (np.zeros((2, 65, 40)), TypeError)):
        with pytest.raises(kind, match="out"):
            compat_librosa.stft(y, n_fft=128, out=out)
    with pytest.raises(ValueError, match="out"):
        compat_librosa.istft(X, out=np.zeros((2, 5)))


def test_the_last_frame_of_a_reflected_signal(rng, librosa):
    """librosa reflects what the last frame reaches of the signal, even where that is too short to be reflected."""
    y = rng.standard_normal(297)
    options = {"n_fft": 6, "hop_length": 3, "window": np.hamming}
    expected = librosa.stft(np.pad(y, 3, mode="reflect"), center=False, **options)
    np.testing.assert_allclose(compat_librosa.stft(y, pad_mode="reflect", **options), expected, atol=1e-13)
    off = np.abs(librosa.stft(y, pad_mode="reflect", **options) - expected).max(axis=0)
    assert off[-1] > 1e-3
    assert off[:-1].max() < 1e-13


@pytest.mark.parametrize("pad_mode", ["wrap", "mean", "minimum", "maximum", "median"])
def test_pad_modes_that_librosa_refuses(pad_mode, librosa):
    for module in (compat_librosa, librosa):
        with pytest.raises((ValueError, librosa.ParameterError), match="pad_mode"):
            module.stft(np.zeros(4000), pad_mode=pad_mode)


@pytest.mark.parametrize(
    "options", [{"hop_length": 20, "window": "ones"}, {"hop_length": 16}, {"hop_length": 4, "center": False}]
)
def test_where_no_window_weighs_librosa_is_silent(rng, options, librosa):
    X = rng.standard_normal((9, 5)) + 1j * rng.standard_normal((9, 5))
    expected = librosa.istft(X, **options)
    assert (expected == 0).any()
    np.testing.assert_allclose(compat_librosa.istft(X, **options), expected, atol=1e-14 * abs(expected).max())


def test_librosas_icqt_on_our_istft(rng, librosa, monkeypatch):
    """It asks for gaps: a hop of 512 for windows of 256 samples."""
    y = rng.standard_normal(22050)
    C = librosa.cqt(y)
    expected = librosa.icqt(C, length=22050)
    hops = []

    def istft(D, **options):
        hops.append(options["hop_length"] / (2 * (D.shape[-2] - 1)))
        return compat_librosa.istft(D, **options)

    monkeypatch.setattr("librosa.core.constantq.istft", istft)
    np.testing.assert_allclose(librosa.icqt(C, length=22050), expected, atol=1e-12)
    assert max(hops) > 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: compat_librosa.istft(np.ones((9, 3))),
            "istft: stft_matrix: need dtype complex64 or complex128, got float64",
        ),
        (lambda: compat_librosa.istft(np.ones((9, 3), complex), n_fft=8), "istft: stft_matrix: need 5 bins"),
        (lambda: compat_librosa.stft(np.ones(99, int)), "stft: y: need dtype"),
        (lambda: compat_librosa.griffinlim(-np.ones((9, 3))), "griffinlim: S: need finite magnitudes >= 0"),
    ],
)
def test_errors_name_librosas_parameters(call, text):
    with pytest.raises((TypeError, ValueError), match=f"^{text}"):
        call()


def test_any_library_in_librosas_place(xp, rng, librosa):
    host = rng.standard_normal((2, 600))
    X = compat_librosa.stft(xp.asarray(host), n_fft=64, dtype=np.complex64)
    assert xp.owns(X)
    np.testing.assert_allclose(xp.to_numpy(X), librosa.stft(host, n_fft=64, dtype=np.complex64), atol=1e-5)
    y = compat_librosa.istft(compat_librosa.stft(xp.asarray(host), n_fft=64), length=600)
    np.testing.assert_allclose(xp.to_numpy(y), host, atol=1e-13)
    magnitude, phase = compat_librosa.magphase(X)
    assert xp.owns(magnitude)
    np.testing.assert_allclose(xp.to_numpy(magnitude) * xp.to_numpy(phase), xp.to_numpy(X), atol=1e-5)


def test_out_that_fits_is_returned_itself(rng):
    y = rng.standard_normal((2, 2048))
    X = compat_librosa.stft(y, n_fft=1023, hop_length=128)
    for call, out in (
        (lambda out: compat_librosa.stft(y, n_fft=1023, hop_length=128, out=out), np.empty_like(X)),
        (lambda out: compat_librosa.istft(X, n_fft=1023, hop_length=128, length=2048, out=out), np.empty((2, 2048))),
    ):
        assert call(out) is out


@pytest.mark.parametrize("win_length", [None, 300])
@pytest.mark.parametrize(
    "door",
    [
        lambda **window: compat_librosa.stft(np.zeros(1000), n_fft=384, **window),
        lambda **window: compat_librosa.istft(np.ones((193, 5), complex), hop_length=1, **window),
        lambda **window: compat_librosa.istft(np.ones((193, 5), complex), n_fft=384, hop_length=1, **window),
        lambda **window: compat_librosa.griffinlim(np.ones((193, 5)), hop_length=1, n_iter=1, **window),
        lambda **window: compat_librosa.griffinlim(np.ones((193, 5)), n_fft=384, hop_length=1, n_iter=1, **window),
        lambda **window: compat_librosa.window_sumsquare(n_frames=3, hop_length=1, n_fft=384, **window),
    ],
)
def test_a_window_array_of_another_length_is_refused(door, win_length):
    with pytest.raises(ValueError, match=f"window: need length {win_length or 384}"):
        door(window=np.ones(3), win_length=win_length)
    door(window=np.ones(win_length or 384), win_length=win_length)


def test_errors_are_librosas_where_librosa_is_loaded(librosa):
    """And stay of their own kind; also in another process."""
    refused = [
        ("stft", np.zeros(9), {"hop_length": 0}, ValueError),
        ("stft", np.zeros(9), {"pad_mode": "wrap"}, ValueError),
        ("stft", np.zeros(9), {"n_fft": 16, "center": False}, ValueError),
        ("istft", np.ones((9, 3)), {}, TypeError),
        ("istft", np.ones((9, 3), complex), {"window": np.zeros(16)}, xi.NOLAError),
        ("griffinlim", np.ones((9, 3)), {"rng": 0, "random_state": 0}, ValueError),
        ("griffinlim", np.ones((9, 3)), {"momentum": -1}, ValueError),
        ("griffinlim", np.ones((9, 3)), {"init": "pghi"}, ValueError),
        ("magphase", None, {}, TypeError),
        ("window_sumsquare", None, {"window": "hann", "n_frames": 0}, ValueError),
    ]
    assert {name for name, *_ in refused} == set(compat_librosa.__all__)
    for name, data, options, kind in refused:
        function = getattr(compat_librosa, name)
        with pytest.raises(librosa.ParameterError) as caught:
            function(**options) if name == "window_sumsquare" else function(data, **options)
        assert isinstance(caught.value, kind)
        sent = pickle.loads(pickle.dumps(caught.value))
        assert (type(sent), sent.args) == (type(caught.value), caught.value.args)


def test_errors_are_pythons_where_librosa_is_not_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "librosa", raising=False)
    with pytest.raises(ValueError, match="hop_length") as caught:
        compat_librosa.stft(np.zeros(9), hop_length=0)
    assert type(caught.value) is ValueError


def test_sums_of_squares_are_those_of_windows_of_any_library(torch):
    """Also of one that a gradient follows: the sums are NumPy's."""
    window = np.hanning(18)[1:-1]
    expected = compat_librosa.window_sumsquare(window=window, n_frames=3, n_fft=16, hop_length=4)
    for each in (torch.from_numpy(window), torch.from_numpy(window).requires_grad_()):
        np.testing.assert_array_equal(
            compat_librosa.window_sumsquare(window=each, n_frames=3, n_fft=16, hop_length=4), expected
        )


# ---- warnings


def _of_torch(function, *shape, **options):
    def call(module):
        torch = sys.modules["torch"]
        window = torch.hann_window(64) if options.get("window") else None
        data = torch.ones(shape, dtype=torch.complex64 if function == "istft" else torch.float32)
        return getattr(module, function)(data, 64, **{**options, "window": window})

    return call


ZEROS, SPECTRUM = np.zeros(128), np.ones((33, 9), complex)
WARNED = {  # a call of either module -> how its text begins, or None
    "torch.stft, no window": ("torch", _of_torch("stft", 600, return_complex=True), "A window was not provided. A rec"),
    "torch.stft": ("torch", _of_torch("stft", 600, window=True, return_complex=True), None),
    "torch.istft, no window": ("torch", _of_torch("istft", 33, 9), "A window was not provided. A rectangular window"),
    "torch.istft, beyond": ("torch", _of_torch("istft", 33, 9, window=True, length=161), "The length of signal is sh"),
    "torch.istft, to the end": ("torch", _of_torch("istft", 33, 9, window=True, length=160), None),
    "torch.istft, beyond the middle": ("torch", _of_torch("istft", 33, 9, window=True, length=159), None),
    "librosa.stft, short": ("librosa", lambda module: module.stft(ZEROS), "n_fft=2048 is too large for input signal"),
    "librosa.stft": ("librosa", lambda module: module.stft(ZEROS, n_fft=128), None),
    "librosa.istft, gaps": ("librosa", lambda module: module.istft(SPECTRUM, hop_length=80), None),
    "librosa.griffinlim": (
        "librosa",
        lambda module: module.griffinlim(abs(SPECTRUM), momentum=1.5, n_iter=1),
        "Griffin-Lim with momentum=1.5 > 1 can be unstable.",
    ),
    "scipy.stft, short": ("scipy", lambda module: module.stft(ZEROS), "nperseg = 256 is greater than input length"),
    "scipy.stft, complex": ("scipy", lambda module: module.stft(ZEROS * 1j, nperseg=64), "Input data is complex"),
    "scipy.stft": ("scipy", lambda module: module.stft(ZEROS * 1j, nperseg=64, return_onesided=False), None),
    "scipy.spectrogram, short": (
        "scipy",
        lambda module: module.spectrogram(ZEROS),
        "nperseg = 256 is greater than input",
    ),
    "scipy.spectrogram, complex": (
        "scipy",
        lambda module: module.spectrogram(ZEROS * 1j, nperseg=64),
        "Input data is complex",
    ),
    "scipy.istft, gaps": (
        "scipy",
        lambda module: module.istft(SPECTRUM, noverlap=0),
        "NOLA condition failed, STFT may",
    ),
    "scipy.istft, ends": (
        "scipy",
        lambda module: module.istft(SPECTRUM, boundary=False),
        "NOLA condition failed, STFT",
    ),
    "scipy.istft": ("scipy", lambda module: module.istft(SPECTRUM), None),
    "jax.stft, complex": ("jax", lambda module: module.stft(ZEROS * 1j, nperseg=64), "Input data is complex"),
}


@pytest.fixture
def torch_warns_always():
    torch = pytest.importorskip("torch")
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.parametrize("name", WARNED)
def test_warnings_are_the_peers(name, request):
    """Same category, same text: but for the place within torch."""
    peer, call, text = WARNED[name]
    if peer == "torch":
        request.getfixturevalue("torch_warns_always")
    said = []
    for module in modules(peer):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(module)
        said.append([(each.category, str(each.message).partition(" (Triggered")[0]) for each in caught])
    assert said[0] == said[1]
    assert [category for category, _ in said[0]] == [UserWarning] * (text is not None)
    assert all(words.startswith(text) for _, words in said[0])


def test_torchs_advice_is_given_once(torch, monkeypatch):
    monkeypatch.setattr(compat_torch, "_SAID", set())
    X, w = torch.ones(33, 9, dtype=torch.complex64), torch.hann_window(64)
    with pytest.warns(UserWarning, match="padded with zeros"):
        compat_torch.istft(X, 64, window=w, length=200)
    y = compat_torch.istft(X, 64, window=w, length=200)  # a warning would be an error
    torch.testing.assert_close(y, quietly(torch.istft, X, 64, window=w, length=200))
