"""Step 5: step 1 once more, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from emulator import shim

HERE = Path(__file__).parent
CHOSEN = (
    "keeps_its_error_bound and float-1-1 or padded_signal and float-1-1 or transpose and float-2"
    " or copied_rows and float"
)

pytestmark = pytest.mark.skipif(bool(shim.missing()), reason=f"{shim.missing()}")


def sanitized(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**shim.sanitizer_environment(), "XP_ISTFT_SANITIZE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=HERE.parents[1], timeout=1200
    )


def test_no_access_out_of_bounds_and_no_undefined_behaviour():
    result = sanitized(str(HERE / "test_step1_shim.py"), "-k", CHOSEN)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert " passed" in result.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [("const index_t last = newest < n_frames ? newest : n_frames - 1;", "const index_t last = newest;"),
     ("i < (count_t)n_samples; i += step", "i <= (count_t)n_samples; i += step")],
    ids=["one frame too many", "one sample too many"],
)  # fmt: skip
def test_the_sanitizers_see_a_planted_bug(tmp_path, before, after):
    """In a process of its own: the build ends it."""
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
import numpy as np
from emulator import shim
from kernels import overlap_add_problem, source, options
code = source("overlap_add")
assert {before!r} in code
random = np.random.default_rng(0)
for _ in range(8):
    problem = overlap_add_problem(random, "float")
    macros = problem.macros(XI_VECTOR=1)
    module = shim.ShimModule(code=code.replace({before!r}, {after!r}), options=options(macros),
                             cache=Path({str(tmp_path)!r}), sanitize=True)
    problem.launch(module.get_function("overlap_add"), macros)
"""
    environment = shim.sanitizer_environment()
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=HERE.parents[1]
    )
    assert result.returncode != 0
    assert "AddressSanitizer" in result.stderr
    assert "kernel.cu" in result.stderr  # and names the line
