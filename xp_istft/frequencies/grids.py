"""Frequencies of bins, and what frames with such bins determine of a signal.

A bin at f Hz is the DFT bin b = f n_fft / sr, whole or not: X[k, m] = sum_n w[n] x[m h + n] exp(-2 pi i b_k n / n_fft).
With weights c on the bins, everything about the inverse follows from the real numbers

    g[d] = sum_k c_k cos(2 pi b_k d / n_fft)

(the Gram matrix of the bins is Toeplitz, whatever the grid) and from the autocorrelation r of the window: the *symbol*
S(omega) = sum_d g[d] r[d] exp(-i omega d) / h is the weight of frequency omega in the least squares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..arguments import choice, error, hinted, integer, number, positive
from ..backends import device, namespace, required_backend
from ..windows import real_values

FREQUENCY_SCALES = ("no", "linear", "log", "log2")  # nnAudio's
_RECOVERED = 0.1  # a frequency can be recovered where the symbol is at least this part of its peak


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Increasing frequencies of bins in Hz, with the sampling rate that they belong to.

    Compared and hashed by content.

    Parameters
    ----------
    hz : real sequence (n_bins,)
        Increasing, from 0 to sr / 2.
    sr : float
        Sampling rate in Hz.

    Raises
    ------
    ValueError, TypeError
        The frequencies are not finite, do not increase, or leave [0, sr / 2]; the text names what came.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> notes = xi.Frequencies(110 * 2 ** (np.arange(48) / 12), sr=22050)
    >>> X = xi.stft(np.ones(22050), 2048, frequencies=notes)
    >>> X.shape
    (48, 44)
    """

    hz: np.ndarray
    sr: float
    _digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sr = positive("Frequencies", "sr", self.sr)
        hz = real_values("Frequencies", "hz", self.hz, "numbers (n_bins,)").astype(np.float64)
        if hz.ndim != 1 or not hz.size:
            raise error(ValueError, "Frequencies", "hz", "at least 1 frequency, shape (n_bins,)", f"shape {hz.shape}")
        wrong = np.flatnonzero(~((hz >= 0) & (hz <= sr / 2 * (1 + 1e-12))))
        if wrong.size:
            got = f"{hz[wrong[0]]:g} at index {wrong[0]}"
            raise error(ValueError, "Frequencies", "hz", f"from 0 to sr / 2 = {sr / 2:g} Hz", got)
        falls = np.flatnonzero(np.diff(hz) <= 0)
        if falls.size:
            got = f"{hz[falls[0] + 1]:g} after {hz[falls[0]]:g} at index {falls[0] + 1}"
            raise error(ValueError, "Frequencies", "hz", "increasing frequencies", got)
        hz.flags.writeable = False
        object.__setattr__(self, "hz", hz)
        object.__setattr__(self, "sr", sr)
        object.__setattr__(self, "_digest", hz.tobytes() + np.float64(sr).tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frequencies) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __len__(self) -> int:
        return self.hz.size

    def __repr__(self) -> str:
        return f"Frequencies({len(self)} from {self.hz[0]:g} to {self.hz[-1]:g} Hz, sr={self.sr:g})"

    def bins(self, n_fft: int) -> np.ndarray:
        """The frequencies in bins of a DFT of n_fft samples, float64 (n_bins,)."""
        return self.hz * integer("bins", "n_fft", n_fft, 2) / self.sr

    def is_dft(self, n_fft: int) -> bool:
        """Whether these are exactly the n_fft // 2 + 1 bins of the DFT."""
        return len(self) == integer("is_dft", "n_fft", n_fft, 2) // 2 + 1 and bool(
            np.abs(self.bins(n_fft) - np.arange(len(self))).max() < 1e-9
        )

    def basis(self, n_fft: int) -> np.ndarray:
        """exp(-2 pi i b n / n_fft), complex128 (n_bins, n_fft): `stft` multiplies it with the windowed frames."""
        n_fft = integer("basis", "n_fft", n_fft, 2)
        return np.exp(-2j * np.pi / n_fft * (np.outer(self.bins(n_fft), np.arange(n_fft)) % n_fft))

    def density(self, n_fft: int) -> np.ndarray:
        """The share of [0, sr / 2] that each bin stands for, float64 (n_bins,), times 2.

        A bin's cell reaches half way to its neighbours; those at the ends are symmetric. Of the bins of the DFT these
        are (1, 2, ..., 2, 1) / n_fft (without the last 1 for odd n_fft), the weights of the inverse DFT.
        """
        b = self.bins(integer("density", "n_fft", n_fft, 2))
        if b.size == 1:
            return np.full(1, 2 / n_fft)
        middle = (b[1:] + b[:-1]) / 2
        lo = np.concatenate([[2 * b[0] - middle[0]], middle])
        hi = np.concatenate([middle, [2 * b[-1] - middle[-1]]])
        return 2 / n_fft * (np.clip(hi, 0, n_fft / 2) - np.clip(lo, 0, n_fft / 2))

    def redundancy(self, hop_length: int) -> float:
        """Numbers in the spectrum for each one to be determined, where the bins lie farthest apart.

        sr / (hop_length * gap). Under 1, what lies between those bins is lost for any method.
        """
        hop = integer("redundancy", "hop_length", hop_length, 1)
        return self.sr / (hop * float(np.diff(self.hz).max())) if len(self) > 1 else float("inf")


