"""MLX: the definition, on a namespace with what MLX lacks of the Array API: devices, tuples of axes, names.

Arrays lie in memory that CPU and GPU share, and have no device of their own. float64 is refused: GPUs have none.
Windows are read as values: mx.grad follows the data alone.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from ..arguments import error
from ..dtypes import dtype_name
from .base import Backend


class _Namespace:
    """mlx.core, with functions that take the arguments of the Array API."""

    bool, isdtype = mx.bool_, staticmethod(mx.isdtype)  # an MLX before 0.32 is refused here

    def __getattr__(self, name: str) -> Any:
        return getattr(mx, name)

    def asarray(self, values: Any, dtype: Any = None, device: None = None) -> Any:
        return mx.array(values, dtype=dtype)

    def zeros(self, shape: Any, dtype: Any = mx.float32, device: None = None) -> Any:
        return mx.zeros(shape, dtype=dtype)

    empty = zeros

    def arange(self, start: int, stop: int, dtype: Any = None, device: None = None) -> Any:
        return mx.arange(start, stop, dtype=dtype)

    def moveaxis(self, array: Any, source: Any, destination: Any) -> Any:
        if isinstance(source, int):
            return mx.moveaxis(array, source, destination)
        places = {to % array.ndim: axis % array.ndim for axis, to in zip(source, destination, strict=True)}
        others = iter(axis for axis in range(array.ndim) if axis not in places.values())
        return mx.transpose(array, [places[to] if to in places else next(others) for to in range(array.ndim)])


_NAMESPACE = _Namespace()


class MLXBackend(Backend):
    def namespace(self, *arrays: Any) -> Any:
        return _NAMESPACE

    def widest(self, array: Any) -> Any:
        return mx.float32

    def angle(self, spectrum: Any) -> Any:
        """The derivative of arctan2 at 0 is NaN."""
        sure = mx.where(spectrum == 0, mx.ones_like(spectrum), spectrum)
        return mx.where(spectrum == 0, mx.stop_gradient(super().angle(spectrum)), super().angle(sure))

    def checked(self, function: str, name: str, array: Any) -> Any:
        if dtype_name(array) == "float64":
            raise error(TypeError, function, name, "single or half precision on MLX", array.dtype)
        return array


BACKEND = MLXBackend()
