"""How a call is cut into tasks for threads and into blocks for the cache."""

from __future__ import annotations

import math

import numpy as np

from ...settings import get_workers, most_workers
from ...tuning import tuning

_BLOCK_ROWS = 2048  # frames of one block, at most
_VECTOR = 4  # frames that FFTs of float32 compute side by side (of float64 two); a remainder takes twice as long
TASKS_PER_THREAD = 4  # evens out a busy core


def threads_for(work: float, workers: int | None) -> int:
    """Threads for so many seconds of work."""
    return 1 if work < tuning().threaded_seconds else min(workers or get_workers(), most_workers())


Task = tuple[slice, tuple[int, int]]  # some items of the batch, and rows (or frames) [lo, hi) of each


def cut(items: int, rows: int, history: int, held: int, threads: int) -> tuple[list[Task], int]:
    """Tasks, and the rows of a block, for `items` signals of `rows` rows where `held` frames make a block.

    Either a task is several whole items that make one block, or it is a part of one item.
    """
    per_block = max(_in_vectors(tuning().least_rows + history), min(_BLOCK_ROWS, held - history) // _VECTOR * _VECTOR)
    if 2 * rows <= per_block:
        together = max(1, min(-(-items // threads), held // (rows + history)))
        return [(slice(b, min(items, b + together)), (0, rows)) for b in range(0, items, together)], rows
    parts = 1 if threads == 1 else min(-(-threads * TASKS_PER_THREAD // items), max(1, rows // max(1, 4 * history)))
    blocks = -(-rows // (per_block * parts))  # of one part
    per_block = min(per_block, _in_vectors(-(-rows // (blocks * parts))))
    part = blocks * per_block
    spans = [(lo, min(rows, lo + part)) for lo in range(0, rows, part)]
    return [(slice(b, b + 1), span) for b in range(items) for span in spans], per_block


def _in_vectors(rows: int) -> int:
    """The next number of rows that leaves none over."""
    return -(-rows // _VECTOR) * _VECTOR


def batches(axes: int, *arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The arrays with their first `axes` axes made one, in as few tuples as that takes without a copy."""
    if axes == 0:
        return [tuple(array[None] for array in arrays)]
    if axes == 1:
        return [arrays]
    batch = arrays[0].shape[:axes]
    inner = axes - 1  # axes [inner, axes) are one stride apart in all arrays
    while inner and all(each.strides[inner - 1] == each.strides[inner] * batch[inner] for each in arrays):
        inner -= 1
    size = math.prod(batch[inner:])

    def as_one(array: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
        return array[index].reshape(size, *array.shape[axes:])

    return [tuple(as_one(array, index) for array in arrays) for index in np.ndindex(batch[:inner])]
