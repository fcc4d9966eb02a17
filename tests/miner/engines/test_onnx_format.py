"""Which bytes are a model that holds all its data: read field by field, whatever they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.engines.onnx_program.onnx_format import MAX_DEPTH, NotOnnxError, check_model
from tests.support.onnx_models import (
    declare,
    field,
    make_external,
    make_linear,
    make_model,
    make_node,
    make_simple,
)

OUTSIDE = make_external("w", "../../etc/passwd")
ATTRIBUTE = field(5, field(5, OUTSIDE))
"""Of a node, with such a tensor in it."""


def test_whole_models_are_taken() -> None:
    check_model(make_linear())
    check_model(make_simple("Relu"))


def nest(depth: int, inner: bytes) -> bytes:
    for _ in range(depth):
        inner = field(
            1, make_node("If", ("c",), ("y",), field(5, field(1, "then") + field(6, inner)))
        )
    return field(1, 8) + field(7, inner)


@pytest.mark.parametrize(
    "model",
    [
        make_model([], [], [], [OUTSIDE]),
        make_model([], [], [], [make_external("w", "*/_ORT_MEM_ADDR_/*")]),
        make_model([], [], [], [field(8, "w") + field(14, 1)]),
        make_model([make_node("Constant", (), ("w",), ATTRIBUTE)], [], []),
        make_model([make_node("Constant", (), ("w",), field(5, field(10, OUTSIDE)))], [], []),
        field(7, field(15, field(1, OUTSIDE))),
        field(7, b"") + field(25, field(7, make_node("C", (), ("w",), ATTRIBUTE))),
        field(7, b"") + field(20, field(1, field(5, OUTSIDE))),
        nest(3, field(5, OUTSIDE)),
    ],
    ids=["path", "memory", "flag", "attribute", "attributes", "sparse", "function", "training",
         "branch"],
)  # fmt: skip
def test_data_elsewhere_is_found_wherever_it_is_named(model: bytes) -> None:
    with pytest.raises(NotOnnxError, match="outside of its file"):
        check_model(model)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"GGUF", b"ORTM" * 20, b"\x80" * 100, field(1, 8), field(7, 3), b"\x3a\x7f", b"\x3b",
        make_linear()[:-1], nest(MAX_DEPTH, b""), field(0, 1) + field(7, b""),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(NotOnnxError):
        check_model(data)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_can_do_harm(data: bytes, place: int) -> None:
    spoilt = bytearray(make_model([], [declare("x", (1,))], []))
    for candidate in (data, bytes(spoilt[:place]) + data + bytes(spoilt[place:])):
        try:
            check_model(candidate)
        except NotOnnxError:
            continue
