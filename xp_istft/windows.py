"""Windows: samples, duals, and what overlap-added windows leave of each sample.

With analysis window w, synthesis window v and hop h, sample t of the padded axis is covered with the *overlap*
e[t] = sum_m v[t - m h] w[t - m h], and the inverse multiplies it by the *gain* 1 / e[t] (Griffin & Lim, "Signal
estimation from modified short-time Fourier transform", IEEE ASSP 32(2), 1984, for v = w). All of it follows from
window, hop and number of frames alone, so it is worked out once, on the host in float64, and cast. Windows that
automatic differentiation follows go through the same functions in arrays of their own library.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from .arguments import SYMBOLS, error, integer, number, public, shown, too_large
from .frames import MOST, Frames

WindowKey = str | tuple | bytes  # a window that can be hashed; bytes are float64 samples


class NOLAError(ValueError):
    """The windows leave a hole inside the samples asked for: nonzero overlap-add (NOLA) does not hold."""


class CoverageWarning(UserWarning):
    """Samples at the ends of what was asked for lie under no window weight; they are returned as zeros."""


def window_key(function: str, name: str, window: Any, win_length: int) -> WindowKey:
    """A hashable stand-in for `window`: a name, a tuple, a callable of win_length, or win_length real samples."""
    if isinstance(window, str):
        return str.__str__(window)
    if isinstance(window, tuple):
        plain = tuple(map(_plain, window))
        if not plain or None in plain or not isinstance(plain[0], str):  # ("general_cosine", [...])
            return _named(function, name, window, win_length).tobytes()
        return plain
    if callable(window):
        try:
            window = window(win_length)
        except Exception as cause:
            need, got = f"a callable that makes {win_length} samples", f"{type(cause).__name__}: {cause}"
            raise error(TypeError, function, name, need, got) from cause
    elif window is None:
        raise error(TypeError, function, name, "a name or an array ('boxcar' for none)", None)
    samples = real_values(function, name, window, "a name or real samples")
    if samples.ndim != 1:
        raise error(ValueError, function, name, "1 dimension", f"shape {samples.shape}")
    if samples.size != win_length:
        raise error(ValueError, function, name, f"length {win_length}", samples.size)
    samples = samples.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(samples))
    if bad.size:
        raise error(ValueError, function, name, "finite values", f"{samples[bad[0]]} at index {bad[0]}")
    return samples.tobytes()


def _plain(value: Any) -> Any:
    """A parameter of a window as a plain value that is equal to it, whatever it came as; None where it is no scalar."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bool, np.bool_, np.timedelta64)):
        return None
    if isinstance(value, (int, np.integer)):
        return operator.index(value)
    return float(value) if isinstance(value, (float, np.floating)) else None


def real_values(function: str, name: str, values: Any, need: str) -> np.ndarray:
    """Real numbers of a list, or of an array of any library, as a NumPy array; TypeError where they are anything else.

    Of a device array this is a copy to the host.
    """
    from .backends import backend_for  # which stand above the windows

    if isinstance(values, (np.ma.MaskedArray, bytes, bytearray)):
        hint = "fill it first" if isinstance(values, np.ma.MaskedArray) else ""
        raise error(TypeError, function, name, need, type(values).__name__, hint)
    backend = backend_for(values)
    try:
        found = np.asarray(values) if backend is None else backend.to_host(values)
    except Exception as cause:
        raise error(TypeError, function, name, need, type(values).__name__, str(cause)) from cause
    if found.dtype.kind not in "fiu":
        raise error(TypeError, function, name, "a real dtype" if found.dtype.kind in "bc" else need, found.dtype)
    return found


@lru_cache(maxsize=64)
def window_samples(function: str, name: str, key: WindowKey, win_length: int, n_fft: int) -> np.ndarray:
    """The window in float64, centred in n_fft samples ((n_fft - win_length) // 2 zeros before it); read-only."""
    try:
        padded = np.zeros(n_fft)  # before scipy makes a window, whose errors would name it
        samples = np.frombuffer(key) if isinstance(key, bytes) else _named(function, name, key, win_length)
    except (MemoryError, ValueError) as cause:
        if too_large(function, cause) is None:
            raise
        raise error(MemoryError, function, "n_fft", f"{8 * n_fft} bytes for a window", cause) from cause
    left = (n_fft - win_length) // 2
    padded[left : left + win_length] = samples
    check_scale(function, name, float(np.abs(padded).max()), n_fft, "float64")
    padded.flags.writeable = False
    return padded


