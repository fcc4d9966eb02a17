"""The private terms of a job and how they are hidden: offers, prices and openings (rules J1, J2).

The client, the coordinator and the miner build the proof's values with these functions alone, so
that a commitment made by one opens for the others. What one hands to another is an opening as JSON.
"""

import hmac
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec
import rfc8785

from ledger import crypto
from ledger.rejection import Rejected, Rejection
from ledger.types import MAX_AMOUNT, Address, Amount, Hash, Time, Units
from zk.field import decode_field, encode_field, to_field
from zk.statement import (
    Offer,
    Price,
    Receipt,
    address_to_field,
    commit_offer,
    commit_price,
    commit_receipt,
)

OFFER_SALT: Final = b"offer"
PRICE_SALT: Final = b"price"
RECEIPT_SALT: Final = b"receipt"
"""Purposes of `derive_salt`, one for each commitment."""

PUBLIC_SALT: Final = crypto.hash_tagged(crypto.TAG_PUBLIC_PRICE)
"""The salt of a price that hides nothing, since an accepted offer names it (rule O5)."""

_HEX_MEMBERS: Final = frozenset({"job", "client", "model", "input_hash", "result_hash", "salt"})


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The opening of `job_commit`: what the client agreed to pay for. Hashes are 32 bytes."""

    job: Hash
    client: Address
    max_units: Units
    max_price: Amount
    """Base units per unit."""
    not_before: Time
    deadline: Time
    model: Hash
    """Hash of the model's pinned identity."""
    input_hash: Hash
    salt: Hash


class PriceTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The opening of `price_commit`."""

    price: Amount
    salt: Hash


class ReceiptTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The opening of `receipt_commit`, for a given job and payee. Times in milliseconds."""

    units: Units
    started: Time
    completed: Time
    result_hash: Hash
    salt: Hash


_Opening = TypeVar("_Opening", Terms, PriceTerms, ReceiptTerms)


def compute_job_id(client: bytes, idempotency_tag: bytes) -> bytes:
    """Return a job's id: the same client and tag give the same job at every node (rule J1)."""
    return crypto.hash_tagged(crypto.TAG_JOB, client, idempotency_tag)


def compute_offer_id(owner: bytes, idempotency_tag: bytes) -> bytes:
    """Return an offer's id: the same owner and tag give the same offer at every node (rule O1)."""
    return crypto.hash_tagged(crypto.TAG_OFFER, owner, idempotency_tag)


def derive_salt(secret: bytes, purpose: bytes, job: bytes) -> bytes:
    """Return a salt as HMAC-SHA-256 of a secret, a purpose and the job id (32 bytes)."""
    return hmac.new(secret, purpose + b"\x00" + job, sha256).digest()


def compute_content_hash(content: object) -> bytes:
    """Return SHA-256 of a JSON value in canonical form (RFC 8785): input and result hashes."""
    return sha256(rfc8785.dumps(content)).digest()  # type: ignore[arg-type]


def compute_model_hash(model: str) -> bytes:
    """Return the hash of a model's pinned identity, such as `smollm2-135m@<sha256>`."""
    return sha256(model.encode()).digest()


def build_offer(terms: Terms) -> Offer:
    """Return the terms as the proof's field elements."""
    return Offer(
        job=to_field(terms.job),
        client=address_to_field(terms.client),
        max_units=terms.max_units,
        max_price=terms.max_price,
        not_before=terms.not_before,
        deadline=terms.deadline,
        model=to_field(terms.model),
        input_hash=to_field(terms.input_hash),
        salt=to_field(terms.salt),
    )


def build_price(terms: PriceTerms) -> Price:
    """Return the price as the proof's field elements."""
    return Price(price=terms.price, salt=to_field(terms.salt))


def build_receipt(terms: ReceiptTerms) -> Receipt:
    """Return the receipt as the proof's field elements."""
    return Receipt(
        units=terms.units,
        started=terms.started,
        completed=terms.completed,
        result_hash=to_field(terms.result_hash),
        salt=to_field(terms.salt),
    )


def commit_terms(terms: Terms) -> bytes:
    """Return `job_commit` (32 bytes)."""
    return encode_field(commit_offer(build_offer(terms)))


def commit_price_terms(terms: PriceTerms) -> bytes:
    """Return `price_commit` (32 bytes)."""
    return encode_field(commit_price(build_price(terms)))


def open_public_price(price: int) -> PriceTerms:
    """Return the opening that everybody knows of an accepted offer's price (rule O5)."""
    return PriceTerms(price, PUBLIC_SALT)


@lru_cache(maxsize=65_536)
def commit_public_price(price: int) -> bytes:
    """Return the `price_commit` (32 bytes) of an accepted offer's price.

    The price alone decides it, so the millisecond that it takes is spent once for each price.
    """
    return commit_price_terms(open_public_price(price))


def commit_receipt_terms(terms: ReceiptTerms, job: bytes, payee: bytes) -> bytes:
    """Return `receipt_commit` (32 bytes) for a 32-byte job id and a 20-byte payee."""
    receipt = commit_receipt(build_receipt(terms), to_field(job), address_to_field(payee))
    return encode_field(receipt)


def write_opening(opening: Terms | PriceTerms | ReceiptTerms) -> dict[str, Any]:
    """Return an opening as JSON members: hashes and the client's address in lower-case hex."""
    return {
        name: value.hex() if name in _HEX_MEMBERS else value
        for name, value in msgspec.structs.asdict(opening).items()
    }


def read_opening(members: Mapping[str, Any], kind: type[_Opening]) -> _Opening:
    """Return the opening in JSON members, none missing and none unknown. Raises `ValueError`."""
    plain = {
        name: _read_hex(name, value) if name in _HEX_MEMBERS else value
        for name, value in members.items()
    }
    return msgspec.convert(plain, kind)


def _read_hex(name: str, value: object) -> bytes:
    # `fromhex` alone takes capitals and white space too: other texts for the same opening.
    if not isinstance(value, str) or bytes.fromhex(value).hex() != value:
        raise ValueError(f"{name} is not lower-case hex")
    return bytes.fromhex(value)


def check_commitment(commitment: bytes) -> int:
    """Return a commitment's field element. Raises `Rejected(BAD_FIELD_ELEMENT)`."""
    try:
        return decode_field(commitment)
    except ValueError:
        raise Rejected(Rejection.BAD_FIELD_ELEMENT) from None


def find_uncovered_terms(terms: Terms, job_commit: bytes, escrow: int) -> str | None:
    """Return why a miner should not run a job on these terms, or None when they are covered."""
    if commit_terms(terms) != job_commit:
        return "the opening is not that of the job's commitment"
    if terms.max_units * terms.max_price > min(escrow, MAX_AMOUNT):
        return "the escrow does not cover the most that the terms allow"
    return None
