"""The command line: both ways through files, what users bring, what goes wrong, and what is left behind."""

import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi

for library in ("click", "rich", "matplotlib"):
    pytest.importorskip(library, reason="the extra [cli] is not installed")

soundfile = pytest.importorskip("soundfile")

from xp_istft.cli import commands, convert, recordings, speech, whole_files  # noqa: E402  what they need was asked for first

RATE = 8000


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def tiny_blocks(cut):
    cut(spectrum_bytes=1)


@pytest.fixture
def cli(capsys):
    """cli("stft", "a.wav", ...) -> exit code, stdout, stderr."""

    def run(*arguments):
        code = commands.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


def fails(cli, code, text, *arguments):
    """The command leaves with `code`, one line that holds `text`, and the directory as it was."""
    before = sorted(Path().rglob("*"))
    got, _, err = cli(*arguments)
    lines = [line for line in err.splitlines() if line.startswith(("xp-istft: ", "Error: "))]
    assert (got, len(lines)) == (code, 1), err
    assert text in lines[0]
    assert sorted(Path().rglob("*")) == before


def noise(n_samples=9001, channels=2, seed=0):
    return 0.3 * np.random.default_rng(seed).uniform(-1, 1, (channels, n_samples))


def written(path="in.wav", x=None, subtype="FLOAT"):
    x = noise() if x is None else x
    soundfile.write(path, x.T, RATE, subtype)
    return soundfile.read(path, always_2d=True)[0].T


def heard(path, dtype="float64"):
    return soundfile.read(path, always_2d=True, dtype=dtype)[0].T


LAYOUTS = [
    [],
    ["--n-fft", 101, "--hop-length", 33],
    ["--n-fft", 256, "--win-length", 200, "--hop-length", 90, "--padding", "same"],
    ["--n-fft", 128, "--padding", "full", "--window", "kaiser,8", "--pad-mode", "reflect"],
    ["--n-fft", 64, "--no-center", "--window", "hamming", "--hop-length", 16],
    ["--n-fft", 64, "--padding", "40,90", "--scaling", "spectrum", "--pad-mode", "wrap"],
]


@pytest.mark.parametrize("options", LAYOUTS, ids=lambda options: " ".join(map(str, options)) or "defaults")
@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "DOUBLE"])
def test_round_trip_in_tiny_blocks_is_the_round_trip_of_the_library(cli, tiny_blocks, options, subtype):
    x = written(subtype=subtype)
    assert cli("stft", "in.wav", "X.npz", *options)[0] == 0
    assert cli("istft", "X.npz", "out.wav")[0] == 0
    stored = np.load("X.npz", allow_pickle=False)
    layout = json.loads(stored["parameters"].item())
    both = {name: layout[name] for name in ("hop_length", "win_length", "center", "scaling")}
    for name in ("window", "padding"):
        both[name] = tuple(layout[name]) if isinstance(layout[name], list) else layout[name]
    x = x.astype("float64" if subtype == "DOUBLE" else "float32")
    X = xi.stft(x, layout["n_fft"], pad_mode=layout["pad_mode"], **both)
    np.testing.assert_array_equal(stored["spectrum"], X)
    y = xi.istft(X, n_fft=layout["n_fft"], length=9001, nola="zero", **both)
    out = heard("out.wav", x.dtype)
    info = soundfile.info("out.wav")
    assert (info.subtype, info.samplerate, out.shape) == (subtype, RATE, x.shape)
    if subtype == "PCM_16":
        covered = np.abs(y - x).max(axis=0) < 1e-5
        np.testing.assert_array_equal(out[:, covered], x[:, covered])
    else:
        np.testing.assert_array_equal(out, y)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "PCM_32"])
def test_integer_recordings_come_back_bit_for_bit(cli, subtype):
    x = noise(4000)
    x[:, 7], x[:, 8] = -1, 1 - 2.0**-7
    written(x=x, subtype=subtype)
    kind = ["--dtype", "float64"] if subtype == "PCM_24" else []
    assert cli("stft", "in.wav", "X.npz", "--n-fft", 512, *kind)[0] == 0
    assert cli("istft", "X.npz", "out.wav")[0] == 0
    np.testing.assert_array_equal(heard("out.wav", "int32"), heard("in.wav", "int32"))


