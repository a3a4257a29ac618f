"""The transforms of other libraries, each made ready for one problem: what cannot do it is left out."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.signal

import xp_istft as xi

Run = Callable[[], Any]


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

    def spectrum(self, order: str) -> np.ndarray:
        """Noise (items, bins, frames): "F" frame by frame in memory, as stft makes it, "C" bin by bin."""
        rng = np.random.default_rng(0)
        kind = np.complex64 if self.dtype == "float32" else np.complex128
        X = np.empty((self.items, self.n_frames, self.n_fft // 2 + 1), kind)
        some = min(self.n_frames, 4096)
        noise = rng.standard_normal((2, some, X.shape[2]))
        noise = (noise[0] + 1j * noise[1]).astype(kind)
        for a in range(0, self.n_frames, some):
            X[:, a : a + some] = noise[: self.n_frames - a]
        X = X.transpose(0, 2, 1)
        return np.ascontiguousarray(X) if order == "C" else X

    def signal(self) -> np.ndarray:
        rng = np.random.default_rng(0)
        return rng.standard_normal((self.items, self.n_samples)).astype(self.dtype)

    def window(self) -> np.ndarray:
        name = "hann" if self.center else "hamming"
        return scipy.signal.get_window(name, self.n_fft).astype(self.dtype)


def installed(*names: str) -> dict[str, str]:
    """Versions of these distributions, of those that are there."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def ours(problem: Problem, X: np.ndarray, workers: int, engine: str = "auto") -> Run:
    window = "hann" if problem.center else "hamming"

    def run() -> Any:
        xi.set_fft_engine(engine)
        return xi.istft(
            X, n_fft=problem.n_fft, hop_length=problem.hop, window=window, center=problem.center, workers=workers
        )

    return run


def ours_forward(problem: Problem, x: np.ndarray, workers: int, engine: str = "auto", order: str = "F") -> Run:
    window = "hann" if problem.center else "hamming"
    bins = problem.n_fft // 2 + 1

    def run() -> Any:
        xi.set_fft_engine(engine)
        out = None
        if order == "C":
            kind = np.complex64 if problem.dtype == "float32" else np.complex128
            out = np.empty((problem.items, bins, problem.n_frames), kind)
        return xi.stft(
            x, problem.n_fft, hop_length=problem.hop, window=window, center=problem.center, out=out, workers=workers
        )

    return run


PEERS = ("torch", "librosa", "scipy.signal", "ShortTimeFFT", "nnAudio", "jax (jit)", "auvux-dsp")


def inverse_peers(
    problem: Problem, X: np.ndarray, threads: int, names: tuple[str, ...] = PEERS, trial: bool = True
) -> dict[str, Run]:
    """istft of X by each of these peers that is installed and takes the problem."""
    return _ready(
        {
            "torch": lambda: _torch_istft(problem, X, threads),
            "librosa": lambda: _librosa_istft(problem, X),
            "scipy.signal": lambda: _scipy_istft(problem, X),
            "ShortTimeFFT": lambda: _short_time_fft(problem).inverse(X),
            "nnAudio": lambda: _nnaudio_istft(problem, X),
            "jax (jit)": lambda: _jax_istft(problem, X),
            "auvux-dsp": lambda: _auvux_istft(problem, X, threads),
        },
        names,
        trial,
    )


def forward_peers(problem: Problem, x: np.ndarray, threads: int, names: tuple[str, ...] = PEERS) -> dict[str, Run]:
    """stft of x by each of these peers that is installed and takes the problem."""
    return _ready(
        {
            "torch": lambda: _torch_stft(problem, x, threads),
            "librosa": lambda: _librosa_stft(problem, x),
            "scipy.signal": lambda: _scipy_stft(problem, x),
            "ShortTimeFFT": lambda: _short_time_fft(problem).forward(x),
            "nnAudio": lambda: _nnaudio_stft(problem, x),
            "jax (jit)": lambda: _jax_stft(problem, x),
            "auvux-dsp": lambda: _auvux_stft(problem, x, threads),
        },
        names,
        trial=True,
    )


def _ready(makers: dict[str, Callable[[], Run | None]], names: tuple[str, ...], trial: bool) -> dict[str, Run]:
    ready = {}
    for name in names:
        make = makers[name]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = make()
                if run is not None and trial:
                    run()
        except Exception as cause:  # not installed, or cannot do this problem: it says why
            print(f"  {name} left out: {type(cause).__name__}: {str(cause)[:90]}")
            continue
        if run is not None:
            ready[name] = run
    return ready


def _torch_istft(problem: Problem, X: np.ndarray, threads: int) -> Run:
    torch = importlib.import_module("torch")
    tensor, window = torch.from_numpy(X), torch.from_numpy(problem.window())

    def run() -> Any:
        torch.set_num_threads(threads)
        return torch.istft(tensor, problem.n_fft, problem.hop, window=window, center=problem.center)

    return run


