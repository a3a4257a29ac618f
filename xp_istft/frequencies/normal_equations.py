"""The normal equations of the inverse for bins that are no DFT: density-weighted, band-regularised least squares.

The forward map A takes a signal to E (w . frame_m) for every frame m, with a basis E (n_bins, n_fft). With weights C on
the bins the inverse solves

    (A' C A + R) x = A' C X,    R = D^1/2 G D^1/2

- A' C A needs no bins: the Gram matrix E' C E is Toeplitz for every list of frequencies, so it is the transform pair
  itself, of frames filled up with zeros to twice their size, with a real factor per bin between the two.
- D is the overlap of the squared windows over its mean, and G = LAMBDA max(S) max(0, 1 - S / (TAU max(S)))^2 a filter,
  S being the symbol of `grids`: 0 where the frames determine a frequency, so that nothing there is biased, and up to
  LAMBDA of the peak where they do not, so that what cannot be recovered is damped in place of amplified. Where they
  determine every frequency (min S >= FULL max S, redundantly) it is 0, and this is plain least squares.
- The preconditioner D^-1/2 F D^-1/2, with the filter F = 1 / max(S + G, TAU max S), leaves so little that a scale which
  is the DFT takes one iteration.

The unknown is the signal on the padded axis, whatever the padding P of the analysis was; or the signal x itself, where
P is known (`pad_mode`), and then P' (A' C A + R) P x = P' A' C X.

How LAMBDA, TAU and CLIP were chosen: benchmarks/frequencies.py and docs/frequencies.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..arguments import error
from ..backends import device, namespace, required_backend
from ..dtypes import PRECISION, dtype_name
from ..frames import Frames, padding_index
from ..jobs import Analysis, Synthesis
from ..tuning import tuning
from ..windows import overlap
from .bases import Basis, basis_for, cached, placed
from .grids import Frequencies, autocorrelation, bands, basis_lags, even_spectrum, lags

LAMBDA = 0.1
TAU = 0.1
# Bins that determine all of [0, sr / 2] at this part of the peak or more, so redundantly, leave nothing to damp. At a
# redundancy of 1.04 (log, 4096 bins, hop 1024) plain least squares turned noise at -20 dB into noise at +5 dB.
FULL = 1e-4
REDUNDANT = 1.5
# Samples under less than this part of the largest overlap are not determined.
CLIP = {"float64": 1e-8, "float32": 1e-4}
_MAX_CONDITION = 1e6  # of the Gram matrix that PerFrame inverts


# ---- what follows from bins, window and frames: made once, on the host, in float64


@dataclass(frozen=True)
class Setup:
    """A kind of problem, by value: the key of all that is made for it.

    transform : an STFT whose windows are on the host; bins and solver count, not its own
    pad_mode  : what the padding of the analysis was; None: not known
    """

    transform: Any
    bins: Frequencies | Basis
    solver: Any
    frames: Frames
    pad_mode: str | None
    precision: str

    @property
    def n_fft(self) -> int:
        return self.transform.n_fft

    @cached_property
    def window(self) -> np.ndarray:
        """float64 (n_fft,), with a peak of 1: the scale of a window decides nothing."""
        samples = self.transform.samples()
        return samples / np.abs(samples).max()

    @cached_property
    def axis(self) -> Frames:
        """The padded axis, all of it."""
        return replace(self.frames, start=0, stop=self.frames.span)

    @property
    def unknown(self) -> Frames:
        """Where the unknown lies: the padded axis, or the signal alone where its padding is known."""
        return self.axis if self.pad_mode is None else self.frames

    @property
    def may_be_plain(self) -> bool:
        """Whether nothing is damped, if the bins determine every frequency: not where a number damps, nor where they
        are so sparse that the symbol tells them apart by little.
        """
        return not self.solver.damping and self.bins.redundancy(self.transform.hop_length) >= REDUNDANT

    @cached_property
    def fast_length(self) -> int:
        """Samples of the transforms in which the unknown is filtered."""
        from scipy.fft import next_fast_len

        size = max(self.unknown.n_samples, self.axis.n_samples) + self.n_fft
        unit = 1 << max(0, size.bit_length() - 5)  # powers of 2 are faster than those of 3 and 5
        return unit * next_fast_len(-(-size // unit), real=True)

    @cached_property
    def gram_length(self) -> int:
        """Samples of the transforms in which a Toeplitz Gram matrix is a factor per bin."""
        from scipy.fft import next_fast_len

        return next_fast_len(2 * self.n_fft - 1, real=True)

    def lags(self, weights: np.ndarray) -> np.ndarray:
        """g[d] r[d], float64 (n_fft,)."""
        if isinstance(self.bins, Basis):
            return basis_lags(self.bins.samples, weights, self.window)
        return lags(self.bins, weights, self.n_fft) * autocorrelation(self.window)


@lru_cache(maxsize=16)
def bin_weights(setup: Setup) -> np.ndarray:
    """The weights C, float64 (n_bins,); uniform ones are such that the symbol's peak is that of the full DFT."""
    weights = setup.solver.weights
    if not isinstance(weights, str):
        return weights
    if weights == "density" and isinstance(setup.bins, Frequencies):
        return setup.bins.density(setup.n_fft)
    ones = np.ones(len(setup.bins))
    return ones * (setup.window**2).sum() / even_spectrum(setup.lags(ones), 8 * setup.n_fft).max()


