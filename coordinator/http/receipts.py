"""The receipt routes: list, get, verify. Only its owner and its miner see a receipt."""

import asyncio
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from coordinator import job_rows, receipt_documents, sql, wire
from coordinator.coordinator import Coordinator
from coordinator.http.listing import build_page
from coordinator.http.problems import Problem, not_found
from coordinator.http.receipt_models import (
    ReceiptList,
    ReceiptOpening,
    ReceiptOrBundle,
    ReceiptQuery,
    ReceiptsQuery,
    Verified,
    VerifyRequest,
)
from coordinator.http.receipt_views import read_public_inputs, view_receipt
from coordinator.http.routing import ANY_ROLE, PUBLIC, Answer, Bucket, Call, Route
from coordinator.job_rows import JOBS, RECEIPTS, JobRecord
from coordinator.principals import Principal
from coordinator.tables import JobRow
from ledger.crypto import compute_address, format_address, parse_address
from ledger.entries import Job
from ledger.receipts import ReceiptCore, read_receipt
from ledger.rejection import Rejected
from ledger.state import get_job
from ledger.transactions import JobSettle


def _is_party(record: JobRecord, caller: Principal) -> bool:
    receipt = record.receipt
    if receipt is None:
        return False
    return caller.account_id in (receipt.account_id, record.job.account_id)


async def _find_receipt(call: Call) -> JobRecord:
    """Return the job of a receipt that the caller may see; another's looks like none."""
    job_id = wire.parse_id(call.path["receipt_id"], wire.RECEIPT_PREFIX, wire.JOB_PREFIX)
    record = None
    if job_id is not None:
        record = await call.coordinator.find_job(job_id)
    if record is None or not _is_party(record, call.caller):
        raise not_found("receipt")
    return record


async def get_receipt(call: Call) -> Answer:
    record = await _find_receipt(call)
    if call.get_query(ReceiptQuery).bundle == "1":
        bundle = await call.coordinator.build_bundle(record.job.job_id)
        if bundle is None:
            raise Problem(409, "a bundle comes with the settlement", "JOB_NOT_COMPLETED")
        return Answer(bundle)
    return Answer(await view_receipt(call.coordinator, record))


async def get_opening(call: Call) -> Answer:
    record = await _find_receipt(call)
    row = record.receipt
    assert row is not None
    if not row.is_final:
        raise Problem(409, "an opening comes with the settlement", "JOB_NOT_COMPLETED")
    return Answer(receipt_documents.build_opening(record.job, row))


async def list_receipts(call: Call) -> Answer:
    query = call.get_query(ReceiptsQuery)
    mine = call.caller.account_id
    conditions: list[ColumnElement[bool]] = [
        RECEIPTS.c.is_final.is_(True),
        sa.or_(RECEIPTS.c.account_id == mine, JOBS.c.account_id == mine),
    ]
    for text, column in ((query.client, RECEIPTS.c.client), (query.provider, None)):
        if text is not None:
            conditions.append(_match_party(text, column))
    joined = RECEIPTS.join(JOBS, JOBS.c.row_id == RECEIPTS.c.job_row_id)

    def read(connection: sa.Connection) -> tuple[list[JobRecord], int]:
        total = connection.execute(
            sa.select(sa.func.count()).select_from(joined).where(*conditions)
        ).scalar_one()
        statement = JOBS.select().select_from(joined).where(*conditions)
        if query.cursor is not None:
            statement = statement.where(JOBS.c.row_id < int(query.cursor))
        newest = statement.order_by(JOBS.c.row_id.desc())
        jobs = sql.load(connection, JobRow, newest.limit(query.limit + 1).offset(query.offset))
        return job_rows.join_all(connection, jobs, has_contents=False), total

    records, total = await call.coordinator.storage.read(read)
    shown = records[: query.limit]
    items = [await view_receipt(call.coordinator, record, is_listed=True) for record in shown]
    last = shown[-1].job.row_id if shown else None
    return Answer(build_page("receipts", items, total, query, last, len(records) - len(shown)))


def _match_party(text: str, column: sa.Column[Any] | None) -> ColumnElement[bool]:
    """A client is an address; a provider is an address or a miner's name."""
    try:
        address = parse_address(text)
    except (Rejected, ValueError):
        address = b""
    if column is not None:
        return column == address
    return sa.or_(RECEIPTS.c.provider == address, RECEIPTS.c.miner == text)


async def verify(call: Call) -> Answer:
    document = call.get_body(VerifyRequest).receipt
    coordinator = call.coordinator
    core, public_key, document = await _read_receipt(coordinator, document)
    verdict = {
        "miner_signature_valid": False,
        "coordinator_attestations": 0,
        "zk_proof_valid": False,
        "included_in_block": False,
    }
    if core is not None:
        job_id = wire.parse_id(core.job_id, wire.JOB_PREFIX)
        entry = None if job_id is None else get_job(coordinator.chain.get_view(), job_id)
        if job_id is not None and entry is not None:
            verdict = await _check(coordinator, core, public_key, document, job_id, entry)
    is_valid = all(
        verdict[name] for name in ("miner_signature_valid", "zk_proof_valid", "included_in_block")
    )
    return Answer(
        Verified(
            valid=is_valid,
            **verdict,
            verified_at=wire.format_time(coordinator.get_now()),
        )
    )


