"""A proving key is read whole or refused."""

import random
import struct

import pytest

from zk.devkey import read_dev_zkey
from zk.prover import ProvingKey
from zk.zkey import InvalidProvingKeyError, read_coefficients, read_zkey

ZKEY = read_dev_zkey()


def find_section(number: int) -> tuple[int, int]:
    """Where the content of a section begins, and its length."""
    position = 12
    while True:
        found, length = struct.unpack_from("<IQ", ZKEY, position)
        position += 12
        if found == number:
            return position, length
        position += length


def overwrite(position: int, data: bytes) -> bytes:
    return ZKEY[:position] + data + ZKEY[position + len(data) :]


def test_the_counts_fit_the_circuit() -> None:
    content = read_zkey(ZKEY)
    assert content.wire_count == 1894
    assert content.domain_size == 2048
    assert len(content.h.points) == 2048
    assert min(content.c.wires) == 10


HEADER = find_section(2)[0]
COUNTS = HEADER + 4 + 48 + 4 + 32

BROKEN = [
    b"",
    b"zkey",
    ZKEY[:1000],
    ZKEY[:-1],
    ZKEY + b"\x00",
    b"r1cs" + ZKEY[4:],
    overwrite(4, b"\x02"),
    overwrite(find_section(1)[0], b"\x02"),
    overwrite(find_section(1)[0] - 12, b"\x0b"),
    overwrite(HEADER, b"\x20"),
    overwrite(HEADER + 4, b"\x00"),
    overwrite(COUNTS, struct.pack("<I", 1895)),
    overwrite(COUNTS, struct.pack("<I", 1 << 31)),
    overwrite(COUNTS + 4, struct.pack("<I", 8)),
    overwrite(COUNTS + 8, struct.pack("<I", 2047)),
    overwrite(COUNTS + 8, struct.pack("<I", 1 << 20)),
    overwrite(COUNTS + 12, b"\x01"),
    overwrite(find_section(5)[0], b"\x01"),
    overwrite(find_section(7)[0], b"\xff" * 96),
    overwrite(find_section(9)[0], b"\x01"),
]


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_key_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidProvingKeyError):
        ProvingKey.load(data)


def test_sections_of_coefficients_have_their_length() -> None:
    start, _ = find_section(4)
    with pytest.raises(InvalidProvingKeyError, match="coefficient"):
        list(read_coefficients(overwrite(start, b"\x00")))


def test_noise_is_refused_or_read_but_never_raises_otherwise() -> None:
    chance = random.Random(5)
    for _ in range(30):
        position = chance.randrange(12, 2000)
        try:
            read_zkey(overwrite(position, chance.randbytes(4)))
        except InvalidProvingKeyError as error:
            assert str(error)
