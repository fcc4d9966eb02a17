"""Who this node is connected to, what height each claims, and sending to authorities by their key.

Nothing that a peer claims is believed: a height is only a place to ask, and how far this node is
behind is what one more authority than may be faulty says (rule C12).
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from consensus.messages import Message, Proposal, encode_message
from ledger.crypto import compute_address
from ledger.quorum import compute_fault_bound
from node.clock import get_monotonic_time
from node.peer_messages import HeadNotice, KeyNotice, encode_news
from p2p.interface import AskFailed, Channel, Network, PeerStatus, Session

BAN_SECONDS = 30.0
"""How long a peer is not spoken to after it sent what no honest node sends."""

MAX_DOUBTS = 3
"""A peer that so often claims blocks and gives none is sent away."""

ANNOUNCE_MS = 5_000
"""A height goes out by gossip no more often: an announcement costs a hundred times a frame."""

UNKNOWN = -1
"""The height of a peer that has not told it yet."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Peer:
    session: Session
    height: int = UNKNOWN
    base: int = 0
    """It has no blocks before this height."""
    doubts: int = 0
    """How often in a row it gave nothing although it claimed to have more."""


class Peers:
    """Owned by the event loop; the only one in the node who sends."""

    def __init__(self, network: Network, key: bytes) -> None:
        """`key` is this node's own: what is sent to it goes nowhere."""
        self._network = network
        self._key = key
        self._peers: dict[int, _Peer] = {}
        self._by_key: dict[bytes, list[int]] = {}
        self._authorities: tuple[bytes, ...] = ()
        self._height = 0
        self._is_connected = asyncio.Event()
        self._announced_at = -ANNOUNCE_MS
        self._watchers: list[Callable[[Session], None]] = []

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def own_peer_id(self) -> str:
        """This node's name on the network."""
        return self._network.peer_id

    def join(self, session: Session) -> None:
        """Take in a new session, and say where this node stands."""
        self._peers[session.number] = _Peer(session)
        self._by_key.setdefault(session.key, []).append(session.number)
        self._note_connections()
        for on_joined in self._watchers:
            on_joined(session)
        log.info("peer joined", peer=session.peer_id, address=session.address)
        self._send(session.number, Channel.TRANSACTIONS, encode_news(HeadNotice(self._height)))

    def watch(self, on_joined: Callable[[Session], None]) -> None:
        """Tell of every session that stands, now and from now on."""
        self._watchers.append(on_joined)
        for peer in self._peers.values():
            on_joined(peer.session)

    def leave(self, number: int, reason: str) -> None:
        """Forget a session that is over."""
        peer = self._peers.pop(number, None)
        if peer is None:
            return
        numbers = self._by_key[peer.session.key]
        numbers.remove(number)
        if not numbers:
            del self._by_key[peer.session.key]
        self._note_connections()
        log.info("peer left", peer=peer.session.peer_id, reason=reason)

    def set_authorities(self, keys: Iterable[bytes], following: Iterable[bytes]) -> None:
        """Say who votes now, and who will: the sessions of both are an authority's."""
        self._authorities = tuple(keys)
        self._note_connections()
        self._network.set_authorities(frozenset((*self._authorities, *following)))

    @property
    def fault_bound(self) -> int:
        """How many of the authorities may be faulty."""
        return compute_fault_bound(max(1, len(self._authorities)))

    async def wait_connected_enough(self) -> None:
        """Return once one more authority than may be faulty has said where its chain ends."""
        await self._is_connected.wait()

    def find_elder(self, session: Session) -> int | None:
        """Return an earlier session of another process with the same key."""
        for number in self._by_key.get(session.key, ()):
            other = self._peers[number].session
            if number < session.number and other.instance != session.instance:
                return number
        return None

    def get_session(self, number: int) -> Session | None:
        """Return a session that still stands."""
        peer = self._peers.get(number)
        return peer.session if peer else None

    def is_authority(self, session: Session) -> bool:
        """Tell whether a session is that of an authority in force."""
        return session.key in self._authorities

    def is_connected(self, key: bytes) -> bool:
        """Tell whether a node's key has a session."""
        return key in self._by_key

    def find_sessions(self, address: bytes) -> list[int]:
        """Return the sessions of the node whose account has this address."""
        return self.list_sessions(key for key in self._by_key if compute_address(key) == address)

    def list_sessions(self, keys: Iterable[bytes]) -> list[int]:
        """Return the sessions of the nodes with these keys."""
        return [number for key in keys for number in self._by_key.get(key, ())]

    def broadcast(self, message: Message) -> None:
        """Send a consensus message to every other authority."""
        data = encode_message(message)
        channel = Channel.BLOCKS if isinstance(message, Proposal) else Channel.VOTES
        for number in self._list_authority_sessions():
            self._send(number, channel, data)

    def send(self, key: bytes, message: Message) -> None:
        """Send a consensus message to one authority."""
        data = encode_message(message)
        channel = Channel.BLOCKS if isinstance(message, Proposal) else Channel.VOTES
        for number in self.list_sessions((key,)):
            self._send(number, channel, data)

    def send_transactions(self, frames: Iterable[bytes]) -> None:
        """Send frames of waiting transactions to every other authority."""
        numbers = self._list_authority_sessions()
        for frame in frames:
            for number in numbers:
                self._send(number, Channel.TRANSACTIONS, frame)

    def send_transactions_to(self, number: int, frames: Iterable[bytes]) -> None:
        """Send frames of waiting transactions to one session."""
        for frame in frames:
            self._send(number, Channel.TRANSACTIONS, frame)

    def tell_height(self, height: int) -> None:
        """Say to everybody where this node's chain ends now."""
        self._height = height
        frame = encode_news(HeadNotice(height))
        for number in self._peers:
            self._send(number, Channel.TRANSACTIONS, frame)
        now = get_monotonic_time()
        if now >= self._announced_at + ANNOUNCE_MS:
            self._announced_at = now
            self._network.announce(frame)

    def note_announcement(self, peer_id: str, height: int) -> None:
        """Keep what a peer claims by gossip, if there is a session to ask it on."""
        for number, peer in self._peers.items():
            if peer.session.peer_id == peer_id:
                self.note_height(number, max(height, peer.height))

    async def ask(self, number: int, question: bytes, timeout: float) -> bytes:
        """Return a peer's answer. Raises `AskFailed`."""
        if number not in self._peers:
            raise AskFailed("the session is over")
        return await self._network.ask(number, question, timeout)

    def answer(self, number: int, question: int, data: bytes | None) -> None:
        """Answer a peer's question; `None` declines."""
        self._network.answer(number, question, data)

    def note_height(self, number: int, height: int) -> None:
        """Keep what a peer claims."""
        peer = self._peers.get(number)
        if peer is not None:
            peer.height = height
            self._note_connections()

    def note_range(self, number: int, base: int, height: int) -> None:
        """Keep from where to where a peer says that it has blocks."""
        peer = self._peers.get(number)
        if peer is not None:
            peer.base, peer.height = base, height

    def may_have(self, number: int, height: int) -> bool:
        """Tell whether a peer says that it has the block at a height."""
        peer = self._peers.get(number)
        return peer is not None and peer.base <= height <= peer.height

    def find_source(self, height: int, tried: set[int]) -> int | None:
        """Return the session to fetch the block after `height` from: the least doubted first."""
        ahead = [
            (-peer.doubts, peer.height, number)
            for number, peer in self._peers.items()
            if number not in tried and self.may_have(number, height + 1)
        ]
        return max(ahead)[2] if ahead else None

    def note_gift(self, number: int, *, is_given: bool) -> None:
        """Note whether a peer that claimed blocks gave any."""
        peer = self._peers.get(number)
        if peer is None:
            return
        peer.doubts = 0 if is_given else peer.doubts + 1
        if peer.doubts >= MAX_DOUBTS:
            self.punish(number, "it claims blocks that it does not give")

    def compute_behind_by(self) -> int:
        """Return how many final blocks this node lacks, by more authorities than may lie."""
        claims = sorted(
            (self._get_claim(key) for key in self._authorities if key != self._key), reverse=True
        )
        if len(claims) <= self.fault_bound:
            return 0
        return max(0, claims[self.fault_bound] - self._height)

    def tell_of_copy(self, number: int) -> None:
        """Say to a session that another process with its key is alive."""
        self._send(number, Channel.TRANSACTIONS, encode_news(KeyNotice()))

    def punish(self, number: int, reason: str) -> None:
        """End the session of a peer that sent what no honest node sends."""
        log.warning("peer refused", session=number, reason=reason)
        self._network.disconnect(number, reason, BAN_SECONDS)

    def list_status(self) -> list[tuple[PeerStatus, int, bool]]:
        """Return (status, claimed height, whether an authority's) of each session."""
        return [
            (status, self._peers[status.session.number].height, self.is_authority(status.session))
            for status in self._network.get_peers()
            if status.session.number in self._peers
        ]

    def _note_connections(self) -> None:
        others = [key for key in self._authorities if key != self._key]
        heard = sum(self._get_claim(key) != UNKNOWN for key in others)
        if heard >= min(len(others), self.fault_bound + 1):
            self._is_connected.set()
        else:
            self._is_connected.clear()

    def _get_claim(self, key: bytes) -> int:
        numbers = self._by_key.get(key, ())
        return max((self._peers[number].height for number in numbers), default=UNKNOWN)

    def _list_authority_sessions(self) -> list[int]:
        return self.list_sessions(key for key in self._authorities if key != self._key)

    def _send(self, number: int, channel: Channel, data: bytes) -> None:
        # What does not fit is counted there; consensus repeats, and so does the relay.
        self._network.send(number, channel, data)
