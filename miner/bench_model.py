"""A small ONNX model, made here: one vector times one matrix, as a measured job's own model.

The few fields of the format that this takes are written by hand: a library for it would be one more
package on every miner.
"""

import hashlib
import struct
from typing import Final

SIDE: Final = 128
FLOAT: Final = 1
IR_VERSION: Final = 8
OPSET: Final = 17
INPUT, OUTPUT, WEIGHTS = "x", "y", "w"


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _vector(name: str) -> bytes:
    """Return the description of a vector of `SIDE` floats."""
    shape = _bytes(1, _number(1, SIDE))
    kind = _bytes(1, _number(1, FLOAT) + _bytes(2, shape))
    return _bytes(1, name.encode()) + _bytes(2, kind)


def build_model() -> bytes:
    """Return the model's bytes, which are always the same."""
    node = b"".join(
        (
            _bytes(1, INPUT.encode()),
            _bytes(1, WEIGHTS.encode()),
            _bytes(2, OUTPUT.encode()),
            _bytes(4, b"MatMul"),
        )
    )
    weights = b"".join(
        (
            _number(1, SIDE),
            _number(1, SIDE),
            _number(2, FLOAT),
            _bytes(8, WEIGHTS.encode()),
            _bytes(9, struct.pack("<f", 1 / SIDE) * SIDE * SIDE),
        )
    )
    graph = b"".join(
        (
            _bytes(1, node),
            _bytes(2, b"bench"),
            _bytes(5, weights),
            _bytes(11, _vector(INPUT)),
            _bytes(12, _vector(OUTPUT)),
        )
    )
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


IDENTITY: Final = f"bench@{hashlib.sha256(build_model()).hexdigest()}"
"""As a job names it."""
