"""The event loop's half: what it counts, refuses, and tells the transport."""

import asyncio
from collections.abc import Sequence

import pytest

from p2p.bridge import (
    Answer,
    Answered,
    Ask,
    Close,
    Failed,
    Forget,
    Order,
    Report,
    Send,
    Started,
    Taken,
    Written,
)
from p2p.front import TAKEN_BATCH_BYTES, BridgedNetwork
from p2p.interface import (
    Announced,
    Asked,
    AskFailed,
    Channel,
    Joined,
    Left,
    NetworkFailed,
    Received,
    Session,
)
from p2p.limits import (
    AUTHORITY_LIMITS,
    CONTROL,
    MAX_ANNOUNCEMENTS,
    OBSERVER_LIMITS,
    OUTGOING_BYTES,
    compute_cost,
)
from tests.p2p.networks import identify

SESSION = Session(1, "peer", bytes(32), bytes(16), "address", "agent", True)
FRAME = bytes(10_000)


class Tape:
    """An engine that keeps every order, and reports what the test says."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.front: BridgedNetwork | None = None

    async def start(self, front: BridgedNetwork) -> None:
        self.front = front
        front.deliver((Started(("address",)),))

    def post(self, order: Order) -> None:
        self.orders.append(order)

    async def stop(self) -> None:
        pass

    def report(self, *reports: Report) -> None:
        assert self.front is not None
        self.front.deliver(reports)


async def start(*reports: Report) -> tuple[BridgedNetwork, Tape]:
    tape = Tape()
    network = BridgedNetwork(identify(1), tape)
    await network.start()
    tape.report(*reports)
    return network, tape


async def take(network: BridgedNetwork, count: int) -> Sequence[object]:
    return [await network.next_event() for _ in range(count)]


async def test_a_stream_takes_as_much_as_its_queue_and_more_once_that_is_written() -> None:
    network, tape = await start(Joined(SESSION))
    fit = OUTGOING_BYTES[Channel.VOTES] // compute_cost(FRAME)
    assert [network.send(1, Channel.VOTES, FRAME) for _ in range(fit + 2)] == [
        *[True] * fit,
        False,
        False,
    ]
    assert network.send(1, Channel.BLOCKS, FRAME)
    tape.report(Written(1, Channel.VOTES, compute_cost(FRAME)))
    assert network.send(1, Channel.VOTES, FRAME)
    assert not network.send(1, Channel.VOTES, FRAME)
    assert network.get_counters() == {"dropped": {"send_queue_full": 3}}
    assert len([order for order in tape.orders if isinstance(order, Send)]) == fit + 2


async def test_what_was_taken_is_told_in_lots() -> None:
    received = Received(1, Channel.VOTES, FRAME)
    count = 21
    network, tape = await start(Joined(SESSION), *[received] * count)
    await take(network, 1 + count)
    told = [order.cost for order in tape.orders if isinstance(order, Taken)]
    assert all(cost >= TAKEN_BATCH_BYTES for cost in told)
    assert 0 <= count * compute_cost(FRAME) - sum(told) < TAKEN_BATCH_BYTES


def test_what_is_not_told_yet_keeps_no_stream_from_being_read() -> None:
    for limits in (AUTHORITY_LIMITS, OBSERVER_LIMITS):
        assert min(limits.incoming_bytes.values()) > TAKEN_BATCH_BYTES


async def test_an_answer_finds_whoever_asked() -> None:
    network, tape = await start(Joined(SESSION))
    asked = [asyncio.create_task(network.ask(1, b"what?", 5)) for _ in range(3)]
    await asyncio.sleep(0)
    numbers = [order.question for order in tape.orders if isinstance(order, Ask)]
    tape.report(Answered(1, numbers[1], b"that", ""), Answered(1, numbers[0], None, "declined"))
    assert await asked[1] == b"that"
    with pytest.raises(AskFailed, match="declined"):
        await asked[0]
    asked[2].cancel()
    await asyncio.wait({asked[2]})
    assert tape.orders[-1] == Forget(1, numbers[2])
    tape.report(Answered(1, numbers[2], b"late", ""), Answered(9, 1, b"nobody's", ""))


async def test_the_end_of_a_session_ends_what_waits_for_it() -> None:
    network, tape = await start(Joined(SESSION), Asked(1, 7, b"?"))
    asked = asyncio.create_task(network.ask(1, b"what?", 5))
    await asyncio.sleep(0)
    tape.report(Left(1, "gone"))
    with pytest.raises(AskFailed, match="gone"):
        await asked
    assert await take(network, 3) == [Joined(SESSION), Asked(1, 7, b"?"), Left(1, "gone")]
    before = len(tape.orders)
    network.answer(1, 7, b"to nobody")
    assert not network.send(1, Channel.VOTES, b"")
    assert len(tape.orders) == before and network.get_peers() == []


async def test_an_answer_that_does_not_fit_is_a_refusal_to_answer() -> None:
    network, tape = await start(Joined(SESSION), Asked(1, 1, b"?"))
    big = bytes(8 * 1024 * 1024)
    for question in range(4):
        network.answer(1, question, big)
    answers = [order.data is None for order in tape.orders if isinstance(order, Answer)]
    assert answers == [False] * (OUTGOING_BYTES[CONTROL] // compute_cost(big)) + [True] * 2


async def test_announcements_that_the_node_does_not_take_are_dropped() -> None:
    network, tape = await start(*[Announced("peer", b"news")] * (MAX_ANNOUNCEMENTS + 3))
    assert network.get_counters() == {"dropped": {"announcement_over_limit": 3}}
    await take(network, 1)
    tape.report(Announced("peer", b"again"))
    assert len(await take(network, MAX_ANNOUNCEMENTS)) == MAX_ANNOUNCEMENTS


async def test_a_dead_transport_is_heard_after_what_came_before() -> None:
    network, tape = await start(Joined(SESSION), Received(1, Channel.VOTES, b"last"))
    asked = asyncio.create_task(network.ask(1, b"what?", 5))
    await asyncio.sleep(0)
    tape.report(Failed("it died"))
    with pytest.raises(AskFailed, match="it died"):
        await asked
    await take(network, 2)
    with pytest.raises(NetworkFailed, match="it died"):
        await network.next_event()


async def test_closing_tells_the_transport_once_started() -> None:
    tape = Tape()
    network = BridgedNetwork(identify(1), tape)
    await network.close()
    assert tape.orders == []
    await network.start()
    waiting = asyncio.create_task(network.next_event())
    await asyncio.sleep(0)
    await network.close()
    assert tape.orders == [Close()]
    with pytest.raises(NetworkFailed):
        await waiting
