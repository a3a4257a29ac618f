"""Laws of the pair on problems of any shape, found by hypothesis; "ci" tries a few of each, "deep" goes on for an hour.

pytest tests/test_properties.py --hypothesis-profile deep
"""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import warnings
from dataclasses import dataclass, replace
from typing import Any

import definition
import numpy as np
import pytest
from hostile import LAYOUTS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import xp_istft as xi
from xp_istft import blocks
from xp_istft.tuning import tuned

WINDOWS = ("hann", "hamming", "blackman", "boxcar", ("kaiser", 8.0), "ramp", "random")
PADDINGS = (None, "same", "full", 0, 3, (5, 0), (0, 40))


@dataclass(frozen=True)
class Problem:
    """Sizes, a window and where frames lie; `seed` makes the numbers, so that hypothesis shrinks the sizes alone."""

    n_fft: int
    hop_length: int
    win_length: int
    kind: Any
    center: bool
    padding: Any
    n_samples: int
    batch: tuple[int, ...]
    single: bool
    seed: int

    @property
    def window(self) -> Any:
        if self.kind == "ramp":
            return np.linspace(0.1, 1, self.win_length)
        if self.kind == "random":
            return self.rng(1).uniform(0.1, 1, self.win_length)
        return self.kind

    @property
    def layout(self) -> dict[str, Any]:
        names = ("n_fft", "hop_length", "win_length", "window", "center", "padding")
        return {name: getattr(self, name) for name in names}

    def rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    def signal(self, stream: int = 0, n_samples: int | None = None) -> np.ndarray:
        x = self.rng(stream).standard_normal((*self.batch, n_samples or self.n_samples))
        return x.astype(np.float32) if self.single else x

    def spectrum(self, stream: int = 0, onesided: bool = True) -> np.ndarray:
        """Noise: no signal has this spectrum."""
        n_bins = self.n_fft // 2 + 1 if onesided else self.n_fft
        X = self.rng(stream).standard_normal((*self.batch, n_bins, self.n_frames, 2)).view(complex)[..., 0]
        return X.astype(np.complex64) if self.single else X

    @property
    def transform(self) -> xi.STFT:
        return xi.STFT(**self.layout, nola="zero")

    @property
    def n_frames(self) -> int:
        return self.transform.n_frames(self.n_samples)

    @property
    def left(self) -> int:
        """Samples of padding before the signal."""
        sizes = self.n_fft, self.hop_length, self.win_length
        return definition.placement(*sizes, self.center, self.padding)[0]

    @property
    def eps(self) -> float:
        return float(np.finfo(np.float32 if self.single else np.float64).eps)


