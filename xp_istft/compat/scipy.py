"""scipy.signal's stft, istft, spectrogram, check_COLA, check_NOLA and ShortTimeFFT, for arrays of any library.

The signatures and defaults are scipy's. Beyond scipy: float32 stays float32; times belong to the samples also where
the signal has several axes; samples under no window weight are 0 (scipy leaves them undivided); what scipy cuts, counts
from the other end or lets through (nperseg=256.5, fs=0, a string for a bool) is an error that names it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import check_COLA, check_NOLA

from .. import arrays, windows
from ..arguments import boolean, choice, error, shown, sized, warn
from ..backends import namespace, required_backend
from ..dtypes import dtype_name
from ..frames import bin_multiplicity
from ..transform import STFT, array_size
from ._inputs import complex_floating, count, floating, is_complex, naming, place_of, rate, ticks
from ._segments import fft_size, overlap, scaled_window, segment_size, spectra
from ._short_time_fft import ShortTimeFFT

__all__ = ["ShortTimeFFT", "check_COLA", "check_NOLA", "istft", "spectrogram", "stft"]

_SINGLE = ("bool", "int8", "uint8", "int16", "uint16")  # whose spectra are single precision, as NumPy promotes them

# scipy's names of what stands beyond the ends, and pad's
_BOUNDARIES: dict[str | None, Any] = {"even": "reflect", "odd": "odd", "constant": "edge", "zeros": "zeros", None: None}

_MODES = ["psd", "complex", "magnitude", "angle", "phase"]  # of spectrogram


@sized
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
    function = "stft"
    _check_scaling(scaling)
    choice(function, "boundary", boundary, tuple(_BOUNDARIES))
    padded, onesided = boolean(function, "padded", padded), boolean(function, "return_onesided", return_onesided)
    if not callable(detrend):
        choice(function, "detrend", detrend, (False, None, "constant", "linear"))
    fs, x = rate(function, "fs", fs), floating(function, "x", x, _SINGLE)
    arrays.needs_axis(function, "x", x)
    n_samples = x.shape[place_of(function, "axis", axis, len(x.shape))]
    size = array_size(window)
    nperseg = size or 256 if nperseg is None else segment_size(function, nperseg)
    if size not in (None, nperseg):
        raise ValueError(f"value specified for nperseg is different from length of window, got {nperseg} and {size}")
    xp = namespace(x)
    if 0 in x.shape:
        return tuple(xp.zeros(x.shape) for _ in range(3))
    if isinstance(window, (str, tuple)) and nperseg > n_samples:
        text = f"nperseg = {nperseg} is greater than input length  = {n_samples}, using nperseg = {n_samples}"
        warn(text, UserWarning)
        nperseg = n_samples
    nfft = fft_size(function, nperseg if nfft is None else nfft, nperseg)
    weights = scaled_window(function, window, (nperseg, nfft), scaling, fs)
    if nperseg > n_samples:
        raise error(ValueError, function, "window", f"at most as many samples as x has ({n_samples})", nperseg)
    hop = nperseg - overlap(function, noverlap, nperseg)
    if onesided and is_complex(x):
        warn("Input data is complex, switching to return_onesided=False", UserWarning)
        onesided = False

    x = xp.moveaxis(x, axis, -1)
    half = zeros = nperseg // 2 if boundary is not None else 0
    if boundary not in (None, "zeros"):
        x, zeros = arrays.pad(x, half, half, _BOUNDARIES[boundary]), 0
    rest = -(n_samples + 2 * half - nperseg) % hop % nperseg if padded else 0
    spare = nfft - nperseg
    transform = STFT.made_by(
        function, n_fft=nfft, hop_length=hop, window=weights, padding=(zeros, zeros + rest + spare), onesided=onesided
    )
    Z = spectra(x, transform, nperseg, _trend(detrend, axis, xp))
    times = np.arange(Z.shape[-1]) * hop + (0 if boundary is not None else nperseg / 2)
    Z = xp.moveaxis(Z, -2, axis if axis >= 0 else axis - 1)
    return ticks(Z, transform.bin_frequencies()) * fs, ticks(Z, times) / fs, Z


@naming(X="Zxx")
@sized
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
    function = "istft"
    _check_scaling(scaling)
    onesided = boolean(function, "input_onesided", input_onesided)
    if not (isinstance(boundary, str) or boundary is None):
        boundary = boolean(function, "boundary", boundary)
    choice(function, "boundary", boundary, (True, False, *_BOUNDARIES))  # those of stft say True or False, too
    fs, Z = rate(function, "fs", fs), complex_floating(function, "Zxx", Zxx)
    rank = len(Z.shape)
    if rank < 2:
        raise ValueError(f"Input stft must be at least 2d! Got Zxx of shape {tuple(Z.shape)}")
    freq_axis = place_of(function, "freq_axis", freq_axis, rank)
    time_axis = place_of(function, "time_axis", time_axis, rank)
    if freq_axis == time_axis:
        raise ValueError(f"Must specify differing time and frequency axes! Got {time_axis=} and {freq_axis=}")
    n_bins, n_segments = Z.shape[freq_axis], Z.shape[time_axis]
    default = 2 * (n_bins - 1) if onesided else n_bins
    if default < 2:
        raise error(ValueError, function, "Zxx", "at least 2 bins", n_bins)
    nperseg = default if nperseg is None else segment_size(function, nperseg)
    least = nperseg // 2 + 1 if onesided else nperseg
    if n_bins < least:
        hint = "are the axes swapped?" if n_segments >= least else ""
        raise error(ValueError, function, "Zxx", f"at least {least} bins for nperseg={nperseg}", n_bins, hint)
    if nfft is None:
        nfft = nperseg if onesided and nperseg == default + 1 else default
    hop, nfft = nperseg - overlap(function, noverlap, nperseg), fft_size(function, nfft, nperseg)
    due = nfft // 2 + 1 if onesided else nfft
    if n_bins != due:
        raise error(ValueError, function, "Zxx", f"{due} bins for nfft={nfft}, input_onesided={onesided}", n_bins)
    weights = scaled_window(function, window, (nperseg, nfft), scaling, fs)
    half, spare = nperseg // 2 if boundary else 0, nfft - nperseg
    if n_segments < 1 or nperseg + hop * (n_segments - 1) <= 2 * half:
        need = f"at least {2 if half else 1} segment{'s' * bool(half)} for boundary={boundary}"
        raise error(ValueError, function, "Zxx", need, n_segments)
    transform = STFT.made_by(
        function, n_fft=nfft, hop_length=hop, window=weights, padding=(half, half + spare), onesided=onesided
    )
    try:
        gaps = transform.host.synthesis(function, n_segments, None, dtype_name(Z)).warning is not None
    except windows.NOLAError:
        gaps = True
    if gaps:
        missing = "" if boundary else " Possibly due to missing boundary"
        warn(f"NOLA condition failed, STFT may not be invertible.{missing}", UserWarning)
        transform = transform.judged("zero", None)
    x = transform.istft(Z, axes=(freq_axis, time_axis))
    times = ticks(x, np.arange(x.shape[-1])) / fs
    place = time_axis - 1 if freq_axis < time_axis else time_axis
    return times, namespace(x).moveaxis(x, -1, place)


@naming()
@sized
def spectrogram(
    x: Any,
    fs: Any = 1.0,
    window: Any = ("tukey", 0.25),
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    mode: str = "psd",
) -> tuple[Any, Any, Any]:
    """`scipy.signal.spectrogram`: frequencies, times of the segments, and their power, spectra, magnitudes or phases.

    Returns
    -------
    f : real array (n_bins,), in units of fs
    t : real array (n_segments,), in units of 1 / fs
    Sxx : real array (complex for mode="complex"), `axis` of x made bins, and segments as the last axis

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.scipy import spectrogram
    >>> f, t, Sxx = spectrogram(np.sin(np.arange(8000.0)), fs=8000)
    >>> f.shape, t.shape, Sxx.shape, float(f[Sxx.mean(-1).argmax()])
    ((129,), (35,), (129, 35), 1281.25)
    """
    function = "spectrogram"
    if not (isinstance(mode, str) and mode in _MODES):
        raise ValueError(
            f"unknown value for mode {mode if isinstance(mode, str) else shown(mode)}, must be one of {_MODES}"
        )
    if not (isinstance(scaling, str) and scaling in ("density", "spectrum")):
        raise ValueError(f"Unknown scaling: {shown(scaling)}")
    return_onesided = boolean(function, "return_onesided", return_onesided)
    x = floating(function, "x", x, _SINGLE)
    arrays.needs_axis(function, "x", x)
    place = place_of(function, "axis", axis, len(x.shape))
    size = array_size(window) or (256 if nperseg is None else segment_size(function, nperseg))
    size = min(size, x.shape[place])  # as stft makes it, with a warning
    noverlap = size // 8 if noverlap is None else noverlap
    scaling = "psd" if scaling == "density" else scaling
    options: dict[str, Any] = {"boundary": None, "padded": False, "axis": axis, "scaling": scaling}
    f, t, Z = stft(x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, **options)
    if 0 in x.shape or mode == "complex":
        return f, t, Z
    xp = namespace(Z)
    if mode == "magnitude":
        return f, t, xp.abs(Z)
    if mode != "psd":
        angle = required_backend(Z).angle(Z)
        return f, t, _unwrapped(angle, place, xp) if mode == "phase" else angle
    power = xp.real(Z) ** 2 + xp.imag(Z) ** 2
    if return_onesided and not is_complex(x):
        counts = bin_multiplicity(size if nfft is None else count(function, "nfft", nfft))
        power = power * required_backend(power).along(counts, power, place - len(power.shape))
    return f, t, power


def _unwrapped(angle: Any, axis: int, xp: Any) -> Any:
    """`numpy.unwrap` along an axis."""
    angle = xp.moveaxis(angle, axis, -1)
    step, turn = angle[..., 1:] - angle[..., :-1], 2 * np.pi
    least = (step + np.pi) % turn - np.pi
    least = xp.where((least == -np.pi) & (step > 0), -least, least)
    added = xp.where(xp.abs(step) < np.pi, xp.zeros_like(step), least - step)
    angle = xp.concat([angle[..., :1], angle[..., 1:] + xp.cumulative_sum(added, axis=-1)], axis=-1)
    return xp.moveaxis(angle, -1, axis)


def _check_scaling(scaling: Any) -> None:
    if not (isinstance(scaling, str) and scaling in ("spectrum", "psd")):
        raise ValueError(f"Parameter scaling={shown(scaling)} not in ['spectrum', 'psd']!")


def _trend(detrend: Any, axis: int, xp: Any) -> Any:
    """`detrend` for segments (..., n_segments, nperseg); functions see the samples on the axis they had in x."""
    if not callable(detrend) or axis == -1:
        return detrend or None
    return lambda segments: xp.moveaxis(detrend(xp.moveaxis(segments, -1, axis)), axis, -1)
