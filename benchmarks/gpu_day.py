"""Everything to do on the day that a GPU is at hand, in under 10 minutes: verify, sanitize, time, write it down.

    python benchmarks/gpu_day.py [--quick]

Runs all tests that need a GPU (step 8 of tests/cuda), compute-sanitizer where it is installed, and event timings of
our ways, torch.istft, cupyx and a large device copy, and writes benchmarks/results/gpu-<card>.md.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from gpu_model import CASES, Problem, ways

import xp_istft as xi

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "cuda" / "test_step8_gpu.py"
SANITIZED = "the_definition or round_trip or captured"


def tests() -> str:
    environment = {**os.environ, "XP_ISTFT_REQUIRE_GPU": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT, timeout=240)
    print(done.stdout[-3000:])
    return done.stdout.strip().splitlines()[-1]


def sanitized(tool: str) -> str:
    program = shutil.which("compute-sanitizer")
    if program is None:
        return "not run: compute-sanitizer is not installed"
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "pytest", "-q", "-x"]
    command += ["-p", "no:cacheprovider", str(TESTS), "-k", SANITIZED]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    except subprocess.TimeoutExpired:
        return "stopped after 120 s"
    summary = [line for line in done.stdout.splitlines() if "ERROR SUMMARY" in line or "RACECHECK SUMMARY" in line]
    return f"exit {done.returncode}; {' '.join(summary).replace('=', '').strip()}"


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Median of `repeats` calls in microseconds, by device events, after three calls to warm up."""
    for _ in range(3):
        call()
    spans = []
    for _ in range(repeats):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        spans.append(1e3 * cupy.cuda.get_elapsed_time(start, stop))
    return float(np.median(spans))


def calls(problem: Problem) -> dict[str, Callable[[], Any]]:
    """What is timed. Spectra are in frame-major memory, as torch.stft and our stft make them, but for the first."""
    n_fft, hop, length = problem.n_fft, problem.hop, problem.n_samples
    x = cupy.random.default_rng(0).standard_normal((problem.n_batch, length), dtype=np.float32)
    by_frame = xi.stft(x, n_fft=n_fft, hop_length=hop)
    by_bin = cupy.ascontiguousarray(by_frame)

    def by(engine: str, X: Any) -> Callable[[], Any]:
        def call() -> Any:
            xi.set_gpu_engine(engine)
            return xi.istft(X, hop_length=hop, length=length)

        return call

    found: dict[str, Callable[[], Any]] = {
        "transpose, cuFFT, overlap_add": by("cufft", by_bin),
        "copy_rows, cuFFT, overlap_add": by("cufft", by_frame),
        "one kernel, frame-major": by("fused", by_frame),
        "one kernel, frequency-major": by("fused", by_bin),
        "stft": lambda: xi.stft(x, n_fft=n_fft, hop_length=hop),
    }
    try:
        import torch

        spectrum = torch.from_dlpack(by_frame)
        window = torch.hann_window(n_fft, device="cuda")
        found["torch.istft"] = lambda: torch.istft(spectrum, n_fft, hop, window=window, length=length)
    except Exception as cause:
        print(f"torch is not timed: {cause}")
    try:
        from cupyx.scipy.signal import istft

        found["cupyx.scipy.signal.istft"] = lambda: istft(by_bin, nperseg=n_fft, noverlap=n_fft - hop)
    except Exception as cause:
        print(f"cupyx is not timed: {cause}")
    return found


def copy_rate() -> float:
    """Bytes a second of a large copy on the device: read and written."""
    source = cupy.zeros(1 << 28, np.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / (timed(lambda: cupy.copyto(target, source), 20) * 1e-6)


def timings(repeats: int) -> str:
    rate = copy_rate()
    lines = [f"Large device copy: {rate / 1e9:.0f} GB/s (read and written).", ""]
    for name, sizes in CASES.items():
        problem = Problem(*sizes)
        modelled = {way.name: way.n_bytes / rate * 1e6 for way in ways(problem)}
        lines += [f"## {name}, n_fft {problem.n_fft}, hop {problem.hop}", "", "| call | median, us |", "|---|---|"]
        for what, call in calls(problem).items():
            try:
                lines.append(f"| {what} | {timed(call, 3 if what.startswith('cupyx') else repeats):.0f} |")
            except Exception as cause:
                lines.append(f"| {what} | failed: {type(cause).__name__}: {str(cause)[:120]} |")
        lines += ["", "Bandwidth floors at that copy rate (modelled, us):", ""]
        lines += [f"- {what}: {floor:.0f}" for what, floor in modelled.items()] + [""]
    return "\n".join(lines)


def main() -> None:
    began = time.monotonic()
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    card = properties["name"].decode()
    report = [
        f"# {card}",
        "",
        f"{date.today()}; CuPy {cupy.__version__}, CUDA runtime {cupy.cuda.runtime.runtimeGetVersion()}, "
        f"driver {cupy.cuda.runtime.driverGetVersion()}, Python {platform.python_version()}, "
        f"xp_istft {xi.__version__}.",
        "",
        f"- tests that need a GPU: {tests()}",
        *(f"- compute-sanitizer {tool}: {sanitized(tool)}" for tool in ("memcheck", "racecheck")),
        "",
        timings(10 if "--quick" in sys.argv else 50),
    ]
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    name = card.lower().replace(" ", "-").replace("/", "-")
    (folder / f"gpu-{name}.md").write_text("\n".join(report) + "\n")
    print("\n".join(report))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
