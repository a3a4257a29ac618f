"""The reliability battery: what each implementation of the inverse makes of 167 hostile, broken and edge inputs.

    python benchmarks/battery.py                       xp_istft on NumPy and torch, and every peer that is installed;
                                                       writes results/battery.md
    python benchmarks/battery.py torch librosa         these only
    python benchmarks/battery.py --cases D11 E27 --    these rows only, with what came

The rows are those of tests/hostile.py, by their numbers, and PROCEDURES below, for what needs more than a call. Each
runs in a forked child of its own, with a time and a memory limit, and a good call must be right afterwards. A row is
judged by its outcome: the right value; an error that names the argument, by the peer's own name of it; a warning; an
error that does not; a wrong value in silence; the end or a hang of the process. A row with a value is met by the value,
one that must be refused by an error that names the argument or a warning, the rest by any of these. Peers work in
their own convention where they have one, and in single precision where they have only that. What they have no
parameter for does not count.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib.util
import multiprocessing
import os
import pickle
import re
import resource
import signal as signals
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import hostile
import numpy as np
from hostile import BASE, HANN, Gives, Refused, Row, signal, spectrum
from inverses import IMPLEMENTATIONS, OURS, Inverse, Jax, NnAudio, NotApplicableError, RaisedError, ShortTime
from results import arguments, status, table, write

OUTCOMES = ("right", "named", "warned", "unnamed", "wrong", "crash", "n/a")
MET = {"value": OUTCOMES[:1], "error": OUTCOMES[1:3], "either": OUTCOMES[:3]}
_EITHER = """
    A06 A07 A09 A15 A18 A20 A23 B01 B02 B03 B04 B07 B08 B11 B13 C05 C07 C08 D03 D12 D26 D32 D38 D39 D44 D48 D59 D60
    E03 E07 E11 E12 E13 E14 E17 E18 E19 E22 E26 E29"""
EITHER = frozenset(_EITHER.split())  # rows that both a value and an error suit, whatever our own library does
EMPTY = ("A07", "A09")  # whose value has no samples
WEAK = ("D48", "D59")  # whose first sample next to nothing determines
MEMORY_BYTES, SECONDS = 3 << 30, 180  # of a row


# ------------------------------------------------------------------ rows


def row_case(row: Row, im: Inverse) -> None:
    """Returns where the value is right; AssertionError where it is not, UserWarning where that was said."""
    if not isinstance(row.outcome, (Refused, Gives)):
        row.outcome(im.call)
        return
    data, given = (row.data or spectrum)(), {**BASE, **row.parameters}
    if im.name in OURS or isinstance(row.outcome, Gives):
        given = {name: value for name, value in given.items() if value is not None or name == "window"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        y = im.call(data, **given)
    try:
        right_value(row, im, data, y)
        assert said or not getattr(row.outcome, "warning", None), "samples made up without a word"
    except AssertionError as cause:
        if said:
            raise UserWarning(str(said[0].message)) from cause
        raise


def right_value(row: Row, im: Inverse, data: Any, y: np.ndarray) -> None:
    """AssertionError unless y is what the definition gives, where it can give anything."""
    assert isinstance(row.outcome, Gives) or row.id in EITHER, f"accepted: shape {y.shape}"
    known = {"onesided": row.id != "A15", **BASE, **row.parameters, **getattr(row.outcome, "known", {})}
    known = {name: int(value) if isinstance(value, float) else value for name, value in known.items()}
    host = np.asarray(data.filled(0) if isinstance(data, np.ma.MaskedArray) else data, dtype=complex)
    if known.get("length") == 0 or host.size == 0 or row.id in EMPTY:
        assert y.size == 0, "samples made up"
        return
    want = hostile.inverse(host, **known)
    assert y.shape == want.shape, f"shape {y.shape} for {want.shape}"
    y, want = (each[..., int(row.id in WEAK) :] for each in (y, want))
    off = np.abs(y - want).max(initial=0)
    tolerance = max(getattr(row.outcome, "tol", 1e-4), im.tolerance, 1e-9)
    assert off <= tolerance * (np.abs(want).max(initial=0) or 1), f"off by {off:.2g}"


def near(y: np.ndarray) -> None:
    np.testing.assert_allclose(y, hostile.inverse(spectrum()), atol=1e-4)


def refused(im: Inverse, data: Any, **given: Any) -> None:
    im.call(data, **given)
    raise AssertionError("accepted")


def gradients(im: Inverse) -> None:
    sizes = {"n_fft": 16, "hop_length": 4, "window": "hann"}
    parts = np.random.default_rng(0).standard_normal((2, 1, 9, 5))
    if isinstance(im, Jax):
        check = importlib.import_module("jax.test_util").check_grads
        check(lambda re, im_: im.istft(re + 1j * im_, **sizes), tuple(parts), order=1, modes=["rev"])
    elif im.torch and not isinstance(im, NnAudio):
        X = im.native(parts[0] + 1j * parts[1]).requires_grad_()
        assert torch().autograd.gradcheck(lambda X: im.istft(X, **sizes), (X,))
    else:
        raise NotApplicableError("no gradients of double precision")


def torch() -> Any:
    return importlib.import_module("torch")


def needs(applies: bool) -> None:
    if not applies:
        raise NotApplicableError("of other libraries")


def foreign(im: Inverse, followed: bool) -> None:
    """Data of torch, for a library of another kind."""
    needs(not im.torch)
    near(im.call(torch().from_numpy(spectrum()).requires_grad_(followed), **BASE))


def window_without_values(im: Inverse) -> None:
    needs(im.torch and not isinstance(im, NnAudio))
    refused(im, spectrum(), **BASE, window=torch().ones(256, device="meta"))


def lazy_conjugate(im: Inverse) -> None:
    needs(im.torch)
    near(im.call(im.native(spectrum().conj()).conj(), **BASE))


def out(im: Inverse, overlapping: bool) -> None:
    """A view of memory: every second number of `out`, or the numbers of the data."""
    needs("out" not in im.lacks and not im.torch)
    if overlapping:
        X = spectrum()
        refused(im, X, **BASE, out=X.view(float).reshape(-1)[:4096].reshape(2, 2048))
    big = np.full((2, 4096), 7.0)
    im.good(out=big[:, ::2])
    near(big[:, ::2])
    assert (big[:, 1::2] == 7).all(), "neighbours overwritten"


def nothing_changes(im: Inverse) -> None:
    def state() -> tuple[Any, ...]:
        return np.geterr(), len(warnings.filters), importlib.import_module("random").getstate(), dict(os.environ)

    im.good()
    before = state()
    im.good()
    assert state() == before


def leak(im: Inverse, **wrong: Any) -> None:
    def some(count: int) -> int:
        for _ in range(count):
            with contextlib.suppress(RaisedError):
                im.good(**wrong)
        gc.collect()
        return status("VmRSS")

    before = some(60)
    assert some(300) - before < (5e6 if im.name in OURS else 20e6)


def at_once(im: Inverse, function: Callable[[np.ndarray], np.ndarray], rounds: int) -> None:
    spectra = [spectrum(signal(2, n_samples=n_samples)) for n_samples in (1024, 2048, 4096, 1536)]
    alone = [function(X) for X in spectra]
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(8) as pool:
        turns = [i % 4 for i in range(8 * rounds)]
        made = pool.map(lambda k: np.array_equal(function(spectra[k]), alone[k]), turns)
        assert all(made), "other bits beside others"


def reused(im: Inverse, transform: Callable[[Any], Any] | None = None) -> Callable[[np.ndarray], np.ndarray]:
    transform = transform or im.reusable()
    return lambda X: np.array(im.host(transform(im.native(X))))


def any_threads(im: Inverse) -> Iterator[Any]:
    X = spectrum(signal(8, n_samples=8192))
    for count in (1, 2, 4):
        im.threads(count)
        yield im.good(X)


def any_blocks(im: Inverse) -> Iterator[Any]:
    needs(im.name == "xp_istft")
    yield im.good()
    for n_bytes in (1 << 12, 1 << 15, 3 << 15):
        with importlib.import_module("xp_istft.tuning").tuned(block_bytes=n_bytes):
            yield im.good()


def copies(im: Inverse) -> list[np.ndarray]:
    transform, X = im.reusable(), spectrum()
    every = (transform, pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform))
    return [reused(im, each)(X) for each in every]


def small_stack(im: Inverse) -> list[np.ndarray]:
    threading.stack_size(256 * 1024)
    with ThreadPoolExecutor(1) as pool:
        return [im.good(), pool.submit(im.good).result()]


def same_bits(results: Callable[[Inverse], Iterable[np.ndarray]], im: Inverse) -> None:
    """All of a row's results are equal."""
    first, *others = results(im)
    for each in others:
        assert np.array_equal(first, each), "other bits"