def test_same_input_makes_the_same_bytes(cli):
    written()
    cli("stft", "in.wav", "a.npz")
    cli("stft", "in.wav", "b.npz")
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()


def test_formats_and_subtypes(cli):
    written("in.flac", subtype="PCM_16")
    assert cli("stft", "in.flac", "X.npz")[0] == 0
    for name, subtype, options in (
        ("a.flac", "PCM_16", []),
        ("b.wav", "PCM_24", ["--subtype", "pcm_24"]),
        ("c.ogg", "VORBIS", []),
        ("d.aiff", "PCM_16", []),
    ):
        assert cli("istft", "X.npz", name, *options)[0] == 0
        assert soundfile.info(name).subtype == subtype
    fails(cli, 2, "subtype: need one of", "istft", "X.npz", "e.flac", "--subtype", "FLOAT")
    fails(cli, 2, "need a name that ends in", "istft", "X.npz", "e.txt")
    fails(cli, 2, "ends in .npz", "stft", "in.flac", "X.npy")


def test_beyond_what_a_wav_header_counts_it_is_rf64(cut, cli):
    written()
    cli("stft", "in.wav", "X.npz")
    cut(wav_bytes=1000)
    assert cli("istft", "X.npz", "out.wav")[0] == 0
    assert soundfile.info("out.wav").format == "RF64"
    assert cli("stft", "out.wav", "Y.npz")[0] == 0


def test_samples_outside_full_scale_are_clipped_and_nan_is_zero():
    x = np.array([[2.0, -2.0, np.nan, np.inf, 0.5]], "float32")
    with recordings.NewRecording(Path("a.wav"), Path("a.wav"), RATE, 1, "PCM_16", 5) as file:
        file.write(x)
    np.testing.assert_array_equal(heard("a.wav", "int16"), [[32767, -32768, 0, 32767, 16384]])


def test_several_files_in_one_call(cli):
    for name in ("a", "b"):
        written(f"{name}.wav")
    code, out, _ = cli("stft", "a.wav", "missing.wav", "b.wav", "spectra")
    assert code == 3
    assert sorted(Path("spectra").iterdir()) == [Path("spectra/a.npz"), Path("spectra/b.npz")]
    assert out.count("(2, 1025, 18)") == 2
    assert cli("istft", "spectra/a.npz", "spectra/b.npz", "new/back/")[0] == 0
    assert sorted(Path("new/back").iterdir()) == [Path("new/back/a.wav"), Path("new/back/b.wav")]
    assert cli("istft", "spectra/a.npz", "one/")[0] == 0
    assert Path("one/a.wav").is_file()


def test_directories_that_do_not_fit(cli):
    written("a.wav")
    written("b.wav")
    fails(cli, 2, "need a directory", "stft", "a.wav", "a.wav", "b.wav")
    fails(cli, 2, "several inputs would go there", "stft", "a.wav", "./a.wav", "out")
    fails(cli, 2, "at least one IN", "stft", "a.wav")
    fails(cli, 4, "no directory", "stft", "a.wav", "nowhere/X.npz")
    fails(cli, 4, "cannot be made", "stft", "a.wav", "b.wav", "a.wav/out")
    Path("X.npz").symlink_to("/dev/null")
    fails(cli, 4, "not a regular file", "stft", "a.wav", "X.npz", "--force")


def test_nothing_is_overwritten_without_force(cli):
    written()
    Path("X.npz").write_text("precious")
    fails(cli, 4, "--force", "stft", "in.wav", "X.npz")
    assert Path("X.npz").read_text() == "precious"
    os.chmod("X.npz", 0o640)
    assert cli("stft", "in.wav", "X.npz", "--force")[0] == 0
    assert Path("X.npz").stat().st_mode & 0o777 == 0o640
    Path("link.npz").symlink_to("X.npz")
    assert cli("stft", "in.wav", "link.npz", "--force", "--n-fft", 64)[0] == 0
    assert Path("link.npz").is_symlink()
    assert np.load("X.npz")["spectrum"].shape[1] == 33


