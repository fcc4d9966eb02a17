"""Leases on jobs of other coordinators: claim here, content from there, and what follows when the
other coordinator is not there (rules H5 and H6).

The claim is a transaction like any other. What the lease is about comes from the job's own
coordinator, sealed to the miner's key; a miner whose key is kept here has its boxes opened here.
"""

import asyncio
import json
from typing import Final

import structlog
from sqlalchemy import Connection

from coordinator import (
    acceptances,
    claiming,
    foreign_jobs,
    foreign_rows,
    job_terms,
    leasing,
    registration,
    relay,
    sealing,
    sql,
)
from coordinator.claiming import Lease, SealedContent
from coordinator.coordinator import Coordinator
from coordinator.foreign_content import (
    ContentGone,
    Opened,
    check_opened,
    collect,
    open_content,
    require_lease,
)
from coordinator.job_rows import JobRecord
from coordinator.phases import Phase
from coordinator.ports import Unreachable
from coordinator.principals import Principal
from coordinator.relay import HomeRefused
from coordinator.relay_messages import MAX_PIECE, Noted, Progress, Report
from coordinator.services.registry import SERVICES
from coordinator.tables import ForeignLeaseRow
from coordinator.wire import format_job_id
from ledger import codec, terms
from ledger.entries import LEASE_STATES, JobStatus, Miner
from ledger.faults import Reason
from ledger.rejection import Rejected, Rejection
from ledger.state import get_job, get_miner
from ledger.terms import Terms
from ledger.transactions import JobFail, VerifiedTransaction

log = structlog.get_logger(__name__)

REPORT_SECONDS: Final = 3.0
REPORT_PAUSE: Final = 1.0
"""Of a job's heartbeats that come faster, the ones in between are not passed on."""


async def find_record(coordinator: Coordinator, job_id: bytes) -> JobRecord | None:
    """Return another coordinator's job as far as it is known here."""
    view = coordinator.chain.get_view()
    entry = get_job(view, job_id)
    if entry is None or entry.coordinator == coordinator.address or entry.service not in SERVICES:
        return None
    waiting = coordinator.foreign.waiting.get(job_id)
    return foreign_jobs.build_record(view, job_id, entry, waiting.offer if waiting else None)


async def describe_record(coordinator: Coordinator, record: JobRecord) -> JobRecord:
    """Return a queued foreign job as its coordinator describes it now.

    Whoever claims without asking may hold the lease on a job that nobody can tell it of. Raises
    `Unreachable`, `HomeRefused`.
    """
    assert record.home is not None
    job_id = record.job.job_id
    if record.job.chain_status != JobStatus.QUEUED:
        return record
    offers = await relay.describe(coordinator, record.home, [job_id])
    view = coordinator.chain.get_view()
    entry = get_job(view, job_id)
    assert entry is not None
    return foreign_jobs.build_record(view, job_id, entry, offers.get(job_id))


async def claim_job(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    signed: VerifiedTransaction | None,
    *,
    is_new: bool = False,
) -> Lease:
    """Claim a foreign job and return the lease with its content, or without where none came.

    `is_new` as of `claiming.claim_job`. Raises `Rejected`, `ClaimPending`, `ContentPending`.
    """
    job_id = record.job.job_id
    miner = leasing.require_miner(coordinator, principal, name)
    entry = get_job(coordinator.chain.get_view(), job_id)
    claim = None if principal.is_custodial else claiming.read_claim(signed, job_id, name)
    lease = None if entry is None or entry.status not in LEASE_STATES else entry.lease
    if lease is not None and lease.miner == name and lease.payee == miner.owner:
        if claim is None:
            return await _deliver_opened(coordinator, principal, job_id, name, is_new)
        if lease.price_commit == claim.price_commit:
            return await _deliver_sealed(coordinator, job_id, name)
    leasing.require_queued(coordinator, record.job, entry)
    if claim is not None:
        await claiming.send_claim(
            coordinator, principal, record.job, name, signed, leasing.record_nothing
        )
        return await _deliver_sealed(coordinator, job_id, name)
    if not await has_derived_key(coordinator, principal, miner):
        raise Rejected(
            Rejection.MALFORMED, "boxes for the miner's own encryption key cannot be opened here"
        )
    await _claim_custodial(coordinator, principal, record, name)
    return await _deliver_opened(coordinator, principal, job_id, name, is_new)


