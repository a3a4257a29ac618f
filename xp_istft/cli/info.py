"""What is installed here: versions, array libraries and their devices, FFT engines, threads."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import rich.box
import rich.console
import rich.table
import soundfile

import xp_istft

from ..settings import cpus
from .libraries import LIBRARIES, version_of


def show(as_json: bool = False) -> int:
    """Print it, as a table or as JSON."""
    sections = _sections()
    if as_json:
        print(json.dumps({name: value for section in sections for name, value in section.items()}, indent=2))
        return 0
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    for section in sections:
        for name, value in section.items():
            table.add_row(name, str(value))
        table.add_section()
    rich.console.Console().print(table)
    return 0


def _sections() -> list[dict[str, Any]]:
    plain = ("array-api-compat", "scipy")
    versions = {"xp_istft": xp_istft.__version__}
    versions["Python"] = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    engines = {"numpy.fft": f"pocketfft {version_of('numpy')}", "scipy.fft": version_of("scipy")}
    engines |= {name: version_of(name) for name in ("ducc0", "mkl_fft")} | {"in use": xp_istft.get_fft_engine()}
    return [
        versions | {name: version_of(name) for name in plain},
        {f"array library {library.name}": f"{library.version()}  {library.state()}".strip() for library in LIBRARIES},
        {name: version_of(name) for name in ("librosa", "soundfile", "soxr", "h5py", "zarr")}
        | {"libsndfile": soundfile.__libsndfile_version__},
        {f"FFT engine {name}": engine for name, engine in engines.items()},
        {
            "CPUs": f"{os.cpu_count()}, for this process {cpus()}",
            "threads in use": xp_istft.get_workers(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        },
    ]
