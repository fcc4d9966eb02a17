"""No remote byte ends, blocks or bloats the process: each of these is sent to a node at work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.frames import ControlKind, encode_control, encode_frame
from p2p.gossip import PROTOCOL as GOSSIP
from p2p.gossip_filter import TOPIC
from p2p.hello import MAX_HELLO_BYTES, Refused, encode_greeting
from p2p.host import open_stream
from p2p.interface import MAX_FRAME_BYTES, Announced, Asked, Channel, Joined, Left, Received
from p2p.libp2p_parts import rpc_pb2
from p2p.limits import ARRIVALS_PER_SECOND, CONTROL, MAX_UNPROVED_PER_HOST
from p2p.multiplexer import DATA, PING, SYN, WINDOW_UPDATE, ConnectionLost, Multiplexer
from p2p.thread import ThreadNetwork
from tests.p2p.attackers import (
    connect,
    make_hello,
    open_control,
    read_resident_bytes,
    run_attack,
    run_session,
    run_streams,
)
from tests.p2p.networks import count, identify, meet, run_network, until, wait_for

MULTISTREAM = b"\x13/multistream/1.0.0\n"
ENDLESS = b"\xff\xff\xff\xff\x0f"
"""A length of four gigabytes."""
MIB = 1024 * 1024


class Pair:
    """Two nodes at work: they must be able to talk during and after an attack."""

    def __init__(self, victim: ThreadNetwork, friend: ThreadNetwork, session: int) -> None:
        self.victim = victim
        self.friend = friend
        self.session = session
        self.address = victim.addresses[0]

    async def check(self) -> None:
        """Show that the two still have the same session, and that it works."""
        assert self.victim.send(self.session, Channel.VOTES, b"still here")
        heard = await wait_for(self.friend, Received)
        assert heard.data == b"still here"


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with run_network(1) as victim, run_network(2, *victim.addresses) as friend:
        victim.set_authorities(frozenset({identify(2).key}))
        friend.set_authorities(frozenset({identify(1).key}))
        one, _ = await meet(victim, friend)
        yield Pair(victim, friend, one.number)


@asynccontextmanager
async def under(attack: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run the body while an attack goes on."""
    task = run_attack(attack)
    try:
        yield
    finally:
        await task


async def test_forty_connections_with_endless_lengths_take_no_memory(pair: Pair) -> None:
    before = read_resident_bytes()

    async def flood() -> None:
        stream = await connect(pair.address)
        async with stream:
            try:
                await stream.send_all(MULTISTREAM + ENDLESS)
                for _ in range(16):
                    await stream.send_all(bytes(64 * 1024))
            except trio.BrokenResourceError:
                return

    async def attack() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(flood)

    await run_attack(attack)
    assert read_resident_bytes() - before < 16 * MIB
    await pair.check()
    await until(lambda: count(pair.victim, "refused", "handshake") > 0)


async def test_idle_connections_make_room_for_new_ones(pair: Pair) -> None:
    async def attack() -> None:
        streams = [await connect(pair.address) for _ in range(3 * MAX_UNPROVED_PER_HOST)]
        async with run_session(3, pair.address):
            await pair_can_go_on.wait()
        for stream in streams:
            await stream.aclose()

    pair_can_go_on = trio.Event()
    async with asyncio.timeout(10):
        task = run_attack(lambda: _with_release(attack, pair_can_go_on))
        assert (await wait_for(pair.victim, Joined)).session.key == identify(3).key
        await pair.check()
        await task
    await until(lambda: count(pair.victim, "refused", "crowded_out") > 0)


async def _with_release(attack: Callable[[], Awaitable[None]], event: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attack)
        await trio.sleep(0.5)
        event.set()


async def test_more_arrivals_than_can_be_served_are_not_served(pair: Pair) -> None:
    async def attack() -> None:
        for _ in range(5 * ARRIVALS_PER_SECOND):
            async with await connect(pair.address):
                pass

    await run_attack(attack)
    await until(lambda: count(pair.victim, "refused", "too_many_arrivals"))
    await pair.check()


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0"])
async def test_only_noise_is_spoken(pair: Pair, protocol: str) -> None:
    answers: list[bytes] = []

    async def attack() -> None:
        name = protocol.encode() + b"\n"
        async with await connect(pair.address) as stream:
            await stream.send_all(MULTISTREAM + bytes([len(name)]) + name)
            answer = b""
            while len(answer) < len(MULTISTREAM) + 4:
                answer += await stream.receive_some()
            answers.append(answer)

    await run_attack(attack)
    assert answers == [MULTISTREAM + b"\x03na\n"]
    await pair.check()


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"not a greeting",
        bytes(MAX_HELLO_BYTES),
        encode_greeting(make_hello(3))[:-1],
        encode_greeting(make_hello(3)) + b"\0",
        encode_greeting(make_hello(4)),
        encode_greeting(make_hello(3, bytes(32))),
        encode_greeting(Refused(200, "x")),
    ],
    ids=["empty", "text", "zeros", "cut", "longer", "another's", "other chain", "refusal"],
)
async def test_a_wrong_greeting_makes_no_session(pair: Pair, greeting: bytes) -> None:
    async def attack() -> None:
        async with run_streams(3, pair.address) as (streams, _):
            control = await open_control(streams)
            await control.send(encode_frame(greeting))
            with pytest.raises(ConnectionLost):
                while True:
                    await control.receive()

    await run_attack(attack)
    await pair.check()
    await until(lambda: {"refused", "refused_us"} & set(pair.victim.get_counters()))
    assert [peer.session.number for peer in pair.victim.get_peers()] == [pair.session]


