"""A miner of several kinds: each job by its own engine, in its own unit, and all of it settled."""

import asyncio
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from ledger.entries import JobStatus
from ledger.faults import Reason
from ledger.receipts import parse_receipt
from ledger.state import get_miner
from tests.support.contract_server import ContractServer
from tests.support.engine_bench import FOX, fetch
from tests.support.miner_bench import make_settings, mine, until
from tests.support.text_endpoint import TextEndpoint

SPEECH = FOX.read_bytes()


def make_content(service: str, model: str, input_: Any, **params: Any) -> dict[str, Any]:
    return {"service": service, "model": fetch(model)[0], "input": input_, "params": params}


def make_speech(source: str, data: bytes = SPEECH) -> dict[str, Any]:
    content = make_content("whisper_transcription", "tiny.en", {"audio_url": source})
    content["files"] = {source: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}}
    return content


def get_id(job_id: str) -> bytes:
    return bytes.fromhex(job_id.removeprefix("job_"))


@pytest.mark.slow
async def test_four_kinds_on_one_miner(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    kinds = ["llm_inference", "text_embedding", "whisper_transcription", "stable_diffusion"]
    contents = {
        "text_embedding": make_content(
            "text_embedding", "all-minilm-l6-v2", {"texts": ["one", "two"]}
        ),
        "whisper_transcription": make_speech("file_fox"),
        "stable_diffusion": make_content(
            "stable_diffusion", "tiny", {"prompt": "a red ring"}, num_images=2, size="64x64"
        ),
    }
    server.files["file_fox"] = SPEECH
    prices = {"stable_diffusion": 500}
    async with server.serve(), endpoint.serve():
        settings = make_settings(
            server, endpoint, tmp_path, kinds=kinds, prices=prices, concurrency=2
        )
        async with mine(settings):
            ids = {name: server.submit_content(given, 100) for name, given in contents.items()}
            ids["llm_inference"] = server.submit()
            for job_id in ids.values():
                await server.wait_for(job_id, JobStatus.SETTLED)
        assert not list((tmp_path / "data" / "inputs").iterdir())
    cores = {}
    for name, job_id in ids.items():
        report = server.completed[get_id(job_id)]
        cores[name], _ = parse_receipt(report["receipt"])
        assert cores[name].service == name
        assert report["result"]["model"] == cores[name].model
    assert {name: (core.unit_type, core.units) for name, core in cores.items()} == {
        "llm_inference": ("token", 13),
        "text_embedding": ("token", 6),
        "whisper_transcription": ("audio_second", 3),
        "stable_diffusion": ("image", 2),
    }
    assert cores["stable_diffusion"].price == 500
    assert [core.engine.split()[0] for core in cores.values()] == [
        "aitbc-numpy-bert",
        "faster-whisper",
        "aitbc-numpy-diffusion",
        "openai-compatible",
    ]
    miner = get_miner(server.state, "miner_a")
    assert miner is not None
    announced = miner.metadata.decode()
    assert all(fetch(model)[0] in announced for model in ("tiny", "tiny.en", "all-minilm-l6-v2"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_content("stable_diffusion", "tiny", {"prompt": "a poem"}), Reason.INPUT_INVALID),
        (make_content("stable_diffusion", "tiny", {"words": "ring"}), Reason.INPUT_INVALID),
        (
            {**make_content("stable_diffusion", "tiny", {"prompt": "ring"}), "params": [1]},
            Reason.INPUT_INVALID,
        ),
    ],
)
async def test_a_bad_input_is_the_clients_fault(
    content: dict[str, Any], reason: Reason, tmp_path: Path
) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        job_id = server.submit_content(content, 10)
        settings = make_settings(server, endpoint, tmp_path, kinds=["stable_diffusion"])
        async with mine(settings):
            await until(lambda: server.failures)
        assert server.get_status(job_id) is JobStatus.QUEUED
    assert [failure["reason_code"] for failure in server.failures] == [reason]


async def test_a_kind_or_model_that_is_not_run_is_left_to_others(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        other = {**make_content("stable_diffusion", "tiny", {}), "model": "tiny@" + "0" * 64}
        ids = [server.submit_content(other, 10), server.submit("text")]
        settings = make_settings(server, endpoint, tmp_path, kinds=["stable_diffusion"])
        async with mine(settings):
            await until(lambda: server.asked.count("get_available") >= 2)
        assert [server.get_status(job_id) for job_id in ids] == [JobStatus.QUEUED] * 2
    assert "claim" not in server.asked


@pytest.mark.slow
async def test_files_that_are_not_there_or_not_the_same_cost_no_engine(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    server.files["file_other"] = SPEECH[:-2]
    async with server.serve(), endpoint.serve():
        settings = make_settings(server, endpoint, tmp_path, kinds=["whisper_transcription"])
        async with mine(settings):
            for number, source in enumerate(("file_absent", "file_other")):
                server.submit_content(make_speech(source), 100)
                await until(lambda: len(server.failures) > number)  # noqa: B023 - awaited
        assert not list((tmp_path / "data" / "inputs").iterdir())
    assert [failure["reason_code"] for failure in server.failures] == [
        Reason.CONTENT_UNAVAILABLE
    ] * 2
    assert "is not the file" in server.failures[1]["detail"]


@pytest.mark.slow
async def test_a_cancelled_job_ends_within_two_seconds_and_is_billed_in_part(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    texts = [f"text {number} " + "of many words " * 90 for number in range(200)]
    content = make_content("text_embedding", "all-minilm-l6-v2", {"texts": texts})
    loop = asyncio.get_running_loop()
    async with server.serve(), endpoint.serve():
        settings = make_settings(server, endpoint, tmp_path, kinds=["text_embedding"])
        async with mine(settings):
            job_id = server.submit_content(content, 100_000)
            await until(lambda: any(beat["progress"] for beat in server.heartbeats))
            server.cancel(job_id)
            started = loop.time()
            await server.wait_for(job_id, JobStatus.SETTLED)
            assert loop.time() - started < 8  # with the proof, which the machine may be slow at
    said = re.sub(r"\x1b\[\d*m", "", capfd.readouterr().err).splitlines()
    (line,) = (line for line in said if "the engine was stopped" in line)
    figures = dict(re.findall(r"(\w+)=(\S+)", line))
    assert figures["reason"] == "cancelled"
    assert float(figures["stopped_after_seconds"]) < 2
    assert float(figures["engine_seconds_after_cancel"]) < 2
    report = server.completed[get_id(job_id)]
    made = len(report["result"]["embeddings"])
    assert 0 < made < 200
    assert 270 * made < report["units"] < 290 * made
