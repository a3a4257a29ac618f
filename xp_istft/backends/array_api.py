"""The maps for any Array API namespace, plainly: the definition that every other backend answers to.

No data-dependent control flow and no writes in place, so that jax.jit, jax.grad, jax.vmap and torch's autograd pass
through. Everything that is not the data is made on the host and cast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import array_api_compat
import numpy as np

from ..arguments import error
from ..frames import padding_index
from ..jobs import Analysis, Running, Synthesis

PRECISION = {"complex64": "float32", "complex128": "float64", "float32": "float32", "float64": "float64"}


def synthesis(spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
    return _written(overlap_add(_segments(spectrum, job), job), out)


def analysis(signal: Any, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
    xp = array_api_compat.array_namespace(signal)
    segments = frame(signal, job)
    if job.onesided:
        return _written(xp.fft.rfft(segments, axis=-2), out)
    if xp.isdtype(segments.dtype, "real floating"):
        segments = xp.astype(segments, xp.complex64 if segments.dtype == xp.float32 else xp.complex128)
    return _written(xp.fft.fft(segments, axis=-2), out)


def overlap_add(segments: Any, job: Synthesis) -> Any:
    """gain[t] sum_m window[t - m hop] segments[t - m hop, m], frames added in the order of m."""
    xp = array_api_compat.array_namespace(segments)
    frames = job.frames
    n_fft, hop, rows = frames.n_fft, frames.hop, frames.overlap
    *batch, _, n_frames = segments.shape
    if job.window is not None:
        segments = segments * _like(job.window, segments, xp)[:, None]

    def zeros(*tail: int) -> Any:
        return xp.zeros((*batch, *tail), dtype=segments.dtype, device=array_api_compat.device(segments))

    pieces = xp.moveaxis(segments, -1, -2)
    pieces = xp.concat([pieces, zeros(n_frames, rows * hop - n_fft)], axis=-1)
    pieces = xp.reshape(pieces, (*batch, n_frames, rows, hop))
    total = zeros(n_frames + rows - 1, hop)
    for row in reversed(range(rows)):  # hop j takes row r of frame j - r: the earliest frame first
        total = total + xp.concat([zeros(row, hop), pieces[..., row, :], zeros(rows - 1 - row, hop)], axis=-2)
    length = (n_frames + rows - 1) * hop  # whole hops that hold the padded axis
    axis = xp.reshape(total, (*batch, length))

    before = max(0, min(-frames.start, frames.n_samples))
    after = max(0, min(frames.stop - length, frames.n_samples))
    inside = axis[..., min(length, max(0, frames.start)) : min(length, max(0, frames.stop))]
    signal = xp.concat([zeros(before), inside, zeros(after)], axis=-1)
    gain = job.signal_gain()
    if gain is None:
        return signal
    uncovered = xp.asarray(gain == 0, device=array_api_compat.device(signal))
    return _normalised(signal, _like(gain, signal, xp), uncovered, xp)


def frame(signal: Any, job: Analysis) -> Any:
    """segments[n, m] = window[n] signal[m hop + n - start], padded outside as the job says."""
    xp = array_api_compat.array_namespace(signal)
    frames = job.frames
    n_fft, hop, rows = frames.n_fft, frames.hop, frames.overlap
    batch = signal.shape[:-1]
    total = (frames.n_frames + rows - 1) * hop  # whole hops that hold every frame
    first, last = -frames.start, total - frames.start  # the padded axis, counted from the signal's first sample
    n_samples = signal.shape[-1]
    padded = xp.concat(
        [
            _padding(signal, first, min(0, last), job, xp),
            signal[..., min(n_samples, max(0, first)) : min(n_samples, max(0, last))],
            _padding(signal, max(n_samples, first), last, job, xp),
        ],
        axis=-1,
    )
    hops = xp.reshape(padded, (*batch, frames.n_frames + rows - 1, hop))
    pieces = xp.concat([hops[..., row : row + frames.n_frames, :] for row in range(rows)], axis=-1)
    segments = xp.moveaxis(pieces[..., :n_fft], -1, -2)
    return segments if job.window is None else segments * _like(job.window, segments, xp)[:, None]


def waiting(spectrum: Any, running: Running) -> Any:
    """The sums that wait before the first frame: zeros (..., running.waiting)."""
    xp = array_api_compat.array_namespace(spectrum)
    kind = getattr(xp, PRECISION[dtype_name(spectrum)]) if running.job.real else spectrum.dtype
    device = array_api_compat.device(spectrum)
    return xp.zeros((*spectrum.shape[:-2], running.waiting), dtype=kind, device=device)


def continued(spectrum: Any, sums: Any, frame: Any, running: Running) -> tuple[Any, Any]:
    """Add frames [frame, frame + count) to the sums that wait: (signal (..., count * hop), sums).

    `frame` is an int or an integer array without axes, which may be traced, and may be cut to running.steady.
    """
    xp = array_api_compat.array_namespace(spectrum)
    job, hop = running.job, running.job.frames.hop
    segments = _segments(spectrum, job)
    *batch, _, count = segments.shape
    if job.window is not None:
        segments = segments * _like(job.window, segments, xp)[:, None]
    pieces = xp.moveaxis(segments[..., running.first :, :], -1, -2)
    size = pieces.shape[-1]
    rows = -(-size // hop)

    def zeros(*tail: int) -> Any:
        return xp.zeros((*batch, *tail), dtype=segments.dtype, device=array_api_compat.device(segments))

    pieces = xp.concat([pieces, zeros(count, rows * hop - size)], axis=-1)
    pieces = xp.reshape(pieces, (*batch, count, rows, hop))
    length = running.before + (count + rows - 1) * hop
    axis = xp.concat([sums, zeros(length - running.waiting)], axis=-1)
    total = xp.reshape(axis[..., running.before :], (*batch, count + rows - 1, hop))
    for row in reversed(range(rows)):  # the earliest frame first
        total = total + xp.concat([zeros(row, hop), pieces[..., row, :], zeros(rows - 1 - row, hop)], axis=-2)
    total = xp.reshape(total, (*batch, (count + rows - 1) * hop))
    axis = xp.concat([axis[..., : running.before], total], axis=-1)
    signal, sums = axis[..., : count * hop], axis[..., count * hop : count * hop + running.waiting]
    if isinstance(frame, int):
        gain = running.gains(frame, count)
        uncovered = xp.asarray(gain == 0, device=array_api_compat.device(signal))
        return _normalised(signal, _like(gain, signal, xp), uncovered, xp), sums
    table = running.gains(0, running.steady + 1).reshape(-1, hop)
    index = xp.minimum(frame + xp.arange(count), xp.asarray(running.steady))
    gain = xp.reshape(xp.take(_like(table, signal, xp), index, axis=0), (-1,))
    return _normalised(signal, gain, gain == 0, xp), sums


def ended(sums: Any, job: Synthesis, lo: int, skip: int, running: Running) -> Any:
    """The samples of the whole `job` from `lo` on, of the sums that wait, which begin `skip` samples before."""
    xp = array_api_compat.array_namespace(sums)
    inside = sums[..., skip : skip + job.frames.stop - lo]
    beyond = job.frames.stop - lo - inside.shape[-1]
    device = array_api_compat.device(sums)
    signal = xp.concat([inside, xp.zeros((*sums.shape[:-1], beyond), dtype=sums.dtype, device=device)], axis=-1)
    if job.gain is None:
        return signal
    gain = job.gain.samples(lo, job.frames.stop)
    return _normalised(signal, _like(gain, signal, xp), xp.asarray(gain == 0, device=device), xp)


def on_host(array: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    xp = array_api_compat.array_namespace(array)
    return xp.asarray(function(np.asarray(array)), device=array_api_compat.device(array))


def as_complex(real: Any, imag: Any) -> Any:
    xp = array_api_compat.array_namespace(real, imag)
    kind = xp.complex64 if xp.result_type(real, imag) == xp.float32 else xp.complex128
    return xp.astype(real, kind) + 1j * xp.astype(imag, kind)


def joined(pairs: Any) -> Any:
    return as_complex(pairs[..., 0], pairs[..., 1])


def checked(function: str, name: str, array: Any) -> Any:
    return array


def check_out(function: str, out: Any, array: Any, shape: tuple[int, ...], dtype: str) -> None:
    """`out` must be an array of `array`'s library, device and the result's shape and dtype, and writeable."""
    if type(out) is not type(array):
        raise error(TypeError, function, "out", f"{_class(array)} as the input", _class(out))
    if dtype_name(out) != dtype:
        raise error(TypeError, function, "out", f"dtype {dtype}", f"{out.dtype}")
    if tuple(out.shape) != shape:
        raise error(ValueError, function, "out", f"shape {shape}", f"{tuple(out.shape)}")
    ours, theirs = array_api_compat.device(array), array_api_compat.device(out)
    if ours != theirs:
        raise error(ValueError, function, "out", f"the device of the input ({ours})", theirs)
    if not array_api_compat.is_writeable_array(out):
        raise error(TypeError, function, "out", "an array that can be written in place", _class(out))


def dtype_name(array: Any) -> str:
    """'complex64', 'float32', ... of any library, native byte order or not."""
    dtype = array.dtype
    return _numpy_name(dtype) if isinstance(dtype, np.dtype) else _name(dtype)


def _name(dtype: Any) -> str:
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


_numpy_name = lru_cache(_name)  # NumPy spells a name anew each time, in 1.5 us


def _class(array: Any) -> str:
    return f"{type(array).__module__}.{type(array).__qualname__}"


def _written(result: Any, out: Any) -> Any:
    if out is None:
        return result
    out[...] = result
    return out


def _segments(spectrum: Any, job: Synthesis) -> Any:
    """The inverse FFT of each frame, (..., n_fft, n_frames)."""
    xp = array_api_compat.array_namespace(spectrum)
    n_fft = job.frames.n_fft
    if 0 in spectrum.shape:  # which not every library's FFT takes
        empty = xp.zeros(
            (*spectrum.shape[:-2], n_fft, spectrum.shape[-1]),
            dtype=spectrum.dtype,
            device=array_api_compat.device(spectrum),
        )
        return xp.real(empty) if job.real else empty
    if job.onesided:
        return xp.fft.irfft(_hermitian_ends(spectrum, n_fft, xp), n=n_fft, axis=-2)
    segments = xp.fft.ifft(spectrum, n=n_fft, axis=-2)
    return xp.real(segments) if job.real else segments


def _normalised(signal: Any, gain: Any, uncovered: Any, xp: Any) -> Any:
    """The signal times its gain, and 0 where nothing determines a sample, whatever the signal holds there."""
    return xp.where(uncovered, xp.zeros_like(signal), signal * gain)


def _hermitian_ends(spectrum: Any, n_fft: int, xp: Any) -> Any:
    """The spectrum with real DC and (even n_fft) Nyquist bins: what an FFT of real samples makes, and cuFFT needs."""
    ends = np.zeros((spectrum.shape[-2], 1), bool)
    ends[0] = True
    if n_fft % 2 == 0:
        ends[-1] = True
    ends = xp.asarray(ends, device=array_api_compat.device(spectrum))
    return xp.where(ends, xp.astype(xp.real(spectrum), spectrum.dtype), spectrum)


def _padding(signal: Any, lo: int, hi: int, job: Analysis, xp: Any) -> Any:
    """What stands at samples [lo, hi) of a signal that does not reach there, counted from its first sample."""
    size = max(0, hi - lo)
    device = array_api_compat.device(signal)
    if job.pad_mode == "constant" or not size:
        return xp.zeros((*signal.shape[:-1], size), dtype=signal.dtype, device=device)
    index = padding_index(lo, hi, signal.shape[-1], job.pad_mode)
    return xp.take(signal, xp.asarray(index, device=device), axis=-1)


def _like(host: np.ndarray, array: Any, xp: Any) -> Any:
    """Host values in the real precision of `array`, on its device."""
    return xp.asarray(host.astype(PRECISION[dtype_name(array)]), device=array_api_compat.device(array))
