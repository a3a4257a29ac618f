"""Who computes the FFTs of the NumPy backend: one small object each.

An engine has four maps over the last axis, each with a given result array, of the precision of its input:

    irfft(x, n, out), ifft(x, out), rfft(x, out), fft(x, out)

It says whether these divide by n or leave that to the windows (`divides`: a pass over the data less, 5 to 12 % of the
time), whether it wants the bins of a frame side by side in memory (`packed`), and whether it `makes` new arrays, which
are then copied to their place.

The engine of a transform follows from its size, precision and kind alone, never from how many frames there are: a
part of a job must have the bits of the whole. For the same reason an engine that transforms several frames in the
lanes of a vector, with other roundings than one alone, is not taken where it does so, or is given whole vectors.

NumPy's run in float64 over float32 data wherever they need not divide (4.2 to 8 times slower with numpy 2.4: the
factor 1, a Python integer, picks the loop). The loops below numpy.fft take a factor of their own precision; where they
are not there, numpy.fft divides both ways, and a spectrum above 1 / n_fft of the largest number overflows on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ...settings import get_fft_engine
from .forks import NO_FORK
from .memory import keep_views, known_views, scratch

Transform = Callable[[np.ndarray, np.ndarray], Any]  # (of these frames (..., frames, numbers), to this place)

_LAST = (-1,)  # axis
_UNSCALED = 0  # as ducc0 numbers it
_ONE_THREAD = 1
_BLOCK_NUMBERS = 1 << 18  # float32 numbers of a block, as a rule


class Engine(Protocol):
    """What the NumPy backend asks of an FFT library."""

    name: str
    divides: bool
    packed: bool
    makes: bool

    def variants(self, n_fft: int, dtype: np.dtype, onesided: bool) -> Iterable[Engine]:
        """What to try for spectra of this size and dtype: the first that is steady is taken."""

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

    def variants(self, n_fft: int, dtype: np.dtype, onesided: bool) -> Iterable[Engine]:
        return (self,)

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


class NumpyLoopEngine(NumpyEngine):
    """The loops below numpy.fft, which are not public: told a factor of their own precision, they need not divide."""

    divides = False

    def __init__(self, loops: Any) -> None:
        self._loops = loops

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        self._loops.irfft(x, _ONE[out.dtype], axes=_AXES, out=out)

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._loops.ifft(x, _ONE[out.dtype], axes=_AXES, out=out)

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        loop = self._loops.rfft_n_odd if x.shape[-1] % 2 else self._loops.rfft_n_even
        loop(x, _ONE[out.dtype], axes=_AXES, out=out)

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        self._loops.fft(x, _ONE[out.dtype], axes=_AXES, out=out)


_AXES = [(-1,), (), (-1,)]
_ONE = {np.dtype(kind): np.float32(1) if kind in "fF" else np.float64(1) for kind in "fdFD"}


def _numpy_engine() -> Engine:
    """The loops, where they are there, and make what numpy.fft makes."""
    try:
        engine = NumpyLoopEngine(import_module("numpy.fft._pocketfft_umath"))
        return engine if all(_is_right(engine, n, kind) for n in (8, 9) for kind in "fd") else NumpyEngine()
    except (ImportError, AttributeError, TypeError, ValueError):
        return NumpyEngine()


def _is_right(engine: Engine, n: int, kind: str) -> bool:
    """Whether the four maps of an engine are unscaled DFTs, of real numbers of this kind."""
    x = np.arange(3.0 * n).reshape(3, n).astype(kind)
    complex_kind = kind.upper()
    spectra, segments = np.zeros((3, n // 2 + 1), complex_kind), np.zeros((3, n), kind)
    whole, again = np.zeros((3, n), complex_kind), np.zeros((3, n), complex_kind)
    engine.rfft(x, spectra)
    engine.irfft(spectra, n, segments)
    engine.fft(x.astype(complex_kind), whole)
    engine.ifft(whole, again)
    pairs = (spectra, np.fft.rfft(x)), (segments, n * x), (whole, np.fft.fft(x)), (again, n * x)
    return all(np.allclose(made, due, atol=1e-3) for made, due in pairs)


class ScipyEngine:
    """scipy.fft, by its public functions: they make new arrays."""

    name = "scipy"
    divides = False
    packed = False
    makes = True

    def __init__(self) -> None:
        import scipy.fft

        self._fft = scipy.fft

    def variants(self, n_fft: int, dtype: np.dtype, onesided: bool) -> Iterable[Engine]:
        return (self,)

    def on_this_thread(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        with NO_FORK:
            out[...] = self._fft.irfft(x, n, norm="forward")

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        with NO_FORK:
            out[...] = self._fft.ifft(x, norm="forward")

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        with NO_FORK:
            out[...] = self._fft.rfft(x)

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        with NO_FORK:
            out[...] = self._fft.fft(x)


class DuccEngine:
    """ducc0.fft, or SciPy's copy of it below scipy.fft: writes where it is told, reads any strides.

    It transforms frames in the lanes of vectors, and those left over one by one, with other roundings. So these are
    transformed together with others, some of them for a second time, that have the same bits again.

    lanes : of a vector
    """

    divides = False
    packed = False
    makes = False

    def __init__(self, name: str, module: Any, lanes: int = 1) -> None:
        self.name = name
        self._fft = module
        self._lanes = lanes

    def variants(self, n_fft: int, dtype: np.dtype, onesided: bool) -> Iterable[Engine]:
        """With vectors of any size.

        But two-sided transforms of more than 4096 samples have other roundings in other layouts, and to rows of
        complex64 4096 bytes apart ducc0 took 1.4 to 1.6 of numpy's time.
        """
        if not onesided and (n_fft > 4096 or (self.name == "ducc" and dtype.char == "F" and n_fft % 512 == 0)):
            return ()
        return (DuccEngine(self.name, self._fft, lanes) for lanes in (1, 2, 4, 8, 16, 32, 64))

    def on_this_thread(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def irfft(self, x: np.ndarray, n: int, out: np.ndarray) -> Any:
        def transform(x: np.ndarray, out: np.ndarray) -> None:
            with NO_FORK:
                self._fft.c2r(x, _LAST, n, False, _UNSCALED, out, _ONE_THREAD)

        _in_vectors(transform, self._lanes, x, out)

    def ifft(self, x: np.ndarray, out: np.ndarray) -> Any:
        def transform(x: np.ndarray, out: np.ndarray) -> None:
            with NO_FORK:
                self._fft.c2c(x, _LAST, False, _UNSCALED, out, _ONE_THREAD)

        _in_vectors(transform, self._lanes, x, out)

    def rfft(self, x: np.ndarray, out: np.ndarray) -> Any:
        def transform(x: np.ndarray, out: np.ndarray) -> None:
            with NO_FORK:
                self._fft.r2c(x, _LAST, True, _UNSCALED, out, _ONE_THREAD)

        _in_vectors(transform, self._lanes, x, out)

    def fft(self, x: np.ndarray, out: np.ndarray) -> Any:
        def transform(x: np.ndarray, out: np.ndarray) -> None:
            with NO_FORK:
                self._fft.c2c(x, _LAST, True, _UNSCALED, out, _ONE_THREAD)

        _in_vectors(transform, self._lanes, x, out)


def _in_vectors(transform: Transform, lanes: int, x: np.ndarray, out: np.ndarray) -> None:
    """Transform frames x (..., frames, numbers) in whole vectors of so many lanes."""
    count, total = x.shape[-2], math.prod(x.shape[:-1])
    if not total:
        return  # which ducc0 refuses
    if total % lanes == 0:
        _to_place(transform, x, out)
    elif count >= lanes:
        whole = count // lanes * lanes
        _to_place(transform, x[..., :whole, :], out[..., :whole, :])
        _to_place(transform, x[..., -lanes:, :], out[..., -lanes:, :])
    else:
        key = "lanes", lanes, x.shape, x.dtype, out.shape
        frames, made, first, results = known_views(key) or _left_over(key, out.dtype)
        np.copyto(frames, x[(0,) * (x.ndim - 1)])
        if total > 1:
            np.copyto(first, x)
        transform(frames, made)
        np.copyto(out, results)


def _left_over(key: tuple[str, int, tuple[int, ...], np.dtype, tuple[int, ...]], kind: np.dtype) -> Any:
    """Scratch for frames that make no whole vectors: all that is transformed, and the views of what was asked for."""
    _, lanes, shape, dtype, made_shape = key
    total = math.prod(shape[:-1])
    padded = -(-total // lanes) * lanes
    frames = scratch("lanes", (padded, shape[-1]), dtype)
    made = scratch("made in lanes", (padded, made_shape[-1]), kind)
    views = frames, made, frames[:total].reshape(shape), made[:total].reshape(made_shape)
    keep_views(key, views, frames, made)
    return views


def _to_place(transform: Transform, x: np.ndarray, out: np.ndarray) -> None:
    try:
        transform(x, out)
    except RuntimeError:  # strides that are no multiples of a number's size: of a field of records
        made = np.empty(out.shape, out.dtype)
        transform(x.copy(), made)
        out[...] = made


def _ducc_engine() -> Engine:
    from ducc0 import fft

    return DuccEngine("ducc", fft)


def _scipy_engine() -> Engine:
    """The C functions below scipy.fft, where they take a place for the result; they are not public.

    From SciPy 1.18 on: a block of frames takes 0.82 to 0.92 of the time without the array, its copy and 5 us of Python.
    """
    try:
        engine = DuccEngine("scipy", import_module("scipy.fft._duccfft.pyduccfft"))
        return engine if _is_right(engine, 8, "d") else ScipyEngine()
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError):
        return ScipyEngine()


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

    def variants(self, n_fft: int, dtype: np.dtype, onesided: bool) -> Iterable[Engine]:
        """Itself for even, smooth sizes: at 511 = 7 * 73 it took 1.6 times numpy's time, at 289 3 times."""
        return (self,) if _smooth(n_fft) else ()

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


