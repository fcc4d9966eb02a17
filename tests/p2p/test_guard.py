"""What a connection may cost before anybody knows who is there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.counters import Counters
from p2p.guard import Anteroom, GuardedConnection
from p2p.libp2p_parts import ConnectionClosedError
from p2p.limits import (
    MAX_UNPROVED_BYTES,
    MAX_UNPROVED_CONNECTIONS,
    MAX_UNPROVED_PER_HOST,
    MAX_UNPROVED_READ,
)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        with trio.fail_after(5):
            await main()

    trio.run(within)


@asynccontextmanager
async def connect() -> AsyncIterator[tuple[GuardedConnection, trio.SocketStream]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        remote = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        guarded = GuardedConnection(await listener.accept(), is_initiator=False)
        async with remote:
            yield guarded, remote
            await guarded.close()


def test_a_read_gives_exactly_what_was_asked_for() -> None:
    async def main() -> None:
        async with connect() as (guarded, remote):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(guarded_reads, guarded)
                for byte in b"abcdef":
                    await remote.send_all(bytes([byte]))
            assert guarded.bytes_read == 6
            assert guarded.get_remote_address() == remote.socket.getsockname()
            assert guarded.get_local_host() == "127.0.0.1"

    async def guarded_reads(guarded: GuardedConnection) -> None:
        assert await guarded.read(4) == b"abcd"
        assert await guarded.read(2) == b"ef"

    run(main)


def test_a_long_read_is_refused_without_waiting_for_its_bytes() -> None:
    async def main() -> None:
        async with connect() as (guarded, remote):
            with pytest.raises(ConnectionClosedError):
                await guarded.read(MAX_UNPROVED_READ + 1)
            guarded.release()
            await remote.send_all(bytes(MAX_UNPROVED_READ + 1))
            assert len(await guarded.read(MAX_UNPROVED_READ + 1)) == MAX_UNPROVED_READ + 1

    run(main)


def test_bytes_over_the_allowance_are_not_read() -> None:
    async def main() -> None:
        async with connect() as (guarded, remote):
            await remote.send_all(bytes(2 * MAX_UNPROVED_BYTES))
            read = 0
            with pytest.raises(ConnectionClosedError):
                while True:
                    read += len(await guarded.read(1024))
            assert read == MAX_UNPROVED_BYTES == guarded.bytes_read

    run(main)


def test_the_end_of_a_connection_is_an_error_at_once() -> None:
    async def main() -> None:
        async with connect() as (guarded, remote):
            await remote.aclose()
            with pytest.raises(ConnectionClosedError):
                await guarded.read(1)
            await guarded.close()
            with pytest.raises(ConnectionClosedError):
                await guarded.write(b"x")

    run(main)


def test_the_oldest_makes_room_of_one_host_and_of_all() -> None:
    async def main() -> None:
        counters = Counters()
        anteroom = Anteroom(counters)
        scopes = [trio.CancelScope() for _ in range(MAX_UNPROVED_PER_HOST + 1)]
        tickets = [anteroom.enter("10.0.0.1", scope) for scope in scopes]
        assert [scope.cancel_called for scope in scopes] == [True] + [False] * MAX_UNPROVED_PER_HOST
        for ticket in tickets:
            anteroom.leave(ticket)
        others = [trio.CancelScope() for _ in range(MAX_UNPROVED_CONNECTIONS + 1)]
        for number, scope in enumerate(others):
            anteroom.enter(f"10.0.1.{number}", scope)
        assert [scope.cancel_called for scope in others].index(False) == 1
        assert counters.get_snapshot() == {"refused": {"crowded_out": 2}}

    run(main)
