"""One picture of the round trip: the waveform, its spectrogram, and what the round trip left of error."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure  # without pyplot: no window, no state, any backend

import xp_istft as xi

from ..plot import plot_spectrogram
from .failures import printable
from .fonts import glyphs_for

_COLUMNS = 1600  # no more than can be seen


def draw(
    path: Path, title: str, signal: np.ndarray, sample_rate: int, transform: xi.STFT, errors: dict[str, np.ndarray]
) -> None:
    """Draw one channel, (n_samples,), with the errors of its reconstruction by dtype."""
    title = printable(title)
    with (
        mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}),
        glyphs_for(title),
    ):
        figure = Figure(figsize=(9, 7.2), dpi=150, layout="constrained")
        waveform, spectrogram, error = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 1))
        figure.suptitle(title, parse_math=False)
        seconds = signal.size / sample_rate

        lows, highs, times = _envelope(signal, sample_rate)
        waveform.fill_between(times, lows, highs, color="#1f5a92", linewidth=0.5, edgecolor="#1f5a92")
        waveform.set_ylabel("amplitude\n(full scale = 1)")
        waveform.set_title("Waveform", loc="left")

        hop = transform.hop_length
        plot_spectrogram(transform.stft(signal), transform, sr=sample_rate, decibels=90, ax=spectrogram)
        spectrogram.set_xlabel("")
        spectrogram.set_title(f"Spectrogram, n_fft = {transform.n_fft}, hop = {hop} samples", loc="left")

        for (dtype, values), color in zip(errors.items(), ("#c2571a", "#2a7f5f"), strict=False):
            lows, highs, times = _envelope(values, sample_rate)
            largest = np.maximum(np.abs(lows), np.abs(highs))
            error.plot(times, np.where(largest > 0, largest, np.nan), color=color, linewidth=0.8, label=dtype)
        error.set_yscale("log")
        error.set_ylabel("|error|\n(full scale = 1)")
        error.set_xlabel("time (s)")
        error.set_title("Error of the reconstruction: reconstructed minus original, NumPy", loc="left")
        error.set_ylim(1e-19, 1e-5)
        error.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False)
        error.set_xlim(0, seconds)
        figure.savefig(path, format="png")


def _envelope(signal: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and largest sample of each pixel column, and its time in seconds."""
    step = max(1, signal.size // _COLUMNS)
    starts = np.arange(0, signal.size, step)
    return np.minimum.reduceat(signal, starts), np.maximum.reduceat(signal, starts), (starts + step / 2) / sample_rate
