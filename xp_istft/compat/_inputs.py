"""What the peers take beside floating arrays, made floating arrays; host values made arrays of the data's library."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from ..arguments import error
from ..backends import backend_for
from ..backends.array_api import dtype_name


def floating(x: Any) -> Any:
    """`x` as it is, integers and bools as float64, lists as NumPy arrays; masked values are no data."""
    if isinstance(x, np.ma.MaskedArray):
        raise error(TypeError, "compat", "x", "an array of NumPy, CuPy, torch, ...", "MaskedArray", "fill it first")
    x = x if backend_for(x) is not None else np.asarray(x)
    xp = array_api_compat.array_namespace(x)
    return xp.astype(x, xp.float64) if dtype_name(x).startswith(("int", "uint", "bool")) else x


def complex_floating(X: Any) -> Any:
    """`X` as complex numbers: complex64 of half and single precision, else complex128."""
    X = floating(X)
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


def cast(array: Any, dtype: Any) -> Any:
    """`array` as this dtype, which NumPy knows."""
    if dtype is None or dtype_name(array) == np.dtype(dtype).name:
        return array
    xp = array_api_compat.array_namespace(array)
    return xp.astype(array, getattr(xp, np.dtype(dtype).name))
