"""How a command does its files: which they are, who does them, what is said of each, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from . import many
from .failures import Exit, Failure, printable
from .options import TLS, WINDOW
from .pipes import Ends, as_files, sent
from .progress import terminal_progress
from .whole_files import check_apart, remove_stale_parts


def each(
    paths: tuple[str, ...],
    suffix: str,
    suffixes: set[str],
    work: Callable[..., str],
    scheduler: str | None,
    workers: int | None,
) -> int:
    """work(source, target, ...) for all files that `paths` name; the exit code of the first that failed."""
    if len(paths) < 2:
        raise click.UsageError("need at least one IN and the OUT")
    *sources, out = paths
    cluster = _cluster(scheduler)
    with as_files(sources, out, suffix) as ends:
        if cluster is not None and ends.names:
            raise Failure(Exit.USAGE, "--scheduler: a pipe is of this machine, and its workers see files alone")
        try:
            pairs, several = many.pairs(tuple(ends.sources), ends.out, suffix, suffixes)
            _check_form(pairs, ends, suffix)
            clustered = cluster is not None or (several and (workers or 1) > 1)
            work = partial(work, workers=1 if clustered and cluster is None else workers, resume=several)
            _check_files(pairs)
        except Failure as cause:
            raise Failure(cause.code, ends.told(str(cause))) from cause
        outcomes = _by_workers(pairs, work, cluster, workers or 1) if clustered else _here(pairs, work, ends)
        code = reported(pairs, outcomes, several, ends)
        if ends.to_stdout and not code:
            sent(ends.out)
        return code


def suffix_of(form: str | None, usual: str) -> str:
    """The suffix of outputs that are not named one by one."""
    return f".{form or usual}"


def _check_form(pairs: list[tuple[Path, Path]], ends: Ends, suffix: str) -> None:
    """Failure where --format is given beside an output whose name says another one."""
    source = click.get_current_context().get_parameter_source("form")
    if source not in (None, ParameterSource.DEFAULT) and any(target.suffix != suffix for _, target in pairs):
        raise Failure(Exit.USAGE, f"--format: {ends.out} says its format by its name: need a directory or -")


def _cluster(scheduler: str | None) -> many.Cluster | None:
    tls = click.get_current_context().meta.get(TLS, {})
    if scheduler is None and tls:
        raise click.UsageError("--tls-ca-file, --tls-cert and --tls-key are for --scheduler")
    return None if scheduler is None else many.Cluster(scheduler, tls)


def _check_files(pairs: list[tuple[Path, Path]]) -> None:
    """Failure where an output is an input; what a killed run has left of the outputs goes."""
    window = click.get_current_context().meta.get(WINDOW)
    targets = [target for _, target in pairs]
    check_apart([*(source for source, _ in pairs), *([] if window is None else [window])], targets)
    remove_stale_parts(targets)


def reported(
    pairs: list[tuple[Path, Path]], outcomes: Iterable[tuple[int, many.Outcome]], several: bool, ends: Ends
) -> int:
    """Say what became of each pair, as it is known, and of several the failures once more; the exit code."""
    failures: dict[int, many.Outcome] = {}
    for number, outcome in outcomes:
        source, target = pairs[number]
        for warning in outcome.warnings:
            click.echo(printable(ends.told(f"xp-istft: {source}: warning: {warning}")), err=True)
        if not outcome.code:
            click.echo(printable(ends.told(f"{target}: {outcome.said}")), err=ends.to_stdout)
            continue
        failures[number] = outcome
        if not several:
            said(ends.told(outcome.said), outcome.code)
    failed = [failures[number] for number in sorted(failures)]
    if failed and several:
        said(f"{len(failed)} of {len(pairs)} files failed:", failed[0].code)
        for outcome in failed:
            said(outcome.said, outcome.code)
    return failed[0].code if failed else Exit.DONE


def _here(pairs: list[tuple[Path, Path]], work: Callable[..., str], ends: Ends) -> Iterator[tuple[int, many.Outcome]]:
    """The outcome of each pair, one after the other in this process."""
    for number, (source, target) in enumerate(pairs):
        name = Path(ends.told(str(source))).name if len(pairs) == 1 else f"{number + 1}/{len(pairs)} {source.name}"
        with progress(name) as advance:
            yield number, many.attempted(partial(work, advance=advance), source, target)


def _by_workers(
    pairs: list[tuple[Path, Path]], work: Callable[..., str], cluster: many.Cluster | None, workers: int
) -> Iterator[tuple[int, many.Outcome]]:
    with terminal_progress() as progress:
        task = progress.add_task(f"{len(pairs)} files", total=len(pairs))
        for done in many.by_workers(pairs, work, cluster, workers):
            progress.advance(task)
            yield done


@contextmanager
def progress(name: str) -> Iterator[Callable[[Iterable[Any], int], Iterator[Any]]]:
    """Gives advance(blocks, total): the blocks, with a bar that grows by their last axis; on a terminal only."""
    with terminal_progress() as progress:

        def advance(blocks: Iterable[Any], total: int) -> Iterator[Any]:
            task = progress.add_task(name, total=total)
            for block in blocks:
                yield block
                progress.advance(task, block.shape[-1])

        yield advance


def said(text: str, code: int) -> int:
    click.echo(printable(f"xp-istft: {text}"), err=True)
    return int(code)
