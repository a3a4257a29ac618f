"""The package and its CPU paths need no GPU: with CuPy absent, failing to import, or installed without a driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUND_TRIP = """
import numpy as np, xp_istft as xi
x = np.random.default_rng(0).standard_normal((2, 3000))
assert np.allclose(xi.istft(xi.stft(x, n_fft=256), length=3000), x)
assert xi.frame(x, 16, 4).shape == (2, 16, 747)
xi.set_gpu_engine("fused")
assert np.allclose(xi.istft(xi.stft(x, n_fft=256), length=3000), x)
"""


def run(code: str, *path: Path) -> None:
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # where a machine has what the package needs
    environment = {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT, *filter(None, known)))), "PATH": ""}
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr


def test_cupy_is_not_imported_before_its_arrays_arrive():
    run(ROUND_TRIP + "\nimport sys\nassert 'cupy' not in sys.modules")


def test_cupy_absent():
    run("import sys\nsys.modules['cupy'] = None\n" + ROUND_TRIP)


@pytest.mark.parametrize("cause", ["ImportError('libcuda.so')", "RuntimeError('driver')", "SystemError()"])
def test_cupy_fails_to_import(tmp_path, cause):
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(f"raise {cause}")
    run(ROUND_TRIP, tmp_path)
    run("try:\n    import cupy\nexcept Exception:\n    pass\n" + ROUND_TRIP, tmp_path)


def test_cupy_installed_without_a_driver():
    pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    run("import cupy\n" + ROUND_TRIP)
