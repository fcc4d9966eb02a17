"""Hashing and signing: one domain tag for each signed or hashed thing, one signature verifier.

Rules L2, L3, L4 and E5 of docs/protocol. No tag begins with `{`: the JSON receipt is the one
signed message without a tag, so no tagged message can be read as one.
"""

from functools import lru_cache
from hashlib import sha256

from bech32m import codecs
from nacl import bindings
from nacl.exceptions import BadSignatureError

from ledger.rejection import Rejected, Rejection

TAG_ADDRESS = b"aitbc/address/1\x00"
TAG_TRANSACTION = b"aitbc/transaction/1\x00"
TAG_HEADER = b"aitbc/header/1\x00"
TAG_GENESIS = b"aitbc/genesis/1\x00"
TAG_AUTHORITIES = b"aitbc/authorities/1\x00"
TAG_JOB = b"aitbc/job/1\x00"
TAG_OFFER = b"aitbc/offer/1\x00"
TAG_PUBLIC_PRICE = b"aitbc/public-price/1\x00"
TAG_VOTE = b"aitbc/vote/1\x00"
TAG_PROPOSAL = b"aitbc/proposal/1\x00"
TAG_PEER_BINDING = b"aitbc/peer-binding/1\x00"
TAG_AUTHORITY_CHANGE = b"aitbc/authority-change/1\x00"

ADDRESS_PREFIX = "ait"


def hash_tagged(tag: bytes, *parts: bytes) -> bytes:
    """Return SHA-256 of a domain tag and the parts behind it (32 bytes)."""
    return sha256(tag + b"".join(parts)).digest()


@lru_cache(maxsize=65_536)
def compute_address(public_key: bytes) -> bytes:
    """Return the 20-byte address of an Ed25519 public key."""
    return hash_tagged(TAG_ADDRESS, public_key)[:20]


@lru_cache(maxsize=65_536)
def format_address(address: bytes) -> str:
    """Return an address as people write it: bech32m with the prefix `ait` (BIP-350)."""
    words = codecs.convertbits(address, 8, 5)
    return str(codecs.bech32_encode(ADDRESS_PREFIX, words, codecs.Encoding.BECH32M))


def parse_address(text: str) -> bytes:
    """Return the 20 bytes of a written address, lower case only. Raises `Rejected(BAD_ADDRESS)`."""
    try:
        _, words, _ = codecs.bech32_decode(text)
        address = bytes(codecs.convertbits(words, 5, 8, False))
    except codecs.DecodeError:
        address = b""
    if len(address) != 20 or format_address(address) != text:
        raise Rejected(Rejection.BAD_ADDRESS, "an address is bech32m with the prefix ait1")
    return address


def sign(seed: bytes, message: bytes) -> bytes:
    """Return the Ed25519 signature (64 bytes, RFC 8032) of a message by a 32-byte seed."""
    _, secret_key = bindings.crypto_sign_seed_keypair(seed)
    return bytes(bindings.crypto_sign(message, secret_key)[:64])


def compute_public_key(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a 32-byte seed."""
    public_key, _ = bindings.crypto_sign_seed_keypair(seed)
    return bytes(public_key)


def is_valid_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature holds. The only Ed25519 verifier of the product.

    libsodium's strict rule (canonical S, canonical and not small-order A and R, the cofactorless
    equation), and the key must lie in the prime-order subgroup.
    """
    if len(signature) != 64 or not is_valid_public_key(public_key):
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


@lru_cache(maxsize=65_536)
def is_valid_public_key(public_key: bytes) -> bool:
    """Tell whether 32 bytes are a canonical point of the prime-order subgroup.

    Small- and mixed-order keys are refused (rule L2); the answer is kept for each key, since the
    check costs as much as a signature.
    """
    return len(public_key) == 32 and bool(bindings.crypto_core_ed25519_is_valid_point(public_key))
