"""Longer than memory: dask stft -> zarr -> istft -> zarr in worker processes of 500 MiB, beside NumPy in memory.

    python benchmarks/dask_scaling.py MACHINE [--minutes 60] [--workers 1 2] [--folder FOLDER]

One thread a worker, as many threads for NumPy as there are workers. The compute part is the time that workers spend
in the tasks of stft and istft (halos included; reading and writing of zarr are tasks of their own), divided by the
number of workers. Each result is compared with NumPy's, bit for bit. Writes benchmarks/results/dask-<machine>.md.
Needs the extra [distributed] and 10 GB of disk for an hour.
"""

import argparse
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster, get_task_stream

import xp_istft as xi

RATE, CHANNELS, N_FFT, HOP = 44100, 2, 2048, 512
LIMIT = 500  # MiB of a worker
OURS = ("analysis", "synthesis", "end")  # names of our tasks


def stored(path, shape, chunks, dtype):
    return zarr.create_array(str(path), shape=shape, chunks=chunks, dtype=dtype, compressors=None, overwrite=True)


def signal(path, n_samples, step):
    """Noise in a zarr array, written block by block."""
    x = stored(path, (CHANNELS, n_samples), (CHANNELS, step), "float32")
    rng = np.random.default_rng(0)
    for lo in range(0, n_samples, step):
        x[:, lo : lo + step] = rng.standard_normal((CHANNELS, min(step, n_samples - lo)), "float32")
    return x


def in_memory(x, workers):
    """Spectrum and signal of each channel by NumPy, with the seconds that both maps took."""
    for channel in range(CHANNELS):
        samples = x[channel]
        start = time.perf_counter()
        X = xi.stft(samples, N_FFT, hop_length=HOP, workers=workers)
        middle = time.perf_counter()
        y = xi.istft(X, hop_length=HOP, length=len(samples), workers=workers)
        yield X, y, middle - start, time.perf_counter() - middle


def peak_mib():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise LookupError("VmHWM")


def computed(stream, workers):
    """Seconds of our tasks for each worker."""
    total = 0.0
    for task in stream.data:
        if str(task["key"]).lstrip("('").startswith(OURS):
            total += sum(each["stop"] - each["start"] for each in task["startstops"] if each["action"] == "compute")
    return total / workers


def on_workers(x, X, y, workers):
    """Wall and compute seconds of stft and istft from zarr to zarr, and the peak of each worker in MiB."""
    limit = f"{LIMIT}MiB"
    times = []
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=limit, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        pids = client.run(lambda: __import__("os").getpid())
        for source, target, transform in (
            (x, X, lambda a: xi.stft(a, N_FFT, hop_length=HOP)),
            (X, y, lambda a: xi.istft(a, hop_length=HOP, length=x.shape[-1])),
        ):
            with get_task_stream(client) as stream:
                start = time.perf_counter()
                result = transform(da.from_zarr(source)).rechunk(target.chunks)  # at most the last chunk is cut
                result.store(target, lock=False)
                wall = time.perf_counter() - start
            times.append((wall, computed(stream, workers)))
        peaks = client.run(peak_mib)
        assert client.run(lambda: __import__("os").getpid()) == pids, "a worker was replaced"
    return times, sorted(peaks.values())


def equal(X, y, expected):
    """Whether what lies in zarr has NumPy's bits, block by block."""
    for channel, (spectrum, samples, *_) in enumerate(expected):
        step = X.chunks[-1]
        for lo in range(0, X.shape[-1], step):
            if not np.array_equal(X[channel, :, lo : lo + step], spectrum[:, lo : lo + step]):
                return False
        if not np.array_equal(y[channel], samples):
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--frames", type=int, default=2000, help="frames of a chunk")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    n_samples = int(chosen.minutes * 60 * RATE)
    step = chosen.frames * HOP
    rows = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        folder = Path(folder)
        x = signal(folder / "x", n_samples, step)
        n_frames = xi.n_frames(n_samples, N_FFT, hop_length=HOP)
        for workers in chosen.workers:
            X = stored(
                folder / "X",
                (CHANNELS, N_FFT // 2 + 1, n_frames),
                (CHANNELS, N_FFT // 2 + 1, chosen.frames),
                "complex64",
            )
            y = stored(folder / "y", x.shape, (CHANNELS, step), "float32")
            times, peaks = on_workers(x, X, y, workers)
            seconds = np.zeros(2)

            def timed():
                for *arrays, forward, inverse in in_memory(x, workers):
                    seconds[:] += forward, inverse
                    yield arrays

            bits = equal(X, y, timed())
            for name, (wall, compute), numpy in zip(("stft", "istft"), times, seconds, strict=True):
                rows.append(
                    [workers, name, numpy, compute, compute / numpy, wall, max(peaks), "equal" if bits else "DIFFERENT"]
                )
                print(*rows[-1], flush=True)
    write(chosen, rows)


def write(chosen, rows):
    lines = [
        f"# {chosen.minutes:g} minutes of stereo at 44.1 kHz through Dask, float32, {N_FFT}/{HOP}",
        "",
        f"Chunks of {chosen.frames} frames, uncompressed zarr on disk, {LIMIT} MiB a worker, one thread each; "
        "made by `benchmarks/dask_scaling.py`.",
        "",
        "| workers | map | NumPy in memory (s) | compute part (s) | ratio | zarr to zarr, wall (s) | peak of a worker (MiB) | bits |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for workers, name, numpy, compute, ratio, wall, peak, bits in rows:
        lines.append(
            f"| {workers} | {name} | {numpy:.1f} | {compute:.1f} | {ratio:.2f} | {wall:.1f} | {peak:.0f} | {bits} |"
        )
    path = Path(__file__).parent / "results" / f"dask-{chosen.machine}.md"
    path.write_text("\n".join(lines) + "\n")
    print(path)


if __name__ == "__main__":
    main()
