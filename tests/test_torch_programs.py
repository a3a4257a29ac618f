"""Programs that leave Python: exported to operators of ATen alone, as ONNX, loaded where xp_istft never was."""

import io
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
        for kind in (DeprecationWarning, FutureWarning, UserWarning, ResourceWarning, torch.jit.TracerWarning):
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
    subprocess.run([sys.executable, "-c", LOADED], cwd=tmp_path, check=True, timeout=1200)


COMPILED = """
import sys, torch
model = torch._inductor.aoti_load_package("model.pt2")
for x, due in torch.load("data.pt"):
    y = model(x)
    assert y.shape == due.shape and (y - due).abs().max() < 2e-6 * due.abs().max()
assert not any(name.startswith("xp_istft") for name in sys.modules)
"""


def test_compiled_packages_are_right_for_every_length_where_xp_istft_never_was(tmp_path, monkeypatch):
    """AOTInductor: a wave-to-wave model as machine code."""
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        pytest.skip("no C++ compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", os.fspath(tmp_path))
    module, argument, _ = MODELS["masked"]
    torch._inductor.aoti_compile_and_package(exported("masked"), package_path=os.fspath(tmp_path / "model.pt2"))
    pairs = [(x, module(x)) for x in (argument(n, batch) for n, batch in zip(LENGTHS, (3, 2, 5, 3, 2), strict=True))]
    torch.save(pairs, tmp_path / "data.pt")
    subprocess.run([sys.executable, "-c", COMPILED], cwd=tmp_path, check=True, timeout=1200)


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


class InRealNumbers(torch.nn.Module):
    """Wave to wave by the modules that compute with real numbers alone."""

    def __init__(self, **layout):
        super().__init__()
        transform = xi.STFT(64, **layout)
        self.forth, self.back = nn.STFT(transform, export=True), nn.ISTFT(transform, export=True)

    def forward(self, x):
        X = self.forth(x)
        return self.back(X * torch.sigmoid(X.square().sum(-1, keepdim=True)), length=x.shape[-1])


IN_REAL_NUMBERS = {
    "nn.ISTFT": (nn.ISTFT(xi.STFT(64), export=True), of_pairs, 2),
    "magnitudes": (nn.STFT(xi.STFT(64), output_format="magnitude", export=True), of_samples, 1),
    "wave to wave": (InRealNumbers(), of_samples, 1),
    "reflected, hops that do not divide": (InRealNumbers(hop_length=24, pad_mode="reflect"), of_samples, 1),
    "full, symmetric": (InRealNumbers(padding="full", pad_mode="symmetric"), of_samples, 1),
    "same, edge": (InRealNumbers(padding="same", win_length=50, pad_mode="edge"), of_samples, 1),
    "wrapped": (InRealNumbers(padding=(48, 16), pad_mode="wrap"), of_samples, 1),
}


@pytest.mark.parametrize("name", IN_REAL_NUMBERS)
def test_the_old_exporter_to_onnx_takes_modules_in_real_numbers(name):
    """dynamo=False: one file is right for every batch and length, and holds no size of the run that was recorded."""
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    module, argument, axis = IN_REAL_NUMBERS[name]
    file = io.BytesIO()
    options = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch", axis: "size"}}}
    torch.onnx.export(module, (argument(20),), file, dynamo=False, **options)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for n in LENGTHS:
        x = argument(n, 3)
        (y,) = session.run(None, {"x": x.numpy()})
        assert_near(torch.asarray(y), module(x))


def test_the_old_exporter_to_onnx_is_refused_by_name_where_complex_numbers_are():
    pytest.importorskip("onnxscript")
    with pytest.raises(
        NotImplementedError, match=r"stft: x: need torch\.export.*, got torch\.jit\.trace; .*export=True"
    ):
        torch.onnx.export(Masked(), (of_samples(9),), io.BytesIO(), dynamo=False)


def steps_of_a_graph(x):
    targets = []

    def backend(graph, inputs):
        from functorch.compile import make_boxed_func
        from torch._dynamo.backends.common import aot_autograd

        def look(graph, inputs):
            targets.extend(str(node.target) for node in graph.graph.nodes)
            return make_boxed_func(graph.forward)

        return aot_autograd(fw_compiler=look)(graph, inputs)

    torch._dynamo.reset()
    assert_near(torch.compile(Masked(), fullgraph=True, backend=backend)(x), Masked()(x))
    return set(targets)


def test_the_compiler_keeps_the_operators(cut):
    cut(graph_items=0)
    assert {"xp_istft.spectrum.default", "xp_istft.signal.default"} <= steps_of_a_graph(of_samples(9))


def test_a_short_spectrum_is_made_of_torchs_steps():
    steps = steps_of_a_graph(of_samples(9))
    assert "xp_istft.signal.default" in steps
    assert "xp_istft.spectrum.default" not in steps
    assert "aten._fft_r2c.default" in steps
