"""Runs foreign bytes in bubblewrap: nothing of the host but what a command names, and no network.

`/work` is memory with a size, so that no run ever fills a disk. What lies there when the command
has ended is packed inside the sandbox and read out through a pipe, as any other hostile bytes.
"""

import asyncio
import contextlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from miner.sandbox import launcher
from miner.sandbox.archives import Room, empty, read_tape
from miner.sandbox.bounds import Bounds, ProcessBounds, make_bounds
from miner.sandbox.interface import (
    MAX_FILES,
    MIB,
    Command,
    Ending,
    Limits,
    OnLine,
    SandboxFailedError,
    SandboxMissingError,
)
from miner.sandbox.seccomp import build_filter
from miner.sandbox.supervision import Supervision

FIRST_USER: Final = 2_000_000
USERS: Final = 4_096
"""Numbers that a miner of root's gives to its runs, a different one to each; nobody else's."""
INSIDE_USER: Final = "1000"
SHARED_MEMORY_BYTES: Final = 64 * MIB
PROBE_SECONDS: Final = 10.0
TAPE_DESCRIPTOR, FILTER_DESCRIPTOR = 3, 4
_SYSTEM_LINKS: Final = ("/bin", "/sbin", "/lib", "/lib64")
_SYSTEM_FILES: Final = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
)
_GPU_DEVICES: Final = "nvidia*"
# The command sees neither the tape's pipe nor what is done with it; its own code comes back.
_GATHER: Final = (
    'mkdir -p /work/.tmp; "$@" 3>&-; code=$?; '
    f"tar --format=ustar --exclude=./.tmp -C /work -cf - . 2>/dev/null >&{TAPE_DESCRIPTOR}; "
    "exit $code"
)
_users = itertools.count()


