"""Webhooks in the database: made, looked up, given new secrets, switched off and on, deleted.

A webhook belongs to an account and ends with the key that asked for it: whoever revokes a key that
was stolen also silences what the thief had set up with it.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from coordinator import sql, updates
from coordinator.principals import Principal
from coordinator.tables import DeliveryRow, WebhookRow
from coordinator.updates import UpdateType

WEBHOOKS = sql.get_table(WebhookRow)
DELIVERIES = sql.get_table(DeliveryRow)
ID_BYTES: Final = 32

GONE: Final = "gone"
"""The address answered 410."""
FAILING: Final = "failing"
"""Nothing arrived for too long."""
OVERFLOW: Final = "overflow"
"""Too much waited to be delivered."""
KEY_REVOKED: Final = "key_revoked"


class Active(NamedTuple):
    """Of a webhook that is switched on, what decides whether it is told of an update."""

    row_id: int
    account_id: int
    events: frozenset[str]
    since_seq: int


def add(
    connection: Connection,
    owner: Principal,
    url: str,
    events: Iterable[UpdateType],
    description: str,
    sealed_secret: bytes,
    limit: int,
    now_ms: int,
) -> WebhookRow | None:
    """Return a new webhook, told of what happens from now on; None over the account's limit."""
    own = WEBHOOKS.c.account_id == owner.account_id
    count = connection.execute(sa.select(sa.func.count()).select_from(WEBHOOKS).where(own))
    if count.scalar_one() >= limit:
        return None
    row = WebhookRow(
        webhook_id=secrets.token_bytes(ID_BYTES),
        account_id=owner.account_id,
        key_id=owner.key_id,
        url=url,
        events=" ".join(events),
        description=description,
        sealed_secret=sealed_secret,
        created_ms=now_ms,
        since_seq=_read_newest(connection),
    )
    row.row_id = sql.insert(connection, row)
    return row


def find_own(connection: Connection, account_id: int, webhook_id: bytes) -> WebhookRow | None:
    """Return an account's webhook; another's is as absent."""
    return sql.find(connection, WebhookRow, account_id=account_id, webhook_id=webhook_id)


def list_own(
    connection: Connection, account_id: int, limit: int, offset: int, before: int | None
) -> tuple[list[WebhookRow], int]:
    """Return a page of an account's webhooks, newest first, and how many there are."""
    own = WEBHOOKS.c.account_id == account_id
    total = connection.execute(sa.select(sa.func.count()).select_from(WEBHOOKS).where(own))
    statement = WEBHOOKS.select().where(own)
    if before is not None:
        statement = statement.where(WEBHOOKS.c.row_id < before)
    newest = statement.order_by(WEBHOOKS.c.row_id.desc()).limit(limit).offset(offset)
    return sql.load(connection, WebhookRow, newest), total.scalar_one()


def list_active(connection: Connection, account_ids: Iterable[int] | None) -> list[Active]:
    """Return the webhooks that are switched on, of these accounts or (None) of all."""
    statement = sa.select(
        WEBHOOKS.c.row_id, WEBHOOKS.c.account_id, WEBHOOKS.c.events, WEBHOOKS.c.since_seq
    ).where(WEBHOOKS.c.disabled_ms.is_(None))
    if account_ids is None:
        return [_read_active(row) for row in connection.execute(statement)]
    return [
        _read_active(row)
        for some in sql.split(account_ids)
        for row in connection.execute(statement.where(WEBHOOKS.c.account_id.in_(some)))
    ]


def has_active(connection: Connection, kind: UpdateType | None = None) -> bool:
    """Tell whether any webhook is switched on, or any that is told of a kind."""
    statement = sa.select(WEBHOOKS.c.row_id).where(WEBHOOKS.c.disabled_ms.is_(None))
    if kind is not None:
        statement = statement.where(WEBHOOKS.c.events.contains(kind.value))
    return connection.execute(statement.limit(1)).first() is not None


def rotate(connection: Connection, row: WebhookRow, sealed_secret: bytes, until_ms: int) -> None:
    """Give a webhook a new secret; the one before signs beside it until a time."""
    sql.update(
        connection,
        row,
        sealed_old_secret=row.sealed_secret,
        sealed_secret=sealed_secret,
        old_until_ms=until_ms,
    )


def list_signers(row: WebhookRow, now_ms: int) -> list[bytes]:
    """Return the sealed secrets that sign at a time, the newest first."""
    old = row.sealed_old_secret
    is_old_valid = old is not None and now_ms < (row.old_until_ms or 0)
    return [row.sealed_secret, old] if old is not None and is_old_valid else [row.sealed_secret]


def switch_off(connection: Connection, row: WebhookRow, reason: str, now_ms: int) -> None:
    """Tell a webhook nothing more; what still waited for it is given up, and kept."""
    if row.disabled_ms is None:
        sql.update(connection, row, disabled_ms=now_ms, disabled_reason=reason)
    waiting = (DELIVERIES.c.webhook_row_id == row.row_id, DELIVERIES.c.state == "pending")
    connection.execute(DELIVERIES.update().where(*waiting).values(state="dead", ended_ms=now_ms))


def switch_on(connection: Connection, row: WebhookRow) -> None:
    """Tell a webhook what happens from now on."""
    sql.update(
        connection,
        row,
        disabled_ms=None,
        disabled_reason=None,
        failing_since_ms=None,
        since_seq=_read_newest(connection),
    )


def end_with_key(connection: Connection, key_id: int, now_ms: int) -> None:
    """Switch off the webhooks of a key that is revoked."""
    statement = WEBHOOKS.select().where(WEBHOOKS.c.key_id == key_id)
    for row in sql.load(connection, WebhookRow, statement):
        switch_off(connection, row, KEY_REVOKED, now_ms)


def delete(connection: Connection, row: WebhookRow) -> None:
    """Delete a webhook with its deliveries."""
    connection.execute(DELIVERIES.delete().where(DELIVERIES.c.webhook_row_id == row.row_id))
    connection.execute(WEBHOOKS.delete().where(WEBHOOKS.c.row_id == row.row_id))


def read_events(row: WebhookRow) -> Sequence[str]:
    """Return the types of updates that a webhook is told of."""
    return row.events.split()


def _read_active(row: Sequence[Any]) -> Active:
    return Active(row[0], row[1], frozenset(row[2].split()), row[3])


def _read_newest(connection: Connection) -> int:
    return updates.read_bounds(connection)[1]
