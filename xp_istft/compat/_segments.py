"""What scipy's two interfaces share: sizes and windows read in scipy's words, and spectra of segments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.signal import detrend as _detrend

from .. import transforms, windows
from ..arguments import error, integer
from ..backends import backend_for, namespace
from ..frames import MOST
from ..transform import STFT, array_size
from ._inputs import beside, count


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
    return integer(function, "nfft", nfft, most=MOST)


def scaled_window(function: str, window: Any, sizes: tuple[int, int], scaling: str, fs: Any) -> Any:
    """The window that makes scipy's numbers: with a sum, or (of its squares, per unit of fs) a power, of 1.

    sizes : (nperseg, nfft); zeros follow the window

    One that is differentiated, traced or on a device stays an array of its library.
    """
    nperseg, nfft = sizes
    size, backend = array_size(window), backend_for(window)
    if size is None and backend is not None and len(window.shape) > 1:
        raise ValueError(f"window must be 1-D, got shape {tuple(window.shape)}")
    if size not in (None, nperseg):
        raise ValueError(f"window must have length of {nperseg}, got {size}")
    if backend is not None and backend.follows(window):
        xp, wide = backend.namespace(window), backend.widest(window)
        samples = xp.astype(window, wide)
        total = xp.abs(xp.sum(samples)) if scaling == "spectrum" else xp.sqrt(fs * xp.sum(samples**2))
        return xp.concat([samples / total, xp.zeros((nfft - nperseg,), dtype=wide, device=backend.device(window))])
    key = windows.window_key(function, "window", window, nperseg)
    samples = windows.window_samples(function, "window", key, nperseg, nperseg)
    samples = np.ldexp(samples, -np.frexp(np.abs(samples).max())[1])  # whose scale cancels: no square is lost
    total = abs(samples.sum()) if scaling == "spectrum" else (samples**2).sum()
    if total == 0:
        what = "sum" if scaling == "spectrum" else "power"
        raise error(ValueError, function, "window", f"a {what} other than 0 for scaling={scaling!r}", 0)
    return np.pad(samples / (total if scaling == "spectrum" else np.sqrt(fs * total)), (0, nfft - nperseg))


def spectra(x: Any, transform: STFT, size: int, detrend: Any) -> Any:
    """Spectra (..., n_bins, n_segments) of segments of `size` samples, which the frame continues with zeros.

    detrend : None, "constant", "linear", or a function of segments (..., n_segments, size)
    """
    if detrend is None:
        return transform.stft(x)
    xp, spare = namespace(x), transform.n_fft - size
    before, after = transform.placement.left, transform.placement.right - spare
    segments = xp.moveaxis(transforms.frame(x, size, transform.hop_length, padding=(before, after)), -1, -2)
    # each segment is a signal of one frame
    alone = replace(transform, hop_length=transform.n_fft, padding=(0, spare))
    return xp.moveaxis(alone.stft(detrended(segments, detrend))[..., 0], -1, -2)


def detrended(segments: Any, detrend: Any) -> Any:
    """Segments (..., size) less their mean or line, or as the function `detrend` returns them."""
    if callable(detrend):
        return detrend(segments)
    if isinstance(segments, np.ndarray):
        return _detrend(segments, type=detrend, axis=-1)
    # scipy's is a linear map, and symmetric: as a matrix it acts on arrays of any library
    return segments @ beside(segments, _detrend(np.eye(segments.shape[-1]), type=detrend, axis=-1))
