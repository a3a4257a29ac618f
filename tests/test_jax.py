"""JAX traces the definition: jit, grad and vmap."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.compat import jax as compat_jax
from xp_istft.compat import scipy as compat_scipy

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

KEPT = dict(hop_length=5, win_length=13, window="hamming")


@pytest.fixture
def X(rng):
    return jnp.asarray(rng.standard_normal((3, 9, 12, 2)).view(complex)[..., 0])


def test_jit_gives_the_same_numbers(X):
    inverse = partial(xi.istft, **KEPT)
    np.testing.assert_allclose(jax.jit(inverse)(X), inverse(X), atol=1e-14)
    forward = partial(xi.stft, n_fft=16, pad_mode="reflect", **KEPT)
    np.testing.assert_allclose(jax.jit(forward)(X.real[0]), forward(X.real[0]), atol=1e-14)


def test_vmap_is_the_batch(X):
    inverse = partial(xi.istft, **KEPT)
    np.testing.assert_allclose(jax.vmap(inverse)(X), inverse(X), atol=1e-14)


def test_gradients_are_those_of_finite_steps(X):
    from jax.test_util import check_grads

    check_grads(jax.jit(lambda X: xi.istft(X, length=40, **KEPT)), (X[0],), order=2, modes=["fwd", "rev"])
    x = jnp.asarray(np.random.default_rng(1).standard_normal(50))
    for pad_mode in ("constant", "reflect", "wrap"):
        check_grads(jax.jit(partial(xi.stft, n_fft=16, pad_mode=pad_mode, **KEPT)), (x,), order=2)


def test_gradients_are_finite_and_zero_where_nothing_is_determined(X):
    """The first sample under a Hann window that starts there: 0, its gradient too."""

    def first_samples(X):
        return (xi.istft(X, hop_length=4, center=False, nola="zero")[..., :4] ** 2).sum()

    gradient = jax.grad(lambda X: first_samples(X).real)(X)
    assert bool(jnp.isfinite(gradient).all())
    alone = jax.grad(lambda X: xi.istft(X, hop_length=4, center=False, nola="zero")[0, 0])(X)
    assert not bool(jnp.abs(alone).any())


def test_single_precision_without_64_bits():
    """JAX's default: float32 alone, no warnings, as accurate as any float32."""
    with jax.enable_x64(False):
        x = jnp.asarray(np.random.default_rng(0).standard_normal(3000), dtype=jnp.float32)
        y = xi.istft(xi.stft(x, 256, pad_mode="reflect"), length=3000)
        assert y.dtype == jnp.float32
        assert float(jnp.abs(y - x).max()) < 2e-6


@pytest.mark.parametrize("layout", [{}, {"scaling": "spectrum"}, {"max_gain": 2.0, "center": False, "nola": "zero"}])
def test_gradients_reach_the_windows(X, layout):
    from jax.test_util import check_grads

    noise = np.random.default_rng(2).uniform(0, 0.1, 16)  # no two samples are equally large, where a maximum is taken
    window, other = jnp.hanning(18)[1:-1] + noise, jnp.hamming(16)
    scaling = {"scaling": layout["scaling"]} if "scaling" in layout else {}
    forward = jax.jit(lambda w: xi.stft(X.real[0, 0], 8, hop_length=3, window=w, **scaling))
    check_grads(forward, (window[::2],), order=2)
    inverse = jax.jit(lambda w, v: xi.istft(X[0], hop_length=5, window=w, synthesis_window=v, **layout))
    check_grads(inverse, (window, other), order=1)


def test_traced_windows_give_the_same_numbers(X):
    window = jnp.hanning(18)[1:-1]
    for function in (lambda w: xi.istft(X, hop_length=5, window=w), lambda w: xi.stft(X.real[0], 16, window=w)):
        np.testing.assert_allclose(jax.jit(function)(window), function(window), atol=1e-13)
    many = jnp.stack([window, window[::-1] + 0.1, window**2])
    one_by_one = jnp.stack([xi.istft(X[0], hop_length=5, window=w) for w in many])
    np.testing.assert_allclose(jax.vmap(lambda w: xi.istft(X[0], hop_length=5, window=w))(many), one_by_one, atol=1e-13)


def test_a_traced_window_of_another_size_is_refused(X):
    with pytest.raises(ValueError, match="istft: window: need length 16"):
        jax.jit(lambda X, w: xi.istft(X, n_fft=16, win_length=16, window=w))(X, jnp.hanning(15))


