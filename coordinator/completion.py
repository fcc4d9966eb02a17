"""How a finished job is paid: result and receipt durable, then the proof, then the settlement.

Each step goes on from rows, so after a crash the same receipt is proved and settled again.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection

from coordinator import job_rows, job_terms, leasing, sql
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.principals import Principal
from coordinator.receipt_rows import (
    BadCompletion,
    Completion,
    Hashes,
    build_custodial,
    check_receipt,
    hash_completion,
)
from coordinator.signals import UPDATES, job_topic
from coordinator.tables import AccountRow, ContentRow, JobRow, ReceiptRow
from coordinator.wire import format_job_id
from ledger import terms
from ledger.entries import LEASE_STATES, Job, JobStatus
from ledger.rejection import Rejected, Rejection
from ledger.settlement import compute_public_inputs
from ledger.state import get_job
from ledger.terms import PriceTerms, ReceiptTerms, Terms
from ledger.transactions import JobSettle, VerifiedTransaction
from zk.process import ProverBusyError, ProverCrashedError
from zk.prover import UnsatisfiedStatement
from zk.statement import PublicInputs, Witness

log = structlog.get_logger(__name__)


async def complete_job(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    completion: Completion,
) -> JobRecord:
    """Take a result, submit its settlement, return the job. The same again is the same answer.

    Raises `Rejected` (no lease, another result before), `BadCompletion`, `ProverBusyError`.
    """
    job_id = record.job.job_id
    await coordinator.wait_followed()
    hashes = await hash_completion(name, completion)
    async with coordinator.job_locks.get(job_id):
        current = await _read(coordinator, job_id)
        receipt = current.receipt
        if _is_repeated(current, principal, hashes):
            assert receipt is not None
            if receipt.is_final or _is_sent(current.job, completion):
                return current
        entry = leasing.require_lease(coordinator, principal, job_id, name)
        if principal.is_custodial:
            await leasing.require_kept(coordinator, principal.address, job_id)
        if receipt is None:
            build = build_custodial if principal.is_custodial else _check_signed
            receipt = await build(coordinator, principal, current, entry, completion, hashes)
            await _store(coordinator, current.job, receipt, completion.result)
        if principal.is_custodial:
            await settle(coordinator, job_id)
        else:
            if completion.signed is None:
                raise BadCompletion("/transaction", "the account signs by itself")
            _require_same_receipt(completion.signed, job_id, receipt)
            # A renewed settlement does not take the place of the first before it is accepted.
            first = current.job.settle_tx is None
            note = _note_settlement(coordinator, job_id) if first else leasing.record_nothing
            await coordinator.wallets.send_signed(
                principal.address, completion.signed, note, job_id
            )
            coordinator.signals.announce(job_topic(job_id), UPDATES)
    return await _read(coordinator, job_id)


async def take_result(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    completion: Completion,
) -> ReceiptRow:
    """Make a result durable whose miner has its settlement sent elsewhere; return its receipt.

    Raises as `complete_job` does.
    """
    job_id = record.job.job_id
    await coordinator.wait_followed()
    hashes = await hash_completion(name, completion)
    async with coordinator.job_locks.get(job_id):
        current = await _read(coordinator, job_id)
        if _is_repeated(current, principal, hashes):
            assert current.receipt is not None
            return current.receipt
        entry = leasing.require_lease(coordinator, principal, job_id, name)
        receipt = await check_receipt(coordinator, principal, current, entry, completion, hashes)
        await _store(coordinator, current.job, receipt, completion.result)
    return receipt


def _is_repeated(record: JobRecord, principal: Principal, hashes: Hashes) -> bool:
    receipt = record.receipt
    if receipt is None or receipt.account_id != principal.account_id:
        return False
    if receipt.request_hash != hashes.request:
        raise Rejected(Rejection.JOB_TERMINAL, "the job has another result already")
    return True


def _is_sent(job: JobRow, completion: Completion) -> bool:
    if job.settle_tx is None:
        return False
    return completion.signed is None or completion.signed.id == job.settle_tx


def _require_same_receipt(signed: VerifiedTransaction, job_id: bytes, row: ReceiptRow) -> None:
    payload = leasing.require_payload(signed, JobSettle)
    commitment = json.loads(row.document)["receipt_commit"]
    if (payload.job, payload.receipt_commit.hex()) != (job_id, commitment):
        raise BadCompletion("/transaction", "settles another job or receipt")


async def settle(coordinator: Coordinator, job_id: bytes) -> None:
    """Prove a custodial miner's stored receipt and submit its settlement. Raises `Rejected`."""
    record = await _read(coordinator, job_id)
    job, receipt = record.job, record.receipt
    entry = get_job(coordinator.chain.get_view(), job_id)
    if receipt is None or job.settle_tx is not None or entry is None:
        return
    if entry.status not in LEASE_STATES or entry.lease is None:
        return
    try:
        payload = await prove_settlement(
            coordinator, entry, job_terms.get_terms(job), receipt.opening, receipt.price_opening
        )
    except Rejected:
        now = coordinator.get_now()
        await coordinator.storage.write(lambda connection: _forget_receipt(connection, job_id, now))
        coordinator.signals.announce(job_topic(job_id), UPDATES)
        raise
    note = _note_settlement(coordinator, job_id)
    await coordinator.wallets.send(receipt.provider, payload, note, job_id)
    coordinator.signals.announce(job_topic(job_id), UPDATES)


