"""Phases of magnitudes alone, on the host: phase gradient integration along a maximum spanning forest of the bins.

For a Gaussian window exp(-pi t**2 / gamma), the phase phi(k, m) of bin k of frame m (counted from the start of the
frame, with the middle of the window at sample c) follows from the magnitude A:

    d phi / d m = 2 pi h k / N + (h N / gamma) d log A / d k
    d phi / d k = -2 pi c / N - (gamma / (h N)) d log A / d m

(Prusa, Balazs & Sondergaard, "A noniterative method for reconstruction of phase from STFT magnitude", IEEE/ACM TASLP
25(5), 2017.) There the gradient is integrated from bin to bin in the order of a heap, largest magnitude first. Here
the path is the spanning forest whose edges have the largest products of neighbouring magnitudes (`forest`): a few
passes over whole arrays, no loop over bins, and no compiler. The consistency of what comes out is that of the heap's
order, or better (benchmarks/phase_retrieval.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np

from ..backends.cpu.memory import empty
from ..backends.cpu.tasks import threads_for
from ..backends.cpu.threads import Share, run
from ..dtypes import COMPLEX_OF
from ..tuning import tuning
from .forest import Patch, grown, heights

TURN_BITS = 52  # phases are whole numbers of 2**-52 turns: their sums are exact, however long a path is
_SECONDS = 1e-7  # of a bin
_LEAST_ROWS = 8  # of a patch: two more on each side are read


def equivalent_gaussian(window: np.ndarray) -> tuple[float, float]:
    """Middle and gamma (samples squared) of the Gaussian with the same first two moments of its square.

    >>> middle, gamma = equivalent_gaussian(np.hanning(1025)[:-1])
    >>> round(middle), round(gamma / 1024**2, 4)
    (512, 0.2514)
    """
    window = np.ldexp(window, -np.frexp(np.abs(window).max())[1])  # whose scale decides nothing: no square is lost
    weight = window**2 / (window**2).sum()
    t = np.arange(window.size)
    middle = float(weight @ t)
    spread = float(weight @ (t - middle) ** 2)
    return middle, 4 * np.pi * max(spread, 1 / 12)  # a window of one sample is as wide as that


class Gradient(NamedTuple):
    """The slopes of the phase, as formulas of the magnitude."""

    hop: int
    n_fft: int
    middle: float  # of the window
    ratio: float  # gamma / (h N)
    onesided: bool

    @classmethod
    def of(cls, hop: int, window: np.ndarray, onesided: bool = True) -> Gradient:
        middle, gamma = equivalent_gaussian(window)
        return cls(hop, window.size, middle, gamma / (hop * window.size), onesided)

    def slopes(self, level: np.ndarray, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The slopes d phi / d k and d phi / d m in turns, of log magnitudes (..., n_frames, n_bins).

        first : the bin that they begin with; bins k and k - n_fft are the same, which in d phi / d m makes a difference
                of whole turns
        """
        along_bins = _differences(level, -2)
        along_bins *= -self.ratio / (2 * np.pi)
        along_bins -= self.middle / self.n_fft
        along_frames = _differences(level, -1) if self.onesided else _differences_around(level)
        along_frames *= 1 / (2 * np.pi * self.ratio)
        along_frames += self.hop / self.n_fft * np.arange(first, first + level.shape[-1])
        if self.onesided:
            along_frames[..., 0] = 0  # a real signal's bin 0 is real
        return along_bins, along_frames


def _differences(values: np.ndarray, axis: int) -> np.ndarray:
    """np.gradient along axis -1 or -2, which takes several times as long for a few frames."""
    change = np.zeros_like(values)
    into, out_of = change.swapaxes(axis, -1), values.swapaxes(axis, -1)
    if values.shape[axis] > 1:
        np.subtract(out_of[..., 2:], out_of[..., :-2], out=into[..., 1:-1])
        into[..., 1:-1] /= 2
        np.subtract(out_of[..., 1], out_of[..., 0], out=into[..., 0])
        np.subtract(out_of[..., -1], out_of[..., -2], out=into[..., -1])
    return change


def _differences_around(level: np.ndarray) -> np.ndarray:
    """From bin to bin of two sides, of which the last is the neighbour of the first."""
    return (np.roll(level, -1, axis=-1) - np.roll(level, 1, axis=-1)) / 2


