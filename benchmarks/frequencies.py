"""What the inverse for bins at any frequencies gives back, and how its settings were chosen: docs/frequencies.md.

    python benchmarks/frequencies.py                     what is promised, on many scales, beside nnAudio's iSTFT
    python benchmarks/frequencies.py --settings tuning   LAMBDA and TAU on the problems that they were chosen on
    python benchmarks/frequencies.py --settings unseen   and on others

writes benchmarks/results/frequencies*.md. SNR in dB, of consistent spectra and of spectra with noise at -20 dB. "in
band" is between the first and the last bin, less the main lobe of a Hann window at either end. Signals of scales of a
band are limited to it first.
"""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from results import arguments, table, write
from scipy.signal import chirp, resample_poly

import xp_istft as xi
from xp_istft.cli.speech import SAMPLE_RATE, sentence
from xp_istft.frequencies import normal_equations

SR, N_FFT = 22050, 2048
LINEAR, LOG = xi.linear_frequencies, xi.log_frequencies
KAISER = ("kaiser", 8.0)
# Scales (maker, bins, first and last Hz), windows, hops, signals.
COMMON = [
    *((LINEAR, 1025, lo, hi) for lo, hi in ((0, SR / 2), (50, 6000))),
    *((LOG, n_bins, lo, hi) for n_bins, lo, hi in ((4096, 5, SR / 2), (1025, 50, 6000), (2048, 50, 6000))),
]
PROMISED = (COMMON, ["hann", "hamming", "blackman", KAISER], [1024, 512, 256], ["speech", "noise", "sweep"])
OTHERS = [(LINEAR, 700, 120, 5000), (LOG, 1800, 70, 7000), (LINEAR, 2048, 0, SR / 2), (LOG, 5000, 4, SR / 2)]
SETTINGS = {
    "tuning": (COMMON, ["hann", KAISER], [512, 1024], ["speech", "noise"]),
    "unseen": (OTHERS, ["hamming", "blackman"], [256, 600], ["sweep", "clicks"]),
}
QUICK = ([(LOG, 300, 50, 9000)], ["hann"], [64], ["noise"])
TRIED = (1e-3, 1e-2, 1e-1)  # of LAMBDA, and of TAU


