"""The basis E (n_bins, n_fft) of the bins, and the two maps that it makes: E, and Re E' C with weights C on the bins.

Three forms: a matrix for any basis, waves for frequencies, and chirps for many that are evenly spaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..arguments import error
from ..backends import backend_for, device, namespace, required_backend
from ..dtypes import COMPLEX, PRECISION, SPECTRUM, dtype_name
from .grids import Frequencies

_CHIRPS = 1 << 19  # bins times n_fft from which chirps are used


# ---- reading


@dataclass(frozen=True)
class Basis:
    """A complex basis (n_bins, n_fft), compared and hashed by content.

    samples : complex128, read-only; None where automatic differentiation follows the basis, or it lies on a device
    """

    n_bins: int
    digest: bytes = b""
    samples: Any = field(default=None, compare=False, repr=False)

    sr = 1.0  # frequencies are in cycles per sample

    @classmethod
    def of(cls, samples: np.ndarray) -> Basis:
        samples = np.array(samples, np.complex128, order="C")
        samples.flags.writeable = False
        return cls(samples.shape[0], hashlib.sha256(samples.tobytes()).digest(), samples)

    def __len__(self) -> int:
        return self.n_bins

    def redundancy(self, hop_length: int) -> float:
        """Not known."""
        return float("nan")


def read_bins(function: str, frequencies: Any, n_fft: int) -> tuple[Frequencies | Basis, Any]:
    """The bins, and the basis itself if it is to be followed (else None)."""
    if isinstance(frequencies, Frequencies):
        return frequencies, None
    backend = backend_for(frequencies)
    if backend is None or dtype_name(frequencies) not in COMPLEX:
        hint = "frequencies in Hz need their sampling rate: xp_istft.Frequencies(hz, sr)"
        need = "xp_istft.Frequencies or a complex basis (n_bins, n_fft)"
        raise error(TypeError, function, "frequencies", need, type(frequencies).__name__, hint)
    shape = tuple(frequencies.shape)
    if len(shape) != 2 or not shape[0] or shape[1] != n_fft:
        raise error(ValueError, function, "frequencies", f"a basis (n_bins, n_fft={n_fft})", f"shape {shape}")
    if backend.follows(frequencies):
        return Basis(shape[0]), frequencies
    if backend.lazy:
        raise error(TypeError, function, "frequencies", "a basis whose values are at hand", type(frequencies).__name__)
    samples = backend.to_host(frequencies)
    if not np.isfinite(samples).all():
        raise error(ValueError, function, "frequencies", "a finite basis", "NaN or infinity")
    return Basis.of(samples), None


# ---- the maps


class Matrix(NamedTuple):
    """Any basis, float (2 n_bins, n_fft): its real parts, then its imaginary parts."""

    rows: Any

    def spectrum(self, segments: Any) -> Any:
        """E segments: complex (..., n_bins, n_frames) of real (..., n_fft, n_frames)."""
        parts, n_bins = self.rows @ segments, self.rows.shape[0] // 2
        return required_backend(segments).as_complex(parts[..., :n_bins, :], parts[..., n_bins:, :])

    def adjoint(self, X: Any, weights: Any) -> Any:
        """Re E' C X: real segments (..., n_fft, n_frames)."""
        xp, real = namespace(X), namespace(X).real(X)
        weights = required_backend(X).along(weights, real, -2)
        parts = xp.concat([real * weights, xp.imag(X) * weights], axis=-2)
        return xp.matrix_transpose(self.rows) @ parts


