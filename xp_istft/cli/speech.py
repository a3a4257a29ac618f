"""A sentence of speech-like sounds, made of arithmetic alone: the same samples wherever it is made."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

SAMPLE_RATE = 16000
# What is said: seconds, voice, noise, and three formants in Hz.
_SOUNDS = (
    (0.12, 0.0, 0.00, (500, 1500, 2500)),  # silence
    (0.16, 0.0, 0.30, (500, 4500, 6500)),  # s
    (0.28, 1.0, 0.00, (730, 1090, 2440)),  # a
    (0.10, 0.5, 0.00, (280, 1200, 2300)),  # m
    (0.26, 1.0, 0.00, (270, 2290, 3010)),  # i
    (0.14, 0.0, 0.22, (450, 2600, 3800)),  # sh
    (0.26, 1.0, 0.00, (570, 840, 2410)),  # o
    (0.08, 0.4, 0.05, (300, 1700, 2600)),  # z
    (0.24, 1.0, 0.00, (530, 1840, 2480)),  # e
    (0.06, 0.0, 0.00, (400, 1600, 2600)),  # a stop
    (0.05, 0.1, 0.25, (400, 1800, 2600)),  # t
    (0.34, 1.0, 0.00, (300, 870, 2240)),  # u
    (0.20, 0.0, 0.00, (300, 870, 2240)),  # silence
)
_BANDWIDTHS = (70, 110, 170)  # Hz
_STEP = 80  # samples for which the filters stand still: 5 ms


def sentence() -> np.ndarray:
    """float64 (n_samples,), 2.3 s at 16 kHz, with a peak of 0.7."""
    edges = np.cumsum([0.0, *(sound[0] for sound in _SOUNDS)])
    n_samples = round(edges[-1] * SAMPLE_RATE)
    t = np.arange(n_samples) / SAMPLE_RATE

    voice, noise = (
        _smoothed(t, edges, levels) for levels in ([sound[1] for sound in _SOUNDS], [sound[2] for sound in _SOUNDS])
    )
    pitch = 118 - 22 * t / t[-1] + 9 * np.sin(2 * np.pi * 1.1 * t) + 1.2 * np.sin(2 * np.pi * 5.3 * t)  # Hz
    phase = np.cumsum(pitch) / SAMPLE_RATE % 1
    # Glottal flow rises for 60 % of a period and falls for 15 % (Rosenberg 1971); the ear hears its derivative.
    rise, fall = 0.60, 0.15
    flow = np.where(phase < rise, 0.5 * (1 - np.cos(np.pi * phase / rise)), np.cos(np.pi / 2 * (phase - rise) / fall))
    flow = np.where(phase < rise + fall, flow, 0.0)
    pulses = np.diff(flow, prepend=0.0) * 4
    source = voice * pulses + (noise + 0.01 * voice) * _white(n_samples)
    sound = source
    for k, bandwidth in enumerate(_BANDWIDTHS):
        sound = _resonator(sound, _smoothed(t, edges, [sound[3][k] for sound in _SOUNDS]), bandwidth)
    return 0.7 * sound / np.abs(sound).max()


def _smoothed(t: np.ndarray, edges: np.ndarray, levels: list[float]) -> np.ndarray:
    """Levels of the sounds, with flanks of 40 ms."""
    flank = 0.02
    times = np.stack([edges[:-1] + flank, edges[1:] - flank], axis=1).ravel()
    return np.interp(t, times, np.repeat(levels, 2))


def _resonator(signal: np.ndarray, frequency: np.ndarray, bandwidth: float) -> np.ndarray:
    """A formant that moves: two poles, gain 1 at DC, standing still for 5 ms at a time."""
    result = np.empty_like(signal)
    state = np.zeros(2)
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    for lo in range(0, signal.size, _STEP):
        piece = slice(lo, lo + _STEP)
        poles = [1.0, -2 * radius * np.cos(2 * np.pi * frequency[lo] / SAMPLE_RATE), radius**2]
        result[piece], state = lfilter([sum(poles)], poles, signal[piece], zi=state)
    return result


def _white(n_samples: int) -> np.ndarray:
    """Uniform noise in -1..1: the counter hashed (splitmix64), so no generator's version matters."""
    z = (np.arange(n_samples, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1
