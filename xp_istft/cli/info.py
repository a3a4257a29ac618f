"""What is installed here: versions, array libraries and their devices, FFT engines, threads."""

from __future__ import annotations

import os
import platform

import rich.box
import rich.console
import rich.table
import soundfile

import xp_istft

from ..settings import cpus
from .libraries import LIBRARIES, version_of


def show() -> int:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_row("xp_istft", xp_istft.__version__)
    table.add_row("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in ("array-api-compat", "scipy"):
        table.add_row(name, version_of(name))
    table.add_section()
    for library in LIBRARIES:
        table.add_row(f"array library {library.name}", f"{library.version()}  {library.state()}".strip())
    table.add_section()
    for name in ("librosa", "soundfile", "h5py"):
        table.add_row(name, version_of(name))
    table.add_row("libsndfile", soundfile.__libsndfile_version__)
    table.add_section()
    table.add_row("FFT engine numpy.fft", f"pocketfft {version_of('numpy')}")
    table.add_row("FFT engine scipy.fft", version_of("scipy"))
    table.add_row("FFT engine ducc0", version_of("ducc0"))
    table.add_row("FFT engine mkl_fft", version_of("mkl_fft"))
    table.add_row("FFT engine in use", xp_istft.get_fft_engine())
    table.add_section()
    table.add_row("CPUs", f"{os.cpu_count()}, for this process {cpus()}")
    table.add_row("threads in use", str(xp_istft.get_workers()))
    table.add_row("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "not set"))
    rich.console.Console().print(table)
    return 0
