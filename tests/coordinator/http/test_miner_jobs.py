import asyncio
import time
from typing import Any

import pytest

from ledger.entries import JobStatus
from ledger.state import get_job, get_miner
from ledger.transactions import JobFail
from tests.support.self_custody import build_claim, build_completion, open_lease, register, sign
from tests.support.shapes import find_missing, load_answer
from tests.support.world import Reply, World


async def complete(world: World, job_id: str, who: str = "miner", result: Any = "x") -> Reply:
    body = {"miner_id": f"miner_{who}", "result": result, "units": 5}
    return await world.call("POST", f"/v1/jobs/{job_id}/complete", who, body)


async def test_of_fifty_claims_one_wins(world: World) -> None:
    miners = [("miner", await world.register()), ("rival", await world.register("rival"))]
    job = await world.submit()

    async def claim(number: int) -> Reply:
        who, name = miners[number % 2]
        path = f"/v1/jobs/{job['job_id']}/claim"
        return await world.call("POST", path, who, {"miner_id": name})

    replies = await asyncio.gather(*map(claim, range(50)))
    entry = get_job(world.chain.get_view(), bytes.fromhex(job["job_id"][4:]))
    assert entry is not None
    assert entry.lease is not None
    winner = [name for _, name in miners].index(entry.lease.miner)
    refused = replies[1 - winner :: 2]
    assert {(r.status, r.json["error_code"]) for r in refused} == {(409, "JOB_ALREADY_CLAIMED")}
    # Whose own claim is on its way is told so, and gets the lease again once it is granted.
    granted = [reply for reply in replies[winner::2] if reply.status == 200]
    assert all(r.status in (200, 503) for r in replies[winner::2])
    won = granted[0].json
    assert {r.json["lease"]["number"] for r in granted} == {entry.lease.number}
    assert won["lease"]["miner_id"] == entry.lease.miner
    claims = [get_miner(world.chain.get_view(), name) for _, name in miners]
    assert sum(miner.claims for miner in claims if miner) == 1
    assert won["job"]["prompt"] == "Say hello."
    assert won["content"]["input"] == {"prompt": "Say hello."}
    assert won["terms"]["max_units"] == won["job"]["max_units"]


async def test_a_lease_says_what_the_job_asks_of_hardware(world: World) -> None:
    # As a miner announces what NVIDIA's driver says of a GPU that is sold with 80 GB.
    await world.register(gpu_info={"name": "NVIDIA H100 80GB HBM3", "memory": "81559MiB"})
    plain = (await world.claim((await world.submit())["job_id"])).json
    assert plain["requirements"] == {"gpu_type": None, "gpu_count": 0, "gpu_memory": 0}
    asked = {"gpu_type": "h100", "gpu_count": 1, "min_vram_gb": 80}
    leased = (await world.claim((await world.submit(requirements=asked))["job_id"])).json
    assert leased["requirements"] == {
        "gpu_type": "h100",
        "gpu_count": 1,
        "gpu_memory": 80 * 10**9,
    }


async def test_only_the_leaseholder_of_a_live_lease_is_paid(world: World) -> None:
    await world.register()
    await world.register("rival")
    before = world.get_balance("miner"), world.get_balance("rival")
    queued = await world.submit()
    assert (await complete(world, queued["job_id"])).status == 409, "nobody holds it"
    job = await world.submit()
    assert (await world.claim(job["job_id"])).status == 200
    other = await complete(world, job["job_id"], "rival")
    assert (other.status, other.json["error_code"]) == (409, "LEASE_NOT_HELD")
    stolen = await world.call(
        "POST", f"/v1/jobs/{job['job_id']}/complete", "rival",
        {"miner_id": "miner_miner", "result": "x"},
    )  # fmt: skip
    assert (stolen.status, stolen.json["error_code"]) == (409, "LEASE_NOT_HELD")
    world.pass_time(620)
    late = await complete(world, job["job_id"])
    assert late.status == 409, "the lease is over"
    cancelled = await world.submit()
    await world.call("DELETE", f"/v1/jobs/{cancelled['job_id']}", "client")
    assert (await complete(world, cancelled["job_id"])).status == 409
    assert (await world.claim(cancelled["job_id"])).status == 409
    after = world.get_balance("miner"), world.get_balance("rival")
    assert after[1] == before[1]
    assert before[0] - 10_000 < after[0] < before[0], "only the fee of the claim"


