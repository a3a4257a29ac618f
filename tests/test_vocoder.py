"""The phase vocoder: rate 1, the definition, sounds whose stretched truth is known, librosa's beside it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.tuning import tuned

PHASES = ("gradient", "locked")
PLACED = ({}, {"center": False}, {"padding": "same"}, {"padding": "full"}, {"padding": (30, 7)}, {"n_fft": 63})
RATES = (0.313, 0.829, 1.0, 1.731, 5.077)  # no frame lies in the middle of two


def stretched(x, rate, t, **options):
    """The signal, of round(n_samples / rate) samples."""
    X = t.stft(x)
    return t.istft(xi.phase_vocoder(X, rate, t, **options), length=round(x.shape[-1] / rate))


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- rate 1, counts


@pytest.mark.parametrize("phases", PHASES)
@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize("placed", PLACED, ids=str)
def test_rate_one_changes_no_bit(placed, onesided, phases):
    t = xi.STFT(**{"n_fft": 64, "onesided": onesided, **placed})
    X = t.stft(noise((2, 900)))
    X[0, 5:9, 3:7] = 0
    for each in (X, X.astype(np.complex64)):
        Y = xi.phase_vocoder(each, 1, t, phases=phases)
        assert Y.dtype == each.dtype
        np.testing.assert_array_equal(Y, each)


@pytest.mark.parametrize("placed", PLACED, ids=str)
def test_the_frames_are_those_of_the_stretched_signal(placed):
    t = xi.STFT(**{"n_fft": 64, **placed})
    for n_samples in (300, 333, 352):
        X = t.stft(noise(n_samples))
        for rate in (0.3, 0.5, 0.8, 1.0, 1.3, 2.0):
            n_frames = xi.phase_vocoder(X, rate, t).shape[-1]
            most = max(n for n in range(n_samples, n_samples + t.hop_length) if t.n_frames(n) == X.shape[-1])
            due = t.n_frames(int(most / rate) if t.placement.whole else math.ceil((most + 1) / rate) - 1)
            assert due <= n_frames <= due + 1
            if placed == {}:
                assert n_frames == math.ceil(X.shape[-1] / rate)


@pytest.mark.parametrize("placed", PLACED, ids=str)
def test_extreme_rates(placed):
    """Warnings are errors here: nothing overflows on the way to frames that lie beyond all others."""
    t = xi.STFT(**{"n_fft": 64, **placed})
    X = t.stft(noise(300))
    for phases in PHASES:
        for rate in (1.7e308, 1e17, 1e3, 0.02):
            Y = xi.phase_vocoder(X, rate, t, phases=phases)
            assert np.isfinite(Y).all()
            size = np.abs(X)
            assert (np.abs(Y) <= size.max(axis=1, keepdims=True) * (1 + 1e-9)).all()


# ---- the definition


def positions(count, rate, t):
    """Of the frames of the result among those of X."""
    middle = t.n_fft // 2 - t.placement.left
    return rate * np.arange(count) + (rate - 1) * middle / t.hop_length


def at(values, position, wrapped=False):
    """Rows of `values` between rows; differences of turns are taken the shorter way round."""
    position = min(max(position, 0), len(values) - 1)
    left = min(int(position), max(len(values) - 2, 0))
    away = values[min(left + 1, len(values) - 1)] - values[left]
    return values[left] + (position - left) * (away - np.rint(away) if wrapped else away)


def defined(X, rate, t, phases, count):
    """phase_vocoder of (n_bins, n_frames), sum by sum."""
    X = X.T if t.onesided else np.fft.fftshift(X.T, axes=1)
    n_frames, n_bins = X.shape
    turns, position = np.angle(X) / (2 * np.pi), positions(count, rate, t)
    inside = np.clip(position, 0, n_frames - 1)
    nearest = np.minimum(np.floor(inside + 0.5).astype(int), n_frames - 1)
    size = np.array([at(np.abs(X), p) for p in inside])
    phase = turns[nearest]
    rises = turns[1:] - turns[:-1]
    in_time = [at(rises, (a + b) / 2 - 0.5, True) for a, b in pairwise(position)]
    if phases == "locked":
        result = [phase[0]]
        for m in range(1, count):
            loud = np.abs(X[nearest[m]])
            peaks = [k for k in range(n_bins) if loud[k] > max([*loud[max(0, k - 2) : k], *loud[k + 1 : k + 3]])]
            row = np.empty(n_bins)
            for k in range(n_bins):
                peak = min(peaks, key=lambda p: (abs(p - k), p), default=k)
                row[k] = result[-1][peak] + in_time[m - 1][peak] + phase[m, k] - phase[m, peak]
            result.append(row)
        Y = size * np.exp(2j * np.pi * np.array(result))
    else:
        delay = turns[:, 1:] - turns[:, :-1] + 0.5
        delay -= np.rint(delay)
        slow = np.array([at(delay, p, True) for p in inside])
        slow = (slow - np.rint(slow)) / rate - 0.5
        edges = [((m, k), (m, k + 1), slow[m, k]) for m in range(count) for k in range(n_bins - 1)]
        edges += [((m - 1, k), (m, k), in_time[m - 1][k]) for m in range(1, count) for k in range(n_bins)]
        edges.sort(key=lambda edge: size[edge[0]] * size[edge[1]], reverse=True)
        tree = {
            (m, k): {(m, k): 0.0} for m in range(count) for k in range(n_bins)
        }  # Kruskal: its bins, and their heights
        for a, b, rise in edges:
            if tree[a] is not tree[b]:
                up = tree[a][a] + rise - tree[b][b]
                for each, height in tree[b].items():
                    tree[a][each] = height + up
                for each in tree[b]:
                    tree[each] = tree[a]
        root, _, _ = edges[0]
        height = np.array([[tree[root][m, k] for k in range(n_bins)] for m in range(count)])
        Y = size * np.exp(2j * np.pi * (height - height[root] + phase[root]))
    return Y.T if t.onesided else np.fft.ifftshift(Y.T, axes=0)


@pytest.mark.parametrize("phases", PHASES)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kept", [{}, {"center": False}, {"onesided": False, "padding": "full"}], ids=str)
def test_the_definition(kept, rate, phases):
    t = xi.STFT(24, 6, **{"center": True, **kept})
    X = noise((t.n_bins, 12, 2)) @ [1, 1j]
    Y = xi.phase_vocoder(X, rate, t, phases=phases)
    due = defined(X, rate, t, phases, Y.shape[-1])
    np.testing.assert_allclose(np.abs(Y), np.abs(due), atol=1e-12)
    position = positions(Y.shape[-1], rate, t)
    if phases == "locked" or (position.min() >= 0 and position.max() <= 11):  # beyond, of equal paths any is good
        np.testing.assert_allclose(Y, due, atol=1e-9)


# ---- sounds whose stretched truth is known

SR = 8000


def vibrato(n_samples, rate):
    t = np.arange(n_samples) / SR
    turns = 220 * t + 4 / (5 * rate) * np.sin(2 * np.pi * 5 * rate * t) / np.pi
    return sum(np.cos(2 * np.pi * k * turns + k * k) / k for k in range(1, 12))


def distance(x, y, t):
    """Of the magnitudes of y from those of x, in decibels, without a frame's length at both ends."""
    S, found = (np.abs(t.stft(each))[:, 8:-8] for each in (x, y))
    return 20 * np.log10(float(xi.spectral_convergence(S, found)))


