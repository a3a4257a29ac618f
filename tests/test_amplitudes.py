"""scaling="amplitude": a sine of amplitude 1 gives 1, and its inverse is exact; powers of magnitudes in the modules.

It is scaling="spectrum" with every bin times the number of bins that it stands for: powers of two, so that all bits
can be compared.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends.stored import Stored
from xp_istft.blocks import istft_blocks, stft_blocks
from xp_istft.frames import bin_multiplicity

SIZES = [(16, 4), (15, 5), (64, 16)]  # products, odd, and FFTs


def pair(n_fft, hop_length, **options):
    """The transform into amplitudes, and that in scaling="spectrum"."""
    amplitude = xi.STFT(n_fft, hop_length, scaling="amplitude", **options)
    return amplitude, replace(amplitude, scaling="spectrum")


def times(n_fft):
    return bin_multiplicity(n_fft)[:, None]


def noise(shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


class Sliced:
    """An array that has nothing but slices."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, index):
        return self.array[index]

    def __setitem__(self, index, value):
        self.array[index] = value


# ------------------------------------------------------------------ the pair


@pytest.mark.parametrize(("n_fft", "hop_length"), SIZES)
def test_amplitudes_are_the_spectrum_times_the_bins_that_each_stands_for(xp, n_fft, hop_length):
    x = noise((2, 300))
    amplitude, spectrum = pair(n_fft, hop_length)
    S = spectrum.stft(xp.asarray(x))
    A = amplitude.stft(xp.asarray(x))
    assert xp.owns(A)
    want = xp.to_numpy(S) * times(n_fft)
    np.testing.assert_array_equal(xp.to_numpy(A), want)
    before = xp.to_numpy(A).copy()
    y = amplitude.istft(A, length=300)
    np.testing.assert_array_equal(xp.to_numpy(y), xp.to_numpy(spectrum.istft(S, length=300)))
    np.testing.assert_array_equal(xp.to_numpy(A), before)
    np.testing.assert_allclose(xp.to_numpy(y), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_fft", [32, 33])
def test_a_sine_of_amplitude_1_gives_1(n_fft):
    n = np.arange(40 * n_fft)
    t = xi.STFT(n_fft, window="blackman", scaling="amplitude")
    inside = slice(8, -8)
    for k in (0, 5, 16) if n_fft == 32 else (0, 5):
        x = np.cos(2 * np.pi * k * n / n_fft)
        np.testing.assert_allclose(abs(t.stft(x))[k, inside], 1, atol=1e-12)


def test_two_sided_amplitudes_are_those_of_spectrum(xp):
    x = xp.asarray(noise(200) + 1j * noise(200)[::-1])
    amplitude, spectrum = pair(16, 4, onesided=False)
    X = amplitude.stft(x)
    np.testing.assert_array_equal(xp.to_numpy(X), xp.to_numpy(spectrum.stft(x)))
    np.testing.assert_allclose(xp.to_numpy(amplitude.istft(X, length=200)), xp.to_numpy(x), atol=1e-13)


def test_the_doors_take_it_and_out_is_written(xp):
    x, options = xp.asarray(noise((2, 300))), {"hop_length": 16, "scaling": "amplitude"}
    A = xi.stft(x, 64, **options)
    np.testing.assert_allclose(xp.to_numpy(xi.istft(A, **options, length=300)), xp.to_numpy(x), atol=1e-13)
    if not xp.writeable:
        return
    out = xp.asarray(np.zeros((2, 33, 19), np.complex128))
    assert xi.stft(x, 64, **options, out=out) is out
    np.testing.assert_array_equal(xp.to_numpy(out), xp.to_numpy(A))
    signal = xp.asarray(np.zeros((2, 288)))
    xi.istft(A, **options, out=signal)
    np.testing.assert_array_equal(xp.to_numpy(signal), xp.to_numpy(xi.istft(A, **options)))


def test_they_are_scipys(rng):
    """ShortTimeFFT(fft_mode="onesided2X", scale_to="magnitude")."""
    signal = pytest.importorskip("scipy.signal")
    t, x = xi.STFT(32, 8, scaling="amplitude"), rng.standard_normal(400)
    w = t.samples().copy()
    theirs = signal.ShortTimeFFT(w, 8, 1.0, fft_mode="onesided2X", scale_to="magnitude", phase_shift=None)
    np.testing.assert_allclose(t.stft(x), theirs.stft(x, p0=0, p1=51), atol=1e-14)


def test_other_frequencies_have_no_amplitudes():
    bins = xi.linear_frequencies(20, 0, 4000, sr=8000)
    with pytest.raises(ValueError, match="STFT: scaling: need another one with frequencies="):
        xi.STFT(64, frequencies=bins, scaling="amplitude")
    dft = xi.Frequencies(125.0 * np.arange(33), sr=8000)  # those of the DFT, all the same
    assert xi.STFT(64, frequencies=dft, scaling="amplitude").amplitudes


def test_solvers_give_back_the_signal(rng):
    x = rng.standard_normal(300)
    for solver in (xi.Dual(weights=np.linspace(1, 2, 17)), xi.PerFrame()):
        amplitude, spectrum = pair(32, 8, solver=solver)
        y = amplitude.istft(amplitude.stft(x), length=300)
        np.testing.assert_array_equal(y, spectrum.istft(spectrum.stft(x), length=300))
        np.testing.assert_allclose(y, x, atol=1e-6)
    amplitude, spectrum = pair(32, 8)
    found = amplitude.solve(amplitude.stft(x), length=300)
    np.testing.assert_array_equal(found.signal, spectrum.solve(spectrum.stft(x), length=300).signal)


# ------------------------------------------------------------------ every way there


def test_streams_give_the_bits_of_one_call(xp):
    x = noise((2, 200))
    t = xi.STFT(16, 4, scaling="amplitude")
    one = xp.to_numpy(t.stft(xp.asarray(x)))
    forward, backward = xi.StreamingSTFT(t), xi.StreamingISTFT(t)
    X, y = [], []
    for lo in range(0, 200, 37):
        X.append(forward.push(xp.asarray(x[:, lo : lo + 37])))
        y.append(backward.push(X[-1]))
    X.append(forward.flush())
    y += [backward.push(X[-1]), backward.flush(length=200)]
    np.testing.assert_allclose(np.concatenate([xp.to_numpy(each) for each in X], -1), one, atol=1e-15)
    np.testing.assert_allclose(np.concatenate([xp.to_numpy(each) for each in y], -1), x, atol=1e-13)
    if xp.name == "numpy":
        assert (np.concatenate(X, -1) == one).all()
        assert (np.concatenate(y, -1) == t.istft(one, length=200)).all()


def test_a_stream_shorter_than_its_padding_is_one_call():
    t, x = xi.STFT(16, 4, scaling="amplitude", pad_mode="reflect"), noise(7)
    stream = xi.StreamingSTFT(t)
    assert stream.push(x).shape[-1] == 0
    np.testing.assert_array_equal(stream.flush(), t.stft(x))


def test_blocks_and_what_only_has_slices():
    x = noise((2, 500))
    t = xi.STFT(64, 16, scaling="amplitude")
    X = t.stft(x)
    y = t.istft(X, length=500)
    blocks = stft_blocks(lambda lo, hi: x[:, lo:hi], t.analysis("stft", 500, x), block_frames=5)
    assert (np.concatenate(list(blocks), -1) == X).all()
    job, _ = t.synthesis("istft", X.shape[-1], 500, X)
    assert (np.concatenate(list(istft_blocks(lambda a, b: X[..., a:b], job, block_frames=5)), -1) == y).all()
    assert (t.stft(Sliced(x)) == X).all()
    assert (t.istft(Sliced(X), length=500) == y).all()
    out = np.zeros_like(X)
    t.stft(x, out=Sliced(out))
    assert (out == X).all()
    assert not isinstance(X, Stored)


def test_long_spectra_are_changed_in_blocks_of_a_copy(cut):
    """A spectrum that is mapped may be larger than memory."""
    t, x = xi.STFT(256, 64, scaling="amplitude"), noise((2, 40_000))
    X = t.stft(x)
    want = t.istft(X, length=40_000)
    cut(amplitude_bytes=1 << 16)
    tracemalloc.start()
    y = t.istft(X, length=40_000, out=np.empty((2, 40_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (y == want).all()
    assert peak < y.nbytes + X.nbytes / 4
    assert (t.istft(X) == t.istft(X, workers=2)).all()
    with pytest.warns(xi.CoverageWarning):
        beyond = t.istft(X, length=60_000)  # zeros, for blocks without a frame
    assert (beyond[:, :40_000] == want).all()
    assert not beyond[:, 41_000:].any()


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_gradients_reach_signals_and_windows(library):
    """The derivative along a direction, beside a difference of values in NumPy."""
    module = pytest.importorskip(library)
    x, w, R = noise(80), np.hanning(17)[1:] + 0.1, noise((9, 21))

    def of(x, w, xp):
        t = xi.STFT(16, 4, window=w, scaling="amplitude")
        X = t.stft(x)
        return (xp.abs(X) * R).sum() + (t.istft(X * X.real, length=80) ** 2).sum()

    def numpys(x, w):
        return of(x, w, np)

    dx, dw = noise(80)[::-1], noise(16)
    h = 1e-6
    want = (numpys(x + h * dx, w + h * dw) - numpys(x - h * dx, w - h * dw)) / (2 * h)
    if library == "torch":
        R = module.from_numpy(R)
        given = [module.tensor(each, requires_grad=True) for each in (x, w)]
        grads = module.autograd.grad(of(*given, module), given)
        got = sum(float((g * module.tensor(d.copy())).sum()) for g, d in zip(grads, (dx, dw), strict=True))
    else:
        module.config.update("jax_enable_x64", True)
        got = module.jvp(lambda x, w: of(x, w, module.numpy), (x, w), (dx.copy(), dw))[1]
    assert float(got) == pytest.approx(want, rel=1e-6)


def test_programs_give_what_calls_give():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    t, x = xi.STFT(16, 4, scaling="amplitude"), noise(80)
    X = t.stft(x)

    def both(x):
        X = t.stft(x)
        return X, t.istft(X, length=80)

    jax.config.update("jax_enable_x64", True)
    for A, y in (jax.jit(both)(x), torch.compile(both, backend="eager", fullgraph=True)(torch.from_numpy(x))):
        np.testing.assert_allclose(np.asarray(A), X, atol=1e-14)
        np.testing.assert_allclose(np.asarray(y), x, atol=1e-13)


# ------------------------------------------------------------------ phases


def test_phase_retrieval_is_that_of_the_spectrum(xp):
    x = np.sin(np.arange(600) ** 1.5 / 60)
    amplitude, spectrum = pair(32, 8)
    S = abs(spectrum.stft(x))
    A, S = xp.asarray(S * times(32)), xp.asarray(S)
    options = {"length": 600, "n_iter": 3}
    seen, due = [], []
    y = xi.griffin_lim(A, amplitude, **options, callback=lambda *each: seen.append(each))
    want = xi.griffin_lim(S, spectrum, **options, callback=lambda *each: due.append(each))
    np.testing.assert_array_equal(xp.to_numpy(y), xp.to_numpy(want))
    np.testing.assert_allclose(np.array(seen), np.array(due), rtol=1e-13 if xp.double else 1e-6)
    X, P = (xp.to_numpy(xi.pghi(each, t)) for each, t in ((A, amplitude), (S, spectrum)))
    np.testing.assert_array_equal(X, P * times(32))
    np.testing.assert_allclose(abs(X), xp.to_numpy(A), atol=1e-14)


def test_the_projection_is_onto_spectra_of_signals(xp):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((17, 12)) + 1j * rng.standard_normal((17, 12))
    amplitude, spectrum = pair(32, 8)
    A, S = xp.asarray(X * times(32)), xp.asarray(X)
    P = xi.project(A, amplitude)
    np.testing.assert_array_equal(xp.to_numpy(P), xp.to_numpy(xi.project(S, spectrum)) * times(32))
    np.testing.assert_allclose(xp.to_numpy(xi.project(P, amplitude)), xp.to_numpy(P), atol=1e-13)
    far = xp.to_numpy(xi.inconsistency(A, amplitude))
    np.testing.assert_array_equal(far, xp.to_numpy(xi.inconsistency(S, spectrum)))
    assert 0.5 < far < 1


# ------------------------------------------------------------------ modules


@pytest.mark.parametrize("scaling", [None, "amplitude"])
def test_modules_with_kernels_and_for_export_make_the_same(scaling):
    torch = pytest.importorskip("torch")
    from xp_istft.nn import ISTFT, STFT

    t, x = xi.STFT(16, 4, scaling=scaling), torch.from_numpy(noise((2, 80), np.float32))
    X = t.stft(x)
    for options in ({}, {"trainable_kernels": True}, {"trainable_window": True}):
        torch.testing.assert_close(STFT(t, **options)(x), X)
        torch.testing.assert_close(ISTFT(t, **options)(X, length=80), x)
    pairs = STFT(t, export=True)(x)
    torch.testing.assert_close(torch.view_as_complex(pairs.contiguous()), X)
    torch.testing.assert_close(ISTFT(t, export=True)(pairs, length=80), x)


def test_a_kernel_is_trained_in_the_scale_of_its_bin():
    """Doubling a row of the forward kernels doubles that bin, of DC too; one of the inverse what the bin adds."""
    torch = pytest.importorskip("torch")
    from xp_istft.nn import ISTFT, STFT

    t, x = xi.STFT(16, 4, scaling="amplitude"), torch.from_numpy(noise(80))
    forward, inverse = STFT(t, trainable_kernels=True).double(), ISTFT(t, trainable_kernels=True).double()
    X = t.stft(x)
    for k in (0, 3, 8):
        gain = torch.ones(9, 1, dtype=torch.float64)
        gain[k] = 2
        given = {name: getattr(forward, name) * gain for name in ("kernel_real", "kernel_imag")}
        torch.testing.assert_close(torch.func.functional_call(forward, given, x), X * gain, atol=1e-6, rtol=1e-6)
        given = {name: getattr(inverse, name) * gain for name in ("kernel_real", "kernel_imag")}
        y = torch.func.functional_call(inverse, given, (X, 80))
        torch.testing.assert_close(y, t.istft(X * gain, length=80), atol=1e-6, rtol=1e-6)


POWERS = [(1.0, 0.0), (2.0, 0.0), (0.3, 0.0), (0.3, 1e-3), (2.0, 0.5), (1.0, 1e-4)]


@pytest.mark.parametrize(("power", "eps"), POWERS)
def test_powers_are_their_formula_with_gradients_that_are_finite_in_silence(power, eps):
    torch = pytest.importorskip("torch")
    from xp_istft.nn import STFT

    t = xi.STFT(16, 4)
    x = noise(200)
    x[60:140] = 0  # frames of silence, and of its neighbourhood
    module = STFT(t, output_format="magnitude", power=power, eps=eps)
    given = torch.tensor(x, requires_grad=True)
    S = module(given)
    want = (abs(t.stft(x)) ** 2 + eps) ** (power / 2)
    np.testing.assert_allclose(S.detach().numpy(), want, rtol=1e-12, atol=1e-14)
    (gradient,) = torch.autograd.grad(S.sum(), given)
    assert torch.isfinite(gradient).all()
    assert (gradient[85:115] == 0).all()
    assert (gradient[:40] != 0).all()
    exported = STFT(t, output_format="magnitude", power=power, eps=eps, export=True).double()(given.detach())
    np.testing.assert_allclose(exported.numpy(), want, rtol=1e-4, atol=1e-3 if power < 1 else 1e-5)


def test_powers_do_not_overflow():
    torch = pytest.importorskip("torch")
    from xp_istft.nn import STFT

    t, x = xi.STFT(16, 4, pad_mode="reflect"), torch.from_numpy(noise(200))
    loud = STFT(t, output_format="magnitude", power=0.5, eps=1e-6)(1e30 * x.float())
    torch.testing.assert_close(loud, STFT(t, output_format="magnitude", power=0.5)(x.float()) * 1e15, rtol=1e-3, atol=0)
    half = STFT(t, power=2.0)(x.half(), output_format="magnitude")
    assert half.dtype is torch.float16


@pytest.mark.parametrize(("name", "value"), [("power", 0.0), ("power", -1.0), ("eps", -1e-9), ("eps", float("nan"))])
def test_wrong_powers_are_said(name, value):
    pytest.importorskip("torch")
    from xp_istft.nn import STFT

    with pytest.raises(ValueError, match=f"STFT: {name}: need"):
        STFT(xi.STFT(16), output_format="magnitude", **{name: value})


def test_magnitudes_that_come_frame_by_frame_are_those_of_another_scaling():
    x, got = noise((2000,)), []
    for scaling in ("spectrum", "amplitude"):
        t = xi.STFT(256, 64, scaling=scaling)
        stream = xi.StreamingGriffinLim(t, lookahead=1, n_iter=1)
        got.append(np.concatenate([stream.push(abs(t.stft(x))), stream.flush(length=2000)]))
    np.testing.assert_allclose(*got, rtol=0, atol=1e-9)
