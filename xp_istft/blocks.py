"""The transforms block by block, for what is longer than memory: same bits as in one call, whatever the blocks.

First the job, from sizes alone; then its blocks, each made of what a `read` brings:

    job = istft_job((2, 1025, 310079), "complex64", hop_length=512)
    for signal in istft_blocks(lambda first, last: spectrum[..., first:last], job): ...

Frames that reach over the border of two blocks are read twice.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import array_api_compat
import numpy as np

from . import plans
from .arguments import boolean, error, integer
from .backends import array_api, required_backend
from .backends.array_api import dtype_name
from .frames import Frames, Padding, padding_index
from .jobs import Analysis, Synthesis
from .plans import planned, read_padding, read_window
from .windows import CoverageWarning

Read = Callable[[int, int], Any]

_COMPLEX = ("complex64", "complex128")

BLOCK_BYTES = 16 << 20  # of the spectrum; from 1 to 64 MiB, ten minutes of stereo took the same time but for the noise


def istft_job(
    shape: tuple[int, ...],
    dtype: str = "complex64",
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    synthesis_window: Any = None,
    center: bool = True,
    padding: Padding = None,
    length: int | None = None,
    onesided: bool = True,
    real: bool = True,
    scaling: str | None = None,
    nola: str = "warn",
    max_gain: float | None = None,
) -> Synthesis:
    """What `istft` would do with a spectrum of this shape (..., n_bins, n_frames) and dtype; parameters as there.

    job.frames.n_samples is the length of the signal. Raises and warns as `istft`.

    >>> istft_job((257, 126), hop_length=128).frames.n_samples
    16000
    """
    if dtype not in _COMPLEX:
        raise error(TypeError, "istft", "X", "dtype complex64 or complex128", dtype)
    if len(shape) < 2:
        raise error(ValueError, "istft", "X", "at least 2 dimensions (..., bins, frames)", f"shape {shape}")
    X = np.broadcast_to(np.zeros((), dtype), shape)  # takes no memory
    onesided = boolean("istft", "onesided", onesided)
    chosen = plans.spectrum_layout(X, n_fft, hop_length, win_length, window, onesided)
    v = chosen.window
    if synthesis_window is not None:
        v = read_window("istft", "synthesis_window", synthesis_window, chosen.win_length, X)
    plan = planned(
        plans.inverse, chosen, v, shape[-1], center, read_padding("istft", padding), length, onesided, real, scaling,
        nola, max_gain, "float64" if dtype == "complex128" else "float32",
    )  # fmt: skip
    if plan.warning is not None:
        warnings.warn(plan.warning, CoverageWarning, stacklevel=2)
    return plan.job


def istft_blocks(
    read: Read, job: Synthesis, *, block_frames: int | None = None, workers: int | None = None
) -> Iterator[Any]:
    """The signal (..., n_samples) of a job, in blocks along its last axis.

    read         : read(first, last) brings frames [first, last) of the spectrum, (..., n_bins, last - first), in an
                   array of any library
    block_frames : hops of samples in a block; by default as many as make 16 MiB of spectrum
    workers      : as in `istft`

    >>> import xp_istft as xi
    >>> X = xi.stft(np.random.default_rng(0).standard_normal(5000), 256)
    >>> blocks = istft_blocks(lambda a, b: X[:, a:b], istft_job(X.shape, "complex128"), block_frames=9)
    >>> bool((np.concatenate(list(blocks)) == xi.istft(X)).all())
    True
    """
    frames = job.frames
    step = None if block_frames is None else integer("istft_blocks", "block_frames", block_frames, 1)
    lo = frames.start
    while lo < frames.stop:
        if step is None:
            step = default_block(frames, math.prod(read(0, 1).shape[:-2]))
        hi = min(lo + step * frames.hop, frames.stop)
        columns, segment = job.segment(lo, hi)
        spectrum = _checked("istft", "X", read(columns.start, columns.stop), _COMPLEX)
        if segment.frames.n_frames:
            yield required_backend(spectrum).synthesis(spectrum, segment, workers=workers)
        else:  # beyond the last frame: zeros
            yield array_api.synthesis(spectrum, segment)
        lo = hi


def stft_job(
    n_samples: int,
    n_fft: int = 2048,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    padding: Padding = None,
    pad_mode: str = "constant",
    onesided: bool = True,
    scaling: str | None = None,
) -> Analysis:
    """What `stft` would do with a signal of n_samples samples; parameters as there.

    job.frames.n_frames is the number of frames of the spectrum. Raises as `stft`.

    >>> stft_job(16000, 512).frames.n_frames
    126
    """
    onesided = boolean("stft", "onesided", onesided)
    chosen = plans.layout("stft", n_fft, hop_length, win_length, window, None)
    n_samples = integer("stft", "n_samples", n_samples, 0)
    padding = read_padding("stft", padding)
    return planned(plans.forward, "stft", chosen, n_samples, center, padding, pad_mode, onesided, scaling)


def stft_blocks(
    read: Read, job: Analysis, *, block_frames: int | None = None, workers: int | None = None
) -> Iterator[Any]:
    """The spectrum (..., n_bins, n_frames) of a job, in blocks along its last axis.

    read         : read(lo, hi) brings samples [lo, hi) of the signal, (..., hi - lo), in an array of any library
    block_frames : frames in a block; by default as many as make 16 MiB of spectrum
    workers      : as in `stft`

    >>> import xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal(5000)
    >>> blocks = stft_blocks(lambda lo, hi: x[lo:hi], stft_job(5000, 256, pad_mode="reflect"), block_frames=9)
    >>> bool((np.concatenate(list(blocks), axis=-1) == xi.stft(x, 256, pad_mode="reflect")).all())
    True
    """
    frames = job.frames
    step = None if block_frames is None else integer("stft_blocks", "block_frames", block_frames, 1)
    first = 0
    while first < frames.n_frames:
        if step is None:
            step = default_block(frames, math.prod(read(0, 1).shape[:-1]))
        count = min(step, frames.n_frames - first)
        lo = first * frames.hop - frames.start  # the block's samples, counted from the signal's first
        hi = lo + frames.n_fft + frames.hop * (count - 1)
        signal, before = _padded(read, lo, hi, frames.n_samples, job.pad_mode)
        signal = _checked("stft", "x", signal, ("float32", "float64", *(() if job.onesided else _COMPLEX)))
        laid = Frames(frames.n_fft, frames.hop, count, before, before + signal.shape[-1])
        block = replace(job, frames=laid, pad_mode="constant")
        yield required_backend(signal).analysis(signal, block, workers=workers)
        first += count


def _checked(function: str, name: str, block: Any, kinds: tuple[str, ...]) -> Any:
    """What was read, which must be of one of these dtypes."""
    if dtype_name(block) not in kinds:
        raise error(TypeError, function, name, f"dtype {' or '.join(kinds)}", block.dtype)
    return block


def _padded(read: Read, lo: int, hi: int, n_samples: int, mode: str) -> tuple[Any, int]:
    """Samples [lo, hi) of the padded signal, and how many zeros are left out before them."""
    inside = min(max(lo, 0), n_samples), max(0, min(hi, n_samples))
    if mode == "constant":
        if inside[0] >= inside[1]:  # frames of zeros alone: any sample, but outside of them
            return read(0, 1)[..., :0], 0
        return read(*inside), max(0, -lo)
    parts = []
    for a, b in ((lo, min(hi, 0)), inside, (max(lo, n_samples), hi)):
        if a < b:
            index = padding_index(a, b, n_samples, mode)
            near = int(index.min())
            part = read(near, int(index.max()) + 1)
            if (a, b) != inside:
                xp = array_api_compat.array_namespace(part)
                part = xp.take(part, xp.asarray(index - near, device=array_api_compat.device(part)), axis=-1)
            parts.append(part)
    xp = array_api_compat.array_namespace(*parts)
    return (parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)), 0


def default_block(frames: Frames, n_signals: int) -> int:
    """Frames that make a block of `BLOCK_BYTES`, at least enough that few are read twice."""
    return max(4 * frames.overlap, BLOCK_BYTES // (8 * max(1, n_signals) * (frames.n_fft // 2 + 1)))
