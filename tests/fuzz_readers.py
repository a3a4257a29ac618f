"""The readers of files, fed by atheris, which changes bytes wherever that reaches new code.

    pip install atheris                                    (CPython 3.11 to 3.13, Linux or macOS)
    python tests/fuzz_readers.py -max_total_time=600       any option of libFuzzer; a folder keeps what it found

Each input is opened as spectra, a window, magnitudes and (through libsndfile) a recording. A reader may refuse it by
`Failure`; any other exception, or a value outside what the reader promises, is a finding, and its bytes are kept.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["xp_istft.cli", "numpy.lib", "zipfile"]):
    import numpy.lib.format

    from xp_istft.cli.failures import Failure
    from xp_istft.cli.plain_arrays import load_window
    from xp_istft.cli.recordings import Recording
    from xp_istft.cli.spectrogram_files import Parameters, Spectrogram, new_file, new_spectrogram
    from xp_istft.transform import STFT

FOLDER = Path(tempfile.mkdtemp())


def seeds(folder: Path) -> None:
    """Good files to begin with."""
    X = np.ones((1, 5, 3), np.complex64)
    said = Parameters(8000, 8, "PCM_16", STFT(8, 4))
    with new_spectrogram(folder / "whole.h5", (1, 5, 3), "complex64", said) as write:
        write(X)
    with new_file(folder / "whole.npz", folder / "whole.npz", (1, 5, 3), "complex64", said) as write:
        write(X)
    np.save(folder / "plain.npy", X[0])
    np.save(folder / "pairs.npy", np.ones((5, 3, 2)))
    np.save(folder / "window.npy", np.hanning(8))
    np.savez(folder / "one.npz", X)
    np.savez_compressed(folder / "compressed.npz", X)
    with zipfile.ZipFile(folder / "empty.npz", "w"):
        pass
    header = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00"
    (folder / "short.wav").write_bytes(header + b"data\x00\x00\x00\x00" + bytes(16))


def one_input(data: bytes) -> None:
    path = FOLDER / "input"
    path.write_bytes(data)
    for read in (as_spectrogram, as_window, as_magnitudes, as_recording):
        try:
            read(path)
        except Failure as refusal:
            if not 3 <= refusal.code <= 5 or not str(refusal).startswith(str(path)):
                raise


def as_spectrogram(path: Path) -> None:
    for frames_first in (False, True):
        with Spectrogram(path, frames_first=frames_first) as file:
            channels, n_bins, n_frames = file.shape
            block = file.read(0, min(3, n_frames))
            assert block.shape == (channels, n_bins, min(3, n_frames))
            assert block.dtype.name == file.dtype in ("complex64", "complex128")


def as_window(path: Path) -> None:
    assert all(isinstance(value, float) for value in load_window(path))


def as_magnitudes(path: Path) -> None:
    with Spectrogram(path, magnitudes=True) as file:
        channels, n_bins, n_frames = file.shape
        block = file.read(0, min(3, n_frames))
        assert block.shape == (channels, n_bins, min(3, n_frames))
        assert block.dtype.kind in "fc"


def as_recording(path: Path) -> None:
    with Recording(path) as file:
        count = min(64, file.n_samples)
        assert file.read(0, count).shape == (file.channels, count)


def main() -> None:
    corpus = Path(tempfile.mkdtemp())
    seeds(corpus)
    for path in corpus.iterdir():
        one_input(path.read_bytes())  # the good ones pass
    atheris.Setup([*sys.argv, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