@pytest.mark.parametrize("phases", PHASES)
@pytest.mark.parametrize("rate", [0.6, 1.25, 2.0])
def test_a_steady_sine_keeps_its_amplitude(rate, phases):
    """What librosa's loses to bins beside the peak that drift apart."""
    t = xi.STFT(512, 128)
    x = np.sin(0.31 * np.arange(8000))
    y = stretched(x, rate, t, phases=phases)[1000:-1000]
    basis = np.stack([f(0.31 * np.arange(y.size)) for f in (np.sin, np.cos)], 1)
    amplitude, *_ = np.linalg.lstsq(basis, y)
    assert abs(np.hypot(*amplitude) - 1) < 0.01
    assert np.linalg.norm(y - basis @ amplitude) < 0.02 * np.linalg.norm(y)


@pytest.mark.parametrize("phases", PHASES)
@pytest.mark.parametrize("placed", PLACED[:5], ids=str)
def test_sample_t_becomes_sample_t_over_rate(placed, phases):
    """The middle of a burst, shorter than a frame ("gradient") or longer, wherever the frames lie."""
    t = xi.STFT(**{"n_fft": 256, "nola": "zero", **placed})
    time, width = np.arange(6000), 60 if phases == "gradient" else 300
    x = np.exp(-(((time - 3100) / width) ** 2)) * np.sin(0.5 * time)
    for rate in (0.5, 0.8, 1.25, 2.0):
        y = t.istft(xi.phase_vocoder(t.stft(x), rate, t, phases=phases))
        middle = (y**2 @ np.arange(y.size)) / (y @ y)
        assert abs(middle - 3100 / rate) < 2


