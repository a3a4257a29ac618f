"""One function of a peer and what stands in its place; where it is found, and how it is put back."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from threading import Lock
from typing import Any

import numpy as np

TAKEN = "taken"

_calls: defaultdict[str, Counter[str]] = defaultdict(Counter)  # {function: {how calls ended: how many}}
_counting = Lock()


class Report(dict[str, dict[str, int]]):
    """Calls per function: {function: {"taken": count, reason of handing over: count, ...}}."""

    def __str__(self) -> str:
        lines = []
        for function, calls in self.items():
            others = "".join(f"; {n} handed over: {why}" for why, n in calls.items() if why != TAKEN)
            lines.append(f"{function}: {calls.get(TAKEN, 0)} taken{others}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Problem:
    """What a function is timed with.

    Attributes
    ----------
    of : (n_fft, items, frames of each, whether a gradient follows) to what calls the function that it is given
    cases : whether a gradient follows, and whether there are several threads
    """

    of: Callable[[int, int, int, bool], Callable[[Callable[..., Any]], Any]]
    cases: tuple[tuple[bool, bool], ...] = ((False, False),)


def noise(n_fft: int, items: int, frames: int) -> np.ndarray:
    """A signal (items, n_samples) of float32 for a Problem of NumPy's, with a quarter of a frame for a hop."""
    n_samples = n_fft // 4 * (frames - 1) + n_fft
    return np.random.default_rng(0).standard_normal((items, n_samples)).astype(np.float32)


class Replacement:
    """A function of a peer, and what is called in its place.

    Parameters
    ----------
    name : of the function, with its library
    holder : the module or class that has it
    ours : takes its arguments
    refusal : of the arguments of a call, why the original is called, or None
    problem : to find out from which sizes on ours is faster
    """

    def __init__(
        self,
        name: str,
        holder: Any,
        ours: Callable[..., Any],
        refusal: Callable[..., str | None],
        problem: Problem,
    ) -> None:
        self.problem = problem
        self.name, self.holder, self.attribute = name, holder, name.rpartition(".")[2]
        self.original = vars(holder)[self.attribute]
        self.on = False  # a wrapper that somebody keeps passes every call on when this is off
        self.wrapper = self._wrapper(self.original, ours, refusal)
        self.places: list[tuple[dict[str, Any], str]] = []

    def _wrapper(
        self,
        original: Callable[..., Any],
        ours: Callable[..., Any],
        refusal: Callable[..., str | None],
    ) -> Callable[..., Any]:
        name = self.name

        @wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            if not self.on:
                return original(*arguments, **options)
            try:
                reason = refusal(*arguments, **options)
            except Exception:  # arguments that the function does not have, or that no call survives
                reason = "arguments"
            if reason is None:
                try:
                    result = ours(*arguments, **options)
                except Exception as cause:
                    reason = type(cause).__name__
                else:
                    _count(name, TAKEN)
                    return result
            _count(name, reason)
            return original(*arguments, **options)

        return call

    def begin(self) -> None:
        """Calls of the wrapper are ours from now on; a method is replaced in its class."""
        self.on = True
        if isinstance(self.holder, type):
            setattr(self.holder, self.attribute, self.wrapper)

    def end(self) -> None:
        """Whoever keeps the wrapper calls the original from now on."""
        self.on = False
        if isinstance(self.holder, type) and vars(self.holder).get(self.attribute) is self.wrapper:
            setattr(self.holder, self.attribute, self.original)


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _counting
    _counting = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _count(function: str, end: str) -> None:
    with _counting:
        _calls[function][end] += 1


def report() -> Report:
    """How many calls ended how, since the program began."""
    with _counting:
        return Report(
            {function: dict(sorted(_calls[function].items(), key=_taken_first)) for function in sorted(_calls)}
        )


def _taken_first(entry: tuple[str, int]) -> tuple[bool, str]:
    return entry[0] != TAKEN, entry[0]


def put(replacements: Iterable[Replacement], reached: Callable[[str], bool]) -> None:
    """Have the wrappers wherever the originals are, in modules whose names are `reached`."""
    wrappers = {id(each.original): each for each in replacements}
    for each in wrappers.values():
        each.begin()
    for module, names in _loaded():
        if reached(module):
            for name, value in list(names.items()):
                found = wrappers.get(id(value))
                if found is not None:
                    names[name] = found.wrapper
                    found.places.append((names, name))


def take_back(replacements: Iterable[Replacement]) -> None:
    """Have the originals wherever the wrappers are."""
    originals = {id(each.wrapper): each for each in replacements}
    for each in originals.values():
        each.end()
        for names, name in each.places:  # of modules that may have left sys.modules
            if names.get(name) is each.wrapper:
                names[name] = each.original
        each.places.clear()
    for _, names in _loaded():
        for name, value in list(names.items()):
            found = originals.get(id(value))
            if found is not None and value is found.wrapper:
                names[name] = found.original


def _loaded() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and namespaces of the modules that are loaded; lazy ones are not woken."""
    for module, loaded in list(sys.modules.items()):
        if not module.startswith(_PACKAGE):
            try:
                yield module, object.__getattribute__(loaded, "__dict__")
            except AttributeError:  # something else that was put into sys.modules
                continue


_PACKAGE = __name__.partition(".")[0]
