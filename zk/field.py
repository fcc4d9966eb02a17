"""Decides how bytes become elements of the BLS12-381 scalar field, and back.

Rules P1.1 to P1.3 of docs/protocol/proof.md.
"""

from typing import Final

R: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order of the BLS12-381 groups; every public input and witness value lives modulo R."""

FIELD_BYTES: Final = 32


def to_field(data: bytes) -> int:
    """Reduce a 32-byte hash, read big-endian, modulo R.

    R is about 2**254.9, so two hashes meet here with probability about 2**-254: as hard to
    arrange as a collision of the hash itself.

    Raises:
        ValueError: data is not 32 bytes long.
    """
    if len(data) != FIELD_BYTES:
        raise ValueError(f"a hash of {FIELD_BYTES} bytes is needed, got {len(data)}")
    return int.from_bytes(data, "big") % R


def encode_field(value: int) -> bytes:
    """The one encoding of a field element: 32 bytes, big-endian.

    Raises:
        ValueError: value is not in [0, R).
    """
    if not is_field_element(value):
        raise ValueError("not an element of the scalar field")
    return value.to_bytes(FIELD_BYTES, "big")


def decode_field(data: bytes) -> int:
    """Read a field element, refusing every encoding but the canonical one.

    Raises:
        ValueError: wrong length, or a value of R or more.
    """
    if len(data) != FIELD_BYTES:
        raise ValueError(f"a field element has {FIELD_BYTES} bytes, got {len(data)}")
    value = int.from_bytes(data, "big")
    if value >= R:
        raise ValueError("a field element must be less than the group order")
    return value


def is_field_element(value: int) -> bool:
    """True for an integer in [0, R)."""
    return 0 <= value < R