class Conventions:
    """How users of the peers make and save spectra; each returns samples, the array saved, and the options."""

    @staticmethod
    def librosa():
        librosa = pytest.importorskip("librosa")
        x = noise()
        X = librosa.stft(x, n_fft=512, hop_length=200)
        assert X.flags.f_contiguous
        return x, X, ["--hop-length", 200, "--length", 9001]

    @staticmethod
    def librosa_mono_short_window():
        librosa = pytest.importorskip("librosa")
        x = noise(channels=1)
        X = librosa.stft(x[0], n_fft=512, win_length=400, hop_length=100, window="hamming")
        return x, X, ["--win-length", 400, "--window", "hamming", "--length", 9001]

    @staticmethod
    def torch():
        torch = pytest.importorskip("torch")
        x = noise()
        window = torch.hann_window(255, dtype=torch.float64)
        X = torch.stft(torch.asarray(x), 255, 64, window=window, return_complex=True, normalized=True)
        return x, X.numpy(), ["--n-fft", 255, "--hop-length", 64, "--scaling", "ortho", "--length", 9001]

    @staticmethod
    def torch_pairs_of_a_batch():
        torch = pytest.importorskip("torch")
        x = noise().astype("float32")
        X = torch.stft(torch.asarray(x), 256, window=torch.hann_window(256), return_complex=True)
        return x, torch.view_as_real(X).numpy()[None], ["--length", 9001]

    @staticmethod
    def scipy_stft():
        scipy_signal = pytest.importorskip("scipy.signal")
        x = noise()
        X = scipy_signal.stft(x, RATE, nperseg=256)[2]
        return x, X, ["--hop-length", 128, "--scaling", "spectrum", "--length", 9001]

    @staticmethod
    def scipy_two_sided_frames_first():
        scipy_signal = pytest.importorskip("scipy.signal")
        x = noise()
        X = scipy_signal.stft(x, RATE, nperseg=200, return_onesided=False)[2].swapaxes(-1, -2).astype(">c16")
        more = ["--two-sided", "--frames-first", "--length", 9001]
        return x, X, ["--hop-length", 100, "--scaling", "spectrum", *more]

    @staticmethod
    def short_time_fft():
        scipy_signal = pytest.importorskip("scipy.signal")
        x = noise()
        stft = scipy_signal.ShortTimeFFT(scipy_signal.get_window("hann", 300), 75, RATE)
        left = stft.m_num_mid - stft.p_min * stft.hop
        layout = ["--hop-length", 75, "--padding", f"{left},0", "--phase-shift", 0]
        return x, stft.stft(x), [*layout, "--length", 9001]

    @staticmethod
    def short_time_fft_odd():
        scipy_signal = pytest.importorskip("scipy.signal")
        x = noise()
        window = scipy_signal.get_window(("kaiser", 9), 251)
        stft = scipy_signal.ShortTimeFFT(window, 60, RATE, phase_shift=30)
        left = stft.m_num_mid - stft.p_min * stft.hop
        layout = ["--hop-length", 60, "--padding", f"{left},0", "--phase-shift", 30, "--window", "kaiser,9"]
        return x, stft.stft(x), [*layout, "--n-fft", 251, "--length", 9001]


@pytest.mark.parametrize("convention", [name for name in vars(Conventions) if not name.startswith("_")])
@pytest.mark.parametrize("container", ["npy", "npz", "compressed"])
def test_plain_spectra_of_the_peers(cli, tiny_blocks, convention, container):
    x, X, options = getattr(Conventions, convention)()
    path = "X.npy" if container == "npy" else "X.npz"
    if container == "npy":
        np.save(path, X)
    else:
        (np.savez if container == "npz" else np.savez_compressed)(path, Zxx=X, other=np.zeros(3))
        options += ["--key", "Zxx"]
    code, _, err = cli("istft", path, "out.wav", "--sr", RATE, "--subtype", "DOUBLE", *options)
    assert (code, err) == (0, "")
    assert soundfile.info("out.wav").samplerate == RATE
    np.testing.assert_allclose(heard("out.wav"), x, atol=3e-7 if X.itemsize <= 8 else 1e-14)


def test_fortran_order_and_frames_first_agree(cli, tiny_blocks):
    X = xi.stft(noise(), 64)
    signals = []
    for k, array in enumerate([X, np.asfortranarray(X), X.swapaxes(1, 2), np.asfortranarray(X.swapaxes(1, 2))]):
        np.save(f"{k}.npy", array)
        more = ["--frames-first"] if k > 1 else []
        assert cli("istft", f"{k}.npy", f"{k}.wav", "--sr", RATE, *more)[0] == 0
        signals.append(heard(f"{k}.wav"))
        np.testing.assert_array_equal(signals[k], signals[0])
    np.testing.assert_array_equal(signals[0], xi.istft(X).astype("float32"))


