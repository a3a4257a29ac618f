"""How a call on a device is queued, and what is kept of it for the next one.

A call is a list of launches: kernels and FFTs. The first of its kind writes them down; those that follow with the same
job, shapes, strides and alignment, in the same place, allocate and launch, and nothing else. What they work with -
plans, uploaded windows and gains, the list itself - is kept by the thread or, within a `GraphMemory`, by that.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import cupy
import numpy as np

THREADS = 256  # of a block; the kernels' launch bounds say the same
VECTOR_BYTES = 16  # the widest load of one thread
_MAX_GRID = (2**31 - 1, 65535)
_SCRATCH_BYTES = 256 << 20
_MAX_LAUNCHES = 3  # of a call that is kept: jobs in parts have more, whose scratch lives one after the other

_FFT_TYPES = {
    ("complex64", "float32"): "CUFFT_C2R",
    ("float32", "complex64"): "CUFFT_R2C",
    ("complex64", "complex64"): "CUFFT_C2C",
    ("complex128", "float64"): "CUFFT_Z2D",
    ("float64", "complex128"): "CUFFT_D2Z",
    ("complex128", "complex128"): "CUFFT_Z2Z",
}


# ---- places


class Place(NamedTuple):
    """Where work is queued. Plans and uploaded arrays belong to one place: what fills them, and their work areas, are
    ordered by its stream alone.

    stream : the object: while anything is kept for it, no other stream can get its address
    """

    device: int
    stream: Any


@contextmanager
def stream_of(producer: Any, device: int) -> Iterator[None]:
    """The producer's stream as the current one, for arrays borrowed from another library through DLPack.

    producer : has ``__cuda_stream__()`` (as torch.cuda.Stream from 2.10 on) or ``cuda_stream`` (as every
               torch.cuda.Stream), or is the address of a CUDA stream
    """
    with cupy.cuda.Device(device), cupy.cuda.Stream.from_external(_Address(producer)):
        yield


class _Address:
    """A CUDA stream of another library, which is kept as long as its address is."""

    def __init__(self, producer: Any) -> None:
        self.producer = producer
        if hasattr(producer, "__cuda_stream__"):
            version, address = producer.__cuda_stream__()
            if version != 0:
                raise ValueError(f"stream_of: producer: need version 0 of the CUDA stream protocol, got {version}")
        else:
            address = int(getattr(producer, "cuda_stream", producer))
        # CuPy takes 0 for the thread's own default stream where it is told to; 1 is everywhere that of all threads.
        per_thread = os.environ.get("CUPY_CUDA_PER_THREAD_DEFAULT_STREAM", "0") != "0"
        self.address = address or int(per_thread)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


def _may_come_back(stream: Any) -> bool:
    """Whether the address is all that is known of this stream: another one may have had it before."""
    address = getattr(stream, "_foreign_stream_ref", None)
    return isinstance(stream, cupy.cuda.ExternalStream) or isinstance(getattr(address, "producer", None), int)


# ---- calls


def called(function: Callable[[Place, Any, Any, Any], Any], array: Any, job: Any, out: Any = None) -> Any:
    """function(place, array, job, out) on the array's device and current stream.

    The function, which has a name in its module, launches by `launch` and `fft`, allocates by `empty`, and returns
    `out` or a view of what it allocated; anything else that it queues it says by `not_kept`.
    """
    device = array.device.id
    with cupy.cuda.Device(device):
        stream = cupy.cuda.get_current_stream()
        kept = _THREAD.kept
        _THREAD.in_graph = _captured(stream)
        if _THREAD.in_graph and kept.bounded:
            raise RuntimeError(
                "xp_istft: a CUDA graph captures a call outside of an xp_istft.backends.cupy.GraphMemory, which keeps"
                " what the graph works with"
            )
        if not (kept.bounded or _THREAD.in_graph):
            kept.streams.add(stream)
        place = Place(device, stream)
        if job.followed:  # its windows were made for this call
            return function(place, array, job, out)
        written = None if out is None else _traits(out)
        call = kept.call(function, place, job, scratch_bytes(), _traits(array), written)
        return call(place, array, job, out)


def scratch_bytes() -> int:
    """What the scratch of one call may take."""
    return int(os.environ.get("XP_ISTFT_SCRATCH_BYTES", _SCRATCH_BYTES))


def _traits(array: Any) -> tuple:
    """What launches depend on, beside where the array lies."""
    return array.shape, array.strides, array.dtype.char, array.data.ptr % VECTOR_BYTES


class _Slot(NamedTuple):
    """Memory of a call: of the array (0), of `out` (1), or of the array that it allocates as number 2, 3, ..."""

    number: int
    offset: int  # bytes from the array's first element


class _Call:
    """The launches of a call, written down when it is made for the first time.

    The key, of which the function is the first, is what they depend on.
    """

    def __init__(self, function: Callable, *_key: Any) -> None:
        self._function = function
        self._clear()

    def _clear(self) -> None:
        self._complete, self._kept = False, True
        self._launches: list[tuple[Callable, list[Any], list[tuple[int, _Slot]]]] = []
        self._made: list[tuple[tuple[int, ...], Any]] = []
        self._result: tuple[_Slot, tuple[int, ...], Any, tuple[int, ...]] | None = None
        self._memory: list[tuple[int, int, int]] = []  # address and bounds of each slot
        self._lasting: set[int] = set()

    def __call__(self, place: Place, array: Any, job: Any, out: Any) -> Any:
        if not self._complete:
            return self._written(place, array, job, out)
        if not self._kept:
            return self._function(place, array, job, out)
        slots = [array, out]
        for shape, dtype in self._made:
            slots.append(cupy.empty(shape, dtype))
        for function, template, where in self._launches:
            arguments = template.copy()
            for position, (number, offset) in where:
                slot = slots[number]
                arguments[position] = slot if not offset else cupy.ndarray((), slot.dtype, slot.data + offset)
            function(*arguments)
        if out is not None:
            return out
        assert self._result is not None
        (number, offset), shape, dtype, strides = self._result
        made = slots[number]
        return (
            made
            if made.strides == strides and made.shape == shape
            else cupy.ndarray(shape, dtype, made.data + offset, strides)
        )

    def _written(self, place: Place, array: Any, job: Any, out: Any) -> Any:
        self._memory = [(array.data.ptr, *_bounds(array)), (0, 0, 0) if out is None else (out.data.ptr, *_bounds(out))]
        (_, low, high), (_, out_low, out_high) = self._memory
        self._kept = high <= out_low or out_high <= low
        before, _THREAD.writing = _THREAD.writing, self
        try:
            result = self._function(place, array, job, out)
        except BaseException:
            self._clear()
            raise
        finally:
            _THREAD.writing = before
        slot = self.slot(result)
        self._kept &= slot is not None and len(self._launches) <= _MAX_LAUNCHES
        if slot is not None:
            self._result = slot, result.shape, result.dtype, result.strides
        if not self._kept:
            self._clear()
            self._kept = False
        self._memory, self._lasting, self._complete = [], set(), True
        return result

    def drop(self) -> None:
        self._kept = False

    def allocated(self, array: Any) -> None:
        self._made.append((array.shape, array.dtype))
        self._memory.append((array.data.ptr, *_bounds(array)))

    def lasts(self, array: Any) -> None:
        """`array` is the same one for every call."""
        self._lasting.add(id(array))

    def launched(self, function: Callable, arguments: tuple) -> None:
        template, where = list(arguments), []
        for position, argument in enumerate(arguments):
            if isinstance(argument, cupy.ndarray) and id(argument) not in self._lasting:
                slot = self.slot(argument)
                if slot is None:
                    self._kept = False
                    return
                template[position] = None
                where.append((position, slot))
        self._launches.append((function, template, where))

    def slot(self, array: Any) -> _Slot | None:
        """The latest that `array` lies in: memory that was freed can come back."""
        pointer = array.data.ptr
        for number, (address, low, high) in reversed(list(enumerate(self._memory))):
            if low <= pointer < high:
                return _Slot(number, pointer - address)
        return None


def _bounds(array: Any) -> tuple[int, int]:
    """The addresses from the first byte of the array to the one behind its last."""
    if not array.size:
        return array.data.ptr, array.data.ptr
    reach = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    low = array.data.ptr + sum(step for step in reach if step < 0)
    return low, array.data.ptr + sum(step for step in reach if step > 0) + array.itemsize


# ---- what a call does


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """A new array, which a repeated call has anew, too."""
    array = cupy.empty(shape, dtype)
    if _THREAD.writing is not None:
        _THREAD.writing.allocated(array)
    return array


def not_kept() -> None:
    """The call does what cannot be written down: each like it is made in full."""
    if _THREAD.writing is not None:
        _THREAD.writing.drop()


def contiguous(array: Any) -> Any:
    not_kept()
    return cupy.ascontiguousarray(array)


def copy_to(target: Any, source: Any) -> None:
    not_kept()
    target[...] = source


def uploaded(place: Place, make: Callable[..., np.ndarray], *key: Any) -> Any:
    """make(*key) on the device; in the order of the place's stream."""
    array = _THREAD.kept.upload(place, make, *key)
    if _THREAD.writing is not None:
        _THREAD.writing.lasts(array)
    return array


