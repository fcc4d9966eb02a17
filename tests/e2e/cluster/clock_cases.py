"""One validator whose wall clock is an hour off; its timers are right (rule C9)."""

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from tests.e2e.cluster.checks import Violation
from tests.e2e.cluster.cluster import VALIDATORS, Cluster
from tests.e2e.cluster.crash_cases import LEAD_SECONDS
from tests.e2e.cluster.figures import Figure, watched

HOUR_SECONDS: Final = 3_600
SHIFTED_SECONDS: Final = 15.0
TOLERANCE_SECONDS: Final = 2.0
"""`clock_tolerance` of the chain's parameters."""

_SOURCE: Final = Path(__file__).with_name("clock_shift.c")


async def clock_ahead(cluster: Cluster) -> list[Figure]:
    """Its proposals lie in the future, so that nobody votes for them."""
    return await _shift_clock(cluster, HOUR_SECONDS)


async def clock_behind(cluster: Cluster) -> list[Figure]:
    """It votes for nobody's proposals; its own get the earliest time that they may have."""
    return await _shift_clock(cluster, -HOUR_SECONDS)


async def _shift_clock(cluster: Cluster, shift: int) -> list[Figure]:
    """Run one validator with a wrong clock; the chain's times must stay right."""
    node = cluster.nodes[3]
    library = await asyncio.to_thread(_compile, cluster.path)
    await node.stop()
    cluster.load.start()
    node.start({"LD_PRELOAD": str(library), "CLOCK_SHIFT_SECONDS": str(shift)})
    await node.wait_answer()
    await cluster.wait_rejoined(3)
    await asyncio.sleep(LEAD_SECONDS)
    first = await cluster.read_tip(3) + 1
    async with watched(cluster.nodes[0]) as blocks:
        begin = time.perf_counter()
        await asyncio.sleep(SHIFTED_SECONDS)
        gaps = blocks.measure_gaps(begin, begin + SHIFTED_SECONDS)
    shown = [await _read_block(cluster, height) for height in await _list_heights(cluster, first)]
    await node.stop()
    await cluster.start(3)
    await cluster.wait_rejoined(3)
    own = [block for block in shown if block["proposer"] == node.wallet.public_key.hex()]
    ahead = max(block["time_ms"] / 1000 - time.time() for block in shown)
    if ahead > TOLERANCE_SECONDS:
        raise Violation(f"a final block is {ahead:.0f} s in the future")
    if shift > 0 and own:
        raise Violation(f"{len(own)} of its proposals from the future are final")
    return [
        *gaps,
        Figure(f"of {len(shown)} blocks its own", len(own), unit=""),
        Figure("header time ahead of the clock at most", max(0.0, ahead), TOLERANCE_SECONDS),
    ]


async def _list_heights(cluster: Cluster, first: int) -> range:
    return range(first, await cluster.nodes[0].read_height() + 1)


async def _read_block(cluster: Cluster, height: int) -> Any:
    return await cluster.nodes[height % (VALIDATORS - 1)].read(f"/explorer/blocks/{height}")


def _compile(folder: Path) -> Path:
    """Return the library that shifts a process's wall clock; set-up has installed a compiler."""
    library = folder / "clock_shift.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)]
    subprocess.run(command, check=True)
    return library
