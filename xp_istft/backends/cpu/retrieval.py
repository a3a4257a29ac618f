"""The loop of phase retrieval, block by block, without whole spectra.

Each block is transformed and updated while it is in cache. What one iteration passes to the next is the signal, and of
each bin the next proposal and one complex number. Numbers that are scaled and added one by one are real and imaginary
parts side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...arguments import error
from ...jobs import Analysis, Synthesis
from ...tuning import tuning
from .analysis import each_block, forward_of
from .fft import engine_for
from .memory import empty, scratch
from .overlap import Transform, seconds
from .synthesis import inverse_of, overlap_added
from .tasks import threads_for

_WORK = 4  # a block's FFT, magnitudes and step beside the FFT alone
_BUFFERS = 3  # arrays of a block that its cache should hold at once: frames, spectra, magnitudes


def retrieve(
    start: np.ndarray,
    magnitude: np.ndarray,
    inverse: Synthesis,
    forward: Analysis,
    stages: Sequence[Any],
    watch: Callable[[float], bool] | None = None,
    workers: int | None = None,
) -> np.ndarray:
    """As `Backend.retrieve`."""
    axes = magnitude.ndim - 2
    proposal, target = (_frames_first(array, axes) for array in (start, magnitude))
    scale = _scale(target)
    target /= scale
    proposal /= scale
    kind, frames, items = target.dtype, forward.frames, len(target)
    signal = empty("griffin_lim", (items, frames.n_samples), kind if inverse.real else proposal.dtype)
    engine = engine_for(frames.n_fft, proposal.dtype, forward.onesided)
    transforms = forward_of(forward, engine, proposal.dtype)
    work = items * frames.n_frames * seconds(frames.n_fft) * _WORK
    threads = threads_for(work, workers)
    held = max(1, tuning().block_bytes // (_BUFFERS * frames.n_fft * signal.itemsize))
    away = np.zeros(target.shape[:2])

    for algorithm, n_iter in stages:
        if not n_iter:
            continue
        memory = algorithm.memory(proposal, IN_PLACE)
        if memory is not None and np.may_share_memory(memory, proposal):
            memory = memory.copy()
        norm = 0.0 if watch is None else float(np.linalg.norm(algorithm.compared(target, IN_PLACE)))
        take = _taking(algorithm, transforms.transform, target, proposal, memory, None if watch is None else away)
        for _ in range(n_iter):
            spectrum = proposal.transpose(0, 2, 1)
            overlap_added(spectrum, inverse, inverse_of(spectrum, inverse), signal, workers)
            each_block(signal, forward, transforms, take, held, threads)
            if watch is not None and watch(math.sqrt(away.sum()) / norm if norm else 0.0):
                break
        proposal = algorithm.estimate(proposal, memory, IN_PLACE)
    proposal *= scale
    return proposal.reshape(*magnitude.shape[:-2], *proposal.shape[1:]).swapaxes(-1, -2)


def _taking(
    algorithm: Any,
    transform: Transform,
    magnitude: np.ndarray,
    proposal: np.ndarray,
    memory: np.ndarray | None,
    away: np.ndarray | None,
) -> Callable[[tuple[slice, slice], np.ndarray], None]:
    """What becomes of the frames of a block: their part of `proposal` and `memory`, and how far off each is."""

    def take(here: tuple[slice, slice], segments: np.ndarray) -> None:
        z = scratch("spectra", (*segments.shape[:2], magnitude.shape[2]), proposal.dtype)
        transform(segments, z)
        if away is not None:
            away[here] = distances(algorithm, z, magnitude[here])
        c, q = proposal[here], None if memory is None else memory[here]
        next_c, next_q = algorithm.step(z, magnitude[here], c, q, IN_PLACE)
        if next_q is not q:  # algorithms may make new arrays, or exchange those that they were given
            if q is None:
                cls = type(algorithm).__name__
                raise error(TypeError, "griffin_lim", "algorithm", "memory() to make what step() returns", cls)
            next_c = next_c.copy() if np.may_share_memory(next_c, q) else next_c
            q[...] = next_q
        if next_c is not c:
            c[...] = next_c

    return take


def _frames_first(array: np.ndarray, axes: int) -> np.ndarray:
    """A copy (items, n_frames, n_bins) of an array (..., n_bins, n_frames)."""
    packed = array.swapaxes(-1, -2).copy(order="C")
    return packed.reshape(math.prod(array.shape[:axes]), *packed.shape[-2:])


def _scale(magnitude: np.ndarray) -> np.ndarray:
    """Of each item a power of two near its largest magnitude: what follows is the same, bit for bit, on any scale."""
    peak = np.fmax.reduce(magnitude, axis=(1, 2), keepdims=True, initial=0)
    known = np.isfinite(peak) & (peak > 0)
    return np.where(known, np.ldexp(np.ones_like(peak), np.frexp(np.where(known, peak, 1))[1] - 1), 1)


class InPlace:
    """As `phase.algorithms.Functional`; the largest magnitude is about 1."""

    def add(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(a) if out is None else out
        np.add(_real(a), _real(b), _real(out))
        return out

    def subtract(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(a) if out is None else out
        np.subtract(_real(a), _real(b), _real(out))
        return out

    def multiply(self, a: np.ndarray, number: float, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(a) if out is None else out
        np.multiply(_real(a), number, _real(out))
        return out

    def copy(self, a: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            return a.copy()
        np.copyto(out, a)
        return out

    def zeros(self, like: np.ndarray) -> np.ndarray:
        return np.zeros_like(like)

    def onto(self, magnitude: np.ndarray, spectrum: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The magnitude, with the phases of a spectrum; 0 where that is 0."""
        out = np.empty_like(spectrum) if out is None else out
        sizes = scratch("sizes", spectrum.shape, magnitude.dtype)
        np.abs(spectrum, sizes)
        np.maximum(sizes, np.finfo(sizes.dtype).tiny, out=sizes)
        np.divide(magnitude, sizes, sizes)
        np.multiply(spectrum, sizes, out)
        return out

    def summed(self, bank: Any, power: np.ndarray) -> np.ndarray:
        """The bands (..., n_mels) of (..., n_bins): sums over segments, whose bits no other frame decides."""
        rise, fall = (each.astype(power.dtype) for each in bank.sides)
        starts = bank.starts[:-1]
        some = starts < bank.starts[1:]  # of the others `reduceat` makes the bin where they begin
        made = np.zeros((*power.shape[:-1], len(starts) + 1), power.dtype)
        made[..., :-1][..., some] = np.add.reduceat(power * rise, starts[some], axis=-1)
        bands = made[..., :-2].copy()
        made[..., :-1][..., some] = np.add.reduceat(power * fall, starts[some], axis=-1)
        bands += made[..., 1:-1]
        return bands

    def meant(self, bank: Any, bands: np.ndarray) -> np.ndarray:
        """The means that bins take of their bands."""
        rise, fall = (each.astype(bands.dtype) for each in bank.shares)
        beside = np.zeros((*bands.shape[:-1], bands.shape[-1] + 2), bands.dtype)
        beside[..., 1:-1] = bands
        means = np.take(beside, bank.segment + 1, axis=-1)
        means *= rise
        falling = np.take(beside, bank.segment, axis=-1)
        falling *= fall
        means += falling
        return means


IN_PLACE = InPlace()


def distances(algorithm: Any, z: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Of each frame, the sum of the squares of what is compared, of abs(z) less that of the magnitude."""
    sizes = scratch("sizes", z.shape, magnitude.dtype)
    np.abs(z, sizes)
    away, due = (algorithm.compared(each, IN_PLACE) for each in (sizes, magnitude))
    np.subtract(away, due, away)
    return np.einsum("bmk,bmk->bm", away, away)


def _real(spectrum: np.ndarray) -> np.ndarray:
    return spectrum.view(spectrum.real.dtype)
