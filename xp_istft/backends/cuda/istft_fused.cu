// Spectrum to samples in one launch: inverse real FFT, window, overlap-add and gain, without scratch in device memory.
//
//   signal[b, i] = gain(p) * sum_m window[p - m hop] * irfft(spectrum[b, :, m])[p - m hop],   p = start + i
//
// float32, n_fft a power of two from 64 to 4096. The inverse FFT is not normalised: `window` holds the 1 / n_fft.
//
// One block makes XI_TILE neighbouring samples of one signal, and transforms every frame that reaches them (frames at
// the edge of a tile are transformed by both neighbours), FRAMES of them at a time: each thread holds 8 points of one
// frame. The real FFT is packed into a complex one of half the size, in Stockham passes of radix 8, 4 and 2 through
// shared memory. A sample's sum belongs to one thread from begin to end, and frames are added in their order: no
// atomics, the same bits in every run.
// Grid: (ceil(n_samples / XI_TILE), min(n_batch, 65535)), XI_THREADS threads; any smaller grid is right, too.
//
// Macros
//   XI_LOG2_N_FFT  6..12
//   XI_THREADS     threads of a block, a multiple of 32 and at least n_fft / 16
//   XI_TILE        samples of a block, a multiple of 2 XI_THREADS
//   XI_WIDTH       1 | 2: samples of one load and store. 2 needs hop, start (and signal_batch, where n_batch > 1) to be
//                  even and window, gain and signal to be aligned to 8 bytes.
//   XI_BY_TIME     1: neighbouring frames lie side by side in memory (else neighbouring bins); a matter of speed only
//
// Arrays (strides in elements)
//   spectrum  (n_batch, n_fft / 2 + 1, n_frames) complex, strides (spectrum_batch, spectrum_bin, spectrum_frame)
//   window    (n_fft,)
//   turns     (n_fft,) complex, exp(2 pi i k / n_fft)
//   gain      as in overlap_add.cu: head, one period, tail; origin is a multiple of hop
//   signal    (n_batch, n_samples), strides (signal_batch, 1)

#ifndef XI_LOG2_N_FFT
#define XI_LOG2_N_FFT 11
#endif
#ifndef XI_THREADS
#define XI_THREADS (XI_LOG2_N_FFT == 12 ? 256 : 128)
#endif
#ifndef XI_TILE
#define XI_TILE 7168
#endif
#ifndef XI_WIDTH
#define XI_WIDTH 2
#endif
#ifndef XI_BY_TIME
#define XI_BY_TIME 0
#endif

struct __align__(8) Complex { float re, im; };
struct __align__(4 * XI_WIDTH) Samples { float at[XI_WIDTH]; };

static constexpr int N_FFT = 1 << XI_LOG2_N_FFT;
static constexpr int LOG2_POINTS = XI_LOG2_N_FFT - 1;
static constexpr int POINTS = N_FFT / 2;                   // of the packed complex FFT
static constexpr int LANES = POINTS / 8;                   // threads that share a frame
static constexpr int FRAMES = XI_THREADS / LANES;          // frames in shared memory at a time
static constexpr int STRIDE = XI_THREADS * XI_WIDTH;       // samples between two of one thread
static_assert(FRAMES >= 1 && FRAMES * LANES == XI_THREADS, "XI_THREADS is no multiple of n_fft / 16");
static_assert(XI_TILE % (2 * XI_THREADS) == 0, "XI_TILE is no multiple of 2 XI_THREADS");

__device__ __forceinline__ Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
__device__ __forceinline__ Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
__device__ __forceinline__ Complex operator*(Complex a, Complex b)
{
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
__device__ __forceinline__ Complex times_i(Complex a) { return {-a.im, a.re}; }

// Where point i of a frame lies. Points whose numbers differ in a few bits only, as those that 16 neighbouring threads
// load or store at once always do, fall into 16 different pairs of banks. Linear: place(a ^ b) = place(a) ^ place(b).
__device__ __forceinline__ constexpr int place(int i) { return i ^ ((i >> 4) & 7) ^ ((i >> 3) & 8); }

// place(i + offset), where the two have no bit in common and i has come to place(i) already.
__device__ __forceinline__ int moved(int placed, int offset)
{
  return LANES >= 128 ? placed + offset : placed ^ place(offset);
}

template <int radix> __device__ __forceinline__ void butterfly(Complex* v);

template <> __device__ __forceinline__ void butterfly<2>(Complex* v)
{
  const Complex a = v[0] + v[1], b = v[0] - v[1];
  v[0] = a; v[1] = b;
}

template <> __device__ __forceinline__ void butterfly<4>(Complex* v)
{
  const Complex a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3], d = times_i(v[1] - v[3]);
  v[0] = a + c; v[1] = b + d; v[2] = a - c; v[3] = b - d;
}

