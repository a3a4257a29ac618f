"""Long records through a model: exact where the model is, without a seam, on every library, in pieces and at once."""

from __future__ import annotations

import numpy as np
import pytest

import xp_istft as xi
from xp_istft.backends import required_backend


def host(array) -> np.ndarray:
    return required_backend(array).to_host(array)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape)


CUTS = [
    {"segment": 100},
    {"segment": 100, "overlap": 0},
    {"segment": 100, "overlap": 99},
    {"segment": 100, "overlap": 70, "batch": 3},
    {"segment": 100, "window": "hann", "overlap": 50},
    {"segment": 64, "window": np.hanning(64) + 0.5, "overlap": 13, "batch": 2},
    {"segment": 2000, "batch": 4},
]


@pytest.mark.parametrize("cut", CUTS, ids=range(len(CUTS)))
@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 777])
def test_a_model_that_changes_nothing_changes_nothing(cut, n):
    x = noise(2, n)
    before = x.copy()
    np.testing.assert_allclose(xi.in_segments(lambda piece: piece, x, **cut), x, rtol=0, atol=4e-15)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("cut", CUTS, ids=range(len(CUTS)))
@pytest.mark.parametrize("sizes", [(1,), (70,), (333,), (0, 5, 200, 1)], ids=str)
def test_pieces_of_any_size_give_the_bits_of_the_whole(cut, sizes):
    def model(piece):
        return np.cumsum(piece, axis=-1)  # which knows where its segment begins

    x, at, made = noise(2, 777), 0, []
    stream = xi.StreamingSegments(model, **cut)
    while at < 777:
        for size in sizes:
            made.append(stream.push(x[:, at : at + size]))
            at = min(at + size, 777)
            assert sum(each.shape[1] for each in made) > at - stream.latency
    made.append(stream.flush())
    np.testing.assert_array_equal(np.concatenate(made, axis=1), xi.in_segments(model, x, **cut))
    np.testing.assert_array_equal(stream.push(x[:, :0]), x[:, :0])  # as new


def test_segments_are_cross_faded():
    """By the definition: results, times weights, added, over the sum of the weights."""
    x, segment, hop, weights = noise(230), 50, 30, np.arange(1.0, 51)

    def model(piece):
        return piece * piece[0]

    total, sums = np.zeros(300), np.zeros(300)
    padded = np.concatenate([x, np.zeros(70)])
    for at in range(0, 181, hop):
        sums[at : at + segment] += weights * model(padded[at : at + segment])
        total[at : at + segment] += weights
    got = xi.in_segments(model, x, segment=segment, overlap=20, window=weights)
    np.testing.assert_allclose(got, sums[:230] / total[:230], rtol=1e-12)
    frames = xi.frame(x, segment, hop)
    added = xi.overlap_add(
        np.stack([model(each) for each in frames.T], -1), hop, window=weights, normalize=True, length=230
    )
    np.testing.assert_allclose(got, added, rtol=1e-12)


def test_every_library(xp):
    x = noise(2, 3, 500).astype(np.float32)
    for cut in ({"segment": 90}, {"segment": 90, "batch": 2, "overlap": 60}, {"segment": 2, "axis": 1, "overlap": 1}):
        got = xi.in_segments(lambda piece: piece * 2, xp.asarray(x), **cut)
        assert type(got) is type(xp.asarray(x))
        np.testing.assert_allclose(host(got), 2 * x, rtol=1e-6)
    X = xi.stft(xp.asarray(x), 64)
    got = xi.istft(xi.in_segments(lambda piece: piece, X, segment=12), length=500)
    np.testing.assert_allclose(host(got), x, atol=1e-5)


def test_models_that_separate():
    x = noise(1, 1, 1000)
    got = xi.in_segments(lambda piece: np.concatenate([piece, -piece, 2 * piece], axis=1), x, segment=300, batch=2)
    np.testing.assert_allclose(got, np.concatenate([x, -x, 2 * x], axis=1), atol=1e-15)
    got = xi.in_segments(lambda piece: np.stack([piece, -piece], axis=1), x, segment=300, batch=2)
    assert got.shape == (1, 2, 1, 1000)


def test_models_that_write_into_what_they_get():
    def model(piece):
        piece *= 2
        return piece

    x = noise(2, 300)
    before = x.copy()
    np.testing.assert_allclose(xi.in_segments(model, x, segment=100), 2 * before, rtol=1e-12)
    np.testing.assert_array_equal(x, before)