def _named(function: str, name: str, window: str | tuple, win_length: int) -> np.ndarray:
    """SciPy's windows, the square root of each as "sqrt_...", and those of audio coding."""
    from scipy.signal import windows  # slow to import, and needed for names only

    first, *parameters = (window,) if isinstance(window, str) else window or ("",)
    if isinstance(first, str) and first.startswith("sqrt_"):
        inner = _named(function, name, (first[5:], *parameters) if parameters else first[5:], win_length)
        if (inner < 0).any():
            raise error(ValueError, function, name, "a window that is nowhere negative below the root", shown(window))
        return np.sqrt(inner)
    try:
        samples = np.asarray(_CODERS.get(first, _of_scipy)(window, win_length), np.float64)
    except MemoryError:
        raise
    except Exception as cause:  # of any kind: scipy hands on what its arithmetic raises
        asked = first if isinstance(first, str) else ""
        near = difflib.get_close_matches(asked, [*windows.__all__, *_CODERS], 1)
        if asked in windows.__all__ or asked in _CODERS:
            need = "a window that scipy can make"
            raise error(ValueError, function, name, need, shown(window), str(cause)) from cause
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise error(ValueError, function, name, f"a known name{hint}", shown(window)) from cause
    if not np.isfinite(samples).all():
        raise error(ValueError, function, name, "finite values", shown(window))
    return samples


def _of_scipy(window: str | tuple, n: int) -> np.ndarray:
    from scipy.signal import get_window

    return get_window(window, n, fftbins=True)


def _vorbis(window: str | tuple, n: int) -> np.ndarray:
    """sin(pi/2 sin^2(pi (k + 1/2) / n)) (Vorbis I specification, 4.3.1)."""
    if not isinstance(window, str) and len(window) > 1:
        raise ValueError("it has no parameters")
    return np.sin(np.pi / 2 * np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2)


def _kaiser_bessel_derived(window: str | tuple, n: int) -> np.ndarray:
    """Of beta, by default that of AAC's long blocks, 4 pi; n is even."""
    from scipy.signal import windows

    beta = (4 * np.pi,) if isinstance(window, str) else window[1:]
    return windows.kaiser_bessel_derived(n, *beta)


# Windows of audio coding: with a hop of half their length their squares add up to 1. They are symmetric.
_CODERS: dict[Any, Callable[[Any, int], np.ndarray]] = {
    "vorbis": _vorbis,
    "kbd": _kaiser_bessel_derived,
    "kaiser_bessel_derived": _kaiser_bessel_derived,
}


def check_scale(function: str, name: str, peak: float, n_fft: int, precision: str) -> None:
    """ValueError unless `precision` holds a window of this peak and its inverse, divided by n_fft, with all digits.

    XLA makes numbers below `tiny` zeros: with a peak of twice n_fft * tiny a signal came back with errors of 2e-3.
    """
    info = np.finfo(precision)
    least = n_fft * float(info.tiny) / float(info.eps)
    if peak and not least <= peak <= 1 / least:
        need = f"a peak from {least:.0e} to {1 / least:.0e}, for {precision} and n_fft={n_fft}"
        raise error(ValueError, function, name, need, f"{peak:g}")


