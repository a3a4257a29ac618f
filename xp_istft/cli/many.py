"""Many files: which they are, where each goes, and who does them: this process, others, or the workers of a cluster."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..settings import most_workers
from .array_files import is_zarr
from .failures import Exit, Failure, one_line
from .whole_files import remove_parts

Work = Callable[[Path, Path], str]

ANSWER_SECONDS = 10  # within which a scheduler must answer, and have a worker, whenever it is asked


class Cluster(NamedTuple):
    """A Dask scheduler, and the files of TLS (as distributed.Security names them) with which it is met, if any."""

    address: str
    tls: dict[str, str]


class Outcome(NamedTuple):
    """What became of one file: the line that says so, its warnings, and its exit code."""

    said: str
    warnings: tuple[str, ...]
    code: int


def pairs(paths: tuple[str, ...], out: str, suffix: str, suffixes: set[str]) -> tuple[list[tuple[Path, Path]], bool]:
    """Each input with its output, and whether several were asked for.

    paths    : files, patterns, and directories, of which all files with one of `suffixes` are meant, at any depth
    suffix   : of the outputs, where `out` is a directory: there they lie as the inputs do in theirs
    """
    found = [each for text in paths for each in _found(text, suffixes)]
    several = len(found) > 1 or found[0][0] != Path(paths[0])
    folder = Path(out)
    if not several and not ((folder.is_dir() and folder.suffix != ".zarr") or out.endswith("/")):
        return [(found[0][0], folder)], False
    if folder.suffix == ".zarr" or (not folder.is_dir() and (folder.exists() or folder.suffix == suffix)):
        raise Failure(Exit.USAGE, f"{out}: several inputs need a directory as the last argument")
    made = [(source, folder / place.with_suffix(suffix)) for source, place in found]
    sources: dict[Path, Path] = {}
    for source, target in made:
        if sources.setdefault(target, source) is not source:
            raise Failure(Exit.USAGE, f"{target}: several inputs would go there; rename them, or use two directories")
    try:
        for parent in {target.parent for target in sources}:
            parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise Failure(Exit.OUTPUT, f"{out}: cannot be made: {cause.strerror}") from cause
    return made, several


def _found(text: str, suffixes: set[str]) -> list[tuple[Path, Path]]:
    """The files that one argument names, each with its place in the output directory."""
    path = Path(text)
    if path.is_dir() and not is_zarr(path):
        files = _seen(path, "**/*")
        files = [file for file in files if file.suffix.lower() in suffixes]
        if not files:
            raise Failure(Exit.INPUT, f"{path}: is a directory without files {' '.join(sorted(suffixes)[:6])} ...")
        return [(file, file.relative_to(path)) for file in files]
    plain = next((i for i, part in enumerate(path.parts) if any(sign in part for sign in "*?[")), None)
    if plain is None or path.exists():
        return [(path, Path(path.name))]
    root = Path(*path.parts[:plain])
    files = _seen(root, str(Path(*path.parts[plain:])))
    if not files:
        raise Failure(Exit.INPUT, f"{path}: no such file")
    return [(file, file.relative_to(root)) for file in files]


def _seen(root: Path, pattern: str) -> list[Path]:
    """The files of a pattern, in order, without hidden ones."""
    files = [file for file in root.glob(pattern) if file.is_file() or file.suffix == ".zarr"]
    arrays = {file for file in files if file.suffix == ".zarr"}
    files = [file for file in files if arrays.isdisjoint(file.parents)]  # what lies in a .zarr is part of it
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(root).parts))


def attempted(work: Work, source: Path, target: Path) -> Outcome:
    """work(source, target), and what it warned of or failed by; runs on workers, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            said, code = work(source, target), Exit.DONE
        except Failure as cause:
            said, code = str(cause), cause.code
        except (ValueError, TypeError) as cause:  # the library names the parameter, what was needed and what came
            said, code = f"{source}: {one_line(cause)}", Exit.MISFIT
        except MemoryError as cause:
            said, code = f"{source}: out of memory: {one_line(cause)}", Exit.UNEXPECTED
    return Outcome(said, tuple(one_line(each.message) for each in caught), int(code))


