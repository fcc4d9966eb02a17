"""One verdict on every signature, on every path: the strict one."""

import itertools
import re
from hashlib import sha256, sha512

import msgspec
import pytest
from bech32m import codecs
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from ledger import crypto
from ledger.rejection import Rejected, Rejection
from ledger.transactions import Transaction, Transfer, sign_transaction
from tests.architecture.sources import get_name, iterate_modules
from tests.ledger.edwards import (
    ORDER,
    add,
    decode,
    encode,
    encode_small_order,
    find_torsion,
    multiply,
)
from tests.ledger.world import CHAIN, CLIENT, make_world

SMALL = encode_small_order()
GENERATOR = decode(bytes([0x58]) + bytes([0x66]) * 31)
MESSAGE = b"Zcash"

# RFC 8032, section 7.1, tests 1 and 2.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
        "cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
        "0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    secret, text, signed = (bytes.fromhex(part) for part in (seed, message, signature))
    assert crypto.compute_public_key(secret).hex() == public
    assert crypto.sign(secret, text) == signed
    assert crypto.is_valid_signature(bytes.fromhex(public), text, signed)


def test_there_are_fourteen_encodings_of_small_order() -> None:
    assert len(set(SMALL)) == 14
    assert all(multiply(8, decode(data)) == (0, 1) for data in SMALL)


@pytest.mark.parametrize("number", range(196))
def test_the_small_order_cases_of_zip_215_are_refused(number: int) -> None:
    key, commitment = list(itertools.product(SMALL, SMALL))[number]
    signature = commitment + bytes(32)
    assert not crypto.is_valid_signature(key, MESSAGE, signature)
    world = make_world()
    transaction = Transaction(1, key, 0, 10**6, 1, Transfer(CLIENT.address, 1), signature)
    with pytest.raises(Rejected) as refused:
        world.verify(transaction)
    assert refused.value.reason is Rejection.BAD_SIGNATURE


@pytest.mark.parametrize("torsion", range(1, 8))
def test_keys_of_mixed_order_are_refused(torsion: int) -> None:
    """A + T signs as A does under the cofactored equation, so one key would have eight faces."""
    mixed = encode(add(decode(CLIENT.public), find_torsion()[torsion]))
    assert not crypto.is_valid_public_key(mixed)
    assert not crypto.is_valid_signature(mixed, MESSAGE, crypto.sign(CLIENT.seed, MESSAGE))


@pytest.mark.parametrize("torsion", range(1, 8))
def test_a_signature_that_libsodium_accepts_under_a_key_of_mixed_order_is_refused(
    torsion: int,
) -> None:
    """Where the challenge is a multiple of eight the torsion drops out of the equation."""
    secret, nonce = 12_345, 67_890
    key = encode(add(multiply(secret, GENERATOR), find_torsion()[torsion]))
    commitment = encode(multiply(nonce, GENERATOR))
    for number in range(1_000):
        message = b"%d" % number
        challenge = int.from_bytes(sha512(commitment + key + message).digest(), "little") % ORDER
        if challenge % 8 == 0:
            break
    s = (nonce + challenge * secret) % ORDER
    signature = commitment + s.to_bytes(32, "little")
    assert bindings.crypto_sign_open(signature + message, key) == message
    assert not crypto.is_valid_signature(key, message, signature)


@pytest.mark.parametrize("torsion", range(1, 8))
def test_a_commitment_of_mixed_order_is_refused(torsion: int) -> None:
    """Such a signature holds under the cofactored equation alone."""
    secret, nonce = 12_345, 67_890
    key = encode(multiply(secret, GENERATOR))
    commitment = encode(add(multiply(nonce, GENERATOR), find_torsion()[torsion]))
    for point, expected in ((commitment, False), (encode(multiply(nonce, GENERATOR)), True)):
        challenge = int.from_bytes(sha512(point + key + b"m").digest(), "little")
        s = (nonce + challenge * secret) % ORDER
        signature = point + s.to_bytes(32, "little")
        assert crypto.is_valid_signature(key, b"m", signature) is expected


def test_another_s_for_the_same_signature_is_refused() -> None:
    signature = crypto.sign(CLIENT.seed, MESSAGE)
    s = int.from_bytes(signature[32:], "little")
    assert crypto.is_valid_signature(CLIENT.public, MESSAGE, signature)
    for factor in range(1, 16):
        if s + factor * ORDER < 1 << 256:
            other = signature[:32] + (s + factor * ORDER).to_bytes(32, "little")
            assert not crypto.is_valid_signature(CLIENT.public, MESSAGE, other)