ENGINES: dict[str, Callable[[], Engine]] = {
    "numpy": _numpy_engine, "scipy": _scipy_engine, "ducc": _ducc_engine, "mkl": MklEngine,
}  # fmt: skip
AUTO = "auto"


@cache
def engine_named(name: str) -> Any:
    return ENGINES[name]()


def engine_for(n_fft: int, dtype: np.dtype, onesided: bool = True) -> Engine:
    """The engine for transforms of n_fft samples, to and from spectra of this dtype."""
    return _engine_for(get_fft_engine(), n_fft, dtype, onesided)


@lru_cache(maxsize=256)
def _engine_for(chosen: str, n_fft: int, dtype: np.dtype, onesided: bool) -> Engine:
    for name in _fastest_first(n_fft, dtype, onesided) if chosen == AUTO else (chosen,):
        engine: Engine = engine_named(name)
        for variant in engine.variants(n_fft, dtype, onesided):
            if _is_steady(variant, n_fft, dtype, onesided):
                return variant
    return engine_named("numpy")


def _fastest_first(n_fft: int, dtype: np.dtype, onesided: bool) -> list[str]:
    """Names of the engines from which "auto" takes the first that is steady, before NumPy's.

    On one thread ducc0 took 0.47 to 0.95 of the time that numpy's takes for a whole stft, 0.51 to 0.95 for an istft,
    of any size from 16 to 65536; SciPy 1.18's copy of it 0.70 to 1.01, at even, smooth sizes, and above 16384 no less
    than numpy's on some machines. In float32 the copy is the faster one where it comes first: 0.63 to 0.86 of numpy's
    time against 0.73 to 0.86, of complex numbers 0.7 to 0.9 against 0.7 to 1.
    """
    names = ["ducc"] if _is_installed("ducc") else []
    if not engine_named("scipy").makes and n_fft <= 16384 and _smooth(n_fft):
        names.insert(0 if dtype.char == "F" and (n_fft <= 1024 or not onesided) else 1, "scipy")
    return names


