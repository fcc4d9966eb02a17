"""Never two encodings of one thing: what decodes is what the encoder would have written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.blocks import MAX_BLOCK_BYTES, Block
from ledger.rejection import Rejected, Rejection
from ledger.transactions import Transaction
from ledger.types import Record
from tests.ledger import plain_msgpack
from tests.ledger.samples import RECORDS, TRANSACTIONS

LIMIT = 1 << 20
ANYTHING_WRONG = {Rejection.MALFORMED, Rejection.NOT_CANONICAL}


def decode_or_refuse(data: bytes, kind: type[Record]) -> Record | None:
    try:
        return codec.decode(data, kind, LIMIT)
    except Rejected as rejected:
        assert rejected.reason in ANYTHING_WRONG
        return None


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_reads_back_and_is_written_as_the_page_says(name: str) -> None:
    record = RECORDS[name]
    data = codec.encode(record)
    assert codec.decode(data, type(record), LIMIT) == record
    assert data == plain_msgpack.encode(plain_msgpack.to_plain(record))


@pytest.mark.parametrize("name", RECORDS)
def test_no_looser_form_of_a_record_is_taken(name: str) -> None:
    record = RECORDS[name]
    data = codec.encode(record)
    variants = set(plain_msgpack.encode_variants(plain_msgpack.to_plain(record))) - {data}
    assert len(variants) > 5
    for variant in variants:
        decoded = decode_or_refuse(variant, type(record))
        # A shorter number or text in place of another is another value, never the same one.
        assert decoded is None or (codec.encode(decoded) == variant and decoded != record)


@given(st.sampled_from(list(RECORDS)), st.data())
def test_mutated_bytes_are_refused_or_mean_something_else(name: str, data: st.DataObject) -> None:
    record = RECORDS[name]
    good = codec.encode(record)
    at = data.draw(st.integers(0, len(good)))
    inserted = data.draw(st.binary(max_size=9))
    removed = data.draw(st.integers(0, 9))
    mutated = good[:at] + inserted + good[at + removed :]
    decoded = decode_or_refuse(mutated, type(record))
    assert decoded is None or (codec.encode(decoded) == mutated)
    assert (decoded == record) == (mutated == good)


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(data: bytes) -> None:
    for kind in (Transaction, Block):
        decoded = decode_or_refuse(data, kind)
        assert decoded is None or codec.encode(decoded) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # never used in MessagePack
        b"\xdd\xff\xff\xff\xff",  # an array that claims four thousand million items
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 100_000,  # nested without end
        b"\x81" * 100_000,
        b"\x97\x01\xc4\x20" + bytes(32) + b"\xdd\xff\xff\xff\xff",
        b"\x92\xc0\xdd\xff\xff\xff\xff",
    ],
)
def test_hostile_bytes_are_malformed(data: bytes) -> None:
    for kind in (Transaction, Block):
        with pytest.raises(Rejected) as refused:
            codec.decode(data, kind, MAX_BLOCK_BYTES)
        assert refused.value.reason is Rejection.MALFORMED


def test_the_limit_comes_before_everything() -> None:
    data = codec.encode(TRANSACTIONS[0])
    assert codec.decode(data, Transaction, len(data)) == TRANSACTIONS[0]
    with pytest.raises(Rejected) as refused:
        codec.decode(data, Transaction, len(data) - 1)
    assert refused.value.reason is Rejection.TOO_LARGE
    with pytest.raises(Rejected) as refused:
        codec.decode(b"\xc1" * 10, Transaction, 9)
    assert refused.value.reason is Rejection.TOO_LARGE


def test_bytes_behind_a_record_are_refused() -> None:
    for extra in (b"\x00", b"\xc0", codec.encode(TRANSACTIONS[0])):
        with pytest.raises(Rejected):
            codec.decode(codec.encode(TRANSACTIONS[0]) + extra, Transaction, LIMIT)