def test_a_key_that_is_no_point_or_no_canonical_one_is_refused() -> None:
    p = 2**255 - 19
    for value in (2, p, p + 1, p + 3, 2**255 - 1, 2**256 - 1):
        assert not crypto.is_valid_public_key(value.to_bytes(32, "little"))
    for data in (b"", bytes(31), bytes(33), CLIENT.public + b"\x00"):
        assert not crypto.is_valid_public_key(data)
        assert not crypto.is_valid_signature(data, MESSAGE, bytes(64))
    for length in (0, 63, 65):
        assert not crypto.is_valid_signature(CLIENT.public, MESSAGE, bytes(length))


@given(st.integers(0, 511))
def test_any_flipped_bit_breaks_a_signature(bit: int) -> None:
    signature = bytearray(crypto.sign(CLIENT.seed, MESSAGE))
    signature[bit // 8] ^= 1 << bit % 8
    assert not crypto.is_valid_signature(CLIENT.public, MESSAGE, bytes(signature))


def test_a_signature_over_other_bytes_of_the_transaction_is_refused() -> None:
    world = make_world()
    transaction = sign_transaction(CLIENT.seed, CHAIN, 0, 10_000, 5, Transfer(CLIENT.address, 1))
    world.verify(transaction)
    for fields in (
        {"nonce": 1},
        {"fee": 10_001},
        {"valid_until": 6},
        {"payload": Transfer(CLIENT.address, 2)},
        {"signature": transaction.signature[:-1] + b"\x00"},
    ):
        with pytest.raises(Rejected) as refused:
            world.verify(msgspec.structs.replace(transaction, **fields))
        assert refused.value.reason is Rejection.BAD_SIGNATURE


def test_there_is_one_verifier() -> None:
    """No module beside `ledger/crypto.py` may decide what a valid Ed25519 signature is."""
    verifier = re.compile(r"crypto_sign_open|VerifyKey|Ed25519PublicKey|sign_verify")
    assert [
        get_name(path)
        for path in iterate_modules()
        if verifier.search(path.read_text()) and get_name(path) != "ledger/crypto.py"
    ] == []


def test_tags_are_prefix_free_and_never_begin_a_json_document() -> None:
    tags = [value for name, value in vars(crypto).items() if name.startswith("TAG_")]
    assert len(set(tags)) == len(tags) >= 8
    for first, second in itertools.permutations(tags, 2):
        assert not first.startswith(second)
    assert all(tag.startswith(b"aitbc/") and tag.endswith(b"\x00") for tag in tags)
    assert crypto.hash_tagged(b"a\x00", b"b", b"c") == sha256(b"a\x00bc").digest()


@given(st.binary(min_size=20, max_size=20))
def test_an_address_reads_back(address: bytes) -> None:
    text = crypto.format_address(address)
    assert text.startswith("ait1") and len(text) == 42
    assert crypto.parse_address(text) == address


GOOD = crypto.format_address(CLIENT.address)
CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bioAQ \u0131\u00e9\ud800"


def write(prefix: str, data: bytes, encoding: codecs.Encoding = codecs.Encoding.BECH32M) -> str:
    return str(codecs.bech32_encode(prefix, codecs.convertbits(data, 8, 5), encoding))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "ait1",
        GOOD.upper(),
        GOOD.capitalize(),
        GOOD + "q",
        GOOD[:-1],
        " " + GOOD,
        GOOD + "\n",
        "é" * 42,
        "\ud800",
        "ait1" + "q" * 10_000,
        write("bit", CLIENT.address),
        write("ait", CLIENT.address[:19]),
        write("ait", CLIENT.address + b"\x00"),
        write("ait", CLIENT.address, codecs.Encoding.BECH32),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        crypto.parse_address(text)
    assert refused.value.reason is Rejection.BAD_ADDRESS


@given(st.text(CHARACTERS, max_size=60), st.integers(0, 41), st.sampled_from(CHARACTERS))
def test_a_mistyped_address_is_refused(text: str, at: int, character: str) -> None:
    typo = GOOD[:at] + character + GOOD[at + 1 :]
    for wrong in {text, "ait1" + text, typo} - {GOOD}:
        with pytest.raises(Rejected):
            crypto.parse_address(wrong)
