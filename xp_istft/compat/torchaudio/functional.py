"""torchaudio.functional's spectrogram, inverse_spectrogram and griffinlim, for tensors (..., n_samples)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...arguments import choice, error, integer, positive, warn
from ...arrays import pad as padded
from ...backends.torch.graphs import one_step
from ...phase.algorithms import FastGLA
from ...phase.retrieval import NO_BOUND, retrieved_from
from ...transform import STFT, read_length
from .. import torch as door
from .._inputs import naming

__all__ = ["griffinlim", "inverse_spectrogram", "spectrogram"]


@naming(x="waveform", input="waveform")
def spectrogram(
    waveform: Tensor,
    pad: int,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float | None,
    normalized: bool | str,
    center: bool = True,
    pad_mode: str = "reflect",
    onesided: bool = True,
    return_complex: bool | None = None,
) -> Tensor:
    """`torchaudio.functional.spectrogram`: magnitudes to a power, or for power=None the spectrum.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torchaudio.functional import spectrogram
    >>> spectrogram(torch.zeros(2, 3, 4000), 0, torch.hann_window(400), 400, 200, 400, 2.0, False).shape
    torch.Size([2, 3, 201, 21])
    """
    if return_complex is not None:
        warn_of_return_complex("functional.spectrogram")
    if integer("spectrogram", "pad", pad, 0):
        waveform = padded(waveform, pad, pad)
    window, ortho = _normalized("spectrogram", window, normalized)
    layout = (n_fft, hop_length, win_length)
    X = door.stft(waveform, *layout, window, center, pad_mode, ortho, onesided, return_complex=True)
    if power is None:
        return X
    if power == 2:
        return X.real.square() + X.imag.square()
    magnitude = X.abs()
    return magnitude if power == 1 else magnitude.pow(positive("spectrogram", "power", power))


@naming(X="spectrogram", input="spectrogram")
def inverse_spectrogram(
    spectrogram: Tensor,
    length: int | None,
    pad: int,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    normalized: bool | str,
    center: bool = True,
    pad_mode: str = "reflect",
    onesided: bool = True,
) -> Tensor:
    """`torchaudio.functional.inverse_spectrogram`: the signal of a complex spectrum.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torchaudio.functional import inverse_spectrogram
    >>> X = torch.zeros(2, 201, 21, dtype=torch.complex64)
    >>> inverse_spectrogram(X, 4000, 0, torch.hann_window(400), 400, 200, 400, False).shape
    torch.Size([2, 4000])
    """
    if not spectrogram.is_complex():
        raise ValueError("Expected `spectrogram` to be complex dtype.")
    length = read_length("inverse_spectrogram", length)
    pad = integer("inverse_spectrogram", "pad", pad, 0) if length is not None else 0
    window, ortho = _normalized("inverse_spectrogram", window, normalized)
    layout = (n_fft, hop_length, win_length)
    reach = None if length is None else length + 2 * pad
    waveform = door.istft(spectrogram, *layout, window, center, ortho, onesided, reach)
    return waveform[..., pad:-pad] if pad else waveform


@naming(S="specgram")
def griffinlim(
    specgram: Tensor,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    n_iter: int,
    momentum: float,
    length: int | None,
    rand_init: bool,
) -> Tensor:
    """`torchaudio.functional.griffinlim`: fast Griffin-Lim; `xp_istft.griffin_lim` has others that converge further.

    The random start is torchaudio's, for the same seed: complex numbers whose parts are uniform from 0 to 1.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torchaudio.functional import griffinlim
    >>> griffinlim(torch.rand(2, 201, 20), torch.hann_window(400), 400, 200, 400, 1.0, 2, 0.99, None, True).shape
    torch.Size([2, 3800])
    """
    function = "griffinlim"
    check_momentum(momentum)
    if not (isinstance(specgram, Tensor) and specgram.is_floating_point()):
        got = getattr(specgram, "dtype", type(specgram).__name__)
        raise error(TypeError, function, "specgram", "a real floating torch tensor", got)
    magnitude = specgram if specgram.dtype == torch.float64 else specgram.float()
    magnitude = magnitude.pow(1 / positive(function, "power", power))
    start = torch.complex(magnitude, torch.zeros_like(magnitude))
    if rand_init:
        start = magnitude * torch.rand(start.shape, dtype=start.dtype, device=start.device)
    layout = (n_fft, hop_length, win_length)
    return _retrieved(start, magnitude, window, layout, length, n_iter, momentum).to(specgram.dtype)


def _retrieved(
    start: Tensor, magnitude: Tensor, window: Tensor, layout: tuple[int, ...], length: Any, n_iter: int, momentum: float
) -> Tensor:
    n_fft, hop_length, win_length = layout
    transform = STFT.made_by(
        "griffinlim", n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=window, pad_mode="reflect",
        max_gain=NO_BOUND,
    )  # fmt: skip
    return retrieved_from(start, magnitude, transform, length, FastGLA(momentum).stages(n_iter))


one_step(_retrieved)


def check_momentum(momentum: float) -> None:
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in range [0, 1). Found: {momentum}")


def warn_of_return_complex(name: str) -> None:
    text = (
        "`return_complex` argument is now deprecated and is not effective."
        f"`torchaudio.{name}(power=None)` always returns a tensor with "
        "complex dtype. Please remove the argument in the function call."
    )
    warn(text, UserWarning)


def _normalized(function: str, window: Tensor, normalized: bool | str) -> tuple[Tensor, bool]:
    """The window, scaled where that is what normalises, for both directions; and whether the FFT's size does."""
    if not isinstance(window, Tensor):
        raise error(TypeError, function, "window", "a torch tensor", type(window).__name__)
    normalized = choice(function, "normalized", normalized, (True, False, "window", "frame_length"))
    if normalized in (True, "window"):
        window = window / window.square().sum().sqrt()
    return window, normalized == "frame_length"
