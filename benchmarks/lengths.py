"""Batches of signals of different lengths: `lengths=` beside the ways that people have of their own.

python benchmarks/lengths.py

For tensors: torch.stft and torch.istft of item after item, their results padded and stacked. For NumPy arrays: our own
functions in that loop. Beside both the batch taken as if all items were as long as it, which is what `lengths=` saves
or costs, and which is wrong at the end of every shorter item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from races import race
from results import arguments, machine, table, write

import xp_istft as xi

N_FFT, HOP = 512, 128
BATCHES = ((8, 4000), (32, 16000), (16, 64000))  # items, samples of the longest; the others have a third of it or more
COLUMNS = ("stft / loop", "istft / loop", "stft / whole", "istft / whole")


def padded(pieces: list[Any], size: int) -> Any:
    """The pieces side by side, with zeros after each."""
    if isinstance(pieces[0], np.ndarray):
        whole = np.zeros((len(pieces), *pieces[0].shape[:-1], size), pieces[0].dtype)
        for row, piece in zip(whole, pieces, strict=True):
            row[..., : piece.shape[-1]] = piece
        return whole
    return torch.stack([torch.nn.functional.pad(piece, (0, size - piece.shape[-1])) for piece in pieces])


def loops(library: str, x: Any, X: Any, lengths: list[int]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Both directions as one writes them without `lengths=`."""
    transform, n_samples, n_frames = xi.STFT(N_FFT, HOP), x.shape[-1], X.shape[-1]
    window = torch.hann_window(N_FFT)
    options: dict[str, Any] = {"n_fft": N_FFT, "hop_length": HOP, "window": window, "pad_mode": "constant"}

    def forward(item: Any) -> Any:
        return torch.stft(item, **options, return_complex=True) if library == "torch" else transform.stft(item)

    def inverse(item: Any, length: int) -> Any:
        item = item[..., : transform.n_frames(length)]
        if library == "torch":
            return torch.istft(item, N_FFT, HOP, window=window, length=length)
        return transform.istft(item, length=length)

    return (
        lambda: padded([forward(item[:length]) for item, length in zip(x, lengths, strict=True)], n_frames),
        lambda: padded([inverse(item, length) for item, length in zip(X, lengths, strict=True)], n_samples),
    )


def ratios(library: str, items: int, longest: int, backward: bool, budget: float) -> list[float | None]:
    """The times of the loop and of the whole batch, divided by ours."""
    rng, transform = np.random.default_rng(0), xi.STFT(N_FFT, HOP)
    lengths = [longest, *rng.integers(longest // 3, longest + 1, items - 1).tolist()]
    x: Any = rng.standard_normal((items, longest), np.float32)
    X: Any = transform.stft(x)
    if library == "torch":
        x, X = (torch.tensor(each, requires_grad=backward) for each in (x, X))
    ways = zip(("stft", "istft"), (x, X), loops(library, x, X, lengths), strict=True)
    found: dict[str, float | None] = {}
    for name, array, loop in ways:
        method = getattr(transform, name)
        runs = {
            "ours": lambda method=method, array=array: method(array, lengths=lengths),
            "loop": loop,
            "whole": lambda method=method, array=array: method(array),
        }
        if backward:
            runs = {each: lambda run=run: run().abs().sum().backward() for each, run in runs.items()}
        result = race(runs, rounds=15, budget=budget)
        found |= {f"{name} / {other}": result.ratio(other, "ours") for other in ("loop", "whole")}
    return [found[column] for column in COLUMNS]


def main() -> None:
    chosen = arguments(__doc__, minutes=1.5, threads=1).parse_args()
    torch.set_num_threads(chosen.threads)
    xi.set_workers(chosen.threads)
    paths = [("NumPy arrays", "numpy", False), ("tensors", "torch", False), ("tensors, with backward", "torch", True)]
    batches = BATCHES[:1] if chosen.quick else BATCHES
    budget = 0.0 if chosen.quick else chosen.minutes * 60 / (2 * len(paths) * len(batches))
    rows = [
        [f"{text}: {items} x {longest}", *ratios(library, items, longest, backward, budget)]
        for text, library, backward in paths
        for items, longest in batches
    ]
    write(
        __file__,
        chosen.output,
        f"Batches of different lengths, on {chosen.threads} thread(s) of {machine().replace('-', ' ')}",
        f"float32, {N_FFT}/{HOP}, frames centred. A number is the median over rounds of another way's time divided "
        "by that of `lengths=` in the same round: above 1, we are faster. The loop calls torch (of tensors) or our own "
        "functions (of NumPy arrays) item after item, and pads and stacks; the whole is one call of ours without "
        "`lengths=`, as if every item were as long as the batch.",
        table(["items x samples of the longest", *COLUMNS], rows),
        suffix=f"-{machine()}",
    )


if __name__ == "__main__":
    main()
