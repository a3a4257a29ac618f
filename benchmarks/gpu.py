"""The least that each way to invert a spectrum on a GPU must do: bytes, when every array goes over the memory bus once,
and launches, by counting; the peers' passes were read in their sources. `gpu_day.py` times them on a card.

    python benchmarks/gpu.py [--quick]
"""

from __future__ import annotations

from peers import MAIN, TINY, Problem
from results import arguments, table

PROBLEMS = (MAIN[0], Problem("64 x 10 s at 16 kHz", 64, 1251, 512, 128))
TILE = 7168  # samples of a block of istft_fused


def passes(problem: Problem) -> dict[str, tuple[float, int]]:
    """Bytes and launches of each way."""
    rows = problem.items * problem.n_frames
    spectrum, segments = 8 * rows * (problem.n_fft // 2 + 1), 4 * rows * problem.n_fft
    signal = 4 * problem.items * problem.n_samples
    halo = 1 + (problem.n_fft - problem.hop) / TILE
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
        [name, f"{size / 1e6:.0f}", str(launches)] for name, (size, launches) in passes(problem).items()
    ]
    return table(["way (modelled)", "MB", "launches"], rows)


def main() -> None:
    chosen = arguments(__doc__).parse_args()
    print(*(f"{problem}\n\n{model(problem)}" for problem in ((TINY,) if chosen.quick else PROBLEMS)), sep="\n\n")


if __name__ == "__main__":
    main()