def after_a_fork(im: Inverse) -> None:
    with contextlib.suppress(NotApplicableError):
        im.threads(2)
    X = spectrum(signal(8, n_samples=16384))
    y = im.good(X)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: im.good(X), range(4)))
    assert in_a_child(lambda: np.array_equal(im.good(X), y), 30) is True


def at_exit(im: Inverse) -> None:
    if isinstance(im, Jax):
        raise NotApplicableError("does not fork")
    y = im.good()

    def work() -> bool:
        atexit, right = importlib.import_module("atexit"), []
        atexit.register(lambda: right.append(np.array_equal(im.good(), y)))
        atexit._run_exitfuncs()
        return right == [True]

    assert in_a_child(work, 40) is True


def interrupt(im: Inverse) -> None:
    """Ctrl-C in the middle of a call that takes seconds. Ours: seen within half a second."""
    X = spectrum(signal(1, n_samples=64 * 800))

    def taken(X: Any) -> float:
        start = time.perf_counter()
        im.host(im.istft(X, **BASE))
        return time.perf_counter() - start

    taken(im.native(X))
    frames = int(min(200_000, max(4000, X.shape[-1] / taken(im.native(X)))))
    big = im.native(np.ascontiguousarray(np.broadcast_to(X[..., 400:401], (1, 129, frames))))
    late = 0.3 * min(taken(big), taken(big))
    sent: list[float] = []

    def fire() -> None:
        time.sleep(late)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signals.SIGINT)

    signals.signal(signals.SIGINT, signals.default_int_handler)
    thread = threading.Thread(target=fire)
    try:
        thread.start()
        for _ in range(50):
            taken(big)
    except KeyboardInterrupt:
        seen = time.perf_counter()
        thread.join()
        assert seen - sent[0] < 0.5 or im.name not in OURS, "seen late"
        return
    raise AssertionError("swallowed")


