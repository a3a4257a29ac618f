"""librosa's griffinlim."""

from __future__ import annotations

import warnings
from typing import Any

import array_api_compat
import numpy as np

from .. import arrays
from ..arguments import error, integer, number
from ..phase_retrieval import griffin_lim
from ._inputs import cast, given_window, result_dtype


def griffinlim(
    S: Any,
    *,
    n_iter: int = 32,
    hop_length: int | None = None,
    win_length: int | None = None,
    n_fft: int | None = None,
    window: Any = "hann",
    center: bool = True,
    dtype: Any = None,
    length: int | None = None,
    pad_mode: str = "constant",
    momentum: float = 0.99,
    init: str | None = "random",
    rng: Any = None,
    random_state: Any = None,
) -> Any:
    """`librosa.griffinlim`: the fast Griffin-Lim algorithm; `xp_istft.griffin_lim` has others that converge further.

    Parameters
    ----------
    S, n_iter, hop_length, win_length, n_fft, window, center, dtype, length, pad_mode, momentum, init
        As in librosa.
    rng, random_state : int, numpy.random.Generator or (random_state) RandomState, optional
        Of the random phases: the same as librosa's.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.librosa import griffinlim, stft
    >>> S = abs(stft(np.sin(np.arange(22050) / 5)))
    >>> griffinlim(S, n_iter=4, rng=0, length=22050).shape
    (22050,)
    """
    dtype = result_dtype("griffinlim", dtype, "float16", "float32", "float64")
    if number("griffinlim", "momentum", momentum, 0) > 1:
        text = f"Griffin-Lim with momentum={momentum} > 1 can be unstable. Proceed with caution!"
        warnings.warn(text, UserWarning, stacklevel=2)
    if init not in ("random", None):
        raise error(ValueError, "griffinlim", "init", "'random' or None", repr(init))
    _, S = arrays.read("griffinlim", "S", S)
    start: Any = "zero"
    if init == "random":
        xp = array_api_compat.array_namespace(S)
        phases = 2 * np.pi * _generator(rng, random_state).random(size=tuple(S.shape))
        start = xp.astype(xp.asarray(phases, device=array_api_compat.device(S)), S.dtype)
    y = griffin_lim(
        S, hop_length=hop_length, win_length=win_length, n_fft=n_fft, window=given_window(window), center=center,
        pad_mode=pad_mode, length=length, n_iter=n_iter, algorithm="fgla", momentum=momentum, init=start,
    )  # fmt: skip
    return cast(y, dtype)


def _generator(rng: Any, random_state: Any) -> Any:
    if random_state is None:
        return np.random.default_rng(rng)
    if isinstance(random_state, np.random.Generator | np.random.RandomState):
        return random_state
    return np.random.RandomState(integer("griffinlim", "random_state", random_state, 0))
