"""Signals of magnitudes: Griffin-Lim and what converges further, PGHI as the start, and the consistency of spectra.

Two sets of spectra: those with the given magnitudes, and the consistent ones, which are the stft of some signal. Of a
spectrum X the nearest of each is

    P_A X = S X / abs(X)            (0 where X is)
    P_C X = stft(istft(X))

and every algorithm makes one P_C in each iteration, of its proposal c:

    gla    z = P_C c    c = P_A z                                           Griffin & Lim, 1984
    fgla   z = P_C c    c = P_A(z - a z'),  a = momentum / (1 + momentum)   Perraudin, Balazs & Sondergaard, 2013
    raar   z = P_C c    q = (c + q') / 2 + b (z - c),  c = 2 P_A q - q      Luke, 2005, with b = 0.9
    admm   z = P_C c    u = (r c + z) / (1 + r),  c = c - u + P_A(2 u - c)  Masuyama, Yatabe & Oikawa, 2019, r = 0.1

(z', q' are those of the iteration before.) "hybrid" is admm for the first half of the iterations and fgla for the
second: the one finds a better valley, the other goes down in it faster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from . import arrays, plans, transforms
from .arguments import boolean, choice, error, integer, number
from .arrays import LAST_TWO
from .backends import opaque, required_backend
from .backends.array_api import PRECISION, dtype_name
from .backends.phase_updates import Stage
from .frames import Padding, Placement, bin_multiplicity
from .phase_integration import integrated_phase
from .plans import Layout, planned, read_padding

ALGORITHMS = ("hybrid", "fgla", "gla", "raar", "admm")
STARTS = ("pghi", "random", "zero")
_RAAR_BETA = 0.9
_ADMM_RHO = 0.1


@opaque
def griffin_lim(
    S: Any,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    center: bool = True,
    padding: Padding = None,
    pad_mode: str = "constant",
    length: int | None = None,
    scaling: str | None = None,
    n_iter: int = 32,
    algorithm: str = "hybrid",
    momentum: float = 0.99,
    init: Any = "pghi",
    rng: Any = None,
    tol: float | None = None,
    callback: Callable[[int, float], Any] | None = None,
    nola: str = "warn",
    max_gain: float | None = 10.0,
    frequencies: Any = None,
    axes: tuple[int, int] = LAST_TWO,
    workers: int | None = None,
) -> Any:
    """Signal whose short-time magnitudes are near to `S`: Griffin-Lim, or an algorithm that converges further.

    The formulas stand at the head of `xp_istft.phase_retrieval`. The default (PGHI, then ADMM, then fast Griffin-Lim)
    came nearer in 32 iterations than fast Griffin-Lim from random phases in 100 (benchmarks/phase_retrieval.py).

    Parameters
    ----------
    S : real array (..., n_bins, n_frames)
        Magnitudes, finite and not negative, of any library and device; float32 or float64 (float16 and bfloat16
        compute in float32). Values are looked at where nothing waits for it, or init="pghi" needs them: elsewhere (on
        a GPU, under a transformation, of JAX and Dask) wrong ones pass into the result.
    hop_length, win_length, n_fft, window, center, padding, scaling, frequencies, workers
        As in `istft`: those that S was made with.
    pad_mode : str
        As in `stft`.
    length : int, optional
        Samples of the result; default those that belong to the frames. Where S is of a signal of that length, the
        iterations use it.
    n_iter : int
        Iterations; 0 inverts the start.
    algorithm : "hybrid", "fgla", "gla", "raar" or "admm"
        "fgla" is librosa's and nnAudio's.
    momentum : float
        Of "fgla", and of the second half of "hybrid"; at least 0. Above 1 it may not converge.
    init : "pghi", "random", "zero" or array
        Phases at the start: those of `pghi` (made on the host: the one transfer from the device; for frequencies=
        there are none, and random ones are taken); random; 0; or an array of S's library: real of S's shape (phases
        in radians), complex of S's shape (a spectrum), or real (..., n_samples) (a signal, whose phases are taken).
    rng : None, int or numpy.random.Generator
        Of random phases; an integer makes them the same on every library. Of "pghi" the bins that are hardly audible
        are random; None makes them the same each time.
    tol : float, optional
        An iteration that changes the spectral convergence by at most this is the last one ("hybrid": of its half).
    callback : callable, optional
        Called with (iteration, convergence) after each iteration, counted from 1: the spectral convergence
        norm(abs(P_C c) - S) / norm(S) over the whole of S, as a float. This and `tol` wait for the device in each
        iteration.
    nola : "warn", "raise" or "zero"
        As in `istft`.
    max_gain : float or None
        As in `istft`, in every iteration. The spectra between belong to no signal: unbounded, what is left of the
        difference would be amplified at ends that only the flank of a window reaches (center=False).
    axes : (int, int)
        The axes of S that hold bins and frames.

    Returns
    -------
    real array (..., n_samples)
        Same library, device and dtype as S. Differentiable on torch and JAX, but for the start from "pghi".

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
    magnitude, narrow = _magnitudes(function, S, axes)
    pair = _pair(
        function, "S", magnitude, hop_length, win_length, n_fft, window, center, padding, pad_mode, length, scaling,
        frequencies, workers, max_gain,
    )  # fmt: skip
    stages = _stages(function, algorithm, n_iter, momentum)
    _check_values_at_hand(function, magnitude)
    tol = None if tol is None else number(function, "tol", tol, 0)
    if callback is not None and not callable(callback):
        raise error(TypeError, function, "callback", "a function of iteration and convergence", type(callback).__name__)
    inverse = pair.inverse(length, nola)  # judged before any work
    start = _start(function, magnitude, init, rng, pair, axes)
    spectrum = _retrieved(magnitude, start, pair, stages, _Watch(tol, callback))
    signal = inverse(spectrum)
    return signal if narrow is None else array_api_compat.array_namespace(signal).astype(signal, narrow)