def doors(xp):
    """Every kind of map, by its name: functions of a signal (..., 400), a window (32,) and a basis (24, 32)."""
    grids = [xi.linear_frequencies(24, 0, 4000, 8000), xi.linear_frequencies(1 << 14, 0, 4000, 8000)]
    sliding = compat_scipy.ShortTimeFFT(np.hamming(32), 8, 1.0, fft_mode="centered", phase_shift=3, mfft=40)

    def at_other_frequencies(x, grid, pad_mode, **options):
        transform = xi.STFT(32, 8, frequencies=grid, pad_mode=pad_mode, **options)
        return transform.istft(transform.stft(x), length=400)

    def streamed(x):
        push, pull = xi.StreamingSTFT(xi.STFT(32, 8, pad_mode="reflect")), xi.StreamingISTFT(xi.STFT(32, 8))
        return xp.concatenate([pull.push(push.push(x)), pull.push(push.flush()), pull.flush(400)], axis=-1)

    def segmented(x, w, detrend):
        given = {"window": w, "nperseg": 32, "noverlap": 24}
        return compat_jax.istft(compat_jax.stft(x, 8000.0, detrend=detrend, **given)[2], **given)[1]

    def magnitudes(x, w):
        S = abs(xi.stft(x, 32))
        return S, {"n_iter": 4, "init": "random", "rng": 0, "transform": xi.STFT(32, 8, window=w)}

    return {
        "pad": lambda x, w, E: xi.pad(x, 10, 900, "odd"),
        "stft": lambda x, w, E: xi.stft(x, 32),
        "stft, reflected": lambda x, w, E: xi.stft(x, 32, pad_mode="reflect"),
        "istft": lambda x, w, E: xi.istft(xi.stft(x, 32), length=500, nola="zero"),
        "two sides": lambda x, w, E: xi.istft(xi.stft(x, 32, onesided=False), onesided=False),
        "a window": lambda x, w, E: xi.istft(
            xi.stft(x, 32, window=w, scaling="psd"), window=w, synthesis_window=w**2, scaling="psd", max_gain=3.0
        ),
        "frames": lambda x, w, E: xi.overlap_add(xi.frame(x, 32, 8, window=w), 8, window=w),
        "griffin_lim": lambda x, w, E: xi.griffin_lim(magnitudes(x, w)[0], **magnitudes(x, w)[1]),
        "project": lambda x, w, E: xi.project(xi.stft(x, 32)),
        "inconsistency": lambda x, w, E: xi.inconsistency(xi.stft(x, 32) ** 2),
        "spectral_convergence": lambda x, w, E: xi.spectral_convergence(abs(xi.stft(x, 32)), xi.stft(x, 32) ** 2),
        "24 frequencies": lambda x, w, E: at_other_frequencies(x, grids[0], "edge"),
        "many frequencies": lambda x, w, E: at_other_frequencies(x, grids[1], "reflect"),
        "a limited gain": lambda x, w, E: at_other_frequencies(x, grids[0], None, max_gain=2),
        "a basis": lambda x, w, E: at_other_frequencies(x, E, "reflect", window=w),
        "streams": lambda x, w, E: streamed(x),
        "compat.jax": lambda x, w, E: segmented(x, w, False),
        "compat.jax, detrended": lambda x, w, E: segmented(x, w, "linear"),
        "spectrogram": lambda x, w, E: compat_scipy.spectrogram(x, window=w, detrend=False, mode="magnitude")[2],
        "pairs": lambda x, w, E: xi.as_complex(xp.stack([x, x], -1)) + xi.as_complex(x, x) + xi.from_polar(x, x),
        "ShortTimeFFT": lambda x, w, E: sliding.istft(sliding.stft(x, padding="odd"), k1=400),
    }


@pytest.mark.parametrize(("lead", "double"), [((), False), ((2, 1), True)])
def test_nothing_is_promoted_and_no_nan_made_in_silence(rng, lead, double):
    """Under JAX's strictest settings, as its own tests and careful users have them, batched and not."""
    kind = "float64" if double else "float32"
    basis = xi.linear_frequencies(24, 0, 4000, 8000).basis(32).astype("complex128" if double else "complex64")
    host = rng.standard_normal((*lead, 400)).astype(kind), np.hanning(34)[1:-1].astype(kind), basis
    with ExitStack() as strict:
        for setting in (jax.enable_x64(double), jax.numpy_rank_promotion("raise"), jax.debug_nans(True)):
            strict.enter_context(setting)
        strict.enter_context(jax.numpy_dtype_promotion("strict"))
        device = [jnp.asarray(each) for each in host]
        for (name, ours), definition in zip(doors(jnp).items(), doors(np).values(), strict=True):
            expected = definition(*host)
            near = (1e-9 if double else 1e-3) * np.abs(expected).max()  # griffin_lim turns rounding into phases
            for made in (ours(*device), jax.jit(ours)(*device)):
                assert made.dtype == expected.dtype, name
                np.testing.assert_allclose(made, expected, rtol=0, atol=near, err_msg=name)


