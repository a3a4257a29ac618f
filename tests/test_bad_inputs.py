"""What each bad input gets: one row a case, the exception's type and its text."""

from __future__ import annotations

import numpy as np
import pytest

import xp_istft as xi

HANN = np.hanning(257)[:-1]
NAN = np.where(np.arange(256) == 100, np.nan, HANN)


class Thing:
    def __array__(self, dtype=None, copy=None):
        return np.zeros((129, 9), complex)


def X(*shape, dtype=complex):
    return np.ones(shape or (2, 129, 33), dtype)


# what it is: (X, parameters beside n_fft=256 and hop_length=64, exception, text)
ISTFT = {
    "0-d": (X()[0, 0, 0:1].reshape(()), {}, ValueError, r"X: need at least 2 dimensions .*, got shape \(\)"),
    "1-d": (X(129), {}, ValueError, r"X: need at least 2 dimensions .*, got shape \(129,\)"),
    "no frames": (X(2, 129, 0), {}, ValueError, r"X: need at least 1 frame, got shape \(2, 129, 0\)"),
    "one centred frame": (X(2, 129, 1), {}, ValueError, r"X: need 2 frames or a length= .*, got 1 frame$"),
    "no bins": (X(2, 0, 33), {}, ValueError, r"X: need 129 bins for n_fft=256, got 0$"),
    "no bins, no n_fft": (X(2, 0, 33), {"n_fft": None}, ValueError, r"X: need at least 2 bins, or n_fft=, got 0"),
    "too few bins": (X(), {"n_fft": 512}, ValueError, r"X: need 257 bins for n_fft=512, got 129$"),
    "too many bins": (X(2, 513, 33), {}, ValueError, r"X: need 129 bins for n_fft=256, got 513$"),
    "axes swapped": (X(2, 33, 129), {}, ValueError, r"X: .*got 33; are the last two axes swapped\?"),
    "two-sided": (X(2, 256, 9), {}, ValueError, r"X: .*got 256; for two-sided data pass onesided=False"),
    "one-sided": (X(), {"onesided": False}, ValueError, r"X: need 256 bins for n_fft=256, onesided=False, got 129"),
    "pairs": (X(2, 129, 33, 2, dtype=float), {}, TypeError, r"X: .*got float64 with last axis 2; .*as_complex\(X\)"),
    "one part": ((X(dtype="f4"),), {}, ValueError, r"X: need .* a tuple of real and imaginary parts, got 1 items"),
    "complex parts": ((X(), X()), {}, TypeError, r"X: need dtype float32 or float64, got complex"),
    "parts of two dtypes": ((X(dtype="f4"), X(dtype="f8")), {}, ValueError, r"X: need parts of one .*float32.*float64"),
    "parts of two shapes": ((X(dtype="f4"), X(3, 129, 33, dtype="f4")), {}, ValueError, r"X: need parts of one"),
    "n_fft 1": (X(2, 1, 9), {"n_fft": 1}, ValueError, r"n_fft: need >= 2, got 1"),
    "float32": (X(dtype="f4"), {}, TypeError, r"X: need dtype complex64 or complex128, got float32$"),
    "int32": (X(dtype="i4"), {}, TypeError, r"X: need dtype complex64 or complex128, got int32"),
    "bool": (X(dtype=bool), {}, TypeError, r"X: .*got bool"),
    "object": (X().astype(object), {}, TypeError, r"X: .*got object"),
    "strings": (X().astype(str), {}, TypeError, r"X: .*got <U"),
    "structured": (X().view([("re", "f8"), ("im", "f8")]), {}, TypeError, r"X: .*got \[\('re', '<f8'\)"),
    "float16": (X(dtype="f2"), {}, TypeError, r"X: .*got float16"),
    "long double": (X(dtype=np.clongdouble), {}, TypeError, r"X: .*got c"),
    "hop 0": (X(), {"hop_length": 0}, ValueError, r"hop_length: need >= 1, got 0"),
    "hop -64": (X(), {"hop_length": -64}, ValueError, r"hop_length: need >= 1, got -64"),
    "hop 64.0": (X(), {"hop_length": 64.0}, TypeError, r"hop_length: need an integer, got 64.0"),
    "hop '64'": (X(), {"hop_length": "64"}, TypeError, r"hop_length: need an integer, got '64'"),
    "hop True": (X(), {"hop_length": True}, TypeError, r"hop_length: need an integer, got True"),
    "hop list": (X(), {"hop_length": [64]}, TypeError, r"hop_length: need an integer, got \[64\]"),
    "hop array": (X(), {"hop_length": np.ones(2)}, TypeError, r"hop_length: need an integer, got ndarray of shape \(2,\)"),
    "hop > n_fft": (X(), {"hop_length": 300}, xi.NOLAError, r"hop_length: need <= win_length=256, .*, got 300"),
    "hop 2**40": (X(2, 129, 2), {"hop_length": 2**40}, xi.NOLAError, r"hop_length: need <= win_length=256, .*, got 10995"),
    "n_fft 0": (X(), {"n_fft": 0}, ValueError, r"n_fft: need >= 2, got 0"),
    "n_fft -256": (X(), {"n_fft": -256}, ValueError, r"n_fft: need >= 2, got -256"),
    "n_fft 256.5": (X(), {"n_fft": 256.5}, TypeError, r"n_fft: need an integer, got 256.5"),
    "win_length > n_fft": (X(), {"win_length": 512}, ValueError, r"win_length: need <= n_fft=256, got 512"),
    "win_length 0": (X(), {"win_length": 0}, ValueError, r"win_length: need >= 1, got 0"),
    "win_length 199.5": (X(), {"win_length": 199.5}, TypeError, r"win_length: need an integer, got 199.5"),
    "hop > win_length": (X(), {"win_length": 80, "hop_length": 100}, xi.NOLAError, r"hop_length: need <= win_length=80"),
    "short window": (X(), {"window": HANN[:200], "win_length": 256}, ValueError, r"window: need length 256, got 200"),
    "long window": (X(), {"window": np.ones(300)}, ValueError, r"window: need length 256, got 300"),
    "window 2-d": (X(), {"window": HANN[None]}, ValueError, r"window: need 1 dimension, got shape \(1, 256\)"),
    "window column": (X(), {"window": HANN[:, None]}, ValueError, r"window: need 1 dimension, got shape \(256, 1\)"),
    "complex window": (X(), {"window": HANN + 0j}, TypeError, r"window: need a real dtype, got complex128"),
    "window NaN": (X(), {"window": NAN}, ValueError, r"window: need finite values, got nan at index 100"),
    "window zeros": (X(), {"window": 0 * HANN}, xi.NOLAError, r"window: need a non-zero sample, got all zeros"),
    "window 'hannn'": (X(), {"window": "hannn"}, ValueError, r"window: need a known name \(did you mean 'hann'\?\), got"),
    "window 'kaiser'": (X(), {"window": "kaiser"}, ValueError, r"window: need a window that scipy can make, got 'kaiser'"),
    "window ()": (X(), {"window": ()}, ValueError, r"window: need a known name, got \(\)"),
    "window None": (X(), {"window": None}, TypeError, r"window: need a name or an array \('boxcar' for none\), got None"),
    "window object": (X(), {"window": object()}, TypeError, r"window: need a name, or an array of NumPy"),
    "window or bins": (X(), {"n_fft": None, "window": np.ones(300)}, ValueError, r"window: need length 256 \(from 129 bins\), got 300"),
    "synthesis zeros": (X(), {"synthesis_window": 0 * HANN}, xi.NOLAError, r"synthesis_window: need a non-zero sample"),
    "synthesis size": (X(), {"synthesis_window": np.ones(5)}, ValueError, r"synthesis_window: need length 256, got 5"),
    "length 0": (X(), {"length": 0}, ValueError, r"length: need >= 1, got 0"),
    "length -10": (X(), {"length": -10}, ValueError, r"length: need >= 1, got -10"),
    "length 2**50": (X(), {"length": 2**50}, ValueError, r"length: need <= 4608 \(2 x covered \+ n_fft\), got 1125899"),
    "length 1000.5": (X(), {"length": 1000.5}, TypeError, r"length: need an integer, got 1000.5"),
    "length []": (X(), {"length": []}, TypeError, r"length: need an integer, got \[\]"),
    "center 'no'": (X(), {"center": "no"}, TypeError, r"center: need a bool, got 'no'"),
    "center 1": (X(), {"center": 1}, TypeError, r"center: need a bool, got 1"),
    "onesided 'no'": (X(), {"onesided": "no"}, TypeError, r"onesided: need a bool, got 'no'"),
    "real 'no'": (X(), {"real": "no"}, TypeError, r"real: need a bool, got 'no'"),
    "one-sided complex": (X(), {"real": False}, ValueError, r"real: need True for a one-sided .*; pass onesided=False"),
    "padding": (X(), {"padding": "valid"}, ValueError, r"padding: need 'same' or 'full', got 'valid'"),
    "padding pair": (X(), {"padding": (1.0, 2)}, TypeError, r"padding: need an integer, got 1.0"),
    "padding triple": (X(), {"padding": (1, 2, 3)}, TypeError, r"padding: need an integer, got \(1, 2, 3\)"),
    "padding -1": (X(), {"padding": -1}, ValueError, r"padding: need >= 0, got -1"),
    "scaling": (X(), {"scaling": "power"}, ValueError, r"scaling: need None or 'ortho' or .*, got 'power'"),
    "scaling True": (X(), {"scaling": True}, TypeError, r"scaling: need None or .*, got True"),
    "scaling by 0": (
        X(), {"scaling": "spectrum", "window": np.where(np.arange(256) < 128, -1, 1)}, ValueError,
        r"window: need a sum other than 0",
    ),
    "nola": (X(), {"nola": "keep"}, ValueError, r"nola: need 'warn' or 'raise' or 'zero', got 'keep'"),
    "max_gain 0.5": (X(), {"max_gain": 0.5}, ValueError, r"max_gain: need a finite number >= 1, got 0.5"),
    "max_gain nan": (X(), {"max_gain": float("nan")}, ValueError, r"max_gain: need a finite number >= 1, got nan"),
    "max_gain '2'": (X(), {"max_gain": "2"}, TypeError, r"max_gain: need a number, got '2'"),
    "axes 3": (X(), {"axes": (0, 1, 2)}, ValueError, r"axes: need 2 axes, got 3"),
    "axes same": (X(), {"axes": (1, -2)}, ValueError, r"axes: need different axes, got \(1, -2\)"),
    "axes far": (X(), {"axes": (1, 5)}, ValueError, r"axes: need axes of an array with 3 dimensions, got 5"),
    "axes 1.0": (X(), {"axes": (1, 2.0)}, TypeError, r"axes: need an integer, got 2.0"),
    "workers 0": (X(), {"workers": 0}, ValueError, r"workers: need >= 1, got 0"),
    "workers 1.5": (X(), {"workers": 1.5}, TypeError, r"workers: need an integer, got 1.5"),
    "frequencies": (X(), {"frequencies": np.ones(129)}, TypeError, r"frequencies: need xp_istft.Frequencies or .*"),
    "method": (X(), {"method": "exact"}, ValueError, r"method: need 'auto'.*, got 'exact'"),
    "masked": (np.ma.masked_array(X()), {}, TypeError, r"X: need an array of NumPy, .*, got MaskedArray; fill it first"),
    "lists": (X().tolist(), {}, TypeError, r"X: need an array of NumPy, .*, got list"),
    "None": (None, {}, TypeError, r"X: need an array of NumPy, .*, got NoneType"),
    "str": ("spectrum.npy", {}, TypeError, r"X: need an array of NumPy, .*, got str"),
    "scalar": (np.complex128(1), {}, TypeError, r"X: need an array of NumPy, .*, got complex128"),
    "object with __array__": (Thing(), {}, TypeError, r"X: need an array of NumPy, .*, got Thing"),
    "out shape": (X(), {"out": np.zeros((2, 2000))}, ValueError, r"out: need shape \(2, 2048\), got \(2, 2000\)"),
    "out dtype": (X(), {"out": np.zeros((2, 2048), "i4")}, TypeError, r"out: need dtype float64, got int32"),
    "out byte order": (X(), {"out": np.zeros((2, 2048), ">f8")}, TypeError, r"out: need dtype float64, got >f8"),
    "out list": (X(), {"out": [0.0]}, TypeError, r"out: need a NumPy array as the input, got list"),
    "out rows overlap": (
        X(), {"out": np.lib.stride_tricks.as_strided(np.zeros(2048), (2, 2048), (0, 8))}, ValueError,
        r"out: need memory of its own, got rows that overlap",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ISTFT)
def test_istft_refuses(case):
    spectrum, parameters, kind, text = ISTFT[case]
    with pytest.raises(kind, match=f"^istft: {text}") as caught:
        xi.istft(spectrum, **{"n_fft": 256, "hop_length": 64, **parameters})
    assert type(caught.value) is kind


x = np.ones((2, 2000))
STFT = {
    "0-d": (np.array(1.0), {}, ValueError, r"x: need at least 1 dimension \(..., samples\), got shape \(\)"),
    "no samples": (
        np.ones((2, 0)),
        {"center": False},
        ValueError,
        r"x: need at least 256 samples for n_fft=256, got 0",
    ),
    "too short": (np.ones(255), {"center": False}, ValueError, r"x: need at least 256 samples for n_fft=256, got 255"),
    "empty, same": (np.ones(0), {"padding": "same"}, ValueError, r"x: need at least .* samples for n_fft=256, got 0"),
    "int16": (x.astype("i2"), {}, TypeError, r"x: need dtype float32 or float64, got int16; scale integers"),
    "bool": (x.astype(bool), {}, TypeError, r"x: need dtype float32 or float64, got bool"),
    "long double": (x.astype(np.longdouble), {}, TypeError, r"x: need dtype float32 or float64, got float"),
    "complex": (x + 0j, {}, TypeError, r"x: need a real signal, got complex128; for a complex one pass onesided=False"),
    "list": ([1.0], {}, TypeError, r"x: need an array of NumPy, .*, got list"),
    "pad_mode": (x, {"pad_mode": "mirror"}, ValueError, r"pad_mode: need 'constant' or 'reflect' or .*, got 'mirror'"),
    "pad_mode None": (x, {"pad_mode": None}, TypeError, r"pad_mode: need 'constant' or .*, got None"),
    "axis": (x, {"axis": 2}, ValueError, r"axis: need axes of an array with 2 dimensions, got 2"),
    "axes": (x, {"axes": (0, 3)}, ValueError, r"axes: need axes of an array with 3 dimensions, got 3"),
    "hop": (x, {"hop_length": 0}, ValueError, r"hop_length: need >= 1, got 0"),
    "workers": (x, {"workers": "2"}, TypeError, r"workers: need an integer, got '2'"),
    "window": (x, {"window": "haming"}, ValueError, r"window: .*did you mean 'hamming'\?\), got 'haming'"),
    "out": (
        x,
        {"out": np.zeros((2, 129, 9), complex)},
        ValueError,
        r"out: need shape \(2, 129, 32\), got \(2, 129, 9\)",
    ),
}


@pytest.mark.parametrize("case", STFT)
def test_stft_refuses(case):
    signal, parameters, kind, text = STFT[case]
    with pytest.raises(kind, match=f"^stft: {text}") as caught:
        xi.stft(signal, **{"n_fft": 256, "hop_length": 64, **parameters})
    assert type(caught.value) is kind


OTHERS = {
    "frame int": (lambda: xi.frame(np.arange(9), 4, 2), TypeError, r"frame: x: need dtype float32, .*, got int64"),
    "frame short": (lambda: xi.frame(np.ones(3), 4, 2), ValueError, r"frame: x: need at least 4 samples .*, got 3"),
    "overlap_add 1-d": (lambda: xi.overlap_add(np.ones(4), 2), ValueError, r"overlap_add: segments: need at least 2"),
    "overlap_add none": (lambda: xi.overlap_add(np.ones((4, 0)), 2), ValueError, r"segments: need at least 1 frame"),
    "coverage": (lambda: xi.coverage(0, 8), ValueError, r"coverage: n_frames: need >= 1, got 0"),
    "coverage dtype": (
        lambda: xi.coverage(9, 8, dtype="f4"),
        ValueError,
        r"coverage: dtype: need 'float32' or 'float64'",
    ),
    "pairs of 3": (
        lambda: xi.as_complex(np.ones((2, 3))),
        ValueError,
        r"as_complex: real: need a last axis of 2 \(pairs\)",
    ),
    "pairs of ints": (lambda: xi.as_complex(np.ones((2, 2), int)), TypeError, r"as_complex: real: need dtype float32"),
    "polar list": (
        lambda: xi.from_polar([1.0], np.ones(1)),
        TypeError,
        r"from_polar: magnitude: need an array of NumPy",
    ),
    "freq_scale": (
        lambda: xi.iSTFT(freq_scale="log", fmin=0),
        ValueError,
        r"iSTFT: fmin: need > 0, got 0",
    ),
    "freq_scale 'x'": (lambda: xi.iSTFT(freq_scale="x"), ValueError, r"iSTFT: freq_scale: need 'no' or .*, got 'x'"),
    "freq_bins": (
        lambda: xi.iSTFT(freq_bins=1026),
        ValueError,
        r"iSTFT: freq_bins: need <= 1025, or 2048 .* for n_fft=2048 .*, got 1026",
    ),
    "sr": (lambda: xi.iSTFT(sr="44k"), TypeError, r"iSTFT: sr: need a number, got '44k'"),
    "trainable": (
        lambda: xi.iSTFT(trainable_window=True),
        ValueError,
        r"iSTFT: trainable_window: need False, got True",
    ),
    "refresh_win": (lambda: xi.iSTFT(refresh_win=1), TypeError, r"iSTFT: refresh_win: need a bool, got 1"),
    "sr of bins": (
        lambda: xi.bin_frequencies(8, sr=-1),
        ValueError,
        r"bin_frequencies: sr: need a finite number >= 0, got -1",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_others_refuse(case):
    call, kind, text = OTHERS[case]
    with pytest.raises(kind, match=text):
        call()


def test_checks_run_before_any_work():
    """A wrong argument beside a result that no memory holds: the argument is named."""
    wide = np.broadcast_to(np.ones((1, 129, 33), complex), (2**40, 129, 33))
    with pytest.raises(ValueError, match="istft: workers: need >= 1, got 0"):
        xi.istft(wide, workers=0)


def test_too_large_a_result_says_how_many_bytes():
    wide = np.broadcast_to(np.ones((1, 129, 33), complex), (2**40, 129, 33))
    with pytest.raises(MemoryError, match=rf"istft: memory: need {2**40 * 2048 * 8} bytes for the result of shape"):
        xi.istft(wide)
    narrow = np.broadcast_to(np.ones((1, 2048)), (2**40, 2048))
    with pytest.raises(MemoryError, match="stft: memory: need .* bytes for the result of shape"):
        xi.stft(narrow, 256)


def test_integers_of_any_type_count_alike():
    signal = np.random.default_rng(0).standard_normal(64 * 600)
    X = xi.stft(signal, np.int32(256), hop_length=np.int16(64))
    y = xi.istft(X, n_fft=np.int64(256), hop_length=np.int16(64), win_length=np.uint16(256), length=np.int32(38400))
    np.testing.assert_allclose(y, signal, atol=1e-13)


def test_an_integral_float_is_refused_even_after_the_integer():
    xi.istft(X(), hop_length=64)
    for wrong in (64.0, np.float64(64)):
        with pytest.raises(TypeError, match="hop_length: need an integer"):
            xi.istft(X(), hop_length=wrong)
    xi.istft(X(), hop_length=64, padding=(1, 1))
    with pytest.raises(TypeError, match="padding: need an integer"):
        xi.istft(X(), hop_length=64, padding=(1.0, 1.0))
    xi.istft(X(2, 129, 33), center=True)
    with pytest.raises(TypeError, match="center: need a bool"):
        xi.istft(X(2, 129, 33), center=1)


def test_out_may_be_any_view_but_not_of_the_input():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((2, 129, 33, 2)).view(complex)[..., 0]
    big = np.full((2, 4096), 7.0)
    xi.istft(Z, hop_length=64, out=big[:, ::2])
    np.testing.assert_array_equal(big[:, ::2], xi.istft(Z, hop_length=64))
    assert (big[:, 1::2] == 7).all()
    with pytest.raises(ValueError, match="istft: out: need memory of its own, got one that overlaps the input"):
        xi.istft(Z, hop_length=64, out=Z.view(float).reshape(-1)[:4096].reshape(2, 2048))
    out = np.zeros((2, 2048))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="istft: out: need a writeable array, got a read-only one"):
        xi.istft(Z, hop_length=64, out=out)


def test_foreign_windows_and_results(rng):
    torch = pytest.importorskip("torch")
    Z = xi.stft(rng.standard_normal(2048), 256)
    with pytest.raises(
        TypeError, match="istft: window: need a name, or an array of NumPy or of the library of the data"
    ):
        xi.istft(Z, window=torch.hann_window(256))
    with pytest.raises(ValueError, match=r"istft: window: need the device of the data \(cpu\), got meta"):
        xi.istft(torch.from_numpy(Z), window=torch.ones(256, device="meta"))
    with pytest.raises(TypeError, match="istft: out: need a NumPy array as the input, got Tensor"):
        xi.istft(Z, out=torch.zeros(2048))
    with pytest.raises(TypeError, match="istft: out: need .*Tensor as the input, got numpy.ndarray"):
        xi.istft(torch.from_numpy(Z), out=np.zeros(2048))
    with pytest.raises(ValueError, match="istft: out: need the device of the input"):
        xi.istft(torch.from_numpy(Z), out=torch.zeros(2048, dtype=torch.float64, device="meta"))
    with pytest.raises(TypeError, match=r"istft: X: need a dense tensor, got layout torch.sparse_coo"):
        xi.istft(torch.from_numpy(Z).to_sparse())
    with pytest.raises(TypeError, match="as_complex: imag: need the library of real"):
        xi.as_complex(np.ones(3), torch.ones(3))
    with pytest.raises(TypeError, match="from_polar: phase: need the library of magnitude"):
        xi.from_polar(np.ones(3), torch.ones(3))


def test_torch_results_are_not_written_where_they_may_not_be(rng):
    torch = pytest.importorskip("torch")
    Z = torch.from_numpy(xi.stft(rng.standard_normal((2, 2048)), 256)).contiguous()
    with pytest.raises(ValueError, match="out: need memory of its own, got rows that overlap"):
        xi.istft(Z, out=torch.zeros(2048, dtype=torch.float64).expand(2, 2048))
    with pytest.raises(ValueError, match="out: need a tensor that requires no gradient"):
        xi.istft(Z, out=torch.zeros(2, 2048, dtype=torch.float64, requires_grad=True))
    overlapping = torch.view_as_real(Z).flatten()[:4096].reshape(2, 2048)
    with pytest.raises(ValueError, match="out: need memory of its own, got one that overlaps the input"):
        xi.istft(Z, out=overlapping)


def test_unknown_chunks_are_refused():
    da = pytest.importorskip("dask.array")
    Z = da.ones((4, 129, 33), chunks=(1, 129, 11), dtype=complex)
    with pytest.raises(ValueError, match=r"istft: X: need known chunk sizes, .*compute_chunk_sizes\(\)"):
        xi.istft(Z[Z[:, 0, 0].real > 0])


def test_an_unknown_keyword_is_pythons_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'hop'"):
        xi.istft(X(), hop=64)
