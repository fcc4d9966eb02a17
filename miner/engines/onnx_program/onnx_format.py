"""Decides whether bytes are a model of the ONNX format that holds all its data in itself.

Only as much of the format is read as says where tensors are (onnx.proto, protocol buffers). A
tensor whose data lies elsewhere is refused: ONNX Runtime would open whatever path it names, and
takes one reserved name for an address in its own memory. Runs in the sandbox, with the standard
library alone.
"""

from collections.abc import Iterator, Mapping
from typing import Final

MAX_FIELDS: Final = 4_000_000
MAX_DEPTH: Final = 64
TENSOR: Final = "tensor"
EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Of a tensor: where its data is, and that it is there."""
# Of each kind of message, by the number of the field: what the message in it is.
_MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: TENSOR, 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: TENSOR, 6: "graph", 10: TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: TENSOR, 2: TENSOR},
}
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


class NotOnnxError(Exception):
    """The bytes are no model, or not the whole of one."""


def check_model(data: bytes) -> None:
    """Raise `NotOnnxError` unless the bytes are a model with a graph and no data elsewhere."""
    waiting = [("model", memoryview(data), 0)]
    fields, has_graph = 0, False
    while waiting:
        kind, message, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise NotOnnxError("graphs are nested too deeply")
        for number, value in _read_fields(message):
            fields += 1
            if fields > MAX_FIELDS:
                raise NotOnnxError(f"a model has at most {MAX_FIELDS} fields")
            if kind == TENSOR:
                if number == EXTERNAL_DATA or (number == DATA_LOCATION and value):
                    raise NotOnnxError("data of the model lies outside of its file")
            elif (inner := _MESSAGES[kind].get(number)) is not None:
                if not isinstance(value, memoryview):
                    raise NotOnnxError("not a model of the ONNX format")
                has_graph = has_graph or kind == "model" and inner == "graph"
                waiting.append((inner, value, depth + 1))
    if not has_graph:
        raise NotOnnxError("not a model of the ONNX format")


def _read_fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    position = 0
    while position < len(message):
        key, position = _read_number(message, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise NotOnnxError("not a model of the ONNX format")
        if wire == _VARINT:
            value, position = _read_number(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = _read_number(message, position)
        elif wire in (_FIXED_64, _FIXED_32):
            size = 8 if wire == _FIXED_64 else 4
        else:
            raise NotOnnxError("not a model of the ONNX format")
        if size > len(message) - position:
            raise NotOnnxError("not a model of the ONNX format")
        yield number, message[position : position + size]
        position += size


def _read_number(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position == len(message) or shift > 63:
            raise NotOnnxError("not a model of the ONNX format")
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
