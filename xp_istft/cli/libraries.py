"""The array libraries of the demonstration: how a signal gets into each, on which devices, and back to the host."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

_ABSENT = "not installed"


def version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return _ABSENT


@dataclass(frozen=True)
class Library:
    """An array library, imported only when it is asked for.

    devices : the names of those that can be used; raises or is empty where there is none
    put     : put(host array, device) -> array of this library
    get     : the finished result on the host; waits for it
    wide    : a context in which the library keeps float64
    """

    name: str
    module: str
    devices: Callable[[], list[str]]
    put: Callable[[np.ndarray, str], Any]
    get: Callable[[Any], np.ndarray]
    distributions: tuple[str, ...] = ()
    wide: Callable[[], AbstractContextManager[Any]] = nullcontext
    finish: Callable[[Any], Any] = lambda array: array

    def installed(self) -> bool:
        return find_spec(self.module.partition(".")[0]) is not None

    def version(self) -> str:
        found = (version_of(name) for name in self.distributions or (self.name,))
        return next((text for text in found if text != _ABSENT), "")

    def usable(self) -> tuple[list[str], str]:
        """The devices that can be used; where there are none, why."""
        if not self.installed():
            return [], _ABSENT
        try:
            devices = self.devices()
        except Exception as cause:  # a broken installation must not end the demonstration
            return [], f"not usable: {' '.join(str(cause).split())[:60] or type(cause).__name__}"
        return devices, "" if devices else "no usable device"

    def state(self) -> str:
        devices, why = self.usable()
        return why or ", ".join(devices)


def _torch_devices() -> list[str]:
    torch = import_module("torch")
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _torch_finish(tensor: Any) -> Any:
    if tensor.device.type == "cuda":
        import_module("torch").cuda.synchronize()
    return tensor


def _cupy_devices() -> list[str]:
    cupy = import_module("cupy")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        return []
    return ["cuda"] if count else []


def _cupy_finish(array: Any) -> Any:
    import_module("cupy").cuda.get_current_stream().synchronize()
    return array


def _jax_devices() -> list[str]:
    return list(dict.fromkeys(device.platform for device in import_module("jax").devices()))


def _jax_wide() -> AbstractContextManager[Any]:
    jax = import_module("jax")
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return import_module("jax.experimental").enable_x64(True)


def _dask_devices() -> list[str]:
    import_module("dask.array")
    return ["cpu"]


def _strict_devices() -> list[str]:
    import_module("array_api_strict")
    return ["cpu"]


LIBRARIES = (
    Library("numpy", "numpy", lambda: ["cpu"], lambda x, device: x, np.asarray),
    Library(
        "torch", "torch", _torch_devices,
        lambda x, device: import_module("torch").asarray(x, device=device), lambda y: y.cpu().numpy(),
        finish=_torch_finish,
    ),
    Library(
        "jax", "jax", _jax_devices,
        lambda x, device: import_module("jax").device_put(x, import_module("jax").devices(device)[0]), np.asarray,
        wide=_jax_wide, finish=lambda y: y.block_until_ready(),
    ),
    Library(
        "cupy", "cupy", _cupy_devices,
        lambda x, device: import_module("cupy").asarray(x), lambda y: y.get(),
        ("cupy-cuda12x", "cupy-cuda13x", "cupy"), finish=_cupy_finish,
    ),
    Library(
        "dask", "dask.array", _dask_devices,
        lambda x, device: import_module("dask.array").from_array(x, chunks=x.shape), lambda y: y.compute(),
        finish=lambda y: y.compute(),
    ),
    Library(
        "array-api-strict", "array_api_strict", _strict_devices,
        lambda x, device: import_module("array_api_strict").asarray(x), lambda y: np.asarray(y._array),
    ),
)  # fmt: skip
