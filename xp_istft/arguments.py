"""How arguments are read, and how the package speaks to its caller.

Each error names the function, the argument, what was needed and what came; each warning the line that called.
"""

from __future__ import annotations

import difflib
import inspect
import math
import operator
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

_PACKAGE = str(Path(__file__).parent)

# Files beside the package's own whose frames lie between a call of a user and the package.
TRANSPARENT: set[str] = set()

# Classes of integers whose values a compiler leaves open.
SYMBOLS: set[type] = set()

# Functions that a tracing compiler takes for one step: what they work out on the host is no part of a graph.
OPAQUE: list[Callable[..., Any]] = []

_Function = TypeVar("_Function", bound=Callable[..., Any])


def error(kind: type[Exception], function: str, name: str, need: object, got: object, hint: str = "") -> Exception:
    """The exception `function: name: need <need>, got <got>[; hint]`.

    >>> error(ValueError, "istft", "hop_length", ">= 1", 0)
    ValueError('istft: hop_length: need >= 1, got 0')
    """
    return kind(f"{function}: {name}: need {need}, got {got}{f'; {hint}' if hint else ''}")


def integer(function: str, name: str, value: Any, least: int | None = None, most: tuple[str, int] | None = None) -> int:
    """`value` as a Python int, whatever integer type it came as; bool and integral floats are refused.

    `most` is the name and the value of an upper bound.
    """
    if type(value) is int:
        number = value
    elif isinstance(value, (bool, np.bool_, np.timedelta64, np.ma.MaskedArray)):  # masked values are no data
        raise error(TypeError, function, name, "an integer", shown(value))
    else:
        try:
            number = operator.index(value)
        except Exception:  # of what is no integer, arrays of any library that are no single one included
            raise error(TypeError, function, name, "an integer", shown(value)) from None
    if least is not None and number < least:
        raise error(ValueError, function, name, f">= {least}", number)
    if most is not None and number > most[1]:
        raise error(ValueError, function, name, f"<= {most[0]}={most[1]}", number)
    return number


def boolean(function: str, name: str, value: Any) -> bool:
    if value is True or value is False:
        return value
    if not isinstance(value, (bool, np.bool_)):
        raise error(TypeError, function, name, "a bool", shown(value))
    return bool(value)


def choice(function: str, name: str, value: Any, choices: Sequence[Any]) -> Any:
    """`value`, which must be one of `choices` (strings, and None where it is among them)."""
    for known in choices:
        if value is known or (isinstance(value, str) and value == known):
            return known
    kind = ValueError if isinstance(value, str) else TypeError
    raise error(kind, function, name, " or ".join(map(repr, choices)), shown(value))


def number(function: str, name: str, value: Any, least: float = -math.inf) -> float:
    """`value` as a float that is at least `least` and finite."""
    wrong = isinstance(value, (bool, np.bool_, np.timedelta64))
    if wrong or not isinstance(value, (int, float, np.integer, np.floating)):
        raise error(TypeError, function, name, "a number", shown(value))
    try:
        found = float(value)
    except OverflowError:  # an integer beyond all floats
        found = math.inf
    if not least <= found < math.inf or found == -math.inf:
        bound = f" >= {least:g}" if least > -math.inf else ""
        raise error(ValueError, function, name, f"a finite number{bound}", shown(value))
    return found


def positive(function: str, name: str, value: Any) -> float:
    """`value` as a finite float that is not 0."""
    value = number(function, name, value, 0)
    if value == 0:
        raise error(ValueError, function, name, "> 0", 0)
    return value


