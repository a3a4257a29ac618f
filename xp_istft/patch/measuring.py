"""The races that find from which sizes on ours are faster: both functions in turn, as programs call them."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from ..arguments import error, positive
from . import peers, speeds
from .replacements import Replacement

_OTHER_SIZES = {5: 20, 6: 60, 9: 400, 10: 960}  # that people use, beside powers of two
_SAMPLES = tuple(1 << bits for bits in range(20, 10, -2))  # of all frames together
_MOST_FRAMES = 8192  # scipy takes some 10 us for each
_BATCHES = (1, 8)
_SAMPLE_SECONDS = 1e-3
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 25
_SLOW_SECONDS = 0.05  # of the peer's call: then one round will do
_MARGIN = 0.97  # of the peer's time: ours take less


def measure(names: list[str], file: Any, minutes: Any) -> None:
    path, seconds = _path(file), 60 * positive("measure", "minutes", minutes)
    for name in names:
        import_module(peers.PEERS[name].awaited)
    held = peers.hold(names, False, None, for_good=False)
    try:
        found = [each for name in names for each in peers.PEERS[name].replacements or ()]
        keys = [(each, *case, bits) for each in found for case in each.problem.cases for bits in speeds.BITS]
        rows = {}
        with speeds.all_taken():
            for each, followed, many, bits in keys:
                with nullcontext() if many else _one_thread():
                    rows[each.name, followed, many, bits] = _least(each, followed, bits, seconds / len(keys))
    finally:
        peers.release(held, for_good=False)
    speeds.write(path, rows, f"{platform.processor() or platform.machine()}, {platform.system()}")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Of torch, which has a case of its own for it."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _path(file: Any) -> Path:
    try:
        path = Path(file)
    except TypeError:
        raise error(TypeError, "measure", "file", "a path", repr(file)) from None
    if not path.parent.is_dir():
        raise error(ValueError, "measure", "file", "a path in a folder that exists", repr(file))
    return path


def _least(replacement: Replacement, followed: bool, bits: int, seconds: float) -> float:
    """The fewest samples from which on ours were faster in all problems."""
    sizes = [1 << bits, *([_OTHER_SIZES[bits]] if bits in _OTHER_SIZES else [])]
    share = seconds / (len(sizes) * len(_BATCHES) * len(_SAMPLES))
    found = math.inf
    for samples in _SAMPLES:
        for n_fft, items in product(sizes, _BATCHES):
            frames = max(4, min(samples // n_fft, _MOST_FRAMES) // items)
            run = replacement.problem.of(n_fft, items, frames, followed)
            if _ratio(partial(run, replacement.wrapper), partial(run, replacement.original), share) > _MARGIN:
                return found
        found = samples
    return found


def _ratio(ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float) -> float:
    """Median over rounds of the time of ours divided by theirs in the same round."""
    start = time.perf_counter()
    one = _time(theirs, 1)
    count = max(1, int(_SAMPLE_SECONDS / one))
    rounds = _FEWEST_ROUNDS if one < _SLOW_SECONDS else 1
    ratios: list[float] = []
    while len(ratios) < rounds or (len(ratios) < _MOST_ROUNDS and time.perf_counter() - start < seconds):
        ratios.append(_time(ours, count) / _time(theirs, count))
    return median(ratios)


def _time(run: Callable[[], Any], count: int) -> float:
    """Seconds of a call that follows another like it."""
    run()
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count
