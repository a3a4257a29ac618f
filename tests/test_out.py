"""`out`: one rule for every function and every library, and what is written where it holds."""

from __future__ import annotations

import hostile
import numpy as np
import pytest
from hostile import spectrum
from hostile_functions import Sliced

import xp_istft as xi
from xp_istft.backends.base import overlaps_itself
from xp_istft.compat import librosa

SHAPES = {"istft": (2, 2048), "stft": (2, 129, 33)}
KINDS = {"istft": np.float64, "stft": np.complex128}


class Target(Sliced):
    """Slices that can be written."""

    def __setitem__(self, index, value):
        self._array[index] = value


def torch_of(array):
    """A tensor with the memory and the strides of this array."""
    return pytest.importorskip("torch").from_numpy(array)


LIBRARIES = {"numpy": lambda array: array, "torch": torch_of}


def room(name, times=3):
    return np.full(np.prod(SHAPES[name]) * times, 7, KINDS[name])


def strided(name, *steps):
    """A view of the shape of the result with these strides in elements, in memory that is large enough."""
    memory = room(name, 8)
    return np.lib.stride_tricks.as_strided(memory, SHAPES[name], [step * memory.itemsize for step in steps])


# Views that may be written: the shape of the result, any strides, no two elements in one place.
GOOD = {
    "istft": {
        "packed": (2048, 1), "every second": (4096, 2), "interleaved": (1, 2), "rows far apart": (5000, 1),
        "teeth in gaps": (3, 6),
    },
    "stft": {"packed": (129 * 33, 33, 1), "frame after frame": (129 * 33, 1, 129), "batch last": (1, 66, 2)},
}  # fmt: skip
BAD = {
    "istft": {
        "one row": (0, 1), "one sample": (2048, 0), "a row in the next": (1, 1), "half a row": (1024, 1),
        "crossing": (4, 2),
    },
    "stft": {
        "one item": (0, 33, 1), "bins in frames": (129 * 33, 1, 1), "one frame": (129 * 33, 33, 0),
        "crossing": (6, 33, 2),
    },
}  # fmt: skip


def calls(name):
    if name == "istft":
        X = spectrum()
        return X, lambda X, out: xi.istft(X, hop_length=64, out=out)
    x = hostile.signal(2).copy()
    return x, lambda x, out: xi.stft(x, 256, hop_length=64, out=out)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "view"), [(name, view) for name, views in GOOD.items() for view in views])
def test_any_view_whose_elements_are_apart_is_written_and_nothing_beside_it(library, name, view):
    data, call = calls(name)
    out = strided(name, *GOOD[name][view])
    memory = out.base
    while memory.base is not None:
        memory = memory.base
    call(LIBRARIES[library](data), LIBRARIES[library](out))
    written = out.copy()
    np.testing.assert_array_equal(written, call(LIBRARIES[library](data), None))
    out[...] = 7
    assert (memory == 7).all()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "view"), [(name, view) for name, views in BAD.items() for view in views])
def test_no_element_may_lie_where_another_does(library, name, view):
    data, call = calls(name)
    with pytest.raises(ValueError, match=f"^{name}: out: need memory of its own, got rows that overlap$"):
        call(LIBRARIES[library](data), LIBRARIES[library](strided(name, *BAD[name][view])))


def test_elements_that_overlap_are_found_whatever_the_strides():
    """Against all places written out."""
    rng = np.random.default_rng(0)
    memory = np.zeros(1000, np.uint8)
    for _ in range(300):
        shape = tuple(rng.integers(1, 5, rng.integers(1, 4)))
        strides = tuple(int(step) for step in rng.integers(-12, 40, len(shape)))
        view = np.lib.stride_tricks.as_strided(memory[500:504].view(np.int32), shape, strides)
        index = np.indices(shape).reshape(len(shape), -1)
        places = 500 + np.array(strides) @ index
        taken = np.bincount(np.add.outer(np.arange(4), places).ravel())
        assert overlaps_itself(view) == (taken.max() > 1), (shape, strides)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", SHAPES)
def test_reversed_empty_and_neighbouring_outs_are_written(library, name):
    data, call = calls(name)
    lend = LIBRARIES[library]
    want = np.asarray(call(lend(data), None))
    empty = np.empty((0, *SHAPES[name][1:]), KINDS[name])
    assert call(lend(data[:0]), lend(empty)).shape == empty.shape
    if library == "numpy":  # tensors have no negative strides
        out = room(name, 1).reshape(SHAPES[name])[..., ::-1]
        assert call(data, out) is out
        np.testing.assert_array_equal(out, want)
    memory = np.zeros(data.nbytes + want.nbytes, np.uint8)  # the input lies beside the result
    source = memory[: data.nbytes].view(data.dtype).reshape(data.shape)
    source[...] = data
    out = memory[data.nbytes :].view(want.dtype).reshape(want.shape)
    call(lend(source), lend(out))
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(source, data)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", SHAPES)
def test_the_memory_of_the_input_is_never_written(library, name):
    """Whichever objects the two arrays were made by."""
    data, call = calls(name)
    lend = LIBRARIES[library]
    size = max(data.nbytes, np.prod(SHAPES[name]) * 16)
    memory = np.zeros(size + 1600, np.uint8)
    source = memory[: data.nbytes].view(data.dtype).reshape(data.shape)
    source[...] = data
    for offset in (0, 160, 1600):
        out = (
            memory[offset : offset + np.dtype(KINDS[name]).itemsize * np.prod(SHAPES[name])]
            .view(KINDS[name])
            .reshape(SHAPES[name])
        )
        with pytest.raises(ValueError, match=f"^{name}: out: need memory of its own, got one that overlaps the input$"):
            call(lend(source), lend(out))
    np.testing.assert_array_equal(source, data)


