"""Follows the chain: each final block's events become job rows, in one commit with its height.

After a crash it goes on where the rows stand. The chain is the truth: a row that a block
contradicts is corrected by it.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from coordinator import acceptances, foreign_rows, job_files, job_rows, sql, updates, wallets
from coordinator.coordinator import Coordinator
from coordinator.phases import Phase, find_fault
from coordinator.ports import FinalBlock
from coordinator.receipt_documents import sign_attestation
from coordinator.signals import QUEUE, UPDATES, job_topic
from coordinator.tables import FollowedRow, JobRow, TransactionRow
from coordinator.update_data import describe_offer, describe_receipt
from coordinator.updates import UpdateType
from coordinator.wallets import transaction_topic
from coordinator.wire import format_job_id, format_transaction_id
from ledger.entries import JobStatus
from ledger.outcomes import (
    CancelStarted,
    JobEnded,
    JobEvent,
    JobQueued,
    JobSettled,
    LeaseEnded,
    LeaseGranted,
    OfferAccepted,
    OfferEvent,
    iterate_job_events,
)

log = structlog.get_logger(__name__)

READ_BLOCKS = 64
MAX_UNSETTLED = 1_000
"""Up to so many transactions of this coordinator are compared with a block's."""
_UNCLAIMED: Final[Mapping[str, Any]] = {
    "ended_ms": None,
    "reason_code": 0,
    "fault": None,
    "miner": None,
    "claim_number": None,
    "claim_tx": None,
    "lease_ends": None,
    "settle_tx": None,
    "reported_phase": None,
    "is_lease_delivered": False,
}
"""A job in the queue, for the first time or again."""


