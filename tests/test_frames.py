"""Every property of the geometry against brute force: the padded axis as an array."""

from __future__ import annotations

import definition
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import xp_istft as xi
from xp_istft.frames import PAD_MODES, Frames, Placement, padding_index

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
