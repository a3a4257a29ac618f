"""Phase retrieval: how near it comes, and how fast, beside librosa and a loop of torch.

    python benchmarks/phase_retrieval.py [RECORDING ...] [--minutes 6] [--threads 2]

The signals are three made ones (a sentence of speech-like sounds, a chord of plucked strings, a glide over noise) and
the recordings given. Writes to benchmarks/results/phase_retrieval.md: the spectral convergence in decibels (lower is
better) of each algorithm after 32 and 100 iterations at hops of n_fft / 2, / 4 and / 8, and the time of 32 iterations
for noise (to PGHI the hardest signal), on one thread and on several. librosa's own start is random; all random starts
are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from races import race
from results import arguments, table, write
from scipy.signal import lfilter, resample_poly

import xp_istft as xi
from xp_istft.cli.speech import SAMPLE_RATE, sentence

SECONDS = 2.5  # of each signal
FRAME_SECONDS = 0.055  # n_fft is the power of two nearest to it
FIRST, LAST = 32, 100
PARTS = (2, 4, 8)  # hops in a frame
REFERENCE = "fgla, random start"  # what librosa does
ALGORITHMS = ("fgla", "gla", "raar", "admm", "hybrid")
TIMED = ((10, 1024, 256), (30, 2048, 512))  # seconds, n_fft, hop

Signals = dict[str, tuple[np.ndarray, int]]  # samples, and their rate


def made() -> Signals:
    rng = np.random.default_rng(0)
    n_samples = int(SECONDS * SAMPLE_RATE)
    t = np.arange(n_samples) / SAMPLE_RATE
    strings = np.zeros(n_samples)
    for pitch, onset in ((196.0, 0.0), (246.9, 0.3), (293.7, 0.7), (392.0, 1.2), (146.8, 1.6)):
        period, start = round(SAMPLE_RATE / pitch), int(onset * SAMPLE_RATE)
        pluck, loop = np.zeros(n_samples), np.zeros(period + 2)
        pluck[start : start + period] = rng.uniform(-1, 1, period)
        loop[0], loop[period:] = 1, -0.498  # Karplus & Strong
        strings += lfilter([1.0], loop, pluck)
    glide = np.sin(2 * np.pi * (200 * t + 400 * t**2)) + 0.5 * np.sin(2 * np.pi * (3000 * t - 300 * t**2))
    glide += 0.03 * rng.standard_normal(n_samples)
    signals = {"sentence (made)": sentence()[:n_samples], "strings (made)": strings, "glides (made)": glide}
    return {name: (x, SAMPLE_RATE) for name, x in signals.items()}


def recorded(path: Path) -> tuple[np.ndarray, int]:
    import soundfile

    x, rate = soundfile.read(path, always_2d=True)
    x = x[:, 0]
    while rate > 32000:
        x, rate = resample_poly(x, 1, 2), rate // 2
    return x[: int(SECONDS * rate)], rate


def retrieved(S: np.ndarray, t: xi.STFT, n_samples: int, key: tuple[str, str, int]) -> np.ndarray:
    algorithm, init, n_iter = key
    if algorithm == "librosa":
        return librosa.griffinlim(S, n_iter=n_iter, hop_length=t.hop_length, length=n_samples, random_state=0)
    return xi.griffin_lim(S, t, n_iter=n_iter, algorithm=algorithm, init=init, rng=0, length=n_samples)


def qualities(signals: Signals, most: tuple[int, ...]) -> tuple[str, ...]:
    """A table of means over the signals, and one of every signal."""
    ours = itertools.product(ALGORITHMS, ("pghi", "random"))
    pairs = [*sorted(ours), ("librosa", "random")]
    keys = [("hybrid", "pghi", 0), *((*pair, n_iter) for n_iter in most for pair in pairs)]
    found: dict[tuple[str, str, int], np.ndarray] = {key: np.zeros((len(PARTS), len(signals))) for key in keys}
    for (i, parts), (j, (x, rate)) in itertools.product(enumerate(PARTS), enumerate(signals.values())):
        n_fft = 1 << round(np.log2(FRAME_SECONDS * rate))
        t = xi.STFT(n_fft, n_fft // parts)
        S = np.abs(t.stft(x))
        for key in keys:
            y = retrieved(S, t, x.size, key)
            found[key][i, j] = 20 * np.log10(float(xi.spectral_convergence(S, t.stft(y))))
    hops = [f"hop N/{parts}" for parts in PARTS]
    mean = [[key[0], key[1], str(key[2]), *map("{:.1f}".format, found[key].mean(axis=1))] for key in keys]
    best, theirs = found["hybrid", "pghi", most[0]], found["librosa", "random", most[-1]]
    each = [[name, *(f"{a:.1f} / {b:.1f}" for a, b in zip(best[:, j], theirs[:, j], strict=True))]
            for j, name in enumerate(signals)]  # fmt: skip
    gains = ", ".join(f"{gain:.1f} dB at {hop}" for gain, hop in zip((theirs - best).mean(axis=1), hops, strict=True))
    return (
        "Spectral convergence, dB, mean over " + ", ".join(signals) + ":",
        table(["algorithm", "start", "iterations", *hops], mean),
        f"hybrid from pghi, {most[0]} iterations, is nearer than librosa after {most[-1]} by {gains}.",
        f"Each signal, hybrid from pghi after {most[0]} / librosa after {most[-1]}:",
        table(["signal", *hops], each),
    )


def torch_loop(S: torch.Tensor, start: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """torchaudio's Griffin-Lim, line for line."""
    kept = {"n_fft": n_fft, "hop_length": hop, "window": torch.hann_window(n_fft)}
    angles, before, weight = start, torch.zeros_like(start), 0.99 / 1.99
    for _ in range(FIRST):
        inverse = torch.istft(S * angles, **kept)
        rebuilt = torch.stft(inverse, **kept, pad_mode="constant", return_complex=True)
        angles = rebuilt - before * weight
        angles = angles / (angles.abs() + 1e-16)
        before = rebuilt
    return torch.istft(S * angles, **kept)


