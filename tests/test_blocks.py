"""What blocks read and hold, on any library and anywhere in the longest of signals."""

from dataclasses import replace

import numpy as np
import pytest

import xp_istft as xi
from xp_istft import blocks
from xp_istft.backends.cpu.numpy import BACKEND
from xp_istft.blocks import default_block, istft_blocks, stft_blocks
from xp_istft.frames import Frames


def spectra(x, t, block_frames=None):
    job = t.analysis("stft", x.shape[-1], x)
    return list(stft_blocks(lambda lo, hi: x[..., lo:hi], job, block_frames=block_frames))


def inverse_job(X, t, length=None):
    return t.synthesis("istft", X.shape[-1], length, X).job


def signals(X, job, block_frames=None):
    return list(istft_blocks(lambda first, last: X[..., first:last], job, block_frames=block_frames))


def test_blocks_of_any_library_equal_one_shot(xp):
    t = xi.STFT(64, 20, pad_mode="reflect", nola="zero")
    x = np.random.default_rng(8).standard_normal((2, 300)).astype("float32")
    parts = spectra(xp.asarray(x), t, 5)
    assert all(xp.owns(part) for part in parts)
    X = np.concatenate([xp.to_numpy(part) for part in parts], axis=-1)
    np.testing.assert_allclose(X, t.stft(x), atol=1e-5)
    length = 400  # the last blocks lie beyond the last frame
    parts = signals(xp.asarray(X), inverse_job(X, t, length), 2)
    assert all(xp.owns(part) for part in parts)
    y = np.concatenate([xp.to_numpy(part) for part in parts], axis=-1)
    # the last sample under a frame has little weight: NumPy's own float32 is off by up to 4e-5 there
    np.testing.assert_allclose(y, t.istft(X, length=length), atol=2e-4)


def test_padding_longer_than_the_signal_and_frames_of_padding_alone():
    x = np.random.default_rng(3).standard_normal(5)
    for pad_mode in ("constant", "reflect", "wrap"):
        t = xi.STFT(4, 2, window="hamming", padding=33, pad_mode=pad_mode)
        np.testing.assert_array_equal(np.concatenate(spectra(x, t, 3), axis=-1), t.stft(x))


def test_samples_far_beyond_the_last_frame_are_zeros():
    t = xi.STFT(16, nola="zero")
    X = t.stft(np.ones(100))
    np.testing.assert_array_equal(np.concatenate(signals(X, inverse_job(X, t, 200), 2)), t.istft(X, length=200))


def test_a_block_has_at_least_one_frame():
    job = xi.STFT(8).synthesis("istft", 3, None, "complex64").job
    with pytest.raises(ValueError, match="istft_blocks: block_frames: need >= 1, got 0"):
        list(istft_blocks(lambda first, last: None, job, block_frames=0))
    with pytest.raises(ValueError, match="stft_blocks: block_frames: need >= 1, got 0"):
        list(stft_blocks(lambda lo, hi: None, xi.STFT(8).analysis("stft", 30, "float32"), block_frames=0))


def reader(array, reads):
    """A `read` of the last axis that notes its ranges, which must hold something and lie within."""

    def read(a, b):
        assert 0 <= a < b <= array.shape[-1]
        reads.append((a, b))
        return array[..., a:b]

    return read


@pytest.mark.parametrize("n_samples", [1, 5, 60])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "wrap"])
def test_no_more_is_read_than_the_frames_of_a_block_hold(n_samples, pad_mode):
    x, reads = np.random.default_rng(4).standard_normal((3, n_samples)), []
    t = xi.STFT(8, 2, padding=21, pad_mode=pad_mode)
    job = t.analysis("stft", n_samples, x)
    found = list(stft_blocks(reader(x, reads), job, block_frames=3))
    np.testing.assert_array_equal(np.concatenate(found, axis=-1), t.stft(x))
    assert all(b - a <= 8 + 2 * 2 for a, b in reads)
    del reads[:]
    np.testing.assert_array_equal(np.concatenate(list(stft_blocks(reader(x, reads), job)), -1), t.stft(x))
    assert reads[0] == (0, 1)


@pytest.mark.parametrize("n_frames", [1, 2, 30])
def test_no_more_is_read_than_the_samples_of_a_block_take(n_frames):
    t, length = xi.STFT(8), 2 * n_frames - 1
    X, reads = t.stft(np.random.default_rng(5).standard_normal((3, 2 * n_frames)))[..., :n_frames], []
    job = inverse_job(X, t, length)
    found = list(istft_blocks(reader(X, reads), job, block_frames=3))
    assert [part.shape for part in found[:-1]] == [(3, 6)] * (len(found) - 1)
    np.testing.assert_array_equal(np.concatenate(found, -1), t.istft(X, length=length))
    assert all(b - a <= 3 + 4 for a, b in reads)  # those that begin within, and an overlap
    list(istft_blocks(reader(X, reads), job))


