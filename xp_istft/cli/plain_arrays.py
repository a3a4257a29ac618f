"""Arrays in .npy and .npz files: spectra of other programs, magnitudes and windows. Nothing is ever unpickled.

They are mapped, so that only what is read takes memory; those of an .npz are unpacked for that.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np

from .failures import Exit, Failure, foreign
from .recordings import check_input
from .whole_files import check_space


def load_array(path: Path, key: str | None, pairs: bool = True) -> np.ndarray:
    """The array of an .npy, or that called `key` of an .npz; with `pairs` complex where it holds (..., 2) of reals."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:2] != b"PK" and key is not None:
        raise Failure(Exit.INPUT, f"{path}: --key is for .npz files")
    if magic[:2] != b"PK" and magic != b"\x93NUMPY":
        raise Failure(Exit.INPUT, f"{path}: need a file .h5, .npy or .npz, or a directory .zarr")
    array = _of_npz(path, key) if magic[:2] == b"PK" else _npy(path)
    size = array.dtype.itemsize
    if pairs and array.dtype.kind == "f" and size in (4, 8) and array.shape[-1:] == (2,) and array.flags.c_contiguous:
        return array.view(f"{array.dtype.byteorder}c{2 * size}")[..., 0]
    return array


def named_window(text: str) -> Any:
    """A name ("hann"), or a name with numbers ("kaiser,14"), as stft takes it; ValueError where they are none."""
    name, *numbers = text.split(",")
    return (name, *map(float, numbers)) if numbers else name


def load_window(path: Path) -> list[float]:
    """The samples of a window in an .npy file."""
    array = _npy(path)
    if array.dtype.kind not in "fiu" or array.ndim != 1 or array.size > 1 << 24:
        raise _misfit(path, "a real array (win_length,)", array)
    return [float(value) for value in array]


def _npy(path: Path) -> np.ndarray:
    check_input(path)
    with foreign(f"{path}: a truncated or damaged .npy file"), path.open("rb") as file:
        if _announced(file) > (there := path.stat().st_size):
            raise ValueError(f"{there:,} bytes are there, and more are announced")
        return np.lib.format.open_memmap(path, mode="r")


def _announced(file: IO[bytes]) -> int:
    """Bytes of the .npy that begins here, as its header has it; ValueError unless it is one of plain numbers."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}: need sizes >= 0")
    if dtype.hasobject:
        raise ValueError("Python objects, which are not read")
    return file.tell() + math.prod(shape) * dtype.itemsize


def _of_npz(path: Path, key: str | None) -> np.ndarray:
    with foreign(f"{path}: a truncated or damaged .npz file"), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if {"spectrum", "parameters"} <= set(names) and key is None:
            hint = "make it anew, or give --key spectrum and the options that it was made with"
            raise Failure(Exit.INPUT, f"{path}: is a spectrogram file of the old form: {hint}")
        chosen = names[0] if key is None and len(names) == 1 else key
        if chosen not in names:
            need = "one array, or --key" if key is None else f"an array {key!r}"
            raise Failure(Exit.INPUT, f"{path}: need {need}; the arrays in it: {', '.join(names[:20]) or 'none'}")
        with archive.open(f"{chosen}.npy") as file:
            announced, unpacked = _announced(file), archive.getinfo(f"{chosen}.npy").file_size
        if announced != unpacked:  # a few kilobytes unpack to gigabytes
            raise ValueError(f"{chosen} announces {announced:,} bytes and unpacks to {unpacked:,}")
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # POSIX removes what is mapped, Windows does not
            check_space(Path(folder) / path.name, archive.getinfo(f"{chosen}.npy").file_size)
            return np.lib.format.open_memmap(archive.extract(f"{chosen}.npy", folder), mode="r")


def _misfit(path: Path, need: str, array: np.ndarray) -> Failure:
    return Failure(Exit.MISFIT, f"{path}: need {need}, got {array.dtype} of shape {array.shape}")
