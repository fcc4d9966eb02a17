"""Deletes inputs, results, files and stored answers when their time is over. Receipts stay."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from coordinator import files, job_files, sql
from coordinator.job_rows import CONTENTS, JOBS
from coordinator.tables import FileRow, TransactionRow

BATCH = 100
"""Jobs, or files, of one commit: the chain's blocks wait for the same writer."""
_FILES = sql.get_table(FileRow)


def erase_contents(connection: Connection, before_ms: int) -> int:
    """Erase what jobs that ended before a time were about; return how many were."""
    ids = list(connection.execute(select_due(before_ms)).scalars())
    job_files.hide_outputs(connection, ids)
    connection.execute(
        CONTENTS.update()
        .where(CONTENTS.c.job_row_id.in_(ids))
        .values(content=None, result=None, request="{}")
    )
    connection.execute(JOBS.update().where(JOBS.c.row_id.in_(ids)).values(is_content_erased=True))
    return len(ids)


def select_due(before_ms: int) -> sa.Select[Any]:
    """Return the statement that finds jobs which ended before a time and still have content."""
    due = (JOBS.c.ended_ms < before_ms, JOBS.c.is_content_erased.is_(False))
    return sa.select(JOBS.c.row_id).where(*due).limit(BATCH)


def hide_old_files(connection: Connection, before_ms: int) -> int:
    """Hide files uploaded before a time; return how many."""
    # Results go with their jobs, and a job that still runs keeps its sources.
    statement = sa.select(_FILES.c.row_id).where(
        _FILES.c.created_ms < before_ms,
        _FILES.c.is_complete.is_(True),
        _FILES.c.is_output.is_(False),
        sa.not_(job_files.match_in_use()),
    )
    ids = list(connection.execute(statement.limit(BATCH)).scalars())
    files.hide(connection, ids)
    return len(ids)


def list_hidden(connection: Connection, before_ms: int) -> list[FileRow]:
    """Return files that are hidden, or never came whole; later ones may be on their way here."""
    hidden = (_FILES.c.created_ms < before_ms, _FILES.c.is_complete.is_(False))
    return sql.load(connection, FileRow, _FILES.select().where(*hidden).limit(BATCH))


def delete_settled_transactions(connection: Connection, below_height: int) -> None:
    """Delete transactions whose validity ended below a height and that nothing awaits."""
    table = sql.get_table(TransactionRow)
    connection.execute(
        table.delete().where(table.c.state != "pending", table.c.valid_until < below_height)
    )
