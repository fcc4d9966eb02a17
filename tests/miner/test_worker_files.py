"""A miner whose results are files: stored before the work is done, and again after a crash."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from ledger.entries import JobStatus
from ledger.faults import Reason
from miner.run import run_miner
from tests.support.contract_server import ContractServer
from tests.support.miner_bench import kill, make_settings, mine, until
from tests.support.text_endpoint import TextEndpoint
from tests.support.videos import make_video

KINDS = ["video_transcoding"]
SOURCE = "file_" + "0a" * 32


def make_content(server: ContractServer, path: Path, **params: Any) -> dict[str, Any]:
    data = make_video(path, seconds=1, sound=False).read_bytes()
    server.files[SOURCE] = data
    return {
        "service": "video_transcoding",
        "model": "ffmpeg",
        "input": {"input_url": SOURCE},
        "params": params,
        "files": {SOURCE: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}},
    }


async def test_killed_after_an_upload_it_stores_the_file_again(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    content = make_content(server, tmp_path / "a.mkv")
    server.faults["store_file"] = ["cut"]  # stored, and the answer lost
    async with server.serve(), endpoint.serve():
        job_id = server.submit_content(content, 10)
        settings = make_settings(server, endpoint, tmp_path, kinds=KINDS)
        running = asyncio.create_task(run_miner(settings, asyncio.Event()))
        await until(lambda: server.stored)
        await kill(running)
        assert len(server.stored) == 1 and not server.completed
        async with mine(settings):
            await server.wait_for(job_id, JobStatus.SETTLED)
    (report,) = server.completed.values()
    (file,) = report["result"]["files"]
    assert (file["file_id"], file["name"]) == (f"file_{2:064x}", "video.mp4")
    # The same bytes, since nothing of a run goes into them.
    assert server.stored[0] == server.stored[1]
    assert file["sha256"] == hashlib.sha256(server.stored[1][2]).hexdigest()


async def test_a_file_that_is_not_taken_gives_the_lease_back(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    content = make_content(server, tmp_path / "a.mkv")
    server.faults["store_file"] = [503, 413]
    async with server.serve(), endpoint.serve():
        job_id = server.submit_content(content, 10)
        async with mine(make_settings(server, endpoint, tmp_path, kinds=KINDS)):
            await until(lambda: server.failures)
        assert server.get_status(job_id) is JobStatus.QUEUED
    (failure,) = server.failures
    assert failure["reason_code"] == Reason.CONTENT_UNAVAILABLE
    assert "video.mp4 is not taken: status 413" in failure["detail"]
    assert not list((tmp_path / "data" / "inputs").iterdir())


async def test_cancelled_during_an_upload_nothing_is_billed(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    content = make_content(server, tmp_path / "a.mkv")
    server.faults["store_file"] = [503] * 100
    async with server.serve(), endpoint.serve():
        job_id = server.submit_content(content, 10)
        async with mine(make_settings(server, endpoint, tmp_path, kinds=KINDS)):
            await until(lambda: "store_file" in server.asked)
            server.cancel(job_id)
            inputs = tmp_path / "data" / "inputs"
            await until(lambda: not list(inputs.iterdir()))
        assert server.get_status(job_id) is JobStatus.CANCELLING
    assert not server.completed and not server.failures
