"""Frames of a spectrum that has no end yet, added to the sums that wait, with the bits of one call."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ...dtypes import REAL_OF
from ...frames import Frames
from ...jobs import Running, Synthesis
from ...windows import HopPeriodic
from . import products
from .overlap import Overlap, add_frames, with_true_gain
from .synthesis import inverse_of, overlap_added, plan_of

# Pushes of at least this many frames (and overlaps) are added as in one call, but for those that reach waiting sums.
_MANY_FRAMES = 16
_MANY_OVERLAPS = 3


def waiting(spectrum: np.ndarray, running: Running) -> np.ndarray:
    """Where frames are added in groups (..., 2, waiting): the sums of the complete groups, and of the last."""
    kind = REAL_OF[spectrum.dtype] if running.job.real else spectrum.dtype
    groups = (2,) if plan_of(running.job, kind).group else ()
    return np.zeros((*spectrum.shape[:-2], *groups, running.waiting), kind)


def continued(spectrum: np.ndarray, sums: np.ndarray, frame: int, running: Running) -> tuple[np.ndarray, np.ndarray]:
    job, held, hop = running.job, running.waiting, running.job.frames.hop
    *_, n_bins, count = spectrum.shape
    frames = spectrum.reshape(-1, n_bins, count).transpose(0, 2, 1)
    inverse = inverse_of(spectrum, job)
    plan = plan_of(job, sums.dtype, inverse.factor)
    many = _beyond_the_sums(running, count, sums.dtype) if count >= _MANY_FRAMES and not plan.group else None
    one_by_one = count if many is None else job.frames.overlap - 1  # these frames reach the sums
    with inverse.around():
        total = np.zeros((*sums.shape[:-1], held + one_by_one * hop), sums.dtype)
        total[..., :held] = sums
        numbers, some = total.view(plan.weights.dtype), frames[:, :one_by_one]
        if inverse.short:
            products.add_frames(plan, running, some, numbers)
        else:
            add_frames(plan, running, inverse.transform, some, numbers, frame)
        if many is not None:
            reached = total[..., :held]
            total = np.empty((*sums.shape[:-1], held + count * hop), sums.dtype)
            total[..., :held] = reached
            overlap_added(spectrum, many, inverse, total[..., held:], None)
        signal = with_true_gain(_of_groups(total[..., : count * hop], plan), running.gain, frame * hop + running.edge)
    sums = total[..., count * hop :]
    return signal, sums if many is None else sums.copy()


def ended(sums: np.ndarray, job: Synthesis, lo: int, skip: int, running: Running) -> np.ndarray:
    sums = _of_groups(sums, plan_of(running.job, sums.dtype))
    signal = np.zeros((*sums.shape[:-1], job.frames.stop - lo), sums.dtype)
    inside = sums[..., skip : skip + signal.shape[-1]]
    signal[..., : inside.shape[-1]] = inside
    assert job.gain is not None
    with np.errstate(all="ignore"):
        return with_true_gain(signal, job.gain, lo)


@lru_cache(maxsize=32)
def _beyond_the_sums(running: Running, count: int, kind: np.dtype) -> Synthesis | None:
    """What `count` frames make of the samples that no earlier frame reaches, with the steady gain throughout.

    None where frames are better added one by one.
    """
    job, laid = running.job, running.job.frames
    frames = Frames(laid.n_fft, laid.hop, count, laid.n_fft - laid.hop, laid.n_fft + laid.hop * (count - 1))
    period, none = running.gain.period, np.zeros(0)
    gain = HopPeriodic(none, np.where(period == 0, 1, period), none, frames.stop)
    many = replace(job, frames=frames, gain=gain)
    return None if count < _MANY_OVERLAPS * laid.overlap or plan_of(many, kind).group else many


def _of_groups(sums: np.ndarray, plan: Overlap) -> np.ndarray:
    return sums[..., 0, :] + sums[..., 1, :] if plan.group else sums.copy()