@opaque
def pghi(
    S: Any,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    tol: float = 1e-4,
    rng: Any = None,
    axes: tuple[int, int] = LAST_TWO,
) -> Any:
    """Spectrum of magnitudes `S`, with phases from the gradient of log S: no iterations.

    Phase gradient heap integration (Prusa, Balazs & Sondergaard, 2017), with a maximum spanning forest in place of
    the heap. It is exact for a Gaussian window and small hops; any other window counts as the Gaussian whose square
    has the same variance. Computed on the host, whatever the device of S.

    Parameters
    ----------
    S : real array (..., n_bins, n_frames)
        Magnitudes, not negative, of the bins of the DFT.
    hop_length, win_length, n_fft, window
        As in `istft`.
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
    >>> S = abs(xi.stft(x, 512, hop_length=64))
    >>> X = xi.pghi(S, hop_length=64)
    >>> bool(np.allclose(abs(X), S)), bool(xi.inconsistency(X, hop_length=64) < 0.1)
    (True, True)
    """
    magnitude, _ = _magnitudes("pghi", S, axes)
    chosen, _ = _layout("pghi", "S", magnitude, hop_length, win_length, n_fft, window, None)
    spectrum = _integrated("pghi", magnitude, chosen, number("pghi", "tol", tol, 0), rng)
    return spectrum if axes is LAST_TWO else arrays.placed("pghi", "axes", spectrum, axes)


