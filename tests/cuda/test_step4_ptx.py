"""Step 4: the PTX that NVRTC emits, interpreted: values, bounds, alignment, races, unwritten memory, and counts.

sm_100 gets other code than older cards, so both families run. The counts are pinned: coalescing, bank conflicts and
instructions cannot get worse unseen.
"""

from __future__ import annotations

from functools import partial

import checks
import numpy as np
import pytest
from emulator import nvrtc
from kernels import Framing, Fused, FusedForward, OverlapAdd, fused_threads

from xp_istft.frames import Frames
from xp_istft.windows import normalisation

pytestmark = pytest.mark.skipif(bool(nvrtc.missing(compiler_only=True)), reason=f"{nvrtc.missing(compiler_only=True)}")
FAMILIES = ("compute_75", "compute_90", "compute_100")
EVERY_FAMILY = pytest.mark.parametrize("architecture", FAMILIES)


@EVERY_FAMILY
@pytest.mark.parametrize(("real", "parts", "keep"), [("float", 1, 1), ("double", 1, 1), ("float", 2, 1)])
def test_overlap_add_keeps_its_error_bound(as_ptx, random, architecture, real, parts, keep):
    build = partial(as_ptx, "overlap_add", architecture)
    checks.overlap_add_keeps_its_error_bound(build, random, real, parts, keep, trials=12)


@EVERY_FAMILY
def test_transpose_moves_every_element(as_ptx, random, architecture):
    checks.transpose_moves_every_element(partial(as_ptx, "transpose", architecture), random, "float", 2, 1, trials=4)


@EVERY_FAMILY
def test_copied_rows_have_real_ends(as_ptx, random, architecture):
    checks.copied_rows_have_real_ends(partial(as_ptx, "copy_rows", architecture), random, "float", 1, trials=2)


@EVERY_FAMILY
@pytest.mark.parametrize("make", [1, 2])
def test_frames_are_the_padded_signal_times_the_window(as_ptx, random, architecture, make):
    build = partial(as_ptx, "frame", architecture)
    checks.frames_are_the_padded_signal_times_the_window(build, random, "float", 1, make, trials=5)


@EVERY_FAMILY
@pytest.mark.parametrize(("n_fft", "trials"), [(64, 2), (512, 2), (4096, 1)])
def test_fused_istft_is_the_inverse_transform(as_ptx, random, architecture, n_fft, trials):
    for by_time in (False, True)[: 1 + (n_fft < 4096)]:
        build = partial(as_ptx, "istft_fused", architecture)
        checks.fused_istft_is_the_inverse_transform(build, random, n_fft, by_time, trials)


@EVERY_FAMILY
@pytest.mark.parametrize(("n_fft", "trials"), [(64, 3), (512, 1), (4096, 1)])
def test_fused_stft_is_the_transform(as_ptx, random, architecture, n_fft, trials):
    for by_time in (False, True)[: 1 + (n_fft < 4096)]:
        checks.fused_stft_is_the_transform(partial(as_ptx, "stft_fused", architecture), random, n_fft, by_time, trials)


# ---- counts, for compute_90 ------------------------------------------------------------------------------------------


def counted(kernel, *blocks):
    kernel.count, kernel.only_blocks = True, set(blocks)
    return kernel


