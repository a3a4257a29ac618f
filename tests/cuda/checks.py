"""What every kernel must do, however it was built: by g++ (step 1), as PTX (step 4), with a planted bug (step 6).

`build` makes a kernel of macros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from kernels import (
    copied_rows,
    framing_problem,
    fused_edges,
    fused_forward_problem,
    fused_problem,
    noise,
    overlap_add_problem,
    real_ended,
    transposed,
    uncovered_problem,
)

from xp_istft.frames import PAD_MODES
from xp_istft.windows import normalisation

Build = Callable[..., Any]
MOST_ERROR = 3.4  # eps * gain * sum |window * frame|: a forward bound, whatever the overlap does to the result
COMPLEX = {"float": "c8", "double": "c16"}


def overlap_add_keeps_its_error_bound(
    build: Build, random: np.random.Generator, real: str, parts: int, keep: int, trials: int
) -> set[int]:
    """Returns the widths of vectors that were tried."""
    widths = set()
    for trial in range(trials):
        problem = overlap_add_problem(random, real, parts, keep, multiple=4 if trial % 2 else 1, gain=trial % 8 != 7)
        macros = problem.macros(XI_INDEX_BITS=64 if trial % 4 == 3 else 32)
        widths.add(macros["XI_VECTOR"])
        assert problem.error(problem.launch(build(**macros), macros, most_blocks=1 + trial % 3)) < MOST_ERROR
    return widths


def uncovered_samples_are_zero(build: Build) -> None:
    """Whatever the frames hold."""
    problem = uncovered_problem()
    macros = problem.macros()
    signal = problem.launch(build(**macros), macros)
    gain = problem.gain.samples(problem.frames.start, problem.frames.stop)
    assert gain[3] == 0  # the first sample of the first frame
    assert (signal[:, gain == 0] == 0).all()


def transpose_moves_every_element(
    build: Build, random: np.random.Generator, real: str, parts: int, ends: int, trials: int
) -> None:
    kernel = build(XI_REAL=real, XI_PARTS=parts, XI_REAL_ENDS=ends)
    for trial in range(trials):
        shape = (1 + trial % 4, *(int(size) for size in random.integers(2, 80, 2)))
        array = noise(random, shape, COMPLEX[real] if parts == 2 else {"float": "f4", "double": "f8"}[real])
        nyquist = shape[1] - 1 if trial % 2 else -1
        want = array[..., :-1].swapaxes(1, 2)
        want = real_ended(want, nyquist) if ends else want
        np.testing.assert_array_equal(transposed(kernel, array, nyquist, most_blocks=1 + trial % 4), want)


def copied_rows_have_real_ends(build: Build, random: np.random.Generator, real: str, ends: int, trials: int) -> None:
    kernel = build(XI_REAL=real, XI_REAL_ENDS=ends)
    for trial in range(trials):
        shape = (1 + trial % 4, *(int(size) for size in random.integers(2, 80, 2)))
        array = noise(random, shape, COMPLEX[real])
        nyquist = shape[2] - 2 if trial % 2 else -1
        want = real_ended(array[..., :-1], nyquist) if ends else array[..., :-1]
        np.testing.assert_array_equal(copied_rows(kernel, array, nyquist, most_blocks=1 + trial % 4), want)


def frames_are_the_padded_signal_times_the_window(
    build: Build, random: np.random.Generator, real: str, parts: int, make: int, trials: int
) -> set[int]:
    """Returns the widths of vectors that were tried."""
    widths = set()
    for trial in range(trials):
        mode = PAD_MODES[trial % len(PAD_MODES)]
        problem = framing_problem(random, real, parts, make, multiple=4 if trial % 2 else 1, mode=mode)
        macros = problem.macros(XI_INDEX_BITS=64 if trial % 4 == 3 else 32)
        widths.add(macros["XI_VECTOR"])
        segments = problem.launch(build(**macros), macros, most_blocks=1 + trial % 3)
        np.testing.assert_array_equal(segments, problem.expected())
    return widths


def fused_istft_is_the_inverse_transform(
    build: Build, random: np.random.Generator, n_fft: int, by_time: bool, trials: int
) -> None:
    for trial in range(trials):
        multiple = 4 if by_time or 64 < n_fft < 2048 else (4, 1, 2)[trial % 3]  # one size stands for all
        problem = fused_problem(random, n_fft, by_time, multiple)
        macros = problem.macros()
        kernel = build(**macros)
        if hasattr(kernel, "module"):  # g++'s, whose threads run in any order
            kernel.module.order, kernel.module.seed = ("forward", "reverse", "shuffled")[trial % 3], trial
        assert problem.error(problem.launch(kernel, macros, most_blocks=1 + trial % 3)) < 3e-7


def fused_istft_is_right_at_the_edges(build: Build) -> None:
    for problem in fused_edges():
        macros = problem.macros()
        assert problem.error(problem.launch(build(**macros), macros)) < 3e-7
    window = np.hanning(65)[:-1]  # its first sample is 0, so nothing determines the first of the signal
    hostile = np.full(problem.spectrum.shape, np.inf, np.complex64)
    gain = normalisation(window, window, problem.frames, 1e-7)
    frames = replace(problem.frames, start=0)
    problem = replace(problem, frames=frames, window=window, gain=gain, spectrum=hostile, origin=0)
    assert problem.launch(build(**macros), macros)[0, 0] == 0


def fused_stft_is_the_transform(
    build: Build, random: np.random.Generator, n_fft: int, by_time: bool, trials: int
) -> None:
    for trial in range(trials):
        multiple = 2 if by_time or 64 < n_fft < 2048 else 2 - trial % 2
        mode = PAD_MODES[trial % len(PAD_MODES)]
        problem = fused_forward_problem(random, n_fft, by_time, multiple, mode)
        macros = problem.macros()
        kernel = build(**macros)
        if hasattr(kernel, "module"):
            kernel.module.order, kernel.module.seed = ("forward", "reverse", "shuffled")[trial % 3], trial
        assert problem.error(problem.launch(kernel, macros, most_blocks=1 + trial % 3)) < 3e-7
