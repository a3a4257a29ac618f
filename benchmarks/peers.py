"""The one table of contenders: each made ready for one problem, from an array of its own to a result that is there."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.signal

import xp_istft as xi


@dataclass(frozen=True)
class Problem:
    """`items` signals whose spectra have `n_frames` frames each."""

    name: str
    items: int
    n_frames: int
    n_fft: int
    hop: int
    dtype: str = "float32"
    center: bool = True

    @property
    def n_samples(self) -> int:
        return self.hop * (self.n_frames - 1) + (self.n_fft % 2 if self.center else self.n_fft)

    @property
    def window(self) -> str:
        return "hann" if self.center else "hamming"  # which leaves no sample at the ends without weight

    def spectrum(self, order: str = "F") -> np.ndarray:
        """Noise (items, bins, frames): "F" frame by frame in memory, as stft makes it, "C" bin by bin."""
        kind = np.complex64 if self.dtype == "float32" else np.complex128
        X = np.empty((self.items, self.n_frames, self.n_fft // 2 + 1), kind)
        some = min(self.n_frames, 4096)
        noise = np.random.default_rng(0).standard_normal((some, X.shape[2], 2)).view(complex)[..., 0]
        for first in range(0, self.n_frames, some):
            X[:, first : first + some] = noise[: self.n_frames - first]
        X = X.transpose(0, 2, 1)
        return np.ascontiguousarray(X) if order == "C" else X

    def signal(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((self.items, self.n_samples)).astype(self.dtype)

    def samples(self) -> np.ndarray:
        """Those of the window."""
        return scipy.signal.get_window(self.window, self.n_fft).astype(self.dtype)

    def __str__(self) -> str:
        kind = "" if self.dtype == "float32" else f", {self.dtype}"
        return f"{self.name} ({self.items} x {self.n_frames} frames, {self.n_fft}/{self.hop}{kind})"


MAIN = (
    Problem("60 s at 44.1 kHz", 1, 5168, 2048, 512),
    Problem("16 x 10 s at 16 kHz", 16, 1251, 512, 128),
    Problem("8 x 10 s at 22.05 kHz", 8, 862, 1024, 256),
)
TINY = Problem("tiny", 1, 17, 64, 16)


class Pair(NamedTuple):
    """Both directions of one contender, of arrays that `put` has made of NumPy's."""

    istft: Callable[[Any], Any]
    stft: Callable[[Any], Any]
    put: Callable[[np.ndarray], Any] = lambda array: array


def _ours(problem: Problem, threads: int, engine: str = "auto", put: Any = lambda array: array) -> Pair:
    given = {"n_fft": problem.n_fft, "hop_length": problem.hop, "window": problem.window, "center": problem.center}
    if engine == "mkl":
        importlib.import_module("mkl_fft")

    def call(transform: Callable[..., Any], array: Any) -> Any:
        xi.set_fft_engine(engine)
        return transform(array, workers=threads, **given)

    return Pair(partial(call, xi.istft), partial(call, xi.stft), put)


def _ours_on_torch(problem: Problem, threads: int) -> Pair:
    return _ours(problem, threads, put=importlib.import_module("torch").from_numpy)


def _torch(problem: Problem, threads: int) -> Pair:
    torch = importlib.import_module("torch")
    given = {"n_fft": problem.n_fft, "hop_length": problem.hop, "center": problem.center}
    given["window"] = torch.from_numpy(problem.samples())

    def call(transform: Callable[..., Any], array: Any, **options: Any) -> Any:
        torch.set_num_threads(threads)
        return transform(array, **given, **options)

    forward = partial(call, torch.stft, pad_mode="constant", return_complex=True)
    return Pair(partial(call, torch.istft), forward, torch.from_numpy)


def _librosa(problem: Problem, threads: int) -> Pair:
    librosa = importlib.import_module("librosa")
    given = {"n_fft": problem.n_fft, "hop_length": problem.hop, "window": problem.samples(), "center": problem.center}
    return Pair(partial(librosa.istft, **given), partial(librosa.stft, pad_mode="constant", **given))


