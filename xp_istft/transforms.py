"""stft and istft: read the arguments, lay out the frames, hand over to the array's backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from . import arrays, frames, least_squares, plans
from .arguments import boolean, choice, error, integer
from .arrays import LAST, LAST_TWO
from .backends import backend_for, offers, opaque
from .backends.array_api import dtype_name
from .frames import Padding, Placement
from .frequencies import Frequencies, scale_frequencies
from .jobs import Analysis, Synthesis
from .plans import Layout, planned, read_padding, read_window
from .windows import CoverageWarning


@opaque
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
    real: bool = True,
    scaling: str | None = None,
    bin_gain: Any = None,
    normalize: bool = True,
    frequencies: Any = None,
    method: str = "auto",
    weights: Any = "density",
    regularization: Any = "band",
    pad_mode: str | None = None,
    tol: float | None = None,
    maxiter: int = 100,
    info: bool = False,
    callback: Callable[[int, float], object] | None = None,
    nola: str = "warn",
    max_gain: float | None = None,
    axes: tuple[int, int] = LAST_TWO,
    out: Any = None,
    workers: int | None = None,
    tune: bool = False,
    overwrite: bool = False,
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
        Also a tuple of its real and imaginary parts, real arrays; NumPy joins them block by block, without a copy of
        the whole.
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
        samples, in an array of NumPy or of X's library. Gradients with respect to a torch tensor are followed through
        the normalisation, any order, forward and backward.
    synthesis_window : like `window`, optional
        Window of the inverse; default the analysis window.
    center : bool
        Frame m is centred on sample m * hop_length (n_fft // 2 samples of padding on both sides); else it starts
        there.
    padding : "same", "full", int or (int, int), optional
        Placement of the frames, in place of `center`: "same" makes hop_length samples a frame (neural vocoders),
        "full" means that every sample is reached by every frame that could reach it, numbers are samples of padding
        before and after the signal.
    length : int, optional
        Samples of the result; default those that belong to the frames. Beyond what the frames cover it holds zeros,
        with a warning.
    onesided : bool
        X has n_fft // 2 + 1 bins (else n_fft).
    real : bool
        The result is real: of a two-sided spectrum, the real part. False needs onesided=False.
    scaling : None, "ortho", "spectrum" or "psd"
        How the forward map was scaled: not, by 1 / sqrt(n_fft), by 1 / sum(w), by 1 / sqrt(sum(w**2)).
    bin_gain : real or complex array (n_bins,), optional
        What the forward map multiplied each bin by, on the host: `phase_ramp` for phases that are counted from
        another sample of the frame, weights for doubled one-sided amplitudes, an equalizer.
    normalize : bool
        Divide by the overlap of the windows, as in the formula. False leaves that to the synthesis window: a dual of
        the steady state (`dual_window`) is exact wherever every frame that could reach a sample is there. Then
        nothing is judged: `nola` has no effect.
    frequencies : Frequencies or complex array (n_bins, n_fft), optional
        The frequencies of the bins (`linear_frequencies`, `log_frequencies`, `Frequencies`), or any basis that the
        windowed frames were multiplied with, in an array of NumPy or of X's library; n_fft must be given. Default the
        bins of the DFT. The inverse of other bins is the regularised least-squares solution that
        docs/frequencies.md describes, with what it guarantees.
    method : "auto", "dual", "frame", "adjoint" or "fused"
        "auto" takes the closed form for the bins of the DFT, "dual" for all others. "dual" solves for the whole signal
        by conjugate gradients; "frame" for each frame alone (one product with a matrix, where the bins are dense
        enough on all of [0, sr / 2], else an error); "adjoint" is a preview in one pass. "fused" makes the closed
        form in one kernel, on a GPU through CuPy, for complex64 and n_fft a power of two from 64 to 4096.
    weights : "density", "uniform" or real array (n_bins,)
        What each bin counts in the least squares: by default the width of the band that it stands for; the bins of a
        basis count alike. This and the next five are for methods that solve; the closed form has no use for them.
    regularization : "band" or float
        Frequencies that the bins do not see are damped, by 0.1 of what the bins see best, or by this number; 0 leaves
        plain least squares, which amplifies noise.
    pad_mode : str, optional
        What stood before and after the signal in the analysis, as in `stft`, if it is known (`length` must be known,
        too): fewer iterations, and better ends, for sparse bins.
    tol : float, optional
        Residual of the normal equations, relative, at which the iterations end; default 1e-6, of float32 1e-5.
    maxiter : int
        The most iterations; a `ConvergenceWarning` says that they did not reach `tol` (unless the call is traced).
    info : bool
        Return a `LeastSquaresReport`, too.
    callback : callable, optional
        Called with (iteration, residual) after each iteration, counted from 1: the largest residual of the normal
        equations, relative, of all signals. Not called where the call is traced.
    nola : "warn", "raise" or "zero"
        What happens to samples under no window weight (overlap at most eps**2 of its largest value): at the ends
        they are 0 with a `CoverageWarning` ("warn"), an error ("raise") or 0 in silence ("zero"); inside they are an
        error, but for "zero".
    max_gain : float, optional
        Bound on how much noise in X is amplified near the ends, relative to the interior (see `coverage`); at least
        1. The default keeps the inverse exact, but a *modified* spectrum can then explode where only the flank of
        one window reaches a sample; 10 is a good bound there.
    axes : (int, int)
        The axes of X that hold bins and frames.
    out : array (..., n_samples), optional
        Written in place of a new array, where the library can. Block by block, with memory for no more than a few
        blocks, where X and `out` are memory maps, or have only slices (zarr, h5py).
    workers : int, optional
        Threads, on the CPU; the result has the same bits for any number. On Dask arrays those of each task, by
        default 1.
    tune : bool
        On a GPU, let method="auto" time its ways once per kind of problem, and take the faster one from then on.
    overwrite : bool
        The memory of X may be used, where the library can: its values are then lost.

    Returns
    -------
    real array (..., n_samples)
        Same library and device as X; float32 for complex64, float64 for complex128, float16 for torch.complex32;
        complex with real=False. With info=True a tuple of it and a `LeastSquaresReport`.

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
    imag = None
    if isinstance(X, tuple):
        X, imag = arrays.planes("istft", "X", X)
        closed = frequencies is None and method is _AUTO and info is False
        if imag is not None and not (closed and bin_gain is None):
            X, imag = arrays.as_complex(X, imag), None
    backend, X = arrays.read_or_stored("istft", "X", X, out)
    dtype = dtype_name(X) if imag is None else arrays.complex_dtype(X, dtype_name(X))
    if dtype not in ("complex64", "complex128", "complex32"):
        pairs = dtype in ("float32", "float64") and X.shape[-1:] == (2,)
        hint = "join the pairs first: xp_istft.as_complex(X)" if pairs else ""
        got = f"{X.dtype}{' with last axis 2' if pairs else ''}"
        raise error(TypeError, "istft", "X", "dtype complex64 or complex128", got, hint)
    if len(X.shape) < 2:
        raise error(ValueError, "istft", "X", "at least 2 dimensions (..., bins, frames)", f"shape {tuple(X.shape)}")
    X = arrays.moved("istft", "axes", X, axes, LAST_TWO)
    onesided = boolean("istft", "onesided", onesided)
    window, synthesis_window, live = live_windows("istft", backend, X, window, synthesis_window)
    if frequencies is not None or method is not _AUTO or info is not False or callback is not None:
        request, n_fft = least_squares.read(
            X, n_fft, frequencies, method, weights, regularization, pad_mode, tol, maxiter, info, callback
        )
        if request is not None:
            if not boolean("istft", "normalize", normalize):
                raise error(ValueError, "istft", "normalize", f"True for method={request.method!r}", normalize)
            if bin_gain is not None:
                X = arrays.times_bins("istft", X, bin_gain, reciprocal=True)
            return _least_squares(
                X, request, n_fft, hop_length, win_length, window, synthesis_window, live, center, padding, length,
                onesided, real, scaling, nola, max_gain, out, workers,
            )  # fmt: skip
    chosen = plans.spectrum_layout(X, n_fft, hop_length, win_length, window, onesided)
    v = _synthesis_window("istft", synthesis_window, chosen, X)
    ways = _ways(backend, method, tune, overwrite)
    if imag is not None:
        ways["imag"] = arrays.moved("istft", "axes", imag, axes, LAST_TWO)
    precision = "float64" if dtype == "complex128" else "float32"  # of what is computed
    plan = planned(
        plans.inverse, chosen, v, X.shape[-1], center, read_padding("istft", padding), length, onesided, real, scaling,
        nola, max_gain, precision, None, normalize,
    )  # fmt: skip
    job = plan.job
    if live is not None:
        pair = [chosen.samples("istft", "window", key) for key in (chosen.window, v)]
        job = backend.with_windows(job, pair, live, scaling, float(np.finfo(precision).eps), max_gain, X)
    result = arrays.real_dtype(dtype) if real else dtype
    workers = _workers("istft", workers)
    if out is not None:
        for part in (X,) if imag is None else (X, imag):
            backend.check_out("istft", out, part, (*X.shape[:-2], job.frames.n_samples), result)
    if bin_gain is not None:
        X = arrays.times_bins("istft", X, bin_gain, reciprocal=True)
    if plan.warning is not None:
        warnings.warn(plan.warning, CoverageWarning, stacklevel=3)
    return arrays.in_precision(
        lambda X, out: backend.synthesis(X, job, out=out, workers=workers, **ways), X, result, out
    )


@opaque
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
    bin_gain: Any = None,
    frequencies: Any = None,
    axis: int = -1,
    axes: tuple[int, int] = LAST_TWO,
    out: Any = None,
    workers: int | None = None,
) -> Any:
    """Short-time Fourier transform of `x`: the spectrum of each windowed frame.

        X[k, m] = sum_n w[n] x[m h + n - p] exp(-2 pi i k n / n_fft)

    with hop h and p samples of padding before the signal. `istft` with the same parameters (and length=) inverts it.

    Parameters
    ----------
    x : real array (..., n_samples)
        Signal, float32 or float64 (float16 and bfloat16 compute in float32), of any library and device, or what only
        has slices, as in `istft`; complex with onesided=False.
    n_fft : int
        Samples of a frame, at least 2.
    hop_length, win_length, window, center, padding, onesided, scaling, bin_gain, frequencies, workers
        As in `istft`. With padding "same" and "full" the last, partial hop gets a frame of its own.
    pad_mode : "constant", "reflect", "edge", "symmetric" or "wrap"
        What stands before and after the signal, as in numpy.pad ("constant" is zeros); also under torch's and
        scipy's names "replicate", "circular", "zeros" and "even" (reflect).
    axis : int
        The axis of x that holds the samples.
    axes : (int, int)
        The axes of the result that hold bins and frames.
    out : array (..., n_bins, n_frames), optional
        Written in place of a new array, where the library can; also block by block, as in `istft`.

    Returns
    -------
    complex array (..., n_bins, n_frames)
        Same library and device as x; complex64 for float32, complex128 for float64. Of half precisions complex64,
        but torch.complex32 of torch.float16.

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
    backend, x = arrays.read_or_stored("stft", "x", x, out)
    dtype = dtype_name(x)
    onesided = boolean("stft", "onesided", onesided)
    if dtype in ("complex64", "complex128"):
        if onesided:
            raise error(TypeError, "stft", "x", "a real signal", x.dtype, "for a complex one pass onesided=False")
    elif dtype not in ("float32", "float64", "float16", "bfloat16"):
        hint = "scale integers to floats first" if "int" in dtype else ""
        raise error(TypeError, "stft", "x", "dtype float32 or float64", x.dtype, hint)
    if len(x.shape) < 1:
        raise error(ValueError, "stft", "x", "at least 1 dimension (..., samples)", f"shape {tuple(x.shape)}")
    x = arrays.moved("stft", "axis", x, axis, LAST)
    window, _, live = live_windows("stft", backend, x, window)
    chosen = plans.layout("stft", n_fft, hop_length, win_length, window, x)
    bins = basis = None
    if frequencies is not None:
        bins, basis, _ = least_squares.read_bins("stft", frequencies, chosen.n_fft, x)
        _one_sided("stft", onesided)
        if isinstance(bins, Frequencies) and bins.is_dft(chosen.n_fft):
            bins = None
    job = planned(
        plans.forward, "stft", chosen, x.shape[-1], center, read_padding("stft", padding), pad_mode, onesided, scaling
    )
    if live is not None:
        job = backend.with_windows(job, [chosen.samples("stft", "window", chosen.window)], live, scaling, 0, None, x)
    workers = _workers("stft", workers)
    result = arrays.complex_dtype(x, dtype)

    def analysis(x: Any, out: Any) -> Any:
        if bins is None:
            return backend.analysis(x, job, out=out, workers=workers)
        if hasattr(backend, "by_signal"):
            shape = (len(bins), job.frames.n_frames)
            return backend.by_signal(lambda x: least_squares.analysis(x, job, bins, basis), x, 1, shape, result)
        return _written(least_squares.analysis(x, job, bins, basis), out)

    n_bins = chosen.n_fft // 2 + 1 if onesided else chosen.n_fft
    n_bins = n_bins if bins is None else len(bins)
    if bin_gain is not None:
        bin_gain = arrays.bin_gain("stft", bin_gain, n_bins, x)
    if out is not None:
        out_last = arrays.moved("stft", "axes", out, axes, LAST_TWO)
        backend.check_out("stft", out_last, x, (*x.shape[:-1], n_bins, job.frames.n_frames), result)
        arrays.in_precision(analysis, x, result, out_last)
        if bin_gain is not None:
            out_last[...] = arrays.times_bins("stft", out_last, bin_gain)
        return out
    X = arrays.in_precision(analysis, x, result, None)
    if bin_gain is not None:
        X = arrays.times_bins("stft", X, bin_gain)
    return X if axes is LAST_TWO else arrays.placed("stft", "axes", X, axes)


