"""Everything to do on the day that a GPU is at hand, in under 10 minutes: verify, sanitize, time, write it down.

    python benchmarks/gpu.py [--quick]

Runs all tests that need a GPU (step 8 of tests/cuda), compute-sanitizer where it is installed, and event timings of
our ways, torch.istft, cupyx and a large device copy, and writes benchmarks/results/gpu-<card>.md. Where there is no
GPU, it prints the model alone: the bytes that each way must move when every array goes over the memory bus once, and
its launches, by counting; the peers' passes were read in their sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers import MAIN, TINY, Problem
from results import arguments, table, write

import xp_istft as xi

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "cuda" / "test_step8_gpu.py"
SANITIZED = "the_definition or round_trip or captured"
PROBLEMS = (MAIN[0], Problem("64 x 10 s at 16 kHz", 64, 1251, 512, 128))
TILE = 7168  # samples of a block of istft_fused


def passes(problem: Problem) -> dict[str, tuple[float, int]]:
    """Bytes and launches of each way."""
    rows = problem.items * problem.n_frames
    spectrum, segments = 8 * rows * (problem.n_fft // 2 + 1), 4 * rows * problem.n_fft
    signal = 4 * problem.items * problem.n_samples
    halo = 1 + (problem.n_fft - problem.hop) / TILE
    cupyx = 5 * spectrum + 8 * segments + 2 * signal + 4 * signal // problem.items
    return {
        "transpose or copy, cuFFT, overlap_add": (3 * spectrum + 2 * segments + signal, 3),
        "one kernel, ideal": (spectrum + signal, 1),
        "one kernel, edge frames from memory twice": (halo * spectrum + signal, 1),
        "torch.istft": (3 * spectrum + 6 * segments + 5 * signal + 11 * signal // problem.items, 16),
        "cupyx.scipy.signal.istft": (cupyx, 4 * problem.n_frames + 12),
    }


def model(problem: Problem, rate: float | None = None) -> str:
    """The passes as a table; with the bytes a second of a copy, the least microseconds of each."""
    head = ["way (modelled)", "MB", "launches", *(["us at the rate of the copy"] if rate else [])]
    rows: list[list[str | float | None]] = [
        [name, f"{size / 1e6:.0f}", str(launches), *([f"{1e6 * size / rate:.0f}"] if rate else [])]
        for name, (size, launches) in passes(problem).items()
    ]
    return table(head, rows)


def finished(command: list[str], seconds: float) -> tuple[int | None, str]:
    """Exit code (None where it took too long) and output."""
    environment = {**os.environ, "XP_ISTFT_REQUIRE_GPU": "1"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout


def verified() -> list[str]:
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
    code, said = finished(pytest, 240)
    print(said[-3000:])
    lines = [f"- tests that need a GPU: {said.strip().splitlines()[-1] if said.strip() else f'no answer, {code}'}"]
    program = shutil.which("compute-sanitizer")
    for tool in ("memcheck", "racecheck"):
        found = "not run: compute-sanitizer is not installed"
        if program:
            command = [program, "--tool", tool, "--error-exitcode", "9", *pytest, "-x", "-k", SANITIZED]
            code, said = finished(command, 120)
            summary = " ".join(line.strip("= ") for line in said.splitlines() if "SUMMARY" in line)
            found = "stopped after 120 s" if code is None else f"exit {code}; {summary}"
        lines.append(f"- compute-sanitizer {tool}: {found}")
    return lines


def timed(cupy: Any, call: Callable[[], Any], repeats: int) -> float:
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


def contenders(cupy: Any, problem: Problem) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each makes the call that is timed, or raises where it cannot. Spectra lie frame by frame where not said."""
    n_fft, hop = problem.n_fft, problem.hop
    x = cupy.asarray(problem.signal())
    by_frame = xi.stft(x, n_fft=n_fft, hop_length=hop)
    by_bin = cupy.ascontiguousarray(by_frame)

    def ours(engine: str, X: Any) -> Callable[[], Any]:
        def call() -> Any:
            xi.set_gpu_engine(engine)
            return xi.istft(X, hop_length=hop)

        return call

    def torchs() -> Callable[[], Any]:
        import torch

        X, window = torch.from_dlpack(by_frame), torch.hann_window(n_fft, device="cuda")
        return lambda: torch.istft(X, n_fft, hop, window=window)

    def cupyxs() -> Callable[[], Any]:
        from cupyx.scipy.signal import istft

        return lambda: istft(by_bin, nperseg=n_fft, noverlap=n_fft - hop)

    return {
        "transpose, cuFFT, overlap_add (bin by bin)": lambda: ours("cufft", by_bin),
        "copy_rows, cuFFT, overlap_add": lambda: ours("cufft", by_frame),
        "one kernel": lambda: ours("fused", by_frame),
        "one kernel (bin by bin)": lambda: ours("fused", by_bin),
        "stft": lambda: lambda: xi.stft(x, n_fft=n_fft, hop_length=hop),
        "torch.istft": torchs,
        "cupyx.scipy.signal.istft": cupyxs,
    }


def timings(cupy: Any, problem: Problem, rate: float, repeats: int) -> tuple[str, ...]:
    rows: list[list[str | float | None]] = []
    for name, made in contenders(cupy, problem).items():
        try:
            rows.append([name, f"{timed(cupy, made(), 3 if name.startswith('cupyx') else repeats):.0f}"])
        except Exception as cause:  # the others are timed all the same
            rows.append([name, f"failed: {type(cause).__name__}: {str(cause)[:120]}"])
    xi.set_gpu_engine("cufft")
    return (f"## {problem}", table(["call", "median, us"], rows), model(problem, rate))


def main() -> None:
    chosen = arguments(__doc__).parse_args()
    problems = (TINY,) if chosen.quick else PROBLEMS
    try:
        import cupy

        card = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    except Exception as cause:  # no CuPy, no driver, no device
        print(f"no GPU: {cause}", *(f"{problem}\n\n{model(problem)}" for problem in problems), sep="\n\n")
        return
    source = cupy.zeros(1 << (20 if chosen.quick else 28), np.float32)
    target = cupy.empty_like(source)
    rate = 2 * source.nbytes / (1e-6 * timed(cupy, lambda: cupy.copyto(target, source), 20))
    runtime = cupy.cuda.runtime
    write(
        __file__,
        chosen.output,
        card,
        f"CUDA runtime {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}. "
        f"Large device copy: {rate / 1e9:.0f} GB/s (read and written).",
        "\n".join(verified()),
        *(part for problem in problems for part in timings(cupy, problem, rate, 5 if chosen.quick else 50)),
        suffix=f"-{card.lower().replace(' ', '-').replace('/', '-')}",
    )


if __name__ == "__main__":
    main()
