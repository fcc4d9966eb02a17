"""Jobs that bring a file, a video or a model: from the upload to a settled receipt and a result."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from aitbc.client import AsyncAITBCClient
from aitbc.errors import APIError
from ledger.receipts import ReceiptCore, parse_receipt
from miner.run import run_miner
from tests.support.miner_bench import kill, mine, until
from tests.support.miner_market import open_market
from tests.support.onnx_models import make_linear
from tests.support.videos import make_video, read_streams


async def upload(client: AsyncAITBCClient, path: Path, data: bytes | None = None) -> str:
    if data is not None:
        await asyncio.to_thread(path.write_bytes, data)
    return (await client.files.upload(path)).file_id


async def collect(client: AsyncAITBCClient, job_id: str) -> tuple[ReceiptCore, dict[str, Any]]:
    """Return the receipt and the result of a job once it is settled."""
    await client.jobs.wait(job_id, timeout=60)
    receipt = await client.jobs.get_receipt(job_id)
    verdict = await client.receipts.verify(receipt.to_dict())
    assert verdict.valid
    core, _ = parse_receipt(receipt.to_dict())
    result = (await client.jobs.get_results(job_id))["results"]
    return core, result


async def test_a_video_is_uploaded_transcoded_paid_and_downloaded(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    kinds = ["video_transcoding"]
    async with open_market(tmp_path, kinds=kinds) as market, mine(market.settings):
        client = market.client
        job = await client.jobs.create(
            {
                "type": "video_transcoding",
                "input": {"input_url": await upload(client, source), "resolution": "64x64"},
            }
        )
        core, result = await collect(client, job.job_id)
        (file,) = result["files"]
        data = await client.files.download(file["file_id"])
    assert (core.service, core.unit_type, core.units) == ("video_transcoding", "video_second", 2)
    assert (core.model, core.verification) == ("ffmpeg", "exact")
    assert core.engine.startswith("ffmpeg n9.0.2") and "threads" in core.pins
    assert (file["name"], file["content_type"]) == ("video.mp4", "video/mp4")
    assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size"], file["sha256"])
    (tmp_path / "out.mp4").write_bytes(data)
    assert "Video: h264" in read_streams(tmp_path / "out.mp4")
    assert result["frames"] == 20


async def test_a_miner_killed_before_it_finished_runs_the_job_again(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mkv", size="320x240", seconds=20, sound=False)
    async with open_market(tmp_path, kinds=["video_transcoding"]) as market:
        client = market.client
        body = {"input_url": await upload(client, source), "codec": "h265"}
        job = await client.jobs.create({"type": "video_transcoding", "input": body})
        running = asyncio.create_task(run_miner(market.settings, asyncio.Event()))
        inputs = market.settings.data_folder / "inputs"
        await until(lambda: list(inputs.glob("*/input_url")))
        await kill(running)
        async with mine(market.settings):
            core, result = await collect(client, job.job_id)
            data = await client.files.download(result["files"][0]["file_id"])
    assert core.units == 20 and core.claim_number == 1
    assert hashlib.sha256(data).hexdigest() == result["files"][0]["sha256"]


async def test_a_model_comes_with_its_job_to_a_miner_that_never_saw_it(tmp_path: Path) -> None:
    model = make_linear()
    digest = hashlib.sha256(model).hexdigest()
    given = {"x": [[1, 2, 3], [0, 0, 0.5]]}
    kinds = ["onnx_inference", "stable_diffusion"]
    async with open_market(tmp_path, kinds=kinds) as market, mine(market.settings):
        client = market.client
        file_id = await upload(client, tmp_path / "linear.onnx", model)
        request = {"model_url": file_id, "tensors": given}
        named = {"type": "onnx_inference", "model": f"linear@{digest}", "input": request}
        jobs = [
            await client.jobs.create(named),
            await client.jobs.create({"type": "ai-inference", "input": request}),
        ]
        collected = [await collect(client, job.job_id) for job in jobs]
        for wrong in (
            {**named, "model": "linear@" + "00" * 32},
            {**named, "input": {**request, "model_url": "https://example.com/a.onnx"},
             "model": "linear"},
        ):  # fmt: skip
            with pytest.raises(APIError, match="sha256"):
                await client.jobs.create(wrong)
    for (core, result), name in zip(collected, ("linear", "onnx"), strict=True):
        assert result["tensors"] == {"y": [[14.5], [2]]}
        assert core.model == result["model"] == f"{name}@{digest}"
        assert core.pins["model_sha256"] == digest
        assert (core.unit_type, core.units, core.verification) == ("second", 1, "tolerance")
        assert core.completed_ms - core.started_ms >= 1_000