@opaque
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
    x = arrays.moved("frame", "axis", x, axis, (-1,))
    window, _, live = live_windows("frame", backend, x, window)
    chosen = _optional_window("frame", n_fft, hop_length, window, x)
    padding = read_padding("frame", padding)
    job = planned(plans.forward, "frame", chosen, x.shape[-1], center, padding, pad_mode, False, None)
    if live is not None:
        job = backend.with_windows(job, [chosen.samples("frame", "window", chosen.window)], live, None, 0, None, x)
    return backend.frame(x, job)


@opaque
def overlap_add(
    segments: Any,
    hop_length: int,
    *,
    window: Any = None,
    center: bool = False,
    padding: Padding = None,
    length: int | None = None,
    axes: tuple[int, int] = LAST_TWO,
) -> Any:
    """Sum of shifted segments: x[t] = sum_m window[t - m hop] segments[..., t - m hop, m]. The adjoint of `frame`.

    Nothing is normalised. Frames are added in the order of m.

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

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.overlap_add(np.ones((4, 3)), 2)
    array([1., 1., 2., 2., 2., 2., 1., 1.])
    """
    backend, segments = arrays.read("overlap_add", "segments", segments)
    _floating("overlap_add", "segments", segments)
    if len(segments.shape) < 2:
        need = "at least 2 dimensions (..., n_fft, n_frames)"
        raise error(ValueError, "overlap_add", "segments", need, f"shape {tuple(segments.shape)}")
    segments = arrays.moved("overlap_add", "axes", segments, axes, LAST_TWO)
    n_fft, n_frames = segments.shape[-2:]
    if n_frames < 1:
        raise error(ValueError, "overlap_add", "segments", "at least 1 frame", f"shape {tuple(segments.shape)}")
    window, _, live = live_windows("overlap_add", backend, segments, window)
    chosen = _optional_window("overlap_add", n_fft, hop_length, window, segments)
    padding = read_padding("overlap_add", padding)
    placement = Placement.of("overlap_add", chosen.n_fft, chosen.hop, chosen.win_length, center, padding)
    laid = plans.laid_out("overlap_add", "segments", placement, n_frames, length)
    samples = None if window is None else chosen.samples("overlap_add", "window", chosen.window)
    job: Any = Synthesis(laid, samples, None)
    if live is not None:
        job = backend.with_windows(job, [samples], live, None, 0, None, segments)
    return backend.overlap_add(segments, job)


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


