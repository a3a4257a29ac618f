"""Signals of magnitudes: Griffin-Lim and what converges further, PGHI as the start, and the consistency of spectra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import arrays
from ..arguments import choice, error, integer, number, public, shown, warn
from ..arrays import (
    LAST_TWO,
    check_magnitudes,
    check_magnitudes_at_hand,
    magnitudes,
    moved,
    placed,
    rank_two,
    spectra,
)
from ..backends import device, namespace, required_backend
from ..bands import Mel, nearest_magnitudes, read_bank
from ..dtypes import COMPLEX, HALVES, PRECISION, REAL, SPECTRUM, dtype_name
from ..frames import bin_multiplicity
from ..transform import STFT, forward, inverse, read_length, read_transform
from ..windows import CoverageWarning
from .algorithms import NAMED, Algorithm, Functional, InBands, convergence, iterate, norm, quotient
from .integration import Gradient, integrated

STARTS = ("pghi", "random", "zero")
MAX_GAIN = 10.0
NO_BOUND = 1e32  # as max_gain: more than the rounding of weights leaves of what is amplified, 1 / eps


@public
def griffin_lim(
    S: Any,
    transform: STFT | None = None,
    *,
    length: int | None = None,
    n_iter: int = 32,
    algorithm: str | Algorithm = "hybrid",
    init: Any = "pghi",
    rng: Any = None,
    tol: float | None = None,
    callback: Callable[[int, float], Any] | None = None,
    bands: Mel | None = None,
    axes: tuple[int, int] = LAST_TWO,
    workers: int | None = None,
) -> Any:
    """Signal whose short-time magnitudes are near to `S`: Griffin-Lim, or an algorithm that converges further.

    The formulas stand with the algorithms. The default (PGHI, then ADMM, then fast Griffin-Lim)
    came nearer in 32 iterations than fast Griffin-Lim from random phases in 100 (benchmarks/phase_retrieval.py).

    Parameters
    ----------
    S : real array (..., n_bins, n_frames)
        Magnitudes, finite and not negative, of any library and device; float32 or float64 (float16 and bfloat16
        compute in float32). Values are looked at where nothing waits for it, or init="pghi" needs them: elsewhere (on
        a GPU, under a transformation, of Dask) wrong ones pass into the result.
    transform : STFT, optional
        That which S was made with, of one or two sides; default STFT(2 * (n_bins - 1)). Its `max_gain` holds in every
        iteration, and None counts as 10 here: the spectra between belong to no signal, and unbounded, what is left of
        the difference would be amplified at ends that only the flank of a window reaches (center=False).
    length : int, optional
        Samples of the result; default those that belong to the frames. Where S is of a signal of that length, the
        iterations use it.
    n_iter : int
        Iterations; 0 inverts the start.
    algorithm : "hybrid", "fgla", "gla", "raar", "admm" or Algorithm
        `Hybrid()`, `FastGLA()` (librosa's and nnAudio's), `GLA()`, `RAAR()`, `ADMM()` by their names, or such a value
        with other parameters, or an algorithm of your own.
    init : "pghi", "random", "zero" or array
        Phases at the start: those of `pghi` (made on the host: the one transfer from the device; at other frequencies
        there are none, and random ones are taken); random; 0; or an array of S's library: real of S's shape (phases
        in radians), complex of S's shape (a spectrum), or (..., n_samples) (a signal, whose phases are taken; with
        onesided=False it may be complex).
    rng : None, int or numpy.random.Generator
        Of random phases; an integer makes them the same on every library. Of "pghi" the bins that are hardly audible
        are random; None makes them the same each time.
    tol : float, optional
        An iteration that changes the spectral convergence by at most this is the last one ("hybrid": of its half).
    callback : callable, optional
        Called with (iteration, convergence) after each iteration, counted from 1: the spectral convergence
        norm(abs(P_C c) - S) / norm(S) over the whole of S (of scaling="amplitude" of the same magnitudes in
        scaling="spectrum"), as a float. This and `tol` wait for the device in each iteration.
    bands : Mel, optional
        S is mel bands (..., n_mels, n_frames) of the magnitudes, and `transform` must be given, in another scaling than
        "amplitude". The iterations begin with the phases for `mel_to_magnitude(S)` and ask for these bands, not for
        those magnitudes: they come about twice as near (benchmarks/bands.py). The convergence is that of the bands.
    axes : (int, int)
        The axes of S that hold bins (or bands) and frames.
    workers : int, optional
        Threads, on the CPU, as in `istft`.

    Returns
    -------
    real or complex array (..., n_samples)
        Same library, device and dtype as S; with onesided=False complex, at least in complex64. Differentiable on torch
        and JAX, but for the start from "pghi".

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; under jax.jit also init="pghi", `tol` and `callback`,
        which need values.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.sin(np.arange(8000) ** 1.5 / 300)
    >>> S = abs(xi.stft(x, 512))
    >>> y = xi.griffin_lim(S, length=8000)
    >>> y.shape, bool(xi.spectral_convergence(S, xi.stft(y, 512)) < 0.01)
    ((8000,), True)
    """
    function = "griffin_lim"
    magnitude, narrow = magnitudes(function, "S", S, axes)
    bank = None if bands is None else read_bank(function, bands, transform)
    if bank is None or transform is None:  # which bands do not leave out
        transform = read_transform(function, "S", magnitude, transform)
        magnitude = to_even(transform, magnitude)
        pair = _Pair.of(function, "S", magnitude, even_transform(transform), length, workers)
    else:
        bank.check(function, "S", magnitude)
        if transform.amplitudes:
            raise error(ValueError, function, "transform", "another scaling with bands=", repr(transform.scaling))
        laid = np.broadcast_to(np.float32(0), (bank.n_bins, magnitude.shape[-1]))
        pair = _Pair.of(function, "S", laid, transform, length, workers)
    if not isinstance(algorithm, Algorithm):
        algorithm = NAMED[choice(function, "algorithm", algorithm, tuple(NAMED))]
    if isinstance(init, str):
        choice(function, "init", init, STARTS)
    n_iter = integer(function, "n_iter", n_iter, 0)
    generator = read_rng(function, rng)
    watch = _Watch(None if tol is None else number(function, "tol", tol, 0), callback)
    if callback is not None and not callable(callback):
        raise error(TypeError, function, "callback", "a function of iteration and convergence", type(callback).__name__)
    check_magnitudes_at_hand(function, "S", magnitude)
    inverse = pair.inverse(magnitude, read_length(function, length))  # judged before any work
    if bank is not None:
        magnitude, algorithm = nearest_magnitudes(function, magnitude, bank), InBands(algorithm, bank)
    start = _start(function, magnitude, init, generator, pair, axes)
    signal = inverse(_retrieved(magnitude, start, pair, algorithm.stages(n_iter), watch.of_a_run()))
    return signal if narrow is None or not pair.transform.onesided else namespace(signal).astype(signal, narrow)


@public
def pghi(
    S: Any,
    transform: STFT | None = None,
    *,
    tol: float = 1e-4,
    rng: Any = None,
    axes: tuple[int, int] = LAST_TWO,
) -> Any:
    """Spectrum of magnitudes `S`, with phases from the gradient of log S: no iterations.

    Phase gradient heap integration (Prusa, Balazs & Sondergaard, 2017), with a maximum spanning forest in place of
    the heap. It is exact for a Gaussian window and small hops; any other window counts as the Gaussian whose square
    has the same variance. Computed on the host, whatever the device of S, on the threads that `set_workers` allows: the
    same bits for any number.

    Parameters
    ----------
    S : real array (..., n_bins, n_frames)
        Magnitudes, not negative, of the bins of the DFT.
    transform : STFT, optional
        That which S was made with, of one or two sides; default STFT(2 * (n_bins - 1)).
    tol : float
        Bins below this times the largest magnitude get random phases.
    rng : None, int or numpy.random.Generator
        Of those; None makes them the same each time.
    axes : (int, int)
        The axes of S that hold bins and frames.

    Returns
    -------
    complex array of the shape of S
        Same library and device as S.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; or the values of S are not there (under jax.jit).

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.sin(np.arange(8000) ** 1.5 / 300)
    >>> t = xi.STFT(512, 64)
    >>> S = abs(t.stft(x))
    >>> X = xi.pghi(S, t)
    >>> bool(np.allclose(abs(X), S)), bool(xi.inconsistency(X, t) < 0.1)
    (True, True)
    """
    magnitude, _ = magnitudes("pghi", "S", S, axes)
    transform = read_transform("pghi", "S", magnitude, transform)
    if transform.bins is not None:
        raise error(ValueError, "pghi", "transform", "the bins of the DFT", "other frequencies")
    tol = number("pghi", "tol", tol, 0)
    magnitude = to_even(transform, magnitude)
    spectrum = _integrated("pghi", magnitude, even_transform(transform), tol, read_rng("pghi", rng))
    return placed(_from_even(transform, spectrum), axes)


@public
def project(
    X: Any,
    transform: STFT | None = None,
    *,
    length: int | None = None,
    axes: tuple[int, int] = LAST_TWO,
    workers: int | None = None,
) -> Any:
    """The consistent spectrum nearest to `X`: stft(istft(X)), the orthogonal projection onto the spectra of signals.

    Orthogonal in the norm that counts every bin as often as it stands for bins of the two-sided spectrum, for
    pad_mode="constant"; of scaling="amplitude" that of the same spectrum in scaling="spectrum".

    Parameters
    ----------
    X : complex array (..., n_bins, n_frames)
        Spectrum of any library and device.
    transform : STFT, optional
        That whose spectrum X is, of one or two sides; default STFT(2 * (n_bins - 1)).
    length : int, optional
        Samples of the signal; default those that belong to the frames.
    axes : (int, int)
        The axes of X that hold bins and frames.
    workers : int, optional
        Threads, on the CPU, as in `istft`.

    Returns
    -------
    complex array of the shape of X
        Same library, device and precision as X.

    Raises
    ------
    ValueError, TypeError
        As `istft`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((129, 20)) + 1j * rng.standard_normal((129, 20))
    >>> P = xi.project(X)
    >>> bool(np.allclose(xi.project(P), P)), round(float(xi.inconsistency(X)), 1)
    (True, 0.9)
    """
    X = spectra("project", X, axes)
    transform = read_transform("project", "X", X, transform)
    pair = _Pair.of("project", "X", X, even_transform(transform), length, workers, max_gain=None)
    return placed(_from_even(transform, pair.project(to_even(transform, X))), axes)


@public
def inconsistency(
    X: Any, transform: STFT | None = None, *, length: int | None = None, axes: tuple[int, int] = LAST_TWO
) -> Any:
    """How far `X` is from the spectrum of any signal: norm(X - project(X)) / norm(X), from 0 to 1.

    In the norm of `project`. A spectrum of zeros is consistent.

    Parameters
    ----------
    X : complex array (..., n_bins, n_frames)
        Spectrum of any library and device.
    transform : STFT, optional
        That whose spectrum X is, of one or two sides; default STFT(2 * (n_bins - 1)).
    length : int, optional
        Samples of the signal; default those that belong to the frames.
    axes : (int, int)
        The axes of X that hold bins and frames.

    Returns
    -------
    real array (...)
        One number for each item.

    Raises
    ------
    ValueError, TypeError
        As `project`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> X = xi.stft(np.random.default_rng(0).standard_normal(3000), 256)
    >>> bool(xi.inconsistency(X, length=3000) < 1e-14), bool(xi.inconsistency(abs(X) + 0j) > 0.5)
    (True, True)
    """
    X = spectra("inconsistency", X, axes)
    transform = read_transform("inconsistency", "X", X, transform)
    X = to_even(transform, X)
    pair = _Pair.of("inconsistency", "X", X, even_transform(transform), length, None, max_gain=None)
    weight = None
    if pair.transform.bins is None and pair.transform.onesided:
        weight = required_backend(X).along(bin_multiplicity(pair.transform.n_fft), X, -2, PRECISION[dtype_name(X)])
    return quotient(norm(X - pair.project(X), weight), norm(X, weight), namespace(X))


@public
def spectral_convergence(S: Any, X: Any, *, axes: tuple[int, int] = LAST_TWO) -> Any:
    """Distance of the magnitudes of `X` from `S`, relative to S: norm(abs(X) - S) / norm(S).

    In decibels 20 log10 of it. Lower is better; where S is 0 throughout, so is the result if X is.

    Parameters
    ----------
    S : real array (..., n_bins, n_frames)
        Magnitudes.
    X : complex or real array (..., n_bins, n_frames)
        Spectrum, or its magnitudes, of the same library.
    axes : (int, int)
        The axes that hold bins and frames.

    Returns
    -------
    real array (...)
        One number for each item.

    Raises
    ------
    ValueError, TypeError
        Unless both are arrays of one library and shape, S real.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> float(xi.spectral_convergence(np.array([[3.0, 4.0]]), np.array([[3.0j, -4.5]])))
    0.1
    """
    S, _ = magnitudes("spectral_convergence", "S", S, axes)
    backend, X = arrays.read("spectral_convergence", "X", X)
    if backend is not required_backend(S):
        library = f"an array of the library of S ({type(S).__name__})"
        raise error(TypeError, "spectral_convergence", "X", library, type(X).__name__)
    if dtype_name(X) not in (*REAL, *COMPLEX, *HALVES):
        raise error(TypeError, "spectral_convergence", "X", "a floating dtype, real or complex", X.dtype)
    X = rank_two("spectral_convergence", "X", X, axes)
    if tuple(X.shape) != tuple(S.shape):
        raise error(ValueError, "spectral_convergence", "X", f"shape {tuple(S.shape)}", f"{tuple(X.shape)}")
    return convergence(S, X, LAST_TWO)


# ---- a transform and its inverse, between two iterations


class _Watch(NamedTuple):
    """Who wants to know how near an iteration has come."""

    tol: float | None
    callback: Callable[[int, float], Any] | None

    def of_a_run(self) -> Callable[[float], bool] | None:
        """watch(convergence) after each iteration of one call: whether the stage ends; None where nobody asks."""
        if self.tol is None and self.callback is None:
            return None
        seen: list[float] = []

        def watch(convergence: float) -> bool:
            seen.append(convergence)
            if self.callback is not None:
                self.callback(len(seen), convergence)
            return self.tol is not None and len(seen) > 1 and abs(seen[-2] - convergence) <= self.tol

        return watch


class _Pair(NamedTuple):
    """A transform and its inverse about the magnitudes or the spectrum at hand."""

    transform: STFT  # between two iterations: samples that no window reaches make no difference to a spectrum
    final: STFT  # for the signal at the end
    n_frames: int
    inner: int | None  # samples of the signal between two iterations; None: those that belong to the frames
    workers: int | None
    function: str  # that was called

    @classmethod
    def of(
        cls, function: str, name: str, array: Any, transform: Any, length: Any, workers: Any,
        max_gain: float | None = MAX_GAIN,
    ) -> _Pair:  # fmt: skip
        transform = read_transform(function, name, array, transform)
        n_frames, length = array.shape[-1], read_length(function, length)
        inner = length if length is not None and transform.n_frames(length) == n_frames else None
        if workers is not None:
            workers = integer(function, "workers", workers, 1)
        bound = max_gain if transform.max_gain is None else transform.max_gain
        within, final = transform.judged("zero", bound), transform.judged(transform.nola, bound)
        return cls(within, final, n_frames, inner, workers, function)

    def jobs(self, like: Any) -> tuple[Any, Any] | None:
        """The inverse and what analyses its signal; None where the inverse is no single job."""
        if not self.transform.closed:
            return None
        job = self.transform.synthesis(self.function, self.n_frames, self.inner, like).job
        return job, self.transform.analysis(self.function, job.frames.n_samples, like)

    def project(self, X: Any) -> Any:
        """P_C."""
        signal = inverse(X, self.transform, self.inner, LAST_TWO, None, self.workers, self.function)
        return forward(signal, self.transform, -1, LAST_TWO, None, self.workers, self.function)

    def inverse(self, magnitude: Any, length: int | None) -> Callable[[Any], Any]:
        """The inverse at the end, judged."""
        _, warning = self.final.synthesis(self.function, self.n_frames, length, magnitude)
        if warning is not None:
            warn(warning, CoverageWarning)
        quiet = self.final if warning is None else self.final.judged("zero", self.final.max_gain)
        return lambda X: inverse(X, quiet, length, LAST_TWO, None, self.workers, self.function)


# ---- amplitudes, whose bins count twice but for DC and Nyquist, are retrieved in scaling="spectrum", which treats all
#      bins alike: there neighbouring bins can be compared, and what is nearest is nearest for signals


def even_transform(transform: STFT) -> STFT:
    """The transform, in scaling="spectrum" if it is one of amplitudes."""
    return replace(transform, scaling="spectrum") if transform.amplitudes else transform


def to_even(transform: STFT, array: Any) -> Any:
    """Magnitudes or a spectrum of `transform`, as `even_transform` has them."""
    return _times_bins(array, 1 / bin_multiplicity(transform.n_fft)) if transform.amplitudes else array


def _from_even(transform: STFT, spectrum: Any) -> Any:
    return _times_bins(spectrum, bin_multiplicity(transform.n_fft)) if transform.amplitudes else spectrum


def _times_bins(array: Any, factors: np.ndarray) -> Any:
    backend = required_backend(array)
    return backend.product(array, backend.along(factors, array, -2, PRECISION[dtype_name(array)]))


def retrieved_from(start: Any, magnitude: Any, transform: STFT, length: Any, stages: Any) -> Any:
    """The signal that the stages come to from a spectrum `start`, which need not have these magnitudes."""
    pair = _Pair.of("griffin_lim", "S", magnitude, transform, length, None)
    check_magnitudes_at_hand("griffin_lim", "S", magnitude)
    inverse = pair.inverse(magnitude, read_length("griffin_lim", length))
    return inverse(_retrieved(magnitude, start, pair, stages, None))


def _retrieved(magnitude: Any, start: Any, pair: _Pair, stages: Any, watch: Any) -> Any:
    """The spectrum with these magnitudes that the stages come to from `start`."""
    jobs = pair.jobs(magnitude)
    if jobs is None:
        return iterate(start, magnitude, pair.project, stages, watch)
    return required_backend(magnitude).retrieve(start, magnitude, *jobs, stages, watch, pair.workers)


# ---- the start


def _start(function: str, magnitude: Any, init: Any, generator: Any, pair: _Pair, axes: tuple[int, int]) -> Any:
    """The spectrum of these magnitudes with which the iterations begin."""
    backend = required_backend(magnitude)
    xp = namespace(magnitude)
    if not isinstance(init, str):
        return _start_of_array(function, magnitude, init, pair, axes)
    if init == "pghi" and pair.transform.bins is None:
        return _integrated(function, magnitude, pair.transform, 1e-4, generator, pair.workers)
    if init == "zero":
        return backend.as_complex(magnitude, xp.zeros_like(magnitude))
    generator = np.random.default_rng() if generator is None else generator
    phase = generator.random(tuple(magnitude.shape), np.float32)
    phase *= np.float32(2 * np.pi)
    return _turned(magnitude, [np.cos(phase), np.sin(phase)], backend, xp)


def _start_of_array(function: str, magnitude: Any, init: Any, pair: _Pair, axes: tuple[int, int]) -> Any:
    backend, init = arrays.read(function, "init", init)
    xp = namespace(magnitude)
    if backend is not required_backend(magnitude):
        need = f"an array of the library of S ({type(magnitude).__name__})"
        raise error(TypeError, function, "init", need, type(init).__name__)
    dtype = dtype_name(init)
    if dtype not in (*REAL, *COMPLEX):
        raise error(TypeError, function, "init", "dtype float32, float64, complex64 or complex128", init.dtype)
    kind = SPECTRUM[dtype_name(magnitude)]
    taken = REAL if pair.transform.onesided else (*REAL, *COMPLEX)
    if dtype in taken and len(init.shape) == len(magnitude.shape) - 1:
        signal = xp.astype(init, magnitude.dtype if dtype in REAL else getattr(xp, kind))
        spectrum = _analysed(function, signal, pair, tuple(magnitude.shape))
        return Functional(xp).onto(magnitude, spectrum)
    if len(init.shape) == len(magnitude.shape):
        init = moved(function, "axes", init, axes, LAST_TWO)
    if tuple(init.shape) != tuple(magnitude.shape):
        need = f"shape {tuple(magnitude.shape)}, or a signal with one axis less"
        raise error(ValueError, function, "init", need, f"{tuple(init.shape)}")
    if dtype in COMPLEX:
        return Functional(xp).onto(magnitude, xp.astype(init, getattr(xp, kind)))
    phase = xp.astype(init, magnitude.dtype)
    return backend.as_complex(magnitude * xp.cos(phase), magnitude * xp.sin(phase))


def _turned(magnitude: Any, parts: list[np.ndarray], backend: Any, xp: Any) -> Any:
    """Magnitudes times a unit spectrum, whose real and imaginary parts lie on the host."""
    place, kind = device(magnitude), dtype_name(magnitude)
    return backend.as_complex(*(magnitude * xp.asarray(part.astype(kind), device=place) for part in parts))


def _analysed(function: str, signal: Any, pair: _Pair, shape: tuple[int, ...]) -> Any:
    """The spectrum of a start signal, which must have the shape of the magnitudes."""
    transform = pair.transform
    due = transform.n_samples(shape[-1]) if pair.inner is None else pair.inner
    if tuple(signal.shape[:-1]) != shape[:-2] or transform.n_frames(signal.shape[-1]) != shape[-1]:
        need = f"a signal of {shape[-1]} frames (shape {(*shape[:-2], due)})"
        raise error(ValueError, function, "init", need, f"shape {tuple(signal.shape)}")
    return forward(signal, transform, -1, LAST_TWO, None, pair.workers, function)


def _integrated(function: str, magnitude: Any, transform: STFT, tol: float, generator: Any, workers: Any = None) -> Any:
    """`pghi` of magnitudes (..., n_bins, n_frames)."""
    backend = required_backend(magnitude)
    generator = np.random.default_rng(0) if generator is None else generator
    seed = int(generator.integers(1 << 62))  # one for all: an item does not depend on the others
    gradient = Gradient.of(transform.hop_length, transform.samples(), transform.onesided)
    try:
        return backend.on_host(magnitude, partial(_integrated_items, function, gradient, tol, seed, workers))
    except (TypeError, RuntimeError) as cause:
        hint = f"under a transformation (jit, grad, vmap) make the start outside of it ({type(cause).__name__})"
        name = "S" if function == "pghi" else "init"
        got = type(magnitude).__name__
        raise error(ValueError, function, name, "values, not a trace, for PGHI", got, hint) from cause


def _integrated_items(
    function: str, gradient: Gradient, tol: float, seed: int, workers: int | None, magnitude: np.ndarray
) -> np.ndarray:
    """Spectra of magnitudes (..., n_bins, n_frames), frame after frame in memory."""
    check_magnitudes(function, "S", magnitude)
    return integrated(magnitude, gradient, tol, seed, workers)


def read_rng(function: str, rng: Any) -> np.random.Generator | None:
    if rng is None:
        return None
    if isinstance(rng, np.random.Generator):
        return rng
    try:
        return np.random.default_rng(integer(function, "rng", rng, 0))
    except (TypeError, ValueError) as cause:
        need = "None, an integer >= 0 or a numpy.random.Generator"
        raise error(type(cause), function, "rng", need, shown(rng)) from cause
