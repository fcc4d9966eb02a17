"""A WebAssembly module's run, in a sandbox: metered by fuel, bounded, and the same everywhere.

`wasm.py MODULE FUNCTION FUEL SEED REPORT`, with nothing of ours to import: the module's input is
standard input, and what became of it is written to the report as JSON. The module has the part of
WASI (snapshot preview 1) that needs no machine: the three standard streams, one argument, its own
exit, random numbers that follow from the seed, and a clock that goes on by a millisecond whenever
it is asked. Everything else of WASI answers ENOSYS; an import of anything else is refused.
"""

import hashlib
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

WASI: Final = "wasi_snapshot_preview1"
MAX_MODULE_BYTES: Final = 32 * 1024 * 1024
MAX_MEMORY_BYTES: Final = 1024 * 1024 * 1024
MAX_TABLE_ELEMENTS: Final = 1_000_000
MAX_STACK_BYTES: Final = 1024 * 1024
MAX_OUTPUT_BYTES: Final = 512 * 1024
MAX_ERROR_BYTES: Final = 2_048
"""The end of standard error that is kept."""
GROWTH_BYTES: Final = 16 * 1024 * 1024
TICK: Final = 1_000_000
"""Nanoseconds."""
SUCCESS, BAD_DESCRIPTOR, FAULT, INVALID, NO_SYSTEM, NO_SEEK = 0, 8, 21, 28, 52, 70
CHARACTER_DEVICE: Final = 2
MAY_READ, MAY_WRITE = 1 << 1, 1 << 6
ARGUMENT: Final = b"main\0"
ABORTED: Final = 134
"""The exit code of a module that trapped, which is that of an aborted process."""

Arguments = tuple[int, ...]


class Exit(Exception):
    """The module ended itself."""


class OutputTooLong(Exception):
    """The module wrote more than a result may hold."""


class OutsideMemory(Exception):
    """The module named memory that it does not have."""


class System:
    """What a module sees of the world."""

    def __init__(self, given: bytes, seed: bytes) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self._given = given
        self._position = 0
        self._seed = seed
        self._drawn = 0
        self._time = 0

    def find(self, name: str) -> Callable[..., int] | None:
        """Return what a function of WASI does; None for one that needs a machine."""
        known: dict[str, Callable[..., int]] = {
            "args_get": self.get_arguments,
            "args_sizes_get": lambda caller, count, size: self._put(
                caller, (count, struct.pack("<I", 1)), (size, struct.pack("<I", len(ARGUMENT)))
            ),
            "environ_get": lambda *_: SUCCESS,
            "environ_sizes_get": lambda caller, count, size: self._put(
                caller, (count, bytes(4)), (size, bytes(4))
            ),
            "clock_res_get": lambda caller, _, result: self._put(
                caller, (result, struct.pack("<Q", TICK))
            ),
            "clock_time_get": self.get_time,
            "fd_close": lambda _, number: SUCCESS if 0 <= number <= 2 else BAD_DESCRIPTOR,
            "fd_fdstat_get": self.describe,
            "fd_fdstat_set_flags": lambda *_: SUCCESS,
            "fd_prestat_get": lambda *_: BAD_DESCRIPTOR,
            "fd_prestat_dir_name": lambda *_: BAD_DESCRIPTOR,
            "fd_read": self.read,
            "fd_seek": lambda *_: NO_SEEK,
            "fd_write": self.write,
            "proc_exit": self.exit,
            "random_get": self.draw,
            "sched_yield": lambda *_: SUCCESS,
        }
        return known.get(name)

    def get_arguments(self, caller: Any, pointers: int, buffer: int) -> int:
        return self._put(caller, (pointers, struct.pack("<i", buffer)), (buffer, ARGUMENT))

    def get_time(self, caller: Any, _clock: int, _precision: int, result: int) -> int:
        self._time += TICK
        return self._put(caller, (result, struct.pack("<Q", self._time)))

    def describe(self, caller: Any, number: int, result: int) -> int:
        if not 0 <= number <= 2:
            return BAD_DESCRIPTOR
        rights = MAY_WRITE if number else MAY_READ
        return self._put(
            caller, (result, struct.pack("<BxHxxxxQQ", CHARACTER_DEVICE, 0, rights, 0))
        )

    def read(self, caller: Any, number: int, vectors: int, count: int, result: int) -> int:
        if number != 0:
            return BAD_DESCRIPTOR
        total = 0
        for address, size in self._read_vectors(caller, vectors, count):
            piece = self._given[self._position : self._position + size]
            self._put(caller, (address, piece))
            self._position += len(piece)
            total += len(piece)
        return self._put(caller, (result, struct.pack("<I", total)))

    def write(self, caller: Any, number: int, vectors: int, count: int, result: int) -> int:
        if number not in (1, 2):
            return BAD_DESCRIPTOR
        total = 0
        for address, size in self._read_vectors(caller, vectors, count):
            if number == 1 and len(self.output) + size > MAX_OUTPUT_BYTES:
                raise OutputTooLong
            piece = _read(caller, address, size)
            if number == 1:
                self.output += piece
            else:
                self.errors = (self.errors + piece)[-MAX_ERROR_BYTES:]
            total += size
        return self._put(caller, (result, struct.pack("<I", total)))

    def exit(self, _caller: Any, code: int) -> int:
        raise Exit(code & 0xFF)

    def draw(self, caller: Any, address: int, size: int) -> int:
        size &= 0xFFFF_FFFF
        if size > MAX_OUTPUT_BYTES:
            return INVALID
        self._drawn += 1
        stream = hashlib.shake_256(self._seed + self._drawn.to_bytes(8, "big"))
        return self._put(caller, (address, stream.digest(size)))

    def _read_vectors(self, caller: Any, address: int, count: int) -> list[tuple[int, int]]:
        if not 0 <= count <= 1_024:
            raise OutsideMemory
        held = _read(caller, address, 8 * count)
        return [(base, size) for base, size in struct.iter_unpack("<II", held)]

    def _put(self, caller: Any, *pieces: tuple[int, bytes]) -> int:
        for address, data in pieces:
            start = address & 0xFFFF_FFFF
            memory = _get_memory(caller)
            if start + len(data) > memory.data_len(caller):
                raise OutsideMemory
            if data:
                memory.write(caller, data, start)
        return SUCCESS


