"""Decides which engine of a kind takes the next job, and that a lost one is followed by another.

Each engine has a keeper: it brings it up on whatever node has room, asks it from time to time
whether it is there, and starts another where it is not. A job holds a place on one engine.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

import structlog

from miner.pools.messages import Greeting, MessageError, decode, get_release
from miner.pools.placement import Demand, Node
from miner.stopping import wait_for_stop

PREPARE_SECONDS: Final = 1_800.0
"""To find room, start a process, fetch a model and load it."""
PING_SECONDS: Final = 3.0
SILENCE_SECONDS: Final = 10.0
"""After so long without an answer an engine is lost: its node is gone, or as good as gone."""
CLOSE_SECONDS: Final = 5.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
TOKEN: Final = "token"

log = structlog.get_logger(__name__)


class HostLostError(Exception):
    """The engine's process or node does not answer any more."""


class EngineRefusedError(Exception):
    """An engine does not come up on its node, or is not to be trusted there."""


class Host(Protocol):
    """A `miner.pools.host.EngineHost` somewhere."""

    async def call(self, method: str, *arguments: Any, seconds: float) -> Any:
        """Return what one of its coroutines returns. Raises `HostLostError`."""

    async def kill(self) -> None:
        """End its process at once."""


class Cluster(Protocol):
    """Machines of one owner."""

    async def list_nodes(self) -> list[Node]:
        """Return the nodes that are up. Raises `HostLostError`."""

    async def start(self, demand: Demand, settings: Mapping[str, Any]) -> Host:
        """Start a process for an engine. Raises `HostLostError`."""

    async def close(self) -> None:
        """Leave it."""


class Member:
    """One engine that is up."""

    def __init__(self, host: Host, greeting: Greeting) -> None:
        self.host = host
        self.greeting = greeting
        self.jobs = 0
        self.is_lost = asyncio.Event()


class Shape(NamedTuple):
    """What every engine of a group is started with, and how many jobs it runs at a time."""

    demand: Demand
    settings: Mapping[str, Any]
    model: str
    jobs: int


class Members:
    """The engines of one kind."""

    def __init__(self, cluster: Cluster, shape: Shape) -> None:
        self._cluster = cluster
        self._shape = shape
        self._ready: list[Member] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()

    @property
    def greetings(self) -> list[Greeting]:
        """Of the engines that are up."""
        return [member.greeting for member in self._ready]

    async def open(self, count: int) -> None:
        """Bring `count` engines up. Raises `EngineRefusedError` and `HostLostError`."""
        starting = [asyncio.create_task(self._start()) for _ in range(count)]
        try:
            members = await asyncio.gather(*starting)
        except BaseException:
            for task in starting:
                task.cancel()
            ended = await asyncio.gather(*starting, return_exceptions=True)
            for member in ended:
                if isinstance(member, Member):
                    await member.host.kill()
            raise
        self._ready.extend(members)
        self._keepers = [asyncio.create_task(self._keep(member)) for member in members]

    @contextlib.asynccontextmanager
    async def lend(self, stop: asyncio.Event) -> AsyncIterator[Member | None]:
        """Give an engine with a free place, or None when `stop` is set before there is one."""
        member = await wait_for_stop(stop, self._take())
        try:
            yield member
        finally:
            if member is not None:
                member.jobs -= 1
                async with self._changed:
                    self._changed.notify_all()

    def retire(self, member: Member, reason: str) -> None:
        """Have an engine replaced, whose process is in doubt."""
        if not member.is_lost.is_set():
            log.warning("an engine is lost", kind=self._shape.demand.kind, reason=reason)
        member.is_lost.set()

    async def close(self) -> None:
        """End every engine."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(_close(member) for member in self._ready))
        self._ready.clear()

    async def _take(self) -> Member:
        async with self._changed:
            while True:
                free = [
                    member
                    for member in self._ready
                    if member.jobs < self._shape.jobs and not member.is_lost.is_set()
                ]
                if free:
                    member = min(free, key=lambda member: member.jobs)
                    member.jobs += 1
                    return member
                await self._changed.wait()

    async def _keep(self, member: Member) -> None:
        while True:
            await self._watch(member)
            self._ready.remove(member)
            await member.host.kill()
            member = await self._replace()
            log.info("an engine is back", kind=self._shape.demand.kind, engines=len(self._ready))

    async def _watch(self, member: Member) -> None:
        """Return when an engine is lost."""
        while not member.is_lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await member.is_lost.wait()
                return
            try:
                await member.host.call("ping", seconds=SILENCE_SECONDS)
            except HostLostError as error:
                self.retire(member, str(error))

    async def _replace(self) -> Member:
        pause = FIRST_PAUSE
        while True:
            try:
                member = await self._start()
            except (HostLostError, EngineRefusedError) as error:
                log.warning("starting again", kind=self._shape.demand.kind, reason=str(error))
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)
                continue
            async with self._changed:
                self._ready.append(member)
                self._changed.notify_all()
            return member

    async def _start(self) -> Member:
        host = await self._cluster.start(self._shape.demand, self._shape.settings)
        try:
            data = await host.call("prepare", seconds=PREPARE_SECONDS)
            greeting = decode(data, Greeting)
            self._check(greeting)
        except MessageError as error:
            await host.kill()
            raise EngineRefusedError(str(error)) from None
        except BaseException:
            await host.kill()
            raise
        return Member(host, greeting)

    def _check(self, greeting: Greeting) -> None:
        if greeting.access != TOKEN:
            raise EngineRefusedError(
                "a node of the cluster lets anybody in: start Ray on every node with "
                "RAY_AUTH_MODE=token (see docs/miners.md)"
            )
        if greeting.release != get_release():
            raise EngineRefusedError(
                f"a node has release {greeting.release} of aitbc, the miner {get_release()}"
            )
        if greeting.description is None:
            raise EngineRefusedError(greeting.problem or "the engine did not come up")
        if greeting.description.model != self._shape.model:
            raise EngineRefusedError(
                f"a node's engine has {greeting.description.model}, not {self._shape.model}"
            )


async def _close(member: Member) -> None:
    """End an engine in order, or else at once."""
    with contextlib.suppress(HostLostError):
        await member.host.call("close", seconds=CLOSE_SECONDS)
    await member.host.kill()
