"""Deletes inputs, results, files and stored answers when their time is over. Receipts stay."""

import sqlalchemy as sa
from sqlalchemy import Connection

from coordinator import files, job_files, tables
from coordinator.job_rows import CONTENTS, JOBS
from coordinator.tables import FileRow, TransactionRow

BATCH = 500


def erase_contents(connection: Connection, before_ms: int) -> int:
    """Erase what jobs that ended before a time were about; return how many were."""
    ended = (
        sa.select(JOBS.c.row_id)
        .where(JOBS.c.ended_ms < before_ms, JOBS.c.is_content_erased.is_(False))
        .limit(BATCH)
    )
    ids = list(connection.execute(ended).scalars())
    for row in job_files.list_erasable(connection, ids):
        files.delete_rows(connection, row)
    connection.execute(
        CONTENTS.update()
        .where(CONTENTS.c.job_row_id.in_(ids))
        .values(content=None, result=None, request="{}")
    )
    connection.execute(JOBS.update().where(JOBS.c.row_id.in_(ids)).values(is_content_erased=True))
    return len(ids)


def delete_old_files(connection: Connection, before_ms: int) -> int:
    """Delete files uploaded before a time; return how many."""
    table = tables.get_table(FileRow)
    # Results go with their jobs, and a job that still runs keeps its sources.
    own = (table.c.created_ms < before_ms, table.c.is_output.is_(False))
    rows = tables.load(connection, FileRow, table.select().where(*own).limit(BATCH))
    rows = [row for row in rows if not job_files.is_in_use(connection, row)]
    for row in rows:
        files.delete_rows(connection, row)
    return len(rows)


def delete_settled_transactions(connection: Connection, below_height: int) -> None:
    """Delete transactions whose validity ended below a height and that nothing awaits."""
    table = tables.get_table(TransactionRow)
    connection.execute(
        table.delete().where(table.c.state != "pending", table.c.valid_until < below_height)
    )
