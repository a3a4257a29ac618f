"""Every parameter of every public function refuses what it cannot be, in its own name: see broken_calls.py."""

from __future__ import annotations

import inspect
import random
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from array_libraries import LIBRARIES
from broken_calls import DOORS, drawn

import xp_istft as xi
from xp_istft.compat import librosa
from xp_istft.compat import scipy as compat_scipy
from xp_istft.compat import torch as compat_torch


@pytest.fixture(autouse=True)
def _settings_end_with_a_test():
    yield
    for forget in (xi.set_workers, xi.set_fft_engine, xi.set_gpu_engine):
        forget(None)


def namespaces(door):
    """The libraries of a door that are installed."""
    found = [name for name in door.libraries if find_spec(LIBRARIES[name].namespace_name.partition(".")[0])]
    if "jax" in found:
        import jax

        jax.config.update("jax_enable_x64", True)
    return found or pytest.skip(f"No module named {door.libraries[0]!r}")


def refused_by_name(door, rng, libraries):
    made = {}
    for library, mode, parameter, name, value in drawn(door, rng, libraries):
        if (library, mode) not in made:
            made[library, mode] = door.modes[mode](LIBRARIES[library].asarray)
        verdict = door.verdict(made[library, mode], parameter, value)
        if verdict is not None:
            yield f"{door.name}({parameter}={name}) of {library}, {mode}: {verdict}"


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_a_wrong_argument_is_refused_in_its_own_name(door):
    libraries = namespaces(door)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mode = next(iter(door.modes))
        door.call(**door.modes[mode](LIBRARIES[libraries[0]].asarray))  # which is right but for what is broken
    assert list(refused_by_name(door, random.Random(door.name), libraries)) == []


@pytest.mark.deep
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_a_wrong_argument_is_refused_in_every_mode_on_every_library(door):
    assert list(refused_by_name(door, None, namespaces(door))) == []


def test_twenty_thousand_calls_are_tried():
    assert sum(len(list(door.wrong())) for door in DOORS) >= 20_000


# Methods that the package calls, and hooks that subclasses of Algorithm and Module fill.
OWN = {
    "STFT": {
        "made_by", "judged", "samples", "synthesis_samples", "analysis", "synthesis", "misfit", "spectrum",
        "bins_and_frames", "check_scale", "check_signal",
    },
    **{name: {"check"} for name in ("Dual", "PerFrame", "Adjoint")},
    **{
        name: {"stages", "memory", "step", "estimate", "compared"}
        for name in ("Algorithm", "GLA", "FastGLA", "RAAR", "ADMM", "Hybrid")
    },
}  # fmt: skip


def public():
    """Public functions, classes and methods that take anything."""
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    from xp_istft import nn, plot
    from xp_istft.compat import jax, nnaudio

    plots = [name for name in vars(plot) if name.startswith("plot_")]
    modules = [xi, nn, librosa, compat_torch, compat_scipy, jax, nnaudio]
    for module, names in [*((module, module.__all__) for module in modules), (plot, plots)]:
        for name in names:
            door = getattr(module, name)
            if isinstance(door, type) and issubclass(door, (Exception, tuple)):
                continue
            if name in ("patch", "patched", "unpatch"):  # of the process: tests/test_patch.py
                continue
            if [each for each in inspect.signature(door).parameters if each != "options"]:
                yield door
            if isinstance(door, type):
                for name, method in vars(door).items():
                    taken = inspect.isfunction(method) and len(inspect.signature(method).parameters) > 1
                    if taken and not name.startswith("_") and name not in OWN.get(door.__name__, ()):
                        yield method


def test_every_public_function_is_tried():
    tried = {door.of for door in DOORS}
    missing = {door for door in public() if door not in tried and door.__module__.startswith("xp_istft")}
    assert {door.__qualname__ for door in missing} == set()


class Strange(int):
    """An integer that says of itself that it is every other."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


def test_a_number_of_any_class_is_its_value():
    x = np.random.default_rng(0).standard_normal(2000)
    X = xi.stft(x, 256, hop_length=64)
    for of in (Strange, np.int16, np.uint8, np.array, lambda value: np.array([[value]])[0, 0]):
        np.testing.assert_array_equal(xi.stft(x, of(128), hop_length=of(32)), xi.stft(x, 128, hop_length=32))
        np.testing.assert_array_equal(xi.istft(X, hop_length=of(64), length=of(200)), xi.istft(X, hop_length=64)[:200])
