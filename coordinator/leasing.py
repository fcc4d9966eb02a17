"""How a miner keeps a lease or gives it back, and who holds which."""

from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from coordinator import foreign_rows, job_rows, sql
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.phases import Phase, Status
from coordinator.principals import Principal
from coordinator.signals import UPDATES, job_topic
from coordinator.tables import JobRow, WorkerRow
from ledger.entries import LEASE_STATES, Job, JobStatus, Miner
from ledger.faults import is_reportable
from ledger.rejection import Rejected, Rejection
from ledger.state import get_job, get_miner, get_totals
from ledger.transactions import JobFail, JobSettle, VerifiedTransaction

SEEN_MS = 10_000

P = TypeVar("P", bound=msgspec.Struct)


def require_miner(coordinator: Coordinator, principal: Principal, name: str) -> Miner:
    """Return an account's own active miner. Raises `Rejected`; another's looks like none."""
    miner = get_miner(coordinator.chain.get_view(), name)
    if miner is None or miner.owner != principal.address:
        raise Rejected(Rejection.MINER_UNKNOWN)
    if not miner.is_active:
        raise Rejected(Rejection.MINER_NOT_ACTIVE)
    return miner


async def report_progress(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    progress: int,
    phase: Phase | None,
) -> tuple[JobRow, int]:
    """Note a leaseholder's heartbeat; return the job and the lease's end. Raises `Rejected`."""
    await coordinator.wait_followed()
    require_miner(coordinator, principal, name)
    entry = require_lease(coordinator, principal, record.job.job_id, name)
    await note_seen(coordinator, principal, name)
    job = await store_progress(coordinator, record.job.job_id, progress, phase)
    assert entry.lease is not None
    return job, get_lease_end(coordinator, entry.lease.ends_at)


async def store_progress(
    coordinator: Coordinator, job_id: bytes, progress: int, phase: Phase | None
) -> JobRow:
    """Write down how far a leased job is, and tell whoever waits for it."""

    now = coordinator.get_now()

    def write(connection: Connection) -> tuple[JobRow, bool]:
        job = sql.find(connection, JobRow, job_id=job_id)
        assert job is not None
        known = job.progress
        values: dict[str, Any] = {"progress": progress}
        if phase is not None:
            values["reported_phase"] = phase.value
        is_logged = job_rows.store_stage(connection, job, now, **values)
        return job, not is_logged and job.progress > known

    job, is_passing = await coordinator.storage.write(write)
    coordinator.signals.announce(job_topic(job_id), UPDATES)
    if is_passing:
        coordinator.passing.tell_progress(job, now)
    return job


async def fail_job(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    reason_code: int,
    signed: VerifiedTransaction | None,
) -> bytes:
    """Give a lease back with a reason; return the transaction's id. Raises `Rejected`.

    The same reason again is the same transaction.
    """
    job_id = record.job.job_id
    require_miner(coordinator, principal, name)
    require_lease(coordinator, principal, job_id, name)
    if signed is not None and not principal.is_custodial:
        payload = require_payload(signed, JobFail)
        if payload.job != job_id:
            raise Rejected(Rejection.MALFORMED, "the transaction is about another job")
        return await coordinator.wallets.send_signed(
            principal.address, signed, record_nothing, job_id
        )
    if not is_reportable(reason_code):
        raise Rejected(Rejection.BAD_REASON_CODE)
    if not principal.is_custodial:
        raise Rejected(
            Rejection.BAD_SIGNATURE,
            "the account signs by itself: send `transaction`, a signed job_fail",
        )
    report = JobFail(job_id, reason_code)

    def note(connection: Connection, transaction: bytes) -> None:
        foreign_rows.note_end(connection, job_id, transaction)

    async with coordinator.job_locks.get(job_id):
        require_lease(coordinator, principal, job_id, name)
        pending = await coordinator.wallets.list_pending(principal.address, job_id)
        for transaction, ending in pending:
            if ending == report:
                return transaction
            # What comes behind the end of a lease fails, and pays its fee for it.
            if isinstance(ending, JobSettle):
                raise Rejected(Rejection.JOB_TERMINAL, "its settlement is on its way to the chain")
            if isinstance(ending, JobFail):
                raise _given_back()
        return await coordinator.wallets.send(principal.address, report, note, job_id)


