"""From arguments to jobs: everything that shapes and windows decide, worked out and judged before any work.

The plans of recent calls are kept (keyed by value and type), so a repeated call reads its arguments only once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from .arguments import boolean, choice, error, integer, number
from .backends import backend_for
from .frames import PAD_ALIASES, PAD_MODES, Frames, Placement, sizes
from .jobs import Analysis, Synthesis
from .windows import (
    HopPeriodic,
    NOLAError,
    Normalisation,
    WindowKey,
    covered,
    normalisation,
    window_key,
    window_samples,
)

SCALINGS = (None, "ortho", "spectrum", "psd")


class Layout(NamedTuple):
    """The sizes of a transform, read and checked, and its window in a form that can be hashed (None: no window)."""

    n_fft: int
    hop: int
    win_length: int
    window: WindowKey | None

    def samples(self, function: str, name: str, key: WindowKey | None) -> np.ndarray:
        """A window of this layout, float64 (n_fft,)."""
        if key is None:
            return np.ones(self.n_fft)
        return window_samples(function, name, key, self.win_length, self.n_fft)


class Inverse(NamedTuple):
    """A synthesis job, and the text of the warning that goes with it (or None)."""

    job: Synthesis
    warning: str | None


def layout(function: str, n_fft: Any, hop_length: Any, win_length: Any, window: Any, array: Any) -> Layout:
    """Sizes and window as given; a window array that fits into n_fft brings its own win_length."""
    size = _array_size(window)
    if win_length is None and size is not None and isinstance(n_fft, (int, np.integer)) and 0 < size < n_fft:
        win_length = size
    n_fft, hop, win_length = sizes(function, n_fft, hop_length, win_length)
    return Layout(n_fft, hop, win_length, read_window(function, "window", window, win_length, array))


def layout_without_window(function: str, n_fft: Any, hop_length: Any) -> Layout:
    n_fft, hop, win_length = sizes(function, n_fft, hop_length, None)
    return Layout(n_fft, hop, win_length, None)


def spectrum_layout(X: Any, n_fft: Any, hop_length: Any, win_length: Any, window: Any, onesided: bool) -> Layout:
    """The sizes that a spectrum (..., n_bins, n_frames) and the arguments of `istft` agree on."""
    if isinstance(window, str):
        return planned(_shape_layout, X.shape, n_fft, hop_length, win_length, window, onesided, None)
    return _shape_layout.__wrapped__(X.shape, n_fft, hop_length, win_length, window, onesided, X)


@lru_cache(maxsize=128, typed=True)
def _shape_layout(
    shape: tuple[int, ...], n_fft: Any, hop_length: Any, win_length: Any, window: Any, onesided: bool, array: Any
) -> Layout:
    n_bins, n_frames = shape[-2:]
    if n_fft is None:
        n_fft = 2 * (n_bins - 1) if onesided else n_bins
        if n_fft < 2:
            raise error(ValueError, "istft", "X", "at least 2 bins, or n_fft=", n_bins)
        size = _array_size(window)
        if size is not None and win_length is None:
            if (size // 2 + 1 if onesided else size) != n_bins:
                need = f"length {n_fft} (from {n_bins} bins)"
                raise error(ValueError, "istft", "window", need, size, "or pass n_fft= or win_length=")
            n_fft = size
    chosen = layout("istft", n_fft, hop_length, win_length, window, array)
    due = chosen.n_fft // 2 + 1 if onesided else chosen.n_fft
    if n_bins != due:
        hint = ""
        if n_frames == due:
            hint = "are the last two axes swapped?"
        elif onesided and n_bins == chosen.n_fft:
            hint = "for two-sided data pass onesided=False"
        need = f"{due} bins for n_fft={chosen.n_fft}{'' if onesided else ', onesided=False'}"
        raise error(ValueError, "istft", "X", need, n_bins, hint)
    if n_frames < 1:
        raise error(ValueError, "istft", "X", "at least 1 frame", f"shape {tuple(shape)}")
    return chosen


def read_window(function: str, name: str, window: Any, win_length: int, array: Any) -> WindowKey:
    """A window in hashable form; samples must be NumPy's, or of the library and device of `array`, if that is there."""
    if not (isinstance(window, (str, tuple, list, np.ndarray)) or callable(window) or window is None):
        known = array is not None and backend_for(window) is not None
        if not known or array_api_compat.array_namespace(window) is not array_api_compat.array_namespace(array):
            library = "NumPy" if array is None else f"NumPy or of the library of the data ({type(array).__module__})"
            raise error(TypeError, function, name, f"a name, or an array of {library}", type(window).__qualname__)
        ours, theirs = array_api_compat.device(array), array_api_compat.device(window)
        if ours is not None and theirs is not None and ours != theirs:
            raise error(ValueError, function, name, f"the device of the data ({ours})", theirs)
    return window_key(function, name, window, win_length)


