"""How LAMBDA, TAU, CLIP and the tolerances of `xp_istft.frequencies` were chosen: on one set of problems, checked on
another that no choice was made on.

    python benchmarks/frequencies_tuning.py            the settings on the tuning set
    python benchmarks/frequencies_tuning.py --unseen   the settings given on the command line on the other set

Of every problem the signal after each iteration is stored, so one run serves all tolerances. Printed for each setting
and tolerance: the worst and the median SNR over the problems (full band and in band, of consistent spectra of signals
within the band; of spectra with noise at -20 dB at this tolerance, and the worst after 100 iterations) and the
iterations.
"""

from __future__ import annotations

import argparse
import itertools
import warnings

import numpy as np
from scipy.signal import chirp, resample_poly

import xp_istft as xi
from xp_istft.cli.speech import SAMPLE_RATE, sentence
from xp_istft.frequencies import normal_equations, solvers

SR = 22050
warnings.simplefilter("ignore")

TUNING = {
    "scales": [
        (xi.linear_frequencies, 1025, 50, 6000),
        (xi.log_frequencies, 1025, 50, 6000),
        (xi.log_frequencies, 2048, 50, 6000),
        (xi.linear_frequencies, 1025, 0, SR / 2),
        (xi.log_frequencies, 4096, 5, SR / 2),
    ],
    "windows": ["hann", ("kaiser", 8.0)],
    "hops": [512, 1024],
    "signals": ["speech", "noise"],
}
UNSEEN = {
    "scales": [
        (xi.linear_frequencies, 700, 120, 5000),
        (xi.log_frequencies, 1800, 70, 7000),
        (xi.linear_frequencies, 2048, 0, SR / 2),
        (xi.log_frequencies, 5000, 4, SR / 2),
    ],
    "windows": ["hamming", "blackman"],
    "hops": [256, 600],
    "signals": ["sweep", "clicks"],
}


def signal(name: str, n_samples: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    t = np.arange(n_samples) / SR
    if name == "speech":
        return resample_poly(sentence(), SR // 50, SAMPLE_RATE // 50)[:n_samples]
    if name == "noise":
        return 0.1 * rng.standard_normal(n_samples)
    if name == "sweep":
        return chirp(t, 40, t[-1], SR / 2.2, method="logarithmic") * np.sin(
            np.pi * t / t[-1]
        ) + 0.01 * rng.standard_normal(n_samples)
    return (rng.random(n_samples) < 2e-3) * rng.standard_normal(n_samples)


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
    y = y[: x.size].astype(np.float64)
    return float(10 * np.log10((x[: y.size] ** 2).sum() / max(((x[: y.size] - y) ** 2).sum(), 1e-300)))


SOLVE = solvers.Iterations.solve


class Path:
    """The signal and the relative residual after each iteration of one solution."""

    def __init__(self) -> None:
        self.signals, self.residuals = [], []

    def solve(self, iterations, right, loop, *parameters):
        """`solvers.Iterations.solve` with a loop that stores them."""
        self.peak, self.equations = np.abs(right).max(), iterations.equations
        return SOLVE(iterations, right, self.loop, *parameters)

    def loop(self, unfinished, advance, state):
        while bool(unfinished(state)):
            state = advance(state)
            self.signals.append(self.equations.signal(state.x * self.peak))
            self.residuals.append(float(np.sqrt(state.residual / state.right).item()))
        return state

    def reached(self, tol: float) -> int:
        """Iterations until the residual is tol."""
        return next((i + 1 for i, r in enumerate(self.residuals) if r <= tol), len(self.residuals))


def problems(which: dict, n_fft: int = 2048, n_samples: int = SR):
    for scale, window, hop, name in itertools.product(*which.values()):
        make, n, fmin, fmax = scale
        F = make(n, fmin, fmax, SR)
        if F.redundancy(hop) < 1.25:  # lost for any setting
            continue
        x = limited(signal(name, n_samples), *band(F, n_fft))
        yield F, window, hop, x


def path(t: xi.STFT, X: np.ndarray, dtype: str) -> Path:
    taken = Path()
    solvers.Iterations.solve = lambda *arguments: taken.solve(*arguments)
    try:
        t.istft(X.astype(dtype))
    finally:
        solvers.Iterations.solve = SOLVE
    return taken


def measured(which: dict, tols: tuple[float, ...], dtype: str) -> dict[float, np.ndarray]:
    """For each tolerance rows (full, in band, iterations, noisy, noisy after 100 iterations)."""
    rows: dict[float, list] = {tol: [] for tol in tols}
    n_fft = 2048
    for F, window, hop, x in problems(which, n_fft):
        exact = xi.Dual(tol=1e-12)
        t = xi.STFT(n_fft, hop, window=window, frequencies=F, pad_mode="reflect", solver=exact)
        X = t.stft(x)
        rng = np.random.default_rng(5)
        noise = rng.standard_normal((*X.shape, 2)).view(complex)[..., 0]
        noisy = X + 0.1 * np.sqrt((abs(X) ** 2).mean() / 2) * noise
        clean, rough = path(t, X, dtype), path(t, noisy, dtype)
        edges = band(F, n_fft)
        end = snr(x, rough.signals[-1])
        for tol in tols:
            i, j = clean.reached(tol), rough.reached(tol)
            y = clean.signals[i - 1][: x.size].astype(np.float64)
            inside = snr(limited(x[: y.size], *edges), limited(y, *edges))
            rows[tol].append((snr(x, y), inside, i, snr(x, rough.signals[j - 1]), end))
    return {tol: np.array(found) for tol, found in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unseen", action="store_true")
    parser.add_argument("--dtype", default="complex128")
    parser.add_argument("--lam", type=float, nargs="*", default=[1e-3, 1e-2, 1e-1])
    parser.add_argument("--tau", type=float, nargs="*", default=[1e-3, 1e-2, 1e-1])
    parser.add_argument("--clip", type=float, nargs="*", default=[])
    arguments = parser.parse_args()
    double = arguments.dtype == "complex128"
    tols = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9) if double else (1e-4, 1e-5, 3e-6, 1e-6)
    precision = "float64" if double else "float32"
    print("                               |    full dB        in band dB     iterations   with noise, dB")
    print(" lambda    tau    clip     tol |  worst median    worst median   most median    worst, after 100")
    clips = arguments.clip or [normal_equations.CLIP[precision]]
    for lam, tau, clip in itertools.product(arguments.lam, arguments.tau, clips):
        normal_equations.LAMBDA, normal_equations.TAU, normal_equations.CLIP[precision] = lam, tau, clip
        for cache in (normal_equations._placed_terms, normal_equations.host_terms):
            cache.cache_clear()
        for tol, rows in measured(UNSEEN if arguments.unseen else TUNING, tols, arguments.dtype).items():
            full, inside, count, noisy, end = rows.T
            print(
                f"{lam:7.0e} {tau:6.0e} {clip:7.0e} {tol:7.0e} | {full.min():6.1f} {np.median(full):6.1f}   "
                f"{inside.min():6.1f} {np.median(inside):6.1f}   {count.max():4.0f} {np.median(count):4.0f}   "
                f"{noisy.min():5.1f} {end.min():5.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
