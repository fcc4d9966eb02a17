"""The tree of calls, as both clients have it, and how answers read."""

import pytest

from aitbc import errors
from aitbc.client import AITBCClient, AsyncAITBCClient
from aitbc.exchange import RetryPolicy
from tests.support.scripted_server import Prepared, serve

FAST = RetryPolicy(attempts=2, first_delay=0.001)


def test_an_answer_reads_as_attribute_and_as_item() -> None:
    raw = {
        "job_id": "job_1",
        "status": "completed",
        "settlement": {"state": "final", "tx": "tx_1"},
        "later_member": [1],
    }
    with serve(Prepared(201, raw)) as server, AITBCClient(server.url, "aitbc_k") as client:
        job = client.jobs.create({"prompt": "hello"}, max_cost="0.5")
    assert job["job_id"] == job.job_id == "job_1"
    assert job["settlement"]["tx"] == "tx_1"
    assert job["later_member"] == [1]
    assert job.get("absent", 7) == 7
    with pytest.raises(KeyError):
        job["absent"]
    assert job.to_dict() == raw
    assert server.asked[0].body == {"prompt": "hello", "max_cost": "0.5"}


def test_ids_are_quoted_into_the_path() -> None:
    with (
        serve(Prepared(404, {})) as server,
        AITBCClient(server.url) as client,
        pytest.raises(errors.NotFoundError),
    ):
        client.jobs.get("../../v1/keys?x=1")
    assert server.asked[0].path == "/v1/jobs/..%2F..%2Fv1%2Fkeys%3Fx%3D1"


def test_lists_come_with_cursor_or_bare() -> None:
    item = {"receipt_id": "receipt_1", "job_id": "job_1"}
    page = {"receipts": [item], "total": 9, "has_more": True, "next_cursor": "c"}
    with (
        serve(Prepared(200, page), Prepared(200, [item]), Prepared(200, {})) as server,
        AITBCClient(server.url) as client,
    ):
        first = client.receipts.list(limit=1)
        assert (first.items[0].job_id, first.total, first.next_cursor) == ("job_1", 9, "c")
        assert client.receipts.list().items[0]["receipt_id"] == "receipt_1"
        with pytest.raises(errors.InvalidAnswerError):
            client.receipts.list()
    assert server.asked[0].path == "/v1/receipts?limit=1"


def test_a_miner_waits_for_a_job_and_may_get_none() -> None:
    with serve(Prepared(200, None)) as server, AITBCClient(server.url) as client:
        assert client.miners.get_available_job("miner_a", wait=1) is None
    assert server.asked[0].path == "/v1/jobs/available?miner_id=miner_a&wait=1"


def test_waiting_ends_with_the_job() -> None:
    running = Prepared(200, {"job_id": "job_1", "status": "running"})
    done = Prepared(200, {"job_id": "job_1", "status": "completed"})
    with serve(running, done) as server, AITBCClient(server.url) as client:
        assert client.jobs.wait("job_1", timeout=10).is_over


async def test_waiting_tells_failure_and_lateness() -> None:
    failed = {"job_id": "job_1", "status": "failed", "reason_code": 22_002}
    running = {"job_id": "job_1", "status": "running"}
    with serve(Prepared(200, failed), Prepared(200, failed), Prepared(200, running)) as server:
        async with AsyncAITBCClient(server.url, retries=FAST) as client:
            with pytest.raises(errors.JobFailedError, match="22002"):
                await client.jobs.wait("job_1")
            assert (await client.jobs.wait("job_1", until="final")).status == "failed"
            with pytest.raises(errors.WaitTimeoutError):
                await client.jobs.wait("job_1", timeout=0)


def test_bytes_are_downloaded_as_they_are() -> None:
    with serve(Prepared(200, b"\x00\xff")) as server, AITBCClient(server.url) as client:
        assert client.jobs.download("job_1") == b"\x00\xff"


def test_a_receipts_bundle_and_opening_come_as_they_are() -> None:
    bundle = {"format": "aitbc-receipt-bundle/1", "receipt": {}, "settlement": "…"}
    answers = (Prepared(200, bundle), Prepared(200, {}))
    with serve(*answers) as server, AITBCClient(server.url) as client:
        assert client.receipts.get_bundle("receipt_1") == bundle
        client.receipts.get_opening("receipt_1")
    paths = [asked.path for asked in server.asked]
    assert paths == ["/v1/receipts/receipt_1?bundle=1", "/v1/receipts/receipt_1/opening"]


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Prepared(200, {"jobs": []})) as server:
        monkeypatch.setenv("AITBC_API_URL", server.url)
        monkeypatch.setenv("AITBC_API_KEY", "aitbc_environment")
        with AITBCClient() as client:
            client.jobs.list()
        with AITBCClient(api_key="aitbc_given") as client:
            client.jobs.list()
    keys = [asked.headers["x-api-key"] for asked in server.asked]
    assert keys == ["aitbc_environment", "aitbc_given"]
