"""Any pushes make what one call makes: the same bits on NumPy, as soon as they are final."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import tracemalloc
import warnings
from dataclasses import replace

import definition
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xp_istft as xi

LOW_LATENCY = xi.low_latency_windows(128, 32, 64)
CHUNKS = {"single": 1, "pairs": 2, "sevens": 7, "whole": 10**6}
TRANSFORMS = [
    xi.STFT(64),
    xi.STFT(64, center=False, window="hamming"),
    xi.STFT(64, center=False),
    xi.STFT(31, 7),
    xi.STFT(50, 9, 37, padding="same"),
    xi.STFT(48, 20, padding="full", window=("kaiser", 8.0), max_gain=10),
    xi.STFT(33, 33, window="boxcar", padding=(5, 60)),
    xi.STFT(16, 3, padding=40, scaling="spectrum"),
    xi.STFT(16, 21, 11, padding="same"),
    xi.STFT(16, 40, center=False, window="hamming"),
    xi.STFT(45, 10, onesided=False, synthesis_window="boxcar"),
    xi.STFT(30, 11, onesided=False, synthesis_window=("tukey", 0.3)),
    xi.STFT(128, 32, padding=(96, 0), window=LOW_LATENCY[0], synthesis_window=LOW_LATENCY[1]),
    xi.STFT(257, 2),  # frames are added in groups
    xi.STFT(8192, 1024, padding="full"),
]
TRANSFORMS = [replace(t, nola="zero") for t in TRANSFORMS]
LEADING = [(), (2,), (2, 1, 3), (0,)]
COMPLEX = {"float64": "complex128", "float32": "complex64"}


def signal(t, leading=(), dtype="float64"):
    """Four frames and more of what a transform takes."""
    rng = np.random.default_rng(0)
    shape = (*leading, 4 * t.n_fft + 13)
    x = rng.standard_normal(shape)
    return x.astype(dtype) if t.onesided else (x + 1j * rng.standard_normal(shape)).astype(COMPLEX[dtype])


def pieces(array, size):
    """The array in pieces along its last axis, with empty ones between them."""
    for lo in range(0, array.shape[-1], size):
        yield array[..., lo : lo + size]
        yield array[..., :0]


def streamed(stream, array, size, **flush):
    parts = [stream.push(piece) for piece in pieces(array, size)]
    return np.concatenate([*parts, stream.flush(**flush)], axis=-1)


@pytest.mark.parametrize("t", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
def test_any_frames_at_a_time_make_the_bits_of_istft(t, chunk):
    for dtype, leading in zip(("float64", "float32", "float64", "float32"), LEADING, strict=True):
        X = t.stft(signal(t, leading, dtype))
        X = X * np.exp(3j * np.arange(X.shape[-1])).astype(X.dtype)  # of no signal
        for length in (None, t.n_samples(X.shape[-1]) + 5):
            whole = t.istft(X, length=length)
            got = streamed(xi.StreamingISTFT(t), X, chunk, length=length)
            assert got.dtype == whole.dtype
            np.testing.assert_array_equal(got, whole)


@pytest.mark.parametrize("t", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "symmetric"])
def test_any_samples_at_a_time_make_the_bits_of_stft(t, pad_mode):
    t = replace(t, pad_mode=pad_mode)
    for chunk, leading in zip((1 if t.n_fft < 1000 else 301, 20, t.n_fft, 10**6), LEADING, strict=True):
        for dtype in ("float64", "float32"):
            x = signal(t, leading, dtype)
            whole = t.stft(x)
            got = streamed(xi.StreamingSTFT(t), x, chunk)
            assert got.dtype == whole.dtype
            np.testing.assert_array_equal(got, whole)


@pytest.mark.parametrize("n_samples", [1, 2, 5, 17, 31, 32, 33, 64])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "symmetric"])
def test_signals_shorter_than_their_padding(n_samples, pad_mode):
    for padding in (None, "same", "full", 70, (3, 90)):
        t = xi.STFT(64, 10, padding=padding, pad_mode=pad_mode)
        x = np.random.default_rng(n_samples).standard_normal(n_samples)
        for chunk in (1, 4, 100):
            np.testing.assert_array_equal(streamed(xi.StreamingSTFT(t), x, chunk), t.stft(x))


@pytest.mark.parametrize("sizes", [(16, 24), (7, 33), (40,)])
def test_samples_that_frames_determine_at_the_ends_alone(sizes, rng):
    """A pair of windows whose products cancel in the steady state, and not in the last frame."""
    t = xi.STFT(16, 8, window="boxcar", synthesis_window=np.repeat([1, -1], 8), center=False, nola="zero")
    X = t.stft(rng.standard_normal(16 + 8 * (sum(sizes) - 1)))
    whole = t.istft(X)
    assert not whole[8:-8].any()
    assert whole[-8:].all()
    stream = xi.StreamingISTFT(t)
    parts = [stream.push(part) for part in np.split(X, np.cumsum(sizes)[:-1], axis=-1)]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()]), whole)


sizes = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@given(
    n_fft=st.integers(2, 40), hop=st.integers(1, 45), win=st.integers(1, 40), seed=st.integers(0, 99), counts=sizes,
    padding=st.sampled_from([None, "same", "full"]) | st.integers(0, 60) | st.tuples(*[st.integers(0, 60)] * 2),
    center=st.booleans(), onesided=st.booleans(), max_gain=st.sampled_from([None, 10]), extra=st.integers(0, 50),
)  # fmt: skip
def test_any_layout_in_any_pushes(n_fft, hop, win, seed, counts, padding, center, onesided, max_gain, extra):
    rng = np.random.default_rng(seed)
    win = min(win, n_fft)
    pair = rng.standard_normal((2, win)) * (rng.random((2, win)) > 0.2)
    pair[1, : rng.integers(0, win)] = 0
    pair[:, -1] = 1
    t = xi.STFT(n_fft, hop, win, pair[0], pair[1], center, padding, onesided=onesided, max_gain=max_gain, nola="zero")
    X = (rng.standard_normal((2, t.n_bins, sum(counts), 2)) @ [1, 1j]).astype(("complex64", "complex128")[seed % 2])
    stream = xi.StreamingISTFT(t)
    parts = [stream.push(part) for part in np.split(X, np.cumsum(counts)[:-1], axis=-1)]
    done = sum(part.shape[-1] for part in parts)
    length = done + extra if extra else None
    try:
        whole = t.istft(X, length=length)
    except ValueError as refused:
        with pytest.raises(type(refused), match="need"):
            stream.flush(length)
        return
    np.testing.assert_array_equal(np.concatenate([*parts, stream.flush(length)], axis=-1), whole)
    x = rng.standard_normal((2, 3 * n_fft + extra))
    np.testing.assert_array_equal(streamed(xi.StreamingSTFT(t), x, 1 + sum(counts)), t.stft(x))


PAIRS = [
    xi.STFT(64, 16),
    xi.STFT(64, 16, window="hamming"),
    xi.STFT(33, 10, 21),
    xi.STFT(128, 16, window=LOW_LATENCY[0], synthesis_window=LOW_LATENCY[1]),
    xi.STFT(20, 20, window="hamming"),
]


@pytest.mark.parametrize("t", PAIRS, ids=repr)
@pytest.mark.parametrize("before", [0, 1, 50])
def test_the_latency_is_exact(t, before, rng):
    """The first sample that frames to come still change is the first that has not come out."""
    t = replace(t, padding=(before, 0), nola="zero")
    X = rng.standard_normal((t.n_bins, 14)) + 1j * rng.standard_normal((t.n_bins, 14))
    stream, done = xi.StreamingISTFT(t), 0
    for m in range(10):
        done += stream.push(X[:, m : m + 1]).shape[-1]
        other = X.copy()
        other[:, m + 1 :] *= -1.7
        first = int((t.istft(X) != t.istft(other)).argmax())
        assert done == max(0, m * t.hop_length + t.n_fft - stream.latency - before)
        if done > t.n_fft:  # at the start, nothing may be determined at all
            assert first == done


@pytest.mark.parametrize("t", TRANSFORMS[:9], ids=repr)
def test_what_waits_reaches_from_what_came_out_to_the_end_of_the_last_frame(t):
    X = t.stft(signal(t))
    stream, done = xi.StreamingISTFT(t), 0
    before = definition.placement(t.n_fft, t.hop_length, t.win_length, t.center, t.padding)[0]
    for m in range(X.shape[-1]):
        done += stream.push(X[..., m : m + 1]).shape[-1]
        assert done == max(0, m * t.hop_length + t.n_fft - stream.latency - before)


@pytest.mark.parametrize("hop", [8, 13, 32])
@pytest.mark.parametrize("windows", ["hann", "low latency"])
def test_the_latencies_of_a_pair_add_up(hop, windows, rng):
    pair = ("hann", "hann") if windows == "hann" else xi.low_latency_windows(64, hop, 32)
    t = xi.STFT(64, hop, window=pair[0], synthesis_window=pair[1], padding=(64 - hop, 0), nola="zero")
    forward, inverse = xi.StreamingSTFT(t), xi.StreamingISTFT(t)
    delays, parts = [], []
    x = rng.standard_normal(500)
    for n in range(500):
        parts.append(inverse.push(forward.push(x[n : n + 1])))
        delays.append(n + 1 - sum(part.size for part in parts))
    assert max(delays[100:]) == forward.latency + inverse.latency
    got = np.concatenate(parts)
    known = slice(1 if windows == "hann" and hop == 32 else 0, None)
    np.testing.assert_allclose(got[known], x[: got.size][known], atol=1e-11)


def test_low_latency_windows_are_exact_and_short(rng):
    window, synthesis_window = xi.low_latency_windows(1024, 128, 256)
    product = (window * synthesis_window).reshape(-1, 128).sum(axis=0)
    np.testing.assert_allclose(product, 1, atol=1e-14)
    assert np.flatnonzero(synthesis_window).tolist() == list(range(768, 1024))
    t = xi.STFT(1024, 128, window=window, synthesis_window=synthesis_window, padding=(896, 0))
    stream = xi.StreamingISTFT(t)
    assert (stream.latency + 128) / 16000 == 0.016
    x = rng.standard_normal(5000)
    got = streamed(stream, t.stft(x), 1)
    np.testing.assert_allclose(got, x[: got.size], atol=1e-13)
    dual = xi.dual_window(window, 128)
    assert 10 * np.log10((synthesis_window**2).sum() / (dual**2).sum()) == pytest.approx(5.4, abs=0.05)
    symmetric = xi.low_latency_windows(63, 9, 63)
    np.testing.assert_allclose(symmetric[0], symmetric[1], atol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "kind", "text"),
    [
        ((64, 16, 15), ValueError, "synthesis_length: need >= 16, got 15"),
        ((64, 16, 65), ValueError, "synthesis_length: need <= n_fft=64, got 65"),
        ((64, 0, 32), ValueError, "hop_length: need >= 1, got 0"),
        ((64.0, 16, 32), TypeError, "n_fft: need an integer, got 64.0"),
    ],
)
def test_low_latency_windows_refuse(sizes, kind, text):
    with pytest.raises(kind, match=f"low_latency_windows: {text}"):
        xi.low_latency_windows(*sizes)


def test_every_library_streams(xp, rng):
    x = rng.standard_normal((2, 700))
    few = xp.name == "jax"  # compiles every operation anew for every shape; its stft is tested below
    for pad_mode in ("constant", "reflect")[2 * few :]:
        t = xi.STFT(64, 20, pad_mode=pad_mode)
        stream = xi.StreamingSTFT(t)
        parts = [stream.push(xp.asarray(part)) for part in np.split(x, [1, 1, 300, 433], axis=-1)]
        parts.append(stream.flush())
        assert all(xp.owns(part) for part in parts)
        X = np.concatenate([xp.to_numpy(part) for part in parts], axis=-1)
        np.testing.assert_allclose(X, t.stft(x), atol=1e-12)
    X = xi.stft(x[:, None], 64, hop_length=20)
    t = xi.STFT(64, 20, padding=(64, 3), synthesis_window="boxcar")
    stream = xi.StreamingISTFT(t)
    parts = [stream.push(xp.asarray(part)) for part in np.split(X, [9, 18] if few else [1, 1, 5, 20], axis=-1)]
    parts.append(stream.flush())
    assert all(xp.owns(part) for part in parts)
    y = np.concatenate([xp.to_numpy(part) for part in parts], axis=-1)
    np.testing.assert_allclose(y, t.istft(X), atol=1e-12)


@pytest.mark.parametrize(
    "t",
    [
        xi.STFT(64, 12, padding="full"),
        xi.STFT(64, 12, center=False, window="hamming"),
        xi.STFT(64, 12, center=False, nola="zero"),
        xi.STFT(64, 12, padding=(52, 100)),  # more frames are counted than overlap: samples wait for padding to come
    ],
    ids=repr,
)
def test_steps_under_jit_and_scan(t, rng):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    X = rng.standard_normal((2, 33, 12)) + 1j * rng.standard_normal((2, 33, 12))
    stream, whole = xi.StreamingISTFT(t), t.istft(X)
    frames = jax.numpy.moveaxis(jax.numpy.asarray(X), -1, 0)[..., None]
    first = stream.initial_state(frames[0])
    last, samples = jax.lax.scan(stream.step, first, frames)
    scanned = np.concatenate([*np.asarray(samples), np.asarray(stream.finish(last))], axis=-1)
    step, state, parts = jax.jit(stream.step), first, []
    for lo in range(0, 12, 3):
        state, part = step(state, jax.numpy.asarray(X[..., lo : lo + 3]))
        parts.append(np.asarray(part))
    stepped = np.concatenate([*parts, np.asarray(stream.finish(state))], axis=-1)
    for got in (scanned, stepped):
        got = got[..., max(0, -stream.first_sample) :]
        np.testing.assert_allclose(got, whole[..., max(0, stream.first_sample) :], atol=1e-12)
    with pytest.raises(ValueError, match="length: need None after traced steps, got 100"):
        stream.finish(last, 100)


def test_stft_steps_under_jit(rng):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x = rng.standard_normal((2, 300))
    for layout in ({}, {"padding": 100}, {"padding": "same"}, {"center": False}):
        t = xi.STFT(64, 20, **layout)
        stream, whole = xi.StreamingSTFT(t), t.stft(x)
        step, state, parts = jax.jit(stream.step), stream.initial_state(jax.numpy.asarray(x)), []
        for lo in range(0, 300, 60):
            state, part = step(state, jax.numpy.asarray(x[:, lo : lo + 60]))
            assert part.shape[-1] == 3
            parts.append(np.asarray(part))
        got = np.concatenate(parts, axis=-1)[..., -stream.first_frame or None :]
        count = min(got.shape[-1], whole.shape[-1])
        assert count >= 9
        np.testing.assert_allclose(got[..., :count], whole[..., :count], atol=1e-12)


def test_steps_are_pure(rng):
    X = rng.standard_normal((129, 20)) + 1j * rng.standard_normal((129, 20))
    for hop in (64, 2):  # hop 2: frames are added in groups
        stream = xi.StreamingISTFT(xi.STFT(256, hop))
        state, _ = stream.step(stream.initial_state(X), X[:, :9])
        kept = copy.deepcopy(state)
        once, twice = (stream.step(state, X[:, 9:])[1] for _ in range(2))
        np.testing.assert_array_equal(once, twice)
        np.testing.assert_array_equal(state.sums, kept.sums)
        assert stream.state.n_frames == 0


def streams(x):
    """Each kind of stream, with what it is pushed in two parts, and what it makes of all."""
    t = xi.STFT(64, window=np.hanning(64), pad_mode="reflect")
    ones = xi.STFT(64, synthesis_window=lambda n: np.ones(n))
    X = xi.stft(x, 64)
    return [
        (xi.StreamingSTFT(t), x, t.stft(x)),
        (xi.StreamingISTFT(xi.STFT(64)), X, xi.istft(X)),
        (xi.StreamingISTFT(ones), X, ones.istft(X)),
    ]


def saved(state):
    file = io.BytesIO()
    np.savez(file, array=state[0], count=state[1])
    file.seek(0)
    loaded = np.load(file)
    return loaded["array"], loaded["count"][()]


def test_a_state_can_be_saved_restored_and_copied(rng):
    x = rng.standard_normal((2, 1000))
    for stream, array, whole in streams(x):
        half = array.shape[-1] // 2
        head = stream.push(array[..., :half])
        others = [copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
        restored = copy.deepcopy(stream)
        restored.push(array)
        restored.state = saved(stream.state)
        kept = stream.state
        assert all(each.transform == stream.transform for each in others)
        for each in [*others, restored, stream]:
            rest = [each.push(array[..., half:]), each.flush()]
            np.testing.assert_array_equal(np.concatenate([head, *rest], axis=-1), whole)
            with pytest.raises(RuntimeError, match="stream is closed"):
                each.push(array)
            with pytest.raises(RuntimeError, match="stream is closed"):
                each.flush()
        stream.state = kept  # opens it again
        np.testing.assert_array_equal(np.concatenate([head, stream.push(array[..., half:]), stream.flush()], -1), whole)
        stream.reset()
        np.testing.assert_array_equal(streamed(stream, array, 7), whole)


def test_nothing_that_was_pushed_or_came_out_is_shared_with_the_state(rng):
    x = rng.standard_normal((2, 1000))
    for stream, array, whole in streams(x):
        parts = []
        for piece in pieces(array, 3):
            lent = piece.copy()
            part = stream.push(lent)
            parts.append(part.copy())
            lent[...] = np.nan
            part[...] = np.nan
        np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()], axis=-1), whole)


def test_memory_does_not_grow_with_what_was_pushed(rng):
    X = rng.standard_normal((129, 1)) + 0j
    x = rng.standard_normal(64)
    forward, inverse = xi.StreamingSTFT(xi.STFT(256)), xi.StreamingISTFT(xi.STFT(256))
    held = []
    tracemalloc.start()
    try:
        for _ in range(3):
            for _ in range(300):
                forward.push(x)
                inverse.push(X)
            gc.collect()  # tuples that Python keeps for the next ones
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert abs(held[2] - held[1]) < 10_000  # of 150 kB that were pushed; without the GIL, some is freed later
    forward.push(rng.standard_normal(10**5))
    assert forward.state.samples.base is None
    assert forward.state.samples.size < 256
    inverse.push(np.repeat(X, 1000, axis=1))
    assert inverse.state.sums.size == inverse.latency


T = xi.STFT(64)
INVERSE, FORWARD = xi.StreamingISTFT(T), xi.StreamingSTFT(T)
BEFORE = r"need leading axes \(2,\), as before, got \(3,\)"
# what it is: (stream, push, exception, text)
REFUSED = {  # beyond the rows of hostile.py
    "leading": (INVERSE, np.ones((3, 33, 2)) + 0j, ValueError, f"X: {BEFORE}"),
    "complex64": (INVERSE, np.ones((2, 33, 2), "c8"), TypeError, "X: need the precision of what came before .float64."),
    "bins": (INVERSE, np.ones((32, 2)) + 0j, ValueError, "X: need 33 bins for n_fft=64, got 32"),
    "samples": (FORWARD, "abc", TypeError, "StreamingSTFT: x: need an array of NumPy, .*, got str"),
    "channels": (FORWARD, np.ones((3, 9)), ValueError, f"x: {BEFORE}"),
    "float32": (FORWARD, np.ones((2, 9), "f4"), TypeError, "x: need the precision of what came before .float64."),
}


@pytest.mark.parametrize(("stream", "bad", "kind", "text"), REFUSED.values(), ids=REFUSED)
def test_a_refused_push_leaves_the_stream_as_it_was(stream, bad, kind, text, rng):
    stream = copy.copy(stream)
    good = rng.standard_normal((2, 300))
    good = xi.stft(good, 64) if isinstance(stream, xi.StreamingISTFT) else good
    parts = [stream.push(good)]
    for _ in range(2):
        with pytest.raises(kind, match=text):
            stream.push(bad)
    parts += [stream.push(good), stream.flush()]
    both = np.concatenate([good, good], axis=-1)
    whole = xi.istft(both) if isinstance(stream, xi.StreamingISTFT) else xi.stft(both, 64)
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), whole)


def test_other_libraries_do_not_mix(rng):
    torch = pytest.importorskip("torch")
    X = rng.standard_normal((33, 9)) + 0j
    stream = xi.StreamingISTFT(T)
    stream.push(X)
    with pytest.raises(TypeError, match="X: need an array of the library that came before .numpy., got torch"):
        stream.push(torch.from_numpy(X))


GRID = xi.linear_frequencies(50, 0, 4000, 8000)
CANNOT = {
    "no transform": (lambda: 64, TypeError, "transform: need an STFT, got int"),
    "other bins": (lambda: xi.STFT(64, frequencies=GRID), ValueError, "frequencies: need None, the bins of the DFT, got Frequencies"),
    "a basis": (lambda: xi.STFT(64, frequencies=np.ones((40, 64)) + 0j), ValueError, "frequencies: need None, .* ndarray"),
    "a followed window": (
        lambda: xi.STFT(64, window=pytest.importorskip("torch").ones(64, requires_grad=True)), ValueError,
        "window: need windows whose values are at hand and that no derivative follows, got Tensor",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "kind", "text"), CANNOT.values(), ids=CANNOT)
@pytest.mark.parametrize("stream", [xi.StreamingSTFT, xi.StreamingISTFT])
def test_transforms_that_a_stream_cannot_have_are_refused(stream, made, kind, text):
    with pytest.raises(kind, match=f"^{stream.__name__}: {text}"):
        stream(made())


def test_a_grid_that_is_the_dfts_can_be_streamed(rng):
    t = xi.STFT(64, frequencies=xi.Frequencies(125.0 * np.arange(33), sr=8000))
    x = rng.standard_normal(500)
    X = streamed(xi.StreamingSTFT(t), x, 30)
    np.testing.assert_array_equal(X, t.stft(x))
    np.testing.assert_array_equal(streamed(xi.StreamingISTFT(t), X, 3), t.istft(X))


def test_what_cannot_be_streamed_is_refused():
    with pytest.raises(
        ValueError, match="^StreamingSTFT: pad_mode: need a mode that a stream can have, got 'wrap'; the first"
    ):
        xi.StreamingSTFT(xi.STFT(64, pad_mode="circular"))
    with pytest.raises(ValueError, match="^StreamingISTFT: solver: need Dual.. .* closed form, got PerFrame"):
        xi.StreamingISTFT(xi.STFT(64, solver=xi.PerFrame()))
    with pytest.raises(ValueError, match="pad_mode: need 'constant' for step, got 'reflect'"):
        xi.StreamingSTFT(xi.STFT(64, pad_mode="reflect")).initial_state(np.ones(3))
    stream = xi.StreamingSTFT(T)
    with pytest.raises(ValueError, match="x: need a multiple of 16 samples, got 17"):
        stream.step(stream.initial_state(np.ones(3)), np.ones(17))
    with pytest.raises(xi.NOLAError, match="StreamingISTFT: hop_length: need <= win_length=64"):
        xi.StreamingISTFT(xi.STFT(64, 65))
    for stream, name in ((xi.StreamingISTFT(T), "X"), (xi.StreamingSTFT(T), "x")):
        with pytest.raises(ValueError, match=f"{name}: need at least 1"):
            stream.flush()
        with pytest.raises(ValueError, match="state: need an array, got None"):
            stream.state = None, 3
        with pytest.raises(TypeError, match="state: need an integer"):
            stream.state = np.ones(9), 1.5
    with pytest.raises(ValueError, match="state: need sums of 47 samples"):
        xi.StreamingISTFT(T).state = np.ones(9), 1


def test_a_length_that_is_too_short_is_refused_and_the_stream_goes_on(rng):
    X = rng.standard_normal((33, 30)) + 0j
    stream = xi.StreamingISTFT(T)
    done = stream.push(X)
    with pytest.raises(ValueError, match=f"length: need >= {done.size}, as many samples came out already, got 100"):
        stream.flush(length=100)
    with pytest.raises(ValueError, match="StreamingISTFT: length: need <="):
        stream.flush(length=10**6)
    whole = xi.istft(X, length=done.size)
    np.testing.assert_array_equal(np.concatenate([done, stream.flush(length=done.size)]), whole)


def test_undetermined_samples_are_zeros_with_a_warning_when_they_are_known():
    t = xi.STFT(64, center=False)
    X = t.stft(np.ones(300))
    text = r"^StreamingISTFT: window: samples \[0, 1\) lie under no window weight and are set to 0$"
    with pytest.warns(xi.CoverageWarning, match=text) as caught:
        stream = xi.StreamingISTFT(t)
    assert caught[0].filename == __file__
    with pytest.raises(xi.NOLAError, match="overlap > 0 at every sample"):
        xi.StreamingISTFT(replace(t, nola="raise"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = copy.copy(stream)
        got = streamed(silent, X, 1)
    with pytest.warns(xi.CoverageWarning):
        np.testing.assert_array_equal(got, t.istft(X))
    stream.push(X)
    with pytest.warns(xi.CoverageWarning, match="length: samples .* are set to 0"):
        stream.flush(length=400)


def test_samples_that_only_double_precision_determines_are_warned_of_with_the_first_frames():
    window = np.hamming(64)
    window[0] = 1e-10  # its square is beneath the rounding of float32 squared, not beneath that of float64
    stream = xi.StreamingISTFT(xi.STFT(64, window=window, center=False))
    X = xi.stft(np.ones(300, "f4"), 64, window=window, center=False)
    copy.copy(stream).push(X.astype("complex128"))
    with pytest.warns(xi.CoverageWarning, match=r"window: samples \[0, 1\) lie under no window weight"):
        stream.push(X)


def test_nan_stays_within_its_frames(rng):
    X = rng.standard_normal((33, 30)) + 0j
    bad = X.copy()
    bad[:, 12] = complex(np.nan, np.nan)
    got = streamed(xi.StreamingISTFT(T), bad, 1)
    clean = xi.istft(X)
    spoilt = np.isnan(got)
    np.testing.assert_array_equal(got[~spoilt], clean[~spoilt])
    assert np.flatnonzero(spoilt).tolist() == list(range(12 * 16 - 32 + 1, 12 * 16 + 32))
