import asyncio
from pathlib import Path

from coordinator import sql
from coordinator.follower import READ_BLOCKS
from coordinator.tables import FollowedRow, TransactionRow
from ledger.outcomes import JobQueued
from tests.support.world import World, make_key, open_world

BODY = {"prompt": "a", "max_cost": "0.5"}


def count_escrows(world: World) -> int:
    return sum(
        isinstance(event, JobQueued)
        for block in world.chain.blocks
        for outcome in block.outcomes
        for event in outcome.events
    )


async def read_followed(world: World) -> int:
    row = await world.database.read(lambda c: sql.find(c, FollowedRow, only=1))
    assert row is not None
    return row.height


async def test_a_kill_between_row_and_escrow_locks_once(world: World) -> None:
    """The process dies after the job's row is durable and before the mempool has the escrow."""
    world.chain.is_answering = False
    headers = {"Idempotency-Key": make_key()}
    reply = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    assert (reply.status, reply.json["phase"]) == (201, "escrowing")
    assert count_escrows(world) == 0
    await world.stop()
    world.chain.is_answering = True
    await world.start()
    path = f"/v1/jobs/{reply.json['job_id']}"
    await world.until(path, "client", lambda job: job["phase"] == "queued")
    again = await world.call("POST", "/v1/jobs", "client", BODY, headers=headers)
    assert (again.status, again.json["job_id"]) == (201, reply.json["job_id"])
    await asyncio.sleep(0.5)
    assert count_escrows(world) == 1, "resubmission must not lock twice"


async def test_what_happened_while_it_was_away_is_caught_up(world: World) -> None:
    job = await world.submit(timeout_seconds=60)
    await world.stop()
    world.pass_time(61)
    for _ in range(2 * READ_BLOCKS):
        world.chain.produce()
    await world.start()
    final = (await world.call("GET", f"/v1/jobs/{job['job_id']}", "client")).json
    assert (final["status"], final["fault"]) == ("failed", "network")
    assert await read_followed(world) == world.chain.get_head().height


async def test_an_escrow_that_fails_on_the_chain_fails_the_job(world: World) -> None:
    world.chain.is_automatic = False
    reply = await world.call("POST", "/v1/jobs", "client", {**BODY, "timeout_seconds": 1})
    path = f"/v1/jobs/{reply.json['job_id']}"
    world.clock.advance(30)
    world.chain.produce()
    job = await world.until(path, "client", lambda job: job["status"] == "failed")
    assert job["settlement"]["state"] == "none"
    assert (job["reason_code"], job["fault"]) == (137, "client")
    assert job["phase"] == "done"


async def test_a_lost_transaction_is_sent_again_and_an_old_one_given_up(tmp_path: Path) -> None:
    async with open_world(tmp_path, validity_blocks=10, resubmit_seconds=0.1) as world:
        world.chain.is_automatic = False
        reply = await world.call("POST", "/v1/jobs", "client", BODY)
        world.chain.forget_waiting()
        await asyncio.sleep(0.5)
        assert world.chain.get_status().mempool.transactions == 1
        second = await world.call("POST", "/v1/jobs", "client", BODY)
        world.chain.forget_waiting()
        world.chain.is_answering = False
        for _ in range(12):
            world.chain.produce()
        world.chain.is_answering = True
        await world.restart()
        for answer in (reply, second):
            path = f"/v1/jobs/{answer.json['job_id']}"
            job = await world.until(path, "client", lambda job: job["status"] == "failed")
            assert job["settlement"]["state"] == "none"
        rows = await world.database.read(
            lambda c: c.execute(sql.get_table(TransactionRow).select()).mappings().all()
        )
        assert {row["state"] for row in rows} == {"expired"}
        third = await world.call("POST", "/v1/jobs", "client", BODY)
        world.chain.produce()
        path = f"/v1/jobs/{third.json['job_id']}"
        await world.until(path, "client", lambda job: job["phase"] == "queued")
