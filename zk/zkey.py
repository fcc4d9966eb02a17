"""Decides how a proving key is read from the `.zkey` file that the ceremony makes.

Source: snarkjs' zkey format, version 1, protocol Groth16. Coordinates are little-endian in
Montgomery form. The points are not checked for the subgroup: a prover checks each of its proofs
before it hands it out, so a wrong point can spoil a proof but never make a false one.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from py_arkworks_bls12381 import G1Point, G2Point

from zk.backend_arkworks import guard_native
from zk.field import FIELD_BYTES, R
from zk.points import BASE_FIELD, COORDINATE_BYTES
from zk.statement import PUBLIC_INPUTS
from zk.verifying_key import VerifyingKey

MAX_ZKEY_BYTES: Final = 64 * 1024 * 1024
MAX_DOMAIN: Final = 1 << 16
GROTH16: Final = 1
G1_AFFINE: Final = 2 * COORDINATE_BYTES
G2_AFFINE: Final = 4 * COORDINATE_BYTES
COEFFICIENT: Final = 12 + FIELD_BYTES

_SECTIONS: Final = range(1, 11)
_HEADER, _INPUTS, _COEFFICIENTS, _A, _B1, _B2, _C, _H = 2, 3, 4, 5, 6, 7, 8, 9
_UNMONTGOMERY: Final = pow(1 << 8 * COORDINATE_BYTES, -1, BASE_FIELD)
_UNMONTGOMERY_TWICE: Final = pow(1 << 8 * FIELD_BYTES, -2, R)


class InvalidProvingKeyError(ValueError):
    """The bytes are no proving key of a statement with nine public inputs."""


class PointsG1(NamedTuple):
    """Points with the wire each belongs to; wires whose point is the identity are left out."""

    wires: list[int]
    points: list[G1Point]


class PointsG2(NamedTuple):
    """The same in the second group."""

    wires: list[int]
    points: list[G2Point]


class Coefficient(NamedTuple):
    """A factor in the left (matrix 0) or right (matrix 1) side of a constraint."""

    matrix: int
    constraint: int
    wire: int
    value: int


class ZkeyContent(NamedTuple):
    """All that a prover needs."""

    verifying_key: VerifyingKey
    wire_count: int
    domain_size: int
    alpha1: G1Point
    beta1: G1Point
    delta1: G1Point
    beta2: G2Point
    delta2: G2Point
    a: PointsG1
    b1: PointsG1
    b2: PointsG2
    c: PointsG1
    h: PointsG1


@guard_native
def read_zkey(data: bytes) -> ZkeyContent:
    """Parse a whole `.zkey`.

    Raises:
        InvalidProvingKeyError: a malformed file, another curve or protocol, wrong counts, a
            point off the curve, or a verifying key that fails its checks.
    """
    try:
        return _read(data, _split_sections(data))
    except (struct.error, ValueError) as error:
        raise InvalidProvingKeyError(f"not a usable proving key: {error}") from error


def read_coefficients(data: bytes) -> Iterator[Coefficient]:
    """The constraint factors that the key was made for, as far as the format keeps them.

    Raises:
        InvalidProvingKeyError: a malformed file.
    """
    section = _split_sections(data)[_COEFFICIENTS]
    (count,) = struct.unpack_from("<I", section)
    if len(section) != 4 + count * COEFFICIENT:
        raise InvalidProvingKeyError("the coefficient section has a wrong length")
    for position in range(4, len(section), COEFFICIENT):
        matrix, constraint, wire = struct.unpack_from("<III", section, position)
        raw = section[position + 12 : position + COEFFICIENT]
        value = int.from_bytes(raw, "little") * _UNMONTGOMERY_TWICE % R
        yield Coefficient(matrix, constraint, wire, value)


def _split_sections(data: bytes) -> dict[int, bytes]:
    if len(data) > MAX_ZKEY_BYTES:
        raise InvalidProvingKeyError("the file is too long")
    if len(data) < 12 or data[:4] != b"zkey" or struct.unpack_from("<I", data, 4) != (1,):
        raise InvalidProvingKeyError("not a zkey file of version 1")
    sections: dict[int, bytes] = {}
    position = 12
    while position < len(data):
        if position + 12 > len(data):
            raise InvalidProvingKeyError("the file ends inside a section's head")
        number, length = struct.unpack_from("<IQ", data, position)
        position += 12
        if number in sections or number not in _SECTIONS or position + length > len(data):
            raise InvalidProvingKeyError(f"section {number} is repeated, unknown or cut off")
        sections[number] = data[position : position + length]
        position += length
    if set(sections) != set(_SECTIONS):
        raise InvalidProvingKeyError("a section is missing")
    return sections


def _read(data: bytes, sections: dict[int, bytes]) -> ZkeyContent:
    if sections[1] != struct.pack("<I", GROTH16):
        raise InvalidProvingKeyError("not a Groth16 key")
    head = sections[_HEADER]
    fields = struct.pack("<I", COORDINATE_BYTES) + BASE_FIELD.to_bytes(COORDINATE_BYTES, "little")
    fields += struct.pack("<I", FIELD_BYTES) + R.to_bytes(FIELD_BYTES, "little")
    if not head.startswith(fields) or len(head) != len(fields) + 12 + 3 * (G1_AFFINE + G2_AFFINE):
        raise InvalidProvingKeyError("not a key over BLS12-381")
    wire_count, public_count, domain_size = struct.unpack_from("<III", head, len(fields))
    if public_count != PUBLIC_INPUTS:
        raise InvalidProvingKeyError(f"{public_count} public inputs, not {PUBLIC_INPUTS}")
    if domain_size & (domain_size - 1) or not wire_count <= domain_size <= MAX_DOMAIN:
        raise InvalidProvingKeyError("the counts of wires and of the domain do not fit")
    points = _split_header_points(head[len(fields) + 12 :])
    alpha1, beta1, beta2, gamma2, delta1, delta2 = points
    inputs = _plain_points(sections[_INPUTS], G1_AFFINE, PUBLIC_INPUTS + 1)
    verifying_key = VerifyingKey.from_bytes(
        VerifyingKey(
            alpha=G1Point.from_xy_bytes_le(alpha1).to_compressed_bytes(),
            beta=G2Point.from_xy_bytes_le(beta2).to_compressed_bytes(),
            gamma=G2Point.from_xy_bytes_le(gamma2).to_compressed_bytes(),
            delta=G2Point.from_xy_bytes_le(delta2).to_compressed_bytes(),
            inputs=tuple(G1Point.from_xy_bytes_le(p).to_compressed_bytes() for p in inputs),
        ).to_bytes()
    )
    private_count = wire_count - PUBLIC_INPUTS - 1
    return ZkeyContent(
        verifying_key=verifying_key,
        wire_count=wire_count,
        domain_size=domain_size,
        alpha1=G1Point.from_xy_bytes_le(alpha1),
        beta1=G1Point.from_xy_bytes_le(beta1),
        delta1=G1Point.from_xy_bytes_le(delta1),
        beta2=G2Point.from_xy_bytes_le(beta2),
        delta2=G2Point.from_xy_bytes_le(delta2),
        a=_read_g1(sections[_A], wire_count),
        b1=_read_g1(sections[_B1], wire_count),
        b2=_read_g2(sections[_B2], wire_count),
        c=_read_g1(sections[_C], private_count, PUBLIC_INPUTS + 1),
        h=_read_g1(sections[_H], domain_size),
    )


def _split_header_points(data: bytes) -> list[bytes]:
    plain = _unmontgomery(data)
    points = []
    for size in (G1_AFFINE, G1_AFFINE, G2_AFFINE, G2_AFFINE, G1_AFFINE, G2_AFFINE):
        points.append(plain[:size])
        plain = plain[size:]
    return points


def _read_g1(data: bytes, count: int, first_wire: int = 0) -> PointsG1:
    kept = [
        (wire, G1Point.from_xy_bytes_unchecked_le(point))
        for wire, point in enumerate(_plain_points(data, G1_AFFINE, count), first_wire)
        if any(point)
    ]
    return PointsG1([wire for wire, _ in kept], [point for _, point in kept])


def _read_g2(data: bytes, count: int) -> PointsG2:
    kept = [
        (wire, G2Point.from_xy_bytes_unchecked_le(point))
        for wire, point in enumerate(_plain_points(data, G2_AFFINE, count))
        if any(point)
    ]
    return PointsG2([wire for wire, _ in kept], [point for _, point in kept])


def _plain_points(data: bytes, size: int, count: int) -> list[bytes]:
    if len(data) != count * size:
        raise InvalidProvingKeyError("a section of points has a wrong length")
    plain = _unmontgomery(data)
    return [plain[start : start + size] for start in range(0, len(plain), size)]


def _unmontgomery(data: bytes) -> bytes:
    size = COORDINATE_BYTES
    return b"".join(
        (
            int.from_bytes(data[start : start + size], "little") * _UNMONTGOMERY % BASE_FIELD
        ).to_bytes(size, "little")
        for start in range(0, len(data), size)
    )
