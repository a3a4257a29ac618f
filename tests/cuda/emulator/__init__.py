"""CUDA kernels on a machine without a GPU, for tests. Knows nothing of the package that it tests.

nvrtc     : compiles CUDA C++ to PTX and machine code with the NVRTC wheel (no driver, no GPU)
clang     : compiles it to PTX, too
shim      : compiles the same source with g++ and runs it on NumPy arrays
ptx       : runs the PTX that these emit, and checks every access
fake_cupy : the part of CuPy that a backend needs, on NumPy memory, no more permissive than CuPy itself
"""
