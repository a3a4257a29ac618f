"""Dask: nothing is computed before it is asked for, and chunks of any size leave no seams, and no other bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xp_istft as xi

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
cloudpickle = pytest.importorskip("cloudpickle")  # comes with dask

from xp_istft.backends import dask as backend  # noqa: E402


@pytest.fixture
def X(rng):
    return rng.standard_normal((3, 17, 40, 2)).view(complex)[..., 0]


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def forbid_computing(*_, **__):
    raise AssertionError("computed before it was asked for")


@st.composite
def cut(draw, size):
    """A way to cut an axis into chunks, empty ones among them."""
    edges = draw(st.lists(st.integers(0, size), max_size=6).map(sorted))
    return tuple(np.diff([0, *edges, size]).tolist())


batches = st.lists(st.integers(0, 3), max_size=3)


@st.composite
def layouts(draw):
    n_fft = draw(st.sampled_from([2, 5, 8, 31, 32]))
    win_length = draw(st.integers(1, n_fft))
    sides = st.integers(0, 3 * n_fft)
    return {
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": draw(st.integers(1, 2 * n_fft)),
        "window": "hamming",
        "onesided": draw(st.booleans()),
        "padding": draw(st.one_of(st.sampled_from([None, "same", "full"]), sides, st.tuples(sides, sides))),
    }


@given(st.data())
def test_bits_are_numpys_for_any_chunks_of_any_spectrum(data):
    layout = data.draw(layouts())
    n_frames, batch = data.draw(st.integers(1, 90)), data.draw(batches)
    n_bins = layout["n_fft"] // 2 + 1 if layout["onesided"] else layout["n_fft"]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((*batch, n_bins, n_frames, 2)).astype("float32").view("complex64")[..., 0]
    kept = dict(layout, nola="zero", length=data.draw(st.one_of(st.none(), st.integers(1, 300))))
    chunks = tuple(data.draw(cut(size)) for size in X.shape)
    check_equal(lambda X: xi.istft(X, **kept), X, chunks)
    place = {"padding": layout["padding"]}
    check_equal(lambda X: xi.overlap_add(X, layout["hop_length"], **place), X, chunks)


@given(st.data())
def test_bits_are_numpys_for_any_chunks_of_any_signal(data):
    layout = data.draw(layouts())
    x = np.random.default_rng(0).standard_normal((*data.draw(batches), data.draw(st.integers(1, 400))))
    mode = data.draw(st.sampled_from(["constant", "reflect", "edge", "symmetric", "wrap"]))
    chunks = tuple(data.draw(cut(size)) for size in x.shape)
    check_equal(lambda x: xi.stft(x, pad_mode=mode, **layout), x, chunks)
    place = {"padding": layout["padding"], "pad_mode": mode}
    check_equal(lambda x: xi.frame(x, layout["n_fft"], layout["hop_length"], **place), x, chunks)


def result_or_refusal(function, array):
    try:
        return function(array), None
    except ValueError as refused:
        return None, str(refused)


def check_equal(function, array, chunks):
    """The same result, or the same error, as of NumPy's array."""
    whole, refused = result_or_refusal(function, array)
    lazy, lazily_refused = result_or_refusal(function, da.from_array(array, chunks=chunks))
    assert lazily_refused == refused
    if refused:
        return
    assert (lazy.shape, lazy.dtype, lazy._meta.dtype, lazy._meta.ndim) == (
        whole.shape, whole.dtype, whole.dtype, whole.ndim
    )  # fmt: skip
    np.testing.assert_array_equal(lazy.compute(), whole)


