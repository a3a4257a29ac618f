"""`-` and named pipes as files: what comes in is kept in a temporary file, and what goes out leaves when it is whole.

A spectrogram and a recording must know their lengths before they begin, and a pipe tells its length at its end.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import BinaryIO

from .failures import Exit, Failure

PIPE = "-"
_AT_ONCE = 1 << 20  # bytes
_OF_STDOUT = (PIPE, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_OF_STDIN = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


@dataclass(frozen=True)
class Ends:
    """The inputs and the output as files, and what the temporary ones among them are called where they are named."""

    sources: list[str]
    out: str
    to_stdout: bool = False
    names: dict[str, str] = field(default_factory=dict)

    def told(self, text: str) -> str:
        """A message in which the pipes have the names that the user gave them."""
        for path, name in self.names.items():
            text = text.replace(path, name)
        return text


@contextmanager
def as_files(sources: list[str], out: str, suffix: str) -> Iterator[Ends]:
    """Files in place of pipes; `suffix` is that of a file in place of standard output, which `sent` sends."""
    out = PIPE if out in _OF_STDOUT else out
    piped = [text for text in sources if _is_pipe(text)]
    if not piped and out != PIPE:
        yield Ends(sources, out)
        return
    if len(sources) > 1:
        need = "several inputs need a directory as the last argument" if out == PIPE else "a pipe is the only input"
        raise Failure(Exit.USAGE, f"{PIPE if out == PIPE else piped[0]}: {need}, got {len(sources)}")
    if out == PIPE and suffix == ".zarr":
        raise Failure(Exit.USAGE, "-: a .zarr is a directory, and no pipe holds one")
    if out == PIPE and sys.stdout is None:
        raise Failure(Exit.OUTPUT, "-: standard output is closed")
    if out == PIPE and sys.stdout.isatty():
        raise Failure(Exit.USAGE, "-: standard output is a terminal; name a file, or pipe it into one")
    names = {}
    with TemporaryDirectory(prefix="xp-istft-", ignore_cleanup_errors=True) as folder:
        if piped:
            place = os.path.join(folder, "stdin")
            _keep(piped[0], place)
            sources, names[place] = [place], piped[0]
        if out == PIPE:
            place = os.path.join(folder, f"stdout{suffix}")
            names[place] = PIPE
            yield Ends(sources, place, True, names)
        else:
            yield Ends(sources, out, False, names)


def sent(path: str) -> None:
    """Write a whole file to standard output; who closes it early has seen enough."""
    try:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, _AT_ONCE)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's last flush would say it
    except OSError as cause:
        need = f"{cause.strerror or cause}; it needs {os.path.getsize(path):,} bytes"
        raise Failure(Exit.OUTPUT, f"-: cannot be written: {need}") from cause


def _is_pipe(text: str) -> bool:
    if text == PIPE or text in _OF_STDIN:
        return True
    try:
        return stat.S_ISFIFO(os.stat(text).st_mode)
    except (OSError, ValueError):
        return False


def _keep(text: str, place: str) -> None:
    """Write all that a pipe brings to a file."""
    count = 0
    try:
        with _opened(text) as pipe, open(place, "wb") as file:
            while block := pipe.read(_AT_ONCE):
                count += file.write(block)
    except OSError as cause:
        free = shutil.disk_usage(os.path.dirname(place)).free
        where = f"{count:,} bytes are kept in {os.path.dirname(os.path.dirname(place))}, where {free:,} are free"
        raise Failure(Exit.OUTPUT, f"{text}: cannot be kept: {cause.strerror}: {where} (TMPDIR)") from cause
    if not count:
        raise Failure(Exit.INPUT, f"{text}: is empty")


@contextmanager
def _opened(text: str) -> Iterator[BinaryIO]:
    if text != PIPE and text not in _OF_STDIN:
        try:
            pipe = open(text, "rb")  # noqa: SIM115  its errors are those of the input alone
        except OSError as cause:
            raise Failure(Exit.INPUT, f"{text}: {cause.strerror}") from cause
        with pipe:
            yield pipe
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise Failure(Exit.USAGE, f"{text}: standard input is a terminal; pipe something into it, or name a file")
    yield sys.stdin.buffer