def _get_memory(caller: Any) -> Any:
    import wasmtime  # noqa: PLC0415 - this file is imported where no wasmtime is

    memory = caller.get("memory")
    if not isinstance(memory, wasmtime.Memory):
        raise OutsideMemory
    return memory


def _read(caller: Any, address: int, size: int) -> bytes:
    start, memory = address & 0xFFFF_FFFF, _get_memory(caller)
    if start + size > memory.data_len(caller):
        raise OutsideMemory
    # A slice that ends before it begins would count from the memory's end.
    return bytes(memory.read(caller, start, start + size)) if size else b""


def guard(function: Callable[..., int]) -> Callable[..., int]:
    """Return a function of WASI as modules call it: with memory that is not there it is EFAULT."""

    def call(*arguments: Any) -> int:
        try:
            return function(*arguments)
        except OutsideMemory:
            return FAULT

    return call


def build_engine() -> Any:
    """Return an engine whose runs depend on nothing but the module, its input and its seed."""
    import wasmtime  # noqa: PLC0415 - this file is imported where no wasmtime is

    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd_deterministic = True
    config.wasm_threads = False
    config.shared_memory = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.parallel_compilation = False
    config.max_wasm_stack = MAX_STACK_BYTES
    # No more address space than is used: where nothing else bounds memory, that does.
    config.memory_reservation = 0
    config.memory_reservation_for_growth = GROWTH_BYTES
    config.memory_guard_size = 65_536
    return wasmtime.Engine(config)


def link(engine: Any, module: Any, system: System) -> Any:
    """Return what a module's imports are linked to. Raises `ValueError` for what there is not."""
    import wasmtime  # noqa: PLC0415 - this file is imported where no wasmtime is

    linker = wasmtime.Linker(engine)
    number = wasmtime.ValType.i32()
    for wanted in module.imports:
        kind = wanted.type
        if wanted.module != WASI or not isinstance(kind, wasmtime.FuncType):
            raise ValueError(f"the module imports {wanted.module}.{wanted.name}, which is not here")
        function = system.find(wanted.name)
        if function is None:
            if kind.results != [number]:
                raise ValueError(f"{wanted.name} is no function of {WASI}")
            function = _refuse
        linker.define_func(wanted.module, wanted.name, kind, guard(function), access_caller=True)
    return linker


def _refuse(*_: Any) -> int:
    return NO_SYSTEM


def run(code: bytes, function: str, fuel: int, system: System) -> dict[str, Any]:
    """Return what became of a module. Raises `ValueError` for one that cannot be run at all."""
    import wasmtime  # noqa: PLC0415 - this file is imported where no wasmtime is

    engine = build_engine()
    store = wasmtime.Store(engine)
    store.set_limits(MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS, 1, 8, 1)
    store.set_fuel(fuel)
    exit_code, trap = 0, None
    try:
        module = wasmtime.Module(engine, code)
        linker = link(engine, module, system)
        exports = linker.instantiate(store, module).exports(store)
        if function not in exports or not isinstance(exports[function], wasmtime.Func):
            raise ValueError(f"the module has no function {function!r}")
        if exports[function].type(store).params:
            raise ValueError(f"{function!r} takes arguments: its input is standard input")
        if function != "_start" and "_initialize" in exports:
            exports["_initialize"](store)
        exports[function](store)
    except Exit as ended:
        exit_code = ended.args[0]
    except OutputTooLong:
        trap = f"its output is over {MAX_OUTPUT_BYTES} bytes"
    except wasmtime.Trap as error:
        if error.trap_code is wasmtime.TrapCode.OUT_OF_FUEL:
            trap = f"its fuel of {fuel} is used up"
        else:
            exit_code = ABORTED
            system.errors += b"\n" + error.message.splitlines()[-1].strip().encode()
    except wasmtime.WasmtimeError as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None
    return {
        "exit_code": exit_code,
        "limit": trap,
        "fuel": fuel - store.get_fuel(),
        "stdout": system.output.decode(errors="replace"),
        "stderr": system.errors.decode(errors="replace").strip(),
    }


def main() -> None:
    """Run the module that the arguments name, and write the report."""
    path, function, fuel, seed, report = sys.argv[1:]
    system = System(sys.stdin.buffer.read(), bytes.fromhex(seed))
    with Path(path).open("rb") as file:
        code = file.read(MAX_MODULE_BYTES + 1)
    try:
        if len(code) > MAX_MODULE_BYTES:
            raise ValueError(f"the module is over {MAX_MODULE_BYTES} bytes")
        said = run(code, function, int(fuel), system)
    except ValueError as error:
        said = {"invalid": str(error)}
    Path(report).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