def test_arrays_on_several_devices_give_the_same_values():
    """And what lies whole on a device stays there: tests/sharded_jax.py."""
    program = Path(__file__).parent / "sharded_jax.py"
    done = subprocess.run([sys.executable, "-W", "error", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_many_lengths_compile_nothing():
    """Of values that NumPy sees; a gradient compiles for each length once."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    xi.stft(jnp.ones(7), 2)
    for n_samples in range(200, 230):
        x = jax.device_put(np.ones((2, n_samples), np.float32))
        S = jax.device_put(np.abs(np.asarray(X := xi.stft(x, 32))))
        before = len(compiled)
        xi.istft(xi.stft(x, 32, pad_mode="reflect"), length=n_samples)
        xi.griffin_lim(S, n_iter=2, length=n_samples)
        assert len(compiled) == before or n_samples == 200  # what JAX makes once in a process
    jax.vjp(lambda X: xi.istft(X), X)[1](x[:, : 8 * (X.shape[-1] - 1)])
    before = len(compiled)
    jax.vjp(lambda X: xi.istft(X), X)[1](x[:, : 8 * (X.shape[-1] - 1)])
    assert len(compiled) == before


def test_iterations_are_compiled_once():
    """However many there are: the program of 64 is about as long as that of 2."""
    sizes = [
        len(jax.jit(lambda S, n=n: xi.griffin_lim(S, n_iter=n, init="zero")).lower(jnp.ones((9, 12))).as_text())
        for n in (4, 64)
    ]
    assert sizes[1] < 1.1 * sizes[0]


def test_transformations_of_transformations(X):
    """checkpoint, linear_transpose and jvp of grad."""
    inverse = partial(xi.istft, **KEPT)
    loss = jax.jit(lambda X: (inverse(X) ** 2).sum())
    gradient, kept = jax.grad(loss)(X[0]), jax.grad(jax.checkpoint(loss))(X[0])
    np.testing.assert_allclose(kept, gradient, atol=1e-12)
    y = inverse(X[0])
    (transposed,) = jax.linear_transpose(inverse, X[0])(2 * y)
    np.testing.assert_allclose(transposed, gradient, atol=1e-12)
    _, curved = jax.jvp(jax.grad(loss), (X[0],), (X[1],))  # the loss is a square: its gradient is linear
    np.testing.assert_allclose(curved, jax.grad(loss)(X[1]), atol=1e-11)


def test_exported_programs_take_any_batch(X):
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    pair = jax.jit(lambda X: xi.stft(xi.istft(X, **KEPT), 16, **KEPT))
    program = export.deserialize(export.export(pair)(jax.ShapeDtypeStruct((batch, 9, 12), X.dtype)).serialize())
    for array in (X, X[:1]):
        np.testing.assert_allclose(program.call(array), pair(array), atol=1e-13)


OPEN = {
    "stft": ("batch, n", lambda x: xi.stft(x, 16, hop_length=4)),
    "stft, reflected": ("batch, n", lambda x: xi.stft(x, 16, hop_length=6, pad_mode="reflect", padding=(3, 40))),
    "frame": ("batch, n", lambda x: xi.frame(x, 16, 6, padding=20, pad_mode="symmetric", window="hann")),
    "pair": ("batch, n", lambda x: xi.istft(xi.stft(x, 16, hop_length=4), hop_length=4)),
    "istft": ("batch, 9, m", lambda X: xi.istft(X, hop_length=4, length=60)),
    "istft of vocoders": ("batch, 9, m", lambda X: xi.istft(X, hop_length=6, padding="same", window="hamming")),
    "gradient": ("batch, 9, m", jax.grad(lambda X: (xi.istft(X, hop_length=4) ** 2).sum())),
    "overlap_add": ("batch, 9, m", lambda X: xi.overlap_add(X, 3, window="hamming", normalize=True)),
}


@pytest.mark.parametrize("name", OPEN)
def test_exported_programs_take_any_size(name):
    """One program for all: the gain is worked out as it runs."""
    from jax import export

    sizes, call = OPEN[name]
    arrays = [np.random.default_rng(n).standard_normal((n // 40, n)) for n in (100, 60)]
    if sizes.endswith("m"):
        arrays = [xi.stft(each, 16, hop_length=4) for each in arrays]
    if name == "overlap_add":
        arrays = [each.real for each in arrays]
    shape = jax.ShapeDtypeStruct(export.symbolic_shape(sizes), arrays[0].dtype)
    program = export.deserialize(export.export(jax.jit(call))(shape).serialize())
    for array in arrays:
        np.testing.assert_allclose(program.call(array), call(jax.numpy.asarray(array)), atol=1e-12)
