"""How a TCP connection becomes one with a proved peer and streams: Noise, then yamux (rule W5).

libp2p's own pieces below its host: multistream-select, Noise XX, nothing else offered. Its host and
swarm file connections under the peer's id, so two processes with one key would share streams, and
they dial, prune, identify and map ports by themselves; none of that is used.
"""

from collections.abc import Sequence
from typing import Any

import trio

from p2p import multiplexer
from p2p.guard import GuardedConnection
from p2p.libp2p_parts import (
    ID,
    NOISE,
    BaseLibp2pError,
    IOException,
    ISecureConn,
    Multiselect,
    MultiselectClient,
    MultiselectCommunicator,
    NoiseTransport,
    SecurityMultistream,
    TProtocol,
    create_identity,
    create_static_key,
)
from p2p.limits import HANDSHAKE_SECONDS
from p2p.multiplexer import ConnectionLost, Multiplexer, Stream

YAMUX = TProtocol(multiplexer.PROTOCOL)
ED25519_PREFIX = "12D3KooW"
MAX_NEGOTIATION_READ = 1_024
"""The longest name of a protocol that is read, in bytes."""


class Host:
    """This node's libp2p identity, and how connections are secured with it."""

    def __init__(self, transport_seed: bytes) -> None:
        self.key_pair = create_identity(transport_seed)
        self.id = ID.from_pubkey(self.key_pair.public_key)
        self.peer_id = self.id.to_base58()
        noise = NoiseTransport(self.key_pair, noise_privkey=create_static_key().private_key)
        self._security = SecurityMultistream({NOISE: noise})

    async def secure(self, raw: GuardedConnection, peer_id: str | None) -> tuple[str, Multiplexer]:
        """Return the peer's proved id and the streams' multiplexer, which is not running yet.

        A dialler names the peer that it expects. Raises `ConnectionLost`, or whatever libp2p does
        with bytes that are not what it expects.
        """
        secured: ISecureConn
        if peer_id is None:
            secured = await self._security.secure_inbound(raw)
        else:
            secured = await self._security.secure_outbound(raw, ID.from_base58(peer_id))
        proved = secured.get_remote_peer().to_base58()
        if not proved.startswith(ED25519_PREFIX):
            raise ConnectionLost("a peer id that is not of an Ed25519 key")
        if raw.is_initiator:
            await select_protocol(secured, (YAMUX,))
        else:
            await offer_protocols(secured, (YAMUX,))
        return proved, Multiplexer(secured, is_initiator=raw.is_initiator)


class NegotiatedStream:
    """A stream as libp2p's negotiation reads it: exactly `n` bytes, and never a long name."""

    def __init__(self, stream: Stream) -> None:
        self.rest = bytearray()
        """What came behind the negotiation."""
        self._stream = stream

    async def read(self, n: int | None = None) -> bytes:
        """Return exactly `n` bytes. Raises `IOException`, as libp2p expects."""
        if n is None or n > MAX_NEGOTIATION_READ:
            raise IOException(f"a name of {n} bytes")
        try:
            while len(self.rest) < n:
                self.rest += await self._stream.receive()
        except ConnectionLost as error:
            raise IOException(str(error)) from None
        data = bytes(self.rest[:n])
        del self.rest[:n]
        return data

    async def write(self, data: bytes) -> None:
        """Write all. Raises `IOException`."""
        try:
            await self._stream.send(data)
        except ConnectionLost as error:
            raise IOException(str(error)) from None


async def open_stream(streams: Multiplexer, protocol: str, priority: int) -> Stream:
    """Return a new stream that speaks a protocol. Raises `ConnectionLost`."""
    stream = streams.open(priority)
    negotiated = NegotiatedStream(stream)
    try:
        await select_protocol(negotiated, (TProtocol(protocol),))
    except (BaseLibp2pError, UnicodeDecodeError) as error:
        stream.close()
        raise ConnectionLost(f"{protocol}: {error}") from None
    stream.unread(negotiated.rest)
    return stream


async def accept_protocol(stream: Stream, protocols: Sequence[str]) -> str:
    """Return the protocol that the peer chose for its stream. Raises `ConnectionLost`."""
    negotiated = NegotiatedStream(stream)
    try:
        chosen = await offer_protocols(negotiated, tuple(map(TProtocol, protocols)))
    except (BaseLibp2pError, UnicodeDecodeError) as error:
        stream.close()
        raise ConnectionLost(f"no protocol for the stream: {error}") from None
    stream.unread(negotiated.rest)
    return chosen


async def select_protocol(connection: Any, protocols: Sequence[TProtocol]) -> str:
    """Ask for one of the protocols. Raises what libp2p raises."""
    communicator = MultiselectCommunicator(connection)
    return str(
        await MultiselectClient().select_one_of(protocols, communicator, int(HANDSHAKE_SECONDS))
    )


async def offer_protocols(connection: Any, protocols: Sequence[TProtocol]) -> str:
    """Wait for the peer to choose one of the protocols. Raises what libp2p raises."""
    offered = Multiselect()
    for protocol in protocols:
        offered.add_handler(protocol, None)
    chosen, _ = await offered.negotiate(MultiselectCommunicator(connection), int(HANDSHAKE_SECONDS))
    return str(chosen)


async def open_listeners(host: str, port: int) -> Sequence[trio.SocketListener]:
    """Return listeners on a host and port. Raises `OSError`."""
    return await trio.open_tcp_listeners(port, host=host, backlog=128)
