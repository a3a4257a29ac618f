"""Oldest and newest supported versions, without the optional libraries, and more of what a change may break.

nox                     the sessions that every change passes: oldest, newest, bare
nox -s deep             the laws, for an hour
nox -s planted          bugs planted in the kernels for CUDA and in what launches them
nox -s mutation -- windows
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["oldest", "newest", "bare"]
nox.options.error_on_missing_interpreters = False
nox.needs_version = ">=2024.4"

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
# What needs nothing but NumPy and the tools of the tests, and takes half a minute on two cores.
CORE = ("frames", "windows", "edges", "transform", "transforms", "laws", "same_bits", "cpu_maps", "threads", "memory")
TOOLS = ("pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100")
# The tests that know most of a module's mutants; those of mutation.toml follow.
AIMED = {
    "transform": ("frequencies", "conventions", "laws", "hostile_inputs"),
    "transforms": ("conventions", "laws", "hostile_inputs"),
    "blocks": ("blocks", "stored"),
    "backends/__init__": ("imports", "hostile_inputs", "torch_compile"),
    "backends/base": ("backends", "streaming", "jax"),
    "backends/dask": ("dask",),
    "backends/jax": ("jax", "frequency_gradients"),
    "backends/cpu/retrieval": ("phase_retrieval",),
    "backends/cpu/memory": ("memory",),
    "backends/cpu/threads": ("threads", "cpu_maps"),
    "backends/torch/gradients": ("torch", "torch_compile"),
}


def core(session: nox.Session) -> None:
    """The tests of the core, on the libraries that are there: others skip."""
    session.run(
        "python",
        "-c",
        "import numpy, scipy, array_api_compat as a; print(numpy.__version__, scipy.__version__, a.__version__)",
    )
    session.run(
        "pytest",
        "-q",
        "-n",
        "auto",
        "-p",
        "no:cacheprovider",
        *(f"tests/test_{name}.py" for name in CORE),
        *session.posargs,
    )


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The lower bounds of pyproject.toml, to the letter."""
    session.install(*(each.replace(">=", "==") for each in PROJECT["dependencies"]), "array-api-strict==2.3", *TOOLS)
    session.install("--no-deps", ".")
    core(session)


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """The newest releases of what the package needs."""
    session.install(
        "--upgrade", *(each.partition(">=")[0] for each in PROJECT["dependencies"]), "array-api-strict", *TOOLS
    )
    session.install("--no-deps", ".")
    core(session)


@nox.session
def bare(session: nox.Session) -> None:
    """A wheel with what it needs and no more: it imports, and goes there and back."""
    session.install(".")
    session.run(
        "python", "-I", "-W", "error", "-c",
        "import numpy as np, xp_istft as xi; x = np.random.default_rng(0).standard_normal(5000); "
        "assert abs(xi.istft(xi.stft(x, 256), length=5000) - x).max() < 1e-12; print(xi.__version__, 'works bare')",
    )  # fmt: skip


@nox.session(python=["3.13t", "3.14t"])
def free_threaded(session: nox.Session) -> None:
    """CPython without the GIL: the core, all that NumPy and threads do, and a short soak."""
    session.install("--upgrade", *(each.partition(">=")[0] for each in PROJECT["dependencies"]), "array-api-strict")
    session.install("pytest>=8", "hypothesis>=6.100,<6.131")  # later ones have a compiled part, and no wheel of it
    session.install("--no-deps", ".")
    session.run("python", "-c", "import sys; assert not sys._is_gil_enabled()")
    threaded = ("cpu_maps", "threads", "blocks", "streaming", "stored", "same_bits", "hostile_inputs")
    files = (f"tests/test_{name}.py" for name in (*CORE, *threaded, "phase_retrieval", "frequencies", "conventions"))
    session.run("pytest", "-q", "-p", "no:cacheprovider", *files, *session.posargs, env={"PYTHON_GIL": "0"})
    session.run("python", "benchmarks/soak.py", "20000", env={"PYTHON_GIL": "0"})


@nox.session(python=False)
def planted(session: nox.Session) -> None:
    """Each bug that is planted in the CUDA part must make a check fail; in the environment of all libraries."""
    session.run(sys.executable, "-m", "pytest", "-q", "-n", "auto", "-m", "planted", "tests/cuda", *session.posargs)


@nox.session
def deep(session: nox.Session) -> None:
    """The laws on twenty thousand problems each."""
    session.install("-e", ".[test]")
    laws = ("tests/test_laws.py", "tests/test_same_bits.py", "-k", "found or Streams")
    session.run("pytest", "-q", *laws, "--hypothesis-profile", "deep", *session.posargs)


@nox.session(python="3.11")
def projects(session: nox.Session) -> None:
    """Real projects: doors and recipes beside them; patched against not, the same numbers, and how much sooner."""
    session.install("torch==2.13.0")
    session.install("-e", ".[test]", "librosa>=0.11", "torchaudio", "demucs", "openunmix", "auraloss", "noisereduce")
    session.install("asteroid-filterbanks", "nara_wpe", "mne", "speechbrain")
    session.install("--no-deps", "vocos", "encodec")
    for compiled in Path(session.virtualenv.location).rglob("torchaudio/lib/*.so"):  # for CUDA, and not needed
        compiled.unlink()
    session.run("pytest", "-q", "tests/test_compat_torchaudio.py", "tests/test_recipes.py")
    session.run("python", "benchmarks/projects.py", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Mutants of one module (or several), as docs/mutation.md says: nox -s mutation -- windows backends/dask"""
    session.install(".[test]", "cosmic-ray")
    copy = Path(session.create_tmp()) / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".*", "dist", "results"))
    session.chdir(copy)
    for module in session.posargs or ("frames",):
        name = module.replace("/", "_")
        config, results = Path(f"{name}.toml"), f"{name}.sqlite"
        aimed = "".join(f"tests/test_{each}.py " for each in AIMED.get(module, ()))
        text = Path("mutation.toml").read_text().replace("xp_istft/frames.py", f"xp_istft/{module}.py")
        config.write_text(text.replace("no:cacheprovider ", f"no:cacheprovider {aimed}"))
        session.run("cosmic-ray", "init", str(config), results)
        session.run("cr-filter-operators", results, str(config))
        session.run("cosmic-ray", "exec", str(config), results)
        session.run("cr-report", results, "--surviving-only")
