"""NumPy: the definition in blocks that stay in cache, so that memory does not grow with the length."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import error
from ..frames import Frames
from ..jobs import Analysis, Synthesis
from . import array_api
from .array_api import dtype_name, frame, overlap_add  # noqa: F401  the definition serves

_BLOCK_BYTES = 1 << 20  # segments of one block


def synthesis(
    spectrum: np.ndarray, job: Synthesis, out: np.ndarray | None = None, workers: int | None = None
) -> np.ndarray:
    frames = job.frames
    real = spectrum.real.dtype if job.real else spectrum.dtype
    signal = _empty("istft", (*spectrum.shape[:-2], frames.n_samples), real) if out is None else out
    step = _frames_per_block(spectrum, frames) * frames.hop
    with np.errstate(all="ignore"):
        for lo in range(frames.start, frames.stop, step):
            hi = min(lo + step, frames.stop)
            columns, segment = job.segment(lo, hi)
            signal[..., lo - frames.start : hi - frames.start] = array_api.synthesis(spectrum[..., columns], segment)
    return signal


def analysis(
    signal: np.ndarray, job: Analysis, out: np.ndarray | None = None, workers: int | None = None
) -> np.ndarray:
    frames = job.frames
    n_bins = frames.n_fft // 2 + 1 if job.onesided else frames.n_fft
    kind = np.result_type(signal.dtype, np.complex64)
    spectrum = _empty("stft", (*signal.shape[:-1], n_bins, frames.n_frames), kind) if out is None else out
    step = _frames_per_block(signal, frames)
    with np.errstate(all="ignore"):
        for first in range(0, frames.n_frames, step):
            count = min(step, frames.n_frames - first)
            origin = first * frames.hop
            block = Frames(frames.n_fft, frames.hop, count, frames.start - origin, frames.stop - origin)
            spectrum[..., first : first + count] = array_api.analysis(signal, replace(job, frames=block))
    return spectrum


def as_complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    pair = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, imag, np.complex64))
    pair.real, pair.imag = real, imag
    return pair


def joined(pairs: np.ndarray) -> np.ndarray:
    """Complex view of real (..., 2), without a copy where the pairs lie side by side in memory."""
    kind = np.result_type(pairs.dtype, np.complex64)
    if pairs.strides[-1] == pairs.itemsize and pairs.dtype.isnative:
        return pairs.view(kind)[..., 0]
    return as_complex(pairs[..., 0], pairs[..., 1])


def checked(function: str, name: str, array: np.ndarray) -> np.ndarray:
    """A plain array in native byte order."""
    array = np.asarray(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_out(function: str, out: Any, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
    if not isinstance(out, np.ndarray):
        raise error(TypeError, function, "out", "a NumPy array as the input", type(out).__name__)
    if dtype_name(out) != dtype or not out.dtype.isnative:
        raise error(TypeError, function, "out", f"dtype {dtype}", out.dtype)
    if out.shape != shape:
        raise error(ValueError, function, "out", f"shape {shape}", out.shape)
    if not out.flags.writeable:
        raise error(ValueError, function, "out", "a writeable array", "a read-only one")
    if np.shares_memory(out, array):
        raise error(ValueError, function, "out", "memory of its own", "one that overlaps the input")
    if any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True)):
        raise error(ValueError, function, "out", "memory of its own", "rows that overlap")


def _frames_per_block(array: np.ndarray, frames: Frames) -> int:
    items = math.prod(array.shape[: -2 if array.dtype.kind == "c" else -1]) or 1
    return max(4 * frames.overlap, _BLOCK_BYTES // (items * frames.n_fft * array.itemsize))


def _empty(function: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except MemoryError as cause:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raise error(MemoryError, function, "memory", f"{size} bytes for the result of shape {shape}", cause) from cause
