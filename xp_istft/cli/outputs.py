"""What both ways share: whether a file is there already, how a recording is written, and what is said of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..transform import STFT, array_size
from .failures import Exit, Failure
from .reading import resampled, resampled_length
from .recordings import NewRecording
from .spectrogram_files import plain
from .whole_files import check_target, whole_file

THERE = "there already"
OF_SOUND = ("sample_rate", "channels", "n_samples", "subtype", "comment")

Advance = Callable[[Iterable[Any], int], Iterator[Any]]


def unseen(blocks: Iterable[Any], total: int) -> Iterator[Any]:
    return iter(blocks)


class Sound(NamedTuple):
    """What a recording says of itself: `OF_SOUND`."""

    sample_rate: int
    channels: int
    n_samples: int
    subtype: str
    comment: str

    def at(self, rate: int | None) -> Sound:
        """The same, resampled."""
        if rate in (None, self.sample_rate):
            return self
        length = resampled_length(self.n_samples, self.sample_rate, int(rate or 0))
        return self._replace(sample_rate=int(rate or 0), n_samples=length)


def written(target: Path, force: bool, blocks: Iterator[np.ndarray], sound: Sound, rate: int | None) -> str:
    """Write a recording of blocks (channels, any) at `rate`, of what `sound` says; a line that says what it is."""
    made = sound.at(rate)
    if made is not sound:
        blocks = resampled(blocks, sound.n_samples, sound.sample_rate, made.sample_rate)
    with (
        whole_file(target, force) as temporary,
        NewRecording(
            temporary, target, made.sample_rate, made.channels, made.subtype, made.n_samples, made.comment
        ) as recording,
    ):
        for signal in blocks:
            recording.write(signal)
    return recording_line(made.subtype, made.channels, made.sample_rate, made.n_samples)


def in_channels(signal: np.ndarray) -> np.ndarray:
    """Complex signals (channels, samples) as pairs of channels, I and Q."""
    return np.stack([signal.real, signal.imag], axis=1).reshape(-1, signal.shape[-1])


def n_fft_of(n_bins: int, options: dict[str, Any]) -> int:
    """What the bins say of the size of a frame; of odd sizes only the samples of a window can tell."""
    size = array_size(options.get("window"))
    if not options.get("onesided", True):
        return n_bins
    return size if size is not None and size // 2 + 1 == n_bins else 2 * (n_bins - 1)


def is_done(target: Path, force: bool, resume: bool, same: Callable[[], bool]) -> bool:
    """Whether a former run has made `target`, and of this source; Failure where it cannot be written."""
    if not (resume and target.exists()) or force:
        check_target(target, force)
        return False
    if same():
        return True
    why = "it was made with other options, by other means or of another source"
    raise Failure(Exit.OUTPUT, f"{target}: exists already, and {why}; --force overwrites it")


def contents(kind: Callable[[Path], Any], path: Path, *names: str) -> tuple[Any, ...]:
    """What a file says of itself; nothing, where it is no such file."""
    try:
        with kind(path) as there:
            return tuple(getattr(there, name) for name in names)
    except Failure:
        return ()


def made_with(transform: STFT, *others: Any) -> str:
    """A line that differs where any option does: what a second run knows a finished recording by."""
    text = json.dumps([plain(transform), transform.onesided, transform.max_gain, *others], sort_keys=True)
    return f"xp-istft {hashlib.sha256(text.encode()).hexdigest()[:32]}"


def recording_line(subtype: str, channels: int, sample_rate: int, n_samples: int) -> str:
    return f"{subtype}, {channel_count(channels)}, {sample_rate} Hz, {duration(n_samples, sample_rate)}"


def channel_count(count: int) -> str:
    return f"{count} channel{'s' if count > 1 else ''}"


def duration(n_samples: int, sample_rate: int) -> str:
    minutes, seconds = divmod(n_samples / sample_rate, 60)
    return f"{int(minutes)}:{seconds:06.3f} min" if minutes else f"{seconds:.3f} s"
