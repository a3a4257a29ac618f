"""What is installed here: versions, array libraries and their devices, FFT engines, threads."""

from __future__ import annotations

import os
import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import rich.box
import rich.console
import rich.table

import xp_istft

from .libraries import LIBRARIES


def show() -> int:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_row("xp_istft", xp_istft.__version__)
    table.add_row("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in ("array-api-compat", "scipy"):
        table.add_row(name, _version(name))
    table.add_section()
    for library in LIBRARIES:
        table.add_row(f"array library {library.name}", f"{library.version()}  {library.state()}".strip())
    table.add_section()
    for name in ("librosa", "soundfile"):
        table.add_row(name, _version(name))
    table.add_row("libsndfile", _attribute("soundfile", "__libsndfile_version__"))
    table.add_section()
    table.add_row("FFT engine numpy.fft", f"pocketfft {_version('numpy')}")
    table.add_row("FFT engine scipy.fft", f"{_version('scipy')}")
    table.add_row("FFT engine mkl_fft", _version("mkl_fft"))
    table.add_row("FFT engine in use", xp_istft.get_fft_engine())
    table.add_section()
    table.add_row("CPUs", f"{os.cpu_count()}, for this process {_affinity()}")
    table.add_row("threads in use", str(xp_istft.get_workers()))
    table.add_row("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "not set"))
    rich.console.Console().print(table)
    return 0


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _attribute(module: str, name: str) -> str:
    if find_spec(module) is None:
        return "not installed"
    return str(getattr(import_module(module), name, "?"))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
