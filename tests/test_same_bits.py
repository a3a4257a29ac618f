"""What must change no bit: batches, axes, memory, blocks, threads, streams, copies, processes; through every door."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import multiprocessing
import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import hostile
import hostile_functions
import numpy as np
import pytest
from hostile import BASE, LAYOUTS
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from problems import Problem, analysis, inverse, law, problems

import xp_istft as xi
from xp_istft import blocks
from xp_istft.compat import librosa, scipy
from xp_istft.frames import PAD_MODES
from xp_istft.tuning import tuned

same = np.testing.assert_array_equal


# ------------------------------------------------------------------ the pair, on any problem


@law
def test_items_of_a_batch_and_axes_are_independent(xp, problem):
    X, x, rng = problem.spectrum(), problem.signal(), problem.rng(5)
    y, Z = inverse(xp, X, problem), analysis(xp, x, problem)
    item = tuple(int(rng.integers(size)) for size in problem.batch)
    same(inverse(xp, X[item], problem), y[item])
    same(analysis(xp, x[item], problem), Z[item])
    order = rng.permutation(X.ndim).tolist()
    axes = order.index(X.ndim - 2), order.index(X.ndim - 1)
    rest = [axis for axis in order if axis < X.ndim - 2]
    same(inverse(xp, X.transpose(order), problem, axes=axes), y.transpose(*rest, y.ndim - 1))
    place = int(rng.integers(x.ndim))
    same(analysis(xp, np.moveaxis(x, -1, place), problem, axis=place), Z)
    same(analysis(xp, x, problem, axes=axes), np.moveaxis(Z, (-2, -1), axes))


@law(libraries=("numpy",))
def test_memory_layout_is_independent(xp, problem):
    X, two, x = problem.spectrum(), problem.spectrum(0, onesided=False), np.atleast_2d(problem.signal())
    y, Z = inverse(xp, X, problem), analysis(xp, x, problem)
    z = inverse(xp, two, problem, onesided=False)
    assert Z.strides[-2] == Z.itemsize  # frames one after the other, as librosa and torch lay them
    for name, laid_out in LAYOUTS.items():
        same(inverse(xp, laid_out(X), problem), y)
        same(inverse(xp, laid_out(two), problem, onesided=False), z)
        same(analysis(xp, laid_out(x), problem), Z)
        if name not in ("read-only", "of another byte order", "unaligned"):
            for function, data, due in ((xi.istft, X, np.atleast_2d(y)), (xi.stft, x, Z)):
                out = laid_out(np.full_like(due, np.nan))
                given = {"nola": "zero", "length": problem.n_samples} if function is xi.istft else {}
                data = data.reshape(due.shape[:-1] + data.shape[-2:]) if function is xi.istft else data
                assert function(data, **problem.layout, **given, out=out) is out
                same(out, due)


@law(libraries=("numpy",), examples=40)
def test_blocks_are_independent(xp, problem):
    X, x, rng = problem.spectrum(), problem.signal(), problem.rng(5)
    reach = problem.n_fft + problem.hop_length * (problem.n_frames - 1) - problem.placement[0]
    for _ in range(4):
        block_frames = (1, 2, 7, 23, None)[rng.integers(5)]
        length = int(rng.integers(1, max(2, 2 * reach + problem.n_fft)))
        job = problem.transform.synthesis("istft", X.shape[-1], length, X).job
        parts = list(blocks.istft_blocks(lambda a, b: X[..., a:b], job, block_frames=block_frames))
        same(np.concatenate(parts, axis=-1), inverse(xp, X, problem, length=length))
        pad_mode = PAD_MODES[rng.integers(len(PAD_MODES))]
        job = replace(problem.transform, pad_mode=pad_mode).analysis("stft", problem.n_samples, x)
        parts = list(blocks.stft_blocks(lambda a, b: x[..., a:b], job, block_frames=block_frames))
        same(np.concatenate(parts, axis=-1), analysis(xp, x, problem, pad_mode=pad_mode))
        assert all(part.shape[-1] <= (block_frames or problem.n_frames) for part in parts)


LONG = (
    Problem(256, 64, 256, n_samples=3000, batch=(7,)),
    Problem(60, 7, 60, n_samples=3000, batch=(2,), single=True),
    Problem(64, 1, 64, n_samples=2000, batch=()),
    Problem(16, 4, 16, n_samples=3600, batch=(9,), single=True),
    Problem(17, 5, 17, n_samples=3500, batch=(2,), single=True),
    Problem(20, 20, 20, "boxcar", n_samples=8000, batch=(), single=True),
)


def check_threads_and_blocks(xp, problem, sizes):
    X, x = problem.spectrum(), problem.signal()
    y, Z = inverse(xp, X, problem, workers=1), analysis(xp, x, problem, pad_mode="reflect", workers=1)
    for n_bytes, workers in sizes:
        with tuned(threaded_seconds=0, least_rows=1, block_bytes=n_bytes):
            same(inverse(xp, X, problem, workers=workers), y)
            same(inverse(xp, X, problem, workers=workers, out=np.repeat(y, 2, -1)[..., ::2]), y)
            same(analysis(xp, x, problem, pad_mode="reflect", workers=workers), Z)


@law(libraries=("numpy",))
def test_threads_and_cache_blocks_are_independent(xp, problem):
    rng = problem.rng(5)
    check_threads_and_blocks(xp, problem, [(1 << int(rng.integers(12, 19)), int(rng.integers(1, 10)))])


@pytest.mark.parametrize("xp", ["numpy"], indirect=True)
@pytest.mark.parametrize("problem", LONG, ids=str)
def test_threads_and_many_cache_blocks_are_independent(xp, problem):
    check_threads_and_blocks(xp, problem, itertools.product((1, 3000, 50_000, 3 << 17), (1, 2, 3, 8)))


# ------------------------------------------------------------------ every door, called otherwise

STREAM = xi.STFT(**BASE)
TORCH = importlib.util.find_spec("torch") is not None


def of_blocks(X):  # native numbers: what is read is the caller's affair
    X = X.astype(complex, copy=False)
    return hostile_functions.istft_by_blocks(X, hop_length=64)


def there_and_back(X):
    return STREAM.stft(STREAM.istft(X))


def retrieved(X):  # squares: the last bit of NumPy's abs depends on strides
    return xi.griffin_lim(X.real**2, STREAM, n_iter=2, init="zero")


def integrated(X):
    return xi.pghi(X.real**2, STREAM)


def stretched(X):
    return xi.phase_vocoder(X, 1.25, STREAM)


def in_one_push(X):
    stream = xi.StreamingISTFT(STREAM)
    return np.concatenate([stream.push(X), stream.flush()], axis=-1)


def of_torch(X):
    import torch

    return xi.istft(torch.from_numpy(np.array(X, complex)), hop_length=64).numpy()


class Module:
    def __init__(self):
        from xp_istft import nn

        self.module = nn.ISTFT(xi.STFT(**BASE))

    def __call__(self, X):
        import torch

        return self.module(torch.from_numpy(np.array(X, complex))).numpy()


DOORS = {  # name: what makes the function of a spectrum
    "istft": lambda: partial(xi.istft, hop_length=64),
    "STFT": lambda: xi.STFT(**BASE).istft,
    "iSTFT": lambda: xi.iSTFT(**BASE),
    "blocks": lambda: of_blocks,
    "stft of istft": lambda: there_and_back,
    "StreamingISTFT": lambda: in_one_push,
    "project": lambda: partial(xi.project, transform=STREAM),
    "griffin_lim": lambda: retrieved,
    "pghi": lambda: integrated,
    "phase_vocoder": lambda: stretched,
    "compat.librosa": lambda: partial(librosa.istft, hop_length=64),
    "compat.scipy": lambda: lambda X: scipy.istft(X, nperseg=256, noverlap=192)[1],
    **({"torch": lambda: of_torch, "nn.ISTFT": Module} if TORCH else {}),
}
SIGNALS = [hostile.signal(2, n_samples=n_samples, seed=n_samples) for n_samples in (1024, 2048, 4096, 1536)]


@pytest.mark.parametrize("door", DOORS)
def test_no_door_hears_how_it_is_called(door, two_threads):
    """Again, for items alone, for other memory, and for the frames to come (where a phase is not sought in all)."""
    function, X = DOORS[door](), hostile.spectrum(hostile.signal(3))
    y = function(X)
    for _ in range(20 if door == "istft" else 2):
        same(function(X), y)
    for item in range(3):
        same(function(X[item]), y[item])
    for laid_out in LAYOUTS.values():
        same(function(laid_out(X)), y)
    if door not in ("griffin_lim", "pghi", "phase_vocoder"):
        few = function(X[..., :20])
        whole = (..., slice(20 - 4)) if few.shape[-1] == 20 else (..., slice(20 * 64 - 256))
        same(few[whole], y[whole])


@pytest.mark.parametrize("door", [door for door in ("STFT", "iSTFT", "project", "nn.ISTFT") if door in DOORS])
def test_pickled_and_copied_objects_make_the_same_bits(door):
    function, X = DOORS[door](), hostile.spectrum()
    y = function(X)
    for other in (copy.deepcopy(function), pickle.loads(pickle.dumps(function))):
        same(other(X), y)


def test_eight_threads_at_once_make_the_bits_of_one(two_threads):
    """Mixed sizes, through objects that all of them share."""
    spectra = [hostile.spectrum(x) for x in SIGNALS]
    functions = {door: make() for door, make in DOORS.items() if door not in ("griffin_lim", "pghi", "phase_vocoder")}
    alone = {name: [function(X) for X in spectra] for name, function in functions.items()}

    def work(seed):
        chance = random.Random(seed)
        for _ in range(60):
            name, k = chance.choice(sorted(functions)), chance.randrange(4)
            same(functions[name](spectra[k]), alone[name][k])

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work, seed) for seed in range(8)]:
                done.result()
    finally:
        sys.setswitchinterval(before)


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_every_kind_make_the_same_bits(method, two_threads):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    X = hostile.spectrum()
    inverse_in_a_process = partial(xi.istft, hop_length=64, workers=2)
    y = inverse_in_a_process(X)
    with multiprocessing.get_context(method).Pool(2) as pool:
        for other in pool.map(inverse_in_a_process, [X, X, X]):
            same(other, y)


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
        wrong = [(self.forward, None), (self.inverse, self.x), (self.inverse, 3)]
        if self.at:
            wrong.append((self.forward, self.x[:1]))
        for stream, data in wrong:
            with pytest.raises((TypeError, ValueError)):
                stream.push(data)

    @rule()
    def save_and_set_back(self):
        self.forward, self.inverse = pickle.loads(pickle.dumps((self.forward, self.inverse)))

    @rule(count=st.integers(1, 30))
    def look_ahead_and_return(self, count):
        """What a copy is pushed does nothing to the stream itself."""
        copy.deepcopy(self.forward).push(self.x[:, :count])

    def teardown(self):
        if not getattr(self, "at", 0):
            return
        n_frames = self.t.n_frames(self.at)
        if n_frames < 1:
            return
        last = self.forward.flush()
        X = np.concatenate([*self.frames, last], axis=-1)
        same(X, self.t.stft(self.x[:, : self.at]))
        if self.t.n_samples(n_frames) < 1:
            return
        same(np.concatenate([*self.samples, self.inverse.push(last), self.inverse.flush()], axis=-1), self.t.istft(X))


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=40, stateful_step_count=12)
