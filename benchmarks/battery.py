"""The reliability battery: what each implementation of the inverse makes of 167 hostile, broken and edge inputs.

    python benchmarks/battery.py                       xp_istft on NumPy and torch, and every peer that is installed;
                                                       writes results/battery.md
    python benchmarks/battery.py torch librosa         these only
    python benchmarks/battery.py --cases D11 E27 --    these rows only, with what came

The rows are those of tests/hostile.py, by their numbers, and PROCEDURES below, for what needs more than a call. Each
runs in a forked child of its own, with a time and a memory limit, and a good call must be right afterwards. A row is
judged by its outcome: the right value; an error that names the argument, by the peer's own name of it; a warning; an
error that does not; a wrong value in silence; the end or a hang of the process. A row with a value is met by the value,
one that must be refused by an error that names the argument or a warning, the rest by any of these. Peers work in
their own convention where they have one, and in single precision where they have only that. What they have no
parameter for does not count.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib.util
import multiprocessing
import os
import pickle
import re
import resource
import signal as signals
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import hostile
import numpy as np
from hostile import BASE, HANN, Gives, Refused, Row, signal, spectrum
from results import arguments, status, table, write

OUTCOMES = ("right", "named", "warned", "unnamed", "wrong", "crash", "n/a")
MET = {"value": OUTCOMES[:1], "error": OUTCOMES[1:3], "either": OUTCOMES[:3]}
_EITHER = """
    A06 A07 A09 A15 A18 A20 A23 B01 B02 B03 B04 B07 B08 B11 B13 C05 C07 C08 D03 D12 D26 D32 D38 D39 D44 D48 D59 D60
    E03 E07 E11 E12 E13 E14 E17 E18 E19 E22 E26 E29"""
EITHER = frozenset(_EITHER.split())  # rows that both a value and an error suit, whatever our own library does
EMPTY = ("A07", "A09")  # whose value has no samples
WEAK = ("D48", "D59")  # whose first sample next to nothing determines
MEMORY_BYTES, SECONDS = 3 << 30, 180  # of a row


class NotApplicableError(Exception):
    """The implementation has no such parameter, or no such data."""


class RaisedError(Exception):
    """What the implementation raised, as __cause__."""


# ------------------------------------------------------------------ implementations


class Inverse:
    """An implementation. `call` takes host arrays (anything else as it is) and the parameters of xp_istft.

    names     : its own words for those of xp_istft, as a pattern
    lacks     : parameters that it has none of
    tolerance : of a value, relative to 1
    """

    name, package = "xp_istft", "xp_istft"
    names: ClassVar[dict[str, str]] = {}
    lacks: tuple[str, ...] = ()
    tolerance = 0.0
    torch = False

    def __init__(self) -> None:
        self.module = importlib.import_module(self.package)

    def native(self, array: np.ndarray) -> Any:
        return array

    def host(self, array: Any) -> np.ndarray:
        if self.torch:
            array = array.detach().resolve_conj().resolve_neg()
        return np.asarray(array.detach() if hasattr(array, "detach") else array)

    def istft(self, X: Any, **given: Any) -> Any:
        return self.module.istft(X, **given)

    def reusable(self) -> Callable[[Any], Any]:
        """A transform that is made once."""
        return self.module.STFT(**BASE).istft

    def threads(self, count: int) -> None:
        self.module.set_workers(count)

    def call(self, data: Any, **given: Any) -> np.ndarray:
        default = {"center": True, "onesided": True}
        kept = {name: value for name, value in given.items() if name not in self.lacks}
        for name in given.keys() - kept.keys():
            if given[name] is not None and given[name] is not default.get(name):
                raise NotApplicableError(name)
        theirs = [each for each in (data, kept.get("window")) if isinstance(each, np.ndarray) and each.size < 1 << 22]
        before = [each.tobytes() for each in theirs if each.dtype != object]
        try:
            plain = isinstance(data, np.ndarray) and not isinstance(data, (np.ma.MaskedArray, np.matrix))
            return self.host(self.istft(self.native(data) if plain else data, **kept))
        except NotApplicableError:
            raise
        except Exception as cause:
            raise RaisedError from cause
        finally:
            assert before == [each.tobytes() for each in theirs if each.dtype != object], "an array was changed"

    def good(self, X: np.ndarray | None = None, **sizes: Any) -> np.ndarray:
        return self.call(spectrum() if X is None else X, **{**BASE, **sizes})


class OnTorch(Inverse):
    name, torch = "xp_istft on torch", True

    def native(self, array: np.ndarray) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of arrays that cannot be written
                return importlib.import_module("torch").from_numpy(array)
        except (TypeError, ValueError) as cause:  # of dtypes, byte orders and strides
            raise NotApplicableError("there is no such tensor") from cause

    def istft(self, X: Any, **given: Any) -> Any:
        if isinstance(out := given.get("out"), np.ndarray):
            if not out.flags.writeable or out.dtype.byteorder == ">":
                raise NotApplicableError("there is no such tensor")
            given["out"] = self.native(out)
        return super().istft(X, **given)


class Peer(Inverse):
    tolerance = 1e-9

    def reusable(self) -> Callable[[Any], Any]:
        raise NotApplicableError("a function only")

    def threads(self, count: int) -> None:
        raise NotApplicableError("no threads to choose")


def samples(window: Any, size: Any, n_fft: Any) -> np.ndarray:
    """A window, in the middle of n_fft samples as ours; n/a where the peer's words have none that is so."""
    sizes = all(isinstance(each, (int, np.integer)) for each in (size, n_fft))
    named = isinstance(window, str) and window in ("hann", "hamming", "boxcar")
    if not sizes or not 0 < size <= n_fft or not (named or getattr(window, "shape", None) == (size,)):
        raise NotApplicableError("windows are arrays")
    return hostile.definition.window_samples(window, int(size), int(n_fft))


