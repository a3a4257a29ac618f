"""torch.stft and torch.istft, for tensors and for arrays of any other library.

The signatures and defaults are torch's. Beyond torch: any number of leading axes; float16 on any device; hops longer
than the window in `stft`; in `istft`, samples under no window weight are 0 with a warning, where torch raises.
strict=True raises RuntimeError where torch does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import transforms
from ..arguments import error
from ..backends import backend_for, namespace
from ..transform import STFT
from ..windows import NOLAError
from ._inputs import is_complex, naming, needs_array

__all__ = ["istft", "stft"]

_LEAST_OVERLAP = 1e-11  # of squared windows, below which torch refuses to divide


def _as_torch(kind: type[Exception], strict: bool = False, **_: Any) -> type[Exception] | None:
    """With strict=True every error is a RuntimeError."""
    return RuntimeError if strict else None


@naming(_as_torch, x="input")
def stft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
    *,
    strict: bool = False,
) -> Any:
    """`torch.stft`: the spectrum (..., n_bins, n_frames) of `input` (..., n_samples).

    Parameters
    ----------
    input, n_fft, hop_length, win_length, center, pad_mode, normalized, onesided, align_to_window
        As in torch.
    window : tensor (win_length,), optional
        Also a name, or an array of NumPy; default ones.
    return_complex : bool, optional
        False: pairs (..., n_bins, n_frames, 2). Default True.
    strict : bool
        Raise RuntimeError where torch does: without return_complex for real input, for more than one leading axis,
        for a reflection longer than the signal.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torch import stft
    >>> stft(torch.zeros(2, 3, 4000), 512, window=torch.hann_window(512), return_complex=True).shape
    torch.Size([2, 3, 257, 32])
    """
    if center and align_to_window is not None:
        raise error(ValueError, "stft", "align_to_window", "None with center=True", align_to_window)
    needs_array("stft", "input", input)
    complex_input = is_complex(input)
    if strict:
        rank = len(input.shape)
        if rank > 2:
            raise error(ValueError, "stft", "input", "1 or 2 dimensions", rank)
        if return_complex is None and not complex_input:
            raise error(ValueError, "stft", "return_complex", "a bool for real input", None)
        if center and pad_mode == "reflect" and n_fft // 2 >= input.shape[-1]:
            raise error(ValueError, "stft", "input", f"more than {n_fft // 2} samples to reflect", input.shape[-1])
    win_length = n_fft if win_length is None else win_length
    margin = n_fft - win_length if align_to_window else 0
    X = transforms.stft(
        input,
        n_fft,
        hop_length=n_fft // 4 if hop_length is None else hop_length,
        win_length=win_length,
        window="boxcar" if window is None else window,
        center=center,
        padding=(margin // 2, margin - margin // 2) if align_to_window else None,
        pad_mode=pad_mode if center else "constant",
        scaling="ortho" if normalized else None,
        onesided=not complex_input if onesided is None else onesided,
    )
    if return_complex is not False:
        return X
    xp = namespace(X)
    return xp.stack([xp.real(X), xp.imag(X)], axis=-1)


@naming(_as_torch, X="input")
def istft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
    *,
    strict: bool = False,
) -> Any:
    """`torch.istft`: the signal (..., n_samples) of a spectrum `input` (..., n_bins, n_frames).

    Parameters
    ----------
    input, n_fft, hop_length, win_length, center, normalized, onesided, length, return_complex
        As in torch.
    window : tensor (win_length,), optional
        Also a name, or an array of NumPy; default ones.
    strict : bool
        Raise RuntimeError where torch does: for samples that squared windows overlap by 1e-11 or less (not where the
        window is transformed by torch.func, and has no values), for a hop longer than the window, for more than one
        leading axis.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torch import istft, stft
    >>> x, w = torch.randn(2, 4000), torch.hann_window(512)
    >>> X = stft(x, 512, window=w, return_complex=True)
    >>> bool((istft(X, 512, window=w, length=4000) - x).abs().max() < 1e-5)
    True
    """
    needs_array("istft", "input", input, "bins", "frames")
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    window = "boxcar" if window is None else window
    if strict:
        rank = len(input.shape)
        if rank > 3:
            raise error(ValueError, "istft", "input", "2 or 3 dimensions", rank)
        if hop_length > win_length:
            raise error(ValueError, "istft", "hop_length", f"<= win_length={win_length}", hop_length)
        values = _values(window)
        if values is not None:
            transform = STFT.made_by(
                "istft", n_fft=n_fft, hop_length=hop_length, win_length=win_length, center=center, window=values
            )
            _check_overlap(transform, input.shape[-1], length)
    if onesided is None:
        onesided = True
        if input.shape[-2] == n_fft:
            onesided = False
    if onesided and return_complex:
        raise error(ValueError, "istft", "return_complex", "False for a one-sided spectrum", True)
    if not onesided and not return_complex and input.shape[-2] == n_fft:
        input, onesided = input[..., : n_fft // 2 + 1, :], True  # torch reads the lower half alone
    return transforms.istft(
        input,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        center=center,
        length=length,
        scaling="ortho" if normalized else None,
        onesided=onesided,
    )


def _values(window: Any) -> Any:
    """A window that is no array as it is, others on the host; None where torch.func holds the values back."""
    backend = backend_for(window)
    try:
        return window if backend is None else backend.to_host(window)
    except RuntimeError:
        return None


def _check_overlap(transform: STFT, n_frames: int, length: int | None) -> None:
    """NOLAError where torch's own check of the squared windows fails."""
    before = transform.placement.left
    padding = (before, before if length is None else 0)
    ones = np.ones((transform.n_fft, n_frames))
    overlap = transforms.overlap_add(ones, transform.hop_length, window=transform.samples() ** 2, padding=padding)
    least = overlap[:length].min()
    if not least > _LEAST_OVERLAP:
        raise error(NOLAError, "istft", "window", f"overlap > {_LEAST_OVERLAP} at every sample", least)
