"""PNGs of strangers: read as others read them, or refused within bounds."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.engines.image_model import encode_png
from miner.recheck.pictures import (
    MOST_DECIBELS,
    MOST_SIDE,
    SIGNATURE,
    NoPictureError,
    Pixels,
    compare_rows,
    read_png,
)

PICTURE = np.random.default_rng(5).integers(0, 256, (6, 5, 3)).astype(np.uint8)


def write(header: tuple[int, ...], rows: bytes) -> bytes:
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", zlib.compress(rows)))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + bytes(4)
        for kind, data in (*chunks, (b"IEND", b""))
    )


def filter_rows(pixels: Pixels, kind: int) -> bytes:
    """Return rows filtered as the specification writes it, a byte at a time."""
    height, width, step = pixels.shape
    lines = pixels.reshape(height, width * step).astype(int)
    out = bytearray()
    for number, line in enumerate(lines):
        out.append(kind)
        for place, value in enumerate(line):
            left = int(line[place - step]) if place >= step else 0
            up = int(lines[number - 1][place]) if number else 0
            corner = int(lines[number - 1][place - step]) if number and place >= step else 0
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda each: abs(guess - each))
            out.append((int(value) - (0, left, up, (left + up) // 2, paeth)[kind]) % 256)
    return bytes(out)


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind: int) -> None:
    data = write((5, 6, 8, 2, 0, 0, 0), filter_rows(PICTURE, kind))
    assert np.array_equal(read_png(data), PICTURE)


def test_the_engines_own_pictures_are_read() -> None:
    assert np.array_equal(read_png(encode_png(PICTURE)), PICTURE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        SIGNATURE,
        encode_png(PICTURE)[:40],
        encode_png(PICTURE)[:-30],
        write((5, 6, 16, 2, 0, 0, 0), b""),
        write((5, 6, 8, 3, 0, 0, 0), b""),
        write((5, 6, 8, 2, 0, 0, 1), b""),
        write((0, 6, 8, 2, 0, 0, 0), b""),
        write((MOST_SIDE + 1, 1, 8, 2, 0, 0, 0), b""),
        write((5, 6, 8, 2, 0, 0, 0), bytes(95)),
        write((5, 6, 8, 2, 0, 0, 0), bytes(10_000_000)),
        write((5, 6, 8, 2, 0, 0, 0), bytes([9]) * 96),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(NoPictureError):
        read_png(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(tail: bytes) -> None:
    with pytest.raises(NoPictureError):
        read_png(SIGNATURE + tail)


def test_one_forged_row_is_seen_among_a_thousand() -> None:
    picture = np.full((1_000, 8, 3), 100, np.uint8)
    assert compare_rows(picture, picture) == MOST_DECIBELS
    nudged = picture.copy()
    nudged[::7] += 1
    assert compare_rows(nudged, picture) > 48
    forged = picture.copy()
    forged[500] += 40
    assert compare_rows(forged, picture) < 17
