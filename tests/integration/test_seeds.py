"""The documents that this API is built from, whole: every path, body, member and error code.

Each test runs at both bases, `/` and `/api`, on a true node. The documents' own examples are the
requests, and an answer has each member of its example, with the example's type.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from aitbc import AITBCClient
from coordinator.services.registry import SERVICES
from tests.support.live import open_live
from tests.support.node import CLIENT, get_text_address
from tests.support.seed_node import MINER_ID, SeedNode, open_seed_node
from tests.support.shapes import find_missing, load_answer, load_request, load_requests

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOBS = load_requests()
A_RESULT = {"prediction": "cat", "confidence": 0.95, "processing_time": 1.23}
ABSENT = "job_" + "0" * 64
STATUSES = ("pending", "running", "completed", "failed", "cancelled")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["", "/api"])
async def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SeedNode]:
    async with open_seed_node(tmp_path_factory.mktemp("seeds"), request.param) as opened:
        yield opened


async def lease(api: SeedNode, body: Any, progress: int) -> Any:
    """Return a new job that the miner works on."""
    path = f"/v1/jobs/{(await api.post_job(body))['job_id']}"
    await api.expect("miner", "POST", f"{path}/claim", body={"miner_id": MINER_ID})
    beat = {"miner_id": MINER_ID, "progress": progress, "phase": "running"}
    await api.expect("miner", "POST", f"{path}/heartbeat", body=beat)
    return await api.expect("client", "GET", path)


async def list_jobs(api: SeedNode, query: str) -> Any:
    return await api.expect("client", "GET", f"/v1/jobs?{query}")


# The endpoints of the first document.


async def test_a_job_of_the_first_document(api: SeedNode) -> None:
    made = await api.expect("client", "POST", "/v1/jobs", "a_job_created", JOBS["a"], 201)
    assert made["status"] == "submitted"
    path = f"/v1/jobs/{made['job_id']}"
    await api.until_job(made["job_id"], phase="queued")
    await api.expect("miner", "POST", f"{path}/claim", body={"miner_id": MINER_ID})
    beat = {"miner_id": MINER_ID, "progress": 75}
    await api.expect("miner", "POST", f"{path}/heartbeat", body=beat)
    running = await api.expect("client", "GET", path, "a_job")
    assert (running["status"], running["progress"]) == ("running", 75)
    for query in ("type=ai-inference&status=running", "limit=50&offset=0"):
        page = await api.expect("client", "GET", f"/v1/jobs?{query}", "a_jobs")
        assert made["job_id"] in {job["job_id"] for job in page["jobs"]}
        assert (page["limit"], page["offset"]) == (50, 0)
    await api.refuse("client", "GET", f"{path}/results", 409, "JOB_NOT_COMPLETED")
    done = {"miner_id": MINER_ID, "result": A_RESULT}
    await api.expect("miner", "POST", f"{path}/complete", body=done)
    await api.until_job(made["job_id"], status="completed")
    results = await api.expect("client", "GET", f"{path}/results", "a_results")
    assert results["results"] == A_RESULT
    receipt = await api.expect("client", "GET", f"/v1/receipts/{made['job_id']}", "a_receipt")
    signature = {name: receipt["signature"][name] for name in ("sig", "public_key")}
    short = {"receipt": {"receipt_id": receipt["receipt_id"], "signature": signature}}
    verified = await api.expect("nobody", "POST", "/v1/receipts/verify", "a_verified", short)
    assert (verified["valid"], verified["miner_signature_valid"]) == (True, True)
    assert verified["coordinator_attestations"] == len(receipt["attestations"]) > 0
    stats = await api.expect("client", "GET", f"/v1/miners/{MINER_ID}/stats", "a_miner_stats")
    assert stats["total_jobs"] >= 1


async def test_cancelling_in_both_ways(api: SeedNode) -> None:
    for method, suffix in (("DELETE", ""), ("POST", "/cancel")):
        job = await api.post_job(JOBS["a"])
        path = f"/v1/jobs/{job['job_id']}{suffix}"
        cancelled = await api.expect("client", method, path, "a_cancelled")
        assert cancelled["status"] == "cancelled"
        assert (await api.expect("client", method, path))["refund_tx"] == cancelled["refund_tx"]


async def test_the_marketplace(api: SeedNode) -> None:
    offers = "/v1/marketplace/offers"
    made = await api.expect(
        "miner", "POST", offers, "a_offer_created", load_request("a_offer"), 201
    )
    assert (made["status"], made["miner_id"]) == ("active", MINER_ID)
    query = "job_type=image-classification&max_price=0.001&limit=50"
    listed = await api.expect("nobody", "GET", f"{offers}?{query}", "a_offers")
    assert made["offer_id"] in {offer["offer_id"] for offer in listed["offers"]}
    none = await api.expect("nobody", "GET", f"{offers}?job_type=image-classification&max_price=0")
    assert none["offers"] == []

    job = await api.post_job({**JOBS["a"], "pricing": {"max_cost": "4.00"}})
    wanted = {**load_request("a_accept"), "job_id": job["job_id"]}
    path = f"{offers}/{made['offer_id']}/accept"
    accepted = await api.expect("client", "POST", path, "a_accepted", wanted)
    assert accepted["transaction_id"].startswith("tx_")
    await api.node.wait_final(accepted["transaction_id"])
    settled = await api.settle(job["job_id"], result=A_RESULT)
    paid, price = int(settled["settlement"]["paid_base"]), int(made["price_base"])
    assert paid > 0 and paid % price == 0, "the offer's price, per unit, exactly"
    stats = await api.expect("nobody", "GET", "/v1/marketplace/stats", "a_market_stats")
    assert stats["completed_jobs"] >= 1 and stats["active_miners"] >= 2

    late = await api.post_job({**JOBS["a"], "pricing": {"max_cost": "4.00"}})
    await api.expect("miner", "DELETE", f"{offers}/{made['offer_id']}")
    wanted = {**wanted, "job_id": late["job_id"]}
    await api.refuse("client", "POST", path, 410, "OFFER_NOT_AVAILABLE", wanted)


async def test_health(api: SeedNode) -> None:
    await api.expect("nobody", "GET", "/health", "b_health")
    health = await api.expect("nobody", "GET", "/v1/health", "a_health")
    assert health["status"] == "ok"
    assert set(health["services"].values()) == {"healthy"}


async def test_live_updates(api: SeedNode) -> None:
    url = f"{api.node.url}{api.base}/ws"
    async with open_live(api.node.session, url, api.keys["client"]) as watcher:
        await watcher.read_greeting()
        job = await api.post_job(JOBS["b"])
        offer = await api.expect(
            "miner", "POST", "/v1/marketplace/offers", body=load_request("a_offer"), status=201
        )
        await api.settle(job["job_id"], result="Ho", units=2)
        heard: dict[str, Any] = {}
        while set(heard) != {"job_update", "marketplace_update", "receipt_created"}:
            message = await watcher.read("job_update", "marketplace_update", "receipt_created")
            heard[message["type"]] = message["data"]
            example = load_answer("a_message")
            if message["type"] == "job_update":
                assert find_missing(message, example, is_loose=False) == []
        assert heard["job_update"]["job_id"] == heard["receipt_created"]["job_id"] == job["job_id"]
        assert heard["marketplace_update"]["offer_id"] == offer["offer_id"]


async def test_each_error_code_of_the_first_document(api: SeedNode) -> None:
    """No request brings `INTERNAL_ERROR` about: `tests/coordinator/http/test_app.py` has it."""
    odd = {**JOBS["a"], "type": "mind-reading"}
    await api.refuse("client", "POST", "/v1/jobs", 400, "INVALID_JOB_TYPE", odd)
    dear = {**JOBS["a"], "pricing": {"max_cost": "5000000"}}
    before = (await list_jobs(api, "limit=1"))["total"]
    await api.refuse("client", "POST", "/v1/jobs", 402, "INSUFFICIENT_BALANCE", dear)
    assert (await list_jobs(api, "limit=1"))["total"] == before
    for path in ("", "/results", "/receipt", "/download"):
        await api.refuse("client", "GET", f"/v1/jobs/{ABSENT}{path}", 404, "JOB_NOT_FOUND")
    job = await api.post_job(JOBS["b"])
    await api.settle(job["job_id"], result="Ho", units=2)
    path = f"/v1/jobs/{job['job_id']}"
    await api.refuse("client", "DELETE", path, 409, "JOB_ALREADY_COMPLETED")
    await api.refuse("client", "POST", f"{path}/cancel", 409, "JOB_ALREADY_COMPLETED")


# The OpenAPI document.


async def test_a_job_of_the_openapi_document(api: SeedNode) -> None:
    made = await api.expect("client", "POST", "/v1/jobs", "b_job", JOBS["b"], 201, is_loose=True)
    assert (made["status"], made["model"], made["result"]) == ("pending", "llama3.2", None)
    assert made["prompt"] == JOBS["b"]["prompt"]
    path = f"/v1/jobs/{made['job_id']}"
    await api.until_job(made["job_id"], phase="queued")
    offered = await api.expect("miner", "GET", f"/v1/jobs/available?miner_id={MINER_ID}")
    assert find_missing(offered, load_answer("b_job")) == []
    await api.expect("miner", "POST", f"{path}/claim", body=load_request("b_claim"))
    rival = {"miner_id": "rival"}
    await api.refuse("rival", "POST", f"{path}/claim", 409, "JOB_ALREADY_CLAIMED", rival)
    completed_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    result = {**load_request("b_result"), "completed_at": completed_at}
    done = await api.expect("miner", "POST", f"{path}/complete", "b_receipt", result)
    job = await api.until_job(made["job_id"], status="completed")
    assert find_missing(job, load_answer("b_job"), is_loose=False) == []
    assert job["result"] == result["result"]

    parties = f"client={get_text_address(CLIENT)}&provider={done['provider']}&limit=20"
    listed = await api.expect("client", "GET", f"/v1/receipts?{parties}&format=array")
    assert find_missing(listed, [load_answer("b_receipt")], is_loose=False) == []
    assert done["receipt_id"] in {receipt["receipt_id"] for receipt in listed}
    shown = await api.expect("client", "GET", f"/v1/receipts/{done['receipt_id']}", "b_receipt")
    assert (shown["units"], shown["price"]) == (done["units"], done["price"])
    await api.refuse("client", "GET", "/v1/receipts/receipt_" + "0" * 64, 404)


async def test_nothing_to_do_is_null(api: SeedNode) -> None:
    """A miner that takes none of these jobs: its capabilities are no job's."""
    body = {
        **load_request("b_registration"),
        "miner_id": "idle",
        "capabilities": ["onnx_inference"],
    }
    reply = await api.ask("rival", "POST", "/v1/miners/register", body)
    assert reply.status in (200, 201)
    async with asyncio.timeout(20):
        while True:
            reply = await api.ask("rival", "GET", "/v1/jobs/available?miner_id=idle")
            if reply.status == 200:
                break
            await asyncio.sleep(0.05)
    assert reply.body is None
    again = await api.ask("rival", "POST", "/v1/miners/register", body)
    assert again.status == 200


