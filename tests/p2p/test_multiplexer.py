"""Streams in one connection: whole, in order, fair, bounded, and in libp2p's own yamux."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.limits import MAX_STREAMS, TokenBucket
from p2p.multiplexer import (
    DATA,
    FIN,
    INITIAL_WINDOW,
    MAX_BATCH,
    PING,
    SYN,
    WINDOW_UPDATE,
    ConnectionLost,
    Multiplexer,
    ProtocolViolation,
)
from tests.p2p.pipes import make_pipe

# After the parts above, which put libp2p's packages in place.
from libp2p.peer.id import ID  # isort: skip
from libp2p.stream_muxer.yamux.yamux import Yamux  # isort: skip


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        with trio.fail_after(5):
            await main()

    trio.run(within)


@asynccontextmanager
async def connect() -> AsyncIterator[tuple[Multiplexer, Multiplexer]]:
    first_end, second_end = make_pipe(4)
    first = Multiplexer(first_end, is_initiator=True)
    second = Multiplexer(second_end, is_initiator=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        nursery.start_soon(second.run)
        yield first, second
        nursery.cancel_scope.cancel()


async def receive_exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive()
    return data


def test_streams_of_both_sides_carry_bytes_in_order() -> None:
    async def main() -> None:
        async with connect() as (first, second):
            outgoing, incoming = first.open(0), second.open(0)
            accepted, other = await second.accept(), await first.accept()
            data = bytes(range(256)) * 4096
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outgoing.send, data)
                nursery.start_soon(incoming.send, data[::-1])
                assert await receive_exactly(accepted, len(data)) == data
                assert await receive_exactly(other, len(data)) == data[::-1]

    run(main)


def test_a_writer_waits_for_the_window_and_a_larger_one_lets_it_go_on() -> None:
    async def main() -> None:
        async with connect() as (first, second):
            stream = first.open(0)
            accepted = await second.accept()
            stream.push(bytes(2 * INITIAL_WINDOW))
            await wait_all_tasks_blocked()
            assert stream.has_outgoing and stream.starved_since is not None
            assert first.find_stall() is not None
            accepted.enlarge(2 * INITIAL_WINDOW)
            await wait_all_tasks_blocked()
            assert not stream.has_outgoing and first.find_stall() is None
            assert len(await receive_exactly(accepted, 2 * INITIAL_WINDOW)) == 2 * INITIAL_WINDOW

    run(main)


def test_the_first_in_rank_goes_first_and_short_writes_go_as_one() -> None:
    async def main() -> None:
        first_end, second_end = make_pipe(100)
        first = Multiplexer(first_end, is_initiator=True)
        second = Multiplexer(second_end, is_initiator=False)
        bulk, votes = first.open(3), first.open(0)
        bulk.push(bytes(200_000))
        for _ in range(50):
            votes.push(b"vote")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run)
            nursery.start_soon(second.run)
            await second.accept()
            accepted = await second.accept()
            assert await accepted.receive() == b"vote" * 50
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(first_end.written[0]) <= MAX_BATCH
        assert first_end.written[0].count(b"vote") == 50
        assert len(first_end.written) < 200_000 / MAX_BATCH + 2

    run(main)


def violate(*headers: tuple[int, int, int, int], data: bytes = b"") -> str:
    """Return why a multiplexer ended after these frames."""
    reasons: list[str] = []

    async def main() -> None:
        ours, theirs = make_pipe(8)
        sender = Multiplexer(ours, is_initiator=True)
        for header in headers:
            sender.reply(*header)
        await ours.write(bytes(sender._replies) + data)
        try:
            await Multiplexer(theirs, is_initiator=False).run()
        except* ConnectionLost as group:
            reasons.append(str(group.exceptions[0]))

    run(main)
    return reasons[0]


OPEN = (WINDOW_UPDATE, SYN, 1, 0)


def test_a_peer_is_held_to_its_window() -> None:
    reason = violate(OPEN, (DATA, 0, 1, INITIAL_WINDOW + 1), data=bytes(INITIAL_WINDOW + 1))
    assert "window" in reason


@pytest.mark.parametrize(
    "headers",
    [
        [(4, 0, 1, 0)],
        [(WINDOW_UPDATE, SYN, 2, 0)],
        [(WINDOW_UPDATE, SYN, 0, 0)],
        [OPEN, OPEN],
        [(WINDOW_UPDATE, SYN, 3, 0), OPEN],
    ],
    ids=["kind", "our number", "no number", "twice", "backwards"],
)
def test_frames_that_no_yamux_sends_end_the_connection(
    headers: list[tuple[int, int, int, int]],
) -> None:
    assert violate(*headers)


def test_streams_over_the_limit_are_reset() -> None:
    async def main() -> None:
        async with connect() as (first, second):
            streams = [first.open(0) for _ in range(MAX_STREAMS)]
            with pytest.raises(ConnectionLost):
                first.open(0)
            for _ in streams:
                await second.accept()
            first.reset(streams[0])
            again = first.open(0)
            assert (await second.accept()).number == again.number
            with pytest.raises(ConnectionLost):
                second.open(0)

    run(main)


def test_a_stream_that_the_peer_ends_is_read_to_its_end() -> None:
    async def main() -> None:
        async with connect() as (first, second):
            stream = first.open(0)
            accepted = await second.accept()
            await stream.send(b"last words")
            first.reply(WINDOW_UPDATE, FIN, stream.number, 0)
            await wait_all_tasks_blocked()
            assert await accepted.receive() == b"last words"
            with pytest.raises(ConnectionLost):
                await accepted.receive()
            accepted.close()
            await wait_all_tasks_blocked()
            with pytest.raises(ConnectionLost):
                await stream.send(b"to nobody")

    run(main)


def test_whoever_waits_hears_that_the_connection_ended() -> None:
    async def main() -> None:
        first_end, second_end = make_pipe(4)
        first = Multiplexer(first_end, is_initiator=True)
        stream = first.open(0)
        ended: list[str] = []

        async def expect(name: str, wait: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(ConnectionLost):
                await wait()
            ended.append(name)

        async def serve() -> None:
            with pytest.raises(ExceptionGroup):
                await first.run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(expect, "receive", stream.receive)
            nursery.start_soon(expect, "accept", first.accept)
            nursery.start_soon(expect, "send", lambda: stream.send(bytes(10**6)))
            await wait_all_tasks_blocked()
            await second_end.close()
        assert sorted(ended) == ["accept", "receive", "send"]

    run(main)


def test_a_peer_with_a_rate_is_read_more_slowly() -> None:
    async def main() -> None:
        async with connect() as (first, second):
            second.pieces = TokenBucket(100, 10, trio.current_time())
            began = trio.current_time()
            stream = first.open(0)
            accepted = await second.accept()
            for _ in range(20):
                await stream.send(b"x")
            await receive_exactly(accepted, 20)
            assert trio.current_time() - began > 0.15

    run(main)


@pytest.mark.parametrize("is_ours_first", [True, False])
def test_libp2ps_own_yamux_understands_every_word(is_ours_first: bool) -> None:
    async def main() -> None:
        ends = make_pipe(4)
        ours_end, theirs_end = ends if is_ours_first else ends[::-1]
        ours = Multiplexer(ours_end, is_initiator=is_ours_first)
        theirs = Yamux(theirs_end, ID(b"peer"), is_initiator=not is_ours_first)
        data = bytes(range(256)) * 4096
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.run)
            nursery.start_soon(theirs.start)
            await theirs.event_started.wait()
            stream = ours.open(0)
            accepted: Any = await theirs.accept_stream()
            nursery.start_soon(stream.send, data)
            got = b""
            while len(got) < len(data):
                got += await accepted.read(65_536)
            assert got == data
            nursery.start_soon(accepted.write, data[::-1])
            assert await receive_exactly(stream, len(data)) == data[::-1]
            opened = await theirs.open_stream()
            await opened.write(b"hello")
            other = await ours.accept()
            assert await other.receive() == b"hello"
            ours.reply(PING, SYN, 0, 7)
            await opened.close()
            with pytest.raises(ConnectionLost):
                await other.receive()
            nursery.cancel_scope.cancel()

    run(main)


def test_a_violation_is_a_lost_connection() -> None:
    assert issubclass(ProtocolViolation, ConnectionLost)