@opaque
def project(
    X: Any,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    center: bool = True,
    padding: Padding = None,
    pad_mode: str = "constant",
    length: int | None = None,
    scaling: str | None = None,
    frequencies: Any = None,
    axes: tuple[int, int] = LAST_TWO,
    workers: int | None = None,
) -> Any:
    """The consistent spectrum nearest to `X`: stft(istft(X)), the orthogonal projection onto the spectra of signals.

    Orthogonal in the norm that counts every bin as often as it stands for bins of the two-sided spectrum, for
    pad_mode="constant".

    Parameters
    ----------
    X : complex array (..., n_bins, n_frames)
        Spectrum of any library and device.
    hop_length, win_length, n_fft, window, center, padding, scaling, frequencies, axes, workers
        As in `istft`.
    pad_mode : str
        As in `stft`.
    length : int, optional
        Samples of the signal; default those that belong to the frames.

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
    X = _spectrum("project", X, axes)
    pair = _pair(
        "project", "X", X, hop_length, win_length, n_fft, window, center, padding, pad_mode, length, scaling,
        frequencies, workers,
    )  # fmt: skip
    nearest = pair.project(X)
    return nearest if axes is LAST_TWO else arrays.placed("project", "axes", nearest, axes)


@opaque
def inconsistency(X: Any, *, axes: tuple[int, int] = LAST_TWO, **parameters: Any) -> Any:
    """How far `X` is from the spectrum of any signal: norm(X - project(X)) / norm(X), from 0 to 1.

    In the norm of `project`. A spectrum of zeros is consistent.

    Parameters
    ----------
    X : complex array (..., n_bins, n_frames)
        Spectrum of any library and device.
    axes : (int, int)
        The axes of X that hold bins and frames.
    **parameters
        As in `project`.

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
    X = _spectrum("inconsistency", X, axes)
    xp = array_api_compat.array_namespace(X)
    away = X - project(X, **parameters)
    weight = None
    if parameters.get("frequencies") is None:
        n_fft = _n_fft(X, parameters.get("n_fft"), parameters.get("window", "hann"), parameters.get("win_length"))
        counts = bin_multiplicity(n_fft)[:, None].astype(PRECISION[dtype_name(X)])
        weight = xp.asarray(counts, device=array_api_compat.device(X))
    return _quotient(_norm(away, xp, weight), _norm(X, xp, weight), xp)


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
    S, _ = _magnitudes("spectral_convergence", S, axes)
    backend, X = arrays.read("spectral_convergence", "X", X)
    if backend is not required_backend(S):
        library = f"an array of the library of S ({type(S).__name__})"
        raise error(TypeError, "spectral_convergence", "X", library, type(X).__name__)
    X = arrays.moved("spectral_convergence", "axes", X, axes, LAST_TWO)
    if tuple(X.shape) != tuple(S.shape):
        raise error(ValueError, "spectral_convergence", "X", f"shape {tuple(S.shape)}", f"{tuple(X.shape)}")
    return _convergence(S, X, array_api_compat.array_namespace(S, X), LAST_TWO)


# ---- the iterations


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


def _stages(function: str, algorithm: Any, n_iter: Any, momentum: Any) -> list[Stage]:
    choice(function, "algorithm", algorithm, ALGORITHMS)
    n_iter = integer(function, "n_iter", n_iter, 0)
    momentum = number(function, "momentum", momentum, 0)
    ahead = momentum / (1 + momentum)
    if algorithm == "hybrid":
        first = n_iter // 2
        return [Stage("admm", _ADMM_RHO, first), Stage("fgla", ahead, n_iter - first)]
    weight = {"gla": 0.0, "fgla": ahead, "raar": _RAAR_BETA, "admm": _ADMM_RHO}[algorithm]
    return [Stage(algorithm, weight, n_iter)]


def _retrieved(magnitude: Any, start: Any, pair: _Pair, stages: list[Stage], watch: _Watch) -> Any:
    """The spectrum with these magnitudes that the stages come to from `start`."""
    backend: Any = required_backend(magnitude)
    if pair.jobs is not None and hasattr(backend, "retrieve"):
        spectrum = backend.retrieve(start, magnitude, *pair.jobs, stages, watch.of_a_run(), workers=pair.workers)
        if spectrum is not None:
            return spectrum
    return _iterated(magnitude, start, pair.project, stages, watch.of_a_run())


