"""compat.jax against jax.scipy.signal over random parameters."""

from __future__ import annotations

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
