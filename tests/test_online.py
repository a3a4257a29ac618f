"""Online phase retrieval: the definition in loops, the latency counted in samples, pushes, states, any library."""

import copy
import io
import pickle

import definition
import numpy as np
import pytest
import scipy.sparse.csgraph

import xp_istft as xi
from xp_istft.cli.speech import sentence
from xp_istft.phase.causal import roots
from xp_istft.phase.integration import Gradient

T = xi.STFT(64, 16)
TRUST = (0.003, 0.08, 0.7)  # of the newest frames
RTISI = {"algorithm": "gla", "init": "overlap", "missing": "silent"}


def magnitudes(t=T, n_samples=300, leading=(), seed=0):
    n = np.arange(n_samples)
    x = np.sin(n**1.5 / 40) + 0.1 * np.random.default_rng(seed).standard_normal((*leading, n_samples))
    return np.abs(t.stft(x))


def streamed(S, t=T, sizes=(1 << 30,), length=None, **chosen):
    """What comes out of pushes of these sizes, one after the other and again, and the flush."""
    stream, parts, at = xi.StreamingGriffinLim(t, **chosen), [], 0
    while at < S.shape[-1]:
        for size in sizes:
            stop = min(S.shape[-1], at + size)
            parts.append(stream.push(S[..., at:stop]))
            at = stop
    return [*parts, stream.flush(length)]


def whole(*given, **chosen):
    return np.concatenate(streamed(*given, **chosen), axis=-1)


def distance(S, y, t):
    return 20 * np.log10(float(xi.spectral_convergence(S, t.stft(y))))


# ---- the definition


def tree(level, before, straight):
    """(parent, is it in the row before) of each bin, by a walk through the maximum spanning tree of two rows."""
    n_bins = level.size
    if straight:
        return [[(k, k, True)] for k in range(n_bins)]
    known, order = set(), []
    while len(known) < n_bins:  # Prim's algorithm, from the row before, all of whose bins are known
        edges = [(before[k] + level[k], k, k, True) for k in range(n_bins) if k not in known]
        edges += [
            (level[j] + level[k], j, k, False)
            for j in known
            for k in (j - 1, j + 1)
            if 0 <= k < n_bins and k not in known
        ]
        _, j, k, up = max(edges, key=lambda edge: edge[0])
        known.add(k)
        order.append((j, k, up))
    return [order]


def causal_phases(sizes, before, gradient, frame, straight=False):
    """Phases of `frame` (1 or 2) of three frames (n_bins, 3), of those of the frame before it."""
    level = np.log(np.maximum(sizes, 1e-6 * sizes.max())).T
    along_bins, along_frames = (2 * np.pi * each for each in gradient.slopes(level))
    phase = np.zeros(len(sizes))
    for order in tree(level[frame], level[frame - 1], straight):
        for j, k, up in order:
            if up:
                phase[k] = before[j] + (along_frames[frame - 1, k] + along_frames[frame, k]) / 2
            else:
                phase[k] = phase[j] + (k - j) * (along_bins[frame, j] + along_bins[frame, k]) / 2
    return phase


