"""How a job begins and how its owner ends it: rows first, then the transaction, never twice."""

import json
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from coordinator import job_files, job_rows, job_terms, sql, wallets
from coordinator.coordinator import Coordinator
from coordinator.job_rows import JobRecord
from coordinator.matching import Requirements
from coordinator.phases import ENDED, Status
from coordinator.pricing import Cost
from coordinator.principals import Principal
from coordinator.signals import UPDATES, job_topic
from coordinator.tables import ContentRow, JobRow
from ledger import codec, terms
from ledger.entries import JobStatus
from ledger.rejection import REJECTIONS, Rejected, Rejection
from ledger.state import get_job
from ledger.terms import Terms
from ledger.transactions import JobCancel, JobSubmit, VerifiedTransaction


class JobDraft(NamedTuple):
    """A job that has been understood and not yet paid for."""

    name: str | None
    job_type: str
    service: str
    model: str
    content: dict[str, Any]
    input_hash: bytes
    request: dict[str, Any]
    requirements: Requirements
    billing: int
    cost: Cost
    timeout_seconds: int
    estimated_seconds: int
    files: tuple[int, ...] = ()
    """Rows of the files that the content names."""


class SignatureNeeded(Exception):
    """The account signs by itself: these are the payload and the terms to sign for."""

    def __init__(self, payload: JobSubmit, opening: Terms, content: dict[str, Any]) -> None:
        super().__init__("the account signs by itself")
        self.payload = payload
        self.opening = opening
        self.content = content


class BadSubmission(Exception):
    """A signed submission does not say what the body says."""


async def create_job(
    coordinator: Coordinator,
    principal: Principal,
    draft: JobDraft,
    idempotency_key: str | None,
    signed: VerifiedTransaction | None = None,
    opening: Terms | None = None,
) -> JobRecord:
    """Record the job, submit its escrow, return it; the same key and draft return the same job.

    Raises `Rejected`, `SignatureNeeded` and `BadSubmission`.
    """
    tag = job_terms.make_idempotency_tag(principal.address, idempotency_key)
    if signed is not None and isinstance(signed.transaction.payload, JobSubmit):
        tag = signed.transaction.payload.idempotency_tag
    job_id = terms.compute_job_id(principal.address, tag)
    request_hash = _hash_draft(draft)
    async with coordinator.job_locks.get(job_id):
        # Without a key the tag is random, and names no job before.
        if idempotency_key is not None or signed is not None:
            known = await find_own_job(coordinator, principal, job_id)
            if known is not None:
                if known.job.request_hash != request_hash:
                    raise Rejected(Rejection.JOB_EXISTS)
                return known
            if get_job(coordinator.chain.get_view(), job_id) is not None:
                raise Rejected(Rejection.JOB_EXISTS)
        seed = None
        salt = opening.salt if opening is not None else bytes(32)
        if principal.is_custodial:
            seed = await coordinator.wallets.open_seed(principal.address)
            secret = job_terms.derive_salt_secret(seed)
            salt = terms.derive_salt(secret, terms.OFFER_SALT, job_id)
        row = _build_row(coordinator, principal, draft, job_id, request_hash, salt)
        payload = _build_payload(coordinator, row, tag)
        if seed is not None:
            return await _submit(coordinator, principal, draft, row, payload, seed)
        if signed is None or opening is None:
            raise SignatureNeeded(payload, job_terms.get_terms(row), draft.content)
        _adopt_signed(coordinator, row, payload, signed, opening)
        return await _submit(coordinator, principal, draft, row, payload, signed)


async def find_own_job(
    coordinator: Coordinator, principal: Principal, job_id: bytes
) -> JobRecord | None:
    """Return a job of this account; another's looks like none."""
    record = await coordinator.find_job(job_id)
    return record if record is not None and record.job.account_id == principal.account_id else None


async def cancel_job(
    coordinator: Coordinator,
    principal: Principal,
    record: JobRecord,
    signed: VerifiedTransaction | None = None,
) -> JobRecord:
    """Cancel a job and wait until the chain has it; cancelling again changes nothing.

    Raises `Rejected`: `JOB_TERMINAL` when the job ended otherwise.
    """
    job_id = record.job.job_id
    async with coordinator.job_locks.get(job_id):
        current = await find_own_job(coordinator, principal, job_id)
        assert current is not None
        job = current.job
        if job.status == Status.CANCELLED.value or job.chain_status == JobStatus.CANCELLING:
            return current
        if Status(job.status) in ENDED:
            raise Rejected(Rejection.JOB_TERMINAL, f"the job is {job.status}")
        transaction = job.cancel_tx
        if transaction is None:
            now = coordinator.get_now()

            def note(connection: Connection, transaction_id: bytes) -> None:
                row = sql.find(connection, JobRow, job_id=job_id)
                assert row is not None
                job_rows.store_stage(
                    connection, row, now, cancel_tx=transaction_id, cancel_requested_ms=now
                )

            if principal.is_custodial:
                transaction = await coordinator.wallets.send(
                    principal.address, JobCancel(job_id), note, job_id
                )
            else:
                if signed is None:
                    raise Rejected(
                        Rejection.BAD_SIGNATURE,
                        "the account signs by itself: send `transaction`, a signed job_cancel",
                    )
                if signed.transaction.payload != JobCancel(job_id):
                    raise Rejected(Rejection.MALFORMED, "the transaction cancels another job")
                transaction = await coordinator.wallets.send_signed(
                    principal.address, signed, note, job_id
                )
    coordinator.signals.announce(job_topic(job_id), UPDATES)
    verdict = await coordinator.wallets.wait_final(transaction, coordinator.settings.claim_wait)
    if verdict is not None and verdict.code:
        raise Rejected(REJECTIONS[verdict.code])
    final = await find_own_job(coordinator, principal, job_id)
    assert final is not None
    return final