def _upload(_: Place, make: Callable[..., np.ndarray], *key: Any) -> Any:
    _check_at_hand("windows and gains are")
    return cupy.asarray(make(*key))


def launch(
    place: Place, name: str, blocks: int, n_batch: int, arguments: tuple, threads: int = THREADS, **macros: Any
) -> None:
    grid = (min(max(1, blocks), _MAX_GRID[0]), min(max(1, n_batch), _MAX_GRID[1]))
    function = kernel(name, place.device, **macros)

    def run(*arguments: Any) -> None:
        function(grid, (threads,), arguments)

    run(*arguments)
    if _THREAD.writing is not None:
        _THREAD.writing.launched(run, arguments)


@cache
def kernel(name: str, device: int, **macros: Any) -> Any:
    """Function `name` of <name>.cu, compiled for these macros; CuPy keeps the binary on disk."""
    _check_at_hand(f"kernel {name} is")
    code = _source(f"{name}.cu")
    options = ("-std=c++17", *(f"-D{key}={value}" for key, value in sorted(macros.items())))
    try:
        return cupy.RawModule(code=code, options=options).get_function(name)
    except Exception as cause:
        raise RuntimeError(f"CuPy could not compile {name}.cu ({' '.join(options)}): {cause}") from cause


def _source(name: str) -> str:
    """A file of kernels, with headers of its folder in place: CuPy's cache of binaries looks at one text."""
    folder, lines = files(__package__), []
    path = str(folder / name).replace(os.sep, "/")
    for number, line in enumerate((folder / name).read_text().splitlines(), 1):
        found = re.fullmatch('#include "(.*)"', line)
        lines.append(f'{_source(found[1])}\n#line {number + 1} "{path}"' if found else line)
    return "\n".join([f'#line 1 "{path}"', *lines, ""])


