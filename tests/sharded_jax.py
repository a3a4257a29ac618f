"""A program for test_jax.py, with four simulated devices: what becomes of arrays that lie on all of them."""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"

from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import xp_istft as xi

jax.config.update("jax_enable_x64", True)

GRID = xi.STFT(32, frequencies=xi.linear_frequencies(24, 0, 4000, 8000))
HOST = np.random.default_rng(0).standard_normal((4, 416))
SPECTRUM = xi.stft(HOST, 32)[..., :52]

FUNCTIONS = {
    "pad": (HOST, lambda x: xi.pad(x, 3, 5, "odd")),
    "stft": (HOST, lambda x: xi.stft(x, 32, pad_mode="reflect")),
    "other frequencies": (HOST, lambda x: GRID.stft(x)),
    "istft": (SPECTRUM, xi.istft),
    "griffin_lim": (SPECTRUM, lambda X: xi.griffin_lim(abs(X), n_iter=2, init="random", rng=0)),
}


def same_values(mesh: jax.sharding.Mesh) -> None:
    for name, (host, function) in FUNCTIONS.items():
        want = function(host)
        for spec in (PartitionSpec("d"), PartitionSpec(*(None,) * (host.ndim - 1), "d"), PartitionSpec()):
            array = jax.device_put(host, NamedSharding(mesh, spec))
            for run in (function, jax.jit(function)):
                found = run(array)
                np.testing.assert_allclose(found, want, rtol=0, atol=1e-9 * abs(want).max(), err_msg=f"{name}, {spec}")
                if spec == PartitionSpec("d"):
                    assert found.sharding.spec[0] == "d", name


def nothing_is_gathered(mesh: jax.sharding.Mesh) -> None:
    """Signals that lie whole on a device stay there."""
    kind = jax.ShapeDtypeStruct(HOST.shape, HOST.dtype, sharding=NamedSharding(mesh, PartitionSpec("d")))
    program = jax.jit(lambda x: xi.istft(xi.stft(x, 32, pad_mode="reflect"))).lower(kind).compile().as_text()
    assert not any(word in program for word in ("all-gather", "all-to-all", "all-reduce", "collective-permute"))


def mapped(mesh: jax.sharding.Mesh) -> None:
    want = xi.istft(xi.stft(HOST, 32))
    pair = lambda x: xi.istft(xi.stft(x, 32))  # noqa: E731
    parts = partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("d"), out_specs=PartitionSpec("d"))
    np.testing.assert_allclose(jax.jit(parts(pair))(HOST), want, atol=1e-13)
    np.testing.assert_allclose(jax.pmap(pair)(HOST), want, atol=1e-13)


auto, explicit = (jax.make_mesh((4,), ("d",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit))
for made in (auto, explicit):
    same_values(made)
nothing_is_gathered(explicit)
mapped(auto)
