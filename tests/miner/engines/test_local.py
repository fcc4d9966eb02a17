"""A model's own process: what becomes of a job when it ends, hangs or is abandoned."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.engines.local import LocalModel
from tests.support.engine_bench import fetch

RUNNER = "miner.engines.image_model"
REQUEST = {
    "prompt": "a ring",
    "negative_prompt": "",
    "width": 64,
    "height": 64,
    "num_images": 1,
    "steps": 5,
    "seed": 1,
}
LONG = {**REQUEST, "num_images": 10, "steps": 100_000}


def ignore(progress: int, text: str) -> None:
    """Nobody watches."""


@pytest.fixture
async def model() -> AsyncIterator[LocalModel]:
    identity, path = fetch("tiny")
    model = LocalModel("image", RUNNER, identity, {"path": str(path)})
    yield model
    await model.close()
    assert model.process_id is None


async def test_a_killed_process_costs_one_job(model: LocalModel) -> None:
    first = await model.run(REQUEST, ignore, asyncio.Event())
    before = model.process_id
    assert before is not None

    def kill(progress: int, text: str) -> None:
        os.kill(before, signal.SIGKILL)

    with pytest.raises(EngineFailedError, match="ended"):
        await model.run(LONG, kill, asyncio.Event())
    again = await model.run(REQUEST, ignore, asyncio.Event())
    assert again == first
    assert model.process_id != before


async def test_a_process_that_hangs_is_killed_within_two_seconds(model: LocalModel) -> None:
    await model.prepare()
    before = model.process_id
    assert before is not None
    stop = asyncio.Event()
    running = asyncio.create_task(model.run(LONG, ignore, stop))
    await asyncio.sleep(0.2)
    os.kill(before, signal.SIGSTOP)
    started = asyncio.get_running_loop().time()
    stop.set()
    reply = await running
    assert asyncio.get_running_loop().time() - started < 2
    assert (reply.answer, reply.units, reply.is_cut) == (None, 0, True)
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert (await model.run(REQUEST, ignore, asyncio.Event())).units == 1


async def test_an_abandoned_run_does_not_answer_the_next_job(model: LocalModel) -> None:
    running = asyncio.create_task(model.run(LONG, ignore, asyncio.Event()))
    await asyncio.sleep(0.5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await model.run(REQUEST, ignore, asyncio.Event())).units == 1


async def test_one_job_at_a_time_and_a_waiting_one_can_be_stopped(model: LocalModel) -> None:
    await model.prepare()
    first_stop, second_stop, is_running = asyncio.Event(), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(model.run(LONG, lambda *_: is_running.set(), first_stop))
    await is_running.wait()
    second = asyncio.create_task(model.run(REQUEST, ignore, second_stop))
    third = asyncio.create_task(model.run(REQUEST, ignore, asyncio.Event()))
    await asyncio.sleep(0.1)
    second_stop.set()
    assert (await second).is_cut
    assert not third.done()
    await asyncio.wait_for(model.prepare(), 5)
    assert not first.done()
    first_stop.set()
    assert (await first).is_cut
    assert (await third).units == 1


async def test_what_fails_in_the_model_costs_one_job_and_is_told(model: LocalModel) -> None:
    with pytest.raises(EngineFailedError, match="KeyError"):
        await model.run({"prompt": "a ring"}, ignore, asyncio.Event())
    await model.prepare()
    before = model.process_id
    with pytest.raises(InputInvalidError, match="circle"):
        await model.run({**REQUEST, "prompt": "?"}, ignore, asyncio.Event())
    assert (await model.run(REQUEST, ignore, asyncio.Event())).units == 1
    assert model.process_id == before


async def test_weights_that_are_none_do_not_start(tmp_path: Path) -> None:
    model = LocalModel("image", RUNNER, "tiny@0", {"path": str(tmp_path / "absent")})
    with pytest.raises(EngineFailedError, match="did not start"):
        await model.prepare()
    await model.close()
