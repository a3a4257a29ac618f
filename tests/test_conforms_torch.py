"""compat.torch against torch over random parameters."""

from __future__ import annotations

import inspect
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.signal
from conformance import WINDOWS, Draw, assert_conforms, envelope, samples

import xp_istft as xi
from xp_istft.compat import torch as ours

torch = pytest.importorskip("torch")


def sizes(draw: Draw, real: str) -> dict:
    n_fft = draw.integer("n_fft", 4, 80)
    win_length = draw.one("win_length", None, draw.integer("win_length", 2, n_fft))
    window = scipy.signal.get_window(draw.one("window", *WINDOWS), win_length or n_fft) + draw.one("offset", 0, 0.05)
    return {
        "n_fft": n_fft,
        "hop_length": draw.one("hop_length", None, draw.integer("hop_length", 1, win_length or n_fft)),
        "win_length": win_length,
        "window": torch.from_numpy(window.astype(real)),
        "normalized": draw.one("normalized", False, True),
    }


@samples()
def test_stft(numbers):
    for number in numbers:
        draw = Draw(number, 3)
        dtype = draw.one("dtype", "float32", "float64", "complex64", "complex128")
        options = sizes(draw, "float32" if dtype in ("float32", "complex64") else "float64")
        n_fft = options["n_fft"]
        if draw.maybe(0.1):
            options["window"] = None
        options["center"] = draw.one("center", True, False)
        if options["center"]:
            options["pad_mode"] = draw.one("pad_mode", "reflect", "constant", "replicate", "circular")
        else:
            options["align_to_window"] = draw.one("align", None, True, False)
        onesided = draw.one("onesided", None, False)
        return_complex = draw.one("return_complex", True, False)
        shape = draw.one("shape", (), (3,))
        x = draw.array((*shape, draw.integer("n_samples", n_fft, 400)), dtype)
        x = torch.from_numpy(x)
        X = ours.stft(x, **options, onesided=onesided, return_complex=return_complex, strict=True)
        margin = n_fft - (options["win_length"] or n_fft)
        if options.get("align_to_window") and margin % 2:  # torch reads beyond its memory, or raises
            assert X.shape[len(shape) + 1] == 1 + (x.shape[-1] - options["win_length"]) // (
                options["hop_length"] or n_fft // 4
            )
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations and advice of torch's
            expected = torch.stft(x, **options, onesided=onesided, return_complex=return_complex)
        assert_conforms(X, expected, draw)


@samples()
def test_istft(numbers):
    for number in numbers:
        draw = Draw(number, 4)
        dtype = draw.one("dtype", "complex64", "complex128")
        options = sizes(draw, "float32" if dtype == "complex64" else "float64")
        n_fft = options["n_fft"]
        hop = options["hop_length"] or n_fft // 4
        n_frames = draw.integer("n_frames", 1, 12)
        onesided = draw.one("onesided", True, False)
        X = draw.array((*draw.one("shape", (), (3,)), n_fft // 2 + 1 if onesided else n_fft, n_frames), dtype)
        options["center"] = draw.one("center", True, False)
        options["onesided"] = None if draw.maybe(0.5) and n_fft > 2 else onesided
        options["return_complex"] = not onesided and draw.maybe()
        whole = n_fft + hop * (n_frames - 1)
        options["length"] = draw.one("length", None, draw.integer("length", 8, whole))
        X = torch.from_numpy(X)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = torch.istft(X, **options)
        except (RuntimeError, IndexError):
            with pytest.raises(RuntimeError):
                ours.istft(X, **options, strict=True)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = ours.istft(X, **options, strict=True)
        assert_conforms(x, expected, draw)


def test_signatures_are_torchs():
    for name, signature in (
        ("stft", inspect.signature(torch.stft)),
        ("istft", None),  # built in
    ):
        mine = inspect.signature(getattr(ours, name)).parameters
        assert list(mine)[-1] == "strict"
        if signature is not None:
            assert [(each.name, each.default) for each in list(mine.values())[:-1]] == [
                (each.name, each.default) for each in signature.parameters.values()
            ]


def test_where_torch_raises_and_we_do_not(rng):
    """center=False with a Hann window: sample 0 has no weight. strict=True raises as torch does."""
    w = torch.hann_window(64, dtype=torch.float64)
    x = torch.from_numpy(rng.standard_normal(512))
    X = ours.stft(x, 64, window=w, center=False, return_complex=True)
    for call in (torch.istft, lambda *args, **kwargs: ours.istft(*args, strict=True, **kwargs)):
        with pytest.raises(RuntimeError):
            call(X, 64, window=w, center=False)
    with pytest.warns(xi.CoverageWarning):
        y = ours.istft(X, 64, window=w, center=False)
    assert y[0] == 0
    np.testing.assert_allclose(y[1:], x[1:], atol=1e-11)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x, w: ours.stft(x, 64, window=w, strict=True), "return_complex"),
        (lambda x, w: ours.stft(x[:20], 64, window=w, return_complex=True, strict=True), "reflect"),
        (lambda x, w: ours.stft(x[None, None], 64, return_complex=True, strict=True), "input"),
        (lambda x, w: ours.istft(torch.zeros(33, 5, dtype=torch.complex64), 64, 65, window=w, strict=True), "hop"),
        (lambda x, w: ours.istft(torch.zeros(33, 5), 64, strict=True), "input"),
        (lambda x, w: ours.stft(x, 64, 16, 40, w, return_complex=True, strict=True), "window"),
    ],
)
def test_strict_raises_runtime_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call(torch.zeros(512), torch.hann_window(64))


