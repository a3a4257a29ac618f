"""The command line killed, out of disk and given the worst of files and names: whole outputs or none, one line each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi

for library in ("click", "rich"):
    pytest.importorskip(library, reason="the extra [cli] is not installed")

soundfile = pytest.importorskip("soundfile")

from xp_istft.cli import commands  # noqa: E402  what it needs was asked for first

RATE = 8000


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def noise(n_samples=12_000, channels=1):
    return 0.3 * np.random.default_rng(0).uniform(-1, 1, (n_samples, channels))


def shell(code, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(xi.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=environment, **options
    )


COMMAND = "import sys; from xp_istft.cli import commands; sys.exit(commands.run({!r}))"


@pytest.fixture
def cli(capfd):
    def run(*arguments):
        code = commands.run([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return run


# ------------------------------------------------------------------ killed


KILLED_AT_BLOCK_3 = """
import os, signal, sys
from xp_istft.tuning import tuned
from xp_istft.cli import commands, convert
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
for writer in (convert.NewSpectrogram, convert.NewRecording):
    def write(self, block, write=writer.write, count=[0]):
        write(self, block)
        count[0] += 1
        if count[0] == 3:
            os.kill(os.getpid(), signal.{signal})
    writer.write = write
with tuned(spectrum_bytes=1):
    sys.exit(commands.run({arguments!r}))
