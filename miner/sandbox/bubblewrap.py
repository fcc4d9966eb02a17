"""Runs foreign bytes in bubblewrap: nothing of the host but what a command names, and no network.

What a run writes is memory with a size, so that none ever fills a disk. What lies in `/work` when
the command has ended is packed inside the sandbox and read out through a pipe, as any other
hostile bytes.
"""

import asyncio
import contextlib
import itertools
import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from miner.sandbox import launcher
from miner.sandbox.archives import ArchiveRefusedError, Room, empty, read_tape
from miner.sandbox.bounds import (
    END_SECONDS,
    OWN_PROCESSES,
    PAUSE,
    Bounds,
    ProcessBounds,
    make_bounds,
    sweep_groups,
)
from miner.sandbox.interface import (
    MAX_FILES,
    MAX_ROOM_FILES,
    WORK,
    Command,
    Ending,
    Limits,
    OnLine,
    SandboxFailedError,
    SandboxMissingError,
)
from miner.sandbox.seccomp import build_filter
from miner.sandbox.supervision import Supervision

USERS: Final = range(2_000_000_000, 2_100_000_000)
"""Numbers that a miner of root's gives to its runs, any of them to each: beyond those that systems
give to users, containers and services, and below 2^31."""
INSIDE_USER: Final = "1000"
PROBE_SECONDS: Final = 10.0
TAPE_DESCRIPTOR, FILTER_DESCRIPTOR = 3, 4
START: Final = b"+"
"""Of the tape: the sandbox is made, and the command begins."""
ROOM_LEFT, ROOM_FULL = b"=", b"!"
"""Of the tape, after the command: whether it failed with no room left to write to."""
TAPE_PADDING: Final = 64 * 1024
"""That may follow an archive's end: it is written in pieces of 10 KiB."""
TAPE_FAILED: Final = 74
"""Exit code of a run whose command was good and left what cannot be packed."""
_SYSTEM_LINKS: Final = ("/bin", "/sbin", "/lib", "/lib64")
_SYSTEM_FILES: Final = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/sys/devices/system/cpu",
)
_GPU_DEVICES: Final = "nvidia*"
_GPU_FOLDERS: Final = ("/sys/bus/pci", "/sys/devices", "/sys/module/nvidia")
# The command sees neither the tape's pipe nor what is done with it; its own code comes back. A file
# of two names is kept under both, and what is mounted in `/work` is none of the results.
_TAR: Final = f"tar --format=ustar --hard-dereference --one-file-system -C {WORK} -cf - ."
# No free block, or no free file.
_IS_FULL: Final = f'case " $(stat -f -c "%a %d" {WORK}) " in *" 0 "*) ;; *) false ;; esac'
_GATHER: Final = (
    f'printf {START.decode()} >&{TAPE_DESCRIPTOR}; "$@" {TAPE_DESCRIPTOR}>&-; code=$?; '
    f"room={ROOM_LEFT.decode()}; test $code != 0 && {_IS_FULL} && room={ROOM_FULL.decode()}; "
    f"printf $room >&{TAPE_DESCRIPTOR}; "
    f"{_TAR} >&{TAPE_DESCRIPTOR} || test $code != 0 || code={TAPE_FAILED}; exit $code"
)
_numbers = itertools.count(secrets.randbelow(len(USERS)))

Choose = Callable[[Limits], Bounds]
MakeFilter = Callable[[bool], bytes]
"""Takes whether the run's memory is counted as a whole."""


def make_filter(is_counted: bool) -> bytes:
    """Return this machine's filter. Raises `ValueError` where it has none."""
    return build_filter(denies_uncounted=not is_counted)


