"""Arrays that are no array of a library, but have shape, dtype and slices (zarr, h5py, ...): block by block.

Only a block is in memory at a time, and the result where it is not written to `out`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arguments import error
from ..blocks import default_block, istft_blocks, stft_blocks
from ..dtypes import PRECISION, SPECTRUM, dtype_name
from ..frames import Frames
from ..jobs import Analysis, Synthesis
from . import backend_for
from .base import Backend
from .cpu.memory import empty
from .cpu.numpy import plain

_HALF = np.dtype("float16")


def is_stored(array: Any) -> bool:
    """Whether `array` is to be read or written in slices. Arrays that compute otherwise (pandas, ...) are not.

    A memory map of foreign byte order is: as a whole it would be copied.
    """
    if isinstance(array, np.ndarray):
        return isinstance(array, np.memmap) and not array.dtype.isnative
    if not isinstance(getattr(array, "dtype", None), np.dtype) or not isinstance(getattr(array, "shape", None), tuple):
        return False
    known = isinstance(array, np.generic) or hasattr(array, "__array_ufunc__") or backend_for(array) is not None
    return hasattr(type(array), "__getitem__") and not known


class Stored:
    """Such an array with its axes in some order: slices along the last one come and go as NumPy arrays.

    `dtype` is that of what comes: in native byte order, half precision widened.
    """

    def __init__(self, array: Any, order: tuple[int, ...] | None = None) -> None:
        self.array = array
        self.order = tuple(range(len(array.shape))) if order is None else order
        self.shape: tuple[int, ...] = tuple(int(array.shape[axis]) for axis in self.order)
        self.ndim = len(self.shape)
        native = array.dtype.newbyteorder("=")
        self.dtype = np.dtype(np.float32) if native == _HALF else native

    def transpose(self, axes: tuple[int, ...]) -> Stored:
        return Stored(self.array, tuple(self.order[axis] for axis in axes))

    @property
    def chunk(self) -> int:
        """How many elements of the last axis lie in one piece; 1 where that is not known."""
        chunks = getattr(self.array, "chunks", None)
        size = chunks[self.order[-1]] if isinstance(chunks, tuple) and len(chunks) == self.ndim else 1
        return size if isinstance(size, int) and size > 0 else 1

    def read(self, lo: int, hi: int) -> np.ndarray:
        """Elements [lo, hi) of the last axis."""
        piece = np.asarray(self.array[self._index(lo, hi)])
        if piece.ndim != self.ndim or piece.transpose(self.order).shape != (*self.shape[:-1], hi - lo):
            need = "an array whose slices have the shape of a slice"
            raise error(TypeError, "blocks", "array", need, f"{type(self.array).__qualname__}: {piece.shape}")
        return piece.transpose(self.order).astype(self.dtype, copy=False)

    def write(self, lo: int, hi: int, piece: np.ndarray) -> None:
        self.array[self._index(lo, hi)] = piece.transpose(np.argsort(self.order))

    def _index(self, lo: int, hi: int) -> tuple[slice, ...]:
        index = [slice(None)] * self.ndim
        index[self.order[-1]] = slice(lo, hi)
        return tuple(index)


class StoredBackend(Backend):
    any_byte_order = True

    def synthesis(self, spectrum: Stored, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
        frames, leading = job.frames, spectrum.shape[:-2]
        if out is None:
            kind = dtype_name(spectrum)
            out = empty("istft", (*leading, frames.n_samples), PRECISION[kind] if job.real else kind)
        step = whole_chunks(frames, leading, spectrum.chunk)
        _write(out, istft_blocks(spectrum.read, job, block_frames=step, workers=workers))
        return out

    def analysis(self, signal: Stored, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
        frames, leading = job.frames, signal.shape[:-1]
        if out is None:
            n_bins = frames.n_fft // 2 + 1 if job.onesided else frames.n_fft
            kind = dtype_name(signal)
            out = empty("stft", (*leading, n_bins, frames.n_frames), SPECTRUM.get(kind, kind), columns=True)
        step = whole_chunks(frames, leading, -(-signal.chunk // frames.hop))
        _write(out, stft_blocks(signal.read, job, block_frames=step, workers=workers))
        return out

    def to_amplitudes(self, spectrum: Any, job: Analysis, out: Any = None) -> Any:
        """Each block was."""
        return spectrum

    def of_amplitudes(self, spectrum: Any, job: Synthesis) -> Any:
        """Each block will be."""
        return spectrum

    def namespace(self, *arrays: Any) -> Any:
        """NumPy, of which moveaxis alone is for arrays that have nothing but slices."""
        return np

    def checked(self, function: str, name: str, array: Any) -> Any:
        return array

    def check_out(self, function: str, out: Any, array: Stored, shape: tuple[int, ...], dtype: str) -> None:
        super().check_out(function, out, array.array, shape, dtype)

    def check_kind_of_out(self, function: str, out: Any, array: Any) -> None:
        """A NumPy array, or what takes slices."""
        if not (plain(out) or is_stored(out)) or not hasattr(type(out), "__setitem__"):
            raise error(TypeError, function, "out", "an array that takes slices", type(out).__qualname__)

    def check_writeable(self, function: str, out: Any) -> None:
        if getattr(out, "read_only", False) or not getattr(getattr(out, "flags", None), "writeable", True):
            raise error(ValueError, function, "out", "a writeable array", "a read-only one")

    def device(self, array: Any) -> None:
        """None: of what is stored."""

    def memory(self, array: Any) -> np.ndarray | None:
        return array if isinstance(array, np.ndarray) else None


BACKEND = StoredBackend()


def whole_chunks(frames: Frames, leading: tuple[int, ...], chunk: int) -> int:
    """Frames of a block: whole chunks, so that most are read once."""
    return -(-default_block(frames, math.prod(leading)) // chunk) * chunk


def _write(out: Any, blocks: Iterator[np.ndarray]) -> None:
    target = out if isinstance(out, Stored) else Stored(out)
    lo = 0
    for block in blocks:
        hi = lo + block.shape[-1]
        target.write(lo, hi, block)
        lo = hi
