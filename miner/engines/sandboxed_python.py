"""Decides how a Python of this machine is shown to a sandbox: its standard library, the packages of
one environment or some of the miner's own, and nothing else of the host.

It runs without the `site` module, so that packages which happen to lie beside the interpreter are
none of the environment's. Asking an interpreter what it is trusts it, as whoever made it is.
"""

import asyncio
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from miner.engines.interface import EngineFailedError
from miner.sandbox.interface import Command, Mount, Sandbox

ASK_SECONDS: Final = 30.0
SYSTEM: Final = Path("/usr")
"""What every sandbox shows as it is."""
BASE: Final = "/python"
PACKAGES: Final = "/packages"
PROGRAM: Final = "/engine"
"""Where a program of ours is shown,"""
MODULES: Final = "/modules"
"""and what it imports."""
_QUESTION: Final = (
    "import json, os, platform, sys, sysconfig; paths = sysconfig.get_paths(); print(json.dumps({"
    "'implementation': platform.python_implementation(), 'version': platform.python_version(), "
    "'base': sys.base_prefix, 'executable': os.path.realpath(sys.executable), "
    "'packages': [paths['purelib'], paths['platlib']] if sys.prefix != sys.base_prefix else []}))"
)


class Interpreter(msgspec.Struct, frozen=True):
    """A Python of this machine, and the folders of packages that go with it."""

    implementation: str
    version: str
    base: Path
    executable: Path
    packages: tuple[Path, ...]

    @property
    def name(self) -> str:
        """As a receipt names it."""
        return f"{self.implementation} {self.version}"

    @property
    def program(self) -> str:
        """Where it is inside."""
        if self._is_in_system:
            return str(self.executable)
        return f"{BASE}/{self.executable.relative_to(self.base)}"

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What has to be shown for it to run."""
        base = () if self._is_in_system else (Mount(self.base, BASE),)
        return base + tuple(
            Mount(path, f"{PACKAGES}/{number}") for number, path in enumerate(self.packages)
        )

    def build_line(self, script: str, *arguments: str) -> tuple[str, ...]:
        """Return the command line that runs a script of the inside."""
        return (self.program, "-S", "-s", "-B", script, *arguments)

    def build_variables(self, threads: int, *folders: str) -> dict[str, str]:
        """Return the variables of its processes; modules are looked for in `folders` first."""
        packages = [f"{PACKAGES}/{number}" for number in range(len(self.packages))]
        variables = {
            "PYTHONPATH": ":".join((*folders, *packages)),
            "PYTHONHASHSEED": "0",
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        if not self._is_in_system:
            # Its own library, if it is a shared one, was built to be found where it no longer is.
            variables["LD_LIBRARY_PATH"] = f"{BASE}/lib"
        return variables

    @property
    def _is_in_system(self) -> bool:
        return self.executable.is_relative_to(SYSTEM)


async def find_interpreter(environment: Path | None) -> Interpreter:
    """Return the Python of a virtual environment, or our own with its standard library alone.

    Raises `EngineFailedError` where there is none that answers.
    """
    program = sys.executable if environment is None else str(environment / "bin" / "python")
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, "-I", "-c", _QUESTION),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise EngineFailedError(f"no Python at {program}: {error.strerror}") from None
    try:
        async with asyncio.timeout(ASK_SECONDS):
            said, _ = await process.communicate()
        answer = json.loads(said)
    except (TimeoutError, ValueError):
        raise EngineFailedError(f"{program} does not say what it is") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if environment is not None and not answer["packages"]:
        raise EngineFailedError(f"{environment} is no virtual environment")
    return _read(answer, has_packages=environment is not None)


class Program(NamedTuple):
    """A script of ours, whose folder is shown, with packages of the miner's own environment."""

    script: Path
    packages: tuple[str, ...]
    """What lies beside the first one in the environment, as far as it is there."""

    def build_command(
        self,
        interpreter: Interpreter,
        sandbox: Sandbox,
        *arguments: str,
        inputs: tuple[Mount, ...],
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        needs_gpu: bool = False,
    ) -> Command:
        """Return the command that runs it."""
        program = Mount(self.script.parent, PROGRAM)
        return Command(
            arguments=interpreter.build_line(f"{PROGRAM}/{self.script.name}", *arguments),
            inputs=(*interpreter.mounts, program, *self._find_modules(sandbox), *inputs),
            environment={
                **interpreter.build_variables(threads, PROGRAM, MODULES),
                **(environment or {}),
            },
            stdin=stdin,
            needs_gpu=needs_gpu,
        )

    def _find_modules(self, sandbox: Sandbox) -> tuple[Mount, ...]:
        spec = importlib.util.find_spec(self.packages[0])
        places = [] if spec is None else list(spec.submodule_search_locations or ())
        if sandbox.shows_host:
            return tuple(Mount(Path(place).parent, MODULES) for place in places[:1])
        found = [Path(place).parent / name for place in places[:1] for name in self.packages]
        return tuple(Mount(path, f"{MODULES}/{path.name}") for path in found if path.is_dir())


def _read(answer: Mapping[str, str | list[str]], *, has_packages: bool) -> Interpreter:
    folders = [Path(folder) for folder in answer["packages"]] if has_packages else []
    return Interpreter(
        implementation=str(answer["implementation"]),
        version=str(answer["version"]),
        base=Path(str(answer["base"])).resolve(),
        executable=Path(str(answer["executable"])),
        packages=tuple(dict.fromkeys(folder for folder in folders if folder.is_dir())),
    )
