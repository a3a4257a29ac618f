"""FFT engines: each is the definition, makes the same bits in any blocks, and is taken where it is faster."""

from __future__ import annotations

import itertools
import math
import sys
import types

import numpy as np
import pytest
import scipy.fft
from hostile import LAYOUTS
from test_cpu_maps import COMPLEX, TOLERANCE, check_synthesis, spectrum_of, synthesis_job, wide

import xp_istft as xi
from xp_istft.backends.base import BASE
from xp_istft.backends.cpu import fft
from xp_istft.backends.cpu.numpy import BACKEND
from xp_istft.jobs import Analysis


def with_mkls_interface(monkeypatch):
    """MKL's interface to NumPy's arithmetic, of frames whose bins lie side by side alone; the threads it may use."""
    allowed = [4]

    def set_num_threads_local(count):
        before, allowed[0] = allowed[0], count
        return before

    def packed(transform):
        def made(x, *arguments, **options):
            assert x.strides[-1] == x.itemsize
            return transform(x, *arguments, **options)

        return made

    mkl, mkl_fft = types.ModuleType("mkl"), types.ModuleType("mkl_fft")
    mkl.set_num_threads_local = set_num_threads_local
    for name in ("irfft", "ifft"):
        setattr(mkl_fft, name, packed(getattr(np.fft, name)))
    mkl_fft.rfft, mkl_fft.fft = np.fft.rfft, np.fft.fft
    monkeypatch.setitem(sys.modules, "mkl", mkl)
    monkeypatch.setitem(sys.modules, "mkl_fft", mkl_fft)
    return allowed


@pytest.fixture(params=["numpy", "scipy", "mkl", "as mkl"])
def engine(request, monkeypatch):
    if request.param == "mkl":
        pytest.importorskip("mkl_fft")
        pytest.importorskip("mkl")
    name = request.param.removeprefix("as ")
    known = (fft.engine_named, fft._engine_for)
    if name != request.param:
        with_mkls_interface(monkeypatch)
        for cache in known:
            cache.cache_clear()
    with xi.fft_engine(name):
        yield name
    for cache in known if name != request.param else ():
        cache.cache_clear()


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize(
    "geometry",
    [(16, 4, 300, 7, 1150), (15, 4, 40, 7, 150), (64, 1, 200, 32, 190), (1024, 256, 512, 512, 130000)],
    ids=str,
)
def test_every_engine_is_the_definition(engine, geometry, dtype):
    assert fft.engine_for(16, np.dtype(COMPLEX[dtype])).name == engine
    rng = np.random.default_rng(0)
    for onesided, real in ((True, True), (False, True), (False, False)):
        job = synthesis_job(geometry, "pair", onesided=onesided, real=real, dtype=dtype)
        spectrum = spectrum_of(job, dtype, (2,))
        for layout in ("C", "frame-major", "strided"):
            check_synthesis(job, LAYOUTS[layout](spectrum), dtype, workers=2)
        signal = rng.standard_normal((2, job.frames.n_samples)).astype(dtype)
        forward = Analysis(job.frames, job.window, onesided)
        exact = BASE.analysis(signal.astype(float), forward)
        for out in (None, np.empty(exact.shape, COMPLEX[dtype])):
            ours = BACKEND.analysis(signal, forward, out=out)
            assert ours.dtype == COMPLEX[dtype]
            assert np.abs(ours - exact).max() <= 3 * TOLERANCE[dtype] * math.sqrt(geometry[0]) * np.abs(signal).max()


