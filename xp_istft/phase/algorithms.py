"""The algorithms of phase retrieval, one class each, written once for every library.

Two sets of spectra: those with the given magnitudes S, and the consistent ones, which are the stft of some signal. Of a
spectrum X the nearest of each is

    P_A X = S X / abs(X)            (0 where X is)
    P_C X = stft(istft(X))

and every algorithm makes one P_C in each iteration, z = P_C c of its proposal c. From z a step makes the next proposal
and what else the algorithm remembers, by the arithmetic `do`: that of `Functional` for whole arrays of any library,
and on NumPy's blocks one that writes into the arrays given as `out` (backends/cpu/retrieval.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..arguments import error, hinted, number, positive
from ..backends import namespace, required_backend
from ..bands import Bank, matmul, raised
from ..dtypes import COMPLEX, dtype_name


@dataclass(frozen=True)
class Algorithm:
    """A phase retrieval algorithm, as a value: a subclass says what one iteration does.

    `memory` makes what it remembers before the first iteration (an array like the start, or None), `step` takes
    z = P_C(proposal) and returns the next proposal and memory, `estimate` the spectrum with the given magnitudes that
    it has come to. Each gets the arithmetic `do`: add, subtract, multiply (by a number), copy, onto (P_A), zeros; their
    `out` may be any array that is not needed any more. `compared` is what of magnitudes the convergence is measured by.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> class Averaged(xi.Algorithm):  # halfway between the proposal and Griffin-Lim's next one
    ...     def step(self, z, magnitude, proposal, memory, do):
    ...         middle = do.multiply(do.add(z, proposal), 0.5)
    ...         return do.onto(magnitude, middle), memory
    >>> S = abs(xi.stft(np.sin(np.arange(4000) ** 1.5 / 300), 256))
    >>> xi.griffin_lim(S, algorithm=Averaged(), n_iter=4, length=4000).shape
    (4000,)
    """

    def stages(self, n_iter: int) -> list[tuple[Algorithm, int]]:
        """The algorithms that `n_iter` iterations take one after the other, with the iterations of each."""
        return [(self, n_iter)]

    def memory(self, start: Any, do: Any) -> Any:
        """What is remembered before the first iteration, for spectra `start`."""
        return None

    def step(self, z: Any, magnitude: Any, proposal: Any, memory: Any, do: Any) -> tuple[Any, Any]:
        """The next proposal and memory."""
        raise NotImplementedError

    def estimate(self, proposal: Any, memory: Any, do: Any) -> Any:
        """The spectrum with the given magnitudes, after an iteration or more."""
        return proposal

    def compared(self, magnitude: Any, do: Any) -> Any:
        """What of the magnitudes of z, and of those given, the convergence compares."""
        return magnitude


@dataclass(frozen=True)
class GLA(Algorithm):
    """The Griffin-Lim algorithm: c = P_A z (Griffin & Lim, IEEE ASSP 32(2), 1984).

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.GLA()
    GLA()
    """

    def step(self, z: Any, magnitude: Any, proposal: Any, memory: Any, do: Any) -> tuple[Any, Any]:
        return do.onto(magnitude, z, out=proposal), None


@dataclass(frozen=True)
class FastGLA(Algorithm):
    """The fast Griffin-Lim algorithm: c = P_A(z - a z'), a = momentum / (1 + momentum), z' of the iteration before.

    Perraudin, Balazs & Sondergaard, WASPAA 2013; librosa's and nnAudio's.

    Parameters
    ----------
    momentum : float
        At least 0. Above 1 it may not converge.

    Raises
    ------
    ValueError, TypeError
        `momentum` has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.FastGLA(0.9)
    FastGLA(momentum=0.9)
    """

    momentum: float = 0.99

    def __post_init__(self) -> None:
        object.__setattr__(self, "momentum", number("FastGLA", "momentum", self.momentum, 0))

    def memory(self, start: Any, do: Any) -> Any:
        return do.zeros(start)

    def step(self, z: Any, magnitude: Any, proposal: Any, memory: Any, do: Any) -> tuple[Any, Any]:
        ahead = do.multiply(memory, -self.momentum / (1 + self.momentum), out=proposal)
        ahead = do.add(ahead, z, out=ahead)
        memory = do.copy(z, out=memory)
        return do.onto(magnitude, ahead, out=ahead), memory


@dataclass(frozen=True)
class RAAR(Algorithm):
    """Relaxed averaged alternating reflections: q = (c + q') / 2 + beta (z - c), c = 2 P_A q - q (Luke, 2005).

    Parameters
    ----------
    beta : float
        From 0 to 1.

    Raises
    ------
    ValueError, TypeError
        `beta` has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.RAAR()
    RAAR(beta=0.9)
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        beta = number("RAAR", "beta", self.beta, 0)
        if beta > 1:
            raise error(ValueError, "RAAR", "beta", "<= 1", beta)
        object.__setattr__(self, "beta", beta)

    def memory(self, start: Any, do: Any) -> Any:
        return do.copy(start)

    def step(self, z: Any, magnitude: Any, proposal: Any, memory: Any, do: Any) -> tuple[Any, Any]:
        away = do.multiply(do.subtract(z, proposal, out=z), self.beta, out=z)
        q = do.multiply(do.add(memory, proposal, out=memory), 0.5, out=memory)
        q = do.add(q, away, out=q)
        near = do.onto(magnitude, q, out=proposal)
        near = do.multiply(near, 2, out=near)
        return do.subtract(near, q, out=near), q

    def estimate(self, proposal: Any, memory: Any, do: Any) -> Any:
        return do.multiply(do.add(memory, proposal, out=memory), 0.5, out=memory)


@dataclass(frozen=True)
class ADMM(Algorithm):
    """Alternating directions: u = (rho c + z) / (1 + rho), c = c - u + P_A(2 u - c) (Masuyama, Yatabe & Oikawa, 2019).

    Parameters
    ----------
    rho : float
        Above 0.

    Raises
    ------
    ValueError, TypeError
        `rho` has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.ADMM()
    ADMM(rho=0.1)
    """

    rho: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", positive("ADMM", "rho", self.rho))

    def memory(self, start: Any, do: Any) -> Any:
        return do.zeros(start)

    def step(self, z: Any, magnitude: Any, proposal: Any, memory: Any, do: Any) -> tuple[Any, Any]:
        rest = do.multiply(do.subtract(proposal, z, out=z), 1 / (1 + self.rho), out=z)  # c - u
        near = do.subtract(do.subtract(proposal, rest, out=proposal), rest, out=proposal)  # 2 u - c
        memory = do.onto(magnitude, near, out=memory)
        return do.add(rest, memory, out=near), memory

    def estimate(self, proposal: Any, memory: Any, do: Any) -> Any:
        return memory


@dataclass(frozen=True)
class Hybrid(Algorithm):
    """One algorithm for the first half of the iterations, another for the second.

    By default ADMM, which finds a better valley, and fast Griffin-Lim, which goes down in it faster.

    Parameters
    ----------
    first, second : Algorithm
        The two.

    Raises
    ------
    TypeError
        One of them is no `Algorithm`.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.Hybrid(second=xi.GLA()).stages(5)
    [(ADMM(rho=0.1), 2), (GLA(), 3)]
    """

    first: Algorithm = field(default_factory=ADMM)
    second: Algorithm = field(default_factory=FastGLA)

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            if not isinstance(getattr(self, name), Algorithm):
                raise error(TypeError, "Hybrid", name, "an Algorithm", type(getattr(self, name)).__name__)

    def stages(self, n_iter: int) -> list[tuple[Algorithm, int]]:
        return self.first.stages(n_iter // 2) + self.second.stages(n_iter - n_iter // 2)


@dataclass(frozen=True)
class InBands(Algorithm):
    """An algorithm in which P_A gives spectra the bands of the magnitudes S, and not S itself.

    Nearly: it takes 0.9 of the magnitudes at hand and 0.1 of S, and multiplies each bin, twice, by the mean of what its
    bands lack. Without the 0.1 bins empty that no band asks for; with much more of S the bands are further off. (The
    nearest magnitudes with these bands, in place of this, left 80 bands of recordings further off.)
    """

    algorithm: Algorithm
    bank: Bank

    def stages(self, n_iter: int) -> list[tuple[Algorithm, int]]:
        return [(InBands(stage, self.bank), count) for stage, count in self.algorithm.stages(n_iter)]

    def memory(self, start: Any, do: Any) -> Any:
        return self.algorithm.memory(start, do)

    def step(self, z: Any, magnitude: Any, proposal: Any, memory: Any, do: Any) -> tuple[Any, Any]:
        return self.algorithm.step(z, magnitude, proposal, memory, _OntoBands(do, self))

    def estimate(self, proposal: Any, memory: Any, do: Any) -> Any:
        return self.algorithm.estimate(proposal, memory, _OntoBands(do, self))

    def compared(self, magnitude: Any, do: Any) -> Any:
        return do.summed(self.bank, raised(magnitude, self.bank.power))


class _OntoBands:
    """Arithmetic `do`, with the P_A of `InBands`."""

    def __init__(self, do: Any, target: InBands) -> None:
        self.do, self.target = do, target

    def __getattr__(self, name: str) -> Any:
        return getattr(self.do, name)

    def onto(self, magnitude: Any, spectrum: Any, out: Any = None) -> Any:
        xp, bank = namespace(magnitude), self.target.bank
        bands = self.target.compared(magnitude, self.do)
        least = float(np.finfo(dtype_name(bands)).tiny) ** 0.5  # whose square does not vanish in derivatives
        silent = xp.abs(spectrum) < least
        size = xp.where(silent, xp.zeros_like(magnitude), xp.abs(xp.where(silent, xp.ones_like(spectrum), spectrum)))
        power = raised(0.9 * size + 0.1 * magnitude, bank.power)
        for _ in range(2):
            found = self.do.summed(bank, power)
            bound = xp.maximum(1e-6 * bands, least * xp.ones_like(bands))
            power = power * self.do.meant(bank, bands / xp.maximum(found, bound))
        return self.do.onto(raised(power, 1 / bank.power), spectrum, out)


for _class in (FastGLA, RAAR, ADMM, Hybrid):
    _class.__init__ = hinted(_class.__init__)  # type: ignore[method-assign]

NAMED = {"hybrid": Hybrid(), "fgla": FastGLA(), "gla": GLA(), "raar": RAAR(), "admm": ADMM()}


class Functional:
    """Arithmetic that makes new arrays, of any library."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        return a + b

    def subtract(self, a: Any, b: Any, out: Any = None) -> Any:
        return a - b

    def multiply(self, a: Any, number: float, out: Any = None) -> Any:
        return a * number

    def copy(self, a: Any, out: Any = None) -> Any:
        return a

    def zeros(self, like: Any) -> Any:
        return self.xp.zeros_like(like)

    def onto(self, magnitude: Any, spectrum: Any, out: Any = None) -> Any:
        """P_A."""
        return required_backend(spectrum).onto(magnitude, spectrum)

    def summed(self, bank: Bank, power: Any) -> Any:
        """The bands (..., n_mels, n_frames) of (..., n_bins, n_frames)."""
        return matmul(bank.matrix, power)

    def meant(self, bank: Bank, bands: Any) -> Any:
        """The means that bins take of their bands."""
        return matmul(bank.means, bands)


def _repeated(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    for _ in range(count):
        state = step(state)
    return state


def iterate(
    start: Any,
    magnitude: Any,
    project: Callable[[Any], Any],
    stages: Sequence[tuple[Algorithm, int]],
    watch: Callable[[float], bool] | None,
    repeated: Callable[[Callable[[Any], Any], Any, int], Any] = _repeated,
) -> Any:
    """The spectrum with these magnitudes that the stages come to from `start`, on whole arrays of any library.

    project(X) is P_C X; watch(convergence) is called after each iteration, and says whether its stage ends there;
    where nobody watches, repeated(step, state, count) takes `count` steps from a state on.
    """
    do = Functional(namespace(magnitude, start))

    def iteration(algorithm: Algorithm, state: tuple[Any, Any]) -> tuple[tuple[Any, Any], Any]:
        z = project(state[0])
        return algorithm.step(z, magnitude, *state, do), z

    def unwatched(algorithm: Algorithm, state: tuple[Any, Any]) -> tuple[Any, Any]:
        return iteration(algorithm, state)[0]

    for algorithm, n_iter in stages:
        if not n_iter:
            continue
        state = start, algorithm.memory(start, do)
        if watch is None:
            state = repeated(partial(unwatched, algorithm), state, n_iter)
        else:
            for _ in range(n_iter):
                state, z = iteration(algorithm, state)
                here, due = (algorithm.compared(each, do) for each in (do.xp.abs(z), magnitude))
                if watch(_value(convergence(due, here, None))):
                    break
        start = algorithm.estimate(*state, do)
    return start


def convergence(magnitude: Any, spectrum: Any, axis: tuple[int, int] | None) -> Any:
    """norm(abs(X) - S) / norm(S), over these axes (None: all)."""
    xp = namespace(magnitude, spectrum)
    return quotient(norm(xp.abs(spectrum) - magnitude, axis=axis), norm(magnitude, axis=axis), xp)


def norm(array: Any, weight: Any = None, axis: tuple[int, int] | None = (-2, -1)) -> Any:
    """The root of the sum of abs(array)**2, each times its weight."""
    xp = namespace(array)
    parts = (xp.real(array), xp.imag(array)) if dtype_name(array) in COMPLEX else (array,)
    square = sum(part**2 for part in parts)
    power = xp.sum(square if weight is None else square * weight, axis=axis)
    nothing = power == 0  # where the root has no derivative
    return xp.where(nothing, xp.zeros_like(power), xp.sqrt(xp.where(nothing, xp.ones_like(power), power)))


def quotient(distance: Any, size: Any, xp: Any) -> Any:
    """The first over the second, 0 / 0 being 0."""
    nothing = (distance == 0) & (size == 0)
    return distance / xp.where(nothing, xp.ones_like(size), size)


def _value(convergence: Any) -> float:
    try:
        return float(convergence)
    except (TypeError, RuntimeError) as cause:
        need = "None under a transformation (jit, grad, vmap): both need values"
        raise error(ValueError, "griffin_lim", "tol or callback", need, type(convergence).__name__) from cause