def by_workers(
    made: list[tuple[Path, Path]], work: Work, cluster: Cluster | None, workers: int
) -> Iterator[tuple[int, Outcome]]:
    """(number of the pair, its outcome), as they are done by processes of our own, or by the workers of a cluster.

    A file that was not done because a worker died is begun again, at last alone; what fails even so is a failure.
    """
    began, left = time.time(), list(range(len(made)))
    rounds = 3 if cluster is None else 1  # a dead process ends the pool, a scheduler has others try by itself
    try:
        for alone in (*[False] * rounds, True):
            for group in [[number] for number in left] if alone else [list(left)]:
                with _executor(cluster, min(workers, most_workers(), len(group) or 1)) as (pool, is_there):
                    futures: dict[Future[Outcome], int] = {}
                    with suppress(BrokenExecutor):  # it may break before all are handed over
                        for number in group:
                            source, target = made[number]
                            futures[pool.submit(attempted, work, source.absolute(), target.absolute())] = number
                    for future in _as_they_end(futures, is_there):
                        number, cause = futures[future], _failure(future)
                        if cause is None:
                            left.remove(number)
                            yield number, future.result()
                        elif alone:
                            said = f"{made[number][0]}: {type(cause).__name__}: {one_line(cause)}"
                            yield number, Outcome(said, (), Exit.UNEXPECTED)
    finally:
        if cluster is None:
            remove_parts((target for _, target in made), began)


def _as_they_end(futures: Iterable[Future[Outcome]], check: Callable[[], None]) -> Iterator[Future[Outcome]]:
    """The futures as they are done; where none is for long, `check` looks whether somebody still works on them."""
    left = set(futures)
    while left:
        done, left = wait(left, ANSWER_SECONDS, FIRST_COMPLETED)
        yield from done
        if not done:
            check()


def _failure(future: Future[Outcome]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as cause:  # by a scheduler that is gone
        return cause


@contextmanager
def _executor(cluster: Cluster | None, workers: int) -> Iterator[tuple[Executor, Callable[[], None]]]:
    """Processes of our own, which do not outlive the block, or the workers of a scheduler; and what checks on them.

    Processes talk through pipes that no other process can open; a port, even of this machine alone, all users can.
    """
    if cluster is None:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            try:
                yield pool, lambda: None  # a pool says by itself that a process is gone
            except BaseException:  # interrupted: nobody waits for what is half done
                pool.shutdown(wait=False, cancel_futures=True)
                processes = multiprocessing.active_children()
                for process in processes:
                    process.terminate()
                for process in processes:
                    process.join()
                raise
        return
    try:
        from distributed import Client, Security
    except ModuleNotFoundError as cause:
        raise Failure(Exit.USAGE, "--scheduler needs Dask: pip install 'xp-istft[distributed]'") from cause
    options: dict[str, Any] = {}
    if cluster.tls:
        options["security"] = Security(require_encryption=True, **cluster.tls)
    try:
        client = Client(cluster.address, timeout=ANSWER_SECONDS, **options)
    except (OSError, ValueError, TypeError) as cause:  # TypeError: of Dask, where tls:// comes without certificates
        raise Failure(Exit.USAGE, f"{cluster.address}: no scheduler answers there: {one_line(cause)}") from cause

    def check() -> None:
        try:
            asked: Any = client.scheduler
            there = client.sync(asked.identity, callback_timeout=ANSWER_SECONDS)["workers"]
        except Exception as cause:
            raise Failure(Exit.UNEXPECTED, f"{cluster.address}: the scheduler is gone: {one_line(cause)}") from cause
        if not there:
            raise Failure(Exit.UNEXPECTED, f"{cluster.address}: the scheduler has no worker")

    with client:
        with suppress(TimeoutError):
            client.wait_for_workers(1, ANSWER_SECONDS)
        check()
        yield client.get_executor(pure=False), check
