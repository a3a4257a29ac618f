"""Spectra that last longer or shorter at the same pitch: the phase vocoder, on the host.

Frame m of the result stands between the frames of X, at position m + (rate - 1) (m + c / h), where c is the sample of
the signal in the middle of frame 0, h the hop: sample t becomes sample t / rate, wherever the frames lie. Its
magnitudes are interpolated, and its phases are those of the nearest frame of X, turned: by whole regions ("locked"), or
by what two rises of the phase, of a frame and of a bin, come to along a path ("gradient").

    time       phi[k, m] - phi[k, m - 1]: what X's phases rise by in a hop, interpolated
    frequency  phi[k + 1, m] - phi[k, m]: that of X about the middle of the window, over rate

At rate 1 both are the rises of X itself, and nothing turns. Phases are whole numbers of 2**-64 turns, whose low 12 bits
are 0: int64 has their differences between -1/2 and 1/2 turn, float64 holds them, and sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..arguments import choice, error, positive, public
from ..arrays import LAST_TWO, placed, spectra
from ..backends import required_backend
from ..backends.cpu.memory import empty
from ..backends.cpu.tasks import threads_for
from ..backends.cpu.threads import Share, run
from ..dtypes import dtype_name
from ..frames import MOST
from ..transform import STFT, read_transform
from ..windows import NOLAError
from .integration import TURN_BITS, along_the_forest, equivalent_gaussian, row_spans

PHASES = ("gradient", "locked")
_SECONDS = 1e-7  # of a bin of the result
_SILENT = 2.0**-100  # of the magnitude that a bin gets, whose own phase then counts as 0: no factor overflows
_REACH = 2  # a peak is louder than so many bins on each side


@public
def phase_vocoder(
    X: Any,
    rate: float,
    transform: STFT | None = None,
    *,
    phases: str = "gradient",
    axes: tuple[int, int] = LAST_TWO,
) -> Any:
    """Spectrum of the same sound `rate` times as fast, at the same pitch.

    ``transform.istft(phase_vocoder(X, rate, transform), length=round(n_samples / rate))`` is the signal, whose sample
    t / rate is what sample t was, for every placement of the frames. Magnitudes are interpolated between frames;
    before the middle of the first and after that of the last they stay as there. Phases rise from frame to frame by
    what they rise in X there, and are bound to those of the bins beside them in one of two ways:

    - "gradient": phases are integrated from the loudest bins to the others along both slopes of the phase, of which
      that over frequency is divided by `rate`, so that onsets stay sharp (Prusa & Holighaus, "Phase vocoder done
      right", EUSIPCO 2017). The path is a maximum spanning forest, as in `pghi`.
    - "locked": bins about a peak turn with it (identity phase locking: Laroche & Dolson, IEEE TSAP 7(3), 1999). A
      peak is louder than two bins on each side; a bin belongs to the nearest peak.

    Computed on the host, whatever the device of X, on the threads that `set_workers` allows: the same bits for any
    number. Gradients are not followed. Phases count from the first sample of each frame, as those of `stft` do; of
    other conventions they are turned by `phase_ramp` first.

    Parameters
    ----------
    X : complex array (..., n_bins, n_frames)
        Spectrum, finite, of at least 2 frames, of any library and device.
    rate : float
        Above 0: 2 is twice as fast, 0.5 half as fast. At 1 the result is X, exactly.
    transform : STFT, optional
        That whose spectrum X is, one-sided or two-sided; default STFT(2 * (n_bins - 1)). "locked" takes any
        frequencies that follow each other, "gradient" the bins of the DFT.
    phases : "gradient" or "locked"
        How the phases of neighbouring bins are held together.
    axes : (int, int)
        The axes of X that hold bins and frames.

    Returns
    -------
    complex array (..., n_bins, n_frames / rate)
        Same library, device and precision as X, with as many frames as the longest signal of X's frames has when it
        lasts 1 / rate of its time: ceil(n_frames / rate) for center=True and even n_fft.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; or the values of X are not there (under jax.jit).
    NOLAError
        (A ValueError.) The window is 0.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> t = xi.STFT(512)
    >>> x = np.sin(0.2 * np.arange(8000))
    >>> Y = xi.phase_vocoder(t.stft(x), 0.5, t)
    >>> y = t.istft(Y, length=16000)
    >>> bool(abs(abs(np.fft.rfft(y)).argmax() * 2 * np.pi / 16000 - 0.2) < 1e-3)
    True
    """
    function = "phase_vocoder"
    X = spectra(function, X, axes)
    transform = read_transform(function, "X", X, transform)
    if X.shape[-1] < 2:
        raise error(
            ValueError, function, "X", "at least 2 frames, which tell the frequencies", f"shape {tuple(X.shape)}"
        )
    rate = positive(function, "rate", rate)
    phases = choice(function, "phases", phases, PHASES)
    if phases == "gradient" and transform.bins is not None:
        hint = 'or phases="locked"'
        raise error(ValueError, function, "transform", "the bins of the DFT", "other frequencies", hint)
    course = Course.of(function, transform, X.shape[-1], rate)
    window = transform.samples()
    if not window.any():
        raise error(NOLAError, function, "window", "a non-zero sample", "all zeros")
    middle = equivalent_gaussian(window)[0] / window.size
    turned = partial(_by_gradient, middle=middle) if phases == "gradient" else _by_peaks
    stretched = partial(_stretched, function, course, turned, transform.onesided)

    def made(X: Any) -> Any:
        try:
            return required_backend(X).on_host(X, stretched)
        except (TypeError, RuntimeError) as cause:
            hint = f"call it outside of a transformation (jit, grad, vmap) ({type(cause).__name__})"
            raise error(ValueError, function, "X", "values, not a trace", type(X).__name__, hint) from cause

    shape = (X.shape[-2], course.count)
    return placed(required_backend(X).by_signal(made, X, 2, shape, dtype_name(X)), axes)


@dataclass(frozen=True)
class Course:
    """Where the frames of the result stand among those of X."""

    n_frames: int  # of X
    count: int  # of the result
    rate: float
    middle: float  # of frame 0, in hops from the first sample of the signal

    @classmethod
    def of(cls, function: str, transform: STFT, n_frames: int, rate: float) -> Course:
        placement, hop = transform.placement, transform.hop_length
        own = placement.whole  # whether the last part of a hop has a frame of its own
        ends = (placement.n_fft - placement.left - placement.right) / hop
        count = (n_frames - own) / rate + ends * (1 / rate - 1) + own  # as `Placement.n_frames` counts
        if not count <= MOST[1]:
            raise error(ValueError, function, "rate", f"one that makes at most {MOST[0]} frames", rate)
        middle = (placement.n_fft // 2 - placement.left) / hop
        return cls(n_frames, max(1, math.ceil(count)), rate, middle)

    def _positions(self, m: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # beyond all frames
            return m + (self.rate - 1) * (m + self.middle)  # m itself at rate 1

    def between(self, lo: int, hi: int) -> tuple[np.ndarray, np.ndarray]:
        """The frames of X before frames [lo, hi) of the result, and how far those are on the way to the next."""
        return _parted(self._positions(np.arange(lo, hi)), self.n_frames)

    def nearest(self, lo: int, hi: int) -> np.ndarray:
        """The frames of X nearest to frames [lo, hi) of the result."""
        frame, way = self.between(lo, hi)
        return frame + (way >= 0.5)

    def rises(self, lo: int, hi: int) -> tuple[np.ndarray, np.ndarray]:
        """The same of the rises of X, of which the first leads from frame 0 to 1, and the rises to frames (lo, hi)."""
        return _parted(self._positions(np.arange(lo + 1, hi) - 0.5) - 0.5, self.n_frames - 1)

    def span(self, lo: int, hi: int) -> tuple[int, int]:
        """The frames [first, last) of X that frames [lo, hi) of the result and the rises between them are made of."""
        frame, _ = self.between(lo, hi)
        return max(0, int(frame[0]) - 1), min(self.n_frames, int(frame[-1]) + 3)


def _parted(position: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Index and fraction of positions among `count` things, of which the last has no next: beyond an end, the end."""
    position = np.clip(position, 0, count - 1)
    index = np.minimum(position.astype(np.int64), max(0, count - 2))
    return index, position - index


@dataclass(frozen=True)
class _Sound:
    """One item, frame after frame, and bins that are neighbours beside each other."""

    spectrum: np.ndarray  # (n_frames, n_bins)
    magnitude: np.ndarray
    course: Course

    def magnitudes(self, lo: int, hi: int) -> np.ndarray:
        """Those of frames [lo, hi) of the result."""
        frame, way = self.course.between(lo, hi)
        way = way.astype(self.magnitude.dtype)[:, None]
        return (1 - way) * self.magnitude[frame] + way * self.magnitude[frame + 1]

    def phases(self, lo: int, hi: int) -> np.ndarray:
        """Those of the span of frames [lo, hi) of the result, whole numbers."""
        first, last = self.course.span(lo, hi)
        part = self.spectrum[first:last]
        return _whole(np.arctan2(part.imag, part.real) * (0.5 / np.pi))

    def turns_in_time(self, lo: int, hi: int, phase: np.ndarray) -> np.ndarray:
        """What a frame turns more than the one before it, of frames (lo, hi)."""
        first, _ = self.course.span(lo, hi)
        rise, way = self.course.rises(lo, hi)
        nearest = phase[self.course.nearest(lo, hi) - first]
        return _interpolated(phase[1:] - phase[:-1], rise - first, way) - (nearest[1:] - nearest[:-1])

    def turns_in_frequency(self, lo: int, hi: int, phase: np.ndarray, middle: float) -> np.ndarray:
        """What a bin turns more than the one below it, of frames [lo, hi)."""
        first, _ = self.course.span(lo, hi)
        delay = phase[:, 1:] - phase[:, :-1] + _whole(np.array([middle]))
        frame, way = self.course.between(lo, hi)
        slowed = _whole(_interpolated(delay, frame - first, way) * (2.0**-64 / self.course.rate))
        return slowed - delay[self.course.nearest(lo, hi) - first]


_Write = Callable[[int, int, np.ndarray], None]


def _by_gradient(sound: _Sound, write: _Write, threads: int, middle: float) -> None:
    """write(lo, hi, turns) of all frames; middle: of the window, in n_fft."""
    n_bins, count = sound.spectrum.shape[1], sound.course.count

    def grid(lo: int, hi: int) -> tuple[np.ndarray, np.ndarray]:
        a, b = max(0, lo - 1), min(count, hi + 1)
        rows = slice(a - lo + 1, b - lo + 1)
        phase = sound.phases(a, b)
        loudness = np.full((hi - lo + 2, n_bins + 1), -np.inf)
        with np.errstate(divide="ignore"):
            np.log(sound.magnitudes(a, b), out=loudness[rows, :-1])
        halves = np.zeros((2, *loudness.shape), np.int64)
        halves[0, rows, 1:-1] = _halves(sound.turns_in_frequency(a, b, phase, middle), 1)
        halves[1, rows, :-1][1:] = _halves(sound.turns_in_time(a, b, phase), 0)
        return loudness, halves

    along_the_forest(count, n_bins, grid, write, threads)


def _halves(rise: np.ndarray, axis: int) -> np.ndarray:
    """Numbers of which each two neighbours come to the rise between them; the one before the first is 0."""
    sign = np.ones(rise.shape[axis], np.int64)
    sign[1::2] = -1
    sign = np.expand_dims(sign, 1 - axis)
    return sign * np.cumsum(sign * rise, axis=axis)


def _by_peaks(sound: _Sound, write: _Write, threads: int) -> None:
    """write(lo, hi, turns) of all frames: every bin turns as its peak does, from where that bin was a frame before.

    On one thread of an item, whatever `threads`: each frame waits for the one before.
    """
    n_bins, count = sound.spectrum.shape[1], sound.course.count
    turn = np.zeros(n_bins, np.int64)
    for lo, hi in row_spans(count, n_bins):
        a = max(0, lo - 1)
        first, last = sound.course.span(a, hi)
        peak = _nearest_peaks(sound.magnitude[first:last])[sound.course.nearest(a, hi) - first]
        rises = sound.turns_in_time(a, hi, sound.phases(a, hi))
        turns = np.empty((hi - lo, n_bins), np.int64)
        for m in range(lo, hi):
            if m:
                turn = (turn + rises[m - a - 1]).take(peak[m - a])
            turns[m - lo] = turn
        write(lo, hi, turns)


def _nearest_peaks(magnitude: np.ndarray) -> np.ndarray:
    """Of each bin of (n_frames, n_bins) the nearest peak, of two the lower. Every frame has one: its first maximum."""
    n_bins = magnitude.shape[1]
    around = np.pad(magnitude, ((0, 0), (_REACH, _REACH)), constant_values=-1)
    peak = np.ones(magnitude.shape, bool)
    for step in range(1, _REACH + 1):
        peak &= magnitude > around[:, _REACH - step : _REACH - step + n_bins]
        peak &= magnitude >= around[:, _REACH + step : _REACH + step + n_bins]
    row, column = peak.nonzero()
    start = row * n_bins  # of its region
    start[1:] += np.where(row[1:] == row[:-1], (column[1:] + column[:-1]) // 2 + 1, 0)
    return np.repeat(column, np.diff(start, append=peak.size)).reshape(peak.shape)


def _whole(turns: np.ndarray) -> np.ndarray:
    """Turns, an array that is used up, as whole numbers."""
    turns -= np.rint(turns)
    turns *= 1 << TURN_BITS
    whole = np.rint(turns, out=turns).astype(np.int64)
    whole <<= 64 - TURN_BITS
    return whole


def _interpolated(whole: np.ndarray, index: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Between rows of whole numbers, the shorter way round."""
    here = whole[index]
    way = whole[np.minimum(index + 1, len(whole) - 1)] - here
    here += _whole(way * (2.0**-64 * fraction[:, None]))
    return here


def _stretched(function: str, course: Course, turned: Callable[..., None], onesided: bool, X: np.ndarray) -> np.ndarray:
    """`phase_vocoder` of values (..., n_bins, n_frames)."""
    n_bins = X.shape[-2]
    result = empty(function, (*X.shape[:-2], n_bins, course.count), X.dtype.newbyteorder("="), columns=True)
    order = slice(None) if onesided else np.fft.fftshift(np.arange(n_bins))  # neighbours beside each other
    sounds = {}
    for item in np.ndindex(X.shape[:-2]):
        spectrum = np.ascontiguousarray(X[item].T[:, order], result.dtype)
        with np.errstate(over="ignore"):
            magnitude = np.abs(spectrum)
        if not np.isfinite(magnitude).all():
            raise error(ValueError, function, "X", f"finite magnitudes in {X.dtype}", magnitude.max())
        sounds[item] = _Sound(spectrum, magnitude, course)
    threads = threads_for(result.size * _SECONDS, None)
    at_once, within = (threads, 1) if len(sounds) >= threads else (1, threads)

    def work(item: tuple[int, ...], share: Share) -> None:
        spectrum = result[item].T

        def write(lo: int, hi: int, turns: np.ndarray) -> None:
            spectrum[lo:hi, order] = _turned(sounds[item], lo, hi, turns)

        turned(sounds[item], write, within)

    run(work, list(sounds), at_once, nullcontext)
    return result


def _turned(sound: _Sound, lo: int, hi: int, turns: np.ndarray) -> np.ndarray:
    """Frames [lo, hi) of the result."""
    nearest = sound.course.nearest(lo, hi)
    size, found = sound.magnitudes(lo, hi), sound.magnitude[nearest]
    angle = (turns * (2 * np.pi * 2.0**-64)).astype(size.dtype)
    factor = np.empty(size.shape, sound.spectrum.dtype)
    np.cos(angle, out=factor.real)
    np.sin(angle, out=factor.imag)
    silent = found <= _SILENT * size
    if not silent.any():
        factor *= size / found
        return sound.spectrum[nearest] * factor
    unit = sound.spectrum[nearest] * np.divide(size, found, out=np.zeros_like(size), where=~silent)
    return np.where(silent, size, unit) * factor
