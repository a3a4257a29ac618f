// Frame-major spectra, copied: to[b, m, k] = from[b, m, k], with real DC and Nyquist bins.
//
// Keeps cuFFT, whose complex-to-real transforms destroy their input, off the caller's array.
//
// One thread copies one element. Grid: (ceil(n_rows n_cols / 256), min(n_batch, 65535)), 256 threads; any smaller
// grid is right, too.
//
// Macros
//   XI_REAL       float | double
//   XI_REAL_ENDS  1: columns 0 and `nyquist` (-1: there is none) lose their imaginary part
//
// Arrays (strides in elements)
//   from  (n_batch, n_rows, n_cols), strides (from_batch, from_row, 1)
//   to    (n_batch, n_rows, n_cols), contiguous

#ifndef XI_REAL
#define XI_REAL float
#endif
#ifndef XI_REAL_ENDS
#define XI_REAL_ENDS 0
#endif

typedef XI_REAL real;
struct __align__(sizeof(real) * 2) Element { real part[2]; };

extern "C" __global__ void __launch_bounds__(256)
copy_rows(const Element* __restrict__ from, Element* __restrict__ to,
          long long n_batch, long long n_rows, int n_cols, long long from_batch, long long from_row, int nyquist)
{
  const long long size = n_rows * n_cols;
  for (long long b = blockIdx.y; b < n_batch; b += gridDim.y) {
#pragma unroll 1
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size;
         i += (long long)gridDim.x * blockDim.x) {
      const long long row = size <= 0xffffffffll ? (long long)((unsigned)i / (unsigned)n_cols) : i / n_cols;
      const int col = (int)(i - row * n_cols);
      Element value = from[b * from_batch + row * from_row + col];
#if XI_REAL_ENDS
      if (col == 0 || col == nyquist) value.part[1] = 0;
#endif
      to[b * size + i] = value;
    }
  }
}
