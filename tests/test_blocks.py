"""Any blocks make the bits of the one-shot call."""

import numpy as np
import pytest

import xp_istft as xi
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
    np.testing.assert_allclose(y, t.istft(X, length=length), atol=1e-5)


def test_padding_longer_than_the_signal_and_frames_of_padding_alone():
    x = np.random.default_rng(3).standard_normal(5)
    for pad_mode in ("constant", "reflect", "wrap"):
        t = xi.STFT(4, 2, padding=33, pad_mode=pad_mode)
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


def test_blocks_by_default_count_all_signals(cut):
    cut(spectrum_bytes=1 << 17)
    t, x = xi.STFT(64), np.random.default_rng(6).standard_normal((5, 3, 4000))
    job = t.analysis("stft", 4000, x)
    due = default_block(job.frames, 15)
    assert due < default_block(job.frames, 5)
    found = spectra(x, t)
    assert [part.shape[-1] for part in found[:-1]] == [due] * (len(found) - 1)
    X = np.concatenate(found, axis=-1)
    np.testing.assert_array_equal(X, t.stft(x))
    parts = signals(X, inverse_job(X, t))
    assert [part.shape[-1] for part in parts[:-1]] == [due * 16] * (len(parts) - 1)
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
