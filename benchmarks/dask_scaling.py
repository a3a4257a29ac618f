"""Longer than memory: dask stft -> zarr -> istft -> zarr in worker processes of 500 MiB, beside NumPy in memory.

    python benchmarks/dask_scaling.py MACHINE [--minutes 60] [--workers 1 2] [--folder FOLDER]

One thread a worker, as many threads for NumPy as there are workers. Three parts, written to
benchmarks/results/dask-<machine>.md:

1. from zarr to zarr: wall time, the peak of each worker, and whether what lies there has NumPy's bits;
2. istft(stft(x)) of a part of x that lies in the workers' memory, against the same call of NumPy, in alternating
   runs. Two ratios: of the compute part, the seconds that workers spend in tasks (as their task stream says, summed,
   divided by the number of workers; frames that are made twice and copies of ends are in it); and of the whole, the
   wall time from the call until the last chunk is there, with transfers, scheduling and waiting, where the scheduler,
   the client and the workers' own threads share the cores with the tasks. Each is the least of all rounds by NumPy's
   least, with the ratio of the medians beside it: where a machine has to find memory anew, a round of either may take
   several times as long;
3. what chunks need of each other: frames that are transformed again (as the library does it) against sums of what
   each chunk makes alone, on threads.

Needs the extra [distributed] and 10 GB of disk for an hour.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import dask
import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster, wait
from races import race

import xp_istft as xi
from xp_istft.backends import backend_for
from xp_istft.backends import dask as backend
from xp_istft.frames import Frames

RATE, CHANNELS, N_FFT, HOP = 44100, 2, 2048, 512
T = xi.STFT(N_FFT, HOP)
LIMIT = 500  # MiB of a worker
IN_WORKERS = 10  # minutes of x in the workers' memory
ROUNDS = 15


def stored(path, shape, chunks, dtype):
    return zarr.create_array(str(path), shape=shape, chunks=chunks, dtype=dtype, compressors=None, overwrite=True)


def signal(path, n_samples, step):
    """Noise in a zarr array, written block by block."""
    x = stored(path, (CHANNELS, n_samples), (CHANNELS, step), "float32")
    rng = np.random.default_rng(0)
    for lo in range(0, n_samples, step):
        x[:, lo : lo + step] = rng.standard_normal((CHANNELS, min(step, n_samples - lo)), "float32")
    return x


def peak_mib():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise LookupError("VmHWM")


def round_trip(x, **options):
    return T.istft(T.stft(x, **options), length=x.shape[-1], **options)


def cluster(workers, limit):
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=limit, dashboard_address="127.0.0.1:0", silence_logs=40
    )


def on_workers(x, X, y, workers):
    """Wall seconds of stft and istft from zarr to zarr, and the highest peak of a worker in MiB."""
    walls = []
    with cluster(workers, f"{LIMIT}MiB") as started, Client(started) as client:
        pids = client.run(os.getpid)
        for source, target, transform in (
            (x, X, T.stft),
            (X, y, partial(T.istft, length=x.shape[-1])),
        ):
            start = time.perf_counter()
            result = transform(da.from_zarr(source)).rechunk(target.chunks)  # at most the last chunk is cut
            result.store(target, lock=False)
            walls.append(time.perf_counter() - start)
        peak = max(client.run(peak_mib).values())
        assert client.run(os.getpid) == pids, "a worker was replaced"
    return walls, peak


class Rounds(NamedTuple):
    """Seconds, round by round: in tasks and of the whole by Dask, and by NumPy."""

    tasks: list[float]
    whole: list[float]
    numpy: list[float]

    def ratio(self, name):
        mine = getattr(self, name)
        return f"{min(mine) / min(self.numpy):.2f} ({np.median(mine) / np.median(self.numpy):.2f})"


def in_memory(x, workers, frames):
    """Rounds of the round trip in the workers' memory, in chunks of `frames`, and of NumPy's on as many threads."""
    host = x[:, : IN_WORKERS * 60 * RATE]
    rounds = Rounds([], [], [])
    with cluster(workers, 0) as started, Client(started) as client:  # without a limit: peaks are no matter here
        there = client.persist(da.from_zarr(x)[:, : host.shape[-1]].rechunk((CHANNELS, frames * HOP)))
        wait(there)
        client.get_task_stream()  # from now on it is recorded
        for turn in range(2 + ROUNDS):
            began, start = time.time(), time.perf_counter()
            done = client.persist(round_trip(there))
            wait(done)
            whole = time.perf_counter() - start
            tasks = client.get_task_stream(start=began)
            spans = [each for task in tasks for each in task["startstops"] if each["action"] == "compute"]
            assert {task["key"][0].partition("-")[0] for task in tasks} == {"analysis", "synthesis", "ends"}
            del done
            start = time.perf_counter()
            round_trip(host, workers=workers)
            alone = time.perf_counter() - start
            if turn >= 2:
                rounds.tasks.append(sum(span["stop"] - span["start"] for span in spans) / workers)
                rounds.whole.append(whole)
                rounds.numpy.append(alone)
    return rounds


def equal(x, X, y):
    """Whether what lies in zarr has the bits of NumPy in memory, channel by channel; and NumPy's seconds."""
    seconds = np.zeros(2)
    bits = True
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
    return bool(bits), seconds


