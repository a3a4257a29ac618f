"""Which peers are patched, by whom, and those that are patched when they are imported."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

from ..arguments import boolean, error
from . import speeds
from .replacements import Replacement, put, take_back


@dataclass
class Peer:
    """A library whose functions are replaced.

    Attributes
    ----------
    name : of its package, and of the module here that says what is replaced
    awaited : the module that has all of that, once it is imported
    home : modules of its own in which names are replaced; None: all
    brings : peers that are patched with it
    """

    name: str
    awaited: str
    home: frozenset[str] | None = None
    brings: tuple[str, ...] = ()
    replacements: list[Replacement] | None = field(default=None, init=False)  # while it is patched

    def reaches(self, scan: bool, module: str) -> bool:
        if module.partition(".")[0] == self.name:
            return self.home is None or module in self.home
        return scan

    def arrive(self, scan: bool = True) -> None:
        """It is imported: patch it, if somebody wants it patched. scan : also names in modules of others"""
        with _lock:
            if self.replacements is None and _wanted(self.name):
                self.replacements = import_module(f".{self.name}", __package__).replacements()
                put(self.replacements, partial(self.reaches, scan))

    def leave(self) -> None:
        if self.replacements is not None:
            take_back(self.replacements)
            self.replacements = None


# Of torch's own modules, the two whose names people call: its compilers keep tables of its functions.
PEERS = {
    peer.name: peer
    for peer in (
        Peer("torch", "torch", frozenset({"torch", "torch.functional"})),
        Peer("librosa", "librosa.core.spectrum"),
        Peer("scipy", "scipy.signal"),
        Peer("torchaudio", "torchaudio", brings=("torch",)),
    )
}
_lock = RLock()
_for_good: set[str] = set()  # by patch()
_within: Counter[str] = Counter()  # by how many contexts


def _wanted(name: str) -> bool:
    """Whether somebody holds this peer, or one that brings it."""
    holders = (peer.name for peer in PEERS.values() if name == peer.name or name in peer.brings)
    return any(each in _for_good or _within[each] > 0 for each in holders)


def named(function: str, names: Sequence[Any]) -> list[str]:
    """Names of peers as they came; those of all that are installed, where none came."""
    for name in names:
        if not isinstance(name, str):
            raise error(TypeError, function, "names", "names of peers", repr(name))
        if name not in PEERS:
            raise error(ValueError, function, "names", " or ".join(map(repr, PEERS)), repr(name))
    return [str(name) for name in names] or [name for name in PEERS if _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):  # of a finder that fails, or a module without a spec
        return False


def hold(names: Sequence[Any], scan: Any, file: str | Path | None, for_good: bool) -> list[str]:
    """Patch peers, for good or until they are released; those that are held now."""
    function = "patch" if for_good else "patched"
    held = named(function, names)
    absent = [name for name in held if not _is_installed(name)]
    if absent:
        raise error(ValueError, function, "names", "peers that are installed", repr(absent[0]))
    scan = boolean(function, "scan", scan)
    if file is not None:
        speeds.take(function, file)
    here = [each for name in held for each in (*PEERS[name].brings, name) if PEERS[each].awaited in sys.modules]
    for name in here:  # another thread may be at it: wait outside of our lock
        import_module(PEERS[name].awaited)
    with _lock:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        for name in held:
            if for_good:
                _for_good.add(name)
            else:
                _within[name] += 1
        for name in here:
            PEERS[name].arrive(scan)
    return held


def release(names: Iterable[str], for_good: bool) -> None:
    """Undo what nobody holds any more."""
    with _lock:
        for name in names:
            if for_good:
                _for_good.discard(name)
            else:
                _within[name] -= 1
        for name, peer in PEERS.items():
            if not _wanted(name):
                peer.leave()
        if not any(map(_wanted, PEERS)) and _finder in sys.meta_path:
            sys.meta_path.remove(_finder)


class _Finder:
    """Finds nothing itself: has peers patched when they have been imported."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        for peer in PEERS.values():
            if name == peer.awaited and _wanted(peer.name):
                return self._then_patched(peer, name, path, target)
        return None

    def _then_patched(self, peer: Peer, name: str, path: Any, target: ModuleType | None) -> ModuleSpec | None:
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def then_patched(module: ModuleType) -> None:
            execute(module)
            peer.arrive()

        spec.loader.exec_module = then_patched  # type: ignore[method-assign]
        return spec


_finder: Any = _Finder()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
