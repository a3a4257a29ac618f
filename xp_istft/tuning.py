"""Sizes by which work is cut: they change speed and memory, never a result. One value, which tests make small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Tuning:
    """Where work is cut.

    Attributes
    ----------
    block_bytes : frames of one block on a CPU; 64 KB cost 20-160 % more time, 2 MB hardly less
    least_rows : and history, of frames so long that no block of them is in cache
    threaded_seconds : less work than this is done sooner by one thread; two took 0.7 to 0.9 of its time from 0.4 ms on,
        and more than it below 0.3
    spectrum_bytes : spectrum of one block of a file; from 1 to 64 MiB, ten minutes of stereo took the same time but
        for the noise
    amplitude_bytes : of a spectrum that are copied at a time, to be changed
    torch_whole_bytes : frames of tensors on a CPU that are transformed at once; more are, block by block
    torch_padded_items, torch_small_items : samples up to which a call more costs more than a copy of them
    graph_items : samples of the frames up to which a compiled graph makes spectra step by step: up to 200,000 that took
        0.36 to 0.64 of the time, of 500,000 as much
    gradient_items : samples of the frames that a gradient with respect to a window makes at a time
    equation_bytes : spectra between the two transforms of the normal equations
    grid_bins : bins of the frames whose phases are integrated at a time; of 1/2 and 2 times as many, ten seconds at
        1024/256 took up to a third more time
    wav_bytes : of a recording, more than a WAV header can count
    """

    block_bytes: int = 1 << 20
    least_rows: int = 4
    threaded_seconds: float = 0.5e-3
    spectrum_bytes: int = 16 << 20
    amplitude_bytes: int = 1 << 22
    torch_whole_bytes: int = 1 << 22
    torch_padded_items: int = 1 << 13
    torch_small_items: int = 1 << 15
    graph_items: int = 1 << 18
    gradient_items: int = 1 << 20
    equation_bytes: int = 1 << 23
    grid_bins: int = 1 << 15
    wav_bytes: int = (1 << 32) - (1 << 16)


_current = Tuning()


def tuning() -> Tuning:
    """The sizes that hold now, in the whole process."""
    return _current


@contextmanager
def tuned(**sizes: Any) -> Iterator[None]:
    """Have other sizes hold within, in every thread."""
    global _current
    before, _current = _current, replace(_current, **sizes)
    try:
        yield
    finally:
        _current = before