class Bubblewrap:
    """The sandbox of a machine that has bubblewrap."""

    name = ""

    def __init__(self, program: str) -> None:
        self._program = program
        self._filter = build_filter()

    @classmethod
    def open(cls) -> "Bubblewrap":
        """Return a sandbox that was seen to work. Raises `SandboxMissingError`."""
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxMissingError("bubblewrap is not installed (`apt install bubblewrap`)")
        try:
            made = cls(program)
        except ValueError as error:
            raise SandboxMissingError(str(error)) from None
        made.probe()
        return made

    def probe(self) -> None:
        """Run a program that does nothing. Raises `SandboxMissingError` where that fails."""
        with self._prepare(Command(arguments=("true",)), Limits(), ProcessBounds()) as (
            line,
            given,
        ):
            try:
                done = subprocess.run(
                    line, pass_fds=given, capture_output=True, timeout=PROBE_SECONDS, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise SandboxMissingError(f"bubblewrap does not run here: {error}") from None
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip()[-300:]
            raise SandboxMissingError(f"bubblewrap does not run here: {words}")

    async def run(
        self, command: Command, limits: Limits, output: Path, on_line: OnLine, stop: asyncio.Event
    ) -> Ending:
        """As `Sandbox.run`."""
        bounds = make_bounds(limits)
        reading: asyncio.Task[list[Path]] | None = None
        tape, end = os.pipe()
        try:
            with self._prepare(command, limits, bounds, end) as (line, given):
                process = await asyncio.create_subprocess_exec(
                    *line,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=given,
                    start_new_session=True,
                    env={},
                )
            os.close(end)
            end = -1
            room = Room(MAX_FILES, limits.disk_bytes)
            reading = asyncio.create_task(asyncio.to_thread(_read_out, tape, output, room))
            tape = -1
            supervision = Supervision(process, bounds, limits, on_line, stop)
            ending = await supervision.see_through(command.stdin)
        finally:
            await bounds.close()
            for descriptor in (tape, end):
                if descriptor >= 0:
                    os.close(descriptor)
            # Whoever wrote the tape is gone, so its reader ends.
            if reading is not None:
                await asyncio.wait({reading})
        return _conclude(ending, reading, output)

    @contextlib.contextmanager
    def _prepare(
        self, command: Command, limits: Limits, bounds: Bounds, tape: int | None = None
    ) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """Yield the launcher's command line and the descriptors that it inherits."""
        filter_file = os.memfd_create("seccomp")
        try:
            os.write(filter_file, self._filter)
            os.lseek(filter_file, 0, os.SEEK_SET)
            descriptors = [(filter_file, FILTER_DESCRIPTOR)]
            if tape is not None:
                descriptors.insert(0, (tape, TAPE_DESCRIPTOR))
            is_root = os.geteuid() == 0
            orders = {
                "entrances": bounds.entrances,
                "limits": _compute_limits(command, limits, bounds, is_root),
                "user": FIRST_USER + next(_users) % USERS if is_root else None,
                "sources": [str(mount.source) for mount in command.inputs],
                "descriptors": descriptors,
                "command": self._build_line(command, limits, has_tape=tape is not None),
            }
            given = tuple(descriptor for descriptor, _ in descriptors)
            program = [sys.executable, "-I", "-S", launcher.__file__, json.dumps(orders)]
            yield program, given
        finally:
            os.close(filter_file)

    def _build_line(self, command: Command, limits: Limits, *, has_tape: bool) -> list[str]:
        line = [self._program, "--unshare-all", "--unshare-user", "--disable-userns"]
        line += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
        line += ["--uid", INSIDE_USER, "--gid", INSIDE_USER, "--hostname", "sandbox"]
        line += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
        line += ["--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"]
        for link in _SYSTEM_LINKS:
            if os.path.islink(link):
                line += ["--symlink", os.readlink(link).lstrip("/"), link]
            elif os.path.isdir(link):
                line += ["--ro-bind", link, link]
        for file in _SYSTEM_FILES:
            line += ["--ro-bind-try", file, file]
        for mount in command.inputs:
            line += ["--ro-bind", str(mount.source), mount.target]
        if command.needs_gpu:
            for device in sorted(Path("/dev").glob(_GPU_DEVICES)):
                line += ["--dev-bind", str(device), str(device)]
            line += ["--ro-bind-try", "/sys/bus/pci", "/sys/bus/pci"]
        line += ["--size", str(limits.disk_bytes), "--tmpfs", "/work", "--chdir", "/work"]
        line += ["--symlink", "work/.tmp", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/"]
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/work",
            "TMPDIR": "/work/.tmp",
            "LANG": "C.UTF-8",
        }
        for name, value in (variables | dict(command.environment)).items():
            line += ["--setenv", name, value]
        line += ["--seccomp", str(FILTER_DESCRIPTOR), "--"]
        if has_tape:
            line += ["/bin/sh", "-c", _GATHER, "sh"]
        return [*line, *command.arguments]


def _compute_limits(
    command: Command, limits: Limits, bounds: Bounds, is_root: bool
) -> dict[str, int]:
    """Return each process's own limits, by the names of setrlimit(2)."""
    found = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_FSIZE": limits.disk_bytes,
        "RLIMIT_NOFILE": limits.open_files,
    }
    if is_root:
        # A user of its own, so that only the run's processes count; bubblewrap itself is two.
        found["RLIMIT_NPROC"] = limits.processes + 2
    elif isinstance(bounds, ProcessBounds):
        found["RLIMIT_NPROC"] = limits.processes + _count_own_processes()
    if isinstance(bounds, ProcessBounds) and not command.needs_gpu:
        # CUDA reserves far more of its address space than it ever uses.
        found["RLIMIT_AS"] = limits.memory_bytes
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        found["RLIMIT_NOFILE"] = min(found["RLIMIT_NOFILE"], hard)
    return found


def _count_own_processes() -> int:
    """Return how many threads of this process's user run: all of them count to its limit."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                count += len(os.listdir(folder / "task"))
    return count


def _read_out(tape: int, output: Path, room: Room) -> list[Path]:
    with os.fdopen(tape, "rb") as stream:
        return read_tape(stream, output, room)


def _conclude(ending: Ending, reading: asyncio.Task[list[Path]], output: Path) -> Ending:
    """Return the ending, with `output` emptied where it is not of a whole run."""
    refused = reading.exception()
    is_whole = ending.limit is None and not ending.is_stopped
    if refused is None and is_whole:
        return ending
    empty(output)
    # A program that failed may leave anything; of one that did not, this is what failed.
    if is_whole and ending.exit_code == 0:
        raise SandboxFailedError(f"what the run left cannot be kept: {refused}")
    return ending
