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

with warnings.catch_warnings():  # the first use of forward mode makes torch call functions that it deprecates
    warnings.simplefilter("ignore")
    torch.autograd.forward_ad._maybe_load_decompositions()

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
    transform = xi.STFT(n_fft, pad_mode="reflect", **options)
    assert error(STFT(transform, **kind)(x), X) < 2e-5
    inverse = ISTFT(transform, **kind)
    assert error(inverse(X, length=500), x) < 5e-6
    assert error(inverse(torch.view_as_real(X), length=500), x) < 5e-6
    assert error(inverse(X), xi.istft(X, n_fft=n_fft, **options)) < 5e-6


def test_a_two_sided_transform_has_a_complex_inverse():
    transform = xi.STFT(64, 15, 60, "hamming", onesided=False)
    x = randn(600)
    X = STFT(transform)(x)
    assert X.shape[-2] == 64
    y = ISTFT(transform)(X, length=600)
    assert error(y.real, x) < 1e-5
    assert error(ISTFT(transform)(torch.view_as_real(X), length=600), y) == 0
    signal = randn(600, dtype=torch.complex64)
    assert error(STFT(transform).inverse(STFT(transform)(signal), length=600), signal) < 1e-5


LOG = xi.log_frequencies(90, 60, 4000, 8000)


