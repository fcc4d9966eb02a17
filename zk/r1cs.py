"""Decides the bytes of the `.r1cs` and `.wtns` files that outside tools read.

Source: iden3's r1cs binary format, version 1, and snarkjs' wtns format, version 2. Integers are
little-endian; sections are written in ascending order, so equal circuits give equal bytes.
"""

import struct
from collections.abc import Mapping, Sequence

from zk.constraints import Constraint
from zk.field import FIELD_BYTES, R


def encode_r1cs(
    constraints: Sequence[Constraint], wire_count: int, public_inputs: int, private_inputs: int
) -> bytes:
    """A circuit whose public wires are all inputs, numbered from 1."""
    header = b"".join(
        (
            struct.pack("<I", FIELD_BYTES),
            R.to_bytes(FIELD_BYTES, "little"),
            struct.pack("<IIII", wire_count, 0, public_inputs, private_inputs),
            struct.pack("<QI", wire_count, len(constraints)),
        )
    )
    body = b"".join(
        _encode_terms(terms)
        for constraint in constraints
        for terms in (constraint.left, constraint.right, constraint.product)
    )
    labels = struct.pack(f"<{wire_count}Q", *range(wire_count))
    return _encode_file(b"r1cs", 1, (header, body, labels))


def encode_witness(witness: Sequence[int]) -> bytes:
    """A `.wtns` file of the values of all wires."""
    header = b"".join(
        (
            struct.pack("<I", FIELD_BYTES),
            R.to_bytes(FIELD_BYTES, "little"),
            struct.pack("<I", len(witness)),
        )
    )
    body = b"".join(value.to_bytes(FIELD_BYTES, "little") for value in witness)
    return _encode_file(b"wtns", 2, (header, body))


def _encode_terms(terms: Mapping[int, int]) -> bytes:
    parts = [struct.pack("<I", len(terms))]
    for wire, factor in terms.items():
        parts.append(struct.pack("<I", wire) + factor.to_bytes(FIELD_BYTES, "little"))
    return b"".join(parts)


def _encode_file(magic: bytes, version: int, sections: Sequence[bytes]) -> bytes:
    parts = [magic, struct.pack("<II", version, len(sections))]
    for number, section in enumerate(sections, start=1):
        parts += [struct.pack("<IQ", number, len(section)), section]
    return b"".join(parts)