class Bubblewrap:
    """The sandbox of a machine that has bubblewrap."""

    name = "bubblewrap"
    shows_host = False

    def __init__(
        self,
        program: str,
        choose_bounds: Choose = make_bounds,
        make_filter: MakeFilter = make_filter,
    ) -> None:
        """Raises `ValueError` for a machine that has no filter."""
        self._program = program
        self._choose_bounds = choose_bounds
        self._filters = {is_counted: make_filter(is_counted) for is_counted in (False, True)}

    @classmethod
    def open(cls) -> "Bubblewrap":
        """Return a sandbox that was seen to work. Raises `SandboxMissingError`."""
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxMissingError("bubblewrap is not installed (`apt install bubblewrap`)")
        sweep_groups()
        problem = ""
        for choose in (make_bounds, ProcessBounds):
            try:
                made = cls(program, choose)
                made.probe()
            except (ValueError, SandboxMissingError) as error:
                problem = problem or str(error)
            else:
                return made
        raise SandboxMissingError(problem)

    def probe(self) -> None:
        """Run a program that does nothing. Raises `SandboxMissingError` where that fails."""
        limits = Limits()
        bounds = self._choose_bounds(limits)
        try:
            with self._prepare(Command(arguments=("true",)), limits, bounds) as (line, given):
                done = subprocess.run(
                    line, pass_fds=given, capture_output=True, timeout=PROBE_SECONDS, check=False
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxMissingError(f"bubblewrap does not run here: {error}") from None
        finally:
            _remove_groups(bounds.groups)
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip()[-300:]
            raise SandboxMissingError(
                f"bubblewrap does not run here (it needs user namespaces for users other than root "
                f"and version 0.8 or later): {words}"
            )

    async def run(
        self, command: Command, limits: Limits, output: Path, on_line: OnLine, stop: asyncio.Event
    ) -> Ending:
        """As `Sandbox.run`."""
        bounds = self._choose_bounds(limits)
        reading: asyncio.Task[bool] | None = None
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
        is_counted = bool(bounds.groups)
        filter_file = _write_memory("seccomp", self._filters[is_counted])
        descriptors = [(filter_file, FILTER_DESCRIPTOR)]
        if tape is not None:
            descriptors.append((tape, TAPE_DESCRIPTOR))
        orders = {
            "parent": os.getpid(),
            "groups": [str(group) for group in bounds.groups],
            "limits": _compute_limits(command, limits, is_counted=is_counted),
            "user": USERS[next(_numbers) % len(USERS)],
            "sources": [str(mount.source.absolute()) for mount in command.inputs],
            "room_bytes": limits.disk_bytes,
            "room_files": MAX_ROOM_FILES,
            "descriptors": descriptors,
            "command": self._build_line(command, has_tape=tape is not None),
        }
        # Not as an argument: those are limited, and visible to every user of the machine.
        orders_file = _write_memory("orders", json.dumps(orders).encode())
        try:
            given = (orders_file, *(descriptor for descriptor, _ in descriptors))
            yield [sys.executable, "-I", "-S", launcher.__file__, str(orders_file)], given
        finally:
            os.close(orders_file)
            os.close(filter_file)

    def _build_line(self, command: Command, *, has_tape: bool) -> list[str]:
        line = [self._program, "--unshare-all", "--unshare-user", "--disable-userns"]
        line += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
        line += ["--uid", INSIDE_USER, "--gid", INSIDE_USER, "--hostname", "sandbox"]
        line += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
        for link in _SYSTEM_LINKS:
            if os.path.islink(link):
                line += ["--symlink", os.readlink(link).lstrip("/"), link]
            elif os.path.isdir(link):
                line += ["--ro-bind", link, link]
        for file in _SYSTEM_FILES:
            line += ["--ro-bind-try", file, file]
        if command.needs_gpu:
            for device in sorted(Path("/dev").glob(_GPU_DEVICES)):
                line += ["--dev-bind", str(device), str(device)]
            for folder in _GPU_FOLDERS:
                line += ["--ro-bind-try", folder, folder]
        for name, target in zip(launcher.FOLDERS, (WORK, "/tmp", "/dev/shm"), strict=True):
            line += ["--bind", f"{launcher.ROOM}/{name}", target]
        for number, mount in enumerate(command.inputs):
            line += ["--ro-bind", f"{launcher.STAGE}/{number}", mount.target]
        # Else its owner inside could write to the folders that hold the mounts.
        line += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK]
        variables = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
        for variable, value in (variables | dict(command.environment)).items():
            line += ["--setenv", variable, value]
        line += ["--seccomp", str(FILTER_DESCRIPTOR), "--"]
        if has_tape:
            line += ["/bin/sh", "-c", _GATHER, "sh"]
        return [*line, *command.arguments]


def _compute_limits(command: Command, limits: Limits, *, is_counted: bool) -> dict[str, int]:
    """Return each process's own limits, by the names of setrlimit(2)."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = limits.open_files
    found = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_FSIZE": limits.disk_bytes,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_NOFILE": files if hard == resource.RLIM_INFINITY else min(files, hard),
        # Of a user, or a user namespace, of its own: only the run's processes count.
        "RLIMIT_NPROC": limits.processes + OWN_PROCESSES,
    }
    if not is_counted and not command.needs_gpu:
        # CUDA reserves far more of its address space than it ever uses.
        found["RLIMIT_AS"] = limits.memory_bytes
    return found


def _write_memory(name: str, data: bytes) -> int:
    """Return a descriptor of a file in memory that holds `data`."""
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _remove_groups(groups: tuple[Path, ...]) -> None:
    """Remove control groups whose processes are about to be gone."""
    end = time.monotonic() + END_SECONDS
    for group in groups:
        while True:
            try:
                group.rmdir()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE)


def _read_out(tape: int, output: Path, room: Room) -> bool:
    """Write what a run left into its folder; return whether it failed for want of room."""
    with os.fdopen(tape, "rb") as stream:
        if stream.read(len(START)) != START:
            raise SandboxFailedError("the sandbox was not made")
        if stream.read(len(ROOM_FULL)) == ROOM_FULL:
            return True
        read_tape(stream, output, room)
        stream.read(TAPE_PADDING)  # else whoever writes it finds its pipe closed
    return False


def _conclude(ending: Ending, reading: asyncio.Task[bool], output: Path) -> Ending:
    """Return the ending, with `output` emptied where it is not of a whole run.

    Raises `SandboxFailedError`.
    """
    refused = reading.exception()
    is_whole = ending.limit is None and not ending.is_stopped
    if refused is None and is_whole:
        if not reading.result():
            return ending
        ending = msgspec.structs.replace(ending, limit="disk")
    empty(output)
    if is_whole and isinstance(refused, SandboxFailedError):
        raise SandboxFailedError(f"{refused}: {ending.last_words}")
    if refused is not None and not isinstance(refused, (ArchiveRefusedError, SandboxFailedError)):
        raise refused  # of our own disk
    # A program that failed may leave anything; of one that did not, this is what failed.
    if is_whole and ending.exit_code in (0, TAPE_FAILED):
        return msgspec.structs.replace(ending, limit="files", last_words=str(refused))
    return ending
