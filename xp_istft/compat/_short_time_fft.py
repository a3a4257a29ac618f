"""scipy.signal.ShortTimeFFT for arrays of any library."""

from __future__ import annotations

from functools import lru_cache
from types import GenericAlias
from typing import Any, Literal, get_args

import array_api_compat
import numpy as np

from .. import transforms, windows
from ..arguments import error, integer, number
from ..arrays import pad
from ..frames import bin_multiplicity, phase_ramp
from ._inputs import complex_floating, floating, is_complex, place_of
from ._segments import spectra
from ._slices import Slices

FFT_MODE_TYPE = Literal["twosided", "centered", "onesided", "onesided2X"]
PAD_TYPE = Literal["zeros", "edge", "even", "odd"]

Mode = str
Scaling = str | None


class ShortTimeFFT(Slices):
    """`scipy.signal.ShortTimeFFT`: the transform pair with a window, a hop, and scipy's counting of slices.

    Slice p is centred on sample p * hop; slices p_min to p_max(n) - 1 touch a signal of n samples. The inverse adds the
    slices up with the dual window, and divides by nothing.

    Parameters
    ----------
    win : real or complex array (m_num,)
        Window; complex windows need fft_mode "twosided" or "centered".
    hop : int
        Samples between slices.
    fs : float
        Sampling frequency.
    fft_mode : "onesided", "onesided2X", "twosided" or "centered"
        Which bins, and whether those that stand for two are doubled (in power).
    mfft : int, optional
        Samples of the FFT, at least m_num, the default.
    dual_win : array (m_num,), optional
        Window of the inverse; default the canonical dual.
    scale_to : None, "magnitude" or "psd"
        Scale of the window.
    phase_shift : int or None
        Phases are counted from the middle of the slice plus phase_shift; None: from its beginning.

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

    __class_getitem__: Any = classmethod(GenericAlias)

    def __init__(
        self,
        win: Any,
        hop: int,
        fs: float,
        *,
        fft_mode: Mode = "onesided",
        mfft: int | None = None,
        dual_win: Any = None,
        scale_to: Scaling = None,
        phase_shift: int | None = 0,
    ) -> None:
        win = _read_only(win)
        if not (win.ndim == 1 and win.size > 0):
            raise ValueError(f"Parameter win must be 1d, but win.shape={win.shape!r}!")
        if win.dtype.kind not in "fciu":
            raise TypeError(f"Parameter win must be of real or complex numbers, but win.dtype={win.dtype!r}!")
        if not np.isfinite(win).all():
            raise ValueError("Parameter win must have finite entries!")
        if not (isinstance(hop, (int, np.integer)) and hop >= 1) or hop is True:
            raise ValueError(f"Parameter hop={hop!r} is not an integer >= 1!")
        self._win, self._hop, self.fs = win, hop, fs
        self.mfft = win.size if mfft is None else mfft
        if dual_win is not None:
            dual_win = _read_only(dual_win)
            if dual_win.dtype.kind not in "fciu":
                got = f"dual_win.dtype={dual_win.dtype!r}"
                raise TypeError(f"Parameter dual_win must be of real or complex numbers, but {got}!")
            if dual_win.shape != win.shape:
                raise ValueError(f"dual_win.shape={dual_win.shape!r} must equal win.shape={win.shape!r}!")
            if not np.isfinite(dual_win).all():
                raise ValueError("Parameter dual_win must be a finite array!")
        self._dual_win = dual_win
        self._scaling: Scaling = None
        if scale_to is not None:
            self.scale_to(scale_to)
        self.fft_mode, self.phase_shift = fft_mode, phase_shift

    @classmethod
    def from_window(
        cls,
        win_param: Any,
        fs: float,
        nperseg: int,
        noverlap: int,
        *,
        symmetric_win: bool = False,
        fft_mode: Mode = "onesided",
        mfft: int | None = None,
        scale_to: Scaling = None,
        phase_shift: int | None = 0,
    ) -> ShortTimeFFT:
        """With a window of `scipy.signal.get_window`."""
        from scipy.signal import get_window  # slow to import

        win = get_window(win_param, nperseg, fftbins=not symmetric_win)
        return cls(
            win, nperseg - noverlap, fs, fft_mode=fft_mode, mfft=mfft, scale_to=scale_to, phase_shift=phase_shift
        )

    @classmethod
    def from_dual(
        cls,
        dual_win: Any,
        hop: int,
        fs: float,
        *,
        fft_mode: Mode = "onesided",
        mfft: int | None = None,
        scale_to: Scaling = None,
        phase_shift: int | None = 0,
    ) -> ShortTimeFFT:
        """With the window whose canonical dual is `dual_win`."""
        win = _canonical_dual(_read_only(dual_win), hop)
        return cls(
            win, hop, fs, fft_mode=fft_mode, mfft=mfft, dual_win=dual_win, scale_to=scale_to, phase_shift=phase_shift
        )

    @classmethod
    def from_win_equals_dual(
        cls,
        desired_win: Any,
        hop: int,
        fs: float,
        *,
        fft_mode: Mode = "onesided",
        mfft: int | None = None,
        scale_to: Scaling = None,
        phase_shift: int | None = 0,
    ) -> ShortTimeFFT:
        """With the tight window nearest to `desired_win`; scale_to="unitary" makes the transform unitary."""
        desired_win = _read_only(desired_win)
        if not (desired_win.ndim == 1 and desired_win.size > 0):
            raise ValueError(f"Parameter desired_win is not 1d, but desired_win.shape={desired_win.shape!r}!")
        if desired_win.dtype.kind not in "fc":
            got = f"desired_win.dtype={desired_win.dtype!r}"
            raise ValueError(f"Parameter desired_win cannot be of integer type, but {got} => cast to float | complex ")
        if not np.isfinite(desired_win).all():
            raise ValueError("Parameter desired_win must have finite entries!")
        if not (isinstance(hop, (int, np.integer)) and 1 <= hop <= desired_win.size):
            size = f"len(desired_win)={desired_win.size!r}"
            raise ValueError(f"Parameter hop={hop!r} is not an integer between 1 and {size}!")
        if scale_to not in ("magnitude", "psd", "unitary", None):
            raise ValueError(f"Parameter scale_to={scale_to!r} not in ['magnitude', 'psd', 'unitary', None]!")
        try:
            win = _designed(windows.tight_window, desired_win, hop)
        except windows.NOLAError as cause:
            raise ValueError(f"Parameter desired_win does not have valid STFT dual window for hop={hop!r}!") from cause
        factor = np.sqrt(desired_win.size if mfft is None else mfft) if scale_to == "unitary" else 1
        SFT = cls(
            win / factor, hop, fs, fft_mode=fft_mode, mfft=mfft, dual_win=win * factor, phase_shift=phase_shift,
            scale_to=None if scale_to == "unitary" else scale_to,
        )  # fmt: skip
        if scale_to == "unitary":
            SFT._scaling = scale_to
        return SFT

    # ---- parameters

    @property
    def win(self) -> np.ndarray:
        return self._win

    @property
    def hop(self) -> int:
        return self._hop

    @property
    def fs(self) -> float:
        return self._fs

    @fs.setter
    def fs(self, v: float) -> None:
        if not number("ShortTimeFFT", "fs", v) > 0:
            raise ValueError(f"Sampling frequency fs={v} must be positive!")
        self._fs = v

    @property
    def T(self) -> float:  # noqa: N802  scipy's name
        """Sampling interval."""
        return 1 / self._fs

    @T.setter
    def T(self, v: float) -> None:  # noqa: N802  scipy's name
        if not number("ShortTimeFFT", "T", v) > 0:
            raise ValueError(f"Sampling interval T={v} must be positive!")
        self._fs = 1 / v

    @property
    def mfft(self) -> int:
        return self._mfft

    @mfft.setter
    def mfft(self, n_: int) -> None:
        n_ = integer("ShortTimeFFT", "mfft", n_)
        if not n_ >= self.m_num:
            raise ValueError(f"Attribute mfft={n_} needs to be at least the window length m_num={self.m_num}!")
        self._mfft = n_

    @property
    def fft_mode(self) -> str:
        return self._fft_mode

    @fft_mode.setter
    def fft_mode(self, t: Mode) -> None:
        if t not in get_args(FFT_MODE_TYPE):
            raise ValueError(f"fft_mode='{t}' not in {get_args(FFT_MODE_TYPE)}!")
        if t in ("onesided", "onesided2X") and np.iscomplexobj(self.win):
            raise ValueError(f"One-sided spectra, i.e., fft_mode='{t}', are not allowed for complex-valued windows!")
        if t == "onesided2X" and self.scaling is None:
            hint = "Do scale_to('psd') or scale_to('magnitude')!"
            raise ValueError(f"For scaling is None, fft_mode='{t}' is invalid!{hint}")
        self._fft_mode = t

    @property
    def phase_shift(self) -> int | None:
        return self._phase_shift

    @phase_shift.setter
    def phase_shift(self, v: int | None) -> None:
        if v is True or v is False or not isinstance(v, (int, np.integer, type(None))):
            raise ValueError(f"phase_shift={v} has the unit samples. Hence it needs to be an int or it may be None!")
        if v is not None and not -self.mfft < v < self.mfft:
            raise ValueError(f"-mfft < phase_shift < mfft does not hold for mfft={self.mfft}, phase_shift={v}!")
        self._phase_shift = v

    @property
    def scaling(self) -> Scaling:
        return self._scaling

    def scale_to(self, scaling: str) -> None:
        """Scale the window, and the dual window against it."""
        if scaling not in ("magnitude", "psd"):
            raise ValueError(f"scaling={scaling!r} not in {'magnitude', 'psd'}!")
        if self._scaling == scaling:
            return
        factor = self.fac_psd if scaling == "psd" else self.fac_magnitude
        self._win = _read_only(self._win * factor)
        if self._dual_win is not None:
            self._dual_win = _read_only(self._dual_win / factor)
        self._scaling = scaling

    @property
    def fac_magnitude(self) -> float:
        """What a spectrum is multiplied by to be one of magnitudes."""
        return 1 if self.scaling == "magnitude" else 1 / abs(self.win.sum())

    @property
    def fac_psd(self) -> float:
        """What a spectrum is multiplied by to be the root of a power spectral density."""
        return 1 if self.scaling == "psd" else 1 / np.sqrt((np.abs(self.win) ** 2).sum() / self.T)

    @property
    def dual_win(self) -> np.ndarray:
        """Window of the inverse; ValueError where there is none."""
        if self._dual_win is None:
            self._dual_win = _canonical_dual(self.win, self.hop)
        return self._dual_win

    @property
    def invertible(self) -> bool:
        try:
            return self.dual_win.size > 0
        except ValueError:
            return False

    # ---- the transform pair

    def stft(
        self,
        x: Any,
        p0: int | None = None,
        p1: int | None = None,
        *,
        k_offset: int = 0,
        padding: str = "zeros",
        axis: int = -1,
    ) -> Any:
        """Slices [p0, p1) of x, by default all; `axis` becomes bins, and slices are the last axis."""
        return self.stft_detrend(x, None, p0, p1, k_offset=k_offset, padding=padding, axis=axis)

    def stft_detrend(
        self,
        x: Any,
        detr: Any,
        p0: int | None = None,
        p1: int | None = None,
        *,
        k_offset: int = 0,
        padding: str = "zeros",
        axis: int = -1,
    ) -> Any:
        """`stft` of slices that are detrended before they are windowed: "constant", "linear", a function or None."""
        x = floating("stft", "x", x)
        if self.onesided_fft and is_complex(x):
            hint = "Set property `fft_mode` to 'twosided' or 'centered'."
            raise ValueError(f"Complex-valued `x` not allowed for self.fft_mode={self.fft_mode!r}'! {hint}")
        if not (detr is None or isinstance(detr, str) or callable(detr)):
            raise ValueError(f"Parameter detr={detr!r} is not a str, function or None!")
        if padding not in get_args(PAD_TYPE):
            raise ValueError(f"Parameter padding={padding!r} not in {get_args(PAD_TYPE)}!")
        n = x.shape[place_of("stft", "axis", axis, len(x.shape))]
        k_offset = integer("stft", "k_offset", k_offset)
        least = self.m_num - self.m_num_mid
        if not n >= least:
            got = f"len(x)={n!r}" if len(x.shape) == 1 else f"of axis={axis!r} of {tuple(x.shape)}"
            raise ValueError(f"{got} must be >= ceil(m_num/2) = {least}!")
        p0, p1 = self.p_range(n, p0, p1)
        xp = array_api_compat.array_namespace(x)
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
            return spectra(x, window, self.hop, self.mfft, (before, after), detr, self.onesided_fft, self._bin_gain())

        win = self.win
        S = part(win) if not np.iscomplexobj(win) else part(win.real) - 1j * part(win.imag)  # x times conj(win)
        if self.fft_mode == "centered":
            S = xp.fft.fftshift(S, axes=-2)
        return xp.moveaxis(S, -2, axis if axis >= 0 else axis - 1)

    def spectrogram(
        self,
        x: Any,
        y: Any = None,
        detr: Any = None,
        *,
        p0: int | None = None,
        p1: int | None = None,
        k_offset: int = 0,
        padding: str = "zeros",
        axis: int = -1,
    ) -> Any:
        """Squared magnitudes of x's slices; with y, x's times the conjugate of y's."""
        kept: dict[str, Any] = dict(k_offset=k_offset, padding=padding, axis=axis)
        Sx = self.stft_detrend(x, detr, p0, p1, **kept)
        xp = array_api_compat.array_namespace(Sx)
        if y is None or y is x:
            return xp.real(Sx) ** 2 + xp.imag(Sx) ** 2
        y = floating("spectrogram", "y", y)
        if array_api_compat.array_namespace(y) is not xp:
            raise error(TypeError, "spectrogram", "y", f"the library of x ({type(x).__name__})", type(y).__name__)
        ours, theirs = (each.shape[axis] if -len(each.shape) <= axis < len(each.shape) else 0 for each in (x, y))
        if ours != theirs:
            raise error(ValueError, "spectrogram", "y", f"{ours} samples, as x", theirs)
        return Sx * xp.conj(self.stft_detrend(y, detr, p0, p1, **kept))

    def istft(self, S: Any, k0: int = 0, k1: int | None = None, *, f_axis: int = -2, t_axis: int = -1) -> Any:
        """Samples [k0, k1) of the signal whose slices, from p_min on, are S."""
        if f_axis == t_axis:
            raise ValueError(f"f_axis={f_axis!r} may not be equal to t_axis={t_axis!r}!")
        S = complex_floating("istft", "S", S)
        shape = tuple(S.shape)
        if len(shape) < 2:
            raise error(ValueError, "istft", "S", "at least 2 dimensions", f"shape {shape}")
        f_axis = place_of("istft", "f_axis", f_axis, len(shape))
        t_axis = place_of("istft", "t_axis", t_axis, len(shape))
        if f_axis == t_axis:
            raise error(ValueError, "istft", "t_axis", f"another axis than f_axis={f_axis}", t_axis)
        if shape[f_axis] != self.f_pts:
            got = f"S.shape[f_axis]={shape[f_axis]!r}"
            raise ValueError(f"{got} must be equal to self.f_pts={self.f_pts!r} (S.shape={shape!r})!")
        n_min = self.m_num - self.m_num_mid
        if not shape[t_axis] >= self.p_num(n_min):
            got = f"S.shape[t_axis]={shape[t_axis]!r}"
            raise ValueError(f"{got} needs to have at least {self.p_num(n_min)} slices (S.shape={shape!r})!")
        k_max = (shape[t_axis] + self.p_min - 1) * self.hop + self.m_num - self.m_num_mid
        k0, k1 = integer("istft", "k0", k0), k_max if k1 is None else integer("istft", "k1", k1)
        if not self.k_min <= k0 < k1 <= k_max:
            raise ValueError(f"({self.k_min=}) <= ({k0=}) < ({k1=}) <= ({k_max=}) is false!")
        if not k1 - k0 >= n_min:
            raise ValueError(f"({k1=}) - ({k0=}) = {k1 - k0} has to be at least the half the window length {n_min}!")
        xp = array_api_compat.array_namespace(S)
        S = xp.moveaxis(S, (f_axis, t_axis), (-2, -1))
        if self.fft_mode == "centered":
            S = xp.fft.ifftshift(S, axes=-2)

        def part(window: np.ndarray) -> Any:
            window = np.pad(window, (0, self.mfft - self.m_num))
            return transforms.istft(
                S, n_fft=self.mfft, hop_length=self.hop, window=window, normalize=False, bin_gain=self._bin_gain(),
                padding=(k0 - self.k_min, 0), length=k1 - k0, onesided=self.onesided_fft, real=self.onesided_fft,
            )  # fmt: skip

        dual = self.dual_win
        x = part(dual) if not np.iscomplexobj(dual) else part(dual.real) + 1j * part(dual.imag)
        return xp.moveaxis(x, -1, f_axis if f_axis < len(x.shape) else t_axis)

    def _bin_gain(self) -> np.ndarray | None:
        """What the bins are multiplied by: the turn of their phases, and the doubling of those that stand for two."""
        origin = 0 if self.phase_shift is None else (self.phase_shift + self.m_num_mid) % self.m_num
        power = 0 if self.fft_mode != "onesided2X" else 0.5 if self.scaling == "psd" else 1
        return _bin_gain(self.mfft, origin, self.onesided_fft, power)


