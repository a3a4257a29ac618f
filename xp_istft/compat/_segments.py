"""What scipy's two interfaces share: their segments, and spectra of segments that a function detrends."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from .. import arrays, transforms
from ._inputs import like


def spectra(
    x: Any,
    window: np.ndarray,
    hop: int,
    n_fft: int,
    padding: tuple[int, int],
    detrend: Any,
    onesided: bool,
    bin_gain: Any = None,
) -> Any:
    """Spectra (..., n_bins, n_segments) of the segments of x (..., n_samples) with `padding` zeros about it.

    window  : (nperseg,), at the beginning of the frame of n_fft samples
    detrend : None, "constant", "linear", or a function of segments (..., n_segments, nperseg)
    """
    size = window.shape[0]
    kept: dict[str, Any] = dict(
        window=np.pad(window, (0, n_fft - size)), n_fft=n_fft, onesided=onesided, bin_gain=bin_gain
    )
    before, after = padding
    if detrend is None:
        return transforms.stft(x, hop_length=hop, padding=(before, after + n_fft - size), **kept)
    xp = array_api_compat.array_namespace(x)
    segments = xp.moveaxis(transforms.frame(x, size, hop, padding=padding), -1, -2)
    # each segment is a signal of one frame
    X = transforms.stft(detrended(segments, detrend), hop_length=n_fft, padding=(0, n_fft - size), **kept)
    return xp.moveaxis(X[..., 0], -1, -2)


def detrended(segments: Any, detrend: Any) -> Any:
    """Segments (..., nperseg) less their mean or line, or as the function `detrend` returns them."""
    if callable(detrend):
        return detrend(segments)
    from scipy.signal import detrend as scipys  # slow to import

    if isinstance(segments, np.ndarray):
        return scipys(segments, type=detrend, axis=-1)
    # scipy's is a linear map, and symmetric: as a matrix it acts on arrays of any library
    return segments @ like(segments, scipys(np.eye(segments.shape[-1]), type=detrend, axis=-1))


def padded(x: Any, before: int, after: int, mode: str | None) -> tuple[Any, tuple[int, int]]:
    """`x` padded by `mode`, and the zeros that are left to the frames: of zeros, all."""
    if mode in (None, "zeros"):
        return x, (before, after)
    return arrays.pad(x, before, after, mode), (0, 0)
