"""Spectra as arrays of other kinds: .npy, .npz and .zarr, written frame by frame, and the two that carry parameters.

    with np.load("X.npz") as file: X, rate = file["spectrum"], file["sample_rate"]
    X = zarr.open_array("X.zarr"); rate = X.attrs["sample_rate"]

In .npy and .npz the frames lie one after the other (Fortran order): so they can be written as they come.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from .failures import Exit, Failure, foreign, one_line

FORMATS = ("h5", "npz", "npy", "zarr")
Write = Callable[[np.ndarray], None]
_HEADER_BYTES = 1 << 12
_LARGEST = 1 << 28  # bytes of a parameter: those of the samples of a window


def is_zarr(path: Path) -> bool:
    """Whether it is, or is called, a directory that holds one zarr array."""
    return path.suffix == ".zarr" or (path.is_dir() and (path / "zarr.json").is_file())


def is_spectra(path: Path) -> bool:
    """Whether it is a file of arrays, by its first bytes, or a directory of one; else it may be a recording."""
    if is_zarr(path):
        return True
    try:
        with path.open("rb") as file:
            return file.read(8).startswith((b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"PK"))
    except OSError:
        return False


@contextmanager
def new_npy(path: Path, shape: tuple[int, int, int], dtype: str, attributes: Mapping[str, Any]) -> Iterator[Write]:
    """Gives write(spectrum), which appends frames (channels, n_bins, count); an .npy has no place for attributes."""
    with path.open("wb") as file:
        yield _begun(file, shape, dtype)


@contextmanager
def new_npz(path: Path, shape: tuple[int, int, int], dtype: str, attributes: Mapping[str, Any]) -> Iterator[Write]:
    """As `new_npy`, beside an array for each attribute."""
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, value in attributes.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
        with archive.open("spectrum.npy", "w", force_zip64=True) as file:
            yield _begun(file, shape, dtype)


def _begun(file: IO[bytes], shape: tuple[int, int, int], dtype: str) -> Write:
    header = {"descr": np.dtype(dtype).str, "fortran_order": True, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)

    def write(spectrum: np.ndarray) -> None:
        file.write(np.ascontiguousarray(spectrum.T, dtype).data.cast("B"))

    return write


@contextmanager
def new_zarr(path: Path, shape: tuple[int, int, int], dtype: str, attributes: Mapping[str, Any]) -> Iterator[Write]:
    """As `new_npy`, in a directory: uncompressed chunks of frames, each with a checksum (crc32c)."""
    from .spectrogram_files import chunk_frames

    zarr, step = zarr_for(path), chunk_frames(shape, dtype)
    array = zarr.create_array(
        str(path), shape=shape, dtype=dtype, chunks=(1, shape[1], step),
        compressors=[zarr.codecs.Crc32cCodec()], attributes=dict(attributes), overwrite=True,
        config={"write_empty_chunks": True},  # silence, too: what is not there is missing
    )  # fmt: skip
    end, waiting = 0, np.zeros((*shape[:2], 0), dtype)

    def write(spectrum: np.ndarray) -> None:
        """Whole chunks go out; what is left of the last one waits for the next frames."""
        nonlocal end, waiting
        waiting = np.concatenate([waiting, spectrum], axis=-1)
        left = end + waiting.shape[-1]
        count = waiting.shape[-1] - (left % step if left < shape[2] else 0)
        if count > 0:
            array[:, :, end : end + count] = waiting[..., :count]
            end, waiting = end + count, waiting[..., count:]

    yield write


def array_bytes(shape: tuple[int, int, int], dtype: str) -> int:
    """Size of such a file, but for its attributes."""
    return int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize + _HEADER_BYTES


def open_zarr(path: Path) -> tuple[Any, Mapping[str, Any]]:
    """The array of a directory, of which no chunk may be missing, and its attributes."""
    zarr = zarr_for(path)
    if not (path / "zarr.json").is_file():
        raise Failure(Exit.INPUT, f"{path}: need a directory with one array of zarr 3: zarr.json is not there")
    with foreign(f"{path}: no zarr array that can be read"):
        array = zarr.open_array(str(path), mode="r")
        if array.dtype.kind not in "cfiu":
            raise ValueError(f"holds {array.dtype}")
        missing = array.nchunks - array.nchunks_initialized
        if missing:
            raise Failure(Exit.INPUT, f"{path}: truncated: {missing:,} of {array.nchunks:,} chunks are not there")
        return array, dict(array.attrs)


def attributes_of_npz(path: Path) -> dict[str, Any] | None:
    """The parameters of a spectrogram file .npz; None of any other .npz, and of any other file."""
    if not zipfile.is_zipfile(path):
        return None
    with foreign(f"{path}: a truncated or damaged .npz file"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not {"kind.npy", "spectrum.npy"} <= set(names):
            return None
        found = {}
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name != "spectrum" and entry.file_size <= _LARGEST:
                with archive.open(entry) as file:
                    found[name] = np.lib.format.read_array(file, allow_pickle=False).tolist()
        return found


def zarr_for(path: Path) -> Any:
    """The package zarr; Failure that names the file which needs it, where there is none."""
    try:
        zarr = import_module("zarr")
    except ImportError as cause:
        raise Failure(Exit.USAGE, f"{path}: .zarr needs the package zarr: pip install 'zarr>=3'") from cause
    if int(zarr.__version__.partition(".")[0]) < 3:
        need = f"zarr 3, got {one_line(zarr.__version__)}: pip install 'zarr>=3'"
        raise Failure(Exit.USAGE, f"{path}: .zarr needs {need}")
    return zarr
