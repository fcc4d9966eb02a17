"""One encoding for each field element."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk.field import R, decode_field, encode_field, to_field


@given(st.integers(0, R - 1))
def test_encoding_round_trips(value: int) -> None:
    assert decode_field(encode_field(value)) == value


@pytest.mark.parametrize("value", [-1, R, R + 1, 1 << 256])
def test_what_is_no_element_is_not_encoded(value: int) -> None:
    with pytest.raises(ValueError, match="element"):
        encode_field(value)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), R.to_bytes(32, "big"), b"\xff" * 32])
def test_other_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="field element"):
        decode_field(data)


def test_hashes_are_reduced() -> None:
    assert to_field((R + 5).to_bytes(32, "big")) == 5
    assert to_field(bytes(31) + b"\x07") == 7
    with pytest.raises(ValueError, match="32 bytes"):
        to_field(bytes(20))
