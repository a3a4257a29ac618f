"""The scripts of benchmarks/, on problems that take no time: what they do, and no figure of theirs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi

PATIENCE = 1200  # seconds, for a process: one that hangs is a failure
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

    def contender(name):
        def run():
            calls[name] += 1

        return run

    contenders = {name: contender(name) for name in calls}
    result = races.race(contenders, rounds=5, least=0)
    assert [len(seconds) for seconds in result.seconds.values()] == [5, 5]
    assert min(calls.values()) >= 12  # two, and in each round one that is not timed
    calls.update(fast=0, slow=0)
    result = races.race(contenders, rounds=5, least=0, warm=False)
    assert 7 <= min(calls.values()) == 2 + min(result.samples - 5, 5)
    known = races.Race({"fast": [1.0, 2.0, 4.0], "slow": [3.0, 4.0, 16.0]})
    assert (known.ratio("slow", "fast"), known.median("slow"), known.ratio("none", "fast")) == (3, 4, None)


def test_peers_that_cannot_take_a_problem_are_left_out_with_the_reason(script, monkeypatch):
    peers = script("peers")

    def broken(problem, threads):
        raise RuntimeError("it is broken")

    monkeypatch.setitem(peers.CONTENDERS, "ShortTimeFFT", broken)
    monkeypatch.setitem(sys.modules, "torch", None)
    names = ("torch", "scipy.signal", "ShortTimeFFT")
    for direction, array in (("istft", peers.TINY.spectrum()), ("stft", peers.TINY.signal())):
        runs, absent = peers.ready(direction, peers.TINY, array, 1, names)
        assert absent == {"torch": "not installed", "ShortTimeFFT": "RuntimeError: it is broken"}
        assert list(runs) == ["scipy.signal"]
        assert runs["scipy.signal"]()[-1].shape[0] == 1


def test_every_contender_gives_the_same_signal(script):
    peers = script("peers")
    problem = peers.Problem("small", 2, 40, 64, 16)
    X = xi.stft(problem.signal(), 64, hop_length=16)
    runs, absent = peers.ready("istft", problem, X, 1, tuple(set(peers.CONTENDERS) - {"ShortTimeFFT"}))
    assert {"xp_istft"} <= set(runs)
    assert set(absent.values()) <= {"not installed"}
    for name, run in runs.items():
        y = run()
        y = np.asarray(y[-1] if isinstance(y, tuple) else y)
        gain = np.vdot(y[:, 64:500], problem.signal()[:, 64:500]) / np.vdot(y[:, 64:500], y[:, 64:500])
        np.testing.assert_allclose(gain * y[:, 64:500], problem.signal()[:, 64:500], atol=1e-5, err_msg=name)


# ------------------------------------------------------------------ every script, on its smallest problems


def quick(script, monkeypatch, tmp_path, name, *options):
    """The page that the script writes."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--output", str(tmp_path), *options])
    assert not script(name).main()
    (page,) = tmp_path.glob("*.md")
    text = page.read_text()
    assert text.startswith("# ")
    assert f"python benchmarks/{name}.py" in text
    return text


def test_cpu(script, monkeypatch, tmp_path):
    text = quick(script, monkeypatch, tmp_path, "cpu")
    assert text.count("\n| tiny (1 x 17 frames, 64/16) | ") >= 3


