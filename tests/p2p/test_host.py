"""Noise proves who is there, before a stream is opened."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.guard import GuardedConnection
from p2p.handshake import PROTOCOLS
from p2p.host import Host, accept_protocol, open_listeners, open_stream
from p2p.multiplexer import ConnectionLost, Multiplexer
from tests.p2p.networks import identify

FIRST, SECOND = (Host(identify(number).transport_seed) for number in (1, 2))

Use = Callable[[Multiplexer, Multiplexer], Awaitable[None]]


Secured = tuple[str, Multiplexer]


@asynccontextmanager
async def secure_both(expected: str) -> AsyncIterator[tuple[Secured, Secured]]:
    """Yield what each end proved to the other, and its streams: the dialler's, the acceptor's."""
    (listener,) = await open_listeners("127.0.0.1", 0)
    async with listener:
        port = listener.socket.getsockname()[1]
        dialled = await trio.open_tcp_stream("127.0.0.1", port)
        accepted = await listener.accept()
    results: dict[str, Secured] = {}

    async def secure(host: Host, stream: trio.SocketStream, peer: str | None) -> None:
        raw = GuardedConnection(stream, is_initiator=peer is not None)
        results[host.peer_id] = await host.secure(raw, peer)
        raw.release()

    async with dialled, accepted:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(secure, FIRST, dialled, expected)
            nursery.start_soon(secure, SECOND, accepted, None)
        yield results[FIRST.peer_id], results[SECOND.peer_id]


def run(use: Use) -> None:
    async def main() -> None:
        async with secure_both(SECOND.peer_id) as ends, trio.open_nursery() as nursery:
            (_, dialler), (_, acceptor) = ends
            nursery.start_soon(dialler.run)
            nursery.start_soon(acceptor.run)
            with trio.fail_after(5):
                await use(dialler, acceptor)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_each_end_proves_its_peer_id() -> None:
    async def main() -> None:
        async with secure_both(SECOND.peer_id) as ((to_dialler, _), (to_acceptor, _)):
            assert (to_dialler, to_acceptor) == (SECOND.peer_id, FIRST.peer_id)

    trio.run(main)


def test_another_peer_than_the_expected_one_is_not_talked_to() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with secure_both(FIRST.peer_id):
                pass

    trio.run(main)


def test_a_stream_speaks_a_protocol_that_both_know() -> None:
    async def use(dialler: Multiplexer, acceptor: Multiplexer) -> None:
        chosen: list[str] = []

        async def accept() -> None:
            stream = await acceptor.accept()
            chosen.append(await accept_protocol(stream, tuple(PROTOCOLS.values())))
            assert await stream.receive() == b"hello"
            await stream.send(b"back")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            stream = await open_stream(dialler, PROTOCOLS[1], 0)
            await stream.send(b"hello")
            assert await stream.receive() == b"back"
        assert chosen == [PROTOCOLS[1]]

    run(use)


def test_a_protocol_that_is_not_offered_opens_no_stream() -> None:
    async def use(dialler: Multiplexer, acceptor: Multiplexer) -> None:
        async def refuse() -> None:
            with pytest.raises(ConnectionLost):
                await accept_protocol(await acceptor.accept(), ("/aitbc/other/1",))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            with pytest.raises(ConnectionLost):
                await open_stream(dialler, PROTOCOLS[1], 0)

    run(use)


def test_a_name_of_any_length_is_not_read() -> None:
    async def use(dialler: Multiplexer, acceptor: Multiplexer) -> None:
        dialler.open(0).push(b"\xff\xff\xff\xff\x0f" + bytes(10_000))
        with pytest.raises(ConnectionLost):
            await accept_protocol(await acceptor.accept(), ("/aitbc/other/1",))

    run(use)
