from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection

from coordinator import updates, webhook_queue, webhooks
from coordinator.principals import Principal, Role
from coordinator.settings import WebhookLimits
from coordinator.tables import WebhookRow
from coordinator.update_data import BlockCreated
from coordinator.updates import PUBLIC, UpdateType
from coordinator.webhook_outcomes import Outcome, note_outcome
from tests.support.world import World

NOW = 1_790_000_000_000
LIMITS = WebhookLimits(attempts=2)
BLOCK = BlockCreated(7, "a" * 64, "b" * 64, "c" * 40, 1, "2026-09-21T14:13:20Z")


class Said(msgspec.Struct, frozen=True):
    text: str = "x"


def add(connection: Connection, account: int, *events: UpdateType) -> WebhookRow:
    owner = Principal(account, Role.CLIENT, account, bytes(20), True)
    row = webhooks.add(connection, owner, "https://x.example/", events, "", b"sealed", 20, NOW)
    assert row is not None
    return row


def tell(connection: Connection, account: int, kind: UpdateType) -> int:
    updates.append(connection, kind, account, Said(), NOW)
    return updates.read_bounds(connection)[1]


def pass_on(connection: Connection, after: int, limits: WebhookLimits = LIMITS) -> set[int]:
    found = webhook_queue.look(connection, after)
    return webhook_queue.fan_out(connection, found.rows, 1, limits, NOW) if found.rows else set()


async def write(world: World, work: Any) -> Any:
    await world.stop()  # nothing else writes
    return await world.database.write(work)


async def test_each_is_told_of_its_own_and_of_what_is_public(world: World) -> None:
    def work(connection: Connection) -> None:
        webhook_queue.read_place(connection, 0)
        start = tell(connection, 1, UpdateType.JOB_UPDATE)
        mine = add(connection, 1, UpdateType.JOB_UPDATE, UpdateType.MARKETPLACE_UPDATE)
        theirs = add(connection, 2, UpdateType.MARKETPLACE_UPDATE)
        tell(connection, 1, UpdateType.JOB_UPDATE)
        tell(connection, 2, UpdateType.JOB_UPDATE)
        tell(connection, PUBLIC, UpdateType.MARKETPLACE_UPDATE)
        last = tell(connection, 1, UpdateType.RECEIPT_CREATED)
        assert pass_on(connection, start - 1) == {mine.row_id, theirs.row_id}
        for row, kinds in (
            (mine, ["marketplace_update", "job_update"]),
            (theirs, ["marketplace_update"]),
        ):
            found, total = webhook_queue.list_deliveries(connection, row, None, 10, 0, None)
            assert ([each.type for each in found], total) == (kinds, len(kinds))
        place = webhook_queue.read_place(connection, 0)
        assert (place.seq, place.height) == (last, 1)
        assert webhook_queue.look(connection, last) == ([], False, last)

    await write(world, work)


async def test_without_webhooks_the_log_is_passed_over(world: World) -> None:
    def work(connection: Connection) -> None:
        last = tell(connection, 1, UpdateType.JOB_UPDATE)
        assert webhook_queue.look(connection, 0) == ([], False, last)
        add(connection, 2, UpdateType.JOB_UPDATE)
        assert not webhook_queue.look(connection, 0).is_wanted, "another's alone"

    await write(world, work)


async def test_a_block_waits_alone(world: World) -> None:
    def work(connection: Connection) -> None:
        webhook_queue.read_place(connection, 0)
        first = add(connection, 1, UpdateType.BLOCK_CREATED)
        add(connection, 1, UpdateType.JOB_UPDATE)
        tell_block = partial(
            webhook_queue.fan_out_block, connection, BLOCK, time_ms=NOW, seq=5, now_ms=NOW
        )
        assert tell_block() == {first.row_id}
        assert tell_block() == set()
        second = add(connection, 2, UpdateType.BLOCK_CREATED)
        assert tell_block() == {second.row_id}
        assert webhook_queue.list_waiting(connection) == {first.row_id, second.row_id}

    await write(world, work)


async def test_what_ended_long_ago_is_deleted_and_what_waits_is_not(world: World) -> None:
    def work(connection: Connection) -> None:
        webhook_queue.read_place(connection, 0)
        row = add(connection, 1, UpdateType.JOB_UPDATE)
        assert row.row_id is not None
        for _ in range(3):
            last = tell(connection, 1, UpdateType.JOB_UPDATE)
        pass_on(connection, row.since_seq)
        assert last > row.since_seq
        due = webhook_queue.load_round(connection, row.row_id, NOW, 4)
        assert due is not None
        first, second, third = (each.row_id or 0 for each in due.due)
        good, bad = Outcome(200, None), Outcome(500, "BAD_STATUS")
        note_outcome(connection, first, good, LIMITS, NOW, 0)
        note_outcome(connection, second, bad, LIMITS, NOW, 0)
        note_outcome(connection, second, bad, LIMITS, NOW + 1, 0)
        assert webhook_queue.delete_old(connection, NOW) == 0
        assert webhook_queue.delete_old(connection, NOW + 2) == 2
        rest, _ = webhook_queue.list_deliveries(connection, row, None, 10, 0, None)
        assert [each.row_id for each in rest] == [third]
        note_outcome(connection, first, good, LIMITS, NOW, 0)  # deleted meanwhile

    await write(world, work)


async def test_an_old_delivery_that_fails_is_given_up_before_its_attempts_are(
    world: World,
) -> None:
    def work(connection: Connection) -> None:
        webhook_queue.read_place(connection, 0)
        row = add(connection, 1, UpdateType.JOB_UPDATE)
        tell(connection, 1, UpdateType.JOB_UPDATE)
        pass_on(connection, row.since_seq)
        due = webhook_queue.load_round(connection, row.row_id or 0, NOW, 4)
        assert due is not None
        later = NOW + int(LIMITS.age_seconds * 1000) + 1
        bad = Outcome(None, "UNREACHABLE")
        note_outcome(connection, due.due[0].row_id or 0, bad, LIMITS, later, 0)
        (dead,), _ = webhook_queue.list_deliveries(connection, row, "dead", 10, 0, None)
        assert (dead.attempts, dead.last_error) == (1, "UNREACHABLE")

    await write(world, work)
