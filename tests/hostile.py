"""What each hostile, broken or edge input gets: one row a case, tried on every function of hostile_functions.py.

From top to bottom: what a row is, the arrays that go in, checks that no single value makes, the rows. A row's number is
that of the reliability battery (benchmarks/battery.py), for which rows of one number are one case: A shapes, B dtypes,
C values, D parameters, E memory and containers, F and G state; X are rows that it does not have.
"""

from __future__ import annotations

import functools
import math
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import definition
import numpy as np
import pytest

import xp_istft as xi

# ------------------------------------------------------------------ what a row is


@dataclass(frozen=True)
class Refused:
    """An error of exactly this kind, whose text begins with the function's name and goes on so (a pattern)."""

    kind: type[Exception]
    text: str


@dataclass(frozen=True)
class Gives:
    """The value of the definition, to `tol` of its peak; with `warning`, one CoverageWarning whose text has it.

    known : parameters of the definition that differ from those of the call
    """

    tol: float = 1e-12
    warning: str | None = None
    known: dict[str, Any] = field(default_factory=dict)


Call = Callable[..., np.ndarray]  # call(host data, **parameters) -> host result
Check = Callable[[Call], None]  # for what no single value tells


@dataclass(frozen=True, eq=False)
class Row:
    """`data` makes what goes in (default: what the function takes, in order); `takes` says to which functions."""

    id: str
    what: str
    outcome: Refused | Gives | Check
    data: Callable[[], Any] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] = ("spectrum",)
    libraries: tuple[str, ...] | None = None  # None: all that the function is tried on


# Which libraries a row is tried on, and what functions take.
ALL = ("numpy", "torch", "jax", "array_api_strict", "fake_cupy")  # the last in tests/cuda
STREAMED = ("numpy", "torch", "fake_cupy")
ON_HOST = ("numpy", "torch")
LAID_OUT = ("numpy", "fake_cupy")  # whose arrays have any strides
KINDS = ("spectrum", "signal", "segments", "magnitudes", "sizes")


# ------------------------------------------------------------------ material

BASE = {"n_fft": 256, "hop_length": 64}
HANN = definition.window_samples("hann", 256, 256)
HAMMING = definition.window_samples("hamming", 256, 256)
RAMP = np.linspace(0.1, 1, 256)
GRID = xi.linear_frequencies(160, 0, 4000, 8000)


@functools.cache
def signal(*lead: int, n_samples: int = 2048, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((*lead, n_samples))
    x.flags.writeable = False
    return x


@dataclass(frozen=True)
class Convention:
    """Whose spectra: by default the definition's. The battery puts a peer's own in its place.

    tolerance : the least that values are compared to, relative to 1
    start     : first sample of frame m, of 256 samples and hop 64
    """

    spectrum: Callable[..., np.ndarray] | None = None
    inverse: Callable[..., np.ndarray] | None = None
    tolerance: float = 0.0
    start: Callable[[int], int] = lambda m: 64 * m - 128


convention = Convention()


def near(y: np.ndarray, want: np.ndarray, atol: float = 1e-12, rtol: float = 0.0) -> None:
    np.testing.assert_allclose(y, want, rtol=rtol, atol=max(atol, convention.tolerance))


def support(m: int, n_samples: int) -> np.ndarray:
    """Which samples lie in frame m."""
    t = np.arange(n_samples) - convention.start(m)
    return (t >= 0) & (t < 256)


def layout(
    n_fft: int = 256,
    hop_length: Any = 64,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    padding: Any = None,
    **_: Any,
) -> tuple[int, int, np.ndarray, tuple[int, int, bool]]:
    """n_fft, hop, window and placement, as the definition takes them."""
    hop = int(hop_length)
    size = win_length or (len(window) if isinstance(window, (np.ndarray, list)) else n_fft)
    placed = definition.placement(n_fft, hop, size, center, padding)
    return n_fft, hop, definition.window_samples(window, size, n_fft), placed


def spectrum(x: np.ndarray | None = None, **sizes: Any) -> np.ndarray:
    """What the definition makes of a signal (by default two channels of noise)."""
    if convention.spectrum is not None:
        return convention.spectrum(x, **sizes)
    return _spectrum(x, **sizes) if sizes or x is not None else _default_spectrum().copy()


@functools.cache
def _default_spectrum() -> np.ndarray:
    return _spectrum(None)


def _spectrum(x: np.ndarray | None, *, onesided: bool = True, **sizes: Any) -> np.ndarray:
    n_fft, hop, window, (before, after, whole) = layout(**sizes)
    x = signal(2) if x is None else x
    n_frames = definition.count_frames(x.shape[-1], n_fft, hop, before, after, whole)
    return definition.stft(x, n_fft, hop, window, before, n_frames, onesided)


def inverse(X: np.ndarray, *, onesided: bool = True, length: Any = None, **sizes: Any) -> np.ndarray:
    """The signal of the definition, 0 where nothing determines it."""
    if convention.inverse is not None:
        return convention.inverse(X, onesided=onesided, length=length, **sizes)
    n_fft, hop, window, (before, after, _) = layout(**sizes)
    n_samples = n_fft + hop * (X.shape[-1] - 1) - before - after if length is None else int(length)
    return definition.istft(X, n_fft, hop, window, window, before, n_samples, onesided)[0]


GOOD: dict[str, Callable[[], Any]] = {
    "spectrum": spectrum,
    "signal": lambda: signal(2),
    "segments": lambda: np.random.default_rng(1).standard_normal((2, 256, 33)),
    "magnitudes": lambda: np.abs(spectrum()),
    "sizes": lambda: None,
}


class Thing:
    """Offers __array__ and nothing else."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return spectrum()


class Units(np.ndarray):
    """A subclass with a mind of its own."""

    def __array_finalize__(self, obj: Any) -> None:
        self.unit = getattr(obj, "unit", "V")


def strided(X: np.ndarray) -> np.ndarray:
    wide = np.zeros((*X.shape[:-2], 2 * X.shape[-2], 3 * X.shape[-1]), X.dtype)
    wide[..., ::2, ::3] = X
    return wide[..., ::2, ::3]


def unaligned(X: np.ndarray) -> np.ndarray:
    view = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def field(X: np.ndarray) -> np.ndarray:
    """Of records: the strides are no multiples of a number's size."""
    records = np.zeros(X.shape, [("quality", np.int32), ("value", X.dtype)])
    records["value"] = X
    return records["value"]


def read_only(X: np.ndarray) -> np.ndarray:
    X = X.copy()
    X.flags.writeable = False
    return X


# How the same numbers may lie in memory: (..., n, m) with n, m >= 1.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "frame-major": lambda X: np.ascontiguousarray(X.swapaxes(-1, -2)).swapaxes(-1, -2),
    "batch last": lambda X: np.moveaxis(np.ascontiguousarray(np.moveaxis(X, 0, -1)), -1, 0),
    "reversed": lambda X: np.ascontiguousarray(X[..., ::-1, ::-1])[..., ::-1, ::-1],
    "rows of 4096 bytes": lambda X: np.pad(X, [(0, 0)] * (X.ndim - 1) + [(0, 512 - X.shape[-1])])[..., : X.shape[-1]],
    "strided": strided,
    "unaligned": unaligned,
    "field of records": field,
    "read-only": read_only,
    "of another byte order": lambda X: X.astype(X.dtype.newbyteorder()),
}