def wrong_outs(name):
    good = np.zeros(SHAPES[name], KINDS[name])
    yield np.ma.masked_array(good), TypeError
    yield np.ma.masked_array(good, mask=np.ones(good.shape, bool)), TypeError
    yield good.tolist(), TypeError
    yield "out", TypeError
    yield 3.0, TypeError
    yield object(), TypeError
    yield hostile.Thing(), TypeError
    yield np.float64(3), TypeError
    yield good.astype(np.float32 if name == "istft" else np.complex64), TypeError
    yield good.astype(object), TypeError
    yield good.astype(good.dtype.newbyteorder()), TypeError
    yield hostile.read_only(good), ValueError
    yield good[..., :-1], ValueError
    yield good[0], ValueError
    yield good[None], ValueError
    yield np.zeros(3, good.dtype), ValueError


@pytest.mark.parametrize("name", SHAPES)
def test_what_cannot_be_written_is_refused_by_name(name):
    data, call = calls(name)
    for out, kind in wrong_outs(name):
        with pytest.raises(kind, match=f"^{name}: out: need "):
            call(data, out)
        with pytest.raises((TypeError, ValueError), match=f"^{name}: out: need "):
            call(torch_of(data), out)


@pytest.mark.parametrize("name", SHAPES)
def test_slices_are_written_by_the_same_rule(name):
    data, call = calls(name)
    want = call(data, None)
    target = Target(np.zeros(SHAPES[name], KINDS[name]))
    assert call(data, target) is target
    np.testing.assert_array_equal(target._array, want)
    good = np.zeros(SHAPES[name], KINDS[name])
    call(Sliced(data), good)
    np.testing.assert_array_equal(good, want)
    for out in (
        np.ma.masked_array(good),
        Sliced(good),
        hostile.read_only(good),
        good[0],
        strided(name, *next(iter(BAD[name].values()))),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name}: out: need "):
            call(Sliced(data), out)
    source = Target(data)
    with pytest.raises((TypeError, ValueError), match=f"^{name}: out: need "):
        call(source, source)


def test_librosas_out_follows_the_rule():
    X, x = spectrum(), hostile.signal(2)
    good = np.zeros((2, 129, 40), np.complex64)  # it may have more frames, and another precision
    y = librosa.stft(x, n_fft=256, hop_length=64, out=good)
    np.testing.assert_allclose(y, X, atol=1e-4)
    assert not good[..., 33:].any()
    shared = np.lib.stride_tricks.as_strided(np.zeros(9999, complex), (2, 129, 33), (0, 16, 16))
    wrong = np.ma.masked_array(good), hostile.read_only(good), torch_of(good), good.tolist(), good.real, good[..., :9]
    for out in (*wrong, shared):
        with pytest.raises((TypeError, ValueError), match="^stft: out: need "):
            librosa.stft(x, n_fft=256, hop_length=64, out=out)
    samples = np.zeros((2, 2048), np.float32)
    for out in (
        np.ma.masked_array(samples),
        hostile.read_only(samples),
        torch_of(samples),
        samples.tolist(),
        samples[:1],
    ):
        with pytest.raises((TypeError, ValueError), match="^istft: out: need "):
            librosa.istft(X, hop_length=64, out=out)


def test_tensors_that_are_followed_or_elsewhere_are_not_written():
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(spectrum())
    float64 = {"dtype": torch.float64}
    for out, kind, text in (
        (torch.zeros(2, 2048, **float64, requires_grad=True), ValueError, "need a tensor that requires no gradient"),
        (torch.zeros(2, 2048, **float64, device="meta"), ValueError, "need the device of the input"),
        (np.zeros((2, 2048)), TypeError, "need .*Tensor as the input, got numpy.ndarray"),
    ):
        with pytest.raises(kind, match=f"^istft: out: {text}"):
            xi.istft(X, hop_length=64, out=out)
    with pytest.raises(TypeError, match="^istft: out: need a NumPy array as the input, got Tensor"):
        xi.istft(spectrum(), hop_length=64, out=torch.zeros(2, 2048))
    storage = torch.zeros(2048 + 2 * 129 * 33, **float64)  # one, with two places
    storage[:2048] = torch.tensor(hostile.signal())
    out = torch.view_as_complex(storage[2048:].reshape(129, 33, 2))
    xi.stft(storage[:2048], 256, hop_length=64, out=out)
    np.testing.assert_allclose(out, spectrum(hostile.signal()), atol=1e-11)
    mine = X.clone()
    with pytest.raises(ValueError, match="^istft: out: need memory of its own, got one that overlaps the input"):
        xi.istft(mine.conj(), hop_length=64, out=torch.view_as_real(mine).flatten()[:4096].reshape(2, 2048))
