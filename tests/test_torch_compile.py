"""What follows a computation on torch - the compiler, torch.func, export, meta tensors - sees the same maps."""

import io
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial

import pytest

torch = pytest.importorskip("torch")

import xp_istft as xi  # noqa: E402
from xp_istft import nn  # noqa: E402
from xp_istft.compat import torch as compat  # noqa: E402

with warnings.catch_warnings():  # torch calls functions of its own that it deprecates
    warnings.simplefilter("ignore")
    torch.autograd.forward_ad._maybe_load_decompositions()
    import torch._dynamo.testing

D = torch.float64


@pytest.fixture
def compiler():
    """A compiler that starts afresh, and whose own warnings are none of ours."""
    torch._dynamo.reset()
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        for message in ("Torchinductor does not support", "The .grad attribute of a Tensor that is not a leaf"):
            warnings.filterwarnings("ignore", message=message)
        yield torch.compile
    torch._dynamo.reset()


def randn(*shape, dtype=D, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def spectrum(n_frames=6, n_fft=8, batch=(2,)):
    return randn(*batch, n_fft // 2 + 1, n_frames, dtype=torch.complex128)


def inverse(X, w=None):
    return xi.istft(X, hop_length=2, window="hann" if w is None else w)


def forward(x, w=None):
    return xi.stft(x, 8, hop_length=3, pad_mode="reflect", window="hann" if w is None else w)


class _Calls(torch.utils._python_dispatch.TorchDispatchMode):
    """Records which of our operators run, and with what."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args, kwargs=None):
        if function.namespace == "xp_istft":
            self.calls.append((function, args))
        return function(*args, **(kwargs or {}))


def operator_calls():
    w, X, x = (
        randn(8, seed=1).abs().add(0.1).requires_grad_(),
        spectrum().requires_grad_(),
        randn(2, 23).requires_grad_(),
    )
    with _Calls() as seen:
        for y in (
            inverse(X),
            inverse(X, w),
            forward(x),
            forward(x, w),
            xi.istft(X, hop_length=2, center=False, nola="zero"),
        ):
            y.abs().square().sum().backward()
        two = randn(2, 8, 5, dtype=torch.complex128).requires_grad_()
        xi.istft(two, onesided=False).abs().sum().backward()
    return seen.calls


def test_operators_pass_opcheck():
    calls = operator_calls()
    assert {str(function) for function, _ in calls} == {
        f"xp_istft.{name}.default" for name in ("signal", "spectrum", "window")
    }
    for function, args in calls:
        args = tuple(a.detach().clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in args)
        assert set(torch.library.opcheck(function, args).values()) == {"SUCCESS"}


def test_operators_have_gradients_of_any_order_and_map_over_batches():
    for function, args in operator_calls():
        tensors = [a.detach().clone().requires_grad_() for a in args if isinstance(a, torch.Tensor)]

        def call(*tensors, function=function, args=args):
            left = iter(tensors)
            return function(*(next(left) if isinstance(a, torch.Tensor) else a for a in args))

        assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
        assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)
        for mapped in (0, 1):
            inputs = [t.detach() for t in tensors]
            inputs[mapped] = torch.stack([inputs[mapped], 2 * inputs[mapped]], -1)
            dims = [None] * len(inputs)
            dims[mapped] = -1
            result = torch.vmap(call, tuple(dims))(*inputs)
            torch.testing.assert_close(result[1], 2 * result[0])
            torch.testing.assert_close(result[0], call(*tensors).detach())


def test_operators_have_derivatives_in_forward_mode_and_under_every_transformation():
    func = torch.func
    for function, args in operator_calls():
        one, two, *rest = (a.detach() if isinstance(a, torch.Tensor) else a for a in args)
        t, u = one * (0.3 + 0.1j) if one.is_complex() else one + 1, two * 2 - 1

        def call(one, two, function=function, rest=rest):
            return function(one, two, *rest)

        due = call(t, two), call(one, u)
        for inputs, tangents, result in (
            ((one, two), (t, u), due[0] + due[1]),
            ((one, two), (t, torch.zeros_like(two)), due[0]),
        ):
            torch.testing.assert_close(func.jvp(call, inputs, tangents)[1], result)
            with torch.autograd.forward_ad.dual_level():
                duals = [torch.autograd.forward_ad.make_dual(*pair) for pair in zip(inputs, tangents, strict=True)]
                torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(call(*duals)).tangent, result)

        def inner(two, one=one, t=t, call=call):
            return func.jvp(lambda one: call(one, two), (one,), (t,))[1]

        torch.testing.assert_close(func.jvp(inner, (two,), (u,))[1], call(t, u))  # forward over forward

        def loss(one, two, call=call):
            return call(one, two).abs().square().sum()

        held = [each.clone().requires_grad_() for each in (one, two)]
        for which, grad in enumerate(torch.autograd.grad(loss(*held), held)):
            torch.testing.assert_close(func.grad(loss, which)(one, two), grad)
        push = func.jvp(lambda two, one=one, loss=loss: func.grad(loss)(one, two), (two,), (u,))[1]
        _, pull = func.vjp(lambda two, one=one, loss=loss: func.grad(loss)(one, two), two)
        torch.testing.assert_close((pull(push)[0] * u).sum(), push.abs().square().sum())


def test_a_constant_gain_refuses_to_be_differentiated():
    (function, args), *_ = [call for call in operator_calls() if call[1][2]]
    one, two, gain, *rest = (a.detach() if isinstance(a, torch.Tensor) else a for a in args)
    with pytest.raises(NotImplementedError, match="gain: need a constant"):
        function(one, two, [each.clone().requires_grad_() for each in gain], *rest)
    with pytest.raises(NotImplementedError, match="gain: need a constant"):
        torch.func.jvp(lambda head: function(one, two, [head, *gain[1:]], *rest), (gain[0],), (gain[0],))


@pytest.mark.parametrize("engine", ["eager", "aot_eager", "inductor"])
def test_compiled_whole_with_gradients_for_several_lengths(compiler, engine):
    w = randn(8, seed=1).abs().add(0.1).requires_grad_()

    def program(X, w):
        y = inverse(X) + inverse(X, w)
        return forward(y, w).abs().square().sum(-1) + forward(y).abs().sum(-1)

    compiled = compiler(program, fullgraph=True, backend=engine)
    for n_frames in (6, 7) if engine == "inductor" else (6, 7, 9):
        X = spectrum(n_frames).requires_grad_()
        results = []
        for function in (compiled, program):
            y = function(X, w)
            results.append((y.detach(), *torch.autograd.grad(y.square().sum(), (X, w))))
        for ours, plain in zip(*results, strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-11, atol=1e-11)


def test_compiled_where_torch_arrays_were_never_seen_before():
    code = """
import warnings
import xp_istft as xi, sys
assert "torch" not in sys.modules
import torch
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    f = torch.compile(lambda x: xi.istft(xi.stft(x, 16, hop_length=4), hop_length=4), fullgraph=True, backend="eager")
    x = torch.randn(64, dtype=torch.float64)
    assert (f(x) - x).abs().max() < 1e-12
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=1200)


def test_compiled_with_the_kept_parameters(compiler):
    transform = xi.STFT(n_fft=16, hop_length=4, window="hamming")
    x = randn(3, 40)
    compiled = compiler(lambda x: transform.istft(transform.stft(x), length=40), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), x)


