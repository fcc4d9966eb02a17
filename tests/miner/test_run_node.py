"""The miner against a node as it runs: its database, its blocks, the real model and the SDK."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aitbc.cli.main import app
from aitbc.client import AsyncAITBCClient
from ledger.faults import Reason
from ledger.receipts import parse_receipt
from miner.recheck.rerun import Claim, recheck
from miner.recheck.verdict import Standing
from tests.support.engine_bench import FOX
from tests.support.miner_bench import mine
from tests.support.miner_market import Market, open_market
from tests.support.text_endpoint import TextEndpoint


@pytest.mark.slow
async def test_jobs_are_run_by_the_real_model_and_settled_on_a_node(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market, mine(market.settings):
        first, second = [
            await market.client.jobs.create(prompt=prompt, params={"max_tokens": 8, "seed": 1})
            for prompt in ("Name a colour.", "Name an animal.")
        ]
        job = await market.client.jobs.wait(first.job_id, timeout=60)
        await market.client.jobs.wait(second.job_id, timeout=60)
        assert job["progress"] == 100
        result = await market.client.jobs.get_results(first.job_id)
        receipt = await market.client.jobs.get_receipt(first.job_id)
        verdict = await market.client.receipts.verify(receipt.to_dict())
        stats = await market.client.miners.get_stats("miner_a")
        supply = await market.client.chain.audit_supply()
        checked = await recheck_by_command(market, tmp_path, first.job_id)
    assert (checked["verdict"], checked["receipt"]) == ("stands", "settlement verified")
    assert (checked["verification"], checked["value"]) == ("logit_gap", 0.0)
    assert result["results"]["usage"]["completion_tokens"] <= 8
    core, _ = parse_receipt(receipt.to_dict())
    assert core.units == result["results"]["usage"]["total_tokens"]
    assert "xllamacpp" in core.engine
    assert verdict.valid
    assert (stats["settled"], stats["lapsed"]) == (2, 0)
    assert supply["balanced"]


async def recheck_by_command(market: Market, folder: Path, job_id: str) -> dict[str, Any]:
    """Run `aitbc receipt recheck` as the job's client does; return what it prints."""
    key_file = folder / "client.key"
    key_file.write_text(market.client_key)
    key_file.chmod(0o600)
    genesis = folder / "node" / "genesis.json"
    # A loop of its own and a client that waits: not where the node runs.
    options = ["--api-url", market.node.url, "--api-key-file", key_file, "--genesis", genesis]
    arguments = ["receipt", "recheck", job_id, *map(str, options), "--json"]
    outcome = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert outcome.exit_code == 0, outcome.output
    shown: dict[str, Any] = json.loads(outcome.stdout)
    return shown


async def no_file(file_id: str, path: Path) -> None:
    raise AssertionError("this job has no source")


@pytest.mark.slow
async def test_other_kinds_are_run_and_settled_on_a_node(tmp_path: Path) -> None:
    kinds = ["text_embedding", "whisper_transcription", "stable_diffusion"]
    async with open_market(tmp_path, kinds=kinds) as market, mine(market.settings):
        client = market.client
        sound = await client.files.upload(FOX)
        bodies = [
            {"type": "text_embedding", "input": {"texts": ["one", "two"]}},
            {"type": "whisper_transcription", "input": {"audio_url": sound.file_id}},
            {
                "type": "stable_diffusion",
                "input": {"prompt": "a red ring on white"},
                "params": {"num_images": 2, "size": "64x64", "seed": 3},
            },
        ]
        jobs = [await client.jobs.create(body) for body in bodies]
        for job in jobs:
            await client.jobs.wait(job.job_id, timeout=60)
        results = [(await client.jobs.get_results(job.job_id))["results"] for job in jobs]
        receipts = [await client.jobs.get_receipt(job.job_id) for job in jobs]
        contents = [await client.jobs.get_content(job.job_id) for job in jobs]
    vectors, transcript, pictures = results
    assert [len(vector) for vector in vectors["embeddings"]] == [384, 384]
    assert "quick brown fox" in transcript["text"].lower()
    assert [image["media_type"] for image in pictures["images"]] == ["image/png"] * 2
    cores = [parse_receipt(receipt.to_dict())[0] for receipt in receipts]
    claims = [Claim(*parts) for parts in zip(cores, contents, results, strict=True)]
    checked = await recheck(claims[2], no_file)
    assert (checked.verdict.standing, checked.pins) == (Standing.STANDS, cores[2].pins)
    assert [core.verification for core in cores] == ["tolerance"] * 3
    assert all(core.pins["model_sha256"] in core.model for core in cores)
    assert [(core.unit_type, core.units) for core in cores] == [
        ("token", 6),
        ("audio_second", 3),
        ("image", 2),
    ]
    assert [core.engine.split()[0] for core in cores] == [
        "aitbc-numpy-bert",
        "faster-whisper",
        "aitbc-numpy-diffusion",
    ]


async def test_a_cancelled_job_is_paid_in_part_and_a_shutdown_gives_the_next_back(
    tmp_path: Path,
) -> None:
    endpoint = TextEndpoint(delay=0.05)
    async with (
        endpoint.serve(),
        open_market(
            tmp_path, text_endpoint=endpoint.url, text_endpoint_model="served", drain_seconds=4.0
        ) as market,
    ):
        client = market.client
        async with mine(market.settings):
            first = await client.jobs.create(prompt="Count.", params={"max_tokens": 2_000})
            await wait_for_text(client, first.job_id)
            await client.jobs.cancel(first.job_id)
            done = await client.jobs.wait(first.job_id, timeout=30)
            second = await client.jobs.create(prompt="Again.", params={"max_tokens": 2_000})
            await wait_for_text(client, second.job_id)
        job = await market.node.wait_job(bytes.fromhex(second.job_id[4:]), "queued")
    assert done["result"]["finish_reason"] == "cancelled"
    assert int(done["settlement"]["paid_base"]) == done["result"]["usage"]["total_tokens"] * 1_000
    assert [attempt["reason_code"] for attempt in job["attempts"]] == [Reason.MINER_DRAINED]


async def test_a_text_is_read_while_it_is_written(tmp_path: Path) -> None:
    endpoint = TextEndpoint(delay=0.05)
    loop = asyncio.get_running_loop()
    async with (
        endpoint.serve(),
        open_market(tmp_path, text_endpoint=endpoint.url, text_endpoint_model="served") as market,
        mine(market.settings),
    ):
        job = await market.client.jobs.create(prompt="Count.", params={"max_tokens": 40})
        pieces: list[tuple[float, str]] = []
        async for event in market.client.jobs.stream(job.job_id):
            if event.event == "delta":
                pieces.append((loop.time(), event.data["delta"]))
        result = await market.client.jobs.get_results(job.job_id)
    assert "".join(piece for _, piece in pieces) == result["results"]["text"] == "word " * 40
    assert len(pieces) > 20
    assert pieces[-1][0] - pieces[0][0] > 1.5  # as it was made: 39 pauses


async def wait_for_text(client: AsyncAITBCClient, job_id: str) -> None:
    async with asyncio.timeout(30):
        while True:
            if (await client.jobs.get(job_id)).phase == "running":
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
