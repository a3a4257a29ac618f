"""librosa's stft, istft, griffinlim, magphase and window_sumsquare, for arrays of any library.

The signatures and defaults are those of librosa 1.0. As in librosa, samples that no window weighs are 0, and nothing is
said of them (center=False, a hop too long for the window), where `xp_istft.istft` warns or raises. Nothing is compiled
by numba. Where librosa is loaded, errors are its ParameterError, too.
"""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from .. import arrays, transforms, windows
from ..arguments import boolean, choice, error, integer, number, shown, warn
from ..backends import namespace, required_backend
from ..dtypes import COMPLEX, HALVES, PRECISION, REAL, dtype_name
from ..frames import read_pad_mode, sizes
from ..phase import retrieval
from ..phase.algorithms import FastGLA
from ..transform import STFT
from ._inputs import beside, cast, is_complex, naming, needs_array, result_dtype

__all__ = ["griffinlim", "istft", "magphase", "stft", "window_sumsquare"]


def _as_librosa(kind: type, **_: Any) -> type[Exception] | None:
    """A kind of its own that is librosa's ParameterError, too, where librosa is there to be caught."""
    theirs = getattr(sys.modules.get("librosa"), "ParameterError", None)
    return None if theirs is None else _parameter_error(kind, theirs)


@lru_cache
def _parameter_error(kind: type, theirs: type) -> type[Exception]:
    made = {"__module__": __name__, "__reduce__": lambda self: (_remade, (kind, self.args))}
    return type("ParameterError", (theirs, kind), made)


def _remade(kind: type[Exception], arguments: tuple[Any, ...]) -> Exception:
    """An error of `kind` as librosa's, in the process that unpickles it."""
    return (_as_librosa(kind) or kind)(*arguments)


