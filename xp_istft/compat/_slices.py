"""Which samples and slices of a ShortTimeFFT touch what, in integers, and its axes in seconds and Hz."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import integer
from ..frames import bin_frequencies


class Slices:
    """Slice p is a window of m_num samples with its sample m_num_mid at sample p * hop of the signal.

    A subclass has win (m_num,), hop, mfft, fs and fft_mode.
    """

    win: Any
    hop: Any
    mfft: Any
    fs: Any
    fft_mode: Any

    @property
    def m_num(self) -> int:
        """Samples of the window."""
        return self.win.size

    @property
    def m_num_mid(self) -> int:
        """Sample of the window at the time of its slice."""
        return self.m_num // 2

    @property
    def p_min(self) -> int:
        """First slice."""
        if self.m_num - self.m_num_mid - self.hop > self._support[1]:
            return 0
        return min(0, 1 + (self.m_num_mid - self.m_num) // self.hop)

    @property
    def k_min(self) -> int:
        """First sample of the first slice."""
        return self.p_min * self.hop - self.m_num_mid

    def p_max(self, n: int) -> int:
        """One more than the last slice that touches a signal of n samples."""
        self._check_length(n)
        first = n // self.hop
        beyond = n - self._support[0] - (first * self.hop - self.m_num_mid)
        return first + max(1, -(-beyond // self.hop))

    def k_max(self, n: int) -> int:
        """One more than the last sample of the last slice."""
        return (self.p_max(n) - 1) * self.hop - self.m_num_mid + self.m_num

    def p_num(self, n: int) -> int:
        """How many slices touch a signal of n samples."""
        return self.p_max(n) - self.p_min

    @property
    def lower_border_end(self) -> tuple[int, int]:
        """First sample and first slice that what stands before the signal does not reach."""
        start = self._support[0] - self.m_num_mid
        if start > self.hop:
            return 0, 0
        p = max(0, -(start // self.hop) - 1)
        return start + p * self.hop + self.m_num, p + 1

    def upper_border_begin(self, n: int) -> tuple[int, int]:
        """First sample and first slice that what stands after a signal of n samples reaches."""
        self._check_length(n)
        p = 1 + min(n // self.hop + 1, (n + self.m_num_mid - 1 - self._support[1]) // self.hop)
        return p * self.hop - self.m_num_mid, p

    def p_range(self, n: int, p0: int | None = None, p1: int | None = None) -> tuple[int, int]:
        """p0 and p1, by default those of all slices that touch a signal of n samples."""
        p_max = self.p_max(n)
        first = self.p_min if p0 is None else integer("ShortTimeFFT", "p0", p0)
        stop = p_max if p1 is None else integer("ShortTimeFFT", "p1", p1)
        if not self.p_min <= first < stop <= p_max:
            need = f"{self.p_min=} <= p0 < p1 <= {p_max=} does not hold for signal length {n=}!"
            raise ValueError(f"Invalid Parameter {p0=}, {p1=}, i.e., {need}")
        return first, stop

    def nearest_k_p(self, k: int, left: bool = True) -> int:
        """The sample nearest to k, to the left or the right, at which a slice is centred."""
        return k // self.hop * self.hop if left else -(-k // self.hop) * self.hop

    @property
    def _support(self) -> tuple[int, int]:
        """First and last sample of the window that is not 0."""
        (places,) = np.nonzero(self.win)
        return (int(places[0]), int(places[-1])) if places.size else (self.m_num, -1)

    def _check_length(self, n: int) -> None:
        n = integer("ShortTimeFFT", "n", n)
        if not n >= self.m_num - self.m_num_mid:
            raise ValueError(f"Parameter n must be >= ceil(m_num/2) = {self.m_num - self.m_num_mid}!")

    @property
    def delta_t(self) -> float:
        """Time between slices."""
        return self.hop / self.fs

    @property
    def delta_f(self) -> float:
        """Frequency between bins."""
        return self.fs / self.mfft

    @property
    def onesided_fft(self) -> bool:
        return self.fft_mode in ("onesided", "onesided2X")

    @property
    def f_pts(self) -> int:
        """How many bins."""
        return self.mfft // 2 + 1 if self.onesided_fft else self.mfft

    @property
    def f(self) -> np.ndarray:
        """Frequencies of the bins."""
        f = bin_frequencies(self.mfft, sr=float(self.fs), onesided=self.onesided_fft)
        return np.fft.fftshift(f) if self.fft_mode == "centered" else f

    def t(self, n: int, p0: int | None = None, p1: int | None = None, k_offset: int = 0) -> np.ndarray:
        """Times of the slices of a signal of n samples."""
        if not (isinstance(n, (int, np.integer)) and n > 0):
            raise ValueError(f"Parameter n={n!r} is not a positive integer!")
        return np.arange(*self.p_range(n, p0, p1)) * self.delta_t + k_offset / self.fs

    def extent(self, n: int, axes_seq: str = "tf", center_bins: bool = False) -> tuple[float, float, float, float]:
        """What matplotlib's imshow takes as extent."""
        if axes_seq not in ("tf", "ft"):
            raise ValueError(f"Parameter axes_seq={axes_seq!r} not in ['tf', 'ft']!")
        if self.fft_mode == "twosided":
            need = "['centered', 'onesided', 'onesided2X']"
            raise ValueError(f"Attribute fft_mode={self.fft_mode} must be in {need}")
        q0 = 0 if self.onesided_fft else -(self.mfft // 2)
        shift = 0.5 if center_bins else 0
        times = (self.delta_t * (self.p_min - shift), self.delta_t * (self.p_max(n) - shift))
        bins = (self.delta_f * (q0 - shift), self.delta_f * (q0 + self.f_pts - shift))
        return (*times, *bins) if axes_seq == "tf" else (*bins, *times)