class Torch(Peer, OnTorch):
    name = package = "torch"
    names: ClassVar = {"X": "input"}
    lacks = ("out",)

    def istft(self, X: Any, n_fft: Any = None, window: Any = "hann", win_length: Any = None, **given: Any) -> Any:
        if n_fft is None or isinstance(window, (tuple, list)):
            raise NotApplicableError("n_fft is needed, windows are tensors")
        if isinstance(window, str):
            size = win_length if isinstance(win_length, int) and win_length > 0 else n_fft
            window = samples(window, size, size)
        if isinstance(window, np.ndarray):
            single = getattr(X, "dtype", None) in (self.module.complex64, self.module.float32)
            window = self.module.from_numpy(window.astype("f") if single and window.dtype == float else window)
        return self.module.istft(X, n_fft, window=window, win_length=win_length, **given)

    def threads(self, count: int) -> None:
        self.module.set_num_threads(count)


class NnAudio(Peer, OnTorch):
    name, package = "nnAudio", "nnAudio.features.stft"
    lacks = ("out",)
    tolerance = 5e-5

    def istft(self, X: Any, onesided: Any = True, length: Any = None, **given: Any) -> Any:
        if not isinstance(given.get("window", "hann"), str) or given.get("n_fft", 0) is None:
            raise NotApplicableError("windows by name, n_fft needed")
        layer, torch = self.module.iSTFT(**given, verbose=False), importlib.import_module("torch")
        if isinstance(X, torch.Tensor) and X.is_complex():
            layer = layer.double() if X.dtype == torch.complex128 else layer
            X = torch.view_as_real(X.resolve_conj())
        return layer(X, onesided=onesided, length=length)


class Librosa(Peer):
    name = package = "librosa"
    names: ClassVar = {"X": "stft_matrix"}
    lacks = ("onesided",)

    def __init__(self) -> None:
        super().__init__()
        for kind in (np.complex64, complex):  # compiled once, not in every child
            self.module.istft(np.ones((129, 9), kind), hop_length=64)


class Scipy(Peer):
    name, package = "scipy.signal.istft", "scipy.signal"
    names: ClassVar = {"X": "Zxx", "hop_length": "noverlap", "n_fft": "nfft|nperseg", "win_length": "nperseg",
                       "center": "boundary", "onesided": "input_onesided"}  # fmt: skip
    lacks = ("length", "out")

    def istft(self, X: Any, n_fft: Any = None, hop_length: Any = None, win_length: Any = None, window: Any = "hann",
              center: Any = True, onesided: Any = True) -> Any:  # fmt: skip
        size = n_fft if win_length is None else win_length
        size = len(window) if size is None and isinstance(window, np.ndarray) else size
        if size is None or isinstance(hop_length, (str, bool)) or window is None:
            raise NotApplicableError("the hop is given as noverlap")
        with contextlib.suppress(NotApplicableError):
            if win_length:
                window, size = samples(window, win_length, n_fft), n_fft
        sizes = {"nperseg": size, "noverlap": None if hop_length is None else size - hop_length, "nfft": n_fft}
        _, y = self.module.istft(X, window=window, input_onesided=onesided, boundary=center, **sizes)
        with contextlib.suppress(Exception):  # scipy's scaling; what it makes of a bad window, it made
            array = isinstance(window, np.ndarray)
            total = (window if array else hostile.definition.window_samples(window, size, size)).sum()
            return y / total if np.isfinite(total) and total else y
        return y


