"""A whole miner: jobs from offer to settlement, and everything that comes in between."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ledger.entries import JobStatus
from ledger.faults import Reason
from ledger.receipts import parse_receipt
from ledger.state import get_job, get_miner
from ledger.terms import compute_content_hash
from ledger.transactions import Transfer
from miner.run import run_miner
from tests.support.contract_server import CLIENT, MINER, ContractServer
from tests.support.miner_bench import kill, make_settings, mine, until
from tests.support.text_endpoint import TextEndpoint

SETTLED = JobStatus.SETTLED


def get_id(job_id: str) -> bytes:
    return bytes.fromhex(job_id.removeprefix("job_"))


async def test_a_job_is_claimed_run_proved_and_settled(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        async with mine(make_settings(server, endpoint, tmp_path)):
            job_id = server.submit(max_tokens=6)
            await server.wait_for(job_id, SETTLED)
        assert not list((tmp_path / "data" / "spool").glob("*.work"))
    report = server.completed[get_id(job_id)]
    assert report["result"]["text"] == "word " * 6
    assert report["result"]["usage"]["total_tokens"] == report["units"] == 11
    core, _ = parse_receipt(report["receipt"])
    assert (core.units, core.price, core.amount) == (11, 1_000, 11_000)
    assert core.result_hash == compute_content_hash(report["result"]).hex()
    assert core.provider == MINER.text_address
    job = get_job(server.state, get_id(job_id))
    miner = get_miner(server.state, "miner_a")
    assert job is not None and job.settlement is not None and miner is not None
    assert job.settlement.payout == 11_000 - 550 - 220
    assert (miner.claims, miner.settled, miner.live_leases) == (1, 1, 0)
    assert server.heartbeats[0]["progress"] == 0


async def test_several_jobs_run_at_a_time_and_every_one_is_settled(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.02)
    async with server.serve(), endpoint.serve():
        job_ids = [server.submit(f"job {number}") for number in range(5)]
        async with mine(make_settings(server, endpoint, tmp_path, concurrency=3)):
            for job_id in job_ids:
                await server.wait_for(job_id, SETTLED)
    miner = get_miner(server.state, "miner_a")
    assert miner is not None
    assert (miner.claims, miner.settled, miner.lapsed) == (5, 5, 0)


@pytest.mark.parametrize(
    "lie",
    [
        {"max_price": 2_000},
        {"salt": bytes(32)},
        {"input_hash": bytes(32)},
        {"client": bytes(20)},
        {"job": bytes(32)},
    ],
)
async def test_terms_that_are_not_covered_are_refused(lie: dict[str, Any], tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        job_id = server.submit(**lie)
        async with mine(make_settings(server, endpoint, tmp_path)):
            await until(lambda: server.failures)
    job = get_job(server.state, get_id(job_id))
    assert job is not None
    assert [attempt.reason_code for attempt in job.attempts] == [Reason.TERMS_NOT_COVERED]
    assert endpoint.asked == 0


async def test_terms_of_an_account_that_the_node_signs_for_are_refused(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    server.keeps_the_key = True
    async with (
        server.serve(), endpoint.serve(), mine(make_settings(server, endpoint, tmp_path))
    ):  # fmt: skip
        server.submit("text")
        await until(lambda: server.failures)
    assert "an account of its own" in server.failures[0]["detail"]


async def test_a_price_below_ours_is_left_to_others(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        job_id = server.submit()
        prices = {"llm_inference": 1_001}
        async with mine(make_settings(server, endpoint, tmp_path, prices=prices)):
            await until(lambda: server.asked.count("get_available") >= 2)
        assert server.get_status(job_id) is JobStatus.QUEUED
    assert "claim" not in server.asked


async def test_an_engine_that_fails_gives_the_lease_back_and_goes_on(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    endpoint.fails = 1
    async with server.serve(), endpoint.serve():
        first, second = server.submit("first"), server.submit("second")
        async with mine(make_settings(server, endpoint, tmp_path)):
            await server.wait_for(second, SETTLED)
        assert server.get_status(first) is JobStatus.QUEUED
    assert [failure["reason_code"] for failure in server.failures] == [Reason.ENGINE_FAILED]


async def test_a_cancelled_job_settles_the_units_already_done(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    async with server.serve(), endpoint.serve():
        job_id = server.submit(max_tokens=1_000)
        async with mine(make_settings(server, endpoint, tmp_path)):
            await until(lambda: any(beat["progress"] for beat in server.heartbeats))
            server.cancel(job_id)
            started = asyncio.get_running_loop().time()
            await until(lambda: not endpoint.running)
            assert asyncio.get_running_loop().time() - started < 2
            await server.wait_for(job_id, SETTLED)
    report = server.completed[get_id(job_id)]
    assert report["result"]["finish_reason"] == "cancelled"
    assert 5 < report["units"] < 500
    assert server.receiver.texts[job_id] == report["result"]["text"]


async def test_work_that_does_not_fit_the_lease_is_given_back(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    server.lease_seconds = 6
    async with server.serve(), endpoint.serve():
        job_id = server.submit(max_tokens=1_000)
        async with mine(make_settings(server, endpoint, tmp_path)):
            await server.wait_for(job_id, JobStatus.LEASED)
            await server.wait_for(job_id, JobStatus.QUEUED)
    assert [failure["reason_code"] for failure in server.failures] == [Reason.TIME_LIMIT_REACHED]


async def test_a_shutdown_gives_the_lease_back_in_time(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    async with server.serve(), endpoint.serve():
        job_id = server.submit(max_tokens=1_000)
        started = 0.0
        async with mine(make_settings(server, endpoint, tmp_path)):
            await server.wait_for(job_id, JobStatus.LEASED)
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 4.5
        assert server.get_status(job_id) is JobStatus.QUEUED
    assert [failure["reason_code"] for failure in server.failures] == [Reason.MINER_DRAINED]


async def test_a_shutdown_lets_a_short_job_end(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    async with server.serve(), endpoint.serve():
        job_id = server.submit(max_tokens=8)
        async with mine(make_settings(server, endpoint, tmp_path, drain_seconds=8.0)):
            await server.wait_for(job_id, JobStatus.LEASED)
        assert server.get_status(job_id) is SETTLED


async def test_finished_work_survives_the_coordinators_restart(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    async with endpoint.serve():
        async with server.serve():
            job_id = server.submit(max_tokens=12)
            settings = make_settings(server, endpoint, tmp_path)
            running = asyncio.create_task(run_miner(settings, asyncio.Event()))
            await server.wait_for(job_id, JobStatus.LEASED)
        await until(lambda: list((tmp_path / "data" / "spool").glob("*.work")))
        await asyncio.sleep(1.5)  # the job ends while nobody answers
        assert server.get_status(job_id) is JobStatus.LEASED
        async with server.serve(server.port):
            await server.wait_for(job_id, SETTLED)
            await kill(running)


@pytest.mark.parametrize("moment", ["leased", "finished"])
async def test_finished_and_leased_work_survives_the_miners_end(
    moment: str, tmp_path: Path
) -> None:
    server, endpoint = ContractServer(), TextEndpoint(delay=0.05)
    async with server.serve(), endpoint.serve():
        server.faults["complete"] = ["drop"] * 100
        job_id = server.submit(max_tokens=10 if moment == "finished" else 40)
        settings = make_settings(server, endpoint, tmp_path)
        running = asyncio.create_task(run_miner(settings, asyncio.Event()))
        route = "complete" if moment == "finished" else "heartbeat"
        await until(lambda: route in server.asked)
        await kill(running)
        assert server.get_status(job_id) is JobStatus.LEASED
        (record,) = (tmp_path / "data" / "spool").glob("*.work")
        assert b"word" not in record.read_bytes()
        server.faults.clear()
        before = endpoint.asked
        async with mine(settings):
            await server.wait_for(job_id, SETTLED)
        assert endpoint.asked == before + (moment == "leased")
    miner = get_miner(server.state, "miner_a")
    assert miner is not None
    assert (miner.claims, miner.settled) == (1, 1)


async def test_lost_answers_cost_nothing(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    server.faults = {
        "register": ["cut", 503],
        "claim": ["cut", "drop", 503],
        "complete": ["cut", 500, "cut"],
        "get_transaction": ["cut", 503],
        "heartbeat": ["cut", 500],
    }
    async with server.serve(), endpoint.serve():
        job_id = server.submit()
        async with mine(make_settings(server, endpoint, tmp_path)):
            await server.wait_for(job_id, SETTLED, seconds=40)
    miner = get_miner(server.state, "miner_a")
    assert miner is not None
    assert (miner.claims, miner.settled, miner.lapsed) == (1, 1, 0)


async def test_a_settlement_whose_nonce_is_gone_is_signed_again(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    server.faults["complete"] = ["forget"]
    async with server.serve(), endpoint.serve():
        job_id = server.submit()
        async with mine(make_settings(server, endpoint, tmp_path, resend_seconds=0.5)):
            await until(lambda: "complete" in server.asked)
            assert server.send(MINER, Transfer(CLIENT.address, 1)).code == 0
            await server.wait_for(job_id, SETTLED)
    assert server.asked.count("complete") == 2


async def test_the_next_address_is_used_when_one_is_gone(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        job_id = server.submit()
        urls = ["http://127.0.0.1:9", server.url]
        async with mine(make_settings(server, endpoint, tmp_path, api_urls=urls)):
            await server.wait_for(job_id, SETTLED)


async def test_a_changed_announcement_is_told_to_the_chain(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        for price in (1_000, 900):
            prices = {"llm_inference": price}
            async with mine(make_settings(server, endpoint, tmp_path, prices=prices)):
                await server.wait_for(server.submit(f"at {price}"), SETTLED)
    miner = get_miner(server.state, "miner_a")
    assert miner is not None
    assert json.loads(miner.metadata)["prices"] == {"llm_inference": 900}
    assert miner.bond == 10 * 10**9


async def test_a_job_whose_input_is_none_is_the_clients_fault(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        job_id = server.submit(max_tokens=0)
        async with mine(make_settings(server, endpoint, tmp_path)):
            await until(lambda: server.failures)
        assert server.get_status(job_id) is JobStatus.QUEUED
    assert [failure["reason_code"] for failure in server.failures] == [Reason.INPUT_INVALID]
