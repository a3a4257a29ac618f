"""NumPy: the maps in blocks that stay in cache, on threads, with no intermediate array that grows with the length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...arguments import error
from ...dtypes import COMPLEX_OF, PRECISION, REAL_OF, dtype_name
from ...jobs import Analysis, Running, Synthesis
from ...settings import get_fft_engine
from ...tuning import tuning
from ..base import SCALES, Backend
from . import products, streams
from .analysis import copied_frames, forward_of, transformed, whole_spectrum
from .fft import engine_for
from .memory import empty, keep_views, known_views
from .retrieval import retrieve
from .synthesis import COPY, inverse_of, overlap_added, plan_of, whole_signal
from .tasks import batches

_SMALL = "small"
_SMALL_SAMPLES = 1 << 14  # of all frames
_FEW = 2048  # frames: to find out anew what is known of more takes little of their time


class NumPyBackend(Backend):
    """The maps of this folder."""

    def synthesis(
        self, spectrum: np.ndarray, job: Synthesis, out: np.ndarray | None = None, workers: int | None = None
    ) -> np.ndarray:
        key = (_SMALL, job, spectrum.shape, spectrum.strides, spectrum.dtype, get_fft_engine())
        if out is None and (small := known_views(key)):
            return small(spectrum)
        kind = spectrum.dtype
        if out is None:
            out = empty("istft", (*spectrum.shape[:-2], job.frames.n_samples), REAL_OF[kind] if job.real else kind)
        inverse = inverse_of(spectrum, job)
        overlap_added(spectrum, job, inverse, out, workers)
        if out.ndim == 1:
            plan = plan_of(job, out.dtype, inverse.factor)
            if inverse.short and plan.n_frames <= _FEW:
                keep_views(key, partial(products.whole_signal, plan))
            elif not inverse.short and (whole := known_views((plan, 1))):
                keep_views(key, partial(whole_signal, inverse, whole, out.dtype), whole.inside)
        return out

    def analysis(
        self, signal: np.ndarray, job: Analysis, out: np.ndarray | None = None, workers: int | None = None
    ) -> np.ndarray:
        key = (_SMALL, job, signal.ndim, signal.dtype, get_fft_engine())
        if out is None and (small := known_views(key)):
            return small(signal)
        frames = job.frames
        kind = COMPLEX_OF[signal.dtype]
        n_bins = frames.n_fft // 2 + 1 if job.onesided else frames.n_fft
        if products.served("to spectra", frames.n_fft, kind, job.onesided):
            make = partial(products.analysed, job)
        else:
            make = partial(transformed, job, forward_of(job, engine_for(frames.n_fft, kind, job.onesided), kind))
        if out is None:  # frames one after the other in memory, as librosa and torch lay them
            out = empty("stft", (*signal.shape[:-1], n_bins, frames.n_frames), kind, columns=True)
            if signal.ndim == 1 and 0 < frames.n_frames * frames.n_fft <= _SMALL_SAMPLES:
                keep_views(key, partial(whole_spectrum, make, (n_bins, frames.n_frames), kind))
        for one, result in batches(signal.ndim - 1, signal, out):
            if len(one):
                make(one, result.transpose(0, 2, 1), workers)
        return out

    def overlap_add(self, segments: np.ndarray, job: Synthesis) -> np.ndarray:
        out = empty("overlap_add", (*segments.shape[:-2], job.frames.n_samples), segments.dtype)
        overlap_added(segments, job, COPY, out, None)
        return out

    def frame(self, signal: np.ndarray, job: Analysis) -> np.ndarray:
        frames = job.frames
        shape = (*signal.shape[:-1], frames.n_fft, frames.n_frames)
        out = empty("frame", shape, signal.dtype, columns=True)
        window = None if job.window is None else job.window.astype(REAL_OF.get(signal.dtype, signal.dtype))
        for one, result in batches(signal.ndim - 1, signal, out):
            if len(one):
                copied_frames(one, job, window, result.transpose(0, 2, 1))
        return out

    def to_amplitudes(self, spectrum: np.ndarray, job: Analysis, out: np.ndarray | None = None) -> np.ndarray:
        """In place: nobody else has seen the spectrum."""
        return super().to_amplitudes(spectrum, job, spectrum)

    def inverted(
        self, spectrum: np.ndarray, job: Synthesis, out: np.ndarray | None = None, workers: int | None = None
    ) -> np.ndarray:
        """Of long amplitudes in blocks: a copy is changed, and of what is mapped a whole one may not fit."""
        if not job.amplitudes or spectrum.nbytes <= tuning().amplitude_bytes:
            return super().inverted(spectrum, job, out, workers)
        frames, kind = job.frames, spectrum.dtype
        if out is None:
            out = empty("istft", (*spectrum.shape[:-2], frames.n_samples), REAL_OF[kind] if job.real else kind)
        step = frames.hop * max(1, tuning().amplitude_bytes * spectrum.shape[-1] // spectrum.nbytes)
        for lo in range(frames.start, frames.stop, step):
            hi = min(lo + step, frames.stop)
            columns, part = job.segment(lo, hi)
            here = out[..., lo - frames.start : hi - frames.start]
            if part.frames.n_frames:
                super().inverted(spectrum[..., columns], part, here, workers)
            else:  # beyond the last frame
                here[...] = 0
        return out

    def times_ends(self, spectrum: np.ndarray, n_fft: int, factor: float, out: np.ndarray | None = None) -> np.ndarray:
        """Two rows are written, after a copy of the others unless `out` has them."""
        if out is None:
            out = spectrum.copy("K")
        elif out is not spectrum:
            out[...] = spectrum
        out[..., 0, :] *= factor
        if n_fft % 2 == 0:
            out[..., -1, :] *= factor
        return out

    def waiting(self, spectrum: np.ndarray, running: Running) -> np.ndarray:
        return streams.waiting(spectrum, running)

    def continued(
        self, spectrum: np.ndarray, sums: np.ndarray, frame: int, running: Running
    ) -> tuple[np.ndarray, np.ndarray]:
        return streams.continued(spectrum, sums, frame, running)

    def ended(self, sums: np.ndarray, job: Synthesis, lo: int, skip: int, running: Running) -> np.ndarray:
        return streams.ended(sums, job, lo, skip, running)

    def retrieve(
        self,
        start: np.ndarray,
        magnitude: np.ndarray,
        inverse: Synthesis,
        forward: Analysis,
        stages: Sequence[Any],
        watch: Callable[[float], bool] | None = None,
        workers: int | None = None,
    ) -> np.ndarray:
        return retrieve(start, magnitude, inverse, forward, stages, watch, workers)

    def as_complex(self, real: np.ndarray, imag: np.ndarray) -> np.ndarray:
        pair = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, imag, np.complex64))
        pair.real, pair.imag = real, imag
        return pair

    def onto(self, magnitude: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
        size = np.abs(spectrum)
        if (
            size.min(initial=np.inf) > SCALES[PRECISION[dtype_name(spectrum)]][0]
        ):  # the same bits, in a third of the time
            return spectrum * (magnitude / size)
        return super().onto(magnitude, spectrum)

    def owned(self, array: np.ndarray) -> np.ndarray:
        return array if array.base is None else array.copy("K")

    def room(self, array: np.ndarray, shape: tuple[int, ...], kind: str, columns: bool = False) -> np.ndarray:
        return empty("stft" if columns else "istft", shape, kind, columns)

    def joined(self, pairs: np.ndarray) -> np.ndarray:
        """Without a copy where the pairs lie side by side in memory."""
        kind = np.result_type(pairs.dtype, np.complex64)
        if pairs.strides[-1] == pairs.itemsize and pairs.dtype.isnative:
            return pairs.view(kind)[..., 0]
        return self.as_complex(pairs[..., 0], pairs[..., 1])

    def at_hand(self, array: np.ndarray) -> np.ndarray:
        return array

    def on_host(self, array: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return function(array)

    def checked(self, function: str, name: str, array: np.ndarray) -> np.ndarray:
        """A plain array in native byte order."""
        array = np.asarray(array)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def check_kind_of_out(self, function: str, out: Any, array: np.ndarray) -> None:
        if not plain(out):
            raise error(TypeError, function, "out", "a NumPy array as the input", type(out).__name__)

    def check_writeable(self, function: str, out: np.ndarray) -> None:
        if not out.flags.writeable:
            raise error(ValueError, function, "out", "a writeable array", "a read-only one")

    def memory(self, array: np.ndarray) -> np.ndarray:
        return array


def plain(array: Any) -> bool:
    """Whether `array` is NumPy's, and all that it holds are values that can be read and written as they are."""
    return isinstance(array, np.ndarray) and not isinstance(array, (np.ma.MaskedArray, np.matrix))


BACKEND = NumPyBackend()
