"""Readers wait for the node, and for room in the pool, in turn."""

import trio
from trio.testing import wait_all_tasks_blocked

from p2p.backpressure import Backlog, Pool
from p2p.limits import LONG_FRAME_BYTES

LONG = 10 * LONG_FRAME_BYTES


def test_a_reader_waits_until_the_node_has_taken_enough() -> None:
    async def main() -> None:
        backlog = Backlog()
        backlog.set_limit(100)
        backlog.add(100)
        await backlog.wait_for_room()
        backlog.add(50)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backlog.wait_for_room)
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            backlog.release(50)
        backlog.add(900)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backlog.wait_for_room)
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            backlog.set_limit(1000)

    trio.run(main)


def test_long_frames_share_a_pool_in_turn_and_short_ones_need_none() -> None:
    async def main() -> None:
        pool = Pool(LONG)
        order: list[str] = []

        async def gather(name: str, size: int) -> None:
            reserved = await pool.reserve(size)
            order.append(name)
            pool.release(reserved)

        held = await pool.reserve(LONG - 1)
        assert held == LONG - 1
        assert await pool.reserve(LONG_FRAME_BYTES) == 0
        async with trio.open_nursery() as nursery:
            for name in ("first", "second"):
                nursery.start_soon(gather, name, LONG)
                await wait_all_tasks_blocked()
            assert order == []
            pool.release(held)
        assert order == ["first", "second"]

    trio.run(main)


def test_who_gives_up_waiting_takes_nothing_from_the_pool() -> None:
    async def main() -> None:
        pool = Pool(LONG)
        held = await pool.reserve(LONG)
        with trio.move_on_after(0):
            await pool.reserve(LONG)

        async def hold() -> None:
            reserved = await pool.reserve(LONG)
            try:
                await trio.sleep_forever()
            finally:
                pool.release(reserved)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await wait_all_tasks_blocked()
            pool.release(held)
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            assert await pool.reserve(LONG) == LONG

    trio.run(main)
