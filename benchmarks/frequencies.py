"""What the inverse for bins at any frequencies gives back, and how long it takes: the tables of docs/frequencies.md.

    python benchmarks/frequencies.py [recording.wav]     a recording of speech, else the package's own sentence
    python benchmarks/frequencies.py --speed

SNR in dB. "in band" is between the first and the last bin, less the main lobe of a Hann window at either end. Signals
of band-limited scales are limited to that band first. nnAudio's own class `iSTFT` stands beside, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from dataclasses import replace

import numpy as np
from frequencies_tuning import band, limited, snr
from races import race
from scipy.signal import chirp, resample_poly

import xp_istft as xi
from xp_istft.cli.speech import SAMPLE_RATE, sentence

SR, N_FFT, N_SAMPLES = 22050, 2048, 22050
SCALES = {
    "no 1025": ("no", 1025, 0, SR / 2),
    "linear 1025, 0-11025": ("linear", 1025, 0, SR / 2),
    "log 4096, 5-11025": ("log", 4096, 5, SR / 2),
    "linear 1025, 50-6000": ("linear", 1025, 50, 6000),
    "log 1025, 50-6000": ("log", 1025, 50, 6000),
    "log 2048, 50-6000": ("log", 2048, 50, 6000),
}
WINDOWS = {"Hann": "hann", "Hamming": "hamming", "Blackman": "blackman", "Kaiser 8": ("kaiser", 8.0)}
warnings.simplefilter("ignore")


def grid(scale: tuple) -> xi.Frequencies:
    kind, n, fmin, fmax = scale
    if kind == "no":
        return xi.Frequencies(xi.STFT(N_FFT).bin_frequencies(SR), SR)
    return (xi.linear_frequencies if kind == "linear" else xi.log_frequencies)(n, fmin, fmax, SR)


def recordings(path: str | None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    if path is None:
        speech, rate = sentence(), SAMPLE_RATE
    else:
        import soundfile

        speech, rate = soundfile.read(path)
        speech = speech if speech.ndim == 1 else speech.mean(axis=1)
    up, down = np.array([SR, rate]) // np.gcd(SR, rate)
    speech = np.resize(resample_poly(speech, up, down), N_SAMPLES)
    t = np.arange(N_SAMPLES) / SR
    return {
        "speech": speech,
        "noise": 0.1 * rng.standard_normal(N_SAMPLES),
        "sweep": 0.5 * chirp(t, 60, t[-1], 10000, method="logarithmic"),
    }


def nnaudio(scale: tuple, X: np.ndarray, hop: int, length: int) -> np.ndarray | None:
    """What nnAudio's class makes of a spectrum, at the gain that suits it best; None where it raises."""
    import torch
    from nnAudio.features.stft import iSTFT

    kind, n, fmin, fmax = scale
    pairs = torch.view_as_real(torch.from_numpy(X.astype(np.complex64)))[None]
    try:
        layer = iSTFT(N_FFT, freq_bins=n, hop_length=hop, freq_scale=kind, fmin=fmin, fmax=fmax, sr=SR, verbose=False)
        return layer(pairs, onesided=True, length=length)[0].numpy().astype(np.float64)
    except Exception:
        return None


def guarantee(path: str | None) -> None:
    peer = importlib.util.find_spec("nnAudio") is not None
    print("| bins | window, hop | float64: full / in band (iterations) | noisy | float32 | adjoint | nnAudio |")
    print("|---|---|---|---|---|---|---|")
    signals = recordings(path)
    for name, scale in SCALES.items():
        F = grid(scale)
        edges = band(F, N_FFT)
        partial = edges != (0.0, SR / 2)
        for label, window in WINDOWS.items():
            for hop in (1024, 512, 256):
                if label != "Hann" and hop != 512 and partial is False:
                    continue
                mode, length = ("reflect", None) if partial else ("constant", N_SAMPLES)
                t = xi.STFT(N_FFT, hop, window=window, frequencies=F, pad_mode=mode)
                exact = replace(t, solver=xi.Dual(tol=1e-7) if partial else xi.Dual(tol=1e-9, maxiter=12))
                preview = replace(t, solver=xi.Adjoint())
                rough_ones = [replace(t, solver=xi.Dual(tol=1e-13, maxiter=most)) for most in (1, 4, 100)]
                worst = np.full(5, np.inf)
                count, theirs = 0, []
                for x in signals.values():
                    x = limited(x, *edges) if partial else x
                    X = t.stft(x)
                    found = exact.solve(X, length=length)
                    y = found.signal
                    count = max(count, int(found.iterations))
                    z = x[: y.size]
                    single = t.solve(X.astype(np.complex64), length=length).signal
                    noise = np.random.default_rng(5).standard_normal((*X.shape, 2)).view(complex)[..., 0]
                    noisy = X + 0.1 * np.sqrt((abs(X) ** 2).mean() / 2) * noise
                    rough = min(snr(z, each.solve(noisy, length=length).signal) for each in rough_ones)
                    dB = (
                        snr(z, y), snr(limited(z, *edges), limited(y, *edges)), rough, snr(z, single),
                        snr(z, preview.istft(X, length=length)),
                    )  # fmt: skip
                    worst = np.minimum(worst, dB)
                    if peer and label == "Hann" and len(F) <= N_FFT:  # more take it minutes
                        other = nnaudio(scale, X, hop, y.size)
                        if other is not None and other.size >= y.size:
                            other = other[: y.size]
                            theirs.append(snr(z, other * (other @ z) / (other @ other)))
                missing = "" if not peer or label != "Hann" else "error" if len(F) <= N_FFT else "not run"
                beside = f"{max(theirs):.1f}" if theirs else missing
                full, inside, rough, single, adjoint = worst
                print(
                    f"| {name} | {label}, {hop} | {full:.0f} / {inside:.0f} ({count}) | {rough:.1f} | {single:.0f} | "
                    f"{adjoint:.0f} | {beside} |",
                    flush=True,
                )


def speed(dtype: str) -> None:
    """One second, log 2048 bins: against 10 times our own stft and istft and one product with the basis."""
    F = grid(SCALES["log 2048, 50-6000"])
    x = limited(recordings(None)["speech"], *band(F, N_FFT)).astype(dtype)
    t = xi.STFT(N_FFT, frequencies=F, pad_mode="reflect")
    X = t.stft(x)
    basis = np.concatenate([F.basis(N_FFT).real, F.basis(N_FFT).imag]).astype(dtype)
    parts = np.concatenate([X.real, X.imag])

    def yardstick() -> None:
        for _ in range(10):
            xi.istft(xi.stft(x, N_FFT))
        basis.T @ parts

    runs = race({
        "inverse": lambda: t.istft(X),
        "10 passes + product": yardstick,
        "product": lambda: basis.T @ parts,
    })  # fmt: skip
    found = t.solve(X)
    print(
        f"{dtype}: {runs.ratio('inverse', '10 passes + product'):.2f} of 10 passes and the product "
        f"({int(found.iterations)} iterations, {snr(x, found.signal):.0f} dB; "
        f"inverse {1e3 * runs.median('inverse'):.1f} ms, product {1e3 * runs.median('product'):.1f} ms); "
        f"{runs.contended} of {runs.samples} samples contended"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    if arguments.speed:
        for dtype in ("float64", "float32"):
            speed(dtype)
    else:
        guarantee(arguments.recording)


if __name__ == "__main__":
    main()
