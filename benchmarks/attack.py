"""An attack on the package, for as long as it is told: what it survives, section by section.

    python benchmarks/attack.py                   one minute
    python benchmarks/attack.py --seconds 3600 --seed 7

writes benchmarks/results/attack.md. Each section tries until its share of the time is over, and counts what survived:

    valid calls      random problems against the sums written out (tests/definition.py), all engines and threads
    refused calls    one argument that is wrong, of any public function (tests/broken_calls.py): an error that names it
    sizes            every size up to 2**70 with a gigabyte to spare (tests/hostile_sizes.py), in a process of its own
    threads          calls of soak.py from four threads at a time, bit for bit as alone
    interrupts       Ctrl-C at any moment: KeyboardInterrupt or the right result, nothing written late, the next right
    forks            children of a process whose threads are at work
    files            bits flipped, bytes cut out or doubled: refused by name, or the same result; no half of an output

Exit code 1 where anything broke; the page says what, and the seed that makes it again.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from results import arguments, table, write

import xp_istft as xi
from xp_istft.tuning import tuned

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import broken_calls
import definition
import soak
from array_libraries import LIBRARIES

TESTS = Path(__file__).parents[1] / "tests"

# What went wrong with one try; nothing, where it survived.
Attempt = Callable[[], str]
Section = Callable[[random.Random], Iterator[Attempt]]
_PATIENCE_SECONDS = 60  # for a child to end
_OURS = re.compile(r"[\w.]+: [\w.]+: need ")


def valid_calls(chance: random.Random) -> Iterator[Attempt]:
    while True:
        yield partial(_valid, random.Random(chance.getrandbits(60)))


def _valid(chance: random.Random) -> str:
    n_fft = chance.randrange(2, 80)
    win_length = chance.randrange(1, n_fft + 1)
    hop = chance.randrange(1, win_length + 1)
    padding = chance.choice([None, "same", "full", 0, (chance.randrange(40), chance.randrange(40))])
    numbers = np.random.default_rng(chance.getrandbits(60))
    window = numbers.uniform(0.1, 1, win_length)
    shape = (*chance.choice([(), (2,), (2, 3)]), chance.randrange(n_fft, 400))
    kind = chance.choice(["float32", "float64"])
    mode = chance.choice(["constant", "reflect", "edge", "symmetric", "wrap"])
    x = numbers.standard_normal(shape).astype(kind)
    layout = {"n_fft": n_fft, "hop_length": hop, "win_length": win_length, "window": window, "padding": padding}
    samples = definition.window_samples(window, win_length, n_fft)
    before, after, whole = definition.placement(n_fft, hop, win_length, True, padding)
    count = definition.count_frames(shape[-1], n_fft, hop, before, after, whole)
    engine, workers = chance.choice(["auto", "numpy", "scipy"]), chance.choice([None, 1, 3])
    with xi.fft_engine(engine), tuned(threaded_seconds=chance.choice([0, 1])), warnings.catch_warnings():
        warnings.simplefilter("ignore", xi.CoverageWarning)
        X = xi.stft(x, **layout, pad_mode=mode, workers=workers)
        y = xi.istft(X, **layout, length=shape[-1], nola="zero", workers=workers)
    due = definition.stft(x, n_fft, hop, samples, before, count, True, mode)
    back, overlap = definition.istft(X, n_fft, hop, samples, samples, before, shape[-1])
    eps = np.finfo(kind).eps
    known = np.abs(overlap) > 1e6 * eps**2 * np.abs(overlap).max()
    told = f"{kind} {shape} {engine} {workers} {mode} {n_fft, hop, win_length, padding}"
    if X.shape != due.shape or np.abs(X - due).max() > 100 * n_fft * eps:
        return f"stft differs from its definition: {told}"
    error = np.abs(np.where(known, (y - back) * np.minimum(overlap, 1), 0)).max(initial=0)
    return f"istft differs from its definition by {error}: {told}" if error > 100 * n_fft * eps else ""


def refused_calls(chance: random.Random) -> Iterator[Attempt]:
    installed = [name for name in ("numpy", "torch") if find_spec(name)]
    doors = [(door, [name for name in door.libraries if name in installed]) for door in broken_calls.DOORS]
    doors = [(door, libraries) for door, libraries in doors if libraries]
    while True:
        door, libraries = chance.choice(doors)
        for call in broken_calls.drawn(door, chance, libraries):
            yield partial(_refused, door, *call)


def _refused(door: broken_calls.Door, library: str, mode: str, parameter: str, name: str, value: Any) -> str:
    verdict = door.verdict(door.modes[mode](LIBRARIES[library].asarray), parameter, value)
    return f"{door.name}({parameter}={name}) of {library}, {mode}: {verdict}" if verdict else ""


def sizes(chance: random.Random) -> Iterator[Attempt]:
    def whole() -> str:
        done = subprocess.run(
            [sys.executable, TESTS / "hostile_sizes.py"], capture_output=True, text=True, timeout=3600
        )
        return "" if done.stdout == "all right, or refused by name\n" else (done.stdout + done.stderr)[-500:]

    yield whole


def threads(chance: random.Random) -> Iterator[Attempt]:
    made = soak.calls(soak.SIZES[:2])
    alone = [call() for call in made]

    def together(picks: list[int]) -> str:
        told: list[str] = []

        def work(pick: int) -> None:
            try:
                result = made[pick]()
                if alone[pick] is not None and not np.array_equal(result, alone[pick]):
                    told.append(f"call {pick} has other bits than alone")
            except Exception as cause:
                told.append(f"call {pick}: {cause!r}")

        callers = [threading.Thread(target=work, args=(pick,)) for pick in picks]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return "; ".join(told)

    while True:
        yield partial(together, [chance.randrange(len(made)) for _ in range(4)])


def interrupts(chance: random.Random) -> Iterator[Attempt]:
    X = np.random.default_rng(0).standard_normal((4, 129, 2000, 2)).view(complex)[..., 0]
    start = time.perf_counter()
    due = xi.istft(X, workers=3)
    taken = time.perf_counter() - start

    def interrupted(delay: float) -> str:
        out = np.full_like(due, 7)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        stopped = False
        try:
            try:
                timer.start()
                xi.istft(X, out=out, workers=3)
            except KeyboardInterrupt:
                stopped = True
            late = out.copy()
            timer.join()
            time.sleep(0)  # where an interrupt that came after the call is raised
        except KeyboardInterrupt:
            timer.join()
            late = out.copy()
        finally:
            signal.signal(signal.SIGINT, before)
        if not stopped and not np.array_equal(out, due):
            return "a whole call gave another result"
        again = xi.istft(X, workers=3)
        if not np.array_equal(late, out):
            return "something was written after the call had ended"
        return "" if np.array_equal(again, due) else "the call after an interrupt gave another result"

    while True:
        yield partial(interrupted, chance.uniform(0, 1.5 * taken))


def forks(chance: random.Random) -> Iterator[Attempt]:
    X = np.random.default_rng(0).standard_normal((4, 129, 500, 2)).view(complex)[..., 0]
    due = xi.istft(X, workers=3)

    def forked(busy: bool) -> str:
        left = threading.Event()

        def work() -> None:
            while not left.is_set():
                xi.istft(X, workers=3)

        caller = threading.Thread(target=work)
        if busy:
            caller.start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # that threads are at work is the point
                child = os.fork()
            if child == 0:
                right = False
                try:
                    right = np.array_equal(xi.istft(X, workers=3), due)
                finally:
                    os._exit(0 if right else 1)
            code = _ended(child)
        finally:
            left.set()
            if busy:
                caller.join()
        return f"a child ended with {code}" if code else ""

    while hasattr(os, "fork"):
        yield partial(forked, chance.random() < 0.5)


def _ended(child: int) -> int:
    """Exit code of a process; -9 where it had to be killed, for it did not end by itself."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            end += _PATIENCE_SECONDS
        time.sleep(1e-3)


