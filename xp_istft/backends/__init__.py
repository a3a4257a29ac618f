"""Array libraries: for each one module (NumPy: `cpu`), with a subclass of `Backend` and its only instance, BACKEND.

A new library is such a module and one line of the table; one that is not in the table takes the definition itself.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from typing import Any

from array_api_compat import is_array_api_obj

from ..arguments import error
from .base import BASE, Backend

# Array class -> the module that computes with it, None: refused. Nothing is imported before such an array arrives.
_BACKENDS = {
    ("numpy.ma", "MaskedArray"): None,
    ("numpy", "matrix"): None,
    ("numpy", "generic"): None,
    ("numpy", "ndarray"): "cpu.numpy",
    ("cupy", "ndarray"): "cupy",
    ("torch.fx", "Proxy"): None,
    ("torch", "Tensor"): "torch",
    ("dask.array", "Array"): "dask",
    ("jax", "Array"): "jax",
    ("jax.core", "Tracer"): "jax",
    ("mlx.core", "array"): "mlx",
    (f"{__name__}.stored", "Stored"): "stored",
}


def backend_for(array: Any) -> Backend | None:
    """What computes with arrays like this one; None where nothing does."""
    cls: Any = type(array)
    backend = backend_for_type(cls)
    return None if backend is BASE and not is_array_api_obj(array) else backend


def required_backend(array: Any) -> Backend:
    """`backend_for`, of an array that is known to have one."""
    backend = backend_for(array)
    if backend is None:
        raise TypeError(f"no backend computes with {type(array).__qualname__}")
    return backend


@lru_cache
def backend_for_type(cls: type) -> Backend | None:
    """The backend of arrays of this class; `BASE` also for what may be no array."""
    for (library, name), module in _BACKENDS.items():
        known = getattr(sys.modules.get(library), name, None)
        if known is not None and issubclass(cls, known):
            return _loaded(module, library.partition(".")[0]) if module else None
    return BASE


def _loaded(module: str, library: str) -> Backend:
    try:
        return import_module(f".{module}", __package__).BACKEND
    except (ImportError, AttributeError) as cause:  # what the backend needs of the library is not there
        got = getattr(sys.modules[library], "__version__", "one without a version")
        raise error(
            ImportError, "xp_istft", library, "a complete library of a supported version", got, str(cause)
        ) from cause


def namespace(*arrays: Any) -> Any:
    """The functions of the Array API for these arrays, of one library."""
    return required_backend(arrays[0]).namespace(*arrays)


def device(array: Any) -> Any:
    """Where an array lies, as its namespace takes it; None where a library has no such thing."""
    return required_backend(array).device(array)
