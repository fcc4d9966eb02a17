"""Whom a node dials, in which order, and when it stops."""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from p2p.addresses import Address, format_address
from p2p.counters import Counters
from p2p.dialer import MAX_LEARNT_PER_KEY, Dialer
from p2p.handshake import RefusedByPeer
from p2p.hello import HelloRefused, Refusal
from p2p.interface import NetworkSettings
from p2p.limits import MAX_KNOWN_ADDRESSES
from p2p.sessions import Sessions

PEER = "12D3KooWL46h3EB5EPmNdrkJCDDUHy4bM6QbmmMP5cawmkGVpKhP"
OTHER = "12D3KooWRv6oty6yJtP41uh3roh5DNuZvA7huMpVqWa2QSJJnfr1"
KEY = bytes(32)


class World:
    """A dialer on a clock of its own, and what comes of each dial."""

    def __init__(
        self,
        outcome: Exception | None = None,
        session_seconds: float = 0,
        own_peer_id: str = "own",
    ) -> None:
        self.dialled: list[tuple[float, str]] = []
        self.counters = Counters()
        settings = NetworkSettings("127.0.0.1", 0)
        self.sessions = Sessions(own_peer_id, bytes(16), settings)
        self.dialer = Dialer(self.sessions, self._connect, self.counters)
        self._outcome = outcome
        self._session_seconds = session_seconds

    async def run(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.dialer.run()

    async def _connect(self, address: Address) -> None:
        self.dialled.append((trio.current_time(), address.text))
        await trio.sleep(self._session_seconds)
        if self._outcome is not None:
            raise self._outcome


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_addresses_of_a_peer_are_tried_in_turn_about_twice_a_second() -> None:
    async def main() -> None:
        world = World(ConnectionError("nobody there"))
        addresses = [format_address("127.0.0.1", port, PEER) for port in (1, 2)]
        world.dialer.add([*addresses, "nonsense", addresses[0]])
        await world.run(10)
        assert 14 <= len(world.dialled) <= 30
        tried = [text for _, text in world.dialled]
        assert tried[::2] == [tried[0]] * len(tried[::2]) and set(tried) == set(addresses)
        assert world.counters.get_snapshot() == {"dialled": {"unreachable": len(tried)}}

    run(main)


def test_a_peer_that_refuses_is_left_alone_for_longer() -> None:
    async def main() -> None:
        for error in (
            HelloRefused(Refusal.CHAIN),
            RefusedByPeer(HelloRefused(Refusal.NOT_ADMITTED)),
        ):
            world = World(error)
            world.dialer.add([format_address("127.0.0.1", 1, PEER)])
            await world.run(10)
            assert 2 <= len(world.dialled) <= 3

    run(main)


def test_oneself_is_dialled_once() -> None:
    async def main() -> None:
        world = World(HelloRefused(Refusal.SELF))
        world.dialer.add([format_address("127.0.0.1", 1, PEER)])
        await world.run(10)
        assert len(world.dialled) == 1

    run(main)


def test_a_lost_session_is_dialled_at_once_and_a_short_one_after_a_pause() -> None:
    async def main() -> None:
        for seconds, least, most in ((4.0, 0.0, 0.001), (0.1, 0.3, 0.7)):
            world = World(session_seconds=seconds)
            world.dialer.add([format_address("127.0.0.1", 1, PEER)])
            await world.run(3 * seconds + 1)
            pause = world.dialled[1][0] - world.dialled[0][0] - seconds
            assert least <= pause <= most

    run(main)


def test_a_new_address_and_a_lost_session_wake_the_dialler() -> None:
    async def main() -> None:
        world = World(RefusedByPeer(HelloRefused(Refusal.FULL)))
        world.dialer.add([format_address("127.0.0.1", 1, PEER)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.run, 2)
            await trio.sleep(0.5)
            world.dialer.wake(PEER)
            world.dialer.wake(OTHER)
            await trio.sleep(0.5)
            world.dialer.add([format_address("127.0.0.1", 2, PEER)])
        assert [round(time, 1) for time, _ in world.dialled] == [
            round(world.dialled[0][0] + after, 1) for after in (0, 0.5, 1)
        ]

    run(main)


def test_of_two_that_hear_of_each_other_the_smaller_dials_first() -> None:
    async def main() -> None:
        for own, earliest, latest in (("zzz", 0.5, 0.6), ("111", 0.0, 0.1)):
            world = World(ConnectionError("nobody there"), own_peer_id=own)
            world.dialer.learn([format_address("127.0.0.1", 1, PEER)], KEY)
            began = trio.current_time()
            await world.run(1)
            assert earliest <= world.dialled[0][0] - began <= latest

    run(main)


def test_what_an_authority_says_is_dialled_while_it_is_one() -> None:
    async def main() -> None:
        world = World(ConnectionError("nobody there"))
        told = format_address("127.0.0.1", 99, OTHER)
        world.dialer.learn((format_address("127.0.0.1", p, PEER) for p in range(1, 20)), KEY)
        world.dialer.add([told])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.run, 40)
            await trio.sleep(20)
            assert len({text for _, text in world.dialled}) == MAX_LEARNT_PER_KEY + 1
            world.dialer.forget_keys(lambda key: key != KEY)
            world.dialled.clear()
        assert {text for _, text in world.dialled} == {told}

    run(main)


def test_addresses_over_the_limit_are_counted_and_left_out() -> None:
    async def main() -> None:
        world = World()
        world.dialer.add(
            format_address("127.0.0.1", port, PEER) for port in range(1, MAX_KNOWN_ADDRESSES + 6)
        )
        assert world.counters.get_snapshot() == {"dropped": {"address_over_limit": 5}}

    run(main)
