"""Phases of magnitudes alone, on the host: phase gradient integration along a maximum spanning forest of the bins.

For a Gaussian window exp(-pi t**2 / gamma), the phase phi(k, m) of bin k of frame m (counted from the start of the
frame, with the middle of the window at sample c) follows from the magnitude A:

    d phi / d m = 2 pi h k / N + (h N / gamma) d log A / d k
    d phi / d k = -2 pi c / N - (gamma / (h N)) d log A / d m

(Prusa, Balazs & Sondergaard, "A noniterative method for reconstruction of phase from STFT magnitude", IEEE/ACM TASLP
25(5), 2017.) There the gradient is integrated from bin to bin in the order of a heap, largest magnitude first. Here
the path is the spanning forest whose edges have the largest products of neighbouring magnitudes, which Boruvka's
algorithm finds in a few passes over whole arrays: no loop over bins, and no compiler. The consistency of what comes
out is that of the heap's order, or better (benchmarks/phase_retrieval.py).
"""

from __future__ import annotations

import numpy as np


def equivalent_gaussian(window: np.ndarray) -> tuple[float, float]:
    """Middle and gamma (samples squared) of the Gaussian with the same first two moments of its square.

    >>> middle, gamma = equivalent_gaussian(np.hanning(1025)[:-1])
    >>> round(middle), round(gamma / 1024**2, 4)
    (512, 0.2514)
    """
    weight = window**2 / (window**2).sum()
    t = np.arange(window.size)
    middle = float(weight @ t)
    spread = float(weight @ (t - middle) ** 2)
    return middle, 4 * np.pi * max(spread, 1 / 12)  # a window of one sample is as wide as that


def integrated_phase(
    magnitude: np.ndarray, hop: int, window: np.ndarray, tol: float, rng: np.random.Generator
) -> np.ndarray:
    """Phases in radians of one magnitude (n_frames, n_bins), float64, counted from the start of each frame.

    Bins below `tol` times the largest get random phases: their gradient says nothing.
    """
    floor = tol * magnitude.max(initial=0)
    audible = magnitude > floor
    phase = rng.uniform(0, 2 * np.pi, magnitude.shape)
    if not audible.any():
        return phase
    level = np.log(np.maximum(magnitude, floor or 1), dtype=np.float64)
    along_frames, along_bins = _gradients(level, hop, window)
    integrated = _along_forest(level, audible, along_frames, along_bins)
    return np.where(audible, integrated, phase)


def _gradients(level: np.ndarray, hop: int, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slopes d phi / d m and d phi / d k of log magnitudes (n_frames, n_bins)."""
    n_fft = window.size
    middle, gamma = equivalent_gaussian(window)
    slope = gamma / (hop * n_fft)
    k = np.arange(level.shape[1])
    along_frames = 2 * np.pi * hop / n_fft * k + _differences(level, 1) / slope
    along_frames[:, 0] = 0  # a real signal's bin 0 is real
    along_bins = -2 * np.pi * middle / n_fft - slope * _differences(level, 0)
    return along_frames, along_bins


def _differences(values: np.ndarray, axis: int) -> np.ndarray:
    return np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)


def _along_forest(
    level: np.ndarray, audible: np.ndarray, along_frames: np.ndarray, along_bins: np.ndarray
) -> np.ndarray:
    """The gradient integrated along the maximum spanning forest of the audible bins; 0 at the root of each tree.

    Boruvka: every tree takes its best edge to another tree, all at once, until no edge is left between two trees.
    `phase` is counted from the root of a bin's tree; where trees join, from the root of the one that stays.
    """
    index = np.arange(level.size).reshape(level.shape)
    sides = []
    for one, other, slope in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None)), along_frames),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None)), along_bins),
    ):
        both = audible[one] & audible[other]
        weight = level[one] + level[other]
        rise = 0.5 * (slope[one] + slope[other])
        sides.append((index[one][both], index[other][both], weight[both], rise[both]))
    first, second, weight, rise = map(np.concatenate, zip(*sides, strict=True))
    best_first = np.argsort(-weight, kind="stable")
    first, second, rise = first[best_first], second[best_first], rise[best_first]

    phase, tree = np.zeros(level.size), index.ravel()
    while first.size:
        best = np.full(level.size, first.size)
        backwards = np.arange(first.size - 1, -1, -1)
        best[first[::-1]] = backwards  # of several values for one tree, the last stays: the best edge
        other_best = np.full(level.size, first.size)
        other_best[second[::-1]] = backwards
        best = np.minimum(best, other_best)
        roots = np.flatnonzero(best < first.size)
        edge = best[roots]
        is_first = first[edge] == roots
        parent, offset = index.ravel().copy(), np.zeros(level.size)
        parent[roots] = np.where(is_first, second[edge], first[edge])
        offset[roots] = np.where(is_first, -rise[edge], rise[edge])
        chosen_by_both = roots[(parent[parent[roots]] == roots) & (roots < parent[roots])]
        parent[chosen_by_both], offset[chosen_by_both] = chosen_by_both, 0
        while True:  # to the root of the joined trees, twice as far with each pass
            farther = parent[parent]
            if (farther == parent).all():
                break
            offset += offset[parent]
            parent = farther
        phase += offset[tree]
        tree = parent[tree]
        rise = rise + offset[first] - offset[second]
        first, second = parent[first], parent[second]
        between = first != second
        first, second, rise = first[between], second[between], rise[between]
    return phase.reshape(level.shape)