template <> __device__ __forceinline__ void butterfly<8>(Complex* v)
{
  Complex even[4] = {v[0], v[2], v[4], v[6]}, odd[4] = {v[1], v[3], v[5], v[7]};
  butterfly<4>(even);
  butterfly<4>(odd);
  const float h = 0.70710678118654752440f;
  odd[1] = {(odd[1].re - odd[1].im) * h, (odd[1].re + odd[1].im) * h};
  odd[2] = times_i(odd[2]);
  odd[3] = {(-odd[3].re - odd[3].im) * h, (odd[3].re - odd[3].im) * h};
#pragma unroll
  for (int k = 0; k < 4; ++k) { v[k] = even[k] + odd[k]; v[k + 4] = even[k] - odd[k]; }
}

// One Stockham pass over the frame at `row`, whose transforms so far have `done` points: 8 / radix butterflies a thread.
template <int log2_radix, int log2_done>
__device__ __forceinline__ void pass(Complex* row, const Complex* __restrict__ turns, int lane, int placed_lane, int twist)
{
  constexpr int radix = 1 << log2_radix, times = 8 / radix, done = 1 << log2_done;
  Complex v[times][radix];
#pragma unroll
  for (int i = 0; i < times; ++i)
#pragma unroll
    for (int r = 0; r < radix; ++r) v[i][r] = row[moved(placed_lane, (i + r * times) * LANES)];
#pragma unroll
  for (int i = 0; i < times; ++i) {
    if (log2_done > 0) {
      const int turn = ((lane + i * LANES) & (done - 1)) * (N_FFT / (radix * done));
#pragma unroll
      for (int r = 1; r < radix; ++r) v[i][r] = v[i][r] * turns[r * turn];
    }
    butterfly<radix>(v[i]);
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < times; ++i) {
    const int u = lane + i * LANES;
    const int to = place(((u >> log2_done) << (log2_done + log2_radix)) + (u & (done - 1))) ^ twist;
#pragma unroll
    for (int r = 0; r < radix; ++r) row[to ^ place(r * done)] = v[i][r];
  }
  __syncthreads();
}

template <int log2_done>
__device__ __forceinline__ void passes(Complex* row, const Complex* __restrict__ turns, int lane, int placed_lane, int twist)
{
  constexpr int left = LOG2_POINTS - log2_done;
  if constexpr (left > 0) {
    constexpr int log2_radix = left == 4 || left == 2 ? 2 : left == 1 ? 1 : 3;  // 16 left: 4 x 4, not 8 x 2
    pass<log2_radix, log2_done>(row, turns, lane, placed_lane, twist);
    passes<log2_done + log2_radix>(row, turns, lane, placed_lane, twist);
  }
}

