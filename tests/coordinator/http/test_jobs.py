import hashlib
import json

from coordinator import wire
from coordinator.job_terms import make_idempotency_tag
from ledger import terms
from ledger.crypto import compute_address
from ledger.entries import JobStatus
from ledger.state import get_job
from tests.support.shapes import find_missing, load_answer, load_requests
from tests.support.world import FUNDED, World, make_key

SMALL = {"prompt": "Say hello.", "params": {"max_tokens": 16}, "max_cost": "0.5"}
HELLO = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}


async def test_a_job_from_submission_to_settlement(world: World) -> None:
    await world.register(prices={"llm_inference": 1_000})
    before = world.get_balance("client")
    job = await world.submit(params={"max_tokens": 100}, max_cost=None)
    path = f"/v1/jobs/{job['job_id']}"
    assert not find_missing(job, load_answer("c_job"))
    assert (job["status"], job["settlement"]["state"]) == ("pending", "locked")
    early = await world.call("GET", path + "/results", "client")
    assert (early.status, early.json["error_code"]) == (409, "JOB_NOT_COMPLETED")
    claimed = await world.claim(job["job_id"])
    assert claimed.status == 200, claimed
    running = await world.call("GET", path, "client")
    assert (running.json["status"], running.json["phase"]) == ("running", "claimed")
    assert not find_missing(running.json, load_answer("a_job"), is_loose=False)
    fees = before - world.get_balance("client") - int(job["escrow_base"])
    done = await world.call("POST", path + "/complete", "miner", HELLO)
    assert done.status == 200, done
    again = await world.call("POST", path + "/complete", "miner", HELLO)
    assert again.status == 200
    assert again.json["signature"] == done.json["signature"]
    final = await world.until(path, "client", lambda j: j["status"] == "completed")
    assert (final["result"], final["progress"], final["phase"]) == ("Hello.", 100, "done")
    assert not find_missing(final, load_answer("b_job"), is_loose=False)
    settlement = final["settlement"]
    assert settlement["paid_base"] == "12000"
    assert settlement["state"] == "settled"
    assert settlement["confirmations"] >= 1
    assert world.get_balance("client") == before - fees - 12_000
    await check_downloads(world, path, final)


async def check_downloads(world: World, path: str, job: dict[str, object]) -> None:
    results = await world.call("GET", path + "/results", "client")
    assert not find_missing(results.json, load_answer("a_results") | {"results": {}})
    assert (await world.call("GET", path + "/result", "client")).json == results.json
    whole = await world.call("GET", path + "/download", "client")
    assert (whole.status, whole.body) == (200, b"Hello.")
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{job["job_id"]}.txt"'
    tag = whole.headers["ETag"]
    receipt = await world.call("GET", path + "/receipt", "client")
    assert tag == f'"{receipt.json["result_hash"]}"'
    part = await world.call("GET", path + "/download", "client", headers={"Range": "bytes=1-3"})
    assert (part.status, part.body) == (206, b"ell")
    assert part.headers["Content-Range"] == "bytes 1-3/6"
    late = await world.call("GET", path + "/download", "client", headers={"Range": "bytes=9-"})
    assert late.status == 416
    same = await world.call("GET", path + "/download", "client", headers={"If-None-Match": tag})
    assert (same.status, same.body) == (304, b"")
    for suffix in ("", "/results", "/download", "/receipt", "/cancel"):
        method = "POST" if suffix == "/cancel" else "GET"
        stranger = await world.call(method, path + suffix, "other")
        assert (stranger.status, stranger.json["error_code"]) == (404, "JOB_NOT_FOUND")
    over = await world.call("DELETE", path, "client")
    assert (over.status, over.json["error_code"]) == (409, "JOB_ALREADY_COMPLETED")


