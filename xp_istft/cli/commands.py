"""The command line: what the user says, read and handed over; failures become one line and an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .. import __version__
from ..frames import PAD_MODES
from ..phase.algorithms import NAMED
from ..phase.retrieval import STARTS
from ..transform import SCALINGS
from . import many
from .array_files import FORMATS
from .failures import EXIT_CODES, Exit, Failure, one_line, printable
from .pipes import PIPE, Ends, as_files, sent
from .progress import terminal_progress
from .whole_files import check_apart, remove_stale_parts

_TLS = "xp_istft TLS"
_WINDOW = "xp_istft window"  # the file of a window, which is an input, too
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; what fails is said in one line on stderr."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        return int(xp_istft.main(arguments, prog_name="xp-istft", standalone_mode=False) or 0)
    except click.ClickException as cause:
        cause.show()
        return cause.exit_code
    except click.exceptions.Exit as cause:
        return cause.exit_code
    except Failure as cause:
        return _said(str(cause), cause.code)
    except (KeyboardInterrupt, click.Abort):
        return _said("interrupted", Exit.INTERRUPTED)
    except SystemExit as cause:
        return _said("terminated", Exit(int(cause.code or 0)))
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as cause:
        if os.environ.get("XP_ISTFT_TRACEBACK"):
            raise
        hint = "XP_ISTFT_TRACEBACK=1 shows where"
        return _said(f"unexpected {type(cause).__name__}: {one_line(cause)} ({hint})", Exit.UNEXPECTED)


@click.group(context_settings=_SETTINGS, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="xp-istft")
def xp_istft() -> None:
    """Short-time Fourier transform of recordings, and its exact inverse."""


def _window(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """A name ("hann"), a name with numbers ("kaiser,14") or the samples in an .npy file, as stft takes it."""
    if text is None or not text:
        return None
    from .plain_arrays import load_window, named_window

    try:
        if not text.endswith(".npy"):
            return named_window(text)
        context.meta[_WINDOW] = Path(text)
        return load_window(Path(text))
    except ValueError:
        raise click.BadParameter(f"need NAME, NAME,NUMBER or FILE.npy, got {text}") from None


def _padding(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    if text is None or text in ("same", "full"):
        return text
    try:
        sides = [int(side) for side in text.split(",")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 0:
        raise click.BadParameter(f"need same, full, N or LEFT,RIGHT, got {text}")
    return sides[0] if len(sides) == 1 else sides


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options of the command that is running that were given: the others have the library's defaults."""
    source = click.get_current_context().get_parameter_source
    return {name: value for name, value in options.items() if source(name) != ParameterSource.DEFAULT}


def _options(*options: Callable[..., Any]) -> Callable[..., Any]:
    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


_layout_options = _options(
    click.option("--n-fft", type=click.IntRange(2), help="Samples of a frame [stft: 2048; istft: from the bins]."),
    click.option("--hop-length", type=click.IntRange(1), help="Samples between frames [win_length // 4]."),
    click.option("--win-length", type=click.IntRange(1), help="Samples of the window [n_fft]."),
    click.option("--window", callback=_window, help="hann, hamming, kaiser,14, ..., or samples in FILE.npy [hann]."),
    click.option("--center/--no-center", default=True, help="Frames are centred on (start at) multiples of the hop."),
    click.option("--padding", callback=_padding, help="same, full, N or LEFT,RIGHT samples, in place of --center."),
    click.option("--scaling", type=click.Choice(SCALINGS[1:]), help="Of the spectrum [none]."),
)
_iq = click.option("--iq", is_flag=True, help="Channels are I and Q, in pairs: complex signals, spectra of two sides.")
_force = click.option("-f", "--force", is_flag=True, help="Overwrite what is there.")