def beside_refusals(im: Inverse) -> None:
    X = spectrum()
    y = im.good(X)

    def work(i: int) -> bool:
        if i % 3:
            return np.array_equal(im.good(X), y)
        with contextlib.suppress(RaisedError):
            im.call(X[:, :5], n_fft=-3, hop_length=0)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40))), "a good call went wrong"


def no_memory(im: Inverse) -> None:
    """An error that speaks of memory, and a good call right after it."""
    big = np.broadcast_to(spectrum()[:1, :, :1], (64 if isinstance(im, Jax) else 256, 129, 40000))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + (300 << 20), limits[1]))
    try:
        refused(im, big, **BASE)
    except RaisedError as raised:
        cause = raised.__cause__
        if not re.search("memory|RESOURCE_EXHAUSTED", f"{type(cause).__name__} {cause}", re.IGNORECASE):
            raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


class Case(NamedTuple):
    """What is run; what it wants: "value", "error" or "either"; the arguments that an error may name."""

    run: Callable[[Inverse], None]
    want: str = "value"
    about: tuple[str, ...] = ()


LONG = np.broadcast_to(np.ones((1, 3, 1), complex), (1, 3, 2**29 + 10))  # longer than an index of 31 bits
BITS: dict[str, Callable[[Inverse], Iterable[np.ndarray]]] = {
    "G01": lambda im: [im.good() for _ in range(20)],
    "G04": any_threads,
    "G05": lambda im: [im.good(np.repeat(spectrum()[:1], n, axis=0))[n - 1] for n in (1, 2, 7)],
    "G06": any_blocks,
    "G07": lambda im: [im.good(change(spectrum())) for change in (np.array, np.asfortranarray, hostile.strided)],
    "G08": lambda im: [im.good(spectrum()[..., :n].copy())[:, 200:1024] for n in (20, 33)],
    "G10": copies,
    "G16": small_stack,
}
PROCEDURES = {
    "C12": Case(gradients),
    "D52": Case(lambda im: refused(im, spectrum(), n_fft=256, hop=64), "error", ("hop",)),
    "E17": Case(partial(foreign, followed=False), "either", ("X",)),
    "E18": Case(partial(foreign, followed=True), "either", ("X",)),
    "E19": Case(
        lambda im: near(im.good(window=HANN if im.torch else torch().from_numpy(HANN.copy()))), "either", ("window",)
    ),
    "E20": Case(window_without_values, "error", ("window",)),
    "E21": Case(lazy_conjugate),
    "E26": Case(partial(out, overlapping=False), "either", ("out",)),
    "E27": Case(partial(out, overlapping=True), "error", ("out",)),
    "F03": Case(nothing_changes),
    "F04": Case(partial(leak, hop_length=-1)),
    "F05": Case(leak),
    "G02": Case(lambda im: at_once(im, im.good, 10)),
    "G03": Case(lambda im: at_once(im, reused(im), 60)),
    "G09": Case(after_a_fork),
    "G11": Case(interrupt),
    "G12": Case(beside_refusals),
    "G13": Case(no_memory),
    "G14": Case(
        lambda im: refused(im, LONG, n_fft=4, hop_length=4, window="boxcar"), "error", ("X", "length", "memory")
    ),
    "G17": Case(at_exit),
    **{number: Case(partial(same_bits, pairs)) for number, pairs in BITS.items()},
}


