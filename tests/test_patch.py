"""`patch`: the peers' own functions give the peers' own numbers, errors and programs, sooner, and come back exactly."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

import xp_istft as xi
from xp_istft.patch import peers, speeds

THEIRS = {"torch": ("stft", "istft"), "librosa": ("stft", "istft"), "scipy": ("stft", "istft")}
REAL = np.random.default_rng(0).standard_normal((2, 6000))


@pytest.fixture(autouse=True)
def every_size():
    """No size is too small, so that calls are taken; and nobody holds a peer at the end."""
    with speeds.all_taken():
        yield
    xi.unpatch()
    assert all(peer.replacements is None for peer in peers.PEERS.values())


def calls(function: str) -> dict[str, int]:
    return dict(xi.patch.report().get(function, {}))


def taken(function: str) -> int:
    return calls(function).get("taken", 0)


def functions_of(library: str) -> types.ModuleType:
    module = pytest.importorskip(library)
    return module.signal if library == "scipy" else module


# What a peer takes: (function, arguments of x or X, options)
def problems_of(library: str):
    if library == "torch":
        torch = pytest.importorskip("torch")
        x, window = torch.from_numpy(REAL), torch.hann_window(400, dtype=torch.float64)
        X = torch.stft(x, 512, 100, 400, window, return_complex=True)
        yield from (("stft", (x.to(dtype), 512), dict(hop_length=100, win_length=400, window=window.to(dtype),
                     return_complex=True, normalized=normalized, center=center, pad_mode=pad_mode))
                    for dtype in (torch.float32, torch.float64)
                    for normalized in (False, True) for center in (True, False)
                    for pad_mode in ("reflect", "constant"))  # fmt: skip
        yield from (("istft", (Y, 512, 100, 400, window.to(dtype)), dict(normalized=normalized, length=length))
                    for dtype, Y in ((torch.float64, X), (torch.float32, X.to(torch.complex64)))
                    for normalized in (False, True) for length in (None, 5000, 6000))  # fmt: skip
        yield "stft", (x[0], 512), dict(window=torch.ones(512, dtype=torch.float64), return_complex=True)
        yield "istft", (X[0], 512, 100), dict(window=torch.ones(400, dtype=torch.float64), win_length=400)
    elif library == "librosa":
        librosa = pytest.importorskip("librosa")
        X = librosa.stft(REAL, n_fft=512)
        yield from (("stft", (x,), dict(n_fft=512, win_length=win_length, window=window, center=center,
                                        pad_mode=pad_mode))
                    for x in (REAL, REAL[0], REAL.astype(np.float32)) for win_length in (None, 300)
                    for window in ("hann", ("kaiser", 8.0)) for center in (True, False)
                    for pad_mode in ("constant", "reflect"))  # fmt: skip
        yield from (("istft", (Y,), dict(length=length)) for Y in (X, X[0], X.astype(np.complex64))
                    for length in (None, 5000, 6000))  # fmt: skip
    else:
        X = scipy.signal.stft(REAL, nperseg=256, window="hamming")[2]
        yield from (("stft", (x,), dict(fs=8000, nperseg=256, window=window, nfft=nfft, boundary=boundary,
                                        padded=padded, scaling=scaling, axis=axis))
                    for x, axis in ((REAL, -1), (REAL.T, 0), (REAL.astype(np.float32), 1))
                    for window in ("hann", np.hamming(256)) for nfft in (None, 300)
                    for boundary in ("zeros", "even", None) for padded in (True, False)
                    for scaling in ("spectrum", "psd"))  # fmt: skip
        yield from (("istft", (Y,), dict(fs=8000, boundary=boundary, scaling=scaling, window="hamming"))
                    for Y in (X[0], X[1].astype(np.complex64)) for boundary in (True, False)
                    for scaling in ("spectrum", "psd"))  # fmt: skip


def shown(result):
    """Arrays of a result, with what else a caller sees of it."""
    parts = result if isinstance(result, tuple) else (result,)
    return [(type(each), each.dtype, tuple(each.shape), np.asarray(each)) for each in parts]


@pytest.mark.parametrize("library", THEIRS)
def test_patched_functions_give_the_peers_numbers_dtypes_and_shapes(library):
    module = functions_of(library)
    problems = list(problems_of(library))
    own = [shown(getattr(module, name)(*arguments, **options)) for name, arguments, options in problems]
    before = sum(taken(f"{module.__name__}.{name}") for name in THEIRS[library])
    with xi.patched(library):
        ours = [shown(getattr(module, name)(*arguments, **options)) for name, arguments, options in problems]
    assert sum(taken(f"{module.__name__}.{name}") for name in THEIRS[library]) - before == len(problems)
    for problem, theirs, patched in zip(problems, own, ours, strict=True):
        for (*what, values), (*due, expected) in zip(patched, theirs, strict=True):
            assert what == due, problem[0::2]
            precision = 1e-5 if expected.dtype in (np.float32, np.complex64) else 1e-12
            np.testing.assert_allclose(values, expected, rtol=0, atol=precision * abs(expected).max())


@pytest.mark.parametrize("scaling", ["magnitude", "psd", None])
@pytest.mark.parametrize("fft_mode", ["onesided", "twosided", "centered", "onesided2X"])
def test_scipys_transform_objects_are_patched_where_they_are(fft_mode, scaling):
    if fft_mode == "onesided2X" and scaling is None:
        pytest.skip("scipy has no such transform")
    of = scipy.signal.ShortTimeFFT(np.hanning(200), 60, 8000.0, fft_mode=fft_mode, scale_to=scaling, mfft=256)
    S = of.stft(REAL)
    expected, power = of.istft(S, k1=6000), of.spectrogram(REAL)
    with xi.patched("scipy"):
        before = taken("scipy.signal.ShortTimeFFT.istft"), taken("scipy.signal.ShortTimeFFT.stft_detrend")
        np.testing.assert_allclose(of.stft(REAL), S, rtol=0, atol=1e-12 * abs(S).max())
        np.testing.assert_allclose(of.spectrogram(REAL), power, rtol=0, atol=1e-12 * power.max())
        np.testing.assert_allclose(of.istft(S, k1=6000), expected, rtol=0, atol=1e-12)
        after = taken("scipy.signal.ShortTimeFFT.istft"), taken("scipy.signal.ShortTimeFFT.stft_detrend")
    assert after == (before[0] + 1, before[1] + 2)


@pytest.mark.parametrize("library", THEIRS)
def test_what_is_put_back_is_what_was_there(library):
    module = functions_of(library)
    own = {name: getattr(module, name) for name in THEIRS[library]}
    user = types.ModuleType("a_users_module")
    vars(user).update(own)
    sys.modules[user.__name__] = user
    try:
        xi.patch(library)
        xi.patch(library)
        with xi.patched(library), xi.patched(library):
            kept = {name: getattr(module, name) for name in own}
            assert all(vars(user)[name] is kept[name] is not own[name] for name in own)
        assert all(getattr(module, name) is kept[name] for name in own), "patch() holds it still"
        late = types.ModuleType("imported_while_patched")
        vars(late).update(kept)
        sys.modules[late.__name__] = late
        xi.unpatch(library)
        for each in (module, user, late):
            assert all(getattr(each, name) is own[name] for name in own)
        before = [calls(f"{module.__name__}.{name}") for name in own]
        name, arguments, options = next(problems_of(library))
        kept[name](*arguments, **options)  # whoever kept a wrapper has the peer's function
        assert [calls(f"{module.__name__}.{name}") for name in own] == before
    finally:
        sys.modules.pop(user.__name__, None)
        sys.modules.pop("imported_while_patched", None)


def test_modules_of_others_can_be_left_alone():
    user = types.ModuleType("a_users_module")
    user.stft = own = scipy.signal.stft
    sys.modules[user.__name__] = user
    try:
        with xi.patched("scipy", scan=False):
            assert user.stft is own is not scipy.signal.stft
    finally:
        del sys.modules[user.__name__]


def test_a_context_within_an_other_undoes_nothing_of_it():
    own = scipy.signal.stft
    with xi.patched("scipy"):
        wrapper = scipy.signal.stft
        with xi.patched("scipy"):
            xi.unpatch()
            assert scipy.signal.stft is wrapper
        assert scipy.signal.stft is wrapper
    assert scipy.signal.stft is own


def test_what_another_library_put_over_ours_stays_and_calls_the_peer():
    own = scipy.signal.stft
    xi.patch("scipy")
    wrapper = scipy.signal.stft
    scipy.signal.stft = over = lambda *arguments, **options: wrapper(*arguments, **options)
    try:
        xi.unpatch()
        assert scipy.signal.stft is over
        before = taken("scipy.signal.stft")
        assert np.array_equal(over(REAL)[2], own(REAL)[2])
        assert taken("scipy.signal.stft") == before
    finally:
        scipy.signal.stft = own


@pytest.mark.parametrize("library", THEIRS)
def test_errors_are_the_peers_own(library):
    module = functions_of(library)
    x = next(problems_of(library))[1][0]
    wrong = [
        lambda: module.stft(),
        lambda: module.stft(None),
        lambda: module.stft(x, bogus=1),
        lambda: module.stft(x, n_fft="512") if library != "scipy" else module.stft(x, nperseg=-1),
        lambda: module.stft(x, window="bogus"),
        lambda: module.istft(x, window=3.5j),
        lambda: module.istft(x[..., :1]),
    ]
    if library == "torch":
        X = module.stft(x, 512, window=module.ones(512, dtype=module.float64), return_complex=True)
        wrong += [
            lambda: module.stft(x, 512),  # no return_complex
            lambda: module.stft(x[..., :200], 512, return_complex=True),  # a reflection of more than there is
            lambda: module.istft(X, 512, 512, window=module.hann_window(512, dtype=module.float64)),  # a hole
            lambda: module.istft(X.real, 512),
        ]
    if library == "librosa":
        wrong += [lambda: module.stft(x * np.nan), lambda: module.stft(x, hop_length=0)]

    def ends():
        for call in wrong:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    yield "none", str(type(call()))
                except Exception as cause:
                    yield type(cause), str(cause)

    own = list(ends())
    with xi.patched(library):
        assert list(ends()) == own
    assert sum(kind != "none" for kind, _ in own) >= 6


def test_what_the_peer_lets_through_stays_as_the_peer_has_it():
    """A hole in the windows: scipy leaves it undivided, with a warning."""
    X = scipy.signal.stft(REAL[0], nperseg=64, noverlap=0)[2]
    with pytest.warns(UserWarning, match="NOLA"):
        expected = scipy.signal.istft(X, nperseg=64, noverlap=0)[1]
    with xi.patched("scipy"), pytest.warns(UserWarning, match="NOLA"):
        np.testing.assert_array_equal(scipy.signal.istft(X, nperseg=64, noverlap=0)[1], expected)
    assert calls("scipy.signal.istft")["overlap of the windows"] >= 1


def test_samples_where_windows_have_faded_are_the_peers():
    librosa = pytest.importorskip("librosa")
    X = librosa.stft(REAL.astype(np.float32), n_fft=512)
    expected = librosa.istft(X, length=9000)
    with xi.patched("librosa"):
        np.testing.assert_array_equal(librosa.istft(X, length=9000), expected)
    assert calls("librosa.istft")["length"] >= 1


def test_sizes_at_which_the_peer_is_faster_are_handed_over(monkeypatch):
    monkeypatch.setattr(speeds, "_taking", [])
    monkeypatch.setattr(speeds, "_own", {("scipy.signal.stft", False, False, 8): 5000.0})
    with xi.patched("scipy"):
        before = calls("scipy.signal.stft")
        scipy.signal.stft(REAL[0, :4999], nperseg=256)
        scipy.signal.stft(REAL[0, :5000], nperseg=256)
        after = calls("scipy.signal.stft")
    assert after.get("size", 0) - before.get("size", 0) == 1
    assert after["taken"] - before.get("taken", 0) == 1


def test_threads_patch_count_and_undo_at_once():
    own, start, problems = scipy.signal.stft, threading.Barrier(8), []
    before = taken("scipy.signal.stft")
    expected = own(REAL)[2]

    def work():
        start.wait()
        for _ in range(20):
            with xi.patched("scipy"):
                if not np.allclose(scipy.signal.stft(REAL)[2], expected):
                    problems.append("numbers")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert scipy.signal.stft is own
    assert taken("scipy.signal.stft") - before == 160


def test_a_table_measured_here_goes_before_the_packages(tmp_path, monkeypatch):
    from xp_istft.patch import measuring

    monkeypatch.setattr(measuring, "_SAMPLES", (1 << 11,))
    monkeypatch.setattr(measuring, "_FEWEST_ROUNDS", 1)
    monkeypatch.setattr(speeds, "BITS", range(6, 8))
    monkeypatch.setattr(speeds, "_own", {})
    file = tmp_path / "speeds.json"
    xi.patch.measure("scipy", file=file, minutes=1e-6)
    assert scipy.signal.stft.__module__.startswith("scipy")
    rows = speeds._read(file)
    assert {key[0] for key in rows} == {
        "scipy.signal.stft", "scipy.signal.istft",
        "scipy.signal.ShortTimeFFT.stft_detrend", "scipy.signal.ShortTimeFFT.istft",
    }  # fmt: skip
    speeds.write(file, dict.fromkeys(rows, 77.0), "here")
    xi.patch("scipy", speeds=file)
    monkeypatch.setattr(speeds, "_taking", [])
    assert speeds.least("scipy.signal.stft", False, 1, 100) == 77


@pytest.mark.parametrize(("arguments", "options", "kind", "text"), [
    (("nothing",), {}, ValueError, "patch: names: need 'torch' or 'librosa'"),
    ((3,), {}, TypeError, "patch: names: need names of peers, got 3"),
    (("scipy",), {"scan": "yes"}, TypeError, "patch: scan: need a bool"),
    (("scipy",), {"speeds": "/nowhere"}, ValueError, "patch: speeds: need a file that measure wrote"),
    (("scipy",), {"speeds": 3.5}, ValueError, "patch: speeds: need a file that measure wrote"),
])  # fmt: skip
def test_wrong_arguments_are_named_and_nothing_is_patched(arguments, options, kind, text):
    own = scipy.signal.stft
    with pytest.raises(kind, match=text):
        xi.patch(*arguments, **options)
    assert scipy.signal.stft is own
    with pytest.raises(kind, match=text.replace("patch:", "patched:")), xi.patched(*arguments, **options):
        raise AssertionError("entered")


def test_a_peer_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    with pytest.raises(ValueError, match="patch: names: need peers that are installed, got 'torchaudio'"):
        xi.patch("torchaudio")


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, cwd=cwd, timeout=600
    ).stdout


def test_a_peer_is_patched_when_it_is_imported(tmp_path):
    code = """
