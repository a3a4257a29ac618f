// Samples to spectrum in one launch: padding, window and real FFT, without scratch in device memory.
//
//   spectrum[b, k, m] = sum_n window[n] signal[b, m hop + n - start] exp(-2 pi i k n / n_fft)
//
// where the signal goes on, outside [0, n_samples), as padding.cuh says. float32, n_fft a power of two from 64 to 4096.
//
// One block transforms FRAMES frames at a time; the samples of the next are on their way meanwhile.
// Grid: (ceil(n_frames / FRAMES), min(n_batch, 65535)), XI_THREADS threads; any smaller grid is right, too, and one that
// fills the device once is best.
//
// Macros
//   XI_WIDTH       1 | 2: samples of one load. 2 needs hop, start (and signal_batch, where n_batch > 1) to be even, and
//                  signal and window to be aligned to 8 bytes.
//   XI_BY_TIME     0: neighbouring bins lie side by side in memory (spectrum_bin is 1); 1: any strides, and quickest
//                  where neighbouring frames lie side by side
//   and those of fft.cuh
//
// Arrays (strides in elements)
//   signal    (n_batch, n_samples), strides (signal_batch, 1)
//   window    (n_fft,), halved
//   turns     (n_fft,) complex, exp(2 pi i k / n_fft)
//   spectrum  (n_batch, n_fft / 2 + 1, n_frames) complex, strides (spectrum_batch, spectrum_bin, spectrum_frame)
//   pad       as in padding.cuh

#include "fft.cuh"
#include "padding.cuh"

#ifndef XI_WIDTH
#define XI_WIDTH 2
#endif
#ifndef XI_BY_TIME
#define XI_BY_TIME 0
#endif

// Points of the packed signal, odd samples + i even ones: the forward transform of even + i odd is the inverse of these,
// with real and imaginary parts in each other's place.
__device__ __forceinline__ Complex point(const float* __restrict__ samples)
{
  if constexpr (XI_WIDTH == 1) return {samples[1], samples[0]};
  const Complex pair = *(const Complex*)samples;
  return {pair.im, pair.re};
}

// The bins of one frame, of points k and POINTS - k of its transform, for the k that fft.cuh gives a thread.
__device__ __forceinline__ void unpack(const Complex (&v)[2][8], int lane, const Complex* __restrict__ turns,
                                       Complex* __restrict__ low, Complex* __restrict__ high, long long bin)
{
  const long long other = lane ? 0 : LANES * bin;
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    const Complex z = r < 4 || lane ? v[0][r] : v[1][r], y = r > 3 || lane ? v[1][7 - r] : v[0][r ? 8 - r : 4];
    const Complex even = {z.im + y.im, z.re - y.re}, odd = {z.re + y.re, y.im - z.im};
    const Complex root = turns[(r < 4 || lane ? lane : LANES) + 2 * LANES * r];
    const Complex turned = {fmaf(odd.im, root.im, odd.re * root.re), fmaf(-odd.re, root.im, odd.im * root.re)};
    Complex a = even + turned, c = {even.re - turned.re, turned.im - even.im};
    if (r == 0 && lane == 0) {
      a = {2 * (z.im + z.re), 0};
      c = {2 * (z.im - z.re), 0};
      low[POINTS / 2 * bin] = {2 * y.im, -2 * y.re};
    }
    low[2 * LANES * r * bin + (r < 4 ? 0 : other)] = a;
    high[-(2 * LANES * r * bin) - (r < 4 ? 0 : other)] = c;
  }
}

