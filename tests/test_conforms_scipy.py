"""compat.scipy against scipy.signal over random parameters."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.signal
from conformance import WINDOWS, Draw, assert_conforms, envelope, samples

import xp_istft as xi
from xp_istft.compat import scipy as ours
from xp_istft.compat.scipy import ShortTimeFFT


def both(function, *arguments, **options):
    """Ours and SciPy's; their warnings are compared elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(ours, function)(*arguments, **options), getattr(scipy.signal, function)(*arguments, **options)


def segments(draw: Draw) -> dict:
    nperseg = draw.integer("nperseg", 3, 80)  # a line through two points leaves rounding noise
    options = {
        "nperseg": nperseg,
        "noverlap": draw.one("noverlap", None, 0, draw.integer("noverlap", 0, nperseg - 1)),
        "nfft": draw.one("nfft", None, nperseg + draw.integer("spare", 0, 20)),
        "fs": draw.one("fs", 1.0, 22050, 0.37),
        "scaling": draw.one("scaling", "spectrum", "psd"),
    }
    window = draw.one("window", *WINDOWS)
    options["window"] = draw.one("as", window, np.abs(draw.array((nperseg,), "float64")) + 0.1)
    return options


@samples()
def test_stft(numbers):
    for number in numbers:
        draw = Draw(number, 0)
        options = segments(draw)
        n_samples = draw.integer("n_samples", 2 * options["nperseg"], 500)
        shape = [*draw.batch(), n_samples]
        axis = draw.integer("axis", -len(shape), len(shape) - 1)
        shape[axis], shape[-1] = shape[-1], shape[axis]
        x = draw.array(tuple(shape), draw.one("dtype", "float32", "float64", "complex64", "complex128"))
        result, expected = both(
            "stft",
            x,
            axis=axis,
            return_onesided=draw.one("onesided", True, False),
            boundary=draw.one("boundary", "zeros", "even", "odd", "constant", None),
            padded=draw.one("padded", True, False),
            # SciPy fits lines in single precision to 2e-6
            detrend=draw.one("detrend", False, "constant", *(["linear"] if x.dtype.char in "dD" else [])),
            **options,
        )
        for mine, theirs in zip(result[:2], expected[:2], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-13, atol=1e-13)
        assert_conforms(result[2], expected[2], draw)


