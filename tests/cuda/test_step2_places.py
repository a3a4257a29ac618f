"""Step 2: where work goes and where arrays lie: streams, devices, odd addresses and pitches, parts, `out`, offsets
beyond 2^31, huge batches, edges of one sample; every way through the backend in every situation.
"""

from __future__ import annotations

import gc
import importlib
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from emulator import shim
from emulator.fake_cupy import FakeCupy
from kernels import noise, sparse
from test_step2_public_call import agree
from test_step3_compile import VARIANTS

import xp_istft as xi
from xp_istft import gpu_engine

N_FFT, HOP, EPS = 64, 12, np.finfo(np.float32).eps
FAR = 2**31 + 64  # elements


@dataclass(frozen=True)
class Way:
    """A way through the backend: `axes` of the array in the order in which they lie in memory."""

    call: Callable[..., Any]
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[int, ...]
    launches: tuple[str, ...]
    engine: str = "cufft"
    takes_out: bool = True


def _istft(X: Any, **options: Any) -> Any:
    return xi.istft(X, hop_length=HOP, **options)


def _stft(x: Any, **options: Any) -> Any:
    return xi.stft(x, n_fft=N_FFT, hop_length=HOP, **options)


def _overlap_add(segments: Any) -> Any:
    return xi.overlap_add(segments, HOP, window="hann")


def _frame(x: Any) -> Any:
    return xi.frame(x, N_FFT, HOP, window="hann", padding=20, pad_mode="reflect")


