"""The array libraries that every public function is tried on, and the state of the GPU, said aloud."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

# One OpenMP thread: a test process may fork, and GNU's OpenMP hangs in the child of a process that has used threads.
# NumPy reads its own number when it is imported; on busy cores its threads made a small product 50 times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from array_libraries import LIBRARIES, Library
from hypothesis import HealthCheck, settings

# JAX's tests spend their time in the compiler, and run next to nothing.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")


collect_ignore = ["fuzz_readers.py", "sharded_jax.py"]  # programs of their own, the first of which needs atheris

# No test depends on the clock, nor on chance; "deep" takes an hour and other numbers each time.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}
settings.register_profile("ci", derandomize=True, database=None, **_PATIENT)
settings.register_profile("deep", max_examples=20_000, **_PATIENT)
settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="module")
def _compiled_functions_end_with_their_module():
    """JAX keeps every program that it has compiled: gigabytes, by the end of the tests."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def cut():
    """cut(block_bytes=1 << 12): work is cut so, from there to the end of the test."""
    from xp_istft.tuning import tuned

    with ExitStack() as held:
        yield lambda **sizes: held.enter_context(tuned(**sizes))


@pytest.fixture
def two_threads(cut):
    """Every call shares its work with a thread of the pool, in many small blocks."""
    cut(threaded_seconds=0, block_bytes=1 << 14)
    from xp_istft import set_workers

    set_workers(2)
    yield
    set_workers(None)


@lru_cache(maxsize=1)
def gpu_state() -> str | None:
    """Why no GPU can be used here, or None. CuPy imports without a driver, so only a device counts."""
    try:
        import cupy

        if not cupy.cuda.is_available():
            return "CuPy sees no CUDA device"
        cupy.empty(1)
        importlib.import_module("cupy.cuda.cufft")  # the bare wheel has none
    except Exception as cause:
        return f"{type(cause).__name__}: {str(cause).splitlines()[0]}"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and gpu_state():
        if os.environ.get("XP_ISTFT_REQUIRE_GPU") == "1":
            pytest.fail(f"XP_ISTFT_REQUIRE_GPU=1, but {gpu_state()}", pytrace=False)
        pytest.skip(f"no GPU: {gpu_state()}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What did not run, and why: a test that skips says nothing."""
    tests: Counter[str] = Counter()
    files: Counter[str] = Counter()  # that skip as a whole
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if absent := re.search(r"No module named '(\w+)", reason):
            reason = f"{absent[1]} is not installed"
        elif reason.startswith("unable to import module"):
            reason = "examples of modules whose library is not installed"
        (files if isinstance(report, pytest.CollectReport) else tests)[reason] += 1
    if reasons := tests + files:
        terminalreporter.section(f"NOT RUN: {tests.total()} tests and {files.total()} whole files")
        for reason, _ in reasons.most_common():
            terminalreporter.line(f"{tests[reason]:6d} tests {files[reason]:3d} files  {reason}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of large grids, JAX runs every fourth case: it compiles every operation anew for every shape.

    It runs the definition, which array-api-strict runs in full. Examples skip where their library is not installed.
    """
    for item in items:
        of = re.match(r"xp_istft/compat/(jax|torch)\.py::", item.nodeid)
        if of and find_spec(of[1]) is None:
            item.add_marker(pytest.mark.skip(reason=f"No module named '{of[1]}'"))
    grids: dict[str, list[pytest.Item]] = {}
    for item in items:
        thinned = getattr(item, "callspec", None) and not item.get_closest_marker("whole_grid")
        if thinned and item.callspec.params.get("xp") == "jax":
            grids.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out = {item for cases in grids.values() if len(cases) > 8 for i, item in enumerate(cases) if i % 4}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=[*(n for n in LIBRARIES if n != "cupy"), pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """Each array library in turn; one that is not installed is skipped with a reason. JAX promotes nothing."""
    library = LIBRARIES[request.param]
    pytest.importorskip(library.namespace_name, exc_type=ImportError)
    if not library.double:
        wanted = set(map(_dtype_of, request.node.callspec.params.values()))
        if wanted & {"float64", "complex128"} or request.node.originalname in _OF_DOUBLE:
            pytest.skip(f"no float64 in {library.name}")
        monkeypatch.setattr(np.testing, "assert_array_equal", _of_single(np.testing.assert_array_equal))
        monkeypatch.setattr(np.testing, "assert_allclose", _in_single(np.testing.assert_allclose, "rtol", "atol"))
        monkeypatch.setattr(pytest, "approx", _in_single(pytest.approx, "rel", "abs"))
    if library.name != "jax":
        yield library
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield library


# Tests that look at float64 beside what they compare.
_OF_DOUBLE = {
    "test_solve_is_the_inverse_and_its_report",
    "test_every_library_gives_the_same_signal",
    "test_a_basis_may_be_of_any_library_that_has_its_values",
}


def _dtype_of(parameter: Any) -> str | None:
    """The name of the dtype that a test has for a parameter."""
    return getattr(parameter, "__name__", parameter if isinstance(parameter, str) else None)


def _of_single(compare: Any) -> Any:
    """A comparison with what is expected in single precision, if that came."""

    def compared(actual: Any, expected: Any, **options: Any) -> Any:
        kind = getattr(actual, "dtype", None)
        return compare(actual, np.asarray(expected).astype(kind) if kind in ("f", "F") else expected, **options)

    return compared


def _in_single(compare: Any, *tolerances: str) -> Any:
    """A comparison whose tolerances are of single precision where they were written for double."""

    def compared(*values: Any, **options: Any) -> Any:
        for name in tolerances:
            if 0 < options.get(name, 0) < 1e-9:
                options[name] *= np.finfo(np.float32).eps / np.finfo(np.float64).eps
        return compare(*values, **options)

    return compared


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261122)
