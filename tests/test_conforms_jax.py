"""compat.jax against jax.scipy.signal over random parameters."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
import scipy.signal
from conformance import WINDOWS, Draw, assert_conforms, envelope, samples

from xp_istft.compat import jax as ours

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
theirs = jax.scipy.signal

# JAX compiles anew for every shape: few shapes, many values. (nperseg, noverlap, nfft, dtype)
SHAPES = ((8, None, None, "float32"), (15, 4, 20, "float64"), (16, 12, None, "float64"))
SAMPLES, FRAMES = 96, 6


def segments(draw: Draw) -> tuple[dict, str]:
    nperseg, noverlap, nfft, dtype = SHAPES[draw.integer("shape", 0, len(SHAPES) - 1)]
    options = {
        "nperseg": nperseg,
        "noverlap": noverlap,
        "nfft": nfft,
        "fs": draw.rng.uniform(0.1, 1e4),
        "window": draw.one("window", *WINDOWS, np.abs(draw.array((nperseg,), dtype)) + 0.1),
    }
    return options, dtype


@samples()
def test_stft(numbers):
    for number in numbers:
        draw = Draw(number, 8)
        options, dtype = segments(draw)
        options |= {
            "return_onesided": draw.one("onesided", True, False),
            "boundary": draw.one("boundary", "zeros", None),
        }
        x = jax.numpy.asarray(draw.array((2, SAMPLES), dtype))
        mine, expected = ours.stft(x, **options), theirs.stft(x, **options)
        for one, other in zip(mine[:2], expected[:2], strict=True):
            assert one.dtype == other.dtype
            near = 1e-6 if x.dtype == "float32" else 1e-12
            np.testing.assert_allclose(one, other, rtol=near, atol=near * float(other.max()))
        assert_conforms(mine[2], expected[2], draw)


@samples()
def test_istft(numbers):
    for number in numbers:
        draw = Draw(number, 9)
        options, dtype = segments(draw)
        nperseg = options["nperseg"]
        options["nfft"] = nfft = options["nfft"] or nperseg
        options["input_onesided"] = onesided = draw.one("onesided", True, False)
        options["boundary"] = boundary = draw.one("boundary", True, False)
        Z = draw.array(
            (2, nfft // 2 + 1 if onesided else nfft, FRAMES), "complex64" if dtype == "float32" else "complex128"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samples that no window weighs
            times, x = ours.istft(jax.numpy.asarray(Z), **options)
        expected = theirs.istft(jax.numpy.asarray(Z), **options)[1]
        assert times.shape == (x.shape[-1],)
        hop = nperseg - (nperseg // 2 if options["noverlap"] is None else options["noverlap"])
        window = options["window"]
        window = window if isinstance(window, np.ndarray) else scipy.signal.get_window(window, nperseg)
        total = envelope(window, hop, FRAMES)
        total = total[nperseg // 2 : -(nperseg // 2)] if boundary else total
        assert_conforms(x, expected, draw, where=total > 1e-10)


@pytest.mark.parametrize("name", ["stft", "istft"])
def test_signatures_are_jaxs(name):
    mine, other = (inspect.signature(getattr(module, name)).parameters.values() for module in (ours, theirs))
    assert [(each.name, each.default) for each in mine] == [(each.name, each.default) for each in other]


def test_transformations_pass_through(rng):
    x = jax.numpy.asarray(rng.standard_normal((2, SAMPLES)))

    def loss(x, fs):
        t, y = ours.istft(abs(ours.stft(x, fs, nperseg=16)[2]) * (1 + 1j), fs, nperseg=16)
        return (y**2).sum() + t.sum()

    plain = loss(x, 2.0)
    np.testing.assert_allclose(jax.jit(loss)(x, 2.0), plain, rtol=1e-12)
    each = jax.vmap(loss, (0, None))(x, 2.0)
    np.testing.assert_allclose(each, [loss(item, 2.0) for item in x], rtol=1e-12)
    slope = jax.grad(loss)(x, 2.0)
    step = 1e-6 * rng.standard_normal(x.shape)
    np.testing.assert_allclose((slope * step).sum(), (loss(x + step, 2.0) - loss(x - step, 2.0)) / 2, rtol=1e-5)


def test_no_overlap_is_none(rng):
    """JAX's inverse takes noverlap=0 for half a segment."""
    x = jax.numpy.asarray(rng.standard_normal(SAMPLES))
    Z = ours.stft(x, nperseg=16, noverlap=0, window="hamming")[2]
    np.testing.assert_allclose(ours.istft(Z, nperseg=16, noverlap=0, window="hamming")[1][:SAMPLES], x, atol=1e-13)
    assert theirs.istft(Z, nperseg=16, noverlap=0, window="hamming")[1].shape != (SAMPLES,)


def test_odd_segments_are_inverted(rng):
    x = jax.numpy.asarray(rng.standard_normal(SAMPLES))
    y = ours.istft(ours.stft(x, nperseg=15)[2], nperseg=15)[1]
    np.testing.assert_allclose(y[:SAMPLES], x, atol=1e-13)
