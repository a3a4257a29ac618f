"""The scripts of benchmarks/, on problems that take no time: what they do, and no figure of theirs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """script(name): that module of benchmarks/, and none of tests/ that is called so."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = dict(sys.modules)
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    for name in names & set(before):
        del sys.modules[name]
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)
        if name in before:
            sys.modules[name] = before[name]


def test_a_race_runs_every_contender_in_every_round(script):
    races = script("races")
    calls = {"fast": 0, "slow": 0}
    rounds = []

    def contender(name):
        def run():
            calls[name] += 1

        return run

    contenders = {name: contender(name) for name in calls}
    result = races.race(contenders, rounds=5, least=0, after_round=lambda: rounds.append(1))
    assert len(rounds) == 5
    assert [len(seconds) for seconds in result.seconds.values()] == [5, 5]
    assert min(calls.values()) >= 12  # two, and in each round one that is not timed
    calls.update(fast=0, slow=0)
    result = races.race(contenders, rounds=5, least=0, warm=False)
    assert 7 <= min(calls.values()) == 2 + min(result.samples - 5, 5)
    known = races.Race({"fast": [1.0, 2.0, 4.0], "slow": [3.0, 4.0, 16.0]})
    assert (known.ratio("slow", "fast"), known.median("slow"), known.least("slow")) == (3, 4, 3)


def test_peers_that_cannot_take_a_problem_are_left_out_with_the_reason(script, monkeypatch):
    peers = script("peers")

    def broken(problem):
        raise RuntimeError("it is broken")

    monkeypatch.setattr(peers, "_short_time_fft", broken)
    problem = peers.Problem("small", 2, 20, 64, 16)
    monkeypatch.setitem(sys.modules, "torch", None)
    absent = {}
    names = ("torch", "scipy.signal", "ShortTimeFFT")
    inverses = peers.inverse_peers(problem, problem.spectrum("F"), 1, names, absent=absent)
    forwards = peers.forward_peers(problem, problem.signal(), 1, names)
    assert list(inverses) == list(forwards) == ["scipy.signal"]
    assert absent == {"torch": "not installed", "ShortTimeFFT": "RuntimeError: it is broken"}
    assert inverses["scipy.signal"]()[1].shape[0] == 2
