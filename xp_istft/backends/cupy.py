"""CuPy: cuFFT between kernels of our own, on the array's device and the current stream.

    synthesis:  transpose | copy_rows  ->  cuFFT C2R  ->  overlap_add
                istft_fused, all of it in one launch (`set_gpu_engine`)
    analysis:   frame  ->  cuFFT R2C
                stft_fused, all of it in one launch

Nothing is copied to the host and nothing waits for the device, so after one call with the same shapes (which compiles
kernels, makes plans and uploads windows) the next can be captured in a CUDA graph (`GraphMemory`). No atomics: the same
bits every run. `cuda.calls` queues what is decided here, and keeps it for the next call.

Scratch is bounded: a job that needs more than XP_ISTFT_SCRATCH_BYTES (an environment variable; default 256 MiB) runs
in parts, of whole items of the batch or, where one item is too large, of its samples.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import cupy
import numpy as np

from ..arguments import error
from ..frames import PAD_MODES, Frames
from ..jobs import Analysis, Synthesis
from ..settings import get_gpu_engine
from ..windows import HopPeriodic
from .base import Backend, memory_at
from .cuda.calls import (
    THREADS,
    VECTOR_BYTES,
    GraphMemory,
    Place,
    called,
    contiguous,
    copy_to,
    empty,
    fft,
    kernel,
    launch,
    not_kept,
    scratch_bytes,
    stream_of,
    uploaded,
)

__all__ = ["BACKEND", "GraphMemory", "stream_of"]

_LONGEST_RUN = 128  # times n_fft: under 1 % of the frames are made twice, and no late block is waited for long
_SPARE_BYTES = 128 << 10  # of single precision: frames that a plan has more than are wanted


class Kind(NamedTuple):
    """What a dtype means to the kernels: numbers of C type `real`, `parts` of them an element."""

    real: str
    parts: int

    @property
    def dtype(self) -> np.dtype:
        """Of one part."""
        return _REAL[self.real]

    @property
    def complex(self) -> np.dtype:
        return np.dtype(np.complex64 if self.real == "float" else np.complex128)


_REAL: dict[str, np.dtype] = {"float": np.dtype(np.float32), "double": np.dtype(np.float64)}

_KINDS = {
    "float32": Kind("float", 1),
    "float64": Kind("double", 1),
    "complex64": Kind("float", 2),
    "complex128": Kind("double", 2),
}


class CuPyBackend(Backend):
    def synthesis(self, spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
        fused = get_gpu_engine() == "fused" and _can_be_fused(spectrum, job, "complex64")
        return called(_in_one_launch if fused else _in_three_launches, spectrum, job, out)

    def analysis(self, signal: Any, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
        """In memory (..., n_frames, n_bins) unless `out` says otherwise."""
        if out is not None and not _common_stride(out.shape[:-2], out.strides[:-2]):
            out[...] = self.analysis(signal, job)
            return out
        fused = get_gpu_engine() == "fused" and _can_be_fused(signal, job, "float32")
        return called(_stft_fused if fused else _analysed, signal, job, out)

    def overlap_add(self, segments: Any, job: Synthesis) -> Any:
        return called(_summed, segments, job)

    def frame(self, signal: Any, job: Analysis) -> Any:
        """In memory (..., n_frames, n_fft)."""
        return called(_framed, signal, job)

    def joined(self, pairs: Any) -> Any:
        """Without a copy where the pairs lie side by side in memory, as aligned as complex numbers are."""
        if pairs.strides[-1] == pairs.itemsize and not _misplaced(pairs, 2 * pairs.itemsize, -1):
            return pairs.view(_KINDS[pairs.dtype.name].complex)[..., 0]
        return self.as_complex(pairs[..., 0], pairs[..., 1])

    def to_host(self, array: Any) -> np.ndarray:
        return array.get()

    def checked(self, function: str, name: str, array: Any) -> Any:
        """A copy where the array's parts, but not its elements, are aligned: kernels load whole elements."""
        if not _misplaced(array, array.itemsize):
            return array
        if array.dtype.kind == "c" and not _misplaced(array, array.itemsize // 2):
            return self.as_complex(array.real, array.imag)
        raise error(ValueError, function, name, f"memory aligned to its dtype ({array.dtype})", _alignment(array))

    def check_out(self, function: str, out: Any, array: Any, shape: tuple[int, ...], dtype: str) -> None:
        super().check_out(function, out, array, shape, dtype)
        if _misplaced(out, out.itemsize):
            raise error(ValueError, function, "out", f"memory aligned to its dtype ({out.dtype})", _alignment(out))

    def memory(self, array: Any) -> np.ndarray:
        return memory_at(array.data.ptr, array.shape, array.strides, array.itemsize)


BACKEND = CuPyBackend()


def _summed(place: Place, segments: Any, job: Synthesis, _: None) -> Any:
    def run(place: Place, segments: Any, part: Part, signal: Any) -> None:
        pieces = segments.swapaxes(1, 2)
        if not _side_by_side(pieces, -1):
            pieces = empty(pieces.shape, pieces.dtype)
            _transpose(place, segments, pieces)
        _overlap_add(place, pieces, job, part, signal, scale=1)

    limit = _rows_at_once(job.frames.n_fft * segments.itemsize, job.frames.n_fft)
    return _gathered(place, segments, job, segments.dtype, None, limit, run)


def _framed(place: Place, signal: Any, job: Analysis, _: None) -> Any:
    frames = job.frames
    segments = empty((*signal.shape[:-1], frames.n_frames, frames.n_fft), signal.dtype)
    if segments.size:
        _frame(place, _one_batch_axis(signal, 1), job, frames, segments, _KINDS[signal.dtype.name].parts)
    return segments.swapaxes(-1, -2)


def _analysed(place: Place, signal: Any, job: Analysis, out: Any) -> Any:
    kind, frames = _KINDS[signal.dtype.name], job.frames
    n_bins, n_rows = frames.n_fft // 2 + 1 if job.onesided else frames.n_fft, frames.n_frames
    make = kind.parts if job.onesided else 2
    items = _one_batch_axis(signal, 1)
    limit = _rows_at_once(frames.n_fft * make * kind.dtype.itemsize, frames.n_fft)
    parts = list(_pieces(items.shape[0], n_rows, limit))
    counts = [(some.stop - some.start) * (columns.stop - columns.start) for some, columns in parts]
    rows = [_bucket(count, frames.n_fft) for count in counts]  # of the plan: a few more than are wanted
    firsts = [0] * len(parts) if out is not None else [0, *accumulate(counts)][: len(parts)]
    ends = [first + size for first, size in zip(firsts, rows, strict=True)]
    spectrum = empty((max(ends, default=0), n_bins), kind.complex)
    for index, (some, columns) in enumerate(parts):
        segments = empty((rows[index], frames.n_fft), kind.complex if make == 2 else kind.dtype)
        made = spectrum[firsts[index] : ends[index]]
        origin = columns.start * frames.hop
        size = columns.stop - columns.start
        laid = Frames(frames.n_fft, frames.hop, size, frames.start - origin, frames.stop - origin)
        _frame(place, items[some], job, laid, segments, make)
        fft(place, segments, made, frames.n_fft, forward=True)
        if out is not None:
            target = _one_batch_axis(out, 2)[some, :, columns]
            made = made[: counts[index]].reshape(-1, size, n_bins)
            if _side_by_side(target, -1):
                _transpose(place, made, target)
            else:
                copy_to(target, made.swapaxes(1, 2))
    if out is not None:
        return out
    return spectrum[: sum(counts)].reshape(*signal.shape[:-1], n_rows, n_bins).swapaxes(-1, -2)


def _pieces(n_batch: int, n_frames: int, limit: int) -> Iterator[tuple[slice, slice]]:
    """Items and frames of an analysis in parts of at most `limit` frames: whole items, or frames of one."""
    if not n_frames:
        return
    if n_frames <= limit:
        step = limit // n_frames
        for first in range(0, n_batch, step):
            yield slice(first, min(first + step, n_batch)), slice(0, n_frames)
        return
    for item in range(n_batch):
        for first in range(0, n_frames, limit):
            yield slice(item, item + 1), slice(first, min(first + limit, n_frames))


class Part(NamedTuple):
    """One part of a synthesis job: signals [items), made of frames [columns) of these items.

    frames  : the part's own, smaller job; its padded axis begins at sample `origin` of the job's gain
    samples : where in the signal its result stands
    """

    items: slice
    columns: slice
    frames: Frames
    origin: int
    samples: slice


def _parts(job: Synthesis, n_batch: int, limit: int) -> Iterator[Part]:
    """The job in parts of at most `limit` frames (more where the frames of a single hop are more)."""
    columns, frames = job.frames.segment(job.frames.start, job.frames.stop)
    if frames.n_frames <= limit or frames.n_frames <= 2 * frames.overlap:
        step = max(1, limit // max(1, frames.n_frames))
        origin = job.origin + columns.start * frames.hop
        for first in range(0, n_batch, step):
            items = slice(first, min(first + step, n_batch))
            yield Part(items, columns, frames, origin, slice(0, frames.n_samples))
        return
    start, stop = job.frames.start, job.frames.stop
    step = max(frames.overlap, limit - frames.overlap) * frames.hop
    for lo in range(start, stop, step):
        hi = min(lo + step, stop)
        columns, frames = job.frames.segment(lo, hi)
        origin = job.origin + columns.start * frames.hop
        for item in range(n_batch):
            yield Part(slice(item, item + 1), columns, frames, origin, slice(lo - start, hi - start))


def _gathered(
    place: Place,
    array: Any,
    job: Synthesis,
    dtype: Any,
    out: Any,
    limit: int,
    run: Callable[[Place, Any, Part, Any], None],
) -> Any:
    """The signal (..., n_samples) of `array` (..., n_bins or n_fft, n_frames), made in parts of `limit` frames."""
    batch, n_samples = array.shape[:-2], job.frames.n_samples
    items = _one_batch_axis(array, 2)
    direct = out is not None and _side_by_side(out, -1) and _common_stride(out.shape[:-1], out.strides[:-1])
    signal = out if direct else empty((*batch, n_samples), dtype)
    if signal.size:
        rows = signal.reshape(-1, n_samples)
        for part in _parts(job, items.shape[0], limit):
            run(place, items[part.items, :, part.columns], part, rows[part.items, part.samples])
    if out is None or direct:
        return signal
    copy_to(out, signal)
    return out


def _in_three_launches(place: Place, spectrum: Any, job: Synthesis, out: Any) -> Any:
    kind, n_fft = _KINDS[spectrum.dtype.name], job.frames.n_fft

    def run(place: Place, spectrum: Any, part: Part, signal: Any) -> None:
        segments = _inverse_fft(place, spectrum, job, kind)
        _overlap_add(place, segments, job, part, signal, scale=1 / n_fft)

    row_bytes = spectrum.shape[-2] * kind.complex.itemsize + (n_fft * kind.dtype.itemsize if job.onesided else 0)
    limit = _rows_at_once(row_bytes, n_fft)
    return _gathered(place, spectrum, job, kind.dtype if job.real else kind.complex, out, limit, run)


def _in_one_launch(place: Place, spectrum: Any, job: Synthesis, out: Any) -> Any:
    def run(place: Place, spectrum: Any, part: Part, signal: Any) -> None:
        _istft_fused(place, spectrum, job, part, signal)

    return _gathered(place, spectrum, job, np.dtype(np.float32), out, sys.maxsize, run)


def _can_be_fused(array: Any, job: Synthesis | Analysis, dtype: str) -> bool:
    n_fft = job.frames.n_fft
    power = n_fft & (n_fft - 1) == 0 and 64 <= n_fft <= 4096
    return power and job.onesided and array.dtype == dtype and job.frames.hop < 2**30


def _inverse_fft(place: Place, spectrum: Any, job: Synthesis, kind: Kind) -> Any:
    """Inverse FFT, not normalised, of spectrum (n_batch, n_bins, n_frames): segments (n_batch, n_frames, n_fft)."""
    n_batch, n_bins, n_frames = spectrum.shape
    n_fft, count = job.frames.n_fft, n_batch * n_frames
    if not count:
        return empty((n_batch, 0, n_fft), kind.dtype if job.onesided else kind.complex)
    real_ends = int(job.onesided)
    nyquist = n_bins - 1 if n_fft % 2 == 0 else -1
    rows = spectrum.swapaxes(1, 2)
    made = empty((_bucket(count, n_fft), n_bins), kind.complex)
    if _side_by_side(rows, -1):
        strides = map(np.int64, _steps(rows)[:2])
        sizes = (np.int64(n_batch), np.int64(n_frames), np.int32(n_bins))
        arguments = (rows, made, *sizes, *strides, np.int32(nyquist))
        blocks = _blocks(n_frames * n_bins)
        launch(place, "copy_rows", blocks, n_batch, arguments, XI_REAL=kind.real, XI_REAL_ENDS=real_ends)
    else:
        target = made[:count].reshape(n_batch, n_frames, n_bins)
        _transpose(place, spectrum, target, real_ends, nyquist)
    segments = empty((made.shape[0], n_fft), kind.dtype) if job.onesided else made
    fft(place, made, segments, n_fft, forward=False)
    return segments[:count].reshape(n_batch, n_frames, n_fft)


def _overlap_add(place: Place, segments: Any, job: Synthesis, part: Part, signal: Any, scale: float) -> None:
    """Segments (n_batch, n_frames, n_fft), n_fft side by side, times `scale`, into signal (n_batch, n_samples)."""
    kind, frames, gain = _KINDS[segments.dtype.name], part.frames, job.gain
    window = _window(place, job, kind.real, scale)
    values, n_head, tail_start, n_tail = window, 0, 0, 0
    if gain is not None:
        values = _gain(place, gain, kind.real)
        n_head, tail_start, n_tail = gain.head.shape[0], gain.tail_start, gain.tail.shape[0]
    n_batch, n_samples = signal.shape
    segment_batch, segment_frame = _steps(segments)[:2]
    signal_batch = _steps(signal)[0]
    farthest = max(frames.span, abs(frames.start), abs(frames.stop)) + part.origin + frames.n_fft + frames.hop
    bits, index = _index(max(farthest, tail_start + n_tail))
    steps = (
        frames.hop,
        frames.n_fft,
        frames.start,
        segment_frame,
        *((segment_batch, signal_batch) if n_batch > 1 else ()),
    )
    vector = _vector(segments.itemsize, steps, (segments, window, values, signal))
    arguments = (
        segments, window, values, signal,
        *map(np.int64, (n_batch, segment_batch, segment_frame, signal_batch)),
        *map(index, (frames.n_frames, frames.n_fft, frames.hop, frames.overlap, frames.start, n_samples)),
        *map(index, (part.origin, n_head, tail_start, n_tail)),
    )  # fmt: skip
    launch(
        place, "overlap_add", _blocks(-(-n_samples // vector)), n_batch, arguments,
        XI_REAL=kind.real, XI_VECTOR=vector, XI_PARTS=kind.parts, XI_KEEP=_KINDS[signal.dtype.name].parts,
        XI_GAIN=int(gain is not None), XI_INDEX_BITS=bits,
    )  # fmt: skip


def _istft_fused(place: Place, spectrum: Any, job: Synthesis, part: Part, signal: Any) -> None:
    """Spectrum (n_batch, n_bins, n_frames), any strides, into signal (n_batch, n_samples)."""
    frames = part.frames
    if not frames.n_frames:
        copy_to(signal, 0)
        return
    gain = _unit_gain(frames.hop) if job.gain is None else job.gain
    window, values = _window(place, job, "float", 1 / frames.n_fft), _gain(place, gain, "float")
    n_batch, n_samples = signal.shape
    strides, signal_batch = _steps(spectrum), _steps(signal)[0]
    steps = (frames.hop, frames.start, signal_batch if n_batch > 1 else 0)
    threads = _fused_threads(frames.n_fft)
    macros = {
        "XI_LOG2_N_FFT": frames.n_fft.bit_length() - 1, "XI_THREADS": threads,
        "XI_WIDTH": _vector(4, steps, (window, values, signal)), "XI_BY_TIME": int(strides[1] != 1),
    }  # fmt: skip
    run = _run(frames, n_batch, 32 * threads // frames.n_fft, _places("istft_fused", place.device, threads, **macros))
    sizes = (n_batch, *strides, signal_batch, frames.n_frames, frames.hop, frames.start, n_samples)
    arguments = (
        spectrum, window, _turns(place, frames.n_fft), values, signal,
        *map(np.int64, (*sizes, part.origin, gain.head.shape[0], gain.tail_start, gain.tail.shape[0], run)),
    )  # fmt: skip
    launch(place, "istft_fused", -(-n_samples // run), n_batch, arguments, threads, **macros)


def _stft_fused(place: Place, signal: Any, job: Analysis, out: Any) -> Any:
    """The spectrum of signal (..., n_samples), in memory as `_analysed` makes it, or in `out`."""
    frames, n_fft = job.frames, job.frames.n_fft
    made = out
    if out is None:
        shape = (*signal.shape[:-1], frames.n_frames, n_fft // 2 + 1)
        made = empty(shape, np.complex64).swapaxes(-1, -2)
    if not made.size:
        return made
    spectrum, items = _one_batch_axis(made, 2), _one_batch_axis(signal, 1)
    if not _side_by_side(items, -1):
        items = contiguous(items)
    window = _window(place, job, "float", 0.5)
    n_batch, n_samples = items.shape
    signal_batch, strides = _steps(items)[0], _steps(spectrum)
    steps = (frames.hop, frames.start, signal_batch if n_batch > 1 else 0)
    threads = _fused_threads(n_fft)
    macros = {
        "XI_LOG2_N_FFT": n_fft.bit_length() - 1, "XI_THREADS": threads,
        "XI_WIDTH": min(2, _vector(4, steps, (items, window))), "XI_BY_TIME": int(strides[1] != 1),
    }  # fmt: skip
    groups = -(-frames.n_frames * n_fft // (32 * threads))  # of the frames that a block transforms at a time
    each = -(-groups * n_batch // _places("stft_fused", place.device, threads, **macros))  # of a block
    arguments = (
        items, window, _turns(place, n_fft), spectrum,
        *map(np.int64, (n_batch, signal_batch, *strides, frames.n_frames, frames.hop, frames.start, n_samples)),
        np.int32(PAD_MODES.index(job.pad_mode)),
    )  # fmt: skip
    launch(place, "stft_fused", -(-groups // each), n_batch, arguments, threads, **macros)
    return made


def _fused_threads(n_fft: int) -> int:
    """Of a block: 16 points each, of as many frames as 48 KB of shared memory hold beside the sums."""
    return 256 if n_fft == 2048 else 128


def _run(frames: Frames, n_batch: int, at_once: int, places: int) -> int:
    """Samples of a block of istft_fused, which transforms `at_once` frames at a time; `places` blocks run at once.

    Each block makes n_fft - hop samples' worth of frames more than are its own. So they are few: as many as fill the
    device once, or, where that would make them too long, a few times, without a last turn of a few blocks.
    """
    n_fft, hop, n_samples = frames.n_fft, frames.hop, frames.n_samples

    def rounds(count: int) -> int:
        """Of the busiest place, where each item is made of `count` runs."""
        turns, run = -(-n_batch * count // places), -(-n_samples // count)
        return turns * max(1, -(-(run + n_fft - hop) // (at_once * hop)))

    fewest = -(-n_samples // (_LONGEST_RUN * n_fft))
    turns = -(-n_batch * fewest // places)
    counts = {fewest, *(max(fewest, more * places // n_batch) for more in range(turns, turns + 4))}
    count = min(counts, key=lambda count: (rounds(count), count))
    return 4 * -(-n_samples // (4 * count))


@cache
def _places(name: str, device: int, threads: int, **macros: Any) -> int:
    """Blocks of a kernel that the device runs at once, by its registers and its shared memory."""
    made, has = kernel(name, device, **macros), cupy.cuda.Device(device).attributes
    registers = -(-made.num_regs // 8) * 8 * threads
    shared = made.shared_size_bytes + 1024  # CUDA's own part of it
    each = min(has["MaxRegistersPerMultiprocessor"] // registers, has["MaxSharedMemoryPerMultiprocessor"] // shared)
    return max(1, each) * has["MultiProcessorCount"]


def _frame(place: Place, signal: Any, job: Analysis, frames: Frames, segments: Any, make: int) -> None:
    """Signal (n_batch, n_samples) into the first rows of segments (..., n_fft), contiguous, of `make` parts.

    frames : those of the job that are made
    """
    kind = _KINDS[signal.dtype.name]
    if not _side_by_side(signal, -1):
        signal = contiguous(signal)
    window = _window(place, job, kind.real, 1)
    n_batch, n_samples = signal.shape
    signal_batch = _steps(signal)[0]
    size = frames.n_frames * frames.n_fft
    farthest = max(frames.span, abs(frames.start), abs(frames.stop)) + 2 * n_samples + frames.hop
    bits, index = _index(max(farthest, size))
    steps = (frames.hop, frames.n_fft, frames.start, signal_batch if n_batch > 1 else 0)
    vector = _vector(kind.dtype.itemsize * make, steps, (signal, window, segments))
    arguments = (
        signal, window, segments, np.int64(n_batch), np.int64(signal_batch),
        *map(index, (frames.n_frames, frames.n_fft, frames.hop, frames.start, n_samples)),
        np.int32(PAD_MODES.index(job.pad_mode)),
    )  # fmt: skip
    launch(
        place, "frame", _blocks(size // vector), n_batch, arguments,
        XI_REAL=kind.real, XI_VECTOR=vector, XI_PARTS=kind.parts, XI_MAKE=make,
        XI_INDEX_BITS=bits,
    )  # fmt: skip


def _transpose(place: Place, array: Any, target: Any, real_ends: int = 0, nyquist: int = -1) -> None:
    """Array (n_batch, n_rows, n_cols) into target (n_batch, n_cols, n_rows), whose last axis is contiguous."""
    if not _side_by_side(array, -1):
        array = contiguous(array)
    kind = _KINDS[array.dtype.name]
    n_batch, n_rows, n_cols = array.shape
    strides = (*_steps(array)[:2], *_steps(target)[:2])
    tiles = -(-n_rows // 32) * -(-n_cols // 32)
    arguments = (array, target, *map(np.int64, (n_batch, n_rows, n_cols, *strides, nyquist)))
    launch(
        place, "transpose", tiles, n_batch, arguments, XI_REAL=kind.real, XI_PARTS=kind.parts, XI_REAL_ENDS=real_ends
    )  # fmt: skip


def _window(place: Place, job: Synthesis | Analysis, real: str, scale: float) -> Any:
    """The job's window times `scale`, on the device; in the order of the place's stream."""
    if job.followed:  # on the device already
        return (job.window * scale).astype(_REAL[real])
    return uploaded(place, _window_values, job, real, scale)


def _window_values(job: Synthesis | Analysis, real: str, scale: float) -> np.ndarray:
    window = np.ones(job.frames.n_fft) if job.window is None else job.window
    return (window * scale).astype(_REAL[real])


def _gain(place: Place, gain: HopPeriodic, real: str) -> Any:
    """Head, period and tail of the gain, one after the other, on the device."""
    if not isinstance(gain.period, np.ndarray):
        return cupy.concatenate([gain.head, gain.period, gain.tail]).astype(_REAL[real])
    return uploaded(place, _gain_values, gain, real)


def _gain_values(gain: HopPeriodic, real: str) -> np.ndarray:
    return np.concatenate([gain.head, gain.period, gain.tail]).astype(_REAL[real])


def _turns(place: Place, n_fft: int) -> Any:
    """exp(2 pi i k / n_fft), on the device."""
    return uploaded(place, _turn_values, n_fft)


def _turn_values(n_fft: int) -> np.ndarray:
    return np.exp(2j * np.pi * np.arange(n_fft) / n_fft).astype(np.complex64)


@lru_cache(maxsize=32)
def _unit_gain(hop: int) -> HopPeriodic:
    """A gain of 1 everywhere."""
    return HopPeriodic(np.zeros(0), np.ones(hop), np.zeros(0), 2**62)


def _rows_at_once(row_bytes: int, n_fft: int) -> int:
    """Frames whose scratch stays within the limit, and which cuFFT can count."""
    return max(1, min(scratch_bytes() // row_bytes, (2**31 - 1 - _SPARE_BYTES // 4) // n_fft))


def _bucket(rows: int, n_fft: int) -> int:
    """`rows`, rounded up so that similar sizes share one plan: at most an eighth more, and 128 KiB of frames."""
    largest = max(1, min(rows // 8, _SPARE_BYTES // (4 * n_fft)))
    step = 1 << (largest.bit_length() - 1)
    return -(-rows // step) * step


def _vector(sample_bytes: int, steps: tuple[int, ...], arrays: tuple[Any, ...]) -> int:
    """How many samples one thread can load at once: all steps multiples of it, all arrays aligned to it."""
    width = max(1, VECTOR_BYTES // sample_bytes)
    while width > 1 and (
        any(step % width for step in steps) or any(array.data.ptr % (width * array.itemsize) for array in arrays)
    ):
        width //= 2
    return width


def _index(farthest: int) -> tuple[int, type]:
    """Bits, and NumPy type, of positions up to `farthest` (and the grid's last step beyond it)."""
    return (32, np.int32) if farthest < 2**31 - 2**12 else (64, np.int64)


def _blocks(threads: int) -> int:
    return -(-threads // THREADS)


def _steps(array: Any) -> tuple[int, ...]:
    """The strides in elements."""
    if _misplaced(array, array.itemsize):
        raise RuntimeError(f"a kernel got elements of {array.itemsize} bytes at {_alignment(array)}")
    return tuple(stride // array.itemsize for stride in array.strides)


def _misplaced(array: Any, size: int, axes: int | None = None) -> int:
    """0 where the address and the strides of the first `axes` (all) are multiples of `size`, a power of 2."""
    address = array.data.ptr
    for length, stride in zip(array.shape[:axes], array.strides, strict=False):
        if length > 1:
            address |= stride
    return address % size if array.size else 0


def _alignment(array: Any) -> str:
    return f"address {array.data.ptr} and strides {tuple(array.strides)}"


def _side_by_side(array: Any, axis: int) -> bool:
    """Whether the elements along `axis` are neighbours in memory."""
    return array.shape[axis] <= 1 or array.strides[axis] == array.itemsize


def _one_batch_axis(array: Any, last: int) -> Any:
    """(n_batch, *the last axes): a view where the batch axes have one common stride."""
    if not _common_stride(array.shape[:-last], array.strides[:-last]):
        not_kept()
    return array.reshape(math.prod(array.shape[:-last]), *array.shape[-last:])


def _common_stride(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether these axes can be walked as one."""
    walked = [(size, stride) for size, stride in zip(shape, strides, strict=True) if size != 1]
    return all(outer[1] == inner[0] * inner[1] for outer, inner in pairwise(walked))
