"""Receipt documents: the core that a miner signs, the coordinator's attestations, the union.

An attestation signs a domain tag, the receipt's id and the attestation's own members, so it proves
nothing about another receipt.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import rfc8785
from msgspec import UNSET, UnsetType

from coordinator import job_terms, wire
from coordinator.services.registry import SERVICES
from coordinator.tables import JobRow, ReceiptRow
from ledger import crypto, terms
from ledger.receipts import UNSIGNED_MEMBERS, ReceiptCore, decode_base64url, encode_base64url
from ledger.terms import PriceTerms, ReceiptTerms
from zk.opening import encode_opening
from zk.statement import Witness

TAG_ATTESTATION: Final = b"aitbc/attestation/1\x00"
MAX_ATTESTATIONS: Final = 32
MAX_ATTESTATION_MEMBERS: Final = 16


class Ran(NamedTuple):
    """What only the miner can say of its run."""

    engine: str
    device: str = ""
    pins: Mapping[str, str] = MappingProxyType({})
    energy_joules: int | UnsetType = UNSET


def get_ran(core: ReceiptCore) -> Ran:
    """Return what a miner says of its run in the core that it signed."""
    return Ran(core.engine, core.device, core.pins, core.energy_joules)


def build_core(
    job: JobRow,
    chain_id: bytes,
    provider: bytes,
    opening: ReceiptTerms,
    price: int,
    ran: Ran,
    receipt_commit: bytes,
) -> ReceiptCore:
    """Return what a custodial miner signs for a job whose lease the row holds."""
    assert job.miner is not None and job.claim_number is not None
    return ReceiptCore(
        chain_id=chain_id.hex(),
        receipt_id=wire.format_receipt_id(job.job_id),
        job_id=wire.format_job_id(job.job_id),
        provider=crypto.format_address(provider),
        miner_id=job.miner,
        claim_number=job.claim_number,
        client=crypto.format_address(job.client),
        service=job.service,
        units=opening.units,
        unit_type=SERVICES[job.service].unit_type,
        price=price,
        amount=opening.units * price,
        model=job.model,
        engine=ran.engine,
        device=ran.device,
        verification=SERVICES[job.service].verification.value,
        pins=dict(ran.pins),
        input_hash=job.input_hash.hex(),
        result_hash=opening.result_hash.hex(),
        started_at=opening.started // 1000,
        completed_at=opening.completed // 1000,
        started_ms=opening.started,
        completed_ms=opening.completed,
        receipt_commit=receipt_commit.hex(),
        energy_joules=ran.energy_joules,
    )


def find_core_mismatch(core: ReceiptCore, expected: ReceiptCore) -> str | None:
    """Return the first member of a miner's own core that is not what the job says."""
    for name in ReceiptCore.__struct_fields__:
        if getattr(core, name) != getattr(expected, name):
            return name
    return None


def sign_attestation(
    seed: bytes, kind: str, job: bytes, time_ms: int, members: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an attestation of one type by the holder of a seed."""
    attestation = {
        "type": kind,
        "timestamp": wire.format_time(time_ms),
        "key_id": encode_base64url(crypto.compute_public_key(seed)),
        **members,
    }
    message = _encode_attestation(wire.format_receipt_id(job), attestation)
    return {**attestation, "signature": encode_base64url(crypto.sign(seed, message))}


def count_attestations(document: Mapping[str, Any], receipt_id: str, coordinator: bytes) -> int:
    """Return how many attestations of a receipt the job's coordinator really signed."""
    attestations = document.get("attestations")
    if not isinstance(attestations, list):
        return 0
    return sum(
        _is_attested(attestation, receipt_id, coordinator)
        for attestation in attestations[:MAX_ATTESTATIONS]
    )


def _is_attested(attestation: Any, receipt_id: str, coordinator: bytes) -> bool:
    # Ours are flat and short; the canonical form of anything else would cost much to make.
    if not isinstance(attestation, dict) or len(attestation) > MAX_ATTESTATION_MEMBERS:
        return False
    if not all(isinstance(value, str | int) for value in attestation.values()):
        return False
    try:
        public_key = decode_base64url(attestation["key_id"])
        signature = decode_base64url(attestation["signature"])
        message = _encode_attestation(receipt_id, attestation)
    except (KeyError, TypeError, ValueError, rfc8785.CanonicalizationError):
        return False
    return crypto.compute_address(public_key) == coordinator and crypto.is_valid_signature(
        public_key, message, signature
    )


def _encode_attestation(receipt_id: str, attestation: Mapping[str, Any]) -> bytes:
    members = {name: value for name, value in attestation.items() if name != "signature"}
    return TAG_ATTESTATION + receipt_id.encode() + b"\x00" + rfc8785.dumps(members)


def build_document(row: ReceiptRow) -> dict[str, Any]:
    """Return exactly core, signature and attestations: what any verifier can check."""
    return {**json.loads(row.document), "attestations": json.loads(row.attestations)}


def build_opening(job: JobRow, row: ReceiptRow) -> dict[str, Any]:
    """Return what the chain's three commitments hide, as an auditor checks it (section P7)."""
    price = terms.read_opening(json.loads(row.price_opening), PriceTerms)
    receipt = terms.read_opening(json.loads(row.opening), ReceiptTerms)
    opening = Witness(
        terms.build_offer(job_terms.get_terms(job)),
        terms.build_price(price),
        terms.build_receipt(receipt),
    )
    document: dict[str, Any] = json.loads(encode_opening(opening))
    return document


def encode_signed_payload(document: Mapping[str, Any]) -> str:
    """Return the exact bytes that were signed, as text."""
    members = {name: value for name, value in document.items() if name not in UNSIGNED_MEMBERS}
    return rfc8785.dumps(members).decode()
