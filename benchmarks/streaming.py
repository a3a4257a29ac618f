"""What a push of one frame costs beside its bare irfft, whether it stays so, and what an out-of-core inverse takes.

    python benchmarks/streaming.py [--pushes 1000000] [--rounds 15]

writes benchmarks/results/streaming-<machine>.md. Ratios are medians over rounds of alternating runs. (Linux)
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from cpu import machine
from races import race

import xp_istft as xi

TRANSFORM = xi.STFT(512, 128)
CHUNKS = (1, 4, 64, 1024)


def resident() -> int:
    """Bytes of memory that the process holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise LookupError("VmRSS")


def frames(count: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (TRANSFORM.n_bins, count)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def one_frame(dtype: str, rounds: int) -> tuple[float, float]:
    """Microseconds of the bare irfft, and the median of (push - irfft) / irfft."""
    X = frames(1, dtype)
    bare = X[:, 0].copy()
    stream = xi.StreamingISTFT(TRANSFORM)
    for _ in range(8):
        stream.push(X)
    result = race({"push": lambda: stream.push(X), "irfft": lambda: np.fft.irfft(bare, TRANSFORM.n_fft)}, rounds)
    return 1e6 * result.median("irfft"), result.ratio("push", "irfft") - 1


def chunks(dtype: str, rounds: int) -> dict[int, float]:
    """Time of pushes of some frames, beside that of one call of istft on 4096 frames, for as many."""
    X = np.ascontiguousarray(frames(4096, dtype).T).T
    found = {}
    for count in CHUNKS:
        stream = xi.StreamingISTFT(TRANSFORM)
        whole = min(4096, 256 * count)
        pieces = [X[:, lo : lo + count] for lo in range(0, whole, count)]

        def push(stream=stream, pieces=pieces) -> None:
            for piece in pieces:
                stream.push(piece)

        result = race({"push": push, "istft": lambda: TRANSFORM.istft(X, workers=1)}, rounds)
        found[count] = result.ratio("push", "istft") * 4096 / whole
    return found


def flatness(pushes: int) -> tuple[float, int, int]:
    """Of ever more pushes: time of the last tenth over that of the first, and bytes that were added meanwhile."""
    X = frames(1, "complex64")
    stream = xi.StreamingISTFT(TRANSFORM)
    for _ in range(1000):
        stream.push(X)
    gc.collect()
    seconds, before = [], resident()
    for _ in range(10):
        start = time.process_time()
        for _ in range(pushes // 10):
            stream.push(X)
        seconds.append(time.process_time() - start)
    added = resident() - before
    tracemalloc.start()
    for _ in range(1000):
        stream.push(X)
    traced = tracemalloc.get_traced_memory()[0]
    for _ in range(20_000):
        stream.push(X)
    traced = tracemalloc.get_traced_memory()[0] - traced
    tracemalloc.stop()
    return seconds[-1] / seconds[0], added, traced


def out_of_core(minutes: int) -> tuple[int, int]:
    """Megabytes of a spectrum of zarr chunks, and the peak of Python's memory while it is inverted into zarr."""
    import zarr

    count = minutes * 60 * 44100 // 512
    with tempfile.TemporaryDirectory() as folder:
        X = zarr.create_array(f"{folder}/X", shape=(2, 1025, count), chunks=(2, 1025, 500), dtype="complex64")
        for lo in range(0, count, 500):
            X[:, :, lo : lo + 500] = 1
        out = zarr.create_array(f"{folder}/y", shape=(2, 512 * (count - 1)), chunks=(2, 1 << 18), dtype="float32")
        tracemalloc.start()
        xi.istft(X, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return X.nbytes >> 20, peak >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pushes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--minutes", type=int, nargs="*", default=[5, 20])
    chosen = parser.parse_args()
    lines = [
        "# Streaming",
        "",
        f"{machine()}; numpy {np.__version__}; n_fft {TRANSFORM.n_fft}, hop {TRANSFORM.hop_length}, one signal.",
        "",
        "| a push of one frame | bare irfft, us | overhead, in irffts |",
        "| --- | --- | --- |",
    ]
    for dtype in ("complex64", "complex128"):
        bare, overhead = one_frame(dtype, chosen.rounds)
        lines.append(f"| {dtype} | {bare:.1f} | {overhead:.2f} |")
    lines += ["", "| frames in a push | " + " | ".join(map(str, CHUNKS)) + " |", "| --- " * (len(CHUNKS) + 1) + "|"]
    found = chunks("complex64", chosen.rounds)
    lines.append(
        "| time / istft's (one call, one thread) | " + " | ".join(f"{ratio:.2f}" for ratio in found.values()) + " |"
    )
    ratio, added, traced = flatness(chosen.pushes)
    lines += [
        "",
        f"{chosen.pushes:,} pushes of one frame: the last tenth took {ratio:.3f} of the time of the first; the process "
        f"grew by {added:,} bytes; 20,000 pushes left {traced:,} bytes of Python's memory.",
        "",
        "| out of core, zarr to zarr: minutes of stereo | spectrum, MiB | peak of Python's memory, MiB |",
        "| --- | --- | --- |",
    ]
    for minutes in chosen.minutes:
        size, peak = out_of_core(minutes)
        lines.append(f"| {minutes} | {size} | {peak} |")
    text = "\n".join(lines) + "\n"
    print(text)
    path = Path(__file__).parent / "results" / f"streaming-{machine()}.md"
    path.write_text(text)


if __name__ == "__main__":
    main()
