"""Decides what keeps a run within memory, processes and time: a control group, or process limits.

A control group counts a run as a whole: version 2 where this process may make one with the
controllers, version 1 where those are mounted (cgroups(7)). Without either, each process of the run
has limits of its own (setrlimit(2)), which is less: the run's `Ending.bounds` says which it was.
"""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from miner.sandbox.interface import Limits

CGROUPS: Final = Path("/sys/fs/cgroup")
PAUSE: Final = 0.02
END_SECONDS: Final = 5.0
_CONTROLLERS: Final = ("memory", "pids", "cpu")
_numbers = itertools.count()


class Bounds(Protocol):
    """What keeps one run."""

    @property
    def name(self) -> str:
        """As an `Ending` says it."""

    @property
    def entrances(self) -> tuple[str, ...]:
        """Files that the first process writes its number to."""

    def read_cpu_seconds(self) -> float:
        """Return what the run has used; 0 where nothing counts it."""

    def read_peak_bytes(self) -> int:
        """Return the most memory it held; 0 where nothing counts it."""

    def was_memory_short(self) -> bool:
        """Whether the kernel ended a process of it for memory."""

    async def close(self) -> None:
        """Kill what is left of the run and forget it."""


class ProcessBounds:
    """Limits of each process, set where it starts; its ends are the sandbox's to see to."""

    name = "prlimit"
    entrances: tuple[str, ...] = ()

    def read_cpu_seconds(self) -> float:
        """Nothing counts it."""
        return 0.0

    def read_peak_bytes(self) -> int:
        """Nothing counts it."""
        return 0

    def was_memory_short(self) -> bool:
        """It hears of no memory instead, and ends itself."""
        return False

    async def close(self) -> None:
        """The process namespace ends with its first process."""


class UnifiedBounds:
    """A control group of version 2."""

    name = "cgroup v2"

    def __init__(self, parent: Path, limits: Limits) -> None:
        """Raises `OSError` where this process may make none there."""
        self._path = parent / _make_name()
        self._path.mkdir()
        try:
            (self._path / "memory.max").write_text(str(limits.memory_bytes))
            (self._path / "pids.max").write_text(str(limits.processes))
            _write_if_there(self._path / "memory.swap.max", "0")
        except OSError:
            self._path.rmdir()
            raise
        self.entrances = (str(self._path / "cgroup.procs"),)

    def read_cpu_seconds(self) -> float:
        """By `cpu.stat`."""
        return int(_read_table(self._path / "cpu.stat")["usage_usec"]) / 1e6

    def read_peak_bytes(self) -> int:
        """By `memory.peak`, which kernels have since 5.19."""
        peak = self._path / "memory.peak"
        return int(peak.read_text()) if peak.exists() else 0

    def was_memory_short(self) -> bool:
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
            memory = str(limits.memory_bytes)
            (self._paths["memory"] / "memory.limit_in_bytes").write_text(memory)
            _write_if_there(self._paths["memory"] / "memory.memsw.limit_in_bytes", memory)
            (self._paths["pids"] / "pids.max").write_text(str(limits.processes))
        except OSError:
            for path in made:
                path.rmdir()
            raise
        self.entrances = tuple(str(path / "cgroup.procs") for path in self._paths.values())

    def read_cpu_seconds(self) -> float:
        """By `cpuacct.usage`."""
        return int((self._paths["cpuacct"] / "cpuacct.usage").read_text()) / 1e9

    def read_peak_bytes(self) -> int:
        """By `memory.max_usage_in_bytes`."""
        return int((self._paths["memory"] / "memory.max_usage_in_bytes").read_text())

    def was_memory_short(self) -> bool:
        """By `memory.oom_control`."""
        table = _read_table(self._paths["memory"] / "memory.oom_control")
        return int(table.get("oom_kill", "0")) > 0

    async def close(self) -> None:
        """Kill and remove the groups."""
        for path in self._paths.values():
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
    return ProcessBounds()


def _find_unified() -> list[Path]:
    """Return where a group with the controllers may be made: below our own, else below the root."""
    own = _read_memberships().get("")
    if own is None or not (CGROUPS / "cgroup.controllers").exists():
        return []
    found = []
    for parent in dict.fromkeys((CGROUPS / own.lstrip("/"), CGROUPS)):
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
    return f"aitbc-{os.getpid()}-{next(_numbers)}"


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