def _iterated(
    magnitude: Any,
    start: Any,
    project: Callable[[Any], Any],
    stages: list[Stage],
    watch: Callable[[float], bool] | None,
) -> Any:
    """The definition: the algorithms on whole arrays of any library."""
    xp = array_api_compat.array_namespace(magnitude, start)
    for algorithm, weight, n_iter in stages:
        proposal, memory = start, None
        for _ in range(n_iter):
            nearest = project(proposal)
            if algorithm == "gla":
                proposal = start = _onto(magnitude, nearest, xp)
            elif algorithm == "fgla":
                ahead = nearest if memory is None else nearest - weight * memory
                proposal = start = _onto(magnitude, ahead, xp)
                memory = nearest
            elif algorithm == "raar":
                memory = 0.5 * (proposal + (start if memory is None else memory)) + weight * (nearest - proposal)
                start = _onto(magnitude, memory, xp)
                proposal = 2 * start - memory
            else:
                near = (weight * proposal + nearest) / (1 + weight)
                start = _onto(magnitude, 2 * near - proposal, xp)
                proposal = start + proposal - near
            if watch is not None and watch(_float(_convergence(magnitude, nearest, xp, None))):
                break
    return start


def _float(convergence: Any) -> float:
    try:
        return float(convergence)
    except (TypeError, RuntimeError) as cause:
        need = "None under a transformation (jit, grad, vmap): both need values"
        raise error(ValueError, "griffin_lim", "tol or callback", need, type(convergence).__name__) from cause


def _onto(magnitude: Any, spectrum: Any, xp: Any) -> Any:
    """P_A, with gradients that are finite where the spectrum is 0."""
    silent = spectrum == 0
    sure = xp.where(silent, xp.ones_like(spectrum), spectrum)
    return xp.where(silent, xp.zeros_like(spectrum), sure * (magnitude / xp.abs(sure)))


def _convergence(magnitude: Any, spectrum: Any, xp: Any, axis: tuple[int, int] | None) -> Any:
    return _quotient(_norm(xp.abs(spectrum) - magnitude, xp, axis=axis), _norm(magnitude, xp, axis=axis), xp)


def _norm(array: Any, xp: Any, weight: Any = None, axis: tuple[int, int] | None = LAST_TWO) -> Any:
    square = xp.abs(array) ** 2
    return xp.sqrt(xp.sum(square if weight is None else square * weight, axis=axis))


def _quotient(distance: Any, size: Any, xp: Any) -> Any:
    """The first over the second, 0 / 0 being 0."""
    nothing = (distance == 0) & (size == 0)
    return distance / xp.where(nothing, xp.ones_like(size), size)


# ---- the start


def _start(function: str, magnitude: Any, init: Any, rng: Any, pair: _Pair, axes: tuple[int, int]) -> Any:
    """The spectrum of these magnitudes with which the iterations begin."""
    backend = required_backend(magnitude)
    xp = array_api_compat.array_namespace(magnitude)
    if not isinstance(init, str):
        return _start_of_array(function, magnitude, init, pair, axes)
    choice(function, "init", init, STARTS)
    if init == "pghi" and pair.frequencies is None:
        return _integrated(function, magnitude, pair.chosen, 1e-4, rng)
    if init == "zero":
        return backend.as_complex(magnitude, xp.zeros_like(magnitude))
    phase = _generator(function, rng, None).random(tuple(magnitude.shape), np.float32)
    phase *= np.float32(2 * np.pi)
    return _turned(magnitude, [np.cos(phase), np.sin(phase)], backend, xp)


