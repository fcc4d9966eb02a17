"""Reads the pixels of a claimed PNG, bounded, and compares two pictures row by row.

Of PNG what pictures of an engine are: 8 bits a channel, grey, colour or colour with opacity, not
interlaced.
"""

import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}
MOST_SIDE: Final = 4_096
MOST_DECIBELS: Final = 100.0
"""What rows without any difference count as."""
FULL: Final = 255.0

Pixels = NDArray[np.uint8]


class NoPictureError(Exception):
    """The bytes are no PNG of the kind that is read here."""


def read_png(data: bytes) -> Pixels:
    """Return height × width × channels. Raises `NoPictureError`."""
    try:
        width, height, channels, packed = _read_chunks(data)
        length = height * (1 + width * channels)
        unpacker = zlib.decompressobj()
        rows = unpacker.decompress(packed, length)
        if len(rows) != length or not unpacker.eof and unpacker.decompress(b"", 1):
            raise NoPictureError("the picture has another number of pixels than it says")
    except (struct.error, zlib.error) as error:
        raise NoPictureError(f"not a PNG: {error}") from None
    lines = np.frombuffer(rows, np.uint8).reshape(height, 1 + width * channels)
    return _undo_filters(lines, channels).reshape(height, width, channels)


def _read_chunks(data: bytes) -> tuple[int, int, int, bytes]:
    if not data.startswith(SIGNATURE):
        raise NoPictureError("not a PNG")
    place, packed = len(SIGNATURE), []
    header: tuple[int, ...] = ()
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        if len(body) != length:
            raise NoPictureError("a chunk is cut off")
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed.append(body)
        elif kind == b"IEND":
            break
        place += 12 + length
    if not header:
        raise NoPictureError("a PNG without a header")
    width, height, depth, colour, _, _, interlace = header
    if depth != 8 or colour not in CHANNELS or interlace:
        raise NoPictureError("a PNG of another kind than engines write")
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise NoPictureError(f"a side has at most {MOST_SIDE} pixels")
    return width, height, CHANNELS[colour], b"".join(packed)


def _undo_filters(lines: Pixels, channels: int) -> Pixels:
    """Return the rows' bytes: each filter adds what lies left, above, or both (PNG, section 9)."""
    pixels = np.zeros((len(lines), lines.shape[1] - 1), np.uint8)
    above = np.zeros(lines.shape[1] - 1, np.uint8)
    for number, line in enumerate(lines):
        kind, row = int(line[0]), line[1:]
        match kind:
            case 0:
                pixels[number] = row
            case 1:
                columns = row.reshape(-1, channels).cumsum(axis=0, dtype=np.uint64)
                pixels[number] = (columns % 256).astype(np.uint8).reshape(-1)
            case 2:
                pixels[number] = row + above
            case 3 | 4:
                pixels[number] = _undo_one_by_one(row, above, channels, is_paeth=kind == 4)
            case _:
                raise NoPictureError("a PNG with an unknown filter")
        above = pixels[number]
    return pixels


def _undo_one_by_one(row: Pixels, above: Pixels, step: int, *, is_paeth: bool) -> Pixels:
    values, upper = row.tolist(), above.tolist()
    for place in range(len(values)):
        left = values[place - step] if place >= step else 0
        if is_paeth:
            corner = upper[place - step] if place >= step else 0
            guess = left + upper[place] - corner
            nearest = (abs(guess - left), abs(guess - upper[place]), abs(guess - corner))
            added = (left, upper[place], corner)[nearest.index(min(nearest))]
        else:
            added = (left + upper[place]) // 2
        values[place] = (values[place] + added) % 256
    return np.array(values, np.uint8)


def compare_rows(claimed: Pixels, found: Pixels) -> float:
    """Return the PSNR in decibels of the worst row of two pictures of one size.

    By rows, because in the mean of a whole picture one forged row would not be seen.
    """
    difference: NDArray[Any] = claimed.astype(np.float64) - found.astype(np.float64)
    worst = float((difference**2).mean(axis=(1, 2)).max())
    return MOST_DECIBELS if worst == 0 else float(10 * np.log10(FULL**2 / worst))
