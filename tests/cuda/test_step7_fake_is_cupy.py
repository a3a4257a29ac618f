"""Step 7: what the fake CuPy has, the real one has, too, under the same names and with the same arguments."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from emulator.fake_cupy import FakeCupy

cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
if isinstance(cupy.ndarray, type) and cupy.ndarray.__module__ != "cupy":
    pytest.skip("CuPy is a stand-in here", allow_module_level=True)

FAKE = FakeCupy(lambda code, options: None)


def public(namespace: dict) -> list[str]:
    return [name for name in namespace if not name.startswith("_")]


def test_names_of_the_module_and_of_cuda():
    assert [name for name in public(vars(FAKE.modules["cupy"])) if not hasattr(cupy, name)] == []
    names = [name for name in public(vars(FAKE.modules["cupy.cuda"])) if name != "cufft"]
    assert [name for name in names if not hasattr(cupy.cuda, name)] == []


def test_names_of_arrays():
    ours = {"memory", "fake", "host", "block", "of"}  # the fake's own
    names = set(public(vars(FAKE.ndarray.__mro__[1]))) - ours
    assert {name for name in names if not hasattr(cupy.ndarray, name)} == set()


@pytest.mark.parametrize("name", ["Stream", "Device"])
def test_names_of_streams_and_devices(name):
    cuda = FAKE.modules["cupy.cuda"]
    kind = cuda.Stream if name == "Stream" else type(cuda.Device(0))
    names = [each for cls in kind.__mro__[:-1] for each in public(vars(cls)) if each != "fake"]
    assert [each for each in names if not hasattr(getattr(cupy.cuda, name), each)] == []


def test_plans_take_the_same_arguments():
    """By the wheel's own source: the module itself wants libcufft, which the bare wheel has not."""
    folder = Path(cupy.__file__).parent / "cuda"
    source = (folder / "cufft.pyx").read_text()
    assert re.search(r"cdef class Plan1d:\s+def __init__\(self, int nx, int fft_type, int batch, \*", source)
    assert re.search(r"def fft\(self, a, out, direction\):", source)
    enumeration = (folder / "cufft.pxd").read_text() + source
    for name in public(vars(FAKE.modules["cupy.cuda.cufft"])):
        assert re.search(rf"\b{name}\b", enumeration), name


def test_kernels_and_modules_take_the_same_arguments():
    documented = (cupy.RawModule.__doc__ or "") + (cupy.RawKernel.__call__.__doc__ or "")
    for argument in ("code=None", "options=()", "grid", "block", "args"):
        assert argument in documented
    signature = inspect.signature(FAKE.modules["cupy"].RawModule)
    assert set(signature.parameters) == {"code", "options"}


def test_names_of_what_decides_the_occupancy():
    for name in FAKE.modules["cupy.cuda"].Device(0).attributes:
        assert hasattr(cupy.cuda.runtime, f"cudaDevAttr{name}")
    for name in ("num_regs", "shared_size_bytes"):
        assert hasattr(cupy.RawKernel, name)


def test_streams_speak_the_stream_protocol():
    assert "__cuda_stream__" in cupy.cuda.Stream.from_external.__doc__