def read_padding(function: str, padding: Any) -> Any:
    """`padding` in hashable form; pairs are checked here, since a cache takes (1, 2) and (1.0, 2.0) for the same."""
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        return tuple(integer(function, "padding", side, 0) for side in padding)
    return padding


def read_pad_mode(function: str, pad_mode: Any) -> str:
    """NumPy's name of a padding mode."""
    pad_mode = PAD_ALIASES.get(pad_mode, pad_mode) if isinstance(pad_mode, str) else pad_mode
    return choice(function, "pad_mode", pad_mode, PAD_MODES)


def planned(plan: Callable[..., Any], *arguments: Any) -> Any:
    """plan(*arguments) from its cache, or uncached where an argument cannot be hashed: it will be refused by name.

    Sizes that a compiler holds as symbols cannot be hashed either; here they become numbers.
    """
    try:
        hash(arguments)
    except TypeError:
        arguments = tuple(map(_size, arguments))
        try:
            hash(arguments)
        except TypeError:
            return plan.__wrapped__(*arguments)  # type: ignore[attr-defined]
    return plan(*arguments)


def _size(argument: Any) -> Any:
    try:
        hash(argument)
    except TypeError:
        return operator.index(argument) if type(argument).__name__ == "SymInt" else argument
    return argument


@lru_cache(maxsize=64, typed=True)
def inverse(
    chosen: Layout,
    synthesis_window: WindowKey,
    n_frames: int,
    center: Any,
    padding: Any,
    length: Any,
    onesided: bool,
    real: Any,
    scaling: Any,
    nola: Any,
    max_gain: Any,
    precision: str,
    floor: float | None = None,
    normalize: Any = True,
) -> Inverse:
    """The inverse of `n_frames` frames, judged: NOLAError, or a warning, where samples asked for are not determined.

    Those are samples with less than `floor` of the largest overlap; by default eps**2 of the precision.
    """
    if not boolean("istft", "real", real) and onesided:
        raise error(ValueError, "istft", "real", "True for a one-sided spectrum", real, "pass onesided=False")
    choice("istft", "nola", nola, ("warn", "raise", "zero"))
    max_gain = None if max_gain is None else number("istft", "max_gain", max_gain, 1)
    placement = Placement.of("istft", chosen.n_fft, chosen.hop, chosen.win_length, center, padding)
    laid = laid_out("istft", "X", placement, n_frames, length)
    samples = chosen.samples("istft", "window", chosen.window)
    factor = scale("istft", scaling, samples)
    if not boolean("istft", "normalize", normalize):
        if max_gain is not None:
            raise error(ValueError, "istft", "max_gain", "None with normalize=False", max_gain)
        window = chosen.samples("istft", "synthesis_window", synthesis_window) / factor
        window.flags.writeable = False
        return Inverse(Synthesis(laid, window, None, onesided, bool(real)), None)
    if nola != "zero" and chosen.hop > chosen.win_length and laid.segment(laid.start, laid.stop)[1].n_frames > 1:
        need = f"<= win_length={chosen.win_length}, else samples lie in no frame"
        raise error(NOLAError, "istft", "hop_length", need, chosen.hop)
    analysis, synthesis = _unit_peak("istft", chosen, synthesis_window)
    eps = float(np.finfo(precision).eps if floor is None else np.sqrt(floor))
    try:
        pair = normalisation(analysis, synthesis, laid, eps, max_gain)
    except MemoryError as cause:  # a hop beyond all sizes, of which `length` leaves the first frame
        need = f"{8 * chosen.hop} bytes for the gain of hop_length={chosen.hop}"
        raise error(MemoryError, "istft", "memory", need, cause) from cause
    warning = None if nola == "zero" else _judged(laid, chosen.hop, pair.gain, nola)
    # The gain is that of windows with a peak of 1: the analysis window's true scale goes into the synthesis window.
    window = synthesis / np.abs(samples).max() / factor
    window.flags.writeable = False
    return Inverse(Synthesis(laid, window, pair.gain, onesided, bool(real)), warning)


