"""Transports on loopback for the tests, and what they say."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from p2p.binding import make_identity
from p2p.interface import Asked, Event, Joined, NetworkIdentity, NetworkSettings, Session
from p2p.thread import ThreadNetwork

CHAIN = bytes(range(32))
SECONDS = 10.0
"""A test that waits so long for an event has failed."""

E = TypeVar("E", bound=Event)


def make_seed(number: int) -> bytes:
    return bytes([number]) * 32


def identify(number: int, chain_id: bytes = CHAIN) -> NetworkIdentity:
    return make_identity(make_seed(number), chain_id, f"test/{number}")


@asynccontextmanager
async def run_network(
    number: int,
    *bootstrap: str,
    chain_id: bytes = CHAIN,
    is_open: bool = True,
    max_observers: int = 32,
    port: int = 0,
) -> AsyncIterator[ThreadNetwork]:
    settings = NetworkSettings(
        "127.0.0.1",
        port,
        bootstrap=bootstrap,
        is_open=is_open,
        max_observers=max_observers,
    )
    network = ThreadNetwork(identify(number, chain_id), settings)
    await network.start()
    try:
        yield network
    finally:
        await network.close()


async def wait_for(network: ThreadNetwork, kind: type[E], seconds: float = SECONDS) -> E:
    """Return the next event of a kind; others before it are passed over."""
    async with asyncio.timeout(seconds):
        while True:
            event = await network.next_event()
            if isinstance(event, kind):
                return event


async def meet(first: ThreadNetwork, second: ThreadNetwork) -> tuple[Session, Session]:
    """Return the session of each with the other."""
    one, other = await asyncio.gather(wait_for(first, Joined), wait_for(second, Joined))
    return one.session, other.session


def make_friends(*networks: ThreadNetwork) -> None:
    """Make all of them authorities to each other."""
    keys = frozenset(identify(number).key for number in range(1, 10))
    for network in networks:
        network.set_authorities(keys)


@asynccontextmanager
async def answer_questions(
    network: ThreadNetwork, answer: Callable[[bytes], bytes | None]
) -> AsyncIterator[None]:
    """Answer whatever comes meanwhile."""

    async def serve() -> None:
        while True:
            asked = await wait_for(network, Asked, 60)
            network.answer(asked.session, asked.question, answer(asked.data))

    task = asyncio.create_task(serve())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def count(network: ThreadNetwork, name: str, label: str) -> int:
    """Return a counter, as of less than a second ago."""
    return network.get_counters().get(name, {}).get(label, 0)


def find_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what no event tells of: counters and figures come once a second."""
    for _ in range(int(SECONDS / 0.02)):
        if is_so():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError
