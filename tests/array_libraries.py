"""The array libraries that every public function is tried on: their namespaces, and the way of host arrays there."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Library:
    """An array library: its namespace, and how host arrays get there and back."""

    name: str
    writeable: bool = True  # arrays can be written in place, so out= works
    double: bool = True  # has float64; else all is in single precision

    @property
    def namespace_name(self) -> str:
        return {"dask": "dask.array", "jax": "jax.numpy", "mlx": "mlx.core"}.get(self.name, self.name)

    @property
    def namespace(self) -> Any:
        return importlib.import_module(self.namespace_name)

    def asarray(self, host: np.ndarray) -> Any:
        if not self.double and host.dtype.char in "dD":
            host = host.astype(host.dtype.char.translate({ord("d"): "f", ord("D"): "F"}))
        if self.name == "numpy":
            return host
        if self.name == "torch":
            return self.namespace.from_numpy(host.copy())
        if self.name == "dask":
            size = (
                max(1, host.shape[-1] // 3) if host.ndim else 1
            )  # chunks along the last axis and the first of several
            chunks = (*(1 if i == 0 and host.ndim > 2 else -1 for i in range(host.ndim - 1)), size)[: host.ndim]
            return self.namespace.from_array(host, chunks=chunks)
        return self.namespace.asarray(host)

    def to_numpy(self, array: Any) -> np.ndarray:
        if self.name == "cupy":
            return array.get()
        if self.name == "torch":
            return array.detach().resolve_conj().resolve_neg().numpy()
        return np.asarray(array)

    def compiled(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """`function`; of JAX as one program, in which it is traced: NumPy computes what nothing traces."""
        return importlib.import_module("jax").jit(function) if self.name == "jax" else function

    def owns(self, array: Any) -> bool:
        return type(array).__module__.partition(".")[0] == {"jax": "jaxlib"}.get(self.name, self.name)


LIBRARIES = {
    "numpy": Library("numpy"),
    "torch": Library("torch"),
    "jax": Library("jax", writeable=False),
    "dask": Library("dask", writeable=False),
    "array_api_strict": Library("array_api_strict"),
    "mlx": Library("mlx", double=False),
    "cupy": Library("cupy"),
}
