"""Reading and writing job rows: look-ups, filtered pages, and the one way a stage is stored."""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from coordinator import foreign_rows, sql, updates
from coordinator.phases import Status, compute_progress, compute_stage, find_fault
from coordinator.tables import ContentRow, JobFileRow, JobRow, ReceiptRow
from coordinator.update_data import describe_job
from coordinator.updates import UpdateType
from ledger.entries import JobStatus

JOBS = sql.get_table(JobRow)
CONTENTS = sql.get_table(ContentRow)
RECEIPTS = sql.get_table(ReceiptRow)


MAX_PAGE_BYTES: Final = 4 * 2**20
"""A page of a list carries so much of contents and results; of the jobs behind, none."""


class JobRecord(NamedTuple):
    """A job with its content and, once there is one, its receipt."""

    job: JobRow
    content: ContentRow
    receipt: ReceiptRow | None
    is_content_omitted: bool = False
    """Whether the content was left out of a list for its size."""
    home: bytes | None = None
    """The address of the coordinator that holds the job, where that is another one."""

    def load_content(self) -> dict[str, Any] | None:
        """Return the content, None once it has been erased."""
        text = self.content.content
        return None if text is None else json.loads(text)


class Page(NamedTuple):
    """One page of a list, newest first; `total` counts all that the filter takes."""

    records: list[JobRecord]
    total: int


def find_job(connection: Connection, job_id: bytes) -> JobRecord | None:
    """Return a job by its id."""
    job = sql.find(connection, JobRow, job_id=job_id)
    return None if job is None else join_all(connection, [job])[0]


def add_job(connection: Connection, job: JobRow, content: str, request: str) -> None:
    """Insert a job and its content."""
    job.row_id = sql.insert(connection, job)
    sql.insert(connection, ContentRow(job_row_id=job.row_id, content=content, request=request))


def delete_job(connection: Connection, job_id: bytes) -> None:
    """Delete a job whose escrow never left: nothing of it is anywhere else."""
    job = sql.find(connection, JobRow, job_id=job_id)
    if job is not None and job.chain_status is None:
        uses = sql.get_table(JobFileRow)
        connection.execute(uses.delete().where(uses.c.job_row_id == job.row_id))
        connection.execute(CONTENTS.delete().where(CONTENTS.c.job_row_id == job.row_id))
        connection.execute(JOBS.delete().where(JOBS.c.row_id == job.row_id))


def list_jobs(
    connection: Connection,
    conditions: list[ColumnElement[bool]],
    limit: int,
    offset: int,
    before: int | None,
) -> Page:
    """Return a page of jobs; `before` is a cursor: the row id that the page starts below."""
    total = connection.execute(
        sa.select(sa.func.count()).select_from(JOBS).where(*conditions)
    ).scalar_one()
    statement = JOBS.select().where(*conditions).order_by(JOBS.c.row_id.desc())
    if before is not None:
        statement = statement.where(JOBS.c.row_id < before)
    jobs = sql.load(connection, JobRow, statement.limit(limit).offset(offset))
    count = _count_fitting(connection, jobs)
    records = join_all(connection, jobs[:count])
    records += join_all(connection, jobs[count:], has_contents=False)
    return Page(records, total)


def _count_fitting(connection: Connection, jobs: Sequence[JobRow]) -> int:
    """Return how many jobs' contents one page may carry: at least the first one's."""
    parts = (CONTENTS.c.content, CONTENTS.c.result)
    # The length in bytes stands in the row's head: no content is read for it.
    size = sum((sa.func.coalesce(sa.func.octet_length(part), 0) for part in parts), sa.literal(0))
    ids = [job.row_id for job in jobs]
    statement = sa.select(CONTENTS.c.job_row_id, size).where(CONTENTS.c.job_row_id.in_(ids))
    sizes: dict[int, int] = {row[0]: row[1] for row in connection.execute(statement)}
    room = MAX_PAGE_BYTES
    for count, job in enumerate(jobs):
        assert job.row_id is not None
        room -= sizes[job.row_id]
        if room < 0 and count:
            return count
    return len(jobs)


def list_queued(connection: Connection, after: int, limit: int) -> list[JobRow]:
    """Return jobs that wait for a miner, oldest first, behind a row id."""
    statement = (
        JOBS.select()
        .where(
            JOBS.c.status == Status.PENDING.value,
            JOBS.c.chain_status == int(JobStatus.QUEUED),
            JOBS.c.row_id > after,
        )
        .order_by(JOBS.c.row_id)
        .limit(limit)
    )
    return sql.load(connection, JobRow, statement)


