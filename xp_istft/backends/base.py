"""The maps for any Array API namespace, plainly: the definition that every backend answers to, and the defaults.

No data-dependent control flow and no writes in place, so that jax.jit, jax.grad, jax.vmap and torch's autograd pass
through. Everything that is not the data is made on the host and cast; windows and gains that are arrays of a library
stay there, so that derivatives reach them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from ..arguments import error
from ..dtypes import PRECISION, SPECTRUM, WIDENED, dtype_name
from ..frames import Frames, bin_multiplicity, padding_index
from ..jobs import Analysis, Running, Synthesis

# Numbers below the first are multiplied by the second; those below the third are 0 to some libraries.
SCALES = {"float32": (2.0**-40, 2.0**86, 2.0**-126), "float64": (2.0**-300, 2.0**722, 2.0**-1022)}

_MAX_WORK: Any = 1_000_000  # steps of NumPy's exact test: memory that takes more to tell apart counts as shared


class Backend:
    """What the package asks of an array library. A subclass overrides what its library does faster, or otherwise.

    Layouts are (..., n_bins, n_frames), (..., n_fft, n_frames) and (..., n_samples); complex64 goes with float32,
    complex128 with float64. Arguments were checked before.
    """

    lazy = False  # whether arrays are not computed before they are asked for
    any_byte_order = False  # whether `out` may have another byte order than the machine

    def __reduce__(self) -> str:
        """Pickled by name: every process has one instance."""
        return "BASE" if type(self) is Backend else "BACKEND"

    # ---- the two maps

    def synthesis(self, spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
        """Spectrum to signal, in `out` where that is given."""
        return written(self._overlap_added(self._segments(spectrum, job), job), out)

    def analysis(self, signal: Any, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
        """Signal to spectrum, in `out` where that is given."""
        xp = self.namespace(signal)
        segments = self._framed(signal, job)
        if job.onesided:
            return written(xp.fft.rfft(segments, axis=-2), out)
        kind = dtype_name(segments)
        if kind in SPECTRUM:
            segments = xp.astype(segments, getattr(xp, SPECTRUM[kind]))
        return written(xp.fft.fft(segments, axis=-2), out)

    def overlap_add(self, segments: Any, job: Synthesis) -> Any:
        """`synthesis` without the FFT: gain[t] sum_m window[t - m hop] segments[t - m hop, m]."""
        return self._overlap_added(segments, job)

    def frame(self, signal: Any, job: Analysis) -> Any:
        """`analysis` without the FFT: window[n] signal[m hop + n - start], padded outside as the job says."""
        return self._framed(signal, job)

    def pad(self, signal: Any, before: int, after: int, mode: str) -> Any:
        """The signal with samples before and after it; `mode` is one of frames.PAD_MODES, or "odd"."""
        n_samples = signal.shape[-1]
        parts = [signal]  # of no padding, too: never a view of it
        if before:
            parts.insert(0, self._padding(signal, -before, 0, mode))
        if after:
            parts.append(self._padding(signal, n_samples, n_samples + after, mode))
        return self.namespace(signal).concat(parts, axis=-1)

    # ---- amplitudes: the map's spectrum, but bins that stand for themselves alone count half

    def to_amplitudes(self, spectrum: Any, job: Analysis, out: Any = None) -> Any:
        """What `analysis` has made, in amplitudes where the job asks for them; in `out` where that is given."""
        return self.times_ends(spectrum, job.frames.n_fft, 0.5, out) if job.amplitudes else spectrum

    def of_amplitudes(self, spectrum: Any, job: Synthesis) -> Any:
        """What `synthesis` takes of the spectrum that its job is given."""
        return self.times_ends(spectrum, job.frames.n_fft, 2.0) if job.amplitudes else spectrum

    def inverted(self, spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
        """`synthesis` of the spectrum that its job is given."""
        return self.synthesis(self.of_amplitudes(spectrum, job), job, out, workers)

    def times_ends(self, spectrum: Any, n_fft: int, factor: float, out: Any = None) -> Any:
        """A one-sided spectrum or its magnitudes, DC and (even n_fft) Nyquist times `factor`, a power of two.

        out : where it is written, which may be the spectrum itself
        """
        factors = np.where(bin_multiplicity(n_fft) == 1, factor, 1.0)
        kind = PRECISION[dtype_name(spectrum)]
        return written(self.product(spectrum, self.along(factors, spectrum, -2, kind)), out)

    # ---- streams

    def waiting(self, spectrum: Any, running: Running) -> Any:
        """The sums that wait before the first frame: zeros (..., running.waiting)."""
        kind = dtype_name(spectrum)
        return self._zeros(
            spectrum, *spectrum.shape[:-2], running.waiting, kind=PRECISION[kind] if running.job.real else kind
        )

    def continued(self, spectrum: Any, sums: Any, frame: Any, running: Running) -> tuple[Any, Any]:
        """Add frames [frame, frame + count) to the sums that wait: (signal (..., count * hop), sums).

        `frame` is an int or an integer array without axes, which may be traced, and may be cut to running.steady.
        """
        xp = self.namespace(spectrum)
        job, hop = running.job, running.job.frames.hop
        segments = self._windowed(self._segments(spectrum, job), job)
        *batch, _, count = segments.shape
        pieces = xp.moveaxis(segments[..., running.first :, :], -1, -2)
        rows = -(-pieces.shape[-1] // hop)
        length = running.before + (count + rows - 1) * hop
        axis = xp.concat([sums, self._zeros(sums, *batch, length - running.waiting)], axis=-1)
        total = xp.reshape(axis[..., running.before :], (*batch, count + rows - 1, hop))
        total = xp.reshape(self._added(total, pieces, rows, hop), (*batch, (count + rows - 1) * hop))
        axis = xp.concat([axis[..., : running.before], total], axis=-1)
        signal, sums = axis[..., : count * hop], axis[..., count * hop : count * hop + running.waiting]
        if isinstance(frame, int):
            return self._normalised(signal, running.gains(frame, count)), sums
        table = xp.reshape(self.along(running.gains(0, running.steady + 1), signal), (-1, hop))
        index = xp.minimum(frame + xp.arange(count), xp.asarray(running.steady))
        gain = xp.reshape(xp.take(table, index, axis=0), (-1,))
        return self._normalised(signal, gain), sums

    def ended(self, sums: Any, job: Synthesis, lo: int, skip: int, running: Running) -> Any:
        """The samples of the whole `job` from `lo` on, of the sums that wait, which begin `skip` samples before."""
        inside = sums[..., skip : skip + job.frames.stop - lo]
        beyond = self._zeros(sums, *sums.shape[:-1], job.frames.stop - lo - inside.shape[-1])
        signal = self.namespace(sums).concat([inside, beyond], axis=-1)
        assert job.gain is not None
        return self._normalised(signal, job.gain.samples(lo, job.frames.stop))

    # ---- loops

    def retrieve(
        self,
        start: Any,
        magnitude: Any,
        inverse: Synthesis,
        forward: Analysis,
        stages: Sequence[Any],
        watch: Callable[[float], bool] | None = None,
        workers: int | None = None,
    ) -> Any:
        """The spectrum of these magnitudes that the stages of phase retrieval reach from `start`.

        watch(convergence) is called after each iteration and says whether its stage ends there.
        """
        from ..phase.algorithms import iterate

        def project(spectrum: Any) -> Any:
            signal = self.synthesis(spectrum, inverse, workers=workers)
            return self.analysis(signal, forward, workers=workers)

        return iterate(start, magnitude, project, stages, watch)

    def linear_solve(
        self, operator: Callable, solver: Callable, loop: Callable, right: Any, parameters: Sequence[Any]
    ) -> Any:
        """The x with operator(x, *parameters) = right, a symmetric operator: solver(right, loop, *parameters).

        For libraries whose derivatives cannot pass through a loop that looks at values; the solver can be given
        another loop(unfinished, advance, state) than `loop`.
        """
        return solver(right, loop, *parameters)

    def by_signal(self, function: Callable, array: Any, core: int, shape: tuple[int, ...], dtype: str) -> Any:
        """The result of function(array), which turns the last `core` axes of its argument into those of `shape`."""
        return function(array)

    def in_segments(self, record: Any, cut: Any, whole: Callable[[Any], Any]) -> Any:
        """What whole(record), which makes segments by the model of `cut`, gives."""
        return whole(record)

    def lent(self, array: Any) -> tuple[Any, Callable[[Any], Any] | None]:
        """What iterations may work on in place of `array`, and what makes arrays like it of theirs (None: they are)."""
        return array, None

    def in_numpy(self, array: Any) -> tuple[Any, Callable[[Any], Any] | None]:
        """NumPy's array of these values, where nothing follows them and no device has them, and what makes arrays like
        this one of NumPy's; else the array, and None.
        """
        return self.lent(array)

    def threads(self, workers: int | None) -> int | None:
        """The threads of a call that was given `workers`; None: what `set_workers` says."""
        return workers

    # ---- arrays and their values

    def namespace(self, *arrays: Any) -> Any:
        """The functions of the Array API for these arrays."""
        return array_api_compat.array_namespace(*arrays)

    def device(self, array: Any) -> Any:
        """Where an array lies, as its namespace takes it; None where a library does not say."""
        return _device(array)

    def as_complex(self, real: Any, imag: Any) -> Any:
        xp = self.namespace(real, imag)
        kind = xp.complex64 if xp.result_type(real, imag) == xp.float32 else xp.complex128
        return xp.astype(real, kind) + 1j * xp.astype(imag, kind)

    def product(self, a: Any, b: Any) -> Any:
        """The product of two arrays, of which one may be real and the other complex."""
        return a * b

    def onto(self, magnitude: Any, spectrum: Any) -> Any:
        """These magnitudes with the phases of a spectrum; 0 where it is.

        Gradients are finite also where rounding leaves next to nothing of silence: their powers of the size up to the
        third, of numbers that were scaled first, neither vanish nor overflow.
        """
        xp, size = self.namespace(spectrum), self.namespace(spectrum).abs(spectrum)
        small, factor, tiny = SCALES[PRECISION[dtype_name(spectrum)]]
        one, silent = xp.ones_like(size), size < tiny
        scaled = self.product(spectrum, xp.where(size < small, one * factor, one))
        sure = xp.where(silent, xp.ones_like(spectrum), scaled)
        return xp.where(silent, xp.zeros_like(spectrum), self.product(sure, magnitude / xp.abs(sure)))

    def angle(self, spectrum: Any) -> Any:
        """Phases, with finite gradients where the spectrum is 0."""
        xp = self.namespace(spectrum)
        return xp.atan2(xp.imag(spectrum), xp.real(spectrum))

    def joined(self, pairs: Any) -> Any:
        """Complex array of real (..., 2), a view where that is possible."""
        return self.as_complex(pairs[..., 0], pairs[..., 1])

    def parted(self, array: Any) -> Any:
        """Real (..., 2) of a complex array, a view where that is possible."""
        xp = self.namespace(array)
        return xp.stack([xp.real(array), xp.imag(array)], axis=-1)

    def to_host(self, array: Any) -> np.ndarray:
        """The values in NumPy; waits for a device."""
        return np.asarray(array)

    def at_hand(self, array: Any) -> np.ndarray | None:
        """The values in NumPy, or None where they cannot be had without waiting."""
        return None

    def on_host(self, array: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
        """What `function` makes of the values (..., n_bins, n_frames) in NumPy, back on the array's device."""
        return self.namespace(array).asarray(function(self.to_host(array)), device=self.device(array))

    def found(self, function: str, array: Any, make: Callable[[np.ndarray], np.ndarray], rows: int) -> Any:
        """What `make` makes of the values (..., bands, n_frames) in NumPy: (..., rows, n_frames), without derivatives.

        Errors name `function`.
        """
        return self.on_host(array, make)

    def follows(self, array: Any) -> bool:
        """Whether a window or basis stays an array: followed by automatic differentiation or a compiler, or on a
        device from which its values cannot be had without waiting.
        """
        return False

    def along(self, values: Any, array: Any, axis: int = -1, kind: str | None = None) -> Any:
        """Factors (n,) of the host or of a library for one axis of `array`, counted from the last: beside it.

        They have its rank and, unless another is named, its dtype: some libraries can be told not to bring arrays
        into line by themselves (JAX's jax_numpy_rank_promotion and jax_numpy_dtype_promotion).
        """
        xp, kind = self.namespace(array), kind or dtype_name(array)
        if isinstance(values, np.ndarray):
            values = xp.asarray(values.astype(WIDENED.get(kind, kind)), device=self.device(array))
        if dtype_name(values) != kind:
            values = xp.astype(values, getattr(xp, kind))
        rank = len(array.shape)
        return xp.reshape(values, (*(1,) * (rank + axis), -1, *(1,) * (-1 - axis)))

    def gathered(self, array: Any, index: Any) -> Any:
        """array[..., index[...]] along the last axis; both have the same leading axes."""
        return self.namespace(array).take_along_axis(array, index, axis=-1)

    def widest(self, array: Any) -> Any:
        """float64 of this array's library; float32 where its device or its configuration has no more."""
        return self.namespace(array).float64

    def ephemeral(self, array: Any) -> bool:
        """Whether arrays that are made beside this one must not outlive the call."""
        return False

    def owned(self, array: Any) -> Any:
        """The array, or a copy of it where it lies in the memory of another one, which a user could tell."""
        return array

    def room(self, array: Any, shape: tuple[int, ...], kind: str, columns: bool = False) -> Any:
        """Memory beside `array` for a result that many calls write parts of; None where they make it in another way.

        columns : whether its last two axes lie in memory the other way round
        """
        return None

    # ---- checks

    def checked(self, function: str, name: str, array: Any) -> Any:
        """The array as the maps take it, or TypeError."""
        xp = self.namespace(array)
        missing = _missing(xp, getattr(xp, "__array_api_version__", None), hasattr(xp, "fft"))
        if missing:
            need = "an array of a library with complex dtypes and an FFT (Array API 2023.12 with the extension fft)"
            raise error(TypeError, function, name, need, _class(array), missing)
        return array

    def check_out(self, function: str, out: Any, array: Any, shape: tuple[int, ...], dtype: str) -> None:
        """`out` must be an array of `array`'s library, device and the result's shape and dtype, and writeable, each of
        whose elements has memory of its own. The rule is here; what a library is asked for it comes below.
        """
        self.check_kind_of_out(function, out, array)
        if dtype_name(out) != dtype or not (self.any_byte_order or getattr(out.dtype, "isnative", True)):
            raise error(TypeError, function, "out", f"dtype {dtype}", out.dtype)
        if tuple(out.shape) != shape:
            raise error(ValueError, function, "out", f"shape {shape}", tuple(out.shape))
        ours, theirs = self.device(array), self.device(out)
        if ours != theirs:
            raise error(ValueError, function, "out", f"the device of the input ({ours})", theirs)
        self.check_writeable(function, out)
        if 0 in shape:
            return
        memory, source = self.memory(out), self.memory(array)
        if memory is not None and overlaps_itself(memory):
            raise error(ValueError, function, "out", "memory of its own", "rows that overlap")
        if out is array or (
            memory is not None and source is not None and np.may_share_memory(memory, source, max_work=_MAX_WORK)
        ):
            raise error(ValueError, function, "out", "memory of its own", "one that overlaps the input")

    def check_kind_of_out(self, function: str, out: Any, array: Any) -> None:
        """TypeError unless `out` is an array of the kind that is made of `array`."""
        if type(out) is not type(array):
            raise error(TypeError, function, "out", f"{_class(array)} as the input", _class(out))

    def check_writeable(self, function: str, out: Any) -> None:
        if not array_api_compat.is_writeable_array(out):
            raise error(TypeError, function, "out", "an array that can be written in place", _class(out))

    def memory(self, array: Any) -> np.ndarray | None:
        """An array that lies where this one does, of which no value is looked at; None where that is not known."""
        try:
            return np.from_dlpack(array)
        except Exception:  # of a device, a library without DLPack, or a trace
            return None

    # ---- the definition in steps

    def _segments(self, spectrum: Any, job: Synthesis) -> Any:
        """The inverse FFT of each frame, (..., n_fft, n_frames)."""
        xp = self.namespace(spectrum)
        n_fft = job.frames.n_fft
        if 0 in spectrum.shape:  # which not every library's FFT takes
            empty = self._zeros(spectrum, *spectrum.shape[:-2], n_fft, spectrum.shape[-1])
            return xp.real(empty) if job.real else empty
        if job.onesided:
            return xp.fft.irfft(self._hermitian_ends(spectrum, n_fft), n=n_fft, axis=-2)
        segments = xp.fft.ifft(spectrum, n=n_fft, axis=-2)
        return xp.real(segments) if job.real else segments

    def _hermitian_ends(self, spectrum: Any, n_fft: int) -> Any:
        """The spectrum with real DC and (even n_fft) Nyquist bins: what real samples have, and cuFFT needs."""
        xp = self.namespace(spectrum)
        ends = np.zeros(spectrum.shape[-2], bool)
        ends[0] = True
        if n_fft % 2 == 0:
            ends[-1] = True
        real = xp.astype(xp.real(spectrum), spectrum.dtype)
        return xp.where(self.along(ends, spectrum, -2, "bool"), real, spectrum)

    def _overlap_added(self, segments: Any, job: Synthesis) -> Any:
        """Frames are added in the order of m."""
        xp = self.namespace(segments)
        frames = job.frames
        hop, rows = frames.hop, frames.overlap
        *batch, _, n_frames = segments.shape
        pieces = xp.moveaxis(self._windowed(segments, job), -1, -2)
        total = self._zeros(segments, *batch, n_frames + rows - 1, hop)
        total = self._added(total, pieces, rows, hop)
        length = (n_frames + rows - 1) * hop  # whole hops that hold the padded axis
        axis = xp.reshape(total, (*batch, length))

        before = max(0, min(-frames.start, frames.n_samples))
        after = max(0, min(frames.stop - length, frames.n_samples))
        inside = axis[..., min(length, max(0, frames.start)) : min(length, max(0, frames.stop))]
        zeros = (self._zeros(axis, *batch, count) for count in (before, after))
        signal = xp.concat([next(zeros), inside, next(zeros)], axis=-1)
        gain = job.signal_gain()
        return signal if gain is None else self._normalised(signal, gain)

    def _added(self, total: Any, pieces: Any, rows: int, hop: int) -> Any:
        """Sum of `total` (..., count + rows - 1, hop) and frames (..., count, samples), each from its own hop on."""
        xp = self.namespace(total)
        *batch, count, size = pieces.shape
        pieces = xp.concat([pieces, self._zeros(total, *batch, count, rows * hop - size)], axis=-1)
        pieces = xp.reshape(pieces, (*batch, count, rows, hop))
        for row in reversed(range(rows)):  # hop j takes row r of frame j - r: the earliest frame first
            before, after = (self._zeros(total, *batch, size, hop) for size in (row, rows - 1 - row))
            total = total + xp.concat([before, pieces[..., row, :], after], axis=-2)
        return total

    def _framed(self, signal: Any, job: Analysis) -> Any:
        xp = self.namespace(signal)
        frames = job.frames
        n_fft, hop, rows = frames.n_fft, frames.hop, frames.overlap
        batch = signal.shape[:-1]
        total = (frames.n_frames + rows - 1) * hop  # whole hops that hold every frame
        first, last = -frames.start, total - frames.start  # the padded axis, counted from the signal's first sample
        n_samples = signal.shape[-1]
        padded = xp.concat(
            [
                self._padding(signal, first, min(0, last), job.pad_mode),
                signal[..., min(n_samples, max(0, first)) : min(n_samples, max(0, last))],
                self._padding(signal, max(n_samples, first), last, job.pad_mode),
            ],
            axis=-1,
        )
        hops = xp.reshape(padded, (*batch, frames.n_frames + rows - 1, hop))
        pieces = xp.concat([hops[..., row : row + frames.n_frames, :] for row in range(rows)], axis=-1)
        return self._windowed(xp.moveaxis(pieces[..., :n_fft], -1, -2), job)

    def _padding(self, signal: Any, lo: int, hi: int, mode: str) -> Any:
        """What stands at samples [lo, hi), counted from the signal's first."""
        xp, n_samples = self.namespace(signal), signal.shape[-1]
        if lo >= hi:
            return signal[..., :0]
        if mode == "constant":
            return self._zeros(signal, *signal.shape[:-1], hi - lo)
        index = padding_index(lo, hi, n_samples, "reflect" if mode == "odd" else mode)
        values = xp.take(signal, xp.asarray(index, device=self.device(signal)), axis=-1)
        if mode != "odd" or n_samples == 1:
            return values
        # Every second reflection is upside down, and all are shifted: sign * x[index] + first * x[0] + last * x[-1]
        turn, phase = np.divmod(np.arange(lo, hi), 2 * (n_samples - 1))
        down = phase >= n_samples
        sign, first, last = (
            self.along(each, signal) for each in (np.where(down, -1, 1), -2 * turn, 2 * turn + 2 * down)
        )
        return sign * values + first * signal[..., :1] + last * signal[..., -1:]

    def _windowed(self, segments: Any, job: Synthesis | Analysis) -> Any:
        return segments if job.window is None else segments * self.along(job.window, segments, -2)

    def _normalised(self, signal: Any, gain: Any) -> Any:
        """The signal times its gain, and 0 where nothing determines a sample, whatever the signal holds there."""
        xp = self.namespace(signal)
        uncovered = self.along(gain == 0, signal, kind="bool")
        return xp.where(uncovered, xp.zeros_like(signal), signal * self.along(gain, signal))

    def _zeros(self, array: Any, *shape: int, kind: str | None = None) -> Any:
        """Beside `array`, of its dtype unless another is named."""
        xp = self.namespace(array)
        dtype = array.dtype if kind is None else getattr(xp, kind)
        return xp.zeros(shape, dtype=dtype, device=self.device(array))


