"""Decides in which equal form Poseidon is computed: partial rounds by sparse matrices.

In a partial round the S-box sees the first element alone, so what a round adds to the others, and
the block of the matrix that mixes them among themselves, commute with it and can be moved: the
constants into the next round, the blocks before the first partial round. What stays of each round
is one constant, one row and one column (Appendix B of the Poseidon paper). The hash is the same,
at about a quarter of the multiplications; GMP's numbers halve what each of them costs.
"""

from functools import cache
from operator import mul
from typing import NamedTuple

from gmpy2 import mpz

from zk import field
from zk.grain import FULL_ROUNDS, compute_constants

R = mpz(field.R)
ZERO = mpz(0)

Vector = tuple[mpz, ...]
Matrix = tuple[Vector, ...]


class PartialRound(NamedTuple):
    """A partial round: first element plus `constant`, S-box, then the sparse matrix."""

    constant: mpz
    row: Vector
    """The first row of the matrix."""
    column: Vector
    """Its first column below the first row; the rest is the identity."""


class SparseRounds(NamedTuple):
    """The rounds of one width, in this form."""

    first: Matrix
    """Constants of the full rounds before the partial ones."""
    block: Matrix
    """Mixes all elements but the first, before the partial rounds."""
    partial: tuple[PartialRound, ...]
    last: Matrix
    """Constants of the full rounds after the partial ones."""
    matrix: Matrix


@cache
def compute_sparse_rounds(width: int) -> SparseRounds:
    """Return the rounds of a width of the state."""
    rounds, matrix = map(_convert, compute_constants(width))
    half = FULL_ROUNDS // 2
    scalars, moved = _move_constants(rounds[half:-half], matrix)
    last = (_add(rounds[-half], moved), *rounds[len(rounds) - half + 1 :])
    # M = [[m, r], [q, H]] is [[m, r/H], [q, 1]] times the block H, which goes before the S-box
    # and into the matrix of the round before: there the block is H**2, and so on.
    row, column = matrix[0][1:], tuple(line[0] for line in matrix[1:])
    block = tuple(line[1:] for line in matrix[1:])
    transposed, inverse = _transpose(block), _transpose(_invert(block))
    partial = []
    product = block
    for constant in reversed(scalars):
        row = multiply(inverse, row)
        partial.append(PartialRound(constant, (matrix[0][0], *row), column))
        column = multiply(block, column)
        if len(partial) < len(scalars):
            product = tuple(multiply(transposed, line) for line in product)
    return SparseRounds(rounds[:half], product, tuple(reversed(partial)), last, matrix)


def multiply(matrix: Matrix, vector: Vector | list[mpz]) -> Vector:
    """Return the product with a column vector."""
    return tuple(sum(map(mul, row, vector), ZERO) % R for row in matrix)


def _convert(matrix: tuple[tuple[int, ...], ...]) -> Matrix:
    return tuple(tuple(map(mpz, row)) for row in matrix)


def _move_constants(rounds: Matrix, matrix: Matrix) -> tuple[list[mpz], Vector]:
    """Return each round's constant of the first element, and what is left for the next round."""
    scalars = []
    moved: Vector = (ZERO,) * len(matrix)
    for constants in rounds:
        first, *others = _add(constants, moved)
        scalars.append(first)
        moved = multiply(matrix, (ZERO, *others))
    return scalars, moved


def _add(left: Vector, right: Vector) -> Vector:
    return tuple((a + b) % R for a, b in zip(left, right, strict=True))


def _transpose(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _invert(matrix: Matrix) -> Matrix:
    """Return the inverse by elimination; every square part of an MDS matrix has one."""
    size = len(matrix)
    lines = [
        [*line, *(mpz(column == index) for column in range(size))]
        for index, line in enumerate(matrix)
    ]
    for index in range(size):
        pivot = next(other for other in range(index, size) if lines[other][index])
        lines[index], lines[pivot] = lines[pivot], lines[index]
        scale = pow(lines[index][index], -1, R)
        lines[index] = [value * scale % R for value in lines[index]]
        for other in range(size):
            factor = lines[other][index]
            if other != index and factor:
                lines[other] = [
                    (value - factor * taken) % R
                    for value, taken in zip(lines[other], lines[index], strict=True)
                ]
    return tuple(tuple(line[size:]) for line in lines)
