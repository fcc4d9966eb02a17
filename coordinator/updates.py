"""The log of what happened: one durable, ordered list that everybody who tells of it reads.

A row is written in the database transaction of the change that it tells of: whoever reads the log
misses nothing and hears of nothing that did not happen. A reader keeps its own place in it and is
woken by `signals.UPDATES`; WebSockets and webhooks are two of them.

`seq` is the time in microseconds, or the last one plus one where that is later. So it grows with
the order of the commits, fits a JavaScript number, and is never used again: not when old rows are
deleted, and not when the database is brought back from a copy.
"""

from collections.abc import Sequence
from enum import StrEnum
from heapq import merge
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from coordinator import sql
from coordinator.tables import UpdateRow

UPDATES = sql.get_table(UpdateRow)
PUBLIC: Final = 0
"""The account of what everybody may hear."""
MAX_KEPT: Final = 1_000_000
"""Rows, whatever their age; about 400 MB."""
BATCH: Final = 2_000
_MICROSECONDS: Final = 1_000


class UpdateType(StrEnum):
    """What an update tells of."""

    JOB_UPDATE = "job_update"
    RECEIPT_CREATED = "receipt_created"
    MARKETPLACE_UPDATE = "marketplace_update"
    BLOCK_CREATED = "block_created"
    """Not in the log: the chain's blocks are one already."""


class Update(NamedTuple):
    """One row. `data` is JSON; `job` the 32 bytes of the job that it is about, if one."""

    seq: int
    account_id: int
    type: str
    data: str
    job: bytes | None
    created_ms: int


_LAST: Final = sa.select(sa.func.coalesce(sa.func.max(UPDATES.c.seq), 0)).scalar_subquery()
_INSERT: Final = (
    UPDATES.insert()
    .inline()
    .values(seq=sa.func.max(_LAST + 1, sa.bindparam("now_ms", type_=sa.BigInteger) * _MICROSECONDS))
)


def append(
    connection: Connection,
    kind: UpdateType,
    account_id: int,
    data: msgspec.Struct,
    now_ms: int,
    job: bytes | None = None,
) -> None:
    """Write down what happened, for the account that it belongs to or for `PUBLIC`.

    Never a prompt, an input or a result. Announce `signals.UPDATES` after the commit.
    """
    values = {
        "now_ms": now_ms,
        "account_id": account_id,
        "type": kind.value,
        "data": msgspec.json.encode(data).decode(),
        "job": job,
        "created_ms": now_ms,
    }
    connection.execute(_INSERT, values)


def read(connection: Connection, after: int, limit: int) -> list[Update]:
    """Return what everybody's accounts and the public were told behind a seq, in order."""
    statement = UPDATES.select().where(UPDATES.c.seq > after).order_by(UPDATES.c.seq).limit(limit)
    return _to_updates(connection.execute(statement).mappings().all())


def read_account(connection: Connection, account_id: int, after: int, limit: int) -> list[Update]:
    """Return what an account may hear behind a seq, in order."""
    # Two walks along the index: one with OR would look at every row of the log.
    parts = []
    for owner in (PUBLIC, account_id):
        statement = (
            UPDATES.select()
            .where(UPDATES.c.account_id == owner, UPDATES.c.seq > after)
            .order_by(UPDATES.c.seq)
            .limit(limit)
        )
        parts.append(_to_updates(connection.execute(statement).mappings().all()))
    return list(merge(*parts, key=attrgetter("seq")))[:limit]


def read_bounds(connection: Connection) -> tuple[int, int]:
    """Return the first and the last seq that are kept; zeros for an empty log."""
    row = connection.execute(
        sa.select(
            sa.func.coalesce(sa.func.min(UPDATES.c.seq), 0),
            sa.func.coalesce(sa.func.max(UPDATES.c.seq), 0),
        )
    ).one()
    return int(row[0]), int(row[1])


def delete_old(connection: Connection, before_ms: int, kept: int = MAX_KEPT) -> int:
    """Delete a batch of what is older than a time or behind the newest `kept`; return how many.

    The newest row stays: it is where the next seq begins.
    """
    newest = sa.select(UPDATES.c.seq).order_by(UPDATES.c.seq.desc())
    surplus = connection.execute(newest.offset(kept).limit(1)).scalar() or 0
    last = connection.execute(newest.limit(1)).scalar() or 0
    # Rows lie in the order of their seqs, and so nearly in that of their times: the oldest are in
    # front, and the index needs no second one.
    oldest = (
        sa.select(UPDATES.c.seq)
        .where(
            UPDATES.c.seq < last,
            sa.or_(UPDATES.c.seq <= surplus, UPDATES.c.seq < before_ms * _MICROSECONDS),
        )
        .order_by(UPDATES.c.seq)
        .limit(BATCH)
    )
    ids = list(connection.execute(oldest).scalars())
    if ids:
        connection.execute(UPDATES.delete().where(UPDATES.c.seq <= ids[-1]))
    return len(ids)


def _to_updates(rows: Sequence[RowMapping]) -> list[Update]:
    values: list[Any] = [[row[name] for name in Update._fields] for row in rows]
    return [Update(*each) for each in values]
