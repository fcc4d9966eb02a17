import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from coordinator.settings import WebhookLimits
from coordinator.webhook_delivery import AT_ONCE, BURST, Pace
from tests.support.webhook_receiver import Receiver, add_webhook, open_receiver, ticking
from tests.support.world import World, open_world

QUICK = WebhookLimits(first_retry_seconds=0.05, timeout_seconds=1.0, attempts=3)


async def finish_job(world: World) -> Any:
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    assert (await world.claim(job["job_id"])).status == 200
    body = {"miner_id": "miner_miner", "result": "the result", "units": 3}
    assert (await world.call("POST", path + "/complete", "miner", body)).status == 200
    return await world.until(path, "client", lambda j: j["status"] == "completed")


async def list_deliveries(world: World, webhook: Any, state: str, who: str = "client") -> Any:
    path = f"/v1/webhooks/{webhook['webhook_id']}/deliveries?state={state}"
    return (await world.call("GET", path, who)).json["deliveries"]


async def until_shown(world: World, webhook: Any, status: str) -> Any:
    path = f"/v1/webhooks/{webhook['webhook_id']}"
    return await world.until(path, "client", lambda shown: shown["status"] == status)


async def test_what_happens_to_a_job_arrives_signed(world: World) -> None:
    await world.register()
    world.clock.now_ms = int(time.time() * 1000)  # the receiver holds it against its own clock
    async with open_receiver() as receiver, open_receiver() as others:
        webhook = await add_webhook(world, receiver.url, "job_update", "receipt_created")
        await add_webhook(world, others.url, "job_update", "receipt_created", who="other")
        job = await finish_job(world)
        await receiver.until(lambda _: "receipt_created" in receiver.list_types())
        await receiver.until(lambda m: any(x.json["data"].get("phase") == "done" for x in m))
        for message in receiver.messages:
            Webhook(webhook["secret"]).verify(message.body, dict(message.headers))
            assert message.json["data"]["job_id"] == job["job_id"]
            assert b"Say hello" not in message.body
            assert b"the result" not in message.body
        seqs = [message.json["seq"] for message in receiver.messages]
        assert len(set(seqs)) == len(seqs), "each thing is told once"
        assert others.messages == [], "another account's job is told to nobody else"


async def test_what_was_owed_at_a_crash_arrives_after_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, webhooks=QUICK) as world, open_receiver() as receiver:
        receiver.status = 503
        webhook = await add_webhook(world, receiver.url, "job_update")
        await world.submit()
        await receiver.until(lambda messages: len(messages) > 0)
        (waiting,) = await list_deliveries(world, webhook, "pending")
        await world.stop()
        receiver.status = 204
        count = len(receiver.messages)
        world.clock.advance(1)
        await world.start()
        await receiver.until(lambda messages: len(messages) > count)
        ids = {message.headers["webhook-id"] for message in receiver.messages}
        assert ids == {waiting["delivery_id"]}, "the same message, under the same id"
        shown = await until_shown(world, webhook, "active")
        assert shown["failing_since"] is None
        (delivered,) = await list_deliveries(world, webhook, "delivered")
        assert (delivered["last_status"], delivered["next_attempt_at"]) == (204, None)


async def test_what_happens_while_nothing_runs_is_not_missed(world: World) -> None:
    async with open_receiver() as receiver:
        await add_webhook(world, receiver.url, "job_update")
        world.chain.is_automatic = False
        body = {"prompt": "Say hello.", "params": {"max_tokens": 16}, "max_cost": "0.5"}
        assert (await world.call("POST", "/v1/jobs", "client", body)).status == 201
        await world.stop()
        world.chain.produce()
        await world.start()
        await receiver.until(lambda messages: len(messages) > 0)
        assert receiver.messages[0].json["data"]["phase"] == "queued"


