"""Decides what keeps a run within memory, processes and time: a control group, or process limits.

A control group counts a run as a whole: version 2 where this process may make one with the
controllers, version 1 where those are mounted (cgroups(7)). Without either, each process of the run
has limits of its own (setrlimit(2)), and what all of them hold is summed up twice a second. That is
less, so the run's `Ending.bounds` says which it was.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from miner.processes import measure_family
from miner.sandbox.interface import Limits

CGROUPS: Final = Path("/sys/fs/cgroup")
PREFIX: Final = "aitbc-run-"
PAUSE: Final = 0.02
END_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.5
OWN_PROCESSES: Final = 3
"""That a run has beside its own: bubblewrap is two, and the shell that gathers what is left."""
_CONTROLLERS: Final = ("memory", "pids")
_numbers = itertools.count()


class Bounds(Protocol):
    """What keeps one run."""

    @property
    def name(self) -> str:
        """As an `Ending` says it."""

    @property
    def groups(self) -> tuple[Path, ...]:
        """The control groups that the first process enters."""

    def watch(self, process: int) -> None:
        """Begin with the run's first process."""

    def read_cpu_seconds(self) -> float:
        """Return what the run has used."""

    def read_peak_bytes(self) -> int:
        """Return the most memory it held; 0 where nothing counts it."""

    def is_memory_short(self) -> bool:
        """Whether it had more than its memory, or the kernel ended a process of it for that."""

    async def close(self) -> None:
        """Kill what is left of the run and forget it."""


class ProcessBounds:
    """Limits of each process, set where it starts, and sums over the run, looked at now and then.

    What a process wrote to a pipe and nobody has read is not counted; the filter denies the rest
    that would not be (`seccomp.build_filter`).
    """

    name = "prlimit"
    groups: tuple[Path, ...] = ()

    def __init__(self, limits: Limits) -> None:
        self._memory_bytes = limits.memory_bytes
        self._process: int | None = None
        self._next_look = 0.0
        self._cpu_seconds = 0.0
        self._peak_bytes = 0

    def watch(self, process: int) -> None:
        """Begin with the run's first process."""
        self._process = process

    def read_cpu_seconds(self) -> float:
        """By the times of its processes, which count those of their ended children."""
        self._look()
        return self._cpu_seconds

    def read_peak_bytes(self) -> int:
        """By the resident memory of its processes."""
        return self._peak_bytes

    def is_memory_short(self) -> bool:
        """Whether they held too much together."""
        self._look()
        return self._peak_bytes > self._memory_bytes

    async def close(self) -> None:
        """The process namespace ends with its first process."""

    def _look(self) -> None:
        if self._process is None or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        family = measure_family(self._process)
        seconds, size = family.seconds, sum(_read_memory(each) for each in family.members)
        self._cpu_seconds = max(self._cpu_seconds, seconds)
        self._peak_bytes = max(self._peak_bytes, size)


class UnifiedBounds:
    """A control group of version 2."""

    name = "cgroup v2"

    def __init__(self, parent: Path, limits: Limits) -> None:
        """Raises `OSError` where this process may make none there."""
        self._path = parent / _make_name()
        self._path.mkdir()
        try:
            # What the run writes is memory, too, and has a bound of its own.
            memory = limits.memory_bytes + limits.disk_bytes
            (self._path / "memory.max").write_text(str(memory))
            (self._path / "pids.max").write_text(str(limits.processes + OWN_PROCESSES))
            _write_if_there(self._path / "memory.swap.max", "0")
            _write_if_there(self._path / "memory.oom.group", "1")
        except OSError:
            self._path.rmdir()
            raise
        self.groups = (self._path,)

    def watch(self, process: int) -> None:
        """The group holds it."""

    def read_cpu_seconds(self) -> float:
        """By `cpu.stat`."""
        return int(_read_table(self._path / "cpu.stat")["usage_usec"]) / 1e6

    def read_peak_bytes(self) -> int:
        """By `memory.peak`, which kernels have since 5.19."""
        peak = self._path / "memory.peak"
        return int(peak.read_text()) if peak.exists() else 0

    def is_memory_short(self) -> bool:
        """By `memory.events`."""
        return int(_read_table(self._path / "memory.events").get("oom_kill", "0")) > 0

    async def close(self) -> None:
        """Kill and remove the group."""
        _write_if_there(self._path / "cgroup.kill", "1")
        await _end_group(self._path)


