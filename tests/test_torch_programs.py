"""Programs that leave Python: exported to operators of ATen alone, as ONNX, loaded where xp_istft never was."""

import os
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")

import xp_istft as xi  # noqa: E402
from xp_istft import nn  # noqa: E402

T = xi.STFT(64, pad_mode="reflect")
OPEN = torch.export.Dim.DYNAMIC
LENGTHS = (2, 3, 9, 20, 31)  # frames: fewer than overlap, and more


@pytest.fixture(autouse=True)
def quiet():
    """What torch says of itself while it exports is none of ours."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning, UserWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        yield


def of_samples(n, batch=2):
    return torch.randn(batch, 16 * n + 32 + n % 5, generator=torch.Generator().manual_seed(n))


def of_pairs(n, batch=2):
    return torch.randn(batch, 33, n, 2, generator=torch.Generator().manual_seed(n))


class Masked(torch.nn.Module):
    """Wave to wave: analysis, a mask, synthesis of as many samples."""

    def __init__(self, window="hann"):
        super().__init__()
        self.transform = xi.STFT(64, window=window)

    def forward(self, x):
        X = self.transform.stft(x)
        return self.transform.istft(X * torch.sigmoid(X.abs()), length=x.shape[-1])


class Calling(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


# Module, its argument for a number of frames, and the axis whose size is left open.
MODELS = {
    "masked": (Masked(), of_samples, 1),
    "stft": (Calling(lambda x: torch.view_as_real(xi.stft(x, 64))), of_samples, 1),
    "stft, full and symmetric": (
        Calling(lambda x: torch.view_as_real(xi.stft(x, 64, padding="full", pad_mode="symmetric"))), of_samples, 1,
    ),
    "nn.STFT of magnitudes": (nn.STFT(T, output_format="magnitude"), of_samples, 1),
    "istft of pairs": (Calling(lambda p: xi.istft(xi.as_complex(p), length=150, nola="zero")), of_pairs, 2),
    "nn.ISTFT": (nn.ISTFT(xi.STFT(64)), of_pairs, 2),
    "istft of a tensor's window": (
        Calling(lambda p: xi.istft(xi.as_complex(p), window=torch.hann_window(64))), of_pairs, 2,
    ),
    "two-sided": (
        Calling(lambda x: xi.istft(xi.stft(x, 64, onesided=False), onesided=False).real), of_samples, 1,
    ),
}  # fmt: skip


def exported(name):
    module, argument, axis = MODELS[name]
    return torch.export.export(module, (argument(20),), dynamic_shapes=({0: OPEN, axis: OPEN},))


def assert_near(ours, plain):
    torch.testing.assert_close(ours, plain, rtol=0, atol=2e-6 * max(1.0, float(plain.abs().max())))


@pytest.mark.parametrize("name", MODELS)
def test_exported_programs_hold_operators_of_torch_alone(name):
    module, argument, _ = MODELS[name]
    for program in (exported(name), exported(name).run_decompositions()):
        assert not any("xp_istft" in str(node.target) for node in program.graph.nodes)
        for n in LENGTHS:
            for batch in (2, 5):
                assert_near(program.module()(argument(n, batch)), module(argument(n, batch)))


LOADED = """
import sys, warnings, torch
warnings.simplefilter("ignore")
x, due = torch.load("data.pt")
y = torch.export.load("program.pt2").module()(x)
assert (y - due).abs().max() < 2e-6 * due.abs().max(), (y - due).abs().max()
assert not any(name.startswith("xp_istft") for name in sys.modules)
"""


@pytest.mark.parametrize("name", ["masked", "nn.ISTFT"])
def test_exported_programs_load_where_xp_istft_never_was(tmp_path, name):
    module, argument, _ = MODELS[name]
    torch.export.save(exported(name), tmp_path / "program.pt2")
    torch.save((argument(13), module(argument(13))), tmp_path / "data.pt")
    subprocess.run([sys.executable, "-c", LOADED], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_programs_are_right_for_every_batch_and_length(tmp_path, name):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    module, argument, _ = MODELS[name]
    path = os.fspath(tmp_path / "model.onnx")
    torch.onnx.export(exported(name), (), dynamo=True, verbose=False).save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in LENGTHS:
        x = argument(n, 3)
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert_near(torch.asarray(y), module(x))


def test_the_compiler_keeps_the_operators():
    targets = []

    def backend(graph, inputs):
        from functorch.compile import make_boxed_func
        from torch._dynamo.backends.common import aot_autograd

        def look(graph, inputs):
            targets.extend(str(node.target) for node in graph.graph.nodes)
            return make_boxed_func(graph.forward)

        return aot_autograd(fw_compiler=look)(graph, inputs)

    torch._dynamo.reset()
    x = of_samples(9)
    assert_near(torch.compile(Masked(), fullgraph=True, backend=backend)(x), Masked()(x))
    assert {"xp_istft.spectrum.default", "xp_istft.signal.default"} <= set(targets)