def _read_only(samples: Any) -> np.ndarray:
    samples = np.array(samples)
    samples.flags.writeable = False
    return samples


def _designed(design: Any, win: np.ndarray, hop: int) -> np.ndarray:
    """design(win, hop) in win's precision; the phases of a complex window are no matter of its weight."""
    if not np.iscomplexobj(win):
        return _read_only(design(win, hop).astype(win.dtype))
    return _read_only((design(np.abs(win), hop) * np.exp(1j * np.angle(win))).astype(win.dtype))


def _canonical_dual(win: np.ndarray, hop: int) -> np.ndarray:
    if hop > win.size:
        raise ValueError(f"{hop=} is larger than window length of {win.size} => STFT not invertible!")
    if win.dtype.kind not in "fc":
        got = f"win.dtype={win.dtype!r}"
        raise ValueError(f"Parameter 'win' cannot be of integer type, but {got} => STFT not invertible!")
    try:
        return _designed(windows.dual_window, win, hop)
    except windows.NOLAError as cause:
        raise ValueError("Short-time Fourier Transform not invertible!") from cause


@lru_cache(maxsize=64)
def _bin_gain(mfft: int, origin: int, onesided: bool, power: float) -> np.ndarray | None:
    if not origin and not power:
        return None
    gain = phase_ramp(mfft, origin, onesided=onesided)
    return gain * bin_multiplicity(mfft) ** power if power else gain