def test_window_samples_from_a_file(cli):
    x = written()
    np.save("w.npy", np.hanning(200)[1:])
    assert cli("stft", "in.wav", "X.npz", "--n-fft", 256, "--window", "w.npy", "--hop-length", 50)[0] == 0
    assert cli("istft", "X.npz", "out.wav")[0] == 0
    np.testing.assert_allclose(heard("out.wav"), x, atol=3e-7)
    np.save("w.npy", np.ones((2, 3)))
    fails(cli, 5, "need a real array (win_length,)", "stft", "in.wav", "Y.npz", "--window", "w.npy")
    fails(cli, 3, "no such file", "stft", "in.wav", "Y.npz", "--window", "nope.npy")


def test_options_come_before_what_the_file_says(cli):
    written()
    cli("stft", "in.wav", "X.npz")
    options = ("--length", 5000, "--sr", 16000, "--subtype", "PCM_16", "--max-gain", 10, "--workers", 1)
    assert cli("istft", "X.npz", "out.wav", *options)[0] == 0
    info = soundfile.info("out.wav")
    assert (info.frames, info.samplerate, info.subtype) == (5000, 16000, "PCM_16")


def test_warnings_are_one_line(cli):
    written()
    assert cli("stft", "in.wav", "X.npz", "--no-center")[0] == 0
    code, _, err = cli("istft", "X.npz", "out.wav")
    assert code == 0
    assert err.startswith("xp-istft: X.npz: warning: istft: ")
    assert err.count("\n") == 1


def truncated(path, part=0.5):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * part)])


def test_recordings_that_cannot_be_read(cli):
    fails(cli, 3, "no such file", "stft", "nope.wav", "X.npz")
    Path("empty.wav").touch()
    fails(cli, 3, "is empty", "stft", "empty.wav", "X.npz")
    Path("text.wav").write_text("no sound at all, only words " * 20)
    fails(cli, 3, "no recording that can be read", "stft", "text.wav", "X.npz")
    Path("folder").mkdir()
    fails(cli, 3, "is a directory without files", "stft", "folder", "X.npz")
    os.mkfifo("pipe")
    fails(cli, 3, "not a regular file", "stft", "pipe", "X.npz")
    soundfile.write("silent.wav", np.zeros((0, 1)), RATE)
    fails(cli, 3, "no samples", "stft", "silent.wav", "X.npz")
    written("short.wav", noise(50))
    fails(cli, 5, "at least 2048 samples", "stft", "short.wav", "X.npz", "--no-center")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "w64", "au", "ogg", "mp3"])
def test_truncated_recordings(cli, suffix):
    soundfile.write(f"in.{suffix}", noise(20000).T, 16000)
    truncated(f"in.{suffix}")
    fails(cli, 3, f"in.{suffix}: ", "stft", f"in.{suffix}", "X.npz", "--n-fft", 64)


