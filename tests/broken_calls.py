"""Calls with one argument that is wrong: every parameter of every public function, in every mode, on every library.

A `Door` is a function with arguments that are right, in the terms of hostile.py. What is wrong for a parameter follows
from its name: KINDS says which of VALUES, and of a few of its own, a parameter cannot be.
"""

from __future__ import annotations

import decimal
import enum
import fractions
import functools
import importlib.util
import inspect
import math
import pathlib
import random
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hostile
import numpy as np
import scipy.signal
from hostile import ALL, BASE, GRID, STREAMED, signal, spectrum

import xp_istft as xi
from xp_istft.compat import jax as compat_jax
from xp_istft.compat import librosa
from xp_istft.compat import scipy as compat_scipy
from xp_istft.compat import torch as compat_torch

# ------------------------------------------------------------------ values


class Hostile:
    """Raises whatever it is asked for."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise KeyError("hostile")

    __array__ = __bool__ = __eq__ = __float__ = __index__ = __int__ = __iter__ = __len__ = _refuse
    __getitem__ = __repr__ = __str__ = __hash__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse


class Half:
    """Says that it is an integer, and is none."""

    def __index__(self) -> Any:
        return 2.5


class Colour(enum.Enum):
    RED = "hann"


class Vast(int):
    """An integer that lies about what it is equal to."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


