"""Bins at any frequencies: grids, the bases that they make, the normal equations of the inverse, and its solvers."""
