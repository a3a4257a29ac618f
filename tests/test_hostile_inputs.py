"""Every row of the table in hostile.py on every function that it applies to, on every array library."""

from __future__ import annotations

import itertools
import math
import random

import hostile
import numpy as np
import pytest
from hostile import BASE, GOOD, ROWS, Refused, spectrum
from hostile_functions import FUNCTIONS, cases, holds, kind_of

import xp_istft as xi
from xp_istft import blocks
from xp_istft.compat import jax as compat_jax
from xp_istft.compat import librosa, scipy

CASES = cases("numpy", "torch", "jax", "array_api_strict", "dask")


@pytest.mark.whole_grid
@pytest.mark.parametrize(("row", "function", "xp"), CASES, indirect=["xp"])
def test_row(row, function, xp):
    holds(row, function, xp)


def test_every_row_is_tried_on_some_function():
    tried = {case.values[0] for case in (*CASES, *cases("fake_cupy"))}  # the last in tests/cuda
    assert [row.what for row in ROWS if row not in tried] == []
    exempt = {what for function in FUNCTIONS for each in function.exempt.values() for what in each.split("; ")}
    assert exempt <= {row.what for row in ROWS}


# ------------------------------------------------------------------ rows that need more than one call or one library


def test_windows_are_taken_by_value_but_those_that_are_followed():
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(spectrum())
    for window in (hostile.HANN, torch.from_numpy(hostile.HANN.copy())):
        for data in (X, spectrum()):
            y = xi.istft(data, hop_length=64, window=window)
            assert type(y) is type(data)
            np.testing.assert_allclose(y, hostile.signal(2), atol=1e-12)
    followed = torch.hann_window(256, dtype=torch.float64, requires_grad=True)
    with pytest.raises(TypeError, match="^istft: window: need a name, or an array of NumPy or of the library of the"):
        xi.istft(spectrum(), window=followed)
    with pytest.raises(ValueError, match=r"^istft: window: need the device of the data \(cpu\), got meta"):
        xi.istft(X, window=torch.ones(256, device="meta"))


def test_lazy_views_of_torch():
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(spectrum().conj()).conj()
    assert X.is_conj()
    np.testing.assert_allclose(xi.istft(X, hop_length=64), hostile.signal(2), atol=1e-12)
    negative = torch.from_numpy(hostile.signal(2) + 0j).conj().imag.resolve_conj() + torch.from_numpy(
        -hostile.signal(2)
    )
    np.testing.assert_allclose(xi.stft(torch._neg_view(negative), 256, hop_length=64), spectrum(), atol=1e-11)


def test_sparse_tensors_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="^istft: X: need a dense tensor, got layout torch.sparse_coo"):
        xi.istft(torch.from_numpy(spectrum()).to_sparse())


def test_caches_never_take_one_type_for_another():
    """1, 1.0 and True are equal, and hash alike."""
    X, x = spectrum(), hostile.signal(2)
    for parameter, good, wrong in (
        ("hop_length", 64, 64.0), ("hop_length", 1, True), ("padding", (1, 1), (1.0, 1.0)), ("padding", (1, 1), (True, 1)),
        ("center", True, 1), ("win_length", 256, 256.0), ("n_fft", 256, 256.0), ("length", 1, True),
        ("length", 2000, 2000.0), ("max_gain", 1, True),
    ):  # fmt: skip
        for name, function, data in (("istft", xi.istft, X), ("stft", xi.stft, x)):
            if name == "istft" or parameter not in ("length", "max_gain"):
                function(data, **{**BASE, parameter: good})
                with pytest.raises(TypeError, match=f"^{name}: {parameter}: need "):
                    function(data, **{**BASE, parameter: wrong})


def test_checks_run_before_any_work():
    """A wrong argument beside a result that no memory holds: the argument is named."""
    wide = np.broadcast_to(spectrum()[:1], (2**40, 129, 33))
    with pytest.raises(ValueError, match="^istft: workers: need >= 1, got 0"):
        xi.istft(wide, workers=0)
    with pytest.raises(ValueError, match=r"^istft: out: need shape \(1099511627776, 2048\), got \(1,\)"):
        xi.istft(wide, out=np.zeros(1), hop_length=64)


