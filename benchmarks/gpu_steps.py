"""What `gpu_day.py` runs on a card: python benchmarks/gpu_steps.py [--dry] {versions,checks,times,profile,small}

--dry: CuPy is the fake of tests/cuda, torch and JAX use the CPU, and what only a device can show is left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gpu import PROBLEMS, passes
from peers import TINY, Problem
from results import table, versions

import xp_istft as xi

ROOT = Path(__file__).parents[1]
SECONDS = float(os.environ.get("GPU_DAY_SECONDS", "90"))  # after which no new part begins
BEGAN = time.monotonic()
L2_BYTES = 256 << 20  # more than any card's cache: arrays that together have as many are read from memory


@dataclass(frozen=True)
class Card:
    """Where things run: CuPy (or its fake), and what torch calls the device."""

    cupy: Any
    dry: bool

    @property
    def torch_device(self) -> str:
        return "cpu" if self.dry else "cuda"

    def chosen(self, full: int, dry: int) -> int:
        return dry if self.dry else full


@contextmanager
def at_hand(dry: bool) -> Iterator[Card]:
    if not dry:
        yield Card(import_module("cupy"), dry)
        return
    sys.path.insert(0, str(ROOT / "tests" / "cuda"))
    import pytest
    from emulator import fake_cupy, shim

    folder = Path(os.environ["GPU_DAY_FOLDER"])  # of compiled kernels, shared by the steps
    fake = fake_cupy.FakeCupy(lambda code, options: shim.ShimModule(code=code, options=options, cache=folder))
    with fake.installed(pytest.MonkeyPatch(), "xp_istft.backends.cupy"):
        yield Card(import_module("cupy"), dry)


def no_time() -> bool:
    return time.monotonic() - BEGAN > SECONDS


def noise(*shape: int, dtype: str = "complex64") -> np.ndarray:
    random = np.random.default_rng(len(shape))
    values = random.standard_normal(shape)
    return (values + 1j * random.standard_normal(shape) if dtype[0] == "c" else values).astype(dtype)


def near(got: Any, want: Any, most: float = 1e-5) -> str:
    """The relative error, which is at most `most`."""
    got, want = (np.asarray(each.get() if hasattr(each, "get") else each) for each in (got, want))
    assert got.shape == want.shape, (got.shape, want.shape)
    error = float(np.linalg.norm((got - want).ravel()) / max(np.linalg.norm(want.ravel()), 1e-30))
    assert error < most, f"relative error {error:.1e}, allowed {most:.0e}"  # NaN fails
    return f"relative error {error:.1e}"


def layouts(card: Card, X: np.ndarray) -> list[Any]:
    """Bin by bin and frame by frame in memory."""
    by_frame = np.ascontiguousarray(X.swapaxes(-1, -2))
    return [card.cupy.asarray(X), card.cupy.asarray(by_frame).swapaxes(-1, -2)]


# ---- checks: what neither step 8 of tests/cuda nor the fixture `xp` has; each says what it found --------------------


def torch_values(card: Card) -> str:
    import torch

    for dtype, most in (("complex64", 1e-5), ("complex128", 1e-13)):
        X = noise(2, 33, 20, dtype=dtype)
        for tensor in (torch.from_numpy(X), torch.from_numpy(np.ascontiguousarray(X.swapaxes(1, 2))).mT):
            T = tensor.to(card.torch_device)
            y = xi.istft(T)
            assert y.device.type == card.torch_device
            assert torch.equal(y, xi.istft(T))
            near(y.cpu(), xi.istft(X.astype(complex)), most)
            near(xi.stft(y, 64).cpu(), xi.stft(y.cpu().double().numpy(), 64), most)
            out = torch.empty_like(y)
            assert xi.istft(T, out=out) is out
            assert torch.equal(out, y)
    return near(xi.istft(T.conj()).cpu(), xi.istft(X.conj()))


def torch_gradients(card: Card) -> str:
    import torch

    X = torch.from_numpy(noise(2, 9, 7, dtype="complex128")).to(card.torch_device).requires_grad_()
    x = torch.from_numpy(noise(2, 60, dtype="float64")).to(card.torch_device).requires_grad_()
    w = torch.hann_window(16, dtype=torch.float64, device=card.torch_device).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda X, w: xi.istft(X, window=w), (X, w), fast_mode=True)
    assert torch.autograd.gradcheck(lambda x, w: torch.view_as_real(xi.stft(x, 16, window=w)), (x, w), fast_mode=True)
    T = torch.from_numpy(noise(2, 33, 20)).to(card.torch_device).requires_grad_()
    C = T.detach().cpu().to(torch.complex128).requires_grad_()
    for each in (T, C):
        (xi.istft(each) ** 2).sum().backward()
    return near(T.grad.cpu(), C.grad)


def outs_of_any_strides(card: Card) -> str:
    """Batch axes with no common stride, samples with room between them."""
    X = noise(2, 3, 33, 9)
    want = xi.istft(X)
    for engine in ("cufft", "fused"):
        with xi.gpu_engine(engine):
            wide = card.cupy.empty((2, 5, 2 * want.shape[-1]), np.float32)
            xi.istft(card.cupy.asarray(X), out=wide[:, :3, ::2])
            near(wide[:, :3, ::2], want)
            spectra = card.cupy.empty((2, 5, 33, 9), np.complex64)
            xi.stft(card.cupy.asarray(want), 64, out=spectra[:, :3])
            said = near(spectra[:, :3], xi.stft(want, 64))
    return said


def pairs_at_odd_places(card: Card) -> str:
    """Rows of real pairs an odd number of floats apart, and pairs that begin at an odd float."""
    floats = noise(33 * 41 + 1, dtype="float32")
    for host in (floats[1:].reshape(33, 41)[:, :40], floats[: 33 * 41].reshape(33, 41)[:, :40]):
        want = xi.istft(np.ascontiguousarray(host).view(np.complex64))
        device = card.cupy.asarray(floats)
        pitched = (device[1:] if host.ctypes.data != floats.ctypes.data else device[: 33 * 41]).reshape(33, 41)
        said = near(xi.istft(xi.as_complex(pitched[:, :40].reshape(33, 20, 2))), want)
    return said


def many_items(card: Card) -> str:
    """More than 65,535: the grid's second axis ends there."""
    X = noise(card.chosen(70_000, 50), 33, 6)
    want = xi.istft(X.astype(complex))
    for engine in ("cufft", "fused"):
        with xi.gpu_engine(engine):
            for array in layouts(card, X):
                near(xi.istft(array), want)
            x = noise(len(X), 100, dtype="float32")
            near(xi.stft(card.cupy.asarray(x), 64), xi.stft(x.astype(float), 64))
    framed = xi.frame(card.cupy.asarray(x), 16, 4)
    return near(xi.overlap_add(framed, 4), xi.overlap_add(xi.frame(x, 16, 4), 4))


