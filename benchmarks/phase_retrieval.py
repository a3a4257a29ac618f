"""Phase retrieval: how near it comes, and how fast, beside librosa and a loop of torch.

    python benchmarks/phase_retrieval.py [RECORDING ...] [--minutes 6] [--threads 2]

The signals are three made ones (a sentence of speech-like sounds, a chord of plucked strings, a glide over noise) and
the recordings given. Prints, and writes to benchmarks/results/phase_retrieval.md: the spectral convergence in decibels
(lower is better) of each algorithm after 32 and 100 iterations at hops of n_fft / 2, / 4 and / 8, and the time of 32
iterations (see races.py). librosa's own start is random; all random starts are the same.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch
from races import race
from scipy.signal import lfilter, resample_poly

import xp_istft as xi
from xp_istft.cli.speech import SAMPLE_RATE, sentence

SECONDS = 2.5  # of each signal
FRAME_SECONDS = 0.055  # n_fft is the power of two nearest to it
FIRST, LAST = 32, 100
PARTS = (2, 4, 8)  # hops in a frame
ALGORITHMS = ("fgla", "gla", "raar", "admm", "hybrid")


Signals = dict[str, tuple[np.ndarray, int]]  # samples, and n_fft


def frame_size(rate: float) -> int:
    return 1 << round(np.log2(FRAME_SECONDS * rate))


def made() -> Signals:
    rng = np.random.default_rng(0)
    n_samples = int(SECONDS * SAMPLE_RATE)
    t = np.arange(n_samples) / SAMPLE_RATE
    strings = np.zeros(n_samples)
    for pitch, onset in ((196.0, 0.0), (246.9, 0.3), (293.7, 0.7), (392.0, 1.2), (146.8, 1.6)):
        period = round(SAMPLE_RATE / pitch)
        pluck = np.zeros(n_samples)
        start = int(onset * SAMPLE_RATE)
        pluck[start : start + period] = rng.uniform(-1, 1, period)
        loop = np.zeros(period + 2)
        loop[0], loop[period], loop[period + 1] = 1, -0.498, -0.498  # Karplus & Strong
        strings += lfilter([1.0], loop, pluck)
    glide = np.sin(2 * np.pi * (200 * t + 400 * t**2)) + 0.5 * np.sin(2 * np.pi * (3000 * t - 300 * t**2))
    glide += 0.03 * rng.standard_normal(n_samples)
    signals = {"sentence (made)": sentence()[:n_samples], "strings (made)": strings, "glides (made)": glide}
    return {name: (x, frame_size(SAMPLE_RATE)) for name, x in signals.items()}


def recorded(path: Path) -> tuple[np.ndarray, int]:
    x, rate = soundfile.read(path, always_2d=True)
    x = x[:, 0]
    while rate > 32000:
        x, rate = resample_poly(x, 1, 2), rate // 2
    return x[: int(SECONDS * rate)], frame_size(rate)


def convergence(S: np.ndarray, y: np.ndarray, transform: xi.STFT) -> float:
    return 20 * np.log10(float(xi.spectral_convergence(S, transform.stft(y))))


def qualities(signals: Signals) -> list[str]:
    """A table of means over the signals, and one of every signal."""
    lines: list[str] = []
    rows: dict[tuple[str, str, int], dict[tuple[int, str], float]] = {}
    for parts in PARTS:
        for name, (x, n_fft) in signals.items():
            transform = xi.STFT(n_fft, n_fft // parts)
            S = np.abs(transform.stft(x))
            for n_iter in (FIRST, LAST):
                theirs = librosa.griffinlim(
                    S, n_iter=n_iter, hop_length=transform.hop_length, length=x.size, random_state=0
                )
                rows.setdefault(("librosa", "random", n_iter), {})[parts, name] = convergence(S, theirs, transform)
                for algorithm, init in itertools.product(ALGORITHMS, ("random", "pghi")):
                    y = xi.griffin_lim(
                        S, transform, n_iter=n_iter, algorithm=algorithm, init=init, rng=0, length=x.size
                    )
                    rows.setdefault((algorithm, init, n_iter), {})[parts, name] = convergence(S, y, transform)
            y = xi.griffin_lim(S, transform, n_iter=0, length=x.size)
            rows.setdefault(("none", "pghi", 0), {})[parts, name] = convergence(S, y, transform)
    lines += ["| algorithm | start | iterations | " + " | ".join(f"hop N/{parts}" for parts in PARTS) + " |"]
    lines += ["|---" * (3 + len(PARTS)) + "|"]
    mean = {key: [np.mean([row[parts, name] for name in signals]) for parts in PARTS] for key, row in rows.items()}
    for key, values in sorted(mean.items(), key=lambda pair: (pair[0][2], pair[0])):
        lines.append("| " + " | ".join([*map(str, key), *(f"{value:.1f}" for value in values)]) + " |")
    ours, theirs = mean["hybrid", "pghi", FIRST], mean["librosa", "random", LAST]
    gains = ", ".join(f"{b - a:.1f} dB at N/{parts}" for a, b, parts in zip(ours, theirs, PARTS, strict=True))
    lines += ["", f"hybrid from pghi, {FIRST} iterations, is nearer than librosa after {LAST} by {gains}.", ""]
    lines += ["Each signal, " + f"hybrid from pghi after {FIRST} / librosa after {LAST}:", ""]
    for name in signals:
        pairs = (
            f"{rows['hybrid', 'pghi', FIRST][parts, name]:.1f} / {rows['librosa', 'random', LAST][parts, name]:.1f}"
            for parts in PARTS
        )
        lines.append(f"- {name}: " + ", ".join(pairs))
    return lines


def torch_loop(S: torch.Tensor, start: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """torchaudio's Griffin-Lim, line for line."""
    window = torch.hann_window(n_fft)
    kept = {"n_fft": n_fft, "hop_length": hop, "window": window}
    angles, before, weight = start, torch.zeros_like(start), 0.99 / 1.99
    for _ in range(FIRST):
        inverse = torch.istft(S * angles, **kept)
        rebuilt = torch.stft(inverse, **kept, pad_mode="constant", return_complex=True)
        angles = rebuilt - before * weight
        angles = angles / (angles.abs() + 1e-16)
        before = rebuilt
    return torch.istft(S * angles, **kept)


