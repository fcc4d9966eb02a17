"""The first bytes: what is understood, what is refused, and by which reason."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.crypto import compute_public_key
from p2p.binding import compute_peer_id, sign_binding
from p2p.hello import (
    HIGHEST_VERSION,
    MAGIC,
    MAX_HELLO_BYTES,
    REFUSALS,
    Greeting,
    Hello,
    HelloRefused,
    Refusal,
    Refused,
    check_hello,
    decode_greeting,
    describe_refusal,
    encode_greeting,
    make_refusal,
)
from tests.p2p.networks import CHAIN, identify, make_seed

IDENTITY = identify(1)
PEER = compute_peer_id(compute_public_key(IDENTITY.transport_seed))


def make_hello(**changes: object) -> Hello:
    fields = {
        "chain_id": CHAIN,
        "key": IDENTITY.key,
        "binding": IDENTITY.binding,
        "instance": b"i" * 16,
        "agent": "node/1",
        "addresses": (),
    }
    return Hello(**{**fields, **changes})  # type: ignore[arg-type]


OWN = make_hello(instance=b"o" * 16)


def refuse(data: bytes) -> HelloRefused:
    with pytest.raises(HelloRefused) as refused:
        decode_greeting(data)
    return refused.value


@pytest.mark.parametrize(
    "greeting", [make_hello(), make_hello(addresses=("a", "b")), Refused(3, "x")]
)
def test_a_greeting_is_read_as_it_was_written(greeting: Greeting) -> None:
    assert decode_greeting(encode_greeting(greeting)) == greeting


def test_another_version_is_refused_even_if_its_record_is_not_understood() -> None:
    future = struct.pack(">9sHH", MAGIC, HIGHEST_VERSION + 1, HIGHEST_VERSION + 3) + b"\xc1 future"
    error = refuse(future)
    assert error.refusal is Refusal.VERSION
    assert f"{HIGHEST_VERSION + 1} to {HIGHEST_VERSION + 3}" in str(error)


def test_a_range_of_versions_with_ours_in_it_is_understood() -> None:
    data = struct.pack(">9sHH", MAGIC, 0, 9) + codec.encode(make_hello())
    assert decode_greeting(data) == make_hello()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(MAX_HELLO_BYTES + 1),
        struct.pack(">9sHH", b"aitbc/p2q", 1, 1) + codec.encode(make_hello()),
        struct.pack(">9sHH", MAGIC, 2, 1) + codec.encode(make_hello()),
        encode_greeting(make_hello())[:-1],
        encode_greeting(make_hello()) + b"\0",
        encode_greeting(make_hello(instance=b"short")),
        encode_greeting(make_hello(addresses=("a",) * 9)),
        encode_greeting(make_hello(addresses=("a" * 161,))),
        encode_greeting(make_hello(agent="a" * 65)),
        encode_greeting(make_hello(key=b"")),
    ],
)
def test_what_is_no_greeting_is_refused(data: bytes) -> None:
    assert refuse(data).refusal is Refusal.MALFORMED


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for prefix in (b"", struct.pack(">9sHH", MAGIC, 1, 1)):
        try:
            decode_greeting(prefix + data)
        except HelloRefused as error:
            assert error.refusal in (Refusal.MALFORMED, Refusal.VERSION)


def check(hello: Hello, peer_id: str = PEER, own_peer_id: str = "me") -> Refusal | None:
    try:
        check_hello(hello, peer_id, OWN, own_peer_id)
    except HelloRefused as error:
        return error.refusal
    return None


def test_a_hello_is_checked_against_what_noise_proved() -> None:
    assert check(make_hello()) is None
    assert check(make_hello(), peer_id="somebody else's") is Refusal.BINDING
    assert check(make_hello(binding=bytes(64))) is Refusal.BINDING
    assert check(make_hello(binding=sign_binding(make_seed(2), CHAIN, PEER))) is Refusal.BINDING
    other = identify(1, bytes(32))
    assert check(make_hello(chain_id=bytes(32), binding=other.binding)) is Refusal.CHAIN


def test_only_the_same_process_is_oneself() -> None:
    assert check(make_hello(instance=OWN.instance), own_peer_id=PEER) is Refusal.SELF
    assert check(make_hello(), own_peer_id=PEER) is None
    assert check(make_hello(instance=OWN.instance)) is None


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_tells_its_reason(refusal: Refusal) -> None:
    sent = make_refusal(HelloRefused(refusal, "why"))
    error = describe_refusal(sent)
    assert error.refusal is refusal and str(error) == f"{refusal.doc}: why"
    assert REFUSALS[int(refusal)] is refusal
    assert str(HelloRefused(refusal)) == refusal.doc


def test_an_unknown_reason_is_still_a_refusal() -> None:
    assert describe_refusal(Refused(200, "of the future")).detail == "of the future"
    assert len(encode_greeting(make_refusal(HelloRefused(Refusal.FULL, "x" * 999)))) < 200
