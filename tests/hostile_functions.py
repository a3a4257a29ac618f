"""The functions that every row of hostile.py is tried on, and how a row is held.

A new public function is one line in FUNCTIONS, with what it takes: it is then tried on every row about such data, and
on every row about a parameter that it has.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import array_api_compat
import definition
import numpy as np
import pytest
from hostile import (
    ALL,
    BASE,
    GOOD,
    GRID,
    KINDS,
    LAID_OUT,
    ON_HOST,
    ROWS,
    STREAMED,
    Call,
    Gives,
    Refused,
    Row,
    inverse,
    spectrum,
)

import xp_istft as xi
from xp_istft import blocks
from xp_istft.arguments import warn
from xp_istft.compat import jax as compat_jax
from xp_istft.compat import librosa
from xp_istft.compat import scipy as compat_scipy
from xp_istft.compat import torch as compat_torch
from xp_istft.transform import read_length


@dataclass(frozen=True, eq=False)
class Function:
    """A public function, what it takes, and its parameters.

    made   : its parameters are those of a transform, and what else it has: rows about the former alone are of `STFT`
    exact  : what a spectrum or signal gives is the value of the definition
    says   : pattern of the names that its errors begin with
    hints  : its errors give the hints of the rows, not the need alone
    exempt : rows that its contract decides otherwise: why -> which
    renames: what it calls the data, where that is not X or x
    words  : a peer's words for the names in the rows, where its errors are its own: they name the argument in these
    """

    name: str
    takes: str
    call: Callable[..., Any]
    parameters: frozenset[str]
    libraries: tuple[str, ...] = ("numpy",)
    made: bool = False
    exact: bool = True
    says: str = ""
    hints: bool = True
    exempt: dict[str, str] = field(default_factory=dict)
    renames: str = ""
    words: dict[str, str] | None = None

    def refuses(self, refused: Refused) -> tuple[Any, str]:
        """The kinds of its errors, and what they match."""
        if self.words is not None:
            return (TypeError, ValueError), rf"\b({self.words[refused.text.partition(':')[0]]})\b"
        need = refused.text if self.hints else re.split(r"; | with last axis", refused.text)[0]
        if self.renames:
            need = re.sub(r"^[Xx]: ", f"{self.renames}: ", need)
        return refused.kind, f"^{self.says}: ({need})"

    def takes_part(self, row: Row) -> bool:
        fits = self.takes in row.takes and set(row.parameters) <= self.parameters
        if self.made and row.takes == KINDS and set(row.parameters) <= FIELDS:
            return False
        exempt = {what for each in self.exempt.values() for what in each.split("; ")}
        return fits and row.what not in exempt and (self.exact or isinstance(row.outcome, Refused))


def public(
    name: str,
    takes: str,
    call: Callable[..., Any],
    like: Iterable[Callable[..., Any]] = (),
    lacks: Iterable[str] = (),
    **kept: Any,
) -> Function:
    """A Function with the parameters of `like` (by default of `call` itself), less those that it lacks."""
    names = {name for each in (tuple(like) or (call,)) for name in inspect.signature(each).parameters}
    return Function(name, takes, call, frozenset(names - set(lacks)), **{"says": name, **kept})


FIELDS = frozenset(each.name for each in fields(xi.STFT) if each.init)


def of_transform(
    name: str,
    takes: str,
    call: Callable[..., Any],
    like: Iterable[Callable[..., Any]],
    lacks: Iterable[str] = (),
    **kept: Any,
) -> Function:
    """The Function of call(data, transform, **others), whose parameters are the transform's fields and the others."""

    def made(data: Any, **given: Any) -> Any:
        transform = xi.STFT(**{name: given.pop(name) for name in FIELDS & set(given)})
        return call(data, given.pop("transform", transform), **given)

    kept = {"says": name, **kept, "exempt": {**_SIZED, **kept.get("exempt", {})}}
    return public(name, takes, made, [xi.STFT, *like], lacks, made=True, **{**kept, "says": f"(STFT|{kept['says']})"})


