import msgspec
import pytest

from ledger import codec, crypto, transactions
from ledger.rejection import Rejected, Rejection
from ledger.transactions import (
    MAX_METADATA_BYTES,
    MAX_TRANSACTION_BYTES,
    JobSubmit,
    MinerRegister,
    Payload,
    Transaction,
    Transfer,
    compute_signing_bytes,
    compute_size,
    compute_transaction_id,
    decode_transaction,
    sign_transaction,
    verify_transaction,
)
from tests.ledger.samples import PAYLOADS, TRANSACTIONS
from tests.ledger.world import CHAIN, CLIENT, OTHER_CHAIN


@pytest.mark.parametrize("transaction", TRANSACTIONS, ids=lambda t: type(t.payload).__name__)
def test_a_signed_transaction_verifies_on_its_chain_alone(transaction: Transaction) -> None:
    raw = codec.encode(transaction)
    verified = verify_transaction(decode_transaction(raw), raw, CHAIN)
    assert verified == (compute_transaction_id(transaction, CHAIN), transaction, raw)
    with pytest.raises(Rejected) as refused:
        verify_transaction(transaction, raw, OTHER_CHAIN)
    assert refused.value.reason is Rejection.BAD_SIGNATURE


def test_the_signed_bytes_are_tag_chain_and_every_field_but_the_signature() -> None:
    for transaction in TRANSACTIONS:
        raw = codec.encode(transaction)
        body = b"\x96" + raw[1:-66]
        assert raw[-66:-64] == b"\xc4\x40"
        assert compute_signing_bytes(transaction, CHAIN) == crypto.TAG_TRANSACTION + CHAIN + body


def test_the_id_does_not_depend_on_the_signature() -> None:
    transaction = TRANSACTIONS[0]
    other = msgspec.structs.replace(transaction, signature=bytes(64))
    assert compute_transaction_id(other, CHAIN) == compute_transaction_id(transaction, CHAIN)
    ids = {
        compute_transaction_id(item, chain) for item in TRANSACTIONS for chain in (CHAIN, bytes(32))
    }
    assert len(ids) == 2 * len(TRANSACTIONS)


def test_kinds_have_the_numbers_of_the_page() -> None:
    tags = [payload.__struct_config__.tag for payload in PAYLOADS]
    assert set(tags) == set(range(1, 15)) and len(tags) == 14


@pytest.mark.parametrize("tag", [0, 10, 11, 12, 15, 99])
def test_an_unknown_kind_is_malformed(tag: int) -> None:
    transaction = TRANSACTIONS[3]
    raw = codec.encode(transaction)
    assert raw.count(b"\x92\x04\xa1m") == 1
    with pytest.raises(Rejected) as refused:
        decode_transaction(raw.replace(b"\x92\x04\xa1m", b"\x92" + bytes([tag]) + b"\xa1m"))
    assert refused.value.reason is Rejection.MALFORMED


@pytest.mark.parametrize("version", [0, 2, 127])
def test_another_version_is_malformed(version: int) -> None:
    raw = codec.encode(TRANSACTIONS[0])
    with pytest.raises(Rejected) as refused:
        decode_transaction(raw[:1] + bytes([version]) + raw[2:])
    assert refused.value.reason is Rejection.MALFORMED


LARGEST: tuple[Payload, ...] = (
    MinerRegister("m" * 64, bytes(32), bytes(MAX_METADATA_BYTES), 2**63 - 1),
    JobSubmit(
        bytes(32), "s" * 64, 1, bytes(20), 2**63 - 1, bytes(32), 2**48 - 1, 2**48 - 1, 2**48 - 1
    ),
)


@pytest.mark.parametrize("payload", [*PAYLOADS, *LARGEST])
def test_the_size_is_an_upper_bound_that_fits(payload: Payload) -> None:
    bound = compute_size(payload)
    widest = 2**63 - 1
    for number in (0, 128, widest):
        transaction = sign_transaction(CLIENT.seed, CHAIN, number, number, number, payload)
        size = len(codec.encode(transaction))
        assert size <= bound <= size + 24
    assert bound <= MAX_TRANSACTION_BYTES


def test_metadata_is_bounded() -> None:
    payload = MinerRegister("m", bytes(32), bytes(MAX_METADATA_BYTES + 1), 0)
    raw = codec.encode(sign_transaction(CLIENT.seed, CHAIN, 0, 0, 0, payload))
    with pytest.raises(Rejected) as refused:
        decode_transaction(raw)
    assert refused.value.reason is Rejection.MALFORMED
    with pytest.raises(Rejected) as refused:
        decode_transaction(bytes(MAX_TRANSACTION_BYTES + 1))
    assert refused.value.reason is Rejection.TOO_LARGE


def test_the_sender_is_the_key_and_not_an_address() -> None:
    transaction = sign_transaction(CLIENT.seed, CHAIN, 0, 0, 0, Transfer(CLIENT.address, 1))
    assert transaction.sender == CLIENT.public
    assert transactions.TRANSACTION_VERSION == transaction.version == 1
