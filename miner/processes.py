"""Decides what the kernel's table of processes says of one and of all that come from it."""

import os
from pathlib import Path
from typing import Final, NamedTuple

PROCESSES: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _ENDED, _END = 1, 11, 13, 15
"""Places in `stat` behind the name, which may hold anything: proc_pid_stat(5), times in ticks."""


class Family(NamedTuple):
    """A process and all below it, as they are now."""

    members: tuple[int, ...]
    """The first one is where it begins."""
    own_seconds: float
    """Processor time of the first one itself,"""
    seconds: float
    """and of all of them, with that of children that ended and were waited for."""


def measure_family(process: int) -> Family:
    """Return what there is of a process; of one that has ended, nothing."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, list[int]] = {}
    for folder in PROCESSES.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended just now
                continue
            fields = text.rpartition(") ")[2].split()
            children.setdefault(int(fields[_PARENT]), []).append(int(folder.name))
            ticks[int(folder.name)] = [int(field) for field in fields[_USER:_END]]
    members = [process]
    for member in members:
        members += children.get(member, ())
    own = sum(ticks.get(process, ())[: _ENDED - _USER])
    whole = sum(sum(ticks.get(member, ())) for member in members)
    return Family(tuple(members), own / _TICKS, whole / _TICKS)