def _start_of_array(function: str, magnitude: Any, init: Any, pair: _Pair, axes: tuple[int, int]) -> Any:
    backend, init = arrays.read(function, "init", init)
    xp = array_api_compat.array_namespace(magnitude)
    if backend is not required_backend(magnitude):
        need = f"an array of the library of S ({type(magnitude).__name__})"
        raise error(TypeError, function, "init", need, type(init).__name__)
    dtype = dtype_name(init)
    if dtype not in ("float32", "float64", "complex64", "complex128"):
        raise error(TypeError, function, "init", "dtype float32, float64, complex64 or complex128", init.dtype)
    if dtype.startswith("float") and len(init.shape) == len(magnitude.shape) - 1:
        signal = xp.astype(init, magnitude.dtype)
        spectrum = pair.analysed(function, signal, tuple(magnitude.shape))
        return _onto(magnitude, spectrum, xp)
    init = arrays.moved(function, "axes", init, axes, LAST_TWO)
    if tuple(init.shape) != tuple(magnitude.shape):
        need = f"shape {tuple(magnitude.shape)}, or a signal with one axis less"
        raise error(ValueError, function, "init", need, f"{tuple(init.shape)}")
    if dtype.startswith("complex"):
        kind = "complex64" if dtype_name(magnitude) == "float32" else "complex128"
        return _onto(magnitude, xp.astype(init, getattr(xp, kind)), xp)
    phase = xp.astype(init, magnitude.dtype)
    return backend.as_complex(magnitude * xp.cos(phase), magnitude * xp.sin(phase))


def _turned(magnitude: Any, parts: list[np.ndarray], backend: Any, xp: Any) -> Any:
    """Magnitudes times a unit spectrum, whose real and imaginary parts lie on the host."""
    device, kind = array_api_compat.device(magnitude), dtype_name(magnitude)
    return backend.as_complex(*(magnitude * xp.asarray(part.astype(kind), device=device) for part in parts))


def _integrated(function: str, magnitude: Any, chosen: Layout, tol: float, rng: Any) -> Any:
    """`pghi` of magnitudes (..., n_bins, n_frames)."""
    backend = required_backend(magnitude)
    seed = int(_generator(function, rng, 0).integers(1 << 62))  # one for all: an item does not depend on the others
    samples = chosen.samples(function, "window", chosen.window)
    try:
        return backend.on_host(magnitude, partial(_integrated_items, function, chosen.hop, samples, tol, seed))
    except (TypeError, RuntimeError) as cause:
        hint = f"under a transformation (jit, grad, vmap) make the start outside of it ({type(cause).__name__})"
        name = "S" if function == "pghi" else "init"
        got = type(magnitude).__name__
        raise error(ValueError, function, name, "values, not a trace, for PGHI", got, hint) from cause


def _integrated_items(
    function: str, hop: int, window: np.ndarray, tol: float, seed: int, magnitude: np.ndarray
) -> np.ndarray:
    """Spectra of magnitudes (..., n_bins, n_frames), item by item; frame after frame in memory."""
    _check_values(function, magnitude)
    kind = np.complex64 if magnitude.dtype == np.float32 else np.complex128
    spectrum = np.empty((*magnitude.shape[:-2], magnitude.shape[-1], magnitude.shape[-2]), kind)
    for item in np.ndindex(magnitude.shape[:-2]):
        sizes = np.ascontiguousarray(magnitude[item].T)
        turns = integrated_phase(sizes, hop, window, tol, np.random.default_rng(seed)) / (2 * np.pi)
        phase = (2 * np.pi * (turns - np.rint(turns))).astype(magnitude.dtype)
        np.multiply(np.cos(phase), sizes, out=spectrum[item].real)
        np.multiply(np.sin(phase), sizes, out=spectrum[item].imag)
    return spectrum.swapaxes(-1, -2)


def _check_values_at_hand(function: str, magnitude: Any) -> None:
    """Where that waits for no device: an array on one, or one that is traced, is taken as it is."""
    backend = required_backend(magnitude)
    values = backend.at_hand(magnitude) if hasattr(backend, "at_hand") else None
    if values is not None:
        _check_values(function, values)


def _check_values(function: str, magnitude: np.ndarray) -> None:
    for extreme in (magnitude.min(initial=0), magnitude.max(initial=0)):
        if not 0 <= extreme < np.inf:
            raise error(ValueError, function, "S", "finite magnitudes >= 0", extreme)


