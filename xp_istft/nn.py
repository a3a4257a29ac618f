"""Modules of torch: the transform pair with windows and kernels that can be trained, an inverse that exports, and
Griffin-Lim for magnitudes.

They take nnAudio's parameters. Unless kernels are trained they run on the FFT and hold no matrix; what they compute
with is the window in float64, whatever precision the module has been moved to.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import phase_retrieval, plans, transforms
from .arguments import boolean, choice, error, integer, number
from .frames import Padding, Placement, bin_multiplicity
from .frequencies import scale_frequencies

__all__ = ["ISTFT", "STFT", "GriffinLim"]

_OUTPUT_FORMATS = ("complex", "pairs", "magnitude", "phase")


class _Transform(torch.nn.Module):
    """What both modules share: sizes, the window as buffer or Parameter, kernels where they are trained."""

    window: Tensor
    kernel_real: torch.nn.Parameter
    kernel_imag: torch.nn.Parameter

    def __init__(
        self,
        name: str,
        n_fft: int,
        win_length: int | None,
        freq_bins: int | None,
        hop_length: int | None,
        window: Any,
        freq_scale: str,
        fmin: float,
        fmax: float,
        sr: float,
        center: bool,
        padding: Padding,
        scaling: str | None,
        trainable_kernels: bool,
        trainable_window: bool,
        verbose: bool,
    ) -> None:
        super().__init__()
        chosen = _layout(name, n_fft, hop_length, win_length, window)
        self.frequencies = scale_frequencies(name, chosen.n_fft, freq_bins, freq_scale, fmin, fmax, sr)
        Placement.of(name, chosen.n_fft, chosen.hop, chosen.win_length, center, padding)
        choice(name, "scaling", scaling, plans.SCALINGS)
        self.n_fft, self.hop_length, self.win_length = chosen.n_fft, chosen.hop, chosen.win_length
        self.center, self.padding, self.scaling = boolean(name, "center", center), padding, scaling
        self.trainable_kernels = boolean(name, "trainable_kernels", trainable_kernels)
        self.trainable_window = boolean(name, "trainable_window", trainable_window)
        self._hold("window", _samples(name, "window", chosen), self.trainable_window)
        if boolean(name, "verbose", verbose):
            print(f"{name}: {self.extra_repr()}")

    def _hold(self, name: str, samples: np.ndarray, trainable: bool = False, persistent: bool = True) -> None:
        """`samples` as a Parameter, or as a buffer whose exact values stay beside it."""
        tensor = torch.asarray(samples.copy(), dtype=torch.get_default_dtype())
        if trainable:
            setattr(self, name, torch.nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor, persistent)
            self._exact = {**self._exact, name: samples}

    def _train_kernels(self, bases: tuple[np.ndarray, np.ndarray]) -> None:
        for name, basis in zip(("kernel_real", "kernel_imag"), bases, strict=True):
            self._hold(name, basis, trainable=True)

    def _bins(self) -> dict[str, Any]:
        """What stft and istft are told of bins that are not those of the DFT: their trained basis, or the scale."""
        if self.frequencies is None:
            return {}
        if not self.trainable_kernels:
            return {"frequencies": self.frequencies}
        return {"frequencies": torch.complex(self.kernel_real, self.kernel_imag)}

    def _inverse_bins(self) -> dict[str, Any]:
        """The same for istft: a trained basis keeps the weights of the scale that it began with."""
        bins = self._bins()
        if self.frequencies is not None and self.trainable_kernels:
            bins["weights"] = self.frequencies.density(self.n_fft)
        return bins

    def _precisely(self, array: Any) -> AbstractContextManager[Any]:
        """The products of other bins than those of the DFT keep their precision under autocast."""
        return nullcontext() if self.frequencies is None else _full_precision(array)

    def _held(self, name: str) -> Any:
        """What to compute with: the Parameter, or the exact values of the buffer."""
        return self._exact.get(name, getattr(self, name, None))

    _exact: dict[str, np.ndarray] = {}  # noqa: RUF012  replaced, never changed

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move and cast; buffers are cast from their exact values, so that no precision is lost on the way."""
        super()._apply(fn, recurse)
        for name, samples in self._exact.items():
            buffer = self._buffers[name]
            if buffer is not None and not buffer.is_meta:
                self._buffers[name] = torch.asarray(samples.copy(), dtype=torch.float64).to(buffer)
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        for name, samples in self._exact.items():
            loaded = state_dict.get(prefix + name)
            if loaded is None or loaded.shape != samples.shape:
                continue
            loaded = loaded.detach().cpu()
            if not torch.equal(torch.asarray(samples.copy()).to(loaded.dtype), loaded):
                self._exact = {**self._exact, name: loaded.double().numpy().copy()}

    def extra_repr(self) -> str:
        bins = "" if self.frequencies is None else f"{self.frequencies}, "
        return (
            f"{bins}n_fft={self.n_fft}, hop_length={self.hop_length}, win_length={self.win_length}, "
            f"center={self.center}, trainable_window={self.trainable_window}, "
            f"trainable_kernels={self.trainable_kernels}"
        )

    def _placed(self) -> dict[str, Any]:
        return {
            "hop_length": self.hop_length,
            "win_length": self.win_length,
            "center": self.center,
            "padding": self.padding,
        }