async def test_each_documented_body_is_a_job(world: World) -> None:
    answers = {}
    for shape, body in load_requests().items():
        reply = await world.call("POST", "/v1/jobs", "client", body)
        assert reply.status == 201, reply
        assert reply.headers["Location"] == f"/v1/jobs/{reply.json['job_id']}"
        assert reply.json["phase"] == "escrowing"
        answers[shape] = reply.json
    assert not find_missing(answers["a"], load_answer("a_job_created"), is_loose=False)
    assert not find_missing(answers["c"], load_answer("c_job_created"), is_loose=False)
    assert [answers[shape]["status"] for shape in "abc"] == ["submitted", "pending", "pending"]
    assert answers["a"]["service"] == "custom_code"
    assert answers["a"]["settlement"]["escrow"] == "0.1"
    assert (answers["b"]["model"], answers["b"]["prompt"]) == (
        "llama3.2", "Explain quantum computing",
    )  # fmt: skip
    default = (await world.call("POST", "/v1/jobs", "client", SMALL)).json
    assert default["model"].startswith("smollm2-135m@")
    entry = get_job(world.chain.get_view(), bytes.fromhex(answers["b"]["job_id"][4:]))
    assert entry is None or entry.status is JobStatus.QUEUED


async def test_what_is_locked_is_what_was_agreed(world: World) -> None:
    job = await world.submit(max_cost="0.123456789")
    entry = get_job(world.chain.get_view(), bytes.fromhex(job["job_id"][4:]))
    assert entry is not None
    assert entry.escrow == 123_456_789 == int(job["settlement"]["escrow_base"])
    assert entry.client == world.people["client"].address
    assert entry.coordinator == world.coordinator.address
    assert int(job["max_price_base"]) * job["max_units"] <= entry.escrow


