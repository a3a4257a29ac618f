"""compat.torchaudio against torchaudio where it is installed, and against what it computes, written out, everywhere."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import warnings
from itertools import product
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
import xp_istft as xi  # noqa: E402
from xp_istft import CoverageWarning, nn  # noqa: E402
from xp_istft.compat import torchaudio as ours  # noqa: E402


def _spectrogram(
    x, pad, window, n_fft, hop, win_length, power, normalized, center=True, pad_mode="reflect", onesided=True
):
    flat = torch.nn.functional.pad(x, (pad, pad)).reshape(-1, x.shape[-1] + 2 * pad)
    ortho = normalized == "frame_length"
    X = torch.stft(flat, n_fft, hop, win_length, window, center, pad_mode, ortho, onesided, return_complex=True)
    X = X.reshape(*x.shape[:-1], *X.shape[-2:])
    X = X / window.pow(2).sum().sqrt() if normalized in (True, "window") else X
    return X if power is None else X.abs().pow(power)


def _inverse(
    X, length, pad, window, n_fft, hop, win_length, normalized, center=True, pad_mode="reflect", onesided=True
):
    X = X * window.pow(2).sum().sqrt() if normalized in (True, "window") else X
    x = torch.istft(
        X.reshape(-1, *X.shape[-2:]), n_fft, hop, win_length, window, center, normalized == "frame_length", onesided,
        None if length is None else length + 2 * pad,
    )  # fmt: skip
    x = x[:, pad : x.shape[-1] - pad] if length is not None else x
    return x.reshape(*X.shape[:-2], -1)


def _griffinlim(S, window, n_fft, hop, win_length, power, n_iter, momentum, length, rand_init):
    shape, S = S.shape, S.reshape(-1, *S.shape[-2:]).pow(1 / power)
    kind = torch.complex(S, S).dtype
    angles = torch.rand(S.shape, dtype=kind) if rand_init else torch.ones(S.shape, dtype=kind)
    before = 0
    for _ in range(n_iter):
        x = torch.istft(S * angles, n_fft, hop, win_length, window, length=length)
        rebuilt = torch.stft(x, n_fft, hop, win_length, window, return_complex=True)
        angles = rebuilt - momentum / (1 + momentum) * before
        angles = angles / (angles.abs() + 1e-16)
        before = rebuilt
    x = torch.istft(S * angles, n_fft, hop, win_length, window, length=length)
    return x.reshape(*shape[:-2], -1)


WRITTEN = SimpleNamespace(spectrogram=_spectrogram, inverse_spectrogram=_inverse, griffinlim=_griffinlim)


def torchaudio():
    """torchaudio itself; a wheel whose libraries are not there fails in many ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("torchaudio")
        except (ImportError, OSError) as cause:
            pytest.skip(f"No module named 'torchaudio': {cause}")


@pytest.fixture(params=["written", "torchaudio"])
def functional(request):
    return WRITTEN if request.param == "written" else torchaudio().functional


def randn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def window(size=50, dtype=torch.float64):
    return torch.hann_window(size, dtype=dtype) + 0.1


NORMALIZED = [False, True, "window", "frame_length"]


