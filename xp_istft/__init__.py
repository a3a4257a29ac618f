"""Inverse short-time Fourier transform for arrays of any library: NumPy, CuPy, PyTorch, JAX, Dask, ..."""

from .arrays import as_complex, from_polar, pad
from .backends.fft_engines import get_fft_engine, set_fft_engine
from .backends.threads import get_workers, set_workers
from .frames import bin_frequencies, frame_times, n_frames, n_samples, phase_ramp
from .frequencies import Frequencies, linear_frequencies, log_frequencies
from .least_squares import ConvergenceWarning, RedundancyWarning
from .least_squares import Report as LeastSquaresReport
from .phase_retrieval import griffin_lim, inconsistency, pghi, project, spectral_convergence
from .streaming import StreamingISTFT, StreamingSTFT
from .transforms import STFT, Coverage, coverage, frame, iSTFT, istft, overlap_add, stft
from .windows import CoverageWarning, NOLAError, check_cola, check_nola, dual_window, low_latency_windows, tight_window

__version__ = "0.1.0"

__all__ = [
    "STFT",
    "ConvergenceWarning",
    "Coverage",
    "CoverageWarning",
    "Frequencies",
    "LeastSquaresReport",
    "NOLAError",
    "RedundancyWarning",
    "StreamingISTFT",
    "StreamingSTFT",
    "as_complex",
    "bin_frequencies",
    "check_cola",
    "check_nola",
    "coverage",
    "dual_window",
    "frame",
    "frame_times",
    "from_polar",
    "get_fft_engine",
    "get_workers",
    "griffin_lim",
    "iSTFT",
    "inconsistency",
    "istft",
    "linear_frequencies",
    "log_frequencies",
    "low_latency_windows",
    "n_frames",
    "n_samples",
    "overlap_add",
    "pad",
    "pghi",
    "phase_ramp",
    "project",
    "set_fft_engine",
    "set_workers",
    "spectral_convergence",
    "stft",
    "tight_window",
]
