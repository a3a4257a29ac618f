"""Spectrogram files, block by block: HDF5 that carries its parameters.

    spectrum   complex64 or complex128 (channels, n_bins, n_frames), in uncompressed chunks of frames, each with a
               checksum (fletcher32), as the headers have; its attributes are what the inverse and a recording need:
               the fields of `Parameters`

    with h5py.File("X.h5") as file: X, rate = file["spectrum"][...], file["spectrum"].attrs["sample_rate"]

No filter is ever loaded, no link followed, and no file read that another one names.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import soundfile

from ..arguments import boolean, error, integer, number
from ..backends.stored import Stored
from ..transform import STFT
from ..tuning import tuning
from .array_files import array_bytes, attributes_of_npz, is_zarr, new_npy, new_npz, new_zarr, open_zarr
from .failures import Exit, Failure, foreign, one_line
from .levels import SPECTRUM, VALUES, Levels
from .plain_arrays import load_array, named_window
from .recordings import MOST_HERTZ, check_input

KIND = "xp_istft spectrogram 2"
_RECORDING = ("sample_rate", "length", "subtype", "source")
_FIELDS = ("n_fft", "hop_length", "win_length", "window", "center", "pad_mode")
_OR_NONE = ("padding", "scaling")  # None is no attribute
_TWO_SIDED = "two_sided"  # and of one side there is none
_LEVELS = ("values", "reference", "floor")  # of a spectrum there is none
_WINDOW_SUM = "window_crc32"  # of samples, as float64: HDF5 has none for attributes of more than 64 kB
_SUM_BYTES = 4  # of the checksum of a chunk


@dataclass(frozen=True)
class Parameters:
    """What a spectrogram file says of itself: its recording, and the transform that made it."""

    sample_rate: int
    length: int
    subtype: str
    transform: STFT
    source: str = ""  # size and time of the recording, and its part: what a second run knows it by
    levels: Levels = SPECTRUM

    def attributes(self) -> dict[str, Any]:
        recording = {name: getattr(self, name) for name in _RECORDING}
        values = {"kind": KIND, **recording, **plain(self.transform)}
        if not isinstance(values["window"], str):
            values[_WINDOW_SUM] = _sum_of(values["window"])
        if not self.transform.onesided:
            values[_TWO_SIDED] = True
        values.update(self.levels.attributes())
        return {name: value for name, value in values.items() if value not in (None, "")}

    @classmethod
    def of(cls, path: Path, attributes: Mapping[str, Any], n_bins: int, n_frames: int) -> Parameters:
        """Failure where the attributes are none of ours, or are not of a spectrum of so many bins and frames."""
        names = ("kind", *_RECORDING, *_FIELDS, *_OR_NONE, _TWO_SIDED, _WINDOW_SUM, *_LEVELS)
        values = {name: attributes[name] for name in names if name in attributes}
        values = {name: _as_python(value) for name, value in values.items()}
        if values.pop("kind", None) != KIND:
            raise Failure(Exit.INPUT, f"{path}: its attribute kind is not {KIND!r}: none of our files")
        try:
            values.setdefault("source", "")
            for name in (*_RECORDING, *_FIELDS):
                if name not in values:
                    raise error(ValueError, KIND, name, "a value", "none")
            integer(KIND, "sample_rate", values["sample_rate"], 1, MOST_HERTZ)
            integer(KIND, "length", values["length"], 1)
            if values["subtype"] not in list(soundfile.available_subtypes()):
                raise error(ValueError, KIND, "subtype", "one of libsndfile's", values["subtype"])
            if not isinstance(values["source"], str):
                raise error(TypeError, KIND, "source", "text", values["source"])
            values["onesided"] = not boolean(KIND, _TWO_SIDED, values.pop(_TWO_SIDED, False))
            levels = _levels({name: values.pop(name) for name in _LEVELS if name in values})
            n_fft = integer(KIND, "n_fft", values["n_fft"], 2)
            if n_bins != (n_fft // 2 + 1 if values["onesided"] else n_fft):  # before a window of that size is made
                raise error(ValueError, KIND, "n_fft", f"that of {n_bins} bins", values["n_fft"])
            due = values.pop(_WINDOW_SUM, None)
            if isinstance(values["window"], str):
                values["window"] = named_window(values["window"])
            elif due is not None and due != _sum_of(values["window"]):
                raise error(ValueError, KIND, "window", f"samples of the sum in {_WINDOW_SUM}", "others")
            recording = {name: values.pop(name) for name in _RECORDING}
            transform = STFT.made_by(KIND, **values)
            if transform.n_frames(recording["length"]) != n_frames:
                raise error(ValueError, KIND, "length", f"that of {n_frames} frames", recording["length"])
            return cls(**recording, transform=transform, levels=levels)
        except (ValueError, TypeError, MemoryError) as cause:  # of memory, where a few bytes ask for it
            text = one_line(cause).removeprefix(f"{KIND}: ")
            raise Failure(Exit.INPUT, f"{path}: the parameter {text[:120]}") from cause


def _levels(values: dict[str, Any]) -> Levels:
    if values.get("values", VALUES[0]) not in VALUES:
        raise error(ValueError, KIND, "values", f"one of {', '.join(VALUES)}", values["values"])
    for name in ("reference", "floor"):
        if name in values:
            number(KIND, name, values[name])
    return Levels(**values)


def _sum_of(window: Any) -> int:
    return zlib.crc32(np.asarray(window, "<f8").tobytes())


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
            chunks = (1, shape[1], chunk_frames(shape, dtype))
            dataset = file.create_dataset("spectrum", shape, dtype, chunks=chunks, fletcher32=True)
            dataset.attrs.update(parameters.attributes())
            stored, end = WholeChunks(dataset), 0

            def write(spectrum: np.ndarray) -> None:
                nonlocal end
                end += spectrum.shape[-1]
                stored.write(end - spectrum.shape[-1], end, spectrum)
                disk.check()

            yield write
        disk.check()


_NEW_ARRAYS = {".npz": new_npz, ".npy": new_npy, ".zarr": new_zarr}


@contextmanager
def new_file(
    path: Path, target: Path, shape: tuple[int, int, int], dtype: str, parameters: Parameters
) -> Iterator[Callable[[np.ndarray], None]]:
    """As `new_spectrogram`, of the kind that the name of `target` asks for."""
    if target.suffix == ".h5":
        with new_spectrogram(path, shape, dtype, parameters) as write:
            yield write
    else:
        with _NEW_ARRAYS[target.suffix](path, shape, dtype, parameters.attributes()) as write:
            yield write


def file_bytes(target: Path, shape: tuple[int, int, int], dtype: str) -> int:
    """Size of such a file, but for a few kilobytes."""
    return spectrogram_bytes(shape, dtype) if target.suffix == ".h5" else array_bytes(shape, dtype)


class WholeChunks(Stored):
    """A dataset in the chunks that `new_spectrogram` makes, which are read and written one by one, as they lie there.

    HDF5 would gather a block bin by bin, and the transforms want it frame by frame: so the work of the two commands
    took 1.3 and 1.2 times as long as with frames one after the other.
    """

    def read(self, lo: int, hi: int) -> np.ndarray:
        channels, n_bins, n_frames = self.shape
        spectrum = np.empty((channels, hi - lo, n_bins), self.dtype).swapaxes(-1, -2)
        for channel, first in product(range(channels), range(lo - lo % self.chunk, hi, self.chunk)):
            piece = np.empty((n_bins, min(self.chunk, n_frames - first)), self.dtype)
            self.array.read_direct(piece, np.s_[channel, :, first : first + piece.shape[1]])
            a, b = max(lo, first), min(hi, first + self.chunk)
            spectrum[channel, :, a - lo : b - lo] = piece[:, a - first : b - first]
        return spectrum

    def write(self, lo: int, hi: int, piece: np.ndarray) -> None:
        for channel, spectrum in enumerate(piece):
            for a in range(lo, hi, self.chunk):
                part = np.ascontiguousarray(spectrum[:, a - lo : a - lo + self.chunk])
                self.array.write_direct(part, dest_sel=np.s_[channel, :, a : a + part.shape[1]])


def chunk_frames(shape: tuple[int, int, int], dtype: Any) -> int:
    """Frames in a chunk of a spectrogram file: at most a MiB of one channel, and such that the last is nearly full."""
    most = max(1, tuning().spectrum_bytes // (16 * shape[1] * np.dtype(dtype).itemsize))
    return -(-shape[2] // -(-shape[2] // most))


def spectrogram_bytes(shape: tuple[int, int, int], dtype: str) -> int:
    """Size of a spectrogram file, but for a few kilobytes."""
    chunk = chunk_frames(shape, dtype)
    return shape[0] * -(-shape[2] // chunk) * (shape[1] * chunk * np.dtype(dtype).itemsize + _SUM_BYTES)


class Spectrogram:
    """An open file of spectra: what it says of itself, and any block of its frames.

    shape      : (channels, n_bins, n_frames)
    dtype      : "complex64" or "complex128"; of magnitudes "float32" or "float64"
    chunk      : frames that lie in one piece; 1 where that is not known
    parameters : of a spectrogram file; None of plain arrays
    """

    def __init__(
        self, path: Path, key: str | None = None, frames_first: bool = False, magnitudes: bool = False
    ) -> None:
        """`magnitudes`: whether it may hold such as well as a spectrum."""
        if not is_zarr(path) or not path.is_dir():
            check_input(path)
        self.path, self.parameters = path, None
        with ExitStack() as stack:
            array, attributes = _array_and_attributes(stack, path, key, magnitudes)
            values = "spectrum" if attributes is None else _as_python(attributes.get("values", "spectrum"))
            if not magnitudes and values in VALUES[1:]:
                raise Failure(Exit.MISFIT, f"{path}: holds {values}, without phases: xp-istft griffinlim finds some")
            self._stored = _laid_out(array, path, frames_first, magnitudes)
            if isinstance(array, h5py.Dataset) and _is_our_layout(array) and not frames_first:
                self._stored = WholeChunks(array)
            self.chunk, self.dtype = self._stored.chunk, self._stored.dtype.name
            *leading, n_bins, n_frames = self._stored.shape
            self.shape = (math.prod(leading), n_bins, n_frames)
            if attributes is not None:
                with foreign(f"{path}: the attributes cannot be read"):
                    self.parameters = Parameters.of(path, attributes, n_bins, n_frames)
            self._open = stack.pop_all()

    def read(self, first: int, last: int) -> np.ndarray:
        """Frames [first, last), (channels, n_bins, last - first)."""
        with foreign(f"{self.path}: frames {first:,} to {last:,} cannot be read"):
            return self._stored.read(first, last).reshape(*self.shape[:2], last - first)

    def __enter__(self) -> Spectrogram:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()


def _array_and_attributes(
    stack: ExitStack, path: Path, key: str | None, magnitudes: bool
) -> tuple[Any, Mapping[str, Any] | None]:
    """The array of a file, and what a spectrogram file says of itself: None of a plain array."""
    if key is None and is_zarr(path):
        array, attributes = open_zarr(path)
        return array, attributes if "kind" in attributes else None
    if key is None and h5py.is_hdf5(path):
        dataset = _opened(stack, path)
        return dataset, dataset.attrs
    found = attributes_of_npz(path) if key is None else None
    return load_array(path, key if found is None else "spectrum", not magnitudes), found


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
        plist = dataset.id.get_create_plist()
        filters = {plist.get_filter(place)[0] for place in range(plist.get_nfilters())}
        if filters - {h5py.h5z.FILTER_FLETCHER32}:  # they may be missing, and what they make has no bound
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


def _laid_out(array: Any, path: Path, frames_first: bool, magnitudes: bool) -> Stored:
    """The spectrum (..., bins, frames), with at most one axis before them that has more than one element."""
    shape = tuple(array.shape or ())
    need, sizes = None, {"f": (2, 4, 8), "c": (8, 16)}
    if magnitudes and array.dtype.itemsize not in sizes.get(array.dtype.kind, ()):
        need = "real magnitudes (bins, frames) or (channels, bins, frames) in floating point"
    elif not magnitudes and (array.dtype.kind != "c" or array.dtype.itemsize not in sizes["c"]):
        need = "complex64 or complex128 (..., bins, frames)"
    elif len(shape) < 2 or 0 in shape:
        need = "an array (..., bins, frames)"
    elif sum(size > 1 for size in shape[:-2]) > 1:
        need = "one array (bins, frames) or (channels, bins, frames)"
    if need is not None:
        raise Failure(Exit.MISFIT, f"{path}: need {need}, got {array.dtype} of shape {shape}")
    last = len(shape) - 1
    return Stored(array, (*range(last - 1), *((last, last - 1) if frames_first else (last - 1, last))))
