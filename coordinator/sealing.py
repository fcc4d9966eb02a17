"""What is sealed to whom: boxes that one X25519 key opens, and the key of a coordinator.

A coordinator's box key follows from its Ed25519 key by the birational map of RFC 7748, so whoever
knows the key behind an address can seal to it and needs no other word for whose box it is.
"""

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey

from ledger.crypto import is_valid_public_key
from ledger.rejection import Rejected, Rejection


def seal(message: bytes, key: bytes) -> bytes:
    """Return a box that only the holder of this X25519 key opens.

    Raises `Rejected` for a key of small order, which anybody could open and nothing is sealed to.
    """
    try:
        return bytes(SealedBox(PublicKey(key)).encrypt(message))
    except CryptoError:
        raise Rejected(Rejection.MALFORMED, "nothing can be sealed to this key") from None


def unseal(box: bytes, key: PrivateKey) -> bytes:
    """Return what a box holds. Raises `Rejected(MALFORMED)` for one that the key does not open."""
    try:
        return bytes(SealedBox(key).decrypt(box))
    except (CryptoError, ValueError, TypeError):
        raise Rejected(Rejection.MALFORMED, "the box does not open") from None


def derive_box_key(seed: bytes) -> PrivateKey:
    """Return the X25519 key of the coordinator with this 32-byte Ed25519 seed."""
    return SigningKey(seed).to_curve25519_private_key()


def compute_box_key(public_key: bytes) -> bytes:
    """Return the X25519 key to seal to a coordinator with. Raises `Rejected(MALFORMED)`."""
    if not is_valid_public_key(public_key):
        raise Rejected(Rejection.MALFORMED, "not an Ed25519 key")
    return bindings.crypto_sign_ed25519_pk_to_curve25519(public_key)
