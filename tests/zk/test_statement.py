"""The reference rules, and what commitments and contexts bind."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zk.samples import COMPLETED, OFFER, PRICE, RECEIPT, STARTED, make_statement
from zk.field import R
from zk.statement import (
    PER_SECOND,
    PER_UNIT,
    address_to_field,
    check_statement,
    commit_offer,
    commit_price,
    commit_receipt,
    compute_context,
)

replace = msgspec.structs.replace


def test_the_sample_holds() -> None:
    assert check_statement(*make_statement()) == []


def test_nothing_to_pay_is_a_fair_settlement() -> None:
    receipt = replace(RECEIPT, units=0)
    assert check_statement(*make_statement(receipt=receipt)) == []


@pytest.mark.parametrize(("extra", "holds"), [(0, True), (1, False)])
def test_a_second_is_a_whole_second(extra: int, holds: bool) -> None:
    receipt = replace(RECEIPT, completed=STARTED + 321_000 - extra)
    rules = check_statement(*make_statement(receipt=receipt, billing=PER_SECOND))
    assert rules == ([] if holds else ["units_within_seconds"])
    assert check_statement(*make_statement(receipt=receipt, billing=PER_UNIT)) == []


def test_the_bounds_of_time_are_inclusive_where_the_rules_say_so() -> None:
    offer = replace(OFFER, not_before=STARTED, deadline=COMPLETED)
    assert check_statement(*make_statement(offer, claim_time=STARTED, epoch_time=COMPLETED)) == []


def test_what_is_no_field_element_is_named_first() -> None:
    assert check_statement(*make_statement(amount=R)) == ["field_elements"]
    public, witness = make_statement()
    negative = replace(witness, receipt=replace(RECEIPT, units=-1))
    assert check_statement(public, negative) == ["field_elements"]


@pytest.mark.parametrize(
    ("part", "commit"),
    [
        (OFFER, commit_offer),
        (PRICE, commit_price),
        (RECEIPT, lambda receipt: commit_receipt(receipt, 1, 2)),
    ],
)
def test_a_commitment_binds_every_field(part: Any, commit: Any) -> None:
    commitments = {commit(part)}
    for name, value in msgspec.structs.asdict(part).items():
        commitments.add(commit(replace(part, **{name: value + 1})))
    assert len(commitments) == 1 + len(part.__struct_fields__)


def test_a_receipt_commitment_binds_job_and_payee() -> None:
    assert len({commit_receipt(RECEIPT, *pair) for pair in ((1, 2), (2, 1), (1, 1), (2, 2))}) == 4


CONTEXT: dict[str, Any] = {
    "chain_id": b"\x01" * 32,
    "key_id": b"\x02" * 32,
    "kind": 7,
    "job_id": b"\x03" * 32,
    "lease_number": 2,
    "payee": b"\x04" * 20,
    "receipt_commit": 5,
}


def test_a_context_binds_every_part() -> None:
    other: dict[str, Any] = {
        "chain_id": b"\x11" * 32,
        "key_id": b"\x12" * 32,
        "kind": 8,
        "job_id": b"\x13" * 32,
        "lease_number": 3,
        "payee": b"\x14" * 20,
        "receipt_commit": 6,
    }
    contexts = {compute_context(**{**CONTEXT, name: value}) for name, value in other.items()}
    assert len(contexts | {compute_context(**CONTEXT)}) == 1 + len(CONTEXT)


def test_a_context_is_frozen() -> None:
    expected = "6be27b53d8ac01884e15a649771eba152856ecf2d57695a53168cbe661654d5b"
    assert format(compute_context(**CONTEXT), "064x") == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chain_id", bytes(31)),
        ("key_id", bytes(33)),
        ("job_id", b""),
        ("payee", bytes(21)),
        ("kind", 1 << 16),
        ("kind", -1),
        ("lease_number", 1 << 64),
        ("receipt_commit", R),
    ],
)
def test_a_malformed_part_of_a_context_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"bytes|range|field"):
        compute_context(**{**CONTEXT, name: value})


@given(st.binary(min_size=20, max_size=20))
def test_addresses_stay_apart_in_the_field(address: bytes) -> None:
    assert address_to_field(address).to_bytes(20, "big") == address
    with pytest.raises(ValueError, match="20 bytes"):
        address_to_field(address[1:])
