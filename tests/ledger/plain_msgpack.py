"""MessagePack written from docs/protocol/encoding.md and not from a library.

`encode` makes the one canonical form, `encode_variants` the other forms of the same value that
a lax decoder would take for it.
"""

from collections.abc import Iterator

import msgspec

Plain = None | bool | int | str | bytes | list["Plain"]


def to_plain(value: object) -> Plain:
    """Return a record as nested lists: its tag, if it has one, and its fields in order."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = [to_plain(getattr(value, name)) for name in value.__struct_fields__]
        return fields if tag is None else [to_plain(tag), *fields]
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    assert isinstance(value, str | bytes)
    return value


def encode(value: Plain) -> bytes:
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _encode_number(value)
    if isinstance(value, str):
        return _encode_text(value.encode())
    if isinstance(value, bytes):
        for width, marker in ((1, 0xC4), (2, 0xC5), (4, 0xC6)):
            if len(value) < 1 << 8 * width:
                return bytes([marker]) + len(value).to_bytes(width, "big") + value
        raise ValueError("too long")
    body = b"".join(encode(item) for item in value)
    if len(value) < 16:
        return bytes([0x90 | len(value)]) + body
    assert len(value) < 1 << 16
    return b"\xdc" + len(value).to_bytes(2, "big") + body


def encode_variants(value: Plain) -> Iterator[bytes]:
    """Yield longer or looser forms of one value, each with one place changed."""
    if isinstance(value, bool):
        yield encode(int(value))
    elif isinstance(value, int):
        yield from (
            bytes([marker]) + value.to_bytes(width, "big")
            for width, marker in ((1, 0xCC), (2, 0xCD), (4, 0xCE), (8, 0xCF))
            if value < 1 << 8 * width
        )
        if value < 1 << 63:
            yield b"\xd3" + value.to_bytes(8, "big")
        yield encode(str(value))
    elif isinstance(value, str):
        data = value.encode()
        yield from (
            bytes([marker]) + len(data).to_bytes(width, "big") + data
            for width, marker in ((1, 0xD9), (2, 0xDA), (4, 0xDB))
        )
        yield encode(data)
    elif isinstance(value, bytes):
        yield from (
            bytes([marker]) + len(value).to_bytes(width, "big") + value
            for width, marker in ((2, 0xC5), (4, 0xC6))
        )
        yield _encode_text(value)
    elif isinstance(value, list):
        body = b"".join(encode(item) for item in value)
        yield from (
            bytes([marker]) + len(value).to_bytes(width, "big") + body
            for width, marker in ((2, 0xDC), (4, 0xDD))
        )
        yield encode([*value, None])
        yield encode(value[:-1])
        for index, item in enumerate(value):
            before = b"".join(encode(other) for other in value[:index])
            after = b"".join(encode(other) for other in value[index + 1 :])
            head = encode(value)[: len(encode(value)) - len(body)]
            for variant in encode_variants(item):
                yield head + before + variant + after


def _encode_number(value: int) -> bytes:
    assert value >= 0
    if value < 128:
        return bytes([value])
    for width, marker in ((1, 0xCC), (2, 0xCD), (4, 0xCE), (8, 0xCF)):
        if value < 1 << 8 * width:
            return bytes([marker]) + value.to_bytes(width, "big")
    raise ValueError("too large")


def _encode_text(data: bytes) -> bytes:
    if len(data) < 32:
        return bytes([0xA0 | len(data)]) + data
    for width, marker in ((1, 0xD9), (2, 0xDA), (4, 0xDB)):
        if len(data) < 1 << 8 * width:
            return bytes([marker]) + len(data).to_bytes(width, "big") + data
    raise ValueError("too long")
