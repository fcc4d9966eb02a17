"""A job's private side: the content, the terms that hide it, the salts and their openings."""

import base64
import hmac
import json
import secrets
from hashlib import sha256
from typing import Final

from coordinator.sealing import seal
from coordinator.tables import JobRow
from ledger import terms
from ledger.terms import Terms

IDEMPOTENCY_TAG: Final = b"aitbc/idempotency/1\x00"
SALT_SECRET_TAG: Final = b"aitbc/salts/1\x00"
REPORT_TOKEN_TAG: Final = b"aitbc/report-token/1\x00"
OUTAGE_ALLOWANCE: Final = 30 * 86_400_000
"""Milliseconds by which the offer's own deadline lies behind the chain's.

An outage moves the chain's deadlines (rule D4) and cannot move a signed offer; without the room, a
job that lived through one could not be settled. The chain's deadline is the one that binds.
"""


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
        deadline=row.total_deadline + OUTAGE_ALLOWANCE,
        model=terms.compute_model_hash(row.model),
        input_hash=row.input_hash,
        salt=row.salt,
    )


def seal_terms(opening: Terms, encryption_key: bytes) -> str:
    """Return the opening as base64 of a box that only the miner's X25519 key opens.

    Raises `Rejected` for a key of small order, which anybody could open and nothing is sealed to.
    """
    message = json.dumps(terms.write_opening(opening), sort_keys=True).encode()
    return base64.b64encode(seal(message, encryption_key)).decode()


def derive_report_token(seed: bytes, job: bytes, number: int) -> bytes:
    """Return the 16 bytes that a coordinator's holder of lease `number` reports progress with."""
    message = REPORT_TOKEN_TAG + job + number.to_bytes(8, "big")
    return hmac.new(seed, message, sha256).digest()[:16]


def choose_price(list_price: int | None, max_price: int) -> int:
    """Return what a custodial miner asks: its list price, or what is offered where it has none."""
    return max_price if list_price is None else min(list_price, max_price)
