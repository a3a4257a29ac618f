"""The day of a card: all that only a GPU can show, by one command, in nine minutes.

    python benchmarks/gpu_day.py [--dry] [--seconds 530] [--output FOLDER]

Steps run in the order of what they tell, each in a process and a box of seconds of its own; one that is late is ended,
and the next begins. Each writes a file into FOLDER, and `summary.txt` says how each ended: exit 0 where all ended well.

It needs CuPy with cuFFT, NumPy, SciPy and pytest; torch, JAX, pytest-xdist, ncu and compute-sanitizer serve where they
are. A machine that lacks array-api-compat and cannot install it takes its wheel from `wheels/` beside this folder:
`pip download --no-deps -d wheels array-api-compat`.

--dry rehearses where there is no GPU: every step starts, on small problems and a fake CuPy, and tests are collected
alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LEAST = 8  # seconds: with fewer left a step does not begin
FACTS = (
    ("nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,clocks.mem,memory.total,compute_cap", "--format=csv"),
    ("nvcc", "--version"),
    ("ncu", "--version"),
    ("compute-sanitizer", "--version"),
    ("uname", "-r"),
)
SECTIONS = ("SpeedOfLight", "Occupancy", "LaunchStats", "WarpStateStats", "MemoryWorkloadAnalysis")
METRICS = (
    "gpu__time_duration.sum",
    "smsp__inst_executed.sum",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",
)
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


class Step(NamedTuple):
    """What is run; in a dry run as if the program that it `needs`, which leads the command, were not there."""

    file: str
    seconds: int
    command: list[str]
    needs: tuple[str, ...] = ()


def steps(dry: bool) -> list[Step]:
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "-m", "gpu"]
    pytest += ["--collect-only"] if dry else ["-n", "8"] if find_spec("xdist") else []
    fixture = ["tests/test_edges.py"] if dry else ["tests", "--ignore=tests/cuda", "--continue-on-collection-errors"]
    ours = [sys.executable, str(ROOT / "benchmarks" / "gpu_steps.py"), *(["--dry"] if dry else [])]
    ncu = ("ncu", "--clock-control", "none", "--profile-from-start", "off", "--csv", "--page", "details")
    for section in SECTIONS:
        ncu += ("--section", section)
    ncu += ("--metrics", ",".join(METRICS))
    sanitizer = ("compute-sanitizer", "--print-limit", "10", "--error-exitcode", "9", "--tool")
    return [
        Step("versions.txt", 60, [*ours, "versions"]),
        Step("tests.txt", 110, [*pytest, "tests/cuda/test_step8_gpu.py"]),
        Step("checks.txt", 110, [*ours, "checks"]),
        Step("times.md", 100, [*ours, "times"]),
        Step("tests_of_every_library.txt", 100, [*pytest, *fixture]),
        Step("ncu.csv", 75, [*ours, "profile"], ncu),
        *(Step(f"{tool}.txt", 45, [*ours, "small"], (*sanitizer, tool)) for tool in (TOOLS[:1] if dry else TOOLS)),
    ]


def environment(dry: bool, folder: str) -> dict[str, str]:
    """Of every step: this tree and the wheels that were carried first, and a card that JAX leaves to the others."""
    known = os.environ.get("PYTHONPATH", "")
    paths = [str(ROOT), *map(str, sorted(ROOT.glob("wheels/*.whl"))), *filter(None, [known])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XP_ISTFT_REQUIRE_GPU": "0" if dry else "1",
        "GPU_DAY_FOLDER": folder,
    }


def finished(command: list[str], seconds: float, file: Path, variables: dict[str, str]) -> int | None:
    """Exit code, or None where the command was late and was ended with all that it had started; it speaks to `file`."""
    with file.open("a") as said:
        said.write(f"$ {' '.join(command)}\n")
        said.flush()
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT, env=variables, start_new_session=True
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def outcome(file: Path) -> str:
    """The last of its lines that sums up."""
    words = ("passed", "failed", "collected", "error", "checks", "ERROR SUMMARY", "agree")
    lines = [line.strip("= ") for line in file.read_text(errors="replace").splitlines() if not line.startswith("$ ")]
    return next((line[:200] for line in reversed(lines) if any(word in line for word in words)), "")


def facts() -> str:
    lines = []
    for command in FACTS:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
            lines.append(f"{command[0]}: {' / '.join((done.stdout or done.stderr).strip().splitlines()[-2:])}")
        except (OSError, subprocess.TimeoutExpired) as cause:
            lines.append(f"{command[0]}: {type(cause).__name__}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="rehearse without a GPU")
    parser.add_argument("--seconds", type=float, default=530, help="of all steps together, 10 times that if dry [530]")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "gpu_day", help="folder")
    chosen = parser.parse_args()
    began = time.monotonic()
    chosen.output.mkdir(parents=True, exist_ok=True)
    summary = chosen.output / "summary.txt"
    for name in (summary.name, *(step.file for step in steps(dry=False))):
        (chosen.output / name).unlink(missing_ok=True)

    def say(text: str) -> None:
        print(text, flush=True)
        with summary.open("a") as file:
            file.write(f"{text}\n")

    say(facts())
    well, patience = True, 10 if chosen.dry else 1  # a rehearsal may have half a busy core
    with tempfile.TemporaryDirectory() as folder:
        for step in steps(chosen.dry):
            now = time.monotonic()
            box = min(patience * step.seconds, patience * chosen.seconds - (now - began))
            absent = step.needs and not chosen.dry and not shutil.which(step.needs[0])
            if box < LEAST or absent:
                say(f"{step.file}: NOT RUN, {f'no {step.needs[0]}' if absent else 'no time is left'}")
                well = False
                continue
            command = [*(() if chosen.dry else step.needs), *step.command]
            variables = {**environment(chosen.dry, folder), "GPU_DAY_SECONDS": str(box - LEAST)}
            code = finished(command, box, chosen.output / step.file, variables)
            end = time.monotonic()
            ended = "LATE, ended" if code is None else f"exit {code}"
            say(f"{step.file}: {ended} after {end - now:.0f} of {box:.0f} s: {outcome(chosen.output / step.file)}")
            well &= code == 0
    say(f"{time.monotonic() - began:.0f} s in all")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
