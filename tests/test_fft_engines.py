"""FFT engines: each is the definition, makes the same bits in any blocks, and is taken where it is faster."""

from __future__ import annotations

import itertools
import math
import sys
import types
from functools import partial

import numpy as np
import pytest
import scipy.fft
from hostile import LAYOUTS, strided
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


C_TRANSFORMS = "scipy.fft._duccfft.pyduccfft"


def with_duccs_interface(monkeypatch, module, lanes=4, **others):
    """NumPy's arithmetic as ducc0's, or SciPy's C module; of frames left over from whole vectors, other roundings."""

    def in_lanes(transform):
        def made(x, axes, *arguments):
            *_, out, threads = arguments
            assert (axes, threads) == ((-1,), 1)
            if any(stride % array.itemsize for array in (x, out) for stride in array.strides):
                raise RuntimeError("bad strides")
            out[...] = transform(x, *arguments)
            frames = math.prod(x.shape[:-1])
            left = np.arange(frames).reshape(x.shape[:-1]) >= frames // lanes * lanes
            out[left] *= 1 + 4 * np.finfo(out.dtype).eps

        return made

    ways = {True: np.fft.fft, False: lambda x: np.fft.ifft(x, norm="forward")}
    functions = {
        "r2c": in_lanes(lambda x, forward, *_: np.fft.rfft(x)),
        "c2r": in_lanes(lambda x, n, *_: np.fft.irfft(x, n, norm="forward")),
        "c2c": in_lanes(lambda x, forward, *_: ways[forward](x)),
    }
    stand_in = types.SimpleNamespace(**{k: f for k, f in (functions | others).items() if f is not None})
    if module == "ducc0":
        package = types.ModuleType(module)
        package.fft = stand_in
        monkeypatch.setitem(sys.modules, module, package)
    else:
        monkeypatch.setitem(sys.modules, module, stand_in)
    return stand_in


@pytest.fixture
def engines_anew(monkeypatch):
    """What was found out about engines is forgotten, before and after."""
    known = (fft.engine_named, fft._is_installed, fft._engine_for)
    for cache in known:
        cache.cache_clear()
    yield
    monkeypatch.undo()
    for cache in known:
        cache.cache_clear()


@pytest.fixture(params=["numpy", "scipy", "ducc", "as ducc", "mkl", "as mkl"])
def engine(request, monkeypatch, engines_anew):
    name = request.param.removeprefix("as ")
    if name != request.param:
        with_mkls_interface(monkeypatch) if name == "mkl" else with_duccs_interface(monkeypatch, "ducc0")
    for library in {"ducc": ("ducc0",), "mkl": ("mkl_fft", "mkl")}.get(name, ()):
        pytest.importorskip(library)
    with xi.fft_engine(name):
        yield name


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
@pytest.mark.parametrize("n_fft", [64, 320, 511, 512, 16384])
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


