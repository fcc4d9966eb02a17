"""A text on its way to the coordinator: order, speed, and lost connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from miner.streaming import LINE_CHARACTERS, TextStream
from miner.wire import Wire
from tests.support.miner_bench import until
from tests.support.stream_receiver import StreamReceiver

JOB = "job_" + "0a" * 32


@asynccontextmanager
async def open_stream(receiver: StreamReceiver) -> AsyncIterator[TextStream]:
    app = web.Application()
    app.router.add_post("/v1/jobs/{id}/stream", receiver.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    wire = Wire([f"http://127.0.0.1:{runner.addresses[0][1]}"], "aitbc_key")
    try:
        yield TextStream(wire, JOB, {"miner_id": "miner_a", "report_token": None})
    finally:
        await wire.close()
        await runner.cleanup()


async def test_each_piece_goes_out_at_once_and_in_order() -> None:
    receiver = StreamReceiver()
    async with open_stream(receiver) as stream:
        for number in range(20):
            stream.add(number, f"piece {number} ")
            started = asyncio.get_running_loop().time()
            await until(lambda: receiver.texts[JOB].endswith(f" {number} "))  # noqa: B023 - awaited
            assert asyncio.get_running_loop().time() - started < 1
        await stream.finish()
    assert receiver.texts[JOB] == "".join(f"piece {number} " for number in range(20))
    assert [line["progress"] for line in receiver.lines] == list(range(20))
    assert receiver.offsets == [0, 0]  # asked, then sent


async def test_what_comes_while_a_write_is_on_its_way_goes_together_and_lines_are_bounded() -> None:
    receiver = StreamReceiver()
    text = "é\n😀" * 10_000
    async with open_stream(receiver) as stream:
        for character in text:
            stream.add(1, character)
        await stream.finish()
    assert receiver.texts[JOB] == text
    assert len(receiver.lines) == -(-len(text) // LINE_CHARACTERS)


async def test_a_lost_connection_goes_on_where_the_coordinator_is() -> None:
    receiver = StreamReceiver()
    receiver.breaks = [3, 40]
    receiver.refusals = [503]
    async with open_stream(receiver) as stream:
        for number in range(30):
            stream.add(number, f"{number:02d} ")
            await asyncio.sleep(0.03)
        await stream.finish()
    assert receiver.texts[JOB] == "".join(f"{number:02d} " for number in range(30))
    assert receiver.offsets[0] == 0
    assert len(receiver.offsets) >= 4


async def test_a_text_begun_by_an_attempt_before_goes_on_behind_it() -> None:
    receiver = StreamReceiver()
    receiver.texts[JOB] = "Red, "
    async with open_stream(receiver) as stream:
        for piece in ("Re", "d, ", "blue"):
            stream.add(1, piece)
            await asyncio.sleep(0.05)
        await stream.finish()
    assert receiver.texts[JOB] == "Red, blue"
    assert receiver.offsets == [0, 5]


@pytest.mark.parametrize("status", [401, 404, 422])
async def test_a_stream_that_is_not_wanted_costs_nothing(status: int) -> None:
    receiver = StreamReceiver()
    receiver.refusals = [status]
    async with open_stream(receiver) as stream:
        stream.add(1, "Red")
        await until(lambda: receiver.offsets)
        stream.add(2, ", blue")
        await asyncio.wait_for(stream.finish(), 1)
    assert receiver.offsets == [0]


async def test_without_text_nothing_is_sent() -> None:
    receiver = StreamReceiver()
    async with open_stream(receiver) as stream:
        stream.add(50, "")
        await stream.finish()
    assert receiver.offsets == []
