"""How a finished job is paid: result and receipt durable, then the proof, then the settlement.

Each step goes on from rows, so after a crash the same receipt is proved and settled again.
"""

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
import rfc8785
import structlog
from sqlalchemy import Connection

from coordinator import job_rows, job_terms, leasing, pricing, receipt_documents, tables
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.principals import Principal
from coordinator.signals import job_topic
from coordinator.tables import AccountRow, ContentRow, JobRow, ReceiptRow
from ledger import receipts, terms
from ledger.entries import LEASE_STATES, Job, JobStatus
from ledger.rejection import Rejected, Rejection
from ledger.settlement import compute_public_inputs
from ledger.state import get_job, get_miner
from ledger.terms import PriceTerms, ReceiptTerms
from ledger.transactions import JobSettle, VerifiedTransaction
from zk.process import ProverBusyError, ProverCrashedError
from zk.prover import UnsatisfiedStatement
from zk.statement import PER_SECOND, PublicInputs, Witness

log = structlog.get_logger(__name__)

UNNAMED_ENGINE = "unnamed"


class BadCompletion(Exception):
    """What a miner hands in contradicts itself or the job: the member, and a sentence."""

    def __init__(self, pointer: str, sentence: str) -> None:
        super().__init__(f"{pointer}: {sentence}")
        self.pointer = pointer
        self.sentence = sentence


class Completion(NamedTuple):
    """What a miner hands in. Times in milliseconds; the last four only from one that signs."""

    result: Any
    units: int | None
    started_ms: int | None
    completed_ms: int | None
    engine: str
    receipt: dict[str, Any] | None = None
    receipt_opening: dict[str, Any] | None = None
    price_opening: dict[str, Any] | None = None
    signed: VerifiedTransaction | None = None


class Hashes(NamedTuple):
    """Names of a completion, to tell a repetition by, and of its result, as the receipt has it."""

    request: bytes
    result: bytes


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
    try:
        # In a thread: the canonical form of a long result takes longer than a block may wait.
        hashes = await asyncio.to_thread(_hash_completion, name, completion)
    except rfc8785.CanonicalizationError as error:
        raise BadCompletion("/result", f"has no canonical form: {error}") from None
    async with coordinator.job_locks.get(job_id):
        current = await _read(coordinator, job_id)
        receipt = current.receipt
        if receipt is not None and receipt.account_id == principal.account_id:
            if receipt.request_hash != hashes.request:
                raise Rejected(Rejection.JOB_TERMINAL, "the job has another result already")
            if receipt.is_final or _is_sent(current.job, completion):
                return current
        entry = leasing.require_lease(coordinator, principal, job_id, name)
        if receipt is None:
            build = _build_custodial if principal.is_custodial else _check_signed
            row = await build(coordinator, principal, current, entry, completion, hashes.result)
            row.request_hash = hashes.request
            await _store(coordinator, current.job, row, completion.result)
        if principal.is_custodial:
            await settle(coordinator, job_id)
        else:
            if completion.signed is None:
                raise BadCompletion("/transaction", "the account signs by itself")
            _require_same_receipt(completion.signed, job_id, row if receipt is None else receipt)
            # A renewed settlement does not take the place of the first before it is accepted.
            first = current.job.settle_tx is None
            note = _note_settlement(job_id) if first else leasing.record_nothing
            await coordinator.wallets.send_signed(
                principal.address, completion.signed, note, job_id
            )
            coordinator.signals.announce(job_topic(job_id))
    return await _read(coordinator, job_id)


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
    opening = terms.read_opening(json.loads(receipt.opening), ReceiptTerms)
    price = terms.read_opening(json.loads(receipt.price_opening), PriceTerms)
    payload = JobSettle(
        job=job_id,
        receipt_commit=terms.commit_receipt_terms(opening, job_id, entry.lease.payee),
        amount=opening.units * price.price,
        epoch_time=opening.completed,
        proof=bytes(192),
    )
    public = PublicInputs(
        *compute_public_inputs(
            coordinator.rules.chain_id, coordinator.rules.proof.key_id, entry, entry.lease, payload
        )
    )
    witness = Witness(
        offer=terms.build_offer(job_terms.get_terms(job)),
        price=terms.build_price(price),
        receipt=terms.build_receipt(opening),
    )
    try:
        proof = await coordinator.prover.prove(public, witness)
    except UnsatisfiedStatement as error:
        await coordinator.storage.write(lambda connection: _forget_receipt(connection, job_id))
        raise Rejected(Rejection.BAD_PROOF, str(error)) from None
    proved = msgspec.structs.replace(payload, proof=proof)
    await coordinator.wallets.send(receipt.provider, proved, _note_settlement(job_id), job_id)
    coordinator.signals.announce(job_topic(job_id))


