"""nnAudio's inverse layer for arrays of any library, without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import arrays
from ..arguments import boolean, error, hinted
from ..arrays import LAST_TWO
from ..backends import backend_for, namespace
from ..dtypes import REAL, dtype_name
from ..frequencies.grids import scale_frequencies
from ..transform import STFT, inverse_step


class iSTFT:  # noqa: N801  nnAudio's name
    """The inverse layer of nnAudio on arrays of any library, without torch.

    Parameters are nnAudio's, in its order and with its defaults. Training needs torch modules and raises here.

    Parameters
    ----------
    n_fft, win_length, hop_length, window, center
        As in `istft`.
    freq_bins : int, optional
        Number of bins, by default n_fft // 2 + 1; for freq_scale="no" the first of those of the DFT, or n_fft of a
        two-sided spectrum.
    freq_scale : "no", "linear", "log" or "log2"
        Spacing of the bins: those of the DFT, or those of `linear_frequencies` or `log_frequencies`, whose inverse
        is that of `istft` with frequencies=.
    fmin, fmax, sr : float
        Frequency of the first bin, that after the last, and the sampling rate, in Hz; without effect for
        freq_scale="no", as in nnAudio.
    trainable_kernels, trainable_window : bool
        Must be False.
    verbose : bool
        Print one line about the layer.
    refresh_win : bool
        Accepted for nnAudio's sake: the normalisation always belongs to the spectrum at hand.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> x = np.random.default_rng(0).standard_normal((3, 4096))
    >>> X = xi.stft(x, n_fft=512)
    >>> y = xi.iSTFT(n_fft=512, verbose=False)(X, onesided=True, length=4096)
    >>> bool(np.allclose(x, y))
    True
    """

    @hinted
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
        made = STFT.made_by(
            "iSTFT", n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=window, center=center,
            pad_mode=None,
        )  # fmt: skip
        bins = scale_frequencies("iSTFT", made.n_fft, freq_bins, freq_scale, fmin, fmax, sr)
        for name, value in (("trainable_kernels", trainable_kernels), ("trainable_window", trainable_window)):
            if boolean("iSTFT", name, value):
                raise error(ValueError, "iSTFT", name, "False", True, "xp_istft.compat.nnaudio.iSTFT trains")
        boolean("iSTFT", "refresh_win", refresh_win)
        self._transform = replace(made, frequencies=bins)
        if boolean("iSTFT", "verbose", verbose):
            print(f"iSTFT: {self._transform}")

    def forward(
        self, X: Any, onesided: bool = False, length: int | None = None, refresh_win: bool | None = None
    ) -> Any:
        """The real signal of X: complex (..., n_bins, n_frames), or real (..., n_bins, n_frames, 2) pairs.

        Of a two-sided spectrum that is not Hermitian it is the real part, as nnAudio's: `istft` with onesided=False
        makes the complex signal.

        onesided : may be left out; the number of bins tells
        length   : samples of the result
        """
        for name, value in (("onesided", onesided), ("refresh_win", refresh_win)):
            if value is not None:
                boolean("iSTFT", name, value)
        if backend_for(X) is not None and dtype_name(X) in REAL and X.shape[-1:] == (2,):
            X = arrays.as_complex(X)
        two_sided = backend_for(X) is not None and X.shape[-2:-1] == (self._transform.n_fft,)
        if onesided or self._transform.bins is not None or not two_sided:
            return inverse_step(X, self._transform, length, LAST_TWO, None, None, "iSTFT")
        y = inverse_step(X, replace(self._transform, onesided=False), length, LAST_TWO, None, None, "iSTFT")
        return namespace(y).real(y)

    __call__ = forward