class Jax(Scipy):
    name, package = "jax", "jax.scipy.signal"

    def __init__(self) -> None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self.jax = importlib.import_module("jax")
        self.jax.config.update("jax_enable_x64", True)
        super().__init__()

    def native(self, array: np.ndarray) -> Any:
        if array.dtype.kind not in "biufc" or array.dtype == np.clongdouble:
            raise NotApplicableError("its arrays have no such dtype")
        return self.jax.numpy.asarray(array)

    def host(self, array: Any) -> np.ndarray:
        return np.array(array)


class ShortTime(Peer):
    """In its own convention: its spectra begin before the signal, and its gain at the ends is that of the middle."""

    name, package = "scipy.signal.ShortTimeFFT", "scipy.signal"
    names: ClassVar = {"X": "S", "hop_length": "hop", "n_fft": "mfft", "win_length": "mfft|win", "window": "win",
                       "length": "k1", "onesided": "fft_mode"}  # fmt: skip
    lacks = ("out", "center")

    def transform(self, n_fft: Any = 256, hop_length: Any = 64, win_length: Any = None, window: Any = "hann",
                  onesided: Any = True) -> Any:  # fmt: skip
        if n_fft is None or hop_length is None or not isinstance(onesided, bool):
            raise NotApplicableError("the sizes are needed")
        if isinstance(window, str) and window not in ("hann", "hamming", "boxcar"):
            return self.module.ShortTimeFFT.from_window(window, 1.0, n_fft, n_fft - hop_length, mfft=n_fft)
        if isinstance(window, tuple) and isinstance(n_fft, int):
            window = hostile.definition.window_samples(window, n_fft, n_fft)
        elif win_length is not None or isinstance(window, str):
            window = samples(window, n_fft if win_length is None else win_length, n_fft)
        mode = "onesided" if onesided else "twosided"
        return self.module.ShortTimeFFT(window, hop_length, 1.0, fft_mode=mode, mfft=n_fft, phase_shift=None)

    def istft(self, X: Any, length: Any = None, center: Any = True, **sizes: Any) -> Any:
        return self.transform(**sizes).istft(X, k1=length)

    def reusable(self) -> Callable[[Any], Any]:
        return self.transform().istft

    def spectrum(self, x: np.ndarray | None = None, center: Any = True, **sizes: Any) -> np.ndarray:
        if center is not True:
            raise NotApplicableError("no center")
        return self.transform(**sizes).stft(signal(2) if x is None else x)

    def inverse(self, X: np.ndarray, length: Any = None, hop_length: Any = 64, **sizes: Any) -> np.ndarray:
        """Frames times the dual window of the steady state, added one by one."""
        hop, X = int(hop_length), np.asarray(X).astype(complex)
        known = ("n_fft", "win_length", "window", "onesided")
        t = self.transform(hop_length=hop, **{name: sizes[name] for name in known if name in sizes})
        weight = np.array([(t.win[n % hop :: hop] ** 2).sum() for n in range(t.mfft)])
        n_samples = (X.shape[-1] + t.p_min - 1) * hop + t.m_num - t.m_num_mid if length is None else int(length)
        segments = np.fft.irfft(X, t.mfft, axis=-2) if sizes.get("onesided", True) else np.fft.ifft(X, axis=-2)
        y = np.zeros((*X.shape[:-2], n_samples), segments.dtype)
        for m in range(X.shape[-1]):
            start = (m + t.p_min) * hop - t.m_num_mid
            a, b = max(0, start), min(n_samples, start + t.mfft)
            if a < b:
                y[..., a:b] += (segments[..., m] * t.win / weight)[..., a - start : b - start]
        return y


