"""Time of istft and stft on this machine's CPU, beside the peers that are installed.

    python benchmarks/cpu.py [--minutes 12] [--threads 2]

writes benchmarks/results/cpu-<machine>.md and .png, <machine> being the model of the CPU. races.py says
what is measured and how; every figure that README quotes stands there.
"""

from __future__ import annotations

import argparse
import platform
import re
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
from peers import MAIN, PEERS, Problem, forward_peers, installed, inverse_peers, ours, ours_forward
from races import Race, race

import xp_istft as xi
from xp_istft.backends.cpu.fft import Engine, engine_for
from xp_istft.backends.cpu.threads import run as on_threads

OTHERS = (
    Problem("64 x 4 s", 64, 401, 400, 160),
    Problem("256 x 0.5 s", 256, 63, 512, 128),
    Problem("1 s", 1, 126, 512, 128),
    Problem("0.1 s", 1, 13, 512, 128),
    Problem("tiny", 1, 17, 64, 16),
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


def floor_parts(problem: Problem, X: np.ndarray, engine: Engine, threads: int) -> dict[str, Callable[[], Any]]:
    """What no istft by this engine can do without: its FFTs, in cache, and reading and writing the arrays once."""
    kind = X.real.dtype
    count = problem.items * problem.n_frames
    block = max(16, (1 << 18) // (problem.n_fft * kind.itemsize))
    lying = X.transpose(0, 2, 1).reshape(count, -1)
    inputs = [np.ascontiguousarray(lying[: min(block, count)]) for _ in range(threads)]
    outputs = [np.empty((len(inputs[0]), problem.n_fft), kind) for _ in range(threads)]
    turns = max(1, count // threads // len(inputs[0]))

    def transforms(task: int, share: Any) -> None:
        for _ in range(turns):
            engine.irfft(inputs[task], problem.n_fft, outputs[task])

    numbers = lying.view(kind).reshape(-1)
    parts = [numbers[task * (numbers.size // threads) :][: numbers.size // threads] for task in range(threads)]
    result = np.empty((problem.items, problem.n_samples), kind)
    tasks = list(range(threads))
    return {
        "FFTs": lambda: on_threads(transforms, tasks, threads, engine.on_this_thread),
        "read": lambda: on_threads(lambda task, share: parts[task].max(), tasks, threads, engine.on_this_thread),
        "write": lambda: result.fill(1),
    }


def forward_ffts(problem: Problem) -> Callable[[], None]:
    """The FFTs alone of an stft by the default engine, in cache, by one thread."""
    engine = _in_use("auto", problem)
    count = problem.items * problem.n_frames
    frames = np.ones((min(count, max(16, (1 << 18) // (problem.n_fft * 4))), problem.n_fft), problem.dtype)
    spectra = np.empty((len(frames), problem.n_fft // 2 + 1), "F" if problem.dtype == "float32" else "D")

    def transforms() -> None:
        for first in range(0, count, len(frames)):
            engine.rfft(frames[: count - first], spectra[: count - first])

    return transforms


def inverse_race(problem: Problem, threads: int, budget: float, engines: tuple[str, ...], everyone: bool) -> Race:
    contenders: dict[str, Callable[[], Any]] = {}
    for order in "FC":
        X = problem.spectrum(order)
        names = PEERS if everyone else ("torch", "librosa")
        if everyone and order == "C":  # nnAudio copies its input to a layout of its own
            names = tuple(name for name in PEERS if name != "nnAudio")
        peers = inverse_peers(problem, X, threads, names)
        contenders |= {f"{name} {order}": run for name, run in peers.items()}
        for run in inverse_peers(problem, X, 1, ("torch",)).values():
            contenders[f"torch, 1 thread {order}"] = run
        for engine in engines:
            contenders[f"{_label(engine)} {order}"] = ours(problem, X, threads, engine)
        contenders[f"xp_istft, 1 thread {order}"] = ours(problem, X, 1)
        if everyone and order == "F":
            for engine in engines:
                parts = floor_parts(problem, X, _in_use(engine, problem), threads)
                contenders |= {f"{part} {engine}": run for part, run in parts.items()}
    return race(contenders, budget=budget)


def forward_race(problem: Problem, threads: int, budget: float, engines: tuple[str, ...], everyone: bool) -> Race:
    x = problem.signal()
    names = PEERS if everyone else ("torch", "librosa")
    contenders: dict[str, Callable[[], Any]] = dict(forward_peers(problem, x, threads, names))
    for run in forward_peers(problem, x, 1, ("torch",)).values():
        contenders["torch, 1 thread"] = run
    for engine in engines:
        contenders[_label(engine)] = ours_forward(problem, x, threads, engine)
    contenders["xp_istft, 1 thread"] = ours_forward(problem, x, 1)
    contenders["xp_istft, C order"] = ours_forward(problem, x, threads, order="C")
    contenders["FFTs, 1 thread"] = forward_ffts(problem)
    return race(contenders, budget=budget)


def _in_use(engine: str, problem: Problem) -> Engine:
    """The engine that computes this problem where `engine` is chosen."""
    xi.set_fft_engine(engine)
    return engine_for(problem.n_fft, np.dtype("F" if problem.dtype == "float32" else "D"))


def _label(engine: str) -> str:
    return "xp_istft" if engine == "auto" else f"xp_istft, {engine}"


def mean(values: list[float]) -> float:
    """Geometric."""
    return exp(sum(map(log, values)) / len(values))


def default_engines() -> str:
    """Which engine set_fft_engine("auto") takes for which problems."""
    by_engine: dict[str, list[str]] = {}
    for problem in (*MAIN, *OTHERS):
        size = f"{problem.n_fft}{'' if problem.dtype == 'float32' else ' ' + problem.dtype}"
        sizes = by_engine.setdefault(_in_use("auto", problem).name, [])
        if size not in sizes:
            sizes.append(size)
    return "; ".join(f"{name}.fft for {', '.join(sizes)}" for name, sizes in sorted(by_engine.items()))


class Report:
    """The lines of the result file."""

    def __init__(self, threads: int) -> None:
        versions = installed(
            "numpy", "scipy", "mkl_fft", "mkl", "torch", "librosa", "nnAudio", "jax", "auvux-dsp"
        )  # fmt: skip
        self.lines = [
            f"# CPU: {machine().replace('-', ' ')}",
            "",
            "Made by `python benchmarks/cpu.py`. Python " + platform.python_version() + ", "
            + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
            "",
            f'The default engine (set_fft_engine("auto")) is {default_engines()}; "mkl" is MKL\'s where it is named.',
            "",
            f"float32 and {threads} threads unless said otherwise; each result is a new array, and each call that is "
            "timed follows one that is not. A factor is the median over rounds of a contender's time divided by ours "
            "in the same round, in the same layout: above 1, we are faster. F: the spectrum lies frame by frame in "
            "memory, as stft makes it; C: bin by bin. The machine was shared while this ran: milliseconds are not to "
            "be trusted, and where both threads of a contender wait for each other (torch's do, many times in a call) "
            "a busy core costs it far more than it costs one thread: see the column of one thread against one.",
        ]  # fmt: skip

    def section(self, title: str, *text: str) -> None:
        self.lines += ["", f"## {title}", ""]
        for line in text:
            self.lines += [line, ""]

    def table(self, head: list[str], rows: list[list[str]]) -> None:
        self.lines += ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def describe(problem: Problem) -> str:
    return f"{problem.name} ({problem.items} x {problem.n_frames} frames, {problem.n_fft}/{problem.hop})"


def factor(result: Race, name: str, reference: str) -> str:
    return f"{result.ratio(name, reference):.2f}" if name in result.seconds else "-"


def inverse_section(report: Report, results: dict[Problem, Race], engines: tuple[str, ...]) -> None:
    report.section("istft beside the peers")
    names = PEERS
    rows = []
    for problem, result in results.items():
        for order in "FC":
            ours_name = f"xp_istft {order}"
            rows.append(
                [describe(problem), order, f"{1e3 * result.median(ours_name):.2f}"]
                + [factor(result, f"{name} {order}", ours_name) for name in ["xp_istft, 1 thread", *names]]
                + [factor(result, f"torch, 1 thread {order}", f"xp_istft, 1 thread {order}")]
            )
    report.table(["problem", "layout", "ms", "1 thread", *names, "torch, 1 against 1"], rows)
    report.lines.append("")
    means = []
    for engine in engines:
        row = [_label(engine)]
        for name in names:
            ratios = [
                result.ratio(f"{name} {order}", f"{_label(engine)} {order}")
                for problem, result in results.items()
                for order in "FC"
                if problem in MAIN and f"{name} {order}" in result.seconds
            ]
            row.append(f"{mean(ratios):.2f}" if ratios else "-")
        means.append(row)
    alone = [
        result.ratio(f"torch, 1 thread {order}", f"xp_istft, 1 thread {order}")
        for problem, result in results.items()
        for order in "FC"
        if problem in MAIN and f"torch, 1 thread {order}" in result.seconds
    ]
    report.lines += ["Geometric means over the first three problems and both layouts:", ""]
    report.table(["", *names], means)
    if alone:
        report.lines += ["", f"torch with one thread against ours with one: {mean(alone):.2f}."]


def floor_section(report: Report, results: dict[Problem, Race], engines: tuple[str, ...]) -> None:
    report.section(
        "istft beside its floor",
        "The floor is what no istft by the same FFTs can do without: the transforms of as many frames, which stay in "
        "cache, on as many threads, and reading the spectrum and writing the signal once.",
    )
    rows = []
    for problem in MAIN:
        seconds = results[problem].seconds
        for engine in engines:
            floor = sum(np.array(seconds[f"{part} {engine}"]) for part in ("FFTs", "read", "write"))
            frame, bins = (np.array(seconds[f"{_label(engine)} {order}"]) for order in "FC")
            values = [
                1e3 * float(np.median(floor)),
                *(float(np.median(q)) for q in (frame / floor, bins / floor, bins / frame)),
            ]
            rows.append([describe(problem), _in_use(engine, problem).name, *(f"{v:.2f}" for v in values)])
    report.table(["problem", "engine", "floor, ms", "F / floor", "C / floor", "C / F"], rows)


def forward_section(report: Report, results: dict[Problem, Race], engines: tuple[str, ...]) -> None:
    report.section(
        "stft beside the peers",
        "Frame by frame in memory, as librosa and torch have it. The last column is torch's time with one thread "
        "divided by that of our FFTs alone, in cache: no stft by the same engine could be faster than that factor.",
    )
    names = PEERS
    rows = [
        [describe(problem), f"{1e3 * result.median('xp_istft'):.2f}"]
        + [factor(result, name, "xp_istft") for name in ["xp_istft, 1 thread", "xp_istft, C order", *names]]
        + [factor(result, "torch, 1 thread", each) for each in ("xp_istft, 1 thread", "FFTs, 1 thread")]
        for problem, result in results.items()
    ]
    report.table(["problem", "ms", "1 thread", "C order", *names, "torch, 1 against 1", "torch / FFTs"], rows)
    report.lines += ["", "Geometric means over the first three problems (torch*: over all):", ""]
    means = []
    for engine in engines:
        row = [_label(engine)]
        for name in names:
            ratios = [results[p].ratio(name, _label(engine)) for p in MAIN if name in results[p].seconds]
            row.append(f"{mean(ratios):.2f}" if ratios else "-")
        all_of_torch = [r.ratio("torch", _label(engine)) for r in results.values() if _label(engine) in r.seconds]
        means.append([*row, f"{mean(all_of_torch):.2f}"])
    report.table(["", *names, "torch*"], means)


def length_section(report: Report, threads: int, budget: float) -> list[tuple[int, dict[str, float]]]:
    """Microseconds per frame from a second to an hour."""
    curve = []
    for seconds in SECONDS:
        problem = Problem(f"{seconds} s", 1, 1 + seconds * 16000 // 256, 1024, 256)
        X = problem.spectrum("F")
        peers = inverse_peers(problem, X, threads, ("torch", "librosa"))
        contenders = {"xp_istft": ours(problem, X, threads)} | {
            name: peers[name] for name in ("torch", "librosa") if name in peers
        }
        result = race(contenders, rounds=7 if seconds < 600 else 5, budget=budget, warm=False)
        curve.append((seconds, {name: 1e6 * result.median(name) / problem.n_frames for name in contenders}
                      | {f"{name} / ours": result.ratio(name, "xp_istft") for name in contenders}))  # fmt: skip
        print(f"length {seconds} s", curve[-1], flush=True)
    report.section("istft from a second to an hour", "Microseconds per frame, 16 kHz, 1024/256, frame by frame. "
                   "Here calls of more than 4 ms follow those of others, as in a program that makes one: memory is new."
                   )  # fmt: skip
    names = [name for name in curve[0][1] if not name.endswith("ours")]
    head = ["audio, s", *names, *(f"{name} / xp_istft" for name in names[1:])]
    report.table(
        head,
        [
            [
                str(seconds),
                *(f"{row[name]:.2f}" for name in names),
                *(f"{row[f'{name} / ours']:.1f}" for name in names[1:]),
            ]
            for seconds, row in curve
        ],
    )
    return curve


def overhead_section(report: Report, budget: float) -> None:
    """What a call costs beside its irfft."""
    rows = []
    for problem in (Problem("", 1, 17, 64, 16), Problem("", 1, 13, 512, 128), Problem("", 1, 126, 512, 128)):
        X = problem.spectrum("F")[0]
        lying, frames = X.T, np.empty((problem.n_frames, problem.n_fft), np.float32)
        engine = _in_use("auto", problem)
        contenders = {
            "irfft": lambda lying=lying, problem=problem, frames=frames, engine=engine: engine.irfft(
                lying, problem.n_fft, frames
            ),
            "xp_istft": lambda X=X, problem=problem: xi.istft(X, hop_length=problem.hop),
        } | inverse_peers(problem, X[None], 1, ("torch", "librosa"))
        result = race(contenders, rounds=15, budget=budget)
        beyond = np.median(np.subtract(result.seconds["xp_istft"], result.seconds["irfft"]))
        least = result.least("xp_istft") - result.least("irfft")
        rows.append(
            [f"{problem.n_frames} frames, {problem.n_fft}/{problem.hop}"]
            + [f"{1e6 * value:.1f}" for value in (result.median("irfft"), beyond, least)]
            + [factor(result, name, "xp_istft") for name in ("torch", "librosa")]
        )
    report.section(
        "Small problems, one thread",
        "Microseconds of the default engine's irfft into a given array, and of a whole call of istft beyond them, all "
        "argument checks included.",
    )
    report.table(["problem", "irfft", "istft beyond it", "least", "torch", "librosa"], rows)


def picture(path: Path, inverse: dict[Problem, Race], curve: list[tuple[int, dict[str, float]]]) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), dpi=90)
    names = ["torch", "librosa", "scipy.signal", "ShortTimeFFT", "jax (jit)", "auvux-dsp"]
    shown = [name for name in names if any(f"{name} F" in inverse[p].seconds for p in MAIN)]
    values = [
        mean(
            [
                inverse[p].ratio(f"{name} {order}", f"xp_istft {order}")
                for p in MAIN
                for order in "FC"
                if f"{name} {order}" in inverse[p].seconds
            ]
        )
        for name in shown
    ]
    left.barh(shown[::-1], values[::-1], color="tab:gray")
    left.axvline(1, color="tab:blue")
    left.set(xlabel="time / xp_istft's time (mean of three problems)")
    for name in (name for name in curve[0][1] if not name.endswith("ours")):
        right.loglog([seconds for seconds, _ in curve], [row[name] for _, row in curve], "o-", label=name)
    right.set(xlabel="audio, s", ylabel="us per frame (1024/256)")
    right.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    engines = ("auto", "mkl") if "mkl_fft" in installed("mkl_fft") else ("auto",)
    share = chosen.minutes * 60 / 100  # of the races below
    report = Report(chosen.threads)
    inverse, forward = {}, {}
    for problem in (*MAIN, *OTHERS):
        print(describe(problem), flush=True)
        main_one = problem in MAIN
        budget = (11 if main_one else 1.2) * share
        inverse[problem] = inverse_race(problem, chosen.threads, budget, engines if main_one else ("auto",), main_one)
        budget = (5 if main_one else 0.7) * share
        forward[problem] = forward_race(problem, chosen.threads, budget, engines if main_one else ("auto",), main_one)
    xi.set_fft_engine("auto")
    samples = sum(each.samples for each in (*inverse.values(), *forward.values()))
    contended = sum(each.contended for each in (*inverse.values(), *forward.values()))
    report.lines[-1] += f" {contended} of {samples} samples waited for a core."
    inverse_section(report, inverse, engines)
    floor_section(report, inverse, engines)
    forward_section(report, forward, engines)
    overhead_section(report, 2 * share)
    curve = length_section(report, chosen.threads, 2 * share)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    memory = folder / f"memory-{machine()}.md"
    if memory.exists():
        report.lines += ["", *memory.read_text().splitlines()]
    report.lines += ["", f"![Times beside the peers, and per frame](cpu-{machine()}.png)"]
    (folder / f"cpu-{machine()}.md").write_text("\n".join(report.lines) + "\n")
    picture(folder / f"cpu-{machine()}.png", inverse, curve)


if __name__ == "__main__":
    main()
