"""What the functions take and give: scaling, axes, out, parts of complex arrays, windows as they are, precision."""

from __future__ import annotations

import definition
import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends.base import BASE
from xp_istft.backends.cpu.fft import engine_for


def close(actual, expected, dtype=np.float64):
    tolerance = {np.float32: 3e-7, np.float64: 2e-15}[dtype] * 40
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_round_trip_error_is_flat_in_length(xp, rng, dtype, bound):
    n_fft, errors = 1024, []
    for n_samples in (4 * n_fft, 40 * n_fft):
        x = rng.uniform(-1, 1, n_samples).astype(dtype)
        y = xi.istft(xi.stft(xp.asarray(x), n_fft), length=n_samples)
        errors.append(np.abs(xp.to_numpy(y) - x).max() / np.abs(x).max())
    # The bound is that of the interior; within n_fft/2 of an end one half of a window carries a sample.
    assert max(errors) <= 2 * bound


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
    np.testing.assert_array_equal(BASE._hermitian_ends(Z, n_fft), X)


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


def test_out_may_be_a_batch_of_one_with_any_stride(rng):
    """A new axis of NumPy has stride 0: no rows overlap."""
    X = xi.stft(rng.standard_normal(200), 32)
    y, Z = np.empty(200), np.empty(X.shape, complex)
    assert y[None].strides[0] == Z[None].strides[0] == 0
    xi.istft(X[None], out=y[None])
    np.testing.assert_array_equal(y, xi.istft(X))
    xi.stft(y[None], 32, out=Z[None])
    np.testing.assert_array_equal(Z, xi.stft(y, 32))
    for out in (np.broadcast_to(y, (2, y.size)), np.lib.stride_tricks.as_strided(y, (2, y.size), (0, 8))):
        with pytest.raises(ValueError, match="^istft: out: need "):
            xi.istft(np.stack([X, X]), out=out)


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


@pytest.mark.parametrize("parts", [1, 2])
def test_frames_and_their_sum(xp, rng, parts):
    x = rng.standard_normal((2, 50, parts)).view([None, float, complex][parts])[..., 0]
    for window in (None, "hann"):
        w = np.ones(12) if window is None else definition.window_samples(window, 12, 12)
        segments = xi.frame(xp.asarray(x), 12, 5, window=window, padding=(2, 6))
        padded = np.pad(x, ((0, 0), (2, 6)))
        expected = np.stack([padded[:, m * 5 : m * 5 + 12] * w for m in range(10)], axis=-1)
        close(xp.to_numpy(segments), expected)
        total = np.zeros((2, 57), x.dtype)
        for m in range(10):
            total[:, m * 5 : m * 5 + 12] += expected[..., m]
        close(xp.to_numpy(xi.overlap_add(segments, 5, padding=(2, 6))), total[:, 2:-6])


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


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, np.int64(1)])
def test_the_samples_may_lie_along_any_axis(xp, axis, rng):
    x = rng.standard_normal((40, 50, 45))
    due = xi.stft(np.ascontiguousarray(np.moveaxis(x, axis, -1)), 16)
    np.testing.assert_allclose(xp.to_numpy(xi.stft(xp.asarray(x), 16, axis=axis)), due, atol=1e-12)
    frames = xi.frame(np.ascontiguousarray(np.moveaxis(x, axis, -1)), 16, 4)
    np.testing.assert_array_equal(xp.to_numpy(xi.frame(xp.asarray(x), 16, 4, axis=axis)), frames)


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


# ------------------------------------------------------------------ precision


def test_no_float64_over_float32_data(rng, monkeypatch):
    """Every FFT of float32 data is one of float32: what goes into NumPy's loops and comes out of them is single.

    NumPy's would take others; SciPy's, and MKL's, refuse a place of another precision.
    """
    seen = []

    class Watched:
        def __getattr__(self, name):
            def watched(x, factor, *, axes, out):
                seen.extend((x.dtype, factor.dtype, out.dtype))
                return getattr(loops, name)(x, factor, axes=axes, out=out)

            return watched

    with xi.fft_engine("numpy"):
        engine = engine_for(512, np.dtype("F"))
        loops = engine._loops
        monkeypatch.setattr(engine, "_loops", Watched())
        xi.istft(xi.stft(rng.standard_normal(20000).astype(np.float32), 512))
    assert len(seen) >= 6
    assert set(seen) == {np.dtype("f"), np.dtype("F")}


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_what_overflows_half_precision_stays_finite(rng):
    torch = pytest.importorskip("torch")
    t = 20000 * np.sin(np.arange(4000) / 3) + 1000 * rng.standard_normal(4000)  # in the scale of int16
    x = torch.from_numpy(t.astype(np.float16))
    X = xi.stft(x, 512)
    assert X.dtype == torch.complex64
    assert X.abs().max() > 65504
    torch.testing.assert_close(xi.istft(X, n_fft=512, length=4000), x.float(), rtol=0, atol=0.1)
    scaled = xi.stft(x, 512, scaling="spectrum").to(torch.complex32)
    y = xi.istft(scaled, n_fft=512, length=4000, scaling="spectrum")
    torch.testing.assert_close(y, x, rtol=0, atol=40)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_half_precision_computes_in_float32(rng):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(rng.uniform(-1, 1, (2, 400)).astype(np.float16))
    wide = xi.stft(x, 64)
    assert wide.dtype == torch.complex64
    assert xi.istft(wide).dtype == torch.float32
    X = torch.empty(wide.shape, dtype=torch.complex32)
    assert xi.stft(x, 64, out=X) is X
    assert torch.equal(torch.view_as_real(X), torch.view_as_real(wide.to(torch.complex32)))
    y = xi.istft(X)
    assert y.dtype == torch.float16
    assert float((y.float() - x[:, : y.shape[-1]].float()).abs().max()) < 4e-3
    out = torch.empty_like(y)
    assert xi.istft(X, out=out) is out
    assert torch.equal(out, y)
    assert xi.stft(x.to(torch.bfloat16), 64).dtype == torch.complex64
    # NumPy has no half spectra: complex64
    assert xi.stft(x.numpy(), 64).dtype == np.complex64
    np.testing.assert_array_equal(xi.stft(x.numpy(), 64), xi.stft(x.numpy().astype(np.float32), 64))


def test_half_precision_of_jax(rng):
    jnp = pytest.importorskip("jax.numpy")
    for dtype in (jnp.float16, jnp.bfloat16):
        x = jnp.asarray(rng.uniform(-1, 1, 400), dtype=dtype)
        assert xi.stft(x, 64).dtype == jnp.complex64


def test_foreign_byte_order_is_read(rng):
    X = xi.stft(rng.standard_normal(400), 64)
    y = xi.istft(X.astype(">c16"))
    assert y.dtype == np.float64
    assert y.dtype.isnative
    np.testing.assert_array_equal(y, xi.istft(X))


@pytest.mark.parametrize("factor", [1e-311, 1e300])
def test_extreme_values_stay_accurate(rng, factor):
    x = rng.uniform(-1, 1, 400)
    X = xi.stft(x, 64) * factor
    np.testing.assert_allclose(xi.istft(X) / factor, x, atol=1e-6 if factor < 1 else 1e-13)
