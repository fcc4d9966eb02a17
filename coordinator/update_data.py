"""What an update says: one shape for each type. Never a prompt, an input or a result."""

from typing import Literal

import msgspec

from coordinator import wire
from coordinator.ports import FinalBlock
from coordinator.tables import JobRow
from ledger.outcomes import JobSettled, OfferAccepted, OfferCancelled, OfferCreated, OfferEvent


class JobUpdate(msgspec.Struct, frozen=True):
    """A job's state changed: its status, its phase, its miner or its cancellation."""

    job_id: str
    status: str
    phase: str
    progress: int
    miner_id: str | None
    cancel_requested: bool
    fault: str | None
    reason_code: int | None
    timestamp: str


class ReceiptCreated(msgspec.Struct, frozen=True):
    """A job's receipt is on the chain: it was settled in this block."""

    receipt_id: str
    job_id: str
    miner_id: str
    amount: str
    amount_base: str
    tx: str
    height: int
    timestamp: str


class MarketplaceUpdate(msgspec.Struct, frozen=True):
    """An offer was made, accepted for a job, or withdrawn; `left` more jobs may accept it.

    What an event does not say again is null. An offer ends by its time without an event.
    """

    offer_id: str
    event: Literal["created", "accepted", "cancelled"]
    miner_id: str
    job_type: str | None
    price: str | None
    price_base: str | None
    left: int | None
    tx: str
    height: int
    timestamp: str


class BlockCreated(msgspec.Struct, frozen=True):
    """A block is final, and this coordinator has followed it."""

    height: int
    hash: str
    parent_hash: str
    proposer: str
    transactions: int
    timestamp: str


def describe_job(job: JobRow, now_ms: int) -> JobUpdate:
    """Return how a job stands."""
    return JobUpdate(
        job_id=wire.format_job_id(job.job_id),
        status=job.status,
        phase=job.phase,
        progress=job.progress,
        miner_id=job.miner,
        cancel_requested=job.cancel_requested_ms is not None,
        fault=job.fault,
        reason_code=job.reason_code or None,
        timestamp=wire.format_time(now_ms),
    )


def describe_receipt(settled: JobSettled, transaction: bytes, block: FinalBlock) -> ReceiptCreated:
    """Return what a settlement says of a receipt."""
    return ReceiptCreated(
        receipt_id=wire.format_receipt_id(settled.job),
        job_id=wire.format_job_id(settled.job),
        miner_id=settled.miner,
        amount=wire.format_ait(settled.amount),
        amount_base=str(settled.amount),
        tx=wire.format_transaction_id(transaction),
        height=block.header.height,
        timestamp=wire.format_time(block.header.time),
    )


def describe_offer(event: OfferEvent, transaction: bytes, block: FinalBlock) -> MarketplaceUpdate:
    """Return what a transaction did to an offer."""
    price = job_type = left = None
    match event:
        case OfferCreated():
            kind: Literal["created", "accepted", "cancelled"] = "created"
            price, job_type, left = event.price, event.service, event.max_jobs
        case OfferAccepted():
            kind, price, left = "accepted", event.price, event.left
        case OfferCancelled():
            kind = "cancelled"
    return MarketplaceUpdate(
        offer_id=wire.format_offer_id(event.offer),
        event=kind,
        miner_id=event.miner,
        job_type=job_type,
        price=None if price is None else wire.format_ait(price),
        price_base=None if price is None else str(price),
        left=left,
        tx=wire.format_transaction_id(transaction),
        height=block.header.height,
        timestamp=wire.format_time(block.header.time),
    )


def describe_block(block: FinalBlock) -> BlockCreated:
    """Return what a final block says of itself."""
    header = block.header
    return BlockCreated(
        height=header.height,
        hash=block.hash.hex(),
        parent_hash=header.parent.hex(),
        proposer=header.proposer.hex(),
        transactions=len(block.transaction_ids),
        timestamp=wire.format_time(header.time),
    )
