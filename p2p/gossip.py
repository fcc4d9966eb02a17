"""Small announcements by libp2p's GossipSub, which may fail without anything else noticing.

Rule W9. It runs over the sessions that stand, sees only what the filter lets through, and is begun
anew when it raises all the same.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from time import time_ns
from typing import Any, Final

import structlog
import trio
from msgspec import Struct

from ledger.rejection import Rejected, Rejection
from p2p.counters import Counters
from p2p.gossip_filter import ALL_PER_SECOND, MAX_RPC_BYTES, TOPIC, GossipFilter, find_author
from p2p.host import Host, accept_protocol, open_stream
from p2p.interface import Announced
from p2p.libp2p_parts import (
    ID,
    PROTOCOL_ID_V11,
    GossipSub,
    PeerStore,
    PrivateKey,
    PublicKey,
    Pubsub,
    StreamClosed,
    StreamEOF,
    SwarmException,
    TProtocol,
    background_trio_service,
)
from p2p.limits import TokenBucket
from p2p.multiplexer import ConnectionLost, Multiplexer, Stream

log = structlog.get_logger()

PROTOCOL: Final = str(PROTOCOL_ID_V11)
PRIORITY: Final = 4
"""After everything that matters."""
MAX_WAITING: Final = 64
"""Announcements of this node that GossipSub has not taken yet."""
RESTART_SECONDS: Final = 1.0
DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12


class GossipPeer(Struct, frozen=True, eq=False):
    """A session as GossipSub's host sees it: a connection to a peer."""

    peer_id: ID
    streams: Multiplexer

    @property
    def muxed_conn(self) -> "GossipPeer":
        """The library asks the connection for its peer by way of this."""
        return self

    @property
    def is_closed(self) -> bool:
        """Sessions that are over are not listed."""
        return False


class FilteredStream:
    """A gossip stream as the library reads and writes it, with the filter in between."""

    metric_send_channel = None

    def __init__(
        self, peer: GossipPeer, stream: Stream, counters: Counters, shared: TokenBucket
    ) -> None:
        self.muxed_conn = peer
        self._stream = stream
        self._counters = counters
        self._filter = GossipFilter(counters, trio.current_time(), shared)
        self._received = bytearray()
        self._clean = bytearray()

    def get_protocol(self) -> TProtocol:
        """Return the one version that is offered."""
        return PROTOCOL_ID_V11

    async def read(self, n: int | None = None) -> bytes:
        """Return up to `n` bytes of clean frames. Raises `StreamEOF`."""
        while not self._clean:
            try:
                self._received += await self._stream.receive()
                self._split()
            except ConnectionLost as error:
                raise StreamEOF(str(error)) from None
            except Rejected as error:
                self._counters.add("dropped", "gossip_stream")
                log.info("gossip of a peer is not read", problem=error.detail)
                self._stream.close()
                raise StreamEOF(error.detail) from None
        data = bytes(self._clean[:n])
        del self._clean[: len(data)]
        return data

    async def write(self, data: bytes) -> None:
        """Write all. Raises `StreamClosed`."""
        try:
            await self._stream.send(data)
        except ConnectionLost as error:
            raise StreamClosed(str(error)) from None

    async def reset(self) -> None:
        """End the stream."""
        self._stream.close()

    async def close(self) -> None:
        """End the stream."""
        self._stream.close()

    def _split(self) -> None:
        """Clean every whole frame. Raises `Rejected`."""
        while (found := _find_frame(self._received)) is not None:
            start, end = found
            clean = self._filter.clean(bytes(self._received[start:end]), trio.current_time())
            del self._received[:end]
            if clean:
                self._clean += _encode_length(len(clean)) + clean


class GossipHost:
    """What the library asks of a host and its network, over the sessions that stand."""

    def __init__(self, host: Host, counters: Counters) -> None:
        self._host = host
        self._counters = counters
        self._peerstore = PeerStore()
        self._shared = TokenBucket(ALL_PER_SECOND, 4 * ALL_PER_SECOND, trio.current_time())
        self._peers: list[GossipPeer] = []
        self.notifee: Any = None
        self.handler: Any = None

    def get_id(self) -> ID:
        """Return this node's peer id."""
        return self._host.id

    def get_private_key(self) -> PrivateKey:
        """Return the key of the transport, which signs announcements."""
        return self._host.key_pair.private_key

    def get_public_key(self) -> PublicKey:
        """Return its public half."""
        return self._host.key_pair.public_key

    def get_peerstore(self) -> PeerStore:
        """Return the store for this node's own record; nothing of peers comes in."""
        return self._peerstore

    def get_addrs(self) -> list[Any]:
        """Return nothing: addresses travel by sessions."""
        return []

    def get_network(self) -> "GossipHost":
        """Return what plays the network."""
        return self

    def register_notifee(self, notifee: Any) -> None:
        """Keep whom to tell of peers."""
        self.notifee = notifee

    def set_stream_handler(self, _: TProtocol, handler: Any) -> None:
        """Keep who reads the peers' streams."""
        self.handler = handler

    def get_connections(self, peer_id: ID) -> list[GossipPeer]:
        """Return the sessions with a peer id."""
        return [peer for peer in self._peers if peer.peer_id == peer_id]

    async def new_stream(self, peer_id: ID, _: object) -> FilteredStream:
        """Return a stream for what this node gossips. Raises `SwarmException`."""
        for peer in self.get_connections(peer_id):
            try:
                stream = await open_stream(peer.streams, PROTOCOL, PRIORITY)
            except ConnectionLost:
                continue
            return self.filter(peer, stream)
        raise SwarmException(f"no session with {peer_id}")

    def filter(self, peer: GossipPeer, stream: Stream) -> FilteredStream:
        """Return a stream as the library may see it."""
        return FilteredStream(peer, stream, self._counters, self._shared)

    def add(self, peer: GossipPeer) -> None:
        """Note a session."""
        self._peers.append(peer)

    def remove(self, peer: GossipPeer) -> None:
        """Note that a session is over."""
        self._peers.remove(peer)

    def get_peers(self) -> tuple[GossipPeer, ...]:
        """Return all sessions."""
        return tuple(self._peers)


