"""Modules of torch: the transform pair with windows and kernels that can be trained, an inverse that exports, and
Griffin-Lim for magnitudes.

Each takes a transform. Unless kernels are trained they run on the FFT and hold no matrix; what they compute with is the
window in float64, whatever precision the module has been moved to.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Proxy

from . import onnx
from .arguments import TRANSPARENT, boolean, choice, error, hinted, integer, not_scripted
from .backends.torch import BACKEND
from .backends.torch.graphs import check_not_traced, one_step
from .frequencies.grids import Frequencies
from .phase.algorithms import NAMED, Algorithm
from .phase.retrieval import STARTS, griffin_lim
from .transform import STFT as Transform  # noqa: N811
from .transform import read_length

__all__ = ["ISTFT", "STFT", "GriffinLim"]

TRANSPARENT.add(torch.nn.modules.module.__file__)  # warnings name the line that called the module

_HALVES = (torch.float16, torch.bfloat16)
_OUTPUT_FORMATS = ("complex", "pairs", "magnitude", "phase")


class _Module(torch.nn.Module):
    """What the modules share: a transform, its window as buffer or Parameter, kernels where they are trained."""

    window: Tensor
    synthesis_window: Tensor | None
    kernel_real: Tensor
    kernel_imag: Tensor
    basis: Tensor
    trainable_kernels = trainable_synthesis_window = export = False

    def __init__(self, transform: Transform, trainable_window: bool = False) -> None:
        super().__init__()
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
        transform = self.transform
        samples = transform.samples() if name == "window" else transform.synthesis_samples()
        left = (transform.n_fft - transform.win_length) // 2
        return samples[left : left + transform.win_length]

    def _exact(self) -> dict[str, np.ndarray]:
        """The exact values of the buffers."""
        windows = ("window", "synthesis_window")
        exact = {name: self._samples(name) for name in windows if self._buffers.get(name) is not None}
        return {**exact, **self._constants()} if "basis" in self._buffers else exact

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
        for name, values in self._constants().items():
            self._hold(name, values, persistent=False)

    def _constants(self) -> dict[str, np.ndarray]:
        """What real arithmetic multiplies with, `basis` among it."""
        raise NotImplementedError

    def _train_kernels(self, trainable: bool, basis: tuple[np.ndarray, np.ndarray]) -> None:
        """Kernels that begin as `basis` for the bins of the DFT, or as the basis of other bins."""
        transform = self.transform
        self.trainable_kernels = boolean(self.function, "trainable_kernels", trainable)
        if not self.trainable_kernels:
            return
        if not transform.onesided:
            raise error(ValueError, self.function, "trainable_kernels", "False for a two-sided transform", True)
        if transform.bins is not None:
            bins = transform.bins
            samples = bins.basis(transform.n_fft) if isinstance(bins, Frequencies) else bins.samples
            basis = samples.real, samples.imag
        self._hold_kernels(*basis)

    def _hold_kernels(self, real: np.ndarray, imag: np.ndarray) -> None:
        self._hold("kernel_real", real, trainable=True)
        self._hold("kernel_imag", imag, trainable=True)

    def _trained(self) -> tuple[Tensor | None, ...]:
        """The Parameters that stand in for parts of the transform, as `_with` takes them."""
        window = self.window if self.trainable_window else None
        synthesis_window = self.synthesis_window if self.trainable_synthesis_window else None
        if self.trainable_kernels and self.transform.bins is not None:
            return window, synthesis_window, self.kernel_real, self.kernel_imag
        return window, synthesis_window

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move and cast; buffers are cast from their exact values, so that no precision is lost on the way."""
        super()._apply(fn, recurse)
        for name, samples in self._exact().items():
            buffer = self._buffers[name]
            if buffer is not None and not buffer.is_meta:
                self._buffers[name] = torch.tensor(samples).to(buffer)
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        for name, samples in self._exact().items():
            loaded = state_dict.get(prefix + name)
            if loaded is None or loaded.shape != samples.shape:
                continue
            loaded = loaded.detach().cpu()
            if not torch.equal(torch.tensor(samples).to(loaded.dtype), loaded):
                self.transform = replace(self.transform, **{name: loaded.double().numpy()})
        if self.export:
            self._hold_exported()
            self.to(self.window)

    def extra_repr(self) -> str:
        named = {name: value for name, value in vars(self).items() if name.startswith("trainable_")}
        return ", ".join([repr(self.transform), *(f"{name}=True" for name, value in named.items() if value)])

    # ---- what is computed

    def _precisely(self, array: Tensor, product: bool = False) -> AbstractContextManager[Any]:
        """Under autocast products with kernels, and with the basis of other bins, stay in their precision."""
        device = array.device.type
        if (product or self.transform.bins is not None) and torch.amp.is_autocast_available(device):
            return torch.autocast(device, enabled=False)
        return nullcontext()

    def _inverted(self, X: Tensor, length: int | None) -> Tensor:
        """Signal of complex numbers or pairs; of pairs in half precision in that precision."""
        Z = as_complex(self.function, X)
        with self._precisely(Z):
            signal = _inverse(self._prepared(Z), self.transform, length, *self._trained())
        return signal.to(X.dtype) if X.dtype in _HALVES else signal

    def _prepared(self, X: Tensor) -> Tensor:
        return X


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
        (n_bins, n_fft): frames are ``X.real.T @ kernel_real + X.imag.T @ kernel_imag``. For other frequencies they are
        real and imaginary part of the basis of the *analysis*, for which the inverse solves, with gradients through
        the solution; weights of the bins stay those of the frequencies that it began with.
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
        A buffer moves and casts with the module; what is computed with stays exact.
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
        self._train_kernels(trainable_kernels, onnx.inverse_basis(self.transform.n_fft))
        self._export(export)

    def forward(self, X: Tensor, length: int | None = None, phase: Tensor | None = None) -> Tensor:
        """Signal of a spectrum.

        Parameters
        ----------
        X : complex (..., n_bins, n_frames), or real (..., n_bins, n_frames, 2) pairs
            Spectrum; with `phase` its magnitude, real (..., n_bins, n_frames).
        length : int, optional
            Samples of the result; default those that belong to the frames.
        phase : real (..., n_bins, n_frames), optional
            Phase in radians, as networks that make magnitude and phase have it.

        Returns
        -------
        real (..., n_samples)
            In the precision of X, half precisions of pairs included; complex for a two-sided transform.
        """
        if phase is not None:
            X = self._pairs(X, phase)
        if self.export:
            _needs_tensor(self.function, "X", X)
            length = read_length(self.function, length)
            return onnx.inverse(self.function, X, self.transform, (self.basis, self.envelope), length)
        return self._inverted(X, length)

    def _pairs(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        for name, each in (("X", magnitude), ("phase", phase)):
            _needs_tensor(self.function, name, each)
            if not each.is_floating_point():
                raise error(TypeError, self.function, name, "a real floating dtype with phase=", each.dtype)
        return torch.stack([magnitude * phase.cos(), magnitude * phase.sin()], dim=-1)

    def _prepared(self, X: Tensor) -> Tensor:
        """The spectrum whose FFT inverse makes the frames that trained kernels make of X."""
        if not self.trainable_kernels or self.transform.bins is not None:
            return X
        X = self.transform.bins_and_frames(self.function, "X", X)
        with self._precisely(X, product=True):
            real, imag = (kernel.to(X.real.dtype) for kernel in (self.kernel_real, self.kernel_imag))
            return torch.fft.rfft(real.mT @ X.real + imag.mT @ X.imag, dim=-2)

    def _constants(self) -> dict[str, np.ndarray]:
        return onnx.constants(self.function, self.transform)._asdict()


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
        export: bool = False,
    ) -> None:
        super().__init__(transform, trainable_window)
        self.output_format = choice(self.function, "output_format", output_format, _OUTPUT_FORMATS)
        self._train_kernels(trainable_kernels, onnx.forward_basis(self.transform.n_fft))
        self._export(export)

    def forward(self, x: Tensor, output_format: str | None = None) -> Tensor:
        """Spectrum of a signal.

        Parameters
        ----------
        x : real (..., n_samples)
            Signal; for a two-sided transform also complex.
        output_format : str, optional
            In place of the module's own.

        Returns
        -------
        complex (..., n_bins, n_frames), or real: pairs (..., n_bins, n_frames, 2), magnitudes or phases
        """
        if isinstance(x, Proxy):
            _needs_tensor(self.function, "x", x)
        output = self.output_format
        if output_format is not None:
            output = choice(self.function, "output_format", output_format, _OUTPUT_FORMATS)
        if self.export:
            return self._exported(x, output)
        if output == "complex" and not self.trainable_kernels:
            return self._analysed(x)
        narrow = x.dtype if isinstance(x, Tensor) and x.dtype in _HALVES else None
        with self._precisely(x):
            X = self._analysed(x if narrow is None else x.float())
        if self.trainable_kernels and self.transform.bins is None:
            with self._precisely(X, product=True):
                segments = torch.fft.irfft(X, self.transform.n_fft, dim=-2)
                real, imag = (kernel.to(segments.dtype) for kernel in (self.kernel_real, self.kernel_imag))
                X = torch.complex(real @ segments, imag @ segments)
        if output == "complex":
            return X.to(torch.complex32) if narrow is torch.float16 else X
        result = torch.view_as_real(X) if output == "pairs" else X.abs() if output == "magnitude" else X.angle()
        return result if narrow is None else result.to(narrow)

    def _exported(self, x: Tensor, output: str) -> Tensor:
        _needs_tensor(self.function, "x", x)
        if not x.is_floating_point() or x.ndim < 1:
            need = "real floating samples (..., n_samples)"
            raise error(TypeError, self.function, "x", need, f"{x.dtype} of shape {tuple(x.shape)}")
        pairs = onnx.forward(self.function, x, self.transform, self.basis)
        if output == "magnitude":
            return pairs.square().sum(-1).sqrt()
        return torch.atan2(pairs[..., 1], pairs[..., 0]) if output == "phase" else pairs

    def _constants(self) -> dict[str, np.ndarray]:
        return {"basis": onnx.analysis_basis(self.transform)}

    def _analysed(self, x: Tensor) -> Tensor:
        """The spectrum by the transform and what is trained of it."""
        return _forward(x, self.transform, *self._trained())

    def inverse(self, X: Tensor, length: int | None = None) -> Tensor:
        """Signal of a spectrum (complex numbers or pairs), by this module's window.

        For the bins of the DFT the FFT inverse, also where kernels are trained; for other frequencies the solution
        for the kernels as they are.
        """
        return self._inverted(X, length)


