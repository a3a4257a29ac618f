"""The transform pair written out in float64: sums over frames, samples and bins; nothing shared with the package.

Also the geometry by brute force: the padded axis as an array of flags.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import get_window


def window_samples(window, win_length, n_fft):
    if isinstance(window, (str, tuple)):
        window = get_window(window, win_length, fftbins=True)
    left = (n_fft - win_length) // 2
    return np.pad(np.asarray(window, np.float64), (left, n_fft - win_length - left))


def placement(n_fft, hop, win_length, center=True, padding=None):
    """Samples of padding before and after the signal, and whether a last partial hop gets a frame."""
    if padding is None:
        padding = n_fft // 2 if center else 0
    if padding == "same":
        # The window's middle share of hop samples in frame 0 begins the signal; the last one's ends it.
        before = (n_fft - win_length) // 2 + (win_length - hop) // 2
        return before, n_fft - hop - before, True
    if padding == "full":
        return max(0, n_fft - hop), max(0, n_fft - hop), True
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    return before, after, False


def count_frames(n_samples, n_fft, hop, before, after, whole):
    """Frames one by one: while the next fits into the padded signal (whole: while samples are left without one)."""
    count = 0
    while True:
        end = count * hop + n_fft
        if whole:
            if count and end - hop >= before + n_samples + after:
                return count
        elif end > before + n_samples + after:
            return count
        count += 1


def padded(x, before, total, mode="constant"):
    """x with `before` samples before it, up to `total` samples in all."""
    widths = [(0, 0)] * (x.ndim - 1) + [(max(0, before), max(0, total - before - x.shape[-1]))]
    return np.pad(x, widths, mode=mode)[..., max(0, -before) :][..., :total]


def stft(x, n_fft, hop, window, before, n_frames, onesided=True, mode="constant"):
    """X[k, m] = sum_n w[n] x[m hop + n - before] exp(-2 pi i k n / n_fft)"""
    x = padded(np.asarray(x), before, n_fft + hop * (n_frames - 1), mode)
    n = np.arange(n_fft)
    k = np.arange(n_fft // 2 + 1 if onesided else n_fft)
    kernel = np.exp(-2j * np.pi * (np.outer(k, n) % n_fft) / n_fft)
    return np.stack([(x[..., m * hop : m * hop + n_fft] * window) @ kernel.T for m in range(n_frames)], axis=-1)


def istft(X, n_fft, hop, window, synthesis_window, before, n_samples, onesided=True):
    """Sum over frames of v y, over the sum of v w; zero where that sum is zero. Returns (signal, overlap)."""
    X = np.asarray(X, np.complex128)
    n = np.arange(n_fft)
    if onesided:
        k = np.arange(n_fft // 2 + 1)
        twice = np.where((k == 0) | (2 * k == n_fft), 1, 2)
        angle = 2 * np.pi * (np.outer(n, k) % n_fft) / n_fft
        cosine, sine = np.cos(angle) * twice / n_fft, np.sin(angle) * twice / n_fft
        segments = cosine @ X.real - sine @ X.imag
    else:
        segments = np.exp(2j * np.pi * (np.outer(n, n) % n_fft) / n_fft) / n_fft @ X
    n_frames = X.shape[-1]
    first = min(0, before)
    total = max(n_fft + hop * (n_frames - 1), before + n_samples) - first
    signal = np.zeros((*X.shape[:-2], total), np.float64 if onesided else np.complex128)
    overlap = np.zeros(total)
    for m in range(n_frames):
        at = slice(m * hop - first, m * hop - first + n_fft)
        signal[..., at] += segments[..., m] * synthesis_window
        overlap[at] += window * synthesis_window
    here = slice(before - first, before - first + n_samples)
    signal, overlap = signal[..., here], overlap[here]
    known = np.abs(overlap) > 1e-25 * np.abs(overlap).max() if overlap.size else overlap > 0
    return np.where(known, signal / np.where(known, overlap, 1), 0), overlap