async def test_a_lease_about_to_end_refuses_before_the_chain_does(world: World) -> None:
    await world.register()
    job = await world.submit()
    await world.claim(job["job_id"])
    world.clock.advance(601)
    assert (await complete(world, job["job_id"])).json["error_code"] == "JOB_DEADLINE_PASSED"


async def test_a_second_result_changes_nothing(world: World) -> None:
    await world.register()
    job = await world.submit()
    await world.claim(job["job_id"])
    first, second = await asyncio.gather(
        complete(world, job["job_id"]), complete(world, job["job_id"])
    )
    assert first.status == second.status == 200
    assert first.json["signed_payload"] == second.json["signed_payload"]
    other = await complete(world, job["job_id"], result="y")
    assert (other.status, other.json["error_code"]) == (409, "JOB_ALREADY_COMPLETED")
    path = f"/v1/jobs/{job['job_id']}"
    await world.until(path, "client", lambda j: j["status"] == "completed")
    balance = world.get_balance("miner")
    assert (await complete(world, job["job_id"])).status == 200
    assert (await complete(world, job["job_id"], result="y")).status == 409
    assert world.get_balance("miner") == balance
    assert (await world.claim(job["job_id"])).status == 409


async def test_units_stay_inside_the_job(world: World) -> None:
    await world.register()
    job = await world.submit()
    await world.claim(job["job_id"])
    for units in (0, -1, job["max_units"] + 1, 2**63, 1.5, True, "5"):
        body = {"miner_id": "miner_miner", "result": "x", "units": units}
        reply = await world.call("POST", f"/v1/jobs/{job['job_id']}/complete", "miner", body)
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/units"), units


async def test_heartbeats(world: World) -> None:
    await world.register()
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    body: dict[str, Any] = {"miner_id": "miner_miner", "progress": 40, "phase": "running"}
    early = await world.call("POST", path + "/heartbeat", "miner", body)
    assert early.status == 409
    claimed = (await world.claim(job["job_id"])).json
    beat = await world.call("POST", path + "/heartbeat", "miner", body)
    assert beat.status == 200
    assert beat.json == {
        "status": "running", "cancel_requested": False,
        "lease_ends_at_ms": claimed["lease"]["ends_at_ms"],
    }  # fmt: skip
    await world.call("POST", path + "/heartbeat", "miner", {**body, "progress": 10})
    shown = (await world.call("GET", path, "client")).json
    assert (shown["progress"], shown["phase"]) == (40, "running")
    wrong: dict[str, Any]
    for wrong in ({"progress": 101}, {"progress": -1}, {"phase": "done"}, {"progress": "1"}):
        reply = await world.call("POST", path + "/heartbeat", "miner", {**body, **wrong})
        assert reply.status == 422
    held = await world.call("GET", path, "miner")
    assert held.json["prompt"] == "Say hello."
    assert (await world.call("GET", path, "rival")).status == 404
    cancel = await world.call("DELETE", path, "client")
    assert (cancel.status, cancel.json["cancel_requested"]) == (200, True)
    assert cancel.json["status"] == "running", "the leaseholder has its grace"
    beat = await world.call("POST", path + "/heartbeat", "miner", body)
    assert beat.json["cancel_requested"] is True
    world.pass_time(11)
    final = await world.until(path, "client", lambda j: j["status"] == "cancelled")
    assert final["settlement"]["refunded_base"] == final["escrow_base"]
    assert (await world.call("GET", path, "miner")).status == 404, "the lease is over"


