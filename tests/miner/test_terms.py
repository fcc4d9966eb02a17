"""Opened terms are held against the chain and the content, member by member."""

import base64
import json
from typing import Any

import msgspec
import pytest
from nacl.public import SealedBox

from ledger.terms import Terms, commit_terms
from miner.terms import (
    MAX_BOXES,
    ContentUnreadableError,
    TermsRefusedError,
    check_terms,
    open_content,
    open_terms,
)
from tests.miner.samples import CLIENT, CONTENT, JOB, MINER, NOW, TERMS

KEY = MINER.derive_encryption_key()


def seal(members: Any) -> str:
    box = SealedBox(KEY.public_key)
    return base64.b64encode(box.encrypt(json.dumps(members).encode())).decode()


def write(terms: Terms) -> dict[str, Any]:
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in msgspec.structs.asdict(terms).items()
    }


def check(terms: Terms = TERMS, content: Any = CONTENT, **changed: Any) -> None:
    given = {
        "job": JOB,
        "client": CLIENT.address,
        "job_commit": commit_terms(terms),
        "escrow": 100_000,
        "price": 900,
        "now": NOW,
        **changed,
    }
    check_terms(terms, content, **given)


def test_terms_open_for_their_miner_alone() -> None:
    assert open_terms(seal(write(TERMS)), KEY) == TERMS
    with pytest.raises(TermsRefusedError):
        open_terms(seal(write(TERMS)), CLIENT.derive_encryption_key())


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "!",
        "AAAA",
        "A" * 8_193,
        seal([]),
        seal({}),
        seal({**write(TERMS), "salt": "zz"}),
        seal({**write(TERMS), "salt": 5}),
        seal({**write(TERMS), "salt": "00"}),
        seal({**write(TERMS), "max_units": -1}),
        seal({**write(TERMS), "max_units": 2**40}),
        seal({**write(TERMS), "extra": 1}),
    ],
    # By number: a sealed box is another text in every process that collects the tests.
    ids=[str(number) for number in range(12)],
)
def test_what_is_no_opening_is_refused(sealed: str) -> None:
    with pytest.raises(TermsRefusedError, match="do not open"):
        open_terms(sealed, KEY)


def test_covered_terms_pass() -> None:
    check()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"job_commit": bytes(32)}, "commitment"),
        ({"escrow": 99_999}, "escrow"),
        ({"job": bytes(32)}, "another job"),
        ({"client": bytes(20)}, "another client"),
        ({"price": 1_001}, "price"),
        ({"now": TERMS.deadline}, "deadline"),
        ({"content": {**CONTENT, "params": {}}}, "content"),
        ({"content": {**CONTENT, "x": float("nan")}}, "canonical"),
        ({"terms": msgspec.structs.replace(TERMS, model=bytes(32))}, "model"),
        ({"terms": msgspec.structs.replace(TERMS, max_units=0)}, "no unit"),
    ],
)
def test_each_lie_is_found(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(TermsRefusedError, match=reason):
        check(**changed)


TOKEN = "0f" * 16


def seal_pieces(text: bytes, size: int) -> list[str]:
    box = SealedBox(KEY.public_key)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return [base64.b64encode(box.encrypt(piece)).decode() for piece in pieces]


def test_a_content_in_several_boxes_opens_for_its_miner_alone() -> None:
    text = json.dumps({"content": CONTENT, "report_token": TOKEN}, ensure_ascii=False).encode()
    boxes = seal_pieces(text, 50)
    assert len(boxes) > 2
    assert open_content(boxes, KEY) == (CONTENT, TOKEN)
    for wrong, key in (
        (boxes, CLIENT.derive_encryption_key()),
        (boxes[1:], KEY),
        (boxes[::-1], KEY),
        (boxes[:-1], KEY),
    ):
        with pytest.raises(ContentUnreadableError):
            open_content(wrong, key)


@pytest.mark.parametrize(
    "members",
    [
        [],
        {},
        {"content": CONTENT},
        {"content": "x", "report_token": TOKEN},
        {"content": CONTENT, "report_token": 5},
        {"content": CONTENT, "report_token": TOKEN.upper()},
    ],
)
def test_what_is_no_content_is_named_as_such(members: Any) -> None:
    with pytest.raises(ContentUnreadableError):
        open_content(seal_pieces(json.dumps(members).encode(), 1_000), KEY)


def test_boxes_beyond_measure_are_not_opened() -> None:
    with pytest.raises(ContentUnreadableError):
        open_content(seal_pieces(b"x" * (MAX_BOXES + 1), 1), KEY)