async def prove_settlement(
    coordinator: Coordinator, entry: Job, offer: Terms, opening: str, price_opening: str
) -> JobSettle:
    """Return the proved settlement of a leased job. The last two are openings as JSON.

    Raises `Rejected(BAD_PROOF)` where the receipt does not keep to the terms, and the prover's own.
    """
    assert entry.lease is not None
    receipt = terms.read_opening(json.loads(opening), ReceiptTerms)
    price = terms.read_opening(json.loads(price_opening), PriceTerms)
    payload = JobSettle(
        job=offer.job,
        receipt_commit=terms.commit_receipt_terms(receipt, offer.job, entry.lease.payee),
        amount=receipt.units * price.price,
        epoch_time=receipt.completed,
        proof=bytes(192),
    )
    public = PublicInputs(
        *compute_public_inputs(
            coordinator.rules.chain_id, coordinator.rules.proof.key_id, entry, entry.lease, payload
        )
    )
    witness = Witness(
        offer=terms.build_offer(offer),
        price=terms.build_price(price),
        receipt=terms.build_receipt(receipt),
    )
    try:
        proof = await coordinator.prover.prove(public, witness)
    except UnsatisfiedStatement as error:
        raise Rejected(Rejection.BAD_PROOF, str(error)) from None
    return msgspec.structs.replace(payload, proof=proof)


async def resume(coordinator: Coordinator) -> None:
    """Settle what a crash left between its receipt and its settlement."""

    def read(connection: Connection) -> list[bytes]:
        jobs, receipts_, accounts = (
            sql.get_table(table) for table in (JobRow, ReceiptRow, AccountRow)
        )
        statement = (
            jobs.select()
            .join(receipts_, receipts_.c.job_row_id == jobs.c.row_id)
            .join(accounts, accounts.c.account_id == receipts_.c.account_id)
            .where(
                jobs.c.settle_tx.is_(None),
                jobs.c.chain_status.in_([int(status) for status in LEASE_STATES]),
                accounts.c.sealed_seed.is_not(None),
            )
        )
        return [row["job_id"] for row in connection.execute(statement).mappings()]

    for job_id in await coordinator.storage.read(read):
        try:
            async with coordinator.job_locks.get(job_id):
                await settle(coordinator, job_id)
        except (Rejected, ProverBusyError, ProverCrashedError) as error:
            log.warning(
                "settlement not resumed",
                job_id=format_job_id(job_id),
                error=type(error).__name__,
            )


async def _check_signed(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    entry: Job,
    completion: Completion,
    hashes: Hashes,
) -> ReceiptRow:
    """Check the receipt, openings and settlement of a miner that signs by itself."""
    if completion.signed is None or completion.receipt is None:
        raise BadCompletion("/transaction", "the account signs by itself: receipt and transaction")
    payload = leasing.require_payload(completion.signed, JobSettle)
    row = await check_receipt(coordinator, principal, record, entry, completion, hashes)
    _require_same_receipt(completion.signed, record.job.job_id, row)
    if payload.amount != json.loads(row.document)["amount"]:
        raise BadCompletion("/transaction", "its amount is not units times price")
    return row


async def _store(coordinator: Coordinator, job: JobRow, receipt: ReceiptRow, result: Any) -> None:
    now = coordinator.get_now()

    def write(connection: Connection) -> None:
        current = sql.find(connection, JobRow, row_id=job.row_id)
        content = sql.find(connection, ContentRow, job_row_id=job.row_id)
        assert current is not None and content is not None
        if current.claim_number != job.claim_number or current.chain_status is None:
            raise Rejected(Rejection.JOB_NOT_LEASED)
        if JobStatus(current.chain_status) not in LEASE_STATES:
            raise Rejected(Rejection.JOB_TERMINAL)
        sql.insert(connection, receipt)
        sql.update(connection, content, result=json.dumps(result))
        job_rows.store_stage(connection, current, now, progress=99)

    await coordinator.storage.write(write)
    coordinator.signals.announce(job_topic(job.job_id), UPDATES)


def _forget_receipt(connection: Connection, job_id: bytes, now_ms: int) -> None:
    job = sql.find(connection, JobRow, job_id=job_id)
    assert job is not None
    job_rows.drop_attempt(connection, job)
    job_rows.store_stage(connection, job, now_ms)


def _note_settlement(
    coordinator: Coordinator, job_id: bytes
) -> Callable[[Connection, bytes], None]:
    now = coordinator.get_now()

    def note(connection: Connection, transaction_id: bytes) -> None:
        job = sql.find(connection, JobRow, job_id=job_id)
        assert job is not None
        job_rows.store_stage(connection, job, now, settle_tx=transaction_id, progress=99)

    return note


async def _read(coordinator: Coordinator, job_id: bytes) -> JobRecord:
    record = await coordinator.find_job(job_id)
    assert record is not None
    return record
