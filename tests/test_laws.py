"""Laws of the pair: on every array library, and on problems of any shape that hypothesis finds for NumPy.

pytest tests/test_laws.py -k found --hypothesis-profile deep
"""

from __future__ import annotations

import math
import warnings

import definition
import numpy as np
import pytest
from problems import analysis, close, inverse, law, well_known

import xp_istft as xi
from xp_istft.frames import PAD_MODES, bin_multiplicity


def inner(a, b):
    """Real inner product, in double precision."""
    return float((a.astype(complex) * b.astype(complex).conj()).sum().real)


# ------------------------------------------------------------------ the pair


@law
def test_stft_is_the_double_sum(xp, problem):
    x, (before, _, _) = problem.signal(), problem.placement
    for mode in PAD_MODES:
        want = definition.stft(
            x, problem.n_fft, problem.hop_length, problem.samples, before, problem.n_frames, mode=mode
        )
        X = xi.stft(xp.asarray(x), **problem.layout, pad_mode=mode)
        assert xp.owns(X)
        assert xp.to_numpy(X).dtype == problem.complex
        close(xp.to_numpy(X), want, problem, 300)


@law
def test_istft_is_the_double_sum(xp, problem):
    X, w, (before, _, _) = problem.spectrum(), problem.samples, problem.placement
    for other in (None, "hamming"):
        v = w if other is None else definition.window_samples(other, problem.win_length, problem.n_fft)
        sizes = problem.n_fft, problem.hop_length, w, v, before, problem.n_samples
        want, overlap = definition.istft(X, *sizes)
        y = xi.istft(xp.asarray(X), **problem.layout, synthesis_window=other, nola="zero", length=problem.n_samples)
        assert xp.owns(y)
        y = xp.to_numpy(y)
        assert y.dtype == problem.real
        close(y * overlap, want * overlap, problem, 300)  # at flanks exact relative to their weight
        known, _ = well_known(problem)
        close(y[..., known], want[..., known], problem)


@law
def test_round_trip(xp, problem):
    """The error of a sample is some roundings of the largest, over the root of the weight that frames give it."""
    x = problem.signal()
    X = analysis(xp, x, problem)
    y = inverse(xp, X, problem)
    sizes = problem.n_fft, problem.hop_length, problem.samples, problem.samples, problem.placement[0]
    _, overlap = definition.istft(0 * X, *sizes, problem.n_samples)
    determined = problem.transform.coverage(problem.n_frames, problem.n_samples, np.dtype(problem.real).name).determined
    bound = 20 * problem.eps * np.abs(x).max() * np.sqrt(overlap.max() / overlap[determined])
    assert (np.abs(y - x)[..., determined] <= bound).all()
    assert (y[..., ~determined] == 0).all()


@law
def test_the_pair_is_linear(xp, problem):
    a, b = problem.rng(5).uniform(-3, 3, 2)
    X, Y = problem.spectrum(0), problem.spectrum(1)
    known, _ = well_known(problem)
    together = inverse(xp, (a * X + b * Y).astype(X.dtype), problem)
    apart = a * inverse(xp, X, problem) + b * inverse(xp, Y, problem)
    close(together[..., known], apart[..., known], problem, 3e4)
    x, y = problem.signal(0), problem.signal(1)
    together = analysis(xp, (a * x + b * y).astype(x.dtype), problem)
    close(together, a * analysis(xp, x, problem) + b * analysis(xp, y, problem), problem, 3e4)


@law
def test_powers_of_two_change_no_digit(xp, problem):
    k = int(problem.rng(5).integers(-60, 61))
    X, x = problem.spectrum(), problem.signal()
    power = np.ldexp(1.0, k).astype(x.dtype)
    np.testing.assert_array_equal(inverse(xp, power * X, problem), np.ldexp(inverse(xp, X, problem), k))
    np.testing.assert_array_equal(analysis(xp, np.ldexp(x, k), problem), power * analysis(xp, x, problem))


