"""The frozen vectors hold, for the code and for whoever reads the files alone."""

import json
from typing import Any

import pytest

from ledger import codec, crypto, receipts
from ledger.blocks import compute_header_hash, decode_block, decode_header
from ledger.merkle import InclusionProof, is_included
from ledger.outcomes import Outcome
from ledger.state_tree import StateProof, is_in_state
from ledger.transactions import decode_transaction, verify_transaction
from ledger.transition import apply_block
from tests.ledger.world import make_world
from tests.vectors.regenerate_ledger import BUILDERS, FOLDER


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


@pytest.mark.parametrize("name", BUILDERS)
def test_the_code_still_makes_the_frozen_vectors(name: str) -> None:
    """Red after a change of protocol; `python -m tests.vectors.regenerate_ledger` approves it."""
    assert json.loads(json.dumps(BUILDERS[name]())) == load(name)


def test_the_chain_replays_from_its_bytes() -> None:
    vectors = load("ledger_chain.json")
    world = make_world()
    state, rules = world.state, world.rules
    head = decode_header(bytes.fromhex(vectors["genesis"]))
    assert head == world.genesis
    for item in vectors["blocks"]:
        block = decode_block(bytes.fromhex(item["encoded"]))
        verified = [world.verify(transaction) for transaction in block.transactions]
        executed = apply_block(state, head, block, verified, rules)
        assert [codec.encode(outcome).hex() for outcome in executed.outcomes] == item["outcomes"]
        state.commit(executed.changes)
        head = block.header
    assert compute_header_hash(head).hex() == vectors["head_hash"]
    entries = {key.hex(): codec.encode(entry).hex() for key, entry in state.entries.items()}
    assert entries == vectors["entries"]


def test_the_chain_shows_successes_and_failures() -> None:
    blocks = load("ledger_chain.json")["blocks"]
    outcomes = [
        codec.decode(bytes.fromhex(raw), Outcome, 10_000)
        for item in blocks
        for raw in item["outcomes"]
    ]
    assert len({type(event).__name__ for o in outcomes for event in o.events}) == 12
    assert len({outcome.code for outcome in outcomes}) >= 5
    assert any(outcome.fee == 0 for outcome in outcomes)
    epochs = [decode_block(bytes.fromhex(item["encoded"])).header.epoch for item in blocks]
    assert sorted(set(epochs)) == [0, 1, 2]


def test_transactions_verify_from_their_bytes() -> None:
    vectors = load("ledger_encodings.json")
    chain = bytes.fromhex(vectors["chain_id"])
    for item in vectors["transactions"]:
        raw = bytes.fromhex(item["encoded"])
        verified = verify_transaction(decode_transaction(raw), raw, chain)
        assert verified.id.hex() == item["id"]
        signed = bytes.fromhex(item["signing_bytes"])
        assert crypto.hash_tagged(signed).hex() == item["id"]


def test_proofs_verify_from_their_bytes() -> None:
    vectors = load("ledger_roots.json")
    root = bytes.fromhex(vectors["list_roots"][-1])
    for at, raw in enumerate(vectors["list_proofs"]):
        proof = codec.decode(bytes.fromhex(raw), InclusionProof, 4_096)
        assert is_included(b"leaf %d" % at, proof, root)
    roots = {item["count"]: bytes.fromhex(item["root"]) for item in vectors["state_roots"]}
    for item in vectors["state_proofs"]:
        state_proof = codec.decode(bytes.fromhex(item["proof"]), StateProof, 8_192)
        at = item["count"] - 1
        key, value = b"key %d" % at, b"value %d" % at
        assert is_in_state(key, value, state_proof, roots[item["count"]])


def test_the_receipt_verifies_from_the_file() -> None:
    vectors = load("ledger_keys.json")
    core, signer = receipts.parse_receipt(vectors["receipt"])
    assert signer.hex() == vectors["keys"][1]["public_key"]
    assert core.claim_number == 37
    for item in vectors["keys"]:
        assert crypto.parse_address(item["text"]).hex() == item["address"]
        assert crypto.is_valid_signature(
            bytes.fromhex(item["public_key"]), b"abc", bytes.fromhex(item["signature_of_abc"])
        )
