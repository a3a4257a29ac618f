"""The pair against the definition written out, and the laws that it obeys, on every array library."""

from __future__ import annotations

import definition
import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends import base
from xp_istft.frames import bin_multiplicity

# n_fft, hop, win_length, window, placement: odd and even sizes, hops that divide and do not, short windows
CASES = [
    (16, 4, 16, "hann", {}),
    (15, 4, 15, "hann", {}),
    (16, 5, 16, "hann", {"center": False}),
    (15, 6, 11, "hamming", {"center": False}),
    (16, 3, 9, "hann", {"padding": "same"}),
    (15, 5, 12, "hann", {"padding": "full"}),
    (16, 8, 16, "hamming", {"padding": (3, 14)}),
    (16, 16, 16, "boxcar", {"padding": "same"}),
    (17, 1, 17, "hann", {}),
    (64, 48, 64, "hamming", {"padding": 9}),
    (2, 1, 2, "boxcar", {}),
]
CASE = pytest.mark.parametrize(("n_fft", "hop", "win_length", "window", "place"), CASES)


def close(actual, expected, dtype=np.float64):
    tolerance = {np.float32: 3e-7, np.float64: 2e-15}[dtype] * 40
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


@CASE
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "symmetric", "wrap"])
def test_stft_is_the_double_sum(xp, rng, n_fft, hop, win_length, window, place, pad_mode):
    x = rng.standard_normal((2, 101))
    before, after, whole = definition.placement(n_fft, hop, win_length, **place)
    n_frames = definition.count_frames(101, n_fft, hop, before, after, whole)
    samples = definition.window_samples(window, win_length, n_fft)
    expected = definition.stft(x, n_fft, hop, samples, before, n_frames, mode=pad_mode)
    X = xi.stft(xp.asarray(x), n_fft, hop_length=hop, win_length=win_length, window=window, pad_mode=pad_mode, **place)
    assert xp.owns(X)
    close(xp.to_numpy(X), expected)


@CASE
@pytest.mark.parametrize("synthesis_window", [None, "hamming"])
def test_istft_is_the_double_sum(xp, rng, n_fft, hop, win_length, window, place, synthesis_window):
    n_frames = 13
    X = rng.standard_normal((2, n_fft // 2 + 1, n_frames, 2)).view(complex)[..., 0]
    before, after, _ = definition.placement(n_fft, hop, win_length, **place)
    n_samples = n_fft + hop * (n_frames - 1) - before - after
    w = definition.window_samples(window, win_length, n_fft)
    v = w if synthesis_window is None else definition.window_samples(synthesis_window, win_length, n_fft)
    expected, overlap = definition.istft(X, n_fft, hop, w, v, before, n_samples)
    y = xi.istft(
        xp.asarray(X), n_fft=n_fft, hop_length=hop, win_length=win_length, window=window,
        synthesis_window=synthesis_window, nola="zero", **place,
    )  # fmt: skip
    assert xp.owns(y)
    known = np.abs(overlap) > 1e-6 * np.abs(overlap).max()
    close(xp.to_numpy(y)[..., known], expected[..., known])
    weak = np.abs(xp.to_numpy(y) * overlap - expected * overlap)  # flanks: exact relative to their own weight
    close(weak, 0 * weak)


@CASE
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(xp, rng, n_fft, hop, win_length, window, place, dtype):
    x = rng.standard_normal((3, 150)).astype(dtype)
    t = xi.STFT(n_fft, hop, win_length, window, nola="zero", **place)
    X = t.stft(xp.asarray(x))
    y = xp.to_numpy(t.istft(X, length=150))
    assert y.dtype == dtype
    coverage = t.coverage(X.shape[-1], length=150, dtype=np.dtype(dtype).name)
    bound = {np.float32: 3e-7, np.float64: 1e-15}[dtype] * np.abs(x).max()
    noise = np.maximum(1, coverage.noise_gain)
    error = np.abs(y - x)
    assert (error[:, coverage.determined] <= 4 * bound * noise[coverage.determined]).all()
    assert (y[:, ~coverage.determined] == 0).all()


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 3e-7), (np.float64, 1e-15)])
@pytest.mark.parametrize("n_fft", [256, 1024, 4096])
def test_round_trip_error_is_flat_in_length(xp, rng, dtype, bound, n_fft):
    errors = []
    for n_samples in (4 * n_fft, 40 * n_fft):
        x = rng.uniform(-1, 1, n_samples).astype(dtype)
        y = xi.istft(xi.stft(xp.asarray(x), n_fft), length=n_samples)
        errors.append(np.abs(xp.to_numpy(y) - x).max() / np.abs(x).max())
    # The bound is that of the interior; within n_fft/2 of an end one half of a window carries a sample.
    assert max(errors) <= 2 * bound