class LegacyBounds:
    """Control groups of version 1: one below each controller's mount."""

    name = "cgroup v1"

    def __init__(self, parents: Mapping[str, Path], limits: Limits) -> None:
        """Raises `OSError` where this process may make none there."""
        name = _make_name()
        self._paths = {controller: parent / name for controller, parent in parents.items()}
        made: list[Path] = []
        try:
            for path in self._paths.values():
                path.mkdir()
                made.append(path)
            memory = str(limits.memory_bytes + limits.disk_bytes)
            (self._paths["memory"] / "memory.limit_in_bytes").write_text(memory)
            _write_if_there(self._paths["memory"] / "memory.memsw.limit_in_bytes", memory)
            (self._paths["pids"] / "pids.max").write_text(str(limits.processes + OWN_PROCESSES))
        except OSError:
            for path in made:
                path.rmdir()
            raise
        self.groups = tuple(self._paths.values())

    def watch(self, process: int) -> None:
        """The groups hold it."""

    def read_cpu_seconds(self) -> float:
        """By `cpuacct.usage`."""
        return int((self._paths["cpuacct"] / "cpuacct.usage").read_text()) / 1e9

    def read_peak_bytes(self) -> int:
        """By `memory.max_usage_in_bytes`."""
        return int((self._paths["memory"] / "memory.max_usage_in_bytes").read_text())

    def is_memory_short(self) -> bool:
        """By `memory.oom_control`."""
        table = _read_table(self._paths["memory"] / "memory.oom_control")
        return int(table.get("oom_kill", "0")) > 0

    async def close(self) -> None:
        """Kill and remove the groups."""
        for path in self.groups:
            await _end_group(path)


def make_bounds(limits: Limits) -> Bounds:
    """Return the strongest bounds that this process may set."""
    for parent in _find_unified():
        try:
            return UnifiedBounds(parent, limits)
        except OSError:
            continue
    legacy = _find_legacy()
    if legacy is not None:
        try:
            return LegacyBounds(legacy, limits)
        except OSError:
            pass
    return ProcessBounds(limits)


def sweep_groups() -> None:
    """Remove the groups of miners that were killed; a group with processes stays."""
    places = [*_find_unified(), *(_find_legacy() or {}).values()]
    for place in places:
        for path in place.glob(f"{PREFIX}*"):
            owner = path.name.removeprefix(PREFIX).partition("-")[0]
            if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                with contextlib.suppress(OSError):
                    path.rmdir()


def _read_memory(process: int) -> int:
    """Return what a process holds that is no file's."""
    try:
        text = Path(f"/proc/{process}/status").read_text(errors="replace")
    except OSError:
        return 0
    table = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    kibibytes = (table.get(name, "0 kB").split()[0] for name in ("RssAnon", "RssShmem"))
    return sum(int(value) for value in kibibytes) * 1024


def _find_unified() -> list[Path]:
    """Return where a group with the controllers may be made: from our own group upwards.

    Our own group cannot pass its controllers on while we are in it, unless it is the root: a
    service that is delegated its group has its process in a group below that
    (systemd.resource-control(5), `Delegate=` and `DelegateSubgroup=`).
    """
    own = _read_memberships().get("")
    if own is None or not (CGROUPS / "cgroup.controllers").exists():
        return []
    found = []
    place = CGROUPS / own.lstrip("/")
    for parent in (place, *place.parents):
        if not parent.is_relative_to(CGROUPS):
            break
        control = parent / "cgroup.subtree_control"
        try:
            if not set(_CONTROLLERS) <= set(control.read_text().split()):
                control.write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
            found.append(parent)
        except OSError:
            continue
    return found


def _find_legacy() -> dict[str, Path] | None:
    """Return our own group of each controller, or None where one is not mounted."""
    own = _read_memberships()
    parents = {}
    for controller in ("memory", "pids", "cpuacct"):
        path = CGROUPS / controller / own.get(controller, "/").lstrip("/")
        if not (path / "cgroup.procs").exists():
            return None
        parents[controller] = path
    return parents


def _read_memberships() -> dict[str, str]:
    """Return this process's group by controller; "" stands for version 2."""
    memberships = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            memberships[controller] = path
    return memberships


def _make_name() -> str:
    return f"{PREFIX}{os.getpid()}-{next(_numbers)}"


def _write_if_there(path: Path, text: str) -> None:
    if path.exists():
        path.write_text(text)


def _read_table(path: Path) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines())


async def _end_group(path: Path) -> None:
    """Kill every process of a group until there is none, then remove it."""
    end = time.monotonic() + END_SECONDS
    while True:
        for line in (path / "cgroup.procs").read_text().split():
            _kill(int(line))
        try:
            path.rmdir()  # noqa: ASYNC240 - no disk is behind it
            return
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(PAUSE)


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
