// Framing in one pass: the frames of a padded signal, times the window.
//
//   segments[b, m, n] = window[n] * signal[b, m hop + n - start]
//
// where the signal goes on, outside [0, n_samples), as padding.cuh says.
//
// One thread makes XI_VECTOR neighbouring samples of one frame.
// Grid: (ceil(n_frames n_fft / (256 XI_VECTOR)), min(n_batch, 65535)), 256 threads; any smaller grid is right, too.
//
// Macros
//   XI_REAL        float | double
//   XI_VECTOR      1 | 2 | 4: samples of one load and store. More than 1 needs n_fft, hop, start (and signal_batch,
//                  where n_batch > 1) to be multiples of it, and the arrays to be aligned to a vector.
//   XI_PARTS       1: the signal is real; 2: complex, parts side by side
//   XI_MAKE        parts of the segments: XI_PARTS, or 2 (of a real signal, with imaginary parts of 0)
//   XI_INDEX_BITS  32 | 64: positions on the padded axis, and in one item's segments
//
// Arrays (strides in elements)
//   signal    (n_batch, n_samples), strides (signal_batch, 1)
//   window    (n_fft,)
//   segments  (n_batch, n_frames, n_fft), contiguous
//   pad       as in padding.cuh

#ifndef XI_REAL
#define XI_REAL float
#endif
#ifndef XI_VECTOR
#define XI_VECTOR 1
#endif
#ifndef XI_PARTS
#define XI_PARTS 1
#endif
#ifndef XI_MAKE
#define XI_MAKE XI_PARTS
#endif
#ifndef XI_INDEX_BITS
#define XI_INDEX_BITS 32
#endif

#if XI_INDEX_BITS == 64
typedef long long index_t;
typedef unsigned long long count_t;
#else
typedef int index_t;
typedef unsigned int count_t;
#endif
#include "padding.cuh"

typedef XI_REAL real;
template <int size> struct __align__(sizeof(real) * size) Pack { real at[size]; };

extern "C" __global__ void __launch_bounds__(256)
frame(const real* __restrict__ signal, const real* __restrict__ window, real* __restrict__ segments,
      long long n_batch, long long signal_batch,
      index_t n_frames, index_t n_fft, index_t hop, index_t start, index_t n_samples, int pad)
{
  const count_t size = (count_t)n_frames * (count_t)n_fft;
  const count_t step = (count_t)blockDim.x * gridDim.x * XI_VECTOR;
  const count_t first = ((count_t)blockIdx.x * blockDim.x + threadIdx.x) * XI_VECTOR;
  for (long long b = blockIdx.y; b < n_batch; b += gridDim.y) {
    const real* samples = signal + b * signal_batch * XI_PARTS;
    for (count_t i = first; i < size; i += step) {
      const index_t m = (index_t)(i / (count_t)n_fft);
      const index_t n = (index_t)i - m * n_fft;
      const index_t t = m * hop + n - start;
      Pack<XI_VECTOR * XI_PARTS> x;
      if (t >= 0 && t + XI_VECTOR <= n_samples) {
        x = *(const Pack<XI_VECTOR * XI_PARTS>*)(samples + (long long)t * XI_PARTS);
      } else {
#pragma unroll
        for (int k = 0; k < XI_VECTOR; ++k) {
          const index_t at = t + k >= 0 && t + k < n_samples ? t + k : padded(t + k, n_samples, pad);
#pragma unroll
          for (int part = 0; part < XI_PARTS; ++part)
            x.at[k * XI_PARTS + part] = at < 0 ? (real)0 : samples[(long long)at * XI_PARTS + part];
        }
      }
      const Pack<XI_VECTOR> w = *(const Pack<XI_VECTOR>*)(window + n);
      Pack<XI_VECTOR * XI_MAKE> y;
#pragma unroll
      for (int k = 0; k < XI_VECTOR * XI_MAKE; ++k)
        y.at[k] = k % XI_MAKE < XI_PARTS ? w.at[k / XI_MAKE] * x.at[k / XI_MAKE * XI_PARTS + k % XI_MAKE] : (real)0;
      // counted in vectors: from a sum of offsets the compiler would make single stores
      ((Pack<XI_VECTOR * XI_MAKE>*)segments)[(b * (long long)size + (long long)i) / XI_VECTOR] = y;
    }
  }
}
