"""The demonstration: a recording through stft and istft on every array library, beside the peers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import rich.box
import scipy.signal
from rich.console import Console
from rich.table import Table

import xp_istft as xi

from . import picture, speech
from .failures import Exit, Failure
from .libraries import LIBRARIES
from .progress import terminal_progress
from .reading import Excerpt, Selection
from .recordings import NewRecording, audio_subtype
from .whole_files import whole_file

_TORCH = next(library for library in LIBRARIES if library.name == "torch")


def _torch_istft(x: np.ndarray, transform: xi.STFT, device: str) -> Callable[[], Any]:
    torch = import_module("torch")
    signal = torch.asarray(x, device=device)
    window = torch.hann_window(transform.n_fft, dtype=signal.dtype, device=device)
    given = {"n_fft": transform.n_fft, "hop_length": transform.hop_length, "window": window}
    X = torch.stft(signal, pad_mode="constant", return_complex=True, **given)
    return lambda: _TORCH.finish(torch.istft(X, length=x.shape[-1], **given))


def _librosa_istft(x: np.ndarray, transform: xi.STFT, device: str) -> Callable[[], Any]:
    librosa = import_module("librosa")
    given = {"n_fft": transform.n_fft, "hop_length": transform.hop_length}
    X = librosa.stft(x, pad_mode="constant", **given)
    return lambda: librosa.istft(X, length=x.shape[-1], **given)


def _short_time_fft(x: np.ndarray, transform: xi.STFT, device: str) -> Callable[[], Any]:
    window = scipy.signal.get_window("hann", transform.n_fft).astype(x.dtype)
    theirs = scipy.signal.ShortTimeFFT(window, transform.hop_length, fs=1.0)
    X = theirs.stft(x)
    return lambda: theirs.istft(X, k1=x.shape[-1])


class _Peer(NamedTuple):
    """A peer: the module that it needs, the heading of its column, and what inverts its own spectrum of a signal."""

    module: str
    heading: str
    inverse: Callable[[np.ndarray, xi.STFT, str], Callable[[], Any]]


_PEERS = {
    "torch.istft": _Peer("torch", "torch.\nistft *", _torch_istft),
    "librosa": _Peer("librosa", "librosa\n*", _librosa_istft),
    "ShortTimeFFT": _Peer("scipy", "ShortTime\nFFT *", _short_time_fft),
}
_REASONS = ("not installed", "no usable device")
_OPTIONAL = ("array-api-strict",)  # made for tests: no row where it is missing


@dataclass
class Candidate:
    """One row: an inverse that can be run again and again.

    inverse : makes the signal, and waits until it is there
    host    : brings a result to the host
    peer    : not ours: ours are compared with it
    seconds : of one call, round by round
    """

    name: str
    device: str
    dtype: str
    inverse: Callable[[], Any]
    host: Callable[[Any], np.ndarray]
    peer: bool = False
    signal: np.ndarray | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def ratio(self, peer: Candidate) -> float:
        """How many times longer the peer took: what slows the machine for a while slows both of a round."""
        return float(np.median(np.divide(peer.seconds, self.seconds)))

    def time(self) -> None:
        self.inverse()  # untimed: it meets the caches that the row before has left
        start = perf_counter()
        self.inverse()
        self.seconds.append(perf_counter() - start)


def demonstrate(
    recording: Path | None, output: Path, selection: Selection, runs: int, n_fft: int, hop_length: int | None
) -> int:
    console = Console(width=None if Console().is_terminal else 100)
    samples, sample_rate, subtype, said = _heard(recording, selection)
    channels, n_samples = samples.shape
    transform = xi.STFT(n_fft=n_fft, hop_length=hop_length or max(1, n_fft // 4))
    transform.n_frames(n_samples)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise Failure(Exit.OUTPUT, f"{output}: cannot be made: {cause.strerror}") from cause

    with terminal_progress() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peers and libraries about themselves
        rows: list[Candidate] = []
        absent = _absent()
        task = progress.add_task("transforming", total=2 * runs)
        for dtype in ("float32", "float64"):
            x = samples.astype(dtype)
            rows += _timed(x, transform, runs, dtype, n_samples, absent, lambda: progress.advance(task))

    plural = "s" if channels > 1 else ""
    console.print(
        f"{said}: {n_samples / sample_rate:.2f} s, {channels} channel{plural}, {sample_rate} Hz; "
        f"n_fft={transform.n_fft}, hop_length={transform.hop_length}, Hann window", highlight=False,
    )  # fmt: skip
    console.print(_table(rows, absent, samples, console.width > 90))
    console.print(
        f"SNR and largest error: istft(stft(x)) against x. Time: istft alone, median of {runs} runs in turn.\n"
        "* the peer's time / this row's: above 1 this row is faster (torch on its device).",
        highlight=False,
    )
    for name, why in absent.items():
        if why not in _REASONS:
            console.print(f"{name} failed: {why}", highlight=False, markup=False)
    results = {row.dtype: row.signal for row in rows if row.name == "numpy"}
    stem = recording.stem if recording else "sentence"
    written = [output / f"{stem}-reconstructed.wav", output / f"{stem}.png"]
    single, double = results["float32"], results["float64"]
    if single is None or double is None:
        raise RuntimeError("NumPy made no signal")
    with (
        whole_file(written[0], force=True) as temporary,
        NewRecording(temporary, written[0], sample_rate, channels, subtype, n_samples) as file,
    ):
        file.write(single)
    title = f"{recording.name if recording else 'Built-in sentence'}{', channel 1' if channels > 1 else ''}"
    errors = {"float32": single[0].astype(float) - samples[0].astype("float32"), "float64": double[0] - samples[0]}
    with whole_file(written[1], force=True) as temporary:
        picture.draw(temporary, title, samples[0], sample_rate, transform, errors)
    for what, path in zip(("reconstructed recording", "picture"), written, strict=True):
        console.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    return 0


def _heard(recording: Path | None, selection: Selection) -> tuple[np.ndarray, int, str, str]:
    """float64 (channels, n_samples), its sampling rate, the subtype to write, and what it is."""
    seconds = selection.duration or 30.0
    if recording is None:
        sentence = speech.sentence()[: max(1, round(seconds * speech.SAMPLE_RATE))]
        return sentence[None], speech.SAMPLE_RATE, "FLOAT", "built-in sentence"
    with Excerpt(recording, "float64", selection) as file:
        subtype = audio_subtype(Path("any.wav"), None, file.subtype)
        said = str(recording)
        if selection.start:
            said += f", from {selection.start:g} s for {file.n_samples / file.sample_rate:.6g} s"
        elif not file.whole:
            said += f", first {seconds:g} s"
        return file.read(0, file.n_samples).copy(), file.sample_rate, subtype, said


def _absent() -> dict[str, str]:
    """The libraries and peers that make no row, and why."""
    absent = {library.name: library.usable()[1] for library in LIBRARIES if library.name not in _OPTIONAL}
    absent |= {name: "not installed" for name, peer in _PEERS.items() if find_spec(peer.module) is None}
    return {name: why for name, why in absent.items() if why}


def _timed(
    x: np.ndarray,
    transform: xi.STFT,
    runs: int,
    dtype: str,
    n_samples: int,
    absent: dict[str, str],
    after_round: Callable[[], object],
) -> list[Candidate]:
    """The rows of one dtype, each with its signal and times; what fails goes into `absent`."""
    rows = []
    with ExitStack() as contexts:
        for library in LIBRARIES:
            for device in library.usable()[0]:
                if dtype == "float64":
                    contexts.enter_context(library.wide())
                try:
                    X = transform.stft(library.put(x, device))

                    def inverse(X: Any = X, finish: Callable[[Any], Any] = library.finish) -> Any:
                        return finish(transform.istft(X, length=n_samples))

                    row = Candidate(library.name, device, dtype, inverse, _host(library.get))
                    row.signal = row.host(row.inverse())  # untimed: first calls compile and plan
                    rows.append(row)
                except Exception as cause:  # one library that fails must not hide the others
                    absent[f"{library.name} {dtype}"] = f"{type(cause).__name__}: {' '.join(str(cause).split())}"
        for name, peer in _PEERS.items():
            if find_spec(peer.module) is not None:
                for device in _TORCH.usable()[0] if peer.module == "torch" else ["cpu"]:
                    rows += _by_peer(name, x, transform, device, dtype)
        for _ in range(runs):
            for row in rows:
                row.time()
            after_round()
    return rows


def _by_peer(name: str, x: np.ndarray, transform: xi.STFT, device: str, dtype: str) -> list[Candidate]:
    """The row of a peer, which inverts what its own forward transform made; none where it cannot."""
    try:
        row = Candidate(
            name, device, dtype, _PEERS[name].inverse(x, transform, device), _host(lambda y: y.cpu().numpy()), peer=True
        )
        row.signal = row.host(row.inverse())
    except Exception:  # frames that it does not take
        return []
    return [row]


def _host(get: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    return lambda y: y if isinstance(y, np.ndarray) else get(y)


def _table(rows: list[Candidate], absent: dict[str, str], samples: np.ndarray, wide: bool) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, padding=0)  # fits into 80 columns
    for heading in ("library", "device", "dtype"):
        table.add_column(heading, no_wrap=True)
    for heading in ("SNR\n(dB)", "largest\nerror", "time\n(ms)", *(peer.heading for peer in _PEERS.values())):
        table.add_column(heading, justify="right", no_wrap=True)
    peers = {(row.name, row.device, row.dtype): row for row in rows if row.peer}
    for k, row in enumerate(rows):
        x = samples.astype(row.dtype).astype(float)
        error = np.asarray(row.signal, float) - x
        power = float((error**2).sum())
        snr = 10 * np.log10(float((x**2).sum()) / power) if power else np.inf
        compared = [peers.get((name, row.device, row.dtype)) or peers.get((name, "cpu", row.dtype)) for name in _PEERS]
        ratios = ["" if row.peer or peer is None else f"{row.ratio(peer):.2f}" for peer in compared]
        last = k + 1 < len(rows) and rows[k + 1].dtype != row.dtype
        table.add_row(
            row.name, row.device, row.dtype, f"{snr:.1f}", f"{np.abs(error).max():.1e}", f"{1e3 * row.median:.2f}",
            *ratios, style="dim" if row.peer else None, end_section=last or (k + 1 == len(rows) and bool(absent)),
        )  # fmt: skip
    for name, why in {name.partition(" ")[0]: why for name, why in absent.items()}.items():
        table.add_row(
            name,
            (why if wide else why.replace("not ", "not\n").replace(" device", "\ndevice"))
            if why in _REASONS
            else "failed",
        )
    return table
