"""torch's own samples of its stft and istft give the same values and gradients through ours."""

import inspect
import warnings

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="torch's samples need expecttest")

import xp_istft as xi  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

ISTFT = ("n_fft", "hop_length", "win_length", "window", "center", "normalized", "onesided", "length", "return_complex")
STFT = (
    "n_fft", "hop_length", "win_length", "window", "center", "pad_mode", "normalized", "onesided", "return_complex",
    "align_to_window",
)  # fmt: skip


def samples(name, dtype):
    (operator,) = [op for op in op_db if op.name == name]
    return list(operator.sample_inputs("cpu", dtype, requires_grad=True))


def arguments(names, sample):
    given = {**dict(zip(names, sample.args, strict=False)), **sample.kwargs}
    defaults = inspect.signature(torch.stft).parameters
    return {name: given.get(name, defaults[name].default if name in defaults else None) for name in names}


def real_window(arguments):
    """The sample's window; of a complex one, which ours cannot be, the real part."""
    window = arguments["window"]
    return None if window is None else window.detach().real.clone().requires_grad_(window.requires_grad)


def outcome(function, tensor, window):
    """Value and gradients (for a fixed cotangent), or the error."""
    try:
        value = function(tensor, window)
    except RuntimeError as problem:
        return problem
    generator = torch.Generator().manual_seed(0)
    cotangent = torch.randn(value.shape, dtype=value.dtype, generator=generator)
    inputs = [each for each in (tensor, window) if each is not None and each.requires_grad]
    return (value.detach(), *torch.autograd.grad(value, inputs, cotangent))


def compare(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_istft_samples():
    compared = 0
    for sample in samples("istft", torch.complex128):
        a = arguments(ISTFT, sample)
        X = sample.input
        n_fft, win_length = a["n_fft"], a["win_length"] or a["n_fft"]
        window = real_window(a)
        onesided = X.shape[-2] != n_fft if a["onesided"] is None else a["onesided"]
        complex_result = bool(a["return_complex"])

        def ours(X, window, a=a, n_fft=n_fft, win_length=win_length, onesided=onesided, complex_result=complex_result):
            if not onesided and not complex_result:  # torch reads one half only; ours is the real part of both
                X, onesided = X[..., : n_fft // 2 + 1, :], True
            y = xi.istft(
                X,
                n_fft=n_fft,
                hop_length=a["hop_length"] or n_fft // 4,
                win_length=win_length,
                window="boxcar" if window is None else window,
                center=True if a["center"] is None else a["center"],
                length=a["length"],
                onesided=onesided,
                scaling="ortho" if a["normalized"] else None,
            )
            return torch.complex(y, torch.zeros_like(y)) if complex_result and onesided else y

        def theirs(X, window, a=a):
            named = {name: value for name, value in a.items() if value is not None and name != "window"}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.istft(X, window=window, **named)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xi.CoverageWarning)
            expected = outcome(theirs, X, window)
            if isinstance(expected, RuntimeError):  # torch refuses what we define
                continue
            compare(outcome(ours, X, window), expected)
        compared += 1
    assert compared >= 5


def test_stft_samples():
    compared = 0
    for dtype in (torch.float64, torch.complex128):
        for sample in samples("stft", dtype):
            a = arguments(STFT, sample)
            onesided = not dtype.is_complex if a["onesided"] is None else a["onesided"]

            def ours(x, window, a=a, onesided=onesided):
                X = xi.stft(
                    x,
                    a["n_fft"],
                    hop_length=a["hop_length"] or a["n_fft"] // 4,
                    win_length=a["win_length"] or a["n_fft"],
                    window="boxcar" if window is None else window,
                    center=True if a["center"] is None else a["center"],
                    pad_mode=a["pad_mode"] or "reflect",
                    onesided=onesided,
                    scaling="ortho" if a["normalized"] else None,
                )
                return (
                    X
                    if a["return_complex"] or (a["return_complex"] is None and x.is_complex())
                    else torch.view_as_real(X)
                )

            def theirs(x, window, a=a):
                named = {name: value for name, value in a.items() if value is not None and name != "window"}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return torch.stft(x, window=window, **named)

            window = real_window(a)
            expected = outcome(theirs, sample.input, window)
            if isinstance(expected, RuntimeError):
                continue
            compare(outcome(ours, sample.input, window), expected)
            compared += 1
    assert compared >= 5
