"""Both maps and their gradients under jax.jit, beside jax.scipy.signal's.

python benchmarks/jitted.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import exp, log
from typing import Any

import jax
from peers import MAIN, TINY, Problem
from races import race
from results import arguments, machine, table, write

import xp_istft as xi

MAPS = ("stft", "istft", "stft and backward", "istft and backward")


def both(direction: str, problem: Problem) -> dict[str, Callable[[Any], Any]]:
    """The two functions of an array."""
    ours = partial(getattr(xi, direction), n_fft=problem.n_fft, hop_length=problem.hop)
    theirs = getattr(jax.scipy.signal, direction)
    given: dict[str, Any] = {"nperseg": problem.n_fft, "noverlap": problem.n_fft - problem.hop}
    options = {"padded": False} if direction == "stft" else {}
    return {"ours": ours, "jax": lambda array: theirs(array, **given, **options)[-1]}


def backward(transform: Callable[[Any], Any], array: Any) -> Callable[[Any], Any]:
    ones = jax.numpy.ones_like(transform(array))
    return lambda array: jax.vjp(transform, array)[1](ones)


def ratios(problem: Problem, budget: float) -> list[float | None]:
    """JAX's time divided by ours, of each map."""
    found = []
    for backwards in (False, True):
        for direction in ("stft", "istft"):
            host = problem.signal() if direction == "stft" else problem.spectrum("C")
            array = jax.numpy.asarray(host)
            runs: dict[str, Callable[[], object]] = {}
            for name, transform in both(direction, problem).items():
                program = jax.jit(backward(transform, array) if backwards else transform)
                runs[name] = lambda program=program, array=array: jax.block_until_ready(program(array))
            found.append(race(runs, rounds=15, budget=budget, least=0).ratio("jax", "ours"))
    return found


def main() -> None:
    chosen = arguments(__doc__, minutes=2.0).parse_args()
    problems = (TINY,) if chosen.quick else MAIN
    budget = 0.0 if chosen.quick else chosen.minutes * 60 / (len(problems) * len(MAPS))
    rows: list[list[Any]] = [[str(problem), *ratios(problem, budget)] for problem in problems]
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    rows.append(["geometric mean", *(exp(sum(map(log, column)) / len(column)) for column in columns)])
    write(
        __file__,
        chosen.output,
        f"Under jax.jit on the CPU: {machine().replace('-', ' ')}",
        "float32, frames centred, zeros at the ends. A number is the median over rounds of the time of "
        "jax.scipy.signal's function divided by ours in the same round: above 1, we are faster.",
        table(["items x frames, n_fft/hop", *MAPS], rows),
        suffix=f"-{machine()}",
    )


if __name__ == "__main__":
    main()