async def test_without_money_nothing_is_queued(world: World) -> None:
    everything = wire.format_ait(FUNDED)
    reply = await world.call("POST", "/v1/jobs", "client", {**SMALL, "max_cost": everything})
    assert (reply.status, reply.json["error_code"]) == (402, "INSUFFICIENT_BALANCE")
    world.chain.is_automatic = False
    most = wire.format_ait(FUNDED * 6 // 10)
    first = await world.call("POST", "/v1/jobs", "client", {**SMALL, "max_cost": most})
    assert first.status == 201
    second = await world.call("POST", "/v1/jobs", "client", {**SMALL, "max_cost": most})
    assert second.status == 402, "the first escrow is on its way and must count"
    world.chain.produce()
    jobs = (await world.call("GET", "/v1/jobs", "client")).json
    assert jobs["total"] == 1


async def test_an_idempotency_key_makes_one_job(world: World) -> None:
    key = {"Idempotency-Key": make_key()}
    first = await world.call("POST", "/v1/jobs", "client", SMALL, headers=key)
    again = await world.call("POST", "/api/v1/jobs", "client", SMALL, headers=key)
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await world.call("POST", "/v1/jobs", "client", {**SMALL, "name": "x"}, headers=key)
    assert (other.status, other.json["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    stranger = await world.call("POST", "/v1/jobs", "other", SMALL, headers=key)
    assert stranger.json["job_id"] != first.json["job_id"]
    tag = make_idempotency_tag(world.people["client"].address, key["Idempotency-Key"])
    job = terms.compute_job_id(world.people["client"].address, tag)
    assert first.json["job_id"] == wire.format_job_id(job)


async def test_cancelling_gives_the_money_back(world: World) -> None:
    before = world.get_balance("client")
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    reply = await world.call("DELETE", path, "client")
    assert (reply.status, reply.json["status"]) == (200, "cancelled")
    assert not find_missing(reply.json, load_answer("a_cancelled"), is_loose=False)
    assert (reply.json["fault"], reply.json["reason_code"]) == ("client", 11_001)
    assert reply.json["refund_tx"].startswith("tx_")
    assert reply.json["settlement"]["refunded_base"] == "500000000"
    again = await world.call("POST", path + "/cancel", "client")
    assert (again.status, again.json["refund_tx"]) == (200, reply.json["refund_tx"])
    assert 0 < before - world.get_balance("client") < 100_000, "only the two fees are gone"
    claim = await world.call("GET", path, "client")
    assert claim.json["phase"] == "done"


async def test_a_job_that_nobody_takes_fails_and_is_refunded(world: World) -> None:
    job = await world.submit(timeout_seconds=60)
    world.pass_time(61)
    path = f"/v1/jobs/{job['job_id']}"
    final = await world.until(path, "client", lambda j: j["status"] == "failed")
    assert (final["fault"], final["reason_code"]) == ("network", 31_001)
    assert final["settlement"]["refunded_base"] == final["settlement"]["escrow_base"]


async def test_lists(world: World) -> None:
    jobs = [await world.submit(name=f"job {number}") for number in range(3)]
    await world.call("DELETE", f"/v1/jobs/{jobs[0]['job_id']}", "client")

    async def ids(query: str) -> list[str]:
        reply = await world.call("GET", f"/v1/jobs{query}", "client")
        assert reply.status == 200, reply
        return [job["name"][-1] for job in reply.json["jobs"]]

    everything = (await world.call("GET", "/v1/jobs", "client")).json
    assert not find_missing(everything, load_answer("a_jobs"))
    assert not find_missing(everything, load_answer("c_jobs"))
    assert (everything["total"], everything["has_more"]) == (3, False)
    assert await ids("") == ["2", "1", "0"]
    assert await ids("?status=pending") == await ids("?status=queued") == ["2", "1"]
    assert await ids("?status=canceled&type=llm_inference") == ["0"]
    assert await ids("?limit=1&offset=1") == ["1"]
    page = (await world.call("GET", "/v1/jobs?limit=2", "client")).json
    assert page["has_more"]
    assert await ids(f"?limit=2&cursor={page['next_cursor']}") == ["0"]
    array = (await world.call("GET", "/v1/jobs?format=array", "client")).json
    assert isinstance(array, list)
    assert len(array) == 3
    today = everything["jobs"][0]["created_at"][:10]
    history = f"/history?from={today}&to={today}"
    assert await ids(history) == ["2", "1", "0"]
    assert await ids("/history?to=2020-01-01") == []
    wrong = await world.call("GET", "/v1/jobs/history?from=yesterday", "client")
    assert wrong.status == 422
    assert (await world.call("GET", "/v1/jobs", "other")).json["total"] == 0


async def test_a_page_carries_no_more_content_than_fits(world: World) -> None:
    prompt = "x" * 1_000_000
    for number in range(6):
        await world.submit(name=f"job {number}", prompt=prompt, max_cost="1")
    page = (await world.call("GET", "/v1/jobs", "client")).json
    assert [job["name"] for job in page["jobs"]] == [f"job {n}" for n in reversed(range(6))]
    assert [job["content_omitted"] for job in page["jobs"]] == [False] * 4 + [True] * 2
    assert [job["prompt"] == prompt for job in page["jobs"]] == [True] * 4 + [False] * 2
    oldest = (await world.call("GET", f"/v1/jobs/{page['jobs'][-1]['job_id']}", "client")).json
    assert (oldest["prompt"], oldest["content_omitted"]) == (prompt, False)


async def test_the_content_stays_out_of_the_chain(world: World) -> None:
    job = await world.submit(prompt="a very private question")
    raw = b"".join(repr(block).encode() for block in world.chain.blocks)
    assert b"private" not in raw
    digest = hashlib.sha256(json.dumps(job["prompt"]).encode()).hexdigest()
    assert digest.encode() not in raw
    assert compute_address(bytes(32)) != world.people["client"].address


async def test_a_transaction_of_ones_own_is_refused_where_the_node_signs(world: World) -> None:
    reply = await world.call("POST", "/v1/jobs", "client", SMALL | {"transaction": "00"})
    assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/transaction")
    assert "the node signs" in reply.json["detail"]