@st.composite
def problems(draw: st.DrawFn, windows: tuple[Any, ...] = WINDOWS, paddings: Any = PADDINGS) -> Problem:
    n_fft = draw(st.integers(2, 72))
    win_length = draw(st.one_of(st.just(n_fft), st.integers(1, n_fft)))
    kind = draw(st.sampled_from(windows)) if win_length > 8 else "boxcar"
    zero_ended = kind in ("hann", "blackman")
    hop = draw(st.integers(1, max(1, win_length // 2 if zero_ended else win_length)))
    found = Problem(
        n_fft=n_fft,
        hop_length=hop,
        win_length=win_length,
        kind=kind,
        center=draw(st.booleans()),
        padding=draw(st.sampled_from(paddings)),
        n_samples=draw(st.integers(1, 300)),
        batch=draw(st.sampled_from([(), (1,), (3,), (2, 2)])),
        single=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
    assume(found.n_frames >= 1)
    return found


def inverse(X: Any, problem: Problem, **parameters: Any) -> Any:
    return xi.istft(X, **{**problem.layout, "nola": "zero", "length": problem.n_samples, **parameters})


def well_known(problem: Problem, n_frames: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Samples that the frames determine without much noise, and the noise gain of all."""
    dtype = "float32" if problem.single else "float64"
    found = problem.transform.coverage(n_frames or problem.n_frames, length=problem.n_samples, dtype=dtype)
    return found.determined & (found.noise_gain < 100), found.noise_gain


def close(got: np.ndarray, want: np.ndarray, problem: Problem, ulps: float = 3e3) -> None:
    """To some hundreds of roundings of the largest value: the gain may be 100, and sums are of up to 72 frames."""
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= ulps * problem.eps * max(1, np.abs(want).max(initial=0))


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Real inner product, in double precision."""
    return float((a.astype(complex) * b.astype(complex).conj()).sum().real)


# ------------------------------------------------------------------ the pair


@given(problems())
def test_round_trip(problem):
    x = problem.signal()
    y = inverse(xi.stft(x, **problem.layout), problem)
    known, _ = well_known(problem)
    assert y.dtype == x.dtype
    close(y[..., known], x[..., known], problem)


@given(problems())
def test_both_maps_are_the_definition(problem):
    size = definition.window_samples(problem.window, problem.win_length, problem.n_fft)
    x, before = problem.signal(), problem.left
    want = definition.stft(x, problem.n_fft, problem.hop_length, size, before, problem.n_frames)
    close(xi.stft(x, **problem.layout), want, problem, 300)
    X = problem.spectrum()
    want, _ = definition.istft(X, problem.n_fft, problem.hop_length, size, size, before, problem.n_samples)
    known, _ = well_known(problem)
    close(inverse(X, problem)[..., known], want[..., known], problem)


@given(problems(), st.floats(-3, 3), st.floats(-3, 3))
def test_linear(problem, a, b):
    X, Y = problem.spectrum(0), problem.spectrum(1)
    known, _ = well_known(problem)
    together = inverse((a * X + b * Y).astype(X.dtype), problem)
    close(together[..., known], (a * inverse(X, problem) + b * inverse(Y, problem))[..., known], problem, 3e4)
    x, y = problem.signal(0), problem.signal(1)
    together = xi.stft((a * x + b * y).astype(x.dtype), **problem.layout)
    close(together, a * xi.stft(x, **problem.layout) + b * xi.stft(y, **problem.layout), problem, 3e4)


@given(problems(), st.integers(-60, 60))
def test_powers_of_two_change_no_digit(problem, k):
    X, x = problem.spectrum(), problem.signal()
    np.testing.assert_array_equal(
        inverse(np.ldexp(1.0, k).astype(x.dtype) * X, problem), np.ldexp(inverse(X, problem), k)
    )
    scaled = xi.stft(np.ldexp(x, k), **problem.layout)
    np.testing.assert_array_equal(scaled, np.ldexp(1.0, k).astype(x.dtype) * xi.stft(x, **problem.layout))


@given(problems(paddings=(0,)), st.integers(1, 9))
def test_a_shift_by_hops_is_a_shift_of_frames(problem, k):
    x = problem.signal()
    late = np.concatenate([np.zeros((*problem.batch, k * problem.hop_length), x.dtype), x], axis=-1)
    X = xi.stft(x, **problem.layout)
    np.testing.assert_array_equal(xi.stft(late, **problem.layout)[..., k:], X)
    frames = np.concatenate([np.zeros((*X.shape[:-1], k), X.dtype), X], axis=-1)
    y = inverse(X, problem, length=None)
    later = inverse(frames, problem, length=None)[..., k * problem.hop_length :]
    middle = slice(problem.n_fft, None)  # where both have all their frames
    close(later[..., middle], y[..., middle], problem)


@given(problems(windows=("hamming", "boxcar", "random")), st.integers(1, 71))
def test_a_shift_of_bins_is_a_modulation(problem, m):
    """exp(2 pi i m n / n_fft) turns once per n_fft samples: frames see the same phase where m hop fits into n_fft."""
    n_fft = problem.n_fft
    m = m % n_fft * (n_fft // math.gcd(n_fft, problem.hop_length))
    x = problem.signal()
    n = np.arange(problem.n_samples) + problem.left
    turned = (x * np.exp(2j * np.pi * (m * n % n_fft) / n_fft)).astype(np.complex64 if problem.single else complex)
    X = xi.stft(x.astype(turned.dtype), **problem.layout, onesided=False)
    close(xi.stft(turned, **problem.layout, onesided=False), np.roll(X, m, axis=-2), problem)


@given(problems())
def test_conjugate_symmetry(problem):
    x = problem.signal()
    X, half = xi.stft(x, **problem.layout, onesided=False), xi.stft(x, **problem.layout)
    mirrored = np.roll(X[..., ::-1, :], 1, axis=-2).conj()
    close(X, mirrored, problem, 300)
    close(X[..., : half.shape[-2], :], half, problem, 300)
    Z = problem.spectrum(onesided=False)
    y = inverse(Z, problem, onesided=False)
    other = inverse(np.roll(Z[..., ::-1, :], 1, axis=-2).conj(), problem, onesided=False)
    known, _ = well_known(problem)
    close(other[..., known], y[..., known].conj(), problem)


# ------------------------------------------------------------------ adjoints and norms


@given(problems(windows=("hamming", "boxcar", "random", "ramp"), paddings=(0,)))
def test_the_inverse_and_the_analysis_are_adjoint(problem):
    """<istft(X), y> = <X, istft*(y)>; istft*(y) is the analysis of y / overlap, each bin as often as it stands."""
    X, n_fft, hop = problem.spectrum().astype(complex), problem.n_fft, problem.hop_length
    X[..., 0, :] = X[..., 0, :].real
    if n_fft % 2 == 0:
        X[..., -1, :] = X[..., -1, :].real
    span = n_fft + hop * (problem.n_frames - 1)
    y = problem.signal(3, span).astype(float)
    window = definition.window_samples(problem.window, problem.win_length, n_fft)
    overlap = xi.overlap_add(xi.frame(np.ones(span), n_fft, hop) * window[:, None] ** 2, hop)
    weight = np.where(overlap > 1e-12, 1 / np.where(overlap > 1e-12, overlap, 1), 0)
    twice = np.where((np.arange(X.shape[-2]) == 0) | (2 * np.arange(X.shape[-2]) == n_fft), 1, 2)[:, None] / n_fft
    kept = {**problem.layout, "padding": 0}
    left = inner(inverse(X, problem, length=None, padding=0), y)
    adjoint = twice * xi.stft(y * weight, **kept)
    assert left == pytest.approx(inner(X, adjoint), rel=1e-9, abs=1e-9 * np.linalg.norm(X) * np.linalg.norm(adjoint))


@given(problems(), st.booleans())
def test_overlap_add_and_frame_are_adjoint(problem, padded):
    n_fft, hop = problem.n_fft, problem.hop_length
    padding = (n_fft // 3, n_fft // 2) if padded else 0
    x = problem.signal(0, problem.n_samples + n_fft).astype(float)
    S = xi.frame(x, n_fft, hop, padding=padding)
    other = problem.rng(4).standard_normal(S.shape)
    added = xi.overlap_add(other, hop, padding=padding, length=x.shape[-1])
    assert inner(added, x) == pytest.approx(inner(other, S), rel=1e-10, abs=1e-10 * np.linalg.norm(S) ** 2)


@given(problems(windows=("hann", "hamming", "random"), paddings=("full",)))
def test_parseval_for_tight_windows(problem):
    x = problem.signal().astype(float)
    tight = xi.tight_window(problem.window, problem.hop_length, win_length=problem.win_length)
    kept = {**problem.layout, "window": tight}
    X = xi.stft(x, **kept, onesided=False)
    assert (np.abs(X) ** 2).sum() / problem.n_fft == pytest.approx((x**2).sum(), rel=1e-10)


@given(problems(windows=("hamming", "boxcar", "random", "ramp"), paddings=(0, "full")))
def test_what_a_signal_has_is_kept_and_the_rest_is_gone_after_once(problem):
    """stft(istft(.)) is a projection: twice is once. Every sample that a window reaches has weight here."""
    X = problem.spectrum()
    n_samples = problem.transform.n_samples(problem.n_frames)
    assume(n_samples >= 1)

    def project(X):
        return xi.stft(inverse(X, problem, length=n_samples), **problem.layout)

    once = project(X)
    assume(once.shape == X.shape)
    close(project(once), once, problem, 3e4)


# ------------------------------------------------------------------ what must change no bit


@given(problems(), st.data())
def test_batch_items_and_axes_are_independent(problem, data):
    X, x = problem.spectrum(), problem.signal()
    y, Z = inverse(X, problem), xi.stft(x, **problem.layout)
    item = tuple(data.draw(st.integers(0, size - 1)) for size in problem.batch)
    np.testing.assert_array_equal(inverse(X[item], problem), y[item])
    np.testing.assert_array_equal(xi.stft(x[item], **problem.layout), Z[item])
    order = data.draw(st.permutations(range(X.ndim)))
    axes = order.index(X.ndim - 2), order.index(X.ndim - 1)
    moved = inverse(X.transpose(order), problem, axes=axes)
    rest = [axis for axis in order if axis < X.ndim - 2]
    np.testing.assert_array_equal(moved, y.transpose(*rest, y.ndim - 1))
    place = data.draw(st.integers(0, x.ndim - 1))
    np.testing.assert_array_equal(xi.stft(np.moveaxis(x, -1, place), **problem.layout, axis=place), Z)


@given(problems(), st.sampled_from(sorted(LAYOUTS)))
def test_memory_layout_is_independent(problem, layout):
    X, x, laid_out = problem.spectrum(), np.atleast_2d(problem.signal()), LAYOUTS[layout]
    np.testing.assert_array_equal(inverse(laid_out(X), problem), inverse(X, problem))
    np.testing.assert_array_equal(xi.stft(laid_out(x), **problem.layout), xi.stft(x, **problem.layout))


@given(problems(), st.integers(1, 50), st.sampled_from(["constant", "reflect", "edge", "symmetric", "wrap"]))
def test_blocks_are_independent(problem, block_frames, pad_mode):
    X, x = problem.spectrum(), problem.signal()
    t = replace(problem.transform, pad_mode=pad_mode)
    job = t.synthesis("istft", X.shape[-1], problem.n_samples, X).job
    parts = list(blocks.istft_blocks(lambda a, b: X[..., a:b], job, block_frames=block_frames))
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), inverse(X, problem))
    job = t.analysis("stft", problem.n_samples, x)
    parts = list(blocks.stft_blocks(lambda a, b: x[..., a:b], job, block_frames=block_frames))
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), t.stft(x))


@given(problems(), st.integers(1, 9), st.integers(12, 18))
def test_threads_and_cache_blocks_are_independent(problem, workers, log2_bytes):
    X, x = problem.spectrum(), problem.signal()
    y, Z = inverse(X, problem), xi.stft(x, **problem.layout)
    with tuned(threaded_seconds=0, least_rows=1, block_bytes=1 << log2_bytes):
        np.testing.assert_array_equal(inverse(X, problem, workers=workers), y)
        np.testing.assert_array_equal(xi.stft(x, **problem.layout, workers=workers), Z)


@settings(max_examples=15)
@given(problems(), st.data())
def test_chunks_of_dask_are_independent(problem, data):
    array = pytest.importorskip("dask.array")
    X = problem.spectrum()

    def cuts(size):
        inner = data.draw(st.sets(st.integers(1, size - 1), max_size=4)) if size > 1 else set()
        edges = [0, *sorted(inner), size]
        return tuple(b - a for a, b in itertools.pairwise(edges))

    chunked = array.from_array(X, chunks=tuple(cuts(size) for size in X.shape))
    got = inverse(chunked, problem).compute(scheduler="synchronous")
    known, _ = well_known(problem)
    close(got[..., known], inverse(X, problem)[..., known], problem)


# ------------------------------------------------------------------ windows, gains and lengths


@given(problems(), st.sampled_from([-1.0, 1e-7, -1e7, 2.0]))
def test_sign_and_scale_of_the_window_cancel(problem, scale):
    size = definition.window_samples(problem.window, problem.win_length, problem.win_length)
    x = problem.signal()
    kept = {**problem.layout, "window": scale * size}
    y = xi.istft(xi.stft(x, **kept), **kept, nola="zero", length=problem.n_samples)
    known, _ = well_known(problem)
    close(y[..., known], x[..., known], problem)


@given(problems(), st.floats(1, 50))
def test_a_bound_on_the_gain_is_that_factor_where_it_takes_hold(problem, bound):
    X = problem.spectrum()
    y, bounded = inverse(X, problem), inverse(X, problem, max_gain=bound)
    known, noise_gain = well_known(problem)
    factor = np.minimum(1, bound / noise_gain)
    close(bounded[..., known], (y * factor)[..., known].astype(y.dtype), problem, 3e4)
    untouched = noise_gain < 0.999 * bound
    np.testing.assert_array_equal(bounded[..., untouched], y[..., untouched])
    assert (np.abs(bounded) <= np.abs(y) * (1 + 4 * problem.eps)).all()


@given(problems(), st.integers(1, 400))
def test_length_cuts_and_fills_and_does_nothing_else(problem, length):
    X = problem.spectrum()
    reach = problem.n_fft + problem.hop_length * (problem.n_frames - 1)
    longest = 2 * (reach - problem.left) + problem.n_fft
    assume(length <= longest)
    y, other = inverse(X, problem, length=longest), inverse(X, problem, length=length)
    assert other.shape[-1] == length
    # The gain of the interior is a property of the windows, not of what is asked for.
    close(other, y[..., :length], problem)
    assert not y[..., max(0, reach - problem.left) :].any()


@given(problems())
def test_whatever_is_not_determined_is_zero_and_warned_of(problem):
    X = problem.spectrum()
    dtype = "float32" if problem.single else "float64"
    determined = problem.transform.coverage(problem.n_frames, length=problem.n_samples, dtype=dtype).determined
    y = inverse(X, problem)
    assert not y[..., ~determined].any()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            inverse(X, problem, nola="warn")
        except xi.NOLAError:
            assert not determined.all()
            return
    assert len(said) == (not determined.all())


@given(problems())
def test_counts_of_frames_and_samples_agree(problem):
    t, n_frames = problem.transform, problem.n_frames
    n_fft, hop = problem.n_fft, problem.hop_length
    before, after, whole = definition.placement(n_fft, hop, problem.win_length, problem.center, problem.padding)
    assert n_frames == definition.count_frames(problem.n_samples, n_fft, hop, before, after, whole)
    n_samples = t.n_samples(n_frames)
    if whole:
        assert n_samples >= problem.n_samples > n_samples - hop or n_frames == 1
    elif n_samples > 0:
        assert n_samples <= problem.n_samples < n_samples + hop
        assert t.n_frames(n_samples) == n_frames


# ------------------------------------------------------------------ streams


class Streams(RuleBasedStateMachine):
    """A stream each way, pushed, refused, saved, set back and copied in any order: together they are one call."""

    @initialize(problem=problems(), seed=st.integers(0, 2**32 - 1))
    def begin(self, problem, seed):
        self.t = problem.transform
        self.x = np.random.default_rng(seed).standard_normal((2, 400))
        self.forward, self.inverse = xi.StreamingSTFT(self.t), xi.StreamingISTFT(self.t)
        self.at, self.frames, self.samples = 0, [], []

    @rule(count=st.integers(0, 60))
    def push(self, count):
        count = min(count, 400 - self.at)
        frames = self.forward.push(self.x[:, self.at : self.at + count])
        self.at += count
        self.frames.append(frames)
        self.samples.append(self.inverse.push(frames))

    @precondition(lambda self: self.frames)
    @rule()
    def refused(self):
        """A bad push leaves the stream as it was."""
        for stream, wrong in (
            (self.forward, self.x[:1]),
            (self.forward, None),
            (self.inverse, self.x),
            (self.inverse, 3),
        ):
            if stream is self.forward and wrong is not None and self.at == 0:
                continue
            with pytest.raises((TypeError, ValueError)):
                stream.push(wrong)

    @rule()
    def save_and_set_back(self):
        self.forward, self.inverse = pickle.loads(pickle.dumps((self.forward, self.inverse)))

    @rule(count=st.integers(1, 30))
    def look_ahead_and_return(self, count):
        """What a copy is pushed does nothing to the stream itself."""
        copied = copy.deepcopy(self.forward)
        copied.push(self.x[:, :count])

    def teardown(self):
        if not getattr(self, "at", 0):
            return
        x, n_samples = self.x[:, : self.at], self.at
        n_frames = self.t.n_frames(n_samples)
        if n_frames < 1:
            return
        last = self.forward.flush()
        X = np.concatenate([*self.frames, last], axis=-1)
        np.testing.assert_array_equal(X, self.t.stft(x))
        if self.t.n_samples(n_frames) < 1:
            return
        y = np.concatenate([*self.samples, self.inverse.push(last), self.inverse.flush()], axis=-1)
        np.testing.assert_array_equal(y, self.t.istft(X))


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=40, stateful_step_count=12)
