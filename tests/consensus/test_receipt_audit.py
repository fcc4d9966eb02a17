"""Each lie that an opening, or the receipt beside it, can tell an auditor is found and named."""

import msgspec
import pytest

from consensus.receipt_audit import audit_opening
from consensus.receipt_bundle import TrustAnchor, VerifiedReceipt, decode_bundle, verify_bundle
from genesis.document import compute_chain_id, load_genesis, load_verifying_key
from ledger.blocks import AuthoritySet
from ledger.receipts import ReceiptCore, sign_receipt
from ledger.rejection import Rejected
from ledger.types import Address
from tests.aitbc.cli.settled_receipt import MINER, SettledReceipt, make_settled_receipt
from zk.field import to_field
from zk.opening import decode_opening
from zk.statement import Witness


@pytest.fixture(scope="module")
def settled() -> SettledReceipt:
    return make_settled_receipt()


@pytest.fixture(scope="module")
def opening(settled: SettledReceipt) -> Witness:
    return decode_opening(msgspec.json.encode(settled.opening))


def prove(settled: SettledReceipt, **said: object) -> VerifiedReceipt:
    """Verify the bundle, with a receipt that the miner signed again to say other things."""
    genesis = load_genesis(settled.genesis)
    anchor = TrustAnchor(
        compute_chain_id(genesis), AuthoritySet(0, genesis.authorities), load_verifying_key(genesis)
    )
    bundle = decode_bundle(msgspec.json.encode(settled.bundle))
    signed = {k: v for k, v in bundle.receipt.items() if k not in ("signature", "attestations")}
    core = msgspec.convert({**signed, **said}, ReceiptCore)
    bundle = msgspec.structs.replace(bundle, receipt=sign_receipt(MINER, core))
    return verify_bundle(bundle, anchor)


def test_the_true_opening_fits(settled: SettledReceipt, opening: Witness) -> None:
    audit_opening(opening, prove(settled))


@pytest.mark.parametrize(
    ("part", "name", "rule"),
    [
        *(("offer", name, "job_commit") for name in ("job", "client", "max_units", "max_price")),
        *(("offer", name, "job_commit") for name in ("deadline", "model", "input_hash", "salt")),
        ("price", "price", "price_commit"),
        ("price", "salt", "price_commit"),
        *(("receipt", name, "receipt_commit") for name in ("units", "started", "completed")),
        ("receipt", "result_hash", "receipt_commit"),
    ],
)
def test_a_changed_value_is_found(
    settled: SettledReceipt, opening: Witness, part: str, name: str, rule: str
) -> None:
    old = getattr(opening, part)
    new = msgspec.structs.replace(old, **{name: getattr(old, name) + 1})
    with pytest.raises(Rejected, match=rule):
        audit_opening(msgspec.structs.replace(opening, **{part: new}), prove(settled))


@pytest.mark.parametrize(
    ("said", "member"),
    [
        ({"model": "a-larger-model@00"}, "model"),
        ({"input_hash": "ab" * 32}, "input_hash"),
        ({"input_hash": "no hash"}, "input_hash"),
        ({"input_hash": "AB" * 32}, "input_hash"),
    ],
)
def test_what_the_miner_signed_must_be_what_the_client_committed_to(
    settled: SettledReceipt, opening: Witness, said: dict[str, object], member: str
) -> None:
    # The bundle alone cannot tell: the chain says nothing of model and input.
    proven = prove(settled, **said)
    with pytest.raises(Rejected, match=member):
        audit_opening(opening, proven)


def test_an_offer_in_another_clients_name_is_found(settled: SettledReceipt) -> None:
    other = Address(bytes(20))
    proven = prove(settled)
    job = msgspec.structs.replace(proven.job, client=other)
    opened = decode_opening(msgspec.json.encode(settled.opening))
    assert opened.offer.job == to_field(proven.settled.job)
    with pytest.raises(Rejected, match="client"):
        audit_opening(
            opened,
            VerifiedReceipt(
                **{
                    name: getattr(proven, name)
                    for name in VerifiedReceipt.__slots__
                    if name != "job"
                },
                job=job,
            ),
        )
