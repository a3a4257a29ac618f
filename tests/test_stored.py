"""Arrays that only have slices: the bits of one call, and only a block of them in memory."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

import xp_istft as xi

N_SAMPLES = 9_000
names = map(str, itertools.count())


class Sliced:
    """An array that has shape, dtype and slices alone, and says what was read."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        piece = self._array[index]
        self.most = max(self.most, piece.nbytes)
        return piece.copy()

    def __setitem__(self, index, piece):
        self._array[index] = piece


@pytest.fixture(autouse=True)
def small_blocks(cut):
    cut(spectrum_bytes=1 << 15)


@pytest.fixture
def x(rng):
    return rng.standard_normal((2, N_SAMPLES)).astype("float32")


def sliced(tmp_path, array, axis=-1):
    return Sliced(array.copy())


def zarr_array(tmp_path, array, axis=-1):
    zarr = pytest.importorskip("zarr")
    chunks = [max(1, size) for size in array.shape]
    chunks[axis] = 53 if array.ndim == 3 else 1999
    stored = zarr.create_array(tmp_path / next(names), shape=array.shape, chunks=tuple(chunks), dtype=array.dtype)
    stored[...] = array
    return stored


def h5py_array(tmp_path, array, axis=-1):
    h5py = pytest.importorskip("h5py")
    return h5py.File(tmp_path / next(names), "w").create_dataset("array", data=array)


def foreign_memmap(tmp_path, array, axis=-1):
    mapped = np.memmap(tmp_path / next(names), array.dtype.newbyteorder(), "w+", shape=array.shape)
    mapped[...] = array
    return mapped


KINDS = {"slices": sliced, "zarr": zarr_array, "h5py": h5py_array, "memmap of foreign byte order": foreign_memmap}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def stored(request, tmp_path):
    return lambda *array, **axis: request.param(tmp_path, *array, **axis)


@pytest.mark.parametrize(
    "layout", [{}, {"padding": "full", "hop_length": 50}, {"center": False, "nola": "zero", "hop_length": 64}], ids=str
)
def test_read_and_written_block_by_block_with_the_bits_of_one_call(stored, layout, x):
    shared = {name: value for name, value in layout.items() if name != "nola"}
    X = xi.stft(x, 256, **shared)
    spectrum = stored(X)
    got = xi.stft(stored(x), 256, **shared)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, X)
    for source in (stored(x), x):
        out = Sliced(np.zeros_like(X))
        assert xi.stft(source, 256, out=out, **shared) is out
        np.testing.assert_array_equal(out[...], X)
    for length in (None, N_SAMPLES - 100):
        whole = xi.istft(X, length=length, **layout)
        got = xi.istft(spectrum, length=length, **layout)
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, whole)
        out = stored(np.ones_like(whole)) if not isinstance(spectrum, np.memmap) else Sliced(np.ones_like(whole))
        for source in (spectrum, X):
            out[...] = 1
            assert xi.istft(source, length=length, out=out, **layout) is out
            np.testing.assert_array_equal(out[...], whole)


@pytest.mark.parametrize("axes", [(-2, -1), (2, 0), (0, 1)])
def test_axes_may_lie_anywhere(stored, axes, x, rng):
    X = xi.stft(x, 256)
    placed = np.moveaxis(X, (-2, -1), axes)
    np.testing.assert_array_equal(xi.istft(stored(placed, axis=axes[1]), axes=axes), xi.istft(X))
    np.testing.assert_array_equal(xi.stft(stored(x.T), 256, axis=0), X)
    out = stored(np.zeros_like(placed), axis=axes[1])
    if not isinstance(out, np.memmap):
        assert xi.stft(stored(x), 256, axes=axes, out=out) is out
        np.testing.assert_array_equal(out[...], placed)


def test_only_blocks_are_read(x):
    X = xi.stft(x, 256)
    spectrum = Sliced(X)
    xi.istft(spectrum)
    assert spectrum.most < 3 * (1 << 15) < X.nbytes / 2


