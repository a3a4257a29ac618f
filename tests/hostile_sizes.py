"""Every size that a function or a file can be given, far beyond the data, in a process with a gigabyte to spare.

A call gives the right result within the limit, or an error of the package, by name; and neither takes minutes.

    python tests/hostile_sizes.py            a line for each call that does otherwise
"""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import xp_istft as xi

SIZES = (2**20, 2**31, 2**40, 2**62, 2**70)
SPARE_BYTES = 1 << 30
CPU_SECONDS = 60  # of all calls
_OURS = re.compile(r"[\w.]+( spectrogram \d)?: [\w.]+: need ")

x = np.random.default_rng(0).standard_normal(4000)
X = np.ones((129, 40), np.complex64)
S = np.abs(X)
Calls = Iterator[tuple[str, Callable[[int], Any]]]


def public() -> Calls:
    """What takes NumPy arrays, with one size each."""
    for name in ("n_fft", "hop_length", "win_length", "padding"):
        fields: dict[str, Any] = {} if name == "n_fft" else {"n_fft": 256}
        yield f"STFT {name}", lambda n, k=name, f=fields: xi.STFT(**f, **{k: n}, nola="zero")
        yield f"stft {name}", lambda n, k=name, f=fields: xi.stft(x, **{"n_fft": 256, **f, k: n})
        yield f"istft {name}", lambda n, k=name: xi.istft(X, **{k: n})
        for rest in ({"length": 6000}, {"length": 10}, {}):
            yield f"istft {name} {rest}", lambda n, k=name, r=rest: xi.istft(X[:, :2], nola="zero", **{k: n}, **r)
        yield f"coverage {name}", lambda n, k=name, f=fields: xi.STFT(**f, **{k: n}).coverage(3, length=600)
        yield f"streams {name}", lambda n, k=name, f=fields: streamed(xi.STFT(**f, **{k: n}, nola="zero"))
        yield f"griffin_lim {name}", lambda n, k=name, f=fields: xi.griffin_lim(S, xi.STFT(**f, **{k: n}), n_iter=1)
        yield f"pghi {name}", lambda n, k=name, f=fields: xi.pghi(S, xi.STFT(**f, **{k: n}))
    yield "istft length", lambda n: xi.istft(X, length=n)
    yield "istft padding and hop", lambda n: xi.istft(X, padding=(n, 0), hop_length=n, length=100)
    yield "istft between frames", lambda n: xi.istft(X, padding=(n // 2, 0), hop_length=n, length=100, nola="zero")
    yield "stft padding and hop", lambda n: xi.stft(x, 256, padding=n // 2, hop_length=n // 2)
    yield "stft reflected", lambda n: xi.stft(x, 256, padding=n // 2, hop_length=n // 2, pad_mode="reflect")
    yield "stft of hops", lambda n: xi.stft(repeated(n + 600), 512, hop_length=n // 2 + 1)
    yield "stft of much", lambda n: xi.stft(repeated(n), 512)
    yield "frame hop_length", lambda n: xi.frame(x, 256, n)
    yield "frame n_fft", lambda n: xi.frame(x, n, 64)
    yield "frame padding", lambda n: xi.frame(x, 256, 64, padding=n)
    yield "overlap_add hop_length", lambda n: xi.overlap_add(S, n)
    yield "overlap_add length", lambda n: xi.overlap_add(S, 64, length=n)
    yield "overlap_add one frame", lambda n: xi.overlap_add(S, n, length=129)
    yield "pad", lambda n: xi.pad(x, n, 0)
    yield "pad after", lambda n: xi.pad(x, 0, n, "reflect")
    yield "phase_ramp", lambda n: xi.phase_ramp(n, 3)
    yield "phase_ramp origin", lambda n: xi.phase_ramp(256, n)
    for function in (xi.dual_window, xi.tight_window, xi.check_nola, xi.check_cola):
        yield f"{function.__name__} hop_length", lambda n, f=function: f("hann", n, win_length=256)
        yield f"{function.__name__} win_length", lambda n, f=function: f("hann", 64, win_length=n)
        yield f"{function.__name__} both", lambda n, f=function: f("hann", n, win_length=n)
    yield "low_latency_windows n_fft", lambda n: xi.low_latency_windows(n, 64, 128)
    yield "low_latency_windows hop_length", lambda n: xi.low_latency_windows(256, n, 128)
    yield "low_latency_windows synthesis_length", lambda n: xi.low_latency_windows(256, 64, n)
    yield "linear_frequencies", lambda n: xi.linear_frequencies(n, 0, 4000, 8000)
    yield "log_frequencies", lambda n: xi.log_frequencies(n, 50, 4000, 8000)
    for method in ("n_frames", "n_samples", "frame_times", "coverage"):
        yield method, lambda n, name=method: getattr(xi.STFT(256), name)(n)
    yield "coverage length", lambda n: xi.STFT(256).coverage(40, length=n)
    yield "window of a parameter", lambda n: xi.stft(x, 256, window=("general_gaussian", n, n))
    yield "window of another", lambda n: xi.stft(x, 256, window=("chebwin", n))
    yield "workers", lambda n: xi.stft(x, 256, workers=n)


def streamed(transform: xi.STFT) -> None:
    forward, back = xi.StreamingSTFT(transform), xi.StreamingISTFT(transform)
    frames = forward.push(x)
    back.push(frames)
    back.push(np.ones((transform.n_bins, 2), complex))
    back.flush(length=100)
    forward.flush()


def repeated(n_samples: int) -> np.ndarray:
    """A signal that takes no memory, as long as NumPy has any."""
    return np.broadcast_to(np.float32(1), (min(n_samples, 2**55),))


def of_peers() -> Calls:
    from xp_istft.compat import librosa, scipy

    for name in ("n_fft", "hop_length", "win_length"):
        yield f"librosa.stft {name}", lambda n, k=name: librosa.stft(x, **{"n_fft": 256, k: n})
        yield f"librosa.istft {name}", lambda n, k=name: librosa.istft(X, **{k: n})
        yield f"librosa.istft {name}, length", lambda n, k=name: librosa.istft(X, length=100, **{k: n})
    yield "librosa.istft length", lambda n: librosa.istft(X, length=n)
    for name in ("nperseg", "nfft"):
        yield f"scipy.stft {name}", lambda n, k=name: scipy.stft(x, **{k: n})
        yield f"scipy.istft {name}", lambda n, k=name: scipy.istft(X, **{k: n})
    yield "ShortTimeFFT hop", lambda n: scipy.ShortTimeFFT(np.hanning(256), n, 1.0).stft(x)
    yield "ShortTimeFFT mfft", lambda n: scipy.ShortTimeFFT(np.hanning(256), 64, 1.0, mfft=n).stft(x)


def of_torch() -> Calls:
    import torch

    signal, spectrum = torch.from_numpy(x), torch.from_numpy(X)
    for name in ("n_fft", "hop_length", "padding"):
        yield f"torch stft {name}", lambda n, k=name: xi.stft(signal, **{"n_fft": 256, k: n})
        yield f"torch istft {name}", lambda n, k=name: xi.istft(spectrum, nola="zero", length=6000, **{k: n})
    yield "torch pad", lambda n: xi.pad(signal, n, 0)
    yield "torch frame padding", lambda n: xi.frame(signal, 256, n // 2, padding=n // 2)
    yield "torch overlap_add", lambda n: xi.overlap_add(spectrum, n)


def files(folder: Path) -> Calls:
    """Files that announce a size; what the readers refuse is a Failure."""
    import h5py
    import soundfile

    from xp_istft.cli import convert
    from xp_istft.cli.plain_arrays import load_window
    from xp_istft.cli.spectrogram_files import Spectrogram

    good = folder / "good.h5"
    soundfile.write(folder / "good.wav", x, 8000, "FLOAT")
    convert.recording_to_spectrogram(folder / "good.wav", good, {"n_fft": 256}, True, 1)

    def announced(name: str, size: int) -> None:
        path = folder / "bad.h5"
        path.write_bytes(good.read_bytes())
        with h5py.File(path, "r+") as file:
            value = [min(size, 2**63 - 1)] * 2 if name == "padding" else min(size, 2**63 - 1)
            file["spectrum"].attrs[name] = value
        convert.spectrogram_to_recording(path, folder / "y.wav", {}, True, 1)

    def shaped(shape: tuple[int, ...], kind: str, read: Callable[[Path], Any]) -> None:
        path = folder / "bad.npy"
        text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(400))
        read(path)

    def datasets(size: int) -> None:
        path, size = folder / "bad.h5", min(size, 2**62)
        with h5py.File(path, "w") as file:
            file.create_dataset("spectrum", (1, 129, size), "complex64", chunks=(1, 129, min(size, 2**20)))
        with Spectrogram(path):
            pass

    for name in ("n_fft", "hop_length", "win_length", "length", "sample_rate", "padding"):
        yield f"file {name}", lambda n, k=name: announced(k, n)
    yield "file shape", datasets
    yield "npy spectrum", lambda n: shaped((129, n), "<c8", Spectrogram)
    magnitudes = partial(Spectrogram, magnitudes=True)
    yield "npy magnitudes", lambda n: shaped((n, 129, 4), "<f4", magnitudes)
    yield "npy window", lambda n: shaped((n,), "<f8", load_window)


def outcome(call: Callable[[int], Any], size: int) -> str:
    """What is wrong with what becomes of a call; nothing, where it is right, or refused by name."""
    try:
        call(size)
    except (ValueError, TypeError, MemoryError) as cause:
        return "" if _OURS.match(str(cause)) else f"{type(cause).__name__}: {cause}"
    except Exception as cause:
        return "" if type(cause).__name__ == "Failure" else f"{type(cause).__name__}: {cause}"
    return ""


def main() -> list[str]:
    """A line for each call that is neither right nor refused by name."""
    import resource

    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = [*public(), *of_peers()]
        calls += of_torch() if importlib.util.find_spec("torch") else []
        calls += files(Path(name)) if all(map(importlib.util.find_spec, ("h5py", "soundfile"))) else []
        for _, call in calls:  # what is loaded, or tried once, comes before the limit
            outcome(call, 256)
        there = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (there + SPARE_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(sum(os.times()[:2])) + CPU_SECONDS,) * 2)
        told = []
        for label, call in calls:
            for size in SIZES:
                said = outcome(call, size)
                if said:
                    told.append(f"{label} {size}: {said[:200]}")
        return told


if __name__ == "__main__":
    print("\n".join(main()) or "all right, or refused by name")
