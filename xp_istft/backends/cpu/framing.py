"""Frames of NumPy signals, copied from views: what `overlap` adds, the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...frames import padding_index
from ...jobs import Analysis
from .memory import buffer, keep_views, known_views


class _Padded(NamedTuple):
    """A padded signal in this thread's scratch: its views."""

    signal: np.ndarray
    ends: tuple[tuple[np.ndarray, np.ndarray | None], ...]  # places, and the samples that stand there (None: zeros)
    samples: slice  # of the signal that lie in frames
    framed: np.ndarray  # (items, n_frames, n_fft)


def padded_frames(signal: np.ndarray, job: Analysis) -> np.ndarray:
    """Every frame of signal (items, n_samples), padded in this thread's scratch: for small problems."""
    key = (job, len(signal), signal.dtype)
    padded = known_views(key) or _padded_views(*key)
    np.copyto(padded.signal, signal[:, padded.samples])
    for place, index in padded.ends:
        if index is None:
            place.fill(0)
        else:
            signal.take(index, 1, place)
    return padded.framed


def _padded_views(job: Analysis, items: int, dtype: np.dtype) -> _Padded:
    frames = job.frames
    span, size = frames.span, dtype.itemsize
    memory = buffer("padded", items * span * size)
    axis = np.ndarray((items, span), dtype, memory)
    lo = min(max(0, frames.start), span)
    hi = max(lo, min(span, frames.stop))
    ends = []
    for a, b in ((0, lo), (hi, span)):
        if a < b:
            constant = job.pad_mode == "constant"
            index = padding_index(a - frames.start, b - frames.start, frames.n_samples, job.pad_mode)
            ends.append((axis[:, a:b], None if constant else index))
    strides = (span * size, frames.hop * size, size)
    framed = np.ndarray((items, frames.n_frames, frames.n_fft), dtype, memory, 0, strides)
    views = _Padded(axis[:, lo:hi], tuple(ends), slice(lo - frames.start, hi - frames.start), framed)
    keep_views((job, items, dtype), views, memory)
    return views


class Framed:
    """The frames of signal (items, n_samples): those that lie within are views of it, others of padded pieces."""

    def __init__(self, signal: np.ndarray, job: Analysis) -> None:
        self._signal, self._job = signal, job
        frames = job.frames
        n_fft, hop, start = frames.n_fft, frames.hop, frames.start
        self._first = min(frames.n_frames, max(0, -(-start // hop)))  # frames [first, last) lie within
        self._last = max(self._first, min(frames.n_frames, (frames.stop - n_fft) // hop + 1))
        if self._first < self._last:
            step = signal.strides[1]
            shape = (len(signal), self._last - self._first, n_fft)
            strides = (signal.strides[0], hop * step, step)
            self._within = as_strided(signal[:, self._first * hop - start :], shape, strides, writeable=False)

    def copy_to(self, segments: np.ndarray, batch: slice, lo: int) -> None:
        """Frames from `lo` on of some items to segments (items, frames, n_fft)."""
        for a, b, frames in self.pieces(batch, lo, lo + segments.shape[1]):
            np.copyto(segments[:, a - lo : b - lo], frames)

    def pieces(self, batch: slice, lo: int, hi: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """Frames [lo, hi) of some items in pieces, mostly up to three: the first and last frame, and a view of all."""
        a = min(max(lo, self._first), hi)
        b = max(a, min(hi, self._last))
        yield from self._outside(batch, lo, a)
        if a < b:
            yield a, b, self._within[batch, a - self._first : b - self._first]
        yield from self._outside(batch, b, hi)

    def _outside(self, batch: slice, lo: int, hi: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """Frames [lo, hi) of padded pieces: of all at once, but of what lies between frames no more than of frames."""
        frames = self._job.frames
        step = max(1, min(hi - lo, (hi - lo) * frames.n_fft // frames.hop))
        for a in range(lo, hi, step):
            b = min(a + step, hi)
            yield a, b, self._padded(batch, a, b)

    def _padded(self, batch: slice, lo: int, hi: int) -> np.ndarray:
        frames, pad_mode = self._job.frames, self._job.pad_mode
        first = lo * frames.hop - frames.start
        last = (hi - 1) * frames.hop + frames.n_fft - frames.start
        signal = self._signal[batch]
        if pad_mode == "constant":
            piece = np.zeros((len(signal), last - first), signal.dtype)
            a, b = max(0, first), max(0, min(frames.n_samples, last))
            if a < b:
                piece[:, a - first : b - first] = signal[:, a:b]
        else:
            piece = signal.take(padding_index(first, last, frames.n_samples, pad_mode), axis=1)
        size = piece.itemsize
        return as_strided(
            piece, (len(signal), hi - lo, frames.n_fft), (piece.strides[0], frames.hop * size, size), writeable=False
        )