@pytest.mark.parametrize("trainable_kernels", [False, True])
@pytest.mark.parametrize("F", [LOG, xi.linear_frequencies(90, 60, 4000, 8000)], ids=["log", "linear"])
def test_other_frequencies_are_inverted(F, trainable_kernels):
    transform = xi.STFT(64, pad_mode="reflect", frequencies=F)
    kind = {"trainable_kernels": trainable_kernels}
    forward, inverse = STFT(transform, **kind).double(), ISTFT(transform, **kind).double()
    assert "90 from 60" in repr(inverse)
    x = randn(2, 300, dtype=torch.float64)
    X = forward(x)
    assert error(X, xi.stft(x, 64, frequencies=F, pad_mode="reflect")) < 1e-5  # kernels begin in float32
    if trainable_kernels:
        bins = {"frequencies": F.basis(64), "solver": xi.Dual(F.density(64))}
    else:
        bins = {"frequencies": F}
    due = xi.STFT(64, pad_mode="reflect", **bins).istft(X.detach(), length=300)
    assert error(inverse(torch.view_as_real(X), 300).detach(), due) < 1e-3
    assert error(forward.inverse(X, length=300).detach(), due) < 1e-3
    assert len(list(inverse.parameters())) == 2 * trainable_kernels
    single = ISTFT(transform, **kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert error(single(X.detach().to(torch.complex64), length=300).double(), due) < 1e-2


def test_kernels_of_other_frequencies_train():
    """Towards the kernels that made the spectrum; and the window with them."""
    x = randn(4, 200, dtype=torch.float64)
    transform = xi.STFT(16, 4, frequencies=xi.log_frequencies(24, 100, 4000, 8000))
    forward = STFT(transform, trainable_kernels=True).double()
    with torch.no_grad():
        forward.kernel_real += 0.05 * randn(24, 16, dtype=torch.float64)
        X = forward(x)
    module = ISTFT(transform, trainable_window=True, trainable_kernels=True).double()
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


def test_kernels_begin_as_a_basis_that_is_given():
    F = LOG.basis(64)
    module = ISTFT(xi.STFT(64, frequencies=torch.asarray(F).requires_grad_()), trainable_kernels=True).double()
    assert error(module.kernel_real, torch.asarray(F.real)) < 1e-6
    assert isinstance(module.transform.frequencies, np.ndarray)
    assert ISTFT(xi.STFT(64, frequencies=F)).transform == module.transform


def test_wrong_arguments_are_refused_by_name():
    for module in (STFT, ISTFT, GriffinLim):
        name = module.__name__
        with pytest.raises(TypeError, match=f"^{name}: transform: need an xp_istft.STFT, got int"):
            module(64)
    t = xi.STFT(64)
    with pytest.raises(TypeError, match="^ISTFT: trainable_window: need a bool"):
        ISTFT(t, trainable_window=1)
    for name in ("trainable_kernels", "trainable_window", "trainable_synthesis_window"):
        with pytest.raises(ValueError, match=f"{name}: need False with export=True"):
            ISTFT(t, export=True, **{name: True})
    for name, value in {
        "max_gain": 3.0, "frequencies": LOG, "solver": xi.Adjoint(), "onesided": False,
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"^ISTFT: {name}: need .* with export=True"):
            ISTFT(xi.STFT(64, **{name: value}), export=True)
    with pytest.raises(ValueError, match="^ISTFT: trainable_synthesis_window: need False with frequencies="):
        ISTFT(xi.STFT(64, frequencies=LOG), trainable_synthesis_window=True)
    with pytest.raises(xi.NOLAError):
        ISTFT(xi.STFT(64, 64), export=True)
    with pytest.raises(TypeError, match="X: need complex"):
        ISTFT(t)(randn(33, 5))
    with pytest.raises(TypeError, match="X: need a torch tensor"):
        ISTFT(t)(np.ones((33, 5), complex))
    with pytest.raises(ValueError, match="33"):
        ISTFT(t, trainable_kernels=True)(randn(32, 5, dtype=torch.complex64))
    with pytest.raises(ValueError, match="X: need pairs"):
        ISTFT(t, export=True)(randn(33, 5))


def test_untrained_modules_hold_a_window_and_no_matrix():
    for module in (ISTFT(), STFT(), ISTFT(trainable_window=True)):
        held = [*module.parameters(), *module.buffers()]
        assert sum(t.numel() for t in held) == 2048
    assert {n: tuple(p.shape) for n, p in ISTFT(xi.STFT(64), trainable_kernels=True).named_parameters()} == {
        "kernel_real": (33, 64),
        "kernel_imag": (33, 64),
    }


def test_a_module_shows_its_transform_and_what_it_trains():
    assert (
        repr(ISTFT(xi.STFT(64), trainable_window=True)) == "ISTFT(STFT(n_fft=64, hop_length=16), trainable_window=True)"
    )


def test_output_formats():
    x = randn(300)
    X = STFT(xi.STFT(64))(x)
    assert torch.equal(STFT(xi.STFT(64), output_format="pairs")(x), torch.view_as_real(X))
    assert torch.equal(STFT(xi.STFT(64), output_format="magnitude")(x), X.abs())
    assert torch.equal(STFT(xi.STFT(64))(x, output_format="phase"), X.angle())
    with pytest.raises(ValueError, match="output_format"):
        STFT(xi.STFT(64))(x, output_format="polar")


@pytest.mark.parametrize("kind", [*KINDS, {"export": True}, {"synthesis_window": "hamming"}], ids=str)
def test_state_dict_copy_and_pickle_keep_everything(kind):
    kind = dict(kind)
    windows = {"synthesis_window": kind.pop("synthesis_window", None)}
    X = STFT(xi.STFT(64))(randn(300))
    X = torch.view_as_real(X) if kind.get("export") else X
    module = ISTFT(xi.STFT(64, window=("kaiser", 5.0), **windows), **kind)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
    other = ISTFT(xi.STFT(64, **windows), **kind)
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
    for module in (ISTFT(xi.STFT(64)), ISTFT(xi.STFT(64, synthesis_window="hamming"))):
        for step in ("half", "float", "double"):
            module = getattr(module, step)()
            assert {b.dtype for b in module.buffers()} == {
                getattr(torch, {"half": "float16", "float": "float32", "double": "float64"}[step])
            }
        assert error(module(xi.stft(x, 64), length=300), x) < 1e-14
    module = ISTFT(xi.STFT(64))
    module.load_state_dict(copy.deepcopy(module).half().state_dict())
    assert error(module.double()(xi.stft(x, 64), length=300), x) < 1e-14
    exported = ISTFT(xi.STFT(64), export=True).half().double()
    assert error(exported(torch.view_as_real(xi.stft(x, 64)), length=300), x) < 1e-13
    meta = ISTFT(xi.STFT(64)).to("meta")
    assert meta(torch.empty(33, 5, dtype=torch.complex64, device="meta")).shape == (64,)


def edited(change, module):
    """The module after a change of its window, and what calls it."""
    w = torch.hamming_window(64, dtype=module.window.dtype) + 0.2
    if change == "assign":
        module.window = w
    elif change == "fill":
        module.window.fill_(0.5)
    elif change == "data":
        module.window.data = w
    elif change == "data of it":
        module.window.data.copy_(w)
    elif change == "register":
        module.register_buffer("window", w)
    elif change == "parameter":
        module.window = torch.nn.Parameter(w)
    elif change == "parametrize":
        torch.nn.utils.parametrize.register_parametrization(module, "window", _Raised())
    elif change == "average":
        module.window.mul_(0.9).add_(w, alpha=0.1)
    elif change == "load":
        module.load_state_dict({**module.state_dict(), "window": w})
    elif change == "load, assigned":
        module.load_state_dict({**module.state_dict(), "window": w}, assign=True)
    elif change == "functional call":
        return lambda *arguments: torch.func.functional_call(module, {"window": w}, arguments), w
    return module, module.window.detach().clone()


class _Raised(torch.nn.Module):
    def forward(self, window):
        return window + 0.3


CHANGES = ["assign", "fill", "data", "data of it", "register", "parameter", "parametrize", "average", "load",
           "load, assigned", "functional call"]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mode", ["grad", "no grad", "inference"])
def test_the_window_that_is_shown_is_the_one_that_is_computed_with(change, mode):
    x = randn(300)
    kept = {"grad": torch.enable_grad, "no grad": torch.no_grad, "inference": torch.inference_mode}[mode]()
    t = xi.STFT(64, pad_mode="reflect")
    with kept:
        call, w = edited(change, STFT(t))
        X = xi.STFT(64, window=w.numpy(), pad_mode="reflect").stft(x)
        assert error(call(x), X) < 1e-5
        assert error(X, t.stft(x)) > 0.1
        inverse, w = edited(change, ISTFT(xi.STFT(64, synthesis_window="hann")))
        due = xi.STFT(64, window=w.numpy(), synthesis_window="hann").istft(X)
        assert error(inverse(X), due) < 1e-5
        retrieve, w = edited(change, GriffinLim(t, n_iter=1, init="zero"))
        due = xi.griffin_lim(
            X.abs(), xi.STFT(64, window=w.numpy(), pad_mode="reflect"), n_iter=1, algorithm="fgla", init="zero"
        )
        assert error(retrieve(X.abs()), due) < 1e-5


def test_a_synthesis_window_may_be_assigned_and_taken_away():
    X = randn(33, 9, dtype=torch.complex64)
    module = ISTFT(xi.STFT(64))
    module.synthesis_window = torch.hamming_window(64)
    assert error(module(X), xi.istft(X, n_fft=64, synthesis_window=torch.hamming_window(64))) < 1e-6
    module = ISTFT(xi.STFT(64, synthesis_window="hamming"))
    module.synthesis_window = None
    assert torch.equal(module(X), xi.istft(X, n_fft=64))


@pytest.mark.parametrize("change", CHANGES[:-2])
def test_an_edited_window_is_kept_by_casts_copies_and_files(change):
    x = randn(300, dtype=torch.float64)
    t = xi.STFT(64, pad_mode="reflect")
    module, w = edited(change, STFT(t))
    due = xi.STFT(64, window=w.numpy(), pad_mode="reflect").stft(x)
    twins = [copy.deepcopy(module)]
    if change != "parametrize":
        twins.append(pickle.loads(pickle.dumps(module)))
        twins.append(STFT(t))
        twins[-1].load_state_dict(module.state_dict())
    for twin in (*twins, module):
        assert error(twin(x), due) < 1e-12
        assert error(twin.double().window, w) < 1e-7  # the parametrized one is made anew in float64
        assert error(twin(x), due) < (1e-5 if change == "parametrize" else 1e-12)
    half = module.half()
    if change != "load":  # which gives the transform a window of its own
        due = xi.STFT(64, window=half.window.detach().float().numpy(), pad_mode="reflect").stft(x)
    assert error(half(x), due) < 1e-12


def test_an_untouched_window_stays_exact_through_copies_moves_and_loads():
    x = randn(300, dtype=torch.float64)
    t = xi.STFT(64)
    for make in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.share_memory(),
                 lambda m: m.to("meta").to_empty(device="cpu"), lambda m: m.half().float()):  # fmt: skip
        assert torch.equal(make(STFT(t))(x), t.stft(x))
    assert STFT(t).share_memory().window.is_shared()
    for assign in (False, True):
        module = STFT(t)
        module.load_state_dict(STFT(t).half().state_dict(), assign=assign)
        assert torch.equal(module(x), t.stft(x))


