"""Runs of hostile programs, and what is looked for after each: nothing of it is left."""

import asyncio
import itertools
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from miner.engines.sandboxed_python import find_interpreter
from miner.sandbox.bounds import CGROUPS, PREFIX
from miner.sandbox.interface import MIB, Command, Ending, Limits, Mount, Sandbox

ROOT: Final = Path(__file__).parents[3]
INSIDE: Final = "/programs"
LIMITS: Final = Limits(
    memory_bytes=256 * MIB,
    cpu_seconds=20,
    wall_seconds=20.0,
    processes=16,
    disk_bytes=64 * MIB,
    open_files=64,
)
GONE_SECONDS: Final = 2.0
_numbers = itertools.count()


class Run(NamedTuple):
    """How a program ended, what it said, and the files that it left."""

    ending: Ending
    lines: list[str]
    files: dict[str, bytes]

    @property
    def held(self) -> list[str]:
        """What it tried in vain."""
        return [line for line in self.lines if line.startswith("held: ")]

    @property
    def escaped(self) -> list[str]:
        """What went through."""
        return [line for line in self.lines if line.startswith("escaped")]


async def run_program(
    sandbox: Sandbox,
    output: Path,
    name: str,
    *arguments: str,
    targets: Mapping[str, Any] | None = None,
    limits: Limits = LIMITS,
    stop: asyncio.Event | None = None,
    inputs: tuple[Mount, ...] = (),
) -> Run:
    """Run a program of `hostile`, and check that nothing of it is left."""
    script = f"{INSIDE}/tests/miner/sandbox/hostile/{name}.py"
    word = f"run-{os.getpid()}-{next(_numbers)}"
    interpreter = await find_interpreter(None)
    command = Command(
        arguments=interpreter.build_line(script, *arguments, word),
        inputs=(*interpreter.mounts, Mount(ROOT, INSIDE), *inputs),
        environment=interpreter.build_variables(1, INSIDE),
        stdin=json.dumps(targets or {}).encode(),
    )
    lines: list[str] = []
    prepare(output)
    ending = await sandbox.run(command, limits, output, lines.append, stop or asyncio.Event())
    await check_gone(word)
    return Run(ending, lines, take_files(output))


def prepare(output: Path) -> None:
    """Make an output folder, empty."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)


def take_files(output: Path) -> dict[str, bytes]:
    """Return the files of an output folder, which holds nothing else than them and folders."""
    paths = list(output.rglob("*"))
    assert not any(path.is_symlink() for path in paths)
    assert all(path.is_file() or path.is_dir() for path in paths)
    return {str(path.relative_to(output)): path.read_bytes() for path in paths if path.is_file()}


async def check_gone(word: str) -> None:
    """Fail if a process with a word in its command line, or a control group, is left."""
    end = time.monotonic() + GONE_SECONDS
    while left := [*find_processes(word), *find_groups()]:
        assert time.monotonic() < end, left
        await asyncio.sleep(0.01)


def find_processes(word: str) -> list[str]:
    """Return the processes of this machine that have a word in their command line."""
    found = []
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            try:
                line = Path(f"/proc/{folder}/cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line:
                found.append(folder)
    return found


def find_groups() -> list[str]:
    """Return the control groups of runs of this process."""
    return [
        folder
        for folder, _, _ in os.walk(CGROUPS)
        if Path(folder).name.startswith(f"{PREFIX}{os.getpid()}-")
    ]
