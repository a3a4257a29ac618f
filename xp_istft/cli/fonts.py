"""Fonts for titles in any script: what the usual font lacks comes from an installed one that has it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font


@contextmanager
def glyphs_for(text: str) -> Iterator[None]:
    """A context in which matplotlib draws `text`, with boxes for what no font has, and says nothing of these."""
    usual = list(mpl.rcParams["font.family"])
    with warnings.catch_warnings(), mpl.rc_context({"font.family": [*usual, *_others(text)]}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _others(text: str) -> list[str]:
    """Families that have, together, as much of `text` as can be had, without what the usual font has."""
    missing = {ord(each) for each in text if not each.isspace()} - _known(findfont(FontProperties()))
    found: list[str] = []
    for font in fontManager.ttflist if missing else ():
        if font.name.startswith("Last Resort"):  # has a box for everything
            continue
        having = missing & _known(font.fname)
        if having:
            found.append(font.name)
            missing -= having
        if not missing:
            break
    return found


def _known(path: str) -> set[int]:
    """The characters of a font; none of one that cannot be read."""
    try:
        return set(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()
