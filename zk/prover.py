"""Decides how a settlement proof is made: Groth16 with the ceremony's key.

Section P6 of docs/protocol/proof.md. A bad witness would give bytes that look like a proof, so
the rules are checked before, and the finished proof is verified before it is handed out.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from py_arkworks_bls12381 import G1Point, G2Point

from zk.backend_arkworks import guard_native, to_scalar
from zk.circuit import evaluate
from zk.constraints import Evaluator
from zk.field import R, encode_field
from zk.ntt import shift_to_coset
from zk.statement import PUBLIC_INPUTS, PublicInputs, Witness, check_statement
from zk.verifier import verify
from zk.verifying_key import VerifyingKey
from zk.zkey import InvalidProvingKeyError, PointsG1, PointsG2, ZkeyContent, read_zkey

RANDOMNESS_BYTES: Final = 32
BLINDING_TAG: Final = b"aitbc/proof-blinding/v1\x00"


class UnsatisfiedStatement(ValueError):
    """The statement does not hold; `rules` names what is violated."""

    def __init__(self, rules: Sequence[str]) -> None:
        super().__init__(f"the statement does not hold: {', '.join(rules)}")
        self.rules = tuple(rules)


class ProvingKey(NamedTuple):
    """A proving key in the curve library's form, some 5 MB."""

    content: ZkeyContent

    @property
    def verifying_key(self) -> VerifyingKey:
        return self.content.verifying_key

    @classmethod
    def load(cls, zkey_bytes: bytes) -> "ProvingKey":
        """Read a snarkjs `.zkey`; takes about 0.1 s.

        Raises:
            InvalidProvingKeyError: not a Groth16 key over BLS12-381 for nine public inputs.
        """
        return cls(read_zkey(zkey_bytes))


def prove(key: ProvingKey, public: PublicInputs, witness: Witness, randomness: bytes) -> bytes:
    """A proof of 192 bytes, already verified.

    Args:
        randomness: 32 bytes or more, secret. With it known, the witness could be guessed at.

    Raises:
        UnsatisfiedStatement: the statement does not hold; it names the rules.
        InvalidProvingKeyError: the key is for another circuit.
        ValueError: too little randomness.
    """
    rules = check_statement(public, witness)
    if rules:
        raise UnsatisfiedStatement(rules)
    evaluator = evaluate(public, witness)
    assert not evaluator.broken_rules, "the circuit and the reference rules disagree"
    proof = compute_proof(key, evaluator, randomness)
    if not verify(key.verifying_key, public.as_tuple(), proof):
        raise InvalidProvingKeyError("the proof fails under the key's own verifying key")
    return proof


@guard_native
def compute_proof(key: ProvingKey, evaluator: Evaluator, randomness: bytes) -> bytes:
    """Proof bytes for any witness, a bad one as well: `prove` is what checks.

    Raises:
        InvalidProvingKeyError: the key is for another circuit.
        ValueError: too little randomness.
    """
    if len(randomness) < RANDOMNESS_BYTES:
        raise ValueError(f"a proof needs {RANDOMNESS_BYTES} bytes of randomness")
    content = key.content
    constraints = len(evaluator.left)
    needed = constraints + PUBLIC_INPUTS + 1
    if len(evaluator.witness) != content.wire_count or needed > content.domain_size:
        raise InvalidProvingKeyError("the key is for another circuit")
    blind_a, blind_b = _compute_blinding(evaluator.witness, randomness)
    quotient = _compute_quotient(evaluator, content.domain_size)
    witness = evaluator.witness
    scale_a, scale_b = to_scalar(blind_a), to_scalar(blind_b)
    a = content.alpha1 + _combine_g1(content.a, witness) + content.delta1 * scale_a
    b1 = content.beta1 + _combine_g1(content.b1, witness) + content.delta1 * scale_b
    b2 = content.beta2 + _combine_g2(content.b2, witness) + content.delta2 * scale_b
    c = _combine_g1(content.c, witness) + _combine_g1(content.h, quotient)
    c = c + a * scale_b + b1 * scale_a - content.delta1 * (scale_a * scale_b)
    return a.to_compressed_bytes() + b2.to_compressed_bytes() + c.to_compressed_bytes()


def _compute_quotient(evaluator: Evaluator, domain_size: int) -> list[int]:
    """Values of left * right - product on the coset.

    As in snarkjs, rows for the public inputs follow the constraints, with nothing on the right,
    so that no input can be traded against another.
    """
    padding = [0] * (domain_size - len(evaluator.left))
    left = evaluator.left + padding
    right = evaluator.right + padding
    first = len(evaluator.left)
    public_wires = evaluator.witness[: 1 + PUBLIC_INPUTS]
    left[first : first + len(public_wires)] = public_wires
    product = [a * b % R for a, b in zip(left, right, strict=True)]
    columns = (shift_to_coset(values) for values in (left, right, product))
    return [(a * b - c) % R for a, b, c in zip(*columns, strict=True)]


def _combine_g1(base: PointsG1, scalars: Sequence[int]) -> G1Point:
    return G1Point.multiexp_unchecked(
        base.points, [to_scalar(scalars[wire]) for wire in base.wires]
    )


def _combine_g2(base: PointsG2, scalars: Sequence[int]) -> G2Point:
    return G2Point.multiexp_unchecked(
        base.points, [to_scalar(scalars[wire]) for wire in base.wires]
    )


def _compute_blinding(witness: Sequence[int], randomness: bytes) -> tuple[int, int]:
    """Two numbers from the randomness and the witness.

    The witness goes in so that randomness used twice, by a restored machine say, still blinds
    two different proofs differently.
    """
    mixed = hashlib.shake_256(BLINDING_TAG + len(randomness).to_bytes(8, "big") + randomness)
    mixed.update(b"".join(map(encode_field, witness)))
    wide = mixed.digest(128)
    return int.from_bytes(wide[:64], "big") % R, int.from_bytes(wide[64:], "big") % R
