"""The maps for sizes that jax.export leaves open: no step asks which of two sizes is the larger."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import numpy as jnp

from ..arguments import error
from ..frames import folded
from ..jobs import Analysis, Synthesis
from .base import BASE


def synthesis(spectrum: Any, job: Synthesis) -> Any:
    return overlap_add(BASE._segments(spectrum, job), job)


def overlap_add(segments: Any, job: Synthesis) -> Any:
    signal = _overlap_added(jnp.moveaxis(BASE._windowed(segments, job), -1, -2), job)
    return signal if job.decided is None else BASE._normalised(signal, _gain(job, signal))


def analysis(signal: Any, job: Analysis) -> Any:
    segments = frame(signal, job)
    if job.onesided:
        return jnp.fft.rfft(segments, axis=-2)
    return jnp.fft.fft(segments, axis=-2)


def frame(signal: Any, job: Analysis) -> Any:
    frames = job.frames
    n_fft, hop, rows, n_samples = frames.n_fft, frames.hop, frames.overlap, signal.shape[-1]
    total = (frames.n_frames + rows - 1) * hop  # whole hops that hold every frame
    if job.pad_mode == "constant":
        axis = _padded(signal, frames.start, total)[..., :total]
    else:
        index = folded(jnp.arange(total) - frames.start, jnp.asarray(n_samples), job.pad_mode, jnp)
        axis = jnp.take(signal, index, axis=-1)
    hops = jnp.reshape(axis, (*signal.shape[:-1], frames.n_frames + rows - 1, hop))
    pieces = jnp.concatenate([hops[..., row : row + frames.n_frames, :] for row in range(rows)], axis=-1)
    return BASE._windowed(jnp.moveaxis(pieces[..., :n_fft], -1, -2), job)


def _padded(array: Any, before: Any, after: Any) -> Any:
    return jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(before, after)])


def _overlap_added(segments: Any, job: Synthesis) -> Any:
    """The samples of segments (..., n_frames, n_fft), not normalised: the earliest frame first."""
    frames = job.frames
    hop, rows = frames.hop, frames.overlap
    *batch, n_frames, n_fft = segments.shape
    pieces = jnp.reshape(_padded(segments, 0, rows * hop - n_fft), (*batch, n_frames, rows, hop))
    widths = [(0, 0)] * len(batch)
    total: Any = 0
    for row in reversed(range(rows)):
        total = total + jnp.pad(pieces[..., row, :], [*widths, (row, rows - 1 - row), (0, 0)])
    axis = jnp.reshape(total, (*batch, (n_frames + rows - 1) * hop))
    before = max(0, -frames.start)
    beyond = frames.n_samples if isinstance(frames.n_samples, int) else 0  # of frames alone there are enough
    return _padded(axis, before, beyond)[..., before + frames.start :][..., : frames.n_samples]


def _gain(job: Synthesis, signal: Any) -> Any:
    """1 / overlap, worked out as the program runs; 0 where not covered."""
    decided, frames = job.decided, job.frames
    assert decided is not None
    if decided.max_gain is not None:
        raise error(ValueError, "istft", "max_gain", "None where sizes are left open", decided.max_gain)
    piece = BASE.along(np.asarray(decided.piece), signal)
    piece = jnp.broadcast_to(jnp.reshape(piece, (1, -1)), (frames.n_frames, frames.n_fft))
    overlap = _overlap_added(piece, job)
    covered = jnp.abs(overlap) > jnp.asarray(decided.floor, overlap.dtype)
    return jnp.where(covered, 1 / jnp.where(covered, overlap, jnp.ones_like(overlap)), jnp.zeros_like(overlap))
