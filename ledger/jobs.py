"""The rules of a job up to its end without a settlement (rules J1, J2, J4, J5 and the deadlines).

Every rule tests due-ness itself, so a backlog of deadlines changes no verdict (rule D3).
"""

import msgspec

from ledger import terms
from ledger.context import Context, credit, debit
from ledger.entries import (
    Acceptance,
    Attempt,
    AttemptOutcome,
    Job,
    JobStatus,
    Lease,
    compute_due_time,
    job_key,
    miner_key,
)
from ledger.faults import FAULT_TABLE, Reason, is_miners_own, is_reportable
from ledger.life_cycle import Step, move, require_step
from ledger.miners import require_own_miner
from ledger.outcomes import CancelStarted, Event, JobEnded, JobQueued, LeaseEnded, LeaseGranted
from ledger.rejection import Rejected, Rejection
from ledger.state import get_job, get_miner, get_totals
from ledger.transactions import JobCancel, JobClaim, JobFail, JobSubmit


def apply_submit(context: Context, sender: bytes, payload: JobSubmit) -> tuple[Event, ...]:
    """Lock the escrow and put the job into the queue (rule J1)."""
    changes, limits, time = context.changes, context.rules.parameters, context.time
    job_id = terms.compute_job_id(sender, payload.idempotency_tag)
    if get_job(changes, job_id) is not None:
        raise Rejected(Rejection.JOB_EXISTS)
    terms.check_commitment(payload.job_commit)
    if payload.escrow == 0:
        raise Rejected(Rejection.AMOUNT_IS_ZERO)
    if not time <= payload.queue_deadline <= payload.total_deadline:
        raise Rejected(Rejection.BAD_DEADLINE, "the queue deadline is over or after the total one")
    if payload.total_deadline > time + limits.maximum_job_duration or not payload.execution_limit:
        raise Rejected(Rejection.BAD_DEADLINE, "the job may not last that long, or not at all")
    debit(changes, sender, payload.escrow)
    outage = get_totals(changes).outage
    job = Job(
        client=sender,
        service=payload.service,
        billing=payload.billing,
        coordinator=payload.coordinator,
        escrow=payload.escrow,
        job_commit=payload.job_commit,
        queue_window=payload.queue_deadline - time,
        queue_deadline=payload.queue_deadline - outage,
        execution_limit=payload.execution_limit,
        total_deadline=payload.total_deadline - outage,
        submitted_at=time,
    )
    changes.put(job_key(job_id), job)
    return (JobQueued(job_id, sender, payload.escrow),)


def apply_claim(context: Context, sender: bytes, payload: JobClaim) -> tuple[Event, ...]:
    """Grant the lease to the first claim in block order (rule J2)."""
    changes, limits = context.changes, context.rules.parameters
    miner = require_own_miner(context, sender, payload.miner)
    job = require_job(context, payload.job)
    require_step(job, Step.CLAIM)
    require_in_time(context, job)
    terms.check_commitment(payload.price_commit)
    acceptance = _find_agreement(context, job, payload)
    if any(attempt.miner == payload.miner for attempt in job.attempts):
        raise Rejected(Rejection.CLAIMED_BEFORE)
    if miner.bond < limits.minimum_bond:
        raise Rejected(Rejection.BOND_TOO_LOW)
    if miner.live_leases >= limits.maximum_leases:
        raise Rejected(Rejection.MINER_AT_CAPACITY)
    ends_at = min(context.clock + job.execution_limit, job.total_deadline)
    # Else a client would set limits that nobody can keep, and live on the penalties.
    is_keepable = ends_at - context.clock >= limits.cancel_grace
    lease = Lease(
        miner=payload.miner,
        number=miner.claims + 1,
        payee=sender,
        price_commit=payload.price_commit,
        claimed_at=context.time,
        ends_at=ends_at,
        penalty=limits.lapse_penalty if is_keepable else 0,
    )
    changes.put(
        miner_key(payload.miner),
        msgspec.structs.replace(miner, claims=miner.claims + 1, live_leases=miner.live_leases + 1),
    )
    leased = move(job, Step.CLAIM, JobStatus.LEASED, lease=lease, acceptance=acceptance)
    changes.put(job_key(payload.job), leased)
    return (LeaseGranted(payload.job, lease.miner, lease.number, lease.claimed_at, lease.ends_at),)


