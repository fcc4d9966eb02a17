"""Decides the hash that commitments use: Poseidon over the BLS12-381 scalar field.

Rule P2.1 of docs/protocol/proof.md: capacity element 0 first, one permutation, first element of
the state out. The number of inputs picks the permutation (its width is one more), so hashes of
different numbers of inputs are unrelated functions. The circuit runs `permute` on wires instead
of integers, which is why the S-box and the matrix step are spelled out here once for both.
"""

from collections.abc import Sequence

from zk.field import R, is_field_element
from zk.grain import FULL_ROUNDS, compute_constants


def poseidon(inputs: Sequence[int]) -> int:
    """Hash 2 to 16 field elements to one.

    Raises:
        ValueError: an input outside [0, R), or a number of inputs outside 2..16.
    """
    if not 2 <= len(inputs) <= 16:
        raise ValueError(f"Poseidon takes 2 to 16 inputs, got {len(inputs)}")
    if not all(is_field_element(value) for value in inputs):
        raise ValueError("an input of Poseidon is not a field element")
    state = [0, *inputs]
    width = len(state)
    rounds, matrix = compute_constants(width)
    for index, constants in enumerate(rounds):
        state = [value + constant for value, constant in zip(state, constants, strict=True)]
        active = width if is_full_round(index, len(rounds)) else 1
        state[:active] = [pow(value, 5, R) for value in state[:active]]
        state = [
            sum(factor * value for factor, value in zip(row, state, strict=True)) % R
            for row in matrix
        ]
    return state[0]


def is_full_round(index: int, total: int) -> bool:
    """Half of the full rounds come first, half last; between them only one S-box is active."""
    return index < FULL_ROUNDS // 2 or index >= total - FULL_ROUNDS // 2
