from typing import Any

from ledger.transactions import JobCancel, Transfer
from tests.support.self_custody import sign, sign_job
from tests.support.world import World

BODY = {"prompt": "a", "max_cost": "0.5"}


async def test_a_client_that_keeps_its_key(world: World) -> None:
    signed = await sign_job(world, BODY)
    await check_wrong_submissions(world, signed)
    reply = await world.call("POST", "/v1/jobs", "holder", signed)
    assert reply.status == 201, reply
    path = f"/v1/jobs/{reply.json['job_id']}"
    job = await world.until(path, "holder", lambda job: job["phase"] == "queued")
    assert job["escrow_base"] == "500000000"
    again = await world.call("POST", "/v1/jobs", "holder", signed)
    assert (again.status, again.json["job_id"]) == (201, job["job_id"])
    unsigned = await world.call("DELETE", path, "holder")
    assert unsigned.status == 422
    other = {"transaction": sign(world, "holder", JobCancel(bytes(32)))}
    assert (await world.call("DELETE", path, "holder", other)).status == 422
    cancel = {"transaction": sign(world, "holder", JobCancel(bytes.fromhex(path[-64:])))}
    done = await world.call("DELETE", path, "holder", cancel)
    assert (done.status, done.json["status"]) == (200, "cancelled")


async def check_wrong_submissions(world: World, signed: dict[str, Any]) -> None:
    transfer = sign(world, "holder", Transfer(bytes(20), 1))
    terms = signed["terms"]
    wrong: dict[str, Any]
    for wrong in (
        {"prompt": "b"},
        {"terms": None},
        {"terms": {}},
        {"terms": {**terms, "max_price": terms["max_price"] + 1}},
        {"terms": {**terms, "salt": "00" * 32}},
        {"terms": {**terms, "deadline": -1}},
        {"transaction": transfer},
        {"transaction": "00"},
        {"type": "text_embedding"},
    ):
        reply = await world.call("POST", "/v1/jobs", "holder", {**signed, **wrong})
        assert reply.status == 422, (wrong, reply)
    jobs = await world.call("GET", "/v1/jobs", "holder")
    assert jobs.json["total"] == 0


async def test_the_chain_knows_a_job_that_this_node_does_not_hold(world: World) -> None:
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    await world.database.write(
        lambda c: c.exec_driver_sql("delete from coordinator_contents").rowcount
    )
    await world.database.write(lambda c: c.exec_driver_sql("delete from coordinator_jobs").rowcount)
    shown = (await world.call("GET", path, "client")).json
    assert (shown["status"], shown["prompt"]) == ("pending", None)
    assert shown["coordinator"].startswith("ait1")
    assert (await world.call("GET", path, "other")).status == 404
