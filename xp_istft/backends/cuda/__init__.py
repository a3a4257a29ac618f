"""The kernels, and how a call of them is queued."""
