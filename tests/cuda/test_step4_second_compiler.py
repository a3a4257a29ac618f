"""Step 4 once more with the PTX of another compiler, clang: what one compiler makes right by chance, another does not.

Optional: clang is a package of the system's, and not one of Python's.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from emulator import clang, ptx
from kernels import options, source
from test_step6_planted_bugs import CAUGHT, CHECKS, KERNEL_BUGS

pytestmark = pytest.mark.skipif(bool(clang.missing()), reason=f"{clang.missing()}")
BARRIERS = [bug for bug in KERNEL_BUGS if "barrier" in bug[3]]


@pytest.fixture
def by_clang(builds):
    """by_clang(name, code, **macros): a kernel as clang compiles it."""

    def kernel(name, code, **macros):
        return ptx.PtxModule(clang.compiled(code, options(macros), "sm_80", builds)).get_function(name)

    return kernel


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_kernel_passes_the_checks_of_step_6(by_clang, name):
    CHECKS[name](partial(by_clang, name, source(name)), np.random.default_rng(1))


@pytest.mark.parametrize(("name", "before", "after", "what"), BARRIERS, ids=[f"{bug[0]}: {bug[3]}" for bug in BARRIERS])
def test_a_barrier_that_is_gone_is_a_race(by_clang, name, before, after, what):
    with pytest.raises(CAUGHT, match="race"):
        CHECKS[name](partial(by_clang, name, source(name).replace(before, after)), np.random.default_rng(1))


def test_what_does_not_compile_says_why(builds):
    with pytest.raises(RuntimeError, match=r"clang, with -DXI_REAL=float:\n.*kernel.cu:1:.*error"):
        clang.compiled("oops", ("-DXI_REAL=float",), "sm_80", builds)