def test_unknown_chunks_are_refused():
    array = pytest.importorskip("dask.array")
    X = array.ones((4, 129, 33), chunks=(1, 129, 11), dtype=complex)
    with pytest.raises(ValueError, match=r"^istft: X: need known chunk sizes, .*compute_chunk_sizes\(\)"):
        xi.istft(X[X[:, 0, 0].real > 0])


SINGLE = {
    "frame of integers": (lambda: xi.frame(np.arange(9), 4, 2), TypeError, r"frame: x: need dtype float32, .*, got int64"),
    "frame of too few": (lambda: xi.frame(np.ones(3), 4, 2), ValueError, r"frame: x: need at least 4 samples .*, got 3"),
    "overlap_add 1-d": (lambda: xi.overlap_add(np.ones(4), 2), ValueError, r"overlap_add: segments: need at least 2"),
    "overlap_add none": (lambda: xi.overlap_add(np.ones((4, 0)), 2), ValueError, r"overlap_add: segments: need at least 1 frame"),
    **{
        f"padding beyond the frames, {name}": (call, ValueError, rf"{name}: padding: need < [0-9]+ samples before the signal, .*, got 1099511627776$")
        for name, call in (
            ("istft", lambda: xi.istft(spectrum(), hop_length=64, padding=2**40, length=10)),
            ("istft", lambda: xi.istft(spectrum(), hop_length=64, padding=(2**40, 0))),
            ("coverage", lambda: xi.STFT(256, 64, padding=2**40).coverage(33, 10)),
            ("overlap_add", lambda: xi.overlap_add(np.ones((256, 3)), 64, padding=2**40, length=10)),
        )
    },
    "a hole of magnitudes": (
        lambda: xi.griffin_lim(abs(spectrum()), xi.STFT(256, 300)), xi.NOLAError, "griffin_lim: hop_length: need <= win_length=256, else"
    ),
    "coverage": (lambda: xi.STFT(8).coverage(0), ValueError, r"coverage: n_frames: need >= 1, got 0"),
    "coverage of float16": (
        lambda: xi.STFT(8).coverage(9, dtype="f2"), ValueError, r"coverage: dtype: need 'float32' or 'float64'"
    ),
    "a tuple of parts": (lambda: xi.istft((np.ones((129, 33)),) * 2), TypeError, r"istft: X: need an array of NumPy, .*, got tuple"),
    "no solver": (lambda: xi.STFT(solver=None), TypeError, r"STFT: solver: need xp_istft.Dual, .*, got NoneType"),
    **{
        f"{name} without a padding mode": (lambda call=call: call(np.ones(99)), TypeError, rf"{name}: pad_mode: need .*, got None")
        for name, call in (
            ("stft", lambda x: xi.stft(x, 16, pad_mode=None)), ("frame", lambda x: xi.frame(x, 16, 4, pad_mode=None)))
    },
    "no bins, no n_fft": (lambda: xi.istft(spectrum()[:, :0]), ValueError, r"istft: X: need at least 2 bins, or n_fft=, got 0"),
    "blocks of integers": (
        lambda: list(blocks.stft_blocks(lambda lo, hi: np.arange(lo, hi), xi.STFT(256).analysis("stft", 999, "float64"))),
        TypeError,
        r"stft: x: need dtype float32 or float64, got int64",
    ),
    "blocks of reals": (
        lambda: list(blocks.istft_blocks(lambda lo, hi: np.ones((129, hi - lo)), xi.STFT(256).synthesis("istft", 9, None, "complex128").job)),
        TypeError,
        r"istft: X: need dtype complex64 or complex128, got float64",
    ),
    **{
        f"a state of {what}": (lambda state=state: setattr(xi.StreamingISTFT(xi.STFT(256)), "state", state), kind, f"StreamingISTFT: state: need {text}")
        for what, state, kind, text in (
            ("None", None, TypeError, "an array and a number, as state gives them, got NoneType"),
            ("one", (None,), TypeError, "an array and a number"), ("a list", ([1.0], 3), TypeError, "an array, got list"),
            ("3 sums", (np.zeros(3), 1), ValueError, r"sums of 191 samples, .*, got shape \(3,\)"),
            ("integers", (np.zeros(191, int), 1), TypeError, "a floating dtype, real or complex, got int64"),
            ("-1 frames", (np.zeros(191), -1), ValueError, ">= 0, got -1"),
            ("too many", (np.zeros(191), 2**70), ValueError, "<= the longest stream="),
        )
    },
    **{
        f"a state of samples, {what}": (lambda state=state: setattr(xi.StreamingSTFT(xi.STFT(256)), "state", state), kind, f"StreamingSTFT: state: need {text}")
        for what, state, kind, text in (
            ("a word", ("samples", 3), TypeError, "an array, got str"),
            ("too many", (np.zeros((2, 300)), 100), ValueError, r"228 samples after 100, .*, got shape \(2, 300\)"),
        )
    },
    "a step from nothing": (lambda: xi.StreamingISTFT(xi.STFT(256)).step(None, spectrum()), TypeError, "StreamingISTFT: state: need an array and"),
    "a step from 3 samples": (
        lambda: xi.StreamingSTFT(xi.STFT(256)).step(np.zeros((2, 3)), hostile.signal(2)), ValueError,
        "StreamingSTFT: state: need [0-9]+ samples, as of initial_state, got shape",
    ),
    "no samples to reflect": (
        lambda: xi.stft(hostile.signal(2)[:, :0], 256, pad_mode="reflect"), ValueError,
        "stft: x: need at least 1 sample for pad_mode='reflect', got 0",
    ),
    "convergence of two libraries": (
        lambda: xi.spectral_convergence(np.ones((129, 9)), pytest.importorskip("torch").ones(129, 9)), TypeError,
        "spectral_convergence: X: need an array of the library of S .ndarray., got Tensor",
    ),
    "pairs of 3": (lambda: xi.as_complex(np.ones((2, 3))), ValueError, r"as_complex: real: need a last axis of 2 \(pairs\)"),
    "pairs of ints": (lambda: xi.as_complex(np.ones((2, 2), int)), TypeError, r"as_complex: real: need dtype float32"),
    "polar list": (lambda: xi.from_polar([1.0], np.ones(1)), TypeError, r"from_polar: magnitude: need an array of NumPy"),
    "freq_scale": (lambda: xi.iSTFT(freq_scale="x"), ValueError, r"iSTFT: freq_scale: need 'no' or .*, got 'x'"),
    "fmin of a scale": (lambda: xi.iSTFT(freq_scale="log", fmin=0), ValueError, r"iSTFT: fmin: need > 0, got 0"),
    "freq_bins": (lambda: xi.iSTFT(freq_bins=1026), ValueError, r"iSTFT: freq_bins: need <= 1025, or 2048 .* for n_fft=2048 .*, got 1026"),
    "sr": (lambda: xi.iSTFT(sr="44k"), TypeError, r"iSTFT: sr: need a number, got '44k'"),
    "trainable": (lambda: xi.iSTFT(trainable_window=True), ValueError, r"iSTFT: trainable_window: need False, got True"),
    "refresh_win": (lambda: xi.iSTFT(refresh_win=1), TypeError, r"iSTFT: refresh_win: need a bool, got 1"),
    **{f"sr {sr} of bins": (lambda sr=sr: xi.STFT(8).bin_frequencies(sr=sr), ValueError, r"bin_frequencies: sr: need ") for sr in (0, -1)},
    "sr of other bins": (
        lambda: xi.STFT(256, frequencies=hostile.GRID).bin_frequencies(sr=16000), ValueError, "bin_frequencies: sr: need None, or .*8000"
    ),
    "dual of a name": (lambda: xi.dual_window("hann", 4), TypeError, r"dual_window: win_length: need an integer for a window"),
    "dual with a hole": (lambda: xi.dual_window(hostile.HANN, 256), xi.NOLAError, r"dual_window: window: need overlap > 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", SINGLE)
def test_what_a_single_function_refuses(case):
    call, kind, text = SINGLE[case]
    with pytest.raises(kind, match=f"^{text}") as caught:
        call()
    assert kind_of(caught.value) is kind


PEERS_OWN = (
    *(("stft", {name: value}, kind) for name, value, kind in (
        ("nperseg", 256.5, TypeError), ("nperseg", "256", TypeError), ("nperseg", True, TypeError), ("nfft", 300.5, TypeError),
        ("noverlap", 63.5, TypeError), ("noverlap", "64", TypeError), ("fs", 0, ValueError), ("fs", -1, ValueError),
        ("fs", math.nan, ValueError), ("fs", "8k", TypeError), ("fs", 1j, TypeError), ("fs", None, TypeError),
        ("boundary", "mirror", ValueError), ("boundary", [1], TypeError), ("padded", "no", TypeError),
        ("detrend", "x", ValueError), ("detrend", True, TypeError), ("axis", 5, ValueError), ("axis", 1.0, TypeError),
        ("return_onesided", "no", TypeError))),
    *(("istft", {name: value}, kind) for name, value, kind in (
        ("nperseg", 256.5, TypeError), ("noverlap", 63.5, TypeError), ("nfft", "256", TypeError), ("fs", 0, ValueError),
        ("fs", "8k", TypeError), ("boundary", "no", ValueError), ("boundary", 1, TypeError), ("time_axis", 5, ValueError),
        ("freq_axis", -4, ValueError), ("time_axis", 1.5, TypeError), ("time_axis", -2, ValueError),
        ("input_onesided", 1, TypeError))),
)  # fmt: skip


@pytest.mark.parametrize("peer", [scipy, compat_jax], ids=["scipy", "jax"])
@pytest.mark.parametrize(("function", "wrong", "kind"), PEERS_OWN, ids=str)
def test_what_scipy_cuts_wraps_or_lets_through_is_refused(peer, function, wrong, kind):
    data = hostile.signal(2) if function == "stft" else spectrum()
    (name,) = wrong
    with pytest.raises(kind, match=rf"(?i)\b{name}\b.*\bgot\b|\bgot\b.*\b{name}\b"):
        getattr(peer, function)(data, **{"nperseg": 256, **wrong})


SLICES = scipy.ShortTimeFFT(hostile.HANN, 64, 1.0)
SLIDING = (
    *((lambda name=name, value=value: scipy.ShortTimeFFT(**{"win": hostile.HANN, "hop": 64, "fs": 1.0, name: value}), kind, name)
      for name, value, kind in (
          ("win", None, ValueError), ("win", ["a", "b"], TypeError), ("win", [np.nan], ValueError), ("hop", True, ValueError),
          ("fs", "8k", TypeError), ("fs", math.nan, ValueError), ("fs", True, TypeError), ("mfft", 256.5, TypeError),
          ("mfft", "256", TypeError), ("phase_shift", True, ValueError), ("dual_win", ["a"] * 256, TypeError))),
    *((lambda name=name, value=value: SLICES.stft(hostile.signal(2), **{name: value}), kind, name)
      for name, value, kind in (
          ("p0", 1.5, TypeError), ("p1", "9", TypeError), ("k_offset", 1.5, TypeError), ("axis", 5, ValueError),
          ("axis", 1.5, TypeError), ("padding", "x", ValueError))),
    *((lambda name=name, value=value: SLICES.istft(np.ones((2, 129, 35), complex), **{name: value}), kind, name)
      for name, value, kind in (
          ("k0", 1.5, TypeError), ("k1", "a", TypeError), ("k1", 1e3, TypeError), ("f_axis", 5, ValueError),
          ("t_axis", 1.5, TypeError), ("t_axis", 1, ValueError))),
    (lambda: SLICES.stft(None), TypeError, "x"),
    (lambda: SLICES.stft(np.float64(1)), ValueError, "x"),
    (lambda: SLICES.istft(None), TypeError, "S"),
    (lambda: SLICES.istft(np.ones((2, 129, 35)).astype(str)), TypeError, "S"),
    (lambda: SLICES.istft(np.ones(129)), ValueError, "S"),
    (lambda: SLICES.spectrogram(hostile.signal(2), hostile.signal(2)[:, :900]), ValueError, "y"),
    (lambda: SLICES.p_max(1000.5), TypeError, "integer"),
)  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "name"), SLIDING)
def test_what_a_sliding_transform_refuses(call, kind, name):
    with pytest.raises(kind, match=rf"\b{name}\b"):
        call()


