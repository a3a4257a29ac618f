"""Longer than memory: dask stft -> zarr -> istft -> zarr in worker processes of 500 MiB, beside NumPy in memory.

    python benchmarks/dask_scaling.py [--minutes 60] [--frames 2000] [--workers 1 2] [--folder FOLDER]

One thread a worker, as many threads for NumPy as there are workers. Written to benchmarks/results/dask_scaling-*.md:
wall time from zarr to zarr, the peak of each worker, whether what lies there has NumPy's bits; and the round trip of a
part of x that lies in the workers' memory, against the same call of NumPy, in alternating runs: of the compute part
(the seconds that workers spend in tasks, as their task stream says, divided by the number of workers; frames that are
made twice are in it), and of the whole (the wall time until the last chunk is there, with transfers, scheduling and
waiting, where the scheduler, the client and the workers' own threads share the cores with the tasks). Each is the
least of all rounds by NumPy's least: where a machine has to find memory anew, a round of either may take several times
as long; the ratio of the medians stands beside it.

Needs the extra [distributed] and 10 GB of disk for an hour.
"""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster, wait
from results import arguments, machine, status, table, write

import xp_istft as xi

RATE, CHANNELS = 44100, 2
T = xi.STFT(2048, 512)
LIMIT = 500  # MiB of a worker


def stored(path: Path, shape: tuple[int, ...], step: int, dtype: str) -> Any:
    """A zarr array in chunks of `step` along its last axis."""
    chunks = (*shape[:-1], min(step, shape[-1]))
    return zarr.create_array(str(path), shape=shape, chunks=chunks, dtype=dtype, compressors=None, overwrite=True)


def cluster(workers: int, limit: str | int) -> LocalCluster:
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=limit, dashboard_address="127.0.0.1:0", silence_logs=40
    )


def from_zarr_to_zarr(x: Any, X: Any, y: Any, workers: int) -> tuple[list[float], float]:
    """Wall seconds of stft and istft, and the highest peak of a worker in MiB."""
    walls = []
    with cluster(workers, f"{LIMIT}MiB") as started, Client(started) as client:
        pids = client.run(os.getpid)
        for source, target, transform in ((x, X, T.stft), (X, y, partial(T.istft, length=x.shape[-1]))):
            start = time.perf_counter()
            transform(da.from_zarr(source)).rechunk(target.chunks).store(target, lock=False)
            walls.append(time.perf_counter() - start)
        peak = max(client.run(status, "VmHWM").values())
        assert client.run(os.getpid) == pids, "a worker was replaced"
    return walls, peak / 2**20


def by_numpy(x: Any, X: Any, y: Any) -> tuple[bool, list[float]]:
    """Whether what lies in zarr has the bits of NumPy in memory, channel by channel; and NumPy's seconds."""
    seconds, bits = np.zeros(2), True
    for channel in range(CHANNELS):
        samples = x[channel]
        start = time.perf_counter()
        spectrum = T.stft(samples)
        middle = time.perf_counter()
        back = T.istft(spectrum, length=len(samples))
        seconds += middle - start, time.perf_counter() - middle
        for lo in range(0, X.shape[-1], X.chunks[-1]):
            part = slice(lo, lo + X.chunks[-1])
            bits &= np.array_equal(X[channel, :, part], spectrum[:, part])
        bits &= np.array_equal(y[channel], back)
    return bool(bits), list(seconds)


def in_memory(x: Any, workers: int, steps: tuple[int, ...], rounds: int) -> list[str]:
    """The round trip in the workers' memory, in chunks of each step: its compute part and whole, by NumPy's time."""
    ratios = []
    with cluster(workers, 0) as started, Client(started) as client:  # without a limit: peaks are no matter here
        for step in steps:
            there = client.persist(da.from_zarr(x)[:, : 10 * 60 * RATE].rechunk((CHANNELS, step)))
            seconds = in_turn(client, there, x[:, : 10 * 60 * RATE], workers, rounds)
            for name in ("tasks", "whole"):
                least, median = (each(seconds[name]) / each(seconds["numpy"]) for each in (min, np.median))
                ratios.append(f"{least:.2f} ({median:.2f})")
    return ratios


