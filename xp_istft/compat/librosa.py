"""librosa's stft, istft, griffinlim, magphase and window_sumsquare, for arrays of any library.

The signatures and defaults are those of librosa 1.0. Beyond librosa: samples that the windows do not determine raise
or warn (center=False, a hop too long for the window); a hop need not be short; nothing is compiled by numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import arrays, transforms
from ..arguments import error, integer, number
from ..backends import namespace, required_backend
from ..dtypes import PRECISION, dtype_name
from ..transform import STFT
from ._griffinlim import griffinlim
from ._inputs import cast, given_window, is_complex, naming, needs_array, result_dtype

__all__ = ["griffinlim", "istft", "magphase", "stft", "window_sumsquare"]


@naming(x="y")
def stft(
    y: Any,
    *,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    dtype: Any = None,
    pad_mode: str = "constant",
    out: Any = None,
) -> Any:
    """`librosa.stft`: the spectrum (..., 1 + n_fft // 2, n_frames) of `y` (..., n_samples).

    Parameters
    ----------
    y, n_fft, hop_length, win_length, window, center
        As in librosa.
    dtype : dtype that NumPy knows, optional
        Of the result; complex128 is computed in double precision.
    pad_mode : str
        "constant", "reflect", "edge" or "symmetric"; as librosa's, none of "wrap", "mean", "minimum", "maximum",
        "median", and no function.
    out : complex array (..., 1 + n_fft // 2, at least n_frames), optional
        Its first n_frames frames are written and returned.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.librosa import stft
    >>> stft(np.zeros((2, 22050), np.float32)).shape
    (2, 1025, 44)
    """
    if center and pad_mode not in ("constant", "reflect", "edge", "symmetric"):
        raise error(ValueError, "stft", "pad_mode", "'constant', 'reflect', 'edge' or 'symmetric'", repr(pad_mode))
    dtype = result_dtype("stft", dtype, "complex64", "complex128")
    if dtype == np.complex128:
        _, y = arrays.read("stft", "y", y)
        y = cast(y, np.float64)
    X = transforms.stft(
        y,
        n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=given_window(window),
        center=center,
        pad_mode=pad_mode,
    )
    if out is None:
        return cast(X, dtype)
    needs_array("stft", "out", out)
    if tuple(out.shape[:-1]) != tuple(X.shape[:-1]) or out.shape[-1] < X.shape[-1]:
        raise error(ValueError, "stft", "out", f"shape {tuple(X.shape)} or more frames", f"{tuple(out.shape)}")
    if not is_complex(out):
        raise error(TypeError, "stft", "out", "a complex dtype", out.dtype)
    out = out[..., : X.shape[-1]]
    out[...] = X
    return out


@naming(X="stft_matrix")
def istft(
    stft_matrix: Any,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    center: bool = True,
    dtype: Any = None,
    length: int | None = None,
    out: Any = None,
) -> Any:
    """`librosa.istft`: the signal (..., n_samples) of a spectrum (..., n_bins, n_frames).

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.librosa import istft, stft
    >>> y = np.random.default_rng(0).standard_normal(22050)
    >>> bool(np.allclose(istft(stft(y), length=22050), y))
    True
    """
    dtype = result_dtype("istft", dtype, "float16", "float32", "float64")
    y = transforms.istft(
        stft_matrix, hop_length=hop_length, win_length=win_length, n_fft=n_fft, window=given_window(window),
        center=center, length=length or None,
    )  # fmt: skip
    if out is None:
        return cast(y, dtype)
    due = dtype_name(out) if getattr(out, "dtype", None) in (np.float32, np.float64) else dtype_name(y)
    required_backend(y).check_out("istft", out, stft_matrix, tuple(y.shape), due)
    out[...] = y
    return out


def magphase(D: Any, *, power: float = 1) -> tuple[Any, Any]:
    """`librosa.magphase`: magnitudes to a power, and exp(i phase), 1 where the magnitude is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.librosa import magphase
    >>> magphase(np.array([3 + 4j, 0]), power=2)
    (array([25.,  0.]), array([0.6+0.8j, 1. +0.j ]))
    """
    _, D = arrays.read("magphase", "D", D)
    if dtype_name(D) not in PRECISION:
        raise error(TypeError, "magphase", "D", " or ".join(PRECISION), D.dtype)
    power = number("magphase", "power", power)
    xp = namespace(D)
    magnitude = xp.abs(D)
    zero = magnitude == 0
    divisor = xp.where(zero, xp.ones_like(magnitude), magnitude)
    real, imag = (xp.real(D), xp.imag(D)) if is_complex(D) else (D, xp.zeros_like(D))
    real = xp.where(zero, xp.ones_like(magnitude), real / divisor)
    return magnitude**power, arrays.as_complex(real, imag / divisor)


def window_sumsquare(
    *,
    window: Any,
    n_frames: int,
    hop_length: int = 512,
    win_length: int | None = None,
    n_fft: int = 2048,
    dtype: Any = np.float32,
    norm: float | None = None,
) -> np.ndarray:
    """`librosa.filters.window_sumsquare`: the squared windows overlap-added, (n_fft + hop_length * (n_frames - 1),).

    Examples
    --------
    >>> from xp_istft.compat.librosa import window_sumsquare
    >>> window_sumsquare(window="hann", n_frames=3, hop_length=2, n_fft=4)
    array([0.  , 0.25, 1.  , 0.5 , 1.  , 0.5 , 1.  , 0.25], dtype=float32)
    """
    n_frames = integer("window_sumsquare", "n_frames", n_frames, 1)
    made = STFT.made_by(
        "window_sumsquare", n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=given_window(window)
    )
    samples = made.samples() if norm is None else made.samples() / np.linalg.norm(made.samples(), norm)
    ones = np.ones((made.n_fft, n_frames))
    return transforms.overlap_add(ones, made.hop_length, window=samples**2).astype(dtype)
