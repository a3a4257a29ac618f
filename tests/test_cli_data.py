"""The command line with arrays of other kinds, pipes, pictures and parts of recordings, through the real process."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi

for library in ("click", "h5py", "rich", "matplotlib", "soxr"):
    pytest.importorskip(library, reason="the extra [cli] is not installed")

h5py = pytest.importorskip("h5py")
soundfile = pytest.importorskip("soundfile")
soxr = pytest.importorskip("soxr")

from xp_istft.cli import commands, reading  # noqa: E402  what they need was asked for first

RATE = 8000
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(xi.__file__).parents[1])}


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def process(*arguments, given=None):
    """The real process: exit code, bytes on stdout, text on stderr."""
    command = [sys.executable, "-m", "xp_istft", *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, timeout=120, env=ENVIRONMENT)
    err = done.stderr.decode()
    assert "Traceback" not in err, err
    return done.returncode, done.stdout, err


@pytest.fixture
def cli(capfd, monkeypatch):
    """The same in this process: exit code, stdout, stderr; of what many calls show."""
    monkeypatch.setattr(commands.signal, "signal", lambda *_: None)

    def run(*arguments):
        code = commands.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


def fails(cli, code, text, *arguments):
    """One line that holds `text`, and the directory as it was."""
    before = sorted(Path().rglob("*"))
    got, _, err = cli(*arguments)
    lines = [line for line in err.splitlines() if line.startswith(("xp-istft: ", "Error: "))]
    assert (got, len(lines)) == (code, 1), err
    assert text in lines[0]
    assert sorted(Path().rglob("*")) == before


def noise(n_samples=9001, channels=2, seed=0):
    return 0.3 * np.random.default_rng(seed).uniform(-1, 1, (channels, n_samples))


def written(path="in.wav", x=None, subtype="PCM_16", rate=RATE):
    soundfile.write(path, (noise() if x is None else x).T, rate, subtype)
    return soundfile.read(path, always_2d=True)[0].T


def heard(path, dtype="float64"):
    return soundfile.read(path, always_2d=True, dtype=dtype)[0].T


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("kind", ["npz", "zarr", "npy"])
def test_arrays_go_there_and_back_in_tiny_blocks(cli, cut, kind):
    """By themselves where they carry their parameters; an .npy says what its inverse needs, and with it comes back."""
    if kind == "zarr":
        pytest.importorskip("zarr")
    cut(spectrum_bytes=1)
    x = written()
    code, out, err = cli("stft", "in.wav", f"X.{kind}", "--n-fft", 200, "--window", "kaiser,8", "--padding", "same")
    assert (code, err, out.count("\n")) == (0, "", 1)
    more = out.partition("istft needs ")[2].split() if kind == "npy" else []
    assert (kind == "npy") == bool(more)
    assert cli("istft", f"X.{kind}", "y.wav", "--subtype", "PCM_16", *more)[0] == 0
    np.testing.assert_array_equal(heard("y.wav"), x)
    due = xi.stft(x.astype("f"), 200, window=("kaiser", 8), padding="same")
    if kind == "npz":
        with np.load("X.npz") as file:
            np.testing.assert_array_equal(file["spectrum"], due)
            assert (int(file["sample_rate"]), str(file["window"])) == (RATE, "kaiser,8.0")
    elif kind == "npy":
        np.testing.assert_array_equal(np.load("X.npy"), due)
    else:
        import zarr

        array = zarr.open_array("X.zarr", mode="r")
        np.testing.assert_array_equal(array[...], due)
        assert array.attrs["sample_rate"] == RATE
    fails(cli, 4, "exists already; --force", "stft", "in.wav", f"X.{kind}")
    assert cli("stft", "in.wav", f"X.{kind}", "--force")[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == [f"X.{kind}", "in.wav", "y.wav"]


def test_directories_of_arrays_are_resumed(cli):
    pytest.importorskip("zarr")
    Path("in").mkdir()
    for name in "ab":
        written(f"in/{name}.wav")
    for kind in ("npz", "zarr"):
        for said in ("complex64", "there already"):
            code, out, _ = cli("stft", "in", kind, "--format", kind, "--n-fft", 64)
            assert (code, out.count(said)) == (0, 2)
        assert cli("stft", "in", kind, "--format", kind)[0] == 4
        assert cli("istft", kind, f"{kind}-back")[0] == 0
        np.testing.assert_array_equal(heard(f"{kind}-back/b.wav"), heard("in/b.wav"))


def test_damaged_arrays_are_refused(cli):
    zarr = pytest.importorskip("zarr")
    written()
    for kind in ("npz", "zarr"):
        assert cli("stft", "in.wav", f"X.{kind}", "--n-fft", 64)[0] == 0
    with zipfile.ZipFile("X.npz") as archive:
        at = archive.getinfo("spectrum.npy").header_offset + 5000
    data = bytearray(Path("X.npz").read_bytes())
    data[at] ^= 1
    Path("bad.npz").write_bytes(data)
    fails(cli, 3, "bad.npz: a truncated or damaged .npz file", "istft", "bad.npz", "y.wav")
    chunks = sorted(path for path in Path("X.zarr").rglob("*") if path.is_file() and path.name != "zarr.json")
    data = bytearray(chunks[0].read_bytes())
    data[100] ^= 1
    chunks[0].write_bytes(data)
    fails(cli, 3, "X.zarr: frames ", "istft", "X.zarr", "y.wav")
    chunks[0].unlink()
    fails(cli, 3, "X.zarr: truncated: 1 of ", "istft", "X.zarr", "y.wav")
    Path("foreign.zarr").mkdir()
    Path("foreign.zarr/precious").write_text("mine")
    fails(cli, 3, "zarr.json is not there", "istft", "foreign.zarr", "y.wav")
    fails(cli, 4, "foreign.zarr: is a directory", "stft", "in.wav", "foreign.zarr", "--force")
    zarr.save_array("plain.zarr", xi.stft(noise(), 64))
    assert cli("istft", "plain.zarr", "y.wav", "--sr", RATE, "--length", 9001)[0] == 0
    np.testing.assert_allclose(heard("y.wav"), noise(), atol=3e-7)


def test_without_zarr_the_command_says_how_to_get_it(cli, monkeypatch):
    written()
    monkeypatch.setitem(sys.modules, "zarr", None)
    fails(cli, 2, "X.zarr: .zarr needs the package zarr: pip install 'zarr>=3'", "stft", "in.wav", "X.zarr")


def test_values_of_a_spectrum(cli):
    x = written().astype("f")
    S = np.abs(xi.stft(x, 256))
    for kind, given, due in (
        ("magnitude", ["--magnitude"], S),
        ("decibels", ["--db"], xi.to_db(S)),
        ("decibels", ["--db", "--reference", 2, "--floor", -30], xi.to_db(S, reference=2, floor=-30)),
    ):
        assert cli("stft", "in.wav", "S.h5", "--n-fft", 256, *given, "--force")[0] == 0
        with h5py.File("S.h5") as file:
            np.testing.assert_array_equal(file["spectrum"][...], due)
            assert file["spectrum"].attrs["values"] == kind
    fails(cli, 5, "S.h5: holds decibels, without phases: xp-istft griffinlim", "istft", "S.h5", "y.wav")
    fails(cli, 2, "--floor: is for decibels: need --db", "stft", "in.wav", "T.h5", "--floor", -3)
    fails(cli, 2, "need one of them", "stft", "in.wav", "T.h5", "--db", "--magnitude")
    fails(cli, 2, "--format: T.h5 says its format", "stft", "in.wav", "T.h5", "--format", "npz")


# ---------------------------------------------------------------- pipes


def test_through_pipes_and_back():
    """What goes through two processes is what goes through a file; messages stand on stderr, beside the bytes."""
    x = written()
    for form in ([], ["--format", "npz"]):
        code, spectrogram, err = process("stft", "in.wav", "-", *form)
        assert (code, err) == (0, "-: complex64 (channels, bins, frames) = (2, 1025, 18), 1.125 s\n")
        code, sound, err = process("istft", "-", "-", given=spectrogram)
        assert (code, err) == (0, "-: PCM_16, 2 channels, 8000 Hz, 1.125 s\n")
        Path("y.wav").write_bytes(sound)
        np.testing.assert_array_equal(heard("y.wav"), x)
    code, out, _ = process("istft", "/dev/stdin", "z.flac", given=spectrogram)
    assert (code, out) == (0, b"z.flac: PCM_16, 2 channels, 8000 Hz, 1.125 s\n")
    np.testing.assert_array_equal(heard("z.flac"), x)


def test_samples_without_a_header():
    x = written()
    steps = np.round(x * 32768).astype(">i2").T.tobytes()
    given = ["--raw", "PCM_16", "--sr", RATE, "--channels", 2, "--big-endian"]
    code, spectrogram, _ = process("stft", "-", "-", *given, given=steps)
    assert code == 0
    code, back, err = process("istft", "-", "-", "--format", "raw", given=spectrogram)
    assert (code, err) == (0, "-: PCM_16, 2 channels, 8000 Hz, 1.125 s\n")
    assert np.frombuffer(back, "<i2").astype(">i2").tobytes() == steps


def test_what_raw_samples_need_is_said(cli):
    written()
    for options, text in (
        (["--raw", "PCM_16"], "--raw: samples without a header say no sampling rate: need --sr"),
        (["--raw", "PCM_17", "--sr", 3], "--raw: need one of PCM_S8"),
        (["--channels", 3], "--channels: is for samples without a header: need --raw"),
    ):
        fails(cli, 2, text, "stft", "in.wav", "X.h5", *options)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("form", ["wav", "au"])
def test_what_ffmpeg_pipes_without_a_length_is_read_to_the_end(form):
    x = written()
    piped = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", "in.wav", "-f", form, "-"], capture_output=True, timeout=120, check=True
    ).stdout
    assert process("stft", "-", "X.h5", given=piped)[::2] == (0, "")
    with h5py.File("X.h5") as file:
        np.testing.assert_array_equal(file["spectrum"][...], xi.stft(x.astype("f"), 2048))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_an_input():
    x = written()
    os.mkfifo("pipe")
    command = [sys.executable, "-m", "xp_istft", "stft", "pipe", "X.npy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as reader:
        Path("pipe").write_bytes(Path("in.wav").read_bytes())
        assert reader.communicate(timeout=120)[0].startswith(b"X.npy: complex64")
    np.testing.assert_array_equal(np.load("X.npy"), xi.stft(x.astype("f"), 2048))


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    written(x=noise(90_000))
    command = [sys.executable, "-m", "xp_istft", "stft", "in.wav", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as writer:
        assert writer.stdout.read(8) == b"\x89HDF\r\n\x1a\n"
        writer.stdout.close()
        assert (writer.wait(120), writer.stderr.read().count(b"\n")) == (0, 1)


def test_pipes_that_cannot_be():
    written()
    written("b.wav")
    for arguments, given, text, code in (
        (["stft", "in.wav", "b.wav", "-"], None, "-: several inputs need a directory", 2),
        (["stft", "-", "in.wav", "X"], b"", "-: a pipe is the only input, got 2", 2),
        (["stft", "-", "X.h5"], b"", "-: is empty", 3),
        (["istft", "-", "y.wav"], b"words, and no spectrum", "-: need a file .h5, .npy or .npz", 3),
        (["stft", "-", "-"], b"words, and no sound" * 99, "-: is no recording that can be read", 3),
        (["stft", "in.wav", "-", "--format", "zarr"], None, "-: a .zarr is a directory", 2),
    ):
        got, out, err = process(*arguments, given=given)
        assert (got, out, err.count("\n")) == (code, b"", 1), err
        assert text in err
    assert not Path("X.h5").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="opens a terminal of its own")
def test_a_terminal_gets_no_bytes():
    import pty

    written()
    main, end = pty.openpty()
    command = [sys.executable, "-m", "xp_istft", "stft", "in.wav", "-"]
    done = subprocess.run(command, stdout=end, stderr=subprocess.PIPE, timeout=120, env=ENVIRONMENT)
    os.close(end)
    os.close(main)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"-: standard output is a terminal" in done.stderr
    main, end = pty.openpty()
    command = [sys.executable, "-m", "xp_istft", "stft", "-", "X.h5"]
    done = subprocess.run(command, stdin=end, capture_output=True, timeout=120, env=ENVIRONMENT)
    os.close(end)
    os.close(main)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"-: standard input is a terminal" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output():
    written()
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "xp_istft", "stft", "in.wav", "-"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=120, env=ENVIRONMENT)
    assert done.returncode == 4
    assert b"-: cannot be written: No space left on device; it needs" in done.stderr.splitlines()[-1]


# ---------------------------------------------------------------- parts of recordings


def test_part_mono_and_rate(cli, cut):
    cut(spectrum_bytes=1)
    x = written(x=noise(30_000))
    options = ["--n-fft", 64, "--start", 0.5, "--duration", 2]
    assert cli("stft", "in.wav", "X.npy", *options)[0] == 0
    np.testing.assert_array_equal(np.load("X.npy"), xi.stft(x[:, 4000:20000].astype("f"), 64))
    assert cli("stft", "in.wav", "M.npy", *options, "--mono", "--pad-mode", "wrap", "--rate", 11025)[0] == 0
    due = soxr.resample(x[:, 4000:20000].astype("f").mean(axis=0), RATE, 11025, quality="VHQ")
    assert len(due) == 22050
    np.testing.assert_allclose(np.load("M.npy")[0], xi.stft(due, 64, pad_mode="wrap"), atol=2e-6)
    fails(cli, 5, "--start 9: the recording ends after 3.75 s", "stft", "in.wav", "Y.h5", "--start", 9)


def test_a_part_is_another_source_for_a_second_run(cli):
    Path("in").mkdir()
    written("in/a.wav")
    for start, code, said in ((0.1, 0, "complex64"), (0.1, 0, "there already"), (0.2, 4, "")):
        got, out, _ = cli("stft", "in", "X", "--start", start, "--duration", 0.2)
        assert (got, said in out) == (code, True)


@pytest.mark.parametrize(("before", "rate"), [(44100, 16000), (16000, 44100), (8000, 8001), (48000, 44100)])
@pytest.mark.parametrize("n_samples", [1, 1000, 70_001])
def test_resampling_in_blocks_is_resampling(before, rate, n_samples):
    x = noise(n_samples).astype("f")
    parts = [x[:, lo : lo + 777] for lo in range(0, n_samples, 777)]
    made = np.concatenate(list(reading.resampled(iter(parts), n_samples, before, rate)), axis=1)
    due = soxr.resample(x.T, before, rate, quality="VHQ").T
    assert made.shape == (2, reading.resampled_length(n_samples, before, rate))
    count = min(made.shape[1], due.shape[1])
    assert made.shape[1] - count <= 1
    np.testing.assert_allclose(made[:, :count], due[:, :count], atol=1e-6)


def test_recordings_are_written_at_another_rate(cli):
    x = written(x=noise(20_000), subtype="FLOAT")
    assert cli("stft", "in.wav", "X.h5")[0] == 0
    code, out, _ = cli("istft", "X.h5", "y.wav", "--rate", 16000)
    assert (code, "2 channels, 16000 Hz, 2.500 s" in out) == (0, True)
    due = soxr.resample(x.T.astype("f"), RATE, 16000, quality="VHQ").T
    np.testing.assert_allclose(heard("y.wav"), due, atol=1e-6)


# ---------------------------------------------------------------- pictures and facts


BEGINS = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


def test_pictures_of_recordings_and_of_spectrograms():
    """Through the real process: each kind of picture begins as such; nothing is on stderr; nothing is overwritten."""
    written(x=noise(20_000))
    code, out, err = process("plot", "in.wav")
    assert (code, out, err) == (0, b"in.png: 2.5 s, n_fft 2048, hop 512\n", "")
    assert Path("in.png").read_bytes().startswith(BEGINS["png"])
    code, _, err = process("plot", "in.wav")
    assert (code, err) == (4, "xp-istft: in.png: exists already; --force overwrites it\n")
    code, out, err = process("plot", "-", "-", "--format", "svg", given=Path("in.wav").read_bytes())
    assert (code, out[:5]) == (0, BEGINS["svg"])


def test_pictures_of_all_that_can_be_drawn(cli):
    written(x=noise(6000))
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 64)[0] == 0
    assert cli("stft", "in.wav", "S.h5", "--n-fft", 64, "--db")[0] == 0
    assert cli("stft", "in.wav", "Z.h5", "--n-fft", 64, "--iq")[0] == 0
    np.save("S.npy", np.abs(xi.stft(noise(6000), 64)))
    for arguments in (
        ["X.h5", "a.pdf", "--log", "--range", 60, "--channel", 2],
        ["S.h5", "b.svg", "--start", 0.2, "--duration", 0.1],
        ["Z.h5", "c.png"],
        ["in.wav", "d.png", "--iq", "--n-fft", 64, "--start", 0.1],
        ["in.wav", "e.png", "--mono", "--rate", 4000, "--log"],
        ["S.npy", "f.png", "--sr", RATE],
    ):
        assert cli("plot", *arguments)[::2] == (0, ""), arguments
        assert Path(arguments[1]).read_bytes().startswith(BEGINS[arguments[1][-3:]])
    assert cli("plot", "X.h5", "in.wav", "pictures", "--format", "pdf")[0] == 0
    assert sorted(path.name for path in Path("pictures").iterdir()) == ["X.pdf", "in.pdf"]
    Path("in").mkdir()
    for name in "ab":
        written(f"in/{name}.wav", noise(3000))
    assert cli("plot", "in")[0] == 0  # into this directory
    assert Path("b.png").exists()
    fails(cli, 2, "--mono: is for recordings, and X.h5 is none", "plot", "X.h5", "g.png", "--mono")
    fails(cli, 2, "--key: is for arrays, and in.wav is none", "plot", "in.wav", "g.png", "--key", "X")
    fails(cli, 2, "need a name that ends in .png, .svg or .pdf", "plot", "in.wav", "g.jpg")
    fails(cli, 5, "--channel 3: there are 2", "plot", "in.wav", "g.png", "--channel", 3)
    fails(cli, 2, "--sr is needed", "plot", "S.npy", "g.png")


def test_what_is_drawn_is_what_is_there(cut):
    """Of a spectrogram file and of its recording, in tiny blocks: the envelope, and the largest magnitudes."""
    from xp_istft.cli import drawings, plots

    cut(spectrum_bytes=1)
    x = written(x=noise(40_000), subtype="FLOAT")
    commands.run(["stft", "in.wav", "X.h5", "--n-fft", "64", "--hop-length", "16"])
    look = drawings.Look(channel=2)
    S = np.abs(xi.stft(x[1].astype("f"), 64, hop_length=16))
    drawn = [
        plots._of_recording(Path("in.wav"), {"n_fft": 64, "hop_length": 16}, look, plots.unseen, 1),
        plots._of_spectra(Path("X.h5"), {}, look, plots.unseen, 1),
    ]
    for drawing in drawn:
        ((least, largest),) = drawing.waves
        np.testing.assert_allclose(largest, x[1].reshape(1600, 25).max(axis=1), atol=1e-6)
        np.testing.assert_allclose(least, x[1].reshape(1600, 25).min(axis=1), atol=1e-6)
        places = np.arange(S.shape[1]) * 1600 // S.shape[1]
        due = np.stack([S[:, places == column].max(axis=1) for column in range(1600)], axis=1)
        np.testing.assert_allclose(drawing.largest, due, rtol=1e-6)
    part = plots._of_spectra(Path("X.h5"), {"start": 1.0, "duration": 0.1}, look, plots.unseen, 1)
    np.testing.assert_allclose(part.waves[0][1], x[1, 8000:8800], atol=1e-6)
    assert part.edges[0] <= 1.0 < 1.1 <= part.edges[1]
    assert part.largest.shape[1] == pytest.approx(51, abs=2)


def test_titles_in_any_script_say_nothing_on_stderr(cli):
    """Of a picture through the real process, and of the demonstration in this one, whose imports take seconds."""
    name = "日本語 $a$ हिन्दी 𝒜.wav"
    written(name)
    assert process("plot", name)[::2] == (0, "")
    assert cli("demo", name, "--runs", 1, "--seconds", 0.2)[::2] == (0, "")


def test_what_the_usual_font_lacks_comes_from_another():
    from matplotlib import font_manager

    from xp_istft.cli import fonts

    usual = fonts._known(font_manager.findfont(font_manager.FontProperties()))
    other = next(font for font in font_manager.fontManager.ttflist if font.name == "STIXGeneral")
    lacking = sorted(fonts._known(other.fname) - usual)
    assert lacking
    found = fonts._others(f"a{chr(lacking[0])}")
    paths = [font_manager.findfont(name) for name in found]
    assert any(lacking[0] in fonts._known(path) for path in paths)
    assert fonts._others("plain") == []


def test_facts_of_files():
    written(x=noise(6000))
    commands.run(["stft", "in.wav", "X.npz", "--n-fft", "64", "--db"])
    np.savez("plain.npz", a=np.zeros((3, 4)), b=np.zeros(2, "f"))
    code, out, err = process("info", "in.wav", "X.npz", "plain.npz", "nope.wav", "--json")
    assert (code, err) == (3, "xp-istft: nope.wav: no such file\n")
    recording, spectrogram, arrays = json.loads(out)
    assert recording == {
        "file": "in.wav", "kind": "recording", "format": "WAV", "subtype": "PCM_16", "sample_rate": RATE,
        "channels": 2, "samples": 6000, "seconds": 0.75, "bytes": Path("in.wav").stat().st_size,
    }  # fmt: skip
    assert spectrogram["shape"] == [2, 33, 376]
    assert (spectrogram["values"], spectrogram["dtype"]) == ("decibels", "float32")
    assert spectrogram["parameters"]["hop_length"] == 16
    assert spectrogram["recording"]["samples"] == 6000
    assert arrays["arrays"] == {"a": {"dtype": "float64", "shape": [3, 4]}, "b": {"dtype": "float32", "shape": [2]}}
    code, out, err = process("info", "-", given=Path("in.wav").read_bytes())
    assert (code, err) == (0, "")
    assert out.decode().splitlines()[0] == "-: recording"
    assert "  samples: 6,000" in out.decode()


def test_facts_of_other_files(cli):
    with h5py.File("other.h5", "w") as file:
        file["group/x"] = np.zeros((2, 3), "i2")
    code, out, _ = cli("info", "other.h5", "--json")
    assert (code, json.loads(out)["arrays"]) == (0, {"group/x": {"dtype": "int16", "shape": [2, 3]}})
    np.save("x.npy", np.zeros(3))
    code, out, _ = cli("info", "x.npy")
    assert (code, "array: dtype float64, shape [3]" in out) == (0, True)
    Path("words").write_text("neither")
    fails(cli, 3, "words: is no recording", "info", "words")
    code, out, _ = cli("info", "--json")
    assert (code, json.loads(out)["xp_istft"]) == (0, xi.__version__)
    fails(cli, 2, "--key is for a FILE", "info", "--key", "X")


# ---------------------------------------------------------------- magnitudes


def test_magnitudes_of_all_kinds_of_files_become_the_same_recording(cli):
    x = written(x=noise(3000), subtype="FLOAT").astype("f")
    given = ["--n-fft", 128, "--hop-length", 32]
    for name, more in (("X.h5", []), ("S.h5", ["--magnitude"]), ("S.npz", ["--magnitude"]), ("D.h5", ["--db"])):
        assert cli("stft", "in.wav", name, *given, *more)[0] == 0
    np.savez("P.npz", S=np.abs(xi.stft(x, 128, hop_length=32)), other=np.zeros(3))
    np.save("D.npy", xi.to_db(np.abs(xi.stft(x, 128, hop_length=32))))
    plain = ["--sr", RATE, "--hop-length", 32, "--length", 3000]
    due = xi.griffin_lim(np.abs(xi.stft(x, 128, hop_length=32)), xi.STFT(128, hop_length=32), length=3000, n_iter=4)
    for name, more in (
        ("X.h5", []), ("S.h5", []), ("S.npz", []), ("D.h5", []), ("P.npz", [*plain, "--key", "S"]),
        ("D.npy", [*plain, "--db"]),
    ):  # fmt: skip
        code, out, err = cli("griffinlim", name, f"{name}.wav", "--n-iter", 4, *more)
        assert code == 0, err
        assert "spectral convergence" in out
        assert (err, "the phases that are there are not used" in out) == ("", name == "X.h5")
        if name[0] != "D":
            np.testing.assert_allclose(heard(f"{name}.wav"), due, atol=1e-4)
    fails(cli, 2, "--db: S.h5 says by itself", "griffinlim", "S.h5", "y.wav", "--db")


def test_magnitudes_of_several_files_are_resumed(cli):
    for name in "ab":
        written(f"{name}.wav", noise(2000, 1))
    assert cli("stft", "a.wav", "b.wav", "S", "--magnitude", "--n-fft", 64)[0] == 0
    for said in ("spectral convergence", "there already"):
        code, out, _ = cli("griffinlim", "S", "back", "--n-iter", 2)
        assert (code, out.count(said)) == (0, 2)
    assert cli("griffinlim", "S", "back", "--n-iter", 3)[0] == 4
    assert cli("griffinlim", "S", "more", "--n-iter", 2, "--workers", 2)[0] == 0
    assert Path("more/b.wav").read_bytes() == Path("back/b.wav").read_bytes()
    fails(cli, 2, "several inputs need a directory", "griffinlim", "S/a.h5", "S/b.h5", "y.wav")


def test_magnitudes_the_other_way_round_are_named(cli):
    S = np.abs(xi.stft(noise(9000, 1)[0], 128, hop_length=32)).T
    np.save("S.npy", S)
    there = ("y.wav", "--sr", RATE)
    fails(cli, 5, "need 65 bins for --n-fft 128, got 282, but 65 frames: --frames-first",
          "griffinlim", "S.npy", *there, "--n-fft", 128)  # fmt: skip
    code, _, err = cli("griffinlim", "S.npy", *there, "--n-iter", 1)
    assert (code, err.count("\n")) == (0, 1)
    assert "read as 282 bins, n_fft 562, and 65 frames; --frames-first takes (frames, bins)" in err
    np.save("whole.npy", np.ones((65, 9), "int64"))
    fails(cli, 5, "in floating point, got int64", "griffinlim", "whole.npy", "z.wav", "--sr", RATE)
    Path("words.npy").write_bytes(b"no array at all")
    fails(cli, 3, "need a file .h5, .npy or .npz, or a directory .zarr", "griffinlim", "words.npy", "z.wav")
    fails(cli, 2, "--seed: no phase of --init zero is random",
          "griffinlim", "S.npy", "z.wav", "--sr", RATE, "--init", "zero", "--seed", 1)  # fmt: skip


def test_demo_of_a_part(cli):
    x = written(x=noise(20_000))
    code, out, err = cli("demo", "in.wav", "--runs", 1, "--seconds", 0.5, "--start", 1, "--mono")
    assert (code, err) == (0, "")
    assert "in.wav, from 1 s for 0.5 s: 0.50 s, 1 channel, 8000 Hz" in out
    np.testing.assert_allclose(heard("demo/in-reconstructed.wav")[0], x[:, 8000:12000].mean(axis=0), atol=2.0**-15)
    fails(cli, 2, "--mono is for a RECORDING", "demo", "--mono")


LIMITED = """
import resource, sys
from xp_istft.cli import commands
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
sys.exit(commands.run(["stft", "-", "X.h5"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")
def test_no_room_to_keep_what_a_pipe_brings():
    written(x=noise(90_000))
    command = [sys.executable, "-c", LIMITED]
    given = Path("in.wav").read_bytes()
    done = subprocess.run(command, input=given, capture_output=True, timeout=120, env=ENVIRONMENT)
    assert (done.returncode, done.stderr.count(b"\n")) == (4, 1)
    assert b"-: cannot be kept: File too large: " in done.stderr
    assert b" are free (TMPDIR)" in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["in.wav"]


@pytest.mark.parametrize("kind", ["npz", "zarr"])
def test_damaged_spectrogram_files_are_read_or_refused_on_one_line(cli, kind, rng):
    """Their parameters and numbers with bytes changed, cut out or doubled, for istft and for info."""
    if kind == "zarr":
        pytest.importorskip("zarr")
    written(x=noise(1000, 1))
    assert cli("stft", "in.wav", f"X.{kind}", "--n-fft", 64)[0] == 0
    place = Path(f"X.{kind}") / "zarr.json" if kind == "zarr" else Path(f"X.{kind}")
    whole, codes = place.read_bytes(), set()
    for _ in range(60):
        bad, at = bytearray(whole), int(rng.integers(len(whole)))
        how = rng.integers(3)
        if how == 0:
            bad[at] = int(rng.integers(256))
        elif how == 1:
            del bad[at : at + int(rng.integers(1, 60))]
        else:
            bad[at:at] = bad[at : at + int(rng.integers(1, 60))]
        place.write_bytes(bad)
        for arguments in (["istft", f"X.{kind}", "y.wav", "--sr", RATE], ["info", f"X.{kind}"]):
            code, _, err = cli(*arguments)
            lines = [line for line in err.splitlines() if "warning:" not in line]
            assert code in (0, 2, 3, 4, 5), err
            assert len(lines) == bool(code), err
            codes.add(code)
        Path("y.wav").unlink(missing_ok=True)
    assert 3 in codes


@pytest.mark.parametrize("options", [["--magnitude"], ["--db", "--reference", 0.5]])
def test_what_the_line_of_an_npy_says_brings_it_back(cli, options):
    """Magnitudes and levels, too: with what the line says, it is as a file that carries its parameters."""
    written(x=noise(3000))
    layout = ["--n-fft", 100, "--hop-length", 25, "--pad-mode", "reflect", "--window", "hamming", "--scaling", "ortho"]
    out = cli("stft", "in.wav", "S.npy", *layout, *options)[1]
    assert cli("stft", "in.wav", "S.h5", *layout, *options)[0] == 0
    needs = out.partition("griffinlim needs ")[2].split()
    assert cli("griffinlim", "S.npy", "y.wav", *needs, "--n-iter", 2, "--subtype", "PCM_16")[0] == 0
    assert cli("griffinlim", "S.h5", "z.wav", "--n-iter", 2)[0] == 0
    np.testing.assert_array_equal(heard("y.wav"), heard("z.wav"))


def test_memory_does_not_grow_with_the_length(cut, cli):
    """Of arrays of frames, of resampling and of pictures: 20 s take what 60 s take."""
    from xp_istft.cli import drawings, plots

    cut(spectrum_bytes=1 << 20)
    peaks = {}
    for seconds in (20, 60):
        written("in.wav", noise(16000 * seconds, 1), rate=16000)
        for name, work in {
            "npz": lambda: cli("stft", "in.wav", "X.npz", "--force"),
            "npy at another rate": lambda: cli("stft", "in.wav", "X.npy", "--rate", 8000, "--force"),
            "picture": lambda: plots._of_recording(Path("in.wav"), {"n_fft": 128}, drawings.Look(), plots.unseen, 1),
        }.items():
            tracemalloc.start()
            with xi.workers(1):
                work()
            peaks[name, seconds] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    for name in ("npz", "npy at another rate", "picture"):
        assert peaks[name, 60] < 1.2 * peaks[name, 20] < 15e6, peaks


def test_a_format_that_says_no_length_in_a_pipe_is_named():
    """As programs write FLAC into a pipe: its header has 0 for the samples, which nobody can go back to fill in."""
    written("in.flac", noise(3000))
    data = bytearray(Path("in.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    code, _, err = process("stft", "-", "X.h5", given=bytes(data))
    assert (code, err) == (3, "xp-istft: -: says no length, as FLAC in a pipe may not; WAV may be piped\n")


@pytest.mark.skipif(shutil.which("sox") is None, reason="needs sox")
def test_what_sox_pipes_is_read_to_the_end():
    x = written()
    piped = subprocess.run(
        ["sox", "-V1", "in.wav", "-t", "wav", "-"], capture_output=True, timeout=120, check=True
    ).stdout
    assert process("stft", "-", "X.npy", given=piped)[::2] == (0, "")
    np.testing.assert_array_equal(np.load("X.npy"), xi.stft(x.astype("f"), 2048))
