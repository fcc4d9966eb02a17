"""How a job looks to whoever asks: all members that any document names, content only to its own."""

import json
from typing import Any

from coordinator import wire
from coordinator.coordinator import Coordinator
from coordinator.http.job_models import Job, JobAttempt, Settlement
from coordinator.job_rows import JobRecord
from coordinator.phases import ENDED, Phase, Status, describe_reason, find_fault
from coordinator.receipt_rows import as_result
from coordinator.tables import JobRow
from ledger.crypto import format_address
from ledger.entries import LEASE_STATES, JobStatus
from ledger.entries import Job as ChainJob
from ledger.state import get_job


def view_job(
    coordinator: Coordinator, record: JobRecord, shows_content: bool, is_first_shape: bool = False
) -> Job:
    """Return the job; without `shows_content` neither prompt nor result."""
    job = record.job
    status = Status(job.status)
    prompt, result = _read_content(record) if shows_content else (None, None)
    ended = job.ended_ms if status in ENDED else None
    is_new = is_first_shape and status is Status.PENDING
    end = job.created_ms + job.estimated_seconds * 1000
    reason = job.reason_code if status in ENDED and job.reason_code else None
    return Job(
        job_id=wire.format_job_id(job.job_id),
        name=job.name or None,
        type=job.job_type,
        service=job.service,
        status="submitted" if is_new else status,
        phase=Phase(job.phase),
        progress=job.progress,
        prompt=prompt,
        model=job.model,
        result=result if status is Status.COMPLETED else None,
        miner_id=job.miner,
        created_at=wire.format_time(job.created_ms),
        started_at=wire.format_optional_time(job.started_ms),
        completed_at=wire.format_optional_time(ended),
        cancelled_at=wire.format_optional_time(ended if status is Status.CANCELLED else None),
        estimated_cost=wire.to_number(job.escrow),
        estimated_cost_base=str(job.escrow),
        estimated_time_seconds=job.estimated_seconds,
        estimated_completion=wire.format_time(end if ended is None else ended),
        fault=job.fault,
        reason_code=reason,
        reason=None if reason is None else describe_reason(reason),
        cancel_requested=job.cancel_requested_ms is not None,
        settlement=view_settlement(coordinator, job),
        escrow_base=str(job.escrow),
        max_price_base=str(job.max_price),
        max_units=job.max_units,
        billing=job.billing,
        deadlines={
            "queue_ms": job.queue_deadline,
            "total_ms": job.total_deadline,
            "lease_ms": job.execution_limit,
        },
        max_attempts=coordinator.chain.parameters.maximum_attempts,
        content_omitted=record.is_content_omitted,
    )


def view_with_entry(coordinator: Coordinator, record: JobRecord, shows_content: bool) -> Job:
    """Return the job with its offer and its attempts by the chain; a list leaves them out."""
    job = view_job(coordinator, record, shows_content)
    entry = get_job(coordinator.chain.get_view(), record.job.job_id)
    if entry is None:
        return job
    shown: dict[str, Any] = {"attempts": view_attempts(entry)}
    if entry.acceptance is not None:
        shown["accepted_offer"] = {
            "offer_id": wire.format_offer_id(entry.acceptance.offer),
            "miner_id": entry.acceptance.miner,
            "price": wire.format_ait(entry.acceptance.price),
            "price_base": str(entry.acceptance.price),
        }
    return job.model_copy(update=shown)


def view_attempts(entry: ChainJob) -> list[JobAttempt]:
    """Return how each claim of a job ended."""
    return [
        JobAttempt(
            miner_id=attempt.miner,
            outcome=attempt.outcome.name.lower(),
            fault=find_fault(attempt.reason_code),
            reason_code=attempt.reason_code or None,
            reason=describe_reason(attempt.reason_code),
        )
        for attempt in entry.attempts
    ]


def view_settlement(coordinator: Coordinator, job: JobRow) -> Settlement:
    """Return where a job's money is."""
    head = coordinator.chain.get_head().height
    is_final = job.end_height is not None
    transaction = job.end_tx or job.settle_tx or job.cancel_tx or job.submit_tx
    return Settlement(
        state=_name_settlement(job),
        escrow=wire.format_ait(job.escrow),
        escrow_base=str(job.escrow),
        paid=wire.format_ait(job.amount),
        paid_base=str(job.amount),
        refunded=wire.format_ait(job.refunded),
        refunded_base=str(job.refunded),
        # Of another coordinator's job the chain does not say by which transaction it came.
        tx=wire.format_transaction_id(transaction) if transaction else None,
        height=job.end_height,
        confirmations=head - job.end_height + 1 if job.end_height is not None and is_final else 0,
    )


def _name_settlement(job: JobRow) -> str:
    status = Status(job.status)
    if status is Status.COMPLETED:
        return "settled"
    if status in ENDED:
        return "refunded" if job.chain_status is not None else "none"
    if job.phase in (Phase.ESCROWING.value, Phase.SETTLING.value):
        return "pending"
    return "locked"


def _read_content(record: JobRecord) -> tuple[str | None, Any]:
    content = record.load_content()
    result = None if record.content.result is None else json.loads(record.content.result)
    if content is None:
        return None, result
    members = content.get("input", {})
    prompt = members.get("prompt")
    if not isinstance(prompt, str):
        prompt = json.dumps(members, ensure_ascii=False)
    return prompt, result


def get_result_object(record: JobRecord) -> dict[str, Any] | None:
    """Return a result as a JSON object, None when it is not there (any more)."""
    text = record.content.result
    return None if text is None else as_result(json.loads(text))


def view_chain_job(job_id: bytes, job: ChainJob) -> dict[str, Any]:
    """Return what the chain alone knows of a job, and who holds its content."""
    ends = {JobStatus.SETTLED: "completed", JobStatus.FAILED: "failed"}
    ends[JobStatus.CANCELLED] = "cancelled"
    live = "pending" if job.status is JobStatus.QUEUED else "running"
    return {
        "job_id": wire.format_job_id(job_id),
        "service": job.service,
        "status": ends.get(job.status, live),
        "prompt": None,
        "result": None,
        "miner_id": None if job.lease is None else job.lease.miner,
        "created_at": wire.format_time(job.submitted_at),
        "escrow_base": str(job.escrow),
        "coordinator": format_address(job.coordinator),
        "reason_code": job.reason_code or None,
        "attempts": [attempt.model_dump() for attempt in view_attempts(job)],
    }


def find_chain_job(coordinator: Coordinator, job_id: bytes, address: bytes) -> ChainJob | None:
    """Return the chain's job of this client or leaseholder, whoever holds its content."""
    job = get_job(coordinator.chain.get_view(), job_id)
    if job is None:
        return None
    is_held = job.status in LEASE_STATES and job.lease is not None and job.lease.payee == address
    return job if job.client == address or is_held else None
