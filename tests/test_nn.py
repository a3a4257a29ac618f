"""The modules: nnAudio's parameters, any precision and device, no state, and an inverse that exports."""

import copy
import io
import os
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xp_istft as xi  # noqa: E402
from xp_istft.nn import ISTFT, STFT, GriffinLim  # noqa: E402

KINDS = [
    {},
    {"trainable_window": True},
    {"trainable_kernels": True},
    {"trainable_window": True, "trainable_kernels": True},
]


def randn(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def error(a, b):
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("n_fft", [64, 63])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"win_length": 50, "hop_length": 11},
        {"padding": "same", "hop_length": 16, "win_length": 48},
        {"scaling": "psd"},
    ],
    ids=str,
)
def test_both_modules_agree_with_the_functions(kind, n_fft, options):
    x = randn(2, 3, 500)
    X = xi.stft(x, n_fft, pad_mode="reflect", **options)
    assert error(STFT(n_fft=n_fft, **options, **kind)(x), X) < 2e-5
    inverse = ISTFT(n_fft=n_fft, **options, **kind)
    assert error(inverse(X, length=500), x) < 5e-6
    assert error(inverse(torch.view_as_real(X), length=500), x) < 5e-6
    assert error(inverse(X), xi.istft(X, n_fft=n_fft, **options)) < 5e-6


def test_parameters_of_nnaudio_are_taken_in_its_order():
    inverse = ISTFT(64, 60, 33, 15, "hamming", "no", True, 50, 6000, 22050, False, False, False, True)
    x = randn(600)
    X = STFT(64, 60, 33, 15, "hamming", "no", True, "reflect", True, 50, 6000, 22050)(x)
    assert error(inverse(X, True, 600, None), x) < 1e-5
    two = xi.stft(x, 64, hop_length=15, win_length=60, window="hamming", onesided=False)
    assert error(inverse(two, False, 600, True), x) < 1e-5
    assert error(inverse(two, length=600), x) < 1e-5


SCALE = dict(freq_bins=90, freq_scale="log", fmin=60, fmax=4000, sr=8000)