def _tls(name: str, field: str, text: str) -> Callable[..., Any]:
    """An option for a file of TLS, kept for `_cluster` under its name in distributed.Security."""

    def kept(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
        if path is not None:
            context.meta.setdefault(_TLS, {})[field] = path

    kind = click.Path(exists=True, dir_okay=False)
    return click.option(name, type=kind, callback=kept, expose_value=False, help=text)


_file_options = _options(
    _force,
    click.option("--workers", type=click.IntRange(1), help="Threads; of several files, processes for a file each."),
    click.option(
        "--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers do it; they see the same files."
    ),
    _tls("--tls-ca-file", "tls_ca_file", "Certificates that the scheduler's must be signed by (tls://)."),
    _tls("--tls-cert", "tls_client_cert", "Certificate that the scheduler knows us by."),
    _tls("--tls-key", "tls_client_key", "Its key."),
)
_pad_mode = click.option("--pad-mode", type=click.Choice(PAD_MODES), default=PAD_MODES[0])
_HERTZ = click.IntRange(1, (1 << 31) - 1)
_POSITIVE = click.FloatRange(0, min_open=True)
PICTURES = ("png", "svg", "pdf")
_SPECTRA = {".h5", ".npz", ".npy", ".zarr"}
_selection_options = _options(
    click.option("--start", type=click.FloatRange(0), help="Seconds of the recording that are left out before [0]."),
    click.option("--duration", type=_POSITIVE, help="Seconds of the recording that are taken [all]."),
    click.option("--mono", is_flag=True, help="The mean of the channels."),
    click.option("--rate", type=_HERTZ, help="Resampled to this rate in Hz [that of the recording]."),
)
_raw_options = _options(
    click.option("--raw", type=str.upper, metavar="SUBTYPE", help="IN has no header: its samples are PCM_16, ..."),
    click.option("--sr", type=_HERTZ, help="Of --raw: sampling rate in Hz."),
    click.option("--channels", type=click.IntRange(1), help="Of --raw [1]."),
    click.option("--big-endian", is_flag=True, help="Of --raw: the order of bytes [little-endian]."),
)
_values_options = _options(
    click.option("--magnitude", is_flag=True, help="Magnitudes alone, without phases."),
    click.option("--db", is_flag=True, help="Levels of the magnitudes in decibels."),
    click.option("--reference", type=_POSITIVE, help="Magnitude that is 0 dB, with --db [1]."),
    click.option("--floor", type=float, help="Lowest level in decibels, with --db [-80]."),
)
_sound_options = _options(
    click.option("--subtype", type=str.upper, help="PCM_16, PCM_24, FLOAT, ... [that of the recording; else FLOAT]"),
    click.option("--rate", type=_HERTZ, help="Resampled to this rate in Hz [that of the spectrogram]."),
    click.option("--format", "form", type=str.lower, help="Of - and in directories: wav, flac, ..., raw [wav]."),
)
_paths = click.argument("paths", nargs=-1, required=True, metavar="IN [IN ...] OUT")


@xp_istft.command(epilog=EXIT_CODES)
@_paths
@_layout_options
@_pad_mode
@_iq
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="[float64 for 32-bit integers and doubles]")
@_selection_options
@_values_options
@_raw_options
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of - and in directories [h5].")
@_file_options
def stft(
    paths: tuple[str, ...],
    force: bool,
    workers: int | None,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Recordings to spectrogram files.

    IN are recordings, patterns ('**/*.flac') and directories, of which all recordings are meant. OUT is a file .h5,
    .npz, .npy or .zarr; for several recordings, or where OUT is a directory, a directory that gets one for each; - is
    standard input, or output. The file carries its parameters, but for .npy, and others read it:
    h5py.File(OUT)["spectrum"] is (channels, bins, frames), with the parameters as its attributes. Nothing that is there
    is overwritten without --force; of several files, those that a former run has finished with the same options are
    left as they are.
    """
    from .convert import recording_to_spectrogram
    from .recordings import SUFFIXES

    form = options.pop("form")
    work = partial(recording_to_spectrogram, options=_given(options), force=force)
    return _each(paths, _form(form, "h5"), SUFFIXES, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@_paths
@click.option("--sr", type=_HERTZ, help="Sampling rate in Hz; needed for plain arrays.")
@_layout_options
@click.option("--length", type=click.IntRange(1), help="Samples of the recording.")
@click.option("--max-gain", type=click.FloatRange(1), help="Bound on the noise gain at the ends, for edited spectra.")
@click.option("--two-sided", is_flag=True, help="The array holds n_fft bins, of real signals unless --iq is given.")
@_iq
@click.option("--frames-first", is_flag=True, help="The array is (..., frames, bins).")
@click.option("--phase-shift", type=int, help="Of scipy's ShortTimeFFT, whose default is 0 [none].")
@click.option("--key", help="Which array of a plain .npz.")
@_sound_options
@_file_options
def istft(
    paths: tuple[str, ...],
    force: bool,
    workers: int | None,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Spectrogram files to recordings.

    IN are files, patterns and directories, of which all .h5, .npz, .npy and .zarr are meant. OUT is a file .wav,
    .flac, ...; for several files, or where OUT is a directory, a directory that gets a .wav for each; - is standard
    input, or output. A spectrogram file of
    `xp-istft stft` says by itself how it is inverted; options come before what it says. Plain .npy and .npz of spectra
    (..., bins, frames), or of pairs (..., bins, frames, 2), need --sr and the options that they were made with.
    Nothing that is there is overwritten without --force; of several files, those that a former run has finished with
    the same options are left as they are.
    """
    from .convert import spectrogram_to_recording

    form = options.pop("form")
    work = partial(spectrogram_to_recording, options=_given(options), force=force)
    return _each(paths, _form(form, "wav"), _SPECTRA, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@_paths
@click.option("--sr", type=_HERTZ, help="Sampling rate in Hz; needed for plain arrays.")
@_layout_options
@_pad_mode
@click.option("--length", type=click.IntRange(1), help="Samples of the recording.")
@click.option("--n-iter", type=click.IntRange(0), default=32, help="Iterations [32].")
@click.option("--algorithm", type=click.Choice(tuple(NAMED)), help="[hybrid]")
@click.option("--momentum", type=click.FloatRange(0), help="Of fgla and hybrid [0.99].")
@click.option("--init", type=click.Choice(STARTS), help="Phases at the start [pghi].")
@_iq
@click.option("--seed", "rng", type=click.IntRange(0), help="Of random phases.")
@click.option("--tol", type=click.FloatRange(0), help="End when the spectral convergence changes by no more.")
@click.option("--frames-first", is_flag=True, help="The array is (..., frames, bins).")
@click.option("--key", help="Which array of a plain .npz.")
@click.option("--db", is_flag=True, help="A plain array holds levels in decibels.")
@click.option("--reference", type=_POSITIVE, help="Magnitude that is 0 dB, with --db [1].")
@_sound_options
@_file_options
def griffinlim(
    paths: tuple[str, ...],
    force: bool,
    workers: int | None,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Magnitudes to recordings: phases are found by iterations.

    IN are files, patterns and directories, of which all .h5, .npz, .npy and .zarr are meant. OUT is a file .wav,
    .flac, ...; for several files, or where OUT is a directory, a directory that gets a .wav for each; - is standard
    input, or output. A file of `xp-istft stft --magnitude` or `--db` says by itself what it is; of one with phases
    the magnitudes are taken. Plain arrays are real magnitudes (bins, frames) or (channels, bins, frames), and need
    --sr and the options that they were made with. Nothing that is there is overwritten without --force.
    """
    from .phases import magnitudes_to_recording

    form = options.pop("form")
    work = partial(magnitudes_to_recording, options=_given(options), force=force)
    return _each(paths, _form(form, "wav"), _SPECTRA, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, required=True, metavar="FILE [... OUT]")
@click.option("--channel", type=click.IntRange(1), help="Which one is drawn [1].")
@click.option("--range", "decibels", type=_POSITIVE, help="Decibels below the largest level that colours show [80].")
@click.option("--log", is_flag=True, help="The frequency axis is logarithmic.")
@_layout_options
@_pad_mode
@_iq
@_selection_options
@click.option("--sr", type=_HERTZ, help="Sampling rate in Hz of plain arrays and of --raw.")
@click.option("--two-sided", is_flag=True, help="The array holds n_fft bins, of real signals unless --iq is given.")
@click.option("--frames-first", is_flag=True, help="The array is (..., frames, bins).")
@click.option("--key", help="Which array of a plain .npz.")
@click.option("--db", is_flag=True, help="A plain array holds levels in decibels.")
@click.option("--format", "form", type=click.Choice(PICTURES), help="Of - and where OUT is no file [png].")
@_file_options
def plot(
    paths: tuple[str, ...],
    force: bool,
    workers: int | None,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Draw recordings and spectrogram files: the waveform over the spectrogram.

    FILE is a recording, a file of `xp-istft stft`, or a plain array of spectra or magnitudes, which needs --sr. OUT is
    a picture .png, .svg or .pdf; without it, the picture has the name of the file, in this directory. For several
    files, patterns and directories OUT is a directory that gets a picture for each; - is standard input, or output.
    """
    from .plots import picture_of_file
    from .recordings import SUFFIXES

    suffix = _form(options.pop("form"), "png")
    if len(paths) == 1:
        name = "stdin" if paths[0] == PIPE else Path(paths[0]).stem
        paths = (paths[0], name + suffix)
    work = partial(picture_of_file, options=_given(options), force=force)
    return _each(paths, suffix, SUFFIXES | _SPECTRA, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@click.argument("recording", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("demo"), help="Directory [./demo].")
@click.option("--seconds", type=click.FloatRange(0.01), default=30.0, help="Use the first seconds only [30].")
@click.option("--runs", type=click.IntRange(1), default=7, help="Timed runs of each [7].")
@click.option("--n-fft", type=click.IntRange(2), default=1024, help="Samples of a frame [1024].")
@click.option("--hop-length", type=click.IntRange(1), help="Samples between frames [n_fft // 4].")
def demo(
    recording: Path | None, output: Path, seconds: float, runs: int, n_fft: int, hop_length: int | None
) -> int:  # fmt: skip
    """Take a recording apart and put it together on every array library that is installed.

    Without RECORDING on a built-in sentence of speech-like sounds. Prints a table, and writes the reconstructed
    recording and a picture into the output directory (over those of the last time).
    """
    from .demo import demonstrate

    return demonstrate(recording, output, seconds, runs, n_fft, hop_length)


@xp_istft.command(epilog=EXIT_CODES)
@click.argument("files", nargs=-1, metavar="[FILE ...]")
@click.option("--json", "as_json", is_flag=True, help="As JSON; of several files a list.")
@click.option("--key", help="Which array of an .npz.")
def info(files: tuple[str, ...], as_json: bool, key: str | None) -> int:
    """What a file holds; without FILE what is installed.

    FILE is a recording (format, rate, channels, samples), a spectrogram file (shape, parameters, its recording) or a
    file of arrays; - is standard input. Without one: versions, array libraries and their devices, FFT engines, threads.
    """
    if not files:
        from .info import show

        return show(as_json)
    from .facts import as_text, facts_of

    found: list[dict[str, Any]] = []
    failures = []
    with as_files(list(files), "", "") as ends:

        def work(path: Path, _: Path) -> str:
            found.append(facts_of(path, ends.told(str(path)), key))
            return as_text(found[-1])

        for path in map(Path, ends.sources):
            outcome = many.attempted(work, path, path)
            for warning in outcome.warnings:
                _said(ends.told(f"{path}: warning: {warning}"), 0)
            if outcome.code:
                failures.append(_said(ends.told(outcome.said), outcome.code))
            elif not as_json:
                click.echo(outcome.said)
    if as_json and found:
        click.echo(json.dumps(found if len(files) > 1 else found[0], indent=2, ensure_ascii=False))
    return failures[0] if failures else Exit.DONE


def _each(
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
        code = _reported(pairs, outcomes, several, ends)
        if ends.to_stdout and not code:
            sent(ends.out)
        return code


def _form(form: str | None, usual: str) -> str:
    """The suffix of outputs that are not named one by one."""
    return f".{form or usual}"


def _check_form(pairs: list[tuple[Path, Path]], ends: Ends, suffix: str) -> None:
    """Failure where --format is given beside an output whose name says another one."""
    source = click.get_current_context().get_parameter_source("form")
    if source not in (None, ParameterSource.DEFAULT) and any(target.suffix != suffix for _, target in pairs):
        raise Failure(Exit.USAGE, f"--format: {ends.out} says its format by its name: need a directory or -")


def _cluster(scheduler: str | None) -> many.Cluster | None:
    tls = click.get_current_context().meta.get(_TLS, {})
    if scheduler is None and tls:
        raise click.UsageError("--tls-ca-file, --tls-cert and --tls-key are for --scheduler")
    return None if scheduler is None else many.Cluster(scheduler, tls)


def _check_files(pairs: list[tuple[Path, Path]]) -> None:
    """Failure where an output is an input; what a killed run has left of the outputs goes."""
    window = click.get_current_context().meta.get(_WINDOW)
    targets = [target for _, target in pairs]
    check_apart([*(source for source, _ in pairs), *([] if window is None else [window])], targets)
    remove_stale_parts(targets)


def _reported(
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
            _said(ends.told(outcome.said), outcome.code)
    failed = [failures[number] for number in sorted(failures)]
    if failed and several:
        _said(f"{len(failed)} of {len(pairs)} files failed:", failed[0].code)
        for outcome in failed:
            _said(outcome.said, outcome.code)
    return failed[0].code if failed else Exit.DONE


def _here(pairs: list[tuple[Path, Path]], work: Callable[..., str], ends: Ends) -> Iterator[tuple[int, many.Outcome]]:
    """The outcome of each pair, one after the other in this process."""
    for number, (source, target) in enumerate(pairs):
        name = Path(ends.told(str(source))).name if len(pairs) == 1 else f"{number + 1}/{len(pairs)} {source.name}"
        with _progress(name) as advance:
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
def _progress(name: str) -> Iterator[Callable[[Iterable[Any], int], Iterator[Any]]]:
    """Gives advance(blocks, total): the blocks, with a bar that grows by their last axis; on a terminal only."""
    with terminal_progress() as progress:

        def advance(blocks: Iterable[Any], total: int) -> Iterator[Any]:
            task = progress.add_task(name, total=total)
            for block in blocks:
                yield block
                progress.advance(task, block.shape[-1])

        yield advance


def _said(text: str, code: int) -> int:
    click.echo(printable(f"xp-istft: {text}"), err=True)
    return int(code)


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(int(Exit.TERMINATED))
