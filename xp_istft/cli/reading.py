"""What is taken of a recording: a part of it, its channels mixed, another sampling rate; block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from .failures import Exit, Failure
from .recordings import Raw, Recording

_CHUNK = 1 << 16  # samples that are resampled at a time, always the same: so blocks change no bit
_NAMES = ("start", "duration", "mono", "rate")


@dataclass(frozen=True)
class Selection:
    """start and duration in seconds, mono: the mean of the channels, rate: in Hz; by default all, as it is."""

    start: float = 0.0
    duration: float | None = None
    mono: bool = False
    rate: int | None = None

    @classmethod
    def taken(cls, options: dict[str, Any]) -> Selection:
        """What the options ask for, which are taken out of them."""
        return cls(**{name: options.pop(name) for name in _NAMES if options.get(name) is not None})

    def __str__(self) -> str:
        """Nothing, where it is all."""
        said = {
            f"from {self.start} s": self.start > 0,
            f"for {self.duration} s": self.duration is not None,
            "mono": self.mono,
            f"at {self.rate} Hz": self.rate is not None,
        }
        return ", ".join(text for text, holds in said.items() if holds)


class Excerpt:
    """An open recording of which a selection is read, with the attributes and methods of a `Recording`.

    whole : whether it is from the beginning to the end
    """

    def __init__(
        self, path: Path, dtype: str | None = None, selection: Selection | None = None, raw: Raw | None = None
    ) -> None:
        selection = selection or Selection()
        self._recording = recording = Recording(path, dtype, raw)
        try:
            self.path, self.dtype = recording.path, recording.dtype
            self.subtype, self.format = recording.subtype, recording.format
            self.channels = 1 if selection.mono else recording.channels
            self._mono, self._first = selection.mono, round(selection.start * recording.sample_rate)
            seconds = recording.n_samples / recording.sample_rate
            if self._first >= recording.n_samples:
                got = f"--start {selection.start:g}: the recording ends after {seconds:.6g} s"
                raise Failure(Exit.MISFIT, f"{path}: {got}")
            self.n_samples = recording.n_samples - self._first
            if selection.duration is not None:
                self.n_samples = min(self.n_samples, max(1, round(selection.duration * recording.sample_rate)))
            self.whole = self.n_samples == recording.n_samples
            self.sample_rate, self._read = recording.sample_rate, self._part
            if selection.rate not in (None, self.sample_rate):
                resampled = _Resampled(self._part, self.n_samples, self.sample_rate, int(selection.rate or 0))
                self.n_samples, self.sample_rate, self._read = resampled.n_samples, resampled.rate, resampled.read
        except BaseException:
            recording.__exit__(None, None, None)
            raise

    def read(self, lo: int, hi: int) -> np.ndarray:
        """Samples [lo, hi) of the selection, (channels, hi - lo)."""
        return self._read(lo, hi)

    def _part(self, lo: int, hi: int) -> np.ndarray:
        signal = self._recording.read(self._first + lo, self._first + hi)
        return signal.mean(axis=0, keepdims=True, dtype=signal.dtype) if self._mono else signal

    def __enter__(self) -> Excerpt:
        return self

    def __exit__(self, *cause: Any) -> None:
        self._recording.__exit__(*cause)


class _Resampled:
    """A signal that `read` gives, at another rate. Reading forward resamples once; going back begins anew."""

    def __init__(self, read: Callable[[int, int], np.ndarray], n_samples: int, before: int, rate: int) -> None:
        self._source, self._count, self._before, self.rate = read, n_samples, before, rate
        self.n_samples = resampled_length(n_samples, before, rate)
        self._begin()

    def _begin(self) -> None:
        starts = range(0, self._count, _CHUNK)
        blocks = (self._source(lo, min(lo + _CHUNK, self._count)) for lo in starts)
        self._blocks = resampled(blocks, self._count, self._before, self.rate)
        self._block, self._lo = next(self._blocks), 0

    def read(self, lo: int, hi: int) -> np.ndarray:
        if lo < self._lo:
            self._begin()
        while self._lo + self._block.shape[1] <= lo:
            self._lo += self._block.shape[1]
            self._block = next(self._blocks)
        parts, end = [self._block[:, lo - self._lo :]], self._lo + self._block.shape[1]
        while end < hi:
            parts.append(next(self._blocks))
            end += parts[-1].shape[1]
        self._block, self._lo = np.concatenate(parts, axis=1), lo
        return self._block[:, : hi - lo]


def resampled_length(n_samples: int, before: int, rate: int) -> int:
    """Samples at `rate` that last as long as n_samples at the rate before: the nearest number, as soxr has it."""
    return max(1, (2 * n_samples * rate + before) // (2 * before))


def resampled(blocks: Iterable[np.ndarray], n_samples: int, before: int, rate: int) -> Iterator[np.ndarray]:
    """Blocks (channels, any) of a signal of n_samples, at another rate: `resampled_length` samples in all."""
    left_in, left_out, stream = n_samples, resampled_length(n_samples, before, rate), None
    last = None
    for block in blocks:
        if stream is None:
            stream = soxr.ResampleStream(before, rate, len(block), dtype=block.dtype.name, quality="VHQ")
        left_in -= block.shape[1]
        made = stream.resample_chunk(np.ascontiguousarray(block.T), last=left_in == 0).T[:, :left_out]
        left_out -= made.shape[1]
        last = block
        if made.shape[1]:
            yield np.ascontiguousarray(made)
    if left_out and last is not None:  # a filter that rounds down
        yield np.zeros((len(last), left_out), last.dtype)
