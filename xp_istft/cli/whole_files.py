"""Files that are there whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .failures import Exit, Failure

_PART = re.compile(r"\.(.*)\.[a-z0-9_]{8}\.part", re.DOTALL)  # as tempfile names them
_FOLDERS = {".zarr": "zarr.json"}  # what is known by which file in it
_STALE_SECONDS = 3600
_NAME_BYTES = 64


def check_apart(sources: Iterable[Path], targets: Iterable[Path]) -> None:
    """Failure where an output is an input, by whatever name: also one of another file."""
    inputs = {_identity(path): path for path in sources}
    inputs.pop(None, None)
    for path in targets:
        source = inputs.get(_identity(path))
        if source is not None:
            raise Failure(Exit.USAGE, f"{path}: is the input {source}")


def _identity(path: Path) -> tuple[int, int] | None:
    """What all names of a file have in common; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def check_target(path: Path, force: bool) -> None:
    """Failure where `path` cannot be written: no such folder, not a file, or there already and not `force`.

    A directory is one that `whole_folder` replaces only where it is of the kind that its name says.
    """
    kind = _FOLDERS.get(path.suffix)
    replaced = kind is not None and path.is_dir() and (path / kind).is_file()
    if path.is_symlink() and not path.exists():
        raise Failure(Exit.OUTPUT, f"{path}: is a link to {os.path.realpath(path)}, which is not there")
    if path.is_dir() and not replaced:
        raise Failure(Exit.OUTPUT, f"{path}: is a directory")
    if path.exists() and not path.is_file() and not replaced:
        raise Failure(Exit.OUTPUT, f"{path}: is not a regular file")
    if path.exists() and not force:
        raise Failure(Exit.OUTPUT, f"{path}: exists already; --force overwrites it")
    if not path.absolute().parent.is_dir():
        raise Failure(Exit.OUTPUT, f"{path}: there is no directory {path.absolute().parent}")


def check_space(path: Path, n_bytes: int) -> None:
    """Failure where the file system of `path` has less than n_bytes left."""
    free = shutil.disk_usage(path.absolute().parent).free
    if free < n_bytes:
        raise Failure(Exit.OUTPUT, f"{path}: needs {n_bytes:,} bytes, {free:,} are free")


@contextmanager
def whole_file(path: Path, force: bool = False, n_bytes: int = 0) -> Iterator[Path]:
    """A temporary file to write: it becomes `path` when the block ends well, and vanishes when it does not.

    n_bytes : that it will need, where this is known


    It lies in the same folder (a rename across file systems is a copy) and reaches the disk before it is renamed.
    """
    check_target(path, force)
    check_space(path, n_bytes)
    target = Path(os.path.realpath(path))  # the file behind a symbolic link, not the link
    temporary = None
    try:
        try:
            handle, name = tempfile.mkstemp(prefix=f".{_short(target.name)}.", suffix=".part", dir=target.parent)
            temporary = Path(name)
            os.close(handle)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(_mode(target))
            check_target(path, force)  # it may have come meanwhile
            temporary.replace(target)
        except OSError as cause:
            need = f"; it needs {n_bytes:,} bytes" if n_bytes else ""
            raise Failure(Exit.OUTPUT, f"{path}: cannot be written: {cause.strerror or cause}{need}") from cause
    except BaseException:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        raise


@contextmanager
def whole_folder(path: Path, force: bool = False, n_bytes: int = 0) -> Iterator[Path]:
    """As `whole_file`, a directory, whose name says its kind."""
    check_target(path, force)
    check_space(path, n_bytes)
    target = Path(os.path.realpath(path))
    temporary = None
    try:
        try:
            temporary = Path(tempfile.mkdtemp(prefix=f".{_short(target.name)}.", suffix=".part", dir=target.parent))
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            check_target(path, force)
            if target.is_dir():
                with tempfile.TemporaryDirectory(dir=target.parent, prefix=".", suffix=".part") as old:
                    target.replace(Path(old) / "old")
                    temporary.replace(target)
            else:
                temporary.replace(target)
        except OSError as cause:
            need = f"; it needs {n_bytes:,} bytes" if n_bytes else ""
            raise Failure(Exit.OUTPUT, f"{path}: cannot be written: {cause.strerror or cause}{need}") from cause
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_parts(paths: Iterable[Path], since: float) -> None:
    """Remove what processes that were killed since then (seconds since the epoch) have left of `paths`."""
    for part in _parts(paths):
        with suppress(OSError):
            if part.stat().st_mtime >= since:
                _remove(part)


def remove_stale_parts(paths: Iterable[Path]) -> None:
    """Remove what processes that were killed have left of `paths`: parts that nobody has written to for an hour.

    By the clock of the file system that they lie on. Who was only slow fails when the part becomes the file, aloud.
    """
    now: dict[Path, float] = {}
    for part in _parts(paths):
        with suppress(OSError):
            if part.parent not in now:
                with tempfile.TemporaryFile(dir=part.parent) as file:
                    now[part.parent] = os.fstat(file.fileno()).st_mtime
            if part.stat().st_mtime < now[part.parent] - _STALE_SECONDS:
                _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink()


def _parts(paths: Iterable[Path]) -> Iterator[Path]:
    """The temporary files of `paths`; each folder is read once."""
    folders: dict[Path, set[str]] = {}
    for path in paths:
        target = Path(os.path.realpath(path))
        folders.setdefault(target.parent, set()).add(_short(target.name))
    for folder, names in folders.items():
        with suppress(OSError):
            for file in os.listdir(folder):
                found = _PART.fullmatch(file)
                if found and found[1] in names:
                    yield folder / file


def _short(name: str) -> str:
    """The beginning of a name, in at most 64 bytes: file systems count these, and take 255."""
    while len(os.fsencode(name)) > _NAME_BYTES:
        name = name[:-1]
    return name


def stamp(source: Path) -> str:
    """Size and time of a file: another one has another, also where it is older."""
    found = source.stat()
    return f"{found.st_size} bytes, {found.st_mtime_ns} ns"


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those of any new file."""
    if target.exists():
        return target.stat().st_mode & 0o777
    return 0o666 & ~_umask()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