def integrated(
    magnitude: np.ndarray, gradient: Gradient, tol: float, seed: int, workers: int | None = None
) -> np.ndarray:
    """Spectra of magnitudes (..., n_bins, n_frames), frame after frame, with a phase of 0 where each is loudest.

    Bins up to `tol` times the largest of an item get random phases, the same in each: their gradient says nothing. The
    same bits for any number of threads.
    """
    spectra = empty("pghi", magnitude.shape, COMPLEX_OF[magnitude.dtype], columns=True)
    items = list(np.ndindex(magnitude.shape[:-2])) if spectra.size else []
    threads = threads_for(spectra.size * _SECONDS, workers)
    at_once, within = (threads, 1) if len(items) >= threads else (1, threads)

    def work(item: tuple[int, ...], share: Share) -> None:
        sizes, spectrum = magnitude[item], spectra[item].T
        if gradient.onesided:
            _integrate(sizes, spectrum, gradient, tol, seed, within)
            return
        first = _quietest(sizes)
        opened = np.empty_like(spectrum)
        _integrate(np.roll(sizes, -first, axis=0), opened, gradient, tol, seed, within, first)
        spectrum[...] = np.roll(opened, first, axis=1)

    run(work, items, at_once, nullcontext)
    return spectra


def _quietest(magnitude: np.ndarray) -> int:
    """The bin before which the ring of two-sided bins is cut open: no edge leads over the cut, and least is lost."""
    return int(np.minimum(magnitude, np.roll(magnitude, 1, axis=0)).sum(axis=1, dtype=np.float64).argmin())


def _integrate(
    magnitude: np.ndarray,
    spectrum: np.ndarray,
    gradient: Gradient,
    tol: float,
    seed: int,
    threads: int,
    first: int = 0,
) -> None:
    """Of one item, whose bins begin with bin `first`."""
    n_bins, n_frames = magnitude.shape
    floor = tol * magnitude.max()
    least = floor or magnitude.min(where=magnitude > 0, initial=magnitude.max()) or 1

    def write(lo: int, hi: int, turns: np.ndarray) -> None:
        sizes = np.ascontiguousarray(magnitude[:, lo:hi].T)
        phase = 2 * np.pi * _random(seed, lo * n_bins, sizes.shape)
        turns <<= 64 - TURN_BITS  # whole turns go
        np.multiply(turns, 2 * np.pi / (1 << 64), out=phase, where=sizes > floor)
        phase = phase.astype(sizes.dtype)
        np.multiply(np.cos(phase), sizes, out=spectrum[lo:hi].real)
        np.multiply(np.sin(phase), sizes, out=spectrum[lo:hi].imag)

    along_the_forest(n_frames, n_bins, partial(_grid, magnitude, gradient, first, floor, least), write, threads)


def row_spans(n_frames: int, n_bins: int) -> list[tuple[int, int]]:
    """The frames [lo, hi) that are worked on at a time."""
    rows = max(_LEAST_ROWS, tuning().grid_bins // n_bins)
    return [(lo, min(lo + rows, n_frames)) for lo in range(0, n_frames, rows)]


def along_the_forest(
    n_frames: int,
    n_bins: int,
    grid: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
    write: Callable[[int, int, np.ndarray], None],
    threads: int,
) -> None:
    """write(lo, hi, heights) of all frames, with heights (hi - lo, n_bins) along the forest.

    grid(lo, hi) makes of frames [lo, hi) what `grown` takes, the frame before and the one after among them.
    """
    spans = row_spans(n_frames, n_bins)
    patches: dict[int, Patch] = {}

    def grow(i: int, share: Share) -> None:
        patches[i] = grown(*grid(*spans[i]))

    def finish(i: int, share: Share) -> None:
        height = patches[i].height[:, :-1]
        if patches[i].n_trees:
            height = height + roots[i].take(patches[i].tree[:, :-1])
        write(*spans[i], height)

    run(grow, range(len(spans)), threads, nullcontext)
    roots = heights([patches[i] for i in range(len(spans))])
    run(finish, range(len(spans)), threads, nullcontext)


def _grid(
    magnitude: np.ndarray, gradient: Gradient, offset: int, floor: float, least: float, lo: int, hi: int
) -> tuple[np.ndarray, np.ndarray]:
    """What `grown` takes, of frames [lo, hi)."""
    n_bins, n_frames = magnitude.shape
    first, last = max(0, lo - 2), min(n_frames, hi + 2)  # for differences between frames lo - 1 ... hi
    sizes = np.ascontiguousarray(magnitude[:, first:last].T)
    level = np.log(np.maximum(sizes, least), dtype=np.float64)
    loudness = np.full((hi - lo + 2, n_bins + 1), -np.inf)
    halves = np.zeros((2, *loudness.shape), np.int64)
    a, b = max(0, lo - 1), min(n_frames, hi + 1)
    there, here = slice(a - lo + 1, b - lo + 1), slice(a - first, b - first)
    np.copyto(loudness[there, :-1], level[here], where=sizes[here] > floor)
    for half, slope in zip(halves, gradient.slopes(level, offset), strict=True):
        turns = slope[here]
        turns *= 0.5
        turns -= np.rint(turns)
        np.multiply(turns, 1 << TURN_BITS, out=half[there, :-1], casting="unsafe")
    return loudness, halves


def _random(seed: int, start: int, shape: tuple[int, int]) -> np.ndarray:
    """Turns from place `start` on in one sequence of random numbers."""
    generator = np.random.PCG64(seed)
    generator.advance(start)
    return np.random.Generator(generator).random(shape)
