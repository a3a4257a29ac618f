"""Threads and engines: a call's argument, then `with`, then what was set, then the environment, then the default."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import xp_istft as xi
from xp_istft import settings
from xp_istft.backends.cpu import tasks
from xp_istft.backends.cpu.fft import engine_named

SETTINGS = {  # name: two values, the environment variable, a wrong value and its error
    "workers": (3, 5, "XP_ISTFT_NUM_THREADS", 0, "need >= 1, got 0"),
    "fft_engine": (
        "numpy",
        "scipy",
        "XP_ISTFT_FFT_ENGINE",
        "fftw",
        "need 'auto' or 'numpy' or 'scipy' or 'ducc' or 'mkl'",
    ),
    "gpu_engine": ("fused", "cufft", "XP_ISTFT_GPU_ENGINE", "fft", "need 'cufft' or 'fused'"),
}


@pytest.fixture(params=SETTINGS)
def name(request):
    yield request.param
    of(request.param, "set_")(None)


def of(name, prefix=""):
    return getattr(xi, prefix + name)


def environment(code, **variables):
    """What a process with these variables prints."""
    done = subprocess.run(
        [sys.executable, "-c", "import xp_istft as xi\n" + code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    return done.stdout.split(), done.stderr


def test_the_innermost_with_goes_before_what_was_set(name):
    first, second = SETTINGS[name][:2]
    get = of(name, "get_")
    start = get()
    of(name, "set_")(first)
    assert get() == first
    with of(name)(second):
        assert get() == second
        with of(name)(first):
            assert get() == first
            of(name, "set_")(second)
            assert get() == first
        assert get() == second
        with of(name)(None):
            assert get() == start
    assert get() == second
    with pytest.raises(ZeroDivisionError), of(name)(first):
        raise ZeroDivisionError
    assert get() == second
    of(name, "set_")(None)
    assert get() == start


def test_with_holds_for_its_own_thread_and_task_alone(name):
    first, second = SETTINGS[name][:2]
    get, seen = of(name, "get_"), []
    of(name, "set_")(first)

    async def task(value):
        with of(name)(value):
            await asyncio.sleep(0)
            seen.append(get() == value)

    async def tasks():
        await asyncio.gather(task(first), task(second))

    with of(name)(second):
        other = threading.Thread(target=lambda: seen.append(get() == first))
        other.start()
        other.join()
    asyncio.run(tasks())
    assert seen == [True, True, True]


def test_the_environment_decides_until_something_is_set(name):
    first, second, variable = SETTINGS[name][:3]
    code = f"""
print(xi.get_{name}())
xi.set_{name}({second!r}); print(xi.get_{name}())
with xi.{name}({first!r}): print(xi.get_{name}())
with xi.{name}(None): print(xi.get_{name}())
xi.set_{name}(None); print(xi.get_{name}())
"""
    assert environment(code, **{variable: str(first)})[0] == [
        str(value) for value in (first, second, first, first, first)
    ]
    assert environment(f"print(xi.get_{name}())", **{variable: ""})[0] == [str(of(name, "get_")())]


@pytest.mark.parametrize("text", ["0", "-2", "many", "2.5"])
def test_a_wrong_variable_is_named(name, text):
    variable = SETTINGS[name][2]
    wanted = "an integer >= 1" if name == "workers" else SETTINGS[name][4].removeprefix("need ")
    error = environment(f"print(1)\nxi.get_{name}()", **{variable: text})[1]
    assert error.splitlines()[-1].startswith(f"ValueError: environment: {variable}: need {wanted}, got {text!r}")


@pytest.mark.parametrize(
    "call",
    ["xi.stft(x, 64)", "xi.istft(X)", "xi.frame(x, 64, 16)", "xi.overlap_add(X.real, 16)", "xi.STFT(64)",
     "xi.griffin_lim(abs(X))", "compat.librosa.stft(x, n_fft=64)"],
)  # fmt: skip
def test_a_wrong_variable_is_seen_by_any_call(call):
    """Short ones, too, which have no use for it."""
    code = f"import numpy as np, xp_istft.compat.librosa; from xp_istft import compat; x = np.ones(99)\n{call}"
    code = code.replace("{call}", call).replace("(X", "(np.ones((33, 7), complex)")
    for text, said in (("many", "XP_ISTFT_NUM_THREADS: need an integer >= 1, got 'many'"), ("2", "")):
        error = environment(code, XP_ISTFT_NUM_THREADS=text)[1]
        assert said in (error.splitlines() or [""])[-1]
        assert bool(error) == bool(said)


def test_wrong_values_are_refused_before_they_hold(name):
    wrong, text = SETTINGS[name][3:]
    before = of(name, "get_")()
    argument = "workers" if name == "workers" else "engine"
    for prefix in ("", "set_"):
        with pytest.raises(ValueError, match=f"^{prefix}{name}: {argument}: {text}"):
            of(name, prefix)(wrong)
        for kind in (2.0, True, b"numpy"):
            with pytest.raises(TypeError, match=f"^{prefix}{name}: {argument}: need"):
                of(name, prefix)(kind)
    assert of(name, "get_")() == before


@pytest.mark.parametrize(("engine", "library"), [("ducc", "ducc0"), ("mkl", "mkl_fft")])
def test_an_engine_that_is_not_installed_is_named(engine, library, monkeypatch):
    engine_named.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    for function in (xi.fft_engine, xi.set_fft_engine):
        match = rf"^{function.__name__}: engine: need .*'{engine}'.*xp-istft\[{engine}\]"
        with pytest.raises(ImportError, match=match):
            function(engine)


def test_a_calls_argument_goes_before_all(monkeypatch, cut):
    taken = []
    monkeypatch.setattr(tasks, "get_workers", lambda: taken.append("asked") or 1)
    cut(threaded_seconds=0)
    X = xi.stft(np.ones(300), 64, workers=2)
    with xi.workers(3):
        xi.istft(X, workers=2)
    assert taken == []
    xi.istft(X)
    assert taken == ["asked"]


def groups(root, lines, **files):
    """A root directory with these control groups, whose names have double underscores for slashes."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