@pytest.mark.parametrize("trainable_kernels", [False, True])
@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
def test_other_frequency_scales_are_inverted(scale, trainable_kernels):
    kind = dict(SCALE, freq_scale=scale, trainable_kernels=trainable_kernels)
    forward, inverse = STFT(64, **kind).double(), ISTFT(64, **kind).double()
    make = xi.linear_frequencies if scale == "linear" else xi.log_frequencies
    F = make(90, 60, 4000, 8000)
    assert forward.frequencies == inverse.frequencies == F
    assert "90 from 60" in repr(inverse)
    x = randn(2, 300, dtype=torch.float64)
    X = forward(x)
    assert error(X, xi.stft(x, 64, frequencies=F, pad_mode="reflect")) < 1e-5  # kernels begin in float32
    bins = dict(frequencies=F.basis(64), weights=F.density(64)) if trainable_kernels else dict(frequencies=F)
    due = xi.istft(X.detach(), n_fft=64, length=300, **bins)
    assert error(inverse(torch.view_as_real(X), False, 300).detach(), due) < 1e-3
    assert error(forward.inverse(X, length=300).detach(), due) < 1e-3
    assert len(list(inverse.parameters())) == 2 * trainable_kernels
    single = ISTFT(64, **kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert error(single(X.detach().to(torch.complex64), length=300).double(), due) < 1e-2


def test_kernels_of_a_scale_train():
    """Towards the kernels that made the spectrum; and the window with them."""
    x = randn(4, 200, dtype=torch.float64)
    kind = dict(SCALE, freq_bins=24, fmin=100, trainable_kernels=True, hop_length=4)
    forward = STFT(16, **kind).double()
    with torch.no_grad():
        forward.kernel_real += 0.05 * randn(24, 16, dtype=torch.float64)
        X = forward(x)
    module = ISTFT(16, trainable_window=True, **kind).double()
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = (module(X, length=200) - x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(bool(torch.isfinite(each.grad).all()) for each in module.parameters())


def test_what_does_not_go_with_other_scales_is_refused():
    for options in ({"export": True}, {"trainable_synthesis_window": True}, {"synthesis_window": "hann"}):
        with pytest.raises(ValueError, match=f"ISTFT: {next(iter(options))}: need .* with freq_scale='log'"):
            ISTFT(64, **SCALE, **options)


def test_wrong_arguments_are_refused_by_name():
    for text, options in {
        "freq_bins: need <= 33": {"freq_bins": 40},
        "window: need a known name": {"window": "hannn"},
        "center: need a bool": {"center": 1},
        "scaling: need": {"scaling": "none"},
        "padding: need": {"padding": "both"},
        "sr: need": {"sr": -1},
        "trainable_window: need a bool": {"trainable_window": 1},
    }.items():
        with pytest.raises((TypeError, ValueError), match=text):
            ISTFT(64, **options)
    for name in ("trainable_kernels", "trainable_window", "trainable_synthesis_window"):
        with pytest.raises(ValueError, match=f"{name}: need False with export=True"):
            ISTFT(64, export=True, **{name: True})
    with pytest.raises(ValueError, match="max_gain: need None with export=True"):
        ISTFT(64, export=True, max_gain=3)
    with pytest.raises(xi.NOLAError):
        ISTFT(64, hop_length=64, export=True)
    with pytest.raises(TypeError, match="X: need complex"):
        ISTFT(64)(randn(33, 5))
    with pytest.raises(TypeError, match="X: need a torch tensor"):
        ISTFT(64)(np.ones((33, 5), complex))
    with pytest.raises(ValueError, match="onesided: need True with trainable_kernels"):
        ISTFT(64, trainable_kernels=True)(randn(64, 5, dtype=torch.complex64), onesided=False)
    with pytest.raises(ValueError, match="33"):
        ISTFT(64, trainable_kernels=True)(randn(32, 5, dtype=torch.complex64), onesided=True)
    with pytest.raises(ValueError, match="X: need pairs"):
        ISTFT(64, export=True)(randn(33, 5))


def test_untrained_modules_hold_a_window_and_no_matrix():
    for module in (ISTFT(2048), STFT(2048), ISTFT(2048, trainable_window=True)):
        held = [*module.parameters(), *module.buffers()]
        assert sum(t.numel() for t in held) == 2048
    assert {n: tuple(p.shape) for n, p in ISTFT(64, trainable_kernels=True).named_parameters()} == {
        "kernel_real": (33, 64),
        "kernel_imag": (33, 64),
    }


def test_verbose_prints_one_line(capsys):
    ISTFT(64, verbose=True)
    STFT(64)
    assert capsys.readouterr().out.count("\n") == 1
    assert "n_fft=64" in repr(ISTFT(64))


def test_output_formats():
    x = randn(300)
    X = STFT(64)(x)
    assert torch.equal(STFT(64, output_format="pairs")(x), torch.view_as_real(X))
    assert torch.equal(STFT(64, output_format="magnitude")(x), X.abs())
    assert torch.equal(STFT(64)(x, output_format="phase"), X.angle())
    with pytest.raises(ValueError, match="output_format"):
        STFT(64)(x, output_format="polar")


@pytest.mark.parametrize("kind", [*KINDS, {"export": True}, {"synthesis_window": "hamming"}], ids=str)
def test_state_dict_copy_and_pickle_keep_everything(kind):
    X = STFT(64)(randn(300))
    X = torch.view_as_real(X) if kind.get("export") else X
    module = ISTFT(64, window=("kaiser", 5.0), **kind)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
    other = ISTFT(64, **kind)
    assert error(other(X), module(X)) > 1e-4
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    assert str(other.load_state_dict(torch.load(file))) == "<All keys matched successfully>"
    assert error(other(X), module(X)) < 1e-5
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(X), module(X))
        assert twin.state_dict().keys() == module.state_dict().keys()


def test_casting_back_and_forth_loses_nothing():
    x = randn(300, dtype=torch.float64)
    for module in (ISTFT(64), ISTFT(64, synthesis_window="hamming")):
        for step in ("half", "float", "double"):
            module = getattr(module, step)()
            assert {b.dtype for b in module.buffers()} == {
                getattr(torch, {"half": "float16", "float": "float32", "double": "float64"}[step])
            }
        assert error(module(xi.stft(x, 64), length=300), x) < 1e-14
    module = ISTFT(64)
    module.load_state_dict(copy.deepcopy(module).half().state_dict())
    assert error(module.double()(xi.stft(x, 64), length=300), x) < 1e-14
    exported = ISTFT(64, export=True).half().double()
    assert error(exported(torch.view_as_real(xi.stft(x, 64)), length=300), x) < 1e-13
    meta = ISTFT(64).to("meta")
    assert meta(torch.empty(33, 5, dtype=torch.complex64, device="meta")).shape == (64,)


def test_half_precision_comes_back_as_it_went_in():
    x = randn(300)
    pairs = torch.view_as_real(xi.stft(x, 64))
    for kind in (*KINDS, {"export": True}):
        for half in (torch.float16, torch.bfloat16):
            y = ISTFT(64, **kind)(pairs.to(half), length=300)
            assert y.dtype == half
            assert error(y.float(), x) < 0.05
    for kind in KINDS:
        for half in (torch.float16, torch.bfloat16):
            y = STFT(64, output_format="pairs", **kind)(x.to(half))
            assert y.dtype == half
            assert STFT(64, **kind).inverse(y, length=300).dtype == half
            assert error(torch.view_as_complex(y.float()), STFT(64)(x)) < 0.2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_autocast_changes_nothing(kind):
    x = randn(300)
    forward, inverse = STFT(64, **kind), ISTFT(64, **kind)
    X = forward(x)
    y = inverse(X, length=300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(forward(x), X)
        assert torch.equal(inverse(X, length=300), y)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_forward_writes_no_state(kind):
    module = ISTFT(64, **kind)
    before = dict(vars(module))
    for n_frames in (5, 9):
        module(randn(33, n_frames, dtype=torch.complex64)).sum()
    assert {k: id(v) for k, v in vars(module).items()} == {k: id(v) for k, v in before.items()}


@pytest.mark.parametrize("kind", [{}, {"trainable_window": True, "trainable_kernels": True}], ids=str)
def test_modules_compile_whole(kind):
    x = randn(2, 300)
    forward, inverse = STFT(64, **kind), ISTFT(64, **kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch._dynamo.reset()
        compiled = torch.compile(lambda x: inverse(forward(x), length=300), fullgraph=True, backend="aot_eager")
        assert error(compiled(x), inverse(forward(x), length=300)) < 1e-6


def test_second_backward_with_another_number_of_frames():
    module = ISTFT(64, trainable_window=True)
    for n_frames in (5, 9):
        module(randn(33, n_frames, dtype=torch.complex64), refresh_win=False).sum().backward()
    assert torch.isfinite(module.window.grad).all()


def test_window_and_kernels_learn_to_invert_an_unknown_window():
    x = randn(8, 300, dtype=torch.float64)
    X = xi.stft(x, 32, hop_length=8, window=2 * np.blackman(33)[:-1] + 0.2)
    module = ISTFT(32, hop_length=8, trainable_window=True, trainable_kernels=True).double()
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=40, line_search_fn="strong_wolfe")
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = (module(X, length=300) - x).square().mean()
        loss.backward()
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
    assert losses[-1] < 1e-4 * losses[0]
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"win_length": 50, "hop_length": 11},
        {"center": False, "nola": "zero"},
        {"padding": "same"},
        {"synthesis_window": "hamming", "scaling": "ortho"},
    ],
    ids=str,
)
@pytest.mark.parametrize("n_fft", [64, 63])
def test_exported_form_gives_the_same_signal(options, n_fft):
    X = xi.stft(randn(2, 3, 500, dtype=torch.float64), n_fft, window="hann")
    module = ISTFT(n_fft, export=True, **options).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xi.CoverageWarning)
        for length in (None, 100, 520):
            y = module(torch.view_as_real(X), length=length)
            assert error(y, xi.istft(X, n_fft=n_fft, length=length, **options)) < 1e-12
        assert error(module(X), module(torch.view_as_real(X))) == 0


