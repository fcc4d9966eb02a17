"""How offers are made, withdrawn and accepted for a job, and what there is to say of each.

The rules are the chain's (docs/protocol/marketplace.md). What is decided here is what can be known
before a transaction is worth its fee; whoever is beaten to the last place learns it from the block.
"""

import hmac
import secrets
from hashlib import sha256
from typing import Final, NamedTuple

from coordinator import leasing
from coordinator.coordinator import Coordinator
from coordinator.foreign_jobs import build_record
from coordinator.job_rows import JobRecord
from coordinator.offer_book import get_job_type
from coordinator.phases import Status
from coordinator.principals import Principal
from coordinator.submission import find_own_job
from coordinator.tables import JobRow
from ledger import terms
from ledger.entries import Offer
from ledger.jobs import get_held_acceptance
from ledger.offers import find_obstacle
from ledger.rejection import REJECTIONS, Rejected, Rejection
from ledger.state import get_job, get_miner, get_offer, get_totals
from ledger.transactions import (
    OfferAccept,
    OfferCancel,
    OfferCreate,
    Payload,
    VerifiedTransaction,
)

OFFER_TAG: Final = b"aitbc/offer-idempotency/1\x00"
FINAL_WAIT: Final = 1.5
"""Seconds for which a transaction is waited for before it is answered as pending."""


class SignatureNeeded(Exception):
    """The account signs by itself; this is what it has to sign."""

    def __init__(self, payload: Payload) -> None:
        super().__init__("the account signs by itself")
        self.payload = payload


class PriceRefused(Exception):
    """The offer's price is over the one that was named; both in base units per unit."""

    def __init__(self, price: int, limit: int, is_bid: bool) -> None:
        super().__init__("the bid is below the price" if is_bid else "over the job's highest price")
        self.price = price
        self.limit = limit
        self.is_bid = is_bid


class Draft(NamedTuple):
    """An offer to be made; `duration_ms` from now, price in base units per unit."""

    miner: str
    service: str
    billing: int
    price: int
    max_jobs: int
    metadata: bytes
    duration_ms: int


class Sent(NamedTuple):
    """A transaction about an offer, and whether a final block holds it."""

    offer_id: bytes
    transaction: bytes | None
    is_final: bool
    created_ms: int


def make_tag(address: bytes, key: str | None) -> bytes:
    """Return the tag that an offer's id is made of: the same for the same account and key."""
    secret = secrets.token_bytes(32) if key is None else key.encode()
    return hmac.new(OFFER_TAG, address + secret, sha256).digest()


async def create_offer(
    coordinator: Coordinator,
    principal: Principal,
    draft: Draft,
    key: str | None,
    signed: VerifiedTransaction | None,
) -> Sent:
    """Make an offer; the same key and draft make it once. Raises `Rejected`, `SignatureNeeded`."""
    leasing.require_miner(coordinator, principal, draft.miner)
    now = coordinator.get_now()
    payload = OfferCreate(
        idempotency_tag=make_tag(principal.address, key),
        miner=draft.miner,
        service=draft.service,
        billing=draft.billing,
        price=draft.price,
        max_jobs=draft.max_jobs,
        metadata=draft.metadata,
        expires_at=now + draft.duration_ms,
    )
    if not principal.is_custodial:
        if signed is None:
            raise SignatureNeeded(payload)
        payload = _adopt(payload, leasing.require_payload(signed, OfferCreate))
    offer_id = terms.compute_offer_id(principal.address, payload.idempotency_tag)
    async with coordinator.job_locks.get(b"offer:" + offer_id):
        known = get_offer(coordinator.chain.get_view(), offer_id)
        if known is None:
            sent = await _send(coordinator, principal, payload, signed)
            try:
                is_final = await _is_final(coordinator, sent)
            except Rejected as rejected:
                known = get_offer(coordinator.chain.get_view(), offer_id)
                if rejected.reason is not Rejection.OFFER_EXISTS or known is None:
                    raise
            else:
                return Sent(offer_id, sent, is_final, now)
    if not _is_same(known, payload):
        raise Rejected(Rejection.OFFER_EXISTS)
    return Sent(offer_id, None, True, known.created_at)


async def cancel_offer(
    coordinator: Coordinator,
    principal: Principal,
    offer_id: bytes,
    signed: VerifiedTransaction | None,
) -> Sent:
    """Withdraw one's own offer; again changes nothing. Raises `Rejected`, `SignatureNeeded`."""
    offer = require_offer(coordinator, offer_id)
    if offer.owner != principal.address:
        raise Rejected(Rejection.OFFER_UNKNOWN)  # as of one that is not there
    now = coordinator.get_now()
    if offer.is_cancelled:
        return Sent(offer_id, None, True, now)
    payload = OfferCancel(offer_id)
    if not principal.is_custodial:
        if signed is None:
            raise SignatureNeeded(payload)
        if signed.transaction.payload != payload:
            raise Rejected(Rejection.MALFORMED, "the transaction withdraws another offer")
    sent = await _send(coordinator, principal, payload, signed)
    return Sent(offer_id, sent, await _is_final(coordinator, sent), now)


