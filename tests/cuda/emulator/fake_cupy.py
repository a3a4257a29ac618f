"""A hostile stand-in for the part of CuPy that a backend uses, on NumPy memory.

Beside kernels and FFT plans it has the functions of the Array API, NumPy's own on the memory of device arrays. It
refuses what CuPy refuses (NumPy arrays where device arrays are due, empty FFT batches) and what CuPy would let pass
to go wrong on a device: scalars of the wrong size, arrays of another device, work on another stream than the one that
filled or allocated an array, plans shared between streams or threads, or by a stream and a later one of the same
address, reads and writes beyond an array. Fresh memory is NaN, and complex-to-real transforms destroy their input.
Graphs are captured, refuse to capture what CUDA cannot, and to be replayed on memory or by plans that are gone.
Everything that is queued, copied or waited for is written down in a `Trace`.

    fake = FakeCupy(engine)                     engine(code, options): an object whose get_function(name) runs a kernel
    with fake.installed(monkeypatch, *users):   `import cupy` gives the fake, array_api_compat takes its arrays for
                                                CuPy's, and the modules `users` are imported afresh
"""

from __future__ import annotations

import operator
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import array_api_compat
import array_api_compat.numpy
import numpy as np

C2C, R2C, C2R, Z2Z, D2Z, Z2D = 0x29, 0x2A, 0x2C, 0x69, 0x6A, 0x6C
_TYPES = {
    R2C: (np.float32, np.complex64),
    C2R: (np.complex64, np.float32),
    C2C: (np.complex64, np.complex64),
    D2Z: (np.float64, np.complex128),
    Z2D: (np.complex128, np.float64),
    Z2Z: (np.complex128, np.complex128),
}


@dataclass
class Launch:
    """One piece of work in a queue: a kernel, a transform ("cufft") or an elementwise copy ("copy")."""

    name: str
    stream: int
    device: int
    grid: tuple[int, ...] = ()
    macros: dict[str, str] = field(default_factory=dict)
    arrays: tuple[int, ...] = ()  # bytes of each array that it reads or writes


@dataclass
class Trace:
    launches: list[Launch] = field(default_factory=list)
    uploads: int = 0  # host to device
    downloads: int = 0  # device to host: the host waits
    waits: int = 0  # the host waits for a device, and gets nothing
    plans: int = 0
    compiled: int = 0
    live_bytes: int = 0
    peak_bytes: int = 0

    @property
    def names(self) -> list[str]:
        return [launch.name for launch in self.launches]


class _Block:
    """Memory of one allocation: where it is, and which stream orders what happens to it (None: it is ready)."""

    def __init__(self, fake: FakeCupy, array: np.ndarray, stream: int | None) -> None:
        self.fake, self.array, self.stream = fake, array, stream
        self.device = fake.current_device()
        self.pool = fake.current_pool()
        fake.trace.live_bytes += array.nbytes
        fake.trace.peak_bytes = max(fake.trace.peak_bytes, fake.trace.live_bytes)

    def __del__(self) -> None:
        self.fake.trace.live_bytes -= self.array.nbytes


