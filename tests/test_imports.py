"""What importing the package costs and needs, and which way its modules depend on each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xp_istft

PACKAGE = Path(xp_istft.__file__).parent
OPTIONAL = (
    "torch", "cupy", "jax", "dask", "mlx", "matplotlib", "click", "rich", "soundfile", "soxr", "mkl_fft", "librosa",
)  # fmt: skip


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600).stdout


def test_importing_imports_no_array_library_but_numpy():
    code = f"import sys, xp_istft; print([name for name in {(*OPTIONAL, 'ducc0')!r} if name in sys.modules])"
    assert run(code).strip() == "[]"


def test_importing_leaves_scipys_signal_for_when_it_is_needed():
    assert run("import sys, xp_istft; print('scipy.signal' in sys.modules)").strip() == "False"


@pytest.mark.parametrize("failure", ["ModuleNotFoundError('absent')", "RuntimeError('broken')"])
@pytest.mark.parametrize("name", ["torch", "cupy", "jax", "dask", "mlx", "array_api_strict", "ducc0"])
def test_numpy_works_where_others_are_absent_or_broken(name, failure):
    code = f"""
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise {failure}

sys.meta_path.insert(0, Finder())
import numpy as np, xp_istft as xi
x = np.random.default_rng(0).standard_normal(3000)
print(float(abs(xi.istft(xi.stft(x, 256), length=3000) - x).max()) < 1e-13)
"""
    assert run(code).strip() == "True"


def test_numpy_calls_import_no_other_library():
    code = f"""
import sys, numpy as np, xp_istft as xi
xi.istft(xi.stft(np.ones(3000), 256))
print([name for name in {OPTIONAL!r} if name in sys.modules])
"""
    assert run(code).strip() == "[]"


def imported(path: Path, everywhere: bool = False) -> set[str]:
    """The package's own modules that a file imports, as dotted paths below the package: when it is imported itself.

    everywhere : or when one of its functions is called
    """
    names = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.relative_to(PACKAGE).parts[: -node.level]
            stem = ".".join((*base, *(node.module or "").split("."))).strip(".")
            names.update([stem] if node.module else [f"{stem}.{alias.name}".strip(".") for alias in node.names])
    return names


GROUND = {"arguments", "dtypes", "frames", "windows", "jobs", "settings", "tuning"}


def test_backends_never_look_up():
    """They know the ground and each other; how an array is read in blocks, and one step of a phase algorithm."""
    for path in (PACKAGE / "backends").rglob("*.py"):
        upward = {name for name in imported(path, everywhere=True) if not name.startswith("backends")}
        assert upward <= GROUND | {"blocks", "phase.algorithms"}, (path.name, upward)


def test_the_ground_knows_no_backend():
    """Some of its functions ask for one when they are called."""
    for name in GROUND:
        assert imported(PACKAGE / f"{name}.py") <= GROUND, name


def test_what_a_transform_is_made_of_does_not_know_it():
    for path in (PACKAGE / "frequencies").rglob("*.py"):
        assert not imported(path, everywhere=True) & {"transform", "transforms"}, path.name
    for name in ("blocks", "arrays", "phase/algorithms", "phase/integration"):
        assert not imported(PACKAGE / f"{name}.py", everywhere=True) & {"transform", "transforms"}, name


def test_nothing_imports_compat_but_the_layer_that_is_public():
    for path in PACKAGE.rglob("*.py"):
        if PACKAGE / "compat" not in path.parents:
            known = {name for name in imported(path, everywhere=True) if "compat" in name}
            allowed = {"compat._nnaudio_istft"} if path == PACKAGE / "__init__.py" else set()
            if path.parent.name == "patch":
                allowed = {f"compat.{path.stem}", "compat"}
            assert known <= allowed, path.name


def test_compat_maps_arguments():
    """Thin files, most of each signatures and docstrings, and none that makes a transform of its own."""
    texts = {path: path.read_text() for path in (PACKAGE / "compat").rglob("*.py")}
    assert sum(len(text.splitlines()) for text in texts.values()) < 2300
    for path, text in texts.items():
        assert len(text.splitlines()) < 300, path.name
        called = {node.func.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
                  and isinstance(node.func, ast.Attribute)}  # fmt: skip
        assert not called & {"fft", "ifft", "rfft", "irfft", "fold", "unfold", "conv1d", "as_strided"}, path.name


def test_the_version_stands_in_one_place():
    from importlib.metadata import version

    assert version("xp-istft") == xp_istft.__version__


OLD = {
    "torch": "class Tensor: pass",
    "jax": "__version__ = '0.1'",
    "dask": "__version__ = '0.1'",
    "cupy": "class ndarray: pass",
}


@pytest.mark.parametrize("name", OLD)
def test_numpy_works_beside_a_library_that_is_too_old(name, tmp_path):
    """A library that was imported, but lacks what is needed of it, is in nobody's way but of its own arrays."""
    (tmp_path / f"{name}.py").write_text(OLD[name])
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import {name}
import numpy as np, xp_istft as xi
x = np.random.default_rng(0).standard_normal(3000)
error = abs(xi.istft(xi.stft(x, 256), length=3000) - x).max()
print({name}.__file__ == {str(tmp_path / f"{name}.py")!r}, float(error) < 1e-13)
"""
    assert run(code).split() == ["True", "True"]


def test_arrays_of_a_torch_that_is_too_old_are_refused(tmp_path):
    (tmp_path / "torch.py").write_text("__version__ = '0.4'\nclass Tensor: pass")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import torch, xp_istft as xi
try:
    xi.istft(torch.Tensor())
except ImportError as cause:
    print(cause)
"""
    assert run(code).startswith("xp_istft: torch: need a complete library of a supported version, got 0.4; ")
