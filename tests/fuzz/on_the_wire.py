"""Spoilt frames over real libp2p to a live node in a process of its own.

The attacker's connection is sound (Noise, greeting, frames), so that what it carries is read; each
time that it is sent away it comes back under another key.
"""

import asyncio
from pathlib import Path
from typing import NamedTuple

import httpx2

from ledger import crypto
from p2p.binding import make_identity
from p2p.interface import (
    MAX_FRAME_BYTES,
    Asked,
    AskFailed,
    Channel,
    Joined,
    Left,
    NetworkSettings,
)
from p2p.thread import ThreadNetwork
from tests.fuzz.frames import ANSWERS, MESSAGES, NEWS, QUESTIONS, Report, Spoiler

JOIN_SECONDS = 20.0
PER_SESSION = 200
"""Frames of one session at most; most end by the first that does not hold."""


class LiveNode(NamedTuple):
    """A node as an attacker finds it, and as its operator does."""

    url: str
    address: str
    """Multiaddress."""
    pid: int
    chain_id: bytes

    def read_height(self) -> int:
        status = httpx2.get(f"{self.url}/v1/chain/status", timeout=30).json()
        height: int = status["height"]
        return height

    def read_memory(self) -> float:
        """Return the resident memory of the very process that was attacked, in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self.pid)


async def fuzz_wire(node: LiveNode, frames: int, seed: int) -> Report:
    """Send so many frames; raise when the node does not answer any more."""
    spoiler = Spoiler(seed)
    begin, memory = await asyncio.to_thread(node.read_height), node.read_memory()
    sent = sessions = 0
    while sent < frames:
        sent += await _attack(node, spoiler, min(PER_SESSION, frames - sent))
        sessions += 1
    heights = await asyncio.to_thread(node.read_height) - begin
    return Report(sent, sessions, heights, node.read_memory() - memory)


async def _attack(node: LiveNode, spoiler: Spoiler, count: int) -> int:
    """Send frames in one session until it ends; return how many."""
    random = spoiler.random
    identity = make_identity(random.randbytes(32), node.chain_id, "stranger")
    assert crypto.is_valid_public_key(identity.key)
    network = ThreadNetwork(identity, NetworkSettings("127.0.0.1", 0, bootstrap=(node.address,)))
    await network.start()
    try:
        async with asyncio.timeout(JOIN_SECONDS):
            while not isinstance(joined := await network.next_event(), Joined):
                pass
        session = joined.session.number
        ending = asyncio.create_task(_wait_end(network, spoiler))
        for number in range(count):
            if ending.done():
                return number
            if random.random() < 0.25:
                question = spoiler.spoil(QUESTIONS)
                try:
                    await network.ask(session, question, 5.0)
                except AskFailed:
                    continue
            else:
                samples = random.choice((MESSAGES, NEWS, ANSWERS))
                channel = random.choice(list(Channel))
                # A longer one this transport does not send; tests/p2p has what another would.
                data = spoiler.spoil(samples)[: MAX_FRAME_BYTES[channel]]
                network.send(session, channel, data)
                # A frame alone, so that the next is not lost with the session that it ends.
                await asyncio.sleep(0.002)
        ending.cancel()
        return count
    finally:
        await network.close()


async def _wait_end(network: ThreadNetwork, spoiler: Spoiler) -> None:
    """Answer the node's own questions with what is no answer, until the session is over."""
    while True:
        match await network.next_event():
            case Left():
                return
            case Asked(session, question, _):
                network.answer(session, question, spoiler.spoil(ANSWERS))
            case _:
                pass
