"""The maps of NumPy arrays: in blocks that stay in cache, on threads."""
