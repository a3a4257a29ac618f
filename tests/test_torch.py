"""Gradients on torch: each map is the derivative of the others, at the speed of the maps themselves."""

import contextlib
import gc
import sys
import types
import warnings
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xp_istft as xi  # noqa: E402
from xp_istft.backends.cpu.numpy import BACKEND as NUMPY  # noqa: E402
from xp_istft.backends.torch import BACKEND, cpu, gradients, lending  # noqa: E402

with (
    warnings.catch_warnings()
):  # the first use of forward mode makes torch call functions of its own that it deprecates
    warnings.simplefilter("ignore")
    torch.autograd.forward_ad._maybe_load_decompositions()

# n_fft even and odd, hop that divides and one that does not, short windows, other placements
LAYOUTS = [
    {"n_fft": 8, "hop_length": 2},
    {"n_fft": 9, "hop_length": 3, "win_length": 7},
    {"n_fft": 8, "hop_length": 3, "center": False},
    {"n_fft": 9, "hop_length": 4, "padding": "same"},
    {"n_fft": 8, "hop_length": 8, "win_length": 8, "padding": "full"},
]


def randn(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def spectrum(n_fft, n_frames=4, batch=(), onesided=True, dtype=torch.complex128):
    n_bins = n_fft // 2 + 1 if onesided else n_fft
    return randn(*batch, n_bins, n_frames, dtype=dtype).requires_grad_()


def window(size, seed=1):
    return (randn(size, seed=seed).abs() + 0.3).requires_grad_()


def check(function, inputs):
    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_istft_has_gradients_with_respect_to_spectrum_and_windows(layout):
    X = spectrum(layout["n_fft"])
    size = layout.get("win_length", layout["n_fft"])
    w, v = window(size), window(size, seed=2)
    check(lambda X: xi.istft(X, window="hamming", **layout), (X,))
    check(lambda X, w: xi.istft(X, window=w, **layout), (X, w))
    check(lambda X, w, v: xi.istft(X, window=w, synthesis_window=v, **layout), (X, w, v))
    check(lambda X, v: xi.istft(X, window="hamming", synthesis_window=v, **layout), (X, v))


def test_gradients_are_those_of_every_column_of_the_jacobian():
    X, w = spectrum(7, 3, (2,)), window(7)
    assert torch.autograd.gradcheck(lambda X, w: xi.istft(X, n_fft=7, hop_length=3, window=w), (X, w))
    x = randn(2, 11).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: xi.stft(x, 7, hop_length=3, window=w, pad_mode="reflect"), (x, w))


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
@pytest.mark.parametrize("n_fft", [8, 9])
def test_stft_has_gradients_with_respect_to_signal_and_window(pad_mode, n_fft):
    x, w = randn(13).requires_grad_(), window(n_fft - 1)
    check(lambda x: xi.stft(x, n_fft, hop_length=3, pad_mode=pad_mode), (x,))
    check(lambda x, w: xi.stft(x, n_fft, hop_length=3, window=w, pad_mode=pad_mode), (x, w))


def test_a_padding_longer_than_the_signal_is_folded_back_again_and_again():
    x = randn(3).requires_grad_()
    check(lambda x: xi.stft(x, 8, hop_length=2, pad_mode="reflect", padding=9), (x,))


@pytest.mark.parametrize("layout", LAYOUTS[:3], ids=str)
def test_stft_has_gradients_in_every_placement(layout):
    x, w = randn(2, 17).requires_grad_(), window(layout.get("win_length", layout["n_fft"]))
    check(lambda x, w: xi.stft(x, window=w, pad_mode="reflect", **layout), (x, w))


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128], ids=str)
def test_two_sided_spectra_and_complex_signals_have_gradients(kind):
    X, w = spectrum(7, onesided=False), window(7)
    real = (lambda y: y.real) if kind is torch.float64 else (lambda y: y)
    check(lambda X, w: real(xi.istft(X, hop_length=2, onesided=False, window=w)), (X, w))
    x = randn(13, dtype=kind).requires_grad_()
    check(lambda x, w: xi.stft(x, 7, hop_length=2, onesided=False, window=w), (x, w))


