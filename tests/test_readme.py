"""What README and the documentation show is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import xp_istft

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
IN_ORDER = [README, *(ROOT / "docs" / f"{name}.md" for name in ("index", "howto", "patch"))]  # others have own tests


def python_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", IN_ORDER, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_in_order(page):
    names: dict[str, object] = {}
    for block in python_of(page):
        for library in ("jax", "librosa", "torch"):
            if f"import {library}" in block:
                pytest.importorskip(library)
        exec(compile(block, str(page), "exec"), names)


def test_readme_shows_two_commands_that_set_everything_up():
    commands = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[0].endswith("xp-istft demo")
    assert ".venv/bin/pytest" in commands[1]


def test_every_public_name_stands_in_the_reference():
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    documented = re.findall(r"^\.\. auto\w+:: (\w+)$", pages, re.MULTILINE)
    assert set(xp_istft.__all__) <= set(documented)


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)


def test_the_figures_of_readme_are_those_that_the_benchmarks_wrote():
    results = {
        line for path in (ROOT / "benchmarks" / "results").glob("*.md") for line in path.read_text().splitlines()
    }
    rows = [line for line in README.read_text().splitlines() if line.startswith("|")]
    assert rows
    assert set(rows) <= results


def test_every_result_has_a_title():
    """The performance page lists them by it; the memory's stands in the page of the CPU."""
    for path in (ROOT / "benchmarks" / "results").glob("*.md"):
        assert path.name.startswith("memory-") or path.read_text().startswith("# "), path.name