def coverage(
    n_frames: int,
    n_fft: int = 2048,
    *,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    synthesis_window: Any = None,
    center: bool = True,
    padding: Padding = None,
    length: int | None = None,
    dtype: str = "float64",
) -> Coverage:
    """Which samples `n_frames` frames determine, and how much noise each takes from the spectrum.

    The noise gain of sample t is sqrt(sum_m v[t - m h]**2) / abs(sum_m v[t - m h] w[t - m h]), relative to its
    largest value in the steady state. Where it is large, exactness is bought with noise: see `max_gain` of `istft`.

    Parameters
    ----------
    n_frames : int
        Frames of the spectrum.
    dtype : "float32" or "float64"
        Precision whose rounding decides what is determined.
    n_fft, hop_length, win_length, window, synthesis_window, center, padding, length
        As in `istft`.

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
    >>> determined, noise_gain = xi.coverage(10, 8, hop_length=2, center=False)
    >>> int(determined.argmin()), int((~determined).sum()), float(noise_gain[1:5].round(2).max())
    (0, 1, 8.36)
    """
    chosen = plans.layout("coverage", n_fft, hop_length, win_length, window, None)
    v = _synthesis_window("coverage", synthesis_window, chosen, None)
    n_frames = integer("coverage", "n_frames", n_frames, 1)
    eps = float(np.finfo(choice("coverage", "dtype", dtype, ("float32", "float64"))).eps)
    padding = read_padding("coverage", padding)
    placement = Placement.of("coverage", chosen.n_fft, chosen.hop, chosen.win_length, center, padding)
    laid = plans.laid_out("coverage", "n_frames", placement, n_frames, length)
    pair = plans.pair_normalisation("coverage", chosen, v, laid, eps)
    determined = pair.gain.samples(laid.start, laid.stop) != 0
    noise_gain = np.where(determined, pair.noise_gain.samples(laid.start, laid.stop), np.inf)
    return Coverage(determined, noise_gain)


