"""The first bytes of each side after Noise: who speaks, which chain, which version; or why not.

Rules W3 and W4. The head stands outside the record, so that a version that this one cannot decode
is still refused by its number. A refusal is a sentence that the other side logs.
"""

import struct
from enum import IntEnum
from typing import Annotated, Final

from msgspec import Meta

from ledger import codec
from ledger.rejection import Rejected
from ledger.types import Hash, PublicKey, Record, Signature
from p2p.binding import is_valid_binding
from p2p.directory import Addresses

MAGIC: Final = b"aitbc/p2p"
LOWEST_VERSION: Final = 1
HIGHEST_VERSION: Final = 1
MAX_HELLO_BYTES: Final = 2_048

_HEAD: Final = struct.Struct(">9sHH")


class Refusal(IntEnum):
    """Why a connection becomes no session; `doc` of each member is for people."""

    doc: str

    def __new__(cls, value: int, doc: str) -> "Refusal":
        member = int.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    MALFORMED = 1, "the greeting is not one of this protocol"
    VERSION = 2, "no common version of the protocol"
    CHAIN = 3, "another chain"
    BINDING = 4, "the key did not sign for this peer id"
    SELF = 5, "a connection to oneself"
    DUPLICATE = 6, "a session with this process stands already"
    NOT_ADMITTED = 7, "this node admits authorities only"
    FULL = 8, "as many sessions as this node admits"
    BANNED = 9, "banned for a while"


REFUSALS: Final = {int(refusal): refusal for refusal in Refusal}
"""Each reason by its number."""


class HelloRefused(Exception):
    """The other side is refused, or refuses."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.doc}: {detail}" if detail else refusal.doc)
        self.refusal = refusal
        self.detail = detail


Text = Annotated[str, Meta(max_length=64)]


class Hello(Record, frozen=True, tag=1):
    """What a node says of itself; its peer id is Noise's to prove."""

    chain_id: Hash
    key: PublicKey
    binding: Signature
    instance: Annotated[bytes, Meta(min_length=16, max_length=16)]
    agent: Text
    addresses: Addresses


class Refused(Record, frozen=True, tag=2):
    """No session, and why; the connection ends."""

    reason: Annotated[int, Meta(ge=1, le=255)]
    detail: Annotated[str, Meta(max_length=128)]


Greeting = Hello | Refused


def encode_greeting(greeting: Greeting) -> bytes:
    """Return the bytes of a greeting behind the range of versions that this node speaks."""
    return _HEAD.pack(MAGIC, LOWEST_VERSION, HIGHEST_VERSION) + codec.encode(greeting)


def decode_greeting(data: bytes) -> Greeting:
    """Return the other side's greeting. Raises `HelloRefused` (`MALFORMED`, `VERSION`)."""
    if len(data) < _HEAD.size or len(data) > MAX_HELLO_BYTES:
        raise HelloRefused(Refusal.MALFORMED, f"{len(data)} bytes")
    magic, lowest, highest = _HEAD.unpack_from(data)
    if magic != MAGIC or lowest > highest:
        raise HelloRefused(Refusal.MALFORMED, "another protocol")
    if lowest > HIGHEST_VERSION or highest < LOWEST_VERSION:
        raise HelloRefused(
            Refusal.VERSION,
            f"{lowest} to {highest} against {LOWEST_VERSION} to {HIGHEST_VERSION}",
        )
    try:
        greeting: Greeting = codec.decode(data[_HEAD.size :], Greeting, MAX_HELLO_BYTES)  # type: ignore[arg-type]
    except Rejected as error:
        raise HelloRefused(Refusal.MALFORMED, error.detail[:100]) from None
    return greeting


def check_hello(hello: Hello, peer_id: str, own: Hello, own_peer_id: str) -> None:
    """Check a hello against what Noise proved and what this node is. Raises `HelloRefused`.

    Two processes with one key are two: only the same process is oneself.
    """
    if hello.chain_id != own.chain_id:
        raise HelloRefused(
            Refusal.CHAIN, f"{hello.chain_id.hex()[:16]}, not {own.chain_id.hex()[:16]}"
        )
    if not is_valid_binding(hello.key, hello.chain_id, peer_id, hello.binding):
        raise HelloRefused(Refusal.BINDING)
    if hello.instance == own.instance and peer_id == own_peer_id:
        raise HelloRefused(Refusal.SELF)


def describe_refusal(refused: Refused) -> HelloRefused:
    """Return what the other side said when it refused, as an error of this side."""
    return HelloRefused(REFUSALS.get(refused.reason, Refusal.MALFORMED), refused.detail)


def make_refusal(error: HelloRefused) -> Refused:
    """Return the message that tells the other side why it is refused."""
    return Refused(int(error.refusal), error.detail[:128])
