"""Step 2: the whole public call on a hostile fake CuPy: dispatch, arguments, plans, streams, devices, memory."""

from __future__ import annotations

import importlib
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from kernels import noise, sparse

import xp_istft as xi
from xp_istft.backends import required_backend
from xp_istft.frames import Frames

LAYOUTS = ("frequency-major", "frame-major", "strided", "reversed", "broadcast")


def laid_out(spectrum: np.ndarray, layout: str) -> np.ndarray:
    """The same values, (..., n_bins, n_frames), in another order in memory."""
    if layout == "frame-major":
        return np.ascontiguousarray(spectrum.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "strided":
        wide = np.zeros((*spectrum.shape[:-1], 2 * spectrum.shape[-1]), spectrum.dtype)
        wide[..., ::2] = spectrum
        return wide[..., ::2]
    if layout == "reversed":
        return np.ascontiguousarray(spectrum[..., ::-1, :])[..., ::-1, :]
    if layout == "broadcast":
        return np.broadcast_to(spectrum[..., :1], spectrum.shape)
    return np.ascontiguousarray(spectrum)


def spectrum_problem(random, dtype, layout, onesided=True):
    """A spectrum of any size, and parameters of `istft` for it; every other size is a multiple of 4."""
    multiple = int(random.choice([1, 2, 4, 4]))
    n_fft = multiple * int(random.integers(max(1, 2 // multiple), 80 // multiple))
    hop = multiple * int(random.integers(1, n_fft // multiple + 1))
    lead = [(), (2,), (2, 3), (1,)][int(random.integers(4))]
    n_bins = n_fft // 2 + 1 if onesided else n_fft
    spectrum = laid_out(noise(random, (*lead, n_bins, int(random.integers(1, 30))), dtype), layout)
    window = random.uniform(0.3, 1, n_fft)
    padding = (multiple * int(random.integers(0, n_fft // multiple // 2 + 1)), 0)
    return spectrum, {"n_fft": n_fft, "hop_length": hop, "window": window, "padding": padding, "onesided": onesided}


def agree(got: np.ndarray, want: np.ndarray, eps: float) -> None:
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=0, atol=60 * eps * np.abs(want).max(initial=1e-30))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_istft_agrees_with_the_definition(fake, random, dtype, layout):
    vectors = set()
    for _ in range(25):
        spectrum, parameters = spectrum_problem(random, dtype, layout)
        before = spectrum.copy()
        fake.trace.launches.clear()
        signal = xi.istft(fake.on_device(spectrum), **parameters)
        agree(signal.host, xi.istft(before.astype(complex), **parameters), np.finfo(dtype).eps)
        assert signal.dtype == spectrum.real.dtype
        np.testing.assert_array_equal(spectrum, before)
        vectors |= {launch.macros["XI_VECTOR"] for launch in fake.trace.launches if launch.name == "overlap_add"}
    assert vectors == ({"1", "2", "4"} if dtype == "complex64" else {"1", "2"})
    assert fake.trace.downloads == fake.trace.waits == 0


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_sided_istft_agrees_with_the_definition(fake, random, layout, real):
    for _ in range(10):
        spectrum, parameters = spectrum_problem(random, "complex64", layout, onesided=False)
        transform = xi.STFT(**parameters)
        job = replace(transform.synthesis("istft", spectrum.shape[-1], None, "complex64").job, real=real)
        signal = required_backend(fake.on_device(spectrum)).synthesis(fake.on_device(spectrum), job)
        want = xi.istft(spectrum.astype(complex), **parameters)
        agree(signal.host, want.real if real else want, np.finfo(np.float32).eps)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stft_agrees_with_the_definition(fake, random, dtype, mode):
    for trial in range(12):
        multiple = int(random.choice([1, 2, 4, 4]))
        n_fft = multiple * int(random.integers(max(1, 2 // multiple), 80 // multiple))
        hop = multiple * int(random.integers(1, 1 + n_fft // multiple))
        lead = [(), (2,), (2, 3), (0,)][trial % 4]
        x = noise(random, (*lead, n_fft + int(random.integers(1, 300))), dtype)
        parameters = {"n_fft": n_fft, "hop_length": hop, "pad_mode": mode, "window": random.uniform(0.3, 1, n_fft)}
        parameters["onesided"] = trial % 3 > 0
        spectrum = xi.stft(fake.on_device(x), **parameters)
        agree(spectrum.host, xi.stft(x.astype(float), **parameters), np.finfo(dtype).eps)
        if trial % 3 == 0:
            z = noise(random, x.shape, {"float32": "c8", "float64": "c16"}[dtype])
            spectrum = xi.stft(fake.on_device(z), **parameters)
            agree(spectrum.host, xi.stft(z.astype(complex), **parameters), np.finfo(dtype).eps)
    assert fake.trace.downloads == fake.trace.waits == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("layout", LAYOUTS[:4])
def test_frame_and_overlap_add_agree_with_the_definition(fake, random, dtype, layout):
    for window in (None, random.uniform(0.3, 1, 24)):
        segments = laid_out(noise(random, (2, 3, 24, 9), dtype), layout)
        summed = xi.overlap_add(fake.on_device(segments), 5, window=window)
        agree(summed.host, xi.overlap_add(segments, 5, window=window), np.finfo(dtype).eps)
        x = noise(random, (2, 3, 100), dtype)
        framed = xi.frame(fake.on_device(x), 24, 5, window=window, padding=7, pad_mode="reflect")
        agree(framed.host, xi.frame(x, 24, 5, window=window, padding=7, pad_mode="reflect"), np.finfo(dtype).eps)


def test_layouts_take_the_shortest_way(fake, random):
    spectrum = noise(random, (2, 33, 20), "complex64")
    ways = {
        "frequency-major": ["transpose", "cufft", "overlap_add"],
        "frame-major": ["copy_rows", "cufft", "overlap_add"],
        "strided": ["copy", "transpose", "cufft", "overlap_add"],
        "reversed": ["transpose", "cufft", "overlap_add"],
    }
    for layout, names in ways.items():
        fake.trace.launches.clear()
        xi.istft(fake.on_device(laid_out(spectrum, layout)))
        assert fake.trace.names == names


def test_what_stft_makes_needs_no_transpose(fake, random):
    x = noise(random, (3, 2000), "float32")
    spectrum = xi.stft(fake.on_device(x), n_fft=64)
    assert fake.trace.names == ["frame", "cufft"]
    fake.trace.launches.clear()
    signal = xi.istft(spectrum, length=2000)
    assert fake.trace.names == ["copy_rows", "cufft", "overlap_add"]
    agree(signal.host, x, np.finfo(np.float32).eps)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fused_istft_agrees_with_the_definition(fake, fused, random, layout):
    for hop, lead in ((16, (2,)), (21, (2, 3)), (70, ())):
        spectrum = laid_out(noise(random, (*lead, 33, 20), "complex64"), layout)
        before = spectrum.copy()
        fake.trace.launches.clear()
        parameters = {"hop_length": hop, "window": random.uniform(0.3, 1, 64), "nola": "zero"}
        signal = xi.istft(fake.on_device(spectrum), **parameters)
        assert fake.trace.names == ["istft_fused"]
        agree(signal.host, xi.istft(before.astype(complex), **parameters), np.finfo(np.float32).eps)
        np.testing.assert_array_equal(spectrum, before)
    assert fake.trace.plans == fake.trace.downloads == fake.trace.waits == 0


@pytest.mark.parametrize(
    "what", [{"dtype": "complex128"}, {"n_fft": 60}, {"onesided": False}, {"n_fft": 32}, {"n_fft": 8192}]
)
def test_cufft_serves_what_the_fused_kernel_cannot(fake, fused, random, what):
    n_fft, onesided, dtype = what.get("n_fft", 64), what.get("onesided", True), what.get("dtype", "complex64")
    spectrum = noise(random, (n_fft // 2 + 1 if onesided else n_fft, 20), dtype)
    signal = xi.istft(fake.on_device(spectrum), onesided=onesided)
    assert fake.trace.names == ["transpose", "cufft", "overlap_add"]
    agree(signal.host, xi.istft(spectrum.astype(complex), onesided=onesided), np.finfo(dtype).eps)


def test_all_work_stays_on_the_current_stream(fake, random):
    spectrum = fake.on_device(noise(random, (2, 33, 20), "complex64"))
    first, second = (fake.modules["cupy.cuda"].Stream() for _ in range(2))
    for stream in (first, second, first):
        fake.trace.launches.clear()
        with stream:
            signal = xi.istft(spectrum)
            xi.stft(signal, n_fft=64)
        assert {launch.stream for launch in fake.trace.launches} == {stream.ptr}
    assert fake.trace.plans == 4  # forward and inverse, for each stream


def test_threads_share_no_plan(fake, random):
    spectrum = fake.on_device(noise(random, (2, 33, 20), "complex64"))
    want = xi.istft(spectrum).host
    results: list = []

    def work() -> None:
        try:
            results.append(xi.istft(spectrum).host)
        except Exception as failure:
            results.append(failure)

    for worker in [threading.Thread(target=work) for _ in range(3)]:
        worker.start()  # one after the other: the fake, unlike a device, is not safe for threads
        worker.join()
    assert len(results) == 3
    for result in results:
        assert not isinstance(result, Exception), result
        np.testing.assert_array_equal(result, want)


def test_the_array_decides_on_which_device_it_runs(fake, random):
    host = noise(random, (2, 33, 20), "complex64")
    want = xi.istft(fake.on_device(host)).host
    with fake.device(1):
        elsewhere = fake.on_device(host)
    fake.trace.launches.clear()
    signal = xi.istft(elsewhere)
    assert signal.device.id == 1
    assert {launch.device for launch in fake.trace.launches} == {1}
    assert fake.current_device() == 0
    np.testing.assert_array_equal(signal.host, want)


def test_a_repeated_call_can_be_captured(fake, random):
    """No compilation, no plan and no upload in it: only launches."""
    spectrum = fake.on_device(noise(random, (2, 33, 20), "complex64"))
    x = xi.istft(spectrum)
    xi.stft(x, n_fft=64)
    before = (fake.trace.compiled, fake.trace.plans, fake.trace.uploads)
    xi.stft(xi.istft(spectrum), n_fft=64)
    assert (fake.trace.compiled, fake.trace.plans, fake.trace.uploads) == before
    xi.istft(fake.on_device(laid_out(spectrum.host, "frame-major")))  # another call, with the same window and gain
    assert fake.trace.uploads == before[2]
    assert fake.trace.downloads == fake.trace.waits == 0


def test_similar_lengths_share_plans(fake, random):
    for n_frames in range(249, 257):
        xi.istft(fake.on_device(noise(random, (9, n_frames), "complex64")))
    assert fake.trace.plans == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_change_no_bit_and_bound_the_scratch(fake, random, monkeypatch, layout):
    parts_change_no_bit(fake, random, monkeypatch, layout, (1, 80 // 10, 80 // 2, 2 * 80))


def parts_change_no_bit(fake, random, monkeypatch, layout, frames_at_once):
    spectrum = laid_out(noise(random, (3, 33, 80), "complex64"), layout)
    whole = xi.istft(fake.on_device(spectrum), hop_length=12, window=np.full(64, 0.5))
    for frames in frames_at_once:
        limit = frames * (33 * 8 + 64 * 4)
        monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(limit))
        array = fake.on_device(spectrum)
        for _ in range(1 if frames == 1 else 3):
            held = fake.trace.peak_bytes = fake.trace.live_bytes
            parts = xi.istft(array, hop_length=12, window=np.full(64, 0.5))
            np.testing.assert_array_equal(parts.host, whole.host)
            if layout != "strided":  # made contiguous first
                floor = 12 * (33 * 8 + 64 * 4)  # the frames that reach one hop, twice
                assert fake.trace.peak_bytes - held - whole.nbytes <= max(limit, floor) * 9 // 8 + 4096
            del parts


def test_parts_are_as_large_as_the_scratch_allows(fake, random, monkeypatch):
    """So that there are few: at 12 frames of 80 and 5 more that each part shares with the next, 12 of them."""
    spectrum, segments = noise(random, (33, 80), "complex64"), noise(random, (64, 80), "float32")
    monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(17 * (33 * 8 + 64 * 4)))
    xi.istft(fake.on_device(spectrum), hop_length=12)
    assert 5 <= fake.trace.names.count("cufft") <= 8
    whole = xi.overlap_add(segments, 12)
    monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(17 * 64 * 4))
    array = fake.on_device(segments)
    fake.trace.launches.clear()
    held = fake.trace.peak_bytes = fake.trace.live_bytes
    summed = xi.overlap_add(array, 12)
    assert fake.trace.peak_bytes - held - summed.nbytes <= 17 * 64 * 4 * 9 // 8 + 4096
    agree(summed.host, whole, np.finfo(np.float32).eps)
    assert 5 <= fake.trace.names.count("overlap_add") <= 8
    monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", "1")  # where one hop needs more: as many frames again
    fake.trace.launches.clear()
    xi.overlap_add(array, 12)
    assert fake.trace.names.count("overlap_add") <= 16


def test_parts_of_the_forward_map_change_no_bit(fake, random, monkeypatch):
    forward_parts_change_no_bit(fake, random, monkeypatch, (10000, 5000, 1))


def forward_parts_change_no_bit(fake, random, monkeypatch, limits):
    x = fake.on_device(noise(random, (3, 300), "float32"))
    whole = xi.stft(x, n_fft=64, hop_length=12)
    for limit in limits:
        monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(limit))
        np.testing.assert_array_equal(xi.stft(x, n_fft=64, hop_length=12).host, whole.host)
        out = fake.empty(whole.shape, np.complex64)
        np.testing.assert_array_equal(xi.stft(x, n_fft=64, hop_length=12, out=out).host, whole.host)


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_parts_of_one_long_signal_stay_within_the_scratch(fake, random, monkeypatch, mode):
    x = fake.on_device(noise(random, (20000,), "float32"))
    whole = xi.stft(x, n_fft=64, hop_length=12, pad_mode=mode)
    out = fake.empty(whole.shape, np.complex64)
    limit = 40000
    monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(limit))
    held = fake.trace.peak_bytes = fake.trace.live_bytes
    made = xi.stft(x, n_fft=64, hop_length=12, pad_mode=mode)
    assert fake.trace.peak_bytes - held <= whole.nbytes * 17 // 16 + 2 * limit
    np.testing.assert_array_equal(made.host, whole.host)
    np.testing.assert_array_equal(xi.stft(x, n_fft=64, hop_length=12, pad_mode=mode, out=out).host, whole.host)


def test_a_signal_of_more_than_2_to_the_31_samples_is_counted_in_64_bits(fake):
    """Zeros that take no memory, but for the last frame."""
    n_samples, hop = 2**31 + 16, 2**30
    x = sparse(n_samples, "f4")
    x[-16:] = np.arange(16)
    X = xi.stft(fake.on_device(x), n_fft=16, hop_length=hop, center=False, window="boxcar")
    want = np.zeros((9, 3), complex)
    want[:, 2] = np.fft.rfft(np.arange(16))
    np.testing.assert_allclose(X.host, want, atol=1e-4)
    assert fake.trace.launches[0].macros["XI_INDEX_BITS"] == "64"


def test_counts_that_32_bits_hold_are_told_from_others(fake, monkeypatch):
    backend = importlib.import_module("xp_istft.backends.cupy")
    for farthest, bits in ((0, 32), (2**31 - 2**12 - 1, 32), (2**31 - 2**12, 64), (2**40, 64)):
        assert backend._index(farthest) == (bits, {32: np.int32, 64: np.int64}[bits])
    monkeypatch.setenv("XP_ISTFT_SCRATCH_BYTES", str(2**62))
    for n_fft in (2, 3, 64, 1000, 2048, 2**20, 2**30):
        rows = backend._rows_at_once(1, n_fft)
        assert backend._bucket(rows, n_fft) * n_fft < 2**31  # elements of one cuFFT plan
        assert (rows + 1) * n_fft > 2**31 - 2**16 - n_fft


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_out_is_written_in_place(fake, random, lead):
    spectrum = fake.on_device(noise(random, (*lead, 33, 20), "complex64"))
    want = xi.istft(spectrum).host
    for wide in (False, True):  # rows side by side, or with room between samples
        host = np.full((*want.shape[:-1], want.shape[-1] * (1 + wide)), np.nan, np.float32)
        out = fake.on_device(host[..., :: 1 + wide])
        fake.trace.launches.clear()
        assert xi.istft(spectrum, out=out) is out
        np.testing.assert_array_equal(host[..., :: 1 + wide], want)
        assert ("copy" in fake.trace.names) == wide
    x = fake.on_device(want)
    made = xi.stft(x, n_fft=64).host
    for layout in ("frequency-major", "frame-major", "strided"):
        out = fake.on_device(laid_out(np.full(made.shape, np.nan, np.complex64), layout))
        assert xi.stft(x, n_fft=64, out=out) is out
        np.testing.assert_array_equal(out.host, made)


def test_vectors_wait_for_alignment(fake, random):
    """Rows of an odd length, and a result that begins in the middle of a vector."""
    spectrum = fake.on_device(noise(random, (2, 33, 20), "complex64"))
    want = xi.istft(spectrum).host
    np.testing.assert_array_equal(xi.istft(spectrum, length=301).host, want[:, :301])
    host = np.zeros(2 * 304 + 1, np.float32)
    xi.istft(spectrum, out=fake.on_device(host[1:].reshape(2, 304)))
    np.testing.assert_array_equal(host[1:].reshape(2, 304), want)


@pytest.mark.parametrize("shape", [(0, 33, 20), (2, 0, 33, 20)])
def test_an_empty_batch_launches_nothing(fake, shape):
    signal = xi.istft(fake.on_device(np.zeros(shape, np.complex64)))
    assert signal.shape == (*shape[:-2], 16 * 19)
    assert xi.stft(signal, n_fft=64).shape == shape
    assert not fake.trace.launches


def test_axes_and_pairs_are_views(fake, random):
    spectrum = noise(random, (2, 33, 20), "complex64")
    want = xi.istft(fake.on_device(spectrum)).host
    fake.trace.launches.clear()
    turned = fake.on_device(np.ascontiguousarray(np.moveaxis(spectrum, 0, -1)))
    np.testing.assert_array_equal(xi.istft(turned, axes=(0, 1)).host, want)
    pairs = fake.on_device(spectrum.view(np.float32).reshape(2, 33, 20, 2))
    fake.trace.launches.clear()
    np.testing.assert_array_equal(xi.istft(xi.as_complex(pairs)).host, want)
    assert fake.trace.names == ["transpose", "cufft", "overlap_add"]


def test_half_precision_is_computed_in_float32(fake, random):
    x = noise(random, (500,), "float32").astype(np.float16)
    got = xi.stft(fake.on_device(x), n_fft=64)
    assert got.dtype == np.complex64
    agree(got.host, xi.stft(x.astype(float), n_fft=64), np.finfo(np.float32).eps)


@pytest.mark.parametrize("engine", ["cufft", "fused"])
def test_uncovered_samples_are_zero(fake, random, engine):
    spectrum = noise(random, (33, 20), "complex64")
    spectrum[:, [0, -1]] = np.nan
    with pytest.warns(xi.CoverageWarning), xi.gpu_engine(engine):
        signal = xi.istft(fake.on_device(spectrum), center=False, length=500)
    frames_end = 64 + 16 * 19
    assert signal.host[0] == 0
    assert (signal.host[frames_end:] == 0).all()
    assert np.isnan(signal.host).sum() == 63 + 64


def test_longer_than_the_frames(fake, random):
    spectrum = noise(random, (2, 33, 20), "complex64")
    with pytest.warns(xi.CoverageWarning):
        got = xi.istft(fake.on_device(spectrum), length=500, window="hamming")
    with pytest.warns(xi.CoverageWarning):
        want = xi.istft(spectrum.astype(complex), length=500, window="hamming")
    agree(got.host, want, np.finfo(np.float32).eps)


def test_work_follows_the_producers_stream(fake, random):
    backend = importlib.import_module("xp_istft.backends.cupy")
    spectrum = fake.on_device(noise(random, (33, 20), "complex64"))
    for producer in (SimpleNamespace(__cuda_stream__=lambda: (0, 99)), 99):
        fake.trace.launches.clear()
        with backend.stream_of(producer, 0):
            xi.istft(spectrum)
        assert {launch.stream for launch in fake.trace.launches} == {99}
        assert fake.current_stream() == 0


def test_out_on_another_device_is_refused(fake, random):
    spectrum = fake.on_device(noise(random, (33, 20), "complex64"))
    with fake.device(1):
        out = fake.on_device(np.zeros(16 * 19, np.float32))
    with pytest.raises(ValueError, match=r"out: need the device of the input \(<CUDA Device 0>\), got <CUDA Device 1>"):
        xi.istft(spectrum, out=out)


def test_windows_on_any_device_are_read_when_the_transform_is_made(fake, random):
    spectrum, window = noise(random, (33, 20), "complex64"), random.uniform(0.3, 1, 64)
    for device in (0, 1):
        with fake.device(device):
            transform = xi.STFT(64, window=fake.on_device(window))
        assert transform == xi.STFT(64, window=window)
        np.testing.assert_array_equal(transform.istft(spectrum), xi.istft(spectrum, window=window))


def test_out_that_shares_memory_is_refused(fake):
    host = np.zeros((33, 20), np.complex64)
    spectrum = fake.on_device(host)
    inside = fake.on_device(host.view(np.float32).reshape(-1)[: 16 * 19])
    with pytest.raises(ValueError, match="overlaps the input"):
        xi.istft(spectrum, out=inside)
    rows = fake.on_device(np.lib.stride_tricks.as_strided(np.zeros(304, np.float32), (2, 304), (0, 4)))
    with pytest.raises(ValueError, match="rows that overlap"):
        xi.istft(fake.on_device(np.zeros((2, 33, 20), np.complex64)), out=rows)


def test_a_kernel_that_cannot_compile_says_why(fake, random):
    def broken(code, options):
        raise OSError("no NVRTC here")

    fake.engine = broken
    with pytest.raises(
        RuntimeError, match=r"could not compile transpose.cu \(.*XI_REAL=float.*\): no NVRTC here"
    ) as info:
        xi.istft(fake.on_device(noise(random, (33, 20), "complex64")))
    assert isinstance(info.value.__cause__, OSError)


def test_missing_cufft_says_what_to_install(fake, random):
    del fake.modules["cupy.cuda"].cufft
    fake.modules["cupy.cuda"].__path__ = []
    import sys

    sys.modules["cupy.cuda.cufft"] = None
    with pytest.raises(ImportError, match=r"xp-istft\[cuda13\]"):
        xi.istft(fake.on_device(noise(random, (33, 20), "complex64")))


def traced_megabytes(trace) -> float:
    """What a memory bus moves when every array goes over it once."""
    return sum(sum(launch.arrays) for launch in trace.launches) / 1e6


def test_a_minute_of_audio_moves_no_more_than_modelled(fake):
    """60 s at 44.1 kHz, n_fft 2048, hop 512: 222 MB."""
    n_samples, n_frames = 60 * 44100, 1 + 60 * 44100 // 512
    spectrum = np.zeros((1025, n_frames), np.complex64)
    xi.istft(fake.on_device(spectrum), length=n_samples)
    assert fake.trace.names == ["transpose", "cufft", "overlap_add"]
    assert round(traced_megabytes(fake.trace)) <= 222
    assert fake.trace.downloads == fake.trace.waits == 0


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
def test_fused_stft_agrees_with_the_definition(fake, fused, random, mode):
    for hop, lead, n_samples in ((16, (2,), 500), (21, (2, 3), 333), (70, (), 65)):
        x = noise(random, (*lead, n_samples), "float32")
        parameters = {"n_fft": 64, "hop_length": hop, "pad_mode": mode, "window": random.uniform(0.3, 1, 64)}
        fake.trace.launches.clear()
        spectrum = xi.stft(fake.on_device(x), **parameters)
        assert fake.trace.names == ["stft_fused"]
        want = xi.stft(x.astype(float), **parameters)
        agree(spectrum.host, want, np.finfo(np.float32).eps)
        assert spectrum.strides[-2] == spectrum.itemsize  # bins side by side, as cuFFT leaves them
        for layout in ("frequency-major", "frame-major", "strided"):
            out = fake.on_device(laid_out(np.full(want.shape, np.nan, np.complex64), layout))
            assert xi.stft(fake.on_device(x), **parameters, out=out) is out
            agree(out.host, want, np.finfo(np.float32).eps)
    assert fake.trace.plans == fake.trace.downloads == fake.trace.waits == 0


@pytest.mark.parametrize("what", [{"dtype": "float64"}, {"dtype": "complex64"}, {"n_fft": 60}, {"onesided": False}])
def test_cufft_serves_what_the_fused_forward_kernel_cannot(fake, fused, random, what):
    x = noise(random, (300,), what.get("dtype", "float32"))
    parameters = {"n_fft": what.get("n_fft", 64), "onesided": what.get("onesided", x.dtype.kind == "f")}
    spectrum = xi.stft(fake.on_device(x), **parameters)
    assert fake.trace.names == ["frame", "cufft"]
    agree(spectrum.host, xi.stft(x.astype("D" if x.dtype.kind == "c" else "d"), **parameters), np.finfo(x.dtype).eps)


def test_fused_kernels_take_rows_with_room_between_and_odd_starts(fake, fused, random):
    wide = noise(random, (3, 801), "float32")
    for x in (wide[:, 1:401], wide[:, :400], wide[:, :800:2], wide[::-1, :400]):
        spectrum = xi.stft(fake.on_device(x), n_fft=64, padding=(5, 31))
        agree(spectrum.host, xi.stft(x.astype(float), n_fft=64, padding=(5, 31)), np.finfo(np.float32).eps)
        parameters = {"n_fft": 64, "padding": (5, 31), "window": "hamming"}
        host = np.full((3, 340), np.nan, np.float32)
        xi.istft(spectrum, **parameters, length=300, out=fake.on_device(host[:, 7:307]))
        agree(host[:, 7:307], xi.istft(spectrum.host.astype(complex), **parameters, length=300), np.finfo("f4").eps)


def test_runs_fill_the_device_and_repeat_few_frames(fake):
    backend = importlib.import_module("xp_istft.backends.cupy")

    def runs(n_fft: int, n_batch: int, n_samples: int, places: int) -> tuple[int, float]:
        """Blocks, and frames that are made twice, of those that there are."""
        frames = Frames(n_fft, n_fft // 4, 4 * n_samples // n_fft, 0, n_samples)
        run = backend._run(frames, n_batch, 32 * backend._fused_threads(n_fft) // n_fft, places)
        assert run % 4 == 0  # the widest vector
        return -(-n_samples // run) * n_batch, (n_fft - frames.hop) / run

    for n_fft in (64, 512, 2048, 4096):
        for n_batch in (1, 3, 64, 1000):
            blocks, halo = runs(n_fft, n_batch, 50_000_000, 264)
            assert halo <= 0.06
            assert blocks / (264 * -(-blocks // 264)) > 0.9  # of the last turn, too
    assert runs(2048, 1, 60 * 44100, 264) == (264, pytest.approx(0.153, abs=1e-3))  # no time to lose: one turn
    assert runs(2048, 1, 10_000, 264)[0] >= 5
