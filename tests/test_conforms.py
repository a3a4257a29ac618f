"""Conformity: the functions of xp_istft.compat against their peers, over random parameters.

A row of ROWS draws the parameters of one function from a generator seeded by the number of the sample, calls ours and
the peer's, and yields what must be equal: so a sample that fails is named by its number, and can be drawn again. Values
agree to 1e-12 (double) or 1e-6 (single precision) of the largest value, unless the row says otherwise.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.signal

import xp_istft as xi

SHALLOW, DEEP, BATCHES = 200, 5000, 10
TOLERANCE = {"float32": 1e-6, "float64": 1e-12, "complex64": 1e-6, "complex128": 1e-12}
# (peer, function, dtype) -> largest deviation, relative to the largest value; benchmarks/conformance.py reads them
DEVIATIONS: dict[tuple[str, str, str], float] = {}
WINDOWS = ("hann", "hamming", "blackman", "boxcar", ("tukey", 0.5), ("kaiser", 6.0), ("gaussian", 12.0), "cosine")
PEERS = {
    "jax": "jax.scipy.signal",
    "librosa": "librosa",
    "nnaudio": "nnAudio.features",
    "scipy": "scipy.signal",
    "torch": "torch",
}

# ---- what a row draws and yields


class Draw:
    """What a sample chooses, kept so that a failure can say it."""

    def __init__(self, number: int, seed: int) -> None:
        self.rng = np.random.default_rng([seed, number])
        self.chosen: dict[str, object] = {"number": number}

    def one(self, name: str, *choices):
        value = choices[self.rng.integers(len(choices))]
        self.chosen[name] = value
        return value

    def integer(self, name: str, lo: int, hi: int) -> int:
        """One of [lo, hi]."""
        self.chosen[name] = value = int(self.rng.integers(lo, max(lo, hi) + 1))
        return value

    def maybe(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def array(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        values = self.rng.standard_normal(shape)
        if dtype.startswith("complex"):
            values = values + 1j * self.rng.standard_normal(shape)
        return values.astype(dtype)

    def batch(self) -> tuple[int, ...]:
        return self.one("batch", (), (2,), (2, 3))


class Pair(NamedTuple):
    """Two results that must be equal."""

    ours: Any
    theirs: Any
    where: Any = slice(None)  # of the last axis
    dtype: str | None = None  # where we keep a precision that the peer does not
    near: float | None = None  # in place of TOLERANCE
    digits: bool = True  # whether the deviation is one of the function's digits


Sample = Callable[[Draw, ModuleType, ModuleType], Iterator[Pair]]


@dataclass(frozen=True)
class Row:
    peer: str
    function: str
    seed: int
    sample: Sample
    count: int  # samples of every run; those of 200 go on to 5,000 with -m deep


ROWS: list[Row] = []


def conforms(peer: str, function: str, seed: int, count: int = SHALLOW) -> Callable[[Sample], Sample]:
    """A row of the table: a generator function of (draw, ours, theirs)."""

    def add(sample: Sample) -> Sample:
        ROWS.append(Row(peer, function, seed, sample, count))
        return sample

    return add


def modules(peer: str) -> tuple[ModuleType, ModuleType]:
    """Our module and the peer's; the test is skipped where that is not installed."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnAudio's
        theirs = pytest.importorskip(PEERS[peer])
    if peer == "jax":
        importlib.import_module("jax").config.update("jax_enable_x64", True)
    return importlib.import_module(f"xp_istft.compat.{peer}"), theirs


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The result without the warnings, which are compared elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def on_host(array: Any) -> np.ndarray:
    return np.asarray(array.detach() if hasattr(array, "detach") else array)


def envelope(window: np.ndarray, hop: int, n_frames: int) -> np.ndarray:
    """The squared windows overlap-added, written out."""
    total = np.zeros(window.size + hop * (n_frames - 1))
    for m in range(n_frames):
        total[m * hop : m * hop + window.size] += window**2
    return total


# ---- the test