"""


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("force", [False, True])
def test_killed_while_writing_leaves_no_output_and_the_next_run_works(cli, number, force):
    soundfile.write("in.wav", noise(), RATE)
    assert cli("stft", "in.wav", "X.npz", "--n-fft", 256)[0] == 0
    whole = Path("X.npz").read_bytes()
    for command, source, target in (("stft", "in.wav", "new.npz"), ("istft", "X.npz", "new.flac")):
        before = b"what was there"
        if force:
            Path(target).write_bytes(before)
        arguments = [command, source, target, *(["--n-fft", "256"] if command == "stft" else []), *["--force"] * force]
        killed = shell(KILLED_AT_BLOCK_3.format(signal=number, arguments=arguments))
        assert killed.returncode == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[number]
        assert Path(target).exists() == force
        assert not force or Path(target).read_bytes() == before
        left = [path for path in Path().iterdir() if path.name.endswith(".part")]
        assert len(left) == (number == "SIGKILL")  # nothing can be tidied up there; the name is hidden
        assert all(path.name.startswith(".") for path in left)
        assert cli(*arguments)[0] == 0
        for path in left:
            path.unlink()
    assert Path("new.npz").read_bytes() == whole
    np.testing.assert_allclose(soundfile.read("new.flac")[0], soundfile.read("in.wav")[0], atol=2**-15)


# ------------------------------------------------------------------ no room


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True)
    if made.returncode:
        pytest.skip("no right to mount a small file system here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.parametrize("said_beforehand", [True, False])
@pytest.mark.parametrize("command", ["stft", "istft"])
def test_a_disk_that_fills_up(cli, small_disk, command, said_beforehand):
    soundfile.write("in.wav", noise(400_000), RATE, "FLOAT")
    assert cli("stft", "in.wav", "X.npz")[0] == 0
    source, target = {"stft": ("in.wav", "X.npz"), "istft": ("X.npz", "y.wav")}[command]
    arguments = [command, source, str(small_disk / target)]
    blind = "from xp_istft.cli import convert; convert.check_space = lambda path, n_bytes: None\n" * (
        not said_beforehand
    )
    full = shell(blind + COMMAND.format(arguments))
    assert full.returncode == 4
    assert full.stderr.count("\n") == 1
    assert full.stderr.startswith(f"xp-istft: {small_disk / target}: ")
    assert list(small_disk.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")
@pytest.mark.parametrize("command", ["stft", "istft"])
def test_a_limit_on_the_size_of_files(cli, command):
    soundfile.write("in.wav", noise(200_000), RATE)
    assert cli("stft", "in.wav", "X.npz")[0] == 0
    source, target = {"stft": ("in.wav", "new.npz"), "istft": ("X.npz", "y.wav")}[command]
    before = sorted(Path().iterdir())
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18)); "
    stopped = shell(limited + COMMAND.format([command, source, target]))
    assert (stopped.returncode, stopped.stderr.count("\n")) == (4, 1)
    assert f"{target}: cannot be written" in stopped.stderr
    assert "%" not in stopped.stderr  # no progress bar in a pipe
    assert sorted(Path().iterdir()) == before


# ------------------------------------------------------------------ names


NAMES = [
    "new\nline",
    "tab\tand\rreturn",
    "\x1b[2Jcleared",
    "-f",
    "--help",
    "sp ace",
    "ü日本",
    "%s{}$HOME",
    "'\"`;|&",
    "x" * 240,
    "[red]",
]


@pytest.mark.parametrize("name", NAMES, ids=[f"name{k}" for k in range(len(NAMES))])
def test_any_name_goes_there_and_back_and_is_said_on_one_line(cli, name):
    x = noise(3000)
    soundfile.write("in.wav", x, RATE, "DOUBLE")
    os.rename("in.wav", f"{name}.wav")
    places = [f"./{name}{suffix}" for suffix in (".wav", ".npz", ".w64")]
    for command, source, target in (("stft", *places[:2]), ("istft", *places[1:])):
        code, out, err = cli(command, source, target)
        assert (code, err) == (0, "")
        assert out.count("\n") == 1
        assert out[:-1].isprintable()
    os.rename(places[2], "out.w64")
    np.testing.assert_allclose(soundfile.read("out.w64", always_2d=True)[0], x, atol=1e-14)
    code, _, err = cli("stft", f"./{name}.none.wav", "X.npz")
    assert (code, err.count("\n")) == (3, 1)
    assert err[:-1].isprintable()


def test_names_with_bytes_that_are_no_text(cli):
    name = os.fsdecode(b"\xff\xfe.wav")
    try:
        soundfile.write("in.wav", noise(3000), RATE)
        os.rename("in.wav", name)
    except OSError:
        pytest.skip("this file system takes text only")
    code, out, err = cli("stft", name, "X.npz")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert cli("istft", "X.npz", name + ".wav")[0] == 0


# ------------------------------------------------------------------ files


def changed(data, seed):
    """The bytes with a few of them changed, cut out or doubled."""
    rng = np.random.default_rng(seed)
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, min(len(data), 700 if rng.random() < 0.7 else len(data))))
        kind = rng.integers(0, 3)
        if kind == 0:
            data[at] = int(rng.integers(0, 256))
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 200))]
        else:
            data[at:at] = data[at : at + int(rng.integers(1, 60))]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


@pytest.fixture
def limited_memory():
    """Nothing that a header announces makes the process take memory beyond all bounds."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 1 << 21
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + (1 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("kind", ["npz", "npy", "compressed", "wav", "flac", "window"])
def test_damaged_files_are_read_or_refused_on_one_line(cli, kind, limited_memory):
    """A seeded walk through damaged files; tests/fuzz_readers.py goes on from here, guided by coverage."""
    soundfile.write("in.wav", noise(4000), RATE)
    assert cli("stft", "in.wav", "X.npz", "--n-fft", 256, "--hop-length", 128)[0] == 0
    X = np.load("X.npz")["spectrum"]
    np.save("X.npy", X)
    np.savez_compressed("C.npz", spectrum=X, parameters=np.load("X.npz")["parameters"])
    np.save("w.npy", np.hanning(256))
    soundfile.write("in.flac", noise(4000), RATE)
    source, arguments = {
        "npz": ("X.npz", ["istft", "bad", "y.wav"]),
        "compressed": ("C.npz", ["istft", "bad", "y.wav"]),
        "npy": ("X.npy", ["istft", "bad", "y.wav", "--sr", "8000", "--n-fft", "256", "--hop-length", "128"]),
        "wav": ("in.wav", ["stft", "bad", "Y.npz", "--n-fft", "256"]),
        "flac": ("in.flac", ["stft", "bad", "Y.npz", "--n-fft", "256"]),
        "window": ("w.npy", ["stft", "in.wav", "Y.npz", "--n-fft", "256", "--window", "bad.npy"]),
    }[kind]
    data, target = Path(source).read_bytes(), Path(arguments[2])
    codes = set()
    for seed in range(40):
        bad = Path("bad.npy" if kind == "window" else "bad")
        bad.write_bytes(changed(data, seed))
        code, _, err = cli(*arguments)
        codes.add(code)
        lines = [line for line in err.splitlines() if "warning:" not in line]
        assert "Traceback" not in err
        assert code in (0, 2, 3, 4, 5), (seed, err)
        assert target.exists() == (code == 0)
        assert code == 0 or sum(line.startswith(("xp-istft: ", "Error: ")) for line in lines) == 1
        target.unlink(missing_ok=True)
        assert not list(Path().glob("*.part"))
    assert codes - {0}


def test_foreign_files_under_our_names(cli):
    for name, data in (("a.npz", b"PK\x05\x06" + bytes(18)), ("b.npz", b"%PDF-1.7"), ("c.npz", os.urandom(5000))):
        Path(name).write_bytes(data)
    with zipfile.ZipFile("d.npz", "w") as archive:
        archive.writestr("../../escape.npy", b"\x93NUMPY\x01\x00")
        archive.writestr("spectrum.npy", b"no header")
        archive.writestr("parameters.npy", b"no header")
    for name in ("a.npz", "b.npz", "c.npz", "d.npz"):
        code, _, err = cli("istft", name, "y.wav")
        assert (code, err.count("\n")) == (3, 1)
        assert not Path("y.wav").exists()
    assert not Path("../../escape.npy").exists()
