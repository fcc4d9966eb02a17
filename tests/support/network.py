"""The other real implementation of `p2p.interface.Network`: nodes of one process, in memory.

Frames arrive in order and at once; links can be cut and healed. What a hostile peer would send is
sent by a test through an `Endpoint` that no node is behind.
"""

import asyncio
import itertools
import os
from collections.abc import Sequence

from p2p.interface import (
    Announced,
    Asked,
    AskFailed,
    Channel,
    Event,
    Joined,
    Left,
    PeerStatus,
    Received,
    Session,
)


class Hub:
    """Everybody who is on the network, and which links are cut."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []
        self._cut: set[frozenset[Endpoint]] = set()

    def make(self, key: bytes) -> "Endpoint":
        """Return the network of a node with this key."""
        return Endpoint(self, key)

    def cut(self, first: "Endpoint", second: "Endpoint") -> None:
        """End the link between two, until it is healed."""
        self._cut.add(frozenset((first, second)))
        first.lose(second, "the link is cut")

    def heal(self) -> None:
        """Join again whoever is on the network and has no link."""
        self._cut.clear()
        for first, second in itertools.combinations(self.endpoints, 2):
            self.join(first, second)

    def join(self, first: "Endpoint", second: "Endpoint") -> None:
        """Connect two, unless they are or their link is cut."""
        if frozenset((first, second)) not in self._cut and not first.is_linked(second):
            first.link(second, is_inbound=False)
            second.link(first, is_inbound=True)


class Endpoint:
    """One node's network, or a test's own hand in it."""

    def __init__(self, hub: Hub, key: bytes) -> None:
        self.key = key
        self.peer_id = key.hex()
        self.addresses: tuple[str, ...] = (f"/memory/{self.peer_id}",)
        self.sessions: dict[int, Endpoint] = {}
        self.banned: set[bytes] = set()
        self.instance = os.urandom(16)
        self._hub = hub
        self._numbers = itertools.count(1)
        self._questions = itertools.count(1)
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._askers: dict[tuple[int, int], tuple[Endpoint, int]] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    async def start(self) -> None:
        for other in self._hub.endpoints:
            self._hub.join(self, other)
        self._hub.endpoints.append(self)

    async def next_event(self) -> Event:
        return await self._events.get()

    def send(self, session: int, channel: Channel, data: bytes) -> bool:
        other = self.sessions.get(session)
        if other is not None:
            other.put(Received(other.get_number(self), channel, data))
        return other is not None

    async def ask(self, session: int, data: bytes, timeout: float) -> bytes:
        other = self.sessions.get(session)
        if other is None:
            raise AskFailed("the session is over")
        question = next(self._questions)
        self._asked[question] = asyncio.get_running_loop().create_future()
        other.take_question(self, question, data)
        try:
            async with asyncio.timeout(timeout):
                return await self._asked[question]
        except TimeoutError:
            raise AskFailed("no answer in time") from None
        finally:
            self._asked.pop(question, None)

    def answer(self, session: int, question: int, data: bytes | None) -> None:
        asker, number = self._askers.pop((session, question), (None, 0))
        if asker is not None:
            asker.take_answer(number, data)

    def announce(self, data: bytes) -> None:
        for other in self.sessions.values():
            other.put(Announced(self.peer_id, data))

    def disconnect(self, session: int, reason: str, ban_seconds: float = 0) -> None:
        other = self.sessions.get(session)
        if other is not None:
            if ban_seconds:
                self.banned.add(other.key)
            self.lose(other, reason)

    def set_authorities(self, keys: frozenset[bytes]) -> None:
        """Everybody is admitted here."""

    def add_addresses(self, addresses: Sequence[str]) -> None:
        """Everybody is connected here."""

    def get_peers(self) -> list[PeerStatus]:
        return [
            PeerStatus(self._describe(number, other, False), 0.1, 1.0, 0, 0)
            for number, other in self.sessions.items()
        ]

    def get_counters(self) -> dict[str, dict[str, int]]:
        return {}

    async def close(self) -> None:
        if self in self._hub.endpoints:
            self._hub.endpoints.remove(self)
        for other in list(self.sessions.values()):
            self.lose(other, "closed")

    # What the other ends call.

    def take_events(self) -> list[Event]:
        """Return what has come so far, for a test's own hand."""
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    def put(self, event: Event) -> None:
        self._events.put_nowait(event)

    def is_linked(self, other: "Endpoint") -> bool:
        return other in self.sessions.values()

    def get_number(self, other: "Endpoint") -> int:
        return next(number for number, each in self.sessions.items() if each is other)

    def link(self, other: "Endpoint", *, is_inbound: bool) -> None:
        number = next(self._numbers)
        self.sessions[number] = other
        self.put(Joined(self._describe(number, other, is_inbound)))

    def lose(self, other: "Endpoint", reason: str) -> None:
        for one, two in ((self, other), (other, self)):
            for number in [number for number, each in one.sessions.items() if each is two]:
                del one.sessions[number]
                one.put(Left(number, reason))

    def take_question(self, asker: "Endpoint", number: int, data: bytes) -> None:
        question = next(self._questions)
        session = self.get_number(asker)
        self._askers[(session, question)] = (asker, number)
        self.put(Asked(session, question, data))

    def take_answer(self, number: int, data: bytes | None) -> None:
        future = self._asked.get(number)
        if future is None or future.done():
            return
        if data is None:
            future.set_exception(AskFailed("declined"))
        else:
            future.set_result(data)

    def _describe(self, number: int, other: "Endpoint", is_inbound: bool) -> Session:
        return Session(
            number,
            other.peer_id,
            other.key,
            other.instance,
            other.addresses[0],
            "memory",
            is_inbound,
        )