def test_one_sided_signals_are_real():
    with pytest.raises(ValueError, match="^istft: return_complex: need False for a one-sided spectrum, got True"):
        ours.istft(torch.zeros(33, 5, dtype=torch.complex64), 64, return_complex=True)


def test_errors_name_torchs_parameters():
    for call in (lambda: ours.istft(torch.zeros(33, 5), 64), lambda: ours.stft(torch.zeros(512, dtype=int), 64)):
        with pytest.raises(TypeError, match=r"^i?stft: input: need dtype"):
            call()


def test_any_library_and_any_rank(xp, rng):
    host = rng.standard_normal((2, 3, 600))
    X = ours.stft(xp.asarray(host), 64, window="hann", return_complex=True)
    w = torch.hann_window(64, dtype=torch.float64)
    theirs = torch.stft(torch.from_numpy(host.reshape(6, 600)), 64, window=w, return_complex=True)
    assert xp.owns(X)
    np.testing.assert_allclose(xp.to_numpy(X), theirs.numpy().reshape(X.shape), atol=1e-12)
    y = ours.istft(X, 64, window="hann", length=600)
    assert xp.owns(y)
    np.testing.assert_allclose(xp.to_numpy(y), host, atol=1e-12)
    pairs = ours.stft(xp.asarray(host), 64, window="hann", return_complex=False)
    assert tuple(pairs.shape) == (*X.shape, 2)


def test_gradients_are_torchs(rng):
    x = torch.from_numpy(rng.standard_normal((2, 300))).requires_grad_()
    w = torch.hann_window(64, dtype=torch.float64).requires_grad_()
    grads = []
    for stft, istft in ((ours.stft, ours.istft), (torch.stft, torch.istft)):
        X = stft(x, 64, window=w, return_complex=True)
        y = istft(X * X.abs(), 64, window=w, length=300)
        grads.append(torch.autograd.grad((y**3).sum(), (x, w)))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_the_overlap_that_torch_refuses(rng):
    """A window of 1e-6 is below torch's 1e-11, and no matter to us: its scale decides nothing."""
    X = torch.from_numpy(rng.standard_normal((33, 8)) + 0j)
    w = torch.full((64,), 1e-6, dtype=torch.float64)
    assert envelope(w.numpy(), 16, 8).max() < 1e-11
    with pytest.raises(RuntimeError):
        ours.istft(X, 64, window=w, strict=True)
    torch.testing.assert_close(ours.istft(X, 64, window=w) * 1e-6, ours.istft(X, 64, window=torch.ones_like(w)))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:There is a performance drop")  # of torch's
def test_strict_inverses_follow_the_window_as_torchs():
    """By autograd, which needs no values of a window, and by torch.func, which gives none."""
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((33, 8)) + 0j)
    w = torch.hann_window(64, dtype=torch.float64) + 0.1

    def results(istft):
        window = w.clone().requires_grad_()
        yield torch.autograd.grad((istft(X, 64, window=window) ** 2).sum(), window)[0]
        yield torch.func.grad(lambda w: (istft(X, 64, window=w) ** 2).sum())(w)
        yield torch.func.jvp(lambda w: istft(X, 64, window=w), (w,), (w**2,))[1]
        yield torch.vmap(lambda w: istft(X, 64, window=w))(torch.stack([w, w**2]))

    for mine, theirs in zip(results(partial(ours.istft, strict=True)), results(torch.istft), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