extern "C" __global__ void __launch_bounds__(XI_THREADS)
istft_fused(const Complex* __restrict__ spectrum, const float* __restrict__ window, const Complex* __restrict__ turns,
            const float* __restrict__ gain, float* __restrict__ signal,
            long long n_batch, long long spectrum_batch, long long spectrum_bin, long long spectrum_frame,
            long long signal_batch, long long n_frames, long long hop, long long start, long long n_samples,
            long long origin, long long n_head, long long tail_start, long long n_tail)
{
  __shared__ Complex points[FRAMES * POINTS];
  __shared__ Samples sums[XI_TILE / XI_WIDTH];  // sums[e] belongs to thread e % XI_THREADS
  const int thread = threadIdx.x;
  const int frame = thread / LANES, lane = thread % LANES;  // for the FFT
  const int reader_frame = XI_BY_TIME ? thread % FRAMES : frame;  // for reading the spectrum
  const int reader_lane = XI_BY_TIME ? thread / FRAMES : lane;
  const int twist = frame & 15, reader_twist = reader_frame & 15;  // rows, too, begin in different banks
  const int placed_lane = place(lane) ^ twist;

  for (long long b = blockIdx.y; b < n_batch; b += gridDim.y) {
    for (long long i0 = (long long)blockIdx.x * XI_TILE; i0 < n_samples; i0 += (long long)gridDim.x * XI_TILE) {
      const int size = (int)min(n_samples - i0, (long long)XI_TILE);
      const long long p0 = start + i0;
      const long long first = p0 < N_FFT ? 0 : (p0 - N_FFT) / hop + 1;
      const long long last = p0 + size <= 0 ? -1 : min(n_frames - 1, (p0 + size - 1) / hop);
      for (int e = thread; e < XI_TILE / XI_WIDTH; e += XI_THREADS)
#pragma unroll
        for (int k = 0; k < XI_WIDTH; ++k) sums[e].at[k] = 0;

      for (long long m0 = first; m0 <= last; m0 += FRAMES) {
        __syncthreads();  // the last frames were read
        {
          // Bins k and POINTS - k become points k and POINTS - k of the packed spectrum: even samples + i odd samples.
          Complex* row = points + reader_frame * POINTS;
          const long long m = m0 + reader_frame;
          const bool there = m <= last;
          const Complex* bins = spectrum + b * spectrum_batch + m * spectrum_frame;
          const Complex* low = bins + reader_lane * spectrum_bin;
          const Complex* high = bins + (POINTS - reader_lane) * spectrum_bin;
          const int low_place = place(reader_lane) ^ reader_twist;
          const int high_place = place(LANES - reader_lane) ^ reader_twist;
          Complex a[4], c[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            a[i] = c[i] = {0, 0};
            if (there) {
              a[i] = low[i * LANES * spectrum_bin];
              c[i] = high[-(i * LANES * spectrum_bin)];
            }
          }
          if (reader_lane == 0) a[0].im = c[0].im = 0;  // of DC and Nyquist
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const Complex other = {c[i].re, -c[i].im};
            const Complex even = a[i] + other, odd = (a[i] - other) * turns[reader_lane + i * LANES];
            row[moved(low_place, i * LANES)] = {even.re - odd.im, even.im + odd.re};
            const int mirrored = LANES >= 128 ? high_place + POINTS - (i + 1) * LANES
                                              : place(POINTS - reader_lane - i * LANES) ^ reader_twist;
            if (i > 0 || reader_lane > 0) row[mirrored] = {even.re + odd.im, odd.re - even.im};
          }
          if (reader_lane == 0) {  // the bin in the middle is its own mirror image
            Complex middle = {0, 0};
            if (there) middle = bins[POINTS / 2 * spectrum_bin];
            row[place(POINTS / 2) ^ reader_twist] = {2 * middle.re, -2 * middle.im};
          }
        }
        __syncthreads();
        passes<0>(points + frame * POINTS, turns, lane, placed_lane, twist);

        // Every thread adds, of every frame in turn, the samples that belong to the sums it owns.
        const int here = (int)min(last - m0 + 1, (long long)FRAMES);
        int from = (int)(m0 * hop - p0) / XI_WIDTH;  // the frame's first sample, in the tile
        const int hop_width = (int)hop / XI_WIDTH;
#pragma unroll 1
        for (int g = 0; g < here; ++g, from += hop_width) {
          const int own = (thread - from) & (XI_THREADS - 1);  // the first sample of the frame that is this thread's
          if (N_FFT / XI_WIDTH < XI_THREADS && own >= N_FFT / XI_WIDTH) continue;
          const float* row = (const float*)(points + g * POINTS);
          const Samples* weights = (const Samples*)window + own;
          Samples* sum = sums + from + own;
          const int own_place = place(own * XI_WIDTH / 2) ^ (g & 15);
#pragma unroll
          for (int k = 0; k < (N_FFT + STRIDE - 1) / STRIDE; ++k) {
            if ((unsigned)(from + own + k * XI_THREADS) < (unsigned)(XI_TILE / XI_WIDTH)) {
              const int step = k * STRIDE / 2;  // in points
              const int at = STRIDE / 2 >= 128 ? own_place + step
                                               : place((own * XI_WIDTH / 2) + step) ^ (g & 15);
              const Samples w = weights[k * XI_THREADS];
              Samples total = sum[k * XI_THREADS];
#pragma unroll
              for (int s = 0; s < XI_WIDTH; ++s) total.at[s] += w.at[s] * row[2 * at + (XI_WIDTH == 2 ? s : own & 1)];
              sum[k * XI_THREADS] = total;
            }
          }
        }
      }

      // The gain of each sample: its phase within the period goes on by the same step from sample to sample.
      const long long q0 = p0 + origin;
      const int phase_step = (int)(STRIDE % hop);
      const long long p_first = p0 + thread * XI_WIDTH;
      int phase = (int)(p_first >= 0 ? p_first % hop : (hop - (-p_first) % hop) % hop);
#pragma unroll 1
      for (int e = thread * XI_WIDTH; e < size; e += STRIDE) {
        const long long q = q0 + e;
        Samples y;
#pragma unroll
        for (int k = 0; k < XI_WIDTH; ++k) y.at[k] = 0;
        if (q >= 0 && q < tail_start + n_tail) {
          const long long at = q < n_head ? q : q < tail_start ? n_head + phase : n_head + hop + (q - tail_start);
          const Samples g = *(const Samples*)(gain + at);
          const Samples sum = sums[e / XI_WIDTH];
#pragma unroll
          for (int k = 0; k < XI_WIDTH; ++k) y.at[k] = g.at[k] == 0 ? 0.f : g.at[k] * sum.at[k];
        }
        const long long to = b * signal_batch + i0 + e;
        if (e + XI_WIDTH <= size) ((Samples*)signal)[to / XI_WIDTH] = y;  // as in overlap_add.cu
        else signal[to] = y.at[0];
        phase += phase_step;
        if (phase >= hop) phase -= (int)hop;
      }
    }
  }
}
