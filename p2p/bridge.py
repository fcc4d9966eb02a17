"""What crosses between the event loop and the transport, in a thread or a process: orders, reports.

Plain records of bytes and numbers, so that both ways of running are one. Queues are bounded by
what the two sides tell each other: the loop counts what it sent and was not yet `Written`, the
transport what it reported and was not yet `Taken`.
"""

from msgspec import Struct

from p2p.counters import Snapshot
from p2p.interface import Announced, Asked, Joined, Left, PeerStatus, Received
from p2p.limits import Lane


class Send(Struct, frozen=True, tag=True):
    """Queue a frame on a channel."""

    session: int
    lane: Lane
    data: bytes


class Ask(Struct, frozen=True, tag=True):
    """Send a question; the number is this side's."""

    session: int
    question: int
    data: bytes


class Forget(Struct, frozen=True, tag=True):
    """Nobody waits for the answer any more."""

    session: int
    question: int


class Answer(Struct, frozen=True, tag=True):
    """Answer the peer's question, or decline it."""

    session: int
    question: int
    data: bytes | None


class Announce(Struct, frozen=True, tag=True):
    """Gossip."""

    data: bytes


class Disconnect(Struct, frozen=True, tag=True):
    """End a session, and refuse its key for a while."""

    session: int
    reason: str
    ban_seconds: float


class SetAuthorities(Struct, frozen=True, tag=True):
    """These keys are authorities', and no others."""

    keys: frozenset[bytes]


class AddAddresses(Struct, frozen=True, tag=True):
    """Dial these too."""

    addresses: tuple[str, ...]


class Taken(Struct, frozen=True, tag=True):
    """The node has taken so many bytes of what was reported of a stream."""

    session: int
    lane: Lane
    cost: int


class Close(Struct, frozen=True, tag=True):
    """End."""


Order = (
    Send
    | Ask
    | Forget
    | Answer
    | Announce
    | Disconnect
    | SetAuthorities
    | AddAddresses
    | Taken
    | Close
)


class Started(Struct, frozen=True, tag=True):
    """The transport listens."""

    addresses: tuple[str, ...]


class Failed(Struct, frozen=True, tag=True):
    """The transport cannot start or go on."""

    reason: str


class Answered(Struct, frozen=True, tag=True):
    """The peer answered, declined, or can be asked no more."""

    session: int
    question: int
    data: bytes | None
    reason: str


class Written(Struct, frozen=True, tag=True):
    """So many bytes of what was to be sent on a stream are out of the queue."""

    session: int
    lane: Lane
    cost: int


class Measured(Struct, frozen=True, tag=True):
    """Once a second: the sessions, and what was counted so far."""

    peers: tuple[PeerStatus, ...]
    counters: Snapshot


Report = (
    Started | Failed | Answered | Written | Measured | Joined | Left | Received | Asked | Announced
)
