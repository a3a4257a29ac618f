"""Functions of the package as single steps of a compiled graph: what they work out on the host is no part of it.

torch.jit.trace, which records one run, is refused: what is worked out on the host would be that of one length, and
wrong for others in silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch._C._dynamo import eval_frame
from torch._subclasses.fake_tensor import FakeTensor

from ...arguments import error

_values: WeakValueDictionary[str, Any] = WeakValueDictionary()


def one_step(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register `function`; `transform`, `frequencies` and `bands` stand in the graph by their names."""
    parameters = list(inspect.signature(function).parameters)
    named = [name for name in ("transform", "frequencies", "bands") if name in parameters]
    _run_as_it_is(function)
    if not named:
        return torch.compiler.allow_in_graph(function)
    places = [parameters.index(name) for name in named]

    def step(*arguments: Any, **options: Any) -> Any:
        return function(*_replaced(_value_of, arguments, options), **options)

    def traced(*arguments: Any, **options: Any) -> Any:
        return step(*_replaced(_name_of, arguments, options), **options)

    def _replaced(by: Callable[[Any], Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        for name, place in zip(named, places, strict=True):
            if len(arguments) > place:
                arguments = *arguments[:place], by(arguments[place]), *arguments[place + 1 :]
            elif name in options:
                options[name] = by(options[name])
        return arguments

    torch.compiler.allow_in_graph(step)
    torch.compiler.substitute_in_graph(function, skip_signature_check=True)(traced)
    return function


def _run_as_it_is(function: Callable[..., Any]) -> None:
    """Keep the compiler out of `function` where it runs between two graphs; it would make dozens of what this calls."""
    if hasattr(eval_frame, "set_code_exec_strategy"):  # not in torch 2.5
        skip = eval_frame._FrameAction.SKIP
        eval_frame.set_code_exec_strategy(function.__code__, eval_frame._FrameExecStrategy(skip, skip))


def _name_of(value: Any) -> Any:
    if value is None or isinstance(value, (str, torch.Tensor, np.ndarray)):
        return value
    return _name_of_constant(value)


def _value_of(name: Any) -> Any:
    return _values.get(name, name) if isinstance(name, str) else name


def _name_of_constant(value: Any) -> str:
    name = str(id(value))
    _values[name] = value
    return name


_name_of_constant._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as torch.compiler.assume_constant_result


def check_not_traced(function: str, name: str) -> None:
    """NotImplementedError within torch.jit.trace."""
    if torch._C._get_tracing_state() is not None:
        raise not_traced(function, name)


def not_traced(function: str, name: str) -> Exception:
    """What to say to torch.jit.trace."""
    need = "torch.export.export or torch.compile, which follow sizes"
    hint = "torch.jit.trace takes the modules of xp_istft.nn with export=True"
    return error(NotImplementedError, function, name, need, "torch.jit.trace", hint)


def check_values_at_hand(function: str, array: torch.Tensor, said: tuple[str, str, str, str]) -> None:
    """NotImplementedError where no loop can look at values: in graphs, and where torch.func differentiates or maps.

    With fullgraph=False the compiler leaves the graph for it.
    """
    interpreter = torch._C._functorch.peek_interpreter_stack()
    transformed = interpreter is not None and interpreter.key() is not torch._C._functorch.TransformType.Jvp
    if transformed or isinstance(array, FakeTensor):
        raise error(NotImplementedError, function, *said)
