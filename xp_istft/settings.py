"""What holds for many calls: how many threads there are, and who makes the FFTs.

The argument of a call goes before all. Without it the innermost `with` decides, then what was set for the process, then
the environment variable, read once, by the first call of any kind, and then a default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from .arguments import choice, error, integer

_Value = TypeVar("_Value")


class _Setting(Generic[_Value]):
    """One choice. `None` is the value at the start: of the environment variable, or the default."""

    def __init__(
        self, variable: str, default: Callable[[], _Value], checked: Callable[[str, str, str], _Value]
    ) -> None:
        self._variable, self._default, self._checked = variable, default, checked
        self._within: ContextVar[tuple[_Value | None] | None] = ContextVar(variable, default=None)
        self._set: _Value | None = None

    def now(self) -> _Value:
        value = self.chosen()
        return self._default() if value is None else value

    def chosen(self) -> _Value | None:
        """The value, if it is not the default."""
        within = self._within.get()
        value = self._set if within is None else within[0]
        return self.started if value is None else value

    @cached_property
    def started(self) -> _Value | None:
        text = os.environ.get(self._variable)
        return self._checked("environment", self._variable, text) if text else None

    def set(self, value: _Value | None) -> None:
        self._set = value

    @contextmanager
    def within(self, value: _Value | None) -> Iterator[None]:
        before = self._within.set((value,))
        try:
            yield
        finally:
            self._within.reset(before)


def _positive(function: str, name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise error(ValueError, function, name, "an integer >= 1", repr(text))
    return int(text)


def cpus() -> int:
    """CPUs that this process may use: those that it may run on, or the time that its control groups leave it."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, quota() or count)


@lru_cache
def quota(root: Path = Path("/")) -> int | None:
    """CPUs whose time the control groups of this process leave it, rounded up; None where they set no bound.

    Of version 2 (cpu.max) and 1 (cpu.cfs_quota_us, cpu.cfs_period_us). A group has no more than those around it; what
    a container calls its group may lie at the root of what it sees.
    """
    counts = []
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            place = root / "sys/fs/cgroup"
            place = place / controllers if (place / controllers).is_dir() else place / "cpu"
            path = Path(group.lstrip("/"))
            counts += [_quota_of(place / each) for each in (path, *path.parents)]
    return min((count for count in counts if count is not None), default=None)