LIBROSAS = (
    *((librosa.stft, {"y": hostile.signal(2), "dtype": value}, TypeError, "stft: dtype") for value in ("x", np.float32, int)),
    (librosa.stft, {"y": hostile.signal(2), "out": [0.0]}, TypeError, "stft: out"),
    *((librosa.istft, {"stft_matrix": spectrum(), "dtype": value}, TypeError, "istft: dtype") for value in ("x", complex, int)),
    (librosa.griffinlim, {"S": None}, TypeError, "griffinlim: S"),
    (librosa.griffinlim, {"S": np.ones((129, 9)), "momentum": "a"}, TypeError, "griffinlim: momentum"),
    (librosa.griffinlim, {"S": np.ones((129, 9)), "dtype": complex}, TypeError, "griffinlim: dtype"),
    (librosa.magphase, {"D": None}, TypeError, "magphase: D"),
    (librosa.magphase, {"D": spectrum(), "power": "a"}, TypeError, "magphase: power"),
    *((librosa.window_sumsquare, {"window": "hann", "n_frames": 3, name: value}, ValueError, f"window_sumsquare: {name}")
      for name, value in (("win_length", 0), ("win_length", 9999), ("hop_length", 0), ("n_fft", 0))),
)  # fmt: skip


@pytest.mark.parametrize(("function", "given", "kind", "text"), LIBROSAS)
def test_what_librosas_functions_refuse(function, given, kind, text):
    positional = [given[name] for name in ("y", "stft_matrix", "S", "D") if name in given]
    named = {name: value for name, value in given.items() if name not in ("y", "stft_matrix", "S", "D")}
    with pytest.raises(kind, match=f"^{text}: need "):
        function(*positional, **named)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("init", ["zero", "random"])
