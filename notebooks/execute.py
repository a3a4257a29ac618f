"""Run the notebooks, each in a fresh kernel, two at a time.

    python notebooks/execute.py [--store] [notebook.ipynb ...]

A cell that fails, or that shows something of another kind than what is stored, is an error. With --store what the
cells show is written into the notebooks, without times and other metadata, and only if it names no path of this
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
AT_ONCE = 2
SECONDS = 300  # of one cell


async def executed(path: Path, gate: asyncio.Semaphore) -> tuple[Any, Any]:
    """The notebook as stored, and as it comes out now."""
    stored = nbformat.read(path, as_version=4)
    fresh = copy.deepcopy(stored)
    async with gate:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            place = {"metadata": {"path": folder}}
            client = NotebookClient(
                fresh,
                timeout=SECONDS,
                kernel_name="python3",
                record_timing=False,
                coalesce_streams=True,
                resources=place,
            )
            await client.async_execute()
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return stored, fresh


def shown(notebook: Any) -> list[list[tuple[str, ...]]]:
    """Of each code cell, the kinds of what it shows, but for warnings."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [
        [(each.output_type, *sorted(each.get("data", {}))) for each in cell if each.get("name") != "stderr"]
        for cell in outputs
    ]


def cleaned(notebook: Any) -> Any:
    """Only what is the same wherever the notebook runs."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
    return notebook


def foreign(notebook: Any) -> list[str]:
    """What a notebook must not say: paths and the name of the machine that ran it."""
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
    said = [each.get("text", "") for each in outputs] + [
        value for each in outputs for kind, value in each.get("data", {}).items() if kind.startswith("text/")
    ]
    text = "\n".join(said)
    names = {str(FOLDER.resolve().parent), str(Path.home()), sys.prefix, os.uname().nodename, "/tmp", "Traceback"}
    return sorted(name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--store", action="store_true")
    chosen = parser.parse_args()
    paths = chosen.notebooks or sorted(FOLDER.glob("*.ipynb"))
    gate = asyncio.Semaphore(AT_ONCE)
    results = await asyncio.gather(*(executed(path, gate) for path in paths), return_exceptions=True)
    failures = 0
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, BaseException):
            print(f"{path.name}: {result}", file=sys.stderr)
            failures += 1
            continue
        stored, fresh = result
        if found := foreign(fresh if chosen.store else stored):
            print(f"{path.name}: shows {', '.join(found)}", file=sys.stderr)
            failures += 1
        elif chosen.store:
            path.write_text(nbformat.writes(cleaned(fresh)) + "\n")
        elif shown(stored) != shown(fresh):
            print(
                f"{path.name}: shows other things than are stored: run {Path(__file__).name} --store", file=sys.stderr
            )
            failures += 1
    return min(1, failures)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
