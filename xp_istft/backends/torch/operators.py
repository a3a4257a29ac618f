"""The three maps as operators that graphs hold: torch.ops.xp_istft.{signal, spectrum, window}.

    signal(Tensor spectrum, Tensor window, <job>, int? workers=None)
    spectrum(Tensor signal, Tensor window, <job>, int? workers=None)
    window(Tensor spectrum, Tensor signal, <job>)

where a job is `Tensor[] gain, SymInt[] sizes, bool onesided, bool real, int padding`:

    gain    : piece, eps and, with a bound, power and max_gain of windows.Normalisation; or nothing, for ones
    sizes   : n_fft, hop, n_frames, start, stop
    padding : of an analysis, an index of frames.PAD_MODES; -1 for a synthesis

The gain itself is worked out as the operator runs: a graph holds for every number of frames.

Gradients in both modes and torch.func at any depth go through the functions of gradients.py, which call the operator
again one level further down. A gain has no gradient here: one that is followed is a product of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad

from ...arguments import error
from .gradients import Form, Map, Signal, Spectrum, Window, form_holding, signal_of, spectrum_of, window_of
from .lending import empty_signal, empty_spectrum, followed, real_of

_JOB = "Tensor[] gain, SymInt[] sizes, bool onesided, bool real, int padding"


def _register(name: str, tensors: str, function: type[Map], kernel: Callable, empty: Callable, *, window: bool) -> None:
    """With `window` the second tensor is a window, and leading axes of the first one are a batch."""
    operator = f"xp_istft::{name}"
    workers = ", int? workers=None" if window else ""

    def differentiable(one: torch.Tensor, two: torch.Tensor, *operands: Any) -> torch.Tensor:
        if any(each.requires_grad or forward_ad.unpack_dual(each).tangent is not None for each in operands[0]):
            raise error(NotImplementedError, operator, "gain", "a constant", "one that requires a gradient")
        if not (followed(one) or followed(two)):
            return kernel(one, two, *operands)
        with enable_single_level_autograd_function():
            return function.apply(one, two, Form.of_operands(*operands[:5]), *operands[5:])

    def mapped(info: Any, axes: tuple[Any, ...], *arguments: Any) -> tuple[torch.Tensor, int]:
        """Mapped over one by one, unless leading axes of the data are a batch already."""
        call, (one, two, gain, *rest) = getattr(torch.ops.xp_istft, name), arguments
        if window and axes[0] is not None and all(axis is None for axis in (axes[1], *axes[2])):
            return call(one.movedim(axes[0], 0), two, gain, *rest), 0

        def at(i: int) -> Any:
            pairs = zip((one, two, *gain), (axes[0], axes[1], *axes[2]), strict=True)
            first, second, *gains = (each if axis is None else each.select(axis, i) for each, axis in pairs)
            return call(first, second, gains, *rest)

        return torch.stack([at(i) for i in range(info.batch_size)]), 0

    torch.library.define(operator, f"({tensors}, {_JOB}{workers}) -> Tensor", tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(operator, "CompositeExplicitAutograd", kernel)
    torch.library.impl(operator, "Autograd", differentiable)
    torch.library.register_fake(operator, lambda one, _, *operands: empty(one, Form.of_operands(*operands[:5])))
    torch.library.register_vmap(operator, mapped)


def _signal(X: torch.Tensor, window: torch.Tensor, *operands: Any) -> torch.Tensor:
    return signal_of(X, form_holding(window, *operands[:5]), *operands[5:])


def _spectrum(u: torch.Tensor, window: torch.Tensor, *operands: Any) -> torch.Tensor:
    form = form_holding(window, *operands[:5])
    return spectrum_of(u, form, *operands[5:], out=empty_spectrum(u, form.job))  # type: ignore[misc]


_register(
    "signal",
    "Tensor spectrum, Tensor window",
    Signal,
    _signal,
    lambda X, form: empty_signal(X, form.job.frames.n_samples, form.real),
    window=True,
)
_register(
    "spectrum",
    "Tensor signal, Tensor window",
    Spectrum,
    _spectrum,
    lambda u, form: empty_spectrum(u, form.job),
    window=True,
)
_register(
    "window",
    "Tensor spectrum, Tensor signal",
    Window,
    lambda X, u, *operands: window_of(X, u, Form.of_operands(*operands).with_gain),
    lambda X, form: X.new_empty((form.job.frames.n_fft,), dtype=real_of(X)),
    window=False,
)
