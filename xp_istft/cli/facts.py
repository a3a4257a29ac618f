"""What a file holds, as far as it says so itself: of a recording, of a spectrogram file, of arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .array_files import is_spectra, is_zarr, open_zarr
from .failures import Exit, Failure, foreign, printable
from .plain_arrays import load_array
from .recordings import Recording
from .spectrogram_files import Spectrogram, plain

_MOST = 100  # arrays of a file that are told


def facts_of(path: Path, name: str, key: str | None) -> dict[str, Any]:
    """What the file `path`, called `name`, holds; Failure where that is nothing known."""
    if not is_spectra(path) and key is not None:
        raise Failure(Exit.USAGE, f"--key: is for .npz files, and {name} is none")
    facts = _of_arrays(path, key) if is_spectra(path) else _of_recording(path)
    return {"file": name, **facts, "bytes": _size(path)}


def as_text(facts: dict[str, Any]) -> str:
    """Lines for people: the name of the file, and a fact in each of the others."""
    lines = [f"{facts['file']}: {facts['kind']}"]
    for name, value in facts.items():
        if name in ("file", "kind"):
            continue
        if isinstance(value, dict):
            lines += [f"  {name}:", *(f"    {inner}: {_said(inner, each)}" for inner, each in value.items())]
        else:
            lines.append(f"  {name}: {_said(name, value)}")
    return "\n".join(map(printable, lines))


def _said(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{inner} {each}" for inner, each in value.items())
    if isinstance(value, int) and name in ("samples", "bytes", "length"):
        return f"{value:,}"
    if name == "window" and isinstance(value, list):
        return f"{len(value)} samples"
    return f"{value:.6g} s" if name == "seconds" else str(value)


def _of_recording(path: Path) -> dict[str, Any]:
    with Recording(path) as recording:
        facts = {
            "kind": "recording",
            "format": recording.format,
            "subtype": recording.subtype,
            "sample_rate": recording.sample_rate,
            "channels": recording.channels,
            "samples": recording.n_samples,
            "seconds": recording.n_samples / recording.sample_rate,
        }
        return facts | ({"comment": recording.comment} if recording.comment else {})


def _of_arrays(path: Path, key: str | None) -> dict[str, Any]:
    known = None
    if key is None:
        try:
            with Spectrogram(path, magnitudes=True) as stored:
                known = stored.parameters
                if known is not None:
                    recording = {
                        "sample_rate": known.sample_rate, "samples": known.length,
                        "seconds": known.length / known.sample_rate, "subtype": known.subtype,
                    }  # fmt: skip
                    fields = {name: value for name, value in plain(known.transform).items() if value is not None}
                    two_sided = {} if known.transform.onesided else {"two_sided": True}
                    return {
                        "kind": "spectrogram", "values": known.levels.values, "dtype": stored.dtype,
                        "shape": list(stored.shape), "parameters": fields | two_sided | _levels(known.levels),
                        "recording": recording,
                    }  # fmt: skip
        except Failure as cause:
            if cause.code != Exit.MISFIT and not _foreign_hdf5(path) and not zipfile.is_zipfile(path):
                raise
    return {"kind": "arrays", "arrays": _arrays(path, key)}


def _levels(levels: Any) -> dict[str, Any]:
    return {name: value for name, value in levels.attributes().items() if name != "values"}


def _foreign_hdf5(path: Path) -> bool:
    """Whether it is a file of HDF5 that does not call itself one of ours."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return "spectrum" not in file or "kind" not in file["spectrum"].attrs
    except (OSError, KeyError, RuntimeError, AttributeError):
        return False


def _arrays(path: Path, key: str | None) -> dict[str, Any]:
    """Name, dtype and shape of each array; none of their numbers is read."""
    if is_zarr(path):
        return {"array": _layout(open_zarr(path)[0])}
    if h5py.is_hdf5(path):
        found: dict[str, Any] = {}
        with foreign(f"{path}: a truncated or damaged HDF5 file"), h5py.File(path, "r") as file:
            file.visititems(lambda name, node: _add(found, name, node))
        return found
    if zipfile.is_zipfile(path) and key is None:
        with foreign(f"{path}: a truncated or damaged .npz file"), zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")][:_MOST]
            return {name.removesuffix(".npy"): _of_header(archive, name) for name in names}
    return {key or "array": _layout(load_array(path, key, pairs=False))}


def _add(found: dict[str, Any], name: str, node: Any) -> None:
    if isinstance(node, h5py.Dataset) and len(found) < _MOST:
        found[name] = _layout(node)


def _of_header(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return {"dtype": str(dtype), "shape": list(shape)}


def _layout(array: Any) -> dict[str, Any]:
    return {"dtype": str(array.dtype), "shape": list(array.shape or ())}


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size
