"""Inverse short-time Fourier transform for arrays of any library: NumPy, CuPy, PyTorch, JAX, MLX, Dask, ..."""

import sys

from .arrays import as_complex, from_polar, pad
from .bands import Mel, magnitude_to_mel, mel_to_magnitude
from .compat._nnaudio_istft import iSTFT
from .decibels import from_db, to_db
from .frames import phase_ramp
from .frequencies.grids import Frequencies, linear_frequencies, log_frequencies
from .frequencies.solvers import Adjoint, ConvergenceWarning, Dual, PerFrame, RedundancyWarning, Solution
from .patch import Patch, patched, unpatch
from .phase.algorithms import ADMM, GLA, RAAR, Algorithm, FastGLA, Hybrid
from .phase.online import StreamingGriffinLim
from .phase.retrieval import griffin_lim, inconsistency, pghi, project, spectral_convergence
from .phase.vocoder import phase_vocoder
from .segments import StreamingSegments, in_segments
from .settings import (
    fft_engine,
    get_fft_engine,
    get_gpu_engine,
    get_workers,
    gpu_engine,
    set_fft_engine,
    set_gpu_engine,
    set_workers,
    workers,
)
from .streaming import StreamingISTFT, StreamingSTFT
from .transform import STFT, Coverage
from .transforms import frame, istft, overlap_add, stft
from .windows import CoverageWarning, NOLAError, check_cola, check_nola, dual_window, low_latency_windows, tight_window

patch: Patch = sys.modules[f"{__name__}.patch"]  # type: ignore[assignment]  # the module, which can be called

__version__ = "0.1.0"

__all__ = [
    "ADMM",
    "GLA",
    "RAAR",
    "STFT",
    "Adjoint",
    "Algorithm",
    "ConvergenceWarning",
    "Coverage",
    "CoverageWarning",
    "Dual",
    "FastGLA",
    "Frequencies",
    "Hybrid",
    "Mel",
    "NOLAError",
    "PerFrame",
    "RedundancyWarning",
    "Solution",
    "StreamingGriffinLim",
    "StreamingISTFT",
    "StreamingSTFT",
    "StreamingSegments",
    "as_complex",
    "check_cola",
    "check_nola",
    "dual_window",
    "fft_engine",
    "frame",
    "from_db",
    "from_polar",
    "get_fft_engine",
    "get_gpu_engine",
    "get_workers",
    "gpu_engine",
    "griffin_lim",
    "iSTFT",
    "in_segments",
    "inconsistency",
    "istft",
    "linear_frequencies",
    "log_frequencies",
    "low_latency_windows",
    "magnitude_to_mel",
    "mel_to_magnitude",
    "overlap_add",
    "pad",
    "patch",
    "patched",
    "pghi",
    "phase_ramp",
    "phase_vocoder",
    "project",
    "set_fft_engine",
    "set_gpu_engine",
    "set_workers",
    "spectral_convergence",
    "stft",
    "tight_window",
    "to_db",
    "unpatch",
    "workers",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
