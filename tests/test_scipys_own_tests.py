"""SciPy's own tests of stft, istft and ShortTimeFFT, as they lie in its wheel, with our functions in place of its.

Names are replaced in the modules' sources before they run; nothing else, but for what EDITS and LEFT_OUT list with the
reason of each.
"""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path

import pytest
import scipy.signal

from xp_istft.compat import scipy as ours

FOLDER = Path(scipy.signal.__file__).parent / "tests"
if not (FOLDER / "test_short_time_fft.py").exists():  # distributors may cut them out of the wheel
    pytest.skip("this SciPy comes without its tests", allow_module_level=True)

# test -> why it does not apply
LEFT_OUT = {
    "test__calc_dual_canonical_window_roundtrip": "a private function",
    "test__calc_dual_canonical_window_exceptions": "a private function",
    "test_closest_STFT_dual_window_exceptions": "no function of ours; only SciPy's is tested",
    "test_closest_STFT_dual_window_roundtrip": "no function of ours; only SciPy's is tested",
    "test_closest_STFT_dual_window_cola": "no function of ours; only SciPy's is tested",
    "test_invalid_fft_mode_RuntimeError": "sets a private attribute and calls private methods",
    "test_fft_func_roundtrip": "calls private methods",
    "test_x_slices_padding": "calls a private method",
}
# (as it stands, in its place, why)
EDITS = [
    (
        "        g = SFT._x_slices(np.zeros(16), k_off=0, p0=0, p1=1, padding='invalid')\n        next(g)",
        "        SFT.stft(np.zeros(16), p0=0, p1=1, padding='invalid')\n",
        "the public method that checks the padding, in place of a private one",
    ),
    ("        SFT._post_padding(3)", "        SFT.k_max(3)", "the public method, in place of a private one"),
    (
        "    with pytest.raises(RuntimeError):\n        SFT._hop = -1  # illegal hop interval\n"
        "        SFT.upper_border_begin(8)\n",
        "",
        "sets a private attribute to an illegal value",
    ),
    (
        "    SFT._hop = -1  # provoke unreachable line\n    with pytest.raises(RuntimeError):\n"
        "        _ = SFT.k_max(4)\n    with pytest.raises(RuntimeError):\n        _ = SFT.k_min\n",
        "",
        "sets a private attribute to an illegal value",
    ),
    (
        "xp_assert_close(x32, x32_1_r.astype(np.float32),",
        "xp_assert_close(x32, x32_1_r.astype(np.float32), atol=3e-5,",
        "single precision stays single precision; SciPy computes in double precision",
    ),
]
SPECTRAL_EDITS = [
    (
        "assert_allclose(Zp[:129, :], Zp0)\n        assert_allclose(Zp[129:, :], Zp1)",
        "assert_allclose(Zp[:129, :], Zp0, atol=1e-15)\n        assert_allclose(Zp[129:, :], Zp1, atol=1e-15)",
        "zeros are rounding noise of 1e-17, and need not be the same noise in one- and two-sided spectra",
    ),
]
NAMES = ("ShortTimeFFT", "stft", "istft", "check_COLA", "check_NOLA")


def source_of(name: str, edits: list[tuple[str, str, str]] = []) -> str:  # noqa: B006
    text = (FOLDER / f"{name}.py").read_text()
    for old, new, _ in edits:
        assert text.count(old) == 1, f"{name}: what is to be replaced stands there {text.count(old)} times: {old}"
        text = text.replace(old, new)
    return text


def without_ours(tree: ast.Module) -> ast.Module:
    """The module, its imports of the names that we replace taken out."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scipy.signal"):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) not in NAMES]
    tree.body = [node for node in tree.body if not (isinstance(node, ast.ImportFrom) and not node.names)]
    return tree


def run(name: str, tree: ast.Module, **replaced: object) -> types.ModuleType:
    """The module run with these names; registered, so that its tests can be found by their module."""
    module = types.ModuleType(f"{__name__}_{name}")
    module.__dict__.update(replaced)
    sys.modules[module.__name__] = module
    exec(compile(without_ours(tree), str(FOLDER / f"{name}.py"), "exec"), module.__dict__)
    return module


replaced = {name: getattr(ours, name) for name in NAMES}
sliding = run("test_short_time_fft", ast.parse(source_of("test_short_time_fft", EDITS)), **replaced)
# SciPy's tests of stft and istft compare them with a ShortTimeFFT made to act alike: here both are ours.
shim = run("_scipy_spectral_test_shim", ast.parse(source_of("_scipy_spectral_test_shim")), **replaced)
pair = {**replaced, "stft": shim.stft_compare, "istft": shim.istft_compare}
segments = run("test_spectral", ast.parse(source_of("test_spectral", SPECTRAL_EDITS)), **pair)

globals().update(
    {name: test for name, test in vars(sliding).items() if name.startswith("test_") and name not in LEFT_OUT}
)
TestSTFT = segments.TestSTFT


def test_what_is_left_out_is_there():
    assert set(LEFT_OUT) <= set(vars(sliding))


def test_our_functions_are_those_under_test():
    assert sliding.ShortTimeFFT is shim.ShortTimeFFT is ours.ShortTimeFFT
    assert (sliding.stft, shim.istft, segments.check_COLA) == (ours.stft, ours.istft, ours.check_COLA)
