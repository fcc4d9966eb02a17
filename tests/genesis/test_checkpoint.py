"""A checkpoint names a chain, a set and a key, is read strictly and proves nothing by itself."""

import json
from typing import Any

import pytest

from genesis.checkpoint import (
    MAX_CHECKPOINT_BYTES,
    Checkpoint,
    InvalidCheckpoint,
    dump_checkpoint,
    load_checkpoint,
    start_from_genesis,
)
from genesis.document import UnfitVerifyingKey, compute_chain_id
from ledger import crypto
from ledger.blocks import Authority, AuthoritySet
from tests.genesis.test_document import SEED, build_genesis

KEY = crypto.compute_public_key(SEED)


def build_checkpoint() -> Checkpoint:
    other = crypto.compute_public_key(bytes(32))
    members = tuple(Authority(key, crypto.compute_address(key)) for key in (KEY, other))
    return start_from_genesis(build_genesis())._replace(authorities=AuthoritySet(7, members))


def test_genesis_is_the_first_checkpoint() -> None:
    genesis = build_genesis()
    start = start_from_genesis(genesis)
    assert start.chain_id == compute_chain_id(genesis)
    assert start.authorities == AuthoritySet(0, genesis.authorities)
    assert (start.verifying_key.to_bytes(), start.is_dev) == (genesis.verifying_key, True)
    with pytest.raises(UnfitVerifyingKey):
        start_from_genesis(build_genesis(is_dev=False))


def test_a_document_reads_back_as_the_same_checkpoint() -> None:
    checkpoint = build_checkpoint()
    assert load_checkpoint(dump_checkpoint(checkpoint)) == checkpoint


def change(**members: Any) -> bytes:
    document = json.loads(dump_checkpoint(build_checkpoint()))
    document.update(members)
    return json.dumps(document).encode()


MEMBER = {"key": KEY.hex(), "account": crypto.format_address(bytes(20))}
WRONG: dict[str, bytes] = {
    "nothing": b"",
    "no object": b"[]",
    "deep": b"[" * 10_000,
    "another format": change(format="aitbc-checkpoint/2"),
    "a member too many": change(note="trust me"),
    "no chain id": change(chain_id=""),
    "capitals": change(chain_id="AB" * 32),
    "no key": change(verifying_key=""),
    "half a key": change(verifying_key="00"),
    "an epoch below zero": change(epoch=-1),
    "an epoch too high": change(epoch=2**63),
    "an epoch that is no number": change(epoch="7"),
    "no members": change(authorities=[]),
    "a member twice": change(authorities=[MEMBER, MEMBER]),
    "a small-order key": change(authorities=[{**MEMBER, "key": "00" * 32}]),
    "a short key": change(authorities=[{**MEMBER, "key": "00"}]),
    "no address": change(authorities=[{**MEMBER, "account": "ait1"}]),
    "too many members": change(authorities=[MEMBER] * 101),
    "the DEV key elsewhere": change(is_dev=False),
    "too long": b" " * (MAX_CHECKPOINT_BYTES + 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_checkpoint_is_refused(name: str) -> None:
    with pytest.raises(InvalidCheckpoint):
        load_checkpoint(WRONG[name])


def test_a_set_of_a_hundred_fits() -> None:
    keys = [crypto.compute_public_key(number.to_bytes(32, "big")) for number in range(100)]
    members = tuple(Authority(key, bytes(20)) for key in keys)
    checkpoint = build_checkpoint()._replace(authorities=AuthoritySet(2**63 - 1, members))
    assert load_checkpoint(dump_checkpoint(checkpoint)) == checkpoint
