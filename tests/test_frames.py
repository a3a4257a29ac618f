"""Every property of the geometry against brute force (the padded axis as an array), and what jobs are."""

from __future__ import annotations

import dataclasses

import definition
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import xp_istft as xi
from xp_istft.frames import PAD_MODES, Frames, Placement, padding_index
from xp_istft.jobs import Analysis, Synthesis

frames = st.builds(
    lambda n_fft, hop, n_frames, start, size: Frames(n_fft, hop, n_frames, start, start + size),
    n_fft=st.integers(2, 40),
    hop=st.integers(1, 50),
    n_frames=st.integers(0, 12),
    start=st.integers(-20, 60),
    size=st.integers(0, 300),
)


@st.composite
def placements(draw):
    n_fft = draw(st.integers(2, 40))
    win_length = draw(st.integers(1, n_fft))
    hop = draw(st.integers(1, 50))
    pads = st.integers(0, 60)
    padding = draw(st.sampled_from([None, "same", "full"]) | pads | st.tuples(pads, pads))
    return n_fft, hop, win_length, draw(st.booleans()), padding


def reached(frames: Frames, lo: int, hi: int) -> np.ndarray:
    """How many frames reach each of the samples [lo, hi) of the padded axis."""
    count = np.zeros(hi - lo, int)
    for m in range(frames.n_frames):
        for t in range(m * frames.hop, m * frames.hop + frames.n_fft):
            if lo <= t < hi:
                count[t - lo] += 1
    return count


@given(frames)
def test_span_is_what_the_frames_reach(job):
    count = reached(job, -5, job.span + 60)
    inside = np.flatnonzero(count)
    assert (inside.size == 0) == (job.span == 0)
    if inside.size:
        assert (inside[0] - 5, inside[-1] - 4) == (0, job.span)
    assert job.n_samples == job.stop - job.start


