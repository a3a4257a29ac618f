"""How many digits the functions of xp_istft.compat share with their peers'.

    python benchmarks/conformance.py [--deep]

Runs the conformance tests (200 random parameter sets a function, or 5,000) and writes the largest deviation of each
to benchmarks/results/conformance.md, relative to the largest value of each result.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from results import arguments, table, write

TESTS = Path(__file__).parents[1] / "tests"


def digits(deviations: dict[tuple[str, str, str], float]) -> str:
    """One row a function, from the largest deviations by (peer, function, dtype)."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for (peer, function, dtype), deviation in deviations.items():
        precision = "single" if dtype in ("float32", "complex64") else "double"
        row = rows.setdefault((peer, function), {})
        row[precision] = max(row.get(precision, 0.0), deviation)
    lines: list[list[str | float | None]] = []
    for (peer, function), row in sorted(rows.items()):
        found = [row.get(precision) for precision in ("single", "double")]
        cells = [[f"{off:.1e}", str(math.floor(-math.log10(off)))] if off else ["-", "-"] for off in found]
        lines.append([peer, function, *cells[0], *cells[1]])
    return table(["peer", "function", "single precision", "digits", "double precision", "digits"], lines)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--deep", action="store_true", help="5,000 parameter sets a function")
    chosen = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    import test_conforms  # the module that the tests record in

    marks = "deep or not deep" if chosen.deep else "not deep"
    names = "batch0" if chosen.quick else "test_our_functions_are_their_peers"
    failed = pytest.main(["-q", "-m", marks, "-k", names, "-p", "no:cacheprovider", str(TESTS / "test_conforms.py")])
    if failed:
        return int(failed)
    count = test_conforms.DEEP if chosen.deep else test_conforms.SHALLOW
    said = f"Largest deviation from the peer over {count} random parameter sets a function, relative to the largest "
    write(__file__, chosen.output, "Conformance", said + "value of each result.", digits(test_conforms.DEVIATIONS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
