"""Runs foreign bytes as a plain process of this user, for operators who trust whoever sent them.

Each process has limits, and none has a sandbox: it reads what its user reads, and has the network.
"""

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from miner.sandbox.archives import ArchiveRefusedError, Room, empty, prune
from miner.sandbox.bounds import ProcessBounds
from miner.sandbox.interface import MAX_FILES, WORK, Command, Ending, Limits, Mount, OnLine
from miner.sandbox.supervision import Supervision


class PlainProcess:
    """No sandbox at all."""

    name = "no sandbox"
    shows_host = True

    async def run(
        self, command: Command, limits: Limits, output: Path, on_line: OnLine, stop: asyncio.Event
    ) -> Ending:
        """As `Sandbox.run`; where a command names what it sees inside, it gets the real paths."""
        places = [*command.inputs, Mount(output, WORK)]
        variables = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(output)}
        process = await asyncio.create_subprocess_exec(
            *(_show(word, places) for word in command.arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=output,
            env=variables | _show_all(command.environment, places),
            start_new_session=True,
            preexec_fn=partial(_limit, limits, command.needs_gpu),
        )
        ending = await Supervision(
            process, ProcessBounds(limits), limits, on_line, stop
        ).see_through(command.stdin)
        try:
            prune(output, Room(MAX_FILES, limits.disk_bytes))
        except ArchiveRefusedError as error:
            ending = msgspec.structs.replace(ending, limit="files", last_words=str(error))
        if ending.limit is not None or ending.is_stopped:
            empty(output)
        return ending


def _show_all(environment: Mapping[str, str], places: Iterable[Mount]) -> dict[str, str]:
    return {
        name: os.pathsep.join(_show(part, places) for part in value.split(os.pathsep))
        for name, value in environment.items()
    }


def _show(word: str, places: Iterable[Mount]) -> str:
    """Return a path of the inside as it is called here; any other word is left as it is."""
    for place in places:
        if word == place.target or word.startswith(place.target + "/"):
            return str(place.source) + word.removeprefix(place.target)
    return word


def _limit(limits: Limits, needs_gpu: bool) -> None:
    """Take the limits on; in the new process, before it becomes the command."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.disk_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
    ):
        resource.setrlimit(kind, (value, value))
    if not needs_gpu:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
