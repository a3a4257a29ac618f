"""nnAudio's STFT."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import nn, transforms
from ..arguments import choice, error
from ..frames import bin_frequencies
from ._nnaudio_state import NNAudioState, fourier, framed, same, unframed

_FORMATS = {"Magnitude": "magnitude", "Complex": "pairs", "Phase": "phase"}


class STFT(NNAudioState, nn.STFT):
    """`nnAudio.features.STFT`.

    Parameters are nnAudio's; see `xp_istft.nn.STFT`. trainable=True makes the windowed kernels ``wsin`` and ``wcos``
    (n_bins, 1, n_fft) Parameters.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.nnaudio import STFT
    >>> layer = STFT(n_fft=512, iSTFT=True, verbose=False)
    >>> x = torch.randn(3, 8000)
    >>> X = layer(x)
    >>> X.shape, bool((layer.inverse(X, length=8000) - x).abs().max() < 1e-5)
    (torch.Size([3, 257, 63, 2]), True)
    """

    wsin: Tensor
    wcos: Tensor

    def __init__(
        self,
        n_fft: int = 2048,
        win_length: int | None = None,
        freq_bins: int | None = None,
        hop_length: int | None = None,
        window: Any = "hann",
        freq_scale: str = "no",
        center: bool = True,
        pad_mode: str = "reflect",
        iSTFT: bool = False,
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable: bool = False,
        output_format: str = "Complex",
        verbose: bool = True,
    ) -> None:
        choice("STFT", "output_format", output_format, tuple(_FORMATS))
        super().__init__(
            n_fft, win_length, freq_bins, hop_length, window, freq_scale, center, pad_mode, iSTFT, fmin, fmax, sr,
            trainable, False, _FORMATS[output_format], verbose,
        )  # fmt: skip
        self.iSTFT, self.trainable, self.stride = iSTFT, trainable, self.hop_length
        bins = self.frequencies
        self.bins2freq = (bin_frequencies(self.n_fft, sr=float(sr)) if bins is None else bins.hz).tolist()

    def _train_kernels(self, bases: Any) -> None:
        """The kernels hold the window: what is trained outside its samples counts."""
        window = framed(torch.asarray(self._exact["window"].copy()), self.n_fft).numpy()
        real, imag = bases
        self._hold("wsin", -imag[:, None] * window, trainable=True)
        self._hold("wcos", real[:, None] * window, trainable=True)

    @property
    def kernel_real(self) -> Tensor:  # type: ignore[override]
        return self.wcos[:, 0]

    @property
    def kernel_imag(self) -> Tensor:  # type: ignore[override]
        return -self.wsin[:, 0]

    def _held(self, name: str) -> Any:
        return "boxcar" if name == "window" and self.trainable_kernels else super()._held(name)

    def _placed(self) -> dict[str, Any]:
        return {**super()._placed(), **({"win_length": self.n_fft} if self.trainable_kernels else {})}

    def forward(self, x: Tensor, output_format: str | None = None) -> Tensor:
        """Spectrum (batch, n_bins, n_frames), as "Complex" with a last axis of 2, of x (n_samples), (batch, n_samples)
        or (batch, 1, n_samples); of other signals (..., n_samples) it is (..., n_bins, n_frames).
        """
        if output_format is not None:
            output_format = _FORMATS[choice("STFT", "output_format", output_format, tuple(_FORMATS))]
        if x.ndim == 3 and x.shape[1] == 1:
            x = x[:, 0]
        return super().forward(x if x.ndim > 1 else x[None], output_format)

    def inverse(
        self, X: Tensor, onesided: bool = True, length: int | None = None, refresh_win: bool | None = True
    ) -> Tensor:
        """Signal of a spectrum, as `iSTFT` makes it; it needs no iSTFT=True."""
        if not self.trainable_kernels:
            return super().inverse(X, onesided, length, refresh_win)
        window = self._exact["window"]  # that of the analysis before it was trained, as nnAudio's
        X = nn._complex("STFT", X)
        placed = {**self._placed(), "win_length": self.win_length}
        return transforms.istft(X, n_fft=self.n_fft, window=window, onesided=onesided, length=length, **placed)

    def _kernels(self) -> np.ndarray:
        """exp(2 pi i b n / n_fft) of the bins b, (n_bins, n_fft)."""
        if self.frequencies is None:
            return fourier(self.n_fft)[: self.n_fft // 2 + 1]
        return self.frequencies.basis(self.n_fft).conj()

    def _as_nnaudio(self) -> dict[str, Tensor]:
        window = framed(torch.asarray(self._exact["window"].copy()).to(self.window), self.n_fft)
        kernels = torch.as_tensor(self._kernels()).to(window.device)
        sine, cosine = (part.to(window.dtype)[:, None] for part in (kernels.imag, kernels.real))
        held = {"wsin": sine * window, "wcos": cosine * window}
        if self.trainable_kernels:
            held = {"wsin": self.wsin, "wcos": self.wcos}
        held["window_mask"] = window[None, :, None]
        if self.iSTFT:
            middle = slice(1, -1)  # the bins with a mirror; nnAudio leaves one out where n_fft is odd
            sine = torch.cat([sine, -sine[middle].flip(0)])
            cosine = torch.cat([cosine, cosine[middle].flip(0)])
            held |= {"kernel_sin_inv": sine[..., None], "kernel_cos_inv": cosine[..., None]}
        return held

    def _from_nnaudio(self, held: dict[str, Tensor]) -> dict[str, Tensor]:
        held = {key: tensor for key, tensor in held.items() if not key.startswith("kernel_")}
        if "window_mask" in held:
            held["window"] = unframed(held.pop("window_mask")[0, :, 0], self.win_length)
        if self.trainable_kernels or not {"wsin", "wcos", "window"} <= held.keys():
            return held
        window = framed(held["window"].detach().cpu().double(), self.n_fft).numpy()
        kernels = self._kernels()[:, None] * window
        if not (same(held.pop("wsin"), kernels.imag) and same(held.pop("wcos"), kernels.real)):
            need = "those of the bins for trainable=False"
            raise error(ValueError, "STFT", "wsin, wcos", need, "trained kernels", "load them with trainable=True")
        return held
