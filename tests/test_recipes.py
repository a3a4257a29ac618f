"""docs/recipes.md: what it shows computes what each package does, written out here, and what the package gives."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

PAGE = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text()
BEGINNING, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)


def recipe(title):
    """The names that a section defines."""
    (section,) = (each for each in SECTIONS if each.startswith(title))
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", BEGINNING + section, re.DOTALL):
        if "import torch" in block or "import nn" in block:
            pytest.importorskip("torch")
        exec(compile(block, f"recipes.md, {title}", "exec"), names)
    return names


def peer(module):
    """A module of a package, which may be absent, or lack what it needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except Exception as cause:
            pytest.skip(f"No module named '{module.partition('.')[0]}': {cause}")


def close(mine, due, tolerance=1e-12):
    assert mine.shape == due.shape
    np.testing.assert_allclose(
        np.asarray(mine), np.asarray(due), rtol=0, atol=tolerance * np.abs(np.asarray(due)).max()
    )


def spectrum(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


# ---- nara_wpe


def nara_wpe_stft(x, size, shift):
    window = scipy.signal.windows.blackman(size + 1)[:-1]
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(size - shift,) * 2])
    n_frames = -(-(x.shape[-1] - size + shift) // shift)
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, (n_frames - 1) * shift + size - x.shape[-1])])
    return np.stack([np.fft.rfft(x[..., m * shift : m * shift + size] * window) for m in range(n_frames)], axis=-2)


