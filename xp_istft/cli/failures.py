"""What can go wrong on the command line: each failure is one line on stderr and one exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; 130 (Ctrl-C) and 143 (terminated) are the shell's own."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    MISFIT = 5
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODES = """\
Exit codes: 0 done, 1 unexpected error, 2 wrong usage, 3 an input is missing, empty, truncated or of a foreign kind,
4 an output exists already or cannot be written, 5 the parameters do not fit the data, 130 interrupted, 143 terminated.
Of several files each stands alone: the others are still done, and the exit code is that of the first failure."""


class Failure(Exception):  # noqa: N818  an error in the user's files, not in the program
    """A line for the user, and the exit code that goes with it."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Failure, which begins with `what`, for whatever a parser makes of foreign bytes."""
    try:
        yield
    except (Failure, MemoryError):
        raise
    except Exception as cause:
        raise Failure(Exit.INPUT, f"{what}: {one_line(cause)[:120]}") from cause


def one_line(cause: object) -> str:
    return " ".join(str(cause).split())


def printable(text: str) -> str:
    r"""`text` with line breaks and control characters of file names spelled out: one line, which moves no cursor.

    >>> printable("a\nb\x1b[2J: é")
    'a\\nb\\x1b[2J: é'
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
