"""Who computes the FFTs of the NumPy backend: one small object each.

An engine has four maps over the last axis, each with a given result array, of the precision of its input:

    irfft(x, n, out), ifft(x, out)     divided by n
    rfft(x, out), fft(x, out)          divided by n as well: the windows carry the factor n

and says whether it reads frames that lie strided in memory (`gathers`), or wants them packed.

NumPy's forward transforms run in float64 over float32 data unless norm="forward" is given (4.2 to 8 times slower
with numpy 2.4: the factor 1, a Python integer, picks the loop), hence the division everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np

from ..arguments import choice, error


class Engine(Protocol):
    """What the NumPy backend asks of an FFT library."""

    name: str
    gathers: bool

    def suits(self, n_fft: int) -> bool:
        """Whether it is the faster one at this size."""

    def on_this_thread(self) -> AbstractContextManager[Any]:
        """Entered by each thread of a call: no floating-point warnings, no threads of the engine's own."""

    def __hash__(self) -> int: ...
    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any: ...
    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any: ...
    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any: ...
    def fft(self, x: np.ndarray, out: np.ndarray) -> Any: ...


class NumpyEngine:
    """numpy.fft: writes where it is told, reads any strides, releases the GIL."""

    name = "numpy"
    gathers = True

    def suits(self, n_fft: int) -> bool:
        return True

    def on_this_thread(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        np.fft.irfft(x, n, -1, None, out)

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        np.fft.ifft(x, out=out)

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        np.fft.rfft(x, norm="forward", out=out)

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        np.fft.fft(x, norm="forward", out=out)


class ScipyEngine:
    """scipy.fft: makes a new array each time, which is then copied to its place."""

    name = "scipy"
    gathers = True

    def __init__(self) -> None:
        import scipy.fft

        self._fft = scipy.fft

    def suits(self, n_fft: int) -> bool:
        return True

    def on_this_thread(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        out[...] = self._fft.irfft(x, n)

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        out[...] = self._fft.ifft(x)

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        out[...] = self._fft.rfft(x, norm="forward")

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        out[...] = self._fft.fft(x, norm="forward")


class MklEngine:
    """mkl_fft: fast on packed frames; uses every core unless each thread forbids it."""

    name = "mkl"
    gathers = False

    def __init__(self) -> None:
        try:
            import mkl
            import mkl_fft
        except ImportError as cause:
            hint = "pip install xp-istft[mkl]"
            raise error(ImportError, "set_fft_engine", "engine", "mkl_fft and mkl-service", cause, hint) from cause
        self._fft = mkl_fft
        self._set_threads = mkl.set_num_threads_local

    def suits(self, n_fft: int) -> bool:
        """Even sizes without prime factors above 13: at 511 = 7 * 73 it took 1.6 times numpy's time, at 289 3 times."""
        if n_fft % 2:
            return False
        for prime in (2, 3, 5, 7, 11, 13):
            while n_fft % prime == 0:
                n_fft //= prime
        return n_fft == 1

    @contextmanager
    def on_this_thread(self) -> Iterator[None]:
        before = self._set_threads(1)
        try:
            with np.errstate(all="ignore"):
                yield
        finally:
            self._set_threads(before)

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        self._fft.irfft(x, n, out=out)

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._fft.ifft(x, out=out)

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._fft.rfft(x, norm="forward", out=out)

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._fft.fft(x, norm="forward", out=out)


_ENGINES: dict[str, Callable[[], Engine]] = {"numpy": NumpyEngine, "scipy": ScipyEngine, "mkl": MklEngine}


@cache
def _engine(name: str) -> Engine:
    return _ENGINES[name]()


_numpy = _engine("numpy")
_chosen = _numpy


def set_fft_engine(engine: str) -> None:
    """Choose who computes the FFTs of NumPy arrays from now on.

    Parameters
    ----------
    engine : "auto", "numpy", "scipy" or "mkl"
        "auto", the default, is numpy.fft. "mkl" needs the extra [mkl]; sizes at which MKL is slower stay with
        numpy.fft.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.set_fft_engine("auto")
    """
    global _chosen
    name = choice("set_fft_engine", "engine", engine, ("auto", *_ENGINES))
    _chosen = _engine("numpy" if name == "auto" else name)


def get_fft_engine() -> str:
    """Who computes the FFTs of NumPy arrays: "numpy", "scipy" or "mkl", as `set_fft_engine` chose.

    Returns
    -------
    str
        Name of the engine.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.get_fft_engine()
    'numpy'
    """
    return _chosen.name


def engine_for(n_fft: int) -> Engine:
    """The engine for transforms of n_fft samples."""
    return _chosen if _chosen is _numpy or _chosen.suits(n_fft) else _numpy
