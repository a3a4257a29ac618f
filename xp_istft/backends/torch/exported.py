"""The two maps as torch.export records them: operators of ATen, and what they share with ../../onnx.py.

What is exported runs where xp_istft never was, and goes to ONNX. No step depends on how long the data are, so one
program holds for every size that was left open. The compiler keeps our operators, which are faster, and takes from here
the frames and overlaps of bins at other frequencies, for which there are none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from ...jobs import Analysis, Synthesis
from .gradients import Form, as_tensor, form_of, own_window, times
from .lending import real_of


def synthesis(X: torch.Tensor, job: Synthesis) -> torch.Tensor:
    return _overlap_added(_segments(X, job), job)


def overlap_add(segments: torch.Tensor, job: Synthesis) -> torch.Tensor:
    """The signal of segments (..., n_fft, n_frames)."""
    return _overlap_added(segments.mT, job)


def analysis(u: torch.Tensor, job: Analysis) -> torch.Tensor:
    segments = frame(u, job).mT
    return (torch.fft.rfft(segments) if job.onesided else torch.fft.fft(segments)).mT


def frame(u: torch.Tensor, job: Analysis) -> torch.Tensor:
    """The windowed frames (..., n_fft, n_frames)."""
    frames = job.frames
    window = job.window if job.followed else own_window(form_of(job))
    segments = framed(u, frames.n_fft, frames.hop, frames.n_frames, frames.start, job.pad_mode)
    return (segments * as_tensor(window).to(u.device, real_of(u))).mT


def _overlap_added(segments: torch.Tensor, job: Synthesis) -> torch.Tensor:
    """The signal (..., n_samples) of segments (..., n_frames, n_fft)."""
    if segments.is_complex():  # ONNX pads real numbers alone
        made = _overlap_added(torch.stack([segments.real, segments.imag]), job)
        return torch.complex(made[0], made[1])
    if not job.followed:
        form = form_of(job)
        job = Form.of_operands(*form.operands, own_window(form)).with_gain.job  # type: ignore[assignment]
    frames = job.frames
    hop, rows = frames.hop, frames.overlap
    segments = torch.nn.functional.pad(
        segments * job.window.to(segments.device, segments.dtype), (0, rows * hop - frames.n_fft)
    )
    axis = overlap_added(segments, rows, hop)
    before = max(0, -frames.start)
    beyond = 0 if statically_known_true(frames.stop <= axis.shape[-1]) else frames.n_samples
    made = torch.nn.functional.pad(axis, (before, beyond))[..., before + frames.start :][..., : frames.n_samples]
    return made if job.gain is None else times(made, job.signal_gain())


def _segments(X: torch.Tensor, job: Synthesis) -> torch.Tensor:
    """The inverse FFT of each frame, (..., n_frames, n_fft)."""
    n_fft, X = job.frames.n_fft, X.mT
    if not job.onesided:
        segments = torch.fft.ifft(X)
        return segments.real if job.real else segments
    ends = X.real.to(X.dtype)  # bins that are real, as cuFFT needs them
    last = n_fft // 2 if n_fft % 2 == 0 else n_fft // 2 + 1
    return torch.fft.irfft(torch.cat([ends[..., :1], X[..., 1:last], ends[..., last:]], dim=-1), n_fft)


def framed(u: torch.Tensor, n_fft: int, hop: int, n_frames: Any, start: int, pad_mode: str) -> torch.Tensor:
    """The frames (..., n_frames, n_fft) of a signal (..., n_samples), which is padded as `pad_mode` says."""
    rows = -(-n_fft // hop)
    total = (n_frames + rows - 1) * hop  # whole hops that hold every frame
    n_samples = u.shape[-1]
    if pad_mode == "constant":
        enough = not isinstance(total, torch.Tensor) and statically_known_true(total <= start + n_samples)
        beyond = 0 if enough else total  # torch.jit.trace has sizes in tensors
        axis = torch.nn.functional.pad(u, (start, beyond))[..., :total]
    else:
        axis = u[..., _padding_index(torch.arange(total, device=u.device) - start, n_samples, pad_mode)]
    hops = axis.reshape(*u.shape[:-1], n_frames + rows - 1, hop)
    return torch.cat([hops[..., row : row + n_frames, :] for row in range(rows)], dim=-1)[..., :n_fft]


def _padding_index(t: torch.Tensor, n_samples: Any, pad_mode: str) -> torch.Tensor:
    """frames.padding_index of samples t."""
    count = torch.zeros_like(t) + n_samples  # ONNX divides by tensors
    if pad_mode == "edge":
        return torch.minimum(t.clamp(min=0), count - 1)
    if pad_mode == "wrap":
        return t % count
    period = 2 * count if pad_mode == "symmetric" else (2 * count - 2).clamp(min=1)
    t = t % period
    mirrored = period - 1 - t if pad_mode == "symmetric" else period - t
    return torch.where(t < count, t, mirrored)


def overlap_added(segments: torch.Tensor, rows: int, hop: int) -> torch.Tensor:
    """(..., n_frames, rows * hop) -> (..., (n_frames + rows - 1) * hop), frames added by shifted sums of whole hops."""
    pieces = segments.reshape(*segments.shape[:-1], rows, hop)  # the old exporter to ONNX keeps sizes of unflatten
    pad = torch.nn.functional.pad
    total = sum(pad(pieces[..., row, :], (0, 0, row, rows - 1 - row)) for row in reversed(range(rows)))
    return total.flatten(-2)  # type: ignore[union-attr]
