"""nnAudio's state_dict: its keys and shapes, made of our modules' windows and kernels and read back into them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..frames import phase_ramp


class NNAudioState(torch.nn.Module):
    """A module that saves and loads what nnAudio's does.

    A subclass says what it holds (`_as_nnaudio`) and takes it back (`_from_nnaudio`), both as {key: tensor}.
    """

    def _as_nnaudio(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def _from_nnaudio(self, held: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same state under our own names; what it lacks is reported as missing."""
        raise NotImplementedError

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for key, tensor in self._as_nnaudio().items():
            destination[prefix + key] = tensor if keep_vars else tensor.detach()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        below = {key[len(prefix) :]: tensor for key, tensor in state_dict.items() if key.startswith(prefix)}
        ours = {prefix + key: tensor for key, tensor in self._from_nnaudio(below).items()}
        super()._load_from_state_dict(ours, prefix, *rest)


def framed(window: Tensor, n_fft: int) -> Tensor:
    """A window (win_length,) in the middle of n_fft samples."""
    spare = n_fft - window.shape[0]
    return torch.nn.functional.pad(window, (spare // 2, spare - spare // 2))


def unframed(window: Tensor, win_length: int) -> Tensor:
    left = (window.shape[0] - win_length) // 2
    return window[left : left + win_length]


def fourier(n_fft: int) -> np.ndarray:
    """exp(2 pi i k n / n_fft), (n_fft, n_fft)."""
    return np.stack([phase_ramp(n_fft, k, onesided=False) for k in range(n_fft)])


def folded(kernel: Tensor, sign: int) -> Tensor:
    """Of a two-sided kernel (n_fft samples, 1, n_fft bins, 1), what a one-sided spectrum meets, (n_bins, n_fft).

    A bin and its mirror are conjugate: their kernels add up (sign 1, of real parts), or one is taken from the other.
    """
    bins = kernel[:, 0, :, 0].mT
    n_fft = bins.shape[0]
    n_bins = n_fft // 2 + 1
    mirrored = bins[n_bins:].flip(0)
    mirrored = torch.nn.functional.pad(mirrored, (0, 0, 1, n_bins - 1 - mirrored.shape[0]))
    return sign * (bins[:n_bins] + sign * mirrored) / n_fft


def same(tensor: Tensor, values: np.ndarray) -> bool:
    """Whether `tensor` is `values`, as nnAudio makes them: in single precision, of angles that are not reduced."""
    expected = torch.as_tensor(values)
    held = tensor.detach().cpu().double()
    return held.shape == expected.shape and bool((held - expected).abs().max() < 1e-4)
