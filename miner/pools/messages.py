"""Decides what travels between the miner and an engine on a node: bytes of MessagePack.

Both ends are the same release; what does not read as these shapes is refused all the same, so that
another release or a broken node is an error and not a strange answer.
"""

import importlib.metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from miner.engines.interface import Description, EngineResult

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Of a file, in one message."""
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

M = TypeVar("M")


class MessageError(Exception):
    """A node sent what is no message of this release."""


class Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an engine on a node says once it is up, or why it is not."""

    release: str
    access: str
    """How the node's Ray lets callers in: `token`, or anything else for everybody."""
    description: Description | None = None
    gpu: dict[str, str] = {}
    """As it is announced: measured there; empty where the engine computes on none."""
    problem: str = ""


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a run is. `result` or `problem` is its end."""

    progress: int
    text: str
    """What follows the characters that the asker has."""
    result: EngineResult | None = None
    problem: str = ""
    is_invalid: bool = False
    """The problem is the job's input and not the engine."""

    @property
    def is_end(self) -> bool:
        """Whether nothing more will come."""
        return self.result is not None or bool(self.problem)


def get_release() -> str:
    """Return the release of this package, which miner and nodes must share."""
    return importlib.metadata.version("aitbc")


def encode(message: Greeting | Report) -> bytes:
    """Return a message's bytes."""
    return msgspec.msgpack.encode(message, enc_hook=_simplify)


def decode(data: Any, kind: type[M]) -> M:
    """Return the message in a node's answer. Raises `MessageError`."""
    if not isinstance(data, bytes) or len(data) > MAX_MESSAGE_BYTES:
        raise MessageError("a node's answer is no message, or too long")
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=_restore)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"a node's answer is none of this release: {error}") from None


def _simplify(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a result holds a {type(value).__name__}")


def _restore(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"no {kind.__name__} is expected")
