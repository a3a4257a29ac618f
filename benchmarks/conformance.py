"""How many digits the functions of xp_istft.compat share with their peers'.

    python benchmarks/conformance.py [--deep]

Runs the conformance tests (200 random parameter sets a function, or 5,000) and writes the largest deviation of each
to benchmarks/results/conformance.md, relative to the largest value of each result.
"""

from __future__ import annotations

import argparse
import math
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
PEERS = {"scipy": "scipy", "torch": "torch", "librosa": "librosa", "jax": "jax", "nnaudio": "nnAudio"}


def table(deviations: dict[tuple[str, str], float], sets: int) -> str:
    """One row a function, from the largest deviations by (test, dtype)."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for (test, dtype), deviation in deviations.items():
        file, _, function = test.partition("::")
        precision = "single" if dtype in ("float32", "complex64") else "double"
        row = rows.setdefault((Path(file).stem.removeprefix("test_conforms_"), function.removeprefix("test_")), {})
        row[precision] = max(row.get(precision, 0.0), deviation)
    lines = [
        "# Conformance",
        "",
        f"Largest deviation from the peer over {sets} random parameter sets a function, relative to the largest value "
        "of each result, and the digits that it leaves. Written by benchmarks/conformance.py.",
        "",
        "| peer | function | single precision | digits | double precision | digits |",
        "|---|---|---|---|---|---|",
    ]
    for (peer, function), row in sorted(rows.items()):
        cells = [f"{PEERS[peer]} {version(PEERS[peer])}", function]
        for precision in ("single", "double"):
            deviation = row.get(precision)
            cells += ["-", "-"] if not deviation else [f"{deviation:.1e}", str(math.floor(-math.log10(deviation)))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deep", action="store_true", help="5,000 parameter sets a function")
    deep = parser.parse_args().deep
    sys.path.insert(0, str(TESTS))
    import conformance  # the module that the tests record in

    files = [str(TESTS / f"test_conforms_{peer}.py") for peer in PEERS]
    marks = "deep or not deep" if deep else "not deep"
    failed = pytest.main(["-q", "-m", marks, "-k", "numbers or 0-", "-p", "no:cacheprovider", *files])
    if failed:
        return int(failed)
    text = table(conformance.DEVIATIONS, conformance.DEEP if deep else conformance.SHALLOW)
    (HERE / "results" / "conformance.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
