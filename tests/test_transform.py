"""STFT as a value: read when it is made, frozen, equal and hashed by content, copied, shared and compiled once."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import xp_istft as xi

HANN = np.hanning(20)
BASIS = np.exp(-2j * np.pi * np.outer(np.arange(7), np.arange(32)) / 37)
GRID = xi.linear_frequencies(40, 0, 4000, 8000)

# Values that are equal: fields that say the same in different words
EQUAL = [
    ({}, {"n_fft": 2048, "hop_length": 512, "win_length": 2048}),
    ({"n_fft": np.int32(32)}, {"n_fft": 32, "center": np.True_}),
    ({"n_fft": 32, "window": HANN.astype(np.float32)}, {"n_fft": 32, "window": HANN.astype(np.float32).tolist()}),
    ({"n_fft": 32, "window": HANN}, {"n_fft": 32, "window": HANN.copy(), "win_length": 20, "hop_length": 5}),
    ({"n_fft": 20, "window": np.hanning}, {"n_fft": 20, "window": HANN}),
    ({"n_fft": 32, "window": ("kaiser", 8)}, {"n_fft": 32, "window": ("kaiser", 8.0)}),
    ({"n_fft": 32, "padding": 3}, {"n_fft": 32, "padding": [3, 3]}),
    ({"n_fft": 32, "pad_mode": "replicate"}, {"n_fft": 32, "pad_mode": "edge"}),
    ({"n_fft": 32, "max_gain": 10}, {"n_fft": 32, "max_gain": 10.0}),
    ({"n_fft": 32, "frequencies": BASIS}, {"n_fft": 32, "frequencies": BASIS.copy()}),
    ({"n_fft": 32, "frequencies": GRID}, {"n_fft": 32, "frequencies": xi.linear_frequencies(40, 0, 4000, 8000)}),
    ({"n_fft": 32, "solver": xi.Dual(np.ones(17))}, {"n_fft": 32, "solver": xi.Dual([1.0] * 17)}),
    ({"n_fft": 32, "frequencies": GRID, "solver": xi.PerFrame()},) * 2,
]
# Values that differ from STFT(32), each in one field
OTHERS = [
    {"n_fft": 34}, {"hop_length": 7}, {"win_length": 30}, {"window": "hamming"}, {"window": np.hanning(32)},
    {"synthesis_window": "hamming"}, {"center": False}, {"padding": "same"}, {"padding": (16, 15)},
    {"pad_mode": "edge"}, {"pad_mode": None}, {"onesided": False}, {"scaling": "ortho"}, {"frequencies": GRID},
    {"frequencies": BASIS}, {"solver": xi.Dual(tol=1e-3)}, {"nola": "zero"}, {"max_gain": 5},
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=map(str, range(len(EQUAL))))
def test_equal_fields_make_equal_values(one, other):
    one, other = xi.STFT(**one), xi.STFT(**other)
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1


def test_other_fields_make_other_values():
    made = [xi.STFT(**{"n_fft": 32, **fields}) for fields in ({}, *OTHERS)]
    for k, one in enumerate(made):
        assert [one == other for other in made] == [k == j for j in range(len(made))]
    assert made[0] != 32
    assert made[0] is not None


@pytest.mark.parametrize(
    "fields", [{}, *OTHERS, *({"n_fft": 32, **one} for one, _ in EQUAL)], ids=lambda fields: " ".join(fields)
)
def test_copies_are_equal_and_make_the_same_bits(rng, fields):
    t = xi.STFT(**{"n_fft": 32, "nola": "zero", **fields})
    x = rng.standard_normal(4 * t.n_fft + 3)  # no whole hops
    X = t.stft(x)
    y = t.istft(X, length=x.size)
    for other in (copy.copy(t), copy.deepcopy(t), pickle.loads(pickle.dumps(t)), dataclasses.replace(t)):
        assert other == t
        assert hash(other) == hash(t)
        np.testing.assert_array_equal(other.stft(x), X)
        np.testing.assert_array_equal(other.istft(X, length=x.size), y)


def test_replace_makes_variants():
    t = xi.STFT(32, 8, window=HANN, frequencies=BASIS, solver=xi.Dual(tol=1e-3))
    assert dataclasses.replace(t, hop_length=5) == xi.STFT(
        32, 5, window=HANN, frequencies=BASIS, solver=xi.Dual(tol=1e-3)
    )
    assert dataclasses.replace(t, solver=dataclasses.replace(t.solver, maxiter=7)).solver == xi.Dual(
        tol=1e-3, maxiter=7
    )
    with pytest.raises(ValueError, match="^STFT: hop_length: need >= 1, got 0"):
        dataclasses.replace(t, hop_length=0)


def test_a_value_cannot_be_changed():
    window = np.hanning(20)
    t = xi.STFT(32, window=window)
    X = t.stft(np.ones(99))
    for name in ("n_fft", "window", "no_such_field"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(t, name, 16)
    window *= 2  # the caller's array is the caller's
    np.testing.assert_array_equal(t.stft(np.ones(99)), X)
    for array in (t.window, t.samples(), t.synthesis_samples()):
        with pytest.raises(ValueError, match="read-only"):
            array[3] = 7


def test_the_fields_hold_what_was_read():
    t = xi.STFT(np.int16(32), window=list(HANN), padding=[3, 4], pad_mode="replicate", max_gain=2)
    assert (t.n_fft, t.hop_length, t.win_length, t.padding, t.pad_mode, t.max_gain) == (32, 5, 20, (3, 4), "edge", 2.0)
    assert all(type(size) is int for size in (t.n_fft, t.hop_length, t.win_length, *t.padding))
    assert (t.window.dtype, t.window.shape) == (np.float64, (20,))
    assert [xi.STFT(32, padding=padding).padding for padding in (None, "same", 3)] == [None, "same", (3, 3)]
    np.testing.assert_array_equal(t.samples(), np.pad(HANN, 6))
    assert (xi.STFT(9).n_bins, xi.STFT(9, onesided=False).n_bins, xi.STFT(32, frequencies=GRID).n_bins) == (5, 9, 40)
    assert xi.STFT(512, 128) in (xi.STFT(), xi.STFT(512))
    for fields in ({}, {"n_fft": 32, "hop_length": 7, "padding": "same", "solver": xi.Dual(tol=0.1)}):
        t = xi.STFT(**fields)
        assert eval(repr(t), {"STFT": xi.STFT, "Dual": xi.Dual}) == t
    usual = {"win_length": 512, "window": "".join("hann"), "center": np.True_, "solver": xi.Dual()}
    assert repr(xi.STFT(512, 100, **usual)) == "STFT(n_fft=512, hop_length=100)"
    t = xi.STFT(512, 100, 400, np.ones(400), max_gain=3)
    assert repr(t) == "STFT(n_fft=512, hop_length=100, win_length=400, window=<ndarray (400,)>, max_gain=3.0)"


def test_eight_threads_share_a_value(rng):
    t = xi.STFT(n_fft=64, hop_length=16, window=np.hamming(64))
    X = t.stft(rng.standard_normal((8, 500)))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: t.istft(X[i % 8, :, : 10 + i % 20]), range(64)))
    for i, y in enumerate(results):
        np.testing.assert_array_equal(y, t.istft(X[i % 8, :, : 10 + i % 20]))


def test_a_static_argument_of_jax_is_traced_once():
    jax = pytest.importorskip("jax")
    traced = []

    @partial(jax.jit, static_argnums=0)
    def there_and_back(t, x):
        traced.append(t)
        return t.istft(t.stft(x), length=x.shape[-1])

    x = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    for fields in ({}, {"window": np.hamming(512)}):
        traced.clear()
        for _ in range(5):  # each time a new value
            y = there_and_back(xi.STFT(512, **copy.deepcopy(fields)), x)
        assert len(traced) == 1
        np.testing.assert_allclose(y, x, atol=1e-5)


def test_a_window_that_is_followed_makes_a_value_of_its_own():
    torch = pytest.importorskip("torch")
    window = torch.hamming_window(32, dtype=torch.float64).requires_grad_()
    t, other = xi.STFT(32, window=window), xi.STFT(32, window=window)
    assert t.followed
    assert (t == t, hash(t) == hash(t), t == other) == (True, True, False)
    plain = xi.STFT(32, window=window.detach())
    assert not plain.followed
    assert plain == xi.STFT(32, window=window.detach().numpy())
    with torch.no_grad():
        window *= 2  # as a step of an optimizer does
    x = torch.linspace(-1, 1, 300, dtype=torch.float64)
    torch.testing.assert_close(t.stft(x), 2 * plain.stft(x))
    t.istft(t.stft(x), length=300).square().sum().backward()
    assert window.grad is not None


def test_solve_is_the_inverse_and_its_report(xp, rng):
    t = xi.STFT(64, frequencies=xi.linear_frequencies(90, 0, 4000, 8000), solver=xi.Dual(tol=1e-12))
    x = rng.standard_normal((2, 500))
    X = t.stft(xp.asarray(x))
    if xp.name == "dask":
        with pytest.raises(ValueError, match="^solve: X: need an array whose values are at hand"):
            t.solve(X)
        return
    seen = []
    found = t.solve(X, length=500, callback=lambda iteration, residual: seen.append((iteration, residual)))
    assert isinstance(found, xi.Solution)
    np.testing.assert_array_equal(xp.to_numpy(found.signal), xp.to_numpy(t.istft(X, length=500)))
    np.testing.assert_allclose(xp.to_numpy(found.signal), x, atol=1e-8)
    assert xp.to_numpy(found.converged).all()
    assert [iteration for iteration, _ in seen] == list(range(1, 1 + xp.to_numpy(found.iterations).max()))
    closed = xi.STFT(64)
    found = closed.solve(closed.stft(xp.asarray(x)), length=500)
    np.testing.assert_allclose(xp.to_numpy(found.signal), x, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "name", "got"),
    [
        ({"onesided": False}, "onesided", "False"),
        ({"synthesis_window": "hamming"}, "synthesis_window", "hamming"),
        ({"onesided": False, "synthesis_window": "hamming"}, "onesided", "False"),
    ],
)
def test_solve_is_for_real_signals_and_least_squares(fields, name, got):
    t = xi.STFT(32, **fields)
    with pytest.raises(ValueError, match=f"^solve: {name}: need its default: .*, got {got}$"):
        t.solve(t.stft(np.ones(99)))


def test_solve_warns_of_samples_that_iterations_do_not_determine(rng):
    t = xi.STFT(64, 16, window=("kaiser", 14.0), center=False)
    X = t.stft(rng.standard_normal(400))
    t.istft(X)  # the closed form determines all of them, and is silent
    for each in (t, dataclasses.replace(t, solver=xi.Dual("uniform"))):
        with pytest.warns(xi.CoverageWarning, match=r"^solve: window: samples \[0, 2\) and \[399, 400\) of 400 lie"):
            each.solve(X)


@pytest.mark.parametrize("made", [{}, {"window": np.hanning(32)}, {"onesided": False}], ids=str)
def test_a_value_with_another_nola_and_max_gain_is_that_value(made):
    t = xi.STFT(32, **made)
    _ = t.host  # which is kept
    other = t.judged("zero", 10.0)
    assert other == xi.STFT(32, **made, nola="zero", max_gain=10.0) != t
    assert hash(other) == hash(xi.STFT(32, **made, nola="zero", max_gain=10.0))
    assert (other.host.nola, other.host.max_gain) == ("zero", 10.0)
    assert (t.nola, t.max_gain) == ("warn", None)


def test_n_fft_is_2048_by_default():
    for function in (xi.stft, xi.STFT, xi.iSTFT):
        parameters = inspect.signature(function).parameters
        assert (parameters["n_fft"].default, parameters["center"].default) == (2048, True)
