// Real DC and Nyquist bins, in place: spectrum[row, 0].imag = spectrum[row, nyquist].imag = 0.
//
// For a spectrum that may be destroyed, and so needs no copy: cuFFT does not ignore these imaginary parts by itself.
// It only writes: 4 or 8 bytes a bin.
//
// One thread writes to one row. Grid: (ceil(n_rows / 256),), 256 threads; any smaller grid is right, too.
//
// Macros
//   XI_REAL  float | double
//
// Arrays (strides in elements)
//   spectrum  (n_rows, n_cols) complex, contiguous; nyquist is -1 where there is none

#ifndef XI_REAL
#define XI_REAL float
#endif

typedef XI_REAL real;

extern "C" __global__ void __launch_bounds__(256)
real_ends(real* __restrict__ spectrum, long long n_rows, int n_cols, int nyquist)
{
#pragma unroll 1
  for (long long row = (long long)blockIdx.x * blockDim.x + threadIdx.x; row < n_rows;
       row += (long long)gridDim.x * blockDim.x) {
    spectrum[2 * row * n_cols + 1] = 0;
    if (nyquist >= 0) spectrum[2 * (row * n_cols + nyquist) + 1] = 0;
  }
}