def _quota_of(group: Path) -> int | None:
    """CPUs of one control group; None where it has no bound of its own."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # not there; "max" is no number
            time, period = map(int, " ".join((group / name).read_text() for name in files).split())
            if time > 0 and period > 0:
                return -(-time // period)
    return None


_LEAST_BOUND = 32


def most_workers() -> int:
    """Threads or processes beyond which no more are started, whatever is asked for: they would only wait."""
    return max(_LEAST_BOUND, 4 * cpus())


def check_environment() -> None:
    """Errors of the environment variables, whether a call would ask for them or not."""
    for setting in (_WORKERS, _FFT_ENGINE, _GPU_ENGINE):
        setting.started  # noqa: B018


def _fft_engine(function: str, name: str, engine: str) -> str:
    from .backends.cpu.fft import AUTO, ENGINES, engine_named

    engine = choice(function, name, engine, (AUTO, *ENGINES))
    if engine != AUTO:
        try:
            engine_named(engine)
        except ImportError as cause:
            hint = f"pip install xp-istft[{engine}]"
            raise error(ImportError, function, name, f"what {engine!r} is made of", cause, hint) from cause
    return engine


def _gpu_engine(function: str, name: str, engine: str) -> str:
    return str(choice(function, name, engine, ("cufft", "fused")))


_WORKERS = _Setting("XP_ISTFT_NUM_THREADS", cpus, _positive)
_FFT_ENGINE = _Setting("XP_ISTFT_FFT_ENGINE", lambda: "auto", _fft_engine)
_GPU_ENGINE = _Setting("XP_ISTFT_GPU_ENGINE", lambda: "cufft", _gpu_engine)


def workers(workers: int | None) -> AbstractContextManager[None]:
    """Have each call within a `with` use up to so many threads on the CPU.

    It holds for this thread, or this task of asyncio, alone; what other threads compute later, such as Dask's, takes
    what `set_workers` chose. The argument `workers` of a call goes before it.

    Parameters
    ----------
    workers : int or None
        Threads, at least 1; None: as at the start of the process.

    Returns
    -------
    context manager
        To be entered once.

    Raises
    ------
    TypeError, ValueError
        If `workers` is no integer, or less than 1.

    Examples
    --------
    >>> import xp_istft as xi
    >>> with xi.workers(3), xi.fft_engine("numpy"):
    ...     xi.get_workers(), xi.get_fft_engine()
    (3, 'numpy')
    """
    return _WORKERS.within(_checked_workers("workers", workers))


def set_workers(workers: int | None) -> None:
    """Set how many threads each call may use on the CPU, from now on, in the whole process.

    Without it, the environment variable XP_ISTFT_NUM_THREADS decides, and without that, every CPU that this process
    may run on, or as many as the quota of its control group (a container's) comes to, if these are less (for tensors
    of torch, torch.get_num_threads()). The argument `workers` of a single call, and `with workers(n):`, go before all
    of these. Results have the same bits for any number; of more than four for each CPU (and 32), no more are started.

    Parameters
    ----------
    workers : int or None
        Threads, at least 1; None: as at the start.

    Raises
    ------
    TypeError, ValueError
        If `workers` is no integer, or less than 1.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.set_workers(1)
    >>> xi.set_workers(None)
    """
    _WORKERS.set(_checked_workers("set_workers", workers))


def get_workers() -> int:
    """Threads that a call may use here on the CPU, unless its argument `workers` says otherwise.

    Returns
    -------
    int
        Threads.

    Raises
    ------
    ValueError
        If XP_ISTFT_NUM_THREADS is asked, and is no integer that is at least 1.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.set_workers(3)
    >>> xi.get_workers()
    3
    >>> xi.set_workers(None)
    """
    return _WORKERS.now()


def chosen_workers() -> int | None:
    """Threads, if a `with`, `set_workers` or the environment says how many."""
    return _WORKERS.chosen()


def _checked_workers(function: str, workers: int | None) -> int | None:
    return None if workers is None else integer(function, "workers", workers, 1)


def fft_engine(engine: str | None) -> AbstractContextManager[None]:
    """Have an engine compute the FFTs of NumPy arrays within a `with`.

    Tensors of torch on a CPU have torch's own FFT, where that gives a frame the same bits whatever lies beside it.

    It holds for this thread, or this task of asyncio, alone; what other threads compute later, such as Dask's, takes
    what `set_fft_engine` chose.

    Parameters
    ----------
    engine : "auto", "numpy", "scipy", "ducc", "mkl" or None
        As `set_fft_engine` has it.

    Returns
    -------
    context manager
        To be entered once.

    Raises
    ------
    TypeError, ValueError
        If there is no such engine.
    ImportError
        If its library is not installed.

    Examples
    --------
    >>> import xp_istft as xi
    >>> with xi.fft_engine("numpy"):
    ...     xi.get_fft_engine()
    'numpy'
    """
    return _FFT_ENGINE.within(None if engine is None else _fft_engine("fft_engine", "engine", engine))


def set_fft_engine(engine: str | None) -> None:
    """Choose who computes the FFTs of NumPy arrays from now on, in the whole process.

    Without it the environment variable XP_ISTFT_FFT_ENGINE decides, and without that "auto".

    Parameters
    ----------
    engine : "auto", "numpy", "scipy", "ducc", "mkl" or None
        "auto" is the fastest for each size and dtype: ducc0's where it is installed (extra [ducc]), scipy.fft from
        SciPy 1.18 on, numpy.fft for the rest; frames of 8 to 32 samples are products of matrices. "mkl" needs the
        extra [mkl]. Transforms that an engine makes slower, or with other roundings for several frames than for one,
        stay with numpy.fft in any case. None: as at the start.

    Raises
    ------
    TypeError, ValueError
        If there is no such engine.
    ImportError
        If its library is not installed.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.set_fft_engine("auto")
    """
    _FFT_ENGINE.set(None if engine is None else _fft_engine("set_fft_engine", "engine", engine))


def get_fft_engine() -> str:
    """Who computes the FFTs of NumPy arrays here: "auto", "numpy", "scipy", "ducc" or "mkl".

    Returns
    -------
    str
        Name of the engine.

    Raises
    ------
    ValueError, ImportError
        If XP_ISTFT_FFT_ENGINE is asked, and names no engine, or one that is not installed.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.get_fft_engine()
    'auto'
    """
    return _FFT_ENGINE.now()


def gpu_engine(engine: str | None) -> AbstractContextManager[None]:
    """Have an engine make the transforms of CuPy arrays, and of torch's on a GPU, within a `with`.

    It holds for this thread, or this task of asyncio, alone: torch computes gradients of CUDA tensors on threads of
    its own, where `set_gpu_engine` decides.

    Parameters
    ----------
    engine : "cufft", "fused" or None
        As `set_gpu_engine` has it.

    Returns
    -------
    context manager
        To be entered once.

    Raises
    ------
    TypeError, ValueError
        If there is no such engine.

    Examples
    --------
    >>> import xp_istft as xi
    >>> with xi.gpu_engine("fused"):
    ...     xi.get_gpu_engine()
    'fused'
    """
    return _GPU_ENGINE.within(None if engine is None else _gpu_engine("gpu_engine", "engine", engine))


def set_gpu_engine(engine: str | None) -> None:
    """Choose who makes the transforms of CuPy arrays, and of torch's on a GPU, from now on, in the whole process.

    Without it the environment variable XP_ISTFT_GPU_ENGINE decides, and without that "cufft".

    Parameters
    ----------
    engine : "cufft", "fused" or None
        "cufft" is cuFFT between kernels of our own. "fused" is one kernel that does everything in one launch, for
        `stft` of float32 signals and `istft` of complex64 spectra, both one-sided, and n_fft a power of two from 64
        to 4096; cuFFT serves all others. None: as at the start.

    Raises
    ------
    TypeError, ValueError
        If there is no such engine.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.set_gpu_engine("cufft")
    """
    _GPU_ENGINE.set(None if engine is None else _gpu_engine("set_gpu_engine", "engine", engine))


def get_gpu_engine() -> str:
    """Who makes the transforms of CuPy arrays here: "cufft" or "fused".

    Returns
    -------
    str
        Name of the engine.

    Raises
    ------
    ValueError
        If XP_ISTFT_GPU_ENGINE is asked, and names no engine.

    Examples
    --------
    >>> import xp_istft as xi
    >>> xi.get_gpu_engine()
    'cufft'
    """
    return _GPU_ENGINE.now()