@lru_cache(maxsize=64, typed=True)
def forward(
    function: str,
    chosen: Layout,
    n_samples: int,
    center: Any,
    padding: Any,
    pad_mode: Any,
    onesided: bool,
    scaling: Any,
) -> Analysis:
    """The frames of a signal of `n_samples` samples, and their window, scaled."""
    pad_mode = read_pad_mode(function, pad_mode)
    placement = Placement.of(function, chosen.n_fft, chosen.hop, chosen.win_length, center, padding)
    n_frames = placement.n_frames(n_samples)
    if n_frames < 1:
        least = 1 if placement.whole else max(1, chosen.n_fft - placement.left - placement.right)
        raise error(ValueError, function, "x", f"at least {least} samples for n_fft={chosen.n_fft}", n_samples)
    if n_samples < 1 and pad_mode != "constant":
        raise error(ValueError, function, "x", f"at least 1 sample for pad_mode={pad_mode!r}", n_samples)
    window = None
    if chosen.window is not None:
        samples = chosen.samples(function, "window", chosen.window)
        window = samples * scale(function, scaling, samples)
        window.flags.writeable = False
    return Analysis(placement.frames(n_frames, n_samples), window, onesided, pad_mode)


def pair_normalisation(
    function: str, chosen: Layout, synthesis_window: WindowKey, laid: Frames, eps: float
) -> Normalisation:
    """The exact normalisation of a window pair over `laid`, judged by nobody."""
    analysis, synthesis = _unit_peak(function, chosen, synthesis_window)
    return normalisation(analysis, synthesis, laid, eps)


def laid_out(function: str, name: str, placement: Placement, n_frames: int, length: Any) -> Frames:
    """`n_frames` frames about `length` samples, or about as many as belong to them."""
    if length is not None:
        length = integer(function, "length", length, 1)
        reach = placement.n_fft + placement.hop * (n_frames - 1) - placement.left
        if length > 2 * reach + placement.n_fft:
            need = f"<= {2 * reach + placement.n_fft} (2 x covered + n_fft)"
            raise error(ValueError, function, "length", need, length)
        return placement.frames(n_frames, length)
    n_samples = placement.n_samples(n_frames)
    if n_samples < 1:
        missing = -(-(1 - n_samples) // placement.hop)
        need = f"{n_frames + missing} frames or a length= with {placement.left} + {placement.right} samples of padding"
        raise error(ValueError, function, name, need, f"{n_frames} frame{'s' if n_frames > 1 else ''}")
    return placement.frames(n_frames, n_samples)


def _unit_peak(function: str, chosen: Layout, synthesis_window: WindowKey) -> list[np.ndarray]:
    """Analysis and synthesis window, each divided by its peak: the scale of a window decides nothing."""
    pair = []
    for name, key in (("window", chosen.window), ("synthesis_window", synthesis_window)):
        samples = chosen.samples(function, name, key)
        peak = np.abs(samples).max()
        if peak == 0:
            raise error(NOLAError, function, name, "a non-zero sample", "all zeros")
        pair.append(samples / peak)
    return pair


def _judged(laid: Frames, hop: int, gain: HopPeriodic, nola: str) -> str | None:
    """NOLAError where samples asked for are not determined as `nola` demands; else what to warn of, if anything."""
    known = covered(gain, laid)
    if known.stop == 0:
        raise error(NOLAError, "istft", "window", "overlap > 0 at some sample asked for", 0)
    if known.hole is not None:
        got = f"0 at sample {known.hole} (hop_length={hop})"
        raise error(NOLAError, "istft", "window", "overlap > 0 at every sample", got)
    ends = [(0, known.start), (known.stop, laid.n_samples)]
    ranges = " and ".join(f"[{lo}, {hi})" for lo, hi in ends if lo < hi)
    if not ranges:
        return None
    name = "length" if laid.stop > laid.span else "window"
    if nola == "raise":
        raise error(NOLAError, "istft", name, "overlap > 0 at every sample", f"0 in samples {ranges}")
    return f"istft: {name}: samples {ranges} of {laid.n_samples} lie under no window weight and are set to 0"


def _array_size(window: Any) -> int | None:
    """Samples of a window given as an array or list; None for names and callables."""
    if isinstance(window, (str, tuple)) or callable(window):
        return None
    shape: tuple[int, ...] = np.shape(window) if isinstance(window, list) else getattr(window, "shape", ())
    return int(shape[0]) if len(shape) == 1 else None


def scale(function: str, scaling: Any, window: np.ndarray) -> float:
    """What the forward map is multiplied by."""
    choice(function, "scaling", scaling, SCALINGS)
    if scaling is None:
        return 1.0
    if scaling == "ortho":
        return float(window.size**-0.5)
    weight = np.abs(window.sum()) if scaling == "spectrum" else np.sqrt((window**2).sum())
    if not weight > 0:
        raise error(ValueError, function, "window", f"a sum other than 0 for scaling={scaling!r}", float(weight))
    return float(1 / weight)