class Gossip:
    """Announces and hears; `run` never returns."""

    def __init__(self, host: Host, counters: Counters, report: Callable[[Announced], None]) -> None:
        self._own_id = host.id.to_bytes()
        self._host = GossipHost(host, counters)
        self._counters = counters
        self._report = report
        self._outgoing_send, self._outgoing = trio.open_memory_channel[bytes](MAX_WAITING)
        self._is_running = False

    async def run(self) -> None:
        """Run until cancelled, and again whenever it breaks."""
        while True:
            try:
                await self._run_once()
            except* Exception as group:  # noqa: BLE001 - no remote byte may end the process
                self._counters.add("gossip", "restarted")
                log.warning("gossip broke and begins anew", problem=str(group.exceptions[0])[:200])
            await trio.sleep(RESTART_SECONDS)

    def announce(self, data: bytes) -> None:
        """Gossip an announcement, or count that it was dropped."""
        try:
            self._outgoing_send.send_nowait(data)
        except trio.WouldBlock:
            self._counters.add("dropped", "announcement_queue_full")

    async def serve_peer(self, peer_id: str, streams: Multiplexer) -> None:
        """Take part with a peer until cancelled."""
        peer = GossipPeer(ID.from_base58(peer_id), streams)
        self._host.add(peer)
        try:
            await self._tell("connected", peer)
            await trio.sleep_forever()
        finally:
            self._host.remove(peer)
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await self._tell("disconnected", peer)

    async def serve_streams(self, peer_id: str, streams: Multiplexer) -> None:
        """Read what a peer gossips, one stream after the other, until its connection ends."""
        peer = GossipPeer(ID.from_base58(peer_id), streams)
        while True:
            try:
                stream = await streams.accept()
            except ConnectionLost:
                return
            try:
                await accept_protocol(stream, (PROTOCOL,))
                if self._is_running:
                    await self._host.handler(self._host.filter(peer, stream))
            except Exception as error:  # noqa: BLE001 - no remote byte may end the process
                self._counters.add("dropped", "gossip_stream")
                log.debug("gossip of a peer ended", problem=f"{type(error).__name__}: {error}")
            stream.close()

    async def _tell(self, what: str, peer: GossipPeer) -> None:
        if self._is_running:
            await getattr(self._host.notifee, what)(self._host, peer)

    async def _run_once(self) -> None:
        router = GossipSub(
            protocols=[PROTOCOL_ID_V11],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=1,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
        )
        host: Any = self._host
        pubsub = Pubsub(
            host, router, max_inbound_rpc_size=MAX_RPC_BYTES, allowed_topics=frozenset({TOPIC})
        )
        # Numbers that no earlier process of this key has used: peers drop what they know.
        pubsub.counter = time_ns()
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(background_trio_service(router))
                await stack.enter_async_context(background_trio_service(pubsub))
                await pubsub.wait_until_ready()
                subscription = await pubsub.subscribe(TOPIC)
                self._is_running = True
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._publish, pubsub)
                    for peer in self._host.get_peers():
                        await self._tell("connected", peer)
                    while True:
                        self._hear(await subscription.get())
        finally:
            self._is_running = False

    async def _publish(self, pubsub: Pubsub) -> None:
        async for data in self._outgoing:
            self._counters.add("gossip", "announced")
            await pubsub.publish(TOPIC, data)

    def _hear(self, message: Any) -> None:
        author = find_author(message)
        if author != self._own_id:
            self._counters.add("gossip", "delivered")
            self._report(Announced(ID(author).to_base58(), bytes(message.data)))


def _find_frame(data: bytearray) -> tuple[int, int] | None:
    """Return where the first frame begins and ends, if it is whole. Raises `Rejected`."""
    length = 0
    for index, byte in enumerate(data[:4]):
        length |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            if length > MAX_RPC_BYTES:
                break
            end = index + 1 + length
            return (index + 1, end) if end <= len(data) else None
    else:
        if len(data) < 4:
            return None
    raise Rejected(Rejection.TOO_LARGE, f"a frame of over {MAX_RPC_BYTES} bytes")


def _encode_length(length: int) -> bytes:
    encoded = bytearray()
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)