@pytest.mark.parametrize("hop", [40, 64, 128])
def test_edges_of_long_chunks_are_made_apart(rng, hop):
    """Where blocks are long, their inside is made of them alone: the same bits."""
    x = rng.standard_normal((2, 128 * 2000)).astype("float32")
    X = xi.stft(x, 128, hop_length=hop)
    size = backend._LONG * -(-128 // hop)
    for length in (None, x.shape[-1], 1000 * hop + 7):
        kept = dict(hop_length=hop, length=length, window="hamming")
        lazy = xi.istft(da.from_array(X, chunks=(1, -1, size)), **kept)
        np.testing.assert_array_equal(lazy.compute(), xi.istft(X, **kept))


@pytest.mark.parametrize("hop", [40, 128, 200])
def test_ends_of_long_chunks_of_a_signal_are_framed_apart(rng, hop):
    x = rng.standard_normal((2, 130 * 2000))
    for samples in (64 * 128 * 5, 64 * 128 * 5 + 77, -1):
        for kept in ({"pad_mode": "reflect"}, {"center": False}, {"padding": (3, 500), "onesided": False}):
            lazy = xi.stft(da.from_array(x, chunks=(1, samples)), 128, hop_length=hop, **kept)
            np.testing.assert_array_equal(lazy.compute(), xi.stft(x, 128, hop_length=hop, **kept))


def test_tasks_of_equal_parts_share_a_job_in_each_process(X):
    """Whatever copies of it they bring along, as from a scheduler: plans are made once, not for each chunk."""
    lazy = xi.istft(da.from_array(np.tile(X[0], 10), chunks=(-1, 20)), hop_length=7)
    tasks = [cloudpickle.loads(cloudpickle.dumps(task)) for task in dict(lazy.__dask_graph__()).items()]
    backend._synthesis.cache_clear()
    copied = da.Array(dict(tasks), lazy.name, lazy.chunks, meta=lazy._meta)
    np.testing.assert_array_equal(copied.compute(), xi.istft(np.tile(X[0], 10), hop_length=7))
    assert backend._synthesis.cache_info().misses <= 3


def test_axes_may_lie_anywhere(rng):
    x = rng.standard_normal((300, 2))
    lazy = xi.stft(da.from_array(x, chunks=(70, 1)), 32, axis=0, axes=(0, 1))
    np.testing.assert_array_equal(lazy.compute(), xi.stft(x, 32, axis=0, axes=(0, 1)))
    back = xi.istft(lazy, axes=(0, 1), length=300)
    np.testing.assert_array_equal(
        back.compute(), xi.istft(xi.stft(x, 32, axis=0, axes=(0, 1)), axes=(0, 1), length=300)
    )


@pytest.mark.parametrize("shape", [(), (2, 2)])
def test_long_chunks_of_any_number_of_axes(rng, shape):
    X = xi.stft(rng.standard_normal((*shape, 4000)), 8)
    lazy = xi.istft(da.from_array(X, chunks=(*(1,) * len(shape), -1, 900)))
    np.testing.assert_array_equal(lazy.compute(), xi.istft(X))


def test_frames_may_reach_no_sample():
    x = np.ones((3, 7))
    due = xi.stft(x, 8, hop_length=21, padding="same")
    assert not due.any()
    np.testing.assert_array_equal(xi.stft(da.from_array(x, chunks=(1, 3)), 8, hop_length=21, padding="same"), due)


@pytest.mark.parametrize("chunks", [(1, 5, 9), (2, 16, 1), (3, 1, -1)])
def test_bins_may_lie_in_chunks(X, chunks):
    lazy = da.from_array(X, chunks=chunks)
    np.testing.assert_array_equal(xi.istft(lazy).compute(), xi.istft(X))
    np.testing.assert_array_equal(xi.overlap_add(lazy, 4).compute(), xi.overlap_add(X, 4))


def test_other_bins_are_solved_for_whole_signals(X):
    options = dict(n_fft=32, frequencies=xi.linear_frequencies(17, 0, 4000, 8000))
    lazy = xi.istft(da.from_array(X, chunks=(1, 5, 9)), **options)
    whole = xi.istft(X, **options)
    assert (lazy.shape, lazy._meta.ndim, lazy.dtype) == (whole.shape, 2, whole.dtype)
    assert lazy.chunks == ((1, 1, 1), whole.shape[-1:])
    np.testing.assert_allclose(lazy.compute(), whole, atol=1e-9)


def test_phases_of_chunked_bins_and_frames(rng):
    magnitude = np.abs(xi.stft(rng.standard_normal((3, 300)), 32))
    for chunks in ((1, 5, 9), (3, 17, 9), (2, 5, -1)):
        lazy = xi.pghi(da.from_array(magnitude, chunks=chunks), rng=0)
        assert (lazy.dtype, lazy._meta.ndim) == (np.complex128, 3)
        np.testing.assert_array_equal(lazy.compute(), xi.pghi(magnitude, rng=0))


def test_pairs_are_joined_as_numpys_are(rng):
    pairs = rng.standard_normal((3, 17, 40, 2))
    pairs[0, 0, 0] = np.inf, -0.0
    lazy = xi.as_complex(da.from_array(pairs, chunks=(1, -1, 7, 1)))
    assert lazy.chunks[-1] == (7, 7, 7, 7, 7, 5)
    assert lazy._meta.shape == (0, 0, 0)
    np.testing.assert_array_equal(lazy.compute().view(float), xi.as_complex(pairs).view(float))
    re, im = pairs[..., 0], pairs[..., 1]
    parts = xi.as_complex(da.from_array(re, chunks=(1, -1, 7)), da.from_array(im, chunks=(3, 5, -1)))
    np.testing.assert_array_equal(parts.compute().view(float), xi.as_complex(re, im).view(float))


def test_nothing_is_computed_before_it_is_asked_for(X):
    with dask.config.set(scheduler=forbid_computing):
        lazy = da.from_array(X, chunks=(1, -1, 9))
        y = xi.istft(lazy)
        again = xi.stft(y, 32, pad_mode="reflect")
        both = xi.istft(da.concatenate([lazy, lazy[:, 1:-1][:, ::-1].conj()], axis=1), onesided=False)
        segments = xi.frame(y, 32, 8)
        total = xi.overlap_add(segments, 8)
        z = xi.as_complex(y, y)
    dtypes = [array.dtype for array in (y, again, both, segments, total, z)]
    assert dtypes == [np.float64, np.complex128, np.complex128, np.float64, np.float64, np.complex128]
    for array in (y, again, both, segments, total, z):
        assert array._meta.ndim == array.ndim
        assert array._meta.dtype == array.dtype
    with pytest.raises(AssertionError), dask.config.set(scheduler=forbid_computing):
        y.compute()


def test_single_precision_is_known_beforehand(X):
    y = xi.istft(da.from_array(X.astype(np.complex64), chunks=(1, -1, 9)))
    assert y.dtype == np.float32
    assert y.compute().dtype == np.float32
    assert xi.stft(y, 32).dtype == np.complex64


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_the_graph_is_linear_in_the_chunks(mode):
    """Never more than a few tasks a chunk, and none for all chunks: of a chunk 2 are ours, the rest renames."""
    for n in (1, 10, 200):
        X = da.zeros((2, 17, 100 * n), chunks=(1, -1, 100), dtype=complex)
        y = xi.istft(X)
        assert len(y.__dask_graph__()) - len(X.__dask_graph__()) <= 2 * 2 * n
        x = da.zeros((2, 800 * n), chunks=(1, 800))
        again = xi.stft(x, 32, pad_mode=mode)
        assert len(again.__dask_graph__()) - len(x.__dask_graph__()) <= 5 * 2 * n + 16


def test_a_chunk_needs_no_more_than_its_neighbours():
    """Of a block in the middle, the ends of two others: no task of a long job asks for the whole of it."""
    X = da.zeros((17, 1000), chunks=(-1, 10), dtype=complex)
    for array in (xi.istft(X), xi.stft(xi.istft(X).rechunk(100).blocks[:], 32)):
        graph = dask.base.collections_to_expr([array.blocks[..., 30]]).optimize().__dask_graph__()
        assert len(graph) < 60


def test_chunks_of_frames_and_of_samples_stand_at_the_same_places():
    x = da.zeros((2, 1000), chunks=(1, (400, 400, 200)))
    X = xi.stft(x, 32, hop_length=8)
    assert X.chunks[-1] == (50, 50, 26)
    assert xi.istft(X, hop_length=8, length=1000).chunks == x.chunks


def test_samples_that_no_frame_reaches_come_in_chunks_of_their_own(X):
    long = xi.istft(da.from_array(X[0], chunks=(-1, 3)), hop_length=5, length=400, nola="zero")
    assert max(long.chunks[-1]) < 50
    np.testing.assert_array_equal(long.compute(), xi.istft(X[0], hop_length=5, length=400, nola="zero"))


def test_the_same_call_has_the_same_name_and_others_have_others(X):
    """Dask takes equal names for equal results."""
    lazy = da.from_array(X, chunks=(1, -1, 9), name="X")

    def names(array):
        return set(array.__dask_graph__())

    first = names(xi.istft(lazy))
    assert names(xi.istft(lazy)) == first
    for other in ({"window": "hamming"}, {"length": 200}, {"scaling": "ortho"}, {"synthesis_window": "hamming"}):
        shared = names(xi.istft(lazy, **other)) & first
        assert not any("synthesis" in key[0] for key in shared)
    y = [xi.istft(lazy, window=window) for window in ("hann", "hamming")]
    for lazy_y, window in zip(dask.compute(*y), ("hann", "hamming"), strict=True):
        np.testing.assert_array_equal(lazy_y, xi.istft(X, window=window))


def test_a_task_takes_one_thread_unless_told_otherwise(X, monkeypatch):
    from xp_istft.backends.cpu import analysis, synthesis

    seen = []
    for module in (analysis, synthesis):
        monkeypatch.setattr(module, "threads_for", lambda work, workers: seen.append(workers) or 1)
    lazy = da.from_array(X, chunks=(1, -1, 9))
    for hop, workers in ((11, None), (13, 3)):  # hops that no other test plans
        xi.istft(lazy, hop_length=hop, workers=workers).compute()
    assert set(seen) == {1, 3}
    del seen[:]
    y = da.from_array(np.zeros((3, 500)), chunks=(1, 100))
    xi.stft(y, 64).compute()
    assert set(seen) == {1}
    xi.stft(y, 64, workers=2).compute()
    assert set(seen) == {1, 2}


def test_what_cannot_be_is_refused(X):
    with pytest.raises(TypeError, match=r"istft: out: need an array that can be written in place, got dask"):
        xi.istft(da.from_array(X), out=da.zeros(3))
    with pytest.raises(TypeError, match=r"istft: X: need chunks of NumPy, CuPy, ..., got MaskedArray"):
        xi.istft(da.ma.masked_array(da.from_array(X)))


def test_chunks_of_a_library_without_an_fft_are_refused(X):
    strict = pytest.importorskip("array_api_strict")
    lazy = da.from_array(X, chunks=(1, -1, 9)).map_blocks(
        strict.asarray, meta=strict.zeros((0, 0, 0), dtype=strict.complex128)
    )
    with (
        strict.ArrayAPIStrictFlags(enabled_extensions=()),
        pytest.raises(TypeError, match=r"istft: X: need an array of a library with complex dtypes and an FFT"),
    ):
        xi.istft(lazy)
