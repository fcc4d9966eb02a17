"""A coordinator as it runs: encrypted database, chain, HTTP server on loopback, real clients."""

import asyncio
import io
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from sqlalchemy import Connection

from coordinator import accounts, service
from coordinator.coordinator import Coordinator
from coordinator.http.app import build_app
from coordinator.http.table import ROUTES
from coordinator.ports import Relay
from coordinator.principals import Role
from coordinator.relay import NoRelay
from coordinator.settings import CoordinatorSettings
from coordinator.tables import METADATA
from ledger.context import VerifyProof
from ledger.crypto import compute_address, compute_public_key
from ledger.state import get_account
from ledger.types import UNITS_PER_AIT
from node.database import Database
from tests.support.chain import Clock, InProcessChain, make_genesis
from zk.process import ProverProcess

COORDINATOR_SEED = b"coordinator".ljust(32, b"\0")
SEALING_KEY = b"sealing".ljust(32, b"\0")
DATABASE_KEY = b"database".ljust(32, b"\0")
FUNDED = 1_000 * UNITS_PER_AIT


class Person(NamedTuple):
    """An account of the test, funded in genesis, with one key."""

    name: str
    seed: bytes
    address: bytes
    key: str


class Reply(NamedTuple):
    """An HTTP answer, read whole."""

    status: int
    headers: Any
    body: bytes
    json: Any


def make_seed(name: str) -> bytes:
    return name.encode().ljust(32, b"\1")


def make_address(name: str) -> bytes:
    return compute_address(compute_public_key(make_seed(name)))


PEOPLE = (
    ("client", Role.CLIENT, True),
    ("other", Role.CLIENT, True),
    ("miner", Role.MINER, True),
    ("rival", Role.MINER, True),
    ("holder", Role.CLIENT, False),
    ("digger", Role.MINER, False),
    ("stranger", Role.MINER, True),
    ("visitor", Role.MINER, True),
    ("operator", Role.OPERATOR, True),
)