Frequencies.__init__ = hinted(Frequencies.__init__)  # type: ignore[method-assign]


@hinted
def linear_frequencies(n: int, fmin: float, fmax: float, sr: float) -> Frequencies:
    """Grid of n frequencies from fmin, (fmax - fmin) / n apart: nnAudio's 'linear', which leaves fmax out.

    Parameters
    ----------
    n : int
        Number of bins.
    fmin, fmax : float
        In Hz.
    sr : float
        Sampling rate in Hz.

    Returns
    -------
    Frequencies
        The grid, with its sampling rate.

    Raises
    ------
    ValueError, TypeError
        fmax is not above fmin, or a frequency lies above sr / 2.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.linear_frequencies(4, 100, 500, sr=8000).hz
    array([100., 200., 300., 400.])
    """
    return _grid("linear_frequencies", "n", n, fmin, fmax, sr, logarithmic=False)


@hinted
def log_frequencies(n: int, fmin: float, fmax: float, sr: float) -> Frequencies:
    """Grid of n frequencies from fmin, each (fmax / fmin)**(1 / n) times the one before: nnAudio's 'log' and 'log2'.

    fmax itself is left out.

    Parameters
    ----------
    n, fmin, fmax, sr
        As in `linear_frequencies`; fmin must be above 0.

    Returns
    -------
    Frequencies
        The grid, with its sampling rate.

    Raises
    ------
    ValueError, TypeError
        fmax is not above fmin, or a frequency lies above sr / 2.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.log_frequencies(4, 100, 1600, sr=8000).hz
    array([100., 200., 400., 800.])
    """
    return _grid("log_frequencies", "n", n, fmin, fmax, sr, logarithmic=True)


def scale_frequencies(
    function: str, n_fft: int, freq_bins: Any, freq_scale: Any, fmin: Any, fmax: Any, sr: Any
) -> Frequencies | None:
    """The bins that nnAudio's parameters name, for `function`'s errors; None: those of the DFT, all of them."""
    scale = choice(function, "freq_scale", freq_scale, FREQUENCY_SCALES)
    n_bins = n_fft // 2 + 1
    if freq_bins is not None:
        freq_bins = integer(function, "freq_bins", freq_bins, 1)
    if scale != "no":
        count = n_bins if freq_bins is None else freq_bins
        return _grid(function, "freq_bins", count, fmin, fmax, sr, logarithmic=scale != "linear")
    for name, value in (("fmin", fmin), ("fmax", fmax), ("sr", sr)):  # they do not move these bins
        number(function, name, value, 0)
    if freq_bins in (None, n_bins, n_fft):
        return None
    if freq_bins > n_bins:
        need = f"<= {n_bins}, or {n_fft} (two-sided), for n_fft={n_fft} and freq_scale='no'"
        raise error(ValueError, function, "freq_bins", need, freq_bins)
    sr = positive(function, "sr", sr)
    return Frequencies(np.arange(freq_bins) * sr / n_fft, sr)