def test_magnitudes_on_the_host_are_looked_at_whatever_the_start(init, value):
    S = np.where(np.arange(33) == 5, value, np.ones((129, 33)))
    tensor = pytest.importorskip("torch").from_numpy(S)
    for magnitudes in (S, tensor, tensor.clone().requires_grad_()):
        with pytest.raises(ValueError, match=f"^griffin_lim: S: need finite magnitudes >= 0, got {value}$"):
            xi.griffin_lim(magnitudes, n_iter=1, init=init)


def test_magnitudes_that_would_be_waited_for_are_not_looked_at():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    S = np.ones((1, 129, 9), np.float32)
    kept = {"n_iter": 1, "init": "zero", "length": 500}
    want = xi.griffin_lim(S, **kept)
    tensor = torch.from_numpy(S)
    np.testing.assert_allclose(torch.func.vmap(lambda S: xi.griffin_lim(S, **kept))(tensor), want, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda S: xi.griffin_lim(S, **kept))(S), want, atol=1e-5)


def test_parts_of_two_libraries_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="^as_complex: imag: need the library of real"):
        xi.as_complex(np.ones(3), torch.ones(3))
    with pytest.raises(TypeError, match="^from_polar: phase: need the library of magnitude"):
        xi.from_polar(np.ones(3), torch.ones(3))


