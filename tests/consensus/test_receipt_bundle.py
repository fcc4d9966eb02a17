"""A receipt's bundle, link by link: each one broken alone is refused, whoever re-signs it."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
import pytest

from consensus.receipt_bundle import (
    ReceiptBundle,
    SettlementPart,
    StatePart,
    TrustAnchor,
    decode_bundle,
    verify_bundle,
)
from genesis.document import compute_chain_id, load_genesis, load_verifying_key
from ledger import codec
from ledger.blocks import AuthoritySet
from ledger.receipts import (
    ReceiptCore,
    decode_base64url,
    encode_base64url,
    sign_receipt,
)
from ledger.rejection import Rejected
from tests.aitbc.cli.settled_receipt import (
    CLIENT,
    MINER,
    UNITS,
    SettledReceipt,
    make_settled_receipt,
)

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def settled() -> SettledReceipt:
    return make_settled_receipt()


@pytest.fixture(scope="module")
def anchor(settled: SettledReceipt) -> TrustAnchor:
    genesis = load_genesis(settled.genesis)
    return TrustAnchor(
        compute_chain_id(genesis), AuthoritySet(0, genesis.authorities), load_verifying_key(genesis)
    )


def read(settled: SettledReceipt) -> ReceiptBundle:
    return decode_bundle(msgspec.json.encode(settled.bundle))


def get_core(bundle: ReceiptBundle) -> ReceiptCore:
    members = {k: v for k, v in bundle.receipt.items() if k not in ("signature", "attestations")}
    return msgspec.convert(members, ReceiptCore)


def resign(bundle: ReceiptBundle, seed: bytes = MINER, **members: Any) -> ReceiptBundle:
    return replace(bundle, receipt=sign_receipt(seed, replace(get_core(bundle), **members)))


def change_settlement(
    bundle: ReceiptBundle, change: Callable[[SettlementPart], SettlementPart]
) -> ReceiptBundle:
    part = codec.decode(decode_base64url(bundle.settlement), SettlementPart, 2**20)
    return replace(bundle, settlement=encode_base64url(codec.encode(change(part))))


def change_state(bundle: ReceiptBundle, change: Callable[[StatePart], StatePart]) -> ReceiptBundle:
    part = codec.decode(decode_base64url(bundle.state), StatePart, 2**20)
    return replace(bundle, state=encode_base64url(codec.encode(change(part))))


def test_a_true_bundle_says_what_was_paid(settled: SettledReceipt, anchor: TrustAnchor) -> None:
    proven = verify_bundle(read(settled), anchor)
    assert proven.opening.units == UNITS
    assert proven.settled.amount == proven.core.amount
    assert proven.signers == 1


@pytest.mark.parametrize(
    "members",
    [
        {"chain_id": "00" * 32},
        {"receipt_id": "receipt_" + "00" * 32},
        {"job_id": "job_" + "00" * 32},
        {"provider": "ait1"},
        {"client": "ait1"},
        {"miner_id": "another"},
        {"claim_number": 2},
        {"service": "another"},
        {"units": UNITS + 1},
        {"price": 1},
        {"amount": 1},
        {"result_hash": "00" * 32},
        {"receipt_commit": "00" * 32},
        {"started_ms": 5},
        {"completed_ms": 5},
        {"started_at": 5},
        {"completed_at": 5},
    ],
    ids=lambda members: next(iter(members)),
)
def test_the_miner_cannot_sign_another_story_around_it(
    members: dict[str, Any], settled: SettledReceipt, anchor: TrustAnchor
) -> None:
    with pytest.raises(Rejected):
        verify_bundle(resign(read(settled), **members), anchor)


def test_nobody_else_can_sign_it(settled: SettledReceipt, anchor: TrustAnchor) -> None:
    with pytest.raises(Rejected, match="another key"):
        verify_bundle(resign(read(settled), seed=CLIENT), anchor)


SETTLEMENT_CHANGES: dict[str, Callable[[SettlementPart], SettlementPart]] = {
    "another header": lambda part: replace(part, header=replace(part.header, height=99)),
    "another chain's header": lambda part: replace(
        part, header=replace(part.header, chain_id=bytes(32))
    ),
    "no signature": lambda part: replace(
        part,
        finality=replace(
            part.finality,
            certificate=replace(part.finality.certificate, signatures=(bytes(64),)),
        ),
    ),
    "another outcome": lambda part: replace(part, outcome=replace(part.outcome, fee=1)),
    "no event": lambda part: replace(part, outcome=replace(part.outcome, events=())),
    "another place": lambda part: replace(
        part, transaction_inclusion=replace(part.transaction_inclusion, count=2)
    ),
    "another place of the outcome": lambda part: replace(
        part, outcome_inclusion=replace(part.outcome_inclusion, index=1)
    ),
    "a cut transaction": lambda part: replace(part, transaction=part.transaction[:-1]),
    "another signature": lambda part: replace(
        part, transaction=part.transaction[:-1] + bytes([part.transaction[-1] ^ 1])
    ),
}


@pytest.mark.parametrize("name", SETTLEMENT_CHANGES)
def test_the_settlement_is_the_block_s(
    name: str, settled: SettledReceipt, anchor: TrustAnchor
) -> None:
    with pytest.raises(Rejected):
        verify_bundle(change_settlement(read(settled), SETTLEMENT_CHANGES[name]), anchor)


STATE_CHANGES: dict[str, Callable[[StatePart], StatePart]] = {
    "another header": lambda part: replace(part, header=replace(part.header, state_root=bytes(32))),
    "another client": lambda part: replace(part, job=replace(part.job, client=bytes(20))),
    "another commitment": lambda part: replace(part, job=replace(part.job, job_commit=bytes(32))),
    "no lease": lambda part: replace(part, job=replace(part.job, lease=None)),
    "no proof": lambda part: replace(part, proof=replace(part.proof, nodes=())),
    "another leaf": lambda part: replace(part, proof=replace(part.proof, leaf=0)),
    "another count": lambda part: replace(part, proof=replace(part.proof, count=1_000)),
}


@pytest.mark.parametrize("name", STATE_CHANGES)
def test_the_job_is_the_state_s(name: str, settled: SettledReceipt, anchor: TrustAnchor) -> None:
    with pytest.raises(Rejected):
        verify_bundle(change_state(read(settled), STATE_CHANGES[name]), anchor)


def test_it_holds_on_its_own_chain_alone(settled: SettledReceipt, anchor: TrustAnchor) -> None:
    member = anchor.authorities.members[0]
    strangers = AuthoritySet(0, (replace(member, account=bytes(20)),))
    for other in (
        TrustAnchor(bytes(32), anchor.authorities, anchor.verifying_key),
        TrustAnchor(anchor.chain_id, strangers, anchor.verifying_key),
        TrustAnchor(anchor.chain_id, replace(anchor.authorities, epoch=1), anchor.verifying_key),
    ):
        with pytest.raises(Rejected):
            verify_bundle(read(settled), other)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[" * 100_000, b'{"format": "other"}', b"\xff", b"null"],
    ids=["empty", "no members", "deep", "another format", "not UTF-8", "null"],
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected):
        decode_bundle(data)


def test_a_member_too_many_is_refused(settled: SettledReceipt) -> None:
    document = deepcopy(settled.bundle)
    document["note"] = "trust me"
    with pytest.raises(Rejected):
        decode_bundle(msgspec.json.encode(document))
