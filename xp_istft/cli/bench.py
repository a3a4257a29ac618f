"""The benchmark: istft and stft on this machine, beside whatever peers are installed."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rich.box
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import xp_istft as xi

from .failures import Exit, Failure
from .libraries import LIBRARIES, Library
from .peers import PEERS, Problem, Run, forward_peers, installed, inverse_peers
from .progress import terminal_progress
from .races import Race, race
from .whole_files import whole_file

_OURS = "xp_istft"
_ROUNDS = 9


def compare(problems: tuple[Problem, ...], minutes: float, workers: int | None, output: Path) -> int:
    """Race both directions of each problem; print the tables and write the picture into the directory `output`."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise Failure(Exit.OUTPUT, f"{output}: cannot be made: {cause.strerror}") from cause
    threads = workers or xi.get_workers()
    budget = 60 * minutes / (2 * len(problems))
    absent: dict[str, str] = {}
    races: dict[str, dict[Problem, Race]] = {"istft": {}, "stft": {}}
    with terminal_progress() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peers about themselves
        task = progress.add_task("", total=2 * len(problems) * _ROUNDS)
        for problem in problems:
            for direction, contenders in (("istft", _inverses), ("stft", _forwards)):
                progress.update(task, description=f"{direction}, {problem.name}")
                runs = contenders(problem, threads, absent)
                results = races[direction]
                results[problem] = race(runs, _ROUNDS, budget, after_round=lambda: progress.advance(task))
                progress.update(task, completed=sum(map(len, races.values())) * _ROUNDS)

    console = Console(width=None if Console().is_terminal else 100)
    console.print(_machine(threads), highlight=False)
    for direction, results in races.items():
        console.print(_table(direction, results), "")
    console.print(
        f"First row: median time. Others: how many times longer than {_OURS} (medians of {_ROUNDS} rounds in turn; "
        "below 1 the peer is faster).",
        highlight=False,
    )
    samples, contended = (
        sum(getattr(result, name) for results in races.values() for result in results.values())
        for name in ("samples", "contended")
    )
    if contended:
        console.print(f"{contended} of {samples} samples waited for a busy core.", highlight=False)
    for name, why in absent.items():
        console.print(f"{name}: {why}", highlight=False, markup=False)
    path = output / "bench.png"
    with whole_file(path, force=True) as temporary:
        _draw(temporary, races)
    console.print(f"picture: {path}", highlight=False, soft_wrap=True)
    return 0


def _inverses(problem: Problem, threads: int, absent: dict[str, str]) -> dict[str, Run]:
    X = problem.spectrum("F")
    options: dict[str, Any] = {"n_fft": problem.n_fft, "hop_length": problem.hop, "length": problem.length}
    runs: dict[str, Run] = {_OURS: lambda: xi.istft(X, workers=threads, **options)}
    runs |= inverse_peers(problem, X, threads, PEERS, absent=absent)
    return runs | _elsewhere(
        X, lambda X: xi.istft(X, **options), lambda it: inverse_peers(it, X, None, ("torch",)), problem
    )


def _forwards(problem: Problem, threads: int, absent: dict[str, str]) -> dict[str, Run]:
    x = problem.signal()
    options: dict[str, Any] = {"n_fft": problem.n_fft, "hop_length": problem.hop}
    runs: dict[str, Run] = {_OURS: lambda: xi.stft(x, workers=threads, **options)}
    runs |= forward_peers(problem, x, threads, PEERS, absent)
    return runs | _elsewhere(
        x, lambda x: xi.stft(x, **options), lambda it: forward_peers(it, x, None, ("torch",)), problem
    )


def _elsewhere(
    host: np.ndarray,
    transform: Callable[[Any], Any],
    peers: Callable[[Problem], dict[str, Run]],
    problem: Problem,
) -> dict[str, Run]:
    """The same on devices other than the CPU: ours on each library that has one, and torch's own."""
    runs: dict[str, Run] = {}
    for library in LIBRARIES:
        for device in library.usable()[0]:
            if device != "cpu":
                runs[f"{_OURS}, {library.name} {device}"] = _there(library, library.put(host, device), transform)
                if library.name == "torch":
                    own = peers(replace(problem, device=device))
                    runs |= {f"{name} {device}": run for name, run in own.items()}
    return runs


def _there(library: Library, array: Any, transform: Callable[[Any], Any]) -> Run:
    return lambda: library.finish(transform(array))


def _machine(threads: int) -> str:
    versions = installed("numpy", "scipy", "torch", "librosa", "nnAudio", "jax", "auvux-dsp", "mkl_fft")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{platform.machine()}, {threads} threads, Python {platform.python_version()}, {named}"


def _table(direction: str, results: dict[Problem, Race]) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    table.add_column(direction, no_wrap=True)
    for problem in results:
        size = f"{problem.n_fft}/{problem.hop}, {problem.dtype}"
        table.add_column(f"{problem.name}\n{size}", justify="right")
    for name in _names(results):
        cells = []
        for result in results.values():
            if name == _OURS:
                cells.append(f"{1e3 * result.median(name):.2f} ms")
            else:
                cells.append(f"{result.ratio(name, _OURS):.2f}" if name in result.seconds else "")
        table.add_row(name, *cells)
    return table


def _names(results: dict[Problem, Race]) -> list[str]:
    return list(dict.fromkeys(name for result in results.values() for name in result.seconds))


def _draw(path: Path, races: dict[str, dict[Problem, Race]]) -> None:
    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    for ax, (direction, results) in zip(figure.subplots(1, len(races)), races.items(), strict=True):
        names = [name for name in _names(results) if name != _OURS][::-1]
        height = 0.8 / len(results)
        for k, (problem, result) in enumerate(results.items()):
            rows = [row for row, name in enumerate(names) if name in result.seconds]
            beyond = [result.ratio(names[row], _OURS) - 1 for row in rows]
            ax.barh([row + 0.4 - height * (k + 0.5) for row in rows], beyond, height, left=1, label=problem.name)
        ax.axvline(1, color="black", linewidth=1)
        ax.set_xscale("log")
        ax.set_yticks(range(len(names)), names)
        ax.set(title=direction, xlabel=f"time / time of {_OURS}")
    if names:
        ax.legend(fontsize=8)
    figure.savefig(path, format="png")