IMPLEMENTATIONS = {each.name: each for each in (Inverse, OnTorch, Torch, Librosa, Scipy, ShortTime, NnAudio, Jax)}
OURS = ("xp_istft", "xp_istft on torch")


# ------------------------------------------------------------------ rows


def row_case(row: Row, im: Inverse) -> None:
    """Returns where the value is right; AssertionError where it is not, UserWarning where that was said."""
    if not isinstance(row.outcome, (Refused, Gives)):
        row.outcome(im.call)
        return
    data, given = (row.data or spectrum)(), {**BASE, **row.parameters}
    if im.name in OURS or isinstance(row.outcome, Gives):
        given = {name: value for name, value in given.items() if value is not None or name == "window"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        y = im.call(data, **given)
    try:
        right_value(row, im, data, y)
        assert said or not getattr(row.outcome, "warning", None), "samples made up without a word"
    except AssertionError as cause:
        if said:
            raise UserWarning(str(said[0].message)) from cause
        raise


def right_value(row: Row, im: Inverse, data: Any, y: np.ndarray) -> None:
    """AssertionError unless y is what the definition gives, where it can give anything."""
    assert isinstance(row.outcome, Gives) or row.id in EITHER, f"accepted: shape {y.shape}"
    known = {"onesided": row.id != "A15", **BASE, **row.parameters, **getattr(row.outcome, "known", {})}
    known = {name: int(value) if isinstance(value, float) else value for name, value in known.items()}
    host = np.asarray(data.filled(0) if isinstance(data, np.ma.MaskedArray) else data, dtype=complex)
    if known.get("length") == 0 or host.size == 0 or row.id in EMPTY:
        assert y.size == 0, "samples made up"
        return
    want = hostile.inverse(host, **known)
    assert y.shape == want.shape, f"shape {y.shape} for {want.shape}"
    y, want = (each[..., int(row.id in WEAK) :] for each in (y, want))
    off = np.abs(y - want).max(initial=0)
    tolerance = max(getattr(row.outcome, "tol", 1e-4), im.tolerance, 1e-9)
    assert off <= tolerance * (np.abs(want).max(initial=0) or 1), f"off by {off:.2g}"


def near(y: np.ndarray) -> None:
    np.testing.assert_allclose(y, hostile.inverse(spectrum()), atol=1e-4)


def refused(im: Inverse, data: Any, **given: Any) -> None:
    im.call(data, **given)
    raise AssertionError("accepted")


def gradients(im: Inverse) -> None:
    sizes = {"n_fft": 16, "hop_length": 4, "window": "hann"}
    parts = np.random.default_rng(0).standard_normal((2, 1, 9, 5))
    if isinstance(im, Jax):
        check = importlib.import_module("jax.test_util").check_grads
        check(lambda re, im_: im.istft(re + 1j * im_, **sizes), tuple(parts), order=1, modes=["rev"])
    elif im.torch and not isinstance(im, NnAudio):
        X = im.native(parts[0] + 1j * parts[1]).requires_grad_()
        assert torch().autograd.gradcheck(lambda X: im.istft(X, **sizes), (X,))
    else:
        raise NotApplicableError("no gradients of double precision")


def torch() -> Any:
    return importlib.import_module("torch")


def needs(applies: bool) -> None:
    if not applies:
        raise NotApplicableError("of other libraries")


def foreign(im: Inverse, followed: bool) -> None:
    """Data of torch, for a library of another kind."""
    needs(not im.torch)
    near(im.call(torch().from_numpy(spectrum()).requires_grad_(followed), **BASE))


def window_without_values(im: Inverse) -> None:
    needs(im.torch and not isinstance(im, NnAudio))
    refused(im, spectrum(), **BASE, window=torch().ones(256, device="meta"))


def lazy_conjugate(im: Inverse) -> None:
    needs(im.torch)
    near(im.call(im.native(spectrum().conj()).conj(), **BASE))


def out(im: Inverse, overlapping: bool) -> None:
    """A view of memory: every second number of `out`, or the numbers of the data."""
    needs("out" not in im.lacks and not im.torch)
    if overlapping:
        X = spectrum()
        refused(im, X, **BASE, out=X.view(float).reshape(-1)[:4096].reshape(2, 2048))
    big = np.full((2, 4096), 7.0)
    im.good(out=big[:, ::2])
    near(big[:, ::2])
    assert (big[:, 1::2] == 7).all(), "neighbours overwritten"


def nothing_changes(im: Inverse) -> None:
    def state() -> tuple[Any, ...]:
        return np.geterr(), len(warnings.filters), importlib.import_module("random").getstate(), dict(os.environ)

    im.good()
    before = state()
    im.good()
    assert state() == before


def leak(im: Inverse, **wrong: Any) -> None:
    def some(count: int) -> int:
        for _ in range(count):
            with contextlib.suppress(RaisedError):
                im.good(**wrong)
        gc.collect()
        return status("VmRSS")

    before = some(60)
    assert some(300) - before < (5e6 if im.name in OURS else 20e6)


def at_once(im: Inverse, function: Callable[[np.ndarray], np.ndarray], rounds: int) -> None:
    spectra = [spectrum(signal(2, n_samples=n_samples)) for n_samples in (1024, 2048, 4096, 1536)]
    alone = [function(X) for X in spectra]
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(8) as pool:
        turns = [i % 4 for i in range(8 * rounds)]
        made = pool.map(lambda k: np.array_equal(function(spectra[k]), alone[k]), turns)
        assert all(made), "other bits beside others"


def reused(im: Inverse, transform: Callable[[Any], Any] | None = None) -> Callable[[np.ndarray], np.ndarray]:
    transform = transform or im.reusable()
    return lambda X: np.array(im.host(transform(im.native(X))))


def any_threads(im: Inverse) -> Iterator[Any]:
    X = spectrum(signal(8, n_samples=8192))
    for count in (1, 2, 4):
        im.threads(count)
        yield im.good(X)


def any_blocks(im: Inverse) -> Iterator[Any]:
    needs(im.name == "xp_istft")
    yield im.good()
    for n_bytes in (1 << 12, 1 << 15, 3 << 15):
        with importlib.import_module("xp_istft.tuning").tuned(block_bytes=n_bytes):
            yield im.good()


def copies(im: Inverse) -> list[np.ndarray]:
    transform, X = im.reusable(), spectrum()
    every = (transform, pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform))
    return [reused(im, each)(X) for each in every]


