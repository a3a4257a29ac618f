"""Any blocks make the bits of the one-shot call."""

import warnings

import numpy as np
import pytest

import xp_istft as xi
from xp_istft import blocks as module
from xp_istft.blocks import default_block, istft_blocks, istft_job, stft_blocks, stft_job
from xp_istft.frames import Frames

PLACEMENTS = [
    {"n_fft": 64},
    {"n_fft": 64, "center": False, "window": "hamming"},
    {"n_fft": 31, "hop_length": 7},
    {"n_fft": 50, "win_length": 37, "hop_length": 9, "padding": "same"},
    {"n_fft": 48, "hop_length": 20, "padding": "full", "window": ("kaiser", 8.0)},
    {"n_fft": 33, "hop_length": 33, "window": "boxcar", "padding": (5, 60)},
    {"n_fft": 16, "hop_length": 3, "padding": 40, "scaling": "spectrum"},
]


def spectra(x, block_frames, pad_mode="constant", **layout):
    job = stft_job(x.shape[-1], **layout, pad_mode=pad_mode)
    return list(stft_blocks(lambda lo, hi: x[..., lo:hi], job, block_frames=block_frames))


@pytest.mark.parametrize("layout", PLACEMENTS, ids=str)
@pytest.mark.parametrize("block_frames", [1, 2, 7, 1000, None])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
def test_stft_in_blocks_equals_one_shot(layout, block_frames, pad_mode):
    for shape in ((2, 701), (97,)):
        x = np.random.default_rng(1).standard_normal(shape).astype("float32")
        blocks = spectra(x, block_frames, pad_mode, **layout)
        np.testing.assert_array_equal(np.concatenate(blocks, axis=-1), xi.stft(x, **layout, pad_mode=pad_mode))
        if block_frames is not None:
            assert all(block.shape[-1] <= block_frames for block in blocks)


@pytest.mark.parametrize("layout", PLACEMENTS, ids=str)
@pytest.mark.parametrize("block_frames", [1, 2, 7, 1000, None])
@pytest.mark.parametrize("length", [None, 650, 777])
def test_istft_in_blocks_equals_one_shot(layout, block_frames, length):
    x = np.random.default_rng(2).standard_normal((2, 701))
    X = xi.stft(x, **layout)
    job = istft_job(X.shape, "complex128", **layout, length=length, nola="zero")
    blocks = list(istft_blocks(lambda first, last: X[..., first:last], job, block_frames=block_frames))
    signal = np.concatenate(blocks, axis=-1)
    np.testing.assert_array_equal(signal, xi.istft(X, **layout, length=length, nola="zero"))
    assert signal.shape[-1] == job.frames.n_samples


def test_padding_longer_than_the_signal_and_frames_of_padding_alone():
    x = np.random.default_rng(3).standard_normal(5)
    for pad_mode in ("constant", "reflect", "wrap"):
        layout = {"n_fft": 4, "hop_length": 2, "padding": 33, "pad_mode": pad_mode}
        np.testing.assert_array_equal(np.concatenate(spectra(x, 3, **layout), axis=-1), xi.stft(x, **layout))


def test_samples_far_beyond_the_last_frame_are_zeros():
    X = xi.stft(np.ones(100), 16)
    job = istft_job(X.shape, "complex128", length=200, nola="zero")
    signal = np.concatenate(list(istft_blocks(lambda first, last: X[..., first:last], job, block_frames=2)))
    np.testing.assert_array_equal(signal, xi.istft(X, length=200, nola="zero"))


def test_jobs_judge_as_the_transforms_do():
    with pytest.raises(TypeError, match="istft: X: need dtype complex64"):
        istft_job((5, 3), "float32")
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        istft_job((5,))
    with pytest.raises(ValueError, match="bins"):
        istft_job((5, 3), n_fft=10)
    with pytest.raises(ValueError, match="at least 8 samples"):
        stft_job(7, 8, center=False)
    with pytest.raises(ValueError, match="block_frames"):
        list(istft_blocks(lambda first, last: None, istft_job((5, 3)), block_frames=0))
    with pytest.warns(xi.CoverageWarning, match="no window weight"):
        istft_job((5, 3), center=False, synthesis_window="hamming")


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
    layout = {"n_fft": 8, "hop_length": 2, "padding": 21, "pad_mode": pad_mode}
    job = stft_job(n_samples, **layout)
    found = list(stft_blocks(reader(x, reads), job, block_frames=3))
    np.testing.assert_array_equal(np.concatenate(found, axis=-1), xi.stft(x, **layout))
    assert all(b - a <= 8 + 2 * 2 for a, b in reads)
    del reads[:]
    np.testing.assert_array_equal(np.concatenate(list(stft_blocks(reader(x, reads), job)), -1), xi.stft(x, **layout))
    assert reads[0] == (0, 1)


@pytest.mark.parametrize("n_frames", [1, 2, 30])
def test_no_more_is_read_than_the_samples_of_a_block_take(n_frames):
    X, reads = xi.stft(np.random.default_rng(5).standard_normal((3, 2 * n_frames)), 8)[..., :n_frames], []
    job = istft_job(X.shape, "complex128", length=2 * n_frames - 1)
    found = list(istft_blocks(reader(X, reads), job, block_frames=3))
    assert [part.shape for part in found[:-1]] == [(3, 6)] * (len(found) - 1)
    np.testing.assert_array_equal(np.concatenate(found, -1), xi.istft(X, length=2 * n_frames - 1))
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


def test_blocks_by_default_count_all_signals(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 17)
    x = np.random.default_rng(6).standard_normal((5, 3, 4000))
    job = stft_job(4000, 64)
    due = default_block(job.frames, 15)
    assert due < default_block(job.frames, 5)
    found = list(stft_blocks(lambda lo, hi: x[..., lo:hi], job))
    assert [part.shape[-1] for part in found[:-1]] == [due] * (len(found) - 1)
    X = np.concatenate(found, axis=-1)
    np.testing.assert_array_equal(X, xi.stft(x, 64))
    job = istft_job(X.shape, "complex128")
    parts = list(istft_blocks(lambda first, last: X[..., first:last], job))
    assert [part.shape[-1] for part in parts[:-1]] == [due * 16] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate(parts, -1), xi.istft(X))


def test_precision_decides_what_is_covered():
    window = np.hanning(10)[1:-1]
    window[0] = 1e-8  # its square is beneath the rounding of float32 squared, not beneath that of float64
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        istft_job((5, 30), "complex128", hop_length=2, center=False, window=window)
    with pytest.warns(xi.CoverageWarning, match=r"samples \[0, 1\)") as caught:
        istft_job((5, 30), "complex64", hop_length=2, center=False, window=window)
    assert caught[0].filename == __file__


def test_complex_signals_are_for_two_sided_jobs():
    x = np.random.default_rng(7).standard_normal(50) + 1j
    with pytest.raises(TypeError, match=r"stft: x: need dtype float32 or float64, got complex128"):
        list(stft_blocks(lambda lo, hi: x[lo:hi], stft_job(50, 8)))
    found = list(stft_blocks(lambda lo, hi: x[lo:hi], stft_job(50, 8, onesided=False), block_frames=4))
    np.testing.assert_array_equal(np.concatenate(found, axis=-1), xi.stft(x, 8, onesided=False))


def test_a_signal_of_no_samples_is_judged_as_by_stft():
    assert stft_job(0, 8, hop_length=2).frames.n_frames == xi.stft(np.zeros(0), 8, hop_length=2).shape[-1]
    with pytest.raises(ValueError, match=r"n_samples: need >= 0, got -1"):
        stft_job(-1, 8)
