"""Where figures go: a Markdown page for each script, with the machine and the versions that made them."""

from __future__ import annotations

import argparse
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
PACKAGES = (
    "numpy",
    "scipy",
    "ducc0",
    "mkl_fft",
    "torch",
    "librosa",
    "nnAudio",
    "jax",
    "auvux-dsp",
    "dask",
    "zarr",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


def arguments(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The options of every script: --quick, --output, and a number for each default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest problems: does it run?")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the page that is written")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"[{value}]")
    return parser


def machine() -> str:
    """The model of the CPU, as a file name."""
    model = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text()
        fields = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
        model = " ".join((fields["model name"], "family", fields["cpu family"], "model", fields["model"]))
    except (OSError, KeyError):
        pass
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")


def versions(*names: str) -> str:
    """Of these distributions, of those that are installed."""
    found = []
    for name in names or PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def table(head: list[str], rows: list[list[str | float | None]]) -> str:
    """Rows of text and numbers; "-" is what was not measured."""
    cells = [head, ["---"] * len(head), *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def status(field: str) -> int:
    """Bytes of a field of this process's memory, as Linux tells them: VmRSS (now) or VmHWM (at the most)."""
    return int(re.findall(rf"^{field}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[0]) * 1024


def write(script: str, folder: Path, title: str, *parts: str, suffix: str = "") -> None:
    """The page <script><suffix>.md: paragraphs and tables, under what they were measured on. It is printed, too."""
    facts = f"{machine().replace('-', ' ')}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {versions()}."
    made = f"Made by `python benchmarks/{Path(script).name}` on {facts}"
    text = "\n\n".join((f"# {title}", made, *parts)) + "\n"
    path = folder / f"{Path(script).stem}{suffix}.md"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"{text}\n{path}")
