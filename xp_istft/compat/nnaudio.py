"""nnAudio's STFT, iSTFT and Griffin_Lim: its names, argument order, defaults, layouts and state_dict keys.

Beyond nnAudio: spectra may be native complex numbers and have any number of leading axes; the FFT in place of kernels
of n_fft**2 numbers, unless they are trained; every combination of parameters is inverted, or refused with a reason.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import nn
from ..arguments import boolean, error, integer, number
from ..frames import read_pad_mode
from ..frequencies.grids import scale_frequencies
from ..phase.algorithms import FastGLA
from ..transform import STFT as Transform  # noqa: N811
from ._nnaudio_state import NNAudioLayer, fourier, same, unframed
from ._nnaudio_stft import STFT

__all__ = ["STFT", "Griffin_Lim", "iSTFT"]


class iSTFT(NNAudioLayer, nn.ISTFT):  # noqa: N801  nnAudio's name
    """`nnAudio.features.iSTFT`.

    Parameters are nnAudio's; see `xp_istft.iSTFT`. trainable_window=True makes ``window`` a Parameter, which the
    normalisation follows; trainable_kernels=True makes ``kernel_sin`` and ``kernel_cos`` (n_fft, 1, n_fft, 1)
    Parameters.

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
        transform = Transform.made_by(
            "iSTFT", n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=window, center=center,
            pad_mode=None,
        )  # fmt: skip
        bins = scale_frequencies("iSTFT", transform.n_fft, freq_bins, freq_scale, fmin, fmax, sr)
        if boolean("iSTFT", "trainable_kernels", trainable_kernels) and bins is not None:
            need = "False for freq_scale other than 'no'"
            raise error(ValueError, "iSTFT", "trainable_kernels", need, True, "xp_istft.nn.ISTFT trains that basis")
        boolean("iSTFT", "refresh_win", refresh_win)
        super().__init__(
            replace(transform, frequencies=bins), trainable_window=trainable_window, trainable_kernels=trainable_kernels
        )
        self._named(verbose)

    def _hold_kernels(self, real: np.ndarray, imag: np.ndarray) -> None:
        kernels = fourier(self.transform.n_fft)[:, None, :, None]
        self._hold("kernel_sin", kernels.imag, trainable=True)
        self._hold("kernel_cos", kernels.real, trainable=True)

    @property
    def kernel_real(self) -> Tensor:  # type: ignore[override]
        return _folded(self.kernel_cos, 1)

    @property
    def kernel_imag(self) -> Tensor:  # type: ignore[override]
        return _folded(self.kernel_sin, -1)

    def forward(  # type: ignore[override]
        self, X: Tensor, onesided: bool = False, length: int | None = None, refresh_win: bool | None = None
    ) -> Tensor:
        """Signal of X: pairs (batch, n_bins, n_frames, 2), or complex (..., n_bins, n_frames).

        onesided : may be left out; the number of bins tells
        length   : samples of the result
        """
        return self._real_signal(X, onesided, length, refresh_win)

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
            held["window"] = unframed(held.pop("window_mask"), self.win_length)
        if self.trainable_kernels or not {"kernel_sin", "kernel_cos"} <= held.keys():
            return held
        kernels = fourier(self.n_fft)[:, None, :, None]
        sine, cosine = held.pop("kernel_sin"), held.pop("kernel_cos")
        if self.transform.bins is None and not (same(sine, kernels.imag) and same(cosine, kernels.real)):
            need = "those of the DFT for trainable_kernels=False"
            hint = "load them with trainable_kernels=True"
            raise error(ValueError, "iSTFT", "kernel_sin, kernel_cos", need, "trained kernels", hint)
        return held


def _folded(kernel: Tensor, sign: int) -> Tensor:
    """Of a two-sided kernel (n_fft samples, 1, n_fft bins, 1), what a one-sided spectrum meets, (n_bins, n_fft).

    A bin and its mirror are conjugate: their kernels add up (sign 1, of real parts), or one is taken from the other.
    """
    bins = kernel[:, 0, :, 0].mT
    n_fft = bins.shape[0]
    n_bins = n_fft // 2 + 1
    mirrored = bins[n_bins:].flip(0)
    mirrored = torch.nn.functional.pad(mirrored, (0, 0, 1, n_bins - 1 - mirrored.shape[0]))
    return sign * (bins[:n_bins] + sign * mirrored) / n_fft


class Griffin_Lim(NNAudioLayer, nn.GriffinLim):  # noqa: N801  nnAudio's name
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
        pad_mode = read_pad_mode("Griffin_Lim", pad_mode)
        hop_length = integer("Griffin_Lim", "n_fft", n_fft, 2) // 4 if hop_length is None else hop_length
        transform = Transform.made_by(
            "Griffin_Lim", n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=window, center=center,
            pad_mode=pad_mode, nola="zero",
        )  # fmt: skip
        algorithm = FastGLA(number("Griffin_Lim", "momentum", momentum, 0))
        super().__init__(transform, n_iter=n_iter, algorithm=algorithm, device=device)
        self._named(verbose=False)

    def _as_nnaudio(self) -> dict[str, Tensor]:
        return {}

    def _from_nnaudio(self, held: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**held, "window": self.window}
