"""What a push of one frame costs beside its bare irfft, whether it stays so, and what an out-of-core inverse takes.

    python benchmarks/streaming.py [--pushes 1000000] [--rounds 15]

writes benchmarks/results/streaming-<machine>.md. Ratios are medians over rounds of alternating runs. (Linux)
"""

from __future__ import annotations

import gc
import tempfile
import time
import tracemalloc

import numpy as np
from peers import Problem
from races import race
from results import arguments, machine, status, table, write

import xp_istft as xi

TRANSFORM = xi.STFT(512, 128)
WHOLE = Problem("a stream", 1, 4096, 512, 128)
CHUNKS = (1, 4, 64, 1024)


def one_frame(dtype: str, rounds: int) -> list[str | float | None]:
    """Microseconds of the bare irfft, and what a push of its frame takes more, in irffts."""
    X = Problem("a frame", 1, 1, 512, 128, dtype).spectrum()[0]
    bare, stream = X[:, 0].copy(), xi.StreamingISTFT(TRANSFORM)
    result = race({"push": lambda: stream.push(X), "irfft": lambda: np.fft.irfft(bare, TRANSFORM.n_fft)}, rounds)
    ratio = result.ratio("push", "irfft")
    return [dtype, 1e6 * result.median("irfft"), ratio and ratio - 1]


def chunks(count: int, rounds: int) -> float | None:
    """Time of pushes of `count` frames, beside that of one call of istft on 4096, for as many."""
    X = WHOLE.spectrum()[0]
    stream = xi.StreamingISTFT(TRANSFORM)
    some = min(4096, 256 * count)
    pieces = [X[:, lo : lo + count] for lo in range(0, some, count)]

    def push() -> None:
        for piece in pieces:
            stream.push(piece)

    ratio = race({"push": push, "istft": lambda: TRANSFORM.istft(X, workers=1)}, rounds).ratio("push", "istft")
    return ratio and ratio * 4096 / some


def flatness(pushes: int) -> str:
    X = WHOLE.spectrum()[0, :, :1]
    stream = xi.StreamingISTFT(TRANSFORM)

    def push(count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            stream.push(X)
        return time.process_time() - start

    push(1000)
    gc.collect()
    before = status("VmRSS")
    seconds = [push(pushes // 10) for _ in range(10)]
    added = status("VmRSS") - before
    tracemalloc.start()
    push(1000)
    traced = tracemalloc.get_traced_memory()[0]
    push(pushes // 50)
    traced = tracemalloc.get_traced_memory()[0] - traced
    tracemalloc.stop()
    return (
        f"{pushes:,} pushes of one frame: the last tenth took {seconds[-1] / seconds[0]:.3f} of the time of the first; "
        f"the process grew by {added:,} bytes; {pushes // 50:,} pushes left {traced:,} bytes of Python's memory."
    )


def out_of_core(minutes: float) -> list[str | float | None]:
    """MiB of a spectrum of zarr chunks, and the peak of Python's memory while it is inverted into zarr."""
    import zarr

    count = int(minutes * 60 * 44100 / 512)
    with tempfile.TemporaryDirectory() as folder:
        X = zarr.create_array(f"{folder}/X", shape=(2, 1025, count), chunks=(2, 1025, 500), dtype="complex64")
        for lo in range(0, count, 500):
            X[:, :, lo : lo + 500] = 1
        out = zarr.create_array(f"{folder}/y", shape=(2, 512 * (count - 1)), chunks=(2, 1 << 18), dtype="float32")
        tracemalloc.start()
        xi.istft(X, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return [f"{minutes:g}", str(X.nbytes >> 20), str(peak >> 20)]


def main() -> None:
    chosen = arguments(__doc__, pushes=1_000_000, rounds=15).parse_args()
    rounds, pushes = (3, 1000) if chosen.quick else (chosen.rounds, chosen.pushes)
    write(
        __file__,
        chosen.output,
        "Streaming",
        f"NumPy, n_fft {TRANSFORM.n_fft}, hop {TRANSFORM.hop_length}, one signal.",
        table(
            ["a push of one frame", "bare irfft, us", "overhead, in irffts"],
            [one_frame(dtype, rounds) for dtype in ("float32", "float64")],
        ),
        table(
            ["frames in a push", *map(str, CHUNKS)],
            [["time / istft's (one call, one thread)", *(chunks(count, rounds) for count in CHUNKS)]],
        ),
        flatness(pushes),
        table(
            ["out of core, zarr to zarr: minutes of stereo", "spectrum, MiB", "peak of Python's memory, MiB"],
            [out_of_core(minutes) for minutes in ((0.1,) if chosen.quick else (5, 20))],
        ),
        suffix=f"-{machine()}",
    )


if __name__ == "__main__":
    main()