@dataclass(frozen=True, eq=False)
class STFT:
    """The parameters of a transform pair, kept: t.stft(x) and t.istft(X) always fit each other.

    The parameters are read when they are used. The object holds no other state: it can be shared by threads, pickled
    and copied.

    Parameters
    ----------
    n_fft, hop_length, win_length, window, center, padding, onesided, scaling, bin_gain, frequencies, axes, workers
        As in `stft` and `istft`.
    pad_mode, axis
        As in `stft`.
    synthesis_window, real, method, weights, regularization, tol, maxiter, nola, max_gain, normalize
        As in `istft`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> t = xi.STFT(n_fft=512, hop_length=128, window="hamming")
    >>> x = np.random.default_rng(0).standard_normal(4000)
    >>> X = t.stft(x)
    >>> bool(np.allclose(t.istft(X, length=4000), x)), t.n_frames(4000), t.n_samples(32)
    (True, 32, 3968)
    """

    n_fft: int = 2048
    hop_length: int | None = None
    win_length: int | None = None
    window: Any = "hann"
    synthesis_window: Any = None
    center: bool = True
    padding: Padding = None
    pad_mode: str = "constant"
    onesided: bool = True
    real: bool = True
    scaling: str | None = None
    bin_gain: Any = None
    normalize: bool = True
    frequencies: Any = None
    method: str = "auto"
    weights: Any = "density"
    regularization: Any = "band"
    tol: float | None = None
    maxiter: int = 100
    nola: str = "warn"
    max_gain: float | None = None
    axis: int = -1
    axes: tuple[int, int] = LAST_TWO
    workers: int | None = None

    _LAYOUT = ("hop_length", "win_length", "center", "padding")
    _BOTH = (*_LAYOUT, "window", "onesided", "scaling", "bin_gain", "frequencies", "axes", "workers")
    _INVERSE = ("synthesis_window", "real", "normalize", "method", "nola", "max_gain")
    _SOLUTION = ("weights", "regularization", "tol", "maxiter")

    def _chosen(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}

    def stft(self, x: Any, *, out: Any = None) -> Any:
        """`stft` of x with these parameters."""
        return stft(x, self.n_fft, out=out, **self._chosen(*self._BOTH, "pad_mode", "axis"))

    def istft(self, X: Any, *, length: int | None = None, out: Any = None) -> Any:
        """`istft` of X with these parameters.

        With frequencies and length= the padding of the analysis is known, and used (`pad_mode` of `istft`).
        """
        chosen = self._chosen(*self._BOTH, *self._INVERSE)
        if self.frequencies is not None:
            chosen.update(self._chosen(*self._SOLUTION), pad_mode=None if length is None else self.pad_mode)
        return istft(X, n_fft=self.n_fft, length=length, out=out, **chosen)

    def n_frames(self, n_samples: int) -> int:
        """Frames of a signal of n_samples samples."""
        return frames.n_frames(n_samples, self.n_fft, **self._chosen(*self._LAYOUT))

    def n_samples(self, n_frames: int) -> int:
        """Samples of a spectrum of n_frames frames, without length=."""
        return frames.n_samples(n_frames, self.n_fft, **self._chosen(*self._LAYOUT))

    def frame_times(self, n_frames: int, *, sr: float = 1.0) -> np.ndarray:
        """Time of the middle of each frame in seconds, for a sampling rate of `sr` Hz."""
        return frames.frame_times(n_frames, self.n_fft, sr=sr, **self._chosen(*self._LAYOUT))

    def bin_frequencies(self, *, sr: float = 1.0) -> np.ndarray:
        """Frequency of each bin in Hz, for a sampling rate of `sr` Hz; `Frequencies` bring their own."""
        if isinstance(self.frequencies, Frequencies):
            return self.frequencies.hz
        return frames.bin_frequencies(self.n_fft, sr=sr, onesided=self.onesided)

    def coverage(self, n_frames: int, *, length: int | None = None, dtype: str = "float64") -> Coverage:
        """`coverage` of n_frames frames with these parameters."""
        chosen = self._chosen(*self._LAYOUT, "window", "synthesis_window")
        return coverage(n_frames, self.n_fft, length=length, dtype=dtype, **chosen)