def frequencies_and_least_squares(card: Card) -> str:
    x = noise(2, 600, dtype="float64")
    transform = xi.STFT(64, 16, frequencies=xi.linear_frequencies(50, 0, 4000, 8000))
    X = transform.stft(card.cupy.asarray(x))
    near(X, transform.stft(x), 1e-11)
    return near(transform.istft(X, length=600), transform.istft(X.get(), length=600), 1e-7)


def phases(card: Card) -> str:
    S = np.abs(xi.stft(noise(2000, dtype="float64"), 64))
    device = card.cupy.asarray(S)
    near(xi.griffin_lim(device, n_iter=4, rng=1), xi.griffin_lim(S, n_iter=4, rng=1), 1e-6)
    return near(xi.pghi(device, rng=1), xi.pghi(S, rng=1), 1e-9)


def streams_without_end(card: Card) -> str:
    X, stream = noise(2, 33, 60, dtype="complex128"), xi.StreamingISTFT(xi.STFT(64))
    device = card.cupy.asarray(X)
    pieces = [stream.push(device[..., m : m + 5]) for m in range(0, 60, 5)] + [stream.flush()]
    return near(np.concatenate([piece.get() for piece in pieces], axis=-1), xi.istft(X), 1e-12)


def jax_on_the_device(card: Card) -> str:
    import jax

    jax.config.update("jax_enable_x64", True)
    assert jax.devices()[0].platform == "gpu", jax.devices()
    X = noise(2, 33, 20)
    J = jax.numpy.asarray(X)
    near(jax.jit(xi.istft)(J), xi.istft(X.astype(complex)))
    y = xi.istft(J)
    near(xi.stft(y, 64), xi.stft(np.asarray(y, float), 64))
    assert bool(jax.numpy.isfinite(jax.grad(lambda X: (xi.istft(X) ** 2).sum())(J)).all())
    x, transform = noise(2, 600, dtype="float32"), xi.STFT(64, frequencies=xi.linear_frequencies(50, 0, 4000, 8000))
    got, want = np.asarray(transform.stft(jax.numpy.asarray(x))), transform.stft(x.astype(float))
    return f"float32 products, which may take TF32: {np.linalg.norm(got - want) / np.linalg.norm(want):.1e}"


