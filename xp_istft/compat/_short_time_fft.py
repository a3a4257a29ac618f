"""scipy.signal.ShortTimeFFT for arrays of any library: scipy's own class, with other maps."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import Any

import numpy as np
import scipy.signal

from ..arguments import choice, error, integer, number, shown, sized
from ..arrays import needs_axis, pad
from ..backends import namespace, required_backend
from ..dtypes import dtype_name
from ..frames import MOST, bin_multiplicity, phase_ramp
from ..transform import STFT
from ..transforms import overlap_add
from ._inputs import beside, complex_floating, floating, is_complex, place_of
from ._segments import spectra

_CHOICES = {
    "fft_mode": ("onesided", "twosided", "centered", "onesided2X"),
    "scale_to": (None, "magnitude", "psd"),
}
_PADDINGS = ("zeros", "edge", "even", "odd")


class ShortTimeFFT(scipy.signal.ShortTimeFFT):
    """`scipy.signal.ShortTimeFFT`: the transform pair with a window, a hop, and scipy's counting of slices.

    Parameters, attributes and the counting are scipy's. Slice p is centred on sample p * hop; slices p_min to
    p_max(n) - 1 touch a signal of n samples. The inverse adds the slices up with the dual window, and divides by
    nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from xp_istft.compat.scipy import ShortTimeFFT
    >>> SFT = ShortTimeFFT(np.hanning(256), hop=64, fs=8000.0, scale_to="magnitude")
    >>> x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    >>> S = SFT.stft(x)
    >>> S.shape, S.dtype, bool(np.allclose(SFT.istft(S, k1=1000), x, atol=1e-5))
    ((129, 19), dtype('complex64'), True)
    """

    @wraps(scipy.signal.ShortTimeFFT.__init__)  # type: ignore[misc]
    def __init__(self, win: Any, hop: int, fs: float, **options: Any) -> None:
        function = type(self).__name__
        for name, value in (("hop", hop), ("phase_shift", options.get("phase_shift"))):
            if isinstance(value, bool):
                raise error(ValueError, function, name, "an integer", value)
        for name in ("mfft", "phase_shift"):
            if options.get(name) is not None:
                options[name] = integer(function, name, options[name], most=MOST)
        for name, choices in _CHOICES.items():
            if name in options:
                options[name] = choice(function, name, options[name], choices)
        if options.get("dual_win") is not None:
            options["dual_win"] = _window("dual_win", options["dual_win"])
        if isinstance(hop, float):
            hint = f"Parameter {hop=} is not an integer >= 1!"
            raise error(ValueError, function, "hop", "an integer >= 1", hop, hint)
        hop = integer(function, "hop", hop)
        super().__init__(_window("win", win), hop, number(function, "fs", fs), **options)

    @sized
    def stft_detrend(
        self,
        x: Any,
        detr: Any,
        p0: int | None = None,
        p1: int | None = None,
        *,
        k_offset: int = 0,
        padding: Any = "zeros",
        axis: int = -1,
    ) -> Any:
        """`stft` of slices that are detrended before they are windowed: "constant", "linear", a function or None."""
        function = "stft"
        x = floating(function, "x", x)
        needs_axis(function, "x", x)
        if self.onesided_fft and is_complex(x):
            hint = "Set property `fft_mode` to 'twosided' or 'centered'."
            raise ValueError(f"Complex-valued `x` not allowed for self.fft_mode={self.fft_mode!r}'! {hint}")
        if not (detr is None or isinstance(detr, str) or callable(detr)):
            raise ValueError(f"Parameter detr={shown(detr)} is not a str, function or None!")
        if isinstance(detr, str) and detr not in ("constant", "linear"):
            hint = "Trend type must be 'linear' or 'constant'"
            raise error(ValueError, function, "detr", "'constant' or 'linear'", repr(detr), hint)
        if not (isinstance(padding, str) and padding in _PADDINGS):
            raise ValueError(f"Parameter padding={shown(padding)} not in {_PADDINGS}!")
        n = x.shape[place_of(function, "axis", axis, len(x.shape))]
        k_offset = integer(function, "k_offset", k_offset)
        p0, p1 = (
            value if value is None else integer(function, name, value) for name, value in (("p0", p0), ("p1", p1))
        )
        least = self.m_num - self.m_num_mid
        if not n >= least:
            got = f"len(x)={n!r}" if len(x.shape) == 1 else f"of axis={axis!r} of {tuple(x.shape)}"
            raise ValueError(f"{got} must be >= ceil(m_num/2) = {least}!")
        p0, p1 = self.p_range(n, p0, p1)
        xp = namespace(x)
        x = xp.moveaxis(x, axis, -1)

        start = p0 * self.hop - self.m_num_mid + k_offset
        stop = start + (p1 - p0 - 1) * self.hop + self.m_num
        before, after = max(0, -start), max(0, stop - n)
        if padding != "zeros" or start >= n or stop <= 0:
            x = pad(x, before, after, padding)
            x, before, after = x[..., max(0, start) : max(0, start) + stop - start], 0, 0
        else:
            x = x[..., max(0, start) : min(n, stop)]

        def part(window: np.ndarray) -> Any:
            spare = self.mfft - self.m_num
            transform = STFT.made_by(
                function, n_fft=self.mfft, hop_length=self.hop, window=np.pad(window, (0, spare)),
                padding=(before, after + spare), onesided=self.onesided_fft,
            )  # fmt: skip
            return spectra(x, transform, self.m_num, detr)

        S = part(self.win) if not np.iscomplexobj(self.win) else part(self.win.real) - 1j * part(self.win.imag)
        gain = _gain(self)
        S = S if gain is None else S * required_backend(S).along(gain, S, -2)
        if self.fft_mode == "centered":
            S = xp.fft.fftshift(S, axes=-2)
        return xp.moveaxis(S, -2, axis if axis >= 0 else axis - 1)

    @sized
    def spectrogram(
        self,
        x: Any,
        y: Any = None,
        detr: Any = None,
        *,
        p0: int | None = None,
        p1: int | None = None,
        k_offset: int = 0,
        padding: Any = "zeros",
        axis: int = -1,
    ) -> Any:
        """Squared magnitudes of x's slices; with y, x's times the conjugate of y's."""
        slices: dict[str, Any] = dict(p0=p0, p1=p1, k_offset=k_offset, padding=padding, axis=axis)
        Sx = self.stft_detrend(x, detr, **slices)
        xp = namespace(Sx)
        if y is None or y is x:
            return xp.real(Sx) ** 2 + xp.imag(Sx) ** 2
        y = floating("spectrogram", "y", y)
        needs_axis("spectrogram", "y", y)
        Sy = self.stft_detrend(y, detr, **slices)
        if namespace(Sy) is not xp:
            raise error(TypeError, "spectrogram", "y", f"the library of x ({type(x).__name__})", type(y).__name__)
        if Sy.shape[-1] != Sx.shape[-1]:
            raise error(ValueError, "spectrogram", "y", f"{Sx.shape[-1]} slices, as x", Sy.shape[-1])
        return Sx * xp.conj(Sy)

    @sized
    def istft(self, S: Any, k0: int = 0, k1: int | None = None, *, f_axis: int = -2, t_axis: int = -1) -> Any:
        """Samples [k0, k1) of the signal whose slices, from p_min on, are S."""
        function = "istft"
        f_axis, t_axis = integer(function, "f_axis", f_axis), integer(function, "t_axis", t_axis)
        if f_axis == t_axis:
            raise ValueError(f"f_axis={f_axis!r} may not be equal to t_axis={t_axis!r}!")
        S = complex_floating(function, "S", S)
        shape = tuple(S.shape)
        if len(shape) < 2:
            raise error(ValueError, function, "S", "at least 2 dimensions", f"shape {shape}")
        f_axis = place_of(function, "f_axis", f_axis, len(shape))
        t_axis = place_of(function, "t_axis", t_axis, len(shape))
        if f_axis == t_axis:
            raise error(ValueError, function, "t_axis", f"another axis than f_axis={f_axis}", t_axis)
        if shape[f_axis] != self.f_pts:
            got = f"S.shape[f_axis]={shape[f_axis]!r}"
            raise ValueError(f"{got} must be equal to self.f_pts={self.f_pts!r} (S.shape={shape!r})!")
        n_min = self.m_num - self.m_num_mid
        if not shape[t_axis] >= self.p_num(n_min):
            got = f"S.shape[t_axis]={shape[t_axis]!r}"
            raise ValueError(f"{got} needs to have at least {self.p_num(n_min)} slices (S.shape={shape!r})!")
        k_max = (shape[t_axis] + self.p_min - 1) * self.hop + self.m_num - self.m_num_mid
        k0, k1 = integer(function, "k0", k0), k_max if k1 is None else integer(function, "k1", k1)
        if not self.k_min <= k0 < k1 <= k_max:
            raise ValueError(f"({self.k_min=}) <= ({k0=}) < ({k1=}) <= ({k_max=}) is false!")
        if not k1 - k0 >= n_min:
            raise ValueError(f"({k1=}) - ({k0=}) = {k1 - k0} has to be at least the half the window length {n_min}!")
        xp, backend = namespace(S), required_backend(S)
        S = xp.moveaxis(S, (f_axis, t_axis), (-2, -1))
        if self.fft_mode == "centered":
            S = xp.fft.ifftshift(S, axes=-2)
        gain = _gain(self)
        S = S if gain is None else S * backend.along(1 / gain, S, -2)

        # one after the other, the frames are a signal without overlap
        frames = STFT(self.mfft, self.mfft, window="boxcar", center=False, onesided=self.onesided_fft).istft(S)
        frames = xp.moveaxis(xp.reshape(frames, (*S.shape[:-2], S.shape[-1], self.mfft)), -1, -2)
        dual = beside(frames, self.dual_win)
        dual = backend.along(dual, frames, -2, dtype_name(dual))
        segments = backend.product(frames[..., : self.m_num, :], dual)
        x = overlap_add(segments, self.hop, padding=(k0 - self.k_min, 0), length=k1 - k0)
        return xp.moveaxis(x, -1, f_axis if f_axis < len(x.shape) else t_axis)