async def test_giving_back_puts_the_job_into_the_queue_again(world: World) -> None:
    await world.register()
    await world.register("rival")
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    await world.claim(job["job_id"])
    body = {"miner_id": "miner_miner", "reason_code": 99_999}
    assert (await world.call("POST", path + "/fail", "miner", body)).status == 409
    body["reason_code"] = 22_002
    failed = await world.call("POST", path + "/fail", "miner", body)
    assert (failed.status, failed.json["reason_code"]) == (200, 22_002)
    waiting = await world.until(path, "client", lambda j: j["phase"] == "queued")
    # Its owner sees why it waits, and what is left to it.
    assert (waiting["status"], waiting["reason_code"], waiting["max_attempts"]) == (
        "pending", None, 3,
    )  # fmt: skip
    assert waiting["attempts"] == [
        {
            "miner_id": "miner_miner",
            "outcome": "failed",
            "fault": "miner",
            "reason_code": 22_002,
            "reason": "The engine stopped with an error.",
        }
    ]
    again = await world.claim(job["job_id"])
    assert (again.status, again.json["error_code"]) == (409, "CLAIMED_BEFORE")
    available = "/v1/jobs/available?miner_id=miner_"
    assert (await world.call("GET", available + "miner", "miner")).json is None
    offered = (await world.call("GET", available + "rival", "rival")).json
    assert offered["job_id"] == job["job_id"]
    assert not find_missing(offered, load_answer("b_job"))
    assert offered["prompt"] is None
    assert (await world.claim(job["job_id"], "rival")).status == 200


async def test_a_poll_wakes_when_a_job_comes(world: World) -> None:
    await world.register()
    path = "/v1/jobs/available?miner_id=miner_miner"
    assert (await world.call("GET", path, "miner")).json is None
    started = time.monotonic()
    waiting = asyncio.create_task(world.call("GET", path + "&wait=20", "miner"))
    await asyncio.sleep(0.1)
    job = await world.submit()
    reply = await waiting
    assert reply.json["job_id"] == job["job_id"]
    assert time.monotonic() - started < 5
    for wrong in ("-1", "3601", "1e3", "x"):
        assert (await world.call("GET", path + f"&wait={wrong}", "miner")).status == 422
    stranger = await world.call("GET", path, "rival")
    assert (stranger.status, stranger.json["error_code"]) == (404, "MINER_NOT_FOUND")


async def test_a_job_is_offered_only_to_whom_it_fits(world: World) -> None:
    await world.register(prices={"llm_inference": 10**9})
    await world.register("rival", capabilities=["text_embedding"])
    job = await world.submit()
    for who in ("miner", "rival"):
        path = f"/v1/jobs/available?miner_id=miner_{who}"
        assert (await world.call("GET", path, who)).json is None
        assert (await world.claim(job["job_id"], who)).status == 404


async def test_a_miner_that_keeps_its_key(world: World) -> None:
    name = await register(world)
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    unsigned = await world.call("POST", path + "/claim", "digger", {"miner_id": name})
    assert unsigned.status == 422
    body = {
        "miner_id": name,
        "transaction": sign(world, "digger", build_claim(world, "job_" + "00" * 32)),
    }
    assert (await world.call("POST", path + "/claim", "digger", body)).status == 422
    body["transaction"] = sign(world, "client", build_claim(world, job["job_id"]))
    assert (await world.call("POST", path + "/claim", "digger", body)).status == 422
    body["transaction"] = sign(world, "digger", build_claim(world, job["job_id"]))
    first, second = await asyncio.gather(
        *(world.call("POST", path + "/claim", "digger", body) for _ in range(2))
    )
    assert (first.status, second.status) == (200, 200), (first, second)
    assert first.json["lease"] == second.json["lease"]
    assert "terms" not in first.json
    opened = open_lease(first.json)
    assert opened.max_units == job["max_units"]
    report = await build_completion(world, first.json, {"text": "Hi"}, 7)
    await check_wrong_completions(world, path, report)
    done = await world.call("POST", path + "/complete", "digger", report)
    assert done.status == 200, done
    assert done.json["engine"] == "test engine"
    final = await world.until(path, "client", lambda j: j["status"] == "completed")
    assert final["settlement"]["paid_base"] == "7000"
    assert final["result"] == {"text": "Hi"}
    assert (await world.call("POST", path + "/complete", "digger", report)).status == 200
    verdict = await world.call("POST", "/v1/receipts/verify", body={"receipt": done.json})
    assert verdict.json["valid"] is True


