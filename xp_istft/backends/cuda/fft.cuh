// The FFT of the fused kernels: n_fft real samples as POINTS = n_fft / 2 complex points, 16 of them in each thread.
//
// Stockham passes, the first or last of radix 8 on registers alone: butterflies u and POINTS / 8 - u, which hold bins k
// and POINTS - k, are one thread's. Between passes a frame lies in shared memory, in a row of its own.
//
// Macros
//   XI_LOG2_N_FFT  6..12
//   XI_THREADS     threads of a block: 2, 4, 8 ... times n_fft / 32, or once, and a multiple of 32

#ifndef XI_LOG2_N_FFT
#define XI_LOG2_N_FFT 11
#endif
#ifndef XI_THREADS
#define XI_THREADS (XI_LOG2_N_FFT == 11 ? 256 : 128)
#endif

struct __align__(8) Complex { float re, im; };
struct __align__(16) Pair { Complex at[2]; };

static constexpr int N_FFT = 1 << XI_LOG2_N_FFT;
static constexpr int POINTS = N_FFT / 2;
static constexpr int LANES = POINTS / 16;                      // threads that share a frame
static constexpr int FRAMES = XI_THREADS / LANES;              // frames in shared memory at a time
static constexpr int MOST = POINTS >= 128 ? 16 : POINTS / 8;   // radix of the pass at the other end than the 8
static constexpr int MIDDLE = POINTS / 8 / MOST;               // and of the pass between, 1: there is none
static_assert(FRAMES >= 1 && (FRAMES & (FRAMES - 1)) == 0 && FRAMES * LANES == XI_THREADS, "XI_THREADS / (n_fft / 32)");

// Where point i of a frame lies in its row. Two points are left out after every 16: threads that store 8 or 16
// neighbouring points each meet different banks. place(a + b) = place(a) + place(b) where a and b have no bit in common.
__device__ __forceinline__ constexpr int place(int i) { return i + (i >> 4) * 2; }

// Points from row to row: even, and where several frames share half a warp, their rows begin in different banks.
static constexpr int ROW_END = place(POINTS - 1) + 1;
static constexpr int ROW = LANES >= 16 ? ROW_END + ROW_END % 2 : ROW_END + (LANES + 16 - ROW_END % 16) % 16;

__device__ __forceinline__ Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
__device__ __forceinline__ Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
__device__ __forceinline__ Complex operator*(Complex a, Complex b)
{
  return {fmaf(a.im, -b.im, a.re * b.re), fmaf(a.re, b.im, a.im * b.re)};
}
__device__ __forceinline__ Complex times_i(Complex a) { return {-a.im, a.re}; }

static constexpr float HALF_ROOT = 0.70710678118654752440f;  // of 2

// a + b exp(2 pi i k / 8); every k, here and below, is known to the compiler.
__device__ __forceinline__ Complex plus(Complex a, Complex b, int k)
{
  const float s = k < 4 ? 1 : -1, h = s * HALF_ROOT;
  if (k % 4 == 1) return {fmaf(h, b.re - b.im, a.re), fmaf(h, b.re + b.im, a.im)};
  if (k % 4 == 2) return {fmaf(-s, b.im, a.re), fmaf(s, b.re, a.im)};
  if (k % 4 == 3) return {fmaf(-h, b.re + b.im, a.re), fmaf(h, b.re - b.im, a.im)};
  return {fmaf(s, b.re, a.re), fmaf(s, b.im, a.im)};
}

// a exp(2 pi i k / 16), k = 0, 1, 3, 9; times the root of 2 where k is 2 or 6.
__device__ __forceinline__ Complex turned(Complex a, int k)
{
  const float c = 0.92387953251128675613f, s = 0.38268343236508977173f;
  if (k == 1) return a * Complex{c, s};
  if (k == 2) return {a.re - a.im, a.re + a.im};
  if (k == 3) return a * Complex{s, c};
  if (k == 6) return {-(a.re + a.im), a.re - a.im};
  if (k == 9) return a * Complex{-c, -s};
  return a;
}