def apply_fail(context: Context, sender: bytes, payload: JobFail) -> tuple[Event, ...]:
    """End the sender's lease by its own report, which never pays it (rule J4)."""
    job = require_job(context, payload.job)
    require_step(job, Step.REPORT)
    require_holder(job, sender)
    require_in_time(context, job)
    if not is_reportable(payload.reason_code):
        raise Rejected(Rejection.BAD_REASON_CODE)
    if job.status is JobStatus.CANCELLING:
        return _cancel_leased(context, payload.job, job, Step.REPORT)
    own = is_miners_own(payload.reason_code)
    outcome = AttemptOutcome.FAILED if own else AttemptOutcome.RELEASED
    return _retry(context, payload.job, job, Step.REPORT, outcome, payload.reason_code)


def apply_cancel(context: Context, sender: bytes, payload: JobCancel) -> tuple[Event, ...]:
    """Cancel a queued job at once, a leased one after the grace (rule J4)."""
    changes = context.changes
    job = require_job(context, payload.job)
    if job.client != sender:
        raise Rejected(Rejection.JOB_NOT_OWNED)
    require_step(job, Step.CANCEL)
    require_in_time(context, job)
    if job.status is JobStatus.QUEUED:
        return _end(
            context, payload.job, job, Step.CANCEL, JobStatus.CANCELLED,
            Reason.CANCELLED_WHILE_QUEUED,
        )  # fmt: skip
    assert job.lease is not None
    ends_at = min(job.lease.ends_at, context.clock + context.rules.parameters.cancel_grace)
    lease = msgspec.structs.replace(job.lease, ends_at=ends_at)
    changes.put(job_key(payload.job), move(job, Step.CANCEL, JobStatus.CANCELLING, lease=lease))
    return (CancelStarted(payload.job, ends_at),)


def expire_job(context: Context, job_id: bytes) -> tuple[Event, ...]:
    """Apply the deadline that has passed (rule D2)."""
    job = get_job(context.changes, job_id)
    assert job is not None
    match job.status:
        case JobStatus.QUEUED:
            return _end(
                context, job_id, job, Step.EXPIRE, JobStatus.FAILED, Reason.NO_MINER_IN_TIME
            )
        case JobStatus.LEASED:
            return _retry(
                context, job_id, job, Step.EXPIRE, AttemptOutcome.LAPSED, Reason.LEASE_LAPSED
            )
        case _:
            return _cancel_leased(context, job_id, job, Step.EXPIRE)


def require_job(context: Context, job_id: bytes) -> Job:
    """Return a job of the chain. Raises `Rejected(JOB_UNKNOWN)`."""
    job = get_job(context.changes, job_id)
    if job is None:
        raise Rejected(Rejection.JOB_UNKNOWN)
    return job


def get_held_acceptance(job: Job, clock: int) -> Acceptance | None:
    """Return the acceptance that keeps a queued job for its miner now, if one does (rule O4)."""
    held = job.acceptance
    return held if held is not None and clock <= held.holds_until else None


def require_holder(job: Job, sender: bytes) -> Lease:
    """Return the lease that the sender holds. Raises `Rejected(LEASE_NOT_HELD)`."""
    if job.lease is None or job.lease.payee != sender:
        raise Rejected(Rejection.LEASE_NOT_HELD)
    return job.lease


