"""Decides how a receipt's opening travels to an auditor: one file that the auditor's key opens.

The box says nothing about who sealed it, and need not: what is in it proves itself against the
chain (`consensus/receipt_audit.py`).
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from consensus.receipt_bundle import MAX_BUNDLE_BYTES
from ledger.receipts import decode_base64url, encode_base64url
from ledger.rejection import Rejected, Rejection
from zk.opening import MAX_OPENING_BYTES

FORMAT: Final = "aitbc-sealed-opening/1"
MAX_SEALED_BYTES: Final = (MAX_BUNDLE_BYTES + MAX_OPENING_BYTES) * 4 // 3 + 1024
_KEY_BYTES: Final = 32


class OtherAuditorError(ValueError):
    """The file is sealed to another key."""


class _SealedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: JSON. Whom it is for stands in clear, what is in it does not."""

    format: Literal["aitbc-sealed-opening/1"]
    auditor: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    """The X25519 key that it is sealed to."""
    box: str
    """Base64url of a libsodium sealed box with the content as JSON."""


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    opening: msgspec.Raw
    """`aitbc-receipt-opening/1`."""
    bundle: msgspec.Raw
    """`aitbc-receipt-bundle/1`."""


def parse_auditor(text: str) -> bytes:
    """Return the X25519 key in 64 hex digits. Raises `ValueError`."""
    try:
        key = bytes.fromhex(text)
        if len(text) != 2 * _KEY_BYTES:
            raise ValueError
    except ValueError:
        raise ValueError("an encryption key has 64 hex digits") from None
    try:
        SealedBox(PublicKey(key)).encrypt(b"")
    except CryptoError:
        raise ValueError("no secret can be shared with this key: it has a small order") from None
    return key


def seal(opening: Any, bundle: Any, auditor: bytes) -> bytes:
    """Return the file that shows an opening and its bundle, both JSON, to a key's holder alone."""
    content = msgspec.json.encode({"opening": opening, "bundle": bundle})
    box = SealedBox(PublicKey(auditor)).encrypt(content)
    return msgspec.json.encode(_SealedFile(FORMAT, auditor.hex(), encode_base64url(box))) + b"\n"


def unseal(data: bytes, key: PrivateKey) -> tuple[bytes, bytes]:
    """Return the opening and the bundle in a file, as JSON; neither is checked yet.

    Raises `OtherAuditorError`, and `Rejected` (`TOO_LARGE`, `MALFORMED`) for a file that is none
    or was changed.
    """
    if len(data) > MAX_SEALED_BYTES:
        raise Rejected(Rejection.TOO_LARGE, f"the limit is {MAX_SEALED_BYTES} bytes")
    try:
        file = msgspec.json.decode(data, type=_SealedFile)
        box = decode_base64url(file.box)
    except (ValueError, RecursionError) as error:
        raise Rejected(Rejection.MALFORMED, f"not a sealed opening: {error}") from None
    if file.auditor != bytes(key.public_key).hex():
        raise OtherAuditorError(f"the file is sealed to the key {file.auditor}, not to this one")
    try:
        content = msgspec.json.decode(SealedBox(key).decrypt(box), type=_Content)
    except CryptoError:
        raise Rejected(Rejection.MALFORMED, "the box does not open: the file was changed") from None
    except (ValueError, RecursionError) as error:
        raise Rejected(Rejection.MALFORMED, f"the box holds something else: {error}") from None
    return bytes(content.opening), bytes(content.bundle)