class Follower:
    """One task; `Coordinator.followed` is the last block whose events the rows hold."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    @property
    def height(self) -> int:
        return self._coordinator.followed

    async def start(self) -> None:
        """Read where the rows stand, catch up, and send again what is not final."""
        storage = self._coordinator.storage
        row = await storage.read(lambda connection: sql.find(connection, FollowedRow, only=1))
        if row is None:
            # Whatever came before this coordinator's first start holds none of its jobs.
            row = FollowedRow(height=self._coordinator.chain.get_head().height)
            first = row
            await storage.write(lambda connection: sql.insert(connection, first))
        self._coordinator.note_followed(row.height)
        await self.catch_up()
        self._coordinator.foreign.load(self._coordinator.chain.get_view())
        await self._coordinator.wallets.resubmit()

    async def run(self) -> None:
        """Follow until cancelled. Call `start` before."""
        blocks = self._coordinator.chain.subscribe()
        await self.catch_up()
        async for block in blocks:
            if block.header.height > self.height + 1:
                await self.catch_up()
            if block.header.height == self.height + 1:
                await self._follow([block])

    async def run_resubmission(self) -> None:
        """Send again, at intervals, what the mempool may have lost. Until cancelled."""
        while True:
            await asyncio.sleep(self._coordinator.settings.resubmit_seconds)
            await self._coordinator.wallets.resubmit()

    async def catch_up(self) -> None:
        """Follow every final block that the rows lack."""
        while self.height < self._coordinator.chain.get_head().height:
            blocks = await self._coordinator.chain.read_blocks(self.height + 1, READ_BLOCKS)
            if not blocks:
                return
            await self._follow(blocks)

    async def _follow(self, blocks: list[FinalBlock]) -> None:
        seed = self._coordinator.seed

        def write(connection: Connection) -> set[str]:
            topics: set[str] = set()
            for block in blocks:
                topics |= apply_block(connection, block, seed)
            height = blocks[-1].header.height
            sql.update(connection, FollowedRow(height=height), height=height)
            return topics

        topics = await self._coordinator.storage.write(write)
        touched = [job for block in blocks for job in list_jobs(block)]
        if self._coordinator.foreign.follow(self._coordinator.chain.get_view(), touched):
            topics.add(QUEUE)
        self._coordinator.offers.follow(blocks)
        self._coordinator.fleet.follow(blocks)
        if acceptances.note(self._coordinator, blocks):
            topics.add(QUEUE)
        self._coordinator.note_followed(blocks[-1].header.height)
        self._coordinator.signals.announce(*topics, UPDATES)
        # Of many at once, as after an absence, the last one stands for all.
        self._coordinator.passing.tell_block(blocks[-1])


def list_jobs(block: FinalBlock) -> list[bytes]:
    """Return the jobs that a block did something to, in its order."""
    events = (event for outcome in block.outcomes for event in iterate_job_events(outcome))
    return list(dict.fromkeys(event.job for event in events))


def apply_block(connection: Connection, block: FinalBlock, seed: bytes) -> set[str]:
    """Write what a block did to jobs and transactions of this coordinator; return the topics."""
    topics = _note_transactions(connection, block)
    _tell_offers(connection, block)
    touched = list_jobs(block)
    jobs = {job.job_id: job for job in sql.load_in(connection, JobRow, "job_id", touched)}
    foreign = foreign_rows.load(connection, touched)
    own = set(block.transaction_ids)
    for outcome in block.outcomes:
        transaction = outcome.subject if outcome.subject in own else None
        for event in iterate_job_events(outcome):
            job = jobs.get(event.job)
            if job is None:
                foreign_rows.apply_event(connection, foreign, event, transaction, block)
                continue
            _apply_event(connection, job, event, block, transaction, seed)
            topics.add(job_topic(event.job))
            if isinstance(event, JobQueued):
                topics.add(QUEUE)
    return topics


def _tell_offers(connection: Connection, block: FinalBlock) -> None:
    """Tell everybody what a block did to offers: whose they are does not matter."""
    for outcome in block.outcomes:
        for event in outcome.events:
            if isinstance(event, OfferEvent):
                data = describe_offer(event, outcome.subject, block)
                kind, now = UpdateType.MARKETPLACE_UPDATE, block.header.time
                updates.append(connection, kind, updates.PUBLIC, data, now)


def _note_transactions(connection: Connection, block: FinalBlock) -> set[str]:
    """Mark transactions sent here as final; those that failed take back what they announced."""
    codes = {outcome.subject: outcome.code for outcome in block.outcomes}
    # Most of a block was sent elsewhere: looking each of its ids up costs more than these few.
    unsettled = wallets.list_unsettled(connection, MAX_UNSETTLED)
    ids = codes if unsettled is None else [each for each in codes if each in unsettled]
    rows = sql.load_in(connection, TransactionRow, "transaction_id", ids)
    topics = set()
    held = [row.transaction_id for row in rows]
    wallets.set_state(connection, [each for each in held if not codes[each]], "final")
    for row in rows:
        code = codes[row.transaction_id]
        if code:
            wallets.set_state(connection, [row.transaction_id], "failed", int(code))
        topics.add(transaction_topic(row.transaction_id))
        if code and row.job_id is not None:
            job_rows.note_failure(
                connection, row.job_id, row.transaction_id, int(code), block.header.time
            )
            topics.add(job_topic(row.job_id))
    return topics


def _apply_event(
    connection: Connection,
    job: JobRow,
    event: JobEvent,
    block: FinalBlock,
    transaction: bytes | None,
    seed: bytes,
) -> None:
    now = block.header.time
    match event:
        case JobQueued():
            if job.chain_status is not None:
                _drop_work(connection, job)
            queued = int(JobStatus.QUEUED)
            job_rows.store_stage(connection, job, now, chain_status=queued, **_UNCLAIMED)
        case LeaseGranted():
            job_rows.store_stage(
                connection,
                job,
                now,
                chain_status=int(JobStatus.LEASED),
                miner=event.miner,
                claim_number=event.number,
                claimed_ms=event.claimed_at,
                started_ms=event.claimed_at,
                lease_ends=event.ends_at,
                claim_tx=transaction,
                is_lease_delivered=False,
                reported_phase=Phase.CLAIMED.value,
            )
        case CancelStarted():
            job_rows.store_stage(
                connection,
                job,
                now,
                chain_status=int(JobStatus.CANCELLING),
                lease_ends=event.ends_at,
                cancel_requested_ms=job.cancel_requested_ms or now,
                cancel_tx=transaction,
            )
        case LeaseEnded():
            # Its JobQueued, JobEnded or JobSettled follows and says the rest.
            log.info(
                "lease ended",
                job_id=format_job_id(job.job_id),
                block=block.header.height,
                outcome=event.outcome.name,
            )
        case OfferAccepted():
            # Who may claim is read from the chain's own entry each time that it matters.
            log.info("offer accepted", job_id=format_job_id(job.job_id), offer=event.offer.hex())
        case JobSettled():
            _settle(connection, job, event, block, transaction, seed)
        case JobEnded():
            _drop_work(connection, job)
            job_rows.store_stage(
                connection,
                job,
                now,
                chain_status=int(event.status),
                reason_code=event.reason_code,
                fault=find_fault(event.reason_code),
                refunded=event.refund,
                ended_ms=now,
                end_tx=transaction,
                end_height=block.header.height,
                end_block=block.hash,
            )


def _drop_work(connection: Connection, job: JobRow) -> None:
    """Forget all that a lease left behind that did not settle: nobody has paid for it."""
    job_rows.drop_attempt(connection, job)
    assert job.row_id is not None
    job_files.hide_outputs(connection, [job.row_id])


def _settle(
    connection: Connection,
    job: JobRow,
    event: JobSettled,
    block: FinalBlock,
    transaction: bytes | None,
    seed: bytes,
) -> None:
    assert transaction is not None
    now = block.header.time
    job_rows.store_stage(
        connection,
        job,
        now,
        chain_status=int(JobStatus.SETTLED),
        miner=event.miner,
        claim_number=event.number,
        amount=event.amount,
        payout=event.payout,
        refunded=event.refund,
        ended_ms=now,
        settle_tx=transaction,
        end_tx=transaction,
        end_height=block.header.height,
        end_block=block.hash,
    )
    receipt = job_rows.find_receipt(connection, job)
    if receipt is None:
        return
    if json.loads(receipt.document)["receipt_commit"] != event.receipt_commit.hex():
        # The miner settled with another receipt than the one that it handed in here.
        _drop_work(connection, job)
        return
    attestation = sign_attestation(
        seed,
        "settlement",
        job.job_id,
        now,
        {
            "tx": format_transaction_id(transaction),
            "height": block.header.height,
            "block_hash": block.hash.hex(),
        },
    )
    attestations = [*json.loads(receipt.attestations), attestation]
    sql.update(connection, receipt, attestations=json.dumps(attestations), is_final=True)
    data = describe_receipt(event, transaction, block)
    for account_id in sorted({job.account_id, receipt.account_id}):
        updates.append(
            connection, UpdateType.RECEIPT_CREATED, account_id, data, now, job=job.job_id
        )
