import asyncio

import pytest

from coordinator.http import idempotency
from coordinator.http.problems import Problem
from tests.support.world import World, make_key

BODY = {"prompt": "a", "max_cost": "0.5"}


async def test_while_the_first_runs_the_second_is_told_to_wait(world: World) -> None:
    world.chain.is_answering = False
    headers = {"Idempotency-Key": make_key()}
    first = asyncio.create_task(world.call("POST", "/v1/jobs", "client", BODY, headers=headers))
    await asyncio.sleep(0.3)
    second = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    assert (second.status, second.json["error_code"]) == (409, "IDEMPOTENT_REQUEST_RUNNING")
    assert second.headers["Retry-After"] == "1"
    answer = await first
    assert (answer.status, answer.json["phase"]) == (201, "escrowing")
    third = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    assert third.body == answer.body
    assert third.headers["Idempotent-Replayed"] == "true"
    for name in ("Content-Type", "Location"):
        assert third.headers[name] == answer.headers[name]


async def test_of_many_at_once_one_runs(world: World) -> None:
    headers = {"Idempotency-Key": make_key()}
    replies = await asyncio.gather(
        *(world.call("POST", "/v1/jobs", "client", BODY, headers=headers) for _ in range(10))
    )
    assert {reply.status for reply in replies} <= {201, 409}
    assert len({reply.json["job_id"] for reply in replies if reply.status == 201}) == 1
    assert (await world.call("GET", "/v1/jobs", "client")).json["total"] == 1


async def test_what_failed_may_be_tried_again(world: World) -> None:
    headers = {"Idempotency-Key": make_key()}
    dear = {**BODY, "max_cost": "5000"}
    for _ in range(2):
        reply = await world.call("POST", "/v1/jobs", "client", dear, headers=headers)
        assert reply.status == 402
    reply = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    assert reply.status == 201, "the key was free again"


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\n"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(Problem):
        idempotency.check_key(key)


async def test_a_crash_frees_the_key_and_the_job_stays_one(world: World) -> None:
    headers = {"Idempotency-Key": make_key()}
    first = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    await world.database.write(
        lambda c: c.exec_driver_sql("update coordinator_idempotency set status = null").rowcount
    )
    running = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    assert running.status == 409
    await world.restart()
    again = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    assert (again.status, again.json["job_id"]) == (201, first.json["job_id"])
    other = await world.call("POST", "/v1/jobs", "client", {**BODY, "prompt": "b"}, headers=headers)
    assert other.status == 422
