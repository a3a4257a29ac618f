"""PyTorch: borrow the tensor through DLPack and call the backend of what it really is; no copy either way.

What autograd (either mode), torch.func, torch.compile, torch.export or a mode follows goes through three maps. Of one
job they belong to a trilinear form T(X, v, u) = <signal(X, v), u> of spectrum X, window v and signal u, so the
derivative of each is the other two, to any order, and nothing but the arguments is kept for backward:

    signal(X, v)    dT/du: the synthesis, or the adjoint of an analysis
    spectrum(u, v)  dT/dX: the analysis, or the adjoint of a synthesis
    window(X, u)    dT/dv: real (n_fft,)

v is None for the job's own window. Graphs see them as the operators torch.ops.xp_istft.{signal, spectrum, window}, to
which a job goes as a text that holds all of it, so that a graph can be kept and loaded elsewhere. Devices that neither
NumPy nor CuPy can see take the definition on torch's own namespace.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any

import array_api_compat
import numpy as np
import torch
from torch.autograd import forward_ad

from ..arguments import error
from ..frames import Frames, bin_multiplicity, padding_index
from ..jobs import Analysis, Synthesis
from ..windows import HopPeriodic
from . import OPAQUE, array_api
from . import numpy as numpy_backend

_BLOCK_ITEMS = 1 << 20  # samples of the frames that the operator `window` makes at a time


# ---- the contract


def synthesis(spectrum: torch.Tensor, job: Any, out: Any = None, workers: int | None = None) -> torch.Tensor:
    if isinstance(job, Live):
        signal = _to_signal(spectrum, job.window, form_of(job.job), workers)
        return _written(signal if job.gain is None else _times(signal, job.gain), out)
    if _followed(spectrum):
        return _written(_to_signal(spectrum, None, form_of(job), workers), out)
    return _signal(spectrum, None, form_of(job), out, workers)


def analysis(signal: torch.Tensor, job: Any, out: Any = None, workers: int | None = None) -> torch.Tensor:
    real = not signal.is_complex()
    if isinstance(job, Live):
        return _written(_to_spectrum(signal, job.window, form_of(job.job, real), workers), out)
    if _followed(signal):
        return _written(_to_spectrum(signal, None, form_of(job, real), workers), out)
    return _spectrum(signal, None, form_of(job, real), out, workers)


def overlap_add(segments: torch.Tensor, job: Any) -> torch.Tensor:
    if isinstance(job, Live):
        signal = array_api.overlap_add(segments * _cast(job.window, segments)[:, None], job.job)
        return signal if job.gain is None else _times(signal, job.gain)
    if not _followed(segments) and _lendable(segments):
        return _lent("overlap_add", segments, job)
    return array_api.overlap_add(segments * _own_window(job, segments), replace(job, window=None))


def frame(signal: torch.Tensor, job: Any) -> torch.Tensor:
    if isinstance(job, Live):
        return array_api.frame(signal, job.job) * _cast(job.window, signal)[:, None]
    if not _followed(signal) and _lendable(signal):
        return _lent("frame", signal, job)
    return array_api.frame(signal, replace(job, window=None)) * _own_window(job, signal)


def retrieve(
    start: torch.Tensor,
    magnitude: torch.Tensor,
    inverse: Synthesis,
    forward: Analysis,
    stages: Any,
    watch: Callable[[float], bool] | None = None,
    workers: int | None = None,
) -> torch.Tensor | None:
    """NumPy's, of what lies on the CPU and nothing follows."""
    if not magnitude.is_cpu or _followed(start) or _followed(magnitude):
        return None
    X, S = (tensor.detach().resolve_conj().resolve_neg().numpy() for tensor in (start, magnitude))
    return torch.from_dlpack(numpy_backend.retrieve(X, S, inverse, forward, stages, watch, workers))


