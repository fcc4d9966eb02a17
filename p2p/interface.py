"""What a node sees of the network: sessions with peers, and bytes in and out.

Nothing here knows trio or libp2p, so that the transport may run in a thread of this process
(p2p/thread.py) or in a process of its own (p2p/process.py). What the bytes mean is the node's.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Protocol

from msgspec import Struct

KIB: Final = 1024
MIB: Final = 1024 * 1024


class Channel(IntEnum):
    """Each a long-lived stream of its own in a session, so that long messages delay no vote."""

    VOTES = 0
    BLOCKS = 1
    TRANSACTIONS = 2


MAX_FRAME_BYTES: Final = {
    Channel.VOTES: 16 * KIB,
    Channel.BLOCKS: 4 * MIB + 4 * KIB,
    Channel.TRANSACTIONS: MIB,
}
MAX_QUESTION_BYTES: Final = 2 * MIB
MAX_ANSWER_BYTES: Final = 8 * MIB
MAX_ANNOUNCEMENT_BYTES: Final = KIB


class Session(Struct, frozen=True):
    """A shaken hand: the other side runs this protocol, this chain, and holds these keys."""

    number: int
    """Counted by this node; never used twice in a process."""
    peer_id: str
    """libp2p peer id, proved by Noise."""
    key: bytes
    """Ed25519 key of the peer's node, which signed for the peer id (32 bytes)."""
    instance: bytes
    """Random name of the peer's process (16 bytes): two of one key are two copies of it."""
    address: str
    """Multiaddress of the other end."""
    agent: str
    """Its software and version, as it says."""
    is_inbound: bool


class Joined(Struct, frozen=True, tag=True):
    """A session can be used."""

    session: Session


class Left(Struct, frozen=True, tag=True):
    """A session is over; nothing that was sent on it and not heard is repeated."""

    session: int
    reason: str


class Received(Struct, frozen=True, tag=True):
    """A frame on a channel, in the order in which it was sent."""

    session: int
    channel: Channel
    data: bytes


class Asked(Struct, frozen=True, tag=True):
    """A question, to be answered by `Network.answer` with its number."""

    session: int
    question: int
    data: bytes


class Announced(Struct, frozen=True, tag=True):
    """A small announcement that came by gossip, perhaps over several peers."""

    peer_id: str
    """Who signed it."""
    data: bytes


Event = Joined | Left | Received | Asked | Announced


class PeerStatus(Struct, frozen=True):
    """What an operator may know of a session."""

    session: Session
    latency_ms: float | None
    """Of the last ping; `None` before the first answer."""
    connected_seconds: float
    bytes_received: int
    bytes_sent: int


class NetworkIdentity(Struct, frozen=True):
    """Who this node is on the network: the transport holds no key but its own."""

    chain_id: bytes
    transport_seed: bytes
    """Ed25519 seed of the libp2p identity (32 bytes), derived from the node's key."""
    key: bytes
    """The node's key, public."""
    binding: bytes
    """Its signature for the peer id (`p2p/binding.py`)."""
    agent: str


class NetworkSettings(Struct, frozen=True):
    """Everything that an operator may choose about the transport."""

    host: str
    port: int
    """0 takes a free one."""
    bootstrap: tuple[str, ...] = ()
    """Multiaddresses that are dialled until a session stands, and again whenever it is lost."""
    advertised: tuple[str, ...] = ()
    """Where others may dial this node, if not at the address it listens on."""
    max_observers: int = 32
    """Sessions with keys that are no authority's."""
    is_open: bool = True
    """Whether keys that are no authority's may connect at all."""


class AskFailed(Exception):
    """No answer: the session is gone, busy, too slow, or declined."""


class NetworkFailed(Exception):
    """The transport cannot start or cannot go on: a port that is taken, a thread that died."""


class Network(Protocol):
    """The transport, called from the event loop's thread. No call blocks; queues are bounded."""

    @property
    def peer_id(self) -> str:
        """This node's own."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Multiaddresses that this node listens on, peer id included; known after `start`."""

    async def start(self) -> None:
        """Listen and begin to dial. Raises `NetworkFailed`."""

    async def next_event(self) -> Event:
        """Return what happened next. Raises `NetworkFailed`."""

    def send(self, session: int, channel: Channel, data: bytes) -> bool:
        """Queue a frame; `False` when the session is gone or its queue full (it is counted)."""

    async def ask(self, session: int, data: bytes, timeout: float) -> bytes:
        """Return the peer's answer. Raises `AskFailed`."""

    def answer(self, session: int, question: int, data: bytes | None) -> None:
        """Answer a question; `None` declines. Late answers and such to nobody do no harm."""

    def announce(self, data: bytes) -> None:
        """Gossip a small announcement; nothing may depend on its delivery."""

    def disconnect(self, session: int, reason: str, ban_seconds: float = 0) -> None:
        """End a session; its key is refused for so long."""

    def set_authorities(self, keys: frozenset[bytes]) -> None:
        """Say whose sessions count as authorities': always admitted, with the larger limits."""

    def add_addresses(self, addresses: Sequence[str]) -> None:
        """Learn addresses to dial; those of peers that have a session already are only kept."""

    def get_peers(self) -> list[PeerStatus]:
        """Return the sessions, as of less than a second ago."""

    def get_counters(self) -> dict[str, dict[str, int]]:
        """Return sums by name and label, as of less than a second ago."""

    async def close(self) -> None:
        """End every session and stop listening."""
