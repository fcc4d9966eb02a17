"""What a case has measured: each figure with what exactly was measured, and its bound if any."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from statistics import mean
from typing import Final, NamedTuple

from tests.e2e.cluster.nodes import POLL_SECONDS, ClusterNode, NodeDown

GAP_MEAN_SECONDS: Final = 0.9
GAP_MAX_SECONDS: Final = 2.0
REJOIN_SECONDS: Final = 1.0
RESTART_SECONDS: Final = 2.0
NO_QUORUM_SECONDS: Final = 2.0


class Figure(NamedTuple):
    """A measured value; `bound` is the most that it may be."""

    label: str
    value: float
    bound: float | None = None
    unit: str = "s"

    @property
    def is_met(self) -> bool:
        """Whether the bound holds, where there is one."""
        return self.bound is None or self.value <= self.bound

    def __str__(self) -> str:
        value = f"{self.value:.2f} {self.unit}" if self.unit == "s" else f"{self.value:g}"
        if self.bound is None:
            return f"{self.label} {value}"
        return f"{self.label} {value} (at most {self.bound:g}{'' if self.is_met else ', NOT MET'})"


class Blocks:
    """The moments at which a live node had each of its blocks, by asking it every 20 ms."""

    def __init__(self, node: ClusterNode) -> None:
        self.moments: list[float] = []
        self._node = node

    async def run(self) -> None:
        """Follow until cancelled."""
        height = await self._node.read_height()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with suppress(NodeDown):
                found = await self._node.read_height()
                self.moments += [time.perf_counter()] * (found - height)
                height = found

    def measure_gaps(self, begin: float, end: float) -> list[Figure]:
        """Return mean and longest gap between blocks, from the last one before `begin` on."""
        return measure_gaps(self.moments, begin, end)


def measure_gaps(moments: list[float], begin: float, end: float) -> list[Figure]:
    """Return mean and longest gap between moments, from the last one before `begin` on."""
    before = [moment for moment in moments if moment <= begin][-1:] or [begin]
    during = [moment for moment in moments if begin < moment <= end]
    assert during, "no block at all"
    marks = [*before, *during]
    gaps = [later - earlier for earlier, later in zip(marks, marks[1:], strict=False)]
    return [
        Figure("block gap at a live node: mean", mean(gaps), GAP_MEAN_SECONDS),
        Figure("longest", max(*gaps, end - marks[-1]), GAP_MAX_SECONDS),
    ]


@asynccontextmanager
async def watched(node: ClusterNode) -> AsyncIterator[Blocks]:
    """Follow a node's blocks beside what is done."""
    blocks = Blocks(node)
    task = asyncio.create_task(blocks.run())
    try:
        yield blocks
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
