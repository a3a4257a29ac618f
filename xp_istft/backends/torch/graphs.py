"""Functions of the package as single steps of a compiled graph: what they work out on the host is no part of it.

torch.jit.trace, which records one run, is refused: what is worked out on the host would be that of one length, and
wrong for others in silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import torch

from ...arguments import error

_transforms: WeakValueDictionary[str, Any] = WeakValueDictionary()


def one_step(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register `function`; a `transform` among its arguments stands in the graph by a name."""
    parameters = list(inspect.signature(function).parameters)
    if "transform" not in parameters:
        return torch.compiler.allow_in_graph(function)
    place = parameters.index("transform")

    def step(*arguments: Any, **options: Any) -> Any:
        return function(*_replaced(_transforms.get, arguments, options), **options)

    def traced(*arguments: Any, **options: Any) -> Any:
        return step(*_replaced(_name_of, arguments, options), **options)

    def _replaced(by: Callable[[Any], Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        if len(arguments) > place:
            return *arguments[:place], by(arguments[place]), *arguments[place + 1 :]
        if "transform" in options:
            options["transform"] = by(options["transform"])
        return arguments

    torch.compiler.allow_in_graph(step)
    torch.compiler.substitute_in_graph(function, skip_signature_check=True)(traced)
    return function


def _name_of(transform: Any) -> str:
    name = str(id(transform))
    if transform is not None:
        _transforms[name] = transform
    return name


_name_of._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as torch.compiler.assume_constant_result


def check_not_traced(function: str, name: str) -> None:
    """NotImplementedError within torch.jit.trace."""
    if torch._C._get_tracing_state() is not None:
        raise not_traced(function, name)


def not_traced(function: str, name: str) -> Exception:
    """What to say to torch.jit.trace."""
    need = "torch.export.export or torch.compile, which follow sizes"
    hint = "torch.jit.trace takes the modules of xp_istft.nn with export=True"
    return error(NotImplementedError, function, name, need, "torch.jit.trace", hint)
