"""Step 4 for the machine code itself, which nothing here runs: what ptxas makes of the PTX for sm_90, counted.

`SASS` is pinned: a test that fails prints the row that would be right.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from emulator import nvrtc
from kernels import options, source
from test_step3_compile import VARIANTS

pytestmark = pytest.mark.skipif(bool(nvrtc.missing(program="nvdisasm")), reason=f"{nvrtc.missing(program='nvdisasm')}")


class Sass(NamedTuple):
    """Instructions of a kernel and of its loop, the loop's barriers, and the widest loads and stores ("128" bits; those
    of the read-only cache are "CONSTANT").

    The loop is the longest that has no other in it; where there are barriers, of those that have one.
    """

    instructions: int
    loop: int
    barriers: int
    loads: str
    stores: str


# Of one variant of each kernel, and by the compiler of CUDA 13.5.
SASS: dict[str, tuple[dict[str, int | str], Sass]] = {
    "copy_rows": ({"XI_REAL_ENDS": 1}, Sass(instructions=301, loop=66, barriers=0, loads="64.CONSTANT", stores="64")),
    "frame": ({"XI_VECTOR": 4}, Sass(instructions=619, loop=557, barriers=0, loads="128.CONSTANT", stores="128")),
    "istft_fused": (
        {"XI_LOG2_N_FFT": 11},
        Sass(instructions=1877, loop=1049, barriers=6, loads="128.CONSTANT", stores="128"),
    ),
    "overlap_add": ({"XI_VECTOR": 4}, Sass(instructions=284, loop=47, barriers=0, loads="128.CONSTANT", stores="128")),
    "stft_fused": (
        {"XI_LOG2_N_FFT": 11},
        Sass(instructions=1971, loop=1504, barriers=5, loads="64.CONSTANT", stores="64"),
    ),
    "transpose": ({"XI_REAL_ENDS": 1}, Sass(instructions=401, loop=254, barriers=2, loads="64.CONSTANT", stores="64")),
}


def loop_of(code: list[nvrtc.Operation]) -> list[str]:
    names = [operation.name for operation in code]
    loops = [
        range(operation.target, place + 1)
        for place, operation in enumerate(code)
        if operation.target is not None and operation.target < place
    ]
    synchronized = [loop for loop in loops if any(names[place].startswith("BAR") for place in loop)]
    loops = synchronized or loops
    inner = [loop for loop in loops if not any(other != loop and set(other) < set(loop) for other in loops)]
    return [names[place] for place in max(inner, key=len)]


def widest(names: list[str], operation: str) -> str:
    """Of these accesses of global memory; past the read-only cache, if one of that width goes there."""
    found = {name.removeprefix(f"{operation}.E").strip(".") for name in names if name.startswith(operation)}
    return max(found, key=lambda name: (int(re.sub(r"\D", "", name) or 32), -len(name)))


def counted(builds, name: str, macros: dict[str, int | str]) -> Sass:
    code = nvrtc.operations(nvrtc.compiled(source(name), options(macros), "sm_90", builds))
    names, loop = [operation.name for operation in code], loop_of(code)
    barriers = sum(each.startswith("BAR") for each in loop)
    return Sass(len(code), len(loop), barriers, widest(names, "LDG"), widest(names, "STG"))


def test_every_kernel_is_pinned():
    assert set(SASS) == set(VARIANTS)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_the_machine_code_is_no_longer_and_no_narrower(builds, name):
    """By 5 % at most, which another release of the compiler may take."""
    macros, pinned = SASS[name]
    found = counted(builds, name, macros)
    right = f"{name!r}: ({macros}, {found}),"
    assert found.instructions <= 1.05 * pinned.instructions, right
    assert found.loop <= 1.05 * pinned.loop, right
    assert found[2:] == pinned[2:], right


def test_vectors_that_are_gone_a_longer_loop_and_a_pointer_that_may_alias_are_seen(builds, monkeypatch):
    macros, pinned = SASS["overlap_add"]
    single = counted(builds, "overlap_add", {**macros, "XI_VECTOR": 1})
    assert (single.loads, single.stores) == ("CONSTANT", "") != (pinned.loads, pinned.stores)
    for before, after in (("unroll 4", "unroll 8"), ("__restrict__", "")):
        assert before in source("overlap_add")
        changed = source("overlap_add").replace(before, after)
        monkeypatch.setitem(globals(), "source", lambda name, changed=changed: changed)
        with pytest.raises(AssertionError, match="'overlap_add': "):
            test_the_machine_code_is_no_longer_and_no_narrower(builds, "overlap_add")
        monkeypatch.undo()