BASE = Backend()


@lru_cache
def _missing(xp: Any, version: str | None, fft: bool) -> str:
    """Why the definition cannot be computed in a namespace, "" where it can: tried once on two frames of zeros.

    version, fft : what of a namespace can change while a program runs (array_api_strict's flags)
    """
    frames = Frames(4, 2, 2, 2, 4)
    window = np.ones(4)
    try:
        spectrum = BASE.analysis(xp.zeros(2, dtype=xp.float32), Analysis(frames, window))
        BASE.synthesis(spectrum, Synthesis(frames, window, None))
    except Exception as cause:
        return f"{type(cause).__name__}: {cause}"
    return ""


def _device(array: Any) -> Any:
    try:
        return array_api_compat.device(array)
    except AttributeError:  # MLX: all arrays lie in one memory
        return None


def memory_at(address: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> np.ndarray:
    """What `Backend.memory` returns, of strides in bytes."""

    class Place:
        __array_interface__: ClassVar = {
            "version": 3, "data": (address, True), "shape": shape, "strides": strides, "typestr": f"|V{itemsize}"
        }  # fmt: skip

    return np.asarray(Place())


def overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements of an array that is not empty share memory."""
    axes = sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True) if size > 1)
    reach, nested = array.itemsize, True
    for stride, size in axes:
        nested = nested and stride >= reach
        reach += stride * (size - 1)
    if nested:
        return False
    if array.size * array.itemsize > reach:  # more elements than there is room for
        return True
    places = np.zeros(1, np.int64)
    for stride, size in axes:
        places = np.add.outer(places, stride * np.arange(size)).ravel()
    return bool((np.diff(np.sort(places)) < array.itemsize).any())


def _class(array: Any) -> str:
    return f"{type(array).__module__}.{type(array).__qualname__}"


def written(result: Any, out: Any) -> Any:
    """The result, or `out` with its values."""
    if out is None:
        return result
    out[...] = result
    return out
