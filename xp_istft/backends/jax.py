"""JAX: the definition traces; here is which windows are followed, and how a linear system is solved within a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from .base import Backend


class JAXBackend(Backend):
    def checked(self, function: str, name: str, array: Any) -> Any:
        return array

    def follows(self, array: Any) -> bool:
        return isinstance(array, jax.core.Tracer)

    def product(self, a: Any, b: Any) -> Any:
        kind = (a if jax.numpy.iscomplexobj(a) else b).dtype  # which jax_numpy_dtype_promotion="strict" wants written
        return a.astype(kind) * b.astype(kind)

    def widest(self, array: Any) -> Any:
        return jax.numpy.result_type(float)

    def ephemeral(self, array: Any) -> bool:
        """Within a trace every array that is made belongs to the trace."""
        return True

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


BACKEND = JAXBackend()