def _torch_stft(problem: Problem, x: np.ndarray, threads: int) -> Run:
    torch = importlib.import_module("torch")
    tensor, window = torch.from_numpy(x), torch.from_numpy(problem.window())

    def run() -> Any:
        torch.set_num_threads(threads)
        return torch.stft(
            tensor, problem.n_fft, problem.hop, window=window, center=problem.center, pad_mode="constant",
            return_complex=True,
        )  # fmt: skip

    return run


def _librosa_istft(problem: Problem, X: np.ndarray) -> Run:
    librosa = importlib.import_module("librosa")
    window = problem.window()
    return lambda: librosa.istft(X, n_fft=problem.n_fft, hop_length=problem.hop, window=window, center=problem.center)


def _librosa_stft(problem: Problem, x: np.ndarray) -> Run:
    librosa = importlib.import_module("librosa")
    window = problem.window()
    return lambda: librosa.stft(
        x, n_fft=problem.n_fft, hop_length=problem.hop, window=window, center=problem.center, pad_mode="constant"
    )


def _scipy_istft(problem: Problem, X: np.ndarray) -> Run | None:
    if not problem.center:
        return None
    arguments = {"window": problem.window(), "nperseg": problem.n_fft, "noverlap": problem.n_fft - problem.hop}
    return lambda: scipy.signal.istft(X, **arguments)


def _scipy_stft(problem: Problem, x: np.ndarray) -> Run | None:
    if not problem.center:
        return None
    arguments = {"window": problem.window(), "nperseg": problem.n_fft, "noverlap": problem.n_fft - problem.hop}
    return lambda: scipy.signal.stft(x, padded=False, **arguments)


class _short_time_fft:  # noqa: N801  a name of the table above
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._map = scipy.signal.ShortTimeFFT(problem.window(), problem.hop, 1.0, fft_mode="onesided")

    def inverse(self, X: np.ndarray) -> Run | None:
        problem = self._problem
        end = min(problem.n_samples, (problem.n_frames - 3) * problem.hop)
        if end < problem.n_fft:
            return None
        return lambda: self._map.istft(X, k1=end)

    def forward(self, x: np.ndarray) -> Run:
        return lambda: self._map.stft(x)


def _nnaudio_istft(problem: Problem, X: np.ndarray) -> Run:
    torch = importlib.import_module("torch")
    features = importlib.import_module("nnAudio.features.stft")
    layer = features.iSTFT(n_fft=problem.n_fft, hop_length=problem.hop, center=problem.center, verbose=False)
    pairs = torch.view_as_real(torch.from_numpy(np.ascontiguousarray(X)))
    return lambda: layer(pairs, onesided=True)


def _nnaudio_stft(problem: Problem, x: np.ndarray) -> Run:
    torch = importlib.import_module("torch")
    features = importlib.import_module("nnAudio.features.stft")
    layer = features.STFT(
        n_fft=problem.n_fft, hop_length=problem.hop, center=problem.center, pad_mode="constant",
        output_format="Complex", verbose=False,
    )  # fmt: skip
    tensor = torch.from_numpy(x)
    return lambda: layer(tensor)


def _jax_istft(problem: Problem, X: np.ndarray) -> Run | None:
    if problem.dtype != "float32" or not problem.center:
        return None
    jax = importlib.import_module("jax")
    transform = importlib.import_module("jax.scipy.signal").istft
    window, overlap = jax.numpy.asarray(problem.window()), problem.n_fft - problem.hop
    compiled = jax.jit(lambda X: transform(X, window=window, nperseg=problem.n_fft, noverlap=overlap)[1])
    array = jax.numpy.asarray(X)
    return lambda: compiled(array).block_until_ready()


def _jax_stft(problem: Problem, x: np.ndarray) -> Run | None:
    if problem.dtype != "float32" or not problem.center:
        return None
    jax = importlib.import_module("jax")
    transform = importlib.import_module("jax.scipy.signal").stft
    window, overlap = jax.numpy.asarray(problem.window()), problem.n_fft - problem.hop
    compiled = jax.jit(lambda x: transform(x, window=window, nperseg=problem.n_fft, noverlap=overlap, padded=False)[2])
    array = jax.numpy.asarray(x)
    return lambda: compiled(array).block_until_ready()


def _auvux_istft(problem: Problem, X: np.ndarray, threads: int) -> Run:
    dsp = importlib.import_module("auvux.dsp")
    dsp.set_num_threads(threads)
    transform = dsp.ISTFT(
        sr=16000.0, n_fft=problem.n_fft, hop_length=problem.hop, window=problem.window(), center=problem.center
    )
    return lambda: transform(X)


def _auvux_stft(problem: Problem, x: np.ndarray, threads: int) -> Run:
    dsp = importlib.import_module("auvux.dsp")
    dsp.set_num_threads(threads)
    transform = dsp.STFT(
        sr=16000.0, n_fft=problem.n_fft, hop_length=problem.hop, window=problem.window(), center=problem.center
    )
    return lambda: transform(x)