def on_host(array: torch.Tensor, function: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
    return torch.asarray(function(array.detach().cpu().numpy()), device=array.device)


def at_hand(array: torch.Tensor) -> np.ndarray | None:
    return None if array.device.type != "cpu" or _wrapped(array) else array.detach().resolve_neg().numpy()


def as_complex(real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
    return torch.complex(real, imag)


def joined(pairs: torch.Tensor) -> torch.Tensor:
    *strides, last = pairs.stride()
    if last == 1 and not any(step % 2 for step in (*strides, pairs.storage_offset())):
        return torch.view_as_complex(pairs)
    return torch.complex(pairs[..., 0], pairs[..., 1])


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


# ---- linear systems that a gradient follows


def linear_solve(
    operator: Callable[..., Any], solver: Callable[..., Any], loop: Callable[..., Any], right: Any, parameters: Any
) -> Any:
    tensors = [each for each in (right, *parameters) if each is not None]
    if not any(each.requires_grad for each in tensors) or not torch.is_grad_enabled():
        return solver(right, loop, *parameters)
    return _Solution.apply(right, operator, lambda right, *parameters: solver(right, loop, *parameters), *parameters)


class _Solution(torch.autograd.Function):
    """x with operator(x, *parameters) = right, of a symmetric operator.

    With z the solution for the gradient g, the derivatives are those of <z, right - operator(x, *parameters)> with z
    and x held. x is linear in `right`, in which there are derivatives of any order.
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
        z = _Solution.apply(grad, ctx.operator, ctx.solver, *parameters)
        needed = ctx.needs_input_grad[3:]
        if not any(needed):
            return z, None, None, *(None for _ in parameters)
        if torch.is_grad_enabled():
            need = "first derivatives with respect to a basis or window, of bins that are not those of the DFT"
            raise error(NotImplementedError, "istft", "frequencies", need, "create_graph=True")
        with torch.enable_grad():
            held = [
                each if each is None else each.detach().requires_grad_(wanted)
                for each, wanted in zip(parameters, needed, strict=True)
            ]
            value = -(z * ctx.operator(x.detach(), *held)).sum()
            followed: list[Any] = [each for each, wanted in zip(held, needed, strict=True) if wanted]
            found = iter(torch.autograd.grad(value, followed))
        return z, None, None, *(next(found) if wanted else None for wanted in needed)


def ephemeral(array: torch.Tensor) -> bool:
    return _wrapped(array)


# ---- windows that a gradient or the compiler follows


@dataclass(frozen=True, eq=False)
class Live:
    """A job (without window and gain) whose window (n_fft,) and gain (n_samples,) are tensors that autograd follows."""

    job: Any
    window: torch.Tensor
    gain: torch.Tensor | None

    @property
    def frames(self) -> Frames:
        return self.job.frames


def live(function: str, array: torch.Tensor, **windows: Any) -> tuple[list[Any], list[torch.Tensor | None] | None]:
    """The windows as a plan may read them, and the tensors among them to follow (None: none is).

    A plan reads the values of a followed window if it can without waiting for a device, else a window of ones.
    """
    followed = [
        window if isinstance(window, torch.Tensor) and (_followed(window) or not window.is_cpu) else None
        for window in windows.values()
    ]
    if all(window is None for window in followed):
        return list(windows.values()), None
    readable = []
    for (name, window), tensor in zip(windows.items(), followed, strict=True):
        if tensor is None:
            readable.append(window)
            continue
        if tensor.device != array.device:
            raise error(ValueError, function, name, f"the device of the data ({array.device})", tensor.device)
        if tensor.dtype.is_complex:
            raise error(TypeError, function, name, "a real dtype", tensor.dtype)
        plain = tensor.is_cpu and not _wrapped(tensor)
        readable.append(tensor.detach().double().numpy() if plain else np.ones(tuple(tensor.shape)))
    return readable, followed


def with_windows(
    job: Any,
    host: list[np.ndarray],
    followed: list[torch.Tensor | None],
    scaling: str | None,
    eps: float,
    max_gain: float | None,
    like: torch.Tensor,
) -> Live:
    """`job` with its windows replaced by tensors: [window] of an analysis, [window, synthesis window] of a synthesis.

    host     : float64 (n_fft,), the same windows as the plan read them; those that nothing follows count
    followed : (win_length,), or None for those that nothing follows
    eps      : rounding of the precision that decides what is covered
    """
    wide = torch.float32 if like.device.type == "mps" else torch.float64
    windows = []
    for samples, tensor in zip(host, followed, strict=False):
        if tensor is None:
            windows.append(torch.asarray(samples.copy(), dtype=wide, device=like.device))
        else:
            spare = samples.size - tensor.shape[0]
            windows.append(torch.nn.functional.pad(tensor.to(wide), (spare // 2, spare - spare // 2)))
    scale = _scale(scaling, windows[0])
    if isinstance(job, Analysis):
        return Live(replace(job, window=None), windows[0] * scale, None)
    if job.gain is None:
        return Live(replace(job, window=None), windows[-1] / scale, None)
    peaks = [window.detach().abs().max() for window in windows]  # the scale of a window decides nothing
    unit = [window / torch.where(peak > 0, peak, 1) for window, peak in zip(windows, peaks, strict=True)]
    gain = _gain(unit[0], unit[1], job.frames, eps, max_gain).to(
        torch.float64 if like.dtype in _WIDE else torch.float32
    )
    return Live(replace(job, window=None, gain=None), unit[1] / torch.where(peaks[0] > 0, peaks[0], 1) / scale, gain)


def _scale(scaling: str | None, window: torch.Tensor) -> Any:
    """What the forward map is multiplied by."""
    if scaling == "ortho":
        return window.shape[0] ** -0.5
    if scaling == "spectrum":
        return 1 / window.sum().abs()
    if scaling == "psd":
        return 1 / (window**2).sum().sqrt()
    return 1.0


def _gain(
    analysis: torch.Tensor, synthesis: torch.Tensor, frames: Frames, eps: float, max_gain: float | None
) -> torch.Tensor:
    """windows.normalisation's gain of every sample of the signal, followed by autograd; finite gradients everywhere."""
    envelope, reached, period = _overlap(analysis * synthesis, frames)
    floor = eps**2 * envelope.detach()[reached].abs().max()
    covered = envelope.abs() > floor
    gain = torch.where(covered, 1 / torch.where(covered, envelope, 1), 0)
    if max_gain is not None:
        power, _, _ = _overlap(synthesis**2, frames)
        noise = torch.where(covered & (power > 0), power, 1).sqrt() * gain.abs()  # 0 where not covered
        steady = noise[period].max()
        interior = torch.where(steady > 0, steady, 1)
        bounded = noise > max_gain * interior
        gain = gain * torch.where(bounded, max_gain * interior / torch.where(bounded, noise, 1), 1)
    return _spread(gain, frames)


def _overlap(piece: torch.Tensor, frames: Frames) -> tuple[torch.Tensor, slice, slice]:
    """windows.overlap: head, period and tail one after the other; which of them some sample takes; the period."""
    rows, hop = frames.overlap, frames.hop
    grid = torch.nn.functional.pad(piece, (0, rows * hop - frames.n_fft)).reshape(rows, hop)
    rising = grid.cumsum(0)
    steady = rising[-1:]
    if frames.n_frames >= rows:
        falling = grid.flip(0).cumsum(0).flip(0)
        pieces = torch.cat([rising[:-1], steady, falling[1:]]).reshape(-1)
        head = (rows - 1) * hop
        return pieces, slice(None), slice(head, head + hop)
    few = torch.stack(
        [torch.nn.functional.pad(grid, (0, 0, m, frames.n_frames - 1 - m)) for m in range(frames.n_frames)]
    ).sum(0)
    return torch.cat([few, steady]).reshape(-1), slice(0, few.numel()), slice(few.numel(), few.numel() + hop)


def _spread(pieces: torch.Tensor, frames: Frames) -> torch.Tensor:
    """The pieces of `_overlap` laid out on the samples [start, stop) of the signal; 0 outside the padded axis."""
    rows, hop = frames.overlap, frames.hop
    if frames.n_frames >= rows:
        head = (rows - 1) * hop
        between = frames.n_frames - rows + 1  # hops between head and tail
        middle = pieces[head : head + hop].expand(between, hop).reshape(-1)
        axis = torch.cat([pieces[:head], middle, pieces[head + hop :]])
    else:
        axis = pieces[:-hop]
    before, after = max(0, -frames.start), max(0, frames.stop - axis.shape[0])
    axis = torch.nn.functional.pad(axis, (before, after))
    return axis[frames.start + before : frames.stop + before]


# ---- one job, three maps


@dataclass(frozen=True, eq=False)
class Form:
    """The trilinear form of a job. The signal of an analysis is real or complex; a synthesis says so itself."""

    job: Synthesis | Analysis
    real: bool

    @cached_property
    def to_signal(self) -> Synthesis:
        """dT/du; for an analysis its adjoint, with the padding not yet folded back."""
        job = self.job
        if isinstance(job, Synthesis):
            return job
        frames = job.frames
        if job.pad_mode != "constant":
            frames = replace(frames, start=min(0, frames.start), stop=max(frames.span, frames.stop))
        return Synthesis(frames, self.scaled(job.window), None, job.onesided, self.real)

    @cached_property
    def to_spectrum(self) -> Analysis:
        """dT/dX; for a synthesis its adjoint, of the signal times the gain."""
        job = self.job
        return (
            job
            if isinstance(job, Analysis)
            else Analysis(job.frames, self.scaled(job.window), job.onesided, "constant")
        )

    @property
    def weighted(self) -> bool:
        """Whether DC and Nyquist of the spectrum have a weight of their own in the adjoint."""
        return self.job.onesided

    @property
    def adjoint_scale(self) -> float:
        """What the adjoint multiplies its window by: a bin of a one-sided spectrum stands for two."""
        n_fft, count = self.job.frames.n_fft, 2 if self.job.onesided else 1
        return count / n_fft if isinstance(self.job, Synthesis) else n_fft / count

    def scaled(self, window: np.ndarray | None) -> np.ndarray:
        return self.adjoint_scale * (np.ones(self.job.frames.n_fft) if window is None else window)

    @cached_property
    def text(self) -> str:
        """All of the form in a text, its digest first."""
        job = self.job
        fields: dict[str, Any] = {
            "frames": asdict(job.frames),
            "window": _packed(job.window),
            "onesided": job.onesided,
            "real": self.real,
        }
        if isinstance(job, Synthesis):
            gain = job.gain
            fields["origin"] = job.origin
            fields["gain"] = (
                None if gain is None else [*map(_packed, (gain.head, gain.period, gain.tail)), gain.tail_start]
            )
        else:
            fields["pad_mode"] = job.pad_mode
        content = json.dumps(fields)
        return hashlib.sha256(content.encode()).hexdigest() + content


@lru_cache(maxsize=256)
def form_of(job: Any, real: bool = True) -> Form:
    """The form of a job; `real` is that of an analysed signal."""
    return Form(job, job.real if isinstance(job, Synthesis) else real)


class _Text:
    """A form's text, known by its digest."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __hash__(self) -> int:
        return hash(self.text[:64])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and self.text[:64] == other.text[:64]


@lru_cache(maxsize=256)
def _read(text: _Text) -> Form:
    fields = json.loads(text.text[64:])
    frames, window = Frames(**fields["frames"]), _unpacked(fields["window"])
    onesided, real = fields["onesided"], fields["real"]
    if "pad_mode" in fields:
        return Form(Analysis(frames, window, onesided, fields["pad_mode"]), real)
    gain = None
    if fields["gain"] is not None:
        *pieces, tail_start = fields["gain"]
        head, period, tail = map(_unpacked, pieces)
        gain = HopPeriodic(head, period, tail, tail_start)
    return Form(Synthesis(frames, window, gain, onesided, real, fields["origin"]), real)


def _packed(values: np.ndarray | None) -> str | None:
    return None if values is None else base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


def _unpacked(text: str | None) -> Any:
    return None if text is None else np.frombuffer(base64.b64decode(text), "<f8")


def _signal(X: torch.Tensor, window: Any, form: Form, out: Any = None, workers: int | None = None) -> torch.Tensor:
    """dT/du on the memory of X."""
    if not _lendable(X):
        return _written(_plain_signal(X, window, form), out)
    job = form.to_signal
    if isinstance(form.job, Analysis):
        if window is not None:
            job = replace(job, window=form.scaled(_host(window)))
        if form.weighted:
            X = X.clone()
            _end_bins(X, form).mul_(2)
        return _folded(_lent("synthesis", X, job, out, workers), form)
    if window is not None:
        job = replace(job, window=_host(window))
    return _lent("synthesis", X, job, out, workers)


def _spectrum(u: torch.Tensor, window: Any, form: Form, out: Any = None, workers: int | None = None) -> torch.Tensor:
    """dT/dX on the memory of u."""
    if not _lendable(u):
        return _written(_plain_spectrum(u, window, form), out)
    job = form.to_spectrum
    if isinstance(form.job, Analysis):
        if window is not None:
            job = replace(job, window=_host(window))
        return _lent("analysis", u, job, out, workers)
    if window is not None:
        job = replace(job, window=form.scaled(_host(window)))
    X = _lent("analysis", _gained(u, form.job), job, out, workers)
    if form.weighted:
        _end_bins(X, form).mul_(0.5)
    return X


def _window(X: torch.Tensor, u: torch.Tensor, form: Form) -> torch.Tensor:
    """dT/dv, frames made again block by block: sum over frames and batch of (frames of X) * (frames of u)."""
    frames = form.job.frames
    total = torch.zeros(frames.n_fft, dtype=torch.float64 if X.dtype in _WIDE else torch.float32, device=X.device)
    if isinstance(form.job, Synthesis):
        u = _gained(u, form.job)
    count = max(1, _BLOCK_ITEMS // max(1, frames.n_fft * X.shape[:-2].numel()))
    for first in range(0, frames.n_frames, count):
        columns = slice(first, min(first + count, frames.n_frames))
        origin = first * frames.hop
        block = replace(frames, n_frames=columns.stop - first, start=frames.start - origin, stop=frames.stop - origin)
        segments = array_api.frame(u, replace(form.to_spectrum, frames=block, window=None))
        ours = _segments(X[..., columns], form)
        product = (ours.conj() * segments).real
        total += product.sum(dim=[axis for axis in range(product.ndim) if axis != product.ndim - 2])
    return total


def _plain_signal(X: torch.Tensor, window: torch.Tensor | None, form: Form) -> torch.Tensor:
    """dT/du by the definition."""
    column = _own_window(form.job, X) if window is None else _cast(window, X)[:, None]
    return _folded(array_api.overlap_add(_segments(X, form) * column, replace(form.to_signal, window=None)), form)


def _plain_spectrum(u: torch.Tensor, window: torch.Tensor | None, form: Form) -> torch.Tensor:
    """dT/dX by the definition."""
    column = _own_window(form.job, u) if window is None else _cast(window, u)[:, None]
    X = _plain_segments(u, form) * column
    X = torch.fft.rfft(X, dim=-2) if form.job.onesided else torch.fft.fft(X, dim=-2)
    if isinstance(form.job, Analysis):
        return X
    return X * (_end_weights(X, form, 0.5) * form.adjoint_scale)


def _plain_segments(u: torch.Tensor, form: Form) -> torch.Tensor:
    """The frames of a signal in T, before the window."""
    if isinstance(form.job, Synthesis) and form.job.gain is not None:
        u = _times(u, torch.asarray(form.job.signal_gain(), device=u.device, dtype=_real(u)))
    return array_api.frame(u, replace(form.to_spectrum, window=None))


def _own_window(job: Any, array: torch.Tensor) -> Any:
    """The job's window as a column."""
    if job.window is None:
        return 1
    return torch.asarray(job.window.copy(), dtype=_real(array), device=array.device)[
        :, None
    ]  # torch warns of read-only


def _segments(X: torch.Tensor, form: Form) -> torch.Tensor:
    """The frames of X that meet the frames of a signal in T: (..., n_fft, n_frames), before the window."""
    n_fft, onesided = form.job.frames.n_fft, form.job.onesided
    if isinstance(form.job, Analysis):
        X = X * (_end_weights(X, form, 2.0) * form.adjoint_scale)
    if onesided:
        return torch.fft.irfft(array_api._hermitian_ends(X, n_fft, array_api_compat.array_namespace(X)), n_fft, dim=-2)
    segments = torch.fft.ifft(X, dim=-2)
    return segments.real if form.real else segments


def _end_bins(X: torch.Tensor, form: Form) -> torch.Tensor:
    """DC and (even n_fft) Nyquist of a one-sided spectrum, a view."""
    n_fft = form.job.frames.n_fft
    return X[..., :: n_fft // 2, :] if n_fft % 2 == 0 else X[..., :1, :]


def _end_weights(X: torch.Tensor, form: Form, ends: float) -> torch.Tensor:
    """(n_bins, 1): 1, but `ends` at DC and Nyquist of a one-sided spectrum."""
    single = bin_multiplicity(form.job.frames.n_fft) == 1 if form.weighted else np.zeros(1, bool)
    return torch.asarray(np.where(single, ends, 1.0)[:, None], dtype=_real(X), device=X.device)


def _folded(axis: torch.Tensor, form: Form) -> torch.Tensor:
    """The adjoint of padding: what lies outside the signal is added where it was taken from."""
    job = form.job
    if isinstance(job, Synthesis) or job.pad_mode == "constant":
        return axis
    lo = min(0, job.frames.start)
    start, n_samples = job.frames.start - lo, job.frames.n_samples
    signal = axis[..., start : start + n_samples]
    for first, last in ((0, start), (start + n_samples, axis.shape[-1])):
        if first < last:
            index = padding_index(first - start, last - start, n_samples, job.pad_mode)
            signal = signal.index_add(-1, torch.asarray(index, device=axis.device), axis[..., first:last])
    return signal.contiguous()


def _gained(u: torch.Tensor, job: Synthesis) -> torch.Tensor:
    """The signal u times the gain of a synthesis; exactly 0 where the gain is."""
    if job.gain is None:
        return u
    result = torch.empty_like(u, memory_format=torch.contiguous_format)
    for lo, hi, values, holes in _stretches(job, _real(u), u.device):
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
    ranges = [(start, first, first), (first, last, first + hop), (last, stop, stop)]
    stretches = []
    for lo, hi, end in ranges:
        if lo < hi:
            values = torch.asarray(gain.samples(lo, end), dtype=dtype, device=device)
            holes = gain.samples(lo, end) == 0
            stretches.append(
                (lo - start, hi - start, values, torch.asarray(holes, device=device) if holes.any() else None)
            )
    return stretches


# ---- memory lent to NumPy or CuPy


def _lendable(tensor: torch.Tensor) -> bool:
    return tensor.is_cpu or (tensor.is_cuda and _cupy_installed())


@lru_cache(maxsize=1)
def _cupy_installed() -> bool:
    return find_spec("cupy") is not None


def _lent(name: str, tensor: torch.Tensor, job: Any, out: Any = None, workers: int | None = None) -> torch.Tensor:
    """The map `name` of NumPy's or CuPy's backend on the tensor's own memory."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    library, backend, place = _borrower(tensor)
    if out is None and name == "synthesis" and not tensor.is_cpu:  # from torch's allocator: its memory serves both
        out = _empty_signal(tensor, form_of(job))
    options: dict[str, Any] = {} if workers is None else {"workers": workers}
    with place:
        if out is not None:
            options["out"] = library.from_dlpack(out)
        result = getattr(backend, name)(library.from_dlpack(tensor), job, **options)
        return torch.from_dlpack(result) if out is None else out


def _borrower(tensor: torch.Tensor) -> tuple[Any, Any, AbstractContextManager[Any]]:
    """The library that shares the tensor's memory, its backend, and where the work goes: on CUDA, torch's stream."""
    if tensor.is_cpu:
        return np, numpy_backend, nullcontext()
    import cupy

    from . import cupy as cupy_backend

    stream = torch.cuda.current_stream(tensor.device)
    return cupy, cupy_backend, cupy_backend.stream_of(stream, tensor.device.index)


def _host(window: torch.Tensor) -> np.ndarray:
    return window.detach().double().cpu().numpy()


def _written(result: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
    return result if out is None else out.copy_(result)


# ---- what is followed, and how


def _followed(tensor: torch.Tensor) -> bool:
    """Whether autograd (either mode), a transformation of torch.func, the compiler or a mode follows this tensor."""
    return (tensor.requires_grad and torch.is_grad_enabled()) or _wrapped(tensor) or forward_ad._current_level >= 0


def _wrapped(tensor: torch.Tensor) -> bool:
    """Whether the values of this tensor are not simply there."""
    return (
        type(tensor) not in (torch.Tensor, torch.nn.Parameter)
        or torch._C._functorch.peek_interpreter_stack() is not None  # within torch.func, for plain tensors too
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or torch.compiler.is_compiling()
        or tensor.is_meta
    )


def _times(signal: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """The product, but 0 wherever the gain is 0, whatever the signal holds."""
    return torch.where(gain == 0, 0, signal * gain.to(_real(signal)))


def _cast(window: torch.Tensor, array: torch.Tensor) -> torch.Tensor:
    return window.to(_real(array))


_WIDE = (torch.float64, torch.complex128)


def _real(array: torch.Tensor) -> torch.dtype:
    return torch.float64 if array.dtype in _WIDE else torch.float32


def _complex(array: torch.Tensor) -> torch.dtype:
    return torch.complex128 if array.dtype in _WIDE else torch.complex64


def _empty_signal(X: torch.Tensor, form: Form) -> torch.Tensor:
    dtype = _real(X) if form.real else _complex(X)
    return X.new_empty((*X.shape[:-2], form.job.frames.n_samples), dtype=dtype)


def _empty_spectrum(u: torch.Tensor, form: Form, by_bins: bool = False) -> torch.Tensor:
    """Frame after frame in memory, or bin after bin."""
    n_fft, n_frames = form.job.frames.n_fft, form.job.frames.n_frames
    n_bins = n_fft // 2 + 1 if form.job.onesided else n_fft
    if by_bins:
        return u.new_empty((*u.shape[:-1], n_bins, n_frames), dtype=_complex(u))
    return u.new_empty((*u.shape[:-1], n_frames, n_bins), dtype=_complex(u)).mT


def _empty_window(X: torch.Tensor, form: Form) -> torch.Tensor:
    return X.new_empty((form.job.frames.n_fft,), dtype=_real(X))


# ---- the maps as functions that autograd follows


def _to_signal(X: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None = None) -> torch.Tensor:
    """dT/du, followed."""
    return _Signal.apply(X, None if window is None else _cast(window, X), form, workers)


def _to_spectrum(
    u: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None = None, by_bins: bool = False
) -> torch.Tensor:
    """dT/dX, followed; `by_bins`: bin after bin in memory, where it is memory of ours."""
    return _Spectrum.apply(u, None if window is None else _cast(window, u), form, workers, by_bins)


def _to_window(X: torch.Tensor, u: torch.Tensor, form: Form) -> torch.Tensor:
    """dT/dv, followed."""
    return _Window.apply(X, u, form)


def _keep_map(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    array, window, ctx.form, ctx.workers, *_ = inputs
    # A leaf copies a gradient that lies otherwise in memory than itself: of a minute of audio 50 ms in 80.
    ctx.by_bins = array.ndim > 1 and array.stride(-1) == 1 and array.stride(-2) != 1
    ctx.save_for_backward(None if window is None else array, window)  # the map is linear: only a window needs the data
    if forward_ad._current_level >= 0:
        ctx.save_for_forward(array, window)


def _keep_both(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    X, u, ctx.form = inputs
    ctx.save_for_backward(X, u)
    if forward_ad._current_level >= 0:
        ctx.save_for_forward(X, u)


def _signal_backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    X, window = ctx.saved_tensors
    return (
        _to_spectrum(grad, window, ctx.form, ctx.workers, ctx.by_bins) if ctx.needs_input_grad[0] else None,
        _to_window(X, grad, ctx.form) if ctx.needs_input_grad[1] else None,
        None,
        None,
    )


def _spectrum_backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    u, window = ctx.saved_tensors
    return (
        _to_signal(grad, window, ctx.form, ctx.workers) if ctx.needs_input_grad[0] else None,
        _to_window(grad, u, ctx.form) if ctx.needs_input_grad[1] else None,
        None,
        None,
        None,
    )


def _window_backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    X, u = ctx.saved_tensors
    return (
        _to_spectrum(u, grad, ctx.form) if ctx.needs_input_grad[0] else None,
        _to_signal(X, grad, ctx.form) if ctx.needs_input_grad[1] else None,
        None,
    )


def _tangent(
    call: Callable[..., torch.Tensor], ctx: Any, first: Any, second: Any, *options: Any
) -> torch.Tensor | None:
    """The derivative of a map that is linear in each of its two tensors."""
    one, two = ctx.saved_for_forward
    terms = [] if first is None else [call(first, two, *options)]
    if second is not None:
        terms.append(call(one, second, *options))
    return sum(terms[1:], terms[0]) if terms else None


def _mapped(call: Callable[..., torch.Tensor], *, batched: bool) -> Callable[..., Any]:
    """The vmap rule: leading axes of the data are a batch already (`batched`); all else is mapped over one by one."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[torch.Tensor, int]:
        if batched and in_dims[0] is not None and in_dims[1] is None:
            return call(arguments[0].movedim(in_dims[0], 0), *arguments[1:]), 0
        each = [
            call(*(a if axis is None else a.select(axis, i) for a, axis in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(each), 0

    return rule


class _Signal(torch.autograd.Function):
    setup_context = staticmethod(_keep_map)
    backward = staticmethod(_signal_backward)
    vmap = staticmethod(_mapped(_to_signal, batched=True))

    @staticmethod
    def forward(X: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None) -> torch.Tensor:
        if _wrapped(X):
            return torch.ops.xp_istft.signal(X, window, form.text, workers)
        return _signal(X, window, form, None, workers)

    @staticmethod
    def jvp(ctx: Any, X: Any, window: Any, *_: None) -> torch.Tensor | None:
        return _tangent(_to_signal, ctx, X, window, ctx.form, ctx.workers)


class _Spectrum(torch.autograd.Function):
    setup_context = staticmethod(_keep_map)
    backward = staticmethod(_spectrum_backward)
    vmap = staticmethod(_mapped(_to_spectrum, batched=True))

    @staticmethod
    def forward(
        u: torch.Tensor, window: torch.Tensor | None, form: Form, workers: int | None, by_bins: bool
    ) -> torch.Tensor:
        if _wrapped(u):
            return torch.ops.xp_istft.spectrum(u, window, form.text, workers)
        out = _empty_spectrum(u, form, by_bins=True) if by_bins and u.is_cpu else None
        return _spectrum(u, window, form, out, workers)

    @staticmethod
    def jvp(ctx: Any, u: Any, window: Any, *_: None) -> torch.Tensor | None:
        return _tangent(_to_spectrum, ctx, u, window, ctx.form, ctx.workers)


class _Window(torch.autograd.Function):
    setup_context = staticmethod(_keep_both)
    backward = staticmethod(_window_backward)
    vmap = staticmethod(_mapped(_to_window, batched=False))

    @staticmethod
    def forward(X: torch.Tensor, u: torch.Tensor, form: Form) -> torch.Tensor:
        if _wrapped(X) or _wrapped(u):
            return torch.ops.xp_istft.window(X, u, form.text)
        return _window(X, u, form)

    @staticmethod
    def jvp(ctx: Any, X: Any, u: Any, *_: None) -> torch.Tensor | None:
        return _tangent(_to_window, ctx, X, u, ctx.form)


# ---- the maps as operators


def _register(operator: str, schema: str, kernel: Any, empty: Any, keep: Any, backward: Any, *, batched: bool) -> None:
    name = f"xp_istft::{operator}"

    def setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        keep(ctx, tuple(_read(_Text(value)) if isinstance(value, str) else value for value in inputs), output)

    def call(*arguments: Any) -> torch.Tensor:
        return getattr(torch.ops.xp_istft, operator)(*arguments)

    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "CompositeExplicitAutograd", kernel)
    torch.library.register_fake(name, empty)
    torch.library.register_autograd(name, backward, setup_context=setup)
    torch.library.register_vmap(name, _mapped(call, batched=batched))


def _spectrum_operator(u: torch.Tensor, window: torch.Tensor | None, job: str, workers: Any = None) -> torch.Tensor:
    form = _read(_Text(job))
    return _spectrum(u, window, form, _empty_spectrum(u, form), workers)


_register(
    "signal",
    "(Tensor spectrum, Tensor? window, str job, int? workers=None) -> Tensor",
    lambda X, window, job, workers=None: _signal(X, window, _read(_Text(job)), None, workers),
    lambda X, window, job, workers=None: _empty_signal(X, _read(_Text(job))),
    _keep_map,
    _signal_backward,
    batched=True,
)
_register(
    "spectrum",
    "(Tensor signal, Tensor? window, str job, int? workers=None) -> Tensor",
    _spectrum_operator,
    lambda u, window, job, workers=None: _empty_spectrum(u, _read(_Text(job))),
    _keep_map,
    _spectrum_backward,
    batched=True,
)
_register(
    "window",
    "(Tensor spectrum, Tensor signal, str job) -> Tensor",
    lambda X, u, job: _window(X, u, _read(_Text(job))),
    lambda X, u, job: _empty_window(X, _read(_Text(job))),
    _keep_both,
    _window_backward,
    batched=False,
)

for _function in OPAQUE:
    torch.compiler.allow_in_graph(_function)
