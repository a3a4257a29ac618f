"""The maps as autograd follows them, in either mode, to any order, at the speed of the maps themselves.

Of one job they belong to a trilinear form T(X, v, u) = <signal(X, v), u> of spectrum X, window v and signal u, so the
derivative of each is the other two, and nothing but the arguments is kept for backward:

    signal(X, v)    dT/du: the synthesis, or the adjoint of an analysis
    spectrum(u, v)  dT/dX: the analysis, or the adjoint of a synthesis
    window(X, u)    dT/dv: real (n_fft,)

v is None for the job's own window. Where more than autograd follows (torch.func, the compiler, export, modes) the maps
are the operators torch.ops.xp_istft.{signal, spectrum, window} of operators.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad

from ...arguments import error
from ...frames import PAD_MODES, Frames, bin_multiplicity, padding_index
from ...jobs import Analysis, Synthesis
from ...tuning import tuning
from ...windows import Normalisation
from ..base import BASE
from .lending import empty_spectrum, lendable, lent, real_of, wrapped

Operands = tuple[list[torch.Tensor], list[int], bool, bool, int]  # of operators.py, after the two tensors


# ---- the two maps of the package


def synthesis(X: torch.Tensor, job: Synthesis, workers: int | None = None) -> torch.Tensor:
    if not job.followed:
        return to_signal(X, None, form_of(job), workers)
    bare = Form(replace(job, window=None, gain=None, decided=None), job.real)
    signal = to_signal(X, job.window.to(real_of(X)), bare, workers)
    return signal if job.gain is None else times(signal, job.signal_gain())


def analysis(u: torch.Tensor, job: Analysis, workers: int | None = None) -> torch.Tensor:
    real = not u.is_complex()
    if not job.followed:
        return to_spectrum(u, None, form_of(job, real), workers)
    return to_spectrum(u, job.window.to(real_of(u)), Form(replace(job, window=None), real), workers)


def times(signal: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """The product, but 0 wherever the gain is 0, whatever the signal holds."""
    gain = gain.to(signal.device, real_of(signal))
    return torch.where(gain == 0, 0, signal * gain)


# ---- one job, three maps


@dataclass(frozen=True, eq=False)
class Form:
    """The trilinear form of a job. The signal of an analysis is real or complex; a synthesis says so itself."""

    job: Synthesis | Analysis
    real: bool

    @classmethod
    def of_operands(cls, gain: Any, sizes: Any, onesided: bool, real: bool, padding: int, window: Any = None) -> Form:
        """What an operator is told of a form; the gain itself is worked out where the sizes are known."""
        frames = Frames(*sizes)
        if padding >= 0:
            return cls(Analysis(frames, window, onesided, PAD_MODES[padding]), real)
        decided = None
        if gain:
            piece, eps, *limits = gain
            decided = Normalisation(piece, frames.hop, eps, *limits)
        return cls(Synthesis(frames, window, None, onesided, real, decided=decided), real)

    @property
    def operands(self) -> Operands:
        """What an operator is told of the form beside its two tensors."""
        job, frames = self.job, self.job.frames
        sizes = [frames.n_fft, frames.hop, frames.n_frames, frames.start, frames.stop]
        if isinstance(job, Analysis):
            return [], sizes, job.onesided, self.real, PAD_MODES.index(job.pad_mode)
        decided = job.decided
        if (decided is None and job.gain is not None) or job.origin:
            raise error(NotImplementedError, "operators", "job", "a whole one", "a segment of one")
        parts = [] if decided is None else [decided.piece, decided.eps, decided.power, decided.max_gain]
        return [as_tensor(each) for each in parts if each is not None], sizes, job.onesided, self.real, -1

    @property
    def with_gain(self) -> Form:
        """The form with the gain of its sizes."""
        job = self.job
        if isinstance(job, Analysis) or job.decided is None or job.gain is not None:
            return self
        return Form(replace(job, gain=job.decided.gain(job.frames)), self.real)

    def holding(self, window: torch.Tensor | None) -> Form:
        """The form with a tensor's samples as the job's window, and its gain."""
        return self if window is None else form_holding(window, *self.operands)

    @cached_property
    def to_signal(self) -> Synthesis:
        """dT/du; for an analysis its adjoint, with the padding not yet folded back."""
        job = self.job
        if isinstance(job, Synthesis):
            return job
        frames = job.frames
        if job.pad_mode != "constant":
            frames = replace(frames, start=min(0, frames.start), stop=max(frames.span, frames.stop))
        return Synthesis(frames, self._scaled(job.window), None, job.onesided, self.real)

    @cached_property
    def to_spectrum(self) -> Analysis:
        """dT/dX; for a synthesis its adjoint, of the signal times the gain."""
        job = self.job
        if isinstance(job, Analysis):
            return job
        return Analysis(job.frames, self._scaled(job.window), job.onesided, "constant")

    @property
    def adjoint_scale(self) -> float:
        """What the adjoint multiplies its window by: a bin of a one-sided spectrum stands for two."""
        n_fft, count = self.job.frames.n_fft, 2 if self.job.onesided else 1
        return count / n_fft if isinstance(self.job, Synthesis) else n_fft / count

    def _scaled(self, window: Any) -> Any:
        return self.adjoint_scale * (np.ones(self.job.frames.n_fft) if window is None else window)


def form_of(job: Synthesis | Analysis, real: bool = True) -> Form:
    """The form of a job whose window nothing follows; `real` is that of an analysed signal."""
    return (_kept_form if type(job.frames.stop) is int else _kept_form.__wrapped__)(job, real)


@lru_cache(maxsize=256)
def _kept_form(job: Synthesis | Analysis, real: bool) -> Form:
    return Form(job, job.real if isinstance(job, Synthesis) else real)


def form_holding(window: torch.Tensor, gain: list[torch.Tensor], sizes: list[int], *rest: Any) -> Form:
    """The form with a window as its job's own, and its gain; on the host, unless the definition computes with it."""
    if not lendable(window):
        return Form.of_operands(gain, sizes, *rest, window.detach()).with_gain  # type: ignore[call-arg]
    values = [each.numpy(force=True).astype(np.float64, copy=False).tobytes() for each in (window, *gain)]
    return _form_of_values((*values,), (*sizes,), rest)