@pytest.mark.parametrize("center", [True, False])
def test_overlap_add_is_the_adjoint_of_frame(xp, rng, center):
    n_fft, hop = 15, 4
    x, window = rng.standard_normal(60), rng.standard_normal(n_fft)
    segments = rng.standard_normal((n_fft, xi.STFT(n_fft, hop, center=center).n_frames(60)))
    framed = xp.to_numpy(xi.frame(xp.asarray(x), n_fft, hop, window=window, center=center))
    added = xi.overlap_add(xp.asarray(segments), hop, window=window, center=center, length=60)
    assert np.vdot(framed, segments) == pytest.approx(np.vdot(x, xp.to_numpy(added)), rel=1e-12)


@CASE
def test_the_inverse_is_the_adjoint_of_stft_times_gain(xp, rng, n_fft, hop, win_length, window, place):
    """<stft x, X> with every bin counted as often as it stands for = n_fft <x, istft X without its gain>."""
    kept = dict(hop_length=hop, win_length=win_length, window=window, **place)
    x = rng.standard_normal(90)
    A = xp.to_numpy(xi.stft(xp.asarray(x), n_fft, **kept))
    X = rng.standard_normal((*A.shape, 2)).view(complex)[..., 0]
    y = xp.to_numpy(xi.istft(xp.asarray(X), n_fft=n_fft, length=90, nola="zero", **kept))
    w = definition.window_samples(window, win_length, n_fft)
    before, _, _ = definition.placement(n_fft, hop, win_length, **place)
    _, overlap = definition.istft(0 * X, n_fft, hop, w, w, before, 90)
    left = (np.conj(A) * X * bin_multiplicity(n_fft)[:, None]).real.sum()
    assert left == pytest.approx(n_fft * (x * overlap * y).sum(), rel=1e-11, abs=1e-9)


def test_linear(xp, rng):
    X, Z = rng.standard_normal((2, 9, 20, 2)).view(complex)[..., 0]
    y = [xp.to_numpy(xi.istft(xp.asarray(each))) for each in (X, Z, 2 * X - 3 * Z)]
    close(y[2], 2 * y[0] - 3 * y[1])


def test_a_shift_by_frames_is_a_shift_by_hops(xp, rng):
    X = rng.standard_normal((9, 20, 2)).view(complex)[..., 0]
    X[:, 15:] = 0
    y = xp.to_numpy(xi.istft(xp.asarray(X), hop_length=4))
    shifted = xp.to_numpy(xi.istft(xp.asarray(np.roll(X, 5, axis=-1)), hop_length=4))
    np.testing.assert_array_equal(shifted[32:60], y[12:40])  # away from the ends, to the bit


def test_a_batch_is_its_items_to_the_bit(xp, rng):
    x = rng.standard_normal((2, 3, 200)).astype(np.float32)
    X = xi.stft(xp.asarray(x), 32, hop_length=8)
    assert tuple(X.shape) == (2, 3, 17, 26)
    y = xp.to_numpy(xi.istft(X, hop_length=8))
    for i in range(2):
        for j in range(3):
            alone = xi.stft(xp.asarray(x[i, j]), 32, hop_length=8)
            np.testing.assert_array_equal(xp.to_numpy(alone), xp.to_numpy(X)[i, j])
            np.testing.assert_array_equal(xp.to_numpy(xi.istft(alone, hop_length=8)), y[i, j])


def test_axes_may_lie_anywhere(xp, rng):
    x = rng.standard_normal((40, 2, 3))
    X = xi.stft(xp.asarray(x), 16, axis=0, axes=(0, 2))
    last = xi.stft(xp.asarray(np.moveaxis(x, 0, -1)), 16)
    np.testing.assert_array_equal(np.moveaxis(xp.to_numpy(X), (0, 2), (-2, -1)), xp.to_numpy(last))
    np.testing.assert_array_equal(xp.to_numpy(xi.istft(X, axes=(0, 2))), xp.to_numpy(xi.istft(last)))


