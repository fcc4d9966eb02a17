"""What a job is said to have drawn: the counter's joules where they are its own, else nothing."""

import json
from pathlib import Path

import pytest

from tests.support.gpu_driver import LARGE, SMALL, build_driver, make_environment, run_beside

SHARED = """
import asyncio, json, os, pathlib
from miner.gpu.energy import EnergyMeter
from miner.gpu.nvml import find_gpus

counter = pathlib.Path(os.environ["ENERGY_FILE"])
(gpu,) = find_gpus().gpus
meter = EnergyMeter(gpu.uuid)

async def run(begin, end, other=None):
    counter.write_text(str(begin))
    async with meter.measure() as reading:
        if other is not None:
            await other
        counter.write_text(str(end))
    return reading.joules

async def main():
    alone = await run(1_000, 43_499)
    small = await run(43_499, 43_600)
    reset = await run(43_600, 7)
    inner = asyncio.create_task(run(8, 5_000))
    outer = await run(7, 9_000, other=inner)
    after = await run(9_000, 10_500)
    print(json.dumps([alone, small, reset, await inner, outer, after]))

asyncio.run(main())
"""
FAILING = """
import asyncio, json
from miner.gpu.energy import EnergyMeter
from miner.gpu.nvml import find_gpus

async def main():
    meter = EnergyMeter(find_gpus().gpus[0].uuid)
    try:
        async with meter.measure() as failed:
            raise ValueError
    except ValueError:
        pass
    async with meter.measure() as after:
        pass
    print(json.dumps([failed.joules, after.joules, after.is_shared]))

asyncio.run(main())
"""
METERED = """
import asyncio, json
from miner.engines.image import ImageEngine
from miner.engines.text import TextEngine
from miner.engines.text_backends import RemoteEndpoint
from miner.gpu.energy import EnergyMeter, MeteredEngine
from miner.gpu.nvml import find_gpus
from tests.support.engine_bench import fetch, run
from tests.support.text_endpoint import TextEndpoint

async def measure(engine, meter, *content):
    engine = MeteredEngine(engine, meter)
    try:
        await engine.prepare()
        return (await run(engine, *content)).energy_joules
    finally:
        await engine.close()

async def main():
    meter = EnergyMeter(find_gpus().gpus[0].uuid)
    endpoint = TextEndpoint()
    async with endpoint.serve():
        text = TextEngine("served", RemoteEndpoint(endpoint.url, "served", gpu="NVIDIA H100"))
        on_gpu = await measure(text, meter, {"prompt": "one"}, {"max_tokens": 2})
    on_cpu = await measure(ImageEngine(*fetch("tiny"), 1), meter, {"prompt": "a red ring on white"})
    print(json.dumps([on_gpu, on_cpu]))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


def test_a_run_alone_has_its_joules_and_runs_side_by_side_have_none(
    driver: Path, tmp_path: Path
) -> None:
    counter = tmp_path / "energy"
    counter.write_text("0")
    environment = make_environment(driver, LARGE, ENERGY_FILE=str(counter))
    # 42.499 J alone, a tenth of a joule, a counter begun anew, two side by side, and 1.5 J.
    assert json.loads(run_beside(environment, SHARED)) == [42, 0, None, None, None, 2]


def test_a_gpu_without_a_counter_says_nothing_and_a_failure_is_forgotten(driver: Path) -> None:
    environment = make_environment(driver, SMALL)
    assert json.loads(run_beside(environment, FAILING)) == [None, None, False]


def test_only_a_job_that_ran_on_the_gpu_has_its_joules(driver: Path, tmp_path: Path) -> None:
    counter = tmp_path / "energy"
    counter.write_text("5000")
    environment = make_environment(driver, LARGE, ENERGY_FILE=str(counter))
    assert json.loads(run_beside(environment, METERED)) == [0, None]