def test_a_recording_from_a_pipe_does_not_say_its_size_and_is_read(cli):
    written(subtype="PCM_16")
    data = bytearray(Path("in.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    Path("in.wav").write_bytes(data)
    assert cli("stft", "in.wav", "X.npz")[0] == 0


def test_spectra_that_cannot_be_read(cli):
    sr = ("--sr", RATE)
    written()
    fails(cli, 3, "no such file", "istft", "nope.npy", "out.wav", *sr)
    Path("empty.npy").touch()
    fails(cli, 3, "is empty", "istft", "empty.npy", "out.wav", *sr)
    fails(cli, 3, "no .npy or .npz", "istft", "in.wav", "out.wav", *sr)
    np.save("X.npy", xi.stft(noise(), 64))
    fails(cli, 2, "--sr is needed", "istft", "X.npy", "out.wav")
    fails(cli, 3, "--key is for .npz", "istft", "X.npy", "out.wav", "--key", "X")
    truncated("X.npy")
    fails(cli, 3, "truncated", "istft", "X.npy", "out.wav", *sr)
    truncated("X.npy", 0.0002)
    fails(cli, 3, "header", "istft", "X.npy", "out.wav", *sr)
    Path("header.npy").write_bytes(b"\x93NUMPY\x09\x00" + bytes(100))
    fails(cli, 3, "header", "istft", "header.npy", "out.wav", *sr)
    np.savez("many.npz", a=np.zeros(2), b=np.zeros(3))
    fails(cli, 3, "the arrays in it: a, b", "istft", "many.npz", "out.wav", *sr)
    fails(cli, 3, "an array 'c'", "istft", "many.npz", "out.wav", *sr, "--key", "c")
    with zipfile.ZipFile("foreign.npz", "w") as archive:
        archive.writestr("data.txt", "words")
    fails(cli, 3, "the arrays in it: none", "istft", "foreign.npz", "out.wav", *sr)
    np.savez_compressed("damaged.npz", X=xi.stft(noise(), 64))
    data = bytearray(Path("damaged.npz").read_bytes())
    data[2000:2100] = bytes(100)
    Path("damaged.npz").write_bytes(data)
    fails(cli, 3, "damaged.npz: ", "istft", "damaged.npz", "out.wav", *sr)
    cli("stft", "in.wav", "whole.npz")
    truncated("whole.npz", 0.9)
    fails(cli, 3, "truncated or damaged", "istft", "whole.npz", "out.wav")


def test_spectra_that_do_not_fit(cli):
    sr = ("--sr", RATE)
    for name, array, text in (
        ("real", np.zeros((5, 9)), "need complex64 or complex128"),
        ("wide", np.zeros((5, 9), np.clongdouble), "need complex64 or complex128"),
        ("flat", np.zeros(5, "complex64"), "need an array (..., bins, frames)"),
        ("none", np.zeros((5, 0), "complex64"), "need an array (..., bins, frames)"),
        ("deep", np.zeros((2, 3, 5, 9), "complex64"), "(channels, bins, frames)"),
    ):
        np.save(f"{name}.npy", array)
        fails(cli, 5, text, "istft", f"{name}.npy", "out.wav", *sr)
    np.save("X.npy", xi.stft(noise(), 64))
    fails(cli, 5, "need 51 bins", "istft", "X.npy", "out.wav", *sr, "--n-fft", 100)
    fails(cli, 5, "hop_length", "istft", "X.npy", "out.wav", *sr, "--hop-length", 100)
    fails(cli, 5, "did you mean 'hann'", "istft", "X.npy", "out.wav", *sr, "--window", "hnan")
    np.save("crowd.npy", np.zeros((2000, 5, 9), "complex64"))
    fails(cli, 4, "2000 channels", "istft", "crowd.npy", "out.wav", *sr)


def test_nothing_is_ever_unpickled(cli):
    class Bomb:
        def __reduce__(self):
            return (Path.write_text, (Path("exploded"), "boom"))

    objects = np.array([Bomb(), None], object)
    np.save("X.npy", objects, allow_pickle=True)
    np.savez("X.npz", X=objects, allow_pickle=True)
    np.savez("Y.npz", spectrum=np.zeros((1, 3, 4), "complex64"), parameters=np.array(Bomb(), object))
    Path("p.npy").write_bytes(pickle.dumps(Bomb()))
    written()
    fails(cli, 3, "never read", "istft", "X.npy", "out.wav", "--sr", RATE)
    fails(cli, 3, "never read", "istft", "X.npz", "out.wav", "--sr", RATE, "--key", "X")
    fails(cli, 3, "never read", "istft", "Y.npz", "out.wav", "--sr", RATE)
    fails(cli, 3, "no .npy or .npz", "istft", "p.npy", "out.wav", "--sr", RATE)
    fails(cli, 3, "never read", "stft", "in.wav", "Z.npz", "--window", "X.npy")
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "something else"}, "need a file of kind"),
        ({"hop_length": "many"}, "the parameter hop_length"),
        ({"n_fft": 10**12}, "the parameter n_fft: need that of 1025 bins"),
        ({"window": "hnan"}, "the parameter window: need a known name (did you mean 'hann'?)"),
        ({"subtype": 3}, "the parameter subtype"),
        ({"center": 1}, "the parameter center"),
        ({"channels": True}, "the parameter channels"),
        (None, "cannot be read"),
        ("not json", "cannot be read"),
    ],
)
def test_parameters_that_are_none_of_ours(cli, change, text):
    written()
    cli("stft", "in.wav", "X.npz")
    stored = dict(np.load("X.npz"))
    values = json.loads(stored["parameters"].item())
    said = {**values, **change} if isinstance(change, dict) else change
    np.savez("X.npz", spectrum=stored["spectrum"], parameters=np.array(said if said == change else json.dumps(said)))
    if change is None:
        np.savez("X.npz", spectrum=stored["spectrum"], parameters=np.zeros(3))
    fails(cli, 3, text, "istft", "X.npz", "out.wav")