def cases() -> dict[str, list[Case]]:
    """Number -> what is run under it."""
    found: dict[str, list[Case]] = {}
    for row in hostile.ROWS:
        if "spectrum" in row.takes and not row.id.startswith("X"):
            must = isinstance(row.outcome, Refused)
            want = "either" if row.id in EITHER else "error" if must else "value"
            about = [row.outcome.text.partition(":")[0]] if must else ["X"]
            case = Case(partial(row_case, row), want, (*about, *row.parameters))
            found.setdefault(row.id, []).append(case)
    return dict(sorted((found | {number: [case] for number, case in PROCEDURES.items()}).items()))


# ------------------------------------------------------------------ judgement


def judged(case: Case, im: Inverse) -> tuple[str, str]:
    """The outcome, and what was said."""
    try:
        case.run(im)
    except NotApplicableError as cause:
        return "n/a", str(cause)
    except UserWarning as cause:
        return "warned", str(cause)
    except (EOFError, TimeoutError) as cause:  # of a child's child
        return "crash", type(cause).__name__
    except AssertionError as cause:
        return "wrong", " ".join(str(cause).split())[:200]
    except RaisedError as raised:
        cause = raised.__cause__
        text = " ".join(str(cause).split("\nException raised")[0].split())
        read = re.sub(r"^istft\(.*?center=\d.*?\)\s*:?", "", text)  # torch repeats every parameter
        words = "|".join(im.names.get(name, name) for name in case.about)
        named = words and re.search(rf"\b({words})\b", read)
        return "named" if named else "unnamed", f"{type(cause).__name__}: {text[:200]}"
    except Exception as cause:  # of a procedure's own
        return "unnamed", f"{type(cause).__name__}: {cause}"
    return "right", ""