@cache
def _is_installed(name: str) -> bool:
    try:
        engine_named(name)
    except Exception:  # not there, or broken
        return False
    return True


def _is_steady(engine: Engine, n_fft: int, dtype: np.dtype, onesided: bool) -> bool:
    """Whether the bits of a frame do not depend on how many frames are transformed together, nor on how they lie."""
    count = max(19, min(67, _BLOCK_NUMBERS // n_fft + 3))
    parts = [(0, 1), (1, 3), (3, 6), (6, 11), (11, count), *((last, last + 1) for last in range(count - 8, count))]
    n_bins = n_fft // 2 + 1 if onesided else n_fft
    numbers = np.sin(np.arange(2.0 * n_bins + count) ** 2).astype(dtype.char.lower())
    spectra = np.stack([numbers[first : first + 2 * n_bins] for first in range(count)]).view(dtype)
    segments = np.empty((count, n_fft), spectra.real.dtype if onesided else dtype)

    def inverse(spectra: np.ndarray, segments: np.ndarray) -> None:
        if onesided:
            engine.irfft(spectra, n_fft, segments)
        else:
            engine.ifft(spectra, segments)

    def same(transform: Callable[[np.ndarray, np.ndarray], Any], source: np.ndarray, target: np.ndarray) -> bool:
        transform(source, target)
        for laid_out in (source,) if engine.packed else (source, np.asfortranarray(source)):
            alone = np.empty_like(target)
            for lo, hi in parts:
                transform(laid_out[lo:hi], alone[lo:hi])
            if not np.array_equal(alone, target):
                return False
        return True

    with engine.on_this_thread():
        return same(inverse, spectra, segments) and same(
            engine.rfft if onesided else engine.fft, segments, np.empty_like(spectra)
        )
