"""scipy.signal's stft, istft, check_COLA, check_NOLA and ShortTimeFFT, for arrays of any library.

The signatures, defaults and errors are scipy's. Beyond scipy: float32 stays float32; times belong to the samples also
where the signal has several axes; samples under no window weight are 0 (scipy leaves them undivided).
"""

from __future__ import annotations

import warnings
from typing import Any

import array_api_compat
import numpy as np

from .. import transforms, windows
from ..frames import bin_frequencies
from ._cola import check_COLA, check_NOLA, positive, read_window, sizes
from ._inputs import complex_floating, floating, is_complex, like
from ._segments import padded as _padded
from ._segments import spectra
from ._short_time_fft import ShortTimeFFT

__all__ = ["ShortTimeFFT", "check_COLA", "check_NOLA", "istft", "stft"]

# scipy's names of what stands beyond the ends, and pad's
_BOUNDARIES = {"even": "reflect", "odd": "odd", "constant": "edge", "zeros": "zeros", None: None}


def stft(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = 256,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
    scaling: str = "spectrum",
) -> tuple[Any, Any, Any]:
    """`scipy.signal.stft`: frequencies, times of the segments, and the spectrum.

    Returns
    -------
    f : real array (n_bins,), in units of fs
    t : real array (n_segments,), in units of 1 / fs
    Zxx : complex array, `axis` of x made bins, and segments as the last axis

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.scipy import stft
    >>> f, t, Zxx = stft(np.sin(np.arange(8000.0)), fs=8000)
    >>> f.shape, t.shape, Zxx.shape
    ((129,), (64,), (129, 64))
    """
    _check_scaling(scaling)
    if boundary not in _BOUNDARIES:
        raise ValueError(f"Unknown boundary option {boundary!r}, must be one of: {list(_BOUNDARIES)}")
    x = floating(x)
    xp = array_api_compat.array_namespace(x)
    if 0 in x.shape:
        return tuple(xp.zeros(x.shape) for _ in range(3))
    n_samples = x.shape[axis]
    if nperseg is not None:
        nperseg = positive(nperseg)
    if isinstance(window, (str, tuple)):
        nperseg = 256 if nperseg is None else nperseg
        if nperseg > n_samples:
            text = f"nperseg = {nperseg} is greater than input length  = {n_samples}, using nperseg = {n_samples}"
            warnings.warn(text, UserWarning, stacklevel=2)
            nperseg = n_samples
    else:
        size = read_window(window, None).size
        if size > n_samples:
            raise ValueError("window is longer than input signal")
        if nperseg is not None and nperseg != size:
            raise ValueError("value specified for nperseg is different from length of window")
        nperseg = size
    nfft, hop = sizes(nperseg, noverlap, nperseg if nfft is None else nfft)
    onesided = return_onesided
    if onesided and is_complex(x):
        text = "Input data is complex, switching to return_onesided=False"
        warnings.warn(text, UserWarning, stacklevel=2)
        onesided = False

    x = xp.moveaxis(x, axis, -1)
    half = nperseg // 2 if boundary is not None else 0
    spare = (-(n_samples + 2 * half - nperseg) % hop) % nperseg if padded else 0
    x, (before, after) = _padded(x, half, half, _BOUNDARIES[boundary])
    weights = _scaled(read_window(window, nperseg), scaling, fs)
    Z = spectra(x, weights, hop, nfft, (before, after + spare), _trend(detrend, axis, xp), onesided)
    times = np.arange(Z.shape[-1]) * hop + (0 if boundary is not None else nperseg / 2)
    Z = xp.moveaxis(Z, -2, axis if axis >= 0 else axis - 1)
    return like(Z, bin_frequencies(nfft, onesided=onesided)) * fs, like(Z, times) / fs, Z


def istft(
    Zxx: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    input_onesided: bool = True,
    boundary: bool = True,
    time_axis: int = -1,
    freq_axis: int = -2,
    scaling: str = "spectrum",
) -> tuple[Any, Any]:
    """`scipy.signal.istft`: times of the samples, and the signal.

    Where the windows leave a hole, the samples in it are 0, with scipy's warning.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.scipy import istft, stft
    >>> x = np.random.default_rng(0).standard_normal((2, 1024))
    >>> t, y = istft(stft(x, fs=100)[2], fs=100)
    >>> t.shape, bool(np.allclose(x, y))
    ((1024,), True)
    """
    _check_scaling(scaling)
    Z = complex_floating(Zxx)
    rank = len(Z.shape)
    if rank < 2:
        raise ValueError("Input stft must be at least 2d!")
    freq_axis, time_axis = int(freq_axis) % rank, int(time_axis) % rank
    if freq_axis == time_axis:
        raise ValueError("Must specify differing time and frequency axes!")
    default = 2 * (Z.shape[freq_axis] - 1) if input_onesided else Z.shape[freq_axis]
    nperseg = default if nperseg is None else positive(nperseg)
    if nfft is None:
        nfft = nperseg if input_onesided and nperseg == default + 1 else default
    nfft, hop = sizes(nperseg, noverlap, nfft)
    weights = _scaled(read_window(window, nperseg), scaling, fs)
    half = nperseg // 2 if boundary else 0
    spare = nfft - nperseg
    kept: dict[str, Any] = dict(
        n_fft=nfft,
        hop_length=hop,
        window=np.pad(weights, (0, spare)),
        padding=(half, half + spare),
        onesided=input_onesided,
        real=input_onesided,
        axes=(freq_axis, time_axis),
    )
    try:
        x = transforms.istft(Z, **kept)
    except windows.NOLAError:
        warnings.warn("NOLA condition failed, STFT may not be invertible.", UserWarning, stacklevel=2)
        x = transforms.istft(Z, nola="zero", **kept)
    times = like(x, np.arange(x.shape[-1])) / fs
    place = time_axis - 1 if freq_axis < time_axis else time_axis
    return times, array_api_compat.array_namespace(x).moveaxis(x, -1, place)


def _check_scaling(scaling: str) -> None:
    if scaling not in ("spectrum", "psd"):
        raise ValueError(f"Parameter {scaling=} not in ['spectrum', 'psd']!")


def _scaled(window: np.ndarray, scaling: str, fs: Any) -> np.ndarray:
    """The window that makes scipy's numbers: with a sum, or (of its squares, per unit of fs) a power, of 1."""
    return window / (abs(window.sum()) if scaling == "spectrum" else np.sqrt(fs * (window**2).sum()))


def _trend(detrend: Any, axis: int, xp: Any) -> Any:
    """`detrend` for segments (..., n_segments, nperseg); functions see the samples on the axis they had in x."""
    if not callable(detrend) or axis == -1:
        return detrend or None
    return lambda segments: xp.moveaxis(detrend(xp.moveaxis(segments, -1, axis)), axis, -1)
