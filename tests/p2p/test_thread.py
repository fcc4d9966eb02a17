"""Two and more transports over real connections on loopback."""

import asyncio
from itertools import pairwise

import pytest

from p2p.frames import ControlKind, encode_control, encode_frame
from p2p.handshake import PROTOCOLS
from p2p.hello import encode_greeting
from p2p.host import open_stream
from p2p.interface import (
    MAX_ANSWER_BYTES,
    MAX_FRAME_BYTES,
    MAX_QUESTION_BYTES,
    Announced,
    Asked,
    AskFailed,
    Channel,
    Joined,
    Left,
    NetworkFailed,
    NetworkSettings,
    Received,
)
from p2p.thread import ThreadNetwork
from tests.p2p.attackers import make_hello, open_control, run_attack, run_streams
from tests.p2p.networks import (
    SECONDS,
    answer_questions,
    count,
    find_port,
    identify,
    make_friends,
    meet,
    run_network,
    until,
    wait_for,
)

OTHER_CHAIN = bytes(32)


async def test_both_ends_know_each_other() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        one, other = await meet(first, second)
        assert (one.peer_id, one.key, one.agent) == (second.peer_id, identify(2).key, "test/2")
        assert (other.peer_id, other.key, other.agent) == (first.peer_id, identify(1).key, "test/1")
        assert one.is_inbound and not other.is_inbound
        assert other.address == first.addresses[0]
        assert len(one.instance) == 16 and one.instance != other.instance


async def test_frames_arrive_whole_and_in_order_on_each_channel() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        make_friends(first, second)
        one, _ = await meet(first, second)
        frames = [
            (channel, bytes([number]) * (number * number))
            for number in range(100)
            for channel in Channel
        ]
        for channel, data in frames:
            assert first.send(one.number, channel, data)
        got = [await wait_for(second, Received) for _ in frames]
        for channel in Channel:
            sent = [data for wanted, data in frames if wanted is channel]
            assert [frame.data for frame in got if frame.channel == channel] == sent


@pytest.mark.parametrize("channel", Channel)
async def test_the_longest_frame_passes(channel: Channel) -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        make_friends(first, second)
        one, _ = await meet(first, second)
        data = bytes(range(256)) * (MAX_FRAME_BYTES[channel] // 256)
        assert first.send(one.number, channel, data)
        assert (await wait_for(second, Received)).data == data


async def test_questions_are_answered_both_ways_and_out_of_order() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        make_friends(first, second)
        one, other = await meet(first, second)
        to_second = [first.ask(one.number, b"%d" % number, SECONDS) for number in range(32)]
        asked = asyncio.gather(*to_second)
        questions = [await wait_for(second, Asked) for _ in range(32)]
        for question in reversed(questions):
            second.answer(question.session, question.question, question.data * 2)
        assert await asked == [b"%d" % number * 2 for number in range(32)]
        async with answer_questions(first, lambda data: data[::-1]):
            assert await second.ask(other.number, b"abc", SECONDS) == b"cba"


async def test_the_longest_question_and_answer_pass() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        make_friends(first, second)
        one, _ = await meet(first, second)
        async with answer_questions(second, lambda data: bytes(MAX_ANSWER_BYTES)):
            answer = await first.ask(one.number, bytes(MAX_QUESTION_BYTES), SECONDS)
        assert len(answer) == MAX_ANSWER_BYTES


async def test_a_question_ends_without_an_answer() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        one, _ = await meet(first, second)
        with pytest.raises(AskFailed, match="no answer within 0.05 s"):
            await first.ask(one.number, b"silence", 0.05)
        late = await wait_for(second, Asked)
        second.answer(late.session, late.question, b"too late")
        second.answer(late.session, late.question, b"twice")
        async with answer_questions(second, lambda data: None):
            with pytest.raises(AskFailed, match="declined"):
                await first.ask(one.number, b"decline", SECONDS)
        waiting = asyncio.create_task(first.ask(one.number, b"then go", SECONDS))
        await wait_for(second, Asked)
        second.disconnect(late.session, "enough")
        with pytest.raises(AskFailed, match="over|enough"):
            await waiting
        await wait_for(first, Left)
        with pytest.raises(AskFailed, match="over"):
            await first.ask(one.number, b"gone", SECONDS)


async def test_more_questions_than_may_be_under_way_fail_at_once() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        one, _ = await meet(first, second)
        waiting = [asyncio.create_task(first.ask(one.number, b"", SECONDS)) for _ in range(32)]
        for _ in waiting:
            await wait_for(second, Asked)
        with pytest.raises(AskFailed, match="as many"):
            await first.ask(one.number, b"", SECONDS)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_lost_session_is_dialled_again() -> None:
    port = find_port()
    async with run_network(2, f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(1)}") as second:
        for _ in range(2):
            async with run_network(1, port=port) as first:
                one, other = await meet(first, second)
                assert first.send(one.number, Channel.VOTES, b"here")
                assert (await wait_for(second, Received)).session == other.number
            left = await wait_for(second, Left)
            assert left.session == other.number and "this node stops" in left.reason
            assert not second.send(other.number, Channel.VOTES, b"gone")


def peer_id(number: int) -> str:
    return ThreadNetwork(identify(number), NetworkSettings("127.0.0.1", 0)).peer_id


async def test_two_that_dial_each_other_at_once_end_with_one_session() -> None:
    ports = [find_port(), find_port()]
    addresses = [
        f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(number)}" for number, port in enumerate(ports, 1)
    ]
    async with (
        run_network(1, addresses[1], port=ports[0]) as first,
        run_network(2, addresses[0], port=ports[1]) as second,
    ):
        await meet(first, second)
        await until(lambda: len(first.get_peers()) == len(second.get_peers()) == 1)
        kept = first.get_peers()[0].session
        same = second.get_peers()[0].session
        dialler = second if kept.is_inbound else first
        assert kept.is_inbound != same.is_inbound
        if count(first, "ended", "displaced") or count(first, "refused", "duplicate"):
            assert dialler.peer_id == min(first.peer_id, second.peer_id)
        assert first.send(kept.number, Channel.VOTES, b"x")
        frame = await wait_for(second, Received)
        assert frame.session == same.number