class GriffinLim(_Module):
    """Signal of magnitudes: `xp_istft.griffin_lim` as a module, differentiable.

    By default the fast Griffin-Lim algorithm from random phases (Perraudin, Balazs & Sondergaard, WASPAA 2013), as
    librosa and nnAudio have it; algorithm="hybrid" with init="pghi" converges further.

    Parameters
    ----------
    transform : xp_istft.STFT
        That which the magnitudes were made with, one-sided.
    n_iter : int
        Iterations; 0 inverts the magnitudes with the phases at the start.
    algorithm : str or Algorithm
        As in `xp_istft.griffin_lim`.
    init : "random", "pghi" or "zero"
        Phases at the start, where `forward` is given none. Gradients are not followed through those of "pghi".
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
        device: Any = None,
    ) -> None:
        super().__init__(transform)
        self.n_iter = integer(self.function, "n_iter", n_iter, 0)
        self.algorithm = algorithm
        if not isinstance(algorithm, Algorithm):
            self.algorithm = choice(self.function, "algorithm", algorithm, tuple(NAMED))
        self.init = choice(self.function, "init", init, STARTS)
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
        _needs_tensor(self.function, "S", S)
        if not S.is_floating_point():
            raise error(TypeError, self.function, "S", "a real floating torch tensor", S.dtype)
        if phase is not None and phase.shape != S.shape:
            raise error(ValueError, self.function, "phase", f"shape {tuple(S.shape)}", f"{tuple(phase.shape)}")
        kind = torch.float32 if S.dtype in _HALVES else S.dtype
        start: Any = self.init if phase is None else phase.to(kind)
        if phase is None and self.init == "random":
            start = 2 * torch.pi * torch.rand(S.shape, dtype=kind, device=S.device, generator=generator)
        return griffin_lim(S, self.transform, length=length, n_iter=self.n_iter, algorithm=self.algorithm, init=start)


# ---- steps of a graph


def _forward(x: Tensor, transform: Transform, *trained: Tensor | None) -> Tensor:
    return _with(transform, *trained).stft(x)


def _inverse(X: Tensor, transform: Transform, length: int | None, *trained: Tensor | None) -> Tensor:
    return _with(transform, *trained).istft(X, length=length)


for _function in (_forward, _inverse):
    one_step(_function)


def _with(transform: Transform, *trained_parts: Tensor | None) -> Transform:
    """The transform with trained windows, and real and imaginary part of a trained basis, in place of its own."""
    window, synthesis_window, *basis = trained_parts
    trained: dict[str, Any] = {"window": window, "synthesis_window": synthesis_window}
    trained = {name: each for name, each in trained.items() if each is not None}
    if basis:
        trained["frequencies"] = torch.complex(*basis)  # type: ignore[arg-type]
        solver, bins = transform.solver, transform.bins
        if isinstance(solver.weights, str) and solver.weights == "density" and isinstance(bins, Frequencies):
            trained["solver"] = replace(solver, weights=bins.density(transform.n_fft))
    return replace(transform, **trained) if trained else transform


def _needs_tensor(function: str, name: str, array: Any) -> None:
    if not isinstance(array, Tensor):
        hint = "torch.export.export follows this call, torch.fx cannot" if isinstance(array, Proxy) else ""
        raise error(TypeError, function, name, "a torch tensor", type(array).__name__, hint)


def as_complex(function: str, X: Any) -> Tensor:
    """Complex numbers, of pairs if need be; half precision pairs in float32."""
    _needs_tensor(function, "X", X)
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