def times(threads: int, budget: float, timed: tuple[tuple[float, int, int], ...]) -> tuple[str, ...]:
    torch.set_num_threads(threads)
    rows: list[list[Any]] = []
    for seconds, n_fft, hop in timed:
        x = np.random.default_rng(0).standard_normal(int(seconds * 22050)).astype(np.float32)
        transform = xi.STFT(n_fft, hop)
        S = np.ascontiguousarray(np.abs(transform.stft(x)))
        phase = (2 * np.pi * np.random.default_rng(1).random(S.shape)).astype(np.float32)
        start = torch.polar(torch.ones(S.shape), torch.asarray(phase))
        ours = partial(xi.griffin_lim, S, transform, workers=threads)
        contenders: dict[str, Callable[[], Any]] = {
            REFERENCE: partial(ours, algorithm="fgla", init="random", rng=0),
            "fgla, phases given": partial(ours, algorithm="fgla", init=phase),
            "the default: hybrid, pghi start": ours,
            "pghi alone": partial(xi.pghi, S, transform),
            "librosa": partial(librosa.griffinlim, S, hop_length=hop, random_state=0),
            "torch loop": partial(torch_loop, torch.asarray(S), start, n_fft, hop),
        }
        with xi.workers(threads):
            result = race(contenders, budget=budget / len(timed))
        rows += [[f"{seconds:g} s, {n_fft}/{hop}", name, 1e3 * result.median(name), result.ratio(name, REFERENCE)]
                 for name in contenders]  # fmt: skip
    said = f"Time of {FIRST} iterations, {threads} thread{'s' if threads > 1 else ''}:"
    return said, table(["signal", "contender", "ms", f"times {REFERENCE}"], rows)


def main() -> None:
    parser = arguments(__doc__, minutes=6.0, threads=2)
    parser.add_argument("recordings", nargs="*", type=Path)
    chosen = parser.parse_args()
    signals = made() | {path.stem: recorded(path) for path in chosen.recordings}
    if chosen.quick:
        signals = {"glide": (signals["glides (made)"][0][:4000], 4000)}
    parts = qualities(signals, (2,) if chosen.quick else (FIRST, LAST))
    timed: tuple[tuple[float, int, int], ...] = ((0.1, 64, 16),) if chosen.quick else TIMED
    budget = 0 if chosen.quick else 60 * chosen.minutes
    for threads in sorted({1, chosen.threads}):
        parts += times(threads, budget / 2, timed)
    write(__file__, chosen.output, "Phase retrieval", *parts)


if __name__ == "__main__":
    main()
