"""Decides Poseidon's constants: the Grain LFSR of the Poseidon paper, run for this field.

Source: Grassi et al., "Poseidon" (eprint 2019/458), appendix E and F, and its reference script
`generate_params_poseidon.sage 1 0 255 t 5 128 R`. Nothing is chosen here, so nothing can be
hidden in the constants.
"""

from functools import lru_cache
from typing import Final

from zk.field import R

FIELD_BITS: Final = 255
FULL_ROUNDS: Final = 8
_STEP: Final = 16
"""Register bits made at once; the nearest tap is 18 bits behind the newest one."""


def compute_partial_rounds(width: int) -> int:
    """Partial rounds for 128-bit security with the 7.5 % margin of the paper, S-box x**5.

    The table is what the reference script's `calc_round_numbers` gives for a 255-bit field.
    """
    assert 3 <= width <= 17
    return 56 if width <= 5 else 57


class _Grain:
    """The self-shrinking 80-bit register; bit 0 of `state` is the oldest one."""

    def __init__(self, width: int, partial_rounds: int) -> None:
        fields = (
            (1, 2),  # a prime field
            (0, 4),  # S-box x**alpha
            (FIELD_BITS, 12),
            (width, 12),
            (FULL_ROUNDS, 10),
            (partial_rounds, 10),
            ((1 << 30) - 1, 30),
        )
        text = "".join(format(value, f"0{length}b") for value, length in fields)
        self._state = int(text[::-1], 2)
        self._pending = ""
        for _ in range(160 // _STEP):
            self._advance()

    def _advance(self) -> int:
        state = self._state
        fresh = state ^ state >> 13 ^ state >> 23 ^ state >> 38 ^ state >> 51 ^ state >> 62
        fresh &= (1 << _STEP) - 1
        self._state = state >> _STEP | fresh << 80 - _STEP
        return fresh

    def take(self) -> int:
        """The next FIELD_BITS bits of output as an integer, first bit most significant."""
        shrunk = _shrink_table()
        parts = [self._pending]
        length = len(self._pending)
        while length < FIELD_BITS:
            fresh = self._advance()
            part = shrunk[fresh & 255] + shrunk[fresh >> 8]
            parts.append(part)
            length += len(part)
        text = "".join(parts)
        self._pending = text[FIELD_BITS:]
        return int(text[:FIELD_BITS], 2)


@lru_cache(maxsize=1)
def _shrink_table() -> tuple[str, ...]:
    """For eight register bits: of each pair, the second bit where the first one is set."""

    def shrink(byte: int) -> str:
        pairs = (byte >> shift & 3 for shift in (0, 2, 4, 6))
        return "".join(str(pair >> 1) for pair in pairs if pair & 1)

    return tuple(shrink(byte) for byte in range(256))


@lru_cache(maxsize=8)
def compute_constants(
    width: int,
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Round constants (rounds x width) and the MDS matrix (width x width).

    The matrix is the Cauchy matrix of the first 2 * width distinct outputs after the round
    constants; the reference script accepts that first matrix for every width used here, which
    the frozen vectors confirm.
    """
    partial_rounds = compute_partial_rounds(width)
    grain = _Grain(width, partial_rounds)

    def take_element() -> int:
        while (value := grain.take()) >= R:
            pass
        return value

    rounds = tuple(
        tuple(take_element() for _ in range(width)) for _ in range(FULL_ROUNDS + partial_rounds)
    )
    while True:
        draws = [grain.take() % R for _ in range(2 * width)]
        sums = [x + y for x in draws[:width] for y in draws[width:]]
        if len(set(draws)) == len(draws) and all(total % R for total in sums):
            break
    matrix = tuple(tuple(pow(x + y, -1, R) for y in draws[width:]) for x in draws[:width])
    return rounds, matrix
