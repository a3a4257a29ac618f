"""Step 1: the kernels' arithmetic and index mathematics, built by g++, on random shapes against float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernels import (
    copied_rows,
    framing_problem,
    fused_problem,
    noise,
    overlap_add_problem,
    real_ended,
    sparse,
    transposed,
    uncovered_problem,
)

from xp_istft.frames import PAD_MODES

MOST_ERROR = 3.4  # eps * gain * sum |window * frame|: a forward bound, whatever the overlap does to the result
VARIANTS = [("float", 1, 1), ("double", 1, 1), ("float", 2, 2), ("double", 2, 2), ("float", 2, 1)]  # real, parts, keep


@pytest.mark.parametrize(("real", "parts", "keep"), VARIANTS)
def test_overlap_add_keeps_its_error_bound(on_cpu, random, real, parts, keep):
    worst, widths = 0.0, set()
    for trial in range(200):
        problem = overlap_add_problem(random, real, parts, keep, multiple=4 if trial % 2 else 1, gain=trial % 8 != 7)
        macros = problem.macros()
        widths.add(macros["XI_VECTOR"])
        signal = problem.launch(on_cpu("overlap_add", **macros), macros, most_blocks=1 + trial % 3)
        worst = max(worst, problem.error(signal))
    assert worst < MOST_ERROR
    assert widths == {width for width in (1, 2, 4) if width * np.dtype(real[0]).itemsize * parts <= 16}


@pytest.mark.parametrize("real", ["float", "double"])
def test_index_width_changes_no_bit(on_cpu, random, real):
    for _ in range(20):
        problem = overlap_add_problem(random, real, multiple=4)
        narrow, wide = problem.macros(), problem.macros(XI_INDEX_BITS=64)
        results = [problem.launch(on_cpu("overlap_add", **macros), macros) for macros in (narrow, wide)]
        np.testing.assert_array_equal(*results)


def test_uncovered_samples_are_zero_whatever_the_frames_hold(on_cpu):
    problem = uncovered_problem()
    macros = problem.macros()
    signal = problem.launch(on_cpu("overlap_add", **macros), macros)
    gain = problem.gain.samples(problem.frames.start, problem.frames.stop)
    assert gain[3] == 0  # the first sample of the first frame
    assert (signal[:, gain == 0] == 0).all()


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


@pytest.mark.parametrize(("real", "parts"), [("float", 1), ("float", 2), ("double", 2)])
def test_transpose_moves_every_element(on_cpu, random, real, parts):
    for trial in range(30):
        shape = (int(random.integers(1, 5)), *(int(size) for size in random.integers(2, 80, 2)))
        array = noise(random, shape, {1: "f", 2: "c"}[parts] + str(parts * {"float": 4, "double": 8}[real]))
        nyquist = shape[1] - 1 if trial % 2 else -1
        ends = int(parts == 2 and trial % 3 > 0)
        kernel = on_cpu("transpose", XI_REAL=real, XI_PARTS=parts, XI_REAL_ENDS=ends)
        want = array[..., :-1].swapaxes(1, 2)
        want = real_ended(want, nyquist) if ends else want
        np.testing.assert_array_equal(transposed(kernel, array, nyquist, most_blocks=1 + trial % 4), want)


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("ends", [0, 1])
def test_copied_rows_have_real_ends(on_cpu, random, real, ends):
    kernel = on_cpu("copy_rows", XI_REAL=real, XI_REAL_ENDS=ends)
    for trial in range(20):
        shape = (int(random.integers(1, 5)), *(int(size) for size in random.integers(2, 80, 2)))
        array = noise(random, shape, {"float": "c8", "double": "c16"}[real])
        nyquist = shape[2] - 2 if trial % 2 else -1
        want = real_ended(array[..., :-1], nyquist) if ends else array[..., :-1]
        np.testing.assert_array_equal(copied_rows(kernel, array, nyquist, most_blocks=1 + trial % 4), want)


@pytest.mark.parametrize("mode", PAD_MODES)
@pytest.mark.parametrize(
    ("real", "parts", "make"), [("float", 1, 1), ("double", 1, 1), ("float", 1, 2), ("double", 2, 2)]
)
def test_frames_are_the_padded_signal_times_the_window(on_cpu, random, real, parts, make, mode):
    widths = set()
    for trial in range(24):
        problem = framing_problem(random, real, parts, make, multiple=4 if trial % 2 else 1, mode=mode)
        macros = problem.macros(XI_INDEX_BITS=64 if trial % 3 == 0 else 32)
        widths.add(macros["XI_VECTOR"])
        segments = problem.launch(on_cpu("frame", **macros), macros, most_blocks=1 + trial % 3)
        np.testing.assert_array_equal(segments, problem.expected())
    assert max(widths) == max(1, 16 // (make * np.dtype(real[0]).itemsize))


@pytest.mark.parametrize("n_fft", [64, 128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("by_time", [False, True])
def test_fused_istft_is_the_inverse_transform(on_cpu, random, n_fft, by_time):
    for trial in range(6):
        problem = fused_problem(random, n_fft, by_time, even=trial % 3 > 0)
        macros = problem.macros()
        kernel = on_cpu("istft_fused", **macros)
        kernel.module.order, kernel.module.seed = ("forward", "reverse", "shuffled")[trial % 3], trial
        assert problem.error(problem.launch(kernel, macros, most_blocks=1 + trial % 3)) < 3e-7
