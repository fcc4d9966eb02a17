"""Decides what an engine still costs after it was told to stop: measured until it rests.

The processor time is that of all processes below the miner, whoever started them: an engine may be
one, or a sandbox with several. What other jobs use meanwhile is in it, so it is never too low.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

LONGEST_SECONDS: Final = 2.0
"""From the word to stop: an engine that is busy after that is so with another job."""
SAMPLE_SECONDS: Final = 0.05
PROCESSES: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _CHILDREN, _END = 1, 11, 13, 15
"""Places in `/proc/PID/stat` behind the name, which may hold anything: times in clock ticks."""


class Aftermath:
    """What a stop led to; both are None where there was none. In seconds."""

    def __init__(self) -> None:
        self.wall: float | None = None
        """Until the engine gave its result."""
        self.cpu: float | None = None
        """Until the engine rested."""


@asynccontextmanager
async def measure_aftermath(stop: asyncio.Event) -> AsyncIterator[Aftermath]:
    """Measure what follows in the body's run of an engine once `stop` is set."""
    measured, is_over = Aftermath(), asyncio.Event()
    watching = asyncio.create_task(_watch(stop, is_over, measured))
    try:
        yield measured
        is_over.set()
        if stop.is_set():
            await watching
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(stop: asyncio.Event, is_over: asyncio.Event, measured: Aftermath) -> None:
    await stop.wait()
    begin = time.monotonic()
    before = last = await asyncio.to_thread(read_cpu_seconds)
    while time.monotonic() - begin < LONGEST_SECONDS:
        try:
            async with asyncio.timeout(SAMPLE_SECONDS):
                await is_over.wait()
            measured.wall = measured.wall or time.monotonic() - begin
            await asyncio.sleep(SAMPLE_SECONDS)
        except TimeoutError:
            pass
        now = await asyncio.to_thread(read_cpu_seconds)
        if is_over.is_set() and now <= last:
            break
        last = max(last, now)
    measured.cpu = max(0.0, last - before)
    await is_over.wait()
    measured.wall = measured.wall or time.monotonic() - begin


def read_cpu_seconds() -> float:
    """Return the processor time of all processes below this one, of those that ended as well."""
    stats = _read_stats()
    below, ticks = [os.getpid()], 0
    for parent in below:
        ticks += sum(stats[parent][_CHILDREN:_END]) if parent in stats else 0
        children = [each for each, fields in stats.items() if fields[_PARENT] == parent]
        ticks += sum(sum(stats[child][_USER:_CHILDREN]) for child in children)
        below += children
    return ticks / _TICKS


def _read_stats() -> Mapping[int, list[int]]:
    """Return what the kernel says of each process that is there, by its id."""
    stats = {}
    for folder in PROCESSES.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended just now
                continue
            _, _, fields = text.rpartition(") ")
            stats[int(folder.name)] = [0, *map(int, fields.split()[1:_END])]
    return stats
