import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from miner.sandbox.bubblewrap import Bubblewrap
from miner.sandbox.interface import MAX_FILES, MIB, WORK, Command, Ending, Limits, Mount
from miner.sandbox.open import open_sandbox
from miner.sandbox.plain import PlainProcess

TRY = """
import json, sys
from miner.sandbox.interface import SandboxMissingError
from miner.sandbox.open import open_sandbox
try:
    print(json.dumps(open_sandbox(allow_unsandboxed=json.loads(sys.argv[1])).name))
except SandboxMissingError as error:
    print(json.dumps(str(error)))
"""


def open_elsewhere(path: str, *, allow_unsandboxed: bool) -> str:
    """Return the name of the sandbox, or what is missing, in a process with another PATH."""
    done = subprocess.run(
        [sys.executable, "-c", TRY, json.dumps(allow_unsandboxed)],
        env={"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(said, str)
    return said


def test_this_machine_has_a_sandbox() -> None:
    opened = open_sandbox(allow_unsandboxed=False)
    assert isinstance(opened, Bubblewrap)
    assert opened.name == "bubblewrap"


def test_without_bubblewrap_foreign_bytes_are_refused_unless_the_operator_allows(
    tmp_path: Path,
) -> None:
    missing = open_elsewhere(str(tmp_path), allow_unsandboxed=False)
    assert "apt install bubblewrap" in missing
    assert "allow_unsandboxed" in missing
    assert open_elsewhere(str(tmp_path), allow_unsandboxed=True) == "no sandbox"


def test_a_bubblewrap_that_does_not_work_is_none(tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    program.chmod(0o755)
    missing = open_elsewhere(f"{tmp_path}:/usr/bin:/bin", allow_unsandboxed=False)
    assert "does not run here" in missing
    assert "No such file or directory" in missing or "no namespaces here" in missing


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


def find_names(output: Path) -> list[str]:
    return sorted(str(path.relative_to(output)) for path in output.rglob("*"))


async def run_plain(output: Path, *arguments: str, inputs: tuple[Mount, ...] = ()) -> Ending:
    command = Command(arguments=arguments, inputs=inputs)
    return await PlainProcess().run(
        command, Limits(disk_bytes=MIB), output, lambda line: None, asyncio.Event()
    )


async def test_a_plain_process_gets_the_real_paths(tmp_path: Path, output: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    mounts = (Mount(file, "/input/file"),)
    ending = await run_plain(output, "cp", "/input/file", f"{WORK}/copy", inputs=mounts)
    assert ending.is_good
    assert ending.bounds == "prlimit"
    assert (output / "copy").read_text() == "content"


async def test_a_plain_process_leaves_plain_files_alone(output: Path) -> None:
    script = "mkdir a; echo 1 > a/b; ln -s /etc/passwd link; ln -s / root; mkfifo pipe"
    ending = await run_plain(output, "sh", "-c", script)
    assert ending.is_good
    assert find_names(output) == ["a", "a/b"]


async def test_a_plain_process_that_leaves_too_much_leaves_nothing(output: Path) -> None:
    ending = await run_plain(output, "sh", "-c", f"seq {MAX_FILES + 1} | xargs touch")
    assert ending.limit == "files"
    assert find_names(output) == []
