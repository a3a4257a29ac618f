"""SciPy's own tests of stft, istft, spectrogram and ShortTimeFFT, as they lie in its wheel, run on our functions.

Names are replaced in the modules' sources before they run; nothing else, but for what EDITS list with the reason of
each.
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

# (as it stands, in its place, why)
EDITS = [
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
    *(
        (
            f"{call}[1]\n        assert_allclose(x1, x)",
            f"{call}[1]\n        assert_allclose(x1, x, atol=1e-15)",
            "zeros of a cosine come out exact by some FFTs, and as 1e-17 by ducc0's",
        )
        for call in (
            "istft(Zs, boundary=True, scaling='spectrum')",
            "istft(Zp, input_onesided=False, boundary=True, scaling='psd')",
            "istft(Zp0, input_onesided=True, boundary=True, scaling='psd')",
        )
    ),
]
NAMES = ("ShortTimeFFT", "stft", "istft", "spectrogram")


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

globals().update({name: test for name, test in vars(sliding).items() if name.startswith("test_")})
TestSTFT, TestSpectrogram = segments.TestSTFT, segments.TestSpectrogram


def test_our_functions_are_those_under_test():
    assert sliding.ShortTimeFFT is shim.ShortTimeFFT is ours.ShortTimeFFT
    assert (sliding.stft, shim.istft, segments.spectrogram) == (ours.stft, ours.istft, ours.spectrogram)