async def test_a_greeting_in_an_endless_frame_is_refused_by_its_length(pair: Pair) -> None:
    async def attack() -> None:
        async with run_streams(3, pair.address) as (streams, _):
            control = await open_control(streams)
            await control.send(b"\xff\xff\xff\xff")
            with pytest.raises(ConnectionLost):
                while True:
                    await control.receive()

    await run_attack(attack)
    await pair.check()


async def attack_session(
    pair: Pair, attack: Callable[[Multiplexer, dict[int, object]], Awaitable[None]]
) -> str:
    """Let a session do something, and return the reason for which it was ended."""

    async def run() -> None:
        async with run_session(3, pair.address) as (streams, lanes):
            try:
                await attack(streams, dict(lanes))
                while True:
                    await lanes[CONTROL].receive()
            except ConnectionLost:
                return

    task = run_attack(run)
    await wait_for(pair.victim, Joined)
    left = await wait_for(pair.victim, Left)
    await task
    await pair.check()
    return left.reason


@pytest.mark.parametrize("channel", Channel)
async def test_a_frame_over_the_limit_ends_its_session_only(pair: Pair, channel: Channel) -> None:
    async def attack(_: Multiplexer, lanes: dict[int, object]) -> None:
        stream = lanes[channel]
        stream.push((MAX_FRAME_BYTES[channel] + 1).to_bytes(4))  # type: ignore[attr-defined]

    assert "the limit is" in await attack_session(pair, attack)


@pytest.mark.parametrize(
    "frame",
    [
        encode_frame(b""),
        encode_frame(b"\x01"),
        encode_frame(b"\x00\0\0\0\0"),
        encode_frame(b"\x63\0\0\0\0"),
        encode_control(ControlKind.PING, 1, b"x"),
        encode_control(ControlKind.GOODBYE, 1, bytes(201)),
        encode_control(ControlKind.QUESTION, 1, bytes(2 * MIB + 1)),
        encode_control(ControlKind.PEER, 0, b"\xc1"),
        b"\xff\xff\xff\xff",
    ],
    ids=[
        "empty",
        "short",
        "zero",
        "unknown",
        "fat ping",
        "long goodbye",
        "question",
        "peer",
        "long",
    ],
)
async def test_a_wrong_control_frame_ends_its_session_only(pair: Pair, frame: bytes) -> None:
    async def attack(_: Multiplexer, lanes: dict[int, object]) -> None:
        lanes[CONTROL].push(frame)  # type: ignore[attr-defined]

    assert await attack_session(pair, attack)


@pytest.mark.parametrize(
    "headers",
    [
        (1, DATA, 0, 1, 0),
        (0, 9, 0, 1, 0),
        (0, WINDOW_UPDATE, SYN, 2, 0),
        (0, WINDOW_UPDATE, SYN, 1, 0),
        (0, DATA, SYN, 0, 0),
        (0, 3, 0, 0, 0),
    ],
    ids=["version", "kind", "not its number", "used number", "number 0", "go away"],
)
async def test_wrong_headers_of_yamux_end_their_session_only(
    pair: Pair, headers: tuple[int, int, int, int, int]
) -> None:
    async def attack(streams: Multiplexer, _: dict[int, object]) -> None:
        version, *rest = headers
        streams.reply(*rest)
        if version:
            streams._replies[0] = version

    assert await attack_session(pair, attack)


async def test_bytes_beyond_the_window_end_their_session(pair: Pair) -> None:
    async def attack(streams: Multiplexer, lanes: dict[int, object]) -> None:
        stream = lanes[Channel.VOTES]
        stream.send_window = 64 * MIB  # type: ignore[attr-defined]
        for _ in range(64):
            stream.push(encode_frame(bytes(16 * 1024)))  # type: ignore[attr-defined]

    assert await attack_session(pair, attack)


async def test_streams_and_pings_without_end_take_no_memory(pair: Pair) -> None:
    before = read_resident_bytes()

    async def attack() -> None:
        async with run_session(3, pair.address) as (streams, _):
            for number in range(101, 20_001, 2):
                streams.reply(WINDOW_UPDATE, SYN, number, 0)
                streams.reply(PING, SYN, 0, number)
            with trio.move_on_after(1):
                await streams.flush()

    await run_attack(attack)
    assert read_resident_bytes() - before < 16 * MIB
    await pair.check()