SPECTRUM, SIGNAL = (2, 3, N_FFT // 2 + 1, 20), (2, 3, 300)
WAYS = {
    "istft, bins": Way(_istft, SPECTRUM, "c8", (0, 1, 3, 2), ("copy_rows", "cufft", "overlap_add")),
    "istft, time": Way(_istft, SPECTRUM, "c8", (0, 1, 2, 3), ("transpose", "cufft", "overlap_add")),
    "fused, bins": Way(_istft, SPECTRUM, "c8", (0, 1, 3, 2), ("istft_fused",), "fused"),
    "fused, time": Way(_istft, SPECTRUM, "c8", (0, 1, 2, 3), ("istft_fused",), "fused"),
    "stft": Way(_stft, SIGNAL, "f4", (0, 1, 2), ("frame", "cufft")),
    "frame": Way(_frame, SIGNAL, "f4", (0, 1, 2), ("frame",), takes_out=False),
    "overlap_add, frames": Way(_overlap_add, (2, 3, N_FFT, 20), "f4", (0, 1, 3, 2), ("overlap_add",), takes_out=False),
    "overlap_add, time": Way(
        _overlap_add, (2, 3, N_FFT, 20), "f4", (0, 1, 2, 3), ("transpose", "overlap_add"), takes_out=False
    ),
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def placed(values: np.ndarray, axes: tuple[int, ...], start: int = 0, pitch: int = 0) -> np.ndarray:
    """The same values from element `start` of an aligned buffer, whose rows are `pitch` elements longer."""
    lying = values.transpose(axes)
    rows = (*lying.shape[:-1], lying.shape[-1] + pitch)
    room = np.zeros(int(np.prod(rows)) + start + 16, values.dtype)
    first = -room.ctypes.data % 16 // values.itemsize + start
    whole = room[first : first + int(np.prod(rows))].reshape(rows)[..., : lying.shape[-1]]
    whole[...] = lying
    return whole.transpose(np.argsort(axes))


def check(fake: FakeCupy, way: Way, random: np.random.Generator, **where: int) -> Any:
    """The call on new values, laid out so, held against NumPy's float64."""
    values = noise(random, way.shape, way.dtype)
    array = fake.on_device(placed(values, way.axes, **where))
    fake.trace.launches.clear()
    got = way.call(array)
    agree(got.host, way.call(values.astype({"c8": complex, "f4": float}[way.dtype])), EPS)
    np.testing.assert_array_equal(array.host, values)
    return got


@each_way
@pytest.mark.parametrize(
    "where", [{"start": 1}, {"pitch": 1}, {"start": 1, "pitch": 2}, {"start": 2, "pitch": 4}], ids=str
)
def test_odd_addresses_and_pitches(fake, random, way, where):
    """First time and repeated, and again where the first call was aligned."""
    with gpu_engine(way.engine):
        for place in ({}, where, where, {}, where):
            check(fake, way, random, **place)
            assert tuple(fake.trace.names) == way.launches


def test_the_fused_kernels_read_along_memory_in_the_widest_loads(fake, random):
    """Lanes go along bins where these are neighbours, else along frames; vectors as wide as hop and address allow."""
    with gpu_engine("fused"):
        for axes, by_time in (((0, 1), "1"), ((1, 0), "0")):
            for hop, start, width in ((16, 0, "4"), (18, 0, "2"), (17, 0, "1")):
                X = fake.on_device(placed(noise(random, (33, 20), "c8"), axes, start))
                fake.trace.launches.clear()
                x = xi.istft(X, hop_length=hop, center=False, window="hamming")
                (launch,) = fake.trace.launches
                assert (launch.macros["XI_BY_TIME"], launch.macros["XI_WIDTH"]) == (by_time, width)
                fake.trace.launches.clear()
                out = fake.on_device(placed(np.zeros((33, 20), "c8"), axes))
                xi.stft(x, 64, hop_length=hop, center=False, out=out)
                (launch,) = fake.trace.launches
                assert launch.macros["XI_BY_TIME"] == by_time
                assert launch.macros["XI_WIDTH"] == min(width, "2")


@pytest.mark.parametrize("n_fft", [64, 512, 4096])
def test_the_fused_kernels_keep_their_precision(fake, random, n_fft):
    """Errors of 1.5e-7, relative to the energy of what comes out."""
    x = noise(random, (4 * n_fft,), "f4")
    with gpu_engine("fused"):
        X = xi.stft(fake.on_device(x), n_fft)
        y = xi.istft(X, length=x.size)
    exact = xi.stft(x.astype(float), n_fft)
    assert np.linalg.norm(X.host - exact) <= 1.5e-7 * np.linalg.norm(exact)
    again = xi.istft(X.host.astype(complex), length=x.size)
    assert np.linalg.norm(y.host - again) <= 1.5e-7 * np.linalg.norm(again)


@each_way
def test_streams_and_devices_of_the_array(fake, random, way):
    """Streams that are current on both devices, elsewhere than the caller's: that of the array's device decides."""
    cuda = fake.modules["cupy.cuda"]
    with gpu_engine(way.engine):
        for device in (0, 1):
            with fake.device(0):
                here = cuda.Stream()
            with fake.device(1):
                there = cuda.Stream()
                with there:
                    for _ in range(3):
                        values = noise(random, way.shape, way.dtype)
                        with fake.device(device):
                            array = fake.on_device(placed(values, way.axes))
                        fake.trace.launches.clear()
                        with fake.device(0), here:
                            got = way.call(array)
                        used = {(launch.device, launch.stream) for launch in fake.trace.launches}
                        assert used == {(device, (here, there)[device].ptr)}
                        agree(got.host, way.call(values.astype(complex if way.dtype == "c8" else float)), EPS)
    assert fake.trace.downloads == fake.trace.waits == 0


@each_way
@pytest.mark.parametrize("bytes_at_once", [1, 5000, 20000])
def test_parts_from_odd_addresses(fake, random, monkeypatch, way, bytes_at_once):
    monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(bytes_at_once))
    with gpu_engine(way.engine):
        for where in ({}, {"start": 1, "pitch": 1}):
            check(fake, way, random, **where)
            check(fake, way, random, **where)


@pytest.mark.parametrize(
    "way", [way for way in WAYS.values() if way.takes_out], ids=[n for n in WAYS if WAYS[n].takes_out]
)
@pytest.mark.parametrize("limit", [None, 5000])
def test_out_anywhere(fake, random, monkeypatch, way, limit):
    """From an odd element, with odd rows, with batch axes of no common stride, in any order of the axes, in parts."""
    if limit:
        monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(limit))
    values = noise(random, way.shape, way.dtype)
    want = way.call(values.astype(complex if way.dtype == "c8" else float))
    blank = np.full(want.shape, np.nan, "c8" if want.dtype.kind == "c" else "f4")
    wide = np.full((2, 5, *want.shape[2:]), np.nan, blank.dtype)
    orders = [tuple(range(want.ndim)), *([(0, 1, 3, 2), (3, 2, 1, 0), (2, 0, 3, 1)] if want.ndim == 4 else [(2, 1, 0)])]
    outs = [placed(blank, order, start, pitch) for order in orders for start, pitch in ((0, 0), (1, 0), (1, 1))]
    with gpu_engine(way.engine):
        gaps = np.full((2, 6, *want.shape[2:]), np.nan, blank.dtype)[:, ::2]  # of one stride, with room between items
        for host in (*outs, gaps, wide[:, :3], wide[:, 1:4], wide[::-1, :3]):
            for _ in range(2):
                host[...] = np.nan
                out = fake.on_device(host)
                assert way.call(fake.on_device(placed(values, way.axes)), out=out) is out
                agree(host, want, EPS)
    assert np.isnan(wide[:, 4]).all()


