"""Decides the hash that commitments use: Poseidon over the BLS12-381 scalar field.

Rule P2.1 of docs/protocol/proof.md: capacity element 0 first, one permutation, first element of
the state out. The number of inputs picks the permutation (its width is one more), so hashes of
different numbers of inputs are unrelated functions. The circuit writes the rounds out as the paper
does; here they run in the equal form of `zk/sparse.py`, since every job costs a node this hash.
"""

from collections.abc import Sequence
from operator import mul

from gmpy2 import mpz

from zk.field import is_field_element
from zk.grain import FULL_ROUNDS
from zk.sparse import ZERO, Matrix, R, Vector, compute_sparse_rounds, multiply


def poseidon(inputs: Sequence[int]) -> int:
    """Hash 2 to 16 field elements to one.

    Raises:
        ValueError: an input outside [0, R), or a number of inputs outside 2..16.
    """
    if not 2 <= len(inputs) <= 16:
        raise ValueError(f"Poseidon takes 2 to 16 inputs, got {len(inputs)}")
    if not all(is_field_element(value) for value in inputs):
        raise ValueError("an input of Poseidon is not a field element")
    rounds = compute_sparse_rounds(len(inputs) + 1)
    state = _run_full((ZERO, *map(mpz, inputs)), rounds.first, rounds.matrix)
    first, others = state[0], list(multiply(rounds.block, state[1:]))
    for constant, row, column in rounds.partial:
        power = pow(first + constant, 5, R)
        first = (row[0] * power + sum(map(mul, row[1:], others), ZERO)) % R
        # Not reduced: some sixty products more are six bits more, cheaper than their remainders.
        others = [value + factor * power for value, factor in zip(others, column, strict=True)]
    state = _run_full((first, *others), rounds.last[:-1], rounds.matrix)
    return int(_run_full(state, rounds.last[-1:], rounds.matrix[:1])[0])


def _run_full(state: Vector, rounds: Matrix, matrix: Matrix) -> Vector:
    """Run full rounds; `rounds` are their constants, `matrix` as many rows as are wanted."""
    for constants in rounds:
        state = multiply(matrix, [pow(a + b, 5, R) for a, b in zip(state, constants, strict=True)])
    return state


def is_full_round(index: int, total: int) -> bool:
    """Half of the full rounds come first, half last; between them only one S-box is active."""
    return index < FULL_ROUNDS // 2 or index >= total - FULL_ROUNDS // 2
