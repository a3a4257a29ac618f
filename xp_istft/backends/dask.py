"""Dask: one task per chunk of frames, each on the backend of its chunk."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np

from ..arguments import error
from ..jobs import Analysis, Synthesis
from . import required_backend
from .array_api import as_complex, frame, joined, overlap_add  # noqa: F401


def synthesis(spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
    """Each chunk of frames makes the samples between its first frame and the next chunk's."""
    frames = job.frames
    edges, first = [frames.start], 0
    for count in spectrum.chunks[-1][:-1]:
        first += count
        edges.append(min(max(edges[-1], first * frames.hop), frames.stop))
    edges.append(frames.stop)
    parts = []
    for lo, hi in pairwise(edges):
        if lo < hi:
            columns, segment = job.segment(lo, hi)
            part = spectrum[..., columns].rechunk({-2: -1, -1: -1})
            parts.append(
                part.map_blocks(
                    required_backend(spectrum._meta).synthesis,
                    segment,
                    workers=workers,
                    drop_axis=part.ndim - 2,
                    chunks=(*part.chunks[:-2], (hi - lo,)),
                    meta=(spectrum._meta.real if job.real else spectrum._meta).sum(axis=-1),
                )
            )
    return da.concatenate(parts, axis=-1)


def analysis(signal: Any, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
    frames = job.frames
    n_bins = frames.n_fft // 2 + 1 if job.onesided else frames.n_fft
    whole = signal.rechunk({-1: -1})
    return whole.map_blocks(
        required_backend(signal._meta).analysis,
        job,
        workers=workers,
        new_axis=whole.ndim,
        chunks=(*whole.chunks[:-1], (n_bins,), (frames.n_frames,)),
        meta=signal._meta[..., None] * np.complex64(1),
    )


def on_host(array: Any, function: Any) -> Any:
    """One task for each chunk of the leading axes, which holds all bins and frames of its items."""
    whole = array.rechunk({-2: -1, -1: -1})
    meta = whole._meta * np.complex64(1)
    return whole.map_blocks(lambda block: required_backend(block).on_host(block, function), meta=meta)


def by_signal(function: Any, array: Any, core: int, shape: tuple[int, ...], dtype: str) -> Any:
    """function(chunk) -> (..., *shape) of every chunk of signals, whose last `core` axes are made whole."""
    whole = array.rechunk(dict.fromkeys(range(array.ndim - core, array.ndim), -1))
    batch = array.ndim - core
    return whole.map_blocks(
        function,
        drop_axis=list(range(batch, array.ndim)),
        new_axis=list(range(batch, batch + len(shape))),
        chunks=(*whole.chunks[:batch], *((size,) for size in shape)),
        meta=np.zeros((0,) * (batch + len(shape)), dtype),
    )


def checked(function: str, name: str, array: Any) -> Any:
    if any(size != size for size in array.shape):  # nan: not known before it is computed
        raise error(ValueError, function, name, "known chunk sizes", f"shape {array.shape}", "compute_chunk_sizes()")
    return array


def check_out(function: str, out: Any, array: Any, shape: tuple[int, ...], dtype: str) -> None:
    raise error(TypeError, function, "out", "an array that can be written in place", "dask.array.Array (lazy)")
