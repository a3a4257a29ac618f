"""What the peers take beside floating arrays, made floating arrays; host values made arrays of the data's library."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from ..arguments import error, integer, positive
from ..arrays import WIDENED
from ..backends import backend_for
from ..backends.array_api import PRECISION, dtype_name


def floating(function: str, name: str, x: Any) -> Any:
    """`x` as it is, integers and bools as float64, lists as NumPy arrays; masked values are no data."""
    if isinstance(x, np.ma.MaskedArray):
        raise error(TypeError, function, name, "an array of NumPy, CuPy, torch, ...", "MaskedArray", "fill it first")
    x = x if backend_for(x) is not None else np.asarray(x)
    kind = dtype_name(x)
    if kind.startswith(("int", "uint", "bool")):
        xp = array_api_compat.array_namespace(x)
        return xp.astype(x, xp.float64)
    if kind not in PRECISION and kind not in WIDENED:
        raise error(TypeError, function, name, "real or complex numbers of double precision at most", x.dtype)
    return x


def complex_floating(function: str, name: str, X: Any) -> Any:
    """`X` as complex numbers: complex64 of half and single precision, else complex128."""
    X = floating(function, name, X)
    xp = array_api_compat.array_namespace(X)
    name = dtype_name(X)
    if name.startswith("complex"):
        return X
    return xp.astype(X, xp.complex64 if name in ("float16", "bfloat16", "float32") else xp.complex128)


def needs_array(function: str, name: str, array: Any, *axes: str) -> None:
    """TypeError unless `array` has shape and dtype, ValueError unless it has axes beside the leading ones."""
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        need = "an array of NumPy, CuPy, torch, JAX, Dask, ..."
        raise error(TypeError, function, name, need, type(array).__name__)
    if len(array.shape) < len(axes):
        need = f"at least {len(axes)} dimensions (..., {', '.join(axes)})"
        raise error(ValueError, function, name, need, f"shape {tuple(array.shape)}")


def count(function: str, name: str, value: Any, least: int | None = None) -> int:
    """`value` as an int; floats that are whole numbers are taken, as the peers take them."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return integer(function, name, value, least)


def rate(function: str, name: str, value: Any) -> Any:
    """A sampling rate as it came: a finite number > 0, or an array without axes, which may be traced."""
    if getattr(value, "shape", None) == () and not isinstance(value, np.generic):
        return value
    return positive(function, name, value) and value


def place_of(function: str, name: str, axis: Any, rank: int) -> int:
    """`axis` of an array with `rank` axes, counted from the first."""
    axis = integer(function, name, axis)
    if not -rank <= axis < rank:
        raise error(ValueError, function, name, f"an axis of an array with {rank} dimensions", axis)
    return axis % rank


def is_complex(x: Any) -> bool:
    return dtype_name(x).startswith("complex")


def like(array: Any, values: np.ndarray) -> Any:
    """Host values in the library and on the device of `array`; NumPy's as they are, others in its real precision."""
    if isinstance(array, np.ndarray):
        return values
    xp = array_api_compat.array_namespace(array)
    wide = dtype_name(array) in ("float64", "complex128")
    return xp.asarray(values.astype("float64" if wide else "float32"), device=array_api_compat.device(array))


def given_window(window: Any) -> Any:
    """A number is the beta of a Kaiser window, for librosa as for scipy."""
    return ("kaiser", float(window)) if isinstance(window, (int, float)) else window


def result_dtype(function: str, dtype: Any, *names: str) -> np.dtype | None:
    """`dtype` of a result, which is one of these; None where it is unsaid."""
    if dtype is None:
        return None
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in names:
        raise error(TypeError, function, "dtype", " or ".join(names), found or repr(dtype))
    return found


def cast(array: Any, dtype: Any) -> Any:
    """`array` as this dtype, which NumPy knows."""
    if dtype is None or dtype_name(array) == np.dtype(dtype).name:
        return array
    xp = array_api_compat.array_namespace(array)
    return xp.astype(array, getattr(xp, np.dtype(dtype).name))
