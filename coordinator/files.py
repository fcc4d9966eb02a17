"""Uploaded files, in pieces, inside the encrypted database.

A file goes in two steps: one commit takes it from everybody's sight, and its pieces follow a few at
a time, since the chain's blocks wait for the same writer.
"""

import secrets
from collections.abc import AsyncIterator
from functools import partial
from hashlib import sha256
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from coordinator import sql, wire
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JOBS
from coordinator.phases import Status
from coordinator.ports import Storage
from coordinator.principals import Principal
from coordinator.tables import FilePartRow, FileRow, JobFileRow

PART_BYTES: Final = 256 * 1024
FILE_OVERHEAD: Final = 4 * 1024
"""What a file counts beside its bytes, so that empty ones end as well."""
MAX_TEXT_BYTES: Final = 2**20
"""The largest file that a job takes as its prompt."""
ERASED_AT_ONCE: Final = 16
"""Pieces that one commit erases: some tens of milliseconds of the database's one writer."""

_FILES: Final = sql.get_table(FileRow)
_PARTS: Final = sql.get_table(FilePartRow)
_USES: Final = sql.get_table(JobFileRow)


class JobFile(NamedTuple):
    """What a job's content says of a file that the job names or made."""

    row_id: int
    sha256: str
    size: int
    media_type: str

    def describe(self) -> dict[str, Any]:
        """Return the part that the job's terms bind."""
        return {"sha256": self.sha256, "size": self.size, "media_type": self.media_type}


class FileTooLarge(Exception):
    """An upload went over the limit; nothing of it is kept."""


class StorageFull(Exception):
    """The account's files would come to too much; nothing of the upload is kept."""


async def save_file(
    coordinator: Coordinator,
    account_id: int,
    name: str,
    content_type: str,
    chunks: AsyncIterator[bytes],
    *,
    is_output: bool = False,
) -> FileRow:
    """Store what comes piece by piece and return its row. Raises `FileTooLarge`, `StorageFull`."""
    row = FileRow(
        file_id=secrets.token_bytes(32),
        account_id=account_id,
        is_output=is_output,
        name=name,
        content_type=content_type,
        created_ms=coordinator.get_now(),
    )
    storage = coordinator.storage
    row.row_id = await storage.write(lambda connection: sql.insert(connection, row))
    digest, size, part, waiting = sha256(), 0, 0, bytearray()
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > coordinator.settings.maximum_file_bytes:
                raise FileTooLarge
            digest.update(chunk)
            waiting += chunk
            while len(waiting) >= PART_BYTES:
                await _save_part(coordinator, row, part, bytes(waiting[:PART_BYTES]))
                del waiting[:PART_BYTES]
                part += 1
        await _save_part(coordinator, row, part, bytes(waiting))
        await storage.write(
            lambda connection: sql.update(connection, row, sha256=digest.digest(), is_complete=True)
        )
    except BaseException:
        await erase(storage, row)
        raise
    return row


async def _save_part(coordinator: Coordinator, row: FileRow, part: int, data: bytes) -> None:
    assert row.row_id is not None
    piece = FilePartRow(file_row_id=row.row_id, part=part, data=data)
    limit = coordinator.settings.maximum_stored_bytes

    def write(connection: Connection) -> None:
        sql.insert(connection, piece)
        sql.update(connection, row, size=row.size + len(data))
        if _measure_account(connection, row.account_id) > limit:
            raise StorageFull

    await coordinator.storage.write(write)


def _measure_account(connection: Connection, account_id: int) -> int:
    """Return the bytes of an account's files, those on their way here included."""
    size = sa.func.coalesce(sa.func.sum(_FILES.c.size), 0)
    statement = sa.select(size + sa.func.count() * FILE_OVERHEAD)
    own = statement.where(_FILES.c.account_id == account_id, _FILES.c.is_output.is_(False))
    total: int = connection.execute(own).scalar_one()
    return total