def fft(place: Place, array: Any, target: Any, n_fft: int, forward: bool) -> None:
    """FFT of every row of `array` into the rows of `target`, not normalised; may destroy `array`."""
    plan = _THREAD.kept.plan(place, n_fft, _FFT_TYPES[array.dtype.name, target.dtype.name], array.shape[0], forward)
    plan(array, target)
    if _THREAD.writing is not None:
        _THREAD.writing.launched(plan, (array, target))


class _Plan:
    """A cuFFT plan of our own: CuPy's cache shares work areas between streams (cupy#8079).

    Where a stream may be another than that of the same address before, each use waits for the last one.
    """

    def __init__(self, place: Place, n_fft: int, fft_type: str, rows: int, forward: bool) -> None:
        _check_at_hand("cuFFT plan is")
        cufft = _cufft()
        self._plan = cufft.Plan1d(n_fft, getattr(cufft, fft_type), rows)
        self._direction = cufft.CUFFT_FORWARD if forward else cufft.CUFFT_INVERSE
        self._last = cupy.cuda.Event(disable_timing=True) if _may_come_back(place.stream) else None

    def __call__(self, array: Any, target: Any) -> None:
        if self._last is None or _THREAD.in_graph:
            self._plan.fft(array, target, self._direction)
            return
        stream = cupy.cuda.get_current_stream()
        stream.wait_event(self._last)
        self._plan.fft(array, target, self._direction)
        self._last.record(stream)


