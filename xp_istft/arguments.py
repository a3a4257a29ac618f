"""How arguments are read: each error names the function, the argument, what was needed and what came."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np


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
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise error(TypeError, function, name, "an integer", _shown(value))
    try:
        number = operator.index(value)
    except TypeError:  # arrays of any library that are no single integer
        raise error(TypeError, function, name, "an integer", _shown(value)) from None
    if least is not None and number < least:
        raise error(ValueError, function, name, f">= {least}", number)
    if most is not None and number > most[1]:
        raise error(ValueError, function, name, f"<= {most[0]}={most[1]}", number)
    return number


def boolean(function: str, name: str, value: Any) -> bool:
    if value is True or value is False:
        return value
    if not isinstance(value, (bool, np.bool_)):
        raise error(TypeError, function, name, "a bool", _shown(value))
    return bool(value)


def choice(function: str, name: str, value: Any, choices: Sequence[Any]) -> Any:
    """`value`, which must be one of `choices` (strings, and None where it is among them)."""
    for known in choices:
        if value is known or (isinstance(value, str) and value == known):
            return known
    kind = ValueError if isinstance(value, str) else TypeError
    raise error(kind, function, name, " or ".join(map(repr, choices)), _shown(value))


def number(function: str, name: str, value: Any, least: float = -math.inf) -> float:
    """`value` as a float that is at least `least` and finite."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise error(TypeError, function, name, "a number", _shown(value))
    if not least <= value < math.inf or value == -math.inf:
        bound = f" >= {least:g}" if least > -math.inf else ""
        raise error(ValueError, function, name, f"a finite number{bound}", _shown(value))
    return float(value)


def positive(function: str, name: str, value: Any) -> float:
    """`value` as a finite float that is not 0."""
    value = number(function, name, value, 0)
    if value == 0:
        raise error(ValueError, function, name, "> 0", 0)
    return value


def _shown(value: object) -> str:
    """repr, but arrays only by type, shape and dtype."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and getattr(value, "shape", ()) != ():
        return f"{type(value).__name__} of shape {tuple(value.shape)}, dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
