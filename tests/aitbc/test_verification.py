"""A receipt checked with no network: alone, and with the bundle that proves its settlement."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from aitbc.errors import InvalidReceiptError
from aitbc.models import Receipt
from aitbc.verification import verify_settlement
from consensus.receipt_bundle import TrustAnchor
from genesis.checkpoint import start_from_genesis
from ledger.receipts import encode_core, parse_receipt, sign_receipt
from ledger.rejection import Rejection
from tests.aitbc.cli.settled_receipt import SettledReceipt, make_settled_receipt


@pytest.fixture(scope="module")
def settled() -> SettledReceipt:
    return make_settled_receipt()


def make_receipt(settled: SettledReceipt, **changes: Any) -> Receipt:
    return Receipt.model_validate({**settled.bundle["receipt"], **changes})


def test_what_was_signed_comes_back(settled: SettledReceipt) -> None:
    receipt = make_receipt(settled)
    assert receipt.verify().job_id == receipt.job_id
    with_more = make_receipt(settled, attestations=[{"type": "later", "anything": None}])
    assert with_more.verify() == receipt.verify()


def test_the_longer_form_is_held_to_what_was_signed(settled: SettledReceipt) -> None:
    document = settled.bundle["receipt"]
    payload = encode_core(parse_receipt(document)[0]).decode()
    whole = make_receipt(settled, signed_payload=payload, tx="tx_1", height=3)
    assert whole.verify() == make_receipt(settled).verify()
    with pytest.raises(InvalidReceiptError, match="units"):
        make_receipt(settled, signed_payload=payload, units=document["units"] + 1).verify()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("units", 10**6, Rejection.BAD_SIGNATURE),
        ("units", 1.5, Rejection.MALFORMED),
        ("extra", 1, Rejection.MALFORMED),
        ("signature", None, Rejection.MALFORMED),
        ("signed_payload", "{", Rejection.MALFORMED),
        ("signed_payload", "[" * 100_000, Rejection.MALFORMED),
    ],
)
def test_a_changed_one_is_refused(
    settled: SettledReceipt, name: str, value: Any, reason: Rejection
) -> None:
    with pytest.raises(InvalidReceiptError) as caught:
        make_receipt(settled, **{name: value}).verify()
    assert caught.value.rejection is reason


def test_a_bundle_proves_to_whoever_trusts_the_chain(settled: SettledReceipt) -> None:
    receipt, trusted = make_receipt(settled), start_from_genesis(settled.chain.genesis)
    proven = receipt.verify(settled.bundle, trusted)
    assert (proven.core, proven.core.amount) == (receipt.verify(), proven.settled.amount)
    anchor = TrustAnchor(trusted.chain_id, trusted.authorities, trusted.verifying_key)
    assert receipt.verify(json.dumps(settled.bundle).encode(), anchor).height == proven.height
    with pytest.raises(TypeError):
        receipt.verify(settled.bundle)  # type: ignore[call-overload]


def test_a_bundle_of_another_receipt_or_chain_proves_nothing(settled: SettledReceipt) -> None:
    trusted = start_from_genesis(settled.chain.genesis)
    core, _ = parse_receipt(settled.bundle["receipt"])
    other = Receipt.model_validate(sign_receipt(bytes(32), core))
    assert other.verify() == core
    with pytest.raises(InvalidReceiptError):
        make_receipt(settled).verify(settled.bundle, trusted._replace(chain_id=bytes(32)))
    changed = json.loads(json.dumps(settled.bundle))
    changed["settlement"] = changed["settlement"][:-8]
    with pytest.raises(InvalidReceiptError):
        verify_settlement(changed, trusted)
    with pytest.raises(InvalidReceiptError, match="another receipt"):
        verify_settlement(settled.bundle, trusted, replace(core, engine="another"))
