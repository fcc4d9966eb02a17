"""How a delivery is signed: the Standard Webhooks scheme, and secrets that are sealed at rest.

What is signed is `{id}.{timestamp}.{body}`, by HMAC-SHA256. While a secret is being replaced a
delivery carries a signature by each. Pure.
"""

import hmac
import secrets
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from nacl.secret import SecretBox

SECRET_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_PURPOSE: Final = b"aitbc/webhooks/1\x00"


def make_secret() -> bytes:
    """Return a fresh secret of 32 bytes."""
    return secrets.token_bytes(_SECRET_BYTES)


def format_secret(secret: bytes) -> str:
    """Return a secret as its owner is shown it, once."""
    return SECRET_PREFIX + b64encode(secret).decode()


def seal_secret(secret: bytes, sealing_key: bytes) -> bytes:
    """Return a secret encrypted under the node's 32-byte sealing key."""
    return bytes(_open_box(sealing_key).encrypt(secret))


def open_secret(sealed: bytes, sealing_key: bytes) -> bytes:
    """Return the secret. Raises `nacl.exceptions.CryptoError` for another sealing key."""
    return _open_box(sealing_key).decrypt(sealed)


def build_headers(
    signers: Sequence[bytes], message_id: str, seconds: int, body: bytes
) -> dict[str, str]:
    """Return the headers of a delivery, signed with each of the secrets."""
    signed = b".".join((message_id.encode(), str(seconds).encode(), body))
    signatures = (b64encode(hmac.digest(secret, signed, sha256)).decode() for secret in signers)
    return {
        "Content-Type": "application/json",
        "User-Agent": "aitbc-webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _open_box(sealing_key: bytes) -> SecretBox:
    # A key of its own: what seals a wallet's seed opens no webhook's secret, and the other way.
    return SecretBox(hmac.digest(sealing_key, _PURPOSE, sha256))
