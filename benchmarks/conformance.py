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


def digits(deviations: dict[tuple[str, str], float]) -> str:
    """One row a function, from the largest deviations by (test, dtype)."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for (test, dtype), deviation in deviations.items():
        file, _, function = test.partition("::")
        precision = "single" if dtype in ("float32", "complex64") else "double"
        row = rows.setdefault((Path(file).stem.removeprefix("test_conforms_"), function.removeprefix("test_")), {})
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
    import conformance  # the module that the tests record in

    marks = "deep or not deep" if chosen.deep else "not deep"
    names = "0-" if chosen.quick else "numbers or 0-"
    files = sorted(map(str, TESTS.glob("test_conforms*.py")))
    failed = pytest.main(["-q", "-m", marks, "-k", names, "-p", "no:cacheprovider", *files])
    if failed:
        return int(failed)
    count = conformance.DEEP if chosen.deep else conformance.SHALLOW
    said = f"Largest deviation from the peer over {count} random parameter sets a function, relative to the largest "
    write(__file__, chosen.output, "Conformance", said + "value of each result.", digits(conformance.DEVIATIONS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