def test_frames_left_over_from_a_vector_have_the_bits_of_the_others(engine):
    """Whatever their number, the items of the batch, and the layout of both sides."""
    rng = np.random.default_rng(5)
    layouts = (np.copy, partial(np.copy, order="F"), strided) if engine != "mkl" else (np.copy,)
    for n_fft, dtype, onesided in itertools.product((15, 64, 320), "fd", (True, False)):
        kind = np.dtype(COMPLEX[dtype])
        transforms = fft.engine_for(n_fft, kind, onesided)
        forward = transforms.rfft if onesided else transforms.fft
        inverse = partial(in_order, transforms.irfft, n_fft) if onesided else transforms.ifft
        x = rng.standard_normal((3, 67, n_fft)).astype(dtype if onesided else kind)
        X, y = np.empty((3, 67, n_fft // 2 + 1 if onesided else n_fft), kind), np.empty_like(x)
        with transforms.on_this_thread():
            forward(x, X)
            inverse(X, y)
            for count, items, lay in itertools.product((1, 2, 3, 5, 16, 17, 33), (1, 2, 3), layouts):
                some = slice(0, items), slice(7, 7 + count)
                part, place = lay(x[some]), lay(np.zeros_like(X[some]))
                forward(part, place)
                assert np.array_equal(place, X[some])
                inverse(place, part)
                assert np.array_equal(part, y[some])


def in_order(irfft, n, x, out):
    irfft(x, n, out)


def test_mkl_takes_the_sizes_it_is_faster_at():
    mkl = pytest.importorskip("mkl_fft") and fft.engine_named("mkl")
    sizes = (64, 400, 1000, 4096, 511, 1009, 243, 1022)
    assert [n for n in sizes if mkl.variants(n, np.dtype("F"), True)] == [64, 400, 1000, 4096]


@pytest.mark.parametrize("ducc", [False, True])
@pytest.mark.parametrize("placed", [False, True])
def test_auto_takes_what_is_installed_and_fastest(ducc, placed, monkeypatch, engines_anew):
    monkeypatch.setitem(sys.modules, "ducc0", None)
    monkeypatch.setitem(sys.modules, C_TRANSFORMS, None)
    for module, there in (("ducc0", ducc), (C_TRANSFORMS, placed)):
        if there:
            with_duccs_interface(monkeypatch, module)
    single, double = np.dtype("F"), np.dtype("D")
    others = {(False, False): "numpy", (False, True): "numpy", (True, False): "ducc", (True, True): "ducc"}
    copies = {**others, (False, True): "scipy"}  # SciPy's copy where there is no ducc0,
    fastest = {**copies, (True, True): "scipy"}  # and where it is the faster of the two
    with xi.fft_engine("auto"):
        for name, cases in (
            (others, [(511, single), (509, double), (32768, single), (243, single, False)]),
            (copies, [(2048, single), (512, double), (16384, double), (512, double, False)]),
            (fastest, [(16, single), (512, single), (1024, single), (4000, single, False)]),
        ):
            assert {fft.engine_for(*case).name for case in cases} == {name[ducc, placed]}


@pytest.mark.usefixtures("engines_anew")
def test_ducc_is_not_given_rows_that_share_sets_of_the_cache(monkeypatch):
    with_duccs_interface(monkeypatch, "ducc0")
    single, double = np.dtype("F"), np.dtype("D")
    with xi.fft_engine("ducc"):
        left = [(512, single, False), (2048, single, False)]
        taken = [(512, single), (512, double, False), (640, single, False)]
        assert {fft.engine_for(*case).name for case in left} == {"numpy"}
        assert {fft.engine_for(*case).name for case in taken} == {"ducc"}


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
def test_an_engine_whose_bits_depend_on_the_number_of_frames_is_not_taken(map_, monkeypatch, engines_anew):
    monkeypatch.setitem(sys.modules, C_TRANSFORMS, None)
    scipy = fft.engine_named("scipy")
    onesided = map_ in ("irfft", "rfft")
    assert fft._is_steady(scipy, 16, np.dtype("F"), onesided)
    monkeypatch.setattr(scipy, map_, _with_other_bits(getattr(scipy, map_)))
    assert not fft._is_steady(scipy, 16, np.dtype("F"), onesided)
    with xi.fft_engine("scipy"):
        assert fft.engine_for(16, np.dtype("F"), onesided).name == "numpy"
        assert fft.engine_for(16, np.dtype("F"), not onesided).name == "scipy"


@pytest.mark.parametrize(("lanes", "name"), [(1, "ducc"), (4, "ducc"), (16, "ducc"), (64, "ducc"), (3, "numpy")])
def test_vectors_are_as_long_as_the_engine_has_them(lanes, name, monkeypatch, engines_anew):
    """Where no whole vectors are found, NumPy's transforms are taken."""
    with_duccs_interface(monkeypatch, "ducc0", lanes)
    with xi.fft_engine("ducc"):
        for n_fft, onesided in itertools.product((15, 64, 2048), (True, False)):
            engine = fft.engine_for(n_fft, np.dtype("D"), onesided)
            assert (engine.name, getattr(engine, "_lanes", lanes)) == (name, lanes)


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
    kind = np.dtype("F")
    assert [n for n in (64, 400, 511, 1009, 1022) if engine.variants(n, kind, True)] == [64, 400]
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


def test_scipys_c_transforms_are_taken_where_they_take_a_place(monkeypatch, engines_anew):
    with_duccs_interface(monkeypatch, C_TRANSFORMS)
    engine = fft.engine_named("scipy")
    assert not engine.makes
    check_engine(engine)


@pytest.mark.parametrize(
    "others",
    [
        {"c2r": None},
        {"r2c": lambda x, out: None},
        {"c2r": lambda x, axes, n, forward, scale, out, threads: None},
        {"c2r": lambda x, axes, n, forward, scale, out, threads: np.copyto(out, np.fft.irfft(x, n))},
        {"r2c": lambda x, axes, forward, scale, out, threads: np.copyto(out, np.fft.rfft(x) / x.shape[-1])},
        {"c2c": lambda x, axes, forward, scale, out, threads: np.copyto(out, np.fft.fft(x))},
    ],
    ids=["missing", "other arguments", "no place", "scaled back", "scaled", "one way"],
)
def test_scipys_c_transforms_of_another_form_are_not_taken(others, monkeypatch, engines_anew):
    with_duccs_interface(monkeypatch, C_TRANSFORMS, **others)
    engine = fft.engine_named("scipy")
    assert engine.makes
    check_engine(engine)


def test_scipy_without_its_c_transforms(monkeypatch, engines_anew):
    monkeypatch.setitem(sys.modules, C_TRANSFORMS, None)
    engine = fft.engine_named("scipy")
    assert engine.makes
    check_engine(engine)


def test_the_newest_scipy_is_called_without_a_copy():
    if tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 18):
        pytest.skip("SciPy before 1.18")
    engine = fft.engine_named("scipy")
    assert not engine.makes
    check_engine(engine)


@pytest.mark.parametrize("n_fft", [16, 64, 65, 512])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ["numpy", "scipy"])
def test_a_spectrum_that_is_finite_does_not_overflow_on_the_way(engine, dtype, n_fft):
    """A constant, whose bin 0 is the third part of the largest number."""
    x = np.full(20 * n_fft, np.finfo(dtype).max / (3 * n_fft), dtype)
    with xi.fft_engine(engine), np.errstate(all="raise"):
        X = xi.stft(x, n_fft, window="boxcar", center=False)
        np.testing.assert_allclose(X[0].real, np.finfo(dtype).max / 3, rtol=1e-5)
        assert np.isfinite(X).all()
        y = xi.istft(X, n_fft=n_fft, window="boxcar", center=False)
        np.testing.assert_allclose(y, x[: y.size], rtol=1e-5)
