"""What each array library can do here, tried: the values are those of NumPy, in arrays of the library.

python benchmarks/libraries.py
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from results import arguments, table, versions, write

import xp_istft as xi

N_FFT, LENGTH = 32, 400
GRID = xi.STFT(N_FFT, frequencies=xi.linear_frequencies(24, 0, 4000, 8000))
X = np.random.default_rng(0).standard_normal((2, LENGTH)).astype(np.float32)
SPECTRUM = np.ascontiguousarray(xi.stft(X, N_FFT))
WINDOW = (np.hanning(N_FFT + 2)[1:-1] + 0.1).astype(np.float32)


class LackingError(Exception):
    """The library has no such thing at all."""


@dataclass(frozen=True)
class Library:
    """How host arrays get to a device of an array library, and back."""

    name: str
    module: str
    place: str = ""

    @property
    def xp(self) -> Any:
        return importlib.import_module(self.module)

    def put(self, host: np.ndarray) -> Any:
        if self.module == "torch":
            return self.xp.asarray(host.copy(), device=self.place)
        if self.module == "sparse":
            return self.xp.COO.from_numpy(host)
        return self.xp.array(host) if self.module == "mlx.core" else self.xp.asarray(host)

    def get(self, array: Any) -> np.ndarray:
        if self.module == "torch":
            return array.detach().cpu().resolve_conj().numpy()
        if self.module == "cupy":
            return array.get()
        return array.todense() if self.module == "sparse" else np.asarray(array)

    def gradient(self, loss: Callable[[Any], Any], host: np.ndarray) -> Any:
        if self.module == "torch":
            leaf = self.put(host).requires_grad_()
            loss(leaf).backward()
            return leaf.grad
        if self.module == "mlx.core":
            return self.xp.grad(loss)(self.put(host))
        if self.module == "jax.numpy":
            return importlib.import_module("jax").grad(loss)(self.put(host))
        raise LackingError

    def compiled(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if self.module == "torch":
            return self.xp.compile(function, fullgraph=True, backend="aot_eager")
        if self.module == "mlx.core":
            return self.xp.compile(function)
        if self.module == "jax.numpy":
            return importlib.import_module("jax").jit(function)
        raise LackingError


LIBRARIES = (
    Library("NumPy", "numpy"),
    Library("CuPy", "cupy"),
    Library("torch, CPU", "torch", "cpu"),
    Library("torch, CUDA", "torch", "cuda"),
    Library("torch, MPS", "torch", "mps"),
    Library("JAX", "jax.numpy"),
    Library("Dask", "dask.array"),
    Library("MLX", "mlx.core"),
    Library("array_api_strict", "array_api_strict"),
    Library("ndonnx", "ndonnx"),
    Library("sparse", "sparse"),
)


def of(host: np.ndarray, function: Callable[[Any], Any]) -> Callable[[Library], None]:
    """Whether a function gives NumPy's values in arrays of the library."""

    def attempt(library: Library) -> None:
        array = library.put(host)
        found, want = function(array), np.asarray(function(host))
        if type(found) is not type(array):
            raise TypeError(f"gave {type(found).__name__}")
        np.testing.assert_allclose(library.get(found), want, rtol=0, atol=1e-3 * np.abs(want).max())

    return attempt


def streamed(x: Any) -> Any:
    stream = xi.StreamingISTFT(xi.STFT(N_FFT))
    return stream.push(xi.StreamingSTFT(xi.STFT(N_FFT)).push(x))


def into_memory(library: Library) -> None:
    out = library.put(np.zeros((2, LENGTH), np.float32))
    xi.istft(library.put(SPECTRUM), length=LENGTH, out=out)
    np.testing.assert_allclose(library.get(out), X, atol=1e-5)


def differentiated(host: np.ndarray, loss: Callable[[Library, Any], Any]) -> Callable[[Library], None]:
    def attempt(library: Library) -> None:
        found = library.gradient(lambda array: loss(library, array), host)
        if not np.abs(library.get(found)).max() > 0:
            raise ValueError("gave zeros")

    return attempt


def in_float64(library: Library) -> None:
    with importlib.import_module("jax").enable_x64(True) if library.name == "JAX" else warnings.catch_warnings():
        of(X.astype(np.float64), lambda x: xi.stft(x, N_FFT))(library)
        if "64" not in str(library.put(X.astype(np.float64)).dtype):
            raise TypeError("has float32 alone")


def compiled(library: Library) -> None:
    pair = library.compiled(lambda x: xi.istft(xi.stft(x, N_FFT), length=LENGTH))
    np.testing.assert_allclose(library.get(pair(library.put(X))), X, atol=1e-5)


ABILITIES: dict[str, Callable[[Library], None]] = {
    "`stft`": of(X, lambda x: xi.stft(x, N_FFT, pad_mode="reflect")),
    "`istft`": of(SPECTRUM, lambda S: xi.istft(S, length=LENGTH)),
    "two-sided": of(X, lambda x: xi.istft(xi.stft(x, N_FFT, onesided=False), onesided=False)),
    "`float64`": in_float64,
    "other frequencies": of(X, lambda x: GRID.istft(GRID.stft(x), length=LENGTH)),
    "`griffin_lim`": of(abs(SPECTRUM), lambda S: xi.griffin_lim(S, n_iter=2, init="zero")),
    "`pghi`": of(abs(SPECTRUM), lambda S: xi.pghi(S)),
    "streams": of(X, streamed),
    "`out=`": into_memory,
    "gradient": differentiated(X, lambda library, x: (abs(xi.stft(x, N_FFT)) ** 2).sum()),
    "gradient of windows": differentiated(
        WINDOW, lambda library, w: (abs(xi.istft(library.put(SPECTRUM), window=w)) ** 2).sum()
    ),
    "compiled": compiled,
}


def cell(attempt: Callable[[Library], None], library: Library) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attempt(library)
    except LackingError:
        return "-"
    except Exception as cause:
        return f"no: {type(cause).__name__}"
    return "yes"


def there(library: Library) -> bool:
    """Whether the library, and its device, is on this machine."""
    try:
        library.put(X)
    except Exception:
        return False
    return True


def main() -> None:
    chosen = arguments(__doc__).parse_args()
    libraries = [each for each in LIBRARIES if there(each)]
    absent = [each.name for each in LIBRARIES if each not in libraries]
    abilities = dict(list(ABILITIES.items())[:2]) if chosen.quick else ABILITIES
    rows: list[list[Any]] = [[each.name, *(cell(try_, each) for try_ in abilities.values())] for each in libraries]
    write(
        __file__,
        chosen.output,
        "What each array library can do",
        table(["library", *abilities], rows),
        "yes: it was called, and gave NumPy's values in arrays of the library (of gradients: some that are not 0; "
        "compiled: by torch.compile, jax.jit, mx.compile). no: what was raised. -: the library has no such thing.",
        f"Not on this machine, and not tried: {'; '.join(absent) or 'none'}. "
        f"Versions: {versions('array_api_strict', 'mlx', 'ndonnx', 'sparse')}.",
    )


if __name__ == "__main__":
    main()
