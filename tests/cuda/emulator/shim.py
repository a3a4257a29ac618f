"""CUDA kernels, compiled by g++ and run on NumPy arrays: a stand-in for cupy.RawModule that checks more than CuPy.

    ShimModule(code=source, options=("-DXI_VECTOR=4",), cache=folder).get_function(name)(grid, block, arguments)

Scalars are packed by CuPy's rules (Python int -> int64, float -> float64, NumPy scalars as they are) and, unlike in
CuPy, held against the kernel's C++ signature.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).with_name("shim.h")
MAX_THREADS, MAX_GRID = 1024, (2**31 - 1, 65535, 65535)
ORDERS = ("forward", "reverse", "shuffled")
_FLAGS = ("-std=c++17", "-O1", "-mfma", "-ffp-contract=fast", "-fPIC", "-shared", "-Wall", "-Wno-unknown-pragmas")
_ALIGNED = ("-fsanitize=alignment", "-Wl,-Bsymbolic")  # reports to a function of the shim
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g")


def missing() -> str | None:
    """Why the shim cannot run here, or None."""
    return None if shutil.which("g++") else "g++ is not installed"


class ShimModule:
    """Kernels of one source, for one set of macros. `order` and `seed` say in which order the threads run."""

    def __init__(
        self,
        *,
        code: str,
        options: tuple[str, ...] = (),
        cache: Path,
        sanitize: bool = False,
        order: str = "forward",
        seed: int = 1,
    ) -> None:
        self.names = re.findall(r'extern "C" __global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(\w+)\(', code)
        source = f'#include "{HEADER.name}"\n#line 1 "kernel.cu"\n{code}\n'
        for name in self.names:
            source += (
                f'extern "C" bool run_{name}(const unsigned* shape, void** arguments, int order, unsigned seed)'
                f" {{ return shim::launch({name}, shape, arguments, order, seed); }}\n"
                f'extern "C" const char* signature_{name}()'
                f" {{ return shim::signature({name}); }}\n"
            )
        macros = [option for option in options if option.startswith("-D")]
        flags = [*_FLAGS, *(_SANITIZE if sanitize else _ALIGNED), f"-I{HEADER.parent}", *macros]
        self.library = ctypes.CDLL(str(_compiled(source, flags, cache)))
        self.order, self.seed = order, seed

    def get_function(self, name: str) -> ShimKernel:
        return ShimKernel(self, name)


class ShimKernel:
    """One kernel, called as cupy.RawKernel is."""

    def __init__(self, module: ShimModule, name: str) -> None:
        self.module, self.name = module, name
        self._run = getattr(module.library, f"run_{name}")
        self._run.restype = ctypes.c_bool
        signature = getattr(module.library, f"signature_{name}")
        signature.restype = ctypes.c_char_p
        self.signature = signature().decode().split()

    def __call__(
        self,
        grid: tuple,
        block: tuple,
        arguments: tuple,
        *,
        shared_mem: int = 0,
        only: tuple[int, int] = (2**32 - 1, 0),
    ) -> None:
        """`only` : the block (x, y) of the grid that runs alone."""
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        if np.prod(block) > MAX_THREADS or any(size > most for size, most in zip(grid, MAX_GRID, strict=True)):
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: grid {grid}, block {block}")
        grid = tuple(max(1, int(size)) for size in grid)  # as CuPy: an empty grid still launches
        if len(arguments) != len(self.signature):
            raise TypeError(f"{self.name}: {len(arguments)} arguments for {len(self.signature)} parameters")
        packed = [packed_argument(argument) for argument in arguments]
        for place, ((kind, _), want) in enumerate(zip(packed, self.signature, strict=True)):
            if kind != want:
                raise TypeError(f"{self.name}: argument {place} is {kind}, the kernel wants {want}")
        pointers = (ctypes.c_void_p * len(packed))(*(value.ctypes.data for _, value in packed))
        shape = (ctypes.c_uint * 8)(*grid, *block, *only)
        if not self._run(shape, pointers, ORDERS.index(self.module.order), self.module.seed):
            raise RuntimeError(f"CUDA_ERROR_MISALIGNED_ADDRESS: {self.name}")


def packed_argument(argument: Any) -> tuple[str, np.ndarray]:
    """Kind and size ("p8", "i4", ...) and bytes of an argument, by CuPy's rules."""
    if isinstance(argument, np.ndarray) and argument.ndim:
        return "p8", np.array(argument.ctypes.data, np.uint64)
    value = np.array(argument, {bool: np.bool_, int: np.int64, float: np.float64}.get(type(argument)))
    return {"b": "u", "i": "i", "u": "u", "f": "f"}[value.dtype.kind] + str(value.dtype.itemsize), value


def sanitizer_environment() -> dict[str, str]:
    """Environment in which a Python process can load sanitized modules."""
    libraries = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:detect_odr_violation=0",
        "PYTHONMALLOC": "malloc",  # NumPy arrays too small for their own mapping are guarded as well
    }


def _compiled(source: str, flags: list[str], cache: Path) -> Path:
    """The shared library of `source`, from the cache; safe when several processes ask at once."""
    text = "\0".join([source, HEADER.read_text(), *flags])
    library = cache / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.so"
    if not library.exists():
        mine = cache / f"{library.stem}.{os.getpid()}"
        code = mine.with_suffix(f"{mine.suffix}.cpp")
        code.write_text(source)
        command = ["g++", *flags, str(code), "-o", str(mine)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
        if result.returncode:
            raise RuntimeError(result.stderr)
        mine.replace(library)
    return library
