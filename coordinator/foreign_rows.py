"""Rows of leases that custodial miners of this coordinator hold on jobs of others.

A row is written with the claim, in one commit, and goes when the lease ends unpaid; of a settled
one the receipt stays, to answer a result that is handed in again.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from coordinator import sql, updates
from coordinator.ports import FinalBlock
from coordinator.tables import ForeignLeaseRow
from coordinator.update_data import describe_receipt
from coordinator.updates import UpdateType
from ledger.entries import AttemptOutcome
from ledger.outcomes import JobEvent, JobSettled, LeaseEnded
from ledger.rejection import Rejected, Rejection

ROWS = sql.get_table(ForeignLeaseRow)
BATCH = 500


def find(connection: Connection, job_id: bytes) -> ForeignLeaseRow | None:
    """Return the lease that a custodial miner holds, or settled, on a foreign job."""
    return sql.find(connection, ForeignLeaseRow, job_id=job_id)


def add(connection: Connection, row: ForeignLeaseRow) -> None:
    """Write a claim down. Raises `Rejected` where another one of the job is on its way, or won.

    A claim in that one's place would fail, and what the leaseholder is owed would go with it.
    """
    if find(connection, row.job_id) is not None:
        raise Rejected(Rejection.JOB_NOT_QUEUED, "another claim was here before")
    sql.insert(connection, row)


def note_end(connection: Connection, job_id: bytes, transaction: bytes) -> None:
    """Note what is to end the lease on a job, where it is a foreign one."""
    row = find(connection, job_id)
    if row is not None:
        sql.update(connection, row, end_tx=transaction)


def list_open(connection: Connection) -> list[ForeignLeaseRow]:
    """Return the leases that nothing that left here ends."""
    statement = ROWS.select().where(ROWS.c.end_tx.is_(None)).limit(BATCH)
    return [ForeignLeaseRow(**row) for row in connection.execute(statement).mappings()]


def load(connection: Connection, jobs: Iterable[bytes]) -> dict[bytes, ForeignLeaseRow]:
    """Return the rows of some jobs."""
    rows = sql.load_in(connection, ForeignLeaseRow, "job_id", jobs)
    return {row.job_id: row for row in rows}


def apply_event(
    connection: Connection,
    rows: dict[bytes, ForeignLeaseRow],
    event: JobEvent,
    transaction: bytes | None,
    block: FinalBlock,
) -> None:
    """Write what a block did to a foreign job that is leased here."""
    row = rows.get(event.job)
    if row is None:
        return
    match event:
        case LeaseEnded() if event.miner == row.miner:
            if event.outcome is not AttemptOutcome.SETTLED:
                _delete(connection, event.job)
                del rows[event.job]
        case JobSettled() if event.miner == row.miner:
            sql.update(
                connection,
                row,
                content=None,
                terms=None,
                token=None,
                result=None,
                end_tx=transaction,
                is_settled=True,
            )
            assert transaction is not None
            data = describe_receipt(event, transaction, block)
            now = block.header.time
            updates.append(
                connection, UpdateType.RECEIPT_CREATED, row.account_id, data, now, job=event.job
            )
        case _:
            pass


def note_failure(connection: Connection, job_id: bytes, transaction: bytes) -> None:
    """Take back what a row says of a transaction that did not apply."""
    row = find(connection, job_id)
    if row is None:
        return
    if transaction == row.claim_tx:
        _delete(connection, job_id)
    elif transaction == row.end_tx:
        sql.update(connection, row, end_tx=None)


def delete_old(connection: Connection, before_ms: int) -> None:
    """Delete what is left of settled leases from before a time."""
    connection.execute(ROWS.delete().where(ROWS.c.is_settled, ROWS.c.created_ms < before_ms))


def _delete(connection: Connection, job_id: bytes) -> None:
    connection.execute(ROWS.delete().where(ROWS.c.job_id == job_id))
