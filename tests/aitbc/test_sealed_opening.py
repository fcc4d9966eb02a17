import json
from collections.abc import Callable
from typing import Any

import pytest
from nacl.public import PublicKey, SealedBox

from aitbc.sealed_opening import MAX_SEALED_BYTES, OtherAuditorError, parse_auditor, seal, unseal
from aitbc.wallet import Wallet
from ledger.receipts import decode_base64url, encode_base64url
from ledger.rejection import Rejected, Rejection

AUDITOR = Wallet(bytes([7]) * 32).derive_encryption_key()
PUBLIC_KEY = bytes(AUDITOR.public_key)
OTHER = Wallet(bytes([8]) * 32).derive_encryption_key()
OPENING, BUNDLE = {"price": {"salt": "never in clear"}}, {"receipt": {"units": 42}}
SEALED = seal(OPENING, BUNDLE, PUBLIC_KEY)


def test_the_auditor_alone_reads_it() -> None:
    opening, bundle = unseal(SEALED, AUDITOR)
    assert (json.loads(opening), json.loads(bundle)) == (OPENING, BUNDLE)
    assert b"salt" not in SEALED
    with pytest.raises(OtherAuditorError, match=PUBLIC_KEY.hex()):
        unseal(SEALED, OTHER)


def test_each_sealing_is_another() -> None:
    assert seal(OPENING, BUNDLE, PUBLIC_KEY) != SEALED


def claim_another_auditor(file: dict[str, Any]) -> None:
    file["auditor"] = bytes(OTHER.public_key).hex()


def change_box(file: dict[str, Any]) -> None:
    box = bytearray(decode_base64url(file["box"]))
    box[-1] ^= 1
    file["box"] = encode_base64url(bytes(box))


def shorten_box(file: dict[str, Any]) -> None:
    file["box"] = encode_base64url(b"short")


def box_up(content: bytes) -> Callable[[dict[str, Any]], None]:
    def change(file: dict[str, Any]) -> None:
        file["box"] = encode_base64url(SealedBox(PublicKey(PUBLIC_KEY)).encrypt(content))

    return change


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a flipped bit": change_box,
    "a box too short": shorten_box,
    "a list": box_up(b"[]"),
    "half of it": box_up(b'{"opening": {}}'),
    "depth": box_up(b"[" * 10_000),
    "no base64": lambda file: file.update(box="no base64!"),
    "another member": lambda file: file.update(note="trust me"),
    "another format": lambda file: file.update(format="aitbc-sealed-opening/2"),
    "no key": lambda file: file.update(auditor="00"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused(name: str) -> None:
    file = json.loads(SEALED)
    CHANGES[name](file)
    with pytest.raises(Rejected) as caught:
        unseal(json.dumps(file).encode(), AUDITOR)
    assert caught.value.reason is Rejection.MALFORMED


def test_a_box_relabelled_for_another_does_not_open() -> None:
    file = json.loads(SEALED)
    claim_another_auditor(file)
    with pytest.raises(Rejected):
        unseal(json.dumps(file).encode(), OTHER)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"[" * 10_000, b"\xff"])
def test_what_is_no_file_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected):
        unseal(data, AUDITOR)


def test_a_file_over_the_limit_is_not_read() -> None:
    with pytest.raises(Rejected) as caught:
        unseal(b" " * (MAX_SEALED_BYTES + 1), AUDITOR)
    assert caught.value.reason is Rejection.TOO_LARGE


@pytest.mark.parametrize(
    "text", ["", "00", "x" * 64, " " + "ab" * 31 + " ", "00" * 32, "01" + "00" * 31]
)
def test_what_is_no_encryption_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_auditor(text)


def test_an_encryption_key_is_read_as_it_is_shown() -> None:
    assert parse_auditor(PUBLIC_KEY.hex()) == PUBLIC_KEY
