// Frequency-major to frame-major (and back): to[b, c, r] = from[b, r, c].
//
// An inverse FFT reads frames that lie side by side in memory. This is also the copy that keeps cuFFT, whose
// complex-to-real transforms destroy their input, off the caller's array, and the place where the imaginary parts of
// the DC and Nyquist bins, which the inverse must ignore, are dropped.
//
// One block of 256 threads moves tiles of 32 x 32 elements through shared memory, 4 elements a thread.
// Grid: (min(tiles, 2^31 - 1), min(n_batch, 65535)), tiles = ceil(n_rows / 32) ceil(n_cols / 32); any smaller grid is
// right, too.
//
// Macros
//   XI_REAL       float | double
//   XI_PARTS      1: elements are real; 2: complex
//   XI_REAL_ENDS  1: rows 0 and `nyquist` (-1: there is none) lose their imaginary part
//
// Arrays (strides in elements)
//   from  (n_batch, n_rows, n_cols), strides (from_batch, from_row, 1)
//   to    (n_batch, n_cols, n_rows), strides (to_batch, to_row, 1)

#ifndef XI_REAL
#define XI_REAL float
#endif
#ifndef XI_PARTS
#define XI_PARTS 2
#endif
#ifndef XI_REAL_ENDS
#define XI_REAL_ENDS 0
#endif

typedef XI_REAL real;
struct __align__(sizeof(real) * XI_PARTS) Element { real part[XI_PARTS]; };

extern "C" __global__ void __launch_bounds__(256)
transpose(const Element* __restrict__ from, Element* __restrict__ to,
          long long n_batch, long long n_rows, long long n_cols,
          long long from_batch, long long from_row, long long to_batch, long long to_row, long long nyquist)
{
  __shared__ Element tile[32][33];  // a 33rd column, so that columns lie in different banks
  const int lane = threadIdx.x % 32, line = threadIdx.x / 32;
  const long long tiles_across = (n_cols + 31) / 32;
  const long long n_tiles = tiles_across * ((n_rows + 31) / 32);
  for (long long b = blockIdx.y; b < n_batch; b += gridDim.y) {
    for (long long t = blockIdx.x; t < n_tiles; t += gridDim.x) {
      const long long row = t / tiles_across * 32, col = t % tiles_across * 32;
#pragma unroll
      for (int k = line; k < 32; k += 8) {
        if (row + k < n_rows && col + lane < n_cols) {
          Element value = from[b * from_batch + (row + k) * from_row + col + lane];
#if XI_REAL_ENDS
          if (row + k == 0 || row + k == nyquist) value.part[1] = 0;
#endif
          tile[k][lane] = value;
        }
      }
      __syncthreads();
#pragma unroll
      for (int k = line; k < 32; k += 8)
        if (col + k < n_cols && row + lane < n_rows)
          to[b * to_batch + (col + k) * to_row + row + lane] = tile[lane][k];
      __syncthreads();
    }
  }
}
