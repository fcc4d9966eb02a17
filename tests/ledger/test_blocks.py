import msgspec
import pytest

from ledger import codec, crypto, merkle
from ledger.blocks import (
    MAX_BLOCK_BYTES,
    MAX_BLOCK_TRANSACTIONS,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    AuthoritySet,
    Block,
    Header,
    compute_authorities_hash,
    compute_header_hash,
    compute_transactions_root,
    decode_block,
    decode_header,
)
from ledger.rejection import Rejected, Rejection
from ledger.transactions import MAX_METADATA_BYTES, MinerRegister, Transaction
from tests.ledger.samples import AUTHORITY_SET, BLOCK, HEADER, TRANSACTIONS
from tests.ledger.world import OTHER_CHAIN

WIDEST = 2**63 - 1


def test_blocks_and_headers_read_back() -> None:
    assert decode_block(codec.encode(BLOCK)) == BLOCK
    assert decode_header(codec.encode(HEADER)) == HEADER


def test_the_hash_binds_every_field() -> None:
    other: dict[str, object] = {
        "version": 2,
        "chain_id": OTHER_CHAIN,
        "proposer": bytes(32),
        **dict.fromkeys(("epoch", "height", "view", "parent_view", "time"), 1),
    }
    hashes = {compute_header_hash(HEADER)}
    for field in Header.__struct_fields__:
        changed = msgspec.structs.replace(HEADER, **{field: other.get(field, bytes(32))})
        hashes.add(compute_header_hash(changed))
    assert len(hashes) == 1 + len(Header.__struct_fields__)
    assert compute_header_hash(HEADER) == crypto.hash_tagged(
        crypto.TAG_HEADER, codec.encode(HEADER)
    )


def test_the_widest_header_fits() -> None:
    widest = msgspec.structs.replace(
        HEADER, epoch=WIDEST, height=WIDEST, view=WIDEST, parent_view=WIDEST, time=2**48 - 1
    )
    data = codec.encode(widest)
    assert decode_header(data) == widest
    assert len(data) <= MAX_HEADER_BYTES


def test_the_fullest_body_makes_a_block_that_decodes() -> None:
    """What `apply_block` takes by its limits, a peer must be able to decode."""
    payload = MinerRegister("m" * 64, bytes(32), bytes(MAX_METADATA_BYTES), WIDEST)
    big = Transaction(1, bytes(32), WIDEST, WIDEST, WIDEST, payload, bytes(64))
    count, rest = divmod(MAX_BODY_BYTES, len(codec.encode(big)))
    small = msgspec.structs.replace(payload, metadata=bytes(MAX_METADATA_BYTES // 2))
    last = msgspec.structs.replace(big, payload=small)
    assert len(codec.encode(last)) <= rest
    body = (big,) * count + (last,)
    widest = msgspec.structs.replace(HEADER, height=WIDEST, view=WIDEST, parent_view=WIDEST)
    slack = MAX_BODY_BYTES - sum(len(codec.encode(item)) for item in body)
    data = codec.encode(Block(widest, body))
    assert decode_block(data).transactions == body
    assert len(data) + slack <= MAX_BLOCK_BYTES


def test_limits() -> None:
    many = Block(HEADER, (TRANSACTIONS[0],) * (MAX_BLOCK_TRANSACTIONS + 1))
    for data, reason in (
        (codec.encode(many), Rejection.MALFORMED),
        (bytes(MAX_BLOCK_BYTES + 1), Rejection.TOO_LARGE),
    ):
        with pytest.raises(Rejected) as refused:
            decode_block(data)
        assert refused.value.reason is reason
    with pytest.raises(Rejected) as refused:
        decode_header(bytes(MAX_HEADER_BYTES + 1))
    assert refused.value.reason is Rejection.TOO_LARGE


def test_the_transactions_root_binds_order_and_signatures() -> None:
    first, second = TRANSACTIONS[:2]
    forged = msgspec.structs.replace(first, signature=bytes(64))
    roots = {
        compute_transactions_root(body)
        for body in ((), (first,), (first, second), (second, first), (forged,), (first, first))
    }
    assert len(roots) == 6
    assert compute_transactions_root((first,)) == merkle.compute_root([codec.encode(first)])


def test_authority_sets() -> None:
    member = AUTHORITY_SET.members[0]
    for members in ((), (member,) * 101):
        with pytest.raises(Rejected):
            codec.decode(codec.encode(AuthoritySet(0, members)), AuthoritySet, 100_000)
    later = msgspec.structs.replace(AUTHORITY_SET, epoch=2)
    assert compute_authorities_hash(later) != compute_authorities_hash(AUTHORITY_SET)
