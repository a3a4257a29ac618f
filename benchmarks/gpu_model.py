"""Bytes, launches and floors of an inverse STFT on a GPU, by counting: for our ways and for our peers'.

    python benchmarks/gpu_model.py [n_samples n_fft hop n_batch]

A model, not a measurement. Bytes are what each pass must move when every array goes over the memory bus once; the
peers' passes were read in their sources. The instruction floor is that of the interpreter's counts (tests/cuda): warp
instructions over what the card could issue; nothing that runs is faster than either floor.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

# bytes a second of a large copy, warp instructions a second (SMs x 4 x clock): assumed, to be measured
CARDS = {"H100": (3.0e12, 132 * 4 * 1.7e9), "A100": (1.75e12, 108 * 4 * 1.41e9), "T4": (0.25e12, 40 * 4 * 1.2e9)}
CASES = {"60 s at 44.1 kHz": (60 * 44100, 2048, 512, 1), "64 x 10 s at 16 kHz": (160000, 512, 128, 64)}
# Warp instructions by the interpreter's count (tests/cuda/test_step4_ptx.py), for n_fft = 4 hop: of overlap_add in
# vectors of 4, a sample; of istft_fused, a new frame, with the frames at the edges of its tiles of 7168 samples.
OVERLAP_ADD_INSTRUCTIONS = 1512 / 1024
FUSED_INSTRUCTIONS = {2048: 3510, 512: 810}
TILE = 7168


class Problem(NamedTuple):
    """A complex64 spectrum of `n_batch` signals, and the passes that a way through it is made of, in bytes."""

    n_samples: int
    n_fft: int
    hop: int
    n_batch: int

    @property
    def n_rows(self) -> int:
        return self.n_batch * (1 + self.n_samples // self.hop)

    @property
    def spectrum(self) -> int:
        return self.n_rows * (self.n_fft // 2 + 1) * 8

    @property
    def segments(self) -> int:
        return self.n_rows * self.n_fft * 4

    @property
    def signal(self) -> int:
        return self.n_batch * self.n_samples * 4


class Way(NamedTuple):
    name: str
    n_bytes: int
    launches: int
    waits: int
    instructions: float | None = None


def ways(problem: Problem) -> list[Way]:
    spectrum, segments, signal = problem.spectrum, problem.segments, problem.signal
    overlap_add = signal / 4 * OVERLAP_ADD_INSTRUCTIONS
    n_frames = problem.n_rows // problem.n_batch
    halo = 1 + (problem.n_fft / problem.hop - 1) * problem.hop / TILE
    fused = FUSED_INSTRUCTIONS.get(problem.n_fft) if problem.n_fft == 4 * problem.hop else None
    return [
        Way("transpose or copy, cuFFT, overlap_add", 3 * spectrum + 2 * segments + signal, 3, 0, overlap_add),
        Way("one kernel, ideal", spectrum + signal, 1, 0),
        Way("one kernel, edge frames from memory twice", round(halo * spectrum) + signal, 1, 0,
            None if fused is None else fused * problem.n_rows),
        Way("torch.istft", 3 * spectrum + 6 * segments + 5 * signal + 11 * signal // problem.n_batch, 16, 1),
        Way("cupyx.scipy.signal.istft",
            5 * spectrum + 8 * segments + 2 * signal + 4 * signal // problem.n_batch, 4 * n_frames + 12, 1),
    ]  # fmt: skip


def table(name: str, problem: Problem) -> str:
    lines = [
        f"{name}: n_fft {problem.n_fft}, hop {problem.hop}; spectrum {problem.spectrum / 1e6:.1f} MB, "
        f"frames {problem.segments / 1e6:.1f} MB, signal {problem.signal / 1e6:.1f} MB (modelled, not measured)",
        "",
        f"| way | MB | launches | host waits |{''.join(f' {card} floor, us |' for card in CARDS)}",
        f"|---|---|---|---|{'---|' * len(CARDS)}",
    ]
    for way in ways(problem):
        cells = []
        for bandwidth, issue in CARDS.values():
            floor = way.n_bytes / bandwidth
            if way.instructions is not None:
                floor = max(floor, way.instructions / issue)
            cells.append(f" {floor * 1e6:.0f} |")
        lines.append(f"| {way.name} | {way.n_bytes / 1e6:.0f} | {way.launches} | {way.waits} |{''.join(cells)}")
    return "\n".join(lines)


if __name__ == "__main__":
    asked = {"as asked": tuple(int(word) for word in sys.argv[1:5])} if len(sys.argv) == 5 else CASES
    print("\n\n".join(table(name, Problem(*sizes)) for name, sizes in asked.items()))
