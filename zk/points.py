"""Decides how curve points are written, and which bytes are refused before any library sees them.

The compressed form of ZCash and of RFC 9380's companions: big-endian x with three flag bits, and
for the quadratic extension the imaginary part first. Rule P4.2 of docs/protocol/proof.md. The
checks here are ours, so that both backends refuse the same bytes for the same reasons.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar

BASE_FIELD: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf"
    "6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)
COORDINATE_BYTES: Final = 48
G1_BYTES: Final = 48
G2_BYTES: Final = 96

_COMPRESSED: Final = 0x80
_INFINITY: Final = 0x40
_LARGER: Final = 0x20
_FLAGS: Final = 0xE0

G1 = TypeVar("G1")
G2 = TypeVar("G2")


class Backend(Protocol[G1, G2]):
    """Pairing arithmetic. Both implementations raise ValueError for whatever they refuse."""

    def __hash__(self) -> int:
        """Prepared keys are kept by backend."""
        ...

    def read_g1(self, data: bytes) -> G1:
        """A point from its compressed form: on the curve, in the subgroup, not the identity."""
        ...

    def read_g2(self, data: bytes) -> G2:
        """The same for the second group."""
        ...

    def combine(self, points: Sequence[G1], scalars: Sequence[int]) -> G1:
        """The sum of scalar * point; scalars in [0, R), at least one point."""
        ...

    def pair(self, pairs: Sequence[tuple[G1, G2]]) -> Any:
        """The product of the pairings, comparable with ==."""
        ...


def check_encoding(data: bytes, length: int) -> None:
    """Refuse what is not the canonical compressed form of a point other than the identity.

    Raises:
        ValueError: wrong length, wrong flags, the identity, or a coordinate of p or more.
    """
    if len(data) != length:
        raise ValueError(f"a compressed point has {length} bytes, got {len(data)}")
    if not data[0] & _COMPRESSED:
        raise ValueError("the point is not in compressed form")
    if data[0] & _INFINITY:
        raise ValueError("the identity is no valid point here")
    first = int.from_bytes((data[0] & ~_FLAGS & 0xFF, *data[1:COORDINATE_BYTES]), "big")
    rest = int.from_bytes(data[COORDINATE_BYTES:], "big")
    if first >= BASE_FIELD or rest >= BASE_FIELD:
        raise ValueError("a coordinate is not less than the field's modulus")


def compress_g1(x: int, y: int) -> bytes:
    """Compressed form of affine coordinates, unchecked: reading it back checks the point.

    Raises:
        ValueError: a coordinate outside [0, p).
    """
    _check_coordinates((x, y))
    return _flagged(x.to_bytes(COORDINATE_BYTES, "big"), is_larger_root(y))


def compress_g2(x: tuple[int, int], y: tuple[int, int]) -> bytes:
    """The same in the quadratic extension; each coordinate is (real, imaginary)."""
    _check_coordinates((*x, *y))
    data = x[1].to_bytes(COORDINATE_BYTES, "big") + x[0].to_bytes(COORDINATE_BYTES, "big")
    return _flagged(data, is_larger_root(y[1] if y[1] else y[0]))


def negate(point: bytes) -> bytes:
    """The compressed form of minus the point: the other root."""
    return bytes((point[0] ^ _LARGER, *point[1:]))


def is_larger_root(y: int) -> bool:
    """Of y and p - y, the one that the sign flag marks."""
    return y > (BASE_FIELD - 1) // 2


def _check_coordinates(values: Sequence[int]) -> None:
    if not all(0 <= value < BASE_FIELD for value in values):
        raise ValueError("a coordinate is outside the base field")


def _flagged(data: bytes, larger: bool) -> bytes:
    return bytes((data[0] | _COMPRESSED | (_LARGER if larger else 0), *data[1:]))
