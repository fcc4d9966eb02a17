"""The genesis document: read strictly, hashed whole, and no chain without a fit key."""

import json

import msgspec
import pytest

from genesis.document import (
    Allocation,
    Genesis,
    InvalidGenesis,
    UnfitVerifyingKey,
    build_proof_parameters,
    compute_chain_id,
    dump_genesis,
    load_genesis,
)
from ledger import crypto
from ledger.blocks import Authority
from ledger.parameters import Parameters
from zk.devkey import load_dev_verifying_key

SEED = bytes(range(32))


def build_genesis(**changes: object) -> Genesis:
    key = load_dev_verifying_key()
    public_key = crypto.compute_public_key(SEED)
    address = crypto.compute_address(public_key)
    genesis = Genesis(
        name="test-chain",
        is_dev=True,
        time=1_766_828_620_000,
        parameters=Parameters(),
        proof=build_proof_parameters(key),
        verifying_key=key.to_bytes(),
        authorities=(Authority(public_key, address),),
        allocations=(Allocation(address, 10**18),),
    )
    return msgspec.structs.replace(genesis, **changes)


def test_a_document_reads_back_as_the_same_chain() -> None:
    genesis = build_genesis()
    again = load_genesis(dump_genesis(genesis))
    assert again == genesis
    assert compute_chain_id(again) == compute_chain_id(genesis)


def test_every_field_is_part_of_the_chain_id() -> None:
    genesis = build_genesis()
    others = [
        build_genesis(name="other-chain"),
        build_genesis(is_dev=False),
        build_genesis(time=genesis.time + 1),
        build_genesis(parameters=Parameters(network_share=201)),
        build_genesis(verifying_key=b"another"),
        build_genesis(allocations=(*genesis.allocations, Allocation(bytes(20), 1))),
    ]
    ids = {compute_chain_id(each) for each in (genesis, *others)}
    assert len(ids) == len(others) + 1


def test_the_dev_key_serves_only_a_chain_marked_dev() -> None:
    with pytest.raises(UnfitVerifyingKey, match="DEV"):
        load_genesis(dump_genesis(build_genesis(is_dev=False)))


def test_a_changed_verifying_key_is_refused() -> None:
    genesis = build_genesis()
    swapped = bytearray(genesis.verifying_key)
    swapped[-48:], swapped[-96:-48] = swapped[-96:-48], swapped[-48:]
    for key in (bytes(swapped), b"", genesis.verifying_key[:-1]):
        with pytest.raises(UnfitVerifyingKey):
            load_genesis(dump_genesis(build_genesis(verifying_key=key)))


@pytest.mark.parametrize(
    "changes",
    [
        {"allocations": (Allocation(bytes(20), 1), Allocation(bytes(20), 2))},
        {"allocations": (Allocation(bytes(20), 2**63 - 1), Allocation(bytes(19) + b"\x01", 1))},
        {"parameters": Parameters(coordinator_share=9_000, network_share=1_001)},
        {"parameters": Parameters(heartbeat_interval=60_000)},
        {"parameters": Parameters(block_interval=60_000)},
        {"parameters": Parameters(block_interval=0)},
        {"parameters": Parameters(round_trip_bound=0)},
        {"parameters": Parameters(vote_validity=0)},
        {"authorities": (Authority(bytes(32), bytes(20)),)},
        {"name": "Upper"},
        {"name": "line\n"},
    ],
)
def test_a_chain_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidGenesis):
        load_genesis(dump_genesis(build_genesis(**changes)))


@pytest.mark.parametrize("amount", ["1e3", "+1", "01", "1_000", "-0", "NaN", "9" * 5000, 1, True])
def test_an_amount_is_a_plain_decimal_string(amount: object) -> None:
    document = json.loads(dump_genesis(build_genesis()))
    document["allocations"][0]["amount_base"] = amount
    with pytest.raises(InvalidGenesis):
        load_genesis(json.dumps(document).encode())


def test_an_unknown_member_is_an_error() -> None:
    document = json.loads(dump_genesis(build_genesis()))
    document["parameters"]["network_shar"] = 1
    with pytest.raises(InvalidGenesis):
        load_genesis(json.dumps(document).encode())