async def test_a_flood_is_read_no_faster_than_allowed(pair: Pair) -> None:
    async def attack() -> None:
        async with run_session(3, pair.address) as (_, lanes):
            with trio.move_on_after(1):
                while True:
                    await lanes[Channel.VOTES].send(encode_frame(b"vote") * 100)

    received = 0
    async with under(attack):
        flooder = (await wait_for(pair.victim, Joined)).session.number
        try:
            async with asyncio.timeout(1):
                while True:
                    event = await wait_for(pair.victim, Received)
                    received += event.session == flooder
        except TimeoutError:
            await pair.check()
    assert 0 < received < 40_000
    await until(lambda: count(pair.victim, "slowed", "votes"))


async def test_questions_over_the_limit_are_declined(pair: Pair) -> None:
    async def attack() -> None:
        async with run_session(3, pair.address) as (_, lanes):
            for number in range(200):
                lanes[CONTROL].push(encode_control(ControlKind.QUESTION, number))
            declined = 0
            while declined < 168:
                data = await lanes[CONTROL].receive()
                declined += data.count(bytes([0, 0, 0, 5, ControlKind.DECLINED]))

    async with under(attack):
        for _ in range(32):
            await wait_for(pair.victim, Asked)
    await until(lambda: count(pair.victim, "dropped", "question_over_limit") == 168)
    await pair.check()


async def test_a_peer_that_never_reads_is_not_waited_for(pair: Pair) -> None:
    async def attack() -> None:
        async with run_session(3, pair.address):
            await trio.sleep(1.5)

    async with under(attack):
        session = (await wait_for(pair.victim, Joined)).session.number
        block = bytes(MIB)
        taken = [pair.victim.send(session, Channel.BLOCKS, block) for _ in range(20)]
        assert not taken[-1]
        await pair.check()


def make_message(**fields: object) -> bytes:
    message = {
        "from_id": bytes([0, 36, 8, 1, 18, 32]) + bytes(32),
        "data": b"news",
        "seqno": bytes(8),
        "topicIDs": [TOPIC],
        "signature": bytes(64),
    }
    rpc = rpc_pb2.RPC()
    rpc.publish.add(**message | fields)
    return bytes(rpc.SerializeToString())


GOSSIP_FRAMES = {
    "no protobuf": b"\xff" * 20,
    "truncated key": make_message(from_id=bytes([0, 36, 8, 1, 18, 32]) + bytes(5)),
    "no author": make_message(from_id=b""),
    "key of another kind": make_message(
        from_id=b"\x12\x20" + bytes(32), key=b"\x08\x01\x12\x03abc"
    ),
    "damaged key": make_message(from_id=b"\x12\x20" + bytes(32), key=b"\x08\x01\x12\x20abc"),
    "false signature": make_message(),
    "another topic": make_message(topicIDs=["other"]),
    "long": make_message(data=bytes(2000)),
}


@pytest.mark.parametrize("frame", GOSSIP_FRAMES.values(), ids=GOSSIP_FRAMES.keys())
async def test_hostile_gossip_ends_nothing(pair: Pair, frame: bytes) -> None:
    async def attack() -> None:
        async with run_session(3, pair.address) as (streams, _):
            stream = await open_stream(streams, GOSSIP, 0)
            stream.push(bytes([len(frame) & 0x7F | 0x80, len(frame) >> 7]) + frame)
            await trio.sleep(0.2)

    await run_attack(attack)
    heard = asyncio.create_task(wait_for(pair.victim, Announced))
    while not heard.done():
        pair.friend.announce(b"true news")
        await asyncio.wait({heard}, timeout=0.2)
    assert heard.result().data == b"true news"
    assert count(pair.victim, "gossip", "restarted") == 0
    await pair.check()


async def test_an_endless_length_of_gossip_is_not_waited_for(pair: Pair) -> None:
    async def attack() -> None:
        async with run_session(3, pair.address) as (streams, _):
            stream = await open_stream(streams, GOSSIP, 0)
            # It may be over before all of it is handed to the connection.
            with pytest.raises(ConnectionLost):
                await stream.send(ENDLESS)
                while True:
                    await stream.receive()

    await run_attack(attack)
    await until(lambda: count(pair.victim, "dropped", "gossip_stream"))
    await pair.check()


@pytest.mark.slow
async def test_a_handshake_that_stops_half_way_is_given_up(pair: Pair) -> None:
    async def attack() -> None:
        async with await connect(pair.address) as stream:
            await stream.send_all(MULTISTREAM[:5])
            with trio.fail_after(8):
                while await stream.receive_some():
                    pass

    await run_attack(attack)
    await pair.check()