async def test_lists_in_the_openapi_documents_form(api: SeedNode) -> None:
    await api.post_job(JOBS["b"])
    jobs = await list_jobs(api, "type=llm_inference&format=array&limit=100&offset=0")
    assert isinstance(jobs, list)
    assert find_missing(jobs, [load_answer("b_job")]) == []
    for status in STATUSES:
        listed = await list_jobs(api, f"status={status}&format=array")
        assert {job["status"] for job in listed} <= {status}
    for wrong in ("limit=101", "limit=-1", "offset=x", "status=gone"):
        await api.refuse("client", "GET", f"/v1/jobs?{wrong}", 422)


async def test_a_miner_registers(api: SeedNode) -> None:
    body = load_request("b_registration")
    again = await api.expect("miner", "POST", "/v1/miners/register", body=body)
    assert (again["miner_id"], again["status"]) == (MINER_ID, "active")
    await api.refuse("miner", "POST", "/v1/miners/register", 400, data=b"{")
    await api.refuse("miner", "POST", "/v1/miners/register", 422, body={"miner_id": MINER_ID})
    await api.refuse("rival", "POST", "/v1/miners/register", 409, "MINER_ID_TAKEN", body)


async def test_the_explorer(api: SeedNode) -> None:
    job = await api.post_job(JOBS["b"])
    await api.settle(job["job_id"], result="Ho", units=2)
    blocks = await api.expect("nobody", "GET", "/explorer/blocks?limit=10", "b_blocks")
    assert 2 <= len(blocks) <= 10
    assert len(await api.expect("nobody", "GET", "/explorer/blocks?limit=1", "b_blocks")) == 1
    for path in ("/explorer/transactions", "/explorer/receipts"):
        listed = await api.expect("nobody", "GET", path)
        assert isinstance(listed, list) and listed
    stats = await api.expect("nobody", "GET", "/explorer/stats", "b_stats")
    assert stats["active_miners"] >= 2
    assert stats["total_receipts"] >= 1 and stats["block_height"] >= blocks[0]["height"]


