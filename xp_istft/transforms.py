"""The functions for a quick call: each makes an `STFT` of its parameters, keeps it, and calls it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import arrays
from .arguments import SYMBOLS, boolean, error, integer, public, warn
from .arrays import LAST, LAST_TWO, moved
from .backends import backend_for
from .dtypes import COMPLEX, REAL, dtype_name
from .frames import Frames, Padding
from .frequencies.grids import Frequencies
from .frequencies.solvers import Adjoint, Dual, PerFrame, Solver
from .jobs import Analysis, Synthesis
from .transform import STFT, array_size, forward, inverse, laid_out, read_length
from .windows import CoverageWarning

# Parameters of these types are looked up as they are.
_PLAIN = frozenset({type(None), bool, int, float, str, Frequencies, Dual, PerFrame, Adjoint})

# What NumPy's scalars are looked up as.
_SCALARS: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float}


@public
def istft(
    X: Any,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    synthesis_window: Any = None,
    center: bool = True,
    padding: Padding = None,
    length: int | None = None,
    onesided: bool = True,
    scaling: str | None = None,
    frequencies: Any = None,
    solver: Solver | None = None,
    nola: str = "warn",
    max_gain: float | None = None,
    lengths: Any = None,
    axes: tuple[int, int] = LAST_TWO,
    out: Any = None,
    workers: int | None = None,
) -> Any:
    """Signal whose short-time spectrum is nearest to `X`, in the least-squares sense.

    With analysis window w, synthesis window v and hop h,

        x[t] = sum_m v[t - m h] y_m[t - m h] / sum_m v[t - m h] w[t - m h],   y_m = irfft(X[:, m])

    which for v = w is the least-squares inverse of Griffin & Lim (IEEE ASSP 32(2), 1984), and for any v gives back
    exactly the signal that X is the `stft` of. The imaginary parts of the DC bin and (even n_fft) the Nyquist bin
    are ignored. NaN and infinity stay within the frames that hold them.

    Parameters
    ----------
    X : complex array (..., n_bins, n_frames)
        Spectrum, of NumPy, CuPy, PyTorch, JAX, Dask or any other Array API library, on any device, with any strides.
        What has shape, dtype and slices alone (zarr, h5py) is read block by block, and gives a NumPy array.
    hop_length : int, optional
        Samples between the starts of neighbouring frames; default win_length // 4.
    win_length : int, optional
        Samples of the window, at most n_fft; it lies in the middle of the frame. Default n_fft, or the size of a
        window array.
    n_fft : int, optional
        Samples of a frame; default 2 * (n_bins - 1), or n_bins for two-sided spectra. Odd sizes must be given (or
        follow from a window array).
    window : str, tuple, callable or real array (win_length,)
        Analysis window: a name or tuple of `scipy.signal.get_window` (periodic), a callable of win_length, or
        samples, in an array of NumPy or of X's library. Gradients with respect to an array of torch or JAX are
        followed through the normalisation, any order, forward and backward.
    length : int, optional
        Samples of the result; default those that belong to the frames. Beyond what the frames cover it holds zeros,
        with a warning.
    onesided : bool
        X has n_fft // 2 + 1 bins, and the signal is real; else X has n_fft bins, and the signal is complex: take
        ``.real`` of it where it is known to be real.
    synthesis_window, center, padding, scaling, nola, max_gain
        As in `STFT`.
    frequencies : Frequencies or complex array (n_bins, n_fft), optional
        The frequencies of the bins, as in `STFT`; n_fft must be given.
    solver : Dual, PerFrame or Adjoint, optional
        How the inverse of other bins is found, by default `Dual()`: for the whole signal by conjugate gradients.
        `STFT.solve` says how it came about. The bins of the DFT have an inverse in closed form.
    lengths : integers, optional
        Samples of each item of a batch, as in `stft`: each is the inverse of the frames of its own length alone, with
        zeros after it. `length` is then the samples of the result, by default those of the longest item.
    axes : (int, int)
        The axes of X that hold bins and frames.
    out : array (..., n_samples), optional
        Written in place of a new array, where the library can. Block by block, with memory for no more than a few
        blocks, where X and `out` are memory maps, or have only slices (zarr, h5py).
    workers : int, optional
        Threads, on the CPU; the result has the same bits for any number. On Dask arrays those of each task, by
        default 1.

    Returns
    -------
    real array (..., n_samples)
        Same library and device as X; float32 for complex64, float64 for complex128, float16 for torch.complex32,
        in which samples beyond 65504 are inf; complex with onesided=False.

    Raises
    ------
    NOLAError
        (A ValueError.) The windows leave a hole inside the samples asked for.
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; the text names it, what was needed and what came.
    MemoryError
        The result does not fit; the text says how many bytes it needs.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal((2, 3000))
    >>> X = xi.stft(x, n_fft=512, hop_length=128)
    >>> X.shape
    (2, 257, 24)
    >>> y = xi.istft(X, hop_length=128, length=3000)
    >>> bool(abs(y - x).max() < 1e-14)
    True
    """
    n_bins = None if n_fft is not None else _n_bins(X, axes, frequencies)
    given = (
        n_bins, hop_length, win_length, n_fft, window, synthesis_window, center, padding, onesided, scaling,
        frequencies, solver, nola, max_gain,
    )  # fmt: skip
    made = _of_spectrum(*given) if _PLAIN.issuperset(map(type, given)) else _kept(_of_spectrum, given)
    if lengths is None:
        return inverse(X, made, length, axes, out, workers)
    return inverse(X, made, length, axes, out, workers, lengths=lengths)


@lru_cache(maxsize=128, typed=True)
def _of_spectrum(n_bins: int | None, *given: Any) -> STFT:
    """The transform of `istft`'s parameters, for a spectrum of so many bins where n_fft is not among them."""
    (
        hop_length, win_length, n_fft, window, synthesis_window, center, padding, onesided, scaling, frequencies,
        solver, nola, max_gain,
    ) = map(_thawed, given)  # fmt: skip
    if n_fft is None:
        n_fft = _size(n_bins, win_length, window, onesided, frequencies)
    return STFT.made_by(
        "istft", n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=window,
        synthesis_window=synthesis_window, center=center, padding=padding, pad_mode=None, onesided=onesided,
        scaling=scaling, frequencies=frequencies, solver=Dual() if solver is None else solver, nola=nola,
        max_gain=max_gain,
    )  # fmt: skip


def _n_bins(X: Any, axes: Any, frequencies: Any) -> int | None:
    """Bins of a spectrum, as far as that can be told before it is read."""
    shape: Any = getattr(X, "shape", None)
    if not isinstance(shape, tuple) or len(shape) < 2 or frequencies is not None:
        return None
    if axes is not LAST_TWO:
        shape = moved("istft", "axes", X, axes, LAST_TWO).shape
    return int(shape[-2])


def _size(n_bins: int | None, win_length: Any, window: Any, onesided: Any, frequencies: Any) -> int:
    """The n_fft that spectrum, window and basis agree on."""
    if frequencies is not None:
        shape: Any = getattr(frequencies, "shape", ())  # of a module a function
        if isinstance(frequencies, Frequencies):
            raise error(TypeError, "istft", "n_fft", "an integer, with frequencies=", None)
        known = isinstance(shape, tuple) and len(shape) == 2
        return max(2, int(shape[1])) if known else 2048  # of none, which is said when they are read
    if n_bins is None:  # no spectrum, which is said when it is read
        return 2048
    n_fft = n_bins if onesided is False else 2 * (n_bins - 1)
    if n_fft < 2:
        raise error(ValueError, "istft", "X", "at least 2 bins, or n_fft=", n_bins)
    size = array_size(window)
    if size is None or win_length is not None:
        return n_fft
    if (size if onesided is False else size // 2 + 1) != n_bins:
        need = f"length {n_fft} (from {n_bins} bins)"
        raise error(ValueError, "istft", "window", need, size, "or pass n_fft= or win_length=")
    return size


@public
def stft(
    x: Any,
    n_fft: int = 2048,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    padding: Padding = None,
    pad_mode: str = "constant",
    onesided: bool = True,
    scaling: str | None = None,
    frequencies: Any = None,
    lengths: Any = None,
    axis: int = -1,
    axes: tuple[int, int] = LAST_TWO,
    out: Any = None,
    workers: int | None = None,
) -> Any:
    """Short-time Fourier transform of `x`: the spectrum of each windowed frame.

        X[k, m] = sum_n w[n] x[m h + n - p] exp(-2 pi i k n / n_fft)

    with hop h and p samples of padding before the signal. `istft` with the same parameters (and length=) inverts it;
    `STFT` holds the parameters of both.

    Parameters
    ----------
    x : real array (..., n_samples)
        Signal, float32 or float64 (float16 and bfloat16 compute in float32), of any library and device, or what only
        has slices, as in `istft`; complex with onesided=False.
    n_fft : int
        Samples of a frame, at least 2.
    hop_length : int, optional
        Samples between the starts of neighbouring frames; default win_length // 4.
    win_length : int, optional
        Samples of the window, at most n_fft; it lies in the middle of the frame. Default n_fft, or the size of a
        window array.
    window : str, tuple, callable or real array (win_length,)
        A name or tuple of `scipy.signal.get_window` (periodic), a callable of win_length, or samples. Gradients with
        respect to an array of torch or JAX are followed.
    center : bool
        Frame m is centred on sample m * hop_length (n_fft // 2 samples of padding on both sides); else it starts
        there.
    padding : "same", "full", int or (int, int), optional
        Placement of the frames, in place of `center`: "same" makes hop_length samples a frame (neural vocoders),
        "full" means that every sample is reached by every frame that could reach it, numbers are samples of padding
        before and after the signal. With "same" and "full" the last, partial hop gets a frame of its own.
    pad_mode : "constant", "reflect", "edge", "symmetric" or "wrap"
        What stands before and after the signal, as in numpy.pad ("constant" is zeros); also under torch's and
        scipy's names "replicate", "circular", "zeros" and "even" (reflect).
    onesided : bool
        Make the n_fft // 2 + 1 bins of a real signal; else n_fft bins, of a real or complex signal.
    scaling : None, "ortho", "spectrum", "psd" or "amplitude"
        Multiply by nothing, 1 / sqrt(n_fft), 1 / sum(w), 1 / sqrt(sum(w**2)); "amplitude" gives 1 for a sine of
        amplitude 1: 2 / sum(w), but 1 / sum(w) for DC, (even n_fft) Nyquist and all of two-sided bins.
    frequencies : Frequencies or complex array (n_bins, n_fft), optional
        The frequencies of the bins (`linear_frequencies`, `log_frequencies`, `Frequencies`), or any basis that the
        windowed frames are multiplied with, in an array of NumPy or of x's library. Default the bins of the DFT.
    lengths : integers, optional
        Samples of each item of a batch that is padded to one length, in a list or an array of NumPy or of x's library,
        whose axes are the first of x. Each item has the frames of its own end, as alone, and zeros after them;
        `STFT.frame_mask` says which are its own. What x holds after an item makes no difference. Where the values are
        not at hand (on a device, under a compiler), an item whose length is out of range is NaN.
    axis : int
        The axis of x that holds the samples.
    axes : (int, int)
        The axes of the result that hold bins and frames.
    out : array (..., n_bins, n_frames), optional
        Written in place of a new array, where the library can; block by block, with memory for no more than a few
        blocks, where x and `out` are memory maps, or have only slices (zarr, h5py).
    workers : int, optional
        Threads, on the CPU; the result has the same bits for any number. On Dask arrays those of each task, by
        default 1.

    Returns
    -------
    complex array (..., n_bins, n_frames)
        Same library and device as x; complex64 for float32 and half precisions, complex128 for float64.
        torch.complex32 only where `out` is that: it has no values beyond 65504, which bins of a float16 signal in the
        scale of int16 exceed (scale it, or take scaling="spectrum").

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; the text names it, what was needed and what came.
    MemoryError
        The result does not fit; the text says how many bytes it needs.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> t = np.arange(16000) / 16000
    >>> X = xi.stft(np.sin(2 * np.pi * 1000 * t), n_fft=512, hop_length=128)
    >>> X.shape, int(abs(X[:, 60]).argmax())
    ((257, 126), 32)
    """
    given = (
        n_fft, hop_length, win_length, window, center, padding, pad_mode, onesided, scaling, frequencies
    )  # fmt: skip
    made = _of_signal(*given) if _PLAIN.issuperset(map(type, given)) else _kept(_of_signal, given)
    if lengths is None:
        return forward(x, made, axis, axes, out, workers)
    return forward(x, made, axis, axes, out, workers, lengths=lengths)


@lru_cache(maxsize=128, typed=True)
def _of_signal(*given: Any) -> STFT:
    """The transform of `stft`'s parameters."""
    names = (
        "n_fft", "hop_length", "win_length", "window", "center", "padding", "pad_mode", "onesided", "scaling",
        "frequencies",
    )  # fmt: skip
    parameters = dict(zip(names, map(_thawed, given), strict=True))
    if parameters["pad_mode"] is None:
        raise error(TypeError, "stft", "pad_mode", "a name", None)
    return STFT.made_by("stft", **parameters)


class _Samples(NamedTuple):
    """A window's samples, as they are now."""

    dtype: str
    values: bytes


class _Tuple(NamedTuple):
    """A tuple and its types: (1, 1) is not (True, True)."""

    types: tuple[type, ...]
    values: tuple[Any, ...]


def _kept(make: Any, given: tuple[Any, ...]) -> STFT:
    """The transform of these parameters, from the last call with their values; new where one may change."""
    frozen = tuple([value if type(value) in _PLAIN else _frozen(value) for value in given])
    return make.__wrapped__(*given) if NotImplemented in frozen else make(*frozen)


def _frozen(value: Any) -> Any:
    """`value` in a form that is looked up by content; NotImplemented where there is none."""
    kind = type(value)
    if isinstance(value, np.generic) and value.dtype.kind in _SCALARS:
        return _SCALARS[value.dtype.kind](value)
    if kind in SYMBOLS:  # of sizes only those of the data stay open
        return int(value)
    if kind is tuple and _PLAIN.issuperset(map(type, value)):
        return _Tuple(tuple(map(type, value)), value)
    backend = backend_for(value)
    if backend is not None and len(value.shape) == 1 and not backend.follows(value):
        with suppress(Exception):  # a layout that the host does not have, which is said when it is read
            samples = backend.to_host(value)
            if samples.dtype.kind in "fiu":
                return _Samples(samples.dtype.str, samples.tobytes())
    return NotImplemented


def _thawed(value: Any) -> Any:
    if isinstance(value, _Samples):
        return np.frombuffer(value.values, value.dtype)
    return value.values if isinstance(value, _Tuple) else value


@public
def frame(
    x: Any,
    n_fft: int,
    hop_length: int,
    *,
    window: Any = None,
    center: bool = False,
    padding: Padding = None,
    pad_mode: str = "constant",
    axis: int = -1,
) -> Any:
    """Frames of a signal: segments[..., n, m] = window[n] x[m hop + n - p], with p samples of padding before.

    Parameters
    ----------
    x : real or complex array (..., n_samples)
        Signal.
    n_fft : int
        Samples of a frame, at least 2.
    hop_length : int
        Samples between the starts of neighbouring frames.
    window : as in `stft`, optional
        Default none (ones).
    center, padding, pad_mode, axis
        As in `stft`; by default frame 0 starts at sample 0, and a last part shorter than a frame is left out.

    Returns
    -------
    array (..., n_fft, n_frames)
        Same library, device and dtype as x.

    Raises
    ------
    ValueError, TypeError
        As `stft`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.frame(np.arange(6.0), 4, 2).T
    array([[0., 1., 2., 3.],
           [2., 3., 4., 5.]])
    """
    backend, x = arrays.read("frame", "x", x)
    _floating("frame", "x", x)
    arrays.needs_axis("frame", "x", x)
    x = moved("frame", "axis", x, axis, LAST)
    hop_length = integer("frame", "hop_length", hop_length, 1)
    made = STFT.made_by(
        "frame", n_fft=n_fft, hop_length=hop_length, window="boxcar" if window is None else window, center=center,
        padding=padding, pad_mode=pad_mode,
    )  # fmt: skip
    if pad_mode is None:
        raise error(TypeError, "frame", "pad_mode", "a name", None)
    job = made.analysis("frame", x.shape[-1], x)
    return backend.frame(x, _unwindowed(job) if window is None else job)


@public
def overlap_add(
    segments: Any,
    hop_length: int,
    *,
    window: Any = None,
    center: bool = False,
    padding: Padding = None,
    length: int | None = None,
    normalize: bool = False,
    axes: tuple[int, int] = LAST_TWO,
) -> Any:
    """Sum of shifted segments: x[t] = sum_m window[t - m hop] segments[..., t - m hop, m]. The adjoint of `frame`.

    Frames are added in the order of m. Nothing is normalised, unless `normalize` divides by sum_m window[t - m hop]:
    then segments that agree where they overlap give the signal that they were cut from.

    Parameters
    ----------
    segments : real or complex array (..., n_fft, n_frames)
        What is added, each at its place.
    hop_length : int
        Samples between the starts of neighbouring segments.
    window : as in `istft`, optional
        Default none (ones).
    center, padding
        As in `istft`: samples of padding are cut off. By default none.
    length : int, optional
        Samples of the result; default those that belong to the frames.
    normalize : bool
        Divide by the sum of the windows. Samples at the ends that no window weighs are zero, with a `CoverageWarning`.
    axes : (int, int)
        The axes that hold the samples of a segment and the segments.

    Returns
    -------
    array (..., n_samples)
        Same library, device and dtype as `segments`.

    Raises
    ------
    ValueError, TypeError
        As `istft`.
    NOLAError
        `normalize`, and inside are samples that no window weighs.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.overlap_add(np.ones((4, 3)), 2)
    array([1., 1., 2., 2., 2., 2., 1., 1.])
    >>> xi.overlap_add(np.ones((4, 3)), 2, normalize=True)
    array([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    function = "overlap_add"
    backend, segments = arrays.read(function, "segments", segments)
    _floating(function, "segments", segments)
    if len(segments.shape) < 2:
        need = "at least 2 dimensions (..., n_fft, n_frames)"
        raise error(ValueError, function, "segments", need, f"shape {tuple(segments.shape)}")
    segments = moved(function, "axes", segments, axes, LAST_TWO)
    hop_length = integer(function, "hop_length", hop_length, 1)
    n_fft, n_frames = segments.shape[-2:]
    if n_frames < 1:
        raise error(ValueError, function, "segments", "at least 1 frame", f"shape {tuple(segments.shape)}")
    weights = "boxcar" if window is None else window
    sizes = {"n_fft": n_fft, "hop_length": hop_length, "center": center, "padding": padding}
    if boolean(function, "normalize", normalize):
        made = STFT.made_by(function, window="boxcar", synthesis_window=weights, **sizes)
        job, warning = made.synthesis(function, n_frames, read_length(function, length), segments)
        if warning is not None:
            warn(warning, CoverageWarning)
        return backend.overlap_add(segments, job)
    made = STFT.made_by(function, window=weights, **sizes)
    laid = laid_out(function, "segments", made.placement, n_frames, read_length(function, length))
    framing = None if window is None else made.analysis(function, made.n_fft, segments)
    return backend.overlap_add(segments, _summing(laid, framing))


def _unwindowed(job: Analysis) -> Analysis:
    """The job with a window of ones. Equal calls have one job, as elsewhere: backends keep what they made for it."""
    return _ones(job) if type(job.frames.n_frames) not in SYMBOLS else replace(job, window=None)


def _summing(laid: Frames, framing: Analysis | None) -> Synthesis:
    """The sum of frames that lie so, times the window of `framing`."""
    open_sizes = type(laid.n_frames) in SYMBOLS or type(laid.stop) in SYMBOLS
    if open_sizes or (framing is not None and framing.followed):
        return Synthesis(laid, None if framing is None else framing.window, None)
    return _sums(laid, framing)


@lru_cache(maxsize=64)
def _ones(job: Analysis) -> Analysis:
    return replace(job, window=None)


@lru_cache(maxsize=64)
def _sums(laid: Frames, framing: Analysis | None) -> Synthesis:
    return Synthesis(laid, None if framing is None else framing.window, None)


def _floating(function: str, name: str, array: Any) -> None:
    if dtype_name(array) not in (*REAL, *COMPLEX):
        raise error(TypeError, function, name, "dtype float32, float64, complex64 or complex128", array.dtype)
