"""Spectrogram files, frame by frame: an .npz whose array `spectrum` lies frame after frame, uncompressed.

    spectrum.npy    complex64 or complex128 (channels, n_bins, n_frames), Fortran order
    parameters.npy  a string: JSON of what the inverse and a recording need (`Parameters`)

Why so: it is one file, so it is renamed into place in one step and never loses its parameters; NumPy alone reads it
(np.load(name)["spectrum"] has the library's layout); a block of frames is one contiguous piece, at an offset known
beforehand, and is read with plain reads (pages of a memory map would count as memory in use); it needs no further
library, as zarr does, and leaves no folder of thousands of files. Nothing is ever unpickled.

Plain .npy and .npz of complex spectra (..., n_bins, n_frames) are read in the same blocks: those of librosa lie frame
after frame, those of torch and scipy bin after bin, which takes one read a bin and block.
"""

from __future__ import annotations

import json
import lzma
import math
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from ..arguments import error, integer
from ..transform import STFT
from .failures import Exit, Failure, one_line
from .recordings import check_input

KIND = "xp_istft spectrogram 1"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same recording makes the same bytes


_FIELDS = ("n_fft", "hop_length", "win_length", "window", "center", "padding", "pad_mode", "scaling")


@dataclass(frozen=True)
class Parameters:
    """What a spectrogram file says of itself: its recording, and the transform that made it."""

    sample_rate: int
    channels: int
    length: int
    subtype: str
    transform: STFT

    def text(self) -> str:
        recording = {name: getattr(self, name) for name in ("sample_rate", "channels", "length", "subtype")}
        return json.dumps({"kind": KIND, **recording, **plain(self.transform)})

    @classmethod
    def of(cls, path: Path, text: str, n_bins: int) -> Parameters:
        """Failure where the text is none of ours, or is not of a spectrum of n_bins bins."""
        try:
            values = json.loads(text)
            kind = values["kind"]
            numbers = [values[name] for name in ("sample_rate", "channels", "length")]
            subtype, fields = values["subtype"], {name: values[name] for name in _FIELDS}
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            raise Failure(Exit.INPUT, f"{path}: the parameters in it cannot be read") from cause
        if kind != KIND:
            raise Failure(Exit.INPUT, f"{path}: need a file of kind {KIND!r}, got {str(kind)[:60]!r}")
        window = fields["window"]
        if isinstance(window, list) and window and isinstance(window[0], str):  # ["kaiser", 14.0]
            fields["window"] = tuple(window)
        try:
            for name, value in zip(("sample_rate", "channels", "length"), numbers, strict=True):
                integer(KIND, name, value, 1)
            if not isinstance(subtype, str):
                raise error(TypeError, KIND, "subtype", "a name", subtype)
            if integer(KIND, "n_fft", fields["n_fft"], 2) // 2 + 1 != n_bins:  # before a window of that size is made
                raise error(ValueError, KIND, "n_fft", f"that of {n_bins} bins", fields["n_fft"])
            return cls(*numbers, subtype, STFT.made_by(KIND, **fields))  # type: ignore[call-arg]
        except (ValueError, TypeError) as cause:
            text = one_line(cause).removeprefix(f"{KIND}: ")
            raise Failure(Exit.INPUT, f"{path}: the parameter {text[:120]}") from cause


def plain(transform: STFT) -> dict[str, Any]:
    """The fields of a transform that a file holds, as JSON has them."""
    fields = {name: getattr(transform, name) for name in _FIELDS}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}


class NewSpectrogram:
    """A spectrogram file to write block by block."""

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: str, parameters: Parameters) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)
        with self._zip.open(zipfile.ZipInfo("parameters.npy", _EPOCH), "w") as member:
            np.lib.format.write_array(member, np.array(parameters.text()), allow_pickle=False)
        self._member = self._zip.open(zipfile.ZipInfo("spectrum.npy", _EPOCH), "w", force_zip64=True)
        header = {"descr": self._dtype.str, "fortran_order": True, "shape": shape}
        np.lib.format.write_array_header_1_0(self._member, header)

    def write(self, spectrum: np.ndarray) -> None:
        """Append frames (channels, n_bins, count)."""
        self._member.write(np.ascontiguousarray(spectrum.T, self._dtype).data)

    def __enter__(self) -> NewSpectrogram:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._member.close()
        self._zip.close()


