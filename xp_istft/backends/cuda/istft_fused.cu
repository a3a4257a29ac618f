// Spectrum to samples in one launch: inverse real FFT, window, overlap-add and gain, without scratch in device memory.
//
//   signal[b, i] = gain(p) * sum_m window[p - m hop] * irfft(spectrum[b, :, m])[p - m hop],   p = start + i
//
// float32, n_fft a power of two from 64 to 4096. The inverse FFT is not normalised: `window` holds the 1 / n_fft.
//
// One block makes a run of neighbouring samples of one signal, and transforms every frame that reaches them (frames at
// the edge of a run are transformed by both neighbours), FRAMES of them at a time, of which the spectra of the next are
// on their way meanwhile. What later frames still add to waits in a ring of n_fft sums. A sample's sum belongs to one
// thread from begin to end, and frames are added in their order: no atomics, the same bits in every run, and for any
// length of the runs.
// Grid: (ceil(n_samples / run), min(n_batch, 65535)), XI_THREADS threads; any smaller grid is right, too.
//
// Macros
//   XI_WIDTH       1 | 2 | 4: samples of one load and store. More than 1 needs hop, start, run (and signal_batch, where
//                  n_batch > 1) to be multiples of it, and window, gain and signal to be aligned to it.
//   XI_BY_TIME     0: neighbouring bins lie side by side in memory (spectrum_bin is 1); 1: any strides, and quickest
//                  where neighbouring frames lie side by side
//   and those of fft.cuh
//
// Arrays (strides in elements)
//   spectrum  (n_batch, n_fft / 2 + 1, n_frames) complex, strides (spectrum_batch, spectrum_bin, spectrum_frame)
//   window    (n_fft,)
//   turns     (n_fft,) complex, exp(2 pi i k / n_fft)
//   gain      as in overlap_add.cu: head, one period, tail; origin is a multiple of hop
//   signal    (n_batch, n_samples), strides (signal_batch, 1)
//   run       samples of a block, less than 2^30, as is hop

#include "fft.cuh"

#ifndef XI_WIDTH
#define XI_WIDTH 4
#endif
#ifndef XI_BY_TIME
#define XI_BY_TIME 0
#endif

struct __align__(4 * XI_WIDTH) Samples { float at[XI_WIDTH]; };

static constexpr int RING = (N_FFT > XI_THREADS * XI_WIDTH ? N_FFT : XI_THREADS * XI_WIDTH) / XI_WIDTH;

// The bins of one frame that a thread packs: k and POINTS - k, for k = lane + 2 LANES r. Lane 0 has the real parts of
// bins 0 and POINTS, and the bin in the middle, in place of its first two; from r = 4 on its k begins at LANES, for its
// second butterfly is its own mirror image.
struct Bins { Complex low[8], high[8]; };

__device__ __forceinline__ void fetch(Bins& bins, const Complex* __restrict__ low, const Complex* __restrict__ high,
                                      int lane, long long bin)
{
  const long long other = lane ? 0 : LANES * bin;
  const Complex *other_low = low + other, *other_high = high - other;
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    bins.low[r] = (r < 4 ? low : other_low)[2 * LANES * r * bin];
    if (r > 0) bins.high[r] = (r < 4 ? high : other_high)[-(2 * LANES * r * bin)];
  }
  bins.high[0] = *(lane ? high : low + POINTS / 2 * bin);
  if (lane == 0) bins.low[0].im = high->re;
}

// Points k and POINTS - k of the packed spectrum, even samples + i odd samples, as the inputs of butterflies `lane` and
// 2 LANES - lane (of lane 0: LANES) of the first pass.
__device__ __forceinline__ void pack(const Bins& bins, Complex (&v)[2][8], int lane, const Complex (&roots)[8])
{
  Complex z[8], y[8];
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    const Complex a = bins.low[r], c = {bins.high[r].re, -bins.high[r].im};
    const Complex even = a + c, odd = (a - c) * roots[r];
    z[r] = {even.re - odd.im, even.im + odd.re};
    y[r] = {even.re + odd.im, odd.re - even.im};
  }
  if (lane == 0) {
    z[0] = {bins.low[0].re + bins.low[0].im, bins.low[0].re - bins.low[0].im};
    y[0] = {2 * bins.high[0].re, -2 * bins.high[0].im};
  }
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    v[0][r] = r < 4 || lane ? z[r] : y[(8 - r) & 3];
    v[1][r] = r < 4 || lane ? y[7 - r] : z[r];
  }
}