def test_transforms_are_constants_of_a_compiled_function(compiler):
    """Also those with windows of their own: each has a graph, and a magnitude can be inverted in one."""
    x = randn(2, 60)
    compiled = compiler(lambda x, t: t.stft(x), fullgraph=True, backend="aot_eager")
    ones, gauss = xi.STFT(16, 4, window=torch.ones(16)), xi.STFT(16, window=("gaussian", 3.0))
    for transform in (ones, gauss, ones):
        assert torch.equal(compiled(x, transform), transform.stft(x))
    S = ones.stft(x).abs()
    compiled = compiler(
        lambda S: xi.griffin_lim(S, transform=ones, n_iter=3, init="zero"), fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(S), xi.griffin_lim(S, ones, n_iter=3, init="zero"))


def recorded():
    """Every way in, with its argument: what torch's recorders of one run meet."""
    t, X, x = xi.STFT(8, 2), spectrum(), randn(2, 23)
    exporting = nn.ISTFT(t, export=True).double()
    return {
        "stft": (forward, x),
        "stft of a window": (lambda x: forward(x, torch.ones(8)), x),
        "istft": (inverse, X),
        "istft of a window": (lambda X: inverse(X, torch.ones(8)), X),
        "STFT.stft": (lambda x: t.stft(x), x),
        "STFT.istft": (lambda X: t.istft(X), X),
        "griffin_lim": (lambda S: xi.griffin_lim(S, t, n_iter=2, init="zero"), X.abs()),
        "frame": (lambda x: xi.frame(x, 8, 2), x),
        "overlap_add": (lambda y: xi.overlap_add(y, 2), randn(2, 8, 5)),
        "compat stft": (lambda x: compat.stft(x, 8, window="boxcar", return_complex=True), x),
        "compat istft": (lambda X: compat.istft(X, 8, window="boxcar"), X),
        "nn.STFT": (nn.STFT(t), x),
        "magnitudes of nn.STFT": (nn.STFT(t, output_format="magnitude"), x),
        "nn.ISTFT": (nn.ISTFT(t), X),
        "nn.ISTFT of pairs": (nn.ISTFT(t), torch.view_as_real(X)),
        "nn.GriffinLim": (nn.GriffinLim(t, n_iter=2, init="zero"), X.abs()),
        "exporting nn.ISTFT": (exporting, torch.view_as_real(X)),
    }


