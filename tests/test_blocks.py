"""Any blocks make the bits of the one-shot call."""

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.blocks import istft_blocks, istft_job, stft_blocks, stft_job

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
