from typing import Any

import pytest
from aiohttp import web

from coordinator.http.routing import Answer, Call, Route
from coordinator.http.table import ROUTES
from tests.support.world import World

SECRET = "a prompt that nobody else reads"


async def read_log(world: World, query: str = "") -> list[Any]:
    reply = await world.call("GET", f"/v1/audit/log?{query}", "operator")
    assert reply.status == 200, reply
    return list(reply.json["entries"])


async def test_who_did_what_to_which_object(world: World) -> None:
    job = await world.submit(prompt=SECRET)
    headers = {"X-Request-Id": "mine.1"}
    path = f"/v1/jobs/{job['job_id']}"
    assert (await world.call("DELETE", path, "client", headers=headers)).status == 200
    assert (await world.call("DELETE", path, "other")).status == 404
    (posted,) = await read_log(world, "action=POST /v1/jobs")
    (cancelled,) = await read_log(world, f"object={job['job_id']}&status=200")
    assert posted["objects"] == {"job_id": job["job_id"]}
    assert (posted["status"], posted["role"], posted["error_code"]) == (201, "client", None)
    assert posted["remote"] == "127.0.0.1"
    assert cancelled["action"] == "DELETE /v1/jobs/{job_id}"
    assert cancelled["request_id"] == "mine.1"
    assert cancelled["account"] == posted["account"]
    (refused,) = await read_log(world, "status=404")
    assert refused["error_code"] == "JOB_NOT_FOUND"
    assert refused["account"] != posted["account"]


async def test_whoever_is_refused_is_written_down(world: World) -> None:
    body = {"role": "operator"}
    await world.call("POST", "/v1/api-keys", "client", body)
    await world.call("POST", "/v1/api-keys", None, body, headers={"X-Api-Key": "aitbc_nobody"})
    await world.call("POST", "/v1/jobs", "client", {"type": "nosuch"})
    await world.call("POST", "/v1/jobs", "client", data=b"{not json")
    await world.call("DELETE", "/v1/files/%00%20x", "client")
    found = await read_log(world)
    assert [(entry["status"], entry["error_code"], entry["role"]) for entry in found] == [
        (404, "FILE_NOT_FOUND", "client"),
        (400, "MALFORMED_JSON", "client"),
        (400, "INVALID_JOB_TYPE", "client"),
        (401, "UNAUTHORIZED", None),
        (403, "ROLE_NOT_ALLOWED", "client"),
    ]
    assert found[0]["objects"] == {"file_id": "?"}
    assert found[3]["account"] is None


async def test_no_line_holds_what_was_sent_or_shown(world: World) -> None:
    made = await world.call("POST", "/v1/api-keys", "operator", {"role": "client"})
    await world.call("POST", "/v1/jobs", "client", {"prompt": SECRET, "max_cost": "0.5"})
    await read_log(world)
    rows = await world.database.read(
        lambda c: c.exec_driver_sql("select * from coordinator_audit").fetchall()
    )
    assert len(rows) == 2
    assert made.json["key"].rpartition("_")[2] not in repr(rows)
    assert SECRET not in repr(rows)


async def test_what_is_asked_all_the_time_is_not_written_down(world: World) -> None:
    await world.register()
    before = len(await read_log(world))
    seen = {"miner_id": "miner_miner"}
    polling = {**seen, "max_wait_seconds": 0}
    assert (await world.call("POST", "/v1/miners/heartbeat", "miner", seen)).status == 200
    assert (await world.call("POST", "/v1/miners/poll", "miner", polling)).status == 204
    assert (await world.call("GET", "/v1/jobs", "client")).status == 200
    assert len(await read_log(world)) == before
    job = await world.submit()
    assert (await world.claim(job["job_id"])).status == 200
    (claimed,) = await read_log(world, "action=POST /v1/jobs/{job_id}/claim")
    assert claimed["objects"]["job_id"] == job["job_id"]


async def test_the_log_is_read_by_operators_in_pages(world: World) -> None:
    for who in ("client", "miner"):
        assert (await world.call("GET", "/v1/audit/log", who)).status == 403
    for number in range(5):
        await world.call("DELETE", f"/v1/jobs/{number}", "client")
    seen: list[str] = []
    cursor = ""
    while True:
        query = f"limit=2{cursor}"
        page = (await world.call("GET", f"/v1/audit/log?{query}", "operator")).json
        assert page["total"] == 5
        seen += [entry["objects"]["job_id"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["4", "3", "2", "1", "0"]
    address = page["entries"][0]["account"]
    assert len(await read_log(world, f"account={address}")) == 5
    assert await read_log(world, "from=2027-01-01") == []
    assert len(await read_log(world, "to=2027-01-01")) == 5
    for wrong in ("from=x", "account=x", "status=1", "key_id=x", "object="):
        reply = await world.call("GET", f"/v1/audit/log?{wrong}", "operator")
        assert reply.status == 422, wrong


async def test_the_log_outlives_a_stop(world: World) -> None:
    await world.call("DELETE", "/v1/jobs/x", "client")
    await world.coordinator.close()
    await world.restart()
    assert [entry["action"] for entry in await read_log(world)] == ["DELETE /v1/jobs/{job_id}"]


async def test_a_job_that_only_a_header_names_is_named(world: World) -> None:
    async def answer(call: Call) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"AITBC-Job-Id": "job_1"})
        await stream.prepare(call.request)
        await stream.write(b"text")
        return stream

    async def say(_: Call) -> Answer:
        return Answer({"text": "x"}, headers={"AITBC-Job-Id": "job_2"})

    made = Route("POST", "/v1/streamed", answer, "", "", works_behind=True)
    said = Route("POST", "/v1/said", say, "", "", works_behind=True)
    world.routes = (*ROUTES, made, said)
    await world.restart()
    for path in ("/v1/streamed", "/v1/said"):
        assert (await world.call("POST", path, "client")).status == 200
    found = await read_log(world)
    assert [entry["objects"] for entry in found] == [{"job_id": "job_2"}, {"job_id": "job_1"}]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_change_by_an_account_is_audited(route: Route) -> None:
    routine = {
        "/v1/jobs/{job_id}/heartbeat", "/v1/miners/heartbeat", "/v1/jobs/{job_id}/stream",
    }  # fmt: skip
    changes = route.method in ("POST", "DELETE", "PUT", "PATCH") and route.roles
    assert route.is_audited == bool(changes and route.path not in routine)
