"""ONNX models as bytes, written field by field (onnx.proto), so that hostile ones can be too."""

import struct
from collections.abc import Sequence

FLOAT, INT64, STRING, BOOL, DOUBLE = 1, 7, 8, 9, 11


def field(number: int, value: int | bytes | str) -> bytes:
    """Return one field of a message."""
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    data = value.encode() if isinstance(value, str) else value
    return _number(number << 3 | 2) + _number(len(data)) + data


def declare(name: str, shape: Sequence[int | str], kind: int = FLOAT) -> bytes:
    """Return the declaration of an input or output."""
    sizes = b"".join(
        field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape
    )
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, sizes)))


def make_tensor(name: str, shape: Sequence[int], data: bytes, kind: int = FLOAT) -> bytes:
    """Return a constant; `data` are its little-endian numbers."""
    sizes = b"".join(field(1, size) for size in shape)
    return sizes + field(2, kind) + field(8, name) + field(9, data)


def make_external(name: str, path: str) -> bytes:
    """Return a constant whose data is said to lie in a file."""
    entry = field(1, "location") + field(2, path)
    return field(1, 4) + field(2, FLOAT) + field(8, name) + field(13, entry) + field(14, 1)


def make_node(kind: str, inputs: Sequence[str], outputs: Sequence[str], *more: bytes) -> bytes:
    """Return an operator; `more` are its attributes, or its domain, as whole fields."""
    names = b"".join(field(1, name) for name in inputs) + b"".join(field(2, n) for n in outputs)
    return names + field(4, kind) + b"".join(more)


def make_model(
    nodes: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    constants: Sequence[bytes] = (),
) -> bytes:
    """Return a model of the IR's version 8 and operators of version 17."""
    graph = b"".join(field(1, node) for node in nodes) + field(2, "graph")
    graph += b"".join(field(5, constant) for constant in constants)
    graph += b"".join(field(11, each) for each in inputs)
    graph += b"".join(field(12, each) for each in outputs)
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17))


def make_linear() -> bytes:
    """Return y = x · [[1], [2], [3]] + 0.5 for any number of rows."""
    weights = make_tensor("w", (3, 1), struct.pack("<3f", 1, 2, 3))
    bias = make_tensor("b", (1,), struct.pack("<f", 0.5))
    nodes = [make_node("MatMul", ("x", "w"), ("xw",)), make_node("Add", ("xw", "b"), ("y",))]
    return make_model(
        nodes, [declare("x", ("rows", 3))], [declare("y", ("rows", 1))], [weights, bias]
    )


def make_simple(kind: str, shape: Sequence[int | str] = ("n",), dtype: int = FLOAT) -> bytes:
    """Return y = kind(x)."""
    return make_model(
        [make_node(kind, ("x",), ("y",))],
        [declare("x", shape, dtype)],
        [declare("y", shape, dtype)],
    )


def _number(value: int) -> bytes:
    data = b""
    while True:
        value, low = value >> 7, value & 127
        data += bytes([low | 128 if value else low])
        if not value:
            return data