def spectrogram_bytes(shape: tuple[int, int, int], dtype: str) -> int:
    """Size of a spectrogram file, but for a few kilobytes."""
    return math.prod(shape) * np.dtype(dtype).itemsize


class Spectrogram:
    """An open file of spectra: what it says of itself, and any block of its frames.

    shape      : (channels, n_bins, n_frames)
    dtype      : "complex64" or "complex128"
    parameters : of a spectrogram file; None of plain arrays
    """

    def __init__(self, path: Path, key: str | None = None, frames_first: bool = False) -> None:
        check_input(path)
        self.path = path
        text = None
        self._file: IO[bytes] = path.open("rb")
        try:
            magic = self._file.read(6)
            self._file.seek(0)
            if magic.startswith(b"PK\x03\x04"):
                text = self._open_member(key)
            elif magic != b"\x93NUMPY":
                raise Failure(Exit.INPUT, f"{path}: is no .npy or .npz file")
            elif key is not None:
                raise Failure(Exit.INPUT, f"{path}: --key is for .npz files")
            self._lay_out(frames_first)
            self.parameters = None if text is None else Parameters.of(path, text, self.shape[1])
        except BaseException:
            self._file.close()
            raise

    def read(self, first: int, last: int) -> np.ndarray:
        """Frames [first, last), (channels, n_bins, last - first)."""
        outer, n_frames, inner = self._pieces
        piece = np.empty((outer, last - first, inner), self._dtype)
        bytes_each = inner * self._dtype.itemsize
        for row in range(outer):
            self._file.seek(self._offset + (row * n_frames + first) * bytes_each)
            if self._file.readinto(memoryview(piece[row]).cast("B")) != (last - first) * bytes_each:  # type: ignore[attr-defined]
                raise Failure(Exit.INPUT, f"{self.path}: truncated: ends before frame {last:,} of {n_frames:,}")
        shape = list(self._stored)
        shape[self._axis] = last - first
        spectrum: Any = piece.reshape(shape)
        if self._pairs:
            spectrum = spectrum[..., 0]
        spectrum = np.moveaxis(spectrum.T if self._fortran else spectrum, self._frames_at, -1)
        return spectrum.reshape(self.shape[0], self.shape[1], last - first).astype(self.dtype, copy=False)

    def _open_member(self, key: str | None) -> str | None:
        """Leave `_file` at the start of one .npy of an .npz; of a spectrogram file, its parameters."""
        text = None
        try:
            with zipfile.ZipFile(self._file) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
                if {"spectrum", "parameters"} <= set(names) and key is None:
                    key = "spectrum"
                    text = _text(archive, self.path)
                if key is None and len(names) == 1:
                    key = names[0]
                if key not in names:
                    listed = ", ".join(names[:20]) or "none"
                    need = "one array, or --key" if key is None else f"an array {key!r}"
                    raise Failure(Exit.INPUT, f"{self.path}: need {need}; the arrays in it: {listed}")
                info = archive.getinfo(f"{key}.npy")
                if info.compress_type == zipfile.ZIP_STORED:
                    self._file.seek(info.header_offset)
                    local = self._file.read(30)
                    self._file.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), 1)
                    return text
                with ExitStack() as stack:  # blocks need an offset, so the array is unpacked beside
                    unpacked = stack.enter_context(tempfile.TemporaryFile())
                    with archive.open(info) as member:
                        shutil.copyfileobj(member, unpacked, 1 << 20)
                    stack.pop_all()
                self._file.close()
                self._file = unpacked
                self._file.seek(0)
                return text
        except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError, RuntimeError) as cause:
            why = str(cause).rstrip(".").lower()
            raise Failure(Exit.INPUT, f"{self.path}: a truncated or damaged .npz file: {why}") from cause
        except (NotImplementedError, OSError, zlib.error, lzma.LZMAError) as cause:
            raise Failure(Exit.INPUT, f"{self.path}: cannot be read: {cause}") from cause

    def _lay_out(self, frames_first: bool) -> None:
        """Read the header of the .npy that `_file` stands at, and work out where each frame lies."""
        shape, fortran, dtype = _header(self._file, self.path)
        self._offset = self._file.tell()
        there = self._file.seek(0, 2) - self._offset
        n_bytes = math.prod(shape) * dtype.itemsize
        if there < n_bytes:
            raise Failure(Exit.INPUT, f"{self.path}: truncated: {n_bytes:,} bytes of spectrum, {there:,} are there")
        self._dtype = dtype
        self._pairs = dtype.kind == "f" and dtype.itemsize in (4, 8) and shape[-1:] == (2,) and not fortran
        if self._pairs:
            self._dtype = dtype = np.dtype(f"{dtype.byteorder}c{2 * dtype.itemsize}")
            shape = (*shape[:-1], 1)
        if dtype.kind != "c" or dtype.itemsize not in (8, 16):
            got = f"{dtype} of shape {shape}"
            raise Failure(Exit.MISFIT, f"{self.path}: need complex64 or complex128 (..., bins, frames), got {got}")
        self.dtype = f"complex{8 * dtype.itemsize}"
        spectra = shape[:-1] if self._pairs else shape
        if len(spectra) < 2 or 0 in spectra:
            raise Failure(Exit.MISFIT, f"{self.path}: need an array (..., bins, frames), got shape {spectra}")
        *leading, n_bins, n_frames = spectra
        self._frames_at = len(spectra) - 1
        if frames_first:
            n_bins, n_frames = n_frames, n_bins
            self._frames_at -= 1
        if sum(size > 1 for size in leading) > 1:
            need = "(bins, frames) or (channels, bins, frames)"
            raise Failure(Exit.MISFIT, f"{self.path}: need one array {need}, got shape {spectra}")
        self.shape = (math.prod(leading), n_bins, n_frames)
        self._fortran = fortran
        self._stored = tuple(reversed(shape)) if fortran else shape
        self._axis = len(shape) - 1 - self._frames_at if fortran else self._frames_at
        self._pieces = (
            math.prod(self._stored[: self._axis]),
            n_frames,
            math.prod(self._stored[self._axis + 1 :]),
        )

    def __enter__(self) -> Spectrogram:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def load_window(path: Path) -> list[float]:
    """The samples of a window in an .npy file."""

    def fits(shape: tuple[int, ...], dtype: np.dtype) -> bool:
        return dtype.kind in "fiu" and len(shape) == 1 and shape[0] <= 1 << 24

    return [float(value) for value in _plain_array(path, "a real array (win_length,)", fits)]


