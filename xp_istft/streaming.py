"""Transforms of what has no end yet: push frames and get samples, push samples and get frames.

The only state of the package. What comes out is what `stft` and `istft` make of all that was pushed, to the bit on
NumPy, whatever the sizes of the pushes; each value comes as soon as nothing that is pushed later can change it.
"""

from __future__ import annotations

import operator
import warnings
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from . import arrays, plans
from .arguments import boolean, error, integer
from .backends import array_api
from .backends.array_api import dtype_name
from .frames import Frames, Padding, Placement, padding_index
from .jobs import Analysis, Running, Synthesis
from .plans import Layout, planned, read_padding, read_window
from .windows import CoverageWarning, covered

_ENDLESS = 1 << 60  # samples: more than will ever come


class ISTFTState(NamedTuple):
    """What a streaming inverse remembers: sums that wait for frames (None before the first), and frames pushed."""

    sums: Any
    n_frames: Any


class STFTState(NamedTuple):
    """What a streaming transform remembers: samples that later frames need (None before the first), samples pushed."""

    samples: Any
    n_samples: int


class _Stream:
    """A stream is open or closed; its parameters and its state, which is never changed in place, can be kept."""

    _parameters: dict[str, Any]
    _state: Any
    _seen: tuple[Any, ...] | None
    _closed: bool
    _layout: Layout

    def _set_up(self) -> None:
        raise NotImplementedError

    def __getstate__(self) -> Any:
        return self._parameters, self._state, self._closed

    def __setstate__(self, kept: Any) -> None:
        self._parameters, state, closed = kept
        self._set_up()
        self._state, self._closed = state, closed

    @property
    def state(self) -> Any:
        """What the stream remembers of what was pushed: a tuple of an array and an integer.

        It may be kept (arrays in it are never changed in place), saved with numpy.savez or pickle, and set again, in
        this stream or in another one of the same parameters, which then goes on from there.
        """
        return self._state

    @state.setter
    def state(self, state: Any) -> None:
        function = type(self).__name__
        array, count = _two(function, state)
        count = integer(function, "state", count, 0, ("the longest stream", _ENDLESS // self._layout.hop))
        if array is not None:
            _check_array(function, "state", array)
            self._check_state(array, count)
        elif count:
            raise error(ValueError, function, "state", "an array", "None")
        self._state, self._seen, self._closed = type(self._state)(array, count), None, False

    def _check_state(self, array: Any, count: int) -> None:
        """ValueError unless `array` is what the stream remembers after `count` samples or frames."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget what was pushed: the next push begins a new signal."""
        self.state = (None, 0)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"{type(self).__name__}: stream is closed; reset() begins a new signal")


class StreamingISTFT(_Stream):
    """The inverse transform of frames that come one after the other, any number at a time.

    All samples that come out, one after the other, are `istft` of all frames with the same parameters: the same bits
    on NumPy, the same to rounding elsewhere. (A NaN may stay away from samples to which the window of its frame gives
    weight 0; `istft` spreads it to these, too.) What is kept between two pushes is `latency` samples of each signal.

    Parameters
    ----------
    n_fft : int
        Samples of a frame.
    hop_length, win_length, window, synthesis_window, center, padding, onesided, real, scaling, nola, max_gain
        As in `istft`. Warnings and errors about the beginning of the signal, and about holes, come at once (a hop
        longer than the window is a hole, though a single frame would have none), those about its end with `flush`.

    Attributes
    ----------
    latency : int
        Samples that wait: after a push, the samples up to `latency` before the end of the last frame came out. This
        is max(n_fft - hop - z, r), with z zeros at the beginning of the synthesis window and r samples of padding
        after the signal (which the last frames pushed may prove to be). Windows of `low_latency_windows` make it
        short.
    first_sample : int
        The sample of the signal that the first output of `step` is; negative in the padding before the signal.
    state : ISTFTState
        What the stream remembers. It can be kept, saved and set again.

    Raises
    ------
    ValueError, TypeError, NOLAError
        As `istft`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal(1000)
    >>> X = xi.stft(x, 256)
    >>> stream = xi.StreamingISTFT(256)
    >>> samples = [stream.push(X[:, m : m + 1]) for m in range(X.shape[-1])] + [stream.flush(length=1000)]
    >>> bool((np.concatenate(samples) == xi.istft(X, length=1000)).all())
    True
    >>> stream.latency, [len(each) for each in samples]
    (191, [0, 1, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 103])
    """

    def __init__(
        self,
        n_fft: int = 2048,
        *,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        synthesis_window: Any = None,
        center: bool = True,
        padding: Padding = None,
        onesided: bool = True,
        real: bool = True,
        scaling: str | None = None,
        nola: str = "warn",
        max_gain: float | None = None,
    ) -> None:
        function = type(self).__name__
        chosen = plans.layout(function, n_fft, hop_length, win_length, window, None)
        v = chosen.window
        if synthesis_window is not None:
            v = read_window(function, "synthesis_window", synthesis_window, chosen.win_length, None)
        self._parameters = {
            "chosen": chosen,
            "synthesis_window": v,
            "center": center,
            "padding": read_padding(function, padding),
            "onesided": boolean(function, "onesided", onesided),
            "real": real,
            "scaling": scaling,
            "nola": nola,
            "max_gain": max_gain,
        }
        self._set_up()
        _warn(self._warning)

    def _set_up(self) -> None:
        p = self._parameters
        self._layout: Layout = p["chosen"]
        self._placement = _placed(type(self).__name__, p)
        self._n_bins = self._layout.n_fft // 2 + 1 if p["onesided"] else self._layout.n_fft
        running, self._warning = self._endless("float64")
        self._waiting, self._lead = running.waiting, running.edge - self._placement.left
        self._state, self._seen, self._closed = ISTFTState(None, 0), None, False

    def _endless(self, precision: str) -> tuple[Running, str | None]:
        """The job of a stream that never ends, and the warning about its beginning."""
        n_fft, hop = self._layout.n_fft, self._layout.hop
        n_frames = _ENDLESS // hop
        inside = hop * n_frames - self._placement.left - n_fft  # the signal ends before the frames do
        job, warning = self._inverse(n_frames, inside, precision)
        if warning is not None:
            warning = warning.replace(f" of {inside} ", " ")  # a stream has no number of samples
        return _running(job, self._placement.right), warning

    def _inverse(self, n_frames: int, length: int | None, precision: str) -> plans.Inverse:
        p = self._parameters
        return planned(
            plans.inverse, p["chosen"], p["synthesis_window"], n_frames, p["center"], p["padding"], length,
            p["onesided"], p["real"], p["scaling"], p["nola"], p["max_gain"], precision,
        )  # fmt: skip

    @property
    def latency(self) -> int:
        """Samples that wait: after a push, those up to `latency` before the end of the last frame came out."""
        return self._waiting

    @property
    def first_sample(self) -> int:
        """The sample of the signal that the first output of `step` is; negative in the padding before the signal."""
        return self._lead

    def push(self, X: Any) -> Any:
        """The samples that are final once frames X came.

        Parameters
        ----------
        X : complex array (..., n_bins, n_frames)
            The next frames, any number of them (0, too); of the same library, dtype and leading axes every time.

        Returns
        -------
        real array (..., n_samples)
            As of `istft`; n_samples is 0 while nothing is final.

        Raises
        ------
        TypeError, ValueError
            X does not fit; the stream is as it was.
        RuntimeError
            The stream is closed.
        """
        self._check_open()
        seen = self._seen
        if seen is None or type(X) is not seen[0] or X.dtype != seen[1] or X.shape[:-1] != seen[2]:
            given, (X, self._maps, self._running) = X, self._fitting(X, self._state.sums)
            if X is given:
                self._seen = type(X), X.dtype, X.shape[:-1]
        n_frames = self._state.n_frames
        samples, self._state = _added(X, self._state, self._maps, self._running)
        lo = n_frames * self._layout.hop + self._lead  # of the first of these samples, in the signal
        if lo < 0:
            return samples[..., min(-lo, samples.shape[-1]) :]
        if lo > 0 and n_frames == 0 and samples.shape[-1]:  # samples that no frame determines come first
            xp = array_api_compat.array_namespace(samples)
            device = array_api_compat.device(samples)
            undetermined = xp.zeros((*samples.shape[:-1], lo), dtype=samples.dtype, device=device)
            return xp.concat([undetermined, samples], axis=-1)
        return samples

    def flush(self, length: int | None = None) -> Any:
        """The samples that are left, up to those of `istft`; the stream is then closed.

        Parameters
        ----------
        length : int, optional
            Samples of the whole signal, as in `istft`; no fewer than came out already.

        Returns
        -------
        real array (..., n_samples)

        Raises
        ------
        ValueError
            No frame came, or too few for any sample, or `length` is too small or large; the stream is as it was.
        NOLAError
            As `istft`.
        RuntimeError
            The stream is closed.
        """
        self._check_open()
        samples = self.finish(self._state, length)
        self._closed = True
        return samples

    def initial_state(self, X: Any) -> ISTFTState:
        """The state before the first frame, for `step` with arrays like X (..., n_bins, any number of frames)."""
        X, maps, running = self._fitting(X, None)
        return ISTFTState(maps.waiting(X, running), 0)

    def step(self, state: ISTFTState, X: Any) -> tuple[ISTFTState, Any]:
        """(state, X) -> (state, samples), as a pure function: for jax.jit, jax.lax.scan and the like.

        Every frame gives hop_length samples, also those that lie before the signal: the first of all is sample
        `first_sample` of the signal, so the first -first_sample ones are to be dropped. (A positive first_sample says
        how many samples before it are zeros.) `finish` gives those that are left.

        Examples
        --------
        >>> import numpy as np, xp_istft as xi
        >>> X = xi.stft(np.random.default_rng(0).standard_normal(1000), 256)
        >>> stream = xi.StreamingISTFT(256)
        >>> state, samples = stream.step(stream.initial_state(X), X)
        >>> signal = np.concatenate([samples[-stream.first_sample :], stream.finish(state)])
        >>> bool((signal == xi.istft(X)).all())
        True
        """
        sums, n_frames = _two(type(self).__name__, state)
        X, maps, running = self._fitting(X, sums)
        samples, following = _added(X, ISTFTState(sums, n_frames), maps, running)
        return following, samples

    def finish(self, state: ISTFTState, length: int | None = None) -> Any:
        """The samples that are left after `state`, as `flush` gives them: pure, but not for jax.jit.

        Under jax.jit and jax.lax.scan `step` counts no further than it needs, so `length` cannot be given then.
        """
        function = type(self).__name__
        sums, n_frames = _two(function, state)
        if length is not None and not isinstance(n_frames, (int, np.integer)):
            raise error(ValueError, function, "length", "None after traced steps", length)
        if sums is None or not n_frames:
            raise error(ValueError, function, "X", "at least 1 frame", 0)
        precision = "float64" if dtype_name(sums) in ("float64", "complex128") else "float32"
        n_frames = operator.index(n_frames)
        running, _ = self._endless(precision)
        job, warning = self._inverse(n_frames, length, precision)
        done = n_frames * self._layout.hop + running.edge
        lo = max(done, job.frames.start)
        if job.frames.stop < lo:
            need = f">= {lo - job.frames.start}, as many samples came out already"
            raise error(ValueError, function, "length", need, length)
        assert job.gain is not None
        if warning is not None and covered(job.gain, job.frames).stop < job.frames.n_samples:
            _warn(warning)
        backend, sums = arrays.read(function, "state", sums)
        return _maps(backend).ended(sums, job, lo, lo - done, running)

    def _fitting(self, X: Any, sums: Any) -> tuple[Any, Any, Running]:
        """X as its maps take it, these maps and the job; checked, also against the frames before."""
        function = type(self).__name__
        backend, X = arrays.read(function, "X", X)
        dtype = dtype_name(X)
        if dtype not in ("complex64", "complex128"):
            raise error(TypeError, function, "X", "dtype complex64 or complex128", X.dtype)
        if len(X.shape) < 2:
            raise error(
                ValueError, function, "X", "at least 2 dimensions (..., bins, frames)", f"shape {tuple(X.shape)}"
            )
        if X.shape[-2] != self._n_bins:
            raise error(ValueError, function, "X", f"{self._n_bins} bins for n_fft={self._layout.n_fft}", X.shape[-2])
        running, warning = self._endless("float64" if dtype == "complex128" else "float32")
        maps = _maps(backend)
        if sums is not None:
            _check_alike(function, "X", maps.waiting(X, running), sums)
        elif warning != self._warning:  # not the samples that are determined in float64
            _warn(warning)
        return X, maps, running

    def _check_state(self, array: Any, count: int) -> None:
        if tuple(array.shape[-1:]) != (self._waiting,):
            need = f"sums of {self._waiting} samples, of a stream with the same parameters"
            raise error(ValueError, type(self).__name__, "state", need, f"shape {tuple(array.shape)}")


def _two(function: str, state: Any) -> tuple[Any, Any]:
    """The array and the number that a state is made of."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise error(TypeError, function, "state", "an array and a number, as state gives them", type(state).__name__)
    return state[0], state[1]


def _check_array(function: str, name: str, array: Any) -> None:
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        raise error(TypeError, function, name, "an array", type(array).__name__)
    if dtype_name(array) not in ("float32", "float64", "complex64", "complex128"):
        raise error(TypeError, function, name, "a floating dtype, real or complex", array.dtype)


def _placed(function: str, parameters: dict[str, Any]) -> Placement:
    n_fft, hop, win_length, _ = parameters["chosen"]
    return Placement.of(function, n_fft, hop, win_length, parameters["center"], parameters["padding"])


@lru_cache(maxsize=128)
def _running(job: Synthesis, right: int) -> Running:
    """The job of a stream whose last `right` samples wait: they may prove to be the padding after the signal."""
    assert job.window is not None
    zeros = int(np.flatnonzero(job.window)[0])
    return Running(job, min(zeros, job.frames.n_fft - job.frames.hop - max(0, right)))


def _maps(backend: ModuleType) -> Any:
    """The backend where it has a stream's maps of its own, or the definition."""
    return backend if hasattr(backend, "continued") else array_api


def _added(X: Any, state: ISTFTState, maps: Any, running: Running) -> tuple[Any, ISTFTState]:
    sums, frame = state
    count = X.shape[-1]
    if sums is None:
        sums = maps.waiting(X, running)
    if not count:
        return array_api.waiting(X, running)[..., :0], ISTFTState(sums, frame)
    if type(frame) is not int:
        try:
            frame = operator.index(frame)
        except TypeError:  # traced: it counts no further than it matters
            samples, sums = maps.continued(X, sums, frame, running)
            xp = array_api_compat.array_namespace(X)
            return samples, ISTFTState(sums, xp.minimum(frame + count, xp.asarray(running.steady)))
    samples, sums = maps.continued(X, sums, frame, running)
    return samples, ISTFTState(sums, frame + count)


def _check_alike(function: str, name: str, due: Any, kept: Any) -> None:
    """Errors where what came does not go with what came before, of which `due` and `kept` are kept."""
    if array_api_compat.array_namespace(due) is not array_api_compat.array_namespace(kept):
        ours, theirs = (type(each).__module__ for each in (kept, due))
        raise error(TypeError, function, name, f"an array of the library that came before ({ours})", theirs)
    if due.dtype != kept.dtype:
        raise error(TypeError, function, name, f"the precision of what came before ({kept.dtype})", due.dtype)
    if due.shape[:-1] != kept.shape[:-1]:
        before, now = (tuple(each.shape[:-1]) for each in (kept, due))
        raise error(ValueError, function, name, f"leading axes {before}, as before", now)


def _warn(text: str | None) -> None:
    if text is not None:
        warnings.warn(text, CoverageWarning, stacklevel=4)


class StreamingSTFT(_Stream):
    """The transform of a signal that comes in pieces of any size.

    All frames that come out, one after the other, are `stft` of the whole signal with the same parameters: the same
    bits on NumPy, the same to rounding elsewhere. Each comes with the last of its samples. What is kept between two
    pushes is less than a frame of each signal, with pad_mode "reflect" or "symmetric" also what the end may reflect.

    Parameters
    ----------
    n_fft : int
        Samples of a frame.
    hop_length, win_length, window, center, padding, onesided, scaling
        As in `stft`.
    pad_mode : "constant", "reflect", "edge" or "symmetric"
        As in `stft`. What the beginning reflects must be there before the first frame comes; the end is known with
        `flush`. "wrap" cannot be had: its first frame begins with the last samples.

    Raises
    ------
    ValueError, TypeError
        As `stft`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal(1000)
    >>> stream = xi.StreamingSTFT(256, pad_mode="reflect")
    >>> frames = [stream.push(x[i : i + 100]) for i in range(0, 1000, 100)] + [stream.flush()]
    >>> bool((np.concatenate(frames, axis=-1) == xi.stft(x, 256, pad_mode="reflect")).all())
    True
    >>> [each.shape[-1] for each in frames]
    [0, 2, 1, 2, 1, 2, 1, 2, 2, 1, 2]
    """

    def __init__(
        self,
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
    ) -> None:
        function = type(self).__name__
        self._parameters = {
            "chosen": plans.layout(function, n_fft, hop_length, win_length, window, None),
            "center": center,
            "padding": read_padding(function, padding),
            "pad_mode": pad_mode,
            "onesided": boolean(function, "onesided", onesided),
            "scaling": scaling,
        }
        self._set_up()

    def _set_up(self) -> None:
        p, function = self._parameters, type(self).__name__
        self._layout: Layout = p["chosen"]
        self._placement = _placed(function, p)
        self._job = self._forward(_ENDLESS)
        mode, left, right = self._job.pad_mode, self._placement.left, self._placement.right
        if mode == "wrap":
            hint = "the first frame would begin with the last samples"
            raise error(ValueError, function, "pad_mode", "a mode that a stream can have", repr(p["pad_mode"]), hint)
        most = right + (self._layout.hop - 1 if self._placement.whole else 0)  # samples of padding after the signal
        needs = {"constant": (0, 0), "edge": (1, 1), "symmetric": (left, most), "reflect": (left + 1, most + 1)}[mode]
        self._awaited, self._kept = (n if n and side > 0 else 0 for n, side in zip(needs, (left, most), strict=True))
        self._state, self._seen, self._closed = STFTState(None, 0), None, False

    def _forward(self, n_samples: int) -> Analysis:
        p = self._parameters
        return planned(
            plans.forward, type(self).__name__, p["chosen"], n_samples, p["center"], p["padding"], p["pad_mode"],
            p["onesided"], p["scaling"],
        )  # fmt: skip

    @property
    def latency(self) -> int:
        """The most samples that came and that no frame has reached yet: hop_length - 1.

        So what goes straight into a `StreamingISTFT` comes out of it at most both latencies later. (The first frames
        may wait longer, for what the beginning reflects.)
        """
        return self._layout.hop - 1

    @property
    def first_frame(self) -> int:
        """The frame of `stft` that the first output of `step` is; negative ones come before the first."""
        n_fft, hop = self._layout.n_fft, self._layout.hop
        return min(0, (self._placement.left - max(0, n_fft - hop)) // hop)

    def push(self, x: Any) -> Any:
        """The frames whose last sample came with x.

        Parameters
        ----------
        x : real array (..., n_samples)
            The next samples, any number of them (0, too); of the same library, dtype and leading axes every time.
            Complex with onesided=False.

        Returns
        -------
        complex array (..., n_bins, n_frames)
            As of `stft`; n_frames is 0 while no frame is complete.

        Raises
        ------
        TypeError, ValueError
            x does not fit; the stream is as it was.
        RuntimeError
            The stream is closed.
        """
        self._check_open()
        x, backend = self._fitting(x, self._state.samples)
        xp = array_api_compat.array_namespace(x)
        samples, before = self._state
        n_samples = before + x.shape[-1]
        pool = x if samples is None else xp.concat([samples, x], axis=-1)
        began, begins = samples is not None and before >= self._awaited, n_samples >= self._awaited
        if begins and not began and self._placement.left > 0:
            padding = _padding(pool, -self._placement.left, 0, n_samples, 0, self._job.pad_mode)
            pool = xp.concat([padding, pool], axis=-1)
        first = self._complete(before) if began else 0
        last = self._complete(n_samples) if begins else 0
        frames = self._analysed(pool, first, last, n_samples, backend)
        unused = 0
        if begins:
            size = pool.shape[-1]
            unused = min(last * self._layout.hop - self._origin(pool, n_samples), size - self._kept)
            unused = min(size, max(0, unused))
        self._state = STFTState(xp.concat([pool[..., unused:]], axis=-1), n_samples)  # a copy of what is needed alone
        return frames

    def flush(self) -> Any:
        """The frames that are left, up to those of `stft`; the stream is then closed.

        Returns
        -------
        complex array (..., n_bins, n_frames)

        Raises
        ------
        ValueError
            Fewer samples came than a frame needs; the stream is as it was.
        RuntimeError
            The stream is closed.
        """
        self._check_open()
        samples, n_samples = self._state
        job = self._forward(n_samples)
        if samples is None:
            raise error(ValueError, type(self).__name__, "x", "at least 1 sample", 0)
        backend, samples = arrays.read(type(self).__name__, "x", samples)
        if n_samples < self._awaited:  # all of the signal is still there
            frames = backend.analysis(samples, job)
        else:
            end = job.frames.span - self._placement.left
            if n_samples < end:
                xp = array_api_compat.array_namespace(samples)
                held = n_samples - samples.shape[-1]
                padding = _padding(samples, n_samples, end, n_samples, held, job.pad_mode)
                samples = xp.concat([samples, padding], axis=-1)
            n_padded = max(n_samples, end)
            frames = self._analysed(samples, self._complete(n_samples), job.frames.n_frames, n_padded, backend)
        self._closed = True
        return frames

    def initial_state(self, x: Any) -> Any:
        """The state before the first sample, for `step` with arrays like x (..., any number of samples)."""
        x, _ = self._fitting(x, None)
        if self._job.pad_mode != "constant" and max(self._placement.left, self._placement.right) > 0:
            raise error(ValueError, type(self).__name__, "pad_mode", "'constant' for step", repr(self._job.pad_mode))
        size = self._placement.left - self.first_frame * self._layout.hop
        xp = array_api_compat.array_namespace(x)
        return xp.zeros((*x.shape[:-1], size), dtype=x.dtype, device=array_api_compat.device(x))

    def step(self, state: Any, x: Any) -> tuple[Any, Any]:
        """(state, x) -> (state, frames), as a pure function: for jax.jit, jax.lax.scan and the like.

        x holds a multiple of hop_length samples, and every hop gives a frame; the first of all is frame `first_frame`
        of `stft`, so the first -first_frame ones are to be dropped. At the end, zeros take the place of more samples.
        The state is an array (..., n_samples).

        Examples
        --------
        >>> import numpy as np, xp_istft as xi
        >>> x = np.random.default_rng(0).standard_normal(1024)
        >>> stream = xi.StreamingSTFT(256, center=False)
        >>> state, frames = stream.step(stream.initial_state(x), x)
        >>> bool((frames[:, -stream.first_frame :] == xi.stft(x, 256, center=False)).all())
        True
        """
        function, due = type(self).__name__, self._placement.left - self.first_frame * self._layout.hop
        _check_array(function, "state", state)
        if tuple(state.shape[-1:]) != (due,):
            raise error(
                ValueError, function, "state", f"{due} samples, as of initial_state", f"shape {tuple(state.shape)}"
            )
        x, backend = self._fitting(x, state)
        count, rest = divmod(x.shape[-1], self._layout.hop)
        if rest:
            raise error(ValueError, type(self).__name__, "x", f"a multiple of {self._layout.hop} samples", x.shape[-1])
        pool = array_api_compat.array_namespace(x).concat([state, x], axis=-1)
        return pool[..., x.shape[-1] :], self._transformed(pool, count, backend)

    def _fitting(self, x: Any, samples: Any) -> tuple[Any, ModuleType]:
        """The samples as their backend takes them, and it; checked, also against the samples before."""
        function = type(self).__name__
        backend, x = arrays.read(function, "x", x)
        kinds = ("float32", "float64") if self._job.onesided else ("float32", "float64", "complex64", "complex128")
        if dtype_name(x) not in kinds:
            raise error(TypeError, function, "x", f"dtype {' or '.join(kinds)}", x.dtype)
        if len(x.shape) < 1:
            raise error(ValueError, function, "x", "at least 1 dimension (..., samples)", f"shape {tuple(x.shape)}")
        if samples is not None:
            _check_alike(function, "x", x, samples)
        return x, backend

    def _check_state(self, array: Any, count: int) -> None:
        due = count
        if count >= self._awaited:  # frames came out: what the next one begins with, or what the end may reflect
            left = self._placement.left
            due = max(0, count + left - self._complete(count) * self._layout.hop, min(self._kept, count + max(0, left)))
        if tuple(array.shape[-1:]) != (due,):
            need = f"{due} samples after {count}, of a stream with the same parameters"
            raise error(ValueError, type(self).__name__, "state", need, f"shape {tuple(array.shape)}")

    def _complete(self, n_samples: int) -> int:
        """Frames that lie before the end of n_samples samples."""
        n_fft, hop = self._layout.n_fft, self._layout.hop
        return max(0, (n_samples + self._placement.left - n_fft) // hop + 1)

    def _origin(self, pool: Any, n_samples: int) -> int:
        """The sample of the padded axis that a pool begins with which ends with sample n_samples of the signal."""
        return n_samples + self._placement.left - pool.shape[-1]

    def _analysed(self, pool: Any, first: int, last: int, n_samples: int, backend: ModuleType) -> Any:
        """Frames [first, last), which lie in the pool."""
        start = first * self._layout.hop - self._origin(pool, n_samples) if first < last else 0
        return self._transformed(pool[..., start:], last - first, backend)

    def _transformed(self, pool: Any, count: int, backend: ModuleType) -> Any:
        """The first `count` frames of what is padded already."""
        if count:
            job = _counted(self._job, count)
            return backend.analysis(pool[..., : job.frames.span], job)
        n_bins = self._layout.n_fft // 2 + 1 if self._job.onesided else self._layout.n_fft
        xp = array_api_compat.array_namespace(pool)
        kind = getattr(xp, arrays.complex_dtype(pool, dtype_name(pool)))
        return xp.zeros((*pool.shape[:-1], n_bins, 0), dtype=kind, device=array_api_compat.device(pool))


@lru_cache(maxsize=128)
def _counted(job: Analysis, count: int) -> Analysis:
    n_fft, hop = job.frames.n_fft, job.frames.hop
    laid = Frames(n_fft, hop if count > 1 else min(hop, n_fft), count, 0, n_fft + hop * (count - 1))
    return replace(job, frames=laid, pad_mode="constant")


def _padding(samples: Any, lo: int, hi: int, n_samples: int, held: int, mode: str) -> Any:
    """What stands at samples [lo, hi) of a signal of n_samples samples; `samples` are those from `held` on."""
    xp = array_api_compat.array_namespace(samples)
    device = array_api_compat.device(samples)
    if mode == "constant":
        return xp.zeros((*samples.shape[:-1], hi - lo), dtype=samples.dtype, device=device)
    return xp.take(samples, xp.asarray(padding_index(lo, hi, n_samples, mode) - held, device=device), axis=-1)
