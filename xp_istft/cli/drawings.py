"""A waveform over a spectrogram, in as many columns as can be seen, gathered block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no window, no state, any backend

from ..transform import STFT
from .failures import printable
from .fonts import glyphs_for

_COLUMNS = 1600  # no more than can be seen
_COLOURS = ("#1f5a92", "#c2571a")


@dataclass(frozen=True)
class Look:
    """channel: counted from 1; decibels: how far the colours reach below the largest level; log: the frequency axis."""

    channel: int = 1
    decibels: float = 80.0
    log: bool = False


@dataclass
class Drawing:
    """What is drawn of one channel: seconds from `start` on.

    waves : for each of one real signal, or of I and Q: least and largest sample of each column
    hertz, largest : (n_bins,), and (n_bins, columns): the largest magnitude of each bin in each column; edges: seconds
    """

    title: str
    start: float
    seconds: float
    waves: list[tuple[np.ndarray, np.ndarray]]
    hertz: np.ndarray
    largest: np.ndarray
    edges: tuple[float, float]
    transform: STFT


class Columns:
    """The largest magnitude of each bin in each column of the picture."""

    def __init__(self, n_frames: int, n_bins: int) -> None:
        self._count, width = n_frames, min(n_frames, _COLUMNS)
        self.largest = np.zeros((n_bins, width), "float32")

    def add(self, first: int, magnitudes: np.ndarray) -> None:
        """Frames from `first` on, (n_bins, count)."""
        width = self.largest.shape[1]
        places = (first + np.arange(magnitudes.shape[1])) * width // self._count
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        tops = np.fmax.reduceat(magnitudes, starts, axis=1)
        self.largest[:, places[starts]] = np.fmax(self.largest[:, places[starts]], tops)


class Envelope:
    """Least and largest sample of each column, of one real signal or of the two parts of a complex one."""

    def __init__(self, n_samples: int, parts: int) -> None:
        self._count, self._end = n_samples, 0
        self._width = min(n_samples, _COLUMNS)
        self.waves = [(np.full(self._width, np.inf), np.full(self._width, -np.inf)) for _ in range(parts)]

    def add(self, lo: int, signal: np.ndarray) -> None:
        """Samples from `lo` on; those that were there before are left out, and so are those beyond a gap."""
        if lo > self._end or lo + len(signal) <= self._end:
            return
        signal, lo = signal[self._end - lo :], self._end
        self._end = lo + len(signal)
        places = (lo + np.arange(len(signal))) * self._width // self._count
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        parts = (signal.real, signal.imag) if len(self.waves) > 1 else (signal.real,)
        for (least, largest), part in zip(self.waves, parts, strict=True):
            at = places[starts]
            least[at] = np.fmin(least[at], np.fmin.reduceat(part, starts))
            largest[at] = np.fmax(largest[at], np.fmax.reduceat(part, starts))

    def finish(self, read: Callable[[int, int], np.ndarray]) -> None:
        """Read what no frame has reached."""
        while self._end < self._count:
            self.add(self._end, read(self._end, min(self._count, self._end + (1 << 16))))


def draw(path: Path, form: str, drawing: Drawing, look: Look) -> None:
    """Write the picture."""
    title = printable(drawing.title)
    with (
        mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}),
        glyphs_for(title),
    ):
        figure = Figure(figsize=(9, 6 if drawing.waves else 4.5), dpi=150, layout="constrained")
        heights = (1, 2) if drawing.waves else (1,)
        *above, below = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        figure.suptitle(title, parse_math=False)
        for ax in above:
            _draw_waves(ax, drawing)
        _draw_levels(below, drawing, look)
        below.set(xlabel="time (s)", xlim=(drawing.start, drawing.start + drawing.seconds))
        figure.savefig(path, format=form)


def _draw_waves(ax: Axes, drawing: Drawing) -> None:
    for (least, largest), colour in zip(drawing.waves, _COLOURS, strict=False):
        edges = np.linspace(drawing.start, drawing.start + drawing.seconds, len(least) + 1)
        ax.fill_between((edges[:-1] + edges[1:]) / 2, least, largest, color=colour, linewidth=0.5, alpha=0.8)
    ax.set_ylabel("amplitude\n(full scale = 1)" + ("\nI and Q" if len(drawing.waves) > 1 else ""))


def _draw_levels(ax: Axes, drawing: Drawing, look: Look) -> None:
    hertz, magnitudes = drawing.hertz, drawing.largest
    if not drawing.transform.onesided:
        hertz, magnitudes = np.fft.fftshift(hertz), np.fft.fftshift(magnitudes, axes=0)
    half = (hertz[1] - hertz[0]) / 2 if len(hertz) > 1 else 0.5
    if look.log:
        hertz, magnitudes = hertz[hertz > 0], magnitudes[hertz > 0]
    level = 20 * np.log10(np.maximum(magnitudes, np.finfo("float32").tiny))
    level -= level.max() if magnitudes.any() else 0  # silence is dark
    image = ax.pcolormesh(
        np.linspace(*drawing.edges, level.shape[1] + 1),
        np.append(hertz - half, hertz[-1] + half),
        level, cmap="magma", vmin=-look.decibels, vmax=0, shading="flat", rasterized=True,
    )  # fmt: skip
    if look.log:
        ax.set_yscale("log")
    ax.set(ylabel="frequency (Hz)", ylim=(hertz[0] - half * look.log / 2, hertz[-1]) if len(hertz) > 1 else None)
    if ax.figure is not None:
        ax.figure.colorbar(image, ax=ax, label="level (dB, the largest is 0)", pad=0.01)