@samples()
def test_istft(numbers):
    for number in numbers:
        draw = Draw(number, 1)
        options = segments(draw)
        nperseg, onesided = options["nperseg"], draw.one("onesided", True, False)
        nfft = options["nfft"] or nperseg
        noverlap = nperseg // 2 if options["noverlap"] is None else options["noverlap"]
        n_frames, boundary = draw.integer("n_frames", 3, 12), draw.one("boundary", True, False)
        Z = draw.array(
            (*draw.batch(), nfft // 2 + 1 if onesided else nfft, n_frames),
            draw.one("dtype", "complex64", "complex128"),
        )
        freq_axis, time_axis = draw.one("axes", (-2, -1), (-1, -2), (0, Z.ndim - 1))
        Z = np.moveaxis(Z, (-2, -1), (freq_axis, time_axis))
        options["nfft"] = nfft
        (times, x), (their_times, expected) = both(
            "istft", Z, input_onesided=onesided, boundary=boundary, freq_axis=freq_axis, time_axis=time_axis, **options
        )
        along = time_axis % Z.ndim - (freq_axis % Z.ndim < time_axis % Z.ndim)
        x, expected = np.moveaxis(x, along, -1), np.moveaxis(expected, along, -1)
        window = options["window"]
        window = scipy.signal.get_window(window, nperseg) if isinstance(window, (str, tuple)) else window
        # SciPy leaves samples undivided where the squared windows sum to 1e-10 or less
        total = envelope(window, nperseg - noverlap, n_frames)
        known = (total[nperseg // 2 : -(nperseg // 2)] if boundary else total) > 1e-10
        if x.ndim == 1:  # SciPy counts the first axis
            np.testing.assert_allclose(times, their_times, rtol=1e-13)
        assert times.shape == (x.shape[-1],)
        assert_conforms(x, expected, draw, where=known)


@samples()
def test_short_time_fft(numbers):
    for number in numbers:
        draw = Draw(number, 2)
        size = draw.integer("m_num", 2, 60)
        hop = draw.integer("hop", 1, size)
        window = scipy.signal.get_window(draw.one("window", "hamming", "boxcar", ("tukey", 0.5), "cosine"), size) + 0.01
        mode = draw.one("fft_mode", "onesided", "onesided2X", "twosided", "centered")
        mfft = size + draw.one("spare", 0, 0, 1, 7)
        options = {
            "fs": draw.one("fs", 1.0, 8000.0, 0.3),
            "fft_mode": mode,
            "mfft": mfft,
            "scale_to": draw.one("scale_to", "magnitude", "psd", *([] if mode == "onesided2X" else [None])),
            "phase_shift": draw.one("phase_shift", None, 0, draw.integer("shift", 1 - mfft, mfft - 1)),
        }
        if draw.maybe(0.2) and mode in ("twosided", "centered"):
            window = window * np.exp(1j * draw.rng.random(size))
        if draw.maybe(0.2):
            options["dual_win"] = draw.array((size,), "float64")
        mine, theirs = ShortTimeFFT(window.copy(), hop, **options), scipy.signal.ShortTimeFFT(window, hop, **options)
        n = draw.integer("n", -(-size // 2), 300)
        dtype = draw.one("dtype", "float32", "float64", *(() if mine.onesided_fft else ("complex64", "complex128")))
        x = draw.array((*draw.batch(), n), dtype)
        k_offset = draw.one("k_offset", 0, draw.integer("k_offset", -size, size))
        padding = draw.one("padding", "zeros", "edge", "even", "odd")
        if padding != "zeros":  # else SciPy pads what is left of the signal after the first slices
            k_offset = min(k_offset, -mine.k_min)
        kept = {"k_offset": k_offset, "padding": padding}
        S = mine.stft(x, **kept)
        expected = theirs.stft(x.reshape(-1, n), **kept).reshape(S.shape)  # SciPy raises for 3 axes and mfft > m_num
        single = dtype in ("float32", "complex64")
        assert_conforms(S, expected, draw, dtype="complex64" if single else None)
        p0 = draw.integer("p0", mine.p_min, mine.p_max(n) - 1)
        p1 = draw.integer("p1", p0 + 1, mine.p_max(n))
        assert_conforms(mine.stft(x, p0, p1, **kept), S[..., p0 - mine.p_min : p1 - mine.p_min], draw)

        S = draw.array(S.shape, "complex64" if single else "complex128")  # that no signal has
        k1 = draw.integer("k1", -(-size // 2), mine.k_max(n))
        k0 = draw.integer("k0", 0, k1 - -(-size // 2))
        expected = theirs.istft(S, 0, k1)[..., k0:]  # SciPy raises where a slice ends before k0
        real = "float32" if mine.onesided_fft else "complex64"
        assert_conforms(mine.istft(S, k0, k1), expected, draw, dtype=real if single else None)


def test_istft_begins_before_the_signal_with_all_its_slices(rng):
    """SciPy leaves out slices that reach the first samples where k0 is negative."""
    x = rng.standard_normal(100)
    mine, theirs = (SFT(np.ones(8), 1, 1.0) for SFT in (ShortTimeFFT, scipy.signal.ShortTimeFFT))
    S = mine.stft(x)
    np.testing.assert_allclose(mine.istft(S, -1, 50)[1:], x[:50], atol=1e-13)
    assert np.abs(theirs.istft(S, -1, 50)[1:] - x[:50]).max() > 0.1


def test_times_of_a_batch_are_those_of_its_samples(rng):
    """SciPy's time vector counts the first axis."""
    Z = scipy.signal.stft(rng.standard_normal((2, 8000)))[2]
    times, x = ours.istft(Z)
    assert times.shape == (x.shape[-1],)
    assert scipy.signal.istft(Z)[0].shape == (2,)


def test_samples_under_no_window_weight_are_zero(rng):
    """SciPy returns them undivided: a masked spectrum reaches thousands there."""
    Z = scipy.signal.stft(rng.standard_normal(8000), nperseg=512, noverlap=384, boundary=None)[2]
    Z[rng.random(Z.shape) < 0.5] = 0
    with pytest.warns(xi.CoverageWarning):
        _, x = ours.istft(Z, nperseg=512, noverlap=384, boundary=False)
    assert x[0] == 0


def test_any_library(xp, rng):
    host = rng.standard_normal((2, 600))
    x = xp.asarray(host)
    _, _, Z = ours.stft(x, nperseg=64, detrend="linear", boundary="odd")
    assert xp.owns(Z)
    np.testing.assert_allclose(
        xp.to_numpy(Z), scipy.signal.stft(host, nperseg=64, detrend="linear", boundary="odd")[2], atol=1e-13
    )
    times, y = ours.istft(ours.stft(x, nperseg=64)[2], nperseg=64)
    assert xp.owns(y)
    assert xp.owns(times)
    np.testing.assert_allclose(xp.to_numpy(y)[:, :600], host, atol=1e-13)
    options = dict(fft_mode="centered", scale_to="psd", phase_shift=3)
    mine, theirs = (SFT(np.hamming(32), 8, 100.0, **options) for SFT in (ShortTimeFFT, scipy.signal.ShortTimeFFT))
    S = mine.stft(x, padding="even")
    np.testing.assert_allclose(xp.to_numpy(S), theirs.stft(host, padding="even"), atol=1e-13)
    np.testing.assert_allclose(xp.to_numpy(mine.istft(S, 5, 600)), host[:, 5:], atol=1e-13)
    np.testing.assert_allclose(xp.to_numpy(mine.spectrogram(x)), theirs.spectrogram(host), atol=1e-13)
    cross = theirs.spectrogram(host, host[:, ::-1], "constant")
    np.testing.assert_allclose(
        xp.to_numpy(mine.spectrogram(x, xp.asarray(host[:, ::-1].copy()), "constant")), cross, atol=1e-13
    )


def test_windows_of_the_caller_stay_writeable():
    """SciPy locks the arrays that it is given."""
    window = np.ones(8)
    ShortTimeFFT(window, 4, 1.0, dual_win=window)
    window[0] = 2


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ours.istft(np.ones((9, 0), complex)), "^istft: Zxx: need at least 2 segments"),
        (lambda: ours.stft(np.ones(600, "O")), "^stft: x: need"),
    ],
)
def test_errors_name_scipys_parameters(call, text):
    with pytest.raises((TypeError, ValueError), match=text):
        call()
