"""Soak: mixed calls from several threads for as long as they take; memory must level off, and nothing must be left.

    python benchmarks/soak.py                 100000 calls from 4 threads
    python benchmarks/soak.py 5000 --threads 2

writes benchmarks/results/soak.md. Calls are drawn from the pair in both directions, good and refused, NumPy and (where
it is there) torch, one-shot, streamed and by blocks, of 40 sizes. Every result is compared, bit for bit, with the one
of a first call alone. Exit code 1 where a result differs, memory still grows in the second half, or threads or file
handles are left.
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from results import arguments, status, write

import xp_istft as xi
from xp_istft import blocks

SIZES = ((64, 16), (256, 64), (255, 51), (1024, 256), (60, 7))
GROWTH_BYTES = 8 << 20  # of the resident memory over the second half


def state() -> tuple[int, int]:
    """Threads and open file handles of this process."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def calls(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Callable[[], object]]:
    """Each makes one result, or None where it is refused as it must be."""
    made: list[Callable[[], object]] = []
    kinds = itertools.product(sizes, ("hann", "hamming"), (1500, 4000, 9000, 20000))
    for k, ((n_fft, hop), window, n_samples) in enumerate(kinds):
        given = {"n_fft": n_fft, "hop_length": hop, "window": window}
        t = xi.STFT(**given)
        x = np.random.default_rng(k).standard_normal((1 + k % 3, n_samples)).astype("f" if k % 2 else "d")
        X = xi.stft(x, **given)
        made += [partial(xi.stft, x, **given), partial(xi.istft, X, **given), partial(xi.istft, X, **given, workers=2)]
        made += [partial(t.istft, X), partial(by_blocks, X, t), partial(streamed, X, t), partial(refused, X, given)]
        if importlib.util.find_spec("torch"):
            import torch

            made.append(partial(xi.istft, torch.from_numpy(X), **given))
    return made


def by_blocks(X: np.ndarray, t: xi.STFT) -> np.ndarray:
    job, _ = t.synthesis("istft", X.shape[-1], None, X)
    return np.concatenate(list(blocks.istft_blocks(lambda a, b: X[..., a:b], job, block_frames=37)), axis=-1)


def streamed(X: np.ndarray, t: xi.STFT) -> np.ndarray:
    stream = xi.StreamingISTFT(t)
    half = X.shape[-1] // 2
    return np.concatenate([stream.push(X[..., :half]), stream.push(X[..., half:]), stream.flush()], axis=-1)


def refused(X: np.ndarray, given: dict) -> None:
    try:
        xi.istft(X, **{**given, "hop_length": -1})
    except ValueError:
        return
    raise AssertionError("hop_length=-1 was taken")


def soaked(made: list[Callable[[], object]], count: int, n_threads: int) -> tuple[list[int], list[int]]:
    """Which calls gave other bits than alone, and the resident bytes at 20 points of the way."""
    alone = [call() for call in made]
    wrong: list[int] = []
    curve: list[int] = []
    left, lock = iter(range(count)), threading.Lock()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while not wrong:
            with lock:
                turn = next(left, None)
                if turn is None:
                    return
                if turn % max(1, count // 20) == 0:
                    gc.collect()
                    curve.append(status("VmRSS"))
            k = chance.randrange(len(made))
            result = made[k]()
            if alone[k] is not None and not np.array_equal(result, alone[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong, curve


def main() -> int:
    parser = arguments(__doc__, threads=4)
    parser.add_argument("calls", nargs="?", type=int, default=100_000)
    chosen = parser.parse_args()
    count = 200 if chosen.quick else chosen.calls
    warnings.simplefilter("error")
    made = calls(SIZES[:1] if chosen.quick else SIZES)
    before, start = state(), time.perf_counter()
    wrong, curve = soaked(made, count, chosen.threads)
    taken = time.perf_counter() - start
    gc.collect()
    after = state()
    pool = sum(thread.name == "xp_istft" for thread in threading.enumerate())
    half = curve[len(curve) // 2 :]
    growth = max(half) - half[0]
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    facts = (
        f"{count} calls of {len(made)} kinds from {chosen.threads} threads in {taken:.0f} s"
        f"{'' if gil else ' without the GIL'}, {len(wrong)} wrong",
        "resident MiB: " + " ".join(f"{resident / 2**20:.0f}" for resident in curve),
        f"growth over the second half: {growth / 2**20:.1f} MiB",
        f"threads: {before[0]} before, {after[0]} after, {pool} of them in the pool",
        f"file handles: {before[1]} before, {after[1]} after",
    )
    write(__file__, chosen.output, "Soak", "\n".join(f"- {fact}" for fact in facts))
    lost = after[0] > before[0] + pool or after[1] > before[1]
    return int(bool(wrong) or growth > GROWTH_BYTES or lost)


if __name__ == "__main__":
    sys.exit(main())
