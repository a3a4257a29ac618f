"""The least that each way to a signal or a spectrum on a GPU must do: bytes, when every array goes over the memory bus
once, and launches, by counting; the peers' passes were read in their sources. `gpu_day.py` times them on a card.

    python benchmarks/gpu.py [--quick]
"""

from __future__ import annotations

from peers import MAIN, TINY, Problem
from results import arguments, table

PROBLEMS = (MAIN[0], Problem("64 x 10 s at 16 kHz", 64, 1251, 512, 128))
PLACES = {2048: 264, 512: 528}  # blocks of istft_fused that an H100 runs at once, by n_fft


def forward_passes(problem: Problem) -> dict[str, tuple[float, int]]:
    """Bytes and launches of each way to a spectrum."""
    rows = problem.items * problem.n_frames
    spectrum, segments = 8 * rows * (problem.n_fft // 2 + 1), 4 * rows * problem.n_fft
    signal = 4 * problem.items * problem.n_samples
    return {
        "frame, cuFFT": (signal + 2 * segments + spectrum, 2),
        "one kernel": (signal + spectrum, 1),
        "torch.stft": (3 * signal + 2 * segments + spectrum, 3),
    }


def passes(problem: Problem) -> dict[str, tuple[float, int]]:
    """Bytes and launches of each way to a signal."""
    rows = problem.items * problem.n_frames
    spectrum, segments = 8 * rows * (problem.n_fft // 2 + 1), 4 * rows * problem.n_fft
    signal = 4 * problem.items * problem.n_samples
    run = problem.n_samples / max(1, PLACES.get(problem.n_fft, 528) // problem.items)
    halo = 1 + (problem.n_fft - problem.hop) / run
    cupyx = 5 * spectrum + 8 * segments + 2 * signal + 4 * signal // problem.items
    return {
        "transpose or copy, cuFFT, overlap_add": (3 * spectrum + 2 * segments + signal, 3),
        "one kernel, ideal": (spectrum + signal, 1),
        "one kernel, edge frames from memory twice": (halo * spectrum + signal, 1),
        "torch.istft": (3 * spectrum + 6 * segments + 5 * signal + 11 * signal // problem.items, 16),
        "cupyx.scipy.signal.istft": (cupyx, 4 * problem.n_frames + 12),
    }


def model(problem: Problem) -> str:
    """The passes as a table."""
    rows: list[list[str | float | None]] = [
        [name, f"{size / 1e6:.0f}", str(launches)]
        for name, (size, launches) in {**passes(problem), **forward_passes(problem)}.items()
    ]
    return table(["way (modelled)", "MB", "launches"], rows)


def main() -> None:
    chosen = arguments(__doc__).parse_args()
    print(*(f"{problem}\n\n{model(problem)}" for problem in ((TINY,) if chosen.quick else PROBLEMS)), sep="\n\n")


if __name__ == "__main__":
    main()