def files(chance: random.Random) -> Iterator[Attempt]:
    import soundfile

    from xp_istft.cli import convert
    from xp_istft.cli.failures import Failure

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = 0.3 * np.random.default_rng(0).uniform(-1, 1, (4000, 2))
        soundfile.write(folder / "good.wav", x, 8000, "PCM_16")
        convert.recording_to_spectrogram(folder / "good.wav", folder / "good.h5", {"n_fft": 64}, True, 1)
        X = xi.stft(x.T, 64)
        np.save(folder / "good.npy", X)
        np.savez_compressed(folder / "good.npz", X)
        plain = {"sr": 8000, "length": 4000}
        to_sound, to_spectrum = convert.spectrogram_to_recording, convert.recording_to_spectrogram
        ways = {
            "h5": (to_sound, {}, ".wav"), "npy": (to_sound, plain, ".wav"), "npz": (to_sound, plain, ".wav"),
            "wav": (to_spectrum, {"n_fft": 64}, ".h5"),
        }  # fmt: skip
        checked = {"h5": (folder / "due.wav")}
        to_sound(folder / "good.h5", checked["h5"], {}, True, 1)
        due = soundfile.read(checked["h5"])[0]

        def hostile(kind: str, bad: bytes, flipped: bool) -> str:
            work, options, suffix = ways[kind]
            source, target = folder / f"bad.{kind}", folder / f"out{suffix}"
            source.write_bytes(bad)
            target.unlink(missing_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    work(source, target, dict(options), False, 1)
                except Failure:
                    refused = True
                except (ValueError, TypeError, MemoryError) as cause:
                    if not _OURS.match(str(cause)):
                        return f"{kind}: {cause!r}"
                    refused = True
                else:
                    refused = False
            if refused == target.exists() or list(folder.glob(".*.part")):
                return f"{kind}: an output that is not whole"
            if not refused and flipped and kind == "h5" and not np.array_equal(soundfile.read(target)[0], due):
                return f"{kind}: a flipped bit made another recording"
            return ""

        spectrum = _spectrum_bytes(folder / "good.h5")
        for kind in itertools.cycle(ways):
            bad = bytearray((folder / f"good.{kind}").read_bytes())
            flipped = chance.random() < 0.5
            if flipped:
                place = chance.choice(spectrum) if kind == "h5" else range(len(bad))
                bad[chance.choice(place)] ^= 1 << chance.randrange(8)
            else:
                at = chance.randrange(len(bad))
                piece = bad[at : at + chance.randrange(1, 200)]
                bad[at : at + len(piece)] = chance.choice([b"", 2 * piece, chance.randbytes(len(piece))])
            yield partial(hostile, kind, bytes(bad), flipped)


def _spectrum_bytes(path: Path) -> list[range]:
    """Where the chunks of a spectrogram file lie in it."""
    import h5py

    with h5py.File(path) as file:
        dataset = file["spectrum"].id
        chunks = [dataset.get_chunk_info(k) for k in range(dataset.get_num_chunks())]
    return [range(chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks]


SECTIONS: dict[str, Section] = {
    "valid calls": valid_calls, "refused calls": refused_calls, "sizes": sizes, "threads": threads,
    "interrupts": interrupts, "forks": forks, "files": files,
}  # fmt: skip


def attacked(section: Section, chance: random.Random, seconds: float) -> tuple[int, list[str]]:
    """How often a section was tried in its time, at least once, and what broke."""
    tried, broke, end = 0, [], time.perf_counter() + seconds
    for attempt in section(chance):
        said = attempt()
        tried += 1
        if said:
            broke.append(said)
        if time.perf_counter() >= end:
            break
    return tried, broke


def main() -> int:
    parser = arguments(__doc__, seconds=60.0, seed=0)
    chosen = parser.parse_args()
    share = 0.0 if chosen.quick else chosen.seconds / len(SECTIONS)
    rows: list[list[str | float | None]] = []
    told: list[str] = []
    for name, section in SECTIONS.items():
        tried, broke = attacked(section, random.Random(f"{chosen.seed} {name}"), share)
        rows.append([name, str(tried), str(tried - len(broke)), str(len(broke))])
        told += [f"- {name}: {said}" for said in broke[:10]]
    page = table(["section", "tried", "survived", "broke"], rows)
    write(
        __file__,
        chosen.output,
        "Attack",
        f"{chosen.seconds:g} s, seed {chosen.seed}.",
        page,
        "\n".join(told) or "Nothing broke.",
    )
    return int(bool(told))


if __name__ == "__main__":
    sys.exit(main())
