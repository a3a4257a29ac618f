"""What our layers under nnAudio's names share: its state_dict, its sizes, and spectra with two sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import nn
from ..arguments import boolean
from ..frames import phase_ramp


class NNAudioLayer(nn._Module):
    """A module that saves and loads what nnAudio's does.

    A subclass says what it holds (`_as_nnaudio`) and takes it back (`_from_nnaudio`), both as {key: tensor}.
    """

    def _named(self, verbose: bool) -> None:
        """The sizes under the names of nnAudio, and the line that it prints."""
        transform = self.transform
        self.n_fft, self.win_length, self.stride = transform.n_fft, transform.win_length, transform.hop_length
        self.center, self.pad_mode = transform.center, transform.pad_mode
        if boolean(self.function, "verbose", verbose):
            print(f"{self.function}: {self.extra_repr()}")

    def _real_signal(self, X: Tensor, onesided: bool, length: int | None, refresh_win: bool | None) -> Tensor:
        """Signal of a spectrum that has two sides unless it is `onesided`, or its number of bins tells."""
        if refresh_win is not None:
            boolean(self.function, "refresh_win", refresh_win)
        Z = nn.as_complex(self.function, X)
        n_fft = self.transform.n_fft
        if not boolean(self.function, "onesided", onesided) and Z.shape[-2:-1] == (n_fft,) and n_fft > 2:
            Z = hermitian_part(Z)
        signal = self._inverted(Z, length)
        return signal.to(X.dtype) if X.dtype in (torch.float16, torch.bfloat16) else signal

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


def hermitian_part(X: Tensor) -> Tensor:
    """The one-sided spectrum of the real part of a signal, of the two-sided spectrum of that signal."""
    n_bins = X.shape[-2] // 2 + 1
    mirrored = torch.cat([X[..., :1, :], X[..., 1 - n_bins :, :].flip(-2)], -2)
    return (X[..., :n_bins, :] + mirrored.conj()) / 2


def unframed(mask: Tensor, win_length: int) -> Tensor:
    """The window in the middle of nnAudio's window_mask (1, n_fft, 1)."""
    left = (mask.shape[1] - win_length) // 2
    return mask[0, left : left + win_length, 0]


def fourier(n_fft: int) -> np.ndarray:
    """exp(2 pi i k n / n_fft), (n_fft, n_fft)."""
    return np.stack([phase_ramp(n_fft, k, onesided=False) for k in range(n_fft)])


def same(tensor: Tensor, values: np.ndarray) -> bool:
    """Whether `tensor` is `values`, as nnAudio makes them: in single precision, of angles that are not reduced."""
    expected = torch.as_tensor(values)
    held = tensor.detach().cpu().double()
    return held.shape == expected.shape and bool((held - expected).abs().max() < 1e-4)
