"""Frames out of a stream of bytes, however they are cut, and what control frames say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rejection import Rejected, Rejection
from p2p.frames import (
    MAX_GOODBYE_BYTES,
    Control,
    ControlKind,
    FrameSplitter,
    decode_control,
    encode_control,
    encode_frame,
)


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 30)))
def test_frames_come_out_however_the_bytes_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(encode_frame, frames))
    splitter = FrameSplitter(40)
    got: list[bytes] = []
    for cut in [*cuts, len(data)]:
        got += splitter.feed(data[:cut])
        data = data[cut:]
    assert got == frames
    assert not splitter.has_begun and splitter.missing == 0


def test_a_length_over_the_limit_is_refused_before_its_bytes() -> None:
    splitter = FrameSplitter(10)
    assert splitter.feed(encode_frame(bytes(10))) == [bytes(10)]
    with pytest.raises(Rejected) as refused:
        splitter.feed(b"\0\0\0\x0b")
    assert refused.value.reason is Rejection.TOO_LARGE


def test_what_is_missing_is_known_from_the_length() -> None:
    splitter = FrameSplitter(1000)
    assert splitter.feed(b"\0\0\x01") == [] and splitter.missing == 0 and splitter.has_begun
    assert splitter.feed(b"\0") == [] and splitter.missing == 256
    assert splitter.feed(bytes(250)) == [] and splitter.missing == 6
    assert splitter.feed(bytes(6)) == [bytes(256)] and splitter.missing == 0


@pytest.mark.parametrize("kind", ControlKind)
def test_a_control_frame_is_read_as_it_was_written(kind: ControlKind) -> None:
    has_data = kind in (
        ControlKind.QUESTION,
        ControlKind.ANSWER,
        ControlKind.GOODBYE,
        ControlKind.PEER,
    )
    data = b"data" if has_data else b""
    (frame,) = FrameSplitter(100).feed(encode_control(kind, 2**32 - 1, data))
    assert decode_control(frame) == Control(kind, 2**32 - 1, data)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", Rejection.MALFORMED),
        (b"\x01\0\0\0", Rejection.MALFORMED),
        (b"\x00\0\0\0\0", Rejection.MALFORMED),
        (b"\x08\0\0\0\0", Rejection.MALFORMED),
        (b"\x01\0\0\0\0x", Rejection.MALFORMED),
        (b"\x02\0\0\0\0x", Rejection.MALFORMED),
        (b"\x05\0\0\0\0x", Rejection.MALFORMED),
        (b"\x06\0\0\0\0" + bytes(MAX_GOODBYE_BYTES + 1), Rejection.TOO_LARGE),
    ],
)
def test_what_is_no_control_frame_is_refused(frame: bytes, reason: Rejection) -> None:
    with pytest.raises(Rejected) as refused:
        decode_control(frame)
    assert refused.value.reason is reason