@pytest.mark.parametrize("way", recorded())
def test_recorders_of_one_run_are_refused_by_name(way):
    """What they would record holds for one length; torch.jit.trace of a module with export=True holds for all."""
    function, array = recorded()[way]
    need = r"need torch\.export\.export or torch\.compile, which follow sizes, got torch\."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that TorchScript is old
        if way == "exporting nn.ISTFT":
            trace = torch.jit.trace(function, (array,))
            for longer in (array, randn(3, 5, 11, 2)):
                torch.testing.assert_close(trace(longer), function(longer))
        else:
            with pytest.raises(NotImplementedError, match=need + "jit.trace"):
                torch.jit.trace(function, (array,))
        module = function if isinstance(function, torch.nn.Module) else _Calling(function)
        with pytest.raises(TypeError, match=r"got Proxy; torch\.export\.export follows this call"):
            torch.fx.symbolic_trace(module)


class _Calling(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class _CallingByName(torch.nn.Module):
    def forward(self, x):
        return xi.stft(x)


def test_torchscript_is_refused_by_name():
    t = xi.STFT(8)
    holder = torch.nn.Sequential(nn.ISTFT(t))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that TorchScript is old
        for each, name in (
            (xi.stft, "stft"),
            (xi.istft, "istft"),
            (xi.griffin_lim, "griffin_lim"),
            (compat.istft, "istft"),
            (_CallingByName(), "stft"),
            (nn.STFT(t), "STFT"),
            (nn.ISTFT(t, export=True), "ISTFT"),
            (holder, "ISTFT"),
        ):
            with pytest.raises(NotImplementedError, match=f"^{name}: script: need torch.compile or torch.export"):
                torch.jit.script(each)


def test_transformations_agree_with_the_plain_calls():
    X, w, x = spectrum(), randn(8, seed=1).abs() + 0.1, randn(2, 23)
    func = torch.func
    assert torch.equal(func.vmap(inverse)(X), inverse(X))
    assert torch.equal(func.vmap(inverse, in_dims=2, out_dims=1)(X.movedim(0, 2)), inverse(X).mT)
    y, tangent = func.jvp(inverse, (X,), (X,))
    assert torch.equal(y, tangent)
    y, pull = func.vjp(forward, x)
    (grad,) = torch.autograd.grad(forward(x.requires_grad_()), x, y)
    torch.testing.assert_close(pull(y)[0], grad)
    x = x.detach()

    def loss(w):
        return inverse(X, w).square().sum()

    def magnitude(x):
        return forward(x, w).abs().sum(0)

    torch.testing.assert_close(func.jacrev(magnitude)(x[0]), func.jacfwd(magnitude)(x[0]))
    torch.testing.assert_close(func.jacrev(lambda w: inverse(X, w))(w), func.jacfwd(lambda w: inverse(X, w))(w))
    torch.testing.assert_close(func.hessian(loss)(w), func.jacrev(func.jacrev(loss))(w))
    twice = func.jvp(lambda X: func.jvp(lambda w: inverse(X, w), (w,), (w,))[1], (X,), (X,))[1]
    torch.testing.assert_close(twice, func.jvp(lambda w: inverse(X, w), (w,), (w,))[1])
    torch.testing.assert_close(func.jacfwd(func.jacfwd(loss))(w), func.hessian(loss)(w))
    each = func.vmap(func.grad(lambda w, X: inverse(X, w).square().sum()), (None, 0))(w, X)
    torch.testing.assert_close(each.sum(0), func.grad(loss)(w))
    windows = torch.stack([w, 2 * w + 1])
    torch.testing.assert_close(func.vmap(inverse, (None, 0))(X, windows)[1], inverse(X, windows[1]))


T = xi.STFT(16, 4)
OTHER = xi.linear_frequencies(9, 0, 3000, 8000)
DUAL, ADJOINT = replace(T, frequencies=OTHER), replace(T, frequencies=OTHER, solver=xi.Adjoint())
PER_FRAME = replace(T, frequencies=xi.linear_frequencies(18, 0, 4000, 8000), solver=xi.PerFrame())
LENGTHS = (2, 3, 8, 9, 10, 11, 12, 13, 15, 18, 21, 27)  # frames: fewer than overlap, and more


def of_frames(n):
    return randn(2, 9, n, dtype=torch.complex128)


def of_samples(n):
    return randn(2, 4 * n + n % 3)


# Way in: function, its argument for a number of frames, and the axis whose size is left open.
OPEN = {
    "stft": (lambda x: xi.stft(x, 16), of_samples, 1),
    "istft": (lambda X: xi.istft(X, n_fft=16), of_frames, 2),
    "nn.STFT": (nn.STFT(T), of_samples, 1),
    "nn.ISTFT": (nn.ISTFT(T), of_frames, 2),
    "pair": (lambda x: T.istft(T.stft(x), length=x.shape[-1]), of_samples, 1),
    "compat pair": (
        lambda x: compat.istft(
            compat.stft(x, 16, window="boxcar", return_complex=True), 16, window="boxcar", length=x.shape[-1]
        ),
        lambda n: of_samples(n + 3),
        1,
    ),
    "pair of a window": (
        lambda x: xi.istft(xi.stft(x, 16, window=torch.hann_window(16)), window=torch.hann_window(16)),
        of_samples,
        1,
    ),
    "full, reflected": (
        lambda x: xi.istft(xi.stft(x, 16, padding="full", pad_mode="reflect"), padding="full", length=x.shape[-1]),
        of_samples,
        1,
    ),
    "same, two-sided": (
        lambda x: xi.istft(xi.stft(x, 16, padding="same", onesided=False), padding="same", onesided=False),
        of_samples,
        1,
    ),
    "max_gain": (lambda X: xi.istft(X, max_gain=2.0, window="hamming", center=False), of_frames, 2),
    "griffin_lim": (lambda S: xi.griffin_lim(S, T, n_iter=2, init="zero"), lambda n: of_frames(n).abs(), 2),
    "stft at other frequencies": (lambda x: xi.stft(x, 16, frequencies=OTHER), of_samples, 1),
    "nn.STFT with trained kernels": (
        nn.STFT(DUAL, trainable_kernels=True, trainable_window=True).double(), of_samples, 1,
    ),
    "Adjoint": (lambda X: ADJOINT.istft(X), of_frames, 2),
    "Adjoint, so many samples": (lambda X: ADJOINT.istft(X, length=9), of_frames, 2),
    "PerFrame": (lambda X: PER_FRAME.istft(X), lambda n: torch.cat([of_frames(n), of_frames(n)], 1), 2),
}  # fmt: skip


@pytest.mark.parametrize(("way", "dynamic"), [*((way, None) for way in OPEN), ("pair", True), ("max_gain", True)])
def test_many_lengths_cost_two_graphs_and_no_step_outside_of_them(compiler, way, dynamic):
    function, argument, _ = OPEN[way]
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = compiler(function, fullgraph=True, backend=counter, dynamic=dynamic)
    for n in LENGTHS:
        x = argument(n)
        torch.testing.assert_close(compiled(x), function(x))
    assert counter.frame_count <= 2


@pytest.mark.parametrize("way", OPEN)
def test_one_exported_program_is_right_for_every_batch_and_length(compiler, way):
    function, argument, axis = OPEN[way]
    module = function if isinstance(function, torch.nn.Module) else _Calling(function)
    open_sizes = {0: torch.export.Dim.DYNAMIC, axis: torch.export.Dim.DYNAMIC}
    program = torch.export.export(module, (argument(20),), dynamic_shapes=({**open_sizes},)).module()
    for n in LENGTHS:
        x = torch.cat([argument(n), 2 * argument(n)])
        torch.testing.assert_close(program(x), function(x))


ITERATING = {
    "istft": lambda X: xi.istft(2 * X, n_fft=16, frequencies=OTHER) + 1,
    "STFT.istft": lambda X: DUAL.istft(2 * X) + 1,
    "nn.ISTFT": nn.ISTFT(DUAL).double(),
    "nn.ISTFT with trained kernels": nn.ISTFT(DUAL, trainable_kernels=True, trainable_window=True).double(),
}


@pytest.mark.parametrize("way", ITERATING)
def test_iterations_run_between_two_graphs_and_are_refused_in_one(compiler, way):
    function, X = ITERATING[way], of_frames(9).requires_grad_()
    due = function(X)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    y = compiler(function, backend=counter)(X)
    assert torch.equal(y, due)
    assert counter.frame_count <= 2
    ours, plain = (torch.autograd.grad(each.square().sum(), X)[0] for each in (y, due))
    torch.testing.assert_close(ours, plain)
    with pytest.raises(Exception, match=r"istft: solver: need xp_istft\.Adjoint.*, got Dual, which iterates"):
        compiler(function, fullgraph=True, backend="eager")(X)
    module = function if isinstance(function, torch.nn.Module) else _Calling(function)
    with pytest.raises(NotImplementedError, match=r"istft: solver: need xp_istft\.Adjoint"):
        torch.export.export(module, (X.detach(),))
    for transformed in (torch.vmap(function), torch.func.grad(lambda X: function(X).sum())):
        with pytest.raises(NotImplementedError, match=r"istft: solver: need xp_istft\.Adjoint"):
            transformed(X.detach())


@pytest.mark.parametrize("way", ["frame", "overlap_add", "axis", "axes", "other frequencies", "Adjoint", "PerFrame"])
def test_vmap_is_a_batch(way):
    x, X = randn(3, 40), of_frames(6)
    function, argument = {
        "frame": (lambda x: xi.frame(x, 8, 2), x),
        "overlap_add": (lambda y: xi.overlap_add(y, 2), randn(3, 8, 5)),
        "axis": (lambda x: xi.stft(x, 16, axis=0), randn(3, 40, 2)),
        "axes": (lambda X: xi.istft(X, axes=(0, 1)), X.mT),
        "other frequencies": (lambda x: xi.stft(x, 16, frequencies=OTHER), x),
        "Adjoint": (ADJOINT.istft, X),
        "PerFrame": (PER_FRAME.istft, torch.cat([X, X], 1)),
    }[way]
    torch.testing.assert_close(torch.vmap(function)(argument), torch.stack([function(each) for each in argument]))


def test_gradients_of_open_sizes_are_those_of_the_plain_calls(compiler):
    window = randn(16, seed=1).abs().add(0.1).requires_grad_()

    def loss(x, window):
        return xi.istft(xi.stft(x, 16), window=window, length=x.shape[-1]).square().sum()

    compiled = compiler(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for n in (3, 9, 14):
        x = of_samples(n).requires_grad_()
        for ours, plain in zip(
            *(torch.autograd.grad(f(x, window), (x, window)) for f in (compiled, loss)), strict=True
        ):
            torch.testing.assert_close(ours, plain, rtol=1e-11, atol=1e-11)


def test_holes_and_ends_are_judged_where_sizes_are_open(compiler):
    def compiled(function):
        return compiler(function, fullgraph=True, backend="aot_eager", dynamic=True)(spectrum(n_frames=9))

    hole, bare_end = {"hop_length": 8, "window": "hann"}, {"hop_length": 2, "center": False}
    with pytest.raises(Exception, match="istft: window: need overlap > 0 at every sample"):
        compiled(lambda X: xi.istft(X, **hole))
    with pytest.raises(Exception, match="istft: window: need overlap > 0 at every sample, got 0 at the ends"):
        compiled(lambda X: xi.istft(X, **bare_end, nola="raise"))
    with pytest.warns(xi.CoverageWarning, match="istft: window: samples at the ends lie under no window weight"):
        compiled(lambda X: xi.istft(X, **bare_end))
    for options in (hole, bare_end):
        y = compiled(lambda X, options=options: xi.istft(X, **options, nola="zero"))
        torch.testing.assert_close(y, xi.istft(spectrum(n_frames=9), **options, nola="zero"))


class _Program(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(randn(8, seed=1).abs() + 0.1)

    def forward(self, X):
        y = inverse(X, self.w) + inverse(X)
        return y, forward(y, self.w)


@pytest.mark.parametrize("strict", [False, True])
def test_exported_saved_and_loaded(compiler, strict):
    program, X = _Program(), spectrum()
    exported = torch.export.export(program, (X,), strict=strict)
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    for module in (exported.module(), torch.export.load(file).module()):
        for ours, plain in zip(module(X), program(X), strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_meta_tensors_have_the_shapes_of_the_results():
    X, x, w = spectrum(), randn(2, 23), randn(8, seed=1).abs() + 0.1
    for function, array in ((inverse, X), (forward, x)):
        for window in (None, w, w.requires_grad_()):
            real = function(array, window)
            meta = function(array.to("meta"), None if window is None else window.to("meta"))
            assert (meta.shape, meta.dtype, meta.is_meta) == (real.shape, real.dtype, True)


def test_fake_tensors_have_the_shapes_of_the_results():
    X = spectrum()
    with torch._subclasses.FakeTensorMode() as mode:
        fake = inverse(mode.from_tensor(X))
    assert (fake.shape, fake.dtype) == (inverse(X).shape, D)


# ------------------------------------------------------------------ torch's own samples


def samples(name, dtype):
    """What torch tries its operator on."""
    pytest.importorskip("expecttest", reason="torch's samples need expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    (operator,) = [op for op in op_db if op.name == name]
    return list(operator.sample_inputs("cpu", dtype, requires_grad=True))


def outcome(function, tensor, window, second=False):
    """Value and gradients (for a fixed cotangent), then those of the gradients' squares, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = function(tensor, window)
        except RuntimeError as problem:
            return problem
    cotangent = randn(*value.shape, dtype=value.dtype)
    inputs = [each for each in (tensor, window) if each is not None and each.requires_grad]
    if not second:
        return (value.detach(), *torch.autograd.grad(value, inputs, cotangent))
    first = torch.autograd.grad(value.abs().square().sum(), inputs, create_graph=True, materialize_grads=True)
    total = sum(each.abs().square().sum() for each in first)
    return tuple(each.detach() for each in (value, *first, *torch.autograd.grad(total, inputs, materialize_grads=True)))


@pytest.mark.parametrize(("name", "dtype"), [("istft", "complex128"), ("stft", "float64"), ("stft", "complex128")])
def test_torchs_own_samples_give_the_same_values_and_gradients(name, dtype):
    theirs, compared = getattr(torch, name), 0
    for sample in samples(name, getattr(torch, dtype)):
        a = sample.kwargs
        given = {key: value for key, value in a.items() if value is not None and key != "window"}
        n_fft, window = a["n_fft"], a.get("window")
        if window is not None:  # of a complex one, which ours cannot be, the real part
            window = window.detach().real.clone().requires_grad_(window.requires_grad)
        layout = {
            "n_fft": n_fft, "hop_length": a.get("hop_length") or n_fft // 4, "win_length": a.get("win_length") or n_fft,
            "center": given.get("center", True), "scaling": "ortho" if a.get("normalized") else None,
        }  # fmt: skip
        one_side = sample.input.shape[-2] != n_fft if name == "istft" else dtype == "float64"
        one_side, made = given.get("onesided", one_side), a.get("return_complex")

        def istft(X, w, a=a, one_side=one_side, made=made, layout=layout, n_fft=n_fft):
            if not one_side and not made:  # torch reads one half only; ours is the real part of both
                X = X[..., : n_fft // 2 + 1, :]
            onesided = one_side or not made
            y = xi.istft(X, **layout, window="boxcar" if w is None else w, length=a.get("length"), onesided=onesided)
            return torch.complex(y, torch.zeros_like(y)) if made and onesided else y

        def stft(x, w, a=a, one_side=one_side, made=made, layout=layout):
            pad_mode = a.get("pad_mode") or "reflect"
            X = xi.stft(x, **layout, window="boxcar" if w is None else w, pad_mode=pad_mode, onesided=one_side)
            return X if made or (made is None and x.is_complex()) else torch.view_as_real(X)

        due = outcome(lambda x, w, given=given: theirs(x, window=w, **given), sample.input, window)
        if isinstance(due, RuntimeError):  # torch refuses what we define
            continue
        ours = outcome({"istft": istft, "stft": stft}[name], sample.input, window)
        for mine, its in zip(ours, due, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-12)
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("stft", "float32"), ("stft", "float64"), ("stft", "complex128"), ("istft", "complex64"), ("istft", "complex128")],
)
def test_compat_gives_torchs_own_samples_their_values_strides_and_second_gradients(name, dtype, strict):
    compared, tolerance = 0, 1e-11 if dtype.endswith(("64", "128")) and dtype != "complex64" else 2e-5
    for sample in samples(name, getattr(torch, dtype)):
        window = sample.kwargs.get("window")
        if window is not None and window.is_complex():  # ours are real
            continue
        rest = {key: value for key, value in sample.kwargs.items() if key != "window"}
        ours, due = (
            outcome(lambda x, w, f=f, rest=rest: f(x, window=w, **rest), sample.input, window, second=True)
            for f in (partial(getattr(compat, name), strict=strict), getattr(torch, name))
        )
        if isinstance(due, RuntimeError):
            assert isinstance(ours, RuntimeError)
            continue
        assert ours[0].stride() == due[0].stride()
        for mine, its in zip(ours, due, strict=True):
            torch.testing.assert_close(mine, its, rtol=tolerance, atol=tolerance * float(its.abs().max()))
        compared += 1
    assert compared >= 7