def _generator(function: str, rng: Any, default: int | None) -> np.random.Generator:
    try:
        return np.random.default_rng(default if rng is None else rng)
    except (TypeError, ValueError) as cause:
        need = "None, an integer >= 0 or a numpy.random.Generator"
        raise error(type(cause), function, "rng", need, type(rng).__name__) from cause


# ---- arguments


class _Pair(NamedTuple):
    """A transform and its inverse of one geometry, read and checked."""

    chosen: Layout
    placement: Placement
    n_frames: int
    inner: int | None  # samples of the signal between two iterations; None: those that belong to the frames
    pad_mode: str
    kept: dict[str, Any]  # parameters that both transforms share
    max_gain: float | None
    plain: bool  # whether no gradient follows the window
    precision: str

    @property
    def frequencies(self) -> Any:
        return self.kept["frequencies"]

    @property
    def workers(self) -> Any:
        return self.kept["workers"]

    @property
    def jobs(self) -> tuple[Any, Any] | None:
        """The inverse and what analyses its signal; None where only the public transforms can make them."""
        if self.frequencies is not None or not self.plain:
            return None
        inverse = self._inverse_plan(self.inner, "zero")
        placed = (self.kept["center"], self.kept["padding"])
        forward = planned(
            plans.forward, "griffin_lim", self.chosen, inverse.job.frames.n_samples, *placed, self.pad_mode, True,
            self.kept["scaling"],
        )  # fmt: skip
        return inverse.job, forward

    def _inverse_plan(self, length: int | None, nola: str) -> plans.Inverse:
        return planned(
            plans.inverse, self.chosen, self.chosen.window, self.n_frames, self.kept["center"], self.kept["padding"],
            length, True, True, self.kept["scaling"], nola, self.max_gain, self.precision,
        )  # fmt: skip

    def signal(self, X: Any, length: int | None, nola: str) -> Any:
        return transforms.istft(
            X, n_fft=self.chosen.n_fft, length=length, nola=nola, max_gain=self.max_gain, **self.kept
        )

    def project(self, X: Any) -> Any:
        """P_C. Samples that no window reaches make no difference to a spectrum."""
        signal = self.signal(X, self.inner, "zero")
        return transforms.stft(signal, self.chosen.n_fft, pad_mode=self.pad_mode, **self.kept)

    def analysed(self, function: str, signal: Any, shape: tuple[int, ...]) -> Any:
        """The spectrum of a start signal, which must have the shape of the magnitudes."""
        n_samples = signal.shape[-1]
        due = self.placement.n_samples(shape[-1]) if self.inner is None else self.inner
        if tuple(signal.shape[:-1]) != shape[:-2] or self.placement.n_frames(n_samples) != shape[-1]:
            need = f"a signal of {shape[-1]} frames (shape {(*shape[:-2], due)})"
            raise error(ValueError, function, "init", need, f"shape {tuple(signal.shape)}")
        return transforms.stft(signal, self.chosen.n_fft, pad_mode=self.pad_mode, **self.kept)

    def inverse(self, length: int | None, nola: str) -> Callable[[Any], Any]:
        """The inverse at the end; its arguments are judged here."""
        if self.frequencies is None and self.plain:
            self._inverse_plan(length, nola)
        return partial(self.signal, length=length, nola=nola)


def _pair(
    function: str,
    name: str,
    array: Any,
    hop_length: Any,
    win_length: Any,
    n_fft: Any,
    window: Any,
    center: Any,
    padding: Any,
    pad_mode: Any,
    length: Any,
    scaling: Any,
    frequencies: Any,
    workers: Any,
    max_gain: Any = None,
) -> _Pair:
    chosen, plain = _layout(function, name, array, hop_length, win_length, n_fft, window, frequencies)
    padding = read_padding(function, padding)
    placement = Placement.of(function, chosen.n_fft, chosen.hop, chosen.win_length, center, padding)
    pad_mode = plans.read_pad_mode(function, pad_mode)
    choice(function, "scaling", scaling, plans.SCALINGS)
    n_frames = array.shape[-1]
    if length is not None:
        length = integer(function, "length", length, 1)
    inner = length if length is not None and placement.n_frames(length) == n_frames else None
    kept = {
        "hop_length": chosen.hop,
        "win_length": chosen.win_length,
        "window": window,
        "center": boolean(function, "center", center),
        "padding": padding,
        "scaling": scaling,
        "frequencies": frequencies,
        "workers": None if workers is None else integer(function, "workers", workers, 1),
    }
    precision = PRECISION[dtype_name(array)]
    return _Pair(chosen, placement, n_frames, inner, pad_mode, kept, max_gain, plain, precision)


