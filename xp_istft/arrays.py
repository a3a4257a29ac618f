"""Which arrays are taken, and what is done to whole arrays: axes moved, complex ones made, signals padded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arguments import choice, error, integer, public
from .backends import Backend, backend_for, namespace, required_backend, stored
from .backends.base import written
from .dtypes import COMPLEX, HALVES, PRECISION, REAL, WIDENED, dtype_name
from .frames import MOST, PAD_ALIASES, PAD_MODES

LAST, LAST_TWO = (-1,), (-2, -1)


def read(function: str, name: str, array: Any, sliced: bool = False, out: Any = None) -> tuple[Backend, Any]:
    """The backend of `array`, and the array as that backend takes it.

    sliced : whether what only has slices (zarr, h5py) is taken, block by block; a NumPy array is, too, where `out`
             only has slices
    """
    if sliced and (
        (type(array) is not np.ndarray and stored.is_stored(array))
        or (out is not None and isinstance(array, np.ndarray) and stored.is_stored(out))
    ):
        return stored.BACKEND, stored.Stored(array)
    backend = backend_for(array)
    if backend is None:
        raise no_array(function, name, array)
    return backend, backend.checked(function, name, array)


def no_array(function: str, name: str, array: Any) -> Exception:
    """What to say of what is no array, or of none that is taken."""
    cls = type(array).__name__
    hints = {"MaskedArray": "fill it first", "Proxy": "torch.export.export follows this call, torch.fx cannot"}
    return error(TypeError, function, name, "an array of NumPy, CuPy, torch, JAX, Dask, ...", cls, hints.get(cls, ""))


def in_precision(function: Callable[[Any, Any], Any], array: Any, result: str, out: Any) -> Any:
    """function(array, out), half precision computed in float32 and returned with dtype `result`."""
    wide = WIDENED.get(dtype_name(array))
    if wide is None:
        return function(array, out)
    xp = namespace(array)
    value = xp.astype(function(xp.astype(array, getattr(xp, wide)), None), getattr(xp, result))
    return written(value, out)


def read_axes(function: str, name: str, axes: Any, rank: int, count: int) -> tuple[int, ...]:
    """`count` different axes of an array with `rank` dimensions."""
    axes = tuple(integer(function, name, axis) for axis in (axes if isinstance(axes, (tuple, list)) else (axes,)))
    if len(axes) != count:
        raise error(ValueError, function, name, f"{count} axes", len(axes))
    for axis in axes:
        if not -rank <= axis < rank:
            raise error(ValueError, function, name, f"axes of an array with {rank} dimensions", axis)
    if len({axis % rank for axis in axes}) != count:
        raise error(ValueError, function, name, "different axes", axes)
    return axes


def needs_axis(function: str, name: str, array: Any) -> None:
    """ValueError unless the array has an axis of samples."""
    if len(array.shape) < 1:
        need = "at least 1 dimension (..., samples)"
        raise error(ValueError, function, name, need, f"shape {tuple(array.shape)}")


def moved(function: str, name: str, array: Any, axes: Any, to: tuple[int, ...]) -> Any:
    """`array` with `axes` moved to the places `to`, checked; a view where the library makes views."""
    rank = len(array.shape)
    axes = read_axes(function, name, axes, rank, len(to))
    if all(axis % rank == place % rank for axis, place in zip(axes, to, strict=True)):
        return array
    if stored.is_stored(array):
        array = stored.Stored(array)
    return namespace(array).moveaxis(array, axes, to)


def placed(array: Any, axes: Sequence[int]) -> Any:
    """`array` with its last axes moved to `axes`, which were read: the inverse of `moved`."""
    last = tuple(range(-len(axes), 0))
    return array if tuple(axes) == last else namespace(array).moveaxis(array, last, tuple(axes))


def placed_shape(shape: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape of `placed`."""
    sizes = list(shape[: -len(axes)])
    for axis, size in sorted((axis % len(shape), size) for axis, size in zip(axes, shape[-len(axes) :], strict=True)):
        sizes.insert(axis, size)
    return tuple(sizes)


def magnitudes(function: str, name: str, array: Any, axes: Any) -> tuple[Any, Any]:
    """An array (..., n_bins, n_frames) in float32 or float64, and the dtype of the result if that is another."""
    _, array = read(function, name, array)
    dtype = dtype_name(array)
    if dtype not in (*REAL, *HALVES):
        hints = {"c": "pass abs(X)", "i": "scale integers to floats first", "u": "scale integers to floats first"}
        raise error(TypeError, function, name, "dtype float32 or float64", array.dtype, hints.get(dtype[0], ""))
    array = rank_two(function, name, array, axes)
    if dtype not in HALVES:
        return array, None
    xp = namespace(array)
    return xp.astype(array, xp.float32), array.dtype


def spectra(function: str, X: Any, axes: Any) -> Any:
    """X (..., n_bins, n_frames), complex."""
    _, X = read(function, "X", X)
    if dtype_name(X) not in COMPLEX:
        raise error(TypeError, function, "X", "dtype complex64 or complex128", X.dtype)
    return rank_two(function, "X", X, axes)


def rank_two(function: str, name: str, array: Any, axes: Any) -> Any:
    """The array with its axes of bins and frames last."""
    if len(array.shape) < 2:
        need = "at least 2 dimensions (..., bins, frames)"
        raise error(ValueError, function, name, need, f"shape {tuple(array.shape)}")
    return moved(function, "axes", array, axes, LAST_TWO)


