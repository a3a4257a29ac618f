"""NVRTC without a driver and without a GPU: CUDA C++ to PTX or to machine code, and what the machine code needs.

Uses the wheels nvidia-cuda-nvrtc, nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm through ctypes and subprocesses.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

# What CuPy adds to the options of every RawModule.
CUPY_OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")


class Resources(NamedTuple):
    """What one kernel takes: registers of a thread, bytes of its stack, bytes of shared memory of a block."""

    registers: int
    stack: int
    shared: int


class Operation(NamedTuple):
    """One instruction of machine code ("LDG.E.128.CONSTANT"), and the place that it branches to."""

    name: str
    target: int | None


def missing(compiler_only: bool = False, program: str = "cuobjdump") -> str | None:
    """Why nothing can be compiled (or, unless `compiler_only`, taken apart by `program`) here, or None."""
    if _wheel_file("lib", "libnvrtc.so*") is None:
        return "nvidia-cuda-nvrtc is not installed"
    if not compiler_only and _wheel_file("bin", program) is None:
        return f"nvidia-cuda-{program} is not installed"
    return None


def compiled(code: str, options: tuple[str, ...], architecture: str, cache: Path) -> bytes:
    """Machine code for an architecture "sm_90", PTX for "compute_90"."""
    chosen = (*CUPY_OPTIONS, *options, f"-arch={architecture}")
    text = "\0".join([code, *chosen, str(_wheel_file("lib", "libnvrtc.so*"))])
    kept = cache / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.{architecture}"
    if kept.exists():
        return kept.read_bytes()
    made = _compile(code, chosen, "CUBIN" if architecture.startswith("sm_") else "PTX")
    mine = kept.with_name(f"{kept.name}.{os.getpid()}")
    mine.write_bytes(made)
    mine.replace(kept)
    return made


def resources(cubin: bytes) -> dict[str, Resources]:
    """Kernel name -> what it takes, by cuobjdump."""
    text = _taken_apart(cubin, "cuobjdump", "--dump-resource-usage")
    found = {}
    for name, line in re.findall(r"Function (\S+):\s*\n\s*(.*)", text):
        value = {key: int(number) for key, number in re.findall(r"(\w+):(\d+)", line)}
        found[name] = Resources(value["REG"], value["STACK"], value["SHARED"])
    return found


def operations(cubin: bytes) -> list[Operation]:
    """The machine code in its order, by nvdisasm, without the padding at its end."""
    labels: dict[str, int] = {}
    found: list[tuple[str, str]] = []
    for line in _taken_apart(cubin, "nvdisasm").splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(found)
        elif code := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*)", line):
            target = re.search(r"\.L_x_\d+", code[2]) if code[1].startswith("BRA") else None
            if code[1] != "NOP":
                found.append((code[1], target[0] if target else ""))
    return [Operation(name, labels.get(target)) for name, target in found]


def _taken_apart(cubin: bytes, program: str, *options: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(_wheel_file("bin", program)), *options, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _wheel_file(folder: str, pattern: str) -> Path | None:
    """A file of NVIDIA's wheels: nvidia/<any>/<folder>/<pattern>."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        found = sorted(Path(root).glob(f"*/{folder}/{pattern}"))
        if found:
            return found[0]
    return None


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    path = _wheel_file("lib", "libnvrtc.so*")
    assert path is not None, missing()
    for builtins in path.parent.glob("libnvrtc-builtins.so*"):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(path))


def _compile(code: str, options: tuple[str, ...], product: str) -> bytes:
    library, program = _library(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None)
    try:
        encoded = [option.encode() for option in options]
        failed = library.nvrtcCompileProgram(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
        if failed:
            raise RuntimeError(f"NVRTC, with {' '.join(options)}:\n{_product(program, 'ProgramLog').decode()}")
        return _product(program, product)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _product(program: ctypes.c_void_p, name: str) -> bytes:
    library, size = _library(), ctypes.c_size_t()
    getattr(library, f"nvrtcGet{name}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    if getattr(library, f"nvrtcGet{name}")(program, buffer):
        raise RuntimeError(f"NVRTC made no {name}")
    return buffer.raw.rstrip(b"\0") if name == "ProgramLog" else buffer.raw
