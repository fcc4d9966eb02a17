"""What is on its way to webhooks: from the log of updates into one queue for each, and out of it.

A delivery is written in the commit that moves the place in the log, so none is missed and none is
made twice; it stays until an answer of success, so it may arrive twice, under the same id.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from coordinator import sql, updates, webhooks, wire
from coordinator.settings import WebhookLimits
from coordinator.tables import DeliveryRow, WebhookPlaceRow, WebhookRow
from coordinator.update_data import BlockCreated
from coordinator.updates import PUBLIC, Update, UpdateType
from coordinator.webhooks import DELIVERIES, Active

TEST: Final = "webhook_test"
"""The type of a message that tells of nothing."""
PENDING: Final = "pending"
DELIVERED: Final = "delivered"
DEAD: Final = "dead"
PAGE: Final = 500
"""Rows of the log that are read at once."""
DELETE_BATCH: Final = 1_000


class Look(NamedTuple):
    """What stands in the log behind a place."""

    rows: list[Update]
    is_wanted: bool
    """Whether any webhook is told of any of it."""
    seq: int
    """The place behind all that was looked at."""


class Round(NamedTuple):
    """What a webhook's next attempts are."""

    webhook: WebhookRow
    due: list[DeliveryRow]
    next_ms: int | None
    """When the first of those that are not due will be; None when nothing else waits."""


def read_place(connection: Connection, height: int) -> WebhookPlaceRow:
    """Return how far webhooks were told; at the first start, all that there is so far."""
    row = sql.find(connection, WebhookPlaceRow, only=1)
    if row is None:
        row = WebhookPlaceRow(seq=updates.read_bounds(connection)[1], height=height)
        sql.insert(connection, row)
    return row


def store_place(connection: Connection, seq: int, height: int) -> None:
    """Note how far webhooks were told."""
    sql.update(connection, WebhookPlaceRow(seq=seq, height=height), seq=seq, height=height)


def look(connection: Connection, after: int) -> Look:
    """Return what the next part of the log holds; without webhooks nothing is looked at."""
    if not webhooks.has_active(connection):
        return Look([], False, updates.read_bounds(connection)[1])
    rows = updates.read(connection, after, PAGE)
    is_wanted = bool(_match(connection, rows))
    return Look(rows, is_wanted, rows[-1].seq if rows else after)


def fan_out(
    connection: Connection, rows: Sequence[Update], height: int, limits: WebhookLimits, now_ms: int
) -> set[int]:
    """Queue updates for whoever is told of them and note the place; return whose queues grew."""
    matched = _match(connection, rows)
    waiting = _count_waiting(connection, {webhook.row_id for webhook, _ in matched})
    full, made = set(), []
    for webhook, update in matched:
        if waiting[webhook.row_id] >= limits.pending:
            full.add(webhook.row_id)
            continue
        waiting[webhook.row_id] += 1
        body = _write_body(update.type, update.created_ms, update.data, update.seq)
        made.append(_make(webhook.row_id, update.type, body, update.created_ms, now_ms))
    _insert(connection, made)
    for row in sql.load_in(connection, WebhookRow, "row_id", full):
        webhooks.switch_off(connection, row, webhooks.OVERFLOW, now_ms)
    store_place(connection, rows[-1].seq, height)
    return {delivery["webhook_row_id"] for delivery in made}


def fan_out_block(
    connection: Connection, block: BlockCreated, time_ms: int, seq: int, now_ms: int
) -> set[int]:
    """Queue a block for whoever is told of blocks and waits for no other; note the place."""
    kind = UpdateType.BLOCK_CREATED
    is_waiting = (DELIVERIES.c.state == PENDING, DELIVERIES.c.type == kind.value)
    behind = connection.execute(sa.select(DELIVERIES.c.webhook_row_id).where(*is_waiting))
    passed_over = set(behind.scalars())
    body = _write_body(kind, time_ms, msgspec.json.encode(block).decode(), None)
    made = [
        _make(webhook.row_id, kind, body, time_ms, now_ms)
        for webhook in webhooks.list_active(connection, None)
        if kind in webhook.events and webhook.row_id not in passed_over
    ]
    _insert(connection, made)
    store_place(connection, seq, block.height)
    return {delivery["webhook_row_id"] for delivery in made}


def queue_test(
    connection: Connection, webhook: WebhookRow, key_id: int, data: msgspec.Struct, now_ms: int
) -> DeliveryRow:
    """Queue a message that tells of nothing, whether the webhook is on or off.

    From now on the webhook is this key's. One test waits at a time.
    """
    sql.update(connection, webhook, key_id=key_id)
    waiting = sql.find(
        connection, DeliveryRow, webhook_row_id=webhook.row_id, state=PENDING, type=TEST
    )
    if waiting is not None:
        return waiting
    body = _write_body(TEST, now_ms, msgspec.json.encode(data).decode(), None)
    assert webhook.row_id is not None
    delivery = DeliveryRow(**_make(webhook.row_id, TEST, body, now_ms, now_ms))
    delivery.row_id = sql.insert(connection, delivery)
    return delivery


