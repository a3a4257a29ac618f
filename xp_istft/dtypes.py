"""The one table of dtypes: which precision belongs to which, what is widened, and what is half.

Dtypes are spoken of by name ("float32", "complex64", "bfloat16", ...), the same for every library.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

REAL = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
HALVES = ("float16", "bfloat16")

# The real precision in which a dtype is computed, and the spectrum of a signal of each precision.
PRECISION = {"complex64": "float32", "complex128": "float64", "float32": "float32", "float64": "float64"}
SPECTRUM = {"float32": "complex64", "float64": "complex128"}

# The same of NumPy's dtypes, whose names take longer to spell than a small block to make.
_SINGLE, _DOUBLE, _SINGLE_COMPLEX, _DOUBLE_COMPLEX = map(np.dtype, "fdFD")
REAL_OF = {_SINGLE_COMPLEX: _SINGLE, _DOUBLE_COMPLEX: _DOUBLE}
COMPLEX_OF = {
    _SINGLE: _SINGLE_COMPLEX,
    _DOUBLE: _DOUBLE_COMPLEX,
    _SINGLE_COMPLEX: _SINGLE_COMPLEX,
    _DOUBLE_COMPLEX: _DOUBLE_COMPLEX,
}

# Half precisions are computed in single; half spectra exist in PyTorch alone, end at 65504, and are never made unasked.
WIDENED = {"float16": "float32", "bfloat16": "float32", "complex32": "complex64"}


def _name(kind: Any, dtype: Any) -> str:
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


# name_of(type(dtype), dtype): NumPy spells a name anew each time, in 1.5 us; dtypes of two libraries do not compare.
name_of: Callable[[Any, Any], str] = lru_cache(_name)


def dtype_name(array: Any) -> str:
    """'complex64', 'float32', ... of an array of any library, in native byte order or not."""
    return name_of(type(array.dtype), array.dtype)


def real_dtype(name: str) -> str:
    """The dtype of a real signal whose spectrum has this one."""
    return "float16" if name == "complex32" else PRECISION[name]


def complex_dtype(name: str) -> str:
    """The dtype of the spectrum of a signal of this one."""
    return SPECTRUM.get(WIDENED.get(name, name), name)