def small_stack(im: Inverse) -> list[np.ndarray]:
    threading.stack_size(256 * 1024)
    with ThreadPoolExecutor(1) as pool:
        return [im.good(), pool.submit(im.good).result()]


def same_bits(results: Callable[[Inverse], Iterable[np.ndarray]], im: Inverse) -> None:
    """All of a row's results are equal."""
    first, *others = results(im)
    for each in others:
        assert np.array_equal(first, each), "other bits"


def after_a_fork(im: Inverse) -> None:
    with contextlib.suppress(NotApplicableError):
        im.threads(2)
    X = spectrum(signal(8, n_samples=16384))
    y = im.good(X)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: im.good(X), range(4)))
    assert in_a_child(lambda: np.array_equal(im.good(X), y), 30) is True


def at_exit(im: Inverse) -> None:
    if isinstance(im, Jax):
        raise NotApplicableError("does not fork")
    y = im.good()

    def work() -> bool:
        atexit, right = importlib.import_module("atexit"), []
        atexit.register(lambda: right.append(np.array_equal(im.good(), y)))
        atexit._run_exitfuncs()
        return right == [True]

    assert in_a_child(work, 40) is True


def interrupt(im: Inverse) -> None:
    """Ctrl-C in the middle of a call that takes seconds. Ours: seen within half a second."""
    X = spectrum(signal(1, n_samples=64 * 800))

    def taken(X: Any) -> float:
        start = time.perf_counter()
        im.host(im.istft(X, **BASE))
        return time.perf_counter() - start

    taken(im.native(X))
    frames = int(min(200_000, max(4000, X.shape[-1] / taken(im.native(X)))))
    big = im.native(np.ascontiguousarray(np.broadcast_to(X[..., 400:401], (1, 129, frames))))
    late = 0.3 * min(taken(big), taken(big))
    sent: list[float] = []

    def fire() -> None:
        time.sleep(late)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signals.SIGINT)

    signals.signal(signals.SIGINT, signals.default_int_handler)
    thread = threading.Thread(target=fire)
    try:
        thread.start()
        for _ in range(50):
            taken(big)
    except KeyboardInterrupt:
        seen = time.perf_counter()
        thread.join()
        assert seen - sent[0] < 0.5 or im.name not in OURS, "seen late"
        return
    raise AssertionError("swallowed")