def warn(text: str, category: type[Warning]) -> None:
    """A warning at the line from which the package was called, whichever of its functions that was."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and file not in TRANSPARENT:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def public(function: _Function) -> _Function:
    """`function` as a single step of a compiled graph; the backend of its first argument is there before it runs.

    An unknown argument is refused with the name that was probably meant, and what no memory holds by a MemoryError of
    the package, whatever its library says.
    """

    @wraps(function)
    def step(*arguments: Any, **options: Any) -> Any:
        introduce(type(arguments[0] if arguments else None))
        try:
            return function(*arguments, **options)
        except (TypeError, *TOO_LARGE) as cause:
            better = _better(cause, function, options)
            if better is None:
                raise
        raise better

    OPAQUE.append(function)
    step.__code__ = step.__code__.replace(co_name=function.__name__)  # type: ignore[attr-defined]
    return unscriptable(step)  # type: ignore[return-value]


def hinted(function: _Function) -> _Function:
    """A function, method or constructor that speaks of errors as `public` functions do, and is no step of a graph."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (TypeError, *TOO_LARGE) as cause:
            better = _better(cause, function, options)
            if better is None:
                raise
        raise better

    return call  # type: ignore[return-value]


def unscriptable(function: _Function) -> _Function:
    """`function`, which says so where a compiler asks for its source code, as TorchScript does."""

    def refuse() -> None:
        raise not_scripted(function.__name__)

    function.__prepare_scriptable__ = refuse  # type: ignore[attr-defined]
    return function


def not_scripted(name: str) -> Exception:
    """What to say to a compiler of source code."""
    need = "torch.compile or torch.export.export, which follow calls"
    return error(NotImplementedError, name, "script", need, "torch.jit.script, which compiles source code")


# What libraries raise, and say, of arrays that are larger than memory, or than their integers count.
TOO_LARGE = (MemoryError, ValueError, OverflowError, RuntimeError)
_SAID = re.compile(r"too (big|large)|Maximum allowed|allocate|[Oo]ut of memory|overflow|Cannot create an array of size")
_OURS = re.compile(r"[\w.]+: [\w.]+: need ")


def too_large(function: str, cause: BaseException) -> Exception | None:
    """What to say of an array that no memory holds; None where that was not the cause, or is said already."""
    text = str(cause)
    if not isinstance(cause, TOO_LARGE) or _OURS.match(text):
        return None
    if not isinstance(cause, MemoryError) and not (type(cause) in TOO_LARGE and _SAID.search(text)):
        return None
    better = error(MemoryError, function, "memory", "sizes whose arrays fit into memory", text or "none")
    better.__cause__ = cause
    return better


def sized(function: _Function) -> _Function:
    """A function in a peer's words, but for what no memory holds, which is said as `public` functions say it."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except TOO_LARGE as cause:
            better = too_large(function.__name__, cause)
            if better is None:
                raise
        raise better

    return call  # type: ignore[return-value]


def _better(cause: Exception, function: Callable[..., Any], options: dict[str, Any]) -> Exception | None:
    """What to raise in place of `cause`; None where it is as good as any."""
    if isinstance(cause, TypeError):
        return _unknown(cause, function, options)
    return too_large(function.__name__ if function.__name__ != "__init__" else _caller(function), cause)


def _caller(function: Callable[..., Any]) -> str:
    return function.__qualname__.removesuffix(".__init__")


def _unknown(cause: TypeError, function: Callable[..., Any], options: dict[str, Any]) -> Exception | None:
    """What to say of an argument that the function does not have; None where that was not the cause."""
    inner = cause.__traceback__ and cause.__traceback__.tb_next
    if inner is not None:  # it came from within
        return None
    known = [name for name in inspect.signature(function).parameters if name != "self"]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            near = near or [each for each in known if each.startswith(name) or name.startswith(each)]
            hint = f"{near[0]}?" if near else ""
            return error(TypeError, _caller(function), name, "the name of a parameter", "one that there is not", hint)
    return None


def introduce(cls: type) -> bool:
    """Whether arrays of this class may be taken; their backend is loaded, also where a compiler follows the call."""
    return _introduced(cls)


introduce._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch.compiler.assume_constant_result, without torch


@lru_cache
def _introduced(cls: type) -> bool:
    from .backends import backend_for_type

    return backend_for_type(cls) is not None


def shown(value: object) -> str:
    """repr, but arrays only by type, shape and dtype, and what has none by its type."""
    try:
        shape = getattr(value, "shape", ())
        if isinstance(shape, tuple) and shape != () and hasattr(value, "dtype"):
            return f"{type(value).__name__} of shape {tuple(shape)}, dtype {value.dtype}"
        text = repr(value)
    except Exception:
        return type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
