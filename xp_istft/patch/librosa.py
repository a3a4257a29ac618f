"""librosa's stft and istft, and so what librosa builds on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import librosa.core.spectrum
import numpy as np

from ..compat import librosa as compat
from . import speeds
from .replacements import Problem, Replacement, noise

_SPECTRUM_OF = {"float32": np.complex64, "float64": np.complex128}
_SIGNAL_OF = {"complex64": np.float32, "complex128": np.float64}


def replacements() -> list[Replacement]:
    return [
        Replacement("librosa.stft", librosa.core.spectrum, compat.stft, refusal_of_stft, Problem(_stft_of)),
        Replacement("librosa.istft", librosa.core.spectrum, compat.istft, refusal_of_istft, Problem(_istft_of)),
    ]


def refusal_of_stft(
    y: Any,
    *,
    n_fft: Any = 2048,
    hop_length: Any = None,
    win_length: Any = None,
    window: Any = "hann",
    center: Any = True,
    dtype: Any = None,
    pad_mode: Any = "constant",
    out: Any = None,
) -> str | None:
    if not _plain(y, _SPECTRUM_OF, out, dtype):
        return "not a plain array of float32 or float64"
    if not _sizes(n_fft, hop_length, win_length, window) or y.shape[-1] < n_fft:
        return "window or sizes"
    if center and pad_mode not in ("constant", "reflect"):
        return "padding"
    if y.size < speeds.least("librosa.stft", False, 1, n_fft):
        return "size"
    return None if math.isfinite(y.sum()) else "values that are not finite"  # librosa refuses them


def refusal_of_istft(
    stft_matrix: Any,
    *,
    hop_length: Any = None,
    win_length: Any = None,
    n_fft: Any = None,
    window: Any = "hann",
    center: Any = True,
    dtype: Any = None,
    length: Any = None,
    out: Any = None,
) -> str | None:
    if not _plain(stft_matrix, _SIGNAL_OF, out, dtype) or stft_matrix.ndim < 2:
        return "not a plain array of complex64 or complex128"
    n_fft = 2 * (stft_matrix.shape[-2] - 1) if n_fft is None else n_fft
    if not _sizes(n_fft, hop_length, win_length, window) or stft_matrix.shape[-2] != n_fft // 2 + 1:
        return "window or sizes"
    if not center or not (length is None or (type(length) is int and length > 0)):
        return "arguments"
    win_length = n_fft if win_length is None else win_length
    hop = win_length // 4 if hop_length is None else hop_length
    if length is not None and length > hop * (stft_matrix.shape[-1] - 1) + win_length // 4:
        return "length"  # where the last window has faded, librosa divides what rounding left
    return "size" if 2 * stft_matrix.size < speeds.least("librosa.istft", False, 1, n_fft) else None


def _plain(array: Any, result_of: Mapping[str, type], out: Any, dtype: Any) -> bool:
    if type(array) is not np.ndarray or array.size == 0:
        return False
    due = result_of.get(array.dtype.name)
    if due is None or not (dtype is None or dtype is due):
        return False
    return out is None or (type(out) is np.ndarray and out.dtype == due and not np.may_share_memory(out, array))


def _sizes(n_fft: Any, hop_length: Any, win_length: Any, window: Any) -> bool:
    win_length = n_fft if win_length is None else win_length
    hop_length = win_length // 4 if hop_length is None else hop_length
    if not (type(n_fft) is type(hop_length) is type(win_length) is int and hop_length > 0 and 0 < win_length <= n_fft):
        return False
    if isinstance(window, (str, tuple)):
        return True
    return type(window) is np.ndarray and window.dtype.name in _SPECTRUM_OF and window.shape == (win_length,)


def _stft_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    y = noise(n_fft, items, frames)
    return lambda stft: stft(y, n_fft=n_fft)


def _istft_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    D = librosa.stft(noise(n_fft, items, frames), n_fft=n_fft)
    return lambda istft: istft(D)
