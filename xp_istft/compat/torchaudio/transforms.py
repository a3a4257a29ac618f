"""torchaudio.transforms' Spectrogram, InverseSpectrogram and GriffinLim: modules whose state_dicts are torchaudio's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...arguments import TRANSPARENT, not_scripted
from . import functional

__all__ = ["GriffinLim", "InverseSpectrogram", "Spectrogram"]

TRANSPARENT.add(torch.nn.modules.module.__file__)  # warnings name the line that called the module


class _Module(torch.nn.Module):
    """Sizes and a window."""

    window: Tensor

    def __init__(self, n_fft: int, win_length: int | None, hop_length: int | None) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.win_length = n_fft if win_length is None else win_length
        self.hop_length = self.win_length // 2 if hop_length is None else hop_length

    def _hold(self, window_fn: Callable[..., Tensor], wkwargs: dict[str, Any] | None) -> None:
        self.register_buffer("window", window_fn(self.win_length, **(wkwargs or {})))

    def __prepare_scriptable__(self) -> None:
        raise not_scripted(type(self).__name__)


class Spectrogram(_Module):
    """`torchaudio.transforms.Spectrogram`: magnitudes to a power, or for power=None spectra, of signals (..., time).

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torchaudio import Spectrogram
    >>> Spectrogram()(torch.zeros(2, 4000)).shape, list(Spectrogram().state_dict())
    (torch.Size([2, 201, 21]), ['window'])
    """

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: Callable[..., Tensor] = torch.hann_window,
        power: float | None = 2.0,
        normalized: bool | str = False,
        wkwargs: dict[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool = True,
        return_complex: bool | None = None,
    ) -> None:
        super().__init__(n_fft, win_length, hop_length)
        self._hold(window_fn, wkwargs)
        self.pad, self.power, self.normalized = pad, power, normalized
        self.center, self.pad_mode, self.onesided = center, pad_mode, onesided
        if return_complex is not None:
            functional.warn_of_return_complex("transforms.Spectrogram")

    def forward(self, waveform: Tensor) -> Tensor:
        return functional.spectrogram(
            waveform, self.pad, self.window, self.n_fft, self.hop_length, self.win_length, self.power,
            self.normalized, self.center, self.pad_mode, self.onesided,
        )  # fmt: skip


class InverseSpectrogram(_Module):
    """`torchaudio.transforms.InverseSpectrogram`: signals (..., time) of complex spectra (..., freq, time).

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torchaudio import InverseSpectrogram, Spectrogram
    >>> x = torch.randn(2, 4000)
    >>> y = InverseSpectrogram()(Spectrogram(power=None)(x), 4000)
    >>> bool((y - x).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: Callable[..., Tensor] = torch.hann_window,
        normalized: bool | str = False,
        wkwargs: dict[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool = True,
    ) -> None:
        super().__init__(n_fft, win_length, hop_length)
        self._hold(window_fn, wkwargs)
        self.pad, self.normalized = pad, normalized
        self.center, self.pad_mode, self.onesided = center, pad_mode, onesided

    def forward(self, spectrogram: Tensor, length: int | None = None) -> Tensor:
        return functional.inverse_spectrogram(
            spectrogram, length, self.pad, self.window, self.n_fft, self.hop_length, self.win_length,
            self.normalized, self.center, self.pad_mode, self.onesided,
        )  # fmt: skip


class GriffinLim(_Module):
    """`torchaudio.transforms.GriffinLim`: signals (..., time) of magnitudes to a power (..., freq, time).

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torchaudio import GriffinLim, Spectrogram
    >>> S = Spectrogram()(torch.sin(torch.arange(4000) / 3))
    >>> GriffinLim(n_iter=4, length=4000)(S).shape
    torch.Size([4000])
    """

    def __init__(
        self,
        n_fft: int = 400,
        n_iter: int = 32,
        win_length: int | None = None,
        hop_length: int | None = None,
        window_fn: Callable[..., Tensor] = torch.hann_window,
        power: float = 2.0,
        wkwargs: dict[str, Any] | None = None,
        momentum: float = 0.99,
        length: int | None = None,
        rand_init: bool = True,
    ) -> None:
        functional.check_momentum(momentum)
        super().__init__(n_fft, win_length, hop_length)
        self._hold(window_fn, wkwargs)
        self.n_iter, self.length, self.power = n_iter, length, power
        self.momentum, self.rand_init = momentum, rand_init

    def forward(self, specgram: Tensor) -> Tensor:
        return functional.griffinlim(
            specgram, self.window, self.n_fft, self.hop_length, self.win_length, self.power, self.n_iter,
            self.momentum, self.length, self.rand_init,
        )  # fmt: skip