async def test_the_pages_and_the_document(api: SeedNode) -> None:
    for path in ("/docs", "/redoc"):
        page = await api.ask("nobody", "GET", path)
        assert (page.status, page.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    document = await api.expect("nobody", "GET", "/openapi.json")
    assert document["openapi"].startswith("3.1")


# The three copies of the client reference.


async def test_a_job_of_the_client_reference(api: SeedNode) -> None:
    made = await api.expect("client", "POST", "/v1/jobs", "c_job_created", JOBS["c"], 201)
    await api.until_job(made["job_id"], phase="queued")
    running = await lease(api, JOBS["c"], 45)
    assert find_missing(running, load_answer("c_job")) == []
    assert (running["status"], running["progress"], running["result"]) == ("running", 45, None)
    assert running["completed_at"] is None and running["started_at"].endswith("Z")
    page = await api.expect("client", "GET", "/v1/jobs?status=running&limit=10", "c_jobs")
    assert running["job_id"] in {job["job_id"] for job in page["jobs"]}
    assert {job["model"] for job in page["jobs"] if job["job_id"] == running["job_id"]} == {"gpt2"}
    path = f"/v1/jobs/{running['job_id']}"
    done = {"miner_id": MINER_ID, "result": "a text", "units": 3}
    await api.expect("miner", "POST", f"{path}/complete", body=done)
    await api.until_job(running["job_id"], status="completed")
    file = await api.ask("client", "GET", f"{path}/download")
    assert (file.status, file.body) == (200, b"a text")
    assert "attachment" in file.headers["Content-Disposition"]
    await api.expect("client", "DELETE", f"/v1/jobs/{made['job_id']}")


async def test_a_file_as_input(api: SeedNode) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"Explain quantum computing", filename="question.txt")
    url, key = f"{api.node.url}{api.base}/v1/files", api.keys["client"]
    async with api.node.session.post(url, data=form, headers=key) as reply:
        assert reply.status == 201, await reply.text()
        file_id = (await reply.json())["file_id"]
    made = await api.expect(
        "client", "POST", "/v1/jobs", "c_job_created", {**JOBS["c"], "input": file_id}, 201
    )
    assert made["prompt"] == "Explain quantum computing"
    none = {**JOBS["c"], "input": "file_" + "0" * 32}
    await api.refuse("client", "POST", "/v1/jobs", 422, body=none)


