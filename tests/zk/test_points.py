"""Encodings of points: one for each point, and the same refusals from both backends."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from zk.backend_arkworks import ARKWORKS
from zk.backend_py_ecc import PY_ECC
from zk.points import BASE_FIELD, check_encoding, compress_g1, compress_g2, negate

BACKENDS: list[Any] = [ARKWORKS, PY_ECC]
G1_SAMPLE = G1Point() * Scalar(12345)
G2_SAMPLE = G2Point() * Scalar(12345)
G1_IDENTITY = b"\xc0" + bytes(47)
G2_IDENTITY = b"\xc0" + bytes(95)


def with_flags(x: int, flags: int, length: int = 48) -> bytes:
    data = x.to_bytes(length, "big")
    return bytes((data[0] | flags, *data[1:]))


def find_outside_subgroup() -> Iterator[tuple[str, bytes]]:
    """The first points on each curve, by x, that lie in no subgroup of ours."""
    for name, point, length in (("read_g1", G1Point, 48), ("read_g2", G2Point, 96)):
        for x in range(1, 200):
            data = with_flags(x, 0x80, length)
            try:
                unchecked = point.from_compressed_bytes_unchecked(data)
            except ValueError:
                continue
            if not unchecked.is_in_subgroup():
                yield name, data
                break


def find_off_curve() -> Iterator[tuple[str, bytes]]:
    for name, point, length in (("read_g1", G1Point, 48), ("read_g2", G2Point, 96)):
        for x in range(1, 200):
            data = with_flags(x, 0x80, length)
            try:
                point.from_compressed_bytes_unchecked(data)
            except ValueError:
                yield name, data
                break


def find_with_small_x() -> bytes:
    """A point of the subgroup whose x + p still fits beside the flags."""
    point = G1Point()
    while True:
        data = point.to_compressed_bytes()
        x = int.from_bytes(bytes((data[0] & 0x1F, *data[1:])), "big")
        if x + BASE_FIELD < 1 << 381:
            return data
        point = point + G1Point()


def plus_modulus(data: bytes, start: int) -> bytes:
    """The coordinate at `start` written as itself plus p, flags kept."""
    flags = data[start] & 0xE0 if start == 0 else 0
    part = bytes((data[start] ^ flags, *data[start + 1 : start + 48]))
    shifted = (int.from_bytes(part, "big") + BASE_FIELD).to_bytes(48, "big")
    assert start or shifted[0] & 0xE0 == 0
    return data[:start] + bytes((shifted[0] | flags, *shifted[1:])) + data[start + 48 :]


G1_GOOD = G1_SAMPLE.to_compressed_bytes()
G2_GOOD = G2_SAMPLE.to_compressed_bytes()
REFUSED = [
    *find_outside_subgroup(),
    *find_off_curve(),
    ("read_g1", G1_IDENTITY),
    ("read_g2", G2_IDENTITY),
    ("read_g1", bytes(48)),
    ("read_g2", bytes(96)),
    ("read_g1", b""),
    ("read_g1", G1_GOOD[:-1]),
    ("read_g1", G1_GOOD + b"\x00"),
    ("read_g2", G1_GOOD),
    ("read_g1", bytes((G1_GOOD[0] & 0x7F, *G1_GOOD[1:]))),
    ("read_g1", bytes((G1_GOOD[0] | 0x40, *G1_GOOD[1:]))),
    ("read_g2", bytes((G2_GOOD[0] | 0x40, *G2_GOOD[1:]))),
    ("read_g1", plus_modulus(find_with_small_x(), 0)),
    ("read_g2", plus_modulus(G2_GOOD, 48)),
    ("read_g1", b"\xff" * 48),
    ("read_g2", b"\x9f" + b"\xff" * 95),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("read", "data"), REFUSED)
def test_other_bytes_are_refused(backend: Any, read: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        getattr(backend, read)(data)


def is_read(backend: Any, read: str, data: bytes) -> bool:
    try:
        getattr(backend, read)(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("read", "length", "good"), [("read_g1", 48, G1_GOOD), ("read_g2", 96, G2_GOOD)]
)
def test_both_backends_refuse_the_same_bytes(read: str, length: int, good: bytes) -> None:
    chance = random.Random(length)
    samples = [with_flags(x, 0x80 | chance.choice([0, 0x20]), length) for x in range(12)]
    samples += [
        bytes((0x90 | chance.randrange(10), *chance.randbytes(length - 1))) for _ in range(8)
    ]
    samples += [good, negate(good)]
    verdicts = [is_read(ARKWORKS, read, data) for data in samples]
    assert verdicts == [is_read(PY_ECC, read, data) for data in samples]
    assert verdicts[-2:] == [True, True]


def test_each_kind_of_refusal_was_found() -> None:
    assert len(list(find_outside_subgroup())) == len(list(find_off_curve())) == 2


def test_both_backends_read_the_same_points() -> None:
    ours, theirs = ARKWORKS.read_g1(G1_GOOD), PY_ECC.read_g1(G1_GOOD)
    assert ours == G1_SAMPLE
    x, y = (int(each) for each in (theirs[0] / theirs[2], theirs[1] / theirs[2]))
    assert compress_g1(x, y) == G1_GOOD
    PY_ECC.read_g2(G2_GOOD)


@pytest.mark.parametrize("scalar", range(1, 9))
def test_compression_agrees_with_the_library(scalar: int) -> None:
    first = G1Point() * Scalar(scalar)
    raw = first.to_xy_bytes_be()
    x, y = int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big")
    assert compress_g1(x, y) == first.to_compressed_bytes()
    second = G2Point() * Scalar(scalar)
    raw = second.to_xy_bytes_be()
    parts = [int.from_bytes(raw[at : at + 48], "big") for at in range(0, 192, 48)]
    assert compress_g2((parts[0], parts[1]), (parts[2], parts[3])) == second.to_compressed_bytes()


def test_negation_is_the_other_root() -> None:
    assert ARKWORKS.read_g1(negate(G1_GOOD)) == -G1_SAMPLE
    assert ARKWORKS.read_g2(negate(G2_GOOD)) == -G2_SAMPLE


@pytest.mark.parametrize("value", [-1, BASE_FIELD])
def test_a_coordinate_outside_the_field_is_not_compressed(value: int) -> None:
    with pytest.raises(ValueError, match="base field"):
        compress_g1(value, 1)
    with pytest.raises(ValueError, match="base field"):
        compress_g2((1, 1), (1, value))


def test_the_first_checks_need_no_library() -> None:
    check_encoding(G1_GOOD, 48)
    with pytest.raises(ValueError, match="identity"):
        check_encoding(G1_IDENTITY, 48)