def test_two_wrong_arguments_are_an_error_that_names_one():
    """Pairs of broken parameters never fail inside: the error is one of ours."""
    istft = FUNCTIONS[0]
    wrong = [row for row in ROWS if isinstance(row.outcome, Refused) and istft.takes_part(row) and row.parameters]
    pairs = list(itertools.combinations(wrong, 2))
    for one, other in random.Random(0).sample(pairs, 500):
        data = (one.data or other.data or GOOD["spectrum"])()
        with pytest.raises((TypeError, ValueError, MemoryError), match=r"^istft: \w+: need "):
            xi.istft(data, **{**BASE, **one.parameters, **other.parameters})


def test_a_hop_that_no_memory_holds_is_said_where_samples_between_frames_are_asked_for():
    X, given = spectrum()[..., :2], {"center": False, "window": "hamming"}
    with pytest.raises(
        MemoryError, match=r"^istft: memory: need 8796093022208 bytes for the gain of hop_length=1099511"
    ):
        xi.istft(X, hop_length=2**40, nola="zero", **given)
    first = xi.istft(X, hop_length=2**40, length=200, **given)
    np.testing.assert_array_equal(first, xi.istft(X[..., :1], hop_length=256, length=200, **given))


def said(kind, function, *arguments, **options):
    with pytest.raises(kind) as caught:
        function(*arguments, **options)
    return str(caught.value)


def test_hints_are_given_where_they_help_alone():
    pairs = "join the pairs first"
    assert pairs in said(TypeError, xi.istft, np.ones((5, 4, 2)))
    for array in (np.ones((5, 4)), np.ones((2, 4)), np.ones((2, 4, 2), int)):
        assert pairs not in said(TypeError, xi.istft, array)
    assert "scale integers to floats first" in said(TypeError, xi.stft, np.ones(20, int))
    assert "scale integers" not in said(TypeError, xi.stft, np.ones(20, "datetime64[s]"))
    options = {"n_fft": 16, "frequencies": xi.linear_frequencies(7, 0, 4000, 8000)}
    swapped = "are the last two axes swapped?"
    assert swapped in said(ValueError, xi.istft, np.ones((20, 7), complex), **options)
    assert swapped not in said(ValueError, xi.istft, np.ones((20, 8), complex), **options)
    for name in ("trainable_kernels", "trainable_window"):
        assert f"{name}: need False, got True; xp_istft.compat.nnaudio.iSTFT trains" in said(
            ValueError, xi.iSTFT, **{name: True}
        )