def in_turn(client: Client, there: Any, host: np.ndarray, workers: int, rounds: int) -> dict[str, list[float]]:
    """Seconds in tasks and of the whole by Dask, and by NumPy, of each round but the first two."""
    seconds: dict[str, list[float]] = {"tasks": [], "whole": [], "numpy": []}
    wait(there)
    client.get_task_stream()  # from now on it is recorded
    for _ in range(2 + rounds):
        began, start = time.time(), time.perf_counter()
        done = client.persist(T.istft(T.stft(there), length=host.shape[-1]))
        wait(done)
        seconds["whole"].append(time.perf_counter() - start)
        spans = [each for task in client.get_task_stream(start=began) for each in task["startstops"]]
        computed = [each["stop"] - each["start"] for each in spans if each["action"] == "compute"]
        seconds["tasks"].append(sum(computed) / workers)
        del done
        start = time.perf_counter()
        T.istft(T.stft(host, workers=workers), length=host.shape[-1], workers=workers)
        seconds["numpy"].append(time.perf_counter() - start)
    return {name: each[2:] for name, each in seconds.items()}


def main() -> None:
    parser = arguments(__doc__, minutes=60.0, frames=2000, rounds=15)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="where zarr arrays are made")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.minutes, chosen.frames, chosen.rounds, chosen.workers = 0.1, 200, 1, [1]
    n_samples, step = int(chosen.minutes * 60 * RATE), chosen.frames * T.hop_length
    rows: list[list[str | float | None]] = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        x = stored(Path(folder) / "x", (CHANNELS, n_samples), step, "float32")
        rng = np.random.default_rng(0)
        for lo in range(0, n_samples, step):
            x[:, lo : lo + step] = rng.standard_normal((CHANNELS, min(step, n_samples - lo)), "float32")
        for workers in chosen.workers:
            shape = CHANNELS, T.n_bins, T.n_frames(n_samples)
            X = stored(Path(folder) / "X", shape, chosen.frames, "complex64")
            y = stored(Path(folder) / "y", x.shape, step, "float32")
            walls, peak = from_zarr_to_zarr(x, X, y, workers)
            ratios = in_memory(x, workers, (step, 2 * step), chosen.rounds)
            bits, seconds = by_numpy(x, X, y)
            times = (f"{one:.1f} + {two:.1f}" for one, two in (walls, seconds))
            rows.append([str(workers), *times, f"{peak:.0f}", "equal" if bits else "DIFFERENT", *ratios])
            print(rows[-1], flush=True)
    head = [
        "workers",
        "zarr to zarr, stft + istft (s)",
        "NumPy in memory, all cores (s)",
        "peak of a worker (MiB)",
        "bits",
    ]
    parts = ("compute part / NumPy", "whole / NumPy")
    write(
        __file__,
        chosen.output,
        f"{chosen.minutes:g} minutes of stereo at 44.1 kHz through Dask, float32, {T.n_fft}/{T.hop_length}",
        f"Chunks of {chosen.frames} frames, uncompressed zarr on disk, {LIMIT} MiB a worker, one thread each.",
        table([*head, *parts, *(f"{part}, chunks twice as long" for part in parts)], rows),
        "The last four columns: 10 minutes that lie in the workers' memory, against NumPy on as many threads. The "
        "compute part is what workers spend in tasks, divided by the number of workers. The whole is wall time: "
        "transfers, scheduling and waiting are in it, and the scheduler, the client and the workers' own threads run "
        f"on the same cores. Least of {chosen.rounds} rounds by NumPy's least; in parentheses the ratio of medians.",
        suffix=f"-{machine()}",
    )


if __name__ == "__main__":
    main()
