"""Step 6: bugs planted in the kernels and in the host code, each of which must make a step fail.

A check that lets one of them pass is no check. Kernels run as PTX here, so that a bug ends a test and not the process.
The checks themselves run each time; the bugs are tried by `nox -s planted` (`pytest -m planted tests/cuda`), as after
every change of a kernel, of its host code, or of what checks them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import checks
import numpy as np
import pytest
import test_step2_public_call as step2
from emulator import nvrtc, ptx
from emulator.fake_cupy import FakeCupy
from kernels import options, source

from xp_istft import gpu_engine

pytestmark = pytest.mark.skipif(bool(nvrtc.missing(compiler_only=True)), reason=f"{nvrtc.missing(compiler_only=True)}")
CAUGHT = (AssertionError, ptx.SimulationError, RuntimeError, TypeError, ValueError, AttributeError)

# ---- kernels ---------------------------------------------------------------------------------------------------------


def check_overlap_add(build: checks.Build, random: np.random.Generator) -> None:
    for parts, keep in ((1, 1), (2, 2), (2, 1)):
        checks.overlap_add_keeps_its_error_bound(build, random, "float", parts, keep, trials=6)
    checks.uncovered_samples_are_zero(build)


def check_frame(build: checks.Build, random: np.random.Generator) -> None:
    for make in (1, 2):
        checks.frames_are_the_padded_signal_times_the_window(build, random, "float", 1, make, trials=6)


def check_fused(build: checks.Build, random: np.random.Generator) -> None:
    for n_fft, by_time, trials in ((64, False, 6), (512, False, 1), (64, True, 2), (512, True, 1)):
        checks.fused_istft_is_the_inverse_transform(build, random, n_fft, by_time, trials)
    checks.fused_istft_is_right_at_the_edges(build)


def check_fused_forward(build: checks.Build, random: np.random.Generator) -> None:
    for n_fft, by_time, trials in ((64, False, 6), (512, False, 1), (64, True, 2)):
        checks.fused_stft_is_the_transform(build, random, n_fft, by_time, trials)


CHECKS = {
    "stft_fused": check_fused_forward,
    "istft_fused": check_fused,
    "overlap_add": check_overlap_add,
    "transpose": lambda build, random: checks.transpose_moves_every_element(build, random, "float", 2, 1, trials=6),
    "copy_rows": lambda build, random: checks.copied_rows_have_real_ends(build, random, "float", 1, trials=2),
    "frame": check_frame,
}

KERNEL_BUGS = [
    ("overlap_add", "newest < n_frames ? newest : n_frames - 1", "newest", "one frame too many"),
    ("overlap_add", "newest + 1 - reach : 0", "newest + 2 - reach : 0", "one frame too few"),
    ("overlap_add", "(overlap - 1) * hop < n_fft", "(overlap - 1) * hop <= n_fft", "reads past the frame"),
    ("overlap_add", "i < (count_t)n_samples; i += step", "i <= (count_t)n_samples; i += step", "one sample too many"),
    ("overlap_add", "first * segment_frame + n", "first * n_fft + n", "stride of a frame ignored"),
    ("overlap_add", "b * segment_batch", "0 * segment_batch", "item of the batch ignored"),
    ("overlap_add", "const index_t q = p + origin;", "const index_t q = p;", "origin of a segment ignored"),
    ("overlap_add", "if (q < tail_start + n_tail) {", "if (true) {", "reads past the gain"),
    ("overlap_add", "q < tail_start ?", "q <= tail_start ?", "end of the period off by one"),
    ("overlap_add", "n_head + phase", "n_head + q % (hop + 1)", "wrong phase of the period"),
    ("overlap_add", "== 0 ? (real)0 : sum", "== -1 ? (real)0 : sum", "uncovered samples take what the frames hold"),
    ("overlap_add", "if (p >= 0) {", "if (true) {", "samples before the first frame"),
    ("overlap_add", "b += gridDim.y", "b += gridDim.y + 1", "items skipped by a small grid"),
    ("overlap_add", "i += step) {", "i += step + XI_VECTOR) {", "samples skipped by a small grid"),
    ("overlap_add", "i + XI_VECTOR <= (count_t)n_samples", "i <= (count_t)n_samples", "vector stored past the end"),
    ("overlap_add", "if (i + k / XI_KEEP < (count_t)n_samples)", "", "tail stored past the end"),
    ("overlap_add", "* XI_PARTS + k % XI_KEEP]", "* XI_PARTS]", "imaginary part lost"),
    ("overlap_add", "(segment_frame - hop) * XI_PARTS", "(segment_frame + hop) * XI_PARTS", "walks the wrong way"),
    ("transpose", "        }\n      }\n      __syncthreads();", "        }\n      }", "first barrier gone"),
    ("transpose", "= tile[lane][k];\n      __syncthreads();", "= tile[lane][k];", "second barrier gone"),
    ("transpose", "tile[32][33]", "tile[31][33]", "tile too small"),
    ("transpose", "row + k == 0 || row + k == nyquist", "row + k == nyquist", "imaginary DC kept"),
    ("transpose", "row + k == 0 || row + k == nyquist", "row + k == 0", "imaginary Nyquist kept"),
    ("transpose", "t % tiles_across * 32", "t % (tiles_across + 1) * 32", "wrong tile"),
    ("transpose", "row + k < n_rows && col + lane < n_cols", "row + k < n_rows", "reads past a row"),
    ("copy_rows", "row * from_row + col", "row * n_cols + col", "stride of a row ignored"),
    ("copy_rows", "col == 0 || col == nyquist", "col == nyquist", "imaginary DC kept"),
    ("copy_rows", "i < size;", "i <= size;", "one element too many"),
    ("istft_fused", "        __syncthreads();  // the samples", "        // the samples", "first barrier gone"),
    ("istft_fused", "        __syncthreads();\n        if", "        if", "barrier after the first pass gone"),
    ("istft_fused", "  }\n  __syncthreads();\n  Complex* to", "  }\n  Complex* to", "barrier in a pass gone"),
    ("istft_fused", "v[i][r];\n  __syncthreads();", "v[i][r];", "barrier after a pass gone"),
    ("istft_fused", "bins.low[0].im = high->re;", "bins.low[0].im += high->re;", "imaginary DC kept"),
    ("istft_fused", "-2 * bins.high[0].im", "2 * bins.high[0].im", "middle bin not conjugated"),
    ("istft_fused", "other = lane ? 0 : LANES * bin", "other = 0", "lane 0 reads the bins of the others"),
    ("istft_fused", "y[(8 - r) & 3]", "y[7 - r]", "bins of lane 0 in the wrong order"),
    ("istft_fused", "a * Complex{s, c}", "a * Complex{c, s}", "wrong root within a butterfly"),
    ("istft_fused", "4 * (k - 2)", "4 * (k - 1)", "wrong root between passes"),
    ("istft_fused", "int i) { return i + (i >> 4) * 2; }", "int i) { return i ^ (i >> 4); }", "place is not linear"),
    ("istft_fused", "? next_frames : 0", "? 2 * next_frames : 0", "the wrong frames on their way"),
    ("istft_fused", "m < n_ahead", "m < n_here", "reads frames that are not there"),
    ("istft_fused", "min(n_here - m, FRAMES)", "FRAMES", "adds frames that are not there"),
    ("istft_fused", "(p0 - N_FFT) / hop + 1;", "(p0 - N_FFT) / hop + 2;", "one frame too few"),
    ("istft_fused", "(p0 + samples - 1) / hop)", "(p0 + samples - 1) / hop - 1)", "the last frame forgotten"),
    ("istft_fused", "if (e < carried)", "if (true)", "adds what other samples left in the ring"),
    ("istft_fused", "if (e < carried)", "if (false)", "forgets what earlier frames gave"),
    ("istft_fused", "max(0, e - latest)", "0", "adds beyond the latest frame"),
    ("istft_fused", "n >= span; n -= step", "n > span; n -= step", "reads past the frame"),
    ("istft_fused", "q0 = (p0 + origin) / XI_WIDTH", "q0 = p0 / XI_WIDTH", "origin of a segment ignored"),
    ("istft_fused", "if (phase >= 0) phase -= step;", "", "phase runs away"),
    ("istft_fused", "gain.at[k] == 0 ? 0.f :", "gain.at[k] == -1 ? 0.f :", "uncovered samples are not 0"),
    ("istft_fused", "b * spectrum_batch", "0", "item of the batch ignored"),
    ("istft_fused", "i0 += (long long)gridDim.x * run", "i0 += n_samples", "runs skipped by a small grid"),
    ("istft_fused", "if (next * XI_WIDTH + k < samples)", "", "stores past the end"),
    ("istft_fused", "samples / XI_WIDTH) - steady_from", "size) - steady_from", "stores a vector past the end"),
    ("stft_fused", "__syncthreads();  // the points", "// the points", "first barrier gone"),
    ("stft_fused", "      __syncthreads();\n      Pair* first", "      Pair* first", "second barrier gone"),
    ("stft_fused", "      __syncthreads();\n      if", "      if", "barrier after the first pass gone"),
    ("stft_fused", "if (t < 0 || t + N_FFT > n_samples) return;", "if (t < 0) return;", "reads past the signal"),
    ("stft_fused", "(t < 0 || t + N_FFT > n_samples))", "t < 0)", "padding after the signal forgotten"),
    ("stft_fused", "(m + frame) * hop - start;\n      __", "(m + frame) * hop;\n      __", "start ignored"),
    ("stft_fused", "fetch(t + apart * hop)", "fetch(t)", "the wrong frames on their way"),
    ("stft_fused", "if (m + last_frame < n_frames)", "if (true)", "stores a frame that is not there"),
    ("stft_fused", "v[0][r ? 8 - r : 4]", "v[0][7 - r]", "bins of lane 0 in the wrong order"),
    ("stft_fused", "-2 * y.re", "2 * y.re", "middle bin not conjugated"),
    ("stft_fused", "2 * (z.im - z.re), 0", "2 * (z.im + z.re), 0", "wrong Nyquist"),
    ("stft_fused", "turned.im - even.im", "even.im - turned.im", "upper half not conjugated"),
    ("stft_fused", "return {pair.im, pair.re};", "return {pair.re, pair.im};", "even samples for odd"),
    ("stft_fused", "{pair[1], pair[0]}", "{pair[0], pair[1]}", "even samples of the padding for odd"),
    ("stft_fused", "b * signal_batch", "0", "item of the batch ignored"),
    ("stft_fused", "b * spectrum_batch", "0", "every item written to the first"),
    ("stft_fused", "m += apart", "m += n_frames", "frames skipped by a small grid"),
    ("stft_fused", "pad == 1 ? period - t", "pad == 9 ? period - t", "reflects the end sample, too"),
    ("frame", "t + XI_VECTOR <= n_samples", "t <= n_samples", "reads past the signal"),
    ("frame", "m * hop + n - start", "m * hop + n", "start ignored"),
    ("frame", "(pad == 0 || n_samples < 1)", "(n_samples < 1)", "constant padding is not zero"),
    ("frame", "pad == 1 ? period - t", "pad == 9 ? period - t", "reflects the end sample, too"),
    ("frame", "if (t < 0) t += period;", "", "negative remainder"),
    ("frame", "b * signal_batch * XI_PARTS", "0", "item of the batch ignored"),
    ("frame", "i < size; i += step", "i < size + 1; i += step", "one sample too many"),
]  # fmt: skip


@pytest.mark.planted
@pytest.mark.parametrize(
    ("name", "before", "after", "what"), KERNEL_BUGS, ids=[f"{bug[0]}: {bug[3]}" for bug in KERNEL_BUGS]
)
def test_a_bug_in_a_kernel_is_caught(builds, name, before, after, what):
    code = source(name)
    assert before in code
    planted = code.replace(before, after)

    def build(**macros: Any) -> Any:
        text = nvrtc.compiled(planted, options(macros), "compute_90", builds).decode()
        return ptx.PtxModule(text).get_function(name)

    with pytest.raises(CAUGHT):
        CHECKS[name](build, np.random.default_rng(1))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_kernel_as_it_is_passes_these_checks(as_ptx, name):
    CHECKS[name](lambda **macros: as_ptx(name, **macros), np.random.default_rng(1))


def test_a_barrier_in_a_branch_is_caught_by_the_shim():
    """It aborts, so in a process of its own."""
    import subprocess

    code = """
