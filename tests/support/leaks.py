"""Finds planted secrets in bytes: as they are, as hex, as base64 and as JSON writes them."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_GROUP: Final = 3
"""Bytes that base64 writes together."""
_LEAST: Final = 8


def write_forms(secret: bytes) -> set[bytes]:
    """Return how a secret may be written."""
    assert len(secret) >= _LEAST, "anything shorter is found by chance"
    forms = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for start in range(_GROUP):
        # Whatever stands in front of it, one of these is in the text.
        aligned = secret[start : start + (len(secret) - start) // _GROUP * _GROUP]
        forms |= {b64encode(aligned), urlsafe_b64encode(aligned)}
    with suppress(UnicodeDecodeError):
        forms.add(json.dumps(secret.decode())[1:-1].encode())
    return forms


def find_leaks(secrets: Mapping[str, bytes], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return the name of each secret with each place that holds it."""
    forms = {name: write_forms(secret) for name, secret in secrets.items()}
    return [
        f"{name} in {place}"
        for place, content in places
        for name, written in forms.items()
        if any(form in content for form in written)
    ]


def iterate_files(folder: Path) -> Iterable[tuple[str, bytes]]:
    """Yield the name and content of every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
