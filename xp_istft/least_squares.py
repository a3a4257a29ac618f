"""The inverse for bins that are no DFT: density-weighted, band-regularised least squares, by conjugate gradients.

The forward map A takes a signal to E (w . frame_m) for every frame m, with a basis E (n_bins, n_fft). With weights C on
the bins the inverse solves

    (A' C A + R) x = A' C X,    R = D^1/2 G D^1/2

- A' C A needs no bins: the Gram matrix E' C E is Toeplitz for every list of frequencies, so it is the transform pair
  itself, of frames filled up with zeros to twice their size, with a real factor per bin between the two.
- D is the overlap of the squared windows over its mean, and G = LAMBDA max(S) max(0, 1 - S / (TAU max(S)))^2 a filter,
  S being the symbol of `frequencies`: 0 where the frames see a frequency, so that nothing there is biased, and up to
  LAMBDA of the peak where they do not, so that what cannot be recovered is damped in place of amplified. Where they see
  every frequency (min S >= FULL max S, redundantly) it is 0, and this is plain least squares.
- The preconditioner D^-1/2 F D^-1/2, with the filter F = 1 / max(S + G, TAU max S), leaves so little that a scale which
  is the DFT takes one iteration.

The unknown is the signal on the padded axis, whatever the padding P of the analysis was; or the signal x itself, where
P is known (`pad_mode`), and then P' (A' C A + R) P x = P' A' C X. Derivatives are implicit, R included, at the cost of
one more solution.

How LAMBDA, TAU, CLIP and TOLERANCE were chosen: benchmarks/frequencies_tuning.py and docs/frequencies.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from . import frequencies as scales
from . import plans
from .arguments import boolean, choice, error, integer, number
from .backends import required_backend
from .backends.array_api import PRECISION, dtype_name
from .frames import Frames, padding_index
from .frequencies import Basis, Frequencies
from .jobs import Analysis, Synthesis
from .plans import Layout
from .windows import overlap

METHODS = ("dual", "frame", "adjoint")
LAMBDA = 0.1
TAU = 0.1
# Bins that see all of [0, sr / 2] at this part of the peak or more, so redundantly, leave nothing to be damped. At a
# redundancy of 1.04 (log, 4096 bins, hop 1024) plain least squares turned noise at -20 dB into noise at +5 dB.
FULL = 1e-4
REDUNDANT = 1.5
# Samples under less than this part of the largest overlap are not determined.
CLIP = {"float64": 1e-8, "float32": 1e-4}
TOLERANCE = {"float64": 1e-6, "float32": 3e-6}
_MAX_CONDITION = 1e6  # of the Gram matrix that method="frame" inverts
_CHIRPS = 1 << 19  # bins times n_fft
_BLOCK_BYTES = 1 << 23  # of the spectra between the two transforms of A' C A


class RedundancyWarning(UserWarning):
    """The bins lie too far apart for the hop: what lies between them is lost."""


class ConvergenceWarning(UserWarning):
    """The iterations ended before the residual was as small as asked for."""


class Report(NamedTuple):
    """How an inverse came about.

    iterations      : of conjugate gradients, for each signal; like the next three an array of the spectrum's library,
                      shaped as its leading axes
    converged       : whether normal_residual came down to `tol`
    normal_residual : |b - (A' C A + R) x| / |b| with b = A' C X, as the iterations followed it
    data_residual   : |X - A x| / |X| in the norm weighted by C: 0 for the spectrum of a signal that the bins can hold,
                      the inconsistency of a modified one
    ritz            : float64 NumPy array (..., 2), the least and the largest eigenvalue of the preconditioned system
                      that the iterations met; the error within `bands`, relative to the signal, is about
                      data_residual / sqrt(0.1 least)
    bands           : ((lo, hi), ...) in Hz, what the frames see at a tenth of the best or more
    redundancy      : `Frequencies.redundancy` for this hop; nan for a basis
    """

    iterations: Any
    converged: Any
    normal_residual: Any
    data_residual: Any
    ritz: np.ndarray
    bands: tuple[tuple[float, float], ...]
    redundancy: float


class Request(NamedTuple):
    """What was asked for, read and checked; `live` is a basis in an array of the data's library, or None."""

    bins: Any  # Frequencies, Basis, or what stands for a basis that is not on the host
    live: Any
    method: str
    pad_mode: str | None
    tol: float | None
    maxiter: int
    weights: str | bytes
    damping: float | None  # of what the bins see best; None: LAMBDA, where they do not see every frequency
    info: bool
    callback: Callable[[int, float], object] | None


# ---- reading arguments


def read_bins(function: str, frequencies: Any, n_fft: Any, array: Any) -> tuple[Any, Any, Any]:
    """The bins, the basis if it is an array of the data's library, and n_fft (which a basis knows)."""
    if isinstance(frequencies, Frequencies):
        return frequencies, None, n_fft
    shape = getattr(frequencies, "shape", None)
    if shape is None or not str(getattr(frequencies, "dtype", "")).rpartition(".")[2].startswith("complex"):
        hint = "frequencies in Hz need their sampling rate: xp_istft.Frequencies(hz, sr)"
        need = "xp_istft.Frequencies or a complex basis (n_bins, n_fft)"
        raise error(TypeError, function, "frequencies", need, type(frequencies).__name__, hint)
    if len(shape) != 2 or not shape[0] or shape[1] < 2:
        raise error(ValueError, function, "frequencies", "a basis (n_bins, n_fft)", f"shape {tuple(shape)}")
    if n_fft is None:
        n_fft = shape[1]
    elif integer(function, "n_fft", n_fft, 2) != shape[1]:
        raise error(ValueError, function, "frequencies", f"a basis (n_bins, n_fft={n_fft})", f"shape {tuple(shape)}")
    if isinstance(frequencies, np.ndarray):
        if not np.isfinite(frequencies).all():
            raise error(ValueError, function, "frequencies", "a finite basis", "NaN or infinity")
        return Basis.of(frequencies), None, n_fft
    backend = required_backend(array)
    if hasattr(backend, "by_signal") or required_backend(frequencies) is not backend:
        library = f"NumPy or of the library of the data ({type(array).__module__})"
        raise error(TypeError, function, "frequencies", f"a basis of {library}", type(frequencies).__qualname__)
    ours, theirs = array_api_compat.device(array), array_api_compat.device(frequencies)
    if ours is not None and theirs is not None and ours != theirs:
        raise error(ValueError, function, "frequencies", f"the device of the data ({ours})", theirs)
    return _Live(shape[0]), frequencies, n_fft


class _Live(NamedTuple):
    """Stands for a basis whose samples are not on the host."""

    n_bins: int
    sr: float = 1.0

    def __len__(self) -> int:
        return self.n_bins


def read(
    X: Any,
    n_fft: Any,
    frequencies: Any,
    method: Any,
    weights: Any,
    regularization: Any,
    pad_mode: Any,
    tol: Any,
    maxiter: Any,
    info: Any,
    callback: Any,
) -> tuple[Request | None, Any]:
    """The request that `istft`'s arguments make (None: the closed form serves it), and n_fft."""
    method = choice("istft", "method", method, ("auto", "fused", *METHODS))
    info = boolean("istft", "info", info)
    if callback is not None and not callable(callback):
        raise error(TypeError, "istft", "callback", "a function of iteration and residual", type(callback).__name__)
    live = None
    if frequencies is None:
        if method in ("auto", "fused") and not info:
            return None, n_fft
        n_fft = 2 * (X.shape[-2] - 1) if n_fft is None else integer("istft", "n_fft", n_fft, 2)
        bins: Any = Frequencies(np.arange(n_fft // 2 + 1), n_fft)
    else:
        bins, live, n_fft = read_bins("istft", frequencies, n_fft, X)
        if n_fft is None:
            raise error(TypeError, "istft", "n_fft", "an integer, with frequencies=", None)
        n_fft = integer("istft", "n_fft", n_fft, 2)
        if method in ("auto", "fused") and not info and isinstance(bins, Frequencies) and bins.is_dft(n_fft):
            return None, n_fft
    if method == "fused":
        raise error(ValueError, "istft", "method", "'auto', 'dual', 'frame' or 'adjoint' with frequencies=", "'fused'")
    if pad_mode is not None:
        pad_mode = plans.read_pad_mode("istft", pad_mode)
    tol = None if tol is None else number("istft", "tol", tol, 0)
    maxiter = integer("istft", "maxiter", maxiter, 1)
    if isinstance(regularization, str):
        choice("istft", "regularization", regularization, ("band",))
        damping = None
    else:
        damping = number("istft", "regularization", regularization, 0)
    method = "dual" if method == "auto" else method
    if info and method != "dual":
        raise error(ValueError, "istft", "info", f"False with method={method!r}, which does not iterate", True)
    weights = _read_weights(weights, bins)
    if live is not None and method == "frame":
        raise error(ValueError, "istft", "method", "'dual' or 'adjoint' with a basis in this array", "'frame'")
    return Request(bins, live, method, pad_mode, tol, maxiter, weights, damping, info, callback), n_fft


def _read_weights(weights: Any, bins: Any) -> str | bytes:
    """Weights of the bins in hashable form: a name, or float64 samples."""
    if isinstance(weights, str):
        choice("istft", "weights", weights, ("density", "uniform"))
        return weights if isinstance(bins, Frequencies) else "uniform"
    try:
        samples = np.asarray(weights, np.float64)
    except (TypeError, ValueError, RuntimeError) as cause:
        need = "'density', 'uniform' or numbers (n_bins,)"
        raise error(TypeError, "istft", "weights", need, type(weights).__name__) from cause
    if samples.shape != (len(bins),):
        raise error(ValueError, "istft", "weights", f"shape ({len(bins)},)", f"shape {samples.shape}")
    if not (np.isfinite(samples).all() and (samples >= 0).all() and samples.any()):
        raise error(ValueError, "istft", "weights", "finite numbers >= 0, not all 0", f"{samples.min():g} among them")
    return samples.tobytes()


# ---- what follows from bins, window and frames: made once, on the host, in float64


@dataclass(frozen=True)
class Setup:
    """A kind of problem, by value: the key under which all that is made for it is kept."""

    layout: Layout
    bins: Any
    weights: str | bytes
    damping: float | None  # of what the bins see best; None: LAMBDA, where they do not see every frequency
    frames: Frames
    pad_mode: str | None
    precision: str

    @property
    def window(self) -> np.ndarray:
        """float64 (n_fft,), with a peak of 1: the scale of a window decides nothing."""
        samples = self.layout.samples("istft", "window", self.layout.window)
        return samples / np.abs(samples).max()

    @property
    def axis(self) -> Frames:
        """The padded axis, all of it."""
        return replace(self.frames, start=0, stop=self.frames.span)

    @property
    def unknown(self) -> Frames:
        """Where the unknown lies: the padded axis, or the signal alone where its padding is known."""
        return self.axis if self.pad_mode is None else self.frames

    @property
    def may_be_plain(self) -> bool:
        """Whether nothing is damped, if the bins see every frequency: not on demand, nor where they are so sparse that
        the symbol tells them apart by little.
        """
        if self.damping or not isinstance(self.bins, Frequencies):
            return False
        return self.bins.redundancy(self.layout.hop) >= REDUNDANT

    @cached_property
    def fast_length(self) -> int:
        """Samples of the transforms in which the unknown is filtered."""
        from scipy.fft import next_fast_len

        n_fft = self.layout.n_fft
        size = max(self.unknown.n_samples, self.axis.n_samples) + n_fft
        unit = 1 << max(0, size.bit_length() - 5)  # powers of 2 are faster than those of 3 and 5
        return unit * next_fast_len(-(-size // unit), real=True)

    @property
    def gram_length(self) -> int:
        """Samples of the transforms in which a Toeplitz Gram matrix is a factor per bin."""
        from scipy.fft import next_fast_len

        return next_fast_len(2 * self.layout.n_fft - 1, real=True)


@lru_cache(maxsize=16)
def bin_weights(setup: Setup) -> np.ndarray:
    """The weights C, float64 (n_bins,); uniform ones are such that the symbol's peak is that of the full DFT."""
    if isinstance(setup.weights, bytes):
        return np.frombuffer(setup.weights)
    n_fft = setup.layout.n_fft
    if setup.weights == "density":
        return setup.bins.density(n_fft)
    ones = np.ones(len(setup.bins))
    return ones * (setup.window**2).sum() / scales.even_spectrum(_lags(setup, ones), 8 * n_fft, np).max()


def _lags(setup: Setup, weights: np.ndarray) -> np.ndarray:
    n_fft, window = setup.layout.n_fft, setup.window
    if isinstance(setup.bins, Basis):
        return scales.basis_lags(setup.bins.samples, weights, window, np)
    return scales.lags(setup.bins, weights, n_fft) * scales.autocorrelation(window, np)


class Terms(NamedTuple):
    """The normal equations in arrays of one library. The unknown has n samples.

    gram           : of a Toeplitz Gram matrix the real spectrum (setup.gram_length // 2 + 1, 1), of any other the
                     matrix (n_fft, n_fft)
    known          : (n,), 1 where the windows determine a sample, else 0
    root           : (n,), D^1/2, for the preconditioner
    axis_root      : the same on the padded axis, for R
    damping        : G, a real spectrum of setup.fast_length samples; None where it is 0
    preconditioner : F, likewise
    """

    gram: Any
    known: Any
    root: Any
    axis_root: Any
    damping: Any
    preconditioner: Any


def terms(lags: Any, gram: Any, envelope: Any, axis: Any, window: Any, setup: Setup, xp: Any) -> Terms:
    """The normal equations for windowed lags g[d] r[d] and the envelopes of the unknown and of the padded axis.

    Gradients pass through all of them.
    """
    symbol = scales.even_spectrum(lags, setup.fast_length, xp) / setup.layout.hop
    symbol = xp.where(symbol > 0, symbol, xp.zeros_like(symbol))
    peak = xp.max(symbol)
    full = (xp.min(symbol) >= FULL * peak) & setup.may_be_plain
    lack = 1 - symbol / (TAU * peak)
    most = LAMBDA if setup.damping is None else setup.damping
    damping = most * peak * xp.where((lack > 0) & ~full, lack, xp.zeros_like(lack)) ** 2
    clip = CLIP[setup.precision]
    known = envelope > clip * xp.max(envelope)
    mean = xp.sum(window**2) / setup.layout.hop
    root = xp.sqrt(xp.where(known, envelope, mean) / mean)
    heavy = axis > clip * xp.max(axis)
    axis_root = xp.where(heavy, xp.sqrt(xp.where(heavy, axis, mean) / mean), xp.zeros_like(axis))
    heard = symbol + damping
    floor = xp.where(full, FULL * peak, TAU * peak)
    preconditioner = 1 / xp.where(heard > floor, heard, floor)
    return Terms(gram, xp.astype(known, envelope.dtype), root, axis_root, damping, preconditioner)


@lru_cache(maxsize=8)
def host_terms(setup: Setup) -> Terms:
    """The normal equations in float64 on the host."""
    n_fft, weights = setup.layout.n_fft, bin_weights(setup)
    if isinstance(setup.bins, Basis):
        basis = setup.bins.samples
        gram = np.real((basis.conj() * weights[:, None]).T @ basis)
    else:
        gram = scales.even_spectrum(scales.lags(setup.bins, weights, n_fft), setup.gram_length, np)[:, None]
    envelope = overlap(setup.window**2, setup.frames)
    unknown, axis = (envelope.samples(each.start, each.stop) for each in (setup.unknown, setup.axis))
    made = terms(_lags(setup, weights), gram, unknown, axis, setup.window, setup, np)
    return made if made.damping.any() else made._replace(damping=None)


@lru_cache(maxsize=8)
def frame_inverse(setup: Setup) -> np.ndarray:
    """The inverse of the Gram matrix of a frame, float64 (n_fft, n_fft); ValueError where it is ill conditioned."""
    n_fft, weights = setup.layout.n_fft, bin_weights(setup)
    if isinstance(setup.bins, Basis):
        gram = host_terms(setup).gram
    else:
        lag = np.abs(np.subtract.outer(np.arange(n_fft), np.arange(n_fft)))
        gram = scales.lags(setup.bins, weights, n_fft)[lag]
    values, vectors = np.linalg.eigh(gram)
    condition = values[-1] / max(values[0], np.finfo(float).tiny)
    if condition > _MAX_CONDITION:
        need = f"bins whose Gram matrix has a condition number <= {_MAX_CONDITION:g} for method='frame'"
        raise error(ValueError, "istft", "frequencies", need, f"{condition:.1e}", "method='dual' takes them")
    return (vectors / values) @ vectors.T


def warn_of_unfinished(unfinished: Any, maxiter: int, stacklevel: int) -> None:
    """ConvergenceWarning where iterations ended above the tolerance."""
    if unfinished is not None and bool(array_api_compat.array_namespace(unfinished).any(unfinished)):
        text = f"istft: maxiter: the residual is above tol after {maxiter} iterations; see what info=True reports"
        warnings.warn(text, ConvergenceWarning, stacklevel=stacklevel + 1)


def warn_of_gaps(bins: Any, hop: int, stacklevel: int) -> None:
    """RedundancyWarning where bins lie too far apart for the hop."""
    if not isinstance(bins, Frequencies) or bins.redundancy(hop) >= 1:
        return
    gap = float(np.diff(bins.hz).max())
    redundancy = bins.redundancy(hop)
    text = (
        f"istft: frequencies: bins up to {gap:.4g} Hz apart hold {redundancy:.2f} numbers for each that "
        f"hop_length={hop} asks for, so what lies between them is lost; need hop_length <= {int(bins.sr / gap)} or "
        f"about {int(np.ceil(len(bins) / redundancy))} bins"
    )
    warnings.warn(text, RedundancyWarning, stacklevel=stacklevel + 1)


# ---- the same, in arrays of the data's library


@lru_cache(maxsize=8)
def _placed_terms(setup: Setup, xp: Any, device: Any) -> Terms:
    return Terms(*(None if term is None else _place(term, setup.precision, xp, device) for term in host_terms(setup)))


def _place(host: np.ndarray, dtype: str, xp: Any, device: Any) -> Any:
    if not host.flags.writeable:
        host = host.copy()
    return xp.asarray(host.astype(dtype, copy=False), device=device)


def _kept(function: Any, array: Any) -> Any:
    """`function` from its cache, unless arrays made beside this one must not outlive the call."""
    backend = required_backend(array)
    return function.__wrapped__ if hasattr(backend, "ephemeral") and backend.ephemeral(array) else function


# ---- the maps E and E' C, and A


class _Matrix(NamedTuple):
    """Any basis, float (2 n_bins, n_fft): its real parts, then its imaginary parts."""

    rows: Any

    def spectrum(self, segments: Any) -> Any:
        """E segments: complex (..., n_bins, n_frames) of real (..., n_fft, n_frames)."""
        parts, n_bins = self.rows @ segments, self.rows.shape[0] // 2
        return required_backend(segments).as_complex(parts[..., :n_bins, :], parts[..., n_bins:, :])

    def adjoint(self, X: Any, weights: Any) -> Any:
        """Re E' C X: real segments (..., n_fft, n_frames)."""
        xp = array_api_compat.array_namespace(X)
        parts = xp.concat([xp.real(X) * weights[:, None], xp.imag(X) * weights[:, None]], axis=-2)
        return xp.matrix_transpose(self.rows) @ parts


class _Waves(NamedTuple):
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
    def of(cls, bins: Frequencies, n_fft: int) -> _Waves:
        b, half = bins.bins(n_fft), -(-n_fft // 2)
        cycles = np.outer(b, np.arange(half) + (0 if n_fft % 2 else 0.5)) % n_fft
        cosines, sines = np.cos(2 * np.pi / n_fft * cycles), np.sin(2 * np.pi / n_fft * cycles)
        if n_fft % 2:
            cosines[:, 0] /= 2
        return cls(cosines, sines, np.exp(-2j * np.pi / n_fft * (b * (n_fft - 1) / 2 % n_fft)), n_fft)

    def spectrum(self, segments: Any) -> Any:
        half = self.cosines.shape[1]
        xp = array_api_compat.array_namespace(segments)
        late, early = segments[..., self.n_fft - half :, :], xp.flip(segments[..., :half, :], axis=-2)
        real, imag = self.cosines @ (late + early), self.sines @ (early - late)
        return required_backend(segments).as_complex(real, imag) * self.turn[:, None]

    def adjoint(self, X: Any, weights: Any) -> Any:
        xp = array_api_compat.array_namespace(X)
        turned = X * (xp.conj(self.turn) * weights)[:, None]
        even = xp.matrix_transpose(self.cosines) @ xp.real(turned)
        odd = xp.matrix_transpose(self.sines) @ xp.imag(turned)
        early, late = xp.flip(even + odd, axis=-2), even - odd
        if self.n_fft % 2 == 0:
            return xp.concat([early, late], axis=-2)
        middle = early[..., -1:, :] + late[..., :1, :]
        return xp.concat([early[..., :-1, :], middle, late[..., 1:, :]], axis=-2)


class _Chirps(NamedTuple):
    """The basis of evenly spaced frequencies, b_k = b_0 + k step, by Bluestein's transform (chirp z).

    With k n = (k^2 + n^2 - (k - n)^2) / 2 the product is a convolution with a chirp, made by two FFTs.

    before : complex (n_fft,), exp(-2 pi i (b_0 n + step n^2 / 2) / n_fft)
    chirp  : complex (size, 1), the FFT of exp(pi i step d^2 / n_fft) for d = 1 - n_fft ... n_bins - 1, around a circle
    after  : complex (n_bins,), exp(-pi i step k^2 / n_fft)
    """

    before: Any
    chirp: Any
    after: Any

    @classmethod
    def of(cls, bins: Frequencies, n_fft: int) -> _Chirps:
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
        return cls(before, np.fft.fft(circle)[:, None], turned(step / n_fft * k**2))

    def spectrum(self, segments: Any) -> Any:
        xp = array_api_compat.array_namespace(segments)
        held = xp.fft.fft(segments * self.before[:, None], n=self.chirp.shape[0], axis=-2) * self.chirp
        return xp.fft.ifft(held, axis=-2)[..., : self.after.shape[0], :] * self.after[:, None]

    def adjoint(self, X: Any, weights: Any) -> Any:
        xp = array_api_compat.array_namespace(X)
        turned = X * (xp.conj(self.after) * weights)[:, None]
        held = xp.fft.fft(turned, n=self.chirp.shape[0], axis=-2) * xp.conj(self.chirp)
        n_fft = self.before.shape[0]
        return xp.real(xp.fft.ifft(held, axis=-2)[..., :n_fft, :] * xp.conj(self.before)[:, None])


def _even(bins: Frequencies, n_fft: int) -> bool:
    """Whether frequencies are evenly spaced, and so many that two FFTs are sooner done than a product."""
    if len(bins) * n_fft < _CHIRPS:
        return False
    b = bins.bins(n_fft)
    return bool(np.abs(b - np.linspace(b[0], b[-1], len(b))).max() < 1e-9)


@lru_cache(maxsize=8)
def _placed_basis(bins: Any, n_fft: int, dtype: str, xp: Any, device: Any) -> _Matrix | _Waves | _Chirps:
    if isinstance(bins, Basis):
        return _Matrix(_place(np.concatenate([bins.samples.real, bins.samples.imag]), dtype, xp, device))
    spectral = "complex128" if dtype == "float64" else "complex64"
    if _even(bins, n_fft):
        return _Chirps(*(_place(each, spectral, xp, device) for each in _Chirps.of(bins, n_fft)))
    waves = _Waves.of(bins, n_fft)
    return waves._replace(
        cosines=_place(waves.cosines, dtype, xp, device),
        sines=_place(waves.sines, dtype, xp, device),
        turn=_place(waves.turn, spectral, xp, device),
    )


def _basis(bins: Any, live: Any, n_fft: int, array: Any, xp: Any) -> _Matrix | _Waves | _Chirps:
    """The basis in the precision of `array`."""
    precision = PRECISION[dtype_name(array)]
    if live is not None:
        return _Matrix(xp.astype(xp.concat([xp.real(live), xp.imag(live)]), getattr(xp, precision)))
    return _kept(_placed_basis, array)(bins, n_fft, precision, xp, array_api_compat.device(array))


def analysis(x: Any, job: Any, bins: Any, live: Any) -> Any:
    """A: the spectrum (..., n_bins, n_frames) of a real signal at these bins."""
    basis = _basis(bins, live, job.frames.n_fft, x, array_api_compat.array_namespace(x))
    return basis.spectrum(required_backend(x).frame(x, job))


# ---- the solution


class Outcome(NamedTuple):
    """A signal (..., n_samples), which ended too early (None where nobody can look), and the report, if asked for."""

    signal: Any
    unfinished: Any
    report: Report | None


def inverse(
    X: Any, request: Request, chosen: Layout, job: Any, forward: Any, scale: float, workers: int | None
) -> Outcome:
    """The signal of a spectrum (..., n_bins, n_frames).

    job     : the synthesis of the closed form: windows, gain, place of the signal
    forward : an analysis that holds the window, scaled, where a gradient follows it; else None
    scale   : of the window that the analysis took, unless `forward` holds it
    """
    solver = _Solver(X, request, chosen, job.frames, forward, scale, workers)
    segments = solver.basis.adjoint(X, solver.weights)
    if request.method != "dual":
        if request.method == "frame":
            segments = solver.place(frame_inverse(solver.setup)) @ segments
        return Outcome(solver.backend.overlap_add(segments, job), None, None)
    outcome = solver.solve(X, segments)
    limit = _limit(job, chosen)
    if limit is None:
        return outcome
    return outcome._replace(signal=outcome.signal * solver.place(limit))


def _limit(job: Any, chosen: Layout) -> np.ndarray | None:
    """What max_gain leaves of each sample: gain times overlap, less than 1 where it takes hold."""
    if not isinstance(job, Synthesis) or job.gain is None:
        return None
    samples = chosen.samples("istft", "window", chosen.window)
    envelope = overlap((samples / np.abs(samples).max()) ** 2, job.frames)
    limit = job.signal_gain() * envelope.samples(job.frames.start, job.frames.stop)
    return None if np.abs(limit - 1).max() < 1e-9 else limit


class _Block(NamedTuple):
    """Samples of the padded axis that a part of A' C A takes, and what it makes of them."""

    taken: slice
    analysis: Analysis
    synthesis: Synthesis


@lru_cache(maxsize=16)
def _blocks(setup: Setup, size: int, windowed: bool, n_signals: int) -> list[_Block]:
    """A' C A in parts that bound its memory, of frames filled up with zeros to `size`."""
    axis, n_fft = setup.axis, setup.layout.n_fft
    window = None
    if windowed:
        window = np.zeros(size)
        window[:n_fft] = setup.window
    step = max(4 * axis.overlap, _BLOCK_BYTES // (8 * size * max(1, n_signals))) * axis.hop
    made = []
    for lo in range(0, axis.span, step):
        columns, part = axis.segment(lo, min(lo + step, axis.span))
        origin = columns.start * axis.hop
        frames = Frames(size, part.hop, part.n_frames, 0, part.span)
        inverse = replace(frames, start=part.start, stop=part.stop)
        taken = slice(origin, origin + part.span)
        made.append(_Block(taken, Analysis(frames, window), Synthesis(inverse, window, None)))
    return made


class _Solver:
    """One problem in arrays of one library."""

    def __init__(
        self, X: Any, request: Request, chosen: Layout, frames: Frames, forward: Any, scale: float, workers: int | None
    ) -> None:
        self.request, self.workers = request, workers
        self.backend, self.xp = required_backend(X), array_api_compat.array_namespace(X)
        self.device = array_api_compat.device(X)
        precision = PRECISION[dtype_name(X)]
        self.setup = setup = Setup(
            chosen, request.bins, request.weights, request.damping, frames, request.pad_mode, precision
        )
        self.basis = _basis(request.bins, request.live, chosen.n_fft, X, self.xp)
        self.toeplitz = isinstance(request.bins, Frequencies)
        self.followed = forward is not None or request.live is not None
        if self.followed:
            self.window, peak = self._unit_peak(forward)
            self.weights, self.terms = self._followed_terms(forward is not None)
        else:
            self.window = None  # the jobs hold it
            samples = chosen.samples("istft", "window", chosen.window)
            peak = float(np.abs(samples).max())
            self.weights = self.place(bin_weights(setup))
            self.terms = _kept(_placed_terms, X)(setup, self.xp, self.device)
        self.scale = peak * scale
        self.fused = self.toeplitz and not self.followed
        size = setup.gram_length if self.fused else chosen.n_fft
        self.blocks = _blocks(setup, size, not self.followed, int(np.prod(X.shape[:-2])))
        self.pad_index = None
        if request.pad_mode not in (None, "constant"):
            index = padding_index(-frames.start, frames.span - frames.start, frames.n_samples, str(request.pad_mode))
            self.pad_index = self.xp.asarray(index, device=self.device)

    def place(self, host: np.ndarray) -> Any:
        return _place(host, self.setup.precision, self.xp, self.device)

    # -- what a gradient follows

    def _unit_peak(self, forward: Any) -> tuple[Any, Any]:
        """The window with a peak of 1, in the library, and the peak."""
        if forward is None:
            samples = self.setup.layout.samples("istft", "window", self.setup.layout.window)
            return self.place(self.setup.window), float(np.abs(samples).max())
        window = self.xp.astype(forward.window, getattr(self.xp, self.setup.precision))
        peak = self.xp.max(self.xp.abs(window))
        return window / peak, peak

    def _followed_terms(self, window_followed: bool) -> tuple[Any, Terms]:
        xp, setup, window = self.xp, self.setup, self.window
        live, n_fft = self.request.live, setup.layout.n_fft
        if live is not None:
            assert isinstance(self.basis, _Matrix)
            rows = self.basis.rows
            basis = self.backend.as_complex(rows[: live.shape[0], :], rows[live.shape[0] :, :])
            if isinstance(setup.weights, bytes):
                weights = self.place(np.frombuffer(setup.weights))
            else:
                ones = xp.ones_like(rows[: live.shape[0], 0])
                heard = scales.even_spectrum(scales.basis_lags(basis, ones, window, xp), 8 * n_fft, xp)
                weights = ones * (xp.sum(window**2) / xp.max(heard))
            lags = scales.basis_lags(basis, weights, window, xp)
            gram = xp.matrix_transpose(rows) @ (rows * xp.concat([weights, weights])[:, None])
        else:
            host = bin_weights(setup)
            weights = self.place(host)
            column = scales.lags(setup.bins, host, n_fft)
            lags = self.place(column) * scales.autocorrelation(window, xp)
            gram = self.place(scales.even_spectrum(column, setup.gram_length, np)[:, None])
        envelopes = []
        for each in (setup.unknown, setup.axis):
            if window_followed:
                many = xp.ones((1, each.n_frames), dtype=window.dtype, device=self.device)
                envelopes.append(self.backend.overlap_add(window[:, None] ** 2 * many, Synthesis(each, None, None)))
            else:
                envelopes.append(self.place(overlap(setup.window**2, each).samples(each.start, each.stop)))
        return weights, terms(lags, gram, envelopes[0], envelopes[1], window, setup, xp)

    # -- the maps

    def frame_operator(self, axis: Any, gram: Any, window: Any) -> Any:
        """A' C A on the padded axis."""
        backend, xp, parts = self.backend, self.xp, []
        for block in self.blocks:
            piece = axis[..., block.taken]
            if self.fused:
                spectrum = backend.analysis(piece, block.analysis, workers=self.workers)
                spectrum *= gram
                parts.append(backend.synthesis(spectrum, block.synthesis, workers=self.workers))
                continue
            segments = backend.frame(piece, block.analysis)
            segments = segments if window is None else segments * window[:, None]
            if self.toeplitz:
                size, n_fft = self.setup.gram_length, self.setup.layout.n_fft
                spectrum = xp.fft.rfft(segments, n=size, axis=-2) * gram
                segments = xp.fft.irfft(spectrum, n=size, axis=-2)[..., :n_fft, :]
            else:
                segments = gram @ segments
            segments = segments if window is None else segments * window[:, None]
            parts.append(backend.overlap_add(segments, block.synthesis))
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)

    def padded(self, unknown: Any) -> Any:
        """The padded axis of an unknown."""
        if self.setup.pad_mode is None:
            return unknown
        if self.pad_index is not None:
            return self.xp.take(unknown, self.pad_index, axis=-1)
        return self._cut(unknown, -self.setup.frames.start, self.setup.frames.span - self.setup.frames.start)

    def folded(self, axis: Any) -> Any:
        """The adjoint of `padded`."""
        pad_mode, frames = self.setup.pad_mode, self.setup.frames
        if pad_mode is None:
            return axis
        if pad_mode == "constant":
            return self._cut(axis, frames.start, frames.stop)
        if pad_mode == "edge":  # all of an end comes from one sample
            return self._edges_added(axis)
        total = None
        for index, there in _preimages(frames, pad_mode):
            index, there = self.xp.asarray(index, device=self.device), self.place(there)
            part = self.xp.take(axis, index, axis=-1) * there
            total = part if total is None else total + part
        return total

    def _edges_added(self, axis: Any) -> Any:
        xp, frames = self.xp, self.setup.frames
        start, stop = max(0, frames.start), min(frames.stop, axis.shape[-1])
        signal = self._cut(axis, frames.start, frames.stop)
        t = np.arange(frames.n_samples)
        for at, end in ((0, axis[..., :start]), (frames.n_samples - 1, axis[..., stop:])):
            signal = signal + self.place((t == at).astype(np.float64)) * xp.sum(end, axis=-1, keepdims=True)
        return signal

    def _cut(self, array: Any, lo: int, hi: int) -> Any:
        """Samples [lo, hi), with zeros where there are none."""
        size, xp = array.shape[-1], self.xp

        def zeros(count: int) -> Any:
            return xp.zeros((*array.shape[:-1], count), dtype=array.dtype, device=self.device)

        inside = array[..., min(size, max(0, lo)) : min(size, max(0, hi))]
        return xp.concat([zeros(max(0, min(-lo, hi - lo))), inside, zeros(max(0, min(hi - size, hi - lo)))], axis=-1)

    def filtered(self, array: Any, spectrum: Any) -> Any:
        size, fft = self.setup.fast_length, self.xp.fft
        heard = fft.rfft(array, n=size, axis=-1, norm="forward")  # numpy's own takes float32 to float64
        return fft.irfft(heard * (spectrum * size), n=size, axis=-1)[..., : array.shape[-1]]

    # -- the solution

    def solve(self, X: Any, segments: Any) -> Outcome:
        """The signal, of E' C X."""
        xp, backend, setup, held = self.xp, self.backend, self.setup, self.terms
        known, frames = held.known, setup.frames
        if self.followed:
            segments = segments * self.window[:, None]
        right = backend.overlap_add(segments, Synthesis(setup.axis, None if self.followed else setup.window, None))
        right = self.folded(right) * known

        def operator(v: Any, gram: Any, root: Any, damping: Any = None, window: Any = None) -> Any:
            axis = self.padded(v * known)
            result = self.frame_operator(axis, gram, window)
            if damping is not None:
                result = result + root * self.filtered(root * axis, damping)
            return self.folded(result) * known

        half = known / held.root

        def precondition(v: Any) -> Any:
            return half * self.filtered(half * v, held.preconditioner)

        tol = TOLERANCE[setup.precision] if self.request.tol is None else self.request.tol
        steps: list[State] = []
        ended: list[State] = []

        def solver(right: Any, loop: Any, *parameters: Any) -> Any:
            nonlocal steps
            peak = xp.max(xp.abs(right), axis=-1, keepdims=True)  # squares of tiny or huge numbers would be lost
            peak = xp.where(peak == 0, xp.ones_like(peak), peak)
            advance, state = conjugate_gradients(
                lambda v: operator(v, *parameters), precondition, known * right / peak, tol, self.request.maxiter, xp
            )
            if loop is _loop:
                steps = []

                def followed(state: State) -> State:
                    state = advance(state)
                    if self.request.info:
                        steps.append(state._replace(x=None, r=None, p=None))
                    if self.request.callback is not None:
                        self.request.callback(*_progress(state, xp))
                    return state

                state = loop(lambda state: xp.any(state.going), followed, state)
                ended.append(state._replace(x=None, r=None, p=None))
            elif self.request.info:
                raise error(ValueError, "istft", "info", "False under a tracer", True)
            else:
                state = loop(lambda state: xp.any(state.going), advance, state)
            return state.x * peak

        parameters = (held.gram, held.axis_root, held.damping, self.window)
        if hasattr(backend, "linear_solve"):
            unknown = backend.linear_solve(operator, solver, _loop, right, parameters)
        else:
            unknown = solver(right, _loop, *parameters)
        place = setup.unknown
        signal = self._cut(unknown, frames.start - place.start, frames.stop - place.start) / self.scale
        if not ended:
            return Outcome(signal, None, None)
        state = ended[0]
        report = self._report(X, unknown, state, steps) if self.request.info else None
        return Outcome(signal, (state.residual > state.goal)[..., 0], report)

    def _report(self, X: Any, unknown: Any, state: State, steps: list[State]) -> Report:
        xp, setup = self.xp, self.setup
        axis = self.padded(unknown)
        segments = self.backend.frame(axis, Analysis(setup.axis, None if self.followed else setup.window))
        made = self.basis.spectrum(segments if self.window is None else segments * self.window[:, None])

        def norm(X: Any) -> Any:
            return xp.sqrt(xp.sum((xp.real(X) ** 2 + xp.imag(X) ** 2) * self.weights[:, None], axis=(-2, -1)))

        left, size = norm(X - made), norm(X)
        ones = xp.ones_like(size)
        goal = xp.where(state.right > 0, state.right, xp.ones_like(state.right))
        return Report(
            xp.astype(state.count[..., 0], xp.int32),
            (state.residual <= state.goal)[..., 0],
            xp.sqrt(state.residual / goal)[..., 0],
            left / xp.where(size > 0, size, ones),
            _ritz(steps, X.shape[:-2]),
            self._bands(),
            setup.bins.redundancy(setup.layout.hop) if isinstance(setup.bins, Frequencies) else float("nan"),
        )

    def _bands(self) -> tuple[tuple[float, float], ...]:
        setup = self.setup
        if self.request.live is not None:
            basis = np.asarray([[complex(v) for v in row] for row in self.request.live])
            setup = replace(setup, bins=Basis.of(basis))
        symbol = scales.even_spectrum(_lags(setup, bin_weights(setup)), 8 * setup.layout.n_fft, np)
        return scales.bands(symbol, setup.bins.sr)


@lru_cache(maxsize=16)
def _preimages(frames: Frames, pad_mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each sample of the signal the samples of the padded axis that were taken from it, one after the other.

    Their places, and 1 where there is one, else 0.
    """
    taken = padding_index(-frames.start, frames.span - frames.start, frames.n_samples, pad_mode)
    order = np.argsort(taken, kind="stable")
    counts = np.bincount(taken, minlength=frames.n_samples)
    first = np.cumsum(counts) - counts
    return [
        (order[np.minimum(first + rank, order.size - 1)], (rank < counts).astype(np.float64))
        for rank in range(counts.max())
    ]


class State(NamedTuple):
    """Of conjugate gradients, for each signal: all but x, r, p of shape (..., 1).

    residual and right are the squared norms of r and of the right-hand side, goal is what residual should come down to
    """

    x: Any
    r: Any
    p: Any
    product: Any
    residual: Any
    going: Any
    count: Any
    alpha: Any
    beta: Any
    goal: Any
    right: Any


def conjugate_gradients(
    operator: Callable[[Any], Any],
    precondition: Callable[[Any], Any],
    right: Any,
    tol: float,
    maxiter: int,
    xp: Any,
) -> tuple[Callable[[State], State], State]:
    """One iteration, and the state before the first (Hestenes & Stiefel 1952).

    Every signal has scalars of its own and stands still once it has converged, so that it has the same bits in any
    batch. The signal of a right-hand side that is not finite is NaN.
    """

    def inner(a: Any, b: Any) -> Any:
        return xp.sum(a * b, axis=-1, keepdims=True)

    def advance(state: State) -> State:
        z = precondition(state.r)
        product = inner(state.r, z)
        beta = xp.where(state.product > 0, product / xp.where(state.product > 0, state.product, one), zero)
        p = z + beta * state.p
        q = operator(p)
        bend = inner(p, q)
        going = state.going & (bend > 0)
        alpha = xp.where(going, product / xp.where(going, bend, one), zero)
        x, r = state.x + alpha * p, state.r - alpha * q
        residual = xp.where(going, inner(r, r), state.residual)
        count = state.count + xp.astype(going, right.dtype)
        still = going & (residual > state.goal) & (count < maxiter)
        return State(x, r, p, product, residual, still, count, alpha, beta, state.goal, state.right)

    size = inner(right, right)
    zero, one = xp.zeros_like(size), xp.ones_like(size)
    goal = tol**2 * size
    x = xp.where(size < float("inf"), xp.zeros_like(right), xp.full_like(right, float("nan")))
    return advance, State(x, right, xp.zeros_like(right), zero, size, size > goal, zero, zero, zero, goal, size)


def _progress(state: State, xp: Any) -> tuple[int, float]:
    """Iterations so far, and the largest relative residual of all signals."""
    residual = xp.sqrt(state.residual / xp.where(state.right > 0, state.right, xp.ones_like(state.right)))
    return int(xp.max(state.count)), float(xp.max(residual))


def _loop(unfinished: Callable[[State], Any], advance: Callable[[State], State], state: State) -> State:
    """The one place where the host waits for a value of the arrays'."""
    while bool(unfinished(state)):
        state = advance(state)
    return state


def _ritz(steps: list[State], shape: tuple[int, ...]) -> np.ndarray:
    """The ends of the spectrum of the tridiagonal matrices that the iterations made, (*shape, 2); NaN without any."""
    ends = np.full((*shape, 2), np.nan)
    for at in np.ndindex(*shape):
        alpha = np.array([float(step.alpha[(*at, 0)]) for step in steps])
        beta = np.array([float(step.beta[(*at, 0)]) for step in steps])
        alpha = alpha[alpha > 0]
        if alpha.size:
            beta = beta[1 : alpha.size]
            diagonal = 1 / alpha
            diagonal[1:] += beta / alpha[:-1]
            matrix = np.diag(diagonal) + np.diag(np.sqrt(beta) / alpha[:-1], 1)
            ends[at] = np.linalg.eigvalsh(matrix, UPLO="U")[[0, -1]]
    return ends
