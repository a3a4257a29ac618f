"""The command line: both ways through files, what users bring, what goes wrong, and what is left behind.

Outputs are whole or not there, and what fails is one line.
"""

import io
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi

for library in ("click", "h5py", "rich", "matplotlib", "soxr"):
    pytest.importorskip(library, reason="the extra [cli] is not installed")

h5py = pytest.importorskip("h5py")
soundfile = pytest.importorskip("soundfile")

from xp_istft.cli import commands, many, recordings, running, spectrogram_files, speech, whole_files  # noqa: E402  what they need was asked for first

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
def cli(capfd):
    """cli("stft", "a.wav", ...) -> exit code, stdout, stderr."""

    def run(*arguments):
        code = commands.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()  # with what libraries written in C say
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


def stored(path):
    """The spectrum of a spectrogram file, and its attributes as stft takes them."""
    with h5py.File(path) as file:
        values = {
            name: value.tolist() if hasattr(value, "tolist") else value
            for name, value in file["spectrum"].attrs.items()
        }
        return file["spectrum"][...], values


def heard(path, dtype="float64"):
    return soundfile.read(path, always_2d=True, dtype=dtype)[0].T


@pytest.fixture
def limited_memory():
    """Nothing that a header announces makes the process take memory beyond all bounds."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 1 << 21
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + (1 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


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
    assert cli("stft", "in.wav", "X.h5", *options)[0] == 0
    assert cli("istft", "X.h5", "out.wav")[0] == 0
    X_there, layout = stored("X.h5")
    both = {name: layout.get(name) for name in ("hop_length", "win_length", "window", "center", "padding", "scaling")}
    if both["window"] == "kaiser,8.0":
        both["window"] = ("kaiser", 8.0)
    x = x.astype("float64" if subtype == "DOUBLE" else "float32")
    X = xi.stft(x, layout["n_fft"], pad_mode=layout["pad_mode"], **both)
    np.testing.assert_array_equal(X_there, X)
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
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 512, *kind)[0] == 0
    assert cli("istft", "X.h5", "out.wav")[0] == 0
    np.testing.assert_array_equal(heard("out.wav", "int32"), heard("in.wav", "int32"))


def test_formats_and_subtypes(cli):
    written("in.flac", subtype="PCM_16")
    assert cli("stft", "in.flac", "X.h5")[0] == 0
    for name, subtype, options in (
        ("a.flac", "PCM_16", []),
        ("b.wav", "PCM_24", ["--subtype", "pcm_24"]),
        ("c.ogg", "VORBIS", []),
        ("d.aiff", "PCM_16", []),
    ):
        assert cli("istft", "X.h5", name, *options)[0] == 0
        assert soundfile.info(name).subtype == subtype
    fails(cli, 2, "subtype: need one of", "istft", "X.h5", "e.flac", "--subtype", "FLOAT")
    fails(cli, 2, "need a name that ends in", "istft", "X.h5", "e.txt")
    fails(cli, 2, "ends in .h5, .npz, .npy or .zarr", "stft", "in.flac", "X.txt")


def test_beyond_what_a_wav_header_counts_it_is_rf64(cut, cli):
    written()
    cli("stft", "in.wav", "X.h5")
    cut(wav_bytes=1000)
    assert cli("istft", "X.h5", "out.wav")[0] == 0
    assert soundfile.info("out.wav").format == "RF64"
    assert cli("stft", "out.wav", "Y.h5")[0] == 0


@pytest.mark.parametrize(
    ("subtype", "said"),
    [
        ("PCM_16", ["4 samples are beyond full scale, and are cut to it", "2 samples are no finite numbers"]),
        ("ALAW", ["4 samples are beyond full scale, and are cut to it", "2 samples are no finite numbers"]),
        ("ULAW", ["4 samples are beyond full scale, and are cut to it", "2 samples are no finite numbers"]),
        ("FLOAT", ["2 samples are no finite numbers"]),
    ],
)
def test_samples_that_do_not_fit_are_counted(subtype, said):
    """A peak of 1, half a step above the highest, is no loss that anybody hears of."""
    x = np.array([[2.0, -2.0, np.nan, np.inf, 0.5, 1.0, -1.0, 1.0001]], "float32")

    def write():
        with recordings.NewRecording(Path("a.wav"), Path("a.wav"), RATE, 1, subtype, 16) as file:
            file.write(x)
            file.write(np.zeros((1, 8), "float32"))

    with pytest.warns(UserWarning, match="a.wav: ") as caught:
        write()
    assert [str(each.message).partition(": ")[2] for each in caught] == said
    if subtype == "PCM_16":
        due = [32767, -32768, 0, 32767, 16384, 32767, -32768, 32767]
        np.testing.assert_array_equal(heard("a.wav", "int16")[0, :8], due)


def test_what_a_recording_cannot_hold_is_said_on_one_line(cli):
    written(x=noise(channels=1), subtype="PCM_16")
    cli("stft", "in.wav", "X.h5", "--n-fft", 64)
    with h5py.File("X.h5", "r+") as file:
        file["spectrum"][...] *= 100
    code, out, err = cli("istft", "X.h5", "out.wav")
    assert (code, out.count("\n")) == (0, 1)
    assert re.fullmatch(
        r"xp-istft: X.h5: warning: out.wav: [\d,]+ samples are beyond full scale, and are cut to it\n", err
    )


def test_several_files_in_one_call(cli):
    for name in ("a", "b"):
        written(f"{name}.wav")
    code, out, _ = cli("stft", "a.wav", "missing.wav", "b.wav", "spectra")
    assert code == 3
    assert sorted(Path("spectra").iterdir()) == [Path("spectra/a.h5"), Path("spectra/b.h5")]
    assert out.count("(2, 1025, 18)") == 2
    assert cli("istft", "spectra/a.h5", "spectra/b.h5", "new/back/")[0] == 0
    assert sorted(Path("new/back").iterdir()) == [Path("new/back/a.wav"), Path("new/back/b.wav")]
    assert cli("istft", "spectra/a.h5", "one/")[0] == 0
    assert Path("one/a.wav").is_file()


def test_directories_that_do_not_fit(cli):
    written("a.wav")
    written("b.wav")
    fails(cli, 2, "need a directory", "stft", "a.wav", "a.wav", "b.wav")
    fails(cli, 2, "several inputs would go there", "stft", "a.wav", "./a.wav", "out")
    fails(cli, 2, "at least one IN", "stft", "a.wav")
    fails(cli, 4, "no directory", "stft", "a.wav", "nowhere/X.h5")
    fails(cli, 4, "cannot be made", "stft", "a.wav", "b.wav", "a.wav/out")
    Path("X.h5").symlink_to("/dev/null")
    fails(cli, 4, "not a regular file", "stft", "a.wav", "X.h5", "--force")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def two_recordings():
    Path("in").mkdir()
    for seed, name in enumerate("ab"):
        written(f"in/{name}.wav", noise(seed=seed))


def test_processes_make_the_bytes_of_one(cli):
    two_recordings()
    Path("in/broken.wav").write_bytes(b"RIFF")
    code, out, err = cli("stft", "in", "far", "--workers", 2)
    assert (code, out.count("\n")) == (3, 2)
    assert err.splitlines()[0] == "xp-istft: 1 of 3 files failed:"
    assert "broken.wav: is no recording that can be read" in err.splitlines()[1]
    assert cli("stft", "in", "near")[0] == 3
    assert files("far") == files("near") == ["a.h5", "b.h5"]
    for name in files("far"):
        assert Path("far", name).read_bytes() == Path("near", name).read_bytes()


LISTENING = """
import os
from pathlib import Path
from xp_istft.cli import many

