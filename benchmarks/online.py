"""Online phase retrieval: how near it comes by look-ahead, beside RTISI-LA and what knows all frames, and its time.

    python benchmarks/online.py [RECORDING ...] [--seconds 2.5]

The signals are a made sentence of speech-like sounds and the recordings given, at 16 kHz, 512 / 128. Writes to
benchmarks/results/online-<cpu>.md the spectral convergence in decibels (lower is better) of 4 iterations a frame, and
the time of a push of one frame of NumPy's and of torch's, on one thread, beside the 8 ms of its hop.
"""

from __future__ import annotations

import time
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import arguments, machine, table, write
from scipy.signal import resample_poly

import xp_istft as xi
from xp_istft.cli.speech import SAMPLE_RATE, sentence

TRANSFORM = xi.STFT(512, 128)
LOOKAHEADS = tuple(range(8))
ONLINE: dict[str, dict[str, Any]] = {
    "default": {},
    "hybrid": {"algorithm": "hybrid"},
    "fgla": {"algorithm": "fgla"},
    "plain RTISI-LA": {"algorithm": "gla", "init": "overlap", "missing": "silent"},
}
OFFLINE: dict[str, dict[str, Any]] = {
    "griffin_lim, 32 iterations": {},
    "fast Griffin-Lim from random phases, 32 iterations": {"algorithm": "fgla", "init": "random", "rng": 0},
}


def recorded(path: Path, seconds: float) -> np.ndarray:
    import soundfile

    x, rate = soundfile.read(path, always_2d=True)
    common = gcd(rate, SAMPLE_RATE)
    x = resample_poly(x[: int(seconds * rate)].mean(axis=1), SAMPLE_RATE // common, rate // common)
    return x[: int(seconds * SAMPLE_RATE)]


def distance(S: np.ndarray, y: np.ndarray) -> float:
    return 20 * float(np.log10(xi.spectral_convergence(S, TRANSFORM.stft(y))))


def online(S: np.ndarray, length: int, lookahead: int, chosen: dict[str, Any]) -> float:
    stream = xi.StreamingGriffinLim(TRANSFORM, lookahead=lookahead, **chosen)
    return distance(S, np.concatenate([stream.push(S), stream.flush(length)]))


def milliseconds(dtype: str, library: str, frames: int) -> float:
    """Of a push of one frame: the median over eight runs of their means."""
    S: Any = np.abs(TRANSFORM.stft(sentence())).astype(dtype)
    S = torch.tensor(S) if library == "torch" else S
    stream, times = xi.StreamingGriffinLim(TRANSFORM), []
    with xi.workers(1):
        stream.push(S[:, :20])
        for _ in range(8):
            start = time.perf_counter()
            for m in range(20, 20 + frames):
                stream.push(S[:, m : m + 1])
            times.append((time.perf_counter() - start) / frames)
    return 1e3 * float(np.median(times))


def main() -> None:
    parser = arguments(__doc__, seconds=2.5)
    parser.add_argument("recordings", nargs="*", type=Path)
    chosen = parser.parse_args()
    seconds = 0.2 if chosen.quick else chosen.seconds
    signals = {"sentence (made)": sentence()[: int(seconds * SAMPLE_RATE)]}
    signals |= {path.stem: recorded(path, seconds) for path in chosen.recordings}
    magnitudes = {name: np.abs(TRANSFORM.stft(x)) for name, x in signals.items()}
    lookaheads = LOOKAHEADS[:2] if chosen.quick else LOOKAHEADS
    recordings = [name for name in signals if len(signals) == 1 or "(made)" not in name]
    each, means = [], []
    for kind, settings in ONLINE.items():
        found = {(n, name): online(magnitudes[name], signals[name].size, n, settings)
                 for n in lookaheads for name in signals}  # fmt: skip
        means.append([kind, *(f"{np.mean([found[n, name] for name in recordings]):.1f}" for n in lookaheads)])
        shown = min(3, lookaheads[-1])
        each.append([f"{kind}, look-ahead {shown}", *(f"{found[shown, name]:.1f}" for name in signals)])
    for kind, settings in OFFLINE.items():
        found_offline = [distance(S, xi.griffin_lim(S, TRANSFORM, length=signals[name].size, **settings))
                         for name, S in magnitudes.items()]  # fmt: skip
        mean = np.mean([value for value, name in zip(found_offline, signals, strict=True) if name in recordings])
        each.append([f"{kind} (mean {mean:.1f})", *map("{:.1f}".format, found_offline)])
    hop = 1e3 * TRANSFORM.hop_length / SAMPLE_RATE
    torch.set_num_threads(1)
    taken = {
        f"{library}, {dtype}": milliseconds(dtype, library, 10 if chosen.quick else 100)
        for library in ("NumPy", "torch")
        for dtype in ("float32", "float64")
    }
    write(
        __file__, chosen.output, "Online phase retrieval",
        "Spectral convergence, dB, by look-ahead, mean over " + ", ".join(recordings) + ":",
        table(["4 iterations", *map(str, lookaheads)], means),
        "Of each signal:",
        table(["", *signals], each),
        f"A push of one frame, look-ahead 3, 4 iterations, one thread, beside the {hop:g} ms of its hop:",
        table(["arrays", "ms", "real-time factor"], [[name, ms, f"{ms / hop:.3f}"] for name, ms in taken.items()]),
        suffix=f"-{machine()}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
