"""Spoilt frames into a true node of a true cluster, in this process, while it makes blocks.

Everything behind the transport is the shipped code: what a session delivers, what it asks, and what
it answers to the node's own questions.
"""

import asyncio
import resource
from pathlib import Path
from typing import Any

from ledger.transactions import Transfer
from p2p.interface import Asked, Channel
from tests.fuzz.frames import ANSWERS, MESSAGES, NEWS, QUESTIONS, Report, Spoiler
from tests.support.cluster import Cluster, running_cluster
from tests.support.network import Endpoint
from tests.support.node import CLIENT, MINER

LOT = 500
"""Frames between two looks at the node."""


TURNS = 3
"""Turns of the loop that a frame gets."""


async def fuzz_cluster(folder: Path, frames: int, seed: int) -> Report:
    """Send so many frames to one of four authorities; raise when anything but its session ends."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with running_cluster(folder, 4) as cluster:
        spoiler, stranger = Spoiler(seed), cluster.hub.make(bytes(32))
        await stranger.start()
        sent = sessions = 0
        begin = await cluster.read_height(0)
        memory = 0.0
        while sent < frames:
            sessions += await _send_lot(cluster, stranger, spoiler, min(LOT, frames - sent))
            sent += LOT
            if not memory and sent >= min(frames, 20_000):
                memory = _read_memory()
        paid = await cluster.apis[0].send(CLIENT, Transfer(MINER.address, 1))
        await cluster.wait_height(paid["height"], 0, 1, 2, 3)
        assert len({await cluster.read_root(number, paid["height"]) for number in range(4)}) == 1
        for node in cluster.nodes:
            assert node.task is not None and not node.task.done()
        assert not failures, failures[:3]
        return Report(sent, sessions, paid["height"] - begin, _read_memory() - memory)


async def _send_lot(cluster: Cluster, stranger: Endpoint, spoiler: Spoiler, count: int) -> int:
    """Send a lot of frames; return how many sessions were ended by them."""
    target = cluster.nodes[0].endpoint
    assert target is not None
    random, sessions = spoiler.random, 0
    for _ in range(count):
        if not stranger.is_linked(target):
            sessions += 1
            cluster.hub.join(stranger, target)
        session = stranger.get_number(target)
        match random.randrange(5):
            case 0:
                stranger.send(session, Channel.TRANSACTIONS, spoiler.spoil(NEWS))
            case 1:
                target.take_question(stranger, 0, spoiler.spoil(QUESTIONS))
            case 2:
                stranger.send(session, random.choice(list(Channel)), spoiler.spoil(ANSWERS))
            case _:
                stranger.send(session, Channel.VOTES, spoiler.spoil(MESSAGES))
        # The node takes what has come; its questions get spoilt answers.
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for event in stranger.take_events():
            if isinstance(event, Asked):
                stranger.answer(event.session, event.question, spoiler.spoil(ANSWERS))
    await cluster.read_height(0)
    return sessions


def _read_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
