"""Where frames lie: integers only, worked out before any array is touched.

Time is counted on the *padded axis*, in samples from the first sample of frame 0: frame m covers samples
[m * hop, m * hop + n_fft), and the signal is samples [start, stop). The whole signal, one cache-sized block, one
thread's share, one chunk, one push of a stream: each is a `Frames`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import SYMBOLS, boolean, choice, hinted, integer

Padding = str | int | tuple[int, int] | None

ENDLESS = 1 << 60  # samples: more than will ever come
MOST = "2**60", ENDLESS  # of any size that is given: twice as many still are an integer of 64 bits


@dataclass(frozen=True)
class Frames:
    """`n_frames` frames of `n_fft` samples, `hop` apart; the signal is samples [start, stop) of the padded axis.

    `start` is negative where the signal begins before the first frame.
    """

    n_fft: int
    hop: int
    n_frames: int
    start: int
    stop: int

    @property
    def n_samples(self) -> int:
        """Samples of the signal."""
        return self.stop - self.start

    @property
    def span(self) -> int:
        """Samples from the first of the first frame to the last of the last: the padded axis is [0, span)."""
        return self.n_fft + self.hop * (self.n_frames - 1) if self.n_frames else 0

    @property
    def overlap(self) -> int:
        """The most frames that reach one sample."""
        return -(-self.n_fft // self.hop)

    def segment(self, lo: int, hi: int) -> tuple[slice, Frames]:
        """The frames that reach samples [lo, hi) of the padded axis: their slice, and the smaller job that they make.

        >>> Frames(n_fft=8, hop=2, n_frames=100, start=4, stop=202).segment(50, 60)
        (slice(22, 30, None), Frames(n_fft=8, hop=2, n_frames=8, start=6, stop=16))
        """
        first = min(self.n_frames, max(0, -((self.n_fft - 1 - lo) // self.hop)))  # ceil((lo - n_fft + 1) / hop)
        last = max(first, min(self.n_frames, (hi - 1) // self.hop + 1))
        origin = first * self.hop
        return slice(first, last), Frames(self.n_fft, self.hop, last - first, lo - origin, hi - origin)

    def narrowed(self) -> Frames:
        """Frames no further apart than matters to the signal, about the same samples of theirs.

        Where a single frame reaches the signal, the others only have to stay out of it; so nothing downstream grows
        with a hop that is beyond the data.

        >>> Frames(n_fft=8, hop=1 << 40, n_frames=3, start=(1 << 40) + 2, stop=(1 << 40) + 12).narrowed()
        Frames(n_fft=8, hop=12, n_frames=3, start=14, stop=24)
        """
        if self.hop <= self.n_fft or {type(self.n_frames), type(self.n_samples)} & SYMBOLS:
            return self
        columns, part = self.segment(self.start, self.stop)
        if part.n_frames > 1:
            return self
        if part.n_frames == 0:  # between two frames, or beyond all
            start = self.n_frames * self.n_fft
            return Frames(self.n_fft, self.n_fft, self.n_frames, start, start + self.n_samples)
        hop = min(self.hop, max(self.n_fft, part.stop, self.n_fft - part.start))
        start = columns.start * hop + part.start
        return Frames(self.n_fft, hop, self.n_frames, start, start + self.n_samples)


@dataclass(frozen=True)
class Placement:
    """How frames lie about a signal: `left` and `right` samples of padding before and after it.

    `whole` says what becomes of a last part shorter than a hop: it gets a frame of its own (True, so that every
    sample can be recovered) or it does not (False, as librosa and torch count).
    """

    n_fft: int
    hop: int
    left: int
    right: int
    whole: bool

    @classmethod
    def of(cls, function: str, n_fft: int, hop: int, win_length: int, center: Any, padding: Any) -> Placement:
        """The placement that `center` (or `padding`, where it is not None) names, for `function`'s errors.

        - center: n_fft // 2 on both sides, so frame m is centred on sample m * hop.
        - "same": n_frames * hop samples belong to n_frames frames, the window in the middle of its share
          (neural vocoders); exact also for win_length < n_fft and odd differences.
        - "full": every sample is reached by every frame that could reach it.
        - int or (left, right): as given.
        """
        center = boolean(function, "center", center)
        if padding is None:
            padding = n_fft // 2 if center else 0
        if isinstance(padding, str):
            if choice(function, "padding", padding, ("same", "full")) == "same":
                left = (n_fft - win_length) // 2 + (win_length - hop) // 2
                return cls(n_fft, hop, left, n_fft - hop - left, whole=True)
            edge = max(0, n_fft - hop)
            return cls(n_fft, hop, edge, edge, whole=True)
        left, right = padding if isinstance(padding, (tuple, list)) and len(padding) == 2 else (padding, padding)
        left, right = (integer(function, "padding", side, 0, MOST) for side in (left, right))
        return cls(n_fft, hop, left, right, whole=False)

    def n_frames(self, n_samples: int) -> int:
        """Frames that `n_samples` samples make (0 where they are too few for one)."""
        spare = n_samples + self.left + self.right - self.n_fft  # samples after the first frame
        if self.whole:
            return 1 + (spare + self.hop - 1) // self.hop if n_samples else 0  # spare > -hop: no quotient below 0
        return 1 + spare // self.hop if spare >= 0 else 0

    def n_samples(self, n_frames: int) -> int:
        """Samples that belong to `n_frames` frames: what they span, less the padding."""
        return self.n_fft + self.hop * (n_frames - 1) - self.left - self.right if n_frames else 0

    def frames(self, n_frames: int, n_samples: int) -> Frames:
        """`n_frames` frames about a signal of `n_samples` samples.

        The hop of a single frame is never used: it is cut to n_fft, so that nothing downstream grows with it.
        """
        hop = self.hop if self.hop <= self.n_fft or n_frames > 1 else self.n_fft
        return Frames(self.n_fft, hop, n_frames, self.left, self.left + n_samples)


def sizes(function: str, n_fft: Any, hop_length: Any, win_length: Any) -> tuple[int, int, int]:
    """n_fft, hop_length (default win_length // 4) and win_length (default n_fft), read for `function`."""
    n_fft = integer(function, "n_fft", n_fft, 2, MOST)
    win_length = n_fft if win_length is None else integer(function, "win_length", win_length, 1, ("n_fft", n_fft))
    hop = max(1, win_length // 4) if hop_length is None else integer(function, "hop_length", hop_length, 1, MOST)
    return n_fft, hop, win_length


def bin_multiplicity(n_fft: int) -> np.ndarray:
    """How many of the n_fft bins each one-sided bin stands for: 1 at DC and (even n_fft) Nyquist, else 2.

    >>> bin_multiplicity(6)
    array([1., 2., 2., 1.])
    """
    count = np.full(n_fft // 2 + 1, 2.0)
    count[0] = 1
    if n_fft % 2 == 0:
        count[-1] = 1
    return count


@hinted
def phase_ramp(n_fft: int, origin: int, *, onesided: bool = True) -> np.ndarray:
    """Factor of each bin that counts phases from sample `origin` of the frame: exp(2 pi i k origin / n_fft).

    ``X * phase_ramp(n_fft, origin)[:, None]`` turns the spectrum of `stft`, whose phases are counted from the first
    sample of a frame, and a division turns it back. With origin=n_fft // 2 the phases are those of zero-phase windows,
    and a stationary bin of a symmetric frame is real.

    Parameters
    ----------
    n_fft : int
        Samples of a frame.
    origin : int
        Sample of the frame, of any sign, taken modulo n_fft.
    onesided : bool
        Make n_fft // 2 + 1 bins (else n_fft).

    Returns
    -------
    complex128 NumPy array (n_bins,)
        The factor of each bin.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.phase_ramp(8, 4).real
    array([ 1., -1.,  1., -1.,  1.])
    """
    n_fft, _, _ = sizes("phase_ramp", n_fft, None, None)
    n_bins = n_fft // 2 + 1 if boolean("phase_ramp", "onesided", onesided) else n_fft
    turns = np.arange(n_bins) * (integer("phase_ramp", "origin", origin) % n_fft) % n_fft
    return np.exp(2j * np.pi / n_fft * turns)


PAD_MODES = ("constant", "reflect", "edge", "symmetric", "wrap")
# torch's and scipy's names of NumPy's padding modes
PAD_ALIASES = {"replicate": "edge", "circular": "wrap", "zeros": "constant", "even": "reflect"}


def read_pad_mode(function: str, pad_mode: Any) -> str:
    """NumPy's name of a padding mode."""
    pad_mode = PAD_ALIASES.get(pad_mode, pad_mode) if isinstance(pad_mode, str) else pad_mode
    return choice(function, "pad_mode", pad_mode, PAD_MODES)


def padding_index(lo: int, hi: int, n_samples: int, mode: str) -> np.ndarray:
    """Which sample of the signal stands at samples [lo, hi), counted from its first, as numpy.pad would fill them.

    A padding longer than the signal reflects again and again. "constant" has no index: its samples are zeros.

    >>> padding_index(-3, 0, 10, "reflect")
    array([3, 2, 1])
    """
    return folded(np.arange(lo, hi), n_samples, mode, np)


def folded(t: Any, n_samples: Any, mode: str, xp: Any) -> Any:
    """`padding_index` of samples t; both may be arrays of a library whose functions are xp."""
    if mode == "edge":
        t = xp.where(t < 0, xp.zeros_like(t), t)
        return xp.where(t < n_samples, t, n_samples - 1 + xp.zeros_like(t))
    if mode == "wrap":
        return t % n_samples
    if mode == "symmetric":
        t = t % (2 * n_samples)
        return xp.where(t < n_samples, t, 2 * n_samples - 1 - t)
    period = 2 * (n_samples - 1)  # reflect: the end samples are not repeated
    period = xp.where(period > 0, period, xp.ones_like(period))
    t = t % period
    return xp.where(t < n_samples, t, period - t)
