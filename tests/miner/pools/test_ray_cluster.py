"""A pool on a real Ray cluster of three nodes on this machine: two with a simulated GPU, a head."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ledger.entries import JobStatus
from ledger.receipts import parse_receipt
from ledger.state import get_miner
from miner.kinds import KindUnavailableError
from miner.pools.open import Pool, open_pool
from miner.settings import MinerSettings
from tests.support.contract_server import ContractServer
from tests.support.engine_bench import fetch
from tests.support.miner_bench import make_settings, mine
from tests.support.ray_nodes import RayNodes, serve_ray_nodes
from tests.support.text_endpoint import TextEndpoint

pytestmark = [pytest.mark.engines, pytest.mark.asyncio(loop_scope="module")]

IMAGE = "stable_diffusion"
SEEDS = range(8)
LONG = {"num_images": 10, "steps": 150, "size": "2048x2048"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ray_nodes() -> AsyncIterator[RayNodes]:
    async with serve_ray_nodes() as nodes:
        yield nodes


def choose(ray_nodes: RayNodes, **changed: Any) -> dict[str, Any]:
    return {
        "kinds": [IMAGE],
        "text_endpoint": None,
        "pool": ray_nodes.address,
        "pool_shares": {IMAGE: {"gpus": 1}},
        # The GPUs are simulated: with another device each engine would rightly refuse.
        "device": "cpu",
        **changed,
    }


@asynccontextmanager
async def opened(ray_nodes: RayNodes, **changed: Any) -> AsyncIterator[Pool]:
    await ray_nodes.do("fill")
    given = {"miner_id": "miner_a", "api_key": "k", "key_file": "key"}
    pool = await open_pool(MinerSettings(**{**given, **choose(ray_nodes, **changed)}))
    try:
        yield pool
    finally:
        await pool.close()


def make_content(seed: int, **params: Any) -> dict[str, Any]:
    return {
        "service": IMAGE,
        "model": fetch("tiny")[0],
        "input": {"prompt": "a red ring"},
        "params": {"seed": seed, **params},
    }


async def test_one_miner_whose_jobs_outlive_the_loss_of_a_node(
    ray_nodes: RayNodes, tmp_path: Path
) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        settings = make_settings(server, endpoint, tmp_path, **choose(ray_nodes))
        async with mine(settings):
            ids = [server.submit_content(make_content(seed, **LONG), 100) for seed in SEEDS]
            jobs = [bytes.fromhex(job_id.removeprefix("job_")) for job_id in ids]
            # With the first one done, each of the two nodes is in the middle of another.
            await server.wait_for(ids[0], JobStatus.SETTLED)
            await ray_nodes.do("kill")
            for job_id in ids:
                await server.wait_for(job_id, JobStatus.SETTLED)
    for job, seed in zip(jobs, SEEDS, strict=True):
        report = server.completed[job]
        core, _ = parse_receipt(report["receipt"])
        assert (core.units, core.engine.split()[0]) == (10, "aitbc-numpy-diffusion")
        assert core.device.startswith("CPU")
        assert report["result"]["seed"] == seed
    miner = get_miner(server.state, "miner_a")
    assert miner is not None
    assert json.loads(miner.metadata)["gpu_info"] == {}


async def test_jobs_run_side_by_side_and_another_node_takes_the_place_of_a_lost_one(
    ray_nodes: RayNodes,
) -> None:
    async with opened(ray_nodes) as pool:
        assert pool.jobs == 2
        engine = pool.engines[IMAGE]

        async def draw(seed: int) -> dict[str, Any]:
            task = engine.read(make_content(seed, size="64x64"))
            return (await task.run({}, lambda *_: None, asyncio.Event())).answer

        answers = await asyncio.gather(*(draw(seed % 2) for seed in range(6)))
        assert answers[0] == answers[2] == answers[4] != answers[1]
        await ray_nodes.do("kill")
        assert await draw(0) == answers[0]
        await ray_nodes.do("fill")
        # The other of the first two: what is left is the new node.
        await ray_nodes.do("kill")
        assert await draw(1) == answers[1]


async def test_a_stop_reaches_the_engine(ray_nodes: RayNodes, tmp_path: Path) -> None:
    unread = tmp_path / "unread"
    unread.write_bytes(os.urandom(10_000_000))
    async with opened(ray_nodes) as pool:
        stop = asyncio.Event()
        task = pool.engines[IMAGE].read(make_content(1, **LONG))
        result = await task.run(
            # The engine wants no file; that it travels in pieces is what is tried.
            {"unread": unread},
            lambda progress, _: stop.set() if progress >= 20 else None,
            stop,
        )
        assert result.is_cut and 0 < result.units < 10


async def test_a_gpu_that_ray_counts_and_no_driver_shows_is_refused(ray_nodes: RayNodes) -> None:
    with pytest.raises(KindUnavailableError, match="device is cuda:0, and of GPUs there is here"):
        async with opened(ray_nodes, device="auto"):
            pass
