"""Precision: what goes in comes out, and nothing is computed in less or (over the data) in more."""

from __future__ import annotations

import numpy as np
import pytest

import xp_istft as xi


@pytest.mark.parametrize(("real", "spectral"), [("float32", "complex64"), ("float64", "complex128")])
def test_precision_is_kept(xp, rng, real, spectral):
    x = xp.asarray(rng.standard_normal((2, 300)).astype(real))
    X = xi.stft(x, 32, window=np.hanning(32))
    y = xi.istft(X, window=np.hanning(32))
    for array, dtype in ((X, spectral), (y, real)):
        assert str(array.dtype).rpartition(".")[2] == dtype
        assert xp.to_numpy(array).dtype == dtype
    two = xi.istft(xi.stft(x, 32, onesided=False), onesided=False)
    assert str(two.dtype).rpartition(".")[2] == spectral


def test_no_float64_over_float32_data(rng, monkeypatch):
    """Every FFT of float32 data is one of float32: complex64 or float32 in, complex64 or float32 out.

    NumPy's would take others; SciPy's, and MKL's, refuse a place of another precision.
    """
    seen = []
    for name in ("rfft", "irfft", "fft", "ifft"):

        def watched(a, *args, _fft=getattr(np.fft, name), **kwargs):  # noqa: B008  one of each
            result = _fft(a, *args, **kwargs)
            seen.append((a.dtype, result.dtype))
            return result

        monkeypatch.setattr(np.fft, name, watched)
    with xi.fft_engine("numpy"):
        xi.istft(xi.stft(rng.standard_normal(20000).astype(np.float32), 512))
    assert len(seen) >= 2
    assert all(dtype in (np.complex64, np.float32) for pair in seen for dtype in pair)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_half_precision_computes_in_float32(rng):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(rng.uniform(-1, 1, (2, 400)).astype(np.float16))
    X = xi.stft(x, 64)
    assert X.dtype == torch.complex32
    y = xi.istft(X)
    assert y.dtype == torch.float16
    assert float((y.float() - x[:, : y.shape[-1]].float()).abs().max()) < 4e-3
    out = torch.empty_like(y)
    assert xi.istft(X, out=out) is out
    assert torch.equal(out, y)
    assert xi.stft(x.to(torch.bfloat16), 64).dtype == torch.complex64
    # NumPy has no half spectra: complex64
    assert xi.stft(x.numpy(), 64).dtype == np.complex64
    np.testing.assert_array_equal(xi.stft(x.numpy(), 64), xi.stft(x.numpy().astype(np.float32), 64))


def test_half_precision_of_jax(rng):
    jnp = pytest.importorskip("jax.numpy")
    for dtype in (jnp.float16, jnp.bfloat16):
        x = jnp.asarray(rng.uniform(-1, 1, 400), dtype=dtype)
        assert xi.stft(x, 64).dtype == jnp.complex64


def test_foreign_byte_order_is_read(rng):
    X = xi.stft(rng.standard_normal(400), 64)
    y = xi.istft(X.astype(">c16"))
    assert y.dtype == np.float64
    assert y.dtype.isnative
    np.testing.assert_array_equal(y, xi.istft(X))


@pytest.mark.parametrize("factor", [1e-311, 1e300])
def test_extreme_values_stay_accurate(rng, factor):
    x = rng.uniform(-1, 1, 400)
    X = xi.stft(x, 64) * factor
    np.testing.assert_allclose(xi.istft(X) / factor, x, atol=1e-6 if factor < 1 else 1e-13)
