"""Who computes the FFTs of the NumPy backend: one small object each.

An engine has four maps over the last axis, each with a given result array, of the precision of its input:

    irfft(x, n, out), ifft(x, out), rfft(x, out), fft(x, out)

It says whether these divide by n or leave that to the windows (`divides`: a pass over the data less, 5 to 12 % of the
time), whether it wants the bins of a frame side by side in memory (`packed`), and whether it `makes` new arrays, which
are then copied to their place.

The engine of a transform follows from its size, precision and kind alone, never from how many frames there are: a
part of a job must have the bits of the whole. For the same reason an engine that transforms several frames in the
lanes of a vector, with other roundings than one alone, is not taken where it does so.

NumPy's run in float64 over float32 data wherever they need not divide (4.2 to 8 times slower with numpy 2.4: the
factor 1, a Python integer, picks the loop), so it divides both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ...settings import get_fft_engine

_LAST = (-1,)  # axis
_UNSCALED = 0  # as SciPy's C functions number it


class Engine(Protocol):
    """What the NumPy backend asks of an FFT library."""

    name: str
    divides: bool
    packed: bool
    makes: bool

    def suits(self, n_fft: int, onesided: bool) -> bool:
        """Whether to take it for this size and kind, where it is asked for by name."""

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
    divides = True
    packed = False
    makes = False

    def suits(self, n_fft: int, onesided: bool) -> bool:
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
    """scipy.fft: its public functions make new arrays; those below them, from 1.18 on, take a place for the result.

    A block of frames takes 0.82 to 0.92 of the time without the array, its copy and 5 us of Python.
    """

    name = "scipy"
    divides = False
    packed = False

    def __init__(self) -> None:
        import scipy.fft

        self._fft = scipy.fft
        self._vectors = tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 18)
        self._placed = _scipys_placed_transforms() if self._vectors else None
        self.makes = self._placed is None

    def is_fastest(self, n_fft: int, onesided: bool) -> bool:
        """From 1.18 on, real transforms of even, smooth size.

        A whole istft then took 0.69 to 0.97 of the time that numpy's takes, an stft 0.64 to 0.97, of float32 and of
        float64; 0.97 to 1.18 from 32768 on.
        """
        return self._vectors and onesided and n_fft <= 16384 and _smooth(n_fft)

    def suits(self, n_fft: int, onesided: bool) -> bool:
        """Before 1.18 all. Since then, the bits of complex transforms depend on other frames and on the layout."""
        return onesided or not self._vectors

    def on_this_thread(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        if self._placed:
            self._placed.c2r(x, _LAST, n, False, _UNSCALED, out)
        else:
            out[...] = self._fft.irfft(x, n, norm="forward")

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        out[...] = self._fft.ifft(x, norm="forward")

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        if self._placed:
            self._placed.r2c(x, _LAST, True, _UNSCALED, out)
        else:
            out[...] = self._fft.rfft(x)

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        out[...] = self._fft.fft(x)


def _scipys_placed_transforms() -> Any:
    """The C module below scipy.fft, or None where a SciPy has it elsewhere or in another form: it is not public."""
    x = np.arange(24.0).reshape(3, 8)
    spectra, segments = np.zeros((3, 5), "D"), np.zeros((3, 8))
    try:
        placed = import_module("scipy.fft._duccfft.pyduccfft")
        placed.r2c(x, _LAST, True, _UNSCALED, spectra)
        placed.c2r(spectra, _LAST, 8, False, _UNSCALED, segments)
        return placed if np.allclose(spectra, np.fft.rfft(x)) and np.allclose(segments, 8 * x) else None
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError):
        return None


class MklEngine:
    """mkl_fft: fast on packed frames; uses every core unless each thread forbids it."""

    name = "mkl"
    divides = False
    packed = True
    makes = False

    def __init__(self) -> None:
        import mkl  # of mkl-service
        import mkl_fft

        self._fft = mkl_fft
        self._set_threads = mkl.set_num_threads_local

    def suits(self, n_fft: int, onesided: bool) -> bool:
        """Even, smooth sizes: at 511 = 7 * 73 it took 1.6 times numpy's time, at 289 3 times."""
        return _smooth(n_fft)

    @contextmanager
    def on_this_thread(self) -> Iterator[None]:
        before = self._set_threads(1)
        try:
            with np.errstate(all="ignore"):
                yield
        finally:
            self._set_threads(before)

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        self._fft.irfft(x, norm="forward", out=out)  # n is even; to be told takes it 3 us

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._fft.ifft(x, norm="forward", out=out)

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._fft.rfft(x, out=out)

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._fft.fft(x, out=out)


def _smooth(n_fft: int) -> bool:
    """Even, without prime factors above 13."""
    rest = n_fft
    for prime in (2, 3, 5, 7, 11, 13):
        while rest % prime == 0:
            rest //= prime
    return rest == 1 and n_fft % 2 == 0


ENGINES: dict[str, Callable[[], Engine]] = {"numpy": NumpyEngine, "scipy": ScipyEngine, "mkl": MklEngine}
AUTO = "auto"


@cache
def engine_named(name: str) -> Any:
    return ENGINES[name]()


def engine_for(n_fft: int, dtype: np.dtype, onesided: bool = True) -> Engine:
    """The engine for transforms of n_fft samples, to and from spectra of this dtype."""
    return _engine_for(get_fft_engine(), n_fft, dtype, onesided)


@lru_cache(maxsize=256)
def _engine_for(chosen: str, n_fft: int, dtype: np.dtype, onesided: bool) -> Engine:
    numpy: Engine = engine_named("numpy")
    if chosen == "numpy":
        return numpy
    engine = engine_named("scipy" if chosen == AUTO else chosen)
    suits = engine.is_fastest(n_fft, onesided) if chosen == AUTO else engine.suits(n_fft, onesided)
    return engine if suits and _is_steady(engine, n_fft, dtype, onesided) else numpy


def _is_steady(engine: Engine, n_fft: int, dtype: np.dtype, onesided: bool) -> bool:
    """Whether the bits of a frame do not depend on how many frames are transformed together."""
    count, parts = 19, ((0, 1), (1, 3), (3, 6), (6, 11), (11, 19))
    n_bins = n_fft // 2 + 1 if onesided else n_fft
    numbers = np.sin(np.arange(2.0 * count * n_bins) ** 2).astype(dtype.char.lower())
    spectra = numbers.reshape(count, -1).view(dtype)
    segments = np.empty((count, n_fft), spectra.real.dtype if onesided else dtype)

    def inverse(spectra: np.ndarray, segments: np.ndarray) -> None:
        if onesided:
            engine.irfft(spectra, n_fft, segments)
        else:
            engine.ifft(spectra, segments)

    def same(transform: Callable[[np.ndarray, np.ndarray], Any], source: np.ndarray, target: np.ndarray) -> bool:
        transform(source, target)
        alone = np.empty_like(target)
        for lo, hi in parts:
            transform(source[lo:hi], alone[lo:hi])
        return np.array_equal(alone, target)

    with engine.on_this_thread():
        return same(inverse, spectra, segments) and same(
            engine.rfft if onesided else engine.fft, segments, np.empty_like(spectra)
        )
