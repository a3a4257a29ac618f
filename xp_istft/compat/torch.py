"""torch.stft and torch.istft, for tensors and for arrays of any other library.

The signatures and defaults are torch's. Beyond torch: any number of leading axes; half precision on any device; hops
longer than the window in `stft`; in `istft`, samples under no window weight are 0 with a warning, where torch raises.
strict=True raises RuntimeError where torch does; legacy=True is for code that was written for torch before 1.8.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import numpy as np

from .. import transforms
from ..arguments import boolean, error, integer, warn
from ..arrays import as_complex, in_double, pad, parted
from ..backends import backend_for
from ..dtypes import PRECISION, WIDENED, dtype_name
from ..frames import read_pad_mode, sizes
from ..transform import STFT, read_length
from ..windows import NOLAError, overlap, window_key
from ._inputs import is_complex, naming, needs_array

__all__ = ["istft", "stft"]

_FLOATING = (*PRECISION, *WIDENED)
_LEAST_OVERLAP = 1e-11  # of squared windows, below which torch refuses to divide

_ONES = "explicitly set `window=torch.ones(n_fft, device=<device>)`."
_NO_WINDOW = (
    "A window was not provided. A rectangular window will be applied,which is known to cause spectral leakage. Other "
    "windows such as torch.hann_window or torch.hamming_window are recommended to reduce spectral leakage.To suppress "
    f"this warning and use a rectangular window, {_ONES}"
)
_NO_WINDOW_OF_INVERSE = (
    "A window was not provided. A rectangular window will be applied.Please provide the same window used by stft to "
    f"make the inversion lossless.To suppress this warning and use a rectangular window, {_ONES}"
)
_BEYOND = (
    "The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail. Please "
    "check your center and hop_length settings."
)
_SAID: set[str] = set()  # of these texts


def _as_torch(kind: type[Exception], strict: Any = False, **_: Any) -> type[Exception] | None:
    """With strict=True every error is a RuntimeError."""
    return RuntimeError if isinstance(strict, (bool, np.bool_)) and strict else None


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
    legacy: bool = False,
) -> Any:
    """`torch.stft`: the spectrum (..., n_bins, n_frames) of `input` (..., n_samples).

    Parameters
    ----------
    input, n_fft, hop_length, win_length, center, pad_mode, normalized, onesided, align_to_window
        As in torch.
    window : tensor (win_length,), optional
        Also a name, or an array of NumPy; default ones. A tensor of float64 makes the result double.
    return_complex : bool
        False: pairs (..., n_bins, n_frames, 2), a view of torch's tensors. Needed for real input.
    strict : bool
        Raise RuntimeError where torch does: for more than one leading axis, for a reflection longer than the signal.
    legacy : bool
        Without return_complex make pairs, as torch did before 1.8.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torch import stft
    >>> stft(torch.zeros(2, 3, 4000), 512, window=torch.hann_window(512), return_complex=True).shape
    torch.Size([2, 3, 257, 32])
    """
    _check_flags("stft", center=center, normalized=normalized, strict=strict, legacy=legacy)
    optional = {"onesided": onesided, "return_complex": return_complex, "align_to_window": align_to_window}
    _check_flags("stft", **{name: value for name, value in optional.items() if value is not None})
    pad_mode = read_pad_mode("stft", pad_mode)
    n_fft, hop_length, win_length = _sizes("stft", n_fft, hop_length, win_length)
    if center and align_to_window is not None:
        raise error(ValueError, "stft", "align_to_window", "None with center=True", align_to_window)
    needs_array("stft", "input", input)
    complex_input = is_complex(input)
    if legacy and return_complex is None:
        return_complex = False
    if return_complex is None and not complex_input:
        hint = "legacy=True makes pairs, as torch did before 1.8"
        raise error(ValueError, "stft", "return_complex", "a bool for real input", None, hint)
    if strict:
        rank = len(input.shape)
        if rank > 2:
            raise error(ValueError, "stft", "input", "1 or 2 dimensions", rank)
        if center and pad_mode == "reflect" and rank and n_fft // 2 >= input.shape[-1]:
            raise error(ValueError, "stft", "input", f"more than {n_fft // 2} samples to reflect", input.shape[-1])
    margin = n_fft - win_length if align_to_window else 0
    X = transforms.stft(
        _promoted(input, window),
        n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window="boxcar" if window is None else window,
        center=center,
        padding=(margin // 2, margin - margin // 2) if align_to_window else None,
        pad_mode=pad_mode if center else "constant",
        scaling="ortho" if normalized else None,
        onesided=not complex_input if onesided is None else onesided,
    )
    if window is None:
        _advise(_NO_WINDOW)
    return X if return_complex is None or return_complex else parted(X)


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
    legacy: bool = False,
) -> Any:
    """`torch.istft`: the signal (..., n_samples) of a spectrum `input` (..., n_bins, n_frames).

    Parameters
    ----------
    input, n_fft, hop_length, win_length, center, normalized, onesided, length, return_complex
        As in torch.
    window : tensor (win_length,), optional
        Also a name, or an array of NumPy; default ones. A tensor of float64 makes the result double.
    strict : bool
        Raise RuntimeError where torch does: for samples that squared windows overlap by 1e-11 or less (not in compiled
        graphs, nor where the window is transformed by torch.func, and has no values), for a hop longer than the window,
        for more than one leading axis.
    legacy : bool
        Take pairs (..., n_bins, n_frames, 2), too, as torch did before 1.8.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.compat.torch import istft, stft
    >>> x, w = torch.randn(2, 4000), torch.hann_window(512)
    >>> X = stft(x, 512, window=w, return_complex=True)
    >>> bool((istft(X, 512, window=w, length=4000) - x).abs().max() < 1e-5)
    True
    """
    flags = {"center": center, "normalized": normalized, "return_complex": return_complex}
    _check_flags("istft", **flags, strict=strict, legacy=legacy)
    if onesided is not None:
        boolean("istft", "onesided", onesided)
    n_fft, hop_length, win_length = _sizes("istft", n_fft, hop_length, win_length)
    length = read_length("istft", length)
    needs_array("istft", "input", input, "bins", "frames")
    if legacy and not is_complex(input):
        input = as_complex(input)
    given, window = window, "boxcar" if window is None else window
    if strict:
        rank = len(input.shape)
        if not is_complex(input):
            raise error(TypeError, "istft", "input", "dtype complex64 or complex128", input.dtype)
        if rank > 3:
            raise error(ValueError, "istft", "input", "2 or 3 dimensions", rank)
        if hop_length > win_length:
            raise error(ValueError, "istft", "hop_length", f"<= win_length={win_length}", hop_length)
        if not _compiling():
            sizes = n_fft, hop_length, win_length
            least = least_overlap(window, sizes, center, input.shape[-1], length)
            if least is not None and not least > _LEAST_OVERLAP:
                raise error(NOLAError, "istft", "window", f"overlap > {_LEAST_OVERLAP} at every sample", least)
    if onesided is None:
        onesided = True
        if input.shape[-2] == n_fft:
            onesided = False
    if onesided and return_complex:
        raise error(ValueError, "istft", "return_complex", "False for a one-sided spectrum", True)
    if not onesided and not return_complex and input.shape[-2] == n_fft:
        input, onesided = input[..., : n_fft // 2 + 1, :], True  # torch reads the lower half alone
    beyond = 0
    if not _compiling() and type(n_fft) is type(hop_length) is type(length) is int:
        reach = n_fft + hop_length * (input.shape[-1] - 1) - (n_fft // 2 if center else 0)
        beyond = length - reach if reach < length <= 2 * reach + n_fft else 0
    signal = transforms.istft(
        _promoted(input, window),
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        center=center,
        length=length - beyond if beyond else length,  # type: ignore[operator]
        scaling="ortho" if normalized else None,
        onesided=onesided,
    )
    if given is None:
        _advise(_NO_WINDOW_OF_INVERSE)
    if beyond:
        _advise(_BEYOND)
        signal = pad(signal, 0, beyond)
    return signal


def _advise(text: str) -> None:
    """A warning of torch's: as there once in a process, unless torch is set to give it always."""
    torch = sys.modules.get("torch")
    if _compiling() or (text in _SAID and not (torch is not None and torch.is_warn_always_enabled())):
        return
    _SAID.add(text)
    warn(text, UserWarning)