@pytest.mark.parametrize(
    ("chunks", "step"),
    [
        ((1, 129, 53), 53),  # frames of a block: whole chunks, at least four overlaps,
        ((1, 129, 7), 21),
        ((1, 129, 0), 16),  # or what makes a block where chunks are given in another form
        (((1, 1), (129,), (70, 71)), 16),
        ((53,), 16),
        ("auto", 16),
    ],
    ids=str,
)
def test_blocks_are_whole_chunks_where_these_are_known(chunks, step, x):
    starts = []

    class Chunked(Sliced):
        def __getitem__(self, index):
            starts.append(index[-1].start)
            return super().__getitem__(index)

    X = xi.stft(x, 256)
    spectrum = Chunked(X)
    spectrum.chunks = chunks
    np.testing.assert_array_equal(xi.istft(spectrum), xi.istft(X))
    assert set(np.diff(starts)[1:]) == {step}


def test_half_precision_is_widened(x):
    half = x.astype("float16")
    np.testing.assert_array_equal(xi.stft(Sliced(half), 256), xi.stft(half, 256))


@pytest.mark.parametrize("kind", ["slices", "memory map"])
def test_peak_memory_does_not_grow_with_the_length(kind, tmp_path):
    peaks = []
    for n_frames in (9_000, 18_000):
        shape = (129, n_frames)
        spectrum = np.memmap(tmp_path / f"{n_frames}.in", "complex64", "w+", shape=shape)
        out = np.memmap(tmp_path / f"{n_frames}.out", "float32", "w+", shape=(64 * (n_frames - 1),))
        if kind == "slices":
            spectrum, out = Sliced(spectrum), Sliced(out)
        xi.istft(spectrum, n_fft=256, workers=1)[:10]
        tracemalloc.start()
        try:
            assert xi.istft(spectrum, out=out, workers=1) is out
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < out.shape[0]  # a quarter of the result


class Odd:
    """Has slices, but not of its shape."""

    shape, dtype = (129, 9), np.dtype("complex64")

    def __getitem__(self, index):
        return np.zeros(3, "complex64")


class ReadOnly:
    shape, dtype = (2, N_SAMPLES // 64 * 64), np.dtype("float32")

    def __getitem__(self, index):
        raise AssertionError


def test_what_does_not_fit_is_refused_before_any_work(x, tmp_path):
    X = xi.stft(x, 256)
    good = np.zeros((2, 64 * (X.shape[-1] - 1)), "float32")
    spectrum = Sliced(X)
    cases = [
        (spectrum, good[:, 1:], ValueError, r"out: need shape \(2, 8960\), got \(2, 8959\)"),
        (spectrum, Sliced(good.astype("f8")), TypeError, "out: need dtype float32, got float64"),
        (spectrum, [1], TypeError, "out: need an array that takes slices, got list"),
        (spectrum, ReadOnly(), TypeError, "out: need an array that takes slices, got ReadOnly"),
        (Sliced(x), None, TypeError, "X: need dtype complex64 or complex128, got float32"),
        (spectrum, np.broadcast_to(np.float32(0), good.shape), ValueError, "out: need a writeable array"),
    ]
    for source, out, kind, text in cases:
        with pytest.raises(kind, match=f"istft: {text}"):
            xi.istft(source, out=out)
    assert spectrum.most == 0
    both = np.zeros((4, 4, 1), ">c8").view(np.memmap)  # four signals of four samples
    target = both[..., 0].astype("c8")
    assert xi.istft(both, onesided=False, padding=0, window="boxcar", out=target) is target
    memory = np.zeros((4, 4), "c8")
    same = memory[..., None].view(">c8").view(np.memmap)
    with pytest.raises(ValueError, match="out: need memory of its own"):
        xi.istft(same, onesided=False, padding=0, window="boxcar", out=memory)
    with pytest.raises(TypeError, match="need an array whose slices have the shape of a slice, got Odd"):
        xi.istft(Odd())
    with pytest.raises(TypeError, match="istft: out: need a NumPy array as the input, got list"):
        xi.istft(X, out=[1])


def test_arrays_that_compute_otherwise_are_still_refused():
    class Computing(Sliced):
        __array_ufunc__ = None

    with pytest.raises(TypeError, match="istft: X: need an array of NumPy, .*, got Computing"):
        xi.istft(Computing(np.ones((129, 9), complex)))
    for function in (lambda X: xi.overlap_add(X, 2), xi.StreamingISTFT(xi.STFT(256)).push):
        with pytest.raises(TypeError, match="need an array of NumPy, .*, got Sliced"):
            function(Sliced(np.ones((129, 9), complex)))
    with pytest.raises(TypeError, match="got MaskedArray; fill it first"):
        xi.istft(np.ma.ones((129, 9), complex))