def check_magnitudes_at_hand(function: str, name: str, array: Any) -> None:
    """Where that waits for no device: an array on one, or one that is traced, is taken as it is."""
    values = required_backend(array).at_hand(array)
    if values is not None:
        check_magnitudes(function, name, values)


def check_magnitudes(function: str, name: str, values: np.ndarray) -> None:
    """ValueError unless all are finite and not negative."""
    for extreme in (values.min(initial=0), values.max(initial=0)):
        if not 0 <= extreme < np.inf:
            raise error(ValueError, function, name, "finite magnitudes >= 0", extreme)


@public
def pad(x: Any, before: int, after: int, mode: str = "constant", *, axis: int = -1) -> Any:
    """`x` with samples before and after it: what the padding of `stft` stands for, written out.

    Parameters
    ----------
    x : real or complex floating array (..., n_samples)
        Signal, of any library.
    before, after : int
        How many samples, at least 0.
    mode : str
        As `pad_mode` of `stft`, or "odd": reflected about the value of the end sample, as scipy's odd extension.
        A padding longer than the signal reflects again and again.
    axis : int
        The axis of x that holds the samples.

    Returns
    -------
    array (..., before + n_samples + after)
        Same library, device and dtype as x.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; the text names it, what was needed and what came.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.pad(np.array([1.0, 2.0, 4.0]), 2, 1, "odd")
    array([-2.,  0.,  1.,  2.,  4.,  6.])
    """
    backend, x = read("pad", "x", x)
    if dtype_name(x) not in (*PRECISION, *WIDENED):
        raise error(TypeError, "pad", "x", "a floating dtype", x.dtype)
    needs_axis("pad", "x", x)
    x = moved("pad", "axis", x, axis, LAST)
    before, after = (integer("pad", name, side, 0, MOST) for name, side in (("before", before), ("after", after)))
    mode = choice("pad", "mode", PAD_ALIASES.get(mode, mode) if isinstance(mode, str) else mode, (*PAD_MODES, "odd"))
    if x.shape[-1] < 1:
        raise error(ValueError, "pad", "x", "at least 1 sample", f"shape {tuple(x.shape)}")
    return placed(backend.pad(x, before, after, mode), (axis,))


@public
def as_complex(real: Any, imag: Any = None) -> Any:
    """Complex array of (re, im) pairs, or of real and imaginary parts.

    Parameters
    ----------
    real : real array (..., 2), or (...) with `imag`
        Pairs of real and imaginary part on the last axis (as nnAudio, and torch before 2.0, make them), or the real
        parts.
    imag : real array (...), optional
        The imaginary parts.

    Returns
    -------
    complex array (...)
        complex64 of float32, complex128 of float64; of pairs, a view where the library can.

    Raises
    ------
    TypeError, ValueError
        Unless real floating arrays of one library, with a last axis of 2 where `imag` is not given.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.as_complex(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1.+2.j, 3.+4.j])
    >>> xi.as_complex(np.array([1.0]), np.array([2.0]))
    array([1.+2.j])
    """
    backend, real = _real_floating("as_complex", "real", real)
    if imag is None:
        if not real.shape or real.shape[-1] != 2:
            raise error(
                ValueError, "as_complex", "real", "a last axis of 2 (pairs), or imag=", f"shape {tuple(real.shape)}"
            )
        return backend.joined(real)
    other, imag = _real_floating("as_complex", "imag", imag)
    if other is not backend:
        raise error(
            TypeError, "as_complex", "imag", f"the library of real ({type(real).__name__})", type(imag).__name__
        )
    _broadcastable("as_complex", "imag", imag, "real", real)
    return backend.as_complex(real, imag)


@public
def from_polar(magnitude: Any, phase: Any) -> Any:
    """Complex array magnitude * exp(i phase), phase in radians.

    Parameters
    ----------
    magnitude, phase : real arrays (...)
        Of one library.

    Returns
    -------
    complex array (...)
        complex64 of float32, complex128 of float64.

    Raises
    ------
    TypeError
        Unless both are real floating arrays of one library.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.from_polar(np.array([2.0]), np.array([np.pi / 2])).round(12)
    array([0.+2.j])
    """
    backend, magnitude = _real_floating("from_polar", "magnitude", magnitude)
    other, phase = _real_floating("from_polar", "phase", phase)
    if other is not backend:
        cls = type(magnitude).__name__
        raise error(TypeError, "from_polar", "phase", f"the library of magnitude ({cls})", type(phase).__name__)
    _broadcastable("from_polar", "phase", phase, "magnitude", magnitude)
    xp = namespace(magnitude, phase)
    return backend.as_complex(magnitude * xp.cos(phase), magnitude * xp.sin(phase))


@public
def parted(array: Any) -> Any:
    """Pairs (..., 2) of the real and imaginary parts of a complex array, a view where the library can."""
    return required_backend(array).parted(array)


@public
def in_double(array: Any) -> Any:
    """`array` in double precision."""
    xp, name = namespace(array), dtype_name(array)
    wide = "complex128" if name.startswith("complex") else "float64"
    return array if name == wide else xp.astype(array, getattr(xp, wide))


def _real_floating(function: str, name: str, array: Any) -> tuple[Backend, Any]:
    backend, array = read(function, name, array)
    if dtype_name(array) not in REAL:
        raise error(TypeError, function, name, "dtype float32 or float64", array.dtype)
    return backend, array


def _broadcastable(function: str, name: str, array: Any, other_name: str, other: Any) -> None:
    try:
        np.broadcast_shapes(tuple(array.shape), tuple(other.shape))
    except ValueError:
        need = f"the shape of {other_name} {tuple(other.shape)}"
        raise error(ValueError, function, name, need, tuple(array.shape)) from None
