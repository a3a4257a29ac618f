"""The reliability battery: what each implementation of the inverse makes of 167 hostile, broken and edge inputs.

    python benchmarks/battery.py                       xp_istft on NumPy and torch, and every peer that is installed;
                                                       writes results/battery.md
    python benchmarks/battery.py torch librosa         these only
    python benchmarks/battery.py --cases xp_istft D11  one case, with what came

The rows are those of tests/hostile.py, by their numbers, and the procedures below, for what needs more than a call.
Each runs in a forked child of its own, with a time and a memory limit. A row that must be refused is met by an error
that names the parameter in the peer's own words and is no accident of its inside; a row with a value by the value; the
rest by either, or by a warning that fits. Peers work in their own convention where they have one, and single
precision where they have only that. What they have no parameter for does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import pickle
import re
import resource
import signal as signals
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import hostile
import numpy as np
from hostile import BASE, HANN, Gives, Refused, Row, inverse, signal, spectrum

EITHER = frozenset(
    "A06 A07 A09 A15 A18 A20 A23 B01 B02 B03 B04 B07 B08 B11 B13 C05 C07 C08 D03 D12 D26 D32 D38 D39 D44 D48 D59 D60"
    " E03 E07 E11 E12 E13 E14 E17 E18 E19 E22 E26 E29".split()
)
CLASSES = ("correct", "clear error", "warned", "refused", "unclear error", "silent wrong", "bits differ", "mutates",
           "hang", "crash", "n/a")  # fmt: skip
MET = {"error": CLASSES[1:3], "value": CLASSES[:1], "either": CLASSES[:3]}

# What a message must speak of to be clear, in any vocabulary.
WORDS = {
    "A": r"input|stft|matrix|spec|Zxx|\b[SX]\b|tensor|array|shape|dim|rank|bin|n_fft|nfft|fft|freq|frame|time|empty|onesided",
    "B": r"dtype|complex|type|object|cast|structured|\bstr|ufunc|order|endian|window|input|tensor",
    "C": r"nan|finite|overflow|imag|DC|nyq|hermit|grad",
    "D0": r"hop|stride|noverlap|nstep|memory|slices|window|NOLA|invert|envelop|large|size|center",
    "D1": r"n_fft|nfft|fft|win|nperseg|hop|bin|NOLA|frame",
    "D2": r"win|nperseg|hop|NOLA|nan|finite|singular|dtype",
    "D3": r"win|NOLA|invert|envelop|length|k1\b",
    "D4": r"length|\bk1\b|size|samples|range|memory|win|NOLA|center|boundary",
    "D5": r"center|boundary|onesided|bool|keyword|unexpected|hop|win|fft|bin|length|int|NOLA",
    "D6": r"length|\bk1\b|size|samples|range",
    "E": r"type|\bX\b|list|tensor|array|mask|shape|stride|byte|order|layout|negative|device|out|window|grad|memory|overlap|dim|matrix|str",
    "F": r"$^",
    "G": r"memory|allocat|RESOURCE_EXHAUSTED|too large|exceed|length|hop",
}
# Errors that no caller can read: of a kind that is an accident, or in words of the inside.
ACCIDENTS = ("KeyError", "AttributeError", "ZeroDivisionError", "UnboundLocalError", "NameError", "RecursionError",
             "SystemError", "TypingError", "StopIteration", "IndexError", "UFuncTypeError", "_UFuncNoLoopError")  # fmt: skip
INSIDE = re.compile(
    r"Calculated padded input size|The size of tensor a \(|negative dimensions are not allowed|could not be broadcast|"
    r"incompatible shapes for broadcasting|cannot be interpreted as an integer|unsupported operand type|"
    r"Expected reduction dim|index out of range|slice indices must|must be a string or a real number|argument 'dim0'|"
    r"can only concatenate|non-broadcastable|not supported between instances|cannot reshape array|"
    r"divisible by the product of kernel_size|overlap add min: 1"
)
LIMIT = 3 << 30
SECONDS = 180


class NotApplicableError(Exception):
    """The implementation has no such parameter."""


class RaisedError(Exception):
    """What the implementation raised, as __cause__."""


class BitsDifferError(AssertionError):
    pass


class MutatedError(AssertionError):
    pass


# ------------------------------------------------------------------ implementations


class Implementation:
    """One inverse. `call` takes host arrays (anything else as it is) and the parameters of xp_istft.

    lacks  : parameters that it has none of
    single : it computes in single precision, whatever comes
    ours   : graded by the row alone: the very exception, its very text
    """

    name = "xp_istft"
    package = "xp_istft"
    lacks: frozenset[str] = frozenset()
    single = False
    ours = True
    torch = False

    def __init__(self) -> None:
        self.module = importlib.import_module(self.package)

    def native(self, array: Any) -> Any:
        return array

    def host(self, array: Any) -> np.ndarray:
        return array

    def istft(self, X: Any, **parameters: Any) -> Any:
        return self.module.istft(X, **parameters)

    def plan(self) -> Callable[[Any], Any]:
        return self.module.STFT(**BASE).istft

    def threads(self, count: int) -> None:
        self.module.set_workers(count)

    def gradients(self) -> None:
        raise NotApplicableError

    def call(self, data: Any, **parameters: Any) -> np.ndarray:
        lacking = {
            name for name, value in parameters.items() if name in self.lacks and not self.is_default(name, value)
        }
        if lacking:
            raise NotApplicableError(", ".join(sorted(lacking)))
        given = {name: value for name, value in parameters.items() if name not in self.lacks}
        before = _content(data), _content(given.get("window"))
        try:
            plain = isinstance(data, np.ndarray) and not isinstance(data, (np.ma.MaskedArray, np.matrix))
            result = self.host(self.istft(self.native(data) if plain else data, **given))
        except NotApplicableError:
            raise
        except Exception as cause:
            raise RaisedError from cause
        finally:
            if (_content(data), _content(given.get("window"))) != before:
                raise MutatedError("the caller's array was changed")
        return result

    def is_default(self, name: str, value: Any) -> bool:
        return {"center": True, "onesided": True}.get(name) is value or value is None


def _content(array: Any) -> bytes | None:
    return array.tobytes() if isinstance(array, np.ndarray) and array.size < 1 << 22 and array.dtype != object else None


class OnTorch(Implementation):
    name = "xp_istft on torch"
    torch = True

    def __init__(self) -> None:
        super().__init__()
        self.tensors = importlib.import_module("torch")

    def native(self, array: np.ndarray) -> Any:
        if array.dtype.kind not in "biufc" or array.dtype == np.clongdouble:
            raise NotApplicableError("tensors have no such dtype")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arrays that cannot be written
            return self.tensors.from_numpy(array)

    def host(self, array: Any) -> np.ndarray:
        return array.detach().resolve_conj().resolve_neg().numpy()

    def istft(self, X: Any, **given: Any) -> Any:
        if isinstance(out := given.get("out"), np.ndarray):
            if not out.flags.writeable or out.dtype.byteorder == ">":
                raise NotApplicableError("there is no such tensor")
            given["out"] = self.tensors.from_numpy(out)
        return super().istft(X, **given)

    def gradients(self) -> None:
        torch = self.tensors
        X = torch.randn(1, 9, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0), requires_grad=True)
        assert torch.autograd.gradcheck(lambda X: self.istft(X, **_sixteen(self)), (X,))


def _sixteen(implementation: Implementation) -> dict[str, Any]:
    return {"n_fft": 16, "hop_length": 4, "window": "hann"}


class Peer(Implementation):
    ours = False

    def plan(self) -> Callable[[Any], Any]:
        raise NotApplicableError("a function only")

    def threads(self, count: int) -> None:
        raise NotApplicableError("no threads to choose")


class Torch(Peer, OnTorch):
    name = package = "torch"
    lacks = frozenset({"out"})

    def istft(self, X: Any, n_fft: Any = None, window: Any = "hann", win_length: Any = None, **given: Any) -> Any:
        if n_fft is None or isinstance(window, (tuple, list)):
            raise NotApplicableError("n_fft is needed, windows are tensors")
        if isinstance(window, str):
            size = win_length if isinstance(win_length, int) and win_length > 0 else n_fft
            if window not in ("hann", "hamming", "boxcar") or not isinstance(size, (int, np.integer)) or size < 1:
                raise NotApplicableError("windows are tensors")
            window = hostile.definition.window_samples(window, int(size), int(size))
        if isinstance(window, np.ndarray):
            single = getattr(X, "dtype", None) in (self.tensors.complex64, self.tensors.float32)
            window = self.tensors.from_numpy(window.astype(np.float32) if single and window.dtype == float else window)
        return self.tensors.istft(X, n_fft, window=window, win_length=win_length, **given)

    def threads(self, count: int) -> None:
        self.tensors.set_num_threads(count)


class NnAudio(Torch):
    name, package = "nnAudio", "nnAudio.features.stft"
    lacks = frozenset({"out"})
    single = True

    def layer(self, **given: Any) -> Any:
        if not isinstance(given.get("window", "hann"), str) or given.get("n_fft", 0) is None:
            raise NotApplicableError("windows by name, n_fft needed")
        return self.module.iSTFT(**given, verbose=False)

    def istft(self, X: Any, onesided: Any = True, length: Any = None, **given: Any) -> Any:
        layer = self.layer(**given)
        if isinstance(X, self.tensors.Tensor) and X.is_complex():
            layer = layer.double() if X.dtype == self.tensors.complex128 else layer
            X = self.tensors.view_as_real(X.resolve_conj())
        return layer(X, onesided=onesided, length=length)

    def plan(self) -> Callable[[Any], Any]:
        layer = self.layer(**BASE).double()
        return _Pairs(layer)

    def gradients(self) -> None:
        raise NotApplicableError("single precision")


class _Pairs:
    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, X: Any) -> Any:
        import torch

        return self.layer(torch.view_as_real(X), onesided=True)


class Librosa(Peer):
    name = package = "librosa"
    lacks = frozenset({"onesided"})

    def __init__(self) -> None:
        super().__init__()
        self.module.istft(np.ones((129, 9), complex), hop_length=64)  # compiled once, not in every child
        self.module.istft(np.ones((129, 9), np.complex64), hop_length=64)


class Scipy(Peer):
    name, package = "scipy.signal.istft", "scipy.signal"
    lacks = frozenset({"length", "out"})

    def istft(
        self, X: Any, n_fft: Any = None, hop_length: Any = None, win_length: Any = None, window: Any = "hann",
        center: Any = True, onesided: Any = True,
    ) -> Any:  # fmt: skip
        size = win_length if win_length is not None else n_fft
        if size is None and isinstance(window, np.ndarray):
            size = len(window)
        if size is None or isinstance(hop_length, (str, bool)) or window is None:
            raise NotApplicableError("the hop is given as noverlap")
        if (
            isinstance(win_length, int)
            and isinstance(n_fft, int)
            and 0 < win_length < n_fft
            and _fits(window, win_length)
        ):
            window, size = hostile.definition.window_samples(window, win_length, n_fft), n_fft  # in the middle, as ours
        overlap = None if hop_length is None else size - hop_length
        _, y = self.module.istft(
            X, window=window, nperseg=size, noverlap=overlap, nfft=n_fft, input_onesided=onesided, boundary=center
        )
        with contextlib.suppress(Exception):  # scipy's scaling; what it makes of a bad window, it made
            samples = (
                window if isinstance(window, np.ndarray) else hostile.definition.window_samples(window, size, size)
            )
            total = samples.sum()
            return y / total if np.isfinite(total) and total else y
        return y


def _fits(window: Any, size: int) -> bool:
    return (isinstance(window, str) and window in ("hann", "hamming", "boxcar")) or getattr(window, "shape", None) == (
        size,
    )


class Jax(Scipy):
    name, package = "jax", "jax.scipy.signal"

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        super().__init__()
        self.tensors = jax.numpy

    def native(self, array: np.ndarray) -> Any:
        if array.dtype.kind not in "biufc" or array.dtype == np.clongdouble:
            raise NotApplicableError("its arrays have no such dtype")
        return self.tensors.asarray(array)

    def host(self, array: Any) -> np.ndarray:
        return np.array(array)

    def gradients(self) -> None:
        from jax.test_util import check_grads

        parts = np.random.default_rng(0).standard_normal((2, 9, 5))
        check_grads(lambda re, im: self.istft(re + 1j * im, **_sixteen(self)), tuple(parts), order=1, modes=["rev"])


class ShortTime(Peer):
    """In its own convention: its spectra begin before the signal, and its gain at the ends is that of the middle."""

    name, package = "scipy.signal.ShortTimeFFT", "scipy.signal"
    lacks = frozenset({"out", "center"})

    def transform(
        self, n_fft: Any, hop_length: Any, win_length: Any = None, window: Any = "hann", onesided: Any = True
    ) -> Any:
        if n_fft is None or hop_length is None or not isinstance(onesided, bool):
            raise NotApplicableError("the sizes are needed")
        if isinstance(win_length, (int, np.integer)) and isinstance(window, (str, np.ndarray)):
            if not 0 < win_length <= n_fft or not _fits(window, win_length):
                raise NotApplicableError("windows are arrays")
            window = hostile.definition.window_samples(window, int(win_length), n_fft)
        elif win_length is not None:
            raise NotApplicableError("windows are arrays")
        if isinstance(window, str) and window not in ("hann", "hamming", "boxcar"):
            return self.module.ShortTimeFFT.from_window(window, 1.0, n_fft, n_fft - hop_length, mfft=n_fft)
        if isinstance(window, (str, tuple)):
            if not isinstance(n_fft, int) or n_fft < 1:
                raise NotApplicableError("windows are arrays")
            window = hostile.definition.window_samples(window, n_fft, n_fft)
        mode = "onesided" if onesided else "twosided"
        return self.module.ShortTimeFFT(window, hop_length, 1.0, fft_mode=mode, mfft=n_fft, phase_shift=None)

    def istft(self, X: Any, length: Any = None, center: Any = True, **sizes: Any) -> Any:
        return self.transform(**{**BASE, **sizes}).istft(X, k1=length)

    def plan(self) -> Callable[[Any], Any]:
        return self.transform(**BASE).istft

    def spectrum(self, x: np.ndarray | None = None, **sizes: Any) -> np.ndarray:
        if sizes.pop("center", True) is not True:
            raise NotApplicableError("no center")
        return self.transform(**{**BASE, **sizes}).stft(signal(2) if x is None else x)

    def inverse(self, X: np.ndarray, length: Any = None, **sizes: Any) -> np.ndarray:
        """Frames times the dual window of the steady state, added one by one."""
        names = ("n_fft", "hop_length", "win_length", "window", "onesided")
        onesided, hop = sizes.get("onesided", True), int(sizes.get("hop_length", 64))
        t = self.transform(**{**BASE, "hop_length": hop, **{name: sizes[name] for name in names[:1] if name in sizes},
                              **{name: sizes[name] for name in names[2:] if name in sizes}})  # fmt: skip
        window, n_fft, X = t.win, t.mfft, np.asarray(X).astype(complex)
        weight = np.array([(window[n % hop :: hop] ** 2).sum() for n in range(n_fft)])
        n_samples = (X.shape[-1] + t.p_min - 1) * hop + t.m_num - t.m_num_mid if length is None else int(length)
        y = np.zeros((*X.shape[:-2], n_samples), complex)
        for m in range(X.shape[-1]):
            start = (m + t.p_min) * hop - t.m_num_mid
            segment = np.fft.irfft(X[..., m], n=n_fft) if onesided else np.fft.ifft(X[..., m])
            a, b = max(0, start), min(n_samples, start + n_fft)
            if a < b:
                y[..., a:b] += (segment * window / weight)[..., a - start : b - start]
        return y.real if onesided else y


IMPLEMENTATIONS = {
    each.name: each for each in (Implementation, OnTorch, Torch, Librosa, Scipy, ShortTime, NnAudio, Jax)
}


# ------------------------------------------------------------------ rows


def row_case(row: Row, im: Implementation) -> None:
    """Returns where the value is right, else raises what judge() knows how to take."""
    outcome, call = row.outcome, im.call
    if isinstance(outcome, (Refused, Gives)):
        data = (row.data or spectrum)()
        given = {**BASE, **row.parameters}
        if im.ours or not isinstance(outcome, Refused):
            given = {name: value for name, value in given.items() if value is not None or name == "window"}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            y = call(data, **given)
        text = "; ".join(f"{each.category.__name__}: {each.message}" for each in said)
        try:
            right_value(row, outcome, im, data, y)
            if isinstance(outcome, Gives) and outcome.warning and not text:
                raise AssertionError("samples made up without a word")
        except AssertionError as cause:
            if text and re.search(words(row.id), text, re.IGNORECASE):
                raise UserWarning(text) from cause
            raise
        if im.ours and isinstance(outcome, Gives):
            assert bool(text) == bool(outcome.warning), text
            assert not text or re.search(outcome.warning or "", text)
    else:
        outcome(call)


def right_value(row: Row, outcome: Any, im: Implementation, data: Any, y: np.ndarray) -> None:
    """AssertionError unless y is what the definition gives, where it can give anything."""
    if isinstance(outcome, Refused) and row.id not in EITHER:
        raise AssertionError(f"accepted: shape {np.shape(y)}")
    known = {**BASE, **row.parameters, **getattr(outcome, "known", {})}
    known["onesided"] = known.get("onesided", True)
    if row.id == "A15":
        known["onesided"] = False
    host = np.asarray(data, dtype=complex)
    if row.id == "E11":
        host = np.asarray(data.filled(0))
        data.data[0, 20, 10] = 1e6
    known = {name: int(value) if isinstance(value, float) else value for name, value in known.items()}
    if known.get("length") == 0 or host.size == 0 or row.id in ("A07", "A09"):
        assert np.asarray(y).size == 0, "samples made up"
        return
    want = hostile.inverse(host, **known)
    y = np.asarray(y)
    assert y.shape == want.shape, f"shape {y.shape} for {want.shape}"
    tolerance = max(getattr(outcome, "tol", 1e-4), 5e-5 if im.single else 1e-9)
    weighted = slice(1, None) if row.id in ("D48", "D59") else slice(None)
    off = np.abs(y - want)[..., weighted].max(initial=0)
    assert off <= tolerance * (np.abs(want[..., weighted]).max(initial=0) or 1), f"off by {off:.2g}"


# ------------------------------------------------------------------ procedures


def good(im: Implementation, X: np.ndarray | None = None, **sizes: Any) -> np.ndarray:
    return im.call(spectrum() if X is None else X, **{**BASE, **sizes})


def same(a: np.ndarray, b: np.ndarray, what: str) -> None:
    assert a.shape == b.shape, what
    if not np.array_equal(a, b):
        off = np.abs(a - b).max() / np.abs(a).max()
        raise (AssertionError if off > 2e-5 else BitsDifferError)(f"{what}: {off:.1e} of the peak")


def C12(im: Implementation) -> None:
    im.gradients()


def D52(im: Implementation) -> None:
    try:
        im.istft(im.native(spectrum()), n_fft=256, hop=64)
    except NotApplicableError:
        raise
    except Exception as cause:
        raise RaisedError from cause
    raise AssertionError("accepted")


def foreign(im: Implementation, change: Callable[[Any], Any] = lambda X: X) -> np.ndarray:
    import torch

    X = spectrum() if im.torch else change(torch.from_numpy(spectrum()))
    try:
        y = im.istft(X, **BASE)
    except Exception as cause:
        raise RaisedError from cause
    return np.asarray(y.detach() if hasattr(y, "detach") else y)


def E17(im: Implementation) -> None:
    np.testing.assert_allclose(foreign(im), inverse(spectrum()), atol=1e-4)


def E18(im: Implementation) -> None:
    if im.torch:
        raise NotApplicableError
    np.testing.assert_allclose(foreign(im, lambda X: X.requires_grad_()), inverse(spectrum()), atol=1e-4)


def E19(im: Implementation) -> None:
    import torch

    window = HANN if im.torch else torch.from_numpy(HANN.copy())
    istft = im.tensors.istft if isinstance(im, Torch) and type(im) is Torch else im.istft
    try:
        y = im.host(istft(im.native(spectrum()), n_fft=256, hop_length=64, window=window))
    except NotApplicableError:
        raise
    except Exception as cause:
        raise RaisedError from cause
    np.testing.assert_allclose(np.asarray(y), inverse(spectrum()), atol=1e-4)


def E20(im: Implementation) -> None:
    if not im.torch or isinstance(im, NnAudio):
        raise NotApplicableError
    torch = im.tensors
    window = torch.ones(256, device="meta", dtype=torch.float64)
    try:
        im.istft(im.native(spectrum()), n_fft=256, hop_length=64, window=window)
    except Exception as cause:
        raise RaisedError from cause
    raise AssertionError("accepted")


def E21(im: Implementation) -> None:
    if not im.torch:
        raise NotApplicableError
    y = im.host(im.istft(im.native(spectrum().conj()).conj(), **BASE))
    np.testing.assert_allclose(y, inverse(spectrum()), atol=1e-4)


def out_view(im: Implementation) -> None:
    if "out" in im.lacks or im.torch:
        raise NotApplicableError
    big = np.full((2, 4096), 7.0)
    good(im, out=big[:, ::2])
    np.testing.assert_allclose(big[:, ::2], inverse(spectrum()), atol=1e-9)
    assert (big[:, 1::2] == 7).all(), "neighbours overwritten"


def out_of_the_input(im: Implementation) -> None:
    if "out" in im.lacks or im.torch:
        raise NotApplicableError
    X = spectrum()
    try:
        im.istft(X, **BASE, out=X.view(float).reshape(-1)[:4096].reshape(2, 2048))
    except Exception as cause:
        raise RaisedError from cause
    raise AssertionError("accepted")


def F03(im: Implementation) -> None:
    import random

    def state() -> tuple[Any, ...]:
        return np.geterr(), len(warnings.filters), random.getstate(), os.getcwd(), dict(os.environ)

    good(im)
    before = state()
    good(im)
    assert state() == before


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def leak(im: Implementation, **wrong: Any) -> None:
    def once() -> None:
        with contextlib.suppress(RaisedError):
            good(im, **wrong)

    for _ in range(60):
        once()
    before = resident()
    for _ in range(300):
        once()
    grown = resident() - before
    assert grown < (5e6 if im.ours else 20e6), f"{grown / 1e6:.0f} MB more"
    good(im)


def at_once(im: Implementation, function: Callable[[np.ndarray], np.ndarray], rounds: int) -> None:
    spectra = [spectrum(signal(2, n_samples=n_samples)) for n_samples in (1024, 2048, 4096, 1536)]
    alone = [function(X) for X in spectra]

    def work(i: int) -> int:
        wrong = 0
        for r in range(rounds):
            try:
                wrong += not np.array_equal(function(spectra[(i + r) % 4]), alone[(i + r) % 4])
            except Exception:
                wrong += 1
        return wrong

    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(8) as pool:
        wrong = sum(pool.map(work, range(8)))
    assert not wrong, f"{wrong} of {8 * rounds} calls wrong"


def G01(im: Implementation) -> None:
    y = good(im)
    for _ in range(20):
        same(y, good(im), "again")


def G02(im: Implementation) -> None:
    at_once(im, lambda X: good(im, X), 10)


def planned(im: Implementation) -> Callable[[np.ndarray], np.ndarray]:
    plan = im.plan()
    return lambda X: np.array(im.host(plan(im.native(X))))


def G03(im: Implementation) -> None:
    at_once(im, planned(im), 60)


def G04(im: Implementation) -> None:
    X = spectrum(signal(8, n_samples=8192))
    im.threads(1)
    y = good(im, X)
    for count in (2, 4):
        im.threads(count)
        same(y, good(im, X), f"{count} threads")


def G05(im: Implementation) -> None:
    X = spectrum(signal(7))
    y = good(im, X)
    for i in (0, 3, 6):
        same(y[i : i + 1], good(im, X[i : i + 1].copy()), f"item {i}")


def G06(im: Implementation) -> None:
    y = good(im)
    if isinstance(im, Librosa):
        for n_bytes in (1 << 14, 3 << 15, 1):
            for name in ("librosa.util", "librosa.util.utils"):
                importlib.import_module(name).MAX_MEM_BLOCK = n_bytes
            same(y, good(im), f"blocks of {n_bytes} bytes")
    elif im.ours and not im.torch:
        from xp_istft.tuning import tuned

        for n_bytes in (1 << 12, 1 << 15, 3 << 15):
            with tuned(block_bytes=n_bytes):
                same(y, good(im), f"blocks of {n_bytes} bytes")
    else:
        raise NotApplicableError


def G07(im: Implementation) -> None:
    y = good(im)
    same(y, good(im, np.asfortranarray(spectrum())), "Fortran order")
    same(y, good(im, hostile.strided(spectrum())), "strided")


def G08(im: Implementation) -> None:
    X = spectrum()
    same(good(im, X)[:, 200:1024], good(im, X[..., :20].copy())[:, 200:1024], "the first 20 frames")


def in_a_child(work: Callable[[], bool], seconds: float) -> None:
    child = os.fork()
    if child == 0:
        code = 3
        with contextlib.suppress(BaseException):
            code = 0 if work() else 2
        os._exit(code)
    end = time.time() + seconds
    while time.time() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
            return
        time.sleep(0.02)
    os.kill(child, signals.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError


def G09(im: Implementation) -> None:
    with contextlib.suppress(NotApplicableError):
        im.threads(2)
    X = spectrum(signal(8, n_samples=16384))
    y = good(im, X)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: good(im, X), range(4)))
    in_a_child(lambda: np.array_equal(good(im, X), y), 30)


def G10(im: Implementation) -> None:
    plan = im.plan()
    X = im.native(spectrum())
    y = np.array(im.host(plan(X)))
    for other in (pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan)):
        same(y, np.array(im.host(other(X))), "a copy")


def G11(im: Implementation) -> None:
    """Ctrl-C in the middle of a call that takes seconds. Ours: seen within half a second."""
    X = spectrum(signal(1, n_samples=64 * 800))
    y = good(im, X)
    start = time.perf_counter()
    good(im, X)
    frames = int(min(200_000, max(4000, 801 * 1.0 / (time.perf_counter() - start))))
    big = im.native(np.ascontiguousarray(np.broadcast_to(X[..., 400:401], (1, 129, frames))))
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        im.host(im.istft(big, **BASE))
        taken.append(time.perf_counter() - start)
    sent: list[float] = []

    def fire() -> None:
        time.sleep(0.3 * min(taken))
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signals.SIGINT)

    signals.signal(signals.SIGINT, signals.default_int_handler)
    thread = threading.Thread(target=fire)
    try:
        thread.start()
        for _ in range(50):
            im.host(im.istft(big, **BASE))
        raise AssertionError("swallowed")
    except KeyboardInterrupt:
        late = time.perf_counter() - sent[0]
    thread.join()
    assert late < 0.5 or not im.ours, f"seen after {late:.2f} s"
    same(y, good(im, X), "after the interrupt")


def G12(im: Implementation) -> None:
    X = spectrum()
    y = good(im, X)

    def work(i: int) -> bool:
        if i % 3:
            return np.array_equal(good(im, X), y)
        with contextlib.suppress(Exception):
            im.istft(im.native(X[:, :5]), n_fft=-3, hop_length=0)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40))), "a good call went wrong"
    same(y, good(im, X), "afterwards")


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def G13(im: Implementation) -> None:
    X = spectrum()
    y = good(im, X)
    big = np.broadcast_to(X[:1, :, :1], (64 if isinstance(im, Jax) else 256, 129, 40000))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + (300 << 20), limits[1]))
    try:
        im.host(im.istft(im.native(big), **BASE))
        said = None
    except Exception as cause:
        said = cause
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert said is not None, "no error under the limit"
    if not re.search("memory|RESOURCE_EXHAUSTED", f"{type(said).__name__} {said}", re.IGNORECASE):
        raise RaisedError from said
    same(y, good(im, X), "afterwards")


def G14(im: Implementation) -> None:
    X = np.broadcast_to(np.ones((1, 3, 1), complex), (1, 3, 2**29 + 10))
    try:
        im.istft(im.native(X), n_fft=4, hop_length=4, window="boxcar")
    except NotApplicableError:
        raise
    except Exception as cause:
        raise RaisedError from cause
    raise AssertionError("accepted")


def G16(im: Implementation) -> None:
    y = good(im)
    made: list[np.ndarray] = []
    threading.stack_size(256 * 1024)
    thread = threading.Thread(target=lambda: made.append(good(im)))
    thread.start()
    thread.join()
    assert made, "the thread died"
    same(y, made[0], "on a small stack")


def G17(im: Implementation) -> None:
    y = good(im)

    def work() -> bool:
        import atexit

        right = []
        atexit.register(lambda: right.append(np.array_equal(good(im), y)))
        atexit._run_exitfuncs()
        return bool(right and right[0])

    if isinstance(im, Jax):
        raise NotApplicableError("fork")
    in_a_child(work, 40)


PROCEDURES: dict[str, Callable[[Implementation], None]] = {
    **{function.__name__: function for function in (
        C12, D52, E17, E18, E19, E20, E21, F03, G01, G02, G03, G04, G05, G06, G07, G08, G09, G10, G11, G12, G13, G14, G16, G17
    )},
    "E26": out_view, "E27": out_of_the_input, "F04": functools.partial(leak, hop_length=-1), "F05": leak,
}  # fmt: skip


def cases() -> dict[str, list[Callable[[Implementation], None]]]:
    """Number -> what is run under it."""
    found: dict[str, list[Callable[[Implementation], None]]] = {}
    for row in hostile.ROWS:
        if "spectrum" in row.takes and not row.id.startswith("X"):
            found.setdefault(row.id, []).append(functools.partial(row_case, row))
    for number, procedure in PROCEDURES.items():
        found.setdefault(number, []).append(procedure)
    return dict(sorted(found.items()))


# ------------------------------------------------------------------ judgement


def expected(number: str, parts: list[Any]) -> str:
    if number in EITHER:
        return "either"
    row = next(iter(getattr(parts[0], "args", ())), None)
    refused = isinstance(row, Row) and isinstance(row.outcome, Refused)
    return "error" if refused or number in ("D52", "E20", "E27", "G14") else "value"


def words(number: str) -> str:
    return WORDS.get(number[:2]) or WORDS[number[0]]


def judged(number: str, want: str, im: Implementation, part: Callable[[Implementation], None]) -> tuple[str, str]:
    try:
        part(im)
    except NotApplicableError as cause:
        return "n/a", str(cause)
    except MutatedError as cause:
        return "mutates", str(cause)
    except BitsDifferError as cause:
        return "bits differ", str(cause)
    except UserWarning as cause:
        return "warned", str(cause)
    except TimeoutError:
        return "hang", ""
    except AssertionError as cause:
        return "silent wrong", " ".join(str(cause).split())[:200]
    except RaisedError as raised:
        return refusal(number, want, im, part, raised.__cause__)
    except Exception as cause:  # of a procedure's own call
        return "unclear error", f"{type(cause).__name__}: {cause}"
    return "correct", ""


def refusal(number: str, want: str, im: Implementation, part: Any, cause: Any) -> tuple[str, str]:
    text = " ".join(str(cause).split("\nException raised")[0].split())
    said = f"{type(cause).__name__}: {text[:200]}"
    row = next(iter(getattr(part, "args", ())), None)
    if im.ours and isinstance(row, Row) and isinstance(row.outcome, Refused):
        exact = type(cause) is row.outcome.kind and re.match(f"istft: ({row.outcome.text})", text.replace("torch.", ""))
        return ("clear error" if exact else "unclear error"), said
    text = re.sub(r"^istft\(.*?center=\d.*?\)\s*:?", "", text)  # torch repeats every parameter
    clear = type(cause).__name__ not in ACCIDENTS and not INSIDE.search(text) and re.search(words(number), text, re.I)
    if not clear:
        return "unclear error", said
    return ("refused" if want == "value" else "clear error"), said


def in_its_own_process(number: str, parts: list[Any], im: Implementation) -> tuple[str, str]:
    """The worst of the parts; what hangs does so twice, for a busy machine may be late once."""
    found = in_a_limited_child(number, parts, im)
    return found if found[0] != "hang" else in_a_limited_child(number, parts, im)


def in_a_limited_child(number: str, parts: list[Any], im: Implementation) -> tuple[str, str]:
    """The worst of the parts, in a child with limits; afterwards a good call must be right."""
    want = expected(number, parts)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            if number != "G13":
                resource.setrlimit(
                    resource.RLIMIT_AS, (address_space() + LIMIT * (3 if isinstance(im, Jax) else 1), -1)
                )
            worst = max((judged(number, want, im, part) for part in parts), key=lambda found: rank(want, found[0]))
            if worst[0] not in ("n/a", "hang"):
                try:
                    np.testing.assert_allclose(good(im), inverse(spectrum()), atol=1e-4)
                except BaseException as cause:
                    worst = "crash", f"broken afterwards: {cause}"[:200]
            os.write(writer, json.dumps(worst).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.set_blocking(reader, False)
    end = time.time() + SECONDS
    while time.time() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            with contextlib.suppress(BlockingIOError):
                if answer := os.read(reader, 1 << 16):
                    os.close(reader)
                    return tuple(json.loads(answer))
            os.close(reader)
            return "crash", f"status {status}"
        time.sleep(0.005)
    os.kill(child, signals.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    return "hang", f"no answer in {SECONDS} s"


def rank(want: str, found: str) -> tuple[int, int]:
    """What does not apply counts least, what does not meet the case most."""
    if found == "n/a":
        return 0, 0
    return (2 if found not in MET[want] else 1), CLASSES.index(found)


def score(name: str, only: list[str], show: bool) -> Counter[str]:
    im = IMPLEMENTATIONS[name]()
    tolerance = 0.0 if im.ours else 5e-5 if im.single else 1e-9
    hostile.convention = hostile.Convention(tolerance=tolerance)
    if isinstance(im, ShortTime):
        hostile.convention = hostile.Convention(im.spectrum, im.inverse, tolerance, lambda m: 64 * (m - 1) - 128)
    tally: Counter[str] = Counter()
    for number, parts in cases().items():
        if only and number not in only:
            continue
        found, said = in_its_own_process(number, parts, im)
        met = found in MET[expected(number, parts)]
        tally[found] += 1
        tally["met"] += met
        if show or (im.ours and found != "n/a" and not met):
            print(f"  {number} {found}: {said}", flush=True)
    return tally


def installed(name: str) -> bool:
    packages = [IMPLEMENTATIONS[name].package, *(["torch"] if IMPLEMENTATIONS[name].torch else [])]
    return all(importlib.util.find_spec(package.partition(".")[0]) for package in packages)


def in_a_process(name: str, only: list[str]) -> dict[str, int]:
    """The score of one implementation, in a child with its own libraries."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(score(name, only, bool(only))).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        tally = json.loads(answer.read() or "{}")
    os.waitpid(child, 0)
    return tally


