"""Processes that are killed or paused: one, two, all of them."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from tests.e2e.cluster.checks import Violation
from tests.e2e.cluster.cluster import LIMIT_SECONDS, QUORUM, VALIDATORS, Cluster, wait_until
from tests.e2e.cluster.figures import (
    NO_QUORUM_SECONDS,
    REJOIN_SECONDS,
    RESTART_SECONDS,
    Figure,
    watched,
)
from tests.e2e.cluster.nodes import NodeDown

LEAD_SECONDS: Final = 2.0
"""Load before the fault, so that it hits a chain at work."""

IN_FLIGHT_SECONDS: Final = 1.0
"""How long after a kill a block may still become final of votes that had left before it."""

DEAD_SECONDS: Final = 20.0
NO_QUORUM_FOR: Final = 25.0
PAUSE_SECONDS: Final = 30.0
ALL: Final = range(VALIDATORS)


async def kill_one(cluster: Cluster, seconds: float = DEAD_SECONDS) -> list[Figure]:
    """kill -9 of one validator under load: the others go on, and it finds its way back."""
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        await asyncio.sleep(LEAD_SECONDS)
        begin = time.perf_counter()
        cluster.nodes[3].kill()
        await asyncio.sleep(seconds)
        gaps = blocks.measure_gaps(begin, begin + seconds)
    begin = time.perf_counter()
    answered = await cluster.start(3)
    rejoined = await cluster.wait_rejoined(3)
    return [
        *gaps,
        Figure("started again its API answered after", answered - begin),
        Figure("at the tip after that", rejoined - answered, REJOIN_SECONDS),
    ]


async def kill_two(cluster: Cluster, seconds: float = NO_QUORUM_FOR) -> list[Figure]:
    """kill -9 of two of four: not one block without a quorum, then on again."""
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    for number in (2, 3):
        cluster.nodes[number].kill()
    stalled = await demand_no_block(cluster, seconds, 0, 1)
    for number in (2, 3):
        cluster.nodes[number].start()
    waiting = asyncio.create_task(cluster.wait_block(stalled, *ALL))
    connected = await cluster.wait_connected(*ALL, count=QUORUM)
    took = max(0.0, await waiting - connected)
    await cluster.wait_answers(2, 3)
    return [
        Figure("blocks without a quorum", 0, 0, unit=""),
        Figure("next block after a quorum heard each other", took, NO_QUORUM_SECONDS),
    ]


async def kill_all(cluster: Cluster) -> list[Figure]:
    """kill -9 of all four at once."""
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    for node in cluster.nodes:
        node.kill()
    wall = time.time_ns() // 1_000_000
    for number in ALL:
        cluster.nodes[number].start()
    answers = asyncio.create_task(cluster.wait_answers(*ALL, count=QUORUM))
    block = await _wait_block_of(cluster, wall)
    took = max(0.0, block - await answers)
    return [Figure("next block after a quorum of APIs answered", took, RESTART_SECONDS)]


async def pause_one(cluster: Cluster, seconds: float = PAUSE_SECONDS) -> list[Figure]:
    """SIGSTOP of one validator under load, SIGCONT half a minute later."""
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        await asyncio.sleep(LEAD_SECONDS)
        begin = time.perf_counter()
        cluster.nodes[3].pause()
        await asyncio.sleep(seconds)
        gaps = blocks.measure_gaps(begin, begin + seconds)
    cluster.nodes[3].resume()
    resumed = await cluster.nodes[3].wait_answer()
    rejoined = await cluster.wait_rejoined(3)
    return [*gaps, Figure("at the tip after its API answered", rejoined - resumed)]


async def demand_no_block(cluster: Cluster, seconds: float, *numbers: int) -> int:
    """Let time pass in which these nodes must not make a block; return their height.

    A block that was all but final at the fault may still come at once.
    """
    await asyncio.sleep(IN_FLIGHT_SECONDS)
    before = [await cluster.nodes[number].read_height() for number in numbers]
    await asyncio.sleep(seconds - IN_FLIGHT_SECONDS)
    after = [await cluster.nodes[number].read_height() for number in numbers]
    if after != before:
        raise Violation(f"blocks without a quorum: {before} became {after}")
    return max(after)


async def _wait_block_of(cluster: Cluster, wall: int) -> float:
    """Return the moment at which any node has a block proposed after a time on the wall (ms)."""

    async def has_block() -> bool:
        for node in cluster.nodes:
            with suppress(NodeDown):
                if (await node.read_status())["time_ms"] > wall:
                    return True
        return False

    return await wait_until(has_block, LIMIT_SECONDS)
