"""What the steps of the ladder share: kernels built once per session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator import nvrtc, ptx, shim
from emulator.fake_cupy import FakeCupy
from kernels import options, source

from xp_istft import gpu_engine


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of compiled kernels, shared by the workers of one session; by several, where XP_ISTFT_BUILDS names it."""
    if "XP_ISTFT_BUILDS" in os.environ:
        return Path(os.environ["XP_ISTFT_BUILDS"])
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root) / "kernels"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def on_cpu(builds: Path) -> Callable[..., Any]:
    """on_cpu(name, **macros): the kernel of that name, built by g++."""
    if shim.missing():
        pytest.skip(f"{shim.missing()}")

    @cache
    def module(name: str, chosen: tuple[str, ...]) -> shim.ShimModule:
        sanitize = os.environ.get("XP_ISTFT_SANITIZE") == "1"  # step 5
        return shim.ShimModule(code=source(name), options=chosen, cache=builds, sanitize=sanitize)

    return lambda name, **macros: module(name, options(macros)).get_function(name)


@pytest.fixture(scope="session")
def as_ptx(builds: Path) -> Callable[..., Any]:
    """as_ptx(name, architecture="compute_90", **macros): the kernel of that name, as NVRTC compiles it."""
    if nvrtc.missing(compiler_only=True):
        pytest.skip(f"{nvrtc.missing(compiler_only=True)}")

    def kernel(name: str, architecture: str = "compute_90", **macros: Any) -> Any:
        text = nvrtc.compiled(source(name), options(macros), architecture, builds).decode()
        return ptx.PtxModule(text).get_function(name)

    return kernel


@pytest.fixture
def fake(builds: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupy]:
    """A fake CuPy under `import cupy`, its kernels built by g++, and the package's backend loaded on top of it."""
    with installed(builds, monkeypatch) as fake:
        yield fake


@pytest.fixture(scope="module")
def lasting_fake(builds: Path) -> Iterator[FakeCupy]:
    """The same for all tests of a module, which look at results alone."""
    with pytest.MonkeyPatch.context() as monkeypatch, installed(builds, monkeypatch) as fake:
        yield fake


@contextmanager
def installed(builds: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupy]:
    if shim.missing():
        pytest.skip(f"{shim.missing()}")
    fake = FakeCupy(lambda code, chosen: shim.ShimModule(code=code, options=chosen, cache=builds))
    with fake.installed(monkeypatch, "xp_istft.backends.cupy", "xp_istft.backends.cuda.calls"):
        yield fake


@pytest.fixture
def fused() -> Iterator[None]:
    """The fused kernel wherever it can serve."""
    with gpu_engine("fused"):
        yield


@pytest.fixture
def random(request: pytest.FixtureRequest) -> np.random.Generator:
    """Numbers of this test's own: the same in every run."""
    return np.random.default_rng(list(request.node.name.encode()))
