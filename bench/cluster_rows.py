"""The rows of the comparison, each measured in the same way on any network.

What a figure means is said where it is measured. Seconds are wall time of this process; processor
time is that of the nodes' processes alone, until every node holds what was sent.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from statistics import mean, quantiles
from typing import Final

from bench.cluster_load import Lines, Watch, run_closed_loop, run_open_loop
from bench.cluster_network import (
    CLIENTS,
    LIMIT_SECONDS,
    POLL_SECONDS,
    Head,
    Network,
    get_node,
    wait_final,
    wait_for_answer,
)

LOOP_SECONDS: Final = 30.0
MOST_RATE: Final = 4_000
"""Transfers a second that are signed beforehand; a client that runs out ends the loop."""

FINAL_LOOP_SECONDS: Final = 8.0
VISIBLE_RATE: Final = 300
VISIBLE_SECONDS: Final = 15.0
IDLE_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 3.0
KILLED_SECONDS: Final = 20.0
KILLED_RATE: Final = 50
NO_QUORUM_SECONDS: Final = 25.0
RESEND_SECONDS: Final = 0.1

Figures = dict[str, float]


def prepare(network: Network, each: int, without: int | None = None) -> Lines:
    """Sign so many transfers for each client, but for those of one node."""
    nodes = len(network.nodes)
    return {
        client: network.make_requests(client, each)
        for client in range(CLIENTS)
        if get_node(client, nodes) != without or nodes == 1
    }


async def measure_throughput(network: Network) -> Figures:
    """The closed loop of 64 clients; each sends its next transfer when the last was accepted.

    The rate is what the blocks hold over the time until every node had each client's last final.
    What was accepted and is in none of them by then is counted as lost.
    """
    lines = prepare(network, int(LOOP_SECONDS * MOST_RATE / CLIENTS))
    first = (await network.get_head(0)).height
    cpu, start = _read_cpu(network), time.perf_counter()
    async with asyncio.timeout(LOOP_SECONDS + LIMIT_SECONDS):
        sent = await run_closed_loop(network, lines, LOOP_SECONDS)
    await wait_final(network, sent.last_ids.values())
    seconds, cpu = time.perf_counter() - start, _read_cpu(network) - cpu
    last = (await network.get_head(0)).height
    counts = [len(await network.list_block(0, height)) for height in range(first + 1, last + 1)]
    final = sum(counts)
    return {
        "rate": final / seconds,
        "cpu_ms": cpu / final * 1e3,
        "memory_mb": max(node.read_memory() for node in network.nodes) / 1e6,
        "loop_seconds": sent.seconds,
        "drain_seconds": seconds - sent.seconds,
        "refused": sent.refused,
        "lost": sent.accepted - final,
        "generator_ms": sent.cpu / sent.accepted * 1e3,
        "largest_block": max(counts),
    }


async def measure_final_loop(network: Network) -> Figures:
    """The closed loop of 64 clients, each sending its next when the last is final at its node."""
    lines = prepare(network, int(FINAL_LOOP_SECONDS * 20))
    watches = [Watch(network, node) for node in range(len(network.nodes))]
    async with _follow(watches):
        async with asyncio.timeout(LIMIT_SECONDS):
            sent = await run_closed_loop(network, lines, FINAL_LOOP_SECONDS, watches)
    return {"final_rate": sent.accepted / sent.seconds}


async def measure_visible(network: Network) -> Figures:
    """Transfers at a fixed rate by all nodes but one; when that one has each in a final block.

    Counted from the moment a transfer was due to leave. The watched node is asked every 20 ms.
    """
    watched = len(network.nodes) - 1
    each = int(VISIBLE_RATE * VISIBLE_SECONDS / CLIENTS * 2)
    lines, watch = prepare(network, each, watched), Watch(network, watched)
    async with _follow([watch]):
        async with asyncio.timeout(VISIBLE_SECONDS + LIMIT_SECONDS):
            sent = await run_open_loop(network, lines, VISIBLE_RATE, VISIBLE_SECONDS)
            await asyncio.gather(*map(watch.wait, sent.due))
    delays = [watch.seen[name] - moment for name, moment in sent.due.items()]
    hundredths = quantiles(delays, n=100)
    return {"visible_p50": hundredths[49], "visible_p99": hundredths[98]}


async def measure_idle(network: Network) -> Figures:
    """The cores that all nodes together use when nothing is to be done."""
    await asyncio.sleep(SETTLE_SECONDS)
    cpu, start = _read_cpu(network), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    return {"idle_cores": (_read_cpu(network) - cpu) / (time.perf_counter() - start)}


async def measure_disk(network: Network) -> Figures:
    """What is on the disk after an orderly stop, over every transfer that the clients have sent.

    The whole folder, and without the file of own votes, which does not grow with the chain.
    """
    await asyncio.sleep(SETTLE_SECONDS)
    for node in network.nodes:
        node.stop()
    journal = sum(node.measure_journal() for node in network.nodes)
    whole = sum(node.measure_disk() for node in network.nodes)
    transfers = sum(network.used) * len(network.nodes)
    return {"disk_bytes": (whole - journal) / transfers, "disk_whole_bytes": whole / transfers}


async def measure_killed(network: Network) -> Figures:
    """One of the nodes killed under a light load: the gaps between blocks, then its way back.

    Gaps are between arrivals at a live node, from the last block before the kill on. The way back
    is the time from starting the process until it has as many blocks as a live node.
    """
    killed = len(network.nodes) - 1
    seconds = KILLED_SECONDS + LIMIT_SECONDS
    lines = prepare(network, int(KILLED_RATE * seconds / CLIENTS * 2), killed)
    watch = Watch(network, 0, with_content=False)
    async with _follow([watch]), _keep_load(network, lines, seconds):
        await asyncio.sleep(SETTLE_SECONDS)
        before = len(watch.arrivals)
        network.nodes[killed].kill()
        await asyncio.sleep(KILLED_SECONDS)
        moments = watch.arrivals[before - 1 :]
        start = time.perf_counter()
        network.nodes[killed].restart()
        own = await wait_for_answer(network, killed)
        answers = time.perf_counter() - start
        while own.height < (await network.get_head(0)).height:
            await asyncio.sleep(POLL_SECONDS)
            own = await network.get_head(killed)
        rejoined = time.perf_counter() - start
    gaps = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
    return {
        "gap_mean": mean(gaps),
        "gap_max": max(gaps),
        "rejoin": rejoined,
        "rejoin_answers": answers,
    }


async def measure_restart(network: Network) -> Figures:
    """All nodes killed at rest and started again: the time to the first block made after that."""
    await asyncio.sleep(SETTLE_SECONDS)
    for node in network.nodes:
        node.kill()
    start, wall = time.perf_counter(), time.time_ns() // 1_000_000
    for node in network.nodes:
        node.restart()
    answers = asyncio.create_task(_time_quorum(network, start))
    await _wait_for_head(network, 0, lambda head: head.time >= wall)
    return {"restart": time.perf_counter() - start, "restart_answers": await answers}


async def measure_no_quorum(network: Network) -> Figures:
    """Two of four killed, 25 s without a block, both started again: the time to the next block."""
    dead = network.nodes[len(network.nodes) // 2 :]
    for node in dead:
        node.kill()
    await asyncio.sleep(SETTLE_SECONDS)
    head = await network.get_head(0)
    # Work that waits, from a client of node 0 that nothing else uses.
    await network.send(0, network.make_requests(len(network.nodes) * 2, 1)[0])
    await asyncio.sleep(NO_QUORUM_SECONDS - SETTLE_SECONDS)
    assert (await network.get_head(0)).height == head.height, "a block without a quorum"
    start = time.perf_counter()
    for node in dead:
        node.restart()
    answers = asyncio.create_task(_time_quorum(network, start))
    await _wait_for_head(network, len(network.nodes), lambda later: later.height > head.height)
    return {"no_quorum": time.perf_counter() - start, "no_quorum_answers": await answers}


@asynccontextmanager
async def _follow(watches: list[Watch]) -> AsyncIterator[None]:
    """Let watches run beside what is measured."""
    tasks = [asyncio.create_task(watch.run()) for watch in watches]
    await asyncio.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        await _end(tasks)


@asynccontextmanager
async def _keep_load(network: Network, lines: Lines, seconds: float) -> AsyncIterator[None]:
    """Send a light load beside what is measured, and wait at the end until it is final."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_open_loop(network, lines, KILLED_RATE, seconds, stop))
    try:
        yield
    finally:
        stop.set()
        await wait_final(network, (await task).last_ids.values())


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Stop tasks; one that had failed by itself fails here."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


