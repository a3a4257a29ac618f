"""Real projects, as they come from the package index, patched against not patched: the same numbers, how much sooner.

    nox -s projects                                  in an environment of its own, with every project
    python benchmarks/projects.py [--minutes 10]     with those that are installed

writes benchmarks/results/projects-<machine>.md, and fails where a number or a gradient is another one.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from races import race
from results import arguments, machine, table, versions, write

import xp_istft as xi

PROJECTS = (
    "demucs",
    "openunmix",
    "vocos",
    "auraloss",
    "speechbrain",
    "noisereduce",
    "librosa",
    "torchaudio",
    "asteroid-filterbanks",
    "nara_wpe",
    "mne",
)

Run = Callable[[], Any]


@dataclass
class Case:
    """One thing that a project does.

    Attributes
    ----------
    run : what the project calls; its results are arrays, or tuples or lists of them
    ours : the one call of ours in the place of a transform of its own; None: patched
    tolerance : of the largest value, that results may differ by
    """

    project: str
    name: str
    run: Run
    ours: Run | None = None
    tolerance: float = 1e-5


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def backward(run: Callable[[torch.Tensor], Any], leaf: torch.Tensor) -> Run:
    """The gradient with respect to `leaf` of the squared result, beside the result."""

    def both() -> Any:
        x = leaf.detach().clone().requires_grad_()
        y = run(x)
        energy = torch.view_as_real(y).square().sum() if y.is_complex() else y.square().sum()
        return y.detach(), torch.autograd.grad(energy, x)[0]

    return both


def demucs() -> Iterator[Case]:
    spec = importlib.import_module("demucs.spec")
    x = noise(1, 2, 343980)

    def pair(x: torch.Tensor) -> torch.Tensor:
        return spec.ispectro(spec.spectro(x, 4096, 1024), 1024, length=x.shape[-1])

    yield Case("demucs", "spectro, ispectro", partial(pair, x))
    yield Case("demucs", "spectro, ispectro, forward and backward", backward(pair, x))
    htdemucs = importlib.import_module("demucs.htdemucs").HTDemucs
    torch.manual_seed(0)
    small = dict(channels=8, depth=4, t_layers=1, t_heads=2, bottom_channels=0, segment=2.0, use_train_segment=False)
    model = htdemucs(["drums", "vocals"], **small).eval()
    mix = noise(1, 2, 88200)
    yield Case("demucs", "HTDemucs, small", partial(model, mix))


def openunmix() -> Iterator[Case]:
    transforms = importlib.import_module("openunmix.transforms")
    there, back = transforms.make_filterbanks(n_fft=4096, n_hop=1024, center=True, sample_rate=44100.0)
    x = noise(2, 2, 220500)

    def pair(x: torch.Tensor) -> torch.Tensor:
        return back(there(x), length=x.shape[-1])

    yield Case("openunmix", "TorchSTFT, TorchISTFT", partial(pair, x))
    yield Case("openunmix", "TorchSTFT, TorchISTFT, forward and backward", backward(pair, x))


def vocos() -> Iterator[Case]:
    operations = importlib.import_module("vocos.spectral_ops")
    X = torch.view_as_complex(noise(8, 513, 256, 2))
    center = operations.ISTFT(1024, 256, 1024, padding="center")
    yield Case("vocos", "ISTFT, center", partial(center, X))
    yield Case("vocos", "ISTFT, center, forward and backward", backward(center, X))
    from xp_istft import nn

    same = operations.ISTFT(1024, 256, 1024, padding="same")
    ours = nn.ISTFT(xi.STFT(1024, 256, padding="same"))
    yield Case("vocos", "ISTFT, same", partial(same, X), partial(ours, X))
    yield Case("vocos", "ISTFT, same, forward and backward", backward(same, X), backward(ours, X))
    x = noise(8, 65536)

    def pair(x: torch.Tensor) -> torch.Tensor:
        return center(torch.stft(x, 1024, 256, window=center.window, return_complex=True))

    yield Case("vocos", "torch.stft, ISTFT, forward and backward", backward(pair, x))


def auraloss() -> Iterator[Case]:
    freq = importlib.import_module("auraloss.freq")
    loss, target = freq.MultiResolutionSTFTLoss(), noise(4, 1, 44100).flip(0)
    yield Case("auraloss", "MultiResolutionSTFTLoss, forward and backward",
               backward(lambda x: loss(x, target)[None], noise(4, 1, 44100)), tolerance=1e-4)  # fmt: skip


def speechbrain() -> Iterator[Case]:
    features = importlib.import_module("speechbrain.processing.features")
    there, back = features.STFT(sample_rate=16000), features.ISTFT(sample_rate=16000)
    x = noise(8, 48000)

    def pair(x: torch.Tensor) -> torch.Tensor:
        return back(there(x), sig_length=x.shape[-1])

    yield Case("speechbrain", "STFT, ISTFT", partial(pair, x))
    yield Case("speechbrain", "STFT, ISTFT, forward and backward", backward(pair, x))
    fbank = importlib.import_module("speechbrain.lobes.features").Fbank()
    yield Case("speechbrain", "Fbank", partial(fbank, x), tolerance=1e-4)


def noisereduce() -> Iterator[Case]:
    reduce_noise = importlib.import_module("noisereduce").reduce_noise
    y = noise(160000).numpy()
    for stationary in (True, False):
        name = "stationary" if stationary else "not stationary"
        yield Case("noisereduce", name, partial(reduce_noise, y=y, sr=16000, stationary=stationary))
    gate = importlib.import_module("noisereduce.torchgate").TorchGate(sr=16000, nonstationary=True)
    yield Case("noisereduce", "TorchGate", partial(gate, noise(2, 160000)))


def librosa() -> Iterator[Case]:
    peer = importlib.import_module("librosa")
    y = noise(110250).numpy()
    S = np.abs(peer.stft(y))
    yield Case("librosa", "stft, istft", lambda: peer.istft(peer.stft(y), length=y.size))
    yield Case("librosa", "effects.hpss", partial(peer.effects.hpss, y))
    yield Case("librosa", "effects.time_stretch", partial(peer.effects.time_stretch, y, rate=1.3), tolerance=1e-3)
    yield Case("librosa", "griffinlim", partial(peer.griffinlim, S, n_iter=8, random_state=0), tolerance=1e-3)
    yield Case("librosa", "feature.melspectrogram", partial(peer.feature.melspectrogram, y=y))
    yield Case("librosa", "feature.mfcc", partial(peer.feature.mfcc, y=y), tolerance=1e-4)
    yield Case("librosa", "cqt, icqt", lambda: peer.icqt(peer.cqt(y)), tolerance=1e-4)
    yield Case(
        "librosa", "reassigned_spectrogram", partial(peer.reassigned_spectrogram, y, fill_nan=True), tolerance=1e-2
    )


def torchaudio() -> Iterator[Case]:
    transforms = importlib.import_module("torchaudio.transforms")
    x = noise(2, 80000)
    spectrogram = transforms.Spectrogram(1024, hop_length=256, power=None)
    inverse = transforms.InverseSpectrogram(1024, hop_length=256)
    mel = transforms.MelSpectrogram(16000, 1024, hop_length=256)
    yield Case("torchaudio", "Spectrogram", partial(spectrogram, x))
    yield Case("torchaudio", "Spectrogram, InverseSpectrogram", lambda: inverse(spectrogram(x), x.shape[-1]))
    yield Case("torchaudio", "Spectrogram, InverseSpectrogram, forward and backward",
               backward(lambda x: inverse(spectrogram(x), x.shape[-1]), x))  # fmt: skip
    yield Case("torchaudio", "MelSpectrogram, forward and backward", backward(mel, x))
    griffin_lim = transforms.GriffinLim(1024, n_iter=8, hop_length=256, rand_init=False)
    yield Case("torchaudio", "GriffinLim", lambda: griffin_lim(spectrogram(x).abs().square()), tolerance=1e-3)


def recipe(title: str) -> dict[str, Any]:
    """What docs/recipes.md shows under this title."""
    page = Path(__file__).parent.parent.joinpath("docs", "recipes.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"np": np, "xi": xi}
    exec(re.findall(r"```python\n(.*?)```", page.partition(f"## {title}\n")[2], re.DOTALL)[0], names)
    return names


def asteroid_filterbanks() -> Iterator[Case]:
    banks, ours = importlib.import_module("asteroid_filterbanks"), recipe("asteroid-filterbanks")
    encoder, x = banks.Encoder(banks.STFTFB(512, 512, stride=128)), noise(8, 1, 32000)
    encode = partial(ours["encode"], x[:, 0].numpy(), 512, 512, 128)
    yield Case("asteroid-filterbanks", "Encoder(STFTFB)", partial(encoder, x), encode)


def nara_wpe() -> Iterator[Case]:
    utils, ours = importlib.import_module("nara_wpe.utils"), recipe("nara_wpe")
    y = noise(8, 160000).double().numpy()
    Y = utils.stft(y, 512, 128)
    yield Case("nara_wpe", "stft", partial(utils.stft, y, 512, 128), partial(ours["stft"], y, 512, 128), 1e-12)
    yield Case("nara_wpe", "istft", partial(utils.istft, Y, 512, 128), partial(ours["istft"], Y, 512, 128), 1e-12)


def mne() -> Iterator[Case]:
    frequency, ours = importlib.import_module("mne.time_frequency"), recipe("MNE")
    x = noise(32, 20000).double().numpy()
    X = frequency.stft(x, 64, 16, verbose=False)
    yield Case(
        "mne", "stft", partial(frequency.stft, x, 64, 16, verbose=False), partial(ours["stft"], x, 64, 16), 1e-12
    )
    yield Case("mne", "istft", partial(frequency.istft, X, 16, 20000), partial(ours["istft"], X, 16, 20000), 1e-12)


def arrays(result: Any) -> list[np.ndarray]:
    if isinstance(result, (tuple, list)):
        return [array for each in result for array in arrays(each)]
    return [result.detach().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)]


def deviation(found: Any, expected: Any) -> float:
    """The largest difference, divided by the largest value, of all arrays of a result."""
    pairs = list(zip(arrays(found), arrays(expected), strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    assert all(np.array_equal(np.isfinite(a), np.isfinite(b)) for a, b in pairs)
    return max(float(np.nanmax(abs(a - b)) / max(np.nanmax(abs(b)), 1e-300)) for a, b in pairs)


def tried(case: Case, budget: float) -> list[Any]:
    """A row: how much sooner, how near, and how many calls were taken."""
    here = nullcontext if "backward" in case.name else torch.no_grad

    def theirs() -> Any:
        with here():
            return case.run()

    def ours() -> Any:
        with here():
            return (case.ours or case.run)()

    expected, before = theirs(), counts()
    with xi.patched() if case.ours is None else nullcontext():
        found = ours()
    difference = deviation(found, expected)
    assert case.ours or [each.dtype for each in arrays(found)] == [each.dtype for each in arrays(expected)]
    taken, handed = (after - first for after, first in zip(counts(), before, strict=True))
    on = False

    def patched(yes: bool) -> Any:
        """A call; the one before it, which is not timed, patches or unpatches."""
        nonlocal on
        if case.ours is None and yes is not on:
            (xi.patch if yes else xi.unpatch)()
            on = yes
        return ours() if yes else theirs()

    try:
        result = race({"ours": partial(patched, True), "theirs": partial(patched, False)}, rounds=15, budget=budget)
    finally:
        xi.unpatch()
    how = "one call" if case.ours else f"{taken} of {taken + handed}"
    return [case.project, case.name, result.ratio("theirs", "ours"), how, difference, difference <= case.tolerance]


def counts() -> tuple[int, int]:
    """Calls taken and handed over, up to now."""
    calls = [each for function in xi.patch.report().values() for each in function.items()]
    return sum(n for why, n in calls if why == "taken"), sum(n for why, n in calls if why != "taken")


def main() -> None:
    chosen = arguments(__doc__, minutes=6.0).parse_args()
    torch.set_num_threads(1)
    xi.set_workers(1)
    rows: list[list[Any]] = []
    absent: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in PROJECTS:
            try:
                cases = list(globals()[name.replace("-", "_")]())
            except ImportError as cause:
                absent.append(f"{name}: {cause}")
                continue
            for case in cases[:1] if chosen.quick else cases:
                rows.append(tried(case, 0 if chosen.quick else chosen.minutes * 60 / 40))
                print(*rows[-1], flush=True)
    wrong = [row for row in rows if not row[-1]]
    shown = [[*row[:4], f"{row[4]:.0e}"] for row in rows]
    write(
        __file__,
        chosen.output,
        f"Real projects, patched: {machine().replace('-', ' ')}",
        f"{versions(*PROJECTS)}. One thread each, float32 but for NumPy's own transforms; weights are random. A factor "
        "is the median over rounds of the time of a call that is not patched divided by that of one that is: above 1, "
        "patched is faster. Calls: how many the patch took of those that came to it; one call: the project has a "
        "transform of its own, and a call of ours stands in its place. Apart: the largest difference of results and "
        "gradients, relative to the largest value. " + " ".join(f"Not installed: {each}." for each in absent),
        table(["project", "what", "factor", "calls", "apart"], shown),
        suffix=f"-{machine()}",
    )
    if wrong:
        sys.exit(f"other numbers: {wrong}")


if __name__ == "__main__":
    main()