import sys, xp_istft as xi
xi.patch("scipy")
assert "scipy.signal" not in sys.modules
from scipy.signal import stft
print(stft.__code__.co_filename.endswith("replacements.py"))
xi.unpatch()
print(stft.__code__.co_filename.endswith("replacements.py"), any("patch" in str(type(each)) for each in sys.meta_path))
"""
    assert run("-c", code, cwd=tmp_path).split() == ["True", "False", "False"]


def test_a_script_runs_patched_as_it_is(tmp_path):
    (tmp_path / "beside.py").write_text("from scipy.signal import stft\n")
    (tmp_path / "script.py").write_text(
        "import sys, numpy as np\nfrom beside import stft\n"
        "print(sys.argv[1:], __name__, stft.__code__.co_filename.endswith('replacements.py'))\n"
    )
    command = ("-m", "xp_istft.patch", "--only", "scipy")
    assert run(*command, "script.py", "--report", "x", cwd=tmp_path) == "['--report', 'x'] __main__ True\n"
    assert run(*command, "-m", "script", "y", cwd=tmp_path) == "['y'] __main__ True\n"


class TestTorch:
    """What follows torch's functions finds the originals."""

    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.fixture
    def pair(self, torch):
        window = torch.hann_window(64)

        def there_and_back(x: torch.Tensor) -> torch.Tensor:
            X = torch.stft(x, 64, 16, window=window, return_complex=True)
            return torch.istft(X * 2, 64, 16, window=window, length=400)

        return there_and_back

    def test_gradients_are_torchs(self, torch, pair):
        found = []
        for patch in (False, True):
            leaf = torch.arange(400.0).sin().requires_grad_()
            with xi.patched("torch") if patch else warnings.catch_warnings():
                pair(leaf).square().sum().backward()
            found.append(leaf.grad)
        torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-4)

    @pytest.mark.parametrize("follow", ["compile", "export", "trace", "vmap", "jvp", "fake", "meta", "autocast", "fx"])
    def test_what_follows_a_call_finds_the_original(self, torch, pair, follow):
        x = torch.arange(400.0).sin()
        batch = x.repeat(3, 1)

        def result():
            if follow == "compile":
                return torch.compile(pair, backend="aot_eager", fullgraph=True)(x)
            if follow == "export":
                module = torch.nn.Module()
                module.forward = pair
                return torch.export.export(module, (x,)).module()(x)
            if follow == "trace":
                return torch.jit.trace(pair, (x,), check_trace=False)(x)
            if follow == "vmap":
                return torch.vmap(pair)(batch)
            if follow == "jvp":
                return torch.func.jvp(pair, (x,), (x,))[1]
            if follow == "fake":
                from torch._subclasses.fake_tensor import FakeTensorMode

                with FakeTensorMode(allow_non_fake_inputs=True):
                    shape = torch.stft(torch.zeros(400), 64, return_complex=True).shape
                return torch.tensor(shape)
            if follow == "meta":
                window = torch.hann_window(64, device="meta")
                return torch.tensor(torch.stft(x.to("meta"), 64, window=window, return_complex=True).shape)
            if follow == "autocast":
                with torch.autocast("cpu", torch.bfloat16):
                    return pair(x.bfloat16().float())
            traced = torch.fx.symbolic_trace(lambda x: torch.stft(x, 64, return_complex=True))
            return torch.view_as_real(traced(x))

        torch._dynamo.reset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = result()
            with xi.patched("torch"):
                before = taken("torch.stft"), taken("torch.istft")
                torch._dynamo.reset()
                found = result()
                after = taken("torch.stft"), taken("torch.istft")
        torch.testing.assert_close(found, expected)
        assert before == after or follow == "fx"  # what fx has traced is a program of functions, which runs like any

    def test_scripts_compile_the_original(self, torch, tmp_path):
        source = tmp_path / "scripted.py"
        source.write_text(
            "import torch\n"
            "def there_and_back(x: torch.Tensor, window: torch.Tensor) -> torch.Tensor:\n"
            "    X = torch.stft(x, 64, 16, 64, window, return_complex=True)\n"
            "    return torch.istft(X, 64, 16, 64, window)\n"
        )
        code = """
import torch, xp_istft as xi
xi.patch("torch")
from scripted import there_and_back
x, window = torch.arange(400.0).sin(), torch.hann_window(64)
script = torch.jit.script(there_and_back)
equal = torch.allclose(script(x, window), there_and_back(x, window), atol=1e-5)
print("aten::istft" in str(script.inlined_graph), equal)
"""
        assert run("-W", "ignore", "-c", code, cwd=tmp_path).split() == ["True", "True"]

    def test_methods_and_other_names_of_the_functions_are_reached(self, torch):
        x, window = torch.arange(4000.0).sin(), torch.hann_window(512)
        with xi.patched("torch"):
            before = taken("torch.stft"), taken("torch.istft")
            X = x.stft(512, window=window, return_complex=True)
            X.istft(512, window=window)
            torch.functional.istft(
                torch.functional.stft(x, 512, window=window, return_complex=True), 512, window=window
            )
            assert (taken("torch.stft"), taken("torch.istft")) == (before[0] + 2, before[1] + 2)
            assert pickle.loads(pickle.dumps(torch.stft)) is torch.stft

    def test_subclasses_and_modes_see_torchs_functions(self, torch):
        seen = []

        class Seen(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, kinds, arguments=(), options=None):
                seen.append(function.__name__)
                return super().__torch_function__(function, kinds, arguments, options or {})

        modes = []

        class Names(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function, kinds, arguments=(), options=None):
                modes.append(function)
                return function(*arguments, **options or {})

        x, window = torch.arange(4000.0).sin(), torch.hann_window(512)
        with xi.patched("torch"):
            X = x.as_subclass(Seen).stft(512, window=window, return_complex=True)
            assert type(X) is Seen
            assert "stft" in seen
            with Names():
                torch.stft(x, 512, window=window, return_complex=True)
            assert torch.stft in modes
