"""The signed receipt: the JSON document that a miner's registered key signs (rule R1).

Integers and strings only, and one flat object of strings, no nulls, so that RFC 8785, "sorted keys
without spaces", and every verifier that drops `signature` and `attestations` hash the same bytes.
The one signed message without a domain tag; no tag begins with `{`.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
import rfc8785
from msgspec import UNSET, Meta, UnsetType

from ledger import crypto
from ledger.rejection import Rejected, Rejection

UNSIGNED_MEMBERS = ("signature", "attestations")
ALGORITHM = "Ed25519"

WholeNumber = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""What JSON carries exactly (RFC 8785, section 3.2.2.3): an amount up to nine million AIT."""

PlainText = Annotated[str, Meta(pattern=r"^[ -~]*\Z")]
"""Printable ASCII: what every writer of JSON writes alike, those that escape all else too."""

MAX_PINS: Final = 16
MAX_PIN_CHARACTERS: Final = 200

PinName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
PinText = Annotated[str, Meta(pattern=r"^[ -~]*\Z", max_length=MAX_PIN_CHARACTERS)]
Pins = Annotated[dict[PinName, PinText], Meta(max_length=MAX_PINS)]
"""What has to be the same for a run to be comparable with another: build, seed, threads, …"""

VerificationClass = Literal["exact", "tolerance", "logit_gap", "none"]
"""How a result can be checked later by running the job again (docs/services.md)."""


class ReceiptCore(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the miner signs. Hashes, ids and commitments are lower-case hex without a prefix."""

    version: Annotated[int, Meta(ge=1, le=1)] = 1
    chain_id: PlainText
    receipt_id: PlainText
    job_id: PlainText
    provider: PlainText
    """The payee's address."""
    miner_id: PlainText
    claim_number: WholeNumber
    client: PlainText
    service: PlainText
    units: WholeNumber
    unit_type: PlainText
    price: WholeNumber
    """Base units per unit."""
    amount: WholeNumber
    """Base units: units times price."""
    model: PlainText
    engine: PlainText
    """Engine and build that ran the job."""
    device: PlainText
    """What it ran on; empty where the miner did not say."""
    verification: VerificationClass
    """The class of the job's service."""
    pins: Pins
    input_hash: PlainText
    result_hash: PlainText
    started_at: WholeNumber
    """Seconds since the Unix epoch, rounded down."""
    completed_at: WholeNumber
    started_ms: WholeNumber
    completed_ms: WholeNumber
    receipt_commit: PlainText
    energy_joules: WholeNumber | UnsetType = UNSET
    """What the device's own counter counted while the job ran; absent where there is none."""


def encode_core(core: ReceiptCore) -> bytes:
    """Return the exact bytes that are signed."""
    return rfc8785.dumps(msgspec.to_builtins(core))


def sign_receipt(seed: bytes, core: ReceiptCore) -> dict[str, Any]:
    """Return the receipt document: the core and the `signature` of its canonical bytes."""
    public_key = encode_base64url(crypto.compute_public_key(seed))
    signature = {
        "alg": ALGORITHM,
        "key_id": public_key,
        "sig": encode_base64url(crypto.sign(seed, encode_core(core))),
        "public_key": public_key,
    }
    return {**msgspec.to_builtins(core), "signature": signature, "attestations": []}


def parse_receipt(document: dict[str, Any]) -> tuple[ReceiptCore, bytes]:
    """Return a receipt's core and its signer's public key, the signature having been checked.

    Raises `Rejected` (`MALFORMED`, `BAD_SIGNATURE`).
    """
    members = {key: value for key, value in document.items() if key not in UNSIGNED_MEMBERS}
    signature = document.get("signature")
    try:
        core = msgspec.convert(members, ReceiptCore, strict=True)
        if not isinstance(signature, dict):
            raise ValueError("the signature is missing")
        if signature["alg"] != ALGORITHM or signature["public_key"] != signature["key_id"]:
            raise ValueError("the signature is not Ed25519 by the key that it names")
        public_key = decode_base64url(signature["key_id"])
        signed = decode_base64url(signature["sig"])
        message = encode_core(core)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as error:
        raise Rejected(Rejection.MALFORMED, f"not a receipt: {error}") from None
    if not crypto.is_valid_signature(public_key, message, signed):
        raise Rejected(Rejection.BAD_SIGNATURE, "the receipt's signature does not hold")
    return core, public_key


def read_receipt(document: Mapping[str, Any]) -> tuple[ReceiptCore, bytes]:
    """Return the core and the signer's key of either form of a receipt.

    With `signed_payload` that text is what was signed, and every member beside it that has the name
    of a signed one must say the same. Raises `Rejected` (`MALFORMED`, `BAD_SIGNATURE`).
    """
    payload = document.get("signed_payload")
    if payload is None:
        return parse_receipt(dict(document))
    try:
        members = json.loads(payload) if isinstance(payload, str) else None
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise Rejected(Rejection.MALFORMED, "signed_payload is not JSON text")
    signed = {name: members[name] for name in members if name not in UNSIGNED_MEMBERS}
    core, public_key = parse_receipt({**signed, "signature": document.get("signature")})
    if encode_core(core) != payload.encode("utf-8", "surrogatepass"):
        raise Rejected(Rejection.NOT_CANONICAL, "signed_payload is not canonical JSON")
    for name, value in signed.items():
        if name in document and (
            type(document[name]) is not type(value) or document[name] != value
        ):
            raise Rejected(Rejection.BAD_SIGNATURE, f"{name} is not what was signed")
    for name in ReceiptCore.__struct_fields__:
        if name in document and name not in signed:
            raise Rejected(Rejection.BAD_SIGNATURE, f"{name} was not signed")
    return core, public_key


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """Return the bytes of canonical unpadded base64url. Raises `ValueError`."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None
    if encode_base64url(data) != text:
        raise ValueError("not canonical base64url")
    return data
