"""jax.scipy.signal's stft and istft, for arrays of JAX and of any other library; they can be traced and transformed.

The signatures are JAX's: scipy's without `scaling`. Beyond JAX: in `istft`, noverlap=0 means none (JAX takes half of
nperseg), odd segments can be inverted, and times belong to the samples also where the signal has several axes.
"""

from __future__ import annotations

from typing import Any

from . import scipy as _scipy
from ._inputs import floating

__all__ = ["istft", "stft"]

_SINGLE = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32")  # that JAX takes for float32


def stft(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int = 256,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
) -> tuple[Any, Any, Any]:
    """`jax.scipy.signal.stft`: frequencies, times of the segments, and the spectrum.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from xp_istft.compat.jax import stft
    >>> f, t, Z = jax.jit(stft)(jnp.ones((2, 1024)))
    >>> f.shape, t.shape, Z.shape
    ((129,), (9,), (2, 129, 9))
    """
    x = floating("stft", "x", x, _SINGLE)
    return _scipy.stft(x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, boundary, padded, axis)


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
) -> tuple[Any, Any]:
    """`jax.scipy.signal.istft`: times of the samples, and the signal.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from xp_istft.compat.jax import istft, stft
    >>> x = jnp.sin(jnp.arange(1024.0))
    >>> t, y = jax.jit(istft)(stft(x)[2])
    >>> t.shape, bool(jnp.allclose(x, y, atol=1e-5))
    ((1024,), True)
    """
    Zxx = floating("istft", "Zxx", Zxx, _SINGLE)
    return _scipy.istft(Zxx, fs, window, nperseg, noverlap, nfft, input_onesided, boundary, time_axis, freq_axis)