@lru_cache(maxsize=64)
def _form_of_values(values: tuple[bytes, ...], sizes: tuple[int, ...], rest: tuple[Any, ...]) -> Form:
    """One form for the same window and gain, in whatever tensors they came: backends keep what follows from a job."""
    window, *gain = map(np.frombuffer, values)
    return Form.of_operands(gain, sizes, *rest, window).with_gain  # type: ignore[call-arg]


def as_tensor(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.tensor(values, dtype=torch.float64)


def _lent_unseen(*given: Any) -> torch.Tensor:
    """`lent`, of which autograd sees no step: it would take a view among them for a view of the result."""
    with torch._C._AutoDispatchBelowADInplaceOrView():
        return lent(*given)


def signal_of(X: torch.Tensor, form: Form, workers: int | None = None) -> torch.Tensor:
    """dT/du on the memory of X."""
    if isinstance(form.job, Synthesis):
        return _lent_unseen("synthesis", X, form.to_signal, None, workers)
    if form.job.onesided:
        X = X.clone()
        _end_bins(X, form).mul_(2)
    return _folded(_lent_unseen("synthesis", X, form.to_signal, None, workers), form.job)


def spectrum_of(u: torch.Tensor, form: Form, workers: int | None = None, out: Any = None) -> torch.Tensor:
    """dT/dX on the memory of u."""
    job = form.job
    if isinstance(job, Analysis):
        return _lent_unseen("analysis", u, job, out, workers)
    X = _lent_unseen("analysis", _gained(u, job), form.to_spectrum, out, workers)
    if job.onesided:
        _end_bins(X, form).mul_(0.5)
    return X


def window_of(X: torch.Tensor, u: torch.Tensor, form: Form) -> torch.Tensor:
    """dT/dv, frames made again block by block: sum over frames and batch of (frames of X) * (frames of u)."""
    frames = form.job.frames
    total = torch.zeros(frames.n_fft, dtype=real_of(X), device=X.device)
    if isinstance(form.job, Synthesis):
        u = _gained(u, form.job)
    count = max(1, tuning().gradient_items // max(1, frames.n_fft * X.shape[:-2].numel()))
    for first in range(0, frames.n_frames, count):
        columns = slice(first, min(first + count, frames.n_frames))
        origin = first * frames.hop
        block = replace(frames, n_frames=columns.stop - first, start=frames.start - origin, stop=frames.stop - origin)
        theirs = BASE.frame(u, replace(form.to_spectrum, frames=block, window=None))
        product = (_segments(X[..., columns], form).conj() * theirs).real
        total += product.sum(dim=[axis for axis in range(product.ndim) if axis != product.ndim - 2])
    return total


def _segments(X: torch.Tensor, form: Form) -> torch.Tensor:
    """The frames of X that meet the frames of a signal in T: (..., n_fft, n_frames), before the window."""
    if isinstance(form.job, Analysis):
        n_fft, onesided = form.job.frames.n_fft, form.job.onesided
        weights = np.where(bin_multiplicity(n_fft) == 1, 2.0, 1.0) if onesided else np.ones(n_fft)
        X = X * torch.asarray(weights[:, None] * form.adjoint_scale, dtype=real_of(X), device=X.device)
    return BASE._segments(X, form.to_signal)


def _end_bins(X: torch.Tensor, form: Form) -> torch.Tensor:
    """DC and (even n_fft) Nyquist of a one-sided spectrum, a view."""
    n_fft = form.job.frames.n_fft
    return X[..., :: n_fft // 2, :] if n_fft % 2 == 0 else X[..., :1, :]


def _folded(axis: torch.Tensor, job: Analysis) -> torch.Tensor:
    """The adjoint of padding: what lies outside the signal is added where it was taken from."""
    if job.pad_mode == "constant":
        return axis
    start, n_samples = max(0, job.frames.start), job.frames.n_samples
    signal = axis[..., start : start + n_samples]
    for first, last in ((0, start), (start + n_samples, axis.shape[-1])):
        if first < last:
            index = padding_index(first - start, last - start, n_samples, job.pad_mode)
            signal = signal.index_add(-1, torch.asarray(index, device=axis.device), axis[..., first:last])
    return signal.contiguous()


# ---- a gain that nothing follows


def _gained(u: torch.Tensor, job: Synthesis) -> torch.Tensor:
    """The signal u times the gain of a synthesis; exactly 0 where the gain is."""
    if job.gain is None:
        return u
    if isinstance(job.gain.period, torch.Tensor):
        return times(u, job.signal_gain())
    result = torch.empty_like(u, memory_format=torch.contiguous_format)
    for lo, hi, values, holes in _stretches(job, real_of(u), u.device):
        shape = (-1, values.shape[0])
        stretch = torch.mul(u[..., lo:hi].unflatten(-1, shape), values, out=result[..., lo:hi].unflatten(-1, shape))
        if holes is not None:
            stretch.masked_fill_(holes, 0)
    return result


@lru_cache(maxsize=32)
def _stretches(job: Synthesis, dtype: torch.dtype, device: torch.device) -> list[tuple[int, int, Any, Any]]:
    """[lo, hi) of the signal, the gain there (one period of it, repeated), and where that is 0 (None: nowhere)."""
    gain = job.gain
    assert gain is not None
    start, stop = job.origin + job.frames.start, job.origin + job.frames.stop
    hop = gain.period.size
    first = min(stop, max(start, gain.head.size))
    last = first + max(0, min(stop, gain.tail_start) - first) // hop * hop
    stretches = []
    for lo, hi, end in ((start, first, first), (first, last, first + hop), (last, stop, stop)):
        if lo < hi:
            samples = gain.samples(lo, end)
            values, holes = (torch.asarray(each, device=device) for each in (samples, samples == 0))
            stretches.append((lo - start, hi - start, values.to(dtype), holes if (samples == 0).any() else None))
    return stretches


# ---- the maps as functions that autograd follows


def to_signal(X: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None = None) -> torch.Tensor:
    """dT/du, followed."""
    if seen_by_more(X, window):
        return torch.ops.xp_istft.signal(X, operand(window, form), *form.operands, workers)
    return Signal.apply(X, window, form, workers)


def to_spectrum(
    u: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None = None, by_bins: bool = False
) -> torch.Tensor:
    """dT/dX, followed; `by_bins`: bin after bin in memory, where it is memory of ours."""
    if seen_by_more(u, window):
        return torch.ops.xp_istft.spectrum(u, operand(window, form), *form.operands, workers)
    return Spectrum.apply(u, window, form, workers, by_bins)


def to_window(X: torch.Tensor, u: torch.Tensor, form: Form) -> torch.Tensor:
    """dT/dv, followed."""
    if seen_by_more(X, u):
        return torch.ops.xp_istft.window(X, u, *form.operands)
    return Window.apply(X, u, form)


def seen_by_more(*tensors: torch.Tensor | None) -> bool:
    """Whether more than autograd follows one of these."""
    return any(each is not None and wrapped(each) for each in tensors)


def operand(window: torch.Tensor | None, form: Form) -> torch.Tensor:
    """The window as a graph holds it: that which is followed, or the job's own."""
    return own_window(form) if window is None else window


def own_window(form: Form) -> torch.Tensor:
    own = form.job.window
    return as_tensor(np.ones(form.job.frames.n_fft) if own is None else own)


class Map(torch.autograd.Function):
    """A map and its derivatives at one level of torch.func; between the levels stands an operator."""

    @classmethod
    def apply(cls, *arguments: Any) -> torch.Tensor:
        """What torch does where no function of torch.func is active, but without binding the signature each time."""
        return super(torch.autograd.Function, cls).apply(*unwrap_dead_wrappers(arguments))  # type: ignore[misc]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        one, two, ctx.form, *options = inputs
        ctx.workers = options[0] if options else None
        # A leaf copies a gradient that lies otherwise in memory than itself: of a minute of audio 50 ms in 80.
        ctx.by_bins = one.ndim > 1 and one.stride(-1) == 1 and one.stride(-2) != 1
        first, second = ctx.needs_input_grad[:2]  # each tensor is needed for the gradient of the other alone
        ctx.save_for_backward(one if second else None, two if first else None)
        if forward_ad._current_level >= 0:
            ctx.save_for_forward(one, two)


def below(operator: Callable[..., torch.Tensor], *arguments: Any) -> torch.Tensor:
    """The operator without this level's derivatives; an outer level of torch.func may have its own."""
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
        return operator(*arguments)


def _tangent(to: Callable[..., torch.Tensor], ctx: Any, one: Any, two: Any, *_: None) -> torch.Tensor | None:
    """The derivative of a map that is linear in each of its two tensors."""
    with forward_ad._set_fwd_grad_enabled(True):
        first, second = (
            None if each is None else forward_ad.unpack_dual(each).primal for each in ctx.saved_for_forward
        )
        terms = [] if one is None else [to(one, second, ctx.form)]
        if two is not None:
            terms.append(to(first, two, ctx.form))
        return sum(terms[1:], terms[0]) if terms else None


class Signal(Map):
    jvp = staticmethod(partial(_tangent, to_signal))

    @staticmethod
    def forward(X: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None = None) -> torch.Tensor:
        if seen_by_more(X, window):
            return below(torch.ops.xp_istft.signal, X, window, *form.operands, workers)
        return signal_of(X, form.holding(window), workers)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        X, window = ctx.saved_tensors
        first, second = ctx.needs_input_grad[:2]
        return (
            to_spectrum(grad, window, ctx.form, ctx.workers, ctx.by_bins) if first else None,
            to_window(X, grad, ctx.form) if second else None,
            None,
            None,
        )


class Spectrum(Map):
    jvp = staticmethod(partial(_tangent, to_spectrum))

    @staticmethod
    def forward(
        u: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None = None, by_bins: bool = False
    ) -> torch.Tensor:
        if seen_by_more(u, window):
            return below(torch.ops.xp_istft.spectrum, u, window, *form.operands, workers)
        out = empty_spectrum(u, form.job, by_bins=True) if by_bins and u.is_cpu else None
        return spectrum_of(u, form.holding(window), workers, out)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        u, window = ctx.saved_tensors
        first, second = ctx.needs_input_grad[:2]
        return (
            to_signal(grad, window, ctx.form, ctx.workers) if first else None,
            to_window(grad, u, ctx.form) if second else None,
            None,
            None,
            None,
        )


class Window(Map):
    jvp = staticmethod(partial(_tangent, to_window))

    @staticmethod
    def forward(X: torch.Tensor, u: torch.Tensor, form: Form) -> torch.Tensor:
        if seen_by_more(X, u):
            return below(torch.ops.xp_istft.window, X, u, *form.operands)
        return window_of(X, u, form.with_gain)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        X, u = ctx.saved_tensors
        first, second = ctx.needs_input_grad[:2]
        return to_spectrum(u, grad, ctx.form) if first else None, to_signal(X, grad, ctx.form) if second else None, None


# ---- linear systems


class Solution(torch.autograd.Function):
    """x with operator(x, *parameters) = right, of a symmetric operator.

    With z the solution for the gradient g, the derivatives are those of <z, right - operator(x, *parameters)> with z
    and x held. z and x are solutions of this kind themselves, so there are derivatives of any order.
    """

    @staticmethod
    def forward(
        ctx: Any, right: torch.Tensor, operator: Callable[..., Any], solver: Callable[..., Any], *parameters: Any
    ) -> torch.Tensor:
        x = solver(right, *parameters)
        ctx.operator, ctx.solver = operator, solver
        ctx.save_for_backward(x, *parameters)
        return x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, *parameters = ctx.saved_tensors
        z = Solution.apply(grad, ctx.operator, ctx.solver, *parameters)
        needed = ctx.needs_input_grad[3:]
        if not any(needed):
            return z, None, None, *(None for _ in parameters)
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            # Views, because x and z depend on the parameters, too, and are held in this derivative.
            held = [None if each is None else each.view_as(each) for each in parameters]
            value = -(z * ctx.operator(x if again else x.detach(), *held)).sum()
            followed: list[Any] = [each for each, wanted in zip(held, needed, strict=True) if wanted]
            found = iter(torch.autograd.grad(value, followed, create_graph=again))
        return z, None, None, *(next(found) if wanted else None for wanted in needed)
