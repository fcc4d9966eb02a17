"""Openings round trip, other documents are refused, and each lie is named."""

import json
from typing import Any

import msgspec
import pytest

from tests.zk.samples import OFFER, RECEIPT, make_statement
from zk.field import R
from zk.opening import InvalidOpeningError, check_opening, decode_opening, encode_opening

PUBLIC, WITNESS = make_statement()
DOCUMENT = encode_opening(WITNESS)
ON_CHAIN = {
    name: value for name, value in msgspec.structs.asdict(PUBLIC).items() if name != "context"
}


def test_an_opening_round_trips_and_fits() -> None:
    opening = decode_opening(DOCUMENT)
    assert opening == WITNESS
    assert check_opening(opening, **ON_CHAIN) == []
    assert encode_opening(opening) == DOCUMENT


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"receipt": msgspec.structs.replace(RECEIPT, units=320)}, "receipt_commit"),
        ({"offer": msgspec.structs.replace(OFFER, model=45)}, "job_commit"),
        ({"offer": msgspec.structs.replace(OFFER, job=12)}, "receipt_commit"),
    ],
)
def test_a_changed_opening_fits_no_longer(changes: dict[str, Any], rule: str) -> None:
    assert rule in check_opening(msgspec.structs.replace(WITNESS, **changes), **ON_CHAIN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job_commit", 1),
        ("price_commit", 1),
        ("receipt_commit", 1),
        ("amount", PUBLIC.amount + 1),
        ("payee", PUBLIC.payee + 1),
        ("claim_time", RECEIPT.started + 1),
        ("billing", 2),
        ("epoch_time", RECEIPT.completed - 1),
    ],
)
def test_an_opening_fits_no_other_settlement(name: str, value: int) -> None:
    assert check_opening(WITNESS, **{**ON_CHAIN, name: value}) != []


def changed(part: str, **values: Any) -> bytes:
    document = json.loads(DOCUMENT)
    document[part] = {**document[part], **values}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[" * 4000,
        DOCUMENT + b"x",
        DOCUMENT + b" " * 4096,
        changed("offer", job="0" * 63),
        changed("offer", job="G" * 64),
        changed("offer", job=format(R, "064x")),
        changed("offer", job=11),
        changed("offer", max_units=1 << 40),
        changed("offer", extra=1),
        changed("price", price=-1),
        changed("price", price=1.0),
        changed("price", price="5"),
        changed("receipt", started=1 << 48),
        json.dumps({**json.loads(DOCUMENT), "format": "other"}).encode(),
        json.dumps({"offer": {}}).encode(),
    ],
)
def test_other_documents_are_no_opening(document: bytes) -> None:
    with pytest.raises(InvalidOpeningError):
        decode_opening(document)


def test_what_no_proof_could_hold_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"units|<="):
        encode_opening(
            msgspec.structs.replace(
                WITNESS, receipt=msgspec.structs.replace(RECEIPT, units=1 << 40)
            )
        )