def test_tensors(script, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    text = quick(script, monkeypatch, tmp_path, "tensors", "--threads", "1")
    assert text.count("\n| 1 x 2560, 512/128 | ") == 2


def test_jitted(script, monkeypatch, tmp_path):
    pytest.importorskip("jax")
    assert "\n| geometric mean | " in quick(script, monkeypatch, tmp_path, "jitted")


def test_online(script, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    assert "RTISI-LA" in quick(script, monkeypatch, tmp_path, "online")


def test_lengths(script, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    assert "\n| tensors, with backward: 8 x 4000 | " in quick(script, monkeypatch, tmp_path, "lengths")


def test_libraries(script, monkeypatch, tmp_path):
    assert "\n| NumPy | yes | yes |\n" in quick(script, monkeypatch, tmp_path, "libraries")


def test_a_race_may_follow_something_else(script):
    order = []
    script("races").race({"one": lambda: order.append(1)}, rounds=2, least=0, before=lambda: order.append(0))
    assert order[:4] == [1, 1, 0, 1]


def test_memory(script, monkeypatch, tmp_path):
    assert "\n| xp_istft | " in quick(script, monkeypatch, tmp_path, "memory")


def test_streaming(script, monkeypatch, tmp_path):
    pytest.importorskip("zarr")
    assert "\n| float64 | " in quick(script, monkeypatch, tmp_path, "streaming")


def test_dask_scaling(script, monkeypatch, tmp_path):
    pytest.importorskip("distributed")
    pytest.importorskip("zarr")
    assert "| equal |" in quick(script, monkeypatch, tmp_path, "dask_scaling")


def test_bands(script, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("librosa")
    text = quick(script, monkeypatch, tmp_path, "bands")
    assert "| slaney | 2 | griffin_lim(bands=) | " in text
    assert "\n| glide | " in text


def test_phase_retrieval(script, monkeypatch, tmp_path):
    pytest.importorskip("librosa")
    pytest.importorskip("torch")
    text = quick(script, monkeypatch, tmp_path, "phase_retrieval")
    assert text.count("\n| hybrid | pghi | ") == 2
    assert "\n| 0.1 s, 64/16 | torch loop | " in text


def test_vocoder(script, monkeypatch, tmp_path):
    pytest.importorskip("librosa")
    pytest.importorskip("torch")
    text = quick(script, monkeypatch, tmp_path, "vocoder")
    assert "| sound | gradient | locked | librosa | torchaudio |" in text
    assert "\n| 0.2 s, 64/16, rate 1.25 | " in text


@pytest.mark.parametrize("options", [(), ("--settings", "unseen")])
def test_frequencies(script, monkeypatch, tmp_path, options):
    text = quick(script, monkeypatch, tmp_path, "frequencies", *options)
    assert ("| 0.1, 0.1 | 1e-05 | " if options else "| log 300, 50-9000 | hann, 64 | ") in text


def test_gpu(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    script("gpu").main()
    assert "| transpose or copy, cuFFT, overlap_add | 222 | 3 |" in capsys.readouterr().out


def test_the_day_of_a_card_is_rehearsed(tmp_path):
    """Every step of it starts on a fake CuPy, and what needs no device finds nothing wrong."""
    pytest.importorskip("torch")
    command = [sys.executable, BENCHMARKS / "gpu_day.py", "--dry", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    checks = (tmp_path / "checks.txt").read_text()
    assert not done.returncode, done.stdout + done.stderr + checks
    assert "18 checks, 0 failed" in checks
    assert (checks.count(": well: "), checks.count(": left out of a dry run")) == (10, 8)
    assert (tmp_path / "times.md").read_text().count("| nan | nan | nan |") == 6
    assert done.stdout.count(": exit 0 after ") == 7
    assert done.stdout.startswith((tmp_path / "summary.txt").read_text())


def test_the_day_of_a_card_goes_on_after_a_step_that_fails_and_says_so(script, monkeypatch, tmp_path, capsys):
    day = script("gpu_day")
    python = [sys.executable, "-c"]
    steps = [
        day.Step("broken.txt", 60, [*python, "print('3 failed'); raise SystemExit(3)"]),
        day.Step("endless.txt", day.LEAST, [*python, "while True: pass"]),
        day.Step("absent.txt", 60, [*python, ""], ("no-such-profiler", "--all")),
        day.Step("well.txt", 60, [*python, "print('7 passed')"]),
    ]
    monkeypatch.setattr(day, "steps", lambda dry: steps)
    monkeypatch.setattr(day, "LEAST", 0.5)
    monkeypatch.setattr(day, "FACTS", ())
    steps[1] = steps[1]._replace(seconds=0.5)
    monkeypatch.setattr(sys, "argv", ["gpu_day.py", "--output", str(tmp_path)])
    (tmp_path / "mine.txt").write_text("")
    assert day.main() == 1
    lines = capsys.readouterr().out.splitlines()
    for line, (begin, end) in zip(lines[1:], (
        ("broken.txt: exit 3 after ", ": 3 failed"), ("endless.txt: LATE, ended after ", ": "),
        ("absent.txt: NOT RUN, no no-such-profiler", ""), ("well.txt: exit 0 after ", ": 7 passed"),
    ), strict=False):  # fmt: skip
        assert line.startswith(begin)
        assert line.endswith(end)
    monkeypatch.setattr(sys, "argv", ["gpu_day.py", "--output", str(tmp_path), "--seconds", "0"])
    assert day.main() == 1
    assert capsys.readouterr().out.count("NOT RUN, no time is left") == 3
    assert {path.name for path in tmp_path.iterdir()} == {"summary.txt", "mine.txt"}


def test_a_check_of_the_day_that_fails_is_counted(script, monkeypatch, capsys):
    day = script("gpu_steps")

    def wrong(card):
        """The first check."""
        return day.near(np.ones(3), np.full(3, np.nan))

    monkeypatch.setattr(day, "CHECKS", (wrong, lambda card: "2 of 2"))
    assert day.checks(day.Card(None, dry=False)) == 1
    said = capsys.readouterr().out
    assert "wrong: FAILED: " in said
    assert "well: 2 of 2 (" in said
    assert "2 checks, 1 failed" in said


def test_soak(script, monkeypatch, tmp_path):
    assert "from 4 threads" in quick(script, monkeypatch, tmp_path, "soak")


def test_soak_says_which_call_gave_other_bits(script):
    turn = iter(range(1000))
    wrong, curve = script("soak").soaked([lambda: np.ones(3), lambda: np.full(3, next(turn))], 100, 2)
    assert set(wrong) == {1}
    assert curve


def test_attack_tries_every_section(tmp_path):
    """In a process of its own, as `test_battery`; without "sizes", which tests/test_memory.py has."""
    code = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
sys.argv = ["attack.py", "--quick", "--output", {str(tmp_path)!r}]
import attack
del attack.SECTIONS["sizes"]
print(*attack.SECTIONS, sep="\\n")
sys.exit(attack.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert not done.returncode, done.stdout + done.stderr
    page = (tmp_path / "attack.md").read_text()
    names = ("valid calls", "refused calls", "threads", "interrupts", "forks", "files")
    assert done.stdout.splitlines()[: len(names)] == list(names)
    for name in names:
        assert f"| {name} | 1 | 1 | 0 |" in page


def test_attack_says_what_broke(script, monkeypatch, tmp_path):
    attack = script("attack")
    sections = {"good": lambda chance: iter([lambda: ""]), "bad": lambda chance: iter([lambda: "burnt"])}
    monkeypatch.setattr(attack, "SECTIONS", sections)
    monkeypatch.setattr(sys, "argv", ["attack.py", "--quick", "--output", str(tmp_path)])
    assert attack.main() == 1
    page = (tmp_path / "attack.md").read_text()
    assert "| good | 1 | 1 | 0 |\n| bad | 1 | 0 | 1 |\n\n- bad: burnt\n" in page


def test_conformance_gives_the_digits_of_the_largest_deviation(script):
    found = {("scipy", "stft", dtype): off
             for dtype, off in (("float32", 2e-8), ("complex64", 3e-7), ("float64", 4e-16))}  # fmt: skip
    assert "| scipy | stft | 3.0e-07 | 6 | 4.0e-16 | 15 |" in script("conformance").digits(found)


def test_battery(tmp_path):
    """In a process of its own: it forks, and this one may have threads."""
    command = [sys.executable, BENCHMARKS / "battery.py", "--quick", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert not done.returncode, done.stderr
    assert "\n| xp_istft | 5/5 100 % | 2 | 3 | 0 | 0 | 0 | 0 | 0 |" in (tmp_path / "battery.md").read_text()


def test_the_battery_has_every_row_and_tells_a_peer_that_it_is_wrong(script):
    battery = script("battery")
    assert len(battery.cases()) == 167
    case = battery.cases()["D01"][0]
    assert (case.want, case.about[0]) == ("error", "hop_length")

    class Answers(battery.Inverse):
        def __init__(self, answer):
            self.answer = answer

        def istft(self, X, **given):
            return self.answer()

    def raises(error):
        def answer():
            raise error

        return answer

    for answer, outcome in (
        (raises(ValueError("hop_length: no")), "named"),
        (raises(ValueError("bad shape")), "unnamed"),
        (raises(battery.NotApplicableError("no")), "n/a"),
        (lambda: np.zeros((2, 2048)), "wrong"),
    ):
        assert battery.judged(case, Answers(answer))[0] == outcome
