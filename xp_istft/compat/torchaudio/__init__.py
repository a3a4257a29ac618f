"""torchaudio's Spectrogram, InverseSpectrogram and GriffinLim, and their functions: names, arguments and defaults.

    from xp_istft.compat.torchaudio import functional, transforms     # in place of torchaudio's

torchaudio itself is not needed. Beyond it: samples under no window weight are 0 with a warning, where torch.istft
raises; odd sizes, hops longer than the window and half precision on any device, as in `xp_istft.compat.torch`.
"""

from . import functional, transforms
from .transforms import GriffinLim, InverseSpectrogram, Spectrogram

__all__ = ["GriffinLim", "InverseSpectrogram", "Spectrogram", "functional", "transforms"]
