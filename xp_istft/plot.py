"""Pictures of spectra, windows and convergence on matplotlib's Axes: seconds, Hz and decibels.

Each function draws on `ax` (or on a new figure), returns the Axes, and takes arrays of any library. matplotlib is the
extra [plot]; nothing else of the package imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from . import arrays
from .arguments import boolean, error, hinted, integer, number, positive, shown
from .backends import backend_for
from .decibels import to_db
from .dtypes import COMPLEX, HALVES, REAL, dtype_name
from .frames import Frames
from .transform import STFT, read_length
from .windows import normalisation, real_values

_COLUMNS = 1600  # no more than can be seen


@hinted
def plot_spectrogram(
    X: Any,
    transform: STFT | None = None,
    *,
    sr: float,
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
    transform : STFT, optional
        That whose spectrum X is; default STFT(2 * (n_bins - 1)).
    sr : float
        Sampling rate in Hz; that of the transform's `Frequencies`, where it has them.
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
        X is no single spectrum of the transform, or an argument has a wrong value.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> from xp_istft.plot import plot_spectrogram
    >>> X = xi.stft(np.random.default_rng(0).standard_normal(16000), 512)
    >>> ax = plot_spectrogram(X, sr=16000)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('time (s)', 'frequency (Hz)')
    """
    backend, X = arrays.read("plot_spectrogram", "X", X)
    if dtype_name(X) not in (*REAL, *COMPLEX, *HALVES):
        raise error(TypeError, "plot_spectrogram", "X", "a floating dtype, real or complex", X.dtype)
    decibels = positive("plot_spectrogram", "decibels", decibels)
    magnitude = np.abs(backend.to_host(X))
    if magnitude.ndim != 2:
        got = f"shape {magnitude.shape}"
        raise error(ValueError, "plot_spectrogram", "X", "2 dimensions (bins, frames)", got, "draw channels one by one")
    n_bins, n_frames = magnitude.shape
    sr = number("plot_spectrogram", "sr", sr, 1e-9)
    if transform is None:
        transform = STFT.made_by("plot_spectrogram", n_fft=2 * (n_bins - 1))
    _checked("plot_spectrogram", transform).bins_and_frames("plot_spectrogram", "X", magnitude)
    hz = transform.bin_frequencies(sr)
    if not transform.onesided:
        hz, magnitude = np.fft.fftshift(hz), np.fft.fftshift(magnitude, axes=0)
    times = transform.frame_times(n_frames + 1, sr)
    times -= (times[1] - times[0]) / 2
    magnitude, times = _columns(magnitude, times)
    beside: Any = "max" if reference is None else number("plot_spectrogram", "reference", reference, 0) or 1.0
    level = to_db(magnitude, reference=beside, floor=None)
    top = level.max()

    ax = _axes("plot_spectrogram", ax)
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