V2 = ["0::/user/me"]
V1 = ["4:memory:/here", "3:cpu,cpuacct:/here", "2:cpuset:/"]


@pytest.mark.parametrize(
    ("lines", "files", "due"),
    [
        (V2, {}, None),
        (V2, {"user__me__cpu.max": "max 100000", "user__cpu.max": "max 100000"}, None),
        (V2, {"user__me__cpu.max": "300000 100000"}, 3),
        (V2, {"user__me__cpu.max": "150000 100000"}, 2),
        (V2, {"user__me__cpu.max": "1000 100000"}, 1),
        (V2, {"user__me__cpu.max": "max 100000", "user__cpu.max": "200000 100000"}, 2),
        (["0::/"], {"cpu.max": "400000 100000"}, 4),
        (V2, {"cpu.max": "400000 100000"}, 4),
        (V2, {"user__me__cpu.max": "nonsense"}, None),
        (V2, {"user__me__cpu.max": "-1 100000"}, None),
        (V1, {"cpu,cpuacct__here__cpu.cfs_quota_us": "250000", "cpu,cpuacct__here__cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu__here__cpu.cfs_quota_us": "250000", "cpu__here__cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu__cpu.cfs_quota_us": "50000", "cpu__cpu.cfs_period_us": "50000"}, 1),
        (V1, {"cpu__here__cpu.cfs_quota_us": "-1", "cpu__here__cpu.cfs_period_us": "100000"}, None),
        (V1, {"memory__here__cpu.cfs_quota_us": "100000", "memory__here__cpu.cfs_period_us": "100000"}, None),
        ([*V1, "0::/"], {"cpu__here__cpu.cfs_quota_us": "90000", "cpu__here__cpu.cfs_period_us": "10000"}, 9),
        (["words"], {}, None),
    ],
    ids=str,
)
def test_quotas_of_control_groups_are_cpus(tmp_path, lines, files, due):
    assert settings.quota(groups(tmp_path, lines, **files)) == due


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path):
    assert settings.quota(tmp_path) is None


def test_threads_by_default_are_no_more_than_the_quota(monkeypatch):
    monkeypatch.delenv("XP_ISTFT_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 4}, raising=False)
    with xi.workers(None):
        for bound, due in ((None, 3), (2, 2), (3, 3), (64, 3)):
            monkeypatch.setattr(settings, "quota", lambda bound=bound: bound)
            assert xi.get_workers() == due


def test_threads_by_default_are_the_cpus_that_the_process_may_use(monkeypatch):
    monkeypatch.delenv("XP_ISTFT_NUM_THREADS", raising=False)
    monkeypatch.setattr(settings, "quota", lambda: None)
    with xi.workers(None):
        if hasattr(os, "sched_getaffinity"):
            monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 4})
            assert xi.get_workers() == 3
            monkeypatch.delattr(os, "sched_getaffinity")
        assert xi.get_workers() == os.cpu_count()


def test_results_are_those_of_the_engine_that_holds():
    x = np.random.default_rng(0).standard_normal(4000)
    due = {}
    for engine in ("numpy", "scipy"):
        xi.set_fft_engine(engine)
        due[engine] = xi.stft(x, 256)
    xi.set_fft_engine(None)
    for engine in ("numpy", "scipy", "numpy"):
        with xi.fft_engine(engine):
            np.testing.assert_array_equal(xi.stft(x, 256), due[engine])
