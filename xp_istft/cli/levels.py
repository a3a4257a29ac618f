"""What a file holds of a spectrum: the spectrum, its magnitudes, or their levels in decibels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..decibels import from_db, to_db
from .failures import Exit, Failure

VALUES = ("spectrum", "magnitude", "decibels")


@dataclass(frozen=True)
class Levels:
    """values: one of VALUES; of decibels, reference: the magnitude that is 0 dB, and floor: the lowest level in dB."""

    values: str = "spectrum"
    reference: float = 1.0
    floor: float = -80.0

    @classmethod
    def taken(cls, options: dict[str, Any]) -> Levels:
        """What the options ask for, which are taken out of them; Failure where one does nothing beside the others."""
        magnitude, decibels = options.pop("magnitude", False), options.pop("db", False)
        given = {name: options.pop(name) for name in ("reference", "floor") if name in options}
        if magnitude and decibels:
            raise Failure(Exit.USAGE, "--magnitude, --db: need one of them")
        for name in given:
            if not decibels:
                raise Failure(Exit.USAGE, f"--{name}: is for decibels: need --db")
        return cls("decibels" if decibels else "magnitude" if magnitude else "spectrum", **given)

    def of(self, spectrum: np.ndarray) -> np.ndarray:
        """The values, of the same shape, that stand for a spectrum (channels, n_bins, n_frames)."""
        if self.values == "spectrum":
            return spectrum
        magnitudes = np.abs(spectrum)
        if self.values == "magnitude":
            return magnitudes
        return np.asarray(to_db(magnitudes, reference=self.reference, floor=self.floor))

    def magnitudes(self, values: np.ndarray) -> np.ndarray:
        """What they are the values of: real, of the same shape."""
        if self.values == "decibels":
            return np.asarray(from_db(values, reference=self.reference))
        return np.abs(values) if np.iscomplexobj(values) else values

    def attributes(self) -> dict[str, Any]:
        """None, of a spectrum."""
        if self.values != "decibels":
            return {} if self.values == "spectrum" else {"values": self.values}
        return {"values": self.values, "reference": self.reference, "floor": self.floor}


SPECTRUM = Levels()