def by_hand(S, t, lookahead, n_iter, algorithm, init, missing, rho=0.1):
    """The spectrum that each frame is fixed to: loops over frames, sums over whole signals."""
    n_fft, hop, w, left = t.n_fft, t.hop_length, t.samples(), t.placement.left
    n_bins, n_frames = S.shape
    gradient = Gradient.of(hop, w)
    n_samples = n_fft + hop * (n_frames + 2 * n_fft // hop)
    X, memory = np.zeros_like(S, complex), np.zeros_like(S, complex)

    def weight(m, now):
        oldest = TRUST[lookahead] if lookahead < len(TRUST) else 1
        age = now - m
        return 1 if missing == "silent" or age >= min(lookahead, len(TRUST)) else TRUST[age] / oldest

    def consistent(m, last, now, every=False):
        """The spectrum of frame m of the mean of all frames up to `last`."""
        total, share = np.zeros(n_samples), np.zeros(n_samples)
        until = n_frames + n_fft // hop if missing == "silent" or every else last + 1
        for j in range(until):
            place, g = slice(j * hop, j * hop + n_fft), 1 if every else weight(j, now)
            share[place] += g * w**2
            if j <= last:
                total[place] += g * w * np.fft.irfft(X[:, j], n_fft)
        mean = np.divide(total, share, out=np.zeros(n_samples), where=share > 1e-12)
        mean[:left] = 0
        return np.fft.rfft(w * mean[m * hop : m * hop + n_fft])

    def three(m):
        return S[:, np.maximum(0, np.arange(m - 2, m + 1))]

    def phases(m):
        return np.angle(X[:, m]) if m >= 0 else np.zeros(n_bins)

    for now in range(n_frames + lookahead):
        if now < n_frames:
            again = now - 1
            if init == "pghi":
                if lookahead and now:
                    start = S[:, again] * np.exp(1j * causal_phases(three(now), phases(again - 1), gradient, 1))
                    X[:, again] = S[:, again] * np.exp(1j * np.angle((X[:, again] if n_iter else 0) + start))
                    memory[:, again] = 0
                phase = causal_phases(three(now), phases(again), gradient, 2, straight=lookahead > 0)
            elif init == "overlap":
                phase = np.zeros(n_bins)
                if now:
                    total = np.zeros(n_samples)
                    for j in range(now):
                        total[j * hop : j * hop + n_fft] += w * np.fft.irfft(X[:, j], n_fft)
                    phase = np.angle(np.fft.rfft(w * total[now * hop : now * hop + n_fft]))
            else:
                phase = np.zeros(n_bins)
            X[:, now] = S[:, now] * np.exp(1j * phase)
        last = min(now, n_frames - 1)
        active = list(range(max(0, now - lookahead), last + 1))
        for _ in range(n_iter):
            z = {m: consistent(m, last, now) for m in active}
            for m in active:
                if algorithm == "gla":
                    X[:, m] = S[:, m] * np.exp(1j * np.angle(z[m]))
                else:
                    u = (rho * X[:, m] + z[m]) / (1 + rho)
                    memory[:, m] = S[:, m] * np.exp(1j * np.angle(2 * u - X[:, m]))
                    X[:, m] = X[:, m] - u + memory[:, m]
        if now >= lookahead and n_iter and algorithm == "admm":
            X[:, now - lookahead] = memory[:, now - lookahead]
    return X


BY_HAND = {
    "default": {"lookahead": 3, "n_iter": 2, "algorithm": "admm", "init": "pghi", "missing": "ignored"},
    "no look-ahead": {"lookahead": 0, "n_iter": 3, "algorithm": "admm", "init": "pghi", "missing": "ignored"},
    "short look-ahead": {"lookahead": 1, "n_iter": 2, "algorithm": "gla", "init": "zero", "missing": "ignored"},
    "long look-ahead": {"lookahead": 5, "n_iter": 1, "algorithm": "admm", "init": "overlap", "missing": "ignored"},
    "RTPGHI alone": {"lookahead": 1, "n_iter": 0, "algorithm": "gla", "init": "pghi", "missing": "ignored"},
    "RTISI-LA": {"lookahead": 3, "n_iter": 2, **RTISI},
}


@pytest.mark.parametrize("chosen", BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize("t", [T, xi.STFT(32, 12, center=False, window="hamming")], ids=["centred", "uneven"])
def test_every_setting_is_the_definition_in_loops(t, chosen):
    S = magnitudes(t, 200)[:, :11]
    y = whole(S, t, **chosen)
    X = by_hand(S, t, **chosen)
    w, place = t.samples(), t.placement
    due, _ = definition.istft(X, t.n_fft, t.hop_length, w, w, place.left, y.size)
    inside = slice(0, y.size) if place.left else slice(t.n_fft, -t.n_fft)  # where max_gain changes nothing
    np.testing.assert_allclose(y[inside], due[inside], atol=1e-8)


@pytest.mark.parametrize("n_bins", [1, 2, 3, 40])
def test_roots_are_those_of_the_maximum_spanning_tree(n_bins, rng):
    up, across = rng.uniform(1, 2, (3, n_bins)), rng.uniform(1, 2, (3, n_bins - 1))
    for item, found in enumerate(roots(up, across)):
        graph = np.zeros((n_bins + 1, n_bins + 1))
        graph[n_bins, :n_bins] = -up[item]
        graph[np.arange(n_bins - 1), np.arange(1, n_bins)] = -across[item]
        forest = scipy.sparse.csgraph.minimum_spanning_tree(graph).toarray()
        assert set(found) == set(forest[n_bins].nonzero()[0])
        _, run = scipy.sparse.csgraph.connected_components(forest[:n_bins, :n_bins], directed=False)
        assert (run[found] == run).all()


# ---- what comes out, and when


LATE = (T, xi.STFT(64, 24, center=False, window="hamming"), xi.STFT(48, 12, padding=(5, 60)))


@pytest.mark.parametrize("lookahead", [0, 1, 3])
@pytest.mark.parametrize("t", LATE, ids=repr)
def test_the_latency_is_exact(t, lookahead):
    """Up to `latency` samples before the end of the last frame came out, and the next ones depend on the next frame."""
    S = magnitudes(t, 400)
    other = S.copy()
    other[:, 7] *= np.random.default_rng(1).uniform(0.2, 2, t.n_bins)
    stream, changed = (xi.StreamingGriffinLim(t, lookahead=lookahead, n_iter=1) for _ in range(2))
    came = 0
    for m in range(9):
        one, two = stream.push(S[:, m : m + 1]), changed.push(other[:, m : m + 1])
        came += one.shape[-1]
        assert came == max(0, m * t.hop_length + t.n_fft - t.placement.left - stream.latency)
        assert (one == two).all() or m >= 7
        if m == 7:  # or they wait for padding after the signal, which these frames may prove to be
            assert one.size
            assert not np.array_equal(one, two) or t.placement.right > t.n_fft
    assert stream.latency == lookahead * t.hop_length + xi.StreamingISTFT(t).latency


@pytest.mark.parametrize(
    "chosen",
    [{}, {"algorithm": "hybrid", "lookahead": 2}, {"algorithm": "raar", "init": "zero", "lookahead": 0}, RTISI],
    ids=repr,
)
def test_any_pushes_give_the_same_bits(chosen):
    S = magnitudes(leading=(2,))
    due = whole(S, **chosen)
    for sizes in [(1,), (3, 0, 5), (7,)]:
        assert (whole(S, sizes=sizes, **chosen) == due).all()
    for other in (np.asfortranarray(S), np.ascontiguousarray(S.swapaxes(0, 2)).swapaxes(0, 2)):
        assert (whole(other, sizes=(2,), **chosen) == due).all()
    np.testing.assert_allclose(whole(S[1], **chosen)[..., :100], due[1, :100], atol=1e-9)


class Recording(xi.Algorithm):
    """Griffin-Lim that keeps what frames are fixed to, and counts the frames of each step."""

    def __init__(self):
        object.__setattr__(self, "seen", [])
        object.__setattr__(self, "steps", [])

    def step(self, z, magnitude, proposal, memory, do):
        assert memory is None
        self.steps.append(z.shape[-1])
        return do.onto(magnitude, z), None

    def estimate(self, proposal, memory, do):
        self.seen.append(proposal)
        return proposal


@pytest.mark.parametrize(
    "t", [T, xi.STFT(64, 20, synthesis_window="boxcar", scaling="ortho", padding=(10, 3))], ids=repr
)
def test_samples_are_the_inverse_of_the_spectra_that_are_fixed(t):
    S, recording = magnitudes(t), Recording()
    y = whole(S, t, sizes=(2,), algorithm=recording)
    X = np.concatenate(recording.seen, axis=-1)
    np.testing.assert_allclose(np.abs(X), S, rtol=1e-12)
    assert (y == xi.istft(X, n_fft=64, hop_length=t.hop_length, synthesis_window=t.synthesis_window, scaling=t.scaling,
                          padding=t.padding, max_gain=10)).all()  # fmt: skip


@pytest.mark.parametrize("n_frames", [2, 3, 4, 19])
def test_every_frame_sees_as_many_iterations(n_frames):
    S, first, second = magnitudes()[:, :n_frames], Recording(), Recording()
    whole(S, algorithm=xi.Hybrid(first, second), n_iter=3, lookahead=2)
    assert sum(first.steps) == 4 * n_frames  # of 9: the half, rounded down
    assert sum(second.steps) == 5 * n_frames


def test_it_is_far_better_than_rtisi_la_and_near_to_what_knows_all():
    x = sentence()[4000:20000]
    t = xi.STFT(512, 128)
    S = np.abs(t.stft(x))
    online, rtisi = (distance(S, whole(S, t, length=x.size, **chosen), t) for chosen in ({}, RTISI))
    assert online < rtisi - 7
    assert online < distance(S, xi.griffin_lim(S, t, length=x.size), t) + 8


def test_a_longer_look_ahead_is_better():
    x = sentence()[4000:12000]
    t = xi.STFT(256, 64)
    S = np.abs(t.stft(x))
    found = [distance(S, whole(S, t, length=x.size, lookahead=lookahead), t) for lookahead in (0, 1, 2, 5)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**80])
def test_any_scale(scale):
    S = magnitudes()[:, :8]
    for dtype in ("float32", "float64"):
        due, found = (whole((S * factor).astype(dtype), n_iter=1) for factor in (1, scale))
        assert due.dtype == found.dtype == dtype
        np.testing.assert_allclose(found / found.dtype.type(scale), due, atol=1e-3 if dtype == "float32" else 1e-10)


def test_silence_is_silent_and_what_comes_after_it_is_not():
    S = magnitudes()
    S[:, 3:9] = 0
    for chosen in ({}, RTISI, {"init": "zero"}, {"lookahead": 0}):
        y = whole(S, **chosen)
        assert np.isfinite(y).all()
        assert (y[5 * 16 : 6 * 16] == 0).all()
        assert np.abs(y[12 * 16 :]).max() > 0.1
    assert (whole(np.zeros((33, 9))) == 0).all()


def test_every_library_gives_the_same(xp):
    few = xp.name == "jax"  # compiles every operation anew for every shape
    S = magnitudes(leading=(2,))[..., : 4 if few else 7]
    for chosen in ({"n_iter": 1, "lookahead": 1}, {"n_iter": 2}, {"n_iter": 1, **RTISI})[: 1 if few else 3]:
        if xp.name == "dask":
            with pytest.raises(TypeError, match=r"StreamingGriffinLim: S: need an array that is computed already"):
                streamed(xp.asarray(S), **chosen)
            continue
        parts = streamed(xp.asarray(S), sizes=(3,), **chosen)
        assert all(xp.owns(part) for part in parts)
        y = np.concatenate([xp.to_numpy(part) for part in parts], axis=-1)
        np.testing.assert_allclose(y, whole(S, **chosen), atol=1e-9 if xp.double else 1e-3)


# ---- states


def saved(state):
    file = io.BytesIO()
    np.savez(file, *state)
    file.seek(0)
    return list(np.load(file).values())


@pytest.mark.parametrize("before", [0, 1, 3, 12])
def test_a_state_can_be_saved_restored_and_copied(before):
    S = magnitudes(leading=(2,))
    stream = xi.StreamingGriffinLim(T, algorithm="hybrid", n_iter=3)
    stream.push(S[..., :before])
    kept = stream.state
    again = [pickle.loads(pickle.dumps(stream)), copy.deepcopy(stream)]
    if before:
        values = [np.array(each) for each in kept]
        other = xi.StreamingGriffinLim(T, algorithm="hybrid", n_iter=3)
        other.state = saved(kept)
        again.append(other)
    due = np.concatenate([stream.push(S[..., before:]), stream.flush()], axis=-1)
    for each in again:
        assert (np.concatenate([each.push(S[..., before:]), each.flush()], axis=-1) == due).all()
    with pytest.raises(RuntimeError, match="stream is closed"):
        stream.push(S)
    with pytest.raises(RuntimeError, match="stream is closed"):
        pickle.loads(pickle.dumps(stream)).flush()
    if before:  # which never changed, and can be set in a closed stream
        assert all((one == other).all() for one, other in zip(kept, values, strict=True))
        stream.state = kept
        assert (np.concatenate([stream.push(S[..., before:]), stream.flush()], axis=-1) == due).all()
    stream.reset()
    assert (np.concatenate([stream.push(S), stream.flush()], axis=-1) == whole(S, algorithm="hybrid", n_iter=3)).all()


def test_states_do_not_grow_and_share_no_memory_with_what_is_pushed():
    S = magnitudes(n_samples=600)
    stream = xi.StreamingGriffinLim(T)
    given = S.copy()
    stream.push(given[:, :8])
    sizes = [each.shape for each in stream.state[:4]]
    assert sizes == [(33, 6), (33, 6), (33, 3), (47,)]
    given[...] = np.nan
    for m in range(8, 20):
        stream.push(S[:, m : m + 1])
        assert [each.shape for each in stream.state[:4]] == sizes
        assert all(np.isfinite(each).all() for each in stream.state[:4])


def test_a_length_may_end_in_what_still_waits():
    S = magnitudes(n_samples=320)  # 21 frames
    due = whole(S, length=320)
    for length in (300, 290, 257):
        stream = xi.StreamingGriffinLim(T)
        first = stream.push(S)
        with pytest.raises(
            ValueError, match=r"StreamingGriffinLim: length: need >= 257, as many samples came out already, got 20"
        ):
            stream.flush(20)
        y = np.concatenate([first, stream.flush(length)])
        assert y.size == length
        assert (y == due[:length]).all()


REFUSED = {
    "other bins": (lambda: xi.StreamingGriffinLim(T).push(np.ones((9, 2))), ValueError, "S: need 33 bins"),
    "a spectrum": (
        lambda: xi.StreamingGriffinLim(T).push(np.ones((33, 2), complex)),
        TypeError,
        r"S: need dtype float32 or float64, got complex128; pass abs\(X\)",
    ),
    "negative": (
        lambda: xi.StreamingGriffinLim(T).push(-np.ones((33, 2))),
        ValueError,
        "S: need finite magnitudes >= 0, got -1",
    ),
    "NaN": (
        lambda: xi.StreamingGriffinLim(T).push(np.full((33, 2), np.nan)),
        ValueError,
        "S: need finite magnitudes >= 0, got nan",
    ),
    "two-sided": (
        lambda: xi.StreamingGriffinLim(xi.STFT(64, onesided=False)),
        ValueError,
        "transform: need onesided=True",
    ),
    "other frequencies": (
        lambda: xi.StreamingGriffinLim(xi.STFT(64, frequencies=xi.linear_frequencies(9, 10, 100, 300))),
        ValueError,
        "frequencies: need None",
    ),
    "no such algorithm": (
        lambda: xi.StreamingGriffinLim(T, algorithm="GLA"),
        ValueError,
        "algorithm: need 'hybrid' or",
    ),
    "nothing": (lambda: xi.StreamingGriffinLim(T).flush(), ValueError, "S: need at least 1 frame, got 0"),
    "a state of two": (
        lambda: setattr(xi.StreamingGriffinLim(T), "state", (None, 0)),
        TypeError,
        "state: need four arrays and a number",
    ),
    "a state without arrays": (
        lambda: setattr(xi.StreamingGriffinLim(T), "state", (None, None, None, None, 3)),
        ValueError,
        "state: need four arrays",
    ),
    "a state of other parameters": (
        lambda: setattr(xi.StreamingGriffinLim(T, lookahead=2), "state", pushed().state),
        ValueError,
        r"state: need shape \(..., 33, 2\) after 4 frames",
    ),
    "a state of mixed precision": (
        lambda: setattr(xi.StreamingGriffinLim(T), "state", (*pushed().state[:3], np.zeros(47, "f4"), 4)),
        TypeError,
        "state: need arrays of one precision",
    ),
}


def pushed():
    stream = xi.StreamingGriffinLim(T)
    stream.push(magnitudes()[:, :4])
    return stream


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(call, kind, text):
    with pytest.raises(kind, match=f"StreamingGriffinLim: {text}"):
        call()


def test_a_refused_push_leaves_the_stream_as_it_was():
    S = magnitudes()
    stream = xi.StreamingGriffinLim(T)
    first = stream.push(S[:, :6])
    for bad in (S[:, 6:].astype("f4"), S[None], -S, None, S[:5]):
        with pytest.raises((TypeError, ValueError), match="StreamingGriffinLim: S: need"):
            stream.push(bad)
    assert (np.concatenate([first, stream.push(S[:, 6:]), stream.flush()]) == whole(S)).all()