import sys, tempfile; sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
from emulator import shim
from kernels import source, transposed
code = source("transpose").replace("tile[k][lane] = value;", "tile[k][lane] = value; __syncthreads();")
with tempfile.TemporaryDirectory() as folder:
    module = shim.ShimModule(code=code, cache=Path(folder))
    transposed(module.get_function("transpose"), np.ones((1, 40, 41), np.complex64), -1)
"""
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(here)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here.parents[1], timeout=1200)
    assert result.returncode != 0
    assert "__syncthreads" in result.stderr


# ---- host code -------------------------------------------------------------------------------------------------------

# The quickest first: the last takes as long as all others.
HOST_CHECKS: list[tuple[Callable[..., None], tuple]] = [
    (step2.test_runs_fill_the_device_and_repeat_few_frames, ()),
    (step2.test_the_array_decides_on_which_device_it_runs, ()),
    (step2.test_a_repeated_call_can_be_captured, ()),
    (step2.test_vectors_wait_for_alignment, ()),
    (step2.test_layouts_take_the_shortest_way, ()),
    (step2.forward_parts_change_no_bit, ((5000,),)),
    (step2.test_frame_and_overlap_add_agree_with_the_definition, ("float32", "frame-major")),
    (step2.test_frame_and_overlap_add_agree_with_the_definition, ("float32", "frequency-major")),
    (step2.test_threads_share_no_plan, ()),
    (step2.test_all_work_stays_on_the_current_stream, ()),
    (step2.test_two_sided_istft_agrees_with_the_definition, ("frame-major", True)),
    (step2.test_stft_agrees_with_the_definition, ("float32", "reflect")),
    (step2.test_similar_lengths_share_plans, ()),
    (step2.test_out_is_written_in_place, ((2, 3),)),
    (step2.test_istft_agrees_with_the_definition, ("complex64", "frame-major")),
    (step2.test_fused_istft_agrees_with_the_definition, ("strided",)),
    (step2.parts_change_no_bit, ("frequency-major", (40,))),
    (step2.test_istft_agrees_with_the_definition, ("complex64", "frequency-major")),
    (step2.test_fused_stft_agrees_with_the_definition, ("edge",)),
]

HOST_BUGS = [
    ('*map(index, (part.origin, n_head', '*map(int, (part.origin, n_head', "Python ints for ints"),
    ('scale=1 / n_fft)', 'scale=1)', "1 / n_fft forgotten"),
    ('frames.n_fft, frames.hop, frames.overlap', 'frames.hop, frames.n_fft, frames.overlap', "two arguments swapped"),
    ('*map(np.int64, (n_batch, segment_batch', '*map(np.int32, (n_batch, segment_batch', "32 bits for 64"),
    ('*((segment_batch, signal_batch) if n_batch > 1 else ())', '*()', "alignment of the batch not looked at"),
    ('or any(array.data.ptr % (width * array.itemsize) for array in arrays)', '', "alignment of arrays not looked at"),
    ('return cupy.asarray(make(*key))', 'return make(*key)', "window left on the host"),
    ('place = Place(device, stream)', 'place = Place(device, None)', "plans shared by streams"),
    ('class _Thread(threading.local):', 'class _Thread:', "plans shared by threads"),
    ('with cupy.cuda.Device(device):\n        stream', 'with cupy.cuda.Device():\n        stream',
     "device of the array ignored"),
    ('_side_by_side(rows, -1):', 'True:', "every layout taken for frame-major"),
    ('map(np.int64, _steps(rows)[:2])', 'map(np.int64, (0, 0))', "strides ignored"),
    ('real_ends = int(job.onesided)', 'real_ends = 0', "imaginary DC and Nyquist kept"),
    ('n_bins - 1 if n_fft % 2 == 0 else -1', 'n_bins - 1', "Nyquist bin of an odd size"),
    ('made = empty((_bucket(count, n_fft)', 'made = empty((count', "no plans shared by sizes"),
    ('rows[part.items, part.samples])', 'rows[part.items])', "a part writes the whole"),
    ('out is not None and _side_by_side(out, -1) and', 'out is not None and', "strides of out ignored"),
    ('origin = job.origin + columns.start * frames.hop', 'origin = job.origin', "origin of a part ignored"),
    ('XI_KEEP=_KINDS[signal.dtype.name].parts', 'XI_KEEP=kind.parts', "imaginary parts kept of a real signal"),
    ('PAD_MODES.index(job.pad_mode)', '0', "padding mode ignored"),
    ('forward=True)', 'forward=False)', "wrong direction"),
    ('if not _side_by_side(pieces, -1):', 'if False:', "segments taken as they lie"),
    ('32, np.int32) if farthest', '64, np.int32) if farthest', "width and type of positions differ"),
    ('(out, 2)[some, :, columns]', '(out, 2)[: some.stop - some.start, :, columns]',
     "every part written to the first items"),
    ('(out, 2)[some, :, columns]', '(out, 2)[some, :, :size]', "every part written to the first frames"),
    ('size, frames.start - origin, frames.stop - origin)', 'size, frames.start, frames.stop)',
     "every part framed as the first"),
    ('32 if bounded else None', '0', "plans made anew"),
    ('lru_cache(128 if bounded else None)(_upload)', '_upload', "windows uploaded anew"),
    (', "float", 1 / frames.n_fft)', ', "float", 1)', "1 / n_fft of the fused kernel"),
    ('"XI_WIDTH": _vector(4, steps, (window, values, signal))', '"XI_WIDTH": 4', "odd hops taken for even"),
    ('strides, signal_batch = _steps(spectrum)', 'strides, signal_batch = (1, 1, 1)',
     "strides of the fused kernel ignored"),
    ('n_batch, arguments, threads, **macros)', 'n_batch, arguments, threads // 2, **macros)', "half the threads"),
    ('return 4 * -(-n_samples // (4 * count))', 'return -(-n_samples // count) + 1', "runs that begin within a vector"),
    ('_window(place, job, "float", 0.5)', '_window(place, job, "float", 1)', "window of the fused stft not halved"),
    ('min(2, _vector(4, steps, (items, window)))', '2', "odd hops of the fused stft taken for even"),
    ('return np.concatenate([gain.head', 'return 2 * np.concatenate([gain.head', "gain doubled"),
]  # fmt: skip

HOST = ("xp_istft.backends.cuda.calls", "xp_istft.backends.cupy")  # the second stands on the first


def run_host_checks(texts: dict[str, str], builds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check on a fake CuPy of its own, with the modules' sources as given."""

    def engine(code: str, chosen: tuple[str, ...]) -> ptx.PtxModule:
        return ptx.PtxModule(nvrtc.compiled(code, chosen, "compute_90", builds).decode())

    for check, arguments in HOST_CHECKS:
        fake = FakeCupy(engine)
        with fake.installed(monkeypatch, *HOST), monkeypatch.context() as patch:
            for name, text in texts.items():
                spec = spec_from_loader(name, loader=None)
                assert spec is not None
                module = sys.modules[name] = module_from_spec(spec)
                exec(compile(text, f"planted {name}", "exec"), module.__dict__)
            names = check.__code__.co_varnames[: check.__code__.co_argcount]
            given = {"fake": fake, "fused": None, "random": np.random.default_rng(2), "monkeypatch": patch}
            positional = iter(arguments)
            with gpu_engine("fused" if "fused" in names else "cufft"):
                check(*(given[name] if name in given else next(positional) for name in names))


def host_sources() -> dict[str, str]:
    package = Path(importlib.import_module("xp_istft").__path__[0])
    return {name: package.joinpath(*name.split(".")[1:]).with_suffix(".py").read_text() for name in HOST}


def test_the_host_code_as_it_is_passes_these_checks(builds, monkeypatch):
    run_host_checks(host_sources(), builds, monkeypatch)


@pytest.mark.planted
@pytest.mark.parametrize(("before", "after", "what"), HOST_BUGS, ids=[bug[2] for bug in HOST_BUGS])
def test_a_bug_in_the_host_code_is_caught(builds, monkeypatch, before, after, what):
    sources = host_sources()
    assert any(before in text for text in sources.values())
    with pytest.raises(CAUGHT):
        run_host_checks({name: text.replace(before, after) for name, text in sources.items()}, builds, monkeypatch)
