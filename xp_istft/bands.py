"""Mel bands of magnitudes, and magnitudes of given bands.

Bands are triangles between neighbouring mel points, so every bin lies in two of them at most: with A the filterbank,
A diag(d) A^T is tridiagonal for any d. Of the v >= 0 with A v = M, or with the least norm(A v - M) where there are
none, one is chosen: that of the least sum of v**2 / w, with w the level of the two bands about a bin. It is

    v = w max(A^T l, 0),   where l minimises  sum(w max(A^T l, 0)**2) / 2 - M l

which Newton's method finds, one tridiagonal system a step: d is w where v > 0. The level is the geometric mean of both
bands' M / A 1, so that l is about 1; of frames that no v >= 0 with these weights has, the mean. With w = 1, as a plain
pseudo-inverse has it, v was further from the magnitudes of recordings (0.242 in place of 0.230).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import lapack

from .arguments import choice, error, hinted, integer, number, positive, public, shown
from .arrays import LAST_TWO, check_magnitudes_at_hand, magnitudes, placed
from .backends import device, namespace, required_backend
from .dtypes import dtype_name
from .frequencies.grids import Frequencies
from .transform import STFT, read_transform

SCALES = ("slaney", "htk")
_BEND, _BEND_HZ, _HZ_PER_MEL, _LOG_STEP = 15.0, 1000.0, 200 / 3, math.log(6.4) / 27  # Slaney's Auditory Toolbox

_RIDGES = (1e-2, 1e-4, 1e-6, 1e-8)  # of least squares, beside bands whose largest is 1
_DAMPING = 1e-10  # of linear systems, beside a band: one that no bin makes has no curvature
_FEW, _STEPS = 40, 60  # of Newton's method; frames of four recordings took 2 (power 1) and 3 (power 2), the slowest 16
_ROUNDING = {"float32": 2.0**-23, "float64": 1e-12}  # of a band
_HARD_ROUNDING = 1e-13  # of the multipliers of hard frames, which are up to 1 / ridge
_TINY = 1e-290
_BLOCK = 256  # frames whose arrays stay in cache


@dataclass(frozen=True)
class Mel:
    """Mel bands as a value: M = A S**power, with triangles A between points that are evenly spaced in mel.

    The filterbanks are librosa's and torchaudio's: `Mel(128, sr)` is `librosa.feature.melspectrogram`'s,
    `Mel(128, sr, scale="htk", norm=None)` is `torchaudio.transforms.MelSpectrogram`'s.

    Parameters
    ----------
    n_mels : int
        Bands.
    sr : float
        Sampling rate in Hz.
    fmin, fmax : float
        Where the lowest band begins and the highest ends, in Hz; fmax is by default, and at most, sr / 2.
    scale : "slaney" or "htk"
        Mels: f / (200 / 3) up to 1 kHz, 27 / log(6.4) of each factor e above (Slaney's Auditory Toolbox); or
        2595 log10(1 + f / 700).
    norm : "slaney", None or float
        Triangles of area 1 (over Hz), of height 1, or of bins whose p-norm is 1, p being that number (inf: the largest
        is 1).
    power : float
        What of the magnitudes is summed: 2 is their squares, as librosa and torchaudio have it, 1 themselves.

    Raises
    ------
    ValueError, TypeError
        A parameter has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import xp_istft as xi
    >>> bands = xi.Mel(40, 16000)
    >>> bands.filterbank(512).shape, bands == xi.Mel(40, 16000, fmax=8000)
    ((40, 257), True)
    """

    n_mels: int
    sr: float
    fmin: float = 0.0
    fmax: float = None  # type: ignore[assignment]  # a float once it is read
    scale: str = "slaney"
    norm: str | float | None = "slaney"
    power: float = 2.0

    def __post_init__(self) -> None:
        sr, norm = positive("Mel", "sr", self.sr), self.norm
        fmin = number("Mel", "fmin", self.fmin, 0)
        fmax = sr / 2 if self.fmax is None else positive("Mel", "fmax", self.fmax)
        if fmax > sr / 2:
            raise error(ValueError, "Mel", "fmax", f"<= sr / 2 = {sr / 2:g}", fmax)
        if fmin >= fmax:
            raise error(ValueError, "Mel", "fmin", f"< fmax={fmax:g}", fmin)
        if norm is None or isinstance(norm, str):
            norm = choice("Mel", "norm", norm, ("slaney", None))
        elif not (isinstance(norm, float) and norm == math.inf):
            norm = positive("Mel", "norm", norm)
        read = {
            "n_mels": integer("Mel", "n_mels", self.n_mels, 1),
            "sr": sr,
            "fmin": fmin,
            "fmax": fmax,
            "scale": choice("Mel", "scale", self.scale, SCALES),
            "norm": norm if norm is None or isinstance(norm, str) else float(norm),
            "power": positive("Mel", "power", self.power),
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)

    def points(self) -> np.ndarray:
        """The ends and peaks of the triangles in Hz, float64 (n_mels + 2,): band m peaks at number m + 1.

        >>> Mel(3, 8000, fmax=1000).points()
        array([   0.,  250.,  500.,  750., 1000.])
        """
        ends = _mel(np.array([self.fmin, self.fmax]), self.scale)
        return _hz(np.linspace(ends[0], ends[1], self.n_mels + 2), self.scale)

    @hinted
    def filterbank(self, n_fft: int) -> np.ndarray:
        """A, float64 (n_mels, n_fft // 2 + 1): the weight of each bin of the DFT in each band.

        A band that is narrower than the bins may be 0 throughout: its M is then 0, and says nothing of magnitudes.
        """
        return bank_of(self, integer("filterbank", "n_fft", n_fft, 2), None).matrix.copy()


Mel.__init__ = hinted(Mel.__init__)  # type: ignore[method-assign]


@public
def magnitude_to_mel(S: Any, bands: Mel, transform: STFT | None = None, *, axes: tuple[int, int] = LAST_TWO) -> Any:
    """Mel bands of magnitudes: A S**power.

    Parameters
    ----------
    S : real array (..., n_bins, n_frames)
        Magnitudes, finite and not negative, of any library; float32 or float64 (halves compute in float32).
    bands : Mel
        The bands.
    transform : STFT, optional
        That which S was made with, one-sided; default STFT(2 * (n_bins - 1)).
    axes : (int, int)
        The axes of S that hold bins and frames, and of the result that hold bands and frames.

    Returns
    -------
    real array (..., n_mels, n_frames)
        Same library, device and dtype as S. Differentiable on torch and JAX.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> S = abs(xi.stft(np.random.default_rng(0).standard_normal(8000), 512))
    >>> xi.magnitude_to_mel(S, xi.Mel(40, 8000)).shape
    (40, 63)
    """
    function = "magnitude_to_mel"
    magnitude, narrow = magnitudes(function, "S", S, axes)
    bank = read_bank(function, bands, read_transform(function, "S", magnitude, transform))
    check_magnitudes_at_hand(function, "S", magnitude)
    M = matmul(bank.matrix, raised(magnitude, bank.power))
    return placed(M if narrow is None else namespace(M).astype(M, narrow), axes)


@public
def mel_to_magnitude(M: Any, bands: Mel, transform: STFT, *, axes: tuple[int, int] = LAST_TWO) -> Any:
    """Magnitudes whose mel bands are `M`: those S of least norm(S**power) with A S**power = M, and S >= 0.

    Where no magnitudes have these bands, those whose bands come nearest (non-negative least squares). The solution is
    exact, found by Newton's method on the host, whatever the device of M; where no band reaches, S is 0.

    Parameters
    ----------
    M : real array (..., n_mels, n_frames)
        Bands, finite and not negative, of any library; float32 or float64 (halves compute in float32). In
        decibels: `from_db` first.
    bands : Mel
        What they are.
    transform : STFT
        That whose magnitudes are wanted, one-sided.
    axes : (int, int)
        The axes of M that hold bands and frames, and of the result that hold bins and frames.

    Returns
    -------
    real array (..., n_bins, n_frames)
        Same library, device and dtype as M. Differentiable on torch (autograd) and JAX: the bins that are 0 stay so.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind.
    NotImplementedError
        Under torch.func, torch.export and in whole graphs of torch.compile, where no values are at hand.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> t, bands = xi.STFT(512), xi.Mel(40, 8000)
    >>> M = xi.magnitude_to_mel(abs(t.stft(np.random.default_rng(0).standard_normal(8000))), bands)
    >>> S = xi.mel_to_magnitude(M, bands, t)
    >>> S.shape, bool(np.allclose(xi.magnitude_to_mel(S, bands), M, rtol=1e-9))
    ((257, 63), True)
    """
    function = "mel_to_magnitude"
    M, narrow = magnitudes(function, "M", M, axes)
    bank = read_bank(function, bands, transform)
    bank.check(function, "M", M)
    check_magnitudes_at_hand(function, "M", M)
    S = nearest_magnitudes(function, M, bank)
    return placed(S if narrow is None else namespace(S).astype(S, narrow), axes)


# ---- filterbanks


def read_bank(function: str, bands: Any, transform: Any) -> Bank:
    """The filterbank of these bands for the bins of a transform."""
    if not isinstance(bands, Mel):
        raise error(
            TypeError, function, "bands", "a Mel", shown(bands) if isinstance(bands, type) else type(bands).__name__
        )
    if not isinstance(transform, STFT):
        raise error(TypeError, function, "transform", "an STFT", type(transform).__name__)
    if not transform.onesided:
        raise error(ValueError, function, "transform", "onesided=True", "onesided=False")
    grid = transform.frequencies if transform.bins is not None else None
    if grid is not None and not isinstance(grid, Frequencies):
        raise error(ValueError, function, "transform", "Frequencies or the bins of the DFT", "a basis")
    if grid is not None and grid.sr != bands.sr:
        raise error(ValueError, function, "bands", f"the rate of the transform's frequencies, {grid.sr:g} Hz", bands.sr)
    return bank_of(bands, transform.n_fft, grid)


@lru_cache(maxsize=32)
def bank_of(bands: Mel, n_fft: int, grid: Frequencies | None) -> Bank:
    """The filterbank for the bins of the DFT, or of a grid."""
    hz = np.arange(n_fft // 2 + 1) * bands.sr / n_fft if grid is None else grid.hz
    points = bands.points()
    rise, fall = (
        (hz - points[:-2, None]) / np.diff(points)[:-1, None],
        (points[2:, None] - hz) / np.diff(points)[1:, None],
    )
    matrix = np.maximum(0, np.minimum(rise, fall))
    if bands.norm == "slaney":
        matrix *= (2 / (points[2:] - points[:-2]))[:, None]
    elif isinstance(bands.norm, float):
        size = np.linalg.norm(matrix, bands.norm, axis=1, keepdims=True)
        matrix /= np.where(size > 0, size, 1)
    return Bank(matrix, np.clip(np.searchsorted(points, hz, "right") - 1, 0, bands.n_mels), bands.power)


@dataclass(frozen=True, eq=False)
class Bank:
    """A filterbank over bins: matrix (n_mels, n_bins), and between which points each bin lies.

    In segment p, from point p to the next, band p rises and band p - 1 falls.
    """

    matrix: np.ndarray
    segment: np.ndarray
    power: float

    @property
    def n_mels(self) -> int:
        return self.matrix.shape[0]

    @property
    def n_bins(self) -> int:
        return self.matrix.shape[1]

    def check(self, function: str, name: str, M: Any) -> None:
        """ValueError unless M (..., n_mels, n_frames) has these bands."""
        if M.shape[-2] != self.n_mels or M.shape[-1] < 1:
            need = f"(..., n_mels={self.n_mels}, n_frames >= 1)"
            raise error(ValueError, function, name, need, f"shape {tuple(M.shape)}")

    def parts(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each bin the elements of the band that rises there and of the one that falls."""
        beside = np.pad(matrix, ((1, 1), (0, 0)))
        rise, fall = (np.take_along_axis(beside, self.segment[None] + side, axis=0)[0] for side in (1, 0))
        return rise, fall

    @cached_property
    def means(self) -> np.ndarray:
        """(n_bins, n_mels): what makes of a number for each band the mean that a bin takes of its two."""
        total = self.matrix.sum(axis=0)
        return (self.matrix / np.where(total > 0, total, 1)).T

    @cached_property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each bin the weights in the band that rises there and in the one that falls."""
        return self.parts(self.matrix)

    @cached_property
    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """The same, with a sum of 1 in each bin that a band reaches."""
        return self.parts(self.means.T)

    @cached_property
    def starts(self) -> np.ndarray:
        """The first bin of each segment, and n_bins."""
        return np.searchsorted(self.segment, np.arange(self.n_mels + 2))

    @cached_property
    def unit(self) -> tuple[np.ndarray, np.ndarray]:
        """The matrix with rows of norm 1, or 0, and the norms (1 for those of 0)."""
        size = np.linalg.norm(self.matrix, axis=1)
        size = np.where(size > 0, size, 1)
        return self.matrix / size[:, None], size

    @cached_property
    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_bins, n_mels) each: what makes of M the levels of the bands that fall at the bins, and that rise."""
        made = np.zeros((2, self.n_bins, self.n_mels))
        for side, level in enumerate(made):
            band = np.clip(self.segment + side - 1, 0, self.n_mels - 1)
            level[np.arange(self.n_bins), band] = 1 / (self.dual.reach * self.dual.size)[band]
        return made[0], made[1]

    @cached_property
    def dual(self) -> _Dual:
        return _Dual(self)


def _mel(hz: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    above = _BEND + np.log(np.maximum(hz, _BEND_HZ) / _BEND_HZ) / _LOG_STEP
    return np.where(hz < _BEND_HZ, hz / _HZ_PER_MEL, above)


def _hz(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < _BEND, mel * _HZ_PER_MEL, _BEND_HZ * np.exp(_LOG_STEP * (mel - _BEND)))


# ---- arrays of any library


def nearest_magnitudes(function: str, M: Any, bank: Bank) -> Any:
    """`mel_to_magnitude` of what was read."""
    backend = required_backend(M)
    if backend.follows(M):
        return raised(_followed(function, M, bank), 1 / bank.power)

    def solved(M: Any) -> Any:
        return required_backend(M).on_host(M, lambda values: raised(_solved(function, values, bank).v, 1 / bank.power))

    return backend.by_signal(solved, M, 2, (bank.n_bins, M.shape[-1]), dtype_name(M))


def _followed(function: str, M: Any, bank: Bank) -> Any:
    """The v with its derivatives: those of weight c, where c = max(A^T l, 0), and of l through the linear system.

    A D A^T dl = dM - A (c dweight),   D = diag(weight) of the bins above 0
    """

    def constants(values: np.ndarray) -> np.ndarray:
        found = _solved(function, values, bank)
        return np.concatenate([found.v, found.weight, found.hard, values], axis=-2, dtype=values.dtype)

    xp, backend, kind, n_bins = namespace(M), required_backend(M), dtype_name(M), bank.n_bins
    found = backend.found(function, M, constants, 2 * n_bins + 1 + bank.n_mels)
    v, weight, hard, here = (
        found[..., lo:hi, :] for lo, hi in pairwise((0, n_bins, 2 * n_bins, 2 * n_bins + 1, found.shape[-2]))
    )
    known = weight > 0
    c = xp.where(known, v / xp.where(known, weight, xp.ones_like(weight)), xp.zeros_like(v))
    change = c * (_weight(M, hard, bank) - _weight(here, hard, bank))
    unit, size = bank.unit
    active = xp.where(v > 0, weight, xp.zeros_like(weight))
    peak = xp.max(here / backend.along(size, M, -2), axis=-2, keepdims=True)
    ridge = hard * backend.along(bank.dual.ridge, M, -2) * max(_RIDGES[-1], float(np.finfo(kind).eps))
    diagonal = matmul(unit**2, active) + peak * (ridge + float(np.finfo(kind).tiny) ** 0.5)
    diagonal = xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal))
    beside = matmul(np.append(unit[1:] * unit[:-1], 0 * unit[:1], axis=0), active)
    right = (M - here) / backend.along(size, M, -2) - matmul(unit, change)
    return v + change + active * matmul(unit.T, _tridiagonal(diagonal, beside, right))


def _weight(M: Any, hard: Any, bank: Bank) -> Any:
    """The weights of bins in the norm that is least."""
    xp = namespace(M)
    low, high = (matmul(each, M) for each in bank.levels)
    return xp.where(hard > 0, (low + high) / 2, raised(low, 0.5) * raised(high, 0.5))


def _tridiagonal(diagonal: Any, beside: Any, right: Any) -> Any:
    """The solution of symmetric tridiagonal systems along the last axis but one, by parallel cyclic reduction.

    `beside` has the elements right of (and below) each of the diagonal, the last 0.
    """
    xp, n = namespace(right), right.shape[-2]

    def shifted(array: Any, step: int, fill: Any) -> Any:
        """Element i + step at i, and `fill` from beyond the ends."""
        beyond = fill * xp.ones_like(array[..., : abs(step), :])
        if step > 0:
            return xp.concat([array[..., step:, :], beyond], axis=-2)
        return xp.concat([beyond, array[..., :step, :]], axis=-2)

    above, below, step = shifted(beside, -1, 0), beside, 1
    while step < n:
        up, down = -above / shifted(diagonal, -step, 1), -below / shifted(diagonal, step, 1)
        diagonal = diagonal + up * shifted(below, -step, 0) + down * shifted(above, step, 0)
        right = right + up * shifted(right, -step, 0) + down * shifted(right, step, 0)
        above, below = up * shifted(above, -step, 0), down * shifted(below, step, 0)
        step *= 2
    return right / diagonal


def matmul(matrix: np.ndarray, array: Any) -> Any:
    """The product matrix @ array, in the array's library and dtype."""
    xp = namespace(array)
    matrix = xp.asarray(matrix.astype(dtype_name(array)), device=device(array))
    return xp.matmul(matrix, array)


def raised(array: Any, exponent: float) -> Any:
    """The power of what is not negative; at 0 the derivative is 0."""
    if exponent == 1:
        return array
    if exponent == 2:
        return array * array
    xp = namespace(array)
    sure = xp.where(array > 0, array, xp.ones_like(array))
    return xp.where(array > 0, xp.sqrt(sure) if exponent == 0.5 else sure**exponent, xp.zeros_like(array))


# ---- non-negative least squares, on the host


class _Solution(NamedTuple):
    """v and the weights of its norm (..., n_bins, n_frames), and which frames are hard (..., 1, n_frames)."""

    v: np.ndarray
    weight: np.ndarray
    hard: np.ndarray


def _solved(function: str, M: np.ndarray, bank: Bank) -> _Solution:
    """Of M (..., n_mels, n_frames), in the precision of M."""
    if not (np.isfinite(M).all() and M.min(initial=0) >= 0):
        raise error(ValueError, function, "M", "finite magnitudes >= 0", "others")
    *batch, n_mels, n_frames = M.shape
    made = _Solution(*(np.empty((math.prod(batch), rows, n_frames), M.dtype) for rows in (bank.n_bins, bank.n_bins, 1)))
    for i, bands in enumerate(M.reshape(-1, n_mels, n_frames)):
        for lo in range(0, n_frames, _BLOCK):
            here = slice(lo, lo + _BLOCK)
            for whole, part in zip(made, bank.dual.solved(bands[:, here]), strict=True):
                whole[i, :, here] = part
    return _Solution(*(each.reshape(*batch, *each.shape[1:]) for each in made))


class _Dual:
    """Newton's method for l, of many frames at once, each until it has converged.

    Within a segment the sign of A^T l changes once at the most, so that what is above 0 there is a run of bins: sums
    over runs are differences of running sums, and no step looks at the bins themselves. Rows of A are scaled to norm 1.
    """

    def __init__(self, bank: Bank) -> None:
        unit, self.size = bank.unit
        self.segment, self.starts = bank.segment, bank.starts
        self.rise, self.fall = bank.parts(unit)
        products = (self.rise**2, self.rise * self.fall, self.fall**2)
        self.running = [np.concatenate([[0], np.cumsum(each)]) for each in products]
        self.whole = [np.diff(each[self.starts]) for each in self.running]
        total, beyond = self.rise + self.fall, self.segment == len(unit)
        share = np.divide(self.rise, total, out=beyond.astype(np.float64), where=total > 0)
        self.places = self.segment + share  # increasing; the sign of A^T l depends on the share alone
        reach = unit @ unit.sum(axis=0)  # M of magnitudes of 1
        self.reach = np.where(reach > 0, reach, 1)
        self.ridge = (self.size.max() / self.size) ** 2

    def solved(self, M: np.ndarray) -> _Solution:
        """Of M (n_mels, frames)."""
        rounding = _ROUNDING[M.dtype.name]
        M = (M / self.size[:, None]).T
        peak = M.max(axis=1, keepdims=True, initial=0)
        M = M / np.where(peak > 0, peak, 1)
        level = np.pad(M / self.reach, ((0, 0), (1, 1)), mode="edge")
        low, high = level[:, :-1], level[:, 1:]
        weight = np.sqrt(low * high)
        hard = np.zeros(M.shape[0])
        multiplier, off = self._newton(_Frames(M, weight, np.zeros_like(M)), np.ones_like(M), rounding, _FEW)
        if off.size:
            weight[off], hard[off] = (low[off] + high[off]) / 2, 1
            found = np.ones((off.size, M.shape[1]))
            for ridge in _RIDGES:  # each from the solution before
                ridges = np.broadcast_to(ridge * self.ridge, found.shape)
                found = self._newton(_Frames(M[off], weight[off], ridges), found, rounding, _STEPS)[0]
            multiplier[off] = found
        beside, weight = _between_zeros(multiplier).T, (weight * peak).T[self.segment]
        v = beside[self.segment + 1] * self.rise[:, None]
        v += beside[self.segment] * self.fall[:, None]
        v *= weight
        return _Solution(np.maximum(v, 0, out=v), weight, hard)

    def _newton(self, frames: _Frames, start: np.ndarray, rounding: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """l, from `start` on, and which frames have not converged.

        A step that leads up is tried again with more of the curvature that bins which are 0 would add: with twice all
        of it no step leads up.
        """
        multiplier, left = start.copy(), np.arange(len(start))
        here, more = self._at(multiplier, frames), np.zeros((len(multiplier), 1))
        for step in range(steps + 1):
            size = np.abs(multiplier[left])
            limit = rounding * (frames.M + frames.ridge * size)
            limit += _HARD_ROUNDING * (frames.ridge > 0) * size.max(axis=1, keepdims=True)
            going = (np.abs(here[1]) > np.maximum(limit, _TINY)).any(axis=1)
            if not going.all():
                left, more = left[going], more[going]
                frames, here = frames.of(going), [each[going] for each in here]
            if step == steps or not left.size:
                break
            value, gradient, diagonal, beside = here
            most = frames.weight[:, :-1] * self.whole[0][:-1] + frames.weight[:, 1:] * self.whole[2][1:]
            curvature = diagonal + more * (most - diagonal) + frames.ridge + _DAMPING * frames.M + _TINY
            move = lapack.dptsv(curvature.ravel(), beside.ravel()[:-1], -gradient.ravel())[2]
            tried = multiplier[left] + move.reshape(gradient.shape)
            there = self._at(tried, frames)
            better = there[0] <= value + 1e-14 * np.abs(value)
            multiplier[left[better]] = tried[better]
            if better.all():
                here, more = there, more / 3
                continue
            for old, new in zip(here, there, strict=True):
                old[better] = new[better]
            more = np.where(better[:, None], more / 3, np.maximum(10 * more, 1e-3))
        return multiplier, left

    def _at(self, multiplier: np.ndarray, frames: _Frames) -> list[np.ndarray]:
        """Value and gradient, and of the second derivatives the diagonal and what is beside it, without the ridge."""
        n_segments = len(self.starts) - 1
        padded = _between_zeros(multiplier)
        down, up, sign = padded[:, :-1], padded[:, 1:], padded >= 0
        whole = frames.weight * (sign[:, :-1] & sign[:, 1:])
        rr, rf, ff = (whole * each for each in self.whole)
        mixed = np.flatnonzero(sign[:, :-1] ^ sign[:, 1:])
        row, segment = np.divmod(mixed, n_segments)
        low, high = padded.ravel()[mixed + row], padded.ravel()[mixed + row + 1]
        begin, end = self.starts[segment], self.starts[segment + 1]
        change = np.clip(np.searchsorted(self.places, segment + low / (low - high), "right"), begin, end)
        first, last = np.where(low >= 0, begin, change), np.where(low >= 0, change, end)
        weight = frames.weight.ravel()[mixed]
        for each, running in zip((rr, rf, ff), self.running, strict=True):
            each.ravel()[mixed] = weight * (running[last] - running[first])
        rising, falling = up * rr + down * rf, up * rf + down * ff  # sums of v rise, v fall
        value = (np.einsum("ij,ij->i", up, rising) + np.einsum("ij,ij->i", down, falling)) / 2
        drawn = frames.ridge * multiplier
        value += np.einsum("ij,ij->i", drawn / 2 - frames.M, multiplier)
        beside = rf[:, 1:].copy()
        beside[:, -1] = 0  # of one frame and the next
        return [value, rising[:, :-1] + falling[:, 1:] - frames.M + drawn, rr[:, :-1] + ff[:, 1:], beside]


class _Frames(NamedTuple):
    """Bands, weights of segments and ridges of frames, one a row."""

    M: np.ndarray
    weight: np.ndarray
    ridge: np.ndarray

    def of(self, rows: np.ndarray) -> _Frames:
        return _Frames(*(each[rows] for each in self))


def _between_zeros(array: np.ndarray) -> np.ndarray:
    """Rows with a 0 before and after each."""
    padded = np.zeros((array.shape[0], array.shape[1] + 2))
    padded[:, 1:-1] = array
    return padded