def basis_gram(basis: Basis, weights: np.ndarray) -> np.ndarray:
    """The Gram matrix of a basis, float64 (n_fft, n_fft)."""
    return np.real((basis.samples.conj() * weights[:, None]).T @ basis.samples)


class Terms(NamedTuple):
    """The normal equations in arrays of one library. The unknown has n samples.

    gram           : of a Toeplitz Gram matrix the real spectrum (setup.gram_length // 2 + 1,), of any other the
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


def terms(setup: Setup, window: Any, windowed: Any, gram: Any) -> Terms:
    """The normal equations for `windowed`, g[d] r[d]. Gradients pass through all of them."""
    xp, hop, clip = namespace(window), setup.transform.hop_length, CLIP[setup.precision]
    symbol = even_spectrum(windowed, setup.fast_length) / hop
    symbol = xp.where(symbol > 0, symbol, xp.zeros_like(symbol))
    peak = xp.max(symbol)
    full = (xp.min(symbol) >= FULL * peak) & setup.may_be_plain
    lack = 1 - symbol / (TAU * peak)
    most = LAMBDA if setup.solver.damping is None else setup.solver.damping
    damping = most * peak * xp.where((lack > 0) & ~full, lack, xp.zeros_like(lack)) ** 2
    total, floor = symbol + damping, xp.where(full, FULL * peak, TAU * peak)
    preconditioner = 1 / xp.where(total > floor, total, floor)

    overlapped = overlap(window**2, setup.frames)
    envelope, axis = (overlapped.samples(each.start, each.stop) for each in (setup.unknown, setup.axis))
    mean = xp.sum(window**2) / hop
    known = envelope > clip * xp.max(envelope)
    root = xp.sqrt(xp.where(known, envelope, mean) / mean)
    heavy = axis > clip * xp.max(axis)
    axis_root = xp.where(heavy, xp.sqrt(xp.where(heavy, axis, mean) / mean), xp.zeros_like(axis))
    return Terms(gram, xp.astype(known, envelope.dtype), root, axis_root, damping, preconditioner)


@lru_cache(maxsize=8)
def host_terms(setup: Setup) -> Terms:
    """The normal equations in float64 on the host."""
    weights = bin_weights(setup)
    if isinstance(setup.bins, Basis):
        gram = basis_gram(setup.bins, weights)
    else:
        gram = even_spectrum(lags(setup.bins, weights, setup.n_fft), setup.gram_length)
    made = terms(setup, setup.window, setup.lags(weights), gram)
    return made if made.damping.any() else made._replace(damping=None)


@lru_cache(maxsize=8)
def _placed_terms(setup: Setup, xp: Any, beside: Any) -> Terms:
    return Terms(*(None if term is None else placed(term, setup.precision, xp, beside) for term in host_terms(setup)))


@lru_cache(maxsize=8)
def frame_inverse(setup: Setup) -> np.ndarray:
    """The inverse of the Gram matrix of a frame, float64 (n_fft, n_fft); ValueError where it is ill conditioned."""
    weights = bin_weights(setup)
    if isinstance(setup.bins, Basis):
        gram = basis_gram(setup.bins, weights)
    else:
        lag = np.abs(np.subtract.outer(np.arange(setup.n_fft), np.arange(setup.n_fft)))
        gram = lags(setup.bins, weights, setup.n_fft)[lag]
    values, vectors = np.linalg.eigh(gram)
    condition = values[-1] / max(values[0], np.finfo(float).tiny)
    if condition > _MAX_CONDITION:
        need = f"bins whose Gram matrix has a condition number <= {_MAX_CONDITION:g} for PerFrame"
        raise error(ValueError, "istft", "frequencies", need, f"{condition:.1e}", "solver=xp_istft.Dual() takes them")
    return (vectors / values) @ vectors.T


_Block = tuple[slice, Analysis, Synthesis]


@lru_cache(maxsize=16)
def _blocks(setup: Setup, size: int, windowed: bool, n_signals: int) -> list[_Block]:
    """A' C A in parts that bound its memory, of frames filled up with zeros to `size`.

    Of each the samples of the padded axis that it takes, and its two jobs.
    """
    axis = setup.axis
    window = np.concatenate([setup.window, np.zeros(size - setup.n_fft)]) if windowed else None
    step = max(4 * axis.overlap, tuning().equation_bytes // (8 * size * max(1, n_signals))) * axis.hop
    made = []
    for lo in range(0, axis.span, step):
        columns, part = axis.segment(lo, min(lo + step, axis.span))
        origin = columns.start * axis.hop
        frames = Frames(size, part.hop, part.n_frames, 0, part.span)
        inverse = replace(frames, start=part.start, stop=part.stop)
        taken = slice(origin, origin + part.span)
        made.append((taken, Analysis(frames, window), Synthesis(inverse, window, None)))
    return made


# ---- the same in arrays of the data's library


class NormalEquations:
    """The normal equations for a spectrum X (..., n_bins, n_frames), in arrays of its library.

    window : (n_fft,) with a peak of 1 where it, or the basis, is followed; None where the jobs hold it
    scale  : what the forward map multiplies that window by
    """

    def __init__(self, X: Any, transform: Any, job: Synthesis, pad_mode: str | None, workers: int | None) -> None:
        self.X, self.transform, self.workers = X, transform, workers
        self.backend, self.xp, self.device = required_backend(X), namespace(X), device(X)
        bins, n_fft, frames = transform.bins, transform.n_fft, job.frames
        if bins is None:
            bins = transform.frequencies or Frequencies(np.arange(n_fft // 2 + 1), n_fft)
        precision = PRECISION[dtype_name(X)]
        self.setup = Setup(transform.host, bins, transform.solver, frames, pad_mode, precision)
        self.basis: Any = basis_for(bins, transform.basis, n_fft, X)
        self.toeplitz = isinstance(bins, Frequencies)
        self.followed = job.followed or transform.basis is not None
        if job.followed:
            window = transform.analysis("istft", n_fft, X).window  # n_fft samples have a frame, wherever it lies
            window = self.xp.astype(window, getattr(self.xp, precision))
            self.scale = self.xp.max(self.xp.abs(window))
            self.window = window / self.scale
        else:
            self.scale = float(np.abs(transform.samples()).max()) * transform.scale
            self.window = self.place(self.setup.window) if self.followed else None
        if pad_mode not in (None, "constant"):  # which sample of the signal stands at each sample of the padded axis
            index = padding_index(-frames.start, frames.span - frames.start, frames.n_samples, str(pad_mode))
            self._index = self.xp.asarray(index, device=self.device)

    def place(self, values: np.ndarray) -> Any:
        return placed(values, self.setup.precision, self.xp, self.device)

    def scaled(self, array: Any, factors: Any, axis: int = -1) -> Any:
        """`array` times real factors (n,) along one of its axes."""
        return array * self.backend.along(factors, array, axis)

    @cached_property
    def weights(self) -> Any:
        """The weights C, (n_bins,)."""
        weights, level = self._weights
        return self.place(weights) * level

    @cached_property
    def _weights(self) -> tuple[np.ndarray, Any]:
        """The weights on the host, up to a factor; and that factor, which what is followed decides."""
        setup, name = self.setup, self.setup.solver.weights
        if not self.followed or not isinstance(name, str) or (name == "density" and self.toeplitz):
            return bin_weights(setup), 1.0
        ones = np.ones(len(setup.bins))
        symbol = even_spectrum(self._lags(ones), 8 * setup.n_fft)
        return ones, self.xp.sum(self.window**2) / self.xp.max(symbol)

    @cached_property
    def terms(self) -> Terms:
        setup, (weights, level) = self.setup, self._weights
        if not self.followed:
            return cached(_placed_terms, self.X)(setup, self.xp, self.device)
        if isinstance(setup.bins, Frequencies):
            gram = self.place(even_spectrum(lags(setup.bins, weights, setup.n_fft), setup.gram_length))
        else:
            rows = self.basis.rows
            gram = self.xp.matrix_transpose(rows) @ (rows * self.place(np.tile(weights, 2))[:, None])
        return terms(setup, self.window, self._lags(weights) * level, gram * level)

    def _lags(self, weights: np.ndarray) -> Any:
        """g[d] r[d], followed."""
        bins, n_bins = self.setup.bins, len(self.setup.bins)
        if isinstance(bins, Frequencies):
            return self.place(lags(bins, weights, self.setup.n_fft)) * autocorrelation(self.window)
        basis = self.backend.as_complex(self.basis.rows[:n_bins, :], self.basis.rows[n_bins:, :])
        return basis_lags(basis, self.place(weights), self.window)

    @cached_property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """The bands in Hz that can be recovered."""
        setup, followed = self.setup, self.transform.basis
        if followed is not None:
            setup = replace(setup, bins=Basis.of(self.backend.to_host(followed)))
        return bands(even_spectrum(setup.lags(bin_weights(setup)), 8 * setup.n_fft), setup.bins.sr)

    # -- the maps

    def operator(self, v: Any, gram: Any, axis_root: Any, damping: Any = None, window: Any = None) -> Any:
        """P' (A' C A + R) P v; what a gradient follows is given."""
        axis = self.padded(self.scaled(v, self.terms.known))
        result = self._frame_operator(axis, gram, window)
        if damping is not None:
            result = result + self.scaled(self.filtered(self.scaled(axis, axis_root), damping), axis_root)
        return self.scaled(self.folded(result), self.terms.known)

    def right(self, segments: Any) -> Any:
        """P' A' C X of segments E' C X."""
        if self.followed:
            segments = self.scaled(segments, self.window, -2)
        window = None if self.followed else self.setup.window
        right = self.backend.overlap_add(segments, Synthesis(self.setup.axis, window, None))
        return self.scaled(self.folded(right), self.terms.known)

    def spectrum(self, unknown: Any) -> Any:
        """A P x."""
        window = None if self.followed else self.setup.window
        segments = self.backend.frame(self.padded(unknown), Analysis(self.setup.axis, window))
        return self.basis.spectrum(self.scaled(segments, self.window, -2) if self.followed else segments)

    def signal(self, unknown: Any) -> Any:
        """The samples of the signal, which was analysed with the window as it is."""
        frames, start = self.setup.frames, self.setup.unknown.start
        return self._cut(unknown, frames.start - start, frames.stop - start) / self.scale

    @cached_property
    def _parts(self) -> list[_Block]:
        size = self.setup.n_fft if self.followed or not self.toeplitz else self.setup.gram_length
        return _blocks(self.setup, size, not self.followed, int(np.prod(self.X.shape[:-2])))

    def _frame_operator(self, axis: Any, gram: Any, window: Any) -> Any:
        """A' C A on the padded axis."""
        parts = [self._part(axis[..., taken], here, there, gram, window) for taken, here, there in self._parts]
        return parts[0] if len(parts) == 1 else self.xp.concat(parts, axis=-1)

    def _part(self, piece: Any, analysis: Analysis, synthesis: Synthesis, gram: Any, window: Any) -> Any:
        backend, fft, size = self.backend, self.xp.fft, self.setup.gram_length
        if self.toeplitz and window is None:
            spectrum = backend.analysis(piece, analysis, workers=self.workers)
            spectrum *= backend.along(gram, spectrum, -2)
            return backend.synthesis(spectrum, synthesis, workers=self.workers)
        segments = backend.frame(piece, analysis)
        segments = segments if window is None else self.scaled(segments, window, -2)
        if self.toeplitz:
            spectrum = self.scaled(fft.rfft(segments, n=size, axis=-2), gram, -2)
            segments = fft.irfft(spectrum, n=size, axis=-2)[..., : self.setup.n_fft, :]
        else:
            segments = gram @ segments
        segments = segments if window is None else self.scaled(segments, window, -2)
        return backend.overlap_add(segments, synthesis)

    def filtered(self, array: Any, factor: Any) -> Any:
        """`array`, each frequency times a real factor."""
        size, fft = self.setup.fast_length, self.xp.fft
        spectrum = fft.rfft(array, n=size, axis=-1, norm="forward")  # numpy's own takes float32 to float64
        return fft.irfft(self.scaled(spectrum, factor * size), n=size, axis=-1)[..., : array.shape[-1]]

    # -- the padding P of the analysis, where it is known

    def padded(self, unknown: Any) -> Any:
        """The padded axis of an unknown."""
        frames, pad_mode = self.setup.frames, self.setup.pad_mode
        if pad_mode is None:
            return unknown
        if pad_mode == "constant":
            return self._cut(unknown, -frames.start, frames.span - frames.start)
        return self.xp.take(unknown, self._index, axis=-1)

    def folded(self, axis: Any) -> Any:
        """The adjoint of `padded`: each sample of the signal takes what was taken from it."""
        frames, pad_mode = self.setup.frames, self.setup.pad_mode
        if pad_mode is None:
            return axis
        if pad_mode == "constant":
            return self._cut(axis, frames.start, frames.stop)
        if pad_mode == "edge":  # all of an end comes from one sample
            return self._ends_added(axis)
        total = None
        for index, there in _preimages(frames, pad_mode):
            part = self.scaled(self.xp.take(axis, self.xp.asarray(index, device=self.device), axis=-1), there)
            total = part if total is None else total + part
        return total

    def _ends_added(self, axis: Any) -> Any:
        frames = self.setup.frames
        start, stop = max(0, frames.start), min(frames.stop, axis.shape[-1])
        signal, t = self._cut(axis, frames.start, frames.stop), np.arange(frames.n_samples)
        for at, end in ((0, axis[..., :start]), (frames.n_samples - 1, axis[..., stop:])):
            signal = signal + self.backend.along(t == at, signal) * self.xp.sum(end, axis=-1, keepdims=True)
        return signal

    def _cut(self, array: Any, lo: int, hi: int) -> Any:
        """Samples [lo, hi), with zeros where there are none."""
        size = array.shape[-1]
        before, after = (max(0, min(count, hi - lo)) for count in (-lo, hi - size))
        zeros = self.xp.zeros((*array.shape[:-1], max(before, after)), dtype=array.dtype, device=self.device)
        inside = array[..., min(size, max(0, lo)) : min(size, max(0, hi))]
        return self.xp.concat([zeros[..., :before], inside, zeros[..., :after]], axis=-1)


@lru_cache(maxsize=16)
def _preimages(frames: Frames, pad_mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each sample of the signal the samples of the padded axis that were taken from it, one after the other.

    Their places, and whether there is one.
    """
    taken = padding_index(-frames.start, frames.span - frames.start, frames.n_samples, pad_mode)
    order = np.argsort(taken, kind="stable")
    counts = np.bincount(taken, minlength=frames.n_samples)
    first = np.cumsum(counts) - counts
    return [(order[np.minimum(first + rank, order.size - 1)], rank < counts) for rank in range(counts.max())]