LAYOUTS = [(64, 16, 50), (50, 25, 50), (51, 7, 50)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_spectrograms_are_torchaudios(functional, layout, dtype, tolerance):
    dtype = getattr(torch, dtype)
    x, w = randn(2, 3, 400, dtype=dtype), window(dtype=dtype)
    options = [{}, {"center": False}, {"pad_mode": "constant", "onesided": False}]
    for normalized, power, pad, option in product(NORMALIZED, [None, 1.0, 2.0, 0.7], [0, 11], options):
        given = (x, pad, w, *layout, power, normalized)
        mine, due = (each.spectrogram(*given, **option) for each in (ours.functional, functional))
        torch.testing.assert_close(mine, due, rtol=tolerance, atol=tolerance * float(due.abs().max()))


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_powers_of_our_module_are_those_of_spectrograms(functional, power):
    window, x = torch.hann_window(50, dtype=torch.float64), randn(2, 400)
    transform = xi.STFT(50, 25, window=window.numpy(), pad_mode="reflect")
    S = nn.STFT(transform, output_format="magnitude", power=power)(x)
    torch.testing.assert_close(S, functional.spectrogram(x, 0, window, 50, 25, 50, power, False))


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_inverses_are_torchaudios(functional, layout, center):
    hop = layout[1]
    layout = layout if center else (50, hop, 50)  # torch wants weight on the first sample
    for normalized, length, pad, onesided in product(NORMALIZED, [None, 340], [0, 9], [True, False]):
        X = randn(2, 3, layout[0] // 2 + 1 if onesided else layout[0], 400 // hop, 2)
        given = (torch.view_as_complex(X), length, pad, window(), *layout, normalized, center, "reflect", onesided)
        mine, due = (each.inverse_spectrogram(*given) for each in (ours.functional, functional))
        torch.testing.assert_close(mine, due, rtol=1e-12, atol=1e-12 * float(due.abs().max()))


@pytest.mark.parametrize("rand_init", [True, False])
@pytest.mark.parametrize(("momentum", "n_iter"), [(0.99, 0), (0.99, 6), (0.0, 3)])
def test_griffin_lims_are_torchaudios(functional, momentum, n_iter, rand_init):
    """Random phases are torchaudio's where the seed is."""
    x = randn(2, 3, 400)
    for length, power, layout in ((400, 2.0, (64, 16, 50)), (None, 1.0, (50, 25, 50)), (None, 0.5, (51, 7, 51))):
        w = window(layout[2])
        S = _spectrogram(x, 0, w, *layout, power, False)
        results = []
        for each in (ours.functional, functional):
            torch.manual_seed(0)
            results.append(each.griffinlim(S.clone(), w, *layout, power, n_iter, momentum, length, rand_init))
        torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_gradients_are_torchaudios(functional):
    """Of signal and window."""
    x, w = randn(2, 200).requires_grad_(), window().requires_grad_()

    def loss(functional):
        X = functional.spectrogram(x, 3, w, 64, 16, 50, None, "window")
        y = functional.inverse_spectrogram(X * X.abs(), 200, 3, w, 64, 16, 50, "frame_length")
        S = functional.spectrogram(x, 0, w, 64, 16, 50, 2.0, True)
        z = functional.griffinlim(S, w, 64, 16, 50, 2.0, 2, 0.5, 200, False)
        return (y**3).sum() + S.sum() + (z**3).sum()

    for mine, due in zip(
        *(torch.autograd.grad(loss(each), (x, w)) for each in (ours.functional, functional)), strict=True
    ):
        torch.testing.assert_close(mine, due, rtol=1e-7, atol=1e-7)


def made(module, **options):
    """The modules, with the data that they take."""
    S = randn(2, 26, 17, dtype=torch.float32).abs()
    yield module.Spectrogram(50, hop_length=25, **options), randn(2, 400, dtype=torch.float32)
    yield module.InverseSpectrogram(50, hop_length=25, **options), torch.complex(S, S)
    yield module.GriffinLim(50, hop_length=25, rand_init=False, n_iter=2, **options), S


def test_modules_hold_a_window_that_moves_loads_and_is_copied():
    hamming, hann = list(made(ours, window_fn=torch.hamming_window)), list(made(ours))
    for (other, data), (module, _) in zip(hamming, hann, strict=True):
        assert not torch.equal(module(data), other(data))
        module.load_state_dict(other.state_dict())
        for each in (module, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
            assert torch.equal(each(data), other(data))
        assert module.double()(data.to(torch.complex128 if data.is_complex() else torch.float64)).dtype == torch.float64
    assert ours.Spectrogram(wkwargs={"periodic": False}).window[-1] == 0


def test_state_and_results_of_modules_are_torchaudios():
    theirs = torchaudio().transforms
    mine = list(made(ours.transforms))
    for (module, data), (peer, _) in zip(mine, made(theirs, window_fn=torch.hamming_window), strict=True):
        module.load_state_dict(peer.state_dict())
        torch.testing.assert_close(module(data), peer(data), rtol=1e-4, atol=1e-4)
        peer.load_state_dict(module.state_dict())
        assert vars(module).keys() - vars(peer).keys() == set()


@pytest.mark.parametrize("place", ["functional", "transforms"])
def test_signatures_are_torchaudios(place):
    mine, theirs = getattr(ours, place), getattr(torchaudio(), place)
    for name in mine.__all__:
        shown = [
            [(each.name, each.default) for each in inspect.signature(getattr(module, name)).parameters.values()]
            for module in (mine, theirs)
        ]
        assert shown[0] == shown[1]


def test_half_precision_is_kept():
    x = randn(2, 400, dtype=torch.float32)
    S = ours.Spectrogram(50)(x)
    module = ours.GriffinLim(50, n_iter=2, rand_init=False)
    y = module(S.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), module(S), rtol=0, atol=0.5)
    assert ours.Spectrogram(50)(x.bfloat16()).dtype == torch.float32


def test_warnings_are_torchaudios():
    text = "^`return_complex` argument is now deprecated and is not effective.`torchaudio.{}"
    arguments = (torch.zeros(200), 0, window(), 50, 25, 50, 2.0, False)
    with pytest.warns(UserWarning, match=text.format("functional.spectrogram")):
        ours.functional.spectrogram(*arguments, return_complex=True)
    with pytest.warns(UserWarning, match=text.format("transforms.Spectrogram")):
        ours.Spectrogram(return_complex=True)
    with pytest.warns(CoverageWarning):  # where torch raises
        ours.InverseSpectrogram(50, center=False)(torch.ones(26, 9, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: ours.Spectrogram(normalized="energy")(torch.zeros(900)),
            "^spectrogram: normalized: need True or False",
        ),
        (lambda: ours.Spectrogram(pad=-1)(torch.zeros(900)), "^spectrogram: pad: need >= 0"),
        (lambda: ours.Spectrogram(power=-1.0)(torch.zeros(900)), "^spectrogram: power: need a finite number >= 0"),
        (lambda: ours.Spectrogram()(torch.zeros(900, dtype=int)), "^spectrogram: waveform: need dtype"),
        (lambda: ours.Spectrogram(hop_length=0)(torch.zeros(900)), "^spectrogram: hop_length: need >= 1"),
        (lambda: ours.InverseSpectrogram()(torch.zeros(201, 9)), "^Expected `spectrogram` to be complex dtype"),
        (
            lambda: ours.InverseSpectrogram()(torch.zeros(99, 9) * 1j),
            "^inverse_spectrogram: spectrogram: need 201 bins",
        ),
        (lambda: ours.GriffinLim(momentum=1), r"^momentum must be in range \[0, 1\). Found: 1"),
        (
            lambda: ours.GriffinLim()(torch.ones(201, 9) * 1j),
            "^griffinlim: specgram: need a real floating torch tensor",
        ),
        (lambda: ours.GriffinLim()(torch.ones(99, 9)), "^griffinlim: specgram: need 201 bins"),
        (lambda: ours.GriffinLim()(-torch.ones(201, 9)), "^griffinlim: specgram: need finite magnitudes >= 0"),
        (lambda: ours.functional.spectrogram(torch.zeros(99), 0, "hann", 9, 3, 9, None, False), "window: need a torch"),
    ],
)
def test_errors_name_torchaudios_parameters(call, text):
    with pytest.raises((TypeError, ValueError), match=text):
        call()


def test_modules_compile_whole_and_are_not_scripted():
    for module, data in made(ours):
        if not isinstance(module, ours.InverseSpectrogram):
            torch._dynamo.reset()
            compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
            torch.testing.assert_close(compiled(data), module(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that TorchScript is old
            with pytest.raises(NotImplementedError, match="script: need torch.compile"):
                torch.jit.script(module)