__device__ __forceinline__ int within(long long at, int size) { return at < 0 ? 0 : at < size ? (int)at : size; }

// Uncovered samples are 0, whatever the frames hold.
__device__ __forceinline__ Samples gained(Samples sum, Samples gain)
{
#pragma unroll
  for (int k = 0; k < XI_WIDTH; ++k) sum.at[k] = gain.at[k] == 0 ? 0.f : gain.at[k] * sum.at[k];
  return sum;
}

extern "C" __global__ void __launch_bounds__(XI_THREADS, 512 / XI_THREADS)
istft_fused(const Complex* __restrict__ spectrum, const float* __restrict__ window, const Complex* __restrict__ turns,
            const float* __restrict__ gain, float* __restrict__ signal,
            long long n_batch, long long spectrum_batch, long long spectrum_bin, long long spectrum_frame,
            long long signal_batch, long long n_frames, long long hop, long long start, long long n_samples,
            long long origin, long long n_head, long long tail_start, long long n_tail, long long run)
{
  __shared__ Pair points[FRAMES * ROW / 2];
  __shared__ Samples ring[RING];  // ring[e] belongs to thread e % XI_THREADS
  __shared__ Complex middle_roots[n_powers(MIDDLE) * 8 + 1];
  __shared__ Complex last_roots[n_powers(MOST) * (POINTS / MOST)];
  const int thread = threadIdx.x;
  const int lane = thread % LANES;                                 // of the later passes
  Complex* row = (Complex*)points + thread / LANES * ROW;
  const int first_lane = XI_BY_TIME ? thread / FRAMES : lane;      // of the spectrum and the first pass
  const int first_frame = XI_BY_TIME ? thread % FRAMES : thread / LANES;
  Pair* first_row = points + (first_frame * ROW + place(8 * first_lane)) / 2;
  Pair* other_row = points + (first_frame * ROW + place(8 * (first_lane ? 2 * LANES - first_lane : LANES))) / 2;
  Complex roots[8];
#pragma unroll
  for (int r = 0; r < 8; ++r) roots[r] = turns[(r < 4 || first_lane ? first_lane : LANES) + 2 * LANES * r];
  for (int e = thread; e < RING; e += XI_THREADS) ring[e] = {};  // as far as the compiler reads ahead of `carried`
  fill_roots<MIDDLE, 8>(middle_roots, turns);
  fill_roots<MOST, POINTS / MOST>(last_roots, turns);
  const Samples* gains = (const Samples*)gain;
  const long long bin = XI_BY_TIME ? spectrum_bin : 1, next_frames = FRAMES * spectrum_frame;

  for (long long b = blockIdx.y; b < n_batch; b += gridDim.y) {
    for (long long i0 = (long long)blockIdx.x * run; i0 < n_samples; i0 += (long long)gridDim.x * run) {
      const int samples = (int)min(n_samples - i0, run);
      const long long p0 = start + i0;
      const long long first = p0 < N_FFT ? 0 : (p0 - N_FFT) / hop + 1;
      const long long last = p0 + samples <= 0 ? -1 : min(n_frames - 1, (p0 + samples - 1) / hop);

      // Positions in the run, from here on in vectors of XI_WIDTH samples.
      constexpr int span = N_FFT / XI_WIDTH;
      const int size = (samples + XI_WIDTH - 1) / XI_WIDTH, step = (int)(hop / XI_WIDTH);
      const long long q0 = (p0 + origin) / XI_WIDTH, head = n_head / XI_WIDTH, tail = tail_start / XI_WIDTH;
      const int gain_from = within(-q0, size), gain_to = within((tail_start + n_tail) / XI_WIDTH - q0, size);
      const int head_to = within(head - q0, size), tail_from = within(tail - q0, size);
      const int steady_from = max(gain_from, head_to);  // vectors that need no care
      const unsigned steady = max(0, min(tail_from, samples / XI_WIDTH) - steady_from);
      const unsigned period_to = (unsigned)(head + step);
      const int head_at = (int)q0, tail_at = (int)(head + step + q0 - tail);
      const long long p_first = p0 / XI_WIDTH + thread;
      const int phase_step = XI_THREADS % step;  // the phase of a thread's samples goes on by the same step
      int phase = (int)(p_first >= 0 ? p_first % step - step : -1 - (-p_first - 1) % step);
      Samples* target = (Samples*)signal + (b * signal_batch + i0) / XI_WIDTH + thread;

      const int n_here = first <= last ? (int)(last - first + 1) : 0;  // frames that reach the run
      const int n_ahead = n_here - FRAMES - first_frame;
      const Complex* low = spectrum + b * spectrum_batch + first_lane * bin
                           + (n_here ? first + min(first_frame, n_here - 1) : 0) * spectrum_frame;
      const Complex* high = low + (POINTS - 2 * first_lane) * bin;
      Bins bins;
      fetch(bins, low, high, first_lane, bin);
      int next = thread;  // the first vector of this thread that is not made
      int carried = 0;    // vectors before this have a sum in the ring
      int oldest = n_here ? (int)((first * hop - p0) / XI_WIDTH) : size;  // where frame m begins

      int m = 0;
      do {
        Complex v[2][8];
        pack(bins, v, first_lane, roots);
        butterfly<8, 1>(v[0], nullptr);
        butterfly<8, 1>(v[1], nullptr);
        const long long ahead = m < n_ahead ? next_frames : 0;
        low += ahead;
        high += ahead;
        fetch(bins, low, high, first_lane, bin);  // on its way meanwhile; again where there is no further frame
        __syncthreads();  // the samples of the last frames were added
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          first_row[r] = {v[0][2 * r], v[0][2 * r + 1]};
          other_row[r] = {v[1][2 * r], v[1][2 * r + 1]};
        }
        __syncthreads();
        if constexpr (MIDDLE > 1) pass<MIDDLE, 8>(row, middle_roots, lane);
        pass<MOST, POINTS / MOST>(row, last_roots, lane);

        // Every thread adds, of every frame in turn, the samples that are its own.
        const int latest = oldest + (min(n_here - m, FRAMES) - 1) * step;  // where the latest of these frames begins
        const int made = m + FRAMES < n_here ? latest + step : size;       // no later frame reaches a vector before it
        int n = next - oldest;  // of the oldest frame that reaches this thread's vector
        const Samples* x = (const Samples*)points;  // and its row
        auto sum_of = [&](int e) {
#pragma unroll 1
          for (; n >= span; n -= step) x += 2 * ROW / XI_WIDTH;
          Samples sum = {};
          if (e < carried) sum = ring[e & (RING - 1)];
          const int least = max(0, e - latest);
          const Samples* from = x;
#pragma unroll 2
          for (int k = n; k >= least; k -= step, from += 2 * ROW / XI_WIDTH) {
            const Samples sample = from[k], weight = ((const Samples*)window)[k];
#pragma unroll
            for (int i = 0; i < XI_WIDTH; ++i) sum.at[i] = fmaf(weight.at[i], sample.at[i], sum.at[i]);
          }
          n += XI_THREADS;
          return sum;
        };
#pragma unroll 1
        for (; next < made; next += XI_THREADS, target += XI_THREADS) {
          const Samples sum = sum_of(next);
          if ((unsigned)(next - steady_from) < steady) {
            *target = gained(sum, gains[period_to + phase]);
          } else {
            Samples factor = {};
            if (next >= gain_from && next < gain_to)
              factor = gains[next < head_to ? head_at + next : next < tail_from ? period_to + phase : tail_at + next];
            factor = gained(sum, factor);
#pragma unroll
            for (int k = 0; k < XI_WIDTH; ++k)
              if (next * XI_WIDTH + k < samples) ((float*)target)[k] = factor.at[k];
          }
          phase += phase_step;
          if (phase >= 0) phase -= step;
        }
        const int reached = min(size, latest + span);
#pragma unroll 1
        for (int e = next; e < reached; e += XI_THREADS) ring[e & (RING - 1)] = sum_of(e);
        carried = reached;
        oldest = made;
        m += FRAMES;
      } while (m < n_here);
    }
  }
}
