import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from coordinator import sql, updates
from coordinator.leasing import record_nothing
from coordinator.signals import UPDATES
from coordinator.tables import JobRow
from coordinator.updates import PUBLIC, Update, UpdateType
from ledger import terms
from ledger.transactions import OfferAccept, OfferCancel, OfferCreate
from tests.support.world import World, open_world

BODY = {"prompt": "a secret prompt", "max_cost": "0.5"}


class Said(msgspec.Struct):
    number: int


def add(connection: Connection, number: int, now_ms: int, account: int = 7) -> None:
    updates.append(connection, UpdateType.JOB_UPDATE, account, Said(number), now_ms)


async def read_all(world: World) -> list[Update]:
    return await world.database.read(lambda c: updates.read(c, 0, 10_000))


def list_stages(rows: list[Update], kind: str = "job_update") -> list[tuple[str, str]]:
    said = [json.loads(row.data) for row in rows if row.type == kind]
    return [(data["status"], data["phase"]) for data in said]


async def settle(world: World, **more: Any) -> dict[str, Any]:
    name = await world.register()
    job = await world.submit(**BODY, **more)
    assert (await world.claim(job["job_id"])).status == 200
    body = {"miner_id": name, "result": {"text": "hello"}, "units": 3}
    path = f"/v1/jobs/{job['job_id']}"
    reply = await world.call("POST", f"{path}/complete", "miner", body)
    assert reply.status == 200, reply
    done = await world.until(path, "client", lambda shown: shown["status"] == "completed")
    assert isinstance(done, dict)
    return done


async def test_seqs_grow_in_the_order_of_the_commits_whatever_the_clock_says(world: World) -> None:
    start = world.clock.read()
    for number, passed in enumerate((0, 0, -1, 50, 40)):
        await world.database.write(partial(add, number=number, now_ms=start + passed))
    rows = await read_all(world)
    assert [json.loads(row.data)["number"] for row in rows] == list(range(5))
    assert [row.seq - 1000 * start for row in rows] == [0, 1, 2, 50_000, 50_001]


async def test_a_row_is_there_with_its_change_or_not_at_all(world: World) -> None:
    def fail(connection: Connection) -> None:
        add(connection, 1, 1)
        raise RuntimeError("the change did not happen")

    for _ in range(3):
        try:
            await world.database.write(fail)
        except RuntimeError:
            continue
    assert await read_all(world) == []


async def test_an_account_reads_its_own_and_the_publics_in_order(world: World) -> None:
    def write(connection: Connection) -> None:
        for number in range(30):
            add(connection, number, world.clock.read(), (7, 8, PUBLIC)[number % 3])

    await world.database.write(write)

    def read(after: int, limit: int) -> Any:
        return world.database.read(lambda c: updates.read_account(c, 7, after, limit))

    first = await read(0, 7)
    rest = await read(first[-1].seq, 100)
    numbers = [json.loads(row.data)["number"] for row in (*first, *rest)]
    assert numbers == [number for number in range(30) if number % 3 != 1]
    assert len(first) == 7


async def test_retention_goes_by_age_and_by_number_and_seqs_go_on(world: World) -> None:
    start = world.clock.read()

    def write(connection: Connection) -> None:
        for number in range(10):
            add(connection, number, start + number)

    await world.database.write(write)
    assert await world.database.write(lambda c: updates.delete_old(c, start + 3)) == 3
    assert await world.database.write(lambda c: updates.delete_old(c, 0, kept=4)) == 3
    rows = await read_all(world)
    assert [json.loads(row.data)["number"] for row in rows] == [6, 7, 8, 9]
    assert await world.database.write(lambda c: updates.delete_old(c, start + 99)) == 3
    newest = 1000 * (start + 9)
    last = await read_all(world)
    assert [row.seq for row in last] == [newest], "it is where the next one begins"
    await world.database.write(lambda c: add(c, 10, 1))
    assert [row.seq for row in await read_all(world)] == [newest, newest + 1]
    assert await world.database.read(updates.read_bounds) == (newest, newest + 1)


async def test_a_job_from_queue_to_receipt_is_told_in_order_without_its_content(
    world: World,
) -> None:
    job = await settle(world)
    rows = await read_all(world)
    owner, miner = await find_account(world, "client"), await find_account(world, "miner")
    own = [row for row in rows if row.account_id == owner]
    assert list_stages(own) == [
        ("pending", "queued"),
        ("running", "claimed"),
        ("running", "proving"),
        ("running", "settling"),
        ("completed", "done"),
    ]
    assert [row.type for row in own][-2:] == ["job_update", "receipt_created"]
    told = [row for row in rows if row.account_id == miner]
    assert [row.type for row in told] == ["receipt_created"]
    receipt = json.loads(told[0].data)
    assert receipt["job_id"] == job["job_id"]
    shown = await world.call("GET", f"/v1/jobs/{job['job_id']}", "client")
    assert receipt["tx"] == shown.json["settlement"]["tx"]
    assert all("secret prompt" not in row.data for row in rows)
    assert {row.job for row in rows} == {bytes.fromhex(job["job_id"].removeprefix("job_"))}


async def test_the_log_survives_a_restart_and_goes_on_behind_it(world: World) -> None:
    await settle(world)
    before = await read_all(world)
    await world.restart()
    assert await read_all(world) == before
    await world.submit(**BODY)
    after = await read_all(world)
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert [row.seq for row in after] == sorted({row.seq for row in after})