async def test_the_history(api: SeedNode) -> None:
    job = await api.post_job(JOBS["c"])
    old = "/v1/jobs/history?from=2026-01-01&to=2026-01-31"
    assert (await api.expect("client", "GET", old, "c_jobs"))["jobs"] == []
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=1), today + timedelta(days=1)
    history = await api.expect(
        "client", "GET", f"/v1/jobs/history?from={first}&to={last}", "c_jobs"
    )
    assert job["job_id"] in {each["job_id"] for each in history["jobs"]}
    await api.refuse("client", "GET", "/v1/jobs/history?from=yesterday", 422)


async def test_each_error_code_of_the_client_reference(api: SeedNode) -> None:
    await api.refuse("client", "POST", "/v1/jobs", 400, data=b'{"prompt": ')
    for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", f"/v1/jobs/{ABSENT}")):
        await api.refuse("nobody", method, path, 401, body=JOBS["c"] if method == "POST" else None)
    await api.refuse("client", "GET", f"/v1/jobs/{ABSENT}", 404)
    wrong = await api.refuse("client", "POST", "/v1/jobs", 422, body={**JOBS["c"], "model": 7})
    assert wrong.body["errors"][0]["pointer"] == "/model"


async def test_rate_limits(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("limits")
    async with open_seed_node(place, "/api", "60/minute, 1000/hour") as api:
        for _ in range(60):
            reply = await api.ask("client", "POST", "/v1/jobs", data=b"{")
            assert reply.status == 400, reply
        reply = await api.refuse(
            "client", "POST", "/v1/jobs", 429, "RATE_LIMIT_EXCEEDED", JOBS["b"]
        )
        assert 0 < int(reply.headers["Retry-After"]) <= 60
        policy = reply.headers["RateLimit-Policy"]
        assert "q=60;w=60" in policy and "q=1000;w=3600" in policy
        # Another key's requests are its own.
        await api.expect("miner", "POST", "/v1/miners/heartbeat", body={"miner_id": MINER_ID})


# Services, the registry, and the Python example.


async def test_each_service_makes_a_job(api: SeedNode) -> None:
    for path, body in load_request("a_services").items():
        for more in ({}, {"max_cost": "0.5"}):
            job = await api.expect(
                "client", "POST", f"/v1/services/{path}", "a_job", {**body, **more}, 201, True
            )
            assert job["status"] == "pending" and job["service"] in SERVICES
            assert not more or job["escrow_base"] == "500000000"
        broken = {name: value for name, value in body.items() if name == "model"}
        await api.refuse("client", "POST", f"/v1/services/{path}", 422, body=broken)


async def test_the_registry(api: SeedNode) -> None:
    services = "/v1/registry/services"
    listed = await api.expect("nobody", "GET", services)
    ids = {service["service_id"] for service in listed["services"]}
    assert ids >= {
        "llm_inference", "whisper_transcription", "stable_diffusion", "video_transcoding",
        "blender_rendering",
    }  # fmt: skip
    for name in ids:
        shown = await api.expect("nobody", "GET", f"{services}/{name}")
        assert shown in listed["services"]
        found = await api.expect("nobody", "GET", f"{services}?category={shown['category']}")
        assert name in {service["service_id"] for service in found["services"]}
        schema = await api.expect("nobody", "GET", f"{services}/{name}/schema")
        assert schema["type"] == "object" and schema["properties"]
        assert await api.expect("nobody", "GET", f"{services}/{name}/requirements")
    found = await api.expect("nobody", "GET", f"{services}?search=transcri")
    assert "whisper_transcription" in {service["service_id"] for service in found["services"]}
    validate = f"{services}/validate"
    good = load_request("a_validate")
    verdict = await api.expect("nobody", "POST", validate, "a_validated", good)
    assert (verdict["valid"], verdict["errors"]) == (True, [])
    bad = {**good, "request_data": {"model": "llama-7b", "prompt": "Hi", "max_tokens": "many"}}
    verdict = await api.expect("nobody", "POST", validate, body=bad)
    assert (verdict["valid"], verdict["errors"][0]["pointer"]) == (False, "/max_tokens")
    for path in ("", "/schema", "/requirements"):
        await api.refuse("nobody", "GET", f"{services}/levitation{path}", 404)


async def test_the_python_example(api: SeedNode) -> None:
    """The JavaScript one is in `tests/sdk_js`."""

    key, url = api.keys["client"]["X-Api-Key"], api.node.url + api.base

    def create() -> str:
        with AITBCClient(api_key=key, base_url=url) as client:
            job = client.jobs.create({**JOBS["a"], "name": "my-job"})
            made: str = job["job_id"]
            return made

    def read(job_id: str) -> dict[str, Any]:
        with AITBCClient(api_key=key, base_url=url) as client:
            return dict(client.jobs.get_results(job_id))

    job_id = await asyncio.to_thread(create)
    await api.until_job(job_id, phase="queued")
    await api.settle(job_id, result=A_RESULT)
    assert (await asyncio.to_thread(read, job_id))["results"] == A_RESULT