def sockets(pid):
    links = (os.readlink(f"/proc/{pid}/fd/{each}") for each in os.listdir(f"/proc/{pid}/fd"))
    return {link[8:-1] for link in links if link.startswith("socket:[")}

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def listening(source, target):
    tables = ((name, 3, "0A", 9) for name in ("tcp", "tcp6", "udp", "udp6"))
    found = set()
    for name, column, state, inode in (*tables, ("unix", 3, "00010000", 6)):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            if line.split()[column] == state or name.startswith("udp"):
                found.add(line.split()[inode])
    us, family = os.getppid(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if us in (int(pid), parent(pid)):
                family.append((pid, sockets(pid) & found))
        except OSError:  # it has ended
            pass
    return f"{len(family) >= 3} {sum(len(open) for _, open in family)}"

if __name__ == "__main__":
    made = [(Path(name), Path("out")) for name in "abc"]
    print(*sorted(outcome.said for _, outcome in many.by_workers(made, listening, None, 2)), sep=";")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_of_our_own_open_no_port_that_anybody_could_connect_to():
    """Of this process, its workers and what starts them: no socket listens, of the network or of the file system."""
    Path("listening.py").write_text(LISTENING)
    result = shell("listening.py")
    assert result.stdout == "True 0;True 0;True 0\n", result.stderr


def first_time(flag):
    """Whether nobody asked for this flag before, in any process."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def half_written(source, target):
    """Writes in two halves; the first process that is between them is killed."""
    with whole_files.whole_file(target) as temporary:
        temporary.write_bytes(b"half")
        if first_time(source.with_suffix(".killed")):
            os.kill(os.getpid(), signal.SIGKILL)
        temporary.write_bytes(b"both halves")
    return "done"


def test_a_file_whose_worker_is_killed_is_done_by_another(tmp_path):
    made = [(tmp_path / f"{i}.in", tmp_path / f"{i}.out") for i in range(5)]
    for source, _ in made[1:]:
        source.with_suffix(".killed").touch()
    outcomes = dict(many.by_workers(made, half_written, None, 2))
    assert [outcomes[i] for i in range(5)] == [many.Outcome("done", (), 0)] * 5
    assert all(target.read_bytes() == b"both halves" for _, target in made)
    assert not list(tmp_path.glob(".*"))


def always_killed(source, target):
    if source.name == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_a_file_that_kills_every_process_is_one_failure(tmp_path):
    made = [(tmp_path / name, tmp_path / "out") for name in ("good", "bad", "fine")]
    outcomes = dict(many.by_workers(made, always_killed, None, 2))
    assert [outcomes[i].code for i in range(3)] == [0, 1, 0]
    assert "bad: BrokenProcessPool: " in outcomes[1].said


def half_written_for_long(source, target):
    with whole_files.whole_file(target) as temporary:
        temporary.write_bytes(b"half")
        time.sleep(100)
    return "done"


def test_interrupted_while_processes_write_leaves_nothing(tmp_path, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    made = [(tmp_path / f"{i}.in", tmp_path / f"{i}.out") for i in range(3)]

    def interrupt():
        while len(list(tmp_path.glob(".*.part"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(many.by_workers(made, half_written_for_long, None, 2))
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


def test_a_second_run_with_other_options_is_refused(cli):
    two_recordings()
    cli("stft", "in", "X", "--n-fft", 256)
    assert cli("istft", "X", "y")[0] == 0
    assert cli("istft", "X", "y")[1] == "y/a.wav: there already\ny/b.wav: there already\n"
    before = Path("y/a.wav").read_bytes()
    other = ("--max-gain", 3)  # neither length nor format says so
    code, out, err = cli("istft", "X", "y", *other)
    assert (code, out) == (4, "")
    assert "y/a.wav: exists already, and it was made with other options" in err.splitlines()[1]
    assert Path("y/a.wav").read_bytes() == before
    assert cli("istft", "X", "y", *other, "--force")[0] == 0
    assert Path("y/a.wav").read_bytes() != before
    assert cli("istft", "X", "y", *other)[1] == "y/a.wav: there already\ny/b.wav: there already\n"


def test_a_source_that_was_replaced_is_done_anew_even_by_an_older_one(cli):
    two_recordings()
    assert cli("stft", "in", "X")[0] == 0
    assert cli("istft", "X", "y")[0] == 0
    written("in/a.wav", noise(seed=7))
    os.utime("in/a.wav", (1e9, 1e9))
    code, out, err = cli("stft", "in", "X")
    assert (code, out) == (4, "X/b.h5: there already\n")
    assert "X/a.h5: exists already, and it was made with other options, by other means or of another source" in err
    assert cli("stft", "in", "X", "--force")[0] == 0
    code, out, _ = cli("istft", "X", "y")
    assert (code, out) == (4, "")  # of both files the spectra were made anew


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_an_output_is_never_an_input_whatever_its_name(cli, kind):
    link = {"symbolic": os.symlink, "hard": os.link}[kind]
    written()
    cli("stft", "in.wav", "X.h5")
    np.save("S.npy", magnitudes())
    np.save("w.npy", np.hanning(2048))
    Path("in").mkdir()
    written("in/b.wav")
    os.makedirs("Y")
    link(Path("in/b.wav").absolute(), "Y/a.h5")
    written("in/a.wav")
    for source, target in (("in.wav", "a.h5"), ("X.h5", "b.wav"), ("S.npy", "c.wav"), ("w.npy", "d.h5")):
        link(Path(source).absolute(), target)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for arguments in (
        ("stft", "in.wav", "a.h5"),
        ("istft", "X.h5", "b.wav"),
        ("istft", "./X.h5", "./b.wav"),
        ("griffinlim", "S.npy", "c.wav", "--sr", RATE),
        ("stft", "in.wav", "d.h5", "--window", "w.npy"),
        ("stft", "in", "Y"),
        ("stft", "in", "Y", "--workers", 2),
    ):
        fails(cli, 2, ": is the input ", *arguments, "--force")
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_an_output_that_is_a_link_to_nothing_is_refused(cli):
    written()
    Path("X.h5").symlink_to("elsewhere")
    for force in ((), ("--force",)):
        fails(cli, 4, "X.h5: is a link to ", "stft", "in.wav", "X.h5", *force)


def test_parts_that_killed_runs_left_are_removed_by_the_next_of_one_file_too(cli):
    written()
    long_ago = Path("in.wav").stat().st_mtime - 2 * 3600
    long = "日" * 80  # 240 bytes, of which a part has as many as fit

    def begun(name):
        with whole_files.whole_file(Path(name)) as temporary:
            raise BrokenError(temporary.name)

    for name in ("X.h5", f"{long}.h5"):
        with pytest.raises(BrokenError) as broken:
            begun(name)
        left = str(broken.value)
        Path(left).write_bytes(b"half")
        os.utime(left, (long_ago, long_ago))
        assert cli("stft", "in.wav", name)[0] == 0
        assert Path(name).is_file()
        assert not list(Path().glob(".*.part"))


def test_parts_that_killed_workers_left_are_removed_when_nobody_writes_them_any_more(cli):
    two_recordings()
    assert cli("stft", "in", "X", "--n-fft", 256)[0] == 0
    left, written_now, of_others = ".a.h5.ab12_xyz.part", ".b.h5.ab12_xyz.part", ".a.h5.c.h5.ab12_xyz.part"
    for name in (left, written_now, of_others):
        Path("X", name).write_bytes(b"half")
    long_ago = os.stat("X/a.h5").st_mtime - 2 * 3600
    for name in (left, of_others):
        os.utime(Path("X", name), (long_ago, long_ago))
    assert cli("stft", "in", "X", "--n-fft", 256)[1] == "X/a.h5: there already\nX/b.h5: there already\n"
    assert files("X") == sorted([written_now, of_others, "a.h5", "b.h5"])


def test_nothing_is_overwritten_without_force(cli):
    written()
    Path("X.h5").write_text("precious")
    fails(cli, 4, "--force", "stft", "in.wav", "X.h5")
    assert Path("X.h5").read_text() == "precious"
    os.chmod("X.h5", 0o640)
    assert cli("stft", "in.wav", "X.h5", "--force")[0] == 0
    assert Path("X.h5").stat().st_mode & 0o777 == 0o640
    Path("link.h5").symlink_to("X.h5")
    assert cli("stft", "in.wav", "link.h5", "--force", "--n-fft", 64)[0] == 0
    assert Path("link.h5").is_symlink()
    assert stored("X.h5")[0].shape[1] == 33


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
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 256, "--window", "w.npy", "--hop-length", 50)[0] == 0
    assert cli("istft", "X.h5", "out.wav")[0] == 0
    np.testing.assert_allclose(heard("out.wav"), x, atol=3e-7)
    np.save("w.npy", np.ones((2, 3)))
    fails(cli, 5, "need a real array (win_length,)", "stft", "in.wav", "Y.h5", "--window", "w.npy")
    fails(cli, 3, "no such file", "stft", "in.wav", "Y.h5", "--window", "nope.npy")


def test_options_come_before_what_the_file_says(cli):
    written()
    cli("stft", "in.wav", "X.h5")
    options = ("--length", 5000, "--sr", 16000, "--subtype", "PCM_16", "--max-gain", 10, "--workers", 1)
    assert cli("istft", "X.h5", "out.wav", *options)[0] == 0
    info = soundfile.info("out.wav")
    assert (info.frames, info.samplerate, info.subtype) == (5000, 16000, "PCM_16")


def test_warnings_are_one_line(cli):
    written()
    assert cli("stft", "in.wav", "X.h5", "--no-center")[0] == 0
    code, _, err = cli("istft", "X.h5", "out.wav")
    assert code == 0
    assert err.startswith("xp-istft: X.h5: warning: istft: ")
    assert err.count("\n") == 1


def truncated(path, part=0.5):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * part)])


def test_recordings_that_cannot_be_read(cli):
    fails(cli, 3, "no such file", "stft", "nope.wav", "X.h5")
    Path("empty.wav").touch()
    fails(cli, 3, "is empty", "stft", "empty.wav", "X.h5")
    Path("text.wav").write_text("no sound at all, only words " * 20)
    fails(cli, 3, "no recording that can be read", "stft", "text.wav", "X.h5")
    Path("folder").mkdir()
    fails(cli, 3, "is a directory without files", "stft", "folder", "X.h5")
    fails(cli, 3, "not a regular file", "stft", "/dev/null", "X.h5")
    soundfile.write("silent.wav", np.zeros((0, 1)), RATE)
    fails(cli, 3, "no samples", "stft", "silent.wav", "X.h5")
    written("short.wav", noise(50))
    fails(cli, 5, "at least 2048 samples", "stft", "short.wav", "X.h5", "--no-center")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "w64", "au", "ogg", "mp3"])
def test_truncated_recordings(cli, suffix):
    soundfile.write(f"in.{suffix}", noise(20000).T, 16000)
    truncated(f"in.{suffix}")
    fails(cli, 3, f"in.{suffix}: ", "stft", f"in.{suffix}", "X.h5", "--n-fft", 64)


def test_a_recording_from_a_pipe_does_not_say_its_size_and_is_read(cli):
    written(subtype="PCM_16")
    data = bytearray(Path("in.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    Path("in.wav").write_bytes(data)
    assert cli("stft", "in.wav", "X.h5")[0] == 0


def npy_header(shape, version=1):
    text = repr({"descr": "<c8", "fortran_order": False, "shape": shape}).encode()
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


def test_spectra_that_cannot_be_read(cli):
    sr = ("--sr", RATE)
    fails(cli, 3, "no such file", "istft", "nope.npy", "out.wav", *sr)
    for name, data, text in (
        ("empty.npy", b"", "is empty"),
        ("words.npy", b"%PDF-1.7", "need a file .h5, .npy or .npz"),
        ("pickled.npy", pickle.dumps([1]), "need a file .h5, .npy or .npz"),
        ("header.npy", b"\x93NUMPY\x09\x00" + bytes(100), "truncated or damaged"),
        ("none.npz", b"PK\x05\x06" + bytes(18), "the arrays in it: none"),
        ("below.npy", npy_header((-1, 129, 5)), "need sizes >= 0"),
        ("below2.npy", npy_header((129, -5)), "need sizes >= 0"),
        ("more.npy", npy_header((129, 2**40)), "bytes are there, and more are announced"),
        ("most.npy", npy_header((2**62, 2**62)), "bytes are there, and more are announced"),
        ("half.npz", b"PK\x03\x04" + bytes(500), "truncated or damaged"),
    ):
        Path(name).write_bytes(data)
        fails(cli, 3, text, "istft", name, "out.wav", *sr)
    np.save("X.npy", xi.stft(noise(), 64))
    fails(cli, 2, "--sr is needed", "istft", "X.npy", "out.wav")
    fails(cli, 3, "--key is for .npz", "istft", "X.npy", "out.wav", "--key", "X")
    for part in (0.5, 0.0002):
        truncated("X.npy", part)
        fails(cli, 3, "truncated or damaged", "istft", "X.npy", "out.wav", *sr)
    np.savez("many.npz", a=np.zeros(2), b=np.zeros(3))
    fails(cli, 3, "the arrays in it: a, b", "istft", "many.npz", "out.wav", *sr)
    fails(cli, 3, "an array 'c'", "istft", "many.npz", "out.wav", *sr, "--key", "c")
    np.savez_compressed("damaged.npz", X=xi.stft(noise(), 64))
    data = bytearray(Path("damaged.npz").read_bytes())
    data[2000:2100] = bytes(100)
    Path("damaged.npz").write_bytes(data)
    fails(cli, 3, "truncated or damaged", "istft", "damaged.npz", "out.wav", *sr)
    with zipfile.ZipFile("escape.npz", "w") as archive:
        archive.writestr("../../escape.npy", b"\x93NUMPY\x01\x00")
    fails(cli, 3, "truncated or damaged", "istft", "escape.npz", "out.wav", *sr)
    assert not Path("../../escape.npy").exists()


def test_an_array_that_unpacks_to_more_than_there_is_room_for_is_not_unpacked(cli, monkeypatch):
    np.savez_compressed("bomb.npz", X=np.zeros((1, 1025, 2000), "complex64"))
    assert Path("bomb.npz").stat().st_size < 100_000
    monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=100_000))
    fails(cli, 4, "needs 16,400,128 bytes, 100,000 are free", "istft", "bomb.npz", "out.wav", "--sr", RATE)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_array_that_unpacks_to_more_than_it_announces_is_not_unpacked(cli, version, limited_memory):
    header = npy_header((5, 9), version)
    with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("X.npy", "w") as file:
        file.write(header)
        for _ in range(50):
            file.write(bytes(1 << 20))
    assert Path("bomb.npz").stat().st_size < 100_000
    said = f"announces {len(header) + 360:,} bytes and unpacks to {len(header) + (50 << 20):,}"
    fails(cli, 3, said, "istft", "bomb.npz", "out.wav", "--sr", RATE)


def test_numbers_beyond_what_files_and_windows_hold_are_refused_by_name(cli):
    written()
    np.save("X.npy", xi.stft(noise(), 64))
    for number in (2**31, 99999999999, 10**30):
        fails(cli, 2, "'--sr'", "istft", "X.npy", "y.wav", "--sr", number)
    fails(cli, 5, "window: need a window that scipy can make", "stft", "in.wav", "X.h5", "--window", "chebwin,1e5")
    for name in ("n-fft", "hop-length", "padding"):
        fails(cli, 5, f"stft: {name.replace('-', '_')}: need <= 2**60", "stft", "in.wav", "X.h5", f"--{name}", 10**20)
    for name in ("n-fft", "hop-length", "padding", "length"):
        fails(cli, 5, "need ", "istft", "X.npy", "y.wav", "--sr", RATE, f"--{name}", 10**20)
    for number in ("nan", "inf"):
        fails(cli, 5, "max_gain: need a finite number", "istft", "X.npy", "y.wav", "--sr", RATE, "--max-gain", number)


def test_files_of_the_old_form_are_named_and_can_be_read_as_plain_arrays(cli):
    np.savez("old.npz", parameters=np.array("{}"), spectrum=xi.stft(noise(), 64))
    fails(cli, 3, "a spectrogram file of the old form: make it anew", "istft", "old.npz", "out.wav")
    assert cli("istft", "old.npz", "out.wav", "--key", "spectrum", "--sr", RATE, "--length", 9001)[0] == 0
    np.testing.assert_allclose(heard("out.wav"), noise(), atol=3e-7)


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
    Path("p.npy").write_bytes(pickle.dumps(Bomb()))
    written()
    fails(cli, 3, "Python objects", "istft", "X.npy", "out.wav", "--sr", RATE)
    fails(cli, 3, "Python objects", "istft", "X.npz", "out.wav", "--sr", RATE, "--key", "X")
    fails(cli, 3, "need a file", "istft", "p.npy", "out.wav", "--sr", RATE)
    fails(cli, 3, "Python objects", "stft", "in.wav", "Z.h5", "--window", "X.npy")
    assert not Path("exploded").exists()


REFERENCE = object()  # to something in the file


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("kind", "something else", "its attribute kind is not"),
        ("kind", None, "its attribute kind is not"),
        ("hop_length", "many", "the parameter hop_length"),
        ("hop_length", None, "the parameter hop_length: need a value, got none"),
        ("n_fft", 10**12, "the parameter n_fft: need that of 1025 bins"),
        ("window", "hnan", "the parameter window: need a known name (did you mean 'hann'?)"),
        ("window", "in.npy", "the parameter window: need a known name"),
        ("window", "kaiser,many", "the parameter"),
        ("window", np.ones((2, 3)), "the parameter window"),
        ("subtype", 3, "the parameter subtype"),
        ("subtype", "PCM_17", "the parameter subtype: need one of libsndfile's, got PCM_17"),
        ("subtype", np.ones(3), "the parameter subtype: need one of libsndfile's"),
        ("source", 3, "the parameter source: need text"),
        ("sample_rate", 2**31, "the parameter sample_rate: need <= 2**31 - 1"),
        ("sample_rate", 10**18, "the parameter sample_rate: need <= 2**31 - 1"),
        ("hop_length", 2**31, "the parameter length: need that of 18 frames, got 9001"),
        ("hop_length", 2**62, "the parameter hop_length: need <= 2**60"),
        ("length", 2**62, "the parameter length: need that of 18 frames"),
        ("padding", [2**40, 2**40], "the parameter length: need that of 18 frames"),
        ("padding", [2**62, 1], "the parameter padding: need <= 2**60"),
        ("window", "chebwin,1e5", "the parameter window: need a window that scipy can make"),
        ("center", 1, "the parameter center"),
        ("length", True, "the parameter length"),
        ("sample_rate", np.float64(8000.5), "the parameter sample_rate"),
        ("sample_rate", h5py.Empty("i8"), "the parameter sample_rate"),
        ("padding", np.zeros(3), "the parameter padding"),
        ("length", REFERENCE, "the parameter length"),
    ],
)
def test_parameters_that_are_none_of_ours(cli, name, value, text):
    written()
    cli("stft", "in.wav", "X.h5")
    with h5py.File("X.h5", "r+") as file:
        attributes = file["spectrum"].attrs
        attributes.pop(name, None)
        if value is not None:
            attributes[name] = file["spectrum"].ref if value is REFERENCE else value
    fails(cli, 3, text, "istft", "X.h5", "out.wav")


def test_a_spectrogram_file_says_what_its_inverse_needs(cli):
    written(x=noise(channels=1))
    options = ("--n-fft", 64, "--win-length", 60, "--window", "kaiser,8", "--padding", "20,40", "--pad-mode", "edge")
    assert cli("stft", "in.wav", "X.h5", *options)[0] == 0
    X, values = stored("X.h5")
    assert (X.shape, X.dtype) == ((1, 33, 600), "complex64")
    assert values == {
        "kind": "xp_istft spectrogram 2", "sample_rate": RATE, "length": 9001, "subtype": "FLOAT",
        "n_fft": 64, "hop_length": 15, "win_length": 60, "window": "kaiser,8.0", "center": True,
        "padding": [20, 40], "pad_mode": "edge", "source": whole_files.stamp(Path("in.wav")),
    }  # fmt: skip
    assert cli("istft", "X.h5", "y.wav")[0] == 0
    with h5py.File("X.h5", "r+") as file:  # samples of a window are as good as its name
        file["spectrum"].attrs["window"] = xi.STFT(64, win_length=60, window=("kaiser", 8)).samples()[2:62]
    assert cli("istft", "X.h5", "z.wav")[0] == 0
    np.testing.assert_array_equal(heard("z.wav"), heard("y.wav"))


@pytest.mark.parametrize(
    "layout",
    [{"chunks": (2, 33, 7)}, {"chunks": (1, 33, 1)}, {"chunks": (1, 5, 500)}, {"chunks": None}, {"dtype": ">c8"}],
    ids=str,
)
def test_other_programs_may_lay_a_spectrogram_file_out_anew(cli, tiny_blocks, layout):
    written()
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 64)[0] == 0
    assert cli("istft", "X.h5", "due.wav")[0] == 0
    with h5py.File("X.h5") as file, h5py.File("Y.h5", "w") as other:
        X = file["spectrum"]
        other.create_dataset("spectrum", data=X[...], **{"chunks": X.chunks, **layout}).attrs.update(X.attrs)
    assert cli("istft", "Y.h5", "out.wav")[0] == 0
    np.testing.assert_array_equal(heard("out.wav"), heard("due.wav"))


def test_a_window_larger_than_the_headers_of_hdf5(cli, rng):
    x = written()
    window = np.hanning(20001)[1:]
    np.save("w.npy", window)
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 20000, "--window", "w.npy", "--hop-length", 4000)[0] == 0
    assert cli("istft", "X.h5", "out.wav")[0] == 0
    np.testing.assert_allclose(heard("out.wav"), x, atol=3e-7)
    data = Path("X.h5").read_bytes()
    at = data.find(window[5000:15000].tobytes())
    assert at > 0
    for place in rng.integers(at, at + 80_000, 5):
        bad = bytearray(data)
        bad[place] ^= 1 << rng.integers(8)
        Path("bad.h5").write_bytes(bad)
        fails(cli, 3, "bad.h5: the parameter window: need ", "istft", "bad.h5", "y.wav")


class Hostile:
    """What may stand at `spectrum` in an HDF5 file in place of a spectrum: made(file), and what is said of it."""

    @staticmethod
    def nothing(file):
        return "holds no array"

    @staticmethod
    def a_group(file):
        file.create_group("spectrum")
        return "holds no array `spectrum`, but a group"

    @staticmethod
    def a_soft_link(file):
        file["other"] = np.ones((1, 5, 9), "complex64")
        file["spectrum"] = h5py.SoftLink("/other")
        return "links are not followed"

    @staticmethod
    def a_link_to_another_file(file):
        file["spectrum"] = h5py.ExternalLink("whole.h5", "spectrum")
        return "links are not followed"

    @staticmethod
    def a_view_of_another_file(file):
        layout = h5py.VirtualLayout((2, 1025, 18), "complex64")
        layout[:] = h5py.VirtualSource("whole.h5", "spectrum", (2, 1025, 18))
        file.create_virtual_dataset("spectrum", layout)
        return "lies in other files"

    @staticmethod
    def bytes_of_another_file(file):
        file.create_dataset("spectrum", (1, 5, 9), "complex64", external=[("whole.h5", 0, 360)])
        return "lies in other files"

    @staticmethod
    def compressed(file):
        file.create_dataset("spectrum", (1, 1025, 1 << 20), "complex64", compression="gzip")
        return "its spectrum is compressed"

    @staticmethod
    def a_filter_that_is_not_installed(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 5, 9))
        plist.set_filter(31999, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((1, 5, 9))
        h5py.h5d.create(file.id, b"spectrum", h5py.h5t.py_create(np.dtype("complex64")), space, plist)
        return "its spectrum is compressed"

    @staticmethod
    def more_than_is_there(file):
        file.create_dataset("spectrum", (1, 1025, 1 << 50), "complex64", chunks=(1, 1025, 1))
        return "truncated: 9,232,379,236,109,516,800 bytes of spectrum, 0 are there"

    @staticmethod
    def one_chunk_of_many(file):
        file.create_dataset("spectrum", (1, 5, 90), "complex64", chunks=(1, 5, 9))[..., :9] = 1
        return "truncated: 3,600 bytes of spectrum, 360 are there"

    @staticmethod
    def words(file):
        file["spectrum"] = "words"
        return "need complex64 or complex128"

    @staticmethod
    def real_numbers(file):
        file["spectrum"] = np.zeros((1, 5, 9))
        return "need complex64 or complex128"

    @staticmethod
    def lists_of_any_length(file):
        file.create_dataset("spectrum", (1, 5, 9), h5py.vlen_dtype("complex64"))[0, 0, 0] = [1j]
        return ""

    @staticmethod
    def no_elements(file):
        file["spectrum"] = h5py.Empty("complex64")
        return "need an array (..., bins, frames)"

    @staticmethod
    def none_of_ours(file):
        file["spectrum"] = np.zeros((1, 5, 9), "complex64")
        return "its attribute kind is not"


@pytest.mark.parametrize("what", [name for name in vars(Hostile) if not name.startswith("_")])
def test_hdf5_files_that_are_no_spectrogram_files(cli, what, limited_memory):
    written()
    assert cli("stft", "in.wav", "whole.h5")[0] == 0
    with h5py.File("bad.h5", "w") as file:
        text = getattr(Hostile, what)(file)
    code, _, err = cli("istft", "bad.h5", "out.wav")
    assert code in (3, 5)
    assert err.startswith("xp-istft: bad.h5: ")
    assert (err.count("\n"), text in err) == (1, True), err
    assert not Path("out.wav").exists()


@pytest.mark.parametrize("part", [0.0001, 0.5, 0.999])
def test_truncated_spectrogram_files(cli, part):
    written()
    cli("stft", "in.wav", "X.h5")
    truncated("X.h5", part)
    fails(cli, 3, "X.h5: ", "istft", "X.h5", "out.wav")


def test_a_flipped_bit_in_the_spectrum_is_an_error_before_there_is_an_output(cli, rng):
    written(x=noise(3000, 2))
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 64)[0] == 0
    data = Path("X.h5").read_bytes()
    with h5py.File("X.h5") as file:
        dataset = file["spectrum"].id
        chunks = [dataset.get_chunk_info(k) for k in range(dataset.get_num_chunks())]
    assert sum(chunk.size for chunk in chunks) > 0.8 * len(data)
    for _ in range(40):
        chunk = chunks[rng.integers(len(chunks))]
        bad = bytearray(data)
        bad[chunk.byte_offset + rng.integers(chunk.size)] ^= 1 << rng.integers(8)
        Path("bad.h5").write_bytes(bad)
        fails(cli, 3, "bad.h5: frames ", "istft", "bad.h5", "out.wav")
    whole = Path("X.h5").read_bytes()
    with h5py.File("X.h5", "r+") as file:  # whoever changes a spectrum as HDF5 does gets a new checksum
        file["spectrum"][0, 3, 5] = 1
    assert cli("istft", "X.h5", "out.wav")[0] == 0
    assert Path("X.h5").read_bytes() != whole


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("cause", [BrokenError, MemoryError, OSError(28, "No space left on device")])
@pytest.mark.parametrize("command", ["stft", "istft"])
def test_a_failure_half_way_leaves_nothing(cli, monkeypatch, tiny_blocks, command, cause):
    written()
    cli("stft", "in.wav", "X.h5", "--n-fft", 64)
    writers = {"Y.h5": spectrogram_files.WholeChunks, "out.wav": recordings.NewRecording}
    target = "Y.h5" if command == "stft" else "out.wav"
    kind = writers[target]
    Path(target).write_text("precious")
    write, calls = kind.write, []

    def breaking(self, *block):
        calls.append(block)
        if len(calls) == 3:
            assert list(Path().glob(".*.part"))
            raise cause
        write(self, *block)

    monkeypatch.setattr(kind, "write", breaking)
    source = "in.wav" if command == "stft" else "X.h5"
    got, _, err = cli(command, source, target, "--force", *(["--n-fft", 64] if command == "stft" else []))
    assert (got, err.strip().count("\n")) == (1 if isinstance(cause, type) else 4, 0)
    assert Path(target).read_text() == "precious"
    assert not list(Path().glob(".*.part"))


def test_an_error_at_any_write_of_hdf5_is_raised_as_it_came(monkeypatch):
    class FullDisk(spectrogram_files.GuardedFile):
        left = 0

        def write(self, data):
            FullDisk.left -= 1
            if FullDisk.left == 0:
                self.cause = OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(spectrogram_files, "GuardedFile", FullDisk)
    said = spectrogram_files.Parameters(RATE, 3000, "FLOAT", xi.STFT(64))

    def written_whole():
        with spectrogram_files.new_spectrogram(Path("X.h5"), (2, 33, 60), "complex64", said) as write:
            for _ in range(3):
                write(np.ones((2, 33, 20), "complex64"))

    FullDisk.left = 1000
    written_whole()
    for at in range(1, 1001 - FullDisk.left):
        FullDisk.left = at
        with pytest.raises(OSError, match="No space left on device"):
            written_whole()


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
    monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=10))
    fails(cli, 4, "Y.h5: needs 295,208 bytes, 10 are free", "stft", "in.wav", "Y.h5")


def shell(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(xi.__file__).parents[1])}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, env=environment)


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
        "import sys; from xp_istft.cli.commands import run; run(['stft', 'in.wav', 'X.h5']);"
        "run(['istft', 'X.h5', 'out.wav']);"
        "print({'torch', 'jax', 'dask', 'cupy', 'librosa', 'matplotlib'} & set(sys.modules))"
    )
    result = shell("-c", code)
    assert result.stdout.splitlines()[-1] == "set()", result.stderr


KILLED_AT_BLOCK_3 = """
import os, signal, sys
from xp_istft.tuning import tuned
from xp_istft.cli.spectrogram_files import WholeChunks
from xp_istft.cli import commands, recordings
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
for writer in (WholeChunks, recordings.NewRecording):
    def write(self, *block, write=writer.write, count=[0]):
        write(self, *block)
        count[0] += 1
        if count[0] == 3:
            os.kill(os.getpid(), signal.{signal})
    writer.write = write
with tuned(spectrum_bytes=1):
    sys.exit(commands.run({arguments!r}))
"""


@pytest.mark.parametrize(
    ("number", "force"), [("SIGKILL", False), ("SIGKILL", True), ("SIGTERM", True), ("SIGINT", False)]
)
def test_killed_while_writing_leaves_no_output_and_the_next_run_works(cli, tiny_blocks, number, force):
    written(x=noise(12_000, 1), subtype="PCM_16")
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 256)[0] == 0
    whole = Path("X.h5").read_bytes()
    for command, source, target in (("stft", "in.wav", "new.h5"), ("istft", "X.h5", "new.flac")):
        before = b"what was there"
        if force:
            Path(target).write_bytes(before)
        arguments = [command, source, target, *(["--n-fft", "256"] if command == "stft" else []), *["--force"] * force]
        killed = shell("-c", KILLED_AT_BLOCK_3.format(signal=number, arguments=arguments))
        assert killed.returncode == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[number]
        assert Path(target).exists() == force
        assert not force or Path(target).read_bytes() == before
        left = [path for path in Path().iterdir() if path.name.endswith(".part")]
        assert len(left) == (number == "SIGKILL")  # nothing can be tidied up there; the name is hidden
        assert all(path.name.startswith(".") for path in left)
        assert cli(*arguments)[0] == 0
        for path in left:
            path.unlink()
    assert Path("new.h5").read_bytes() == whole
    np.testing.assert_allclose(heard("new.flac"), heard("in.wav"), atol=2**-15)


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


WITHOUT_THE_CHECK = "import shutil, types; shutil.disk_usage = lambda path: types.SimpleNamespace(free=1 << 60)\n"
COMMAND = "import sys; from xp_istft.cli import commands; sys.exit(commands.run({!r}))"


@pytest.mark.skipif(sys.platform == "win32", reason="disks and limits as POSIX has them")
@pytest.mark.parametrize("what", ["small_disk", "limit"])
@pytest.mark.parametrize("command", ["stft", "istft"])
def test_no_room_for_the_whole_output_leaves_none_of_it(cli, request, command, what):
    written(x=noise(400_000, 1))
    assert cli("stft", "in.wav", "X.h5")[0] == 0
    source, name = {"stft": ("in.wav", "new.h5"), "istft": ("X.h5", "y.wav")}[command]
    target = request.getfixturevalue(what) / name if what == "small_disk" else Path(name)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))\n" * (what == "limit")
    before = sorted(Path().rglob("*"))
    stopped = shell("-c", WITHOUT_THE_CHECK + limit + COMMAND.format([command, source, str(target)]))
    assert (stopped.returncode, stopped.stderr.count("\n")) == (4, 1)  # and no progress bar in a pipe
    assert stopped.stderr.startswith(f"xp-istft: {target}: cannot be written")
    assert command == "istft" or "it needs 6,428,828 bytes" in stopped.stderr
    assert sorted(Path().rglob("*")) == before


NAMES = [
    "日本語" * 26,
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
    x = written(x=noise(3000), subtype="DOUBLE")
    os.rename("in.wav", f"{name}.wav")
    places = [f"./{name}{suffix}" for suffix in (".wav", ".h5", ".w64")]
    for command, source, target in (("stft", *places[:2]), ("istft", *places[1:])):
        code, out, err = cli(command, source, target)
        assert (code, err) == (0, "")
        assert out.count("\n") == 1
        assert out[:-1].isprintable()
    os.rename(places[2], "out.w64")
    np.testing.assert_allclose(heard("out.w64"), x, atol=1e-14)
    code, _, err = cli("stft", f"./{name}.none.wav", "X.h5")
    assert (code, err.count("\n")) == (3, 1)
    assert err[:-1].isprintable()


def test_names_with_bytes_that_are_no_text(cli):
    name = os.fsdecode(b"\xff\xfe.wav")
    try:
        written(x=noise(3000))
        os.rename("in.wav", name)
    except OSError:
        pytest.skip("this file system takes text only")
    code, out, err = cli("stft", name, "X.h5")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert cli("istft", "X.h5", name + ".wav")[0] == 0


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


@pytest.mark.parametrize("kind", ["h5", "npy", "npz", "wav", "flac", "window"])
def test_damaged_files_are_read_or_refused_on_one_line(cli, kind, limited_memory):
    """A seeded walk through damaged files; tests/fuzz_readers.py goes on from here, guided by coverage."""
    written(x=noise(4000, 1), subtype="PCM_16")
    written("in.flac", noise(4000, 1), "PCM_16")
    assert cli("stft", "in.wav", "X.h5", "--n-fft", 256, "--hop-length", 128)[0] == 0
    np.save("X.npy", stored("X.h5")[0])
    np.savez_compressed("X.npz", stored("X.h5")[0])
    np.save("w.npy", np.hanning(256))
    plain = ["istft", "bad", "y.wav", "--sr", "8000", "--n-fft", "256", "--hop-length", "128"]
    source, arguments = {
        "h5": ("X.h5", plain[:3]),
        "npz": ("X.npz", plain),
        "npy": ("X.npy", plain),
        "wav": ("in.wav", ["stft", "bad", "Y.h5", "--n-fft", "256"]),
        "flac": ("in.flac", ["stft", "bad", "Y.h5", "--n-fft", "256"]),
        "window": ("w.npy", ["stft", "in.wav", "Y.h5", "--n-fft", "256", "--window", "bad.npy"]),
    }[kind]
    data, target = Path(source).read_bytes(), Path(arguments[2])
    codes = set()
    for seed in range(40):
        bad = Path("bad.npy" if kind == "window" else "bad")
        bad.write_bytes(changed(data, seed))
        code, _, err = cli(*arguments)
        codes.add(code)
        lines = [line for line in err.splitlines() if "warning:" not in line]
        assert code in (0, 2, 3, 4, 5), (seed, err)
        assert target.exists() == (code == 0)
        assert code == 0 or sum(line.startswith(("xp-istft: ", "Error: ")) for line in lines) == 1
        target.unlink(missing_ok=True)
        assert not list(Path().glob("*.part"))
    assert codes - {0}


def test_unexpected_errors_are_one_line_unless_asked(cli, monkeypatch):
    monkeypatch.setattr("xp_istft.cli.info.show", lambda as_json: 1 / 0)
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
    with running.progress("a.wav") as advance:
        assert len(list(advance([np.zeros(3), np.zeros(4)], 7))) == 2
    assert "a.wav" in terminal.getvalue()


def test_memory_does_not_grow_with_the_length(cli, cut):
    cut(spectrum_bytes=4 << 20)
    peaks = {}
    for seconds in (20, 60):
        soundfile.write("in.wav", noise(44100 * seconds).T, 44100, "FLOAT")
        for arguments in (("stft", "in.wav", "X.h5"), ("istft", "X.h5", "out.wav")):
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
    np.save("whole.npy", np.ones((9, 9), int))
    np.save("negative.npy", -S)
    Path("cut.npy").write_bytes(Path("S.npy").read_bytes()[:5000])
    there = ("y.wav", "--sr", RATE)
    fails(cli, 5, "need real magnitudes (bins, frames) or (channels, bins, frames)", "griffinlim", "whole.npy", *there)
    fails(cli, 5, "S: need finite magnitudes >= 0", "griffinlim", "negative.npy", *there)
    fails(cli, 5, "S: need 65 bins for n_fft=128, got 129", "griffinlim", "S.npy", *there, "--n-fft", 128)
    fails(cli, 3, "truncated", "griffinlim", "cut.npy", *there)
    fails(cli, 3, "no such file", "griffinlim", "none.npy", *there)
    fails(cli, 2, "--sr", "griffinlim", "S.npy", "y.wav")
    fails(cli, 2, "--momentum: raar has none", "griffinlim", "S.npy", *there, "--algorithm", "raar", "--momentum", 0.5)


# ------------------------------------------------------------------ I and Q


def test_iq_goes_there_and_back(cli, tiny_blocks):
    """Pairs of channels are complex signals; the file says so, and what comes out are the same pairs."""
    x = written(x=noise(channels=4))
    assert cli("stft", "--iq", "in.wav", "X.h5", "--n-fft", 64, "--scaling", "amplitude")[0] == 0
    X, layout = stored("X.h5")
    assert layout["two_sided"]
    z = (x[::2] + 1j * x[1::2]).astype("complex64")
    np.testing.assert_array_equal(X, xi.stft(z, 64, onesided=False, scaling="amplitude"))
    code, said, _ = cli("istft", "X.h5", "out.wav")
    assert code == 0
    assert "4 channels" in said
    np.testing.assert_allclose(heard("out.wav"), x, atol=1e-6)
    fails(cli, 5, "need 64 bins for n_fft=64, onesided=False, got 33", "istft", "--iq", real_file(cli), "other.wav")


def real_file(cli):
    assert cli("stft", "in.wav", "real.h5", "--n-fft", 64)[0] == 0
    assert "two_sided" not in stored("real.h5")[1]
    return "real.h5"


def test_iq_of_plain_arrays_and_of_magnitudes(cli):
    n = np.arange(3000)
    z = 0.5 * np.exp(2j * np.pi * -0.11 * n)  # one negative frequency
    t = xi.STFT(64, 16, onesided=False)
    np.save("X.npy", t.stft(z))
    options = ["--sr", RATE, "--hop-length", 16, "--length", 3000]
    assert cli("istft", "--iq", "X.npy", "iq.wav", *options)[0] == 0
    np.testing.assert_allclose(heard("iq.wav"), [z.real, z.imag], atol=1e-6)
    assert cli("istft", "--two-sided", "X.npy", "real.wav", *options)[0] == 0
    np.testing.assert_allclose(heard("real.wav"), [z.real], atol=1e-6)
    np.save("S.npy", abs(t.stft(z)))
    assert cli("griffinlim", "--iq", "S.npy", "found.wav", *options, "--n-iter", 4)[0] == 0
    i, q = heard("found.wav")
    assert float(xi.spectral_convergence(abs(t.stft(z)), t.stft(i + 1j * q))) < 0.05


def test_iq_needs_pairs_of_channels(cli):
    written(x=noise(channels=3))
    fails(
        cli, 5, "in.wav: need I and Q in pairs of channels with --iq, got 3 channels", "stft", "--iq", "in.wav", "X.h5"
    )


def test_a_file_of_two_sides_that_lies_is_none(cli):
    written()
    assert cli("stft", "--iq", "in.wav", "X.h5", "--n-fft", 64)[0] == 0
    with h5py.File("X.h5", "a") as file:
        file["spectrum"].attrs["two_sided"] = 3
    fails(cli, 3, "X.h5: the parameter two_sided", "istft", "X.h5", "out.wav")
    with h5py.File("X.h5", "a") as file:
        del file["spectrum"].attrs["two_sided"]
    fails(cli, 3, "X.h5: the parameter n_fft: need that of 64 bins", "istft", "X.h5", "out.wav")