def test_beside_librosa():
    """Its frames, and its phases at rate 1; what it makes of a voice, and of clicks, is farther from the truth."""
    librosa = pytest.importorskip("librosa")
    t = xi.STFT(512, 64)
    clicks = np.zeros(8000)
    clicks[700::900] = 1
    voice = vibrato(8000, 1)
    for rate in (0.8, 1.25):
        theirs, ours = {}, {}
        for name, x in (("voice", voice), ("clicks", clicks)):
            X = t.stft(x)
            n_samples = round(x.size / rate)
            truth = vibrato(n_samples, rate)
            if name == "clicks":
                truth = np.zeros(n_samples)
                truth[np.rint(np.arange(700, 8000, 900) / rate).astype(int)] = 1
            Y = librosa.phase_vocoder(X, rate=rate, hop_length=64, n_fft=512)
            theirs[name] = distance(truth, t.istft(Y, length=n_samples), t)
            for phases in PHASES:
                Z = xi.phase_vocoder(X, rate, t, phases=phases)
                assert Z.shape == Y.shape
                ours[phases, name] = distance(truth, t.istft(Z, length=n_samples), t)
        for phases in PHASES:
            assert ours[phases, "voice"] < theirs["voice"] - 15
            assert ours[phases, "clicks"] < theirs["clicks"] - 4
        assert ours["gradient", "clicks"] < theirs["clicks"] - 12
    np.testing.assert_allclose(librosa.phase_vocoder(X, rate=1.0, hop_length=64, n_fft=512), X, atol=1e-9)


def test_two_sided_spectra_hold_together_across_zero():
    t = xi.STFT(256, onesided=False)
    for frequency in (0.004, -0.004, 1.3, -2.0):
        x = np.exp(1j * frequency * np.arange(6000))
        for phases in PHASES:
            y = stretched(x, 1.3, t, phases=phases)[500:-500]
            along = np.exp(-1j * frequency * np.arange(y.size)) * y
            assert np.abs(along - along.mean()).max() < 0.03
            assert abs(abs(along.mean()) - 1) < 0.01


def test_phases_from_the_start_of_the_signal_are_turned_by_ramps():
    """As docs/howto.md says: scipy's convention, written out."""
    t = xi.STFT(64, 16)
    X = t.stft(noise(900))
    ramp = np.stack([xi.phase_ramp(64, 16 * m) for m in range(X.shape[-1])], axis=-1)
    starts = 16 * np.arange(X.shape[-1])[None, :]
    from_the_start = X * np.exp(-2j * np.pi * np.arange(33)[:, None] * starts / 64)
    np.testing.assert_allclose(from_the_start * ramp, X, atol=1e-10)


# ---- any array, any batch


@pytest.mark.parametrize("phases", PHASES)
def test_every_library(xp, phases):
    t = xi.STFT(64, 16)
    X = t.stft(noise((2, 400))).astype(np.complex64)
    there = xp.asarray(X)
    Y = xi.phase_vocoder(there, 1.3, t, phases=phases)
    assert xp.owns(Y)
    np.testing.assert_array_equal(xp.to_numpy(Y), xi.phase_vocoder(X, 1.3, t, phases=phases))
    np.testing.assert_array_equal(xp.to_numpy(there), X)


@pytest.mark.parametrize("phases", PHASES)
def test_items_threads_and_axes_change_no_bit(cut, phases):
    t = xi.STFT(64, 16)
    X = t.stft(noise((3, 2, 700)))
    X[1, :, :, 9:30] = 0
    due = xi.phase_vocoder(X, 0.7, t, phases=phases)
    np.testing.assert_array_equal(
        xi.phase_vocoder(np.moveaxis(X, -1, 0), 0.7, t, phases=phases, axes=(-1, 0)), np.moveaxis(due, -1, 0)
    )
    for workers in (1, 3):
        cut(threaded_seconds=0)
        with xi.workers(workers):
            np.testing.assert_array_equal(xi.phase_vocoder(X, 0.7, t, phases=phases), due)
            np.testing.assert_array_equal(xi.phase_vocoder(X[1, 1], 0.7, t, phases=phases), due[1, 1])


