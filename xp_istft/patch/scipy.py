"""scipy.signal's stft and istft, and the methods of its ShortTimeFFT."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.signal

from ..compat import scipy as compat
from . import speeds
from .replacements import Problem, Replacement, noise

_REAL, _COMPLEX = ("float32", "float64"), ("complex64", "complex128")


def replacements() -> list[Replacement]:
    theirs, ours = scipy.signal.ShortTimeFFT, compat.ShortTimeFFT
    return [
        Replacement("scipy.signal.stft", scipy.signal, compat.stft, refusal_of_stft, Problem(_stft_of)),
        Replacement("scipy.signal.istft", scipy.signal, compat.istft, refusal_of_istft, Problem(_istft_of)),
        Replacement(
            "scipy.signal.ShortTimeFFT.stft_detrend", theirs, ours.stft_detrend, refusal_to_slice, Problem(_slices_of)
        ),
        Replacement("scipy.signal.ShortTimeFFT.istft", theirs, ours.istft, refusal_to_join, Problem(_joined_of)),
    ]


def _plain(array: Any, dtypes: tuple[str, ...]) -> bool:
    return type(array) is np.ndarray and array.dtype.name in dtypes and array.size > 0


def refusal_of_stft(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: Any = 256,
    noverlap: Any = None,
    nfft: Any = None,
    detrend: Any = False,
    return_onesided: Any = True,
    boundary: Any = "zeros",
    padded: Any = True,
    axis: Any = -1,
    scaling: Any = "spectrum",
) -> str | None:
    if not _plain(x, _REAL) or return_onesided is not True:
        return "not a plain array of real numbers, to one-sided spectra"
    if detrend is not False or type(axis) is not int or type(fs) not in (int, float):
        return "arguments"
    size = window.size if isinstance(window, np.ndarray) else 256
    segment = size if nperseg is None else nperseg
    if not _segments(window, segment, noverlap, nfft) or x.shape[axis] < segment:
        return "window or sizes"
    return "size" if x.size < speeds.least("scipy.signal.stft", False, 1, segment) else None


def refusal_of_istft(
    Zxx: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: Any = None,
    noverlap: Any = None,
    nfft: Any = None,
    input_onesided: Any = True,
    boundary: Any = True,
    time_axis: Any = -1,
    freq_axis: Any = -2,
    scaling: Any = "spectrum",
) -> str | None:
    if not _plain(Zxx, _COMPLEX) or Zxx.ndim != 2 or input_onesided is not True:
        return "not a plain array of a one-sided spectrum"  # of several signals scipy's times are those of a wrong axis
    if not (type(time_axis) is type(freq_axis) is int and type(fs) in (int, float)):
        return "arguments"
    segment = 2 * (Zxx.shape[freq_axis] - 1) if nperseg is None else nperseg
    if not _segments(window, segment, noverlap, nfft):
        return "window or sizes"
    if not _covered(window if isinstance(window, (str, tuple)) else window.tobytes(), segment, noverlap):
        return "overlap of the windows"
    return "size" if 2 * Zxx.size < speeds.least("scipy.signal.istft", False, 1, segment) else None


def _segments(window: Any, segment: Any, noverlap: Any, nfft: Any) -> bool:
    """Whether these are what scipy takes, without a conversion."""
    if type(segment) is not int or segment < 1 or any(type(each) not in (int, type(None)) for each in (noverlap, nfft)):
        return False
    if isinstance(window, (str, tuple)):
        return True
    return type(window) is np.ndarray and window.dtype == np.float64 and window.shape == (segment,)


@lru_cache(maxsize=128)
def _covered(window: str | tuple[Any, ...] | bytes, segment: int, noverlap: int | None) -> bool:
    """Whether windows overlap by more than scipy asks for, everywhere."""
    samples = np.frombuffer(window) if isinstance(window, bytes) else window
    return bool(scipy.signal.check_NOLA(samples, segment, segment // 2 if noverlap is None else noverlap, tol=1e-6))


def refusal_to_slice(self: Any, x: Any, *arguments: Any, **options: Any) -> str | None:
    return refusal_of_a_method("scipy.signal.ShortTimeFFT.stft_detrend", self, x, x.size)


def refusal_to_join(self: Any, S: Any, *arguments: Any, **options: Any) -> str | None:
    return refusal_of_a_method("scipy.signal.ShortTimeFFT.istft", self, S, 2 * S.size)


def refusal_of_a_method(function: str, self: Any, array: Any, samples: int) -> str | None:
    if not _plain(array, (*_REAL, *_COMPLEX)) or type(self) is not scipy.signal.ShortTimeFFT:
        return "not a plain array, or a class of its own"
    return "size" if samples < speeds.least(function, False, 1, self.mfft) else None


def _stft_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    x = noise(n_fft, items, frames)
    return lambda stft: stft(x, nperseg=n_fft, noverlap=n_fft - n_fft // 4)


def _istft_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    X = scipy.signal.stft(noise(n_fft, 1, items * frames)[0], nperseg=n_fft, noverlap=n_fft - n_fft // 4)[2]
    return lambda istft: istft(X, nperseg=n_fft, noverlap=n_fft - n_fft // 4)


def _slices_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    x, of = noise(n_fft, items, frames), _transform(n_fft)
    return lambda stft_detrend: stft_detrend(of, x, None)


def _joined_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    of = _transform(n_fft)
    S = of.stft(noise(n_fft, items, frames))
    return lambda istft: istft(of, S)


def _transform(n_fft: int) -> scipy.signal.ShortTimeFFT:
    return scipy.signal.ShortTimeFFT(scipy.signal.get_window("hann", n_fft), n_fft // 4, 1.0)
