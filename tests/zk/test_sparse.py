"""The sparse form of Poseidon's rounds is the permutation as it is defined."""

import random

import pytest

from zk.field import R
from zk.grain import compute_constants
from zk.poseidon import is_full_round, poseidon

INPUTS = range(2, 17)


def hash_plainly(inputs: list[int]) -> int:
    """Compute Poseidon round by round from the paper's definition."""
    state = [0, *inputs]
    rounds, matrix = compute_constants(len(state))
    for index, constants in enumerate(rounds):
        state = [(a + b) % R for a, b in zip(state, constants, strict=True)]
        active = len(state) if is_full_round(index, len(rounds)) else 1
        state[:active] = [pow(value, 5, R) for value in state[:active]]
        state = [sum(a * b for a, b in zip(row, state, strict=True)) % R for row in matrix]
    return state[0]


@pytest.mark.parametrize("count", INPUTS)
def test_every_width_agrees_with_the_definition(count: int) -> None:
    picked = random.Random(count)
    edges = [[0] * count, [R - 1] * count, list(range(count))]
    for inputs in (*edges, [picked.randrange(R) for _ in range(count)]):
        assert poseidon(inputs) == hash_plainly(inputs)
