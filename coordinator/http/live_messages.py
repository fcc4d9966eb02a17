"""What is said over a WebSocket, in both directions, and with which codes it ends.

These very shapes are what is read and written, and what `/asyncapi.json` is made of.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from coordinator.principals import MAX_KEY_LENGTH
from coordinator.update_data import BlockCreated, JobUpdate, MarketplaceUpdate, ReceiptCreated
from coordinator.updates import UpdateType

PROTOCOL: Final = "aitbc.v1"
"""The subprotocol; a browser, which can send no header, names its key beside it."""
KEY_PROTOCOL: Final = "aitbc.key."
MAX_JOB_IDS: Final = 100
_MAX_SEQ: Final = 2**53 - 1

JobId = Annotated[str, Meta(pattern="^job_[0-9a-f]{64}$")]


class Authenticate(msgspec.Struct, frozen=True, tag="authenticate"):
    """The first message of a socket that came without a key."""

    api_key: Annotated[str, Meta(max_length=MAX_KEY_LENGTH)]


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe"):
    """Hear these types, and of jobs only these, from now on; it takes the place of the last one.

    With `since`, what the log holds behind that seq comes first, in order; 0 is all of it.
    """

    types: list[UpdateType] | None = None
    job_ids: Annotated[list[JobId], Meta(max_length=MAX_JOB_IDS)] | None = None
    since: Annotated[int, Meta(ge=0, le=_MAX_SEQ)] | None = None


class Unsubscribe(msgspec.Struct, frozen=True, tag="unsubscribe"):
    """Hear nothing until the next `subscribe`."""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Ask for a `pong`: browsers cannot send the protocol's own."""


Request = Authenticate | Subscribe | Unsubscribe | Ping


class Authenticated(msgspec.Struct, frozen=True):
    """The key is good; unless another `subscribe` comes, everything of the account follows."""

    account: str
    role: str
    heartbeat_seconds: float


class Subscribed(msgspec.Struct, frozen=True):
    """What is heard from here on; updates that follow have a greater seq than this one's."""

    types: list[UpdateType]
    job_ids: list[JobId] | None


class Unsubscribed(msgspec.Struct, frozen=True):
    """Nothing is heard from here on."""


class Gap(msgspec.Struct, frozen=True):
    """Updates behind `since` may be lost: the log begins at `oldest`, or is not the one of before.

    Read the state of what matters (`GET /v1/jobs`) and go on from this message's seq.
    """

    since: int
    oldest: int
    reason: str


class Error(msgspec.Struct, frozen=True):
    """A message could not be taken; too many of them end the socket."""

    code: str
    detail: str


class Pong(msgspec.Struct, frozen=True):
    """The answer to `ping`."""


SAID: Final[Mapping[str, type[msgspec.Struct]]] = {
    "authenticated": Authenticated,
    "subscribed": Subscribed,
    "unsubscribed": Unsubscribed,
    "gap": Gap,
    "error": Error,
    "pong": Pong,
    UpdateType.JOB_UPDATE: JobUpdate,
    UpdateType.RECEIPT_CREATED: ReceiptCreated,
    UpdateType.MARKETPLACE_UPDATE: MarketplaceUpdate,
    UpdateType.BLOCK_CREATED: BlockCreated,
}
"""Every message that is sent, by its type."""
_NAMES: Final = {shape: name for name, shape in SAID.items()}
_DECODER: Final = msgspec.json.Decoder(Request)


class Close(IntEnum):
    """Why a socket was ended from here."""

    GOING_AWAY = 1001
    INTERNAL = 1011
    MALFORMED = 4400
    UNAUTHENTICATED = 4401
    KEY_REVOKED = 4403
    SILENT = 4408
    SLOW_READER = 4413
    OTHER_COORDINATOR = 4421
    TOO_FAST = 4429
    TOO_MANY = 4430


CLOSE_REASONS: Final[Mapping[int, str]] = {
    1000: "the client ended it",
    Close.GOING_AWAY: "the node stops; connect again",
    1002: "a frame was not of the protocol",
    1007: "a text was not UTF-8",
    1009: "a message was too long",
    Close.INTERNAL: "this is our mistake; connect again",
    Close.MALFORMED: "too many messages could not be read",
    Close.UNAUTHENTICATED: "no valid API key came in time",
    Close.KEY_REVOKED: "the API key was revoked",
    Close.SILENT: "no heartbeat was answered",
    Close.SLOW_READER: "too much waited to be read; connect again with since",
    Close.OTHER_COORDINATOR: "this key belongs to another coordinator",
    Close.TOO_FAST: "too many messages or attempts",
    Close.TOO_MANY: "this key has too many sockets",
}
"""The one table of close codes."""


def parse(text: str) -> Request:
    """Return what a client says. Raises `ValueError` with a sentence that names the fault."""
    try:
        request: Request = _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None
    return request


def write(seq: int, data: msgspec.Struct) -> bytes:
    """Return a message as it is sent."""
    return wrap(_NAMES[type(data)], seq, msgspec.json.encode(data))


def wrap(kind: str, seq: int, data: bytes) -> bytes:
    """Return a message around data that is JSON already."""
    return b'{"type":"%b","seq":%d,"data":%b}' % (kind.encode(), seq, data)
