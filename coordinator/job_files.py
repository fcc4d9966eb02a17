"""The files of a job: sources that it names, and results that its miner stored."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from coordinator import files, job_rows, sql, wire
from coordinator.coordinator import Coordinator
from coordinator.files import JobFile
from coordinator.job_rows import JOBS, JobRecord
from coordinator.phases import ENDED
from coordinator.principals import Principal
from coordinator.tables import FileRow, JobFileRow, JobRow

MAX_OUTPUTS: Final = 64
"""Files that one job may have as its result."""
_FILES: Final = sql.get_table(FileRow)
_USES: Final = sql.get_table(JobFileRow)
_ENDED: Final = tuple(status.value for status in ENDED)


class TooManyOutputs(Exception):
    """The job has as many result files as one may have, or as many bytes."""


class UnknownOutput(Exception):
    """A result names a file that was not stored under this job, or differs from it."""


async def find_sources(
    coordinator: Coordinator, principal: Principal, sources: Mapping[str, str]
) -> tuple[dict[str, JobFile], str | None]:
    """Return the account's own files by id, and the member that names one that is not there."""
    found: dict[str, JobFile] = {}
    for member, source in sources.items():
        if not source.startswith(wire.FILE_PREFIX):
            continue
        row = await files.find_file(coordinator, principal, source)
        if row is None:
            return found, member
        found[source] = files.describe_row(row)
    return found, None


def note_uses(connection: Connection, job_row_id: int, file_row_ids: tuple[int, ...]) -> None:
    """Note which files a new job names."""
    for row_id in file_row_ids:
        sql.insert(connection, JobFileRow(job_row_id=job_row_id, file_row_id=row_id))


def match_in_use() -> ColumnElement[bool]:
    """Return the condition that a job that has not ended names a file."""
    live = sa.select(_USES.c.file_row_id).join(JOBS, JOBS.c.row_id == _USES.c.job_row_id)
    live = live.where(_USES.c.file_row_id == _FILES.c.row_id, JOBS.c.status.not_in(_ENDED))
    return live.exists()


def hide_unused(connection: Connection, row: FileRow) -> bool:
    """Hide a file, unless a job that has not ended names it; tell whether it went."""
    statement = sa.select(_FILES.c.row_id).where(_FILES.c.row_id == row.row_id, match_in_use())
    if connection.execute(statement).first() is not None:
        return False
    assert row.row_id is not None
    files.hide(connection, [row.row_id])
    return True


def leave_out_users(connection: Connection, jobs: list[JobRow]) -> list[JobRow]:
    """Return those of some jobs that name no files."""
    ids = [job.row_id for job in jobs]
    users = sa.select(_USES.c.job_row_id).where(_USES.c.job_row_id.in_(ids))
    using = set(connection.execute(users).scalars())
    return [job for job in jobs if job.row_id not in using]


async def find_source(coordinator: Coordinator, record: JobRecord, file_id: str) -> FileRow | None:
    """Return a file that a job names as its source."""
    return await _find(coordinator, record, file_id, is_output=False)


async def save_output(
    coordinator: Coordinator,
    record: JobRecord,
    name: str,
    content_type: str,
    chunks: AsyncIterator[bytes],
) -> FileRow:
    """Store a result file for a job's owner. Raises `FileTooLarge`, `TooManyOutputs`.

    It takes the place of one with its name, which a miner stored that was started anew in between;
    not where a result is in, which may name it.
    """
    job_row_id = record.job.row_id
    assert job_row_id is not None
    count, size = await coordinator.storage.read(lambda c: _measure(c, job_row_id, name))
    limit = coordinator.settings.maximum_file_bytes
    if count >= MAX_OUTPUTS or size >= limit:
        raise TooManyOutputs
    row = await files.save_file(
        coordinator, record.job.account_id, name, content_type, chunks, is_output=True
    )

    def bind(connection: Connection) -> bool:
        if job_rows.find_receipt(connection, record.job) is None:
            files.hide(connection, _list_outputs(connection, job_row_id, name))
        count, size = _measure(connection, job_row_id)
        if count >= MAX_OUTPUTS or size + row.size > limit:
            return False
        assert row.row_id is not None
        use = JobFileRow(job_row_id=job_row_id, file_row_id=row.row_id, is_output=True)
        sql.insert(connection, use)
        return True

    if not await coordinator.storage.write(bind):
        await files.erase(coordinator.storage, row)
        raise TooManyOutputs
    return row


