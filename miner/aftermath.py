"""Decides what an engine still costs after it was told to stop: measured until it rests.

The processor time is that of all processes below the miner, whoever started them: an engine may be
one, or a sandbox with several. What other jobs use meanwhile is in it, so it is never too low; what
the nodes of a pool use is not seen from here.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from miner.processes import measure_family

LONGEST_SECONDS: Final = 2.0
"""From the word to stop: an engine that is busy after that is so with another job."""
SAMPLE_SECONDS: Final = 0.05


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
    family = measure_family(os.getpid())
    return family.seconds - family.own_seconds