class iSTFT:  # noqa: N801  the name of nnAudio's layer
    """The inverse layer of nnAudio on arrays of any library, without torch.

    Parameters are nnAudio's, in its order. Training needs torch modules and raises here.

    Parameters
    ----------
    n_fft, win_length, hop_length, window, center
        As in `istft`.
    freq_bins : int, optional
        Number of bins, by default n_fft // 2 + 1; for freq_scale="no" the first of those of the DFT, or n_fft of a
        two-sided spectrum.
    freq_scale : "no", "linear", "log" or "log2"
        Spacing of the bins: those of the DFT, or those of `linear_frequencies` or `log_frequencies`, whose inverse
        is that of `istft` with frequencies=.
    fmin, fmax, sr : float
        Frequency of the first bin, that after the last, and the sampling rate, in Hz; without effect for
        freq_scale="no", as in nnAudio.
    trainable_kernels, trainable_window : bool
        Must be False.
    verbose : bool
        Print one line about the layer.
    refresh_win : bool
        Accepted for nnAudio's sake: the normalisation always belongs to the spectrum at hand.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal((3, 4096))
    >>> X = xi.stft(x, n_fft=512)
    >>> y = xi.iSTFT(n_fft=512)(X, length=4096)
    >>> bool(np.allclose(x, y))
    True
    """

    def __init__(
        self,
        n_fft: int = 2048,
        win_length: int | None = None,
        freq_bins: int | None = None,
        hop_length: int | None = None,
        window: Any = "hann",
        freq_scale: str = "no",
        center: bool = True,
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable_kernels: bool = False,
        trainable_window: bool = False,
        verbose: bool = False,
        refresh_win: bool = True,
    ) -> None:
        n_fft, hop_length, win_length = frames.sizes("iSTFT", n_fft, hop_length, win_length)
        bins = scale_frequencies("iSTFT", n_fft, freq_bins, freq_scale, fmin, fmax, sr)
        for name, value in (("trainable_kernels", trainable_kernels), ("trainable_window", trainable_window)):
            if boolean("iSTFT", name, value):
                raise error(ValueError, "iSTFT", name, "False", True, "xp_istft.nn.ISTFT trains")
        boolean("iSTFT", "refresh_win", refresh_win)
        self._inverse = {
            "n_fft": n_fft,
            "win_length": win_length,
            "hop_length": hop_length,
            "window": window,
            "center": boolean("iSTFT", "center", center),
            "frequencies": bins,
        }
        if boolean("iSTFT", "verbose", verbose):
            sizes = f"n_fft={n_fft}, win_length={win_length}, hop_length={hop_length}"
            print(f"iSTFT: {sizes}, window={window!r}, {bins or 'the bins of the DFT'}")

    def __call__(
        self, X: Any, onesided: bool | None = None, length: int | None = None, refresh_win: bool | None = None
    ) -> Any:
        """The signal of X: complex (..., n_bins, n_frames), or real (..., n_bins, n_frames, 2) pairs.

        onesided : whether X has n_fft // 2 + 1 bins; by default its number of bins tells. Other bins than those of the
                   DFT have no second side.
        length   : samples of the result.
        """
        if refresh_win is not None:
            boolean("iSTFT", "refresh_win", refresh_win)
        if backend_for(X) is not None and dtype_name(X) in ("float32", "float64") and X.shape[-1:] == (2,):
            X = arrays.as_complex(X)
        if self._inverse["frequencies"] is not None:
            onesided = True
        elif onesided is None:
            shape: tuple[int, ...] = getattr(X, "shape", ())
            onesided = len(shape) < 2 or shape[-2] != self._inverse["n_fft"]
        return istft(X, onesided=onesided, length=length, **self._inverse)