def _given_back() -> Rejected:
    return Rejected(Rejection.JOB_NOT_LEASED, "the lease is being given back already")


async def require_kept(coordinator: Coordinator, address: bytes, job_id: bytes) -> None:
    """Check that an account is not giving its lease on a job back just now. Raises `Rejected`."""
    for _, payload in await coordinator.wallets.list_pending(address, job_id):
        if isinstance(payload, JobFail):
            raise _given_back()


def require_lease(coordinator: Coordinator, principal: Principal, job_id: bytes, name: str) -> Job:
    """Return the chain's job whose lease this miner holds now. Raises `Rejected`."""
    entry = get_job(coordinator.chain.get_view(), job_id)
    if entry is None:
        raise Rejected(Rejection.JOB_UNKNOWN)
    if entry.status not in LEASE_STATES:
        if entry.status is JobStatus.QUEUED:
            raise Rejected(Rejection.JOB_NOT_LEASED)
        raise Rejected(Rejection.JOB_TERMINAL, f"the job is {entry.status.name.lower()}")
    lease = entry.lease
    if lease is None or (lease.miner, lease.payee) != (name, principal.address):
        raise Rejected(Rejection.LEASE_NOT_HELD)
    if coordinator.get_now() > get_lease_end(coordinator, lease.ends_at):
        raise Rejected(Rejection.JOB_DEADLINE_PASSED)
    return entry


def is_leased(coordinator: Coordinator, job_id: bytes) -> bool:
    """Tell whether a lease on a job is in force."""
    entry = get_job(coordinator.chain.get_view(), job_id)
    return entry is not None and entry.status in LEASE_STATES


def get_lease_end(coordinator: Coordinator, working_clock: int) -> int:
    """Return a working-clock time as header time, outages up to the head included."""
    return working_clock + get_totals(coordinator.chain.get_view()).outage


def require_payload(signed: VerifiedTransaction, kind: type[P]) -> P:
    """Return a signed transaction's payload of the expected kind. Raises `Rejected`."""
    payload = signed.transaction.payload
    if not isinstance(payload, kind):
        raise Rejected(Rejection.MALFORMED, f"the transaction is no {kind.__name__}")
    return payload


async def note_seen(coordinator: Coordinator, principal: Principal, name: str) -> None:
    """Note that a miner is there; in its row only now and then."""
    now = coordinator.get_now()
    if now - coordinator.seen.get(name, 0) < SEEN_MS:
        return
    miner = get_miner(coordinator.chain.get_view(), name)
    if miner is None or miner.owner != principal.address:
        return
    coordinator.seen[name] = now

    def write(connection: Connection) -> None:
        row = sql.find(connection, WorkerRow, miner=name)
        if row is None:
            row = WorkerRow(
                miner=name, account_id=principal.account_id, created_ms=now, seen_ms=now
            )
            sql.insert(connection, row)
        else:
            sql.update(connection, row, account_id=principal.account_id, seen_ms=now)

    await coordinator.storage.write(write)


def require_queued(coordinator: Coordinator, job: JobRow, entry: Job | None) -> None:
    """Check that a job waits for a miner now. Raises `Rejected`."""
    if entry is None:
        if job.status == Status.FAILED.value:
            raise Rejected(Rejection.JOB_TERMINAL)
        raise Rejected(Rejection.JOB_NOT_QUEUED, "the job's escrow is not final yet")
    if entry.status in LEASE_STATES:
        raise Rejected(Rejection.JOB_NOT_QUEUED, "another miner holds the lease")
    if entry.status is not JobStatus.QUEUED:
        raise Rejected(Rejection.JOB_TERMINAL, f"the job is {entry.status.name.lower()}")
    if coordinator.get_now() > get_lease_end(coordinator, entry.queue_deadline):
        raise Rejected(Rejection.JOB_DEADLINE_PASSED)


def record_nothing(connection: Connection, transaction_id: bytes) -> None:
    """The chain's events say it all."""
