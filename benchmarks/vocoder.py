"""The phase vocoder: how near its sounds come to the truth, and how fast, beside librosa and torchaudio.

    python benchmarks/vocoder.py [RECORDING ...] [--minutes 1]

Made sounds are synthesised at the stretched time, too: that is the truth. Of recordings there is none; of them it is
measured how far the magnitudes of the signal are from those that the spectrum asked for, and the inconsistency of that
spectrum. torchaudio's function stands here line for line. Every signal is made by our `istft`.
Writes to benchmarks/results/vocoder-<cpu>.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import torch
from phase_retrieval import recorded
from races import race
from results import arguments, machine, table, write

import xp_istft as xi
from xp_istft.cli.speech import SAMPLE_RATE, sentence

SECONDS = 2.0
RATES = (0.5, 0.8, 1.25, 2.0)
PARTS = (4, 8)  # hops in a frame
N_FFT = 1024
TIMED = ((30.0, 2048, 512), (30.0, 1024, 256))  # seconds, n_fft, hop
ENDS = 10  # frames at both ends that are left out: they hold what stands before and after the sounds

Samples = np.ndarray
Vocoder = Callable[[np.ndarray, float, xi.STFT], np.ndarray]


# ---- sounds, at time t of a sound that is `rate` times as fast at the same pitch


def sine(t: Samples, rate: float) -> Samples:
    return np.sin(2 * np.pi * 440.7 * t)


def sines(t: Samples, rate: float) -> Samples:
    return sum((np.sin(2 * np.pi * hz * t + hz) for hz in (220.3, 447.7, 1003.1, 3050.9)), np.zeros(t.size))


def chirp(t: Samples, rate: float) -> Samples:
    return np.sin(2 * np.pi * (300 * t + 400 * rate * t**2))


def vibrato(t: Samples, rate: float) -> Samples:
    turns = 220 * t + 8 / (2 * np.pi * 5 * rate) * np.sin(2 * np.pi * 5 * rate * t)
    return sum((np.cos(2 * np.pi * k * turns + k * k) / k for k in range(1, 20)), np.zeros(t.size))


def notes(t: Samples, rate: float) -> Samples:
    y = np.zeros(t.size)
    for i, onset in enumerate(np.arange(0.1, SECONDS, 0.3)):
        since = np.maximum(t - onset / rate, 0)
        tone = sum((np.sin(2 * np.pi * k * (200 + 60 * i) * since) / k for k in range(1, 10)), np.zeros(t.size))
        y += np.exp(-4 * rate * since) * tone
    return y


def clicks(t: Samples, rate: float) -> Samples:
    y = np.zeros(t.size)
    at = np.rint(np.arange(0.1, SECONDS, 0.23) * SAMPLE_RATE / rate).astype(int)
    y[at[at < t.size]] = 1
    return y


SOUNDS = (sine, sines, chirp, vibrato, notes, clicks)


# ---- contenders


def librosas(X: np.ndarray, rate: float, t: xi.STFT) -> np.ndarray:
    return librosa.phase_vocoder(X, rate=rate, hop_length=t.hop_length, n_fft=t.n_fft)


def torchaudios(X: np.ndarray, rate: float, t: xi.STFT) -> np.ndarray:
    spectrum = torch.from_numpy(X)
    advance = torch.linspace(0, math.pi * t.hop_length, t.n_bins, dtype=spectrum.real.dtype)[:, None]
    steps = torch.arange(0, spectrum.size(-1), rate, dtype=spectrum.real.dtype)
    way = steps % 1.0
    first = spectrum[..., :1].angle()
    spectrum = torch.nn.functional.pad(spectrum, [0, 2])
    here, there = spectrum.index_select(-1, steps.long()), spectrum.index_select(-1, (steps + 1).long())
    phase = there.angle() - here.angle() - advance
    phase = phase - 2 * math.pi * torch.round(phase / (2 * math.pi)) + advance
    phase = torch.cumsum(torch.cat([first, phase[..., :-1]], dim=-1), -1)
    return torch.polar(way * there.abs() + (1 - way) * here.abs(), phase).numpy()


def ours(phases: str) -> Vocoder:
    return lambda X, rate, t: xi.phase_vocoder(X, rate, t, phases=phases)


CONTENDERS: dict[str, Vocoder] = {
    "gradient": ours("gradient"),
    "locked": ours("locked"),
    "librosa": librosas,
    "torchaudio": torchaudios,
}


# ---- what is measured


def decibels(ratio: float) -> float:
    return 20 * math.log10(max(ratio, 1e-12))


def convergence(S: np.ndarray, y: np.ndarray, t: xi.STFT) -> float:
    inner = slice(ENDS, -ENDS)
    Z = np.abs(t.stft(y))
    count = min(S.shape[-1], Z.shape[-1])
    return decibels(float(xi.spectral_convergence(S[:, :count][:, inner], Z[:, :count][:, inner])))


def from_the_truth(sound: Callable[[Samples, float], Samples], rate: float, t: xi.STFT, vocoder: Vocoder) -> float:
    n_samples = int(SECONDS * SAMPLE_RATE)
    x = sound(np.arange(n_samples) / SAMPLE_RATE, 1)
    truth = sound(np.arange(round(n_samples / rate)) / SAMPLE_RATE, rate)
    y = t.istft(vocoder(t.stft(x), rate, t), length=truth.size)
    return convergence(np.abs(t.stft(truth)), y, t)


def loss(rate: float, t: xi.STFT, vocoder: Vocoder) -> float:
    """Decibels that a steady sine is softer, in the mean over its middle half."""
    time = np.arange(int(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    n_samples = round(time.size / rate)
    y = t.istft(vocoder(t.stft(sine(time, 1)), rate, t), length=n_samples)[n_samples // 4 : -n_samples // 4]
    return decibels(float(np.sqrt(2 * (y**2).mean())))


def of_a_recording(x: np.ndarray, rate: float, t: xi.STFT, vocoder: Vocoder) -> tuple[float, float]:
    """Spectral convergence to the magnitudes asked for, and inconsistency, in decibels."""
    Y = vocoder(t.stft(x), rate, t)
    y = t.istft(Y, length=round(x.size / rate))
    return convergence(np.abs(Y), y, t), decibels(float(xi.inconsistency(Y, t)))


def mean(values: Iterable[float]) -> str:
    return f"{np.mean(list(values)):.1f}"


def qualities(recordings: dict[str, np.ndarray], rates: tuple[float, ...], parts: tuple[int, ...]) -> tuple[str, ...]:
    problems = [(rate, xi.STFT(N_FFT, N_FFT // part)) for part, rate in itertools.product(parts, rates)]
    truth, lost, asked = [], [], []
    for sound in SOUNDS:
        found = [mean(from_the_truth(sound, *each, vocoder) for each in problems) for vocoder in CONTENDERS.values()]
        truth.append([sound.__name__, *found])
    for rate in rates:
        each = [problem for problem in problems if problem[0] == rate]
        found = [f"{np.mean([loss(*problem, vocoder) for problem in each]):.2f}" for vocoder in CONTENDERS.values()]
        lost.append([f"{rate:g}", *found])
    for name, x in recordings.items():
        cells = [
            np.mean([of_a_recording(x, *problem, vocoder) for problem in problems], axis=0)
            for vocoder in CONTENDERS.values()
        ]
        asked.append([name, *(f"{a:.1f} / {b:.1f}" for a, b in cells)])
    head = list(CONTENDERS)
    speeds, hops = ", ".join(f"{rate:g}" for rate in rates), " and ".join(f"n_fft / {part}" for part in parts)
    return (
        "Distance from the truth (spectral convergence to the magnitudes of the sound made at the stretched time), dB, "
        f"lower is better; means over rates {speeds}, n_fft {N_FFT}, hops of {hops}:",
        table(["sound", *head], truth),
        "Level of a steady sine of 0 dB at each rate, dB (phases of one peak that drift apart make it softer):",
        table(["rate", *head], lost),
        "Recordings, the same rates and hops: spectral convergence of the signal to the magnitudes asked for / "
        "inconsistency of the spectrum, dB:",
        table(["recording", *head], asked),
    )


def times(budget: float, rates: tuple[float, ...], timed: tuple[tuple[float, int, int], ...]) -> tuple[str, ...]:
    torch.set_num_threads(1)
    rows: list[list[str | float | None]] = []
    problems = list(itertools.product(timed, rates))
    for (seconds, n_fft, hop), rate in problems:
        t = xi.STFT(n_fft, hop)
        X = t.stft(np.random.default_rng(0).standard_normal(int(seconds * 22050)).astype(np.float32))
        contenders = {name: partial(vocoder, X, rate, t) for name, vocoder in CONTENDERS.items()}
        with xi.workers(1):
            result = race(contenders, budget=budget / len(problems))
        rows.append([f"{seconds:g} s, {n_fft}/{hop}, rate {rate:g}", 1e3 * result.median("librosa"),
                     *(result.ratio(name, "librosa") for name in CONTENDERS)])  # fmt: skip
    return (
        "Time of the spectrum alone, noise in float32 at 22050 Hz, one thread, times librosa's:",
        table(["problem", "librosa, ms", *CONTENDERS], rows),
    )


def main() -> None:
    parser = arguments(__doc__, minutes=1.0)
    parser.add_argument("recordings", nargs="*", type=Path)
    chosen = parser.parse_args()
    recordings = {"sentence (made)": sentence()[: int(SECONDS * SAMPLE_RATE)]}
    recordings |= {path.stem: recorded(path)[0] for path in chosen.recordings}
    quick = chosen.quick
    parts = qualities(recordings, RATES[2:3] if quick else RATES, PARTS[:1] if quick else PARTS)
    parts += times(60 * chosen.minutes, RATES[2:3] if quick else RATES, ((0.2, 64, 16),) if quick else TIMED)
    write(__file__, chosen.output, "Phase vocoder", *parts, suffix=f"-{machine()}")


if __name__ == "__main__":
    main()
