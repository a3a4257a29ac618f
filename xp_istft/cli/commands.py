"""The command line: what the user says, read and handed over; failures become one line and an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..phase.algorithms import NAMED
from ..phase.retrieval import STARTS
from . import many
from .array_files import FORMATS
from .failures import EXIT_CODES, Exit, Failure, one_line
from .options import (
    HERTZ,
    PICTURES,
    POSITIVE,
    SPECTRA,
    file_options,
    given,
    iq,
    layout_options,
    pad_mode,
    paths_argument,
    raw_options,
    selection_options,
    sound_options,
    values_options,
)  # fmt: skip
from .pipes import PIPE, as_files
from .running import each, said, suffix_of

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
        return said(str(cause), cause.code)
    except (KeyboardInterrupt, click.Abort):
        return said("interrupted", Exit.INTERRUPTED)
    except SystemExit as cause:
        return said("terminated", Exit(int(cause.code or 0)))
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as cause:
        if os.environ.get("XP_ISTFT_TRACEBACK"):
            raise
        hint = "XP_ISTFT_TRACEBACK=1 shows where"
        return said(f"unexpected {type(cause).__name__}: {one_line(cause)} ({hint})", Exit.UNEXPECTED)


@click.group(context_settings=_SETTINGS, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="xp-istft")
def xp_istft() -> None:
    """Short-time Fourier transform of recordings, and its exact inverse."""


@xp_istft.command(epilog=EXIT_CODES)
@paths_argument
@layout_options
@pad_mode
@iq
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="[float64 for 32-bit integers and doubles]")
@selection_options
@values_options
@raw_options
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of - and in directories [h5].")
@file_options
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
    work = partial(recording_to_spectrogram, options=given(options), force=force)
    return each(paths, suffix_of(form, "h5"), SUFFIXES, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@paths_argument
@click.option("--sr", type=HERTZ, help="Sampling rate in Hz; needed for plain arrays.")
@layout_options
@click.option("--length", type=click.IntRange(1), help="Samples of the recording.")
@click.option("--max-gain", type=click.FloatRange(1), help="Bound on the noise gain at the ends, for edited spectra.")
@click.option("--two-sided", is_flag=True, help="The array holds n_fft bins, of real signals unless --iq is given.")
@iq
@click.option("--frames-first", is_flag=True, help="The array is (..., frames, bins).")
@click.option("--phase-shift", type=int, help="Of scipy's ShortTimeFFT, whose default is 0 [none].")
@click.option("--key", help="Which array of a plain .npz.")
@sound_options
@file_options
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
    work = partial(spectrogram_to_recording, options=given(options), force=force)
    return each(paths, suffix_of(form, "wav"), SPECTRA, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@paths_argument
@click.option("--sr", type=HERTZ, help="Sampling rate in Hz; needed for plain arrays.")
@layout_options
@pad_mode
@click.option("--length", type=click.IntRange(1), help="Samples of the recording.")
@click.option("--n-iter", type=click.IntRange(0), default=32, help="Iterations [32].")
@click.option("--algorithm", type=click.Choice(tuple(NAMED)), help="[hybrid]")
@click.option("--momentum", type=click.FloatRange(0), help="Of fgla and hybrid [0.99].")
@click.option("--init", type=click.Choice(STARTS), help="Phases at the start [pghi].")
@iq
@click.option("--seed", "rng", type=click.IntRange(0), help="Of random phases.")
@click.option("--tol", type=click.FloatRange(0), help="End when the spectral convergence changes by no more.")
@click.option("--frames-first", is_flag=True, help="The array is (..., frames, bins).")
@click.option("--key", help="Which array of a plain .npz.")
@click.option("--db", is_flag=True, help="A plain array holds levels in decibels.")
@click.option("--reference", type=POSITIVE, help="Magnitude that is 0 dB, with --db [1].")
@sound_options
@file_options
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
    work = partial(magnitudes_to_recording, options=given(options), force=force)
    return each(paths, suffix_of(form, "wav"), SPECTRA, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, required=True, metavar="FILE [... OUT]")
@click.option("--channel", type=click.IntRange(1), help="Which one is drawn [1].")
@click.option("--range", "decibels", type=POSITIVE, help="Decibels below the largest level that colours show [80].")
@click.option("--log", is_flag=True, help="The frequency axis is logarithmic.")
@layout_options
@pad_mode
@iq
@selection_options
@raw_options
@click.option("--two-sided", is_flag=True, help="The array holds n_fft bins, of real signals unless --iq is given.")
@click.option("--frames-first", is_flag=True, help="The array is (..., frames, bins).")
@click.option("--key", help="Which array of a plain .npz.")
@click.option("--db", is_flag=True, help="A plain array holds levels in decibels.")
@click.option("--format", "form", type=click.Choice(PICTURES), help="Of - and where OUT is no file [png].")
@file_options
def plot(
    paths: tuple[str, ...],
    force: bool,
    workers: int | None,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Draw recordings and spectrogram files: the waveform over the spectrogram.

    FILE is a recording, a file of `xp-istft stft`, or a plain array of spectra or magnitudes, which needs --sr. OUT is
    a picture .png, .svg or .pdf; without it, pictures have the names of the files, in this directory. For several
    files, patterns and directories OUT is a directory that gets a picture for each; - is standard input, or output.
    """
    from .array_files import is_zarr
    from .plots import picture_of_file
    from .recordings import SUFFIXES

    suffix = suffix_of(options.pop("form"), "png")
    if len(paths) == 1:
        many_files = any(sign in paths[0] for sign in "*?[") or (
            Path(paths[0]).is_dir() and not is_zarr(Path(paths[0]))
        )
        name = "stdin" if paths[0] == PIPE else Path(paths[0]).stem
        paths = (paths[0], "." if many_files and not Path(paths[0]).is_file() else name + suffix)
    work = partial(picture_of_file, options=given(options), force=force)
    return each(paths, suffix, SUFFIXES | SPECTRA, work, scheduler, workers)


