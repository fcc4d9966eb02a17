"""The transform against the definition: evaluate the polynomial where it should be evaluated."""

import random

import pytest

from zk.field import R
from zk.ntt import compute_root_of_unity, shift_to_coset


@pytest.mark.parametrize("size", [1, 2, 4, 32])
def test_the_shift_is_evaluation_at_the_odd_powers(size: int) -> None:
    chance = random.Random(size)
    coefficients = [chance.randrange(R) for _ in range(size)]
    root = compute_root_of_unity(2 * size)

    def evaluate(power: int) -> int:
        point = pow(root, power, R)
        return sum(factor * pow(point, index, R) for index, factor in enumerate(coefficients)) % R

    values = [evaluate(2 * index) for index in range(size)]
    assert shift_to_coset(values) == [evaluate(2 * index + 1) for index in range(size)]


@pytest.mark.parametrize("bits", [0, 1, 12, 32])
def test_roots_are_primitive(bits: int) -> None:
    root = compute_root_of_unity(1 << bits)
    assert pow(root, 1 << bits, R) == 1
    assert bits == 0 or pow(root, 1 << bits - 1, R) == R - 1
