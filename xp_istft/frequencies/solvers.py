"""The solvers of the inverse for bins that are no DFT, as values, and what they find.

`Dual` solves the normal equations by conjugate gradients, with implicit derivatives, the regulariser included, at the
cost of one more solution. `PerFrame` and `Adjoint` take one pass. How TOLERANCE was chosen: docs/frequencies.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..arguments import choice, error, hinted, integer, number, warn
from ..backends import backend_for, device, namespace, required_backend
from ..jobs import Analysis, Synthesis
from ..windows import overlap, real_values
from .bases import basis_for
from .grids import Frequencies
from .normal_equations import NormalEquations, frame_inverse

TOLERANCE = {"float64": 1e-6, "float32": 3e-6}


class RedundancyWarning(UserWarning):
    """The bins lie too far apart for the hop: what lies between them is lost."""


class ConvergenceWarning(UserWarning):
    """The iterations ended before the residual was as small as asked for."""


# ---- the solvers as values


@dataclass(frozen=True, eq=False)
class Solver:
    """What the solvers have in common: read and checked when made, compared and hashed by content."""

    weights: Any = "density"

    def __post_init__(self) -> None:
        self._set("weights", _read_weights(type(self).__name__, self.weights))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @cached_property
    def _content(self) -> tuple[Any, ...]:  # looked at in every small call
        values = [getattr(self, each.name) for each in fields(self)]
        return type(self), *(value.tobytes() if isinstance(value, np.ndarray) else value for value in values)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Solver) and self._content == other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def closed(self) -> bool:
        """Whether its solution for the bins of the DFT is the closed form."""
        return False

    def check(self, function: str, transform: Any) -> None:
        """An error of `function` if it cannot invert this transform."""
        if not isinstance(self.weights, str) and self.weights.size != transform.n_bins:
            raise error(ValueError, function, "solver", f"{transform.n_bins} weights, one a bin", self.weights.size)


@dataclass(frozen=True, eq=False)
class Dual(Solver):
    """Least squares for the whole signal, regularised, by conjugate gradients: docs/frequencies.md has the equations.

    A value: compared and hashed by content.

    Parameters
    ----------
    weights : "density", "uniform" or real array (n_bins,)
        What each bin counts in the least squares: by default the width of the band that it stands for; the bins of a
        basis count alike.
    regularization : "band" or float
        Frequencies that the bins do not determine are damped, by 0.1 of what the bins determine best, or by this
        number; 0 leaves plain least squares, which amplifies noise.
    tol : float, optional
        Residual of the normal equations, relative, at which the iterations end; default 1e-6, of float32 3e-6.
    maxiter : int
        The most iterations; a `ConvergenceWarning` says that they did not reach `tol` (unless the call is traced).

    Raises
    ------
    ValueError, TypeError
        A parameter has a wrong value, or is of a wrong kind; the text names it, what was needed and what came.

    Examples
    --------
    >>> import xp_istft as xi
    >>> F = xi.log_frequencies(400, 100, 3900, sr=8000)
    >>> t = xi.STFT(512, frequencies=F, solver=xi.Dual(tol=1e-9, maxiter=200))
    >>> t.solver == xi.Dual(tol=1e-9, maxiter=200), t.solver
    (True, Dual(weights='density', regularization='band', tol=1e-09, maxiter=200))
    """

    regularization: str | float = "band"
    tol: float | None = None
    maxiter: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.regularization, str):
            self._set("regularization", choice("Dual", "regularization", self.regularization, ("band",)))
        else:
            self._set("regularization", number("Dual", "regularization", self.regularization, 0))
        if self.tol is not None:
            self._set("tol", number("Dual", "tol", self.tol, 0))
        self._set("maxiter", integer("Dual", "maxiter", self.maxiter, 1))

    @property
    def closed(self) -> bool:
        """With density weights, which are those of the inverse DFT; its bins determine all frequencies alike, so that
        nothing is damped.
        """
        return isinstance(self.weights, str) and self.weights == "density"

    @property
    def damping(self) -> float | None:
        """Of what the bins determine best; None: that of "band"."""
        return None if isinstance(self.regularization, str) else self.regularization


@dataclass(frozen=True, eq=False)
class PerFrame(Solver):
    """Least squares for each frame alone, by the inverse of its Gram matrix: one product with a matrix.

    For bins that are dense on all of [0, sr / 2]; others are refused where a signal is asked for. A value, as `Dual`.

    Parameters
    ----------
    weights : "density", "uniform" or real array (n_bins,)
        As in `Dual`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> t = xi.STFT(64, frequencies=xi.linear_frequencies(80, 0, 4000, sr=8000), solver=xi.PerFrame())
    >>> x = np.random.default_rng(0).standard_normal(800)
    >>> bool(np.allclose(t.istft(t.stft(x), length=800), x))
    True
    """

    def check(self, function: str, transform: Any) -> None:
        super().check(function, transform)
        if transform.basis is not None:
            need = "Dual or Adjoint with a basis that is followed or on a device"
            raise error(ValueError, function, "solver", need, "PerFrame")


@dataclass(frozen=True, eq=False)
class Adjoint(Solver):
    """A' C X over the overlap of the windows, in one pass: a preview, linear, with a cheap gradient.

    A value, as `Dual`.

    Parameters
    ----------
    weights : "density", "uniform" or real array (n_bins,)
        As in `Dual`.
    """


for _class in (Dual, PerFrame, Adjoint):
    _class.__init__ = hinted(_class.__init__)  # type: ignore[method-assign]


def _read_weights(function: str, weights: Any) -> Any:
    """A name, or read-only float64 (n_bins,)."""
    if isinstance(weights, str):
        return choice(function, "weights", weights, ("density", "uniform"))
    need, backend = "'density', 'uniform' or numbers (n_bins,)", backend_for(weights)
    if backend is not None and backend.follows(weights):
        raise error(TypeError, function, "weights", f"{need} that no derivative follows", type(weights).__name__)
    samples = real_values(function, "weights", weights, need).astype(np.float64)
    if samples.ndim != 1 or not samples.size:
        raise error(ValueError, function, "weights", "shape (n_bins,)", f"shape {samples.shape}")
    if not (np.isfinite(samples).all() and (samples >= 0).all() and samples.any()):
        raise error(ValueError, function, "weights", "finite numbers >= 0, not all 0", f"{samples.min():g} among them")
    samples.flags.writeable = False
    return samples


# ---- what is found


class Solution(NamedTuple):
    """A signal, and how it came about.

    Parameters
    ----------
    signal : real array (..., n_samples)
        Like the next four an array of the spectrum's library.
    iterations : int array (...)
        Of conjugate gradients, for each signal.
    converged : bool array (...)
        Whether normal_residual came down to `tol`.
    normal_residual : real array (...)
        As the iterations followed it: norm(b - (A' C A + R) x) / norm(b), with b = A' C X.
    data_residual : real array (...)
        What no signal explains: norm(X - A x) / norm(X), in the norm weighted by C; 0 for the spectrum of a signal that
        the bins can hold, the inconsistency of a modified one.
    ritz : float64 NumPy array (..., 2)
        The least and the largest eigenvalue of the preconditioned system that the iterations met; the error within
        `bands`, relative to the signal, is about data_residual / sqrt(0.1 least).
    bands : tuple of (float, float)
        Where the symbol is a tenth of its peak or more, in Hz; for a basis in cycles per sample.
    redundancy : float
        That of `Frequencies` for this hop; nan for a basis.
    """

    signal: Any
    iterations: Any
    converged: Any
    normal_residual: Any
    data_residual: Any
    ritz: np.ndarray
    bands: tuple[tuple[float, float], ...]
    redundancy: float


class Outcome(NamedTuple):
    """A signal (..., n_samples), whether iterations ended too early (None: not known), and all of it, if asked for."""

    signal: Any
    unfinished: Any
    solution: Solution | None


def warn_of_gaps(function: str, transform: Any) -> None:
    """RedundancyWarning where bins lie too far apart for the hop."""
    bins, hop = transform.bins, transform.hop_length
    if not isinstance(bins, Frequencies) or bins.redundancy(hop) >= 1:
        return
    gap, redundancy = float(np.diff(bins.hz).max()), bins.redundancy(hop)
    text = (
        f"{function}: frequencies: bins up to {gap:.4g} Hz apart hold {redundancy:.2f} numbers for each that "
        f"hop_length={hop} asks for, so what lies between them is lost; need hop_length <= {int(bins.sr / gap)} or "
        f"about {int(np.ceil(len(bins) / redundancy))} bins"
    )
    warn(text, RedundancyWarning)


def warn_of_unfinished(function: str, unfinished: Any, solver: Solver) -> None:
    """ConvergenceWarning where iterations ended above the tolerance."""
    if unfinished is not None and bool(namespace(unfinished).any(unfinished)):
        assert isinstance(solver, Dual)
        text = f"{function}: solver: the residual is above tol after {solver.maxiter} iterations; see STFT.solve"
        warn(text, ConvergenceWarning)


# ---- the two maps


def analysis(x: Any, job: Analysis, transform: Any) -> Any:
    """A: the spectrum (..., n_bins, n_frames) of a real signal at the bins of a transform."""
    basis = basis_for(transform.bins, transform.basis, transform.n_fft, x)
    return basis.spectrum(required_backend(x).frame(x, job))


def check_basis(function: str, transform: Any, array: Any) -> None:
    """A basis that is followed must be of the library and device of the data."""
    if backend_for(transform.basis) is not backend_for(array):
        need = f"a basis of NumPy or of the library of the data ({type(array).__module__})"
        raise error(TypeError, function, "frequencies", need, type(transform.basis).__qualname__)
    ours, theirs = device(array), device(transform.basis)
    if ours is not None and theirs is not None and ours != theirs:
        raise error(ValueError, function, "frequencies", f"the device of the data ({ours})", theirs)


def inverse(
    X: Any,
    transform: Any,
    job: Synthesis,
    pad_mode: str | None,
    workers: int | None,
    callback: Callable[[int, float], object] | None = None,
    report: bool = False,
) -> Outcome:
    """The signal of a spectrum (..., n_bins, n_frames), by the solver of the transform.

    job      : the synthesis of the closed form: windows, gain, place of the signal
    pad_mode : what the padding of the analysis was, where it is known and the signal has its length
    """
    solver, problem = transform.solver, job
    if not isinstance(solver, Dual):  # every frame alone: what one needs, any number of them needs
        frame = replace(job.frames, n_frames=1, start=0, stop=job.frames.n_fft)
        problem, pad_mode = replace(job, frames=frame), None
    equations = NormalEquations(X, transform, problem, pad_mode, workers)
    segments = equations.basis.adjoint(X, equations.weights)
    if not isinstance(solver, Dual):
        if isinstance(solver, PerFrame):
            segments = equations.place(frame_inverse(equations.setup)) @ segments
        return Outcome(equations.backend.overlap_add(segments, job), None, None)
    iterations, terms = Iterations(equations, solver, callback), equations.terms
    parameters = (terms.gram, terms.axis_root, terms.damping, equations.window)
    unknown = equations.backend.linear_solve(
        equations.operator, iterations.solve, iterations.loop, equations.right(segments), parameters
    )
    last, signal = iterations.last, equations.signal(unknown)
    limit = _limit(job, equations)
    if limit is not None:
        signal = equations.scaled(signal, limit)
    if last is None:
        if report:
            raise error(ValueError, "solve", "X", "an array whose values are at hand", "one under a tracer")
        return Outcome(signal, None, None)
    solution = iterations.solution(signal, unknown) if report else None
    return Outcome(signal, (last.residual > last.goal)[..., 0], solution)


def _limit(job: Synthesis, equations: NormalEquations) -> Any:
    """What max_gain leaves of each sample: gain times overlap, less than 1 where it takes hold."""
    frames, xp = job.frames, equations.xp
    if job.gain is None or (job.followed and equations.transform.max_gain is None):
        return None
    window = equations.window if job.followed else equations.setup.window
    envelope = overlap(window**2, frames).samples(frames.start, frames.stop)
    if job.followed:
        return xp.astype(job.signal_gain(), envelope.dtype) * envelope
    limit = job.signal_gain() * envelope
    return None if np.abs(limit - 1).max() < 1e-9 else equations.place(limit)


class State(NamedTuple):
    """Of conjugate gradients, for each signal: all but x, r, p of shape (..., 1).

    residual and right are the squared norms of r and of the right-hand side, goal is what residual should come down to
    """

    x: Any
    r: Any
    p: Any
    product: Any
    residual: Any
    going: Any
    count: Any
    alpha: Any
    beta: Any
    goal: Any
    right: Any


def conjugate_gradients(
    operator: Callable[[Any], Any], precondition: Callable[[Any], Any], right: Any, tol: float, maxiter: int
) -> tuple[Callable[[State], State], State]:
    """One iteration, and the state before the first (Hestenes & Stiefel 1952).

    Every signal has scalars of its own and stands still once it has converged, so that it has the same bits in any
    batch. The signal of a right-hand side that is not finite is NaN.
    """
    xp = namespace(right)

    def inner(a: Any, b: Any) -> Any:
        return xp.sum(a * b, axis=-1, keepdims=True)

    def advance(state: State) -> State:
        z = precondition(state.r)
        product = inner(state.r, z)
        beta = xp.where(state.product > 0, product / xp.where(state.product > 0, state.product, one), zero)
        p = z + beta * state.p
        q = operator(p)
        bend = inner(p, q)
        going = state.going & (bend > 0)
        alpha = xp.where(going, product / xp.where(going, bend, one), zero)
        x, r = state.x + alpha * p, state.r - alpha * q
        residual = xp.where(going, inner(r, r), state.residual)
        count = state.count + xp.astype(going, right.dtype)
        still = going & (residual > state.goal) & (count < maxiter)
        return State(x, r, p, product, residual, still, count, alpha, beta, state.goal, state.right)

    size = inner(right, right)
    zero, one = xp.zeros_like(size), xp.ones_like(size)
    goal = tol**2 * size
    x = xp.where(size < float("inf"), xp.zeros_like(right), xp.full_like(right, float("nan")))
    return advance, State(x, right, xp.zeros_like(right), zero, size, size > goal, zero, zero, zero, goal, size)


class Iterations:
    """The iterations of one problem, and what is known of them afterwards.

    last         : the last state, without its vectors; None where the loop is traced
    coefficients : (alpha, beta) of each iteration
    """

    def __init__(
        self, equations: NormalEquations, solver: Dual, callback: Callable[[int, float], object] | None
    ) -> None:
        self.equations, self.solver, self.callback = equations, solver, callback
        self.half = equations.terms.known / equations.terms.root
        self.tol = TOLERANCE[equations.setup.precision] if solver.tol is None else solver.tol
        self.last: State | None = None
        self.coefficients: list[tuple[Any, Any]] = []

    def solve(self, right: Any, loop: Callable[..., State], *parameters: Any) -> Any:
        """The x with operator(x, *parameters) = right; `loop` is `self.loop`, or a tracer's."""
        equations, xp = self.equations, self.equations.xp
        peak = xp.max(xp.abs(right), axis=-1, keepdims=True)  # squares of tiny or huge numbers would be lost
        peak = xp.where(peak == 0, xp.ones_like(peak), peak)

        right = equations.scaled(right, equations.terms.known) / peak
        advance, state = conjugate_gradients(
            lambda v: equations.operator(v, *parameters), self.precondition, right, self.tol, self.solver.maxiter
        )
        return loop(lambda state: xp.any(state.going), advance, state).x * peak

    def precondition(self, v: Any) -> Any:
        scaled = self.equations.scaled
        return scaled(self.equations.filtered(scaled(v, self.half), self.equations.terms.preconditioner), self.half)

    def loop(self, unfinished: Callable[[State], Any], advance: Callable[[State], State], state: State) -> State:
        """The one place where the host waits for a value of the arrays'."""
        self.coefficients = []
        while bool(unfinished(state)):
            state = advance(state)
            self.coefficients.append((state.alpha, state.beta))
            if self.callback is not None:
                self.callback(int(self.equations.xp.max(state.count)), float(self.equations.xp.max(_residual(state))))
        self.last = state._replace(x=None, r=None, p=None)
        return state

    def solution(self, signal: Any, unknown: Any) -> Solution:
        equations, last, xp = self.equations, self.last, self.equations.xp
        assert last is not None

        def norm(X: Any) -> Any:
            power = xp.real(X) ** 2 + xp.imag(X) ** 2
            return xp.sqrt(xp.sum(equations.scaled(power, equations.weights, -2), axis=(-2, -1)))

        left, size = norm(equations.X - equations.spectrum(unknown)), norm(equations.X)
        return Solution(
            signal,
            xp.astype(last.count[..., 0], xp.int32),
            (last.residual <= last.goal)[..., 0],
            _residual(last)[..., 0],
            left / xp.where(size > 0, size, xp.ones_like(size)),
            self._ritz(size.shape),
            equations.bands,
            equations.setup.bins.redundancy(equations.transform.hop_length),
        )

    def _ritz(self, shape: tuple[int, ...]) -> np.ndarray:
        """The extreme eigenvalues of the tridiagonal matrices of the iterations, (*shape, 2); NaN without any."""
        ends, to_host = np.full((*shape, 2), np.nan), self.equations.backend.to_host
        alphas, betas = ([to_host(each[i])[..., 0] for each in self.coefficients] for i in (0, 1))
        for at in np.ndindex(*shape):
            alpha, beta = (np.array([float(each[at]) for each in many]) for many in (alphas, betas))
            alpha = alpha[alpha > 0]
            if alpha.size:
                beta = beta[1 : alpha.size]
                diagonal = 1 / alpha
                diagonal[1:] += beta / alpha[:-1]
                matrix = np.diag(diagonal) + np.diag(np.sqrt(beta) / alpha[:-1], 1)
                ends[at] = np.linalg.eigvalsh(matrix, UPLO="U")[[0, -1]]
        return ends


def _residual(state: State) -> Any:
    """The relative residual of each signal."""
    xp = namespace(state.right)
    return xp.sqrt(state.residual / xp.where(state.right > 0, state.right, xp.ones_like(state.right)))
