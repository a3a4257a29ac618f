"""The transform as a value: all that shapes, windows and options decide, read and checked when it is made.

Everything else takes one: streams, phase retrieval, modules, plots, blocks, the command line. It makes the jobs of the
backends (`Synthesis`, `Analysis`), judged before any work; those of recent calls are kept, keyed by value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import arrays, ragged
from .arguments import SYMBOLS, boolean, choice, error, hinted, integer, number, positive, public, warn
from .arrays import LAST, LAST_TWO, in_precision, moved, placed, placed_shape, read_axes
from .backends import Backend, backend_for, device, namespace, required_backend
from .backends.base import written
from .dtypes import COMPLEX, HALVES, PRECISION, REAL, SPECTRUM, WIDENED, complex_dtype, dtype_name, name_of, real_dtype
from .frames import MOST, Frames, Padding, Placement, read_pad_mode, sizes
from .frequencies import solvers
from .frequencies.bases import read_bins
from .frequencies.grids import Frequencies
from .frequencies.normal_equations import CLIP
from .frequencies.solvers import Dual, Solution, Solver
from .jobs import Analysis, Synthesis
from .settings import check_environment
from .windows import (
    CoverageWarning,
    HopPeriodic,
    NOLAError,
    Normalisation,
    WindowKey,
    check_scale,
    covered,
    noise_gain,
    normalisation,
    window_key,
    window_samples,
)

SCALINGS = (None, "ortho", "spectrum", "psd", "amplitude")
NOLA = ("warn", "raise", "zero")


class Coverage(NamedTuple):
    """What a pair of windows leaves of each sample.

    Parameters
    ----------
    determined : bool NumPy array (n_samples,)
        The frames determine this sample.
    noise_gain : float64 NumPy array (n_samples,)
        Amplitude of the noise here for white noise in the spectrum, relative to the noisiest sample of the interior;
        inf where the sample is not determined.
    """

    determined: np.ndarray
    noise_gain: np.ndarray


class Inverse(NamedTuple):
    """A synthesis job, and the text of the warning that goes with it (or None)."""

    job: Synthesis
    warning: str | None


@dataclass(frozen=True, eq=False, repr=False)
class STFT:
    """A short-time Fourier transform and its inverse, as a value: `t.istft(t.stft(x))` is x.

    The forward transform, with analysis window w, hop h and p samples of padding before the signal, and its inverse,
    with synthesis window v:

        X[k, m] = sum_n w[n] x[m h + n - p] exp(-2 pi i k n / n_fft)
        x[t] = sum_m v[t - m h] y_m[t - m h] / sum_m v[t - m h] w[t - m h],   y_m = irfft(X[:, m])

    For v = w that is the least-squares inverse of Griffin & Lim (IEEE ASSP 32(2), 1984); for any v it gives back
    exactly the signal that X is the transform of.

    Read and checked when it is made. Frozen, equal and hashed by content (by identity, where a window or basis is
    followed by automatic differentiation or lies on a device). It can be shared by threads, pickled and copied;
    `dataclasses.replace` makes variants.

    Parameters
    ----------
    n_fft : int
        Samples of a frame, at least 2; any size, odd and prime ones too.
    hop_length : int, optional
        Samples between the starts of neighbouring frames; default win_length // 4.
    win_length : int, optional
        Samples of the window, at most n_fft; it lies in the middle of the frame. Default n_fft, or the size of a
        window array.
    window : str, tuple, callable or real array (win_length,)
        Analysis window: a name or tuple of `scipy.signal.get_window` (periodic), a callable of win_length, or
        samples. Gradients with respect to an array of torch or JAX are followed through the normalisation, any order,
        forward and backward.
    synthesis_window : like `window`, optional
        Window of the inverse; default the analysis window.
    center : bool
        Frame m is centred on sample m * hop_length (n_fft // 2 samples of padding on both sides); else it starts
        there.
    padding : "same", "full", int or (int, int), optional
        Placement of the frames, in place of `center`: "same" makes hop_length samples a frame (neural vocoders),
        "full" means that every sample is reached by every frame that could reach it, numbers are samples of padding
        before and after the signal. With "same" and "full" the last, partial hop gets a frame of its own.
    pad_mode : "constant", "reflect", "edge", "symmetric", "wrap" or None
        What stands before and after the signal, as in numpy.pad ("constant" is zeros); also under torch's and
        scipy's names "replicate", "circular", "zeros" and "even" (reflect). At other frequencies the inverse uses it
        where `length` is known: fewer iterations, and better ends. None: not known; zeros in `stft`.
    onesided : bool
        Spectra have n_fft // 2 + 1 bins, signals are real; else n_fft bins, signals are real or complex, and the
        inverse is complex: take ``.real`` of a real signal.
    scaling : None, "ortho", "spectrum", "psd" or "amplitude"
        What the forward map is multiplied by: nothing, 1 / sqrt(n_fft), 1 / sum(w), 1 / sqrt(sum(w**2)). "amplitude"
        is "spectrum" with every bin doubled that stands for a negative frequency, too: all of one-sided bins but DC
        and (even n_fft) Nyquist. A sine of amplitude 1 gives 1; of two sides it is "spectrum". The bins of the DFT.
    frequencies : Frequencies or complex array (n_bins, n_fft), optional
        The frequencies of the bins (`linear_frequencies`, `log_frequencies`, `Frequencies`), or any basis that the
        windowed frames are multiplied with. Default the bins of the DFT. The inverse of other bins is the
        regularised least-squares solution that docs/frequencies.md describes, with what it guarantees.
    solver : Dual, PerFrame or Adjoint
        How the inverse of other bins than the DFT's is found. The DFT's have one in closed form, which is what `Dual`
        with its default weights comes to.
    nola : "warn", "raise" or "zero"
        What happens to samples under no window weight (overlap at most eps**2 of its largest value): at the ends
        they are 0 with a `CoverageWarning` ("warn"), an error ("raise") or 0 in silence ("zero"); inside they are an
        error, but for "zero".
    max_gain : float, optional
        Bound on how much noise in X is amplified near the ends, relative to the interior (see `coverage`); at least
        1. The default keeps the inverse exact, but a *modified* spectrum can then explode where only the flank of
        one window reaches a sample; 10 is a good bound there.

    Raises
    ------
    ValueError, TypeError
        A parameter has a wrong value, or is of a wrong kind; the text names it, what was needed and what came.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> t = xi.STFT(n_fft=512, hop_length=128, window="hamming")
    >>> x = np.random.default_rng(0).standard_normal(4000)
    >>> X = t.stft(x)
    >>> bool(np.allclose(t.istft(X, length=4000), x)), t.n_frames(4000), t.n_samples(32)
    (True, 32, 3968)
    >>> t == xi.STFT(512, 128, window="hamming"), t
    (True, STFT(n_fft=512, hop_length=128, window='hamming'))
    """

    n_fft: int = 2048
    hop_length: int = None  # type: ignore[assignment]  # an int once it is read
    win_length: int = None  # type: ignore[assignment]
    window: Any = "hann"
    synthesis_window: Any = None
    center: bool = True
    padding: Padding = None
    pad_mode: str | None = "constant"
    onesided: bool = True
    scaling: str | None = None
    frequencies: Any = None
    solver: Solver = Dual()  # noqa: RUF009  frozen
    nola: str = "warn"
    max_gain: float | None = None

    placement: Placement = field(init=False)
    n_bins: int = field(init=False)
    bins: Any = field(init=False)  # Frequencies, Basis, or what stands for a followed basis; None: the DFT's
    basis: Any = field(init=False)  # the followed one
    closed: bool = field(init=False)  # the inverse is in closed form
    amplitudes: bool = field(init=False)  # DC and Nyquist are half of what the jobs make of them
    followed: bool = field(init=False)  # a window is an array of the data's library: differentiated, or on a device
    _keys: tuple[Any, Any] = field(init=False)  # of the two windows, None where they are followed
    _content: Any = field(init=False)  # all that decides, in a form that can be hashed; None: followed
    _hash: int = field(init=False)

    def __post_init__(self) -> None:
        self._read("STFT")

    @classmethod
    def made_by(cls, function: str, **given: Any) -> STFT:
        """A transform of these fields; errors name `function`."""
        made = object.__new__(cls)
        for each in fields(cls):
            if each.init:
                object.__setattr__(made, each.name, given.get(each.name, each.default))
        made._read(function)
        return made

    def _read(self, function: str) -> None:
        """Check the fields and put in their place what was read."""
        check_environment()
        n_fft, win_length = self.n_fft, self.win_length
        if win_length is None:
            size = array_size(self.window)
            if size is not None and isinstance(n_fft, (int, np.integer)) and 0 < size < n_fft:
                win_length = size
        n_fft, hop, win_length = sizes(function, n_fft, self.hop_length, win_length)
        self._set(n_fft=n_fft, hop_length=hop, win_length=win_length)
        window, key = _read_window(function, "window", self.window, win_length)
        synthesis, synthesis_key = None, key
        if self.synthesis_window is not None:
            synthesis, synthesis_key = _read_window(function, "synthesis_window", self.synthesis_window, win_length)
        self._set(window=window, synthesis_window=synthesis, _keys=(key, synthesis_key))
        self._set(followed=key is None or synthesis_key is None)
        placement = Placement.of(function, n_fft, hop, win_length, self.center, self.padding)
        padding = self.padding
        if isinstance(padding, str):
            padding = str.__str__(padding)
        elif padding is not None:
            padding = (placement.left, placement.right)
        self._set(placement=placement, center=bool(self.center), padding=padding)
        if self.pad_mode is not None:
            self._set(pad_mode=read_pad_mode(function, self.pad_mode))
        self._set(onesided=boolean(function, "onesided", self.onesided))
        self._set(scaling=choice(function, "scaling", self.scaling, SCALINGS))
        self._set(amplitudes=self.scaling == "amplitude" and self.onesided)
        self._set(nola=choice(function, "nola", self.nola, NOLA))
        if self.max_gain is not None:
            self._set(max_gain=number(function, "max_gain", self.max_gain, 1))
        self._read_bins(function)
        frequencies = None if self.frequencies is None else self.bins or self.frequencies
        self._set(_content=None, _hash=id(self))
        if not self.followed and self.basis is None:
            content = (
                n_fft, hop, win_length, *self._keys, self.center, padding, self.pad_mode, self.onesided, self.scaling,
                frequencies, self.solver, self.nola, self.max_gain,
            )  # fmt: skip
            self._set(_content=content, _hash=hash(content))
        for name, each in zip(("window", "synthesis_window"), self._keys, strict=True):
            if each is not None:  # unknown names, and scales beyond float64, are refused here
                window_samples(function, name, each, win_length, n_fft)
        if key is not None:
            _scale(function, self.scaling, self.amplitudes, self.samples())

    def _read_bins(self, function: str) -> None:
        if not isinstance(self.solver, Solver):
            need = "xp_istft.Dual, PerFrame or Adjoint"
            raise error(TypeError, function, "solver", need, type(self.solver).__qualname__)
        bins = basis = None
        n_bins = self.n_fft // 2 + 1 if self.onesided else self.n_fft
        if self.frequencies is not None:
            bins, basis = read_bins(function, self.frequencies, self.n_fft)
            n_bins = len(bins)
            if isinstance(bins, Frequencies) and bins.is_dft(self.n_fft):
                bins = None
        if bins is not None and self.scaling == "amplitude":
            need = "another one with frequencies=, whose bins stand for no pairs of frequencies"
            raise error(ValueError, function, "scaling", need, repr(self.scaling))
        self._set(n_bins=n_bins, bins=bins, basis=basis, closed=bins is None and self.solver.closed)
        cause = "frequencies=" if self.frequencies is not None else f"solver={type(self.solver).__name__}"
        if not (self.onesided or (self.frequencies is None and self.closed)):
            raise error(ValueError, function, "onesided", f"True with {cause} (bins of real signals)", False)
        if not self.closed and self.synthesis_window is not None:
            hint = "the inverse is that of least squares"
            raise error(ValueError, function, "synthesis_window", f"None with {cause}", "a window", hint)
        self.solver.check(function, self)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def judged(self, nola: str, max_gain: float | None) -> STFT:
        """The same transform with another `nola` and `max_gain`, both read: sooner than by `replace`."""
        made = object.__new__(STFT)
        made.__dict__.update(self.__dict__)
        made.__dict__.pop("host", None)
        made._set(nola=nola, max_gain=max_gain, _hash=id(made))
        if self._content is not None:
            content = (*self._content[:-2], nola, max_gain)
            made._set(_content=content, _hash=hash(content))
        return made

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, STFT) and self._content is not None and self._content == other._content

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        shown = []
        for each in fields(self):
            value = getattr(self, each.name)
            usual = self.n_fft if each.name == "win_length" else each.default
            if not each.init or (each.name not in ("n_fft", "hop_length") and _same(value, usual)):
                continue
            text = f"<{type(value).__name__} {tuple(value.shape)}>" if hasattr(value, "shape") else repr(value)
            shown.append(f"{each.name}={text}")
        return f"STFT({', '.join(shown)})"

    def __reduce__(self) -> Any:
        return _remade, ({each.name: getattr(self, each.name) for each in fields(self) if each.init},)

    # ---- the transforms

    def stft(
        self,
        x: Any,
        *,
        lengths: Any = None,
        axis: int = -1,
        axes: tuple[int, int] = LAST_TWO,
        out: Any = None,
        workers: int | None = None,
    ) -> Any:
        """Short-time Fourier transform of x (..., n_samples): (..., n_bins, n_frames). See `xp_istft.stft`."""
        if lengths is None:
            return forward_step(x, self, axis, axes, out, workers)
        return forward_step(x, self, axis, axes, out, workers, lengths=lengths)

    def istft(
        self,
        X: Any,
        *,
        length: int | None = None,
        lengths: Any = None,
        axes: tuple[int, int] = LAST_TWO,
        out: Any = None,
        workers: int | None = None,
    ) -> Any:
        """Signal (..., n_samples) of the spectrum X (..., n_bins, n_frames). See `xp_istft.istft`.

        At other frequencies than the DFT's, with length=, the padding of the analysis is known, and used.
        """
        if lengths is None:
            return inverse_step(X, self, length, axes, out, workers)
        return inverse_step(X, self, length, axes, out, workers, lengths=lengths)

    def solve(self, X: Any, *, length: int | None = None, callback: Any = None) -> Solution:
        """The inverse with what can be said of it, by iterations, also for the bins of the DFT.

        Parameters
        ----------
        X : complex array (..., n_bins, n_frames)
            Spectrum, of any library and device whose values are at hand.
        length : int, optional
            Samples of the signal.
        callback : callable, optional
            Called with (iteration, residual) after each iteration, counted from 1: the largest residual of the normal
            equations, relative, of all signals.

        Returns
        -------
        Solution
            The signal, and how it came about.

        Raises
        ------
        ValueError, TypeError
            As `istft`; `solver` is no `Dual`, or X is not computed yet.

        Examples
        --------
        >>> import numpy as np, xp_istft as xi
        >>> t = xi.STFT(512, frequencies=xi.linear_frequencies(400, 0, 4000, sr=8000))
        >>> x = np.random.default_rng(0).standard_normal(4000)
        >>> found = t.solve(t.stft(x), length=4000)
        >>> bool(found.converged), bool(abs(found.signal - x).max() < 1e-4)
        (True, True)
        """
        return solved(X, self, length, callback)

    # ---- counts and times

    def n_frames(self, n_samples: int) -> int:
        """Number of frames that `stft` makes of a signal of n_samples samples.

        >>> STFT(512, 128).n_frames(16000), STFT(512, 128, padding="same").n_frames(16000)
        (126, 125)
        """
        return self.placement.n_frames(integer("n_frames", "n_samples", n_samples, 0))

    def n_samples(self, n_frames: int) -> int:
        """Number of samples that `istft` makes of n_frames frames without length=.

        >>> STFT(512, 128).n_samples(126), STFT(512, 128, padding="same").n_samples(125)
        (16000, 16000)
        """
        return max(0, self.placement.n_samples(integer("n_samples", "n_frames", n_frames, 0)))

    @hinted
    def frame_mask(self, lengths: Any, n_frames: int | None = None) -> Any:
        """Which frames of `stft` with lengths= belong to their item.

        Parameters
        ----------
        lengths : integers (...)
            Samples of each item: in a list, or an array of any library.
        n_frames : int, optional
            Frames of the batch; default those of the longest item.

        Returns
        -------
        bool array (..., n_frames)
            Of the library of `lengths`; NumPy's for a list.

        Raises
        ------
        ValueError, TypeError
            An argument has a wrong value, or is of a wrong kind; or `n_frames` is missing where the values of `lengths`
            are not at hand (on a device, under a compiler).

        Examples
        --------
        >>> import xp_istft as xi
        >>> xi.STFT(8, 2).frame_mask([1, 5, 8])
        array([[ True, False, False, False, False],
               [ True,  True,  True, False, False],
               [ True,  True,  True,  True,  True]])
        """
        return ragged.frame_mask(self, lengths, n_frames)

    @hinted
    def frame_times(self, n_frames: int, sr: float = 1.0) -> np.ndarray:
        """Time of the middle (sample n_fft // 2) of each frame, float64 (n_frames,).

        In seconds from the first sample of the signal, for a sampling rate of `sr` Hz; by default in samples.

        >>> STFT(512, 160).frame_times(4, sr=16000)
        array([0.  , 0.01, 0.02, 0.03])
        """
        count = integer("frame_times", "n_frames", n_frames, 0, MOST)
        middles = np.arange(count, dtype=np.float64) * self.hop_length + (self.n_fft // 2 - self.placement.left)
        return middles / positive("frame_times", "sr", sr)

    @hinted
    def bin_frequencies(self, sr: float | None = None) -> np.ndarray:
        """Frequency of each bin in Hz, float64 (n_bins,), for a sampling rate of `sr` Hz.

        Without `sr` in cycles per sample, but those of `Frequencies` in Hz by their own sampling rate. The upper half
        of two-sided bins is negative, as numpy.fft.fftfreq has it.

        >>> STFT(8).bin_frequencies(sr=16000)
        array([   0., 2000., 4000., 6000., 8000.])
        """
        function, grid = "bin_frequencies", self.frequencies
        if isinstance(grid, Frequencies):
            if sr is not None and number(function, "sr", sr) != grid.sr:
                raise error(ValueError, function, "sr", f"None, or that of the frequencies ({grid.sr:g})", sr)
            return grid.hz
        if self.bins is not None:
            raise error(ValueError, function, "frequencies", "Frequencies or None", "a basis, which has none")
        spacing = (1.0 if sr is None else positive(function, "sr", sr)) / self.n_fft
        if self.onesided:
            return np.arange(self.n_bins) * spacing
        return np.fft.ifftshift(np.arange(self.n_fft) - self.n_fft // 2) * spacing

    @hinted
    def coverage(self, n_frames: int, length: int | None = None, dtype: str = "float64") -> Coverage:
        """Which samples `n_frames` frames determine, and how much noise each takes from the spectrum.

        The noise gain of sample t is sqrt(sum_m v[t - m h]**2) / abs(sum_m v[t - m h] w[t - m h]), relative to its
        largest value in the steady state. Where it is large, exactness is bought with noise: see `max_gain`.

        Parameters
        ----------
        n_frames : int
            Frames of the spectrum.
        length : int, optional
            Samples of the signal; default those that belong to the frames.
        dtype : "float32" or "float64"
            Precision whose rounding decides what is determined.

        Returns
        -------
        Coverage
            (determined, noise_gain), two NumPy arrays (n_samples,).

        Raises
        ------
        ValueError, TypeError
            As `istft`, but never for holes.

        Examples
        --------
        >>> import xp_istft as xi
        >>> determined, noise_gain = xi.STFT(8, 2, center=False).coverage(10)
        >>> int(determined.argmin()), int((~determined).sum()), float(noise_gain[1:5].round(2).max())
        (0, 1, 8.36)
        """
        function = "coverage"
        n_frames = integer(function, "n_frames", n_frames, 1, MOST)
        eps = float(np.finfo(choice(function, "dtype", dtype, REAL)).eps)
        laid = laid_out(function, "n_frames", self.placement, n_frames, read_length(function, length))
        w, v = self.host._unit_peak(function)
        determined = normalisation(w, v, laid, eps).samples(laid.start, laid.stop) != 0
        noise = noise_gain(w, v, laid, eps).samples(laid.start, laid.stop)
        return Coverage(determined, np.where(determined, noise, np.inf))

    # ---- for the package's own use: windows and jobs

    @cached_property
    def host(self) -> STFT:
        """The transform itself; of followed windows its twin with their values, where they are at hand, or ones.

        It decides what can be decided without waiting: where frames lie, and what they cover.
        """
        if self._content is not None:
            return self
        given: dict[str, Any] = {name: _at_hand(getattr(self, name)) for name in ("window", "synthesis_window")}
        return replace(self, **given, frequencies=None, solver=Dual())

    def samples(self) -> np.ndarray:
        """The analysis window on the host, float64 (n_fft,), read-only."""
        return window_samples("STFT", "window", self.host._keys[0], self.win_length, self.n_fft)

    def synthesis_samples(self) -> np.ndarray:
        """The synthesis window on the host, float64 (n_fft,), read-only."""
        return window_samples("STFT", "synthesis_window", self.host._keys[1], self.win_length, self.n_fft)

    @property
    def scale(self) -> float:
        """What the jobs multiply the forward map by, with the window on the host."""
        return _scale("STFT", self.scaling, self.amplitudes, self.samples())

    def analysis(self, function: str, n_samples: int, like: Any) -> Analysis:
        """The job that makes the frames of a signal of n_samples samples.

        like : an array of the signal's library and precision, or (unless a window is followed) the name of its dtype
        """
        name = like if isinstance(like, str) else name_of(type(like.dtype), like.dtype)
        precision = PRECISION[WIDENED.get(name, name)]
        if type(n_samples) in SYMBOLS:  # which cannot be looked up
            job = _analysis.__wrapped__(self.host, function, n_samples, precision)
        else:
            job = _analysis(self.host, function, int(n_samples), precision)
        if self._keys[0] is not None:
            return job
        window = self._followed_window(function, "window", like)
        return replace(job, window=window * _followed_scale(self.scaling, self.amplitudes, window))

    def synthesis(
        self, function: str, n_frames: int, length: int | None, like: Any, nola: str | None = None, closed: bool = True
    ) -> Inverse:
        """The job that makes the signal of n_frames frames, and the warning that goes with it.

        like   : an array of the spectrum's library and precision, or the name of its dtype
        nola   : in place of the transform's own
        closed : whether the closed form is taken where the transform has one

        Raises NOLAError where samples asked for are not determined.
        """
        name = like if isinstance(like, str) else name_of(type(like.dtype), like.dtype)
        precision = PRECISION[WIDENED.get(name, name)]
        floor = None if (self.closed and closed) or not isinstance(self.solver, Dual) else CLIP[precision]
        given = precision, nola or self.nola, floor
        if (type(n_frames) in SYMBOLS or type(length) in SYMBOLS) and floor is None:
            made = _synthesis_of_any(self.host, function, n_frames, length, *given)
        else:
            length = None if length is None else int(length)
            made = _synthesis(self.host, function, int(n_frames), length, *given)
        return self._with_followed_windows(function, made, precision, like) if self.followed else made

    def _with_followed_windows(self, function: str, made: Inverse, precision: str, like: Any) -> Inverse:
        xp = namespace(like)
        analysis = self._followed_window(function, "window", like)
        synthesis = analysis
        if self.synthesis_window is not None:
            synthesis = self._followed_window(function, "synthesis_window", like)
        scale = _followed_scale(self.scaling, self.amplitudes, analysis)
        # The scale of a window decides nothing: the gain is that of windows with a peak of 1.
        peaks = [xp.max(xp.abs(window), axis=0) for window in (analysis, synthesis)]
        peaks = [xp.where(peak > 0, peak, xp.ones_like(peak)) for peak in peaks]
        unit = [window / peak for window, peak in zip((analysis, synthesis), peaks, strict=True)]
        eps = float(np.finfo(precision).eps)
        decided = Normalisation.of(unit[0], unit[1], made.job.frames.hop, eps, self.max_gain)
        gain = decided.gain(made.job.frames).map(lambda gain: xp.astype(gain, getattr(xp, precision)))
        window = unit[1] / peaks[0] / scale
        return made._replace(job=replace(made.job, window=window, gain=gain, decided=decided))

    def _followed_window(self, function: str, name: str, like: Any) -> Any:
        """A window (n_fft,) in the library of `like`, in the widest precision that it has."""
        xp, place, window = namespace(like), device(like), getattr(self, name)
        wide = required_backend(like).widest(like)
        if self._keys[name == "synthesis_window"] is not None:
            samples = self.synthesis_samples() if name == "synthesis_window" else self.samples()
            return xp.asarray(samples.copy(), dtype=wide, device=place)
        if backend_for(window) is not backend_for(like):
            library = f"NumPy or of the library of the data ({type(like).__module__})"
            raise error(TypeError, function, name, f"a name, or an array of {library}", type(window).__qualname__)
        if None not in (device(window), place) and device(window) != place:
            raise error(ValueError, function, name, f"the device of the data ({place})", device(window))
        spare = self.n_fft - self.win_length
        window = xp.astype(window, wide)
        zeros = xp.zeros((spare - spare // 2,), dtype=wide, device=place)
        return xp.concat([zeros[: spare // 2], window, zeros]) if spare else window

    @cached_property
    def _peak(self) -> float:
        """Of the window, scaled."""
        return float(np.abs(self.samples()).max()) * self.scale

    def check_scale(self, function: str, precision: str) -> None:
        """ValueError unless `precision` holds the scaled window, and what undoes it."""
        check_scale(function, "window", self.host._peak, self.n_fft, precision)

    def _unit_peak(self, function: str) -> list[np.ndarray]:
        """Analysis and synthesis window, each divided by its peak: the scale of a window decides nothing."""
        pair = []
        for name, samples in (("window", self.samples()), ("synthesis_window", self.synthesis_samples())):
            peak = np.abs(samples).max()
            if peak == 0:
                raise error(NOLAError, function, name, "a non-zero sample", "all zeros")
            pair.append(samples / peak)
        return pair

    def misfit(self, function: str, name: str, array: Any) -> Exception:
        """What to say of a spectrum (..., n_bins, n_frames) that does not fit."""
        shape = tuple(array.shape)
        if len(shape) < 2:
            return error(ValueError, function, name, "at least 2 dimensions (..., bins, frames)", f"shape {shape}")
        n_bins, n_frames = shape[-2:]
        if n_bins == self.n_bins:
            return error(ValueError, function, name, "at least 1 frame", f"shape {shape}")
        hint = ""
        if n_frames == self.n_bins:
            hint = "are the last two axes swapped?"
        elif self.onesided and n_bins == self.n_fft:
            hint = "for two-sided data pass onesided=False"
        need = f"{self.n_bins} bins for n_fft={self.n_fft}{'' if self.onesided else ', onesided=False'}"
        if self.bins is not None:
            need = f"{self.n_bins} bins as in frequencies"
        return error(ValueError, function, name, need, n_bins, hint)

    def check_signal(self, function: str, x: Any) -> None:
        """TypeError or ValueError unless x is an array of signals that `stft` takes."""
        dtype = dtype_name(x)
        if dtype in COMPLEX:
            if self.onesided:
                raise error(TypeError, function, "x", "a real signal", x.dtype, "for a complex one pass onesided=False")
        elif dtype not in (*REAL, *HALVES):
            hint = "scale integers to floats first" if "int" in dtype else ""
            raise error(TypeError, function, "x", "dtype float32 or float64", x.dtype, hint)
        arrays.needs_axis(function, "x", x)

    def spectrum(self, function: str, X: Any, axes: Any = LAST_TWO) -> Any:
        """X as its backend takes it, bins and frames last; checked to be a spectrum of this transform."""
        _, X = arrays.read(function, "X", X)
        if dtype_name(X) not in COMPLEX:
            raise error(TypeError, function, "X", "dtype complex64 or complex128", X.dtype)
        return self.bins_and_frames(function, "X", X, axes)

    def bins_and_frames(self, function: str, name: str, array: Any, axes: Any = LAST_TWO) -> Any:
        """An array with its bins and frames last; checked to have those of this transform."""
        if axes is not LAST_TWO:
            array = moved(function, "axes", array, axes, LAST_TWO)
        if len(array.shape) < 2 or array.shape[-2] != self.n_bins or array.shape[-1] < 1:
            raise self.misfit(function, name, array)
        return array


STFT.__init__ = hinted(STFT.__init__)  # type: ignore[method-assign]


def read_transform(function: str, name: str, array: Any, transform: Any) -> STFT:
    """The transform of an array (..., n_bins, n_frames), checked to fit it; by default STFT(2 * (n_bins - 1))."""
    if transform is None:
        n_bins = array.shape[-2]
        if n_bins < 2:
            raise error(ValueError, function, name, "at least 2 bins, or a transform", n_bins)
        transform = STFT.made_by(function, n_fft=2 * (n_bins - 1))
    if not isinstance(transform, STFT):
        raise error(TypeError, function, "transform", "an STFT", type(transform).__name__)
    transform.bins_and_frames(function, name, array)
    return transform


def _remade(given: dict[str, Any]) -> STFT:
    return STFT(**given)


def _same(value: Any, usual: Any) -> bool:
    return value is usual or (not hasattr(value, "shape") and value == usual)


# ---- reading


def array_size(window: Any) -> int | None:
    """Samples of a window given as an array or list; None for names and callables."""
    if isinstance(window, (str, tuple)) or callable(window):
        return None
    if isinstance(window, list):
        return len(window)
    shape: tuple[int, ...] = getattr(window, "shape", ())
    return int(shape[0]) if isinstance(shape, tuple) and len(shape) == 1 else None


def _read_window(function: str, name: str, window: Any, win_length: int) -> tuple[Any, WindowKey | None]:
    """A window as the transform holds it, and in a form that can be hashed (None: it is followed)."""
    if isinstance(window, str):
        return window, window_key(function, name, window, win_length)
    backend = backend_for(window)
    if backend is not None and backend.follows(window):
        shape = tuple(window.shape)
        if len(shape) != 1:
            raise error(ValueError, function, name, "1 dimension", f"shape {shape}")
        if shape[0] != win_length:
            raise error(ValueError, function, name, f"length {win_length}", shape[0])
        if not dtype_name(window).startswith(("float", "bfloat", "int", "uint")):
            raise error(TypeError, function, name, "a real dtype", window.dtype)
        return window, None
    key = window_key(function, name, window, win_length)
    return (np.frombuffer(key) if isinstance(key, bytes) else key), key


def _at_hand(window: Any) -> Any:
    """A window for the host: its values, where they are at hand, else ones."""
    backend = backend_for(window)
    if backend is None:
        return window
    values = backend.at_hand(window)
    return np.ones(tuple(window.shape)) if values is None else np.asarray(values, np.float64)


def read_length(function: str, length: Any) -> int | None:
    """A number of samples, which a compiler may leave open, or None."""
    if length is None or (type(length) in SYMBOLS and length >= 1):
        return length
    return integer(function, "length", length, 1, MOST)


def _read_workers(function: str, workers: Any) -> int | None:
    return None if workers is None else integer(function, "workers", workers, 1)


def laid_out(function: str, name: str, placement: Placement, n_frames: int, length: int | None) -> Frames:
    """`n_frames` frames about `length` samples, or about as many as belong to them."""
    span = placement.n_fft + placement.hop * (n_frames - 1)
    reach = span - placement.left
    if reach < 1:
        need = f"< {span} samples before the signal, which is all that {n_frames} frame{'s' * (n_frames > 1)} span"
        raise error(ValueError, function, "padding", need, placement.left)
    if length is not None:
        if length > 2 * reach + placement.n_fft:
            need = f"<= {2 * reach + placement.n_fft} (2 x covered + n_fft)"
            raise error(ValueError, function, "length", need, length)
        return placement.frames(n_frames, length).narrowed()
    n_samples = placement.n_samples(n_frames)
    if n_samples < 1:
        missing = -(-(1 - n_samples) // placement.hop)
        need = f"{n_frames + missing} frames or a length= with {placement.left} + {placement.right} samples of padding"
        raise error(ValueError, function, name, need, f"{n_frames} frame{'s' if n_frames > 1 else ''}")
    return placement.frames(n_frames, n_samples).narrowed()


# ---- jobs


@lru_cache(maxsize=128)
def _analysis(transform: STFT, function: str, n_samples: int, precision: str) -> Analysis:
    """The frames of a signal of `n_samples` samples, and their window, scaled."""
    transform.check_scale(function, precision)
    placement, pad_mode = transform.placement, transform.pad_mode or "constant"
    n_frames = placement.n_frames(n_samples)
    if n_frames < 1:
        least = 1 if placement.whole else transform.n_fft - placement.left - placement.right
        raise error(ValueError, function, "x", f"at least {least} samples for n_fft={transform.n_fft}", n_samples)
    if n_samples < 1 and pad_mode != "constant":
        raise error(ValueError, function, "x", f"at least 1 sample for pad_mode={pad_mode!r}", n_samples)
    window = transform.samples() * transform.scale
    window.flags.writeable = False
    return Analysis(placement.frames(n_frames, n_samples), window, transform.onesided, pad_mode, transform.amplitudes)


@lru_cache(maxsize=128)
def _synthesis(
    transform: STFT, function: str, n_frames: int, length: int | None, precision: str, nola: str, floor: float | None
) -> Inverse:
    """The inverse of `n_frames` frames, judged: NOLAError, or a warning, where samples asked for are not determined.

    Those are samples with less than `floor` of the largest overlap; by default eps**2 of the precision.
    """
    hop, win_length = transform.hop_length, transform.win_length
    laid = laid_out(function, "X", transform.placement, n_frames, length)
    if nola != "zero" and hop > win_length and laid.segment(laid.start, laid.stop)[1].n_frames > 1:
        need = f"<= win_length={win_length}, else samples lie in no frame"
        raise error(NOLAError, function, "hop_length", need, hop)
    analysis, synthesis = transform._unit_peak(function)
    transform.check_scale(function, precision)
    eps = float(np.finfo(precision).eps if floor is None else np.sqrt(floor))
    decided = Normalisation.of(analysis, synthesis, laid.hop, eps, transform.max_gain)
    try:
        gain = decided.gain(laid)
    except MemoryError as cause:  # a hop beyond all sizes, of which `length` leaves the first frame
        need = f"{8 * hop} bytes for the gain of hop_length={hop}"
        raise error(MemoryError, function, "memory", need, cause) from cause
    warning = None if nola == "zero" else _judged(function, laid, hop, gain, nola)
    # The gain is that of windows with a peak of 1: the analysis window's true scale goes into the synthesis window.
    window = synthesis / np.abs(transform.samples()).max() / transform.scale
    largest = float(np.abs(window).max()) * max(1.0, float(np.abs(gain.period).max()))
    if not largest <= np.finfo(precision).max:
        need = f"an overlap that {precision} can undo"
        raise error(ValueError, function, "window", need, f"one that asks for a factor of {largest:.0e}")
    window.flags.writeable = False
    real = transform.onesided
    job = Synthesis(laid, window, gain, transform.onesided, real, decided=decided, amplitudes=transform.amplitudes)
    return Inverse(job, warning)


def _synthesis_of_any(
    transform: STFT, function: str, n_frames: Any, length: Any, precision: str, nola: str, floor: float | None
) -> Inverse:
    """The inverse of sizes that a compiler leaves open: judged at both ends of many frames, which show all holes.

    Samples beyond the frames, which `length` may ask for, are an error with nola="raise" and else zeros in silence.
    """
    placement = transform.placement
    rows = -(-transform.n_fft // placement.hop)
    many = 4 * rows + -(-(placement.left + placement.right) // placement.hop)
    shown = _synthesis(transform, function, many, None, precision, "zero" if nola == "zero" else "warn", floor).job
    assert shown.gain is not None
    laid = placement.frames(n_frames, placement.n_samples(n_frames) if length is None else length)
    warning = None
    if nola != "zero":
        known = covered(shown.gain, shown.frames)
        reached = laid.span - (shown.frames.span - shown.frames.start - known.stop)
        if known.start > 0 or ((length is None or nola == "raise") and laid.stop > reached):
            warning = f"{function}: window: samples at the ends lie under no window weight and are set to 0"
            if nola == "raise":
                raise error(NOLAError, function, "window", "overlap > 0 at every sample", "0 at the ends")
    return Inverse(replace(shown, frames=laid, gain=None), warning)


def _judged(function: str, laid: Frames, hop: int, gain: HopPeriodic, nola: str) -> str | None:
    """NOLAError where samples asked for are not determined as `nola` demands; else what to warn of, if anything."""
    known = covered(gain, laid)
    if known.stop == 0:
        raise error(NOLAError, function, "window", "overlap > 0 at some sample asked for", 0)
    if known.hole is not None:
        got = f"0 at sample {known.hole} (hop_length={hop})"
        raise error(NOLAError, function, "window", "overlap > 0 at every sample", got)
    ends = [(0, known.start), (known.stop, laid.n_samples)]
    ranges = " and ".join(f"[{lo}, {hi})" for lo, hi in ends if lo < hi)
    if not ranges:
        return None
    name = "length" if laid.stop > laid.span else "window"
    if nola == "raise":
        raise error(NOLAError, function, name, "overlap > 0 at every sample", f"0 in samples {ranges}")
    return f"{function}: {name}: samples {ranges} of {laid.n_samples} lie under no window weight and are set to 0"


def _scale(function: str, scaling: str | None, doubled: bool, window: np.ndarray) -> float:
    """What the jobs multiply the forward map by; `doubled`: all bins stand for two, until DC and Nyquist are halved."""
    if scaling is None:
        return 1.0
    if scaling == "ortho":
        return float(window.size**-0.5)
    exponent = math.frexp(float(np.abs(window).max()))[1]
    window = np.ldexp(window, -exponent)  # whose squares neither overflow nor vanish
    weight = float(np.sqrt((window**2).sum()) if scaling == "psd" else np.abs(window.sum()))
    if not weight > 0:
        raise error(ValueError, function, "window", f"a sum other than 0 for scaling={scaling!r}", weight)
    return math.ldexp(1 / weight, doubled - exponent)


def _followed_scale(scaling: str | None, doubled: bool, window: Any) -> Any:
    """The same for a window that is followed."""
    if scaling is None:
        return 1.0
    xp = namespace(window)
    if scaling == "ortho":
        return window.shape[0] ** -0.5
    if scaling == "psd":
        return 1 / xp.sqrt(xp.sum(window**2))
    return (1 + doubled) / xp.abs(xp.sum(window))


# ---- the two transforms


def forward(
    x: Any,
    transform: STFT,
    axis: int,
    axes: tuple[int, int],
    out: Any,
    workers: int | None,
    function: str = "stft",
    lengths: Any = None,
) -> Any:
    """`transform.stft`; errors name `function`."""
    if lengths is not None:
        workers = _read_workers(function, workers)
        return ragged.forward(x, transform, lengths, axis, axes, out, workers, function)
    backend = backend_for(x) if out is None else None
    if backend is None:  # what only has slices, or no array at all
        backend, x = arrays.read(function, "x", x, True, out)
    else:
        x = backend.checked(function, "x", x)
    dtype = name_of(type(x.dtype), x.dtype)
    n_samples = x.shape[-1] if x.shape else None
    plain = out is None and _plain_workers(workers) and axes is LAST_TWO and type(axis) is int and axis == -1
    if plain and type(n_samples) is int:
        job = _plain_analysis(transform, dtype, n_samples, function)
        if job is not None:
            return backend.analysis(x, job, None, workers)
    transform.check_signal(function, x)
    if type(axis) is not int or axis != -1:
        x = moved(function, "axis", x, axis, LAST)
    places = LAST_TWO if axes is LAST_TWO else read_axes(function, "axes", axes, len(x.shape) + 1, 2)
    job = transform.analysis(function, x.shape[-1], x)
    if workers is not None:
        workers = _read_workers(function, workers)
    result = SPECTRUM[dtype] if dtype in SPECTRUM else complex_dtype(dtype)
    if dtype == "float16" and getattr(out, "dtype", None) is not None and dtype_name(out) == "complex32":
        result = "complex32"  # asked for
    shape = (*x.shape[:-1], transform.n_bins, job.frames.n_frames)

    def analysis(x: Any, out: Any) -> Any:
        if transform.bins is None:
            return backend.to_amplitudes(backend.analysis(x, job, out, workers), job, out)
        if job.followed or transform.basis is not None:
            return written(solvers.analysis(x, job, transform), out)
        made = backend.by_signal(lambda x: solvers.analysis(x, job, transform), x, 1, shape[-2:], result)
        return written(made, out)

    if transform.basis is not None:
        solvers.check_basis(function, transform, x)
    if out is not None:
        backend.check_out(function, out, x, placed_shape(shape, places), result)
        in_precision(analysis, x, result, moved(function, "axes", out, places, LAST_TWO))
        return out
    X = in_precision(analysis, x, result, None)
    return X if places is LAST_TWO else placed(X, places)


def inverse(
    X: Any,
    transform: STFT,
    length: int | None,
    axes: tuple[int, int],
    out: Any,
    workers: int | None,
    function: str = "istft",
    lengths: Any = None,
) -> Any:
    """`transform.istft`; errors name `function`."""
    if lengths is not None:
        length, workers = read_length(function, length), _read_workers(function, workers)
        return ragged.inverse(X, transform, lengths, length, axes, out, workers, function)
    backend = backend_for(X) if out is None else None
    if backend is None:  # what only has slices, or no array at all
        backend, X = arrays.read(function, "X", X, True, out)
    else:
        X = backend.checked(function, "X", X)
    dtype = name_of(type(X.dtype), X.dtype)
    sizes = (*X.shape[-2:], length)
    if out is None and _plain_workers(workers) and axes is LAST_TWO and tuple(map(type, sizes)) in _PLAIN_SIZES:
        job = _plain_synthesis(transform, dtype, *sizes, function)
        if job is not None:
            return backend.synthesis(X, job, None, workers)
    if dtype not in _SPECTRA:
        raise _no_spectrum(function, X, dtype)
    if axes is not LAST_TWO:
        X = moved(function, "axes", X, axes, LAST_TWO)
    shape = X.shape
    if len(shape) < 2 or shape[-2] != transform.n_bins or shape[-1] < 1:
        raise transform.misfit(function, "X", X)
    if length is not None:
        length = read_length(function, length)
    if workers is not None:
        workers = _read_workers(function, workers)
    job, warning = transform.synthesis(function, shape[-1], length, X)
    if out is not None:
        result = real_dtype(dtype) if job.real else dtype
        backend.check_out(function, out, X, (*shape[:-2], job.frames.n_samples), result)
    if warning is not None:
        warn(warning, CoverageWarning)
    if not transform.closed:
        return _least_squares(function, X, transform, job, length is not None, out, workers, backend)

    if dtype == "complex32":
        result = real_dtype(dtype) if job.real else dtype
        return in_precision(lambda X, out: backend.inverted(X, job, out, workers), X, result, out)
    return backend.inverted(X, job, out, workers)


def _plain_workers(workers: Any) -> bool:
    return workers is None or (type(workers) is int and workers > 0)


_PLAIN_SIZES = ((int, int, int), (int, int, type(None)))


@lru_cache(maxsize=128)
def _plain_analysis(transform: STFT, dtype: str, n_samples: int, function: str) -> Analysis | None:
    """The job of a plain `forward`, found again by the next one; None where more is to be said, or done."""
    kinds = REAL if transform.onesided else (*REAL, *COMPLEX)
    if transform.followed or transform.amplitudes or transform.bins is not None or dtype not in kinds:
        return None
    return transform.analysis(function, n_samples, dtype)


@lru_cache(maxsize=128)
def _plain_synthesis(
    transform: STFT, dtype: str, n_bins: int, n_frames: int, length: int | None, function: str
) -> Synthesis | None:
    """The same of `inverse`."""
    plain = transform.closed and not (transform.followed or transform.amplitudes) and dtype in COMPLEX
    if not plain or n_bins != transform.n_bins or n_frames < 1:
        return None
    length = None if length is None else read_length(function, length)
    job, warning = transform.synthesis(function, n_frames, length, dtype)
    return job if warning is None else None


# Each is one step of a compiled graph.
forward_step, inverse_step = public(forward), public(inverse)

_SPECTRA = (*COMPLEX, "complex32")


def _no_spectrum(function: str, X: Any, dtype: str) -> Exception:
    pairs = dtype in REAL and X.shape[-1:] == (2,)
    hint = "join the pairs first: xp_istft.as_complex(X)" if pairs else ""
    got = f"{X.dtype}{' with last axis 2' if pairs else ''}"
    return error(TypeError, function, "X", "dtype complex64 or complex128", got, hint)


def _least_squares(
    function: str, X: Any, transform: STFT, job: Synthesis, known: bool, out: Any, workers: Any, backend: Backend
) -> Any:
    """The rest of `inverse`, where it is not in closed form; `known`: what the padding was made of may be used."""
    if transform.basis is not None:
        solvers.check_basis(function, transform, X)
    solvers.warn_of_gaps(function, transform)
    result = real_dtype(dtype_name(X))
    pad_mode = transform.pad_mode if known else None

    def signal(X: Any) -> Any:  # of arrays that are not computed yet each task warns for itself
        X = required_backend(X).of_amplitudes(X, job)
        outcome = solvers.inverse(X, transform, job, pad_mode, workers)
        solvers.warn_of_unfinished(function, outcome.unfinished, transform.solver)
        return outcome.signal

    def solution(X: Any, out: Any) -> Any:
        if job.followed or transform.basis is not None:
            return written(signal(X), out)
        return written(backend.by_signal(signal, X, 2, (job.frames.n_samples,), result), out)

    return in_precision(solution, X, result, out)


def solved(X: Any, transform: STFT, length: int | None, callback: Any) -> Solution:
    """`transform.solve`."""
    function = "solve"
    if not isinstance(transform.solver, Dual):
        raise error(ValueError, function, "solver", "Dual, which iterates", type(transform.solver).__name__)
    if not transform.onesided or transform.synthesis_window is not None:
        name = "synthesis_window" if transform.onesided else "onesided"
        raise error(ValueError, function, name, "its default: least squares for real signals", getattr(transform, name))
    if callback is not None and not callable(callback):
        raise error(TypeError, function, "callback", "a function of iteration and residual", type(callback).__name__)
    X = transform.spectrum(function, X)
    backend = required_backend(X)
    if backend.lazy:
        raise error(ValueError, function, "X", "an array whose values are at hand", "one that is not computed yet")
    length = read_length(function, length)
    job, warning = transform.synthesis(function, X.shape[-1], length, X, closed=False)
    X = backend.of_amplitudes(X, job)
    if transform.basis is not None:
        solvers.check_basis(function, transform, X)
    if warning is not None:
        warn(warning, CoverageWarning)
    solvers.warn_of_gaps(function, transform)
    pad_mode = None if length is None else transform.pad_mode
    followed = job.followed or transform.basis is not None
    X, returned = (X, None) if followed else backend.lent(X)
    outcome = solvers.inverse(X, transform, job, pad_mode, None, callback, report=True)
    solvers.warn_of_unfinished(function, outcome.unfinished, transform.solver)
    assert outcome.solution is not None
    if returned is None:
        return outcome.solution
    names = ("signal", "iterations", "converged", "normal_residual", "data_residual")
    return outcome.solution._replace(**{name: returned(getattr(outcome.solution, name)) for name in names})
