"""Random parameter sets for the peers' functions, and how near ours must come to theirs.

Each sample is one draw from a generator seeded by its number, so a failing one is named by it and can be drawn again.
Values agree to 1e-12 (double) or 1e-6 (single precision) of the largest value.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

SHALLOW, DEEP, BATCHES = 200, 5000, 10
TOLERANCE = {"float32": 1e-6, "float64": 1e-12, "complex64": 1e-6, "complex128": 1e-12}
DEVIATIONS: dict[tuple[str, str], float] = {}  # (test, dtype) -> largest deviation, relative to the largest value
WINDOWS = ("hann", "hamming", "blackman", "boxcar", ("tukey", 0.5), ("kaiser", 6.0), ("gaussian", 12.0), "cosine")


def batches(count: int) -> list[range]:
    """`count` sample numbers in a few tests: each batch says the number of the sample that fails."""
    size = -(-count // BATCHES)
    return [range(first, min(count, first + size)) for first in range(0, count, size)]


def samples() -> pytest.MarkDecorator:
    """SHALLOW sample numbers in every run, and the others up to DEEP with -m deep."""
    deep = [range(SHALLOW + batch.start, SHALLOW + batch.stop) for batch in batches(DEEP - SHALLOW)]
    return pytest.mark.parametrize(
        "numbers",
        [*batches(SHALLOW), *(pytest.param(batch, marks=pytest.mark.deep) for batch in deep)],
        ids=lambda batch: f"{batch.start}-{batch.stop}",
    )


class Draw:
    """What a sample chooses, kept so that a failure can say it."""

    def __init__(self, number: int, peer: int) -> None:
        self.rng = np.random.default_rng([peer, number])
        self.chosen: dict[str, object] = {"number": number}

    def one(self, name: str, *choices):
        value = choices[self.rng.integers(len(choices))]
        self.chosen[name] = value
        return value

    def integer(self, name: str, lo: int, hi: int) -> int:
        """One of [lo, hi]."""
        self.chosen[name] = value = int(self.rng.integers(lo, max(lo, hi) + 1))
        return value

    def maybe(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def array(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        values = self.rng.standard_normal(shape)
        if dtype.startswith("complex"):
            values = values + 1j * self.rng.standard_normal(shape)
        return values.astype(dtype)

    def batch(self) -> tuple[int, ...]:
        return self.one("batch", (), (2,), (2, 3))


def assert_conforms(ours, theirs, draw: Draw, where=slice(None), dtype: str | None = None) -> None:
    """Same shape, same dtype (`dtype` where we keep a precision that the peer does not), same values."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape, draw.chosen)
    assert ours.dtype == (dtype or theirs.dtype), (ours.dtype, theirs.dtype, draw.chosen)
    ours, theirs = ours[..., where], theirs[..., where]
    if not theirs.size:
        return
    size = np.abs(theirs).max()
    off = np.abs(ours - theirs).max()
    assert off <= TOLERANCE[ours.dtype.name] * size, (off / size, draw.chosen)
    record(ours.dtype.name, off / (size or 1))


def record(dtype: str, deviation: float) -> None:
    """Keep the largest deviation of the test that runs; benchmarks/conformance.py reads them."""
    test = os.environ["PYTEST_CURRENT_TEST"].partition("[")[0]
    DEVIATIONS[test, dtype] = max(DEVIATIONS.get((test, dtype), 0.0), float(deviation))


def envelope(window: np.ndarray, hop: int, n_frames: int) -> np.ndarray:
    """The squared windows overlap-added, written out."""
    total = np.zeros(window.size + hop * (n_frames - 1))
    for m in range(n_frames):
        total[m * hop : m * hop + window.size] += window**2
    return total
