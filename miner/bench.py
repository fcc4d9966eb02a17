"""Decides how fast a machine is for a kind of job: a small real job, several times, on its engine.

What is measured is the engine as `run` brings it up. The node, the chain and the proof are not in
it: they cost a job about as much on every machine.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from ledger.types import UNITS_PER_AIT
from miner.bench_samples import SAMPLES
from miner.engines.interface import (
    OUTPUT,
    Engine,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
)
from miner.kinds import KINDS, KindUnavailableError
from miner.opening import close_engines, open_engines
from miner.settings import MinerSettings

SAMPLE_SECONDS: Final = 0.05
HOUR: Final = 3_600
SECOND: Final = "second"
"""The unit of services that are billed by the second."""
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class BenchFailedError(Exception):
    """A kind cannot be measured; the sentence says why."""


class Figures(msgspec.Struct, frozen=True):
    """What one kind came to. Times in seconds."""

    kind: str
    model: str
    engine: str
    device: str
    start: float
    """Until the engine was up, its model being on the disk."""
    first_answer: float
    """Of the first job: until its first text or step, or its result where there is neither."""
    job: float
    """A job, on the average of all runs."""
    runs: int
    unit: str
    units: int
    """Of one job."""
    units_per_second: float
    memory: int | None
    """Bytes that the engine's processes held at most; None where they are not of this machine."""
    energy_joules: int | None
    """Of all runs; None where no GPU counted it."""
    ait_per_hour: float
    """What a machine that is never idle takes at its price, before anybody's share."""


class _Watch:
    """What happens while a job runs."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.first: float | None = None

    def note(self, progress: int, text: str) -> None:
        """Be told of a step."""
        if self.first is None and (progress or text):
            self.first = time.perf_counter()


async def measure(kind: str, settings: MinerSettings, runs: int) -> Figures:
    """Return the figures of a kind. Raises `BenchFailedError`."""
    sample = SAMPLES.get(kind)
    if sample is None:
        raise BenchFailedError(f"there is no sample of {kind}")
    begin = time.perf_counter()
    try:
        engines = await open_engines(settings.model_copy(update={"kinds": [kind], "pool": None}))
    except KindUnavailableError as error:
        raise BenchFailedError(str(error)) from error
    try:
        engine = engines[kind]
        about = await engine.prepare()
        start = time.perf_counter() - begin
        with tempfile.TemporaryDirectory(prefix="aitbc-bench-") as name:
            folder = Path(name)
            files = await asyncio.to_thread(sample.make_files, folder, settings)
            content = sample.build_content(engine)
            async with _peak_memory() as peak:
                results, first, seconds = await _run(engine, content, files, folder, runs)
    except (EngineFailedError, InputInvalidError) as error:
        raise BenchFailedError(str(error)) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchFailedError(f"the sample could not be made: {error}") from error
    finally:
        await close_engines(engines)
    units = sum(result.units for result in results)
    joules = [result.energy_joules for result in results]
    price = settings.get_price(kind)
    # A second that is billed is one that the lease was held.
    held = max(seconds, units) if KINDS[kind].unit_type == SECOND else seconds
    return Figures(
        kind=kind,
        model=content["model"],
        engine=about.text,
        device=about.device,
        start=round(start, 3),
        first_answer=round(first, 4),
        job=round(seconds / runs, 4),
        runs=runs,
        unit=KINDS[kind].unit_type,
        units=units // runs,
        units_per_second=round(units / held, 2),
        memory=max(peak) or None,
        energy_joules=None if None in joules else sum(each or 0 for each in joules),
        ait_per_hour=round(price * units * HOUR / held / UNITS_PER_AIT, 4),
    )


async def _run(
    engine: Engine,
    content: Mapping[str, object],
    files: Mapping[str, Path],
    folder: Path,
    runs: int,
) -> tuple[list[EngineResult], float, float]:
    """Return the results, the seconds to the first answer, and those of all jobs together."""
    results: list[EngineResult] = []
    first = 0.0
    begin = time.perf_counter()
    for number in range(runs):
        output = folder / f"run-{number}" / OUTPUT
        output.mkdir(parents=True)
        watch = _Watch()
        task = engine.read(content)
        results.append(await task.run({**files, OUTPUT: output}, watch.note, asyncio.Event()))
        if number == 0:
            first = (watch.first or time.perf_counter()) - watch.begin
    return results, first, time.perf_counter() - begin


@asynccontextmanager
async def _peak_memory() -> AsyncIterator[list[int]]:
    """Give a list whose largest entry is what the processes below this one held at most."""
    seen = [0]

    async def look() -> None:
        while True:
            seen.append(await asyncio.to_thread(read_memory, os.getpid()))
            await asyncio.sleep(SAMPLE_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        seen.append(read_memory(os.getpid()))


def read_memory(process: int) -> int:
    """Return the bytes that the processes below one hold in memory, without its own."""
    parents: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name before the last bracket may hold anything.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        number = int(folder.name)
        parents.setdefault(int(fields[1]), []).append(number)
        pages[number] = int(fields[21])
    found, waiting = 0, list(parents.get(process, ()))
    while waiting:
        number = waiting.pop()
        found += pages[number] * PAGE_BYTES
        waiting += parents.get(number, ())
    return found