def require_in_time(context: Context, job: Job) -> None:
    """Check that the job's stage is not over. Raises `Rejected(JOB_DEADLINE_PASSED)`."""
    due = compute_due_time(job)
    if due is not None and context.clock > due:
        raise Rejected(Rejection.JOB_DEADLINE_PASSED)


def _find_agreement(context: Context, job: Job, payload: JobClaim) -> Acceptance | None:
    """Return the acceptance that a claim is made under. Raises `Rejected` (rules O4, O5)."""
    accepted = job.acceptance
    if accepted is None:
        return None
    is_its_miner = accepted.miner == payload.miner
    if is_its_miner and payload.price_commit == terms.commit_public_price(accepted.price):
        return accepted
    if get_held_acceptance(job, context.clock) is None:
        return None
    raise Rejected(Rejection.PRICE_NOT_ACCEPTED if is_its_miner else Rejection.JOB_HAS_OFFER)


def end_lease(
    context: Context, job_id: bytes, lease: Lease, outcome: AttemptOutcome, reason_code: int
) -> LeaseEnded:
    """Count a claim's one outcome; a fault that costs bond pays the client (rules J5, F1)."""
    changes = context.changes
    miner = get_miner(changes, lease.miner)
    job = get_job(changes, job_id)
    assert miner is not None and job is not None
    penalty = 0
    if reason_code in FAULT_TABLE and FAULT_TABLE[reason_code].costs_bond:
        penalty = min(miner.bond, lease.penalty)
        credit(changes, job.client, penalty)
    counter = outcome.name.lower()
    changes.put(
        miner_key(lease.miner),
        msgspec.structs.replace(
            miner,
            bond=miner.bond - penalty,
            live_leases=miner.live_leases - 1,
            **{counter: getattr(miner, counter) + 1},
        ),
    )
    return LeaseEnded(job_id, lease.miner, lease.number, outcome, reason_code, penalty)


def _retry(
    context: Context, job_id: bytes, job: Job, step: Step, outcome: AttemptOutcome, reason: int
) -> tuple[Event, ...]:
    """Count the attempt; queue the job again while attempts and time are left."""
    assert job.lease is not None
    ended = end_lease(context, job_id, job.lease, outcome, reason)
    attempt = Attempt(job.lease.miner, job.lease.number, outcome, reason)
    # The offer's miner has had its claim, so the acceptance would keep the job for nobody.
    tried = msgspec.structs.replace(
        job, attempts=(*job.attempts, attempt), lease=None, acceptance=None
    )
    exhausted = len(tried.attempts) >= context.rules.parameters.maximum_attempts
    if exhausted or context.clock >= job.total_deadline:
        return (ended, *_end(context, job_id, tried, step, JobStatus.FAILED, reason))
    deadline = min(job.total_deadline, context.clock + job.queue_window)
    queued = move(tried, step, JobStatus.QUEUED, queue_deadline=deadline)
    context.changes.put(job_key(job_id), queued)
    return (ended, JobQueued(job_id, job.client, job.escrow))


def _cancel_leased(context: Context, job_id: bytes, job: Job, step: Step) -> tuple[Event, ...]:
    assert job.lease is not None
    reason = Reason.CANCELLED_WHILE_LEASED
    ended = end_lease(context, job_id, job.lease, AttemptOutcome.CANCELLED, reason)
    attempt = Attempt(job.lease.miner, job.lease.number, AttemptOutcome.CANCELLED, reason)
    tried = msgspec.structs.replace(job, attempts=(*job.attempts, attempt), lease=None)
    return (ended, *_end(context, job_id, tried, step, JobStatus.CANCELLED, reason))


def _end(
    context: Context, job_id: bytes, job: Job, step: Step, status: JobStatus, reason: int
) -> tuple[Event, ...]:
    """End a job without a settlement: the whole escrow goes back (rule F2)."""
    credit(context.changes, job.client, job.escrow)
    context.changes.put(job_key(job_id), move(job, step, status, reason_code=reason))
    return (JobEnded(job_id, status, reason, job.escrow),)
