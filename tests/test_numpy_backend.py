"""The NumPy backend gives the definition's numbers, and the same bits however the work is cut."""

from __future__ import annotations

import itertools
import os
import threading

import numpy as np
import pytest

import xp_istft as xi
from xp_istft import plans
from xp_istft.backends import array_api, fft_engines, overlap, scratch, threads
from xp_istft.backends import numpy as backend
from xp_istft.frames import PAD_MODES, Frames
from xp_istft.jobs import Analysis, Synthesis
from xp_istft.windows import normalisation

TOLERANCE = {"f": 3e-6, "d": 1e-13}
COMPLEX = {"f": np.complex64, "d": np.complex128}

# n_fft, hop, n_frames, start, length: even, odd and prime sizes, hops that divide and that do not, one sample and
# longer than a frame, few frames, a signal that begins before the first frame and one that ends after the last
GEOMETRIES = [
    (8, 2, 1, 0, 8),
    (8, 2, 3, 4, 6),
    (16, 4, 40, 8, 150),
    (16, 4, 40, 7, 151),
    (15, 4, 40, 7, 150),
    (17, 5, 33, 8, 160),
    (31, 1, 70, 15, 60),
    (64, 1, 200, 32, 190),
    (100, 3, 120, 50, 300),
    (20, 20, 9, 0, 180),
    (20, 27, 9, 0, 230),
    (20, 27, 9, -5, 260),
    (20, 7, 30, -13, 280),
    (20, 7, 30, 3, 400),
    (13, 3, 2, 1, 9),
    (128, 2, 5, 0, 130),
    (200, 80, 64, 100, 5000),
    (64, 16, 900, 32, 14000),
    (257, 64, 300, 128, 19000),
    (512, 128, 150, 256, 19001),
]


def window_pair(n_fft, kind):
    t = np.arange(n_fft)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * t / n_fft)
    if kind == "hann":
        return hann, hann
    if kind == "pair":
        return np.hamming(n_fft), 0.1 + np.sin(np.pi * (t + 0.5) / n_fft)
    return np.ones(n_fft), np.ones(n_fft)


def synthesis_job(geometry, pair="hann", onesided=True, real=True, max_gain=None, dtype="f"):
    n_fft, hop, n_frames, start, length = geometry
    frames = Frames(n_fft, hop, n_frames, start, start + length)
    analysis, synthesis = window_pair(n_fft, pair)
    eps = float(np.finfo(np.dtype(dtype)).eps)
    gain = normalisation(analysis / analysis.max(), synthesis / synthesis.max(), frames, eps, max_gain).gain
    return Synthesis(frames, synthesis / synthesis.max(), gain, onesided, real)


def spectrum_of(job, dtype="f", batch=(), seed=0):
    rng = np.random.default_rng(seed)
    n_bins = job.frames.n_fft // 2 + 1 if job.onesided else job.frames.n_fft
    shape = (*batch, n_bins, job.frames.n_frames)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(COMPLEX[dtype])