@dataclass(frozen=True, eq=False)
class HopPeriodic:
    """One value for each sample of a padded axis: periodic in the hop, but for its two ends.

    Samples [0, head.size) are `head`, samples [tail_start, tail_start + tail.size) are `tail`, sample t between them
    is `period[t % hop]`, and all others are 0. An hour of audio takes no more memory than a second.
    """

    head: Any
    period: Any
    tail: Any
    tail_start: int

    def samples(self, lo: int, hi: int) -> Any:
        """The values of samples [lo, hi), which may reach beyond the padded axis on either side."""
        xp = array_api_compat.array_namespace(self.period)
        hop, body, tail = self.period.shape[0], self.head.shape[0], self.tail_start
        end = tail + self.tail.shape[0]

        def zeros(count: int) -> Any:
            device = array_api_compat.device(self.period)
            return xp.zeros((max(0, count),), dtype=self.period.dtype, device=device)

        if {type(hi), type(self.tail_start)} & SYMBOLS:  # of values that are all in the head
            return xp.concat([zeros(-lo), self.head[max(lo, 0) :], zeros(hi)])[: hi - lo]
        parts = [zeros(min(hi, 0) - lo)]
        if max(lo, 0) < min(hi, body):
            parts.append(self.head[max(lo, 0) : min(hi, body)])
        a, b = max(lo, body), min(hi, tail)
        if a < b:
            rows = -(-(b - a) // hop) + 1
            many = xp.reshape(xp.broadcast_to(self.period, (rows, hop)), (-1,))
            parts.append(many[a % hop : a % hop + b - a])
        if max(lo, tail) < min(hi, end):
            parts.append(self.tail[max(lo, tail) - tail : min(hi, end) - tail])
        parts.append(zeros(hi - max(lo, end, 0)))
        return xp.concat(parts)

    def map(self, function: Callable[..., Any], *others: HopPeriodic) -> HopPeriodic:
        """function(value, *values of others), sample by sample; all of the same frames."""
        head, period, tail = (
            function(*(getattr(each, part) for each in (self, *others))) for part in ("head", "period", "tail")
        )
        return HopPeriodic(head, period, tail, self.tail_start)

    @property
    def reached(self) -> Any:
        """The different values of the axis, each at least once: `period` only where some sample takes it."""
        inside = [self.period] if self.tail_start > self.head.shape[0] else []
        return array_api_compat.array_namespace(self.period).concat([self.head, *inside, self.tail])


def overlap(piece: Any, frames: Frames) -> HopPeriodic:
    """sum_m piece[t - m hop]: `piece` (n_fft,) overlap-added at every frame.

    Each value is a sum of its own terms (running sums from either end, no differences), so a weak end sample keeps
    its full relative accuracy. A value that a further frame would leave as it is has the same bits with and without
    that frame: a stream gives samples away before it knows how many frames come.
    """
    xp = array_api_compat.array_namespace(piece)
    rows, hop, n_frames = frames.overlap, frames.hop, frames.n_frames

    def zeros(*shape: int) -> Any:
        return xp.zeros(shape, dtype=piece.dtype, device=array_api_compat.device(piece))

    grid = xp.reshape(xp.concat([piece, zeros(rows * hop - frames.n_fft)]), (rows, hop))
    if type(n_frames) in SYMBOLS:  # value by value
        every = [
            xp.concat([zeros(row, hop), xp.broadcast_to(grid[row, :], (n_frames, hop)), zeros(rows - 1 - row, hop)])
            for row in range(rows)
        ]
        axis = _line(sum(every[1:], every[0]), xp)
        return HopPeriodic(axis, axis[:hop], zeros(0), axis.shape[0])
    if rows == 1 and n_frames >= 1:
        return HopPeriodic(zeros(0), grid[0, :], zeros(0), n_frames * hop)
    rising = xp.cumulative_sum(grid, axis=0)  # row j: what frames 0..j leave in hop j
    missed = xp.cumulative_sum(xp.astype(grid != 0, xp.int32), axis=0)[:-1, :] == 0  # row j: parts 0..j are zeros
    if n_frames >= rows:
        falling = xp.flip(xp.cumulative_sum(xp.flip(grid, axis=0), axis=0), axis=0)
        tail = xp.where(missed, rising[-1:, :], falling[1:, :])
        return HopPeriodic(_line(rising[:-1, :], xp), rising[-1, :], _line(tail, xp), n_frames * hop)
    few = zeros(n_frames + rows - 1, hop)
    for m in range(n_frames):
        few = few + xp.concat([zeros(m, hop), grid, zeros(n_frames - 1 - m, hop)])
    steady = xp.broadcast_to(rising[-1:, :], (max(0, n_frames - 1), hop))
    last = xp.where(missed, xp.concat([rising[n_frames:, :], steady])[: rows - 1, :], few[n_frames:, :])
    head = _line(xp.concat([rising[:n_frames, :], last]), xp)
    return HopPeriodic(head, rising[-1, :], zeros(0), head.shape[0])


def _line(grid: Any, xp: Any) -> Any:
    return xp.reshape(grid, (-1,))


@dataclass(frozen=True, eq=False)
class Normalisation:
    """What decides a gain whatever the number of frames: compilers leave that open, and work the gain out as they run.

    A sample is covered when its overlap exceeds eps**2 times the largest overlap that any number of frames makes:
    relative, so that the scale of a window changes nothing.

    piece    : (n_fft,), a frame's part of the overlap: the product of the windows, each with a peak of 1
    hop      : samples between the starts of frames
    eps      : rounding of the signal's precision
    power    : (n_fft,), a frame's part of the power of the noise; None without `max_gain`
    max_gain : bound on `noise_gain`, at the price of exactness where it takes hold, or None
    """

    piece: Any
    hop: int
    eps: Any
    power: Any = None
    max_gain: Any = None

    @classmethod
    def of(cls, analysis: Any, synthesis: Any, hop: int, eps: float, max_gain: float | None = None) -> Normalisation:
        """That of a pair of windows (n_fft,), each with a peak of 1."""
        return cls(analysis * synthesis, hop, eps, None if max_gain is None else synthesis**2, max_gain)

    def gain(self, frames: Frames) -> HopPeriodic:
        """The gain of every sample of `frames`: 1 / overlap; 0 where not covered."""
        steady = type(frames.n_frames) not in SYMBOLS and frames.n_frames >= frames.overlap
        if steady and frames.hop == self.hop:
            return replace(self._steady, tail_start=frames.n_frames * frames.hop)
        return self._gain(overlap(self.piece, frames), frames)

    def noise_gain(self, frames: Frames) -> HopPeriodic:
        """How much white noise of the spectrum comes out of each sample, as `noise_gain` says; `power` is needed."""
        envelope = overlap(self.piece, frames)
        noise = envelope.map(self._amplitude, overlap(self.power, frames))
        interior = self.interior
        return noise.map(lambda noise: noise / interior)

    @cached_property
    def floor(self) -> Any:
        """The overlap of a covered sample exceeds it."""
        return self.eps**2 * self._xp.max(self._xp.abs(self._overlap.reached), axis=0)

    @cached_property
    def interior(self) -> Any:
        """The amplitude of the noise of the noisiest sample of the steady state."""
        xp = self._xp
        noise = self._overlap.map(self._amplitude, overlap(self.power, self._enough))
        finite = xp.isfinite(noise.period)
        steady = xp.max(xp.where(finite, noise.period, xp.zeros_like(noise.period)))
        interior = xp.where(xp.any(finite), steady, xp.min(noise.reached))
        usual = (interior > 0) & xp.isfinite(interior)
        return xp.where(usual, interior, xp.ones_like(interior))

    def _amplitude(self, envelope: Any, power: Any) -> Any:
        """The amplitude of the noise of samples of this overlap; inf where they are not covered."""
        xp = self._xp
        covered = xp.abs(envelope) > self.floor
        one, zero = xp.ones_like(envelope), xp.zeros_like(envelope)
        root = xp.where(power > 0, xp.sqrt(xp.where(power > 0, power, one)), zero)  # with finite gradients
        return xp.where(covered, root / xp.abs(xp.where(covered, envelope, one)), zero + float("inf"))

    @cached_property
    def _xp(self) -> Any:
        return array_api_compat.array_namespace(self.piece)

    @property
    def _enough(self) -> Frames:
        """As many frames as make every overlap that any number of frames makes."""
        n_fft = self.piece.shape[0]
        return Frames(n_fft, self.hop, -(-n_fft // self.hop), 0, 0)

    @cached_property
    def _overlap(self) -> HopPeriodic:
        return overlap(self.piece, self._enough)

    @cached_property
    def _steady(self) -> HopPeriodic:
        """The gain of enough frames; more of them make the same but for `tail_start`."""
        return self._gain(self._overlap, self._enough)

    @cached_property
    def by_parts(self) -> Any:
        """(rows, rows, hop): the gain of a hop that parts i to j of a frame's `rows` hops reach, in row i, column j."""
        xp, rows = self._xp, self._enough.overlap
        part = np.arange(rows)
        later = part[:, None, None] <= part[None, :, None]  # part j of row i counts, in all columns from j on

        def sums(piece: Any) -> Any:
            spare = xp.zeros(
                (rows * self.hop - piece.shape[0],), dtype=piece.dtype, device=array_api_compat.device(piece)
            )
            grid = xp.reshape(xp.concat([piece, spare]), (1, rows, self.hop))
            counted = xp.asarray(later, device=array_api_compat.device(piece))
            return xp.cumulative_sum(xp.where(counted, grid, xp.zeros_like(grid)), axis=1)

        return self._bounded(sums(self.piece), None if self.power is None else sums(self.power))

    def _gain(self, envelope: HopPeriodic, frames: Frames) -> HopPeriodic:
        if self.power is None:
            return envelope.map(self._bounded)
        return envelope.map(self._bounded, overlap(self.power, frames))

    def _bounded(self, envelope: Any, power: Any = None) -> Any:
        """The gain of samples of this overlap and power of the noise."""
        xp = self._xp
        covered = xp.abs(envelope) > self.floor
        one = xp.ones_like(envelope)
        gain = xp.where(covered, 1 / xp.where(covered, envelope, one), xp.zeros_like(envelope))
        if power is None:
            return gain
        noise = self._amplitude(envelope, power)
        loud = xp.where(xp.isfinite(noise) & (noise > 0), noise, self.interior + xp.zeros_like(noise))
        ratio = self.max_gain * self.interior / loud
        return gain * xp.where(ratio < 1, ratio, xp.ones_like(ratio))


def normalisation(
    analysis: Any, synthesis: Any, frames: Frames, eps: float, max_gain: float | None = None
) -> HopPeriodic:
    """The gain of a pair of windows (n_fft,), each with a peak of 1, over `frames`: see `Normalisation`."""
    return Normalisation.of(analysis, synthesis, frames.hop, eps, max_gain).gain(frames)


def noise_gain(analysis: Any, synthesis: Any, frames: Frames, eps: float) -> HopPeriodic:
    """How much white noise of the spectrum comes out of each sample, as an amplitude.

    Relative to the noisiest sample of the steady state (1 there or less); inf where nothing determines the sample.
    """
    return Normalisation.of(analysis, synthesis, frames.hop, eps, np.inf).noise_gain(frames)


class Covered(NamedTuple):
    """Samples [start, stop) of a signal are determined but for `hole`, the first of them that is not (or None)."""

    start: int
    stop: int
    hole: int | None


def covered(gain: HopPeriodic, frames: Frames) -> Covered:
    """Which samples of the signal a gain determines, counted from the signal's first sample.

    Looks at both ends and at one period between them, never at the whole signal.
    """
    lo, hi = max(0, frames.start), max(0, frames.start, min(frames.span, frames.stop))
    end = (frames.overlap + 2) * frames.hop  # an end and two periods of the steady state
    if hi - lo <= 2 * end:
        known = lo + np.flatnonzero(gain.samples(lo, hi))
    else:
        known = np.concatenate(
            [
                lo + np.flatnonzero(gain.samples(lo, lo + end)),
                hi - end + np.flatnonzero(gain.samples(hi - end, hi)),
            ]
        )
    if not known.size:
        return Covered(0, 0, None)
    jumps = np.flatnonzero(np.diff(known) > 1)
    skipped = hi - lo > 2 * end  # the jump from one end to the other is no hole, if both sides of it are covered
    holes = [
        int(known[j]) + 1 for j in jumps if not (skipped and known[j] == lo + end - 1 and known[j + 1] == hi - end)
    ]
    return Covered(
        int(known[0]) - frames.start, int(known[-1]) + 1 - frames.start, holes[0] - frames.start if holes else None
    )


@public
def dual_window(window: Any, hop_length: int, *, win_length: int | None = None) -> np.ndarray:
    """The canonical dual: the synthesis window v = w / sum_m w[n - m hop]**2, for which every gain is 1.

    With ``synthesis_window=dual_window(w, hop)`` the inverse is the same least-squares inverse as with the window
    itself, inside the signal.

    Parameters
    ----------
    window : str, tuple, callable or real array (win_length,)
        A name or tuple of `scipy.signal.get_window` (periodic) or a callable needs `win_length`.
    hop_length : int
        Samples between the starts of neighbouring frames.
    win_length : int, optional
        Length of the window in samples.

    Returns
    -------
    float64 NumPy array (win_length,)
        The dual, in the scale of 1 / window.

    Raises
    ------
    NOLAError
        If the shifted windows leave a sample without weight.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> w = np.hanning(9)[:-1]
    >>> v = xi.dual_window(w, 2)
    >>> (w * v).reshape(4, 2).sum(axis=0).round(12)
    array([1., 1.])
    """
    samples, hop = _window_and_hop("dual_window", window, hop_length, win_length)
    peak = _peak(samples)
    return samples / peak / _power("dual_window", samples / peak, hop) / peak


@public
def tight_window(window: Any, hop_length: int, *, win_length: int | None = None) -> np.ndarray:
    """The tight window nearest to `window`: w / sqrt(sum_m w[n - m hop]**2), which is its own dual.

    With it ``sum abs(stft(x))**2 / n_fft`` over all (two-sided) bins is ``sum x**2`` (Parseval), inside the signal.

    Parameters
    ----------
    window, hop_length, win_length
        As in `dual_window`.

    Returns
    -------
    float64 NumPy array (win_length,)
        The tight window.

    Raises
    ------
    NOLAError
        If the shifted windows leave a sample without weight.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> g = xi.tight_window("hann", 2, win_length=8)
    >>> bool(np.allclose(xi.dual_window(g, 2), g))
    True
    """
    samples, hop = _window_and_hop("tight_window", window, hop_length, win_length)
    samples = samples / _peak(samples)
    return samples / np.sqrt(_power("tight_window", samples, hop))


@public
def low_latency_windows(n_fft: int, hop_length: int, synthesis_length: int) -> tuple[np.ndarray, np.ndarray]:
    """A long analysis window and a short synthesis window: the resolution of n_fft at the delay of synthesis_length.

    The analysis window w rises over nearly all of the frame and falls at its end; the synthesis window v is zero but
    for the last s = synthesis_length samples, and there w v is a Hann window of s samples:

        w[n] = sin(pi/2 (n + 1/2) / c) up to c = n_fft - s/2, then cos(pi/2 (n + 1/2 - c) / (s/2))
        v[n] = sin(pi (n - n_fft + s + 1/2) / s)**2 / w[n]

    So a sample is final s samples after it came, hop included, not n_fft (after Mauler and Martin, "A low delay,
    variable resolution, perfect reconstruction spectral analysis-synthesis system for speech enhancement", EUSIPCO
    2007). At 16 kHz with n_fft 1024, hop 128 and s 256 that is 16 ms in place of 64 ms. The price is noise: a
    modified spectrum comes out louder by 5.4 dB there than with the dual window.

    Frames must begin at least n_fft - s samples before the signal, and nothing should follow it:
    ``padding=(n_fft - hop_length, 0)`` serves a stream.

    Parameters
    ----------
    n_fft : int
        Samples of a frame.
    hop_length : int
        Samples between the starts of neighbouring frames.
    synthesis_length : int
        Samples of the synthesis window that are not zero, from hop_length to n_fft. For a multiple of hop_length, at
        least twice, the products overlap-add to a constant; the inverse is exact for any.

    Returns
    -------
    window : float64 NumPy array (n_fft,)
        Analysis window.
    synthesis_window : float64 NumPy array (n_fft,)
        Window of the inverse.

    Raises
    ------
    ValueError, TypeError
        A size has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> w, v = xi.low_latency_windows(1024, 128, 256)
    >>> t = xi.STFT(1024, 128, window=w, synthesis_window=v, padding=(896, 0))
    >>> xi.StreamingISTFT(t).latency
    128
    """
    function = "low_latency_windows"
    n_fft = integer(function, "n_fft", n_fft, 2)
    hop = integer(function, "hop_length", hop_length, 1)
    size = integer(function, "synthesis_length", synthesis_length, hop, ("n_fft", n_fft))
    n = np.arange(n_fft) + 0.5
    crest = n_fft - size / 2
    window = np.sin(np.pi / 2 * np.where(n < crest, n / crest, 1 + (n - crest) / (size / 2)))
    bell = np.sin(np.pi * (n - n_fft + size) / size) ** 2
    return window, np.where(n > n_fft - size, bell / window, 0)


@public
def check_nola(window: Any, hop_length: int, *, win_length: int | None = None, tol: float | None = None) -> bool:
    """Whether every sample can be recovered: sum_m w[n - m hop]**2 > 0 everywhere (nonzero overlap-add).

    Parameters
    ----------
    window, hop_length, win_length
        As in `dual_window`.
    tol : float, optional
        What every sum must exceed, relative to the largest; default eps**2 of float64, as `istft` decides.

    Returns
    -------
    bool
        Whether the inverse exists.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.check_nola("hann", 512, win_length=2048), xi.check_nola("hann", 2048, win_length=2048)
    (True, False)
    """
    samples, hop = _window_and_hop("check_nola", window, hop_length, win_length)
    power = _folded((samples / _peak(samples)) ** 2, hop)
    if tol is None:
        return _hole(power) is None
    return bool(power.min() > number("check_nola", "tol", tol, 0) * power.max())


@public
def check_cola(window: Any, hop_length: int, *, win_length: int | None = None, tol: float = 1e-10) -> bool:
    """Whether sum_m w[n - m hop] is constant to `tol`, relative to its mean (constant overlap-add).

    Not needed for an exact inverse; it makes a synthesis window of ones exact.

    Parameters
    ----------
    window, hop_length, win_length
        As in `dual_window`.
    tol : float
        Largest deviation, relative to the mean.

    Returns
    -------
    bool
        Whether the sum is constant.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.check_cola("hann", 512, win_length=2048), xi.check_cola("hann", 1500, win_length=2048)
    (True, False)
    """
    samples, hop = _window_and_hop("check_cola", window, hop_length, win_length)
    total = _folded(samples, hop)
    mean = total.sum() / hop
    return bool(np.abs(total - mean).max() <= number("check_cola", "tol", tol, 0) * abs(mean))


def _window_and_hop(function: str, window: Any, hop_length: int, win_length: int | None) -> tuple[np.ndarray, int]:
    hop = integer(function, "hop_length", hop_length, 1, MOST)
    if win_length is None:
        if isinstance(window, (str, tuple)) or callable(window):
            raise error(TypeError, function, "win_length", "an integer for a window that is not an array", None)
        win_length = real_values(function, "window", window, "a name or real samples").size
        if not win_length:
            raise error(ValueError, function, "window", "at least 1 sample", 0)
    win_length = integer(function, "win_length", win_length, 1, MOST)
    key = window_key(function, "window", window, win_length)
    return window_samples(function, "window", key, win_length, win_length), hop


def _folded(samples: np.ndarray, hop: int) -> np.ndarray:
    """sum_m samples[n - m hop] for n = 0..hop-1: the steady state. Of the zeros between windows, the first alone."""
    hop = min(hop, samples.size + 1)
    return overlap(samples, Frames(samples.size, hop, -(-samples.size // hop), 0, 0)).period


def _peak(samples: np.ndarray) -> float:
    """By which windows are divided before they are squared: the squares of tiny samples would vanish."""
    return float(np.abs(samples).max()) or 1.0


def _hole(power: np.ndarray) -> int | None:
    """A sample of the steady state that no window weighs, relative to float64's rounding; None where there is none."""
    weakest = int(power.argmin())
    return None if power[weakest] > np.finfo(np.float64).eps ** 2 * power.max() else weakest


def _power(function: str, samples: np.ndarray, hop: int) -> np.ndarray:
    """sum_m w[n - m hop]**2 for n = 0..win_length-1; NOLAError where it has a hole."""
    power = _folded(samples**2, hop)
    hole = _hole(power)
    if hole is not None:
        got = f"0 at sample {hole} (hop_length={hop})"
        raise error(NOLAError, function, "window", "overlap > 0 at every sample", got)
    return np.resize(power, samples.size)