def torchs_streams(card: Card) -> str:
    """Results whose memory goes back while their work is queued, on four streams."""
    import torch

    X = [torch.from_numpy(noise(4, 257, 400 + k)).cuda() for k in range(4)]
    want = [xi.istft(each).clone() for each in X]
    streams = [torch.cuda.Stream() for _ in X]
    torch.cuda.synchronize()
    for turn in range(30):
        got = []
        for stream, each in zip(streams, X, strict=True):
            with torch.cuda.stream(stream):
                y = xi.istft(each)
                got.append(y * 1)
                del y
                got[-1] = got[-1] + 0 * xi.stft(got[-1], 512).abs().sum()
        torch.cuda.synchronize()
        for mine, its in zip(got, want, strict=True):
            assert torch.equal(mine, its), f"turn {turn}"
    assert all(stream.query() for stream in streams), "a stream that was lent is gone"
    return "30 turns"


def torchs_graph(card: Card) -> str:
    import torch

    from xp_istft.backends.cupy import GraphMemory, stream_of

    T, memory, stream = torch.from_numpy(noise(2, 257, 60)).cuda(), GraphMemory(), torch.cuda.Stream()
    out, graph = torch.empty_like(xi.istft(T)), torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream), stream_of(stream, 0), memory:
        xi.istft(T, out=out)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream), stream_of(stream, 0), memory:
        xi.istft(T, out=out)
    for turn in range(3):
        T.mul_(1 + turn)
        out.zero_()
        torch.cuda.synchronize()
        graph.replay()
        torch.cuda.synchronize()
        said = near(out.cpu(), xi.istft(T.cpu().numpy().astype(complex)))
    return said


