"""Step 3: NVRTC makes machine code of every variant for every card, within a budget of registers and memory."""

from __future__ import annotations

import itertools

import pytest
from emulator import nvrtc
from kernels import FOLDER, THREADS, fused_threads, options, source

ARCHITECTURES = (75, 80, 86, 90, 100, 120)

# Every set of macros that the backend asks for.
VARIANTS = {
    "overlap_add": [
        {
            "XI_REAL": real,
            "XI_PARTS": parts,
            "XI_KEEP": keep,
            "XI_VECTOR": vector,
            "XI_GAIN": gain,
            "XI_INDEX_BITS": bits,
        }
        for real, (parts, keep), vector, gain, bits in itertools.product(
            ("float", "double"), ((1, 1), (2, 2), (2, 1)), (1, 2, 4), (0, 1), (32, 64)
        )
        if vector * parts * {"float": 4, "double": 8}[real] <= 16 and (gain or parts == keep)
    ],
    "frame": [
        {"XI_REAL": real, "XI_PARTS": parts, "XI_MAKE": make, "XI_VECTOR": vector, "XI_INDEX_BITS": bits}
        for real, (parts, make), vector, bits in itertools.product(
            ("float", "double"), ((1, 1), (1, 2), (2, 2)), (1, 2, 4), (32, 64)
        )
        if vector * make * {"float": 4, "double": 8}[real] <= 16
    ],
    "transpose": [
        {"XI_REAL": real, "XI_PARTS": parts, "XI_REAL_ENDS": ends}
        for real, (parts, ends) in itertools.product(("float", "double"), ((1, 0), (2, 0), (2, 1)))
    ],
    "copy_rows": [
        {"XI_REAL": real, "XI_REAL_ENDS": ends} for real, ends in itertools.product(("float", "double"), (0, 1))
    ],
    # Of the fused kernels widths and layouts differ in addresses only: two sizes stand for all.
    "istft_fused": [
        {"XI_LOG2_N_FFT": log2, "XI_THREADS": fused_threads(2**log2), "XI_WIDTH": width, "XI_BY_TIME": by_time}
        for log2, width, by_time in itertools.product(range(6, 13), (1, 2, 4), (0, 1))
        if (width, by_time) == (4, 0) or (log2 == 11 and (width == 4 or not by_time)) or (log2, width) == (6, 4)
    ],
    "stft_fused": [
        {"XI_LOG2_N_FFT": log2, "XI_THREADS": fused_threads(2**log2), "XI_WIDTH": width, "XI_BY_TIME": by_time}
        for log2, width, by_time in itertools.product(range(6, 13), (1, 2), (0, 1))
        if (width, by_time) == (2, 0) or (log2 == 11 and (width == 2 or not by_time)) or (log2, width) == (6, 2)
    ],
}

# Registers of a thread, bytes of stack, bytes of shared memory of a block (1 KB of it CUDA's own from sm_90 on). 256
# threads of 64 registers leave room for 4 blocks on every card, 1,024 threads on an SM; 128 registers for 512.
BUDGET = {
    "overlap_add": nvrtc.Resources(64, 0, 0),
    "frame": nvrtc.Resources(48, 0, 0),
    "transpose": nvrtc.Resources(48, 0, 18 << 10),
    "copy_rows": nvrtc.Resources(48, 0, 0),
    "istft_fused": nvrtc.Resources(128, 0, 49 << 10),
    "stft_fused": nvrtc.Resources(128, 0, 49 << 10),
}

# Bytes of stack that are known and looked at: not spills, but temporaries that ptxas keeps for one variant.
KNOWN_STACK = {("overlap_add", 100): 8}

needs_compiler = pytest.mark.skipif(
    bool(nvrtc.missing()), reason=f"step 3, no kernel is held to its registers: {nvrtc.missing()}"
)


def test_every_kernel_has_a_budget_and_variants():
    names = {file.name.removesuffix(".cu") for file in FOLDER.iterdir() if file.name.endswith(".cu")}
    assert names == set(BUDGET) == set(VARIANTS)


def test_launch_bounds_are_the_threads_that_the_host_asks_for():
    """A device refuses to launch more."""
    for name in set(VARIANTS) - {each for each in VARIANTS if each.endswith("_fused")}:
        assert f"__launch_bounds__({THREADS})" in source(name), name


@needs_compiler
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_keeps_its_budget(builds, name, architecture):
    for macros in VARIANTS[name]:
        code = nvrtc.compiled(source(name), options(macros), f"sm_{architecture}", builds)
        used = nvrtc.resources(code)[name]
        most = BUDGET[name]._replace(stack=KNOWN_STACK.get((name, architecture), 0))
        over = [
            f"{field}: {value}" for field, value, limit in zip(used._fields, used, most, strict=True) if value > limit
        ]
        assert not over, (macros, over)


@needs_compiler
def test_a_budget_that_is_exceeded_fails(builds):
    """Shared memory beyond what a block may have statically is refused by the compiler itself."""
    code = source("transpose").replace("tile[32][33]", "tile[32][333]")
    with pytest.raises(RuntimeError, match="too much shared data"):
        nvrtc.compiled(code, ("-DXI_REAL=double",), "sm_90", builds)