class FakeCupy:
    """One fake CuPy, with its own classes, devices and trace."""

    def __init__(self, engine: Callable[[str, tuple[str, ...]], Any], n_devices: int = 2) -> None:
        self.engine, self.n_devices = engine, n_devices
        self.trace = Trace()
        self._local = threading.local()
        self._free: list[int] = []  # addresses of streams that were destroyed
        self._streams = 100
        self.incarnations: dict[int, int] = {}  # how many streams had an address before
        self.ordered: set[tuple[Any, Any]] = set()  # streams that waited for an event of another
        self.captures: dict[int, list[tuple[list[Any], Callable[[], Any]]]] = {}  # by the address of the stream
        self.ndarray = type("ndarray", (_Array,), {"fake": self, "__module__": "cupy"})
        self.modules = self._modules()

    # ---- where work goes ----

    def _state(self) -> Any:
        if not hasattr(self._local, "devices"):
            self._local.devices, self._local.streams, self._local.pools = [0], {}, [None]
        return self._local

    def _stack(self) -> list[Any]:
        return self._state().streams.setdefault(self.current_device(), [self.modules["cupy.cuda"].Stream(null=True)])

    def current_device(self) -> int:
        return self._state().devices[-1]

    def current_stream(self) -> int:
        return self._stack()[-1].ptr

    def current_pool(self) -> Any:
        return self._state().pools[-1]

    @contextmanager
    def device(self, number: int) -> Iterator[None]:
        self._state().devices.append(number)
        try:
            yield
        finally:
            self._state().devices.pop()

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        stack = self._stack()
        stack.append(stream)
        try:
            yield
        finally:
            stack.pop()

    @contextmanager
    def allocator(self, malloc: Any) -> Iterator[None]:
        self._state().pools.append(malloc.__self__)
        try:
            yield
        finally:
            self._state().pools.pop()

    def created(self) -> int:
        """The address of a new stream: that of one that was destroyed, if there is one."""
        if self._free:
            return self._free.pop()
        self._streams += 1
        return self._streams

    def destroyed(self, address: int) -> None:
        self.incarnations[address] = self.incarnations.get(address, 0) + 1
        self._free.append(address)

    def who(self, address: int) -> tuple[int, int]:
        """A stream, told from those of the same address before."""
        return address, self.incarnations.get(address, 0)

    # ---- graphs ----

    def submit(self, arrays: tuple[Any, ...], work: Callable[[], Any]) -> None:
        """Does the work, or writes it down where a graph captures the stream."""
        capture = self.captures.get(self.current_stream())
        if capture is None:
            work()
        else:
            capture.append(([_hold(array.block) for array in arrays], work))

    def cannot_be_captured(self, what: str) -> None:
        if self.current_stream() in self.captures:
            raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")

    # ---- arrays ----

    def on_device(self, host: np.ndarray) -> Any:
        """A device array of the caller's, ready on every stream; it keeps the layout (and the memory) of `host`."""
        root = host
        while isinstance(root.base, np.ndarray):
            root = root.base
        return self.ndarray.of(_Block(self, root, None), host)

    def fresh(self, array: np.ndarray) -> Any:
        return self.ndarray.of(_Block(self, array, self.current_stream()), array)

    def from_dlpack(self, array: Any) -> Any:
        """Memory of another library, which is asked to order it for the current stream, as CuPy asks."""
        per_thread = os.environ.get("CUPY_CUDA_PER_THREAD_DEFAULT_STREAM", "0") != "0"
        if (self.current_stream() or (2 if per_thread else 1)) == 2:
            raise BufferError("per-thread default stream is not supported")  # as torch says
        return self.on_device(np.from_dlpack(array))

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        array = np.empty(shape, dtype)
        if array.size:
            array.reshape(-1).view(np.uint8)[...] = 0xFF  # NaN
        return self.fresh(array)

    def asarray(self, array: Any, dtype: Any = None, *, device: Any = None, copy: bool | None = None) -> Any:
        if isinstance(array, self.ndarray):
            return array if dtype in (None, array.dtype) and not copy else array.astype(dtype or array.dtype)
        self.cannot_be_captured("a copy from memory of the host")
        self.trace.uploads += 1
        with device or nullcontext():
            return self.fresh(np.array(array, dtype))

    def computed(self, name: str, function: Callable[..., Any], arguments: Any, options: dict[str, Any]) -> Any:
        """What a function of NumPy makes of device arrays: views of them, or arrays of the current stream."""
        given: list[Any] = []

        def host(value: Any) -> Any:
            if isinstance(value, self.ndarray):
                given.append(value)
                return value.host
            if isinstance(value, np.ndarray):
                raise TypeError(f"Unsupported type {type(value)}")
            return type(value)(map(host, value)) if isinstance(value, (tuple, list)) else value

        def on_device(value: Any) -> Any:
            if isinstance(value, (tuple, list)):
                return [on_device(each) for each in value]
            if not isinstance(value, (np.ndarray, np.generic)) or (isinstance(value, np.generic) and not given):
                return value
            value = np.asarray(value)
            for each in given:
                if value.size and np.shares_memory(value, each.host):
                    return each._view(value)
            made = self.fresh(value)
            self.queue(name, (*given, made))
            return made

        with options.pop("device", None) or nullcontext(), np.errstate(all="ignore"):  # a device says nothing
            plain, named = [host(each) for each in arguments], {key: host(each) for key, each in options.items()}
            return on_device(function(*plain, **named))

    def ascontiguousarray(self, array: Any) -> Any:
        return array if array.flags.c_contiguous else array.copy()

    def may_share_memory(self, a: Any, b: Any, max_work: Any = None) -> bool:
        return np.may_share_memory(a.host, b.host)

    def queue(self, name: str, arrays: tuple[Any, ...], **details: Any) -> None:
        """Writes down work on these arrays, and refuses what no stream would order."""
        device, stream = self.current_device(), self.current_stream()
        for array in arrays:
            block = array.block
            if block.device != device:
                raise RuntimeError(f"{name} on device {device} with an array of device {block.device}")
            if block.stream not in (None, stream):
                raise RuntimeError(f"{name} on stream {stream} with an array that belongs to stream {block.stream}")
        sizes = tuple(array.nbytes for array in arrays)
        self.trace.launches.append(Launch(name, stream, device, arrays=sizes, **details))

    # ---- what `import cupy` gives ----

    @contextmanager
    def installed(self, monkeypatch: Any, *users: str) -> Iterator[None]:
        with monkeypatch.context() as patch:
            for name, module in self.modules.items():
                patch.setitem(sys.modules, name, module)
            patch.setattr(array_api_compat, "cupy", self.modules["array_api_compat.cupy"], raising=False)
            before = {name: sys.modules.pop(name, None) for name in users}
            try:
                yield
            finally:
                for name, module in before.items():
                    sys.modules.pop(name, None)
                    if module is not None:
                        sys.modules[name] = module

    def _modules(self) -> dict[str, ModuleType]:
        cupy, cuda, cufft = ModuleType("cupy"), ModuleType("cupy.cuda"), ModuleType("cupy.cuda.cufft")
        compat = _Functions(self, array_api_compat.numpy, "array_api_compat.cupy")
        cupy.__dict__.update(
            ndarray=self.ndarray,
            empty=self.empty,
            from_dlpack=self.from_dlpack,
            asarray=self.asarray,
            ascontiguousarray=self.ascontiguousarray,
            may_share_memory=self.may_share_memory,
            RawModule=lambda *, code, options=(): _RawModule(self, code, options),
            cuda=cuda,
        )
        cuda.__dict__.update(
            Device=lambda device=None: _Device(self, self.current_device() if device is None else device),
            Stream=type("Stream", (_Stream,), {"fake": self}),
            ExternalStream=type("ExternalStream", (_ExternalStream,), {"fake": self}),
            Event=lambda block=False, disable_timing=False: _Event(self),
            get_current_stream=lambda device_id=-1: self._stack()[-1],
            MemoryPool=_MemoryPool,
            using_allocator=self.allocator,
            is_available=lambda: True,
            cufft=cufft,
        )
        cufft.__dict__.update(
            Plan1d=lambda nx, fft_type, batch: _Plan1d(self, nx, fft_type, batch),
            CUFFT_FORWARD=-1, CUFFT_INVERSE=1,
            CUFFT_C2C=C2C, CUFFT_R2C=R2C, CUFFT_C2R=C2R, CUFFT_Z2Z=Z2Z, CUFFT_D2Z=D2Z, CUFFT_Z2D=Z2D,
        )  # fmt: skip
        compat.__dict__.update(asarray=self.asarray, astype=lambda array, dtype, copy=True: array.astype(dtype, copy))
        return {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.cufft": cufft, "array_api_compat.cupy": compat}


class _Functions(ModuleType):
    """NumPy's functions on device arrays."""

    def __init__(self, fake: FakeCupy, numpys: Any, name: str) -> None:
        super().__init__(name)
        self._fake, self._numpys = fake, numpys

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._numpys, name)
        if isinstance(found, ModuleType):
            return _Functions(self._fake, found, name)
        if isinstance(found, type) or not callable(found):
            return found
        return lambda *arguments, **options: self._fake.computed(name, found, arguments, options)