def share(tally: dict[str, int]) -> tuple[int, int, str]:
    met, count = tally.get("met", 0), sum(tally.get(each, 0) for each in CLASSES if each != "n/a")
    return met, count, f"{met}/{count} {math.floor(100 * met / max(1, count))} %"


def version(name: str) -> str:
    package = IMPLEMENTATIONS[name].package.partition(".")[0]
    return importlib.metadata.version(package.replace("_", "-")) if package != "xp_istft" else ""


def table(tallies: dict[str, dict[str, int]]) -> str:
    lines = [
        "# Reliability",
        "",
        "What each inverse makes of the hostile, broken and edge inputs that it can be given: cases met of those that"
        " apply, and how the others end. Written by benchmarks/battery.py, which says what counts as what.",
        "",
        f"| inverse | met | {' | '.join(CLASSES)} |",
        "|---|" + "---|" * (1 + len(CLASSES)),
    ]
    for name, tally in tallies.items():
        cells = [f"{name} {version(name)}".strip(), share(tally)[2], *(str(tally.get(each, 0)) for each in CLASSES)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=", ".join(IMPLEMENTATIONS))
    parser.add_argument("--cases", nargs="*", default=[], help="these numbers only, with what came")
    chosen = parser.parse_args()
    print(f"{'':26s}{'met / applicable':>18s}  " + "  ".join(CLASSES))
    tallies: dict[str, dict[str, int]] = {}
    for name in chosen.names or IMPLEMENTATIONS:
        if not installed(name):
            print(f"{name:26s}not installed")
            continue
        tally = tallies[name] = in_a_process(name, chosen.cases)
        counts = "  ".join(f"{tally.get(each, 0):>{len(each)}}" for each in CLASSES)
        print(f"{name:26s}{share(tally)[2]:>18s}  {counts}", flush=True)
    if not chosen.names and not chosen.cases:
        (Path(__file__).parent / "results" / "battery.md").write_text(table(tallies))
    short = [
        name
        for name, tally in tallies.items()
        if IMPLEMENTATIONS[name].ours and not 0 < share(tally)[1] <= share(tally)[0]
    ]
    sys.exit(int(bool(short)))


if __name__ == "__main__":
    main()