@given(frames)
def test_overlap_is_the_most_frames_over_a_sample(job):
    assume(job.n_frames > job.n_fft // job.hop + 1)
    assert reached(job, 0, job.span).max() == job.overlap


@given(frames, st.integers(-30, 400), st.integers(1, 200))
def test_a_segment_holds_just_the_frames_that_reach_it(job, lo, size):
    columns, part = job.segment(lo, lo + size)
    touching = [m for m in range(job.n_frames) if m * job.hop < lo + size and m * job.hop + job.n_fft > lo]
    assert list(range(job.n_frames))[columns] == touching
    assert part.n_frames == len(touching)
    assert part.n_samples == size
    if touching:  # the same samples, seen from the segment's first frame
        assert part.start == lo - touching[0] * job.hop
        np.testing.assert_array_equal(reached(part, part.start, part.stop), reached(job, lo, lo + size))


def parts(frames: Frames) -> list[list[tuple[int, int]]]:
    """Of each sample of the signal, which sample of which frames falls on it."""
    every = range(frames.n_frames)
    return [
        [(m, t - m * frames.hop) for m in every if 0 <= t - m * frames.hop < frames.n_fft]
        for t in range(frames.start, frames.stop)
    ]


@given(frames)
def test_narrowed_frames_leave_the_same_in_every_sample(job):
    near = job.narrowed()
    assert parts(near) == parts(job)
    assert (near.n_fft, near.n_frames) == (job.n_fft, job.n_frames)
    touching = sum(any(m == frame for each in parts(job) for frame, _ in each) for m in range(job.n_frames))
    assert near.hop <= job.hop if touching > 1 else near.hop <= job.n_fft + max(1, job.n_samples)


@given(placements(), st.integers(0, 200))
def test_counts_are_those_of_frames_placed_one_by_one(parameters, n_samples):
    n_fft, hop, win_length, center, padding = parameters
    transform = xi.STFT(n_fft, hop, win_length, window="boxcar", center=center, padding=padding)
    placement = transform.placement
    before, after, whole = definition.placement(n_fft, hop, win_length, center, padding)
    assert (placement.left, placement.right, placement.whole) == (before, after, whole)
    count = transform.n_frames(n_samples)
    if n_samples:
        assert count == definition.count_frames(n_samples, n_fft, hop, before, after, whole)
    if count:
        laid = placement.frames(count, n_samples)
        assert laid.start == before
        assert transform.n_samples(count) == max(0, n_fft + hop * (count - 1) - before - after)


@given(st.data(), st.sampled_from(["same", "full"]), st.integers(2, 40), st.integers(1, 200))
def test_whole_placements_lose_no_sample(data, padding, n_fft, n_samples):
    win_length = data.draw(st.integers(1, n_fft))
    hop = data.draw(st.integers(1, win_length))
    placement = Placement.of("test", n_fft, hop, win_length, True, padding)
    job = placement.frames(placement.n_frames(n_samples), n_samples)
    assert (reached(job, job.start, job.stop) > 0).all()
    assert placement.n_samples(job.n_frames) >= n_samples


@given(st.data(), st.integers(2, 40), st.integers(1, 120))
def test_full_placement_gives_every_sample_all_its_frames(data, n_fft, n_samples):
    hop = data.draw(st.integers(1, n_fft))
    placement = Placement.of("test", n_fft, hop, n_fft, True, "full")
    job = placement.frames(placement.n_frames(n_samples), n_samples)
    endless = np.bincount(np.arange(n_fft) % hop, minlength=hop)  # frames over each phase, were there no ends
    np.testing.assert_array_equal(reached(job, job.start, job.stop), endless[np.arange(job.start, job.stop) % hop])


@given(st.integers(2, 40), st.integers(1, 40), st.integers(1, 60))
def test_same_placement_makes_hop_samples_a_frame(n_fft, hop, count):
    transform = xi.STFT(n_fft, hop, max(1, n_fft - 3), padding="same")
    assert transform.n_samples(count) == count * hop
    assert transform.n_frames(count * hop) == count


@given(
    st.integers(1, 12),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([mode for mode in PAD_MODES if mode != "constant"]),
)
def test_padding_is_numpys(n_samples, before, after, mode):
    x = np.arange(n_samples)
    expected = np.pad(x, (before, after), mode=mode)
    np.testing.assert_array_equal(padding_index(-before, n_samples + after, n_samples, mode), expected)


def test_a_hop_that_is_never_used_is_cut():
    laid = Placement.of("test", 16, 2**40, 16, False, None).frames(1, 16)
    assert laid.hop == 16


def test_positions_beyond_2_to_the_31_are_exact():
    job = Frames(n_fft=2048, hop=512, n_frames=2**33, start=1024, stop=2**42)
    columns, part = job.segment(2**41 + 5, 2**41 + 6)
    assert (columns.start, columns.stop) == (2**32 - 3, 2**32 + 1)
    assert part == Frames(2048, 512, 4, 3 * 512 + 5, 3 * 512 + 6)


def test_times_and_frequencies():
    np.testing.assert_allclose(xi.STFT(8, 4, center=False).frame_times(3, sr=2), [2, 4, 6])
    np.testing.assert_allclose(xi.STFT(8, 4, padding=(6, 0)).frame_times(3), [-2, 2, 6])
    for n_fft in (8, 9):
        np.testing.assert_allclose(xi.STFT(n_fft).bin_frequencies(sr=44100), np.fft.rfftfreq(n_fft, 1 / 44100))
        two_sided = xi.STFT(n_fft, onesided=False)
        np.testing.assert_allclose(two_sided.bin_frequencies(sr=44100), np.fft.fftfreq(n_fft, 1 / 44100))


@pytest.mark.parametrize("name", ["n_frames", "n_samples", "frame_times"])
def test_counts_read_their_arguments(name):
    function = getattr(xi.STFT(), name)
    with pytest.raises(TypeError, match=rf"{name}: n_\w+: need an integer, got 2.5"):
        function(2.5)
    with pytest.raises(ValueError, match=rf"{name}: n_\w+: need >= 0, got -1"):
        function(-1)


# ------------------------------------------------------------------ the first that is taken, the last that is not


def ones(*shape):
    return np.ones(shape, complex)


@pytest.mark.parametrize(("win_length", "hop"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (8, 2), (11, 2), (12, 3)])
def test_the_hop_is_a_quarter_of_the_window_and_at_least_one(win_length, hop):
    assert xi.STFT(12, win_length=win_length, window="boxcar").hop_length == hop
    assert xi.STFT(12, window=np.ones(win_length)).hop_length == hop


def test_a_window_of_no_samples_is_refused_as_a_window():
    with pytest.raises(ValueError, match="^STFT: window: need length 12, got 0"):
        xi.STFT(12, window=np.ones(0))


def test_nothing_makes_nothing():
    for padding in ("same", "full", 0):
        transform = xi.STFT(8, 2, padding=padding)
        assert transform.n_frames(0) == 0
        assert transform.n_samples(0) == 0
    assert Placement(8, 2, 4, 4, whole=False).n_samples(0) == 0
    assert xi.STFT(8, 2, padding=9).n_samples(1) == 0
    assert xi.STFT(8).frame_times(0).size == 0


def test_one_sample_makes_one_frame_where_frames_are_whole():
    for padding, hop, count in (("same", 3, 1), ("same", 8, 1), ("full", 8, 1), ("full", 11, 1), ("full", 3, 2)):
        assert xi.STFT(8, hop, padding=padding).n_frames(1) == count


def test_full_placement_of_frames_that_do_not_overlap_has_no_padding():
    for hop in (8, 11):
        transform = xi.STFT(8, hop, padding="full")
        assert (transform.placement.left, transform.placement.right) == (0, 0)
        assert transform.n_samples(3) == 2 * hop + 8


def test_two_frames_further_apart_than_their_size():
    y = xi.istft(ones(5, 2), hop_length=11, n_fft=8, window="boxcar", center=False, nola="zero")
    np.testing.assert_allclose(y, np.r_[1, np.zeros(10), 1, np.zeros(7)], atol=1e-15)


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
    with pytest.raises(ValueError, match=r"^istft: X: need 3 frames or a length= with 200 \+ 183 .*, got 2 frames$"):
        xi.istft(ones(129, 2), hop_length=64, padding=(200, 183))
    assert xi.istft(ones(129, 3), hop_length=64, padding=(200, 183)).size == 1
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
    for shape in ((), (5,)):
        with pytest.raises(ValueError, match=r"^istft: X: need at least 2 dimensions \(..., bins, frames\)"):
            xi.istft(ones(*shape))
    with pytest.raises(ValueError, match="^istft: X: need at least 2 bins, or n_fft=, got 1"):
        xi.istft(ones(1, 5))
    with pytest.raises(ValueError, match="^istft: X: need at least 2 bins, or n_fft=, got 1"):
        xi.istft(ones(1, 5), onesided=False)


def test_other_names_of_padding():
    x = np.random.default_rng(0).standard_normal(40)
    for name, ours in (("replicate", "edge"), ("circular", "wrap"), ("zeros", "constant"), ("even", "reflect")):
        np.testing.assert_array_equal(xi.stft(x, 16, pad_mode=name), xi.stft(x, 16, pad_mode=ours))


def test_frames_count_in_integers_without_bound():
    for hop in (1, 3, 2**33 + 1):
        transform = xi.STFT(2**14 + 1, hop_length=hop)
        frames = transform.n_frames(2**70)
        assert frames == 1 + (2**70 + 2 * 2**13 - (2**14 + 1)) // hop
        assert transform.n_samples(frames) <= 2**70


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
    job = xi.STFT(8, 3, window="hamming", padding=0).synthesis("istft", 40, None, "float64").job
    for first, spans in ((30, ((0, 20), (5, 60), (59, 60))), (90, ((0, 35), (12, 35), (33, 35)))):  # to the very end
        _, once = job.segment(first, first + 60)
        for lo, hi in spans:
            columns, twice = once.segment(once.frames.start + lo, once.frames.start + hi)
            direct = job.segment(first + lo, first + hi)[1]
            np.testing.assert_array_equal(twice.signal_gain(), direct.signal_gain())
            assert twice.frames == direct.frames
            np.testing.assert_array_equal(direct.signal_gain(), job.gain.samples(first + lo, first + hi))
            assert columns.stop - columns.start == direct.frames.n_frames
