"""CuPy: the definition, on the array's own device and the current stream."""

from __future__ import annotations

from .array_api import (  # noqa: F401
    analysis,
    as_complex,
    check_out,
    checked,
    frame,
    joined,
    overlap_add,
    synthesis,
)
