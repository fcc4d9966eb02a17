"""Several coordinators over one chain, each with its own database, people and HTTP server.

What they ask each other goes through `DirectRelay`, which calls the other's answering side: bytes
in, bytes out, nothing replaced but the wire.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from coordinator.ports import Unreachable
from coordinator.relay_messages import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES
from coordinator.relay_server import answer_peer
from coordinator.tables import METADATA
from ledger.crypto import compute_address, compute_public_key
from ledger.state import get_job
from node.database import Database
from tests.support.chain import Clock, InProcessChain, make_genesis
from tests.support.chain_routes import CHAIN_ROUTES
from tests.support.world import DATABASE_KEY, FUNDED, PEOPLE, World, make_address

HOME_PEOPLE = ("client", "holder", "stranger")
LOCAL_PEOPLE = ("miner", "rival", "digger")
THIRD_PEOPLE = ("other", "visitor")


class DirectRelay:
    """One coordinator's way to the others; `worlds` are those that it is connected to."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.worlds: dict[bytes, World] = {}
        self.asked: list[bytes] = []
        """Every question that went out, the lost ones too."""
        self.answered: list[bytes] = []
        self.is_cut = False
        self.watch: Callable[[bytes], object] = bytes
        """Sees each question just before it goes."""
        self.change: Callable[[bytes], bytes] = bytes
        """What becomes of an answer on its way: as it is."""

    async def ask(self, coordinator: bytes, data: bytes, timeout: float) -> bytes:
        assert len(data) <= MAX_QUESTION_BYTES
        self.asked.append(data)
        self.watch(data)
        world = self.worlds.get(coordinator)
        if self.is_cut or world is None or not world.is_running:
            raise Unreachable("no session with it")
        try:
            async with asyncio.timeout(timeout):
                answer = await answer_peer(world.coordinator, self.key, data)
        except TimeoutError:
            raise Unreachable("too slow") from None
        assert len(answer) <= MAX_ANSWER_BYTES
        self.answered.append(answer)
        return self.change(answer)


class Cluster:
    """The first coordinator, where clients post, is called home; the second local; a third far."""

    def __init__(self, worlds: list[World], relays: list[DirectRelay]) -> None:
        self.worlds = worlds
        self.relays = relays
        self.home, self.local = worlds[0], worlds[1]
        self.relay = relays[1]
        """Local's way to the others."""
        self.chain = worlds[0].chain

    async def until(self, holds: Callable[[], object], seconds: float = 20) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(seconds):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def open_cluster(folder: Path, count: int = 2, **settings: Any) -> AsyncIterator[Cluster]:
    """Yield started coordinators that are all connected; people live at one of them each."""
    clock = Clock()
    genesis = make_genesis({make_address(name): FUNDED for name, _, _ in PEOPLE})
    chain = InProcessChain(genesis, clock)
    worlds, relays = [], []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(chain.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for number in range(count):
            seed = f"coordinator {number}".encode().ljust(32, b"\0")
            relay = DirectRelay(compute_public_key(seed))
            path = folder / f"node{number}.db"
            database = Database.create(path, DATABASE_KEY, tables=[METADATA])
            stack.push_async_callback(database.close)
            world = World(database, chain, clock, seed, relay)
            world.settings = world.settings.model_copy(update={"claim_wait": 2.0, **settings})
            world.session = session
            world.routes = (*world.routes, *CHAIN_ROUTES)
            worlds.append(world)
            relays.append(relay)
        for world, names in zip(worlds, (HOME_PEOPLE, LOCAL_PEOPLE, THIRD_PEOPLE), strict=False):
            await world.enrol(person for person in PEOPLE if person[0] in names)
        for relay in relays:
            relay.worlds = {
                compute_address(compute_public_key(world.seed)): world
                for world in worlds
                if world.relay is not relay
            }
        for world in worlds:
            await world.start()
            stack.push_async_callback(world.stop)
        yield Cluster(worlds, relays)


def list_attempts(cluster: Cluster, job: dict[str, Any]) -> list[tuple[str, int]]:
    """Return how each claim of a job ended, by the chain."""
    entry = get_job(cluster.chain.get_view(), bytes.fromhex(job["job_id"][4:]))
    assert entry is not None
    return [(attempt.outcome.name, attempt.reason_code) for attempt in entry.attempts]