def live_windows(
    function: str, backend: Any, array: Any, window: Any, synthesis_window: Any = None
) -> tuple[Any, Any, Any]:
    """The windows to plan with, and those that automatic differentiation or a compiler follows (None: none)."""
    if not offers(backend, "live"):
        return window, synthesis_window, None
    planned_with, live = backend.live(function, array, window=window, synthesis_window=synthesis_window)
    if live is not None and synthesis_window is None:
        live[1] = live[0]
    return *planned_with, live


def _synthesis_window(function: str, synthesis_window: Any, chosen: Layout, array: Any) -> Any:
    """The synthesis window in hashable form; by default that of the analysis."""
    if synthesis_window is None:
        return chosen.window
    return read_window(function, "synthesis_window", synthesis_window, chosen.win_length, array)


def _optional_window(function: str, n_fft: Any, hop_length: Any, window: Any, array: Any) -> Layout:
    if window is None:
        return plans.layout_without_window(function, n_fft, hop_length)
    return plans.layout(function, n_fft, hop_length, None, window, array)


def _floating(function: str, name: str, array: Any) -> None:
    if dtype_name(array) not in ("float32", "float64", "complex64", "complex128"):
        raise error(TypeError, function, name, "dtype float32, float64, complex64 or complex128", array.dtype)


