"""What every public door does alike: warnings name the caller's line, unknown names are refused with a hint."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from hostile import spectrum

import xp_istft as xi
from xp_istft.compat import jax as compat_jax
from xp_istft.compat import librosa, scipy

X = spectrum()[0]  # 129 bins, 33 frames
EDGE = xi.STFT(256, 64, center=False)  # whose first sample lies under no weight
GRID = xi.linear_frequencies(160, 0, 4000, 8000)
SPARSE = xi.linear_frequencies(9, 0, 4000, 8000)  # too far apart for a hop of 64


def modules():
    pytest.importorskip("torch")
    from xp_istft import nn
    from xp_istft.compat import nnaudio
    from xp_istft.compat import torch as compat_torch

    return nn, nnaudio, compat_torch


def tensor(array=X):
    return pytest.importorskip("torch").from_numpy(np.array(array))


def flushed():
    stream = xi.StreamingISTFT(xi.STFT(256, 64))
    stream.push(X)
    return stream


WARNING = {
    "istft": lambda: xi.istft(X, hop_length=64, center=False),
    "istft of torch": lambda: xi.istft(tensor(), hop_length=64, center=False),
    "istft of Dask": lambda: xi.istft(pytest.importorskip("dask.array").from_array(X), hop_length=64, center=False),
    "istft, a length beyond": lambda: xi.istft(X, hop_length=64, length=2500),
    "istft at other frequencies": lambda: xi.istft(np.ones((160, 33), complex), n_fft=256, frequencies=GRID, solver=xi.Dual(maxiter=1)),
    "STFT.istft": lambda: EDGE.istft(X),
    "STFT.istft, bound": lambda f=EDGE.istft: f(X),
    "STFT.solve": lambda: EDGE.solve(X),
    "iSTFT": lambda: xi.iSTFT(256, hop_length=64, center=False)(X),
    "iSTFT at other frequencies": lambda: xi.iSTFT(256, freq_bins=40, freq_scale="log", sr=8000, fmax=2000)(np.ones((40, 9), complex)),
    "StreamingISTFT.flush": lambda stream=flushed(): stream.flush(2500),  # noqa: B008
    "StreamingISTFT.push": lambda: xi.StreamingISTFT(EDGE).push(X),
    "griffin_lim": lambda: xi.griffin_lim(abs(X), EDGE, n_iter=1, init="zero"),
    "project at other frequencies": lambda: xi.project(np.ones((9, 33), complex), xi.STFT(256, frequencies=SPARSE)),
    "inconsistency at other frequencies": lambda: xi.inconsistency(np.ones((9, 33), complex), xi.STFT(256, frequencies=SPARSE)),
    "nn.ISTFT": lambda: modules()[0].ISTFT(EDGE)(tensor()),
    "nn.GriffinLim": lambda: modules()[0].GriffinLim(EDGE, n_iter=1, init="zero")(tensor(abs(X))),
    "compat.librosa.stft": lambda: librosa.stft(np.zeros(9)),
    "compat.librosa.griffinlim": lambda: librosa.griffinlim(abs(X), momentum=1.1, n_iter=1),
    "compat.nnaudio.iSTFT": lambda: modules()[1].iSTFT(256, hop_length=64, center=False, verbose=False)(tensor()[None], onesided=True),
    "compat.scipy.istft": lambda: scipy.istft(X, nperseg=256, noverlap=192, boundary=False),
    "compat.jax.istft": lambda: compat_jax.istft(X, nperseg=256, noverlap=192, boundary=False),
}  # fmt: skip


@pytest.mark.parametrize("door", WARNING)
def test_a_warning_names_the_line_of_the_caller(door):
    call = WARNING[door]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    ours = [each for each in caught if "xp_istft" in each.category.__module__ or each.filename == __file__]
    assert ours, [str(each.message) for each in caught]
    for each in ours:
        assert (each.filename, each.lineno) == (__file__, call.__code__.co_firstlineno)


def test_the_same_warning_is_shown_once_for_each_line():
    """Python's own filter, which counts by line: here two lines, each twice."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            EDGE.istft(X)
            xi.istft(X, hop_length=64, center=False)
    assert len(caught) == 2


UNKNOWN = [
    (xi.istft, {"hop": 64}, "hop_length"),
    (xi.istft, {"pad_mode": "reflect"}, "padding"),
    (xi.istft, {"n_ftt": 256}, "n_fft"),
    (xi.stft, {"hop": 64}, "hop_length"),
    (xi.stft, {"windw": "hann"}, "window"),
    (xi.stft, {"colour": 3}, None),
    (xi.frame, {"n_fft": 256, "hop_length": 64, "win": "hann"}, "window"),
    (xi.overlap_add, {"hop_length": 64, "windows": "hann"}, "window"),
    (xi.griffin_lim, {"n_iters": 3}, "n_iter"),
    (xi.pghi, {"tolerance": 1}, "tol"),
    (xi.project, {"lenght": 1}, "length"),
    (xi.inconsistency, {"lenght": 1}, "length"),
]


@pytest.mark.parametrize(
    ("function", "options", "meant"), UNKNOWN, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(function, options, meant):
    (name,) = set(options) - set(inspect.signature(function).parameters)
    hint = f"; {meant}\\?" if meant else ""
    with pytest.raises(TypeError, match=rf"^{function.__name__}: {name}: need the name of a parameter, got .*{hint}$"):
        function(X, **options)


CONSTRUCTORS = [
    (xi.STFT, "hop", "hop_length"),
    (xi.Dual, "max_iter", "maxiter"),
    (xi.PerFrame, "weight", "weights"),
    (xi.FastGLA, "moment", "momentum"),
    (xi.StreamingISTFT, "transfrom", "transform"),
    (xi.StreamingSTFT, "transfrom", "transform"),
    (xi.iSTFT, "hop", "hop_length"),
    (xi.Frequencies, "hertz", "hz"),
]


@pytest.mark.parametrize(
    ("constructor", "name", "meant"), CONSTRUCTORS, ids=lambda value: getattr(value, "__name__", value)
)
def test_an_unknown_name_of_a_constructor_is_refused_with_the_one_that_was_meant(constructor, name, meant):
    with pytest.raises(
        TypeError, match=rf"^{constructor.__name__}: {name}: need the name of a parameter, .*; {meant}\?$"
    ):
        constructor(**{name: 1})


def doors():
    """The public functions of several parameters, and classes that are made with parameters."""
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    from xp_istft import nn, plot

    plots = [name for name in vars(plot) if name.startswith("plot_")]
    for module, names in ((xi, xi.__all__), (nn, nn.__all__), (plot, plots)):
        for name in names:
            door = getattr(module, name)
            if isinstance(door, type) and issubclass(door, (Exception, tuple)):
                continue
            if len(inspect.signature(door).parameters) > 1:
                yield door


def test_every_door_refuses_a_name_that_it_does_not_have():
    for door in doors():
        needed = [each.name for each in inspect.signature(door).parameters.values() if each.default is each.empty]
        with pytest.raises(TypeError, match=r"^\w+: colour: need the name of a parameter, got one that there is not"):
            door(**dict.fromkeys(needed, 1), colour=3)