def _operator(name: str, turned: bool = False) -> Any:
    function = getattr(operator, f"__{name}__")

    def method(*arguments: Any) -> Any:
        return arguments[0].fake.computed(name, function, arguments[::-1] if turned else arguments, {})

    return method


class _Array:
    """A device array: NumPy memory that NumPy is refused."""

    fake: FakeCupy
    __array_ufunc__ = None

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None) -> None:
        root = memptr.block.array
        bytes_of = np.lib.stride_tricks.as_strided(root, (root.size,), (root.itemsize,)).view(np.uint8)
        self.block = memptr.block
        self.host = np.ndarray(shape, dtype, bytes_of, memptr.ptr - root.ctypes.data, strides)

    @classmethod
    def of(cls, block: _Block, host: np.ndarray) -> Any:
        array = object.__new__(cls)
        array.block, array.host = block, host
        return array

    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    dtype = property(lambda self: self.host.dtype)
    size = property(lambda self: self.host.size)
    strides = property(lambda self: self.host.strides)
    itemsize = property(lambda self: self.host.itemsize)
    nbytes = property(lambda self: self.host.nbytes)
    flags = property(lambda self: self.host.flags)
    data = property(lambda self: _Pointer(self.block, self.host.ctypes.data))
    device = property(lambda self: _Device(self.fake, self.block.device))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def get(self) -> np.ndarray:
        self.fake.trace.downloads += 1
        return self.host.copy()

    def item(self) -> Any:
        self.fake.trace.downloads += 1
        return self.host.item()

    def __dlpack__(self, **options: Any) -> Any:
        return self.host.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.host.__dlpack_device__()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __len__(self) -> int:
        return len(self.host)

    def reshape(self, *shape: Any) -> Any:
        changed = self.host.reshape(*shape)
        return (
            self._view(changed) if np.shares_memory(changed, self.host) or not changed.size else self._copied(changed)
        )

    def swapaxes(self, first: int, second: int) -> Any:
        return self._view(self.host.swapaxes(first, second))

    @property
    def real(self) -> Any:
        return self._view(self.host.real)

    @property
    def imag(self) -> Any:
        return self._view(self.host.imag)

    for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
        locals()[f"__{_name}__"], locals()[f"__r{_name}__"] = _operator(_name), _operator(_name, turned=True)
    for _name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"):
        locals()[f"__{_name}__"] = _operator(_name)
    del _name
    __hash__ = None

    def view(self, dtype: Any) -> Any:
        return self._view(self.host.view(dtype))

    def copy(self) -> Any:
        return self._copied(self.host.copy())

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        return self if not copy and dtype == self.dtype else self._copied(self.host.astype(dtype))

    def __getitem__(self, key: Any) -> Any:
        return self._view(self.host[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray):
            raise TypeError("a NumPy array where a CuPy array is due")
        arrays = (self, value) if isinstance(value, _Array) else (self,)
        self.fake.queue("copy", arrays)
        target, source = self.host[key], value.host if isinstance(value, _Array) else value
        self.fake.submit(arrays, lambda: np.copyto(target, source))

    def _view(self, host: np.ndarray) -> Any:
        return type(self).of(self.block, host)

    def _copied(self, host: np.ndarray) -> Any:
        made = self.fake.fresh(host)
        self.fake.queue("copy", (self, made))
        return made

    def memory(self) -> np.ndarray:
        """All memory from the array's first element to the end of its allocation, as a kernel sees it."""
        root = self.block.array
        flat = np.lib.stride_tricks.as_strided(root, (root.size,), (root.itemsize,)).view(np.uint8)
        first = self.host.ctypes.data - flat.ctypes.data
        whole = (flat.size - first) // self.itemsize * self.itemsize
        return flat[first : first + whole].view(self.dtype)


class _RawModule:
    def __init__(self, fake: FakeCupy, code: str, options: tuple[str, ...]) -> None:
        fake.cannot_be_captured("loading a module")
        self.fake, self.options = fake, options
        self.module = fake.engine(code, options)
        self.device = fake.current_device()
        fake.trace.compiled += 1

    def get_function(self, name: str) -> Callable[..., None]:
        kernel = self.module.get_function(name)
        macros = dict(option[2:].split("=") for option in self.options if option.startswith("-D"))

        def launch(grid: tuple, block: tuple, arguments: tuple, *, shared_mem: int = 0) -> None:
            for argument in arguments:
                if isinstance(argument, np.ndarray) and argument.ndim:
                    raise TypeError("You are trying to pass a numpy.ndarray of shape as a kernel parameter.")
            arrays = tuple(argument for argument in arguments if isinstance(argument, _Array))
            self.fake.queue(name, arrays, grid=(*grid, *block), macros=macros)
            if self.device != self.fake.current_device():
                raise RuntimeError(f"{name} was loaded for device {self.device}")
            plain = tuple(argument.memory() if isinstance(argument, _Array) else argument for argument in arguments)
            self.fake.submit(arrays, lambda: kernel(grid, block, plain, shared_mem=shared_mem))

        launch.num_regs, launch.shared_size_bytes = 120, 40 << 10
        return launch


class _Plan1d:
    """cufftMakePlan1d: `batch` rows side by side; not normalised; complex-to-real destroys its input."""

    def __init__(self, fake: FakeCupy, nx: int, fft_type: int, batch: int) -> None:
        if not 0 < batch < 2**31 or not 0 < nx < 2**31:
            raise RuntimeError("CUFFT_INVALID_SIZE")
        self.fake, self.nx, self.fft_type, self.batch = fake, nx, fft_type, batch
        fake.cannot_be_captured("the memory of a plan")
        self.place = (fake.current_device(), threading.get_ident(), fake.current_stream())
        self.user = fake.who(fake.current_stream())
        fake.trace.plans += 1

    def fft(self, a: Any, out: Any, direction: int) -> None:
        fake, half = self.fake, self.nx // 2 + 1
        if self.place != (fake.current_device(), threading.get_ident(), fake.current_stream()):
            raise RuntimeError("a plan, and so its work area, is used in two streams or threads")
        user = fake.who(fake.current_stream())
        if user != self.user and (self.user, user) not in fake.ordered:
            raise RuntimeError("a plan, and so its work area, is used by a stream and a later one of its address")
        self.user = user
        types = _TYPES[self.fft_type]
        if (a.dtype.type, out.dtype.type) != types:
            raise RuntimeError(f"CUFFT_INVALID_TYPE: {a.dtype} to {out.dtype}")
        if any(array.data.ptr % np.dtype(max(types, key=lambda kind: kind().itemsize)).itemsize for array in (a, out)):
            raise RuntimeError("cuFFT wants memory aligned to a complex element")
        real = [np.dtype(kind).kind == "f" for kind in types]
        widths = [half if any(real) and not is_real else self.nx for is_real in real]
        x, y = (array.memory()[: self.batch * width] for array, width in zip((a, out), widths, strict=True))
        if x.size < self.batch * widths[0] or y.size < self.batch * widths[1]:
            raise RuntimeError("cuFFT reads or writes beyond an array")
        fake.queue("cufft", (a, out))
        gone = weakref.ref(self)

        def work() -> None:
            plan = gone()
            if plan is None:
                raise RuntimeError("a graph was replayed whose plan was destroyed")
            plan._transform(x, y, widths, direction)

        fake.submit((a, out), work)

    def _transform(self, x: np.ndarray, y: np.ndarray, widths: list[int], direction: int) -> None:
        half = self.nx // 2 + 1
        rows = x.reshape(self.batch, widths[0]).astype(np.complex128 if widths[0] == half else x.dtype)
        if self.fft_type in (C2R, Z2D):
            if direction != 1:
                raise RuntimeError("complex-to-real transforms are inverse")
            made = self._to_real(rows)
            x[...] = np.nan
        elif self.fft_type in (R2C, D2Z):
            made = np.fft.rfft(rows.astype(np.float64), axis=1)
        else:
            made = np.fft.ifft(rows, axis=1) * self.nx if direction == 1 else np.fft.fft(rows, axis=1)
        y.reshape(self.batch, widths[1])[...] = made

    def _to_real(self, rows: np.ndarray) -> np.ndarray:
        """cuFFT does not promise to ignore the imaginary parts of DC and Nyquist: here they spoil the whole frame."""
        ends = rows[:, [0, -1] if self.nx % 2 == 0 else [0]]
        spoilt = (ends.imag != 0).any(axis=1)
        made = np.fft.irfft(rows, self.nx, axis=1) * self.nx
        made[spoilt] = np.nan
        return made


class _Device:
    def __init__(self, fake: FakeCupy, number: int) -> None:
        if not 0 <= number < fake.n_devices:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._fake, self.id = fake, number
        self.attributes = {
            "MultiProcessorCount": 2,
            "MaxRegistersPerMultiprocessor": 1 << 16,
            "MaxSharedMemoryPerMultiprocessor": 100 << 10,
        }
        self._contexts: list[Any] = []

    def __enter__(self) -> _Device:
        self._contexts.append(self._fake.device(self.id))
        self._contexts[-1].__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._contexts.pop().__exit__(*details)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class _Pointer:
    def __init__(self, block: _Block, address: int) -> None:
        self.block, self.ptr = block, address

    def __add__(self, offset: int) -> _Pointer:
        return _Pointer(self.block, self.ptr + offset)


class _MemoryPool:
    """What is freed stays the pool's, as long as that is there."""

    def malloc(self, size: int) -> Any:
        raise NotImplementedError("the fake allocates by itself")


def _hold(block: _Block) -> Callable[[], bool]:
    """Whether the memory is still there for who has its address alone."""
    held = weakref.ref(block)
    pool = None if block.pool is None else weakref.ref(block.pool)
    return lambda: held() is not None or (pool is not None and pool() is not None)


class _Graph:
    def __init__(self, fake: FakeCupy, works: list[tuple[list[Any], Callable[[], Any]]]) -> None:
        self._fake, self._works = fake, works

    def launch(self, stream: Any = None) -> None:
        for there, work in self._works:
            if not all(each() for each in there):
                raise RuntimeError("a graph was replayed on memory that was freed")
            work()


class _Event:
    def __init__(self, fake: FakeCupy) -> None:
        self.fake, self.user = fake, None

    def record(self, stream: Any) -> None:
        self.fake.cannot_be_captured("an event that is waited for outside")
        self.user = self.fake.who(stream.ptr)


class _Stream:
    fake: FakeCupy
    _foreign_stream_ref: Any = None

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.ptr = 0 if null else self.fake.created()
        self._contexts: list[Any] = []

    def __del__(self) -> None:
        if self.ptr > 2 and self._foreign_stream_ref is None:
            self.fake.destroyed(self.ptr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Stream) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return self.ptr

    @classmethod
    def from_external(cls, obj: Any) -> Any:
        version, pointer = obj.__cuda_stream__()
        if version != 0:
            raise ValueError("unknown version of the CUDA stream protocol")
        stream = cls.__new__(cls)
        stream.ptr, stream._contexts, stream._foreign_stream_ref = pointer, [], obj
        return stream

    def __enter__(self) -> Any:
        self._contexts.append(self.fake.stream(self))
        self._contexts[-1].__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._contexts.pop().__exit__(*details)

    def synchronize(self) -> None:
        if self.fake.captures:  # of this stream or, as torch captures, of any
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: waiting for a stream")
        self.fake.trace.waits += 1

    def wait_event(self, event: Any) -> None:
        if event.user is not None:
            self.fake.cannot_be_captured("waiting for an event of outside")
            self.fake.ordered.add((event.user, self.fake.who(self.ptr)))

    def begin_capture(self, mode: Any = None) -> None:
        if self.ptr < 2:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.fake.captures[self.ptr] = []

    def end_capture(self) -> _Graph:
        return _Graph(self.fake, self.fake.captures.pop(self.ptr))

    def is_capturing(self) -> bool:
        return self.ptr in self.fake.captures


class _ExternalStream(_Stream):
    """A stream of which the address alone is known."""

    def __init__(self, ptr: int, device_id: int = -1) -> None:
        self.ptr, self._contexts = ptr, []

    def __del__(self) -> None:
        """Whoever made the stream destroys it."""