def test_progress_and_memory():
    told, seen = [], []

    def model(piece):
        seen.append(piece.shape)
        return piece

    x = np.zeros((1, 100_000), np.float32)
    xi.in_segments(model, x, segment=1000, overlap=0, batch=8, progress=lambda done, count: told.append((done, count)))
    assert told == [*((8 * i, 100) for i in range(1, 13)), (100, 100)]
    assert set(seen) == {(8, 1000), (4, 1000)}


def test_half_precision_is_faded_in_single():
    x = np.random.default_rng(0).uniform(1, 2, 500).astype(np.float16)
    got = xi.in_segments(lambda piece: piece, x, segment=64, overlap=50)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, x)


def test_gradients_pass_through():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.randn(2, 400, dtype=torch.float64, requires_grad=True)
    xi.in_segments(lambda piece: 3 * piece, x, segment=64, overlap=10, batch=2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3, rtol=1e-12)


def test_dask_records_are_cut_when_they_are_computed():
    da = pytest.importorskip("dask.array", reason="Dask is not installed")
    x = noise(2, 5000)

    def model(piece):
        return np.cumsum(piece, axis=-1)[:, None]

    for cut in ({"segment": 100, "overlap": 70}, {"segment": 64, "overlap": 0, "batch": 2}, {"segment": 9000}):
        got = xi.in_segments(model, da.from_array(x, chunks=(1, 700)), **cut)
        assert isinstance(got, da.Array)
        np.testing.assert_allclose(got.compute(), xi.in_segments(model, x, **cut), atol=1e-11)
    assert max(map(max, got.chunks)) <= 5000


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"model": 3}, TypeError, "model: need a function of an array, got int"),
        ({"segment": 0}, ValueError, "segment: need"),
        ({"overlap": 100}, ValueError, r"overlap: need less than the segment \(100\), got 100"),
        ({"overlap": -1}, ValueError, "overlap: need"),
        ({"window": np.ones(99)}, ValueError, "window: need length 100, got 99"),
        ({"window": "flattop"}, ValueError, "window: need weights of which none is negative"),
        ({"batch": 0}, ValueError, "batch: need"),
        ({"batch": 2, "x": noise(300)}, ValueError, "batch: need 1 where the axis that is cut is the first"),
        ({"axis": 2}, ValueError, "axis: need"),
        ({"progress": 1}, TypeError, "progress: need"),
        ({"x": [1.0, 2.0]}, TypeError, "x: need an array"),
        (
            {"model": lambda piece: piece[:, 1:]},
            ValueError,
            r"model: need an array with 100 entries in axis -1 .*\(2, 99\)",
        ),
        ({"model": lambda piece: None}, ValueError, "model: need an array .*, got NoneType"),
        ({"model": lambda piece: piece.astype(int)}, TypeError, "model: need floating or complex numbers"),
        (
            {"model": lambda piece: piece[:1], "batch": 2},
            ValueError,
            "model: need an array whose first axis has 4 entries",
        ),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else "",
)
def test_errors_name_the_argument(given, kind, text):
    options = {"model": lambda piece: piece, "x": noise(2, 300), "segment": 100, **given}
    with pytest.raises(kind, match=f"^in_segments: {text}"):
        xi.in_segments(options.pop("model"), options.pop("x"), **options)


def test_streams_take_pieces_that_fit():
    stream = xi.StreamingSegments(lambda piece: piece, segment=10)
    with pytest.raises(ValueError, match="need at least one piece pushed"):
        stream.flush()
    stream.push(noise(2, 5))
    for wrong in (noise(3, 5), noise(2, 5).astype(np.float32), noise(5)):
        with pytest.raises(ValueError, match="need pieces alike"):
            stream.push(wrong)
    with pytest.raises(ValueError, match="axis: need a number below 0"):
        xi.StreamingSegments(lambda piece: piece, segment=10, axis=0)


def test_normalised_overlap_add():
    x = noise(2, 400)
    for window in (None, "hann", "hamming", np.arange(1.0, 33)):
        segments = xi.frame(x, 32, 8, center=True)
        np.testing.assert_allclose(
            xi.overlap_add(segments, 8, window=window, center=True, length=400, normalize=True), x, atol=1e-12
        )
    with pytest.warns(xi.CoverageWarning):
        got = xi.overlap_add(xi.frame(x, 32, 8), 8, window="hann", normalize=True)
    np.testing.assert_array_equal(got[:, 0], 0)
    with pytest.raises(xi.NOLAError):
        xi.overlap_add(xi.frame(x, 32, 40), 40, normalize=True)
    with pytest.raises(TypeError, match="normalize: need a bool"):
        xi.overlap_add(xi.frame(x, 32, 8), 8, normalize=1)