async def _claim_custodial(
    coordinator: Coordinator, principal: Principal, record: JobRecord, name: str
) -> None:
    """Return once a custodial miner's claim is final, its row written before it left.

    Raises `Rejected`, `ClaimPending`.
    """
    job_id, now = record.job.job_id, coordinator.get_now()
    # A row then says of a claim that it is on its way or has its lease, and no other may have it.
    await coordinator.wait_followed()

    def note(connection: Connection, transaction_id: bytes) -> None:
        row = ForeignLeaseRow(
            job_id=job_id,
            account_id=principal.account_id,
            miner=name,
            claim_tx=transaction_id,
            created_ms=now,
        )
        foreign_rows.add(connection, row)

    await claiming.send_claim(coordinator, principal, record.job, name, None, note)


async def has_derived_key(coordinator: Coordinator, principal: Principal, miner: Miner) -> bool:
    """Tell whether what is sealed to a custodial miner can be opened here."""
    seed = await coordinator.wallets.open_seed(principal.address)
    return miner.encryption_key == registration.derive_encryption_key(seed)


async def _deliver_sealed(coordinator: Coordinator, job_id: bytes, name: str) -> Lease:
    """Return the lease of a miner that opens boxes by itself; without content it gives it back."""
    await coordinator.wait_followed()
    try:
        sealed = await collect(coordinator, job_id, name, coordinator.settings.claim_wait)
    except ContentGone as error:
        log.warning("no content", job_id=format_job_id(job_id), reason=str(error))
        sealed = None
    return _build_lease(coordinator, job_id, name, sealed, None)


async def _deliver_opened(
    coordinator: Coordinator, principal: Principal, job_id: bytes, name: str, is_new: bool
) -> Lease:
    await coordinator.wait_followed()
    seconds = coordinator.settings.claim_wait
    async with coordinator.job_locks.get(job_id):
        row = await fetch_custodial(coordinator, principal.address, job_id, name, seconds)
        if is_new and row.is_delivered:
            raise Rejected(Rejection.JOB_NOT_QUEUED, "the miner holds the lease already")

        def write(connection: Connection) -> None:
            sql.update(connection, row, is_delivered=True)

        await coordinator.storage.write(write)
    return _build_lease(coordinator, job_id, name, None, row)


async def fetch_custodial(
    coordinator: Coordinator, address: bytes, job_id: bytes, name: str, seconds: float
) -> ForeignLeaseRow:
    """Return a custodial miner's lease with its content, which is durable then. Under the job's
    lock.

    Where the content does not come in time or is not what was escrowed for, the lease is given
    back and `Rejected` raised; `ContentPending` while there is still hope.
    """
    row = await coordinator.storage.read(lambda connection: foreign_rows.find(connection, job_id))
    if row is None or row.miner != name:
        sentence = "the lease has ended already, or was not claimed here"
        raise Rejected(Rejection.JOB_NOT_LEASED, sentence)
    if row.content is not None:
        return row
    try:
        sealed = await collect(coordinator, job_id, name, seconds)
        opened = await open_content(coordinator, address, sealed)
        await _check_opened(coordinator, address, job_id, name, opened)
    except ContentGone as error:
        await give_back(coordinator, address, job_id, error.reason, str(error))
        raise Rejected(Rejection.JOB_NOT_LEASED, f"given back: {error}") from None

    def write(connection: Connection) -> None:
        sql.update(
            connection,
            row,
            content=json.dumps(opened.content),
            terms=json.dumps(terms.write_opening(opened.terms)),
            token=opened.token,
        )

    await coordinator.storage.write(write)
    return row


async def _check_opened(
    coordinator: Coordinator, address: bytes, job_id: bytes, name: str, opened: Opened
) -> None:
    """Hold what was opened against the chain, and against the price that was claimed.

    Raises `ContentGone`, `Rejected`.
    """
    view = coordinator.chain.get_view()
    entry, lease = require_lease(coordinator, job_id, name)
    check_opened(entry, job_id, opened, coordinator.get_now())
    miner = get_miner(view, name)
    assert miner is not None
    job = foreign_jobs.build_record(view, job_id, entry, None).job
    job.max_price = opened.terms.max_price
    seed = await coordinator.wallets.open_seed(address)
    price = claiming.derive_price_opening(seed, job, miner, acceptances.get_price(entry, name))
    if terms.commit_price_terms(price) != lease.price_commit:
        # The offer named another highest price, and the claim followed it.
        raise ContentGone("the terms are not those of the offer", Reason.TERMS_NOT_COVERED)


