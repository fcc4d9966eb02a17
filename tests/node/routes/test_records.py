"""Every record of the ledger can be written on the API, whatever its sender put into it."""

import json
from enum import IntEnum
from typing import Any, get_args

import msgspec
import pydantic_core
import pytest
from msgspec import inspect

from ledger.entries import Attempt, Lease, Miner, Settlement
from ledger.outcomes import Event
from ledger.transactions import EquivocationEvidence, Payload
from ledger.types import MAX_AMOUNT, MAX_TIME, Record
from node.routes import models, records
from tests.ledger import samples

KINDS: list[type[Record]] = [*get_args(Payload), *get_args(Event), Attempt, Lease, Settlement]


def make_extreme(kind: type[Record], is_high: bool) -> Record:
    """Return a record whose every field is at a bound of its type."""
    return kind(*(make_bound(field.type, is_high) for field in msgspec.structs.fields(kind)))


def make_bound(annotation: Any, is_high: bool) -> Any:
    found = inspect.type_info(annotation)
    match found:
        case inspect.IntType():
            return found.le if is_high else found.ge
        case inspect.BytesType():
            return b"\xff" * ((found.max_length if is_high else found.min_length) or 0)
        case inspect.StrType():
            return "z" * (64 if is_high else 1)
        case inspect.EnumType():
            members: list[IntEnum] = list(found.cls)
            return members[-1 if is_high else 0]
        case inspect.BoolType():
            return is_high
        case inspect.StructType():
            assert issubclass(found.cls, Record)
            return make_extreme(found.cls, is_high)
        case inspect.UnionType():
            return make_bound(get_args(annotation)[-1 if is_high else 0], is_high)
        case _:
            raise AssertionError(f"no bound for {annotation}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_high", [False, True])
def test_a_record_at_its_bounds_is_written(kind: type[Record], is_high: bool) -> None:
    record = make_extreme(kind, is_high)
    for outage in (None, 0, MAX_TIME):
        described = records.describe_record(record, outage)
        assert json.loads(json.dumps(described)) == described
        for name in ("amount", "escrow", "payout"):
            if hasattr(record, name):
                assert described[f"{name}_base"] == str(MAX_AMOUNT if is_high else 0)
        assert "metadata" not in described and "proof" not in described


def test_kinds_are_named_as_in_the_protocol() -> None:
    names = {records.name_kind(make_extreme(kind, False)) for kind in get_args(Payload)}
    assert names >= {"transfer", "miner_register", "job_submit", "job_settle"}


def test_evidence_shows_what_was_signed() -> None:
    described = records.describe_record(EquivocationEvidence(bytes(32), samples.BALLOTS))
    assert described["conflict"]["type"] == "conflicting_ballots"
    ballot = described["conflict"]["first"]["ballot"]
    assert (ballot["kind"], ballot["epoch"], ballot["view"]) == ("nullify", 3, 70_001)
    assert ballot["block_hash"] == bytes(32).hex()


def test_an_outcome_is_named() -> None:
    assert records.name_outcome(0) == ("applied", None)
    assert records.name_outcome(101) == ("AMOUNT_IS_ZERO", "The amount is zero.")
    assert records.name_outcome(99_999) == ("REJECTION_99999", None)


def describe_metadata(metadata: bytes) -> models.Miner:
    miner = Miner(bytes(20), bytes(32), metadata, 0, True, MAX_TIME)
    return models.Miner(**records.describe_miner("a", miner))


@pytest.mark.parametrize(
    "metadata",
    [
        b"", b"\xff", b"[]", b"1", b'"text"', b"{", b'{"a":NaN}', b'{"a":1e999}', b'{"a":1,"a":2}',
        b'{"a":"\\ud800"}', b'{"a":' * 600 + b"1" + b"}" * 600, b'{"a":' + b"[" * 4_000,
    ],
)  # fmt: skip
def test_metadata_that_is_no_plain_object_is_not_shown(metadata: bytes) -> None:
    assert describe_metadata(metadata).metadata is None


@pytest.mark.parametrize(
    "metadata",
    [b'{"models":["a"]}', b'{"a":' + b"9" * 4_000 + b"}", b'{"a":' * 60 + b"1" + b"}" * 60],
)
def test_metadata_that_is_shown_can_be_sent(metadata: bytes) -> None:
    miner = describe_metadata(metadata)
    assert miner.metadata is not None
    assert json.dumps(pydantic_core.to_jsonable_python(miner))