class World:
    """Everything that a test needs; `restart` kills the coordinator and starts another."""

    def __init__(
        self,
        database: Database,
        chain: InProcessChain,
        clock: Clock,
        seed: bytes = COORDINATOR_SEED,
        relay: Relay | None = None,
    ) -> None:
        self.database = database
        self.chain = chain
        self.clock = clock
        self.seed = seed
        self.relay = relay or NoRelay()
        self.settings = CoordinatorSettings(resubmit_seconds=0.2)
        self.people: dict[str, Person] = {}
        self.coordinator: Coordinator
        self.url = ""
        self.routes = ROUTES
        self.is_running = False
        self.session: aiohttp.ClientSession
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._prover: ProverProcess | None = None

    async def enrol(self, people: Iterable[tuple[str, Role, bool]]) -> None:
        """Give people of the test an account and a key here."""
        address = compute_address(compute_public_key(self.seed))
        now = self.clock.read()

        def write(connection: Connection) -> None:
            for name, role, is_custodial in people:
                seed = make_seed(name)
                if is_custodial:
                    account = accounts.import_account(connection, seed, SEALING_KEY, now)
                else:
                    account = accounts.find_or_add_account(connection, make_address(name), now)
                made = accounts.create_key(connection, address, account, role, name, now)
                self.people[name] = Person(name, seed, account.address, made.key)

        await self.database.write(write)

    async def start(self) -> None:
        zkey = resources.files("zk.keys").joinpath("dev.zkey").read_bytes()
        self._prover = ProverProcess(zkey)
        verify: VerifyProof = self.chain.rules.verify_proof
        self.coordinator = Coordinator(
            chain=self.chain,
            storage=self.database,
            relay=self.relay,
            settings=self.settings,
            seed=self.seed,
            sealing_key=SEALING_KEY,
            prover=self._prover,
            verify_proof=verify,
            build_bundle=_build_bundle,
            clock=self.clock.read,
            version="0.0.0",
        )
        is_started = asyncio.Event()
        self._tasks = [asyncio.create_task(service.run(self.coordinator, is_started))]
        await is_started.wait()
        self._runner = web.AppRunner(
            build_app(self.routes, self.coordinator), access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self.is_running = True

    async def stop(self) -> None:
        self.is_running = False
        if self._runner is not None:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._prover is not None:
            await self._prover.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def call(
        self,
        method: str,
        path: str,
        who: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        data: Any = None,
    ) -> Reply:
        """Send a request over a socket; `who` gives the key."""
        sent = dict(headers or {})
        if who is not None:
            sent["X-Api-Key"] = self.people[who].key
        arguments: dict[str, Any] = {}
        if data is not None:
            arguments["data"] = io.BytesIO(data) if isinstance(data, bytes) else data
        if body is not None:
            arguments["json"] = body
        async with self.session.request(
            method, self.url + path, headers=sent, **arguments
        ) as response:
            content = await response.read()
            kind = response.content_type
            value = await response.json(content_type=None) if "json" in kind and content else None
            return Reply(response.status, response.headers, content, value)

    async def until(
        self, path: str, who: str, holds: Callable[[Any], bool], seconds: float = 20
    ) -> Any:
        """Return a GET's answer as soon as it holds."""
        async with asyncio.timeout(seconds):
            while True:
                reply = await self.call("GET", path, who)
                if reply.status == 200 and holds(reply.json):
                    return reply.json
                await asyncio.sleep(0.02)

    async def submit(self, who: str = "client", **members: Any) -> Any:
        """Submit a small text job, wait until it is queued, return it."""
        body = {"prompt": "Say hello.", "params": {"max_tokens": 16}, "max_cost": "0.5", **members}
        reply = await self.call("POST", "/v1/jobs", who, body)
        assert reply.status == 201, reply
        return await self.until(
            f"/v1/jobs/{reply.json['job_id']}", who, lambda job: job["phase"] == "queued"
        )

    async def register(self, who: str = "miner", name: str | None = None, **members: Any) -> str:
        """Register a custodial miner and wait until it is active; return its name."""
        name = name or f"miner_{who}"
        body = {"miner_id": name, "capabilities": ["llm_inference"], **members}
        reply = await self.call("POST", "/v1/miners/register", who, body)
        assert reply.status in (200, 201), reply
        await self.until(f"/v1/miners/{name}", who, lambda m: m["status"] == "active")
        return name

    async def claim(self, job_id: str, who: str = "miner") -> Reply:
        return await self.call(
            "POST", f"/v1/jobs/{job_id}/claim", who, {"miner_id": f"miner_{who}"}
        )

    def pass_time(self, seconds: float) -> None:
        """Let time pass in blocks that are never so far apart that the chain calls it an outage."""
        while seconds > 0:
            self.clock.advance(min(seconds, 30))
            self.chain.produce()
            seconds -= 30

    def get_balance(self, who: str) -> int:
        return get_account(self.chain.get_view(), self.people[who].address).balance


async def _build_bundle(job_id: bytes) -> dict[str, Any] | None:
    return {"job": job_id.hex()}


@asynccontextmanager
async def open_world(
    folder: Path, is_automatic: bool = True, is_dev: bool = True, **settings: Any
) -> AsyncIterator[World]:
    """Yield a started world with funded people."""
    clock = Clock()
    genesis = make_genesis({make_address(name): FUNDED for name, _, _ in PEOPLE})
    chain = InProcessChain(genesis, clock, is_automatic, is_dev)
    database = Database.create(folder / "node.db", DATABASE_KEY, tables=[METADATA])
    world = World(database, chain, clock)
    world.settings = world.settings.model_copy(update=settings)
    await world.enrol(PEOPLE)
    async with aiohttp.ClientSession() as session:
        world.session = session
        await world.start()
        try:
            yield world
        finally:
            await world.stop()
            await chain.close()
            await database.close()


def make_key() -> str:
    """Return a fresh Idempotency-Key."""
    return secrets.token_hex(8)
