"""Signals of magnitudes: `retrieval`, the `algorithms`, and PGHI's `integration` of phases."""
