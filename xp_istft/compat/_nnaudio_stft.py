"""nnAudio's STFT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import nn
from ..arguments import boolean, choice, error
from ..frames import read_pad_mode
from ..frequencies.grids import scale_frequencies
from ..transform import STFT as Transform  # noqa: N811
from ._nnaudio_state import NNAudioLayer, fourier, same, unframed

_FORMATS = {"Magnitude": "magnitude", "Complex": "pairs", "Phase": "phase"}


class STFT(NNAudioLayer, nn.STFT):
    """`nnAudio.features.STFT`.

    Parameters are nnAudio's; see `xp_istft.iSTFT` and `xp_istft.nn.STFT`. trainable=True makes the windowed kernels
    ``wsin`` and ``wcos`` (n_bins, 1, n_fft) Parameters.

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
        pad_mode = read_pad_mode("STFT", pad_mode)
        transform = Transform.made_by(
            "STFT", n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=window, center=center,
            pad_mode=pad_mode,
        )  # fmt: skip
        bins = scale_frequencies("STFT", transform.n_fft, freq_bins, freq_scale, fmin, fmax, sr)
        choice("STFT", "output_format", output_format, tuple(_FORMATS))
        super().__init__(
            replace(transform, frequencies=bins),
            trainable_kernels=boolean("STFT", "trainable", trainable),
            output_format=_FORMATS[output_format],
        )
        self.iSTFT, self.trainable = boolean("STFT", "iSTFT", iSTFT), trainable
        self.bins2freq = self.transform.bin_frequencies(sr).tolist()
        self._named(verbose)

    def _hold_kernels(self, real: np.ndarray, imag: np.ndarray) -> None:
        """The kernels hold the window: what is trained outside its samples counts."""
        window = self.transform.samples()
        self._hold("wsin", -imag[:, None] * window, trainable=True)
        self._hold("wcos", real[:, None] * window, trainable=True)
        self._unwindowed = replace(self.transform, window="boxcar", win_length=self.transform.n_fft)

    @property
    def kernel_real(self) -> Tensor:  # type: ignore[override]
        return self.wcos[:, 0]

    @property
    def kernel_imag(self) -> Tensor:  # type: ignore[override]
        return -self.wsin[:, 0]

    def _analysed(self, x: Tensor, lengths: Any = None) -> Tensor:
        if not self.trainable_kernels:
            return super()._analysed(x, lengths)
        trained = None, None, *self._trained()[2:]
        return nn._forward(x, self._unwindowed, self.function, *trained, lengths=lengths)

    def _inverted(self, X: Tensor, length: int | None, lengths: Any = None) -> Tensor:
        """Of trained kernels that of the window as it was before the training, as nnAudio's; of trained kernels of
        other bins than the DFT's the solution for the kernels.
        """
        if not self.trainable_kernels or self.transform.bins is None:
            return super()._inverted(X, length, lengths)
        with self._precisely(X):
            trained = None, None, *self._trained()[2:]
            return nn._inverse(X, self._unwindowed, length, self.function, *trained, lengths=lengths)

    def forward(self, x: Tensor, output_format: str | None = None) -> Tensor:  # type: ignore[override]
        """Spectrum (batch, n_bins, n_frames), as "Complex" with a last axis of 2, of x (n_samples), (batch, n_samples)
        or (batch, 1, n_samples); of other signals (..., n_samples) it is (..., n_bins, n_frames).
        """
        if output_format is not None:
            output_format = _FORMATS[choice("STFT", "output_format", output_format, tuple(_FORMATS))]
        nn.needs_tensor(self.function, "x", x)
        if x.ndim == 3 and x.shape[1] == 1:
            x = x[:, 0]
        return super().forward(x if x.ndim > 1 else x[None], output_format)

    def inverse(  # type: ignore[override]
        self, X: Tensor, onesided: bool = True, length: int | None = None, refresh_win: bool | None = True
    ) -> Tensor:
        """Signal of a spectrum, as `iSTFT` makes it; it needs no iSTFT=True."""
        return self._real_signal(X, onesided, length, refresh_win)

    def _kernels(self) -> np.ndarray:
        """exp(2 pi i b n / n_fft) of the bins b, (n_bins, 1, n_fft)."""
        n_fft, bins = self.transform.n_fft, self.transform.bins
        return (fourier(n_fft)[: n_fft // 2 + 1] if bins is None else bins.basis(n_fft).conj())[:, None]

    def _as_nnaudio(self) -> dict[str, Tensor]:
        left = (self.n_fft - self.win_length) // 2
        window = torch.nn.functional.pad(self.window, (left, self.n_fft - self.win_length - left))
        kernels = torch.as_tensor(self._kernels()).to(window.device)
        sine, cosine = kernels.imag.to(window.dtype), kernels.real.to(window.dtype)
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
        if "window_mask" not in held:
            return held
        mask = held.pop("window_mask")
        held["window"] = unframed(mask, self.win_length)
        if self.trainable_kernels or not {"wsin", "wcos"} <= held.keys():
            return held
        kernels = self._kernels() * mask[0, :, 0].detach().cpu().double().numpy()
        if not (same(held.pop("wsin"), kernels.imag) and same(held.pop("wcos"), kernels.real)):
            need = "those of the bins for trainable=False"
            raise error(ValueError, "STFT", "wsin, wcos", need, "trained kernels", "load them with trainable=True")
        return held
