from pathlib import Path

import pytest

from coordinator.settings import WebhookLimits
from tests.support.webhook_receiver import add_webhook
from tests.support.world import World, make_key, open_world

URL = "http://127.0.0.1:65000/hook?token=inside"


async def test_a_webhook_is_made_looked_at_and_deleted(world: World) -> None:
    body = {"url": URL, "events": ["job_update", "job_update", "block_created"], "note": 1}
    made = await world.call("POST", "/v1/webhooks", "client", body)
    assert made.status == 201, made
    assert made.json["secret"].startswith("whsec_")
    assert made.json["events"] == ["job_update", "block_created"]
    shown = {name: value for name, value in made.json.items() if name != "secret"}
    path = f"/v1/webhooks/{shown['webhook_id']}"
    got = await world.call("GET", path, "client")
    assert (got.status, got.json) == (200, shown)
    listed = await world.call("GET", "/v1/webhooks", "client")
    assert (listed.json["webhooks"], listed.json["total"]) == ([shown], 1)
    assert (await world.call("DELETE", path, "client")).status == 204
    assert (await world.call("GET", path, "client")).status == 404


async def test_another_accounts_webhook_is_as_absent(world: World) -> None:
    webhook = await add_webhook(world, URL, "job_update")
    tested = await world.call("POST", f"/v1/webhooks/{webhook['webhook_id']}/test", "client")
    delivery = tested.json["delivery_id"]
    for one in (webhook["webhook_id"], "webhook_" + "0" * 64, "webhook_x", "%00"):
        for method, path in (
            ("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate"),
            ("GET", "/deliveries"), ("POST", f"/deliveries/{delivery}/redeliver"),
        ):  # fmt: skip
            reply = await world.call(method, f"/v1/webhooks/{one}{path}", "other")
            assert (reply.status, reply.json["error_code"]) == (404, "WEBHOOK_NOT_FOUND"), path
    assert (await world.call("GET", "/v1/webhooks", "other")).json["total"] == 0
    absent = f"/v1/webhooks/{webhook['webhook_id']}/deliveries/delivery_{'0' * 64}/redeliver"
    reply = await world.call("POST", absent, "client")
    assert (reply.status, reply.json["error_code"]) == (404, "DELIVERY_NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": URL},
        {"url": URL, "events": []},
        {"url": URL, "events": ["other"]},
        {"url": URL, "events": ["job_update"] * 5},
        {"url": URL, "events": "job_update"},
        {"url": URL, "events": ["job_update"], "description": "x" * 201},
        {"url": "ftp://example.com/", "events": ["job_update"]},
        {"url": "http://user@example.com/", "events": ["job_update"]},
        {"url": "http://example.com:25/", "events": ["job_update"]},
        {"url": "//example.com/", "events": ["job_update"]},
        {"url": "https://example.com/\r\nX: y", "events": ["job_update"]},
        {"url": "https://example.com/" + "x" * 3_000, "events": ["job_update"]},
    ],
)
async def test_what_is_no_webhook_is_refused(world: World, body: object) -> None:
    reply = await world.call("POST", "/v1/webhooks", "client", body)
    assert reply.status == 422, reply
    assert reply.json["errors"]


async def test_only_https_is_told_on_a_chain_that_is_not_dev(tmp_path: Path) -> None:
    async with open_world(tmp_path, is_dev=False) as world:
        body = {"url": "http://example.com/hook", "events": ["job_update"]}
        assert (await world.call("POST", "/v1/webhooks", "client", body)).status == 422
        await add_webhook(world, "https://example.com/hook", "job_update")


async def test_an_account_has_so_many(tmp_path: Path) -> None:
    async with open_world(tmp_path, webhooks=WebhookLimits(per_account=2)) as world:
        made = [await add_webhook(world, URL, "job_update") for _ in range(2)]
        body = {"url": URL, "events": ["job_update"]}
        refused = await world.call("POST", "/v1/webhooks", "client", body)
        assert (refused.status, refused.json["error_code"]) == (409, "TOO_MANY_WEBHOOKS")
        await add_webhook(world, URL, "job_update", who="other")
        first = (await world.call("GET", "/v1/webhooks?limit=1", "client")).json
        assert first["webhooks"][0]["webhook_id"] == made[1]["webhook_id"]
        rest = f"/v1/webhooks?limit=1&cursor={first['next_cursor']}"
        (last,) = (await world.call("GET", rest, "client")).json["webhooks"]
        assert last["webhook_id"] == made[0]["webhook_id"]


async def test_a_secret_is_in_no_answer_that_is_kept(world: World) -> None:
    body, headers = {"url": URL, "events": ["job_update"]}, {"Idempotency-Key": make_key()}
    made = await world.call("POST", "/v1/webhooks", "client", body, headers)
    path = f"/v1/webhooks/{made.json['webhook_id']}/rotate"
    rotated = await world.call("POST", path, "client", headers=headers)
    kept = await world.database.read(
        lambda c: c.exec_driver_sql("select body from coordinator_idempotency").fetchall()
    )
    assert (made.status, rotated.status, kept) == (201, 200, [])


async def test_one_test_waits_at_a_time(world: World) -> None:
    webhook = await add_webhook(world, URL, "job_update")
    path = f"/v1/webhooks/{webhook['webhook_id']}/test"
    ids = {(await world.call("POST", path, "client")).json["delivery_id"] for _ in range(3)}
    assert len(ids) == 1
