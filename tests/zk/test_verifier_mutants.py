"""Ten thousand distinct mutants of valid proofs and inputs, through `verify`: none holds.

Most changes of bytes fail at decoding, so a third of the mutants are made of points that decode
and inputs that are in range, and go through the whole equation.
"""

import random
from collections.abc import Iterator

from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from tests.zk.test_verifier import KEY, make_item
from zk.field import R
from zk.points import negate
from zk.verifier import Item, verify

MUTANTS = 10_000
WHOLE_EQUATION = 3_000


def mutate_bytes(chance: random.Random, base: Item) -> Item:
    public, proof = base
    data = bytearray(proof)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return public, bytes(data)


def mutate_inputs(chance: random.Random, base: Item) -> Item:
    public, proof = base
    changed = list(public)
    place = chance.randrange(len(changed))
    kind = chance.randrange(4)
    if kind == 0:
        changed[place] = chance.randrange(R)
    elif kind == 1:
        changed[place] = (
            changed[place] + chance.choice([-1, 1]) * (1 << chance.randrange(254))
        ) % R
    elif kind == 2:
        changed[place] = -changed[place] % R
    else:
        other = chance.randrange(len(changed))
        changed[place], changed[other] = changed[other], changed[place]
    return tuple(changed), proof


def mutate_points(chance: random.Random, base: Item) -> Item:
    """Points of the right groups in wrong places; never the two turns that keep a proof valid."""
    public, proof = base
    a, b, c = proof[:48], proof[48:144], proof[144:]
    factor = Scalar(chance.randrange(2, R))
    kind = chance.randrange(6)
    if kind == 0:
        a = (G1Point.from_compressed_bytes(a) * factor).to_compressed_bytes()
    elif kind == 1:
        b = (G2Point.from_compressed_bytes(b) * factor).to_compressed_bytes()
    elif kind == 2:
        c = (G1Point.from_compressed_bytes(c) * factor).to_compressed_bytes()
    elif kind == 3:
        c = (G1Point.from_compressed_bytes(c) + G1Point() * factor).to_compressed_bytes()
    elif kind == 4:
        a, c = (c, a) if chance.random() < 0.5 else (negate(a), c)
    else:
        other = make_item(chance.randrange(100, 104))[1]
        a, b, c = chance.choice([(other[:48], b, c), (a, other[48:144], c), (a, b, other[144:])])
    return public, a + b + c


def mutants() -> Iterator[Item]:
    chance = random.Random(2026)
    originals = [make_item(units) for units in range(100, 104)]
    seen = set(originals)
    kinds = [mutate_inputs] * (WHOLE_EQUATION // 2) + [mutate_points] * (WHOLE_EQUATION // 2)
    kinds += [mutate_bytes] * (MUTANTS - WHOLE_EQUATION)
    for mutate in kinds:
        while (mutant := mutate(chance, chance.choice(originals))) in seen:
            pass
        seen.add(mutant)
        yield mutant


def test_no_mutant_holds() -> None:
    counted = 0
    for public, proof in mutants():
        counted += 1
        assert not verify(KEY, public, proof)
    assert counted == MUTANTS
