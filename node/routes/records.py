"""How the ledger's records are written on the API: which fields are shown, and in what notation.

A field's name decides: money twice, addresses in bech32m, ids with their prefix, times in RFC 3339.
Nothing here can show a job's content: the chain does not hold any.
"""

import re
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from consensus.messages import decode_finality
from coordinator import wire
from coordinator.http.body import parse_json
from coordinator.http.problems import Problem
from coordinator.phases import describe_reason, find_fault
from coordinator.ports import Located
from ledger import crypto
from ledger.blocks import Header
from ledger.entries import Job, Miner
from ledger.outcomes import Outcome
from ledger.rejection import REJECTIONS
from ledger.transactions import Transaction
from ledger.types import Record
from node.chain_history import PlacedTransaction
from node.routes import models

APPLIED: Final = "applied"
_BILLING: Final = ("per_unit", "per_second")
_MONEY: Final = frozenset({
    "amount", "bond", "added_bond", "escrow", "payout", "coordinator_share", "network_share",
    "refund", "penalty", "price",
})  # fmt: skip
_ADDRESSES: Final = frozenset({
    "account", "client", "coordinator", "owner", "payee", "recipient",
})  # fmt: skip
_TIMES: Final = frozenset({
    "claimed_at", "epoch_time", "expires_at", "queue_deadline", "total_deadline",
})  # fmt: skip
_CLOCK_TIMES: Final = frozenset({"ends_at", "holds_until"})
_LENGTHS: Final = frozenset({"metadata", "proof"})


def write_money(name: str, amount: int) -> dict[str, str]:
    """Return an amount as its two members."""
    return {name: wire.format_ait(amount), f"{name}_base": str(amount)}


def describe_record(record: Record, outage: int | None = None) -> dict[str, Any]:
    """Return the fields of a payload, an event or a part of an entry.

    Working-clock times are moved by `outage` (ms), or shown as they are where it is None: what a
    block did never changes, by how much the clocks differ does.
    """
    described: dict[str, Any] = {}
    for name in record.__struct_fields__:
        described.update(_describe_field(name, getattr(record, name), outage))
    return described


def name_kind(record: Record) -> str:
    """Return a payload's or event's kind as the protocol writes it, such as `job_submit`."""
    return _to_snake_case(type(record).__name__)


@lru_cache
def _to_snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def describe_events(outcome: Outcome) -> list[dict[str, Any]]:
    """Return what an outcome says happened."""
    return [{"type": name_kind(event), **describe_record(event)} for event in outcome.events]


def name_outcome(code: int) -> tuple[str, str | None]:
    """Return an outcome's name, and the sentence of a rejection."""
    if code == 0:
        return APPLIED, None
    rejection = REJECTIONS.get(code)
    return (rejection.name, rejection.doc) if rejection else (f"REJECTION_{code}", None)


def describe_transaction(transaction_id: bytes, transaction: Transaction) -> dict[str, Any]:
    """Return the members that a transaction has wherever it stands."""
    return {
        "transaction_id": wire.format_transaction_id(transaction_id),
        "kind": name_kind(transaction.payload),
        "sender": crypto.format_address(crypto.compute_address(transaction.sender)),
        "nonce": transaction.nonce,
        **write_money("fee", transaction.fee),
        "valid_until": transaction.valid_until,
        "payload": describe_record(transaction.payload),
    }


def describe_located(
    located: Located, block_hash: bytes, time_ms: int, position: int | None = None
) -> dict[str, Any]:
    """Return a final transaction's members."""
    outcome = located.outcome
    name, detail = name_outcome(outcome.code)
    return {
        **describe_transaction(outcome.subject, located.transaction),
        "status": "final",
        "height": located.height,
        "block_hash": block_hash.hex(),
        "index": located.index,
        "timestamp": wire.format_time(time_ms),
        "code": outcome.code,
        "outcome": name,
        "detail": detail,
        "events": describe_events(outcome),
        "cursor": None if position is None else str(position),
    }


def describe_placed(placed: Sequence[PlacedTransaction]) -> list[models.Transaction]:
    """Return the items of a list of final transactions."""
    return [
        models.Transaction(
            **describe_located(each.located, each.block_hash, each.time, each.position)
        )
        for each in placed
    ]