def test_a_spectrogram_file_says_what_its_inverse_needs(cli):
    written(x=noise(channels=1))
    options = ("--n-fft", 64, "--win-length", 60, "--window", "kaiser,8", "--padding", "20,40", "--pad-mode", "edge")
    assert cli("stft", "in.wav", "X.npz", *options)[0] == 0
    stored = dict(np.load("X.npz"))
    values = {
        "kind": "xp_istft spectrogram 1", "sample_rate": RATE, "channels": 1, "length": 9001, "subtype": "FLOAT",
        "n_fft": 64, "hop_length": 15, "win_length": 60, "window": ["kaiser", 8.0], "center": True,
        "padding": [20, 40], "pad_mode": "edge", "scaling": None,
    }  # fmt: skip
    assert json.loads(stored["parameters"].item()) == values
    assert cli("istft", "X.npz", "y.wav")[0] == 0
    # One number for both sides is as good as two, and samples of a window as its name.
    values["window"] = xi.STFT(64, win_length=60, window=("kaiser", 8)).samples()[2:62].tolist()
    np.savez("Y.npz", spectrum=stored["spectrum"], parameters=np.array(json.dumps(values)))
    assert cli("istft", "Y.npz", "z.wav")[0] == 0
    np.testing.assert_array_equal(heard("z.wav"), heard("y.wav"))


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("cause", [BrokenError, KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
@pytest.mark.parametrize("command", ["stft", "istft"])
def test_a_failure_half_way_leaves_nothing(cli, monkeypatch, tiny_blocks, command, cause):
    written()
    cli("stft", "in.wav", "X.npz", "--n-fft", 64)
    target, kind = ("Y.npz", convert.NewSpectrogram) if command == "stft" else ("out.wav", convert.NewRecording)
    Path(target).write_text("precious")
    write, calls = kind.write, []

    def breaking(self, block):
        calls.append(block)
        if len(calls) == 3:
            assert list(Path().glob(".*.part"))
            raise cause
        write(self, block)

    monkeypatch.setattr(kind, "write", breaking)
    code = {BrokenError: 1, KeyboardInterrupt: 130, MemoryError: 1}.get(cause, 4)
    source = "in.wav" if command == "stft" else "X.npz"
    got, _, err = cli(command, source, target, "--force", *(["--n-fft", 64] if command == "stft" else []))
    assert (got, err.strip().count("\n")) == (code, 0)
    assert Path(target).read_text() == "precious"
    assert not list(Path().glob(".*.part"))


def test_a_target_that_comes_meanwhile_is_kept():
    def late():
        with whole_files.whole_file(Path("a")) as temporary:
            temporary.write_text("ours")
            Path("a").write_text("theirs")

    with pytest.raises(whole_files.Failure, match="exists already"):
        late()
    assert Path("a").read_text() == "theirs"
    assert list(Path().iterdir()) == [Path("a")]


def test_a_full_disk_is_said_beforehand(cli, monkeypatch):
    written()
    cli("stft", "in.wav", "X.npz")
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.terminal_size((0, 0)) and type("Usage", (), {"free": 10}))
    fails(cli, 4, "10 are free", "stft", "in.wav", "Y.npz")


def shell(*arguments, **environment):
    root = str(Path(xi.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": root, **environment},
    )  # fmt: skip


def test_the_module_runs():
    assert shell("-m", "xp_istft", "--version").stdout.startswith("xp-istft, version ")


def test_without_its_libraries_the_command_says_how_to_get_them():
    code = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name: None if name in ('click', 'rich') else find(name);"
        "from xp_istft.cli import main; main()"
    )
    result = shell("-c", code)
    assert result.returncode == 1
    assert result.stderr == "xp-istft: the command line needs click, rich: pip install 'xp-istft[cli]'\n"


def test_the_main_job_imports_no_array_library_and_no_plots():
    written()
    code = (
        "import sys; from xp_istft.cli.commands import run; run(['stft', 'in.wav', 'X.npz']);"
        "run(['istft', 'X.npz', 'out.wav']);"
        "print({'torch', 'jax', 'dask', 'cupy', 'librosa', 'matplotlib'} & set(sys.modules))"
    )
    result = shell("-c", code)
    assert result.stdout.splitlines()[-1] == "set()", result.stderr


def test_terminated_in_the_middle_leaves_nothing():
    written()
    code = (
        "import os, signal, sys; from xp_istft.cli import commands, convert;"
        "convert.NewSpectrogram.write = lambda self, block: os.kill(os.getpid(), signal.SIGTERM);"
        "sys.exit(commands.run(['stft', 'in.wav', 'X.npz']))"
    )
    result = shell("-c", code)
    assert (result.returncode, result.stderr) == (143, "xp-istft: terminated\n")
    assert list(Path().iterdir()) == [Path("in.wav")]


def test_unexpected_errors_are_one_line_unless_asked(cli, monkeypatch):
    monkeypatch.setattr("xp_istft.cli.info.show", lambda: 1 / 0)
    code, _, err = cli("info")
    assert (code, err.count("\n")) == (1, 1)
    monkeypatch.setenv("XP_ISTFT_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        commands.run(["info"])


def test_usage_errors(cli):
    assert cli("stft", "--n-fft", "many", "a", "b")[0] == 2
    assert cli("istft", "--padding", "1,2,3", "a", "b")[0] == 2
    assert cli("istft", "--window", "kaiser,many", "a", "b")[0] == 2
    assert cli("nothing")[0] == 2
    code, out, _ = cli("istft", "--help")
    assert code == 0
    assert "Exit codes: 0 done" in out


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with commands._progress("a.wav") as advance:
        assert len(list(advance([np.zeros(3), np.zeros(4)], 7))) == 2
    assert "a.wav" in terminal.getvalue()


def test_memory_does_not_grow_with_the_length(cli, cut):
    cut(spectrum_bytes=4 << 20)
    peaks = {}
    for seconds in (20, 60):
        soundfile.write("in.wav", noise(44100 * seconds).T, 44100, "FLOAT")
        for arguments in (("stft", "in.wav", "X.npz"), ("istft", "X.npz", "out.wav")):
            tracemalloc.start()
            with xi.workers(1):  # others may come too late to allocate their scratch in both runs
                assert cli(*arguments, "--force")[0] == 0
            peaks[arguments[0], seconds] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    for command in ("stft", "istft"):
        assert peaks[command, 60] < 1.05 * peaks[command, 20] < 30e6  # the spectrum of a minute: 85 MB


def test_speech_is_the_same_everywhere():
    x = speech.sentence()
    assert x.shape == (36640,)
    assert np.abs(x).max() == pytest.approx(0.7)
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # splitmix64 from 0
    np.testing.assert_array_equal(speech._white(3), [(z >> 11) / 2.0**52 - 1 for z in known])


def test_info(cli):
    code, out, _ = cli("info")
    assert code == 0
    for text in ("xp_istft", xi.__version__, "array library numpy", np.__version__, "FFT engine", "CPUs", "libsndfile"):
        assert text in out


def test_demo(cli):
    code, out, err = cli("demo", "--runs", 1)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    for dtype, least in (("float32", 130), ("float64", 300)):
        measured = {row[0]: float(row[3]) for row in rows if len(row) > 4 and row[2] == dtype}
        assert {"numpy", "ShortTimeFFT"} <= set(measured)
        assert all(snr >= least for snr in measured.values()), measured
    np.testing.assert_allclose(heard("demo/sentence-reconstructed.wav")[0], speech.sentence(), atol=3e-7)
    assert Path("demo/sentence.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_demo_of_a_recording_without_other_libraries(cli, monkeypatch):
    from xp_istft.cli import demo, libraries

    x = written("talk.flac", noise(4000), "PCM_16")

    def missing(name):
        return None if name in ("torch", "jax", "dask", "librosa", "array_api_strict", "cupy") else name

    monkeypatch.setattr(libraries, "find_spec", missing)
    monkeypatch.setattr(demo, "find_spec", missing)
    code, out, err = cli("demo", "talk.flac", "--output", "there", "--n-fft", 255, "--seconds", 0.25)
    assert (code, err) == (0, "")
    assert "first 0.25 s" in out
    assert out.count("installed") == 6 - 0
    np.testing.assert_array_equal(heard("there/talk-reconstructed.wav"), x[:, :2000])
    assert Path("there/talk.png").exists()
    fails(cli, 3, "no such file", "demo", "nope.wav")
    fails(cli, 4, "cannot be made", "demo", "talk.flac", "--output", "talk.flac")


def test_demo_shows_what_fails(cli, monkeypatch):
    from xp_istft.cli import libraries

    def broken(x, device):
        raise RuntimeError("the library is broken")

    numpy = libraries.LIBRARIES[0]
    other = libraries.Library("other", "numpy", lambda: ["cpu"], broken, np.asarray)
    worse = libraries.Library("worse", "numpy", lambda: 1 / 0, broken, np.asarray)
    none = libraries.Library("none", "numpy", list, broken, np.asarray)
    monkeypatch.setattr("xp_istft.cli.demo.LIBRARIES", (numpy, other, worse, none))
    code, out, _ = cli("demo", "--runs", 1, "--seconds", 0.5)
    assert code == 0
    assert "other float32 failed: RuntimeError: the library is broken" in out
    assert "worse failed: not usable: division by zero" in out
    assert "no usable" in out


def magnitudes(**options):
    return np.abs(xi.stft(0.5 * np.sin(np.arange(6000) ** 1.5 / 300) + [[0], [0]], 256, **options))


def test_magnitudes_to_a_recording(cli):
    S = magnitudes(hop_length=48, window="hamming")
    np.save("S.npy", S.astype("f"))
    code, out, err = cli("griffinlim", "S.npy", "y.wav", "--sr", RATE, "--hop-length", 48, "--window", "hamming",
                         "--length", 6000, "--n-iter", 8)  # fmt: skip
    assert (code, err) == (0, "")
    assert re.fullmatch(r"y.wav: FLOAT, 2 channels, 8000 Hz, 0.750 s, spectral convergence -\d\d.\d dB\n", out)
    due = xi.griffin_lim(S.astype("f"), xi.STFT(256, 48, window="hamming"), length=6000, n_iter=8)
    np.testing.assert_array_equal(heard("y.wav", "float32"), due)


def test_magnitudes_in_other_layouts_and_from_other_starts(cli):
    S = magnitudes()[0]
    np.save("S.npy", np.asfortranarray(S.T))
    options = ("--frames-first", "--init", "random", "--seed", 7, "--algorithm", "fgla", "--n-iter", 3)
    assert cli("griffinlim", "S.npy", "y.flac", "--sr", RATE, *options, "--subtype", "PCM_24")[0] == 0
    due = xi.griffin_lim(S, init="random", rng=7, algorithm="fgla", n_iter=3)
    np.testing.assert_allclose(heard("y.flac")[0], due, atol=2.0**-23)
    fails(cli, 4, "exists already", "griffinlim", "S.npy", "y.flac", "--sr", RATE, *options)
    assert cli("griffinlim", "S.npy", "y.flac", "--sr", RATE, *options, "--force")[0] == 0


def test_magnitudes_that_do_not_fit(cli):
    S = magnitudes()
    np.save("S.npy", S)
    np.save("X.npy", S + 0j)
    np.save("negative.npy", -S)
    Path("cut.npy").write_bytes(Path("S.npy").read_bytes()[:5000])
    there = ("y.wav", "--sr", RATE)
    fails(cli, 5, "need real magnitudes (bins, frames) or (channels, bins, frames)", "griffinlim", "X.npy", *there)
    fails(cli, 5, "S: need finite magnitudes >= 0", "griffinlim", "negative.npy", *there)
    fails(cli, 5, "S: need 65 bins for n_fft=128, got 129", "griffinlim", "S.npy", *there, "--n-fft", 128)
    fails(cli, 3, "truncated", "griffinlim", "cut.npy", *there)
    fails(cli, 3, "no such file", "griffinlim", "none.npy", *there)
    fails(cli, 2, "--sr", "griffinlim", "S.npy", "y.wav")
    fails(cli, 2, "--momentum: raar has none", "griffinlim", "S.npy", *there, "--algorithm", "raar", "--momentum", 0.5)


def test_progress_of_iterations_on_a_terminal(monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr(Console, "is_terminal", True)
    with commands._counted("S.npy", 2) as (callback, reached):
        callback(1, 0.1)
        callback(2, 0.0)
    assert reached == ["spectral convergence -20.0 dB", "exact"]