async def accept_offer(
    coordinator: Coordinator,
    principal: Principal,
    offer_id: bytes,
    job_id: bytes,
    bid: int | None,
    signed: VerifiedTransaction | None,
) -> Sent:
    """Bind one's own job to an offer, at the offer's price.

    The job may be of any coordinator: the chain decides. Raises `Rejected`, `PriceRefused`,
    `SignatureNeeded`.
    """
    await coordinator.wait_followed()
    offer = require_offer(coordinator, offer_id)
    record = await _find_job(coordinator, principal, job_id)
    obstacle = find_reason(coordinator, offer)
    if obstacle is not None:
        raise Rejected(obstacle)
    _require_free(coordinator, record.job)
    _check_kind(offer, record)
    if bid is not None and bid < offer.price:
        raise PriceRefused(offer.price, bid, True)
    # Of a job elsewhere the highest price is its client's secret; its escrow is not.
    limit = record.job.max_price if record.home is None else record.job.escrow
    if limit < offer.price:
        raise PriceRefused(offer.price, limit, False)
    payload = OfferAccept(job_id, offer_id)
    if not principal.is_custodial:
        if signed is None:
            raise SignatureNeeded(payload)
        if signed.transaction.payload != payload:
            raise Rejected(Rejection.MALFORMED, "the transaction accepts another offer, or job")
    now = coordinator.get_now()
    sent = await _send(coordinator, principal, payload, signed)
    return Sent(offer_id, sent, await _is_final(coordinator, sent), now)


def require_offer(coordinator: Coordinator, offer_id: bytes) -> Offer:
    """Return an offer of the chain. Raises `Rejected(OFFER_UNKNOWN)`."""
    offer = get_offer(coordinator.chain.get_view(), offer_id)
    if offer is None:
        raise Rejected(Rejection.OFFER_UNKNOWN)
    return offer


def find_reason(coordinator: Coordinator, offer: Offer) -> Rejection | None:
    """Return why nobody can accept an offer now, or None where one can."""
    obstacle = find_obstacle(offer, read_clock(coordinator))
    miner = get_miner(coordinator.chain.get_view(), offer.miner)
    if obstacle is None and (miner is None or not miner.is_active):
        return Rejection.MINER_NOT_ACTIVE
    return obstacle


def describe_status(coordinator: Coordinator, offer: Offer) -> str:
    """Return active, cancelled, expired, used_up or miner_exited."""
    reason = find_reason(coordinator, offer)
    words = {
        None: "active",
        Rejection.OFFER_CANCELLED: "cancelled",
        Rejection.OFFER_EXPIRED: "expired",
        Rejection.OFFER_USED_UP: "used_up",
    }
    return words.get(reason, "miner_exited")


def read_clock(coordinator: Coordinator) -> int:
    """Return the head's working-clock time."""
    return coordinator.chain.get_head().time - get_totals(coordinator.chain.get_view()).outage


async def _find_job(coordinator: Coordinator, principal: Principal, job_id: bytes) -> JobRecord:
    """Return one's own job, of this coordinator or another. Raises `Rejected(JOB_UNKNOWN)`."""
    record = await find_own_job(coordinator, principal, job_id)
    if record is not None:
        return record
    view = coordinator.chain.get_view()
    entry = get_job(view, job_id)
    if entry is None or entry.client != principal.address:
        raise Rejected(Rejection.JOB_UNKNOWN)
    return build_record(view, job_id, entry, None)


def _require_free(coordinator: Coordinator, job: JobRow) -> None:
    """Check that a job waits for a miner, or is about to. Raises `Rejected`."""
    entry = get_job(coordinator.chain.get_view(), job.job_id)
    if entry is None and job.status == Status.PENDING.value:
        # The escrow is on its way: the acceptance has a later nonce, so it comes behind it.
        return
    leasing.require_queued(coordinator, job, entry)
    assert entry is not None
    if get_held_acceptance(entry, read_clock(coordinator)) is not None:
        raise Rejected(Rejection.JOB_HAS_OFFER)


def _check_kind(offer: Offer, record: JobRecord) -> None:
    """Check that an offer is for a job's kind of work. Raises `Rejected(OFFER_DIFFERS)`."""
    job, wanted = record.job, get_job_type(offer)
    if (job.service, job.billing) != (offer.service, offer.billing):
        raise Rejected(Rejection.OFFER_DIFFERS)
    if record.home is None and wanted not in (offer.service, job.name, job.job_type):
        raise Rejected(
            Rejection.OFFER_DIFFERS, f"the offer is for {wanted!r}: neither the job's name nor type"
        )


def _adopt(built: OfferCreate, given: OfferCreate) -> OfferCreate:
    """Return what a miner signed, if it is what its body asks. Raises `Rejected`."""
    names = ("miner", "service", "billing", "price", "max_jobs")
    if any(getattr(built, name) != getattr(given, name) for name in names):
        raise Rejected(Rejection.MALFORMED, "the transaction makes another offer than the body")
    return given


def _is_same(known: Offer, payload: OfferCreate) -> bool:
    names = ("miner", "service", "billing", "price", "max_jobs", "metadata")
    return all(getattr(known, name) == getattr(payload, name) for name in names)


async def _send(
    coordinator: Coordinator,
    principal: Principal,
    payload: Payload,
    signed: VerifiedTransaction | None,
) -> bytes:
    wallets, address = coordinator.wallets, principal.address
    if principal.is_custodial:
        return await wallets.send(address, payload, leasing.record_nothing)
    assert signed is not None
    return await wallets.send_signed(address, signed, leasing.record_nothing, None)


async def _is_final(coordinator: Coordinator, transaction: bytes) -> bool:
    """Tell whether a transaction applied already. Raises `Rejected` where it failed."""
    verdict = await coordinator.wallets.wait_final(transaction, FINAL_WAIT)
    if verdict is not None and verdict.code:
        raise Rejected(REJECTIONS[verdict.code])
    return verdict is not None