def signal(name: str) -> np.ndarray:
    """A second of it."""
    rng, t = np.random.default_rng(3), np.arange(SR) / SR
    if name == "speech":
        return resample_poly(sentence(), SR // 50, SAMPLE_RATE // 50)[:SR]
    if name == "noise":
        return 0.1 * rng.standard_normal(SR)
    if name == "sweep":
        swept = chirp(t, 40, t[-1], SR / 2.2, method="logarithmic")
        return swept * np.sin(np.pi * t / t[-1]) + 0.01 * rng.standard_normal(SR)
    return (rng.random(SR) < 2e-3) * rng.standard_normal(SR)


def limited(x: np.ndarray, lo: float, hi: float) -> np.ndarray:
    """x between lo and hi Hz, with flanks of 40 Hz inside; reflected at its ends, so that these stay in the band."""
    pad = 4096
    y = np.pad(x, pad, mode="reflect")
    f = np.fft.rfftfreq(2 * y.size, 1 / SR)
    flanks = np.interp(f, [lo, lo + 40], [float(lo <= 0), 1]) * np.interp(f, [hi - 40, hi], [1, float(hi >= SR / 2)])
    return np.fft.irfft(np.fft.rfft(y, 2 * y.size) * np.sin(np.pi / 2 * flanks) ** 2)[pad : pad + x.size]


def band(F: xi.Frequencies, n_fft: int) -> tuple[float, float]:
    """What the bins hold, less the main lobe of a Hann window at either end; all of it where they reach the end."""
    lo, hi = F.hz[0] - 0.5 * SR / n_fft, F.hz[-1] + 2.5 * SR / n_fft
    return (0.0 if lo <= 0 else F.hz[0] + 2 * SR / n_fft), (SR / 2 if hi >= SR / 2 else F.hz[-1] - 2 * SR / n_fft)


def snr(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x[: y.size], y[: x.size].astype(float)
    return float(10 * np.log10((x**2).sum() / max(((x - y) ** 2).sum(), 1e-300)))


class Problem:
    """A signal within the band of its scale, and its spectrum at those bins, clean and with noise at -20 dB."""

    def __init__(self, scale: Any, window: Any, hop: int, name: str, n_fft: int) -> None:
        make, *self.grid = scale
        F = make(*self.grid, SR)
        self.redundancy, self.band = F.redundancy(hop), band(F, n_fft)
        self.label = f"{make.__name__.partition('_')[0]} {self.grid[0]}, {self.grid[1]:g}-{self.grid[2]:g}"
        self.t = xi.STFT(n_fft, hop, window=window, frequencies=F, pad_mode="reflect")
        self.x = limited(signal(name), *self.band)
        self.X = self.t.stft(self.x)
        noise = np.random.default_rng(5).standard_normal((*self.X.shape, 2)).view(complex)[..., 0]
        self.noisy = self.X + 0.1 * np.sqrt((abs(self.X) ** 2).mean() / 2) * noise

    def qualities(self, solver: xi.Dual) -> list[float]:
        """SNR of the whole and in band, the iterations, and the SNR of the noisy spectrum."""
        t = replace(self.t, solver=solver)
        found = t.solve(self.X)
        y = found.signal
        inside = snr(limited(self.x[: y.size], *self.band), limited(y, *self.band))
        return [snr(self.x, y), inside, int(found.iterations), snr(self.x, t.istft(self.noisy))]

    def by_nnaudio(self) -> float:
        """Of nnAudio's class on the same spectrum, at the gain that suits it best; NaN where it raises."""
        import torch
        from nnAudio.features.stft import iSTFT

        n, lo, hi = self.grid
        kind = self.label.partition(" ")[0]
        pairs = torch.view_as_real(torch.from_numpy(self.X.astype(np.complex64)))[None]
        try:
            layer = iSTFT(
                self.t.n_fft,
                freq_bins=n,
                hop_length=self.t.hop_length,
                freq_scale=kind,
                fmin=lo,
                fmax=hi,
                sr=SR,
                verbose=False,
            )
            y = layer(pairs, onesided=True, length=self.x.size)[0].numpy().astype(float)
        except Exception:
            return np.nan
        return snr(self.x, y * (y @ self.x) / (y @ y))


def promised(which: Any, n_fft: int) -> str:
    """The worst of the signals, at each scale, window and hop."""
    scales, windows, hops, names = which
    rows: list[list[str | float | None]] = []
    for scale, window, hop in itertools.product(scales, windows, hops):
        worst = np.full(6, np.inf)
        for name in names:
            problem = Problem(scale, window, hop, name, n_fft)
            full, inside, count, noisy = problem.qualities(xi.Dual(tol=1e-7))
            single = snr(problem.x, problem.t.istft(problem.X.astype(np.complex64)))
            adjoint = snr(problem.x, replace(problem.t, solver=xi.Adjoint()).istft(problem.X))
            worst = np.minimum(worst, [full, inside, -count, noisy, single, adjoint])
        full, inside, count, noisy, single, adjoint = worst
        theirs = problem.by_nnaudio() if window == "hann" and scale[1] <= n_fft else None  # more bins take it minutes
        row = [f"{full:.0f} / {inside:.0f} ({-count:.0f})", *map("{:.0f}".format, (noisy, single, adjoint))]
        beside = "-" if theirs is None else "error" if np.isnan(theirs) else f"{theirs:.1f}"
        rows.append([problem.label, f"{window}, {hop}", *row, beside])
        print(rows[-1], flush=True)
    head = ["bins", "window, hop", "float64: full / in band (iterations)", "noisy", "float32", "adjoint", "nnAudio"]
    return table(head, rows)


def settings(which: Any, n_fft: int, tried: tuple[float, ...], tols: tuple[float, ...]) -> str:
    """The worst and the median of all problems, at each setting and tolerance."""
    problems = [Problem(*each, n_fft) for each in itertools.product(*which)]
    problems = [each for each in problems if each.redundancy >= 1.25]  # under it all is lost for any setting
    rows: list[list[str | float | None]] = []
    chosen = normal_equations.TAU
    try:
        for tau, damping, tol in itertools.product(tried, tried, tols):
            normal_equations.TAU = tau
            for cached in (normal_equations._placed_terms, normal_equations.host_terms):
                cached.cache_clear()
            solver = xi.Dual(regularization=damping, tol=tol)
            full, inside, count, noisy = np.array([each.qualities(solver) for each in problems]).T
            least = (f"{each.min():.0f}, {np.median(each):.0f}" for each in (full, inside))
            most = f"{count.max():.0f}, {np.median(count):.0f}"
            rows.append([f"{damping:g}, {tau:g}", f"{tol:g}", *least, most, f"{noisy.min():.1f}"])
            print(rows[-1], flush=True)
    finally:
        normal_equations.TAU = chosen
    return table(["lambda, tau", "tol", "full", "in band", "iterations, most and median", "noisy, worst"], rows)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--settings", choices=tuple(SETTINGS))
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", xi.ConvergenceWarning)
    n_fft = 256 if chosen.quick else N_FFT
    if chosen.settings:
        which = QUICK if chosen.quick else SETTINGS[chosen.settings]
        text = settings(which, n_fft, TRIED[-1:] if chosen.quick else TRIED, (1e-5,) if chosen.quick else (1e-6, 1e-8))
    else:
        text = promised(QUICK if chosen.quick else PROMISED, n_fft)
    said = "SNR in dB, at the worst of the problems"
    said += "." if chosen.settings else f": {', '.join(PROMISED[-1])}; of nnAudio the last of them alone."
    suffix = f"-{chosen.settings}" if chosen.settings else ""
    write(__file__, chosen.output, "Bins at any frequencies", said, text, suffix=suffix)


if __name__ == "__main__":
    main()