async def find_file(coordinator: Coordinator, principal: Principal, file_id: str) -> FileRow | None:
    """Return an account's own whole file."""
    key = wire.parse_id(file_id, wire.FILE_PREFIX)
    if key is None:
        return None
    statement = _FILES.select().where(_FILES.c.file_id == key, *match_own(principal.account_id))
    rows = await coordinator.storage.read(
        lambda connection: sql.load(connection, FileRow, statement)
    )
    return rows[0] if rows else None


def match_own(account_id: int) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a file is an account's to read: whole, and paid where it is a
    result."""
    paid = sa.select(_USES.c.file_row_id).join(JOBS, JOBS.c.row_id == _USES.c.job_row_id)
    paid = paid.where(
        _USES.c.file_row_id == _FILES.c.row_id, JOBS.c.status == Status.COMPLETED.value
    )
    return (
        _FILES.c.account_id == account_id,
        _FILES.c.is_complete.is_(True),
        sa.or_(_FILES.c.is_output.is_(False), paid.exists()),
    )


async def iterate_bytes(
    coordinator: Coordinator, row: FileRow, start: int, end: int
) -> AsyncIterator[bytes]:
    """Yield the bytes of a file from `start` up to `end`."""
    for part in range(start // PART_BYTES, -(-end // PART_BYTES)):
        piece = await coordinator.storage.read(
            lambda connection, part=part: sql.find(  # type: ignore[misc]
                connection, FilePartRow, file_row_id=row.row_id, part=part
            )
        )
        if piece is None:
            return
        base = part * PART_BYTES
        yield piece.data[max(0, start - base) : end - base]


async def read_text_file(
    coordinator: Coordinator, principal: Principal, file_id: str
) -> str | None:
    """Return a file's text, or None for no such file, one that is too large or not UTF-8."""
    row = await find_file(coordinator, principal, file_id)
    if row is None or row.size > MAX_TEXT_BYTES:
        return None
    pieces = [piece async for piece in iterate_bytes(coordinator, row, 0, row.size)]
    try:
        return b"".join(pieces).decode()
    except UnicodeDecodeError:
        return None


def describe_row(row: FileRow) -> JobFile:
    """Return what a job's content says of a file."""
    assert row.row_id is not None
    return JobFile(row.row_id, row.sha256.hex(), row.size, row.content_type)


def hide(connection: Connection, row_ids: list[int]) -> None:
    """Take files from everybody's sight, and from the jobs that named them: they are to go."""
    for some in sql.split(row_ids):
        connection.execute(_USES.delete().where(_USES.c.file_row_id.in_(some)))
        hidden = _FILES.update().where(_FILES.c.row_id.in_(some)).values(is_complete=False)
        connection.execute(hidden)


async def discard(storage: Storage, row: FileRow) -> None:
    """Hide a file, and erase it."""
    assert row.row_id is not None
    await storage.write(partial(hide, row_ids=[row.row_id]))
    await erase(storage, row)


async def erase(storage: Storage, row: FileRow) -> None:
    """Erase a file that is hidden, or never was whole. What a crash leaves, the sweep erases."""
    assert row.row_id is not None
    while await storage.write(partial(_erase_some, row_id=row.row_id)):
        pass


def _erase_some(connection: Connection, row_id: int) -> bool:
    """Erase the next pieces, and the file behind the last one; return whether there are more."""
    own = _PARTS.c.file_row_id == row_id
    some = sa.select(_PARTS.c.part).where(own).order_by(_PARTS.c.part).limit(ERASED_AT_ONCE)
    parts = list(connection.execute(some).scalars())
    connection.execute(_PARTS.delete().where(own, _PARTS.c.part.in_(parts)))
    has_more = len(parts) == ERASED_AT_ONCE
    if not has_more:
        connection.execute(_FILES.delete().where(_FILES.c.row_id == row_id))
    return has_more
