"""Who makes the inverse of CuPy's arrays. A module of its own, so that it can be asked without CuPy."""

from __future__ import annotations

from ..arguments import choice

_ENGINES = ("cufft", "fused")
_current = "cufft"


def set_gpu_engine(engine: str) -> None:
    """Choose who makes the inverse of CuPy arrays, and of torch's on a GPU, from now on.

    Parameters
    ----------
    engine : "cufft" or "fused"
        "cufft", the default, is cuFFT between kernels of our own. "fused" is one kernel that does everything in one
        launch, for one-sided complex64 spectra and n_fft a power of two from 64 to 4096; cuFFT serves all others.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.set_gpu_engine("cufft")
    """
    global _current
    _current = choice("set_gpu_engine", "engine", engine, _ENGINES)


def get_gpu_engine() -> str:
    """Who makes the inverse of CuPy arrays: "cufft" or "fused", as `set_gpu_engine` chose.

    Returns
    -------
    str
        Name of the engine.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.get_gpu_engine()
    'cufft'
    """
    return _current
