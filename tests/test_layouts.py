"""Memory layout, sharing and flags change nothing."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import xp_istft as xi


def strided(X):
    big = np.zeros((*X.shape[:-2], X.shape[-2] * 2, X.shape[-1] * 3), X.dtype)
    view = big[..., ::2, ::3]
    view[...] = X
    return view


def unaligned(X):
    buffer = np.zeros(X.nbytes + 1, np.uint8)
    view = buffer[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "frame-major": lambda X: np.ascontiguousarray(X.swapaxes(-1, -2)).swapaxes(-1, -2),
    "strided": strided,
    "negative": lambda X: np.ascontiguousarray(X[..., ::-1, ::-1])[..., ::-1, ::-1],
    "unaligned": unaligned,
    "read-only": read_only,
    "4096-byte rows": lambda X: np.concatenate([X, np.zeros((*X.shape[:-1], 512 - X.shape[-1]), X.dtype)], -1)[
        ..., : X.shape[-1]
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_istft_gives_the_same_bits_for_any_layout(rng, layout, dtype):
    X = rng.standard_normal((2, 129, 60, 2)).view(complex)[..., 0].astype(dtype)
    np.testing.assert_array_equal(xi.istft(LAYOUTS[layout](X)), xi.istft(X.copy()))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "4096-byte rows"])
def test_stft_gives_the_same_bits_for_any_layout(rng, layout):
    x = rng.standard_normal((3, 4000))
    np.testing.assert_array_equal(xi.stft(LAYOUTS[layout](x), 256), xi.stft(x.copy(), 256))


def test_broadcast_input(rng):
    X = rng.standard_normal((1, 33, 20, 2)).view(complex)[..., 0]
    np.testing.assert_array_equal(xi.istft(np.broadcast_to(X, (3, 33, 20)))[2], xi.istft(X)[0])
    still = np.broadcast_to(X[..., 9:10], (1, 33, 20))
    np.testing.assert_array_equal(xi.istft(still), xi.istft(still.copy()))


def test_overlapping_input(rng):
    flat = rng.standard_normal((3000, 2)).view(complex)[..., 0]
    X = np.lib.stride_tricks.as_strided(flat, (1, 33, 20), (0, 16, 16 * 7))
    np.testing.assert_array_equal(xi.istft(X), xi.istft(X.copy()))


def test_a_memory_mapped_file_is_read_not_written(rng, tmp_path):
    X = rng.standard_normal((33, 20, 2)).view(complex)[..., 0]
    np.save(tmp_path / "X.npy", X)
    before = (tmp_path / "X.npy").read_bytes()
    np.testing.assert_array_equal(xi.istft(np.load(tmp_path / "X.npy", mmap_mode="r")), xi.istft(X))
    assert (tmp_path / "X.npy").read_bytes() == before


def test_results_are_fresh_and_writeable(rng):
    X = rng.standard_normal((33, 20, 2)).view(complex)[..., 0]
    first = xi.istft(X)
    kept = first.copy()
    second = xi.istft(3 * X)
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)
    second[0] = 1


def test_an_empty_batch_is_an_empty_result(xp):
    X = xp.asarray(np.zeros((0, 33, 20), complex))
    assert tuple(xi.istft(X).shape) == (0, 16 * 19)
    assert tuple(xi.stft(xp.asarray(np.zeros((0, 300))), 64).shape) == (0, 33, 19)


def test_many_axes(xp, rng):
    if xp.name == "dask":
        pytest.skip("twelve axes of chunks make a graph of thousands of tasks")
    x = rng.standard_normal((2, *[1] * 10, 2, 300))
    X = xi.stft(xp.asarray(x), 64)
    assert tuple(X.shape) == (2, *[1] * 10, 2, 33, 19)
    np.testing.assert_allclose(xp.to_numpy(xi.istft(X, length=300)), x, atol=1e-13)


def test_an_object_can_be_copied_and_shared(rng):
    t = xi.STFT(n_fft=64, hop_length=16, window=np.hamming(64))
    X = t.stft(rng.standard_normal((8, 500)))
    expected = t.istft(X)
    for other in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        np.testing.assert_array_equal(other.istft(X), expected)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: t.istft(X[i % 8, :, : 10 + i % 20]), range(64)))
    for i, y in enumerate(results):
        np.testing.assert_array_equal(y, t.istft(X[i % 8, :, : 10 + i % 20]))


def test_a_prefix_of_frames_gives_the_same_samples(rng):
    X = rng.standard_normal((33, 50, 2)).view(complex)[..., 0]
    np.testing.assert_array_equal(xi.istft(X[:, :20])[: 16 * 17], xi.istft(X)[: 16 * 17])
