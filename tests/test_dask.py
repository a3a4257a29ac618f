"""Dask: nothing is computed before it is asked for, and chunks leave no seams."""

from __future__ import annotations

import numpy as np
import pytest

import xp_istft as xi

da = pytest.importorskip("dask.array")


@pytest.fixture
def X(rng):
    return rng.standard_normal((3, 17, 40, 2)).view(complex)[..., 0]


def forbid_computing(*_, **__):
    raise AssertionError("computed before it was asked for")


@pytest.mark.parametrize("frames", [1, 3, 7, 40, (5, 1, 30, 4)])
@pytest.mark.parametrize("place", [{}, {"padding": "same"}, {"center": False}, {"length": 100}, {"padding": (3, 40)}])
def test_chunks_leave_no_seams(X, frames, place):
    kept = dict(hop_length=5, window="hamming", **place)
    lazy = xi.istft(da.from_array(X, chunks=(2, -1, frames)), **kept)
    whole = xi.istft(X, **kept)
    assert lazy.shape == whole.shape
    assert lazy.dtype == whole.dtype
    np.testing.assert_array_equal(lazy.compute(), whole)


def test_chunked_bins_are_joined(X):
    np.testing.assert_array_equal(xi.istft(da.from_array(X, chunks=(1, 5, 9))).compute(), xi.istft(X))


@pytest.mark.parametrize("samples", [1, 100, 500])
def test_chunks_of_a_signal_leave_no_seams(rng, samples):
    x = rng.standard_normal((2, 500))
    lazy = xi.stft(da.from_array(x, chunks=(1, samples)), 32, pad_mode="reflect")
    np.testing.assert_array_equal(lazy.compute(), xi.stft(x, 32, pad_mode="reflect"))


def test_nothing_is_computed_before_it_is_asked_for(X):
    import dask

    with dask.config.set(scheduler=forbid_computing):
        lazy = da.from_array(X, chunks=(1, -1, 9))
        y = xi.istft(lazy)
        again = xi.stft(y, 32)
        both = xi.istft(da.concatenate([lazy, lazy[:, 1:-1][:, ::-1].conj()], axis=1), onesided=False, real=False)
    assert (y.dtype, again.dtype, both.dtype) == (np.float64, np.complex128, np.complex128)
    with pytest.raises(AssertionError), dask.config.set(scheduler=forbid_computing):
        y.compute()


def test_single_precision_is_known_beforehand(X):
    y = xi.istft(da.from_array(X.astype(np.complex64), chunks=(1, -1, 9)))
    assert y.dtype == np.float32
    assert y.compute().dtype == np.float32
    assert xi.stft(y, 32).dtype == np.complex64