def middle_of_a_signal(n_fft=2048, hop=512, n_frames=40) -> OverlapAdd:
    frames = Frames(n_fft, hop, n_frames, n_fft // 2, n_fft // 2 + hop * (n_frames - 1))
    window = np.hanning(n_fft + 1)[:-1]
    segments = np.ones((1, n_frames, n_fft), np.float32)
    return OverlapAdd(frames, segments, window, normalisation(window, window, frames, 1e-7), 1)


@pytest.mark.parametrize(("vector", "most"), [(1, 1200), (2, 680), (4, 430)])
def test_overlap_add_reads_every_sector_once(as_ptx, vector, most):
    """One block of 256 `vector` samples in the middle; `most` warp instructions for each 256 samples."""
    problem = middle_of_a_signal()
    macros = problem.macros(XI_VECTOR=vector)
    kernel = counted(as_ptx("overlap_add", **macros), (2, 0, 0))
    problem.launch(kernel, macros)
    counts, made = kernel.counts, 4 * 256 * vector
    assert counts.distinct_bytes(0) == 4 * made  # four frames reach each sample
    assert counts.distinct_bytes(3, stored=True) == made
    assert counts.loaded_sectors.cost == counts.loaded_sectors.ideal
    assert counts.stored_sectors.cost == counts.stored_sectors.ideal == made // 32
    assert counts.instructions <= most * vector


def test_transpose_is_coalesced_and_free_of_conflicts(as_ptx):
    kernel = counted(as_ptx("transpose", XI_REAL="float", XI_PARTS=2, XI_REAL_ENDS=1), (0, 0, 0))
    array = np.ones((1, 64, 64 + 1), np.complex64)
    array = np.ascontiguousarray(array[..., :64])
    to = np.full((1, 64, 64), np.nan, np.complex64)
    kernel((4, 1), (256,), (array, to, *map(np.int64, (1, 64, 64, 4096, 64, 4096, 64, 63))))
    counts = kernel.counts
    assert counts.shared_wavefronts.cost == counts.shared_wavefronts.ideal
    assert counts.loaded_sectors == counts.stored_sectors == (32 * 32 * 8 // 32, 32 * 32 * 8 // 32)


def test_frame_reads_and_writes_every_sector_once(as_ptx, random):
    frames = Frames(2048, 512, 20, 1024, 1024 + 9728)
    signal, segments = np.ones((1, 9728), np.float32), np.full((1, 20, 2048), np.nan, np.float32)
    kernel = counted(as_ptx("frame", XI_REAL="float", XI_VECTOR=4), (5, 0, 0))
    sizes = (frames.n_frames, frames.n_fft, frames.hop, frames.start, 9728)
    arguments = (signal, np.ones(2048, np.float32), segments, np.int64(1), np.int64(9728), *map(np.int32, (*sizes, 1)))
    kernel((40, 1), (256,), arguments)
    counts = kernel.counts
    assert counts.loaded_sectors.cost == counts.loaded_sectors.ideal
    assert counts.stored_sectors == (128, 128)


@pytest.mark.parametrize(("n_fft", "most"), [(2048, 2200), (512, 550)])
@pytest.mark.parametrize("by_time", [False, True])
def test_fused_istft_keeps_its_budget_of_instructions(as_ptx, n_fft, most, by_time):
    """At hop n_fft / 4: warp instructions for each new frame of a long run, bytes, bank conflicts."""
    hop, counts, hops = n_fft // 4, [], (16, 48)
    for run in hops:
        frames = Frames(n_fft, hop, 3 * run, n_fft // 2, n_fft // 2 + hop * (3 * run - 1))
        window = np.hanning(n_fft + 1)[:-1]
        gain = normalisation(window, window, frames, 1e-7)
        shape = (1, n_fft // 2 + 1, frames.n_frames)
        spectrum = np.ones(shape if by_time else (1, *shape[:0:-1]), np.complex64)
        problem = Fused(frames, spectrum if by_time else spectrum.swapaxes(1, 2), window, gain, run=run * hop)
        macros = problem.macros()
        kernel = counted(as_ptx("istft_fused", **macros), (1, 0, 0))
        problem.launch(kernel, macros)
        counts.append(kernel.counts)
        reach = run + 3 + 6 * by_time  # edge frames, which neighbours read, too; and as many as fill sectors
        assert kernel.counts.distinct_bytes(0) <= reach * (n_fft // 2 + 1) * 8 + 64
        assert kernel.counts.shared_wavefronts.cost <= 1.25 * kernel.counts.shared_wavefronts.ideal
        assert kernel.counts.stored_sectors == (run * hop * 4 // 32, run * hop * 4 // 32)
    each = (counts[1].instructions - counts[0].instructions) / (hops[1] - hops[0])
    beginning = counts[0].instructions - hops[0] * each  # of a run: edge frames among it
    long = 128 * n_fft // hop  # hops of a run of the backend's, where the signal is long: more than half as many
    assert each + beginning / (long / 2) <= most * (1.02 if by_time else 1)  # other addresses


@pytest.mark.parametrize(("n_fft", "most"), [(2048, 2200), (512, 550)])
@pytest.mark.parametrize("by_time", [False, True])
def test_fused_stft_keeps_its_budget_of_instructions(as_ptx, n_fft, most, by_time):
    """At hop n_fft / 4: warp instructions for each further frame of a block, bytes, bank conflicts."""
    hop, counts, rounds, at_once = n_fft // 4, [], (1, 3), 32 * fused_threads(n_fft) // n_fft
    for each in rounds:
        n_frames = 3 * each * at_once
        frames = Frames(n_fft, hop, n_frames, n_fft // 2, n_fft // 2 + hop * (n_frames - 1))
        signal = np.ones((1, frames.n_samples), np.float32)
        problem = FusedForward(Framing(frames, signal, np.ones(n_fft), "reflect", 1), by_time)
        macros = problem.macros()
        kernel = counted(as_ptx("stft_fused", **macros), (1, 0, 0))
        problem.launch(kernel, macros, most_blocks=3)
        counts.append(kernel.counts)
        made = each * at_once * (n_fft // 2 + 1) * 8
        assert made <= kernel.counts.distinct_bytes(3, stored=True) <= 1.01 * made + 64
        assert kernel.counts.shared_wavefronts.cost <= 1.3 * kernel.counts.shared_wavefronts.ideal
    assert counts[1].instructions - counts[0].instructions <= most * (rounds[1] - rounds[0]) * at_once


# ---- what the interpreter itself refuses -----------------------------------------------------------------------------


def test_a_python_int_for_an_int_is_refused(as_ptx):
    kernel, array = as_ptx("copy_rows", XI_REAL_ENDS=1), np.ones((1, 2, 3), np.complex64)
    sizes = (np.int64(1), np.int64(2), 3, np.int64(6), np.int64(3), np.int32(2))
    with pytest.raises(Exception, match=r"parameter .* has 4 bytes"):
        kernel((1,), (256,), (array, array.copy(), *sizes))


def test_misaligned_vectors_are_refused(as_ptx):
    problem = middle_of_a_signal(n_fft=62, hop=31, n_frames=8)
    macros = problem.macros(XI_VECTOR=4)
    with pytest.raises(Exception, match="misaligned access of 16 bytes"):
        problem.launch(as_ptx("overlap_add", **macros), macros)
