"""Phase retrieval while magnitudes come in: samples with a latency of a few hops.

Each push of a frame iterates over the last frames alone, which together with the fixed samples of those before them
make a signal (RTISI-LA: Zhu, Beauregard & Wyse, "Real-time signal estimation from modified short-time Fourier
transform magnitude spectra", IEEE TASLP 15(5), 2007), by any algorithm of `algorithms` (Peer, Welker, Kolhoff &
Gerkmann, "A flexible online framework for projection-based STFT phase retrieval", arXiv 2309.07043, 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from .. import arrays
from ..arguments import choice, error, hinted, integer
from ..arrays import check_magnitudes_at_hand
from ..backends import Backend, device, namespace, required_backend
from ..dtypes import PRECISION, REAL, SPECTRUM, dtype_name
from ..frames import ENDLESS, Frames
from ..jobs import Analysis, Synthesis
from ..streaming import ISTFTState, StreamingISTFT, _check_alike, _check_array, _Stream
from ..transform import STFT, read_length
from .algorithms import NAMED, Algorithm, Functional
from .causal import Steps
from .integration import Gradient
from .retrieval import MAX_GAIN, even_transform, to_even

STARTS = ("pghi", "overlap", "zero")
MISSING = ("ignored", "silent")

# What makes the samples, and names the stream that a user made in what it says.
_Inverse = type("StreamingGriffinLim", (StreamingISTFT,), {})

# Weights of the newest frames, newest first, where they overlap with older ones: the others have 1. With equal weights
# the spectral convergence of twelve recordings was 5 dB worse at hops of n_fft / 4, 8 dB at / 8, 1 dB at / 2.
_TRUST = (0.003, 0.08, 0.7)

# A sample whose weights are less than this times the largest is silent: nothing that can be heard determines it.
_LEAST = 1e-14


class GriffinLimState(NamedTuple):
    """What a stream of magnitudes remembers: all arrays are None before the first frame.

    magnitudes : (..., n_bins, n_last), of the last frames
    spectra    : (..., n_bins, n_last), those of the fixed ones, then proposals for the open ones
    memory     : (..., n_bins, n_open), of the algorithm
    sums       : of the `ISTFTState` of the fixed frames
    n_frames   : frames pushed
    """

    magnitudes: Any
    spectra: Any
    memory: Any
    sums: Any
    n_frames: int

    def map(self, function: Callable[[Any], Any]) -> GriffinLimState:
        """The state with what `function` makes of its arrays."""
        magnitudes, spectra, memory, sums = (None if each is None else function(each) for each in self[:4])
        return GriffinLimState(magnitudes, spectra, memory, sums, self.n_frames)


class StreamingGriffinLim(_Stream):
    """A signal for magnitudes that come one after the other, any number of frames at a time.

    A frame is open from its push until `lookahead` more came; then its spectrum is fixed, and what comes out is, to the
    bit on NumPy, what a `StreamingISTFT` makes of all fixed spectra. Each push of a frame makes `n_iter` iterations
    on the open ones, so each frame sees (lookahead + 1) n_iter. An iteration is one of the algorithm, with P_C the
    transform of the signal that fixed and open frames make together. What comes out does not depend on how many frames
    each push has.

    The weights of the newest frames in the overlap-add are small (0.003, 0.08, 0.7), so that what is known worst
    spoils little of what is known better. On six recordings at 16 kHz (512 / 128) the mean spectral convergence was
    -31.2 dB, that of RTISI-LA (without its other window on the newest frame) -20.5 dB, and that of `griffin_lim`, which
    knows all frames, after 32 iterations -30.9 dB (benchmarks/online.py).

    Parameters
    ----------
    transform : STFT, optional
        That which the magnitudes are of, one-sided, with the bins of the DFT. Its `max_gain` None counts as 10, as in
        `griffin_lim`.
    lookahead : int
        Frames after a frame that are awaited before it is fixed.
    n_iter : int
        Iterations of each push of a frame; 0 takes the start.
    algorithm : "admm", "fgla", "gla", "raar", "hybrid" or Algorithm
        As of `griffin_lim`; its stages share the iterations that a frame sees. What it remembers must be None or an
        array like its start.
    init : "pghi", "overlap" or "zero"
        Phases of a new frame: integrated from those of the frame before along the gradient of log S (RTPGHI, Prusa &
        Sondergaard 2016), on the host, and again when the next frame is known (with a lookahead of 1 or more), then
        averaged with what the iterations made of it; those that the frames before it make where they overlap with it
        (RTISI-LA); or 0.
    missing : "ignored" or "silent"
        What stands where frames are still to come: nothing, samples there are a mean over the frames that have come;
        or silence (with the same weight for all frames: RTISI-LA, but for its other window on the newest frame).

    Attributes
    ----------
    transform : STFT
        The transform.
    lookahead, n_iter, algorithm, init, missing
        As given.
    latency : int
        Samples that wait: after a push, the samples up to `latency` before the end of the last frame came out. This is
        lookahead * hop_length + max(n_fft - hop_length - z, r), with z zeros at the beginning of the synthesis window
        and r samples of padding after the signal.
    state : GriffinLimState
        What the stream remembers. It can be saved and set again.

    Raises
    ------
    ValueError, TypeError, NOLAError
        An argument has a wrong value, or is of a wrong kind; or as `StreamingISTFT`.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.sin(np.arange(8000) ** 1.5 / 300)
    >>> t = xi.STFT(512, 128)
    >>> S = abs(t.stft(x))
    >>> stream = xi.StreamingGriffinLim(t, lookahead=3)
    >>> samples = [stream.push(S[:, m : m + 1]) for m in range(S.shape[-1])] + [stream.flush(length=8000)]
    >>> stream.latency, [len(each) for each in samples[:8]]
    (767, [0, 0, 0, 0, 1, 128, 128, 128])
    >>> bool(xi.spectral_convergence(S, t.stft(np.concatenate(samples))) < 0.05)
    True
    """

    @hinted
    def __init__(
        self,
        transform: STFT | None = None,
        *,
        lookahead: int = 3,
        n_iter: int = 4,
        algorithm: str | Algorithm = "admm",
        init: str = "pghi",
        missing: str = "ignored",
    ) -> None:
        function = type(self).__name__
        self.lookahead = integer(function, "lookahead", lookahead, 0)
        self.n_iter = integer(function, "n_iter", n_iter, 0)
        if not isinstance(algorithm, Algorithm):
            algorithm = NAMED[choice(function, "algorithm", algorithm, tuple(NAMED))]
        self.algorithm = algorithm
        self.init = choice(function, "init", init, STARTS)
        self.missing = choice(function, "missing", missing, MISSING)
        self._take(STFT() if transform is None else transform)

    def _set_up(self) -> None:
        function, t = type(self).__name__, self.transform
        if not t.onesided:
            raise error(ValueError, function, "transform", "onesided=True", "onesided=False")
        self._even = t = even_transform(t)
        self._inverse = _Inverse(t.judged(t.nola, MAX_GAIN if t.max_gain is None else t.max_gain))
        self.latency = self.lookahead * self._hop + self._inverse.latency
        self._most_fixed = max(1, -(-t.n_fft // self._hop) - 1)  # as many as overlap with an open one
        self._gradient = Gradient.of(self._hop, t.samples())
        n_seen = self.n_iter * (self.lookahead + 1)
        self._stages = [stage for stage, count in map(_Stage.of, self.algorithm.stages(n_seen)) for _ in range(count)]
        self._weights = _weights(self.lookahead, self.missing == "silent")
        self._none = GriffinLimState(None, None, None, None, 0)
        self._state, self._seen, self._closed = self._none, None, False
        self._returned: Callable[[Any], Any] | None = None  # arrays of the caller's library, of those that are kept

    def __getstate__(self) -> Any:
        chosen = self.lookahead, self.n_iter, self.algorithm, self.init, self.missing
        return self.transform, chosen, self.state, self._closed

    def __setstate__(self, kept: Any) -> None:
        transform, chosen, state, closed = kept
        self.lookahead, self.n_iter, self.algorithm, self.init, self.missing = chosen
        self._take(transform)
        self.state = state
        self._closed = closed

    @hinted
    def push(self, S: Any) -> Any:
        """The samples that are final once magnitudes S came.

        Parameters
        ----------
        S : real array (..., n_bins, n_frames)
            Magnitudes of the next frames, any number of them (0, too), finite and not negative, float32 or float64; of
            the same library, dtype and leading axes every time. Values are looked at where nothing waits for it, as in
            `griffin_lim`.

        Returns
        -------
        real array (..., n_samples)
            n_samples is 0 while nothing is final.

        Raises
        ------
        TypeError, ValueError
            S does not fit; the stream is as it was.
        RuntimeError
            The stream is closed.
        """
        self._check_open()
        S, backend = self._fitting(S)
        S, returned = self._lent(S, backend)
        state, fixed = self._state, []
        if not state.n_frames:
            self._inverse.reset()
        backend, xp = required_backend(S), namespace(S)
        for frame in range(S.shape[-1]):
            state, spectrum = self._advanced(state, _in_order(S[..., frame : frame + 1], xp), 0, backend)
            fixed.append(spectrum)
        samples = self._inverted(fixed, S, backend)
        self._state, self._returned = state, returned
        return samples if returned is None else returned(samples)

    @hinted
    def flush(self, length: int | None = None) -> Any:
        """The samples that are left, up to those of `istft`; the stream is then closed.

        The open frames are fixed one after the other, after as many iterations as the others.

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
        function, state, fixed = type(self).__name__, self._state, []
        length = read_length(function, length)
        if not state.n_frames:
            raise error(ValueError, function, "S", "at least 1 frame", 0)
        done = self._samples_of(self._inverse.state.n_frames)
        if length is not None and length < done:
            raise error(ValueError, function, "length", f">= {done}, as many samples came out already", length)
        backend, _ = arrays.read(function, "state", state.magnitudes)
        for since in range(1, self.lookahead + 1):
            state, spectrum = self._advanced(state, None, since, backend)
            fixed.append(spectrum)
        before = self._inverse.state
        try:
            samples = self._inverted(fixed, state.magnitudes, backend)
            if length is not None and length < self._samples_of(state.n_frames):
                samples = samples[..., : length - done]
            else:
                samples = namespace(samples).concat([samples, self._inverse.flush(length)], axis=-1)
        finally:
            self._inverse.state = before
        self._closed = True
        return samples if self._returned is None else self._returned(samples)

    @property
    def state(self) -> Any:
        """What the stream remembers of what was pushed: a tuple of four arrays and an integer.

        It can be saved with numpy.savez or pickle, and set again, in this stream or in another one with equal
        parameters, which then goes on from there. Its arrays are never changed in place.
        """
        if not self._state.n_frames:
            return self._none
        state = self._state._replace(sums=self._inverse.state.sums)
        return state if self._returned is None else state.map(self._returned)

    @state.setter
    def state(self, state: Any) -> None:
        function = type(self).__name__
        if not isinstance(state, (tuple, list)) or len(state) != 5:
            raise error(TypeError, function, "state", "four arrays and a number, as state gives", type(state).__name__)
        *given, count = state
        count = integer(function, "state", count, 0, ("the longest stream", ENDLESS // self._hop))
        if any(each is None for each in given):
            if count or any(each is not None for each in given):
                raise error(ValueError, function, "state", "four arrays", "None")
            self._inverse.reset()
            self._state, self._closed = self._none, False
            return
        n_open = min(count, self.lookahead)
        n_last, n_bins = n_open + min(count - n_open, self._most_fixed), self.transform.n_bins
        due = (n_bins, n_last), (n_bins, n_last), (n_bins, n_open), (self._inverse.latency,)
        real = getattr(given[0], "dtype", None)
        for array, shape in zip(given, due, strict=True):
            _check_array(function, "state", array)
            if tuple(array.shape) != (*given[0].shape[:-2], *shape):
                need = f"shape (..., {', '.join(map(str, shape))}) after {count} frames, with equal parameters"
                raise error(ValueError, function, "state", need, f"shape {tuple(array.shape)}")
        kind = dtype_name(given[0])
        for array, dtype in zip(given, (kind, SPECTRUM.get(kind), SPECTRUM.get(kind), kind), strict=True):
            if dtype_name(array) != dtype:
                raise error(TypeError, function, "state", f"arrays of one precision ({real})", array.dtype)
        lent = [required_backend(each).in_numpy(each) for each in given]
        self._returned = None
        if all(returned is not None for _, returned in lent):
            given, self._returned = [each for each, _ in lent], lent[0][1]
        self._inverse.state = ISTFTState(given[3], count - n_open)
        magnitudes, spectra, memory = (_in_order(each, namespace(each)) for each in given[:3])
        self._state = GriffinLimState(magnitudes, spectra, memory, None, count)
        self._closed = False

    def reset(self) -> None:
        """Forget what was pushed: the next push begins a new signal."""
        self.state = self._none

    def _fitting(self, S: Any) -> tuple[Any, Backend]:
        """S as its backend takes it, and that; checked, also against the frames before."""
        function = type(self).__name__
        backend, S = arrays.read(function, "S", S)
        if dtype_name(S) not in REAL:
            hint = "pass abs(X)" if dtype_name(S).startswith("complex") else ""
            raise error(TypeError, function, "S", "dtype float32 or float64", S.dtype, hint)
        if len(S.shape) < 2 or S.shape[-2] != self.transform.n_bins:
            raise self.transform.misfit(function, "S", S)
        if self._state.magnitudes is not None:
            kept = self._state.magnitudes
            _check_alike(function, "S", S, kept if self._returned is None else self._returned(kept))
        if backend.lazy:
            raise error(TypeError, function, "S", "an array that is computed already", type(S).__name__)
        check_magnitudes_at_hand(function, "S", S)
        return to_even(self.transform, S), backend

    def _lent(self, S: Any, backend: Backend) -> tuple[Any, Callable[[Any], Any] | None]:
        """S in NumPy where its values are at hand, as is what is kept then, and what makes arrays like S."""
        kept = self._state.n_frames > 0
        if kept and self._returned is None:
            return S, None
        lent, returned = backend.in_numpy(S)
        if kept and returned is None and self._returned is not None:  # which is followed now
            state, made = self._state, self._returned
            sums, count = self._inverse.state
            self._state, self._inverse.state = state.map(made), ISTFTState(made(sums), count)
            self._returned = None
        return lent, returned

    def _samples_of(self, n_fixed: int) -> int:
        """Samples that came out once so many frames were fixed."""
        return max(0, n_fixed * self._hop + self._inverse.first_sample) if n_fixed else 0

    def _inverted(self, fixed: list[Any], like: Any, backend: Backend) -> Any:
        """The samples that these spectra of one frame or none make final, each for itself: the bits of any pushes."""
        xp = namespace(like)
        kind = getattr(xp, SPECTRUM[dtype_name(like)])
        nothing = xp.zeros((*like.shape[:-1], 0), dtype=kind, device=device(like))
        due = [spectrum for spectrum in fixed if spectrum.shape[-1]] or [nothing]
        return _joined(xp, [self._inverse.push(spectrum) for spectrum in due])

    def _advanced(self, state: Any, frame: Any, since: int, backend: Backend) -> tuple[Any, Any]:
        """The state after one more frame, or `since` hops after the last one, and the spectrum that it fixes."""
        magnitudes, spectra, memory, _, count = state
        if frame is not None:
            magnitudes, spectra, memory = self._with(frame, state, backend)
            count += 1
        xp = namespace(magnitudes)
        do = Functional(xp)
        n_open = memory.shape[-1]
        first_open = magnitudes.shape[-1] - n_open
        ages = range(since + n_open - 1, since - 1, -1)
        first = count - n_open  # the number of the first open frame
        proposal, magnitude = spectra[..., first_open:], magnitudes[..., first_open:]
        project = self._projection(spectra[..., :first_open], magnitude, first, ages, backend)
        for iteration in range(self.n_iter):
            seen = [age * self.n_iter + iteration for age in ages]
            proposal, memory = self._next_stages(proposal, memory, seen, do)
            z, parts = project(proposal), []
            for stage, columns in self._runs(seen):
                before = proposal[..., columns], memory[..., columns]
                parts.append(stage.step(z[..., columns], magnitude[..., columns], *before, do))
            proposal, memory = (_joined(xp, each) for each in zip(*parts, strict=True))
        fixed = proposal[..., :0]
        if n_open and ages[0] == self.lookahead:
            fixed = proposal[..., :1]
            if self.n_iter:
                fixed = self._stages[-1].estimate(fixed, memory[..., :1], do)
            proposal, memory = proposal[..., 1:], memory[..., 1:]
        spectra = xp.concat([spectra[..., :first_open], fixed, proposal], axis=-1)
        old = max(0, spectra.shape[-1] - memory.shape[-1] - self._most_fixed)
        kept = magnitudes[..., old:], spectra[..., old:], memory
        magnitudes, spectra, memory = (_in_order(each, xp) for each in kept)
        return GriffinLimState(magnitudes, spectra, memory, None, count), fixed

    def _with(self, frame: Any, state: Any, backend: Backend) -> tuple[Any, Any, Any]:
        """Magnitudes, spectra and memory with one more frame."""
        magnitudes, spectra, memory, _, _ = state
        xp = namespace(frame)
        do = Functional(xp)
        if magnitudes is None:
            nothing = frame[..., :0]
            empty = backend.as_complex(nothing, nothing)
            magnitudes, spectra, memory = nothing, empty, empty
        magnitudes = xp.concat([magnitudes, frame], axis=-1)
        if self.init == "pghi":
            again, start = self._integrated(magnitudes, spectra, memory.shape[-1], backend)
            if again is not None:
                spectra = xp.concat([spectra[..., :-1], again], axis=-1)
                memory = xp.concat([memory[..., :-1], self._first_memory(again, self.n_iter, do)], axis=-1)
        elif self.init == "overlap":
            start = self._overlapped(frame, spectra, backend)
        else:
            start = backend.as_complex(frame, xp.zeros_like(frame))
        spectra = xp.concat([spectra, start], axis=-1)
        return magnitudes, spectra, xp.concat([memory, self._first_memory(start, 0, do)], axis=-1)

    def _integrated(self, magnitudes: Any, spectra: Any, n_open: int, backend: Backend) -> tuple[Any, Any]:
        """The spectrum that the frame before the newest one takes on now (None: as it is), and the newest one's."""
        function, xp = type(self).__name__, namespace(magnitudes)
        try:
            sizes, known = backend.to_host(magnitudes), backend.to_host(spectra)
        except (TypeError, RuntimeError) as cause:
            need = "values, not a trace, for init='pghi'"
            raise error(ValueError, function, "S", need, type(magnitudes).__name__) from cause
        # Before the first frame there was one like it, with phases of 0.
        sizes = _last(sizes, 3, sizes[..., :1])
        known = _last(known, 2, np.ones_like(sizes[..., :1]))
        steps = Steps.of(sizes.swapaxes(-1, -2), self._gradient)

        def put(spectrum: np.ndarray) -> Any:
            return xp.asarray(spectrum[..., None], device=device(magnitudes))

        again, before = None, known[..., 1]
        if n_open:
            again = put(steps.best(1).spectrum(sizes[..., 1], known[..., 0]))
            if self.n_iter:
                again = backend.onto(magnitudes[..., -2:-1], spectra[..., -1:] + again)
            before = backend.to_host(again)[..., 0]
        # With more frames to come this is but the first of two starts, for which the straight paths are as good.
        path = steps.straight(2) if self.lookahead else steps.best(2)
        return again, put(path.spectrum(sizes[..., 2], before))

    def _overlapped(self, frame: Any, spectra: Any, backend: Backend) -> Any:
        """The frame's magnitudes, with the phases of the sum of the frames before it, 0 where there is none."""
        xp = namespace(frame)
        plain = backend.as_complex(frame, xp.zeros_like(frame))
        n_before = min(spectra.shape[-1], -(-self.transform.n_fft // self._hop) - 1)
        if not n_before:
            return plain
        before = spectra[..., spectra.shape[-1] - n_before :]
        # The new frame adds nothing to a sum which no iteration has begun.
        sums = self._sums(xp.concat([before, xp.zeros_like(plain)], axis=-1), backend)
        sums = sums[..., n_before * self._hop :]
        found = backend.analysis(sums, _jobs(self._even, dtype_name(frame), 1)[1])
        return xp.where(xp.abs(found) == 0, plain, backend.onto(frame, found))

    def _projection(self, fixed: Any, magnitude: Any, first: int, ages: range, backend: Backend) -> Any:
        """P_C of the open frames, of which `first` is the number of the first."""
        t, xp = self._even, namespace(fixed)
        n_fixed = min(fixed.shape[-1], -(-t.n_fft // self._hop) - 1)
        weights = tuple(self._weights[age] if age < len(self._weights) else 1.0 for age in ages)
        silent = max(0, t.placement.left - first * self._hop) if t.pad_mode == "constant" else 0
        gain = _gain(t, weights, n_fixed, silent, self.missing == "silent")
        inverse, forward = _jobs(t, dtype_name(magnitude), len(ages))
        before = None
        if n_fixed:
            before = self._sums(fixed[..., fixed.shape[-1] - n_fixed :], backend)[..., n_fixed * self._hop :]
            shape = *before.shape[:-1], gain.size - before.shape[-1]
            before = xp.concat([before, xp.zeros(shape, dtype=before.dtype, device=device(before))], axis=-1)
        gain = backend.along(gain, magnitude[..., 0])
        trust = None if set(weights) == {1.0} else backend.along(np.asarray(weights), magnitude)

        def project(proposal: Any) -> Any:
            sums = backend.synthesis(proposal if trust is None else backend.product(proposal, trust), inverse)
            return backend.analysis((sums if before is None else sums + before) * gain, forward)

        return project

    def _sums(self, spectra: Any, backend: Backend) -> Any:
        """Their overlap-add, from the first sample of the first frame to the last of the last."""
        return backend.synthesis(spectra, _jobs(self._even, PRECISION[dtype_name(spectra)], spectra.shape[-1])[0])

    def _runs(self, seen: list[int]) -> list[tuple[_Stage, slice]]:
        """The stages of frames that have seen so many iterations, each with neighbouring frames."""
        runs, lo = [], 0
        for stage, run in groupby(self._stages[count] for count in seen):
            hi = lo + len(list(run))
            runs.append((stage, slice(lo, hi)))
            lo = hi
        return runs

    def _next_stages(self, proposal: Any, memory: Any, seen: list[int], do: Functional) -> tuple[Any, Any]:
        """What frames begin another stage with, those for which this is its first iteration."""
        for i, count in enumerate(seen):
            if not count or self._stages[count] is self._stages[count - 1]:
                continue
            if self.init == "pghi" and count == self.n_iter:  # which begins with this frame's second start
                continue
            columns = slice(i, i + 1)
            start = self._stages[count - 1].estimate(proposal[..., columns], memory[..., columns], do)
            proposal = _replaced(do.xp, proposal, i, start)
            memory = _replaced(do.xp, memory, i, self._first_memory(start, count, do))
        return proposal, memory

    def _first_memory(self, start: Any, seen: int, do: Functional) -> Any:
        """What is remembered of a frame that has seen so many iterations and goes on with this spectrum."""
        return self._stages[seen].memory(start, do) if self.n_iter else do.zeros(start)


@dataclass(frozen=True, eq=False)
class _Stage:
    """An algorithm, in whose place zeros are remembered where it remembers nothing."""

    algorithm: Algorithm
    remembers: bool

    @classmethod
    def of(cls, stage: tuple[Algorithm, int]) -> tuple[_Stage, int]:
        algorithm, count = stage
        nothing = np.zeros((1, 1), complex)
        return cls(algorithm, algorithm.memory(nothing, Functional(namespace(nothing))) is not None), count

    def memory(self, start: Any, do: Functional) -> Any:
        return self.algorithm.memory(start, do) if self.remembers else do.zeros(start)

    def step(self, z: Any, magnitude: Any, proposal: Any, memory: Any, do: Functional) -> tuple[Any, Any]:
        if self.remembers:
            return self.algorithm.step(z, magnitude, proposal, memory, do)
        return self.algorithm.step(z, magnitude, proposal, None, do)[0], memory

    def estimate(self, proposal: Any, memory: Any, do: Functional) -> Any:
        return self.algorithm.estimate(proposal, memory if self.remembers else None, do)


def _weights(lookahead: int, alike: bool) -> tuple[float, ...]:
    """The weights of open frames by their age in hops, newest first; beyond these 1. The oldest open one has 1."""
    if alike:
        return ()
    weights = _TRUST[:lookahead]
    full = 1.0 if lookahead >= len(_TRUST) else _TRUST[lookahead]
    return tuple(weight / full for weight in weights)


@lru_cache(maxsize=128)
def _jobs(transform: STFT, precision: str, n_frames: int) -> tuple[Synthesis, Analysis]:
    """The overlap-add of so many frames, without a gain, and the analysis of its sums."""
    n_fft, hop = transform.placement.n_fft, transform.placement.hop
    laid = Frames(n_fft, hop if n_frames > 1 else min(hop, n_fft), n_frames, 0, n_fft + hop * (n_frames - 1))
    synthesis, analysis = _windows(transform, precision)
    return Synthesis(laid, synthesis, None), Analysis(laid, analysis)


def _windows(transform: STFT, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """The windows of both maps, with their scales."""
    function, place = "StreamingGriffinLim", transform.placement
    n_samples = 2 * place.n_fft + place.hop
    n_frames = transform.n_frames(n_samples)
    synthesis = transform.synthesis(function, n_frames, None, precision, nola="zero").job.window
    return synthesis, transform.analysis(function, n_samples, precision).window


@lru_cache(maxsize=128)
def _gain(transform: STFT, weights: tuple[float, ...], n_fixed: int, silent: int, awaited: bool) -> np.ndarray:
    """What the sums of open frames of these weights are multiplied by: 1 over the sum of products of both windows.

    n_fixed : fixed frames before them, of weight 1
    silent  : samples at the beginning that lie before the signal, where the transform has zeros
    awaited : frames still to come count, too
    """
    n_fft, hop = transform.placement.n_fft, transform.placement.hop
    product = np.multiply(*_windows(transform, "float64"))
    size = n_fft + hop * (len(weights) - 1)
    later = -(-n_fft // hop) - 1 if awaited else 0
    total = np.zeros(size)
    for place, weight in enumerate((1.0,) * n_fixed + weights + (1.0,) * later, -n_fixed):
        lo, hi = max(0, place * hop), min(size, place * hop + n_fft)
        if lo < hi:
            total[lo:hi] += weight * product[lo - place * hop : hi - place * hop]
    determined = np.abs(total) > _LEAST * np.abs(total).max()
    determined[:silent] = False
    return np.divide(1, total, out=np.zeros(size), where=determined)


def _in_order(array: Any, xp: Any) -> Any:
    """The array, frame after frame in memory: the last bit of a result may depend on that."""
    frames = xp.matrix_transpose(array)
    return xp.matrix_transpose(xp.reshape(xp.reshape(frames, (-1,)), tuple(frames.shape)))


def _last(frames: np.ndarray, count: int, first: np.ndarray) -> np.ndarray:
    """The last frames, after as many times `first` as there are too few."""
    missing = count - frames.shape[-1]
    return frames[..., -count:] if missing <= 0 else np.concatenate([*[first] * missing, frames], axis=-1)


def _joined(xp: Any, parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else xp.concat(list(parts), axis=-1)


def _replaced(xp: Any, array: Any, i: int, column: Any) -> Any:
    return xp.concat([array[..., :i], column, array[..., i + 1 :]], axis=-1)