def _layout(n_fft: Any, hop_length: Any, win_length: Any, window: Any) -> dict[str, Any]:
    """The sizes as librosa reads them: a window array has n_fft samples where win_length is unsaid.

    A number is the beta of a Kaiser window.
    """
    if isinstance(window, (int, float, np.integer, np.floating)) and not isinstance(window, (bool, np.timedelta64)):
        window = ("kaiser", float(window))
    win_length = n_fft if win_length is None else win_length
    return {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": window}


@naming(_as_librosa, x="y")
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
        Its first n_frames frames are written and returned; itself where it has no more.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.librosa import stft
    >>> stft(np.zeros((2, 22050), np.float32)).shape
    (2, 1025, 44)
    """
    if boolean("stft", "center", center):
        choice("stft", "pad_mode", pad_mode, ("constant", "reflect", "edge", "symmetric"))
    dtype = result_dtype("stft", dtype, "complex64", "complex128")
    if dtype == np.complex128:
        _, y = arrays.read("stft", "y", y)
        y = cast(y, np.float64) if dtype_name(y) in (*REAL, *HALVES) else y
    X = transforms.stft(y, **_layout(n_fft, hop_length, win_length, window), center=center, pad_mode=pad_mode)
    if n_fft > y.shape[-1]:
        warn(f"n_fft={n_fft} is too large for input signal of length={y.shape[-1]}", UserWarning)
    if out is None:
        return cast(X, dtype)
    needs_array("stft", "out", out)
    if tuple(out.shape[:-1]) != tuple(X.shape[:-1]) or out.shape[-1] < X.shape[-1]:
        raise error(ValueError, "stft", "out", f"shape {tuple(X.shape)} or more frames", f"{tuple(out.shape)}")
    out = out if out.shape[-1] == X.shape[-1] else out[..., : X.shape[-1]]
    due = dtype_name(out) if dtype_name(out) in COMPLEX else dtype_name(X)
    required_backend(X).check_out("stft", out, y, tuple(X.shape), due)
    out[...] = X
    return out


@naming(_as_librosa, X="stft_matrix")
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
    """`librosa.istft`: the signal (..., n_samples) of a spectrum (..., n_bins, n_frames); 0 where no window weighs.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.librosa import istft, stft
    >>> y = np.random.default_rng(0).standard_normal(22050)
    >>> bool(np.allclose(istft(stft(y), length=22050), y))
    True
    """
    dtype = result_dtype("istft", dtype, "float16", "float32", "float64")
    layout = _layout(n_fft, hop_length, win_length, window)
    length = None if length is None else integer("istft", "length", length) or None
    y = transforms.istft(stft_matrix, **layout, center=center, length=length, nola="zero")
    if out is None:
        return cast(y, dtype)
    due = dtype_name(out) if hasattr(out, "dtype") and dtype_name(out) in REAL else dtype_name(y)
    required_backend(y).check_out("istft", out, stft_matrix, tuple(y.shape), due)
    out[...] = y
    return out


@naming(_as_librosa)
def griffinlim(
    S: Any,
    *,
    n_iter: int = 32,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    center: bool = True,
    dtype: Any = None,
    length: int | None = None,
    pad_mode: str = "constant",
    momentum: float = 0.99,
    init: str | None = "random",
    rng: Any = None,
    random_state: Any = None,
) -> Any:
    """`librosa.griffinlim`: the fast Griffin-Lim algorithm; `xp_istft.griffin_lim` has others that converge further.

    Parameters
    ----------
    S, n_iter, hop_length, win_length, n_fft, window, center, dtype, length, pad_mode, momentum, init
        As in librosa.
    rng, random_state : int, numpy.random.Generator or (random_state) RandomState, optional
        Of the random phases, one of the two: the same as librosa's.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.librosa import griffinlim, stft
    >>> S = abs(stft(np.sin(np.arange(22050) / 5)))
    >>> griffinlim(S, n_iter=4, rng=0, length=22050).shape
    (22050,)
    """
    function = "griffinlim"
    dtype = result_dtype(function, dtype, "float16", "float32", "float64")
    if number(function, "momentum", momentum, 0) > 1:
        warn(f"Griffin-Lim with momentum={momentum} > 1 can be unstable. Proceed with caution!", UserWarning)
    init = choice(function, "init", init, ("random", None))
    generator = _generator(rng, random_state)
    needs_array(function, "S", S, "bins", "frames")
    if n_fft is None and S.shape[-2] < 2:
        raise error(ValueError, function, "S", "at least 2 bins, or n_fft=", S.shape[-2])
    n_fft = 2 * (S.shape[-2] - 1) if n_fft is None else n_fft
    layout = _layout(n_fft, hop_length, win_length, window)
    pad_mode = read_pad_mode(function, pad_mode)
    ends = {"nola": "zero", "max_gain": retrieval.NO_BOUND}
    transform = STFT.made_by(function, **layout, center=center, pad_mode=pad_mode, **ends)
    start: Any = "zero"
    if init == "random":
        start = beside(S, 2 * np.pi * generator.random(size=tuple(S.shape)))
    algorithm = FastGLA(momentum)
    y = retrieval.griffin_lim(S, transform, length=length, n_iter=n_iter, algorithm=algorithm, init=start)
    return cast(y, dtype)


@naming(_as_librosa)
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
    return magnitude**power, required_backend(D).as_complex(real, imag / divisor)


@naming(_as_librosa)
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
    function = "window_sumsquare"
    n_frames, hop_length = integer(function, "n_frames", n_frames, 1), integer(function, "hop_length", hop_length, 1)
    if norm is not None and not (isinstance(norm, float) and math.isinf(norm)):
        norm = number(function, "norm", norm)
    dtype = result_dtype(function, np.float32 if dtype is None else dtype, "float16", "float32", "float64")
    layout = _layout(n_fft, hop_length, win_length, window)
    key = layout.pop("window")
    n_fft, hop, win_length = sizes(function, **layout)
    key = windows.window_key(function, "window", key, win_length)
    samples = windows.window_samples(function, "window", key, win_length, n_fft)
    samples = samples if norm is None else samples / np.linalg.norm(samples, norm)
    return transforms.overlap_add(np.ones((n_fft, n_frames)), hop, window=samples**2).astype(dtype)


def _generator(rng: Any, random_state: Any) -> Any:
    if random_state is None:
        found = retrieval.read_rng("griffinlim", rng)
        return np.random.default_rng() if found is None else found
    if rng is not None:
        raise error(ValueError, "griffinlim", "random_state", "None with rng=", shown(random_state))
    if isinstance(random_state, np.random.Generator | np.random.RandomState):
        return random_state
    return np.random.RandomState(integer("griffinlim", "random_state", random_state, 0, ("2**32 - 1", 2**32 - 1)))
