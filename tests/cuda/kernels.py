"""Random problems for each kernel, how it is launched on NumPy arrays, and what it must make, in float64.

A kernel here is anything that is called as cupy.RawKernel is: built by g++, interpreted as PTX, or real. Arrays that a
kernel writes begin as NaN.
"""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np

from xp_istft.frames import PAD_MODES, Frames, padding_index
from xp_istft.windows import HopPeriodic, normalisation

FOLDER = files("xp_istft.backends") / "cuda"
THREADS = 256
DTYPES = {("float", 1): "f4", ("float", 2): "c8", ("double", 1): "f8", ("double", 2): "c16"}


def source(name: str) -> str:
    text = (FOLDER / f"{name}.cu").read_text()
    return re.sub(r'#include "(\w+\.cuh)"', lambda match: (FOLDER / match[1]).read_text(), text)


def options(macros: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"-D{key}={value}" for key, value in sorted(macros.items()))


def eps(array: np.ndarray) -> float:
    return float(np.finfo(array.dtype).eps)


def noise(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = random.standard_normal(shape)
    return (values + 1j * random.standard_normal(shape) if dtype[0] == "c" else values).astype(dtype)


def widest_vector(most: int, steps: list[int]) -> int:
    return next(width for width in (4, 2, 1) if width <= most and math.gcd(*steps) % width == 0)


def index_type(macros: dict[str, Any]) -> type:
    return np.int64 if macros.get("XI_INDEX_BITS") == 64 else np.int32


# ---- overlap_add.cu --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OverlapAdd:
    """segments (n_batch, n_frames, >= n_fft): rows may have a few samples to spare."""

    frames: Frames
    segments: np.ndarray
    window: np.ndarray
    gain: HopPeriodic | None
    keep: int
    origin: int = 0

    def macros(self, **others: Any) -> dict[str, Any]:
        steps = [self.frames.hop, self.frames.n_fft, self.frames.start, self.segments.shape[-1]]
        if len(self.segments) > 1:
            steps.append(self.frames.n_samples)
        return {
            "XI_REAL": "float" if self.segments.real.dtype == np.float32 else "double",
            "XI_PARTS": 2 if self.segments.dtype.kind == "c" else 1,
            "XI_KEEP": self.keep,
            "XI_VECTOR": widest_vector(16 // self.segments.itemsize, steps),
            "XI_GAIN": int(self.gain is not None),
            "XI_INDEX_BITS": 32,
            **others,
        }

    def launch(self, kernel: Callable[..., None], macros: dict[str, Any], most_blocks: int = 1 << 20) -> np.ndarray:
        frames, index = self.frames, index_type(macros)
        kind = self.segments.real.dtype
        n_batch, rows = len(self.segments), self.segments.shape[-1]
        dtype = self.segments.dtype if self.keep == macros["XI_PARTS"] else kind
        signal = np.full((n_batch, frames.n_samples), np.nan, dtype)
        values, (n_head, tail_start, n_tail) = self.window.astype(kind), (0, 0, 0)
        if self.gain is not None:
            gain = self.gain
            n_head, tail_start, n_tail = gain.head.size, gain.tail_start, gain.tail.size
            values = np.concatenate([gain.head, gain.period, gain.tail]).astype(kind)
        blocks = -(-frames.n_samples // (THREADS * macros["XI_VECTOR"]))
        kernel(
            (min(blocks, most_blocks), min(n_batch, most_blocks)),
            (THREADS,),
            (
                self.segments, self.window.astype(kind), values, signal,
                *map(np.int64, (n_batch, frames.n_frames * rows, rows, frames.n_samples)),
                *map(index, (frames.n_frames, frames.n_fft, frames.hop, frames.overlap, frames.start)),
                *map(index, (frames.n_samples, self.origin, n_head, tail_start, n_tail)),
            ),
        )  # fmt: skip
        return signal

    def expected(self, absolute: bool = False) -> np.ndarray:
        """The sum in float64; `absolute`: of absolute values, which bounds its rounding errors."""
        frames = self.frames
        kind = self.segments.real.dtype
        window, segments = self.window.astype(kind).astype(float), self.segments[..., : frames.n_fft]
        segments = segments.astype(complex) if segments.dtype.kind == "c" else segments.astype(float)
        values = (
            None if self.gain is None else self.gain.samples(*(self.origin + np.array([frames.start, frames.stop])))
        )
        if absolute:
            segments, window = np.abs(segments.real) + 1j * np.abs(segments.imag), np.abs(window)
            values = None if values is None else np.abs(values)
        signal = np.zeros((len(segments), frames.n_samples), complex)
        for m in range(frames.n_frames):
            at = m * frames.hop - frames.start
            lo, hi = max(0, at), min(at + frames.n_fft, frames.n_samples)
            if lo < hi:
                signal[:, lo:hi] += (window * segments[:, m])[:, lo - at : hi - at]
        if values is not None:
            signal = signal * values.astype(kind).astype(float)
        return signal if self.keep == 2 else signal.real

    def error(self, signal: np.ndarray) -> float:
        """The largest error of a sample, in eps of the sum of absolute values."""
        if not np.isfinite(signal).all():
            return math.inf
        bound = self.expected(absolute=True)
        floor = np.finfo(signal.dtype).tiny / eps(signal)
        difference = signal - self.expected()
        worst = 0.0
        for part, most in ((difference.real, bound.real), (difference.imag, bound.imag)):
            worst = max(worst, float((np.abs(part) / (eps(signal) * np.maximum(most, floor))).max(initial=0)))
        return worst


def overlap_add_problem(
    random: np.random.Generator,
    real: str,
    parts: int = 1,
    keep: int | None = None,
    multiple: int = 1,
    gain: bool = True,
) -> OverlapAdd:
    """Frames of any size about a signal of any size, all sizes multiples of `multiple`."""
    n_fft = multiple * int(random.integers(max(1, 2 // multiple), 65))
    hop = multiple * int(random.integers(1, 2 + n_fft // multiple * 5 // 4))
    n_frames = int(random.integers(1, 40))
    span = n_fft + hop * (n_frames - 1)
    start = multiple * int(random.integers(-4, n_fft // multiple) if random.random() < 0.8 else random.integers(-9, 0))
    stop = max(start + 1, span + int(random.integers(-n_fft, n_fft)))
    n_batch = int(random.integers(1, 4))
    if n_batch > 1:
        stop = start + -(-(stop - start) // multiple) * multiple
    frames = Frames(n_fft, hop, n_frames, start, stop)
    window = random.uniform(0.05, 1, n_fft) if random.random() < 0.5 else np.sin(np.pi * np.arange(n_fft) / n_fft) ** 2
    dtype = DTYPES[real, parts]
    gains = normalisation(window, window, frames, float(np.finfo(dtype).eps)) if gain else None
    spare = multiple * int(random.integers(0, 3))
    segments = noise(random, (n_batch, n_frames, n_fft + spare), dtype)
    whole = OverlapAdd(frames, segments, window, gains, keep or parts)
    if random.random() < 0.3:  # a segment of the job, whose gain is that of the whole
        middle = frames.start + multiple * ((frames.n_samples // 2) // multiple)
        columns, part = frames.segment(middle, max(middle + 1, frames.stop))
        if n_batch == 1 or part.n_samples % multiple == 0:
            chosen = np.ascontiguousarray(segments[:, columns])
            return replace(whole, frames=part, segments=chosen, origin=columns.start * hop)
    return whole


def uncovered_problem() -> OverlapAdd:
    """Infinity in every frame, and samples that no window weighs: at both ends, and beyond."""
    frames = Frames(16, 4, 5, -3, 40)
    window = np.hanning(17)[:-1]
    gain = normalisation(window, window, frames, float(np.finfo(np.float32).eps))
    return OverlapAdd(frames, np.full((1, 5, 16), np.inf, np.float32), window, gain, 1)


# ---- transpose.cu, copy_rows.cu --------------------------------------------------------------------------------------


def real_ended(spectrum: np.ndarray, nyquist: int) -> np.ndarray:
    """spectrum (n_batch, n_frames, n_bins) with real DC and Nyquist bins."""
    ended = spectrum.copy()
    for column in (0, nyquist):
        if column >= 0:
            ended[..., column] = ended[..., column].real
    return ended


def transposed(kernel: Callable[..., None], array: np.ndarray, nyquist: int, most_blocks: int = 1 << 20) -> np.ndarray:
    """array (n_batch, n_rows, >= n_cols), its last column left out, as (n_batch, n_cols, n_rows)."""
    n_batch, n_rows, pitch = array.shape
    n_cols = pitch - 1
    to = np.full((n_batch, n_cols, n_rows), np.nan, array.dtype)
    tiles = -(-n_rows // 32) * -(-n_cols // 32)
    sizes = (n_batch, n_rows, n_cols, n_rows * pitch, pitch, n_cols * n_rows, n_rows, nyquist)
    kernel((min(tiles, most_blocks), min(n_batch, most_blocks)), (THREADS,), (array, to, *map(np.int64, sizes)))
    return to


def copied_rows(kernel: Callable[..., None], array: np.ndarray, nyquist: int, most_blocks: int = 1 << 20) -> np.ndarray:
    """array (n_batch, n_rows, >= n_cols), without its last column."""
    n_batch, n_rows, pitch = array.shape
    to = np.full((n_batch, n_rows, pitch - 1), np.nan, array.dtype)
    grid = (min(-(-n_rows * (pitch - 1) // THREADS), most_blocks), min(n_batch, most_blocks))
    sizes = (np.int64(n_batch), np.int64(n_rows), np.int32(pitch - 1), np.int64(n_rows * pitch), np.int64(pitch))
    kernel(grid, (THREADS,), (array, to, *sizes, np.int32(nyquist)))
    return to


# ---- frame.cu --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Framing:
    frames: Frames
    signal: np.ndarray
    window: np.ndarray
    pad_mode: str
    make: int

    def macros(self, **others: Any) -> dict[str, Any]:
        parts = 2 if self.signal.dtype.kind == "c" else 1
        steps = [self.frames.hop, self.frames.n_fft, self.frames.start]
        if len(self.signal) > 1:
            steps.append(self.frames.n_samples)
        return {
            "XI_REAL": "float" if self.signal.real.dtype == np.float32 else "double",
            "XI_PARTS": parts,
            "XI_MAKE": self.make,
            "XI_VECTOR": widest_vector(16 // (self.signal.real.itemsize * self.make), steps),
            "XI_INDEX_BITS": 32,
            **others,
        }

    def launch(self, kernel: Callable[..., None], macros: dict[str, Any], most_blocks: int = 1 << 20) -> np.ndarray:
        frames, index = self.frames, index_type(macros)
        n_batch, n_samples = self.signal.shape
        dtype = DTYPES[macros["XI_REAL"], self.make]
        segments = np.full((n_batch, frames.n_frames, frames.n_fft), np.nan, dtype)
        blocks = -(-frames.n_frames * frames.n_fft // (THREADS * macros["XI_VECTOR"]))
        sizes = (frames.n_frames, frames.n_fft, frames.hop, frames.start, n_samples)
        kernel(
            (min(blocks, most_blocks), min(n_batch, most_blocks)),
            (THREADS,),
            (
                self.signal, self.window.astype(self.signal.real.dtype), segments,
                np.int64(n_batch), np.int64(n_samples), *map(index, sizes), np.int32(PAD_MODES.index(self.pad_mode)),
            ),
        )  # fmt: skip
        return segments

    def expected(self) -> np.ndarray:
        """One multiplication a sample: the same bits."""
        frames = self.frames
        n_samples = frames.n_samples
        t = np.arange(frames.n_frames)[:, None] * frames.hop + np.arange(frames.n_fft) - frames.start
        inside = (t >= 0) & (t < n_samples)
        if self.pad_mode == "constant":
            values = np.where(inside, self.signal[:, np.clip(t, 0, n_samples - 1)], 0)
        else:
            reach = max(frames.span, frames.stop) + abs(frames.start)
            values = self.signal[:, padding_index(-reach, reach, n_samples, self.pad_mode)[t + reach]]
            values = np.where(inside, self.signal[:, np.clip(t, 0, n_samples - 1)], values)
        return (values * self.window.astype(self.signal.real.dtype)).astype(values.dtype)


def framing_problem(
    random: np.random.Generator,
    real: str,
    parts: int = 1,
    make: int | None = None,
    multiple: int = 1,
    mode: str = "reflect",
) -> Framing:
    n_fft = multiple * int(random.integers(max(1, 2 // multiple), 65))
    hop = multiple * int(random.integers(1, 2 + n_fft // multiple * 5 // 4))
    n_samples = multiple * int(random.integers(1, 300))
    start = multiple * int(random.integers(0, 2 * n_fft // multiple))
    n_frames = 1 + max(0, n_samples + 2 * start - n_fft) // hop
    frames = Frames(n_fft, hop, n_frames, start, start + n_samples)
    signal = noise(random, (int(random.integers(1, 4)), n_samples), DTYPES[real, parts])
    return Framing(frames, signal, random.uniform(-1, 1, n_fft), mode, make or parts)


# ---- istft_fused.cu --------------------------------------------------------------------------------------------------


def fused_threads(n_fft: int) -> int:
    return 256 if n_fft == 2048 else 128


@dataclass(frozen=True)
class Fused:
    """spectrum (n_batch, n_bins, n_frames), in memory by frame or by time; job and gain as in `OverlapAdd`.

    run : samples of a block
    """

    frames: Frames
    spectrum: np.ndarray
    window: np.ndarray
    gain: HopPeriodic
    origin: int = 0
    run: int = 1 << 20

    def macros(self, **others: Any) -> dict[str, Any]:
        steps = [self.frames.hop, self.frames.start]
        if len(self.spectrum) > 1:
            steps.append(self.frames.n_samples)
        return {
            "XI_LOG2_N_FFT": self.frames.n_fft.bit_length() - 1,
            "XI_THREADS": fused_threads(self.frames.n_fft),
            "XI_WIDTH": widest_vector(4, steps),
            "XI_BY_TIME": int(self.spectrum.strides[1] != self.spectrum.itemsize),
            **others,
        }

    def launch(self, kernel: Callable[..., None], macros: dict[str, Any], most_blocks: int = 1 << 20) -> np.ndarray:
        frames, gain = self.frames, self.gain
        n_batch = len(self.spectrum)
        signal = np.full((n_batch, frames.n_samples), np.nan, np.float32)
        turns = np.exp(2j * np.pi * np.arange(frames.n_fft) / frames.n_fft).astype(np.complex64)
        values = np.concatenate([gain.head, gain.period, gain.tail]).astype(np.float32)
        blocks = -(-frames.n_samples // self.run)
        strides = (stride // self.spectrum.itemsize for stride in self.spectrum.strides)
        sizes = (n_batch, *strides, frames.n_samples, frames.n_frames, frames.hop, frames.start, frames.n_samples)
        sizes += (self.origin, gain.head.size, gain.tail_start, gain.tail.size, self.run)
        window = (self.window / frames.n_fft).astype(np.float32)
        kernel(
            (min(blocks, most_blocks), min(n_batch, most_blocks)),
            (macros["XI_THREADS"],),
            (self.spectrum, window, turns, values, signal, *map(np.int64, sizes)),
        )
        return signal

    def error(self, signal: np.ndarray) -> float:
        """Relative error of the samples, each weighed by the inverse of its gain: what the frames' rounding makes."""
        if not np.isfinite(signal).all():
            return math.inf
        bins = real_ended(self.spectrum.swapaxes(1, 2), self.frames.n_fft // 2).astype(complex)
        segments = np.fft.irfft(bins, self.frames.n_fft, axis=-1)
        want = OverlapAdd(self.frames, segments, self.window, None, 1).expected()
        gain = self.gain.samples(self.origin + self.frames.start, self.origin + self.frames.stop)
        assert (signal[:, gain == 0] == 0).all()
        covered = gain != 0
        difference = signal[:, covered] / gain[covered] - want[:, covered]
        typical = np.sqrt(difference.size * np.mean(segments**2) * np.mean(self.window**2))  # few samples may be small
        return float(np.linalg.norm(difference) / max(np.linalg.norm(want[:, covered]), typical, 1e-30))


def fused_problem(random: np.random.Generator, n_fft: int, by_time: bool, multiple: int = 4) -> Fused:
    """Frames any hop apart about a signal of any size; imaginary DC and Nyquist bins, too."""
    hop = int(random.integers(n_fft // 8, n_fft * 9 // 8))
    n_frames = int(random.integers(1, 2 + 6 * n_fft // hop))
    start = int(random.integers(-n_fft // 4, n_fft))
    hop, start = multiple * (hop // multiple), multiple * (start // multiple)
    n_samples = max(8, n_fft + hop * (n_frames - 1) + int(random.integers(-n_fft, n_fft // 2)) - start)
    n_batch = int(random.integers(1, 3))
    if n_batch > 1:  # a single signal may end in the middle of a vector
        n_samples = multiple * (n_samples // multiple)
    frames = Frames(n_fft, hop, n_frames, start, start + n_samples)
    shape = (n_batch, n_fft // 2 + 1, n_frames) if by_time else (n_batch, n_frames, n_fft // 2 + 1)
    spectrum = noise(random, shape, "c8")
    window = random.uniform(0.1, 1, n_fft)
    gain = normalisation(window, window, frames, float(np.finfo(np.float32).eps))
    run = 4 * int(random.integers(n_fft // 16, n_fft))
    whole = Fused(frames, spectrum if by_time else spectrum.swapaxes(1, 2), window, gain, run=run)
    columns, part = frames.segment(start + multiple * (n_samples // (2 * multiple)), frames.stop)
    if (
        part.n_frames and (n_batch == 1 or part.n_samples % multiple == 0) and random.random() < 0.3
    ):  # a segment of the job, whose gain is that of the whole
        return replace(whole, frames=part, spectrum=whole.spectrum[..., columns], origin=columns.start * hop)
    return whole


def fused_edges() -> Iterator[Fused]:
    """Frames of 64 that reach little, nothing, or far; and the end of a job, whose gain is that of the whole."""
    for hop, n_frames, start, stop, run in (
        (1, 9, -3, 70, 40),  # a frame a sample
        (3, 150, 5, 400, 200),  # more frames than are in shared memory at once
        (16, 4, 30, 31, 4),  # one sample
        (200, 3, -50, 560, 300),  # gaps between frames
        (1 << 16, 3, (1 << 16) - 40, (1 << 16) + 90, 1 << 12),
        (16, 4, -300, 200, 200),  # a run before the first frame
        (16, 4, 40, 700, 300),  # and after the last
        (16, 12, 10, 200, 100),
    ):
        frames, random = Frames(64, hop, n_frames, start, stop), np.random.default_rng(hop)
        window = random.uniform(0.1, 1, 64)
        spectrum = noise(random, (1, n_frames, 33), "c8").swapaxes(1, 2)
        gain = normalisation(window, window, frames, float(np.finfo(np.float32).eps))
        problem = Fused(frames, spectrum, window, gain, run=run)
        yield problem
    columns, part = frames.segment(104, 200)
    yield replace(problem, frames=part, spectrum=spectrum[..., columns], origin=columns.start * hop)


# ---- stft_fused.cu ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FusedForward:
    """The frames of `framing`, whose spectrum lies in memory by frame or by time."""

    framing: Framing
    by_time: bool

    def macros(self, **others: Any) -> dict[str, Any]:
        frames = self.framing.frames
        steps = [frames.hop, frames.start, frames.n_samples if len(self.framing.signal) > 1 else 0]
        return {
            "XI_LOG2_N_FFT": frames.n_fft.bit_length() - 1,
            "XI_THREADS": fused_threads(frames.n_fft),
            "XI_WIDTH": widest_vector(2, steps),
            "XI_BY_TIME": int(self.by_time),
            **others,
        }

    def launch(self, kernel: Callable[..., None], macros: dict[str, Any], most_blocks: int = 1 << 20) -> np.ndarray:
        framing, frames = self.framing, self.framing.frames
        n_batch, n_samples = framing.signal.shape
        shape = (n_batch, frames.n_frames, frames.n_fft // 2 + 1)
        spectrum = np.full((shape[0], *shape[:0:-1]) if self.by_time else shape, np.nan, np.complex64)
        spectrum = spectrum if self.by_time else spectrum.swapaxes(1, 2)
        turns = np.exp(2j * np.pi * np.arange(frames.n_fft) / frames.n_fft).astype(np.complex64)
        at_once = 32 * macros["XI_THREADS"] // frames.n_fft
        strides = (stride // spectrum.itemsize for stride in spectrum.strides)
        sizes = (n_batch, n_samples, *strides, frames.n_frames, frames.hop, frames.start, n_samples)
        kernel(
            (min(-(-frames.n_frames // at_once), most_blocks), min(n_batch, most_blocks)),
            (macros["XI_THREADS"],),
            (
                framing.signal, (framing.window / 2).astype(np.float32), turns, spectrum,
                *map(np.int64, sizes), np.int32(PAD_MODES.index(framing.pad_mode)),
            ),
        )  # fmt: skip
        return spectrum

    def error(self, spectrum: np.ndarray) -> float:
        """Relative to the norm of the spectrum."""
        framing = replace(self.framing, signal=self.framing.signal.astype(float))
        want = np.fft.rfft(framing.expected()).swapaxes(1, 2)
        if not np.isfinite(spectrum).all():
            return math.inf
        return float(np.linalg.norm(spectrum - want) / np.linalg.norm(want))


def fused_forward_problem(
    random: np.random.Generator, n_fft: int, by_time: bool, multiple: int = 2, mode: str = "reflect"
) -> FusedForward:
    hop, start = (multiple * int(random.integers(1, n_fft // multiple)) for _ in range(2))
    n_samples = multiple * int(random.integers(1, 5 * n_fft // multiple))
    n_frames = 1 + max(0, n_samples + 2 * start - n_fft) // hop
    frames = Frames(n_fft, hop, n_frames, start, start + n_samples)
    signal = noise(random, (int(random.integers(1, 3)), n_samples), "f4")
    return FusedForward(Framing(frames, signal, random.uniform(-1, 1, n_fft), mode, 1), by_time)


def sparse(n_items: int, dtype: str) -> np.ndarray:
    """Zeros that take memory only where they are written."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    return np.frombuffer(mmap.mmap(-1, n_items * np.dtype(dtype).itemsize, flags=flags), dtype)
