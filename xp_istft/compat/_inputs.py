"""What the peers take beside floating arrays, made floating arrays; host values made arrays of the data's library."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from ..arguments import error, integer, introduce, positive, shown, unscriptable
from ..arrays import no_array
from ..backends import backend_for, device, namespace, required_backend
from ..dtypes import PRECISION, WIDENED, dtype_name

_Function = TypeVar("_Function", bound=Callable[..., Any])


def naming(
    raises: Callable[..., type[Exception] | None] | None = None, **names: str
) -> Callable[[_Function], _Function]:
    """For a function whose errors say its own name, and the peer's names of what we call otherwise (X="input").

    raises(kind, **options) is the kind of exception that takes the place of `kind`, or None.
    """

    def decorate(function: _Function) -> _Function:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except (TypeError, ValueError) as cause:
                _, *said = str(cause).split(": ", 2)
                if len(said) == 2 and said[1].startswith("need "):
                    cause.args = (f"{function.__name__}: {names.get(said[0], said[0])}: {said[1]}",)
                kind = None if raises is None else raises(type(cause), **options)
                if kind is None:
                    raise
                raise kind(*cause.args) from cause

        return unscriptable(call)  # type: ignore[return-value]

    return decorate


def floating(function: str, name: str, x: Any, single: tuple[str, ...] = ()) -> Any:
    """`x` as it is, integers and bools as float64 or (dtypes in `single`) float32; masked values are no data.

    Lists are made NumPy arrays.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise error(TypeError, function, name, "an array of NumPy, CuPy, torch, ...", "MaskedArray", "fill it first")
    if backend_for(x) is None:
        try:
            x = np.asarray(x)
        except Exception as cause:
            need = "numbers, in an array or in what NumPy makes one of"
            raise error(TypeError, function, name, need, type(x).__name__, str(cause)) from cause
    kind = dtype_name(x)
    if kind.startswith(("int", "uint", "bool")):
        xp = namespace(x)
        return xp.astype(x, xp.float32 if kind in single else required_backend(x).widest(x))
    if kind not in PRECISION and kind not in WIDENED:
        raise error(TypeError, function, name, "real or complex numbers of double precision at most", x.dtype)
    return x


def complex_floating(function: str, name: str, X: Any) -> Any:
    """`X` as complex numbers: complex64 of half and single precision, else complex128."""
    X = floating(function, name, X)
    if is_complex(X):
        return X
    xp = namespace(X)
    return xp.astype(X, xp.complex128 if dtype_name(X) == "float64" else xp.complex64)


def needs_array(function: str, name: str, array: Any, *axes: str) -> None:
    """TypeError unless `array` has shape and dtype, ValueError unless it has axes beside the leading ones."""
    if not (introduce(type(array)) and isinstance(getattr(array, "shape", None), tuple) and hasattr(array, "dtype")):
        raise no_array(function, name, array)
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
    if backend_for(value) is not None and tuple(value.shape) == ():
        if dtype_name(value).startswith(("float", "int", "uint", "bfloat")):
            return value
        raise error(TypeError, function, name, "a number", value.dtype)
    return positive(function, name, value) and value


def place_of(function: str, name: str, axis: Any, rank: int) -> int:
    """`axis` of an array with `rank` axes, counted from the first."""
    axis = integer(function, name, axis)
    if not -rank <= axis < rank:
        raise error(ValueError, function, name, f"an axis of an array with {rank} dimensions", axis)
    return axis % rank


def is_complex(x: Any) -> bool:
    known = getattr(x.dtype, "is_complex", None)  # torch's; its text takes a microsecond
    return getattr(x.dtype, "kind", "") == "c" or "complex" in str(x.dtype) if known is None else known


def beside(array: Any, values: np.ndarray) -> Any:
    """Host values, real or complex, in the library and precision of `array`, and on its device."""
    name = dtype_name(array)
    precision = PRECISION.get(WIDENED.get(name, name), "float64")
    values = values.astype(np.result_type(precision, np.complex64) if np.iscomplexobj(values) else precision)
    return namespace(array).asarray(values, device=device(array))


def ticks(array: Any, values: np.ndarray) -> Any:
    """Times or frequencies to go with `array`: NumPy's as they are."""
    return values if isinstance(array, np.ndarray) else beside(array, values)


def result_dtype(function: str, dtype: Any, *names: str) -> np.dtype | None:
    """`dtype` of a result, which is one of these; None where it is unsaid."""
    if dtype is None:
        return None
    found = None
    if isinstance(dtype, (str, type, np.dtype)) or hasattr(dtype, "dtype"):  # of JAX: an object that has one
        with suppress(Exception), warnings.catch_warnings(action="ignore"):
            found = None if isinstance(dtype, (np.generic, np.ndarray)) else np.dtype(dtype)
    if found is None or found.name not in names:
        raise error(TypeError, function, "dtype", " or ".join(names), shown(dtype) if found is None else found)
    return found


def cast(array: Any, dtype: Any) -> Any:
    """`array` as this dtype, which NumPy knows."""
    if dtype is None or dtype_name(array) == np.dtype(dtype).name:
        return array
    xp = namespace(array)
    return xp.astype(array, getattr(xp, np.dtype(dtype).name))
