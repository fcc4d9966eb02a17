"""From a secured connection to the four streams of a session: both greet, then the dialler opens.

Rules W3 and W4. Each side refuses with a message, so that the other can log why.
"""

from collections.abc import Callable

from ledger.rejection import Rejected
from p2p.frames import FrameSplitter, encode_frame
from p2p.hello import (
    MAX_HELLO_BYTES,
    Hello,
    HelloRefused,
    Refusal,
    Refused,
    check_hello,
    decode_greeting,
    describe_refusal,
    encode_greeting,
    make_refusal,
)
from p2p.host import accept_protocol, open_stream
from p2p.interface import Channel
from p2p.limits import CONTROL, Lane
from p2p.multiplexer import ConnectionLost, Multiplexer, Stream

PROTOCOLS = {
    Channel.VOTES: "/aitbc/votes/1",
    Channel.BLOCKS: "/aitbc/blocks/1",
    Channel.TRANSACTIONS: "/aitbc/transactions/1",
    CONTROL: "/aitbc/control/1",
}
LANE_OF_PROTOCOL: dict[str, Lane] = {name: int(lane) for lane, name in PROTOCOLS.items()}

Admit = Callable[[Hello], None]
"""Takes the peer in or raises `HelloRefused`."""


class RefusedByPeer(Exception):
    """The other side sent a refusal."""

    def __init__(self, refused: HelloRefused) -> None:
        super().__init__(str(refused))
        self.refusal = refused.refusal


async def greet_as_dialler(
    streams: Multiplexer, peer_id: str, own: Hello, own_peer_id: str, admit: Admit
) -> tuple[Hello, dict[Lane, Stream]]:
    """Return the peer's hello and the session's streams.

    Raises `HelloRefused`, `RefusedByPeer`, `ConnectionLost`.
    """
    control = await open_stream(streams, PROTOCOLS[CONTROL], 0)
    await control.send(encode_frame(encode_greeting(own)))
    hello = await _receive_hello(streams, control, peer_id, own, own_peer_id, admit)
    lanes = {CONTROL: control}
    for channel in Channel:
        lanes[int(channel)] = await open_stream(streams, PROTOCOLS[channel], 0)
    return hello, lanes


async def greet_as_acceptor(
    streams: Multiplexer, peer_id: str, own: Hello, own_peer_id: str, admit: Admit
) -> tuple[Hello, dict[Lane, Stream]]:
    """Return the peer's hello and the session's streams.

    Raises `HelloRefused`, `ConnectionLost`.
    """
    control = await streams.accept()
    await accept_protocol(control, (PROTOCOLS[CONTROL],))
    hello = await _receive_hello(streams, control, peer_id, own, own_peer_id, admit)
    await control.send(encode_frame(encode_greeting(own)))
    lanes = {CONTROL: control}
    missing = {PROTOCOLS[channel] for channel in Channel}
    try:
        while missing:
            stream = await streams.accept()
            protocol = await accept_protocol(stream, tuple(missing))
            missing.discard(protocol)
            lanes[LANE_OF_PROTOCOL[protocol]] = stream
    except ConnectionLost:
        _raise_if_refused(control)
        raise
    return hello, lanes


def _raise_if_refused(control: Stream) -> None:
    """Say why the other side went, if it left a refusal. Raises `RefusedByPeer`."""
    try:
        for frame in FrameSplitter(MAX_HELLO_BYTES).feed(control.take_received()):
            greeting = decode_greeting(frame)
            if isinstance(greeting, Refused):
                raise RefusedByPeer(describe_refusal(greeting))
    except (Rejected, HelloRefused):
        return


async def _receive_hello(
    streams: Multiplexer,
    control: Stream,
    peer_id: str,
    own: Hello,
    own_peer_id: str,
    admit: Admit,
) -> Hello:
    """Read the other side's greeting, and tell it if it is refused."""
    try:
        greeting = decode_greeting(await _receive_frame(control))
        if isinstance(greeting, Refused):
            raise RefusedByPeer(describe_refusal(greeting))
        check_hello(greeting, peer_id, own, own_peer_id)
        admit(greeting)
    except HelloRefused as error:
        await control.send(encode_frame(encode_greeting(make_refusal(error))))
        await streams.flush()
        raise
    return greeting


async def _receive_frame(control: Stream) -> bytes:
    splitter = FrameSplitter(MAX_HELLO_BYTES)
    while True:
        try:
            frames = splitter.feed(await control.receive())
        except Rejected as error:
            raise HelloRefused(Refusal.MALFORMED, error.detail) from None
        if len(frames) > 1 or (frames and splitter.has_begun):
            raise ConnectionLost("more than a greeting")
        if frames:
            return frames[0]
