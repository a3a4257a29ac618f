"""One off: the last value that is taken and the first that is not, defaults, and what a text counts."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends import backend_for
from xp_istft.frames import Frames, Placement
from xp_istft.jobs import Analysis, Synthesis

EPS = np.finfo(np.float64).eps


def ones(*shape):
    return np.ones(shape, complex)


# ------------------------------------------------------------------ sizes and counts


def test_n_fft_is_2048_by_default():
    for function in (xi.stft, xi.STFT, xi.iSTFT):
        parameters = inspect.signature(function).parameters
        assert (parameters["n_fft"].default, parameters["center"].default) == (2048, True)


@pytest.mark.parametrize(("win_length", "hop"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (8, 2), (11, 2), (12, 3)])
def test_the_hop_is_a_quarter_of_the_window_and_at_least_one(win_length, hop):
    assert xi.STFT(12, win_length=win_length, window="boxcar").hop_length == hop


def test_nothing_makes_nothing():
    for padding in ("same", "full", 0):
        transform = xi.STFT(8, 2, padding=padding)
        assert transform.n_frames(0) == 0
        assert transform.n_samples(0) == 0
    assert Placement(8, 2, 4, 4, whole=False).n_samples(0) == 0
    assert xi.STFT(8).frame_times(0).size == 0


def test_too_few_samples_make_no_frame():
    transform = xi.STFT(8, 2, center=False)
    assert [transform.n_frames(n) for n in range(10)] == [max(0, (n - 6) // 2) for n in range(10)]


def test_two_frames_further_apart_than_their_size():
    y = xi.istft(ones(5, 2), hop_length=11, n_fft=8, window="boxcar", center=False, nola="zero")
    np.testing.assert_allclose(y, np.r_[1, np.zeros(10), 1, np.zeros(7)], atol=1e-15)


def test_one_sample_makes_one_frame_where_frames_are_whole():
    for padding, hop, count in (("same", 3, 1), ("same", 8, 1), ("full", 8, 1), ("full", 11, 1), ("full", 3, 2)):
        assert xi.STFT(8, hop, padding=padding).n_frames(1) == count


def test_frames_that_reach_a_sample():
    frames = Frames(n_fft=8, hop=3, n_frames=5, start=0, stop=20)
    for t in range(-3, 25):
        columns, segment = frames.segment(t, t + 1)
        reach = [m for m in range(5) if 3 * m <= t < 3 * m + 8]
        assert list(range(5))[columns] == reach
        assert segment.n_frames == len(reach)
        assert segment.start + columns.start * 3 == t
    assert hash(frames) == hash(Frames(8, 3, 5, 0, 20))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frames.hop = 4
    assert (frames.overlap, Frames(9, 3, 1, 0, 0).overlap, Frames(3, 9, 1, 0, 0).overlap) == (3, 3, 1)
    assert (frames.span, Frames(8, 3, 0, 0, 0).span) == (20, 0)


def test_the_longest_length_is_twice_what_frames_reach_and_one_frame():
    X = ones(5, 4)  # n_fft 8, hop 2, centred: 4 samples before, 10 from sample 0 to the end of the last frame
    longest = 2 * 10 + 8
    assert xi.istft(X, length=longest, nola="zero").size == longest
    with pytest.raises(ValueError, match=f"^istft: length: need <= {longest} .*, got {longest + 1}"):
        xi.istft(X, length=longest + 1, nola="zero")


def test_how_many_frames_a_padding_needs():
    with pytest.raises(ValueError, match=r"^istft: X: need 4 frames or a length= with 200 \+ 200 .*, got 1 frame$"):
        xi.istft(ones(129, 1), hop_length=64, padding=200)
    with pytest.raises(ValueError, match=r"^istft: X: need 4 frames or a length= .*, got 3 frames$"):
        xi.istft(ones(129, 3), hop_length=64, padding=200)
    with pytest.raises(ValueError, match=r"^istft: X: need 4 frames or a length= .*, got 2 frames$"):
        xi.istft(ones(129, 2), hop_length=64, padding=200)
    assert xi.istft(ones(129, 4), hop_length=64, padding=200).size == 256 + 3 * 64 - 400
    with pytest.raises(ValueError, match=r"^istft: X: need 2 frames .*, got 1 frame$"):
        xi.istft(ones(129, 1), hop_length=64)


def test_the_least_signal_is_said():
    for kept, least in (
        ({"padding": "same"}, 1),
        ({"padding": "full"}, 1),
        ({"padding": 100}, 56),
        ({"center": False}, 256),
    ):
        with pytest.raises(ValueError, match=f"^stft: x: need at least {least} samples for n_fft=256, got 0"):
            xi.stft(np.ones(0), 256, **kept)
        if least > 1:
            assert xi.stft(np.ones(least), 256, **kept).shape[-1] == 1
            with pytest.raises(ValueError, match=f"need at least {least} samples for n_fft=256, got {least - 1}"):
                xi.stft(np.ones(least - 1), 256, **kept)


def test_padding_may_be_zero_on_either_side():
    x = np.random.default_rng(0).standard_normal(40)
    want = xi.stft(x, 8, hop_length=2, center=False)
    for padding in (0, (0, 0), [0, 0]):
        np.testing.assert_array_equal(xi.stft(x, 8, hop_length=2, padding=padding), want)
    assert xi.stft(x, 8, hop_length=2, padding=(1, 0)).shape[-1] == want.shape[-1]
    assert xi.stft(x, 8, hop_length=2, padding=(1, 1)).shape[-1] == want.shape[-1] + 1
    for padding in (-1, (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="^stft: padding: need >= 0, got -1"):
            xi.stft(x, 8, padding=padding)


def test_least_values_are_taken():
    for sr in (0, -1):
        with pytest.raises(ValueError, match=f"^frame_times: sr: need .*, got {sr}$"):
            xi.STFT(8).frame_times(3, sr=sr)
    xi.iSTFT(n_fft=8, fmin=0, fmax=0, sr=0, freq_bins=5)
    for name in ("fmin", "fmax", "sr"):
        with pytest.raises(ValueError, match=f"^iSTFT: {name}: need a finite number >= 0, got -0.5"):
            xi.iSTFT(**{name: -0.5})
    with pytest.raises(ValueError, match="^iSTFT: freq_bins: need >= 1, got 0"):
        xi.iSTFT(freq_bins=0)
    X = ones(2, 5)  # n_fft 2
    assert xi.istft(X, window="boxcar", hop_length=1).size == 4
    assert xi.istft(X, window="boxcar", hop_length=1, max_gain=1, workers=1, length=1).size == 1
    with pytest.raises(ValueError, match="^istft: X: need at least 2 bins, or n_fft=, got 1"):
        xi.istft(ones(1, 5))
    with pytest.raises(ValueError, match="^istft: X: need at least 2 bins, or n_fft=, got 1"):
        xi.istft(ones(1, 5), onesided=False)


def test_a_small_window_is_scaled_as_a_large_one():
    x = np.random.default_rng(0).standard_normal(400)
    for scaling in ("spectrum", "psd"):
        large, small = (xi.stft(x, 16, window=s * np.hamming(16), scaling=scaling) for s in (1, 1e-7))
        np.testing.assert_allclose(small, large, rtol=1e-12)
        y = xi.istft(small, window=1e-7 * np.hamming(16), scaling=scaling, length=400)
        np.testing.assert_allclose(y, x, atol=1e-13)


# ------------------------------------------------------------------ windows


def test_a_short_window_array_brings_its_length():
    X = ones(5, 9)
    for size in (1, 3, 7, 8):
        window = np.arange(1.0, size + 1)
        want = xi.istft(X, window=window, win_length=size, hop_length=1, n_fft=8)
        np.testing.assert_array_equal(xi.istft(X, window=window, hop_length=1, n_fft=8), want)
    with pytest.raises(ValueError, match="^istft: window: need length 8, got 0"):
        xi.istft(X, window=np.ones(0), n_fft=8)


def test_the_first_wrong_sample_is_named():
    window = np.ones(8)
    window[3], window[5] = np.inf, np.nan
    with pytest.raises(ValueError, match="^stft: window: need finite values, got inf at index 3$"):
        xi.stft(np.ones(99), 8, window=window)
    with pytest.raises(
        ValueError, match=r"^stft: window: need a known name \(did you mean 'kaiser'\?\), got \('kaisr', 8\)"
    ):
        xi.stft(np.ones(99), 8, window=("kaisr", 8))
    with pytest.raises(ValueError, match="^stft: window: need a known name, got 'qqq'"):
        xi.stft(np.ones(99), 8, window="qqq")


def test_other_names_of_padding():
    x = np.random.default_rng(0).standard_normal(40)
    for name, ours in (("replicate", "edge"), ("circular", "wrap"), ("zeros", "constant"), ("even", "reflect")):
        np.testing.assert_array_equal(xi.stft(x, 16, pad_mode=name), xi.stft(x, 16, pad_mode=ours))


def test_where_a_weak_sample_ends_and_a_hole_begins():
    """Covered is an overlap above eps**2 of the largest: strictly, and squared."""
    for first, known in ((2 * EPS, True), (1.01 * EPS, True), (EPS, False), (EPS / 8, False), (0, False)):
        window = np.ones(8)
        window[0] = first
        determined, _ = xi.STFT(8, 8, window=window, center=False).coverage(1)
        assert determined.tolist() == [known] + [True] * 7
    single = float(np.finfo(np.float32).eps)
    for first, known in ((2 * single, True), (single, False)):
        window[0] = first
        determined, _ = xi.STFT(8, 8, window=window, center=False).coverage(1, dtype="float32")
        assert determined[0] == known


def test_a_hole_of_the_steady_state_alone_is_found_between_the_ends():
    """The ends of this pair have weight, and where all four frames overlap there is none."""
    pair = {"window": "boxcar", "synthesis_window": np.repeat([1.0, 1, 1, -3], 4)}
    for n_frames in (4, 5, 12, 13, 14, 40):
        with pytest.raises(xi.NOLAError, match=r"got 0 at sample 12 \(hop_length=4\)"):
            xi.istft(ones(9, n_frames), hop_length=4, center=False, **pair)
    assert xi.STFT(16, 4, center=False, **pair).coverage(3).determined.all()


def test_the_noise_gain_of_few_frames_is_that_of_many():
    transform = xi.STFT(16, 2, center=False)
    many = transform.coverage(50).noise_gain
    for n_frames in (1, 2, 3, 7):
        few = transform.coverage(n_frames).noise_gain
        np.testing.assert_allclose(few[: 2 * n_frames], many[: 2 * n_frames])


def test_duals_of_tiny_and_of_alternating_windows():
    w = np.hamming(8)
    for scale in (1e-200, 1e200):
        np.testing.assert_allclose(xi.tight_window(scale * w, 2), xi.tight_window(w, 2), rtol=1e-13)
        np.testing.assert_allclose(scale * xi.dual_window(scale * w, 2), xi.dual_window(w, 2), rtol=1e-13)
        assert xi.check_nola(scale * w, 2)
    alternating = np.array([1.0, -1.0, 1.0, -1.0])
    assert xi.check_nola(alternating, 1)
    assert xi.check_nola(np.array([1e-10, 1, 1, 1]), 4)
    assert not xi.check_nola(np.array([1e-17, 1, 1, 1]), 4)
    assert not xi.check_cola(alternating, 3)
    assert xi.check_cola(np.ones(8), 4, tol=0)
    assert not xi.check_cola(np.r_[np.ones(7), 1.001], 4, tol=1e-5)
    assert not xi.check_nola(np.ones(3), 4)
    with pytest.raises(
        xi.NOLAError, match=r"^tight_window: window: need overlap > 0 .* got 0 at sample 3 \(hop_length=4\)"
    ):
        xi.tight_window(np.ones(3), 4)


# ------------------------------------------------------------------ jobs


def test_jobs_cannot_be_changed():
    transform = xi.STFT(8)
    inverse, forward = transform.synthesis("istft", 9, None, "float64").job, transform.analysis("stft", 40, "float64")
    for job in (inverse, forward):
        assert not job.window.flags.writeable
        assert job.onesided
        with pytest.raises(dataclasses.FrozenInstanceError):
            job.onesided = False
        assert job == job
        assert job != dataclasses.replace(job)  # by identity: caches hold what was derived from this one
    assert inverse.real
    frames = inverse.frames
    plain = Synthesis(frames, None, None)
    assert (plain.onesided, plain.real, plain.origin, plain.signal_gain()) == (True, True, 0, None)
    plain = Analysis(frames, None)
    assert (plain.onesided, plain.pad_mode) == (True, "constant")


def test_a_segment_of_a_segment_is_a_segment():
    job = xi.STFT(8, 3, window="hamming").synthesis("istft", 40, None, "float64").job
    _, once = job.segment(30, 90)
    for lo, hi in ((0, 20), (5, 60), (59, 60)):
        columns, twice = once.segment(once.frames.start + lo, once.frames.start + hi)
        direct = job.segment(30 + lo, 30 + hi)[1]
        np.testing.assert_array_equal(twice.signal_gain(), direct.signal_gain())
        assert twice.frames == direct.frames
        np.testing.assert_array_equal(direct.signal_gain(), job.gain.samples(30 + lo, 30 + hi))
        assert columns.stop - columns.start == direct.frames.n_frames


# ------------------------------------------------------------------ what texts say


def said(kind, function, *arguments, **options):
    with pytest.raises(kind) as caught:
        function(*arguments, **options)
    return str(caught.value)


def test_hints_are_given_where_they_help_alone():
    pairs = "join the pairs first"
    assert pairs in said(TypeError, xi.istft, np.ones((5, 4, 2)))
    for array in (np.ones((5, 4)), np.ones((2, 4)), np.ones((2, 4, 2), int)):
        assert pairs not in said(TypeError, xi.istft, array)
    options = {"n_fft": 16, "frequencies": xi.linear_frequencies(7, 0, 4000, 8000)}
    swapped = "are the last two axes swapped?"
    assert swapped in said(ValueError, xi.istft, ones(20, 7), **options)
    assert swapped not in said(ValueError, xi.istft, ones(20, 8), **options)
    for name in ("trainable_kernels", "trainable_window"):
        assert f"{name}: need False, got True; xp_istft.compat.nnaudio.iSTFT trains" in said(
            ValueError, xi.iSTFT, **{name: True}
        )


def test_too_few_axes_and_frames_are_said():
    one_sided = "onesided: need True with frequencies= (bins of real signals), got False"
    scale = xi.linear_frequencies(7, 0, 4000, 8000)
    for text, kind, function, *arguments in (
        ("x: need at least 1 dimension (..., samples), got shape ()", ValueError, xi.stft, np.zeros((), float)),
        ("scale integers to floats first", TypeError, xi.stft, np.ones(20, int)),
        ("at least 2 dimensions (..., n_fft, n_frames), got shape (4,)", ValueError, xi.overlap_add, np.ones(4), 2),
        ("segments: need at least 1 frame, got shape (4, 0)", ValueError, xi.overlap_add, np.ones((4, 0)), 2),
        ("n_frames: need >= 1, got 0", ValueError, xi.STFT().coverage, 0),
        ("X: need at least 2 dimensions (..., bins, frames), got shape (9,)", ValueError, xi.iSTFT(16), ones(9)),
    ):
        assert text in said(kind, function, *arguments)
    assert "scale integers" not in said(TypeError, xi.stft, np.ones(20, "datetime64[s]"))
    assert one_sided in said(ValueError, xi.stft, np.ones(50), 16, frequencies=scale, onesided=False)


def test_the_least_number_of_workers_and_what_no_backend_computes_with():
    for function, array in ((xi.istft, ones(9, 5)), (xi.stft, np.ones(5000))):
        assert "workers: need >= 1, got 0" in said(ValueError, function, array, workers=0)
    assert backend_for([1.0, 2.0]) is None
    assert type(backend_for(np.ones(2))).__name__ == "NumPyBackend"
