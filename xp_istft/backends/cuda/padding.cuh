// How a signal goes on outside its samples: numpy.pad's modes, again and again where the padding is longer than it.
//
//   pad  0 constant (zeros), 1 reflect, 2 edge, 3 symmetric, 4 wrap: the order of frames.PAD_MODES

// Which sample stands at position t of a signal that does not reach there; -1 for a zero.
template <class index_t> __device__ __forceinline__ index_t padded(index_t t, index_t n_samples, int pad)
{
  if (pad == 0 || n_samples < 1) return -1;
  if (pad == 2) return t < 0 ? 0 : n_samples - 1;
  index_t period = n_samples;                                // wrap
  if (pad == 1) period = n_samples > 1 ? 2 * (n_samples - 1) : 1;  // reflect: the end samples are not repeated
  if (pad == 3) period = 2 * n_samples;                      // symmetric: they are
  t %= period;
  if (t < 0) t += period;
  return t < n_samples ? t : pad == 1 ? period - t : period - 1 - t;
}