@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize("n_fft", [64, 320, 512, 16384])
def test_threads_and_blocks_change_no_bit_of_any_engine(engine, n_fft, onesided, cut):
    job = synthesis_job((n_fft, n_fft // 4, 40, n_fft // 2, n_fft // 4 * 39), onesided=onesided)
    forward = Analysis(job.frames, job.window, onesided)
    spectrum = spectrum_of(job, batch=(2,))
    signal = np.random.default_rng(3).standard_normal((2, job.frames.n_samples)).astype(np.float32)
    plain, forward_plain = BACKEND.synthesis(spectrum, job, workers=1), BACKEND.analysis(signal, forward, workers=1)
    assert np.array_equal(BACKEND.synthesis(spectrum[:1], job), plain[:1])
    assert np.array_equal(BACKEND.analysis(signal[:1], forward), forward_plain[:1])
    for rows, workers in ((3, 1), (13, 2), (29, 3)):
        cut(threaded_seconds=0, block_bytes=4 * rows * n_fft)
        assert np.array_equal(BACKEND.synthesis(spectrum, job, workers=workers), plain)
        assert np.array_equal(BACKEND.analysis(signal, forward, workers=workers), forward_plain)


@pytest.mark.parametrize("n_frames", [61, 64, 512])  # of 512, columns share a set of the cache
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_packing_frames_changes_no_bit(n_frames, dtype, cut, monkeypatch):
    job = synthesis_job((64, 16, n_frames, 32, 16 * (n_frames - 1)), dtype=dtype)
    spectrum = spectrum_of(job, dtype, batch=(2,))
    cut(threaded_seconds=0, block_bytes=4 * 13 * 64)
    plain = BACKEND.synthesis(LAYOUTS["frame-major"](spectrum), job)
    for packed in (False, True):
        monkeypatch.setattr(fft.engine_for(64, spectrum.dtype), "packed", packed, raising=False)
        for layout in ("C", "strided"):
            assert np.array_equal(BACKEND.synthesis(LAYOUTS[layout](spectrum), job, workers=2), plain)


def test_a_small_spectrum_met_before(engine):
    """The second call takes a shorter way: the same bits, in a new array, for any layout, also after other sizes."""
    job, other = synthesis_job((64, 16, 9, 32, 128)), synthesis_job((512, 128, 40, 256, 128 * 39))
    spectra = [spectrum_of(job, seed=seed) for seed in (0, 1)]
    first = [BACKEND.synthesis(X, job, workers=1, out=np.empty(128, "f")) for X in spectra]
    seen = []
    for layout in ("C", "frame-major", "C", "frame-major"):
        for X, exact in zip(spectra, first, strict=True):
            y = BACKEND.synthesis(LAYOUTS[layout](X), job)
            assert np.array_equal(y, exact)
            assert y.base is None
            seen.append(y)
        BACKEND.synthesis(spectrum_of(other), other)
    assert all(np.array_equal(y, exact) for y, exact in zip(seen, itertools.cycle(first)))


def test_float32_is_computed_in_float32(engine):
    """The rounding of float32 is there, in both directions, as NumPy's transforms leave it."""
    job = synthesis_job((64, 16, 40, 32, 600))
    spectrum = spectrum_of(job)
    single, double = BACKEND.synthesis(spectrum, job), BACKEND.synthesis(wide(spectrum), job)
    assert 0 < np.abs(single - double).max() < 1e-5


def test_mkl_takes_the_sizes_it_is_faster_at():
    mkl = pytest.importorskip("mkl_fft") and fft.engine_named("mkl")
    assert [n for n in (64, 400, 1000, 4096, 511, 1009, 243, 1022) if mkl.suits(n, True)] == [64, 400, 1000, 4096]


@pytest.mark.parametrize(
    ("version", "vectors"),
    [("1.10.1", False), ("1.17.9", False), ("1.18.0", True), ("1.18.0rc1", True), ("1.20.2", True), ("2.0.0", True)],
)
def test_scipy_has_vectors_from_version_1_18_on(version, vectors, monkeypatch):
    """Its real transforms are the faster ones then; its complex ones are left to NumPy."""
    monkeypatch.setattr(scipy, "__version__", version)
    engine = fft.ScipyEngine()
    sizes = (16, 32, 400, 511, 1018, 1024, 1040, 2048, 16384, 65536)
    fast = [16, 32, 400, 1024, 1040, 2048, 16384] if vectors else []
    assert [n for n in sizes if engine.is_fastest(n, True)] == fast
    assert not engine.is_fastest(512, False)
    assert engine.suits(512, True)
    assert engine.suits(512, False) is not vectors


def test_auto_asks_scipy_for_what_it_makes_faster_alone(monkeypatch):
    monkeypatch.setattr(fft.engine_named("scipy"), "_vectors", True)
    monkeypatch.setattr(fft, "_is_steady", lambda *_: True)
    fft._engine_for.cache_clear()
    single, double = np.dtype("F"), np.dtype("D")
    taken = [(512, single), (2048, single), (512, double)]
    others = [(32768, single), (512, single, False), (509, double)]
    try:
        assert {fft.engine_for(*case).name for case in taken} == {"scipy"}
        assert {fft.engine_for(*case).name for case in others} == {"numpy"}
    finally:
        fft._engine_for.cache_clear()


def test_smooth_sizes_are_even_and_have_small_factors():
    def largest_factor(n):
        return max(p for p in range(2, n + 1) if n % p == 0 and all(p % q for q in range(2, math.isqrt(p) + 1)))

    for n in range(2, 400):
        assert fft._smooth(n) == (n % 2 == 0 and largest_factor(n) <= 13)


def _with_other_bits(transform):
    """A transform that rounds the frames of four otherwise than those beyond, as vector lanes may."""

    def rounded(x, *arguments):
        *_, out = arguments
        transform(x, *arguments)
        out[: len(out) // 4 * 4] *= 1 + 2e-7

    return rounded


@pytest.mark.parametrize("map_", ["irfft", "rfft", "ifft", "fft"])
def test_an_engine_whose_bits_depend_on_the_number_of_frames_is_not_taken(map_, monkeypatch):
    scipy = fft.engine_named("scipy")
    onesided = map_ in ("irfft", "rfft")
    assert fft._is_steady(scipy, 16, np.dtype("F"), onesided)
    monkeypatch.setattr(scipy, map_, _with_other_bits(getattr(scipy, map_)))
    assert not fft._is_steady(scipy, 16, np.dtype("F"), onesided)
    monkeypatch.setattr(scipy, "_vectors", False)
    fft._engine_for.cache_clear()
    with xi.fft_engine("scipy"):
        assert fft.engine_for(16, np.dtype("F"), onesided).name == "numpy"
        assert fft.engine_for(16, np.dtype("F"), not onesided).name == "scipy"
    fft._engine_for.cache_clear()


class RefusedError(Exception):
    pass


def test_mkl_works_on_one_thread_and_gives_the_others_back(monkeypatch):
    allowed = with_mkls_interface(monkeypatch)
    engine, numpy = fft.MklEngine(), fft.NumpyEngine()

    def refused():
        with np.errstate(all="raise"), engine.on_this_thread():
            assert allowed == [1]
            assert set(np.geterr().values()) == {"ignore"}
            raise RefusedError

    with pytest.raises(RefusedError):
        refused()
    assert allowed == [4]
    assert [n for n in (64, 400, 511, 1009, 1022) if engine.suits(n, True)] == [64, 400]
    x = np.random.default_rng(3).standard_normal((3, 16))
    for name, source, shape, arguments in (
        ("rfft", x, (3, 9), ()), ("fft", x + 0j, (3, 16), ()), ("ifft", x + 0j, (3, 16), ()),
        ("irfft", np.fft.rfft(x), (3, 16), (16,)),
    ):  # fmt: skip
        made, due = (np.empty(shape, float if name == "irfft" else complex) for _ in range(2))
        getattr(engine, name)(source, *arguments, made)
        getattr(numpy, name)(source, *arguments, due)
        assert (numpy.divides, engine.divides) == (True, False)
        np.testing.assert_array_equal(made, due * 16)


C_TRANSFORMS = "scipy.fft._duccfft.pyduccfft"


def with_c_transforms(monkeypatch, **others):
    """A SciPy 1.18 whose C module has these functions, and for the rest those of its public ones."""
    module = types.ModuleType(C_TRANSFORMS)

    def r2c(x, axes, forward, scale, out):
        out[...] = scipy.fft.rfft(x, axis=axes[0])

    def c2r(x, axes, n, forward, scale, out):
        out[...] = scipy.fft.irfft(x, n, axes[0], norm="forward")

    for name, function in ({"r2c": r2c, "c2r": c2r} | others).items():
        if function is not None:
            setattr(module, name, function)
    monkeypatch.setitem(sys.modules, C_TRANSFORMS, module)
    monkeypatch.setattr(scipy, "__version__", "1.18.0")
    return module


def check_engine(engine):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 16))
    z = x + 1j * rng.standard_normal((3, 16))
    half = np.fft.rfft(x)
    for name, source, due in (
        ("rfft", x, half), ("irfft", half, 16 * x), ("fft", z, np.fft.fft(z)), ("ifft", z, 16 * np.fft.ifft(z)),
    ):  # fmt: skip
        out = np.empty((3, 40), due.dtype)[:, : due.shape[1]]
        getattr(engine, name)(source, *([16] if name == "irfft" else []), out)
        np.testing.assert_allclose(out, due, atol=1e-13)


def test_scipys_c_transforms_are_taken_where_they_take_a_place(monkeypatch):
    module = with_c_transforms(monkeypatch)
    engine = fft.ScipyEngine()
    assert (engine._placed, engine.makes) == (module, False)
    check_engine(engine)


@pytest.mark.parametrize(
    "others",
    [
        {"c2r": None},
        {"r2c": lambda x, out: None},
        {"c2r": lambda x, axes, n, forward, scale, out: None},
        {"c2r": lambda x, axes, n, forward, scale, out: np.copyto(out, np.fft.irfft(x, n))},
        {"r2c": lambda x, axes, forward, scale, out: np.copyto(out, np.fft.rfft(x) / x.shape[-1])},
    ],
    ids=["missing", "other arguments", "no place", "scaled back", "scaled"],
)
def test_scipys_c_transforms_of_another_form_are_not_taken(others, monkeypatch):
    with_c_transforms(monkeypatch, **others)
    engine = fft.ScipyEngine()
    assert (engine._placed, engine.makes) == (None, True)
    check_engine(engine)


def test_scipy_without_its_c_transforms(monkeypatch):
    monkeypatch.setattr(scipy, "__version__", "1.18.0")
    monkeypatch.setitem(sys.modules, C_TRANSFORMS, None)
    engine = fft.ScipyEngine()
    assert (engine._placed, engine.makes) == (None, True)
    check_engine(engine)


def test_the_newest_scipy_is_called_without_a_copy():
    engine = fft.ScipyEngine()
    if not engine.is_fastest(512, True):
        pytest.skip("SciPy before 1.18")
    assert not engine.makes
    check_engine(engine)