VALUES: dict[str, Any] = {
    "None": None, "True": True, "False": False, "bool_": np.True_, "-1": -1, "-64": -64, "-2**70": -(2**70),
    "int64 of -3": np.int64(-3), "2.5": 2.5, "-0.5": -0.5, "64.0": 64.0, "float64": np.float64(64), "nan": math.nan, "inf": math.inf, "-inf": -math.inf,
    "1j": 1j, "complex64": np.complex64(1), "empty text": "", "text": "bogus", "text of a number": "64", "NumPy text": np.str_("bogus"),
    "long text": "x" * 10_000, "zero byte": "hann\0", "bytes": b"hann", "bytearray": bytearray(b"64"), "empty list": [],
    "list of text": ["a"], "ragged list": [[1], [2, 3]], "empty tuple": (), "tuple of text": ("a", "b"), "tuple of floats": (1.0, 2.0),
    "tuple of 3": (1, 2, 3), "tuple of bools": (True, False), "tuple of None": (None, None), "dict": {}, "dict of numbers": {1: 2}, "set": {3},
    "object": object(), "class": object, "Ellipsis": ..., "NotImplemented": NotImplemented, "slice": slice(3), "range": range(0),
    "exception": ValueError("64"), "iterator": iter(()), "module": np, "path": pathlib.Path("hann"), "Fraction": fractions.Fraction(5, 2),
    "Decimal": decimal.Decimal("2.5"), "Enum": Colour.RED, "hostile": Hostile(), "no integer": Half(),
    "0-d float": np.array(2.5), "0-d text": np.array("a"), "0-d bool": np.array(True), "0-d object": np.array(None),
    "two integers": np.array([1, 2]), "two floats": np.array([1.5, 2.5]), "array of nothing": np.array([]), "2 x 2": np.zeros((2, 2)),
    "array of text": np.array(["a", "b"]), "array of objects": np.array([None, 3]), "records": np.zeros(2, "i4, f8"),
    "masked": np.ma.masked_array([1.0, 2.0], [0, 1]), "masked integer": np.ma.masked_array(64, True), "masked constant": np.ma.masked,
    "date": np.datetime64("2020-01-01"), "time": np.timedelta64(3), "void": np.void(b"64"), "dtype": np.dtype("f8"), "dtype i4": np.dtype("i4"),
    "RandomState": np.random.RandomState(0), "thing": hostile.Thing(),
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Which of VALUES are right, by their names, and what else is wrong."""

    right: frozenset[str] = frozenset()
    wrong: dict[str, Any] = field(default_factory=dict)

    def values(self, optional: bool) -> dict[str, Any]:
        right = self.right | ({"None"} if optional else set())
        return {name: value for name, value in {**VALUES, **self.wrong}.items() if name not in right}


def kind(*right: str, **wrong: Any) -> Kind:
    return Kind(frozenset(right), {name.replace("_", " "): value for name, value in wrong.items()})


_WINDOW = np.hanning(257)[:-1]
_INTEGERS = ("-1", "-64", "-2**70", "int64 of -3")
_NUMBERS = ("-1", "-64", "int64 of -3", "2.5", "-0.5", "64.0", "float64", "-2**70")
COUNT = kind(zero=0)
KINDS = {
    "size": COUNT,
    "n_fft": kind(zero=0, one=1),
    "count": kind(),  # from 0 on
    "integer": kind(*_INTEGERS),
    "axis": kind("-1", beyond=9, far_below=-9),
    "axes": kind(
        one=(0,), three=(-1, -2, -3), twice=(-1, -1), same=(-1, 99), floats=(-2.0, -1.0), text="ab", beyond=(-9, -1), number=0
    ),
    "flag": kind("True", "False", "bool_", one=1, zero=0, word="yes", one_element=np.array([True])),
    "flag or None": kind("True", "False", "bool_", one=1, zero=0, word="yes", one_element=np.array([True])),
    "window": kind(
        "two integers", "two floats",
        "None", complex=_WINDOW + 0j, nan=np.full(256, np.nan), infinite=np.full(256, np.inf), two_axes=_WINDOW[None],
        text_samples=_WINDOW.astype(str), masked_samples=np.ma.masked_array(_WINDOW, _WINDOW > 0.5), masked_nothing=np.ma.masked_array(_WINDOW), dates=np.zeros(256, "M8[s]"),
        object_samples=_WINDOW.astype(object), records_of_samples=np.zeros(256, "f8, f8"), bools=_WINDOW > 0.5,
        list_of_text=["1"] * 256, list_of_None=[None] * 256, no_such=("kaiser",), unknown=("bogus", 3), text_parameter=("kaiser", "8"),
        nan_parameter=("kaiser", math.nan), none_parameter=("kaiser", None), huge_parameter=("chebwin", 1e5), raises=lambda n: 1 / 0, gives_None=lambda n: None,
        gives_text=lambda n: "hann", gives_complex=lambda n: 1j * np.ones(n), gives_too_few=lambda n: np.ones(n + 1), takes_nothing=lambda: np.ones(256),
    ),
    "padding": kind(one=(1,), negative=(-1, 0), negative_after=(0, -1), floats=(0.5, 1), word="center", nested=((1, 2), 3), array=np.array([1, 2])),
    "choice": kind(upper="CONSTANT", number=3, listed=["constant"]),
    "choice or None": kind(upper="ORTHO", number=3, listed=["ortho"]),
    "frequencies": kind(hz=np.arange(129.0), listed=[1.0, 2.0], real_basis=np.ones((129, 256)), other_size=np.ones((129, 255), complex),
                        nan=np.full((129, 256), np.nan + 0j), no_bins=np.ones((0, 256), complex), masked_basis=np.ma.masked_array(np.ones((129, 256), complex))),
    "solver": kind(word="dual", number=3, class_itself=xi.Dual, instance_of_other=xi.GLA()),
    "gain": kind("2.5", "64.0", "float64", half=0.5, zero=0),
    "data": kind(int8=np.ones((2, 129, 33), np.int8), strings=np.ones((129, 33)).astype(str), objects=np.ones((129, 33), object), masked_data=np.ma.masked_array(np.ones((129, 33), complex)),
                 masked_reals=np.ma.masked_array(np.ones((129, 33))), matrix=hostile.matrix(np.ones((129, 33), complex)), long_double=np.ones((129, 33), np.clongdouble), scalar=np.complex128(1),
                 bools=np.ones((129, 33), bool), lists=[[1.0, 2.0]], dates=np.zeros((129, 33), "M8[s]")),
    "out": kind(other_shape=np.zeros((7, 7)), read_only=hostile.read_only(np.zeros((2, 2048))), masked_out=np.ma.zeros((2, 2048)), masked_spectrum=np.ma.zeros((2, 129, 33), complex),
                shared=np.lib.stride_tricks.as_strided(np.zeros(2048), (2, 2048), (0, 8)), integers=np.zeros((2, 2048), int), float32=np.zeros((2, 2048), "f4")),
    "number": kind(*_NUMBERS),
    "number from 0": kind("2.5", "64.0", "float64"),
    "number from 0 or None": kind("2.5", "64.0", "float64"),
    "number above 0": kind("2.5", "64.0", "float64", zero=0, zero_float=0.0),
    "rng": kind(list_of_integers=[1, 2], seed_sequence=np.random.SeedSequence(3)),
    "callback": kind("class", word="print"),
    "model": kind("class", word="print"),
    "algorithm": kind(upper="GLA", class_itself=xi.GLA, solver=xi.Dual()),
    "init": kind(upper="PGHI", integers=np.ones((2, 129, 33), int), other_shape=np.ones((2, 129, 9)), masked_phases=np.ma.masked_array(np.ones((2, 129, 33)))),
    "transform": kind(n_fft=256, name="hann", fields={"n_fft": 256}, class_itself=xi.STFT, solver=xi.Dual()),
    "precision": kind(upper="FLOAT64", half="float16", dtype=np.float32),
    "dtype": kind("dtype", integer="int32", listed=["float32"], record="f4,f4"),
    "hz": kind("two integers", "two floats", "tuple of floats", "tuple of 3", falling=[3.0, 1.0], negative=[-1.0, 5.0], beyond=[1.0, 99999.0], nan=[1.0, math.nan], text=["1", "2"], masked_hz=np.ma.masked_array([1.0, 2.0]),
               complex=[1j, 2.0], two_axes=[[1.0, 2.0]], bools=[False, True], arrays_of_complex=np.array([1 + 1j, 2 + 0j])),
    "weights": kind("two floats", "two integers", "tuple of floats", "tuple of 3", "array of integers", upper="Density", zeros=np.zeros(129), negative=-np.ones(129), nan=np.full(129, np.nan), text_weights=np.ones(129).astype(str),
                    masked_weights=np.ma.masked_array(np.ones(129)), complex=np.ones(129) + 0j, bools=np.ones(129, bool), two_axes=np.ones((2, 129)), listed_text=["1", "2"]),
    "regularization": kind("2.5", "64.0", "float64", upper="BAND", negative=-1e-9),
    "fraction": kind(above=1.5),
    "engine": kind(upper="NUMPY", unknown="fftw"),
    "lengths": kind("two integers", too_long=np.array([2048, 99999]), negative_length=np.array([5, -1]), three_items=np.array([5, 5, 5]), bools=np.array([True, False]), whole_floats=np.array([64.0, 128.0]),
                    masked_lengths=np.ma.masked_array([64, 128], [0, 1]), text_lengths=["64", "128"], ragged_lengths=[[1], [2, 3]], complex_lengths=np.array([64 + 0j, 128])),
    "state": kind(list_of_one=[1.0], three=(1, 2, 3), text=("sums", 3), integers=(np.zeros(191, int), 1), negative=(np.zeros(191), -1), endless=(np.zeros(191), 2**70), masked_state=(np.ma.zeros(191), 1)),
}  # fmt: skip

# The kind of a parameter, by its name; a door may say otherwise.
OF = {
    "n_fft": "n_fft", "hop_length": "size", "win_length": "size", "window": "window", "synthesis_window": "window", "center": "flag", "padding": "padding",
    "pad_mode": "choice", "onesided": "flag", "scaling": "choice or None", "frequencies": "frequencies", "solver": "solver", "nola": "choice", "max_gain": "gain",
    "length": "size", "lengths": "lengths", "axis": "axis", "axes": "axes", "out": "out", "workers": "size", "X": "data", "x": "signal", "S": "data", "segments": "segments",
    "n_iter": "count", "algorithm": "algorithm", "init": "init", "rng": "rng", "tol": "number from 0", "callback": "callback", "progress": "callback", "model": "model", "segment": "size", "overlap": "count", "batch": "size", "normalize": "flag", "transform": "transform", "lookahead": "count", "missing": "choice",
    "n_frames": "size", "n_samples": "size", "dtype": "precision", "sr": "number above 0", "weights": "weights", "regularization": "regularization",
    "maxiter": "size", "momentum": "number from 0", "beta": "fraction", "rho": "number above 0", "first": "algorithm value", "second": "algorithm value",
    "hz": "hz", "n": "size", "fmin": "number from 0", "fmax": "number above 0", "origin": "integer", "before": "count", "after": "count", "mode": "choice", "real": "data",
    "imag": "data", "magnitude": "data", "phase": "data", "synthesis_length": "size", "engine": "engine", "state": "state", "freq_bins": "size",
    "freq_scale": "choice", "trainable_kernels": "flag", "trainable_window": "flag", "trainable_synthesis_window": "flag", "export": "flag", "output_format": "choice", "verbose": "flag",
    "refresh_win": "flag", "trainable": "flag", "iSTFT": "flag",
    "y": "data", "stft_matrix": "data", "D": "data", "power": "number", "norm": "norm", "input": "data", "normalized": "flag", "return_complex": "flag",
    "align_to_window": "flag", "strict": "flag", "legacy": "flag", "random_state": "rng",
    "Zxx": "data", "fs": "number above 0", "nperseg": "size", "noverlap": "integer", "nfft": "n_fft", "detrend": "choice", "return_onesided": "flag", "input_onesided": "flag",
    "boundary": "choice", "padded": "flag", "time_axis": "axis", "freq_axis": "axis",
    "decibels": "number above 0", "reference": "number from 0", "colorbar": "flag", "ax": "data", "ylabel": "choice", "values": "data",
    "rate": "number above 0", "phases": "choice", "n_mels": "size", "scale": "choice", "bands": "bands", "M": "data",
}  # fmt: skip
KINDS["any lengths"] = Kind(
    KINDS["lengths"].right | {"tuple of 3"},
    {name: value for name, value in KINDS["lengths"].wrong.items() if name not in ("too long", "three items")},
)
KINDS["axis from the last"] = kind("-1", "-64", "int64 of -3", "-2**70", zero=0)
KINDS["algorithm value"] = kind(name="gla", class_itself=xi.GLA, solver=xi.Dual())


# ------------------------------------------------------------------ doors


@dataclass(frozen=True, eq=False)
class Door:
    """`call(**arguments)`, whose errors begin with `says`.

    of       : the public function or method that it is the door of
    modes    : arguments of calls that work, of the library's `asarray`
    optional : parameters that may be None
    kinds    : of parameters, where not as in OF
    words    : the errors are a peer's, and name the parameter somewhere
    also     : parameters that may be named in place of another, which goes together with them
    """

    name: str
    call: Callable[..., Any]
    of: Callable[..., Any]
    says: str
    parameters: tuple[str, ...]
    modes: dict[str, Callable[[Any], dict[str, Any]]]
    libraries: tuple[str, ...] = ("numpy",)
    optional: frozenset[str] = frozenset()
    kinds: dict[str, str] = field(default_factory=dict)
    words: bool = False
    also: dict[str, str] = field(default_factory=dict)

    def values(self, parameter: str) -> dict[str, Any]:
        return KINDS[self.kinds[parameter] if parameter in self.kinds else OF[parameter]].values(
            parameter in self.optional
        )

    def wrong(self) -> Iterator[tuple[str, str, Any]]:
        """(parameter, name of a value, value) of each argument that is wrong."""
        for parameter in self.parameters:
            for name, value in self.values(parameter).items():
                yield parameter, name, value

    def verdict(self, arguments: dict[str, Any], parameter: str, value: Any) -> str | None:
        """What is wrong with what happens when this parameter has this value; None where that is as it should be."""
        named = "|".join((parameter, *filter(None, [self.also.get(parameter)])))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self.call(**{**arguments, parameter: value})
        except (TypeError, ValueError, RuntimeError) as failure:
            text = str(failure)
            if self.words:
                return None if re.search(rf"\b({named})\b", text) else f"unclear: {text}"
            return None if re.match(rf"{self.says}: ({named}): need ", text) else f"unclear: {text[:150]}"
        except Exception as failure:  # of a kind that no caller expects
            return f"{type(failure).__name__}: {str(failure)[:150]}"
        return "accepted"


Modes = dict[str, Callable[[Any], dict[str, Any]]]


def door(
    call: Callable[..., Any], modes: Modes, says: str = "", like: Callable[..., Any] | None = None, **kept: Any
) -> Door:
    """A Door with the parameters of `like` (by default of `call`); what is None by default may be None."""
    parameters = inspect.signature(like or call).parameters.values()
    named = [each for each in parameters if each.name not in ("self", "options") and each.kind is not each.VAR_KEYWORD]
    optional = {each.name for each in named if each.default is None} | set(kept.pop("optional", ()))
    says = says or call.__name__
    return Door(
        kept.pop("name", says),
        call,
        call if isinstance(call, type) else like or call,
        says,
        tuple(each.name for each in named),
        modes,
        optional=frozenset(optional),
        **kept,
    )


def _with(**more: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda asarray: more


def _of(
    name: str, make: Callable[..., np.ndarray], *lead: int, **sizes: Any
) -> Callable[..., Callable[[Any], dict[str, Any]]]:
    def mode(**more: Any) -> Callable[[Any], dict[str, Any]]:
        return lambda asarray: {name: asarray(make(*lead, **sizes)), **more}

    return mode


T = xi.STFT(**BASE)
ON_GRID = xi.STFT(**BASE, frequencies=GRID)
BANDS = xi.Mel(20, 8000)
_EASY = xi.STFT(**BASE, frequencies=xi.linear_frequencies(160, 0, 4000, 8000), solver=xi.Dual(maxiter=1, tol=1.0))
_X, _XG = _of("X", spectrum), _of("X", lambda: np.ones((2, 160, 33), complex))
_TWO = _of("X", spectrum, onesided=False)
_x, _z = _of("x", signal, 2), _of("x", lambda: signal(2) + 0j)
_S = _of("S", lambda: np.abs(spectrum()))
_PLACED: dict[str, dict[str, Any]] = {
    "as it is": {}, "uncentred": {"center": False, "window": "hamming"}, "same": {"padding": "same"}, "full": {"padding": "full"}, "numbers": {"padding": (100, 28)},
    "samples": {"window": np.hanning(257)[:-1]}, "short window": {"win_length": 200}, "ortho": {"scaling": "ortho"},
}  # fmt: skip
_FREQUENCIES: dict[str, dict[str, Any]] = {
    "a grid": {"frequencies": GRID}, "per frame": {"frequencies": GRID, "solver": xi.PerFrame()}, "adjoint": {"frequencies": GRID, "solver": xi.Adjoint()},
    "uniform": {"frequencies": GRID, "solver": xi.Dual("uniform", 1.0, 0.5, 1)},
}  # fmt: skip


def _modes(make: Callable[..., Any], other: Callable[..., Any], **more: Any) -> Modes:
    return {
        **{name: make(**BASE, **each, **more) for name, each in _PLACED.items()},
        **{name: other(**BASE, **each, **more) for name, each in _FREQUENCIES.items()},
    }


def _bound(make: Callable[[], Any], method: str, modes: Modes, says: str = "", **kept: Any) -> Door:
    """The door of a method of what `make` makes; of a stream, which a call changes, anew for each call."""
    made = make()
    like, cls = getattr(type(made), method), type(made).__name__
    if "Streaming" not in cls:
        make = functools.cache(make)
    return door(
        lambda **given: getattr(make(), method)(**given),
        modes,
        says or method,
        like=like,
        name=f"{cls}.{method}",
        **kept,
    )


_SIGNALS = {"transform": lambda asarray: {"x": asarray(signal(2))}}


def _same(piece: Any) -> Any:
    return piece


def _doors() -> Iterator[Door]:
    libraries = (*ALL[:-1], "dask")
    two_sided = {"two-sided": _TWO(**BASE, onesided=False)}
    yield door(
        xi.istft,
        {**_modes(_X, _XG), **two_sided, "sizes unsaid": _X(), "length": _X(**BASE, length=2000)},
        libraries=libraries,
    )
    yield door(
        xi.stft,
        {
            **_modes(_x, lambda **k: _x(**{n: v for n, v in k.items() if n != "solver"})),
            "complex": _z(**BASE, onesided=False),
            "reflect": _x(**BASE, pad_mode="reflect"),
        },
        libraries=libraries,
    )
    yield door(
        xi.STFT,
        {name: _with(**BASE, **each) for name, each in {**_PLACED, **_FREQUENCIES}.items()},
        "STFT",
        optional=("pad_mode",),
    )
    for name, transform in {
        "DFT": T,
        "grid": _EASY,
        "adjoint": xi.STFT(**BASE, frequencies=GRID, solver=xi.Adjoint()),
    }.items():
        make = _X if transform is T else _XG
        yield _bound(lambda transform=transform: transform, "istft", {name: make()}, libraries=libraries)
        yield _bound(lambda transform=transform: transform, "stft", {name: _x()}, libraries=libraries)
        if name != "adjoint":
            yield _bound(lambda transform=transform: transform, "solve", {name: make()})
    counted = {"DFT": _with(n_frames=9)}
    yield _bound(lambda: T, "n_frames", {"DFT": _with(n_samples=2000)}, kinds={"n_samples": "count"})
    yield _bound(lambda: T, "n_samples", counted, kinds={"n_frames": "count"})
    yield _bound(
        lambda: T,
        "frame_mask",
        {"a batch": _with(lengths=[64, 2048])},
        kinds={"lengths": "any lengths", "n_frames": "count"},
    )
    yield _bound(lambda: T, "frame_times", counted, kinds={"n_frames": "count"})
    yield _bound(lambda: T, "bin_frequencies", {"DFT": _with()})
    yield _bound(lambda: ON_GRID, "bin_frequencies", {"grid": _with()}, kinds={"sr": "other rate"})
    yield _bound(lambda: T, "coverage", counted)
    for solver in (xi.Dual, xi.PerFrame, xi.Adjoint, xi.FastGLA, xi.RAAR, xi.ADMM, xi.Hybrid):
        yield door(solver, {"alone": _with()})
    yield door(xi.Frequencies, {"two": _with(hz=[100.0, 200.0], sr=8000)}, "Frequencies")
    yield _bound(lambda: GRID, "basis", {"grid": _with(n_fft=256)})
    yield _bound(lambda: GRID, "redundancy", {"grid": _with(hop_length=64)})
    for grid in (xi.linear_frequencies, xi.log_frequencies):
        yield door(grid, {"grid": _with(n=9, fmin=100, fmax=3000, sr=8000)})
    yield door(
        xi.frame,
        {name: _x(**BASE, **each) for name, each in _PLACED.items() if name not in ("ortho", "short window")},
        libraries=libraries,
    )
    segments = _of("segments", lambda: np.ones((2, 256, 33)))
    yield door(
        xi.overlap_add,
        {
            name: segments(hop_length=64, **each)
            for name, each in _PLACED.items()
            if name not in ("ortho", "short window")
        },
        libraries=libraries,
    )
    yield door(
        xi.in_segments,
        {"alone": _x(model=_same, segment=100), "cross-faded": _x(model=_same, segment=256, overlap=9, window="hann")},
        libraries=libraries,
        optional=("progress",),
    )
    yield door(xi.StreamingSegments, {"alone": _with(model=_same, segment=100)}, kinds={"axis": "axis from the last"})
    yield _bound(lambda: xi.StreamingSegments(_same, segment=100), "push", {"first": _x()}, "StreamingSegments")
    yield door(
        xi.pad, {mode: _x(before=3, after=4, mode=mode) for mode in ("constant", "reflect", "odd")}, libraries=libraries
    )
    yield door(
        xi.as_complex,
        {
            "pairs": _of("real", lambda: np.ones((3, 2)))(),
            "parts": lambda asarray: dict.fromkeys(("real", "imag"), asarray(np.ones(3))),
        },
        libraries=libraries,
        also={"real": "imag"},
        kinds=dict.fromkeys(("real", "imag"), "number array"),  # one number is spread over the others
    )
    yield door(
        xi.from_polar,
        {"parts": lambda asarray: dict.fromkeys(("magnitude", "phase"), asarray(np.ones(3)))},
        libraries=libraries,
        also={"magnitude": "phase"},
        kinds=dict.fromkeys(("magnitude", "phase"), "number array"),
    )
    yield door(xi.phase_ramp, {"whole": _with(n_fft=8, origin=3)})
    yield door(xi.low_latency_windows, {"pair": _with(n_fft=256, hop_length=32, synthesis_length=64)})
    for function in (xi.dual_window, xi.tight_window, xi.check_nola, xi.check_cola):
        yield door(
            function,
            {
                "named": _with(window="hann", hop_length=64, win_length=256),
                "samples": _with(window=_WINDOW, hop_length=64),
            },
            also={"window": "win_length"},
        )
    retrieved = {
        "DFT": _S(transform=T, n_iter=1, init="zero"),
        "grid": lambda a: {"S": a(np.ones((2, 160, 33))), "transform": _EASY, "n_iter": 1, "init": "zero"},
        "random": _S(transform=T, n_iter=1, init="random", rng=0),
        "integrated": _S(transform=T, n_iter=0),
        "bands": lambda a: {"S": a(np.ones((2, 20, 33))), "transform": T, "bands": BANDS, "n_iter": 1, "init": "zero"},
    }
    yield door(xi.griffin_lim, retrieved, libraries=ALL[:-1])
    yield door(
        xi.Mel,
        {"alone": _with(n_mels=20, sr=8000), "between": _with(n_mels=20, sr=8000, fmin=100, fmax=3000, power=1)},
        "Mel",
        kinds={"norm": "norm of bands", "scale": "choice", "power": "number above 0", "fmax": "frequency above 0"},
    )
    yield _bound(lambda: BANDS, "filterbank", {"DFT": _with(n_fft=256)})
    mel = _of("M", lambda: np.ones((2, 20, 33)))
    yield door(xi.magnitude_to_mel, {"DFT": _S(bands=BANDS), "given": _S(bands=BANDS, transform=T)}, libraries=ALL[:-1])
    yield door(xi.mel_to_magnitude, {"DFT": mel(bands=BANDS, transform=T)}, libraries=ALL[:-1])
    yield door(
        xi.to_db,
        {"one": _S(), "largest": _S(reference="max", floor=None, power=2)},
        libraries=ALL[:-1],
        kinds={"S": "number array", "reference": "reference", "floor": "number or None", "power": "number above 0"},
    )
    yield door(
        xi.from_db,
        {"one": _of("D", lambda: np.ones((2, 20, 33)))()},
        libraries=ALL[:-1],
        kinds={"D": "number array", "reference": "reference", "power": "number above 0"},
    )
    yield door(xi.pghi, {"DFT": _S(transform=T)}, libraries=("numpy", "torch"))
    stretched = {
        "DFT": _X(transform=T, rate=1.25),
        "two-sided": _TWO(transform=xi.STFT(**BASE, onesided=False), rate=0.8),
        "grid": _XG(transform=_EASY, rate=2, phases="locked"),
    }
    yield door(xi.phase_vocoder, stretched, libraries=ALL[:-1])
    projected = {"DFT": _X(transform=T), "grid": _XG(transform=_EASY)}
    yield door(xi.project, projected, libraries=ALL[:-1])
    yield door(xi.inconsistency, projected, libraries=ALL[:-1])
    yield door(
        xi.spectral_convergence,
        {"both": lambda a: {"S": a(np.abs(spectrum())), "X": a(spectrum())}},
        libraries=ALL[:-1],
        also={"S": "X"},
    )
    for stream, data in ((xi.StreamingISTFT, _X), (xi.StreamingSTFT, _x)):
        name = stream.__name__
        yield door(stream, {"alone": _with(transform=T)})
        yield _bound(lambda stream=stream: stream(T), "push", {"first": data()}, name, libraries=STREAMED[:2])
        yield _bound(lambda stream=stream: stream(T), "initial_state", {"first": data()}, name, libraries=STREAMED[:2])
        state = (None, 0) if stream is xi.StreamingISTFT else np.zeros((2, 192))
        yield _bound(
            lambda stream=stream: stream(T),
            "step",
            {"first": data(state=state)},
            name,
            also={"state": (data is _X and "X") or "x"},
        )
    yield _bound(_pushed, "flush", {"first": _with()}, "StreamingISTFT")
    name = "StreamingGriffinLim"
    yield door(xi.StreamingGriffinLim, {"alone": _with(transform=T)}, kinds={"init": "choice"})
    yield _bound(lambda: xi.StreamingGriffinLim(T), "push", {"first": _S()}, name, libraries=STREAMED[:2])
    yield _bound(_pushed_magnitudes, "flush", {"first": _with()}, name)
    yield _bound(
        lambda: xi.StreamingISTFT(T), "finish", {"first": _with(state=(np.zeros((2, 191)), 33))}, "StreamingISTFT"
    )
    for function in (xi.set_workers, xi.workers):
        yield door(function, {"alone": _with(workers=1)}, optional=("workers",))
    for function in (xi.set_fft_engine, xi.fft_engine):
        yield door(function, {"alone": _with(engine="numpy")}, optional=("engine",))
    for function in (xi.set_gpu_engine, xi.gpu_engine):
        yield door(function, {"alone": _with(engine="cufft")}, optional=("engine",))
    yield door(
        xi.iSTFT,
        {"alone": _with(verbose=False), "log": _with(verbose=False, freq_scale="log", sr=22050)},
        "iSTFT",
        kinds=_NNAUDIO,
    )
    layer = xi.iSTFT(256, verbose=False)
    yield _bound(lambda: layer, "forward", {"DFT": _X()}, "iSTFT", optional=("onesided",))
    for method in ("bins", "is_dft", "density"):
        yield _bound(lambda: GRID, method, {"grid": _with(n_fft=256)})
    yield from _compat_doors()
    yield from _torch_doors()
    yield from _plots()
    yield from _sliding()


_NNAUDIO = {
    "trainable_kernels": "false",
    "trainable_window": "false",
    "fmin": "number from 0",
    "fmax": "number from 0",
    "sr": "number from 0",
}
KINDS["false"] = kind("False", one=1, zero=0, word="no")
KINDS["other rate"] = kind(other=16000)


def _pushed() -> Any:
    stream = xi.StreamingISTFT(T)
    stream.push(spectrum())
    return stream


def _pushed_magnitudes() -> Any:
    stream = xi.StreamingGriffinLim(T, n_iter=0)
    stream.push(np.abs(spectrum()))
    return stream


def _compat_doors() -> Iterator[Door]:
    yield door(
        librosa.stft,
        name="compat.librosa.stft",
        modes={
            "centred": _of("y", signal, 2)(n_fft=256),
            "out": _of("y", signal, 2)(n_fft=256, hop_length=64, dtype="complex128"),
        },
        kinds={"dtype": "dtype", "window": "librosa's window", "y": "signal"},
    )
    yield door(
        librosa.istft,
        name="compat.librosa.istft",
        modes={"centred": _of("stft_matrix", spectrum)(hop_length=64)},
        kinds={"out": "librosa's out", "dtype": "dtype", "window": "librosa's window", "length": "librosa's length"},
    )
    yield door(
        librosa.griffinlim,
        {"random": _S(n_iter=1, hop_length=64), "zero": _S(n_iter=1, hop_length=64, init=None)},
        kinds={
            "dtype": "dtype",
            "window": "librosa's window",
            "S": "segments",
            "init": "choice",
            "random_state": "random state",
        },
        optional=("init",),
        also={"S": "hop_length"},
    )
    yield door(librosa.magphase, {"one": _of("D", spectrum)()}, kinds={"D": "number array"})
    yield door(
        librosa.window_sumsquare,
        {"one": _with(window="hann", n_frames=3, hop_length=64, n_fft=256)},
        kinds={"dtype": "dtype", "window": "librosa's window"},
        optional=("dtype",),
    )
    paired = {"window": np.hanning(257)[:-1], "n_fft": 256}
    yield door(
        compat_torch.stft,
        {
            "complex": _of("input", signal, 2)(n_fft=256, return_complex=True, pad_mode="constant"),
            "window": _of("input", signal, 2)(return_complex=False, **paired),
            "strict": _of("input", signal, 2)(return_complex=True, strict=True, **paired),
            "aligned": _of("input", signal, 2)(return_complex=True, center=False, align_to_window=True, **paired),
        },
        libraries=("numpy", "torch"),
        kinds={"input": "signal"},
        name="compat.torch.stft",
    )
    yield door(
        compat_torch.istft,
        {
            "boxcar": _of("input", spectrum)(n_fft=256),
            "strict": _of("input", spectrum)(strict=True, **paired),
            "normalized": _of("input", spectrum)(normalized=True, **paired),
        },
        libraries=("numpy", "torch"),
        name="compat.torch.istft",
    )
    spectrogram = {name: _x(nperseg=256, mode=name) for name in ("psd", "complex", "phase")}
    yield door(
        compat_scipy.spectrogram,
        spectrogram,
        optional=("nperseg", "detrend"),
        kinds=_SCIPYS,
        words=True,
        name="compat.scipy.spectrogram",
    )
    for peer, library in ((compat_scipy, "numpy"), (compat_jax, "jax")):
        kept = {"libraries": (library,), "words": True}
        yield door(
            peer.stft,
            {"plain": _x(nperseg=256), "reflected": _x(nperseg=256, boundary="even", detrend="constant")},
            optional=("nperseg", "boundary", "detrend"),
            kinds=_SCIPYS,
            name=f"{peer.__name__}.stft",
            **kept,
        )
        yield door(
            peer.istft,
            {"plain": _of("Zxx", spectrum)(nperseg=256)},
            optional=("boundary",),
            kinds={**_SCIPYS, "boundary": "two-sided boundary"},
            name=f"{peer.__name__}.istft",
            **kept,
        )


def _sliding() -> Iterator[Door]:
    """scipy's own class, in its words."""
    like, name = scipy.signal.ShortTimeFFT.__init__, "ShortTimeFFT"
    hann = np.hanning(257)[:-1]
    kept = {"words": True, "optional": ("detr",)}
    yield door(
        compat_scipy.ShortTimeFFT, {"plain": _with(win=hann, hop=64, fs=1.0)}, name, like=like, kinds=_SLIDING, **kept
    )
    made = compat_scipy.ShortTimeFFT(hann, 64, 1.0)
    for method in ("stft", "stft_detrend", "spectrogram"):
        more = {"detr": "constant"} if method == "stft_detrend" else {}
        yield _bound(lambda: made, method, {"plain": _x(**more)}, kinds=_SLIDING, **kept)
    yield _bound(
        lambda: made, "istft", {"plain": _of("S", lambda: np.ones((2, 129, 35), complex))()}, kinds=_SLIDING, **kept
    )


_SLIDING = {
    "win": "sliding window", "hop": "size", "fs": "number above 0", "fft_mode": "choice", "mfft": "size", "dual_win": "sliding window", "scale_to": "choice", "phase_shift": "integer or None",
    "x": "what NumPy takes", "y": "what NumPy takes", "S": "what NumPy takes", "detr": "detrend", "p0": "integer", "p1": "integer", "k_offset": "integer", "padding": "choice", "axis": "axis", "k0": "integer", "k1": "integer",
    "f_axis": "one of three axes", "t_axis": "one of three axes",
}  # fmt: skip
KINDS["integer or None"] = Kind(KINDS["integer"].right | {"None"})
KINDS["sliding window"] = Kind(
    KINDS["window"].right | {"complex", "bytearray", "tuple of floats", "tuple of 3"}, KINDS["window"].wrong
)


def _plots() -> Iterator[Door]:
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    from xp_istft import plot

    ax = Figure().subplots()
    yield door(
        plot.plot_spectrogram,
        {"DFT": lambda a: {"X": a(spectrum()[0]), "transform": T, "sr": 8000, "ax": ax, "colorbar": False}},
        libraries=("numpy", "torch"),
        kinds=_PLOTTED,
    )
    yield door(plot.plot_windows, {"DFT": _with(transform=T, sr=8000, ax=ax)}, kinds=_PLOTTED)
    yield door(plot.plot_coverage, {"DFT": _with(transform=T, n_frames=9, sr=8000, ax=ax)}, kinds=_PLOTTED)
    yield door(plot.plot_convergence, {"one": _with(values=[1.0, 0.5], ax=ax)}, kinds=_PLOTTED)


_PLOTTED = {"ax": "axes of a figure", "ylabel": "label", "values": "values"}
KINDS["axes of a figure"] = kind(figure="figure")
KINDS["label"] = Kind(frozenset(("text", "empty text", "NumPy text", "long text", "text of a number", "zero byte")))
KINDS["values"] = Kind(
    frozenset(("tuple of floats", "tuple of 3", "two integers", "two floats")),
    {"mapping of text": {"a": "b"}, "mapping of numbers": {"a": 3}},
)


_SCIPYS = {
    "x": "what NumPy takes", "Zxx": "what NumPy takes", "fs": "rate", "nperseg": "whole number", "noverlap": "whole", "detrend": "detrend", "time_axis": "one of three axes", "freq_axis": "one of three axes",
}  # fmt: skip
_TAKEN = (
    "bytearray",
    "tuple of floats",
    "tuple of 3",
    "tuple of bools",
    "two integers",
    "two floats",
    "thing",
    "2 x 2",
    "empty list",
    "empty tuple",
    "range",
    "array of nothing",
)
KINDS["what NumPy takes"] = Kind(frozenset((*_TAKEN, "int8", "matrix", "bools", "lists")), KINDS["data"].wrong)
KINDS["rate"] = Kind(KINDS["number above 0"].right | {"0-d float"}, KINDS["number above 0"].wrong)
KINDS["whole number"] = Kind(frozenset(("64.0", "float64")), COUNT.wrong)
KINDS["whole"] = Kind(frozenset(("64.0", "float64", *_INTEGERS)))
KINDS["detrend"] = kind("False", "class", upper="LINEAR")
KINDS["one of three axes"] = Kind(KINDS["axis"].right | {"int64 of -3"}, KINDS["axis"].wrong)
KINDS["two-sided boundary"] = kind("True", "bool_", "False", number=3)


def _torch_doors() -> Iterator[Door]:
    if importlib.util.find_spec("torch") is None:
        return
    from xp_istft import nn
    from xp_istft.compat import nnaudio

    fields_of = {"alone": _with(transform=T)}
    for module in (nn.ISTFT, nn.STFT, nn.GriffinLim):
        yield door(
            module,
            fields_of,
            module.__name__,
            name=f"nn.{module.__name__}",
            kinds={"init": "choice", "device": "device", "power": "number above 0", "eps": "number from 0"},
        )
    torch_only = {"libraries": ("torch",)}
    yield _bound(
        lambda: nn.ISTFT(T),
        "forward",
        {"plain": _X(), "phase": lambda a: {"X": a(np.ones((2, 129, 33))), "phase": a(np.ones((2, 129, 33)))}},
        "ISTFT",
        **torch_only,
    )
    yield _bound(
        lambda: nn.ISTFT(T, export=True),
        "forward",
        {"export": _of("X", lambda: np.ones((2, 129, 33, 2)))()},
        "ISTFT",
        **torch_only,
    )
    yield _bound(lambda: nn.STFT(T), "forward", {"plain": _x()}, "STFT", **torch_only)
    yield _bound(lambda: nn.STFT(T), "inverse", {"plain": _X()}, "STFT", **torch_only)
    yield _bound(
        lambda: nn.GriffinLim(T, n_iter=1),
        "forward",
        {"plain": _S()},
        "GriffinLim",
        kinds={"generator": "generator"},
        **torch_only,
    )
    for layer in (nnaudio.iSTFT, nnaudio.STFT):
        yield door(
            layer,
            {"alone": _with(n_fft=256, verbose=False)},
            layer.__name__,
            name=f"nnaudio.{layer.__name__}",
            kinds={"fmin": "number from 0", "fmax": "number from 0", "sr": "number from 0"},
        )
    yield door(
        nnaudio.Griffin_Lim,
        {"alone": _with(n_fft=256)},
        name="nnaudio.Griffin_Lim",
        optional=("device",),
        kinds={"device": "device"},
    )
    yield _bound(lambda: nnaudio.iSTFT(256, verbose=False), "forward", {"plain": _X()}, "iSTFT", **torch_only)
    yield _bound(
        lambda: nnaudio.STFT(256, verbose=False),
        "forward",
        {"plain": _x()},
        "STFT",
        optional=("output_format",),
        **torch_only,
    )
    yield _bound(
        lambda: nnaudio.STFT(256, verbose=False),
        "inverse",
        {"plain": _X()},
        "STFT",
        optional=("refresh_win",),
        **torch_only,
    )
    yield _bound(
        lambda: nnaudio.Griffin_Lim(256, n_iter=1),
        "forward",
        {"plain": _S()},
        "Griffin_Lim",
        kinds={"generator": "generator"},
        **torch_only,
    )


KINDS["signal"] = Kind(KINDS["data"].right | {"two floats", "2 x 2", "array of nothing"}, KINDS["data"].wrong)
KINDS["segments"] = Kind(KINDS["data"].right | {"2 x 2"}, KINDS["data"].wrong)
KINDS["random state"] = Kind(frozenset(["RandomState"]), KINDS["rng"].wrong)
KINDS["bands"] = kind(n_mels=20, pair=(20, 8000), class_itself=xi.Mel, transform=xi.STFT(256))
KINDS["norm of bands"] = kind("None", "2.5", "64.0", "float64", "inf", upper="SLANEY", zero=0)
KINDS["frequency above 0"] = kind("2.5", "64.0", "float64", zero=0, beyond=9999)
KINDS["number or None"] = Kind(KINDS["number"].right | {"None"})
KINDS["reference"] = kind(
    "2.5", "64.0", "float64", upper="MAX", zero=0, other_shape=np.ones(7), negative=-np.ones((2, 1, 1))
)
KINDS["norm"] = Kind(KINDS["number"].right | {"inf", "-inf"})
KINDS["device"] = kind(word="nowhere")
KINDS["generator"] = kind(numpy=np.random.default_rng(0))
KINDS["librosa's window"] = Kind(KINDS["window"].right | set(_NUMBERS), KINDS["window"].wrong)
KINDS["librosa's length"] = kind()
KINDS["librosa's out"] = Kind(frozenset(["float32"]), KINDS["out"].wrong)
KINDS["number array"] = Kind(KINDS["signal"].right | {"0-d float"}, KINDS["data"].wrong)
OF.update(device="device", generator="generator")

DOORS = tuple(_doors())


def drawn(door: Door, rng: random.Random | None, libraries: list[str]) -> Iterator[tuple[str, str, str, str, Any]]:
    """(library, mode, parameter, name of the value, value): each value of each parameter once, in a mode and on a library
    by chance; all of them in all of both where there is no chance.
    """
    places = [(library, mode) for library in libraries for mode in door.modes]
    for parameter, name, value in door.wrong():
        for library, mode in places if rng is None else [rng.choice(places)]:
            yield library, mode, parameter, name, value
