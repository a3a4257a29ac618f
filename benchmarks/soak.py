"""Soak: mixed calls from several threads for as long as they take; memory must level off, and nothing must be left.

    python benchmarks/soak.py                 100000 calls from 4 threads; writes results/soak.md
    python benchmarks/soak.py 5000 --threads 2

Calls are drawn from the pair in both directions, good and refused, NumPy and (where it is there) torch, one-shot,
streamed and by blocks, of 40 sizes. Every result is compared, bit for bit, with the one of a first call alone. Exit
code 1 where a result differs, memory still grows in the second half, or threads or file handles are left.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import platform
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import xp_istft as xi
from xp_istft import blocks

SIZES = [
    (n_fft, hop, window, n_samples)
    for n_fft, hop in ((64, 16), (256, 64), (255, 51), (1024, 256), (60, 7))
    for window in ("hann", "hamming")
    for n_samples in (1500, 4000, 9000, 20000)
]
GROWTH_BYTES = 8 << 20  # of the resident memory over the second half


def state() -> tuple[int, int, int]:
    """Resident bytes, threads and open file handles of this process."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def gil() -> bool:
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def calls() -> list[Callable[[], object]]:
    """Each makes one result, or None where it is refused as it must be."""
    made: list[Callable[[], object]] = []
    for k, (n_fft, hop, window, n_samples) in enumerate(SIZES):
        kept = {"n_fft": n_fft, "hop_length": hop, "window": window}
        t = xi.STFT(**kept)
        single = np.float32 if k % 2 else np.float64
        x = np.random.default_rng(k).standard_normal((1 + k % 3, n_samples)).astype(single)
        X = xi.stft(x, **kept)
        made += [
            lambda x=x, kept=kept: xi.stft(x, **kept),
            lambda X=X, kept=kept: xi.istft(X, **kept),
            lambda X=X, kept=kept: xi.istft(X, **kept, workers=2),
            lambda X=X, t=t: t.istft(X),
            lambda X=X, t=t: by_blocks(X, t),
            lambda X=X, t=t: streamed(X, t),
            lambda X=X, kept=kept: refused(X, kept),
        ]
        if importlib.util.find_spec("torch"):
            import torch

            T = torch.from_numpy(X)
            made.append(lambda T=T, kept=kept: xi.istft(T, **kept).numpy())
    return made


def by_blocks(X: np.ndarray, t: xi.STFT) -> np.ndarray:
    job, _ = t.synthesis("istft", X.shape[-1], None, X)
    return np.concatenate(list(blocks.istft_blocks(lambda a, b: X[..., a:b], job, block_frames=37)), axis=-1)


def streamed(X: np.ndarray, t: xi.STFT) -> np.ndarray:
    stream = xi.StreamingISTFT(t)
    half = X.shape[-1] // 2
    return np.concatenate([stream.push(X[..., :half]), stream.push(X[..., half:]), stream.flush()], axis=-1)


def refused(X: np.ndarray, kept: dict) -> None:
    try:
        xi.istft(X, **{**kept, "hop_length": -1})
    except ValueError:
        return
    raise AssertionError("hop_length=-1 was taken")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calls", nargs="?", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=4)
    chosen = parser.parse_args()
    warnings.simplefilter("error")
    made = calls()
    alone = [call() for call in made]
    wrong: list[int] = []
    left = iter(range(chosen.calls))
    lock = threading.Lock()
    curve: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while not wrong:
            with lock:
                turn = next(left, None)
            if turn is None:
                return
            if turn % max(1, chosen.calls // 20) == 0:
                gc.collect()
                curve.append((turn, state()[0]))
            k = chance.randrange(len(made))
            result = made[k]()
            if alone[k] is not None and not np.array_equal(result, alone[k]):
                wrong.append(k)

    before = state()
    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(chosen.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - start
    gc.collect()
    after = state()
    pool = sum(thread.name == "xp_istft" for thread in threading.enumerate())
    half = [resident for turn, resident in sorted(curve) if turn >= chosen.calls // 2]
    growth = max(half) - half[0]
    libraries = ", ".join(name for name in ("numpy", "torch") if name in sys.modules)
    facts = (
        f"Python {platform.python_version()}{'' if gil() else ' without the GIL'}, {libraries}",
        f"{chosen.calls} calls of {len(made)} kinds from {chosen.threads} threads in {taken:.0f} s, {len(wrong)} wrong",
        "resident MiB: " + " ".join(f"{resident / 2**20:.0f}" for _, resident in sorted(curve)),
        f"growth over the second half: {growth / 2**20:.1f} MiB",
        f"threads: {before[1]} before, {after[1]} after, {pool} of them in the pool",
        f"file handles: {before[2]} before, {after[2]} after",
    )
    print("\n".join(facts))
    if chosen.calls >= 100_000:
        text = (
            "# Soak\n\nMixed calls from several threads. Written by benchmarks/soak.py, which says what they are.\n\n"
        )
        (Path(__file__).parent / "results" / "soak.md").write_text(text + "".join(f"- {fact}\n" for fact in facts))
    lost = after[1] > before[1] + pool or after[2] > before[2]
    return int(bool(wrong) or growth > GROWTH_BYTES or lost)


if __name__ == "__main__":
    sys.exit(main())