def test_gradients_and_maps_over_windows_go_through_the_buffer():
    x, windows = randn(300, dtype=torch.float64), randn(3, 64, dtype=torch.float64).abs() + 0.3
    forward, inverse = STFT(xi.STFT(64)).double(), ISTFT(xi.STFT(64)).double()
    X = xi.stft(x, 64)

    def signal(w):
        return torch.func.functional_call(inverse, {"window": w}, (X,))

    def energy(w):
        return torch.func.functional_call(forward, {"window": w}, (x,)).abs().square().sum()

    mapped = torch.vmap(signal)(windows)
    for w, y in zip(windows, mapped, strict=True):
        assert error(y, xi.istft(X, n_fft=64, window=w)) < 1e-12
    w = windows[0].clone().requires_grad_()
    (due,) = torch.autograd.grad(xi.stft(x, 64, window=w).abs().square().sum(), w)
    assert error(torch.func.grad(energy)(windows[0]), due) < 1e-9
    assert error(torch.func.jvp(energy, (windows[0],), (windows[1],))[1], (due * windows[1]).sum()) < 1e-8
    (found,) = torch.autograd.grad(energy(w), w)
    assert error(found, due) < 1e-9
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(windows[0], windows[1])
        tangent = torch.autograd.forward_ad.unpack_dual(energy(dual)).tangent
        assert error(tangent, (due * windows[1]).sum()) < 1e-8
    own = forward.window.requires_grad_()
    forward(x).abs().square().sum().backward()
    exact = xi.STFT(64).samples()
    w = torch.tensor(exact, requires_grad=True)
    (due,) = torch.autograd.grad(xi.stft(x, 64, window=w).abs().square().sum(), w)
    assert error(own.grad, due) < 1e-9


