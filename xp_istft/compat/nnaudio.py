"""nnAudio's STFT, iSTFT and Griffin_Lim: its names, argument order, defaults, layouts and state_dict keys.

Beyond nnAudio: spectra may be native complex numbers and have any number of leading axes; the FFT in place of kernels
of n_fft**2 numbers, unless they are trained; every combination of parameters is inverted, or refused with a reason.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import nn
from ..arguments import error
from ._nnaudio_state import NNAudioState, folded, fourier, same, unframed
from ._nnaudio_stft import STFT

__all__ = ["STFT", "Griffin_Lim", "iSTFT"]


class iSTFT(NNAudioState, nn.ISTFT):  # noqa: N801  nnAudio's name
    """`nnAudio.features.iSTFT`.

    Parameters are nnAudio's; see `xp_istft.nn.ISTFT`. trainable_kernels=True makes ``kernel_sin`` and ``kernel_cos``
    (n_fft, 1, n_fft, 1) Parameters.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.nnaudio import STFT, iSTFT
    >>> x = torch.randn(3, 8000)
    >>> y = iSTFT(n_fft=512, verbose=False)(STFT(n_fft=512, verbose=False)(x), length=8000)
    >>> bool((y - x).abs().max() < 1e-5)
    True
    """

    kernel_sin: Tensor
    kernel_cos: Tensor

    def __init__(
        self,
        n_fft: int = 2048,
        win_length: int | None = None,
        freq_bins: int | None = None,
        hop_length: int | None = None,
        window: Any = "hann",
        freq_scale: str = "no",
        center: bool = True,
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable_kernels: bool = False,
        trainable_window: bool = False,
        verbose: bool = True,
        refresh_win: bool = True,
    ) -> None:
        super().__init__(
            n_fft, win_length, freq_bins, hop_length, window, freq_scale, center, fmin, fmax, sr, trainable_kernels,
            trainable_window, verbose, refresh_win,
        )  # fmt: skip
        self.stride = self.hop_length

    def _train_kernels(self, bases: Any) -> None:
        if self.frequencies is not None:
            need = "False for freq_scale other than 'no'"
            raise error(ValueError, "iSTFT", "trainable_kernels", need, True, "xp_istft.nn.ISTFT trains that basis")
        kernels = fourier(self.n_fft)[:, None, :, None]
        self._hold("kernel_sin", kernels.imag, trainable=True)
        self._hold("kernel_cos", kernels.real, trainable=True)

    @property
    def kernel_real(self) -> Tensor:  # type: ignore[override]
        return folded(self.kernel_cos, 1)

    @property
    def kernel_imag(self) -> Tensor:  # type: ignore[override]
        return folded(self.kernel_sin, -1)

    def forward(  # type: ignore[override]
        self, X: Tensor, onesided: bool = False, length: int | None = None, refresh_win: bool | None = None
    ) -> Tensor:
        """Signal of X: pairs (batch, n_bins, n_frames, 2), or complex (..., n_bins, n_frames).

        onesided : may be left out; the number of bins tells
        length   : samples of the result
        """
        X = nn._complex("iSTFT", X)
        if self.trainable_kernels and X.shape[-2] == self.n_fft:
            X = X[..., : self.n_fft // 2 + 1, :]  # of a real signal the other half is its mirror
        return super().forward(X, onesided or None, length, refresh_win)

    def _as_nnaudio(self) -> dict[str, Tensor]:
        held = {"window_mask": self.window[None, :, None]}
        if self.trainable_kernels:
            return {"kernel_sin": self.kernel_sin, "kernel_cos": self.kernel_cos, **held}
        kernels = torch.as_tensor(fourier(self.n_fft)[:, None, :, None]).to(self.window.device)
        kind = self.window.dtype
        return {"kernel_sin": kernels.imag.to(kind), "kernel_cos": kernels.real.to(kind), **held}

    def _from_nnaudio(self, held: dict[str, Tensor]) -> dict[str, Tensor]:
        held = dict(held)
        if "window_mask" in held:
            # nnAudio's own default pads the mask where win_length < n_fft
            held["window"] = unframed(held.pop("window_mask")[0, :, 0], self.win_length)
        if self.trainable_kernels or not {"kernel_sin", "kernel_cos"} <= held.keys():
            return held
        kernels = fourier(self.n_fft)[:, None, :, None]
        sine, cosine = held.pop("kernel_sin"), held.pop("kernel_cos")
        if self.frequencies is None and not (same(sine, kernels.imag) and same(cosine, kernels.real)):
            need = "those of the DFT for trainable_kernels=False"
            hint = "load them with trainable_kernels=True"
            raise error(ValueError, "iSTFT", "kernel_sin, kernel_cos", need, "trained kernels", hint)
        return held


class Griffin_Lim(NNAudioState, nn.GriffinLim):  # noqa: N801  nnAudio's name
    """`nnAudio.features.Griffin_Lim`: signals (batch, n_samples) of magnitudes (batch, n_bins, n_frames).

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.nnaudio import Griffin_Lim
    >>> Griffin_Lim(512, n_iter=2)(torch.rand(2, 257, 20)).shape
    torch.Size([2, 2432])
    """

    def __init__(
        self,
        n_fft: int,
        n_iter: int = 32,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        pad_mode: str = "reflect",
        momentum: float = 0.99,
        device: Any = "cpu",
    ) -> None:
        hop_length = n_fft // 4 if hop_length is None else hop_length
        super().__init__(n_fft, n_iter, hop_length, win_length, window, center, pad_mode, momentum, device)

    def _as_nnaudio(self) -> dict[str, Tensor]:
        return {}

    def _from_nnaudio(self, held: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**held, "window": self.window}
