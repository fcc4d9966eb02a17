"""Decides what energy a job is said to have taken: the joules of a GPU's own counter, or nothing.

The counter is the whole board's, idle power included, so that it says something of a job only where
no other job of this miner ran on that GPU meanwhile; where one did, both say nothing. What other
programs of the machine draw from the same GPU cannot be told apart: a GPU that mines is a GPU that
mines and does nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from miner.engines.interface import Description, Engine, EngineResult, OnProgress, Task
from miner.gpu.device import GPU
from miner.gpu.nvml import read_energy

MILLI = 1_000


class Reading:
    """Of one run: `joules` once it is over, None where nothing can be said."""

    def __init__(self, *, is_shared: bool) -> None:
        self.is_shared = is_shared
        self.joules: int | None = None


class EnergyMeter:
    """The energy counter of one GPU, for the jobs that run on it."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._running: set[Reading] = set()

    @asynccontextmanager
    async def measure(self) -> AsyncIterator[Reading]:
        """Give the reading of a run that begins now and ends with the context."""
        for other in self._running:
            other.is_shared = True
        reading = Reading(is_shared=bool(self._running))
        self._running.add(reading)
        try:
            begin = await asyncio.to_thread(read_energy, self._uuid)
            yield reading
            end = await asyncio.to_thread(read_energy, self._uuid)
            # A driver that is loaded anew counts from 0 again.
            if begin is not None and end is not None and end >= begin and not reading.is_shared:
                reading.joules = (end - begin + MILLI // 2) // MILLI
        finally:
            self._running.remove(reading)


class MeteredTask:
    """A task whose run is measured."""

    def __init__(self, task: Task, meter: EnergyMeter) -> None:
        self._task = task
        self._meter = meter
        self.sources: Mapping[str, str] = task.sources

    async def run(
        self, files: Mapping[str, Path], on_progress: OnProgress, stop: asyncio.Event
    ) -> EngineResult:
        """Return the task's result, with its joules where they are known."""
        async with self._meter.measure() as reading:
            result = await self._task.run(files, on_progress, stop)
        # An engine with a GPU may have done this job without it.
        is_gpu = result.device.startswith(GPU)
        return msgspec.structs.replace(result, energy_joules=reading.joules if is_gpu else None)


class MeteredEngine:
    """An engine that computes on a GPU, and whose jobs are measured."""

    def __init__(self, engine: Engine, meter: EnergyMeter) -> None:
        self._engine = engine
        self._meter = meter
        self.service = engine.service
        self.model = engine.model

    def read(self, content: Mapping[str, Any]) -> MeteredTask:
        """Return what a job's content asks for. Raises `InputInvalidError`."""
        return MeteredTask(self._engine.read(content), self._meter)

    async def prepare(self) -> Description:
        """Bring it up. Raises `EngineFailedError`."""
        return await self._engine.prepare()

    async def close(self) -> None:
        """End what was started."""
        await self._engine.close()