@xp_istft.command(epilog=EXIT_CODES)
@click.argument("recording", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("demo"), help="Directory [./demo].")
@click.option("--seconds", type=click.FloatRange(0.01), default=30.0, help="Use the first seconds only [30].")
@click.option("--start", type=click.FloatRange(0), help="Seconds of the recording that are left out before [0].")
@click.option("--mono", is_flag=True, help="The mean of the channels.")
@click.option("--rate", type=HERTZ, help="Resampled to this rate in Hz [that of the recording].")
@click.option("--runs", type=click.IntRange(1), default=7, help="Timed runs of each [7].")
@click.option("--n-fft", type=click.IntRange(2), default=1024, help="Samples of a frame [1024].")
@click.option("--hop-length", type=click.IntRange(1), help="Samples between frames [n_fft // 4].")
def demo(
    recording: Path | None, output: Path, seconds: float, runs: int, n_fft: int, hop_length: int | None, **options: Any
) -> int:  # fmt: skip
    """Take a recording apart and put it together on every array library that is installed.

    Without RECORDING on a built-in sentence of speech-like sounds. Prints a table, and writes the reconstructed
    recording and a picture into the output directory (over those of the last time).
    """
    from .demo import demonstrate
    from .reading import Selection

    for name in given(options):
        if recording is None:
            raise click.UsageError(f"--{name} is for a RECORDING")
    selection = Selection.taken(options | {"duration": seconds})
    return demonstrate(recording, output, selection, runs, n_fft, hop_length)


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
        if key is not None:
            raise click.UsageError("--key is for a FILE")
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
                said(ends.told(f"{path}: warning: {warning}"), 0)
            if outcome.code:
                failures.append(said(ends.told(outcome.said), outcome.code))
            elif not as_json:
                click.echo(outcome.said)
    if as_json and found:
        click.echo(json.dumps(found if len(files) > 1 else found[0], indent=2, ensure_ascii=False))
    return failures[0] if failures else Exit.DONE


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(int(Exit.TERMINATED))
