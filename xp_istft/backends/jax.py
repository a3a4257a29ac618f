"""JAX: the definition traces; here is how a linear system is solved within a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from .array_api import (  # noqa: F401
    analysis,
    as_complex,
    check_out,
    checked,
    frame,
    joined,
    on_host,
    overlap_add,
    synthesis,
)


def linear_solve(
    operator: Callable[..., Any], solver: Callable[..., Any], loop: Callable[..., Any], right: Any, parameters: Any
) -> Any:
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((right, parameters))):
        return solver(right, loop, *parameters)
    return jax.lax.custom_linear_solve(
        lambda v: operator(v, *parameters),
        right,
        lambda _, right: solver(right, jax.lax.while_loop, *parameters),
        symmetric=True,
    )


def ephemeral(array: Any) -> bool:
    """Within a trace every array that is made belongs to the trace."""
    return True