def _gain(of: scipy.signal.ShortTimeFFT) -> np.ndarray | None:
    """What the bins are multiplied by: the turn of their phases, and the doubling of those that stand for two."""
    origin = 0 if of.phase_shift is None else (of.phase_shift + of.m_num_mid) % of.m_num
    power = 0 if of.fft_mode != "onesided2X" else 0.5 if of.scaling == "psd" else 1
    return _bin_gain(of.mfft, origin, of.onesided_fft, power)


def _window(name: str, samples: Any) -> np.ndarray:
    """A copy of a window: scipy lets nobody write to what it holds."""
    if isinstance(samples, np.ma.MaskedArray):
        need = "values that NumPy can read"
        raise error(TypeError, "ShortTimeFFT", name, need, "MaskedArray", "fill it first")
    try:
        samples = np.array(samples)
    except Exception as cause:  # of a tensor that needs a gradient, or lies on a device
        got = type(samples).__name__
        raise error(TypeError, "ShortTimeFFT", name, "values that NumPy can read", got, str(cause)) from cause
    if samples.ndim == 1 and samples.dtype.kind not in "fciu":
        got = f"{name}.dtype={samples.dtype!r}"
        raise TypeError(f"Parameter {name} must be of real or complex numbers, but {got}!")
    return samples


@lru_cache(maxsize=64)
def _bin_gain(mfft: int, origin: int, onesided: bool, power: float) -> np.ndarray | None:
    """(n_bins,), or None for ones."""
    if not origin and not power:
        return None
    gain = phase_ramp(mfft, origin, onesided=onesided)
    return gain * bin_multiplicity(mfft) ** power if power else gain
