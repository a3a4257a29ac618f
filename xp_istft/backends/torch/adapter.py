"""The backend of tensors: what NumPy or CuPy make of their memory, unless something follows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

from ...arguments import OPAQUE, SYMBOLS, error
from ...jobs import Analysis, Synthesis
from ...tuning import tuning
from ..base import Backend, memory_at, written
from ..cpu.numpy import BACKEND as NUMPY
from . import exported, gradients, operators  # noqa: F401  operators: registered
from .graphs import check_values_at_hand, not_traced, one_step
from .lending import followed, lent, threads, wrapped

# torch.vmap knows movedim, but not its other name.
NAMESPACE = ModuleType(array_api_compat.torch.__name__)
vars(NAMESPACE).update({**vars(array_api_compat.torch), "moveaxis": torch.movedim})

# What a loop that looks at values needs, got and takes.
_FOLLOWED = "torch.autograd and torch.compile with fullgraph=False take it"
_ITERATED = (
    "solver",
    "xp_istft.Adjoint() or PerFrame() in whole graphs, torch.export and torch.func",
    "Dual, which iterates until values say so",
    _FOLLOWED,
)
_SOLVED = (
    "bands",
    "values, which whole graphs, torch.export and torch.func do not have",
    "Mel, whose inverse iterates until values say so",
    _FOLLOWED,
)

_traced, _STRIDED = torch._C._get_tracing_state, torch.strided


class TorchBackend(Backend):
    def synthesis(
        self, spectrum: torch.Tensor, job: Synthesis, out: torch.Tensor | None = None, workers: int | None = None
    ) -> torch.Tensor:
        if job.followed or followed(spectrum):
            if torch.compiler.is_exporting():
                return written(exported.synthesis(spectrum, job), out)
            return written(gradients.synthesis(spectrum, job, workers), out)
        return lent("synthesis", spectrum, job, out, workers)

    def analysis(
        self, signal: torch.Tensor, job: Analysis, out: torch.Tensor | None = None, workers: int | None = None
    ) -> torch.Tensor:
        if job.followed or followed(signal):
            if torch.compiler.is_exporting() or _small_in_a_graph(signal, job):
                return written(exported.analysis(signal, job), out)
            return written(gradients.analysis(signal, job, workers), out)
        return lent("analysis", signal, job, out, workers)

    def overlap_add(self, segments: torch.Tensor, job: Synthesis) -> torch.Tensor:
        if job.followed or followed(segments):
            if _left_open(job):
                return exported.overlap_add(segments, job)
            return super().overlap_add(segments, job)
        return lent("overlap_add", segments, job)

    def frame(self, signal: torch.Tensor, job: Analysis) -> torch.Tensor:
        if job.followed or followed(signal):
            if _left_open(job):
                return exported.frame(signal, job)
            return super().frame(signal, job)
        return lent("frame", signal, job)

    def retrieve(
        self,
        start: torch.Tensor,
        magnitude: torch.Tensor,
        inverse: Synthesis,
        forward: Analysis,
        stages: Sequence[Any],
        watch: Callable[[float], bool] | None = None,
        workers: int | None = None,
    ) -> torch.Tensor:
        """NumPy's, of what lies on the CPU and nothing follows."""
        tensors = (start, magnitude)
        if inverse.followed or not magnitude.is_cpu or any(map(followed, tensors)):
            return super().retrieve(start, magnitude, inverse, forward, stages, watch, workers)
        X, S = map(self.to_host, tensors)
        return torch.from_dlpack(NUMPY.retrieve(X, S, inverse, forward, stages, watch, workers))

    def linear_solve(
        self, operator: Callable, solver: Callable, loop: Callable, right: Any, parameters: Sequence[Any]
    ) -> Any:
        tensors = [each for each in (right, *parameters) if each is not None]
        check_values_at_hand("istft", right, _ITERATED)
        if not any(each.requires_grad for each in tensors) or not torch.is_grad_enabled():
            return solver(right, loop, *parameters)
        return gradients.Solution.apply(
            right, operator, lambda right, *parameters: solver(right, loop, *parameters), *parameters
        )

    # ---- tensors and their values

    def namespace(self, *arrays: torch.Tensor) -> Any:
        return NAMESPACE

    def device(self, array: torch.Tensor) -> torch.device:
        return array.device

    def as_complex(self, real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
        return torch.complex(real, imag)

    def onto(self, magnitude: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
        """By the sign, in whose derivative nothing is squared: squares of what rounding leaves of silence vanish."""
        silent = spectrum.detach().abs() < torch.finfo(spectrum.dtype).tiny
        return torch.where(silent, 0, torch.sgn(torch.where(silent, 1, spectrum)) * magnitude)

    def joined(self, pairs: torch.Tensor) -> torch.Tensor:
        *strides, last = pairs.stride()
        if last == 1 and not any(step % 2 for step in (*strides, pairs.storage_offset())):
            return torch.view_as_complex(pairs)
        return torch.complex(pairs[..., 0], pairs[..., 1])

    def parted(self, array: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(array.resolve_conj())

    def to_host(self, array: torch.Tensor) -> np.ndarray:
        plain = array.detach().cpu().resolve_conj().resolve_neg()
        return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()  # NumPy has no bfloat16

    def at_hand(self, array: torch.Tensor) -> np.ndarray | None:
        return None if array.device.type != "cpu" or wrapped(array) else self.to_host(array)

    def on_host(self, array: torch.Tensor, function: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
        return torch.asarray(function(self.to_host(array)), device=array.device)

    def in_numpy(self, array: torch.Tensor) -> tuple[Any, Callable[[Any], Any] | None]:
        if self.follows(array) or array.dtype in (torch.float16, torch.bfloat16):
            return array, None
        return self.to_host(array), torch.from_numpy

    def threads(self, workers: int | None) -> int:
        return threads(workers)

    def found(
        self, function: str, array: torch.Tensor, make: Callable[[np.ndarray], np.ndarray], rows: int
    ) -> torch.Tensor:
        check_values_at_hand(function, array, _SOLVED)
        return self.on_host(array, make)

    def follows(self, array: torch.Tensor) -> bool:
        return followed(array) or not array.is_cpu

    def gathered(self, array: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """take_along_dim makes a compiler fix the sizes."""
        return torch.gather(array, -1, index.to(torch.int64))

    def widest(self, array: torch.Tensor) -> torch.dtype:
        return torch.float32 if array.device.type == "mps" else torch.float64

    def ephemeral(self, array: torch.Tensor) -> bool:
        return wrapped(array)

    # ---- checks

    def checked(self, function: str, name: str, array: torch.Tensor) -> torch.Tensor:
        if _traced() is not None:
            raise not_traced(function, name)
        if array.layout is not _STRIDED:
            raise error(TypeError, function, name, "a dense tensor", f"layout {array.layout}")
        return array

    def check_out(self, function: str, out: Any, array: torch.Tensor, shape: tuple[int, ...], dtype: str) -> None:
        super().check_out(function, out, array.detach(), shape, dtype)
        if out.requires_grad:
            raise error(ValueError, function, "out", "a tensor that requires no gradient", "one that requires it")

    def memory(self, array: torch.Tensor) -> np.ndarray | None:
        if wrapped(array):
            return None
        size = array.element_size()
        return memory_at(array.data_ptr(), tuple(array.shape), tuple(size * step for step in array.stride()), size)


def _small_in_a_graph(signal: torch.Tensor, job: Analysis) -> bool:
    """Whether a graph is sooner with the steps of a spectrum than with our operator, which is entered from outside.

    Without gradient; inverses, gradients, and more samples were as fast or faster by the operator (up to 3 times).
    """
    frames = job.frames
    return (
        torch.compiler.is_compiling()
        and signal.is_cpu
        and not (job.followed or signal.requires_grad)
        and signal.dtype in (torch.float32, torch.float64)
        and all(type(size) is int for size in (*signal.shape, frames.n_frames))
        and signal[..., 0].numel() * frames.n_frames * frames.n_fft <= tuning().graph_items
    )


def _left_open(job: Synthesis | Analysis) -> bool:
    """Whether the compiler leaves sizes open."""
    return type(job.frames.n_frames) in SYMBOLS or type(job.frames.stop) in SYMBOLS


BACKEND = TorchBackend()

SYMBOLS.add(torch.SymInt)

for _function in OPAQUE:
    one_step(_function)
