"""The inverses that the battery tries: ours and its peers', each in the parameters of xp_istft and on host arrays."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import hostile
import numpy as np
from hostile import BASE, signal, spectrum


class NotApplicableError(Exception):
    """The implementation has no such parameter, or no such data."""


class RaisedError(Exception):
    """What the implementation raised, as __cause__."""


class Inverse:
    """An implementation. `call` takes host arrays (anything else as it is) and the parameters of xp_istft.

    names     : its own words for those of xp_istft, as a pattern
    lacks     : parameters that it has none of
    tolerance : of a value, relative to 1
    """

    name, package = "xp_istft", "xp_istft"
    names: ClassVar[dict[str, str]] = {}
    lacks: tuple[str, ...] = ()
    tolerance = 0.0
    torch = False

    def __init__(self) -> None:
        self.module = importlib.import_module(self.package)

    def native(self, array: np.ndarray) -> Any:
        return array

    def host(self, array: Any) -> np.ndarray:
        if self.torch:
            array = array.detach().resolve_conj().resolve_neg()
        return np.asarray(array.detach() if hasattr(array, "detach") else array)

    def istft(self, X: Any, **given: Any) -> Any:
        return self.module.istft(X, **given)

    def reusable(self) -> Callable[[Any], Any]:
        """A transform that is made once."""
        return self.module.STFT(**BASE).istft

    def threads(self, count: int) -> None:
        self.module.set_workers(count)

    def call(self, data: Any, **given: Any) -> np.ndarray:
        default = {"center": True, "onesided": True}
        kept = {name: value for name, value in given.items() if name not in self.lacks}
        for name in given.keys() - kept.keys():
            if given[name] is not None and given[name] is not default.get(name):
                raise NotApplicableError(name)
        theirs = [each for each in (data, kept.get("window")) if isinstance(each, np.ndarray) and each.size < 1 << 22]
        before = [each.tobytes() for each in theirs if each.dtype != object]
        try:
            plain = isinstance(data, np.ndarray) and not isinstance(data, (np.ma.MaskedArray, np.matrix))
            return self.host(self.istft(self.native(data) if plain else data, **kept))
        except NotApplicableError:
            raise
        except Exception as cause:
            raise RaisedError from cause
        finally:
            assert before == [each.tobytes() for each in theirs if each.dtype != object], "an array was changed"

    def good(self, X: np.ndarray | None = None, **sizes: Any) -> np.ndarray:
        return self.call(spectrum() if X is None else X, **{**BASE, **sizes})


class OnTorch(Inverse):
    name, torch = "xp_istft on torch", True

    def native(self, array: np.ndarray) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of arrays that cannot be written
                return importlib.import_module("torch").from_numpy(array)
        except (TypeError, ValueError) as cause:  # of dtypes, byte orders and strides
            raise NotApplicableError("there is no such tensor") from cause

    def istft(self, X: Any, **given: Any) -> Any:
        if isinstance(out := given.get("out"), np.ndarray):
            if not out.flags.writeable or out.dtype.byteorder == ">":
                raise NotApplicableError("there is no such tensor")
            given["out"] = self.native(out)
        return super().istft(X, **given)


class Peer(Inverse):
    tolerance = 1e-9

    def reusable(self) -> Callable[[Any], Any]:
        raise NotApplicableError("a function only")

    def threads(self, count: int) -> None:
        raise NotApplicableError("no threads to choose")


def samples(window: Any, size: Any, n_fft: Any) -> np.ndarray:
    """A window, in the middle of n_fft samples as ours; n/a where the peer's words have none that is so."""
    sizes = all(isinstance(each, (int, np.integer)) for each in (size, n_fft))
    named = isinstance(window, str) and window in ("hann", "hamming", "boxcar")
    if not sizes or not 0 < size <= n_fft or not (named or getattr(window, "shape", None) == (size,)):
        raise NotApplicableError("windows are arrays")
    return hostile.definition.window_samples(window, int(size), int(n_fft))


class Torch(Peer, OnTorch):
    name = package = "torch"
    names: ClassVar = {"X": "input"}
    lacks = ("out",)

    def istft(self, X: Any, n_fft: Any = None, window: Any = "hann", win_length: Any = None, **given: Any) -> Any:
        if n_fft is None or isinstance(window, (tuple, list)):
            raise NotApplicableError("n_fft is needed, windows are tensors")
        if isinstance(window, str):
            size = win_length if isinstance(win_length, int) and win_length > 0 else n_fft
            window = samples(window, size, size)
        if isinstance(window, np.ndarray):
            single = getattr(X, "dtype", None) in (self.module.complex64, self.module.float32)
            window = self.module.from_numpy(window.astype("f") if single and window.dtype == float else window)
        return self.module.istft(X, n_fft, window=window, win_length=win_length, **given)

    def threads(self, count: int) -> None:
        self.module.set_num_threads(count)


class NnAudio(Peer, OnTorch):
    name, package = "nnAudio", "nnAudio.features.stft"
    lacks = ("out",)
    tolerance = 5e-5

    def istft(self, X: Any, onesided: Any = True, length: Any = None, **given: Any) -> Any:
        if not isinstance(given.get("window", "hann"), str) or given.get("n_fft", 0) is None:
            raise NotApplicableError("windows by name, n_fft needed")
        layer, torch = self.module.iSTFT(**given, verbose=False), importlib.import_module("torch")
        if isinstance(X, torch.Tensor) and X.is_complex():
            layer = layer.double() if X.dtype == torch.complex128 else layer
            X = torch.view_as_real(X.resolve_conj())
        return layer(X, onesided=onesided, length=length)


