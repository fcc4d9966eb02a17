"""The rule of settlement: receipt committed, proof checked, escrow divided (rule J3)."""

import msgspec

from ledger import terms
from ledger.context import Context, credit
from ledger.entries import (
    Attempt,
    AttemptOutcome,
    Job,
    JobStatus,
    Lease,
    Settlement,
    job_key,
    miner_key,
)
from ledger.jobs import end_lease, require_holder, require_in_time, require_job
from ledger.life_cycle import Step, move, require_step
from ledger.outcomes import Event, JobSettled
from ledger.rejection import Rejected, Rejection
from ledger.state import get_miner
from ledger.transactions import JobSettle
from ledger.types import add_capped
from zk.statement import PublicInputs, address_to_field, compute_context

SETTLE_KIND = 7
"""The kind number of `JobSettle`, which the proof's context names (rule P2.4)."""


def compute_public_inputs(
    chain_id: bytes, key_id: bytes, job: Job, lease: Lease, payload: JobSettle
) -> tuple[int, ...]:
    """Return what the proof must hold for: nothing in it is the settler's choice but its own
    receipt commitment, amount and epoch time (section P3). Raises `Rejected(BAD_FIELD_ELEMENT)`.
    """
    receipt_commit = terms.check_commitment(payload.receipt_commit)
    return PublicInputs(
        job_commit=terms.check_commitment(job.job_commit),
        price_commit=terms.check_commitment(lease.price_commit),
        receipt_commit=receipt_commit,
        amount=payload.amount,
        payee=address_to_field(lease.payee),
        claim_time=lease.claimed_at,
        billing=job.billing,
        epoch_time=payload.epoch_time,
        context=compute_context(
            chain_id,
            key_id,
            SETTLE_KIND,
            payload.job,
            lease.number,
            lease.payee,
            receipt_commit,
        ),
    ).as_tuple()


def check_settle(context: Context, sender: bytes, payload: JobSettle) -> tuple[Job, Lease]:
    """Return the job and lease that a settlement may end, the proof aside. Raises `Rejected`."""
    job = require_job(context, payload.job)
    require_step(job, Step.SETTLE)
    lease = require_holder(job, sender)
    require_in_time(context, job)
    if payload.amount > job.escrow:
        raise Rejected(Rejection.AMOUNT_OVER_ESCROW)
    return job, lease


def apply_settle(context: Context, sender: bytes, payload: JobSettle) -> tuple[Event, ...]:
    """Pay the miner, the coordinator and the network, and the client the rest (rule J3).

    Raises `Rejected`; `BAD_PROOF` makes a block that carries it invalid.
    """
    rules, changes = context.rules, context.changes
    job, lease = check_settle(context, sender, payload)
    inputs = compute_public_inputs(rules.chain_id, rules.proof.key_id, job, lease, payload)
    if not rules.verify_proof(inputs, payload.proof):
        raise Rejected(Rejection.BAD_PROOF)
    amount = payload.amount
    coordinator_share = amount * rules.parameters.coordinator_share // 10_000
    network_share = amount * rules.parameters.network_share // 10_000
    payout = amount - coordinator_share - network_share
    refund = job.escrow - amount
    ended = end_lease(context, payload.job, lease, AttemptOutcome.SETTLED, 0)
    miner = get_miner(changes, lease.miner)
    assert miner is not None
    changes.put(
        miner_key(lease.miner),
        msgspec.structs.replace(
            miner,
            earned=add_capped(miner.earned, payout),
            busy_time=add_capped(miner.busy_time, context.time - lease.claimed_at),
        ),
    )
    credit(changes, lease.payee, payout)
    credit(changes, job.coordinator, coordinator_share)
    credit(changes, job.client, refund)
    settlement = Settlement(
        receipt_commit=payload.receipt_commit,
        payout=payout,
        coordinator_share=coordinator_share,
        network_share=network_share,
        refund=refund,
        height=context.height,
    )
    attempt = Attempt(lease.miner, lease.number, AttemptOutcome.SETTLED, 0)
    changes.put(
        job_key(payload.job),
        move(
            job, Step.SETTLE, JobStatus.SETTLED,
            attempts=(*job.attempts, attempt), settlement=settlement,
        ),
    )  # fmt: skip
    return (
        ended,
        JobSettled(
            job=payload.job,
            miner=lease.miner,
            number=lease.number,
            payee=lease.payee,
            receipt_commit=payload.receipt_commit,
            amount=amount,
            payout=payout,
            coordinator_share=coordinator_share,
            network_share=network_share,
            refund=refund,
        ),
    )
