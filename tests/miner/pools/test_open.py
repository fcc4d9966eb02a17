"""A pool without Ray: jobs spread, move from a lost engine to another, stop, and say what ran."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from miner.engines.interface import OUTPUT, EngineFailedError, EngineResult, InputInvalidError
from miner.hashing import hash_file
from miner.kinds import KindUnavailableError
from miner.pools.engine import MAX_TRIES
from miner.pools.host import PREFIX
from miner.pools.open import Pool, check_settings, choose_gpu, choose_node_settings
from miner.pools.open import open_pool as connect
from miner.pools.placement import Demand, Node
from miner.settings import MinerSettings
from tests.support.engine_bench import FOX
from tests.support.miner_bench import until
from tests.support.onnx_models import make_linear
from tests.support.pool_cluster import LocalCluster, LocalHost
from tests.support.videos import make_video, read_streams

IMAGE = "stable_diffusion"
LONG: dict[str, Any] = {"num_images": 10, "steps": 100, "size": "1024x1024"}
"""Seconds of work, so that there is a middle."""


@pytest.fixture(autouse=True)
def with_token_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes are this process."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")


def make_settings(**changed: Any) -> MinerSettings:
    given = {"miner_id": "miner_a", "api_key": "secret", "key_file": "key", "kinds": [IMAGE]}
    return MinerSettings(**{**given, **changed})


@asynccontextmanager
async def open_pool(
    nodes: int = 2, folder: Path | None = None, **changed: Any
) -> AsyncIterator[tuple[Pool, LocalCluster]]:
    cluster = LocalCluster([Node(f"node-{number}", 1, 0) for number in range(nodes)], folder)
    pool = Pool(cluster)
    try:
        await pool.open(make_settings(**changed))
        yield pool, cluster
    finally:
        await pool.close()


async def draw(
    pool: Pool,
    seed: int,
    params: Mapping[str, Any] = LONG,
    on_progress: Callable[[int, str], None] = lambda progress, text: None,
    stop: asyncio.Event | None = None,
) -> EngineResult:
    content = {"input": {"prompt": "a red ring"}, "params": {**params, "seed": seed}}
    return await pool.engines[IMAGE].read(content).run({}, on_progress, stop or asyncio.Event())


def get_busy(cluster: LocalCluster) -> list[LocalHost]:
    return [
        host for host in cluster.hosts if not host.is_lost and host.calls[-1] in ("run", "follow")
    ]


async def test_jobs_are_spread_and_the_receipt_names_the_engine_and_device_that_ran() -> None:
    async with open_pool() as (pool, cluster):
        assert pool.jobs == 2 and pool.gpu_info == {}
        description = await pool.engines[IMAGE].prepare()
        short = {"size": "64x64"}
        results = await asyncio.gather(*(draw(pool, seed, short) for seed in (1, 2, 1)))
        assert [result.answer["seed"] for result in results] == [1, 2, 1]
        assert results[0].answer == results[2].answer
        assert {result.engine for result in results} == {description.text}
        assert results[0].device == description.device
        assert results[0].pins["seed"] == "1"
        assert all("run" in host.calls for host in cluster.hosts)


async def test_a_job_whose_node_is_lost_ends_on_another() -> None:
    async with open_pool() as (pool, cluster):
        calm = await draw(pool, 3)
        seen: list[int] = []
        job = asyncio.create_task(draw(pool, 3, on_progress=lambda done, _: seen.append(done)))
        await until(lambda: seen)
        (busy,) = get_busy(cluster)
        busy.lose()
        assert await job == calm
        # And another engine takes the place of the lost one.
        await until(lambda: len(cluster.hosts) == 3 and "prepare" in cluster.hosts[2].calls)


@pytest.mark.slow
async def test_a_text_whose_node_is_lost_goes_on_where_its_reader_is() -> None:
    async with open_pool(kinds=["llm_inference"]) as (pool, cluster):
        params = {"max_tokens": 48, "seed": 5, "temperature": 1.0}
        content = {"input": {"prompt": "Tell me of the sea."}, "params": params}
        task = pool.engines["llm_inference"].read(content)
        told: list[str] = []
        running = asyncio.create_task(
            task.run({}, lambda _, piece: told.append(piece), asyncio.Event())
        )
        await until(lambda: len("".join(told)) > 40)
        (busy,) = get_busy(cluster)
        busy.lose()
        result = await running
        assert not result.is_cut and result.units > 48
        assert "".join(told) == result.answer["text"]
        assert sum(host.calls.count("run") for host in cluster.hosts) == 2


async def test_a_job_that_no_node_survives_is_given_back_with_a_reason() -> None:
    async with open_pool(nodes=MAX_TRIES) as (pool, cluster):
        job = asyncio.create_task(draw(pool, 3))
        for _ in range(MAX_TRIES):
            await until(lambda: get_busy(cluster))
            (busy,) = get_busy(cluster)
            busy.lose()
        with pytest.raises(EngineFailedError, match=r"3 nodes were lost .* node-\d is gone"):
            await job


async def test_a_stop_reaches_the_engine_and_leaves_what_is_there() -> None:
    async with open_pool(nodes=1) as (pool, _):
        stop = asyncio.Event()
        result = await draw(
            pool, 3, LONG, lambda done, _: stop.set() if done >= 20 else None, stop=stop
        )
        assert result.is_cut and 0 < result.units < 10


async def test_a_job_that_waits_for_its_turn_can_be_stopped() -> None:
    async with open_pool(nodes=1) as (pool, cluster):
        seen: list[int] = []
        job = asyncio.create_task(draw(pool, 3, on_progress=lambda done, _: seen.append(done)))
        await until(lambda: seen)
        stop = asyncio.Event()
        waiting = asyncio.create_task(draw(pool, 4, stop=stop))
        stop.set()
        assert await waiting == EngineResult({}, 0, "", is_cut=True)
        assert not job.done()
        assert (await job).units == 10
        assert cluster.hosts[0].calls.count("run") == 1


async def test_what_an_engine_says_of_a_job_is_final() -> None:
    async with open_pool(nodes=1) as (pool, cluster):
        with pytest.raises(InputInvalidError, match="circle, square"):
            content = {"input": {"prompt": "a poem"}, "params": {}}
            await pool.engines[IMAGE].read(content).run({}, lambda *_: None, asyncio.Event())
        with pytest.raises(InputInvalidError, match="WIDTHxHEIGHT"):
            pool.engines[IMAGE].read({"input": {"prompt": "ring"}, "params": {"size": "1x1"}})
        assert len(cluster.hosts) == 1 and cluster.hosts[0].calls.count("run") == 1


async def test_files_go_where_the_job_runs_and_are_gone_afterwards(tmp_path: Path) -> None:
    kinds = ["whisper_transcription"]
    async with open_pool(nodes=1, folder=tmp_path, kinds=kinds) as (pool, _):
        content = {"input": {"audio_url": "file_fox"}, "params": {}}
        task = pool.engines["whisper_transcription"].read(content)
        assert task.sources == {"audio_url": "file_fox"}
        result = await task.run({"audio_url": FOX}, lambda *_: None, asyncio.Event())
        assert "quick brown fox" in result.answer["text"]
        assert not os.listdir(tmp_path)


async def test_the_files_of_a_result_come_back(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / OUTPUT
    there.mkdir()
    here.mkdir()
    source = make_video(tmp_path / "a.mp4")
    async with open_pool(nodes=1, folder=there, kinds=["video_transcoding"]) as (pool, _):
        engine = pool.engines["video_transcoding"]
        content = {"input": {"input_url": "file_a"}, "params": {"output_format": "mkv"}}
        task = engine.read({**content, "model": engine.model})
        files = {"input_url": source, OUTPUT: here}
        result = await task.run(files, lambda *_: None, asyncio.Event())
        (file,) = result.files
        assert (file.name, file.path.parent) == ("video.mkv", here)
        assert "Video: " in read_streams(file.path)
        assert not os.listdir(there)


async def test_a_model_that_comes_with_its_job_goes_to_the_node(tmp_path: Path) -> None:
    there, path = tmp_path / "there", tmp_path / "model"
    there.mkdir()
    # What the run of a process left that was killed is removed by the next one.
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    (there / f"{PREFIX}{ended.pid}-left" / OUTPUT).mkdir(parents=True)
    path.write_bytes(make_linear())
    async with open_pool(nodes=1, folder=there, kinds=["onnx_inference"]) as (pool, _):
        held = {"model_url": "file_a", "tensors": {"x": [[1, 1, 1]]}}
        task = pool.engines["onnx_inference"].read(
            {"model": f"linear@{hash_file(path)}", "input": held}
        )
        result = await task.run({"model_url": path}, lambda *_: None, asyncio.Event())
        assert result.answer == {"tensors": {"y": [[6.5]]}}
        assert not os.listdir(there)


async def test_a_kind_that_is_read_by_what_is_here_is_in_no_pool() -> None:
    with pytest.raises(KindUnavailableError, match="custom_code runs on the miner's own machine"):
        async with open_pool(kinds=["custom_code"]):
            pass


async def test_without_ray_a_pool_says_how_to_get_it() -> None:
    with pytest.raises(KindUnavailableError, match=r"pip install 'aitbc\[ray\]'"):
        await connect(make_settings(pool="ray://127.0.0.1:10001"))


async def test_a_cluster_that_lets_anybody_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(KindUnavailableError, match="lets anybody in"):
        async with open_pool():
            pass


async def test_an_engine_that_does_not_come_up_on_its_node_says_why(tmp_path: Path) -> None:
    with pytest.raises(KindUnavailableError, match="could not be fetched|is not on this disk"):
        async with open_pool(
            kinds=["text_embedding"], models_folder=str(tmp_path), wheels_folder=os.devnull
        ):
            pass
    with pytest.raises(KindUnavailableError, match="no node of the cluster has room"):
        async with open_pool(threads=2):
            pass
    with pytest.raises(KindUnavailableError, match="device is cuda:0, and of GPUs there is here"):
        cluster = LocalCluster([Node("simulated", 1, 1)])
        await Pool(cluster).open(make_settings(pool_shares={IMAGE: {"gpus": 1}}))


def test_settings_that_mean_nothing_beside_a_pool_are_refused() -> None:
    for changed, words in (
        ({"kinds": None}, "set kinds"),
        ({"text_endpoint": "http://localhost:1"}, "needs no pool"),
        ({"device": "cuda:1"}, "Ray chooses the GPU"),
        ({"pool_shares": {"llm_inference": {"gpus": 1}}}, "not among kinds"),
    ):
        with pytest.raises(KindUnavailableError, match=words):
            check_settings(make_settings(**changed))
    check_settings(make_settings())


def test_nodes_are_told_no_secret_and_nothing_that_the_operator_left_open() -> None:
    settings = make_settings(threads=3, prices={IMAGE: 5}, pool="ray://head:10001")
    told = choose_node_settings(settings, Demand(IMAGE, 1, 0))
    assert "secret" not in str(told)
    assert told == {
        "miner_id": "miner_a", "threads": 3, "kinds": [IMAGE], "device": "cpu",
        "api_key": "-", "key_file": "-",
    }  # fmt: skip
    assert choose_node_settings(settings, Demand(IMAGE, 1, 1))["device"] == "cuda:0"
    on_cpu = make_settings(device="cpu")
    assert choose_node_settings(on_cpu, Demand(IMAGE, 1, 1))["device"] == "cpu"


def test_a_gpu_is_announced_where_all_have_the_same() -> None:
    h100, h200 = {"name": "H100", "memory": "81559MiB"}, {"name": "H200"}
    assert choose_gpu([{}, {}]) == {}
    assert choose_gpu([{}, h100, dict(h100)]) == h100
    assert choose_gpu([h100, h200]) == {}
