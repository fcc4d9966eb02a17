"""Decides how the owner of a receipt shows it to an auditor, and what the auditor checks.

An opening holds the offer, the price and the receipt behind the commitments on the chain. It is
a strict JSON document, so that it can be kept, sealed to somebody and read by other tools.
Section P7 of docs/protocol/proof.md.
"""

from typing import Annotated, Final, Literal, TypeVar

import msgspec

from zk.field import decode_field, encode_field
from zk.statement import (
    PRICE_BITS,
    TIME_BITS,
    UNITS_BITS,
    Offer,
    Price,
    PublicInputs,
    Receipt,
    Witness,
    check_statement,
)

FORMAT: Final = "aitbc-receipt-opening/1"
MAX_OPENING_BYTES: Final = 4096

_FieldHex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Units = Annotated[int, msgspec.Meta(ge=0, le=(1 << UNITS_BITS) - 1)]
_Price = Annotated[int, msgspec.Meta(ge=0, le=(1 << PRICE_BITS) - 1)]
_Part = TypeVar("_Part", Offer, Price, Receipt)
_Time = Annotated[int, msgspec.Meta(ge=0, le=(1 << TIME_BITS) - 1)]


class InvalidOpeningError(ValueError):
    """The bytes are no opening."""


class _OfferDocument(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    job: _FieldHex
    client: _FieldHex
    max_units: _Units
    max_price: _Price
    not_before: _Time
    deadline: _Time
    model: _FieldHex
    input_hash: _FieldHex
    salt: _FieldHex


class _PriceDocument(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    price: _Price
    salt: _FieldHex


class _ReceiptDocument(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    units: _Units
    started: _Time
    completed: _Time
    result_hash: _FieldHex
    salt: _FieldHex


class _OpeningDocument(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    format: Literal["aitbc-receipt-opening/1"]
    offer: _OfferDocument
    price: _PriceDocument
    receipt: _ReceiptDocument


def encode_opening(witness: Witness) -> bytes:
    """The document: JSON with sorted keys, hashes and salts as hex, money in base units.

    Raises:
        ValueError: a value outside the field or its range, which no proof could hold.
    """
    document = {
        "format": FORMAT,
        "offer": _to_document(witness.offer, _OfferDocument),
        "price": _to_document(witness.price, _PriceDocument),
        "receipt": _to_document(witness.receipt, _ReceiptDocument),
    }
    return msgspec.json.encode(document, order="sorted")


def decode_opening(document: bytes) -> Witness:
    """Read an opening.

    Raises:
        InvalidOpeningError: too long, not this format, an unknown or missing field, a value out
            of range, or a hash that is no field element.
    """
    if len(document) > MAX_OPENING_BYTES:
        raise InvalidOpeningError(f"an opening has at most {MAX_OPENING_BYTES} bytes")
    try:
        opening = msgspec.json.decode(document, type=_OpeningDocument)
        return Witness(
            offer=_from_document(opening.offer, Offer),
            price=_from_document(opening.price, Price),
            receipt=_from_document(opening.receipt, Receipt),
        )
    except ValueError as error:
        raise InvalidOpeningError(f"not an opening: {error}") from error


def check_opening(
    opening: Witness,
    *,
    job_commit: int,
    price_commit: int,
    receipt_commit: int,
    amount: int,
    payee: int,
    claim_time: int,
    billing: int,
    epoch_time: int,
) -> list[str]:
    """Names of the rules that the opening breaks against what the chain says; empty: it fits.

    All arguments but the opening are read from the chain: the job's entry, the lease and the
    settling transaction. The rules are those of the proof, so an opening that fits also shows
    everything that the proof shows.
    """
    public = PublicInputs(
        job_commit=job_commit,
        price_commit=price_commit,
        receipt_commit=receipt_commit,
        amount=amount,
        payee=payee,
        claim_time=claim_time,
        billing=billing,
        epoch_time=epoch_time,
        context=0,
    )
    return check_statement(public, opening)


def _is_hash(name: str) -> bool:
    return name in {"job", "client", "model", "input_hash", "result_hash", "salt"}


def _to_document(part: Offer | Price | Receipt, kind: type[msgspec.Struct]) -> msgspec.Struct:
    values = {
        name: encode_field(value).hex() if _is_hash(name) else value
        for name, value in msgspec.structs.asdict(part).items()
    }
    return msgspec.convert(values, kind)


def _from_document(document: msgspec.Struct, kind: type[_Part]) -> _Part:
    values = {
        name: decode_field(bytes.fromhex(value)) if _is_hash(name) else value
        for name, value in msgspec.structs.asdict(document).items()
    }
    return kind(**values)
