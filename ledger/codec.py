"""The one canonical encoding: MessagePack arrays, decoded strictly (rule E1).

`msgspec` accepts non-minimal MessagePack, so a decode is strict only together with re-encoding and
comparing (rule E2). The pair costs about half a microsecond for a transaction.
"""

from typing import Any, TypeVar

import msgspec

from ledger.rejection import Rejected, Rejection

_T = TypeVar("_T")
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type[Any], msgspec.msgpack.Decoder[Any]] = {}


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a `Record`."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[_T], limit: int) -> _T:
    """Return the `kind` that `data` encodes canonically, at most `limit` bytes of it (rule E4).

    Raises `Rejected` (`TOO_LARGE`, `MALFORMED`, `NOT_CANONICAL`).
    """
    if len(data) > limit:
        raise Rejected(Rejection.TOO_LARGE, f"{len(data)} bytes, the limit is {limit}")
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders.setdefault(kind, msgspec.msgpack.Decoder(kind))
    try:
        value: _T = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(Rejection.MALFORMED, str(error)) from None
    if _encoder.encode(value) != data:
        name = getattr(kind, "__name__", "record")
        raise Rejected(Rejection.NOT_CANONICAL, f"a longer encoding of a {name}")
    return value