def describe_header(header: Header, block_hash: bytes, certificate: bytes) -> dict[str, Any]:
    """Return a block's members, its transactions aside. `certificate` is empty for block 0."""
    return {
        "height": header.height,
        "hash": block_hash.hex(),
        "timestamp": wire.format_time(header.time),
        "time_ms": header.time,
        "parent_hash": header.parent.hex(),
        "proposer": header.proposer.hex(),
        "epoch": header.epoch,
        "view": header.view,
        "tx_root": header.transactions_root.hex(),
        "receipts_root": header.receipts_root.hex(),
        "state_root": header.state_root.hex(),
        "finalized": True,
        "certificate": _describe_certificate(certificate) if certificate else None,
        "cursor": str(header.height),
    }


def describe_job(job_id: bytes, job: Job, outage: int) -> dict[str, Any]:
    """Return a job's members, but for its steps and its proof."""
    settlement = job.settlement
    return {
        "job_id": wire.format_job_id(job_id),
        "client": crypto.format_address(job.client),
        "service": job.service,
        "coordinator": crypto.format_address(job.coordinator),
        "billing": _BILLING[job.billing],
        **write_money("escrow", job.escrow),
        "job_commit": job.job_commit.hex(),
        "status": job.status.name.lower(),
        "reason_code": job.reason_code,
        "fault": find_fault(job.reason_code),
        "reason": describe_reason(job.reason_code),
        "submitted_at": wire.format_time(job.submitted_at),
        "queue_deadline": wire.format_time(job.queue_deadline + outage),
        "total_deadline": wire.format_time(job.total_deadline + outage),
        "execution_limit_ms": job.execution_limit,
        "lease": describe_record(job.lease, outage) if job.lease else None,
        "attempts": [describe_record(attempt) for attempt in job.attempts],
        "acceptance": describe_record(job.acceptance, outage) if job.acceptance else None,
        "settlement": settlement
        and {"receipt_id": wire.format_receipt_id(job_id), **describe_record(settlement)},
    }


def describe_miner(name: str, miner: Miner) -> dict[str, Any]:
    """Return a miner's members, but for its claims and its proof."""
    return {
        "miner_id": name,
        "owner": crypto.format_address(miner.owner),
        "is_active": miner.is_active,
        "registered_at": wire.format_time(miner.registered_at),
        **write_money("bond", miner.bond),
        **write_money("earned", miner.earned),
        "claims": miner.claims,
        "live_leases": miner.live_leases,
        "settled": miner.settled,
        "failed": miner.failed,
        "released": miner.released,
        "lapsed": miner.lapsed,
        "cancelled": miner.cancelled,
        "average_completion_time": (
            miner.busy_time / miner.settled / 1000 if miner.settled else None
        ),
        "encryption_key": miner.encryption_key.hex(),
        "metadata": read_metadata(miner.metadata),
    }


def _describe_certificate(encoded: bytes) -> models.CertificateSummary:
    finality = decode_finality(encoded)
    ballot = finality.certificate.ballot
    return models.CertificateSummary(
        block_hash=ballot.block_hash.hex(),
        epoch=ballot.epoch,
        view=ballot.view,
        signers=list(finality.certificate.signers),
        headers=len(finality.headers),
    )


def _describe_field(name: str, value: Any, outage: int | None) -> dict[str, Any]:
    if name in _MONEY:
        return write_money(name, value)
    if name in _ADDRESSES:
        return {name: crypto.format_address(value)}
    if name == "job":
        return {"job_id": wire.format_job_id(value)}
    if name == "offer":
        return {"offer_id": wire.format_offer_id(value)}
    if name == "miner":
        return {"miner_id": value}
    if name == "billing":
        return {name: _BILLING[value]}
    if name in _LENGTHS:
        return {f"{name}_bytes": len(value)}
    if name in _CLOCK_TIMES:
        if outage is None:
            return {f"{name}_clock_ms": value}
        return {name: wire.format_time(value + outage)}
    if name in _TIMES:
        return {name: wire.format_time(value)}
    if name == "reason_code":
        return {name: value, "reason": describe_reason(value)}
    if isinstance(value, IntEnum):
        return {name: value.name.lower()}
    if isinstance(value, Record):
        kind = {} if value.__struct_config__.tag is None else {"type": name_kind(value)}
        return {name: {**kind, **describe_record(value, outage)}}
    return {name: value.hex() if isinstance(value, bytes) else value}


def name_billing(billing: int) -> str:
    """Return how work is billed, in words."""
    return _BILLING[billing]


def read_metadata(metadata: bytes) -> dict[str, Any] | None:
    """Return what a miner or an offer says of itself, or None where that is no JSON object."""
    try:
        value = parse_json(metadata)
    except Problem:
        return None
    return value if isinstance(value, dict) else None