def find_receipt(connection: Connection, job: JobRow) -> ReceiptRow | None:
    """Return a job's receipt."""
    return sql.find(connection, ReceiptRow, job_row_id=job.row_id)


def store_stage(connection: Connection, job: JobRow, now_ms: int, **values: Any) -> bool:
    """Set columns, then status, phase and progress as they follow from all of them.

    A change that an owner wants to hear of goes into the log of updates; return whether one did.
    """
    reported = values.pop("progress", 0)
    before = _get_told(job)
    values = {name: value for name, value in values.items() if getattr(job, name) != value}
    for name, value in values.items():
        setattr(job, name, value)
    stage = compute_stage(
        job.chain_status,
        job.reported_phase,
        # Before a claim there is none, and the row's first block need not look for one.
        job.claim_number is not None and find_receipt(connection, job) is not None,
        job.settle_tx is not None,
        job.chain_status is None and job.ended_ms is not None,
    )
    progress = compute_progress(job.progress, reported, stage.status)
    sql.update(
        connection,
        job,
        **values,
        status=stage.status.value,
        phase=stage.phase.value,
        progress=progress,
    )
    if _get_told(job) == before:
        return False
    data = describe_job(job, now_ms)
    updates.append(connection, UpdateType.JOB_UPDATE, job.account_id, data, now_ms, job=job.job_id)
    return True


def _get_told(job: JobRow) -> tuple[Any, ...]:
    """Return what an update tells of; progress alone is told to those who listen just then."""
    is_cancelled = job.cancel_requested_ms is not None
    return (job.status, job.phase, job.miner, job.claim_number, is_cancelled, job.reason_code)


def drop_attempt(connection: Connection, job: JobRow) -> None:
    """Forget what a claim left behind that did not settle: receipt and result."""
    connection.execute(RECEIPTS.delete().where(RECEIPTS.c.job_row_id == job.row_id))
    connection.execute(
        CONTENTS.update().where(CONTENTS.c.job_row_id == job.row_id).values(result=None)
    )


def take_back(
    connection: Connection, job_id: bytes, transaction: bytes, code: int, time_ms: int
) -> None:
    """Take back what a row says of a transaction that was refused at the door.

    A job whose escrow was is gone: its sender hears of it in the same answer.
    """
    job = sql.find(connection, JobRow, job_id=job_id)
    if job is not None and job.submit_tx == transaction:
        delete_job(connection, job_id)
    else:
        note_failure(connection, job_id, transaction, code, time_ms)


def note_failure(
    connection: Connection, job_id: bytes, transaction: bytes, code: int, time_ms: int
) -> None:
    """Take back what a job's row says of a transaction that did not apply."""
    job = sql.find(connection, JobRow, job_id=job_id)
    if job is None:
        foreign_rows.note_failure(connection, job_id, transaction)
        return
    if transaction == job.submit_tx and job.chain_status is None:
        fault = find_fault(code) or "network"
        store_stage(connection, job, time_ms, ended_ms=time_ms, reason_code=code, fault=fault)
    elif transaction == job.settle_tx:
        drop_attempt(connection, job)
        store_stage(connection, job, time_ms, settle_tx=None)
    elif transaction == job.cancel_tx:
        store_stage(connection, job, time_ms, cancel_tx=None, cancel_requested_ms=None)


def join_all(
    connection: Connection, jobs: Sequence[JobRow], has_contents: bool = True
) -> list[JobRecord]:
    """Return jobs with their contents and receipts, in the same order.

    Without `has_contents` no content is read, for lists that show none.
    """
    ids = [job.row_id for job in jobs]
    contents = sql.load_in(connection, ContentRow, "job_row_id", ids if has_contents else [])
    receipts = sql.load_in(connection, ReceiptRow, "job_row_id", ids)
    content_of = {row.job_row_id: row for row in contents}
    receipt_of = {row.job_row_id: row for row in receipts}
    return [
        JobRecord(
            job,
            content_of[job.row_id] if has_contents else ContentRow(job_row_id=job.row_id),
            receipt_of.get(job.row_id),
            not has_contents,
        )
        for job in jobs
        if job.row_id is not None
    ]
