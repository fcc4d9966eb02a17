"""Proofs alone and in batches: the same verdicts, from both backends."""

import random
from functools import cache
from typing import Any

import msgspec
import pytest
from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from tests.zk.samples import PRICE, RECEIPT, make_statement
from tests.zk.test_points import (
    G1_IDENTITY,
    G2_IDENTITY,
    find_off_curve,
    find_outside_subgroup,
    plus_modulus,
)
from zk.backend_arkworks import guard_native
from zk.backend_py_ecc import PY_ECC
from zk.devkey import load_dev_proving_key, load_dev_verifying_key
from zk.field import R
from zk.points import BASE_FIELD, negate
from zk.prover import prove
from zk.verifier import PROOF_BYTES, Item, verify, verify_batch

replace = msgspec.structs.replace
KEY = load_dev_verifying_key()


@cache
def make_item(units: int = RECEIPT.units) -> Item:
    receipt = replace(RECEIPT, units=units)
    public, witness = make_statement(receipt=receipt, amount=units * PRICE.price)
    randomness = units.to_bytes(32, "big")
    return public.as_tuple(), prove(load_dev_proving_key(), public, witness, randomness)


def with_amount(item: Item, amount: int) -> Item:
    public, proof = item
    return (*public[:3], amount, *public[4:]), proof


def replace_part(proof: bytes, start: int, part: bytes) -> bytes:
    return proof[:start] + part + proof[start + len(part) :]


def malformed_proofs() -> list[tuple[str, bytes]]:
    proof = make_item()[1]
    cases = [
        ("empty", b""),
        ("short", proof[:-1]),
        ("long", proof + b"\x00"),
        ("identity A", replace_part(proof, 0, G1_IDENTITY)),
        ("identity B", replace_part(proof, 48, G2_IDENTITY)),
        ("identity C", replace_part(proof, 144, G1_IDENTITY)),
        ("x + p in B", replace_part(proof, 48, plus_modulus(proof[48:144], 48))),
        ("uncompressed flag", replace_part(proof, 0, bytes((proof[0] & 0x7F,)))),
        ("uncompressed", bytes(384)),
    ]
    for note, found in (
        ("outside the subgroup", find_outside_subgroup()),
        ("off", find_off_curve()),
    ):
        for name, data in found:
            for start in (48,) if name == "read_g2" else (0, 144):
                cases.append((f"{note} at {start}", replace_part(proof, start, data)))
    return cases


@pytest.mark.parametrize(("note", "proof"), malformed_proofs())
def test_a_malformed_proof_is_false(note: str, proof: bytes) -> None:
    assert not verify(KEY, make_item()[0], proof), note
    assert verify_batch(KEY, [make_item(), (make_item()[0], proof)]) == [True, False], note


def test_a_first_coordinate_plus_the_modulus_is_false() -> None:
    """The same valid proof in other coordinates, scaled until x + p fits beside the flags."""
    public, proof = make_item()
    a, b = G1Point.from_compressed_bytes(proof[:48]), G2Point.from_compressed_bytes(proof[48:144])
    for factor in range(2, 200):
        scaled = (a * Scalar(factor)).to_compressed_bytes()
        x = int.from_bytes(bytes((scaled[0] & 0x1F, *scaled[1:])), "big")
        if x + BASE_FIELD < 1 << 381:
            break
    other = (b * Scalar(factor).inverse()).to_compressed_bytes()
    again = scaled + other + proof[144:]
    assert verify(KEY, public, again)
    assert not verify(KEY, public, plus_modulus(again, 0))


def test_a_proof_is_no_name_for_itself() -> None:
    """P4.5: anybody can turn one proof into another of the same statement, so the chain must
    never take a proof's bytes for an identity; the statement itself stays as it is."""
    public, proof = make_item()
    turned = negate(proof[:48]) + negate(proof[48:144]) + proof[144:]
    assert turned != proof
    assert verify(KEY, public, turned)
    assert not verify(KEY, with_amount(make_item(), 1)[0], turned)


@pytest.mark.parametrize("place", range(9))
def test_inputs_plus_the_order_are_false(place: int) -> None:
    public, proof = make_item()
    shifted = (*public[:place], public[place] + R, *public[place + 1 :])
    assert not verify(KEY, shifted, proof)
    assert verify_batch(KEY, [(shifted, proof), (public, proof)]) == [False, True]


@pytest.mark.parametrize(
    "public", [(), make_item()[0][:-1], (*make_item()[0], 0), (True, *make_item()[0][1:])]
)
def test_a_wrong_number_or_kind_of_inputs_is_false(public: tuple[int, ...]) -> None:
    assert not verify(KEY, public, make_item()[1])


def test_an_empty_batch_has_no_verdicts() -> None:
    assert verify_batch(KEY, []) == []


@pytest.mark.parametrize("seed", range(6))
def test_bisection_finds_exactly_the_false_ones(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.choice([1, 2, 7, 16, 33])
    good = [make_item(units) for units in range(100, 104)]
    expected = [chance.random() < 0.8 for _ in range(size)]
    items = [
        chance.choice(good) if holds else with_amount(chance.choice(good), chance.randrange(R))
        for holds in expected
    ]
    assert verify_batch(KEY, items) == expected


def test_false_proofs_cannot_cancel_each_other() -> None:
    """Two errors that cancel in a plain sum: C + D in one proof and C - D in the other."""
    public, proof = make_item()
    c = G1Point.from_compressed_bytes(proof[144:])
    shift = G1Point() * Scalar(99)
    pair = [proof[:144] + each.to_compressed_bytes() for each in (c + shift, c - shift)]
    assert verify_batch(KEY, [(public, each) for each in pair]) == [False, False]


def test_verdicts_of_a_batch_depend_on_no_state() -> None:
    items = [make_item(100), with_amount(make_item(101), 5), make_item(102)]
    assert verify_batch(KEY, items) == verify_batch(KEY, items) == [True, False, True]


def test_the_reference_backend_agrees() -> None:
    public, proof = make_item()
    wrong = with_amount(make_item(), 7)
    assert verify(KEY, public, proof, PY_ECC)
    assert not verify(KEY, *wrong, PY_ECC)
    assert not verify(KEY, public, proof[:144] + proof[:48], PY_ECC)
    assert verify_batch(KEY, [make_item(), wrong, (public, proof[:-1])], PY_ECC) == [
        True,
        False,
        False,
    ]


class Panic(BaseException):
    """What a panic in native code looks like from Python."""


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (Panic, ValueError),
        (OverflowError, ValueError),
        (ValueError, ValueError),
        (MemoryError, MemoryError),
        (AssertionError, AssertionError),
        (KeyboardInterrupt, KeyboardInterrupt),
    ],
)
def test_native_panics_become_refusals(raised: Any, seen: Any) -> None:
    @guard_native
    def fail() -> None:
        raise raised

    with pytest.raises(seen):
        fail()


def test_a_proof_has_its_length() -> None:
    assert len(make_item()[1]) == PROOF_BYTES == 192