def istft_by_blocks(X: Any, *, length: Any = None, **given: Any) -> Any:
    t = xi.STFT(**{"n_fft": 2 * (X.shape[-2] - 1), **given})
    job, warning = t.synthesis("istft", X.shape[-1], read_length("istft", length), X)
    if warning:
        warn(warning, xi.CoverageWarning)
    return np.concatenate(list(blocks.istft_blocks(lambda a, b: X[..., a:b], job, block_frames=7)), axis=-1)


def _stft_by_blocks(x: Any, t: xi.STFT) -> Any:
    job = t.analysis("stft", x.shape[-1], x)
    return np.concatenate(list(blocks.stft_blocks(lambda a, b: x[..., a:b], job, block_frames=7)), axis=-1)


def _layer(X: Any, *, length: Any = None, **kept: Any) -> Any:
    return xi.iSTFT(**kept)(X, length=length)


def _nnaudios(X: Any, *, length: Any = None, **kept: Any) -> Any:
    from xp_istft.compat import nnaudio

    return nnaudio.iSTFT(verbose=False, **kept)(X, length=length)


def _stream_istft(X: Any, t: xi.STFT, *, length: Any = None) -> Any:
    stream = xi.StreamingISTFT(t)
    return stream_concat([stream.push(X), stream.flush(length)])


def stream_concat(parts: list[Any]) -> Any:
    return array_api_compat.array_namespace(parts[0]).concat(parts, axis=-1)


def _stream_stft(x: Any, t: xi.STFT) -> Any:
    stream = xi.StreamingSTFT(t)
    return stream_concat([stream.push(x), stream.flush()])


class Sliced:
    """Shape, dtype and slices, and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._array[index]


def _stored(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(array: Any, **parameters: Any) -> Any:
        return function(Sliced(array) if type(array) is np.ndarray else array, **parameters)

    return call


_SCIPYS_OWN = frozenset(("n_fft", "hop_length", "window", "onesided"))


def _on_a_grid(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(array: Any, **parameters: Any) -> Any:
        plain = array_api_compat.is_array_api_obj(array) and not isinstance(array, (np.ma.MaskedArray, np.matrix))
        if plain and array.shape[-2:-1] == (129,):
            array = array_api_compat.array_namespace(array).concat([array, array[..., :31, :]], axis=-2)
        return function(array, frequencies=GRID, **{"n_fft": 256, **parameters})

    return call


def _scipys(function: Callable[..., Any]) -> Callable[..., Any]:
    """scipy's functions, called as the others: a hop is nperseg less noverlap, the window array has its own size."""
    forward = function.__name__ != "istft"
    sides = "return_onesided" if forward else "input_onesided"

    def call(
        array: Any, *, n_fft: int = 256, hop_length: Any = 64, window: Any = "hann", onesided: Any = True, **kept: Any
    ) -> Any:
        number = isinstance(hop_length, (int, float, np.integer)) and hop_length is not True
        overlap = n_fft - hop_length if number and n_fft else hop_length
        result = function(array, window=window, nperseg=n_fft, noverlap=overlap, **{sides: onesided}, **kept)[-1]
        weight = float(np.abs(definition.window_samples(window, n_fft, n_fft).sum()))
        return result * weight if forward else result / weight

    return call


def _torchaudios(name: str) -> Callable[..., Any]:
    def call(
        array: Any, *, n_fft: Any = 256, hop_length: Any = 64, win_length: Any = None, length: Any = None, **kept: Any
    ) -> Any:
        import torch

        from xp_istft.compat.torchaudio import functional

        if n_fft is None:  # which torchaudio needs
            n_fft = array.shape[-2] if kept.get("onesided") is False else 2 * (array.shape[-2] - 1)
        win_length = n_fft if win_length is None else win_length
        kind = torch.float32 if getattr(array, "dtype", None) in (torch.float32, torch.complex64) else torch.float64
        window = torch.hann_window(win_length if isinstance(win_length, int) and win_length > 0 else 256, dtype=kind)
        sizes = (window, n_fft, hop_length, win_length)
        if name == "spectrogram":
            return functional.spectrogram(array, 0, *sizes, None, False, pad_mode="constant", **kept)
        return functional.inverse_spectrogram(array, length, 0, *sizes, False, **kept)

    return call