@pytest.mark.parametrize("scaling", ["ortho", "spectrum", "psd"])
def test_scalings_take_part(scaling):
    X, w, x = spectrum(8), window(8), randn(17).requires_grad_()
    check(lambda X, w: xi.istft(X, hop_length=2, window=w, scaling=scaling), (X, w))
    check(lambda x, w: xi.stft(x, 8, hop_length=2, window=w, scaling=scaling), (x, w))


def test_the_analysis_follows_its_window_beside_a_plain_synthesis_window():
    x, due = torch.linspace(-1, 1, 90, dtype=torch.float64), []
    for synthesis_window in (None, "hamming"):
        window = torch.hann_window(16, dtype=torch.float64).requires_grad_()
        X = xi.STFT(16, 4, window=window, synthesis_window=synthesis_window).stft(x)
        due.append(torch.autograd.grad(X.abs().square().sum(), window)[0])
    assert due[0].any()
    torch.testing.assert_close(due[1], due[0])


def test_max_gain_takes_part():
    X, w = spectrum(8), window(8)
    check(lambda X, w: xi.istft(X, hop_length=2, window=w, center=False, max_gain=1.0), (X, w))


def test_frames_and_overlap_add_follow_windows():
    x, w = randn(13).requires_grad_(), window(6)
    check(lambda x, w: xi.frame(x, 6, 2, window=w), (x, w))
    segments = randn(6, 4).requires_grad_()
    check(lambda segments, w: xi.overlap_add(segments, 2, window=w), (segments, w))


@pytest.mark.parametrize(
    "options", [{}, {"center": False, "nola": "zero"}, {"max_gain": 2.0, "center": False}], ids=str
)
@pytest.mark.parametrize("n_frames", [1, 2, 9])
def test_followed_windows_give_the_numbers_of_plain_ones(options, n_frames):
    X, w, v = spectrum(8, n_frames).detach(), torch.hann_window(8, dtype=torch.float64), window(8)
    options = {"n_fft": 8, "hop_length": 3, "length": 13, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xi.CoverageWarning)
        for pair in ((w, None), (w, v)):
            plain = xi.istft(X, window=pair[0], synthesis_window=None if pair[1] is None else v.detach(), **options)
            ours = xi.istft(X, window=w.clone().requires_grad_(), synthesis_window=pair[1], **options)
            torch.testing.assert_close(ours.detach(), plain, rtol=1e-13, atol=1e-13)
            assert torch.equal(ours == 0, plain == 0)


def test_gradients_are_finite_where_the_window_is_zero():
    w = torch.hann_window(8, dtype=torch.float64).requires_grad_()
    X = spectrum(8)
    for options in ({"nola": "zero"}, {"nola": "zero", "max_gain": 3.0}):
        y = xi.istft(X, hop_length=2, window=w, center=False, **options)
        assert y[0] == 0
        for grad in torch.autograd.grad(y.square().sum(), (X, w)):
            assert torch.isfinite(grad).all()
    w = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    x = randn(20).requires_grad_()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(xi.stft(x, 8, window=w).abs().sum(), (x, w)))


def test_uncovered_samples_pass_no_gradient_even_of_nan():
    X = spectrum(8)
    y = xi.istft(X, hop_length=2, center=False, nola="zero")
    (grad,) = torch.autograd.grad(y, X, torch.full_like(y, 0).index_fill(0, torch.tensor([0]), torch.nan))
    assert not grad.any()


def test_the_imaginary_parts_of_the_real_bins_have_no_gradient():
    X = spectrum(8)
    (grad,) = torch.autograd.grad(xi.istft(X, hop_length=2).square().sum(), X)
    assert not grad.imag[[0, -1]].any()
    assert grad.imag[1:-1].all()