async def check_outputs(coordinator: Coordinator, record: JobRecord, result: Any) -> None:
    """Raise `UnknownOutput` unless each file of a result was stored under the job as it says."""
    for item in list_outputs(result):
        row = None
        if isinstance(item, dict) and isinstance(item.get("file_id"), str):
            row = await _find(coordinator, record, item["file_id"], is_output=True)
        if row is None:
            raise UnknownOutput("the result names a file that was not stored under this job")
        if item.get("sha256") != row.sha256.hex():
            raise UnknownOutput(f"{item['file_id']} has another sha256")


async def find_only_output(
    coordinator: Coordinator, record: JobRecord, result: Any
) -> FileRow | None:
    """Return the file that a result is, where it is exactly one."""
    outputs = list_outputs(result)
    if len(outputs) != 1:
        return None
    with contextlib.suppress(KeyError, TypeError):
        return await _find(coordinator, record, outputs[0]["file_id"], is_output=True)
    return None


def list_outputs(result: Any) -> list[Any]:
    """Return what a result says of its files."""
    named = result.get("files") if isinstance(result, dict) else None
    return named if isinstance(named, list) else []


def hide_outputs(connection: Connection, job_row_ids: list[int]) -> None:
    """Hide the result files of jobs: of a lease that was lost, or whose content is erased."""
    chosen = (_USES.c.is_output.is_(True), _USES.c.job_row_id.in_(job_row_ids))
    found = connection.execute(sa.select(_USES.c.file_row_id).where(*chosen))
    files.hide(connection, list(found.scalars()))


async def _find(
    coordinator: Coordinator, record: JobRecord, file_id: str, *, is_output: bool
) -> FileRow | None:
    key = wire.parse_id(file_id, wire.FILE_PREFIX)
    if key is None:
        return None
    joined = _FILES.join(_USES, _USES.c.file_row_id == _FILES.c.row_id)
    statement = (
        _FILES.select()
        .select_from(joined)
        .where(
            _FILES.c.file_id == key,
            _FILES.c.is_complete.is_(True),
            _USES.c.job_row_id == record.job.row_id,
            _USES.c.is_output.is_(is_output),
        )
    )
    rows = await coordinator.storage.read(
        lambda connection: sql.load(connection, FileRow, statement)
    )
    return rows[0] if rows else None


def _list_outputs(connection: Connection, job_row_id: int, name: str) -> list[int]:
    """Return the result files of a job that have a name."""
    joined = _FILES.join(_USES, _USES.c.file_row_id == _FILES.c.row_id)
    chosen = (_USES.c.job_row_id == job_row_id, _USES.c.is_output.is_(True), _FILES.c.name == name)
    found = connection.execute(sa.select(_FILES.c.row_id).select_from(joined).where(*chosen))
    return list(found.scalars())


def _measure(
    connection: Connection, job_row_id: int, without: str | None = None
) -> tuple[int, int]:
    """Return how many result files a job has, those of one name aside, and their bytes."""
    joined = _FILES.join(_USES, _USES.c.file_row_id == _FILES.c.row_id)
    statement = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_FILES.c.size), 0))
    chosen = [_USES.c.job_row_id == job_row_id, _USES.c.is_output.is_(True)]
    if without is not None:
        chosen.append(_FILES.c.name != without)
    count, size = connection.execute(statement.select_from(joined).where(*chosen)).one()
    return int(count), int(size)
