"""What a miner hands in, and the receipt row that it becomes: made here or checked here.

A miner whose key is kept here gets its receipt made; one that signs by itself brings it, and every
member is held against the job, the lease and the openings.
"""

import asyncio
import json
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
import rfc8785

from coordinator import acceptances, claiming, job_terms, pricing, receipt_documents
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.principals import Principal
from coordinator.receipt_documents import Ran
from coordinator.tables import JobRow, ReceiptRow
from ledger import crypto, receipts, terms
from ledger.entries import Job
from ledger.rejection import Rejected, Rejection
from ledger.state import get_miner
from ledger.terms import PriceTerms, ReceiptTerms
from ledger.transactions import VerifiedTransaction
from zk.statement import PER_SECOND

UNNAMED_ENGINE = "unnamed"
UNNAMED_RUN = Ran(UNNAMED_ENGINE)


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
    ran: Ran
    receipt: dict[str, Any] | None = None
    receipt_opening: dict[str, Any] | None = None
    price_opening: dict[str, Any] | None = None
    signed: VerifiedTransaction | None = None


class Hashes(NamedTuple):
    """Names of a completion, to tell a repetition by, and of its result, as the receipt has it."""

    request: bytes
    result: bytes


async def hash_completion(name: str, completion: Completion) -> Hashes:
    """Return the names of a completion. Raises `BadCompletion` for one without a canonical form."""
    try:
        # In a thread: the canonical form of a long result takes longer than a block may wait.
        return await asyncio.to_thread(_hash_completion, name, completion)
    except rfc8785.CanonicalizationError as error:
        raise BadCompletion("/result", f"has no canonical form: {error}") from None


def _hash_completion(name: str, completion: Completion) -> Hashes:
    members = {
        "miner": name,
        "result": completion.result,
        "units": completion.units,
        "receipt": completion.receipt,
    }
    request = sha256(rfc8785.dumps(members)).digest()
    return Hashes(request, terms.compute_content_hash(as_result(completion.result)))


def as_result(result: Any) -> dict[str, Any]:
    """Return a result as the JSON object that its hash is of: a bare text is `{"text": …}`."""
    return result if isinstance(result, dict) else {"text": result}


async def build_custodial(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    entry: Job,
    completion: Completion,
    hashes: Hashes,
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
        if job.billing == PER_SECOND:
            # A begun second counts; until it is over the settlement waits in the same way.
            completed = max(completed, min(started + 1000, job.total_deadline))
        content = record.load_content() or {"service": job.service, "input": {}, "params": {}}
        seconds = (completed - started) // 1000
        estimate = pricing.estimate_units(content, completion.result, seconds)
        units = min(estimate, job.max_units)
    _check_units(job, units, completed - started)
    accepted_price = acceptances.get_price(entry, lease.miner)
    price = claiming.derive_price_opening(seed, job, miner, accepted_price)
    if terms.commit_price_terms(price) != lease.price_commit:
        raise Rejected(
            Rejection.MINER_NOT_OWNED, "the claim was not signed here: complete it where it was"
        )
    secret = job_terms.derive_salt_secret(seed)
    opening = ReceiptTerms(
        units=units,
        started=started,
        completed=completed,
        result_hash=hashes.result,
        salt=terms.derive_salt(secret, terms.RECEIPT_SALT, job.job_id),
    )
    commitment = terms.commit_receipt_terms(opening, job.job_id, lease.payee)
    core = receipt_documents.build_core(
        job, coordinator.chain.chain_id, lease.payee, opening, price.price, completion.ran,
        commitment,
    )  # fmt: skip
    document = receipts.sign_receipt(seed, core)
    return _build_row(coordinator, principal, job, entry, document, opening, price, hashes)


async def check_receipt(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    entry: Job,
    completion: Completion,
    hashes: Hashes,
) -> ReceiptRow:
    """Check a receipt that a miner signed, and its openings, against job, lease and result."""
    job, lease = record.job, entry.lease
    assert lease is not None
    try:
        opening = terms.read_opening(completion.receipt_opening or {}, ReceiptTerms)
        price = terms.read_opening(completion.price_opening or {}, PriceTerms)
    except ValueError as error:
        raise BadCompletion("/receipt_opening", f"not an opening: {error}") from None
    if terms.commit_price_terms(price) != lease.price_commit:
        raise BadCompletion("/price_opening", "does not open the claim's price_commit")
    commitment = terms.commit_receipt_terms(opening, job.job_id, lease.payee)
    if opening.result_hash != hashes.result:
        raise BadCompletion("/receipt_opening/result_hash", "is not the result's")
    _check_units(job, opening.units, opening.completed - opening.started)
    core, public_key = receipts.parse_receipt(completion.receipt or {})
    ran = receipt_documents.get_ran(core)
    expected = receipt_documents.build_core(
        job, coordinator.chain.chain_id, lease.payee, opening, price.price, ran, commitment
    )
    mismatch = receipt_documents.find_core_mismatch(core, expected)
    if mismatch is not None:
        raise BadCompletion(f"/receipt/{mismatch}", "is not the job's, lease's or opening's")
    if crypto.compute_address(public_key) != lease.payee:
        raise BadCompletion("/receipt/signature", "is not by the miner's registered key")
    signature = (completion.receipt or {})["signature"]
    document = {**msgspec.to_builtins(core), "signature": signature}
    return _build_row(coordinator, principal, job, entry, document, opening, price, hashes)


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
    hashes: Hashes,
) -> ReceiptRow:
    assert entry.lease is not None
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
        job_row_id=job.row_id or 0,
        account_id=principal.account_id,
        miner=entry.lease.miner,
        provider=entry.lease.payee,
        client=job.client,
        document=json.dumps(core),
        attestations=json.dumps([attestation]),
        opening=json.dumps(terms.write_opening(opening)),
        price_opening=json.dumps(terms.write_opening(price)),
        request_hash=hashes.request,
        created_ms=now,
    )
