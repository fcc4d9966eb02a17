"""Decides what a custom_code job asks: a program that comes with it, its input, seconds billed.

The job's model is what runs the program: `python`, or `wasm`, WebAssembly metered by its fuel. Both
run in a sandbox without a network, with bounds. A program that ends by itself is done whatever its
exit code, since its seconds were spent as asked; one that meets a bound is the client's fault.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from miner.engines.code_output import Printed, list_files
from miner.engines.code_packages import read_packages
from miner.engines.code_runtimes import (
    PYTHON,
    USUAL_FUEL,
    WASM,
    Program,
    PythonRuntime,
    Runtime,
    WasmRuntime,
    encode_input,
)
from miner.engines.content import check_source, derive_seed
from miner.engines.interface import (
    ANY_MODEL,
    MAX_RESULT_BYTES,
    OUTPUT,
    Description,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    OnProgress,
    build_pins,
)
from miner.engines.local_server import describe_processor
from miner.engines.sandboxed import (
    LONGEST_SECONDS,
    check_bounds,
    describe_sandbox,
    run_command,
)
from miner.engines.sandboxed_python import find_interpreter
from miner.sandbox.interface import MIB, Limits, Sandbox

SERVICE: Final = "custom_code"
SOURCE: Final = "source_url"
ENTRYPOINTS: Final = {PYTHON: "main.py", WASM: "_start"}
MEMORY_BYTES: Final = 2_048 * MIB

Text = Annotated[str, Meta(min_length=1, max_length=200)]


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entrypoint: Text | None = None
    requirements: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    source: Annotated[str, Meta(min_length=1, max_length=262_144)] | None = None
    fuel: Annotated[int, Meta(ge=1, le=10**15)] | None = None


class CodeTask:
    """One job's program."""

    def __init__(
        self,
        runtime: Runtime,
        sandbox: Sandbox,
        program: Program,
        source_url: str | None,
        threads: int,
    ) -> None:
        self._runtime = runtime
        self._sandbox = sandbox
        self._program = program
        self._threads = threads
        self.sources: Mapping[str, str] = {} if source_url is None else {SOURCE: source_url}

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return what the program's run came to; stopped, what it had printed."""
        output, printed = files[OUTPUT], Printed()
        folder = output.parent / "code"
        folder.mkdir()
        command = await asyncio.to_thread(
            self._runtime.build_command, self._program, files.get(SOURCE), folder
        )
        limits = Limits(
            memory_bytes=MEMORY_BYTES,
            cpu_seconds=LONGEST_SECONDS * self._threads,
            wall_seconds=LONGEST_SECONDS,
            disk_bytes=MAX_RESULT_BYTES,
        )
        begun = time.monotonic()
        ending = await run_command(self._sandbox, command, limits, output, printed.add, stop)
        seconds = math.ceil(time.monotonic() - begun)
        result = EngineResult(
            answer={},
            units=seconds,
            engine=f"{self._runtime.engine}; {describe_sandbox(self._sandbox, ending)}",
            is_cut=ending.is_stopped,
            device=describe_processor(),
            pins=build_pins("", self._runtime.engine, **self._runtime.pins),
        )
        if ending.is_stopped:
            words = {"stdout": printed.take(), "stderr": ending.last_words}
            answer = {"exit_code": None, "output": None, **words}
            return msgspec.structs.replace(result, answer=answer)
        check_bounds(ending, "the program")
        answer = await asyncio.to_thread(self._runtime.build_answer, ending, printed, output)
        return msgspec.structs.replace(result, answer=answer, files=list_files(output))


class CodeEngine:
    """Programs of strangers, for an operator who lets them in.

    `environment` is a virtual environment whose packages they may use; None: Python's own library.
    """

    service = SERVICE
    model = ANY_MODEL

    def __init__(self, sandbox: Sandbox, environment: Path | None, threads: int) -> None:
        self._sandbox = sandbox
        self._environment = environment
        self._threads = threads
        self._runtimes: dict[str, Runtime] | None = None

    def read(self, content: Mapping[str, Any]) -> CodeTask:
        """Return what a job's content asks for.

        Raises `InputInvalidError`, and `PackageMissingError` for a requirement that is not met.
        """
        if self._runtimes is None:
            raise EngineFailedError("the engine is not prepared")
        model = content.get("model")
        if not isinstance(model, str) or model not in self._runtimes:
            raise InputInvalidError(f"{SERVICE} runs {' or '.join(self._runtimes)}")
        given, held = content.get("params") or {}, content.get("input")
        if not isinstance(held, Mapping):
            raise InputInvalidError("input is not an object")
        try:
            parameters = msgspec.convert(given, _Parameters)
        except (ValueError, msgspec.ValidationError) as error:
            raise InputInvalidError(str(error)) from None
        source_url = held.get(SOURCE)
        if (source_url is None) == (parameters.source is None):
            raise InputInvalidError(f"the code comes as one of source and {SOURCE}")
        program = Program(
            entrypoint=parameters.entrypoint or ENTRYPOINTS[model],
            requirements=parameters.requirements,
            fuel=parameters.fuel or USUAL_FUEL,
            seed=derive_seed(content),
            source=parameters.source,
            given=encode_input({name: held[name] for name in held if name != SOURCE}),
        )
        runtime = self._runtimes[model]
        runtime.check(program)
        return CodeTask(
            runtime,
            self._sandbox,
            program,
            None if source_url is None else check_source(str(source_url)),
            self._threads,
        )

    async def prepare(self) -> Description:
        """Find out what there is. Raises `EngineFailedError`."""
        if self._runtimes is None:
            ours = await find_interpreter(None)
            python = (
                ours if self._environment is None else await find_interpreter(self._environment)
            )
            packages = await asyncio.to_thread(read_packages, python.packages, python.version)
            self._runtimes = {
                PYTHON: PythonRuntime(python, packages, self._threads),
                WASM: WasmRuntime(ours),
            }
        return Description(
            engine=", ".join(runtime.engine for runtime in self._runtimes.values()),
            options=self._sandbox.name,
            device=describe_processor(),
            model=", ".join(self._runtimes),
        )

    async def close(self) -> None:
        """Nothing of it runs between jobs."""
