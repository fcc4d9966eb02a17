"""Decides what a client can be asked to do, and how several such steps make one call.

A flow is a generator of steps that does no IO: it yields what is to be done and is given what came
of it, or has the `AITBCError` raised where it stands. The blocking and the asynchronous transport
carry out the same flows, so that no loop, no retry and no decision is written twice.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Query = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a call sends as a form, read from the disk while it is sent."""

    source: Path | bytes
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request of the contract. `parse` reads the decoded JSON, or the bytes if `is_binary`."""

    method: str
    path: str
    parse: Callable[[Any], T]
    query: Query = field(default_factory=dict)
    body: object | None = None
    upload: Upload | None = None
    idempotency_key: str | None = None
    is_repeatable: bool = False
    """Sending it twice does what sending it once does: GET, DELETE, and what carries a key."""
    is_binary: bool = False
    target: Path | None = None
    """The file that a binary answer goes to; `parse` is then given this path."""
    timeout: float | None = None
    """Seconds to wait for the answer, where the call needs another bound than the client's."""

    def __iter__(self) -> "Generator[Step, Any, T]":
        answer: T = yield self
        return answer


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand an item to whoever iterates."""

    item: Any


@dataclass(frozen=True, slots=True)
class OpenLines:
    """Ask for a path whose answer comes line by line; gives a channel. `timeout`: of silence.

    A channel is closed when the next one is opened, and with the iteration.
    """

    path: str
    headers: Mapping[str, str]
    timeout: float


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Connect to a WebSocket; gives a channel, closed as the one of `OpenLines`."""

    path: str


@dataclass(frozen=True, slots=True)
class Write:
    """Send a text message over a socket's channel."""

    channel: Any
    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """Read a channel's next line or message; gives None at its end."""

    channel: Any
    timeout: float | None = None
    """Seconds of silence after which `RequestTimeoutError` is raised; lines have their own."""


Step = Call[Any] | Pause | Emit | OpenLines | OpenSocket | Write | Read
Flow = Generator[Step, Any, T]


class Steps(Protocol[T_co]):
    """A call or a flow: what `yield from` takes, and what a transport runs."""

    def __iter__(self) -> Generator[Step, Any, T_co]: ...