@pytest.mark.parametrize("options", [{}, {"win_length": 50, "hop_length": 11}, {"padding": "same"}], ids=str)
def test_onnx_gives_the_same_signal_for_any_number_of_frames(tmp_path, options):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    module = ISTFT(64, export=True, **options)
    pairs = torch.view_as_real(xi.stft(randn(2, 400), 64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (pairs,), dynamo=True, verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch"), 2: torch.export.Dim("frames")},),
        )  # fmt: skip
        path = os.fspath(tmp_path / "inverse.onnx")
        program.save(path)
    operators = {node.op_type for node in program.model_proto.graph.node}
    assert not operators & {"ScatterND", "ScatterElements", "DFT", "STFT", "ComplexMul", "Loop"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, n_frames in ((2, pairs.shape[-2]), (1, 7), (5, 40)):
        X = randn(batch, 33, n_frames, dtype=torch.complex64)
        (y,) = session.run(None, {session.get_inputs()[0].name: torch.view_as_real(X).numpy()})
        assert error(torch.asarray(y), xi.istft(X, n_fft=64, **options)) < 1e-5


@pytest.mark.parametrize("momentum", [0, 0.99])
@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (63, 20)])
def test_griffin_lim_is_librosas(momentum, n_fft, hop):
    librosa = pytest.importorskip("librosa")
    S = STFT(n_fft, hop_length=hop, pad_mode="constant")(randn(900, dtype=torch.float64)).abs()
    phase = 6 * torch.rand(S.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = GriffinLim(n_fft, 32, hop, pad_mode="constant", momentum=momentum)(S, phase=phase)

    # librosa's loop with a start of our own: its `init` takes none
    angles, rebuilt = np.exp(1j * phase.numpy()), 0
    kept = {"n_fft": n_fft, "hop_length": hop}
    for _ in range(32):
        before = rebuilt
        rebuilt = librosa.stft(librosa.istft(S.numpy() * angles, **kept), **kept)
        angles = rebuilt - momentum / (1 + momentum) * before
        angles /= np.abs(angles) + 1e-300
    np.testing.assert_allclose(ours, librosa.istft(S.numpy() * angles, **kept), atol=1e-6)


@pytest.mark.parametrize("center", [True, False])
def test_griffin_lim_comes_nearer(center):
    x = torch.sin(torch.arange(4000) ** 1.5 / 40) + 0.1 * randn(4000)
    S = xi.stft(x, 256, center=center).abs()
    away = []
    for n_iter in (0, 32):
        layer = GriffinLim(256, n_iter, center=center, pad_mode="constant")
        y = layer(S, length=4000, generator=torch.Generator().manual_seed(0))
        assert y.shape == (4000,)
        away.append(float((xi.stft(y, 256, center=center).abs() - S).norm() / S.norm()))
    assert away[1] < 0.25 * away[0]


def test_griffin_lim_in_batches_in_any_precision_and_with_gradients():
    S = xi.stft(randn(2, 3, 800, dtype=torch.float64), 32).abs()
    phase = torch.zeros_like(S)
    layer = GriffinLim(32, 4)
    assert error(layer(S, phase=phase)[1, 2], layer(S[1, 2], phase=phase[1, 2])) < 1e-12
    assert layer(S.bfloat16()).dtype == torch.bfloat16
    small, start = S[0, 0, :, :6].clone().requires_grad_(), phase[0, 0, :, :6] + 0.3
    assert torch.autograd.gradcheck(lambda S: layer(S, phase=start), small)
    silent = torch.zeros_like(small).requires_grad_()
    layer(silent).sum().backward()
    assert bool(torch.isfinite(silent.grad).all())
    copied = pickle.loads(pickle.dumps(layer))
    assert error(copied(S, phase=phase), layer(S, phase=phase)) == 0


def test_griffin_lim_takes_nnaudios_parameters_in_its_order():
    layer = GriffinLim(64, 3, 15, 60, "hamming", True, "reflect", 0.5, "meta")
    assert layer.window.device.type == "meta"
    assert GriffinLim(64, 3, 15, 60, "hamming", True, "reflect", 0.5, "cpu")(torch.ones(33, 9)).shape == (8 * 15,)


def test_griffin_lim_refuses():
    with pytest.raises(TypeError, match="GriffinLim: S: need a real floating torch tensor, got torch.complex64"):
        GriffinLim(32)(torch.ones(17, 4, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"GriffinLim: phase: need shape \(17, 4\), got \(17, 5\)"):
        GriffinLim(32)(torch.ones(17, 4), phase=torch.ones(17, 5))
    with pytest.raises(ValueError, match="GriffinLim: momentum: need a finite number >= 0, got -1"):
        GriffinLim(32, momentum=-1)


def test_a_wrong_synthesis_window_is_named():
    unknown = torch.full((256,), torch.nan)
    for given, text in (
        (np.ones(5), "length 256, got 5"),
        ("hannn", "a known name"),
        (unknown, "finite values, got nan"),
    ):
        with pytest.raises(ValueError, match=f"^ISTFT: synthesis_window: need {text}"):
            ISTFT(256, synthesis_window=given)
