"""Worker processes: NumPy's bits from them, whatever becomes of one; and the command line's files, spread over them."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi

distributed = pytest.importorskip("distributed", reason="the extra [distributed] is not installed")
soundfile = pytest.importorskip("soundfile", reason="the extra [cli] is not installed")

import dask  # noqa: E402
import dask.array as da  # noqa: E402

from xp_istft.cli import commands, many  # noqa: E402

RATE = 8000


@pytest.fixture(scope="module")
def client():
    # One death more than allowed makes a failure; who asks a dead worker for data gives up soon.
    chosen = {"distributed.scheduler.allowed-failures": 1, "distributed.comm.timeouts.connect": "5s"}
    with (
        dask.config.set(chosen),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def first_time(flag):
    """Whether nobody asked for this flag before, in any process."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def pids(client):
    return set(client.run(os.getpid).values())


@pytest.mark.parametrize("frames", [7, (30, 1, 0, 29)])
def test_workers_make_numpys_bits(client, rng, frames):
    x = rng.standard_normal((2, 2000)).astype("float32")
    X = xi.stft(x, 128)
    lazy = xi.istft(da.from_array(X[..., :60], chunks=(1, -1, frames)))
    back = xi.stft(lazy, 128, pad_mode="reflect")
    y = xi.istft(X[..., :60])
    np.testing.assert_array_equal(client.compute(lazy).result(), y)
    np.testing.assert_array_equal(client.compute(back).result(), xi.stft(y, 128, pad_mode="reflect"))


def passed_on(block, folder, block_id=None):
    """The block, as it is; each run leaves a file, and the first run of block 12 kills its process."""
    Path(folder, f"{block_id[-1]}-{uuid.uuid4()}").touch()
    if block_id[-1] == 12 and first_time(Path(folder, "killed")):
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_a_killed_worker_loses_nothing(client, rng, tmp_path):
    x = rng.standard_normal((2, 4000)).astype("float32")
    X = xi.stft(x, 128)
    before = pids(client)
    lazy = da.from_array(X, chunks=(-1, -1, 6)).map_blocks(passed_on, str(tmp_path), meta=X[:0, :0, :0])
    y = client.compute(xi.istft(lazy, length=4000)).result()
    np.testing.assert_array_equal(y, xi.istft(X, length=4000))
    client.wait_for_workers(2)
    assert (tmp_path / "killed").exists()
    assert len(before - pids(client)) == 1
    assert len(list(tmp_path.glob("12-*"))) == 2  # the block that was lost was made again


def written(name, n_samples=3000, seed=0):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-1, 1, (n_samples, 2)), RATE, "FLOAT")


@pytest.fixture
def cli(capsys):
    def run(*arguments):
        code = commands.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_a_directory_on_a_scheduler_is_what_one_process_makes(client, cli):
    for i, name in enumerate(("a.wav", "b.flac.wav", "deep/c.wav", ".hidden/d.wav")):
        written(f"in/{name}", 3000 + i, i)
    Path("in/notes.txt").write_text("none of ours")
    Path("in/broken.wav").write_bytes(b"RIFF")
    scheduler = ("--scheduler", client.scheduler.address)
    code, out, err = cli("stft", "in", "far", "--n-fft", 256, *scheduler)
    assert code == 3
    assert len(out) == 3
    assert err[0] == "xp-istft: 1 of 4 files failed:"
    assert "broken.wav: is no recording that can be read" in err[1]
    assert cli("stft", "in", "near", "--n-fft", 256)[0] == 3
    assert files("far") == files("near") == ["a.h5", "b.flac.h5", "deep/c.h5"]
    for name in files("far"):
        assert Path("far", name).read_bytes() == Path("near", name).read_bytes()
    code, out, err = cli("istft", "far/**/*.h5", "back", *scheduler)
    assert (code, err) == (0, [])
    assert files("back") == ["a.wav", "b.flac.wav", "deep/c.wav"]
    x, y = (soundfile.read(path)[0] for path in ("in/deep/c.wav", "back/deep/c.wav"))
    np.testing.assert_allclose(y, x, atol=1e-6)


def test_a_second_run_does_what_is_missing(client, cli):
    for name in "abc":
        written(f"in/{name}.wav")
    scheduler = ("--scheduler", client.scheduler.address)
    cli("stft", "in", "out", *scheduler)
    Path("out/b.h5").unlink()
    marks = {name: os.stat(f"out/{name}.h5").st_ino for name in "ac"}
    code, out, err = cli("stft", "in", "out", *scheduler)
    assert (code, err) == (0, [])
    assert sorted(line for line in out if line.endswith(": there already")) == [
        "out/a.h5: there already",
        "out/c.h5: there already",
    ]
    assert {name: os.stat(f"out/{name}.h5").st_ino for name in "ac"} == marks
    assert files("out") == ["a.h5", "b.h5", "c.h5"]


