"""A signature stand-in a hundred times faster than Ed25519, for simulations alone.

It has Ed25519's shape (32-byte keys, 64-byte signatures) and binds key and message; anybody could
forge it, and no byzantine node of the simulation does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from consensus.verification import SignatureCheck
from ledger import crypto


@dataclass(frozen=True)
class Scheme:
    """How a whole simulated network signs."""

    compute_public_key: Callable[[bytes], bytes]
    sign: Callable[[bytes, bytes], bytes]
    is_valid: SignatureCheck


def _compute_public_key(seed: bytes) -> bytes:
    return sha256(b"key" + seed).digest()


def _sign(seed: bytes, message: bytes) -> bytes:
    digest = sha256(_compute_public_key(seed) + message).digest()
    return digest + digest


def _is_valid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    digest = sha256(public_key + message).digest()
    return signature == digest + digest


STAND_IN = Scheme(_compute_public_key, _sign, _is_valid)
ED25519 = Scheme(crypto.compute_public_key, crypto.sign, crypto.is_valid_signature)