@pytest.mark.parametrize("change", ["assign", "fill", "data of it", "parametrize", "functional call"])
@pytest.mark.parametrize("kind", [STFT, ISTFT])
def test_graphs_compute_with_the_edited_window(change, kind):
    data = randn(300) if kind is STFT else randn(33, 9, dtype=torch.complex64)
    module = kind(xi.STFT(64, nola="zero"))
    torch._dynamo.reset()
    call, _ = edited(change, module)
    compiled = torch.compile(lambda data: call(data), fullgraph=True, backend="aot_eager")
    assert error(compiled(data), call(data)) < 1e-5
    assert error(call(data), kind(xi.STFT(64))(data)) > 1e-2
    if change in ("assign", "fill", "data of it"):
        for strict in (False, True):
            program = torch.export.export(module, (data,), strict=strict).module()
            assert error(program(data), module(data)) < 1e-5


def test_assigning_a_window_makes_a_new_graph():
    x, module = randn(300), STFT(xi.STFT(64))
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert error(compiled(x), xi.stft(x, 64)) < 1e-5
    module.window = torch.ones(64)
    assert error(compiled(x), xi.stft(x, 64, window="boxcar")) < 1e-5
    module.window.fill_(0.5)
    assert error(compiled(x), 0.5 * xi.stft(x, 64, window="boxcar")) < 1e-5


def test_the_exported_form_computes_with_the_edited_window():
    X = randn(33, 9, dtype=torch.complex64)
    module = ISTFT(xi.STFT(64), export=True)
    module.window = torch.hamming_window(64)
    assert error(module(X), xi.istft(X, n_fft=64, window="hamming")) < 1e-5
    assert error(module.double()(X.to(torch.complex128)), xi.istft(X, n_fft=64, window="hamming")) < 1e-5
    with pytest.raises(ValueError, match="^ISTFT: window: need that of the transform, with export=True"):
        torch.func.functional_call(module, {"window": torch.ones(64).requires_grad_()}, (X,))


