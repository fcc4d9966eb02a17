"""The event loop's half of the transport: everything of `Network`, whatever runs the other half.

It bounds what waits in either direction. What the node sends is refused once a stream's queue is
full; what it has not taken yet is told to the transport, which then reads that peer no further.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from ledger.crypto import compute_public_key
from p2p.binding import compute_peer_id
from p2p.bridge import (
    AddAddresses,
    Announce,
    Answer,
    Answered,
    Ask,
    Close,
    Disconnect,
    Failed,
    Forget,
    Measured,
    Order,
    Report,
    Send,
    SetAuthorities,
    Started,
    Taken,
    Written,
)
from p2p.counters import Counters, Snapshot, merge
from p2p.interface import (
    MAX_ANNOUNCEMENT_BYTES,
    MAX_FRAME_BYTES,
    MAX_QUESTION_BYTES,
    Announced,
    Asked,
    AskFailed,
    Channel,
    Event,
    Joined,
    Left,
    NetworkFailed,
    NetworkIdentity,
    PeerStatus,
    Received,
)
from p2p.limits import (
    CONTROL,
    MAX_ANNOUNCEMENTS,
    MAX_QUESTIONS,
    OUTGOING_BYTES,
    Lane,
    compute_cost,
)

TAKEN_BATCH_BYTES: Final = 16 * 1024
"""How much the node takes before the transport hears of it: less than it lets any stream hold."""


class Engine(Protocol):
    """What runs the transport: a thread, or a process."""

    async def start(self, front: "BridgedNetwork") -> None:
        """Start; reports go to `front.deliver`, on the event loop's thread."""

    def post(self, order: Order) -> None:
        """Pass an order on; never waits."""

    async def stop(self) -> None:
        """Wait until it has ended, but not for ever."""


class _Waiting:
    """What a session of the node's has under way."""

    def __init__(self) -> None:
        self.queued: dict[Lane, int] = dict.fromkeys(OUTGOING_BYTES, 0)
        self.answers: dict[int, asyncio.Future[bytes]] = {}
        self.untold: dict[Lane, int] = dict.fromkeys(OUTGOING_BYTES, 0)


