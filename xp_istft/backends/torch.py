"""PyTorch: borrow the tensor through DLPack and call the backend of what it really is; no copy either way.

Tensors that autograd, torch.func or torch.compile follow, and those on devices that NumPy and CuPy cannot see, take
the definition on torch's own namespace.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..arguments import error
from ..jobs import Analysis, Synthesis
from . import array_api
from . import numpy as numpy_backend
from .array_api import frame, overlap_add  # noqa: F401


def synthesis(spectrum: torch.Tensor, job: Synthesis, out: Any = None, workers: int | None = None) -> torch.Tensor:
    return _through("synthesis", spectrum, job, out, workers)


def analysis(signal: torch.Tensor, job: Analysis, out: Any = None, workers: int | None = None) -> torch.Tensor:
    return _through("analysis", signal, job, out, workers)


def as_complex(real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
    return torch.complex(real, imag)


def joined(pairs: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(pairs if pairs.stride(-1) == 1 else pairs.contiguous())


def checked(function: str, name: str, array: torch.Tensor) -> torch.Tensor:
    if array.layout is not torch.strided:
        raise error(TypeError, function, name, "a dense tensor", f"layout {array.layout}")
    return array


def check_out(function: str, out: Any, array: torch.Tensor, shape: tuple[int, ...], dtype: str) -> None:
    array_api.check_out(function, out, array.detach(), shape, dtype)
    if out.requires_grad:
        raise error(ValueError, function, "out", "a tensor that requires no gradient", "one that requires it")
    if any(stride == 0 and size > 1 for stride, size in zip(out.stride(), out.shape, strict=True)):
        raise error(ValueError, function, "out", "memory of its own", "rows that overlap")
    if out.untyped_storage().data_ptr() == array.untyped_storage().data_ptr():
        raise error(ValueError, function, "out", "memory of its own", "one that overlaps the input")


def _through(name: str, tensor: torch.Tensor, job: Any, out: torch.Tensor | None, workers: int | None) -> torch.Tensor:
    array = _borrowed(tensor)
    if array is None:
        return getattr(array_api, name)(tensor, job, out)
    lent = None if out is None else np.from_dlpack(out)
    result = getattr(numpy_backend, name)(array, job, out=lent, workers=workers)
    return torch.from_dlpack(result) if out is None else out


def _borrowed(tensor: torch.Tensor) -> np.ndarray | None:
    """The same memory as a NumPy array; None where torch itself must see what happens, or NumPy cannot."""
    if tensor.device.type != "cpu" or _followed(tensor):
        return None
    return np.from_dlpack(tensor.detach().resolve_conj().resolve_neg())


def _followed(tensor: torch.Tensor) -> bool:
    """Whether autograd (either mode), a transformation of torch.func or the compiler follows this tensor."""
    return (
        (tensor.requires_grad and torch.is_grad_enabled())
        or torch.compiler.is_compiling()
        or type(tensor) not in (torch.Tensor, torch.nn.Parameter)
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or torch.autograd.forward_ad._current_level >= 0
    )