def _workers(function: str, workers: Any) -> int | None:
    return None if workers is None else integer(function, "workers", workers, 1)


def _one_sided(function: str, onesided: bool) -> None:
    if not onesided:
        raise error(ValueError, function, "onesided", "True with frequencies= (bins of real signals)", False)


def _least_squares(
    X: Any, request: Any, n_fft: int, hop_length: Any, win_length: Any, window: Any, synthesis_window: Any,
    live: Any, center: Any, padding: Any, length: Any, onesided: bool, real: Any, scaling: Any, nola: Any,
    max_gain: Any, out: Any, workers: Any,
) -> Any:  # fmt: skip
    """The rest of `istft`, where the inverse is not in closed form."""
    backend = backend_for(X)
    assert backend is not None
    _one_sided("istft", onesided)
    if synthesis_window is not None:
        hint = "the inverse is that of least squares"
        raise error(ValueError, "istft", "synthesis_window", "None with frequencies=", "a window", hint)
    chosen = plans.layout("istft", n_fft, hop_length, win_length, window, X)
    n_bins, n_frames = X.shape[-2:]
    if n_bins != len(request.bins):
        hint = "are the last two axes swapped?" if n_frames == len(request.bins) else ""
        raise error(ValueError, "istft", "X", f"{len(request.bins)} bins as in frequencies", n_bins, hint)
    if n_frames < 1:
        raise error(ValueError, "istft", "X", "at least 1 frame", f"shape {tuple(X.shape)}")
    dtype = dtype_name(X)
    precision = "float64" if dtype == "complex128" else "float32"
    padding = read_padding("istft", padding)
    plan = planned(
        plans.inverse, chosen, chosen.window, n_frames, center, padding, length, onesided, real, scaling, nola,
        max_gain, precision, least_squares.CLIP[precision] if request.method == "dual" else None,
    )  # fmt: skip
    job, forward, scale = plan.job, None, 1.0
    samples = chosen.samples("istft", "window", chosen.window)
    if live is None:
        scale = plans.scale("istft", scaling, samples)
    else:
        pair = [samples, samples]
        eps = float(np.finfo(precision).eps)
        forward = backend.with_windows(Analysis(job.frames, None), pair[:1], live, scaling, 0, None, X)
        job = backend.with_windows(job, pair, live, scaling, eps, max_gain, X)
    workers = _workers("istft", workers)
    result = arrays.real_dtype(dtype)
    if out is not None:
        backend.check_out("istft", out, X, (*X.shape[:-2], job.frames.n_samples), result)
    if plan.warning is not None:
        warnings.warn(plan.warning, CoverageWarning, stacklevel=4)
    least_squares.warn_of_gaps(request.bins, chosen.hop, 4)
    if hasattr(backend, "by_signal"):  # lazy: each task warns for itself
        if request.info:
            raise error(ValueError, "istft", "info", "False for arrays that are not computed yet", True)

        def task(X: Any) -> Any:
            outcome = least_squares.inverse(X, request, chosen, job, forward, scale, workers)
            least_squares.warn_of_unfinished(outcome.unfinished, request.maxiter, 1)
            return outcome.signal

        return backend.by_signal(task, X, 2, (job.frames.n_samples,), result)
    outcome: Any = None

    def solved(X: Any, out: Any) -> Any:
        nonlocal outcome
        outcome = least_squares.inverse(X, request, chosen, job, forward, scale, workers)
        return _written(outcome.signal, out)

    signal = arrays.in_precision(solved, X, result, out)
    least_squares.warn_of_unfinished(outcome.unfinished, request.maxiter, 4)
    return (signal, outcome.report) if request.info else signal


def _written(result: Any, out: Any) -> Any:
    if out is None:
        return result
    out[...] = result
    return out


_AUTO = "auto"


def _ways(backend: ModuleType, method: Any, tune: Any, overwrite: Any) -> dict[str, Any]:
    """What a backend with several ways to make the inverse (its METHODS) is told of them; nothing for the others."""
    if method is _AUTO and tune is False and overwrite is False and not offers(backend, "METHODS"):
        return {}  # as nearly always
    choice("istft", "method", method, ("auto", "fused"))
    tune, overwrite = boolean("istft", "tune", tune), boolean("istft", "overwrite", overwrite)
    if method not in getattr(backend, "METHODS", ("auto",)):
        hint = "one kernel makes the inverse on CuPy arrays only"
        raise error(ValueError, "istft", "method", "'auto' for arrays of this library", repr(method), hint)
    return {"method": method, "tune": tune, "overwrite": overwrite} if offers(backend, "METHODS") else {}
