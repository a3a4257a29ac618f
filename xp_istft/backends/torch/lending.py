"""Memory of tensors lent to NumPy or CuPy through DLPack, without a copy either way; and what follows a tensor."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from ...jobs import Analysis, Synthesis
from ...settings import chosen_workers
from ..base import BASE, Backend, written
from ..cpu.numpy import BACKEND as NUMPY
from . import cpu


def lent(
    name: str, tensor: torch.Tensor, job: Synthesis | Analysis, out: torch.Tensor | None = None, workers: Any = None
) -> torch.Tensor:
    """The map `name` of the library that sees this tensor's memory; elsewhere of the definition.

    On a device results lie in memory of torch's own allocator, which knows the streams that use it.
    """
    if name in ("synthesis", "analysis"):
        if cpu.served(tensor, job):
            return cpu.served_map(tensor, job, out, workers)
        if tensor.is_cpu:
            workers = threads(workers)
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if not lendable(tensor):
        return written(getattr(BASE, name)(tensor, job), out)
    library, backend, place = borrower(tensor)
    if out is None and library is not np:
        if name == "synthesis":
            out = empty_signal(tensor, job.frames.n_samples, job.real)  # type: ignore[union-attr]
        elif name == "analysis":
            out = empty_spectrum(tensor, job)
    options: dict[str, Any] = {} if workers is None else {"workers": workers}
    with place:
        if out is not None:
            options["out"] = library.from_dlpack(out)
        result = getattr(backend, name)(library.from_dlpack(tensor), job, **options)
        if out is not None:
            return out
        made = torch.from_dlpack(result)
        return made if library is np else made.clone()


def threads(workers: int | None) -> int:
    """Those asked for, of this call or of all, else torch's."""
    return workers or chosen_workers() or torch.get_num_threads()


def borrower(tensor: torch.Tensor) -> tuple[Any, Backend, AbstractContextManager[Any]]:
    """The library that shares the tensor's memory, its backend, and where the work goes: on CUDA, torch's stream."""
    if tensor.is_cpu:
        return np, NUMPY, nullcontext()
    import cupy

    from .. import cupy as cupy_module

    stream = torch.cuda.current_stream(tensor.device)
    return cupy, cupy_module.BACKEND, cupy_module.stream_of(stream, tensor.device.index)


def lendable(tensor: torch.Tensor) -> bool:
    return tensor.is_cpu or (tensor.is_cuda and _cupy_installed())


@lru_cache(maxsize=1)
def _cupy_installed() -> bool:
    return find_spec("cupy") is not None


# ---- what follows a tensor

_C, _functorch, _PLAIN = torch._C, torch._C._functorch, (torch.Tensor, torch.nn.Parameter)


def followed(tensor: torch.Tensor) -> bool:
    """Whether autograd (either mode), a transformation of torch.func, the compiler or a mode follows this tensor."""
    return wrapped(tensor) or (tensor.requires_grad and torch.is_grad_enabled()) or forward_ad._current_level >= 0


def wrapped(tensor: torch.Tensor) -> bool:
    """Whether the values of this tensor are not simply there."""
    return (
        type(tensor) not in _PLAIN
        or _functorch.peek_interpreter_stack() is not None  # within torch.func, for plain tensors too
        or _C._len_torch_dispatch_stack() > 0
        or _C._get_tracing_state() is not None
        or tensor.is_meta
    )


# ---- new tensors beside others


_WIDE = (torch.float64, torch.complex128)


def real_of(array: torch.Tensor) -> torch.dtype:
    return torch.float64 if array.dtype in _WIDE else torch.float32


def complex_of(array: torch.Tensor) -> torch.dtype:
    return torch.complex128 if array.dtype in _WIDE else torch.complex64


def empty_signal(X: torch.Tensor, n_samples: Any, real: bool) -> torch.Tensor:
    return X.new_empty((*X.shape[:-2], n_samples), dtype=real_of(X) if real else complex_of(X))


def empty_spectrum(u: torch.Tensor, job: Synthesis | Analysis, by_bins: bool = False) -> torch.Tensor:
    """Frame after frame in memory, or bin after bin."""
    n_bins = job.frames.n_fft // 2 + 1 if job.onesided else job.frames.n_fft
    n_frames = job.frames.n_frames
    if by_bins:
        return u.new_empty((*u.shape[:-1], n_bins, n_frames), dtype=complex_of(u))
    return u.new_empty((*u.shape[:-1], n_frames, n_bins), dtype=complex_of(u)).mT
