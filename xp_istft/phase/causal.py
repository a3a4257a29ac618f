"""Phases of a frame from those of the frame before it: phase gradient integration in real time, on the host.

As in `integration`, but no frame waits for the future. Every bin of a frame gets its phase along the best path from
the frame before, whose phases are known: up from there by d phi / d m at one bin, then across bins by d phi / d k, so
that the least loud step of the path is as loud as it can be. (Prusa & Sondergaard, "Real-time spectrogram inversion
using phase gradient heap integration", DAFx 2016; there a heap finds the paths.) d phi / d k follows from the
magnitudes of the frames around: those before and after where the next frame is known, else of the frame before alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .integration import Gradient

_FLOOR = 1e-6  # of the loudest bin: differences of what is less than this say nothing


class Path(NamedTuple):
    """Where each bin (..., n_bins) takes its phase from, and what it adds.

    root : the bin of the frame before
    rise : turns
    """

    root: np.ndarray
    rise: np.ndarray

    def spectrum(self, magnitude: np.ndarray, before: np.ndarray) -> np.ndarray:
        """These magnitudes (..., n_bins), with the phases that follow from a frame's spectrum `before`."""
        phase = np.take_along_axis(np.arctan2(before.imag, before.real), self.root, axis=-1) + 2 * np.pi * self.rise
        return ((np.cos(phase) + 1j * np.sin(phase)) * magnitude).astype(before.dtype)


def paths(magnitude: np.ndarray, gradient: Gradient) -> list[Path]:
    """Of magnitudes (..., 3, n_bins) of three frames: the paths into the second one and into the third."""
    magnitude = magnitude.astype(np.float64)
    peak = magnitude.max(axis=(-2, -1), keepdims=True)
    level = np.log(np.maximum(magnitude, np.maximum(_FLOOR * peak, np.finfo(np.float64).tiny)))
    along_bins, along_frames = gradient.slopes(level)
    up = 0.5 * (along_frames[..., :-1, :] + along_frames[..., 1:, :])
    across = np.zeros_like(up)
    across[..., 1:] = 0.5 * (along_bins[..., 1:, :-1] + along_bins[..., 1:, 1:])
    height = np.cumsum(across, axis=-1)
    root = roots(level[..., :-1, :] + level[..., 1:, :], level[..., 1:, :-1] + level[..., 1:, 1:])
    rise = height + np.take_along_axis(up - height, root, axis=-1)
    return [Path(root[..., row, :], rise[..., row, :]) for row in range(2)]


def roots(up: np.ndarray, across: np.ndarray) -> np.ndarray:
    """The bin at which the best path to each bin comes up: integers (..., n_bins).

    up     : (..., n_bins), weights of the steps from the row before
    across : (..., n_bins - 1), weights of the steps between neighbours

    The maximum spanning tree of a row and of the row before it as one node, by Boruvka's algorithm: a tree without a
    root is a run of bins, and takes the best of its steps up and of the two to its neighbours.
    """
    n_bins = up.shape[-1]
    weight = up.ravel()
    size = weight.size
    beside = np.full(size + 1, -np.inf)  # of the step from the bin before; no row leads to the next
    beside[:-1].reshape(up.shape)[..., 1:] = across
    starts = np.ones(size, bool)  # where a run begins
    root = np.full(size, -1)
    while True:
        first = starts.nonzero()[0]
        found = np.maximum.reduceat(root, first)
        last = np.append(first[1:], size)
        rootless = found < 0
        if not rootless.any():
            bins = np.repeat(found, last - first)
            return (bins % n_bins).reshape(up.shape)
        best = np.maximum.reduceat(weight, first)
        before, after = beside[first], beside[last]
        rises = rootless & (best >= before) & (best >= after)
        tops = (weight == np.repeat(np.where(rises, best, np.inf), last - first)).nonzero()[0]
        run = np.searchsorted(first, tops, "right") - 1
        top = np.full(first.size, -1)
        top[run[::-1]] = tops[::-1]  # of equal ones the first: it is written last
        root[top[rises]] = top[rises]
        backward = rootless & ~rises & (before >= after)
        starts[first[backward]] = False
        starts[last[rootless & ~rises & ~backward]] = False
