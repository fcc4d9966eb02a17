"""How a result of another coordinator's job is handed in and paid (rule H7).

First the result is durable where the client will read it, and its coordinator has signed for that;
then the settlement is sent. What a custodial miner is owed goes on from its row after a crash; one
that signs by itself keeps its result and hands it in again.
"""

import asyncio
import json
from typing import Any, Final

import structlog

from coordinator import (
    completion,
    foreign_leasing,
    foreign_rows,
    leasing,
    receipt_documents,
    relay,
    sealing,
    sql,
    wire,
)
from coordinator.coordinator import Coordinator
from coordinator.foreign_content import ContentPending
from coordinator.job_rows import JobRecord
from coordinator.ports import Unreachable
from coordinator.principals import Principal
from coordinator.receipt_rows import (
    BadCompletion,
    Completion,
    build_custodial,
    hash_completion,
)
from coordinator.relay import HomeRefused
from coordinator.relay_messages import MAX_RESULT_BYTES, HandIn, Refusal, Taken
from coordinator.tables import ForeignLeaseRow, ReceiptRow
from coordinator.wallets import Record
from ledger import codec, terms
from ledger.crypto import parse_address
from ledger.entries import LEASE_STATES, Job
from ledger.faults import Reason
from ledger.receipts import parse_receipt
from ledger.rejection import Rejected, Rejection
from ledger.state import get_job
from ledger.terms import Terms
from ledger.transactions import MAX_TRANSACTION_BYTES, JobSettle
from zk.process import ProverBusyError, ProverCrashedError

log = structlog.get_logger(__name__)

GIVE_UP_MS: Final = 30_000
"""What is left of a lease when a result that nobody takes is given up, so that it costs no bond; a
quarter of a shorter lease."""


async def complete_job(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    given: Completion,
) -> JobRecord:
    """Hand a result in, submit its settlement, return the job with its receipt.

    Raises `Rejected`, `BadCompletion`, `Unreachable`, `HomeRefused`, `ContentPending`,
    `ProverBusyError`.
    """
    await coordinator.wait_followed()
    if principal.is_custodial:
        return await _complete_custodial(coordinator, principal, record, name, given)
    return await _complete_signed(coordinator, principal, record, name, given)


async def _complete_signed(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    given: Completion,
) -> JobRecord:
    job_id, signed, document = record.job.job_id, given.signed, given.receipt
    if signed is None or document is None:
        raise BadCompletion("/transaction", "the account signs by itself: receipt and transaction")
    payload = leasing.require_payload(signed, JobSettle)
    if (payload.job, payload.receipt_commit.hex()) != (job_id, document.get("receipt_commit")):
        raise BadCompletion("/transaction", "settles another job or receipt")
    parse_receipt(document)
    sent = await coordinator.wallets.find(signed.id)
    attestations = "[]"
    # A settlement that has left here did so behind the coordinator's word for the result.
    if sent is None or sent.state not in ("pending", "final"):
        leasing.require_lease(coordinator, principal, job_id, name)
        result = await asyncio.to_thread(_encode_result, name, given)
        attestations = await _hand_in(coordinator, job_id, result)
        await coordinator.wallets.send_signed(
            principal.address, signed, leasing.record_nothing, job_id
        )
    receipt = _build_receipt(coordinator, record, document, attestations)
    receipt.opening = json.dumps(given.receipt_opening or {})
    receipt.price_opening = json.dumps(given.price_opening or {})
    record.job.settle_tx = signed.id
    return record._replace(receipt=receipt)


def _encode_result(name: str, given: Completion) -> bytes:
    members = {
        "miner": name,
        "result": given.result,
        "units": given.units,
        "receipt": given.receipt,
        "receipt_opening": given.receipt_opening or {},
        "price_opening": given.price_opening or {},
    }
    data = json.dumps(members, ensure_ascii=False).encode()
    if len(data) > MAX_RESULT_BYTES:
        raise BadCompletion("/result", "is too large to be handed in at another coordinator")
    return data


