"""`Idempotency-Key`: the same key and body get the stored answer, another body is refused.

Rows are durable. A row without an answer belongs to a request that runs in this process, or to one
that a crash ended: at start those are deleted, and the retry runs again, which the job's id makes
safe.
"""

import json
import re
from hashlib import sha256
from typing import Final

from aiohttp import web
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from coordinator import sql
from coordinator.http.problems import Problem
from coordinator.ports import Storage
from coordinator.principals import Principal
from coordinator.tables import IdempotencyRow

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_KEPT: Final = ("Content-Type", "Location", "AITBC-Job-Id", "AITBC-Receipt-Id")
"""Headers of an answer that belong to what it says."""
_TABLE: Final = sql.get_table(IdempotencyRow)


def check_key(key: str) -> str:
    """Return a well-formed key. Raises `Problem(400)`."""
    if _KEY.fullmatch(key) is None:
        raise Problem(400, "an Idempotency-Key is 1 to 255 visible ASCII characters")
    return key


async def begin(
    storage: Storage, principal: Principal, route: str, key: str, body: bytes, now_ms: int
) -> IdempotencyRow:
    """Return the key's row: with an answer to repeat, or a new one that runs from now on.

    Raises `Problem`: 409 while the first request runs, 422 for another body.
    """
    row = IdempotencyRow(
        account_id=principal.account_id,
        route=route,
        key_hash=sha256(key.encode()).digest(),
        request_hash=sha256(body).digest(),
        created_ms=now_ms,
    )

    def write(connection: Connection) -> IdempotencyRow | None:
        known = sql.find(
            connection,
            IdempotencyRow,
            account_id=row.account_id,
            route=row.route,
            key_hash=row.key_hash,
        )
        if known is None:
            row.row_id = sql.insert(connection, row)
        return known

    try:
        known = await storage.write(write)
    except IntegrityError:
        raise _still_running() from None
    if known is None:
        return row
    if known.request_hash != row.request_hash:
        raise Problem(
            422, "this Idempotency-Key was used with another body", "IDEMPOTENCY_KEY_REUSED"
        )
    if known.status is None:
        raise _still_running()
    return known


async def finish(storage: Storage, row: IdempotencyRow, response: web.Response) -> None:
    """Store the answer of a request that succeeded."""
    assert isinstance(response.body, bytes | None)
    kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
    values = {
        "status": response.status,
        "headers": json.dumps(kept),
        "body": response.body or b"",
    }
    await storage.write(lambda connection: sql.update(connection, row, **values))


def repeat(row: IdempotencyRow) -> web.Response:
    """Return the stored answer."""
    assert row.status is not None
    headers = {**json.loads(row.headers), "Idempotent-Replayed": "true"}
    return web.Response(status=row.status, body=row.body, headers=headers)


async def forget(storage: Storage, row: IdempotencyRow) -> None:
    """Free the key of a request that failed: it may be tried again."""
    statement = _TABLE.delete().where(_TABLE.c.row_id == row.row_id)
    await storage.write(lambda connection: connection.execute(statement).rowcount)


def delete_running(connection: Connection) -> None:
    """Delete the rows of requests that a crash ended. For start-up."""
    connection.execute(_TABLE.delete().where(_TABLE.c.status.is_(None)))


def delete_old(connection: Connection, before_ms: int) -> None:
    """Delete answers older than the retention."""
    connection.execute(_TABLE.delete().where(_TABLE.c.created_ms < before_ms))


def _still_running() -> Problem:
    return Problem(
        409,
        "a request with this Idempotency-Key is still running",
        "IDEMPOTENT_REQUEST_RUNNING",
        headers={"Retry-After": "1"},
    )
