"""Pictures of spectra, windows and convergence on matplotlib's Axes: seconds, Hz and decibels.

Each function draws on `ax` (or on a new figure), returns the Axes, and takes arrays of any library. matplotlib is the
extra [plot]; nothing else of the package imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from . import frames, plans
from .arguments import boolean, error, number
from .frames import Frames, Padding
from .transforms import coverage
from .windows import normalisation

_COLUMNS = 1600  # no more than can be seen


def plot_spectrogram(
    X: Any,
    *,
    sr: float,
    n_fft: int | None = None,
    hop_length: int | None = None,
    win_length: int | None = None,
    center: bool = True,
    padding: Padding = None,
    frequencies: Any = None,
    decibels: float = 80,
    reference: float | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the level of a spectrum over time and frequency.

    Parameters
    ----------
    X : complex or real array (n_bins, n_frames)
        Spectrum, or its magnitudes.
    sr : float
        Sampling rate in Hz.
    n_fft, hop_length, win_length, center, padding
        As in `stft`; n_fft is by default 2 * (n_bins - 1), and must be given with `frequencies`.
    frequencies : Frequencies or real array (n_bins,), optional
        Frequency of each bin in Hz; default the bins of the DFT.
    decibels : float
        How far below the largest level the colours reach.
    reference : float, optional
        Magnitude that is 0 dB; default the largest, so that the levels are negative.
    colorbar : bool
        Draw the scale of the colours beside the picture.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn.

    Raises
    ------
    ValueError, TypeError
        X is no single spectrum, or an argument has a wrong value.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> from xp_istft.plot import plot_spectrogram
    >>> X = xi.stft(np.random.default_rng(0).standard_normal(16000), 512)
    >>> ax = plot_spectrogram(X, sr=16000)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('time (s)', 'frequency (Hz)')
    """
    magnitude = np.abs(_host(X))
    if magnitude.ndim != 2:
        got = f"shape {magnitude.shape}"
        raise error(ValueError, "plot_spectrogram", "X", "2 dimensions (bins, frames)", got, "draw channels one by one")
    n_bins, n_frames = magnitude.shape
    sr = number("plot_spectrogram", "sr", sr, 1e-9)
    if frequencies is None:
        n_fft = 2 * (n_bins - 1) if n_fft is None else n_fft
        hz = frames.bin_frequencies(n_fft, sr=sr)
    elif n_fft is None:
        raise error(TypeError, "plot_spectrogram", "n_fft", "an integer beside frequencies=", None)
    else:
        hz = np.asarray(getattr(frequencies, "hz", frequencies), float)
    if hz.shape != (n_bins,):
        raise error(ValueError, "plot_spectrogram", "X", f"{hz.size} bins", n_bins)

    layout: dict[str, Any] = {"hop_length": hop_length, "win_length": win_length, "center": center, "padding": padding}
    times = frames.frame_times(n_frames + 1, n_fft, sr=sr, **layout)
    times -= (times[1] - times[0]) / 2
    magnitude, times = _columns(magnitude, times)
    largest = magnitude.max() if reference is None else number("plot_spectrogram", "reference", reference, 0)
    level = 20 * np.log10(np.maximum(magnitude, np.finfo(np.float32).tiny) / (largest or 1))
    top = level.max()

    ax = _axes(ax)
    image = ax.pcolormesh(
        times, _edges(hz), level, cmap="magma", vmin=top - decibels, vmax=top, shading="flat", rasterized=True
    )
    if _geometric(hz):
        ax.set_yscale("log")
    ax.set(xlabel="time (s)", ylabel="frequency (Hz)", xlim=times[[0, -1]])
    if n_bins > 1:
        ax.set_ylim(hz[0], hz[-1])
    if boolean("plot_spectrogram", "colorbar", colorbar):
        label = "level (dB)" if reference is not None else "level (dB, the largest is 0)"
        ax.figure.colorbar(image, ax=ax, label=label, pad=0.01)
    return ax