// v[j] = sum_r v[r] exp(2 pi i r (k / 16 + j / 4))
__device__ __forceinline__ void butterfly_4(Complex* v, int k = 0)
{
  const float s = k == 2 ? HALF_ROOT : 1;
  const Complex a = plus(v[0], v[2], k), b = plus(v[0], v[2], k + 4), p = turned(v[1], k), q = turned(v[3], 3 * k);
  const Complex c = p + q, d = p - q;
  v[0] = {fmaf(s, c.re, a.re), fmaf(s, c.im, a.im)};
  v[1] = {fmaf(-s, d.im, b.re), fmaf(s, d.re, b.im)};
  v[2] = {fmaf(-s, c.re, a.re), fmaf(-s, c.im, a.im)};
  v[3] = {fmaf(s, d.im, b.re), fmaf(-s, d.re, b.im)};
}

// The roots of a pass, in shared memory: powers of exp(2 pi i j / (radix done)), j < done. Of radix 16 1, 2, 3, 4, 8 and
// 12: in two steps of radix 4 each of the others is a product that nobody needs.
constexpr int n_powers(int radix) { return radix == 16 ? 6 : radix - 1; }

template <int radix, int done>
__device__ __forceinline__ void fill_roots(Complex* roots, const Complex* __restrict__ turns)
{
  for (int i = threadIdx.x; i < n_powers(radix) * done; i += XI_THREADS) {
    const int k = i / done, power = radix < 16 || k < 3 ? k + 1 : 4 * (k - 2);
    roots[i] = turns[i % done * power * (N_FFT / (radix * done))];
  }
}

// v[j] = sum_r v[r] root**r exp(2 pi i j r / radix), where `root` points to the first power of it; 1 in the first
// pass.
template <int radix, int done> __device__ __forceinline__ void butterfly(Complex* v, const Complex* root)
{
  if (radix < 16 && done > 1)
#pragma unroll
    for (int r = 1; r < radix; ++r) v[r] = v[r] * root[(r - 1) * done];
  if constexpr (radix == 2) {
    const Complex a = v[0] + v[1], b = v[0] - v[1];
    v[0] = a; v[1] = b;
  } else if constexpr (radix == 4) {
    butterfly_4(v);
  } else {
    constexpr int rows = radix / 4;  // of 4: r = rows a + b
    Complex part[rows][4];
#pragma unroll
    for (int b = 0; b < rows; ++b) {
#pragma unroll
      for (int a = 0; a < 4; ++a) part[b][a] = v[rows * a + b];
      if (radix == 16 && done > 1)
#pragma unroll
        for (int a = 1; a < 4; ++a) part[b][a] = part[b][a] * root[(a + 2) * done];
      butterfly_4(part[b]);
      if (radix == 16 && done > 1 && b > 0)
#pragma unroll
        for (int k = 0; k < 4; ++k) part[b][k] = part[b][k] * root[(b - 1) * done];
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if constexpr (radix == 8) {
        v[k] = plus(part[0][k], part[1][k], k);
        v[k + 4] = plus(part[0][k], part[1][k], k + 4);
      } else {
        Complex x[4] = {part[0][k], part[1][k], part[2][k], part[3][k]};
        butterfly_4(x, k);
#pragma unroll
        for (int j = 0; j < 4; ++j) v[k + 4 * j] = x[j];
      }
    }
  }
}

// One pass over the frame at `row`, whose transforms so far have `done` points: 16 / radix butterflies a thread.
// The last pass leaves the points side by side.
template <int radix, int done> __device__ __forceinline__ void pass(Complex* row, const Complex* roots, int lane)
{
  constexpr int times = 16 / radix;
  constexpr bool last = radix * done == POINTS;
  static_assert(last || LANES % done == 0, "butterflies of a thread have different roots");
  Complex v[times][radix];
  const Complex* from = row + place(lane);
#pragma unroll
  for (int i = 0; i < times; ++i)
#pragma unroll
    for (int r = 0; r < radix; ++r) v[i][r] = from[place((i + r * times) * LANES)];
#pragma unroll
  for (int i = 0; i < times; ++i) {
    butterfly<radix, done>(v[i], roots + (last ? lane + i * LANES : lane & (done - 1)));
  }
  __syncthreads();
  Complex* to = row + (last ? lane : place(lane / done * (done * radix)) + (lane & (done - 1)));
#pragma unroll
  for (int i = 0; i < times; ++i)
#pragma unroll
    for (int r = 0; r < radix; ++r) to[last ? i * LANES + r * done : place(i * LANES * radix) + place(r * done)] = v[i][r];
  __syncthreads();
}