async def test_what_never_arrives_is_dead_and_can_be_sent_again(tmp_path: Path) -> None:
    async with (
        open_world(tmp_path, webhooks=QUICK) as world,
        open_receiver() as receiver,
        ticking(world),
    ):
        receiver.status = 500
        webhook = await add_webhook(world, receiver.url, "job_update")
        await world.submit()
        await receiver.until(lambda messages: len(messages) == QUICK.attempts)
        await until_dead(world, webhook)
        (dead,) = await list_deliveries(world, webhook, "dead")
        assert (dead["attempts"], dead["last_status"]) == (3, 500)
        assert (await until_shown(world, webhook, "failing"))["disabled_reason"] is None
        receiver.status = 200
        path = f"/v1/webhooks/{webhook['webhook_id']}/deliveries/{dead['delivery_id']}"
        again = await world.call("POST", path + "/redeliver", "client")
        assert (again.status, again.json["state"]) == (202, "pending")
        await until_shown(world, webhook, "active")
        assert await list_deliveries(world, webhook, "dead") == []


async def until_dead(world: World, webhook: Any) -> None:
    path = f"/v1/webhooks/{webhook['webhook_id']}/deliveries?state=dead"
    await world.until(path, "client", lambda page: page["total"] > 0)


async def test_an_address_that_is_gone_is_told_nothing_more(tmp_path: Path) -> None:
    async with open_world(tmp_path, webhooks=QUICK) as world, open_receiver() as receiver:
        receiver.status = 410
        webhook = await add_webhook(world, receiver.url, "job_update")
        await world.submit()
        shown = await until_shown(world, webhook, "disabled")
        assert shown["disabled_reason"] == "gone"
        (dead,) = await list_deliveries(world, webhook, "dead")
        one = f"/v1/webhooks/{webhook['webhook_id']}"
        path = f"{one}/deliveries/{dead['delivery_id']}/redeliver"
        refused = await world.call("POST", path, "client")
        assert (refused.status, refused.json["error_code"]) == (409, "WEBHOOK_DISABLED")
        await world.submit()
        assert len(receiver.messages) == 1
        receiver.status = 200
        tested = await world.call("POST", one + "/test", "client")
        assert (tested.status, tested.json["type"]) == (202, "webhook_test")
        await until_shown(world, webhook, "active")
        assert receiver.list_types() == ["job_update", "webhook_test"]
        await world.submit()
        await receiver.until(lambda messages: len(messages) == 3)


async def test_an_address_that_fails_for_long_is_switched_off(tmp_path: Path) -> None:
    limits = QUICK.model_copy(update={"failing_seconds": 0.2, "attempts": 100})
    async with open_receiver() as closed:
        url = closed.url
    async with open_world(tmp_path, webhooks=limits) as world, ticking(world):
        webhook = await add_webhook(world, url, "job_update")
        await world.submit()
        shown = await until_shown(world, webhook, "disabled")
        assert shown["disabled_reason"] == "failing"
        (dead,) = await list_deliveries(world, webhook, "dead")
        assert (dead["last_status"], dead["last_error"]) == (None, "UNREACHABLE")


async def test_nothing_inside_is_told_and_no_redirect_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    async with open_world(tmp_path, is_dev=False, webhooks=QUICK) as world:
        webhook = await add_webhook(world, "https://127.0.0.1:8001/hook", "job_update")
        await world.call("POST", f"/v1/webhooks/{webhook['webhook_id']}/test", "client")
        path = f"/v1/webhooks/{webhook['webhook_id']}/deliveries"
        page = await world.until(path, "client", lambda p: p["deliveries"][0]["attempts"] > 0)
        assert page["deliveries"][0]["last_error"] == "ADDRESS_REFUSED"
    async with open_world(tmp_path / "a", webhooks=QUICK) as world, open_receiver() as receiver:
        receiver.status = 307
        webhook = await add_webhook(world, receiver.url, "job_update")
        await world.submit()
        await until_shown(world, webhook, "failing")
        (waiting,) = await list_deliveries(world, webhook, "pending")
        assert (waiting["last_status"], waiting["last_error"]) == (307, "BAD_STATUS")


async def test_a_slow_address_holds_up_no_other(tmp_path: Path) -> None:
    limits = WebhookLimits(timeout_seconds=30)
    async with (
        open_world(tmp_path, webhooks=limits) as world,
        open_receiver() as slow,
        open_receiver() as quick,
    ):
        slow.delay = 60
        await add_webhook(world, slow.url, "marketplace_update", "job_update")
        await add_webhook(world, quick.url, "job_update", who="client")
        for _ in range(8):
            await world.submit()
        await quick.until(lambda messages: len(messages) >= 8)
        assert slow.most_under_way <= AT_ONCE
        assert len(slow.messages) <= AT_ONCE