def _torchs(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(array: Any, *, n_fft: int = 256, window: Any = "hann", **kept: Any) -> Any:
        options = {"pad_mode": "constant", "return_complex": True} if function is compat_torch.stft else {}
        return function(array, n_fft, window=window, **options, **kept)

    return call


def _griffin_lim(S: Any, t: xi.STFT, **parameters: Any) -> Any:
    return xi.griffin_lim(S, t, **{"n_iter": 1, "init": "zero", **parameters})


# Rows that a contract decides otherwise: why -> which.
_REALS = "float32 for complex; int32 for complex; bool for complex; float16 for complex"
_SIZED = {
    "a transform has an n_fft": "odd n_fft from the window; a window that bins contradict; n_fft unsaid; n_fft unsaid, two-sided"
}
_TOLD = {"the number of bins tells": "two-sided, unsaid; one-sided, said to be two-sided"}
_LAYER = {**_SIZED, **_TOLD, "pairs are taken": "pairs"}
_PAIRS = {"the error names both layouts that are taken": _REALS}
_JOB = {
    "a job is made of a shape and the name of a dtype; what read() brings is the caller's affair": "0-d; 0-d signal; 1-d; no frames; no samples; a sample too few; no bins; too few bins; too many bins; axes swapped; "
    "two-sided, unsaid; one-sided, said to be two-sided; pairs; int32 for complex; signal of int32; bool for complex; "
    "signal of bool; objects; strings; structured; float16 for complex; long double; big-endian; big-endian signal; "
    "masked; masked for a signal; matrix; lists; list for a signal; a table of pandas; None; None for a signal; str; "
    "str for a signal; an object with __array__; a complex signal of one side; a scalar",
}
_OPEN = {"None means no window": "no window"}
_STREAM = {
    "what came out cannot be taken back": "length 1; shorter; only a sample without weight",
    "a stream knows of no last frame": "the hop of one frame is not used",
}
_SPECTRA = {
    "of the signal, only what frames see is made": "hop > n_fft; hop == n_fft, hann; two frames 2**40 apart; hop > win_length; window with a hole; length 2**50; "
    "a window that bins contradict; only a sample without weight",
}
_ONE_SIDE = {**_SPECTRA, "two-sided transforms are refused": "one-sided, said to be two-sided"}
_FRAMES_ALONE = {
    "nothing is inverted": "hop > n_fft; hop == n_fft, hann; two frames 2**40 apart; hop > win_length; window with a hole; synthesis window of zeros",
    "one frame is refused, whatever the length": "one centred frame",
}
_HALF = {
    "half precision is read as float32": "float16 for complex",
    "out is written in slices, of any byte order": "out of int32; out of another byte order; out a list",
}
_CHUNKS = {"a chunk for each of 5000 items: slow, and no other": "5000 items"}
_BINS = {
    "the bins are those of frequencies=": "no bins; too few bins; too many bins; axes swapped; two-sided, unsaid",
    "n_fft is needed": "a window that bins contradict",
    "the shape is that of frequencies=": "out of another shape; out of another shape of a signal",
    "what comes is made of these bins": "unaligned on a device",
}
_TORCHS = {
    **_OPEN,
    **_SIZED,
    "the number of bins tells": "two-sided, unsaid",
    "torch reads the lower half of the bins alone": "complex signal",
    "the rank is named, which is another defect": "a scalar",
    "torch's advice, given once": "500 samples beyond; one sample beyond",
}
_LIBROSAS = {
    "0 means unsaid": "length 0",
    "of samples that no window weighs nothing is said": "hop > n_fft; hop == n_fft, hann; two frames 2**40 apart; hop > win_length; window with a hole; "
    "500 samples beyond; one sample beyond; uncentred hann; only a sample without weight",
}
_TORCHAUDIOS = {
    "torchaudio's words": f"{_REALS}; pairs",
    "the real part": "complex signal",
    "torch's advice, given once": "500 samples beyond; one sample beyond",
}
_SCIPYS = {
    "scipy's shape of nothing": "empty batch; empty batch of signals",
    "the number of bins says nfft": "too many bins; two-sided, unsaid",
    "the half of an odd segment is rounded down": "odd n_fft; odd n_fft of a signal",
    "nperseg is said": "odd n_fft from the window; n_fft unsaid; n_fft unsaid, two-sided",
    "two sides give complex samples": "two-sided; complex signal",
    "a segment may have one sample": "n_fft 1",
    "real numbers are taken": f"{_REALS}; signal of int32; signal of bool",
    "scipy's warning: NOLA condition failed": "hop > n_fft; hop == n_fft, hann; two frames 2**40 apart; window with a hole",
    "64.0 is taken for 64": "hop 64.0; hop of float64",
    "noverlap has another default": "hop_length unsaid",
    "what NumPy makes an array of is taken": "matrix; lists; list for a signal; a table of pandas; an object with __array__",
    "scipy switches to two sides, and warns": "a complex signal of one side",
}
_SCIPYS_WORDS = {
    "n_fft": "nperseg|nfft", "hop_length": "noverlap", "window": "window", "X": "Zxx", "x": "x|axis", "onesided":
    "(return|input)_onesided",
}  # fmt: skip
_FOLDED = {"win_length is the array's own": "window shorter than win_length"}


def _named(function: Callable[..., Any], _: None, **sizes: Any) -> Any:
    return function(**{"window": "hann", "win_length": 256, **sizes})


def _modules() -> Iterator[Function]:
    if importlib.util.find_spec("torch") is None:
        return
    from xp_istft import nn
    from xp_istft.compat import nnaudio

    kept = {"libraries": ("torch",), "exempt": {**_LAYER, **_PAIRS}}
    yield of_transform(
        "nn.ISTFT",
        "spectrum",
        lambda X, t, length=None, **given: nn.ISTFT(t, **given)(X, length=length),
        [nn.ISTFT, nn.ISTFT.forward],
        says="ISTFT|istft",
        **kept,
    )
    for name, takes, parameters in (
        ("spectrogram", "signal", ("n_fft", "hop_length", "win_length", "center", "onesided")),
        ("inverse_spectrogram", "spectrum", ("n_fft", "hop_length", "win_length", "center", "onesided", "length")),
    ):
        yield Function(
            f"compat.torchaudio.{name}", takes, _torchaudios(name), frozenset(parameters), ("torch",),
            says=f"({name}|istft)", renames="waveform" if takes == "signal" else "spectrogram", exempt=_TORCHAUDIOS,
        )  # fmt: skip
    yield of_transform(
        "nn.STFT", "signal", lambda x, t: nn.STFT(t)(x), [nn.STFT], libraries=("torch",), says="STFT|stft"
    )
    yield public("compat.nnaudio.iSTFT", "spectrum", _nnaudios, [nnaudio.iSTFT], says="(iSTFT|ISTFT|istft)", **kept)
    yield of_transform(
        "nn.GriffinLim", "magnitudes", lambda S, t, length=None, **given: nn.GriffinLim(
            t, **{"n_iter": 1, "init": "zero", **given})(S, length=length), [nn.GriffinLim, nn.GriffinLim.forward],
        exact=False, libraries=("torch",), says="GriffinLim|griffin_lim|istft",
    )  # fmt: skip


FUNCTIONS = (
    public("istft", "spectrum", xi.istft, libraries=ALL),
    public("stft", "signal", xi.stft, libraries=ALL),
    public("STFT", "sizes", lambda _, **fields: xi.STFT(**fields), [xi.STFT]),
    *(public(solver.__name__, "sizes", lambda _, solver=solver, **fields: solver(**fields), [solver])
      for solver in (xi.Dual, xi.PerFrame, xi.Adjoint, xi.FastGLA, xi.RAAR, xi.ADMM, xi.Hybrid)),
    of_transform("STFT.istft", "spectrum", lambda X, t, **given: t.istft(X, **given), [xi.STFT.istft], says="istft"),
    of_transform("STFT.stft", "signal", lambda x, t, **given: t.stft(x, **given), [xi.STFT.stft], says="stft"),
    of_transform("STFT.solve", "spectrum", lambda X, t, **given: t.solve(X, **given).signal, [xi.STFT.solve], ["onesided", "synthesis_window"],
                 exact=False, hints=False, says="solve"),
    public("iSTFT", "spectrum", _layer, [xi.iSTFT, xi.iSTFT.__call__], ["onesided"], says="(iSTFT|istft)", exempt=_LAYER),
    public("istft_blocks", "spectrum", istft_by_blocks, [xi.STFT, istft_by_blocks], says="(STFT|istft)", made=True,
           exempt={**_SIZED, **_JOB}),
    of_transform("stft_blocks", "signal", _stft_by_blocks, [], says="stft", exempt=_JOB),
    public("compat.librosa.istft", "spectrum", librosa.istft, says="istft", renames="stft_matrix", exempt=_LIBROSAS),
    public("compat.torch.istft", "spectrum", _torchs(compat_torch.istft), [compat_torch.istft], ["input"],
           libraries=ON_HOST, says="istft", renames="input", exempt=_TORCHS),
    public("compat.torch.stft", "signal", _torchs(compat_torch.stft), [compat_torch.stft], ["input", "pad_mode"],
           libraries=ON_HOST, says="stft", renames="input", exempt=_TORCHS),
    *(Function(f"compat.{peer.__name__.rpartition('.')[2]}.{name}", takes, _scipys(getattr(peer, name)), _SCIPYS_OWN,
               libraries=(library,), says=name, words=_SCIPYS_WORDS, exempt=_SCIPYS)
      for peer, library in ((compat_scipy, "numpy"), (compat_jax, "jax"))
      for name, takes in (("istft", "spectrum"), ("stft", "signal"))),
    Function("compat.scipy.spectrogram", "signal", _scipys(compat_scipy.spectrogram), _SCIPYS_OWN, exact=False,
             says="spectrogram", words=_SCIPYS_WORDS, exempt=_SCIPYS),
    *_modules(),
    public("istft of slices", "spectrum", _stored(xi.istft), [xi.istft], says="istft", exempt=_HALF),
    public("stft of slices", "signal", _stored(xi.stft), [xi.stft], says="stft"),
    public("istft of Dask", "spectrum", xi.istft, says="istft", libraries=("dask",), exempt=_CHUNKS),
    public("stft of Dask", "signal", xi.stft, says="stft", libraries=("dask",)),
    public("istft of a grid", "spectrum", _on_a_grid(xi.istft), [xi.istft], ["onesided", "synthesis_window", "frequencies"],
           libraries=LAID_OUT, exact=False, says="istft", exempt=_BINS),
    public("stft of a grid", "signal", _on_a_grid(xi.stft), [xi.stft], ["frequencies"], libraries=LAID_OUT, exact=False,
           says="stft", exempt=_BINS),
    public("overlap_add", "segments", xi.overlap_add, libraries=ALL, exact=False, exempt=_OPEN),
    public("frame", "signal", xi.frame, libraries=ALL, exact=False, exempt=_OPEN),
    of_transform("StreamingISTFT", "spectrum", _stream_istft, [xi.StreamingISTFT, xi.StreamingISTFT.flush],
                 libraries=STREAMED, says="StreamingISTFT|istft", hints=False, exempt=_STREAM),
    of_transform("StreamingSTFT", "signal", _stream_stft, [xi.StreamingSTFT], libraries=STREAMED, exempt=_STREAM),
    of_transform("griffin_lim", "magnitudes", _griffin_lim, [xi.griffin_lim], libraries=ALL, exact=False, says="griffin_lim|istft"),
    of_transform("pghi", "magnitudes", xi.pghi, [xi.pghi], libraries=LAID_OUT, exact=False),
    of_transform("project", "spectrum", xi.project, [xi.project], libraries=LAID_OUT, exact=False, says="project|istft",
                 hints=False, exempt=_ONE_SIDE),
    of_transform("inconsistency", "spectrum", xi.inconsistency, [xi.inconsistency], libraries=LAID_OUT, exact=False,
                 says="inconsistency|project|istft", hints=False,
                 exempt=_ONE_SIDE),
    of_transform("phase_vocoder", "spectrum", lambda X, t, **given: xi.phase_vocoder(X, transform=t, **{"rate": 1.25, **given}),
                 [xi.phase_vocoder], libraries=LAID_OUT, exact=False, hints=False, exempt=_FRAMES_ALONE),
    of_transform("STFT.coverage", "sizes", lambda _, t, **given: t.coverage(**{"n_frames": 33, **given}), [xi.STFT.coverage],
                 says="coverage"),
    *(public(function.__name__, "sizes", functools.partial(_named, function), [function], exempt=_FOLDED)
      for function in (xi.dual_window, xi.tight_window, xi.check_nola, xi.check_cola)),
)  # fmt: skip

# ------------------------------------------------------------------ what a row asks of a function


def cases(*libraries: str) -> list[Any]:
    """(row, function, library) of every row on every function that it applies to."""
    return [
        pytest.param(row, function, name, id=f"{row.what}-{function.name}-{name}")
        for row in ROWS
        for function in FUNCTIONS
        for name in function.libraries
        if name in libraries and function.takes_part(row) and (row.libraries is None or name in row.libraries)
    ]


def called(function: Function, xp: Any) -> Call:
    """The function on host arrays, by way of the library's own."""

    def call(host: Any, **parameters: Any) -> np.ndarray:
        data = xp.asarray(host) if isinstance(host, np.ndarray) else host
        base = {name: value for name, value in BASE.items() if name in function.parameters}
        y = function.call(data, **{**base, **parameters})
        assert type(y) is np.ndarray if xp.name == "numpy" else xp.owns(y)
        return xp.to_numpy(y)

    return call


def kind_of(failure: Exception) -> type:
    """Its class; of compat.librosa's, which are librosa's ParameterError where librosa is loaded, the class beside it."""
    kind = type(failure)
    return kind.__bases__[-1] if kind.__name__ == "ParameterError" else kind


def holds(row: Row, function: Function, xp: Any) -> None:
    """The function gives what the row says, on this library."""
    outcome, call = row.outcome, called(function, xp)
    if isinstance(outcome, Refused):
        data = (row.data or GOOD[function.takes])()
        kinds, text = function.refuses(outcome)
        with pytest.raises(kinds, match=text) as caught:
            call(data, **row.parameters)
        assert function.words or kind_of(caught.value) is outcome.kind
    elif isinstance(outcome, Gives):
        data = (row.data or GOOD[function.takes])()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            y = call(data, **row.parameters)
        reference = spectrum if function.takes == "signal" else inverse
        want = reference(np.asarray(data), **{**BASE, **row.parameters, **outcome.known})
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=0, atol=outcome.tol * np.abs(want).max(initial=0))
        assert len(said) == (outcome.warning is not None), said
        for each in said:
            assert each.category is xi.CoverageWarning
            assert re.search(f"^{function.says}: {outcome.warning}", str(each.message))
    else:
        outcome(call)