def by_sums(X, length):
    """istft of dask array X, as sums of what each chunk makes alone: no frame twice, other bits."""
    job, _ = T.synthesis("istft", X.shape[-1], length, X)
    reach = N_FFT - HOP  # samples that a chunk makes beyond its share
    counts = X.chunks[-1]
    alone = X.map_blocks(
        _alone,
        job,
        drop_axis=1,
        chunks=(X.chunks[0], tuple(n * HOP + reach for n in counts)),
        meta=np.empty((0, 0), "float32"),
    )
    shares = [n * HOP for n in counts[:-1]]
    shares.append(job.frames.span - sum(shares))
    edges = list(accumulate(shares, initial=0))
    kept = {i: (lo, hi) for i, (lo, hi) in enumerate(pairwise(edges))}
    task = partial(_summed, job=job, reach=reach)
    padded = backend._of_chunks("sums", alone, kept, reach, 0, task, (X.chunks[0], tuple(shares)), alone._meta)
    return padded[..., job.frames.start : job.frames.stop]


def _alone(block, job):
    frames = Frames(N_FFT, HOP, block.shape[-1], 0, N_FFT + HOP * (block.shape[-1] - 1))
    return backend_for(block).synthesis(block, replace(job, frames=frames, gain=None), workers=1)


def _summed(block, before, after, lo, hi, job, reach):
    share = block[..., : hi - lo].copy()
    if before is not None:
        share[..., :reach] += before
    return share * job.gain.samples(lo, hi).astype("float32")


def edges(frames):
    """Race of the two ways to make what crosses the border of two chunks, on threads, X in memory."""
    length = 40 * frames * HOP
    X = T.stft(np.random.default_rng(0).standard_normal((CHANNELS, length), "float32"))
    lazy = da.from_array(X, chunks=(CHANNELS, -1, frames), name=False)
    with dask.config.set(scheduler="threads", num_workers=2):
        halos, sums = T.istft(lazy, length=length), by_sums(lazy, length)
        assert np.allclose(halos, sums, atol=1e-5)
        return race({"halos": halos.compute, "sums": sums.compute}, rounds=9, budget=30)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--frames", type=int, default=2000, help="frames of a chunk")
    parser.add_argument("--folder", type=Path, help="where zarr arrays are made")
    chosen = parser.parse_args()
    n_samples = int(chosen.minutes * 60 * RATE)
    n_frames, n_bins = T.n_frames(n_samples), T.n_bins
    step = chosen.frames * HOP
    rows = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        x = signal(Path(folder) / "x", n_samples, step)
        for workers in chosen.workers:
            X = stored(Path(folder) / "X", (CHANNELS, n_bins, n_frames), (CHANNELS, n_bins, chosen.frames), "complex64")
            y = stored(Path(folder) / "y", x.shape, (CHANNELS, step), "float32")
            walls, peak = on_workers(x, X, y, workers)
            small, large = (in_memory(x, workers, frames) for frames in (chosen.frames, 2 * chosen.frames))
            bits, seconds = equal(x, X, y)
            rows.append(
                f"| {workers} | {walls[0]:.1f} + {walls[1]:.1f} | {seconds[0]:.1f} + {seconds[1]:.1f} | {peak:.0f} "
                f"| {'equal' if bits else 'DIFFERENT'} | {small.ratio('tasks')} | {small.ratio('whole')} "
                f"| {large.ratio('tasks')} | {large.ratio('whole')} |"
            )
            print(rows[-1], flush=True)
    lines = [
        f"# {chosen.minutes:g} minutes of stereo at 44.1 kHz through Dask, float32, {N_FFT}/{HOP}",
        "",
        f"Chunks of {chosen.frames} frames, uncompressed zarr on disk, {LIMIT} MiB a worker, one thread each; made by "
        "`benchmarks/dask_scaling.py`.",
        "",
        "| workers | zarr to zarr, stft + istft (s) | NumPy in memory, all cores (s) | peak of a worker (MiB) | bits "
        "| compute part / NumPy | whole / NumPy | compute part, chunks twice as long | whole, chunks twice as long |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"The last four columns: {IN_WORKERS} minutes that lie in the workers' memory, against NumPy on as many "
        "threads. The compute part is what workers spend in tasks, divided by the number of workers. The whole is wall "
        "time: transfers, scheduling and waiting are in it, and the scheduler, the client and the workers' own threads "
        f"run on the same cores ({os.cpu_count()} here). Least of {ROUNDS} rounds by NumPy's least; in parentheses the "
        "ratio of the medians.",
        "",
        "What crosses the borders of chunks: sums of what each chunk makes alone, against frames that are transformed "
        "again (which the library does: its bits do not depend on the chunks), istft on two threads:",
        "",
    ]
    for frames in (250, 1000, 4000):
        result = edges(frames)
        lines.append(f"- chunks of {frames} frames: {result.ratio('sums', 'halos'):.2f} times as long")
        print(lines[-1], flush=True)
    path = Path(__file__).parent / "results" / f"dask-{chosen.machine}.md"
    path.write_text("\n".join(lines) + "\n")
    print(path)


if __name__ == "__main__":
    main()
