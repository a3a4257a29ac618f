"""Time of istft and stft on this machine's CPU, beside the peers that are installed.

    python benchmarks/cpu.py [--minutes 12] [--threads 2]

writes benchmarks/results/cpu-<machine>.md, <machine> being the model of the CPU. races.py says what is measured and
how; README quotes the means.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import exp, log
from typing import Any

import numpy as np
from peers import MAIN, PEERS, TINY, Problem, prepared, ready
from races import Race, race
from results import arguments, machine, table, write

import xp_istft as xi
from xp_istft.backends.cpu.fft import engine_for
from xp_istft.backends.cpu.memory import pitch
from xp_istft.backends.cpu.overlap import seconds
from xp_istft.tuning import tuned, tuning

OTHERS = (
    Problem("64 x 4 s", 64, 401, 400, 160),
    Problem("256 x 0.5 s", 256, 63, 512, 128),
    Problem("1 s", 1, 126, 512, 128),
    Problem("0.1 s", 1, 13, 512, 128),
    TINY,
    Problem("one frame", 1, 1, 512, 128, center=False),
    Problem("n_fft 64", 1, 62500, 64, 16),
    Problem("n_fft 65536", 1, 160, 65536, 16384),
    Problem("hop 1", 1, 8000, 256, 1),
    Problem("hop 441", 1, 3000, 1024, 441),
    Problem("odd 511", 1, 10000, 511, 128),
    Problem("prime 1009", 1, 5000, 1009, 252),
    Problem("R = 16", 1, 5000, 2048, 128),
    Problem("512 frames", 8, 512, 2048, 512),
    Problem("1024 frames", 16, 1024, 512, 128),
    Problem("float64", 1, 5168, 2048, 512, dtype="float64"),
)
SECONDS = (1, 4, 16, 60, 600, 3600)  # of audio at 16 kHz, 1024/256
MILLIS = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0)  # of work on one thread
OURS = ("xp_istft", "xp_istft, mkl")
FEW = ("xp_istft", "torch", "librosa")


def ffts(direction: str, problem: Problem) -> Callable[[], None]:
    """What no transform by the same engine can do without: the FFTs of all frames, in cache, on one thread."""
    xi.set_fft_engine("auto")
    kind = np.dtype("F" if problem.dtype == "float32" else "D")
    engine = engine_for(problem.n_fft, kind)
    count = problem.items * problem.n_frames
    block = min(count, max(16, (1 << 18) // (problem.n_fft * problem.signal().itemsize)))
    row = pitch(problem.n_fft, np.dtype(problem.dtype).itemsize)  # as far apart as in a call
    frames = np.ones((block, row), problem.dtype)[:, : problem.n_fft]
    spectra = np.ones((block, problem.n_fft // 2 + 1), kind)

    def run() -> None:
        for first in range(0, count, block):
            some = slice(count - first)
            if direction == "istft":
                engine.irfft(spectra[some], problem.n_fft, frames[some])
            else:
                engine.rfft(frames[some], spectra[some])

    return run


def raced(direction: str, problem: Problem, order: str, threads: int, budget: float, names: tuple[str, ...]) -> Race:
    array = problem.spectrum(order) if direction == "istft" else problem.signal()
    runs = ready(direction, problem, array, threads, names)[0]
    alone = ready(direction, problem, array, 1, ("xp_istft", "torch"))[0]
    runs |= {f"{name}, 1 thread": run for name, run in alone.items()}
    return race(runs | {"FFTs": ffts(direction, problem)}, budget=budget)


def section(direction: str, races: dict[tuple[Problem, str], Race]) -> tuple[str, ...]:
    """A row for each problem and layout, and the means over the main problems that README quotes."""
    rows: list[list[Any]] = []
    for (problem, order), result in races.items():
        row = [str(problem), order, 1e3 * result.median("xp_istft"), 1e3 * result.median("FFTs")]
        row += [result.ratio(name, "xp_istft") for name in ("xp_istft, 1 thread", *PEERS)]
        alone = "xp_istft, 1 thread"
        rows.append([*row, result.ratio("torch, 1 thread", alone), result.ratio(alone, "FFTs")])
    means: list[list[Any]] = []
    for ours in OURS:
        main = [result for (problem, _), result in races.items() if problem in MAIN]
        found = [[each for each in (result.ratio(name, ours) for result in main) if each] for name in PEERS]
        means.append([ours, *(exp(sum(map(log, each)) / len(each)) if each else None for each in found)])
    return (
        f"## {direction} beside the peers",
        table(
            ["problem", "layout", "ms", "FFTs, ms", "1 thread", *PEERS, "torch, 1 against 1", "1 thread / FFTs"], rows
        ),
        "Geometric means over the main problems and their layouts:",
        table(["", *PEERS], means),
    )


def gradients(threads: int, budget: float, problems: tuple[Problem, ...]) -> tuple[str, ...]:
    """Forward and backward through tensors that need a gradient."""
    names = ("xp_istft, torch tensors", "torch", "nnAudio")
    rows: list[list[Any]] = []
    for problem in problems:
        for direction in ("istft", "stft"):
            array = problem.spectrum("C") if direction == "istft" else problem.signal()
            there = ready(direction, problem, array, threads, names)[0]
            both = {name: _with_backward(*prepared(name, direction, problem, array, threads)) for name in there}
            if names[0] in both:
                result = race(both, budget=budget)
                ratios = [result.ratio(name, names[0]) for name in names[1:]]
                rows.append([str(problem), direction, 1e3 * result.median(names[0]), *ratios])
    head = ["problem", "map", "ms", *names[1:]]
    return ("## Forward and backward on torch, tensors that need a gradient", table(head, rows))


def _with_backward(transform: Callable[[Any], Any], array: Any) -> Callable[[], None]:
    leaf = array.clone().requires_grad_()

    def run() -> None:
        y = transform(leaf)
        leaf.grad = None
        y.abs().sum().backward()

    return run


def lengths(threads: int, budget: float, seconds: tuple[int, ...]) -> tuple[str, ...]:
    rows: list[list[Any]] = []
    for each in seconds:
        problem = Problem(f"{each} s", 1, 1 + 16000 * each // 256, 1024, 256)
        result = race(ready("istft", problem, problem.spectrum(), threads, FEW)[0], budget=budget, warm=False)
        micros = [1e6 * result.median(name) / problem.n_frames if name in result.seconds else None for name in FEW]
        rows.append([str(each), *micros, *(result.ratio(name, "xp_istft") for name in FEW[1:])])
    return (
        "## istft from a second to an hour",
        "Microseconds per frame, 16 kHz, 1024/256, frame by frame. Here calls of more than 4 ms follow those of "
        "others, as in a program that makes one: memory is new.",
        table(["audio, s", *FEW, *(f"{name} / xp_istft" for name in FEW[1:])], rows),
    )


def crossover(threads: int, budget: float, millis: tuple[float, ...]) -> tuple[str, ...]:
    """From how much work on threads are sooner than one."""
    rows: list[list[Any]] = []
    with tuned(threaded_seconds=0):
        for each in millis:
            row: list[Any] = [f"{each:g}"]
            for n_fft in (512, 2048):
                n_frames = max(4, round(1e-3 * each / seconds(n_fft)))
                problem = Problem(f"{each} ms", 1, n_frames, n_fft, n_fft // 4)
                for direction in ("istft", "stft"):
                    array = problem.spectrum() if direction == "istft" else problem.signal()
                    function, array = prepared("xp_istft", direction, problem, array, threads)
                    alone, _ = prepared("xp_istft", direction, problem, array, 1)
                    both = {"threads": partial(function, array), "alone": partial(alone, array)}
                    row.append(race(both, budget=budget).ratio("threads", "alone"))
            rows.append(row)
    head = [f"{direction}, {n_fft}/{n_fft // 4}" for n_fft in (512, 2048) for direction in ("istft", "stft")]
    return (
        "## From where on threads are sooner",
        f"Time of {threads} threads divided by that of one, by the work that the tuning expects; it takes one thread "
        f"for less than {1e3 * tuning().threaded_seconds:g} ms.",
        table(["work, ms", *head], rows),
    )


def main() -> None:
    chosen = arguments(__doc__, minutes=12.0, threads=2).parse_args()
    quick = chosen.quick
    share = 0.0 if quick else chosen.minutes * 60 / 118  # of the races below
    problems = (TINY,) if quick else (*MAIN, *OTHERS)
    races: dict[str, dict[tuple[Problem, str], Race]] = {"istft": {}, "stft": {}}
    for problem in problems:
        names = (*OURS, *PEERS) if problem in MAIN or quick else FEW
        for direction, order in (("istft", "F"), ("istft", "C"), ("stft", "F")):
            print(direction, problem, order, flush=True)
            budget = (6 if problem in MAIN else 0.7) * share
            races[direction][problem, order] = raced(direction, problem, order, chosen.threads, budget, names)
    absent = ready("istft", TINY, TINY.spectrum(), chosen.threads)[1]
    every = [result for found in races.values() for result in found.values()]
    write(
        __file__,
        chosen.output,
        f"CPU: {machine().replace('-', ' ')}",
        f"NumPy arrays of float32 and {chosen.threads} threads unless said otherwise; each result is a new array, and "
        "each call that is timed follows one that is not. A factor is the median over rounds of a contender's time "
        "divided by ours in the same round, in the same layout: above 1, we are faster. F: the spectrum lies frame by "
        "frame in memory, as stft makes it; C: bin by bin. The machine may have been shared: milliseconds are not to "
        "be trusted, and where both threads of a contender wait for each other (torch's do, many times in a call) a "
        "busy core costs it far more than it costs one thread: see the column of one thread against one. The FFTs are "
        "those of all frames by our engine, in cache, on one thread: no transform by it could be faster. "
        f"{sum(each.contended for each in every)} of {sum(each.samples for each in every)} samples waited for a core. "
        + " ".join(f"{name}: {why}." for name, why in absent.items()),
        *section("istft", races["istft"]),
        *section("stft", races["stft"]),
        *gradients(chosen.threads, 3 * share, problems[:2]),
        *crossover(chosen.threads, share / 4, (0.3,) if quick else MILLIS),
        *lengths(chosen.threads, 2 * share, (1,) if quick else SECONDS),
        suffix=f"-{machine()}",
    )


if __name__ == "__main__":
    main()
