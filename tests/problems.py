"""Problems that the laws are tried on: some on every array library, and whatever hypothesis finds on NumPy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import definition
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import xp_istft as xi

WINDOWS = ("hann", "hamming", "blackman", "boxcar", ("kaiser", 8.0), "ramp", "random")
PADDINGS = (None, "same", "full", 0, 3, (5, 0), (0, 40))


@dataclass(frozen=True)
class Problem:
    """Sizes, a window and where frames lie; `seed` makes the numbers, so that hypothesis shrinks the sizes alone."""

    n_fft: int
    hop_length: int
    win_length: int
    kind: Any = "hann"
    padding: Any = None
    center: bool = True
    n_samples: int = 150
    batch: tuple[int, ...] = (2,)
    single: bool = False
    seed: int = 0

    @property
    def window(self) -> Any:
        if self.kind == "ramp":
            return np.linspace(0.1, 1, self.win_length)
        if self.kind == "random":
            return self.rng(1).uniform(0.1, 1, self.win_length)
        return self.kind

    @property
    def samples(self) -> np.ndarray:
        """The window, n_fft samples."""
        return definition.window_samples(self.window, self.win_length, self.n_fft)

    @property
    def layout(self) -> dict[str, Any]:
        names = ("n_fft", "hop_length", "win_length", "window", "center", "padding")
        return {name: getattr(self, name) for name in names}

    def rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    def signal(self, stream: int = 0, n_samples: int | None = None) -> np.ndarray:
        x = self.rng(stream).standard_normal((*self.batch, n_samples or self.n_samples))
        return x.astype(np.float32) if self.single else x

    def spectrum(self, stream: int = 0, onesided: bool = True) -> np.ndarray:
        """Noise: no signal has this spectrum."""
        n_bins = self.n_fft // 2 + 1 if onesided else self.n_fft
        X = self.rng(stream).standard_normal((*self.batch, n_bins, self.n_frames, 2)).view(complex)[..., 0]
        return X.astype(self.complex)

    @property
    def real(self) -> type:
        return np.float32 if self.single else np.float64

    @property
    def complex(self) -> type:
        return np.complex64 if self.single else np.complex128

    @property
    def eps(self) -> float:
        return float(np.finfo(self.real).eps)

    @property
    def transform(self) -> xi.STFT:
        return xi.STFT(**self.layout, nola="zero")

    @property
    def n_frames(self) -> int:
        return self.transform.n_frames(self.n_samples)

    @property
    def placement(self) -> tuple[int, int, bool]:
        """Samples of padding before and after the signal, and whether a last partial hop gets a frame."""
        return definition.placement(self.n_fft, self.hop_length, self.win_length, self.center, self.padding)


# Odd and even sizes, hops that divide and do not, short windows.
FIXED = (
    Problem(16, 4, 16),
    Problem(15, 4, 15, single=True),
    Problem(16, 5, 16, center=False),
    Problem(15, 6, 11, "hamming", center=False, single=True),
    Problem(16, 3, 9, padding="same", batch=(2, 3)),
    Problem(15, 5, 12, padding="full"),
    Problem(16, 8, 16, "hamming", padding=(3, 14), single=True, batch=()),
    Problem(16, 16, 16, "boxcar", padding="same"),
    Problem(17, 1, 17, n_samples=60),
    Problem(64, 48, 64, "hamming", padding=9, single=True),
    Problem(2, 1, 2, "boxcar"),
)
LIBRARIES = ("numpy", "torch", "jax", "dask", "array_api_strict", "mlx", "cupy")


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    n_fft = draw(st.integers(2, 72))
    win_length = draw(st.one_of(st.just(n_fft), st.integers(1, n_fft)))
    kind = draw(st.sampled_from(WINDOWS)) if win_length > 8 else "boxcar"
    zero_ended = kind in ("hann", "blackman")
    found = Problem(
        n_fft=n_fft,
        hop_length=draw(st.integers(1, max(1, win_length // 2 if zero_ended else win_length))),
        win_length=win_length,
        kind=kind,
        center=draw(st.booleans()),
        padding=draw(st.sampled_from(PADDINGS)),
        n_samples=draw(st.integers(1, 300)),
        batch=draw(st.sampled_from([(), (1,), (3,), (2, 2)])),
        single=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
    assume(found.n_frames >= 1)
    return found


def law(
    check: Callable[[Any, Problem], None] | None = None,
    *,
    libraries: tuple[str, ...] = LIBRARIES,
    examples: int | None = None,
    **changed: Any,
) -> Any:
    """A test of check(xp, problem): FIXED on every library, and on the first what hypothesis finds ("found").

    `changed` are fields that the law needs to be so.
    """
    if check is None:
        return functools.partial(law, libraries=libraries, examples=examples, **changed)
    cases = [
        pytest.param(name, problem, id=f"{name}-{k}", marks=[pytest.mark.gpu] if name == "cupy" else [])
        for name in libraries
        for k, problem in enumerate(FIXED)
    ]

    @pytest.mark.parametrize(("xp", "problem"), [*cases, pytest.param(libraries[0], None, id="found")], indirect=["xp"])
    @functools.wraps(check)
    def test(xp: Any, problem: Problem | None) -> None:
        if problem is not None:
            check(xp, replace(problem, **changed, single=problem.single or not xp.double))
            return

        @given(problems())
        def found(problem: Problem) -> None:
            problem = replace(problem, **changed)
            assume(problem.n_frames >= 1)
            check(xp, problem)

        (settings(max_examples=examples)(found) if examples else found)()

    return test


def analysis(xp: Any, x: np.ndarray, problem: Problem, **parameters: Any) -> np.ndarray:
    """`stft` by way of a library, on the host."""
    given = {**problem.layout, **parameters}
    return xp.to_numpy(xp.compiled(lambda x: xi.stft(x, **given))(xp.asarray(x)))


def inverse(xp: Any, X: np.ndarray, problem: Problem, **parameters: Any) -> np.ndarray:
    """`istft` by way of a library, on the host."""
    given = {**problem.layout, "nola": "zero", "length": problem.n_samples, **parameters}
    return xp.to_numpy(xp.compiled(lambda X: xi.istft(X, **given))(xp.asarray(X)))


def well_known(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Samples that the frames determine without much noise, and the noise gain of all."""
    found = problem.transform.coverage(problem.n_frames, problem.n_samples, np.dtype(problem.real).name)
    return found.determined & (found.noise_gain < 100), found.noise_gain


def close(got: np.ndarray, want: np.ndarray, problem: Problem, ulps: float = 3e3) -> None:
    """To some hundreds of roundings of the largest value: the gain may be 100, and sums are of up to 72 frames."""
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= ulps * problem.eps * max(1, np.abs(want).max(initial=0))