def mapped(X: np.ndarray) -> np.ndarray:
    folder = Path(tempfile.mkdtemp())
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def masked(X: np.ndarray) -> np.ma.MaskedArray:
    mask = np.zeros(X.shape, bool)
    mask[0, :, 10] = True
    return np.ma.masked_array(X, mask)


def matrix(X: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.matrix(X)


def table() -> Any:
    return pytest.importorskip("pandas").DataFrame(spectrum()[0])


def shared_rows(X: np.ndarray) -> np.ndarray:
    flat = X[0].ravel()[:3000].copy()
    return np.lib.stride_tricks.as_strided(flat, (1, 129, 20), (0, flat.itemsize, 7 * flat.itemsize))


# ------------------------------------------------------------------ checks that no single value makes

MIDDLE = 16  # of 33 frames


def poisoned(value: float, call: Call) -> None:
    """A value that is no number stays within its frame."""
    X = spectrum()
    clean = call(X, **BASE)
    X[0, 40, MIDDLE] = complex(value, value)
    with np.errstate(all="ignore"):  # NumPy's own, under array-api-strict
        y = call(X, **BASE)
    inside = support(MIDDLE, y.shape[-1])
    np.testing.assert_array_equal(y[1], clean[1])
    near(y[0, ~inside], clean[0, ~inside])
    assert not np.isfinite(y[0, inside][8:-8]).any()


def all_nan_item(call: Call) -> None:
    X = spectrum()
    clean = call(X, **BASE)
    X[0] = np.nan
    y = call(X, **BASE)
    np.testing.assert_array_equal(y[1], clean[1])
    assert np.isnan(y[0, 200:1500]).all()


def near_overflow(call: Call) -> None:
    X = np.zeros((1, 129, 33), np.complex64)
    X[:, 0] = 2.5e38
    y, want = call(X, **BASE), inverse(X)
    near(y[..., 128:2048], want[..., 128:2048], atol=1e31)  # the gain at the very ends may be large


def beyond_overflow(call: Call) -> None:
    """A sum beyond float32's range within one frame: right there, or not finite there, and zeros elsewhere."""
    X = np.zeros((1, 129, 33), np.complex64)
    X[:, :2, MIDDLE] = 3e38
    with np.errstate(all="ignore"):
        y = call(X, **BASE)
    assert not y[:, ~support(MIDDLE, y.shape[-1])].any()
    if np.isfinite(y).all():
        near(y, inverse(X), rtol=1e-4, atol=1e31)


def subnormal(call: Call) -> None:
    for dtype, scale, tol in ((np.complex64, 1e-41, 2e-2), (np.complex128, 1e-311, 1e-6)):
        X = (spectrum() * scale).astype(dtype)
        want = inverse(X) / scale
        near(call(X, **BASE).astype(float) / scale, want, atol=tol * np.abs(want).max())


def imaginary_ends(k: int, call: Call) -> None:
    X = spectrum()
    want = call(X, **BASE)
    X[:, k] += 50j
    near(call(X, **BASE), want)


def giant_frame(call: Call) -> None:
    X = spectrum()
    want = inverse(X)
    X[..., MIDDLE] *= 1e30
    y = call(X, **BASE)
    outside = ~support(MIDDLE, y.shape[-1])
    near(y[:, outside], want[:, outside])


def no_drift(call: Call) -> None:
    x = np.random.default_rng(5).standard_normal((1, 19999 * 8))
    kept = {"n_fft": 32, "hop_length": 8}
    X = spectrum(x, **kept)
    near(call(X, **kept), inverse(X, **kept))


def least_squares(call: Call) -> None:
    """Of a spectrum that no signal has, the definition's signal."""
    X = spectrum()
    X = X + 0.5 * np.random.default_rng(9).standard_normal((*X.shape, 2)).view(complex)[..., 0]
    near(call(X, **BASE), inverse(X))


def one_precision(call: Call) -> None:
    for dtype, eps in (("complex64", 1e-6), ("complex128", 1e-14)):
        X = spectrum().astype(dtype)
        want = inverse(X)
        y = call(X, **BASE)
        assert y.dtype == {"complex64": "float32", "complex128": "float64"}[dtype]
        near(y, want, atol=eps * np.abs(want).max())


def wide_window(call: Call) -> None:
    X = spectrum().astype(np.complex64)
    y = call(X, **BASE, window=HANN)
    assert y.dtype == np.float32
    near(y, inverse(X), atol=1e-5)


def weak_end(call: Call) -> None:
    """The first sample of a window is 1e-10 of its peak: weak, but not zero."""
    window = HAMMING.copy()
    window[0] = 1e-10
    kept = {**BASE, "window": window, "center": False}
    x = signal(1, n_samples=256 + 640)
    y = call(spectrum(x, **kept), **kept)
    assert abs(y[0, 0] - x[0, 0]) < 1e-3 * abs(x[0, 0])
    near(y[:, 1:], x[:, 1:], atol=1e-10)


def complex_signal(call: Call) -> None:
    x = signal(2) + 1j * signal(2, seed=1)
    near(call(spectrum(x, onesided=False), **BASE, onesided=False, length=2048), x)


def no_floating_point_error(call: Call) -> None:
    with np.errstate(all="raise"):
        X = spectrum()
        near(call(X, **BASE), inverse(X))


def no_warning(call: Call) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X = spectrum()
        near(call(X, **BASE), inverse(X))


def memory_of_its_own(call: Call) -> None:
    X = spectrum()
    y = call(X, **BASE)
    kept = y.copy()
    other = call(X * 3, **BASE)
    np.testing.assert_array_equal(y, kept)
    assert not np.shares_memory(y, X)
    assert not np.shares_memory(y, other)


def writeable(call: Call) -> None:
    assert call(spectrum(), **BASE).flags.writeable


def untouched(call: Call) -> None:
    """The caller's arrays keep content and flags."""
    X, window = spectrum(window=HAMMING), HAMMING.copy()
    kept = X.copy()
    call(X, **BASE, window=window)
    np.testing.assert_array_equal(X, kept)
    np.testing.assert_array_equal(window, HAMMING)
    assert window.flags.writeable
    assert X.flags.writeable


def after_refusals(call: Call) -> None:
    X = spectrum()
    want = call(X, **BASE)
    for wrong in ({"hop_length": 0}, {"n_fft": 7}, {"window": "nonsense"}, {"win_length": 10**6}, {"length": -1}):
        try:
            call(X, **{**BASE, **wrong})
        except Exception:  # of any kind: the rows look at that
            continue
        raise AssertionError(wrong)
    np.testing.assert_array_equal(call(X, **BASE), want)


# ------------------------------------------------------------------ rows

AT_LEAST = r"X: need at least 2 dimensions \(..., bins, frames\), got shape "
DTYPE = r"X: need dtype complex64 or complex128, got \S*"
LIBRARY = r"X: need an array of NumPy, CuPy, torch, JAX, .*, got "
IN_NO_FRAME = r"hop_length: need <= win_length={}, else samples lie in no frame, got {}"
INTEGER = r"{}: need an integer, got {}"
ANY, BOTH = KINDS, ("spectrum", "signal")
# What only NumPy's data can be, on any machine: of every dtype and byte order, mapped to a file, a subclass, no array;
# `out` of one library is of no other (tests/cuda/test_step2_hostile_rows.py has CuPy's); values on a device are not
# looked at, so NaN among magnitudes there is not refused.
NP = ("numpy",)


def refused(
    id: str, what: str, kind: type[Exception], text: str, data: Any = None, *, takes: tuple[str, ...] = ("spectrum",),
    libraries: tuple[str, ...] | None = None, **parameters: Any,
) -> Row:  # fmt: skip
    return Row(id, what, Refused(kind, text), data, parameters, takes, libraries)


def gives(
    id: str, what: str, data: Any = None, *, takes: tuple[str, ...] = ("spectrum",), tol: float = 1e-12,
    warning: str | None = None, known: dict[str, Any] | None = None, libraries: tuple[str, ...] | None = None,
    **parameters: Any,
) -> Row:  # fmt: skip
    return Row(id, what, Gives(tol, warning, known or {}), data, parameters, takes, libraries)


def does(id: str, what: str, check: Check, libraries: tuple[str, ...] | None = None, **parameters: Any) -> Row:
    return Row(id, what, check, None, parameters, ("spectrum",), libraries)


def _ones(*shape: int, dtype: Any = complex) -> Callable[[], np.ndarray]:
    return lambda: np.ones(shape, dtype)


SMALL = {"n_fft": 32, "hop_length": 16}
TINY = {"n_fft": 8, "hop_length": 1, "win_length": 1, "window": "boxcar"}
ODD = {"n_fft": 255, "hop_length": 51}
OUTSIDE = r"length: samples \[{}, {}\) of {} lie under no window weight and are set to 0"

ROWS = (
    # A: shapes
    refused("A01", "0-d", ValueError, AT_LEAST + r"\(\)", lambda: spectrum()[0, 0, 0:1].reshape(())),
    refused("A01", "0-d signal", ValueError, r"x: need at least 1 dimension \(..., samples\), got shape \(\)|"
            "axis: need axes of an array with 0 dimensions, got -1", lambda: np.array(1.0), takes=("signal",)),
    refused("A02", "1-d", ValueError, AT_LEAST + r"\(129,\)", lambda: spectrum()[0, :, 0].copy()),
    gives("A03", "2-d", lambda: spectrum(signal())),
    gives("A03", "1-d signal", lambda: signal(), takes=("signal",)),
    gives("A04", "4-d", lambda: spectrum(signal(2, 3))),
    gives("A04", "3-d signal", lambda: signal(2, 3), takes=("signal",)),
    gives("A05", "12 batch dimensions", lambda: spectrum(signal(2, 2, *[1] * 10))),
    gives("A06", "empty batch", lambda: spectrum()[:0]),
    gives("A06", "empty batch of signals", lambda: signal(2)[:0], takes=("signal",)),
    refused("A07", "no frames", ValueError, r"X: need at least 1 frame, got (shape \(2, \d+, 0\)|0)$",
            lambda: spectrum()[..., :0]),
    refused("A07", "no samples", ValueError, r"x: need at least 256 samples for n_fft=256, got 0",
            lambda: signal(2)[:, :0], takes=("signal",), center=False),
    refused("A07", "a sample too few", ValueError, r"x: need at least 256 samples for n_fft=256, got 255",
            lambda: signal(2)[:, :255], takes=("signal",), center=False),
    gives("A08", "one frame", lambda: spectrum(signal(2)[:, :256], window="boxcar", center=False),
          window="boxcar", center=False),
    refused("A09", "one centred frame", ValueError, r"X: need 2 frames or a length= .*, got 1 frame$",
            lambda: spectrum()[..., 5:6]),
    gives("A10", "one centred frame, its right half", lambda: spectrum(window="hamming")[..., 5:6],
          window="hamming", length=128),
    refused("A11", "no bins", ValueError, r"X: need 129 bins for n_fft=256, got 0$", lambda: spectrum()[:, :0]),
    refused("A12", "too few bins", ValueError, r"X: need 257 bins for n_fft=512, got 129$", n_fft=512),
    refused("A13", "too many bins", ValueError, r"X: need 129 bins for n_fft=256, got 513$", _ones(2, 513, 33)),
    refused("A14", "axes swapped", ValueError,
            r"X: need 129 bins for n_fft=256, got 33; are the last two axes swapped\?", _ones(2, 33, 129)),
    refused("A15", "two-sided, unsaid", ValueError,
            r"X: need 129 bins for n_fft=256, got 256; for two-sided data pass onesided=False", _ones(2, 256, 9)),
    refused("A16", "one-sided, said to be two-sided", ValueError,
            r"X: need 256 bins for n_fft=256(, onesided=False)?, got 129", onesided=False),
    gives("A17", "odd n_fft", lambda: spectrum(**ODD), **ODD),
    gives("A17", "odd n_fft of a signal", takes=("signal",), **ODD),
    gives("A18", "odd n_fft from the window", lambda: spectrum(**ODD), n_fft=None, hop_length=51,
          window=definition.window_samples("hann", 255, 255), known=ODD),
    gives("A19", "two-sided", lambda: spectrum(onesided=False), onesided=False, known={"onesided": False}),
    does("A20", "complex signal", complex_signal, onesided=False),
    refused("A21", "pairs", TypeError, DTYPE + r"float64 with last axis 2; join the pairs first: .*as_complex\(X\)",
            _ones(2, 129, 33, 2, dtype=float)),
    gives("A22", "n_fft 2", lambda: spectrum(n_fft=2, hop_length=1, window="boxcar"),
          n_fft=2, hop_length=1, window="boxcar"),
    refused("A23", "n_fft 1", ValueError, r"n_fft: need >= 2, got 1$", n_fft=1, takes=ANY),
    gives("A24", "prime n_fft", lambda: spectrum(n_fft=251, hop_length=50), n_fft=251, hop_length=50),
    gives("A25", "5000 items", lambda: spectrum(signal(5000, n_samples=64), **SMALL), **SMALL),
    gives("A26", "fewer frames than overlaps", lambda: spectrum(
          signal(2, n_samples=320), window="hamming", hop_length=32, center=False),
          window="hamming", hop_length=32, center=False),
    # B: dtypes
    *(refused(number, f"{dtype} for complex", TypeError, DTYPE + dtype, _ones(2, 129, 33, dtype=dtype), libraries=only)
      for number, dtype, only in (("B01", "float32", None), ("B02", "int32", None), ("B03", "bool", None),
                                  ("B07", "float16", ("numpy", "torch", "jax")))),
    *(refused(number, f"signal of {dtype}", TypeError, r"x: need dtype .*float32.*, got \S*" + dtype,
              _ones(2, 2048, dtype=dtype), takes=("signal",))
      for number, dtype in (("B02", "int32"), ("B03", "bool"))),
    refused("B04", "objects", TypeError, DTYPE + "object", lambda: spectrum().astype(object), libraries=NP),
    refused("B05", "strings", TypeError, DTYPE + "<U", lambda: spectrum().astype(str), libraries=NP),
    refused("B06", "structured", TypeError, DTYPE + r"\[\('re', '<f8'\), \('im', '<f8'\)\]",
            lambda: spectrum().view([("re", "f8"), ("im", "f8")]), libraries=NP),
    refused("B08", "long double", TypeError, DTYPE + np.dtype(np.clongdouble).name,
            lambda: spectrum().astype(np.clongdouble), libraries=NP),
    gives("B09", "complex64", lambda: spectrum().astype(np.complex64), tol=1e-6),
    gives("B10", "complex128", tol=1e-14),
    gives("B10", "float64", takes=("signal",), tol=1e-14),
    gives("B11", "big-endian", lambda: spectrum().astype(">c16"), tol=1e-14, libraries=NP),
    gives("B11", "big-endian signal", lambda: signal(2).astype(">f8"), tol=1e-14, takes=("signal",), libraries=NP),
    does("B12", "complex64 with a float64 window", wide_window, window=HANN),
    gives("B13", "integer window", lambda: spectrum(window="boxcar"), window=np.ones(256, np.int64)),
    does("B14", "precision is kept", one_precision),
    # C: values
    does("C01", "NaN", functools.partial(poisoned, np.nan)),
    does("C02", "infinity", functools.partial(poisoned, np.inf)),
    does("C03", "an item of NaN", all_nan_item),
    does("C04", "near the top of complex64", near_overflow),
    does("C05", "beyond the top of complex64", beyond_overflow),
    does("C06", "subnormal numbers", subnormal, ("numpy", "torch", "array_api_strict")),  # XLA flushes them to zero
    does("C07", "imaginary part of DC", functools.partial(imaginary_ends, 0)),
    does("C08", "imaginary part of Nyquist", functools.partial(imaginary_ends, 128)),
    gives("C09", "zeros", lambda: np.zeros((2, 129, 33), complex)),
    does("C10", "one frame 1e30 larger", giant_frame),
    does("C11", "20000 frames", no_drift),
    does("C13", "a spectrum that no signal has", least_squares),
    # D: parameters
    refused("D01", "hop 0", ValueError, r"hop_length: need >= 1, got 0", hop_length=0, takes=ANY),
    refused("D02", "hop -64", ValueError, r"hop_length: need >= 1, got -64", hop_length=-64, takes=ANY),
    refused("D03", "hop 64.0", TypeError, INTEGER.format("hop_length", "64.0"), hop_length=64.0, takes=ANY),
    refused("D03", "hop of float64", TypeError, INTEGER.format("hop_length", ".*64.0"), hop_length=np.float64(64),
            takes=ANY),
    refused("D04", "hop 63.5", TypeError, INTEGER.format("hop_length", "63.5"), hop_length=63.5, takes=ANY),
    refused("D05", "hop '64'", TypeError, INTEGER.format("hop_length", "'64'"), hop_length="64", takes=ANY),
    refused("D06", "hop True", TypeError, INTEGER.format("hop_length", "True"), hop_length=True, takes=ANY),
    refused("D06", "hop of bool_", TypeError, INTEGER.format("hop_length", ".*True.*"), hop_length=np.True_, takes=ANY),
    refused("X01", "hop a list", TypeError, INTEGER.format("hop_length", r"\[64\]"), hop_length=[64], takes=ANY),
    refused("X01", "hop an array", TypeError, INTEGER.format("hop_length", r"ndarray of shape \(2,\)"),
            hop_length=np.ones(2), takes=ANY),
    gives("D07", "hop of int64", hop_length=np.int64(64), takes=BOTH),
    gives("D08", "hop of int16, 600 frames", lambda: spectrum(signal(1, n_samples=64 * 599)),
          hop_length=np.int16(64)),
    gives("D08", "hop of int16, 600 frames of a signal", lambda: signal(1, n_samples=64 * 599),
          hop_length=np.int16(64), takes=("signal",)),
    refused("D09", "hop > n_fft", xi.NOLAError, IN_NO_FRAME.format(256, 300), hop_length=300),
    gives("D10", "hop == n_fft, boxcar", lambda: spectrum(window="boxcar", hop_length=256),
          window="boxcar", hop_length=256),
    refused("D11", "hop == n_fft, hann", xi.NOLAError,
            r"window: need overlap > 0 at every sample, got 0 at sample 128 \(hop_length=256\)", hop_length=256),
    gives("D12", "the hop of one frame is not used", lambda: spectrum(
          signal(2)[:, :256], window="boxcar", center=False), window="boxcar", center=False, hop_length=2**40),
    refused("D13", "two frames 2**40 apart", xi.NOLAError, IN_NO_FRAME.format(256, 2**40),
            lambda: spectrum()[..., :2], hop_length=2**40),
    refused("D14", "n_fft 0", ValueError, r"n_fft: need >= 2, got 0", n_fft=0, takes=ANY),
    refused("D15", "n_fft -256", ValueError, r"n_fft: need >= 2, got -256", n_fft=-256, takes=ANY),
    refused("D16", "n_fft 256.5", TypeError, INTEGER.format("n_fft", "256.5"), n_fft=256.5, takes=ANY),
    refused("D17", "win_length > n_fft", ValueError, r"win_length: need <= n_fft=256, got 512",
            n_fft=256, win_length=512, takes=ANY),
    refused("D18", "win_length 0", ValueError, r"win_length: need >= 1, got 0", win_length=0, takes=ANY),
    refused("D19", "win_length -5", ValueError, r"win_length: need >= 1, got -5", win_length=-5, takes=ANY),
    gives("D20", "win_length 1", lambda: spectrum(signal(2, n_samples=64), **TINY), **TINY),
    gives("D21", "odd win_length", lambda: spectrum(win_length=199, hop_length=40), win_length=199, hop_length=40),
    gives("D21", "odd win_length of a signal", win_length=199, hop_length=40, takes=("signal",)),
    refused("D22", "win_length 199.5", TypeError, INTEGER.format("win_length", "199.5"), win_length=199.5, takes=ANY),
    refused("D23", "hop > win_length", xi.NOLAError, IN_NO_FRAME.format(80, 100),
            lambda: spectrum(win_length=80, hop_length=100), win_length=80, hop_length=100),
    refused("D24", "window shorter than win_length", ValueError, r"window: need length 256, got 200",
            window=HANN[:200], win_length=256, takes=ANY),
    refused("D24", "window longer than n_fft", ValueError, r"window: need length 256, got 300",
            n_fft=256, window=np.ones(300), takes=ANY),
    refused("D25", "2-d window", ValueError, r"window: need 1 dimension, got shape \(1, 256\)", n_fft=256,
            window=HANN[None], takes=ANY),
    refused("D26", "complex window", TypeError, r"window: need a real dtype, got complex128", n_fft=256,
            window=HANN + 0j, takes=ANY),
    refused("D27", "NaN in the window", ValueError, r"window: need finite values, got nan at index 100", n_fft=256,
            window=np.where(np.arange(256) == 100, np.nan, HANN), takes=ANY),
    refused("D28", "window of zeros", xi.NOLAError, r"window: need a non-zero sample, got all zeros",
            window=np.zeros(256)),
    refused("D29", "window with a hole", xi.NOLAError,
            r"window: need overlap > 0 at every sample, got 0 at sample 64 \(hop_length=64\)",
            window=np.where((np.arange(256) >= 96) & (np.arange(256) < 128), 1.0, 0.0)),
    refused("D30", "window 'hannn'", ValueError,
            r"window: need a known name \(did you mean 'hann'\?\), got 'hannn'", window="hannn", takes=ANY),
    refused("D31", "no window", TypeError, r"window: need a name or an array \('boxcar' for none\), got None",
            window=None, takes=ANY),
    refused("X02", "window ()", ValueError, r"window: need a known name, got \(\)", window=(), takes=ANY),
    refused("X02", "window 'kaiser'", ValueError, r"window: need a window that scipy can make, got 'kaiser'",
            window="kaiser", takes=ANY),
    refused("X02", "an object for a window", TypeError, "window: need a (name|real dtype)", window=object(),
            takes=BOTH),
    refused("X02", "synthesis window of zeros", xi.NOLAError, r"synthesis_window: need a non-zero sample",
            synthesis_window=np.zeros(256)),
    refused("X02", "synthesis window of 5", ValueError, r"(synthesis_)?window: need length 256, got 5",
            n_fft=256, synthesis_window=np.ones(5), takes=ANY),
    gives("D32", "window as a list", window=[float(each) for each in HANN], takes=BOTH),
    gives("D33", "window ('kaiser', 8.0)", lambda: spectrum(window=("kaiser", 8.0)), window=("kaiser", 8.0)),
    gives("D33", "window ('kaiser', 8.0) of a signal", window=("kaiser", 8.0), takes=("signal",)),
    gives("D34", "negative window", lambda: spectrum(window=-HAMMING), window=-HAMMING),
    gives("D35", "asymmetric window", lambda: spectrum(window=RAMP), window=RAMP),
    *(gives(number, f"window times {scale:g}", lambda scale=scale: spectrum(window=scale * HANN), window=scale * HANN)
      for number, scale in (("D36", 1e-7), ("D37", 1e7), ("D38", 1e-100))),
    refused("D39", "length 0", ValueError, r"length: need >= 1, got 0", length=0, takes=ANY),
    refused("D40", "length -10", ValueError, r"length: need >= 1, got -10", length=-10, takes=ANY),
    gives("D41", "length 1", length=1),
    gives("D42", "shorter", length=1000),
    gives("D43", "as far as frames reach", lambda: spectrum(window="hamming"), window="hamming", length=2048 + 128),
    gives("D44", "500 samples beyond", lambda: spectrum(window="hamming"), window="hamming", length=2676,
          warning=OUTSIDE.format(2176, 2676, 2676)),
    refused("D45", "length 2**50", ValueError, r"length: need <= 4608 \(2 x covered \+ n_fft\), got 1125899906842624",
            length=2**50),
    refused("D46", "length 1000.5", TypeError, INTEGER.format("length", "1000.5"), length=1000.5, takes=ANY),
    refused("D47", "length '1000'", TypeError, INTEGER.format("length", "'1000'"), length="1000", takes=ANY),
    gives("D48", "uncentred hann", lambda: spectrum(center=False), center=False,
          warning=r"window: samples \[0, 1\)( of \d+)? lie under no window weight and are set to 0", tol=1e-9),
    gives("D49", "uncentred hamming", lambda: spectrum(center=False, window="hamming"), center=False,
          window="hamming"),
    refused("D50", "center 'no'", TypeError, r"center: need a bool, got 'no'", center="no", takes=ANY),
    refused("D50", "center 1", TypeError, r"center: need a bool, got 1", center=1, takes=ANY),
    refused("D51", "onesided 'no'", TypeError, r"onesided: need a bool, got 'no'", onesided="no", takes=ANY),
    gives("D53", "hop_length unsaid", hop_length=None, known={"hop_length": 64}, takes=BOTH),
    refused("D54", "a window that bins contradict", ValueError, r"window: need length 256 \(from 129 bins\), got 300",
            n_fft=None, window=np.ones(300)),
    gives("D55", "sizes of NumPy's integers", n_fft=np.int32(256), win_length=np.uint16(256), length=np.int32(2048)),
    gives("D56", "n_fft unsaid", n_fft=None, known={"n_fft": 256}),
    gives("D56", "n_fft unsaid, two-sided", lambda: spectrum(onesided=False), n_fft=None, onesided=False,
          known={"n_fft": 256}),
    refused("D57", "only a sample without weight", xi.NOLAError,
            r"window: need overlap > 0 at some sample asked for, got 0", lambda: spectrum(center=False),
            center=False, length=1),
    refused("D58", "window (256, 1)", ValueError, r"window: need 1 dimension, got shape \(256, 1\)", n_fft=256,
            window=HANN[:, None], takes=ANY),
    does("D59", "a weak end", weak_end, window=None, center=False),
    gives("D60", "one sample beyond", lambda: spectrum(window="hamming"), window="hamming", length=2177,
          warning=OUTSIDE.format(2176, 2177, 2177)),
    refused("X04", "padding", ValueError, r"padding: need 'same' or 'full', got 'valid'", padding="valid", takes=ANY),
    refused("X04", "padding pair", TypeError, r"padding: need an integer, got 1.0", padding=(1.0, 2), takes=ANY),
    refused("X04", "padding triple", TypeError, r"padding: need an integer, got \(1, 2, 3\)", padding=(1, 2, 3),
            takes=ANY),
    refused("X04", "padding -1", ValueError, r"padding: need >= 0, got -1", padding=-1, takes=ANY),
    refused("X05", "scaling", ValueError, r"scaling: need None or 'ortho' or .*, got 'power'", scaling="power",
            takes=ANY),
    refused("X05", "scaling True", TypeError, r"scaling: need None or .*, got True", scaling=True, takes=ANY),
    refused("X05", "scaling by a sum of 0", ValueError, r"window: need a sum other than 0 for scaling='spectrum'",
            scaling="spectrum", window=np.where(np.arange(256) < 128, -1.0, 1.0), takes=ANY),
    refused("X06", "nola", ValueError, r"nola: need 'warn' or 'raise' or 'zero', got 'keep'", nola="keep", takes=ANY),
    refused("X06", "max_gain 0.5", ValueError, r"max_gain: need a finite number >= 1, got 0.5", max_gain=0.5, takes=ANY),
    refused("X06", "max_gain NaN", ValueError, r"max_gain: need a finite number >= 1, got nan", max_gain=math.nan, takes=ANY),
    refused("X06", "max_gain '2'", TypeError, r"max_gain: need a number, got '2'", max_gain="2", takes=ANY),
    refused("X06", "max_gain True", TypeError, r"max_gain: need a number, got True", max_gain=True, takes=ANY),
    refused("X07", "three axes", ValueError, r"axes: need 2 axes, got 3", axes=(0, 1, 2)),
    refused("X07", "an axis twice", ValueError, r"axes: need different axes, got \(1, -2\)", axes=(1, -2)),
    refused("X07", "an axis that is not there", ValueError, r"axes: need axes of an array with 3 dimensions, got 5",
            axes=(1, 5)),
    refused("X07", "an axis 2.0", TypeError, r"axes: need an integer, got 2.0", axes=(1, 2.0)),
    refused("X07", "axis 2 of 2", ValueError, r"axis: need axes of an array with 2 dimensions, got 2", axis=2,
            takes=("signal",)),
    refused("X07", "axes of the result", ValueError, r"axes: need axes of an array with 3 dimensions, got 3",
            axes=(0, 3), takes=("signal",)),
    refused("X08", "workers 0", ValueError, r"workers: need >= 1, got 0", workers=0, takes=BOTH),
    refused("X08", "workers 1.5", TypeError, r"workers: need an integer, got 1.5", workers=1.5, takes=BOTH),
    refused("X09", "pad_mode", ValueError, r"pad_mode: need 'constant' or 'reflect' or .*, got 'mirror'",
            pad_mode="mirror", takes=ANY),
    refused("X09", "pad_mode 3", TypeError, r"pad_mode: need 'constant' or .*, got 3", pad_mode=3, takes=ANY),
    *(refused("X15", f"frequencies: {what}", kind, r"frequencies: need " + need, n_fft=256, frequencies=value, takes=ANY)
      for what, value, kind, need in (
          ("a name", "mel", TypeError, "xp_istft.Frequencies or a complex basis"),
          ("a list", [100.0, 200.0], TypeError, "xp_istft.Frequencies or a complex basis"),
          ("a real basis", np.ones((5, 256)), TypeError, "xp_istft.Frequencies or a complex basis"),
          ("no bins", np.ones((0, 256), complex), ValueError, r"a basis \(n_bins, n_fft"),
          ("1-d", np.ones(256, complex), ValueError, r"a basis \(n_bins, n_fft"),
          ("of another n_fft", np.ones((5, 255), complex), ValueError, r"a basis \(n_bins, n_fft=256\)"),
          ("of NaN", np.full((5, 256), np.nan + 0j), ValueError, "a finite basis"))),
    *(refused("X16", f"solver {value!r}", TypeError, "solver: need xp_istft.Dual, PerFrame or Adjoint", solver=value, takes=ANY)
      for value in ("dual", 3, xi.Dual)),
    refused("X16", "weights of another size", ValueError, r"solver: need \d+ weights, one a bin, got 5", n_fft=256,
            solver=xi.Dual(np.ones(5)), takes=ANY),
    refused("X16", "weights of another size than the grid's", ValueError, "solver: need 160 weights, one a bin, got 5", n_fft=256,
            frequencies=GRID, solver=xi.PerFrame(np.ones(5)), takes=ANY),
    refused("X16", "two sides of a grid", ValueError, "onesided: need True with frequencies= .*, got False", n_fft=256, frequencies=GRID,
            onesided=False, takes=ANY),
    refused("X16", "a synthesis window of a grid", ValueError, "synthesis_window: need None with frequencies=", n_fft=256,
            frequencies=GRID, synthesis_window="hann", takes=ANY),
    # solvers and algorithms
    *(refused("X17", f"{name} {str(value)[:40]}", kind, f"{name}: need ", **{name: value}, takes=("sizes",))
      for name, value, kind in (
          ("weights", "heavy", ValueError), ("weights", ["a"], TypeError), ("weights", type, TypeError),
          ("weights", np.zeros(129), ValueError), ("weights", -np.ones(129), ValueError),
          ("weights", np.full(129, np.nan), ValueError), ("weights", np.ones((2, 129)), ValueError),
          ("regularization", "none", ValueError), ("regularization", -1, ValueError), ("regularization", True, TypeError),
          ("regularization", math.nan, ValueError), ("regularization", None, TypeError),
          ("tol", "small", TypeError), ("tol", -1, ValueError), ("tol", math.nan, ValueError), ("tol", True, TypeError),
          ("maxiter", 0, ValueError), ("maxiter", 2.5, TypeError), ("maxiter", True, TypeError), ("maxiter", None, TypeError),
          ("rho", 0, ValueError), ("beta", 1.5, ValueError), ("first", "gla", TypeError), ("second", xi.GLA, TypeError),
          *((parameter, value, kind) for parameter in ("momentum", "beta", "rho")
            for value, kind in (("0.5", TypeError), (-1, ValueError), (math.nan, ValueError), (True, TypeError))))),
    *(refused("X18", f"transform {value!r}", TypeError, "transform: need ", transform=value, takes=ANY, libraries=STREAMED)
      for value in (256, "hann", {"n_fft": 256}, xi.STFT)),
    refused("X10", "a complex signal of one side", TypeError, r"x: need (a real signal|dtype float32 or float64), got .*complex128(; for a complex one pass|$)",
            lambda: signal(2) + 0j, takes=("signal",), onesided=True),
    # magnitudes
    *(refused(number, what, TypeError, r"S: need .*, got \S*" + dtype, _ones(129, 33, dtype=dtype),
              takes=("magnitudes",), libraries=LAID_OUT)
      for number, what, dtype in (("B02", "magnitudes of int32", "int32"), ("B03", "magnitudes of bool", "bool"),
                                  ("X12", "complex magnitudes", "complex128"))),
    refused("A01", "0-d magnitudes", ValueError, r"S: need at least 2 dimensions \(..., bins, frames\), got shape \(\)",
            lambda: np.array(1.0), takes=("magnitudes",)),
    refused("A02", "1-d magnitudes", ValueError, r"S: need at least 2 dimensions \(..., bins, frames\), got shape",
            _ones(129, dtype=float), takes=("magnitudes",)),
    refused("A07", "no frames of magnitudes", ValueError, r"S: need at least 1 frame", _ones(129, 0, dtype=float),
            takes=("magnitudes",)),
    refused("A12", "too few magnitudes", ValueError, r"S: need 257 bins for n_fft=512, got 129", n_fft=512,
            takes=("magnitudes",)),
    refused("A14", "magnitudes with axes swapped", ValueError, r"S: need 129 bins for n_fft=256, got 33",
            _ones(33, 129, dtype=float), takes=("magnitudes",)),
    *(refused("X14", f"magnitudes with {value}", ValueError, r"S: need finite magnitudes >= 0, got " + str(value),
              lambda value=value: np.where(np.arange(33) == 5, value, np.ones((129, 33))), takes=("magnitudes",),
              libraries=NP)
      for value in (-1.0, math.nan, math.inf)),
    *(refused("X13", f"n_iter {value}", kind, text, n_iter=value, takes=("magnitudes",))
      for value, kind, text in ((-1, ValueError, "n_iter: need >= 0, got -1"),
                                (2.5, TypeError, "n_iter: need an integer, got 2.5"))),
    *(refused("X13", f"{name} {value!r}", kind, f"{name}: need ", **{name: value}, takes=("magnitudes",), libraries=LAID_OUT)
      for name, value, kind in (("algorithm", "newton", ValueError), ("algorithm", 3, TypeError), ("init", "guess", ValueError),
                                ("callback", 3, TypeError), ("rng", "seed", TypeError), ("rng", True, TypeError))),
    # E: memory and containers
    gives("E01", "Fortran order", lambda: np.asfortranarray(spectrum()), libraries=NP),
    gives("E02", "every second bin, third frame", lambda: strided(spectrum()), libraries=LAID_OUT),
    gives("E03", "negative strides", lambda: np.ascontiguousarray(spectrum()[..., ::-1, ::-1])[..., ::-1, ::-1],
          libraries=LAID_OUT),
    gives("E04", "broadcast over the batch", lambda: np.broadcast_to(spectrum()[:1], (3, 129, 33)), libraries=NP),
    gives("E05", "broadcast over time", lambda: np.broadcast_to(spectrum()[..., 9:10], spectrum().shape), libraries=LAID_OUT),
    gives("E06", "read-only", lambda: read_only(spectrum()), libraries=LAID_OUT),
    gives("E07", "unaligned", lambda: unaligned(spectrum()), libraries=NP),
    refused("E07", "unaligned on a device", ValueError, r"X: need memory aligned to its dtype",
            lambda: unaligned(spectrum()), libraries=("fake_cupy",)),
    gives("E08", "frame-major", lambda: np.ascontiguousarray(spectrum().swapaxes(-1, -2)).swapaxes(-1, -2),
          libraries=LAID_OUT),
    gives("E09", "memory-mapped", lambda: mapped(spectrum()), libraries=NP),
    gives("E10", "frames that share memory", lambda: shared_rows(spectrum()), libraries=NP),
    gives("E01", "signal in Fortran order", lambda: np.asfortranarray(signal(2)), takes=("signal",), libraries=LAID_OUT),
    gives("E03", "reversed signal", lambda: signal(2)[:, ::-1], takes=("signal",), libraries=LAID_OUT),
    gives("E04", "broadcast signal", lambda: np.broadcast_to(signal(1), (3, 2048)), takes=("signal",), libraries=LAID_OUT),
    gives("E07", "unaligned signal", lambda: unaligned(signal(2)), takes=("signal",), libraries=NP),
    refused("E07", "unaligned signal on a device", ValueError, r"x: need memory aligned to its dtype",
            lambda: unaligned(signal(2)), takes=("signal",), libraries=("fake_cupy",)),
    refused("E11", "masked", TypeError, LIBRARY + "MaskedArray; fill it first", lambda: masked(spectrum()),
            libraries=NP),
    refused("E12", "matrix", TypeError, LIBRARY + "matrix", lambda: matrix(spectrum()[0]), libraries=NP),
    refused("E13", "lists", TypeError, LIBRARY + "list", lambda: spectrum()[:, :, :8].tolist(), libraries=NP),
    refused("E14", "a table of pandas", TypeError, LIBRARY + "DataFrame", table, libraries=NP),
    refused("E15", "None", TypeError, LIBRARY + "NoneType", lambda: None, libraries=NP),
    refused("E16", "str", TypeError, LIBRARY + "str", lambda: "spectrum.npy", libraries=NP),
    refused("E22", "an object with __array__", TypeError, LIBRARY + "Thing", Thing, libraries=NP),
    refused("X11", "a scalar", TypeError, LIBRARY + "complex128", lambda: np.complex128(1), libraries=NP),
    *(refused(number, f"{what} for a signal", TypeError, LIBRARY.replace("X", "x", 1) + got, make, takes=("signal",),
              libraries=NP)
      for number, what, got, make in (("E11", "masked", "MaskedArray", lambda: np.ma.masked_array(signal(2))),
                                      ("E13", "list", "list", lambda: [1.0]), ("E15", "None", "NoneType", lambda: None),
                                      ("E16", "str", "str", lambda: "x.wav"))),
    refused("E23", "out of another shape", ValueError, r"out: need shape \(2, 2048\), got \(2, 2000\)",
            libraries=NP, out=np.zeros((2, 2000))),
    refused("E23", "out of another shape of a signal", ValueError,
            r"out: need shape \(2, 129, 33\), got \(2, 129, 9\)", takes=("signal",), libraries=NP,
            out=np.zeros((2, 129, 9), complex)),
    refused("E24", "out of int32", TypeError, r"out: need dtype float64, got int32", libraries=NP,
            out=np.zeros((2, 2048), "i4")),
    refused("E24", "out of another byte order", TypeError, r"out: need dtype float64, got >f8", libraries=NP,
            out=np.zeros((2, 2048), ">f8")),
    refused("E24", "out a list", TypeError, r"out: need .*, got (builtins\.)?list", libraries=NP, out=[0.0]),
    refused("E25", "out read-only", ValueError, r"out: need a writeable array, got a read-only one", libraries=NP,
            out=read_only(np.zeros((2, 2048)))),
    refused("E28", "out whose rows overlap", ValueError, r"out: need memory of its own, got rows that overlap",
            libraries=NP, out=np.lib.stride_tricks.as_strided(np.zeros(2048), (2, 2048), (0, 8))),
    gives("E29", "a subclass with units", lambda: spectrum().view(Units), libraries=NP),
    # F: state
    does("F01", "no floating-point error", no_floating_point_error),
    does("F02", "no warning", no_warning),
    does("F06", "memory of its own", memory_of_its_own),
    does("F07", "the result can be written", writeable, ("numpy", "torch", "array_api_strict")),
    does("F08", "the caller's arrays are left alone", untouched, window=None),
    does("G15", "good as before after bad calls", after_refusals, window=None, win_length=None, length=None, n_fft=None,
         hop_length=None),
)  # fmt: skip