def test_half_precision_comes_back_as_it_went_in():
    x = randn(300)
    pairs = torch.view_as_real(xi.stft(x, 64))
    for kind in (*KINDS, {"export": True}):
        for half in (torch.float16, torch.bfloat16):
            y = ISTFT(xi.STFT(64), **kind)(pairs.to(half), length=300)
            assert y.dtype == half
            assert error(y.float(), x) < 0.05
    for kind in KINDS:
        for half in (torch.float16, torch.bfloat16):
            y = STFT(xi.STFT(64), output_format="pairs", **kind)(x.to(half))
            assert y.dtype == half
            assert STFT(xi.STFT(64), **kind).inverse(y, length=300).dtype == half
            assert error(torch.view_as_complex(y.float()), STFT(xi.STFT(64))(x)) < 0.2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_autocast_changes_nothing(kind):
    x = randn(300)
    forward, inverse = STFT(xi.STFT(64), **kind), ISTFT(xi.STFT(64), **kind)
    X = forward(x)
    y = inverse(X, length=300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(forward(x), X)
        assert torch.equal(inverse(X, length=300), y)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_forward_writes_no_state(kind):
    module = ISTFT(xi.STFT(64), **kind)
    before = dict(vars(module))
    for n_frames in (5, 9):
        module(randn(33, n_frames, dtype=torch.complex64)).sum()
    assert {k: id(v) for k, v in vars(module).items()} == {k: id(v) for k, v in before.items()}


@pytest.mark.parametrize("kind", [{}, {"trainable_window": True, "trainable_kernels": True}], ids=str)
@pytest.mark.parametrize("frequencies", [None, LOG], ids=["DFT", "log"])
def test_modules_compile_whole(kind, frequencies):
    x = randn(2, 300)
    transform = xi.STFT(
        64, window=np.hamming(64), frequencies=frequencies, solver=xi.Adjoint() if frequencies else xi.Dual()
    )
    forward, inverse = STFT(transform, **kind), ISTFT(transform, **kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch._dynamo.reset()
        compiled = torch.compile(lambda x: inverse(forward(x), length=300), fullgraph=True, backend="aot_eager")
        assert error(compiled(x), inverse(forward(x), length=300)) < 1e-6


def test_second_backward_with_another_number_of_frames():
    module = ISTFT(xi.STFT(64), trainable_window=True)
    for n_frames in (5, 9):
        module(randn(33, n_frames, dtype=torch.complex64)).sum().backward()
    assert torch.isfinite(module.window.grad).all()


def test_window_and_kernels_learn_to_invert_an_unknown_window():
    x = randn(8, 300, dtype=torch.float64)
    X = xi.stft(x, 32, hop_length=8, window=2 * np.blackman(33)[:-1] + 0.2)
    module = ISTFT(xi.STFT(32, 8), trainable_window=True, trainable_kernels=True).double()
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
    module = ISTFT(xi.STFT(n_fft, **options), export=True).double()
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
    module = ISTFT(xi.STFT(64, **options), export=True)
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


ANALYSES = [
    {},
    {"pad_mode": "reflect"},
    {"padding": "same", "win_length": 48},
    {"padding": "full", "pad_mode": "symmetric"},
    {"center": False, "scaling": "psd"},
    {"pad_mode": "wrap", "hop_length": 40, "win_length": 50},
    {"pad_mode": "edge", "hop_length": 21},
]


@pytest.mark.parametrize("options", ANALYSES, ids=str)
@pytest.mark.parametrize("n_fft", [64, 63])
def test_exported_form_gives_the_same_spectrum_also_traced(options, n_fft):
    x = randn(2, 3, 500, dtype=torch.float64)
    t = xi.STFT(n_fft, **options)
    module = STFT(t, export=True).double()
    X = t.stft(x)
    assert error(torch.view_as_complex(module(x).contiguous()), X) < 1e-12
    assert error(module(x, output_format="magnitude"), X.abs()) < 1e-12
    assert error(module(x, output_format="phase").cos(), X.angle().cos()) < 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that TorchScript is old
        trace = torch.jit.trace(module, (x,))
    assert all(error(trace(x[..., :n]), module(x[..., :n])) == 0 for n in (130, 301, 500))


def test_exported_analysis_refuses_what_it_cannot_take():
    t = xi.STFT(64, center=False)
    with pytest.raises(ValueError, match=r"^STFT: trainable_window: need False with export=True"):
        STFT(t, export=True, trainable_window=True)
    with pytest.raises(ValueError, match=r"^STFT: onesided: need True with export=True"):
        STFT(xi.STFT(64, onesided=False), export=True)
    with pytest.raises(ValueError, match="x: need at least 64 samples"):
        STFT(t, export=True)(randn(40))
    with pytest.raises(TypeError, match=r"^STFT: x: need real floating samples"):
        STFT(t, export=True)(randn(400, dtype=torch.complex64))


class WaveToWave(torch.nn.Module):
    def __init__(self):
        super().__init__()
        t = xi.STFT(64)
        self.forth, self.back = STFT(t, export=True), ISTFT(t, export=True)

    def forward(self, x):
        pairs = self.forth(x)
        return self.back(pairs * torch.sigmoid(pairs.square().sum(-1, keepdim=True)))


def test_onnx_of_a_model_from_wave_to_wave(tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model, path, size = WaveToWave(), os.fspath(tmp_path / "model.onnx"), torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (randn(2, 400),), dynamo=True, verbose=False, dynamic_shapes=({0: size, 1: size},)
        ).save(path)  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((2, 400), (1, 161), (3, 1000)):
        x = randn(*shape)
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert error(torch.asarray(y), model(x)) < 2e-6


@pytest.mark.parametrize("export", [False, True])
def test_magnitude_and_phase_are_inverted(export):
    X = xi.stft(randn(2, 500), 64)
    module = ISTFT(xi.STFT(64), export=export)
    assert error(module(X.abs(), phase=X.angle(), length=500), xi.istft(X, length=500)) < 2e-6
    with pytest.raises(TypeError, match="ISTFT: X: need a real floating dtype with phase="):
        module(X, phase=X.angle())


@pytest.mark.parametrize("momentum", [0, 0.99])
@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (63, 20)])
def test_griffin_lim_is_librosas(momentum, n_fft, hop):
    librosa = pytest.importorskip("librosa")
    S = STFT(xi.STFT(n_fft, hop))(randn(900, dtype=torch.float64)).abs()
    phase = 6 * torch.rand(S.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = GriffinLim(xi.STFT(n_fft, hop), algorithm=xi.FastGLA(momentum))(S, phase=phase)

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
        layer = GriffinLim(xi.STFT(256, center=center, nola="zero"), n_iter=n_iter)
        y = layer(S, length=4000, generator=torch.Generator().manual_seed(0))
        assert y.shape == (4000,)
        away.append(float((xi.stft(y, 256, center=center).abs() - S).norm() / S.norm()))
    assert away[1] < 0.25 * away[0]


def test_griffin_lim_in_batches_in_any_precision_and_with_gradients():
    S = xi.stft(randn(2, 3, 800, dtype=torch.float64), 32).abs()
    phase = torch.zeros_like(S)
    layer = GriffinLim(xi.STFT(32, pad_mode="reflect"), n_iter=4)
    assert error(layer(S, phase=phase)[1, 2], layer(S[1, 2], phase=phase[1, 2])) < 1e-12
    assert layer(S.bfloat16()).dtype == torch.bfloat16
    small, start = S[0, 0, :, :6].clone().requires_grad_(), phase[0, 0, :, :6] + 0.3
    assert torch.autograd.gradcheck(lambda S: layer(S, phase=start), small)
    silent = torch.zeros_like(small).requires_grad_()
    layer(silent).sum().backward()
    assert bool(torch.isfinite(silent.grad).all())
    copied = pickle.loads(pickle.dumps(layer))
    assert error(copied(S, phase=phase), layer(S, phase=phase)) == 0


def test_the_buffer_of_griffin_lim_lies_on_its_device():
    assert GriffinLim(xi.STFT(64), device="meta").window.device.type == "meta"


def test_griffin_lim_refuses():
    with pytest.raises(TypeError, match="GriffinLim: S: need a real floating torch tensor, got torch.complex64"):
        GriffinLim(xi.STFT(32))(torch.ones(17, 4, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"GriffinLim: phase: need shape \(17, 4\), got \(17, 5\)"):
        GriffinLim(xi.STFT(32))(torch.ones(17, 4), phase=torch.ones(17, 5))
    with pytest.raises(ValueError, match="GriffinLim: algorithm: need 'hybrid' or .*, got 'phase'"):
        GriffinLim(algorithm="phase")


def test_windows_that_are_tensors_are_copied():
    w = torch.full((64,), 0.5, requires_grad=True)
    module = ISTFT(xi.STFT(64, window=w), trainable_window=True)
    assert module.window is not w
    assert not module.transform.followed
    assert error(module.window, w) == 0
    w = torch.ones(64, dtype=torch.bfloat16)
    assert error(ISTFT(xi.STFT(64, window=w)).window, w) == 0
