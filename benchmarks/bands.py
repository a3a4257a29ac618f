"""Mel bands to magnitudes and to sound: how near, and how fast, beside librosa and torchaudio.

    python benchmarks/bands.py [RECORDING ...] [--seconds 20] [--threads 1]

The signals are 0.4 s each of those of phase_retrieval.py and of the recordings given. Writes to
benchmarks/results/bands-<cpu>.md: the relative error of the magnitudes; after 32 iterations how far the bands of the
sound are from those given, and the level of its spectrum from the recording's (dB, root mean square, over 80 dB);
and times. torchaudio has no part in it but its way: InverseMelScale is one line of torch,
`torch.relu(torch.linalg.lstsq(...))`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from phase_retrieval import made, recorded
from races import race
from results import arguments, machine, table, write

import xp_istft as xi

ITERATIONS = 32
SETTINGS: dict[str, dict[str, Any]] = {
    "slaney": {},
    "htk, no norm": {"scale": "htk", "norm": None},
}
TOO_LONG = {("htk, no norm", 2)}  # for librosa: minutes for a second of sound
LOUD = 1e-4  # of the largest magnitude: what is quieter counts as this loud
WAYS = ("griffin_lim(bands=)", "mel_to_magnitude, then griffin_lim", "librosa")


def torchaudios(A: np.ndarray, M: np.ndarray, power: float) -> np.ndarray:
    bank, bands = torch.asarray(A.T), torch.asarray(M)
    found = torch.relu(torch.linalg.lstsq(bank.transpose(-1, -2)[None], bands[None], driver="gels").solution)
    return found[0].numpy() ** (1 / power)


def librosas(A: np.ndarray, M: np.ndarray, power: float) -> np.ndarray:
    """What librosa.feature.inverse.mel_to_stft does."""
    return librosa.util.nnls(A, M) ** (1 / power)


def away(found: np.ndarray, due: np.ndarray) -> float:
    return float(np.linalg.norm(found - due) / np.linalg.norm(due))


def level_away(found: np.ndarray, due: np.ndarray) -> float:
    a, b = (xi.to_db(each, reference=float(due.max()), floor=20 * np.log10(LOUD)) for each in (found, due))
    return float(np.sqrt(np.mean((a - b) ** 2)))


def qualities(signals: dict[str, tuple[np.ndarray, int]], n_fft: int, n_mels: int) -> tuple[str, ...]:
    errors, sounds = [], []
    for (name, options), power in ((each, power) for each in SETTINGS.items() for power in (1, 2)):
        of_magnitudes, of_sounds = [], []
        for x, sr in signals.values():
            t, bands = xi.STFT(n_fft), xi.Mel(n_mels, sr, power=power, **options)
            S = np.abs(t.stft(x))
            M, A = xi.magnitude_to_mel(S, bands), bands.filterbank(n_fft)
            ours = xi.mel_to_magnitude(M, bands, t)
            made = [ours] if (name, power) in TOO_LONG else [ours, librosas(A, M, power)]
            of_magnitudes.append([away(each, S) for each in (torchaudios(A, M, power), *made)])
            kept = {"n_iter": ITERATIONS, "length": x.size}
            sounds_made = [xi.griffin_lim(M, t, bands=bands, **kept), xi.griffin_lim(ours, t, **kept)]
            sounds_made += [
                librosa.griffinlim(each, hop_length=t.hop_length, random_state=0, **kept) for each in made[1:]
            ]
            spectra = [np.abs(t.stft(y)) for y in sounds_made]
            of_sounds.append([(away(xi.magnitude_to_mel(Y, bands), M), level_away(Y, S)) for Y in spectra])
        found = [*map(float, np.mean(of_magnitudes, axis=0)), None]
        errors.append([name, str(power), *found[:3]])
        means = np.mean(of_sounds, axis=0)
        sounds += [[name, str(power), way, *map(float, each)] for way, each in zip(WAYS, means, strict=False)]
    return (
        f"Means over {', '.join(signals)}; n_fft {n_fft}, {n_mels} bands. Relative error of the magnitudes:",
        table(["bands", "power", "torchaudio's way", "mel_to_magnitude", "librosa"], errors),
        f"Sound of them, after {ITERATIONS} iterations:",
        table(["bands", "power", "by", "bands, relative distance", "level, dB"], sounds),
        "-: librosa was not tried, which takes minutes for a second of sound.",
    )


def times(signals: dict[str, tuple[np.ndarray, int]], n_fft: int, n_mels: int, budget: float, threads: int) -> Any:
    torch.set_num_threads(threads)
    rows = []
    for name, (x, sr) in signals.items():
        t, bands = xi.STFT(n_fft), xi.Mel(n_mels, sr)
        M = xi.magnitude_to_mel(np.abs(t.stft(x)), bands).astype(np.float32)
        A = bands.filterbank(n_fft).astype(np.float32)
        contenders = {
            "ours": partial(xi.mel_to_magnitude, M, bands, t),
            "librosa": partial(librosas, A, M, 2),
            "torchaudio's way": partial(torchaudios, A, M, 2),
        }
        result = race(contenders, budget=budget / len(signals))
        rows.append([name, 1e3 * result.median("ours"), *(result.ratio(each, "ours") for each in list(contenders)[1:])])
    said = f"Time of `mel_to_magnitude` (float32, power 2, slaney), others as multiples; torch on {threads} thread(s):"
    return said, table(["signal", "ms", "librosa / ours", "torchaudio's way / ours"], rows)


def main() -> None:
    parser = arguments(__doc__, seconds=20.0, threads=1)
    parser.add_argument("recordings", nargs="*", type=Path)
    chosen = parser.parse_args()
    whole = made() | {path.stem: recorded(path) for path in chosen.recordings}
    signals = {name: (x[int(0.5 * sr) : int(0.9 * sr)], sr) for name, (x, sr) in whole.items()}
    n_fft, n_mels, budget = 1024, 80, chosen.seconds
    if chosen.quick:
        x, _ = signals["glides (made)"]
        signals, n_fft, n_mels, budget = {"glide": (x[:1000], 4000)}, 128, 10, 0
    parts = qualities(signals, n_fft, n_mels) + times(signals, n_fft, n_mels, budget, chosen.threads)
    write(__file__, chosen.output, "Mel bands", *parts, suffix=f"-{machine()}")


if __name__ == "__main__":
    main()