def test_a_hole_is_refused_for_a_followed_window_too():
    w = torch.zeros(8).index_fill(0, torch.tensor([0]), 1.0).requires_grad_()
    with pytest.raises(xi.NOLAError, match="overlap > 0"):
        xi.istft(spectrum(8), hop_length=4, window=w)
    with pytest.raises(TypeError, match="window: need a real dtype"):
        xi.istft(spectrum(8), hop_length=4, window=w.to(torch.complex64))
    with pytest.raises(ValueError, match="window: need the device of the data"):
        xi.istft(spectrum(8), hop_length=4, window=w.to("meta"))
    with pytest.raises(ValueError, match="length 8"):
        xi.istft(spectrum(8), n_fft=8, win_length=8, hop_length=4, window=torch.ones(7, requires_grad=True))


def test_nothing_but_the_arguments_is_kept_for_backward():
    sizes = []

    def packed(tensor):
        sizes.append(tensor.numel())
        return tensor

    X, w = spectrum(64, 100), window(64)
    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        xi.istft(X * 1, hop_length=1)
    assert sizes == []
    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        xi.istft(X, hop_length=1, window=w)
    assert max(sizes) <= X.numel() < 64 * 100


def test_the_spectrum_is_not_kept_alive():
    X = spectrum(64)
    middle = X * 1
    y = xi.istft(middle)
    kept = weakref.ref(middle)
    del middle
    gc.collect()
    assert kept() is None
    y.sum().backward()
    assert torch.isfinite(X.grad).all()


def test_gradients_of_broadcast_conjugate_and_permuted_tensors():
    X = spectrum(8, 5, (2,))
    y = xi.istft(X, hop_length=2)
    y.sum().backward()  # an expanded gradient
    expected, X.grad = X.grad, None
    xi.istft(X.conj(), hop_length=2).sum().backward()
    torch.testing.assert_close(X.grad, expected.conj())
    X.grad = None
    xi.istft(X.permute(1, 2, 0), hop_length=2, axes=(0, 1)).sum().backward()
    torch.testing.assert_close(X.grad, expected)


def test_gradients_accumulate_in_single_precision():
    X = spectrum(8, dtype=torch.complex64)
    w = window(8).detach().float().requires_grad_()
    y = xi.istft(X, hop_length=2, window=w)
    y.square().sum().backward()
    assert (y.dtype, X.grad.dtype, w.grad.dtype) == (torch.float32, torch.complex64, torch.float32)
    wide = [t.detach().to(kind).requires_grad_() for t, kind in ((X, torch.complex128), (w, torch.float64))]
    xi.istft(wide[0], hop_length=2, window=wide[1]).square().sum().backward()
    for ours, exact in zip((X, w), wide, strict=True):
        torch.testing.assert_close(ours.grad.to(exact.dtype), exact.grad, rtol=1e-4, atol=1e-4)


def test_half_precision_has_gradients():
    x = randn(40).half().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls complex32 experimental
        xi.istft(xi.stft(x, 8), length=40).float().sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x), rtol=1e-2, atol=1e-2)


def test_no_copy_in_and_none_out(monkeypatch):
    seen = {}
    original = NUMPY.synthesis

    def watched(array, job, out=None, workers=None):
        result = original(array, job, out=out, workers=workers)
        seen["in"], seen["out"] = array.ctypes.data, result.ctypes.data
        return result

    monkeypatch.setattr(NUMPY, "synthesis", watched, raising=False)
    two_sided = {"hop_length": 2, "onesided": False}
    for X in (spectrum(8).detach(), spectrum(8)):
        y = xi.istft(X, **two_sided)
        assert seen == {"in": X.data_ptr(), "out": y.data_ptr()}
    out = torch.empty_like(y.detach())
    result = xi.istft(X.detach(), **two_sided, out=out)
    assert result is out
    assert seen["out"] == out.data_ptr()