def _centred(problem: Problem) -> dict[str, Any]:
    """The sizes as scipy and jax name them; ValueError where their frames are others."""
    if not problem.center:
        raise ValueError("frames begin half a window before the signal")
    return {"window": problem.samples(), "nperseg": problem.n_fft, "noverlap": problem.n_fft - problem.hop}


def _scipy(problem: Problem, threads: int) -> Pair:
    given = _centred(problem)
    return Pair(partial(scipy.signal.istft, **given), partial(scipy.signal.stft, padded=False, **given))


def _short_time_fft(problem: Problem, threads: int) -> Pair:
    transform = scipy.signal.ShortTimeFFT(problem.samples(), problem.hop, fs=1.0)
    end = min(problem.n_samples, (problem.n_frames - 3) * problem.hop)  # its spectra have frames before the signal
    return Pair(partial(transform.istft, k1=end), transform.stft)


def _nnaudio(problem: Problem, threads: int) -> Pair:
    torch, features = importlib.import_module("torch"), importlib.import_module("nnAudio.features.stft")
    given = {"n_fft": problem.n_fft, "hop_length": problem.hop, "center": problem.center, "verbose": False}
    forward = features.STFT(pad_mode="constant", output_format="Complex", **given)

    def put(array: np.ndarray) -> Any:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return torch.view_as_real(tensor) if tensor.is_complex() else tensor

    return Pair(partial(features.iSTFT(**given), onesided=True), forward, put)


def _jax(problem: Problem, threads: int) -> Pair:
    jax, signal = importlib.import_module("jax"), importlib.import_module("jax.scipy.signal")
    given = _centred(problem)
    if problem.dtype != "float32":
        raise ValueError("float64 is off")
    inverse = jax.jit(lambda X: signal.istft(X, **given)[1])
    forward = jax.jit(lambda x: signal.stft(x, padded=False, **given)[2])
    return Pair(lambda X: inverse(X).block_until_ready(), lambda x: forward(x).block_until_ready(), jax.numpy.asarray)


def _auvux(problem: Problem, threads: int) -> Pair:
    dsp = importlib.import_module("auvux.dsp")
    dsp.set_num_threads(threads)
    given = {"n_fft": problem.n_fft, "hop_length": problem.hop, "window": problem.samples(), "center": problem.center}
    return Pair(dsp.ISTFT(sr=16000.0, **given), dsp.STFT(sr=16000.0, **given))


CONTENDERS: dict[str, Callable[[Problem, int], Pair]] = {
    "xp_istft": _ours,
    "xp_istft, mkl": partial(_ours, engine="mkl"),
    "xp_istft, torch tensors": _ours_on_torch,
    "torch": _torch,
    "librosa": _librosa,
    "scipy.signal": _scipy,
    "ShortTimeFFT": _short_time_fft,
    "nnAudio": _nnaudio,
    "jax (jit)": _jax,
    "auvux-dsp": _auvux,
}
PEERS = tuple(name for name in CONTENDERS if not name.startswith("xp_istft"))


def prepared(
    name: str, direction: str, problem: Problem, array: np.ndarray, threads: int
) -> tuple[Callable[[Any], Any], Any]:
    """The function of this contender, and what it takes, made of the array."""
    pair = CONTENDERS[name](problem, threads)
    return getattr(pair, direction), pair.put(array)


def ready(
    direction: str,
    problem: Problem,
    array: np.ndarray,
    threads: int,
    names: tuple[str, ...] = tuple(CONTENDERS),
    trial: bool = True,
) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """Calls of "istft" or "stft" of the array, by those that are installed and take it; and why the others do not.

    With `trial` each has been called once.
    """
    runs: dict[str, Callable[[], Any]] = {}
    absent = {}
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of peers about themselves
                run = partial(*prepared(name, direction, problem, array, threads))
                if trial:
                    run()
        except Exception as cause:  # it cannot do this problem, and says why
            missing = isinstance(cause, ModuleNotFoundError)
            absent[name] = (
                "not installed" if missing else f"{type(cause).__name__}: {' '.join(str(cause).split())[:90]}"
            )
        else:
            runs[name] = run
    return runs, absent