def numbers(row: Row) -> Iterator[Any]:
    """Samples in a few tests each, so that they can run side by side."""
    parts = [(False, 0, row.count), (True, SHALLOW, DEEP)]
    for deep, first, last in parts if row.count == SHALLOW else parts[:1]:
        size = -(-(last - first) // BATCHES)
        for start in range(first, last, size):
            batch = range(start, min(last, start + size))
            name = f"{row.peer}.{row.function}-{'deep' if deep else 'batch'}{(start - first) // size}"
            yield pytest.param(row, batch, id=name, marks=[pytest.mark.deep] if deep else [])


# ---- scipy.signal


def scipy_segments(draw: Draw) -> dict:
    nperseg = draw.integer("nperseg", 3, 80)  # a line through two points leaves rounding noise
    options = {
        "nperseg": nperseg,
        "noverlap": draw.one("noverlap", None, 0, draw.integer("noverlap", 0, nperseg - 1)),
        "nfft": draw.one("nfft", None, nperseg + draw.integer("spare", 0, 20)),
        "fs": draw.one("fs", 1.0, 22050, 0.37),
        "scaling": draw.one("scaling", "spectrum", "psd"),
    }
    window = draw.one("window", *WINDOWS)
    options["window"] = draw.one("as", window, np.abs(draw.array((nperseg,), "float64")) + 0.1)
    return options


@conforms("scipy", "stft", 0)
def scipy_stft(draw, ours, theirs):
    options = scipy_segments(draw)
    n_samples = draw.integer("n_samples", 2 * options["nperseg"], 500)
    shape = [*draw.batch(), n_samples]
    axis = draw.integer("axis", -len(shape), len(shape) - 1)
    shape[axis], shape[-1] = shape[-1], shape[axis]
    x = draw.array(tuple(shape), draw.one("dtype", "float32", "float64", "complex64", "complex128"))
    options |= {
        "axis": axis,
        "return_onesided": draw.one("onesided", True, False),
        "boundary": draw.one("boundary", "zeros", "even", "odd", "constant", None),
        "padded": draw.one("padded", True, False),
        # SciPy fits lines in single precision to 2e-6
        "detrend": draw.one("detrend", False, "constant", *(["linear"] if x.dtype.char in "dD" else [])),
    }
    result, expected = (quietly(module.stft, x, **options) for module in (ours, theirs))
    for mine, other in zip(result[:2], expected[:2], strict=True):
        yield Pair(mine, other, near=1e-13, digits=False)
    yield Pair(result[2], expected[2])


@conforms("scipy", "istft", 1)
def scipy_istft(draw, ours, theirs):
    options = scipy_segments(draw)
    nperseg, onesided = options["nperseg"], draw.one("onesided", True, False)
    options["nfft"] = nfft = options["nfft"] or nperseg
    noverlap = nperseg // 2 if options["noverlap"] is None else options["noverlap"]
    n_frames, boundary = draw.integer("n_frames", 3, 12), draw.one("boundary", True, False)
    shape = (*draw.batch(), nfft // 2 + 1 if onesided else nfft, n_frames)
    Z = draw.array(shape, draw.one("dtype", "complex64", "complex128"))
    freq_axis, time_axis = draw.one("axes", (-2, -1), (-1, -2), (0, Z.ndim - 1))
    Z = np.moveaxis(Z, (-2, -1), (freq_axis, time_axis))
    options |= {"input_onesided": onesided, "boundary": boundary, "freq_axis": freq_axis, "time_axis": time_axis}
    (times, x), (their_times, expected) = (quietly(module.istft, Z, **options) for module in (ours, theirs))
    along = time_axis % Z.ndim - (freq_axis % Z.ndim < time_axis % Z.ndim)
    x, expected = np.moveaxis(x, along, -1), np.moveaxis(expected, along, -1)
    window = options["window"]
    window = scipy.signal.get_window(window, nperseg) if isinstance(window, (str, tuple)) else window
    # SciPy leaves samples undivided where the squared windows sum to 1e-10 or less
    total = envelope(window, nperseg - noverlap, n_frames)
    known = (total[nperseg // 2 : -(nperseg // 2)] if boundary else total) > 1e-10
    if x.ndim == 1:  # SciPy counts the first axis
        yield Pair(times, their_times, near=1e-13, digits=False)
    assert times.shape == (x.shape[-1],)
    yield Pair(x, expected, known)


@conforms("scipy", "spectrogram", 13)
def scipy_spectrogram(draw, ours, theirs):
    options = scipy_segments(draw)
    x = draw.array((3, draw.integer("n_samples", 2 * options["nperseg"], 500)), draw.one("dtype", "f", "d", "F", "D"))
    axis = draw.one("axis", 0, 1, -1)
    if isinstance(options["window"], np.ndarray) or draw.maybe(0.1):
        options["nperseg"] = None
    if options["nperseg"] is None and not isinstance(options["window"], np.ndarray):  # 256, or the signal
        options |= {"noverlap": None, "nfft": None}
    options |= {
        "axis": axis,
        "scaling": draw.one("scaling", "density", "spectrum"),
        "return_onesided": draw.one("onesided", True, False),
        "detrend": draw.one("detrend", False, "constant", *(["linear"] if x.dtype.char in "dD" else [])),
    }
    x = x if axis else x.T.copy()
    mode = draw.one("mode", "psd", "complex", "magnitude", "angle")
    (*ticks, S), (*their_ticks, expected) = (
        quietly(module.spectrogram, x, mode=mode, **options) for module in (ours, theirs)
    )
    for mine, other in zip(ticks, their_ticks, strict=True):
        yield Pair(mine, other, near=1e-13, digits=False)
    if mode == "angle":  # of which small bins have none, and all have one of two at the cut
        size = quietly(theirs.spectrogram, x, mode="magnitude", **options)[-1]
        turn = size * np.exp(1j * (S - expected)) / size.max()
        yield Pair(turn.astype(np.result_type(S, 1j)), (size / size.max()).astype(np.result_type(S, 1j)), digits=False)
        assert S.dtype == expected.dtype
        phase = quietly(ours.spectrogram, x, mode="phase", **options)[-1]
        unwrapped = np.unwrap(S, axis=axis if axis >= 0 else axis - 1)
        yield Pair(phase, unwrapped, near=1e-6, digits=False)
    else:
        yield Pair(S, expected)


@conforms("scipy", "ShortTimeFFT", 2)
def scipy_short_time_fft(draw, ours, theirs):
    size = draw.integer("m_num", 2, 60)
    hop = draw.integer("hop", 1, size)
    window = scipy.signal.get_window(draw.one("window", "hamming", "boxcar", ("tukey", 0.5), "cosine"), size) + 0.01
    mode = draw.one("fft_mode", "onesided", "onesided2X", "twosided", "centered")
    mfft = size + draw.one("spare", 0, 0, 1, 7)
    options = {
        "fs": draw.one("fs", 1.0, 8000.0, 0.3),
        "fft_mode": mode,
        "mfft": mfft,
        "scale_to": draw.one("scale_to", "magnitude", "psd", *([] if mode == "onesided2X" else [None])),
        "phase_shift": draw.one("phase_shift", None, 0, draw.integer("shift", 1 - mfft, mfft - 1)),
    }
    if draw.maybe(0.2) and mode in ("twosided", "centered"):
        window = window * np.exp(1j * draw.rng.random(size))
    if draw.maybe(0.2):
        options["dual_win"] = draw.array((size,), "float64")
    mine, peer = ours.ShortTimeFFT(window.copy(), hop, **options), theirs.ShortTimeFFT(window, hop, **options)
    n = draw.integer("n", -(-size // 2), 300)
    dtype = draw.one("dtype", "float32", "float64", *(() if mine.onesided_fft else ("complex64", "complex128")))
    x = draw.array((*draw.batch(), n), dtype)
    k_offset = draw.one("k_offset", 0, draw.integer("k_offset", -size, size))
    padding = draw.one("padding", "zeros", "edge", "even", "odd")
    if padding != "zeros":  # else SciPy pads what is left of the signal after the first slices
        k_offset = min(k_offset, -mine.k_min)
    kept = {"k_offset": k_offset, "padding": padding}
    S = mine.stft(x, **kept)
    expected = peer.stft(x.reshape(-1, n), **kept).reshape(S.shape)  # SciPy raises for 3 axes and mfft > m_num
    single = dtype in ("float32", "complex64")
    yield Pair(S, expected, dtype="complex64" if single else None)
    p0 = draw.integer("p0", mine.p_min, mine.p_max(n) - 1)
    p1 = draw.integer("p1", p0 + 1, mine.p_max(n))
    yield Pair(mine.stft(x, p0, p1, **kept), S[..., p0 - mine.p_min : p1 - mine.p_min])

    S = draw.array(S.shape, "complex64" if single else "complex128")  # that no signal has
    k1 = draw.integer("k1", -(-size // 2), mine.k_max(n))
    k0 = draw.integer("k0", 0, k1 - -(-size // 2))
    expected = peer.istft(S, 0, k1)[..., k0:]  # SciPy raises where a slice ends before k0
    real = "float32" if mine.onesided_fft else "complex64"
    yield Pair(mine.istft(S, k0, k1), expected, dtype=real if single else None)


# ---- jax.scipy.signal, which compiles anew for every shape: few shapes, many values

JAX_SHAPES = ((8, None, None, "float32"), (15, 4, 20, "float64"), (16, 12, None, "float64"))  # nperseg, noverlap, nfft


def jax_segments(draw: Draw) -> tuple[dict, str]:
    nperseg, noverlap, nfft, dtype = JAX_SHAPES[draw.integer("shape", 0, len(JAX_SHAPES) - 1)]
    options = {
        "nperseg": nperseg,
        "noverlap": noverlap,
        "nfft": nfft,
        "fs": draw.rng.uniform(0.1, 1e4),
        "window": draw.one("window", *WINDOWS, np.abs(draw.array((nperseg,), dtype)) + 0.1),
    }
    return options, dtype


def in_jax(array: np.ndarray) -> Any:
    return importlib.import_module("jax").numpy.asarray(array)


@conforms("jax", "stft", 8)
def jax_stft(draw, ours, theirs):
    options, dtype = jax_segments(draw)
    options |= {"return_onesided": draw.one("onesided", True, False), "boundary": draw.one("boundary", "zeros", None)}
    x = in_jax(draw.array((2, 96), dtype))
    mine, expected = ours.stft(x, **options), theirs.stft(x, **options)
    for one, other in zip(mine[:2], expected[:2], strict=True):
        yield Pair(one, other, digits=False)
    yield Pair(mine[2], expected[2])


@conforms("jax", "istft", 9)
def jax_istft(draw, ours, theirs):
    options, dtype = jax_segments(draw)
    nperseg, n_frames = options["nperseg"], 6
    options["nfft"] = nfft = options["nfft"] or nperseg
    options["input_onesided"] = onesided = draw.one("onesided", True, False)
    options["boundary"] = boundary = draw.one("boundary", True, False)
    kind = "complex64" if dtype == "float32" else "complex128"
    Z = in_jax(draw.array((2, nfft // 2 + 1 if onesided else nfft, n_frames), kind))
    times, x = quietly(ours.istft, Z, **options)  # of samples that no window weighs
    assert times.shape == (x.shape[-1],)
    hop = nperseg - (nperseg // 2 if options["noverlap"] is None else options["noverlap"])
    window = options["window"]
    window = window if isinstance(window, np.ndarray) else scipy.signal.get_window(window, nperseg)
    total = envelope(window, hop, n_frames)
    total = total[nperseg // 2 : -(nperseg // 2)] if boundary else total
    yield Pair(x, theirs.istft(Z, **options)[1], total > 1e-10)


# ---- torch


def torch_sizes(draw: Draw, real: str) -> dict:
    n_fft = draw.integer("n_fft", 4, 80)
    win_length = draw.one("win_length", None, draw.integer("win_length", 2, n_fft))
    window = scipy.signal.get_window(draw.one("window", *WINDOWS), win_length or n_fft) + draw.one("offset", 0, 0.05)
    return {
        "n_fft": n_fft,
        "hop_length": draw.one("hop_length", None, draw.integer("hop_length", 1, win_length or n_fft)),
        "win_length": win_length,
        "window": tensor(window.astype(real)),
        "normalized": draw.one("normalized", False, True),
    }


def tensor(array: np.ndarray) -> Any:
    return importlib.import_module("torch").from_numpy(array)


@conforms("torch", "stft", 3)
def torch_stft(draw, ours, theirs):
    dtype = draw.one("dtype", "float32", "float64", "complex64", "complex128")
    options = torch_sizes(draw, "float32" if dtype in ("float32", "complex64") else "float64")
    n_fft, hop = options["n_fft"], options["hop_length"] or options["n_fft"] // 4
    if draw.maybe(0.1):
        options["window"] = None
    options["center"] = draw.one("center", True, False)
    if options["center"]:
        options["pad_mode"] = draw.one("pad_mode", "reflect", "constant", "replicate", "circular")
    else:
        options["align_to_window"] = draw.one("align", None, True, False)
    options |= {
        "onesided": draw.one("onesided", None, False),
        "return_complex": draw.one("return_complex", True, False),
    }
    shape = draw.one("shape", (), (3,))
    x = tensor(draw.array((*shape, draw.integer("n_samples", n_fft, 400)), dtype))
    X = quietly(ours.stft, x, **options, strict=True)
    win_length = options["win_length"] or n_fft
    if options.get("align_to_window") and (n_fft - win_length) % 2:  # torch reads beyond its memory, or raises
        assert X.shape[len(shape) + 1] == 1 + (x.shape[-1] - win_length) // hop
    else:  # without deprecations and advice of torch's
        yield Pair(X, quietly(theirs.stft, x, **options))


@conforms("torch", "istft", 4)
def torch_istft(draw, ours, theirs):
    dtype = draw.one("dtype", "complex64", "complex128")
    options = torch_sizes(draw, "float32" if dtype == "complex64" else "float64")
    n_fft, hop = options["n_fft"], options["hop_length"] or options["n_fft"] // 4
    n_frames, onesided = draw.integer("n_frames", 1, 12), draw.one("onesided", True, False)
    X = draw.array((*draw.one("shape", (), (3,)), n_fft // 2 + 1 if onesided else n_fft, n_frames), dtype)
    options["center"] = draw.one("center", True, False)
    options["onesided"] = None if draw.maybe(0.5) and n_fft > 2 else onesided
    options["return_complex"] = not onesided and draw.maybe()
    options["length"] = draw.one("length", None, draw.integer("length", 8, n_fft + hop * (n_frames - 1)))
    X = tensor(X)
    try:
        expected = quietly(theirs.istft, X, **options)
    except (RuntimeError, IndexError):
        with pytest.raises(RuntimeError):
            ours.istft(X, **options, strict=True)
    else:
        yield Pair(quietly(ours.istft, X, **options, strict=True), expected)


# ---- librosa


def librosa_sizes(draw: Draw) -> dict:
    n_fft = draw.integer("n_fft", 8, 80)
    win_length = draw.one("win_length", None, draw.integer("win_length", 4, n_fft))
    window = draw.one("window", *WINDOWS, np.hamming, 4.0)
    if draw.maybe(0.2):
        window = np.abs(draw.array((win_length or n_fft,), "float64")) + 0.1
    hop = draw.one("hop_length", None, draw.integer("hop_length", 1, win_length or n_fft), n_fft + 3)
    hop = hop or max(1, (win_length or n_fft) // 4)  # librosa's default is 0 for windows of 3 samples or less
    return {"n_fft": n_fft, "hop_length": hop, "win_length": win_length, "window": window}


@conforms("librosa", "stft", 5)
def librosa_stft(draw, ours, theirs):
    options = librosa_sizes(draw)
    options["center"] = draw.one("center", True, False)
    options["pad_mode"] = draw.one("pad_mode", "constant", "reflect", "edge", "symmetric")
    y = draw.array((*draw.batch(), draw.integer("n_samples", options["n_fft"], 400)), draw.one("d", "f4", "f8"))
    options["dtype"] = draw.one("dtype", None, np.complex64, np.complex128)
    X = ours.stft(y, **options)
    if options["center"]:  # padded here: see test_the_last_frame_of_a_reflected_signal
        y = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(options["n_fft"] // 2,) * 2], mode=options["pad_mode"])
    yield Pair(X, theirs.stft(y, **options | {"center": False}))


@conforms("librosa", "istft", 6)
def librosa_istft(draw, ours, theirs):
    options = librosa_sizes(draw)
    n_fft, hop, win_length = options["n_fft"], options["hop_length"], options["win_length"] or options["n_fft"]
    options["center"] = center = draw.one("center", True, False)
    n_frames = draw.integer("n_frames", 1 + -(-n_fft // hop), 30)
    options["length"] = draw.one("length", None, draw.integer("length", 8, n_fft + hop * (n_frames - 1) + 8))
    X = draw.array((*draw.batch(), n_fft // 2 + 1, n_frames), draw.one("dtype", "complex64", "complex128"))
    samples = theirs.filters.get_window(options["window"], win_length)
    total = envelope(theirs.util.pad_center(samples, size=n_fft), hop, n_frames)
    y, expected = ours.istft(X, **options), theirs.istft(X, **options)
    total = total[n_fft // 2 if center else 0 :][: y.shape[-1]]
    total = np.pad(total, (0, y.shape[-1] - total.size))
    # librosa divides by float32 sums of squares: its own error grows where they are small
    yield Pair(y, expected, (total > 1e-3 * total.max()) | (total == 0))


@conforms("librosa", "window_sumsquare", 7, count=40)
def librosa_window_sumsquare(draw, ours, theirs):
    options = librosa_sizes(draw)
    options |= {
        "n_frames": draw.integer("n_frames", 1, 20),
        "dtype": draw.one("dtype", np.float32, np.float64),
        "norm": draw.one("norm", None, 1, 2, np.inf),
    }
    yield Pair(ours.window_sumsquare(**options), theirs.filters.window_sumsquare(**options))


@conforms("librosa", "griffinlim", 10, count=20)
def librosa_griffinlim(draw, ours, theirs):
    """Random phases are librosa's where the seed is."""
    n_fft, length = draw.one("n_fft", 64, 65, 128), draw.one("length", None, 1000)
    y = draw.array((*draw.one("batch", (), (2,)), 1000), draw.one("dtype", "float32", "float64"))
    options = {
        "n_fft": n_fft,
        "hop_length": draw.one("hop_length", None, 13, 32),
        "win_length": draw.one("win_length", None, 60),
        "window": draw.one("window", "hann", "hamming"),
        "center": draw.one("center", True, False),
    }
    S = np.abs(theirs.stft(y, **options))
    options |= {"length": length, "pad_mode": draw.one("pad_mode", "constant", "reflect")}
    options |= {"n_iter": draw.one("n_iter", 0, 1, 5), "momentum": draw.one("momentum", 0, 0.5, 0.99)}
    options["init"] = draw.one("init", "random", None)
    mine, expected = (module.griffinlim(S, random_state=0, **options) for module in (ours, theirs))
    # an iteration turns a rounding error of small bins into a phase
    yield Pair(mine, expected, near=1e-2 if y.dtype == "float32" else 1e-9, digits=False)


# ---- nnAudio, whose kernels are made in single precision

NNAUDIOS = 2e-6


@conforms("nnaudio", "stft", 11)
def nnaudio_stft(draw, ours, theirs):
    n_fft = draw.integer("n_fft", 8, 64)
    options = {
        "n_fft": n_fft,
        "win_length": draw.one("win_length", None, draw.integer("win_length", 4, n_fft)),
        "hop_length": draw.one("hop_length", None, draw.integer("hop_length", 1, n_fft)),
        "window": draw.one("window", "hann", "hamming", "blackman", ("kaiser", 5.0)),
        "center": draw.one("center", True, False),
        "pad_mode": draw.one("pad_mode", "reflect", "constant"),
        "trainable": draw.one("trainable", False, True),
    }
    mine, peer = (module.STFT(**options, verbose=False) for module in (ours, theirs))
    n_samples = draw.integer("n_samples", n_fft, 300)
    x = tensor(draw.array((*draw.one("shape", (), (2,), (2, 1)), n_samples), "float32"))
    yield Pair(mine(x), peer(x), near=NNAUDIOS)
    size = mine(x, "Magnitude").detach()
    sure = (size**2 + 1e-8) ** 0.5 if options["trainable"] else size  # nnAudio's, for a gradient at 0; ours has one
    yield Pair(sure + 1, peer(x, "Magnitude") + 1, near=NNAUDIOS)
    turn, top = (mine(x, "Phase") - peer(x, "Phase")).detach(), float(size.max())
    yield Pair((1 - turn.cos()) * size + top, 0 * size + top, near=1e-3, digits=False)


@conforms("nnaudio", "istft", 12)
def nnaudio_istft(draw, ours, theirs):
    """Where nnAudio works: even n_fft, for the layer win_length = n_fft, enough frames for length."""
    n_fft, layer = 2 * draw.integer("half", 4, 32), draw.one("layer", "iSTFT", "STFT")
    hop = draw.integer("hop_length", 1, n_fft // 4)
    options = {
        "n_fft": n_fft,
        "hop_length": hop,
        "window": draw.one("window", "hann", "hamming", ("kaiser", 5.0)),
        "center": draw.one("center", True, False),
    }
    if layer == "STFT":
        options |= {"win_length": draw.integer("win_length", n_fft // 2, n_fft), "iSTFT": True}
    else:
        for name in ("trainable_kernels", "trainable_window"):
            options[name] = draw.one(name, False, True)
    layers = [getattr(module, layer)(**options, verbose=False) for module in (ours, theirs)]
    onesided, n_frames = draw.one("onesided", True, False), draw.integer("n_frames", -(-n_fft // hop) + 1, 30)
    whole = n_fft + hop * (n_frames - 1)
    X = xi.stft(draw.array((2, whole), "float64"), n_fft, hop_length=hop, center=False, onesided=onesided)
    X = tensor(np.stack([X.real, X.imag], -1).astype(np.float32))
    whole -= n_fft if options["center"] else 0
    length = draw.one("length", None, draw.integer("length", min(n_fft, whole), whole))
    inverses = [each if layer == "iSTFT" else each.inverse for each in layers]
    y, expected = (quietly(inverse, X, onesided=onesided, length=length) for inverse in inverses)
    window = scipy.signal.get_window(options["window"], options.get("win_length", n_fft))
    left = (n_fft - window.size) // 2
    total = envelope(np.pad(window, (left, n_fft - window.size - left)), hop, n_frames)
    total = total[n_fft // 2 if options["center"] else 0 :][: y.shape[-1]]
    # nnAudio's error is divided by the sum of squares, and some of its results are double precision
    yield Pair(y, expected.float(), total > 0.05 * total.max(), near=NNAUDIOS)


# ---- the table is whole


@pytest.mark.parametrize(("row", "batch"), [each for row in ROWS for each in numbers(row)])
def test_our_functions_are_their_peers(row, batch):
    ours, theirs = modules(row.peer)
    for number in batch:
        draw = Draw(number, row.seed)
        for pair in row.sample(draw, ours, theirs):
            check(row, draw, pair)


def check(row: Row, draw: Draw, pair: Pair) -> None:
    """Same shape, same dtype, same values."""
    mine, expected = on_host(pair.ours), on_host(pair.theirs)
    assert mine.shape == expected.shape, (mine.shape, expected.shape, draw.chosen)
    assert mine.dtype == (pair.dtype or expected.dtype), (mine.dtype, expected.dtype, draw.chosen)
    mine, expected = mine[..., pair.where], expected[..., pair.where]
    if not expected.size:
        return
    size, off = np.abs(expected).max(), np.abs(mine - expected).max()
    kind = mine.dtype.name
    assert off <= (pair.near or TOLERANCE[kind]) * size, (off / size, draw.chosen)
    if pair.digits:
        key = (row.peer, row.function, kind)
        DEVIATIONS[key] = max(DEVIATIONS.get(key, 0.0), float(off / (size or 1)))


SIGNATURES = [
    *((peer, name) for peer in ("jax", "scipy") for name in ("stft", "istft")),
    ("scipy", "spectrogram"),
    *(("librosa", name) for name in ("stft", "istft", "magphase")),
    *(("nnaudio", name) for name in ("STFT", "iSTFT", "Griffin_Lim", "STFT.forward", "iSTFT.forward")),
    ("torch", "stft"),  # istft is built in, and has none
]


@pytest.mark.parametrize(("peer", "name"), SIGNATURES)
def test_signatures_are_the_peers(peer, name):
    shown = []
    for module in modules(peer):
        door = module
        for part in name.split("."):
            door = getattr(door, part)
        of_ours = ("strict", "legacy")  # beside the peer's own, by keyword
        parameters = [each for each in inspect.signature(door).parameters.values() if each.name not in of_ours]
        renamed = {  # by SciPy 1.17, which knows both
            "hann_periodic": "hann",
            "('tukey_periodic', 0.25)": ("tukey", 0.25),
        }
        shown.append([(each.name, renamed.get(str(each.default), each.default), each.kind) for each in parameters])
    assert shown[0] == shown[1]