extern "C" __global__ void __launch_bounds__(XI_THREADS, 512 / XI_THREADS)
stft_fused(const float* __restrict__ signal, const float* __restrict__ window, const Complex* __restrict__ turns,
           Complex* __restrict__ spectrum,
           long long n_batch, long long signal_batch, long long spectrum_batch, long long spectrum_bin,
           long long spectrum_frame, long long n_frames, long long hop, long long start, long long n_samples, int pad)
{
  __shared__ Pair points[FRAMES * ROW / 2];
  __shared__ Complex middle_roots[n_powers(MIDDLE) * MOST + 1];
  __shared__ Complex last_roots[7 * (POINTS / 8)];
  const int thread = threadIdx.x;
  const int lane = thread % LANES, frame = thread / LANES;
  Complex* row = (Complex*)points + frame * ROW;
  const int last_lane = XI_BY_TIME ? thread / FRAMES : lane;  // of the last pass and the spectrum
  const int last_frame = XI_BY_TIME ? thread % FRAMES : frame;
  const int other_lane = last_lane ? 2 * LANES - last_lane : LANES;
  const Complex* last_row = (const Complex*)points + last_frame * ROW;
  const long long bin = XI_BY_TIME ? spectrum_bin : 1, apart = (long long)gridDim.x * FRAMES;
  fill_roots<MIDDLE, MOST>(middle_roots, turns);
  fill_roots<8, POINTS / 8>(last_roots, turns);

  for (long long b = blockIdx.y; b < n_batch; b += gridDim.y) {
    const float* samples = signal + b * signal_batch;
    Complex next[16] = {};
    auto fetch = [&](long long t) {  // the frame whose first sample is t, if none of it is padding
      if (t < 0 || t + N_FFT > n_samples) return;
#pragma unroll
      for (int i = 0; i < 16; ++i) next[i] = point(samples + t + 2 * (lane + i * LANES));
    };
    const long long m_first = (long long)blockIdx.x * FRAMES;
    fetch((m_first + frame) * hop - start);
    for (long long m = m_first; m < n_frames; m += apart) {
      const long long t = (m + frame) * hop - start;
      __syncthreads();  // the points of the last frames were read
      if (m + frame < n_frames && (t < 0 || t + N_FFT > n_samples)) {
#pragma unroll 1
        for (int i = 0; i < 16; ++i) {
          float pair[2];
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            const long long at = t + 2 * (lane + i * LANES) + k;
            const long long from = at >= 0 && at < n_samples ? at : padded(at, n_samples, pad);
            pair[k] = from < 0 ? 0.f : samples[from];
          }
          row[lane + i * LANES] = {pair[1], pair[0]};
        }
#pragma unroll
        for (int i = 0; i < 16; ++i) next[i] = row[lane + i * LANES];
      }
      constexpr int times = 16 / MOST;
      Complex v[times][MOST];
      const float* weights = window + 2 * lane + (m >> 62);  // + 0: the compiler must not keep them all in registers
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        const Complex weight = point(weights + 2 * i * LANES);
        v[i % times][i / times] = {next[i].re * weight.re, next[i].im * weight.im};
      }
      fetch(t + apart * hop);  // on its way meanwhile
#pragma unroll
      for (int i = 0; i < times; ++i) butterfly<MOST, 1>(v[i], nullptr);
      __syncthreads();
      Pair* first_row = (Pair*)(row + place(lane * MOST));
#pragma unroll
      for (int i = 0; i < times; ++i)
#pragma unroll
        for (int r = 0; r < MOST; r += 2) first_row[(place(i * LANES * MOST) + r) / 2] = {v[i][r], v[i][r + 1]};
      __syncthreads();
      if constexpr (MIDDLE > 1) pass<MIDDLE, MOST>(row, middle_roots, lane);

      Complex z[2][8];
#pragma unroll
      for (int r = 0; r < 8; ++r) {
        z[0][r] = last_row[place(last_lane) + place(2 * LANES * r)];
        z[1][r] = last_row[place(other_lane) + place(2 * LANES * r)];
      }
      butterfly<8, POINTS / 8>(z[0], last_roots + last_lane);
      butterfly<8, POINTS / 8>(z[1], last_roots + other_lane);
      if (m + last_frame < n_frames) {
        Complex* low = spectrum + b * spectrum_batch + (m + last_frame) * spectrum_frame + last_lane * bin;
        unpack(z, last_lane, turns + (m >> 62), low, low + (POINTS - 2 * last_lane) * bin, bin);
      }
    }
  }
}
