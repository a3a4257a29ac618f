"""The transforms block by block, for what is longer than memory: same bits as in one call, whatever the blocks.

First the job, from sizes alone; then its blocks, each made of what a `read` returns:

    job, warning = STFT(2048, 512).synthesis("istft", 310079, None, "complex64")
    for signal in istft_blocks(lambda first, last: spectrum[..., first:last], job): ...

Frames that reach over the border of two blocks are read twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .arguments import error, integer
from .backends import Backend, device, namespace, required_backend
from .dtypes import COMPLEX, REAL, dtype_name
from .frames import Frames, padding_index
from .jobs import Analysis, Synthesis
from .tuning import tuning

Read = Callable[[int, int], Any]


def istft_blocks(
    read: Read, job: Synthesis, *, block_frames: int | None = None, workers: int | None = None
) -> Iterator[Any]:
    """The signal (..., n_samples) of a job, in blocks along its last axis.

    read         : read(first, last) returns frames [first, last) of the spectrum, (..., n_bins, last - first), in an
                   array of any library
    block_frames : hops of samples in a block; by default as many as make 16 MiB of spectrum
    workers      : as in `istft`

    >>> import numpy as np, xp_istft as xi
    >>> t = xi.STFT(256)
    >>> X = t.stft(np.random.default_rng(0).standard_normal(5000))
    >>> job, _ = t.synthesis("istft", X.shape[-1], None, X)
    >>> blocks = istft_blocks(lambda first, last: X[:, first:last], job, block_frames=9)
    >>> bool((np.concatenate(list(blocks)) == t.istft(X)).all())
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
        spectrum = _checked("istft", "X", read(columns.start, columns.stop), COMPLEX)
        backend = required_backend(spectrum)
        spectrum = backend.of_amplitudes(spectrum, segment)
        if segment.frames.n_frames:
            yield backend.synthesis(spectrum, segment, workers=workers)
        else:  # beyond the last frame: zeros, as the definition makes them
            yield Backend.synthesis(backend, spectrum, segment)
        lo = hi


def stft_blocks(
    read: Read, job: Analysis, *, block_frames: int | None = None, workers: int | None = None
) -> Iterator[Any]:
    """The spectrum (..., n_bins, n_frames) of a job, in blocks along its last axis.

    read         : read(lo, hi) returns samples [lo, hi) of the signal, (..., hi - lo), in an array of any library
    block_frames : frames in a block; by default as many as make 16 MiB of spectrum
    workers      : as in `stft`

    >>> import numpy as np, xp_istft as xi
    >>> t = xi.STFT(256, pad_mode="reflect")
    >>> x = np.random.default_rng(0).standard_normal(5000)
    >>> blocks = stft_blocks(lambda lo, hi: x[lo:hi], t.analysis("stft", 5000, x), block_frames=9)
    >>> bool((np.concatenate(list(blocks), axis=-1) == t.stft(x)).all())
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
        signal = _checked("stft", "x", signal, REAL if job.onesided else (*REAL, *COMPLEX))
        laid = Frames(frames.n_fft, frames.hop, count, before, before + signal.shape[-1])
        block = replace(job, frames=laid, pad_mode="constant")
        backend = required_backend(signal)
        yield backend.to_amplitudes(backend.analysis(signal, block, workers=workers), block)
        first += count


def _checked(function: str, name: str, block: Any, kinds: tuple[str, ...]) -> Any:
    """What was read, which must be of one of these dtypes."""
    if dtype_name(block) not in kinds:
        raise error(TypeError, function, name, f"dtype {' or '.join(kinds)}", block.dtype)
    return block


def _padded(read: Read, lo: int, hi: int, n_samples: int, mode: str) -> tuple[Any, int]:
    """Samples [lo, hi) of the padded signal, and how many zeros are left out before them."""
    inside = max(lo, 0), min(hi, n_samples)
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
                xp = namespace(part)
                part = xp.take(part, xp.asarray(index - near, device=device(part)), axis=-1)
            parts.append(part)
    xp = namespace(*parts)
    return (parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)), 0


def default_block(frames: Frames, n_signals: int) -> int:
    """Frames that make a block, at least enough that few are read twice."""
    least = 4 * frames.overlap if frames.hop <= frames.n_fft else 1
    numbers = max(frames.n_fft // 2 + 1, frames.hop // 2)  # of spectrum, or what the samples take
    return max(least, tuning().spectrum_bytes // (8 * max(1, n_signals) * numbers))
