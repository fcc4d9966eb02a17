"""Decides how a program is started in the sandbox and what became of it: Python or WebAssembly."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from miner.engines import code_wasm_runner
from miner.engines.code_output import Printed, build_answer, read_report
from miner.engines.code_packages import Packages
from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.engines.sandboxed_python import PACKAGES, Interpreter
from miner.sandbox.archives import ArchiveRefusedError, Room, is_plain_name, read_zip
from miner.sandbox.interface import MIB, WORK, Command, Ending, Mount

PYTHON: Final = "python"
WASM: Final = "wasm"
CODE: Final = "/code"
"""Where the program lies inside."""
RUNNER: Final = "/runner/wasm.py"
WASM_PACKAGES: Final = f"{PACKAGES}/wasm"
REPORT: Final = ".report.json"
MODULE: Final = "module.wasm"
USUAL_FUEL: Final = 10**12
"""Two minutes or so of one core."""
MAX_FILES: Final = 2_000
MAX_CODE_BYTES: Final = 256 * MIB
"""Of an archive's files."""
MAX_SOURCE_BYTES: Final = code_wasm_runner.MAX_MODULE_BYTES


class Program(msgspec.Struct, frozen=True):
    """What a job's content asks for."""

    entrypoint: str
    requirements: tuple[str, ...]
    fuel: int
    seed: int
    source: str | None
    given: bytes
    """The input, as JSON."""


class Runtime(Protocol):
    """What runs programs of one language."""

    @property
    def engine(self) -> str:
        """Name and build."""

    @property
    def pins(self) -> Mapping[str, str]:
        """What else has to be the same for another run to be comparable."""

    def check(self, program: Program) -> None:
        """Raise `InputInvalidError` or `PackageMissingError` for what cannot be run here."""

    def build_command(self, program: Program, source: Path | None, folder: Path) -> Command:
        """Return the command, its code put below `folder`. Blocking.

        `source`: the file that holds the code, where the content does not. Raises
        `InputInvalidError`.
        """

    def build_answer(self, ending: Ending, printed: Printed, output: Path) -> dict[str, Any]:
        """Return what a run came to that ended by itself.

        Raises `InputInvalidError` and `EngineFailedError`.
        """


class PythonRuntime:
    """Python programs, with the packages of an environment that the operator prepared."""

    def __init__(self, interpreter: Interpreter, packages: Packages, threads: int) -> None:
        self._interpreter = interpreter
        self._packages = packages
        self._threads = threads
        held = f", {len(packages.versions)} packages" if packages.versions else ""
        self.engine = f"{interpreter.name}{held}"
        self.pins = {"environment_sha256": packages.digest, "threads": str(threads)}

    def check(self, program: Program) -> None:
        """As `Runtime.check`."""
        if not is_plain_name(program.entrypoint):
            raise InputInvalidError(f"{program.entrypoint!r} is no path in an archive")
        self._packages.require(program.requirements)

    def build_command(self, program: Program, source: Path | None, folder: Path) -> Command:
        """As `Runtime.build_command`."""
        path = folder / program.entrypoint
        if source is not None and zipfile.is_zipfile(source):
            try:
                read_zip(source, folder, Room(MAX_FILES, MAX_CODE_BYTES))
            except ArchiveRefusedError as error:
                raise InputInvalidError(f"the archive of the code: {error}") from None
            if not path.is_file():
                raise InputInvalidError(f"the archive has no {program.entrypoint}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_read_source(program, source))
        _show(folder)
        return Command(
            arguments=self._interpreter.build_line(f"{CODE}/{program.entrypoint}"),
            inputs=(*self._interpreter.mounts, Mount(folder, CODE)),
            environment=self._interpreter.build_variables(self._threads, CODE),
            stdin=program.given,
        )

    def build_answer(self, ending: Ending, printed: Printed, output: Path) -> dict[str, Any]:
        """As `Runtime.build_answer`."""
        return build_answer(output, ending.exit_code, printed.read(), ending.last_words)


class WasmRuntime:
    """WebAssembly, in a process of our own Python that has wasmtime and nothing else of ours."""

    def __init__(self, interpreter: Interpreter) -> None:
        import wasmtime  # noqa: PLC0415 - the `code` extra brings it

        self._interpreter = interpreter
        self._packages = Path(wasmtime.__file__).parent.parent
        self.engine = f"wasmtime {version('wasmtime')}"
        runner = Path(code_wasm_runner.__file__).read_bytes()
        self.pins = {"runner_sha256": hashlib.sha256(runner).hexdigest()}

    def check(self, program: Program) -> None:
        """As `Runtime.check`."""
        if program.requirements:
            raise InputInvalidError("a WebAssembly module has no requirements")

    def build_command(self, program: Program, source: Path | None, folder: Path) -> Command:
        """As `Runtime.build_command`."""
        (folder / MODULE).write_bytes(_read_source(program, source))
        _show(folder)
        line = self._interpreter.build_line(
            RUNNER,
            f"{CODE}/{MODULE}",
            program.entrypoint,
            str(program.fuel),
            program.seed.to_bytes(8, "big").hex(),
            f"{WORK}/{REPORT}",
        )
        return Command(
            arguments=line,
            inputs=(
                *self._interpreter.mounts,
                Mount(self._packages, WASM_PACKAGES),
                Mount(Path(code_wasm_runner.__file__), RUNNER),
                Mount(folder, CODE),
            ),
            environment=self._interpreter.build_variables(1, WASM_PACKAGES),
            stdin=program.given,
        )

    def build_answer(self, ending: Ending, printed: Printed, output: Path) -> dict[str, Any]:
        """As `Runtime.build_answer`."""
        try:
            report = read_report(output / REPORT)
            if "invalid" in report:
                raise InputInvalidError(str(report["invalid"]))
            if report["limit"] is not None:
                raise InputInvalidError(f"the module was ended: {report['limit']}")
            code, fuel = int(report["exit_code"]), int(report["fuel"])
            words = str(report["stdout"]), str(report["stderr"])
        except (OSError, ValueError, LookupError, TypeError):
            words_of = ending.last_words or f"exit code {ending.exit_code}"
            raise EngineFailedError(f"wasmtime ended: {words_of}") from None
        return build_answer(output, code, *words, fuel=fuel)


def encode_input(given: Mapping[str, Any]) -> bytes:
    """Return a program's input as it reads it."""
    return json.dumps(given, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")


def _read_source(program: Program, source: Path | None) -> bytes:
    if source is None:
        assert program.source is not None
        return program.source.encode("utf-8", "surrogatepass")
    if source.stat().st_size > MAX_SOURCE_BYTES:
        raise InputInvalidError(f"the code is over {MAX_SOURCE_BYTES} bytes")
    return source.read_bytes()


def _show(folder: Path) -> None:
    """Let the sandbox's user read the code, whoever that is."""
    folder.chmod(0o755)
    for path, folders, files in os.walk(folder):
        for name in folders:
            Path(path, name).chmod(0o755)
        for name in files:
            Path(path, name).chmod(0o644)