@hinted
def plot_windows(transform: STFT, *, sr: float, ax: Axes | None = None) -> Axes:
    """Draw a pair of windows, what they leave of each sample inside a signal, and the gain that undoes it.

    Windows and overlap are divided by their largest values, the gain (1 / overlap) by its least. Samples under no
    window weight, which no inverse recovers, are shaded.

    Parameters
    ----------
    transform : STFT
        The transform whose windows these are.
    sr : float
        Sampling rate in Hz.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn.

    Raises
    ------
    ValueError, TypeError
        `transform` is no STFT, or `sr` has a wrong value.

    Examples
    --------
    >>> import xp_istft as xi
    >>> from xp_istft.plot import plot_windows
    >>> ax = plot_windows(xi.STFT(1024, 256), sr=16000)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['window, both ways', 'overlap (largest 1)', 'gain (least 1)']
    """
    transform = _with_windows_at_hand("plot_windows", transform)
    n_fft, hop, size = transform.placement.n_fft, transform.placement.hop, transform.win_length or 1
    left = (n_fft - size) // 2
    both = [transform.samples(), transform.synthesis_samples()]
    pair = [samples[left : left + size] / (np.abs(samples).max() or 1) for samples in both]
    frames = Frames(size, hop, -(-size // hop), 0, size)
    steady = normalisation(pair[0], pair[1], frames, float(np.finfo(np.float64).eps)).period
    gain = np.resize(steady, size)
    determined = gain != 0
    overlap = np.divide(1, gain, out=np.zeros_like(gain), where=determined)
    seconds = np.arange(size) / number("plot_windows", "sr", sr, 1e-9)
    pair = pair[: 1 if transform.synthesis_window is None else 2]

    ax = _axes("plot_windows", ax)
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


@hinted
def plot_coverage(
    transform: STFT, n_frames: int, *, sr: float, length: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how much noise each sample takes from the spectrum, in dB beside the interior; see `STFT.coverage`.

    Samples that the frames do not determine are shaded.

    Parameters
    ----------
    transform : STFT
        The transform.
    n_frames : int
        Frames of the spectrum.
    sr : float
        Sampling rate in Hz.
    length : int, optional
        Samples of the signal; default those that belong to the frames.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn.

    Raises
    ------
    ValueError, TypeError
        As `STFT.coverage`.

    Examples
    --------
    >>> import xp_istft as xi
    >>> from xp_istft.plot import plot_coverage
    >>> plot_coverage(xi.STFT(512, center=False), 20, sr=16000).get_ylabel()
    'noise gain (dB)'
    """
    n_frames, length = integer("plot_coverage", "n_frames", n_frames, 1), read_length("plot_coverage", length)
    determined, noise = _with_windows_at_hand("plot_coverage", transform).coverage(n_frames, length)
    seconds = np.arange(noise.size) / number("plot_coverage", "sr", sr, 1e-9)
    level = 20 * np.log10(np.where(determined & (noise > 0), noise, np.nan))
    ax = _axes("plot_coverage", ax)
    ax.plot(seconds, level)
    _shade(ax, seconds, ~determined)
    ax.set(xlabel="time (s)", ylabel="noise gain (dB)", xlim=(0, seconds[-1]))
    ax.grid(alpha=0.3)
    return ax


@hinted
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
    function = "plot_convergence"
    curves = values if isinstance(values, Mapping) else {"": values}
    if not curves:
        raise error(ValueError, function, "values", "at least 1 curve", 0)
    need = "a sequence of numbers, or a mapping of names to them"
    distances = {name: real_values(function, "values", curve, need) for name, curve in curves.items()}
    for curve in distances.values():
        if curve.ndim != 1 or not curve.size:
            raise error(ValueError, function, "values", need, f"shape {curve.shape}")
    if not isinstance(ylabel, str):
        raise error(TypeError, function, "ylabel", "a text", shown(ylabel))
    ax = _axes(function, ax)
    for name, amplitudes in distances.items():
        level = 20 * np.log10(np.where(amplitudes > 0, amplitudes, np.nan))
        ax.plot(1 + np.arange(level.size), level, label=name or None)
    ax.set(xlabel="iteration", ylabel=ylabel)
    ax.grid(alpha=0.3)
    if isinstance(values, Mapping):
        ax.legend()
    return ax


def _axes(function: str, ax: Axes | None) -> Axes:
    if ax is not None:
        if not isinstance(ax, Axes):
            raise error(TypeError, function, "ax", "a matplotlib.axes.Axes", type(ax).__name__)
        return ax
    from matplotlib import pyplot  # chooses a backend, so only where a figure must be made

    return pyplot.subplots(figsize=(7, 3), layout="constrained")[1]


def _checked(function: str, transform: Any) -> STFT:
    if not isinstance(transform, STFT):
        raise error(TypeError, function, "transform", "an STFT", type(transform).__name__)
    return transform


def _with_windows_at_hand(function: str, transform: Any) -> STFT:
    """The transform; of windows that are followed, or lie on a device, the one with their values."""
    transform = _checked(function, transform)
    windows = {name: getattr(transform, name) for name in ("window", "synthesis_window")}
    followed = {name: _host(window) for name, window in windows.items() if hasattr(window, "shape")}
    return replace(transform, **followed) if transform.followed else transform


def _host(array: Any) -> np.ndarray:
    """A NumPy array of an array of any library: off its graph, off its device, computed."""
    backend = backend_for(array)
    return np.asarray(array) if backend is None else backend.to_host(array)


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
