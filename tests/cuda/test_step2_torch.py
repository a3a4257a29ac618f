"""Step 2, for tensors: torch's memory on a fake CuPy, under torch's stream. Tensors of the CPU stand in for CUDA's."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import xp_istft as xi

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def lent(fake, monkeypatch):
    """lent(stream, device=0): tensors go to the fake, while `stream` is the current one of torch's device."""
    lending = importlib.import_module("xp_istft.backends.torch.lending")
    backend = importlib.import_module("xp_istft.backends.cupy")
    monkeypatch.setattr(importlib.import_module("xp_istft.backends.torch.cpu"), "served", lambda tensor, job: False)
    monkeypatch.setattr(sys.modules["xp_istft.backends"], "cupy", backend, raising=False)
    borrower = lending.borrower

    def to(stream, device=0):
        on_cuda = SimpleNamespace(is_cpu=False, device=SimpleNamespace(index=device))
        monkeypatch.setattr(lending, "borrower", lambda tensor: borrower(on_cuda))
        streams = {device: stream}
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams[device.index])

    return to


CALLS = {
    "stft": lambda x: xi.stft(x, 64, hop_length=16),
    "istft": lambda x: xi.istft(xi.stft(x, 64, hop_length=16), hop_length=16),
    "frame": lambda x: xi.frame(x, 64, 16),
    "overlap_add": lambda x: xi.overlap_add(x[: 64 * 4].reshape(64, 4), 16),
}
STREAMS = {
    "torch before 2.10": SimpleNamespace(cuda_stream=7),
    "torch from 2.10 on": SimpleNamespace(cuda_stream=7, __cuda_stream__=lambda: (0, 7)),
    "the default stream": SimpleNamespace(cuda_stream=0, __cuda_stream__=lambda: (0, 0)),
}


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize("per_thread", ["0", "1"])
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_tensors_are_worked_on_under_torchs_stream(fake, lent, monkeypatch, call, stream, per_thread, device):
    monkeypatch.setenv("CUPY_CUDA_PER_THREAD_DEFAULT_STREAM", per_thread)
    lent(stream, device)
    x = torch.asarray(np.random.default_rng(0).standard_normal(400))
    want = call(x.numpy())
    for _ in range(2):  # new, and repeated
        np.testing.assert_allclose(call(x).numpy(), want, atol=1e-12)
    address = stream.cuda_stream or int(per_thread)  # 1 is the default stream of all threads
    assert {(launch.device, launch.stream) for launch in fake.trace.launches} == {(device, address)}
    assert fake.trace.downloads == 0


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_results_are_torchs_own_memory(fake, lent, monkeypatch, call):
    """CuPy's would be given away while a side stream of torch still reads it: its pool knows no record_stream."""
    made, fresh = [], fake.fresh
    monkeypatch.setattr(fake, "fresh", lambda array: made.append(array) or fresh(array))
    lent(STREAMS["torch before 2.10"])
    result = call(torch.zeros(400, dtype=torch.float64)).numpy()
    assert made
    assert not any(np.shares_memory(array, result) for array in made)


@pytest.mark.parametrize("name", ["stft", "istft"])
def test_a_graph_of_torchs_stream(fake, lent, name):
    """The stream that is captured is torch's current one, not CuPy's. (The others end with torch's copy.)"""
    call = CALLS[name]
    backend = importlib.import_module("xp_istft.backends.cupy")
    stream, memory = fake.modules["cupy.cuda"].Stream(), backend.GraphMemory()
    lent(SimpleNamespace(cuda_stream=stream.ptr))
    x = torch.asarray(np.random.default_rng(0).standard_normal(400))
    with memory:
        want = call(x)
    assert fake.trace.waits == 1
    stream.begin_capture()
    with memory:
        result = call(x)
    graph = stream.end_capture()
    assert fake.trace.waits == 1
    result.zero_()
    graph.launch()
    assert torch.equal(result, want)


def test_pairs_of_any_alignment(fake, lent):
    lent(STREAMS["torch before 2.10"])
    values = torch.randn(33, 20, 2, generator=torch.Generator().manual_seed(1))
    want = xi.istft(torch.view_as_complex(values).numpy())
    room = torch.zeros(33 * 41 + 1)
    for start, width in ((0, 41), (1, 40), (1, 41)):
        pairs = room.as_strided((33, 20, 2), (width, 2, 1), start)
        pairs.copy_(values)
        np.testing.assert_allclose(xi.istft(xi.as_complex(pairs)).numpy(), want, atol=1e-6)
