"""What somebody outside was told, and so may hold the node to after a power cut."""

import os
from pathlib import Path

import msgspec

from tests.power.recording import ACKNOWLEDGED


class Created(msgspec.Struct, frozen=True, tag=True):
    """There is a data folder, whole."""


class KeyChanged(msgspec.Struct, frozen=True, tag=True):
    """The database is under another key."""


class HeadMoved(msgspec.Struct, frozen=True, tag=True):
    """A command said where the chain ends now."""

    height: int
    hash: bytes


class BackedUp(msgspec.Struct, frozen=True, tag=True):
    """There is a copy of the database."""


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """A transaction waits durably."""

    transaction_id: bytes
    node: int = 0
    """By whose word, where there are several."""


class BlockFinal(msgspec.Struct, frozen=True, tag=True):
    """A block is final."""

    height: int
    hash: bytes
    node: int = 0


class Left(msgspec.Struct, frozen=True, tag=True):
    """A vote or proposal may be with other authorities; `message` is what they hold."""

    message: bytes
    node: int = 0


Acknowledgement = Created | KeyChanged | HeadMoved | BackedUp | Accepted | BlockFinal | Left

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Acknowledgement] = msgspec.msgpack.Decoder(Acknowledgement)


class Witness:
    """Hears acknowledgements and puts each at its place in the recording."""

    def __init__(self, root: Path) -> None:
        """Begin; `root` is the recorded folder."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(root / ACKNOWLEDGED, flags, 0o600)

    def tell(self, acknowledgement: Acknowledgement) -> None:
        """Take note, in this very moment."""
        os.write(self._descriptor, _encoder.encode(acknowledgement))


def decode(data: bytes) -> Acknowledgement:
    """Return the acknowledgement that one write holds."""
    return _decoder.decode(data)
