import asyncio

from coordinator.signals import QUEUE, Signals


async def test_an_announcement_before_the_wait_is_not_lost() -> None:
    signals = Signals()
    with signals.listen(QUEUE) as listener:
        signals.announce(QUEUE)
        assert await listener.wait(0.0)
        assert not await listener.wait(0.0)


async def test_all_who_listen_wake_and_nobody_else() -> None:
    signals = Signals()
    with signals.listen("a", "b") as first, signals.listen("b") as second:
        waiting = asyncio.gather(first.wait(5), second.wait(0.05))
        await asyncio.sleep(0)
        signals.announce("a", "c")
        woken, timed_out = await waiting
        assert (woken, timed_out) == (True, False)
