"""The rules of the marketplace: offers and their acceptance (rules O1 to O5).

An offer holds no money and is never processed at its end: every rule tests for itself whether it
can still be accepted.
"""

from typing import Final

import msgspec

from ledger import terms
from ledger.context import Context
from ledger.entries import Acceptance, Job, Offer, job_key, offer_key
from ledger.jobs import get_held_acceptance, require_in_time, require_job
from ledger.life_cycle import Step, require_step
from ledger.miners import require_own_miner
from ledger.outcomes import Event, OfferAccepted, OfferCancelled, OfferCreated
from ledger.rejection import Rejected, Rejection
from ledger.state import get_miner, get_offer, get_totals
from ledger.transactions import OfferAccept, OfferCancel, OfferCreate

ACCEPTANCE_WINDOW: Final = 60_000
"""Milliseconds for which an acceptance keeps a job for its miner alone."""


def apply_create(context: Context, sender: bytes, payload: OfferCreate) -> tuple[Event, ...]:
    """Enter an offer of the sender's own active miner (rule O1)."""
    changes = context.changes
    require_own_miner(context, sender, payload.miner)
    offer_id = terms.compute_offer_id(sender, payload.idempotency_tag)
    if get_offer(changes, offer_id) is not None:
        raise Rejected(Rejection.OFFER_EXISTS)
    if payload.price == 0:
        raise Rejected(Rejection.AMOUNT_IS_ZERO)
    if payload.expires_at < context.time:
        raise Rejected(Rejection.BAD_DEADLINE, "the offer is over before it begins")
    offer = Offer(
        miner=payload.miner,
        owner=sender,
        service=payload.service,
        billing=payload.billing,
        price=payload.price,
        max_jobs=payload.max_jobs,
        metadata=payload.metadata,
        created_at=context.time,
        ends_at=payload.expires_at - get_totals(changes).outage,
    )
    changes.put(offer_key(offer_id), offer)
    return (
        OfferCreated(
            offer=offer_id,
            miner=offer.miner,
            service=offer.service,
            price=offer.price,
            max_jobs=offer.max_jobs,
            ends_at=offer.ends_at,
        ),
    )


def apply_cancel(context: Context, sender: bytes, payload: OfferCancel) -> tuple[Event, ...]:
    """Withdraw an offer; acceptances made before stand (rule O2)."""
    offer = _require_offer(context, payload.offer)
    if offer.owner != sender:
        raise Rejected(Rejection.OFFER_NOT_OWNED)
    if offer.is_cancelled:
        raise Rejected(Rejection.OFFER_CANCELLED)
    cancelled = msgspec.structs.replace(offer, is_cancelled=True)
    context.changes.put(offer_key(payload.offer), cancelled)
    return (OfferCancelled(payload.offer, offer.miner),)


def apply_accept(context: Context, sender: bytes, payload: OfferAccept) -> tuple[Event, ...]:
    """Keep the sender's queued job for the offer's miner, at the offer's price (rule O3)."""
    changes, clock = context.changes, context.clock
    job = require_job(context, payload.job)
    if job.client != sender:
        raise Rejected(Rejection.JOB_NOT_OWNED)
    # Only a job that could be claimed now can be kept for a miner.
    require_step(job, Step.CLAIM)
    require_in_time(context, job)
    if get_held_acceptance(job, clock) is not None:
        raise Rejected(Rejection.JOB_HAS_OFFER)
    offer = _require_offer(context, payload.offer)
    reason = find_obstacle(offer, clock)
    if reason is not None:
        raise Rejected(reason)
    _check_match(context, job, offer)
    acceptance = Acceptance(
        offer=payload.offer,
        miner=offer.miner,
        price=offer.price,
        holds_until=min(job.queue_deadline, clock + ACCEPTANCE_WINDOW),
    )
    accepted = offer.accepted + 1
    changes.put(offer_key(payload.offer), msgspec.structs.replace(offer, accepted=accepted))
    changes.put(job_key(payload.job), msgspec.structs.replace(job, acceptance=acceptance))
    return (
        OfferAccepted(
            job=payload.job,
            offer=payload.offer,
            miner=offer.miner,
            price=offer.price,
            holds_until=acceptance.holds_until,
            left=offer.max_jobs - accepted,
        ),
    )


def find_obstacle(offer: Offer, clock: int) -> Rejection | None:
    """Return why nobody can accept an offer at a working-clock time, or None where one can."""
    if offer.is_cancelled:
        return Rejection.OFFER_CANCELLED
    if clock > offer.ends_at:
        return Rejection.OFFER_EXPIRED
    if offer.accepted >= offer.max_jobs:
        return Rejection.OFFER_USED_UP
    return None


def _check_match(context: Context, job: Job, offer: Offer) -> None:
    """Check that the offer's miner could claim this job at this price. Raises `Rejected`."""
    if (job.service, job.billing) != (offer.service, offer.billing):
        raise Rejected(Rejection.OFFER_DIFFERS)
    if offer.price > job.escrow:
        raise Rejected(Rejection.AMOUNT_OVER_ESCROW, "one unit at this price is over the escrow")
    miner = get_miner(context.changes, offer.miner)
    assert miner is not None and miner.owner == offer.owner
    if not miner.is_active:
        raise Rejected(Rejection.MINER_NOT_ACTIVE)
    if miner.bond < context.rules.parameters.minimum_bond:
        raise Rejected(Rejection.BOND_TOO_LOW)
    if any(attempt.miner == offer.miner for attempt in job.attempts):
        raise Rejected(Rejection.CLAIMED_BEFORE)


def _require_offer(context: Context, offer_id: bytes) -> Offer:
    offer = get_offer(context.changes, offer_id)
    if offer is None:
        raise Rejected(Rejection.OFFER_UNKNOWN)
    return offer
