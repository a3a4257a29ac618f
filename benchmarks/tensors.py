"""Torch tensors in and out, as models have them: stft and istft, and their gradients, beside torch's own.

    python benchmarks/tensors.py [--minutes 8] [--threads 2]

writes benchmarks/results/tensors-<machine>.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import exp, log
from typing import Any

import torch
from races import race
from results import arguments, machine, table, write

import xp_istft as xi

SIZES = (  # items, samples, n_fft, hop
    (4, 32000, 16, 4),
    (4, 40000, 20, 5),
    (1, 96000, 60, 30),
    (2, 48000, 400, 100),
    (1, 160000, 400, 160),
    (1, 96000, 960, 480),
    (1, 2560, 512, 128),
    (16, 44100, 1024, 256),
    (1, 1323000, 2048, 512),
    (8, 16000, 512, 128),
)
MAPS = ("stft", "istft", "stft and backward", "istft and backward")
WAYS = (("alone", None), ("in a program", torch.ones(400, 400)))


def backward(transform: Callable[[Any], Any], array: torch.Tensor) -> Callable[[], object]:
    leaf = array.clone().requires_grad_()
    gradient = torch.ones_like(transform(array))
    return lambda: torch.autograd.grad(transform(leaf), leaf, gradient)


def ratios(size: tuple[int, ...], factor: torch.Tensor | None, budget: float) -> list[float | None]:
    """Torch's time divided by ours, of each map."""
    items, n_samples, n_fft, hop = size
    window = torch.hann_window(n_fft)
    theirs = {"n_fft": n_fft, "hop_length": hop, "window": window}
    x = torch.randn(items, n_samples, generator=torch.Generator().manual_seed(0))
    forward = partial(xi.stft, n_fft=n_fft, hop_length=hop, pad_mode="reflect")
    inverse = partial(xi.istft, n_fft=n_fft, hop_length=hop, length=n_samples)
    torchs_forward = partial(torch.stft, return_complex=True, **theirs)
    torchs_inverse = partial(torch.istft, length=n_samples, **theirs)
    X = torchs_forward(x)
    before = None if factor is None else partial(torch.mm, factor, factor)
    found = []
    for backwards in (False, True):
        for array, ours, torchs in ((x, forward, torchs_forward), (X, inverse, torchs_inverse)):
            both = {"ours": ours, "torch": torchs}
            runs: dict[str, Callable[[], object]] = {
                name: backward(each, array) if backwards else partial(each, array) for name, each in both.items()
            }
            result = race(runs, rounds=15, budget=budget, least=0, before=before)
            found.append(result.ratio("torch", "ours"))
    return found


def section(threads: int, way: str, factor: torch.Tensor | None, sizes: tuple[Any, ...], budget: float) -> list[str]:
    torch.set_num_threads(threads)
    rows: list[list[Any]] = []
    for size in sizes:
        items, n_samples, n_fft, hop = size
        print(threads, way, size, flush=True)
        rows.append([f"{items} x {n_samples}, {n_fft}/{hop}", *ratios(size, factor, budget)])
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    rows.append(["geometric mean", *(exp(sum(map(log, column)) / len(column)) for column in columns)])
    rows.append(["least", *map(min, columns)])
    return [f"## {way}, {threads} thread{'s' * (threads > 1)}", table(["items x samples, n_fft/hop", *MAPS], rows)]


def main() -> None:
    chosen = arguments(__doc__, minutes=8.0, threads=2).parse_args()
    sizes = SIZES[6:7] if chosen.quick else SIZES
    counts = sorted({1, chosen.threads})
    budget = 0.0 if chosen.quick else chosen.minutes * 60 / (len(counts) * len(WAYS) * len(sizes) * len(MAPS))
    parts = [section(threads, *way, sizes, budget) for threads in counts for way in WAYS]
    write(
        __file__,
        chosen.output,
        f"Torch tensors on the CPU: {machine().replace('-', ' ')}",
        "float32, frames centred and reflected at the ends. A number is the median over rounds of the time of torch's "
        "function divided by ours in the same round: above 1, we are faster. Alone: each timed call follows one "
        "of its own. In a program: it follows a product of matrices, as in a model, whose threads still spin.",
        *(text for part in parts for text in part),
        suffix=f"-{machine()}",
    )


if __name__ == "__main__":
    main()