def backend(name: str) -> Any:
    """What the module loaded on top of the fake has."""
    return getattr(importlib.import_module("xp_istft.backends.cupy"), name)


@contextmanager
def nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupy]:
    """A fake whose kernels and FFTs do nothing: for what the host asks for."""
    kernel = SimpleNamespace(get_function=lambda name: lambda grid, block, arguments, shared_mem=0: None)
    fake = FakeCupy(lambda code, options: kernel)
    with fake.installed(monkeypatch, "xp_istft.backends.cupy", "xp_istft.backends.cuda.calls"):
        plan = fake.modules["cupy.cuda.cufft"].Plan1d(4, 0x29, 1)
        monkeypatch.setattr(type(plan), "fft", lambda self, a, out, direction: None)
        yield fake


def test_batches_beyond_the_grid(monkeypatch):
    """CUDA's grid has 65,535 rows: kernels walk the items that are more (step 1 runs them on small grids)."""
    monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(2**40))
    with nothing(monkeypatch) as fake:
        for way in WAYS.values():
            shape = (70_000, *way.shape[2:-1], 64 if way.shape == SIGNAL else 2)
            fake.trace.launches.clear()
            with gpu_engine(way.engine):
                array = fake.on_device(sparse(int(np.prod(shape)), way.dtype).reshape(shape))
                way.call(array)
            grids = [launch.grid for launch in fake.trace.launches if launch.grid]
            assert grids
            assert all(grid[1] == 65_535 for grid in grids)


