"""Memory that istft takes beyond its input and output, for an hour of audio: one process for each contender (Linux).

    python benchmarks/memory.py [--minutes 60]

writes benchmarks/results/memory-<machine>.md, which cpu.py puts into its own result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from cpu import machine
from peers import Problem, inverse_peers, ours

CONTENDERS = ("xp_istft", "xp_istft, mkl", "torch", "librosa", "scipy.signal", "ShortTimeFFT", "auvux-dsp")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def measure(name: str, order: str, minutes: float) -> dict[str, float]:
    """Bytes beyond input and output at the peak of one call, in this process."""
    warnings.simplefilter("ignore")

    def made(problem: Problem) -> tuple[np.ndarray, object]:
        X = problem.spectrum(order)
        if name.startswith("xp_istft"):
            return X, ours(problem, X, 2, "mkl" if name.endswith("mkl") else "auto")
        return X, inverse_peers(problem, X, 2, (name,))[name]

    _, warm = made(Problem("warm", 1, 400, 1024, 256))
    warm()
    X = Problem("long", 1, 1 + int(minutes * 60 * 16000) // 256, 1024, 256)
    problem, X = X, X.spectrum(order)
    run = ours(problem, X, 2, "mkl" if name.endswith("mkl") else "auto") if name.startswith("xp") else None
    if run is None:
        run = inverse_peers(problem, X, 2, (name,), trial=False)[name]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _status("VmRSS")
    result = run()
    peak = _status("VmHWM")
    results = result if isinstance(result, tuple) else (result,)
    out = sum(int(np.asarray(each).nbytes) for each in results)
    return {"input": X.nbytes, "output": out, "beyond": peak - before - out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--child", nargs=2, metavar=("NAME", "ORDER"))
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measure(*chosen.child, chosen.minutes)))
        return
    rows = []
    for name in CONTENDERS:
        row = [name]
        for order in "FC":
            command = [sys.executable, __file__, "--minutes", str(chosen.minutes), "--child", name, order]
            child = subprocess.run(command, capture_output=True, text=True, check=False)
            if child.returncode:
                print(name, order, child.stderr.strip().splitlines()[-1:])
                row += ["-"]
                continue
            found = json.loads(child.stdout.splitlines()[-1])
            print(name, order, found, flush=True)
            row += [f"{found['beyond'] / 1e6:.1f}"]
            output = found["output"] / 1e6
            size = found["input"] / 1e6
        rows.append([*row, f"{output:.0f}"])
    lines = [
        f"## Memory of istft for {chosen.minutes:g} minutes of audio",
        "",
        f"Megabytes at the peak of one call beyond its input ({size:.0f}) and its output; 16 kHz, 1024/256, 2 threads. "
        "Buffers that a contender keeps from one call to the next were there before.",
        "",
        "| | F | C | output |",
        "| --- | --- | --- | --- |",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    (Path(__file__).parent / "results" / f"memory-{machine()}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