def times(threads: int, budget: float) -> list[str]:
    torch.set_num_threads(threads)
    lines = ["| signal | contender | ms (median) | times fgla |", "|---|---|---|---|"]
    for seconds, n_fft, hop in ((10, 1024, 256), (30, 2048, 512)):
        x = np.random.default_rng(0).standard_normal(seconds * 22050).astype(np.float32)
        transform = xi.STFT(n_fft, hop)
        S = np.ascontiguousarray(np.abs(transform.stft(x)))
        phase = (2 * np.pi * np.random.default_rng(1).random(S.shape)).astype(np.float32)
        start = torch.polar(torch.ones(S.shape), torch.asarray(phase))

        def ours(S: np.ndarray = S, transform: xi.STFT = transform, **options: Any) -> Any:
            return xi.griffin_lim(S, transform, workers=threads, **options)

        contenders: dict[str, Callable[[], Any]] = {
            "fgla": lambda ours=ours, phase=phase: ours(algorithm="fgla", init=phase),
            "fgla, random start": lambda ours=ours: ours(algorithm="fgla", init="random", rng=0),
            "hybrid, pghi start": ours,
            "pghi alone": lambda S=S, transform=transform: xi.pghi(S, transform),
            "librosa": lambda S=S, hop=hop: librosa.griffinlim(S, hop_length=hop, random_state=0),
            "torch loop": lambda S=S, start=start, n=n_fft, hop=hop: torch_loop(torch.asarray(S), start, n, hop),
        }
        result = race(contenders, rounds=9, budget=budget / 2)
        for name in contenders:
            label = f"{seconds} s, {n_fft}/{hop}"
            lines.append(f"| {label} | {name} | {1e3 * result.median(name):.0f} | {result.ratio(name, 'fgla'):.2f} |")
        lines.append(f"| | contended samples | {result.contended} of {result.samples} | |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("quality", "time"))
    arguments = parser.parse_args()
    lines = ["# Phase retrieval", ""]
    if arguments.only != "time":
        signals = made() | {path.stem: recorded(path) for path in arguments.recordings}
        lines += ["Spectral convergence, dB, mean over " + ", ".join(signals), "", *qualities(signals), ""]
    if arguments.only != "quality":
        lines += [f"Time of {FIRST} iterations, {arguments.threads} threads", ""]
        lines += times(arguments.threads, 60 * arguments.minutes)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.only is None:
        (Path(__file__).parent / "results" / "phase_retrieval.md").write_text(text)


if __name__ == "__main__":
    main()