def always_killed(source, target):
    if source.name == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_a_file_that_kills_every_worker_is_one_failure(client, tmp_path):
    made = [(tmp_path / name, tmp_path / "out") for name in ("good", "bad", "fine")]
    outcomes = dict(many.by_workers(made, always_killed, many.Cluster(client.scheduler.address, {}), 1))
    assert (outcomes[0].code, outcomes[2].code) == (0, 0)
    assert outcomes[1].code == 1
    assert "bad: KilledWorker: " in outcomes[1].said


def test_no_scheduler_answers(cli, monkeypatch):
    monkeypatch.setattr(many, "ANSWER_SECONDS", 0.2)
    written("a.wav")
    code, _, err = cli("stft", "a.wav", "X.h5", "--scheduler", "tcp://127.0.0.1:9")
    assert code == 2
    assert err[-1].startswith("xp-istft: tcp://127.0.0.1:9: no scheduler answers there")


def test_a_scheduler_without_workers_is_said_and_waited_for_no_longer(cli, monkeypatch):
    monkeypatch.setattr(many, "ANSWER_SECONDS", 2)
    written("a.wav")
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster:
        address = cluster.scheduler_address
        code, _, err = cli("stft", "a.wav", "X.h5", "--scheduler", address)
    assert (code, err[-1]) == (1, f"xp-istft: {address}: the scheduler has no worker")


def never_done(source, target):
    Path(source).with_name("begun").touch()
    threading.Event().wait()


@pytest.mark.parametrize("what", ["worker", "scheduler"])
def test_a_cluster_that_goes_away_meanwhile_is_said(monkeypatch, tmp_path, what):
    """Nothing is waited for without end."""
    monkeypatch.setattr(many, "ANSWER_SECONDS", 2)
    cluster = distributed.LocalCluster(n_workers=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50)

    def go_away():
        while not (tmp_path / "begun").exists():
            threading.Event().wait(0.01)
        if what == "worker":
            cluster.scale(0)
        else:
            cluster.close()

    thread = threading.Thread(target=go_away)
    thread.start()
    address = cluster.scheduler_address
    try:
        with pytest.raises(many.Failure, match=f"{address}: the scheduler (has no worker|is gone)"):
            list(many.by_workers([(tmp_path / "a", tmp_path / "b")], never_done, many.Cluster(address, {}), 1))
    finally:
        thread.join()
        cluster.close()


def test_certificates_are_passed_on(cli, monkeypatch):
    given = []

    class Refusing:
        def __init__(self, address, timeout, security=None):
            given.append((address, security))
            raise OSError("refused")

    monkeypatch.setattr(distributed, "Client", Refusing)
    written("a.wav")
    for name in ("ca", "cert", "key"):
        Path(name).write_text(name)
    files = ("--tls-ca-file", "ca", "--tls-cert", "cert", "--tls-key", "key")
    scheduler = ("--scheduler", "tls://127.0.0.1:9")
    assert cli("stft", "a.wav", "X.h5", *scheduler, *files)[0] == 2
    ((address, security),) = given
    assert address == "tls://127.0.0.1:9"
    assert security.require_encryption
    assert (security.tls_ca_file, security.tls_client_cert, security.tls_client_key) == ("ca", "cert", "key")
    assert cli("stft", "a.wav", "X.h5", *files)[0] == 2  # of no use without a scheduler
    assert cli("stft", "a.wav", "X.h5", *scheduler, "--tls-key", "none")[0] == 2


def test_without_distributed_it_says_how_to_get_it(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    written("a.wav")
    code, _, err = cli("stft", "a.wav", "X.h5", "--scheduler", "tcp://127.0.0.1:9")
    assert code == 2
    assert err == ["xp-istft: --scheduler needs Dask: pip install 'xp-istft[distributed]'"]


def test_progress_is_silent_where_there_is_no_terminal(client, cli, monkeypatch):
    written("a.wav")
    written("b.wav")
    _, _, err = cli("stft", "a.wav", "b.wav", "out", "--scheduler", client.scheduler.address)
    assert err == []
    shown = io.StringIO()
    shown.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    commands.run(["istft", "out", "back", "--scheduler", client.scheduler.address])
    assert "2 files" in shown.getvalue()