def worst(number: str, parts: list[Case], im: Inverse) -> tuple[str, str]:
    """The worst outcome of the parts, under the limits of a row; a good call afterwards must be right."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if PROCEDURES.get(number, parts[0]).run is not no_memory:
        limit = MEMORY_BYTES * (3 if isinstance(im, Jax) else 1)
        resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + limit, -1))

    def badness(found: tuple[str, str]) -> tuple[bool, bool, int]:
        outcome = found[0]
        return outcome != "n/a", outcome not in MET[parts[0].want], OUTCOMES.index(outcome)

    found = max((judged(part, im) for part in parts), key=badness)
    if found[0] != "n/a":
        try:
            near(im.good())
        except BaseException as cause:
            return "crash", f"broken afterwards: {cause}"[:200]
    return found


def in_a_child(work: Callable[[], Any], seconds: float | None = None) -> Any:
    """What `work` makes in a forked process; EOFError where that ended, TimeoutError where it hung."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: sender.send(work()))
    child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise TimeoutError(f"no answer in {seconds} s")
        return receiver.recv()
    finally:
        child.kill()
        child.join()


def score(name: str, only: list[str]) -> Counter[str]:
    """How many rows ended how, and how many were met."""
    im = IMPLEMENTATIONS[name]()
    hostile.convention = hostile.Convention(tolerance=im.tolerance)
    if isinstance(im, ShortTime):
        hostile.convention = hostile.Convention(im.spectrum, im.inverse, im.tolerance, lambda m: 64 * (m - 1) - 128)
    tally: Counter[str] = Counter()
    for number, parts in cases().items():
        if only and number not in only:
            continue
        for _ in range(2):  # what hangs does so twice, for a busy machine may be late once
            try:
                found, said = in_a_child(partial(worst, number, parts, im), SECONDS)
                break
            except (EOFError, TimeoutError) as cause:
                found, said = "crash", f"{type(cause).__name__} {cause}"
        met = found in MET[parts[0].want]
        tally.update([found, *(["met"] if met else [])])
        if only or (name in OURS and found != "n/a" and not met):
            print(f"  {number} {found}: {said}", flush=True)
    return tally


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(IMPLEMENTATIONS))
    parser.add_argument("--cases", nargs="*", default=[], help="these numbers only, with what came")
    chosen = parser.parse_args()
    only = ["A01", "C13", "D01", "D52", "G01"] if chosen.quick else chosen.cases
    names = chosen.names or (OURS[:1] if chosen.quick else IMPLEMENTATIONS)
    rows: list[list[str | float | None]] = []
    short = False
    for name in names:
        needed = (IMPLEMENTATIONS[name].package, "torch" if IMPLEMENTATIONS[name].torch else "numpy")
        if not all(importlib.util.find_spec(package.partition(".")[0]) for package in needed):
            print(f"{name}: not installed")
            continue
        tally = in_a_child(partial(score, name, only))
        count = sum(tally[each] for each in OUTCOMES[:-1])
        short |= name in OURS and not 0 < count <= tally["met"]
        percent = f"{100 * tally['met'] // max(1, count)} %"
        rows.append([name, f"{tally['met']}/{count} {percent}", *(str(tally[each]) for each in OUTCOMES)])
        print(*rows[-1], flush=True)
    if not (chosen.names or chosen.cases):
        said = (
            "What each inverse makes of the hostile, broken and edge inputs that it can be given: cases met of those "
        )
        said += "that apply, and how they end. benchmarks/battery.py says what counts as what."
        write(__file__, chosen.output, "Reliability", said, table(["inverse", "met", *OUTCOMES], rows))
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