class Waves(NamedTuple):
    """The basis of frequencies, folded about the middle of the frame, where cosines are even and sines are odd.

    That halves the products: with d = n - (n_fft - 1) / 2 >= 0 and theta = 2 pi b / n_fft,

        E[k, n] = turn_k (cos(theta_k d) - i sin(theta_k d)),    turn_k = exp(-i theta_k (n_fft - 1) / 2)

    cosines, sines : (n_bins, ceil(n_fft / 2)); of odd n_fft the cosine of d = 0, which is met twice, is halved
    turn           : complex (n_bins,)
    """

    cosines: Any
    sines: Any
    turn: Any
    n_fft: int

    @classmethod
    def of(cls, bins: Frequencies, n_fft: int) -> Waves:
        b, half = bins.bins(n_fft), -(-n_fft // 2)
        cycles = np.outer(b, np.arange(half) + (0 if n_fft % 2 else 0.5)) % n_fft
        cosines, sines = np.cos(2 * np.pi / n_fft * cycles), np.sin(2 * np.pi / n_fft * cycles)
        if n_fft % 2:
            cosines[:, 0] /= 2
        return cls(cosines, sines, np.exp(-2j * np.pi / n_fft * (b * (n_fft - 1) / 2 % n_fft)), n_fft)

    def spectrum(self, segments: Any) -> Any:
        half = self.cosines.shape[1]
        late, early = segments[..., self.n_fft - half :, :], namespace(segments).flip(segments[..., :half, :], axis=-2)
        real, imag = self.cosines @ (late + early), self.sines @ (early - late)
        backend = required_backend(segments)
        spectrum = backend.as_complex(real, imag)
        return spectrum * backend.along(self.turn, spectrum, -2)

    def adjoint(self, X: Any, weights: Any) -> Any:
        xp, backend = namespace(X), required_backend(X)
        turned = X * backend.along(backend.product(xp.conj(self.turn), weights), X, -2)
        even = xp.matrix_transpose(self.cosines) @ xp.real(turned)
        odd = xp.matrix_transpose(self.sines) @ xp.imag(turned)
        early, late = xp.flip(even + odd, axis=-2), even - odd
        if self.n_fft % 2 == 0:
            return xp.concat([early, late], axis=-2)
        middle = early[..., -1:, :] + late[..., :1, :]
        return xp.concat([early[..., :-1, :], middle, late[..., 1:, :]], axis=-2)


class Chirps(NamedTuple):
    """The basis of evenly spaced frequencies, b_k = b_0 + k step, by Bluestein's transform (chirp z).

    With k n = (k^2 + n^2 - (k - n)^2) / 2 the product is a convolution with a chirp, made by two FFTs.

    before : complex (n_fft,), exp(-2 pi i (b_0 n + step n^2 / 2) / n_fft)
    chirp  : complex (size,), the FFT of exp(pi i step d^2 / n_fft) for d = 1 - n_fft ... n_bins - 1, around a circle
    after  : complex (n_bins,), exp(-pi i step k^2 / n_fft)
    """

    before: Any
    chirp: Any
    after: Any

    @classmethod
    def of(cls, bins: Frequencies, n_fft: int) -> Chirps:
        from scipy.fft import next_fast_len

        b, n_bins = bins.bins(n_fft), len(bins)
        step = (b[-1] - b[0]) / (n_bins - 1)
        n, k = np.arange(n_fft), np.arange(n_bins)

        def turned(halves: np.ndarray) -> np.ndarray:  # cycles / 2, wrapped before they become large angles
            return np.exp(-1j * np.pi * (halves % 2))

        size = next_fast_len(n_fft + n_bins - 1)
        circle = np.zeros(size, np.complex128)
        circle[:n_bins] = turned(-step / n_fft * k**2)
        circle[size - n_fft + 1 :] = turned(-step / n_fft * n[:0:-1] ** 2)
        before = turned(2 * b[0] / n_fft * n + step / n_fft * n**2)
        return cls(before, np.fft.fft(circle), turned(step / n_fft * k**2))

    def spectrum(self, segments: Any) -> Any:
        fft, backend = namespace(segments).fft, required_backend(segments)
        turned = backend.product(segments, backend.along(self.before, segments, -2, dtype_name(self.before)))
        product = fft.fft(turned, n=self.chirp.shape[0], axis=-2)
        product = product * backend.along(self.chirp, product, -2)
        return fft.ifft(product, axis=-2)[..., : self.after.shape[0], :] * backend.along(self.after, product, -2)

    def adjoint(self, X: Any, weights: Any) -> Any:
        xp, backend, n_fft = namespace(X), required_backend(X), self.before.shape[0]
        turned = X * backend.along(backend.product(xp.conj(self.after), weights), X, -2)
        product = xp.fft.fft(turned, n=self.chirp.shape[0], axis=-2)
        product = product * backend.along(xp.conj(self.chirp), product, -2)
        return xp.real(xp.fft.ifft(product, axis=-2)[..., :n_fft, :] * backend.along(xp.conj(self.before), product, -2))


def basis_for(bins: Frequencies | Basis, followed: Any, n_fft: int, array: Any) -> Matrix | Waves | Chirps:
    """The basis in the precision of `array`, beside it; `followed` as `read_bins` returns it."""
    precision, xp = PRECISION[dtype_name(array)], namespace(array)
    if followed is not None:
        return Matrix(xp.astype(xp.concat([xp.real(followed), xp.imag(followed)]), getattr(xp, precision)))
    return cached(_placed_basis, array)(bins, n_fft, precision, xp, device(array))


@lru_cache(maxsize=8)
def _placed_basis(
    bins: Frequencies | Basis, n_fft: int, precision: str, xp: Any, beside: Any
) -> Matrix | Waves | Chirps:
    def place(values: np.ndarray) -> Any:
        return placed(values, SPECTRUM[precision] if values.dtype.kind == "c" else precision, xp, beside)

    if isinstance(bins, Basis):
        return Matrix(place(np.concatenate([bins.samples.real, bins.samples.imag])))
    assert isinstance(bins, Frequencies)
    if _even(bins, n_fft):
        return Chirps(*map(place, Chirps.of(bins, n_fft)))
    cosines, sines, turn, _ = Waves.of(bins, n_fft)
    return Waves(place(cosines), place(sines), place(turn), n_fft)


def _even(bins: Frequencies, n_fft: int) -> bool:
    """Whether frequencies are evenly spaced, and so many that two FFTs are sooner done than a product."""
    if len(bins) * n_fft < _CHIRPS:
        return False
    b = bins.bins(n_fft)
    return bool(np.abs(b - np.linspace(b[0], b[-1], len(b))).max() < 1e-9)


# ---- arrays made on the host


def placed(values: np.ndarray, dtype: str, xp: Any, beside: Any) -> Any:
    """Host values as an array of the library `xp` on the device `beside`."""
    if not values.flags.writeable:  # torch warns of them
        values = values.copy()
    return xp.asarray(values.astype(dtype, copy=False), device=beside)


def cached(function: Callable[..., Any], array: Any) -> Callable[..., Any]:
    """An lru_cached `function`, or what it caches, if arrays made beside this one must not outlive the call."""
    return function.__wrapped__ if required_backend(array).ephemeral(array) else function  # type: ignore[attr-defined]