def load_magnitudes(path: Path) -> np.ndarray:
    """Real magnitudes (channels, bins, frames), or their last two axes the other way round, in an .npy file."""

    def fits(shape: tuple[int, ...], dtype: np.dtype) -> bool:
        return dtype.kind == "f" and dtype.itemsize <= 8 and len(shape) in (2, 3) and 0 not in shape

    array = _plain_array(path, "real magnitudes (bins, frames) or (channels, bins, frames)", fits)
    return array.reshape(-1, *array.shape[-2:])


def _plain_array(path: Path, need: str, fits: Callable[[tuple[int, ...], np.dtype], bool]) -> np.ndarray:
    """The array of an .npy file, of a shape and dtype that fit."""
    check_input(path)
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file, path)
        if not fits(shape, dtype):
            raise Failure(Exit.MISFIT, f"{path}: need {need}, got {dtype} of shape {shape}")
        n_bytes = math.prod(shape) * dtype.itemsize
        there = path.stat().st_size - file.tell()
        if there < n_bytes:
            raise Failure(Exit.INPUT, f"{path}: truncated: {n_bytes:,} bytes of samples, {there:,} are there")
        data = np.frombuffer(file.read(n_bytes), dtype)
    return data.reshape(shape, order="F" if fortran else "C")


def _header(file: Any, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and dtype of the .npy that `file` stands at; Failure of Python objects, which are never read."""
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"version {version}")
        shape, fortran, dtype = readers[version](file)
    except Exception as cause:  # whatever a parser makes of foreign bytes
        text = str(cause).partition("\n")[0][:120]
        raise Failure(Exit.INPUT, f"{path}: the header of the .npy cannot be read: {text}") from cause
    if dtype.hasobject:
        raise Failure(Exit.INPUT, f"{path}: holds pickled Python objects, which are never read")
    return tuple(int(size) for size in shape), bool(fortran), dtype


def _text(archive: zipfile.ZipFile, path: Path) -> str:
    """The string in parameters.npy."""
    if archive.getinfo("parameters.npy").file_size > 1 << 26:
        raise Failure(Exit.INPUT, f"{path}: the parameters in it cannot be read")
    with archive.open("parameters.npy") as member:
        shape, _, dtype = _header(member, path)
        if shape != () or dtype.kind != "U":
            raise Failure(Exit.INPUT, f"{path}: the parameters in it cannot be read")
        return str(np.frombuffer(member.read(), dtype)[0])
