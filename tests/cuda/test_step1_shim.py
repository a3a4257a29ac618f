"""Step 1: the kernels' arithmetic and index mathematics, built by g++, on random shapes against float64."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import checks
import numpy as np
import pytest
from kernels import THREADS, fused_problem, noise, overlap_add_problem, sparse

VARIANTS = [("float", 1, 1), ("double", 1, 1), ("float", 2, 2), ("double", 2, 2), ("float", 2, 1)]  # real, parts, keep


@pytest.mark.parametrize(("real", "parts", "keep"), VARIANTS)
def test_overlap_add_keeps_its_error_bound(on_cpu, random, real, parts, keep):
    build = partial(on_cpu, "overlap_add")
    widths = checks.overlap_add_keeps_its_error_bound(build, random, real, parts, keep, trials=200)
    assert widths == {width for width in (1, 2, 4) if width * np.dtype(real[0]).itemsize * parts <= 16}


@pytest.mark.parametrize("real", ["float", "double"])
def test_index_width_changes_no_bit(on_cpu, random, real):
    for _ in range(20):
        problem = overlap_add_problem(random, real, multiple=4)
        narrow, wide = problem.macros(), problem.macros(XI_INDEX_BITS=64)
        results = [problem.launch(on_cpu("overlap_add", **macros), macros) for macros in (narrow, wide)]
        np.testing.assert_array_equal(*results)


def test_uncovered_samples_are_zero_whatever_the_frames_hold(on_cpu):
    checks.uncovered_samples_are_zero(partial(on_cpu, "overlap_add"))


def test_positions_beyond_32_bits(on_cpu):
    """Frames 2**31 samples apart: positions do not fit into 32 bits, though the memory is small."""
    hop, n_fft = 2**31 + 5, 16
    segments = np.arange(3 * n_fft, dtype=np.float32).reshape(1, 3, n_fft)
    signal = np.full((1, n_fft + 2), np.nan, np.float32)
    kernel = on_cpu("overlap_add", XI_REAL="float", XI_VECTOR=1, XI_GAIN=0, XI_INDEX_BITS=64)
    sizes = (1, 3 * n_fft, n_fft, n_fft + 2, 3, n_fft, hop, 1, 2 * hop - 1, n_fft + 2, 0, 0, 0, 0)
    kernel((1, 1), (256,), (segments, np.ones(n_fft, np.float32), segments, signal, *map(np.int64, sizes)))
    np.testing.assert_array_equal(signal[0], [0, *segments[0, 2], 0])


def test_memory_beyond_32_bits(on_cpu):
    """Items of the batch 2**31 elements apart, in and out."""
    n_fft, apart = 16, 2**31 + 4
    segments, signal = sparse(apart + n_fft, "f4"), sparse(apart + n_fft, "f4")
    segments[apart:] = np.arange(n_fft)
    kernel = on_cpu("overlap_add", XI_REAL="float", XI_VECTOR=4, XI_GAIN=0, XI_INDEX_BITS=32)
    strides = map(np.int64, (2, apart, n_fft, apart))
    sizes = map(np.int32, (1, n_fft, n_fft, 1, 0, n_fft, 0, 0, 0, 0))
    kernel((1, 1), (256,), (segments, np.ones(n_fft, np.float32), segments, signal, *strides, *sizes))
    np.testing.assert_array_equal(signal[apart:], np.arange(n_fft))


@pytest.mark.parametrize(
    ("real", "parts", "ends"), [("float", 1, 0), ("float", 2, 0), ("float", 2, 1), ("double", 2, 1)]
)
def test_transpose_moves_every_element(on_cpu, random, real, parts, ends):
    checks.transpose_moves_every_element(partial(on_cpu, "transpose"), random, real, parts, ends, trials=30)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("ends", [0, 1])
def test_copied_rows_have_real_ends(on_cpu, random, real, ends):
    checks.copied_rows_have_real_ends(partial(on_cpu, "copy_rows"), random, real, ends, trials=20)


@pytest.mark.parametrize(
    ("real", "parts", "make"), [("float", 1, 1), ("double", 1, 1), ("float", 1, 2), ("double", 2, 2)]
)
def test_frames_are_the_padded_signal_times_the_window(on_cpu, random, real, parts, make):
    build = partial(on_cpu, "frame")
    widths = checks.frames_are_the_padded_signal_times_the_window(build, random, real, parts, make, trials=120)
    assert max(widths) == max(1, 16 // (make * np.dtype(real[0]).itemsize))


@pytest.mark.parametrize("n_fft", [64, 128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("by_time", [False, True])
def test_fused_istft_is_the_inverse_transform(on_cpu, random, n_fft, by_time):
    checks.fused_istft_is_the_inverse_transform(partial(on_cpu, "istft_fused"), random, n_fft, by_time, trials=6)


def test_rows_are_copied_of_more_items_than_the_grid_has(on_cpu, random):
    array = noise(random, (70_000, 1, 3), "c8")
    made = np.zeros_like(array)
    sizes = (np.int64(70_000), np.int64(1), np.int32(3), np.int64(3), np.int64(3), np.int32(-1))
    on_cpu("copy_rows", XI_REAL="float", XI_REAL_ENDS=0)((1, 2), (THREADS,), (array, made, *sizes))
    np.testing.assert_array_equal(made, array)


def test_rows_are_copied_from_beyond_2_to_the_32_elements_of_an_item(on_cpu, random):
    """Of an item that 32 bits cannot count: its last block."""
    n_cols, n_rows = 1024, 2**22 + 5
    array, made = (sparse(n_rows * n_cols, "c8").reshape(n_rows, n_cols) for _ in range(2))
    array[-1] = noise(random, (n_cols,), "c8")
    sizes = (np.int64(1), np.int64(n_rows), np.int32(n_cols), np.int64(0), np.int64(n_cols), np.int32(-1))
    blocks = n_rows * n_cols // THREADS
    kernel = on_cpu("copy_rows", XI_REAL="float", XI_REAL_ENDS=0)
    kernel((blocks, 1), (THREADS,), (array, made, *sizes), only=(blocks - 1, 0))
    np.testing.assert_array_equal(made[-1, -THREADS:], array[-1, -THREADS:])


def test_fused_istft_is_right_at_the_edges(on_cpu):
    checks.fused_istft_is_right_at_the_edges(partial(on_cpu, "istft_fused"))


def test_the_length_of_a_run_changes_no_bit(on_cpu, random):
    problem = fused_problem(random, 128, by_time=False)
    macros = problem.macros()
    results = [replace(problem, run=run).launch(on_cpu("istft_fused", **macros), macros) for run in (8, 64, 1 << 20)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_fused_istft_reads_and_writes_beyond_32_bits(on_cpu):
    """Items, frames and samples 2**31 elements apart."""
    n_fft, apart = 64, 2**31 + 4
    spectrum, signal = sparse(3 * apart + 33, "c8"), sparse(2 * apart, "f4")
    spectrum[3 * apart :].real = np.arange(33)  # of item 1, frame 1
    kernel = on_cpu("istft_fused", XI_LOG2_N_FFT=6, XI_THREADS=128, XI_WIDTH=4, XI_BY_TIME=0)
    turns = np.exp(2j * np.pi * np.arange(n_fft) / n_fft).astype(np.complex64)
    ones, sizes = np.ones(n_fft, np.float32), (2, 2 * apart, 1, apart, apart, 2, n_fft, n_fft, n_fft)
    arguments = (spectrum, ones, turns, ones, signal, *map(np.int64, (*sizes, 0, 0, 2 * n_fft, 0, n_fft)))
    kernel((1, 2), (128,), arguments)
    want = n_fft * np.fft.irfft(np.arange(33))
    np.testing.assert_allclose(signal[apart : apart + n_fft], want, atol=1e-6 * abs(want).max())


@pytest.mark.parametrize("n_fft", [64, 128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("by_time", [False, True])
def test_fused_stft_is_the_transform(on_cpu, random, n_fft, by_time):
    checks.fused_stft_is_the_transform(partial(on_cpu, "stft_fused"), random, n_fft, by_time, trials=10)