def _layout(
    function: str, name: str, array: Any, hop_length: Any, win_length: Any, n_fft: Any, window: Any, frequencies: Any
) -> tuple[Layout, bool]:
    """The layout, and whether its window is the one given: else a gradient or a compiler follows that."""
    n_bins, n_frames = array.shape[-2:]
    if n_fft is None and frequencies is not None:
        raise error(TypeError, function, "n_fft", "an integer, with frequencies=", None)
    if n_fft is None and n_bins < 2:
        raise error(ValueError, function, name, "at least 2 bins, or n_fft=", n_bins)
    n_fft = _n_fft(array, n_fft, window, win_length)
    window, _, live = transforms.live_windows(function, required_backend(array), array, window)
    chosen = plans.layout(function, n_fft, hop_length, win_length, window, array)
    chosen.samples(function, "window", chosen.window)  # an unknown name is refused here
    due = chosen.n_fft // 2 + 1
    if frequencies is None and n_bins != due:
        hint = "are the last two axes swapped?" if n_frames == due else ""
        raise error(ValueError, function, name, f"{due} bins for n_fft={chosen.n_fft}", n_bins, hint)
    if n_frames < 1:
        raise error(ValueError, function, name, "at least 1 frame", f"shape {tuple(array.shape)}")
    return chosen, live is None


def _n_fft(array: Any, n_fft: Any, window: Any, win_length: Any) -> Any:
    """As given, or as the bins say, with a window array of as many samples to tell even from odd."""
    if n_fft is not None:
        return n_fft
    n_bins = array.shape[-2]
    shape: tuple[int, ...] = np.shape(window) if isinstance(window, list) else getattr(window, "shape", ())
    if win_length is None and len(shape) == 1 and shape[0] // 2 + 1 == n_bins:
        return int(shape[0])
    return 2 * (n_bins - 1)


def _magnitudes(function: str, S: Any, axes: Any) -> tuple[Any, Any]:
    """S (..., n_bins, n_frames) in float32 or float64, and the dtype that the result takes if that is another."""
    _, S = arrays.read(function, "S", S)
    dtype = dtype_name(S)
    if dtype not in ("float32", "float64", *_HALVES):
        hints = {"c": "pass abs(X)", "i": "scale integers to floats first", "u": "scale integers to floats first"}
        raise error(TypeError, function, "S", "dtype float32 or float64", S.dtype, hints.get(dtype[0], ""))
    S = _rank_two(function, "S", S, axes)
    if dtype not in _HALVES:
        return S, None
    xp = array_api_compat.array_namespace(S)
    return xp.astype(S, xp.float32), S.dtype


def _spectrum(function: str, X: Any, axes: Any) -> Any:
    _, X = arrays.read(function, "X", X)
    if dtype_name(X) not in ("complex64", "complex128"):
        raise error(TypeError, function, "X", "dtype complex64 or complex128", X.dtype)
    return _rank_two(function, "X", X, axes)


def _rank_two(function: str, name: str, array: Any, axes: Any) -> Any:
    if len(array.shape) < 2:
        need = "at least 2 dimensions (..., bins, frames)"
        raise error(ValueError, function, name, need, f"shape {tuple(array.shape)}")
    return arrays.moved(function, "axes", array, axes, LAST_TWO)


_HALVES = ("float16", "bfloat16")