def nara_wpe_istft(X, size, shift):
    window = scipy.signal.windows.blackman(size + 1)[:-1]
    total = np.zeros(size)
    for k in range(-((size - 1) // shift), (size - 1) // shift + 1):
        lo, hi = max(0, k * shift), min(size, size + k * shift)
        total[lo:hi] += window[lo - k * shift : hi - k * shift] ** 2
    x = np.zeros((*X.shape[:-2], X.shape[-2] * shift + size - shift))
    for m in range(X.shape[-2]):
        x[..., m * shift : m * shift + size] += window / total * np.fft.irfft(X[..., m, :], size)
    return x[..., size - shift : x.shape[-1] - (size - shift)]


@pytest.mark.parametrize(("size", "shift"), [(64, 16), (64, 20), (128, 32), (50, 24)])
@pytest.mark.parametrize("of", ["written", "package"])
def test_nara_wpe(rng, size, shift, of):
    ours = recipe("nara_wpe")
    stft, istft = nara_wpe_stft, nara_wpe_istft
    if of == "package":
        stft, istft = peer("nara_wpe.utils").stft, peer("nara_wpe.utils").istft
    for n_samples in (500, 513):
        x = rng.standard_normal((2, n_samples))
        close(ours["stft"](x, size, shift), stft(x, size, shift))
    X = spectrum(rng, 2, 20, size // 2 + 1)
    close(ours["istft"](X, size, shift), istft(X, size, shift))
    close(ours["istft"](ours["stft"](x, size, shift), size, shift)[:, :n_samples], x)


# ---- MNE


def mne_stft(x, wsize, tstep):
    n_steps = -(-x.shape[-1] // tstep)
    window, total = mne_windows(n_steps, wsize, tstep)
    left = (wsize - tstep) // 2
    padded = np.zeros((len(x), wsize + (n_steps - 1) * tstep))
    padded[:, left : left + x.shape[-1]] = x
    padded /= np.sqrt(wsize * total)
    return np.stack([np.fft.rfft(padded[:, m * tstep :][:, :wsize] * window) for m in range(n_steps)], axis=-1)


def mne_istft(X, tstep, Tx):
    wsize, n_steps = 2 * (X.shape[-2] - 1), X.shape[-1]
    window, total = mne_windows(n_steps, wsize, tstep)
    x = np.zeros((len(X), total.size))
    for m in range(n_steps):
        x[:, m * tstep : m * tstep + wsize] += np.fft.irfft(X[..., m], wsize) * window
    left = (wsize - tstep) // 2
    return (x / np.sqrt(total / wsize))[:, left : left + Tx]


def mne_windows(n_steps, wsize, tstep):
    window = np.sin(np.arange(0.5, wsize + 0.5) / wsize * np.pi)
    total = np.zeros((n_steps - 1) * tstep + wsize)
    for m in range(n_steps):
        total[m * tstep : m * tstep + wsize] += window**2
    return window, total


@pytest.mark.parametrize(("wsize", "tstep"), [(64, 32), (64, 16), (40, 4)])
@pytest.mark.parametrize("of", ["written", "package"])
def test_mne(rng, wsize, tstep, of):
    ours = recipe("MNE")
    stft, istft = mne_stft, mne_istft
    if of == "package":
        stft, istft = peer("mne.time_frequency").stft, peer("mne.time_frequency").istft
    x = rng.standard_normal((3, 501))
    X = ours["stft"](x, wsize, tstep)
    close(X, stft(x, wsize, tstep, **{"verbose": "ERROR"} if of == "package" else {}))
    close(ours["istft"](X, tstep, 501), x)
    X = spectrum(rng, *X.shape)
    close(ours["istft"](X, tstep, 480), istft(X, tstep, 480))
    tight = ours["xi"].stft(
        x, wsize, hop_length=tstep, padding="same", scaling="ortho",
        window=ours["xi"].tight_window(ours["sine"](wsize), tstep),
    )  # fmt: skip
    inside = slice(wsize // tstep, -(wsize // tstep) - 1)
    close(ours["stft"](x, wsize, tstep)[..., inside], tight[..., inside])


# ---- asteroid-filterbanks


def asteroid_filters(n_filters, kernel_size, stride):
    filters = np.fft.fft(np.eye(n_filters)) / (0.5 * np.sqrt(kernel_size * n_filters / stride))
    left = (n_filters - kernel_size) // 2
    filters = filters[: n_filters // 2 + 1, left : left + kernel_size]
    filters[[0, n_filters // 2]] /= np.sqrt(2)
    return np.vstack([filters.real, filters.imag]) * np.hanning(kernel_size + 1)[:-1] ** 0.5


@pytest.mark.parametrize("sizes", [(64, 64, 32), (64, 40, 20), (64, 50, 10)])
def test_asteroid_filterbanks(rng, sizes):
    ours, (_, kernel_size, stride) = recipe("asteroid"), sizes
    filters = asteroid_filters(*sizes)
    x = rng.standard_normal((2, 500))
    segments = np.lib.stride_tricks.sliding_window_view(x, kernel_size, axis=-1)[:, ::stride]
    features = ours["encode"](x, *sizes)
    close(features, np.moveaxis(segments @ filters.T, -1, -2))
    features = rng.standard_normal(features.shape)
    due = np.zeros((2, (features.shape[-1] - 1) * stride + kernel_size))
    for m in range(features.shape[-1]):
        due[:, m * stride : m * stride + kernel_size] += features[..., m] @ filters
    y = ours["decode"](features, *sizes)
    close(y, due)
    laid, gain = ours["layout"](*sizes)
    X = ours["xi"].as_complex(*np.split(features, 2, axis=-2)) / gain
    inverse = ours["xi"].istft(X, n_fft=sizes[0], hop_length=stride, **laid, nola="zero")
    close(inverse[:, kernel_size:-kernel_size], y[:, kernel_size:-kernel_size])


def test_asteroid_filterbanks_as_installed(rng):
    enc_dec, torch = peer("asteroid_filterbanks"), pytest.importorskip("torch")
    sizes, x = (64, 40, 20), torch.from_numpy(rng.standard_normal((2, 1, 500))).float()
    bank = enc_dec.STFTFB(*sizes)
    features = enc_dec.Encoder(bank)(x)
    ours = recipe("asteroid")
    close(ours["encode"](x[:, 0].numpy(), *sizes), features, 1e-5)
    close(ours["decode"](features.numpy(), *sizes), enc_dec.Decoder(bank)(features)[:, 0], 1e-5)


# ---- Vocos


def vocos_istft(spec, window, hop):
    torch = pytest.importorskip("torch")
    n_fft, n_frames, pad = window.shape[0], spec.shape[-1], (window.shape[0] - hop) // 2
    fold = {"output_size": (1, (n_frames - 1) * hop + n_fft), "kernel_size": (1, n_fft), "stride": (1, hop)}
    frames = torch.fft.irfft(spec, n_fft, dim=1) * window[:, None]
    y = torch.nn.functional.fold(frames, **fold)[:, 0, 0, pad:-pad]
    total = torch.nn.functional.fold(window.square().expand(1, n_frames, -1).mT, **fold)[0, 0, 0, pad:-pad]
    return y / total


@pytest.mark.parametrize("of", ["written", "package"])
def test_vocos(rng, of):
    inverse, torch = recipe("Vocos")["inverse"], pytest.importorskip("torch")
    spec = torch.from_numpy(spectrum(rng, 2, 513, 20))
    if of == "written":
        window = torch.hann_window(1024, dtype=torch.float64)
        close(inverse(spec), vocos_istft(spec, window, 256))
        return
    theirs = peer("vocos.spectral_ops").ISTFT(1024, 256, 1024, padding="same")
    inverse.load_state_dict(theirs.state_dict())
    close(inverse(spec.to(torch.complex64)), theirs(spec.to(torch.complex64)), 1e-5)


# ---- iSTFTNet


def test_istftnet(rng):
    head, torch = recipe("iSTFTNet")["head"], pytest.importorskip("torch")
    x = torch.from_numpy(rng.standard_normal((2, 18, 30)))
    magnitude, phase = torch.exp(x[:, :9]), torch.sin(x[:, 9:])
    window = torch.hann_window(16, dtype=torch.float64)
    close(head(x), torch.istft(magnitude * torch.exp(phase * 1j), 16, 4, 16, window=window))


# ---- DeepFilterNet


@pytest.mark.parametrize(("n_fft", "hop"), [(960, 480), (64, 16)])
def test_deepfilternet(rng, n_fft, hop):
    """Its loops, frame by frame with what is remembered; the synthesis is late by n_fft - hop samples."""
    ours = recipe("DeepFilterNet")
    x = rng.standard_normal(20 * hop)
    sine = np.sin(0.5 * np.pi * (np.arange(n_fft) + 0.5) / (n_fft // 2))
    window = np.sin(0.5 * np.pi * sine**2)
    memory, frames = np.zeros(n_fft), []
    for m in range(20):
        memory = np.concatenate([memory[hop:], x[m * hop : (m + 1) * hop]])
        frames.append(np.fft.rfft(memory * window) / (n_fft**2 / (2 * hop)))
    close(ours["analysis"](x, n_fft, hop), np.stack(frames))
    X = spectrum(rng, 20, n_fft // 2 + 1)
    memory, made = np.zeros(n_fft), []
    for m in range(20):
        memory = np.concatenate([memory[hop:], np.zeros(hop)]) + window * np.fft.irfft(X[m]) * n_fft
        made.append(memory[:hop])
    close(ours["synthesis"](X, n_fft, hop), np.concatenate(made)[n_fft - hop :])


# ---- SeisBench


def test_seisbench(rng):
    """Its lines in torch; and SciPy's numbers, which they are made for."""
    ours, torch = recipe("SeisBench"), pytest.importorskip("torch")
    x = torch.from_numpy(rng.standard_normal((2, 3000)))
    window, turn = torch.hann_window(30, dtype=torch.float64), torch.tensor(1j ** np.arange(31))[:, None]
    due = torch.stft(x, 60, win_length=30, window=window, pad_mode="constant", return_complex=True) * turn * 2 / 30
    X = ours["before"](x.numpy())
    close(X, due)
    due = scipy.signal.stft(x.numpy(), fs=100, nperseg=30, nfft=60, boundary="zeros")[2]
    close(X[..., : due.shape[-1]], due)
    X = spectrum(rng, *X.shape)
    close(ours["after"](X), 15 * torch.istft(torch.from_numpy(X) / turn, 60, win_length=30, window=window))


def test_every_recipe_is_tested():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    for section in SECTIONS:
        title = re.match(r"[\w-]+", section)[0].lower().replace("-", "_")
        assert title in tests, title
