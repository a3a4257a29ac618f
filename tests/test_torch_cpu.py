"""Tensors on the CPU, by torch's FFT: the definition's numbers, and the same bits however the work is cut."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xp_istft as xi  # noqa: E402
from xp_istft.backends.torch import cpu  # noqa: E402

CASES = [
    {"n_fft": 64, "hop_length": 16},
    {"n_fft": 64, "hop_length": 16, "pad_mode": "reflect"},
    {"n_fft": 60, "hop_length": 7, "padding": "same"},
    {"n_fft": 61, "hop_length": 20, "win_length": 50, "pad_mode": "edge"},
    {"n_fft": 64, "hop_length": 64, "window": "boxcar", "center": False},
    {"n_fft": 32, "hop_length": 32, "window": "boxcar", "padding": (3, 5)},
    {"n_fft": 64, "hop_length": 1, "scaling": "psd", "padding": "full"},
    {"n_fft": 128, "hop_length": 32, "max_gain": 2.0},
]


@pytest.fixture(params=CASES, ids=str)
def transform(request):
    return xi.STFT(**request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def x(request):
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 524))).to(request.param)


def test_the_numbers_are_those_of_numpy(transform, x):
    X, Z = transform.stft(x), transform.stft(x.double().numpy())
    size = torch.finfo(x.dtype).eps * abs(Z).max()
    assert X.dtype is x.dtype.to_complex()
    np.testing.assert_allclose(X.numpy(), Z, atol=20 * size)
    y = transform.istft(X, length=504)
    assert (y.shape, y.dtype, y.is_contiguous()) == ((2, 3, 504), x.dtype, True)
    theirs = transform.istft(X.to(torch.complex128).numpy(), length=504)
    np.testing.assert_allclose(y.numpy(), theirs, atol=50 * torch.finfo(x.dtype).eps * abs(theirs).max())


@pytest.mark.parametrize("bytes_", [1, 1 << 13, 1 << 15])
@pytest.mark.parametrize("small", [0, 1 << 30])
def test_blocks_batches_layouts_and_out_change_no_bit(transform, x, cut, bytes_, small):
    assert cpu.served(x, transform.analysis("stft", 524, x))
    X = transform.stft(x)
    y = transform.istft(X, length=504)
    cut(torch_padded_items=0, torch_small_items=small)
    assert torch.equal(transform.stft(x), X)
    cut(torch_whole_bytes=0, block_bytes=bytes_, torch_padded_items=small, torch_small_items=small)
    assert torch.equal(transform.stft(x), X)
    assert torch.equal(transform.istft(X, length=504), y)
    assert torch.equal(transform.stft(x[1, 2]), X[1, 2])
    assert torch.equal(transform.istft(X[1, 2], length=504), y[1, 2])
    apart = torch.stack([x, x], dim=-1)[..., 0]
    assert torch.equal(transform.stft(apart), X)
    assert torch.equal(transform.istft(X.contiguous(), length=504), y)
    for out in (torch.empty_like(X), torch.empty(X.shape, dtype=X.dtype)):
        assert transform.stft(x, out=out) is out
        assert torch.equal(out, X)
    for out in (torch.empty_like(y), torch.empty(*y.shape, 2, dtype=y.dtype)[..., 0]):
        assert transform.istft(X, length=504, out=out) is out
        assert torch.equal(out, y)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_threads_change_no_bit_and_are_as_many_as_were_asked_for(monkeypatch, workers):
    x = torch.randn(3, 60_000)
    before = torch.get_num_threads()
    X = xi.stft(x, 400, hop_length=100)
    y = xi.istft(X, hop_length=100)
    seen = []
    for name in ("rfft", "irfft"):

        def watched(*arguments, transform=getattr(torch.fft, name), **options):  # noqa: B008  one of each
            seen.append(torch.get_num_threads())
            return transform(*arguments, **options)

        monkeypatch.setattr(torch.fft, name, watched)
    assert torch.equal(xi.stft(x, 400, hop_length=100, workers=workers), X)
    assert torch.equal(xi.istft(X, hop_length=100, workers=workers), y)
    assert set(seen) == {workers}
    seen.clear()
    with xi.workers(workers):
        assert torch.equal(xi.istft(X, hop_length=100), y)
    assert set(seen) == {workers}
    seen.clear()
    torch.set_num_threads(workers)
    try:
        assert torch.equal(xi.stft(x, 400, hop_length=100), X)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {workers}


def test_torch_has_its_threads_again_whatever_happens(monkeypatch):
    def failing(*arguments, **options):
        raise MemoryError

    before = torch.get_num_threads()
    monkeypatch.setattr(torch.fft, "rfft", failing)
    with pytest.raises(MemoryError):
        xi.stft(torch.randn(50_000), 400, workers=before + 1)
    assert torch.get_num_threads() == before


def test_sizes_whose_bits_depend_on_other_frames_are_numpys(monkeypatch):
    rfft = torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda x, **options: rfft(x, **options) * (1 + 1e-7 * (len(x) == 2)))
    cpu._steady.cache_clear()
    x = torch.randn(3, 1000)
    try:
        np.testing.assert_array_equal(xi.stft(x, 72).numpy(), xi.stft(x.numpy(), 72))
    finally:
        cpu._steady.cache_clear()


@pytest.mark.parametrize("whole", [0, 1 << 30])
def test_nan_stays_within_its_frames(cut, whole):
    cut(torch_whole_bytes=whole, block_bytes=1)
    x = torch.zeros(2, 3000)
    x[0, 1500] = torch.nan
    X = xi.stft(x, 64)
    assert sorted(X.isnan().any(1).nonzero()[:, 1].tolist()) == [92, 93, 94, 95]
    X = torch.zeros(2, 33, 100, dtype=torch.complex64)
    X[1, 3, 50] = torch.inf
    y = xi.istft(X)
    assert y[1].isfinite().logical_not().nonzero().min() >= 50 * 16 - 32
    assert y[1].isfinite().logical_not().nonzero().max() < 50 * 16 + 32
    assert y[0].isfinite().all()


@pytest.mark.parametrize("items", [1, 40])
def test_what_overflows_is_not_warned_of(items):
    """Infinity times 0 is NaN, in silence, in short calls and in long ones (a warning fails here)."""
    X = torch.full((items, 257, 9), 3e38, dtype=torch.complex64)
    y = xi.istft(X, hop_length=128, max_gain=2.0, nola="zero")
    assert not torch.isfinite(y).all()
