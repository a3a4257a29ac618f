"""Spectrogram files, block by block: HDF5 that carries its parameters.

    spectrum   complex64 or complex128 (channels, n_bins, n_frames), in uncompressed chunks of frames; its attributes
               are what the inverse and a recording need: the fields of `Parameters`

    with h5py.File("X.h5") as file: X, rate = file["spectrum"][...], file["spectrum"].attrs["sample_rate"]

No filter is ever loaded, no link followed, and no file read that another one names.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from ..arguments import error, integer
from ..backends.stored import Stored
from ..transform import STFT
from ..tuning import tuning
from .failures import Exit, Failure, foreign, one_line
from .plain_arrays import load_spectrum, named_window
from .recordings import check_input

KIND = "xp_istft spectrogram 2"
_RECORDING = ("sample_rate", "length", "subtype")
_FIELDS = ("n_fft", "hop_length", "win_length", "window", "center", "pad_mode")
_OR_NONE = ("padding", "scaling")  # None is no attribute


@dataclass(frozen=True)
class Parameters:
    """What a spectrogram file says of itself: its recording, and the transform that made it."""

    sample_rate: int
    length: int
    subtype: str
    transform: STFT

    def attributes(self) -> dict[str, Any]:
        recording = {name: getattr(self, name) for name in _RECORDING}
        values = {"kind": KIND, **recording, **plain(self.transform)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, path: Path, attributes: Mapping[str, Any], n_bins: int) -> Parameters:
        """Failure where the attributes are none of ours, or are not of a spectrum of n_bins bins."""
        names = ("kind", *_RECORDING, *_FIELDS, *_OR_NONE)
        values = {name: attributes[name] for name in names if name in attributes}
        values = {name: _as_python(value) for name, value in values.items()}
        if values.pop("kind", None) != KIND:
            raise Failure(Exit.INPUT, f"{path}: its attribute kind is not {KIND!r}: none of our files")
        try:
            for name in (*_RECORDING, *_FIELDS):
                if name not in values:
                    raise error(ValueError, KIND, name, "a value", "none")
            for name in ("sample_rate", "length"):
                integer(KIND, name, values[name], 1)
            if not isinstance(values["subtype"], str):
                raise error(TypeError, KIND, "subtype", "a name", values["subtype"])
            if integer(KIND, "n_fft", values["n_fft"], 2) // 2 + 1 != n_bins:  # before a window of that size is made
                raise error(ValueError, KIND, "n_fft", f"that of {n_bins} bins", values["n_fft"])
            if isinstance(values["window"], str):
                values["window"] = named_window(values["window"])
            recording = {name: values.pop(name) for name in _RECORDING}
            return cls(**recording, transform=STFT.made_by(KIND, **values))
        except (ValueError, TypeError) as cause:
            text = one_line(cause).removeprefix(f"{KIND}: ")
            raise Failure(Exit.INPUT, f"{path}: the parameter {text[:120]}") from cause


def plain(transform: STFT) -> dict[str, Any]:
    """The fields of a transform that a file holds, as text, numbers and lists."""
    fields = {name: getattr(transform, name) for name in (*_FIELDS, *_OR_NONE)}
    if isinstance(transform.window, tuple):
        fields["window"] = ",".join(map(str, transform.window))
    return {name: _as_python(value) for name, value in fields.items()}


def _as_python(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


class GuardedFile(io.FileIO):
    """A file for HDF5 to write, which keeps what goes wrong for `check` to raise.

    HDF5 takes no error well: it tries again when the file is closed and once more when Python ends. So it is told of
    none; after the first, nothing is written any more.
    """

    cause: BaseException | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = left.nbytes
        try:
            while left and self.cause is None:
                left = left[super().write(left) :]
        except BaseException as cause:  # an interrupt, too, waits until HDF5 has returned
            self.cause = cause
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.cause is None:
                super().truncate(size)
        except BaseException as cause:
            self.cause = cause
        return size or 0

    def check(self) -> None:
        if self.cause is not None:
            raise self.cause


@contextmanager
def new_spectrogram(
    path: Path, shape: tuple[int, int, int], dtype: str, parameters: Parameters
) -> Iterator[Callable[[np.ndarray], None]]:
    """Gives write(spectrum), which appends frames (channels, n_bins, count) to a new spectrogram file."""
    with GuardedFile(path, "w+") as disk:
        with h5py.File(disk, "w", libver=("v110", "v110")) as file:  # since 1.10 its headers have checksums
            dataset = file.create_dataset("spectrum", shape, dtype, chunks=(1, shape[1], chunk_frames(shape, dtype)))
            dataset.attrs.update(parameters.attributes())
            stored, end = WholeChunks(dataset), 0

            def write(spectrum: np.ndarray) -> None:
                nonlocal end
                end += spectrum.shape[-1]
                stored.write(end - spectrum.shape[-1], end, spectrum)
                disk.check()

            yield write
        disk.check()


class WholeChunks(Stored):
    """A dataset in the chunks that `new_spectrogram` makes, which are taken as they lie in the file.

    HDF5 would gather a block bin by bin, and the transforms want it frame by frame: so the work of the two commands
    took 1.3 and 1.2 times as long as with frames one after the other.
    """

    def read(self, lo: int, hi: int) -> np.ndarray:
        channels, n_bins, _ = self.shape
        spectrum = np.empty((channels, hi - lo, n_bins), self.dtype).swapaxes(-1, -2)
        for channel, first in product(range(channels), range(lo - lo % self.chunk, hi, self.chunk)):
            _, data = self.array.id.read_direct_chunk((channel, 0, first))
            piece = np.frombuffer(data, self.dtype).reshape(n_bins, self.chunk)
            a, b = max(lo, first), min(hi, first + self.chunk)
            spectrum[channel, :, a - lo : b - lo] = piece[:, a - first : b - first]
        return spectrum

    def write(self, lo: int, hi: int, piece: np.ndarray) -> None:
        for a in range(lo, hi, self.chunk):
            b = min(a + self.chunk, hi)
            if lo % self.chunk or b - a < self.chunk:
                super().write(a, b, piece[..., a - lo : b - lo])
                continue
            for channel, spectrum in enumerate(piece):
                self.array.id.write_direct_chunk((channel, 0, a), np.ascontiguousarray(spectrum[:, a - lo : b - lo]))


def chunk_frames(shape: tuple[int, int, int], dtype: Any) -> int:
    """Frames in a chunk of a spectrogram file: at most a MiB of one channel, and such that the last is nearly full."""
    most = max(1, tuning().spectrum_bytes // (16 * shape[1] * np.dtype(dtype).itemsize))
    return -(-shape[2] // -(-shape[2] // most))


def spectrogram_bytes(shape: tuple[int, int, int], dtype: str) -> int:
    """Size of a spectrogram file, but for a few kilobytes."""
    chunk = chunk_frames(shape, dtype)
    return shape[0] * shape[1] * -(-shape[2] // chunk) * chunk * np.dtype(dtype).itemsize


class Spectrogram:
    """An open file of spectra: what it says of itself, and any block of its frames.

    shape      : (channels, n_bins, n_frames)
    dtype      : "complex64" or "complex128"
    chunk      : frames that lie in one piece; 1 where that is not known
    parameters : of a spectrogram file; None of plain arrays
    """

    def __init__(self, path: Path, key: str | None = None, frames_first: bool = False) -> None:
        check_input(path)
        self.path, self.parameters = path, None
        with ExitStack() as stack:
            ours = key is None and h5py.is_hdf5(path)
            array: Any = _opened(stack, path) if ours else load_spectrum(path, key)
            self._stored = _laid_out(array, path, frames_first)
            if ours and _is_our_layout(array) and not frames_first:
                self._stored = WholeChunks(array)
            self.chunk, self.dtype = self._stored.chunk, self._stored.dtype.name
            *leading, n_bins, n_frames = self._stored.shape
            self.shape = (math.prod(leading), n_bins, n_frames)
            if ours:
                with foreign(f"{path}: the attributes cannot be read"):
                    self.parameters = Parameters.of(path, array.attrs, n_bins)
            self._open = stack.pop_all()

    def read(self, first: int, last: int) -> np.ndarray:
        """Frames [first, last), (channels, n_bins, last - first)."""
        with foreign(f"{self.path}: frames {first:,} to {last:,} cannot be read"):
            return self._stored.read(first, last).reshape(*self.shape[:2], last - first)

    def __enter__(self) -> Spectrogram:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()


def _opened(stack: ExitStack, path: Path) -> h5py.Dataset:
    """The spectrum of an HDF5 file, which must lie in this very file, whole and as it is."""
    with foreign(f"{path}: a truncated or damaged HDF5 file"):
        file = stack.enter_context(h5py.File(stack.enter_context(path.open("rb")), "r"))
        if not isinstance(file.get("spectrum", getlink=True), h5py.HardLink):
            raise Failure(Exit.INPUT, f"{path}: holds no array `spectrum`; links are not followed")
        dataset = file["spectrum"]
        if not isinstance(dataset, h5py.Dataset):
            raise Failure(Exit.INPUT, f"{path}: holds no array `spectrum`, but a {type(dataset).__name__.lower()}")
        if dataset.is_virtual or dataset.external:
            raise Failure(Exit.INPUT, f"{path}: its spectrum lies in other files, which are not read")
        if dataset.id.get_create_plist().get_nfilters():  # they may be missing, and what they make has no bound
            raise Failure(Exit.INPUT, f"{path}: its spectrum is compressed; `h5repack -f NONE` makes it plain")
        n_bytes, there = math.prod(dataset.shape or (0,)) * dataset.dtype.itemsize, dataset.id.get_storage_size()
        if not n_bytes <= there <= path.stat().st_size:
            raise Failure(Exit.INPUT, f"{path}: truncated: {n_bytes:,} bytes of spectrum, {there:,} are there")
        return dataset


def _is_our_layout(dataset: h5py.Dataset) -> bool:
    """Whether its chunks are those that `new_spectrogram` makes: of any other size one may not fit into memory."""
    if dataset.ndim != 3 or not dataset.dtype.isnative:
        return False
    return dataset.chunks == (1, dataset.shape[1], chunk_frames(dataset.shape, dataset.dtype))


def _laid_out(array: Any, path: Path, frames_first: bool) -> Stored:
    """The spectrum (..., bins, frames), with at most one axis before them that has more than one element."""
    shape = tuple(array.shape or ())
    need = None
    if array.dtype.kind != "c" or array.dtype.itemsize not in (8, 16):
        need = "complex64 or complex128 (..., bins, frames)"
    elif len(shape) < 2 or 0 in shape:
        need = "an array (..., bins, frames)"
    elif sum(size > 1 for size in shape[:-2]) > 1:
        need = "one array (bins, frames) or (channels, bins, frames)"
    if need is not None:
        raise Failure(Exit.MISFIT, f"{path}: need {need}, got {array.dtype} of shape {shape}")
    last = len(shape) - 1
    return Stored(array, (*range(last - 1), *((last, last - 1) if frames_first else (last - 1, last))))
