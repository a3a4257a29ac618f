"""Options that several commands have, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..frames import PAD_MODES
from ..transform import SCALINGS

TLS = "xp_istft TLS"
WINDOW = "xp_istft window"  # the file of a window, which is an input, too


def _window(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """A name ("hann"), a name with numbers ("kaiser,14") or the samples in an .npy file, as stft takes it."""
    if text is None or not text:
        return None
    from .plain_arrays import load_window, named_window

    try:
        if not text.endswith(".npy"):
            return named_window(text)
        context.meta[WINDOW] = Path(text)
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


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options of the command that is running that were given: the others have the library's defaults."""
    source = click.get_current_context().get_parameter_source
    return {name: value for name, value in options.items() if source(name) != ParameterSource.DEFAULT}


def options_of(*options: Callable[..., Any]) -> Callable[..., Any]:
    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


layout_options = options_of(
    click.option("--n-fft", type=click.IntRange(2), help="Samples of a frame [stft: 2048; istft: from the bins]."),
    click.option("--hop-length", type=click.IntRange(1), help="Samples between frames [win_length // 4]."),
    click.option("--win-length", type=click.IntRange(1), help="Samples of the window [n_fft]."),
    click.option("--window", callback=_window, help="hann, hamming, kaiser,14, ..., or samples in FILE.npy [hann]."),
    click.option("--center/--no-center", default=True, help="Frames are centred on (start at) multiples of the hop."),
    click.option("--padding", callback=_padding, help="same, full, N or LEFT,RIGHT samples, in place of --center."),
    click.option("--scaling", type=click.Choice(SCALINGS[1:]), help="Of the spectrum [none]."),
)
iq = click.option("--iq", is_flag=True, help="Channels are I and Q, in pairs: complex signals, spectra of two sides.")
force_option = click.option("-f", "--force", is_flag=True, help="Overwrite what is there.")


def _tls(name: str, field: str, text: str) -> Callable[..., Any]:
    """An option for a file of TLS, kept for `_cluster` under its name in distributed.Security."""

    def kept(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
        if path is not None:
            context.meta.setdefault(TLS, {})[field] = path

    kind = click.Path(exists=True, dir_okay=False)
    return click.option(name, type=kind, callback=kept, expose_value=False, help=text)


file_options = options_of(
    force_option,
    click.option("--workers", type=click.IntRange(1), help="Threads; of several files, processes for a file each."),
    click.option(
        "--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers do it; they see the same files."
    ),
    _tls("--tls-ca-file", "tls_ca_file", "Certificates that the scheduler's must be signed by (tls://)."),
    _tls("--tls-cert", "tls_client_cert", "Certificate that the scheduler knows us by."),
    _tls("--tls-key", "tls_client_key", "Its key."),
)
pad_mode = click.option("--pad-mode", type=click.Choice(PAD_MODES), default=PAD_MODES[0])
HERTZ = click.IntRange(1, (1 << 31) - 1)
POSITIVE = click.FloatRange(0, min_open=True)
PICTURES = ("png", "svg", "pdf")
SPECTRA = {".h5", ".npz", ".npy", ".zarr"}
selection_options = options_of(
    click.option("--start", type=click.FloatRange(0), help="Seconds of the recording that are left out before [0]."),
    click.option("--duration", type=POSITIVE, help="Seconds of the recording that are taken [all]."),
    click.option("--mono", is_flag=True, help="The mean of the channels."),
    click.option("--rate", type=HERTZ, help="Resampled to this rate in Hz [that of the recording]."),
)
raw_options = options_of(
    click.option("--raw", type=str.upper, metavar="SUBTYPE", help="IN has no header: its samples are PCM_16, ..."),
    click.option("--sr", type=HERTZ, help="Sampling rate in Hz of --raw, and of plain arrays."),
    click.option("--channels", type=click.IntRange(1), help="Of --raw [1]."),
    click.option("--big-endian", is_flag=True, help="Of --raw: the order of bytes [little-endian]."),
)
values_options = options_of(
    click.option("--magnitude", is_flag=True, help="Magnitudes alone, without phases."),
    click.option("--db", is_flag=True, help="Levels of the magnitudes in decibels."),
    click.option("--reference", type=POSITIVE, help="Magnitude that is 0 dB, with --db [1]."),
    click.option("--floor", type=float, help="Lowest level in decibels, with --db [-80]."),
)
sound_options = options_of(
    click.option("--subtype", type=str.upper, help="PCM_16, PCM_24, FLOAT, ... [that of the recording; else FLOAT]"),
    click.option("--rate", type=HERTZ, help="Resampled to this rate in Hz [that of the spectrogram]."),
    click.option("--format", "form", type=str.lower, help="Of - and in directories: wav, flac, ..., raw [wav]."),
)
paths_argument = click.argument("paths", nargs=-1, required=True, metavar="IN [IN ...] OUT")
