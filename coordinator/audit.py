"""The audit log: who did what to which object, and who was refused. Never what was in a request.

Lines wait in memory for a moment and are written together, so that a request costs no commit of its
own: a crash loses what the last moment held. They are never dropped otherwise: when too many wait,
whoever comes next waits for the database.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from coordinator import sql
from coordinator.ports import Storage
from coordinator.tables import AccountRow, AuditRow

AUDIT: Final = sql.get_table(AuditRow)
_ACCOUNTS: Final = sql.get_table(AccountRow)
FLUSH_SECONDS: Final = 0.25
MAX_WAITING: Final = 5_000
"""Lines in memory."""
MAX_KEPT: Final = 1_000_000
"""Lines of accounts, whatever their age; about 300 MB."""
MAX_KEPT_UNKNOWN: Final = 100_000
"""Lines of those who showed no key: they can push out each other's, and nobody else's."""
DELETE_BATCH: Final = 2_000


class Line(NamedTuple):
    """One request. `objects` names what it was about: ids by the member that names them."""

    time_ms: int
    account_id: int | None
    key_id: int | None
    role: str | None
    action: str
    objects: dict[str, str]
    status: int
    error_code: str | None
    request_id: str
    remote: str | None


class Found(NamedTuple):
    """A line as it is read; `account` is the address."""

    row_id: int
    line: Line
    account: bytes | None


class AuditLog:
    """The one way in. `run` beside the requests, `flush` at the end."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._lock = asyncio.Lock()

    def note(self, line: Line) -> None:
        """Write a line soon."""
        values = line._asdict()
        values["objects"] = msgspec.json.encode(line.objects).decode()
        self._waiting.append(values)
        self._news.set()

    async def make_room(self) -> None:
        """Wait for the database while too many lines wait for it."""
        if len(self._waiting) >= MAX_WAITING:
            await self.flush()

    async def run(self) -> None:
        """Write what waits, at short intervals. Until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits now."""
        async with self._lock:
            lines, self._waiting = self._waiting, []
            self._news.clear()
            if not lines:
                return
            try:
                await self._storage.write(lambda c: c.execute(AUDIT.insert(), lines).rowcount)
            except BaseException:
                self._waiting = lines + self._waiting
                raise


def list_lines(
    connection: Connection,
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
    offset: int,
    before: int | None,
) -> tuple[list[Found], int]:
    """Return a page of lines, newest first, and how many the conditions take."""
    joined = AUDIT.outerjoin(_ACCOUNTS, _ACCOUNTS.c.account_id == AUDIT.c.account_id)
    count = sa.select(sa.func.count()).select_from(joined).where(*conditions)
    total = connection.execute(count).scalar_one()
    statement = sa.select(AUDIT, _ACCOUNTS.c.address).select_from(joined).where(*conditions)
    if before is not None:
        statement = statement.where(AUDIT.c.row_id < before)
    newest = statement.order_by(AUDIT.c.row_id.desc()).limit(limit).offset(offset)
    return [_read(row) for row in connection.execute(newest).mappings()], total


def match_account(address: bytes) -> ColumnElement[bool]:
    """Return the condition that a line is of the account with this address."""
    own = sa.select(_ACCOUNTS.c.account_id).where(_ACCOUNTS.c.address == address)
    return AUDIT.c.account_id.in_(own)


def match_object(text: str) -> ColumnElement[bool]:
    """Return the condition that a line is about the object with this id."""
    quoted = msgspec.json.encode(text).decode()
    return sa.func.instr(AUDIT.c.objects, quoted) > 0


def delete_old(
    connection: Connection,
    before_ms: int,
    kept: int = MAX_KEPT,
    kept_unknown: int = MAX_KEPT_UNKNOWN,
) -> int:
    """Delete a batch of what is older than a time or more than is kept; return how many."""
    unknown = AUDIT.c.account_id.is_(None)
    ids: list[int] = []
    for is_kind, most in ((unknown, kept_unknown), (sa.not_(unknown), kept)):
        newest = sa.select(AUDIT.c.row_id).where(is_kind).order_by(AUDIT.c.row_id.desc())
        surplus = connection.execute(newest.offset(most).limit(1)).scalar() or 0
        is_old = sa.or_(AUDIT.c.row_id <= surplus, AUDIT.c.time_ms < before_ms)
        oldest = sa.select(AUDIT.c.row_id).where(is_kind, is_old).order_by(AUDIT.c.row_id)
        ids += connection.execute(oldest.limit(DELETE_BATCH - len(ids))).scalars()
    for some in sql.split(ids):
        connection.execute(AUDIT.delete().where(AUDIT.c.row_id.in_(some)))
    return len(ids)


def _read(row: Any) -> Found:
    values = {name: row[name] for name in Line._fields}
    values["objects"] = msgspec.json.decode(row["objects"], type=dict[str, str])
    return Found(row["row_id"], Line(**values), row["address"])