def threads_and_plans(card: Card) -> str:
    """Eight threads on streams of their own, and more sizes than plans are kept."""
    X = [card.cupy.asarray(noise(1 + k % 3, 257, 40 + 90 * k)) for k in range(40)]
    want = [xi.istft(each).get() for each in X]
    failures: list[Any] = []
    card.cupy.cuda.Device().synchronize()

    def work(first: int) -> None:
        try:
            with card.cupy.cuda.Stream(non_blocking=True) as stream:
                for k in [*range(first, 40), *range(first)]:
                    y = xi.istft(X[k])
                    stream.synchronize()
                    if not (y.get() == want[k]).all():
                        failures.append(k)
        except Exception as cause:
            failures.append(cause)

    workers = [threading.Thread(target=work, args=(5 * k,)) for k in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures
    return "8 threads, 40 sizes"


class Captured(NamedTuple):
    """A graph of one call, and the memory that it works with."""

    graph: Any
    memory: Any


def captured(card: Card, call: Callable[[], Any]) -> Captured:
    """On the current stream."""
    from xp_istft.backends.cupy import GraphMemory

    memory, stream = GraphMemory(), card.cupy.cuda.get_current_stream()
    with memory:
        call()  # once before, so that kernels, plans and windows are there
    stream.begin_capture()
    with memory:
        call()
    return Captured(stream.end_capture(), memory)


def graphs_and_the_pool(card: Card) -> str:
    """Arrays made after a capture, where its scratch could have been, are not overwritten by a replay."""
    for engine in ("cufft", "fused"):
        with card.cupy.cuda.Stream(non_blocking=True), xi.gpu_engine(engine):
            X = card.cupy.asarray(noise(2, 257, card.chosen(400, 10)))
            out = xi.istft(X)
            call = captured(card, lambda X=X, out=out: xi.istft(X, out=out))
            sizes = (2 * X.size, 2 * X.shape[-1] * 512) * 3
            others = [card.cupy.asarray(np.full(size, 7, np.float32)) for size in sizes]
            call.graph.launch()
            spoilt = sum(int((other.get() != 7).any()) for other in others)
        assert not spoilt, f"{engine}: a replay overwrote {spoilt} of {len(others)} arrays"
    return "none of 12 arrays was overwritten"


def graphs_and_the_caches(card: Card) -> str:
    """A replay after more sizes than plans and windows are kept elsewhere."""
    with card.cupy.cuda.Stream(non_blocking=True):
        X = card.cupy.asarray(noise(2, 257, 100))
        out = xi.istft(X)
        want = out.get()
        call = captured(card, lambda: xi.istft(X, out=out))
        for k in range(140):
            xi.istft(card.cupy.asarray(noise(1, 34 + k, 5)))
        out[...] = 0
        call.graph.launch()
        return near(out, want)


def many_frames(card: Card) -> str:
    """Segments of more than 2**31 elements in one item, though positions have 32 bits."""
    cupy = card.cupy
    x = cupy.random.random(2**20 + 2**17 + 2048, dtype=np.float32)
    framed = xi.frame(x, 2048, 1)
    assert framed.size > 2**31
    for m in (0, 2**20, framed.shape[-1] - 1):
        assert bool((framed[:, m] == x[m : m + 2048]).all())
    y = xi.overlap_add(framed, 1)
    said = near(y[5000:-5000], 2048 * x[5000:-5000].astype(float), 1e-4)
    del framed, y
    cupy.get_default_memory_pool().free_all_blocks()
    return said


def long_signal(card: Card) -> str:
    """Positions and memory beyond 2**31, by each engine."""
    cupy, size, step = card.cupy, 2**31 + 2**20, 2**28
    x = cupy.empty(size, np.float32)
    for lo in range(0, size, step):
        x[lo : lo + step] = cupy.random.random(min(step, size - lo), dtype=np.float32) - 0.5
    given = {"hop_length": 64, "window": "boxcar", "center": False}
    notes = []
    for engine in ("cufft", "fused"):
        with xi.gpu_engine(engine):
            y = xi.istft(xi.stft(x, 64, **given), **given)
        worst = max(float(cupy.abs(y[lo : lo + step] - x[lo : lo + step]).max()) for lo in range(0, y.size, step))
        assert y.size == size, y.size
        assert worst < 1e-6, worst
        notes.append(f"{engine}: worst difference {worst:.1e}")
        del y
        cupy.get_default_memory_pool().free_all_blocks()
    return ", ".join(notes)


def per_thread_default_streams(card: Card) -> str:
    """In a process of its own: CuPy reads the variable once."""
    code = (
        "import cupy as cp, numpy as np, xp_istft as xi\n"
        "from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "X = cp.asarray(np.ones((2, 257, 300), np.complex64)); cp.cuda.Device().synchronize()\n"
        "want = xi.istft(X).get()\n"
        "assert all((y == want).all() for y in Pool(4).map(lambda _: xi.istft(X).get(), range(80)))"
    )
    variables = {**os.environ, "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60)
    assert not done.returncode, done.stderr[-300:]
    return "4 threads, 80 calls"


def memory(card: Card) -> str:
    """Of 8 recordings of 2 minutes at 44.1 kHz."""
    cupy, pool = card.cupy, card.cupy.get_default_memory_pool()
    X = cupy.ones((8, 10336, 1025), np.complex64).swapaxes(1, 2)
    out, notes = xi.istft(X), []
    for engine in ("cufft", "fused"):
        pool.free_all_blocks()
        before = pool.total_bytes()
        with xi.gpu_engine(engine):
            xi.istft(X, out=out)
        notes.append(f"{engine}: {(pool.total_bytes() - before) / 2**20:.0f} MiB of scratch")
    return ", ".join(notes)


CHECKS = (
    torch_values, torch_gradients, outs_of_any_strides, many_items, pairs_at_odd_places, jax_on_the_device,
    frequencies_and_least_squares, phases, streams_without_end, torchs_streams, torchs_graph, threads_and_plans,
    graphs_and_the_pool, many_frames, long_signal, per_thread_default_streams, memory, graphs_and_the_caches,
)  # fmt: skip
LEFT_OUT_OF_A_DRY_RUN = {  # they need a device; JAX compiles for longer than all others take
    jax_on_the_device,
    torchs_streams, torchs_graph, threads_and_plans, many_frames, long_signal, per_thread_default_streams, memory,
}  # fmt: skip


def checks(card: Card) -> int:
    """How many failed."""
    failed = 0
    for check in CHECKS:
        began = time.monotonic()
        if card.dry and check in LEFT_OUT_OF_A_DRY_RUN:
            said = "left out of a dry run"
        elif no_time():
            said = "NOT RUN: no time is left"
        else:
            try:
                said = f"well: {check(card)}"
            except ModuleNotFoundError as cause:
                said = f"left out: {cause}"
            except Exception:  # the others run all the same
                said = f"FAILED: {' / '.join(traceback.format_exc().strip().splitlines()[-5:])[:1200]}"
                failed += 1
        print(f"{check.__name__}: {said} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{len(CHECKS)} checks, {failed} failed")
    return failed


# ---- small problems, for the sanitizers: every array is an allocation of its own ------------------------------------


def small(card: Card) -> int:
    if not card.dry:
        card.cupy.cuda.set_allocator(None)
    for n_fft in (64, 61) if card.dry else (64, 60, 61, 512, 4096):
        X = noise(2, n_fft // 2 + 1, 11)
        want = xi.istft(X.astype(complex), n_fft=n_fft)
        x = noise(2, n_fft + 301, dtype="float32")
        for engine in ("cufft", "fused"):
            with xi.gpu_engine(engine):
                for array in layouts(card, X):
                    near(xi.istft(array, n_fft=n_fft), want)
                for mode in ("constant", "reflect", "wrap"):
                    given = {"n_fft": n_fft, "pad_mode": mode}
                    near(xi.stft(card.cupy.asarray(x), **given), xi.stft(x.astype(float), **given))
    framed = xi.frame(card.cupy.asarray(noise(2, 300, dtype="float32")), 24, 5, padding=7, pad_mode="symmetric")
    near(xi.overlap_add(framed, 5), xi.overlap_add(framed.get(), 5))
    print("small problems: all values agree")
    return 0


# ---- time -----------------------------------------------------------------------------------------------------------

FULL = (
    *PROBLEMS,
    Problem("1 s at 16 kHz", 1, 126, 512, 128),
    Problem("8 x 60 s at 44.1 kHz", 8, 2585, 4096, 1024),
)


def ways(card: Card, problem: Problem) -> dict[str, list[Callable[[], Any]]]:
    """Calls of each way, on arrays of their own which together the card's cache does not hold."""
    cupy, n_fft, hop = card.cupy, problem.n_fft, problem.hop
    each = 8 * problem.items * problem.n_frames * (n_fft // 2 + 1)
    sets = card.chosen(max(2, min(32, -(-L2_BYTES // each))), 1)
    signals = [cupy.asarray(problem.signal()) for _ in range(sets)]
    by_frame = [xi.stft(x, n_fft, hop_length=hop) for x in signals]
    by_bin = [cupy.ascontiguousarray(X) for X in by_frame]
    made, out = (
        cupy.empty(by_frame[0].swapaxes(1, 2).shape, np.complex64).swapaxes(1, 2),
        cupy.empty(signals[0].shape, np.float32),
    )

    def inverse(X: Any, engine: str) -> Callable[[], Any]:
        def call() -> Any:
            with xi.gpu_engine(engine):
                return xi.istft(X, hop_length=hop, out=out)

        return call

    def forward(x: Any, engine: str) -> Callable[[], Any]:
        def call() -> Any:
            with xi.gpu_engine(engine):
                return xi.stft(x, n_fft, hop_length=hop, out=made)

        return call

    return {
        "istft: copy_rows, cuFFT, overlap_add": [inverse(X, "cufft") for X in by_frame],
        "istft: transpose, cuFFT, overlap_add": [inverse(X, "cufft") for X in by_bin],
        "istft: fused, frame by frame": [inverse(X, "fused") for X in by_frame],
        "istft: fused, bin by bin": [inverse(X, "fused") for X in by_bin],
        "stft: frame, cuFFT": [forward(x, "cufft") for x in signals],
        "stft: fused": [forward(x, "fused") for x in signals],
    }


def host_us(call: Callable[[], Any], repeats: int) -> float:
    """Of the host alone, which waits for nothing: what a short call takes."""
    call()
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return 1e6 * (time.perf_counter() - began) / repeats


def spans(card: Card, call: Callable[[], Any], repeats: int) -> np.ndarray:
    """Microseconds between two events about the call."""
    found = []
    for _ in range(repeats):
        start, stop = card.cupy.cuda.Event(), card.cupy.cuda.Event()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        found.append(1e3 * card.cupy.cuda.get_elapsed_time(start, stop))
    return np.array(found)


def device_us(card: Card, calls: list[Callable[[], Any]]) -> tuple[float, float]:
    """Of the device alone, median and spread: by replays of one graph of all calls, without gaps or a warm cache."""
    card.cupy.cuda.Device().synchronize()
    with card.cupy.cuda.Stream(non_blocking=True):
        all_calls = captured(card, lambda: [call() for call in calls])
        return median_and_spread(spans(card, all_calls.graph.launch, 13) / len(calls))


def median_and_spread(found: np.ndarray) -> tuple[float, float]:
    """Of all but the first three, which warm up."""
    return float(np.median(found[3:])), float(np.ptp(found[3:]))


def torchs(card: Card, problem: Problem) -> dict[str, Callable[[], Any]]:
    """torch's own, and ours of torch's tensors: by events about one call, in which the host's time is."""
    if card.dry or find_spec("torch") is None:
        return {}
    import torch

    n_fft, hop, window = problem.n_fft, problem.hop, torch.hann_window(problem.n_fft, device="cuda")
    x = torch.from_numpy(problem.signal()).cuda()
    X = torch.stft(x, n_fft, hop, window=window, return_complex=True)
    return {
        "torch.istft, which waits; about one call": lambda: torch.istft(X, n_fft, hop, window=window),
        "torch.stft; about one call": lambda: torch.stft(x, n_fft, hop, window=window, return_complex=True),
        "istft of a tensor; about one call": lambda: xi.istft(X, hop_length=hop),
        "stft of a tensor; about one call": lambda: xi.stft(x, n_fft, hop_length=hop),
    }


def row(
    card: Card, way: str, call: Callable[[], Any], floor: float, timed: Callable[[], tuple[float, float]]
) -> list[str | float | None]:
    """One of the table; the others are timed all the same where this fails."""
    try:
        us, spread = (float("nan"),) * 2 if card.dry else timed()
        return [way, us, spread, us / floor, host_us(call, card.chosen(50, 1))]
    except Exception as cause:
        return [f"{way}: FAILED, {type(cause).__name__}: {str(cause)[:200]}", None, None, None, None]


def times(card: Card) -> int:
    """How many ways failed."""
    cupy, failed = card.cupy, 0
    rate = float("nan")
    if not card.dry:
        source = cupy.zeros(1 << 28, np.float32)
        target = cupy.empty_like(source)
        rate = 2 * source.nbytes / (1e-6 * median_and_spread(spans(card, lambda: cupy.copyto(target, source), 20))[0])
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        print(f"# {name}: a large copy reads and writes {rate / 1e9:.0f} GB/s")
        del source, target
    for problem in (TINY,) if card.dry else FULL:
        if no_time():
            print(f"{problem}: NOT RUN, no time is left")
            continue
        floor = 1e6 * passes(problem)["one kernel, ideal"][0] / rate
        rows = []
        for way, calls in ways(card, problem).items():
            rows.append(row(card, way, calls[0], floor, lambda calls=calls: device_us(card, calls)))
            if way.startswith("istft: copy_rows") and problem.items > 1:  # parts that the cache keeps between launches
                for scratch in (16, 32, 64):
                    os.environ["XP_ISTFT_SCRATCH_BYTES"] = str(scratch << 20)
                    name = f"{way}; {scratch} MiB of scratch"
                    rows.append(row(card, name, calls[0], floor, lambda calls=calls: device_us(card, calls)))
                del os.environ["XP_ISTFT_SCRATCH_BYTES"]
        for way, call in torchs(card, problem).items():
            rows.append(row(card, way, call, floor, lambda call=call: median_and_spread(spans(card, call, 23))))
        failed += sum("FAILED" in str(way) for way, *_ in rows)
        head = ["way", "device, us", "spread", "times the floor", "host, us"]
        print(f"\n## {problem}\n\nFloor, spectrum and signal once: {floor:.1f} us\n\n{table(head, rows)}", flush=True)
        if not card.dry:
            cupy.get_default_memory_pool().free_all_blocks()
    return failed


def profile(card: Card) -> int:
    """One call of every way at full size between the profiler's marks."""
    for problem in (TINY,) if card.dry else PROBLEMS:
        found = ways(card, problem)
        for calls in found.values():
            calls[0]()
        if card.dry:
            continue
        card.cupy.cuda.Device().synchronize()
        card.cupy.cuda.profiler.start()
        for calls in found.values():
            calls[-1]()
        card.cupy.cuda.Device().synchronize()
        card.cupy.cuda.profiler.stop()
    return 0


def what_is_here(card: Card) -> int:
    names = ("numpy", "scipy", "array-api-compat", "cupy-cuda13x", "cupy-cuda12x", "torch", "jax", "jax-cuda13-plugin")
    print(f"Python {sys.version.split()[0]}, xp_istft in {Path(xi.__file__).parent}")
    print(versions(*names, "pytest", "pytest-xdist", "hypothesis"))
    if not card.dry:
        runtime, cufft = card.cupy.cuda.runtime, import_module("cupy.cuda.cufft")
        print(f"runtime {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}, cuFFT {cufft.getVersion()}")
        print(f"NVRTC {card.cupy.cuda.nvrtc.getVersion()}, {runtime.memGetInfo()[0] >> 30} GiB free")
    return 0


STEPS = {"versions": what_is_here, "checks": checks, "times": times, "profile": profile, "small": small}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="rehearse without a GPU")
    parser.add_argument("step", choices=STEPS)
    chosen = parser.parse_args()
    with at_hand(chosen.dry) as card:
        return min(1, STEPS[chosen.step](card))


if __name__ == "__main__":
    sys.exit(main())
