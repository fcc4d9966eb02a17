"""A job's private side: the content, the terms that hide it, the salts and their openings."""

import base64
import hmac
import json
import secrets
from hashlib import sha256
from typing import Any, Final

import msgspec
from nacl.public import PublicKey, SealedBox

from coordinator.tables import JobRow
from ledger import terms
from ledger.terms import PriceTerms, ReceiptTerms, Terms

OFFER_SALT: Final = b"offer"
PRICE_SALT: Final = b"price"
RECEIPT_SALT: Final = b"receipt"
IDEMPOTENCY_TAG: Final = b"aitbc/idempotency/1\x00"
SALT_SECRET_TAG: Final = b"aitbc/salts/1\x00"


def make_idempotency_tag(address: bytes, key: str | None) -> bytes:
    """Return the tag that a job's id is made of: the same for the same account and key."""
    return sha256(
        IDEMPOTENCY_TAG + address + (secrets.token_bytes(32) if key is None else key.encode())
    ).digest()


def derive_salt_secret(seed: bytes) -> bytes:
    """Return the secret that a custodial account's salts come from."""
    return hmac.new(seed, SALT_SECRET_TAG, sha256).digest()


def get_terms(row: JobRow) -> Terms:
    """Return the opening of a job's `job_commit`."""
    return Terms(
        job=row.job_id,
        client=row.client,
        max_units=row.max_units,
        max_price=row.max_price,
        not_before=0,
        deadline=row.total_deadline,
        model=terms.compute_model_hash(row.model),
        input_hash=row.input_hash,
        salt=row.salt,
    )


def write_opening(opening: Terms | PriceTerms | ReceiptTerms) -> dict[str, Any]:
    """Return an opening as JSON members, hashes as lower-case hex."""
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in msgspec.structs.asdict(opening).items()
    }


def read_price_opening(members: dict[str, Any]) -> PriceTerms:
    """Return a price's opening from JSON members. Raises `ValueError`."""
    return msgspec.convert(_unhex(members, {"salt"}), PriceTerms)


def read_receipt_opening(members: dict[str, Any]) -> ReceiptTerms:
    """Return a receipt's opening from JSON members. Raises `ValueError`."""
    return msgspec.convert(_unhex(members, {"salt", "result_hash"}), ReceiptTerms)


def read_terms(members: dict[str, Any]) -> Terms:
    """Return a job's opening from JSON members. Raises `ValueError`."""
    return msgspec.convert(_unhex(members, {"job", "client", "model", "input_hash", "salt"}), Terms)


def _unhex(members: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {
        name: bytes.fromhex(value) if name in names and isinstance(value, str) else value
        for name, value in members.items()
    }


def seal_terms(opening: Terms, encryption_key: bytes) -> str:
    """Return the opening as base64 of a box that only the miner's X25519 key opens."""
    message = json.dumps(write_opening(opening), sort_keys=True).encode()
    return base64.b64encode(SealedBox(PublicKey(encryption_key)).encrypt(message)).decode()


def choose_price(list_price: int | None, max_price: int) -> int:
    """Return what a custodial miner asks: its list price, or what is offered where it has none."""
    return max_price if list_price is None else min(list_price, max_price)