class BridgedNetwork:
    """`Network` over an engine."""

    def __init__(self, identity: NetworkIdentity, engine: Engine) -> None:
        self._engine = engine
        self._peer_id = compute_peer_id(compute_public_key(identity.transport_seed))
        self._addresses: tuple[str, ...] = ()
        self._counters = Counters()
        self._remote_counters: Snapshot = {}
        self._peers: tuple[PeerStatus, ...] = ()
        self._sessions: dict[int, _Waiting] = {}
        self._events: deque[Event] = deque()
        self._announcements = 0
        self._next_question = 0
        self._failure: str | None = None
        self._started: asyncio.Future[None] | None = None
        self._ready: asyncio.Future[None] | None = None

    @property
    def peer_id(self) -> str:
        """This node's own."""
        return self._peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Multiaddresses that this node listens on, peer id included; known after `start`."""
        return self._addresses

    async def start(self) -> None:
        """Listen and begin to dial. Raises `NetworkFailed`."""
        self._started = asyncio.get_running_loop().create_future()
        await self._engine.start(self)
        await self._started

    async def next_event(self) -> Event:
        """Return what happened next. Raises `NetworkFailed`."""
        while not self._events:
            if self._failure is not None:
                raise NetworkFailed(self._failure)
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready
        event = self._events.popleft()
        self._note_taken(event)
        return event

    def send(self, session: int, channel: Channel, data: bytes) -> bool:
        """Queue a frame; `False` when the session is gone or its queue full (it is counted)."""
        assert len(data) <= MAX_FRAME_BYTES[channel], f"{len(data)} bytes on {channel.name}"
        if not self._queue(session, channel, data):
            return False
        self._engine.post(Send(session, channel, data))
        return True

    async def ask(self, session: int, data: bytes, timeout: float) -> bytes:
        """Return the peer's answer. Raises `AskFailed`."""
        assert len(data) <= MAX_QUESTION_BYTES, f"a question of {len(data)} bytes"
        waiting = self._sessions.get(session)
        if waiting is None:
            raise AskFailed("the session is over")
        if len(waiting.answers) >= MAX_QUESTIONS or not self._queue(session, CONTROL, data):
            raise AskFailed("as many questions as a session may have under way")
        self._next_question = self._next_question % (2**32 - 1) + 1
        question = self._next_question
        answer = waiting.answers[question] = asyncio.get_running_loop().create_future()
        self._engine.post(Ask(session, question, data))
        try:
            async with asyncio.timeout(timeout):
                found: bytes = await answer
                return found
        except TimeoutError:
            raise AskFailed(f"no answer within {timeout:g} s") from None
        finally:
            if waiting.answers.pop(question, None) is not None:
                self._engine.post(Forget(session, question))

    def answer(self, session: int, question: int, data: bytes | None) -> None:
        """Answer a question; `None` declines. Late answers and such to nobody do no harm."""
        if session not in self._sessions:
            return
        if data is not None and not self._queue(session, CONTROL, data):
            data = None
        self._engine.post(Answer(session, question, data))

    def announce(self, data: bytes) -> None:
        """Gossip a small announcement; nothing may depend on its delivery."""
        assert len(data) <= MAX_ANNOUNCEMENT_BYTES, f"an announcement of {len(data)} bytes"
        self._engine.post(Announce(data))

    def disconnect(self, session: int, reason: str, ban_seconds: float = 0) -> None:
        """End a session; its key is refused for so long."""
        self._engine.post(Disconnect(session, reason, ban_seconds))

    def set_authorities(self, keys: frozenset[bytes]) -> None:
        """Say whose sessions count as authorities': always admitted, with the larger limits."""
        self._engine.post(SetAuthorities(keys))

    def add_addresses(self, addresses: Sequence[str]) -> None:
        """Learn addresses to dial; those of peers that have a session already are only kept."""
        self._engine.post(AddAddresses(tuple(addresses)))

    def get_peers(self) -> list[PeerStatus]:
        """Return the sessions, as of less than a second ago."""
        return [peer for peer in self._peers if peer.session.number in self._sessions]

    def get_counters(self) -> Snapshot:
        """Return everything that was counted, by name and label."""
        return merge(self._remote_counters, self._counters.get_snapshot())

    async def close(self) -> None:
        """End every session and stop listening."""
        if self._started is None:
            return
        self._engine.post(Close())
        await self._engine.stop()
        self.fail("the transport is closed")

    def deliver(self, reports: Sequence[Report]) -> None:
        """Take what the transport reports, in order."""
        for report in reports:
            self._take(report)
        if self._ready is not None and (self._events or self._failure is not None):
            if not self._ready.done():
                self._ready.set_result(None)

    def fail(self, reason: str) -> None:
        """Note that the transport is no more: whoever waits for it hears so."""
        self.deliver((Failed(reason),))

    def _take(self, report: Report) -> None:
        match report:
            case Received() | Asked():
                self._events.append(report)
            case Written(session, lane, cost):
                if session in self._sessions:
                    self._sessions[session].queued[lane] -= cost
            case Answered(session, question, data, reason):
                self._resolve(session, question, data, reason)
            case Announced():
                self._take_announcement(report)
            case Joined(session=joined):
                self._sessions[joined.number] = _Waiting()
                self._peers += (PeerStatus(joined, None, 0.0, 0, 0),)
                self._events.append(report)
            case Left(session, reason):
                self._end(session, reason)
                self._events.append(report)
            case Measured(peers, counters):
                self._peers, self._remote_counters = peers, counters
            case Started(addresses):
                self._addresses = addresses
                if self._started is not None and not self._started.done():
                    self._started.set_result(None)
            case Failed(reason):
                self._take_failure(reason)

    def _take_failure(self, reason: str) -> None:
        if self._failure is not None:
            return
        self._failure = reason
        for session in tuple(self._sessions):
            self._end(session, reason)
        if self._started is not None and not self._started.done():
            self._started.set_exception(NetworkFailed(reason))

    def _take_announcement(self, report: Announced) -> None:
        if self._announcements >= MAX_ANNOUNCEMENTS:
            self._counters.add("dropped", "announcement_over_limit")
            return
        self._announcements += 1
        self._events.append(report)

    def _queue(self, session: int, lane: Lane, data: bytes) -> bool:
        """Count what is to be sent, or the drop."""
        waiting = self._sessions.get(session)
        if waiting is None:
            self._counters.add("dropped", "session_over")
            return False
        cost = compute_cost(data)
        if waiting.queued[lane] + cost > OUTGOING_BYTES[lane]:
            self._counters.add("dropped", "send_queue_full")
            return False
        waiting.queued[lane] += cost
        return True

    def _resolve(self, session: int, question: int, data: bytes | None, reason: str) -> None:
        waiting = self._sessions.get(session)
        answer = waiting.answers.pop(question, None) if waiting is not None else None
        if answer is None or answer.done():
            return
        if data is None:
            answer.set_exception(AskFailed(reason))
        else:
            answer.set_result(data)

    def _end(self, session: int, reason: str) -> None:
        waiting = self._sessions.pop(session, None)
        if waiting is None:
            return
        for answer in waiting.answers.values():
            if not answer.done():
                answer.set_exception(AskFailed(reason))
        waiting.answers.clear()

    def _note_taken(self, event: Event) -> None:
        """Tell the transport what the node took, in lots."""
        match event:
            case Received(session, channel, data):
                self._add_taken(session, channel, compute_cost(data))
            case Asked(session, _, data):
                self._add_taken(session, CONTROL, compute_cost(data))
            case Announced():
                self._announcements -= 1
            case _:
                pass

    def _add_taken(self, session: int, lane: Lane, cost: int) -> None:
        waiting = self._sessions.get(session)
        if waiting is None:
            return
        waiting.untold[lane] += cost
        if waiting.untold[lane] >= TAKEN_BATCH_BYTES:
            self._engine.post(Taken(session, lane, waiting.untold[lane]))
            waiting.untold[lane] = 0
