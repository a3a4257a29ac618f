"""The arithmetic of phase retrieval on blocks of NumPy arrays in cache: results are written where `out` says.

Numbers that are scaled and added one by one are real and imaginary parts side by side.
"""

from __future__ import annotations

import numpy as np

from .scratch import scratch


class InPlace:
    """As `phase.algorithms.Functional`; the largest magnitude is about 1."""

    def add(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(a) if out is None else out
        np.add(_real(a), _real(b), _real(out))
        return out

    def subtract(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(a) if out is None else out
        np.subtract(_real(a), _real(b), _real(out))
        return out

    def multiply(self, a: np.ndarray, number: float, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(a) if out is None else out
        np.multiply(_real(a), number, _real(out))
        return out

    def copy(self, a: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            return a.copy()
        np.copyto(out, a)
        return out

    def zeros(self, like: np.ndarray) -> np.ndarray:
        return np.zeros_like(like)

    def onto(self, magnitude: np.ndarray, spectrum: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The magnitude, with the phases of a spectrum; 0 where that is 0."""
        out = np.empty_like(spectrum) if out is None else out
        sizes = scratch("sizes", spectrum.shape, magnitude.dtype)
        np.abs(spectrum, sizes)
        np.maximum(sizes, np.finfo(sizes.dtype).tiny, out=sizes)
        np.divide(magnitude, sizes, sizes)
        np.multiply(spectrum, sizes, out)
        return out


IN_PLACE = InPlace()


def distances(z: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Of each frame, the sum over its bins of (abs(z) - magnitude)**2."""
    sizes = scratch("sizes", z.shape, magnitude.dtype)
    np.abs(z, sizes)
    np.subtract(sizes, magnitude, sizes)
    return np.einsum("bmk,bmk->bm", sizes, sizes)


def _real(spectrum: np.ndarray) -> np.ndarray:
    return spectrum.view(spectrum.real.dtype)