@pytest.mark.parametrize("n_fft", [16, 15])
def test_imaginary_dc_and_nyquist_are_ignored(xp, rng, n_fft):
    X = rng.standard_normal((n_fft // 2 + 1, 20, 2)).view(complex)[..., 0]
    Z = X.copy()
    Z[0] += 7j
    if n_fft % 2 == 0:
        Z[-1] -= 3j
    X[0] = X[0].real
    if n_fft % 2 == 0:
        X[-1] = X[-1].real
    y = [xp.to_numpy(xi.istft(xp.asarray(each), n_fft=n_fft)) for each in (X, Z)]
    np.testing.assert_array_equal(y[0], y[1])
    # Not every FFT ignores them by itself: that of CUDA does not.
    np.testing.assert_array_equal(base._hermitian_ends(Z, n_fft, np), X)


@pytest.mark.parametrize("n_fft", [16, 15])
def test_two_sided_spectra(xp, rng, n_fft):
    z = rng.standard_normal((2, 100, 2)).view(complex)[..., 0]
    t = xi.STFT(n_fft, 4, onesided=False)
    Z = t.stft(xp.asarray(z))
    n_frames = t.n_frames(100)
    assert tuple(Z.shape) == (2, n_fft, n_frames)
    w = definition.window_samples("hann", n_fft, n_fft)
    close(xp.to_numpy(Z), definition.stft(z, n_fft, 4, w, n_fft // 2, n_frames, onesided=False))
    y = xp.to_numpy(t.istft(Z, length=100))
    assert y.dtype == complex
    close(y, z)
    one = xi.stft(xp.asarray(z.real.copy()), n_fft, hop_length=4)
    two = t.stft(xp.asarray(z.real.copy()))
    close(xp.to_numpy(two)[:, : n_fft // 2 + 1], xp.to_numpy(one))


@pytest.mark.parametrize("scaling", ["ortho", "spectrum", "psd"])
def test_scaling_is_undone(xp, rng, scaling):
    x = rng.standard_normal(300)
    kept = dict(hop_length=8, win_length=20, scaling=scaling)
    X = xi.stft(xp.asarray(x), 32, **kept)
    w = definition.window_samples("hann", 20, 32)
    scale = {"ortho": 32**-0.5, "spectrum": 1 / w.sum(), "psd": (w**2).sum() ** -0.5}[scaling]
    close(xp.to_numpy(X), scale * xp.to_numpy(xi.stft(xp.asarray(x), 32, hop_length=8, win_length=20)))
    close(xp.to_numpy(xi.istft(X, length=300, **kept)), x)


def test_out_is_written_in_place(xp, rng):
    x = rng.standard_normal((2, 200))
    X = xi.stft(xp.asarray(x), 32)
    fresh = xi.istft(X)
    out, spectrum = xp.asarray(np.zeros(fresh.shape)), xp.asarray(np.zeros(X.shape, complex))
    if not xp.writeable:
        with pytest.raises(TypeError, match=r"istft: out: need an array that can be written in place"):
            xi.istft(X, out=out)
        return
    assert xi.istft(X, out=out) is out
    assert xi.stft(xp.asarray(x), 32, out=spectrum) is spectrum
    np.testing.assert_array_equal(xp.to_numpy(out), xp.to_numpy(fresh))
    np.testing.assert_array_equal(xp.to_numpy(spectrum), xp.to_numpy(X))


def test_out_follows_the_axes(rng):
    x = rng.standard_normal(200)
    out = np.zeros((26, 17), complex)
    assert xi.stft(x, 32, axes=(1, 0), out=out) is out
    np.testing.assert_array_equal(out.T, xi.stft(x, 32))


def test_inputs_are_not_changed(xp, rng):
    x = rng.standard_normal((2, 200))
    window = np.hanning(32)
    given, host = xp.asarray(x), x.copy()
    X = xi.stft(given, 32, window=window, pad_mode="reflect")
    kept = xp.to_numpy(X).copy()
    xi.istft(X, window=window)
    np.testing.assert_array_equal(xp.to_numpy(given), host)
    np.testing.assert_array_equal(xp.to_numpy(X), kept)
    np.testing.assert_array_equal(window, np.hanning(32))
    assert window.flags.writeable


def test_uncovered_samples_are_zero_whatever_the_spectrum_holds(xp):
    X = np.full((9, 4), np.nan, complex)
    with pytest.warns(xi.CoverageWarning, match=r"istft: window: samples \[0, 1\)"):
        y = xp.to_numpy(xi.istft(xp.asarray(X), hop_length=4, center=False))
    assert y[0] == 0
    assert np.isnan(y[1:]).all()


def test_frames_and_their_sum(xp, rng):
    x = rng.standard_normal((2, 50))
    segments = xi.frame(xp.asarray(x), 12, 5, padding=(2, 6))
    padded = np.pad(x, ((0, 0), (2, 6)))
    expected = np.stack([padded[:, m * 5 : m * 5 + 12] for m in range(10)], axis=-1)
    np.testing.assert_array_equal(xp.to_numpy(segments), expected)
    total = np.zeros((2, 57))
    for m in range(10):
        total[:, m * 5 : m * 5 + 12] += expected[..., m]
    close(xp.to_numpy(xi.overlap_add(segments, 5, padding=(2, 6))), total[:, 2:-6])


def test_complex_frames(xp, rng):
    z = rng.standard_normal((30, 2)).view(complex)[..., 0]
    segments = xi.frame(xp.asarray(z), 8, 4, window="hann")
    np.testing.assert_allclose(xp.to_numpy(segments)[:, 2], z[8:16] * definition.window_samples("hann", 8, 8))


def test_complex_arrays_of_parts(xp, rng):
    pairs = rng.standard_normal((3, 4, 2)).astype(np.float32)
    Z = xi.as_complex(xp.asarray(pairs))
    assert xp.to_numpy(Z).dtype == np.complex64
    np.testing.assert_array_equal(xp.to_numpy(Z), pairs[..., 0] + 1j * pairs[..., 1])
    parts = xi.as_complex(xp.asarray(pairs[..., 0].copy()), xp.asarray(pairs[..., 1].copy()))
    np.testing.assert_array_equal(xp.to_numpy(parts), xp.to_numpy(Z))
    polar = xi.from_polar(xp.asarray(np.abs(xp.to_numpy(Z))), xp.asarray(np.angle(xp.to_numpy(Z))))
    np.testing.assert_allclose(xp.to_numpy(polar), xp.to_numpy(Z), rtol=1e-5, atol=1e-6)


def test_pairs_side_by_side_are_viewed_not_copied(rng):
    pairs = rng.standard_normal((3, 4, 2))
    assert np.shares_memory(xi.as_complex(pairs), pairs)
    apart = np.moveaxis(rng.standard_normal((2, 3, 4)), 0, -1)
    np.testing.assert_array_equal(xi.as_complex(apart), apart[..., 0] + 1j * apart[..., 1])


def test_the_object_is_its_functions(xp, rng):
    layout = dict(hop_length=4, win_length=18, window="hamming", padding="same")
    t = xi.STFT(n_fft=20, synthesis_window="hann", **layout)
    x = xp.asarray(rng.standard_normal((2, 100)))
    X = t.stft(x)
    np.testing.assert_array_equal(xp.to_numpy(X), xp.to_numpy(xi.stft(x, 20, **layout)))
    y = xp.to_numpy(xi.istft(X, length=90, synthesis_window="hann", **layout))
    np.testing.assert_array_equal(xp.to_numpy(t.istft(X, length=90)), y)
    turned = t.stft(x, axes=(-1, -2))
    np.testing.assert_array_equal(xp.to_numpy(turned).swapaxes(-1, -2), xp.to_numpy(X))
    np.testing.assert_array_equal(xp.to_numpy(t.istft(turned, length=90, axes=(-1, -2))), y)
    assert (t.n_frames(100), t.n_samples(25)) == (25, 100)
    np.testing.assert_array_equal(t.bin_frequencies(sr=20), np.arange(11))


@pytest.mark.parametrize("n_fft", [16, 15])
def test_nnaudio_layer_on_any_array(xp, rng, n_fft, capsys):
    x = rng.standard_normal((2, 100))
    layer = xi.iSTFT(n_fft=n_fft, win_length=12, hop_length=3, window="hamming", verbose=False)
    X = xi.stft(xp.asarray(x), n_fft, win_length=12, hop_length=3, window="hamming")
    close(xp.to_numpy(layer(X, length=100)), x)
    pairs = np.stack([xp.to_numpy(X).real, xp.to_numpy(X).imag], axis=-1)
    close(xp.to_numpy(layer(xp.asarray(pairs), True, 100, refresh_win=False)), x)
    two = xi.stft(xp.asarray(x), n_fft, win_length=12, hop_length=3, window="hamming", onesided=False)
    close(xp.to_numpy(layer(two, length=100)), x)
    assert capsys.readouterr().out == ""
    xi.iSTFT(n_fft=n_fft)
    assert capsys.readouterr().out.startswith(f"iSTFT: STFT(n_fft={n_fft}")


def changing_windows():
    """Windows that can be changed in place, and how their values are set."""
    yield np.hanning(64), np.copyto
    torch = pytest.importorskip("torch")
    yield torch.hann_window(64, dtype=torch.float64), lambda window, values: window.copy_(torch.from_numpy(values))


@pytest.mark.parametrize("parameter", ["window", "synthesis_window"])
def test_a_window_is_read_as_it_is_at_each_call(parameter, rng):
    """Transforms of recent calls are kept; what can be changed in place is looked up by its values."""
    x = rng.standard_normal(1000)
    X = xi.stft(x, 64, window="hamming")
    for window, put in changing_windows():
        for values in (np.hamming(64), np.hanning(64) + 0.1, np.hamming(64)):
            put(window, values)
            due = xi.STFT(64, **{"window": "hamming", "pad_mode": None, parameter: values.copy()}).istft(X)
            got = xi.istft(X, **{"window": "hamming", parameter: window})
            np.testing.assert_array_equal(got, due)


def test_a_signal_is_analysed_by_the_window_as_it_is(rng):
    x = rng.standard_normal(1000)
    for window, put in changing_windows():
        for values in (np.hamming(64), np.hanning(64), np.hamming(64)):
            put(window, values)
            np.testing.assert_array_equal(xi.stft(x, 64, window=window), xi.STFT(64, window=values).stft(x))


def test_what_is_kept_for_equal_numbers_of_other_types_is_not_taken(rng):
    """1, 1.0 and True are equal, and hash alike."""
    x = rng.standard_normal(400)
    X = xi.stft(x, 32, padding=(1, 1))
    xi.istft(X, padding=(1, 1), max_gain=1, hop_length=1)
    for wrong in ((True, 1), (1, 1.0), (1, True)):
        with pytest.raises(TypeError, match="stft: padding: need an integer, got"):
            xi.stft(x, 32, padding=wrong)
        with pytest.raises(TypeError, match="istft: padding: need an integer, got"):
            xi.istft(X, padding=wrong, max_gain=1, hop_length=1)
    for name in ("max_gain", "hop_length"):
        with pytest.raises(TypeError, match=f"istft: {name}: need an? (number|integer), got True"):
            xi.istft(X, **{"padding": (1, 1), "max_gain": 1, "hop_length": 1, name: True})


def test_a_failed_reading_of_a_window_names_it():
    """What the host cannot have (a sparse layout) is an error of the argument, not of the conversion."""
    torch = pytest.importorskip("torch")
    X = xi.stft(np.ones(400), 32)
    with pytest.raises(TypeError, match="istft: window: need a name or real samples, got Tensor"):
        xi.istft(X, window=torch.ones(32).to_sparse())


@pytest.mark.parametrize("axes", [(-1, -2), (0, 1), (1, -1), (0, -1)])
def test_out_has_its_axes_where_the_result_would_have_them(axes, rng):
    x = rng.standard_normal((3, 500))
    due = xi.stft(x, 32, axes=axes)
    out = np.empty(due.shape, complex)
    assert xi.stft(x, 32, axes=axes, out=out) is out
    np.testing.assert_array_equal(out, due)
    with pytest.raises(ValueError, match=r"stft: out: need shape \(\d+, \d+, \d+\), got \(1, 2, 3\)"):
        xi.stft(x, 32, axes=axes, out=np.empty((1, 2, 3), complex))


@pytest.mark.parametrize("wrong", [5, (0, 0), (-4, 1), np.array([0, 1]), {"a": 1}, (True, 0)], ids=str)
def test_axes_are_judged_before_any_work(wrong, rng, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed before it was judged")

    x = rng.standard_normal((3, 500))
    X = xi.stft(x, 32)
    monkeypatch.setattr(np.fft, "rfft", never)
    monkeypatch.setattr(np.fft, "irfft", never)
    with pytest.raises((TypeError, ValueError), match="^stft: axes: need "):
        xi.stft(x, 33, axes=wrong)
    with pytest.raises((TypeError, ValueError), match="^istft: axes: need "):
        xi.istft(X, n_fft=32, axes=wrong)


@pytest.mark.parametrize("hop", [1, 4, 5])
def test_frames_are_added_in_their_order(xp, hop):
    """A large number that comes and goes takes with it what came before, and nothing that comes after."""
    large = 2.0**100
    for values, due in (((1, large, -large), 0), ((large, -large, 1), 1)):
        segments = np.zeros((3 * hop, 3))
        for m, value in enumerate(values):
            segments[(2 - m) * hop, m] = value  # all of them at sample 2 hop
        y = xp.to_numpy(xi.overlap_add(xp.asarray(segments), hop))
        assert y[2 * hop] == due
        assert np.count_nonzero(y) == due
