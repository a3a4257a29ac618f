"""From which sizes on ours are faster than the peers': a table that a benchmark makes, here or on the user's machine.

A row is (function, whether a gradient follows, whether there are several threads, bits): n_fft from 2**(bits - 1) + 1
to 2**bits. Its value is a number of samples: of all frames together for torch, of the signal or of twice the bins for
others. Where there is no row ours was not faster at any size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ..arguments import error

Key = tuple[str, bool, bool, int]
BITS = range(3, 15)
_TABLE = Path(__file__).with_name("speeds.json")
_own: dict[Key, float] = {}  # of this machine
_taking: list[None] = []  # while something is measured


def least(function: str, followed: bool, threads: int, n_fft: int) -> float:
    """Samples from which on ours are faster."""
    bits = min(max((n_fft - 1).bit_length(), BITS[0]), BITS[-1])
    key = function, followed, threads > 1, bits
    if _taking:
        return 0
    return _own[key] if key in _own else _packaged().get(key, math.inf)


def never(function: str, followed: bool) -> bool:
    """Whether ours are faster at no size, which is found sooner than `least`."""
    return not _taking and _never(function, followed)


@cache
def _never(function: str, followed: bool) -> bool:
    rows = {**_packaged(), **_own}.items()
    return all(math.isinf(value) for (name, gradient, *_), value in rows if (name, gradient) == (function, followed))


@cache
def _packaged() -> dict[Key, float]:
    return _read(_TABLE)


def take(function: str, file: Any) -> None:
    """Have a table of `measure` go before the one that comes with the package."""
    try:
        rows = _read(Path(file))
    except (OSError, TypeError, ValueError) as cause:
        raise error(ValueError, function, "speeds", "a file that measure wrote", repr(file), str(cause)) from cause
    _own.clear()
    _own.update(rows)
    _never.cache_clear()


@contextmanager
def all_taken() -> Iterator[None]:
    """No size is too small."""
    _taking.append(None)
    try:
        yield
    finally:
        _taking.pop()


def _read(path: Path) -> dict[Key, float]:
    rows = json.loads(path.read_text(encoding="utf-8"))["least"]
    return {
        (str(name), bool(followed), bool(many), int(bits)): math.inf if value is None else float(value)
        for name, followed, many, bits, value in rows
    }


def write(path: Path, rows: dict[Key, float], machine: str) -> None:
    """A file that `take` reads."""
    listed = [[*key, None if math.isinf(value) else int(value)] for key, value in sorted(rows.items())]
    lines = ",\n".join(f"    {json.dumps(row)}" for row in listed)
    path.write_text(f'{{\n  "machine": {json.dumps(machine)},\n  "least": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