def plot_windows(
    window: Any,
    hop_length: int,
    *,
    sr: float,
    synthesis_window: Any = None,
    win_length: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a pair of windows, what they leave of each sample inside a signal, and the gain that undoes it.

    Windows and overlap are divided by their largest values, the gain (1 / overlap) by its least. Samples under no
    window weight, which no inverse recovers, are shaded.

    Parameters
    ----------
    window : str, tuple, callable or real array (win_length,)
        Analysis window.
    hop_length : int
        Samples between frames.
    sr : float
        Sampling rate in Hz.
    synthesis_window : like `window`, optional
        Window of the inverse; default the analysis window.
    win_length : int, optional
        Samples of the windows, where they are not arrays.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn.

    Raises
    ------
    ValueError, TypeError
        As `istft`, but never for holes.

    Examples
    --------
    >>> from xp_istft.plot import plot_windows
    >>> ax = plot_windows("hann", 256, sr=16000, win_length=1024)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['window, both ways', 'overlap (largest 1)', 'gain (least 1)']
    """
    size = getattr(window, "shape", (win_length,))[0] if win_length is None else win_length
    if size is None:
        need = "an integer for a window that is not an array"
        raise error(TypeError, "plot_windows", "win_length", need, None)
    chosen = plans.layout("plot_windows", size, hop_length, size, window, None)
    keys = [("window", chosen.window)]
    if synthesis_window is not None:
        read = plans.read_window("plot_windows", "synthesis_window", synthesis_window, chosen.win_length, None)
        keys.append(("synthesis_window", read))
    pair = [chosen.samples("plot_windows", name, key) for name, key in keys]
    pair = [samples / (np.abs(samples).max() or 1) for samples in pair]
    laid = Frames(chosen.n_fft, chosen.hop, -(-chosen.n_fft // chosen.hop) + 1, 0, chosen.n_fft)
    steady = normalisation(pair[0], pair[-1], laid, float(np.finfo(np.float64).eps)).gain.period
    gain = np.resize(steady, chosen.n_fft)
    determined = gain != 0
    overlap = np.divide(1, gain, out=np.zeros_like(gain), where=determined)
    seconds = np.arange(chosen.n_fft) / number("plot_windows", "sr", sr, 1e-9)

    ax = _axes(ax)
    names = ["window, both ways"] if len(pair) == 1 else ["analysis window", "synthesis window"]
    for name, samples in zip(names, pair, strict=True):
        ax.plot(seconds, samples, label=name)
    if determined.any():
        ax.plot(seconds, overlap / np.abs(overlap).max(), "--", label="overlap (largest 1)")
        shown = np.where(determined, np.abs(gain) / np.abs(gain[determined]).min(), np.nan)
        ax.plot(seconds, shown, ":", label="gain (least 1)")
        ax.set_ylim(min(0, *(1.1 * samples.min() for samples in pair)), min(4, 1.1 * np.nanmax(shown)))
    _shade(ax, seconds, ~determined)
    ax.set(xlabel="time in the frame (s)", xlim=(0, seconds[-1]))
    ax.legend(loc="upper right")
    return ax


def plot_coverage(
    n_frames: int,
    n_fft: int = 2048,
    *,
    sr: float,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    synthesis_window: Any = None,
    center: bool = True,
    padding: Padding = None,
    length: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much noise each sample takes from the spectrum, in dB beside the interior; see `coverage`.

    Samples that the frames do not determine are shaded.

    Parameters
    ----------
    n_frames : int
        Frames of the spectrum.
    sr : float
        Sampling rate in Hz.
    n_fft, hop_length, win_length, window, synthesis_window, center, padding, length
        As in `istft`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn.

    Raises
    ------
    ValueError, TypeError
        As `coverage`.

    Examples
    --------
    >>> from xp_istft.plot import plot_coverage
    >>> plot_coverage(20, 512, sr=16000, center=False).get_ylabel()
    'noise gain (dB)'
    """
    determined, noise = coverage(
        n_frames, n_fft, hop_length=hop_length, win_length=win_length, window=window,
        synthesis_window=synthesis_window, center=center, padding=padding, length=length,
    )  # fmt: skip
    seconds = np.arange(noise.size) / number("plot_coverage", "sr", sr, 1e-9)
    level = 20 * np.log10(np.where(determined & (noise > 0), noise, np.nan))
    ax = _axes(ax)
    ax.plot(seconds, level)
    _shade(ax, seconds, ~determined)
    ax.set(xlabel="time (s)", ylabel="noise gain (dB)", xlim=(0, seconds[-1]))
    ax.grid(alpha=0.3)
    return ax


def plot_convergence(
    values: Sequence[float] | Mapping[str, Sequence[float]],
    *,
    ylabel: str = "distance (dB)",
    ax: Axes | None = None,
) -> Axes:
    """Draw how a distance falls with the iterations, in dB.

    Parameters
    ----------
    values : sequence of float, or mapping of names to them
        The distance (an amplitude ratio, such as an inconsistency or a relative residual) after each iteration.
    ylabel : str
        What the distance is.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn.

    Examples
    --------
    >>> from xp_istft.plot import plot_convergence
    >>> ax = plot_convergence({"slow": [1, 0.5, 0.4], "fast": [1, 0.1, 0.01]})
    >>> ax.lines[1].get_ydata()
    array([  0., -20., -40.])
    """
    ax = _axes(ax)
    curves = values if isinstance(values, Mapping) else {"": values}
    for name, curve in curves.items():
        amplitudes = np.asarray([float(value) for value in curve])
        level = 20 * np.log10(np.where(amplitudes > 0, amplitudes, np.nan))
        ax.plot(1 + np.arange(level.size), level, label=name or None)
    ax.set(xlabel="iteration", ylabel=ylabel)
    ax.grid(alpha=0.3)
    if isinstance(values, Mapping):
        ax.legend()
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot  # chooses a backend, so only where a figure must be made

    return pyplot.subplots(figsize=(7, 3), layout="constrained")[1]


def _host(array: Any) -> np.ndarray:
    """A NumPy array of an array of any library: off its graph, off its device, computed."""
    for step in ("detach", "cpu", "resolve_conj", "resolve_neg", "get"):
        array = getattr(array, step)() if hasattr(array, step) else array
    return np.asarray(array)


def _columns(magnitude: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many columns as can be seen, each the largest of those that it stands for, and their edges."""
    step = -(-magnitude.shape[-1] // _COLUMNS)
    starts = np.arange(0, magnitude.shape[-1], step)
    return np.maximum.reduceat(magnitude, starts, axis=-1), np.append(edges[starts], edges[-1])


def _geometric(hz: np.ndarray) -> bool:
    """Whether the ratio, and not the difference, of neighbouring frequencies stays the same."""
    if hz.size < 3 or hz[0] <= 0:
        return False
    return np.ptp(np.diff(np.log(hz))) < 1e-6 < np.ptp(np.diff(hz))


def _edges(hz: np.ndarray) -> np.ndarray:
    """Where the picture of one bin ends and that of the next begins."""
    if hz.size == 1:
        return np.array([hz[0] - 0.5, hz[0] + 0.5])
    if _geometric(hz):
        return np.exp(_edges(np.log(hz)))
    middles = (hz[1:] + hz[:-1]) / 2
    return np.concatenate([[2 * hz[0] - middles[0]], middles, [2 * hz[-1] - middles[-1]]])


def _shade(ax: Axes, seconds: np.ndarray, marked: np.ndarray) -> None:
    """Shade the marked samples, and say what they are."""
    flanks = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    period = seconds[1] - seconds[0] if seconds.size > 1 else 0
    for lo, hi in flanks.reshape(-1, 2):
        label = "not determined" if lo == flanks[0] else None
        ax.axvspan(seconds[lo] - period / 2, seconds[hi - 1] + period / 2, color="0.85", linewidth=0, label=label)
