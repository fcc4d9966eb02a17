"""Proofs are made for what holds, and for nothing else."""

import pytest

from tests.zk.samples import OFFER, RANDOMNESS, make_statement
from zk.devkey import load_dev_proving_key, load_dev_verifying_key
from zk.prover import UnsatisfiedStatement, prove
from zk.verifier import PROOF_BYTES, verify


def test_a_proof_is_made_and_verifies() -> None:
    public, witness = make_statement()
    proof = prove(load_dev_proving_key(), public, witness, RANDOMNESS)
    assert len(proof) == PROOF_BYTES
    assert verify(load_dev_verifying_key(), public.as_tuple(), proof)


def test_the_violated_rules_are_named() -> None:
    public, witness = make_statement(amount=321 * 2_000_000_000 + 1, job_commit=OFFER.job)
    with pytest.raises(UnsatisfiedStatement) as caught:
        prove(load_dev_proving_key(), public, witness, RANDOMNESS)
    assert caught.value.rules == ("job_commit", "amount_is_units_times_price")


def test_randomness_blinds_a_proof_and_nothing_else_does() -> None:
    public, witness = make_statement()
    key = load_dev_proving_key()
    first = prove(key, public, witness, RANDOMNESS)
    assert prove(key, public, witness, RANDOMNESS) == first
    assert prove(key, public, witness, RANDOMNESS[::-1]) != first


def test_too_little_randomness_is_refused() -> None:
    public, witness = make_statement()
    with pytest.raises(ValueError, match="randomness"):
        prove(load_dev_proving_key(), public, witness, b"short")
