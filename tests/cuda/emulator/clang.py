"""clang 14 as a second compiler beside NVRTC: CUDA C++ to PTX, with no GPU, no driver and none of CUDA's headers.

The variable XP_ISTFT_CLANG names it where it is not on the path. Later versions emit PTX that `ptx` does not read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

OPTIONS = (
    "-x", "cuda", "--cuda-device-only", "-nocudainc", "-nocudalib", "-S", "-O3", "-std=c++17",
    "-ffp-contract=fast", "-fcuda-flush-denormals-to-zero", "-Wno-unknown-cuda-version",
    "-Xclang", "-target-feature", "-Xclang", "+ptx75",
)  # fmt: skip
HEADER = """
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __host__ __attribute__((host))
#define __shared__ __attribute__((shared))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __align__(size) __attribute__((aligned(size)))
struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
#include <__clang_cuda_builtin_vars.h>
template <class T> __device__ T min(T a, T b) { return b < a ? b : a; }
template <class T> __device__ T max(T a, T b) { return a < b ? b : a; }
__device__ inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
"""


@cache
def program() -> str | None:
    for name in filter(None, (os.environ.get("XP_ISTFT_CLANG"), "clang-14", "clang")):
        found = shutil.which(name)
        if found and " version 14." in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:
            return found
    return None


def missing() -> str | None:
    """Why nothing can be compiled here, or None."""
    return None if program() else "clang 14 is not installed"


def compiled(code: str, options: tuple[str, ...], architecture: str, cache: Path) -> str:
    """PTX for an architecture "sm_80"."""
    chosen = (str(program()), *OPTIONS, f"--cuda-gpu-arch={architecture}", *options)
    kept = cache / f"{hashlib.sha256(chr(0).join([HEADER, code, *chosen]).encode()).hexdigest()[:24]}.clang.ptx"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            source, made = Path(folder, "kernel.cu"), Path(folder, "kernel.ptx")
            source.write_text(f'{HEADER}#line 1 "kernel.cu"\n{code}')
            done = subprocess.run([*chosen, str(source), "-o", str(made)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"clang, with {' '.join(options)}:\n{done.stderr}")
            made.replace(kept)
    return kept.read_text()
