"""compat.librosa against librosa over random parameters."""

from __future__ import annotations

import inspect
import pickle
import sys
import warnings

import numpy as np
import pytest
from conformance import WINDOWS, Draw, assert_conforms, envelope, samples

import xp_istft as xi
from xp_istft.compat import librosa as ours

librosa = pytest.importorskip("librosa")


def sizes(draw: Draw) -> dict:
    n_fft = draw.integer("n_fft", 8, 80)
    win_length = draw.one("win_length", None, draw.integer("win_length", 4, n_fft))
    window = draw.one("window", *WINDOWS, np.hamming, 4.0)
    if draw.maybe(0.2):
        window = np.abs(draw.array((win_length or n_fft,), "float64")) + 0.1
    return {
        "n_fft": n_fft,
        "hop_length": draw.one("hop_length", None, draw.integer("hop_length", 1, win_length or n_fft)),
        "win_length": win_length,
        "window": window,
    }


def hop_of(options: dict) -> int:
    return options["hop_length"] or max(1, (options["win_length"] or options["n_fft"]) // 4)


@samples()
def test_stft(numbers):
    for number in numbers:
        draw = Draw(number, 5)
        options = sizes(draw)
        options["hop_length"] = hop_of(options)  # librosa's default is 0 for windows of 3 samples or less
        options["center"] = draw.one("center", True, False)
        options["pad_mode"] = draw.one("pad_mode", "constant", "reflect", "edge", "symmetric")
        y = draw.array((*draw.batch(), draw.integer("n_samples", options["n_fft"], 400)), draw.one("d", "f4", "f8"))
        options["dtype"] = draw.one("dtype", None, np.complex64, np.complex128)
        X = ours.stft(y, **options)
        if options["center"]:  # padded here: see test_the_last_frame_of_a_reflected_signal
            y = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(options["n_fft"] // 2,) * 2], mode=options["pad_mode"])
        assert_conforms(X, librosa.stft(y, **options | {"center": False}), draw)


@samples()
def test_istft(numbers):
    for number in numbers:
        draw = Draw(number, 6)
        options = sizes(draw)
        options["hop_length"] = hop = hop_of(options)
        n_fft, win_length = options["n_fft"], options["win_length"] or options["n_fft"]
        options["center"] = center = draw.one("center", True, False)
        n_frames = draw.integer("n_frames", 1 + -(-n_fft // hop), 30)
        whole = n_fft + hop * (n_frames - 1)
        options["length"] = draw.one("length", None, draw.integer("length", 8, whole + 8))
        X = draw.array((*draw.batch(), n_fft // 2 + 1, n_frames), draw.one("dtype", "complex64", "complex128"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = librosa.istft(X, **options)
            try:
                y = ours.istft(X, **options)
            except xi.NOLAError:  # librosa returns what it has, undivided
                assert envelope_of(options, win_length, n_fft, hop, n_frames).min() < 1e-20
                continue
        total = envelope_of(options, win_length, n_fft, hop, n_frames)[n_fft // 2 if center else 0 :][: y.shape[-1]]
        # librosa divides by float32 sums of squares: its own error grows where they are small
        known = np.zeros(y.shape[-1], bool)
        known[: total.size] = total > 1e-3 * total.max()
        assert_conforms(y, expected, draw, where=known)


def envelope_of(options: dict, win_length: int, n_fft: int, hop: int, n_frames: int) -> np.ndarray:
    samples = librosa.filters.get_window(options["window"], win_length)
    return envelope(librosa.util.pad_center(samples, size=n_fft), hop, n_frames)


@pytest.mark.parametrize("number", range(40))
def test_window_sumsquare(number):
    draw = Draw(number, 7)
    options = sizes(draw)
    options["hop_length"] = hop_of(options)
    options |= {
        "n_frames": draw.integer("n_frames", 1, 20),
        "dtype": draw.one("dtype", np.float32, np.float64),
        "norm": draw.one("norm", None, 1, 2, np.inf),
    }
    assert_conforms(ours.window_sumsquare(**options), librosa.filters.window_sumsquare(**options), draw)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "float32", "float64"])
@pytest.mark.parametrize("power", [1, 2, 0.5])
def test_magphase(rng, dtype, power):
    D = (rng.standard_normal((2, 5, 7)) + 1j * rng.standard_normal((2, 5, 7))).astype("complex128")
    D = D.astype(dtype) if dtype.startswith("complex") else D.real.astype(dtype)
    D[0, 0] = 0
    D[1, 1] = 1e-40  # denormal in single precision
    for mine, theirs in zip(ours.magphase(D, power=power), librosa.magphase(D, power=power), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-6 if dtype.endswith(("64", "32")) else 1e-12)


@pytest.mark.parametrize("number", range(20))
def test_griffinlim(number):
    """Random phases are librosa's where the seed is."""
    draw = Draw(number, 10)
    n_fft = draw.one("n_fft", 64, 65, 128)
    length = draw.one("length", None, 1000)
    y = draw.array((*draw.one("batch", (), (2,)), 1000), draw.one("dtype", "float32", "float64"))
    options = {
        "n_fft": n_fft,
        "hop_length": draw.one("hop_length", None, 13, 32),
        "win_length": draw.one("win_length", None, 60),
        "window": draw.one("window", "hann", "hamming"),
        "length": length,
        "pad_mode": draw.one("pad_mode", "constant", "reflect"),
    }
    S = np.abs(librosa.stft(y, **{name: options[name] for name in ("n_fft", "hop_length", "win_length", "window")}))
    options |= {"n_iter": draw.one("n_iter", 0, 1, 5), "momentum": draw.one("momentum", 0, 0.5, 0.99)}
    options["init"] = draw.one("init", "random", None)
    mine, theirs = ours.griffinlim(S, random_state=0, **options), librosa.griffinlim(S, random_state=0, **options)
    assert mine.dtype == theirs.dtype
    near = 1e-2 if y.dtype == "float32" else 1e-9  # an iteration turns a rounding error of small bins into a phase
    np.testing.assert_allclose(mine, theirs, atol=near * np.abs(theirs).max())


def test_griffinlim_judges_its_arguments(rng):
    S = np.abs(rng.standard_normal((33, 20)))
    with pytest.warns(UserWarning, match="momentum"):
        ours.griffinlim(S, momentum=1.1, n_iter=1)
    for name, value in (("momentum", -1.0), ("init", "pghi"), ("random_state", "x")):
        with pytest.raises((ValueError, TypeError)):
            ours.griffinlim(S, **{name: value})
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(ours.griffinlim(S, rng=3, n_iter=2), ours.griffinlim(S, rng=generator, n_iter=2))


@pytest.mark.parametrize("name", ["stft", "istft", "magphase"])
def test_signatures_are_librosas(name):
    mine, theirs = (inspect.signature(getattr(module, name)).parameters.values() for module in (ours, librosa))
    assert [(each.name, each.default, each.kind) for each in mine] == [
        (each.name, each.default, each.kind) for each in theirs
    ]


def test_out(rng):
    y = rng.standard_normal((2, 1000))
    longer = np.zeros((2, 65, 40), complex)
    X = ours.stft(y, n_fft=128, out=longer)
    assert X.base is longer
    np.testing.assert_array_equal(X, ours.stft(y, n_fft=128))
    signal = np.zeros((2, 1000), np.float32)
    assert ours.istft(X, length=1000, out=signal) is signal
    np.testing.assert_allclose(signal, y, atol=1e-6)
    for out, kind in ((np.zeros((2, 65, 3), complex), ValueError), (np.zeros((2, 65, 40)), TypeError)):
        with pytest.raises(kind, match="out"):
            ours.stft(y, n_fft=128, out=out)
    with pytest.raises(ValueError, match="out"):
        ours.istft(X, out=np.zeros((2, 5)))


def test_the_last_frame_of_a_reflected_signal(rng):
    """librosa reflects what the last frame reaches of the signal, even where that is too short to be reflected."""
    y = rng.standard_normal(297)
    options = {"n_fft": 6, "hop_length": 3, "window": np.hamming}
    expected = librosa.stft(np.pad(y, 3, mode="reflect"), center=False, **options)
    np.testing.assert_allclose(ours.stft(y, pad_mode="reflect", **options), expected, atol=1e-13)
    off = np.abs(librosa.stft(y, pad_mode="reflect", **options) - expected).max(axis=0)
    assert off[-1] > 1e-3
    assert off[:-1].max() < 1e-13


@pytest.mark.parametrize("pad_mode", ["wrap", "mean", "minimum", "maximum", "median"])
def test_pad_modes_that_librosa_refuses(pad_mode):
    for module in (ours, librosa):
        with pytest.raises((ValueError, librosa.ParameterError), match="pad_mode"):
            module.stft(np.zeros(4000), pad_mode=pad_mode)


def test_where_the_windows_leave_a_hole_librosa_is_silent(rng):
    X = rng.standard_normal((33, 9)) + 0j
    assert np.isfinite(librosa.istft(X, hop_length=64)).all()
    with pytest.raises(xi.NOLAError):
        ours.istft(X, hop_length=64)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ours.istft(np.ones((9, 3))), "istft: stft_matrix: need dtype complex64 or complex128, got float64"),
        (lambda: ours.istft(np.ones((9, 3), complex), n_fft=8), "istft: stft_matrix: need 5 bins"),
        (lambda: ours.stft(np.ones(99, int)), "stft: y: need dtype"),
        (lambda: ours.griffinlim(-np.ones((9, 3))), "griffinlim: S: need finite magnitudes >= 0"),
    ],
)
def test_errors_name_librosas_parameters(call, text):
    with pytest.raises((TypeError, ValueError), match=f"^{text}"):
        call()


def test_any_library(xp, rng):
    host = rng.standard_normal((2, 600))
    X = ours.stft(xp.asarray(host), n_fft=64, dtype=np.complex64)
    assert xp.owns(X)
    np.testing.assert_allclose(xp.to_numpy(X), librosa.stft(host, n_fft=64, dtype=np.complex64), atol=1e-5)
    y = ours.istft(ours.stft(xp.asarray(host), n_fft=64), length=600)
    np.testing.assert_allclose(xp.to_numpy(y), host, atol=1e-13)
    magnitude, phase = ours.magphase(X)
    assert xp.owns(magnitude)
    np.testing.assert_allclose(xp.to_numpy(magnitude * phase), xp.to_numpy(X), atol=1e-5)


def test_out_that_fits_is_returned_itself(rng):
    y = rng.standard_normal((2, 2048))
    X = ours.stft(y, n_fft=1023, hop_length=128)
    for call, out in (
        (lambda out: ours.stft(y, n_fft=1023, hop_length=128, out=out), np.empty_like(X)),
        (lambda out: ours.istft(X, n_fft=1023, hop_length=128, length=2048, out=out), np.empty((2, 2048))),
    ):
        assert call(out) is out


@pytest.mark.parametrize("win_length", [None, 300])
@pytest.mark.parametrize(
    "door",
    [
        lambda **window: ours.stft(np.zeros(1000), n_fft=384, **window),
        lambda **window: ours.istft(np.ones((193, 5), complex), hop_length=1, **window),
        lambda **window: ours.istft(np.ones((193, 5), complex), n_fft=384, hop_length=1, **window),
        lambda **window: ours.griffinlim(np.ones((193, 5)), hop_length=1, n_iter=1, **window),
        lambda **window: ours.griffinlim(np.ones((193, 5)), n_fft=384, hop_length=1, n_iter=1, **window),
        lambda **window: ours.window_sumsquare(n_frames=3, hop_length=1, n_fft=384, **window),
    ],
)
def test_a_window_array_of_another_length_is_refused(door, win_length):
    with pytest.raises(ValueError, match=f"window: need length {win_length or 384}"):
        door(window=np.ones(3), win_length=win_length)
    door(window=np.ones(win_length or 384), win_length=win_length)


def test_errors_are_librosas_where_librosa_is_loaded():
    """And stay of their own kind; also in another process."""
    for call, kind in (
        (lambda: ours.stft(np.zeros(9), hop_length=0), ValueError),
        (lambda: ours.istft(np.ones((9, 3))), TypeError),
        (lambda: ours.istft(np.ones((33, 9), complex), hop_length=64), xi.NOLAError),
        (lambda: ours.griffinlim(np.ones((9, 3)), rng=0, random_state=0), ValueError),
        (lambda: ours.magphase(None), TypeError),
        (lambda: ours.window_sumsquare(window="hann", n_frames=0), ValueError),
    ):
        with pytest.raises(librosa.ParameterError) as caught:
            call()
        assert isinstance(caught.value, kind)
        sent = pickle.loads(pickle.dumps(caught.value))
        assert (type(sent), sent.args) == (type(caught.value), caught.value.args)


def test_errors_are_pythons_where_librosa_is_not_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "librosa")
    with pytest.raises(ValueError, match="hop_length") as caught:
        ours.stft(np.zeros(9), hop_length=0)
    assert type(caught.value) is ValueError


def test_a_frame_longer_than_the_signal_is_warned_of():
    for module in (ours, librosa):
        with pytest.warns(UserWarning, match="^n_fft=2048 is too large for input signal of length=128$"):
            module.stft(np.zeros(128))


def test_sums_of_squares_are_those_of_windows_of_any_library():
    """Also of one that a gradient follows: the sums are NumPy's."""
    torch = pytest.importorskip("torch")
    window = np.hanning(18)[1:-1]
    expected = ours.window_sumsquare(window=window, n_frames=3, n_fft=16, hop_length=4)
    for each in (torch.from_numpy(window), torch.from_numpy(window).requires_grad_()):
        np.testing.assert_array_equal(ours.window_sumsquare(window=each, n_frames=3, n_fft=16, hop_length=4), expected)