# ------------------------------------------------------------------ windows of any scale

EDGES = {"float32": 256 * 2.0**-103, "float64": 256 * 2.0**-970}


def scaled(function, array, scale):
    window = scale * hostile.HANN
    if function is xi.istft:
        return xi.istft(array, hop_length=64, window=window)
    return xi.stft(array, 256, hop_length=64, window=window)


@pytest.mark.parametrize("function", [xi.stft, xi.istft])
@pytest.mark.parametrize("precision", EDGES)
def test_a_window_that_the_precision_does_not_hold_is_refused_by_name(xp, function, precision):
    """Neither NaN nor a foreign warning, for empty batches as for others."""
    if not xp.double:
        pytest.skip("no float64 in mlx")
    host = hostile.signal(2) if function is xi.stft else spectrum()
    array = xp.asarray(host.astype(np.result_type(precision, np.complex64) if function is xi.istft else precision))
    edge = EDGES[precision]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for scale in (
            edge / 1.01,
            1.01 / edge,
            edge / 2**30,
            2.0**-1040,
            2.0**1000 if precision == "float32" else 2.0**1020,
        ):
            for each in (array, array[:0, ...]):
                with pytest.raises(
                    ValueError, match=rf"^{function.__name__}: window: need a peak from .* for \w+ and n_fft=256, got"
                ):
                    scaled(function, each, scale)


@pytest.mark.parametrize("precision", EDGES)
def test_a_window_of_any_other_scale_is_undone(xp, precision):
    if not xp.double:
        pytest.skip("no float64 in mlx")
    x = hostile.signal(2).astype(precision)
    edge, tol = EDGES[precision], {"float32": 2e-5, "float64": 1e-12}[precision]
    for scale in (2 * edge, 2.0**20 * edge, 2.0**-20 / edge, 0.5 / edge):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            y = scaled(xi.istft, scaled(xi.stft, xp.asarray(x), scale), scale)
        np.testing.assert_allclose(xp.to_numpy(y), x, rtol=0, atol=tol)


@pytest.mark.parametrize("scaling", ["spectrum", "psd", "ortho"])
@pytest.mark.parametrize("scale", [2.0**-900, 2.0**900])
def test_squares_of_a_window_neither_vanish_nor_overflow(scale, scaling):
    x = hostile.signal(2)
    kept = {"n_fft": 256, "hop_length": 64, "scaling": scaling}
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        X = xi.stft(x, **kept, window=scale * hostile.HAMMING)
        np.testing.assert_allclose(xi.istft(X, **kept, window=scale * hostile.HAMMING), x, atol=1e-12)
        factor = scale if scaling == "ortho" else 1
        np.testing.assert_allclose(X / factor, xi.stft(x, **kept, window=hostile.HAMMING), atol=1e-12)
        for function in (xi.dual_window, xi.tight_window):
            one, other = (function(each * hostile.HAMMING, 64) for each in (1, scale))
            np.testing.assert_allclose(other * (scale if function is xi.dual_window else 1), one, rtol=1e-12)
        S = abs(xi.stft(x, 256, hop_length=64))
        alone, same = (xi.pghi(S, xi.STFT(256, 64, window=each * hostile.HANN)) for each in (1, scale))
        np.testing.assert_allclose(alone, same, atol=1e-12)
    _, _, Z = scipy.stft(x, window=scale * hostile.HANN, scaling="psd" if scaling == "psd" else "spectrum")
    np.testing.assert_allclose(
        Z, scipy.stft(x, window=hostile.HANN, scaling="psd" if scaling == "psd" else "spectrum")[2], atol=1e-12
    )


def test_no_padding_is_a_copy_as_every_other(xp):
    x = xp.asarray(np.arange(6.0).astype("f" if not xp.double else "d"))
    y = xi.pad(x, 0, 0)
    np.testing.assert_array_equal(xp.to_numpy(y), np.arange(6.0))
    if xp.writeable:
        y[...] = 7
        np.testing.assert_array_equal(xp.to_numpy(x), np.arange(6.0))