def wide(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def assert_close(ours, definition, dtype, weight=1.0):
    """Equal to rounding, relative to the largest value that takes part in each sample."""
    assert ours.shape == definition.shape
    scale = np.abs(definition).max() + weight
    assert np.abs(ours - definition).max(initial=0) <= TOLERANCE[dtype] * np.max(scale)


def check_synthesis(job, spectrum, dtype, **arguments):
    ours = backend.synthesis(spectrum, job, **arguments)
    exact = array_api.synthesis(wide(spectrum), job)
    gain = job.signal_gain()
    gain = np.ones(job.frames.n_samples) if gain is None else gain
    # Compared before the gain: near the ends it amplifies the rounding of either.
    weight = np.where(gain == 0, 1, np.maximum(np.abs(gain), 1))
    assert ours.dtype == (spectrum.real.dtype if job.real else spectrum.dtype)
    assert_close(ours / weight, exact / weight, dtype)
    assert (ours[..., gain == 0] == 0).all()
    return ours


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("pair", ["hann", "pair", "ones"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_synthesis_is_the_definition(geometry, pair, dtype):
    for max_gain in (None, 2.0):
        job = synthesis_job(geometry, pair, max_gain=max_gain, dtype=dtype)
        check_synthesis(job, spectrum_of(job, dtype), dtype)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_two_sided_synthesis_is_the_definition(geometry, real, dtype):
    job = synthesis_job(geometry, onesided=False, real=real, dtype=dtype)
    check_synthesis(job, spectrum_of(job, dtype, (2,)), dtype)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_synthesis_without_window_and_gain(geometry):
    job = synthesis_job(geometry)
    job = Synthesis(job.frames, None, None)
    check_synthesis(job, spectrum_of(job), "f")
    segments = np.random.default_rng(0).standard_normal((2, geometry[0], geometry[2]))
    for kind in (segments, segments + 1j * segments[::-1]):
        assert_close(backend.overlap_add(kind, job), array_api.overlap_add(kind, job), "d")


@pytest.mark.parametrize("geometry", GEOMETRIES[3:], ids=str)
def test_segments_of_a_job_are_the_job(geometry):
    job = synthesis_job(geometry, "pair")
    spectrum = spectrum_of(job, batch=(2,))
    whole = backend.synthesis(spectrum, job)
    start, stop = job.frames.start, job.frames.stop
    cuts = sorted({start, *np.random.default_rng(1).integers(start, stop, 4).tolist(), stop})
    for lo, hi in itertools.pairwise(cuts):
        columns, part = job.segment(lo, hi)
        if part.frames.n_frames:
            piece = backend.synthesis(spectrum[..., columns], part)
            assert np.array_equal(piece, whole[:, lo - start : hi - start])


LAYOUTS = {
    "C": lambda a: np.ascontiguousarray(a),
    "frame-major": lambda a: np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2),
    "Fortran": np.asfortranarray,
    "every other": lambda a: np.repeat(np.repeat(a, 2, -1), 2, -2)[..., ::2, ::2],
    "reversed": lambda a: a[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    "batch last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0),
    "batch axes swapped": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "read-only": lambda a: np.broadcast_to(a, a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", [(16, 4, 40, 7, 151), (64, 1, 200, 32, 190), (20, 27, 9, -5, 260)], ids=str)
def test_layout_changes_no_bit(geometry, layout):
    for onesided, real in ((True, True), (False, True), (False, False)):
        job = synthesis_job(geometry, onesided=onesided, real=real)
        spectrum = spectrum_of(job, batch=(3, 2))
        plain = backend.synthesis(spectrum, job)
        assert np.array_equal(backend.synthesis(LAYOUTS[layout](spectrum), job), plain)
        if layout != "read-only":
            out = LAYOUTS[layout](np.full_like(plain, np.nan)[..., None])[..., 0]
            assert backend.synthesis(spectrum, job, out=out) is out
            assert np.array_equal(out, plain)


@pytest.mark.parametrize("geometry", [(16, 4, 40, 7, 151), (64, 1, 200, 32, 190), (15, 4, 30, 7, 100)], ids=str)
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,), (2, 0)])
def test_batch_item_is_single_item(geometry, batch):
    job = synthesis_job(geometry)
    spectrum = spectrum_of(job, batch=batch)
    signal = backend.synthesis(spectrum, job)
    assert signal.shape == (*batch, job.frames.n_samples)
    for index in np.ndindex(batch):
        assert np.array_equal(signal[index], backend.synthesis(spectrum[index], job))


@pytest.fixture
def many_blocks(monkeypatch):
    """Small blocks and no threshold: a small problem is cut as a large one is."""
    monkeypatch.setattr(backend, "_THREADED_SECONDS", 0)

    def cut(n_bytes):
        monkeypatch.setattr(backend, "_BLOCK_BYTES", n_bytes)
        monkeypatch.setattr(backend, "_BLOCK_BYTES_THREADED", n_bytes)

    return cut


CUT = [
    (16, 4, 900, 7, 3500),
    (17, 5, 700, 8, 3400),
    (64, 1, 2000, 32, 1990),
    (128, 2, 900, 64, 1790),
    (20, 27, 300, 0, 8000),
]


@pytest.mark.parametrize("geometry", CUT, ids=str)
@pytest.mark.parametrize("batch", [(), (2,), (9,)])
def test_threads_and_blocks_change_no_bit(geometry, batch, many_blocks):
    job = synthesis_job(geometry, "pair")
    spectrum = spectrum_of(job, batch=batch)
    signal = array_api.frame(spectrum.real[..., 0, :], Analysis(job.frames, None))[..., 0]
    plain = backend.synthesis(spectrum, job, workers=1)
    forward = Analysis(job.frames, job.window, pad_mode="reflect")
    signal = np.random.default_rng(3).standard_normal((*batch, job.frames.n_samples)).astype(np.float32)
    forward_plain = backend.analysis(signal, forward, workers=1)
    for n_bytes, workers in itertools.product((1, 3000, 50000), (1, 2, 3, 7)):
        many_blocks(n_bytes)
        assert np.array_equal(backend.synthesis(spectrum, job, workers=workers), plain)
        assert np.array_equal(backend.analysis(signal, forward, workers=workers), forward_plain)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("pad_mode", PAD_MODES)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_analysis_is_the_definition(geometry, pad_mode, dtype):
    n_fft, hop, n_frames, start, length = geometry
    frames = Frames(n_fft, hop, n_frames, start, start + length)
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2, length)).astype(dtype)
    for window in (window_pair(n_fft, "hann")[0], None):
        job = Analysis(frames, window, pad_mode=pad_mode)
        exact = array_api.analysis(signal.astype(float), job)
        assert_close(backend.analysis(signal, job), exact, dtype)
        assert_close(backend.frame(signal, job), array_api.frame(signal.astype(float), job), dtype)
        job = Analysis(frames, window, onesided=False, pad_mode=pad_mode)
        for kind in (signal, (signal + 1j * signal[::-1]).astype(COMPLEX[dtype])):
            ours = backend.analysis(kind, job)
            assert ours.dtype == COMPLEX[dtype]
            assert_close(ours, array_api.analysis(wide(kind), job), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_no_bit_of_an_analysis(layout):
    job = Analysis(Frames(16, 5, 30, 8, 160), np.hanning(16), pad_mode="reflect")
    signal = np.random.default_rng(0).standard_normal((3, 2, 152)).astype(np.float32)
    plain = backend.analysis(signal, job)
    assert plain.strides[-2] == plain.itemsize  # frames one after the other, as librosa and torch lay them
    assert np.array_equal(backend.analysis(LAYOUTS[layout](signal[..., None])[..., 0], job), plain)
    if layout != "read-only":
        out = LAYOUTS[layout](np.full_like(plain, np.nan))
        assert backend.analysis(signal, job, out=out) is out
        assert np.array_equal(out, plain)