def _build_row(
    coordinator: Coordinator,
    principal: Principal,
    draft: JobDraft,
    job_id: bytes,
    request_hash: bytes,
    salt: bytes,
) -> JobRow:
    now = coordinator.get_now()
    duration = draft.timeout_seconds * 1000
    execution = min(duration, coordinator.settings.lease_seconds * 1000)
    return JobRow(
        job_id=job_id,
        account_id=principal.account_id,
        client=principal.address,
        request_hash=request_hash,
        name=draft.name or "",
        job_type=draft.job_type,
        service=draft.service,
        model=draft.model,
        requirements=msgspec.json.encode(draft.requirements).decode(),
        billing=draft.billing,
        max_units=draft.cost.max_units,
        max_price=draft.cost.max_price,
        escrow=draft.cost.escrow,
        input_hash=draft.input_hash,
        salt=salt,
        created_ms=now,
        queue_deadline=now + duration - min(execution, duration // 2),
        execution_limit=execution,
        total_deadline=now + duration,
        submit_tx=bytes(32),
        estimated_seconds=draft.estimated_seconds,
    )


def _build_payload(coordinator: Coordinator, row: JobRow, tag: bytes) -> JobSubmit:
    return JobSubmit(
        idempotency_tag=tag,
        service=row.service,
        billing=row.billing,
        coordinator=coordinator.address,
        escrow=row.escrow,
        job_commit=terms.commit_terms(job_terms.get_terms(row)),
        queue_deadline=row.queue_deadline,
        execution_limit=row.execution_limit,
        total_deadline=row.total_deadline,
    )


def _adopt_signed(
    coordinator: Coordinator,
    row: JobRow,
    built: JobSubmit,
    signed: VerifiedTransaction,
    opening: Terms,
) -> None:
    """Take the holder's own limits and times, where they fit the body. Raises `BadSubmission`."""
    payload = signed.transaction.payload
    if not isinstance(payload, JobSubmit):
        raise BadSubmission("the transaction is no job_submit")
    if (payload.service, payload.billing) != (built.service, built.billing):
        raise BadSubmission("the transaction names another service")
    if payload.coordinator != coordinator.address:
        raise BadSubmission("the transaction names another coordinator")
    if terms.commit_terms(opening) != payload.job_commit:
        raise BadSubmission("the terms do not open the transaction's job_commit")
    if opening.not_before:
        raise BadSubmission("not_before must be 0")
    if opening.max_units < 1 or opening.max_price < 1:
        raise BadSubmission("max_units and max_price must be at least 1")
    if opening.max_units * opening.max_price > payload.escrow:
        raise BadSubmission("the escrow does not cover max_units times max_price")
    row.max_units, row.max_price, row.escrow = opening.max_units, opening.max_price, payload.escrow
    row.queue_deadline, row.execution_limit = payload.queue_deadline, payload.execution_limit
    row.total_deadline = payload.total_deadline
    if job_terms.get_terms(row) != opening:
        raise BadSubmission("the terms are not those of this job, client, model, input or deadline")


async def _submit(
    coordinator: Coordinator,
    principal: Principal,
    draft: JobDraft,
    row: JobRow,
    payload: JobSubmit,
    signer: bytes | VerifiedTransaction,
) -> JobRecord:
    """Submit by a seed or as signed; return the job as it was recorded."""
    content, request = json.dumps(draft.content), json.dumps(draft.request)

    def record(connection: Connection, transaction_id: bytes) -> None:
        row.submit_tx = transaction_id
        job_rows.add_job(connection, row, content, request)
        assert row.row_id is not None
        job_files.note_uses(connection, row.row_id, draft.files)

    try:
        if isinstance(signer, bytes):
            await coordinator.wallets.send(
                principal.address, payload, record, row.job_id, seed=signer
            )
        else:
            await _require_funds(coordinator, principal, signer)
            await coordinator.wallets.send_signed(principal.address, signer, record, row.job_id)
    except Rejected:
        await coordinator.storage.write(
            lambda connection: job_rows.delete_job(connection, row.job_id)
        )
        raise
    assert row.row_id is not None
    return JobRecord(row, ContentRow(job_row_id=row.row_id, content=content, request=request), None)


async def _require_funds(
    coordinator: Coordinator, principal: Principal, signed: VerifiedTransaction
) -> None:
    transaction = signed.transaction
    spend = wallets.compute_spend(transaction.payload, transaction.fee)
    spendable = await coordinator.wallets.get_spendable(principal.address)
    if spendable < spend:
        raise Rejected(
            Rejection.INSUFFICIENT_BALANCE,
            f"{spendable} base units can be spent, {spend} are needed",
        )


def _hash_draft(draft: JobDraft) -> bytes:
    members = draft._replace(input_hash=b"")._asdict()
    members["requirements"] = msgspec.to_builtins(draft.requirements)
    members["cost"] = list(draft.cost)
    members["input_hash"] = draft.input_hash.hex()
    return sha256(json.dumps(members, sort_keys=True).encode()).digest()


def encode_payload(payload: JobSubmit) -> str:
    """Return a payload's canonical bytes as hex: what a holder signs around."""
    return codec.encode(payload).hex()