def test_what_the_host_asks_for_is_compiled_for_every_card(monkeypatch):
    """Every set of macros is one of step 3's, with the threads and the shared memory that it has there; of the fused
    kernels one stands for all that differ in addresses only, as there.
    """
    asked: set[tuple[str, tuple[tuple[str, str], ...]]] = set()

    def variant(name: str, macros: dict[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
        kept = {key: str(value) for key, value in macros.items()}
        if name.endswith("_fused"):
            assert kept.pop("XI_WIDTH") in "124"
            assert kept.pop("XI_BY_TIME") in "01"
        return name, tuple(sorted(kept.items()))

    with nothing(monkeypatch) as fake:
        for n_fft in (2, 30, 64, 100, 128, 256, 512, 1024, 2048, 4096, 8192):
            for hop in (max(1, n_fft // 4), n_fft // 2 + 1):
                for kind, wide in (("c8", "f4"), ("c16", "f8")):
                    for engine in ("cufft", "fused"):
                        with gpu_engine(engine):
                            X = np.zeros((2, n_fft // 2 + 1, 8), kind)
                            for axes in ((0, 1, 2), (0, 2, 1)):
                                for where in ({}, {"start": 1, "pitch": 1}):
                                    xi.istft(
                                        fake.on_device(placed(X, axes, **where)),
                                        n_fft=n_fft,
                                        hop_length=hop,
                                        nola="zero",
                                    )
                            for x in (np.zeros((2, 8 * n_fft), wide), np.zeros((2, 8 * n_fft + 1), kind)):
                                options = {"n_fft": n_fft, "hop_length": hop}
                                Z = xi.stft(fake.on_device(x), **options, onesided=x.dtype.kind == "f")
                                xi.stft(fake.on_device(x), **options, onesided=False)
                                if x.dtype.kind == "c":
                                    xi.istft(Z, onesided=False, nola="zero", **options)
                                xi.overlap_add(xi.frame(fake.on_device(x), n_fft, hop), hop)
        for launch in fake.trace.launches:
            if launch.macros:
                asked.add(variant(launch.name, launch.macros))
    known = {variant(name, macros) for name, variants in VARIANTS.items() for macros in variants}
    assert asked - known == set()
    assert {name for name, _ in asked} == set(VARIANTS)


# ---- offsets and positions beyond 32 bits


@pytest.mark.parametrize(
    ("name", "axis"), [(name, axis) for name, way in WAYS.items() for axis in range(len(way.axes) - 2)], ids=str
)
def test_inputs_whose_rows_lie_far_apart(fake, random, name, axis):
    """Each axis in turn, but the one whose elements are neighbours, has a stride of more than 2^31 elements."""
    way = WAYS[name]
    shape = [*way.shape[1:]]
    lying = [each - 1 for each in way.axes[1:]]  # of one batch axis, from the slowest to the fastest
    far = lying[axis]
    shape[far] = 2 if far == 0 else shape[far]
    if far > 0:
        shape[0] = 1
    values = noise(random, tuple(shape), way.dtype)
    steps, step = [0] * len(shape), 1
    for each in reversed(lying):
        steps[each] = FAR if each == far else step
        if each != far:
            step *= shape[each]
    room = sparse(FAR * (shape[far] - 1) + step, way.dtype)
    host = np.lib.stride_tricks.as_strided(room, shape, [each * room.itemsize for each in steps])
    host[...] = values
    with gpu_engine(way.engine):
        got = way.call(fake.on_device(host))
    agree(got.host, way.call(values.astype(complex if way.dtype == "c8" else float)), EPS)


@pytest.mark.parametrize(
    ("name", "far"), [("istft, bins", 0), ("fused, time", 0), ("stft", 0), ("stft", 1), ("stft", 2)], ids=str
)
def test_results_whose_rows_lie_far_apart(fake, random, name, far):
    way = WAYS[name]
    values = noise(random, (2, *way.shape[2:]), way.dtype)
    want = way.call(values.astype(complex if way.dtype == "c8" else float))
    steps, step = [0] * want.ndim, 1
    for each in reversed(range(want.ndim)):
        steps[each] = FAR if each == far else step
        step *= 1 if each == far else want.shape[each]
    room = sparse(FAR * (want.shape[far] - 1) + step, "c8" if want.ndim == 3 else "f4")
    host = np.lib.stride_tricks.as_strided(room, want.shape, [each * room.itemsize for each in steps])
    with gpu_engine(way.engine):
        way.call(fake.on_device(placed(values, (0, 2, 1) if way.dtype == "c8" else (0, 1))), out=fake.on_device(host))
    agree(host, want, EPS)


def test_gains_of_positions_beyond_32_bits(fake, random):
    """The last frame of many that lie far apart: where it stands on the whole axis decides, not on that of its part."""
    hop, n_frames = 2**20, 2**11 + 4
    X = np.zeros((33, n_frames), "c8")
    X[:, -1] = noise(random, (33,), "c8")
    options = {
        "hop_length": hop,
        "padding": ((n_frames - 1) * hop, 0),
        "length": 64,
        "nola": "zero",
        "window": "hamming",
    }
    for engine in ("cufft", "fused"):
        with gpu_engine(engine):
            agree(xi.istft(fake.on_device(X), **options).host, xi.istft(X.astype(complex), **options), EPS)


def test_frames_of_positions_beyond_32_bits(fake, random):
    x = noise(random, (100,), "f4")
    options = {"padding": (2**31 + 2**21, 0), "window": "hamming"}
    got = xi.frame(fake.on_device(x), 64, 2**20, **options)
    assert fake.trace.launches[-1].macros["XI_INDEX_BITS"] == "64"
    want = np.zeros((64, got.shape[-1]), "f4")
    first = 2**31 + 2**21
    for m in range(got.shape[-1]):
        for n in range(64):
            at = m * 2**20 + n - first
            if 0 <= at < 100:
                want[n, m] = x[at]
    window = xi.frame(np.ones(64), 64, 64, window="hamming")
    agree(got.host, want * window, EPS)


@contextmanager
def last_block(monkeypatch: pytest.MonkeyPatch, builds: Any) -> Iterator[FakeCupy]:
    """A fake of which only the last block of each grid runs; arrays take memory only where they are written."""

    def engine(code: str, chosen: tuple[str, ...]) -> Any:
        module = shim.ShimModule(code=code, options=chosen, cache=builds)
        return SimpleNamespace(
            get_function=lambda name: (
                lambda grid, block, arguments, shared_mem=0: module.get_function(name)(
                    grid, block, arguments, only=(grid[0] - 1, grid[1] - 1)
                )
            )
        )

    fake = FakeCupy(engine)
    with fake.installed(monkeypatch, "xp_istft.backends.cupy", "xp_istft.backends.cuda.calls"):

        def empty(shape: Any, dtype: Any = float) -> Any:
            return fake.fresh(sparse(int(np.prod(shape)), np.dtype(dtype).str).reshape(shape))

        monkeypatch.setattr(fake.modules["cupy"], "empty", empty)
        yield fake


@pytest.mark.parametrize("items", [1, 3])
def test_the_last_samples_of_more_than_32_bits_count(monkeypatch, builds, random, items):
    """More than 2^31 samples in all, in one item or in several."""
    n_frames = 2**25 // items + 9
    with last_block(monkeypatch, builds) as fake:
        x = sparse(items * 64 * n_frames, "f4").reshape(items, -1)
        x[:, -640:] = noise(random, (items, 640), "f4")
        tail = xi.frame(x[:, -640:], 64, 64)
        framed = xi.frame(fake.on_device(x), 64, 64)
        np.testing.assert_array_equal(framed.host[-1, :, -1], tail[-1, :, -1])
        summed = xi.overlap_add(framed, 64)
        np.testing.assert_array_equal(summed.host[-1, -64:], x[-1, -64:])
    X = sparse(items * 33 * n_frames, "c8").reshape(items, n_frames, 33).swapaxes(1, 2)
    X[:, :, -9:] = noise(random, (items, 33, 9), "c8")
    with last_block(monkeypatch, builds) as fake, gpu_engine("fused"):
        options = {"n_fft": 64, "hop_length": 64, "window": "boxcar", "center": False}
        got = xi.istft(fake.on_device(X), **options)
        agree(got.host[-1, -64:], xi.istft(X[-1, :, -9:].astype(complex), **options)[-64:], EPS)


def test_widths_of_indices(monkeypatch, builds):
    """64 bits for the period of a long reflection, and for an item of many frames, at positions that 32 bits hold."""
    with last_block(monkeypatch, builds) as fake:
        for n_samples, hop, bits in ((2**30 + 2**12, 2**28, "64"), (2**26, 1, "64"), (2**20, 2**10, "32")):
            xi.frame(fake.on_device(sparse(n_samples, "f4")), 64, hop)
            assert fake.trace.launches[-1].macros["XI_INDEX_BITS"] == bits


# ---- edges


def test_what_no_frame_holds_is_zero_times_nothing(fake):
    """Padding of zeros, of a signal that is not finite."""
    x = np.array([np.nan, 1, 2, np.inf], "f4")
    framed = xi.frame(fake.on_device(x), 4, 2, padding=4)
    np.testing.assert_array_equal(framed.host, xi.frame(x, 4, 2, padding=4))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_signals_shorter_than_their_padding(fake, random, mode, n_samples):
    x = noise(random, (2, n_samples), "f4")
    options = {"window": "hamming", "padding": 9, "pad_mode": mode}
    agree(xi.frame(fake.on_device(x), 16, 3, **options).host, xi.frame(x.astype(float), 16, 3, **options), EPS)


def test_a_signal_without_samples_is_padded(fake):
    for shape in ((0,), (3, 0)):
        framed = xi.frame(fake.on_device(np.zeros(shape, "f4")), 16, 3, padding=9)
        np.testing.assert_array_equal(framed.host, np.zeros((*shape[:-1], 16, 1)))


@pytest.mark.parametrize("engine", ["cufft", "fused"])
def test_frames_are_added_from_the_earliest_on(fake, engine):
    """(1e8 + 1) - 1e8 is 0 in float32, and 1 in any other order."""
    X = np.zeros((33, 3), "c8")
    X[0] = 64e8, 64, -64e8  # constant frames
    with gpu_engine(engine):
        signal = xi.istft(fake.on_device(X), hop_length=16, window="boxcar", center=False)
    np.testing.assert_array_equal(signal.host[32:64], 0)
    segments = np.broadcast_to(np.float32([1e8, 1, -1e8]), (64, 3)).copy()
    np.testing.assert_array_equal(xi.overlap_add(fake.on_device(segments), 16).host[32:64], 0)


# ---- views that kernels cannot load


@pytest.mark.parametrize("engine", ["cufft", "fused"])
def test_pairs_that_are_no_complex_numbers_in_memory(fake, random, engine):
    """Rows an odd number of floats apart, pairs that begin at an odd float: copied, not misread."""
    values = noise(random, (33, 20), "c8")
    pairs = values.view("f4").reshape(33, 20, 2)
    want = xi.istft(values.astype(complex))
    for width, start in ((41, 0), (40, 1), (41, 1), (43, 3)):
        room = np.zeros(33 * width + start, "f4")
        host = np.lib.stride_tricks.as_strided(room[start:], (33, 20, 2), (4 * width, 8, 4))
        host[...] = pairs
        with gpu_engine(engine):
            agree(xi.istft(xi.as_complex(fake.on_device(host))).host, want, EPS)


@pytest.mark.parametrize("engine", ["cufft", "fused"])
def test_complex_arrays_of_half_an_alignment(fake, random, engine):
    values = noise(random, (33, 20), "c8")
    room = np.zeros(2 * 33 * 21 + 1, "f4")
    host = np.ndarray((33, 20), "c8", room.data, 4, (4 * 41, 8))
    host[...] = values
    with gpu_engine(engine):
        agree(xi.istft(fake.on_device(host)).host, xi.istft(values.astype(complex)), EPS)
    x = fake.on_device(noise(random, (19 * 16,), "f4"))
    with pytest.raises(ValueError, match=r"stft: out: need memory aligned to its dtype \(complex64\)"):
        xi.stft(x, 64, out=fake.on_device(np.ndarray((33, 20), "c8", room.data, 4, (4 * 40, 8))))
    odd = np.ndarray((300,), "f4", np.zeros(1300, np.uint8).data, 1)
    with pytest.raises(ValueError, match=r"stft: x: need memory aligned to its dtype \(float32\), got address"):
        xi.stft(fake.on_device(odd), 64)


def test_addresses_that_are_no_multiple_of_a_part_are_refused(fake):
    for offset in (1, 2, 3):
        host = np.ndarray((33, 20), "c8", np.zeros(33 * 20 * 8 + 8, np.uint8).data, offset)
        with pytest.raises(ValueError, match=r"istft: X: need memory aligned to its dtype \(complex64\)"):
            xi.istft(fake.on_device(host))


def test_axes_of_one_element_have_no_stride(fake, random):
    values = noise(random, (2, 33, 20), "c8")
    for stride in (1, 4, 12, 8 * 7):
        host = np.lib.stride_tricks.as_strided(values, (2, 1, 33, 20), (5280, stride, 160, 8))
        fake.trace.launches.clear()
        agree(xi.istft(fake.on_device(host)).host[:, 0], xi.istft(values.astype(complex)), EPS)
        assert fake.trace.names == ["transpose", "cufft", "overlap_add"]
        made = np.zeros((2, 33, 20), "c8")
        out = fake.on_device(np.lib.stride_tricks.as_strided(made, host.shape, host.strides))
        signal = fake.on_device(noise(random, (2, 1, 304), "f4"))
        fake.trace.launches.clear()
        xi.stft(signal, 64, out=out)
        assert fake.trace.names == ["frame", "cufft", "transpose"]
        agree(made, xi.stft(signal.host[:, 0].astype(float), 64), EPS)


# ---- calls that are kept


def test_calls_of_two_dtypes_in_one_layout(fake, random):
    """Elements of one size, in arrays of one shape: real, complex, and real again."""
    for dtype in ("f8", "c8", "f8", "c8"):
        values = noise(random, (64, 9), dtype)
        got = xi.overlap_add(fake.on_device(values), 16)
        assert got.dtype == values.dtype
        agree(got.host, xi.overlap_add(values, 16), EPS)


@pytest.mark.parametrize("within", ["the result", "the input"])
def test_views_between_the_rows_of_each_other(fake, random, within):
    """Through the backend, and then where they lie apart."""
    transform, room, apart = xi.STFT(64, 16), np.zeros((5, 40, 20), "c8"), np.zeros((3, 40, 20), "c8")
    job = transform.synthesis("istft", 20, None, "complex64").job
    for first, second in ((room[:3], room[1:4]), (room[:3], apart), (apart, room[:3])):
        values = noise(random, (2, 33, 20), "c8")
        spectra, signals = (first, second) if within == "the result" else (second, first)
        spectra[::2, :33] = values
        X = fake.on_device(spectra[::2, :33])
        out = fake.on_device(signals.view("f4").reshape(3, -1)[::2, :304])
        backend("BACKEND").synthesis(X, job, out)
        agree(out.host, transform.istft(values.astype(complex)), EPS)


def test_plans_and_calls_are_bounded(fake, random, monkeypatch):
    made, cufft = [], fake.modules["cupy.cuda.cufft"]
    plan = cufft.Plan1d

    def counted(*arguments: Any) -> Any:
        new = plan(*arguments)
        made.append(weakref.ref(new))
        return new

    monkeypatch.setattr(cufft, "Plan1d", counted)
    for n_fft in range(16, 116):
        xi.istft(fake.on_device(np.zeros((n_fft // 2 + 1, 4), "c8")), n_fft=n_fft)
    gc.collect()
    assert len(made) == 100
    assert 16 <= sum(each() is not None for each in made) <= 64


def test_a_call_that_failed_is_made_anew(fake, random, monkeypatch):
    cufft = fake.modules["cupy.cuda.cufft"]
    plan = cufft.Plan1d
    monkeypatch.setattr(cufft, "Plan1d", lambda *_: 1 / 0)
    x = noise(random, (304,), "f4")
    with pytest.raises(ZeroDivisionError):
        xi.stft(fake.on_device(x), 64)
    monkeypatch.setattr(cufft, "Plan1d", plan)
    for _ in range(3):
        fake.trace.launches.clear()
        agree(xi.stft(fake.on_device(x), 64).host, xi.stft(x.astype(float), 64), EPS)
        assert fake.trace.names == ["frame", "cufft"]


# ---- streams that come and go, and graphs


def test_a_stream_whose_address_comes_back_shares_no_work_area(fake, random):
    cuda = fake.modules["cupy.cuda"]
    X = fake.on_device(noise(random, (33, 20), "c8"))
    for _ in range(3):
        stream = cuda.Stream()
        with stream:
            xi.istft(X)
            xi.istft(X)
        del stream
        gc.collect()
    for address in (7, 7):  # of another library, which destroys it: what comes after waits
        for producer in (address, SimpleNamespace(cuda_stream=8), SimpleNamespace(__cuda_stream__=lambda: (0, 9))):
            with backend("stream_of")(producer, 0):
                xi.istft(X)
        fake.incarnations[address] = fake.incarnations.get(address, 0) + 1
    for _ in range(2):
        with cuda.ExternalStream(11):
            xi.istft(X)
        fake.incarnations[11] = fake.incarnations.get(11, 0) + 1


def test_more_threads_than_one_on_a_stream(fake, random):
    """One thread's plan is none of another's, nor that of a later thread."""
    X, results = fake.on_device(noise(random, (33, 20), "c8")), []
    for _ in range(3):
        thread = threading.Thread(target=lambda: results.append(xi.istft(X)))
        thread.start()
        thread.join()
    assert len(results) == 3
    assert fake.trace.plans == 3


@each_way
def test_graphs_keep_what_they_work_with(fake, random, way):
    """Replayed after everything else was forgotten and its memory given to others."""
    cuda = fake.modules["cupy.cuda"]
    stream, memory = cuda.Stream(non_blocking=True), backend("GraphMemory")()
    values = noise(random, way.shape, way.dtype)
    room = placed(values, way.axes)
    array = fake.on_device(room)
    with gpu_engine(way.engine), stream:
        with memory:
            way.call(array)
        stream.begin_capture()
        with memory:
            got = way.call(array)
        graph = stream.end_capture()
        for n_fft in range(100, 180):  # more than is kept of each kind
            xi.istft(xi.stft(fake.on_device(np.zeros(2 * n_fft, "f4")), n_fft), n_fft=n_fft)
        gc.collect()
        for _ in range(2):
            room[...] = noise(random, way.shape, way.dtype)
            got.host[...] = np.nan
            graph.launch(stream)
            agree(got.host, way.call(room.astype(complex if way.dtype == "c8" else float)), EPS)
        if "cufft" in way.launches:
            del memory
            gc.collect()
            with pytest.raises(RuntimeError, match="replayed"):  # what the fake would have said before
                graph.launch(stream)


def test_a_capture_that_cannot_work_raises(fake, random):
    cuda = fake.modules["cupy.cuda"]
    stream, other, memory = cuda.Stream(), cuda.Stream(), backend("GraphMemory")()
    X = fake.on_device(noise(random, (33, 20), "c8"))
    with stream:
        xi.istft(X)
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="outside of an xp_istft.backends.cupy.GraphMemory"):
            xi.istft(X)
        with memory, pytest.raises(RuntimeError, match="not there yet: make the same call once before"):
            xi.istft(X)
        stream.end_capture()
        with memory:
            xi.istft(X)
    with other:
        other.begin_capture()
        with memory, pytest.raises(RuntimeError, match="on the same stream"):
            xi.istft(X)
        other.end_capture()
        with memory:
            xi.istft(X)
        other.begin_capture()
        with memory:
            xi.istft(X)
        with memory, pytest.raises(RuntimeError, match="windows and gains are not there yet"):
            xi.istft(X, window="hamming")
        other.end_capture()