def _check_flags(function: str, **flags: Any) -> None:
    for name, value in flags.items():
        boolean(function, name, value)


def _sizes(function: str, n_fft: Any, hop_length: Any, win_length: Any) -> tuple[int, int, int]:
    """n_fft, hop_length and win_length with torch's defaults."""
    n_fft = integer(function, "n_fft", n_fft, 2)
    hop_length = n_fft // 4 if hop_length is None else hop_length
    return sizes(function, n_fft, hop_length, win_length)


def _promoted(array: Any, window: Any) -> Any:
    """`array` in double precision, where a window of its library is; NumPy's windows are always in that."""
    if isinstance(array, np.ndarray):
        return array
    of_its_library = isinstance(window, type(array)) or isinstance(array, type(window))  # a Parameter is a tensor
    wide = of_its_library and str(getattr(window, "dtype", "")).endswith("float64")
    return in_double(array) if wide and dtype_name(array) in _FLOATING else array


def _compiling() -> bool:
    """Whether a compiler follows, for which windows have no values."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def least_overlap(window: Any, sizes: tuple[int, int, int], center: bool, n_frames: int, length: Any) -> float | None:
    """The least overlap of squared windows of the samples that torch checks: those asked for that frames reach.

    sizes : n_fft, hop_length, win_length
    None where torch.func holds the values of the window back.
    """
    values = _values("boxcar" if window is None else window)
    if values is None:
        return None
    return _least_overlap(window_key("istft", "window", values, sizes[2]), sizes, center, n_frames, length)


def _values(window: Any) -> Any:
    """A window that is no array as it is, others on the host; None where torch.func holds the values back."""
    backend = backend_for(window)
    try:
        return window if backend is None else backend.to_host(window)
    except RuntimeError:
        return None


@lru_cache(maxsize=128)
def _least_overlap(window: Any, sizes: tuple[int, int, int], center: bool, n_frames: int, length: int | None) -> float:
    """`least_overlap` by values, with a window's key."""
    n_fft, hop_length, win_length = sizes
    if isinstance(window, bytes):
        window = np.frombuffer(window)
    transform = STFT.made_by(
        "istft", n_fft=n_fft, hop_length=hop_length, win_length=win_length, center=center, window=window
    )
    frames = transform.placement.frames(n_frames, 1)
    lo = transform.placement.left
    hi = frames.span - lo if length is None else min(frames.span, lo + length)
    values = overlap(transform.samples() ** 2, frames)
    end = (frames.overlap + 2) * frames.hop  # an end and two periods of what lies between the ends
    return min(
        float(values.samples(a, b).min(initial=float("inf")))
        for a, b in ((lo, min(hi, lo + end)), (max(lo, hi - end), hi))
    )