def beside_refusals(im: Inverse) -> None:
    X = spectrum()
    y = im.good(X)

    def work(i: int) -> bool:
        if i % 3:
            return np.array_equal(im.good(X), y)
        with contextlib.suppress(RaisedError):
            im.call(X[:, :5], n_fft=-3, hop_length=0)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40))), "a good call went wrong"


def no_memory(im: Inverse) -> None:
    """An error that speaks of memory, and a good call right after it."""
    big = np.broadcast_to(spectrum()[:1, :, :1], (64 if isinstance(im, Jax) else 256, 129, 40000))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + (300 << 20), limits[1]))
    try:
        refused(im, big, **BASE)
    except RaisedError as raised:
        cause = raised.__cause__
        if not re.search("memory|RESOURCE_EXHAUSTED", f"{type(cause).__name__} {cause}", re.IGNORECASE):
            raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


class Case(NamedTuple):
    """What is run; what it wants: "value", "error" or "either"; the arguments that an error may name."""

    run: Callable[[Inverse], None]
    want: str = "value"
    about: tuple[str, ...] = ()


LONG = np.broadcast_to(np.ones((1, 3, 1), complex), (1, 3, 2**29 + 10))  # longer than an index of 31 bits
BITS: dict[str, Callable[[Inverse], Iterable[np.ndarray]]] = {
    "G01": lambda im: [im.good() for _ in range(20)],
    "G04": any_threads,
    "G05": lambda im: [im.good(np.repeat(spectrum()[:1], n, axis=0))[n - 1] for n in (1, 2, 7)],
    "G06": any_blocks,
    "G07": lambda im: [im.good(change(spectrum())) for change in (np.array, np.asfortranarray, hostile.strided)],
    "G08": lambda im: [im.good(spectrum()[..., :n].copy())[:, 200:1024] for n in (20, 33)],
    "G10": copies,
    "G16": small_stack,
}
PROCEDURES = {
    "C12": Case(gradients),
    "D52": Case(lambda im: refused(im, spectrum(), n_fft=256, hop=64), "error", ("hop",)),
    "E17": Case(partial(foreign, followed=False), "either", ("X",)),
    "E18": Case(partial(foreign, followed=True), "either", ("X",)),
    "E19": Case(
        lambda im: near(im.good(window=HANN if im.torch else torch().from_numpy(HANN.copy()))), "either", ("window",)
    ),
    "E20": Case(window_without_values, "error", ("window",)),
    "E21": Case(lazy_conjugate),
    "E26": Case(partial(out, overlapping=False), "either", ("out",)),
    "E27": Case(partial(out, overlapping=True), "error", ("out",)),
    "F03": Case(nothing_changes),
    "F04": Case(partial(leak, hop_length=-1)),
    "F05": Case(leak),
    "G02": Case(lambda im: at_once(im, im.good, 10)),
    "G03": Case(lambda im: at_once(im, reused(im), 60)),
    "G09": Case(after_a_fork),
    "G11": Case(interrupt),
    "G12": Case(beside_refusals),
    "G13": Case(no_memory),
    "G14": Case(
        lambda im: refused(im, LONG, n_fft=4, hop_length=4, window="boxcar"), "error", ("X", "length", "memory")
    ),
    "G17": Case(at_exit),
    **{number: Case(partial(same_bits, pairs)) for number, pairs in BITS.items()},
}


def cases() -> dict[str, list[Case]]:
    """Number -> what is run under it."""
    found: dict[str, list[Case]] = {}
    for row in hostile.ROWS:
        if "spectrum" in row.takes and not row.id.startswith("X"):
            must = isinstance(row.outcome, Refused)
            want = "either" if row.id in EITHER else "error" if must else "value"
            about = [row.outcome.text.partition(":")[0]] if must else ["X"]
            case = Case(partial(row_case, row), want, (*about, *row.parameters))
            found.setdefault(row.id, []).append(case)
    return dict(sorted((found | {number: [case] for number, case in PROCEDURES.items()}).items()))


# ------------------------------------------------------------------ judgement


