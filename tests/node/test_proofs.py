"""Verdicts on proofs: the same however they are asked for, and each proof checked once."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.proofs import MAX_BATCH, ProofGate
from tests.zk.samples import make_statement
from zk.backend_arkworks import ARKWORKS
from zk.devkey import load_dev_proving_key, load_dev_verifying_key
from zk.prover import prove
from zk.verifier import Item


@pytest.fixture(scope="module")
def good() -> Item:
    public, witness = make_statement()
    return public.as_tuple(), prove(load_dev_proving_key(), public, witness, bytes(32))


@pytest.fixture
def gate() -> Iterator[ProofGate]:
    with ThreadPoolExecutor(1) as executor:
        yield ProofGate(load_dev_verifying_key(), ARKWORKS, executor)


def spoil(item: Item, number: int) -> Item:
    public, proof = item
    return (*public[:-1], number), proof


async def test_a_batch_gives_each_proof_its_own_verdict(gate: ProofGate, good: Item) -> None:
    items = [good, spoil(good, 1), good, spoil(good, 2)]
    verdicts = await asyncio.gather(*(gate.verify_soon(*item) for item in items))
    assert verdicts == [True, False, True, False]


async def test_a_verdict_is_kept_for_the_block(gate: ProofGate, good: Item) -> None:
    assert await gate.verify_soon(*good)
    # A gate without its executor can still answer: nothing is computed again.
    gate._executor.shutdown()
    assert await gate.verify_soon(*good)
    assert gate.verify_now(*good)


async def test_a_received_block_s_proofs_are_known_before_it_is_executed(
    gate: ProofGate, good: Item
) -> None:
    items = [good, *(spoil(good, number) for number in range(3))]
    await gate.prepare(items)
    gate._executor.shutdown()
    assert [gate.verify_now(*item) for item in items] == [True, False, False, False]


async def test_a_full_batch_does_not_wait(gate: ProofGate, good: Item) -> None:
    public, proof = good
    broken = [(public, proof[:-1] + bytes([number])) for number in range(MAX_BATCH)]
    verdicts = await asyncio.gather(*(gate.verify_soon(*item) for item in broken))
    assert sum(verdicts) == sum(item == good for item in broken)


async def test_a_failure_of_the_check_reaches_everybody_who_waits(
    gate: ProofGate, good: Item
) -> None:
    gate._executor.shutdown()
    answers = await asyncio.gather(
        gate.verify_soon(*good), gate.verify_soon(*spoil(good, 1)), return_exceptions=True
    )
    assert all(isinstance(answer, RuntimeError) for answer in answers)