async def give_back(
    coordinator: Coordinator, address: bytes, job_id: bytes, reason: Reason, detail: str
) -> None:
    """Report in a custodial miner's name why nothing comes of its lease. Raises `Rejected`."""
    log.warning("lease given back", job_id=format_job_id(job_id), reason=reason.name, detail=detail)

    def note(connection: Connection, transaction_id: bytes) -> None:
        foreign_rows.note_end(connection, job_id, transaction_id)

    await coordinator.wallets.send(address, JobFail(job_id, int(reason)), note, job_id)


def _build_lease(
    coordinator: Coordinator,
    job_id: bytes,
    name: str,
    sealed: SealedContent | None,
    row: ForeignLeaseRow | None,
) -> Lease:
    view = coordinator.chain.get_view()
    entry, lease = require_lease(coordinator, job_id, name)
    record = foreign_jobs.build_record(view, job_id, entry, None)
    if row is not None:
        record = restore_record(record, row)
    miner = get_miner(view, name)
    assert miner is not None
    ends_at = leasing.get_lease_end(coordinator, lease.ends_at)
    return Lease(record, miner, ends_at, sealed)


def restore_record(record: JobRecord, row: ForeignLeaseRow) -> JobRecord:
    """Return a foreign job with what its opened content and terms say of it."""
    assert row.content is not None and row.terms is not None
    opening = terms.read_opening(json.loads(row.terms), Terms)
    job = record.job
    job.model = json.loads(row.content)["model"]
    job.max_units, job.max_price = opening.max_units, opening.max_price
    job.total_deadline = opening.deadline - job_terms.OUTAGE_ALLOWANCE
    job.input_hash, job.salt = opening.input_hash, opening.salt
    record.content.content = row.content
    return record


async def report_progress(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    progress: Progress | None,
) -> tuple[bool, int]:
    """Pass a heartbeat on; return whether the job is to end, and the lease's end.

    The lease stands on the chain: a coordinator that is not there makes no heartbeat fail. Raises
    `Rejected`.
    """
    assert record.home is not None
    job_id = record.job.job_id
    leasing.require_miner(coordinator, principal, name)
    entry = leasing.require_lease(coordinator, principal, job_id, name)
    await leasing.note_seen(coordinator, principal, name)
    assert entry.lease is not None
    is_cancelling = entry.status is JobStatus.CANCELLING
    now = asyncio.get_running_loop().time()
    if progress is not None and coordinator.foreign.may_report(job_id, now, REPORT_PAUSE):
        try:
            noted = await _report(coordinator, record.home, job_id, entry.lease.number, progress)
            is_cancelling = is_cancelling or noted.cancel_requested
        except (Unreachable, HomeRefused) as error:
            log.info("heartbeat not passed on", job_id=format_job_id(job_id), error=str(error))
    return is_cancelling, leasing.get_lease_end(coordinator, entry.lease.ends_at)


async def pass_text(
    coordinator: Coordinator, record: JobRecord, number: int, progress: Progress, known: int
) -> int:
    """Pass a piece of a job's text on; return how much home has, or `known` where it is silent."""
    assert record.home is not None
    job_id = record.job.job_id
    try:
        return (await _report(coordinator, record.home, job_id, number, progress)).length
    except (Unreachable, HomeRefused) as error:
        log.info("text not passed on", job_id=format_job_id(job_id), error=str(error))
        return known


async def _report(
    coordinator: Coordinator, home: bytes, job_id: bytes, number: int, progress: Progress
) -> Noted:
    if coordinator.foreign.is_silent(home, asyncio.get_running_loop().time()):
        raise Unreachable("silent just now")
    key = await relay.find_key(coordinator, home, job_id)
    box = sealing.seal(codec.encode(progress), sealing.compute_box_key(key))
    question = Report(job_id, number, box)
    return await relay.ask_home(coordinator, home, question, Noted, REPORT_SECONDS)


async def build_progress(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    token: bytes | None,
    progress: int,
    phase: Phase | None,
    offset: int = 0,
    text: str = "",
) -> Progress | None:
    """Return what a heartbeat or a piece of text says, or None for a miner without the token.

    It came with the job; a custodial miner's lies in its lease's row.
    """
    if principal.is_custodial:
        job_id = record.job.job_id
        row = await coordinator.storage.read(
            lambda connection: foreign_rows.find(connection, job_id)
        )
        token = None if row is None or row.account_id != principal.account_id else row.token
    if token is None:
        return None
    name = None if phase is None else phase.value
    return Progress(token, progress, name, offset, text[:MAX_PIECE])
