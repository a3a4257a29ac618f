"""torch.stft and torch.istft, so torch.functional's, and the methods of tensors, which call these."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch.autograd import forward_ad

from ..compat import torch as compat
from . import speeds
from .replacements import Problem, Replacement

_SPECTRUM_OF = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_SIGNAL_OF = {spectrum: signal for signal, spectrum in _SPECTRUM_OF.items()}
_LEAST_OVERLAP = 1e-2  # of squared windows: what torch divides by less is rounded otherwise here


def replacements() -> list[Replacement]:
    cases = tuple(product((False, True), (False, True)))
    return [
        _Scriptable(f"torch.{ours.__name__}", torch.functional, ours, refusal, Problem(problem, cases))
        for ours, refusal, problem in (
            (compat.stft, refusal_of_stft, _stft_of),
            (compat.istft, refusal_of_istft, _istft_of),
        )
    ]


class _Scriptable(Replacement):
    """TorchScript and Dynamo, where they meet the wrapper, take the original."""

    def begin(self) -> None:
        super().begin()
        names = {"__script_if_tracing_wrapper": True, "__original_fn": self.original}
        vars(self.wrapper).update(names, _torchdynamo_inline=self.original)
        table = torch.jit._builtins._get_builtin_table()
        if id(self.original) in table:
            table[id(self.wrapper)] = table[id(self.original)]

    def end(self) -> None:
        super().end()
        torch.jit._builtins._get_builtin_table().pop(id(self.wrapper), None)


def _special() -> bool:
    """Whether tensors may be more than they look, or functions and dtypes are changed on the way."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_function_stack() > 0
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch.is_autocast_enabled("cpu")
    )


def refusal_of_stft(
    input: Any,
    n_fft: Any,
    hop_length: Any = None,
    win_length: Any = None,
    window: Any = None,
    center: Any = True,
    pad_mode: Any = "reflect",
    normalized: Any = False,
    onesided: Any = None,
    return_complex: Any = None,
    align_to_window: Any = None,
) -> str | None:
    if type(input) is not torch.Tensor or not input.is_cpu:
        return "not a plain tensor on the CPU"
    followed = input.requires_grad and torch.is_grad_enabled()
    if speeds.never("torch.stft", followed):
        return "size"
    hop = n_fft // 4 if hop_length is None else hop_length
    if input.numel() * n_fft < hop * speeds.least("torch.stft", followed, torch.get_num_threads(), n_fft):
        return "size"
    if input.dtype not in _SPECTRUM_OF or input.layout is not torch.strided or _special():
        return "dtype, layout or transform"
    if not (1 <= input.ndim <= 2 and _plain(window, input.dtype, n_fft, hop, win_length)):
        return "window or sizes"
    if not (onesided is None or onesided is True) or return_complex is not True or align_to_window is not None:
        return "arguments"  # pairs are deprecated: torch warns
    least = n_fft // 2 + 1 if center else n_fft
    return None if pad_mode in ("reflect", "constant") and input.shape[-1] >= least else "padding"


def refusal_of_istft(
    input: Any,
    n_fft: Any,
    hop_length: Any = None,
    win_length: Any = None,
    window: Any = None,
    center: Any = True,
    normalized: Any = False,
    onesided: Any = None,
    length: Any = None,
    return_complex: Any = False,
) -> str | None:
    if type(input) is not torch.Tensor or not input.is_cpu:
        return "not a plain tensor on the CPU"
    followed = input.requires_grad and torch.is_grad_enabled()
    if 2 * input.numel() < speeds.least("torch.istft", followed, torch.get_num_threads(), n_fft):
        return "size"
    if input.dtype not in _SIGNAL_OF or input.layout is not torch.strided or _special():
        return "dtype, layout or transform"
    hop = n_fft // 4 if hop_length is None else hop_length
    if not (2 <= input.ndim <= 3 and _plain(window, _SIGNAL_OF[input.dtype], n_fft, hop, win_length)):
        return "window or sizes"
    if not (onesided is None or onesided is True) or return_complex or input.shape[-2] != n_fft // 2 + 1:
        return "arguments"
    n_frames = input.shape[-1]
    most = hop * (n_frames - 1) + (n_fft - n_fft // 2 if center else n_fft)
    if length is not None and not (type(length) is int and 0 < length <= most):
        return "length"
    sizes = n_fft, hop, n_fft if win_length is None else win_length
    covered = compat.least_overlap(window, sizes, bool(center), n_frames, length)
    return None if covered is not None and covered > _LEAST_OVERLAP else "overlap of the windows"


def _plain(window: Any, dtype: torch.dtype, n_fft: Any, hop: Any, win_length: Any) -> bool:
    """Whether these are what torch takes, without a conversion."""
    win_length = n_fft if win_length is None else win_length
    if not (type(n_fft) is type(hop) is type(win_length) is int and 0 < hop <= win_length <= n_fft):
        return False
    if window is None:
        return True
    return (
        isinstance(window, torch.Tensor)
        and window.is_cpu
        and window.dtype is dtype
        and window.layout is torch.strided
        and window.shape == (win_length,)
        and not window.requires_grad
    )


def _stft_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    hop = n_fft // 4
    x, window = torch.randn(items, hop * (frames - 1) + n_fft, requires_grad=followed), torch.hann_window(n_fft)

    def run(stft: Callable[..., Any]) -> Any:
        return stft(x, n_fft, hop, window=window, return_complex=True)

    return _with_gradient(run, x) if followed else run


def _istft_of(n_fft: int, items: int, frames: int, followed: bool) -> Callable[[Callable[..., Any]], Any]:
    hop, window = n_fft // 4, torch.hann_window(n_fft)
    X = torch.fft.rfft(torch.randn(items, frames, n_fft)).mT.requires_grad_(followed)

    def run(istft: Callable[..., Any]) -> Any:
        return istft(X, n_fft, hop, window=window)

    return _with_gradient(run, X) if followed else run


def _with_gradient(run: Callable[..., Any], leaf: torch.Tensor) -> Callable[[Callable[..., Any]], Any]:
    ones = torch.ones_like(run(torch.stft if leaf.is_floating_point() else torch.istft))
    return lambda function: torch.autograd.grad(run(function), leaf, ones)