def judged(case: Case, im: Inverse) -> tuple[str, str]:
    """The outcome, and what was said."""
    try:
        case.run(im)
    except NotApplicableError as cause:
        return "n/a", str(cause)
    except UserWarning as cause:
        return "warned", str(cause)
    except (EOFError, TimeoutError) as cause:  # of a child's child
        return "crash", type(cause).__name__
    except AssertionError as cause:
        return "wrong", " ".join(str(cause).split())[:200]
    except RaisedError as raised:
        cause = raised.__cause__
        text = " ".join(str(cause).split("\nException raised")[0].split())
        read = re.sub(r"^istft\(.*?center=\d.*?\)\s*:?", "", text)  # torch repeats every parameter
        words = "|".join(im.names.get(name, name) for name in case.about)
        named = words and re.search(rf"\b({words})\b", read)
        return "named" if named else "unnamed", f"{type(cause).__name__}: {text[:200]}"
    except Exception as cause:  # of a procedure's own
        return "unnamed", f"{type(cause).__name__}: {cause}"
    return "right", ""


def worst(number: str, parts: list[Case], im: Inverse) -> tuple[str, str]:
    """The worst outcome of the parts, under the limits of a row; a good call afterwards must be right."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if PROCEDURES.get(number, parts[0]).run is not no_memory:
        limit = MEMORY_BYTES * (3 if isinstance(im, Jax) else 1)
        resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + limit, -1))

    def badness(found: tuple[str, str]) -> tuple[bool, bool, int]:
        outcome = found[0]
        return outcome != "n/a", outcome not in MET[parts[0].want], OUTCOMES.index(outcome)

    found = max((judged(part, im) for part in parts), key=badness)
    if found[0] != "n/a":
        try:
            near(im.good())
        except BaseException as cause:
            return "crash", f"broken afterwards: {cause}"[:200]
    return found


def in_a_child(work: Callable[[], Any], seconds: float | None = None) -> Any:
    """What `work` makes in a forked process; EOFError where that ended, TimeoutError where it hung."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: sender.send(work()))
    child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise TimeoutError(f"no answer in {seconds} s")
        return receiver.recv()
    finally:
        child.kill()
        child.join()


def score(name: str, only: list[str]) -> Counter[str]:
    """How many rows ended how, and how many were met."""
    im = IMPLEMENTATIONS[name]()
    hostile.convention = hostile.Convention(tolerance=im.tolerance)
    if isinstance(im, ShortTime):
        hostile.convention = hostile.Convention(im.spectrum, im.inverse, im.tolerance, lambda m: 64 * (m - 1) - 128)
    tally: Counter[str] = Counter()
    for number, parts in cases().items():
        if only and number not in only:
            continue
        for _ in range(2):  # what hangs does so twice, for a busy machine may be late once
            try:
                found, said = in_a_child(partial(worst, number, parts, im), SECONDS)
                break
            except (EOFError, TimeoutError) as cause:
                found, said = "crash", f"{type(cause).__name__} {cause}"
        met = found in MET[parts[0].want]
        tally.update([found, *(["met"] if met else [])])
        if only or (name in OURS and found != "n/a" and not met):
            print(f"  {number} {found}: {said}", flush=True)
    return tally


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(IMPLEMENTATIONS))
    parser.add_argument("--cases", nargs="*", default=[], help="these numbers only, with what came")
    chosen = parser.parse_args()
    only = ["A01", "C13", "D01", "D52", "G01"] if chosen.quick else chosen.cases
    names = chosen.names or (OURS[:1] if chosen.quick else IMPLEMENTATIONS)
    rows: list[list[str | float | None]] = []
    short = False
    for name in names:
        needed = (IMPLEMENTATIONS[name].package, "torch" if IMPLEMENTATIONS[name].torch else "numpy")
        if not all(importlib.util.find_spec(package.partition(".")[0]) for package in needed):
            print(f"{name}: not installed")
            continue
        tally = in_a_child(partial(score, name, only))
        count = sum(tally[each] for each in OUTCOMES[:-1])
        short |= name in OURS and not 0 < count <= tally["met"]
        percent = f"{100 * tally['met'] // max(1, count)} %"
        rows.append([name, f"{tally['met']}/{count} {percent}", *(str(tally[each]) for each in OUTCOMES)])
        print(*rows[-1], flush=True)
    if not (chosen.names or chosen.cases):
        said = (
            "What each inverse makes of the hostile, broken and edge inputs that it can be given: cases met of those "
        )
        said += "that apply, and how they end. benchmarks/battery.py says what counts as what."
        write(__file__, chosen.output, "Reliability", said, table(["inverse", "met", *OUTCOMES], rows))
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
