"""Levels in decibels, and back."""

from __future__ import annotations

import math
from typing import Any

from . import arrays
from .arguments import choice, error, number, positive, public
from .arrays import in_precision
from .backends import namespace, required_backend
from .dtypes import HALVES, REAL, dtype_name

_TINY = {"float32": 2.0**-126, "float64": 2.0**-1022}  # the least normal numbers: below them some libraries have 0


@public
def to_db(S: Any, *, reference: Any = 1.0, floor: float | None = -80.0, power: float = 1.0) -> Any:
    """Level of magnitudes in decibels: max((20 / power) log10(S / reference), floor).

    Parameters
    ----------
    S : real array (..., n_bins, n_frames)
        Magnitudes, or what is to the `power` of them, not negative, of any library. Any other shape counts as one item.
    reference : float, "max" or real array
        The value that is 0 dB, in the units of S: a number above 0; "max", the largest value over bins and frames of
        each item of the batch by itself (librosa's `ref=np.max` is that of the whole array); or an array of S's
        library that broadcasts to S.
    floor : float, optional
        The lowest level, in decibels relative to the reference: with reference="max" minus librosa's and torchaudio's
        `top_db`. None: nothing is cut off but 0, which counts as the least normal number of the dtype (-759 dB of
        float32 magnitudes).
    power : float
        1 for magnitudes (librosa's `amplitude_to_db`), 2 for their squares (`power_to_db`).

    Returns
    -------
    real array of the shape of S
        In decibels; same library, device and dtype as S. Gradients are finite everywhere; at the floor they are 0.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.to_db(np.array([10.0, 1.0, 0.0]))
    array([ 20.,   0., -80.])
    >>> xi.to_db(np.array([10.0, 1.0, 0.0]), reference="max", floor=-40, power=2)
    array([  0., -10., -40.])
    """
    function = "to_db"
    S, reference = _read(function, "S", S, reference)
    power = positive(function, "power", power)
    floor = None if floor is None else number(function, "floor", floor)
    values = required_backend(S).at_hand(S)
    if values is not None and not values.min(initial=0) >= 0:
        raise error(ValueError, function, "S", "values >= 0", values.min())

    def level(S: Any, _: Any) -> Any:
        xp, tiny = namespace(S), _TINY[dtype_name(S)]
        log = xp.log10(_at_least(xp, S, tiny))
        if isinstance(reference, str):
            beside = xp.log10(_at_least(xp, xp.max(S, axis=tuple(range(-min(2, S.ndim), 0)), keepdims=True), tiny))
        elif isinstance(reference, float):
            beside = math.log10(reference)
        else:
            beside = xp.log10(_at_least(xp, xp.astype(reference, S.dtype), tiny))
        decibels = 20 / power * (log - beside)
        return decibels if floor is None else _at_least(xp, decibels, floor)

    return in_precision(level, S, dtype_name(S), None) if math.prod(S.shape) else S + 0


@public
def from_db(D: Any, *, reference: Any = 1.0, power: float = 1.0) -> Any:
    """Magnitudes of levels in decibels: reference * 10 ** (power D / 20), the inverse of `to_db` above its floor.

    Parameters
    ----------
    D : real array (...)
        Levels in decibels, of any library.
    reference : float or real array
        The value that is 0 dB, above 0, in the units of the result; an array of D's library broadcasts to D.
    power : float
        1 for magnitudes, 2 for their squares.

    Returns
    -------
    real array of the shape of D
        Same library, device and dtype as D.

    Raises
    ------
    ValueError, TypeError
        An argument has a wrong value, or is of a wrong kind; "max" is no reference here: what it was is not in D.

    Examples
    --------
    >>> import numpy as np, xp_istft as xi
    >>> xi.from_db(np.array([20.0, 0.0, -20.0]), power=2)
    array([1.e+02, 1.e+00, 1.e-02])
    """
    function = "from_db"
    if isinstance(reference, str):
        raise error(TypeError, function, "reference", "a number > 0 or an array", repr(reference)[:80])
    D, reference = _read(function, "D", D, reference)
    power = positive(function, "power", power)

    def magnitude(D: Any, _: Any) -> Any:
        xp = namespace(D)
        beside = reference if isinstance(reference, float) else xp.astype(reference, D.dtype)
        return beside * xp.exp(math.log(10) / 20 * power * D)

    return in_precision(magnitude, D, dtype_name(D), None)


def _read(function: str, name: str, array: Any, reference: Any) -> tuple[Any, Any]:
    """The array, and the reference: a float, "max", or an array beside it."""
    backend, array = arrays.read(function, name, array)
    if dtype_name(array) not in (*REAL, *HALVES):
        hint = "pass abs(X)" if "complex" in dtype_name(array) else ""
        raise error(TypeError, function, name, "dtype float32 or float64", array.dtype, hint)
    if isinstance(reference, str):
        return array, choice(function, "reference", reference, ("max",))
    if not getattr(reference, "shape", ()):
        return array, positive(function, "reference", reference)
    other, reference = arrays.read(function, "reference", reference)
    if other is not backend:
        need = f"an array of the library of {name} ({type(array).__name__})"
        raise error(TypeError, function, "reference", need, type(reference).__name__)
    if dtype_name(reference) not in (*REAL, *HALVES):
        raise error(TypeError, function, "reference", "dtype float32 or float64", reference.dtype)
    shape, beside = tuple(array.shape), tuple(reference.shape)
    pairs = zip(reversed(shape), reversed(beside), strict=False)
    if len(beside) > len(shape) or any(size not in (1, known) for known, size in pairs):
        raise error(ValueError, function, "reference", f"a shape that broadcasts to that of {name} {shape}", beside)
    values = other.at_hand(reference)
    if values is not None and not values.min(initial=1) > 0:
        raise error(ValueError, function, "reference", "> 0", values.min())
    return array, reference


def _at_least(xp: Any, array: Any, least: float) -> Any:
    """max(array, least), whose derivative is 0 where the array is less; NaN stays."""
    below = array < least
    return xp.where(below, least * xp.ones_like(array), array)