def find_delivery(
    connection: Connection, webhook: WebhookRow, delivery_id: bytes
) -> DeliveryRow | None:
    """Return a delivery of a webhook."""
    return sql.find(connection, DeliveryRow, delivery_id=delivery_id, webhook_row_id=webhook.row_id)


def list_deliveries(
    connection: Connection,
    webhook: WebhookRow,
    state: str | None,
    limit: int,
    offset: int,
    before: int | None,
) -> tuple[list[DeliveryRow], int]:
    """Return a page of a webhook's deliveries, newest first, and how many there are."""
    conditions = [DELIVERIES.c.webhook_row_id == webhook.row_id]
    if state is not None:
        conditions.append(DELIVERIES.c.state == state)
    count = sa.select(sa.func.count()).select_from(DELIVERIES).where(*conditions)
    total = connection.execute(count).scalar_one()
    if before is not None:
        conditions.append(DELIVERIES.c.row_id < before)
    newest = DELIVERIES.select().where(*conditions).order_by(DELIVERIES.c.row_id.desc())
    return sql.load(connection, DeliveryRow, newest.limit(limit).offset(offset)), total


def redeliver(connection: Connection, delivery: DeliveryRow, now_ms: int) -> None:
    """Send a delivery once more, at once and with all its attempts before it."""
    values: dict[str, Any] = {"state": PENDING, "attempts": 0, "ended_ms": None}
    sql.update(connection, delivery, **values, queued_ms=now_ms, next_ms=now_ms)


def list_waiting(connection: Connection) -> set[int]:
    """Return the webhooks that something waits for."""
    waiting = sa.select(DELIVERIES.c.webhook_row_id).where(DELIVERIES.c.state == PENDING)
    return set(connection.execute(waiting.distinct()).scalars())


def load_round(
    connection: Connection, webhook_row_id: int, now_ms: int, at_once: int
) -> Round | None:
    """Return what is due for a webhook, oldest first; None when nothing waits for it."""
    webhook = sql.find(connection, WebhookRow, row_id=webhook_row_id)
    if webhook is None:
        return None
    # An address that fails is asked one thing at a time.
    count = 1 if webhook.failing_since_ms is not None else at_once
    statement = (
        DELIVERIES.select()
        .where(DELIVERIES.c.webhook_row_id == webhook_row_id, DELIVERIES.c.state == PENDING)
        .order_by(DELIVERIES.c.next_ms, DELIVERIES.c.row_id)
        .limit(count)
    )
    rows = sql.load(connection, DeliveryRow, statement)
    if not rows:
        return None
    due = [row for row in rows if row.next_ms <= now_ms]
    return Round(webhook, due, None if due else rows[0].next_ms)


def delete_old(connection: Connection, before_ms: int) -> int:
    """Delete a batch of deliveries that ended before a time; return how many."""
    ended = sa.select(DELIVERIES.c.row_id).where(DELIVERIES.c.ended_ms < before_ms)
    ids = list(connection.execute(ended.limit(DELETE_BATCH)).scalars())
    connection.execute(DELIVERIES.delete().where(DELIVERIES.c.row_id.in_(ids)))
    return len(ids)


def _match(connection: Connection, rows: Sequence[Update]) -> list[tuple[Active, Update]]:
    accounts = {row.account_id for row in rows}
    by_account: dict[int, list[Active]] = {}
    for webhook in webhooks.list_active(connection, None if PUBLIC in accounts else accounts):
        by_account.setdefault(webhook.account_id, []).append(webhook)
    by_account[PUBLIC] = [webhook for own in by_account.values() for webhook in own]
    return [
        (webhook, row)
        for row in rows
        for webhook in by_account.get(row.account_id, ())
        if row.seq > webhook.since_seq and row.type in webhook.events
    ]


def _count_waiting(connection: Connection, row_ids: Iterable[int]) -> Counter[int]:
    found: Counter[int] = Counter()
    for some in sql.split(row_ids):
        statement = (
            sa.select(DELIVERIES.c.webhook_row_id, sa.func.count())
            .where(DELIVERIES.c.webhook_row_id.in_(some), DELIVERIES.c.state == PENDING)
            .group_by(DELIVERIES.c.webhook_row_id)
        )
        found.update({row[0]: row[1] for row in connection.execute(statement)})
    return found


def _make(webhook_row_id: int, kind: str, body: str, time_ms: int, now_ms: int) -> dict[str, Any]:
    return {
        "delivery_id": secrets.token_bytes(webhooks.ID_BYTES),
        "webhook_row_id": webhook_row_id,
        "type": str(kind),
        "body": body,
        "state": PENDING,
        "attempts": 0,
        "created_ms": time_ms,
        "queued_ms": now_ms,
        "next_ms": now_ms,
    }


def _insert(connection: Connection, made: Sequence[dict[str, Any]]) -> None:
    # All at once: an update for everybody has as many rows as there are webhooks.
    if made:
        connection.execute(DELIVERIES.insert(), made)


def _write_body(kind: str, time_ms: int, data: str, seq: int | None) -> str:
    members: dict[str, Any] = {"type": str(kind), "timestamp": wire.format_time(time_ms)}
    if seq is not None:
        members["seq"] = seq
    return msgspec.json.encode({**members, "data": msgspec.Raw(data.encode())}).decode()
