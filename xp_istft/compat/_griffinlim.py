"""librosa's griffinlim."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import error, integer, number, warn
from ..phase.algorithms import FastGLA
from ..phase.retrieval import griffin_lim
from ..transform import STFT
from ._inputs import beside, cast, given_window, naming, needs_array, result_dtype


@naming()
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
    function = "griffinlim"
    dtype = result_dtype(function, dtype, "float16", "float32", "float64")
    if number(function, "momentum", momentum, 0) > 1:
        warn(f"Griffin-Lim with momentum={momentum} > 1 can be unstable. Proceed with caution!", UserWarning)
    if init not in ("random", None):
        raise error(ValueError, function, "init", "'random' or None", repr(init))
    needs_array(function, "S", S, "bins", "frames")
    transform = STFT.made_by(
        function, n_fft=2 * (S.shape[-2] - 1) if n_fft is None else n_fft, hop_length=hop_length,
        win_length=win_length, window=given_window(window), center=center, pad_mode=pad_mode,
    )  # fmt: skip
    start: Any = "zero"
    if init == "random":
        start = beside(S, 2 * np.pi * _generator(rng, random_state).random(size=tuple(S.shape)))
    return cast(griffin_lim(S, transform, length=length, n_iter=n_iter, algorithm=FastGLA(momentum), init=start), dtype)


def _generator(rng: Any, random_state: Any) -> Any:
    if random_state is None:
        return np.random.default_rng(rng)
    if isinstance(random_state, np.random.Generator | np.random.RandomState):
        return random_state
    return np.random.RandomState(integer("griffinlim", "random_state", random_state, 0))