async def test_a_cancellation_is_told_when_it_is_asked_for_and_when_it_holds(world: World) -> None:
    job = await world.submit(**BODY)
    assert (await world.call("DELETE", f"/v1/jobs/{job['job_id']}", "client")).status == 200
    said = [json.loads(row.data) for row in await read_all(world)]
    assert [(data["status"], data["cancel_requested"]) for data in said] == [
        ("pending", False),
        ("pending", True),
        ("cancelled", True),
    ]


async def test_a_job_that_was_refused_at_the_door_was_never_told_of(world: World) -> None:
    reply = await world.call("POST", "/v1/jobs", "client", {**BODY, "max_cost": "5000"})
    assert reply.status == 402
    assert await read_all(world) == []


async def test_readers_are_woken_when_rows_are_there(world: World) -> None:
    with world.coordinator.signals.listen(UPDATES) as listener:
        await world.submit(**BODY)
        async with asyncio.timeout(5):
            while not await read_all(world):
                assert await listener.wait(2)


async def test_progress_alone_makes_no_row(world: World) -> None:
    name = await world.register()
    job = await world.submit(**BODY)
    await world.claim(job["job_id"])
    for progress in (1, 2, 3):
        body = {"miner_id": name, "progress": progress, "phase": "running"}
        reply = await world.call("POST", f"/v1/jobs/{job['job_id']}/heartbeat", "miner", body)
        assert reply.status == 200, reply
    assert list_stages(await read_all(world))[-2:] == [
        ("running", "claimed"),
        ("running", "running"),
    ]


async def test_old_updates_go_with_the_sweep(tmp_path: Path) -> None:
    async with open_world(tmp_path, update_retention=60.0) as world:
        await world.submit(**BODY)
        world.clock.advance(120)
        await world.submit(**BODY)
        await world.restart()
        async with asyncio.timeout(5):
            while len(await read_all(world)) > 1:  # noqa: ASYNC110 - the sweep tells nobody
                await asyncio.sleep(0.02)


async def find_account(world: World, name: str) -> int:
    principal = await world.coordinator.keys.find(world.people[name].key)
    assert principal is not None
    return principal.account_id


async def test_everybody_is_told_what_becomes_of_an_offer(world: World) -> None:
    name, job = await world.register(), await world.submit(**BODY)
    tag = bytes(32)
    offer = terms.compute_offer_id(world.people["miner"].address, tag)
    create = OfferCreate(
        idempotency_tag=tag,
        miner=name,
        service="llm_inference",
        billing=0,
        price=1_000_000,
        max_jobs=2,
        metadata=b"{}",
        expires_at=world.chain.get_head().time + 600_000,
    )
    accept = OfferAccept(bytes.fromhex(job["job_id"].removeprefix("job_")), offer)
    wallets = world.coordinator.wallets
    for who, payload in (("miner", create), ("client", accept), ("miner", OfferCancel(offer))):
        sent = await wallets.send(world.people[who].address, payload, record_nothing)
        verdict = await wallets.wait_final(sent, 5)
        assert verdict is not None and verdict.code == 0, payload
    rows = [row for row in await read_all(world) if row.type == "marketplace_update"]
    assert {(row.account_id, row.job) for row in rows} == {(PUBLIC, None)}
    said = [json.loads(row.data) for row in rows]
    assert {data["offer_id"] for data in said} == {f"offer_{offer.hex()}"}
    assert [(data["event"], data["price_base"], data["left"]) for data in said] == [
        ("created", "1000000", 2),
        ("accepted", "1000000", 1),
        ("cancelled", None, None),
    ]


async def test_what_was_told_last_is_how_every_job_stands(world: World) -> None:
    """Jobs end in every way, the process is killed in between, and none was changed in silence."""
    name = await world.register()
    jobs = [(await world.submit(**BODY))["job_id"] for _ in range(5)]
    await world.call("DELETE", f"/v1/jobs/{jobs[0]}", "client")
    for job_id in jobs[1:4]:
        assert (await world.claim(job_id)).status == 200
    path = f"/v1/jobs/{jobs[1]}"
    beat = {"miner_id": name, "progress": 30, "phase": "running"}
    await world.call("POST", f"{path}/heartbeat", "miner", beat)
    await world.call("POST", f"{path}/fail", "miner", {"miner_id": name, "reason_code": 18})
    await world.call("DELETE", f"/v1/jobs/{jobs[2]}", "client")
    result = {"miner_id": name, "result": {"text": "hello"}, "units": 3}
    await world.call("POST", f"/v1/jobs/{jobs[3]}/complete", "miner", result)
    await world.restart()
    world.pass_time(4_000)
    for job_id in jobs:
        await world.until(f"/v1/jobs/{job_id}", "client", lambda job: job["phase"] == "done")
    await compare(world, 5)
    await world.restart()
    await compare(world, 5)


async def compare(world: World, count: int) -> None:
    jobs = sql.get_table(JobRow).select()
    rows = await world.database.read(lambda c: sql.load(c, JobRow, jobs))
    told = {
        row.job: json.loads(row.data) for row in await read_all(world) if row.type == "job_update"
    }
    assert len(rows) == len(told) == count
    for row in rows:
        said = told[row.job_id]
        assert (said["status"], said["phase"], said["miner_id"]) == (
            row.status,
            row.phase,
            row.miner,
        )
        assert said["cancel_requested"] == (row.cancel_requested_ms is not None)
        assert (said["fault"], said["reason_code"]) == (row.fault, row.reason_code or None)
    assert {row.status for row in rows} == {"completed", "failed", "cancelled"}
