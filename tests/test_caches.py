"""What the package looks results up by is plain values, whatever the arguments were: no key changes its mind later."""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import sys
import types
import warnings
import weakref

import hostile
import numpy as np
import pytest
from hostile import GRID

import xp_istft as xi
from xp_istft import settings
from xp_istft.backends.base import Backend
from xp_istft.backends.cpu import memory
from xp_istft.compat import librosa, scipy
from xp_istft.compat import torch as compat_torch
from xp_istft.frequencies.bases import Basis
from xp_istft.frequencies.solvers import Solver

CACHE = type(functools.lru_cache(abs))
PLAIN = (int, float, str, bytes, bool, type(None))
# What has no value apart from itself: classes, modules, dtypes, functions of modules, devices and streams (by name, below).
BY_NATURE = (type, types.ModuleType, np.dtype, types.BuiltinFunctionType, Backend)


def wrong(value, path="key"):
    """Where in a key something stands that is no plain value, as a text; None where nothing does."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if kind in PLAIN or isinstance(value, BY_NATURE):
        return None
    if library == "xp_istft" and kind.__hash__ is object.__hash__ and dataclasses.is_dataclass(value):
        return None  # a job or a plan: frozen, made by the package, and kept by the key that it was made for
    if kind.__name__.lower() in ("dtype", "device", "stream"):  # of any library
        return None
    if kind is types.FunctionType:  # one of the package's own, not one that was given
        return None if value.__module__.startswith("xp_istft") else f"{path}: {value!r}"
    if library == "xp_istft" and not isinstance(value, tuple):
        inside = content_of(value)
        return inside and next(filter(None, (wrong(each, f"{path}.{name}") for name, each in inside)), None)
    if isinstance(value, tuple) and (kind is tuple or library == "xp_istft"):
        return next(filter(None, (wrong(each, f"{path}[{i}]") for i, each in enumerate(value))), None)
    return f"{path}: {value!r} of {kind}"


def content_of(value):
    """(name, value) of what an object of the package is compared by."""
    if isinstance(value, xi.STFT):
        return [("content", value._content)]
    if isinstance(value, xi.Frequencies):
        return [("digest", value._digest)]
    if isinstance(value, Basis):
        return [("n_bins", value.n_bins), ("digest", value.digest)]
    if isinstance(value, Solver):
        return [("content", value._content)]
    if dataclasses.is_dataclass(value):
        return [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value) if each.compare]
    return list(vars(value).items()) if type(value).__name__.endswith("Engine") else [("itself", object())]


def keys_of(cache):
    """The keys of an lru_cache, which it does not show: of its dictionaries that which is not its attributes."""
    marks = [each for each in gc.get_referents(cache) if type(each) is dict and each is not cache.__dict__]
    return [key for held in marks for key in held]


def caches():
    """(name, keys) of every cache of the package that is loaded."""
    for each in gc.get_objects():
        if type(each) is CACHE and each.__module__.startswith("xp_istft"):
            yield f"{each.__module__}.{each.__qualname__}", keys_of(each)
    yield "memory.views", list(memory._kept.views)
    yield "memory.buffers", list(memory._kept.buffers)
    for name, module in list(sys.modules.items()):
        if name.startswith("xp_istft"):
            for attribute, value in vars(module).items():
                if isinstance(value, (dict, weakref.WeakValueDictionary)) and not attribute.startswith("__"):
                    yield f"{name}.{attribute}", list(value)


def plain_of(key):
    """A key without what functools puts between positional arguments and named ones."""
    return tuple(each for each in key if type(each) is not object) if type(key) is tuple else key


def test_a_key_that_is_no_plain_value_is_found():
    kept = functools.lru_cache(lambda *values, **named: values)
    kept(1, "a", None, (2, (b"3",)), name=4.0)
    assert [wrong(plain_of(key)) for key in keys_of(kept)] == [None]
    for value in (np.int64(1), np.float64(2), np.str_("hann"), Number(3), (1, (np.int8(2),)), Text("hann"), lambda: 0):
        kept.cache_clear()
        kept(1, value)
        assert wrong(plain_of(*keys_of(kept))) is not None, value


# ------------------------------------------------------------------ arguments that are more than their value


class Number(int):
    """Equal to whatever it is compared with."""

    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class Fickle:
    """Another integer each time that it is asked."""

    def __init__(self, value):
        self.values = iter([value] * 64)

    def __index__(self):
        return next(self.values)


class Real(float):
    pass


class Text(str):
    __slots__ = ("owner",)


class Pair(tuple):
    __slots__ = ()


def member(value):
    return enum.IntEnum("Sizes", {"SIZE": value}).SIZE


def integers():
    yield from (Number, Fickle, np.int64, np.uint16, np.array, member)
    if "torch" in sys.modules:
        yield sys.modules["torch"].tensor
    if "jax" in sys.modules:
        yield sys.modules["jax"].numpy.asarray


def windows():
    """Windows of 256 samples, and the same by other means."""
    for kind in (Text, np.str_):
        yield kind("hamming")
    for number in (Real, np.float32, np.float64, np.array, Number):
        yield "kaiser", number(8)
        yield Pair((Text("kaiser"), number(8)))
        yield "general_gaussian", number(1), number(40)
    yield "general_cosine", [0.5, np.float64(0.5)]
    yield hostile.HANN
    yield hostile.HANN.tolist()
    yield np.hanning
    yield hostile.HANN.astype(np.float32)


def calls():
    """The functions that keep anything, with such arguments in every place that takes them."""
    x, X = np.array(hostile.signal(2)), hostile.spectrum()
    for of in integers():
        h, n, one = of(64), of(256), of(1)
        yield lambda h=h, n=n, of=of: xi.stft(
            x,
            n,
            hop_length=h,
            win_length=of(200),
            padding=(of(128), of(128)),
            axis=of(-1) if of in (Number, np.int64) else -1,
        )
        yield lambda h=h, n=n, of=of: xi.istft(X, n_fft=n, hop_length=h, length=of(1900), workers=of(1))
        yield lambda h=h, n=n, of=of: xi.STFT(n, h, padding=of(128)).istft(X, length=of(1901))
        yield lambda h=h, n=n: xi.frame(x, n, h)
        yield lambda h=h, of=of: xi.overlap_add(np.ones((256, 9)), h, length=of(700))
        yield lambda h=h, n=n, of=of: compat_torch.istft(X, n, h, length=of(1902), strict=True)
        yield lambda h=h, n=n: librosa.istft(X, hop_length=h, n_fft=n)
        yield lambda n=n, of=of: scipy.stft(x, nperseg=n, noverlap=of(192))
        yield lambda h=h, of=of: scipy.ShortTimeFFT(hostile.HANN, h, 1.0, mfft=of(300), phase_shift=of(3)).stft(x)
        yield lambda h=h, n=n, of=of: xi.griffin_lim(abs(X), xi.STFT(n, h), n_iter=of(1), length=of(1903), init="zero")
        yield lambda h=h, n=n, of=of: xi.StreamingISTFT(xi.STFT(n, h)).push(X)
        yield lambda h=h, n=n, of=of: xi.StreamingSTFT(xi.STFT(n, h)).push(x)
        yield lambda h=h, n=n, one=one: xi.STFT(
            n, h, frequencies=GRID, solver=xi.Dual(maxiter=one, tol=np.float32(0.5), regularization=np.float64(1))
        ).istft(X_of_grid())
        yield lambda h=h, n=n: xi.STFT(n, h, frequencies=GRID, solver=xi.Dual(np.ones(160, np.float32))).istft(
            X_of_grid()
        )
        yield lambda h=h, n=n, of=of: xi.STFT(n, h).coverage(of(33))
        yield lambda of=of: GRID.basis(of(128))
    for window in windows():
        yield lambda w=window: xi.stft(x, 256, hop_length=64, window=w)
        yield lambda w=window: xi.istft(X, n_fft=256, hop_length=64, window=w, synthesis_window=w)
        yield lambda w=window: xi.dual_window(w, 64, win_length=256)
        yield lambda w=window: librosa.stft(x, n_fft=256, window=w)
        yield lambda w=window: scipy.istft(X, nperseg=256, window=w)
        yield lambda w=window: compat_torch.istft(X, 256, 64, window=w, strict=True)
    for text in (Text, np.str_):
        yield lambda of=text: xi.stft(x, 256, pad_mode=of("reflect"), scaling=of("ortho"), padding=of("same"))
        yield lambda of=text: xi.stft(x, 256, pad_mode=of("replicate"), center=np.True_, onesided=np.True_)
        yield lambda of=text: xi.istft(
            X, n_fft=256, nola=of("zero"), scaling=of("psd"), max_gain=Real(10), padding=of("full")
        )
        yield lambda of=text: xi.istft(
            X, n_fft=256, nola=of("warn"), max_gain=np.float32(10), solver=xi.Dual(of("density"), of("band"))
        )
        yield lambda of=text: xi.STFT(256, frequencies=GRID, solver=xi.Adjoint(of("uniform"))).istft(X_of_grid())
        yield lambda of=text: xi.stft(x, 256, frequencies=xi.Frequencies([100, np.float32(200)], np.float32(8000)))
        yield lambda of=text: engine(of("numpy"))
    yield lambda: xi.stft(x, 256, padding=Pair((np.int64(128), Number(128))))
    yield lambda: xi.stft(x, 256, frequencies=np.ones((5, 256), complex))
    yield lambda: xi.istft(X, hop_length=64, axes=Pair((np.int64(-2), Number(-1))))
    yield lambda: xi.stft(hostile.strided(np.ones((2, 4000))), 256)


def X_of_grid():
    return np.ones((2, 160, 33), complex)


def engine(name):
    with xi.fft_engine(name):
        assert type(settings.get_fft_engine()) is str
        return xi.stft(np.array(hostile.signal()), 256)


@pytest.fixture(scope="module")
def filled():
    """Caches that such calls have filled, each made twice: the second one finds what the first has kept."""
    for name in ("torch", "jax"):
        try:
            __import__(name)
        except ImportError:
            continue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in calls():
            np.testing.assert_array_equal(first(call()), first(call()))
        tensors()


def first(result):
    return result[-1] if isinstance(result, tuple) else result


def tensors():
    torch = sys.modules.get("torch")
    if torch is None:
        return
    from xp_istft import nn

    x, X = torch.from_numpy(np.array(hostile.signal(2))), torch.from_numpy(hostile.spectrum())
    for of in (Number, np.int64, torch.tensor):
        for window in ("hann", torch.hann_window(256), torch.hann_window(256, requires_grad=True), Text("hann")):
            xi.stft(x, of(256), hop_length=of(64), window=window)
            xi.istft(X, n_fft=of(256), hop_length=of(64), window=window, length=of(1900))
            compat_torch.istft(X, of(256), of(64), window=window, length=of(1900), strict=True)
        t = xi.STFT(of(256), of(64))
        nn.ISTFT(t, trainable_window=True)(X, length=int(of(1900))).sum().backward()
        nn.STFT(t)(x.float())
    xi.stft(x.requires_grad_(), np.int64(256), hop_length=Number(64)).abs().sum().backward()


def test_every_key_is_made_of_plain_values(filled):
    found = {name: list(filter(None, (wrong(plain_of(key)) for key in keys))) for name, keys in caches()}
    assert {name: places for name, places in found.items() if places} == {}


def test_the_caches_that_calls_fill_were_looked_at(filled):
    """A walk that finds nothing proves nothing."""
    sizes = dict.fromkeys((name for name, _ in caches()), 0)
    for name, keys in caches():
        sizes[name] += len(keys)
    for name in (
        "transforms._of_signal", "transforms._of_spectrum", "transform._analysis", "transform._synthesis", "transform._plain_analysis",
        "transform._plain_synthesis", "windows.window_samples", "streaming._endless", "compat.torch._least_overlap", "dtypes._name",
        "backends.backend_for_type", "frequencies.normal_equations.host_terms", "backends.cpu.overlap.overlap_of",
    ):  # fmt: skip
        assert sizes[f"xp_istft.{name}"] > 0, sorted(sizes)
    assert sizes["memory.views"] > 0


@pytest.mark.parametrize("of", [Fickle, np.array, Number])
def test_what_was_kept_does_not_follow_its_argument(of):
    """A number that is changed after a call, or is another when it is asked again."""
    x = np.array(hostile.signal())
    hop = of(64)
    want = xi.stft(x, 256, hop_length=64)
    np.testing.assert_array_equal(xi.stft(x, 256, hop_length=hop), want)
    if of is np.array:
        hop[...] = 32
        np.testing.assert_array_equal(xi.stft(x, 256, hop_length=hop), xi.stft(x, 256, hop_length=32))
    window = hostile.HANN.copy()
    before = xi.stft(x, 256, window=window)
    window[100] = 0
    assert not np.array_equal(xi.stft(x, 256, window=window), before)
    np.testing.assert_array_equal(xi.stft(x, 256, hop_length=64), want)
