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
    """`items` signals whose spectra have `n_frames` frames each; `length` samples of each, if that is given."""

    name: str
    items: int
    n_frames: int
    n_fft: int
    hop: int
    dtype: str = "float32"
    center: bool = True
    length: int | None = None
    device: str = "cpu"

    @property
    def n_samples(self) -> int:
        if self.length is not None:
            return self.length
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


MAIN = (
    Problem("60 s at 44.1 kHz", 1, 5168, 2048, 512),
    Problem("16 x 10 s at 16 kHz", 16, 1251, 512, 128),
    Problem("8 x 10 s at 22.05 kHz", 8, 862, 1024, 256),
)
PEERS = ("torch", "librosa", "scipy.signal", "ShortTimeFFT", "nnAudio", "jax (jit)", "auvux-dsp")


def inverse_peers(
    problem: Problem,
    X: Any,
    threads: int | None,
    names: tuple[str, ...] = PEERS,
    trial: bool = True,
    absent: dict[str, str] | None = None,
) -> dict[str, Run]:
    """Inverses of X by those of these peers that are installed and take the problem.

    `absent` is told why the others are not there. With `trial` each runs once.
    """
    return _ready(
        {
            "torch": lambda: _torch_istft(problem, X, threads),
            "librosa": lambda: _librosa_istft(problem, X),
            "scipy.signal": lambda: _scipy_istft(problem, X),
            "ShortTimeFFT": lambda: _short_time_fft(problem).inverse(X),
            "nnAudio": lambda: _nnaudio_istft(problem, X),
            "jax (jit)": lambda: _jax_istft(problem, X),
            "auvux-dsp": lambda: _auvux("ISTFT", problem, X, threads),
        },
        names,
        trial,
        absent,
    )


def forward_peers(
    problem: Problem,
    x: np.ndarray,
    threads: int | None,
    names: tuple[str, ...] = PEERS,
    absent: dict[str, str] | None = None,
) -> dict[str, Run]:
    """Spectra of x by those of these peers that are installed and take the problem; `absent` as in inverse_peers."""
    return _ready(
        {
            "torch": lambda: _torch_stft(problem, x, threads),
            "librosa": lambda: _librosa_stft(problem, x),
            "scipy.signal": lambda: _scipy_stft(problem, x),
            "ShortTimeFFT": lambda: _short_time_fft(problem).forward(x),
            "nnAudio": lambda: _nnaudio_stft(problem, x),
            "jax (jit)": lambda: _jax_stft(problem, x),
            "auvux-dsp": lambda: _auvux("STFT", problem, x, threads),
        },
        names,
        True,
        absent,
    )


def _ready(
    makers: dict[str, Callable[[], Run | None]], names: tuple[str, ...], trial: bool, absent: dict[str, str] | None
) -> dict[str, Run]:
    ready = {}
    for name in names:
        make = makers[name]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = make()
                if run is not None and trial:
                    run()
        except Exception as cause:  # it cannot do this problem, and says why
            run = None
            if absent is not None:
                missing = isinstance(cause, ModuleNotFoundError)
                said = " ".join(str(cause).split())[:90]
                absent[name] = "not installed" if missing else f"{type(cause).__name__}: {said}"
        if run is not None:
            ready[name] = run
    return ready


def _torch(problem: Problem, *arrays: Any) -> tuple[Any, Callable[[Any], Any], list[Any]]:
    """The module, what makes sure that a result is there, and the arrays on the device of the problem."""
    torch = importlib.import_module("torch")

    def finish(result: Any) -> Any:
        if problem.device == "cuda":
            torch.cuda.synchronize()
        return result

    return torch, finish, [torch.asarray(array, device=problem.device) for array in arrays]


def _torch_istft(problem: Problem, X: Any, threads: int | None) -> Run:
    torch, finish, (tensor, window) = _torch(problem, X, problem.window())

    def run() -> Any:
        if threads is not None:
            torch.set_num_threads(threads)
        return finish(
            torch.istft(tensor, problem.n_fft, problem.hop, window=window, center=problem.center, length=problem.length)
        )

    return run


def _torch_stft(problem: Problem, x: np.ndarray, threads: int | None) -> Run:
    torch, finish, (tensor, window) = _torch(problem, x, problem.window())

    def run() -> Any:
        if threads is not None:
            torch.set_num_threads(threads)
        return finish(
            torch.stft(
                tensor, problem.n_fft, problem.hop, window=window, center=problem.center, pad_mode="constant",
                return_complex=True,
            )
        )  # fmt: skip

    return run


def _librosa_istft(problem: Problem, X: np.ndarray) -> Run:
    librosa = importlib.import_module("librosa")
    window = problem.window()
    return lambda: librosa.istft(
        X, n_fft=problem.n_fft, hop_length=problem.hop, window=window, center=problem.center, length=problem.length
    )


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
        end = problem.length or min(problem.n_samples, (problem.n_frames - 3) * problem.hop)
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


def _auvux(name: str, problem: Problem, array: np.ndarray, threads: int | None) -> Run:
    """`name` is STFT or ISTFT."""
    dsp = importlib.import_module("auvux.dsp")
    if threads is not None:
        dsp.set_num_threads(threads)
    transform = getattr(dsp, name)(
        sr=16000.0, n_fft=problem.n_fft, hop_length=problem.hop, window=problem.window(), center=problem.center
    )
    return lambda: transform(array)
