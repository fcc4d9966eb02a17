"""Decides how polynomials are moved from a domain to its coset, as the proving key expects.

The key's `H` points are a Lagrange basis over the odd powers of a root of unity of twice the
domain's size, so the prover needs each polynomial's values there, from its values on the even
powers.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from zk.field import R

TWO_ADICITY: Final = 32
"""2**32 divides R - 1."""


def shift_to_coset(values: Sequence[int]) -> list[int]:
    """Values of a polynomial on the odd powers of a root, from those on the even powers.

    The length is a power of two. Inverse transform by decimation in frequency, scaling in
    bit-reversed order, forward transform by decimation in time: no reordering is needed.
    """
    size = len(values)
    inverse, forward, scale = _tables(size)
    coefficients = _decimate_in_frequency(list(values), inverse, 0)
    scaled = [value * factor % R for value, factor in zip(coefficients, scale, strict=True)]
    return [value % R for value in _decimate_in_time(scaled, forward, 0)]


# Sums and differences are left unreduced: they grow by one bit at each level, and reducing only
# products costs one division instead of three.
def _decimate_in_frequency(
    values: list[int], tables: Sequence[Sequence[int]], level: int
) -> list[int]:
    if len(values) == 1:
        return values
    half = len(values) // 2
    first, second = values[:half], values[half:]
    sums = [a + b for a, b in zip(first, second, strict=True)]
    differences = [
        (a - b) * power % R for a, b, power in zip(first, second, tables[level], strict=True)
    ]
    left = _decimate_in_frequency(sums, tables, level + 1)
    return left + _decimate_in_frequency(differences, tables, level + 1)


def _decimate_in_time(values: list[int], tables: Sequence[Sequence[int]], level: int) -> list[int]:
    if len(values) == 1:
        return values
    half = len(values) // 2
    even = _decimate_in_time(values[:half], tables, level + 1)
    odd = _decimate_in_time(values[half:], tables, level + 1)
    turned = [value * power % R for value, power in zip(odd, tables[level], strict=True)]
    sums = [a + b for a, b in zip(even, turned, strict=True)]
    return sums + [a - b for a, b in zip(even, turned, strict=True)]


@lru_cache(maxsize=4)
def _tables(size: int) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Powers for each level of both transforms, and the scaling between them."""
    assert size & (size - 1) == 0
    fine = compute_root_of_unity(2 * size)
    root = fine * fine % R
    inverse = pow(root, -1, R)
    bits = size.bit_length() - 1
    scale = [
        pow(fine, int(format(index, f"0{bits}b")[::-1], 2), R) * pow(size, -1, R) % R
        for index in range(size)
    ]
    return _powers_by_level(inverse, size), _powers_by_level(root, size), scale


def _powers_by_level(root: int, size: int) -> list[list[int]]:
    levels = []
    while size > 1:
        powers = [1]
        for _ in range(size // 2 - 1):
            powers.append(powers[-1] * root % R)
        levels.append(powers)
        root = root * root % R
        size //= 2
    return levels


def compute_root_of_unity(size: int) -> int:
    """The primitive root that snarkjs uses: a power of the least quadratic non-residue."""
    residue = 2
    while pow(residue, (R - 1) // 2, R) == 1:
        residue += 1
    assert (1 << TWO_ADICITY) % size == 0
    return pow(residue, (R - 1) // size, R)
