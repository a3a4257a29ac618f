"""scipy.signal's check_COLA and check_NOLA, and how scipy reads sizes and windows."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import windows


def check_COLA(window: Any, nperseg: int, noverlap: int, tol: float = 1e-10) -> bool:  # noqa: N802  scipy's name
    """`scipy.signal.check_COLA`; `tol` is relative to the mean of the overlap.

    Examples
    --------
    >>> from xp_istft.compat.scipy import check_COLA
    >>> check_COLA("hann", 256, 128), check_COLA("hann", 256, 127)
    (True, False)
    """
    nperseg = positive(nperseg)
    _, hop = sizes(nperseg, noverlap, nperseg)
    return windows.check_cola(read_window(window, nperseg, "nperseg"), hop, tol=tol)


def check_NOLA(window: Any, nperseg: int, noverlap: int, tol: float = 1e-10) -> bool:  # noqa: N802  scipy's name
    """`scipy.signal.check_NOLA`; `tol` is relative to the largest overlap.

    Examples
    --------
    >>> from xp_istft.compat.scipy import check_NOLA
    >>> check_NOLA("hann", 256, 127), check_NOLA("hann", 256, 0)
    (True, False)
    """
    nperseg = positive(nperseg)
    if noverlap < 0:
        raise ValueError("noverlap must be a nonnegative integer")
    _, hop = sizes(nperseg, noverlap, nperseg)
    return windows.check_nola(read_window(window, nperseg, "nperseg"), hop, tol=tol)


def positive(nperseg: Any) -> int:
    if int(nperseg) < 1:
        raise ValueError("nperseg must be a positive integer")
    return int(nperseg)


def sizes(nperseg: int, noverlap: Any, nfft: Any) -> tuple[int, int]:
    """The FFT's size and the hop."""
    if int(nfft) < nperseg:
        raise ValueError("nfft must be greater than or equal to nperseg.")
    noverlap = nperseg // 2 if noverlap is None else int(noverlap)
    if noverlap >= nperseg:
        raise ValueError("noverlap must be less than nperseg.")
    return int(nfft), nperseg - noverlap


def read_window(window: Any, nperseg: int | None, shown: str | None = None) -> np.ndarray:
    """The window as samples; `shown` stands for nperseg in an error."""
    if isinstance(window, (str, tuple)):
        return _named(window, nperseg)
    samples = np.asarray(window)
    if samples.ndim != 1:
        raise ValueError("window must be 1-D")
    if nperseg is not None and samples.size != nperseg:
        raise ValueError(f"window must have length of {shown or nperseg}")
    return samples


@lru_cache(maxsize=64, typed=True)
def _named(window: str | tuple, nperseg: int) -> np.ndarray:
    from scipy.signal import get_window  # slow to import

    return get_window(window, nperseg)
