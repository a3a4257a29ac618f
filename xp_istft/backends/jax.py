"""JAX: NumPy's maps of values that lie in the host's memory, elsewhere the definition, compiled as one program.

Eager operations compile each by itself, and anew for every shape: 21 programs and 32 MB for a new length of `stft` and
`istft`, so that many lengths would fill the memory. What NumPy makes compiles nothing. Under a transformation, on
other devices and of sharded arrays each map is one program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.export
import numpy as np
from jax import numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from ..arguments import SYMBOLS, error
from ..jobs import Analysis, Running, Synthesis
from . import jax_open
from .base import BASE, Backend
from .cpu.numpy import BACKEND as NUMPY


class JAXBackend(Backend):
    # ---- the maps

    def synthesis(self, spectrum: Any, job: Synthesis, out: Any = None, workers: int | None = None) -> Any:
        return self._map("synthesis", spectrum, job, workers=workers)

    def analysis(self, signal: Any, job: Analysis, out: Any = None, workers: int | None = None) -> Any:
        return self._map("analysis", signal, job, workers=workers)

    def overlap_add(self, segments: Any, job: Synthesis) -> Any:
        return self._map("overlap_add", segments, job)

    def frame(self, signal: Any, job: Analysis) -> Any:
        return self._map("frame", signal, job)

    def pad(self, signal: Any, before: int, after: int, mode: str) -> Any:
        values = self.at_hand(signal)
        if values is not None:
            return _beside(signal, NUMPY.pad(values, before, after, mode))
        return _run(_padded, (before, after, mode), (signal,), (1, 1))

    def _map(self, name: str, array: Any, job: Synthesis | Analysis, **options: Any) -> Any:
        if type(job.frames.n_frames) in SYMBOLS or type(job.frames.stop) in SYMBOLS:
            if job.followed:
                function = {"synthesis": "istft", "analysis": "stft"}.get(name, name)
                need = "one whose values are known, where sizes are left open"
                raise error(ValueError, function, "window", need, "one that is traced")
            return getattr(jax_open, name)(array, job)
        values = None if job.followed else self.at_hand(array)
        if values is not None:
            return _beside(array, getattr(NUMPY, name)(values, job, **options))
        gain = job.signal_gain() if isinstance(job, Synthesis) else None
        axes = (2, 1) if isinstance(job, Synthesis) else (1, 2)
        return _run(_mapped, (name, _sizes(job)), (array,), axes, (job.window, gain))

    def times_ends(self, spectrum: Any, n_fft: int, factor: float, out: Any = None) -> Any:
        values = self.at_hand(spectrum)
        if values is None:
            return super().times_ends(spectrum, n_fft, factor)
        return _beside(spectrum, NUMPY.times_ends(values, n_fft, factor))

    # ---- streams

    def waiting(self, spectrum: Any, running: Running) -> Any:
        return self._on_host(super().waiting, BASE.waiting, spectrum, (spectrum,), running)

    def continued(self, spectrum: Any, sums: Any, frame: Any, running: Running) -> tuple[Any, Any]:
        if not isinstance(frame, int):
            return super().continued(spectrum, sums, frame, running)
        return self._on_host(super().continued, BASE.continued, spectrum, (spectrum, sums), frame, running)

    def ended(self, sums: Any, job: Synthesis, lo: int, skip: int, running: Running) -> Any:
        return self._on_host(super().ended, BASE.ended, sums, (sums,), job, lo, skip, running)

    def _on_host(self, traced: Callable, plain: Callable, like: Any, arrays: Sequence[Any], *others: Any) -> Any:
        """plain(*arrays, *others) on NumPy's arrays where the values of all are at hand, else traced(...).

        Both are the definition: a state may come from eager steps and go on in compiled ones, or the other way, and
        NumPy's own backend keeps other sums.
        """
        values = [self.at_hand(each) for each in arrays]
        if any(each is None for each in values):
            return traced(*arrays, *others)
        return jax.tree.map(partial(_beside, like), plain(*values, *others))

    # ---- loops

    def retrieve(
        self,
        start: Any,
        magnitude: Any,
        inverse: Synthesis,
        forward: Analysis,
        stages: Sequence[Any],
        watch: Callable[[float], bool] | None = None,
        workers: int | None = None,
    ) -> Any:
        """NumPy's, of values at hand; elsewhere one iteration is compiled, however many there are."""
        X, S = (None if inverse.followed else self.at_hand(each) for each in (start, magnitude))
        if X is not None and S is not None:
            return _beside(magnitude, NUMPY.retrieve(X, S, inverse, forward, stages, watch, workers))
        key = tuple(stages), _sizes(inverse), _sizes(forward)
        if watch is not None or not _hashable(key):
            return super().retrieve(start, magnitude, inverse, forward, stages, watch, workers)
        factors = inverse.window, inverse.signal_gain(), forward.window
        return _run(_retrieved, (key,), (start, magnitude), (2, 2), factors)

    def linear_solve(
        self, operator: Callable, solver: Callable, loop: Callable, right: Any, parameters: Sequence[Any]
    ) -> Any:
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((right, parameters))):
            return solver(right, loop, *parameters)
        return jax.lax.custom_linear_solve(
            lambda v: operator(v, *parameters),
            right,
            lambda _, right: solver(right, jax.lax.while_loop, *parameters),
            symmetric=True,
        )

    def by_signal(self, function: Callable, array: Any, core: int, shape: tuple[int, ...], dtype: str) -> Any:
        values, returned = self.lent(array)
        if returned is None:
            layout = _layout(array)
            if layout is None or not layout[0].explicit_axes:
                return function(array)
            return _in_auto_axes(function, layout, core, len(shape))(array)
        return returned(function(values))

    def lent(self, array: Any) -> tuple[Any, Callable[[Any], Any] | None]:
        values = self.at_hand(array)
        return (array, None) if values is None else (values, partial(_beside, array))

    # ---- arrays and their values

    def device(self, array: Any) -> Any:
        """None under a transformation, of sharded arrays and of those that JAX may move: what is made with it goes with
        what it meets.
        """
        if isinstance(array, jax.core.Tracer) or not array.committed:
            return None
        return None if isinstance(array.device, jax.sharding.Sharding) else array.device

    def as_complex(self, real: Any, imag: Any) -> Any:
        kind = jnp.result_type(real, imag)
        return jax.lax.complex(*jnp.broadcast_arrays(real.astype(kind), imag.astype(kind)))

    def product(self, a: Any, b: Any) -> Any:
        kind = (a if jnp.iscomplexobj(a) else b).dtype  # which jax_numpy_dtype_promotion="strict" wants written
        return a.astype(kind) * b.astype(kind)

    def angle(self, spectrum: Any) -> Any:
        """The derivative of atan2 at 0 is NaN."""
        sure = jnp.where(spectrum == 0, jnp.ones_like(spectrum), spectrum)
        return jnp.where(spectrum == 0, jax.lax.stop_gradient(super().angle(spectrum)), super().angle(sure))

    def at_hand(self, array: Any) -> np.ndarray | None:
        place = None if isinstance(array, jax.core.Tracer) else array.device
        return np.asarray(array) if getattr(place, "platform", None) == "cpu" else None

    def on_host(self, array: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
        return _beside(array, function(self.to_host(array)))

    def found(self, function: str, array: Any, make: Callable[[np.ndarray], np.ndarray], rows: int) -> Any:
        """Of what is traced by a call from the compiled program."""
        if not isinstance(array, jax.core.Tracer):
            return self.on_host(array, make)
        result = jax.ShapeDtypeStruct((*array.shape[:-2], rows, array.shape[-1]), array.dtype)
        call = partial(jax.pure_callback, lambda values: make(np.asarray(values)), result, vmap_method="broadcast_all")
        return call(jax.lax.stop_gradient(array))

    def follows(self, array: Any) -> bool:
        return isinstance(array, jax.core.Tracer)

    def widest(self, array: Any) -> Any:
        return jnp.result_type(float)

    def ephemeral(self, array: Any) -> bool:
        """Within a trace every array that is made belongs to the trace."""
        return True

    def checked(self, function: str, name: str, array: Any) -> Any:
        return array


def _beside(array: Any, values: np.ndarray) -> Any:
    """NumPy's values as an array that lies where this one does; if that is sharded, they have its shape."""
    return jax.device_put(values, array.sharding if array.committed else None)


def _hashable(key: Any) -> bool:
    """Not of algorithms of users that hold arrays."""
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _sizes(job: Synthesis | Analysis) -> tuple[Any, ...]:
    """What of a job decides what is compiled: all but its factors, which are arguments."""
    if isinstance(job, Synthesis):
        return job.frames, job.onesided, job.real
    return job.frames, job.onesided, job.pad_mode


@partial(jax.jit, static_argnums=(0, 1))
def _mapped(name: str, sizes: tuple[Any, ...], array: Any, window: Any, gain: Any) -> Any:
    """The definition of a map."""
    frames, onesided, other = sizes
    if name in ("analysis", "frame"):
        return getattr(BASE, name)(array, Analysis(frames, window, onesided, other))
    signal = getattr(BASE, name)(array, Synthesis(frames, window, None, onesided, other))
    return signal if gain is None else BASE._normalised(signal, gain)


@partial(jax.jit, static_argnums=0)
def _retrieved(key: tuple[Any, ...], start: Any, magnitude: Any, window: Any, gain: Any, forwards: Any) -> Any:
    from ..phase.algorithms import iterate

    stages, inverse, forward = key

    def project(spectrum: Any) -> Any:
        return _mapped("analysis", forward, _mapped("synthesis", inverse, spectrum, window, gain), forwards, None)

    return iterate(start, magnitude, project, stages, None, _scanned)


def _scanned(step: Callable[[Any], Any], state: Any, count: int) -> Any:
    """`count` steps from a state on; compiled as one, where a step leaves the kind of a state as it was."""

    def kind(state: Any) -> Any:
        leaves, tree = jax.tree.flatten(state)
        return tree, [(each.shape, each.dtype) for each in leaves]

    if kind(state) == kind(jax.eval_shape(step, state)):
        return jax.lax.scan(lambda state, _: (step(state), None), state, length=count)[0]
    for _ in range(count):
        state = step(state)
    return state


@partial(jax.jit, static_argnums=(0, 1, 2))
def _padded(before: int, after: int, mode: str, signal: Any) -> Any:
    return BASE.pad(signal, before, after, mode)


# ---- arrays that lie on several devices

_Layout = tuple[Any, tuple[Any, ...]]  # a mesh, and what of it each axis of an array is divided among


def _layout(array: Any) -> _Layout | None:
    """How an array is divided; None where it is not, or only the compiler will know."""
    if not hasattr(jax, "typeof"):  # an older JAX, whose compiler decides alone
        return None
    sharding = jax.typeof(array).sharding if isinstance(array, jax.core.Tracer) else array.sharding
    if not isinstance(sharding, NamedSharding) or not (any(sharding.spec) or sharding.mesh.explicit_axes):
        return None
    return sharding.mesh, (*sharding.spec, *(None,) * (len(array.shape) - len(sharding.spec)))


def _run(
    function: Callable, static: tuple[Any, ...], arrays: tuple[Any, ...], axes: tuple[int, int], factors: Any = ()
) -> Any:
    """function(*static, *arrays, *factors), which makes `axes[1]` axes of the last `axes[0]` of each array."""
    layout = _layout(arrays[0])
    if layout is None:
        return function(*static, *arrays, *factors)
    return _program(function, static, layout, axes, (len(arrays), len(factors)))(*arrays, *factors)


@lru_cache(maxsize=128)
def _program(
    function: Callable, static: tuple[Any, ...], layout: _Layout, axes: tuple[int, int], counts: tuple[int, int]
) -> Callable:
    """Signals that lie whole on a device are worked on there (JAX's own FFT would gather them); else JAX decides."""
    mesh, spec = layout
    call, batch = partial(function, *static), spec[: -axes[0]]
    if any(spec[-axes[0] :]) or not any(batch):
        return jax.jit(_in_auto_axes(call, layout, *axes) if mesh.explicit_axes else call)
    divided, whole = PartitionSpec(*batch), PartitionSpec()
    given = (divided,) * counts[0] + (whole,) * counts[1]
    return jax.jit(jax.shard_map(call, mesh=mesh, in_specs=given, out_specs=divided, check_vma=False))


def _in_auto_axes(function: Callable, layout: _Layout, core: int, made: int) -> Callable:
    mesh, spec = layout
    result = NamedSharding(mesh, PartitionSpec(*spec[:-core], *(None,) * made))
    return jax.sharding.auto_axes(function, out_sharding=result)


BACKEND = JAXBackend()

SYMBOLS.add(type(jax.export.symbolic_shape("n")[0]))
