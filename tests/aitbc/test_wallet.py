"""What a key's holder derives and signs."""

import pytest

from aitbc.wallet import HIGHEST_FEE_RATE, Wallet
from ledger import crypto
from ledger.transactions import Transfer, decode_transaction, verify_transaction

CHAIN = bytes(range(32))


def test_a_signed_transaction_holds_on_its_chain() -> None:
    wallet = Wallet(bytes(32))
    payload = Transfer(recipient=bytes(20), amount=5)
    signed = wallet.sign(payload, chain_id=CHAIN, nonce=3, fee_rate=10, valid_until=99)
    transaction = decode_transaction(signed.raw)
    assert verify_transaction(transaction, signed.raw, CHAIN).id == signed.id
    assert (transaction.nonce, transaction.valid_until) == (3, 99)
    assert transaction.fee >= 10 * len(signed.raw)


def test_derived_secrets_differ_by_purpose_and_are_not_the_seed() -> None:
    wallet = Wallet(bytes(32))
    secrets = {
        wallet.seed,
        wallet.derive_salt_secret(),
        bytes(wallet.derive_encryption_key()),
        wallet.derive_secret(b"other"),
    }
    assert len(secrets) == 4
    assert wallet.derive_salt_secret() == Wallet(bytes(32)).derive_salt_secret()


def test_a_wallet_never_shows_its_seed() -> None:
    wallet = Wallet(bytes([7]) * 32)
    assert wallet.seed.hex() not in repr(wallet)
    assert crypto.parse_address(wallet.text_address) == wallet.address


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Wallet(bytes(31))


def test_a_fee_beyond_all_measure_is_never_signed() -> None:
    wallet = Wallet(bytes(range(32)))
    payload = Transfer(bytes(20), 1)
    for fee_rate in (HIGHEST_FEE_RATE + 1, 2**62, -1):
        with pytest.raises(ValueError, match="base units a byte"):
            wallet.sign(payload, chain_id=bytes(32), nonce=0, fee_rate=fee_rate, valid_until=1)
