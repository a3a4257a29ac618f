"""One step of phase retrieval on a block of NumPy arrays, in place: what `retrieve` does where a block is in cache.

Each step takes z, the consistent spectrum that the inverse of the block's `proposal` has; the proposal becomes that of
the next iteration, and `memory` what else the algorithm remembers. z is used up. The formulas are those of
phase_retrieval.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .scratch import scratch


class Stage(NamedTuple):
    """`n_iter` iterations of one algorithm: "gla", "fgla", "raar" or "admm", with its one parameter."""

    algorithm: str
    weight: float
    n_iter: int


def memory_of(stage: Stage, start: np.ndarray) -> np.ndarray | None:
    """What a stage remembers before its first iteration, for spectra `start`."""
    if stage.algorithm == "gla":
        return None
    return start.copy() if stage.algorithm == "raar" else np.zeros_like(start)


def gla(z: np.ndarray, magnitude: np.ndarray, proposal: np.ndarray, memory: None, weight: float) -> None:
    _onto(magnitude, z, proposal)


def fgla(z: np.ndarray, magnitude: np.ndarray, proposal: np.ndarray, memory: np.ndarray, weight: float) -> None:
    ahead, before = _real(proposal), _real(memory)
    np.multiply(before, -weight, ahead)
    np.add(ahead, _real(z), ahead)
    np.copyto(memory, z)
    _onto(magnitude, proposal, proposal)


def raar(z: np.ndarray, magnitude: np.ndarray, proposal: np.ndarray, memory: np.ndarray, weight: float) -> None:
    r, q, step = _real(proposal), _real(memory), _real(z)
    np.subtract(step, r, step)
    np.multiply(step, weight, step)
    np.add(q, r, q)
    np.multiply(q, 0.5, q)
    np.add(q, step, q)
    _onto(magnitude, memory, proposal)
    np.multiply(r, 2, r)
    np.subtract(r, q, r)


def admm(z: np.ndarray, magnitude: np.ndarray, proposal: np.ndarray, memory: np.ndarray, weight: float) -> None:
    v, near = _real(proposal), _real(z)
    np.multiply(near, 1 / weight, near)
    np.add(near, v, near)
    np.multiply(near, weight / (1 + weight), near)
    np.subtract(v, near, v)  # the next proposal, but for the estimate
    np.subtract(near, v, near)
    _onto(magnitude, z, memory)
    np.add(v, _real(memory), v)


def estimate(stage: Stage, proposal: np.ndarray, memory: np.ndarray | None) -> np.ndarray:
    """The spectrum with the given magnitudes that a stage has come to; may be either of its arrays."""
    if memory is None or stage.n_iter == 0 or stage.algorithm in ("gla", "fgla"):
        return proposal
    if stage.algorithm == "raar":
        np.add(memory, proposal, memory)
        np.multiply(_real(memory), 0.5, _real(memory))
    return memory


def distances(z: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Of each frame, the sum over its bins of (abs(z) - magnitude)**2."""
    sizes = scratch("sizes", z.shape, magnitude.dtype)
    np.abs(z, sizes)
    np.subtract(sizes, magnitude, sizes)
    return np.einsum("bmk,bmk->bm", sizes, sizes)


def _onto(magnitude: np.ndarray, spectrum: np.ndarray, out: np.ndarray) -> None:
    """The magnitude, with the phases of a spectrum; 0 where that is 0. The largest magnitude is about 1."""
    sizes = scratch("sizes", spectrum.shape, magnitude.dtype)
    np.abs(spectrum, sizes)
    np.maximum(sizes, np.finfo(sizes.dtype).tiny, out=sizes)
    np.divide(magnitude, sizes, sizes)
    np.multiply(spectrum, sizes, out)


def _real(spectrum: np.ndarray) -> np.ndarray:
    """Real and imaginary parts side by side: numbers that are scaled and added one by one."""
    return spectrum.view(spectrum.real.dtype)


STEPS: dict[str, Callable[..., None]] = {"gla": gla, "fgla": fgla, "raar": raar, "admm": admm}
