"""The constants have the properties that the paper asks for."""

import pytest

from zk.field import R
from zk.grain import FULL_ROUNDS, compute_constants, compute_partial_rounds

# Line one of `generate_params_poseidon.sage 1 0 255 3 5 128 R`, as published with npm's package.
FIRST_OF_WIDTH_3 = 0x6F007A551156B3A449E44936B7C093644A0ED33F33EACCC628E942E836C1A875


def test_the_first_constant_is_the_published_one() -> None:
    assert compute_constants(3)[0][0][0] == FIRST_OF_WIDTH_3


@pytest.mark.parametrize("width", [3, 8, 10])
def test_the_constants_have_their_shape(width: int) -> None:
    rounds, matrix = compute_constants(width)
    assert len(rounds) == FULL_ROUNDS + compute_partial_rounds(width)
    flat = [value for row in (*rounds, *matrix) for value in row]
    assert all(0 < value < R for value in flat)
    assert len(set(flat)) == len(flat)


@pytest.mark.parametrize("width", [3, 8, 10])
def test_every_square_of_the_matrix_is_regular(width: int) -> None:
    """All 2 by 2 minors differ from zero, as they do in a maximum-distance matrix."""
    _, matrix = compute_constants(width)
    for top in range(width):
        for bottom in range(top):
            for left in range(width):
                for right in range(left):
                    down = matrix[top][left] * matrix[bottom][right]
                    up = matrix[top][right] * matrix[bottom][left]
                    assert (down - up) % R