@law(padding=0)
def test_a_shift_by_hops_is_a_shift_of_frames(xp, problem):
    k = int(problem.rng(5).integers(1, 10))
    x = problem.signal()
    late = np.concatenate([np.zeros((*problem.batch, k * problem.hop_length), x.dtype), x], axis=-1)
    X = analysis(xp, x, problem)
    close(analysis(xp, late, problem)[..., k:], X, problem, 30)
    frames = np.concatenate([np.zeros((*X.shape[:-1], k), X.dtype), X], axis=-1)
    y = inverse(xp, X, problem, length=None)
    later = inverse(xp, frames, problem, length=None)[..., k * problem.hop_length :]
    middle = slice(problem.n_fft, None)  # where both have all their frames
    close(later[..., middle], y[..., middle], problem)


@law
def test_a_shift_of_bins_is_a_modulation(xp, problem):
    """exp(2 pi i m n / n_fft) turns once per n_fft samples: frames see the same phase where m hop fits into n_fft."""
    n_fft, m = problem.n_fft, int(problem.rng(5).integers(1, 72))
    m = m % n_fft * (n_fft // math.gcd(n_fft, problem.hop_length))
    x = problem.signal()
    n = np.arange(problem.n_samples) + problem.placement[0]
    turned = (x * np.exp(2j * np.pi * (m * n % n_fft) / n_fft)).astype(problem.complex)
    X = analysis(xp, x.astype(turned.dtype), problem, onesided=False)
    close(analysis(xp, turned, problem, onesided=False), np.roll(X, m, axis=-2), problem)


@law
def test_two_sided_spectra_of_real_signals_are_conjugate_symmetric(xp, problem):
    x = problem.signal()
    X, half = analysis(xp, x, problem, onesided=False), analysis(xp, x, problem)
    close(X, np.roll(X[..., ::-1, :], 1, axis=-2).conj(), problem, 300)
    close(X[..., : half.shape[-2], :], half, problem, 300)
    Z = problem.spectrum(onesided=False)
    y = inverse(xp, Z, problem, onesided=False)
    other = inverse(xp, np.roll(Z[..., ::-1, :], 1, axis=-2).conj(), problem, onesided=False)
    known, _ = well_known(problem)
    close(other[..., known], y[..., known].conj(), problem)


@law
def test_complex_signals_have_two_sided_spectra(xp, problem):
    z = (problem.signal() + 1j * problem.signal(1)).astype(problem.complex)
    Z = analysis(xp, z, problem, onesided=False)
    sizes = problem.n_fft, problem.hop_length, problem.samples, problem.placement[0], problem.n_frames
    close(Z, definition.stft(z, *sizes, onesided=False), problem, 300)
    y = inverse(xp, Z, problem, onesided=False)
    assert Z.dtype == y.dtype == problem.complex
    known, _ = well_known(problem)
    close(y[..., known], z[..., known], problem)


# ------------------------------------------------------------------ adjoints and norms


@law
def test_the_inverse_is_the_adjoint_of_stft_times_gain(xp, problem):
    """<stft x, X> with every bin counted as often as it stands for = n_fft <x, istft X without its gain>."""
    x = problem.signal()
    A, X = analysis(xp, x, problem), problem.spectrum()
    sizes = problem.n_fft, problem.hop_length, problem.samples, problem.samples, problem.placement[0]
    _, overlap = definition.istft(0 * X, *sizes, problem.n_samples)
    left = inner(A * bin_multiplicity(problem.n_fft)[:, None], X)
    right = problem.n_fft * inner(x * overlap, inverse(xp, X, problem))
    assert left == pytest.approx(right, abs=float(1e3 * problem.eps * np.linalg.norm(A) * np.linalg.norm(X)))


@law
def test_overlap_add_is_the_adjoint_of_frame(xp, problem):
    n_fft, hop, window = problem.n_fft, problem.hop_length, problem.samples
    x = problem.signal(0, problem.n_samples + n_fft)
    for padding in (0, (n_fft // 3, n_fft // 2)):
        S = xp.to_numpy(xi.frame(xp.asarray(x), n_fft, hop, window=window, padding=padding))
        T = problem.rng(4).standard_normal(S.shape).astype(x.dtype)
        added = xi.overlap_add(xp.asarray(T), hop, window=window, padding=padding, length=x.shape[-1])
        most = np.linalg.norm(S.astype(float)) * np.linalg.norm(T.astype(float))
        assert inner(xp.to_numpy(added), x) == pytest.approx(inner(T, S), abs=100 * problem.eps * most)


@law(padding="full")
def test_parseval_for_tight_windows(xp, problem):
    x = problem.signal()
    tight = xi.tight_window(problem.window, problem.hop_length, win_length=problem.win_length)
    X = analysis(xp, x, problem, window=tight, onesided=False).astype(complex)
    assert (np.abs(X) ** 2).sum() / problem.n_fft == pytest.approx(inner(x, x), rel=1e4 * problem.eps)


@law(kind="random", padding="full")
def test_a_second_projection_changes_nothing(xp, problem):
    """stft(istft(.)) is a projection: what a signal has is kept, the rest is gone after once."""
    X = problem.spectrum()
    n_samples = problem.transform.n_samples(problem.n_frames)

    def project(X):
        return analysis(xp, inverse(xp, X, problem, length=n_samples), problem)

    once = project(X)
    close(project(once), once, problem, 3e4)


# ------------------------------------------------------------------ windows, gains and lengths


@law
def test_sign_and_scale_of_the_window_cancel(xp, problem):
    scale = problem.rng(5).choice([-1.0, 1e-7, -1e7, 2.0])
    window = scale * definition.window_samples(problem.window, problem.win_length, problem.win_length)
    x = problem.signal()
    y = inverse(xp, analysis(xp, x, problem, window=window), problem, window=window)
    known, _ = well_known(problem)
    close(y[..., known], x[..., known], problem)


@law
def test_a_bound_on_the_gain_is_that_factor_where_it_takes_hold(xp, problem):
    bound = float(problem.rng(5).uniform(1, 50))
    X = problem.spectrum()
    y, bounded = inverse(xp, X, problem), inverse(xp, X, problem, max_gain=bound)
    known, noise_gain = well_known(problem)
    factor = np.minimum(1, bound / noise_gain)
    close(bounded[..., known], (y * factor)[..., known].astype(y.dtype), problem, 3e4)
    untouched = noise_gain < 0.999 * bound
    np.testing.assert_array_equal(bounded[..., untouched], y[..., untouched])
    assert (np.abs(bounded) <= np.abs(y) * (1 + 4 * problem.eps)).all()


@law
def test_length_cuts_and_fills_and_does_nothing_else(xp, problem):
    X = problem.spectrum()
    reach = problem.n_fft + problem.hop_length * (problem.n_frames - 1) - problem.placement[0]
    longest = 2 * reach + problem.n_fft
    if longest < 1:
        return
    length = int(problem.rng(5).integers(1, longest + 1))
    y, other = inverse(xp, X, problem, length=longest), inverse(xp, X, problem, length=length)
    assert other.shape[-1] == length
    # The gain of the interior is a property of the windows, not of what is asked for.
    close(other, y[..., :length], problem)
    assert not y[..., max(0, reach) :].any()


@law
def test_whatever_is_not_determined_is_zero_and_warned_of(xp, problem):
    X = np.full_like(problem.spectrum(), np.nan)  # whatever the spectrum holds
    determined = problem.transform.coverage(problem.n_frames, problem.n_samples, np.dtype(problem.real).name).determined
    y = inverse(xp, X, problem)
    assert not y[..., ~determined].any()
    assert np.isnan(y[..., determined]).all()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            inverse(xp, X, problem, nola="warn")
        except xi.NOLAError:
            assert not determined.all()
            return
    assert len([each for each in said if each.category is xi.CoverageWarning]) == (not determined.all())


@law
def test_counts_of_frames_and_samples_agree(xp, problem):
    before, after, whole = problem.placement
    hop, n_frames = problem.hop_length, analysis(xp, problem.signal(), problem).shape[-1]
    assert n_frames == problem.n_frames
    assert n_frames == definition.count_frames(problem.n_samples, problem.n_fft, hop, before, after, whole)
    n_samples = problem.transform.n_samples(n_frames)
    if whole:
        assert n_samples >= problem.n_samples > n_samples - hop or n_frames == 1
    elif n_samples > 0:
        assert n_samples <= problem.n_samples < n_samples + hop
        assert problem.transform.n_frames(n_samples) == n_frames
        assert inverse(xp, problem.spectrum(), problem, length=None).shape[-1] == n_samples
