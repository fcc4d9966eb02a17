"""Decides what the holder of an account's key derives from it, and how it signs for the ledger.

Everything but the account itself comes from the 32-byte seed by HMAC with a purpose, so that one
backed-up key restores the salts, the encryption key and the keys of local files as well.
"""

import hmac
from hashlib import sha256
from typing import Final, NamedTuple

from nacl.public import PrivateKey

from ledger import codec, crypto
from ledger.transactions import (
    Payload,
    compute_size,
    compute_transaction_id,
    sign_transaction,
)

SALT_PURPOSE: Final = b"aitbc/wallet-salts/1\x00"
HIGHEST_FEE_RATE: Final = 10_000
"""Base units per byte that a wallet will sign at most: a thousand times the usual minimum."""
ENCRYPTION_PURPOSE: Final = b"aitbc/wallet-encryption/1\x00"


class SignedTransaction(NamedTuple):
    """A transaction that is ready to be sent."""

    id: bytes
    raw: bytes
    """The canonical bytes; the API takes them in hex."""
    nonce: int
    valid_until: int


class Wallet:
    """The key of one account, kept by its holder."""

    __slots__ = ("_seed", "address", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError("a seed has 32 bytes")
        self._seed = seed
        self.public_key = crypto.compute_public_key(seed)
        self.address = crypto.compute_address(self.public_key)

    def __repr__(self) -> str:
        return f"Wallet({self.text_address})"

    @property
    def seed(self) -> bytes:
        """The secret itself, for what signs by the ledger's own functions."""
        return self._seed

    @property
    def text_address(self) -> str:
        """The address as people write it."""
        return crypto.format_address(self.address)

    def sign(
        self, payload: Payload, *, chain_id: bytes, nonce: int, fee_rate: int, valid_until: int
    ) -> SignedTransaction:
        """Return the signed transaction; `fee_rate` in base units per byte.

        Raises `ValueError` over `HIGHEST_FEE_RATE`: a node names the rate, and one that lies could
        otherwise take the whole balance as a fee.
        """
        if not 0 <= fee_rate <= HIGHEST_FEE_RATE:
            raise ValueError(f"the node asks for {fee_rate} base units a byte")
        fee = compute_size(payload) * fee_rate
        signed = sign_transaction(self._seed, chain_id, nonce, fee, valid_until, payload)
        raw = codec.encode(signed)
        return SignedTransaction(compute_transaction_id(signed, chain_id), raw, nonce, valid_until)

    def derive_secret(self, purpose: bytes) -> bytes:
        """Return 32 secret bytes for a purpose; they tell nothing about the seed."""
        return hmac.new(self._seed, purpose, sha256).digest()

    def derive_salt_secret(self) -> bytes:
        """Return the secret from which `ledger.terms.derive_salt` makes this account's salts."""
        return self.derive_secret(SALT_PURPOSE)

    def derive_encryption_key(self) -> PrivateKey:
        """Return the X25519 key that this account's job contents are sealed to."""
        return PrivateKey(self.derive_secret(ENCRYPTION_PURPOSE))