async def _hand_in(coordinator: Coordinator, job_id: bytes, result: bytes) -> str:
    """Return the coordinator's attestations, as JSON, once it has made a result durable.

    Raises `Unreachable`, `HomeRefused`, `BadCompletion`, `Rejected`.
    """
    entry = _require_live(coordinator, job_id)
    assert entry.lease is not None
    key = await relay.find_key(coordinator, entry.coordinator, job_id)
    box = await asyncio.to_thread(sealing.seal, result, sealing.compute_box_key(key))
    question = HandIn(job_id, entry.lease.number, box)
    try:
        taken = await relay.ask_home(coordinator, entry.coordinator, question, Taken)
    except HomeRefused as error:
        if error.refusal is Refusal.RESULT_REFUSED:
            pointer, _, sentence = error.detail.partition(": ")
            raise BadCompletion(pointer if sentence else "/result", sentence or pointer) from None
        if error.refusal is Refusal.OTHER_RESULT:
            raise Rejected(Rejection.JOB_TERMINAL, "the job has another result already") from None
        raise
    if not _is_attested(taken.attestations, job_id, entry.coordinator):
        raise Unreachable("the coordinator did not sign for the result")
    return taken.attestations.decode()


def _require_live(coordinator: Coordinator, job_id: bytes) -> Job:
    entry = get_job(coordinator.chain.get_view(), job_id)
    if entry is None or entry.status not in LEASE_STATES:
        raise Rejected(Rejection.JOB_NOT_LEASED, "the lease has ended already")
    return entry


def _is_attested(data: bytes, job_id: bytes, home: bytes) -> bool:
    try:
        attestations = json.loads(data)
    except (ValueError, RecursionError):
        return False
    document = {"attestations": attestations}
    receipt_id = wire.format_receipt_id(job_id)
    return receipt_documents.count_attestations(document, receipt_id, home) > 0


def _build_receipt(
    coordinator: Coordinator, record: JobRecord, document: dict[str, Any], attestations: str
) -> ReceiptRow:
    """Return a whole receipt as its row would look here; the chain says whether it is final."""
    entry = get_job(coordinator.chain.get_view(), record.job.job_id)
    settlement = None if entry is None else entry.settlement
    is_final = (
        settlement is not None and settlement.receipt_commit.hex() == document["receipt_commit"]
    )
    if settlement is not None:
        record.job.end_height = settlement.height
    core = {name: value for name, value in document.items() if name != "attestations"}
    return ReceiptRow(
        job_row_id=0,
        account_id=0,
        miner=document["miner_id"],
        provider=parse_address(document["provider"]),
        client=record.job.client,
        document=json.dumps(core),
        attestations=attestations,
        opening="{}",
        price_opening="{}",
        request_hash=b"",
        created_ms=coordinator.get_now(),
        is_final=is_final,
    )


async def _complete_custodial(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    name: str,
    given: Completion,
) -> JobRecord:
    job_id = record.job.job_id
    hashes = await hash_completion(name, given)
    async with coordinator.job_locks.get(job_id):
        row = await _read_own(coordinator, principal, job_id, name)
        if row.request_hash not in (None, hashes.request):
            raise Rejected(Rejection.JOB_TERMINAL, "the job has another result already")
        await leasing.require_kept(coordinator, principal.address, job_id)
        if row.document is None:
            entry = leasing.require_lease(coordinator, principal, job_id, name)
            seconds = coordinator.settings.claim_wait
            row = await foreign_leasing.fetch_custodial(
                coordinator, principal.address, job_id, name, seconds
            )
            whole = foreign_leasing.restore_record(record, row)
            receipt = await build_custodial(coordinator, principal, whole, entry, given, hashes)
            await _store_receipt(coordinator, row, receipt, name, given)
        if row.end_tx is None:
            leasing.require_lease(coordinator, principal, job_id, name)
            await settle(coordinator, principal.address, row)
    assert row.document is not None and row.opening is not None and row.price_opening is not None
    shown = _build_receipt(coordinator, record, json.loads(row.document), row.attestations or "[]")
    shown.opening, shown.price_opening = row.opening, row.price_opening
    record.job.settle_tx = row.end_tx
    return record._replace(receipt=shown)


async def _read_own(
    coordinator: Coordinator, principal: Principal, job_id: bytes, name: str
) -> ForeignLeaseRow:
    row = await coordinator.storage.read(lambda connection: foreign_rows.find(connection, job_id))
    if row is None or (row.account_id, row.miner) != (principal.account_id, name):
        leasing.require_lease(coordinator, principal, job_id, name)
        raise Rejected(
            Rejection.MINER_NOT_OWNED, "the claim was not signed here: complete it where it was"
        )
    return row