class Librosa(Peer):
    name = package = "librosa"
    names: ClassVar = {"X": "stft_matrix"}
    lacks = ("onesided",)

    def __init__(self) -> None:
        super().__init__()
        for kind in (np.complex64, complex):  # compiled once, not in every child
            self.module.istft(np.ones((129, 9), kind), hop_length=64)


class Scipy(Peer):
    name, package = "scipy.signal.istft", "scipy.signal"
    names: ClassVar = {"X": "Zxx", "hop_length": "noverlap", "n_fft": "nfft|nperseg", "win_length": "nperseg",
                       "center": "boundary", "onesided": "input_onesided"}  # fmt: skip
    lacks = ("length", "out")

    def istft(self, X: Any, n_fft: Any = None, hop_length: Any = None, win_length: Any = None, window: Any = "hann",
              center: Any = True, onesided: Any = True) -> Any:  # fmt: skip
        size = n_fft if win_length is None else win_length
        size = len(window) if size is None and isinstance(window, np.ndarray) else size
        if size is None or isinstance(hop_length, (str, bool)) or window is None:
            raise NotApplicableError("the hop is given as noverlap")
        with contextlib.suppress(NotApplicableError):
            if win_length:
                window, size = samples(window, win_length, n_fft), n_fft
        sizes = {"nperseg": size, "noverlap": None if hop_length is None else size - hop_length, "nfft": n_fft}
        _, y = self.module.istft(X, window=window, input_onesided=onesided, boundary=center, **sizes)
        with contextlib.suppress(Exception):  # scipy's scaling; what it makes of a bad window, it made
            array = isinstance(window, np.ndarray)
            total = (window if array else hostile.definition.window_samples(window, size, size)).sum()
            return y / total if np.isfinite(total) and total else y
        return y


class Jax(Scipy):
    name, package = "jax", "jax.scipy.signal"

    def __init__(self) -> None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self.jax = importlib.import_module("jax")
        self.jax.config.update("jax_enable_x64", True)
        super().__init__()

    def native(self, array: np.ndarray) -> Any:
        if array.dtype.kind not in "biufc" or array.dtype == np.clongdouble:
            raise NotApplicableError("its arrays have no such dtype")
        return self.jax.numpy.asarray(array)

    def host(self, array: Any) -> np.ndarray:
        return np.array(array)


class ShortTime(Peer):
    """In its own convention: its spectra begin before the signal, and its gain at the ends is that of the middle."""

    name, package = "scipy.signal.ShortTimeFFT", "scipy.signal"
    names: ClassVar = {"X": "S", "hop_length": "hop", "n_fft": "mfft", "win_length": "mfft|win", "window": "win",
                       "length": "k1", "onesided": "fft_mode"}  # fmt: skip
    lacks = ("out", "center")

    def transform(self, n_fft: Any = 256, hop_length: Any = 64, win_length: Any = None, window: Any = "hann",
                  onesided: Any = True) -> Any:  # fmt: skip
        if n_fft is None or hop_length is None or not isinstance(onesided, bool):
            raise NotApplicableError("the sizes are needed")
        if isinstance(window, str) and window not in ("hann", "hamming", "boxcar"):
            return self.module.ShortTimeFFT.from_window(window, 1.0, n_fft, n_fft - hop_length, mfft=n_fft)
        if isinstance(window, tuple) and isinstance(n_fft, int):
            window = hostile.definition.window_samples(window, n_fft, n_fft)
        elif win_length is not None or isinstance(window, str):
            window = samples(window, n_fft if win_length is None else win_length, n_fft)
        mode = "onesided" if onesided else "twosided"
        return self.module.ShortTimeFFT(window, hop_length, 1.0, fft_mode=mode, mfft=n_fft, phase_shift=None)

    def istft(self, X: Any, length: Any = None, center: Any = True, **sizes: Any) -> Any:
        return self.transform(**sizes).istft(X, k1=length)

    def reusable(self) -> Callable[[Any], Any]:
        return self.transform().istft

    def spectrum(self, x: np.ndarray | None = None, center: Any = True, **sizes: Any) -> np.ndarray:
        if center is not True:
            raise NotApplicableError("no center")
        return self.transform(**sizes).stft(signal(2) if x is None else x)

    def inverse(self, X: np.ndarray, length: Any = None, hop_length: Any = 64, **sizes: Any) -> np.ndarray:
        """Frames times the dual window of the steady state, added one by one."""
        hop, X = int(hop_length), np.asarray(X).astype(complex)
        known = ("n_fft", "win_length", "window", "onesided")
        t = self.transform(hop_length=hop, **{name: sizes[name] for name in known if name in sizes})
        weight = np.array([(t.win[n % hop :: hop] ** 2).sum() for n in range(t.mfft)])
        n_samples = (X.shape[-1] + t.p_min - 1) * hop + t.m_num - t.m_num_mid if length is None else int(length)
        segments = np.fft.irfft(X, t.mfft, axis=-2) if sizes.get("onesided", True) else np.fft.ifft(X, axis=-2)
        y = np.zeros((*X.shape[:-2], n_samples), segments.dtype)
        for m in range(X.shape[-1]):
            start = (m + t.p_min) * hop - t.m_num_mid
            a, b = max(0, start), min(n_samples, start + t.mfft)
            if a < b:
                y[..., a:b] += (segments[..., m] * t.win / weight)[..., a - start : b - start]
        return y


IMPLEMENTATIONS = {each.name: each for each in (Inverse, OnTorch, Torch, Librosa, Scipy, ShortTime, NnAudio, Jax)}
OURS = ("xp_istft", "xp_istft on torch")
