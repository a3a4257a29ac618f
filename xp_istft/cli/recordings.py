"""Recordings, block by block: (channels, samples) in -1..1, in any format of libsndfile.

Integer formats are rounded here: libsndfile truncates, so that 0.99999 of a step would come back as the step below.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile

from ..arguments import warn
from ..tuning import tuning
from .failures import Exit, Failure

MOST_HERTZ = "2**31 - 1", (1 << 31) - 1  # that a header counts
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"} | {".aif", ".oga", ".opus"}
_UNBOUNDED = ("VORBIS", "OPUS", "MPEG")  # coders of numbers beyond full scale, too
_LOUDEST = 2.0  # that is left of an infinity there
_UNSAID = 0xFFFFF000  # data sizes from here on, and 2 GiB - 4 KiB to 2 GiB, are what programs write into a pipe


def check_input(path: Path) -> None:
    """Failure where there is nothing to read."""
    if not path.exists():
        raise Failure(Exit.INPUT, f"{path}: no such file")
    if path.is_dir():
        raise Failure(Exit.INPUT, f"{path}: is a directory")
    if not path.is_file():
        raise Failure(Exit.INPUT, f"{path}: is not a regular file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as cause:
        raise Failure(Exit.INPUT, f"{path}: {cause.strerror}") from cause
    if empty:
        raise Failure(Exit.INPUT, f"{path}: is empty")


@dataclass(frozen=True)
class Raw:
    """How samples without a header lie there: a subtype of libsndfile, Hz, channels, and the order of bytes."""

    subtype: str
    sample_rate: int
    channels: int
    big_endian: bool = False

    @classmethod
    def taken(cls, options: dict[str, Any]) -> Raw | None:
        """What the options say, which are taken out of them; Failure where one does nothing, or is missing."""
        names = {"sr": "--sr", "channels": "--channels", "big_endian": "--big-endian"}
        subtype, given = options.pop("raw", None), {name: options.pop(name) for name in names if name in options}
        if subtype is None:
            for name in given:
                raise Failure(Exit.USAGE, f"{names[name]}: is for samples without a header: need --raw")
            return None
        if not soundfile.check_format("RAW", subtype):
            known = ", ".join(soundfile.available_subtypes("RAW"))
            raise Failure(Exit.USAGE, f"--raw: need one of {known}, got {subtype}")
        if "sr" not in given:
            raise Failure(Exit.USAGE, "--raw: samples without a header say no sampling rate: need --sr")
        return cls(subtype, given["sr"], given.get("channels", 1), given.get("big_endian", False))

    def layout(self) -> dict[str, Any]:
        endian = "BIG" if self.big_endian else "LITTLE"
        return {"samplerate": self.sample_rate, "channels": self.channels, "subtype": self.subtype,
                "endian": endian, "format": "RAW"}  # fmt: skip


class Recording:
    """An open recording: its format, and any part of it.

    sample_rate, channels, n_samples : of the recording
    subtype, format                  : soundfile's names
    comment                          : text that the file carries, or ""
    dtype                            : "float32" or "float64"; by default the smaller one that holds its samples
    """

    def __init__(self, path: Path, dtype: str | None = None, raw: Raw | None = None) -> None:
        check_input(path)
        self.path = path
        try:
            self._file = soundfile.SoundFile(_any_name(path), **({} if raw is None else raw.layout()))
        except soundfile.SoundFileError as cause:
            text = str(getattr(cause, "error_string", cause)).rstrip(".")
            raise Failure(Exit.INPUT, f"{path}: is no recording that can be read: {text}") from cause
        self.sample_rate, self.channels = self._file.samplerate, self._file.channels
        self.subtype, self.format = self._file.subtype, self._file.format
        self.n_samples = self._file.frames
        self.comment = self._file.comment
        self.dtype = dtype or ("float64" if self.subtype in ("DOUBLE", "PCM_32") else "float32")
        self._block, self._lo = np.zeros((self.channels, 0), self.dtype), 0  # the last samples that were read
        claimed = _claimed_and_there(self._file.extra_info)
        if claimed is not None:
            self._file.close()
            raise Failure(Exit.INPUT, f"{path}: truncated: {claimed[0]:,} bytes of samples, {claimed[1]:,} are there")
        if self.n_samples >= 1 << 48:
            self._file.close()
            raise Failure(Exit.INPUT, f"{path}: says no length, as {self.format} in a pipe may not; WAV may be piped")
        if self.n_samples < 1:
            self._file.close()
            raise Failure(Exit.INPUT, f"{path}: holds no samples")

    def read(self, lo: int, hi: int) -> np.ndarray:
        """Samples [lo, hi), (channels, hi - lo). Forward reading never seeks, even where parts overlap."""
        known = min(self._lo + self._block.shape[1], hi)
        if not self._lo <= lo <= known:
            self._seek(lo)
            known = lo
        signal = np.empty((self.channels, hi - lo), self.dtype)
        signal[:, : known - lo] = self._block[:, lo - self._lo : known - self._lo]
        if known < hi:
            signal[:, known - lo :] = self._next(known, hi).T
            self._block, self._lo = signal, lo
        return signal

    def _seek(self, lo: int) -> None:
        try:
            self._file.seek(lo)
        except soundfile.SoundFileError as cause:
            raise Failure(Exit.INPUT, f"{self.path}: cannot be read at sample {lo:,}: {cause}") from cause
        self._block, self._lo = self._block[:, :0], lo

    def _next(self, lo: int, hi: int) -> np.ndarray:
        try:
            block = self._file.read(hi - lo, self.dtype, always_2d=True)
        except soundfile.SoundFileError as cause:
            text = str(getattr(cause, "error_string", cause)) or "the decoder stops"
            raise Failure(Exit.INPUT, f"{self.path}: truncated or damaged after sample {lo:,}: {text}") from cause
        if len(block) < hi - lo:
            raise Failure(Exit.INPUT, f"{self.path}: truncated: ends after {lo + len(block):,} of {self.n_samples:,}")
        return block

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class NewRecording:
    """A recording to write block by block; `target` is the name that the user knows, for errors and the format.

    What it cannot hold as it is, it warns of when it is complete.
    """

    def __init__(
        self,
        path: Path,
        target: Path,
        sample_rate: int,
        channels: int,
        subtype: str,
        n_samples: int,
        comment: str = "",
    ) -> None:
        self.target, self.subtype = target, subtype
        self._clipped = self._unknown = 0  # samples
        name = audio_format(target)
        if name == "WAV" and n_samples * channels * _BITS.get(subtype, 64) // 8 > tuning().wav_bytes:
            name = "RF64"  # the same with sizes of 64 bits
        try:
            self._file = soundfile.SoundFile(_any_name(path), "w", sample_rate, channels, subtype, format=name)
        except (soundfile.SoundFileError, OverflowError) as cause:
            text = str(getattr(cause, "error_string", cause)).rstrip(".")
            what = f"{name} {subtype} with {channels} channels at {sample_rate} Hz"
            raise Failure(Exit.OUTPUT, f"{target}: cannot be written as {what}: {text}") from cause
        if comment and name in ("WAV", "RF64"):  # others may have no place for it
            self._file.comment = comment

    def write(self, signal: np.ndarray) -> None:
        """Append (channels, samples)."""
        try:
            self._file.write(self._held(signal).T)
        except (soundfile.SoundFileError, AssertionError) as cause:  # soundfile asserts that all was written
            text = str(getattr(cause, "error_string", cause)) or "the disk may be full"
            raise Failure(Exit.OUTPUT, f"{self.target}: cannot be written: {text}") from cause

    def _held(self, signal: np.ndarray) -> np.ndarray:
        """The signal as the subtype takes it: libsndfile reads beyond its tables where a sample is none."""
        unknown = signal.size - int(np.count_nonzero(np.isfinite(signal)))
        self._unknown += unknown
        if self.subtype in ("FLOAT", "DOUBLE"):
            return signal
        bits = _BITS.get(self.subtype)
        if unknown and bits is None:
            signal = np.nan_to_num(signal, nan=0.0)
        if bits is None and self.subtype.startswith(_UNBOUNDED):
            return signal if not unknown else np.clip(signal, -_LOUDEST, _LOUDEST)
        self._clipped += int(np.count_nonzero(np.abs(signal) > 1 + 2.0 ** -(bits or 16)))
        return np.clip(signal, -1, 1) if bits is None else _steps(signal, bits)

    def __enter__(self) -> NewRecording:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if kind is None and self._clipped:
            warn(f"{self.target}: {self._clipped:,} samples are beyond full scale, and are cut to it", UserWarning)
        if kind is None and self._unknown:
            warn(f"{self.target}: {self._unknown:,} samples are no finite numbers", UserWarning)


def _any_name(path: Path) -> Any:
    """As soundfile takes a name whose bytes are no text."""
    return os.fsencode(path) if os.name == "posix" else path


def audio_format(target: Path) -> str:
    """Name that soundfile has for the format that a file name asks for."""
    name = target.suffix[1:].upper()
    name = {"AIF": "AIFF", "WAVE": "WAV", "OGA": "OGG"}.get(name, name)
    if name not in soundfile.available_formats():
        known = ".wav .flac .ogg .aiff ..."
        raise Failure(Exit.USAGE, f"{target}: need a name that ends in a format of recordings ({known})")
    return name


def audio_subtype(target: Path, asked: str | None, wished: str | None) -> str:
    """The subtype to write: `asked` (an error where the format has none such), or `wished` where it has, or its own."""
    name = audio_format(target)
    if asked is not None:
        if not soundfile.check_format(name, asked):
            known = ", ".join(soundfile.available_subtypes(name))
            raise Failure(Exit.USAGE, f"{target}: subtype: need one of {known}, got {asked}")
        return asked
    if name == "RAW" and wished is None:
        raise Failure(Exit.USAGE, f"{target}: samples without a header say nothing of themselves: need --subtype")
    if wished is not None and soundfile.check_format(name, wished):
        return wished
    return "FLOAT" if soundfile.check_format(name, "FLOAT") else str(soundfile.default_subtype(name))


def _steps(signal: np.ndarray, bits: int) -> np.ndarray:
    """Samples in -1..1 as the nearest of 2**bits steps, in the upper bits of int32; NaN becomes 0."""
    top = 1 << (bits - 1)
    steps = np.rint(signal * np.float64(top)) if bits > 24 else np.rint(signal * signal.dtype.type(top))
    steps = np.clip(np.nan_to_num(steps, nan=0.0, posinf=top, neginf=-top).astype(np.float64), -top, top - 1)
    return np.ascontiguousarray(steps.astype(np.int32) << (32 - bits))


def _claimed_and_there(log: str) -> tuple[int, int] | None:
    """How many bytes of samples a header speaks of, and how many there are, where these are fewer."""
    for name, claimed, there in re.findall(r"^\s*(\S[^:]*?)\s*: (\d+) \(should be (\d+)\)", log, re.MULTILINE):
        size = int(claimed)
        piped = size >= _UNSAID or 0x7FFFF000 <= size <= 0x80000000
        if name in ("data", "SSND", "Data Size", "riff") and size > int(there) and not piped:
            return size, int(there)
    return None