async def _store_receipt(
    coordinator: Coordinator,
    row: ForeignLeaseRow,
    receipt: ReceiptRow,
    name: str,
    given: Completion,
) -> None:
    """Make a receipt durable, with the result that is owed to the job's coordinator."""
    document = json.loads(receipt.document)
    owed = given._replace(
        units=document["units"],
        receipt=document,
        receipt_opening=json.loads(receipt.opening),
        price_opening=json.loads(receipt.price_opening),
    )
    result = await asyncio.to_thread(_encode_result, name, owed)
    await _update(
        coordinator,
        row,
        request_hash=receipt.request_hash,
        document=receipt.document,
        opening=receipt.opening,
        price_opening=receipt.price_opening,
        result=result,
    )


async def settle(coordinator: Coordinator, address: bytes, row: ForeignLeaseRow) -> None:
    """Prove a custodial miner's receipt, hand its result in, submit the settlement, each once.

    Under the job's lock. Raises `Unreachable`, `HomeRefused`, `BadCompletion`, `Rejected`, and the
    prover's own.
    """
    assert row.terms is not None and row.opening is not None and row.price_opening is not None
    job_id = row.job_id
    if row.settlement is None:
        offer = terms.read_opening(json.loads(row.terms), Terms)
        entry = _require_live(coordinator, job_id)
        try:
            payload = await completion.prove_settlement(
                coordinator, entry, offer, row.opening, row.price_opening
            )
        except Rejected:
            await _forget_receipt(coordinator, row)
            raise
        await _update(coordinator, row, settlement=codec.encode(payload))
    if row.result is not None:
        try:
            attestations = await _hand_in(coordinator, job_id, row.result)
        except BadCompletion:
            await _forget_receipt(coordinator, row)
            raise
        await _update(coordinator, row, result=None, attestations=attestations)
    assert row.settlement is not None
    payload = codec.decode(row.settlement, JobSettle, MAX_TRANSACTION_BYTES)
    await coordinator.wallets.send(address, payload, _note_end(row), job_id)


def _note_end(row: ForeignLeaseRow) -> Record:
    return lambda connection, transaction: sql.update(connection, row, end_tx=transaction)


async def _forget_receipt(coordinator: Coordinator, row: ForeignLeaseRow) -> None:
    names = ("request_hash", "document", "opening", "price_opening", "result", "settlement")
    await _update(coordinator, row, **dict.fromkeys(names))


async def _update(coordinator: Coordinator, row: ForeignLeaseRow, **values: Any) -> None:
    await coordinator.storage.write(lambda connection: sql.update(connection, row, **values))


async def run(coordinator: Coordinator) -> None:
    """Look after what custodial miners hold and owe elsewhere, until cancelled."""
    while True:
        for row in await coordinator.storage.read(foreign_rows.list_open):
            lock = coordinator.job_locks.get(row.job_id)
            if lock.locked():
                continue
            async with lock:
                await _tend(coordinator, row)
        await asyncio.sleep(coordinator.settings.resubmit_seconds)


async def _tend(coordinator: Coordinator, row: ForeignLeaseRow) -> None:
    """Take one lease a step further: fetch, hand in, or give back while that costs nothing."""
    job_id = row.job_id
    entry = get_job(coordinator.chain.get_view(), job_id)
    lease = None if entry is None or entry.status not in LEASE_STATES else entry.lease
    if entry is None or lease is None or lease.miner != row.miner:
        return
    ends_at = leasing.get_lease_end(coordinator, lease.ends_at)
    left = ends_at - coordinator.get_now()
    give_up = min(GIVE_UP_MS, (ends_at - lease.claimed_at) // 4)
    is_owed = row.content is None or row.result is not None
    reason = Reason.CONTENT_UNAVAILABLE
    try:
        if is_owed and 0 < left <= give_up:
            sentence = "the job's coordinator is not there"
            await foreign_leasing.give_back(coordinator, lease.payee, job_id, reason, sentence)
        elif row.content is None:
            await foreign_leasing.fetch_custodial(coordinator, lease.payee, job_id, row.miner, 0)
        elif row.document is not None:
            try:
                await settle(coordinator, lease.payee, row)
            except BadCompletion as error:
                # It was built by the rules here, and nobody is left to hear of the refusal.
                await foreign_leasing.give_back(
                    coordinator, lease.payee, job_id, reason, str(error)
                )
    except (
        ContentPending,
        HomeRefused,
        ProverBusyError,
        ProverCrashedError,
        Rejected,
        Unreachable,
    ) as error:
        log.warning(
            "foreign lease waits", job_id=wire.format_job_id(job_id), error=type(error).__name__
        )
