"""Which library computes: how it is found, what it must have, and the definition that serves those without an own."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends import backend_for, device, namespace, required_backend
from xp_istft.backends.base import BASE
from xp_istft.backends.stored import Stored

LACKING = "need an array of a library with complex dtypes and an FFT"


@pytest.fixture
def X(rng):
    return xi.stft(rng.standard_normal((2, 500)), 32)


def test_what_is_no_array_has_no_backend():
    for other in (3.0, [1.0], "x", None, np.float64(1), np.ma.ones(3)):
        assert backend_for(other) is None
    with pytest.raises(TypeError, match="no backend computes with list"):
        required_backend([1.0])


def test_a_backend_is_one_in_every_process(xp):
    backend = required_backend(xp.asarray(np.ones(3)))
    assert pickle.loads(pickle.dumps(backend)) is backend
    assert pickle.loads(pickle.dumps(backend.synthesis)).__self__ is backend


def test_arrays_are_made_beside_others(xp):
    array = xp.asarray(np.ones((2, 3), np.float32))
    made = namespace(array).zeros((2, 3), dtype=array.dtype, device=device(array))
    assert xp.owns(made + array)
    np.testing.assert_array_equal(xp.to_numpy(made), np.zeros((2, 3)))
    np.testing.assert_array_equal(required_backend(array).to_host(array), np.ones((2, 3)))


def test_every_map_is_the_definitions(xp, X):
    t = xi.STFT(32, 8, window="hamming")
    forward, inverse = t.analysis("stft", 500, "float64"), t.synthesis("istft", X.shape[-1], 500, "complex128").job
    x = BASE.synthesis(X, inverse)
    Y, y = xp.asarray(X), xp.asarray(x)
    backend = required_backend(y)
    for ours, exact in (
        (backend.synthesis(Y, inverse), x),
        (backend.analysis(y, forward), BASE.analysis(x, forward)),
        (backend.frame(y, forward), BASE.frame(x, forward)),
        (backend.overlap_add(backend.frame(y, forward), inverse), BASE.overlap_add(BASE.frame(x, forward), inverse)),
        (backend.as_complex(y, y), BASE.as_complex(x, x)),
        (backend.joined(xp.asarray(np.stack([x, x], -1))), BASE.as_complex(x, x)),
        (backend.on_host(Y, np.conj), X.conj()),
        (backend.by_signal(lambda x: x[..., :5], y, 1, (5,), "float64"), x[..., :5]),
    ):
        assert xp.owns(ours)
        np.testing.assert_allclose(xp.to_numpy(ours), exact, rtol=0, atol=1e-13)


@pytest.mark.parametrize("library", ["jax.numpy", "array_api_strict"])
def test_windows_and_gains_may_be_of_the_datas_library(library, X):
    lib = pytest.importorskip(library, exc_type=ImportError)
    t = xi.STFT(32, 8, window="hamming")
    forward, inverse = t.analysis("stft", 500, "float64"), t.synthesis("istft", X.shape[-1], 500, "complex128").job
    parts = {part: lib.asarray(getattr(inverse.gain, part)) for part in ("head", "period", "tail")}
    followed = replace(inverse, window=lib.asarray(inverse.window), gain=replace(inverse.gain, **parts))
    assert followed.followed
    x = BASE.synthesis(X, inverse)
    y = BASE.synthesis(lib.asarray(X.astype(np.complex64)), followed)
    np.testing.assert_allclose(np.asarray(y), x, atol=1e-5)
    Y = BASE.analysis(lib.asarray(x), replace(forward, window=lib.asarray(forward.window)))
    np.testing.assert_allclose(np.asarray(Y), BASE.analysis(x, forward), atol=1e-5)


@pytest.mark.parametrize("flags", [{"enabled_extensions": ()}, {"api_version": "2022.12"}], ids=str)
def test_a_library_that_lacks_what_is_needed_gets_one_error(X, flags):
    strict = pytest.importorskip("array_api_strict")
    spectrum, signal = strict.asarray(X), strict.asarray(np.ones(500))
    calls = {
        "istft: X": lambda: xi.istft(spectrum),
        "stft: x": lambda: xi.stft(signal, 32),
        "frame: x": lambda: xi.frame(signal, 32, 8),
        "pad: x": lambda: xi.pad(signal, 3, 3),
    }
    with strict.ArrayAPIStrictFlags(**flags):
        for place, call in calls.items():
            with pytest.raises(TypeError, match=f"^{place}: {LACKING} .*, got array_api_strict.*; .*(fft|2023.12)"):
                call()
    assert xi.istft(spectrum).shape == (2, 496)


def test_arrays_that_only_have_slices_have_no_backend_but_wrapped():
    class Sliced:
        shape, dtype = (4,), np.dtype(float)

        def __getitem__(self, index):
            return np.arange(4.0)[index]

    assert backend_for(Sliced()) is None
    wrapped = Stored(Sliced())
    backend = required_backend(wrapped)
    assert (backend.checked("istft", "X", wrapped), device(wrapped)) == (wrapped, None)
    assert namespace(wrapped) is np


def test_mlx_has_no_float64():
    mx = pytest.importorskip("mlx.core", exc_type=ImportError)
    with pytest.raises(TypeError, match="^stft: x: need single or half precision on MLX, got mlx.core.float64$"):
        xi.stft(mx.array(np.ones(500), dtype=mx.float64), 32)
    assert xi.stft(mx.array(np.ones(500)), 32).dtype == mx.complex64
    assert xi.stft(mx.ones(500).astype(mx.bfloat16), 32).dtype == mx.complex64


def test_mlx_moves_axes_as_numpy():
    mx = pytest.importorskip("mlx.core", exc_type=ImportError)
    x = np.arange(120.0).reshape(2, 3, 4, 5).astype("f")
    array = mx.array(x)
    for source, destination in ((1, -1), ((0, 1), (-2, -1)), ((-1, 0), (0, 2)), ((3, 1, 2), (0, 3, -2)), ((2,), (0,))):
        moved = namespace(array).moveaxis(array, source, destination)
        np.testing.assert_array_equal(np.asarray(moved), np.moveaxis(x, source, destination))


def test_gradients_of_mlx_are_those_of_the_definition(X):
    mx = pytest.importorskip("mlx.core", exc_type=ImportError)
    x = np.random.default_rng(0).standard_normal(300).astype("f")

    def energy(x):
        return (xi.stft(x, 32, pad_mode="reflect").abs() ** 2).sum()

    gradient = np.asarray(mx.grad(energy)(mx.array(x)))
    step = 1e-2 * np.random.default_rng(1).standard_normal(300).astype("f")
    ahead, back = (float(energy(mx.array(x + sign * step))) for sign in (1, -1))
    assert (gradient * step).sum() == pytest.approx((ahead - back) / 2, rel=1e-3)


class Exchanging(xi.Algorithm):
    """Returns the arrays that it was given in each other's place, and begins with the start as its memory."""

    def memory(self, start, do):
        return start

    def step(self, z, magnitude, proposal, memory, do):
        return do.onto(magnitude, do.add(z, memory)), proposal