@lru_cache(maxsize=1)
def _cufft() -> Any:
    try:
        from cupy.cuda import cufft
    except ImportError as cause:
        raise ImportError(f"CuPy has no cuFFT (pip install 'xp-istft[cuda13]' brings it): {cause}") from cause
    return cufft


# ---- what is kept, and graphs


class _Kept:
    """What calls leave for later ones: the latest few of each kind, or all.

    streams : of a GraphMemory, where calls were queued, but not captured, since it was entered
    """

    def __init__(self, bounded: bool) -> None:
        self.bounded = bounded
        self.streams: set[Any] = set()
        self.plan = lru_cache(32 if bounded else None)(_Plan)
        self.upload = lru_cache(128 if bounded else None)(_upload)
        self.call = lru_cache(32 if bounded else None)(_Call)


class _Thread(threading.local):
    """What this thread keeps, and what it is about."""

    def __init__(self) -> None:
        self.kept = _Kept(bounded=True)
        self.in_graph = False  # a graph captures the call that is made
        self.writing: _Call | None = None


_THREAD = _Thread()


class GraphMemory:
    """What calls work with that a CUDA graph captures: theirs alone, for as long as this object lives.

        memory, stream = GraphMemory(), cupy.cuda.Stream(non_blocking=True)
        with stream, memory:
            xi.istft(X, out=y)                # once before: compiles, plans, uploads
        with stream:
            stream.begin_capture()
            with memory:
                xi.istft(X, out=y)
            graph = stream.end_capture()
        graph.launch(stream)                  # as long as `memory` is there

    Scratch, and whatever else CuPy allocates within, comes from a pool of its own; plans, windows and gains stay,
    whatever is called elsewhere. Graphs that may be replayed at the same time need one each.

    Raises
    ------
    RuntimeError
        By a call that is captured outside of any GraphMemory, or without the same call before, in the same one and on
        the same stream.
    """

    def __init__(self) -> None:
        self._kept = _Kept(bounded=False)
        self._pool = cupy.cuda.MemoryPool()
        self._outside: list[tuple[_Kept, Any]] = []

    def __enter__(self) -> GraphMemory:
        allocator = cupy.cuda.using_allocator(self._pool.malloc)
        allocator.__enter__()
        self._outside.append((_THREAD.kept, allocator))
        _THREAD.kept = self._kept
        return self

    def __exit__(self, *failure: Any) -> None:
        """Waits for what was queued, unless a graph captured it: what was uploaded is then there for every stream."""
        _THREAD.kept, allocator = self._outside.pop()
        allocator.__exit__(*failure)
        for stream in self._kept.streams:
            stream.synchronize()
        self._kept.streams.clear()


def _captured(stream: Any) -> bool:
    return stream.ptr > 1 and bool(stream.is_capturing())  # 0 and 1 are default streams, which no graph captures


def _check_at_hand(what: str) -> None:
    """RuntimeError where something has to be made while a graph is captured."""
    if _THREAD.in_graph:
        raise RuntimeError(
            f"xp_istft: a CUDA graph captures a call whose {what} not there yet: make the same call once before,"
            " within the same GraphMemory and on the same stream"
        )