@pytest.mark.parametrize(
    "pairs",
    [
        lambda x: x[:120].reshape(5, 12, 2),
        lambda x: x[1:121].reshape(5, 12, 2),  # begins within what would be a complex number
        lambda x: x[:180].reshape(5, 12, 3)[..., :2],
        lambda x: x[:120].reshape(2, 5, 12).permute(1, 2, 0),
        lambda x: x[:140].reshape(5, 14, 2)[:, 1:13],
    ],
)
def test_pairs_anywhere_in_memory_are_joined(pairs):
    x = randn(200).requires_grad_()
    parts = pairs(x)
    Z = xi.as_complex(parts)
    assert torch.equal(Z, torch.complex(parts[..., 0].contiguous(), parts[..., 1].contiguous()))
    even = parts.stride(-1) == 1 and parts.stride(1) == 2 and parts.storage_offset() % 2 == 0
    assert (Z.data_ptr() == parts.data_ptr()) is even
    Z.abs().square().sum().backward()
    inside = pairs(torch.arange(200)).reshape(-1)
    due = torch.zeros_like(x).index_copy(0, inside, 2 * x.detach()[inside])
    torch.testing.assert_close(x.grad, due)


@pytest.mark.parametrize("peak", [0.05, 20.0])
@pytest.mark.parametrize("scaling", [None, "ortho", "spectrum", "psd"])
def test_followed_windows_are_scaled_as_plain_ones(scaling, peak):
    x, w = randn(2, 60), window(8)
    w = w * peak / w.detach().max()
    options = {"hop_length": 2, "scaling": scaling}
    X = xi.stft(x, 8, window=w, **options)
    torch.testing.assert_close(X, xi.stft(x, 8, window=w.detach(), **options))
    torch.testing.assert_close(xi.istft(X, window=w, **options), x)


def test_the_windows_gradient_is_the_same_in_any_blocks(cut):
    X, w = spectrum(8, n_frames=11, batch=(2,)), window(8)
    due = torch.autograd.grad(xi.istft(X, hop_length=2, window=w).square().sum(), w)[0]
    for items in (1, 8 * 2 * 3, 8 * 2 * 4):
        cut(gradient_items=items)
        got = torch.autograd.grad(xi.istft(X, hop_length=2, window=w).square().sum(), w)[0]
        torch.testing.assert_close(got, due)


def test_values_are_at_hand_where_they_are_simply_there():
    x, seen = randn(3, 4), []
    assert np.shares_memory(BACKEND.at_hand(x), x.numpy())
    torch.func.vmap(lambda row: (seen.append(BACKEND.at_hand(row)), row)[1])(x)
    assert seen == [None]
    assert BACKEND.at_hand(x.to("meta")) is None


def test_inputs_are_not_changed():
    X, w, x = spectrum(8), window(8), randn(20).requires_grad_()
    before = [t.detach().clone() for t in (X, w, x)]
    xi.istft(X, hop_length=2, window=w).square().sum().backward()
    Y = xi.stft(x, 8, window=w, pad_mode="reflect")
    grad = torch.ones_like(Y)
    Y.backward(grad)
    assert all(torch.equal(a.detach(), b) for a, b in zip((X, w, x), before, strict=True))
    assert torch.equal(grad, torch.ones_like(Y))


def test_long_gains_are_applied_in_stretches():
    for options in ({}, {"center": False, "nola": "zero"}, {"length": 30, "nola": "zero"}, {"length": 7}):
        for n_frames in (1, 3, 200):
            X = spectrum(15, n_frames).detach()
            job = {"n_fft": 15, "hop_length": 4, "window": "hann", **options}
            y = xi.istft(X, **job)
            u = randn(*y.shape, seed=5)
            (grad,) = torch.autograd.grad(xi.istft(X.requires_grad_(), **job), X, u)
            inner = torch.vdot(u.to(torch.complex128), y.to(torch.complex128)).real
            torch.testing.assert_close(inner, (X.conj() * grad).sum().real.detach(), rtol=1e-11, atol=1e-11)