class Swapping(Exchanging):
    def step(self, z, magnitude, proposal, memory, do):
        return memory, do.onto(magnitude, z)


@pytest.mark.parametrize("algorithm", [Exchanging(), Swapping()])
def test_algorithms_of_a_user_are_the_same_in_blocks_and_as_a_whole(algorithm, X):
    magnitude, t = np.abs(X), xi.STFT(32)
    inverse, forward = t.synthesis("istft", X.shape[-1], None, "complex128").job, t.analysis("stft", 496, "float64")
    start = X * np.exp(1j * np.arange(X.shape[-1]))
    stages = algorithm.stages(5)
    exact = BASE.retrieve(start, magnitude, inverse, forward, stages)
    ours = required_backend(X).retrieve(start, magnitude, inverse, forward, stages)
    np.testing.assert_allclose(ours, exact, atol=1e-9)


def test_an_algorithm_that_remembers_must_begin_with_something(X):
    class Forgetful(Exchanging):
        def memory(self, start, do):
            return None

        def step(self, z, magnitude, proposal, memory, do):
            return do.onto(magnitude, z), proposal

    with pytest.raises(TypeError, match=r"griffin_lim: algorithm: need memory\(\) to make what step\(\) returns"):
        xi.griffin_lim(np.abs(X), xi.STFT(32), algorithm=Forgetful(), n_iter=2)
