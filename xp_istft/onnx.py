"""The two maps with real numbers alone, for export: a matrix product and reshapes, no complex numbers and no FFT.

`torch.onnx.export` takes them, with any number of samples or frames, and so does `torch.jit.trace`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .arguments import error
from .backends.torch.exported import framed, overlap_added
from .frames import bin_multiplicity
from .transform import STFT


class Constants(NamedTuple):
    """A basis (n_fft, 2 n_bins) that holds the synthesis window, and one frame's part of the overlap, in whole hops."""

    basis: Any
    envelope: Any


def check(function: str, transform: STFT) -> None:
    """ValueError for transforms that are not exported."""
    for name, fits, need in (
        ("frequencies", transform.bins is None, "those of the DFT"),
        ("solver", transform.closed, "Dual()"),
        ("max_gain", transform.max_gain is None, "None"),
        ("onesided", transform.onesided, "True"),
    ):
        if not fits:
            raise error(ValueError, function, name, f"{need} with export=True", getattr(transform, name))


def constants(function: str, transform: STFT) -> Constants:
    """Of the inverse, in float64 on the host; the windows are judged for holes, as `nola` says."""
    n_fft, hop = transform.n_fft, transform.hop_length
    assert hop is not None
    rows = -(-n_fft // hop)
    job = transform.synthesis(function, 4 * rows, None, "float32").job
    pair = transform.samples(), transform.synthesis_samples()
    envelope = np.zeros(rows * hop)
    envelope[:n_fft] = np.prod([samples / np.abs(samples).max() for samples in pair], axis=0)
    real, imag = (part / _bin_gain(transform) for part in inverse_basis(n_fft))
    # the pairs of a bin lie side by side: (bins, 2) is one axis of the product
    basis = np.stack([real, imag], axis=1).reshape(-1, n_fft).T * np.asarray(job.window)[:, None]
    return Constants(basis, envelope)


def inverse(function: str, X: Tensor, transform: STFT, held: tuple[Tensor, Tensor], length: int | None) -> Tensor:
    """Signal (..., n_samples) of pairs (..., n_bins, n_frames, 2); samples under no window weight are 0."""
    if X.is_complex():
        X = torch.view_as_real(X)
    n_fft, hop, n_bins = transform.n_fft, transform.hop_length, transform.n_bins
    assert hop is not None
    if X.ndim < 3 or X.shape[-1] != 2 or X.shape[-3] != n_bins:
        need = f"pairs (..., {n_bins}, n_frames, 2) for n_fft={n_fft}"
        raise error(ValueError, function, "X", need, f"shape {tuple(X.shape)}")
    n_frames, rows = X.shape[-2], -(-n_fft // hop)
    basis, envelope = (each.to(X.dtype) for each in held)
    pairs = X.transpose(-2, -3).flatten(-2)  # (..., n_frames, 2 n_bins)
    segments = torch.nn.functional.pad(pairs @ basis.mT, (0, rows * hop - n_fft))
    signal = overlap_added(segments, rows, hop)
    weights = overlap_added(envelope.expand(n_frames, -1), rows, hop)
    covered = weights.abs() > torch.finfo(X.dtype).eps ** 2 * weights.abs().amax(0)
    signal = torch.where(covered, signal / torch.where(covered, weights, torch.ones_like(weights)), 0.0)
    placement = transform.placement
    signal = signal[..., placement.left :]
    if length is not None:
        return torch.nn.functional.pad(signal, (0, length))[..., :length]
    after = rows * hop - n_fft + placement.right  # samples of the last whole hop that belong to no signal
    return signal[..., :-after] if after else signal


def analysis_basis(transform: STFT) -> np.ndarray:
    """What a frame is multiplied with to make the pairs of its bins side by side, (2 n_bins, n_fft) with the window."""
    parts = [part * _bin_gain(transform) for part in forward_basis(transform.n_fft)]
    return np.stack(parts, axis=1).reshape(-1, transform.n_fft) * (transform.samples() * transform.scale)


def _bin_gain(transform: STFT) -> np.ndarray:
    """What each bin is multiplied by after the scaled window, (n_bins, 1)."""
    return bin_multiplicity(transform.n_fft)[:, None] / 2 if transform.amplitudes else np.ones((transform.n_bins, 1))


def forward(function: str, x: Tensor, transform: STFT, basis: Tensor) -> Tensor:
    """Pairs (..., n_bins, n_frames, 2) of a signal (..., n_samples)."""
    n_samples, placement = x.shape[-1], transform.placement
    if type(n_samples) is int:
        transform.analysis(function, n_samples, x)  # which says what is too short
    n_fft, hop = transform.n_fft, placement.hop
    spare = n_samples + placement.left + placement.right - n_fft + (hop - 1 if placement.whole else 0)
    segments = framed(x, n_fft, hop, 1 + spare // hop, placement.left, transform.pad_mode or "constant")
    pairs = segments @ basis.to(x.dtype).mT
    return pairs.reshape(*pairs.shape[:-1], transform.n_bins, 2).transpose(-3, -2)


def forward_basis(n_fft: int, onesided: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts of exp(-2 pi i k n / n_fft), (n_bins, n_fft) of exactly reduced angles."""
    turns = np.outer(np.arange(n_fft // 2 + 1 if onesided else n_fft), np.arange(n_fft)) % n_fft
    angles = 2 * np.pi / n_fft * turns
    return np.cos(angles), -np.sin(angles)


def inverse_basis(n_fft: int, onesided: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """What real and imaginary parts of a spectrum are multiplied with to make a frame, (n_bins, n_fft).

    That is its real part; of two sides there is an imaginary one, real.T @ X.imag - imag.T @ X.real.
    """
    if not onesided:
        real, imag = forward_basis(n_fft, onesided)
        return real / n_fft, imag / n_fft
    weight = bin_multiplicity(n_fft)[:, None] / n_fft
    real, imag = forward_basis(n_fft)
    imag[weight[:, 0] * n_fft == 1] = 0  # the imaginary parts of DC and Nyquist count nothing
    return real * weight, imag * weight