@pytest.mark.parametrize("phases", PHASES)
def test_blocks_of_frames_change_nothing(phases):
    """Where no frame lies beyond the last, whose frames are alike: of equal paths any is good."""
    for rate, padding in ((1.3, 0), (0.3, "full")):
        t = xi.STFT(64, 16, padding=padding)
        X = t.stft(noise(900))
        due = xi.phase_vocoder(X, rate, t, phases=phases)
        with tuned(grid_bins=1):
            np.testing.assert_array_equal(xi.phase_vocoder(X, rate, t, phases=phases), due)


@pytest.mark.parametrize("phases", PHASES)
def test_silence_and_any_scale(phases):
    t = xi.STFT(64, 16)
    x = noise(900)
    x[200:500] = 0
    X = t.stft(x)
    due = xi.phase_vocoder(X, 1.3, t, phases=phases)
    assert np.isfinite(due).all()
    for scale in (2.0**-900, 2.0**900):
        np.testing.assert_allclose(xi.phase_vocoder(scale * X, 1.3, t, phases=phases) / scale, due, atol=1e-11)
    assert not xi.phase_vocoder(0 * X, 1.3, t, phases=phases).any()
    onset = np.zeros((33, 4), complex)
    onset[:, 2:] = 1j
    found = xi.phase_vocoder(onset, 0.7, t, phases=phases)
    np.testing.assert_allclose(np.abs(found[0]), [0, 0, 0.4, 1, 1, 1], atol=1e-12)  # at 0, 0.7, 1.4, 2.1, ...
    onset[:, :2] = 1e-310  # next to nothing, which no factor makes something of
    np.testing.assert_allclose(xi.phase_vocoder(onset, 0.7, t, phases=phases), found, atol=1e-12)


def test_other_frequencies_turn_with_their_peaks():
    t = xi.STFT(512, 64, frequencies=xi.linear_frequencies(200, 0, 2000, sr=SR))
    x = np.sin(0.31 * np.arange(8000))
    Y = xi.phase_vocoder(t.stft(x), 1.25, t, phases="locked")
    due = np.abs(t.stft(np.sin(0.31 * np.arange(6400))))
    np.testing.assert_allclose(np.abs(Y)[:, 10:90], due[:, 10:90], atol=1e-3 * due.max())
    frequencies = np.diff(np.unwrap(np.angle(Y[due[:, 50].argmax(), 10:90]))) / 64
    np.testing.assert_allclose(frequencies % (2 * np.pi / 64), 0.31 % (2 * np.pi / 64), atol=1e-5)


def test_what_is_refused():
    t, X = xi.STFT(64), np.ones((33, 5), complex)
    grid = xi.STFT(64, frequencies=xi.linear_frequencies(33, 0, 2000, sr=SR))
    for arguments, text in (
        ((X[:, :1], 2, t), r"X: need at least 2 frames, which tell the frequencies, got shape \(33, 1\)"),
        ((X * np.nan, 2, t), "X: need finite magnitudes in complex128, got nan"),
        ((X * 1.5e308 * (1 + 1j), 2, t), "X: need finite magnitudes in complex128, got inf"),
        ((X, 1e-300, t), r"rate: need one that makes at most 2\*\*60 frames, got 1e-300"),
        ((X, 2, grid), 'transform: need the bins of the DFT, got other frequencies; or phases="locked"'),
        ((X[:1], 2), "X: need at least 2 bins, or a transform, got 1"),
    ):
        with pytest.raises(ValueError, match=f"^phase_vocoder: {text}$"):
            xi.phase_vocoder(*arguments)


def test_traces_are_refused_by_name():
    jax = pytest.importorskip("jax")
    with pytest.raises(ValueError, match="^phase_vocoder: X: need values, not a trace, got .*; call it outside"):
        jax.jit(lambda X: xi.phase_vocoder(X, 2))(jax.numpy.ones((33, 5), "complex64"))


def test_a_dask_array_stays_lazy():
    da = pytest.importorskip("dask.array")
    X = xi.stft(noise((3, 900)), 64)
    Y = xi.phase_vocoder(da.from_array(X, chunks=(1, 20, 30)), 1.25)
    assert Y.chunks[0] == (1, 1, 1)
    np.testing.assert_array_equal(Y.compute(), xi.phase_vocoder(X, 1.25))