async def test_blocks_are_told_and_never_pile_up(world: World) -> None:
    async with open_receiver() as receiver:
        receiver.delay = 0.3
        webhook = await add_webhook(world, receiver.url, "block_created")
        world.chain.produce()
        await receiver.until(lambda messages: len(messages) == 1)
        for _ in range(20):
            world.chain.produce()
            await asyncio.sleep(0.01)
        assert len(await list_deliveries(world, webhook, "pending")) <= 1
        assert receiver.messages[0].json["data"]["height"] > 0


async def test_one_that_falls_too_far_behind_is_switched_off(tmp_path: Path) -> None:
    limits = QUICK.model_copy(update={"pending": 2, "attempts": 100, "timeout_seconds": 30})
    async with open_world(tmp_path, webhooks=limits) as world, open_receiver() as receiver:
        receiver.delay = 30
        webhook = await add_webhook(world, receiver.url, "job_update")
        for _ in range(4):
            await world.submit()
        assert (await until_shown(world, webhook, "disabled"))["disabled_reason"] == "overflow"


async def test_a_webhook_ends_with_the_key_that_asked_for_it(world: World) -> None:
    async with open_receiver() as receiver:
        webhook = await add_webhook(world, receiver.url, "job_update")
        keys = (await world.call("GET", "/v1/api-keys", "operator")).json["keys"]
        (key_id,) = [key["key_id"] for key in keys if key["label"] == "client"]
        address = next(key["address"] for key in keys if key["label"] == "client")
        second = {"role": "client", "address": address}
        made = (await world.call("POST", "/v1/api-keys", "operator", second)).json
        old = world.people["client"]
        await world.call("DELETE", f"/v1/api-keys/{key_id}", "operator")
        world.people["client"] = old._replace(key=made["key"])
        shown = await until_shown(world, webhook, "disabled")
        assert shown["disabled_reason"] == "key_revoked"
        await world.submit()
        assert receiver.messages == []


async def test_the_old_secret_signs_for_a_while(world: World) -> None:
    world.clock.now_ms = int(time.time() * 1000)
    async with open_receiver() as receiver:
        webhook = await add_webhook(world, receiver.url, "job_update")
        one = f"/v1/webhooks/{webhook['webhook_id']}"
        rotated = (await world.call("POST", one + "/rotate", "client")).json
        assert rotated["secret"] != webhook["secret"]
        assert rotated["previous_secret_until"] is not None
        await expect_signed(world, receiver, one, [webhook["secret"], rotated["secret"]], [])
        path = "update coordinator_webhooks set old_until_ms = 1"
        await world.database.write(lambda c: c.exec_driver_sql(path).rowcount)
        await expect_signed(world, receiver, one, [rotated["secret"]], [webhook["secret"]])
        stored = await world.database.read(
            lambda c: c.exec_driver_sql("select * from coordinator_webhooks").fetchall()
        )
        assert rotated["secret"].removeprefix("whsec_") not in repr(stored)


async def expect_signed(
    world: World, receiver: Receiver, one: str, valid: list[str], invalid: list[str]
) -> None:
    count = len(receiver.messages)
    assert (await world.call("POST", one + "/test", "client")).status == 202
    await receiver.until(lambda messages: len(messages) > count)
    message = receiver.messages[-1]
    for secret in valid:
        Webhook(secret).verify(message.body, dict(message.headers))
    for secret in invalid:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(message.body, dict(message.headers))


async def test_so_many_leave_in_a_second() -> None:
    pace, loop = Pace(100), asyncio.get_running_loop()
    start = loop.time()
    order: list[int] = []

    async def leave(number: int) -> None:
        await pace.wait()
        order.append(number)

    await asyncio.gather(*(leave(number) for number in range(BURST + 50)))
    assert 0.45 < loop.time() - start < 2
    assert order == list(range(BURST + 50))
