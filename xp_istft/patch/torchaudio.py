"""torchaudio's functions and transforms, which call torch's."""

from __future__ import annotations

from .replacements import Replacement


def replacements() -> list[Replacement]:
    return []
