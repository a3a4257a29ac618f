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


class Steps(NamedTuple):
    """The steps into the second and the third of three frames.

    level  : (..., 3, n_bins), log magnitudes
    up     : (..., 2, n_bins), turns from the same bin of the frame before
    across : (..., 2, n_bins - 1), turns from the bin below
    """

    level: np.ndarray
    up: np.ndarray
    across: np.ndarray

    @classmethod
    def of(cls, magnitude: np.ndarray, gradient: Gradient) -> Steps:
        """Of magnitudes (..., 3, n_bins)."""
        magnitude = magnitude.astype(np.float64)
        peak = magnitude.max(axis=(-2, -1), keepdims=True)
        level = np.log(np.maximum(magnitude, np.maximum(_FLOOR * peak, np.finfo(np.float64).tiny)))
        along_bins, along_frames = gradient.slopes(level)
        up = 0.5 * (along_frames[..., :-1, :] + along_frames[..., 1:, :])
        across = 0.5 * (along_bins[..., 1:, :-1] + along_bins[..., 1:, 1:])
        return cls(level, up, across)

    def straight(self, frame: int) -> Path:
        """Up at every bin, into frame 1 or 2."""
        up = self.up[..., frame - 1, :]
        return Path(np.broadcast_to(np.arange(up.shape[-1]), up.shape), up)

    def best(self, frame: int) -> Path:
        """Up where it is loudest, then across, into frame 1 or 2."""
        before, level, up = self.level[..., frame - 1, :], self.level[..., frame, :], self.up[..., frame - 1, :]
        root = roots(before + level, level[..., :-1] + level[..., 1:])
        height = np.zeros_like(up)
        np.cumsum(self.across[..., frame - 1, :], axis=-1, out=height[..., 1:])
        return Path(root, height + np.take_along_axis(up - height, root, axis=-1))


def roots(up: np.ndarray, across: np.ndarray) -> np.ndarray:
    """The bin at which the best path to each bin comes up: integers (..., n_bins).

    up     : (..., n_bins), weights of the steps from the row before
    across : (..., n_bins - 1), weights of the steps between neighbours

    The maximum spanning tree of a row and of the row before it as one node, by Boruvka's algorithm: a tree without a
    root is a run of bins, and takes the best of its steps up and of the two to its neighbours.
    """
    n_bins, weight = up.shape[-1], up.ravel()
    size = weight.size
    beside = np.full(size + 1, -np.inf)  # of the step from the bin before; no row leads to the next
    beside[:-1].reshape(up.shape)[..., 1:] = across
    before, after = beside[:-1], beside[1:]
    rises = (weight >= before) & (weight >= after)
    backward = before >= after
    starts = rises | ~backward  # where a run begins
    starts[1:] &= (rises | backward)[:-1]
    root = np.where(rises, np.arange(size), -1)
    while True:
        first = starts.nonzero()[0]
        found = np.maximum.reduceat(root, first)
        last = np.append(first[1:], size)
        rootless = (found < 0).nonzero()[0]
        if not rootless.size:
            return np.repeat(found % n_bins, last - first).reshape(up.shape)
        for lo, hi in zip(first[rootless].tolist(), last[rootless].tolist(), strict=True):  # a few, of a few bins
            top = lo + int(weight[lo:hi].argmax())
            if weight[top] >= max(beside[lo], beside[hi]):
                root[top] = top
            else:
                starts[lo if beside[lo] >= beside[hi] else hi] = False
