"""scipy.signal's check_COLA and check_NOLA, and how scipy reads sizes and windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import windows
from ..arguments import error
from ._inputs import count


def check_COLA(window: Any, nperseg: int, noverlap: int, tol: float = 1e-10) -> bool:  # noqa: N802  scipy's name
    """`scipy.signal.check_COLA`; `tol` is relative to the mean of the overlap.

    Examples
    --------
    >>> from xp_istft.compat.scipy import check_COLA
    >>> check_COLA("hann", 256, 128), check_COLA("hann", 256, 127)
    (True, False)
    """
    nperseg = segment_size("check_COLA", nperseg)
    hop = nperseg - overlap("check_COLA", noverlap, nperseg)
    return windows.check_cola(read_window("check_COLA", window, nperseg, "nperseg"), hop, tol=tol)


def check_NOLA(window: Any, nperseg: int, noverlap: int, tol: float = 1e-10) -> bool:  # noqa: N802  scipy's name
    """`scipy.signal.check_NOLA`; `tol` is relative to the largest overlap.

    Examples
    --------
    >>> from xp_istft.compat.scipy import check_NOLA
    >>> check_NOLA("hann", 256, 127), check_NOLA("hann", 256, 0)
    (True, False)
    """
    nperseg = segment_size("check_NOLA", nperseg)
    hop = nperseg - overlap("check_NOLA", noverlap, nperseg)
    if hop > nperseg:
        raise ValueError(f"noverlap must be a nonnegative integer, got {noverlap}")
    return windows.check_nola(read_window("check_NOLA", window, nperseg, "nperseg"), hop, tol=tol)


# scipy's words where it has some, with what came


def segment_size(function: str, nperseg: Any) -> int:
    nperseg = count(function, "nperseg", nperseg)
    if nperseg < 1:
        raise ValueError(f"nperseg must be a positive integer, got {nperseg}")
    return nperseg


def overlap(function: str, noverlap: Any, nperseg: int) -> int:
    """Samples that a segment shares with the next, by default half of it; negative ones leave gaps."""
    noverlap = nperseg // 2 if noverlap is None else count(function, "noverlap", noverlap)
    if noverlap >= nperseg:
        raise ValueError(f"noverlap must be less than nperseg={nperseg}, got {noverlap}")
    return noverlap


def fft_size(function: str, nfft: Any, nperseg: int) -> int:
    nfft = count(function, "nfft", nfft)
    if nfft < nperseg:
        raise ValueError(f"nfft must be greater than or equal to nperseg={nperseg}, got {nfft}")
    if nfft < 2:
        raise error(ValueError, function, "nfft", ">= 2", nfft)
    return nfft


def window_size(window: Any) -> int | None:
    """Samples of a window that is an array."""
    shape: tuple[int, ...] = () if isinstance(window, (str, tuple)) else np.shape(window)
    return shape[0] if len(shape) == 1 else None


def read_window(function: str, window: Any, nperseg: int, shown: Any = None) -> np.ndarray:
    """The window's samples, in float64; `shown` stands for nperseg in an error."""
    shape: tuple[int, ...] = () if isinstance(window, (str, tuple)) else np.shape(window)
    if len(shape) > 1:
        raise ValueError(f"window must be 1-D, got shape {tuple(shape)}")
    if len(shape) == 1 and shape[0] != nperseg:
        raise ValueError(f"window must have length of {shown or nperseg}, got {shape[0]}")
    key = windows.window_key(function, "window", window, nperseg)
    return windows.window_samples(function, "window", key, nperseg, nperseg)
