"""Memory of large NumPy results: had again when they are gone, and never before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends.cpu import memory

LARGE = (5, 1 << 20)  # complex64: 40 MiB


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture
def no_spare():
    memory._spare.clear()
    yield
    memory._spare.clear()


def test_a_large_result_takes_the_memory_of_the_last_one_that_is_gone(no_spare):
    first = memory.empty("stft", LARGE, "F")
    assert (first.shape, first.dtype) == (LARGE, np.dtype("F"))
    assert first.flags.c_contiguous
    assert first.flags.writeable
    second = memory.empty("stft", LARGE, "F")
    assert not np.shares_memory(first, second)
    where, part = address(first), first.real[1:, ::3]
    del first
    assert not memory._spare  # a view of it is there
    third = memory.empty("stft", LARGE, "F")
    assert not np.shares_memory(third, part)
    del part
    fourth = memory.empty("istft", LARGE[::-1], "F")
    assert address(fourth) == where
    assert not memory._spare


def test_no_more_than_one_spare_result_is_kept(no_spare):
    arrays = [memory.empty("stft", LARGE, "F") for _ in range(3)]
    arrays.clear()
    assert [block.nbytes for block in memory._spare] == [5 << 23]
    memory.empty("stft", (9, 1 << 20), "f")  # another size: the one that was kept goes, this one stays
    assert [block.nbytes for block in memory._spare] == [9 << 22]
    for size in (1 << 24) - 4, 1 << 26, 100:
        memory.empty("stft", (size // 4,), "f")
        assert [block.nbytes for block in memory._spare] == [9 << 22]
    for size in 1 << 24, (1 << 26) - 4:
        memory.empty("stft", (size // 4,), "f")
        assert [block.nbytes for block in memory._spare] == [size]


def test_results_in_memory_that_was_used_are_the_same(no_spare):
    x = np.random.default_rng(5).standard_normal(2_300_000).astype(np.float32)
    X = xi.stft(x, 512)
    assert X.nbytes in memory._LENT_BYTES
    expected, where = X.copy(), address(X)
    X[...] = np.nan
    del X
    X = xi.stft(x, 512)
    assert address(X) == where
    np.testing.assert_array_equal(X, expected)


def test_threads_never_share_a_result(no_spare):
    def caller(number):
        for _ in range(10):
            array = memory.empty("stft", LARGE, "F")
            array[:, ::4096] = number
            assert (array[:, ::4096] == number).all()
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(caller, range(4))) == [0, 1, 2, 3]


def test_memory_that_is_not_there_is_named(monkeypatch, no_spare):
    def full(*arguments):
        raise MemoryError("full")

    monkeypatch.setattr(memory.np, "empty", full)
    for shape in ((3,), LARGE):
        with pytest.raises(MemoryError, match=r"stft: memory: need \d+ bytes for the result of shape .*full"):
            memory.empty("stft", shape, "F")
