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
    np.copyto(phase, _along_forest(level, audible, along_frames, along_bins), where=audible)
    return phase


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

    Boruvka: every bin takes its best edge, then every tree its best edge to another tree, all at once, until no edge
    is left between two trees. Trees become the nodes of the next round.
    """
    shape, index = level.shape, np.arange(level.size).reshape(level.shape)
    before_after = (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None)), along_bins),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None)), along_frames),
    )
    best, parent, offset = np.full(shape, -np.inf, level.dtype), index.copy(), np.zeros(shape)
    edges = []
    for one, other, slope in before_after:
        weight = np.where(audible[one] & audible[other], level[one] + level[other], -np.inf)
        rise = 0.5 * (slope[one] + slope[other])
        edges.append((one, other, weight, rise))
        # Of equal edges the first in memory is taken, by both of its ends: a cycle would need an order that turns.
        for here, there, step in ((other, one, rise), (one, other, -rise)):
            better = weight > best[here]
            np.copyto(best[here], weight, where=better)
            np.copyto(parent[here], index[there], where=better)
            np.copyto(offset[here], step, where=better)
    rounds = [_joined(parent.ravel(), offset.ravel())]

    tree, offset = (each.reshape(shape) for each in rounds[0])
    parts = []
    for one, other, weight, rise in edges:
        between = (tree[one] != tree[other]) & (weight > -np.inf)
        rise = rise + offset[one] - offset[other]
        parts.append((tree[one][between], tree[other][between], rise[between], weight[between]))
    first, second, rise, weight = map(np.concatenate, zip(*parts, strict=True))
    best_first = np.argsort(-weight)
    first, second, rise = first[best_first], second[best_first], rise[best_first]
    while first.size:
        tree, offset = _joined(*_best_edges(first, second, rise, int(rounds[-1][0].max()) + 1))
        rounds.append((tree, offset))
        rise = rise + offset[first] - offset[second]
        first, second = tree[first], tree[second]
        between = first != second
        first, second, rise = first[between], second[between], rise[between]

    phase = np.zeros(int(rounds[-1][0].max()) + 1)
    for tree, offset in reversed(rounds):
        phase = offset + phase[tree]
    return phase.reshape(shape)


def _best_edges(first: np.ndarray, second: np.ndarray, rise: np.ndarray, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each node, the other end of its best edge, and how far its phase lies above that of the other end.

    Edges come best first. A node without any is its own parent.
    """
    best = np.full(n_nodes, first.size)
    for ends in (first, second):
        earliest = np.full(n_nodes, first.size)
        earliest[ends[::-1]] = np.arange(first.size - 1, -1, -1)  # of several values for a node, the last stays
        np.minimum(best, earliest, out=best)
    nodes = np.flatnonzero(best < first.size)
    edge = best[nodes]
    is_first = first[edge] == nodes
    parent, offset = np.arange(n_nodes), np.zeros(n_nodes)
    parent[nodes] = np.where(is_first, second[edge], first[edge])
    offset[nodes] = np.where(is_first, -rise[edge], rise[edge])
    return parent, offset


def _joined(parent: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The trees that `parent` makes, numbered, of each node; and its offset from the root instead of the parent."""
    index = np.arange(parent.size)
    roots = (parent[parent] == index) & (index <= parent)  # of an edge that both ends chose, the lower end
    parent, offset = np.where(roots, index, parent), np.where(roots, 0, offset)
    while True:  # twice as far up with each pass
        farther = parent[parent]
        if (farther == parent).all():
            break
        offset += offset[parent]
        parent = farther
    return (np.cumsum(roots) - 1)[parent], offset
