"""The bytes of the files that outside tools read, field by field."""

import struct

from zk.constraints import Constraint
from zk.field import R
from zk.r1cs import encode_r1cs, encode_witness

ORDER = R.to_bytes(32, "little")


def test_a_circuit_file_has_its_sections() -> None:
    constraint = Constraint({1: 2}, {0: 1, 2: R - 1}, {}, "rule")
    data = encode_r1cs([constraint], wire_count=3, public_inputs=1, private_inputs=1)
    header = struct.pack("<I", 32) + ORDER + struct.pack("<IIIIQI", 3, 0, 1, 1, 3, 1)
    body = struct.pack("<II", 1, 1) + (2).to_bytes(32, "little")
    body += struct.pack("<II", 2, 0) + (1).to_bytes(32, "little")
    body += struct.pack("<I", 2) + (R - 1).to_bytes(32, "little")
    body += struct.pack("<I", 0)
    expected = b"r1cs" + struct.pack("<II", 1, 3)
    for number, section in enumerate((header, body, struct.pack("<QQQ", 0, 1, 2)), start=1):
        expected += struct.pack("<IQ", number, len(section)) + section
    assert data == expected


def test_a_witness_file_has_its_sections() -> None:
    header = struct.pack("<I", 32) + ORDER + struct.pack("<I", 2)
    body = (1).to_bytes(32, "little") + (R - 1).to_bytes(32, "little")
    expected = b"wtns" + struct.pack("<II", 2, 2)
    for number, section in enumerate((header, body), start=1):
        expected += struct.pack("<IQ", number, len(section)) + section
    assert encode_witness([1, R - 1]) == expected
