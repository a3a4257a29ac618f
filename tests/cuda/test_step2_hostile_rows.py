"""Step 2: every row of tests/hostile.py on the fake CuPy: NumPy's value, or NumPy's error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from emulator.fake_cupy import FakeCupy
from hostile import BASE, spectrum
from hostile_functions import cases, holds

import xp_istft as xi


@dataclass(frozen=True)
class Devices:
    """The fake CuPy as one of the libraries of tests/conftest.py."""

    fake: FakeCupy
    name: str = "fake_cupy"

    def asarray(self, host: np.ndarray) -> Any:
        return self.fake.on_device(host)

    def to_numpy(self, array: Any) -> np.ndarray:
        return array.host

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.fake.ndarray)


@pytest.mark.parametrize(("row", "function", "library"), cases("fake_cupy"))
def test_row(row, function, library, lasting_fake):
    holds(row, function, Devices(lasting_fake))


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda fake: fake.on_device(np.zeros((2, 2000))), ValueError, r"need shape \(2, 2048\), got \(2, 2000\)"),
        (lambda fake: fake.on_device(np.zeros((2, 2048), "i4")), TypeError, "need dtype float64, got int32"),
        (lambda fake: np.zeros((2, 2048)), TypeError, "need cupy.ndarray as the input, got numpy.ndarray"),
        (lambda fake: [0.0], TypeError, "need cupy.ndarray as the input, got builtins.list"),
    ],
    ids=["another shape", "int32", "of NumPy", "a list"],
)
def test_out_that_does_not_fit_is_refused(lasting_fake, make, kind, text):
    with pytest.raises(kind, match=f"^istft: out: {text}"):
        xi.istft(lasting_fake.on_device(spectrum()), **BASE, out=make(lasting_fake))


def test_windows_are_taken_by_value(lasting_fake):
    window = np.hanning(257)[:-1]
    want = xi.istft(spectrum(), **BASE, window=window)
    for given in (window, lasting_fake.on_device(window)):
        X = lasting_fake.on_device(spectrum())
        np.testing.assert_allclose(xi.istft(X, **BASE, window=given).host, want, atol=1e-12)
        np.testing.assert_allclose(xi.istft(spectrum(), **BASE, window=given), want, atol=1e-12)
