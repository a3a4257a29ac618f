"""The peers' own names, arguments, defaults and conventions, one module each; import the one that you need.

    from xp_istft.compat.librosa import stft, istft            # in place of librosa
    from xp_istft.compat.scipy import stft, ShortTimeFFT       # in place of scipy.signal
    from xp_istft.compat.torch import stft, istft              # in place of torch
    from xp_istft.compat.nnaudio import STFT, iSTFT            # in place of nnAudio.Spectrogram
    from xp_istft.compat.torchaudio import transforms          # in place of torchaudio
    from xp_istft.compat.jax import stft, istft                # in place of jax.scipy.signal

They map arguments onto `xp_istft.stft` and `istft`, so they take arrays of any library, and errors are those of these
functions; warnings are the peers'. docs/conventions.md tells which arguments give which library's numbers.
"""