async def resume(coordinator: Coordinator) -> None:
    """Settle what a crash left between its receipt and its settlement."""

    def read(connection: Connection) -> list[bytes]:
        jobs, receipts_, accounts = (
            tables.get_table(table) for table in (JobRow, ReceiptRow, AccountRow)
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
            log.warning("settlement not resumed", job=job_id.hex(), error=type(error).__name__)


async def _build_custodial(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    entry: Job,
    completion: Completion,
    result_hash: bytes,
) -> ReceiptRow:
    """Make and sign the receipt of a miner whose key is kept here."""
    job, lease = record.job, entry.lease
    assert lease is not None
    miner = get_miner(coordinator.chain.get_view(), lease.miner)
    assert miner is not None
    seed = await coordinator.wallets.open_seed(principal.address)
    now = coordinator.get_now()
    started = max(lease.claimed_at, min(completion.started_ms or lease.claimed_at, now - 1))
    completed = min(completion.completed_ms or now, now, job.total_deadline)
    if completed <= started:
        # A header's time may be ahead of this clock; the settlement waits until it is due.
        completed = started + 1
    units = completion.units
    if units is None:
        content = record.load_content() or {"input": {}, "params": {}}
        seconds = (completed - started) // 1000
        estimate = pricing.estimate_units(job.service, content, completion.result, seconds)
        units = min(estimate, job.max_units)
    _check_units(job, units, completed - started)
    price = leasing.derive_price_opening(seed, job, miner)
    if terms.commit_price_terms(price) != lease.price_commit:
        raise Rejected(
            Rejection.MINER_NOT_OWNED, "the claim was not signed here: complete it where it was"
        )
    secret = job_terms.derive_salt_secret(seed)
    opening = ReceiptTerms(
        units=units,
        started=started,
        completed=completed,
        result_hash=result_hash,
        salt=terms.derive_salt(secret, terms.RECEIPT_SALT, job.job_id),
    )
    commitment = terms.commit_receipt_terms(opening, job.job_id, lease.payee)
    core = receipt_documents.build_core(
        job, coordinator.chain.chain_id, lease.payee, opening, price.price, completion.engine,
        commitment,
    )  # fmt: skip
    document = receipts.sign_receipt(seed, core)
    return _build_row(coordinator, principal, job, entry, document, opening, price)


async def _check_signed(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    entry: Job,
    completion: Completion,
    result_hash: bytes,
) -> ReceiptRow:
    """Check the receipt, openings and settlement of a miner that signs by itself."""
    job, lease, signed = record.job, entry.lease, completion.signed
    assert lease is not None
    if signed is None or completion.receipt is None:
        raise BadCompletion("/transaction", "the account signs by itself: receipt and transaction")
    payload = leasing.require_payload(signed, JobSettle)
    try:
        opening = terms.read_opening(completion.receipt_opening or {}, ReceiptTerms)
        price = terms.read_opening(completion.price_opening or {}, PriceTerms)
    except ValueError as error:
        raise BadCompletion("/receipt_opening", f"not an opening: {error}") from None
    if terms.commit_price_terms(price) != lease.price_commit:
        raise BadCompletion("/price_opening", "does not open the claim's price_commit")
    commitment = terms.commit_receipt_terms(opening, job.job_id, lease.payee)
    if opening.result_hash != result_hash:
        raise BadCompletion("/receipt_opening/result_hash", "is not the result's")
    if (payload.job, payload.receipt_commit) != (job.job_id, commitment):
        raise BadCompletion("/transaction", "settles another job or receipt")
    if payload.amount != opening.units * price.price:
        raise BadCompletion("/transaction", "its amount is not units times price")
    _check_units(job, opening.units, opening.completed - opening.started)
    core, public_key = receipts.parse_receipt(completion.receipt)
    expected = receipt_documents.build_core(
        job, coordinator.chain.chain_id, lease.payee, opening, price.price, core.engine, commitment
    )
    mismatch = receipt_documents.find_core_mismatch(core, expected)
    if mismatch is not None:
        raise BadCompletion(f"/receipt/{mismatch}", "is not the job's, lease's or opening's")
    if public_key != signed.transaction.sender:
        raise BadCompletion("/receipt/signature", "is not by the miner's registered key")
    document = {
        **msgspec.to_builtins(core),
        "signature": completion.receipt["signature"],
    }
    return _build_row(coordinator, principal, job, entry, document, opening, price)


def _check_units(job: JobRow, units: int, duration_ms: int) -> None:
    if not 1 <= units <= job.max_units:
        raise BadCompletion("/units", f"must be from 1 to {job.max_units}")
    if job.billing == PER_SECOND and units * 1000 > duration_ms:
        raise BadCompletion("/units", "more seconds than between started and completed")


def _build_row(
    coordinator: Coordinator,
    principal: Principal,
    job: JobRow,
    entry: Job,
    document: dict[str, Any],
    opening: ReceiptTerms,
    price: PriceTerms,
) -> ReceiptRow:
    assert entry.lease is not None and job.row_id is not None
    now = coordinator.get_now()
    attestation = receipt_documents.sign_attestation(
        coordinator.seed,
        "completion",
        job.job_id,
        now,
        {"result_hash": opening.result_hash.hex(), "claim_number": entry.lease.number},
    )
    core = {name: value for name, value in document.items() if name != "attestations"}
    return ReceiptRow(
        job_row_id=job.row_id,
        account_id=principal.account_id,
        miner=entry.lease.miner,
        provider=entry.lease.payee,
        client=job.client,
        document=json.dumps(core),
        attestations=json.dumps([attestation]),
        opening=json.dumps(terms.write_opening(opening)),
        price_opening=json.dumps(terms.write_opening(price)),
        request_hash=b"",
        created_ms=now,
    )


async def _store(coordinator: Coordinator, job: JobRow, receipt: ReceiptRow, result: Any) -> None:
    def write(connection: Connection) -> None:
        current = tables.find(connection, JobRow, row_id=job.row_id)
        content = tables.find(connection, ContentRow, job_row_id=job.row_id)
        assert current is not None and content is not None
        if current.claim_number != job.claim_number or current.chain_status is None:
            raise Rejected(Rejection.JOB_NOT_LEASED)
        if JobStatus(current.chain_status) not in LEASE_STATES:
            raise Rejected(Rejection.JOB_TERMINAL)
        tables.insert(connection, receipt)
        tables.update(connection, content, result=json.dumps(result), partial=None)
        job_rows.store_stage(connection, current, progress=99)

    await coordinator.storage.write(write)
    coordinator.signals.announce(job_topic(job.job_id))


def _forget_receipt(connection: Connection, job_id: bytes) -> None:
    job = tables.find(connection, JobRow, job_id=job_id)
    assert job is not None
    job_rows.drop_attempt(connection, job)
    job_rows.store_stage(connection, job)


def _note_settlement(job_id: bytes) -> Callable[[Connection, bytes], None]:
    def note(connection: Connection, transaction_id: bytes) -> None:
        job = tables.find(connection, JobRow, job_id=job_id)
        assert job is not None
        job_rows.store_stage(connection, job, settle_tx=transaction_id, progress=99)

    return note


def as_result(result: Any) -> dict[str, Any]:
    """Return a result as the JSON object that its hash is of: a bare text is `{"text": …}`."""
    return result if isinstance(result, dict) else {"text": result}


async def _read(coordinator: Coordinator, job_id: bytes) -> JobRecord:
    record = await coordinator.find_job(job_id)
    assert record is not None
    return record


def _hash_completion(name: str, completion: Completion) -> Hashes:
    members = {
        "miner": name,
        "result": completion.result,
        "units": completion.units,
        "receipt": completion.receipt,
    }
    request = sha256(rfc8785.dumps(members)).digest()
    return Hashes(request, terms.compute_content_hash(as_result(completion.result)))
