"""The bytes on a session's streams: frames with their length before them, and what control says.

Rules W6 and W7. Everything here is pure; the limits are the caller's.
"""

import struct
from enum import IntEnum
from typing import Final

from msgspec import Struct

from ledger.rejection import Rejected, Rejection

LENGTH_BYTES: Final = 4

_LENGTH: Final = struct.Struct(">I")
_CONTROL_HEAD: Final = struct.Struct(">BI")


class ControlKind(IntEnum):
    """What a frame on the control stream is."""

    PING = 1
    PONG = 2
    QUESTION = 3
    ANSWER = 4
    DECLINED = 5
    GOODBYE = 6
    PEER = 7


class Control(Struct, frozen=True):
    """A frame of the control stream; the number is a ping's or a question's."""

    kind: ControlKind
    number: int
    data: bytes


MAX_GOODBYE_BYTES: Final = 200
CONTROL_HEAD_BYTES: Final = _CONTROL_HEAD.size


def encode_frame(data: bytes) -> bytes:
    """Return a frame: its length in four bytes, then itself."""
    return _LENGTH.pack(len(data)) + data


def encode_control(kind: ControlKind, number: int, data: bytes = b"") -> bytes:
    """Return a frame of the control stream, length included."""
    return _LENGTH.pack(_CONTROL_HEAD.size + len(data)) + _CONTROL_HEAD.pack(kind, number) + data


def decode_control(frame: bytes) -> Control:
    """Return what a frame of the control stream says. Raises `Rejected(MALFORMED)`."""
    if len(frame) < _CONTROL_HEAD.size:
        raise Rejected(Rejection.MALFORMED, "a control frame of less than five bytes")
    kind, number = _CONTROL_HEAD.unpack_from(frame)
    data = frame[_CONTROL_HEAD.size :]
    try:
        control = Control(ControlKind(kind), number, data)
    except ValueError:
        raise Rejected(Rejection.MALFORMED, f"no control frame has kind {kind}") from None
    if data and control.kind in (ControlKind.PING, ControlKind.PONG, ControlKind.DECLINED):
        raise Rejected(Rejection.MALFORMED, f"{control.kind.name} carries nothing")
    if control.kind is ControlKind.GOODBYE and len(data) > MAX_GOODBYE_BYTES:
        raise Rejected(Rejection.TOO_LARGE, f"a goodbye of {len(data)} bytes")
    return control


class FrameSplitter:
    """Cuts a stream's bytes into frames of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    @property
    def has_begun(self) -> bool:
        """Whether a frame has begun that is not whole."""
        return bool(self._buffer)

    @property
    def missing(self) -> int:
        """How many bytes the frame that has begun still lacks; 0 when none has."""
        if len(self._buffer) < LENGTH_BYTES:
            return 0
        (length,) = _LENGTH.unpack_from(self._buffer)
        return LENGTH_BYTES + int(length) - len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are whole now. Raises `Rejected(TOO_LARGE)` on a length alone."""
        self._buffer += data
        frames = []
        start = 0
        with memoryview(self._buffer) as view:
            while len(view) - start >= LENGTH_BYTES:
                (length,) = _LENGTH.unpack_from(view, start)
                if length > self.limit:
                    raise Rejected(
                        Rejection.TOO_LARGE, f"a frame of {length} bytes, the limit is {self.limit}"
                    )
                end = start + LENGTH_BYTES + length
                if end > len(view):
                    break
                frames.append(bytes(view[start + LENGTH_BYTES : end]))
                start = end
        if start:
            del self._buffer[:start]
        return frames