async def _wait_for_head(network: Network, first: int, is_wanted: Callable[[Head], bool]) -> None:
    """Return when any node's head is as wanted, while transfers give them work.

    Each node gets one by a client of its own, from `first` on, again and again; whether it was
    accepted is not known, so that those clients are of no use afterwards.
    """

    async def follow(node: int) -> None:
        request = network.make_requests(first + node, 1)[0]
        sent_at = 0.0
        while True:
            with suppress(OSError):
                if is_wanted(await network.get_head(node)):
                    return
                if time.perf_counter() - sent_at > RESEND_SECONDS:
                    sent_at = time.perf_counter()
                    await network.send(node, request)
            await asyncio.sleep(POLL_SECONDS)

    tasks = [asyncio.create_task(follow(node)) for node in range(len(network.nodes))]
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)


async def _time_quorum(network: Network, start: float) -> float:
    """Return the seconds until so many nodes answer as can make a block."""
    count = len(network.nodes)
    waits = [asyncio.create_task(wait_for_answer(network, node)) for node in range(count)]
    for answered, done in enumerate(asyncio.as_completed(waits), 1):
        await done
        if answered == count - (count - 1) // 3:
            break
    seconds = time.perf_counter() - start
    await asyncio.gather(*waits)
    return seconds


def _read_cpu(network: Network) -> float:
    return sum(node.read_cpu() for node in network.nodes)