async def check_wrong_completions(world: World, path: str, report: dict[str, Any]) -> None:
    opening, core = report["receipt_opening"], report["receipt"]
    for wrong, status in (
        ({"result": {"text": "Ho"}}, 422),
        ({"transaction": None}, 422),
        ({"receipt": None}, 422),
        ({"receipt": {}}, 422),
        ({"receipt": {**core, "units": 8}}, 422),
        ({"receipt": {**core, "signature": {**core["signature"], "sig": "A" * 86}}}, 422),
        ({"receipt_opening": {**opening, "units": 8}}, 422),
        ({"receipt_opening": {**opening, "salt": "zz"}}, 422),
        ({"receipt_opening": {**opening, "salt": 1}}, 422),
        ({"price_opening": {"price": 999, "salt": "00" * 32}}, 422),
        ({"price_opening": []}, 422),
        ({"transaction": "00"}, 422),
        ({"transaction": report["transaction"].upper()}, 422),
        ({"transaction": sign(world, "digger", JobFail(bytes(32), 22_002))}, 422),
    ):
        reply = await world.call("POST", path + "/complete", "digger", {**report, **wrong})
        assert reply.status == status, (list(wrong), reply)
    entry = get_job(world.chain.get_view(), bytes.fromhex(path[-64:]))
    assert entry is not None
    assert entry.status is JobStatus.LEASED


@pytest.mark.parametrize("names_miner", [True, False])
async def test_a_worker_of_the_poll_protocol(world: World, names_miner: bool) -> None:
    name = await world.register()
    who = {"miner_id": name} if names_miner else {}
    empty = await world.call("POST", "/v1/miners/poll", "miner", {**who, "max_wait_seconds": 0})
    assert (empty.status, empty.body) == (204, b"")
    job = await world.submit()
    polled = await world.call("POST", "/v1/miners/poll", "miner", {**who, "max_wait_seconds": 5})
    assert polled.status == 200, polled
    assert set(polled.json) == {"job_id", "payload", "constraints"}
    assert polled.json["payload"]["input"]["prompt"] == "Say hello."
    path = f"/v1/miners/{job['job_id']}"
    if names_miner:
        body = {"error_code": "OUT_OF_MEMORY", "error_message": "…"}
        assert (await world.call("POST", path + "/fail", "miner", body)).status == 200
        await world.until(f"/v1/jobs/{job['job_id']}", "client", lambda j: j["phase"] == "queued")
        return
    report = {"result": {"text": "Hello."}, "metrics": {"units": 3}}
    done = await world.call("POST", path + "/result", "miner", report)
    assert (done.status, done.json["units"]) == (200, 3)


async def test_a_miner_whose_key_seals_nothing_is_told_so(world: World) -> None:
    name = await register(world, encryption_key=bytes(32))
    job = await world.submit()
    signed = sign(world, "digger", build_claim(world, job["job_id"]))
    body = {"miner_id": name, "transaction": signed}
    reply = await world.call("POST", f"/v1/jobs/{job['job_id']}/claim", "digger", body)
    assert (reply.status, reply.json["error_code"]) == (422, "MALFORMED")
