"""Transforms of what has no end yet: push frames and get samples, push samples and get frames.

The only state of the package. What comes out is what `stft` and `istft` make of all that was pushed, to the bit on
NumPy, whatever the sizes of the pushes; each value comes as soon as nothing that is pushed later can change it.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import arrays
from .arguments import error, hinted, integer, warn
from .backends import Backend, backend_for, device, namespace
from .dtypes import COMPLEX, PRECISION, REAL, complex_dtype, dtype_name
from .frames import ENDLESS, Frames, padding_index
from .jobs import Analysis, Running
from .transform import STFT, read_length
from .windows import CoverageWarning, covered


class ISTFTState(NamedTuple):
    """What a streaming inverse remembers: sums that wait for frames (None before the first), and frames pushed."""

    sums: Any
    n_frames: Any


class STFTState(NamedTuple):
    """What a streaming transform remembers: samples that later frames need (None before the first), samples pushed."""

    samples: Any
    n_samples: int


class _Stream:
    """A stream is open or closed; it has a transform and a state, which is never changed in place."""

    transform: STFT
    _hop: int
    _state: Any
    _seen: tuple[Any, ...] | None  # what was pushed last: type, dtype and shape but for frames
    _closed: bool

    def _take(self, transform: Any) -> None:
        function = type(self).__name__
        if not isinstance(transform, STFT):
            raise error(TypeError, function, "transform", "an STFT", type(transform).__name__)
        if transform.bins is not None:
            got = type(transform.frequencies).__name__
            raise error(ValueError, function, "frequencies", "None, the bins of the DFT", got)
        if transform.followed:
            need = "windows whose values are at hand and that no derivative follows"
            raise error(ValueError, function, "window", need, type(transform.window).__name__)
        self.transform, self._hop = transform, transform.placement.hop
        self._set_up()

    def _set_up(self) -> None:
        raise NotImplementedError

    def __getstate__(self) -> Any:
        return self.transform, self._state, self._closed

    def __setstate__(self, kept: Any) -> None:
        transform, state, closed = kept
        self._take(transform)
        self._state, self._closed = state, closed

    @property
    def state(self) -> Any:
        """What the stream remembers of what was pushed: a tuple of an array and an integer.

        It can be saved with numpy.savez or pickle, and set again, in this stream or in another one of an equal
        transform, which then goes on from there. Its arrays are never changed in place.
        """
        return self._state

    @state.setter
    def state(self, state: Any) -> None:
        function = type(self).__name__
        array, count = _two(function, state)
        count = integer(function, "state", count, 0, ("the longest stream", ENDLESS // self._hop))
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

    All samples that come out, one after the other, are `transform.istft` of all frames: the same bits on NumPy, the
    same to rounding elsewhere. (A NaN may not reach samples to which the window of its frame gives weight 0; `istft`
    spreads it to these, too.) Between two pushes `latency` samples of each signal are stored.

    Parameters
    ----------
    transform : STFT
        The transform, with the bins of the DFT. Warnings and errors about the beginning of the signal, and about
        holes, come when the stream is made (a hop longer than the window is a hole, though a single frame would have
        none), those about its end with `flush`.

    Attributes
    ----------
    transform : STFT
        The transform.
    latency : int
        Samples that wait: after a push, the samples up to `latency` before the end of the last frame came out. This
        is max(n_fft - hop - z, r), with z zeros at the beginning of the synthesis window and r samples of padding
        after the signal (which the last frames pushed may prove to be). Windows of `low_latency_windows` make it
        short.
    first_sample : int
        The sample of the signal that the first output of `step` is; negative in the padding before the signal.
    state : ISTFTState
        What the stream remembers. It can be saved and set again.

    Raises
    ------
    ValueError, TypeError, NOLAError
        As `istft`; or `transform` has other bins, another solver or followed windows, which a stream cannot have.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal(1000)
    >>> t = xi.STFT(256)
    >>> X = t.stft(x)
    >>> stream = xi.StreamingISTFT(t)
    >>> samples = [stream.push(X[:, m : m + 1]) for m in range(X.shape[-1])] + [stream.flush(length=1000)]
    >>> bool((np.concatenate(samples) == t.istft(X, length=1000)).all())
    True
    >>> stream.latency, [len(each) for each in samples]
    (191, [0, 1, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 103])
    """

    @hinted
    def __init__(self, transform: STFT | None = None) -> None:
        self._take(STFT() if transform is None else transform)
        _warn(self._warning)

    def _set_up(self) -> None:
        t = self.transform
        if not t.closed:
            need = "Dual() with its default weights, whose inverse is in closed form"
            raise error(ValueError, type(self).__name__, "solver", need, t.solver)
        running, self._warning = _endless(t, type(self).__name__, "float64")
        self.latency, self.first_sample = running.waiting, running.edge - t.placement.left
        self._state, self._seen, self._closed = ISTFTState(None, 0), None, False

    @hinted
    def push(self, X: Any) -> Any:
        """The samples that are final once frames X came.

        Parameters
        ----------
        X : complex array (..., n_bins, n_frames)
            The next frames, any number of them (0, too); of the same library, dtype and leading axes every time.

        Returns
        -------
        real array (..., n_samples), complex with onesided=False
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
            given, (X, self._backend, self._running) = X, self._fitting(X, self._state.sums)
            if X is given:
                self._seen = type(X), X.dtype, X.shape[:-1]
        n_frames = self._state.n_frames
        samples, self._state = _added(X, self._state, self._backend, self._running)
        lo = n_frames * self._hop + self.first_sample  # of the first of these samples, in the signal
        if lo < 0:
            samples = samples[..., min(-lo, samples.shape[-1]) :]
        if lo > 0 and n_frames == 0 and samples.shape[-1]:  # samples that no frame determines come first
            xp = namespace(samples)
            undetermined = xp.zeros((*samples.shape[:-1], lo), dtype=samples.dtype, device=device(samples))
            return xp.concat([undetermined, samples], axis=-1)
        return self._backend.owned(samples)

    @hinted
    def flush(self, length: int | None = None) -> Any:
        """The samples that are left, up to those of `istft`; the stream is then closed.

        Parameters
        ----------
        length : int, optional
            Samples of the whole signal, as in `istft`; no fewer than came out already.

        Returns
        -------
        real array (..., n_samples), complex with onesided=False

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

    @hinted
    def initial_state(self, X: Any) -> ISTFTState:
        """The state before the first frame, for `step` with arrays like X (..., n_bins, any number of frames)."""
        X, backend, running = self._fitting(X, None)
        return ISTFTState(backend.waiting(X, running), 0)

    @hinted
    def step(self, state: ISTFTState, X: Any) -> tuple[ISTFTState, Any]:
        """(state, X) -> (state, samples), as a pure function: for jax.jit, jax.lax.scan and the like.

        Every frame gives hop_length samples, also those that lie before the signal: the first of all is sample
        `first_sample` of the signal, so the first -first_sample ones are to be dropped. (A positive first_sample says
        how many samples before it are zeros.) `finish` gives those that are left.

        Examples
        --------
        >>> import numpy as np, xp_istft as xi
        >>> X = xi.stft(np.random.default_rng(0).standard_normal(1000), 256)
        >>> stream = xi.StreamingISTFT(xi.STFT(256))
        >>> state, samples = stream.step(stream.initial_state(X), X)
        >>> signal = np.concatenate([samples[-stream.first_sample :], stream.finish(state)])
        >>> bool((signal == xi.istft(X)).all())
        True
        """
        sums, n_frames = self._given(state)
        X, backend, running = self._fitting(X, sums)
        samples, following = _added(X, ISTFTState(sums, n_frames), backend, running)
        return following, samples

    @hinted
    def finish(self, state: ISTFTState, length: int | None = None) -> Any:
        """The samples that are left after `state`, as `flush` gives them: pure, but not for jax.jit.

        Under jax.jit and jax.lax.scan `step` counts no further than it needs, so `length` cannot be given then.
        """
        function = type(self).__name__
        sums, n_frames = self._given(state)
        if length is not None and not isinstance(n_frames, (int, np.integer)):
            raise error(ValueError, function, "length", "None after traced steps", length)
        if sums is None or not n_frames:
            raise error(ValueError, function, "X", "at least 1 frame", 0)
        n_frames, precision = operator.index(n_frames), PRECISION[dtype_name(sums)]
        running, _ = _endless(self.transform, function, precision)
        job, warning = self.transform.synthesis(function, n_frames, read_length(function, length), precision)
        # Counted as the job does, whose frames may be closer together.
        done = n_frames * self._hop + running.edge + job.frames.start - self.transform.placement.left
        lo = max(done, job.frames.start)
        if job.frames.stop < lo:
            need = f">= {lo - job.frames.start}, as many samples came out already"
            raise error(ValueError, function, "length", need, length)
        assert job.gain is not None
        if warning is not None and covered(job.gain, job.frames).stop < job.frames.n_samples:
            _warn(warning)
        backend, sums = arrays.read(function, "state", sums)
        return backend.ended(sums, job, lo, lo - done, running)

    def _given(self, state: Any) -> tuple[Any, Any]:
        """The sums and the number of frames of a state, checked; the number is as it came where it is an array."""
        function = type(self).__name__
        sums, n_frames = _two(function, state)
        if sums is not None:
            _check_array(function, "state", sums)
            self._check_state(sums, 0)
        if isinstance(n_frames, np.ndarray) or backend_for(n_frames) is None:
            n_frames = integer(function, "state", n_frames, 0, ("the longest stream", ENDLESS // self._hop))
        elif tuple(n_frames.shape) != () or not dtype_name(n_frames).startswith(("int", "uint")):
            got = f"{n_frames.dtype} of shape {tuple(n_frames.shape)}"
            raise error(TypeError, function, "state", "an integer number of frames", got)
        return sums, n_frames

    def _fitting(self, X: Any, sums: Any) -> tuple[Any, Backend, Running]:
        """X as its backend takes it, that backend and the job; checked, also against the frames before."""
        function = type(self).__name__
        backend, X = arrays.read(function, "X", X)
        if dtype_name(X) not in COMPLEX:
            raise error(TypeError, function, "X", "dtype complex64 or complex128", X.dtype)
        if len(X.shape) < 2 or X.shape[-2] != self.transform.n_bins:
            raise self.transform.misfit(function, "X", X)
        running, warning = _endless(self.transform, function, PRECISION[dtype_name(X)])
        if sums is not None:
            _check_alike(function, "X", backend.waiting(X, running), sums)
        elif warning != self._warning:  # not the samples that are determined in float64
            _warn(warning)
        return X, backend, running

    def _check_state(self, array: Any, count: int) -> None:
        if tuple(array.shape[-1:]) != (self.latency,):
            need = f"sums of {self.latency} samples, of a stream with the same transform"
            raise error(ValueError, type(self).__name__, "state", need, f"shape {tuple(array.shape)}")


def _two(function: str, state: Any) -> tuple[Any, Any]:
    """The array and the number that a state is made of."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise error(TypeError, function, "state", "an array and a number, as state gives them", type(state).__name__)
    return state[0], state[1]


def _check_array(function: str, name: str, array: Any) -> None:
    if backend_for(array) is None:
        raise error(TypeError, function, name, "an array", type(array).__name__)
    if dtype_name(array) not in (*REAL, *COMPLEX):
        raise error(TypeError, function, name, "a floating dtype, real or complex", array.dtype)


@lru_cache(maxsize=128)
def _endless(transform: STFT, function: str, precision: str) -> tuple[Running, str | None]:
    """The inverse of frames that begin and never end, and what to warn of at its beginning.

    Both are those of a few frames: enough to reach the steady state, about a signal that ends before they do.
    """
    place = transform.placement
    n_frames = 2 * -(-place.n_fft // place.hop) + max(0, -(-place.left // place.hop)) + 3
    length = n_frames * place.hop - place.n_fft - place.left
    job, warning = transform.synthesis(function, n_frames, length, precision)
    assert job.gain is not None
    if warning is not None:
        start = covered(job.gain, job.frames).start
        warning = f"{function}: window: samples [0, {start}) lie under no window weight and are set to 0"
    job = replace(job, gain=replace(job.gain, tail=job.gain.tail[:0], tail_start=ENDLESS))
    zeros = int(np.flatnonzero(job.window)[0])
    # The last samples wait, as many as there is padding after the signal: they may prove to be it.
    return Running(job, min(zeros, place.n_fft - place.hop - max(0, place.right))), warning


def _added(X: Any, state: ISTFTState, backend: Backend, running: Running) -> tuple[Any, ISTFTState]:
    """The samples that frames X make final, and the state after them."""
    sums, frame = state
    count = X.shape[-1]
    if sums is None:
        sums = backend.waiting(X, running)
    if not count:  # of the definition: a backend may hold its sums in another shape
        return Backend.waiting(backend, X, running)[..., :0], ISTFTState(sums, frame)
    try:
        frame = operator.index(frame)
        following = frame + count
    except TypeError:  # traced: it counts no further than it matters
        xp = namespace(X)
        following = xp.minimum(frame + count, xp.asarray(running.steady))
    samples, sums = backend.continued(backend.of_amplitudes(X, running.job), sums, frame, running)
    return samples, ISTFTState(sums, following)


def _check_alike(function: str, name: str, due: Any, kept: Any) -> None:
    """Errors where what came does not go with what came before, of which `due` and `kept` are kept."""
    if type(due) is not type(kept) and namespace(due) is not namespace(kept):
        ours, theirs = (type(each).__module__ for each in (kept, due))
        raise error(TypeError, function, name, f"an array of the library that came before ({ours})", theirs)
    if due.dtype != kept.dtype:
        raise error(TypeError, function, name, f"the precision of what came before ({kept.dtype})", due.dtype)
    if due.shape[:-1] != kept.shape[:-1]:
        before, now = (tuple(each.shape[:-1]) for each in (kept, due))
        raise error(ValueError, function, name, f"leading axes {before}, as before", now)


def _warn(text: str | None) -> None:
    if text is not None:
        warn(text, CoverageWarning)


class StreamingSTFT(_Stream):
    """The transform of a signal that comes in pieces of any size.

    All frames that come out, one after the other, are `transform.stft` of the whole signal: the same bits on NumPy,
    the same to rounding elsewhere. Each comes with the last of its samples. Between two pushes less than a frame of
    each signal is stored, with pad_mode "reflect" or "symmetric" also what the end may reflect.

    Parameters
    ----------
    transform : STFT
        The transform, with the bins of the DFT. What `pad_mode` reflects at the beginning must be there before the
        first frame comes; the end is known with `flush`. "wrap" is refused: its first frame begins with the last
        samples.

    Attributes
    ----------
    transform : STFT
        The transform.
    state : STFTState
        What the stream remembers. It can be saved and set again.

    Raises
    ------
    ValueError, TypeError
        `transform` is no STFT, or has other bins, followed windows or pad_mode "wrap".

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal(1000)
    >>> t = xi.STFT(256, pad_mode="reflect")
    >>> stream = xi.StreamingSTFT(t)
    >>> frames = [stream.push(x[i : i + 100]) for i in range(0, 1000, 100)] + [stream.flush()]
    >>> bool((np.concatenate(frames, axis=-1) == t.stft(x)).all())
    True
    >>> [each.shape[-1] for each in frames]
    [0, 2, 1, 2, 1, 2, 1, 2, 2, 1, 2]
    """

    @hinted
    def __init__(self, transform: STFT | None = None) -> None:
        self._take(STFT() if transform is None else transform)

    def _set_up(self) -> None:
        function, place = type(self).__name__, self.transform.placement
        self._n_fft, self._left = place.n_fft, place.left
        # Of two frames: a single one has no hop.
        self._job = self.transform.analysis(function, place.n_fft + place.hop, "float64")
        mode, left = self._job.pad_mode, place.left
        if mode == "wrap":
            hint = "the first frame would begin with the last samples"
            raise error(ValueError, function, "pad_mode", "a mode that a stream can have", repr(mode), hint)
        most = place.right + (place.hop - 1 if place.whole else 0)  # samples of padding after the signal
        needs = {"constant": (0, 0), "edge": (1, 1), "symmetric": (left, most), "reflect": (left + 1, most + 1)}[mode]
        self._awaited, self._kept = (n if n and side > 0 else 0 for n, side in zip(needs, (left, most), strict=True))
        self._state, self._seen, self._closed = STFTState(None, 0), None, False

    @property
    def latency(self) -> int:
        """The most samples that came and that no frame has reached yet: hop_length - 1.

        So what goes straight into a `StreamingISTFT` comes out of it at most both latencies later. (The first frames
        may wait longer, for what the beginning reflects.)
        """
        return self._hop - 1

    @property
    def first_frame(self) -> int:
        """The frame of `stft` that the first output of `step` is; negative ones come before the first."""
        return min(0, (self._left - max(0, self._n_fft - self._hop)) // self._hop)

    @hinted
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
        xp = backend.namespace(x)
        samples, before = self._state
        n_samples = before + x.shape[-1]
        pool = x if samples is None else xp.concat([samples, x], axis=-1)
        began, begins = samples is not None and before >= self._awaited, n_samples >= self._awaited
        if begins and not began and self._left > 0:
            padding = _padding(pool, -self._left, 0, n_samples, 0, self._job.pad_mode)
            pool = xp.concat([padding, pool], axis=-1)
        first = self._complete(before) if began else 0
        last = self._complete(n_samples) if begins else 0
        frames = self._analysed(pool, first, last, n_samples, backend)
        unused = 0
        if begins:
            size = pool.shape[-1]
            unused = min(last * self._hop - self._origin(pool, n_samples), size - self._kept)
            unused = min(size, max(0, unused))
        self._state = STFTState(xp.concat([pool[..., unused:]], axis=-1), n_samples)  # a copy of what is needed alone
        return frames

    @hinted
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
        job = self.transform.analysis(type(self).__name__, n_samples, "float64")
        if samples is None:
            raise error(ValueError, type(self).__name__, "x", "at least 1 sample", 0)
        backend, samples = arrays.read(type(self).__name__, "x", samples)
        if n_samples < self._awaited:  # all of the signal is still there
            frames = backend.to_amplitudes(backend.analysis(samples, job), job)
        else:
            end = job.frames.span - self._left
            if n_samples < end:
                xp = namespace(samples)
                held = n_samples - samples.shape[-1]
                padding = _padding(samples, n_samples, end, n_samples, held, job.pad_mode)
                samples = xp.concat([samples, padding], axis=-1)
            n_padded = max(n_samples, end)
            frames = self._analysed(samples, self._complete(n_samples), job.frames.n_frames, n_padded, backend)
        self._closed = True
        return frames

    @hinted
    def initial_state(self, x: Any) -> Any:
        """The state before the first sample, for `step` with arrays like x (..., any number of samples)."""
        x, _ = self._fitting(x, None)
        if self._job.pad_mode != "constant" and max(self._left, self.transform.placement.right) > 0:
            raise error(ValueError, type(self).__name__, "pad_mode", "'constant' for step", repr(self._job.pad_mode))
        size = self._left - self.first_frame * self._hop
        xp = namespace(x)
        return xp.zeros((*x.shape[:-1], size), dtype=x.dtype, device=device(x))

    @hinted
    def step(self, state: Any, x: Any) -> tuple[Any, Any]:
        """(state, x) -> (state, frames), as a pure function: for jax.jit, jax.lax.scan and the like.

        x holds a multiple of hop_length samples, and every hop gives a frame; the first of all is frame `first_frame`
        of `stft`, so the first -first_frame ones are to be dropped. At the end, zeros take the place of more samples.
        The state is an array (..., n_samples).

        Examples
        --------
        >>> import numpy as np, xp_istft as xi
        >>> x = np.random.default_rng(0).standard_normal(1024)
        >>> stream = xi.StreamingSTFT(xi.STFT(256, center=False))
        >>> state, frames = stream.step(stream.initial_state(x), x)
        >>> bool((frames[:, -stream.first_frame :] == xi.stft(x, 256, center=False)).all())
        True
        """
        function, due = type(self).__name__, self._left - self.first_frame * self._hop
        _check_array(function, "state", state)
        if tuple(state.shape[-1:]) != (due,):
            need = f"{due} samples, as of initial_state"
            raise error(ValueError, function, "state", need, f"shape {tuple(state.shape)}")
        x, backend = self._fitting(x, state)
        count, rest = divmod(x.shape[-1], self._hop)
        if rest:
            raise error(ValueError, function, "x", f"a multiple of {self._hop} samples", x.shape[-1])
        pool = namespace(x).concat([state, x], axis=-1)
        return pool[..., x.shape[-1] :], self._transformed(pool, count, backend)

    def _fitting(self, x: Any, samples: Any) -> tuple[Any, Backend]:
        """The samples as their backend takes them, and it; checked, also against the samples before."""
        function = type(self).__name__
        backend, x = arrays.read(function, "x", x)
        kinds = REAL if self._job.onesided else (*REAL, *COMPLEX)
        if dtype_name(x) not in kinds:
            raise error(TypeError, function, "x", f"dtype {' or '.join(kinds)}", x.dtype)
        if len(x.shape) < 1:
            raise error(ValueError, function, "x", "at least 1 dimension (..., samples)", f"shape {tuple(x.shape)}")
        if samples is not None:
            _check_alike(function, "x", x, samples)
        else:
            self.transform.check_scale(function, PRECISION[dtype_name(x)])
        return x, backend

    def _check_state(self, array: Any, count: int) -> None:
        due = count
        if count >= self._awaited:  # frames came out: what the next one begins with, or what the end may reflect
            unframed = count + self._left - self._complete(count) * self._hop
            due = max(0, unframed, min(self._kept, count + max(0, self._left)))
        if tuple(array.shape[-1:]) != (due,):
            need = f"{due} samples after {count}, of a stream with the same transform"
            raise error(ValueError, type(self).__name__, "state", need, f"shape {tuple(array.shape)}")

    def _complete(self, n_samples: int) -> int:
        """Frames that lie before the end of n_samples samples."""
        return max(0, (n_samples + self._left - self._n_fft) // self._hop + 1)

    def _origin(self, pool: Any, n_samples: int) -> int:
        """The sample of the padded axis that a pool begins with which ends with sample n_samples of the signal."""
        return n_samples + self._left - pool.shape[-1]

    def _analysed(self, pool: Any, first: int, last: int, n_samples: int, backend: Backend) -> Any:
        """Frames [first, last), which lie in the pool."""
        start = first * self._hop - self._origin(pool, n_samples) if first < last else 0
        return self._transformed(pool[..., start:], last - first, backend)

    def _transformed(self, pool: Any, count: int, backend: Backend) -> Any:
        """The first `count` frames of what is padded already."""
        if count:
            job = _counted(self._job, count)
            return backend.to_amplitudes(backend.analysis(pool[..., : job.frames.span], job), job)
        xp = namespace(pool)
        kind = getattr(xp, complex_dtype(dtype_name(pool)))
        return xp.zeros((*pool.shape[:-1], self.transform.n_bins, 0), dtype=kind, device=device(pool))


@lru_cache(maxsize=128)
def _counted(job: Analysis, count: int) -> Analysis:
    n_fft, hop = job.frames.n_fft, job.frames.hop
    laid = Frames(n_fft, hop if count > 1 else min(hop, n_fft), count, 0, n_fft + hop * (count - 1))
    return replace(job, frames=laid, pad_mode="constant")


def _padding(samples: Any, lo: int, hi: int, n_samples: int, held: int, mode: str) -> Any:
    """What stands at samples [lo, hi) of a signal of n_samples samples; `samples` are those from `held` on."""
    xp, place = namespace(samples), device(samples)
    if mode == "constant":
        return xp.zeros((*samples.shape[:-1], hi - lo), dtype=samples.dtype, device=place)
    return xp.take(samples, xp.asarray(padding_index(lo, hi, n_samples, mode) - held, device=place), axis=-1)
