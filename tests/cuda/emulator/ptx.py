"""A PTX interpreter: runs what NVRTC really emits, without a GPU, and checks every access.

    PtxModule(text).get_function(name)(grid, block, arguments)      as cupy.RawKernel; NumPy arrays are device arrays

All threads of a block run as NumPy vectors, the lowest program counter first, so that threads that parted meet again;
blocks run one after another. A run stops with `SimulationError` on

- an access outside every array, or a misaligned one (of vectors, too),
- a read of shared or global memory that nothing wrote (NaN in an array counts as not written),
- a race in shared memory between two barriers; two blocks, or two threads at once, that write one word,
- a barrier that some threads of the block miss,
- an argument whose size is not the parameter's,
- an instruction that is not modelled.

With `kernel.count = True` it counts per warp: instructions, 32-byte sectors of global memory, and wavefronts of shared
memory (1 where no banks conflict). Not modelled: machine code (ptxas), time, warp shuffles, atomics, dynamic shared
memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

_SIZES = {"8": 1, "16": 2, "32": 4, "64": 8}
_TYPES: dict[str, type] = {"pred": np.bool_, "f32": np.float32, "f64": np.float64}
for _bits in _SIZES:
    _TYPES[f"s{_bits}"] = getattr(np, f"int{_bits}")
    _TYPES[f"u{_bits}"] = _TYPES[f"b{_bits}"] = getattr(np, f"uint{_bits}")
_REGISTER_TYPES = {name: _TYPES[name.replace("s", "u") if name[0] == "s" else name] for name in _TYPES}
_TWICE = {np.int16: np.int32, np.uint16: np.uint32, np.int32: np.int64, np.uint32: np.uint64}
_COMPARISONS = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
_GLOBAL_BASE = 0x7F00_0000_0000  # where the first array lies
_GAP = 4096  # bytes between arrays: an access that leaves its array hits none


class SimulationError(Exception):
    """What a real device would do here is wrong, unknown, or not modelled."""


class Instruction(NamedTuple):
    predicate: str | None
    negated: bool
    op: list[str]
    operands: list[str]
    text: str
    line: int  # of the source, with -lineinfo


class Sites(NamedTuple):
    """What accesses of one instruction cost, and the least that they could."""

    cost: int
    ideal: int


_NOTHING = Sites(0, 0)


@dataclass
class Counts:
    """Of all blocks run so far; instructions are counted per warp."""

    instructions: int = 0
    loaded_sectors: Sites = _NOTHING
    stored_sectors: Sites = _NOTHING
    shared_wavefronts: Sites = _NOTHING
    touched: dict[tuple[int, bool], set[int]] = field(default_factory=lambda: defaultdict(set))

    def distinct_bytes(self, array: int, stored: bool = False) -> int:
        """Bytes of the different sectors of argument `array` that were touched: the least that memory must move."""
        return 32 * len(self.touched[array, stored])


@dataclass
class _Allocation:
    """A NumPy array at an address, which bytes of it were written, and which block last wrote each word."""

    argument: int
    base: int
    data: np.ndarray
    written: np.ndarray
    writer: np.ndarray


class PtxModule:
    def __init__(self, text: str) -> None:
        text = re.sub(r"//[^\n]*", "", text.rstrip("\0"))
        found = re.finditer(r"\.entry\s+(\w+)\s*\((.*?)\)(.*?)\{(.*?)\n\}", text, re.S)
        self._kernels = {match[1]: PtxKernel(match[1], match[2], match[4]) for match in found}

    def get_function(self, name: str) -> PtxKernel:
        return self._kernels[name]


class PtxKernel:
    """One entry of a module. `only_blocks`: run these (x, y, z) alone."""

    def __init__(self, name: str, parameters: str, body: str) -> None:
        self.name = name
        pattern = r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\s+[^%]*?\s)?(\w+)\s*(?:,|$)"
        self.parameters: list[tuple[str, str]] = re.findall(pattern, parameters.strip(), re.M)
        self.register_types: dict[str, type] = {}
        self.shared: dict[str, int] = {}
        self.shared_bytes = 0
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self._parse(body)
        self.leaders = self._leaders()
        self.count = False
        self.counts = Counts()
        self.only_blocks: set[tuple[int, int, int]] | None = None

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _parse(self, body: str) -> None:
        line = 0
        body = re.sub(r"\{([^{}\n;]*)\}", r"<\1>", body)  # vectors of registers
        for statement in map(str.strip, re.split(r"[;\n]", body)):
            while match := re.match(r"(\$?\w+):\s*", statement):
                self.labels[match[1]] = len(self.code)
                statement = statement[match.end() :]
            if not statement or statement in "{}":
                continue
            if match := re.match(r"\.reg\s+\.(\w+)\s+(%\w+?)<(\d+)>", statement):
                self.register_types[match[2]] = _REGISTER_TYPES[match[1]]
            elif match := re.match(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[(\d+)\]", statement):
                align = int(match[1])
                self.shared[match[2]] = -(-self.shared_bytes // align) * align
                self.shared_bytes = self.shared[match[2]] + int(match[3])
            elif match := re.match(r"\.loc\s+\d+\s+(\d+)", statement):
                line = int(match[1])
            elif statement.startswith("."):
                if not statement.startswith((".pragma", ".maxntid", ".minnctapersm")):
                    raise SimulationError(f"not modelled: {statement}")
            else:
                match = re.match(r"(?:@(!?)(%\w+)\s+)?([\w.:]+)\s*(.*)", statement)
                assert match is not None
                operands = re.split(r",(?![^<\[]*[>\]])", match[4]) if match[4] else []
                operands = [operand.strip() for operand in operands]
                self.code.append(Instruction(match[2], match[1] == "!", match[3].split("."), operands, statement, line))

    def _leaders(self) -> set[int]:
        """Instructions where threads may meet or part."""
        leaders = set(self.labels.values())
        for at, instruction in enumerate(self.code):
            if instruction.op[0] in ("bra", "ret", "exit", "bar", "barrier"):
                leaders.add(at + 1)
            if instruction.op[0] in ("bar", "barrier"):
                leaders.add(at)
        return leaders

    # ---- running -----------------------------------------------------------------------------------------------------

    def __call__(self, grid: tuple, block: tuple, arguments: tuple, *, shared_mem: int = 0) -> None:
        grid = tuple(max(1, int(size)) for size in (*grid, 1, 1)[:3])  # as CuPy: an empty grid still launches
        block = (*block, 1, 1)[:3]
        if len(arguments) != len(self.parameters):
            raise SimulationError(f"{self.name}: {len(arguments)} arguments for {len(self.parameters)} parameters")
        allocations, values = self._bound(arguments)
        block_id = 0
        with np.errstate(all="ignore"):
            for z in range(grid[2]):
                for y in range(grid[1]):
                    for x in range(grid[0]):
                        block_id += 1
                        if self.only_blocks is None or (x, y, z) in self.only_blocks:
                            _Block(self, grid, block, (x, y, z), block_id, allocations, values).run()

    def _bound(self, arguments: tuple) -> tuple[list[_Allocation], dict[str, np.ndarray]]:
        """Arrays at addresses, and the bytes of every parameter."""
        allocations: list[_Allocation] = []
        values: dict[str, np.ndarray] = {}
        bases: dict[int, int] = {}
        base = _GLOBAL_BASE
        for place, (argument, (kind, name)) in enumerate(zip(arguments, self.parameters, strict=True)):
            if isinstance(argument, np.ndarray) and argument.ndim:
                root = argument  # the whole allocation, of which the argument points at a place
                while isinstance(root.base, np.ndarray):
                    root = root.base
                if not root.flags.c_contiguous:
                    raise SimulationError("arrays must be contiguous")
                if root.ctypes.data not in bases:
                    bases[root.ctypes.data] = base
                    allocations.append(_allocation(place, base, root))
                    base += -(-root.nbytes // 512) * 512 + _GAP
                value = np.array(bases[root.ctypes.data] + argument.ctypes.data - root.ctypes.data, np.uint64)
            else:
                value = np.array(argument, np.int64 if type(argument) is int else None)
            size = np.dtype(_TYPES[kind]).itemsize
            if value.dtype.itemsize != size:
                got = f"{argument!r}, which packs to {value.dtype.itemsize}"
                raise SimulationError(f"{self.name}: parameter {name} has {size} bytes, but got {got}")
            values[name] = value.reshape(1).view(np.uint8)
        return allocations, values


def _allocation(place: int, base: int, array: np.ndarray) -> _Allocation:
    data = array.reshape(-1).view(np.uint8)
    written = np.ones(array.nbytes, bool)
    if array.dtype.kind in "fc":
        numbers = array.reshape(-1).view(array.real.dtype)
        written = np.repeat(~np.isnan(numbers), numbers.itemsize)
    return _Allocation(place, base, data, written, np.full(-(-array.nbytes // 4), -1, np.int64))


class _Block:
    """One block of threads: registers, program counters, shared memory."""

    def __init__(
        self,
        kernel: PtxKernel,
        grid: tuple,
        block: tuple,
        index: tuple[int, int, int],
        block_id: int,
        allocations: list[_Allocation],
        parameters: dict[str, np.ndarray],
    ) -> None:
        self.kernel, self.block_id = kernel, block_id
        self.allocations, self.parameters = allocations, parameters
        self.n_threads = n = block[0] * block[1] * block[2]
        self.everyone = np.arange(n)
        thread = np.arange(n, dtype=np.uint32)
        self.special = {
            "%tid.x": thread % block[0],
            "%tid.y": thread // block[0] % block[1],
            "%tid.z": thread // (block[0] * block[1]),
            "%laneid": thread % 32,
            "%warpid": thread // 32,
        }
        for axis, name in enumerate("xyz"):
            for register, value in (("ntid", block[axis]), ("nctaid", grid[axis]), ("ctaid", index[axis])):
                self.special[f"%{register}.{name}"] = np.full(n, value, np.uint32)
        self.registers: dict[str, np.ndarray] = {}
        self.counter = np.zeros(n, np.int64)
        self.alive, self.waiting = np.ones(n, bool), np.zeros(n, bool)
        self.shared = np.zeros(kernel.shared_bytes, np.uint8)
        self.shared_written = np.zeros(kernel.shared_bytes, bool)
        words = kernel.shared_bytes // 4 + 1
        self.interval = 0  # between barriers
        self.write_interval, self.read_interval = np.full(words, -1, np.int64), np.full(words, -1, np.int64)
        self.write_thread, self.read_thread = np.zeros(words, np.int64), np.zeros(words, np.int64)

    def run(self) -> None:
        while self.alive.any():
            ready = self.alive & ~self.waiting
            if ready.any():
                at = int(self.counter[ready].min())
                together = ready & (self.counter == at)
                self._run_straight(at, self.everyone if together.all() else np.flatnonzero(together))
                continue
            if len(set(self.counter[self.waiting].tolist())) > 1:
                raise SimulationError(f"{self.kernel.name}: threads wait at different barriers")
            self.waiting[:] = False
            self.interval += 1

    def _run_straight(self, at: int, threads: np.ndarray) -> None:
        """From instruction `at` to the next place where threads may meet or part."""
        kernel, first = self.kernel, at
        while True:
            if at >= len(kernel.code):
                self.alive[threads] = False
                return
            if at != first and at in kernel.leaders:
                self.counter[threads] = at
                return
            instruction = kernel.code[at]
            op = instruction.op
            if kernel.count:
                self._count_instruction(instruction, threads)
            chosen = np.ones(threads.size, bool)
            if instruction.predicate is not None:
                chosen = self._get(instruction.predicate, np.bool_, threads) ^ instruction.negated
            if op[0] == "bra":
                self.counter[threads] = np.where(chosen, kernel.labels[instruction.operands[0]], at + 1)
                return
            active = threads if chosen.all() else threads[chosen]
            if op[0] in ("ret", "exit"):
                self.counter[threads] = at + 1
                self.alive[active] = False
                return
            if op[0] in ("bar", "barrier"):
                self.counter[threads] = at + 1
                self.waiting[active] = True
                if not self.alive.all():
                    raise SimulationError(f"{kernel.name}: a barrier after some threads of the block returned")
                return
            if active.size:
                try:
                    self._execute(instruction, active)
                except SimulationError as cause:
                    where = f"line {instruction.line}: " if instruction.line else ""
                    text = f"{kernel.name}, block {self.block_id}: {cause}\n    {where}{instruction.text}"
                    raise SimulationError(text) from None
            at += 1

    # ---- registers ---------------------------------------------------------------------------------------------------

    def _get(self, operand: str, kind: type, threads: np.ndarray) -> np.ndarray:
        """Value of an operand as `kind`: one for each thread, or a single one for constants."""
        dtype = np.dtype(kind)
        if operand[0] == "%":
            held = self.special.get(operand, self.registers.get(operand))
            if held is None:
                raise SimulationError(f"register {operand} read before it was written")
            value = held[threads]
            if value.dtype == dtype:
                return value
            if value.dtype.itemsize == dtype.itemsize:
                return value.view(dtype)
            if "f" in (value.dtype.kind, dtype.kind):
                raise SimulationError(f"{operand} has {value.dtype.itemsize} bytes, the instruction {dtype.itemsize}")
            return value.astype(f"u{dtype.itemsize}").view(dtype)
        if operand in self.kernel.shared:
            return np.array(self.kernel.shared[operand], kind)
        if operand[:2] in ("0f", "0d"):
            value = np.array(int(operand[2:], 16), np.uint32 if operand[1] == "f" else np.uint64)
            return value if dtype.kind == "u" else value.view(np.float32 if operand[1] == "f" else np.float64)
        bits = int(operand.rstrip("U"), 0) & ((1 << (8 * dtype.itemsize)) - 1)
        return np.array(bits, f"u{dtype.itemsize}").view(dtype) if kind is not np.bool_ else np.array(bool(bits))

    def _put(self, register: str, value: np.ndarray, threads: np.ndarray) -> None:
        if register == "_":
            return
        match = re.match(r"%[a-z]+", register)
        assert match is not None
        dtype = np.dtype(self.kernel.register_types[match[0]])
        value = np.broadcast_to(value, threads.shape)
        if value.dtype != dtype:
            value = np.ascontiguousarray(value)
            if value.dtype.itemsize == dtype.itemsize:
                value = value.view(dtype)
            elif value.dtype.kind == "i":
                value = value.astype(f"i{dtype.itemsize}").view(dtype)
            else:
                value = value.astype(dtype)
        if register not in self.registers:
            self.registers[register] = np.zeros(self.n_threads, dtype)
        self.registers[register][threads] = value

    # ---- memory ------------------------------------------------------------------------------------------------------

    def _address(self, operand: str, threads: np.ndarray) -> np.ndarray:
        match = re.match(r"\[\s*([%\w.$]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        assert match is not None, operand
        offset = int(match[2], 0) if match[2] else 0
        if match[1][0] != "%":
            return np.full(threads.shape, self.kernel.shared[match[1]] + offset, np.int64)
        held = self._get(match[1], self.registers[match[1]].dtype.type, threads)
        if held.dtype == np.uint32:
            held = held.view(np.int32)  # addresses in shared memory wrap at 32 bits
        return held.astype(np.int64) + offset

    def _move(self, instruction: Instruction, threads: np.ndarray) -> None:
        """A load or a store."""
        op, operands = instruction.op, instruction.operands
        store = op[0] == "st"
        spaces = ("param", "global", "shared", "local", "const")
        space = next((part for part in op if part in spaces), "global")  # generic: no array lies elsewhere
        dtype = np.dtype(_TYPES[op[-1]])
        vector = next((int(part[1]) for part in op if re.fullmatch(r"v[248]", part)), 1)
        memory, register = operands if store else reversed(operands)
        registers = [name.strip() for name in register.strip("<>").split(",")]
        size = dtype.itemsize * vector
        if space == "param":
            self._load_parameter(memory, registers, dtype, threads)
            return
        address = self._address(memory, threads)
        if (address % size).any():
            raise SimulationError(f"misaligned access of {size} bytes in {space} memory")
        if space == "shared":
            if (address < 0).any() or (address + size > self.kernel.shared_bytes).any():
                raise SimulationError("access beyond shared memory")
            self._check_race(address, size, threads, store)
            data, written, offset = self.shared, self.shared_written, address
        elif space == "global":
            allocation = self._allocation_of(address, size, threads)
            offset = address - allocation.base
            data, written = allocation.data, allocation.written
            if store:
                self._check_writers(allocation, offset, size)
            if self.kernel.count:
                sectors = np.unique(np.concatenate([offset // 32, (offset + size - 1) // 32]))
                self.kernel.counts.touched[allocation.argument, store].update(sectors.tolist())
        else:
            raise SimulationError(f"not modelled: {space} memory")
        if self.kernel.count:
            self._count_access(instruction, space, store, address, size, threads)
        numbers = data[: data.size // dtype.itemsize * dtype.itemsize].view(dtype)
        for place, name in enumerate(registers):
            first = offset + place * dtype.itemsize
            if store:
                numbers[first // dtype.itemsize] = self._get(name, dtype.type, threads)
                for byte in range(dtype.itemsize):
                    written[first + byte] = True
            else:
                if not written[first].all():
                    thread = threads[~written[first]][0]
                    raise SimulationError(f"{space} read of memory that nothing wrote, by thread {thread}")
                self._put(name, numbers[first // dtype.itemsize], threads)

    def _load_parameter(self, memory: str, registers: list[str], dtype: np.dtype, threads: np.ndarray) -> None:
        match = re.match(r"\[(\w+)(?:\+(\d+))?\]", memory)
        assert match is not None, memory
        value, offset = self.parameters[match[1]], int(match[2] or 0)
        for place, name in enumerate(registers):
            first = offset + place * dtype.itemsize
            self._put(name, value[first : first + dtype.itemsize].view(dtype)[0], threads)

    def _allocation_of(self, address: np.ndarray, size: int, threads: np.ndarray) -> _Allocation:
        for allocation in self.allocations:
            end = allocation.base + allocation.data.size
            if allocation.base - _GAP // 2 <= address[0] < end + _GAP // 2:
                outside = (address < allocation.base) | (address + size > end)
                if outside.any():
                    at = int(address[outside][0]) - allocation.base
                    text = f"access at byte {at} of argument {allocation.argument}, which has {allocation.data.size}"
                    raise SimulationError(f"{text}, by thread {threads[outside][0]}")
                return allocation
        raise SimulationError(f"access at {int(address[0]):#x}, where no array is")

    def _check_writers(self, allocation: _Allocation, offset: np.ndarray, size: int) -> None:
        words = np.unique(np.concatenate([(offset + byte) // 4 for byte in range(0, size, 4)]))
        others = (allocation.writer[words] >= 0) & (allocation.writer[words] != self.block_id)
        if others.any():
            blocks = f"blocks {int(allocation.writer[words][others][0])} and {self.block_id}"
            raise SimulationError(f"{blocks} both write word {int(words[others][0])} of argument {allocation.argument}")
        allocation.writer[words] = self.block_id
        if len(np.unique(offset)) < offset.size:
            raise SimulationError("two threads write one address in one instruction")

    def _check_race(self, address: np.ndarray, size: int, threads: np.ndarray, store: bool) -> None:
        """Two threads, one word of shared memory, no barrier between them, and at least one of them writes."""
        for byte in range(0, size, 4):
            word = (address + byte) // 4
            clash = (self.write_interval[word] == self.interval) & (self.write_thread[word] != threads)
            if store:
                clash |= (self.read_interval[word] == self.interval) & (self.read_thread[word] != threads)
            if clash.any():
                at = int(address[clash][0]) + byte
                raise SimulationError(
                    f"race in shared memory at byte {at}: thread {int(threads[clash][0])} and another"
                )
            if store:
                if len(np.unique(word)) < word.size:
                    raise SimulationError("two threads write one shared word in one instruction")
                self.write_interval[word], self.write_thread[word] = self.interval, threads
            else:
                different, times = np.unique(word, return_counts=True)
                known = (self.read_interval[word] == self.interval) & (self.read_thread[word] != threads)
                several = known | np.isin(word, different[times > 1])
                self.read_interval[word] = self.interval
                self.read_thread[word] = np.where(several, -1, threads)  # -1: no single thread

    # ---- counting ----------------------------------------------------------------------------------------------------

    def _count_instruction(self, instruction: Instruction, threads: np.ndarray) -> None:
        self.kernel.counts.instructions += len(np.unique(threads // 32))

    def _count_access(
        self, instruction: Instruction, space: str, store: bool, address: np.ndarray, size: int, threads: np.ndarray
    ) -> None:
        cost = ideal = 0
        for warp in np.unique(threads // 32):
            mine = threads // 32 == warp
            if space == "global":
                sectors = np.concatenate([address[mine] // 32, (address[mine] + size - 1) // 32])
                cost += len(np.unique(sectors))
                ideal += -(-len(np.unique(address[mine])) * size // 32)
            else:  # a wide access goes in parts of as many lanes as 128 bytes serve
                part = threads[mine] % 32 // (32 // max(1, size // 4))
                for each in np.unique(part):
                    first = address[mine][part == each]
                    words = np.unique(np.concatenate([(first + byte) // 4 for byte in range(0, size, 4)]))
                    cost += int(np.bincount(words % 32).max())
                    ideal += 1
        counts = self.kernel.counts
        name = "shared_wavefronts" if space == "shared" else "stored_sectors" if store else "loaded_sectors"
        held = getattr(counts, name)
        setattr(counts, name, Sites(held.cost + cost, held.ideal + ideal))

    # ---- arithmetic --------------------------------------------------------------------------------------------------

    def _execute(self, instruction: Instruction, threads: np.ndarray) -> None:
        op, operands = instruction.op, instruction.operands
        name = op[0]
        if name in ("ld", "ldu", "st"):
            self._move(instruction, threads)
            return
        if name in ("cvta", "mov"):
            if operands[1][0] == "<":
                self._put(operands[0], self._packed(op, operands[1], threads), threads)
                return
            if operands[0][0] == "<":
                raise SimulationError("not modelled")
            kind = np.uint64 if name == "cvta" else _TYPES[op[-1]]
            self._put(operands[0], self._get(operands[1], kind, threads), threads)
            return
        if name == "cvt":
            self._put(operands[0], self._converted(op, operands[1], threads), threads)
            return
        if name == "setp":
            self._put(operands[0], self._compared(op, operands, threads), threads)
            return
        kind = _TYPES[op[-1]]
        if name == "selp":
            first, second = (self._get(operand, kind, threads) for operand in operands[1:3])
            chosen = self._get(operands[3], np.bool_, threads)
            self._put(operands[0], np.where(chosen, first, second).astype(kind), threads)
            return
        if {"approx", "full", "rz", "rm", "rp", "sat", "x2", "cc"} & set(op):
            raise SimulationError("not modelled")
        compute = self._floating if np.dtype(kind).kind == "f" else self._integral
        result = compute(op, operands, kind, threads)
        self._put(operands[0], np.asarray(result, _TWICE[kind] if "wide" in op else kind), threads)

    def _packed(self, op: list[str], operand: str, threads: np.ndarray) -> np.ndarray:
        """Registers side by side in a wider one, the first lowest."""
        names, kind = [name.strip() for name in operand.strip("<>").split(",")], _TYPES[op[-1]]
        bits = 8 * np.dtype(kind).itemsize // len(names)
        parts = [self._get(name, _TYPES[f"u{bits}"], threads).astype(kind) for name in names]
        return sum((part << kind(bits * place) for place, part in enumerate(parts)), np.zeros(threads.size, kind))

    def _converted(self, op: list[str], operand: str, threads: np.ndarray) -> np.ndarray:
        target, kind = _TYPES[op[-2]], _TYPES[op[-1]]
        value = self._get(operand, kind, threads)
        if np.dtype(target).kind in "iu" and np.dtype(kind).kind == "f":
            rounding = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
            value = rounding[next(part for part in op if part in rounding)](value)
        return value.astype(target)

    def _compared(self, op: list[str], operands: list[str], threads: np.ndarray) -> np.ndarray:
        if len(operands) != 3 or "|" in operands[0]:
            raise SimulationError("not modelled")
        first, second = (self._get(operand, _TYPES[op[-1]], threads) for operand in operands[1:])
        if op[1] in _COMPARISONS:
            return _COMPARISONS[op[1]](first, second)
        if op[1] in ("equ", "neu", "ltu", "leu", "gtu", "geu"):
            return _COMPARISONS[op[1][:2]](first, second) | np.isnan(first) | np.isnan(second)
        raise SimulationError("not modelled")

    def _floating(self, op: list[str], operands: list[str], kind: Any, threads: np.ndarray) -> np.ndarray:
        def flushed(x: np.ndarray) -> np.ndarray:
            if "ftz" not in op:
                return x
            return np.where(np.abs(x) < np.finfo(kind).tiny, np.copysign(np.zeros_like(x), x), x)

        x = [flushed(self._get(operand, kind, threads)) for operand in operands[1:]]
        if op[0] in ("fma", "mad"):  # rounded once: the product is exact in twice the width
            wide = np.longdouble if kind is np.float64 else np.float64
            return flushed((x[0].astype(wide) * x[1].astype(wide) + x[2].astype(wide)).astype(kind))
        functions: dict[str, Any] = {
            "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
            "abs": np.abs, "min": np.fmin, "max": np.fmax, "sqrt": np.sqrt, "rcp": np.reciprocal,
        }  # fmt: skip
        if op[0] not in functions:
            raise SimulationError("not modelled")
        return flushed(np.asarray(functions[op[0]](*x), kind))

    def _integral(self, op: list[str], operands: list[str], kind: Any, threads: np.ndarray) -> np.ndarray:
        name, bits = op[0], 8 * np.dtype(kind).itemsize

        def x(place: int, as_kind: Any = kind) -> np.ndarray:
            return self._get(operands[place], as_kind, threads)

        if name in ("mul", "mad"):
            product = self._product(op[1], x(1), x(2), kind, bits)
            if name == "mad":
                product = product + x(3, product.dtype.type)
            return product
        if name in ("div", "rem"):
            return _divided(x(1), x(2), kind)[name == "rem"]
        if name in ("shl", "shr"):
            shift = x(2, np.uint32)
            within = np.minimum(shift, bits - 1).astype(kind)
            if name == "shl":
                return np.where(shift < bits, x(1) << within, np.zeros_like(x(1)))
            return np.where((shift < bits) | (np.dtype(kind).kind == "i"), x(1) >> within, np.zeros_like(x(1)))
        if name in ("bfi", "bfe"):
            return self._bit_field(name, operands, kind, threads)
        if name == "prmt":
            return _permuted(x(1), x(2), x(3))
        functions: dict[str, Any] = {
            "add": np.add, "sub": np.subtract, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and,
            "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.bitwise_not, "neg": np.negative, "abs": np.abs,
        }  # fmt: skip
        if name not in functions:
            raise SimulationError("not modelled")
        return functions[name](*(x(place) for place in range(1, len(operands))))

    def _product(self, part: str, a: np.ndarray, b: np.ndarray, kind: Any, bits: int) -> np.ndarray:
        if part == "lo":
            return a * b
        if bits < 64:
            wide = _TWICE[kind]
            product = a.astype(wide) * b.astype(wide)
            return product if part == "wide" else (product >> wide(bits)).astype(kind)
        if part == "hi" and kind is np.uint64:
            a, b = np.broadcast_arrays(a, b)
            half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
            middle = (a >> half) * (b & low) + ((a & low) * (b & low) >> half)
            other = (a & low) * (b >> half) + (middle & low)
            return (a >> half) * (b >> half) + (middle >> half) + (other >> half)
        raise SimulationError("not modelled")

    def _bit_field(self, name: str, operands: list[str], kind: Any, threads: np.ndarray) -> np.ndarray:
        if np.dtype(kind).kind == "i":
            raise SimulationError("not modelled")
        *values, at, length = (self._get(operand, np.uint32, threads).astype(np.uint64) for operand in operands[1:])
        if np.dtype(kind).itemsize == 8:
            values = [self._get(operand, np.uint64, threads) for operand in operands[1 : 1 + len(values)]]
        mask = (np.uint64(1) << length) - np.uint64(1)
        if name == "bfe":
            return ((values[0] >> at) & mask).astype(kind)
        return ((values[1] & ~(mask << at)) | ((values[0] & mask) << at)).astype(kind)


def _divided(a: np.ndarray, b: np.ndarray, kind: Any) -> tuple[np.ndarray, np.ndarray]:
    """Quotient, rounded towards 0, and remainder."""
    a, b = np.broadcast_arrays(a, b)
    if (b == 0).any():
        raise SimulationError("integer division by zero")
    quotient = a // b
    if np.dtype(kind).kind == "i":
        quotient = quotient + ((quotient < 0) & (quotient * b != a)).astype(kind)
    return quotient, a - quotient * b


def _permuted(a: np.ndarray, b: np.ndarray, selector: np.ndarray) -> np.ndarray:
    """Four bytes chosen of eight, each with its sign instead where bit 3 of its selector says so."""
    four, low = np.uint64(4), np.uint64(0xFF)
    pool = a.astype(np.uint64) | (b.astype(np.uint64) << np.uint64(32))
    result = np.zeros(np.broadcast(a, b, selector).shape, np.uint64)
    for place in range(4):
        chosen = (selector.astype(np.uint64) >> (four * np.uint64(place))) & np.uint64(15)
        byte = (pool >> ((chosen & np.uint64(7)) * np.uint64(8))) & low
        sign = np.where(byte & np.uint64(128), low, np.uint64(0))
        result |= np.where(chosen & np.uint64(8), sign, byte) << np.uint64(8 * place)
    return result.astype(np.uint32)