async def test_two_processes_with_one_key_are_two_peers() -> None:
    """A copied data folder must hear the network without taking the other's place."""
    async with (
        run_network(1) as first,
        run_network(2, *first.addresses) as original,
        run_network(2, *first.addresses) as copy,
    ):
        make_friends(first, original, copy)
        sessions = [(await wait_for(first, Joined)).session for _ in range(2)]
        assert len({session.peer_id for session in sessions}) == 1
        assert len({session.instance for session in sessions}) == 2
        for session in sessions:
            assert first.send(session.number, Channel.VOTES, session.instance)
            assert first.send(session.number, Channel.BLOCKS, session.instance)
        heard = [
            {(await wait_for(network, Received)).data for _ in range(2)}
            for network in (original, copy)
        ]
        assert [len(data) for data in heard] == [1, 1] and heard[0] != heard[1]


async def test_copies_of_a_node_meet_each_other() -> None:
    async with run_network(1) as original, run_network(1, *original.addresses) as copy:
        one, other = await meet(original, copy)
        assert one.key == other.key and one.instance != other.instance


async def test_a_connection_to_oneself_is_refused() -> None:
    port = find_port()
    async with run_network(1, f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(1)}", port=port) as network:
        await until(lambda: count(network, "dialled", "refused_self"))
        assert network.get_peers() == []


async def test_another_chain_is_refused_and_both_say_so() -> None:
    async with (
        run_network(1) as first,
        run_network(2, *first.addresses, chain_id=bytes(32)) as other,
    ):
        await until(
            lambda: count(first, "refused", "chain") and count(other, "refused_us", "chain")
        )
        assert first.get_peers() == other.get_peers() == []


async def test_a_closed_node_admits_authorities_only() -> None:
    async with run_network(1, is_open=False) as first:
        first.set_authorities(frozenset({identify(2).key}))
        async with run_network(2, *first.addresses) as authority:
            one, _ = await meet(first, authority)
            async with run_network(3, *first.addresses) as observer:
                await until(lambda: count(observer, "refused_us", "not_admitted"))
            first.set_authorities(frozenset())
            assert (await wait_for(first, Left)).session == one.number


async def test_observers_are_admitted_up_to_a_number_and_authorities_beyond_it() -> None:
    async with run_network(1, max_observers=1) as first:
        first.set_authorities(frozenset({identify(4).key}))
        async with run_network(2, *first.addresses) as second:
            await meet(first, second)
            async with run_network(3, *first.addresses) as third:
                await until(lambda: count(third, "refused_us", "full"))
                async with run_network(4, *first.addresses) as authority:
                    await meet(first, authority)


async def test_a_banned_key_stays_out_for_so_long() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        one, _ = await meet(first, second)
        first.disconnect(one.number, "a lie", ban_seconds=30)
        assert "a lie" in (await wait_for(second, Left)).reason
        await until(lambda: count(second, "refused_us", "banned"))