def test_a_block_is_16_mib_of_spectrum_or_four_overlaps():
    def frames(n_fft, hop):
        return Frames(n_fft, hop, 10**6, 0, 10**6)

    for n_fft, hop, n_signals, bins in ((2048, 512, 2, 1025), (512, 128, 1, 257), (2047, 512, 3, 1024)):
        assert default_block(frames(n_fft, hop), n_signals) == 2**24 // (n_signals * bins * 8)
    assert default_block(frames(512, 128), 0) == 2**24 // (257 * 8)
    assert default_block(frames(2**20, 2**17), 100) == 4 * 8
    assert default_block(frames(2**20, 2**17 - 1), 100) == 4 * 9


@pytest.mark.parametrize("batch", [(5, 3), (15,)])
def test_blocks_by_default_count_all_signals(cut, batch):
    cut(spectrum_bytes=1 << 17)
    t, x = xi.STFT(64), np.random.default_rng(6).standard_normal((*batch, 4000))
    job = t.analysis("stft", 4000, x)
    due = default_block(job.frames, 15)
    assert due == 33
    found = spectra(x, t)
    assert [part.shape[-1] for part in found] == [due] * 7 + [251 - 7 * due]
    X = np.concatenate(found, axis=-1)
    np.testing.assert_array_equal(X, t.stft(x))
    parts = signals(X, inverse_job(X, t))
    assert [part.shape[-1] for part in parts] == [due * 16] * 7 + [4000 - 7 * due * 16]
    np.testing.assert_array_equal(np.concatenate(parts, -1), t.istft(X))


def test_complex_signals_are_for_two_sided_jobs():
    x = np.random.default_rng(7).standard_normal(50) + 1j
    with pytest.raises(TypeError, match=r"stft: x: need dtype float32 or float64, got complex128"):
        spectra(x, xi.STFT(8))
    t = xi.STFT(8, onesided=False)
    X = np.concatenate(spectra(x, t, 4), axis=-1)
    np.testing.assert_array_equal(X, t.stft(x))
    y = np.concatenate(signals(X, inverse_job(X, t), 4), axis=-1)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, t.istft(X))


# ------------------------------------------------------------------ beyond 2**31 samples


FAR = 2**31 + 12345  # frames: more than 2**37 samples


def tone(lo, hi):
    """Samples [lo, hi) of an endless signal, exact integers."""
    t = np.arange(lo, hi)
    return ((t * 7919) % 1000 - 500).astype(float)


@pytest.mark.parametrize("padding", [None, "same", "full", (3, 40)])
def test_blocks_far_beyond_2_to_the_31_are_those_of_a_short_signal(padding):
    """A lazy signal of 2**37 samples: its blocks there are what the transform of that neighbourhood gives."""
    layout = {"n_fft": 64, "hop_length": 64 // 4 + 1, "padding": padding}
    n_samples = FAR * layout["hop_length"]
    job = xi.STFT(**layout).analysis("stft", n_samples, "float64")
    frames = job.frames
    assert frames.n_frames > 2**31
    assert frames.span > 2**35
    for first in (0, 2**31 - 3, frames.n_frames - 9):
        lo = first * frames.hop - frames.start  # of the signal
        hi = lo + frames.n_fft + 8 * frames.hop
        a, b = max(0, lo), min(hi, n_samples)
        read = a - lo
        piece = np.zeros(hi - lo)
        piece[read : read + b - a] = tone(a, b)
        want = xi.stft(piece, 64, hop_length=frames.hop, center=False)
        got = far_blocks(job, tone, first, 9)
        np.testing.assert_allclose(got, want, atol=1e-9)


def far_blocks(job, read, first, count):
    """Frames [first, first + count) of a job, as stft_blocks makes them: its loop entered there."""
    frames = job.frames
    lo = first * frames.hop - frames.start
    hi = lo + frames.n_fft + frames.hop * (count - 1)
    piece, before = blocks._padded(read, lo, hi, frames.n_samples, job.pad_mode)
    laid = type(frames)(frames.n_fft, frames.hop, count, before, before + piece.shape[-1])
    return BACKEND.analysis(piece, replace(job, frames=laid, pad_mode="constant"))


def test_segments_far_beyond_2_to_the_31_invert_what_lies_there():
    layout = {"n_fft": 64, "hop_length": 16}
    n_samples = FAR * 16
    transform = xi.STFT(**layout)
    forward = transform.analysis("stft", n_samples, "float64")
    job, _ = transform.synthesis("istft", forward.frames.n_frames, n_samples, "complex128")
    for lo in (0, 2**31 - 50, 2**34 + 1, n_samples - 200):
        columns, segment = job.segment(job.frames.start + lo, job.frames.start + lo + 200)
        X = far_blocks(forward, tone, columns.start, columns.stop - columns.start)
        y = BACKEND.synthesis(X, segment)
        np.testing.assert_allclose(y, tone(lo, lo + 200), atol=1e-10)
        assert segment.frames.n_frames < 20


def test_the_gain_of_2_to_the_40_samples_takes_no_memory():
    job, _ = xi.STFT(256, hop_length=64).synthesis("istft", 2**40, None, "complex64")
    gain = job.gain
    assert gain.head.size + gain.period.size + gain.tail.size < 1000
    far = 2**45 + 7
    np.testing.assert_array_equal(gain.samples(far, far + 100), np.resize(np.roll(gain.period, -(far % 64)), 100))
    assert not gain.samples(job.frames.span, job.frames.span + 10).any()
