import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from ledger import terms
from ledger.rejection import Rejected, Rejection
from ledger.terms import PriceTerms, ReceiptTerms, Terms
from tests.ledger.samples import fill
from tests.ledger.world import CLIENT, MINER
from zk.field import R, decode_field
from zk.poseidon import poseidon

JOB = fill("job")
TERMS = Terms(
    job=JOB,
    client=CLIENT.address,
    max_units=500,
    max_price=100,
    not_before=0,
    deadline=1_800_000_060_000,
    model=fill("model"),
    input_hash=fill("input"),
    salt=fill("salt"),
)
PRICE = PriceTerms(90, fill("price salt"))
RECEIPT = ReceiptTerms(120, 1_800_000_001_250, 1_800_000_003_500, fill("result"), fill("r salt"))


def test_a_job_id_is_that_of_client_and_tag() -> None:
    tag = fill("tag")
    assert terms.compute_job_id(CLIENT.address, tag) == terms.compute_job_id(CLIENT.address, tag)
    ids = {
        terms.compute_job_id(address, other)
        for address in (CLIENT.address, MINER.address)
        for other in (tag, bytes(32))
    }
    assert len(ids) == 4
    expected = sha256(b"aitbc/job/1\x00" + CLIENT.address + tag).digest()
    assert terms.compute_job_id(CLIENT.address, tag) == expected


OTHER: dict[str, Any] = {
    "job": bytes(32),
    "client": MINER.address,
    "model": bytes(32),
    "input_hash": bytes(32),
    "result_hash": bytes(32),
    "salt": bytes(32),
}


def commit(record: Terms | PriceTerms | ReceiptTerms) -> bytes:
    match record:
        case Terms():
            return terms.commit_terms(record)
        case PriceTerms():
            return terms.commit_price_terms(record)
        case ReceiptTerms():
            return terms.commit_receipt_terms(record, JOB, MINER.address)


@pytest.mark.parametrize("record", [TERMS, PRICE, RECEIPT], ids=lambda r: type(r).__name__)
def test_each_commitment_binds_each_field(record: Terms | PriceTerms | ReceiptTerms) -> None:
    commitments = {commit(record)}
    for field in record.__struct_fields__:
        changed = msgspec.structs.replace(record, **{field: OTHER.get(field, 7)})
        commitments.add(commit(changed))
    assert len(commitments) == 1 + len(record.__struct_fields__)
    assert all(decode_field(commitment) < R for commitment in commitments)


def test_a_receipts_commitment_binds_job_and_payee() -> None:
    commitments = {
        terms.commit_receipt_terms(RECEIPT, job, payee)
        for job in (JOB, bytes(32))
        for payee in (MINER.address, CLIENT.address)
    }
    assert len(commitments) == 4


def test_a_commitment_is_the_hash_of_the_fields_in_order() -> None:
    salt = int.from_bytes(fill("price salt"), "big") % R
    assert terms.commit_price_terms(PRICE) == poseidon((90, salt)).to_bytes(32, "big")


def test_salts_differ_by_purpose_job_and_secret() -> None:
    salts = {
        terms.derive_salt(secret, purpose, job)
        for secret in (bytes(32), JOB)
        for purpose in (b"offer", b"price", b"receipt")
        for job in (JOB, bytes(32))
    }
    assert len(salts) == 12


def test_content_hashes_are_those_of_canonical_json() -> None:
    content = {"b": [1, "é"], "a": {"y": None, "x": True}}
    expected = sha256('{"a":{"x":true,"y":null},"b":[1,"é"]}'.encode()).digest()
    assert terms.compute_content_hash(content) == expected
    assert terms.compute_model_hash("m@00") == sha256(b"m@00").digest()


def test_a_commitment_outside_the_field_is_refused() -> None:
    assert terms.check_commitment((R - 1).to_bytes(32, "big")) == R - 1
    for value in (R, R + 1, 2**256 - 1):
        with pytest.raises(Rejected) as refused:
            terms.check_commitment(value.to_bytes(32, "big"))
        assert refused.value.reason is Rejection.BAD_FIELD_ELEMENT


def test_terms_that_the_escrow_covers() -> None:
    job_commit = terms.commit_terms(TERMS)
    assert terms.find_uncovered_terms(TERMS, job_commit, 50_000) is None
    assert terms.find_uncovered_terms(TERMS, job_commit, 49_999) is not None
    assert terms.find_uncovered_terms(TERMS, bytes(32), 50_000) is not None
    huge = msgspec.structs.replace(TERMS, max_units=2**40 - 1, max_price=2**63 - 1)
    assert terms.find_uncovered_terms(huge, terms.commit_terms(huge), 2**63 - 1) is not None


def test_an_opening_is_read_back_from_json() -> None:
    def carry(opening: Terms | PriceTerms | ReceiptTerms) -> Any:
        return json.loads(json.dumps(terms.write_opening(opening)))

    assert terms.read_opening(carry(TERMS), Terms) == TERMS
    assert terms.read_opening(carry(PRICE), PriceTerms) == PRICE
    assert terms.read_opening(carry(RECEIPT), ReceiptTerms) == RECEIPT


@pytest.mark.parametrize(
    "changes",
    [
        {"salt": PRICE.salt.hex().upper()},
        {"salt": " " + PRICE.salt.hex()},
        {"salt": PRICE.salt.hex()[2:]},
        {"salt": 1},
        {"salt": None},
        {"price": "90"},
        {"price": -1},
        {"price": True},
        {"more": 1},
    ],
)
def test_what_is_no_opening_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        terms.read_opening({**terms.write_opening(PRICE), **changes}, PriceTerms)


def test_an_opening_lacks_no_member() -> None:
    with pytest.raises(ValueError):
        terms.read_opening({"price": 90}, PriceTerms)
