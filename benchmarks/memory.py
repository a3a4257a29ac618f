"""Memory that istft takes beyond its input and output, for an hour of audio: one process for each contender (Linux).

    python benchmarks/memory.py [--minutes 60]

writes benchmarks/results/memory-<machine>.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from peers import Problem, ready
from results import arguments, machine, status, table, write

CONTENDERS = ("xp_istft", "xp_istft, mkl", "torch", "librosa", "scipy.signal", "ShortTimeFFT", "auvux-dsp")


def measured(name: str, order: str, minutes: float) -> dict[str, float]:
    """Megabytes of the input, of the output, and beyond both at the peak of one call, in this process."""
    warm = Problem("warm", 1, 400, 1024, 256)
    ready("istft", warm, warm.spectrum(order), 2, (name,))
    long = Problem("long", 1, 1 + int(minutes * 60 * 16000) // 256, 1024, 256)
    X = long.spectrum(order)
    runs, absent = ready("istft", long, X, 2, (name,), trial=False)
    if absent:
        sys.exit(absent[name])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = status("VmRSS")
    result = runs[name]()
    peak = status("VmHWM")
    output = sum(np.asarray(each).nbytes for each in (result if isinstance(result, tuple) else (result,)))
    return {"input": X.nbytes / 1e6, "output": output / 1e6, "beyond": (peak - before - output) / 1e6}


def main() -> None:
    parser = arguments(__doc__, minutes=60.0)
    parser.add_argument("--child", nargs=2, metavar=("NAME", "ORDER"))
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measured(*chosen.child, chosen.minutes)))
        return
    minutes = 0.5 if chosen.quick else chosen.minutes
    rows: list[list[str | float | None]] = []
    found = {"input": 0.0}
    for name in CONTENDERS[:1] if chosen.quick else CONTENDERS:
        beyond: list[float] = []
        for order in "FC":
            command = [sys.executable, __file__, "--minutes", str(minutes), "--child", name, order]
            child = subprocess.run(command, capture_output=True, text=True, check=False)
            if child.returncode:
                print(name, order, *child.stderr.splitlines()[-1:])
                break
            found = json.loads(child.stdout)
            beyond.append(found["beyond"])
        else:
            rows.append([name, *(f"{each:.1f}" for each in beyond), f"{found['output']:.0f}"])
    write(
        __file__,
        chosen.output,
        f"Memory of istft for {minutes:g} minutes of audio",
        f"Megabytes at the peak of one call beyond its input ({found['input']:.0f}) and its output; 16 kHz, 1024/256, "
        "2 threads. Buffers that a contender keeps from one call to the next were there before.",
        table(["", "F", "C", "output"], rows),
        suffix=f"-{machine()}",
    )


if __name__ == "__main__":
    main()