def _grid(function: str, count: str, n: Any, fmin: Any, fmax: Any, sr: Any, *, logarithmic: bool) -> Frequencies:
    n = integer(function, count, n, 1)
    fmin, fmax, sr = number(function, "fmin", fmin, 0), number(function, "fmax", fmax, 0), positive(function, "sr", sr)
    if logarithmic and fmin == 0:
        raise error(ValueError, function, "fmin", "> 0", 0)
    if not fmax > fmin:
        raise error(ValueError, function, "fmax", f"> fmin={fmin:g}", f"{fmax:g}")
    steps = np.arange(n) / n
    hz = fmin * (fmax / fmin) ** steps if logarithmic else fmin + (fmax - fmin) * steps
    if hz[-1] > sr / 2:
        raise error(ValueError, function, "fmax", f"frequencies up to sr / 2 = {sr / 2:g} Hz", f"{hz[-1]:g}")
    return Frequencies(hz, sr)


# ---- the symbol, of arrays of any library


def lags(bins: Frequencies, weights: np.ndarray, n_fft: int) -> np.ndarray:
    """g[d], float64 (n_fft,), read-only: the first column of the Toeplitz Gram matrix of the bins."""
    return _lags(bins, weights.tobytes(), n_fft)


@lru_cache(maxsize=16)
def _lags(bins: Frequencies, weights: bytes, n_fft: int) -> np.ndarray:
    column = np.frombuffer(weights) @ bins.basis(n_fft).real
    column.flags.writeable = False
    return column


def autocorrelation(window: Any) -> Any:
    """r[d] = sum_n window[n] window[n + d] for d = 0..n_fft - 1."""
    n_fft, fft = window.shape[0], namespace(window).fft
    spectrum = fft.rfft(window, n=2 * n_fft)
    return fft.irfft(spectrum * namespace(window).conj(spectrum), n=2 * n_fft)[:n_fft]


def basis_lags(basis: Any, weights: Any, window: Any) -> Any:
    """What g[d] r[d] is for a basis whose Gram matrix is not Toeplitz: the sums of its windowed diagonals."""
    xp, n_fft = namespace(basis), basis.shape[1]
    windowed = basis * required_backend(basis).along(window, basis)
    turned = xp.fft.fft(windowed, n=2 * n_fft)
    # Not abs(turned) ** 2, whose second derivative is 0 in place of 2 on torch where `turned` is exactly 0: 5 samples
    # of 96 for a Hann window and 6 bins, which left second derivatives of the solution about 1 % wrong.
    power = xp.sum(weights[:, None] * (xp.real(turned) ** 2 + xp.imag(turned) ** 2), axis=0)
    return xp.real(xp.fft.ifft(xp.astype(power, basis.dtype)))[:n_fft]


def even_spectrum(first: Any, n: int) -> Any:
    """Real spectrum (n // 2 + 1,) of the even sequence of n samples that begins with `first`, n >= 2 first.size - 1."""
    xp = namespace(first)
    zeros = xp.zeros((n - 2 * first.shape[0] + 1,), dtype=first.dtype, device=device(first))
    return xp.real(xp.fft.rfft(xp.concat([first, zeros, xp.flip(first[1:])])))


def bands(symbol: np.ndarray, sr: float) -> tuple[tuple[float, float], ...]:
    """The bands in Hz that can be recovered, of a symbol on an even grid from 0 to sr / 2.

    >>> bands(np.array([0.0, 1.0, 1.0, 0.0, 0.5]), sr=8)
    ((1.0, 2.0), (4.0, 4.0))
    """
    recovered = np.concatenate([[False], symbol >= _RECOVERED * symbol.max(), [False]])
    edges = np.flatnonzero(np.diff(recovered))
    step = sr / 2 / (symbol.size - 1)
    return tuple((float(lo * step), float((hi - 1) * step)) for lo, hi in zip(edges[::2], edges[1::2], strict=True))