async def test_one_bootstrap_address_is_enough_to_meet_all_authorities() -> None:
    async with (
        run_network(1) as first,
        run_network(2, *first.addresses) as second,
        run_network(3, *first.addresses) as third,
    ):
        make_friends(first, second, third)
        for network in (second, third):
            keys = {(await wait_for(network, Joined)).session.key for _ in range(2)}
            assert len(keys) == 2


async def test_an_admitted_peer_may_say_much_before_all_channels_stand() -> None:
    """Whoever is there first tells of every authority while the other still opens streams."""

    async def greet() -> None:
        async with run_streams(2, first.addresses[0]) as (streams, _):
            control = await open_control(streams)
            await control.send(encode_frame(encode_greeting(make_hello(2))))
            await control.receive()
            await control.send(encode_control(ControlKind.PING, 1) * 5_000)
            for channel in Channel:
                await open_stream(streams, PROTOCOLS[channel], 0)
            await control.receive()

    async with run_network(1) as first:
        greeting = run_attack(greet)
        assert (await wait_for(first, Joined)).session.key == identify(2).key
        await greeting


async def test_announcements_reach_those_who_are_not_neighbours() -> None:
    async with (
        run_network(1) as first,
        run_network(2, *first.addresses) as second,
        run_network(3, *first.addresses) as third,
    ):
        await meet(first, second)
        await meet(first, third)
        heard = asyncio.create_task(wait_for(third, Announced))
        while not heard.done():
            second.announce(b"news")
            await asyncio.wait({heard}, timeout=0.3)
        assert heard.result() == Announced(second.peer_id, b"news")


async def test_peers_are_measured() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        one, _ = await meet(first, second)
        await until(lambda: any(peer.latency_ms for peer in first.get_peers()))
        (peer,) = first.get_peers()
        assert peer.session == one
        assert peer.latency_ms is not None and 0 < peer.latency_ms < 1000
        assert peer.connected_seconds > 0
        assert peer.bytes_received > 0 and peer.bytes_sent > 0


async def test_a_full_queue_refuses_and_counts() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        one, _ = await meet(first, second)
        block = bytes(MAX_FRAME_BYTES[Channel.BLOCKS])
        taken = [first.send(one.number, Channel.BLOCKS, block) for _ in range(8)]
        assert taken[0] and not taken[-1]
        assert count(first, "dropped", "send_queue_full") == taken.count(False)


async def test_a_node_that_takes_nothing_is_sent_no_more_than_fits() -> None:
    """What second does not take stays with first: neither end grows."""
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        make_friends(first, second)
        one, _ = await meet(first, second)
        block = bytes(1024 * 1024)
        sent = 0
        async with asyncio.timeout(SECONDS):
            while count(first, "dropped", "send_queue_full") < 50:
                sent += first.send(one.number, Channel.BLOCKS, block)
                await asyncio.sleep(0.01)
        assert sent < 30
        got = [await wait_for(second, Received) for _ in range(sent)]
        assert all(frame.data == block for frame in got)


async def test_a_taken_port_is_reported_at_the_start() -> None:
    async with run_network(1) as first:
        port = int(first.addresses[0].split("/")[4])
        network = ThreadNetwork(identify(2), NetworkSettings("127.0.0.1", port))
        with pytest.raises(NetworkFailed, match="cannot listen"):
            await network.start()
        await network.close()


async def test_a_closed_network_says_so_to_whoever_waits() -> None:
    network = ThreadNetwork(identify(1), NetworkSettings("127.0.0.1", 0))
    await network.start()
    waiting = asyncio.create_task(network.next_event())
    await asyncio.sleep(0)
    await network.close()
    with pytest.raises(NetworkFailed):
        await waiting
    network.announce(b"to nobody")
    network.disconnect(1, "nobody")
    assert not network.send(1, Channel.VOTES, b"")


async def test_a_long_frame_delays_no_vote() -> None:
    async with run_network(1) as first, run_network(2, *first.addresses) as second:
        make_friends(first, second)
        one, _ = await meet(first, second)
        for _ in range(3):
            assert first.send(one.number, Channel.BLOCKS, bytes(MAX_FRAME_BYTES[Channel.BLOCKS]))
        assert first.send(one.number, Channel.VOTES, b"vote")
        order = [(await wait_for(second, Received)).channel for _ in range(4)]
        assert order[0] == Channel.VOTES


def test_the_channels_have_numbers_of_their_own() -> None:
    assert all(second - first == 1 for first, second in pairwise(Channel))
