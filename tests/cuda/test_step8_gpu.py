"""Step 8: the real thing. Against the definition, SciPy and torch on a CUDA device; skipped aloud where there is none.

XP_ISTFT_REQUIRE_GPU=1 pytest tests/cuda/test_step8_gpu.py     fails instead of skipping
"""

from __future__ import annotations

import numpy as np
import pytest
from test_step2_public_call import LAYOUTS, agree, laid_out, spectrum_problem

import xp_istft as xi

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)


def on_gpu(cupy, host: np.ndarray):
    """The same values in the same layout: strides are what the backend decides by."""
    root = host if host.flags.c_contiguous else np.ascontiguousarray(host.swapaxes(-1, -2))
    array = cupy.asarray(root)
    return array if root is host else array.swapaxes(-1, -2)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_istft_agrees_with_the_definition(cupy, random, dtype, layout):
    for _ in range(20):
        spectrum, parameters = spectrum_problem(random, dtype, layout)
        signal = xi.istft(on_gpu(cupy, spectrum), **parameters)
        agree(signal.get(), xi.istft(spectrum.astype(complex), **parameters), np.finfo(dtype).eps)


@pytest.mark.parametrize("n_fft", [64, 400, 511, 512, 1021, 2048, 4096])
def test_imaginary_dc_and_nyquist_are_ignored(cupy, random, n_fft):
    spectrum = random.standard_normal((2, n_fft // 2 + 1, 20, 2)).view(complex)[..., 0]
    for layout in LAYOUTS[:2]:
        signal = xi.istft(on_gpu(cupy, laid_out(spectrum, layout)), n_fft=n_fft)
        agree(signal.get(), xi.istft(spectrum, n_fft=n_fft), np.finfo(float).eps)


@pytest.mark.parametrize("n_fft", [64, 128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_fused_istft_agrees_with_the_definition(cupy, fused, random, n_fft, layout):
    spectrum = random.standard_normal((3, n_fft // 2 + 1, 50, 2)).view(complex)[..., 0].astype(np.complex64)
    for hop in (n_fft // 4, n_fft // 3, n_fft // 2 + 1):
        parameters = {"hop_length": hop, "window": random.uniform(0.3, 1, n_fft)}
        signal = xi.istft(on_gpu(cupy, laid_out(spectrum, layout)), **parameters)
        agree(signal.get(), xi.istft(spectrum.astype(complex), **parameters), np.finfo(np.float32).eps)


@pytest.mark.parametrize("n_fft", [64, 128, 256, 512, 1024, 2048, 4096])
def test_fused_stft_agrees_with_the_definition(cupy, fused, random, n_fft):
    x = random.standard_normal((3, 20 * n_fft + 77)).astype(np.float32)
    for hop in (n_fft // 4, n_fft // 3, n_fft // 2 + 1):
        want = xi.stft(x.astype(float), n_fft=n_fft, hop_length=hop)
        agree(xi.stft(cupy.asarray(x), n_fft=n_fft, hop_length=hop).get(), want, np.finfo(np.float32).eps)
        out = cupy.empty(want.shape, np.complex64)
        agree(xi.stft(cupy.asarray(x), n_fft=n_fft, hop_length=hop, out=out).get(), want, np.finfo(np.float32).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_fft", [512, 511])
def test_round_trip(cupy, random, dtype, n_fft):
    x = cupy.asarray(random.standard_normal((3, 20000)).astype(dtype))
    spectrum = xi.stft(x, n_fft=n_fft)
    agree(spectrum.get(), xi.stft(x.get().astype(float), n_fft=n_fft), np.finfo(dtype).eps)
    agree(xi.istft(spectrum, n_fft=n_fft, length=20000).get(), x.get(), np.finfo(dtype).eps)


def test_agrees_with_scipy(cupy, random):
    from scipy.signal import istft, stft

    x = random.standard_normal((2, 16000))
    spectrum = stft(x, nperseg=512, noverlap=384)[2]
    want = istft(spectrum, nperseg=512, noverlap=384)[1][..., :16000]
    got = xi.istft(cupy.asarray(spectrum), hop_length=128, length=16000, scaling="spectrum")
    agree(got.get(), want, np.finfo(float).eps)


def test_agrees_with_torch(cupy, random):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    x = torch.asarray(random.standard_normal((2, 16000)), dtype=torch.float32, device="cuda")
    window = torch.hann_window(512, device="cuda")
    spectrum = torch.stft(x, 512, 128, window=window, return_complex=True)
    want = torch.istft(spectrum, 512, 128, window=window, length=16000)
    got = xi.istft(cupy.from_dlpack(spectrum), hop_length=128, length=16000)
    agree(got.get(), want.cpu().numpy(), np.finfo(np.float32).eps)


def test_the_same_bits_every_run(cupy, random):
    spectrum = cupy.asarray(random.standard_normal((4, 513, 300, 2)).view(complex)[..., 0].astype(np.complex64))
    first = xi.istft(spectrum).get()
    for _ in range(5):
        np.testing.assert_array_equal(xi.istft(spectrum).get(), first)


def test_freed_memory_is_not_read(cupy, random):
    """Poison what the pool hands out next: NaN in the result would be a read of memory that nothing wrote."""
    spectrum = cupy.asarray(random.standard_normal((2, 257, 100, 2)).view(complex)[..., 0].astype(np.complex64))
    for size in (1 << 16, 1 << 20, 1 << 24):
        poison = cupy.full(size, cupy.nan, np.float32)
        del poison
        assert np.isfinite(xi.istft(spectrum).get()).all()


def test_streams_do_not_disturb_each_other(cupy, random):
    spectra = [cupy.asarray(random.standard_normal((2, 513, 400)) + 0j) for _ in range(4)]
    want = [xi.istft(spectrum).get() for spectrum in spectra]
    cupy.cuda.Device().synchronize()
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in spectra]
    for _ in range(10):
        got = []
        for stream, spectrum in zip(streams, spectra, strict=True):
            with stream:
                got.append(xi.istft(spectrum))
        for stream in streams:
            stream.synchronize()
        for mine, its in zip(got, want, strict=True):
            np.testing.assert_array_equal(mine.get(), its)


@pytest.mark.parametrize("engine", ["cufft", "fused"])
def test_graphs_keep_what_they_work_with(cupy, random, engine):
    """Replayed after all plans and windows were given up elsewhere, and the pools' free memory to others."""
    from xp_istft.backends.cupy import GraphMemory

    spectrum = cupy.asarray(random.standard_normal((2, 257, 100, 2)).view(complex)[..., 0].astype(np.complex64))
    stream, memory = cupy.cuda.Stream(non_blocking=True), GraphMemory()
    cupy.cuda.Device().synchronize()
    with stream, xi.gpu_engine(engine):
        out = cupy.empty((2, 64 * 2 * 99), np.float32)
        with memory:
            xi.istft(spectrum, hop_length=128, out=out)
        want = out.get()
        stream.begin_capture()
        with memory:
            xi.istft(spectrum, hop_length=128, out=out)
        graph = stream.end_capture()
        for n_fft in range(100, 140):
            xi.istft(xi.stft(cupy.zeros(4 * n_fft, np.float32), n_fft), n_fft=n_fft)
        cupy.get_default_memory_pool().free_all_blocks()
        poison = [cupy.full(1 << 20, cupy.nan, np.float32) for _ in range(16)]
        out.fill(0)
        graph.launch()
        stream.synchronize()
        np.testing.assert_array_equal(out.get(), want)
        assert all(bool(cupy.isnan(each).all()) for each in poison)


def test_torch_captures_a_graph(cupy, random):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    from xp_istft.backends.cupy import GraphMemory

    spectrum = torch.asarray(random.standard_normal((2, 257, 100)) + 0j, dtype=torch.complex64, device="cuda")
    stream, memory, graph = torch.cuda.Stream(), GraphMemory(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream), memory:
        want = xi.istft(spectrum, hop_length=128)
    with torch.cuda.graph(graph, stream=stream), memory:
        signal = xi.istft(spectrum, hop_length=128)
    signal.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(signal, want)


def test_every_device_gives_the_same(cupy, random):
    spectrum = random.standard_normal((2, 257, 100)) + 0j
    results = []
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        with cupy.cuda.Device(number):
            array = cupy.asarray(spectrum)
        results.append(xi.istft(array).get())
    for result in results:
        agree(result, results[0], np.finfo(float).eps)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
def test_frames_and_overlap_add(cupy, random, pad_mode):
    x = random.standard_normal((2, 1000))
    framed = xi.frame(cupy.asarray(x), 64, 20, window="hann", padding=100, pad_mode=pad_mode)
    np.testing.assert_array_equal(framed.get(), xi.frame(x, 64, 20, window="hann", padding=100, pad_mode=pad_mode))
    agree(xi.overlap_add(framed, 20).get(), xi.overlap_add(framed.get(), 20), np.finfo(float).eps)
