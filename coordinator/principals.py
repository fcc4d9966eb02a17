"""Who is asking: accounts, the roles of their keys and how a key is written.

A key names the coordinator that issued it, so that any other one can say whose it is (421).
"""

import secrets
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from ledger.crypto import ADDRESS_PREFIX, format_address, parse_address
from ledger.rejection import Rejected

KEY_PREFIX: Final = "aitbc_"
_SECRET_LENGTH: Final = 43
_ADDRESS_START: Final = ADDRESS_PREFIX + "1"
MAX_KEY_LENGTH: Final = 128


class Role(StrEnum):
    """What a key may do."""

    CLIENT = "client"
    MINER = "miner"
    OPERATOR = "operator"


class Principal(NamedTuple):
    """The account and role behind a request's key."""

    key_id: int
    role: Role
    account_id: int
    address: bytes
    is_custodial: bool


def make_key(coordinator: bytes) -> str:
    """Return a fresh key of the coordinator with this 20-byte address."""
    issuer = format_address(coordinator).removeprefix(_ADDRESS_START)
    return f"{KEY_PREFIX}{issuer}_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> bytes:
    """Return what is stored of a key: its 32 random bytes need no slow hash."""
    return sha256(key.encode()).digest()


def find_issuer(key: str) -> bytes | None:
    """Return the address of the coordinator that issued a key, or None when it is no key."""
    body = key.removeprefix(KEY_PREFIX)
    if len(key) > MAX_KEY_LENGTH or body == key or len(body) <= _SECRET_LENGTH:
        return None
    issuer, separator = body[: -_SECRET_LENGTH - 1], body[-_SECRET_LENGTH - 1]
    try:
        return parse_address(_ADDRESS_START + issuer) if separator == "_" else None
    except (Rejected, ValueError):
        return None
