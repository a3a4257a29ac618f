"""One module per array library, each with the same functions on its own arrays.

    synthesis(spectrum, job, out=None, workers=None) -> signal      job: jobs.Synthesis
    analysis(signal, job, out=None, workers=None)    -> spectrum    job: jobs.Analysis
    overlap_add(segments, job)                       -> signal      job: jobs.Synthesis, without the FFT
    frame(signal, job)                               -> segments    job: jobs.Analysis, without the FFT
    as_complex(real, imag)                           -> complex array
    joined(pairs)                                    -> complex array of real (..., 2), a view where that is possible
    checked(function, name, array)                   -> the array as the maps take it, or TypeError
    on_host(array, function)                         -> function of the values (..., bins, frames) in NumPy, back on the
                                                        array's device; the only map that waits for a device
    check_out(function, out, array, shape, dtype)    raises where the result cannot be written into `out`

and, where streams have a faster way than the definition's (which serves all others),

    waiting(spectrum, running)                   -> sums                       running: jobs.Running
    continued(spectrum, sums, frame, running)    -> (signal, sums)
    ended(sums, job, lo, skip, running)          -> signal

and, where phases can be retrieved faster than by `synthesis` and `analysis` in turn (None: not of these arrays),

    retrieve(start, magnitude, inverse, forward, stages, watch=None, workers=None) -> spectrum or None

and, where values can be looked at (None: of these arrays, not without waiting),

    at_hand(array) -> values in NumPy or None

and, where windows can take part in automatic differentiation (else the windows are values),

    live(function, array, **windows) -> windows to plan with, and those to follow or None
    with_windows(job, ...)           -> the job with windows that are followed

and, where derivatives cannot pass through a loop that looks at values (else the loop is run),

    linear_solve(operator, solver, loop, right, parameters) -> x with operator(x, *parameters) = right, symmetric, made
        by solver(right, loop, *parameters), which may be given another loop(unfinished, advance, state)
    ephemeral(array) -> whether arrays that are made beside this one must not outlive the call

and, where arrays are not computed yet,

    by_signal(function, array, core, shape, dtype) -> function of every chunk of signals, (..., *shape)

Layouts are (..., n_bins, n_frames), (..., n_fft, n_frames) and (..., n_samples); complex64 goes with float32,
complex128 with float64. Arguments were checked before. array_api.py is the definition; every other module gives the
same numbers, faster. A new library is one module here and one line of the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from array_api_compat import is_array_api_obj

from ..arguments import error
from . import array_api

# Array class -> the module that computes with it, None: refused. Nothing is imported before such an array arrives.
_BACKENDS = {
    ("numpy.ma", "MaskedArray"): None,
    ("numpy", "matrix"): None,
    ("numpy", "generic"): None,
    ("numpy", "ndarray"): "numpy",
    ("cupy", "ndarray"): "cupy",
    ("torch", "Tensor"): "torch",
    ("dask.array", "Array"): "dask",
    ("jax", "Array"): "jax",
    ("jax.core", "Tracer"): "jax",
}


def backend_for(array: Any) -> ModuleType | None:
    """The module that computes with arrays like this one; None where there is none."""
    cls: Any = type(array)
    backend = _backend_for_type(cls)
    if backend is array_api and not is_array_api_obj(array):
        return None
    return backend


def required_backend(array: Any) -> ModuleType:
    """`backend_for`, of an array that is known to have one."""
    backend = backend_for(array)
    if backend is None:
        raise TypeError(f"no backend computes with {type(array).__qualname__}")
    return backend


@lru_cache
def _backend_for_type(cls: type) -> ModuleType | None:
    for (library, name), module in _BACKENDS.items():
        known = getattr(sys.modules.get(library), name, None)
        if known is not None and issubclass(cls, known):
            return _loaded(module, library.partition(".")[0]) if module else None
    return array_api


def _loaded(module: str, library: str) -> ModuleType:
    try:
        return import_module(f".{module}", __package__)
    except (ImportError, AttributeError) as cause:  # what the backend needs of the library is not there
        got = getattr(sys.modules[library], "__version__", "one without a version")
        raise error(
            ImportError, "xp_istft", library, "a complete library of a supported version", got, str(cause)
        ) from cause


# Whether a backend has a function that not every one has; asking for a missing one takes 0.4 us each time.
offers: Callable[[ModuleType, str], bool] = lru_cache(hasattr)


_Function = TypeVar("_Function", bound=Callable[..., Any])

# Functions that a tracing compiler takes for one step: what they work out on the host is no part of a graph.
OPAQUE: list[Callable[..., Any]] = []


def opaque(function: _Function) -> _Function:
    """`function` as a single step of a compiled graph; the backend of its first argument is there before it runs."""

    @wraps(function)
    def step(*arguments: Any, **options: Any) -> Any:
        _introduce(type(arguments[0] if arguments else None))
        return function(*arguments, **options)

    OPAQUE.append(function)
    return step  # type: ignore[return-value]


def _introduce(cls: type) -> bool:
    return _backend_for_type(cls) is not None


_introduce._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch.compiler.assume_constant_result, without torch