async def _read_receipt(
    coordinator: Coordinator, document: dict[str, Any]
) -> tuple[ReceiptCore | None, bytes, dict[str, Any]]:
    """Return the signed core, its signer's key, and the document that holds the attestations.

    Of a receipt given by id and signature alone these are the stored one's.
    """
    try:
        return (*read_receipt(document), document)
    except Rejected:
        if set(document) - {"receipt_id", "job_id", "miner_id", "signature", "attestations"}:
            return None, b"", document
    text = document.get("receipt_id", document.get("job_id"))
    job_id = None
    if isinstance(text, str):
        job_id = wire.parse_id(text, wire.RECEIPT_PREFIX, wire.JOB_PREFIX)
    if job_id is None:
        return None, b"", document
    record = await coordinator.find_job(job_id)
    signature = document.get("signature")
    if record is None or record.receipt is None or not isinstance(signature, dict):
        return None, b"", document
    stored = json.loads(record.receipt.document)
    named = {key: document[key] for key in ("receipt_id", "job_id", "miner_id") if key in document}
    same = all(stored["signature"].get(key) == value for key, value in signature.items())
    if "sig" not in signature or not same or any(stored[k] != v for k, v in named.items()):
        return None, b"", document
    whole = receipt_documents.build_document(record.receipt)
    return (*read_receipt(stored), {**whole, **document})


async def _check(
    coordinator: Coordinator,
    core: ReceiptCore,
    public_key: bytes,
    document: dict[str, Any],
    job_id: bytes,
    entry: Job,
) -> dict[str, Any]:
    lease, settlement = entry.lease, entry.settlement
    is_signed = (
        lease is not None
        and compute_address(public_key) == lease.payee
        and core.provider == format_address(lease.payee)
        and core.chain_id == coordinator.chain.chain_id.hex()
        and (core.miner_id, core.claim_number) == (lease.miner, lease.number)
        and core.client == format_address(entry.client)
        and (core.receipt_id, core.service) == (wire.format_receipt_id(job_id), entry.service)
        and core.units * core.price == core.amount
    )
    is_included = (
        settlement is not None
        and settlement.receipt_commit.hex() == core.receipt_commit
        and not await _is_contradicted(coordinator, core, job_id)
    )
    is_proved = False
    if is_signed and is_included and settlement is not None:
        is_proved = await _check_proof(coordinator, core, job_id, entry, settlement.height)
    return {
        "miner_signature_valid": is_signed,
        "coordinator_attestations": receipt_documents.count_attestations(
            document, core.receipt_id, entry.coordinator
        ),
        "zk_proof_valid": is_proved,
        "included_in_block": is_signed and is_included,
    }


async def _is_contradicted(coordinator: Coordinator, core: ReceiptCore, job_id: bytes) -> bool:
    """Tell whether the receipt whose opening was checked here says something else.

    A miner can sign two receipts around one commitment, and the chain cannot tell them apart.
    """
    record = await coordinator.find_job(job_id)
    if record is None or record.receipt is None or not record.receipt.is_final:
        return False
    stored, _ = read_receipt(json.loads(record.receipt.document))
    return stored != core


async def _check_proof(
    coordinator: Coordinator, core: ReceiptCore, job_id: bytes, entry: Job, height: int
) -> bool:
    """Check the proof in the block, and that it is about the amount in the receipt.

    Raises `Problem(410)` where the chain begins with a later block here.
    """
    blocks = await coordinator.chain.read_blocks(height, 1)
    if not blocks:
        raise Problem(
            410, f"block {height}, with the receipt's proof, is not kept here", "BLOCK_NOT_KEPT"
        )
    for block in blocks:
        for transaction in block.transactions:
            payload = transaction.payload
            if not isinstance(payload, JobSettle) or payload.job != job_id:
                continue
            if (payload.receipt_commit.hex(), payload.amount) != (core.receipt_commit, core.amount):
                continue
            public = read_public_inputs(coordinator, entry, payload)
            if public is not None and await asyncio.to_thread(
                coordinator.rules.verify_proof, public, payload.proof
            ):
                return True
    return False


ROUTES = (
    Route(
        "GET", "/v1/receipts", list_receipts, "List one's own receipts", "Receipts",
        roles=ANY_ROLE, query=ReceiptsQuery, answers={200: ReceiptList}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/receipts/{receipt_id}", get_receipt, "Get a receipt", "Receipts",
        roles=ANY_ROLE, query=ReceiptQuery, answers={200: ReceiptOrBundle}, bucket=Bucket.POLLING,
    ),
    Route(
        "GET", "/v1/receipts/{receipt_id}/opening", get_opening,
        "Get what a settled receipt's commitments hide, for an auditor", "Receipts",
        roles=ANY_ROLE, answers={200: ReceiptOpening}, bucket=Bucket.POLLING,
    ),
    Route(
        "POST", "/v1/receipts/verify", verify, "Verify a receipt against the chain", "Receipts",
        roles=PUBLIC, body=VerifyRequest, answers={200: Verified},
    ),
)  # fmt: skip