def test_the_definition_serves_where_memory_cannot_be_lent(monkeypatch):
    X, w, x = spectrum(9, 6, (2,)), window(9), randn(2, 30).requires_grad_()

    def results():
        values = []
        for pad_mode in ("constant", "reflect"):
            values += [xi.stft(x, 9, hop_length=4, pad_mode=pad_mode, window=each) for each in ("hann", w)]
        values += [xi.istft(X, n_fft=9, hop_length=4, window=each) for each in ("hann", w)]
        grads = [
            torch.autograd.grad(value.abs().sum(), tensor)
            for value in values
            for tensor in (x, X)
            if _uses(value, tensor)
        ]
        return values + [grad for (grad,) in grads]

    def _uses(value, tensor):
        return (value.is_complex() and tensor is x) or (not value.is_complex() and tensor is X)

    fast = results()
    for module in (gradients, lending):
        monkeypatch.setattr(module, "lendable", lambda tensor: False)
    for a, b in zip(fast, results(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    out = torch.empty(2, 21, dtype=torch.float64)
    assert xi.istft(X.detach(), n_fft=9, hop_length=4, out=out) is out
    torch.testing.assert_close(out, fast[4].detach(), rtol=1e-12, atol=1e-12)


def test_cuda_tensors_go_to_cupy_on_the_stream_of_torch(monkeypatch):
    """With stand-ins for CuPy and the device: what is lent, and where work is queued."""
    entered = []

    @contextlib.contextmanager
    def stream_of(stream, device):
        entered.append((stream, device))
        yield

    library, maps = types.ModuleType("cupy"), types.ModuleType("xp_istft.backends.cupy")
    library.from_dlpack = np.from_dlpack
    maps.BACKEND, maps.stream_of = NUMPY, stream_of
    monkeypatch.setitem(sys.modules, "cupy", library)
    monkeypatch.setitem(sys.modules, "xp_istft.backends.cupy", maps)
    monkeypatch.delattr("xp_istft.backends.cupy", raising=False)
    stream = types.SimpleNamespace(cuda_stream=7)  # as torch 2.5 has it: no __cuda_stream__
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    X = spectrum(8).detach()
    on_cuda = types.SimpleNamespace(is_cpu=False, device=types.SimpleNamespace(index=3))
    borrower = lending.borrower
    monkeypatch.setattr(lending, "borrower", lambda tensor: borrower(on_cuda))
    monkeypatch.setattr(cpu, "served", lambda tensor, job: False)
    plain = xi.istft(X.numpy(), hop_length=2)
    assert np.array_equal(xi.istft(X, hop_length=2).numpy(), plain)
    assert entered == [(stream, 3)]
    entered.clear()
    grad = torch.autograd.grad(xi.istft(X.requires_grad_(), hop_length=2).sum(), X)
    assert len(entered) == 2
    assert torch.isfinite(grad[0].abs()).all()


def test_tensors_on_a_device_without_cupy_are_worked_on_by_torch(monkeypatch):
    on_cuda = types.SimpleNamespace(is_cpu=False, is_cuda=True, device=types.SimpleNamespace(type="cuda"))
    for found, lent in ((None, False), (object(), True)):
        monkeypatch.setattr(lending, "find_spec", lambda name, found=found: found)
        lending._cupy_installed.cache_clear()
        assert lending.lendable(on_cuda) is lent
    lending._cupy_installed.cache_clear()
    monkeypatch.setattr(sys.modules["xp_istft.backends.torch.adapter"], "followed", lambda tensor: False)
    assert BACKEND.at_hand(on_cuda) is None  # values are not waited for
    assert BACKEND.follows(on_cuda)


def test_windows_learn_an_unknown_analysis_window():
    target = np.hamming(33)[:-1]
    x = randn(4, 400)
    X = xi.stft(x, 32, hop_length=8, window=target)
    w = torch.ones(32, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = (xi.istft(X, hop_length=8, window=w, length=400) - x).square().mean()
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert losses[-1] < 1e-4 * losses[0]
