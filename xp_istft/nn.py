"""Modules of torch: the transform pair with windows and kernels that can be trained, an inverse that exports, and
Griffin-Lim for magnitudes.

Each takes a transform. Unless kernels are trained they run on the FFT and hold no matrix. What they compute with is the
window that they show; while that is the transform's, rounded, the transform's own in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.autograd import forward_ad
from torch.fx import Proxy
from torch.utils._python_dispatch import _disable_current_modes

from . import onnx
from .arguments import TRANSPARENT, boolean, choice, error, hinted, integer, not_scripted, number, positive, shown
from .arrays import LAST_TWO
from .backends.torch import BACKEND
from .backends.torch.graphs import check_not_traced, one_step
from .backends.torch.lending import followed
from .bands import Mel, read_bank
from .frequencies.grids import Frequencies
from .phase.algorithms import NAMED, Algorithm
from .phase.retrieval import STARTS, griffin_lim
from .transform import STFT as Transform  # noqa: N811
from .transform import forward, inverse, read_length

__all__ = ["ISTFT", "STFT", "GriffinLim"]

TRANSPARENT.add(torch.nn.modules.module.__file__)  # warnings name the line that called the module

_WINDOWS = ("window", "synthesis_window")
_HALVES = (torch.float16, torch.bfloat16)
_AS_IT_IS = nullcontext()
_OUTPUT_FORMATS = ("complex", "pairs", "magnitude", "phase")


class _Module(torch.nn.Module):
    """What the modules share: a transform, its window as buffer or Parameter, kernels where they are trained."""

    window: Tensor
    synthesis_window: Tensor | None
    kernel_real: Tensor
    kernel_imag: Tensor
    basis: Tensor
    trainable_kernels = trainable_synthesis_window = _has_synthesis_window = export = False
    _held_for_export: tuple[str, ...] = ("basis",)

    def __init__(self, transform: Transform, trainable_window: bool = False) -> None:
        super().__init__()
        # the windows held, whatever a tracer puts in their place
        self._noted: dict[str, tuple[Tensor | None, Any]] = {}
        self._changes = 0  # of what is noted: graphs hold for one number of them
        self.function = type(self).__name__  # that errors name
        if not isinstance(transform, Transform):
            raise error(TypeError, self.function, "transform", "an xp_istft.STFT", type(transform).__name__)
        self.transform = _on_host(transform)
        self.trainable_window = boolean(self.function, "trainable_window", trainable_window)
        self._hold("window", self._samples("window"), self.trainable_window)

    def __prepare_scriptable__(self) -> None:
        raise not_scripted(self.function)

    # ---- what is held

    def _hold(self, name: str, samples: np.ndarray, trainable: bool = False, persistent: bool = True) -> None:
        """`samples` as a Parameter or buffer in torch's default precision."""
        tensor = torch.tensor(samples, dtype=torch.get_default_dtype())
        if trainable:
            setattr(self, name, torch.nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor, persistent)

    def _samples(self, name: str) -> np.ndarray:
        """A window of the transform, float64 (win_length,)."""
        return _samples(self.transform, name)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        super().register_buffer(name, tensor, persistent)
        self._note(name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self._note(name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for name, (tensor, _) in self._noted.items():
            self._note(name, tensor is not None and _is_as_noted(self, name, self._changes))

    def _note(self, name: str, exact: bool = False) -> None:
        """Remember a window that is held, and, where it is exact, what tells on a device that it still is."""
        if name in _WINDOWS and name in self._buffers:
            tensor = self._buffers[name]
            self._noted[name] = tensor, _mark(tensor) if exact else None
            self._changes += 1
            if tensor is None and self.transform.synthesis_window is not None:
                self.transform = replace(self.transform, synthesis_window=None)

    def _exact(self) -> dict[str, np.ndarray]:
        """The exact values of the buffers that are their rounding, and of what all windows make for an export."""
        held = [name for name in _WINDOWS if self._buffers.get(name) is not None]
        exact = {name: self._samples(name) for name in held if self._is_exact(name, self._buffers[name])}  # type: ignore[arg-type]
        if "basis" in self._buffers and len(exact) == len(held):
            return {**exact, **self._constants(self.transform)}
        return exact

    def _is_exact(self, name: str, tensor: Tensor) -> bool:
        """Whether a window is the transform's own, rounded, and nothing follows it; never waits for a device."""
        if torch.compiler.is_compiling():
            own = tensor is self._noted[name][0] or isinstance(tensor, FakeTensor)
            return own and not tensor.requires_grad and _is_as_noted(self, name, self._changes)
        if (tensor.requires_grad and torch.is_grad_enabled()) or _has_tangent(tensor):
            return False
        if tensor.is_cpu and _at_hand(tensor):
            return _is_rounded(self.transform, name, tensor)
        noted, mark = self._noted.get(name, (None, None))
        if isinstance(tensor, FakeTensor) or (tensor is noted and not _at_hand(tensor)):
            return _is_as_noted(self, name, self._changes)
        return tensor.is_meta or (tensor is noted and _mark(tensor) == mark)

    def _standing_in(self, name: str) -> Tensor | None:
        """A window that is trained, or is not the transform's any more; None where the transform has it, exactly."""
        buffers = self._buffers  # looked up here first: an attribute that a module lacks takes 2 us
        tensor = buffers[name] if name in buffers else getattr(self, name)
        return None if tensor is None or self._is_exact(name, tensor) else tensor

    # ---- with export=True

    def _export(self, export: bool) -> None:
        """With `export`, hold what real arithmetic needs."""
        self.export = boolean(self.function, "export", export)
        if not self.export:
            return
        for name in ("trainable_kernels", "trainable_window", "trainable_synthesis_window"):
            if getattr(self, name):
                raise error(ValueError, self.function, name, "False with export=True", True)
        onnx.check(self.function, self.transform)
        self._hold_exported()

    def _hold_exported(self) -> None:
        for name, values in self._constants(self.transform).items():
            self._hold(name, values, persistent=False)

    def _constants(self, transform: Transform) -> dict[str, np.ndarray]:
        """What real arithmetic multiplies with, `basis` among it."""
        raise NotImplementedError

    def _shown_constants(self) -> list[Tensor]:
        """The constants, of the windows that are shown."""
        shown = [self._standing_in(name) for name in _WINDOWS[: 1 + self._has_synthesis_window]]
        if all(each is None for each in shown):
            return [getattr(self, name) for name in self._held_for_export]
        if torch.compiler.is_compiling() or any(each is not None and followed(each) for each in shown):
            need = "that of the transform, with export=True, in what is traced or followed by gradients"
            raise error(ValueError, self.function, "window", need, "another", "give the transform that window")
        made = self._constants(_on_host(_with(self.transform, *shown, *[None] * (2 - len(shown)))))
        return [torch.tensor(values).to(self.basis) for values in made.values()]

    def _train_kernels(self, trainable: bool, basis_of: Callable[[int, bool], tuple[np.ndarray, np.ndarray]]) -> None:
        """Kernels that begin as basis_of(n_fft, onesided) for the bins of the DFT, or as the basis of other bins."""
        transform = self.transform
        self.trainable_kernels = boolean(self.function, "trainable_kernels", trainable)
        if not self.trainable_kernels:
            return
        if transform.bins is not None:
            bins = transform.bins
            samples = bins.basis(transform.n_fft) if isinstance(bins, Frequencies) else bins.samples
            basis = samples.real, samples.imag
        else:
            basis = basis_of(transform.n_fft, transform.onesided)
        self._hold_kernels(*basis)

    def _hold_kernels(self, real: np.ndarray, imag: np.ndarray) -> None:
        self._hold("kernel_real", real, trainable=True)
        self._hold("kernel_imag", imag, trainable=True)

    def _trained(self) -> tuple[Tensor | None, ...]:
        """What stands in for parts of the transform, as `_with` takes it."""
        window = self.window if self.trainable_window else self._standing_in("window")
        synthesis_window = None
        if self.trainable_synthesis_window:
            synthesis_window = self.synthesis_window
        elif self._has_synthesis_window:
            synthesis_window = self._standing_in("synthesis_window")
        windows = window, synthesis_window
        if self.trainable_kernels and self.transform.bins is not None:
            return *windows, self.kernel_real, self.kernel_imag
        return windows

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move and cast; buffers that are exact are cast from that, so that no precision is lost on the way."""
        exact = self._exact()
        super()._apply(fn, recurse)
        for name in _WINDOWS:
            self._note(name)
        for name, samples in exact.items():
            self._renew(name, samples)
        return self

    def _renew(self, name: str, samples: np.ndarray) -> None:
        """Make a buffer the rounding of these samples, unless it is."""
        buffer = self._buffers[name]
        assert buffer is not None
        if not buffer.is_meta:
            rounded = torch.tensor(samples).to(buffer)
            if not torch.equal(buffer, rounded):
                self._buffers[name] = rounded
        self._note(name, exact=True)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        for name in _WINDOWS:
            buffer, loaded = self._buffers.get(name), state_dict.get(prefix + name)
            if buffer is None or loaded is None or loaded.shape != buffer.shape or loaded.is_meta:
                continue
            loaded = loaded.detach().cpu()
            if not _is_rounded(self.transform, name, loaded):
                self.transform = replace(self.transform, **{name: loaded.double().numpy()})
            self._renew(name, self._samples(name))
        if self.export:
            self._hold_exported()
            self.to(self.window)

    def extra_repr(self) -> str:
        named = {name: value for name, value in vars(self).items() if name.startswith("trainable_")}
        return ", ".join([repr(self.transform), *(f"{name}=True" for name, value in named.items() if value)])

    # ---- what is computed

    def _precisely(self, array: Tensor, product: bool = False) -> AbstractContextManager[Any]:
        """Under autocast products with kernels, and with the basis of other bins, stay in their precision."""
        if (product or self.transform.bins is not None) and torch.amp.is_autocast_available(array.device.type):
            return torch.autocast(array.device.type, enabled=False)
        return _AS_IT_IS

    def _inverted(self, X: Tensor, length: int | None, lengths: Any = None) -> Tensor:
        """Signal of complex numbers or pairs; of pairs in half precision in that precision."""
        Z = as_complex(self.function, X)
        with self._precisely(Z):
            Z, trained = self._prepared(Z), self._trained()
            signal = _inverse(Z, self.transform, length, self.function, *trained, lengths=lengths)
        return signal.to(X.dtype) if X.dtype in _HALVES and not signal.is_complex() else signal

    def _prepared(self, X: Tensor) -> Tensor:
        return X

    def _check_no_lengths(self, lengths: Any) -> None:
        if lengths is not None:
            raise error(ValueError, self.function, "lengths", "None with export=True", shown(lengths))

    def _even(self, X: Tensor, factor: float) -> Tensor:
        """Amplitudes with DC and Nyquist times `factor`: 2 where kernels begin, 0.5 where they end."""
        return BACKEND.times_ends(X, self.transform.n_fft, factor) if self.transform.amplitudes else X


class ISTFT(_Module):
    """Inverse short-time Fourier transform as a module.

    Parameters
    ----------
    transform : xp_istft.STFT
        That whose spectra are inverted, at any frequencies. Windows that are tensors are copied.
    trainable_window : bool
        The window is a Parameter; it counts as analysis and (unless there is another) as synthesis window, and the
        normalisation follows it.
    trainable_synthesis_window : bool
        The synthesis window is a Parameter of its own.
    trainable_kernels : bool
        For the bins of the DFT the bases of the inverse are Parameters ``kernel_real`` and ``kernel_imag``
        (n_bins, n_fft): frames are ``X.real.T @ kernel_real + X.imag.T @ kernel_imag``, of two sides
        ``X.T @ (kernel_real - 1j * kernel_imag)``. For other frequencies they are real and imaginary part of the
        basis of the *analysis*, for which the inverse solves, with gradients through the solution; weights of the
        bins stay those of the frequencies that it began with.
    export : bool
        Compute with real numbers alone, by one matrix product and reshapes (no complex numbers, no FFT, no scatter),
        so that `torch.onnx.export(..., dynamo=True)` takes the module, also with a dynamic number of frames. It
        takes pairs (..., n_bins, n_frames, 2); nothing is trainable, and nothing is judged: samples under no window
        weight are 0.

    Attributes
    ----------
    transform : xp_istft.STFT
        The transform as given, with the windows that have been loaded.
    window : Parameter or buffer (win_length,)
        A buffer moves and casts with the module. While it is the transform's window, rounded, that is computed with,
        exactly; else the buffer is: written to, assigned, parametrized, given by `torch.func.functional_call`, also
        where gradients are followed. A graph that torch.compile or torch.export has made keeps the window that the
        buffer held then; so does a buffer on a device that is written to through its `.data`.
    synthesis_window : Parameter or buffer (win_length,), or None
        The same.

    Raises
    ------
    ValueError, TypeError
        Parameters that do not go together; the text names them.

    Examples
    --------
    >>> import torch, xp_istft as xi
    >>> from xp_istft.nn import ISTFT
    >>> x, t = torch.randn(3, 4096), xi.STFT(512)
    >>> inverse = ISTFT(t, trainable_window=True)
    >>> y = inverse(t.stft(x), length=4096)
    >>> bool((y - x).abs().max() < 1e-5), [name for name, _ in inverse.named_parameters()]
    (True, ['window'])
    """

    envelope: Tensor
    _has_synthesis_window = True
    _held_for_export = ("basis", "envelope")

    @hinted
    def __init__(
        self,
        transform: Transform = Transform(),  # noqa: B008  frozen
        *,
        trainable_window: bool = False,
        trainable_synthesis_window: bool = False,
        trainable_kernels: bool = False,
        export: bool = False,
    ) -> None:
        super().__init__(transform, trainable_window)
        function = self.function
        self.trainable_synthesis_window = boolean(function, "trainable_synthesis_window", trainable_synthesis_window)
        if self.trainable_synthesis_window and not self.transform.closed:
            need = "False with frequencies=, whose inverse is that of least squares"
            raise error(ValueError, function, "trainable_synthesis_window", need, True)
        if self.trainable_synthesis_window or self.transform.synthesis_window is not None:
            self._hold("synthesis_window", self._samples("synthesis_window"), self.trainable_synthesis_window)
        else:
            self.register_buffer("synthesis_window", None)
        self._train_kernels(trainable_kernels, onnx.inverse_basis)
        self._export(export)

    def forward(self, X: Tensor, length: int | None = None, phase: Tensor | None = None, lengths: Any = None) -> Tensor:
        """Signal of a spectrum.

        Parameters
        ----------
        X : complex (..., n_bins, n_frames), or real (..., n_bins, n_frames, 2) pairs
            Spectrum; with `phase` its magnitude, real (..., n_bins, n_frames).
        length : int, optional
            Samples of the result; default those that belong to the frames.
        phase : real (..., n_bins, n_frames), optional
            Phase in radians, as networks that make magnitude and phase have it.
        lengths : integers, optional
            Samples of each item of the batch, as in `istft`.

        Returns
        -------
        real (..., n_samples)
            In the precision of X, half precisions of pairs included; complex for a two-sided transform, at least
            complex64.
        """
        if phase is not None:
            X = self._pairs(X, phase)
        if self.export:
            self._check_no_lengths(lengths)
            needs_tensor(self.function, "X", X)
            if not (isinstance(length, Tensor) and torch.jit.is_tracing()):  # there sizes are tensors, and stay open
                length = read_length(self.function, length)
            basis, envelope = self._shown_constants()
            return onnx.inverse(self.function, X, self.transform, (basis, envelope), length)
        return self._inverted(X, length, lengths)

    def _pairs(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        for name, each in (("phase", phase), ("X", magnitude)):
            needs_tensor(self.function, name, each)
            if not each.is_floating_point():
                raise error(TypeError, self.function, name, "a real floating dtype with phase=", each.dtype)
        return torch.stack([magnitude * phase.cos(), magnitude * phase.sin()], dim=-1)

    def _prepared(self, X: Tensor) -> Tensor:
        """The spectrum whose FFT inverse makes the frames that trained kernels make of X."""
        if not self.trainable_kernels or self.transform.bins is not None:
            return X
        X = self.transform.bins_and_frames(self.function, "X", X)
        with self._precisely(X, product=True):
            X = self._even(X, 2.0)
            real, imag = (kernel.to(X.real.dtype) for kernel in (self.kernel_real, self.kernel_imag))
            segments = real.mT @ X.real + imag.mT @ X.imag
            if not self.transform.onesided:
                return torch.fft.fft(torch.complex(segments, real.mT @ X.imag - imag.mT @ X.real), dim=-2)
            return self._even(torch.fft.rfft(segments, dim=-2), 0.5)

    def _constants(self, transform: Transform) -> dict[str, np.ndarray]:
        return onnx.constants(self.function, transform)._asdict()


class STFT(_Module):
    """Short-time Fourier transform as a module.

    Parameters
    ----------
    transform : xp_istft.STFT
        The transform, at any frequencies. Windows that are tensors are copied.
    trainable_kernels : bool
        The basis is Parameters ``kernel_real`` and ``kernel_imag`` (n_bins, n_fft) that are multiplied with the
        windowed frames.
    trainable_window : bool
        The window is a Parameter.
    output_format : "complex", "pairs", "magnitude" or "phase"
        Complex numbers, (..., 2) pairs of real and imaginary part, the magnitude, or the angle in radians.
    power : float
        Magnitudes are (abs(X)**2 + eps)**(power / 2): 1 gives abs(X), 2 the power. Above 0.
    eps : float
        Of that; at least 0. Powers below 1 (compression, in losses) are infinitely steep at silence: with eps the
        gradient there is 0 and that of next to silence is bounded. With eps=0 it is 0 in exact silence alone, as
        which numbers below the smallest normal one count.
    export : bool
        Compute with real numbers alone, by one matrix product and reshapes, as `ISTFT` does with export=True: for
        runtimes without complex numbers or a fast FFT, and for `torch.jit.trace`. Complex numbers are given as pairs,
        and nothing is trainable.

    Examples
    --------
    >>> import torch, xp_istft as xi
    >>> from xp_istft.nn import STFT
    >>> forward = STFT(xi.STFT(512))
    >>> x = torch.randn(2, 3, 4096)
    >>> X = forward(x)
    >>> X.shape, bool((forward.inverse(X, length=4096) - x).abs().max() < 1e-5)
    (torch.Size([2, 3, 257, 33]), True)
    """

    @hinted
    def __init__(
        self,
        transform: Transform = Transform(),  # noqa: B008  frozen
        *,
        trainable_kernels: bool = False,
        trainable_window: bool = False,
        output_format: str = "complex",
        power: float = 1.0,
        eps: float = 0.0,
        export: bool = False,
    ) -> None:
        super().__init__(transform, trainable_window)
        self.output_format = choice(self.function, "output_format", output_format, _OUTPUT_FORMATS)
        self.power, self.eps = positive(self.function, "power", power), number(self.function, "eps", eps, 0)
        self._train_kernels(trainable_kernels, onnx.forward_basis)
        self._export(export)

    def forward(self, x: Tensor, output_format: str | None = None, lengths: Any = None) -> Tensor:
        """Spectrum of a signal.

        Parameters
        ----------
        x : real (..., n_samples)
            Signal; for a two-sided transform also complex.
        output_format : str, optional
            In place of the module's own.
        lengths : integers, optional
            Samples of each item of the batch, as in `stft`: after its own frames an item's spectrum is 0.

        Returns
        -------
        complex (..., n_bins, n_frames), or real: pairs (..., n_bins, n_frames, 2), magnitudes or phases
            Real ones in the precision of x; float16 ends at 65504, which bins of a signal in the scale of int16 exceed.
            Complex ones of half precision are complex64.
        """
        needs_tensor(self.function, "x", x)
        output = self.output_format
        if output_format is not None:
            output = choice(self.function, "output_format", output_format, _OUTPUT_FORMATS)
        if self.export:
            self._check_no_lengths(lengths)
            return self._exported(x, output)
        if output == "complex" and not self.trainable_kernels:
            return self._analysed(x, lengths)
        narrow = x.dtype if x.dtype in _HALVES else None
        with self._precisely(x):
            X = self._analysed(x if narrow is None else x.float(), lengths)
        if self.trainable_kernels and self.transform.bins is None:
            with self._precisely(X, product=True):
                X = self._multiplied(X)
        if output == "complex":
            return X
        parts = {"pairs": torch.view_as_real, "magnitude": self._magnitude, "phase": torch.angle}
        result = parts[output](X)
        return result if narrow is None else result.to(narrow)

    def _multiplied(self, X: Tensor) -> Tensor:
        """What trained kernels make of the frames whose FFT X is."""
        real, imag = (kernel.to(X.real.dtype) for kernel in (self.kernel_real, self.kernel_imag))
        if self.transform.onesided:
            segments = torch.fft.irfft(self._even(X, 2.0), self.transform.n_fft, dim=-2)
            return self._even(torch.complex(real @ segments, imag @ segments), 0.5)
        segments = torch.fft.ifft(X, dim=-2)
        parts = segments.real, segments.imag
        return torch.complex(real @ parts[0] - imag @ parts[1], real @ parts[1] + imag @ parts[0])

    def _magnitude(self, X: Tensor) -> Tensor:
        """(abs(X)**2 + eps)**(power / 2), where no square overflows or vanishes."""
        size = X.abs()
        if self.eps:
            size = torch.hypot(size, size.new_tensor(self.eps**0.5))
        if self.power == 1:
            return size
        if self.power > 1 or self.eps:
            return size**self.power
        silent = size < torch.finfo(size.dtype).tiny
        return torch.where(silent, 0, torch.where(silent, 1, size) ** self.power)

    def _exported(self, x: Tensor, output: str) -> Tensor:
        needs_tensor(self.function, "x", x)
        if not x.is_floating_point() or x.ndim < 1:
            need = "real floating samples (..., n_samples)"
            raise error(TypeError, self.function, "x", need, f"{x.dtype} of shape {tuple(x.shape)}")
        pairs = onnx.forward(self.function, x, self.transform, *self._shown_constants())
        if output == "magnitude":
            square = pairs.square().sum(-1)
            square = square + self.eps if self.eps else square
            return square.sqrt() if self.power == 1 else square ** (self.power / 2)
        return torch.atan2(pairs[..., 1], pairs[..., 0]) if output == "phase" else pairs

    def _constants(self, transform: Transform) -> dict[str, np.ndarray]:
        return {"basis": onnx.analysis_basis(transform)}

    def _analysed(self, x: Tensor, lengths: Any = None) -> Tensor:
        """The spectrum by the transform and what is trained of it."""
        return _forward(x, self.transform, self.function, *self._trained(), lengths=lengths)

    def inverse(self, X: Tensor, length: int | None = None, lengths: Any = None) -> Tensor:
        """Signal of a spectrum (complex numbers or pairs), by this module's window.

        For the bins of the DFT the FFT inverse, also where kernels are trained; for other frequencies the solution
        for the kernels as they are. `lengths` as in `istft`.
        """
        return self._inverted(X, length, lengths)


class GriffinLim(_Module):
    """Signal of magnitudes: `xp_istft.griffin_lim` as a module, differentiable.

    By default the fast Griffin-Lim algorithm from random phases (Perraudin, Balazs & Sondergaard, WASPAA 2013), as
    librosa and nnAudio have it; algorithm="hybrid" with init="pghi" converges further.

    Parameters
    ----------
    transform : xp_istft.STFT
        That which the magnitudes were made with, of one or two sides.
    n_iter : int
        Iterations; 0 inverts the magnitudes with the phases at the start.
    algorithm : str or Algorithm
        As in `xp_istft.griffin_lim`.
    init : "random", "pghi" or "zero"
        Phases at the start, where `forward` is given none. Gradients are not followed through those of "pghi".
    bands : xp_istft.Mel, optional
        `forward` takes mel bands (..., n_mels, n_frames) of the magnitudes, as `xp_istft.griffin_lim` does.
    device : torch.device or str, optional
        Where the module's buffer lies; what is computed lies where the magnitudes do.

    Examples
    --------
    >>> import torch, xp_istft as xi
    >>> from xp_istft.nn import GriffinLim
    >>> t = xi.STFT(512)
    >>> S = t.stft(torch.sin(torch.arange(8000) / 3)).abs()
    >>> y = GriffinLim(t)(S, length=8000, generator=torch.Generator().manual_seed(0))
    >>> y.shape, bool((t.stft(y).abs() - S).norm() < 0.2 * S.norm())
    (torch.Size([8000]), True)
    """

    @hinted
    def __init__(
        self,
        transform: Transform = Transform(),  # noqa: B008  frozen
        *,
        n_iter: int = 32,
        algorithm: str | Algorithm = "fgla",
        init: str = "random",
        bands: Mel | None = None,
        device: Any = None,
    ) -> None:
        super().__init__(transform)
        self.bands = bands
        if bands is not None:
            read_bank(self.function, bands, transform)
        self.n_iter = integer(self.function, "n_iter", n_iter, 0)
        self.algorithm = algorithm
        if not isinstance(algorithm, Algorithm):
            self.algorithm = choice(self.function, "algorithm", algorithm, tuple(NAMED))
        self.init = choice(self.function, "init", init, STARTS)
        if device is not None:
            self.to(_device(self.function, device))

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
            Magnitudes, not negative; with `bands` those, (..., n_mels, n_frames).
        length : int, optional
            Samples of the result; default those that belong to the frames.
        phase : real (..., n_bins, n_frames), optional
            Phases at the start in radians; by default those of `init`.
        generator : torch.Generator, optional
            Of the random phases.

        Returns
        -------
        real (..., n_samples)
            In the precision of S; what is computed is at least in float32. Complex for a two-sided transform, at least
            complex64.
        """
        needs_tensor(self.function, "S", S)
        if not S.is_floating_point():
            raise error(TypeError, self.function, "S", "a real floating torch tensor", S.dtype)
        shape = S.shape if self.bands is None else (*S.shape[:-2], self.transform.n_bins, *S.shape[-1:])
        if phase is not None:
            needs_tensor(self.function, "phase", phase)
            if not phase.is_floating_point():
                raise error(TypeError, self.function, "phase", "a real floating torch tensor", phase.dtype)
            if phase.shape != shape:
                raise error(ValueError, self.function, "phase", f"shape {tuple(shape)}", f"{tuple(phase.shape)}")
        if not (generator is None or isinstance(generator, torch.Generator)):
            got = type(generator).__name__
            raise error(TypeError, self.function, "generator", "a torch.Generator", got)
        kind = torch.float32 if S.dtype in _HALVES else S.dtype
        start: Any = self.init if phase is None else phase.to(kind)
        if phase is None and self.init == "random":
            start = 2 * torch.pi * torch.rand(shape, dtype=kind, device=S.device, generator=generator)
        length = read_length(self.function, length)
        return _retrieval(S, self.transform, length, self.n_iter, self.algorithm, start, self.bands, *self._trained())


# ---- steps of a graph


def _forward(
    x: Tensor, transform: Transform, function: str, *trained: Tensor | None, lengths: Any = None
) -> Tensor:  # fmt: skip
    return forward(x, _with(transform, *trained), -1, LAST_TWO, None, None, function, lengths)


def _inverse(
    X: Tensor, transform: Transform, length: int | None, function: str, *trained: Tensor | None, lengths: Any = None
) -> Tensor:
    return inverse(X, _with(transform, *trained), length, LAST_TWO, None, None, function, lengths)


def _retrieval(
    S: Tensor,
    transform: Transform,
    length: int | None,
    n_iter: int,
    algorithm: str | Algorithm,
    init: Any,
    bands: Mel | None,
    *trained: Tensor | None,
) -> Tensor:
    transform = _with(transform, *trained)
    return griffin_lim(S, transform, length=length, n_iter=n_iter, algorithm=algorithm, init=init, bands=bands)


for _function in (_forward, _inverse, _retrieval):
    one_step(_function)


def _with(transform: Transform, *trained_parts: Tensor | None) -> Transform:
    """The transform with other windows, and real and imaginary part of a trained basis, in place of its own."""
    window, synthesis_window, *basis = trained_parts
    trained: dict[str, Any] = {"window": window, "synthesis_window": synthesis_window}
    trained = {name: each for name, each in trained.items() if each is not None}
    if basis:
        trained["frequencies"] = torch.complex(*basis)  # type: ignore[arg-type]
        solver, bins = transform.solver, transform.bins
        if isinstance(solver.weights, str) and solver.weights == "density" and isinstance(bins, Frequencies):
            trained["solver"] = replace(solver, weights=bins.density(transform.n_fft))
    return replace(transform, **trained) if trained else transform


def _device(function: str, device: Any) -> torch.device:
    need = "a torch.device, or the name of one"
    if not isinstance(device, (str, torch.device, int)) or isinstance(device, bool):
        raise error(TypeError, function, "device", need, shown(device))
    try:
        return torch.device(device)
    except Exception as cause:
        raise error(ValueError, function, "device", need, shown(device)) from cause


def needs_tensor(function: str, name: str, array: Any) -> None:
    if not isinstance(array, Tensor):
        hint = "torch.export.export follows this call, torch.fx cannot" if isinstance(array, Proxy) else ""
        raise error(TypeError, function, name, "a torch tensor", type(array).__name__, hint)


# ---- windows held, and those of the transform


def _samples(transform: Transform, name: str) -> np.ndarray:
    """A window of the transform, float64 (win_length,)."""
    samples = transform.samples() if name == "window" else transform.synthesis_samples()
    left = (transform.n_fft - transform.win_length) // 2
    return samples[left : left + transform.win_length]


@lru_cache(maxsize=64)
def _rounded(transform: Transform, name: str, dtype: torch.dtype) -> Tensor:
    """The same as a tensor on the host."""
    with torch._C._DisableFuncTorch(), _disable_current_modes():
        return torch.from_numpy(_samples(transform, name).copy()).to(dtype)


def _is_rounded(transform: Transform, name: str, tensor: Tensor) -> bool:
    """Whether a tensor of the host is a window of the transform, rounded."""
    return torch.equal(tensor, _rounded(transform, name, tensor.dtype))


def _is_as_noted(module: _Module, name: str, changes: int) -> bool:
    """Whether the window that a module holds, behind what a tracer puts in its place, is the transform's, rounded.

    A constant of graphs, which are made anew for another number of changes.
    """
    tensor = module._noted[name][0]
    assert tensor is not None
    with _disable_current_modes():
        return tensor.is_meta or _is_rounded(module.transform, name, tensor.cpu())


_is_as_noted._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as torch.compiler.assume_constant_result


def _at_hand(tensor: Tensor) -> bool:
    """Whether a tensor has values of its own that may be read, or could be, on its device."""
    return not (
        torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or tensor.is_meta
    )


def _has_tangent(tensor: Tensor) -> bool:
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None


def _mark(tensor: Tensor | None) -> Any:
    """What changes when a tensor is written to, or given other memory."""
    if tensor is None or tensor.is_meta or isinstance(tensor, FakeTensor):
        return None
    return None if tensor.is_inference() else tensor._version, tensor.data_ptr()


def as_complex(function: str, X: Any) -> Tensor:
    """Complex numbers, of pairs if need be; half precision pairs in float32."""
    needs_tensor(function, "X", X)
    check_not_traced(function, "X")
    if X.is_complex():
        return X
    if X.ndim < 3 or X.shape[-1] != 2 or not X.is_floating_point():
        need = "complex (..., n_bins, n_frames) or real (..., n_bins, n_frames, 2)"
        raise error(TypeError, function, "X", need, f"{X.dtype} of shape {tuple(X.shape)}")
    return BACKEND.joined(X.float() if X.dtype in _HALVES else X)


def _on_host(transform: Transform) -> Transform:
    """The transform with the values of windows and basis, where they are tensors."""
    given = {name: getattr(transform, name) for name in ("window", "synthesis_window", "frequencies")}
    tensors = {name: each for name, each in given.items() if isinstance(each, Tensor)}
    values: dict[str, Any] = {name: BACKEND.to_host(each) for name, each in tensors.items()}
    return replace(transform, **values)
