"""Code that calls a peer's transforms, made faster in one line: ours take their place where they are equal and faster.

    import xp_istft
    xp_istft.patch()                    # every peer; or patch("torch", "librosa")

    with xp_istft.patched("torch"):     # for a while
        ...

    python -m xp_istft.patch script.py arguments

The module is a function, too. Each call is looked at: where a compiler follows it, where an argument would change a
number, where the peer was measured faster at this size, the peer's own function is called, and its result or error is
the caller's. A short `torch.stft` of 36 us that was handed over took 2 to 3 us more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

from ..arguments import hinted
from . import peers, replacements
from .replacements import Report


@hinted
def patch(*names: str, scan: bool = True, speeds: str | Path | None = None) -> None:
    """Have the peers' own transforms make way for ours, wherever ours are equal and faster.

    torch: `torch.stft`, `torch.istft`, so `torch.functional`'s and `Tensor.stft`. librosa: `stft`, `istft`, and
    what librosa builds on them. scipy: `scipy.signal.stft`, `istft`, and the methods of `ShortTimeFFT`.
    torchaudio: what it builds on torch's. A peer that is not imported yet is patched as soon as it is.

    Equal to rounding: what would differ beyond that is handed over, as is every call that fails here. Tensors are
    taken on a CPU only. Patching twice is patching once; `unpatch` undoes it.

    Parameters
    ----------
    *names : {"torch", "librosa", "scipy", "torchaudio"}
        Default all that are installed.
    scan : bool
        Replace names that loaded modules have imported from a peer, too (`from librosa import stft`). A peer's own
        modules are always looked through. Names in classes, closures and default values are not reached.
    speeds : path, optional
        A file that `measure` wrote on this machine, of the sizes from which on ours are faster.

    Raises
    ------
    TypeError
        If a name is no str, or scan no bool.
    ValueError
        If there is no such peer, a peer that is named is not installed, or the file is none of `measure`'s.

    Examples
    --------
    >>> import numpy as np, scipy.signal, xp_istft
    >>> xp_istft.patch("scipy")
    >>> f, t, X = scipy.signal.stft(np.random.default_rng(0).standard_normal(100_000), nperseg=512)
    >>> xp_istft.unpatch("scipy")
    """
    peers.hold(names, scan, speeds, for_good=True)


def report() -> Report:
    """Calls since the program began, per function: taken, and handed over to the original, by reason.

    Returns
    -------
    Report
        A dict {function: {"taken": count, reason: count, ...}}, which prints as a line for each function.

    Examples
    --------
    >>> import numpy as np, scipy.signal, xp_istft
    >>> with xp_istft.patched("scipy"):
    ...     f, t, X = scipy.signal.stft(np.ones(3000), return_onesided=False)
    >>> [why for why in xp_istft.patch.report()["scipy.signal.stft"] if "real" in why]
    ['not a plain array of real numbers, to one-sided spectra']
    """
    return replacements.report()


@hinted
def measure(*names: str, file: str | Path, minutes: float = 1.0) -> None:
    """Time ours and the peers' side by side on this machine, and write from which sizes on ours are faster.

    Nothing is ever timed within a call. The table that comes with the package is of one machine;
    `patch(speeds=file)` takes this one.

    Parameters
    ----------
    *names : {"torch", "librosa", "scipy"}
        Default all that are installed. Other peers keep the table that holds now.
    file : path
        JSON, made anew.
    minutes : float
        About how long it takes; no less than the fewest rounds need: for 0.7 it took 1.6.

    Raises
    ------
    TypeError, ValueError
        As `patch` does; if minutes is no finite number > 0.
    """
    from .measuring import measure

    measure(peers.named("measure", names), file, minutes)


@hinted
def unpatch(*names: str) -> None:
    """Undo `patch`: every place has the peer's own function again.

    A place that holds something else by now (another library's wrapper around ours, say) is left as it is, and what it
    holds calls the peer's function from now on. Within `with patched(...)` the peers of that context stay patched.

    Parameters
    ----------
    *names : {"torch", "librosa", "scipy", "torchaudio"}
        Default all. Peers that are not patched are passed over.

    Raises
    ------
    TypeError, ValueError
        If there is no such peer.

    Examples
    --------
    >>> import scipy.signal, xp_istft
    >>> own = scipy.signal.stft
    >>> xp_istft.patch("scipy"); xp_istft.unpatch("scipy")
    >>> scipy.signal.stft is own
    True
    """
    peers.release(peers.named("unpatch", names) if names else peers.PEERS, for_good=True)


@hinted
def patched(*names: str, scan: bool = True, speeds: str | Path | None = None) -> AbstractContextManager[None]:
    """`patch` within a `with`, in every thread; contexts can be nested, and what was patched before stays so.

    Parameters
    ----------
    *names, scan, speeds
        As in `patch`.

    Returns
    -------
    context manager
        Of nothing.

    Raises
    ------
    TypeError, ValueError
        As `patch` does.

    Examples
    --------
    >>> import numpy as np, scipy.signal, xp_istft
    >>> with xp_istft.patched("scipy"):
    ...     f, t, X = scipy.signal.stft(np.ones(100_000))
    """
    return _held(names, scan, speeds)


@contextmanager
def _held(names: tuple[str, ...], scan: bool, speeds: str | Path | None) -> Iterator[None]:
    held = peers.hold(names, scan, speeds, for_good=False)
    try:
        yield
    finally:
        peers.release(held, for_good=False)


class Patch(ModuleType):
    """The module `xp_istft.patch`, which is a function, too."""

    __call__ = staticmethod(patch)
    report = staticmethod(report)
    measure = staticmethod(measure)


sys.modules[__name__].__class__ = Patch