class ISTFT(_Transform):
    """Inverse short-time Fourier transform as a module.

    Parameters
    ----------
    n_fft : int
        Samples of a frame; any size.
    win_length : int, optional
        Samples of the window, in the middle of the frame; default n_fft, or the size of a window array.
    freq_bins : int, optional
        Bins, by default n_fft // 2 + 1; for freq_scale="no" the first of those of the DFT, or n_fft of a two-sided
        spectrum.
    hop_length : int, optional
        Samples between the starts of neighbouring frames; default win_length // 4.
    window : str, tuple, callable or real array (win_length,)
        Analysis window, as in `xp_istft.istft`.
    freq_scale : "no", "linear", "log" or "log2"
        Spacing of the bins: those of the DFT, or those of `xp_istft.linear_frequencies` or `log_frequencies`, whose
        inverse is the least-squares solution of `xp_istft.istft` with frequencies=.
    center : bool
        Frame m is centred on sample m * hop_length; else it starts there.
    fmin, fmax, sr : float
        Frequency of the first bin, that after the last, and the sampling rate, in Hz; without effect for
        freq_scale="no", as in nnAudio.
    trainable_kernels : bool
        With another scale the basis of the *analysis* is Parameters ``kernel_real`` and ``kernel_imag``
        (n_bins, n_fft), which the inverse solves for, with gradients through the solution. With freq_scale="no" the
        bases of the inverse are Parameters ``kernel_real`` and ``kernel_imag`` (n_bins, n_fft), frames are
        ``X.real.T @ kernel_real + X.imag.T @ kernel_imag``, for one-sided spectra. Else there is no matrix.
    trainable_window : bool
        The window is a Parameter; it counts as analysis and (without `synthesis_window`) as synthesis window, and
        the normalisation follows it.
    verbose : bool
        Print one line about the module.
    refresh_win : bool
        Accepted for nnAudio's sake: the normalisation always belongs to the spectrum at hand.
    synthesis_window : like `window`, optional
        Window of the inverse; default the analysis window.
    trainable_synthesis_window : bool
        The synthesis window is a Parameter of its own.
    padding, scaling, nola, max_gain
        As in `xp_istft.istft`.
    export : bool
        Compute with real numbers alone, by one matrix product and reshapes (no complex numbers, no FFT, no scatter),
        so that `torch.onnx.export(..., dynamo=True)` takes the module, also with a dynamic number of frames. It
        takes pairs (..., n_bins, n_frames, 2); nothing is trainable, and nothing is judged: samples under no window
        weight are 0.

    Attributes
    ----------
    window : Parameter or buffer (win_length,)
        A buffer moves and casts with the module; what is computed with stays exact.

    Raises
    ------
    ValueError, TypeError
        As `xp_istft.istft`; the text names the parameter.

    Examples
    --------
    >>> import torch, xp_istft as xi
    >>> from xp_istft.nn import ISTFT
    >>> x = torch.randn(3, 4096)
    >>> inverse = ISTFT(n_fft=512, trainable_window=True)
    >>> y = inverse(xi.stft(x, n_fft=512), length=4096)
    >>> bool((y - x).abs().max() < 1e-5), [name for name, _ in inverse.named_parameters()]
    (True, ['window'])
    """

    synthesis_window: Tensor | None
    basis: Tensor
    envelope: Tensor

    def __init__(
        self,
        n_fft: int = 2048,
        win_length: int | None = None,
        freq_bins: int | None = None,
        hop_length: int | None = None,
        window: Any = "hann",
        freq_scale: str = "no",
        center: bool = True,
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable_kernels: bool = False,
        trainable_window: bool = False,
        verbose: bool = False,
        refresh_win: bool = True,
        *,
        synthesis_window: Any = None,
        trainable_synthesis_window: bool = False,
        padding: Padding = None,
        scaling: str | None = None,
        nola: str = "warn",
        max_gain: float | None = None,
        export: bool = False,
    ) -> None:
        super().__init__(
            "ISTFT", n_fft, win_length, freq_bins, hop_length, window, freq_scale, fmin, fmax, sr, center, padding,
            scaling, trainable_kernels, trainable_window, verbose,
        )  # fmt: skip
        boolean("ISTFT", "refresh_win", refresh_win)
        self.nola = choice("ISTFT", "nola", nola, ("warn", "raise", "zero"))
        self.max_gain = None if max_gain is None else number("ISTFT", "max_gain", max_gain, 1)
        self.trainable_synthesis_window = boolean("ISTFT", "trainable_synthesis_window", trainable_synthesis_window)
        self.export = boolean("ISTFT", "export", export)
        if synthesis_window is None and not self.trainable_synthesis_window:
            self.register_buffer("synthesis_window", None)
        else:
            given = window if synthesis_window is None else synthesis_window
            sizes = _layout("ISTFT", self.n_fft, self.hop_length, self.win_length, "boxcar")
            key = plans.read_window("ISTFT", "synthesis_window", _on_host(given), self.win_length, None)
            samples = _samples("ISTFT", "synthesis_window", sizes._replace(window=key))
            self._hold("synthesis_window", samples, self.trainable_synthesis_window)
        if self.frequencies is not None:
            for name, value in (("export", self.export), ("trainable_synthesis_window", trainable_synthesis_window)):
                if value:
                    raise error(ValueError, "ISTFT", name, f"False with freq_scale={freq_scale!r}", True)
            if synthesis_window is not None:
                got = "a window"
                raise error(ValueError, "ISTFT", "synthesis_window", f"None with freq_scale={freq_scale!r}", got)
        if self.export:
            for name in ("trainable_kernels", "trainable_window", "trainable_synthesis_window"):
                if getattr(self, name):
                    raise error(ValueError, "ISTFT", name, "False with export=True", True)
            if max_gain is not None:
                raise error(ValueError, "ISTFT", "max_gain", "None with export=True", max_gain)
            self._hold_exported()
        elif self.trainable_kernels:
            scale = self.frequencies
            self._train_kernels(_inverse_basis(self.n_fft) if scale is None else _parts(scale.basis(self.n_fft)))

    def forward(
        self, X: Tensor, onesided: bool | None = None, length: int | None = None, refresh_win: bool | None = None
    ) -> Tensor:
        """Signal of a spectrum.

        Parameters
        ----------
        X : complex (..., n_bins, n_frames), or real (..., n_bins, n_frames, 2) pairs
            Spectrum.
        onesided : bool, optional
            Whether X has n_fft // 2 + 1 bins (else n_fft); by default its number of bins tells.
        length : int, optional
            Samples of the result; default those that belong to the frames.
        refresh_win : bool, optional
            Without effect.

        Returns
        -------
        real (..., n_samples)
        """
        if refresh_win is not None:
            boolean("ISTFT", "refresh_win", refresh_win)
        if self.export:
            return self._exported(X, length)
        narrow = X.dtype if isinstance(X, Tensor) and X.dtype in _HALVES else None
        X = _complex("ISTFT", X)
        if self.frequencies is not None:
            onesided = True
        elif onesided is None:
            onesided = X.ndim < 2 or bool(X.shape[-2] == self.n_fft // 2 + 1 or X.shape[-2] != self.n_fft)
        if self.trainable_kernels and self.frequencies is None:
            if not onesided:
                raise error(ValueError, "ISTFT", "onesided", "True with trainable_kernels=True", False)
            X = self._by_kernels(X)
        with self._precisely(X):
            signal = transforms.istft(
                X,
                n_fft=self.n_fft,
                window=self._held("window"),
                synthesis_window=self._held("synthesis_window"),
                length=length,
                onesided=onesided,
                scaling=self.scaling,
                nola=self.nola,
                max_gain=self.max_gain,
                **self._inverse_bins(),
                **self._placed(),
            )
        return signal if narrow is None else signal.to(narrow)

    def _by_kernels(self, X: Tensor) -> Tensor:
        """The spectrum whose FFT inverse makes the frames that the trained kernels make of X."""
        if X.ndim < 2 or X.shape[-2] != self.n_fft // 2 + 1:
            need = f"(..., {self.n_fft // 2 + 1}, n_frames) for n_fft={self.n_fft}"
            raise error(ValueError, "ISTFT", "X", need, f"shape {tuple(X.shape)}")
        with _full_precision(X):
            real, imag = (kernel.to(X.real.dtype) for kernel in (self.kernel_real, self.kernel_imag))
            return torch.fft.rfft(real.mT @ X.real + imag.mT @ X.imag, dim=-2)

    def _hold_exported(self) -> None:
        """The constants of the exported inverse: a basis (n_fft, 2 n_bins) that holds the window, and one envelope."""
        chosen = _layout("ISTFT", self.n_fft, self.hop_length, self.win_length, self._exact["window"])
        given = self._exact.get("synthesis_window", self._exact["window"])
        synthesis = _layout("ISTFT", self.n_fft, self.hop_length, self.win_length, given)
        rows = -(-self.n_fft // self.hop_length)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            job = plans.inverse(
                chosen, synthesis.window, 4 * rows, self.center, plans.read_padding("ISTFT", self.padding), None, True,
                True, self.scaling, self.nola, None, "float32",
            ).job  # fmt: skip
        pair = [layout.samples("ISTFT", "window", layout.window) for layout in (chosen, synthesis)]
        envelope = np.zeros(rows * self.hop_length)
        envelope[: self.n_fft] = np.prod([samples / np.abs(samples).max() for samples in pair], axis=0)
        real, imag = _inverse_basis(self.n_fft)
        # the pairs of a bin lie side by side: (bins, 2) is one axis of the product
        basis = np.stack([real, imag], axis=1).reshape(-1, self.n_fft).T * np.asarray(job.window)[:, None]
        self._hold("basis", basis, persistent=False)
        self._hold("envelope", envelope, persistent=False)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if self.export:
            self._hold_exported()
            self.to(self.window)

    def _exported(self, X: Tensor, length: int | None) -> Tensor:
        if X.is_complex():
            X = torch.view_as_real(X)
        n_bins = self.n_fft // 2 + 1
        if X.ndim < 3 or X.shape[-1] != 2 or X.shape[-3] != n_bins:
            need = f"pairs (..., {n_bins}, n_frames, 2) for n_fft={self.n_fft}"
            raise error(ValueError, "ISTFT", "X", need, f"shape {tuple(X.shape)}")
        n_frames = X.shape[-2]
        basis, envelope = self.basis.to(X.dtype), self.envelope.to(X.dtype)
        rows, hop = -(-self.n_fft // self.hop_length), self.hop_length
        pairs = X.movedim(-2, -3).flatten(-2)  # (..., n_frames, 2 n_bins)
        segments = torch.nn.functional.pad(pairs @ basis.mT, (0, rows * hop - self.n_fft))
        signal = _overlap_added(segments, rows, hop)
        weights = _overlap_added(envelope.expand(n_frames, -1), rows, hop)
        covered = weights.abs() > torch.finfo(X.dtype).eps ** 2 * weights.abs().amax(0)
        signal = torch.where(covered, signal / torch.where(covered, weights, torch.ones_like(weights)), 0.0)
        placement = Placement.of("ISTFT", self.n_fft, hop, self.win_length, self.center, self.padding)
        signal = signal[..., placement.left :]
        if length is not None:
            return torch.nn.functional.pad(signal, (0, integer("ISTFT", "length", length, 1)))[..., :length]
        after = rows * hop - self.n_fft + placement.right  # samples of the last whole hop that belong to no signal
        return signal[..., :-after] if after else signal


class STFT(_Transform):
    """Short-time Fourier transform as a module.

    Parameters
    ----------
    n_fft, win_length, freq_bins, hop_length, window, freq_scale, center, fmin, fmax, sr, verbose, padding, scaling
        As in `ISTFT`.
    trainable_kernels, trainable_window
        As in `ISTFT`. Trained kernels are Parameters ``kernel_real`` and ``kernel_imag`` (n_bins, n_fft) that are
        multiplied with the windowed frames.
    pad_mode : str
        What stands before and after the signal, as in `xp_istft.stft`; nnAudio's default "reflect".
    iSTFT : bool
        Accepted for nnAudio's sake: `inverse` is always there.
    output_format : "complex", "pairs", "magnitude" or "phase"
        Complex numbers, (..., 2) pairs of real and imaginary part, the magnitude, or the angle in radians.

    Examples
    --------
    >>> import torch
    >>> from xp_istft.nn import STFT
    >>> forward = STFT(n_fft=512)
    >>> x = torch.randn(2, 3, 4096)
    >>> X = forward(x)
    >>> X.shape, bool((forward.inverse(X, length=4096) - x).abs().max() < 1e-5)
    (torch.Size([2, 3, 257, 33]), True)
    """

    def __init__(
        self,
        n_fft: int = 2048,
        win_length: int | None = None,
        freq_bins: int | None = None,
        hop_length: int | None = None,
        window: Any = "hann",
        freq_scale: str = "no",
        center: bool = True,
        pad_mode: str = "reflect",
        iSTFT: bool = False,
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable_kernels: bool = False,
        trainable_window: bool = False,
        output_format: str = "complex",
        verbose: bool = False,
        *,
        padding: Padding = None,
        scaling: str | None = None,
    ) -> None:
        super().__init__(
            "STFT", n_fft, win_length, freq_bins, hop_length, window, freq_scale, fmin, fmax, sr, center, padding,
            scaling, trainable_kernels, trainable_window, verbose,
        )  # fmt: skip
        boolean("STFT", "iSTFT", iSTFT)
        self.pad_mode = pad_mode
        self.output_format = choice("STFT", "output_format", output_format, _OUTPUT_FORMATS)
        if self.trainable_kernels:
            scale = self.frequencies
            self._train_kernels(_forward_basis(self.n_fft) if scale is None else _parts(scale.basis(self.n_fft)))

    def forward(self, x: Tensor, output_format: str | None = None) -> Tensor:
        """Spectrum of a signal.

        Parameters
        ----------
        x : real (..., n_samples)
            Signal.
        output_format : str, optional
            In place of the module's own.

        Returns
        -------
        complex (..., n_bins, n_frames), or real: pairs (..., n_bins, n_frames, 2), magnitudes or phases
        """
        output = self.output_format
        if output_format is not None:
            output = choice("STFT", "output_format", output_format, _OUTPUT_FORMATS)
        options = {**self._placed(), "window": self._held("window"), "scaling": self.scaling, "pad_mode": self.pad_mode}
        if self.frequencies is not None:
            options.update(self._bins())
        if output == "complex" and not self.trainable_kernels:
            return transforms.stft(x, self.n_fft, **options)
        narrow = x.dtype if isinstance(x, Tensor) and x.dtype in _HALVES else None
        with self._precisely(x):
            X = transforms.stft(x if narrow is None else x.float(), self.n_fft, **options)
        if self.trainable_kernels and self.frequencies is None:
            with _full_precision(X):
                segments = torch.fft.irfft(X, self.n_fft, dim=-2)
                real, imag = (kernel.to(segments.dtype) for kernel in (self.kernel_real, self.kernel_imag))
                X = torch.complex(real @ segments, imag @ segments)
        if output == "complex":
            return X.to(torch.complex32) if narrow is torch.float16 else X
        result = torch.view_as_real(X) if output == "pairs" else X.abs() if output == "magnitude" else X.angle()
        return result if narrow is None else result.to(narrow)

    def inverse(
        self, X: Tensor, onesided: bool = True, length: int | None = None, refresh_win: bool | None = None
    ) -> Tensor:
        """Signal of a spectrum, by this module's window.

        For freq_scale="no" the FFT inverse, also where kernels are trained; for other scales the solution for the
        kernels as they are.
        """
        narrow = X.dtype if isinstance(X, Tensor) and X.dtype in _HALVES else None
        X = _complex("STFT", X)
        with self._precisely(X):
            signal = transforms.istft(
                X,
                n_fft=self.n_fft,
                onesided=onesided or self.frequencies is not None,
                length=length,
                window=self._held("window"),
                scaling=self.scaling,
                **self._inverse_bins(),
                **self._placed(),
            )
        return signal if narrow is None else signal.to(narrow)


class GriffinLim(_Transform):
    """Signal of magnitudes: `xp_istft.griffin_lim` with nnAudio's parameters and defaults, differentiable.

    By default the fast Griffin-Lim algorithm from random phases (Perraudin, Balazs & Sondergaard, WASPAA 2013), as
    librosa and nnAudio have it; algorithm="hybrid" with init="pghi" converges further.

    Parameters
    ----------
    n_fft, hop_length, win_length, window, center
        As in `ISTFT`.
    n_iter : int
        Iterations; 0 inverts the magnitudes with the phases at the start.
    pad_mode : str
        What stands before and after the signal, as in `xp_istft.stft`.
    momentum : float
        At least 0; close to 1 is fast.
    device : torch.device or str, optional
        Where the module's buffer lies; what is computed lies where the magnitudes do.
    padding, scaling
        As in `xp_istft.istft`.
    algorithm : "fgla", "gla", "hybrid", "raar" or "admm"
        As in `xp_istft.griffin_lim`.
    init : "random", "pghi" or "zero"
        Phases at the start, where `forward` is given none. Gradients are not followed through those of "pghi".

    Examples
    --------
    >>> import torch, xp_istft as xi
    >>> from xp_istft.nn import GriffinLim
    >>> t = torch.arange(8000) / 8000
    >>> S = xi.stft(torch.sin(2 * torch.pi * 440 * t), 512).abs()
    >>> y = GriffinLim(512)(S, length=8000, generator=torch.Generator().manual_seed(0))
    >>> y.shape, bool((xi.stft(y, 512).abs() - S).norm() < 0.2 * S.norm())
    (torch.Size([8000]), True)
    """

    def __init__(
        self,
        n_fft: int = 2048,
        n_iter: int = 32,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        pad_mode: str = "reflect",
        momentum: float = 0.99,
        device: Any = None,
        *,
        padding: Padding = None,
        scaling: str | None = None,
        algorithm: str = "fgla",
        init: str = "random",
    ) -> None:
        super().__init__(
            "GriffinLim", n_fft, win_length, None, hop_length, window, "no", 50, 6000, 22050, center, padding,
            scaling, False, False, False,
        )  # fmt: skip
        self.n_iter = integer("GriffinLim", "n_iter", n_iter, 0)
        self.momentum = number("GriffinLim", "momentum", momentum, 0)
        self.pad_mode = pad_mode
        self.algorithm = choice("GriffinLim", "algorithm", algorithm, phase_retrieval.ALGORITHMS)
        self.init = choice("GriffinLim", "init", init, phase_retrieval.STARTS)
        if device is not None:
            self.to(device)

    def forward(
        self,
        S: Tensor,
        length: int | None = None,
        phase: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Signal whose magnitudes are near to S.

        Parameters
        ----------
        S : real (..., n_bins, n_frames)
            Magnitudes, not negative.
        length : int, optional
            Samples of the result; default those that belong to the frames.
        phase : real (..., n_bins, n_frames), optional
            Phases at the start in radians; by default those of `init`.
        generator : torch.Generator, optional
            Of the random phases.

        Returns
        -------
        real (..., n_samples)
            In the precision of S; what is computed is at least in float32.
        """
        if not isinstance(S, Tensor) or not S.is_floating_point():
            got = S.dtype if isinstance(S, Tensor) else type(S).__name__
            raise error(TypeError, "GriffinLim", "S", "a real floating torch tensor", got)
        kind = torch.float32 if S.dtype in _HALVES else S.dtype
        start: Any = self.init if phase is None else phase.to(kind)
        if phase is None and self.init == "random":
            start = 2 * torch.pi * torch.rand(S.shape, dtype=kind, device=S.device, generator=generator)
        elif phase is not None and phase.shape != S.shape:
            raise error(ValueError, "GriffinLim", "phase", f"shape {tuple(S.shape)}", f"{tuple(phase.shape)}")
        return phase_retrieval.griffin_lim(
            S,
            n_fft=self.n_fft,
            window=self._held("window"),
            pad_mode=self.pad_mode,
            scaling=self.scaling,
            length=length,
            n_iter=self.n_iter,
            algorithm=self.algorithm,
            momentum=self.momentum,
            init=start,
            nola="zero",
            **self._placed(),
        )


_HALVES = (torch.float16, torch.bfloat16)


def _layout(name: str, n_fft: Any, hop_length: Any, win_length: Any, window: Any) -> plans.Layout:
    return plans.layout(name, n_fft, hop_length, win_length, _on_host(window), None)


def _on_host(window: Any) -> Any:
    return window.detach().cpu().double().numpy() if isinstance(window, Tensor) else window


def _samples(function: str, name: str, chosen: plans.Layout) -> np.ndarray:
    """The window of a layout, float64 (win_length,)."""
    left = (chosen.n_fft - chosen.win_length) // 2
    return chosen.samples(function, name, chosen.window)[left : left + chosen.win_length].copy()


def _full_precision(array: Tensor) -> AbstractContextManager[Any]:
    """Products of kernels keep their precision under autocast."""
    device = array.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _complex(name: str, X: Any) -> Tensor:
    """Complex numbers, of pairs if need be; half precision pairs in float32."""
    if not isinstance(X, Tensor):
        raise error(TypeError, name, "X", "a torch tensor", type(X).__name__)
    if X.is_complex():
        return X
    if X.ndim < 3 or X.shape[-1] != 2 or not X.is_floating_point():
        need = "complex (..., n_bins, n_frames) or real (..., n_bins, n_frames, 2)"
        raise error(TypeError, name, "X", need, f"{X.dtype} of shape {tuple(X.shape)}")
    X = X if X.dtype in (torch.float32, torch.float64) else X.float()
    return torch.view_as_complex(X) if X.is_contiguous() else torch.complex(X[..., 0], X[..., 1])


def _overlap_added(segments: Tensor, rows: int, hop: int) -> Tensor:
    """(..., n_frames, rows * hop) -> (..., (n_frames + rows - 1) * hop), frames added by shifted sums of whole hops."""
    pieces = segments.unflatten(-1, (rows, hop))
    pad = torch.nn.functional.pad
    total = sum(pad(pieces[..., row, :], (0, 0, row, rows - 1 - row)) for row in reversed(range(rows)))
    return total.flatten(-2)  # type: ignore[union-attr]


def _parts(basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return basis.real, basis.imag


def _forward_basis(n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts of exp(-2 pi i k n / n_fft), (n_bins, n_fft) of exactly reduced angles."""
    turns = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft
    angles = 2 * np.pi / n_fft * turns
    return np.cos(angles), -np.sin(angles)


def _inverse_basis(n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """What real and imaginary parts of a one-sided spectrum are multiplied with to make a frame, (n_bins, n_fft)."""
    weight = bin_multiplicity(n_fft)[:, None] / n_fft
    real, imag = _forward_basis(n_fft)
    imag[weight[:, 0] * n_fft == 1] = 0  # the imaginary parts of DC and Nyquist count nothing
    return real * weight, imag * weight
