// Overlap-add in one pass, as a gather: no atomics, the same bits in every run.
//
//   signal[b, i] = gain(p + origin) * sum_m window[p - m hop] * segments[b, m, p - m hop],   p = start + i
//
// over the frames m that reach p, the earliest first. Where the gain is 0 the sample is 0, whatever the frames hold.
//
// One thread makes XI_VECTOR neighbouring samples of one signal.
// Grid: (ceil(n_samples / (256 XI_VECTOR)), min(n_batch, 65535)), 256 threads; any smaller grid is right, too.
//
// Macros
//   XI_REAL        float | double
//   XI_VECTOR      1 | 2 | 4: samples of one load and store. More than 1 needs hop, n_fft, start, the strides (and
//                  signal_batch, where n_batch > 1) to be multiples of it, and the arrays to be aligned to a vector.
//   XI_PARTS       1: segments are real; 2: complex, parts side by side
//   XI_KEEP        parts that the signal keeps: XI_PARTS, or 1 (the real part)
//   XI_GAIN        0: the gain is 1 everywhere and `gain` is not read
//   XI_INDEX_BITS  32 | 64: positions on the padded axis; offsets into memory always have 64
//
// Arrays (strides in elements)
//   segments  (n_batch, n_frames, n_fft), strides (segment_batch, segment_frame, 1)
//   window    (n_fft,)
//   gain      (n_head + hop + n_tail,): the first n_head samples of the padded axis, one period, n_tail samples from
//             sample tail_start on (windows.HopPeriodic); all three sizes and tail_start are multiples of hop
//   signal    (n_batch, n_samples), strides (signal_batch, 1)
//   overlap = ceil(n_fft / hop); start may be negative; origin is a multiple of hop.

#ifndef XI_REAL
#define XI_REAL float
#endif
#ifndef XI_VECTOR
#define XI_VECTOR 1
#endif
#ifndef XI_PARTS
#define XI_PARTS 1
#endif
#ifndef XI_KEEP
#define XI_KEEP XI_PARTS
#endif
#ifndef XI_GAIN
#define XI_GAIN 1
#endif
#ifndef XI_INDEX_BITS
#define XI_INDEX_BITS 32
#endif

#if XI_INDEX_BITS == 64
typedef long long index_t;
typedef unsigned long long count_t;
#else
typedef int index_t;
typedef unsigned int count_t;  // half the instructions of a signed division
#endif
typedef XI_REAL real;
template <int size> struct __align__(sizeof(real) * size) Pack { real at[size]; };

extern "C" __global__ void __launch_bounds__(256)
overlap_add(const real* __restrict__ segments, const real* __restrict__ window, const real* __restrict__ gain,
            real* __restrict__ signal,
            long long n_batch, long long segment_batch, long long segment_frame, long long signal_batch,
            index_t n_frames, index_t n_fft, index_t hop, index_t overlap, index_t start, index_t n_samples,
            index_t origin, index_t n_head, index_t tail_start, index_t n_tail)
{
  const count_t step = (count_t)blockDim.x * gridDim.x * XI_VECTOR;
  const count_t first_sample = ((count_t)blockIdx.x * blockDim.x + threadIdx.x) * XI_VECTOR;
  for (long long b = blockIdx.y; b < n_batch; b += gridDim.y) {
    for (count_t i = first_sample; i < (count_t)n_samples; i += step) {
      const index_t p = start + (index_t)i;
      Pack<XI_VECTOR * XI_KEEP> sum;
#pragma unroll
      for (int k = 0; k < XI_VECTOR * XI_KEEP; ++k) sum.at[k] = 0;

      if (p >= 0) {
        const index_t newest = (index_t)((count_t)p / (count_t)hop);  // the last frame that begins at p or before
        const index_t phase = p - newest * hop;
        const index_t reach = phase + (overlap - 1) * hop < n_fft ? overlap : overlap - 1;  // frames that could reach p
        const index_t first = newest + 1 > reach ? newest + 1 - reach : 0;
        const index_t last = newest < n_frames ? newest : n_frames - 1;
        index_t n = p - first * hop;  // position in the frame, falling by hop from frame to frame
        const real* sample = segments + (b * segment_batch + first * segment_frame + n) * XI_PARTS;
#pragma unroll 4
        for (index_t m = first; m <= last; ++m, n -= hop, sample += (segment_frame - hop) * XI_PARTS) {
          const Pack<XI_VECTOR> w = *(const Pack<XI_VECTOR>*)(window + n);
          const Pack<XI_VECTOR * XI_PARTS> x = *(const Pack<XI_VECTOR * XI_PARTS>*)sample;
#pragma unroll
          for (int k = 0; k < XI_VECTOR * XI_KEEP; ++k)
            sum.at[k] += w.at[k / XI_KEEP] * x.at[k / XI_KEEP * XI_PARTS + k % XI_KEEP];
        }
#if XI_GAIN
        const index_t q = p + origin;
        Pack<XI_VECTOR> g;
        if (q < tail_start + n_tail) {
          const index_t at = q < n_head ? q : q < tail_start ? n_head + phase : n_head + hop + (q - tail_start);
          g = *(const Pack<XI_VECTOR>*)(gain + at);
        } else {
#pragma unroll
          for (int k = 0; k < XI_VECTOR; ++k) g.at[k] = 0;
        }
#pragma unroll
        for (int k = 0; k < XI_VECTOR * XI_KEEP; ++k)
          sum.at[k] = g.at[k / XI_KEEP] == 0 ? (real)0 : sum.at[k] * g.at[k / XI_KEEP];
#endif
      }

      const long long to = b * signal_batch + (long long)i;
      if (XI_VECTOR == 1 || i + XI_VECTOR <= (count_t)n_samples) {
        // counted in vectors: from a sum of offsets the compiler would make single stores
        ((Pack<XI_VECTOR * XI_KEEP>*)signal)[to / XI_VECTOR] = sum;
      } else {
#pragma unroll
        for (int k = 0; k < XI_VECTOR * XI_KEEP; ++k)
          if (i + k / XI_KEEP < (count_t)n_samples) signal[to * XI_KEEP + k] = sum.at[k];
      }
    }
  }
}
