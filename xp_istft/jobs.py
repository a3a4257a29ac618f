"""The two maps, each with all that it needs beside the data: made from shapes and windows, before any work.

A job is frozen and compared by identity; transform.py keeps the jobs of recent calls, so a backend may cache what
it derives from one (`functools.lru_cache` on the job itself). Windows and gains are NumPy's, in float64, but for those
that automatic differentiation follows, or that lie on a device: these are arrays of the data's library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .frames import Frames
from .windows import HopPeriodic, Normalisation


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Spectrum to signal: inverse FFT of each frame, times `window`, overlap-add, times `gain`, samples [start, stop).

    window   : (n_fft,), or None for ones
    gain     : what each sample of the padded axis is multiplied by (0: the sample is 0, whatever the spectrum holds),
               or None for ones
    onesided : the spectrum has n_fft // 2 + 1 bins (else n_fft)
    real     : the signal is real: of a two-sided spectrum, the real part
    origin   : sample of the gain's axis at which this job's padded axis begins (of a segment)
    decided  : what the gain follows from, which a graph holds in its place; where a compiler leaves sizes open there
               is no other gain
    amplitudes : the spectrum that is given holds amplitudes: the map takes what `Backend.of_amplitudes` makes of it
    """

    frames: Frames
    window: Any
    gain: HopPeriodic | None
    onesided: bool = True
    real: bool = True
    origin: int = 0
    decided: Normalisation | None = None
    amplitudes: bool = False

    @cached_property
    def followed(self) -> bool:
        """Whether window and gain are arrays of the data's library."""
        return not (self.window is None or isinstance(self.window, np.ndarray))

    def segment(self, lo: int, hi: int) -> tuple[slice, Synthesis]:
        """The frames that reach samples [lo, hi) of the padded axis, and the smaller job that makes these samples."""
        columns, frames = self.frames.segment(lo, hi)
        origin = self.origin + columns.start * self.frames.hop
        return columns, replace(self, frames=frames, origin=origin)

    def signal_gain(self) -> Any:
        """(n_samples,): the gain of every sample of the signal; None for ones."""
        if self.gain is None:
            return None
        return self.gain.samples(self.origin + self.frames.start, self.origin + self.frames.stop)


@dataclass(frozen=True, eq=False)
class Running:
    """A synthesis whose frames come one after the other without end, and sums that wait for the next ones.

    job  : windows, sizes, and the gain of a signal that begins and does not end; its number of frames and of samples
           say nothing
    edge : after M frames the samples before M hop + edge of the padded axis are final; those from there to the end
           of the last frame wait
    """

    job: Synthesis
    edge: int

    @cached_property
    def waiting(self) -> int:
        """Samples that wait."""
        return self.job.frames.n_fft - self.job.frames.hop - self.edge

    @cached_property
    def first(self) -> int:
        """The first sample of the frames that is added (those before it have no weight)."""
        return max(0, self.edge)

    @cached_property
    def before(self) -> int:
        """Waiting samples that the next frame does not reach."""
        return max(0, -self.edge)

    @cached_property
    def steady(self) -> int:
        """Frames after which each more is treated alike, and ends alike."""
        frames = self.job.frames
        return max(frames.overlap, -((self.edge - self.gain.head.size) // frames.hop))

    @cached_property
    def gain(self) -> HopPeriodic:
        """That of the job, which has one."""
        assert self.job.gain is not None
        return self.job.gain

    def gains(self, frame: int, count: int) -> np.ndarray:
        """float64 (count * hop,): the gain of the samples that frames [frame, frame + count) make final."""
        hop = self.job.frames.hop
        lo = frame * hop + self.edge
        return self.gain.samples(lo, lo + count * hop)


@dataclass(frozen=True, eq=False)
class Analysis:
    """Signal to spectrum: frames of the padded signal, times `window`, FFT of each.

    window   : (n_fft,), or None for ones
    onesided : n_fft // 2 + 1 bins of a real signal, else n_fft bins
    pad_mode : what stands outside [start, stop): one of frames.PAD_MODES
    amplitudes : the spectrum that is asked for holds amplitudes: `Backend.to_amplitudes` makes them of the map's
    """

    frames: Frames
    window: Any
    onesided: bool = True
    pad_mode: str = "constant"
    amplitudes: bool = False

    @cached_property
    def followed(self) -> bool:
        """Whether the window is an array of the data's library."""
        return not (self.window is None or isinstance(self.window, np.ndarray))
