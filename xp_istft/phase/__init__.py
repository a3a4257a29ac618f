"""Signals of magnitudes: `retrieval`, the `algorithms`, PGHI's `integration` of phases; the `vocoder`."""
